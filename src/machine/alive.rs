//! What the machine decides while a process lives: whether it is healthy, alone, and long enough up, and
//! how it is made to end if it isn't.

use std::time::Instant;

use super::{Absence, Action, Machine, Pause, Phase, Stand, Trouble, Wish};
use super::{DUMPING, FIRST_POLL, Program, STOPPED, STRANGER, UNCERTAIN, WHOLE_LOOK_LATE};
use crate::machine::change::{Cause, Change, Finding, Intention, Recovery, StartFailure, Stop};
use crate::machine::copies::with_descendants;
use crate::machine::policy::Duplicates;
use crate::machine::termination::{Next, Termination};
use crate::proc::{Alive, Identity, ProcessId, RunState};

impl Machine {
    pub(super) fn found_alive(
        &mut self,
        now: Instant,
        alive: &[Alive],
        was_unknown: bool,
        actions: &mut Vec<Action>,
    ) {
        if self.phase() == Phase::Replacing {
            // Who was born meanwhile may outlive both its parent and the wish to end them.
            self.copies.learn_family(alive);
            if self.ending_goes_on(now, alive, actions) {
                return;
            }
        }
        let ids: Vec<ProcessId> = alive.iter().map(|copy| copy.id).collect();
        let known = |known: &[ProcessId]| known.iter().any(|id| ids.contains(id));
        let is_same = known(&self.alive);
        let change = if self.phase() == Phase::Waiting {
            self.is_at_screen(ids.iter().map(|id| id.pid).collect())
        } else {
            self.report_alive(now, &ids, is_same, was_unknown)
        };
        let restarted = match change {
            Some(Change::Restarted { cause, .. }) => Some(cause),
            _ => None,
        };
        if change.is_some() && !was_unknown {
            let is_start = matches!(change, Some(Change::Up { .. } | Change::Restarted { .. }));
            self.ours = match alive {
                [only] if is_start => Some(only.id),
                _ => None,
            };
        }
        let (since, at) = match self.stand {
            Stand::Up { since, at } => (Some(since).filter(|_| is_same), at),
            _ => (None, self.looked_at),
        };
        let since = since.unwrap_or_else(|| {
            let remembered = self.memory.as_ref().filter(|memory| known(&memory.alive));
            self.stopped_since = None;
            remembered.and_then(|memory| memory.up_since).unwrap_or(now)
        });
        self.stand = Stand::Up { since, at };
        self.alive = ids;
        self.absence = None;
        self.start_failure = None;
        self.failed_starts = 0;
        self.nothing_is_left();
        self.is_dry_run_told = false;
        actions.extend(change.map(Action::Tell));
        if !is_same {
            self.nothing_is_wrong(actions);
        }
        if let Some(cause) = restarted {
            self.restarts += 1;
            let is_crash = !cause.is_somebodys_wish();
            let crash_loop = is_crash
                .then(|| self.backoff.restarted(now, &self.policy))
                .flatten();
            actions
                .extend(crash_loop.map(|(restarts, within)| {
                    Action::Tell(Change::CrashLoop { restarts, within })
                }));
        }
        self.stays_alive((since, now), alive, actions);
        if self.is_being_stopped() {
            self.replace(now, Cause::Stopped, actions);
        }
    }

    /// What there is to tell of processes that live. `is_same` says that one of them is known.
    fn report_alive(
        &self,
        now: Instant,
        ids: &[ProcessId],
        is_same: bool,
        was_unknown: bool,
    ) -> Option<Change> {
        let pid = ids[0].pid;
        let adopted = || Change::Adopted {
            pids: ids.iter().map(|id| id.pid).collect(),
            more: self.more_alive,
        };
        let ours_may_have = self.phase() == Phase::Starting
            || !matches!(
                self.start_failure,
                None | Some(
                    StartFailure::NotInstalled(_)
                        | StartFailure::BeingReplaced(_)
                        | StartFailure::NotRun(_)
                )
            );
        match self.phase() {
            Phase::New | Phase::Held | Phase::Misfit | Phase::Waiting => Some(adopted()),
            Phase::Up | Phase::Replacing if !is_same => Some(adopted()),
            Phase::Up | Phase::Replacing => was_unknown.then_some(Change::Up { pid }),
            _ if !ours_may_have => Some(adopted()),
            Phase::Starting | Phase::Stopping | Phase::Clearing | Phase::Backoff | Phase::Down => {
                match self.absence {
                    Some(absence) if absence.cause != Cause::Absent => {
                        let unseen = absence.noticed.saturating_duration_since(absence.since);
                        Some(Change::Restarted {
                            pid,
                            cause: absence.cause,
                            outage: now.saturating_duration_since(absence.since),
                            is_at_most: unseen > UNCERTAIN,
                        })
                    }
                    _ => Some(Change::Up { pid }),
                }
            }
        }
    }

    /// Everything that is watched while a process lives, and when to look again.
    fn stays_alive(
        &mut self,
        (since, now): (Instant, Instant),
        alive: &[Alive],
        actions: &mut Vec<Action>,
    ) {
        let mut next_look = self.next_cycle(now);
        if next_look > self.whole_look_at + WHOLE_LOOK_LATE {
            next_look = self.whole_look_at;
        }
        let stable_at = since + self.policy.stable_after;
        if now >= stable_at {
            self.late_starts = 0;
        }
        if !self.backoff.is_fresh() {
            if now < stable_at {
                next_look = next_look.min(stable_at);
            } else {
                // Somebody else may have started it while its start was to wait for longer still.
                self.not_before = self.epoch;
                if self.backoff.forget() {
                    let what = Recovery::CrashLoop;
                    actions.push(Action::Tell(self.recovered(what)));
                }
            }
        }
        let main = self.copies.first();
        if let Some(left) = &self.left {
            let begin = self.started.map_or(now, |started| started.begin);
            let until = begin + self.policy.start_timeout;
            let is_left = |id: &ProcessId| left.processes.iter().any(|left| left.id == *id);
            let kin = alive.iter().map(|copy| copy.id).filter(is_left);
            self.copies.are_kin(kin, until);
        }
        self.merge_seen(alive);
        let duplicates = self.copies.lives(now, alive, self.policy.interval);
        let first = self.copies.first();
        if let (Some(main), Some(first)) = (main, first) {
            let has_died = alive.iter().all(|copy| copy.id != main);
            if has_died {
                // What was found about it says nothing of the one that comes after it.
                self.nothing_is_wrong(actions);
                self.stopped_since = None;
            }
            if has_died && self.copies.is_family(first) {
                let (pid, first) = (main.pid, first.pid);
                actions.push(Action::Tell(Change::MainEnded { pid, first }));
            }
        }
        let news = self.copies.news_of_copies(now, duplicates, self.more_alive);
        let others = news.others.map(Change::MoreDuplicates);
        for duplicate in news.each {
            let will_stop = self.policy.duplicates == Duplicates::StopNewest
                && self.knows_kin()
                && self.may_be_ended(duplicate.id);
            actions.push(Action::Tell(Change::Duplicate {
                pid: duplicate.id.pid,
                first: duplicate.first.pid,
            }));
            if will_stop && self.policy.dry_run {
                let pid = duplicate.id.pid;
                let intention = Intention::StopDuplicate { pid };
                actions.push(Action::Tell(Change::DryRun(intention)));
            }
        }
        actions.extend(others.map(Action::Tell));
        let again = self.copies.next_look(self.policy.interval);
        next_look = again.map_or(next_look, |again| next_look.min(again));
        next_look = next_look.min(self.end_duplicates(now, alive, actions));
        self.next_look = next_look;
        self.is_stopped(now, alive, actions);
        self.was_left_alone(now, actions);
    }

    /// Restarts a process that is unhealthy and was not restarted so far, because of a pause or a dry run.
    fn was_left_alone(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if self.phase() != Phase::Up || self.is_hands_off() || self.obstacle.is_some() {
            return;
        }
        let mut troubles = self.troubles.iter();
        let reason = troubles.find(|(_, trouble)| trouble.is_reason_to_restart);
        if let Some((check, trouble)) = reason {
            let (check, finding) = (check.clone(), trouble.finding.clone());
            self.unwell(now, check, finding, true, actions);
        }
    }

    /// Notes whether the process is stopped, and for how long.
    fn is_stopped(&mut self, now: Instant, alive: &[Alive], actions: &mut Vec<Action>) {
        let first = self.copies.first();
        let first = alive.iter().find(|copy| Some(copy.id) == first);
        if first.is_some_and(|copy| copy.state == RunState::Dumping)
            && !self.troubles.contains_key(DUMPING)
        {
            self.unwell(now, DUMPING.to_owned(), Finding::Dumping, false, actions);
        }
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
            let finding = Finding::Stopped(self.policy.stopped_timeout);
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
        if self.policy.duplicates != Duplicates::StopNewest || self.is_hands_off() {
            self.surplus.clear();
            return next_look;
        }
        let duplicates = self.copies.duplicates();
        let duplicates: Vec<ProcessId> = duplicates.filter(|id| self.may_be_ended(*id)).collect();
        let timeout = self.policy.stop_timeout;
        let mut changes = Vec::new();
        self.surplus.retain_mut(|ending| {
            let living = living(ending.ids(), alive);
            if living.is_empty() {
                changes.push(killed(ending, Cause::Duplicate));
                return false;
            }
            // The one before it has died meanwhile: now this is the program.
            if !living.iter().any(|id| duplicates.contains(id)) {
                return false;
            }
            match ending.next(now, living, timeout) {
                Next::Wait(until) => next_look = next_look.min(until),
                Next::Signal(stop, ids, until) => {
                    self.signal_failure = None;
                    actions.push(Action::Signal(stop, ids));
                    next_look = next_look.min(until);
                }
                Next::Stuck(ids) => changes.push(Change::Stuck {
                    pids: pids(&ids),
                    why: self.signal_failure.take(),
                }),
                Next::StillStuck => {}
            }
            true
        });
        for id in duplicates {
            let is_ending = self.surplus.iter().any(|ending| ending.ids().contains(&id));
            if !is_ending && self.knows_kin() {
                let ids = with_descendants(id, alive);
                actions.push(Action::Signal(Stop::Terminate, ids.clone()));
                self.surplus.push(Termination::by_signal(ids, now, timeout));
                next_look = next_look.min(now + timeout);
            }
        }
        actions.extend(changes.into_iter().map(Action::Tell));
        next_look
    }

    /// Something is wrong with the living process.
    pub(super) fn unwell(
        &mut self,
        now: Instant,
        check: String,
        finding: Finding,
        is_reason_to_restart: bool,
        actions: &mut Vec<Action>,
    ) {
        let obstacle = self.obstacle.clone().filter(|_| is_reason_to_restart);
        // By other rules it may be no more than nearly the program, which the next look tells.
        let is_judged = !self.is_other_target;
        let may_restart = is_judged && !self.is_hands_off() && obstacle.is_none();
        let will_restart = is_reason_to_restart && may_restart;
        actions.push(Action::Tell(Change::Unhealthy {
            pid: self.alive.first().map(|id| id.pid),
            check: check.clone(),
            finding: finding.clone(),
            will_restart,
        }));
        let trouble = Trouble {
            finding,
            is_reason_to_restart,
        };
        self.troubles.insert(check, trouble);
        if will_restart {
            self.replace(now, Cause::Unhealthy, actions);
        } else if let (Some(obstacle), false) = (obstacle, self.is_hands_off()) {
            actions.push(Action::Tell(Change::RestartRefused(obstacle)));
        } else if is_reason_to_restart && self.policy.dry_run {
            actions.push(Action::Tell(Change::DryRun(Intention::Restart)));
        }
    }

    /// A check passes that may have failed before.
    pub(super) fn well(&mut self, check: String, actions: &mut Vec<Action>) {
        if self.troubles.remove(&check).is_some() {
            let change = self.recovered(Recovery::Check(check));
            actions.push(Action::Tell(change));
        }
    }

    /// Another process is up than the one that anything was wrong with.
    pub(super) fn nothing_is_wrong(&mut self, actions: &mut Vec<Action>) {
        for (check, _) in std::mem::take(&mut self.troubles) {
            let change = self.recovered(Recovery::Check(check));
            actions.push(Action::Tell(change));
        }
    }

    /// What checks had found is void. Whether the process is stopped is not for them to say.
    pub(super) fn checks_begin_anew(&mut self, actions: &mut Vec<Action>) {
        let ours = [STOPPED, STRANGER].map(|name| self.troubles.remove_entry(name));
        for (check, _) in std::mem::take(&mut self.troubles) {
            let change = self.recovered(Recovery::Void(check));
            actions.push(Action::Tell(change));
        }
        self.troubles.extend(ours.into_iter().flatten());
    }

    /// Whether the first one is what the program was before. Where no rule says whose it is and what it runs,
    /// anybody's process of the name passes for it: then at least that is told.
    pub(super) fn identified(
        &mut self,
        now: Instant,
        who: Identity,
        is_foreign: bool,
        actions: &mut Vec<Action>,
    ) {
        let first = self.copies.first();
        let Some(first) = first.filter(|first| self.phase() == Phase::Up && first.pid == who.pid)
        else {
            return;
        };
        let is_ours = self.ours == Some(first)
            || self.copies.is_kin(first)
            || self.copies.is_family(first) && !is_foreign;
        let before = self.program.clone();
        let is_stranger = match &before {
            _ if is_ours => false,
            Some(program) => !program.is(&who),
            None => is_foreign,
        };
        if is_stranger {
            let finding = Finding::Stranger { who, before };
            self.unwell(now, STRANGER.to_owned(), finding, false, actions);
        } else {
            self.well(STRANGER.to_owned(), actions);
            self.program = Some(Program::from(who));
        }
    }

    fn recovered(&self, what: Recovery) -> Change {
        let pid = self.alive.first().map(|id| id.pid);
        Change::Recovered { pid, what }
    }

    /// Restarts a process that lives, and starts one at once that would have waited.
    pub(super) fn restart_asked(&mut self, now: Instant, actions: &mut Vec<Action>) {
        match self.phase() {
            Phase::Up if self.is_hands_off() => {
                if self.policy.dry_run {
                    actions.push(Action::Tell(Change::DryRun(Intention::Restart)));
                }
            }
            Phase::Up => match self.obstacle.clone() {
                Some(obstacle) => actions.push(Action::Tell(Change::RestartRefused(obstacle))),
                None => self.replace(now, Cause::Requested, actions),
            },
            _ => self.start_at_once(now, actions),
        }
    }

    /// Somebody wants it ended and left alone: the next look ends it, in the pause that is in force by then.
    pub(super) fn stop_asked(&mut self, now: Instant, pause: Pause, actions: &mut Vec<Action>) {
        if self.policy.dry_run {
            actions.push(Action::Tell(Change::DryRun(Intention::Stop)));
            return;
        }
        self.pause_until(now, pause, actions);
        if self.phase() != Phase::Misfit {
            self.wish = Wish::Gone;
        }
        if let (Phase::Replacing, Some(absence)) = (self.phase(), &mut self.absence) {
            absence.cause = Cause::Stopped;
        }
        self.look_at_all(now);
    }

    /// Starts a process at once that would have waited.
    pub(super) fn start_at_once(&mut self, now: Instant, actions: &mut Vec<Action>) {
        match self.phase() {
            Phase::Backoff | Phase::Down | Phase::Held => {
                self.not_before = now;
                self.retry_at = now;
                self.failed_starts = 0;
                self.hold = None;
                self.look_at_all(now);
            }
            Phase::Waiting => self.wait_is_over(now, actions),
            Phase::New
            | Phase::Up
            | Phase::Replacing
            | Phase::Starting
            | Phase::Stopping
            | Phase::Clearing
            | Phase::Misfit => {}
        }
    }

    /// Makes the living process end, to start it again unless it is in a pause by then.
    fn replace(&mut self, now: Instant, cause: Cause, actions: &mut Vec<Action>) {
        let ids = self.may_all_be_ended();
        let timeout = self.policy.stop_timeout;
        self.stand = Stand::Replacing(if self.policy.is_unit {
            actions.push(Action::StopUnit);
            Termination::by_unit(ids, now, timeout)
        } else {
            actions.push(Action::Signal(Stop::Terminate, ids.clone()));
            Termination::by_signal(ids, now, timeout)
        });
        self.absence = Some(Absence {
            since: now,
            noticed: now,
            cause,
        });
        self.signal_failure = None;
        self.surplus.clear();
        self.next_look = now + FIRST_POLL;
    }

    /// Some of the name still live while the process is made to end. Says whether that goes on.
    fn ending_goes_on(&mut self, now: Instant, alive: &[Alive], actions: &mut Vec<Action>) -> bool {
        let Some(ending) = self.ending().cloned() else {
            return false;
        };
        let living = living(ending.ids(), alive);
        if living.is_empty() {
            let cause = self
                .absence
                .map_or(Cause::Unhealthy, |absence| absence.cause);
            actions.push(Action::Tell(killed(&ending, cause)));
            // Those that are left have nothing to do with the one that was to end.
            self.wish = Wish::LeftAlone;
            return false;
        }
        if self.is_hands_off() && !self.is_being_stopped() {
            return false;
        }
        self.alive.clone_from(&living);
        self.merge_seen(alive);
        self.stand = Stand::Replacing(self.goes_on(ending, now, living, actions));
        true
    }

    /// Takes the next step of an end that nothing is to be started before, while those `living` of it
    /// still do; and says when to look again.
    pub(super) fn goes_on(
        &mut self,
        mut ending: Termination,
        now: Instant,
        living: Vec<ProcessId>,
        actions: &mut Vec<Action>,
    ) -> Termination {
        ending.include(&living);
        let poll = now + ending.next_poll();
        self.next_look = match ending.next(now, living, self.policy.stop_timeout) {
            Next::Wait(until) => poll.min(until),
            Next::Signal(stop, ids, until) => {
                self.signal_failure = None;
                actions.push(Action::Signal(stop, ids));
                poll.min(until)
            }
            Next::Stuck(ids) => {
                actions.push(Action::Tell(Change::Stuck {
                    pids: pids(&ids),
                    why: self.signal_failure.take(),
                }));
                self.next_cycle(now)
            }
            Next::StillStuck => self.next_cycle(now),
        };
        ending
    }
}

impl Machine {
    /// Keeps what is known of the living: a confirmation tells no user.
    fn merge_seen(&mut self, alive: &[Alive]) {
        let before = std::mem::take(&mut self.seen);
        self.seen = alive
            .iter()
            .map(|copy| {
                let known = before.iter().find(|known| known.id == copy.id);
                let uid = copy.uid.or(known.and_then(|known| known.uid));
                Alive { uid, ..*copy }
            })
            .collect();
    }

    /// Whether this process may be ended for what was found about the first one: another user's may not,
    /// unless the first has brought it forth.
    fn may_be_ended(&self, id: ProcessId) -> bool {
        let Some(first) = self.copies.first() else {
            return true;
        };
        let uid_of = |id: ProcessId| self.seen.iter().find(|copy| copy.id == id)?.uid;
        let is_same_user = uid_of(id).is_some_and(|uid| uid_of(first) == Some(uid));
        let is_kin = self.copies.is_kin(id);
        !is_kin && is_same_user || with_descendants(first, &self.seen).contains(&id)
    }

    /// Whether it is told of all that come of our own start that they do: who isn't known to may do.
    fn knows_kin(&self) -> bool {
        self.left.as_ref().is_none_or(|left| left.can_tell)
    }

    /// Those that end when the program is made to end.
    fn may_all_be_ended(&self) -> Vec<ProcessId> {
        let is_kin = |id: &ProcessId| self.copies.is_kin(*id);
        let may = |id: &ProcessId| is_kin(id) || self.may_be_ended(*id);
        let mut ending: Vec<ProcessId> = self.alive.iter().copied().filter(may).collect();
        for id in ending.clone() {
            // They would be met later, and killed without having been asked.
            for child in with_descendants(id, &self.seen) {
                if !ending.contains(&child) {
                    ending.push(child);
                }
            }
        }
        ending
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
pub(super) fn killed(ending: &Termination, cause: Cause) -> Change {
    Change::Killed {
        pids: pids(ending.ids()),
        signal: ending.signal(),
        cause,
    }
}
