//! Decides how a living process is made to end: asked first, killed later, never given up and never
//! believed gone. It sends no signal itself.

use std::time::{Duration, Instant};

use super::change::Stop;
use super::{FIRST_POLL, LAST_POLL, under_new_rules};
use crate::proc::ProcessId;

/// What was last tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// systemd was asked to stop the unit.
    Unit,
    /// SIGTERM.
    Terminate,
    /// SIGKILL.
    Kill,
    /// Nothing has helped.
    Stuck,
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// Wait, until this time at the latest.
    Wait(Instant),
    /// Signal these, and wait until this time at the latest.
    Signal(Stop, Vec<ProcessId>, Instant),
    /// They can't be killed, which is to be told.
    Stuck(Vec<ProcessId>),
    /// They still can't.
    StillStuck,
}

/// The end of some processes, under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Termination {
    ids: Vec<ProcessId>,
    step: Step,
    deadline: Instant,
    /// The pause before the next look at it.
    poll: Duration,
}

impl Termination {
    /// systemd has been asked to stop the unit of the processes `ids`.
    #[must_use]
    pub(super) fn by_unit(ids: Vec<ProcessId>, now: Instant, stop_timeout: Duration) -> Self {
        Self {
            ids,
            step: Step::Unit,
            deadline: now + stop_timeout,
            poll: FIRST_POLL,
        }
    }

    /// The processes `ids` have been sent SIGTERM.
    #[must_use]
    pub(super) fn by_signal(ids: Vec<ProcessId>, now: Instant, stop_timeout: Duration) -> Self {
        Self {
            ids,
            step: Step::Terminate,
            deadline: now + stop_timeout,
            poll: FIRST_POLL,
        }
    }

    /// The pause before the next look, which is longer than the last one.
    pub(super) fn next_poll(&mut self) -> Duration {
        self.poll = (self.poll * 2).min(LAST_POLL);
        self.poll
    }

    /// Those that are to end.
    #[must_use]
    pub(super) fn ids(&self) -> &[ProcessId] {
        &self.ids
    }

    /// These are to end too: those that are to end have brought them forth.
    pub(super) fn include(&mut self, ids: &[ProcessId]) {
        for id in ids {
            if !self.ids.contains(id) {
                self.ids.push(*id);
            }
        }
    }

    /// The strongest means that was used, if it was a signal.
    #[must_use]
    pub(super) fn signal(&self) -> Option<Stop> {
        match self.step {
            Step::Unit => None,
            Step::Terminate => Some(Stop::Terminate),
            Step::Kill | Step::Stuck => Some(Stop::Kill),
        }
    }

    /// Whether nothing has helped so far.
    #[must_use]
    pub(super) fn is_stuck(&self) -> bool {
        self.step == Step::Stuck
    }

    /// systemd says that the unit is stopped: whoever still lives isn't in it.
    pub(super) fn unit_stopped(&mut self, now: Instant) {
        if self.step == Step::Unit {
            self.deadline = now;
        }
    }

    /// The time that it has before the next step has changed.
    pub(super) fn reconfigured(&mut self, now: Instant, stop_timeout: (Duration, Duration)) {
        self.deadline = under_new_rules(self.deadline, now, stop_timeout);
    }

    /// What to do while those `alive` among them still live.
    pub(super) fn next(
        &mut self,
        now: Instant,
        alive: Vec<ProcessId>,
        stop_timeout: Duration,
    ) -> Next {
        if now < self.deadline {
            return match self.step {
                Step::Stuck => Next::StillStuck,
                _ => Next::Wait(self.deadline),
            };
        }
        self.deadline = now + stop_timeout;
        let (next, stop) = match self.step {
            Step::Unit => (Step::Terminate, Stop::Terminate),
            Step::Terminate => (Step::Kill, Stop::Kill),
            Step::Kill => {
                self.step = Step::Stuck;
                return Next::Stuck(alive);
            }
            // It may have been the signal that couldn't be sent, or have been born since.
            Step::Stuck => (Step::Stuck, Stop::Kill),
        };
        self.step = next;
        Next::Signal(stop, alive, self.deadline)
    }
}
