//! The words and numbers that the report's text and page share, in the reader's language.

use std::time::Duration;

use rust_i18n::t;
use tz::TimeZone;

use crate::days::{Day, Sum, local, noticed_and_short, offset};
use crate::figures::{Figures, Placed, outages};
use crate::history::{Reason, Record};
use crate::{Reader, Report, Source};

/// A duration in microseconds, for a person.
pub(crate) fn duration(micros: u64) -> String {
    mfe_common::duration::duration(Duration::from_micros(micros))
}

/// Thousandths of a percent, or that there is nothing to tell.
fn percent(share: Option<u64>, reader: &Reader) -> String {
    match share {
        None => t!("report.nothing", locale = reader.language).into_owned(),
        Some(100_000) => "100%".into(),
        Some(share) => decimal(
            share / 1000,
            &format!("{:03}%", share % 1000),
            reader.language,
        ),
    }
}

/// A number with a decimal point, or what the language has for it.
#[must_use]
pub fn decimal(whole: u64, rest: &str, language: &str) -> String {
    format!(
        "{whole}{}{rest}",
        t!("report.decimal_point", locale = language)
    )
}

/// How often something happened, and how often a day.
fn count_per_day(count: usize, per_day: Option<u64>, reader: &Reader) -> String {
    match per_day {
        Some(tenths) => {
            let per_day = decimal(tenths / 10, &(tenths % 10).to_string(), reader.language);
            t!(
                "report.count_per_day",
                locale = reader.language,
                count = count,
                per_day = per_day
            )
            .into_owned()
        }
        None => count.to_string(),
    }
}

/// A day and a time on it, to the second.
pub(crate) fn time(micros: u64, reader: &Reader) -> String {
    let Some(time) = local(micros, &reader.zone) else {
        return t!("report.nothing", locale = reader.language).into_owned();
    };
    let date = t!(
        "report.date",
        locale = reader.language,
        year = time.year(),
        month = format!("{:02}", time.month()),
        day = format!("{:02}", time.month_day())
    );
    let (hour, minute, second) = (time.hour(), time.minute(), time.second());
    format!("{date} {hour:02}:{minute:02}:{second:02}")
}

/// A day of the week and of the month.
pub(crate) fn day(micros: u64, reader: &Reader) -> String {
    let Some(time) = local(micros, &reader.zone) else {
        return String::new();
    };
    let weekdays = t!("report.weekdays", locale = reader.language);
    let weekday = weekdays.split(' ').nth(time.week_day().into());
    let (day, month) = (time.month_day(), time.month());
    format!("{} {day:02}/{month:02}", weekday.unwrap_or_default())
}

/// A month of a year.
pub(crate) fn month(micros: u64, reader: &Reader) -> String {
    local(micros, &reader.zone).map_or_else(String::new, |time| {
        format!("{:02}/{}", time.month(), time.year())
    })
}

/// The same with the time of day.
fn moment(micros: u64, reader: &Reader) -> String {
    let hour = local(micros, &reader.zone).map_or_else(String::new, |time| {
        format!("{:02}:{:02}", time.hour(), time.minute())
    });
    format!("{} {hour}", day(micros, reader))
}

/// A time as people say it, to the second.
fn time_in_all(micros: u64) -> String {
    duration(if micros < 1_000_000 {
        micros
    } else {
        (micros + 500_000) / 1_000_000 * 1_000_000
    })
}

/// How many there were, and how long in all.
pub(crate) fn sum(sum: Sum, reader: &Reader) -> String {
    t!(
        "report.count_and_time",
        locale = reader.language,
        count = sum.count,
        time = time_in_all(sum.time)
    )
    .into_owned()
}

/// Whether all was well, in a sentence or two.
pub(crate) fn verdict(name: &str, record: &Record, days: &[Day], reader: &Reader) -> String {
    let observed = days.iter().filter(|day| day.is_observed()).count();
    if observed == 0 {
        return t!(
            "report.nothing_known",
            locale = reader.language,
            name = name
        )
        .into_owned();
    }
    let observed = if observed == 1 {
        t!("report.one_day", locale = reader.language).into_owned()
    } else {
        t!("report.days", locale = reader.language, count = observed).into_owned()
    };
    let placed = outages(record);
    let (noticed, short) = noticed_and_short(&placed);
    let worst = noticed.iter().max_by_key(|outage| outage.length);
    let mut text = match worst {
        None => t!(
            "report.was_fine",
            locale = reader.language,
            name = name,
            days = observed
        )
        .into_owned(),
        Some(worst) => t!(
            "report.was_down",
            locale = reader.language,
            name = name,
            time = time_in_all(Sum::of(&noticed).time),
            days = observed,
            worst = time_in_all(worst.length),
            when = moment(worst.from, reader)
        )
        .into_owned(),
    };
    if !short.is_empty() {
        text += " ";
        text += &t!(
            "report.was_short",
            locale = reader.language,
            sum = sum(Sum::of(&short), reader)
        );
    }
    if record.crash_loops > 0 {
        text += " ";
        text += &t!(
            "report.crash_loops",
            locale = reader.language,
            count = record.crash_loops
        );
    }
    text
}

/// How the zone is called whose times are shown: by its distance from UTC, at both ends of the
/// period.
pub(crate) fn zone(from: u64, to: u64, zone: &TimeZone) -> String {
    let name = |micros| {
        let offset = offset(micros, zone);
        let (sign, minutes) = (if offset < 0 { '-' } else { '+' }, offset.abs() / 60);
        format!("UTC{sign}{:02}:{:02}", minutes / 60, minutes % 60)
    };
    let (first, last) = (name(from), name(to));
    if first == last {
        last
    } else {
        format!("{first}, {last}")
    }
}

/// Every figure with its name.
pub(crate) fn figures(record: &Record, reader: &Reader) -> Vec<(String, String)> {
    let figures = Figures::of(record);
    let or_none = |micros: Option<u64>| {
        micros.map_or_else(
            || t!("report.nothing", locale = reader.language).into_owned(),
            duration,
        )
    };
    let observed = t!(
        "report.share_and_time",
        locale = reader.language,
        share = percent(figures.observed_share(), reader),
        time = duration(figures.known())
    );
    let of_outages = t!(
        "report.count_and_time",
        locale = reader.language,
        count = outages(record).len(),
        time = duration(figures.down)
    );
    let restarts = count_per_day(record.restarts, figures.per_day(record.restarts), reader);
    let nobody = (figures.nobody > 0).then(|| {
        (
            t!("report.nobody", locale = reader.language),
            duration(figures.nobody),
        )
    });
    let off = (figures.off > 0).then(|| {
        (
            t!("report.reason_off", locale = reader.language),
            time_in_all(figures.off),
        )
    });
    [
        (
            t!("report.availability", locale = reader.language),
            percent(figures.availability(), reader),
        ),
        (
            t!("report.observed", locale = reader.language),
            observed.into_owned(),
        ),
        (
            t!("report.outages", locale = reader.language),
            of_outages.into_owned(),
        ),
        (
            t!("report.longest", locale = reader.language),
            or_none(figures.longest_outage),
        ),
        (
            t!("report.mean", locale = reader.language),
            or_none(figures.mean_time_to_recover),
        ),
        (t!("report.restarts", locale = reader.language), restarts),
        (
            t!("report.unhealthy", locale = reader.language),
            record.unhealthy.to_string(),
        ),
    ]
    .into_iter()
    .chain(nobody)
    .chain(off)
    .map(|(label, value)| (label.into_owned(), value))
    .collect()
}

/// Why a process was gone, and what else there is to know of that.
pub(crate) fn cause(placed: &Placed, report: &Report) -> String {
    let (outage, reader) = (placed.outage, &report.reader);
    let reaches_end = !outage.is_end_seen && placed.to == report.past.to;
    let is_until_now = report.past.is_until_now;
    let words = outage.cause.as_deref();
    let words = words.map(|cause| cause_in_words(cause, outage.signal.as_deref(), reader.language));
    let mut words =
        words.unwrap_or_else(|| t!("report.nothing", locale = reader.language).into_owned());
    for (is_so, more) in [
        (
            outage.is_in_pause,
            t!("report.in_pause", locale = reader.language),
        ),
        (
            outage.start_failed,
            t!("report.start_failed", locale = reader.language),
        ),
        (
            !outage.is_begin_seen,
            t!("report.begin_not_seen", locale = reader.language),
        ),
        (
            reaches_end && is_until_now,
            t!("report.lasts", locale = reader.language),
        ),
        (
            reaches_end && !is_until_now,
            t!("report.goes_on", locale = reader.language),
        ),
        (
            !outage.is_end_seen && !reaches_end,
            t!("report.end_not_seen", locale = reader.language),
        ),
    ] {
        if is_so {
            words += "; ";
            words += &more;
        }
    }
    words
}

/// Why a process was gone, by `MFE_CAUSE`; a cause that a later version tells is shown as it is.
#[must_use]
pub fn cause_in_words(cause: &str, signal: Option<&str>, language: &str) -> String {
    if let ("killed", Some(signal)) = (cause, signal) {
        return t!("report.cause_signal", locale = language, signal = signal).into_owned();
    }
    match cause {
        "oom" => t!("report.cause_oom", locale = language).into_owned(),
        "absent" => t!("report.cause_absent", locale = language).into_owned(),
        "gone" => t!("report.cause_gone", locale = language).into_owned(),
        "exited" => t!("report.cause_exited", locale = language).into_owned(),
        "killed" => t!("report.cause_killed", locale = language).into_owned(),
        "unhealthy" => t!("report.cause_unhealthy", locale = language).into_owned(),
        "requested" => t!("report.cause_requested", locale = language).into_owned(),
        "stopped" => t!("report.cause_stopped", locale = language).into_owned(),
        "duplicate" => t!("report.cause_duplicate", locale = language).into_owned(),
        "late" => t!("report.cause_late", locale = language).into_owned(),
        "outside" => t!("report.cause_outside", locale = language).into_owned(),
        "display" | "session" => t!("report.cause_session", locale = language).into_owned(),
        other => other.to_owned(),
    }
}

/// Why a process wasn't observed.
pub(crate) fn reason(reason: Reason, report: &Report) -> String {
    let reader = &report.reader;
    match reason {
        Reason::NoRecord if report.source == Source::Office => {
            t!("report.reason_no_record_office", locale = reader.language)
        }
        Reason::NoRecord => t!("report.reason_no_record", locale = reader.language),
        Reason::NotRunning => t!("report.reason_not_running", locale = reader.language),
        Reason::Off => t!("report.reason_off", locale = reader.language),
        Reason::Booting => t!("report.reason_booting", locale = reader.language),
        Reason::Unknown => t!("report.reason_unknown", locale = reader.language),
        Reason::ClockAhead => t!("report.reason_clock_ahead", locale = reader.language),
        Reason::Removed => t!("report.reason_removed", locale = reader.language),
        Reason::Lost => t!("report.reason_lost", locale = reader.language),
    }
    .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_keep_their_zeros() {
        let reader = Reader {
            language: "en",
            zone: TimeZone::utc(),
        };
        for (share, expected) in [
            (None, "-"),
            (Some(100_000), "100%"),
            (Some(99_999), "99.999%"),
            (Some(5), "0.005%"),
        ] {
            assert_eq!(percent(share, &reader), expected);
        }
        let portuguese = Reader {
            language: "pt-BR",
            ..reader
        };
        assert_eq!(percent(Some(99_999), &portuguese), "99,999%");
    }

    #[test]
    fn a_zone_is_named_by_its_distance_from_utc() {
        let zone_of = |tz: &str| {
            zone(
                0,
                200 * 86_400_000_000,
                &TimeZone::from_posix_tz(tz).unwrap(),
            )
        };
        assert_eq!(zone_of("<-03>3"), "UTC-03:00");
        assert_eq!(zone_of("IST-5:30"), "UTC+05:30");
        assert_eq!(
            zone_of("CET-1CEST,M3.5.0,M10.5.0/3"),
            "UTC+01:00, UTC+02:00"
        );
    }
}
