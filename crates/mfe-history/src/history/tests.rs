use proptest::prelude::*;

use super::*;
use crate::kept::Kept;
use crate::order::{Order, Written};

const SECOND: u64 = 1_000_000;
const HOUR: u64 = 3600 * SECOND;

/// Where the scripted history begins, by the wall clock.
const BEGIN: u64 = 1_800_000_000 * SECOND;

/// When the boot began in which it is told, before that.
const UPTIME: u64 = 10 * HOUR;

const PID: i32 = 77;

/// A moment so many seconds after the beginning.
fn at(seconds: u64) -> Moment {
    Moment {
        boot: 1,
        monotonic: UPTIME + seconds * SECOND,
        wall: BEGIN + seconds * SECOND,
    }
}

/// The same, when the wall clock is this much ahead of what it was.
fn ahead(seconds: u64, by: i64) -> Moment {
    let at = at(seconds);
    let wall = at.wall.saturating_add_signed(by * 1_000_000);
    Moment { wall, ..at }
}

/// A moment so many seconds after the beginning, in another boot that began then.
fn booted(seconds: u64) -> Moment {
    Moment {
        boot: 2,
        monotonic: SECOND,
        ..at(seconds)
    }
}

fn of(kind: Kind, process: Option<&str>) -> Event {
    Event {
        pid: PID,
        kind,
        process: process.map(str::to_owned),
        process_pid: None,
        cause: None,
        signal: None,
        outage: None,
        unwatched: None,
    }
}

fn said(at: Moment, kind: Kind) -> Entry {
    let sign = Sign::Event(of(kind, None));
    signed(at, sign)
}

fn told(at: Moment, kind: Kind) -> Entry {
    let sign = Sign::Event(of(kind, Some("a")));
    signed(at, sign)
}

fn down(at: Moment, cause: &str) -> Entry {
    let event = Event {
        cause: Some(cause.into()),
        signal: None,
        ..of(Kind::Down, Some("a"))
    };
    let sign = Sign::Event(event);
    signed(at, sign)
}

fn restarted(at: Moment, outage_ms: u64) -> Entry {
    let event = Event {
        cause: Some("killed".into()),
        signal: None,
        outage: Some(Duration::from_millis(outage_ms)),
        ..of(Kind::Restarted, Some("a"))
    };
    let sign = Sign::Event(event);
    signed(at, sign)
}

fn signed(at: Moment, sign: Sign) -> Entry {
    Entry {
        at,
        number: None,
        sign,
    }
}

fn running() -> Running {
    Running {
        pid: PID,
        watched: Some(watching("a", Present::Unknown)),
        latest: None,
    }
}

fn watching(key: &str, present: Present) -> BTreeMap<String, Present> {
    BTreeMap::from([(key.to_owned(), present)])
}

/// What is known of the last `period` seconds before `now`.
fn past(entries: &[Entry], now: Moment, period: u64, running: Option<&Running>) -> Past {
    let mut history = History::new(now, Duration::from_secs(period));
    for entry in entries {
        history.take(entry);
    }
    history.finish(running)
}

/// What is known of process `a`: the beginning of each interval in seconds, and how it was.
fn intervals(past: &Past) -> Vec<(i64, char)> {
    let intervals = past.processes["a"].intervals.iter();
    intervals
        .map(|interval| {
            let from = i64::try_from(interval.from).unwrap() - i64::try_from(BEGIN).unwrap();
            let letter = match interval.state {
                State::Up => 'u',
                State::Down(_) => 'd',
                State::NobodyLoggedIn => 'w',
                State::NotObserved(Reason::NoRecord) => '-',
                State::NotObserved(Reason::NotRunning) => 'n',
                State::NotObserved(Reason::Off) => 'o',
                State::NotObserved(Reason::Booting) => 'b',
                State::NotObserved(Reason::Unknown) => '?',
                State::NotObserved(Reason::ClockAhead) => 'c',
                State::NotObserved(Reason::Removed) => 'r',
                State::NotObserved(Reason::Lost) => 'l',
            };
            (from / 1_000_000, letter)
        })
        .collect()
}

fn a(past: &Past) -> &Record {
    &past.processes["a"]
}

#[test]
fn a_scripted_week_is_told_to_the_second() {
    let entries = [
        said(at(100), Kind::Startup),
        told(at(101), Kind::Adopted),
        down(at(1000), "killed"),
        told(at(1000), Kind::Starting),
        restarted(at(1009), 9000),
        down(at(2000), "exited"),
        told(at(2030), Kind::StartFailed),
        restarted(at(5600), 3_600_000),
        told(at(6000), Kind::Unhealthy),
        told(at(6100), Kind::Recovered),
        told(at(7000), Kind::Unknown),
        told(at(7060), Kind::Up),
        said(at(8000), Kind::Shutdown),
        said(at(9000), Kind::Startup),
        down(at(9001), "absent"),
        told(at(9021), Kind::Up),
        down(at(9990), "gone"),
    ];
    let past = past(&entries, at(10_000), 10_000, Some(&running()));
    assert_eq!((past.from, past.to), (BEGIN, BEGIN + 10_000 * SECOND));
    let expected = [
        (0, '-'),
        (101, 'u'),
        (1000, 'd'),
        (1009, 'u'),
        (2000, 'd'),
        (5600, 'u'),
        (7000, '?'),
        (7060, 'u'),
        (8000, 'n'),
        (9001, 'd'),
        (9021, 'u'),
        (9990, 'd'),
    ];
    assert_eq!(intervals(&past), expected);
    let record = a(&past);
    assert_eq!((record.restarts, record.unhealthy), (2, 1));
    let seen = |outage: &Outage| {
        let cause = outage.cause.clone().unwrap();
        let Outage {
            is_begin_seen,
            is_end_seen,
            start_failed,
            ..
        } = *outage;
        (cause, is_begin_seen, is_end_seen, start_failed)
    };
    assert_eq!(
        record.outages.iter().map(seen).collect::<Vec<_>>(),
        [
            ("killed".into(), true, true, false),
            ("exited".into(), true, true, true),
            ("absent".into(), false, true, false),
            ("gone".into(), true, false, false),
        ]
    );
}

#[test]
fn a_service_that_is_quiet_is_still_watching_if_it_runs() {
    let entries = [said(at(0), Kind::Startup), told(at(1), Kind::Up)];
    let of_period = |running: Option<&Running>| past(&entries, at(3600 * 99), 3600, running);
    assert_eq!(intervals(&of_period(Some(&running())))[0].1, 'u');
    let other = Running {
        pid: 78,
        ..running()
    };
    assert_eq!(intervals(&of_period(Some(&other)))[0].1, 'n');
    assert!(
        of_period(None).processes.is_empty(),
        "nothing is known of it"
    );
}

#[test]
fn what_the_watchdog_has_measured_counts() {
    // It was made to end at 95, was gone at 100, and the message of that came at 101.
    let entries = [
        said(at(0), Kind::Startup),
        told(at(0), Kind::Up),
        down(at(101), "unhealthy"),
        restarted(at(105), 10_000),
        // The message of its end is lost.
        restarted(at(205), 5000),
    ];
    let past = past(&entries, at(300), 300, Some(&running()));
    let expected = [(0, 'u'), (95, 'd'), (105, 'u'), (200, 'd'), (205, 'u')];
    assert_eq!(intervals(&past), expected);
}

#[test]
fn a_journal_that_has_lost_its_beginning_is_believed_as_far_as_it_goes() {
    let past = past(&[restarted(at(205), 5000)], at(300), 300, Some(&running()));
    assert_eq!(intervals(&past), [(0, '-'), (200, 'd'), (205, 'u')]);
}

#[test]
fn a_process_that_is_watched_and_never_mentioned_is_not_observed() {
    let past = past(
        &[said(at(0), Kind::Startup)],
        at(300),
        300,
        Some(&running()),
    );
    assert_eq!(intervals(&past), [(0, '-')]);
}

#[test]
fn a_crash_is_known_by_what_systemd_says_of_it() {
    let begin = [said(at(0), Kind::Startup), told(at(1), Kind::Up)];
    let again = [
        signed(at(101), Sign::Alive),
        said(at(102), Kind::Startup),
        told(at(103), Kind::Adopted),
    ];
    let ended = [&begin[..], &[signed(at(100), Sign::Ended)], &again].concat();
    let past_of = |entries: &[Entry]| past(entries, at(300), 299, Some(&running()));
    assert_eq!(
        intervals(&past_of(&ended)),
        [(1, 'u'), (100, 'n'), (103, 'u')]
    );
    // Without that, it was last heard of when it spoke, or the machine was seen to go on.
    let silent = [&begin[..], &again].concat();
    assert_eq!(
        intervals(&past_of(&silent)),
        [(1, 'u'), (101, 'n'), (103, 'u')]
    );
}

#[test]
fn an_end_that_hooks_still_speak_after_is_one() {
    let entries = [
        said(at(0), Kind::Startup),
        told(at(1), Kind::Up),
        said(at(100), Kind::Shutdown),
        said(at(101), Kind::HookFailed),
        signed(at(102), Sign::Ended),
    ];
    let past = past(&entries, at(300), 299, None);
    assert_eq!(intervals(&past), [(1, 'u'), (100, 'n')]);
}

#[test]
fn while_the_machine_is_off_nothing_is_observed() {
    let begin = [said(at(0), Kind::Startup), told(at(1), Kind::Up)];
    let again = [
        said(booted(1000), Kind::Startup),
        told(booted(1000), Kind::Adopted),
    ];
    let now = Moment {
        monotonic: 101 * SECOND,
        ..booted(1100)
    };
    let entries = [&begin[..], &[signed(at(500), Sign::Alive)], &again].concat();
    assert_eq!(
        intervals(&past(&entries, now, 1099, Some(&running()))),
        [(1, 'u'), (500, 'o'), (999, 'n'), (1000, 'u')]
    );
    let entries = [&begin[..], &again].concat();
    assert_eq!(
        intervals(&past(&entries, now, 1099, Some(&running()))),
        [(1, 'o'), (999, 'n'), (1000, 'u')]
    );
    // The watchdog was stopped while the machine went on.
    let stopped = [said(at(300), Kind::Shutdown), signed(at(500), Sign::Alive)];
    let entries = [&begin[..], &stopped, &again].concat();
    assert_eq!(
        intervals(&past(&entries, now, 1099, Some(&running()))),
        [(1, 'u'), (300, 'n'), (500, 'o'), (999, 'n'), (1000, 'u')]
    );
}

#[test]
fn the_first_start_after_a_boot_is_no_outage_unless_it_fails() {
    let now = Moment {
        monotonic: 101 * SECOND,
        ..booted(1100)
    };
    let later = |seconds: u64| Moment {
        monotonic: (seconds - 999) * SECOND,
        ..booted(seconds)
    };
    let before = [said(at(0), Kind::Startup), told(at(1), Kind::Up)];
    let booting = [
        said(booted(1000), Kind::Startup),
        down(booted(1000), "absent"),
    ];
    let up = told(later(1020), Kind::Up);
    let entries = [&before[..], &booting, std::slice::from_ref(&up)].concat();
    let told_of = past(&entries, now, 100, Some(&running()));
    assert_eq!(intervals(&told_of), [(1000, 'b'), (1020, 'u')]);
    assert_eq!(a(&told_of).outages, []);

    let failed = told(later(1010), Kind::StartFailed);
    let entries = [&before[..], &booting, &[failed, up]].concat();
    let told_of = past(&entries, now, 100, Some(&running()));
    assert_eq!(intervals(&told_of), [(1000, 'd'), (1020, 'u')]);
    let outage = Outage {
        cause: Some("absent".into()),
        start_failed: true,
        is_end_seen: true,
        ..Outage::default()
    };
    assert_eq!(a(&told_of).outages, [outage]);

    // Who comes second in a boot, and finds it gone, has missed its end.
    let entries = [
        &before[..],
        &[
            said(at(50), Kind::Shutdown),
            said(at(60), Kind::Startup),
            down(at(60), "absent"),
            told(at(70), Kind::Up),
        ],
    ]
    .concat();
    let told_of = past(&entries, at(100), 40, Some(&running()));
    assert_eq!(intervals(&told_of), [(60, 'd'), (70, 'u')]);
}

#[test]
fn a_period_may_end_before_the_present() {
    let entries = [
        said(at(0), Kind::Startup),
        told(at(1), Kind::Up),
        down(at(100), "killed"),
        restarted(at(300), 200_000),
        down(at(400), "killed"),
        restarted(at(410), 10_000),
    ];
    let told_of = |period: u64, ago: u64| {
        let mut history =
            History::new(at(500), Duration::from_secs(period)).until(Duration::from_secs(ago));
        for entry in &entries {
            history.take(entry);
        }
        history.finish(Some(&running()))
    };
    let past = told_of(450, 300);
    assert_eq!(intervals(&past), [(50, 'u'), (100, 'd')]);
    assert_eq!(
        (past.from, past.to),
        (BEGIN + 50 * SECOND, BEGIN + 200 * SECOND)
    );
    assert!(!past.is_until_now);
    let outages = &a(&past).outages;
    assert!(outages.len() == 1 && outages[0].is_begin_seen && !outages[0].is_end_seen);
    assert_eq!(a(&past).restarts, 0);
    assert_eq!(a(&told_of(450, 150)).restarts, 1);
    assert!(a(&told_of(450, 150)).outages[0].is_end_seen);
    assert!(told_of(450, 0).is_until_now);
}

#[test]
fn a_clock_that_is_set_back_makes_no_outage_longer_or_shorter() {
    let entries = [
        said(at(0), Kind::Startup),
        told(at(1), Kind::Up),
        down(at(100), "killed"),
        restarted(ahead(110, -3600), 10_000),
    ];
    let now = ahead(200, -3600);
    let past = past(&entries, now, 200, Some(&running()));
    let record = a(&past);
    let down = record
        .intervals
        .iter()
        .find(|one| matches!(one.state, State::Down(_)));
    assert_eq!(down.unwrap().length(), 10 * SECOND);
    assert_eq!(past.to, now.wall);
    // All of it is told by the clock as it is now.
    assert_eq!(down.unwrap().from, now.wall - 100 * SECOND);
}

#[test]
fn where_the_clock_gets_ahead_nobody_has_watched() {
    let entries = [
        said(at(0), Kind::Startup),
        told(at(1), Kind::Up),
        down(at(100), "killed"),
        restarted(ahead(110, 3600), 10_000),
    ];
    let past = past(&entries, ahead(200, 3600), 3799, Some(&running()));
    let expected = [(1, 'u'), (100, 'd'), (110, 'c'), (3710, 'u')];
    assert_eq!(intervals(&past), expected);
}

#[test]
fn an_outage_that_the_machine_sleeps_through_is_one() {
    let entries = [
        said(at(0), Kind::Startup),
        told(at(1), Kind::Up),
        down(at(100), "killed"),
        signed(at(105), Sign::Alive),
        signed(ahead(105, 3600), Sign::Alive),
        restarted(ahead(110, 3600), 10_000),
    ];
    let past = past(&entries, ahead(200, 3600), 3799, Some(&running()));
    let expected = [(1, 'u'), (100, 'd'), (105, 'c'), (3705, 'd'), (3710, 'u')];
    assert_eq!(intervals(&past), expected);
    assert_eq!(a(&past).outages.len(), 1);
}

#[test]
fn a_clock_that_shows_the_future_is_not_believed() {
    let years = 4 * 366 * 86400;
    let entries = [
        said(at(0), Kind::Startup),
        told(at(1), Kind::Up),
        down(ahead(100, years), "killed"),
        restarted(ahead(110, years), 10_000),
    ];
    let past = past(&entries, at(200), 199, Some(&running()));
    assert_eq!(intervals(&past), [(1, 'u'), (100, 'd'), (110, 'u')]);
}

#[test]
fn a_process_that_a_reload_has_removed_is_no_longer_observed() {
    let entries = [
        said(at(0), Kind::Startup),
        told(at(1), Kind::Up),
        said(at(100), Kind::Reloaded),
    ];
    let without = Running {
        watched: Some(watching("b", Present::Unknown)),
        ..running()
    };
    let of_period = |running: Option<&Running>| past(&entries, at(200), 199, running);
    assert_eq!(intervals(&of_period(Some(&running()))), [(1, 'u')]);
    assert_eq!(
        intervals(&of_period(Some(&without))),
        [(1, 'u'), (100, 'r')]
    );
    let blind = Running {
        watched: None,
        ..running()
    };
    assert_eq!(intervals(&of_period(Some(&blind))), [(1, 'u'), (100, 'r')]);
}

#[test]
fn what_lies_before_the_period_is_cut_off() {
    let entries = [
        said(at(0), Kind::Startup),
        told(at(1), Kind::Up),
        down(at(100), "killed"),
        restarted(at(300), 200_000),
    ];
    let past = past(&entries, at(400), 200, Some(&running()));
    assert_eq!(intervals(&past), [(200, 'd'), (300, 'u')]);
    assert!(!a(&past).outages[0].is_begin_seen, "within the period");
}

#[test]
fn an_outage_in_a_pause_is_one_and_is_known_as_that() {
    let entries = [
        said(at(0), Kind::Startup),
        told(at(1), Kind::Up),
        told(at(50), Kind::Paused),
        down(at(100), "killed"),
        told(at(150), Kind::Resumed),
        restarted(at(151), 51_000),
        down(at(200), "killed"),
        told(at(205), Kind::Paused),
        restarted(at(210), 10_000),
        told(at(215), Kind::Resumed),
        down(at(250), "killed"),
    ];
    let past = past(&entries, at(300), 300, Some(&running()));
    let outages = a(&past).outages.iter();
    let in_pause: Vec<bool> = outages.map(|outage| outage.is_in_pause).collect();
    assert_eq!(in_pause, [true, true, false]);
}

/// The pid that a process has had.
fn with_pid(mut entry: Entry, pid: i32) -> Entry {
    if let Sign::Event(event) = &mut entry.sign {
        event.process_pid = Some(pid);
    }
    entry
}

/// The entries with the numbers of one run, without those of these numbers.
fn numbered(entries: Vec<Entry>, missing: &[u64]) -> Vec<Entry> {
    let numbered = entries.into_iter().zip(1..).map(|(mut entry, seq)| {
        entry.number = Some(Number { run: 9, seq });
        entry
    });
    let is_there = |entry: &Entry| {
        let number = entry.number.map(|number| number.seq);
        number.is_none_or(|seq| !missing.contains(&seq))
    };
    numbered.filter(is_there).collect()
}

/// The watchdog that runs now, which has sent so many messages and sees the process like this.
fn sent(seq: u64, present: Present) -> Running {
    Running {
        watched: Some(watching("a", present)),
        latest: Some(Number { run: 9, seq }),
        ..running()
    }
}

/// A process that died twice, and was unwell once in between.
fn two_deaths() -> Vec<Entry> {
    vec![
        said(at(0), Kind::Startup),
        with_pid(told(at(1), Kind::Up), 5),
        with_pid(down(at(100), "killed"), 5),
        told(at(100), Kind::Starting),
        with_pid(restarted(at(110), 10_000), 6),
        with_pid(told(at(150), Kind::Unhealthy), 6),
        with_pid(down(at(200), "killed"), 6),
        with_pid(restarted(at(220), 20_000), 7),
    ]
}

#[test]
fn where_messages_are_missing_nothing_is_claimed_but_what_the_others_prove() {
    let whole = [(1, 'u'), (100, 'd'), (110, 'u'), (200, 'd'), (220, 'u')];
    let of = |missing: &[u64]| {
        let entries = numbered(two_deaths(), missing);
        let running = sent(8, Present::Up(vec![7]));
        intervals(&past(&entries, at(300), 299, Some(&running)))
    };
    assert_eq!(of(&[]), whole);
    assert_eq!(of(&[4]), whole, "the measured outage begins where it did");
    // The first death is missing, and the next message says that another pid has been running since.
    assert_eq!(
        of(&[3, 4, 5]),
        [(1, 'l'), (150, 'u'), (200, 'd'), (220, 'u')]
    );
    // What was measured is known all the same.
    assert_eq!(
        of(&[3, 4]),
        [(1, 'l'), (100, 'd'), (110, 'u'), (200, 'd'), (220, 'u')]
    );
    assert_eq!(of(&[6]), whole, "the same pid before and after");
    // Nothing says when it was back from the first death.
    assert_eq!(
        of(&[5]),
        [(1, 'u'), (100, 'l'), (150, 'u'), (200, 'd'), (220, 'u')]
    );
    assert_eq!(of(&[5, 6]), [(1, 'u'), (100, 'l'), (200, 'd'), (220, 'u')]);
    // The service says itself that there was more, and that it runs.
    assert_eq!(of(&[8]), [(1, 'u'), (100, 'd'), (110, 'u'), (200, 'l')]);
    assert_eq!(of(&[7, 8]), [(1, 'u'), (100, 'd'), (110, 'u'), (150, 'l')]);
}

#[test]
fn what_is_missing_at_the_end_is_known_by_what_the_service_has_published() {
    let begin = || two_deaths()[..2].to_vec();
    let of = |seq: u64, present: Present| {
        let entries = numbered(begin(), &[]);
        intervals(&past(&entries, at(300), 299, Some(&sent(seq, present))))
    };
    assert_eq!(of(2, Present::Down), [(1, 'u')], "it is to be told");
    assert_eq!(of(4, Present::Up(vec![5])), [(1, 'u')], "all the time");
    assert_eq!(of(4, Present::Up(vec![6])), [(1, 'l')]);
    assert_eq!(of(4, Present::Down), [(1, 'l')]);
    // What was missing earlier is known to have been over since.
    let entries = numbered(
        [
            begin(),
            vec![signed(at(50), Sign::Alive), signed(at(90), Sign::Alive)],
        ]
        .concat(),
        &[3],
    );
    let of = |present: Present| intervals(&past(&entries, at(300), 299, Some(&sent(4, present))));
    assert_eq!(of(Present::Up(vec![5])), [(1, 'u')]);
    assert_eq!(of(Present::Up(vec![6])), [(1, 'l'), (90, 'u')]);
    assert_eq!(of(Present::Down), [(1, 'l'), (90, 'd')]);
    assert_eq!(of(Present::Unknown), [(1, 'l')]);
}

#[test]
fn what_is_there_twice_counts_once() {
    let entries = numbered(two_deaths(), &[]);
    let twice = [&entries[..4], &entries[2..]].concat();
    let running = sent(8, Present::Up(vec![7]));
    let of = |entries: &[Entry]| past(entries, at(300), 299, Some(&running));
    assert_eq!(of(&twice), of(&entries));
    assert_eq!(a(&of(&twice)).restarts, 2);
}

#[test]
fn a_run_that_another_one_follows_without_its_end_is_believed_as_far_as_it_spoke() {
    let mut again = [said(at(200), Kind::Startup), told(at(201), Kind::Adopted)];
    for (entry, seq) in again.iter_mut().zip(1..) {
        entry.number = Some(Number { run: 10, seq });
    }
    let begin = numbered(two_deaths()[..2].to_vec(), &[]);
    let entries = [&begin[..], &[signed(at(150), Sign::Alive)], &again].concat();
    let past = past(&entries, at(300), 300, Some(&running()));
    assert_eq!(intervals(&past), [(0, '-'), (1, 'n'), (201, 'u')]);
}

#[test]
fn a_run_that_was_stopped_and_does_not_say_so_has_lost_its_last_words() {
    let begin = || [&two_deaths()[..2], &[signed(at(50), Sign::Alive)]].concat();
    let of = |entries: Vec<Entry>, sign: Sign| {
        let entries = [entries, vec![signed(at(200), sign)]].concat();
        intervals(&past(&entries, at(300), 299, None))
    };
    assert_eq!(
        of(numbered(begin(), &[]), Sign::Stopped),
        [(1, 'u'), (50, 'n')]
    );
    let crashed = [(1, 'u'), (200, 'n')];
    assert_eq!(of(numbered(begin(), &[]), Sign::Ended), crashed);
    assert_eq!(of(begin(), Sign::Stopped), crashed, "it had no numbers");
    let shutdown = [begin(), vec![said(at(199), Kind::Shutdown)]].concat();
    assert_eq!(
        of(numbered(shutdown, &[]), Sign::Stopped),
        [(1, 'u'), (199, 'n')]
    );
}

/// The start of another run, which says for how many seconds nobody had looked.
fn started_again(at: Moment, unwatched: u64) -> Entry {
    let event = Event {
        pid: PID + 1,
        unwatched: Some(Duration::from_secs(unwatched)),
        ..of(Kind::Startup, None)
    };
    Entry {
        number: Some(Number { run: 10, seq: 1 }),
        ..signed(at, Sign::Event(event))
    }
}

#[test]
fn while_the_watchdog_hangs_nobody_watches() {
    let before = numbered(two_deaths()[..2].to_vec(), &[]);
    // It has hung since 150, systemd has killed it at 200, and another one is there at 210.
    let of = |before: &[Entry], unwatched: u64| {
        let again = Event {
            pid: PID + 1,
            ..of(Kind::Adopted, Some("a"))
        };
        let adopted = Entry {
            number: Some(Number { run: 10, seq: 2 }),
            ..signed(at(211), Sign::Event(again))
        };
        let after = [
            signed(at(200), Sign::Ended),
            started_again(at(210), unwatched),
            adopted,
        ];
        let running = Running {
            pid: PID + 1,
            ..running()
        };
        intervals(&past(
            &[before, &after].concat(),
            at(300),
            299,
            Some(&running),
        ))
    };
    assert_eq!(of(&before, 60), [(1, 'u'), (150, 'n'), (211, 'u')]);
    assert_eq!(of(&before, 10), [(1, 'u'), (200, 'n'), (211, 'u')]);
    // What it has said it has seen, whatever was published last.
    assert_eq!(of(&before, 5000), [(1, 'n'), (211, 'u')]);
    let died = numbered(two_deaths()[..4].to_vec(), &[]);
    assert_eq!(
        of(&died, 60),
        [(1, 'u'), (100, 'd'), (150, 'n'), (211, 'u')],
        "it may have come back meanwhile"
    );
    // The one before has ended as it should.
    let stopped = numbered(
        [&two_deaths()[..2], &[said(at(190), Kind::Shutdown)]].concat(),
        &[],
    );
    assert_eq!(of(&stopped, 60), [(1, 'u'), (190, 'n'), (211, 'u')]);
    // Nothing says when it has ended.
    let silent = [&before[..], &[started_again(at(210), 60)]].concat();
    let past = past(&silent, at(300), 299, Some(&running()));
    assert_eq!(intervals(&past), [(1, 'n')]);
}

#[test]
fn a_machine_that_sleeps_while_messages_are_lost_has_slept() {
    let entries = numbered(
        vec![
            said(at(0), Kind::Startup),
            with_pid(told(at(1), Kind::Up), 5),
            said(at(2), Kind::HookFailed),
            with_pid(told(ahead(110, 3600), Kind::Unhealthy), 5),
        ],
        &[3],
    );
    let running = sent(4, Present::Up(vec![5]));
    let past = past(&entries, ahead(200, 3600), 3799, Some(&running));
    assert_eq!(intervals(&past), [(1, 'u'), (110, 'c'), (3710, 'u')]);
}

/// How a process really was: whether it was up, from each second on, and what the watchdog said of it.
#[derive(Debug)]
struct Truth {
    states: Vec<(u64, bool)>,
    entries: Vec<Entry>,
    /// Up to when it goes.
    end: u64,
    pid: Option<i32>,
}

/// A history of lives and outages, with other messages among them.
fn truth() -> impl Strategy<Value = Truth> {
    let life = (1..200_u64, 1..50_u64, any::<bool>(), any::<bool>(), 0..3_u8);
    (proptest::collection::vec(life, 1..12), any::<bool>()).prop_map(|(lives, ends_down)| {
        let mut truth = Truth {
            states: vec![(1, true)],
            entries: vec![
                said(at(0), Kind::Startup),
                with_pid(told(at(1), Kind::Up), 1),
            ],
            end: 1,
            pid: Some(1),
        };
        let count = lives.len();
        for (index, (life, outage, is_failing, is_told_twice, other)) in
            lives.into_iter().enumerate()
        {
            let pid = i32::try_from(index).unwrap() + 1;
            let entries = &mut truth.entries;
            let died = truth.end + life;
            match other {
                1 => entries.push(said(at(truth.end), Kind::HookFailed)),
                2 => entries.push(with_pid(told(at(died - 1), Kind::Unhealthy), pid)),
                _ => {}
            }
            entries.push(with_pid(down(at(died), "killed"), pid));
            truth.states.push((died, false));
            if is_told_twice {
                entries.push(told(at(died), Kind::Starting));
            }
            if is_failing {
                entries.push(told(at(died + outage / 2), Kind::StartFailed));
            }
            truth.pid = None;
            truth.end = died + outage;
            if index + 1 < count || !ends_down {
                entries.push(with_pid(restarted(at(truth.end), outage * 1000), pid + 1));
                truth.states.push((truth.end, true));
                truth.pid = Some(pid + 1);
            }
        }
        truth.end += 10;
        truth
    })
}

/// Whether it really was up in the second that begins then.
fn was_up(truth: &Truth, second: u64) -> bool {
    let state = truth.states.iter().rev().find(|(from, _)| *from <= second);
    state.is_some_and(|(_, up)| *up)
}

/// The watchdog as it is at the end.
fn at_the_end(truth: &Truth) -> Running {
    let present = truth
        .pid
        .map_or(Present::Down, |pid| Present::Up(vec![pid]));
    sent(truth.entries.len() as u64, present)
}

proptest! {
    #[test]
    fn whatever_is_missing_nothing_false_is_told(
        truth in truth(),
        missing in proptest::collection::vec(any::<bool>(), 80),
    ) {
        let missing: Vec<u64> = missing.into_iter().zip(1..).filter_map(|(is_missing, seq)| {
            // What begins the run.
            (is_missing && seq > 2).then_some(seq)
        }).collect();
        let entries = numbered(truth.entries.clone(), &missing);
        let past = past(&entries, at(truth.end), truth.end - 1, Some(&at_the_end(&truth)));
        for interval in &a(&past).intervals {
            let from = (interval.from - BEGIN) / SECOND;
            let to = (interval.to - BEGIN) / SECOND;
            for second in from..to {
                match interval.state {
                    State::Up => prop_assert!(was_up(&truth, second), "up at {second}: {past:?}"),
                    State::Down(_) => prop_assert!(!was_up(&truth, second), "down at {second}: {past:?}"),
                    State::NotObserved(reason) => prop_assert_eq!(reason, Reason::Lost),
                    State::NobodyLoggedIn => prop_assert!(false, "nobody said so"),
                }
            }
        }
        if missing.iter().all(|seq| *seq > truth.entries.len() as u64) {
            let told: Vec<bool> = intervals(&past).iter().map(|(_, letter)| *letter == 'u').collect();
            let were: Vec<bool> = truth.states.iter().map(|(_, up)| *up).collect();
            prop_assert_eq!(told, were, "all of it is known");
        }
    }

    #[test]
    fn what_comes_late_is_told_as_what_comes_in_time(
        truth in truth(),
        floods in proptest::collection::vec((0..2000_u64, 0..500_u64), 0..5),
        suspended in 0..1000_u64,
    ) {
        let entries = numbered(truth.entries.clone(), &[]);
        let running = at_the_end(&truth);
        let end = at(truth.end + 2000);
        let expected = past(&entries, end, truth.end + 1999, Some(&running));
        // Somebody else's messages get through, and the first one of ours.
        let mut written: Vec<(u64, Written)> = (0..truth.end + 1000).step_by(7).map(|second| {
            let entry = signed(at(second), Sign::Alive);
            (second, Written { entry, happened: None })
        }).collect();
        for entry in entries {
            let happened = (entry.at.wall - BEGIN) / SECOND;
            let flood = floods.iter().filter(|(from, length)| {
                (*from..from + length).contains(&happened) && happened > 0
            });
            let sent = flood.map(|(from, length)| from + length).max().unwrap_or(happened);
            let boot_time = entry.at.monotonic + suspended * SECOND;
            let entry = Entry { at: at(sent), ..entry };
            written.push((sent, Written { entry, happened: Some(boot_time) }));
        }
        // None overtakes another.
        let mut latest = 0;
        for (sent, written) in written.iter_mut().filter(|(_, written)| written.happened.is_some()) {
            latest = latest.max(*sent);
            *sent = latest;
            written.entry.at = at(latest);
        }
        written.sort_by_key(|(sent, _)| *sent);
        let mut order = Order::default();
        for (_, written) in written {
            order.add(written);
        }
        let entries: Vec<Entry> = order.rest().collect();
        prop_assert_eq!(past(&entries, end, truth.end + 1999, Some(&running)), expected);
    }
}

/// The line that the watchdog keeps of an entry.
fn kept_line(entry: &Entry) -> String {
    let (Sign::Event(event), Some(number)) = (&entry.sign, entry.number) else {
        panic!("no event: {entry:?}");
    };
    let mut line = serde_json::json!({
        "_BOOT_ID": format!("{:032x}", entry.at.boot),
        "__MONOTONIC_TIMESTAMP": entry.at.monotonic.to_string(),
        "__REALTIME_TIMESTAMP": entry.at.wall.to_string(),
        "_PID": event.pid.to_string(),
        "MFE_RUN": format!("{:032x}", number.run),
        "MFE_SEQ": number.seq.to_string(),
        "MFE_AT": entry.at.monotonic.to_string(),
        "MFE_EVENT": event.kind.name(),
    });
    let fields = [
        ("MFE_PROCESS", event.process.clone()),
        ("MFE_PID", event.process_pid.map(|pid| pid.to_string())),
        ("MFE_CAUSE", event.cause.clone()),
        (
            "MFE_OUTAGE_MS",
            event.outage.map(|time| time.as_millis().to_string()),
        ),
    ];
    for (name, value) in fields {
        if let Some(value) = value {
            line[name] = value.into();
        }
    }
    line.to_string()
}

/// The entries in the order in which the report takes them, from a journal and what the watchdog keeps.
fn merged(journal: &[Entry], mut kept: Kept) -> Vec<Entry> {
    let mut order = Order::default();
    for entry in journal {
        for written in kept.before(entry.at) {
            order.add(written);
        }
        if !kept.has(entry) {
            let happened = entry.number.map(|_| entry.at.monotonic);
            let entry = entry.clone();
            order.add(Written { entry, happened });
        }
    }
    for written in kept.rest() {
        order.add(written);
    }
    order.rest().collect()
}

/// A truth in another boot, which begins when the first one has ended, in another run.
fn in_another_boot(entries: Vec<Entry>, begin: u64) -> Vec<Entry> {
    let moved = entries.into_iter().map(|mut entry| {
        entry.at = Moment {
            boot: 2,
            monotonic: entry.at.monotonic - UPTIME + SECOND,
            wall: entry.at.wall + begin * SECOND,
        };
        entry.number = entry.number.map(|number| Number { run: 10, ..number });
        entry
    });
    moved.collect()
}

proptest! {
    #[test]
    fn what_the_watchdog_keeps_fills_whatever_the_journal_has_lost(
        first in truth(),
        second in truth(),
        lost in proptest::collection::vec(any::<bool>(), 400),
        is_all_lost in any::<bool>(),
    ) {
        let mut before = first.entries.clone();
        before.push(said(at(first.end), Kind::Shutdown));
        let begin = first.end + 100;
        let events = [
            numbered(before, &[]),
            in_another_boot(numbered(second.entries.clone(), &[]), begin),
        ].concat();
        let mut journal = events.clone();
        let alive = (0..first.end).step_by(9).map(|second| signed(at(second), Sign::Alive));
        journal.extend(alive);
        journal.sort_by_key(|entry| (entry.at.boot, entry.at.monotonic));
        let latest = Number { run: 10, seq: second.entries.len() as u64 };
        let running = Running { latest: Some(latest), ..at_the_end(&second) };
        let end = Moment {
            boot: 2,
            monotonic: second.end * SECOND + SECOND,
            wall: BEGIN + (begin + second.end) * SECOND,
        };
        let period = begin + second.end - 1;
        let expected = past(&merged(&journal, Kept::default()), end, period, Some(&running));
        let is_lost = |index: usize| is_all_lost || lost[index % lost.len()];
        let left = journal.iter().enumerate();
        let left: Vec<Entry> = left
            .filter(|(index, _)| !is_lost(*index))
            .map(|(_, entry)| entry.clone())
            .collect();
        let lines: Vec<String> = events.iter().map(kept_line).collect();
        let kept = Kept::of(lines.join("\n").as_bytes(), "");
        prop_assert_eq!(past(&merged(&left, kept), end, period, Some(&running)), expected.clone());
        // What is kept reaches back for a while only, and the journal has the rest.
        let recent = Kept::of(lines[lines.len() / 2..].join("\n").as_bytes(), "");
        let left: Vec<Entry> = journal.iter().enumerate()
            .filter(|(index, entry)| !recent.has(entry) || !is_lost(*index))
            .map(|(_, entry)| entry.clone())
            .collect();
        prop_assert_eq!(past(&merged(&left, recent), end, period, Some(&running)), expected);
    }
}

/// One step of a history: how much the clocks advance, whether a boot is new, and what is said.
fn step() -> impl Strategy<Value = (u64, i64, bool, Sign)> {
    let kinds = proptest::sample::select(Kind::ALL.to_vec());
    let event = (kinds, 0..3, any::<bool>(), proptest::option::of(0..200_u64));
    let event = event.prop_map(|(kind, pid, is_a, outage)| {
        Sign::Event(Event {
            pid,
            outage: outage.map(Duration::from_secs),
            ..of(kind, Some(if is_a { "a" } else { "b" }))
        })
    });
    let sign = prop_oneof![8 => event, 1 => Just(Sign::Ended), 1 => Just(Sign::Alive)];
    let set = prop_oneof![6 => Just(0), 1 => -500..500_i64];
    (0..100_u64, set, proptest::bool::weighted(0.05), sign)
}

proptest! {
    #[test]
    fn every_moment_is_told_once(
        steps in proptest::collection::vec(step(), 0..200),
        period in 1..20_000_u64,
        end in -1000..10_000_i64,
    ) {
        let mut moment = at(0);
        let mut entries = Vec::new();
        for (passed, set, is_new_boot, sign) in steps {
            let wall = moment.wall + passed * SECOND;
            moment.wall = wall.saturating_add_signed(set * 1_000_000);
            moment.monotonic += passed * SECOND;
            if is_new_boot {
                moment.boot += 1;
                moment.monotonic = 0;
            }
            entries.push(signed(moment, sign));
        }
        let now = Moment {
            wall: moment.wall.saturating_add_signed(end * 1_000_000),
            ..moment
        };
        let running = Running { pid: 1, ..running() };
        let past = past(&entries, now, period, Some(&running));
        prop_assert_eq!(past.to - past.from, period * SECOND);
        for record in past.processes.values() {
            let mut time = past.from;
            let mut before = None;
            for interval in &record.intervals {
                prop_assert_eq!(interval.from, time);
                prop_assert!(interval.to > interval.from);
                prop_assert_ne!(before, Some(interval.state));
                if let State::Down(index) = interval.state {
                    prop_assert!(index < record.outages.len());
                }
                before = Some(interval.state);
                time = interval.to;
            }
            prop_assert_eq!(time, past.to);
        }
    }
}

#[test]
fn while_nobody_is_logged_in_it_is_neither_up_nor_down() {
    let waiting = |at: Moment, cause: &str| {
        let event = Event {
            cause: Some(cause.into()),
            signal: None,
            ..of(Kind::Waiting, Some("a"))
        };
        signed(at, Sign::Event(event))
    };
    let entries = [
        said(at(0), Kind::Startup),
        waiting(at(0), "login"),
        waiting(at(10), "autostart"),
        told(at(12), Kind::Adopted),
        down(at(20), "killed"),
        waiting(at(21), "session"),
        restarted(at(25), 5000),
        waiting(at(30), "login"),
        waiting(at(40), "display"),
        waiting(at(50), "login"),
    ];
    let past = past(&entries, at(60), 60, Some(&running()));
    let expected = [
        (0, 'w'),
        (12, 'u'),
        (20, 'd'),
        (25, 'u'),
        (30, 'w'),
        (40, 'd'),
        (50, 'w'),
    ];
    assert_eq!(intervals(&past), expected);
    let outages = &past.processes["a"].outages;
    assert_eq!(
        outages.len(),
        2,
        "a display that nobody can be found for is a problem"
    );
}
