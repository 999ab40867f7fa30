//! What the machine decides while a process is absent: when it is started, and when a start has failed.

use std::time::Instant;

use super::alive::killed;
use super::{Absence, Action, Attempt, FIRST_POLL, LAST_POLL, Machine, Phase};
use crate::machine::change::{Cause, Change, Fate, Intention, StartFailure, StartOutcome, Stop};
use crate::proc::{Impostor, ProcessId, Sighting};
use crate::sys::exit_status::ExitStatus;

impl Machine {
    pub(super) fn found_absent(
        &mut self,
        now: Instant,
        sighting: &Sighting,
        actions: &mut Vec<Action>,
    ) {
        match self.phase {
            Phase::New | Phase::Up | Phase::Replacing => self.found_gone(now, sighting, actions),
            Phase::Starting => self.start_awaited(now, sighting, actions),
            Phase::Stopping if self.start_program_runs && !self.is_hands_off() => {
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
        let memory = self.memory.take();
        let known = match &memory {
            Some(memory) => &memory.alive,
            None => &self.alive,
        };
        let remembered = memory.as_ref().and_then(|memory| memory.absence);
        let absence = self.absence.or(remembered).unwrap_or_else(|| Absence {
            since: now,
            cause: self.cause(known, sighting),
        });
        let cause = absence.cause;
        let pid = known.first().map(|id| id.pid);
        let was_up = !known.is_empty();
        let endings = self.ending.take().map(|ending| killed(&ending, cause));
        let surplus = std::mem::take(&mut self.surplus);
        let surplus = surplus
            .iter()
            .map(|ending| killed(ending, Cause::Duplicate));
        let mut news: Vec<Change> = endings.into_iter().chain(surplus).collect();
        self.absence = Some(absence);
        self.alive.clear();
        self.copies.lives(now, &[], self.policy.interval);
        if was_up && cause != Cause::Requested {
            self.backoff.died();
            self.not_before = self.not_before.max(now + self.backoff.delay(&self.policy));
        }
        let in_flight = memory.and_then(|memory| memory.starting_until);
        let in_flight = in_flight.filter(|until| *until > now && !self.is_hands_off());
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
                    None if self.start_program_runs => Fate::Running,
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
        news: Vec<Change>,
        actions: &mut Vec<Action>,
    ) {
        let news = news.into_iter().map(Action::Tell);
        if self.is_hands_off() {
            actions.extend(news);
            self.phase = Phase::Down;
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
            self.phase = Phase::Backoff;
            self.next_look = self.not_before.min(self.next_cycle(now));
            return;
        }
        if let Some(misfit) = self.misfit(sighting) {
            actions.extend(news);
            self.start_failed(now, StartFailure::Misfit(misfit.clone()), actions);
            return;
        }
        if self.start_program_runs {
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
            actions.push(Action::Tell(Change::Starting));
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

    pub(super) fn start_ended(
        &mut self,
        now: Instant,
        outcome: StartOutcome,
        actions: &mut Vec<Action>,
    ) {
        self.start_program_runs = false;
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
                self.last_exit = pid.map(|pid| (pid, status));
                if self.phase == Phase::Starting {
                    self.attempt.ended = Some(status);
                    self.attempt.hopeless = !status.is_success() && !left_running;
                }
                // It may have been the process itself, or have brought it up just before.
                if self.phase != Phase::Down {
                    self.look_at_all(now);
                }
            }
            // It may still be at work, which the start's own time allows for.
            StartOutcome::LostSight => {}
        }
    }

    fn start_failed(&mut self, now: Instant, failure: StartFailure, actions: &mut Vec<Action>) {
        self.phase = Phase::Down;
        if let StartFailure::BeingReplaced(_) = failure {
            // It's a matter of moments, and the status says so.
            self.next_look = now + LAST_POLL;
            self.start_failure = Some(failure);
            return;
        }
        self.next_look = self.next_cycle(now);
        if self.start_failure.as_ref() != Some(&failure) {
            actions.push(Action::Tell(Change::StartFailed(failure.clone())));
        }
        self.start_failure = Some(failure);
    }

    /// Why those that were `known` to live are gone.
    fn cause(&self, known: &[ProcessId], sighting: &Sighting) -> Cause {
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
        match as_child.or_else(left_behind) {
            Some(ExitStatus::Code(code)) => Cause::Exited(code),
            Some(ExitStatus::Signal(number)) => Cause::Killed(number),
            None => Cause::Gone,
        }
    }
}
