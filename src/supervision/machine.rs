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
//! [`super::backoff`], who is who in [`super::copies`], how a living process is made to end in
//! [`super::ending`].

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::backoff::Backoff;
use super::copies::{Copies, with_descendants};
use super::ending::{Ending, Next};
use super::policy::{Duplicates, Policy};
use super::report::{
    Cause, Fate, Intention, Recovery, Report, StartFailure, StartOutcome, Stop,
};
use crate::process::{Alive, ExitStatus, Impostor, ProcessId, RunState, Sighting};

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

/// The name under which it is told that a process is stopped.
pub const STOPPED: &str = "stopped";

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
    /// systemd has stopped the unit, or has failed to; only a look can tell.
    UnitStopEnded,
    /// A signal couldn't be sent; the text says why.
    NotSignalled(String),
    /// A health check has found something wrong.
    CheckFailed {
        /// The check's name.
        check: String,
        /// What it has found.
        finding: String,
        /// Whether the process is to be restarted for it.
        is_reason_to_restart: bool,
    },
    /// A health check that had failed has passed.
    CheckPassed {
        /// The check's name.
        check: String,
    },
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
    Report(Report),
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
    copies: Copies,
    /// Meaningful in `Up`.
    up_since: Instant,
    /// Since when the process is stopped (state T), if it is.
    stopped_since: Option<Instant>,
    /// What is wrong with the living process, by the name of the check that says so.
    troubles: BTreeMap<String, String>,
    /// The end of the living process: there in `Replacing`, and nowhere else.
    ending: Option<Ending>,
    /// The ends of second copies.
    surplus: Vec<Ending>,
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
    backoff: Backoff,
    /// When the next start may come at the earliest.
    not_before: Instant,
    /// The pid of our own start program while it runs.
    start_program: Option<i32>,
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
            backoff: Backoff::default(),
            not_before: epoch,
            start_program: None,
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
        Self {
            restarts: memory.restarts,
            backoff: memory.backoff.clone(),
            not_before: memory.not_before.unwrap_or(self.epoch),
            memory: Some(memory),
            ..self
        }
    }

    /// What the next run of the service has to know.
    #[must_use]
    pub fn memory(&self) -> Memory {
        if let Some(memory) = &self.memory {
            return memory.clone();
        }
        let is = |phase| self.phase == phase;
        Memory {
            restarts: self.restarts,
            backoff: self.backoff.clone(),
            not_before: is(Phase::Backoff).then_some(self.not_before),
            starting_until: is(Phase::Starting).then_some(self.attempt.deadline),
            alive: self.alive.clone(),
            up_since: is(Phase::Up).then_some(self.up_since),
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

    /// The pids of second copies.
    pub fn duplicates(&self) -> impl Iterator<Item = i32> {
        self.copies.duplicates().map(|id| id.pid)
    }

    /// What is wrong with the living process: the name of a check and what it has found.
    pub fn troubles(&self) -> impl Iterator<Item = (&str, &str)> {
        let troubles = self.troubles.iter();
        troubles.map(|(check, finding)| (check.as_str(), finding.as_str()))
    }

    /// Whether the process that is to be replaced can't be killed.
    #[must_use]
    pub fn is_stuck(&self) -> bool {
        self.ending.as_ref().is_some_and(Ending::is_stuck)
    }

    /// When the next start comes, if it has to wait.
    #[must_use]
    pub fn next_start(&self) -> Option<Instant> {
        (self.phase == Phase::Backoff).then_some(self.not_before)
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
                    actions.push(Action::Report(Report::Unknown(why.clone())));
                }
                self.look_failure = Some(why);
            }
            Event::ExitNoticed => {
                // A failed start still waits for its cycle.
                if matches!(self.phase, Phase::Up | Phase::Replacing) {
                    self.look_at_all(now);
                }
            }
            Event::StartProgramRuns { pid } => self.start_program = Some(pid),
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
            Event::Reconfigured(policy) => {
                self.policy = policy;
                self.not_before = self.not_before.min(now + self.backoff.delay(&policy));
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
        let is_whole = self.look() == Look::Whole;
        if is_whole {
            let time = self.policy.interval.saturating_mul(CYCLES_PER_WHOLE_LOOK);
            self.whole_look_at = now + time.min(WHOLE_LOOK_MAX);
        }
        let was_unknown = self.look_failure.take().is_some();
        let impostors = self.copies.impostors(&sighting.impostors, is_whole);
        if self.has_tried {
            self.misfits.extend(impostors.iter().map(|impostor| impostor.id));
        }
        if sighting.alive.is_empty() {
            self.found_absent(now, sighting, actions);
        } else {
            self.found_alive(now, sighting, was_unknown, actions);
        }
        self.memory = None;
        let told = impostors.into_iter().map(Report::Impostor);
        actions.extend(told.map(Action::Report));
    }

    fn found_alive(
        &mut self,
        now: Instant,
        sighting: &Sighting,
        was_unknown: bool,
        actions: &mut Vec<Action>,
    ) {
        if self.phase == Phase::Replacing && self.ending_goes_on(now, sighting, actions) {
            return;
        }
        let ids: Vec<ProcessId> = sighting.alive.iter().map(|copy| copy.id).collect();
        let known = |known: &[ProcessId]| known.iter().any(|id| ids.contains(id));
        let is_same = known(&self.alive);
        let report = self.report_alive(now, &ids, is_same, was_unknown);
        let was_restarted = matches!(report, Some(Report::Restarted { .. }));
        if self.phase != Phase::Up || !is_same {
            let remembered = self.memory.as_ref().filter(|memory| known(&memory.alive));
            self.up_since = remembered.and_then(|memory| memory.up_since).unwrap_or(now);
            self.stopped_since = None;
        }
        self.phase = Phase::Up;
        self.alive = ids;
        self.absence = None;
        self.start_failure = None;
        self.has_tried = false;
        self.misfits.clear();
        self.is_dry_run_told = false;
        actions.extend(report.map(Action::Report));
        if !is_same {
            self.nothing_is_wrong(actions);
        }
        if was_restarted {
            self.restarts += 1;
            let crash_loop = self.backoff.restarted(now, &self.policy);
            actions.extend(crash_loop.map(|(restarts, within)| {
                Action::Report(Report::CrashLoop { restarts, within })
            }));
        }
        self.stays_alive(now, &sighting.alive, actions);
    }

    /// What there is to tell of processes that live. `is_same` says that one of them is known.
    fn report_alive(
        &self,
        now: Instant,
        ids: &[ProcessId],
        is_same: bool,
        was_unknown: bool,
    ) -> Option<Report> {
        let pid = ids[0].pid;
        let adopted = || Report::Adopted {
            pids: ids.iter().map(|id| id.pid).collect(),
        };
        let ours_may_have = self.phase == Phase::Starting
            || !matches!(
                self.start_failure,
                None | Some(StartFailure::NotInstalled(_) | StartFailure::NotRun(_))
            );
        match self.phase {
            Phase::New => Some(adopted()),
            Phase::Up | Phase::Replacing if !is_same => Some(adopted()),
            Phase::Up | Phase::Replacing => was_unknown.then_some(Report::Up { pid }),
            _ if !ours_may_have => Some(adopted()),
            Phase::Starting | Phase::Stopping | Phase::Backoff | Phase::Down => {
                match self.absence {
                    Some(Absence { cause, since }) if cause != Cause::Absent => {
                        let outage = now.saturating_duration_since(since);
                        Some(Report::Restarted { pid, cause, outage })
                    }
                    _ => Some(Report::Up { pid }),
                }
            }
        }
    }

    /// Everything that is watched while a process lives, and when to look again.
    fn stays_alive(&mut self, now: Instant, alive: &[Alive], actions: &mut Vec<Action>) {
        let mut next_look = self.next_cycle(now);
        if !self.backoff.is_fresh() {
            let stable_at = self.up_since + self.policy.stable_after;
            if now < stable_at {
                next_look = next_look.min(stable_at);
            } else if self.backoff.forget() {
                let what = Recovery::CrashLoop;
                actions.push(Action::Report(self.recovered(what)));
            }
        }
        for duplicate in self.copies.lives(now, alive, self.policy.interval) {
            let will_stop = self.policy.duplicates == Duplicates::StopNewest;
            actions.push(Action::Report(Report::Duplicate {
                pid: duplicate.id.pid,
                first: duplicate.first.pid,
            }));
            if will_stop && self.policy.dry_run {
                let pid = duplicate.id.pid;
                let intention = Intention::StopDuplicate { pid };
                actions.push(Action::Report(Report::DryRun(intention)));
            }
        }
        let again = self.copies.next_look(self.policy.interval);
        next_look = again.map_or(next_look, |again| next_look.min(again));
        next_look = next_look.min(self.end_duplicates(now, alive, actions));
        self.next_look = next_look;
        self.is_stopped(now, alive, actions);
    }

    /// Notes whether the process is stopped, and for how long.
    fn is_stopped(&mut self, now: Instant, alive: &[Alive], actions: &mut Vec<Action>) {
        let first = self.copies.first(alive);
        let first = alive.iter().find(|copy| Some(copy.id) == first);
        if first.is_none_or(|copy| copy.state != RunState::Stopped) {
            self.stopped_since = None;
            self.well(STOPPED.to_owned(), actions);
            return;
        }
        let since = *self.stopped_since.get_or_insert(now);
        let hung_at = since + self.policy.stopped_timeout;
        if now < hung_at {
            self.next_look = self.next_look.min(hung_at);
        } else if !self.troubles.contains_key(STOPPED) {
            let time = humantime::format_duration(self.policy.stopped_timeout);
            let finding = format!("was stopped by a signal and has not gone on for {time}");
            self.unwell(now, STOPPED.to_owned(), finding, true, actions);
        }
    }

    /// Ends second copies if that is wanted, and says when to look at them again.
    fn end_duplicates(
        &mut self,
        now: Instant,
        alive: &[Alive],
        actions: &mut Vec<Action>,
    ) -> Instant {
        let mut next_look = self.next_cycle(now);
        if self.policy.duplicates != Duplicates::StopNewest || self.policy.dry_run {
            self.surplus.clear();
            return next_look;
        }
        let duplicates: Vec<ProcessId> = self.copies.duplicates().collect();
        let timeout = self.policy.stop_timeout;
        let mut reports = Vec::new();
        self.surplus.retain_mut(|ending| {
            let living = living(ending.ids(), alive);
            if living.is_empty() {
                reports.push(killed(ending, Cause::Duplicate));
                return false;
            }
            // The one before it has died meanwhile: now this is the program.
            if !living.iter().any(|id| duplicates.contains(id)) {
                return false;
            }
            match ending.next(now, living, timeout) {
                Next::Wait(until) => next_look = next_look.min(until),
                Next::Signal(stop, ids, until) => {
                    actions.push(Action::Signal(stop, ids));
                    next_look = next_look.min(until);
                }
                Next::Stuck(ids) => reports.push(Report::Stuck {
                    pids: pids(&ids),
                    why: self.signal_failure.take(),
                }),
                Next::StillStuck => {}
            }
            true
        });
        for id in duplicates {
            let is_ending = self.surplus.iter().any(|ending| ending.ids().contains(&id));
            if !is_ending {
                let ids = with_descendants(id, alive);
                actions.push(Action::Signal(Stop::Terminate, ids.clone()));
                self.surplus.push(Ending::by_signal(ids, now, timeout));
                next_look = next_look.min(now + timeout);
            }
        }
        actions.extend(reports.into_iter().map(Action::Report));
        next_look
    }

    /// Something is wrong with the living process.
    fn unwell(
        &mut self,
        now: Instant,
        check: String,
        finding: String,
        is_reason_to_restart: bool,
        actions: &mut Vec<Action>,
    ) {
        let will_restart = is_reason_to_restart && !self.policy.dry_run;
        actions.push(Action::Report(Report::Unhealthy {
            pid: self.alive.first().map(|id| id.pid),
            check: check.clone(),
            finding: finding.clone(),
            will_restart,
        }));
        self.troubles.insert(check, finding);
        if will_restart {
            self.replace(now, Cause::Unhealthy, actions);
        } else if is_reason_to_restart {
            actions.push(Action::Report(Report::DryRun(Intention::Restart)));
        }
    }

    /// A check passes that may have failed before.
    fn well(&mut self, check: String, actions: &mut Vec<Action>) {
        if self.troubles.remove(&check).is_some() {
            let report = self.recovered(Recovery::Check(check));
            actions.push(Action::Report(report));
        }
    }

    /// Another process is up than the one that anything was wrong with.
    fn nothing_is_wrong(&mut self, actions: &mut Vec<Action>) {
        for (check, _) in std::mem::take(&mut self.troubles) {
            let report = self.recovered(Recovery::Check(check));
            actions.push(Action::Report(report));
        }
    }

    fn recovered(&self, what: Recovery) -> Report {
        let pid = self.alive.first().map(|id| id.pid);
        Report::Recovered { pid, what }
    }

    /// Makes the living process end, to start it anew.
    fn replace(&mut self, now: Instant, cause: Cause, actions: &mut Vec<Action>) {
        let ids = self.alive.clone();
        let timeout = self.policy.stop_timeout;
        self.ending = Some(if self.policy.is_unit {
            actions.push(Action::StopUnit);
            Ending::by_unit(ids, now, timeout)
        } else {
            actions.push(Action::Signal(Stop::Terminate, ids.clone()));
            Ending::by_signal(ids, now, timeout)
        });
        self.phase = Phase::Replacing;
        self.absence = Some(Absence { since: now, cause });
        self.signal_failure = None;
        self.surplus.clear();
        self.attempt.poll = FIRST_POLL;
        self.next_look = now + FIRST_POLL;
    }

    /// Some of the name still live while the process is made to end. Says whether that goes on.
    fn ending_goes_on(
        &mut self,
        now: Instant,
        sighting: &Sighting,
        actions: &mut Vec<Action>,
    ) -> bool {
        let Some(mut ending) = self.ending.take() else {
            return false;
        };
        let living = living(ending.ids(), &sighting.alive);
        if living.is_empty() {
            let cause = self.absence.map_or(Cause::Unhealthy, |absence| absence.cause);
            actions.push(Action::Report(killed(&ending, cause)));
            return false;
        }
        if self.policy.dry_run {
            return false;
        }
        self.alive.clone_from(&living);
        self.attempt.poll = (self.attempt.poll * 2).min(LAST_POLL);
        let poll = now + self.attempt.poll;
        self.next_look = match ending.next(now, living, self.policy.stop_timeout) {
            Next::Wait(until) => poll.min(until),
            Next::Signal(stop, ids, until) => {
                actions.push(Action::Signal(stop, ids));
                poll.min(until)
            }
            Next::Stuck(ids) => {
                actions.push(Action::Report(Report::Stuck {
                    pids: pids(&ids),
                    why: self.signal_failure.take(),
                }));
                self.next_cycle(now)
            }
            Next::StillStuck => self.next_cycle(now),
        };
        self.ending = Some(ending);
        true
    }

    fn found_absent(&mut self, now: Instant, sighting: &Sighting, actions: &mut Vec<Action>) {
        match self.phase {
            Phase::New | Phase::Up | Phase::Replacing => self.found_gone(now, sighting, actions),
            Phase::Starting => self.start_awaited(now, sighting, actions),
            Phase::Stopping if self.start_program.is_some() => {
                if now >= self.kill_at {
                    actions.push(Action::StopStartProgram(Stop::Kill));
                    self.kill_at = now + self.policy.stop_timeout;
                }
                self.next_look = self.kill_at.min(self.next_cycle(now));
            }
            Phase::Stopping | Phase::Backoff | Phase::Down => {
                self.want_start(now, sighting, Vec::new(), actions);
            }
        }
    }

    /// Nothing of the name lives any more, or, at the first look, at all.
    fn found_gone(&mut self, now: Instant, sighting: &Sighting, actions: &mut Vec<Action>) {
        let absence = match self.absence {
            Some(absence) if self.phase == Phase::Replacing => absence,
            _ => Absence {
                since: now,
                cause: self.cause(sighting),
            },
        };
        let cause = absence.cause;
        let pid = self.alive.first().map(|id| id.pid);
        let endings = self.ending.take().map(|ending| killed(&ending, cause));
        let surplus = std::mem::take(&mut self.surplus);
        let surplus = surplus.iter().map(|ending| killed(ending, Cause::Duplicate));
        let mut news: Vec<Report> = endings.into_iter().chain(surplus).collect();
        self.absence = Some(absence);
        self.alive.clear();
        self.copies.lives(now, &[], self.policy.interval);
        let memory = self.memory.take();
        let was_up = memory.as_ref().is_some_and(|memory| !memory.alive.is_empty());
        if self.phase != Phase::New || was_up {
            self.backoff.died();
            self.not_before = self.not_before.max(now + self.backoff.delay(&self.policy));
        }
        let in_flight = memory.and_then(|memory| memory.starting_until);
        let in_flight = in_flight.filter(|until| *until > now && !self.policy.dry_run);
        let wait = if in_flight.is_some() { now } else { self.not_before };
        news.push(Report::Down {
            pid,
            cause,
            wait: wait.saturating_duration_since(now),
        });
        if let Some(until) = in_flight {
            news.push(Report::Starting);
            actions.extend(news.into_iter().map(Action::Report));
            self.await_start(now, until);
        } else {
            self.want_start(now, sighting, news, actions);
        }
    }

    /// Nothing of the name lives yet, and a start is in flight.
    fn start_awaited(&mut self, now: Instant, sighting: &Sighting, actions: &mut Vec<Action>) {
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
                let failure = match self.misfit(sighting) {
                    Some(misfit) => StartFailure::Misfit(misfit.clone()),
                    None => StartFailure::TimedOut {
                        after: self.policy.start_timeout,
                        start_program,
                    },
                };
                self.start_failed(now, failure, actions);
            }
            _ => {
                self.next_look = (now + self.attempt.poll).min(self.attempt.deadline);
                self.attempt.poll = (self.attempt.poll * 2).min(LAST_POLL);
            }
        }
    }

    /// An impostor that has come with one of our starts and still lives. As long as it does, another
    /// start would only bring another one.
    fn misfit<'a>(&self, sighting: &'a Sighting) -> Option<&'a Impostor> {
        let mut impostors = sighting.impostors.iter();
        impostors.find(|impostor| self.misfits.contains(&impostor.id))
    }

    /// Nothing of the name lives: starts it, once nothing stands against that. `news` is told after
    /// the start, for the till waits for the start, not for the journal.
    fn want_start(
        &mut self,
        now: Instant,
        sighting: &Sighting,
        news: Vec<Report>,
        actions: &mut Vec<Action>,
    ) {
        let news = news.into_iter().map(Action::Report);
        if self.policy.dry_run {
            actions.extend(news);
            self.phase = Phase::Down;
            self.next_look = self.next_cycle(now);
            if !self.is_dry_run_told {
                actions.push(Action::Report(Report::DryRun(Intention::Start)));
            }
            self.is_dry_run_told = true;
            return;
        }
        self.is_dry_run_told = false;
        if now < self.not_before {
            actions.extend(news);
            self.phase = Phase::Backoff;
            self.next_look = self.not_before.min(self.next_cycle(now));
            return;
        }
        if let Some(misfit) = self.misfit(sighting) {
            actions.extend(news);
            self.start_failed(now, StartFailure::Misfit(misfit.clone()), actions);
            return;
        }
        if self.start_program.is_some() {
            self.phase = Phase::Stopping;
            self.kill_at = now + self.policy.stop_timeout;
            self.next_look = self.kill_at.min(self.next_cycle(now));
            actions.push(Action::StopStartProgram(Stop::Terminate));
            actions.extend(news);
            return;
        }
        self.await_start(now, now + self.policy.start_timeout);
        actions.push(Action::Start);
        actions.extend(news);
        if self.start_failure.is_none() {
            actions.push(Action::Report(Report::Starting));
        }
    }

    /// From now on a start is in flight.
    fn await_start(&mut self, now: Instant, deadline: Instant) {
        self.phase = Phase::Starting;
        self.has_tried = true;
        self.attempt = Attempt {
            deadline,
            poll: FIRST_POLL * 2,
            ended: None,
            hopeless: false,
        };
        self.next_look = now + FIRST_POLL;
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

/// Those of `ids` that still live, and what they have brought forth meanwhile.
fn living(ids: &[ProcessId], alive: &[Alive]) -> Vec<ProcessId> {
    let mut living = Vec::new();
    for copy in alive.iter().filter(|copy| ids.contains(&copy.id)) {
        for id in with_descendants(copy.id, alive) {
            if !living.contains(&id) {
                living.push(id);
            }
        }
    }
    living
}

fn pids(ids: &[ProcessId]) -> Vec<i32> {
    ids.iter().map(|id| id.pid).collect()
}

/// The end of a living process, as it is told.
fn killed(ending: &Ending, cause: Cause) -> Report {
    Report::Killed {
        pids: pids(ending.ids()),
        signal: ending.signal(),
        cause,
    }
}

#[cfg(test)]
mod tests;
