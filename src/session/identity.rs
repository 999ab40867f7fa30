//! The step from root to the user of a session, with no way back.

use std::io;

use nix::unistd::{Gid, Uid, getgroups, getresgid, getresuid, setgroups, setresgid, setresuid};

use crate::sys::user::Account;

/// Becomes a user for good: its number, its groups as /etc/group has them, and nothing of root's. A process
/// of several threads would be one user in part only, so nobody else may run meanwhile.
///
/// # Errors
/// When that isn't allowed, or could be undone: then this process must end.
pub(crate) fn become_user(account: &Account) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(account.uid), Gid::from_raw(account.gid));
    let groups: Vec<Gid> = account.groups()?.into_iter().map(Gid::from_raw).collect();
    setgroups(&groups)?;
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)?;
    let (uids, gids) = (getresuid()?, getresgid()?);
    let is_user = [uids.real, uids.effective, uids.saved] == [uid; 3];
    let is_group = [gids.real, gids.effective, gids.saved] == [gid; 3];
    let mut now = getgroups()?;
    let mut wanted = groups;
    now.sort_unstable_by_key(|group| group.as_raw());
    wanted.sort_unstable_by_key(|group| group.as_raw());
    if !is_user || !is_group || now != wanted {
        return Err(io::Error::other("the kernel says it is still another user"));
    }
    let root = Uid::from_raw(0);
    if !uid.is_root() && setresuid(root, root, root).is_ok() {
        return Err(io::Error::other("it could become root again"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_is_not_allowed_changes_nothing() {
        // One that is would make the tests that user for good: the system tests show it.
        let other = Account {
            name: "nobody-of-this-name".into(),
            uid: getresuid().unwrap().real.as_raw() + 1,
            gid: u32::MAX,
            home: "/".into(),
            shell: "/bin/sh".into(),
        };
        assert!(
            become_user(&other).is_err(),
            "there is no group of this number"
        );
        assert_eq!(getresuid().unwrap().real.as_raw() + 1, other.uid);
    }
}
