//! Reads as which users a process acts; whether that makes it our own is said in [`crate::start`].

use std::fs;
use std::path::Path;

use rustix::fd::BorrowedFd;
use rustix::io::Errno;

use super::executable::owner_of;

/// The users of a process below `root`: real, effective, saved, and that of the file system (proc(5),
/// /proc/PID/status, `Uid`). A set-user-ID program has another effective user than the real one, and who owns
/// the files in /proc says neither. `None` where that can't be read.
#[must_use]
pub fn users(root: &Path, pid: i32) -> Option<[u32; 4]> {
    users_in(&fs::read(root.join(format!("{pid}/status"))).ok()?)
}

/// The effective user of a process, at a fraction of the price of its status. Of what is in the folder of a
/// process that can't be traced the kernel says that it is root's; the folder itself is the effective user's
/// in any case (`task_dump_owner` of the kernel's fs/proc/base.c).
///
/// # Errors
/// When that is unknown, as of one that has ended.
pub(super) fn effective_user(proc: BorrowedFd<'_>, pid: i32) -> Result<u32, Errno> {
    owner_of(proc, &pid.to_string())
}

fn users_in(status: &[u8]) -> Option<[u32; 4]> {
    // The name, which may hold anything, is a line of its own and escaped.
    let mut lines = status.split(|byte| *byte == b'\n');
    let users = lines.find_map(|line| line.strip_prefix(b"Uid:"))?;
    let mut users = std::str::from_utf8(users).ok()?.split_ascii_whitespace();
    let mut next = || users.next()?.parse().ok();
    Some([next()?, next()?, next()?, next()?])
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn all_four_users_are_read() {
        let status = b"Name:\tUid:\\n\nUmask:\t0022\nUid:\t1000\t0\t0\t7\nGid:\t1\t1\t1\t1\n";
        assert_eq!(users_in(status), Some([1000, 0, 0, 7]));
        assert_eq!(users_in(b"Uid:\t1\t2\t3\n"), None);
        assert_eq!(users_in(b""), None);
        let me = i32::try_from(std::process::id()).unwrap();
        let uid = rustix::process::getuid().as_raw();
        let found = users(Path::new("/proc"), me).unwrap();
        assert_eq!(found[0], uid);
    }

    #[test]
    fn the_effective_user_has_the_folder() {
        let proc = fs::File::open("/proc").unwrap();
        let me = i32::try_from(std::process::id()).unwrap();
        let found = effective_user(proc.as_fd(), me);
        assert_eq!(found, Ok(users(Path::new("/proc"), me).unwrap()[1]));
        assert!(effective_user(proc.as_fd(), i32::MAX).is_err());
    }
}
