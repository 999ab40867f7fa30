//! A world as a machine may meet it: what the machine asks for happens, late, differently or not at all.
//! What it is held to meanwhile is in [`super::rules`].

use proptest::prelude::*;

use super::super::*;
use super::SECOND;
use super::rules::Rules;
use crate::proc::{LeftOver, RunState};

/// More of them show nothing more.
const MOST: usize = 5;

/// A user who isn't the service's.
const OTHER: u32 = 1000;

/// Something that happens.
#[derive(Debug, Clone, Copy)]
pub(super) enum Chance {
    /// Time passes until the machine wants to look, and the look succeeds.
    Look,
    /// The same, but the look fails.
    LookFails,
    /// All copies die.
    Die,
    /// One copy dies.
    OneDies,
    /// Somebody else starts a copy.
    SomebodyStarts(u32),
    /// A copy has a child, as this user.
    Forks(u32),
    /// The start program brings a copy up.
    ProgramSucceeds,
    /// The start program becomes the program.
    ProgramBecomes,
    /// The start program brings something up that is nearly the program.
    ProgramMistakes(Difference),
    /// Somebody else starts such a thing.
    SomebodyMistakes(Difference, u32),
    /// What is nearly the program ends.
    MistakesEnd,
    /// The start program leaves something in the background: a script, or a program.
    ProgramLeaves { is_script: bool },
    /// What it has left ends by itself.
    LeftEnds,
    /// What it has left becomes the program.
    LeftSucceeds,
    /// What it has left becomes another program.
    LeftChanges,
    /// A copy takes another name, or becomes another program.
    Renames(Difference),
    /// Copies write core dumps.
    Dumps,
    /// Others begin to start the program.
    Others(u64),
    /// They have done so, or won't.
    OthersDone,
    /// The start program ends, with a status that says nothing of what comes of it.
    ProgramEnds(i32),
    /// It fails, and something of it may be where nothing can link it to it.
    ProgramGoesElsewhere,
    /// systemd says that the start has failed, whatever is left of it.
    UnitFails,
    /// systemd doesn't say how the start fares, which goes on.
    SightIsLost,
    /// From now on it can be told who is left of a start, or only of some: of whom, by their pids.
    CanTell(Option<u32>),
    /// Somebody else restarts the program.
    SomebodyRestarts,
    /// Those that were signalled obey it, SIGKILL before SIGTERM.
    Heed,
    /// A check fails, or passes.
    Check { fails: bool, restart: bool },
    /// Copies are stopped, or go on.
    Stopped(bool),
    /// Time passes.
    Pass(u64),
    /// The configuration is read again.
    Reload(Policy),
    /// It is another one in what makes the program: what was that isn't any more, or the other way round.
    OtherTarget(Option<Difference>),
    /// From now on the start program can or can't be run.
    Installed(Installed),
    /// Another start program takes the place of the one before.
    CommandChanges,
    /// Somebody wants it left alone for so long.
    Pause(u64),
    /// Somebody wants it resumed.
    Resume,
    /// Somebody wants it restarted.
    RestartAsked,
    /// Somebody wants it stopped for so long.
    StopAsked(u64),
    /// Somebody wants it started.
    StartAsked,
    /// The service dies and is started again.
    ServiceRestarts,
}

/// Whether the start program can be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Installed {
    Yes,
    No,
    BeingReplaced,
}

impl Installed {
    fn obstacle(self) -> Option<StartFailure> {
        match self {
            Self::Yes => None,
            Self::No => Some(StartFailure::NotInstalled("/x".into())),
            Self::BeingReplaced => Some(StartFailure::BeingReplaced("/x".into())),
        }
    }
}

pub(super) fn policies() -> impl Strategy<Value = Policy> {
    let times = (
        100..20_000_u64,
        100..40_000_u64,
        100..20_000_u64,
        0..5_000_u64,
    );
    let stop_newest = prop_oneof![Just(Duplicates::Warn), Just(Duplicates::StopNewest)];
    let dry_run = prop_oneof![9 => Just(false), 1 => Just(true)];
    let lives = (100..40_000_u64, 100..120_000_u64, 2..6_u32);
    let rest = (0..5_u32, stop_newest, dry_run, any::<bool>());
    (times, lives, rest).prop_map(
        |(
            (interval, start, stop, delay),
            (stopped, stable, crash_loop_restarts),
            (restart_burst, duplicates, dry_run, is_unit),
        )| Policy {
            interval: Duration::from_millis(interval),
            start_timeout: Duration::from_millis(start),
            stop_timeout: Duration::from_millis(stop),
            stopped_timeout: Duration::from_millis(stopped),
            restart_burst,
            restart_delay: Duration::from_millis(delay),
            restart_delay_max: Duration::from_millis(delay * 20),
            stable_after: Duration::from_millis(stable),
            crash_loop_restarts,
            duplicates,
            dry_run,
            is_unit,
            ..Policy::default()
        },
    )
}

fn user() -> impl Strategy<Value = u32> {
    prop_oneof![2 => Just(0), 1 => Just(OTHER)]
}

/// What a program may differ in that is nobody's business to rule out.
fn difference() -> impl Strategy<Value = Difference> {
    prop_oneof![
        Just(Difference::Exe),
        Just(Difference::User),
        Just(Difference::Case),
        Just(Difference::Namespace),
        Just(Difference::LongCmdline),
    ]
}

pub(super) fn chance() -> impl Strategy<Value = Chance> {
    let processes = prop_oneof![
        5 => Just(Chance::Die),
        2 => Just(Chance::OneDies),
        2 => user().prop_map(Chance::SomebodyStarts),
        2 => user().prop_map(Chance::Forks),
        6 => Just(Chance::ProgramSucceeds),
        1 => Just(Chance::ProgramBecomes),
        1 => difference().prop_map(Chance::ProgramMistakes),
        1 => (difference(), user()).prop_map(|(difference, user)| Chance::SomebodyMistakes(difference, user)),
        1 => Just(Chance::MistakesEnd),
        4 => any::<bool>().prop_map(|is_script| Chance::ProgramLeaves { is_script }),
        2 => Just(Chance::LeftEnds),
        2 => Just(Chance::LeftSucceeds),
        1 => Just(Chance::LeftChanges),
        1 => prop_oneof![Just(Difference::Name), Just(Difference::Exe)].prop_map(Chance::Renames),
        1 => Just(Chance::Dumps),
        6 => prop_oneof![Just(0), Just(1)].prop_map(Chance::ProgramEnds),
        1 => Just(Chance::ProgramGoesElsewhere),
        1 => Just(Chance::UnitFails),
        2 => Just(Chance::SomebodyRestarts),
        4 => Just(Chance::Heed),
        1 => any::<bool>().prop_map(Chance::Stopped),
    ];
    let others = prop_oneof![
        1 => Just(Chance::LookFails),
        1 => (0..20_000_u64).prop_map(Chance::Others),
        1 => Just(Chance::OthersDone),
        1 => Just(Chance::SightIsLost),
        1 => proptest::option::of(any::<u32>()).prop_map(Chance::CanTell),
        3 => (any::<bool>(), any::<bool>())
            .prop_map(|(fails, restart)| Chance::Check { fails, restart }),
        4 => (0..40_000_u64).prop_map(Chance::Pass),
        1 => policies().prop_map(Chance::Reload),
        1 => proptest::option::of(prop_oneof![Just(Difference::Exe), Just(Difference::User)])
            .prop_map(Chance::OtherTarget),
        2 => prop_oneof![2 => Just(Installed::Yes), 2 => Just(Installed::No), 1 => Just(Installed::BeingReplaced)]
            .prop_map(Chance::Installed),
        1 => Just(Chance::CommandChanges),
        1 => (0..40_000_u64).prop_map(Chance::Pause),
        1 => Just(Chance::Resume),
        1 => Just(Chance::RestartAsked),
        1 => (0..40_000_u64).prop_map(Chance::StopAsked),
        1 => Just(Chance::StartAsked),
        1 => Just(Chance::ServiceRestarts),
    ];
    prop_oneof![5 => Just(Chance::Look), 11 => processes, 4 => others]
}

/// What a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Program,
    Nearly(Difference),
    Script,
    /// This program.
    Other(u32),
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Process {
    pub(super) id: ProcessId,
    pub(super) parent: i32,
    pub(super) uid: u32,
    pub(super) state: RunState,
    pub(super) kind: Kind,
    /// The number of the start that it has come of; `None` if somebody else has brought it forth.
    pub(super) start: Option<usize>,
    /// In what it differs since it has changed by itself.
    pub(super) changed: Option<Difference>,
    /// Whether the machine has taken it for the program.
    pub(super) was_taken: bool,
}

/// A machine, and the world around it.
#[allow(
    clippy::struct_excessive_bools,
    reason = "facts of a world that have nothing to do with each other"
)]
pub(super) struct World {
    pub(super) machine: Machine,
    pub(super) epoch: Instant,
    pub(super) now: Instant,
    pub(super) policy: Policy,
    pub(super) processes: Vec<Process>,
    /// Who has brought each forth, whoever of them still lives.
    pub(super) ancestors: BTreeMap<ProcessId, ProcessId>,
    /// Whether start programs are children of the service.
    has_children: bool,
    /// If not everybody is told who is left of a start: who isn't.
    pub(super) hidden: Option<u32>,
    /// The start program that runs and that the service follows.
    pub(super) program: Option<i32>,
    /// The last start program.
    last_program: Option<i32>,
    /// Since when what was born is the start's, as the service knows.
    pub(super) lineage_since: Option<u64>,
    pub(super) installed: Installed,
    /// Which file the start program is.
    command: u64,
    next_pid: i32,
    is_unit_stopping: bool,
    /// What systemd has stopped, or a signal has been sent.
    doomed: Vec<ProcessId>,
    pub(super) rules: Rules,
}

impl World {
    pub(super) fn new(policy: Policy, has_children: bool) -> Self {
        let now = Instant::now();
        Self {
            machine: Machine::new(policy, now, now),
            epoch: now,
            now,
            policy,
            processes: Vec::new(),
            ancestors: BTreeMap::new(),
            has_children,
            hidden: None,
            program: None,
            last_program: None,
            lineage_since: None,
            installed: Installed::Yes,
            command: 1,
            next_pid: 1000,
            is_unit_stopping: false,
            doomed: Vec::new(),
            rules: Rules::default(),
        }
    }

    pub(super) fn process(&self, id: ProcessId) -> Option<&Process> {
        self.processes.iter().find(|process| process.id == id)
    }

    pub(super) fn programs(&self) -> impl Iterator<Item = &Process> {
        let processes = self.processes.iter();
        processes.filter(|process| process.kind == Kind::Program)
    }

    pub(super) fn last_pid(&self) -> i32 {
        self.next_pid
    }

    pub(super) fn is_hidden(&self, id: ProcessId) -> bool {
        self.hidden
            .is_some_and(|hidden| hidden & (1 << (id.pid % 32)) != 0)
    }

    /// What came of the last start and may be on its way to be the program.
    pub(super) fn is_in_flight(&self, process: &Process) -> bool {
        let number = self.rules.starts.len().checked_sub(1);
        process.start.is_some() && process.start == number && !self.rules.has_succeeded
    }

    /// Clock ticks since boot.
    fn ticks(&self) -> u64 {
        1000 + u64::try_from((self.now - self.epoch).as_millis() / 10).unwrap()
    }

    fn is_born(&mut self, kind: Kind, born_of: Option<ProcessId>, start: Option<usize>) -> i32 {
        self.next_pid += 1;
        let pid = self.next_pid;
        let start_time = self.ticks();
        let id = ProcessId { pid, start_time };
        if let Some(parent) = born_of {
            self.ancestors.insert(id, parent);
        }
        self.processes.push(Process {
            id,
            parent: born_of.map_or(1, |parent| parent.pid),
            uid: 0,
            state: RunState::Running,
            kind,
            start,
            changed: None,
            was_taken: false,
        });
        pid
    }

    fn is_as_user(&mut self, uid: u32) {
        if let Some(process) = self.processes.last_mut() {
            process.uid = uid;
        }
    }

    fn may_grow(&self) -> bool {
        let programs = self.programs().count();
        programs < MOST && self.processes.len() - programs < MOST
    }

    /// Of which start anything is that comes of a start now.
    fn of_start(&self) -> Option<usize> {
        self.rules.starts.len().checked_sub(1)
    }

    /// Those end; the start program says so.
    fn end(&mut self, ends: impl Fn(&Process) -> bool, status: ExitStatus) {
        let ended: Vec<i32> = self
            .processes
            .iter()
            .filter(|it| ends(it))
            .map(|it| it.id.pid)
            .collect();
        self.processes
            .retain(|process| !ended.contains(&process.id.pid));
        for process in &mut self.processes {
            if ended.contains(&process.parent) {
                process.parent = 1;
            }
        }
        if let Some(pid) = self.program.take_if(|pid| ended.contains(pid)) {
            self.take(Event::StartEnded(StartOutcome::Exited {
                pid: Some(pid),
                status,
            }));
        }
    }

    fn take(&mut self, event: Event) {
        for action in self.follow(event) {
            match action {
                Action::Start => self.starts(),
                Action::StopStartProgram(Stop::Kill) => {
                    let program = self.program;
                    self.end(
                        |process| Some(process.id.pid) == program,
                        ExitStatus::Signal(9),
                    );
                }
                Action::StopStartProgram(Stop::Terminate) | Action::Tell(_) => {}
                Action::StopUnit => self.is_unit_stopping = true,
                Action::Signal(_, ids) => self.doomed.extend(ids),
            }
        }
        self.is_in_order();
    }

    fn starts(&mut self) {
        if let Some(failure) = self.installed.obstacle() {
            self.take(Event::StartEnded(StartOutcome::NotRun(failure)));
            return;
        }
        let since = self.ticks();
        let pid = self.is_born(Kind::Script, None, self.of_start());
        self.program = Some(pid);
        self.last_program = Some(pid);
        self.lineage_since = Some(since);
        let id = ProcessId {
            pid,
            start_time: since,
        };
        let child = self.has_children.then(|| Child::new(id, 0));
        self.take(Event::StartProgramRuns { since, child });
    }

    /// What a look at the process table finds.
    fn sighting(&self) -> Sighting {
        let known = self.machine.known();
        // Where nobody lives who could be confirmed, all are looked at.
        let lives = |id: &ProcessId| self.process(*id).is_some();
        let is_whole = self.machine.look() == Look::Whole || !known.iter().any(lives);
        let mut sighting = Sighting::default();
        for process in &self.processes {
            let is_known = known.contains(&process.id);
            let difference = match process.kind {
                Kind::Program => process.changed,
                Kind::Nearly(difference) => Some(difference),
                Kind::Script | Kind::Other(_) if !is_known => continue,
                Kind::Script | Kind::Other(_) => Some(Difference::Name),
            };
            let different = difference.map(|difference| Impostor {
                uid: Some(process.uid),
                ..super::lookalike_of(process.id, difference)
            });
            if is_known || difference.is_none() {
                sighting.alive.push(Alive {
                    id: process.id,
                    parent: process.parent,
                    uid: (is_whole || !is_known).then_some(process.uid),
                    state: process.state,
                });
            }
            match different {
                // A confirmation reads of those that are known no more than their names.
                Some(different) if is_known => {
                    let is_seen = is_whole || different.difference == Difference::Name;
                    sighting.changed.extend(is_seen.then_some(different));
                }
                Some(different) if is_whole && different.difference.is_near() => {
                    sighting.near.push(different);
                }
                Some(different) if is_whole && different.difference != Difference::Name => {
                    sighting.impostors.push(different);
                }
                _ => {}
            }
        }
        sighting
    }

    /// What is left of the start, as far as it is asked and can be told.
    fn left(&mut self, sighting: &Sighting) -> Option<Left> {
        if !sighting.alive.is_empty() && !self.machine.has_second_copies() {
            return None;
        }
        let origin = self.machine.asks_what_is_left()?;
        let timeout = u64::try_from(self.policy.start_timeout.as_millis() / 10).unwrap();
        let earliest = self.ticks().saturating_sub(timeout);
        let since = origin.since.unwrap_or(earliest);
        let since = *self.lineage_since.get_or_insert(since);
        if !self.has_children && !self.machine.decides_by_what_is_left(self.now) {
            return None;
        }
        let is_of_start = |process: &&Process| {
            process.start.is_some() && process.id.start_time >= since && !self.is_hidden(process.id)
        };
        let left = self.processes.iter().filter(is_of_start);
        let left = left.map(|process| LeftOver {
            id: process.id,
            comm: "slow".into(),
            exe: match process.kind {
                Kind::Other(number) => Some(format!("/opt/{number}").into()),
                _ => None,
            },
            is_start_program: Some(process.id.pid) == self.last_program,
            is_script: process.kind == Kind::Script,
            uid: Some(process.uid),
        });
        Some(Left {
            processes: left.collect(),
            can_tell: self.hidden.is_none(),
        })
    }

    pub(super) fn look(&mut self) {
        self.now = self.now.max(self.machine.next_look());
        if self.machine.may_be_replaced() {
            self.take(Event::Obstacle(self.installed.obstacle()));
        }
        let sighting = self.sighting();
        let left = self.left(&sighting);
        let command = self.machine.asks_for_command().then(|| {
            self.rules.is_told_command(self.command);
            Some(CommandId {
                device: 1,
                inode: self.command,
                modified: (0, 0),
                mode: 0,
            })
        });
        let before = self.before_look(left.as_ref());
        let besides = Besides {
            left,
            command,
            ..Besides::default()
        };
        self.take(Event::Looked(sighting, besides));
        self.has_looked(&before);
    }

    #[allow(
        clippy::too_many_lines,
        reason = "one arm for each chance, each of a few lines"
    )]
    pub(super) fn happen(&mut self, chance: Chance) {
        let ended = ExitStatus::Code(0);
        match chance {
            Chance::Look => self.look(),
            Chance::LookFails => {
                self.now = self.now.max(self.machine.next_look());
                self.take(Event::LookFailed("why".into()));
            }
            Chance::Die => self.end(|process| process.kind == Kind::Program, ended),
            Chance::OneDies => {
                let last = self.programs().last().map(|process| process.id);
                self.end(|process| Some(process.id) == last, ended);
            }
            Chance::SomebodyStarts(uid) if self.may_grow() => {
                self.is_born(Kind::Program, None, None);
                self.is_as_user(uid);
            }
            Chance::Forks(uid) if self.may_grow() => {
                let parent = self.programs().next().copied();
                if let Some(parent) = parent {
                    self.is_born(Kind::Program, Some(parent.id), parent.start);
                    self.is_as_user(uid);
                }
            }
            Chance::ProgramSucceeds if self.program.is_some() && self.may_grow() => {
                self.is_born(Kind::Program, None, self.of_start());
            }
            Chance::ProgramBecomes => {
                let program = self.program;
                let processes = self.processes.iter_mut();
                for process in processes.filter(|it| Some(it.id.pid) == program) {
                    if process.kind == Kind::Script {
                        process.kind = Kind::Program;
                    }
                }
            }
            Chance::ProgramMistakes(difference) if self.program.is_some() && self.may_grow() => {
                self.is_born(Kind::Nearly(difference), None, self.of_start());
            }
            Chance::SomebodyMistakes(difference, uid) if self.may_grow() => {
                self.is_born(Kind::Nearly(difference), None, None);
                self.is_as_user(uid);
            }
            Chance::MistakesEnd => {
                self.end(|process| matches!(process.kind, Kind::Nearly(_)), ended);
            }
            Chance::ProgramLeaves { is_script } if self.program.is_some() && self.may_grow() => {
                let kind = if is_script {
                    Kind::Script
                } else {
                    Kind::Other(0)
                };
                self.is_born(kind, None, self.of_start());
            }
            Chance::UnitFails if !self.has_children && self.program.take().is_some() => {
                let failure = StartFailure::Unit("why".into());
                self.take(Event::StartEnded(StartOutcome::NotRun(failure)));
            }
            // There are as many as show anything, or there is nobody to do it.
            Chance::SomebodyStarts(_)
            | Chance::Forks(_)
            | Chance::ProgramSucceeds
            | Chance::ProgramMistakes(_)
            | Chance::SomebodyMistakes(..)
            | Chance::ProgramLeaves { .. }
            | Chance::UnitFails => {}
            Chance::LeftEnds => {
                let last = self.last_left().map(|left| left.id);
                self.end(|process| Some(process.id) == last, ended);
            }
            Chance::LeftSucceeds => {
                if let Some(left) = self.last_left() {
                    left.kind = Kind::Program;
                }
            }
            Chance::LeftChanges => {
                if let Some(left) = self.last_left() {
                    if let Kind::Other(number) = &mut left.kind {
                        *number += 1;
                    }
                }
            }
            Chance::Renames(difference) => {
                // What changes while the rules do is judged by those.
                let is_judged = self.machine.is_other_target;
                let mut processes = self.processes.iter_mut();
                let is_known = |process: &&mut Process| {
                    process.was_taken && process.kind == Kind::Program && !is_judged
                };
                if let Some(process) = processes.find(is_known) {
                    process.changed = Some(difference);
                }
            }
            Chance::Dumps => {
                for process in &mut self.processes {
                    if process.kind == Kind::Program {
                        process.state = RunState::Dumping;
                    }
                }
            }
            Chance::Others(milliseconds) => {
                let until = self.now + Duration::from_millis(milliseconds);
                self.rules.held_until = Some(until);
                let by = vec!["cco-ser.service".to_owned()];
                self.take(Event::OthersStarting { by, until });
            }
            Chance::OthersDone => {
                self.rules.held_until = None;
                self.take(Event::OthersDone);
            }
            Chance::ProgramEnds(code) => {
                let program = self.program;
                let is_it = |process: &Process| {
                    Some(process.id.pid) == program && process.kind == Kind::Script
                };
                self.end(is_it, ExitStatus::Code(code));
            }
            Chance::ProgramGoesElsewhere => {
                let program = self.program;
                let is_it = |process: &Process| {
                    Some(process.id.pid) == program && process.kind == Kind::Script
                };
                let began = self.machine.awaited().map(|started| started.begin);
                if let Some(began) = began.filter(|_| self.processes.iter().any(is_it)) {
                    let twice = began + 2 * self.policy.start_timeout;
                    self.rules.elsewhere_until = Some(twice);
                    self.rules.elsewhere_at_most = Some(began + 80 * SECOND);
                    self.take(Event::MayHaveGoneElsewhere);
                    self.end(is_it, ExitStatus::Code(1));
                }
            }
            Chance::SightIsLost => {
                if self.program.take().is_some() {
                    self.take(Event::StartEnded(StartOutcome::LostSight));
                }
            }
            Chance::CanTell(hidden) => self.hidden = hidden,
            Chance::SomebodyRestarts => {
                self.end(|process| process.kind == Kind::Program, ended);
                self.is_born(Kind::Program, None, None);
            }
            Chance::Heed => {
                let doomed = std::mem::take(&mut self.doomed);
                let is_unit_stopping = std::mem::take(&mut self.is_unit_stopping);
                let obeys = |process: &Process| {
                    doomed.contains(&process.id) || is_unit_stopping && process.start.is_some()
                };
                self.end(obeys, ExitStatus::Signal(15));
                if self.policy.is_unit {
                    self.take(Event::UnitStopEnded);
                }
            }
            Chance::Check {
                fails: true,
                restart,
            } => {
                self.rules.may_be_ended |= restart;
                self.take(Event::Obstacle(self.installed.obstacle()));
                self.take(super::failed("tcp", restart));
            }
            Chance::Check { .. } => self.take(Event::CheckPassed {
                check: "tcp".into(),
            }),
            Chance::Stopped(stopped) => {
                self.rules.may_be_ended |= stopped;
                let state = if stopped {
                    RunState::Stopped
                } else {
                    RunState::Running
                };
                let processes = self.processes.iter_mut();
                for process in processes.filter(|it| it.kind == Kind::Program) {
                    if process.state != RunState::Dumping {
                        process.state = state;
                    }
                }
            }
            Chance::Pass(milliseconds) => self.now += Duration::from_millis(milliseconds),
            Chance::Reload(policy) => self.reload(policy),
            Chance::OtherTarget(difference) => {
                self.targets(difference);
                self.has_other_target();
                self.reconfigured(true);
            }
            Chance::Installed(installed) => self.installed = installed,
            Chance::CommandChanges => self.command += 1,
            Chance::Pause(milliseconds) => self.take(Event::Pause(Pause {
                until: self.now + Duration::from_millis(milliseconds),
                reason: None,
            })),
            Chance::Resume => self.take(Event::Resume),
            Chance::RestartAsked => {
                if self.machine.is_other_target {
                    self.look();
                }
                self.take(Event::Obstacle(self.installed.obstacle()));
                self.rules.is_restart_asked(self.machine.phase());
                self.take(Event::RestartAsked);
            }
            Chance::StopAsked(milliseconds) => {
                self.rules.is_stop_asked(&self.policy, self.machine.phase());
                self.take(Event::StopAsked(Pause {
                    until: self.now + Duration::from_millis(milliseconds),
                    reason: None,
                }));
            }
            Chance::StartAsked => {
                self.rules.is_start_asked(self.machine.phase());
                self.take(Event::StartAsked);
            }
            Chance::ServiceRestarts => self.service_restarts(),
        }
    }

    /// The youngest that a start has left in the background.
    fn last_left(&mut self) -> Option<&mut Process> {
        let program = self.program;
        let is_left = |process: &&mut Process| {
            let is_program = Some(process.id.pid) == program;
            matches!(process.kind, Kind::Script | Kind::Other(_)) && !is_program
        };
        self.processes.iter_mut().rev().find(is_left)
    }

    fn reload(&mut self, policy: Policy) {
        self.rules.has_new_policy(self.now, (&self.policy, &policy));
        self.policy = policy;
        self.reconfigured(false);
    }

    fn reconfigured(&mut self, is_other_target: bool) {
        self.rules.is_reconfigured(&self.policy);
        self.take(Event::Reconfigured {
            policy: self.policy,
            is_other_target,
        });
    }

    /// From now on what is the program differs in this, or what differed is the program.
    fn targets(&mut self, difference: Option<Difference>) {
        for process in &mut self.processes {
            match (process.kind, difference) {
                // It is known to have become another one by itself.
                (Kind::Program, _) if self.rules.renamed.contains(&process.id) => {}
                (Kind::Program, None) => {
                    let differs = process.changed.filter(|it| *it == Difference::Exe);
                    process.kind = differs.map_or(Kind::Program, Kind::Nearly);
                }
                (Kind::Program, Some(difference)) => {
                    process.kind = Kind::Nearly(difference);
                    process.changed = None;
                }
                (Kind::Nearly(Difference::Exe | Difference::User), None) => {
                    process.kind = Kind::Program;
                    process.changed = None;
                }
                _ => {}
            }
        }
    }

    fn service_restarts(&mut self) {
        // Whatever was alive was watched until now.
        let memory = Memory {
            seen_alive: Some(self.now),
            ..self.machine.memory()
        };
        let is_other_target = self.machine.is_other_target;
        let phase = self.machine.phase();
        let machine = Machine::new(self.policy, self.epoch, self.now);
        self.machine = machine.remembering(memory.clone(), is_other_target);
        if !is_other_target {
            let remembered = self.machine.memory();
            assert_eq!(remembered, memory, "what was remembered is forgotten");
        }
        // The start program of the earlier run goes on as one of those that are left.
        self.program = None;
        self.lineage_since = None;
        self.rules.service_restarts(phase, memory.starting.since);
    }

    /// Whatever has happened before, an absence is followed by a start.
    pub(super) fn comes_back(&mut self) {
        let program = self.program;
        let stays =
            |process: &Process| Some(process.id.pid) == program && process.kind == Kind::Script;
        self.end(|process| !stays(process), ExitStatus::Code(0));
        self.hidden = None;
        self.happen(Chance::OthersDone);
        let policy = Policy {
            dry_run: false,
            ..self.policy
        };
        self.reload(policy);
        self.happen(Chance::Resume);
        let starts = self.rules.starts.len();
        let wait = policy.start_timeout + policy.restart_delay_max + 3 * policy.stop_timeout;
        let end = self.now + wait + 3 * policy.interval + 40 * SECOND;
        while self.rules.starts.len() == starts && self.now < end {
            self.look();
        }
        assert!(
            self.rules.starts.len() > starts,
            "an absence without a start"
        );
    }
}
