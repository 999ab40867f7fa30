//! Replaces and reads small files of the service's own: what it publishes in its runtime directory, and
//! what it keeps for its next run. What is in them is decided in [`crate::daemon`] and [`crate::status`].

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;

use nix::libc;

use crate::text::phrase::{Phrase, phrase};

/// A larger file isn't ours, in bytes.
const MAX_SIZE: u64 = 1 << 20;

/// The bits of a mode that say who may read a file (inode(7)).
const READERS: u32 = 0o444;

/// Those of them that are for the group, and for everybody.
const GROUP: u32 = 0o040;
const OTHERS: u32 = 0o004;

/// Who may read a file. Nobody but its owner may ever write to one of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rights {
    mode: u32,
    /// User and group; `None` for those of this process.
    owner: Option<(u32, u32)>,
}

impl Rights {
    /// Everybody may read it.
    pub(crate) const PUBLIC: Self = Self {
        mode: 0o644,
        owner: None,
    };

    /// Nobody else may read it.
    pub(crate) const PRIVATE: Self = Self {
        mode: 0o600,
        owner: None,
    };

    /// Whoever may read the file at `path` may read the new one.
    ///
    /// # Errors
    /// When that can't be asked.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(path)?;
        Ok(Self {
            mode: metadata.mode() & READERS | 0o600,
            owner: Some((metadata.uid(), metadata.gid())),
        })
    }

    /// Whoever may get at the file at `path`, through the folders above it, and read it may read the new one.
    ///
    /// # Errors
    /// When that can't be asked.
    pub(crate) fn of_reachable(path: &Path) -> io::Result<Self> {
        let mut rights = Self::of(path)?;
        let group = rights.owner.map(|(_, group)| group);
        for folder in fs::canonicalize(path)?.ancestors().skip(1) {
            let folder = fs::metadata(folder)?;
            let lets = |search: u32| folder.mode() & search != 0;
            if !lets(0o001) {
                rights.mode &= !OTHERS;
                if !lets(0o010) || group != Some(folder.gid()) {
                    rights.mode &= !GROUP;
                }
            }
        }
        Ok(rights)
    }

    /// Whether as many may read by these as by `other`, if it is the same owner's.
    pub(crate) fn are_as_wide_as(self, other: Self) -> bool {
        self.mode == other.mode
    }

    /// The mode of a file that is made for its owner by this process, or is yet to be given to another.
    fn initial_mode(self) -> u32 {
        self.owner.map_or(self.mode, |_| 0o600)
    }

    /// Gives them to a file that was made with the initial mode. A service without the capability to give a
    /// file away (capabilities(7), `CAP_CHOWN`) keeps it, and its group reads it only if everybody may.
    fn give(self, file: &File) -> io::Result<()> {
        let Some((user, group)) = self.owner else {
            return Ok(());
        };
        let own = file.metadata()?;
        let is_given = (user, group) == (own.uid(), own.gid())
            || fchown(file, Some(user), Some(group)).is_ok();
        let mode = match self.mode {
            mode if is_given || mode & OTHERS != 0 => mode,
            _ => 0o600,
        };
        file.set_permissions(Permissions::from_mode(mode))
    }
}

/// Whether a file has to outlive a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// It may be lost, or be as it was before.
    Cached,
    /// It is on the disk (fsync(2)) once it is in its place.
    Synced,
}

/// Puts `content` in place of the file `name` of `directory`, for everybody to read; a reader sees the
/// one or the other, whole.
pub(crate) fn replace(directory: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    replace_with(directory, name, content, Rights::PUBLIC, Durability::Cached)
}

/// The same, for those who may read it.
pub(crate) fn replace_with(
    directory: &Path,
    name: &str,
    content: &[u8],
    rights: Rights,
    durability: Durability,
) -> io::Result<()> {
    let new = directory.join(format!(".{name}.new"));
    let is_synced = durability == Durability::Synced;
    let written = create(&new, rights.initial_mode())
        .and_then(|mut file| {
            rights.give(&file)?;
            file.write_all(content)?;
            if is_synced { file.sync_all() } else { Ok(()) }
        })
        .and_then(|()| fs::rename(&new, directory.join(name)));
    if written.is_err() {
        // Half a file on a full disk helps nobody.
        let _ = fs::remove_file(&new);
    } else if is_synced {
        File::open(directory)?.sync_all()?;
    }
    written
}

/// Creates a file that wasn't there. What an earlier run of the service has left in its place, or
/// somebody else has put there (a link to another file, a FIFO), is removed and never opened.
fn create(path: &Path, mode: u32) -> io::Result<File> {
    let create = || {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(mode).open(path)
    };
    match create() {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(path)?;
            create()
        }
        created => created,
    }
}

/// Reads the file `name` of `directory`; `None` when there is none. A link in its place is not
/// followed, and nothing but a regular file is waited for or read.
pub(crate) fn read(directory: &Path, name: &str) -> Result<Option<Vec<u8>>, Phrase> {
    let path = directory.join(name);
    let open = OpenOptions::new()
        .read(true)
        // Opening a FIFO would wait for somebody to write.
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(&path);
    let shown = path.display().to_string();
    let unreadable = |error: io::Error| {
        phrase!(
            "%{file} can't be read: %{error}",
            file = shown.as_str(),
            error = error.to_string()
        )
    };
    let file = match open {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(unreadable)?,
    };
    if !file.metadata().map_err(unreadable)?.is_file() {
        return Err(phrase!("%{file} isn't a regular file", file = shown));
    }
    let mut text = Vec::new();
    file.take(MAX_SIZE + 1)
        .read_to_end(&mut text)
        .map_err(unreadable)?;
    if text.len() as u64 > MAX_SIZE {
        return Err(phrase!(
            "%{file} is larger than any file of this service",
            file = shown
        ));
    }
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    use super::*;

    #[test]
    fn nothing_that_lies_in_the_way_is_written_to() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let new = path(".status.json.new");
        let plants: [&dyn Fn(&Path); 5] = [
            &|at| fs::write(at, "left by an earlier run").unwrap(),
            &|at| symlink(path("other"), at).unwrap(),
            &|at| symlink(path("missing"), at).unwrap(),
            &|at| fs::hard_link(path("other"), at).unwrap(),
            &|at| mkfifo(at, Mode::S_IRWXU).unwrap(),
        ];
        for (n, plant) in plants.iter().enumerate() {
            fs::write(path("other"), "other").unwrap();
            for at in [&new, &path("status.json")] {
                let _ = fs::remove_file(at);
                plant(at);
            }
            let content = n.to_string();
            replace(directory.path(), "status.json", content.as_bytes()).unwrap();
            let published = path("status.json");
            assert!(fs::symlink_metadata(&published).unwrap().is_file());
            assert_eq!(fs::read_to_string(published).unwrap(), content);
            assert_eq!(fs::read_to_string(path("other")).unwrap(), "other");
            assert!(!path("missing").exists() && !new.exists());
        }
    }

    #[test]
    fn whoever_may_read_the_one_may_read_the_other_and_nobody_may_write() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("config"), "").unwrap();
        for (mode, expected) in [
            (0o600, 0o600),
            (0o640, 0o640),
            (0o644, 0o644),
            (0o666, 0o644),
            (0o400, 0o600),
            (0o755, 0o644),
        ] {
            fs::set_permissions(path("config"), Permissions::from_mode(mode)).unwrap();
            let rights = Rights::of(&path("config")).unwrap();
            replace_with(directory.path(), "kept", b"x", rights, Durability::Synced).unwrap();
            let kept = fs::metadata(path("kept")).unwrap();
            assert_eq!(kept.mode() & 0o7777, expected, "{mode:o}");
            let config = fs::metadata(path("config")).unwrap();
            assert_eq!((kept.uid(), kept.gid()), (config.uid(), config.gid()));
        }
    }

    #[test]
    fn a_folder_that_nobody_may_enter_hides_what_is_in_it() {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path().join("folder");
        fs::create_dir(&folder).unwrap();
        let file = folder.join("config");
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        let mode = |outer: u32, inner: u32| {
            fs::set_permissions(directory.path(), Permissions::from_mode(outer)).unwrap();
            fs::set_permissions(&folder, Permissions::from_mode(inner)).unwrap();
            Rights::of_reachable(&file).unwrap().mode
        };
        assert_eq!(mode(0o755, 0o755), 0o644);
        assert_eq!(mode(0o711, 0o755), 0o644);
        assert_eq!(mode(0o755, 0o700), 0o600);
        assert_eq!(mode(0o700, 0o755), 0o600);
        // Both are of the same group.
        assert_eq!(mode(0o755, 0o750), 0o640);
    }

    #[test]
    fn a_file_that_cannot_be_given_away_is_not_shown_to_another_group() {
        let directory = tempfile::tempdir().unwrap();
        let file = File::create(directory.path().join("f")).unwrap();
        // No process can give a file to nobody at all (chown(2), EINVAL).
        let to_nobody = |mode| Rights {
            mode,
            owner: Some((u32::MAX - 1, u32::MAX - 1)),
        };
        let before = file.metadata().unwrap();
        let give = |mode: u32| {
            to_nobody(mode).give(&file).unwrap();
            file.metadata().unwrap()
        };
        let after = give(0o640);
        if (after.uid(), after.gid()) == (before.uid(), before.gid()) {
            assert_eq!(after.mode() & 0o777, 0o600);
            assert_eq!(give(0o644).mode() & 0o777, 0o644);
        } else {
            assert_eq!(after.mode() & 0o777, 0o640, "root can");
        }
    }
}
