//! Tells the processes of one name apart: the first one and its family, second copies, impostors.
//! It decides what to tell of them and ends nobody.

use std::time::{Duration, Instant};

use crate::proc::{Alive, Impostor, ProcessId};

/// The longest time for which two copies may be one program that replaces itself.
const SETTLES_WITHIN: Duration = Duration::from_secs(10);

/// What is known of a program's processes beyond that they live.
#[derive(Debug, Clone, Default)]
pub(super) struct Copies {
    /// Those that were seen as somebody's children. They stay family when their parent dies and
    /// the kernel gives them another one.
    family: Vec<ProcessId>,
    /// The first one, when it was last looked at.
    first: Option<ProcessId>,
    /// All of them, at the last look.
    known: Vec<ProcessId>,
    /// Those that came with our own start, and until when it is normal that there are several: a daemon
    /// that forks twice lives beside its parent until it is ready.
    kin: Vec<(ProcessId, Instant)>,
    /// Second copies, with the time at which each was first seen.
    surplus: Vec<Surplus>,
    /// Impostors that were told.
    impostors: Vec<ProcessId>,
}

#[derive(Debug, Clone, Copy)]
struct Surplus {
    id: ProcessId,
    since: Instant,
    is_told: bool,
}

/// A second copy that is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Duplicate {
    /// The second copy.
    pub(super) id: ProcessId,
    /// The one that was there before.
    pub(super) first: ProcessId,
}

impl Copies {
    /// Takes in who lives, and returns the second copies that are to be told now: those that are
    /// still there one `interval` after they were first seen. A program that replaces itself by a
    /// new process, or is just being restarted by its vendor's own script, runs twice for a moment.
    pub(super) fn lives(
        &mut self,
        now: Instant,
        alive: &[Alive],
        interval: Duration,
    ) -> Vec<Duplicate> {
        let lives = |id: &ProcessId| alive.iter().any(|copy| copy.id == *id);
        self.family.retain(lives);
        for copy in alive {
            let has_parent = alive.iter().any(|other| other.id.pid == copy.parent);
            if has_parent && !self.family.contains(&copy.id) {
                self.family.push(copy.id);
            }
        }
        self.kin.retain(|(id, _)| lives(id));
        self.first = self.first_of(alive);
        self.known = alive.iter().map(|copy| copy.id).collect();
        let Some(first) = self.first else {
            self.surplus.clear();
            return Vec::new();
        };
        let is_surplus = |id: &ProcessId| *id != first && !self.family.contains(id) && lives(id);
        self.surplus.retain(|surplus| is_surplus(&surplus.id));
        let known: Vec<ProcessId> = self.surplus.iter().map(|surplus| surplus.id).collect();
        let new = alive.iter().map(|copy| copy.id);
        let new = new.filter(|id| is_surplus(id) && !known.contains(id));
        let new: Vec<Surplus> = new
            .map(|id| Surplus {
                id,
                since: now,
                is_told: false,
            })
            .collect();
        self.surplus.extend(new);
        let mut told = Vec::new();
        for surplus in &mut self.surplus {
            let kin = self.kin.iter().find(|(id, _)| *id == surplus.id);
            let settled = surplus.since + settles(interval);
            let due = kin.map_or(settled, |(_, until)| settled.max(*until));
            if !surplus.is_told && now >= due {
                surplus.is_told = true;
                let id = surplus.id;
                told.push(Duplicate { id, first });
            }
        }
        told
    }

    /// The oldest one that is no child of another, as of the last look.
    #[must_use]
    pub(super) fn first(&self) -> Option<ProcessId> {
        self.first
    }

    /// The first stays that for as long as it lives. Its heir is whoever was known beside it, before
    /// whoever has come since; an elder before a child, of whom the oldest is left when all elders died.
    fn first_of(&self, alive: &[Alive]) -> Option<ProcessId> {
        let ids = || alive.iter().map(|copy| copy.id);
        let first = self.first.filter(|first| ids().any(|id| id == *first));
        let order = |id: &ProcessId| {
            let is_new = !self.known.contains(id);
            (is_new, self.is_family(*id), id.start_time, id.pid)
        };
        first.or_else(|| ids().min_by_key(order))
    }

    /// These came with our own start; that there are several is normal until a time.
    pub(super) fn are_kin(&mut self, ids: impl Iterator<Item = ProcessId>, until: Instant) {
        for id in ids {
            if !self.is_kin(id) {
                self.kin.push((id, until));
            }
        }
    }

    /// Whether a process came with our own start.
    pub(super) fn is_kin(&self, id: ProcessId) -> bool {
        self.kin.iter().any(|(kin, _)| *kin == id)
    }

    /// Whether a process was once seen as another one's child.
    pub(super) fn is_family(&self, id: ProcessId) -> bool {
        self.family.contains(&id)
    }

    /// Whether there are second copies.
    pub(super) fn has_surplus(&self) -> bool {
        !self.surplus.is_empty()
    }

    /// The second copies that were told.
    pub(super) fn duplicates(&self) -> impl Iterator<Item = ProcessId> {
        let told = self.surplus.iter().filter(|surplus| surplus.is_told);
        told.map(|surplus| surplus.id)
    }

    /// When a second copy has to be looked at again.
    #[must_use]
    pub(super) fn next_look(&self, interval: Duration) -> Option<Instant> {
        let waiting = self.surplus.iter().filter(|surplus| !surplus.is_told);
        let due = |surplus: &Surplus| {
            let settled = surplus.since + settles(interval);
            let kin = self.kin.iter().find(|(id, _)| *id == surplus.id);
            kin.map_or(settled, |(_, until)| settled.max(*until))
        };
        waiting.map(due).min()
    }

    /// Takes in who has the name without being the program, and returns those not yet told.
    /// `is_whole` says that nobody else has it: who is missing may be forgotten.
    pub(super) fn impostors(&mut self, impostors: &[Impostor], is_whole: bool) -> Vec<Impostor> {
        if is_whole {
            self.impostors
                .retain(|id| impostors.iter().any(|impostor| impostor.id == *id));
        }
        let new = impostors
            .iter()
            .filter(|impostor| !self.impostors.contains(&impostor.id));
        let new: Vec<Impostor> = new.cloned().collect();
        self.impostors
            .extend(new.iter().map(|impostor| impostor.id));
        new
    }
}

/// `id` and those of `alive` that descend from it.
#[must_use]
pub(super) fn with_descendants(id: ProcessId, alive: &[Alive]) -> Vec<ProcessId> {
    let mut family = vec![id];
    let mut next = 0;
    while let Some(parent) = family.get(next).copied() {
        let children = alive.iter().filter(|copy| copy.parent == parent.pid);
        for child in children {
            if !family.contains(&child.id) {
                family.push(child.id);
            }
        }
        next += 1;
    }
    family
}

fn settles(interval: Duration) -> Duration {
    interval.min(SETTLES_WITHIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proc::{Difference, RunState};

    const INTERVAL: Duration = Duration::from_secs(1);

    fn id(pid: i32) -> ProcessId {
        ProcessId {
            pid,
            start_time: u64::try_from(pid).unwrap(),
        }
    }

    fn copy(pid: i32, parent: i32) -> Alive {
        Alive {
            id: id(pid),
            parent,
            uid: None,
            state: RunState::Running,
        }
    }

    #[test]
    fn a_second_copy_is_told_once_when_it_has_stayed_for_an_interval() {
        let mut copies = Copies::default();
        let now = Instant::now();
        let alive = [copy(100, 1), copy(200, 1)];
        assert_eq!(copies.lives(now, &alive, INTERVAL), []);
        assert_eq!(copies.next_look(INTERVAL), Some(now + INTERVAL));
        let duplicate = Duplicate {
            id: id(200),
            first: id(100),
        };
        assert_eq!(copies.lives(now + INTERVAL, &alive, INTERVAL), [duplicate]);
        assert_eq!(copies.lives(now + 2 * INTERVAL, &alive, INTERVAL), []);
        assert_eq!(copies.next_look(INTERVAL), None);
        assert_eq!(copies.duplicates().collect::<Vec<_>>(), [id(200)]);
        copies.lives(now + 3 * INTERVAL, &alive[..1], INTERVAL);
        assert_eq!(copies.duplicates().count(), 0);
    }

    #[test]
    fn a_program_that_replaces_itself_runs_once() {
        let mut copies = Copies::default();
        let now = Instant::now();
        copies.lives(now, &[copy(100, 1)], INTERVAL);
        copies.lives(now, &[copy(100, 1), copy(200, 1)], INTERVAL);
        let told = copies.lives(now + INTERVAL, &[copy(200, 1)], INTERVAL);
        assert_eq!(told, []);
        assert_eq!(copies.next_look(INTERVAL), None);
    }

    #[test]
    fn children_are_no_second_copies_even_when_their_parent_has_died() {
        let mut copies = Copies::default();
        let now = Instant::now();
        let family = [copy(100, 1), copy(101, 100), copy(102, 101)];
        assert_eq!(copies.lives(now, &family, INTERVAL), []);
        let orphans = [copy(101, 1), copy(102, 1)];
        for seconds in 1..5 {
            let now = now + seconds * INTERVAL;
            assert_eq!(copies.lives(now, &orphans, INTERVAL), []);
        }
        assert_eq!(copies.first(), Some(id(101)), "the oldest of them");
        let started_beside = [copy(101, 1), copy(102, 1), copy(300, 1)];
        copies.lives(now + 5 * INTERVAL, &started_beside, INTERVAL);
        let told = copies.lives(now + 6 * INTERVAL, &started_beside, INTERVAL);
        let duplicate = Duplicate {
            id: id(300),
            first: id(101),
        };
        assert_eq!(told, [duplicate]);
    }

    #[test]
    fn the_oldest_is_the_first_whatever_its_pid() {
        let mut copies = Copies::default();
        let young = Alive {
            id: ProcessId {
                pid: 5,
                start_time: 999,
            },
            ..copy(5, 1)
        };
        copies.lives(Instant::now(), &[young, copy(100, 1)], INTERVAL);
        assert_eq!(copies.first(), Some(id(100)));
        copies.lives(Instant::now(), &[], INTERVAL);
        assert_eq!(copies.first(), None);
    }

    #[test]
    fn an_impostor_is_told_once_while_it_lives() {
        let mut copies = Copies::default();
        let impostor = Impostor {
            id: id(100),
            uid: Some(1000),
            user: "pdv".into(),
            name: "X".into(),
            path: "/tmp/x".into(),
            difference: Difference::Exe,
        };
        let impostors = [impostor.clone()];
        assert_eq!(copies.impostors(&impostors, true), impostors);
        assert_eq!(copies.impostors(&[], false), [], "not looked at");
        assert_eq!(copies.impostors(&impostors, true), []);
        assert_eq!(copies.impostors(&[], true), []);
        assert_eq!(copies.impostors(&impostors, true), impostors);
    }

    #[test]
    fn a_family_is_found_whole() {
        let alive = [
            copy(100, 1),
            copy(101, 100),
            copy(102, 101),
            copy(200, 1),
            copy(1, 1),
        ];
        let family = with_descendants(id(100), &alive);
        assert_eq!(family, [id(100), id(101), id(102)]);
        assert_eq!(with_descendants(id(200), &alive), [id(200)]);
        assert_eq!(
            with_descendants(id(1), &alive).len(),
            5,
            "pid 1 is its own parent here"
        );
    }
}
