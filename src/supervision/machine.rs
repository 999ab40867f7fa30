//! Decides what to do about one process: events and the time in, actions out. It has no clock, no
//! file and no process of its own.
//!
//! ```text
//!            look: alive                     look: gone
//!   New ───────────────────▶ Up ────────────────────────────────┐
//!    │                       ▲  ◀───────────────┐                │
//!    │ look: gone            │ look: alive      │ look: alive    ▼
//!    └───────────────────────┼──────────────── Starting ◀── (start, once)
//!                            │                  │   ▲
//!                look: alive │       no success │   │ look: gone, next cycle
//!                            │                  ▼   │
//!                            └───────────────  Down ┴─▶ Stopping (our earlier start program
//!                                                       still runs: TERM, later KILL)
//! ```
//!
//! Only a look that succeeded moves it to a start: every other event merely asks for a look. While
//! looks fail the phase stays as it is and the state is reported as unknown.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use crate::process::{ExitStatus, ProcessId, Sighting};

/// The first pause before looking whether a start has succeeded; it doubles up to
/// [`LAST_POLL`].
const FIRST_POLL: Duration = Duration::from_millis(2);

/// The longest pause before looking whether a start has succeeded.
const LAST_POLL: Duration = Duration::from_millis(500);

/// How long an earlier start program has to end after SIGTERM before SIGKILL.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// How many cycles a process that is up may merely be confirmed, without a look at all processes:
/// an hour's worth of the default interval.
const CYCLES_PER_WHOLE_LOOK: u32 = 360;

/// The longest time without a look at all processes.
const WHOLE_LOOK_MAX: Duration = Duration::from_secs(3600);

/// How many starts may come at once, for a sale may be waiting. Those after them come one interval
/// after the one three before: a program that dies again and again must not take the till with it.
const START_BURST: usize = 3;

/// The times a process's supervision keeps to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// The time between two looks while nothing happens.
    pub interval: Duration,
    /// How long after its start a process may appear before the start has failed.
    pub start_timeout: Duration,
}

/// What a machine is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A look at the process table succeeded.
    Looked(Sighting),
    /// A look failed; the text says why and is the same for the same kind of failure.
    LookFailed(String),
    /// Something suggests that the process has ended; only a look can tell.
    ExitNoticed,
    /// A start program was run, under this pid.
    StartProgramRuns {
        /// The pid of our child.
        pid: i32,
    },
    /// A start program has ended, or couldn't be run.
    StartEnded(StartOutcome),
    /// The settings have changed.
    Reconfigured(Policy),
}

/// How a start program came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartOutcome {
    /// It was never run; the text says why.
    NotRun(StartFailure),
    /// It ran and ended.
    Exited {
        /// The pid it had.
        pid: i32,
        /// How it ended.
        status: ExitStatus,
        /// Whether it left other processes behind in its process group: they may still be busy
        /// bringing the program up, even though the start program itself reported a failure.
        left_running: bool,
    },
}

/// Why a start has failed; two equal ones need no second message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartFailure {
    /// The start program isn't there.
    NotInstalled(String),
    /// The start program can't be run: what was tried and the system's own words.
    NotRun(String),
    /// The start program reported a failure.
    Failed(ExitStatus),
    /// systemd reported a failure, in its own words.
    Unit(String),
    /// Nothing of the name appeared in time.
    TimedOut {
        /// How long it was waited for.
        after: Duration,
        /// What had become of the start program by then.
        start_program: Fate,
    },
}

/// What has become of a start program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It still runs.
    Running,
    /// It has ended.
    Ended(ExitStatus),
    /// It was run by an earlier run of the service.
    Unknown,
}

impl fmt::Display for StartFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotInstalled(program) => write!(f, "{program} is not installed"),
            Self::NotRun(why) | Self::Unit(why) => f.write_str(why),
            Self::Failed(status) => write!(f, "the start program failed with {status}"),
            Self::TimedOut {
                after,
                start_program,
            } => {
                let after = humantime::format_duration(*after);
                write!(f, "no process of that name appeared within {after}; ")?;
                match start_program {
                    Fate::Running => f.write_str("the start program is still running"),
                    Fate::Ended(status) => write!(f, "the start program ended with {status}"),
                    Fate::Unknown => f.write_str("it was started before the service was"),
                }
            }
        }
    }
}

/// Why a process was found gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// It wasn't running when first looked for.
    Absent,
    /// It has ended, and how isn't known: it was no child of ours and has left no trace.
    Gone,
    /// It ended by itself, with this status.
    Exited(i32),
    /// It was ended by this signal.
    Killed(i32),
}

impl Cause {
    /// Its stable name in the journal and in status files.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Gone => "gone",
            Self::Exited(_) => "exited",
            Self::Killed(_) => "killed",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Absent => f.write_str("was not running"),
            Self::Gone => f.write_str("has ended"),
            Self::Exited(code) => write!(f, "has ended with {}", ExitStatus::Code(code)),
            Self::Killed(number) => write!(f, "was killed by {}", ExitStatus::Signal(number)),
        }
    }
}

/// What a machine wants done, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Run the start program, or have the unit started.
    Start,
    /// Signal the start program that we ran earlier and that still runs.
    StopStartProgram(Stop),
    /// Tell the world about a change.
    Report(Report),
}

/// How a start program is asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// SIGTERM.
    Terminate,
    /// SIGKILL.
    Kill,
}

/// A change worth a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// It runs: after a first start, or seen again after looks had failed.
    Up {
        /// Its lowest pid.
        pid: i32,
    },
    /// It runs, and somebody else started it.
    Adopted {
        /// All its pids.
        pids: Vec<i32>,
    },
    /// It is gone.
    Down {
        /// The pid it had, if it was ever seen.
        pid: Option<i32>,
        /// Why.
        cause: Cause,
    },
    /// It is being started.
    Starting,
    /// It is back.
    Restarted {
        /// Its lowest pid.
        pid: i32,
        /// Why it had to be restarted.
        cause: Cause,
        /// From the moment its absence was noticed until it was seen again.
        outage: Duration,
    },
    /// A start failed, for a reason not yet said.
    StartFailed(StartFailure),
    /// A look failed, for a reason not yet said.
    Unknown(String),
}

/// Where a process stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// Not looked at yet.
    New,
    /// At least one process of the name lives.
    Up,
    /// A start is in flight.
    Starting,
    /// Our earlier start program must end before the next start.
    Stopping,
    /// The last start failed, or there were too many of late; the next try comes in its time.
    Down,
}

/// A start in flight.
#[derive(Debug, Clone, Copy)]
struct Attempt {
    deadline: Instant,
    poll: Duration,
    /// How its start program ended.
    ended: Option<ExitStatus>,
    /// Whether nothing is left that could still bring the process up.
    hopeless: bool,
}

/// The time since when a process is gone.
#[derive(Debug, Clone, Copy)]
struct Absence {
    since: Instant,
    cause: Cause,
}

/// The supervision of one process.
#[derive(Debug, Clone)]
pub struct Machine {
    policy: Policy,
    /// All cycles are counted from here, so that tasks on the same interval wake up together.
    epoch: Instant,
    phase: Phase,
    /// The last look's failure, if it failed.
    look_failure: Option<String>,
    /// The processes that were alive at the last successful look.
    alive: Vec<ProcessId>,
    absence: Option<Absence>,
    /// Meaningful in `Starting`.
    attempt: Attempt,
    /// Whether an earlier run of the service may have left a start in flight.
    inherits_start: bool,
    /// The last [`START_BURST`] starts, the oldest first.
    recent_starts: VecDeque<Instant>,
    /// The pid of our own start program while it runs.
    start_program: Option<i32>,
    /// Meaningful in `Stopping`: when to lose patience.
    kill_at: Instant,
    /// How our last start program ended; it may have become the process itself.
    last_exit: Option<(i32, ExitStatus)>,
    /// Why the last start failed, until the process is up.
    start_failure: Option<StartFailure>,
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
            phase: Phase::New,
            look_failure: None,
            alive: Vec::new(),
            absence: None,
            attempt: Attempt {
                deadline: now,
                poll: FIRST_POLL,
                ended: None,
                hopeless: false,
            },
            inherits_start: false,
            recent_starts: VecDeque::with_capacity(START_BURST),
            start_program: None,
            kill_at: now,
            last_exit: None,
            start_failure: None,
            restarts: 0,
            next_look: now,
            whole_look_at: now,
        }
    }

    /// The same, for a process that an earlier run of the service was starting when it ended: a
    /// start may still be in flight, so it is waited for before there is another one.
    #[must_use]
    pub fn inheriting_start(self) -> Self {
        Self {
            inherits_start: true,
            ..self
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
        let settled = self.phase == Phase::Up && self.look_failure.is_none();
        if settled && self.next_look < self.whole_look_at {
            Look::Confirm
        } else {
            Look::Whole
        }
    }

    /// Where the process stood at the last successful look.
    #[must_use]
    pub fn phase(&self) -> &Phase {
        &self.phase
    }

    /// Why the last look failed; `None` when it succeeded.
    #[must_use]
    pub fn look_failure(&self) -> Option<&str> {
        self.look_failure.as_deref()
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

    /// How often the process was brought back after it had been up.
    #[must_use]
    pub fn restarts(&self) -> u64 {
        self.restarts
    }

    /// Takes one event in.
    pub fn handle(&mut self, now: Instant, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::Looked(sighting) => self.looked(now, &sighting, &mut actions),
            Event::LookFailed(why) => {
                self.next_look = self.next_cycle(now);
                if self.look_failure.as_ref() != Some(&why) {
                    actions.push(Action::Report(Report::Unknown(why.clone())));
                }
                self.look_failure = Some(why);
            }
            Event::ExitNoticed => {
                // A failed start still waits for its cycle.
                if self.phase == Phase::Up {
                    self.look_at_all(now);
                }
            }
            Event::StartProgramRuns { pid } => self.start_program = Some(pid),
            Event::StartEnded(outcome) => self.start_ended(now, outcome, &mut actions),
            Event::Reconfigured(policy) => {
                self.policy = policy;
                self.look_at_all(now);
            }
        }
        actions
    }

    fn look_at_all(&mut self, now: Instant) {
        self.next_look = now;
        self.whole_look_at = now;
    }

    fn looked(&mut self, now: Instant, sighting: &Sighting, actions: &mut Vec<Action>) {
        if self.look() == Look::Whole {
            let time = self.policy.interval.saturating_mul(CYCLES_PER_WHOLE_LOOK);
            self.whole_look_at = now + time.min(WHOLE_LOOK_MAX);
        }
        let was_unknown = self.look_failure.take().is_some();
        if sighting.alive.is_empty() {
            self.found_absent(now, sighting, actions);
        } else {
            self.found_alive(now, sighting, was_unknown, actions);
        }
    }

    fn found_alive(
        &mut self,
        now: Instant,
        sighting: &Sighting,
        was_unknown: bool,
        actions: &mut Vec<Action>,
    ) {
        let pid = sighting.alive[0].id.pid;
        let adopted = || Report::Adopted {
            pids: sighting.alive.iter().map(|alive| alive.id.pid).collect(),
        };
        let ours_may_have = self.phase == Phase::Starting
            || !matches!(
                self.start_failure,
                None | Some(StartFailure::NotInstalled(_) | StartFailure::NotRun(_))
            );
        let report = match self.phase {
            Phase::New => Some(adopted()),
            Phase::Up
                if !sighting
                    .alive
                    .iter()
                    .any(|alive| self.alive.contains(&alive.id)) =>
            {
                Some(adopted())
            }
            Phase::Up => was_unknown.then_some(Report::Up { pid }),
            Phase::Starting | Phase::Stopping | Phase::Down if !ours_may_have => Some(adopted()),
            Phase::Starting | Phase::Stopping | Phase::Down => match self.absence {
                Some(Absence { cause, since }) if cause != Cause::Absent => {
                    self.restarts += 1;
                    let outage = now.saturating_duration_since(since);
                    Some(Report::Restarted { pid, cause, outage })
                }
                _ => Some(Report::Up { pid }),
            },
        };
        self.phase = Phase::Up;
        self.alive = sighting.alive.iter().map(|alive| alive.id).collect();
        self.absence = None;
        self.start_failure = None;
        self.next_look = self.next_cycle(now);
        actions.extend(report.map(Action::Report));
    }

    fn found_absent(&mut self, now: Instant, sighting: &Sighting, actions: &mut Vec<Action>) {
        match self.phase {
            Phase::New | Phase::Up => {
                let cause = self.cause(sighting);
                let pid = self.alive.first().map(|id| id.pid);
                self.absence = Some(Absence { since: now, cause });
                self.alive.clear();
                let down = Report::Down { pid, cause };
                if self.phase == Phase::New && self.inherits_start {
                    actions.extend([down, Report::Starting].map(Action::Report));
                    self.await_start(now);
                } else {
                    self.want_start(now, Some(down), actions);
                }
            }
            Phase::Starting => self.start_awaited(now, actions),
            Phase::Stopping if self.start_program.is_some() => {
                if now >= self.kill_at {
                    actions.push(Action::StopStartProgram(Stop::Kill));
                    self.kill_at = now + STOP_TIMEOUT;
                }
                self.next_look = self.kill_at.min(self.next_cycle(now));
            }
            Phase::Stopping | Phase::Down => self.want_start(now, None, actions),
        }
    }

    /// Nothing of the name lives yet, and a start is in flight.
    fn start_awaited(&mut self, now: Instant, actions: &mut Vec<Action>) {
        match self.attempt.ended {
            Some(status) if self.attempt.hopeless => {
                self.start_failed(now, StartFailure::Failed(status), actions);
            }
            ended if now >= self.attempt.deadline => {
                let start_program = match ended {
                    Some(status) => Fate::Ended(status),
                    None if self.start_program.is_some() => Fate::Running,
                    None => Fate::Unknown,
                };
                let failure = StartFailure::TimedOut {
                    after: self.policy.start_timeout,
                    start_program,
                };
                self.start_failed(now, failure, actions);
            }
            _ => {
                self.next_look = (now + self.attempt.poll).min(self.attempt.deadline);
                self.attempt.poll = (self.attempt.poll * 2).min(LAST_POLL);
            }
        }
    }

    /// Nothing of the name lives: starts it, once our earlier start program is out of the way.
    /// `news` is told after the start, for the till waits for the start, not for the journal.
    fn want_start(&mut self, now: Instant, news: Option<Report>, actions: &mut Vec<Action>) {
        if self.start_program.is_some() {
            self.phase = Phase::Stopping;
            self.kill_at = now + STOP_TIMEOUT;
            self.next_look = self.kill_at.min(self.next_cycle(now));
            actions.push(Action::StopStartProgram(Stop::Terminate));
            actions.extend(news.map(Action::Report));
            return;
        }
        let allowed_at = self.start_allowed_at();
        if allowed_at > now {
            self.phase = Phase::Down;
            self.next_look = allowed_at;
            actions.extend(news.map(Action::Report));
            return;
        }
        if self.recent_starts.len() == START_BURST {
            self.recent_starts.pop_front();
        }
        self.recent_starts.push_back(now);
        self.await_start(now);
        actions.push(Action::Start);
        actions.extend(news.map(Action::Report));
        if self.start_failure.is_none() {
            actions.push(Action::Report(Report::Starting));
        }
    }

    /// From now on a start is in flight.
    fn await_start(&mut self, now: Instant) {
        self.phase = Phase::Starting;
        self.attempt = Attempt {
            deadline: now + self.policy.start_timeout,
            poll: FIRST_POLL * 2,
            ended: None,
            hopeless: false,
        };
        self.next_look = now + FIRST_POLL;
    }

    /// When the next start may come at the earliest.
    fn start_allowed_at(&self) -> Instant {
        match self.recent_starts.front() {
            Some(first) if self.recent_starts.len() == START_BURST => *first + self.policy.interval,
            _ => self.epoch,
        }
    }

    fn start_ended(&mut self, now: Instant, outcome: StartOutcome, actions: &mut Vec<Action>) {
        self.start_program = None;
        match outcome {
            StartOutcome::NotRun(failure) => {
                if self.phase == Phase::Starting {
                    self.start_failed(now, failure, actions);
                }
            }
            StartOutcome::Exited {
                pid,
                status,
                left_running,
            } => {
                self.last_exit = Some((pid, status));
                if self.phase == Phase::Starting {
                    self.attempt.ended = Some(status);
                    self.attempt.hopeless = !status.is_success() && !left_running;
                }
                // It may have been the process itself, or have brought it up just before.
                if self.phase != Phase::Down {
                    self.look_at_all(now);
                }
            }
        }
    }

    fn start_failed(&mut self, now: Instant, failure: StartFailure, actions: &mut Vec<Action>) {
        self.phase = Phase::Down;
        self.next_look = self.next_cycle(now);
        if self.start_failure.as_ref() != Some(&failure) {
            actions.push(Action::Report(Report::StartFailed(failure.clone())));
        }
        self.start_failure = Some(failure);
    }

    fn cause(&self, sighting: &Sighting) -> Cause {
        if self.phase == Phase::New {
            return Cause::Absent;
        }
        let was_child = |(pid, _): &(i32, ExitStatus)| self.alive.iter().any(|id| id.pid == *pid);
        let as_child = self.last_exit.filter(was_child).map(|(_, status)| status);
        let left_behind = || {
            let mut zombies = sighting.zombies.iter();
            zombies
                .find(|zombie| self.alive.contains(&zombie.id))?
                .exit_status
        };
        match as_child.or_else(left_behind) {
            Some(ExitStatus::Code(code)) => Cause::Exited(code),
            Some(ExitStatus::Signal(number)) => Cause::Killed(number),
            None => Cause::Gone,
        }
    }

    /// The first multiple of the interval after `now`, counted from the epoch.
    fn next_cycle(&self, now: Instant) -> Instant {
        let since = now.saturating_duration_since(self.epoch).as_nanos();
        let interval = self.policy.interval.as_nanos().max(1);
        let rest = interval - since % interval;
        // An interval is at most an hour, so the rest fits.
        now + Duration::from_nanos(u64::try_from(rest).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests;
