//! How each till is, by what it has said and how long ago. Pure: states and the time go in, rows come out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use serde::Serialize;

use crate::clock::{self, Moment, corrected, offset_ms, timestamp};
use crate::message::{Process, State};

/// A till that has missed so many heartbeats is silent.
const MISSED: u32 = 3;

/// How long it is told that two machines have spoken as one till.
const TWICE: Duration = Duration::from_secs(3600);

/// So many machines of one till are remembered, or boots of it.
const FACES_MAX: usize = 8;

/// A difference of clocks that has moved by less is the time that a message took.
const OFFSET_NOISE_MS: u64 = 2000;

/// How a till is, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Standing {
    /// A program is down, or isn't as it should be.
    Down,
    /// Nothing was heard for three heartbeats: it may be up or down.
    Silent,
    /// It should be there, and has never been heard.
    NeverSeen,
    /// It speaks, and can't tell of its programs.
    Unknown,
    /// A program is paused.
    Paused,
    /// A program waits for somebody to log in, or for the like.
    Waiting,
    /// All programs run.
    Up,
}

impl Standing {
    pub(crate) const ALL: [Self; 7] = [
        Self::Down,
        Self::Silent,
        Self::NeverSeen,
        Self::Unknown,
        Self::Paused,
        Self::Waiting,
        Self::Up,
    ];

    /// Of a program, by its state in status.json. Of a word of a newer watchdog nothing is known.
    fn of(state: &str) -> Self {
        match state {
            "up" => Self::Up,
            "starting" | "down" | "backoff" | "unhealthy" | "stuck" | "misfit" => Self::Down,
            "waiting" => Self::Waiting,
            "paused" => Self::Paused,
            _ => Self::Unknown,
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Down => "down",
            Self::Silent => "silent",
            Self::NeverSeen => "never_seen",
            Self::Unknown => "unknown",
            Self::Paused => "paused",
            Self::Waiting => "waiting",
            Self::Up => "up",
        })
    }
}

/// What is shown of a till. Times are RFC 3339 in UTC, by the office's clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Row {
    pub(crate) till: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) store: Option<String>,
    pub(crate) state: Standing,
    /// Since when; of a silent one, when it was last heard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<String>,
    /// When it was last heard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) heard: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) paused_until: Option<String>,
    /// As the till told them last.
    pub(crate) programs: Vec<Program>,
    /// How many events it hasn't sent yet.
    pub(crate) backlog: u64,
    /// By how much its clock is ahead of the office's, in milliseconds.
    pub(crate) clock_offset_ms: i64,
    /// Whether two machines speak as this till.
    pub(crate) same_identity: bool,
    pub(crate) versions: BTreeMap<String, String>,
    pub(crate) labels: BTreeMap<String, String>,
}

/// A program of a till.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Program {
    pub(crate) key: String,
    pub(crate) name: String,
    pub(crate) state: String,
    pub(crate) runs: bool,
    pub(crate) since: String,
    pub(crate) restarts: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) paused_until: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) detail: Option<String>,
}

impl Row {
    /// Whether its clock is wrong enough to be told.
    pub(crate) fn is_clock_wrong(&self) -> bool {
        u128::from(self.clock_offset_ms.unsigned_abs()) > clock::WRONG.as_millis()
    }

    /// Two machines under one name are worse than silence: nothing that is shown of them can be relied on.
    fn rank(&self) -> (Standing, bool, bool) {
        let standing = if self.same_identity {
            self.state.min(Standing::Silent)
        } else {
            self.state
        };
        (standing, !self.same_identity, !self.is_clock_wrong())
    }

    fn is_like(&self, other: &Self) -> bool {
        let heard = other.heard.clone();
        Self {
            heard,
            ..self.clone()
        } == *other
    }
}

/// What a till has said last.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    pub(crate) state: State,
    /// When it came.
    pub(crate) received: SystemTime,
    /// When it was said, by the office's clock.
    pub(crate) at: SystemTime,
    /// Whether nothing was heard since for too long.
    pub(crate) is_silent: bool,
}

/// A machine in one of its boots, and the latest it has said, in microseconds of that boot.
#[derive(Debug)]
struct Face {
    machine: Option<String>,
    boot: String,
    mono: u64,
    /// When its monotonic clock began, by the office's.
    zero: SystemTime,
}

/// A till.
#[derive(Debug)]
struct Till {
    state: Option<State>,
    /// Whether the configuration has it.
    is_listed: bool,
    received: SystemTime,
    /// `None` if that is longer ago than the clock reaches back.
    heard: Option<Instant>,
    offset_ms: i64,
    /// Those that have spoken, the latest last.
    faces: Vec<Face>,
    /// When one spoke again after another had.
    twice: Option<Instant>,
    row: Arc<Row>,
}

/// All tills.
#[derive(Debug)]
pub(crate) struct Fleet {
    heartbeat: Duration,
    tills: BTreeMap<String, Till>,
    /// Grows with each change of a row.
    generation: u64,
}

impl Fleet {
    /// Nobody yet.
    pub(crate) fn new(heartbeat: Duration) -> Self {
        Self {
            heartbeat,
            tills: BTreeMap::new(),
            generation: 0,
        }
    }

    /// There should be this till, whoever else there is.
    pub(crate) fn expect(&mut self, name: &str) {
        self.generation += 1;
        let till = || Till::new(name);
        let till = self.tills.entry(name.to_owned()).or_insert_with(till);
        till.is_listed = true;
    }

    /// There should be these tills, and none beside them that nobody lists and that was never heard. The rows of those
    /// that are new.
    pub(crate) fn enrolled(&mut self, names: &BTreeSet<String>) -> Vec<Arc<Row>> {
        let before = self.tills.len();
        self.tills
            .retain(|name, till| till.is_listed || till.state.is_some() || names.contains(name));
        let gone = before - self.tills.len();
        let new = names.iter().filter(|name| !self.tills.contains_key(*name));
        let new: Vec<&String> = new.collect();
        let mut rows = Vec::new();
        for name in new {
            let till = Till::new(name);
            rows.push(Arc::clone(&till.row));
            self.tills.insert(name.clone(), till);
        }
        self.generation += u64::from(gone > 0 || !rows.is_empty());
        rows
    }

    /// What was known before central was started again, if the till hasn't been heard since.
    pub(crate) fn restore(&mut self, state: State, received: SystemTime, now: Moment) {
        let known = self.tills.get(&state.till);
        if known.is_some_and(|till| till.state.is_some()) {
            return;
        }
        let age = now.wall.duration_since(received).unwrap_or_default();
        let then = Moment {
            mono: now.mono,
            wall: received,
        };
        let name = state.till.clone();
        self.apply(state, then);
        if let Some(till) = self.tills.get_mut(&name) {
            till.heard = now.mono.checked_sub(age);
            till.row = Arc::new(till.shown(self.heartbeat, now));
        }
        self.generation += 1;
    }

    /// A till says how it is. Its row, if that has changed; nothing comes of what it had said before.
    pub(crate) fn apply(&mut self, state: State, now: Moment) -> Option<Arc<Row>> {
        let name = state.till.clone();
        let till = self
            .tills
            .entry(name)
            .or_insert_with_key(|name| Till::new(name));
        if !till.recognise(&state, now) {
            return None;
        }
        let offset = offset_ms(state.time, now.wall);
        if till.state.is_none() || offset.abs_diff(till.offset_ms) > OFFSET_NOISE_MS {
            till.offset_ms = offset;
        }
        till.state = Some(state);
        till.received = now.wall;
        till.heard = Some(now.mono);
        let changed = till.renew(self.heartbeat, now);
        self.generation += u64::from(changed.is_some());
        changed
    }

    /// Time has passed: the rows that have changed by that alone.
    pub(crate) fn tick(&mut self, now: Moment) -> Vec<Arc<Row>> {
        let tills = self.tills.values_mut();
        let due = tills.filter(|till| till.is_due(self.heartbeat, now));
        let changed = due.filter_map(|till| till.renew(self.heartbeat, now));
        let changed: Vec<Arc<Row>> = changed.collect();
        self.generation += changed.len() as u64;
        changed
    }

    /// When something was that a till tells by the monotonic clock of a boot, in microseconds; `None` if it was never
    /// heard in that boot. How long the message took doesn't matter.
    pub(crate) fn office_time(&self, till: &str, boot: &str, mono: i64) -> Option<SystemTime> {
        let faces = &self.tills.get(till)?.faces;
        let face = faces.iter().rev().find(|face| face.boot == boot)?;
        face.zero
            .checked_add(Duration::from_micros(u64::try_from(mono).ok()?))
    }

    /// Grows with each change, so that what was made of the rows can be kept as long.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// What a till has said last, if it was ever heard.
    pub(crate) fn heard(&self, till: &str, now: Moment) -> Option<Heard> {
        let till = self.tills.get(till)?;
        let state = till.state.clone()?;
        let face = till.faces.last()?;
        Some(Heard {
            at: face.zero.checked_add(Duration::from_micros(state.mono))?,
            state,
            received: till.received,
            is_silent: till.is_silent(self.heartbeat, now),
        })
    }

    /// What tills have said last.
    pub(crate) fn all_heard(&self, tills: &BTreeSet<String>, now: Moment) -> Vec<Heard> {
        let heard = tills.iter().filter_map(|till| self.heard(till, now));
        heard.collect()
    }

    /// A till's row, if there is such a till.
    pub(crate) fn row(&self, till: &str) -> Option<Arc<Row>> {
        self.tills.get(till).map(|till| Arc::clone(&till.row))
    }

    /// All rows, worst first.
    pub(crate) fn rows(&self) -> Vec<Arc<Row>> {
        let rows = self.tills.values().map(|till| Arc::clone(&till.row));
        let mut rows: Vec<Arc<Row>> = rows.collect();
        // Stable: of the same rank they are by name.
        rows.sort_by_key(|row| row.rank());
        rows
    }
}

impl Till {
    fn new(name: &str) -> Self {
        Self {
            state: None,
            is_listed: false,
            received: SystemTime::UNIX_EPOCH,
            heard: None,
            offset_ms: 0,
            faces: Vec::new(),
            twice: None,
            row: Arc::new(Row {
                till: name.to_owned(),
                store: None,
                state: Standing::NeverSeen,
                since: None,
                heard: None,
                paused_until: None,
                programs: Vec::new(),
                backlog: 0,
                clock_offset_ms: 0,
                same_identity: false,
                versions: BTreeMap::new(),
                labels: BTreeMap::new(),
            }),
        }
    }

    /// Whether a state is news. A machine that is replaced, or booted, doesn't speak again as it was before: if it does,
    /// there are two. What the broker delivers again isn't newer than what was heard.
    fn recognise(&mut self, state: &State, now: Moment) -> bool {
        let is_it = |face: &Face| face.machine == state.machine_id && face.boot == state.boot;
        let known = self.faces.iter().position(is_it);
        let began = now.wall.checked_sub(Duration::from_micros(state.mono));
        let mut zero = began.unwrap_or(SystemTime::UNIX_EPOCH);
        if let Some(known) = known {
            if state.mono <= self.faces[known].mono {
                return false;
            }
            if known + 1 < self.faces.len() {
                self.twice = Some(now.mono);
            }
            let earlier = self.faces.remove(known).zero;
            // The message that took the least time is the nearest to the truth.
            if offset_ms(zero, earlier).unsigned_abs() <= OFFSET_NOISE_MS {
                zero = zero.min(earlier);
            }
        } else if self.faces.len() == FACES_MAX {
            self.faces.remove(0);
        }
        self.faces.push(Face {
            machine: state.machine_id.clone(),
            boot: state.boot.clone(),
            mono: state.mono,
            zero,
        });
        true
    }

    fn is_silent(&self, heartbeat: Duration, now: Moment) -> bool {
        let age = self
            .heard
            .map(|heard| now.mono.saturating_duration_since(heard));
        age.is_none_or(|age| age >= heartbeat * MISSED)
    }

    fn is_two(&self, now: Moment) -> bool {
        let age = self.twice.map(|at| now.mono.saturating_duration_since(at));
        age.is_some_and(|age| age < TWICE)
    }

    /// Whether time alone has changed its row.
    fn is_due(&self, heartbeat: Duration, now: Moment) -> bool {
        let is_silent = self.state.is_some() && self.is_silent(heartbeat, now);
        is_silent != (self.row.state == Standing::Silent)
            || self.is_two(now) != self.row.same_identity
    }

    fn renew(&mut self, heartbeat: Duration, now: Moment) -> Option<Arc<Row>> {
        let row = Arc::new(self.shown(heartbeat, now));
        let is_like = row.is_like(&self.row);
        self.row = row;
        (!is_like).then(|| Arc::clone(&self.row))
    }

    fn shown(&self, heartbeat: Duration, now: Moment) -> Row {
        let Some(state) = &self.state else {
            return Row::clone(&self.row);
        };
        let processes = state.processes.as_deref().unwrap_or_default();
        let worst = processes
            .iter()
            .map(|process| Standing::of(&process.state))
            .min();
        let told = worst.unwrap_or(Standing::Unknown);
        let is_silent = self.is_silent(heartbeat, now);
        let office = |time| timestamp(corrected(time, self.offset_ms));
        let of_it = || {
            processes
                .iter()
                .filter(|process| Standing::of(&process.state) == told)
        };
        let since = match (is_silent, told) {
            (true, _) => Some(self.received),
            // All of them are up since the last one came.
            (false, Standing::Up) => of_it().map(|process| process.since).max(),
            (false, _) => of_it().map(|process| process.since).min(),
        };
        let paused_until = processes
            .iter()
            .filter_map(|process| process.paused_until)
            .max();
        Row {
            till: state.till.clone(),
            store: state.labels.get("store").cloned(),
            state: if is_silent { Standing::Silent } else { told },
            since: since.map(|since| {
                if is_silent {
                    timestamp(since)
                } else {
                    office(since)
                }
            }),
            heard: Some(timestamp(self.received)),
            paused_until: paused_until.map(office),
            programs: processes
                .iter()
                .map(|process| program(process, office))
                .collect(),
            backlog: state.backlog,
            clock_offset_ms: self.offset_ms,
            same_identity: self.is_two(now),
            versions: state.versions.clone(),
            labels: state.labels.clone(),
        }
    }
}

fn program(process: &Process, office: impl Fn(SystemTime) -> String) -> Program {
    Program {
        key: process.key.clone(),
        name: process.name.clone(),
        state: process.state.clone(),
        runs: !process.pids.is_empty(),
        since: office(process.since),
        restarts: process.restarts,
        paused_until: process.paused_until.map(office),
        detail: process.detail.clone(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    const HEARTBEAT: Duration = Duration::from_secs(60);

    pub(crate) fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds)
    }

    /// A till's state with these states of its programs, sent at so many seconds of its boot.
    pub(crate) fn state(till: &str, mono: u64, programs: &[&str]) -> State {
        let programs = programs.iter().enumerate().map(|(n, state)| {
            json!({"key": format!("p{n}"), "name": format!("P{n}"), "state": state,
                "pids": if *state == "up" { vec![1] } else { vec![] },
                "since": timestamp(at(n as u64)), "restarts": 2, "detail": null})
        });
        let value = json!({
            "source": till, "boot": "a".repeat(32), "mono": mono * 1_000_000, "time": timestamp(at(mono)),
            "backlog": 0, "machine_id": "b".repeat(32), "versions": {"relay": "0.1.0"},
            "labels": {"store": "12"}, "processes": programs.collect::<Vec<Value>>(),
        });
        serde_json::from_value(value).unwrap()
    }

    struct Clock(Moment);

    impl Clock {
        fn new() -> Self {
            Self(Moment {
                mono: Instant::now(),
                wall: at(0),
            })
        }

        fn after(&self, seconds: u64) -> Moment {
            let time = Duration::from_secs(seconds);
            Moment {
                mono: self.0.mono + time,
                wall: self.0.wall + time,
            }
        }
    }

    fn standing(fleet: &Fleet, till: &str) -> Standing {
        fleet.row(till).unwrap().state
    }

    #[test]
    fn the_worst_program_counts() {
        let clock = Clock::new();
        for (programs, expected) in [
            (&["up", "up"][..], Standing::Up),
            (&["up", "waiting"], Standing::Waiting),
            (&["paused", "waiting"], Standing::Paused),
            (&["paused", "down"], Standing::Down),
            (&["up", "unhealthy"], Standing::Down),
            (&["up", "starting"], Standing::Down),
            (&["up", "unknown"], Standing::Unknown),
            (&["up", "dancing"], Standing::Unknown),
            (&[], Standing::Unknown),
        ] {
            let mut fleet = Fleet::new(HEARTBEAT);
            let row = fleet
                .apply(state("t", 1, programs), clock.after(1))
                .unwrap();
            assert_eq!(row.state, expected, "{programs:?}");
        }
        let schema: Value = serde_json::from_str(mfe_kit::schema::STATUS_SCHEMA).unwrap();
        let words = schema["$defs"]["process"]["properties"]["state"]["enum"]
            .as_array()
            .unwrap();
        let unknown = words
            .iter()
            .filter(|word| Standing::of(word.as_str().unwrap()) == Standing::Unknown);
        assert_eq!(unknown.collect::<Vec<_>>(), [&json!("unknown")]);
    }

    #[test]
    fn who_is_not_heard_is_silent_neither_up_nor_down() {
        let clock = Clock::new();
        let mut fleet = Fleet::new(HEARTBEAT);
        fleet.expect("t");
        assert_eq!(standing(&fleet, "t"), Standing::NeverSeen);
        fleet.apply(state("t", 0, &["up"]), clock.after(0)).unwrap();
        assert_eq!(fleet.tick(clock.after(179)), []);
        let silent = fleet.tick(clock.after(180));
        assert_eq!((silent.len(), silent[0].state), (1, Standing::Silent));
        assert_eq!(silent[0].since, silent[0].heard);
        assert_eq!(fleet.tick(clock.after(181)), []);
        assert_eq!(
            fleet
                .apply(state("t", 200, &["up"]), clock.after(200))
                .unwrap()
                .state,
            Standing::Up
        );
    }

    #[test]
    fn enrolled_tills_are_there_until_they_are_revoked_or_heard() {
        let clock = Clock::new();
        let mut fleet = Fleet::new(HEARTBEAT);
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let rows = |fleet: &Fleet| {
            let rows = fleet.rows();
            rows.iter()
                .map(|row| (row.till.clone(), row.state))
                .collect::<Vec<_>>()
        };
        fleet.expect("listed");
        let new = fleet.enrolled(&names(&["a", "b", "listed"]));
        assert_eq!(
            new.iter().map(|row| &*row.till).collect::<Vec<_>>(),
            ["a", "b"]
        );
        let generation = fleet.generation();
        assert_eq!(fleet.enrolled(&names(&["a", "b"])), []);
        assert_eq!(fleet.generation(), generation, "nothing is new");
        fleet.apply(state("a", 1, &["up"]), clock.after(1));
        // One was heard, the other revoked.
        assert_eq!(fleet.enrolled(&names(&[])), []);
        assert!(fleet.generation() > generation);
        let left = [("listed", Standing::NeverSeen), ("a", Standing::Up)];
        assert_eq!(
            rows(&fleet),
            left.map(|(till, state)| (till.to_owned(), state))
        );
    }

    #[test]
    fn a_restart_of_central_forgets_nobody_and_believes_nothing_old() {
        let clock = Clock::new();
        let mut fleet = Fleet::new(HEARTBEAT);
        fleet.restore(state("recent", 900, &["down"]), at(900), clock.after(1000));
        fleet.restore(state("old", 5, &["up"]), at(5), clock.after(1000));
        assert_eq!(standing(&fleet, "recent"), Standing::Down);
        assert_eq!(standing(&fleet, "old"), Standing::Silent);
        assert_eq!(fleet.row("old").unwrap().since, Some(timestamp(at(5))));
        assert_eq!(fleet.tick(clock.after(1080))[0].till, "recent");
    }

    #[test]
    fn a_heartbeat_alone_is_no_news_and_what_comes_again_neither() {
        let clock = Clock::new();
        let mut fleet = Fleet::new(HEARTBEAT);
        fleet.apply(state("t", 1, &["up"]), clock.after(1)).unwrap();
        assert_eq!(fleet.apply(state("t", 61, &["up"]), clock.after(62)), None);
        assert_eq!(fleet.row("t").unwrap().heard, Some(timestamp(at(62))));
        // An old state, delivered again, isn't how it is.
        assert_eq!(fleet.apply(state("t", 1, &["down"]), clock.after(63)), None);
        assert_eq!(standing(&fleet, "t"), Standing::Up);
        let generation = fleet.generation();
        fleet
            .apply(state("t", 70, &["down"]), clock.after(70))
            .unwrap();
        assert!(fleet.generation() > generation);
    }

    #[test]
    fn two_machines_as_one_till_are_told_and_a_move_is_not() {
        let clock = Clock::new();
        let mut fleet = Fleet::new(HEARTBEAT);
        let other = |mono| State {
            boot: "c".repeat(32),
            machine_id: Some("d".repeat(32)),
            ..state("t", mono, &["up"])
        };
        fleet.apply(state("t", 100, &["up"]), clock.after(100));
        fleet.apply(other(5), clock.after(160));
        assert!(
            !fleet.row("t").unwrap().same_identity,
            "it may have been moved"
        );
        // Delivered again.
        fleet.apply(state("t", 100, &["up"]), clock.after(161));
        assert!(!fleet.row("t").unwrap().same_identity);
        let told = fleet
            .apply(state("t", 165, &["up"]), clock.after(165))
            .unwrap();
        assert!(told.same_identity);
        fleet.apply(other(65), clock.after(170));
        fleet.apply(other(4000), clock.after(3000));
        let over = fleet.tick(clock.after(3770 + 1));
        assert!(over.iter().all(|row| !row.same_identity) && !over.is_empty());
    }

    #[test]
    fn a_clock_that_is_wrong_is_told_and_times_are_the_offices() {
        let clock = Clock::new();
        let mut fleet = Fleet::new(HEARTBEAT);
        let mut wrong = state("t", 10, &["down"]);
        wrong.time = at(10) + Duration::from_secs(86_400);
        wrong.processes.as_mut().unwrap()[0].since = at(4) + Duration::from_secs(86_400);
        let row = fleet.apply(wrong, clock.after(10)).unwrap();
        assert!(row.is_clock_wrong());
        assert_eq!(row.since, Some(timestamp(at(4))));
        assert!(
            !fleet
                .apply(state("u", 10, &["up"]), clock.after(11))
                .unwrap()
                .is_clock_wrong()
        );
    }

    #[test]
    fn when_something_was_is_known_of_each_boot_that_was_heard() {
        let clock = Clock::new();
        let mut fleet = Fleet::new(HEARTBEAT);
        fleet.apply(state("t", 100, &["up"]), clock.after(1100));
        // It took a second longer.
        fleet.apply(state("t", 110, &["up"]), clock.after(1111));
        let later = State {
            boot: "c".repeat(32),
            ..state("t", 10, &["up"])
        };
        fleet.apply(later, clock.after(2000));
        let time = |boot: &str, mono| fleet.office_time("t", &boot.repeat(32), mono);
        assert_eq!(time("a", 30_000_000), Some(at(1030)));
        assert_eq!(time("c", 5_000_000), Some(at(1995)));
        assert_eq!(time("d", 5_000_000), None);
        assert_eq!(time("a", -1), None);
        assert_eq!(fleet.office_time("u", &"a".repeat(32), 5), None);
    }

    #[test]
    fn the_worst_are_first() {
        let clock = Clock::new();
        let mut fleet = Fleet::new(HEARTBEAT);
        for (till, program) in [
            ("a", "up"),
            ("b", "paused"),
            ("c", "down"),
            ("d", "waiting"),
            ("e", "up"),
        ] {
            fleet.apply(state(till, 1, &[program]), clock.after(1));
        }
        fleet.expect("f");
        let elsewhere = State {
            boot: "c".repeat(32),
            ..state("e", 1, &["up"])
        };
        fleet.apply(elsewhere, clock.after(2));
        fleet.apply(state("e", 2, &["up"]), clock.after(3));
        let order: Vec<String> = fleet.rows().iter().map(|row| row.till.clone()).collect();
        assert_eq!(order, ["c", "e", "f", "b", "d", "a"]);
    }

    proptest! {
        /// Whoever was heard within three heartbeats is never silent, whoever wasn't always; and every change is told.
        #[test]
        fn silence_is_told_exactly(gaps in prop::collection::vec((0_u64..400, any::<bool>()), 1..50)) {
            let clock = Clock::new();
            let mut fleet = Fleet::new(HEARTBEAT);
            fleet.expect("t");
            let mut told = fleet.row("t").unwrap();
            let (mut now, mut heard) = (0, None);
            for (gap, speaks) in gaps {
                now += gap;
                let changed = if speaks {
                    heard = Some(now);
                    // The till's clock of its boot goes on meanwhile.
                    fleet.apply(state("t", now + 1, &["up"]), clock.after(now))
                } else {
                    fleet.tick(clock.after(now)).pop()
                };
                told = changed.unwrap_or(told);
                let expected = match heard {
                    None => Standing::NeverSeen,
                    Some(heard) if now - heard < 180 => Standing::Up,
                    // What was said in the same second of its boot is no news.
                    Some(_) => Standing::Silent,
                };
                if gap > 0 || !speaks {
                    prop_assert_eq!(standing(&fleet, "t"), expected);
                    prop_assert_eq!(told.state, expected);
                }
            }
        }
    }
}
