//! The report as one page that needs nothing else: for a browser, a phone, a printer, a screen reader.
//!
//! It is well-formed XML too, so that a test can take it apart. Whatever comes from elsewhere goes
//! through [`escape`].

use rust_i18n::t;
use tz::TimeZone;

use super::history::{Interval, Record, State};
use super::words::{cause, day, duration, figures, hour, offset, reason, time, zone};
use super::{Report, outages};
use crate::text::escape::printable;

/// The page's look; it refers to nothing outside the page.
const STYLE: &str = include_str!("report.css");

/// How many steps wide a timeline is drawn; each is about a pixel of a large screen.
const STEPS: u64 = 2000;

/// The least that an outage is drawn wide, in steps: a pixel on a phone.
const OUTAGE_STEPS: u64 = 7;

/// A timeline is drawn this high, in units of its own.
const HEIGHT: u64 = 60;

/// What runs is drawn lower than what is down, so that it takes no colour to tell them apart.
const UP_TOP: u64 = 20;

/// The same of the time when nobody was logged in.
const NOBODY_TOP: u64 = 40;

/// More rows than this are in no table: the latest are, and how many there are besides.
const ROWS_MAX: usize = 500;

/// At most so many times are written below a timeline: there is room for them on a phone.
const TICKS_MAX: u64 = 7;

/// The distances between such times, in hours.
const TICK_HOURS: [u64; 13] = [1, 2, 4, 6, 12, 24, 48, 96, 168, 336, 672, 1344, 2688];

const HOUR: u64 = 3_600_000_000;

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
    for (number, (key, record)) in past.processes.iter().enumerate() {
        sections += &section(number, key, record, report);
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
        let (class, top) = look(interval);
        format!(
            "<li><svg viewBox=\"0 0 48 {HEIGHT}\" preserveAspectRatio=\"none\" aria-hidden=\"true\">\
             {}</svg>{}</li>\n",
            rectangle(class, top, 0, 48),
            escape(words)
        )
    };
    let not_observed = State::NotObserved(super::history::Reason::NoRecord);
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
        item(not_observed, &t!("report.not_observed"))
    )
}

fn section(number: usize, key: &str, record: &Record, report: &Report) -> String {
    let mut section = format!(
        "<section>\n<div class=\"summary\">\n<h2>{}</h2>\n{}<dl>\n",
        escape(key),
        timeline(number, key, record, report)
    );
    for (label, value) in figures(record) {
        section += &format!(
            "<div><dt>{}</dt><dd>{}</dd></div>\n",
            escape(&label),
            escape(&value)
        );
    }
    section += "</dl>\n</div>\n";
    let when = |micros| time(micros, &report.zone);
    let placed = outages(record);
    let rows = placed.iter().map(|one| {
        [
            when(one.from),
            duration(one.length),
            cause(one, report.past.to),
        ]
    });
    section += &table(&t!("report.outages"), &rows.collect::<Vec<_>>());
    let intervals = record.intervals.iter();
    let rows = intervals.filter_map(|interval| match interval.state {
        State::NotObserved(why) => Some([
            when(interval.from),
            duration(interval.length()),
            reason(why),
        ]),
        _ => None,
    });
    section += &table(&t!("report.not_observed"), &rows.collect::<Vec<_>>());
    section + "</section>\n"
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
    let mut table = format!(
        "<table>\n<caption>{}</caption>\n<thead><tr>",
        escape(&caption)
    );
    for head in [t!("report.began"), t!("report.lasted"), t!("report.why")] {
        table += &format!("<th scope=\"col\">{}</th>", escape(&head));
    }
    table += "</tr></thead>\n<tbody>\n";
    for row in &rows[left_out..] {
        table += "<tr>";
        for cell in row {
            table += &format!("<td>{}</td>", escape(cell));
        }
        table += "</tr>\n";
    }
    table + "</tbody>\n</table>\n"
}

/// A picture of the whole period, with a text for those who don't see it.
fn timeline(number: usize, key: &str, record: &Record, report: &Report) -> String {
    let (from, to) = (report.past.from, report.past.to);
    let named = figures(record);
    let words = t!(
        "report.timeline_in_words",
        availability = named.first().map_or("", |(_, value)| value),
        outages = outages(record).len()
    );
    let mut drawing = String::new();
    let (is_down, is_other): (Vec<&Interval>, Vec<&Interval>) = record
        .intervals
        .iter()
        .partition(|interval| matches!(interval.state, State::Down(_)));
    for (intervals, least) in [(is_other, 1), (is_down, OUTAGE_STEPS)] {
        for (class, top, begin, end) in shapes(&intervals, least, from, to) {
            drawing += &rectangle(class, top, begin, end);
        }
    }
    let mut labels = String::new();
    for (at, label) in ticks(from, to, &report.zone) {
        let step = (at - from) * STEPS / (to - from).max(1);
        drawing += &format!("<path class=\"tick\" d=\"M{step} 0V{HEIGHT}\"/>");
        // One at the edge would stick out.
        if (STEPS / 16..=STEPS * 15 / 16).contains(&step) {
            let (percent, rest) = (step * 100 / STEPS, step * 1000 / STEPS % 10);
            let label = escape(&label);
            labels += &format!("<span style=\"left:{percent}.{rest}%\">{label}</span>");
        }
    }
    format!(
        "<svg class=\"timeline\" role=\"img\" aria-labelledby=\"t{number} d{number}\" \
         viewBox=\"0 0 {STEPS} {HEIGHT}\" preserveAspectRatio=\"none\">\
         <title id=\"t{number}\">{}</title><desc id=\"d{number}\">{}</desc>{drawing}</svg>\n\
         <div class=\"ticks\" aria-hidden=\"true\">{labels}</div>\n",
        escape(&t!("report.timeline", process = key)),
        escape(&words)
    )
}

/// How intervals of a state are drawn: their class and their upper edge.
fn look(state: State) -> (&'static str, u64) {
    match state {
        State::Up => ("up", UP_TOP),
        State::Down(_) => ("down", 0),
        State::NotObserved(_) => ("none", UP_TOP),
        State::NobodyLoggedIn => ("nobody", NOBODY_TOP),
    }
}

fn rectangle(class: &str, top: u64, from: u64, to: u64) -> String {
    let (width, height) = (to - from, HEIGHT - top);
    format!(
        "<rect class=\"{class}\" x=\"{from}\" y=\"{top}\" width=\"{width}\" height=\"{height}\"/>"
    )
}

/// Intervals as what is drawn of them, in steps; those of a kind that touch are drawn as one, so that
/// there are never more than steps.
fn shapes(
    intervals: &[&Interval],
    least: u64,
    from: u64,
    to: u64,
) -> Vec<(&'static str, u64, u64, u64)> {
    let step = |at: u64| {
        let step = u128::from(at - from) * u128::from(STEPS) / u128::from((to - from).max(1));
        u64::try_from(step).unwrap_or(STEPS)
    };
    let mut shapes: Vec<(&'static str, u64, u64, u64)> = Vec::new();
    for interval in intervals {
        let (class, top) = look(interval.state);
        let begin = step(interval.from).min(STEPS - least);
        let end = step(interval.to).max(begin + least);
        match shapes.last_mut() {
            Some((same, _, _, until)) if *same == class && *until >= begin => {
                *until = end.max(*until);
            }
            _ => shapes.push((class, top, begin, end)),
        }
    }
    shapes
}

/// The times that are written below a timeline.
fn ticks(from: u64, to: u64, zone: &TimeZone) -> Vec<(u64, String)> {
    let hours = TICK_HOURS.into_iter();
    let mut fitting = hours.filter(|hours| (to - from) / (hours * HOUR) <= TICKS_MAX);
    let hours = fitting.next().unwrap_or(TICK_HOURS[TICK_HOURS.len() - 1]);
    let step = i128::from(hours * HOUR);
    let ahead = i128::from(offset(from, zone)) * 1_000_000;
    let first = (i128::from(from) + ahead + step - 1).div_euclid(step) * step - ahead;
    let mut at = u64::try_from(first).unwrap_or(to);
    let mut ticks = Vec::new();
    while at < to {
        let label = if hours < 24 {
            hour(at, zone)
        } else {
            day(at, zone)
        };
        ticks.push((at, label));
        at += hours * HOUR;
    }
    ticks
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
    use super::*;
    use crate::report::history::Reason;

    /// Midnight of a day, in microseconds.
    const BEGIN: u64 = 20_000 * 24 * HOUR;

    fn interval(from: u64, to: u64, state: State) -> Interval {
        Interval { from, to, state }
    }

    #[test]
    fn the_shortest_outage_of_a_year_is_seen_and_a_million_are_few_shapes() {
        let to = BEGIN + 366 * 24 * HOUR;
        let shortest = interval(to - 1, to, State::Down(0));
        let drawn = shapes(&[&shortest], OUTAGE_STEPS, BEGIN, to);
        assert_eq!(drawn, [("down", 0, STEPS - OUTAGE_STEPS, STEPS)]);
        let all: Vec<Interval> = (0..1_000_000)
            .map(|n| {
                interval(
                    BEGIN + n * HOUR / 200,
                    BEGIN + n * HOUR / 200 + 1,
                    State::Down(0),
                )
            })
            .collect();
        let drawn = shapes(&all.iter().collect::<Vec<_>>(), OUTAGE_STEPS, BEGIN, to);
        assert!(drawn.len() <= 2, "{}", drawn.len());
    }

    #[test]
    fn what_runs_and_what_is_not_known_are_drawn_apart() {
        let up = interval(BEGIN, BEGIN + HOUR, State::Up);
        let unknown = State::NotObserved(Reason::NoRecord);
        let unknown = interval(BEGIN + HOUR, BEGIN + 4 * HOUR, unknown);
        assert_eq!(
            shapes(&[&up, &unknown], 1, BEGIN, BEGIN + 4 * HOUR),
            [("up", UP_TOP, 0, 500), ("none", UP_TOP, 500, 2000)]
        );
    }

    #[test]
    fn the_times_below_are_round_where_the_machine_is() {
        let fortaleza = TimeZone::from_posix_tz("<-03>3").unwrap();
        let labels = |from, to| -> Vec<String> {
            let ticks = ticks(from, to, &fortaleza);
            assert!(ticks.iter().all(|(at, _)| (from..to).contains(at)));
            ticks.into_iter().map(|(_, label)| label).collect()
        };
        let midday = BEGIN + 12 * HOUR;
        assert_eq!(
            labels(midday, midday + 24 * HOUR),
            ["12:00", "16:00", "20:00", "00:00", "04:00", "08:00"]
        );
        let week = labels(midday, midday + 7 * 24 * HOUR);
        assert_eq!((week.len(), week[0].as_str()), (7, "10-05"));
        for days in 1..=366 {
            assert!(
                labels(midday, midday + days * 24 * HOUR).len() <= 8,
                "{days} days"
            );
        }
        assert!(labels(BEGIN, BEGIN + 1).len() <= 1);
    }

    #[test]
    fn nothing_foreign_is_more_than_text() {
        assert_eq!(
            escape("<a href=\"'&'\">\n"),
            "&lt;a href=&quot;&#39;&amp;&#39;&quot;&gt;\\n"
        );
    }
}
