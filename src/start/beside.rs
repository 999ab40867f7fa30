//! Says whether a start inside `mfe@KEY.service` would make a second copy: somebody other than the
//! service may have asked systemd for it (`systemctl restart`, needrestart). What
//! the service itself looks at before it asks for a start is decided in [`crate::machine`].
//!
//! Here a process counts that only nearly is the program, if it came with a start of ours: it is in the
//! unit's control group, and has its name, whatever its exe, its user or its PID namespace. What the rules
//! would have it be, but for upper and lower case letters, or for what an earlier version didn't ask, counts
//! wherever it is.
//!
//! It is a look at everything that lives at this moment, made again each time: what the service has found out
//! may be old by now. A stranger may run any number of processes of the name, so no more of one is read than
//! rules it out ([`ProcessTable::look_before_start`]).
//!
//! This may run as the unit's `User=`, which may not be let look at everything. The service may: where
//! it has just asked for this very start, and so has just looked, what can't be seen from here is left to
//! it. Once its start has begun, the next one is somebody else's.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::{Launcher, ProcessSettings};
use crate::proc::{LeftOver, ProcessId, ProcessTable, kin};
use crate::sys::host::Moment;
use crate::sys::small_file;
use crate::systemd::control_group::{ControlGroups, MOUNTED};
use crate::systemd::names::{is_booted, unit_of};
use crate::text::phrase::{Phrase, phrase};

/// How long after the service has asked for a start its look counts.
const RECENT: Duration = Duration::from_secs(10);

/// What stands against a start.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing.
    Go,
    /// The program runs, as this process.
    Runs(LeftOver),
    /// It is being started, by this process among others.
    IsStarting(LeftOver),
    /// It is unknown.
    Unknown(Phrase),
}

/// What the service says of a process.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// Whether the service runs.
    pub(crate) is_running: bool,
    /// The pids of the program, as it has published them.
    pub(crate) pids: Vec<i32>,
    /// Whether it has seen the program since that was last started.
    pub(crate) is_up: bool,
    /// The start that it has last asked systemd for.
    pub(crate) asked: Option<Asked>,
    /// Its pid, while it says that the program is being started.
    pub(crate) starting_by: Option<i32>,
}

/// A start that the service has asked systemd for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Asked {
    /// When, in clock ticks since the boot.
    pub(crate) since: u64,
    /// Whether it may still be to come: if not, whoever starts now was asked by somebody else.
    pub(crate) is_pending: bool,
}

/// What stands behind the time of a start that may still be to come.
const PENDING: &str = "pending";

/// The name of the file in the runtime directory that says when the service last asked for a start.
fn file_name(key: &str) -> String {
    format!("asked-{key}")
}

/// Notes in `directory` that a start is asked for, on the ground of a look at `looked`, and in which session
/// if the program belongs in one. Where that can't be written, nothing is to be found there, rather than
/// an older one.
pub(super) fn note(directory: &Path, key: &str, looked: Moment, session: Option<&str>) {
    let name = file_name(key);
    let content = format!(
        "{} {PENDING}\n{}\n",
        looked.ticks,
        session.unwrap_or_default()
    );
    if small_file::replace(directory, &name, content.as_bytes()).is_err() {
        // It may never have been there.
        let _ = fs::remove_file(directory.join(name));
    }
}

/// Notes in `directory` that the start that was asked for has begun, or won't. Where that can't be written,
/// it counts as to come for a while ([`RECENT`]).
pub(super) fn note_begun(directory: &Path, key: &str) {
    if let Some(Asked { since, .. }) = asked(directory, key).filter(|asked| asked.is_pending) {
        let session = asked_session(directory, key).unwrap_or_default();
        let content = format!("{since}\n{session}\n");
        let _ = small_file::replace(directory, &file_name(key), content.as_bytes());
    }
}

/// The start that was last asked for, as was noted in `directory`.
pub(crate) fn asked(directory: &Path, key: &str) -> Option<Asked> {
    let text = noted(directory, key)?;
    let mut words = text.lines().next()?.split_ascii_whitespace();
    Some(Asked {
        since: words.next()?.parse().ok()?,
        is_pending: words.next() == Some(PENDING),
    })
}

/// The session in which a start was last asked for, likewise.
pub(crate) fn asked_session(directory: &Path, key: &str) -> Option<String> {
    let noted = noted(directory, key)?;
    let session = noted.lines().nth(1)?;
    (!session.is_empty()).then(|| session.to_owned())
}

fn noted(directory: &Path, key: &str) -> Option<String> {
    let text = small_file::read(directory, &file_name(key)).ok()??;
    String::from_utf8(text).ok()
}

/// Looks whether the program of `process` runs already, or is being started. If it is to run as the user
/// `only`, another user's is none of its copies; root's is in its way.
pub(crate) fn look(process: &ProcessSettings, known: &Known, only: Option<u32>) -> Verdict {
    let mut look = Look::new(Path::new("/"), process, known, Moment::now());
    look.only = only;
    look.verdict(is_booted())
}

struct Look<'a> {
    proc: PathBuf,
    groups: ControlGroups,
    process: &'a ProcessSettings,
    known: &'a Known,
    now: Moment,
    /// The user whose processes count, besides root's; `None` for all.
    only: Option<u32>,
    /// This process and its ancestors.
    ours: BTreeSet<i32>,
}

impl<'a> Look<'a> {
    fn new(root: &Path, process: &'a ProcessSettings, known: &'a Known, now: Moment) -> Self {
        let proc = root.join("proc");
        let mut ours = BTreeSet::new();
        let mut pid = i32::try_from(std::process::id()).unwrap_or_default();
        while ours.insert(pid) {
            let kin = kin(&proc, pid).ok().flatten();
            pid = kin.map_or(0, |kin| kin.parent);
        }
        Self {
            groups: ControlGroups::new(root.join(MOUNTED.trim_start_matches('/')), &proc),
            proc,
            process,
            known,
            now,
            only: None,
            ours,
        }
    }

    /// Where systemd doesn't run the machine, no unit has a control group.
    fn verdict(&self, has_units: bool) -> Verdict {
        let group = if has_units {
            self.in_group()
        } else {
            Ok(Verdict::Go)
        };
        let table = self.in_table();
        let mut found = Vec::new();
        let mut unknown = None;
        let by_service = self.by_service();
        for looked in [group, table, self.known_to_service(), by_service] {
            match looked {
                Ok(verdict) => found.push(verdict),
                Err(why) => unknown = Some(why),
            }
        }
        if let Some(runs) = found.iter().position(|it| matches!(it, Verdict::Runs(_))) {
            return found.swap_remove(runs);
        }
        if let Some(other) = found.iter().position(|it| *it != Verdict::Go) {
            return found.swap_remove(other);
        }
        match unknown {
            Some(why) if !self.has_service_looked() => Verdict::Unknown(why),
            _ => Verdict::Go,
        }
    }

    /// Whether the service has just asked for this start.
    fn has_service_looked(&self) -> bool {
        let since = self.now.before(RECENT).ticks;
        let is_this = |asked: Asked| asked.is_pending && asked.since >= since;
        self.known.is_running && self.known.asked.is_some_and(is_this)
    }

    /// Looks at who is in the unit's control group.
    fn in_group(&self) -> Result<Verdict, Phrase> {
        let unit = unit_of(&self.process.key);
        let in_words = |error: &io::Error| {
            phrase!(
                "the control group of %{unit} can't be read: %{error}",
                unit = unit.as_str(),
                error = error.to_string()
            )
        };
        let members = self.groups.members(&|name| name == unit);
        let members = members.map_err(|error| in_words(&error))?;
        let mut verdict = Verdict::Go;
        for pid in members.into_iter().filter(|pid| !self.ours.contains(pid)) {
            let member = self.read(pid).map_err(|error| in_words(&error))?;
            let counts = |member: &LeftOver| match (self.only, member.uid) {
                (Some(only), Some(uid)) => uid == only || uid == 0,
                _ => true,
            };
            let Some(member) = member.filter(counts) else {
                continue;
            };
            let comm = self.process.name().comm();
            if member.comm.as_bytes().eq_ignore_ascii_case(comm) {
                return Ok(Verdict::Runs(member));
            }
            if self
                .start_in_flight()
                .is_some_and(|since| member.id.start_time >= since)
            {
                verdict = Verdict::IsStarting(member);
            }
        }
        Ok(verdict)
    }

    /// Since when what was born in the unit's group may belong to a start in flight, in clock ticks since
    /// the boot; `None` where none is in flight. The service waits for it as long as it takes; without
    /// the service nobody waits longer than `start_timeout`.
    fn start_in_flight(&self) -> Option<u64> {
        if self.known.is_running && self.known.is_up {
            return None;
        }
        let asked = self.known.asked.filter(|_| self.known.is_running);
        let timeout = self.process.policy.start_timeout;
        let earliest = || self.now.before(timeout).ticks;
        Some(asked.map_or_else(earliest, |asked| asked.since))
    }

    /// Looks at everything that runs.
    fn in_table(&self) -> Result<Verdict, Phrase> {
        let mut table = ProcessTable::new(&self.proc);
        let found = table.look_before_start(&self.process.target, &self.ours);
        for id in found.map_err(|error| error.phrase())? {
            let runs = self.read_id(id);
            if let Some(runs) = runs.map_err(|error| unreadable(id.pid, &error))? {
                return Ok(Verdict::Runs(runs));
            }
        }
        Ok(Verdict::Go)
    }

    /// Looks whether one of those lives that the service takes for the program, under whatever name. If
    /// it asks for the start itself, it knows that none does.
    fn known_to_service(&self) -> Result<Verdict, Phrase> {
        let is_asked_by_others = self.known.is_running && !self.has_service_looked();
        let known = self.known.pids.iter().filter(|_| is_asked_by_others);
        for pid in known.filter(|pid| !self.ours.contains(pid)) {
            let runs = self.read(*pid);
            if let Some(runs) = runs.map_err(|error| unreadable(*pid, &error))? {
                return Ok(Verdict::Runs(runs));
            }
        }
        Ok(Verdict::Go)
    }

    /// Looks whether the service has the program started by a child of its own, whose descendants are in no
    /// group that could tell.
    fn by_service(&self) -> Result<Verdict, Phrase> {
        let is_direct = matches!(self.process.launcher, Launcher::Direct);
        let service = self.known.starting_by.filter(|_| is_direct);
        // It may be the one that runs this.
        let Some(service) = service.filter(|pid| !self.ours.contains(pid)) else {
            return Ok(Verdict::Go);
        };
        let service = self
            .read(service)
            .map_err(|error| unreadable(service, &error))?;
        Ok(service.map_or(Verdict::Go, Verdict::IsStarting))
    }

    fn read(&self, pid: i32) -> io::Result<Option<LeftOver>> {
        match kin(&self.proc, pid)? {
            Some(kin) => self.read_id(kin.id),
            None => Ok(None),
        }
    }

    fn read_id(&self, id: ProcessId) -> io::Result<Option<LeftOver>> {
        LeftOver::read(&self.proc, id, &|_| false)
    }
}

fn unreadable(pid: i32, error: &io::Error) -> Phrase {
    phrase!(
        "%{file} can't be read: %{error}",
        file = format!("/proc/{pid}"),
        error = error.to_string()
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::machine_for_tests::{BASE, Machine, Process, UNIT_GROUP, process};
    use super::*;
    use crate::proc::{CmdlinePattern, ProcessName};

    const PROGRAM: &str = "/opt/sefaz/cco/bin/Comunicador";
    const ELSEWHERE: &str = "/user.slice/user-1000.slice/session-1.scope";

    /// 100 s after the machine has started, by clocks of 100 ticks a second.
    const NOW: u64 = 10_000;

    fn verdict(machine: &Machine, process: &ProcessSettings, known: &Known) -> Verdict {
        let now = Moment {
            monotonic: Duration::from_secs(100),
            ticks: NOW,
        };
        Look::new(machine.root(), process, known, now).verdict(true)
    }

    fn in_words(verdict: Verdict) -> String {
        match verdict {
            Verdict::Go => "go".to_owned(),
            Verdict::Runs(process) => format!("runs: {}", process.id.pid),
            Verdict::IsStarting(process) => format!("is starting: {}", process.id.pid),
            Verdict::Unknown(why) => format!("unknown: {why}"),
        }
    }

    fn pending(since: u64) -> Asked {
        let is_pending = true;
        Asked { since, is_pending }
    }

    fn begun(since: u64) -> Asked {
        let is_pending = false;
        Asked { since, is_pending }
    }

    fn says(machine: &Machine, known: &Known) -> String {
        in_words(verdict(machine, &process(), known))
    }

    fn program(pid: i32) -> Process {
        Process {
            pid,
            group: ELSEWHERE,
            exe: PROGRAM,
            arguments: &[PROGRAM],
            ..BASE
        }
    }

    #[test]
    fn what_runs_is_not_started_again() {
        let machine = Machine::new();
        machine.runs(&Process {
            arguments: &["/opt/other"],
            ..program(19)
        });
        assert_eq!(says(&machine, &Known::default()), "go");
        machine.runs(&program(20));
        assert_eq!(says(&machine, &Known::default()), "runs: 20");
    }

    #[test]
    fn the_name_in_other_letters_is_nearly_the_program() {
        let machine = Machine::new();
        machine.runs(&Process {
            arguments: &["/opt/sefaz/cco/bin/comunicador"],
            ..program(20)
        });
        assert_eq!(says(&machine, &Known::default()), "runs: 20");
        let mut process = process();
        process.target.exe = Some(crate::proc::ExePattern::new("/usr/bin/x").unwrap());
        let verdict = verdict(&machine, &process, &Known::default());
        assert_eq!(in_words(verdict), "go", "a stranger's");
    }

    #[test]
    fn of_a_long_name_the_whole_is_compared_in_any_letters() {
        let machine = Machine::new();
        let mut process = process();
        process.target.name = ProcessName::new("ComunicadorFiscalServer");
        let known = Known::default();
        let runs = |pid, arguments| {
            machine.runs(&Process {
                pid,
                arguments,
                ..program(pid)
            });
        };
        for pid in 20..40 {
            // As many ways to write the name as anybody likes hide none.
            runs(pid, &["/home/x/comunicadorFISCALclient"]);
        }
        assert_eq!(in_words(verdict(&machine, &process, &known)), "go");
        runs(40, &["/bin/sh", "/opt/comunicadorfiscalserver"]);
        assert_eq!(in_words(verdict(&machine, &process, &known)), "runs: 40");
    }

    #[test]
    fn what_only_a_stricter_rule_refuses_is_not_started_beside() {
        let machine = Machine::new();
        let mut process = process();
        process.target.cmdline = Some(CmdlinePattern::new("^java ").unwrap());
        let longer_than_is_read: &str = Box::leak("x".repeat(70_000).into_boxed_str());
        for (pid, first) in [(20, "mono"), (21, "java")] {
            let arguments = vec![first, longer_than_is_read, PROGRAM];
            let arguments = Box::leak(arguments.into_boxed_slice());
            let known = Known::default();
            assert_eq!(in_words(verdict(&machine, &process, &known)), "go");
            machine.runs(&Process {
                arguments,
                ..program(pid)
            });
        }
        let known = Known::default();
        assert_eq!(in_words(verdict(&machine, &process, &known)), "runs: 21");
    }

    #[test]
    fn what_came_with_a_start_need_only_have_the_name() {
        let machine = Machine::new();
        let mut process = process();
        process.target.exe = Some(crate::proc::ExePattern::new("/usr/bin/x").unwrap());
        let known = Known::default();
        machine.runs(&program(20));
        assert_eq!(in_words(verdict(&machine, &process, &known)), "go");
        machine.runs(&Process {
            group: UNIT_GROUP,
            ..program(21)
        });
        assert_eq!(in_words(verdict(&machine, &process, &known)), "runs: 21");
    }

    #[test]
    fn another_users_is_no_copy_of_a_sessions() {
        let machine = Machine::new();
        machine.runs(&Process {
            group: UNIT_GROUP,
            ..program(21)
        });
        let process = process();
        let known = Known::default();
        let now = Moment {
            monotonic: Duration::from_secs(100),
            ticks: NOW,
        };
        let group = |only| {
            let mut look = Look::new(machine.root(), &process, &known, now);
            look.only = only;
            in_words(look.in_group().unwrap())
        };
        let uid = LeftOver::read(
            &machine.path("proc"),
            ProcessId {
                pid: 21,
                start_time: BASE.started,
            },
            &|_| false,
        );
        let uid = uid.unwrap().unwrap().uid.unwrap();
        assert_eq!(group(Some(uid)), "runs: 21");
        let other = group(Some(uid + 1));
        assert_eq!(
            other,
            if uid == 0 { "runs: 21" } else { "go" },
            "root's is in the way"
        );
    }

    #[test]
    fn a_start_on_its_way_is_let_finish() {
        let machine = Machine::new();
        machine.runs(&Process {
            pid: 20,
            started: NOW - 4000,
            ..BASE
        });
        let by_hand = Known::default();
        assert_eq!(says(&machine, &by_hand), "go", "longer than start_timeout");
        let waited_for = Known {
            is_running: true,
            asked: Some(begun(NOW - 4001)),
            ..Known::default()
        };
        assert_eq!(says(&machine, &waited_for), "is starting: 20");
        let outlives_its_program = Known {
            asked: Some(begun(NOW - 10)),
            ..waited_for
        };
        assert_eq!(says(&machine, &outlives_its_program), "go");
        let is_up = Known {
            is_running: true,
            is_up: true,
            asked: Some(begun(NOW - 4001)),
            ..Known::default()
        };
        assert_eq!(says(&machine, &is_up), "go");
        machine.runs(&Process {
            pid: 21,
            started: NOW - 2000,
            ..BASE
        });
        assert_eq!(says(&machine, &by_hand), "is starting: 21");
    }

    #[test]
    fn what_the_service_takes_for_the_program_is_it() {
        let machine = Machine::new();
        machine.runs(&Process {
            arguments: &["/opt/renamed"],
            ..program(20)
        });
        let mut known = Known {
            pids: vec![19, 20],
            ..Known::default()
        };
        assert_eq!(says(&machine, &known), "go", "that is long ago");
        known.is_running = true;
        assert_eq!(says(&machine, &known), "runs: 20");
        known.asked = Some(begun(NOW - 1));
        assert_eq!(says(&machine, &known), "runs: 20", "somebody else asks");
        known.asked = Some(pending(NOW - 1));
        assert_eq!(says(&machine, &known), "go", "it knows better");
    }

    #[test]
    fn what_cannot_be_told_is_left_to_the_service() {
        let machine = Machine::new();
        fs::remove_dir_all(machine.path("proc/1")).unwrap();
        let mut known = Known {
            asked: Some(pending(NOW - 1)),
            ..Known::default()
        };
        assert!(says(&machine, &known).starts_with("unknown: "));
        known.is_running = true;
        assert_eq!(says(&machine, &known), "go");
        for asked in [Some(pending(NOW - 2000)), Some(begun(NOW - 1))] {
            known.asked = asked;
            assert!(says(&machine, &known).starts_with("unknown: "));
        }
        machine.runs(&program(20));
        known.pids = vec![20];
        assert_eq!(says(&machine, &known), "runs: 20");
    }

    #[test]
    fn a_child_of_the_services_is_a_start_in_flight() {
        let machine = Machine::new();
        machine.runs(&Process {
            arguments: &["/usr/bin/mfe-watchdog", "run"],
            ..program(30)
        });
        let mut known = Known {
            is_running: true,
            starting_by: Some(30),
            ..Known::default()
        };
        assert_eq!(says(&machine, &known), "go", "its unit tells");
        let mut process = process();
        process.launcher = Launcher::Direct;
        let says = |known: &Known| in_words(verdict(&machine, &process, known));
        assert_eq!(says(&known), "is starting: 30");
        known.starting_by = i32::try_from(std::process::id()).ok();
        assert_eq!(says(&known), "go", "it is the service's own");
    }

    #[test]
    fn what_was_asked_for_is_noted() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(asked(directory.path(), "monitor"), None);
        let looked = Moment::now();
        note(directory.path(), "monitor", looked, Some("c2"));
        assert_eq!(
            asked(directory.path(), "monitor"),
            Some(pending(looked.ticks))
        );
        for _ in 0..2 {
            note_begun(directory.path(), "monitor");
            assert_eq!(
                asked(directory.path(), "monitor"),
                Some(begun(looked.ticks))
            );
        }
        note_begun(directory.path(), "comunicador");
        assert_eq!(asked(directory.path(), "comunicador"), None);
        let session = || asked_session(directory.path(), "monitor");
        assert_eq!(session().as_deref(), Some("c2"));
        note(directory.path(), "monitor", looked, None);
        assert_eq!(session(), None);
        fs::create_dir(directory.path().join(".asked-monitor.new")).unwrap();
        note(directory.path(), "monitor", looked, None);
        assert_eq!(asked(directory.path(), "monitor"), None);
    }

    /// What a process of a random machine is.
    #[derive(Debug, Clone, Copy)]
    struct Any {
        is_in_group: bool,
        /// Which of [`NAMES`] it has.
        name: usize,
        /// How long it has lived, in clock ticks.
        age: u64,
        /// Whether the service takes it for the program.
        is_known: bool,
    }

    /// The program's, the same in other letters, and another one's.
    const NAMES: [&[&str]; 3] = [
        &[PROGRAM],
        &["/opt/sefaz/cco/bin/COMUNICADOR"],
        &["/bin/sh", "/opt/slow"],
    ];

    fn any_process() -> impl Strategy<Value = Any> {
        let name = prop_oneof![1 => Just(0_usize), 1 => Just(1), 6 => Just(2)];
        let age = prop_oneof![0..3000_u64, 2900..3100_u64, 3000..9000_u64];
        (any::<bool>(), name, age, any::<bool>()).prop_map(|(is_in_group, name, age, is_known)| {
            Any {
                is_in_group,
                name,
                age,
                is_known,
            }
        })
    }

    fn any_known() -> impl Strategy<Value = Known> {
        let asked = (0..9000_u64, any::<bool>());
        let asked = proptest::option::of(prop_oneof![
            1 => (0..1000_u64, any::<bool>()),
            2 => asked,
        ]);
        (any::<bool>(), any::<bool>(), asked).prop_map(|(is_running, is_up, asked)| Known {
            is_running,
            is_up,
            asked: asked.map(|(ago, is_pending)| Asked {
                since: NOW - ago,
                is_pending,
            }),
            ..Known::default()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        /// Nothing is started beside the program, what the service takes for it, or a start on its way; and
        /// nothing where nobody has looked.
        #[test]
        fn on_any_machine_it_is_said_what_stands_against_a_start(
            all in prop::collection::vec(any_process(), 0..6),
            mut known in any_known(),
            can_look in prop_oneof![4 => Just(true), 1 => Just(false)],
        ) {
            let machine = Machine::new();
            for (pid, any) in (20..).zip(&all) {
                machine.runs(&Process {
                    pid,
                    started: NOW - any.age,
                    group: if any.is_in_group { UNIT_GROUP } else { ELSEWHERE },
                    exe: if any.name == 2 { BASE.exe } else { PROGRAM },
                    arguments: NAMES[any.name],
                    ..BASE
                });
                known.pids.extend(any.is_known.then_some(pid));
            }
            // One that has ended since.
            known.pids.push(99);
            if !can_look {
                fs::remove_dir_all(machine.path("proc/1")).unwrap();
            }
            let asked = known.asked.filter(|_| known.is_running);
            let has_looked = asked.is_some_and(|asked| asked.is_pending && NOW - asked.since <= 1000);
            let runs = |any: &Any| {
                let is_taken = any.is_known && known.is_running && !has_looked;
                can_look && any.name < 2 || is_taken
            };
            let since = asked.map_or(NOW - 3000, |asked| asked.since);
            let is_awaited = !(known.is_running && known.is_up);
            let is_starting = |any: &Any| {
                can_look && any.is_in_group && is_awaited && NOW - any.age >= since
            };
            let of = |pid: i32| &all[usize::try_from(pid - 20).unwrap()];
            match verdict(&machine, &process(), &known) {
                Verdict::Go => {
                    prop_assert!(!all.iter().any(runs), "it runs");
                    prop_assert!(!all.iter().any(is_starting), "it is on its way");
                    prop_assert!(can_look || has_looked, "nobody has looked");
                }
                Verdict::Runs(it) => prop_assert!(runs(of(it.id.pid)), "{:?}", it),
                Verdict::IsStarting(it) => {
                    prop_assert!(!all.iter().any(runs), "it runs");
                    prop_assert!(is_starting(of(it.id.pid)), "{:?}", it);
                }
                Verdict::Unknown(_) => {
                    prop_assert!(!all.iter().any(runs), "it runs");
                    prop_assert!(!can_look && !has_looked, "it could be told");
                }
            }
        }
    }
}
