//! What must hold whatever happens in a [`World`]: what stands in a start's way, who may be signalled, what
//! may be told, and that every absence ends in a start, or in a state that says why not.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::super::*;
use super::SECOND;
use super::world::{Installed, Kind, Process, World, chance, policies};
use crate::proc::RunState;

/// What has happened, as far as what may happen next depends on it.
#[derive(Debug, Default)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "facts that have nothing to do with each other"
)]
pub(super) struct Rules {
    pub(super) starts: Vec<Instant>,
    /// Whether the program was up since the last start.
    pub(super) has_succeeded: bool,
    /// The shortest time that it had by any rules since.
    shortest_timeout: Duration,
    /// Until when a start may still succeed that is neither up nor failed yet.
    in_flight: Option<Instant>,
    /// The same, whatever has been in its way since.
    awaited_until: Option<Instant>,
    /// Whether it was waited for all its time for what couldn't be told.
    is_given_up: bool,
    /// Whether the service may only guess what has come of which start.
    is_guessed: bool,
    pub(super) held_until: Option<Instant>,
    /// Before when nothing may be started, for something may have gone elsewhere.
    pub(super) elsewhere_until: Option<Instant>,
    /// Until when that may be waited for, by any rules of these worlds.
    pub(super) elsewhere_at_most: Option<Instant>,
    /// Before when it was told that nothing is started.
    not_before: Option<Instant>,
    paused_until: Option<Instant>,
    /// Whether somebody wants the program ended, in that pause, and it isn't gone for sure.
    is_to_stop: bool,
    /// Until when it may be waited for what couldn't be told, likewise.
    unknown_at_most: Option<Instant>,
    /// Whether anything has happened for which the living may be ended.
    pub(super) may_be_ended: bool,
    /// Those that end when the program is made to end.
    ending: Vec<ProcessId>,
    /// Who was asked to end, up to which pid the machine had seen all when it asked, and whether it was
    /// told of all.
    asked: Vec<(ProcessId, i32)>,
    asked_of: i32,
    asked_of_all: bool,
    /// Up to which pid it had seen all at its last look.
    seen: i32,
    /// How many starts have failed in a row, and before when the next one is too early.
    failures: u32,
    retry_at: Option<Instant>,
    /// Until when a failed start is a reason not to start.
    is_failed_until: Option<Instant>,
    /// Which start command was there when the last one had failed.
    command: Option<u64>,
    restarted: u64,
    is_crash_loop: bool,
    /// When it last died under these rules, and how long its restart had to wait.
    last_death: Option<(Instant, Duration)>,
    has_been_up: bool,
    /// Since when the machine knows that it is gone.
    gone_since: Option<Instant>,
    /// Those that were told to have another name or executable by now.
    pub(super) renamed: Vec<ProcessId>,
    /// Those that were seen as children.
    children: BTreeSet<ProcessId>,
    /// Second copies, and since when they have been seen.
    seen_beside: BTreeMap<ProcessId, Instant>,
    /// And since when they count.
    beside: BTreeMap<ProcessId, Instant>,
    /// The programs among what a start has left: which, and since when it has been seen to be that.
    programs: BTreeMap<ProcessId, (Kind, Instant)>,
    /// The main process that was last told to have ended.
    main_ended: Option<i32>,
}

impl Rules {
    pub(super) fn is_restart_asked(&mut self, phase: Phase) {
        self.not_before = None;
        self.elsewhere_until = None;
        self.may_be_ended = true;
        self.is_start_asked(phase);
    }

    pub(super) fn is_start_asked(&mut self, phase: Phase) {
        self.not_before = None;
        self.elsewhere_until = None;
        if matches!(phase, Phase::Backoff | Phase::Down | Phase::Held) {
            self.held_until = None;
            self.forgets_failures();
        }
    }

    pub(super) fn is_stop_asked(&mut self, policy: &Policy, phase: Phase) {
        // What is nearly the program is never ended.
        self.is_to_stop = !policy.dry_run && phase != Phase::Misfit;
    }

    pub(super) fn is_reconfigured(&mut self, policy: &Policy) {
        self.forgets_failures();
        self.is_to_stop &= !policy.dry_run;
    }

    pub(super) fn has_new_policy(&mut self, now: Instant, (before, after): (&Policy, &Policy)) {
        for until in [&mut self.in_flight, &mut self.awaited_until] {
            let lasts = until.filter(|until| now < *until);
            let began = lasts.and_then(|until| until.checked_sub(before.start_timeout));
            *until = began.map(|began| began + after.start_timeout);
        }
        self.shortest_timeout = self.shortest_timeout.min(after.start_timeout);
        self.last_death = None;
        self.not_before = None;
        self.elsewhere_until = None;
    }

    pub(super) fn is_told_command(&mut self, command: u64) {
        match self.command {
            None => self.command = Some(command),
            Some(before) if before != command => self.forgets_failures(),
            Some(_) => {}
        }
    }

    pub(super) fn service_restarts(&mut self, phase: Phase, starting_since: Option<u64>) {
        self.held_until = None;
        if phase == Phase::Misfit {
            // What was waited for besides is forgotten.
            self.elsewhere_until = None;
            self.in_flight = None;
        }
        self.is_guessed |= starting_since.is_none();
        // The pause is remembered, and what it began with isn't.
        self.is_to_stop = false;
        self.seen_beside.clear();
        self.beside.clear();
        self.children.clear();
        self.programs.clear();
        self.asked.clear();
    }

    fn forgets_failures(&mut self) {
        self.failures = 0;
        self.retry_at = None;
        self.command = None;
    }
}

/// How things stood before a look.
pub(super) struct Before {
    phase: Phase,
    look: Look,
    first: Option<ProcessId>,
    alive: Vec<ProcessId>,
}

impl World {
    fn is_hands_off(&self) -> bool {
        self.policy.dry_run || self.rules.paused_until.is_some()
    }

    /// The same, but for what is done to stop the program as somebody wants.
    fn is_left_alone(&self) -> bool {
        self.is_hands_off() && (self.policy.dry_run || !self.rules.is_to_stop)
    }

    /// Whether one descends from another, whoever was between them and lives no more.
    fn descends(&self, process: &Process, from: ProcessId) -> bool {
        let mut id = process.id;
        while let Some(parent) = self.ancestors.get(&id) {
            if *parent == from {
                return true;
            }
            id = *parent;
        }
        false
    }

    /// Whether a copy may be ended for what was found about the first one: it is that, of the same user, a
    /// descendant, or has come of our own start.
    fn goes_with_the_first(&self, process: &Process) -> bool {
        let first = self.machine.first().and_then(|first| self.process(first));
        // Whose one was that has died since the look is beyond telling here.
        first.is_none_or(|first| {
            process.id == first.id
                || process.uid == first.uid
                || process.start.is_some()
                || self.descends(process, first.id)
        })
    }

    /// Whether a copy may be ended because it is a second one.
    fn is_surplus(&self, process: &Process) -> bool {
        let Some(first) = self.machine.first().and_then(|first| self.process(first)) else {
            return false;
        };
        let last_start = self.rules.starts.len().checked_sub(1);
        let is_kin = process.start.is_some() && process.start == last_start;
        let is_of_user = process.uid == first.uid || self.descends(process, first.id);
        let may = process.id != first.id && is_of_user && (!is_kin || self.rules.is_guessed);
        let mut programs = self.programs();
        may || programs.any(|other| {
            self.descends(process, other.id) && other.id != first.id && self.is_surplus(other)
        })
    }

    /// Has the machine take an event in, and holds what it wants done to the rules.
    pub(super) fn follow(&mut self, event: Event) -> Vec<Action> {
        let may_start = matches!(&event, Event::Looked(sighting, _) if sighting.alive.is_empty());
        let has_looked = matches!(event, Event::Looked(..));
        let (phase, failed) = (self.machine.phase(), self.machine.failed_starts);
        self.rules.paused_until = match &event {
            Event::Pause(pause) => Some(pause.until),
            Event::StopAsked(pause) if !self.policy.dry_run => Some(pause.until),
            Event::Resume | Event::StartAsked => None,
            _ => self
                .rules
                .paused_until
                .filter(|until| !has_looked || self.now < *until),
        };
        let is_plain_pause = matches!(event, Event::Pause(_));
        self.rules.is_to_stop &= self.rules.paused_until.is_some() && !is_plain_pause;
        if has_looked {
            self.rules.seen = self.last_pid();
        }
        if has_looked && self.is_left_alone() {
            self.rules.asked.clear();
        }
        let actions = super::transitions::observed(&mut self.machine, self.now, event);
        self.may_have_failed(phase, failed);
        if self.machine.phase() == Phase::Down && (has_looked || phase != Phase::Down) {
            // Nothing lives, and nothing is on its way.
            self.rules.is_to_stop = false;
        }
        if phase != Phase::Replacing && self.machine.phase() == Phase::Replacing {
            let is_stopped = |process: &Process| process.state == RunState::Stopped;
            let is_well = !self.rules.may_be_ended && !self.processes.iter().any(is_stopped);
            assert!(!is_well || self.rules.is_to_stop, "a healthy one is ended");
            assert!(
                self.installed == Installed::Yes || self.rules.is_to_stop,
                "one is ended that can't be started"
            );
            let programs = self.programs();
            let ending = programs.filter(|process| self.goes_with_the_first(process));
            self.rules.ending = ending.map(|process| process.id).collect();
        }
        for action in &actions {
            match action {
                Action::Start => {
                    assert!(may_start, "a start without a look that found it absent");
                    self.has_started();
                }
                Action::StopStartProgram(_) => self.is_late(),
                Action::StopUnit => {
                    assert!(!self.is_left_alone(), "a stop in a dry run or a pause");
                    assert!(self.policy.is_unit);
                    assert!(phase == Phase::Up || self.rules.is_to_stop);
                }
                Action::Signal(stop, ids) => self.signals(*stop, ids, phase),
                Action::Tell(change) => self.tells(change, phase),
            }
        }
        actions
    }

    /// Notes when the next start may come after one that has failed: six tries, one each `interval`, then
    /// in twice the time, up to five minutes.
    fn may_have_failed(&mut self, phase: Phase, failed: u32) {
        let failure = self.machine.start_failure();
        let is_replaced = matches!(failure, Some(StartFailure::BeingReplaced(_)));
        let has_failed = self.machine.failed_starts > failed;
        let since_epoch = (self.now - self.epoch).as_nanos();
        let interval = self.policy.interval;
        let to_cycle = interval.as_nanos() - since_epoch % interval.as_nanos();
        let cycle = self.now + Duration::from_nanos(u64::try_from(to_cycle).unwrap());
        let rules = &mut self.rules;
        if has_failed {
            // One is awaited further once what was in the way is gone, and may have had its time by then.
            let is_awaited = matches!(phase, Phase::Starting | Phase::Misfit);
            assert!(is_awaited, "a start has failed that wasn't: {phase:?}");
            rules.failures += 1;
            let doublings = rules.failures.saturating_sub(5).min(20);
            let wait = if doublings == 0 {
                Duration::ZERO
            } else {
                interval * 2_u32.pow(doublings)
            };
            let retry_at = cycle.max(self.now + wait.min(300 * SECOND));
            rules.retry_at = Some(retry_at);
            rules.is_failed_until = Some(retry_at);
            if rules.failures == 1 {
                rules.command = None;
            }
        } else if is_replaced && phase == Phase::Starting {
            rules.forgets_failures();
            rules.is_failed_until = Some(cycle.min(self.now + SECOND));
        }
    }

    /// Nothing is in the way of a start that is made now.
    fn has_started(&mut self) {
        let time = 2 * self.rules.shortest_timeout;
        let began = self.rules.starts.last();
        let is_over = began.is_some_and(|began| self.now >= *began + time.min(600 * SECOND));
        for process in &self.processes {
            assert!(process.kind != Kind::Program, "a start beside {process:?}");
            assert!(!process.was_taken, "a start beside a known {process:?}");
            if let Kind::Nearly(difference) = process.kind {
                assert!(!difference.is_strict(), "a start beside {process:?}");
            }
            let is_unknown = is_over && self.is_hidden(process.id) || self.rules.is_given_up;
            assert!(
                !self.is_in_flight(process) || is_unknown,
                "a start beside what is left of one: {process:?}"
            );
        }
        assert_eq!(self.program, None, "two start programs");
        let rules = &self.rules;
        let is_before = |time: Option<Instant>| time.is_some_and(|time| self.now < time);
        assert!(!is_before(rules.in_flight), "two starts in flight");
        assert!(
            !is_before(rules.held_until),
            "a start before others have had their time"
        );
        assert!(
            !is_before(rules.elsewhere_until),
            "a start beside what may have gone elsewhere"
        );
        assert!(!self.is_hands_off(), "a start in a dry run or a pause");
        assert!(
            !is_before(rules.not_before),
            "a start before the time that was told"
        );
        assert!(
            !is_before(rules.retry_at),
            "a start too soon after {} have failed",
            rules.failures
        );
        let until = self.now + self.policy.start_timeout;
        self.rules.in_flight = (self.installed == Installed::Yes).then_some(until);
        self.rules.awaited_until = self.rules.in_flight;
        self.rules.starts.push(self.now);
        self.rules.has_succeeded = false;
        self.rules.is_guessed = false;
        self.rules.is_given_up = false;
        self.rules.shortest_timeout = self.policy.start_timeout;
        self.rules.programs.clear();
    }

    /// The start program is made to end.
    fn is_late(&self) {
        assert!(!self.is_hands_off(), "a signal in a dry run or a pause");
        assert!(self.program.is_some(), "a signal to nobody");
        let began = self.rules.starts.last();
        let has_had_its_time =
            began.is_some_and(|began| self.now >= *began + self.rules.shortest_timeout);
        assert!(
            has_had_its_time || self.rules.has_succeeded,
            "a start program is ended before its time"
        );
    }

    fn signals(&mut self, stop: Stop, ids: &[ProcessId], before: Phase) {
        let is_to_stop = self.machine.phase() == Phase::Replacing && !self.is_left_alone();
        assert!(
            !self.is_hands_off() || is_to_stop,
            "a signal in a dry run or a pause"
        );
        assert!(!ids.is_empty(), "a signal to nobody");
        for id in ids {
            let Some(process) = self.process(*id).copied() else {
                // It has died since the look: nobody is signalled.
                continue;
            };
            match self.machine.phase() {
                Phase::Replacing => self.is_to_end(&process),
                Phase::Clearing => self.is_to_be_cleared(&process, before),
                Phase::Up => {
                    assert_eq!(self.policy.duplicates, Duplicates::StopNewest);
                    assert!(process.kind == Kind::Program && self.is_surplus(&process));
                }
                phase => panic!("a signal in {phase:?}"),
            }
            let rules = &self.rules;
            let is_new = process.id.pid > rules.asked_of || !rules.asked_of_all;
            let was_asked = rules.asked.iter().any(|(asked, _)| asked == id);
            let is_born_since = rules
                .asked
                .iter()
                .any(|(asked, seen)| process.id.pid > *seen && self.descends(&process, *asked));
            assert!(
                stop == Stop::Terminate || was_asked || is_new || is_born_since,
                "killed without being asked: {process:?}"
            );
        }
        if stop == Stop::Terminate {
            let seen = self.rules.seen;
            let asked = ids.iter().map(|id| (*id, seen));
            self.rules.asked.extend(asked);
            self.rules.asked_of = self.rules.seen;
            self.rules.asked_of_all = self.hidden.is_none();
        }
    }

    /// The program is made to end, and this one belongs to it.
    fn is_to_end(&self, process: &Process) {
        assert_eq!(process.kind, Kind::Program, "a misfit is ended");
        let mut ending = self.rules.ending.iter();
        assert!(
            ending.any(|id| *id == process.id || self.descends(process, *id)),
            "one is ended that has nothing to do with the first: {process:?}"
        );
    }

    /// What a start has left in the background has had its time, and isn't nearly the program.
    fn is_to_be_cleared(&self, process: &Process, before: Phase) {
        let start = process.start.expect("somebody else's process is ended");
        let is_begin = before != Phase::Clearing;
        match process.kind {
            Kind::Script => {}
            Kind::Other(_) => {
                let programs = &self.rules.programs;
                let noted = programs.get(&process.id).filter(|_| is_begin);
                let lasts = noted.is_some_and(|(kind, since)| {
                    *kind == process.kind && self.now >= *since + self.policy.start_timeout / 2
                });
                assert!(!lasts, "a program of its own is ended: {process:?}");
            }
            kind => panic!("what is left is ended as {kind:?}"),
        }
        let time = 2 * self.rules.shortest_timeout;
        let due = self.rules.starts[start] + time.min(600 * SECOND);
        let is_last = start + 1 == self.rules.starts.len();
        assert!(!is_last || self.now >= due, "ended before its time");
    }

    fn tells(&mut self, change: &Change, before: Phase) {
        let now = self.now;
        match change {
            Change::Up { .. } => {
                let was_up = matches!(before, Phase::Up | Phase::Replacing);
                assert!(was_up || !self.rules.has_been_up, "an outage is lost");
            }
            Change::Restarted { outage, .. } => {
                self.rules.restarted += 1;
                self.rules.in_flight = None;
                assert!(*outage <= now - self.epoch, "{outage:?} is made up");
                let gone = self.rules.gone_since.map(|since| now - since);
                assert!(gone <= Some(*outage), "of {gone:?} only {outage:?} is told");
            }
            Change::CrashLoop { .. } => {
                assert!(!self.rules.is_crash_loop, "a crash loop is told twice");
                self.rules.is_crash_loop = true;
            }
            Change::Recovered { what, .. } if *what == Recovery::CrashLoop => {
                assert!(self.rules.is_crash_loop, "the end of no crash loop");
                self.rules.is_crash_loop = false;
            }
            Change::Renamed(who) => {
                assert!(!self.rules.renamed.contains(&who.id), "told twice");
                self.rules.renamed.push(who.id);
            }
            Change::MainEnded { pid, .. } => self.rules.main_ended = Some(*pid),
            Change::Unhealthy {
                check,
                will_restart,
                ..
            } if check == DUMPING => assert!(!will_restart, "it dies by itself"),
            Change::DryRun(Intention::StopDuplicate { pid }) => {
                let process = self.processes.iter().find(|it| it.id.pid == *pid);
                assert!(
                    process.is_some_and(|process| self.is_surplus(process)),
                    "it would end {process:?}"
                );
            }
            Change::Down { wait, cause, .. } => self.is_told_down(*wait, *cause, before),
            _ => {}
        }
    }

    fn is_told_down(&mut self, wait: Duration, cause: Cause, before: Phase) {
        let rules = &mut self.rules;
        rules.not_before = Some(self.now + wait);
        assert!(
            wait <= self.policy.restart_delay_max,
            "{wait:?} is beyond the cap"
        );
        if cause.is_somebodys_wish() {
            return;
        }
        let death = rules.last_death.replace((self.now, wait));
        if let (true, Some((died, waited))) = (before != Phase::New, death) {
            let may_be_stable = self.now - died >= self.policy.stable_after;
            assert!(
                wait >= waited || may_be_stable,
                "{waited:?} shrinks to {wait:?}"
            );
        }
    }

    /// What holds after every event.
    pub(super) fn is_in_order(&mut self) {
        let phase = self.machine.phase();
        if !matches!(phase, Phase::Starting | Phase::New) {
            self.rules.in_flight = None;
        }
        assert_eq!(self.machine.restarts(), self.rules.restarted);
        if self.machine.backoff.is_fresh() {
            self.rules.not_before = None;
        }
        let most = self
            .policy
            .interval
            .max(self.policy.stop_timeout)
            .max(LAST_POLL);
        assert!(
            self.machine.next_look() <= self.now + most,
            "a look is always due"
        );
        if phase == Phase::Up {
            let first = self.machine.first().expect("nobody is the first");
            assert!(self.machine.alive().contains(&first));
        }
    }

    pub(super) fn before_look(&mut self, left: Option<&Left>) -> Before {
        let phase = self.machine.phase();
        let has_left = self.processes.iter().any(|it| self.is_in_flight(it));
        if phase == Phase::New && !has_left {
            // Nothing is left of a start of the earlier run.
            self.rules.in_flight = None;
        }
        if phase == Phase::New && self.is_hands_off() {
            // Nothing of it is waited for, for nothing is started.
            self.rules.elsewhere_until = None;
        }
        let left = left.into_iter().flat_map(|left| &left.processes);
        for left in left {
            let kind = self.process(left.id).map(|process| process.kind);
            if let Some(kind @ Kind::Other(_)) = kind {
                let noted = self.rules.programs.entry(left.id);
                let noted = noted.or_insert((kind, self.now));
                if noted.0 != kind {
                    *noted = (kind, self.now);
                }
            }
        }
        self.rules.main_ended = None;
        let first = self.machine.first();
        if first.is_some_and(|first| self.process(first).is_none()) {
            // What was found about it says nothing of the one that comes after it.
            self.rules.may_be_ended = false;
        }
        let may_have_left = self.processes.iter().any(|it| it.start.is_some());
        let time = 2 * self.rules.shortest_timeout;
        let began = self.rules.starts.last();
        let is_over = began.is_some_and(|began| self.now >= *began + time.min(600 * SECOND));
        self.rules.is_given_up |= is_over && self.hidden.is_some();
        if phase == Phase::New && may_have_left {
            self.rules.unknown_at_most = Some(self.now + 40 * SECOND);
        }
        Before {
            phase,
            look: self.machine.look(),
            first: self.machine.first(),
            alive: self.machine.alive().to_vec(),
        }
    }

    /// What holds after a look.
    pub(super) fn has_looked(&mut self, before: &Before) {
        let phase = self.machine.phase();
        let is_asked_anew = self.machine.next_look() <= self.now;
        let first = self.machine.first().and_then(|first| self.process(first));
        let is_undecided = phase == Phase::Up && first.is_none();
        if before.look == Look::Confirm && is_undecided && is_asked_anew {
            // It can't be told by what was confirmed.
            return;
        }
        let is_up = matches!(phase, Phase::Up | Phase::Replacing);
        assert_eq!(is_up, self.programs().next().is_some(), "{phase:?}");
        self.rules.may_be_ended &= is_up;
        self.is_to_stop_no_more(before);
        if self.hidden.is_some() {
            self.rules.unknown_at_most = Some(self.now + 40 * SECOND);
        }
        if is_up {
            self.is_found_up(before);
        } else {
            self.is_explained();
        }
        if before.phase == Phase::New && phase == Phase::Misfit {
            // What was waited for besides is forgotten.
            self.rules.elsewhere_until = None;
            self.rules.in_flight = None;
        }
        self.rules.has_been_up |= is_up;
        if is_up || phase == Phase::Misfit {
            self.rules.forgets_failures();
            self.rules.gone_since = None;
        } else if self.rules.has_been_up {
            self.rules.gone_since.get_or_insert(self.now);
        }
    }

    /// What somebody wants stopped is being ended as soon as it is seen, and whatever comes after it is left
    /// alone.
    fn is_to_stop_no_more(&mut self, before: &Before) {
        if !self.rules.is_to_stop || self.policy.dry_run {
            return;
        }
        let phase = self.machine.phase();
        let has_ended = before.phase == Phase::Replacing && phase == Phase::Up;
        assert!(phase != Phase::Up || has_ended, "nobody stops it");
        self.rules.is_to_stop &= !has_ended && phase != Phase::Misfit;
        assert_eq!(self.rules.is_to_stop, self.machine.is_being_stopped());
    }

    fn is_found_up(&mut self, before: &Before) {
        let phase = self.machine.phase();
        self.rules.elsewhere_until = None;
        self.rules.awaited_until = None;
        // What came with a program that was up delays no restart.
        self.rules.has_succeeded = true;
        let known = self.machine.known();
        for process in &mut self.processes {
            let is_taken = known.contains(&process.id) && !self.machine.is_misfit(process.id);
            process.was_taken |= is_taken && process.kind == Kind::Program;
        }
        let pids: BTreeSet<i32> = self.programs().map(|process| process.id.pid).collect();
        let children = self.programs().filter(|it| pids.contains(&it.parent));
        let children: Vec<ProcessId> = children.map(|process| process.id).collect();
        // One that was refused meanwhile is nobody's child.
        let lives: BTreeSet<ProcessId> = self.programs().map(|process| process.id).collect();
        self.rules.children.retain(|id| lives.contains(id));
        self.rules.children.extend(children);
        if phase != Phase::Up {
            return;
        }
        let first = self.machine.first().expect("nobody is the first");
        let main = *self.process(first).expect("the first is dead");
        let has_died = |id: &ProcessId| self.process(*id).is_none();
        let heir = before.alive.contains(&first) && self.rules.children.contains(&first);
        if let (Phase::Up, Some(died)) = (before.phase, before.first.filter(has_died)) {
            let is_told = self.rules.main_ended == Some(died.pid);
            assert!(is_told || !heir, "nobody says that the main process died");
        }
        let is_dumping = main.state == RunState::Dumping;
        assert!(
            !is_dumping || self.machine.troubles.contains_key(DUMPING),
            "a core dump isn't told"
        );
        let mut troubles = self.machine.troubles.values();
        let is_passed_over = !self.is_hands_off()
            && self.installed == Installed::Yes
            && troubles.any(|trouble| trouble.is_reason_to_restart);
        assert!(!is_passed_over, "unwell, and nothing comes of it");
        self.second_copies_are_told(first);
    }

    /// What isn't the program any more is no second copy of it; if it is one later, it is a new one. Nor can it
    /// be asked to end together with the others meanwhile.
    pub(super) fn has_other_target(&mut self) {
        self.rules.asked_of_all = false;
        let programs: Vec<ProcessId> = self.programs().map(|process| process.id).collect();
        for times in [&mut self.rules.beside, &mut self.rules.seen_beside] {
            times.retain(|id, _| programs.contains(id));
        }
    }

    /// Second copies are told when they have stayed for an interval, or for ten seconds if that is less;
    /// those that came with our own start when that has had its time.
    fn second_copies_are_told(&mut self, first: ProcessId) {
        let rules = &self.rules;
        let others = self.programs().filter(|process| {
            process.id != first && process.was_taken && !rules.children.contains(&process.id)
        });
        let others: Vec<Process> = others.copied().collect();
        let (now, interval) = (self.now, self.policy.interval);
        let (beside, own) = (&mut self.rules.beside, &mut self.rules.seen_beside);
        for times in [&mut *beside, &mut *own] {
            times.retain(|id, _| others.iter().any(|other| other.id == *id));
        }
        for other in others {
            let seen = *own.entry(other.id).or_insert(now);
            // No start has more time in these worlds; a look has to find that it is over.
            if other.start.is_some() && now < seen + 60 * SECOND {
                continue;
            }
            let since = *beside.entry(other.id).or_insert(now);
            let due = since + interval.min(10 * SECOND);
            let is_told = self.machine.duplicates().any(|pid| pid == other.id.pid);
            assert!(now < due || is_told, "a second copy isn't told: {other:?}");
        }
    }

    /// Nothing of the program lives, and a start is under way or the state says why not.
    fn is_explained(&self) {
        let is_before = |time: Option<Instant>| time.is_some_and(|time| self.now < time);
        let has_left = self.processes.iter().any(|it| self.is_in_flight(it));
        let is_of_lineage = |process: &Process| {
            let since = self.lineage_since;
            process.start.is_some() && since.is_some_and(|since| process.id.start_time >= since)
        };
        let rules = &self.rules;
        let phase = self.machine.phase();
        let is_explained = match phase {
            Phase::Starting => {
                has_left
                    || is_before(rules.unknown_at_most)
                    || is_before(rules.awaited_until)
                    || is_before(rules.elsewhere_at_most)
                    || self.processes.iter().any(is_of_lineage)
            }
            // If it has just ended, that is looked at next.
            Phase::Stopping => self.program.is_some() || self.machine.next_look() <= self.now,
            Phase::Clearing => self.processes.iter().any(|it| it.start.is_some()),
            Phase::Held => is_before(rules.held_until),
            Phase::Backoff => {
                let next_start = self.machine.next_start();
                let latest = self.now + self.policy.restart_delay_max;
                next_start.is_some_and(|next| self.now < next && next <= latest)
            }
            Phase::Down => self.is_hands_off() || is_before(rules.is_failed_until),
            Phase::Misfit => {
                let misfits = self.machine.known();
                let lives = |id| self.process(id).is_some_and(is_in_the_way);
                !misfits.is_empty() && misfits.into_iter().all(lives)
            }
            Phase::New | Phase::Up | Phase::Replacing | Phase::Waiting => false,
        };
        assert!(is_explained, "it is absent, and nothing is done: {phase:?}");
    }
}

/// Whether nothing is to be started beside one that isn't the program, and nearly is: it came with our
/// start, or may have, or was taken for the program, or may be.
fn is_in_the_way(process: &Process) -> bool {
    let is_nearly = |difference: Difference| process.uid == 0 || difference.is_strict();
    match process.kind {
        Kind::Program | Kind::Script => false,
        Kind::Other(_) => process.start.is_some(),
        Kind::Nearly(difference) => {
            process.start.is_some() || process.was_taken || is_nearly(difference)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    /// Never two starts in flight, nor one beside the program, what was known as that, what is left of another
    /// start or what is nearly the program, which is never ended; none before others that start it have had
    /// their time, in a dry run or a pause, before the time that was told, or sooner after failures than
    /// ever later; nobody ended that is healthy, that has nothing to do with the first, that came of our own
    /// start or that couldn't be started again, and nobody killed that wasn't asked. What was learnt outlives the
    /// service, somebody is always the first, and, whatever has happened before, every absence is followed
    /// by a start, or by a state that says why not.
    #[test]
    fn any_history_keeps_the_rules(
        policy in policies(),
        has_children in any::<bool>(),
        history in prop::collection::vec(chance(), 0..400),
    ) {
        let mut world = World::new(policy, has_children);
        for chance in history {
            world.happen(chance);
        }
        world.comes_back();
    }
}
