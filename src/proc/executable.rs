//! Whether a process runs the file that lies at a path on this machine, and not one that somebody has put
//! in its place for himself alone (`mount_namespaces(7)`); which path it has to be is up to
//! [`super::Target`].

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fd::BorrowedFd;
use rustix::fs::{AtFlags, CWD, StatxFlags, makedev, statat, statx};
use rustix::io::Errno;

/// How the kernel marks the path of a file that was removed.
const DELETED: &[u8] = b" (deleted)";

/// Where a file is and who may change it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Executable {
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) owner: u32,
    mode: u32,
}

impl Executable {
    /// What a link of /proc leads to. A file system of somebody's own isn't asked, which could take for ever.
    pub(super) fn of(root: BorrowedFd<'_>, link: &str) -> Result<Self, Errno> {
        Self::at(root, Path::new(link), AtFlags::empty())
    }

    fn at(root: BorrowedFd<'_>, path: &Path, flags: AtFlags) -> Result<Self, Errno> {
        let unasked = AtFlags::STATX_DONT_SYNC;
        match statx(root, path, flags | unasked, StatxFlags::BASIC_STATS) {
            Ok(file) => Ok(Self {
                device: makedev(file.stx_dev_major, file.stx_dev_minor),
                inode: file.stx_ino,
                owner: file.stx_uid,
                mode: u32::from(file.stx_mode),
            }),
            // Linux before 4.11.
            Err(Errno::NOSYS) => {
                let file = statat(root, path, flags)?;
                Ok(Self {
                    device: file.st_dev,
                    inode: file.st_ino,
                    owner: file.st_uid,
                    mode: file.st_mode,
                })
            }
            Err(errno) => Err(errno),
        }
    }

    /// Whether both lie at the same place.
    fn is(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }

    /// Whether this may be what lay in the place of `now`, or in that folder, before an upgrade: nobody else
    /// could change it than whoever can change `now`.
    fn was_in_the_place_of(&self, now: &Self) -> bool {
        let writable = |file: &Self| file.mode & 0o022;
        self.owner == now.owner && writable(self) & !writable(now) == 0
    }
}

/// Whom a file belongs to.
pub(super) fn owner_of(root: BorrowedFd<'_>, path: &str) -> Result<u32, Errno> {
    Executable::of(root, path).map(|file| file.owner)
}

/// Whether the executable behind `link` is the file at `path`, which is what /proc tells of that link. Where
/// either can't be told the path alone counts.
pub(super) fn is_the_file(root: BorrowedFd<'_>, link: &str, path: &[u8]) -> bool {
    let (path, is_deleted) = match path.strip_suffix(DELETED) {
        Some(path) => (path, true),
        None => (path, false),
    };
    let path = Path::new(OsStr::from_bytes(path));
    let at = |path: &Path| Executable::at(CWD, path, AtFlags::SYMLINK_NOFOLLOW);
    let here = at(path);
    let runs = match Executable::of(root, link) {
        Ok(runs) => runs,
        // It has ended meanwhile.
        Err(Errno::NOENT | Errno::SRCH) => return true,
        // Somebody has closed it to root, and the machine's own is open.
        Err(_) => return here.is_err(),
    };
    let was_at = |now: Result<Executable, Errno>| {
        is_deleted && now.is_ok_and(|now| runs.was_in_the_place_of(&now))
    };
    match here {
        Ok(here) => runs.is(&here) || was_at(Ok(here)),
        // What was removed lay in the nearest folder that is left.
        Err(Errno::NOENT | Errno::NOTDIR) => {
            let folders = path.ancestors().skip(1);
            was_at(folders.map(at).find(Result::is_ok).unwrap_or(here))
        }
        Err(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::fd::AsFd;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn the_file_at_the_path_is_told_from_another() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("program"), "1").unwrap();
        fs::write(at("other"), "2").unwrap();
        fs::create_dir(at("proc")).unwrap();
        symlink(at("program"), at("proc/exe")).unwrap();
        symlink(at("other"), at("proc/others")).unwrap();
        let proc = fs::File::open(at("proc")).unwrap();
        let path = at("program");
        let path = path.as_os_str().as_bytes();
        assert!(is_the_file(proc.as_fd(), "exe", path));
        assert!(!is_the_file(proc.as_fd(), "others", path));
        assert!(is_the_file(proc.as_fd(), "nothing", path), "it is unknown");
    }

    #[test]
    fn what_an_upgrade_has_replaced_had_the_same_owner_and_rights() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let proc = fs::File::open("/proc/self/fd").unwrap();
        let replaced = |mode: u32| {
            fs::write(at("program"), "1").unwrap();
            fs::set_permissions(at("program"), fs::Permissions::from_mode(mode)).unwrap();
            let before = fs::File::open(at("program")).unwrap();
            fs::write(at("new"), "2").unwrap();
            fs::set_permissions(at("new"), fs::Permissions::from_mode(0o755)).unwrap();
            fs::rename(at("new"), at("program")).unwrap();
            let link = std::os::fd::AsRawFd::as_raw_fd(&before).to_string();
            let path = [at("program").as_os_str().as_bytes(), DELETED].concat();
            is_the_file(proc.as_fd(), &link, &path)
        };
        assert!(replaced(0o755));
        assert!(replaced(0o700));
        assert!(!replaced(0o757), "anybody could have written it");
    }
}
