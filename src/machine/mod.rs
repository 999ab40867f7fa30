//! Decides what to do about one process: events and the time in, actions out. It has no clock, no
//! file and no process of its own.
//!
//! The states and what leads from one to the next are drawn in docs/architecture.md.
//!
//! Only a look that succeeded moves it to a start: every other event merely asks for a look. While
//! looks fail the phase stays as it is and the state is reported as unknown. The parts of the
//! decision that stand on their own have modules of their own: how long a restart waits in
//! `backoff`, who is who in `copies`, how a living process is made to end in
//! `termination`.

mod absent;
mod alive;
mod backoff;
mod change;
mod command;
mod copies;
mod policy;
mod screen;
mod seat;
mod termination;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::proc::{Alive, Difference, Identity, Impostor, Left, ProcessId, Sighting};
use crate::sys::exit_status::ExitStatus;
use crate::sys::timer::next_multiple;
use crate::text::phrase::Phrase;
use copies::Copies;
use screen::Screen;
use termination::Termination;

pub use backoff::Backoff;
pub(crate) use copies::second_copies;

pub use change::{
    Cause, Change, Fate, Finding, Intention, Recovery, StartFailure, StartOutcome, Stop,
};
pub use command::CommandId;
pub use policy::{Duplicates, Policy};
pub use screen::{NOT_YET, Stray};
pub use seat::{Seat, Sitting, Wait};

/// The first pause before looking whether a start has succeeded, or an end; it doubles up to
/// [`LAST_POLL`].
const FIRST_POLL: Duration = Duration::from_millis(2);

/// The longest such pause.
const LAST_POLL: Duration = Duration::from_millis(500);

/// The longest time without a look at all processes: a second copy that takes its name long after its
/// birth is to be told within a minute, of which it has ten seconds to settle.
const WHOLE_LOOK_MAX: Duration = Duration::from_secs(45);

/// By how much it may be later where a cycle comes then anyway: a look of its own is a wake-up more.
const WHOLE_LOOK_LATE: Duration = Duration::from_secs(5);

/// An outage whose begin isn't known to within this is told as one of at most its length.
const UNCERTAIN: Duration = Duration::from_secs(1);

/// How many starts may fail before the next one waits for longer than a cycle.
const QUICK_TRIES: u32 = 6;

/// The longest wait after starts that have failed.
const RETRY_MAX: Duration = Duration::from_secs(300);

/// The longest time that what a start has left in the background has to become the program.
const BACKGROUND_MAX: Duration = Duration::from_secs(600);

/// When to look again whether a start command that is just being replaced is whole.
const REPLACED_WITHIN: Duration = Duration::from_secs(1);

/// The name under which it is told that a process is writing a core dump; no check can have it.
pub const DUMPING: &str = "core dump";

/// The longest pause: what somebody has forgotten ends by itself.
pub const PAUSE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The name under which it is told that a process is stopped; no check can have it.
pub const STOPPED: &str = "stopped";

/// The name under which it is told that somebody else's process passes for the program; no check can have
/// it.
pub const STRANGER: &str = "identity";

/// More processes of a program aren't watched for their end.
const WATCHED_MAX: usize = 9;

/// What a machine is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A look at the process table succeeded, and at what else had been asked for.
    Looked(Sighting, Besides),
    /// A look failed; the text says why and is the same for the same kind of failure.
    LookFailed(Phrase),
    /// Something was born since the start in a session of its own, which nothing can link to it; told
    /// before the end of its start program.
    MayHaveGoneElsewhere,
    /// Why nothing could be started now; `None` if something could.
    Obstacle(Option<StartFailure>),
    /// Who is at the screen, if the program belongs there: as of the look that is told next.
    AtScreen(Seat),
    /// Which processes our own starts have left where they are nobody's, as of the look that is told next.
    Strays(Vec<Stray>),
    /// Whose the first one is and what it runs, where no rules say what that has to be.
    Identified {
        /// That.
        who: Identity,
        /// Whether it has nothing in common with how the program is installed and started.
        is_foreign: bool,
    },
    /// Others that start the program are on their way, until this time at the latest.
    OthersStarting {
        /// Who, as a person knows them.
        by: Vec<String>,
        /// When nobody waits for them any longer.
        until: Instant,
    },
    /// Nobody else is on the way.
    OthersDone,
    /// A start program was run.
    StartProgramRuns {
        /// The time of the request, in clock ticks since boot, as start times are (proc(5)).
        since: u64,
        /// If it is a child of ours.
        child: Option<Child>,
    },
    /// A start program has ended, or couldn't be run.
    StartEnded(StartOutcome),
    /// systemd has stopped the unit, or has failed to; only a look can tell.
    UnitStopEnded,
    /// A signal couldn't be sent; the text says why.
    NotSignalled(String),
    /// A health check has found something wrong.
    CheckFailed {
        /// The check's name.
        check: String,
        /// What it has found.
        finding: Phrase,
        /// Whether the process is to be restarted for it.
        is_reason_to_restart: bool,
    },
    /// A health check that had failed has passed.
    CheckPassed {
        /// The check's name.
        check: String,
    },
    /// All health checks begin again: what they had found before is void.
    ChecksBegin,
    /// Somebody wants the process left alone until a time.
    Pause(Pause),
    /// Somebody wants it resumed.
    Resume,
    /// Somebody wants it ended and started again.
    RestartAsked,
    /// Somebody wants it ended, and left alone until a time.
    StopAsked(Pause),
    /// Somebody wants its pause ended, and it started at once if it isn't running.
    StartAsked,
    /// The settings have changed.
    Reconfigured {
        /// The new rules.
        policy: Policy,
        /// Whether what makes the process has changed too (name, exe, cmdline, user).
        is_other_target: bool,
    },
}

/// What a look has found besides the processes of the name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Besides {
    /// When the look was over, in clock ticks since the boot.
    pub at: u64,
    /// What is left of the start in flight ([`Machine::asks_what_is_left`]).
    pub left: Option<Left>,
    /// The start command's file ([`Machine::asks_for_command`]); the inner `None` where it can't be read.
    pub command: Option<Option<CommandId>>,
    /// Until when one of those that were alive is known to have lived: what watches them says so.
    pub watched: Option<Instant>,
    /// The pid of one that was found gone, and how it has ended: systemd knows.
    pub had_ended: Option<(i32, ExitStatus)>,
    /// Whether the kernel has killed where the program ran because memory ran out.
    pub oom_kill: Option<OomKill>,
    /// Who else lives in its session ([`Machine::asks_for_company`]); `None` where that says nothing.
    pub company: Option<BTreeSet<ProcessId>>,
}

/// That the kernel has killed for want of memory in the program's control group since the look before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OomKill {
    /// The group is that of the program's unit.
    OfUnit,
    /// Others are in the group, too.
    Beside,
}

/// What a machine wants done, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Run the start program, or have the unit started.
    Start,
    /// Signal the start program that we ran earlier and that still runs.
    StopStartProgram(Stop),
    /// Have systemd stop the unit.
    StopUnit,
    /// Signal these processes, each only if it is still the same one.
    Signal(Stop, Vec<ProcessId>),
    /// Tell the world about a change.
    Tell(Change),
}

/// Where a process stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Not looked at yet.
    New,
    /// At least one process of the name lives.
    Up,
    /// It lives, and is made to end, to be started again.
    Replacing,
    /// A start is in flight.
    Starting,
    /// Our earlier start program must end before the next start.
    Stopping,
    /// What an earlier start has left in the background must end before the next start.
    Clearing,
    /// Others that start it at boot are on their way.
    Held,
    /// What runs is nearly the program: it isn't ended, and nothing is started beside it.
    Misfit,
    /// It waits for somebody at the screen, or for his session.
    Waiting,
    /// It kept crashing: the next start waits.
    Backoff,
    /// The last start failed; the next try comes in the next cycle.
    Down,
}

/// A time in which nothing is started and nothing signalled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    /// When it ends by itself.
    pub until: Instant,
    /// Why, in somebody's words.
    pub reason: Option<String>,
}

/// What somebody wants of the program in a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    /// To have it left alone.
    LeftAlone,
    /// To have it ended first: it may still be up, or on its way.
    Gone,
}

/// What a machine remembers beyond the end of the service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    /// How often the process was brought back.
    pub restarts: u64,
    /// The deaths that aren't forgotten yet.
    pub backoff: Backoff,
    /// When the next start may come at the earliest, if it had to wait.
    pub not_before: Option<Instant>,
    /// Until when a start that was in flight may still succeed.
    pub starting_until: Option<Instant>,
    /// What it came of.
    pub starting: Origin,
    /// Whether something of it may be where nothing can link it to it.
    pub may_have_gone_elsewhere: bool,
    /// The living processes that have another name, program or arguments than when they were recognised.
    pub renamed: Vec<ProcessId>,
    /// The living processes that are nearly the program.
    pub misfits: Vec<ProcessId>,
    /// How often in a row starts have left something in the background that never became the program.
    pub late_starts: u32,
    /// How many starts in a row have failed.
    pub failed_starts: u32,
    /// When the next try comes after them.
    pub retry_at: Option<Instant>,
    /// The start command's file, when the last of them failed.
    pub failed_command: Option<CommandId>,
    /// The processes that were alive.
    pub alive: Vec<ProcessId>,
    /// Since when.
    pub up_since: Option<Instant>,
    /// When the look was over that saw them come up, in clock ticks since the boot: what was born by then
    /// belongs to no start that is in flight.
    pub up_at: Option<u64>,
    /// When one of them was last known to live.
    pub seen_alive: Option<Instant>,
    /// The outage that lasted.
    pub absence: Option<Absence>,
    /// The user in whose session it was, if it was in one.
    pub session_uid: Option<u32>,
    /// The pause, if there is one.
    pub pause: Option<Pause>,
    /// What the program was when it was last known to be that.
    pub program: Option<Program>,
}

/// Whose a program is and what it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    uids: (Option<u32>, Option<u32>),
    /// Its user, as a person is told.
    pub user: String,
    /// Its file.
    pub path: String,
}

impl Program {
    /// Whether that is the same.
    fn is(&self, who: &Identity) -> bool {
        self.uids == (who.real_uid, who.uid) && self.path == who.path
    }
}

impl From<Identity> for Program {
    fn from(who: Identity) -> Self {
        Self {
            uids: (who.real_uid, who.uid),
            user: who.user,
            path: who.path,
        }
    }
}

/// A start program that is a child of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Child {
    /// Its pid, and so its session's.
    pid: i32,
    /// When it began, in clock ticks since boot.
    start_time: u64,
    /// Its user.
    uid: u32,
}

impl Child {
    /// A process of a user.
    #[must_use]
    pub fn new(id: ProcessId, uid: u32) -> Self {
        Self {
            pid: id.pid,
            start_time: id.start_time,
            uid,
        }
    }

    /// Which process it is, or was.
    #[must_use]
    pub fn id(self) -> ProcessId {
        ProcessId {
            pid: self.pid,
            start_time: self.start_time,
        }
    }
}

/// What a start came of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Origin {
    /// When it was requested, in clock ticks since boot; `None` if only an earlier run of the service knew.
    #[serde(rename = "starting_since")]
    pub since: Option<u64>,
    /// Its start program, if that is a child of ours, or was one of an earlier run's.
    #[serde(rename = "starting_child")]
    pub child: Option<Child>,
}

/// Our last start.
#[derive(Debug, Clone, Copy)]
struct Started {
    begin: Instant,
    origin: Origin,
    /// Until its program has been seen, or nothing of it is left.
    is_in_flight: bool,
    /// Until when it is waited for.
    deadline: Instant,
    /// The pause before the next look for it.
    poll: Duration,
    /// How its start program ended.
    ended: Option<ExitStatus>,
    /// Whether only what it has left in the background is waited for.
    is_late: bool,
    /// Whether something may belong to it that nothing can link to it.
    may_have_gone_elsewhere: bool,
}

impl Started {
    /// A start in flight of which no more is known.
    fn inherited(begin: Instant, deadline: Instant, origin: Origin) -> Self {
        Self {
            begin,
            origin,
            is_in_flight: true,
            deadline,
            poll: FIRST_POLL,
            ended: None,
            is_late: false,
            may_have_gone_elsewhere: false,
        }
    }

    fn has_failed(&self) -> bool {
        self.ended.is_some_and(|status| !status.is_success())
    }

    /// The pause before the next look, which is longer than the last one.
    fn next_poll(&mut self) -> Duration {
        self.poll = (self.poll * 2).min(LAST_POLL);
        self.poll
    }
}

/// The start command's file, when its start failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FailedCommand {
    /// It hasn't been told since.
    NotSeen,
    /// It couldn't be read, or was this.
    Seen(Option<CommandId>),
}

/// Others that start the program.
#[derive(Debug, Clone)]
struct Hold {
    by: Vec<String>,
    until: Instant,
}

/// The time since when a process is gone, or is being made to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Absence {
    /// Since when at most: it was last known to live then.
    pub since: Instant,
    /// When that was noticed.
    pub noticed: Instant,
    /// Why.
    pub cause: Cause,
}

/// Something that is wrong with a living process.
#[derive(Debug, Clone)]
struct Trouble {
    finding: Finding,
    is_reason_to_restart: bool,
}

/// Where a process stands, with what matters there and nowhere else.
#[derive(Debug, Clone)]
enum Stand {
    New,
    Up {
        since: Instant,
        /// When the look was over that saw it come up, in clock ticks since the boot.
        at: u64,
    },
    /// The end of the living process.
    Replacing(Termination),
    Starting,
    Stopping {
        /// When to lose patience.
        kill_at: Instant,
    },
    /// The end of what a start has left.
    Clearing(Termination),
    Held,
    Misfit,
    Waiting,
    Backoff,
    Down,
}

/// The supervision of one process.
#[derive(Debug, Clone)]
pub struct Machine {
    policy: Policy,
    /// All cycles are counted from here, so that tasks on the same interval wake up together.
    epoch: Instant,
    stand: Stand,
    /// The last look's failure, if it failed.
    look_failure: Option<Phrase>,
    /// The processes that were alive at the last successful look.
    alive: Vec<ProcessId>,
    /// When one of them was last known to live.
    seen_alive: Option<Instant>,
    /// Those that were found gone last.
    gone: Vec<ProcessId>,
    /// What is known of them beyond that.
    seen: Vec<Alive>,
    /// How many more there were when all were last looked at.
    more_alive: usize,
    copies: Copies,
    /// What the program was when it was last known to be that.
    program: Option<Program>,
    /// The process that has come up alone, with our own start.
    ours: Option<ProcessId>,
    /// Those of them that were told to have another name, program or arguments by now.
    renamed: Vec<ProcessId>,
    /// Whether what makes the process has changed since all processes were last looked at.
    is_other_target: bool,
    /// Those that are nearly the program and came with our start, or were taken for it: while one lives,
    /// nothing is started beside it, also when the program that it was beside has died.
    misfits: Vec<Impostor>,
    /// When the present look was over, in clock ticks since the boot.
    looked_at: u64,
    /// Whether the kernel has killed for want of memory, as of the last look.
    oom_kill: Option<OomKill>,
    /// Since when the process is stopped (state T), if it is.
    stopped_since: Option<Instant>,
    /// What is wrong with the living process, by the name of the check that says so.
    troubles: BTreeMap<String, Trouble>,
    /// The ends of second copies.
    surplus: Vec<Termination>,
    /// Why the last signal couldn't be sent.
    signal_failure: Option<String>,
    absence: Option<Absence>,
    started: Option<Started>,
    /// What is left of it, as the look has found that is just told.
    left: Option<Left>,
    /// The programs among it, no shells and no interpreters, with what each runs, and since when it has been
    /// seen to.
    programs: Vec<(ProcessId, Option<PathBuf>, Instant)>,
    late_starts: u32,
    hold: Option<Hold>,
    /// Who is at the screen, and what that means for a program that belongs there.
    screen: Screen,
    /// Why nothing could be started, when that was last asked.
    obstacle: Option<StartFailure>,
    /// How many starts in a row have failed.
    failed_starts: u32,
    /// When the next try comes after a start that has failed.
    retry_at: Instant,
    /// The start command's file, when that start failed.
    failed_command: FailedCommand,
    /// What an earlier run of the service remembered, until the first look.
    memory: Option<Memory>,
    pause: Option<Pause>,
    wish: Wish,
    backoff: Backoff,
    /// When the next start may come at the earliest.
    not_before: Instant,
    /// Whether our own start program runs.
    start_program_runs: bool,
    /// How our last start program ended; it may have become the process itself.
    last_exit: Option<(i32, ExitStatus)>,
    /// Why the last start failed, until the process is up.
    start_failure: Option<StartFailure>,
    /// Whether it was told that only `dry_run` keeps it from being started.
    is_dry_run_told: bool,
    restarts: u64,
    next_look: Instant,
    /// From when on a look has to be a whole one.
    whole_look_at: Instant,
}

/// How thorough a look has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// At all processes.
    Whole,
    /// Only whether those that were alive still are.
    Confirm,
}

impl Machine {
    /// A machine that wants its first look at once. `epoch` is shared by all machines.
    #[must_use]
    pub fn new(policy: Policy, epoch: Instant, now: Instant) -> Self {
        Self {
            policy,
            epoch,
            stand: Stand::New,
            look_failure: None,
            alive: Vec::new(),
            seen_alive: None,
            gone: Vec::new(),
            seen: Vec::new(),
            more_alive: 0,
            copies: Copies::default(),
            program: None,
            ours: None,
            renamed: Vec::new(),
            is_other_target: false,
            misfits: Vec::new(),
            looked_at: 0,
            oom_kill: None,
            stopped_since: None,
            troubles: BTreeMap::new(),
            surplus: Vec::new(),
            signal_failure: None,
            absence: None,
            started: None,
            left: None,
            programs: Vec::new(),
            late_starts: 0,
            hold: None,
            screen: Screen::new(now),
            obstacle: None,
            failed_starts: 0,
            retry_at: now,
            failed_command: FailedCommand::NotSeen,
            memory: None,
            pause: None,
            wish: Wish::LeftAlone,
            backoff: Backoff::default(),
            not_before: epoch,
            start_program_runs: false,
            last_exit: None,
            start_failure: None,
            is_dry_run_told: false,
            restarts: 0,
            next_look: now,
            whole_look_at: now,
        }
    }

    /// The same, with what an earlier run of the service remembered: its own crash must not become
    /// a storm of starts, nor a start beside one that is still in flight. `is_other_target` says that
    /// what makes the process has changed since.
    #[must_use]
    pub fn remembering(self, memory: Memory, is_other_target: bool) -> Self {
        // Nobody waits longer than the rules of today allow.
        let latest = self.next_look + memory.backoff.delay(&self.policy);
        Self {
            restarts: memory.restarts,
            pause: memory.pause.clone(),
            backoff: memory.backoff.clone(),
            renamed: memory.renamed.clone(),
            late_starts: memory.late_starts,
            failed_starts: memory.failed_starts,
            retry_at: memory
                .retry_at
                .map_or(self.epoch, |time| time.min(self.next_look + RETRY_MAX)),
            failed_command: memory
                .failed_command
                .map_or(FailedCommand::NotSeen, |command| {
                    FailedCommand::Seen(Some(command))
                }),
            // What the rules say has changed, and so may have the program.
            program: memory.program.clone().filter(|_| !is_other_target),
            is_other_target,
            not_before: memory
                .not_before
                .map_or(self.epoch, |time| time.min(latest)),
            memory: Some(memory),
            ..self
        }
    }

    /// What the next run of the service has to know.
    #[must_use]
    pub fn memory(&self) -> Memory {
        let pause = self.pause.clone();
        if let Some(memory) = &self.memory {
            return Memory {
                pause,
                ..memory.clone()
            };
        }
        let awaited = self.awaited();
        Memory {
            restarts: self.restarts,
            backoff: self.backoff.clone(),
            // What somebody else has started meanwhile has its wait before it still, until it is stable.
            not_before: (self.not_before > self.epoch).then_some(self.not_before),
            starting_until: awaited.map(|started| started.deadline),
            starting: self
                .started
                .filter(|started| started.is_in_flight)
                .map_or_else(Origin::default, |started| started.origin),
            // What is waited for late is left of it, and nowhere else.
            may_have_gone_elsewhere: awaited
                .is_some_and(|started| started.may_have_gone_elsewhere && !started.is_late),
            renamed: self.renamed.clone(),
            misfits: self.misfits.iter().map(|misfit| misfit.id).collect(),
            late_starts: self.late_starts,
            failed_starts: self.failed_starts,
            retry_at: (self.failed_starts > 0).then_some(self.retry_at),
            failed_command: match self.failed_command {
                FailedCommand::Seen(command) if self.failed_starts > 0 => command,
                _ => None,
            },
            alive: self.living(),
            up_since: self.up_since(),
            up_at: match self.stand {
                Stand::Up { at, .. } => Some(at),
                _ => None,
            },
            // It goes on: when it ended is for whoever reads this to say.
            seen_alive: None,
            absence: self.absence,
            session_uid: self.screen.uid(),
            pause,
            program: self.program.clone(),
        }
    }

    /// When the next look is due.
    #[must_use]
    pub fn next_look(&self) -> Instant {
        self.next_look
    }

    /// How thorough that look has to be.
    #[must_use]
    pub fn look(&self) -> Look {
        let settled = self.phase() == Phase::Up && self.look_failure.is_none();
        if settled && self.next_look < self.whole_look_at {
            Look::Confirm
        } else {
            Look::Whole
        }
    }

    /// Where the process stood at the last successful look.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self.stand {
            Stand::New => Phase::New,
            Stand::Up { .. } => Phase::Up,
            Stand::Replacing(_) => Phase::Replacing,
            Stand::Starting => Phase::Starting,
            Stand::Stopping { .. } => Phase::Stopping,
            Stand::Clearing(_) => Phase::Clearing,
            Stand::Held => Phase::Held,
            Stand::Misfit => Phase::Misfit,
            Stand::Waiting => Phase::Waiting,
            Stand::Backoff => Phase::Backoff,
            Stand::Down => Phase::Down,
        }
    }

    /// Why the last look failed; `None` when it succeeded.
    #[must_use]
    pub fn look_failure(&self) -> Option<&Phrase> {
        self.look_failure.as_ref()
    }

    /// Why the last start failed; `None` once the process is up.
    #[must_use]
    pub fn start_failure(&self) -> Option<&StartFailure> {
        self.start_failure.as_ref()
    }

    /// The processes that were alive at the last successful look.
    #[must_use]
    pub fn alive(&self) -> &[ProcessId] {
        &self.alive
    }

    /// How many more there were when all processes were last looked at.
    #[must_use]
    pub fn more_alive(&self) -> usize {
        self.more_alive
    }

    /// Those whose end is to be noticed at once: the first one before all others, and not many.
    #[must_use]
    pub fn watched(&self) -> Vec<ProcessId> {
        let first = self.copies.first();
        let first = first.filter(|first| self.alive.contains(first));
        let others = self.alive.iter().copied().filter(|id| Some(*id) != first);
        first.into_iter().chain(others).take(WATCHED_MAX).collect()
    }

    /// Those that a look has to find, whatever they are called by now: the same, or before the first
    /// look those that an earlier run of the service has known.
    #[must_use]
    pub fn known(&self) -> Vec<ProcessId> {
        let (mut known, misfits) = match &self.memory {
            Some(memory) => (memory.alive.clone(), memory.misfits.clone()),
            None => (
                self.living(),
                self.misfits.iter().map(|misfit| misfit.id).collect(),
            ),
        };
        let others = misfits.into_iter().filter(|id| !known.contains(id));
        known.extend(others.collect::<Vec<_>>());
        known
    }

    /// Those that are alive, and those that live beside one that is being ended.
    fn living(&self) -> Vec<ProcessId> {
        let mut living = self.alive.clone();
        if self.phase() == Phase::Replacing {
            let seen = self.seen.iter().map(|copy| copy.id);
            living.extend(seen.filter(|id| !self.alive.contains(id)));
        }
        living
    }

    /// Of which start it is to be told with the next look what is left; `None` of none.
    #[must_use]
    pub fn asks_what_is_left(&self) -> Option<Origin> {
        let is_in_flight = self.started.is_some_and(|started| started.is_in_flight);
        let origin = match &self.memory {
            Some(memory) => memory.starting,
            None => self
                .started
                .map(|started| started.origin)
                .unwrap_or_default(),
        };
        let is_asked = self.phase() == Phase::New || is_in_flight || self.copies.has_surplus();
        is_asked.then_some(origin)
    }

    /// Since when a start may be in flight where an earlier run of the service has left the program up, in
    /// clock ticks since the boot: what was born before came with the program or was there already, and
    /// delays no start. A tick is long: a helper is often born in the very one in which the program comes up.
    #[must_use]
    pub fn not_up_since(&self) -> Option<u64> {
        let up_at = self.memory.as_ref().and_then(|memory| memory.up_at);
        up_at.map(|at| at.saturating_add(1))
    }

    /// Whether the next look, if it finds nothing alive, decides by what is left of the start: not while its
    /// start program may still do its work, and has the time.
    #[must_use]
    pub fn decides_by_what_is_left(&self, now: Instant) -> bool {
        !self.awaited().is_some_and(|started| {
            !started.is_late && !started.has_failed() && now < started.deadline
        })
    }

    /// Since when it has been up, if it is.
    fn up_since(&self) -> Option<Instant> {
        match self.stand {
            Stand::Up { since, .. } => Some(since),
            _ => None,
        }
    }

    /// The end of the living process, under way.
    fn ending(&self) -> Option<&Termination> {
        match &self.stand {
            Stand::Replacing(ending) => Some(ending),
            _ => None,
        }
    }

    /// The start that is waited for.
    fn awaited(&self) -> Option<&Started> {
        let started = self.started.as_ref();
        started.filter(|_| self.phase() == Phase::Starting)
    }

    /// Whether there is more than one copy of the program.
    #[must_use]
    pub fn has_second_copies(&self) -> bool {
        self.copies.has_surplus()
    }

    /// Whether the start command's file is to be told with the next look.
    #[must_use]
    pub fn asks_for_command(&self) -> bool {
        self.phase() == Phase::Down && self.failed_starts > 0
    }

    /// Whether the process may be made to end after the next look: then it is to be told first whether
    /// anything could be started in its place.
    #[must_use]
    pub fn may_be_replaced(&self) -> bool {
        self.phase() == Phase::Up && (self.stopped_since.is_some() || !self.troubles.is_empty())
    }

    /// What runs and is nearly the program, and what makes it another one.
    #[must_use]
    pub fn misfit(&self) -> Option<&Impostor> {
        let misfits = self.misfits.first();
        misfits.filter(|_| self.phase() == Phase::Misfit)
    }

    /// Who else is starting the program, while that is waited for.
    #[must_use]
    pub fn held_by(&self) -> Option<&[String]> {
        let hold = self.hold.as_ref().filter(|_| self.phase() == Phase::Held);
        hold.map(|hold| hold.by.as_slice())
    }

    /// Whether only what a start has left in the background is waited for, and until when.
    #[must_use]
    pub fn background_until(&self) -> Option<Instant> {
        let late = self.awaited().filter(|started| started.is_late);
        late.map(|started| started.deadline)
    }

    /// The one of them that is no child of another and has lived longest.
    #[must_use]
    pub fn first(&self) -> Option<ProcessId> {
        self.copies.first()
    }

    /// The pids of second copies.
    pub fn duplicates(&self) -> impl Iterator<Item = i32> {
        self.copies.duplicates().map(|id| id.pid)
    }

    /// What is wrong with the living process: the name of a check and what it has found.
    pub fn troubles(&self) -> impl Iterator<Item = (&str, &Finding)> {
        let troubles = self.troubles.iter();
        troubles.map(|(check, trouble)| (check.as_str(), &trouble.finding))
    }

    /// Whether the process that is to be replaced can't be killed.
    #[must_use]
    pub fn is_stuck(&self) -> bool {
        self.ending().is_some_and(Termination::is_stuck)
    }

    /// Since when the process has been up, or gone: neither an attempt to start it nor another run of the
    /// service begins that anew.
    #[must_use]
    pub fn since(&self) -> Option<Instant> {
        match self.phase() {
            Phase::Up => self.up_since(),
            _ => self.absence.map(|absence| absence.since),
        }
    }

    /// When the next start comes, if it has to wait.
    #[must_use]
    pub fn next_start(&self) -> Option<Instant> {
        match self.phase() {
            Phase::Backoff => Some(self.not_before),
            Phase::Down if self.failed_starts >= QUICK_TRIES => Some(self.retry_at),
            _ => None,
        }
    }

    /// The pause, if there is one.
    #[must_use]
    pub fn pause(&self) -> Option<&Pause> {
        self.pause.as_ref()
    }

    /// Whether nothing is to be done, only said.
    fn is_hands_off(&self) -> bool {
        self.policy.dry_run || self.pause.is_some()
    }

    /// Whether the program is being ended because somebody wants that: the pause that is in force already
    /// leaves alone whatever comes after it.
    #[must_use]
    pub fn is_being_stopped(&self) -> bool {
        self.wish == Wish::Gone && self.pause.is_some() && !self.policy.dry_run
    }

    /// From when on the process's health is to be checked; `None` unless it is up.
    #[must_use]
    pub fn checks_begin(&self) -> Option<Instant> {
        self.up_since()
            .map(|since| since + self.policy.start_timeout)
    }

    /// Whether the process is absent, and only `dry_run` keeps it from being started.
    #[must_use]
    pub fn is_dry_run(&self) -> bool {
        self.phase() == Phase::Down && self.is_dry_run_told
    }

    /// How often the process was brought back after it had been up.
    #[must_use]
    pub fn restarts(&self) -> u64 {
        self.restarts
    }

    /// Takes one event in.
    pub fn handle(&mut self, now: Instant, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::Looked(sighting, besides) => {
                self.looked(now, &sighting, besides, &mut actions);
            }
            Event::LookFailed(why) => {
                self.next_look = self.next_cycle(now);
                if self.look_failure.as_ref() != Some(&why) {
                    actions.push(Action::Tell(Change::Unknown(why.clone())));
                }
                self.look_failure = Some(why);
            }
            Event::MayHaveGoneElsewhere => {
                if let Some(started) = &mut self.started {
                    started.may_have_gone_elsewhere = true;
                }
            }
            Event::Obstacle(obstacle) => self.obstacle = obstacle,
            Event::AtScreen(seat) => self.at_screen(now, seat, &mut actions),
            Event::Strays(strays) => self.strays_are(now, &strays),
            Event::Identified { who, is_foreign } => {
                self.identified(now, who, is_foreign, &mut actions);
            }
            Event::OthersStarting { by, until } => self.hold = Some(Hold { by, until }),
            Event::OthersDone => {
                if self.hold.take().is_some() && self.phase() == Phase::Held {
                    self.look_at_all(now);
                }
            }
            Event::StartProgramRuns { since, child } => {
                self.start_program_runs = true;
                if let Some(started) = &mut self.started {
                    let since = Some(since);
                    started.origin = Origin { since, child };
                }
            }
            Event::StartEnded(outcome) => self.start_ended(now, outcome, &mut actions),
            Event::UnitStopEnded => {
                if let Stand::Replacing(ending) = &mut self.stand {
                    ending.unit_stopped(now);
                    self.look_at_all(now);
                }
            }
            Event::NotSignalled(why) => self.signal_failure = Some(why),
            Event::CheckFailed {
                check,
                finding,
                is_reason_to_restart,
            } => {
                // A process that is gone or going is past having its health judged.
                if self.phase() == Phase::Up {
                    let finding = Finding::Check(finding);
                    self.unwell(now, check, finding, is_reason_to_restart, &mut actions);
                }
            }
            Event::CheckPassed { check } => self.well(check, &mut actions),
            Event::ChecksBegin => self.checks_begin_anew(&mut actions),
            Event::Pause(pause) => self.pause_until(now, pause, &mut actions),
            Event::Resume => self.resume(now, false, &mut actions),
            Event::RestartAsked => self.restart_asked(now, &mut actions),
            Event::StopAsked(pause) => self.stop_asked(now, pause, &mut actions),
            Event::StartAsked => {
                self.resume(now, false, &mut actions);
                self.start_at_once(now, &mut actions);
            }
            Event::Reconfigured {
                policy,
                is_other_target,
            } => {
                self.is_other_target |= is_other_target;
                if is_other_target {
                    self.program = None;
                }
                self.reconfigured(now, policy);
            }
        }
        actions
    }

    /// New rules count for what is waited for already, too.
    fn reconfigured(&mut self, now: Instant, policy: Policy) {
        let before = std::mem::replace(&mut self.policy, policy);
        self.failed_starts = 0;
        if policy.dry_run {
            // What a dry run has left alone isn't ended after it, which nobody would expect any more.
            self.wish = Wish::LeftAlone;
        }
        self.not_before = self.not_before.min(now + self.backoff.delay(&policy));
        let starts = (before.start_timeout, policy.start_timeout);
        if let Some(started) = &mut self.started {
            started.deadline = under_new_rules(started.deadline, now, starts);
        }
        if let Some(memory) = &mut self.memory {
            memory.failed_starts = 0;
            if let Some(until) = &mut memory.starting_until {
                *until = under_new_rules(*until, now, starts);
            }
        }
        let stops = (before.stop_timeout, policy.stop_timeout);
        let ending = match &mut self.stand {
            Stand::Replacing(ending) | Stand::Clearing(ending) => Some(ending),
            Stand::Stopping { kill_at } => {
                *kill_at = under_new_rules(*kill_at, now, stops);
                None
            }
            _ => None,
        };
        for ending in ending.into_iter().chain(&mut self.surplus) {
            ending.reconfigured(now, stops);
        }
        self.look_at_all(now);
    }

    fn look_at_all(&mut self, now: Instant) {
        self.next_look = now;
        self.whole_look_at = now;
    }

    fn pause_until(&mut self, now: Instant, pause: Pause, actions: &mut Vec<Action>) {
        self.next_look = self.next_look.min(pause.until);
        actions.push(Action::Tell(Change::Paused {
            time: pause.until.saturating_duration_since(now),
            reason: pause.reason.clone(),
        }));
        self.pause = Some(pause);
        self.wish = Wish::LeftAlone;
    }

    fn resume(&mut self, now: Instant, is_over: bool, actions: &mut Vec<Action>) {
        self.wish = Wish::LeftAlone;
        if self.pause.take().is_some() {
            actions.push(Action::Tell(Change::Resumed { is_over }));
            self.look_at_all(now);
        }
    }

    fn looked(
        &mut self,
        now: Instant,
        sighting: &Sighting,
        besides: Besides,
        actions: &mut Vec<Action>,
    ) {
        self.looked_at = besides.at;
        self.left = besides.left;
        self.screen.company = besides.company;
        let watched = besides.watched.map(|until| until.min(now));
        self.seen_alive = self.seen_alive.max(watched);
        self.oom_kill = besides.oom_kill;
        if let Some((pid, status)) = besides.had_ended {
            self.had_ended(pid, status);
        }
        if let Some(command) = besides.command {
            self.command_is(command);
        }
        // What this look was, not what the next one is to be.
        let is_whole = self.look() == Look::Whole;
        if self.pause.as_ref().is_some_and(|pause| now >= pause.until) {
            self.resume(now, true, actions);
        }
        if is_whole {
            self.whole_look_at = now + WHOLE_LOOK_MAX;
        }
        let was_unknown = self.look_failure.take().is_some();
        if is_whole {
            self.more_alive = sighting.more_alive;
        }
        let more = sighting.more_impostors;
        let impostors = if self.screen.is_empty() {
            copies::News {
                each: Vec::new(),
                others: None,
            }
        } else {
            self.copies
                .impostors(now, &sighting.impostors, more, is_whole)
        };
        if self.phase() == Phase::New {
            let may_be_left = |left: &Left| !left.can_tell || !left.processes.is_empty();
            let origin = self.memory.as_ref().map(|memory| memory.starting);
            let origin = origin.unwrap_or_default();
            // Also where the program lives: others may come of the same start.
            if origin.since.is_some() || self.left.as_ref().is_some_and(may_be_left) {
                self.started = Some(Started::inherited(now, now, origin));
            }
        }
        self.note_programs(now);
        let alive = if self.screen.is_empty() {
            Vec::new()
        } else {
            self.recognised(sighting, is_whole, actions)
        };
        if is_whole {
            self.is_other_target = false;
        }
        if !sighting.alive.is_empty() {
            self.seen_alive = Some(now);
        }
        if self.screen.is_empty() {
            self.wait_for_somebody(now, actions);
        } else if !alive.is_empty() {
            self.found_alive(now, &alive, was_unknown, actions);
        } else if !is_whole && !self.misfits.is_empty() {
            // It may be the program by now.
            self.look_at_all(now);
        } else if self.is_in_the_way(now, sighting, actions) {
            self.next_look = self.next_cycle(now);
        } else {
            self.found_absent(now, sighting, actions);
        }
        self.memory = None;
        self.left = None;
        self.screen.company = None;
        if let Some(pause) = &self.pause {
            self.next_look = self.next_look.min(pause.until);
        }
        self.end_strays(now, actions);
        // A misfit has been told as that, and one that is ended as that.
        let each = impostors.each.into_iter();
        let is_left_alone = |id: ProcessId| !self.is_misfit(id) && !self.screen.is_stray(id);
        let told = each.filter(|impostor| is_left_alone(impostor.id));
        let told = told.map(Change::Impostor);
        let others = impostors.others.map(Change::MoreImpostors);
        actions.extend(told.chain(others).map(Action::Tell));
    }

    /// Whether one lives that is nearly the program and that nothing is started beside. Says so.
    fn is_in_the_way(
        &mut self,
        now: Instant,
        sighting: &Sighting,
        actions: &mut Vec<Action>,
    ) -> bool {
        let is_known = self.phase() == Phase::Misfit && !self.misfits.is_empty();
        if self.misfits.is_empty() {
            // What only rules refuse which are stricter than they were an earlier version has taken for the
            // program, and it may well be that.
            let impostors = sighting.impostors.iter();
            let refused = impostors.filter(|impostor| impostor.difference.is_strict());
            self.misfits = refused.cloned().collect();
        }
        if self.misfits.is_empty() {
            return false;
        }
        if !is_known {
            if let Some(ending) = self.ending() {
                let cause = self
                    .absence
                    .map_or(Cause::Unhealthy, |absence| absence.cause);
                actions.push(Action::Tell(alive::killed(ending, cause)));
            }
            if self.phase() == Phase::Up {
                self.may_settle(now, sighting);
            }
            self.surplus.clear();
            self.becomes_misfit(actions);
        }
        self.alive = self.misfits.iter().map(|misfit| misfit.id).collect();
        true
    }

    /// Those of the living that are the program. A known process is that until it dies, whatever it is
    /// called and runs by now; but what only a rule refuses that has come since is a misfit. Only a look at all
    /// processes says in what they differ.
    fn recognised(
        &mut self,
        sighting: &Sighting,
        is_whole: bool,
        actions: &mut Vec<Action>,
    ) -> Vec<Alive> {
        let mut alive = sighting.alive.clone();
        let lives = |id: &ProcessId| sighting.alive.iter().any(|alive| alive.id == *id);
        self.renamed.retain(lives);
        // What fits by now, since the rules have changed, is the program.
        let differs = |id: &ProcessId| sighting.changed.iter().any(|other| other.id == *id);
        self.misfits
            .retain(|misfit| lives(&misfit.id) && (!is_whole || differs(&misfit.id)));
        alive.retain(|alive| !self.is_misfit(alive.id));
        let mut refused = Vec::new();
        for changed in &sighting.changed {
            let was_refused = |memory: &Memory| memory.misfits.contains(&changed.id);
            if self.is_misfit(changed.id) || self.renamed.contains(&changed.id) {
                continue;
            }
            let is_refused = self.is_other_target && changed.difference != Difference::Name;
            let is_strictly_refused = self.memory.is_some() && changed.difference.is_strict();
            if is_refused || is_strictly_refused || self.memory.as_ref().is_some_and(was_refused) {
                alive.retain(|alive| alive.id != changed.id);
                refused.push(changed.clone());
            } else {
                self.renamed.push(changed.id);
                actions.push(Action::Tell(Change::Renamed(changed.clone())));
            }
        }
        if !alive.is_empty() {
            let told = refused.iter().cloned().map(Change::Impostor);
            actions.extend(told.map(Action::Tell));
        }
        self.misfits.extend(refused);
        alive
    }

    /// Whether it is nearly the program, and was told to be that.
    fn is_misfit(&self, id: ProcessId) -> bool {
        self.misfits.iter().any(|misfit| misfit.id == id)
    }

    /// What runs is nearly the program: it isn't ended, and nothing is started beside it.
    fn becomes_misfit(&mut self, actions: &mut Vec<Action>) {
        self.nothing_is_wrong(actions);
        self.wish = Wish::LeftAlone;
        let who = self.misfits.first().cloned();
        actions.extend(who.map(|who| Action::Tell(Change::Misfit(who))));
        self.stand = Stand::Misfit;
        self.alive = self.misfits.iter().map(|misfit| misfit.id).collect();
        self.seen.clear();
        self.start_failure = None;
        self.failed_starts = 0;
    }

    /// From now on these are in the way.
    fn waits_for_misfits(
        &mut self,
        now: Instant,
        misfits: Vec<Impostor>,
        actions: &mut Vec<Action>,
    ) {
        self.misfits = misfits;
        self.becomes_misfit(actions);
        self.next_look = self.next_cycle(now);
    }

    /// The first multiple of the interval after `now`, counted from the epoch.
    fn next_cycle(&self, now: Instant) -> Instant {
        next_multiple(self.epoch, self.policy.interval, now)
    }
}

/// When a wait that would have ended at `deadline` ends now that the time it takes has changed.
pub(super) fn under_new_rules(
    deadline: Instant,
    now: Instant,
    (before, after): (Duration, Duration),
) -> Instant {
    let begin = deadline.checked_sub(before).filter(|_| now < deadline);
    begin.map_or(deadline, |begin| begin + after)
}

#[cfg(test)]
mod tests;
