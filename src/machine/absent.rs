//! What the machine decides while a process is absent: when it is started, and when a start has failed.

use std::path::PathBuf;
use std::time::Instant;

use super::alive::killed;
use super::screen::NOT_YET;
use super::termination::Termination;
use super::{
    Absence, Action, CommandId, FailedCommand, Machine, Memory, OomKill, Origin, Phase, Stand,
    Started, Wish,
};
use super::{BACKGROUND_MAX, FIRST_POLL, QUICK_TRIES, REPLACED_WITHIN, RETRY_MAX};
use crate::machine::change::{Cause, Change, Fate, Intention, StartFailure, StartOutcome, Stop};
use crate::proc::{Impostor, Left, LeftOver, ProcessId, Sighting};
use crate::sys::exit_status::ExitStatus;

impl Machine {
    pub(super) fn found_absent(
        &mut self,
        now: Instant,
        sighting: &Sighting,
        actions: &mut Vec<Action>,
    ) {
        if self.screen_decides(now, sighting, actions) {
            return;
        }
        if self.phase() == Phase::Misfit && self.is_still_awaited(now) {
            self.stand = Stand::Starting;
        }
        match &self.stand {
            Stand::New
            | Stand::Up { .. }
            | Stand::Replacing(_)
            | Stand::Misfit
            | Stand::Waiting => {
                self.found_gone(now, sighting, actions);
            }
            Stand::Starting => self.start_awaited(now, sighting, actions),
            Stand::Stopping { kill_at } if self.start_program_runs && !self.is_hands_off() => {
                let mut kill_at = *kill_at;
                if now >= kill_at {
                    actions.push(Action::StopStartProgram(Stop::Kill));
                    kill_at = now + self.policy.stop_timeout;
                    self.stand = Stand::Stopping { kill_at };
                }
                self.next_look = kill_at.min(self.next_cycle(now));
            }
            Stand::Clearing(_) if !self.is_hands_off() => {
                let nearly = self.nearly(sighting);
                if nearly.is_empty() {
                    self.clear(now, actions);
                } else {
                    self.waits_for_misfits(now, nearly, actions);
                }
            }
            Stand::Stopping { .. }
            | Stand::Clearing(_)
            | Stand::Backoff
            | Stand::Down
            | Stand::Held => {
                self.want_start(now, Vec::new(), actions);
            }
        }
    }

    /// Whether a start is in flight that has more time: something else was in the way meanwhile.
    fn is_still_awaited(&self, now: Instant) -> bool {
        self.started.is_some_and(|started| {
            let may_come = !started.has_failed() || started.may_have_gone_elsewhere;
            started.is_in_flight && may_come && now < started.deadline
        })
    }

    /// Nothing of the name lives any more, or, at the first look, at all.
    fn found_gone(&mut self, now: Instant, sighting: &Sighting, actions: &mut Vec<Action>) {
        let memory = self.memory.take();
        let known = match &memory {
            Some(memory) => &memory.alive,
            None => &self.alive,
        };
        let remembered = memory.as_ref().and_then(|memory| memory.absence);
        let absence = self.absence.or(remembered).unwrap_or_else(|| {
            let seen = memory.as_ref().and_then(|memory| memory.seen_alive);
            let seen = seen.max(self.seen_alive).filter(|_| !known.is_empty());
            Absence {
                since: seen.map_or(now, |seen| seen.min(now)),
                noticed: now,
                cause: self.cause(known, sighting),
            }
        });
        let cause = absence.cause;
        let pid = known.first().map(|id| id.pid);
        let was_up = !known.is_empty();
        let endings = self.ending().map(|ending| killed(ending, cause));
        let surplus = std::mem::take(&mut self.surplus);
        let surplus = surplus
            .iter()
            .map(|ending| killed(ending, Cause::Duplicate));
        let mut news: Vec<Change> = endings.into_iter().chain(surplus).collect();
        self.gone = known.clone();
        self.absence = Some(absence);
        self.alive.clear();
        self.copies.lives(now, &[], self.policy.interval);
        if was_up && !cause.is_somebodys_wish() {
            self.backoff.died();
            self.not_before = self.not_before.max(now + self.backoff.delay(&self.policy));
        }
        let in_flight = self.start_left_by_earlier_run(now, memory.as_ref());
        let origin = memory.as_ref().map(|memory| memory.starting);
        let wait = if in_flight.is_some() {
            now
        } else {
            self.not_before
        };
        news.push(Change::Down {
            pid,
            cause,
            wait: wait.saturating_duration_since(now),
        });
        if let Some(until) = in_flight {
            news.push(Change::Starting);
            actions.extend(news.into_iter().map(Action::Tell));
            let started = Started::inherited(now, until, origin.unwrap_or_default());
            self.await_start(
                now,
                Started {
                    may_have_gone_elsewhere: memory
                        .is_some_and(|memory| memory.may_have_gone_elsewhere),
                    ..started
                },
            );
        } else {
            self.want_start(now, news, actions);
        }
    }

    /// Until when a start is waited for that an earlier run of the service has made, remembered or not:
    /// as long as something of it may live.
    fn start_left_by_earlier_run(&self, now: Instant, memory: Option<&Memory>) -> Option<Instant> {
        let is_first_look = self.phase() == Phase::New;
        if !is_first_look || self.is_hands_off() {
            return None;
        }
        let remembered = memory.and_then(|memory| memory.starting_until);
        let remembered = remembered.filter(|until| *until > now);
        let is_elsewhere = memory.is_some_and(|memory| memory.may_have_gone_elsewhere);
        match &self.left {
            Some(left) if left.can_tell && left.processes.is_empty() => {
                remembered.filter(|_| is_elsewhere)
            }
            // What was waited for longer than that is asked for again when that time is over.
            Some(_) if is_elsewhere && remembered.is_some() => remembered,
            Some(_) => {
                let latest = now + self.policy.start_timeout;
                Some(remembered.map_or(latest, |until| until.min(latest)))
            }
            None => remembered,
        }
    }

    /// Nothing of the name lives yet, and a start is in flight.
    fn start_awaited(&mut self, now: Instant, sighting: &Sighting, actions: &mut Vec<Action>) {
        // Before it decides, it is looked at.
        let is_left = self.is_left().unwrap_or(true);
        let Some(started) = self.started else {
            return;
        };
        let is_over = now >= started.deadline;
        match started.ended {
            Some(ExitStatus::Code(code))
                if code == i32::from(NOT_YET) && self.screen.uid().is_some() && !is_left =>
            {
                self.start_failed(now, StartFailure::NotReady, actions);
            }
            Some(status) if !status.is_success() && !is_left => {
                if started.may_have_gone_elsewhere && !is_over && !started.is_late {
                    self.look_at_start_again(now);
                    return;
                }
                // It may have left the session, and what could link it to its start.
                let misfits = self.misfits(now, sighting);
                if misfits.is_empty() {
                    self.start_failed(now, StartFailure::Failed(status), actions);
                } else {
                    self.waits_for_misfits(now, misfits, actions);
                }
            }
            _ if started.is_late && !is_left => {
                self.nothing_is_left();
                self.want_start(now, Vec::new(), actions);
            }
            _ if !is_over => self.look_at_start_again(now),
            ended => {
                let misfits = self.misfits(now, sighting);
                if !misfits.is_empty() {
                    self.waits_for_misfits(now, misfits, actions);
                } else if started.is_late && self.is_hands_off() {
                    self.want_start(now, Vec::new(), actions);
                } else if started.is_late {
                    self.clear(now, actions);
                } else {
                    let start_program = match ended {
                        Some(status) => Fate::Ended(status),
                        None if self.start_program_runs => Fate::Running,
                        None => Fate::Unknown,
                    };
                    let failure = StartFailure::TimedOut {
                        after: self.policy.start_timeout,
                        start_program,
                    };
                    self.start_failed(now, failure, actions);
                }
            }
        }
    }

    /// What is left of the start in flight. Its start program is followed apart from that, while it is
    /// ours to follow.
    fn left_over(&self) -> impl Iterator<Item = &LeftOver> {
        let left = self.left.iter().flat_map(|left| &left.processes);
        left.filter(|left| !(self.start_program_runs && left.is_start_program))
    }

    /// Whether anything is left of it: what is unknown isn't nothing. `None` if it wasn't looked at.
    fn is_left(&self) -> Option<bool> {
        let left = self.left.as_ref()?;
        Some(!left.can_tell || self.left_over().next().is_some())
    }

    fn look_at_start_again(&mut self, now: Instant) {
        if let Some(started) = &mut self.started {
            self.next_look = (now + started.poll).min(started.deadline);
            started.next_poll();
        }
    }

    /// Those that have come with our start and are nearly the program. As long as one lives, another
    /// start would only bring another one. Somebody else's stand in nobody's way.
    fn misfits(&self, now: Instant, sighting: &Sighting) -> Vec<Impostor> {
        let mut misfits = self.nearly(sighting);
        if misfits.is_empty() && self.started.is_some_and(|started| started.is_late) {
            // What a script runs repeatedly is the script's.
            let long = self.policy.start_timeout / 2;
            let lasts = |left: &&LeftOver| {
                let mut programs = self.programs.iter();
                programs.any(|(id, _, since)| *id == left.id && now >= *since + long)
            };
            let programs = self.left_over().filter(lasts);
            misfits.extend(programs.map(LeftOver::as_impostor));
        }
        misfits
    }

    /// Those among them that have the name, or nearly.
    fn nearly(&self, sighting: &Sighting) -> Vec<Impostor> {
        let has = |impostor: &&Impostor| {
            let is_it = |left: &LeftOver| left.id == impostor.id;
            let is_left = |left: &Left| left.processes.iter().any(is_it);
            // Whoever is nobody's descendant any more has our own user, and was born since.
            let since = self.started.and_then(|started| started.origin.since);
            let child = self.started.and_then(|started| started.origin.child);
            let uid = child.map(|child| child.uid);
            let is_ours = impostor.uid.is_some()
                && impostor.uid == uid
                && since.is_some_and(|since| impostor.id.start_time >= since);
            self.left.as_ref().is_some_and(is_left) || is_ours
        };
        let nearly = sighting.impostors.iter().chain(&sighting.near);
        nearly.filter(has).cloned().collect()
    }

    /// Takes in which programs the start has left, and whether they are still what they were.
    pub(super) fn note_programs(&mut self, now: Instant) {
        let Some(left) = &self.left else {
            return;
        };
        let can_tell = left.can_tell;
        let known = std::mem::take(&mut self.programs);
        let programs = self.left_over().filter(|left| !left.is_script);
        let noted = programs.map(|left| {
            let is_it = |(id, exe, _): &&(ProcessId, Option<PathBuf>, Instant)| {
                *id == left.id && *exe == left.exe
            };
            let since = known.iter().find(is_it).map_or(now, |known| known.2);
            (left.id, left.exe.clone(), since)
        });
        self.programs = noted.collect();
        if !can_tell {
            let ids: Vec<ProcessId> = self.left_over().map(|left| left.id).collect();
            let hidden = known.into_iter().filter(|(id, ..)| !ids.contains(id));
            self.programs.extend(hidden);
        }
    }

    /// The start in flight is over: nothing of it lives.
    pub(super) fn nothing_is_left(&mut self) {
        if let Some(started) = &mut self.started {
            started.is_in_flight = false;
        }
    }

    /// Something of an earlier start lives though its time is over. What it has left in the background
    /// has more time, each time twice as much; then it is ended before the next start.
    fn wait_for_background(&mut self, now: Instant, started: Started) {
        self.late_starts = self.late_starts.saturating_add(1);
        let factor = 1_u32.checked_shl(self.late_starts).unwrap_or(u32::MAX);
        let start_timeout = self.policy.start_timeout;
        let time = start_timeout.saturating_mul(factor);
        let time = time.min(BACKGROUND_MAX).max(start_timeout);
        self.stand = Stand::Starting;
        self.started = Some(Started {
            is_late: true,
            deadline: (started.begin + time).max(now),
            ..started
        });
        self.look_at_start_again(now);
    }

    /// Ends what a start has left in the background, and starts again once that is gone.
    fn clear(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let left: Vec<ProcessId> = self.left_over().map(|left| left.id).collect();
        if left.is_empty() {
            if let Stand::Clearing(clearing) = &self.stand {
                actions.push(Action::Tell(killed(clearing, Cause::Late)));
            }
            self.nothing_is_left();
            self.want_start(now, Vec::new(), actions);
            return;
        }
        self.stand = Stand::Clearing(match &self.stand {
            Stand::Clearing(clearing) => self.goes_on(clearing.clone(), now, left, actions),
            _ => {
                self.next_look = now + FIRST_POLL;
                actions.push(Action::Signal(Stop::Terminate, left.clone()));
                Termination::by_signal(left, now, self.policy.stop_timeout)
            }
        });
    }

    /// Nothing of the name lives: starts it, once nothing stands against that. `news` is told after
    /// the start, for the till waits for the start, not for the journal.
    fn want_start(&mut self, now: Instant, news: Vec<Change>, actions: &mut Vec<Action>) {
        let news = news.into_iter().map(Action::Tell);
        if self.is_hands_off() {
            actions.extend(news);
            self.stand = Stand::Down;
            self.wish = Wish::LeftAlone;
            self.next_look = self.next_cycle(now);
            if !self.policy.dry_run {
                return;
            }
            if !self.is_dry_run_told {
                actions.push(Action::Tell(Change::DryRun(Intention::Start)));
            }
            self.is_dry_run_told = true;
            return;
        }
        self.is_dry_run_told = false;
        if now < self.not_before {
            actions.extend(news);
            self.stand = Stand::Backoff;
            self.next_look = self.not_before.min(self.next_cycle(now));
            return;
        }
        if self.hold.as_ref().is_some_and(|hold| now < hold.until) {
            actions.extend(news);
            self.stand = Stand::Held;
            let until = self.hold.as_ref().map_or(now, |hold| hold.until);
            self.next_look = until.min(self.next_cycle(now));
            return;
        }
        if now < self.retry_at && self.failed_starts > 0 {
            actions.extend(news);
            self.stand = Stand::Down;
            self.next_look = self.retry_at.min(self.next_cycle(now));
            return;
        }
        if self.start_program_runs {
            let kill_at = now + self.policy.stop_timeout;
            self.stand = Stand::Stopping { kill_at };
            self.next_look = kill_at.min(self.next_cycle(now));
            actions.push(Action::StopStartProgram(Stop::Terminate));
            actions.extend(news);
            return;
        }
        // Only of a start that wasn't seen to succeed anything can be left that stands in the way.
        let in_flight = self.started.filter(|started| started.is_in_flight);
        if let (Some(started), Some(true)) = (in_flight, self.is_left()) {
            actions.extend(news);
            self.wait_for_background(now, started);
            return;
        }
        let deadline = now + self.policy.start_timeout;
        self.await_start(now, Started::inherited(now, deadline, Origin::default()));
        actions.push(Action::Start);
        actions.extend(news);
        if self.start_failure.is_none() {
            actions.push(Action::Tell(Change::Starting));
        }
    }

    /// From now on a start is in flight.
    fn await_start(&mut self, now: Instant, started: Started) {
        self.stand = Stand::Starting;
        self.started = Some(started);
        self.look_at_start_again(now);
    }

    pub(super) fn start_ended(
        &mut self,
        now: Instant,
        outcome: StartOutcome,
        actions: &mut Vec<Action>,
    ) {
        self.start_program_runs = false;
        match outcome {
            StartOutcome::NotRun(failure) => {
                // Of what was never run nothing can be left; of a unit's start much may be.
                if !matches!(failure, StartFailure::Unit(_)) {
                    self.nothing_is_left();
                }
                if self.phase() == Phase::Starting {
                    self.start_failed(now, failure, actions);
                }
            }
            StartOutcome::Exited { pid, status } => {
                self.last_exit = pid.map(|pid| (pid, status));
                let is_awaited = self.phase() == Phase::Starting;
                if let Some(started) = self.started.as_mut().filter(|_| is_awaited) {
                    started.ended = Some(status);
                    if started.may_have_gone_elsewhere && started.has_failed() {
                        // It may have gone into a session of its own, as with su(1).
                        let twice = started.begin + 2 * self.policy.start_timeout;
                        started.deadline = started.deadline.max(twice);
                    }
                }
                let was_program = pid.is_some_and(|pid| self.alive.iter().any(|id| id.pid == pid));
                // It may have brought the process up just before.
                if matches!(self.phase(), Phase::Starting | Phase::Stopping) || was_program {
                    self.look_at_all(now);
                }
            }
            // It may still be at work, which the start's own time allows for.
            StartOutcome::LostSight => {}
        }
    }

    fn start_failed(&mut self, now: Instant, failure: StartFailure, actions: &mut Vec<Action>) {
        self.stand = Stand::Down;
        self.wish = Wish::LeftAlone;
        if let Some(started) = &mut self.started {
            started.deadline = started.deadline.min(now);
        }
        if self.failed_starts == 0 {
            self.failed_command = FailedCommand::NotSeen;
        }
        // Else it is as the look found it that this try came of: it may have been replaced since.
        self.failed_starts = self.failed_starts.saturating_add(1);
        let cycle = self.next_cycle(now);
        self.retry_at = match self.failed_starts.checked_sub(QUICK_TRIES) {
            _ if matches!(failure, StartFailure::BeingReplaced(_)) => {
                // What comes is another command.
                self.failed_starts = 0;
                cycle.min(now + REPLACED_WITHIN)
            }
            None => cycle,
            Some(doublings) => {
                let factor = 2_u32.checked_shl(doublings).unwrap_or(u32::MAX);
                let wait = self.policy.interval.saturating_mul(factor);
                cycle.max(now + wait.min(RETRY_MAX))
            }
        };
        self.next_look = self.retry_at.min(cycle);
        if failure == StartFailure::NotReady {
            self.is_not_ready(actions);
            return;
        }
        // That it is being replaced is a matter of moments: the status says so, and nobody else need know.
        let is_passing = matches!(failure, StartFailure::BeingReplaced(_));
        if self.start_failure.as_ref() != Some(&failure) && !is_passing {
            actions.push(Action::Tell(Change::StartFailed(failure.clone())));
        }
        self.start_failure = Some(failure);
    }

    /// A start command that has changed since its start failed is tried at once, and as often as a new one.
    pub(super) fn command_is(&mut self, command: Option<CommandId>) {
        match self.failed_command {
            FailedCommand::NotSeen => self.failed_command = FailedCommand::Seen(command),
            FailedCommand::Seen(before) if before != command => {
                self.failed_command = FailedCommand::NotSeen;
                self.failed_starts = 0;
            }
            FailedCommand::Seen(_) => {}
        }
    }

    /// Why those that were `known` to live are gone.
    pub(super) fn cause(&self, known: &[ProcessId], sighting: &Sighting) -> Cause {
        if known.is_empty() {
            return Cause::Absent;
        }
        let was_child = |(pid, _): &(i32, ExitStatus)| known.iter().any(|id| id.pid == *pid);
        let as_child = self.last_exit.filter(was_child).map(|(_, status)| status);
        let left_behind = || {
            let mut zombies = sighting.zombies.iter();
            zombies
                .find(|zombie| known.contains(&zombie.id))?
                .exit_status
        };
        match (as_child.or_else(left_behind), self.oom_kill) {
            (Some(status), Some(_)) => status.when_out_of_memory().into(),
            (Some(status), None) => status.into(),
            // Nobody else's end is counted there.
            (None, Some(OomKill::OfUnit)) => Cause::OutOfMemory,
            (None, _) => Cause::Gone,
        }
    }

    /// Whoever has reaped it knows how it has ended, which is told when it is back.
    pub(super) fn had_ended(&mut self, pid: i32, status: ExitStatus) {
        let is_it = self.gone.iter().any(|id| id.pid == pid);
        let absence = self.absence.as_mut().filter(|_| is_it);
        if let Some(absence) = absence.filter(|absence| absence.cause == Cause::Gone) {
            absence.cause = status.into();
        }
    }
}
