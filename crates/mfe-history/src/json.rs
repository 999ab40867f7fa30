//! The report as JSON, for other programs: its format is that of `tests/schema/report.json`, and stays.

use std::time::{Duration, SystemTime};

use mfe_common::timestamp::Timestamp;
use serde::Serialize;

use crate::Report;
use crate::figures::{Figures, outages};
use crate::history::{Record, State};

#[derive(Serialize)]
struct Form<'a> {
    version: u32,
    host: &'a str,
    from: Timestamp,
    to: Timestamp,
    processes: Vec<Process<'a>>,
}

#[derive(Serialize)]
struct Process<'a> {
    key: &'a str,
    name: &'a str,
    availability_percent: Option<f64>,
    observed_percent: Option<f64>,
    up_ms: u64,
    down_ms: u64,
    not_observed_ms: u64,
    machine_off_ms: u64,
    nobody_logged_in_ms: u64,
    restarts: usize,
    restarts_per_day: Option<f64>,
    unhealthy: usize,
    crash_loops: usize,
    longest_outage_ms: Option<u64>,
    mean_time_to_recover_ms: Option<u64>,
    outages: Vec<Outage<'a>>,
    not_observed: Vec<NotObserved>,
    nobody_logged_in: Vec<Span>,
}

#[derive(Serialize)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "four things that are so or not, each by itself"
)]
struct Outage<'a> {
    from: Timestamp,
    to: Timestamp,
    duration_ms: u64,
    cause: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<&'a str>,
    start_failed: bool,
    in_pause: bool,
    begin_seen: bool,
    end_seen: bool,
}

#[derive(Serialize)]
struct Span {
    from: Timestamp,
    to: Timestamp,
}

#[derive(Serialize)]
struct NotObserved {
    from: Timestamp,
    to: Timestamp,
    reason: &'static str,
}

/// The report as one line of JSON.
///
/// # Errors
/// When it can't be written as JSON.
pub fn json(report: &Report) -> serde_json::Result<String> {
    let past = &report.past;
    let processes = past.processes.iter();
    let form = Form {
        version: 1,
        host: &report.host,
        from: timestamp(past.from),
        to: timestamp(past.to),
        processes: processes
            .map(|(key, record)| process(key, report.name(key), record))
            .collect(),
    };
    Ok(serde_json::to_string(&form)? + "\n")
}

fn process<'a>(key: &'a str, name: &'a str, record: &'a Record) -> Process<'a> {
    let figures = Figures::of(record);
    let outages = outages(record).into_iter().map(|placed| {
        let signal = placed.outage.signal.as_deref();
        Outage {
            from: timestamp(placed.from),
            to: timestamp(placed.to),
            duration_ms: placed.length / 1000,
            cause: placed.outage.cause.as_deref(),
            // There the cause is enough.
            signal: signal.filter(|signal| *signal != "SIGKILL"),
            start_failed: placed.outage.start_failed,
            in_pause: placed.outage.is_in_pause,
            begin_seen: placed.outage.is_begin_seen,
            end_seen: placed.outage.is_end_seen,
        }
    });
    let intervals = record.intervals.iter();
    let not_observed = intervals.filter_map(|interval| match interval.state {
        State::NotObserved(reason) => Some(NotObserved {
            from: timestamp(interval.from),
            to: timestamp(interval.to),
            reason: reason.name(),
        }),
        _ => None,
    });
    let nobody = record
        .intervals
        .iter()
        .filter(|interval| interval.state == State::NobodyLoggedIn);
    let nobody = nobody.map(|interval| Span {
        from: timestamp(interval.from),
        to: timestamp(interval.to),
    });
    Process {
        key,
        name,
        availability_percent: figures.availability().map(|share| decimal(share, 1000)),
        observed_percent: figures.observed_share().map(|share| decimal(share, 1000)),
        up_ms: figures.up / 1000,
        down_ms: figures.down / 1000,
        not_observed_ms: (figures.not_observed + figures.off) / 1000,
        machine_off_ms: figures.off / 1000,
        nobody_logged_in_ms: figures.nobody / 1000,
        restarts: record.restarts,
        restarts_per_day: figures
            .per_day(record.restarts)
            .map(|tenths| decimal(tenths, 10)),
        unhealthy: record.unhealthy,
        crash_loops: record.crash_loops,
        longest_outage_ms: figures.longest_outage.map(|length| length / 1000),
        mean_time_to_recover_ms: figures.mean_time_to_recover.map(|mean| mean / 1000),
        outages: outages.collect(),
        not_observed: not_observed.collect(),
        nobody_logged_in: nobody.collect(),
    }
}

/// The number nearest to a fraction.
fn decimal(count: u64, of: u32) -> f64 {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    f64::from(count) / f64::from(of)
}

fn timestamp(micros: u64) -> Timestamp {
    (SystemTime::UNIX_EPOCH + Duration::from_micros(micros)).into()
}
