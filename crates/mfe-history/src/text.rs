//! The report for somebody at a terminal: 80 columns, without colour.

use mfe_common::escape::printable;
use rust_i18n::t;

use crate::days::{days, noticed_and_short};
use crate::figures::{not_observed, outages};
use crate::history::Record;
use crate::words::{cause, duration, figures, reason, time, verdict, zone};
use crate::{Reader, Report};

/// More than this isn't listed of anything: the latest are, and how many there are besides.
const LISTED_MAX: usize = 20;

/// The report as text; `wrapped` puts a sentence in lines.
#[must_use]
pub fn text(report: &Report, wrapped: impl Fn(&str) -> String) -> String {
    let (past, reader) = (&report.past, &report.reader);
    let when = |micros| time(micros, reader);
    let mut text = t!(
        "report.head",
        locale = reader.language,
        host = printable(&report.host),
        from = when(past.from),
        to = when(past.to),
        zone = zone(past.from, past.to, &reader.zone)
    )
    .into_owned();
    text.push('\n');
    if past.processes.is_empty() {
        text += &format!("\n{}\n", t!("report.empty", locale = reader.language));
    }
    for (key, record) in &past.processes {
        let name = report.name(key);
        text += &format!(
            "\n{}\n{}",
            printable(name),
            process(name, record, report, &wrapped)
        );
    }
    text
}

fn process(
    name: &str,
    record: &Record,
    report: &Report,
    wrapped: impl Fn(&str) -> String,
) -> String {
    let (past, reader) = (&report.past, &report.reader);
    let days = days(record, past.from, past.to, &reader.zone);
    let said = printable(&verdict(name, record, &days, reader));
    let mut text = format!("{}\n", wrapped(&said));
    for (label, value) in figures(record, reader) {
        text += &format!("  {label:26} {value}\n");
    }
    let when = |micros| time(micros, reader);
    let placed = outages(record);
    let (noticed, _) = noticed_and_short(&placed);
    let lines = noticed
        .iter()
        .map(|one| (when(one.from), duration(one.length), cause(one, report)));
    text += &list(
        &t!("report.long_outages", locale = reader.language),
        &lines.collect::<Vec<_>>(),
        reader,
    );
    let unseen = not_observed(record);
    let lines = unseen.map(|(interval, why)| {
        (
            when(interval.from),
            duration(interval.length()),
            reason(why, report),
        )
    });
    text += &list(
        &t!("report.not_observed", locale = reader.language),
        &lines.collect::<Vec<_>>(),
        reader,
    );
    text
}

/// A list with its head: when, how long, why.
fn list(head: &str, lines: &[(String, String, String)], reader: &Reader) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let mut text = format!("  {head}:\n");
    let left_out = lines.len().saturating_sub(LISTED_MAX);
    if left_out > 0 {
        text += &format!(
            "    {}\n",
            t!(
                "report.left_out",
                locale = reader.language,
                count = left_out
            )
        );
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
