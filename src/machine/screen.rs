//! What the machine decides for a program that belongs on the screen of whoever is logged in: when it waits
//! for him, whose it is, and what becomes of one that is nobody's. Who is there is found out in
//! [`crate::session`]; a program that needs no screen never comes here.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::alive::killed;
use super::{Absence, Action, Backoff, Copies, FailedCommand, Machine, Memory, Phase, Stand, Wish};
use crate::machine::change::{Cause, Change, StartFailure, Stop};
use crate::machine::seat::{Seat, Wait};
use crate::proc::{Difference, Impostor, ProcessId, Sighting};

/// How long after a program's end its session is looked at again. At a logout windows close before logind
/// says that the session does, by up to 433 ms on the slowest of four desktops; what is started in between
/// lands in a session that ends, on some of them for a second.
const SETTLE: Duration = Duration::from_secs(2);

/// The same where it can be told by the others in the session: at each desktop's logout another one of them
/// has ended 14 ms after the first window at the latest, or the session's leader or its first process had
/// ended before. So of a session in which all of them still live no logout has begun.
const QUIET: Duration = Duration::from_millis(500);

/// How late an end may be noticed for that: of those who had ended by then nobody knows.
const PROMPT: Duration = Duration::from_millis(100);

/// How long a session that doesn't start the program itself has to begin.
const BEGINS: Duration = Duration::from_secs(5);

/// How often a program is looked for that its session is starting.
const AUTOSTART_POLL: Duration = Duration::from_secs(1);

/// How often one is looked for that is being ended.
const ENDING_POLL: Duration = Duration::from_millis(100);

/// How `mfe-watchdog exec` ends that can't start a program yet: `EX_TEMPFAIL` of sysexits(3).
pub const NOT_YET: u8 = 75;

/// A process of the program's name that our own start has left where it is nobody's: in the unit's control
/// group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stray {
    /// Which process it is.
    pub id: ProcessId,
    /// Whether it is root's, and the session isn't; else its user has no session any more.
    pub is_roots: bool,
}

/// One that is to end.
#[derive(Debug, Clone, Copy)]
struct Ending {
    stray: Stray,
    since: Instant,
    is_signalled: bool,
}

/// What has ended while its session was there.
#[derive(Debug, Clone)]
struct Settling {
    until: Instant,
    known: Vec<ProcessId>,
    quiet: Option<Quiet>,
}

/// A session in which nobody else has ended so far.
#[derive(Debug, Clone)]
struct Quiet {
    until: Instant,
    company: BTreeSet<ProcessId>,
}

/// What is known of the screen.
#[derive(Debug, Clone)]
pub(super) struct Screen {
    seat: Seat,
    /// Since when.
    since: Instant,
    /// What is waited for in `Waiting`.
    wait: Option<Wait>,
    /// What was last told of that.
    told: Option<Wait>,
    settling: Option<Settling>,
    /// Whether the session has had its time to start the program.
    has_begun: bool,
    /// Whether the program was up until the screen changed hands.
    was_up: bool,
    strays: Vec<Ending>,
    /// Who else lives in the session, as the look has found that is just told.
    pub(super) company: Option<BTreeSet<ProcessId>>,
}

impl Settling {
    /// When the session is looked at again.
    fn next_look(&self) -> Instant {
        self.quiet.as_ref().map_or(self.until, |quiet| quiet.until)
    }

    /// The same with those who live in the session now.
    fn with(self, company: Option<&BTreeSet<ProcessId>>) -> Self {
        let live = |quiet: &Quiet| company.is_some_and(|live| quiet.company.is_subset(live));
        let quiet = self.quiet.filter(live);
        Self { quiet, ..self }
    }
}

impl Screen {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            seat: Seat::NotNeeded,
            since: now,
            wait: None,
            told: None,
            settling: None,
            has_begun: false,
            was_up: false,
            strays: Vec::new(),
            company: None,
        }
    }

    pub(super) fn uid(&self) -> Option<u32> {
        self.seat.uid()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.seat.is_empty()
    }

    /// Whether it is one that is ended: then it isn't told to be left alone.
    pub(super) fn is_stray(&self, id: ProcessId) -> bool {
        self.strays.iter().any(|ending| ending.stray.id == id)
    }
}

impl Machine {
    /// Who is at the screen.
    #[must_use]
    pub fn seat(&self) -> &Seat {
        &self.screen.seat
    }

    /// What is waited for, if it is somebody or something at the screen.
    #[must_use]
    pub fn waits_for(&self) -> Option<Wait> {
        self.screen.wait.filter(|_| self.phase() == Phase::Waiting)
    }

    /// Whether a look is to find out who else lives in the session, if the program doesn't: what becomes of
    /// them tells whether the session goes on.
    #[must_use]
    pub fn asks_for_company(&self) -> bool {
        let is_settling = self.screen.settling.is_some();
        self.screen.uid().is_some() && (self.phase() == Phase::Up || is_settling)
    }

    /// Somebody else is at the screen, or nobody: what was before is forgotten.
    pub(super) fn at_screen(&mut self, now: Instant, seat: Seat, actions: &mut Vec<Action>) {
        let before = std::mem::replace(&mut self.screen.seat, seat);
        if before.is_same(&self.screen.seat) {
            return;
        }
        self.look_at_all(now);
        self.screen.since = now;
        if self.phase() == Phase::New {
            let uid = self.screen.uid();
            if let Some(memory) = self.memory.take() {
                let is_same = memory.session_uid == uid || self.screen.seat == Seat::NotNeeded;
                self.memory = Some(if is_same {
                    memory
                } else {
                    without_session(memory)
                });
            }
            return;
        }
        let was_up = self.phase() == Phase::Up;
        self.wish = Wish::LeftAlone;
        self.nothing_is_wrong(actions);
        self.alive.clear();
        self.seen.clear();
        self.copies = Copies::default();
        self.renamed.clear();
        self.misfits.clear();
        self.surplus.clear();
        self.stopped_since = None;
        self.absence = None;
        // What an earlier start has left is another session's, and none of this one's business.
        self.started = None;
        self.left = None;
        self.late_starts = 0;
        self.failed_starts = 0;
        self.failed_command = FailedCommand::NotSeen;
        self.retry_at = now;
        self.start_failure = None;
        self.is_dry_run_told = false;
        self.last_exit = None;
        self.program = None;
        self.backoff = Backoff::default();
        self.not_before = self.epoch;
        self.stand = if self.screen.seat == Seat::NotNeeded {
            Stand::New
        } else {
            Stand::Waiting
        };
        self.screen = Screen {
            was_up,
            strays: std::mem::take(&mut self.screen.strays),
            seat: std::mem::take(&mut self.screen.seat),
            ..Screen::new(now)
        };
    }

    /// Nobody is at the screen: whatever runs, it isn't the program of whoever comes.
    pub(super) fn wait_for_somebody(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let why = match self.screen.seat {
            Seat::Unclear => Wait::Display,
            _ => Wait::Login,
        };
        self.wait(why, actions);
        self.wish = Wish::LeftAlone;
        self.next_look = self.next_cycle(now);
    }

    fn wait(&mut self, why: Wait, actions: &mut Vec<Action>) {
        self.stand = Stand::Waiting;
        self.alive.clear();
        self.screen.wait = Some(why);
        if why.is_told() && self.screen.told != Some(why) {
            self.screen.told = Some(why);
            let user = match &self.screen.seat {
                Seat::Taken(sitting) => Some(sitting.user.clone()),
                _ => None,
            };
            actions.push(Action::Tell(Change::Waiting { why, user }));
        }
    }

    /// The program of whoever is at the screen lives. Gives what there is to tell if that was waited for.
    pub(super) fn is_at_screen(&mut self, pids: Vec<i32>) -> Option<Change> {
        let was_up = std::mem::take(&mut self.screen.was_up);
        self.screen.told = None;
        self.screen.settling = None;
        self.screen.has_begun = true;
        (!was_up).then_some(Change::Adopted {
            pids,
            more: self.more_alive,
        })
    }

    /// Nothing of the program lives though somebody is at the screen. Says whether that is dealt with:
    /// else it is as for any other program.
    pub(super) fn screen_decides(
        &mut self,
        now: Instant,
        sighting: &Sighting,
        actions: &mut Vec<Action>,
    ) -> bool {
        let Seat::Taken(sitting) = &self.screen.seat else {
            return false;
        };
        if self.phase() == Phase::Starting {
            return false;
        }
        let begins = if sitting.is_autostarted {
            (Wait::Autostart, self.policy.autostart_timeout)
        } else {
            (Wait::Beginning, BEGINS)
        };
        let began = sitting.began.unwrap_or(self.screen.since);
        let is_roots = |impostor: &&Impostor| {
            sitting.uid != 0 && impostor.uid == Some(0) && impostor.difference == Difference::User
        };
        let roots: Vec<Impostor> = sighting
            .impostors
            .iter()
            .filter(is_roots)
            .cloned()
            .collect();
        // Also where a start is only waiting for what is being ended before it.
        if !roots.is_empty() {
            if let Some(ending) = self.ending() {
                let cause = self.cause(&self.alive, sighting);
                actions.push(Action::Tell(killed(ending, cause)));
            }
            if self.phase() == Phase::Up {
                self.settles(now, sighting);
            }
            self.roots_is_in_the_way(now, roots, actions);
            return true;
        }
        if matches!(
            self.phase(),
            Phase::Stopping | Phase::Clearing | Phase::Replacing
        ) {
            return false;
        }
        match self.phase() {
            Phase::Up => {
                self.next_look = self.settles(now, sighting);
                self.wait(Wait::Settling, actions);
                true
            }
            Phase::Misfit | Phase::Waiting if self.screen.settling.is_some() => {
                self.has_settled(now, actions)
            }
            Phase::Waiting if self.start_failure == Some(StartFailure::NotReady) => {
                if now < self.retry_at {
                    self.next_look = self.retry_at.min(self.next_cycle(now));
                    return true;
                }
                self.stand = Stand::Down;
                false
            }
            Phase::New | Phase::Misfit | Phase::Waiting => {
                self.alive.clear();
                let (why, time) = begins;
                let until = began + time;
                if now >= until || self.screen.has_begun {
                    self.screen.has_begun = true;
                    return false;
                }
                self.wait(why, actions);
                self.next_look = until.min(now + AUTOSTART_POLL);
                true
            }
            _ => false,
        }
    }

    /// The same where something else says when to look again, and that there is a session.
    pub(super) fn may_settle(&mut self, now: Instant, sighting: &Sighting) {
        if matches!(self.screen.seat, Seat::Taken(_)) {
            self.settles(now, sighting);
        }
    }

    /// The program has ended, and its session may be about to: gives when it is looked at again.
    fn settles(&mut self, now: Instant, sighting: &Sighting) -> Instant {
        let cause = self.cause(&self.alive, sighting);
        let known = std::mem::take(&mut self.alive);
        let since = self.seen_alive.map_or(now, |seen| seen.min(now));
        self.absence = self.absence.or(Some(Absence {
            since,
            noticed: now,
            cause,
        }));
        // Its start script may have waited for its end.
        let parents: Vec<i32> = self.seen.iter().map(|alive| alive.parent).collect();
        let company = self.screen.company.take();
        let company = company.filter(|_| now <= since + PROMPT);
        let quiet = company.map(|mut company| {
            company.retain(|id| !parents.contains(&id.pid));
            Quiet {
                until: now + QUIET,
                company,
            }
        });
        let settling = Settling {
            until: now + SETTLE,
            known,
            quiet,
        };
        let until = settling.next_look();
        self.screen.settling = Some(settling);
        until
    }

    /// Some time after the program's end its session is still there: it wasn't a logout.
    fn has_settled(&mut self, now: Instant, actions: &mut Vec<Action>) -> bool {
        let company = self.screen.company.take();
        let settling = self.screen.settling.take();
        let settling = settling.map(|settling| settling.with(company.as_ref()));
        match settling {
            Some(settling) if now < settling.next_look() => {
                self.next_look = settling.next_look();
                self.screen.settling = Some(settling);
                self.wait(Wait::Settling, actions);
                true
            }
            settling => {
                self.alive = settling.map(|settling| settling.known).unwrap_or_default();
                let at = self.looked_at;
                self.stand = Stand::Up { since: now, at };
                false
            }
        }
    }

    /// Root runs the program, where nobody sees it: what we have started ourselves is ended; beside
    /// somebody else's nothing is started.
    fn roots_is_in_the_way(
        &mut self,
        now: Instant,
        roots: Vec<Impostor>,
        actions: &mut Vec<Action>,
    ) {
        let stop_timeout = self.policy.stop_timeout;
        let is_ending = |id: ProcessId| {
            let mut strays = self.screen.strays.iter();
            strays.any(|ending| ending.stray.id == id && now < ending.since + stop_timeout)
        };
        if !self.is_hands_off() && roots.iter().all(|root| is_ending(root.id)) {
            self.wait(Wait::Outside, actions);
            self.next_look = now + ENDING_POLL;
        } else {
            self.waits_for_misfits(now, roots, actions);
        }
    }

    /// Which processes our own starts have left where they are nobody's.
    pub(super) fn strays_are(&mut self, now: Instant, strays: &[Stray]) {
        let before = std::mem::take(&mut self.screen.strays);
        let known = |stray: &Stray| before.iter().copied().find(|ending| ending.stray == *stray);
        let endings = strays.iter().map(|stray| {
            known(stray).unwrap_or(Ending {
                stray: *stray,
                since: now,
                is_signalled: false,
            })
        });
        self.screen.strays = endings.collect();
    }

    /// Ends them, each once: root's at once, and another one when it has had its time to end with its
    /// session.
    pub(super) fn end_strays(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if self.is_hands_off() {
            return;
        }
        for ending in &mut self.screen.strays {
            let time = if ending.stray.is_roots {
                Duration::ZERO
            } else {
                self.policy.stop_timeout
            };
            let due = ending.since + time;
            if ending.is_signalled {
                continue;
            }
            if now < due {
                self.next_look = self.next_look.min(due);
                continue;
            }
            ending.is_signalled = true;
            let id = ending.stray.id;
            actions.push(Action::Signal(Stop::Terminate, vec![id]));
            actions.push(Action::Tell(Change::Killed {
                pids: vec![id.pid],
                signal: Some(Stop::Terminate),
                cause: Cause::Outside,
            }));
        }
    }

    /// A start has ended that wasn't possible yet: it is tried again as one that has failed, and is none.
    pub(super) fn is_not_ready(&mut self, actions: &mut Vec<Action>) {
        self.start_failure = Some(StartFailure::NotReady);
        self.wait(Wait::Session, actions);
    }

    /// Somebody wants it started at once.
    pub(super) fn wait_is_over(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if self.screen.is_empty() {
            let why = StartFailure::NobodyLoggedIn;
            actions.push(Action::Tell(Change::RestartRefused(why)));
        } else if self.screen.settling.is_none() {
            self.screen.has_begun = true;
            self.retry_at = now;
            self.failed_starts = 0;
            self.look_at_all(now);
        }
    }
}

/// What a memory has of the program alone, and not of the session in which it ran.
fn without_session(memory: Memory) -> Memory {
    Memory {
        restarts: memory.restarts,
        pause: memory.pause,
        ..Memory::default()
    }
}

#[cfg(test)]
pub(super) mod tests;
