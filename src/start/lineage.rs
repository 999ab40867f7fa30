//! Finds out who is left of a start: as long as somebody is, another one would make a second copy. What
//! that means for the next start is decided in [`crate::machine`].

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

use super::instance;
use crate::config::{ProcessSettings, Start};
use crate::proc::{
    Kin, Left, LeftOver, ProcessId, Running, all_kin, children, kin, running_such, users,
};
use crate::systemd::control_group::{ControlGroups, MOUNTED};
use crate::systemd::names::{name_of, unit_of};

/// Where logind puts sessions, whoever's they are (systemd.special(7)).
const USERS: &str = "/user.slice/";

/// What a start has brought into the world, for as long as the start is in flight.
///
/// These are the processes born since it was asked for: in the control group of its unit, and, while the
/// chain of parents stands, the descendants of those; of a child of ours, its session and its
/// descendants. Whoever was seen once stays one of them.
#[derive(Debug)]
pub struct Lineage {
    proc: PathBuf,
    groups: ControlGroups,
    key: String,
    command: Vec<String>,
    /// In clock ticks since the boot.
    since: u64,
    /// The unit that is started; `None` when the start program is a child of ours.
    unit: Option<String>,
    /// The pid of a child, which is its session's too.
    child: Option<i32>,
    /// The child itself, unless it had ended before.
    child_id: Option<ProcessId>,
    seen: BTreeSet<ProcessId>,
}

impl Lineage {
    /// The lineage of a start of `process` that was asked for at `since`, in clock ticks since the boot
    /// ([`crate::sys::host::Moment::ticks`]). `child` is the pid of the start program if that is, or was,
    /// a child of ours; where it would be and isn't known, one that an earlier run has left is looked for.
    #[must_use]
    pub fn new(process: &ProcessSettings, since: u64, child: Option<i32>) -> Self {
        Self::below(Path::new("/"), process, since, child)
    }

    /// The same on the machine whose files are below `root`.
    pub(super) fn below(
        root: &Path,
        process: &ProcessSettings,
        since: u64,
        child: Option<i32>,
    ) -> Self {
        let proc = root.join("proc");
        let is_of_unit = match &process.start {
            Start::Unit(_) => true,
            Start::Command(_) => instance::is_launcher(process.launcher),
        };
        let unit = is_of_unit.then(|| unit_name(root, process));
        let command = match &process.start {
            Start::Unit(_) => Vec::new(),
            Start::Command(command) => command.clone(),
        };
        let groups = ControlGroups::new(root.join(MOUNTED.trim_start_matches('/')), &proc);
        let child = match (&unit, child) {
            (None, None) => inherited_session(&proc, &groups, &command, since),
            (_, child) => child,
        };
        let child_id = child.and_then(|pid| kin(&proc, pid).ok().flatten());
        let child_id = child_id
            .map(|kin| kin.id)
            .filter(|id| id.start_time >= since);
        Self {
            groups,
            proc,
            key: process.key.clone(),
            command,
            since,
            unit,
            child,
            child_id,
            seen: child_id.into_iter().collect(),
        }
    }

    /// The lineage of a start that an earlier run of the service has made. `child` is, or was, its start
    /// program, if that was a child of ours.
    #[must_use]
    pub fn inherited(process: &ProcessSettings, since: u64, child: Option<ProcessId>) -> Self {
        Self::new(process, since, child.map(|child| child.pid)).of(child)
    }

    /// Who has the pid of `child` now may be another.
    fn of(mut self, child: Option<ProcessId>) -> Self {
        if child.is_some() && self.child_id != child {
            self.child_id = None;
            self.seen.clear();
        }
        self
    }

    /// The start program, if it is a child of ours.
    #[must_use]
    pub fn child(&self) -> Option<ProcessId> {
        self.child.and(self.child_id)
    }

    /// Whether the start is a unit's: its control group tells at any time who is left. The descendants of a
    /// child are to be looked at while the chain of parents stands.
    #[must_use]
    pub fn is_of_unit(&self) -> bool {
        self.unit.is_some()
    }

    /// Who of the lineage lives.
    pub fn left(&mut self) -> Left {
        let found = match &self.unit {
            Some(unit) => self.of_unit(&unit.clone()),
            None => self.of_child(),
        };
        let mut left = Left {
            processes: Vec::new(),
            can_tell: found.is_ok(),
        };
        let is_start_command = |arguments: &[String]| {
            is_command(arguments, &self.command) || is_exec(arguments, &self.key)
        };
        self.seen.retain(|id| {
            match LeftOver::read(&self.proc, *id, &is_start_command) {
                Ok(Some(process)) => left.processes.push(process),
                Ok(None) => return false,
                Err(_) => left.can_tell = false,
            }
            true
        });
        left
    }

    /// Whether anything was born since the start in a session of its own, as `su -` begins one
    /// (pam_systemd(8)). Nothing can link it with the start, nor say that it
    /// has nothing to do with it. It takes a look at every process, so it is to be asked once, when
    /// the start program has ended.
    #[must_use]
    pub fn has_unlinked(&self) -> bool {
        match self.unlinked() {
            Ok(is_there) => is_there,
            // What is unknown may be there; but without a hierarchy of systemd's there are no sessions.
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        }
    }

    fn unlinked(&self) -> io::Result<bool> {
        let ours = self.groups.of_process("self")?;
        let mut oldest: BTreeMap<String, u64> = BTreeMap::new();
        let running = running_such(&self.proc, &|_| false)?;
        for process in running.iter().filter(|process| process.unit.is_none()) {
            let group = self.groups.of_process(&process.id.pid.to_string())?;
            let is_session = |group: &String| group.contains(USERS) && Some(group) != ours.as_ref();
            if let Some(group) = group.filter(is_session) {
                let started = oldest.entry(group).or_insert(process.id.start_time);
                *started = process.id.start_time.min(*started);
            }
        }
        Ok(oldest.values().any(|started| *started >= self.since))
    }

    /// Adds who is in the unit's control group, and, of all who were seen, the children.
    fn of_unit(&mut self, unit: &str) -> io::Result<()> {
        let members = self.groups.members(&|name| name == unit);
        let (members, told) = match members {
            Ok(members) => (members, Ok(())),
            Err(error) => (Vec::new(), Err(error)),
        };
        let mut left: Vec<(i32, Option<ProcessId>)> =
            members.into_iter().map(|pid| (pid, None)).collect();
        left.extend(self.seen.iter().map(|id| (id.pid, Some(*id))));
        let mut looked_at = BTreeSet::new();
        while let Some((pid, known)) = left.pop() {
            let Some(kin) = kin(&self.proc, pid)? else {
                continue;
            };
            let is_known = known.is_none_or(|id| id == kin.id);
            if is_known && kin.id.start_time >= self.since && looked_at.insert(pid) {
                self.seen.insert(kin.id);
                left.extend(children(&self.proc, pid).into_iter().map(|pid| (pid, None)));
            }
        }
        told
    }

    /// Adds who is in the session of our child, and the descendants of all who were seen.
    fn of_child(&mut self) -> io::Result<()> {
        let mut young = all_kin(&self.proc)?;
        young.retain(|kin| kin.id.start_time >= self.since);
        // While somebody is in the session nobody else gets the pid (setsid(2)); later somebody may.
        let is_other = |kin: &Kin| Some(kin.id.pid) == self.child && Some(kin.id) != self.child_id;
        let session = self.child.filter(|_| !young.iter().any(is_other));
        loop {
            let parents: BTreeSet<i32> = self.seen.iter().map(|id| id.pid).collect();
            let before = self.seen.len();
            let is_ours = |kin: &&Kin| {
                Some(kin.session) == session || kin.parent > 1 && parents.contains(&kin.parent)
            };
            self.seen
                .extend(young.iter().filter(is_ours).map(|kin| kin.id));
            if self.seen.len() == before {
                return Ok(());
            }
        }
    }
}

/// The unit in which `process` is started when systemd does it, by its own name where the configuration has
/// another one; on the machine whose files are below `root`.
pub(crate) fn unit_name(root: &Path, process: &ProcessSettings) -> String {
    match &process.start {
        Start::Unit(unit) => name_of(root, unit),
        Start::Command(_) => unit_of(&process.key),
    }
}

/// Who is in the control group of the unit in which `process` is started when systemd does it. Where that
/// can't be read, nobody is known to be.
#[must_use]
pub fn in_unit(process: &ProcessSettings) -> BTreeSet<i32> {
    let root = Path::new("/");
    let unit = unit_name(root, process);
    let members = ControlGroups::new(MOUNTED, root.join("proc")).members(&|name| name == unit);
    members.unwrap_or_default().into_iter().collect()
}

/// The session of a start program that an earlier run of the service has made its child, and that it has
/// left an orphan.
fn inherited_session(
    proc: &Path,
    groups: &ControlGroups,
    command: &[String],
    since: u64,
) -> Option<i32> {
    let is_left = |process: &Running| {
        process.id.start_time >= since
            && process.parent == 1
            && is_own(proc, groups, process.id.pid)
    };
    // What can't be looked at is said by the look at the lineage itself.
    let running = running_such(proc, &is_left).ok()?;
    let is_it = |process: &&Running| is_left(process) && is_command(&process.arguments, command);
    running.iter().find(is_it).map(|process| process.session)
}

/// Whether a process is our own: in our control group, where nobody but root can put one, and as our user
/// in every respect. What it calls itself, and what is in its environment, anybody can have.
pub(crate) fn is_own(proc: &Path, groups: &ControlGroups, pid: i32) -> bool {
    let ours = geteuid().as_raw();
    groups.is_in_ours(pid) && users(proc, pid) == Some([ours; 4])
}

/// Whether these are the arguments of a command. Interpreters put themselves before those of a script.
pub(crate) fn is_command(arguments: &[String], command: &[String]) -> bool {
    !command.is_empty() && arguments.ends_with(command)
}

/// Whether these are the arguments of `mfe-watchdog exec KEY`, which becomes the command for the key.
fn is_exec(arguments: &[String], key: &str) -> bool {
    matches!(arguments, [_, exec, rest @ ..] if exec == "exec" && rest.iter().any(|word| word == key))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::super::machine_for_tests::{BASE, Machine, Process, UNIT_GROUP, process};
    use super::*;
    use crate::config::Launcher;

    fn lineage(machine: &Machine, launcher: Launcher, child: Option<i32>) -> Lineage {
        let mut process = process();
        process.launcher = launcher;
        Lineage::below(machine.root(), &process, 1000, child)
    }

    fn pids(left: &Left) -> Vec<i32> {
        assert!(left.can_tell);
        left.processes
            .iter()
            .map(|process| process.id.pid)
            .collect()
    }

    #[test]
    fn who_was_born_in_the_units_group_since_then_is_left() {
        let machine = Machine::new();
        machine.runs(&Process {
            pid: 15,
            started: 999,
            ..BASE
        });
        machine.runs(&Process {
            pid: 20,
            session: 20,
            ..BASE
        });
        machine.runs(&Process {
            pid: 21,
            parent: 20,
            session: 20,
            started: 1001,
            ..BASE
        });
        machine.runs(&Process {
            pid: 30,
            group: "/system.slice/other.service",
            ..BASE
        });
        let mut lineage = lineage(&machine, Launcher::Systemd, None);
        let left = lineage.left();
        assert_eq!(pids(&left), [20, 21]);
        let first = &left.processes[0];
        assert!(first.is_start_program && first.is_script, "{first:?}");
        assert_eq!(first.uid, Some(1000));
        let forked = &left.processes[1];
        assert!(!forked.is_start_program && forked.is_script, "{forked:?}");
        machine.ends(20);
        assert_eq!(pids(&lineage.left()), [21]);
        machine.ends(21);
        assert_eq!(pids(&lineage.left()), [0; 0]);
    }

    #[test]
    fn who_leaves_the_group_while_the_chain_stands_is_left() {
        let machine = Machine::new();
        machine.runs(&Process {
            pid: 20,
            session: 20,
            ..BASE
        });
        machine.runs(&Process {
            pid: 21,
            parent: 20,
            session: 21,
            group: "/user.slice/user-1000.slice/session-5.scope",
            arguments: &["/bin/sh", "/opt/slow"],
            ..BASE
        });
        let mut lineage = lineage(&machine, Launcher::Systemd, None);
        assert_eq!(pids(&lineage.left()), [20, 21]);
        machine.ends(20);
        assert_eq!(pids(&lineage.left()), [21]);
        machine.ends(21);
        machine.runs(&Process {
            pid: 21,
            started: 1002,
            group: "/system.slice/other.service",
            ..BASE
        });
        assert_eq!(pids(&lineage.left()), [0; 0], "the pid is another's now");
    }

    #[test]
    fn of_a_child_it_is_its_session_and_its_descendants() {
        let machine = Machine::new();
        for (pid, parent, session, started) in [
            (20, 1, 20, 1000),
            (21, 20, 20, 1000),
            (22, 21, 22, 1001),
            (23, 1, 20, 1001),
            (24, 1, 24, 1001),
            (25, 1, 20, 900),
        ] {
            machine.runs(&Process {
                pid,
                parent,
                session,
                started,
                ..BASE
            });
        }
        let mut lineage = lineage(&machine, Launcher::Direct, Some(20));
        assert_eq!(pids(&lineage.left()), [20, 21, 22, 23]);
        machine.ends(20);
        machine.ends(21);
        assert_eq!(pids(&lineage.left()), [22, 23]);
        let mut remembered = super::tests::lineage(&machine, Launcher::Direct, Some(20));
        assert_eq!(pids(&remembered.left()), [23]);
        machine.ends(23);
        machine.runs(&Process {
            pid: 20,
            session: 20,
            started: 1005,
            ..BASE
        });
        assert_eq!(pids(&lineage.left()), [22], "the pid is another's now");
    }

    #[test]
    fn a_start_that_an_earlier_run_has_left_is_our_own() {
        let machine = Machine::new();
        let group = "/init.scope";
        let forged = Process {
            pid: 20,
            session: 20,
            group: "/user.slice/user-1000.slice/session-3.scope",
            ..BASE
        };
        let left = Process {
            pid: 30,
            session: 30,
            group,
            ..BASE
        };
        machine.runs(&forged);
        machine.runs(&left);
        let ours = geteuid().as_raw();
        let is_user = |pid: i32, effective: u32| {
            let status = format!("Uid:\t{ours}\t{effective}\t{ours}\t{ours}\n");
            fs::write(machine.path(&format!("proc/{pid}/status")), status).unwrap();
        };
        is_user(20, ours);
        is_user(30, ours + 1);
        let found = || pids(&lineage(&machine, Launcher::Direct, None).left());
        assert_eq!(found(), [0; 0]);
        is_user(30, ours);
        assert_eq!(found(), [30]);
    }

    /// What isn't our own is recognised by the session that our child has begun.
    #[test]
    fn of_a_start_that_an_earlier_run_has_made_its_session_is_left() {
        let machine = Machine::new();
        let of_others = "/user.slice/user-1000.slice/session-3.scope";
        machine.runs(&Process {
            pid: 31,
            session: 30,
            started: 1002,
            group: of_others,
            ..BASE
        });
        let id = ProcessId {
            pid: 30,
            start_time: 1001,
        };
        let inherited = |child: Option<ProcessId>| {
            lineage(&machine, Launcher::Direct, child.map(|id| id.pid)).of(child)
        };
        let found = |child| pids(&inherited(child).left());
        assert_eq!(found(None), [0; 0]);
        assert_eq!(found(Some(id)), [31]);
        let child = |started| {
            machine.runs(&Process {
                pid: 30,
                session: 30,
                started,
                group: of_others,
                ..BASE
            });
        };
        child(1001);
        assert_eq!(found(Some(id)), [30, 31]);
        machine.ends(30);
        child(1003);
        assert_eq!(found(Some(id)), [0; 0], "the pid is another's now");
    }

    #[test]
    fn what_cannot_be_told_is_said() {
        let machine = Machine::new();
        fs::remove_file(machine.path("proc/1/cgroup")).unwrap();
        for launcher in [Launcher::Systemd, Launcher::Direct] {
            let mut lineage = lineage(&machine, launcher, None);
            assert_eq!(lineage.left().can_tell, launcher == Launcher::Direct);
        }
        fs::remove_dir_all(machine.path("proc/1")).unwrap();
        assert!(!lineage(&machine, Launcher::Direct, None).left().can_tell);
    }

    #[test]
    fn a_session_that_has_begun_since_then_cannot_be_linked() {
        let machine = Machine::new();
        let lineage = lineage(&machine, Launcher::Systemd, None);
        let session = "/user.slice/user-1000.slice/session-3.scope";
        machine.runs(&Process {
            pid: 20,
            started: 999,
            group: session,
            ..BASE
        });
        machine.runs(&Process {
            pid: 21,
            group: session,
            ..BASE
        });
        machine.runs(&Process {
            pid: 22,
            group: "/user.slice/user-1000.slice/user@1000.service/init.scope",
            ..BASE
        });
        machine.runs(&Process { pid: 23, ..BASE });
        assert!(!lineage.has_unlinked(), "a person's shell was there before");
        machine.runs(&Process {
            pid: 24,
            group: "/user.slice/user-1000.slice/session-4.scope",
            ..BASE
        });
        assert!(lineage.has_unlinked());
    }

    #[test]
    fn a_command_is_known_by_its_arguments() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert!(is_command(&words("/bin/sh /x/run a"), &words("/x/run a")));
        assert!(!is_command(&words("/bin/sh /x/run b"), &words("/x/run a")));
        assert!(!is_command(&words("/bin/sh"), &[]));
        assert!(is_exec(
            &words("/usr/bin/mfe-watchdog exec monitor"),
            "monitor"
        ));
        assert!(!is_exec(
            &words("/usr/bin/mfe-watchdog exec monitor"),
            "other"
        ));
        assert!(!is_exec(&words("exec monitor"), "monitor"));
    }

    /// What may happen in a machine.
    #[derive(Debug, Clone, Copy)]
    enum Happening {
        /// One of them has a child, which goes into the unit's group or elsewhere, and into a session of its
        /// own or not.
        Forks {
            parent: usize,
            leaves: bool,
            has_session: bool,
        },
        /// One of them ends, and init has its children.
        Ends(usize),
        /// Another process takes the pid of one that has ended.
        Reuses(usize),
        /// Somebody's process begins.
        Begins,
        /// It is asked who is left.
        Look,
        /// The service is started again.
        Restarts,
    }

    fn happening() -> impl Strategy<Value = Happening> {
        prop_oneof![
            4 => (0..20_usize, any::<bool>(), any::<bool>()).prop_map(
                |(parent, leaves, has_session)| Happening::Forks { parent, leaves, has_session }
            ),
            3 => (0..20_usize).prop_map(Happening::Ends),
            1 => (0..20_usize).prop_map(Happening::Reuses),
            1 => Just(Happening::Begins),
            4 => Just(Happening::Look),
            1 => Just(Happening::Restarts),
        ]
    }

    const SINCE: u64 = 1000;
    const ELSEWHERE: &str = "/user.slice/user-1000.slice/session-5.scope";

    /// A process of the forest.
    #[derive(Clone, Copy)]
    struct Tree {
        process: Process,
        /// Whether it descends from the start.
        is_ours: bool,
        /// Whether everybody between it and the start lived when somebody looked, or it shows by itself
        /// whose it is.
        is_seen: bool,
    }

    /// A machine, and who of it came of the start.
    struct Forest {
        machine: Machine,
        trees: Vec<Tree>,
        ended: Vec<i32>,
        pid: i32,
        now: u64,
        is_of_unit: bool,
    }

    impl Forest {
        fn new(is_of_unit: bool) -> Self {
            let mut forest = Self {
                machine: Machine::new(),
                trees: Vec::new(),
                ended: Vec::new(),
                pid: 19,
                now: SINCE - 10,
                is_of_unit,
            };
            // What was there before, in the same group.
            forest.begins(1, 19, UNIT_GROUP, false);
            forest.now = SINCE;
            let group = if is_of_unit {
                UNIT_GROUP
            } else {
                "/init.scope"
            };
            forest.begins(1, 20, group, true);
            forest
        }

        fn begins(&mut self, parent: i32, session: i32, group: &'static str, is_ours: bool) {
            let pid = self.pid;
            self.pid += 1;
            self.begins_as(pid, parent, session, group, is_ours);
        }

        fn begins_as(
            &mut self,
            pid: i32,
            parent: i32,
            session: i32,
            group: &'static str,
            is_ours: bool,
        ) {
            let process = Process {
                pid,
                parent,
                session,
                started: self.now,
                group,
                ..BASE
            };
            self.machine.runs(&process);
            // Whoever begins in the unit's group since then is the start's.
            let is_ours = is_ours || self.is_of_unit && self.shows(&process);
            self.trees.push(Tree {
                process,
                is_ours,
                is_seen: false,
            });
        }

        /// Whether it shows by itself that it came of the start: by its group, or its session.
        fn shows(&self, process: &Process) -> bool {
            if self.is_of_unit {
                process.group == UNIT_GROUP && process.started >= SINCE
            } else {
                // Once somebody else has its pid, the session may be his.
                let mut trees = self.trees.iter();
                let is_taken = trees.any(|tree| tree.process.pid == 20 && !tree.is_ours);
                process.session == 20 && process.started >= SINCE && !is_taken
            }
        }

        fn happens(&mut self, happening: Happening) {
            self.now += 1;
            match happening {
                Happening::Forks {
                    parent,
                    leaves,
                    has_session,
                } => {
                    let Some(parent) = self.trees.get(parent).copied() else {
                        return;
                    };
                    let session = if has_session {
                        self.pid
                    } else {
                        parent.process.session
                    };
                    let group = if leaves {
                        ELSEWHERE
                    } else {
                        parent.process.group
                    };
                    let is_ours = parent.is_ours;
                    self.begins(parent.process.pid, session, group, is_ours);
                }
                Happening::Ends(index) if index < self.trees.len() => {
                    let pid = self.trees.remove(index).process.pid;
                    self.machine.ends(pid);
                    self.ended.push(pid);
                    for tree in &mut self.trees {
                        if tree.process.parent == pid {
                            tree.process.parent = 1;
                            self.machine.is_reparented(&tree.process);
                        }
                    }
                }
                Happening::Reuses(index) if index < self.ended.len() => {
                    let pid = self.ended.swap_remove(index);
                    // Nobody gets the pid of a session in which somebody is.
                    if self.trees.iter().all(|tree| tree.process.session != pid) {
                        self.begins_as(pid, 1, pid, ELSEWHERE, false);
                    }
                }
                Happening::Begins => self.begins(1, self.pid, ELSEWHERE, false),
                _ => {}
            }
        }

        /// Who is to be told as left. Whoever was seen once stays one of them, and so are those whom it has
        /// brought forth, while that can be seen.
        fn left(&mut self) -> Vec<i32> {
            loop {
                let seen: Vec<i32> = self
                    .trees
                    .iter()
                    .filter(|tree| tree.is_seen)
                    .map(|tree| tree.process.pid)
                    .collect();
                let is_new: Vec<bool> = self
                    .trees
                    .iter()
                    .map(|tree| {
                        let is_child = seen.contains(&tree.process.parent);
                        !tree.is_seen && (is_child || self.shows(&tree.process))
                    })
                    .collect();
                if !is_new.contains(&true) {
                    let mut left = seen;
                    left.sort_unstable();
                    return left;
                }
                for (tree, is_new) in self.trees.iter_mut().zip(is_new) {
                    tree.is_seen |= is_new;
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        /// Who is left of a start is whoever shows that it came of it or whose parents were seen to, and never
        /// anybody else: not who was there before, nor who has got the pid of one of them.
        #[test]
        fn in_any_forest_those_of_the_start_are_left_and_nobody_else(
            is_of_unit in any::<bool>(),
            history in prop::collection::vec(happening(), 0..60),
        ) {
            let launcher = if is_of_unit { Launcher::Systemd } else { Launcher::Direct };
            let mut forest = Forest::new(is_of_unit);
            let child = (!is_of_unit).then_some(20);
            let id = ProcessId { pid: 20, start_time: SINCE };
            let mut lineage = super::tests::lineage(&forest.machine, launcher, child);
            for happening in history.into_iter().chain([Happening::Look]) {
                forest.happens(happening);
                match happening {
                    Happening::Restarts => {
                        let remembered = super::tests::lineage(&forest.machine, launcher, child);
                        lineage = remembered.of(child.map(|_| id));
                        // Those that have left without a trace are forgotten.
                        for tree in &mut forest.trees {
                            tree.is_seen = false;
                        }
                    }
                    Happening::Look => {
                        let mut found = pids(&lineage.left());
                        found.sort_unstable();
                        let expected = forest.left();
                        prop_assert_eq!(&found, &expected);
                        let is_ours = |pid: &i32| {
                            let mut trees = forest.trees.iter();
                            trees.any(|tree| tree.process.pid == *pid && tree.is_ours)
                        };
                        prop_assert!(found.iter().all(is_ours), "{:?}", found);
                    }
                    _ => {}
                }
            }
        }
    }
}
