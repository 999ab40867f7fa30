//! Small files of a program's own: replaced by rename, read with a limit and without following a link.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;

/// A larger file isn't ours, in bytes.
const MAX_SIZE: u64 = 1 << 20;

/// Puts `content` in place of the file at `path`, on the disk (fsync(2)) before it is in its place; a reader sees
/// the one or the other, whole.
///
/// # Errors
/// When it can't be written; what was there stays.
pub fn replace(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    replace_for(path, content, mode, None)
}

/// The same, for an owner, by user and group; nobody else sees it for a moment.
///
/// # Errors
/// As of [`replace`].
pub fn replace_for(
    path: &Path,
    content: &[u8],
    mode: u32,
    owner: Option<(u32, u32)>,
) -> io::Result<()> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let new = folder.join(format!(".{}.new", name.to_string_lossy()));
    let written = create(&new).and_then(|mut file| {
        file.write_all(content)?;
        if let Some((user, group)) = owner {
            fchown(&file, Some(user), Some(group))?;
        }
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.sync_all()?;
        fs::rename(&new, path)
    });
    if written.is_err() {
        // Half a file on a full disk helps nobody.
        let _ = fs::remove_file(&new);
    } else {
        File::open(folder)?.sync_all()?;
    }
    written
}

/// Creates a file that wasn't there: what lies in its place is removed and never opened.
fn create(path: &Path) -> io::Result<File> {
    let create = || {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600).open(path)
    };
    match create() {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(path)?;
            create()
        }
        created => created,
    }
}

/// Reads a file; `None` when there is none.
///
/// # Errors
/// When it can't be read, is no regular file, or is larger than any file of this program.
pub fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).map_err(io::Error::other)?;
    let opened = OpenOptions::new()
        .read(true)
        // Opening a FIFO would wait for somebody to write.
        .custom_flags(flags)
        .open(path);
    let file = match opened {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut content = Vec::new();
    file.take(MAX_SIZE + 1).read_to_end(&mut content)?;
    if content.len() as u64 > MAX_SIZE {
        return Err(io::Error::other("too large"));
    }
    Ok(Some(content))
}

/// The same, as text.
///
/// # Errors
/// As of [`read`], and when it isn't UTF-8.
pub fn read_text(path: &Path) -> io::Result<Option<String>> {
    let text = read(path)?.map(String::from_utf8).transpose();
    text.map_err(|_| io::Error::other("not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        assert_eq!(read(&path).unwrap(), None);
        fs::write(folder.path().join(".a.new"), "left over").unwrap();
        for content in ["one", "two"] {
            replace(&path, content.as_bytes(), 0o640).unwrap();
            assert_eq!(read_text(&path).unwrap().as_deref(), Some(content));
        }
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o640
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_no_file_of_ours_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
        assert!(read(&path).is_err());
        assert!(read(folder.path()).is_err());
        fs::write(folder.path().join("b"), vec![0; 1 << 21]).unwrap();
        assert!(read(&folder.path().join("b")).is_err());
        fs::write(folder.path().join("c"), [255]).unwrap();
        assert!(read_text(&folder.path().join("c")).is_err());
    }
}
