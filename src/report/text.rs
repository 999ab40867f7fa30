//! The report for somebody at a terminal: 80 columns, without colour.

use rust_i18n::t;

use super::days::{days, noticed_and_short};
use super::history::Record;
use super::words::{cause, duration, figures, reason, time, verdict, zone};
use super::{Report, not_observed, outages};
use crate::text::escape::printable;
use crate::text::wrap::Paragraph;

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
        let name = report.name(key);
        text += &format!("\n{}\n{}", printable(name), process(name, record, report));
    }
    text
}

fn process(name: &str, record: &Record, report: &Report) -> String {
    let (past, zone) = (&report.past, &report.zone);
    let days = days(record, past.from, past.to, zone);
    let said = printable(&verdict(name, record, &days, zone));
    let mut text = format!("{}\n", Paragraph::of_detail(&said));
    for (label, value) in figures(record) {
        text += &format!("  {label:26} {value}\n");
    }
    let when = |micros| time(micros, zone);
    let placed = outages(record);
    let (noticed, _) = noticed_and_short(&placed);
    let lines = noticed
        .iter()
        .map(|one| (when(one.from), duration(one.length), cause(one, report)));
    text += &list(&t!("report.long_outages"), &lines.collect::<Vec<_>>());
    let unseen = not_observed(record);
    let lines = unseen.map(|(interval, why)| {
        (
            when(interval.from),
            duration(interval.length()),
            reason(why),
        )
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
