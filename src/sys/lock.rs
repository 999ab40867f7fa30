//! Makes sure that one service uses a runtime directory; it says nothing about what the service does.
//! Whether it lives is told by [`crate::status::service`].
//!
//! A POSIX record lock (`fcntl_locking(2)`): the kernel drops it when its holder dies, however that
//! happens. The file is its owner's alone: whoever could open it could hold it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

/// The file's name in the runtime directory.
const FILE_NAME: &str = "lock";

/// How often it is tried again when the file has been replaced meanwhile.
const ATTEMPTS: u32 = 10;

/// The bits of a mode that let others open a file (inode(7)).
const OTHERS: u32 = 0o077;

/// The lock, held until it is dropped or the process ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
    /// The file's device and inode.
    identity: (u64, u64),
    path: PathBuf,
}

/// Why a lock wasn't taken.
#[derive(Debug)]
pub enum NotLocked {
    /// Another service holds it, under this pid.
    HeldBy(i32),
    /// It couldn't be tried.
    Failed(io::Error),
}

impl Lock {
    /// Takes the lock of `directory`.
    ///
    /// # Errors
    /// When another process holds it, or it can't be tried.
    pub fn take(directory: &Path) -> Result<Self, NotLocked> {
        let path = directory.join(FILE_NAME);
        for _ in 0..ATTEMPTS {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .custom_flags(libc::O_NOFOLLOW)
                .open(&path)
                .map_err(NotLocked::Failed)?;
            let is_locked = match fcntl(&file, FcntlArg::F_SETLK(&record(libc::F_WRLCK))) {
                Ok(_) => true,
                Err(Errno::EACCES | Errno::EAGAIN) => {
                    if let Some(pid) = writer_of(&file).map_err(NotLocked::Failed)? {
                        return Err(NotLocked::HeldBy(pid));
                    }
                    // Let go of this very moment, or held by one who could merely read it.
                    false
                }
                Err(errno) => return Err(NotLocked::Failed(errno.into())),
            };
            let metadata = file.metadata().map_err(NotLocked::Failed)?;
            let lock = Self {
                _file: file,
                identity: identity(&metadata),
                path: path.clone(),
            };
            if !lock.is_in_place() {
                continue;
            }
            if metadata.mode() & OTHERS != 0 {
                // An older version's, or somebody has changed it: whoever has it open could hold it.
                fs::remove_file(&lock.path).map_err(NotLocked::Failed)?;
            } else if is_locked {
                return Ok(lock);
            }
        }
        Err(NotLocked::Failed(Errno::EAGAIN.into()))
    }

    /// Whether the file that is locked is still the one that others find.
    #[must_use]
    pub fn is_in_place(&self) -> bool {
        let found = fs::symlink_metadata(&self.path);
        found.is_ok_and(|found| identity(&found) == self.identity)
    }
}

fn identity(metadata: &fs::Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// The pid of the process that has locked `file` for writing, as a service does.
fn writer_of(file: &File) -> io::Result<Option<i32>> {
    // Asked as a reader: that conflicts with nobody else's lock.
    let mut lock = record(libc::F_RDLCK);
    fcntl(file, FcntlArg::F_GETLK(&mut lock))?;
    Ok((i32::from(lock.l_type) != libc::F_UNLCK).then_some(lock.l_pid))
}

/// A lock of the given kind over the whole file.
fn record(kind: libc::c_int) -> libc::flock {
    libc::flock {
        // The constants are small: fcntl(2) itself keeps them in a short.
        l_type: kind.try_into().unwrap_or_default(),
        l_whence: libc::SEEK_SET.try_into().unwrap_or_default(),
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn nobody_else_can_open_it() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join(FILE_NAME);
        let mode = || fs::metadata(&file).unwrap().mode() & 0o777;
        let lock = Lock::take(directory.path()).unwrap();
        assert_eq!(mode(), 0o600);
        let inode = fs::metadata(&file).unwrap().ino();
        drop(lock);
        let lock = Lock::take(directory.path()).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().ino(), inode, "taken as it is");
        drop(lock);
        // As an older version has left it.
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        let held = File::open(&file).unwrap();
        let lock = Lock::take(directory.path()).unwrap();
        assert!(lock.is_in_place());
        assert_eq!(mode(), 0o600);
        let open = held.metadata().unwrap().ino();
        assert_ne!(fs::metadata(&file).unwrap().ino(), open, "another file");
    }

    #[test]
    fn it_is_known_when_others_find_another_file_or_none() {
        let directory = tempfile::tempdir().unwrap();
        let lock = Lock::take(directory.path()).unwrap();
        assert!(lock.is_in_place());
        fs::remove_file(directory.path().join(FILE_NAME)).unwrap();
        assert!(!lock.is_in_place());
        fs::write(directory.path().join(FILE_NAME), "").unwrap();
        assert!(!lock.is_in_place());
    }

    #[test]
    fn a_directory_that_is_missing_is_said_so() {
        let missing = Path::new("/nonexistent/mfe-watchdog");
        assert!(matches!(Lock::take(missing), Err(NotLocked::Failed(_))));
    }
}
