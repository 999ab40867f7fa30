//! The time that somebody wants a report about: the last days, a month, or from one day to another. When
//! something was in that time is decided in [`mfe_history::history`].

use std::time::{Duration, SystemTime};

use anyhow::Context;
use mfe_history::{LONGEST, USUAL, local_time};
use rust_i18n::t;
use tz::{DateTime, TimeZone};

/// What was asked for, in words.
#[derive(Debug, Default)]
pub struct Asked<'a> {
    /// How long before now it begins, as 7d.
    pub since: Option<&'a str>,
    /// The month, as 2026-10.
    pub month: Option<&'a str>,
    /// The day or the moment at which it begins, as 2026-10-31 or 2026-10-31 14:30.
    pub from: Option<&'a str>,
    /// The day or the moment with which it ends.
    pub to: Option<&'a str>,
}

/// The time that a report is about, by its distance from now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    /// How long ago it begins.
    pub since: Duration,
    /// How long ago it ends.
    pub until: Duration,
}

/// A day, or a moment on one.
struct Point {
    begin: SystemTime,
    end: SystemTime,
}

impl Period {
    /// The time that was asked for, in the calendar of `zone`.
    ///
    /// # Errors
    /// When that can't be understood, or makes no sense.
    pub fn of(asked: &Asked, now: SystemTime, zone: &TimeZone) -> anyhow::Result<Self> {
        let (from, to) = match asked {
            Asked {
                month: Some(text), ..
            } => month(text, zone).with_context(|| t!("report.not_a_month", text = text))?,
            Asked {
                from: None,
                to: None,
                since,
                ..
            } => (now - length(since.unwrap_or(USUAL))?, now),
            Asked {
                from, to, since, ..
            } => {
                let point = |text: &str| {
                    let point = point(text, zone);
                    point.with_context(|| t!("report.not_a_day", text = text).into_owned())
                };
                let to = to.map(point).transpose()?.map_or(now, |to| to.end).min(now);
                let from = match from {
                    Some(from) => point(from)?.begin,
                    None => to - length(since.unwrap_or(USUAL))?,
                };
                (from, to)
            }
        };
        let period = to.min(now).duration_since(from).unwrap_or_default();
        anyhow::ensure!(!period.is_zero(), "{}", t!("report.no_period"));
        anyhow::ensure!(period <= LONGEST, "{}", t!("report.too_long"));
        let ago = |time: SystemTime| now.duration_since(time).unwrap_or_default();
        Ok(Self {
            since: ago(from),
            until: ago(to),
        })
    }
}

fn length(text: &str) -> anyhow::Result<Duration> {
    let length = humantime::parse_duration(text).ok();
    let length = length.filter(|length| !length.is_zero() && *length <= LONGEST);
    length.with_context(|| t!("report.not_a_period", text = text).into_owned())
}

/// A month, as 2026-10 or 10/2026.
fn month(text: &str, zone: &TimeZone) -> Option<(SystemTime, SystemTime)> {
    let (year, month) = match text.split_once('-') {
        Some((year, month)) => (year, month),
        None => text.split_once('/').map(|(month, year)| (year, month))?,
    };
    let (year, month) = (number(year, 4)?, u8::try_from(number(month, 2)?).ok()?);
    let begin = moment((year, month, 1), (0, 0, 0), zone)?;
    let next = if month == 12 {
        (year + 1, 1, 1)
    } else {
        (year, month + 1, 1)
    };
    Some((begin, moment(next, (0, 0, 0), zone)?))
}

/// A day, as 2026-10-31 or 31/10/2026, with a time of day or without.
fn point(text: &str, zone: &TimeZone) -> Option<Point> {
    let (day, time) = match text.split_once([' ', 'T']) {
        Some((day, time)) => (day, Some(time)),
        None => (text, None),
    };
    let day: Vec<&str> = day.split(['-', '/']).collect();
    let [one, month, other] = day[..] else {
        return None;
    };
    let (year, day) = if text.contains('/') {
        (other, one)
    } else {
        (one, other)
    };
    let date = (
        number(year, 4)?,
        u8::try_from(number(month, 2)?).ok()?,
        u8::try_from(number(day, 2)?).ok()?,
    );
    if let Some(time) = time {
        let parts = time
            .split(':')
            .map(|part| u8::try_from(number(part, 2)?).ok());
        let (hour, minute, second) = match parts.collect::<Option<Vec<u8>>>()?[..] {
            [hour, minute] => (hour, minute, 0),
            [hour, minute, second] => (hour, minute, second),
            _ => return None,
        };
        let begin = moment(date, (hour, minute, second), zone)?;
        return Some(Point { begin, end: begin });
    }
    let begin = moment(date, (0, 0, 0), zone)?;
    // Days have 23 to 25 hours.
    let noon_of_next = begin + Duration::from_secs(36 * 3600);
    let next = local_time::local(noon_of_next, zone)?;
    let next = (next.year(), next.month(), next.month_day());
    let end = moment(next, (0, 0, 0), zone)?;
    Some(Point { begin, end })
}

/// A number of at most so many digits, and nothing but digits.
fn number(text: &str, digits: usize) -> Option<i32> {
    let is_number = text.len() <= digits && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}

fn moment(
    (year, month, day): (i32, u8, u8),
    (hour, minute, second): (u8, u8, u8),
    zone: &TimeZone,
) -> Option<SystemTime> {
    let found = DateTime::find(year, month, day, hour, minute, second, 0, zone.as_ref());
    let seconds = found.ok()?.earliest()?.unix_time();
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-11-26T15:30:00Z";

    fn time(text: &str) -> SystemTime {
        humantime::parse_rfc3339(text).unwrap()
    }

    /// Beginning and end of what is asked for, in UTC.
    fn period(asked: &Asked) -> anyhow::Result<(String, String)> {
        let now = time(NOW);
        let zone = TimeZone::from_posix_tz("<-03>3").unwrap();
        let period = Period::of(asked, now, &zone)?;
        let shown = |ago| humantime::format_rfc3339_seconds(now - ago).to_string();
        Ok((shown(period.since), shown(period.until)))
    }

    #[test]
    fn days_and_months_are_those_of_the_machines_calendar() {
        let asked = |month, from, to, since| Asked {
            since,
            month,
            from,
            to,
        };
        for (asked, from, to) in [
            (asked(None, None, None, None), "2026-11-19T15:30:00Z", NOW),
            (
                asked(None, None, None, Some("24h")),
                "2026-11-25T15:30:00Z",
                NOW,
            ),
            (
                asked(Some("2026-10"), None, None, None),
                "2026-10-01T03:00:00Z",
                "2026-11-01T03:00:00Z",
            ),
            (
                asked(Some("12/2025"), None, None, None),
                "2025-12-01T03:00:00Z",
                "2026-01-01T03:00:00Z",
            ),
            (
                asked(Some("2026-11"), None, None, None),
                "2026-11-01T03:00:00Z",
                NOW,
            ),
            (
                asked(None, Some("2026-11-03"), Some("2026-11-05"), None),
                "2026-11-03T03:00:00Z",
                "2026-11-06T03:00:00Z",
            ),
            (
                asked(None, Some("03/11/2026"), None, None),
                "2026-11-03T03:00:00Z",
                NOW,
            ),
            (
                asked(
                    None,
                    Some("2026-11-03 14:30"),
                    Some("3/11/2026 16:00:05"),
                    None,
                ),
                "2026-11-03T17:30:00Z",
                "2026-11-03T19:00:05Z",
            ),
            (
                asked(None, None, Some("2026-11-05"), Some("1d")),
                "2026-11-05T03:00:00Z",
                "2026-11-06T03:00:00Z",
            ),
            (
                asked(None, Some("2026-11-26"), Some("2027-01-01"), None),
                "2026-11-26T03:00:00Z",
                NOW,
            ),
        ] {
            let expected = (from.to_owned(), to.to_owned());
            assert_eq!(period(&asked).unwrap(), expected, "{asked:?}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_an_example() {
        for (month, from, to, words) in [
            (Some("2026-13"), None, None, "2026-13 is not a month: write"),
            (Some("october"), None, None, "october is not a month: write"),
            (
                None,
                Some("yesterday"),
                None,
                "yesterday is not a day: write",
            ),
            (
                None,
                Some("2026-02-30"),
                None,
                "2026-02-30 is not a day: write",
            ),
            (
                None,
                None,
                Some("2026-11-03 25:00"),
                "25:00 is not a day: write",
            ),
            (None, None, Some("2026-11-+3"), "is not a day: write"),
            (Some("2026-12"), None, None, "is empty"),
            (None, Some("2026-11-05"), Some("2026-11-03"), "is empty"),
            (None, Some("2020-01-01"), None, "at most a year"),
        ] {
            let asked = Asked {
                since: None,
                month,
                from,
                to,
            };
            let refused = period(&asked).unwrap_err().to_string();
            assert!(refused.contains(words), "{asked:?}: {refused}");
        }
    }
}
