//! The report as one page that needs nothing else: for a browser, a phone, a printer, a screen reader.
//!
//! It is well-formed XML too, so that a test can take it apart. Whatever comes from elsewhere goes
//! through [`escape`].

use std::borrow::Cow;

use rust_i18n::t;

use super::days::{Day, NOTICED, Sum, days, noticed_and_short};
use super::history::{Interval, Reason, Record, State};
use super::words::{cause, day, duration, figures, month, reason, sum, time, verdict, zone};
use super::{Placed, Report, not_observed, outages};
use crate::text::escape::printable;

/// The page's look; it refers to nothing outside the page.
const STYLE: &str = include_str!("report.css");

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

/// The report as a page.
#[must_use]
pub fn html(report: &Report) -> String {
    let past = &report.past;
    let title = escape(&t!("report.title", host = report.host));
    let when = |micros| time(micros, &report.zone);
    let period = t!(
        "report.period",
        from = when(past.from),
        to = when(past.to),
        zone = zone(past.from, past.to, &report.zone)
    );
    let mut sections = String::new();
    for (key, record) in &past.processes {
        sections += &section(key, record, report);
    }
    if past.processes.is_empty() {
        sections = format!("<p>{}</p>\n", escape(&t!("report.empty")));
    }
    format!(
        r#"<!DOCTYPE html>
<html xmlns="http://www.w3.org/1999/xhtml" lang="{language}">
<head>
<meta charset="utf-8"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<title>{title}</title>
<style>
{STYLE}</style>
</head>
<body>
<svg class="defs" aria-hidden="true"><defs><pattern id="hatch" width="14" height="14" patternUnits="userSpaceOnUse"><path d="M-2 16 16 -2"/></pattern></defs></svg>
<header>
<h1>{title}</h1>
<p>{period}</p>
{legend}</header>
<main>
{sections}</main>
<footer class="quiet">
<p>{definition}</p>
<p>{made_by}</p>
</footer>
</body>
</html>
"#,
        language = &*rust_i18n::locale(),
        period = escape(&period),
        legend = legend(report),
        definition = escape(&t!("report.definition")),
        made_by = escape(&t!("report.made_by", version = env!("CARGO_PKG_VERSION"))),
    )
}

/// What the timelines' shapes mean.
fn legend(report: &Report) -> String {
    let item = |interval: State, words: &str| {
        let (class, top) = look(interval, true).unwrap_or_default();
        format!(
            "<li><svg viewBox=\"0 0 48 {HEIGHT}\" preserveAspectRatio=\"none\" aria-hidden=\"true\">\
             {}</svg>{}</li>\n",
            rectangle(class, top, 0, 48),
            escape(words)
        )
    };
    let unseen = State::NotObserved(Reason::NoRecord);
    let mut records = report.past.processes.values();
    let is_nobody = |interval: &Interval| interval.state == State::NobodyLoggedIn;
    let nobody = if records.any(|record| record.intervals.iter().any(is_nobody)) {
        item(State::NobodyLoggedIn, &t!("report.nobody"))
    } else {
        String::new()
    };
    format!(
        "<ul class=\"legend\">\n{}{}{}{nobody}</ul>\n",
        item(State::Up, &t!("report.up")),
        item(State::Down(0), &t!("report.down")),
        item(unseen, &t!("report.not_observed"))
    )
}

fn section(key: &str, record: &Record, report: &Report) -> String {
    let (past, zone) = (&report.past, &report.zone);
    let name = report.name(key);
    let days = days(record, past.from, past.to, zone);
    let mut section = format!(
        "<section>\n<div class=\"summary\">\n<h2>{}</h2>\n<p class=\"verdict\">{}</p>\n<dl>\n",
        escape(name),
        escape(&verdict(name, record, &days, zone))
    );
    for (label, value) in figures(record) {
        section += &format!(
            "<div><dt>{}</dt><dd>{}</dd></div>\n",
            escape(&label),
            escape(&value)
        );
    }
    section += "</dl>\n</div>\n";
    let placed = outages(record);
    let (noticed, short) = noticed_and_short(&placed);
    let is_noticed = is_noticed(record);
    section += &if days.len() > DAYS_MAX {
        let bad: Vec<&Day> = days.iter().filter(|day| day.noticed.count > 0).collect();
        let pictures = pictures(&t!("report.bad_days"), &bad, &is_noticed, report);
        format!(
            "{}<div class=\"many\">\n{pictures}</div>\n",
            months(&days, report)
        )
    } else {
        let all: Vec<&Day> = days.iter().collect();
        pictures(&t!("report.by_day"), &all, &is_noticed, report)
    };
    let rows = |outages: &[&Placed]| -> Vec<[String; 3]> {
        let rows = outages.iter().map(|one| {
            let when = time(one.from, zone);
            [when, duration(one.length), cause(one, report)]
        });
        rows.collect()
    };
    section += &table(&t!("report.long_outages"), &rows(&noticed));
    if !placed.is_empty() {
        let text = escape(&t!("report.on_paper"));
        section += &format!("<p class=\"on-paper quiet\">{text}</p>\n");
    }
    if !short.is_empty() {
        section += &format!(
            "<details>\n<summary>{}: {}</summary>\n{}</details>\n",
            escape(&t!("report.short_outages")),
            escape(&sum(Sum::of(&short))),
            table(&t!("report.short_outages"), &rows(&short))
        );
    }
    let rows = not_observed(record).map(|(interval, why)| {
        let when = time(interval.from, zone);
        [when, duration(interval.length()), reason(why)]
    });
    section += &table(&t!("report.not_observed"), &rows.collect::<Vec<_>>());
    section + "</section>\n"
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
fn months(days: &[Day], report: &Report) -> String {
    let mut months: Vec<(String, Sum, Sum)> = Vec::new();
    for day in days {
        let name = month(day.from, &report.zone);
        if months.last().is_none_or(|(last, ..)| *last != name) {
            months.push((name, Sum::default(), Sum::default()));
        }
        if let Some((_, noticed, short)) = months.last_mut() {
            noticed.merge(day.noticed);
            short.merge(day.short);
        }
    }
    let heads = [
        t!("report.a_month"),
        t!("report.long_outages"),
        t!("report.short_outages"),
    ];
    let mut table = head("days", &t!("report.by_month"), &heads);
    for (name, noticed, short) in months {
        table += &format!(
            "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td></tr>\n",
            escape(&name),
            escape(&sum_or_none(noticed)),
            escape(&sum_or_none(short))
        );
    }
    table + "</tbody>\n</table>\n"
}

/// A picture a day.
fn pictures(caption: &str, days: &[&Day], is_noticed: &[bool], report: &Report) -> String {
    if days.is_empty() {
        return String::new();
    }
    let mut table = format!(
        "<table class=\"days pictures\">\n<caption>{}</caption>\n<thead><tr><th scope=\"col\">{}</th>\
         <th scope=\"col\" aria-hidden=\"true\"><div class=\"hours\"><span>0</span><span>6</span>\
         <span>12</span><span>18</span><span>24</span></div></th><th scope=\"col\">{}</th></tr></thead>\n\
         <tbody>\n",
        escape(caption),
        escape(&t!("report.a_day")),
        escape(&t!("report.long_outages"))
    );
    for one in days {
        table += &format!(
            "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td></tr>\n",
            escape(&day(one.from, &report.zone)),
            picture(one, is_noticed),
            escape(&sum_or_none(one.noticed))
        );
    }
    table + "</tbody>\n</table>\n"
}

fn sum_or_none(of: Sum) -> String {
    if of.count == 0 {
        t!("report.nothing").into_owned()
    } else {
        sum(of)
    }
}

/// A table up to its first row.
fn head(class: &str, caption: &str, heads: &[Cow<'_, str>]) -> String {
    let caption = escape(caption);
    let mut head = format!("<table class=\"{class}\">\n<caption>{caption}</caption>\n<thead><tr>");
    for one in heads {
        head += &format!("<th scope=\"col\">{}</th>", escape(one));
    }
    head + "</tr></thead>\n<tbody>\n"
}

fn table(caption: &str, rows: &[[String; 3]]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let left_out = rows.len().saturating_sub(ROWS_MAX);
    let mut caption = caption.to_owned();
    if left_out > 0 {
        caption += " ";
        caption += &t!("report.left_out", count = left_out);
    }
    let heads = [t!("report.began"), t!("report.lasted"), t!("report.why")];
    let mut table = head("list", &caption, &heads);
    for row in &rows[left_out..] {
        table += "<tr>";
        for cell in row {
            table += &format!("<td>{}</td>", escape(cell));
        }
        table += "</tr>\n";
    }
    table + "</tbody>\n</table>\n"
}

/// A picture of a day, to scale; what it shows is in the tables, for those who don't see it.
fn picture(day: &Day, is_noticed: &[bool]) -> String {
    let mut drawing = String::new();
    let is_down = |interval: &&Interval| {
        let noticed = |index: usize| is_noticed.get(index) == Some(&true);
        matches!(interval.state, State::Down(index) if noticed(index))
    };
    let (down, other): (Vec<&Interval>, Vec<&Interval>) = day.intervals.iter().partition(is_down);
    for (intervals, least) in [(other, 0), (down, OUTAGE_STEPS)] {
        for (class, top, begin, end) in shapes(&intervals, least, day) {
            drawing += &rectangle(class, top, begin, end);
        }
    }
    format!(
        "<svg class=\"timeline\" aria-hidden=\"true\" viewBox=\"0 0 {STEPS} {HEIGHT}\" \
         preserveAspectRatio=\"none\">{drawing}</svg>"
    )
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

fn rectangle(class: &str, top: u64, from: u64, to: u64) -> String {
    let (width, height) = (to - from, HEIGHT - top);
    format!(
        "<rect class=\"{class}\" x=\"{from}\" y=\"{top}\" width=\"{width}\" height=\"{height}\"/>"
    )
}

/// Intervals as what is drawn of them, in steps of their day; those of a kind that touch are drawn as one,
/// so that there are never more than steps.
fn shapes(intervals: &[&Interval], least: u64, day: &Day) -> Vec<(&'static str, u64, u64, u64)> {
    let step = |at: u64| (at - day.from) * STEPS / (day.to - day.from).max(1);
    let mut shapes: Vec<(&'static str, u64, u64, u64)> = Vec::new();
    for interval in intervals {
        let Some((class, top)) = look(interval.state, least > 0) else {
            continue;
        };
        let begin = step(interval.from).min(STEPS - least);
        let end = step(interval.to).max(begin + least);
        match shapes.last_mut() {
            Some((same, _, _, until)) if *same == class && *until >= begin => {
                *until = end.max(*until);
            }
            _ if begin == end => {}
            _ => shapes.push((class, top, begin, end)),
        }
    }
    shapes
}

/// Text as it may stand anywhere in the page, whatever it is.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in printable(text).chars() {
        match c {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\'' => escaped += "&#39;",
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::super::DAY;
    use super::*;

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
        let up = "<rect class=\"up\" x=\"60\" y=\"20\" width=\"180\" height=\"40\"/>";
        let drawn = picture(&day, &[false]);
        assert!(drawn.contains(up) && !drawn.contains("down"), "{drawn}");
        let drawn = picture(&day, &[true]);
        let red = "<rect class=\"down\" x=\"120\" y=\"0\" width=\"5\" height=\"60\"/>";
        assert!(drawn.contains(red), "{drawn}");
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
        assert_eq!(
            escape("<a href=\"'&'\">\n"),
            "&lt;a href=&quot;&#39;&amp;&#39;&quot;&gt;\\n"
        );
    }
}
