//! Tells the processes of one name apart: the first one and its family, second copies, impostors.
//! It decides what to tell of them, which is bounded however many somebody runs, and ends nobody.

use std::time::{Duration, Instant};

use crate::proc::{Alive, IMPOSTORS_MAX, Impostor, ProcessId};

/// The longest time for which two copies may be one program that replaces itself.
const SETTLES_WITHIN: Duration = Duration::from_secs(10);

/// So many of a crowd are told one by one, the others as a count.
const TOLD_MAX: usize = 3;

/// How long after those the next ones are told one by one.
const TOLD_AGAIN: Duration = Duration::from_secs(600);

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
    /// Impostors that were told, or counted.
    impostors: Vec<ProcessId>,
    seconds_crowd: Crowd,
    impostors_crowd: Crowd,
}

/// Many of a kind, of which only a few are told one by one.
#[derive(Debug, Clone, Copy, Default)]
struct Crowd {
    /// When the first of those was told.
    since: Option<Instant>,
    told: usize,
    /// How many others there were when that was last told.
    counted: usize,
}

impl Crowd {
    /// How many of so many new ones are told one by one.
    fn admit(&mut self, now: Instant, new: usize) -> usize {
        let is_over = |since: Instant| now.saturating_duration_since(since) >= TOLD_AGAIN;
        if new > 0 && self.since.is_none_or(is_over) {
            *self = Self {
                since: Some(now),
                ..Self::default()
            };
        }
        let admitted = new.min(TOLD_MAX - self.told);
        self.told += admitted;
        admitted
    }

    /// Whether it is to be told that there are so many others: once, and each time they have doubled.
    fn count(&mut self, others: usize) -> Option<usize> {
        let is_news = others > 0 && others >= 2 * self.counted;
        is_news.then(|| {
            self.counted = others;
            others
        })
    }
}

/// What there is to tell of a crowd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct News<T> {
    /// Those that are told one by one.
    pub(super) each: Vec<T>,
    /// How many others there are, if that is to be told.
    pub(super) others: Option<usize>,
}

#[derive(Debug, Clone, Copy)]
struct Surplus {
    id: ProcessId,
    since: Instant,
    is_told: bool,
}

/// A second copy that is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Duplicate {
    /// The second copy.
    pub(crate) id: ProcessId,
    /// The one that was there before.
    pub(crate) first: ProcessId,
}

/// The second copies among those who are `alive` at a look made `now`, as far as one look tells them without the
/// memory of earlier ones.
#[must_use]
pub(crate) fn second_copies(now: Instant, alive: &[Alive]) -> Vec<Duplicate> {
    Copies::default().lives(now, alive, Duration::ZERO)
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
        self.learn_family(alive);
        let lives = |id: &ProcessId| alive.iter().any(|copy| copy.id == *id);
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

    /// Takes in who is another one's child, and stays that when the parent has died.
    pub(super) fn learn_family(&mut self, alive: &[Alive]) {
        let lives = |id: &ProcessId| alive.iter().any(|copy| copy.id == *id);
        self.family.retain(lives);
        for copy in alive {
            let has_parent = alive.iter().any(|other| other.id.pid == copy.parent);
            if has_parent && !self.family.contains(&copy.id) {
                self.family.push(copy.id);
            }
        }
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

    /// Of second copies that are due, of which there are `more` than were looked at, those to tell one by
    /// one.
    pub(super) fn news_of_copies(
        &mut self,
        now: Instant,
        mut due: Vec<Duplicate>,
        more: usize,
    ) -> News<Duplicate> {
        let is_news = !due.is_empty();
        due.truncate(self.seconds_crowd.admit(now, due.len()));
        let all = self.duplicates().count() + more;
        let others = is_news.then(|| all.saturating_sub(self.seconds_crowd.told));
        News {
            each: due,
            others: others.and_then(|others| self.seconds_crowd.count(others)),
        }
    }

    /// Takes in who has the name without being the program, of whom there are `more`, and returns what there
    /// is to tell of them. `is_whole` says that nobody else has it: who is missing may be forgotten.
    pub(super) fn impostors(
        &mut self,
        now: Instant,
        impostors: &[Impostor],
        more: usize,
        is_whole: bool,
    ) -> News<Impostor> {
        if is_whole {
            self.impostors
                .retain(|id| impostors.iter().any(|impostor| impostor.id == *id));
        }
        let new = impostors
            .iter()
            .filter(|impostor| !self.impostors.contains(&impostor.id));
        let mut each: Vec<Impostor> = new.cloned().collect();
        self.impostors
            .extend(each.iter().map(|impostor| impostor.id));
        // A confirmation meets only those that are young; a whole look counts them all.
        let surplus = self.impostors.len().saturating_sub(2 * IMPOSTORS_MAX);
        self.impostors.drain(..surplus);
        let is_news = !each.is_empty() || more > 0;
        each.truncate(self.impostors_crowd.admit(now, each.len()));
        let others = (impostors.len() + more).saturating_sub(self.impostors_crowd.told);
        let is_counted = is_news && is_whole && self.impostors_crowd.told == TOLD_MAX;
        News {
            each,
            others: is_counted
                .then(|| self.impostors_crowd.count(others))
                .flatten(),
        }
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
        let now = Instant::now();
        let mut told = |impostors: &[Impostor], is_whole| {
            let news = copies.impostors(now, impostors, 0, is_whole);
            assert_eq!(news.others, None);
            news.each
        };
        assert_eq!(told(&impostors, true), impostors);
        assert_eq!(told(&[], false), [], "not looked at");
        assert_eq!(told(&impostors, true), []);
        assert_eq!(told(&[], true), []);
        assert_eq!(told(&impostors, true), impostors);
    }

    #[test]
    fn of_a_crowd_three_are_told_and_then_how_many() {
        let mut copies = Copies::default();
        let now = Instant::now();
        let crowd = |first: i32| -> Vec<Impostor> {
            let impostor = |pid| Impostor {
                id: id(pid),
                uid: Some(1000),
                user: "pdv".into(),
                name: "X".into(),
                path: "/tmp/x".into(),
                difference: Difference::Exe,
            };
            (first..first + 10).map(impostor).collect()
        };
        let news = copies.impostors(now, &crowd(100), 0, true);
        assert_eq!(news.each, crowd(100)[..3]);
        assert_eq!(news.others, Some(7));
        let mut messages = 0;
        for round in 0_i32..500 {
            let more = usize::try_from(round).unwrap() * 10;
            let now = now + Duration::from_secs(1);
            let news = copies.impostors(now, &crowd(200 + 10 * round), more, true);
            messages += news.each.len() + usize::from(news.others.is_some());
        }
        assert!(
            messages < 12,
            "{messages} messages of those that come and go"
        );
        assert!(copies.impostors.len() <= 2 * IMPOSTORS_MAX);
        let news = copies.impostors(now + TOLD_AGAIN, &crowd(9000), 0, true);
        assert_eq!(news.each.len(), 3, "later they are told again");

        let alive: Vec<Alive> = (100..150).map(|pid| copy(pid, 1)).collect();
        let mut copies = Copies::default();
        copies.lives(now, &alive, INTERVAL);
        let due = copies.lives(now + INTERVAL, &alive, INTERVAL);
        assert_eq!(due.len(), 49);
        let news = copies.news_of_copies(now + INTERVAL, due, 4950);
        assert_eq!((news.each.len(), news.others), (3, Some(4996)));
        let news = copies.news_of_copies(now + INTERVAL, Vec::new(), 4950);
        assert_eq!((news.each.len(), news.others), (0, None));
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
