//! Decides what to do about one process: events and the time in, actions out. It has no clock, no
//! file and no process of its own.
//!
//! ```text
//!            look: alive                     look: gone
//!   New ───────────────────▶ Up ─────────────────────────────────┐
//!    │                       ▲│ ◀───────────────┐                │
//!    │ look: gone            ││ unhealthy,      │ look: alive    ▼
//!    │                       ││ to be restarted │       (start, once) ◀──── Backoff: dies again
//!    └───────────────────────┼┼──────────────▶ Starting             ▲       and again, so it waits
//!                            ││                 │   ▲               │
//!                look: alive ││      no success │   │ look: gone, next cycle
//!                            ││                 ▼   │               │
//!                            │└─▶ Replacing ── Down ┴─▶ Stopping ───┘
//!                            │       │  look: gone     (our earlier start program still runs:
//!                            └───────┘                  TERM, later KILL)
//! ```
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
mod copies;
mod policy;
mod termination;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::proc::{ProcessId, Sighting};
use crate::sys::exit_status::ExitStatus;
use crate::text::phrase::Phrase;
use copies::Copies;
use termination::Termination;

pub use backoff::Backoff;
pub(crate) use copies::second_copies;

pub use change::{Cause, Change, Fate, Intention, Recovery, StartFailure, StartOutcome, Stop};
pub use policy::{Duplicates, Policy};

/// The first pause before looking whether a start has succeeded, or an end; it doubles up to
/// [`LAST_POLL`].
const FIRST_POLL: Duration = Duration::from_millis(2);

/// The longest such pause.
const LAST_POLL: Duration = Duration::from_millis(500);

/// How many cycles a process that is up may merely be confirmed, without a look at all processes:
/// an hour's worth of the default interval.
const CYCLES_PER_WHOLE_LOOK: u32 = 360;

/// The longest time without a look at all processes.
const WHOLE_LOOK_MAX: Duration = Duration::from_secs(3600);

/// The longest pause: what somebody has forgotten ends by itself.
pub const PAUSE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The name under which it is told that a process is stopped; no check can have it.
pub const STOPPED: &str = "stopped";

/// What a machine is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A look at the process table succeeded.
    Looked(Sighting),
    /// A look failed; the text says why and is the same for the same kind of failure.
    LookFailed(Phrase),
    /// Something suggests that the process has ended; only a look can tell.
    ExitNoticed,
    /// A start program was run.
    StartProgramRuns,
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
    /// All health checks begin anew: what they had found before is void.
    ChecksBegin,
    /// Somebody wants the process left alone until a time.
    Pause(Pause),
    /// Somebody wants it watched over again.
    Resume,
    /// Somebody wants it ended and started anew.
    RestartAsked,
    /// The settings have changed.
    Reconfigured(Policy),
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
    /// It lives, and is made to end, to be started anew.
    Replacing,
    /// A start is in flight.
    Starting,
    /// Our earlier start program must end before the next start.
    Stopping,
    /// It has died again and again: the next start waits.
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
    /// The processes that were alive.
    pub alive: Vec<ProcessId>,
    /// Since when.
    pub up_since: Option<Instant>,
    /// The outage that lasted.
    pub absence: Option<Absence>,
    /// The pause, if there is one.
    pub pause: Option<Pause>,
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

/// The time since when a process is gone, or is being made to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Absence {
    /// Since when.
    pub since: Instant,
    /// Why.
    pub cause: Cause,
}

/// Something that is wrong with a living process.
#[derive(Debug, Clone)]
struct Trouble {
    finding: Phrase,
    is_reason_to_restart: bool,
}

/// The supervision of one process.
#[derive(Debug, Clone)]
pub struct Machine {
    policy: Policy,
    /// All cycles are counted from here, so that tasks on the same interval wake up together.
    epoch: Instant,
    phase: Phase,
    /// The last look's failure, if it failed.
    look_failure: Option<Phrase>,
    /// The processes that were alive at the last successful look.
    alive: Vec<ProcessId>,
    copies: Copies,
    /// Meaningful in `Up`.
    up_since: Instant,
    /// Since when the process is stopped (state T), if it is.
    stopped_since: Option<Instant>,
    /// What is wrong with the living process, by the name of the check that says so.
    troubles: BTreeMap<String, Trouble>,
    /// The end of the living process: there in `Replacing`, and nowhere else.
    ending: Option<Termination>,
    /// The ends of second copies.
    surplus: Vec<Termination>,
    /// Why the last signal couldn't be sent.
    signal_failure: Option<String>,
    absence: Option<Absence>,
    /// Meaningful in `Starting`.
    attempt: Attempt,
    /// Whether there was a start since the process was last up.
    has_tried: bool,
    /// Impostors that have come since then: what we start isn't recognised.
    misfits: Vec<ProcessId>,
    /// What an earlier run of the service remembered, until the first look.
    memory: Option<Memory>,
    pause: Option<Pause>,
    backoff: Backoff,
    /// When the next start may come at the earliest.
    not_before: Instant,
    /// Whether our own start program runs.
    start_program_runs: bool,
    /// Meaningful in `Stopping`: when to lose patience.
    kill_at: Instant,
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
            phase: Phase::New,
            look_failure: None,
            alive: Vec::new(),
            copies: Copies::default(),
            up_since: now,
            stopped_since: None,
            troubles: BTreeMap::new(),
            ending: None,
            surplus: Vec::new(),
            signal_failure: None,
            absence: None,
            attempt: Attempt {
                deadline: now,
                poll: FIRST_POLL,
                ended: None,
                hopeless: false,
            },
            has_tried: false,
            misfits: Vec::new(),
            memory: None,
            pause: None,
            backoff: Backoff::default(),
            not_before: epoch,
            start_program_runs: false,
            kill_at: now,
            last_exit: None,
            start_failure: None,
            is_dry_run_told: false,
            restarts: 0,
            next_look: now,
            whole_look_at: now,
        }
    }

    /// The same, with what an earlier run of the service remembered: its own crash must not become
    /// a storm of starts, nor a start beside one that is still in flight.
    #[must_use]
    pub fn remembering(self, memory: Memory) -> Self {
        // Nobody waits longer than the rules of today allow.
        let latest = self.next_look + memory.backoff.delay(&self.policy);
        Self {
            restarts: memory.restarts,
            pause: memory.pause.clone(),
            backoff: memory.backoff.clone(),
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
        let is = |phase| self.phase == phase;
        Memory {
            restarts: self.restarts,
            backoff: self.backoff.clone(),
            // What is left alone has its wait before it still.
            not_before: (is(Phase::Backoff) || is(Phase::Down)).then_some(self.not_before),
            starting_until: is(Phase::Starting).then_some(self.attempt.deadline),
            alive: self.alive.clone(),
            up_since: is(Phase::Up).then_some(self.up_since),
            absence: self.absence,
            pause,
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
    pub fn phase(&self) -> Phase {
        self.phase
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
    pub fn troubles(&self) -> impl Iterator<Item = (&str, &Phrase)> {
        let troubles = self.troubles.iter();
        troubles.map(|(check, trouble)| (check.as_str(), &trouble.finding))
    }

    /// Whether the process that is to be replaced can't be killed.
    #[must_use]
    pub fn is_stuck(&self) -> bool {
        self.ending.as_ref().is_some_and(Termination::is_stuck)
    }

    /// When the next start comes, if it has to wait.
    #[must_use]
    pub fn next_start(&self) -> Option<Instant> {
        (self.phase == Phase::Backoff).then_some(self.not_before)
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

    /// From when on the process's health is to be checked; `None` unless it is up.
    #[must_use]
    pub fn checks_begin(&self) -> Option<Instant> {
        (self.phase == Phase::Up).then(|| self.up_since + self.policy.start_timeout)
    }

    /// Whether the process is absent, and only `dry_run` keeps it from being started.
    #[must_use]
    pub fn is_dry_run(&self) -> bool {
        self.phase == Phase::Down && self.is_dry_run_told
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
                    actions.push(Action::Tell(Change::Unknown(why.clone())));
                }
                self.look_failure = Some(why);
            }
            Event::ExitNoticed => {
                // A failed start still waits for its cycle.
                if matches!(self.phase, Phase::Up | Phase::Replacing) {
                    self.look_at_all(now);
                }
            }
            Event::StartProgramRuns => self.start_program_runs = true,
            Event::StartEnded(outcome) => self.start_ended(now, outcome, &mut actions),
            Event::UnitStopEnded => {
                if let Some(ending) = &mut self.ending {
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
                if self.phase == Phase::Up {
                    self.unwell(now, check, finding, is_reason_to_restart, &mut actions);
                }
            }
            Event::CheckPassed { check } => self.well(check, &mut actions),
            Event::ChecksBegin => self.checks_begin_anew(&mut actions),
            Event::Pause(pause) => {
                self.next_look = self.next_look.min(pause.until);
                actions.push(Action::Tell(Change::Paused {
                    time: pause.until.saturating_duration_since(now),
                    reason: pause.reason.clone(),
                }));
                self.pause = Some(pause);
            }
            Event::Resume => self.resume(now, false, &mut actions),
            Event::RestartAsked => self.restart_asked(now, &mut actions),
            Event::Reconfigured(policy) => self.reconfigured(now, policy),
        }
        actions
    }

    /// New rules count for what is waited for already, too.
    fn reconfigured(&mut self, now: Instant, policy: Policy) {
        let before = std::mem::replace(&mut self.policy, policy);
        self.not_before = self.not_before.min(now + self.backoff.delay(&policy));
        let starts = (before.start_timeout, policy.start_timeout);
        self.attempt.deadline = under_new_rules(self.attempt.deadline, now, starts);
        let remembered = self.memory.as_mut();
        if let Some(until) = remembered.and_then(|memory| memory.starting_until.as_mut()) {
            *until = under_new_rules(*until, now, starts);
        }
        let stops = (before.stop_timeout, policy.stop_timeout);
        self.kill_at = under_new_rules(self.kill_at, now, stops);
        for ending in self.ending.iter_mut().chain(&mut self.surplus) {
            ending.reconfigured(now, stops);
        }
        self.look_at_all(now);
    }

    fn look_at_all(&mut self, now: Instant) {
        self.next_look = now;
        self.whole_look_at = now;
    }

    fn resume(&mut self, now: Instant, is_over: bool, actions: &mut Vec<Action>) {
        if self.pause.take().is_some() {
            actions.push(Action::Tell(Change::Resumed { is_over }));
            self.look_at_all(now);
        }
    }

    fn looked(&mut self, now: Instant, sighting: &Sighting, actions: &mut Vec<Action>) {
        if self.pause.as_ref().is_some_and(|pause| now >= pause.until) {
            self.resume(now, true, actions);
        }
        let is_whole = self.look() == Look::Whole;
        if is_whole {
            let time = self.policy.interval.saturating_mul(CYCLES_PER_WHOLE_LOOK);
            self.whole_look_at = now + time.min(WHOLE_LOOK_MAX);
        }
        let was_unknown = self.look_failure.take().is_some();
        let impostors = self.copies.impostors(&sighting.impostors, is_whole);
        if self.has_tried {
            self.misfits
                .extend(impostors.iter().map(|impostor| impostor.id));
        }
        if sighting.alive.is_empty() {
            self.found_absent(now, sighting, actions);
        } else {
            self.found_alive(now, sighting, was_unknown, actions);
        }
        self.memory = None;
        if let Some(pause) = &self.pause {
            self.next_look = self.next_look.min(pause.until);
        }
        let told = impostors.into_iter().map(Change::Impostor);
        actions.extend(told.map(Action::Tell));
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
