//! The report for somebody at a terminal: 80 columns, without colour.

use rust_i18n::t;

use super::history::{Record, State};
use super::words::{cause, duration, figures, reason, time, zone};
use super::{Report, outages};
use crate::text::escape::printable;

/// More than this isn't listed of anything: the latest are, and how many there are besides.
const LISTED_MAX: usize = 20;

/// The report as text.
#[must_use]
pub fn text(report: &Report) -> String {
    let past = &report.past;
    let when = |micros| time(micros, &report.zone);
    let mut text = t!(
        "report.head",
        host = printable(&report.host),
        from = when(past.from),
        to = when(past.to),
        zone = zone(past.from, past.to, &report.zone)
    )
    .into_owned();
    text.push('\n');
    if past.processes.is_empty() {
        text += &format!("\n{}\n", t!("report.empty"));
    }
    for (key, record) in &past.processes {
        text += &format!("\n{key}\n{}", process(record, report));
    }
    text
}

fn process(record: &Record, report: &Report) -> String {
    let placed = outages(record);
    let mut text = String::new();
    for (label, value) in figures(record) {
        text += &format!("  {label:26} {value}\n");
    }
    let when = |micros| time(micros, &report.zone);
    let lines = placed.iter().map(|one| {
        (
            when(one.from),
            duration(one.length),
            cause(one, report.past.to),
        )
    });
    text += &list(&t!("report.outages"), &lines.collect::<Vec<_>>());
    let intervals = record.intervals.iter();
    let lines = intervals.filter_map(|interval| match interval.state {
        State::NotObserved(why) => Some((
            when(interval.from),
            duration(interval.length()),
            reason(why),
        )),
        _ => None,
    });
    text += &list(&t!("report.not_observed"), &lines.collect::<Vec<_>>());
    text
}

/// A list with its head: when, how long, why.
fn list(head: &str, lines: &[(String, String, String)]) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let mut text = format!("  {head}:\n");
    let left_out = lines.len().saturating_sub(LISTED_MAX);
    if left_out > 0 {
        text += &format!("    {}\n", t!("report.left_out", count = left_out));
    }
    for (from, length, why) in &lines[left_out..] {
        // Two lines where one is too narrow.
        let line = format!("    {from}  {length:>14}  {why}");
        if line.chars().count() <= 80 {
            text += &format!("{line}\n");
        } else {
            text += &format!("    {from}  {length:>14}\n        {why}\n");
        }
    }
    text
}
