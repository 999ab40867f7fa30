//! Who keeps a program company in its session: the processes of which some end with a logout, before logind
//! says that there is one. What it means that one has ended is decided in [`crate::machine`].
//!
//! Only what the kernel says of them is read, nothing that they have written themselves.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use super::choice::Chosen;
use crate::proc::{ProcessId, Stat};
use crate::sys::host::Moment;

/// Who is younger comes and goes as a matter of course.
const SETTLED: Duration = Duration::from_secs(10);

/// Of a user with more processes nothing is said.
const PROCESSES_MAX: usize = 2000;

/// More of a process's `stat` isn't read, in bytes.
const STAT_MAX: u64 = 4096;

/// One that may belong to the session.
#[derive(Debug, Clone, Copy)]
struct Member {
    id: ProcessId,
    parent: i32,
    is_users: bool,
}

/// The processes of the user of `chosen`, and the leader of that session, as far as they have lived for a
/// while; on the machine whose files are below `root`.
///
/// `None` where they say nothing of the session: logind doesn't know it, its leader is gone, or so is the
/// process that was begun for it, which is the leader itself or the leader's child (pam_systemd(8)).
#[must_use]
pub fn company(root: &Path, chosen: &Chosen) -> Option<BTreeSet<ProcessId>> {
    let leader = chosen.leader?;
    let before = Moment::now().before(SETTLED).ticks;
    let mut members = Vec::new();
    for entry in fs::read_dir(root.join("proc")).ok()?.flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let owner = entry.metadata().map(|metadata| metadata.uid());
        let is_users = owner.is_ok_and(|owner| owner == chosen.uid);
        if is_users || pid == leader {
            members.extend(member(&entry.path(), pid, is_users, before));
        }
        if members.len() > PROCESSES_MAX {
            return None;
        }
    }
    of_session(&members, leader)
}

/// A living process that began before this time, in clock ticks since the boot.
fn member(folder: &Path, pid: i32, is_users: bool, before: u64) -> Option<Member> {
    let mut text = Vec::new();
    let file = File::open(folder.join("stat")).ok()?;
    file.take(STAT_MAX).read_to_end(&mut text).ok()?;
    let stat = Stat::parse(&text)?;
    let is_one = !stat.is_dead() && stat.start_time < before;
    is_one.then_some(Member {
        id: ProcessId {
            pid,
            start_time: stat.start_time,
        },
        parent: stat.parent,
        is_users,
    })
}

fn of_session(members: &[Member], leader: i32) -> Option<BTreeSet<ProcessId>> {
    let has_leader = members.iter().any(|member| member.id.pid == leader);
    let mut users = members.iter().filter(|member| member.is_users);
    let has_main = users.any(|member| [member.id.pid, member.parent].contains(&leader));
    let ids = members.iter().map(|member| member.id);
    (has_leader && has_main).then(|| ids.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEADER: i32 = 345;

    #[test]
    fn whoever_has_lived_in_the_session_for_a_while_is_company() {
        let root = tempfile::tempdir().unwrap();
        let run = |pid: i32, state: char, parent: i32, started: u64| {
            let folder = root.path().join(format!("proc/{pid}"));
            fs::create_dir_all(&folder).unwrap();
            // Fields 5 to 21 of proc(5), and those after the start.
            let between = "0 ".repeat(17);
            let stat = format!("{pid} (a) b) {state} {parent} {between}{started} 0 0 0\n");
            fs::write(folder.join("stat"), stat).unwrap();
        };
        let pids = |leader| {
            let chosen = Chosen {
                id: "2".into(),
                uid: rustix::process::getuid().as_raw(),
                display: None,
                is_wayland: false,
                is_known: true,
                leader,
                began: None,
            };
            let company = company(root.path(), &chosen)?;
            Some(company.iter().map(|id| id.pid).collect::<Vec<i32>>())
        };
        assert_eq!(pids(Some(LEADER)), None, "there is no /proc");
        run(1, 'S', 0, 1);
        assert_eq!(pids(Some(LEADER)), None, "there is no leader");
        run(LEADER, 'S', 1, u64::MAX);
        assert_eq!(pids(Some(LEADER)), None, "it has only just begun");
        run(LEADER, 'Z', 1, 1);
        assert_eq!(pids(Some(LEADER)), None, "it is dead");
        run(LEADER, 'S', 1, 1);
        run(400, 'S', LEADER, 1);
        run(401, 'S', 400, u64::MAX);
        run(402, 'Z', 400, 1);
        fs::create_dir(root.path().join("proc/403")).unwrap();
        fs::create_dir(root.path().join("proc/self")).unwrap();
        assert_eq!(pids(Some(LEADER)), Some(vec![1, LEADER, 400]));
        assert_eq!(pids(None), None, "logind doesn't know the session");
    }

    #[test]
    fn a_leader_that_is_roots_has_to_have_what_it_has_begun() {
        let member = |pid, parent, is_users| Member {
            id: ProcessId { pid, start_time: 1 },
            parent,
            is_users,
        };
        let leader = member(LEADER, 1, false);
        let orphan = member(500, 1, true);
        assert_eq!(of_session(&[leader, orphan], LEADER), None);
        let window_manager = member(400, LEADER, true);
        let all = [leader, orphan, window_manager];
        assert_eq!(of_session(&all, LEADER).map(|ids| ids.len()), Some(3));
        assert_eq!(of_session(&all[1..], LEADER), None);
    }
}
