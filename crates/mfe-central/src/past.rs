//! How a till's programs were over some time: what it has sent becomes a report, as its own journal does on the till
//! (`mfe_history`). Pure.
//!
//! The office's clock counts. A till's monotonic clock runs a little faster or slower than the office's, so within a boot
//! it only counts as a step ahead, as of a machine that slept, what no clock drifts.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use mfe_common::escape::printable;
use mfe_history::history::{
    Entry, Event, History, Moment, Number, Past, Present, Running, Sign, micros,
};
use mfe_history::kind::Kind;
use mfe_history::order::{Order, Written};
use mfe_history::{Reader, Report, Source, entry};
use serde_json::Value;

use crate::fleet::Heard;
use crate::message::Process;

/// A shorter step of a clock is no step, in microseconds; longer ones aren't either, as far as a crystal may be wrong by
/// this part of the time.
const STEP: u64 = 5_000_000;
const DRIFT_PART: u64 = 2000;

/// What stands for the watchdog's pid, which the office isn't told: its runs are known by their ids.
const PID: i32 = 0;

/// An event of a till, as it is stored.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) boot: String,
    /// By `CLOCK_MONOTONIC` of the boot, in microseconds.
    pub(crate) mono: i64,
    /// By the clock that `is_by_office` tells, the office's or the till's.
    pub(crate) at: SystemTime,
    pub(crate) is_by_office: bool,
    pub(crate) kind: String,
    pub(crate) process: Option<String>,
    pub(crate) data: Value,
}

/// Up to when a till was heard in one of its boots.
#[derive(Debug, Clone)]
pub(crate) struct Mark {
    pub(crate) boot: String,
    pub(crate) mono: i64,
    pub(crate) at: SystemTime,
}

/// The report of a till about the time of that length before `now`; of a silent one it ends when it was last heard.
pub(crate) fn report(
    till: &str,
    told: Vec<Told>,
    mut marks: Vec<Mark>,
    heard: Option<&Heard>,
    (now, length): (SystemTime, Duration),
    reader: Reader,
) -> Report {
    marks.extend(heard.and_then(|heard| mark(heard, now)));
    let boots = boots(told, marks, heard, now);
    let end = boots
        .last()
        .and_then(|boot| boot.last())
        .map(|one| one.entry.at);
    let end = end.unwrap_or(Moment {
        boot: 0,
        monotonic: 0,
        wall: wall(now),
    });
    // Of a boot of which there are only events, it isn't known how it went on.
    let latest = heard.filter(|heard| entry::id(&heard.state.boot) == Some(end.boot));
    let missing = Duration::from_micros(wall(now).saturating_sub(end.wall));
    let mut history = History::new(end, length.saturating_sub(missing));
    let mut order = Order::default();
    for written in boots.into_iter().flatten() {
        order.add(written);
        while let Some(entry) = order.ready() {
            history.take(&entry);
        }
    }
    for entry in order.rest() {
        history.take(&entry);
    }
    let mut past = history.finish(latest.and_then(running).as_ref());
    past.is_until_now = latest.is_some_and(|heard| !heard.is_silent);
    Report {
        host: till.to_owned(),
        reader,
        source: Source::Office,
        names: names(heard),
        past: known(past),
    }
}

/// A till that was never heard in the period has nothing to tell of it.
fn known(mut past: Past) -> Past {
    past.processes
        .retain(|_, record| !record.intervals.is_empty());
    past
}

/// Until now, or until it was last heard.
fn mark(heard: &Heard, now: SystemTime) -> Option<Mark> {
    let later = if heard.is_silent {
        Duration::ZERO
    } else {
        now.duration_since(heard.received).unwrap_or_default()
    };
    let mono = i64::try_from(heard.state.mono.saturating_add(micros(later))).ok()?;
    Some(Mark {
        boot: heard.state.boot.clone(),
        mono,
        at: heard.at.checked_add(later)?,
    })
}

/// The entries of each boot, in the order in which the office knows them to have been.
fn boots(
    told: Vec<Told>,
    marks: Vec<Mark>,
    heard: Option<&Heard>,
    now: SystemTime,
) -> Vec<Vec<Written>> {
    let mut boots: BTreeMap<u128, Vec<(Written, bool)>> = BTreeMap::new();
    let events = told
        .into_iter()
        .filter_map(|one| Some((event(&one)?, one.is_by_office)));
    let alive = marks.into_iter().filter_map(|mark| {
        let at = moment(&mark.boot, mark.mono, mark.at)?;
        let (number, sign, happened) = (None, Sign::Alive, None);
        let entry = Entry { at, number, sign };
        Some((Written { entry, happened }, true))
    });
    for (written, is_by_office) in events.chain(alive) {
        let boot = written.entry.at.boot;
        boots.entry(boot).or_default().push((written, is_by_office));
    }
    let mut boots: Vec<Vec<Written>> = boots.into_values().map(timed).collect();
    let latest = heard.and_then(|heard| entry::id(&heard.state.boot));
    let (now, latest) = (wall(now), latest.unwrap_or_default());
    // A clock that was wrong has no say in which one is the present.
    boots.sort_by_key(|boot| {
        let first = boot.first().map(|first| first.entry.at);
        first.map(|at| (at.boot == latest, at.wall.min(now)))
    });
    boots
}

/// The entries of a boot in order, all by one clock: by the office's if any is.
fn timed(mut entries: Vec<(Written, bool)>) -> Vec<Written> {
    entries.sort_by_key(|(one, _)| {
        let seq = one.entry.number.map(|number| number.seq);
        (one.entry.at.monotonic, seq)
    });
    let zero = |at: Moment| at.wall.saturating_sub(at.monotonic);
    let first = entries.iter().find(|(_, is_by_office)| *is_by_office);
    let first = first.or(entries.first()).map(|(one, _)| one.entry.at);
    let has_office = entries.iter().any(|(_, is_by_office)| *is_by_office);
    let (mut began, mut since) = first.map_or((0, 0), |at| (zero(at), at.monotonic));
    let mut timed = Vec::with_capacity(entries.len());
    for (mut one, is_by_office) in entries {
        let at = &mut one.entry.at;
        if is_by_office == has_office {
            let drift = STEP + at.monotonic.saturating_sub(since) / DRIFT_PART;
            if zero(*at) > began.saturating_add(drift) {
                (began, since) = (zero(*at), at.monotonic);
            }
        }
        at.wall = began.saturating_add(at.monotonic);
        timed.push(one);
    }
    timed
}

fn event(told: &Told) -> Option<Written> {
    let number = |name: &str| told.data.get(name).and_then(Value::as_u64);
    let text = |name: &str| told.data.get(name).and_then(Value::as_str);
    let happened = number("at_us");
    let unwatched = number("watched_until_us").and_then(|until| happened?.checked_sub(until));
    let sign = match Kind::from_name(&told.kind) {
        Some(kind) => Sign::Event(Event {
            pid: PID,
            kind,
            process: told.process.as_deref().map(printable),
            process_pid: number("pid").and_then(|pid| i32::try_from(pid).ok()),
            cause: text("cause").map(printable),
            signal: text("signal").map(printable),
            outage: number("outage_ms").map(Duration::from_millis),
            unwatched: unwatched.map(Duration::from_micros),
        }),
        // Of a newer watchdog.
        None => Sign::Alive,
    };
    let run = text("run").and_then(entry::id);
    let number = run.zip(number("seq")).map(|(run, seq)| Number { run, seq });
    Some(Written {
        entry: Entry {
            at: moment(&told.boot, told.mono, told.at)?,
            number,
            sign,
        },
        happened: number.and(happened),
    })
}

fn moment(boot: &str, mono: i64, at: SystemTime) -> Option<Moment> {
    Some(Moment {
        boot: entry::id(boot)?,
        monotonic: u64::try_from(mono).ok()?,
        wall: wall(at),
    })
}

fn wall(time: SystemTime) -> u64 {
    micros(
        time.duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default(),
    )
}

/// The watchdog that was running when the till was last heard, if it was.
fn running(heard: &Heard) -> Option<Running> {
    let processes = heard.state.processes.as_ref()?.iter();
    let watched = processes.map(|process| (printable(&process.key), present(process)));
    let latest = heard.state.latest_message.as_ref().and_then(|latest| {
        let run = entry::id(&latest.run)?;
        let seq = latest.seq;
        Some(Number { run, seq })
    });
    Some(Running {
        pid: PID,
        watched: Some(watched.collect()),
        latest,
    })
}

fn present(process: &Process) -> Present {
    let pids = || {
        let pids = process.pids.iter();
        pids.filter_map(|pid| i32::try_from(*pid).ok()).collect()
    };
    match process.state.as_str() {
        "unknown" | "misfit" => Present::Unknown,
        _ if !process.pids.is_empty() => Present::Up(pids()),
        "down" | "starting" | "backoff" => Present::Down,
        _ => Present::Unknown,
    }
}

/// The programs' names, by their keys.
fn names(heard: Option<&Heard>) -> BTreeMap<String, String> {
    let processes = heard.and_then(|heard| heard.state.processes.as_deref());
    let processes = processes.unwrap_or_default().iter();
    let named = processes.map(|process| (printable(&process.key), process.name.clone()));
    named.collect()
}

#[cfg(test)]
mod tests {
    use mfe_history::entry::understand;
    use mfe_history::history::{Interval, Reason, Record, State as How};
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::fleet::tests::{at, state};

    const BOOT: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const RUN: &str = "cccccccccccccccccccccccccccccccc";
    const HOUR: u64 = 3600;

    /// An event, so many seconds after the boot, which was at 0.
    fn told(boot: &str, seconds: u64, seq: u64, kind: &str, data: &Value) -> Told {
        let mut all = json!({"run": RUN, "seq": seq, "at_us": seconds * 1_000_000});
        let more = data.as_object().cloned().unwrap_or_default();
        all.as_object_mut().unwrap().extend(more);
        let is_of_service = matches!(kind, "startup" | "shutdown");
        Told {
            boot: boot.into(),
            mono: i64::try_from(seconds * 1_000_000).unwrap(),
            at: at(seconds),
            is_by_office: true,
            kind: kind.into(),
            process: (!is_of_service).then(|| "p0".into()),
            data: all,
        }
    }

    /// A day with one outage of a minute.
    fn day() -> Vec<Told> {
        vec![
            told(BOOT, 10, 1, "startup", &json!({})),
            told(BOOT, 11, 2, "up", &json!({"pid": 1})),
            told(
                BOOT,
                5 * HOUR,
                3,
                "down",
                &json!({"pid": 1, "cause": "killed", "signal": "SIGSEGV"}),
            ),
            told(
                BOOT,
                5 * HOUR + 60,
                4,
                "restarted",
                &json!({"pid": 1, "cause": "killed", "outage_ms": 60_000}),
            ),
        ]
    }

    fn heard(seconds: u64, is_silent: bool) -> Heard {
        Heard {
            state: state("t", seconds, &["up"]),
            received: at(seconds),
            at: at(seconds),
            is_silent,
        }
    }

    fn reported(told: Vec<Told>, marks: Vec<Mark>, heard: Option<&Heard>, now: u64) -> Report {
        let reader = Reader {
            language: "en",
            zone: mfe_history::local_time::zone(Some("UTC0")),
        };
        let week = Duration::from_secs(7 * 24 * HOUR);
        report("t", told, marks, heard, (at(now), week), reader)
    }

    fn only(report: &Report) -> &Record {
        report.past.processes.get("p0").expect("it is known")
    }

    fn seconds(record: &Record, is_it: impl Fn(How) -> bool) -> u64 {
        let intervals = record.intervals.iter().filter(|one| is_it(one.state));
        intervals.map(Interval::length).sum::<u64>() / 1_000_000
    }

    fn up(record: &Record) -> u64 {
        seconds(record, |state| state == How::Up)
    }

    #[test]
    fn an_outage_is_told_as_the_till_would() {
        let heard = heard(10 * HOUR, false);
        // In whatever order they have come.
        let mut events = day();
        events.reverse();
        let report = reported(events, Vec::new(), Some(&heard), 10 * HOUR + 30);
        let record = only(&report);
        assert_eq!((record.outages.len(), record.restarts), (1, 1));
        assert_eq!(record.outages[0].signal.as_deref(), Some("SIGSEGV"));
        assert_eq!(seconds(record, |state| matches!(state, How::Down(_))), 60);
        assert_eq!(up(record), 10 * HOUR + 30 - 11 - 60);
        assert!(report.past.is_until_now);
        let page = mfe_history::html(&report, &mfe_history::Frame::default()).unwrap();
        assert!(page.contains("P0 was down 1min in all"), "{page}");
        assert!(page.contains("ended by SIGSEGV"), "{page}");
    }

    #[test]
    fn of_a_silent_till_nothing_is_told_after_it_was_last_heard() {
        let heard = heard(10 * HOUR, true);
        let report = reported(day(), Vec::new(), Some(&heard), 30 * HOUR);
        assert_eq!(report.past.to, wall(at(10 * HOUR)));
        assert!(!report.past.is_until_now);
        assert_eq!(up(only(&report)), 10 * HOUR - 11 - 60);
        // For so long that there is nothing to tell at all.
        let later = reported(day(), Vec::new(), Some(&heard), 500 * HOUR);
        assert!(later.past.processes.is_empty());
        assert!(
            reported(Vec::new(), Vec::new(), None, 9)
                .past
                .processes
                .is_empty()
        );
    }

    #[test]
    fn after_a_power_cut_it_was_up_until_it_was_last_heard() {
        let next = "dddddddddddddddddddddddddddddddd";
        let mark = Mark {
            boot: BOOT.into(),
            mono: i64::try_from(9 * HOUR * 1_000_000).unwrap(),
            at: at(9 * HOUR),
        };
        let mut events = day();
        let mut startup = told(next, 20, 1, "startup", &json!({"run": "e".repeat(32)}));
        startup.at = at(20 * HOUR + 20);
        let mut again = told(next, 21, 2, "up", &json!({"run": "e".repeat(32), "pid": 9}));
        again.at = at(20 * HOUR + 21);
        events.extend([startup, again]);
        let mut heard = heard(HOUR, false);
        heard.state.boot = next.into();
        heard.at = at(21 * HOUR);
        heard.received = heard.at;
        let report = reported(events, vec![mark], Some(&heard), 21 * HOUR);
        let record = only(&report);
        let off = |state| state == How::NotObserved(Reason::Off);
        assert_eq!(seconds(record, off), 11 * HOUR);
        assert_eq!(up(record), 9 * HOUR - 11 - 60 + HOUR - 21);
    }

    #[test]
    fn a_clock_that_drifts_is_no_step_and_one_of_a_sleep_is() {
        let drifting = |by: u64| {
            let mut events = day();
            for (n, one) in (0..).zip(&mut events) {
                one.at += Duration::from_secs(by * n);
            }
            let heard = heard(10 * HOUR, false);
            let report = reported(events, Vec::new(), Some(&heard), 10 * HOUR);
            let ahead = |state| state == How::NotObserved(Reason::ClockAhead);
            seconds(only(&report), ahead)
        };
        assert_eq!(drifting(1), 0);
        assert!(drifting(600) > 0);
    }

    #[test]
    fn what_a_tills_own_clock_says_counts_only_where_there_is_no_better_one() {
        let mut events = day();
        for one in &mut events[..2] {
            one.is_by_office = false;
            one.at = at(90 * 365 * 24 * HOUR);
        }
        let heard = heard(10 * HOUR, false);
        let report = reported(events, Vec::new(), Some(&heard), 10 * HOUR);
        assert_eq!(up(only(&report)), 10 * HOUR - 11 - 60);
        // And of a boot in which it was never heard it has no say in what is the present.
        let mut events = day();
        let mut odd = told(
            "ffffffffffffffffffffffffffffffff",
            5,
            1,
            "startup",
            &json!({}),
        );
        odd.is_by_office = false;
        odd.at = at(90 * 365 * 24 * HOUR);
        events.push(odd);
        let report = reported(events, Vec::new(), Some(&heard), 10 * HOUR);
        assert_eq!(report.past.to, wall(at(10 * HOUR)));
    }

    #[test]
    fn what_is_missing_is_not_observed() {
        let mut events = day();
        events.remove(2);
        let mut heard = heard(10 * HOUR, false);
        let report = reported(events, Vec::new(), Some(&heard), 10 * HOUR);
        assert_eq!(only(&report).outages.len(), 1, "it has been measured");
        // The till has said more than has come.
        heard.state.latest_message = Some(crate::message::LatestMessage {
            run: RUN.into(),
            seq: 9,
        });
        heard.state.processes.as_mut().unwrap()[0].pids = vec![77];
        let report = reported(day(), Vec::new(), Some(&heard), 10 * HOUR);
        let lost = |state| state == How::NotObserved(Reason::Lost);
        assert!(seconds(only(&report), lost) > 0);
    }

    /// An event as the till's journal has it.
    fn line(told: &Told) -> String {
        let text = |name: &str| match &told.data[name] {
            Value::String(text) => json!(text),
            Value::Null => Value::Null,
            number => json!(number.to_string()),
        };
        let micros = micros(told.at.duration_since(SystemTime::UNIX_EPOCH).unwrap());
        json!({
            "_SYSTEMD_UNIT": "mfe-watchdog.service", "_PID": PID.to_string(), "_BOOT_ID": told.boot,
            "__MONOTONIC_TIMESTAMP": told.mono.to_string(), "__REALTIME_TIMESTAMP": micros.to_string(),
            "MFE_EVENT": told.kind, "MFE_PROCESS": told.process, "MFE_PID": text("pid"), "MFE_RUN": text("run"),
            "MFE_SEQ": text("seq"), "MFE_AT": text("at_us"), "MFE_CAUSE": text("cause"),
            "MFE_SIGNAL": text("signal"), "MFE_OUTAGE_MS": text("outage_ms"),
            "MFE_WATCHED_UNTIL": text("watched_until_us"),
        })
        .to_string()
    }

    proptest! {
        #[test]
        fn an_event_says_here_what_it_says_in_the_journal(
            kind in prop::sample::select(Kind::ALL.map(Kind::name).to_vec()),
            (seconds, seq, pid, outage) in (0_u64..1 << 30, any::<u32>(), any::<u16>(), any::<u32>()),
            (cause, until) in (".*", 0_u64..1 << 50),
        ) {
            let data = json!({"pid": pid, "cause": cause, "outage_ms": outage, "watched_until_us": until});
            let told = told(BOOT, seconds, seq.into(), kind, &data);
            prop_assert_eq!(event(&told), understand(line(&told).as_bytes()));
        }

        #[test]
        fn no_values_make_it_panic(
            (mono, seconds, seq) in any::<(i64, u32, u64)>(),
            (boot, text) in ("[0-9a-f]{32}|.*", any::<String>()),
            (kind, now) in (prop::sample::select(vec!["up", "down", "restarted", "startup", "x"]), any::<u32>()),
        ) {
            let told = Told {
                mono,
                at: at(seconds.into()),
                data: json!({"seq": seq, "run": text, "at_us": text, "outage_ms": seq, "pid": seq, "cause": [text]}),
                ..told(&boot, 1, 1, kind, &Value::Null)
            };
            let mut events = day();
            events.push(told);
            let report = reported(events, Vec::new(), Some(&heard(HOUR, false)), now.into());
            for record in report.past.processes.values() {
                let gapless = record.intervals.windows(2).all(|two| two[0].to == two[1].from);
                prop_assert!(gapless);
            }
            prop_assert!(mfe_history::json(&report).is_ok());
        }
    }
}
