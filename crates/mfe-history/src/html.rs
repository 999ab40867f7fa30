//! The report as one page that needs nothing else: for a browser, a phone, a printer, a screen reader.
//!
//! What it looks like is in the template `page.html` and its style sheet beside this file; an office gives that by an
//! address of its own, and puts something above. It is well-formed
//! XML too, so that a test can take it apart. Every text goes through [`Text`].

use std::borrow::Cow;
use std::fmt;

use askama::Template;
use askama::filters::{Escaper, Html};
use mfe_common::escape::printable;
use rust_i18n::t;

use crate::days::{Day, NOTICED, Sum, days, noticed_and_short};
use crate::figures::{Placed, not_observed, outages};
use crate::history::{Interval, Reason, Record, State};
use crate::words::{cause, day, duration, figures, month, reason, sum, time, verdict, zone};
use crate::{Report, Source};

/// The page's look; it refers to nothing outside the page.
pub const STYLE: &str = include_str!("report.css");

/// How many steps wide a day is drawn: as many as it has minutes.
const STEPS: u64 = 1440;

/// The least that an outage is drawn wide, in steps: a shorter one is no pixel.
const OUTAGE_STEPS: u64 = 5;

/// A day is drawn this high, in units of its own.
const HEIGHT: u64 = 60;

/// What runs is drawn lower than what is down, so that it takes no colour to tell them apart.
const UP_TOP: u64 = 20;

/// The same of the time when nobody was logged in.
const NOBODY_TOP: u64 = 40;

/// More rows than this are in no table: the latest are, and how many there are besides.
const ROWS_MAX: usize = 500;

/// A report of more days has a row a month, and of its days only those with an outage.
const DAYS_MAX: usize = 62;

/// What is on the page beside the report.
#[derive(Debug, Clone, Copy, Default)]
pub struct Frame<'a> {
    /// Where the page's look is; it is part of the page without one.
    pub style: Option<&'a str>,
    /// What stands above the report, as HTML.
    pub above: &'a str,
    /// The version of the program that makes it.
    pub version: &'a str,
}

/// What the template `page.html` puts on the page.
#[derive(Template)]
#[template(path = "page.html", config = "src/askama.toml")]
struct Page<'a> {
    report: &'a Report,
    frame: &'a Frame<'a>,
    title: String,
    period: String,
    legend: Vec<(Shape, Cow<'static, str>)>,
    programs: Vec<Program<'a>>,
}

struct Program<'a> {
    name: &'a str,
    verdict: String,
    figures: Vec<(String, String)>,
    /// A month, and what was noticed and what wasn't; nothing of a report of few days.
    months: Vec<[String; 3]>,
    pictures: Vec<Picture>,
    long: List,
    short: List,
    short_sum: String,
    not_observed: List,
}

/// A picture of a day, to scale; what it shows is in the tables, for those who don't see it.
struct Picture {
    day: String,
    shapes: Vec<Shape>,
    noticed: String,
}

/// Rows of when, how long and why; the latest of many.
struct List {
    left_out: Option<Cow<'static, str>>,
    rows: Vec<[String; 3]>,
}

impl List {
    fn of(mut rows: Vec<[String; 3]>, report: &Report) -> Self {
        let left_out = rows.len().saturating_sub(ROWS_MAX);
        Self {
            left_out: (left_out > 0).then(|| match report.source {
                Source::Journal => {
                    t!(
                        "report.left_out",
                        locale = report.reader.language,
                        count = left_out
                    )
                }
                Source::Office => {
                    t!(
                        "report.left_out_office",
                        locale = report.reader.language,
                        count = left_out
                    )
                }
            }),
            rows: rows.split_off(left_out),
        }
    }
}

/// Text as it may stand anywhere in the page, whatever it is.
#[derive(Clone, Copy)]
struct Text;

impl Escaper for Text {
    fn write_escaped_str<W: fmt::Write>(&self, page: W, text: &str) -> fmt::Result {
        Html.write_escaped_str(page, &printable(text))
    }
}

/// The report as a page.
///
/// # Errors
///
/// When the template can't be filled in, which depends on nothing that a report says.
pub fn html(report: &Report, frame: &Frame<'_>) -> Result<String, askama::Error> {
    let past = &report.past;
    let when = |micros| time(micros, &report.reader);
    let programs = past.processes.iter();
    let page = Page {
        report,
        frame,
        title: t!(
            "report.title",
            locale = report.reader.language,
            host = report.host
        )
        .into_owned(),
        period: t!(
            "report.period",
            locale = report.reader.language,
            from = when(past.from),
            to = when(past.to),
            zone = zone(past.from, past.to, &report.reader.zone)
        )
        .into_owned(),
        legend: legend(report),
        programs: programs
            .map(|(key, record)| program(key, record, report))
            .collect(),
    };
    // The template's last line break isn't rendered.
    Ok(page.render()? + "\n")
}

/// What the timelines' shapes mean.
fn legend(report: &Report) -> Vec<(Shape, Cow<'static, str>)> {
    let mut states = vec![
        (State::Up, t!("report.up", locale = report.reader.language)),
        (
            State::Down(0),
            t!("report.down", locale = report.reader.language),
        ),
        (
            State::NotObserved(Reason::NoRecord),
            t!("report.not_observed", locale = report.reader.language),
        ),
    ];
    let mut records = report.past.processes.values();
    let is_nobody = |interval: &Interval| interval.state == State::NobodyLoggedIn;
    if records.any(|record| record.intervals.iter().any(is_nobody)) {
        states.push((
            State::NobodyLoggedIn,
            t!("report.nobody", locale = report.reader.language),
        ));
    }
    let items = states.into_iter().filter_map(|(state, words)| {
        let (class, top) = look(state, true)?;
        let (from, to) = (0, 48);
        Some((
            Shape {
                class,
                top,
                from,
                to,
            },
            words,
        ))
    });
    items.collect()
}

fn program<'a>(key: &'a str, record: &Record, report: &'a Report) -> Program<'a> {
    let (past, reader) = (&report.past, &report.reader);
    let name = report.name(key);
    let days = days(record, past.from, past.to, &reader.zone);
    let placed = outages(record);
    let (noticed, short) = noticed_and_short(&placed);
    let is_noticed = is_noticed(record);
    let has_months = days.len() > DAYS_MAX;
    let pictures = days
        .iter()
        .filter(|day| !has_months || day.noticed.count > 0);
    let list = |outages: &[&Placed]| {
        let rows = outages.iter().map(|one| {
            let when = time(one.from, reader);
            [when, duration(one.length), cause(one, report)]
        });
        List::of(rows.collect(), report)
    };
    let not_observed = not_observed(record).map(|(interval, why)| {
        let when = time(interval.from, reader);
        [when, duration(interval.length()), reason(why, report)]
    });
    Program {
        name,
        verdict: verdict(name, record, &days, reader),
        figures: figures(record, reader),
        pictures: pictures
            .map(|one| Picture {
                day: day(one.from, reader),
                shapes: drawn(one, &is_noticed),
                noticed: sum_or_none(one.noticed, report),
            })
            .collect(),
        months: if has_months {
            months(&days, report)
        } else {
            Vec::new()
        },
        long: list(&noticed),
        short_sum: sum(Sum::of(&short), reader),
        short: list(&short),
        not_observed: List::of(not_observed.collect(), report),
    }
}

/// Which of a process's outages a cashier can notice.
fn is_noticed(record: &Record) -> Vec<bool> {
    let mut lengths = vec![0; record.outages.len()];
    for interval in &record.intervals {
        if let State::Down(index) = interval.state {
            if let Some(length) = lengths.get_mut(index) {
                *length += interval.length();
            }
        }
    }
    lengths.iter().map(|length| *length >= NOTICED).collect()
}

/// A row a month.
fn months(days: &[Day], report: &Report) -> Vec<[String; 3]> {
    let mut months: Vec<(String, Sum, Sum)> = Vec::new();
    for day in days {
        let name = month(day.from, &report.reader);
        if months.last().is_none_or(|(last, ..)| *last != name) {
            months.push((name, Sum::default(), Sum::default()));
        }
        if let Some((_, noticed, short)) = months.last_mut() {
            noticed.merge(day.noticed);
            short.merge(day.short);
        }
    }
    let rows = months.into_iter();
    rows.map(|(name, noticed, short)| {
        [
            name,
            sum_or_none(noticed, report),
            sum_or_none(short, report),
        ]
    })
    .collect()
}

fn sum_or_none(of: Sum, report: &Report) -> String {
    if of.count == 0 {
        t!("report.nothing", locale = report.reader.language).into_owned()
    } else {
        sum(of, &report.reader)
    }
}

/// What a day's picture shows.
fn drawn(day: &Day, is_noticed: &[bool]) -> Vec<Shape> {
    let is_down = |interval: &&Interval| {
        let noticed = |index: usize| is_noticed.get(index) == Some(&true);
        matches!(interval.state, State::Down(index) if noticed(index))
    };
    let (down, other): (Vec<&Interval>, Vec<&Interval>) = day.intervals.iter().partition(is_down);
    let mut drawn = shapes(&other, 0, day);
    drawn.extend(shapes(&down, OUTAGE_STEPS, day));
    drawn
}

/// How intervals of a state are drawn: their class and their upper edge; `None` for not at all.
fn look(state: State, is_noticed: bool) -> Option<(&'static str, u64)> {
    match state {
        State::Down(_) if is_noticed => Some(("down", 0)),
        State::Up | State::Down(_) => Some(("up", UP_TOP)),
        State::NotObserved(Reason::Off) => None,
        State::NotObserved(_) => Some(("none", UP_TOP)),
        State::NobodyLoggedIn => Some(("nobody", NOBODY_TOP)),
    }
}

/// A rectangle that reaches down to the lower edge of its picture.
#[derive(Debug, PartialEq, Eq)]
struct Shape {
    class: &'static str,
    top: u64,
    from: u64,
    to: u64,
}

/// Intervals as what is drawn of them, in steps of their day; those of a kind that touch are drawn as one,
/// so that there are never more than steps.
fn shapes(intervals: &[&Interval], least: u64, day: &Day) -> Vec<Shape> {
    let step = |at: u64| (at - day.from) * STEPS / (day.to - day.from).max(1);
    let mut shapes: Vec<Shape> = Vec::new();
    for interval in intervals {
        let Some((class, top)) = look(interval.state, least > 0) else {
            continue;
        };
        let from = step(interval.from).min(STEPS - least);
        let to = step(interval.to).max(from + least);
        match shapes.last_mut() {
            Some(before) if before.class == class && before.to >= from => {
                before.to = to.max(before.to);
            }
            _ if from == to => {}
            _ => shapes.push(Shape {
                class,
                top,
                from,
                to,
            }),
        }
    }
    shapes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DAY;

    const HOUR: u64 = DAY / 24;

    /// A midnight, in microseconds.
    const BEGIN: u64 = 20_000 * DAY;

    fn day(intervals: Vec<Interval>) -> Day {
        Day {
            from: BEGIN,
            to: BEGIN + DAY,
            intervals,
            ..Day::default()
        }
    }

    fn interval(from: u64, to: u64, state: State) -> Interval {
        Interval { from, to, state }
    }

    #[test]
    fn a_day_is_drawn_to_scale_and_what_nobody_notices_is_not_red() {
        let down = State::Down(0);
        let day = day(vec![
            interval(BEGIN, BEGIN + HOUR, State::NotObserved(Reason::Off)),
            interval(BEGIN + HOUR, BEGIN + 2 * HOUR, State::Up),
            interval(BEGIN + 2 * HOUR, BEGIN + 2 * HOUR + 8000, down),
            interval(BEGIN + 2 * HOUR + 8000, BEGIN + 4 * HOUR, State::Up),
        ]);
        let shape = |class, top, from, to| Shape {
            class,
            top,
            from,
            to,
        };
        let up = shape("up", UP_TOP, 60, 240);
        assert_eq!(drawn(&day, &[false]), [up]);
        let red = shape("down", 0, 120, 125);
        assert_eq!(drawn(&day, &[true]).last(), Some(&red));
    }

    #[test]
    fn a_million_outages_are_few_shapes() {
        let all: Vec<Interval> = (0..1_000_000)
            .map(|n| {
                interval(
                    BEGIN + n * DAY / 1_000_000,
                    BEGIN + n * DAY / 1_000_000 + 1,
                    State::Down(0),
                )
            })
            .collect();
        let day = day(all);
        let drawn = shapes(
            &day.intervals.iter().collect::<Vec<_>>(),
            OUTAGE_STEPS,
            &day,
        );
        assert!(drawn.len() <= 2, "{}", drawn.len());
    }

    #[test]
    fn nothing_foreign_is_more_than_text() {
        let mut page = String::new();
        Text.write_escaped_str(&mut page, "<a href=\"'&'\">\n")
            .unwrap();
        for markup in ["<", ">", "\"", "'", "\n"] {
            assert!(!page.contains(markup), "{page}");
        }
        assert!(page.contains("\\n") && page.contains("a href="), "{page}");
    }
}
