//! Makes sure that one service uses a runtime directory, and tells others whether it lives; it
//! says nothing about what the service does.
//!
//! A POSIX record lock (`fcntl_locking(2)`): the kernel drops it when its holder dies, however that
//! happens, and tells everybody who may read the file who holds it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

/// The file's name in the runtime directory.
const FILE_NAME: &str = "lock";

/// The lock, held until the process ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
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
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o644)
            .custom_flags(libc::O_NOFOLLOW)
            .open(directory.join(FILE_NAME))
            .map_err(NotLocked::Failed)?;
        match fcntl(&file, FcntlArg::F_SETLK(&record(libc::F_WRLCK))) {
            Ok(_) => Ok(Self { _file: file }),
            Err(Errno::EACCES | Errno::EAGAIN) => match holder_of(&file) {
                // Let go of this very moment: the one who held it was just ending.
                Ok(None) => Err(NotLocked::Failed(Errno::EAGAIN.into())),
                Ok(Some(pid)) => Err(NotLocked::HeldBy(pid)),
                Err(error) => Err(NotLocked::Failed(error)),
            },
            Err(errno) => Err(NotLocked::Failed(errno.into())),
        }
    }
}

/// The pid of the service that uses `directory`, if one does. Asking takes no lock and needs no
/// privileges.
///
/// # Errors
/// When the lock file is there but can't be asked.
pub fn holder(directory: &Path) -> io::Result<Option<i32>> {
    let file = OpenOptions::new()
        .read(true)
        // Opening a FIFO would wait for somebody to write.
        .custom_flags(libc::O_NONBLOCK)
        .open(directory.join(FILE_NAME));
    match file {
        Ok(file) => holder_of(&file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn holder_of(file: &File) -> io::Result<Option<i32>> {
    // Asked as a reader: that conflicts with the service's lock and with nobody else's.
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
    use super::*;

    #[test]
    fn nobody_holds_what_was_never_locked() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(holder(directory.path()).unwrap(), None);
        let lock = Lock::take(directory.path()).unwrap();
        drop(lock);
        assert_eq!(holder(directory.path()).unwrap(), None);
    }

    #[test]
    fn a_directory_that_is_missing_is_said_so() {
        let missing = Path::new("/nonexistent/mfe-watchdog");
        assert!(matches!(Lock::take(missing), Err(NotLocked::Failed(_))));
    }
}
