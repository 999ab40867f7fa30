//! Makes sure that one service uses a runtime directory; it says nothing about what the service does.
//! Whether it lives is told by [`crate::status::service`].
//!
//! Its file's times say when the holder has last looked: the modification as people read it, the access by
//! `CLOCK_BOOTTIME` (clock_gettime(2)), which nobody sets. That is one call, and writes no file; nobody reads
//! what is in the lock, which would change the latter.
//!
//! A POSIX record lock (`fcntl_locking(2)`): the kernel drops it when its holder dies, however that
//! happens. The file is its owner's alone: whoever could open it could hold it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use rustix::fs::{Timespec, Timestamps, UTIME_NOW, futimens};

use super::host::since_boot;

/// The file's name in the runtime directory.
const FILE_NAME: &str = "lock";

/// How often it is tried again when the file has been replaced meanwhile.
const ATTEMPTS: u32 = 10;

/// The bits of a mode that let others open a file (inode(7)).
const OTHERS: u32 = 0o077;

/// The lock, held until it is dropped or the process ends.
#[derive(Debug)]
pub struct Lock {
    file: File,
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
                file,
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

    /// Says that its holder has looked. Where that can't be said, what was published last tells.
    pub fn has_looked(&self) {
        let Ok(since_boot) = Timespec::try_from(since_boot()) else {
            return;
        };
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_NOW,
        };
        let times = Timestamps {
            last_access: since_boot,
            last_modification: now,
        };
        let _ = futimens(&self.file, &times);
    }
}

/// When whoever has or had the lock of a directory has last looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastLook {
    /// By the clock that people read.
    pub at: SystemTime,
    /// By `CLOCK_BOOTTIME`.
    pub since_boot: Duration,
}

impl LastLook {
    /// That of the lock of `directory`; `None` if it isn't known.
    #[must_use]
    pub fn read(directory: &Path) -> Option<Self> {
        let found = fs::symlink_metadata(directory.join(FILE_NAME)).ok()?;
        let (seconds, nanoseconds) = (found.atime(), found.atime_nsec());
        let since_boot = Duration::new(
            u64::try_from(seconds).ok()?,
            u32::try_from(nanoseconds).ok()?,
        );
        // Of one that was made or read since, it is the time of day.
        let is_said = since_boot <= self::since_boot();
        let at = found.modified().ok()?;
        is_said.then_some(Self { at, since_boot })
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
    fn when_its_holder_has_last_looked_is_known_once_that_was_said() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(LastLook::read(directory.path()), None);
        let lock = Lock::take(directory.path()).unwrap();
        assert_eq!(LastLook::read(directory.path()), None, "it hasn't yet");
        let before = (SystemTime::now(), since_boot());
        lock.has_looked();
        let after = (SystemTime::now(), since_boot());
        let said = LastLook::read(directory.path()).unwrap();
        // The kernel's own time of a file may lie a tick behind.
        let tick = Duration::from_millis(20);
        assert!(said.at + tick >= before.0 && said.at <= after.0, "{said:?}");
        assert!(said.since_boot >= before.1 && said.since_boot <= after.1);
        drop(lock);
        assert_eq!(LastLook::read(directory.path()), Some(said));
        let lock = Lock::take(directory.path()).unwrap();
        assert_eq!(LastLook::read(directory.path()), Some(said), "taken again");
        drop(lock);
    }

    #[test]
    fn a_directory_that_is_missing_is_said_so() {
        let missing = Path::new("/nonexistent/mfe-watchdog");
        assert!(matches!(Lock::take(missing), Err(NotLocked::Failed(_))));
    }
}
