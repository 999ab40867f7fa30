//! The words and numbers that the report's text and page share, in the user's language.

use std::time::Duration;

use rust_i18n::t;
use tz::TimeZone;

use super::days::{Day, Sum, local, noticed_and_short, offset};
use super::history::{Reason, Record};
use super::{Figures, Placed, Report, outages};

/// A duration in microseconds, for a person.
pub(super) fn duration(micros: u64) -> String {
    crate::text::duration::duration(Duration::from_micros(micros))
}

/// Thousandths of a percent, or that there is nothing to tell.
fn percent(share: Option<u64>) -> String {
    match share {
        None => t!("report.nothing").into_owned(),
        Some(100_000) => "100%".into(),
        Some(share) => decimal(share / 1000, &format!("{:03}%", share % 1000)),
    }
}

/// A number with a decimal point, or what the language has for it.
pub(crate) fn decimal(whole: u64, rest: &str) -> String {
    format!("{whole}{}{rest}", t!("report.decimal_point"))
}

/// How often something happened, and how often a day.
fn count_per_day(count: usize, per_day: Option<u64>) -> String {
    match per_day {
        Some(tenths) => {
            let per_day = decimal(tenths / 10, &(tenths % 10).to_string());
            t!("report.count_per_day", count = count, per_day = per_day).into_owned()
        }
        None => count.to_string(),
    }
}

/// A day and a time on it, to the second.
pub(super) fn time(micros: u64, zone: &TimeZone) -> String {
    let Some(time) = local(micros, zone) else {
        return t!("report.nothing").into_owned();
    };
    let date = t!(
        "report.date",
        year = time.year(),
        month = format!("{:02}", time.month()),
        day = format!("{:02}", time.month_day())
    );
    let (hour, minute, second) = (time.hour(), time.minute(), time.second());
    format!("{date} {hour:02}:{minute:02}:{second:02}")
}

/// A day of the week and of the month.
pub(super) fn day(micros: u64, zone: &TimeZone) -> String {
    let Some(time) = local(micros, zone) else {
        return String::new();
    };
    let weekdays = t!("report.weekdays");
    let weekday = weekdays.split(' ').nth(time.week_day().into());
    let (day, month) = (time.month_day(), time.month());
    format!("{} {day:02}/{month:02}", weekday.unwrap_or_default())
}

/// A month of a year.
pub(super) fn month(micros: u64, zone: &TimeZone) -> String {
    local(micros, zone).map_or_else(String::new, |time| {
        format!("{:02}/{}", time.month(), time.year())
    })
}

/// The same with the time of day.
fn moment(micros: u64, zone: &TimeZone) -> String {
    let hour = local(micros, zone).map_or_else(String::new, |time| {
        format!("{:02}:{:02}", time.hour(), time.minute())
    });
    format!("{} {hour}", day(micros, zone))
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
pub(super) fn sum(sum: Sum) -> String {
    t!(
        "report.count_and_time",
        count = sum.count,
        time = time_in_all(sum.time)
    )
    .into_owned()
}

/// Whether all was well, in a sentence or two.
pub(super) fn verdict(name: &str, record: &Record, days: &[Day], zone: &TimeZone) -> String {
    let observed = days.iter().filter(|day| day.is_observed()).count();
    if observed == 0 {
        return t!("report.nothing_known", name = name).into_owned();
    }
    let observed = if observed == 1 {
        t!("report.one_day").into_owned()
    } else {
        t!("report.days", count = observed).into_owned()
    };
    let placed = outages(record);
    let (noticed, short) = noticed_and_short(&placed);
    let worst = noticed.iter().max_by_key(|outage| outage.length);
    let mut text = match worst {
        None => t!("report.was_fine", name = name, days = observed).into_owned(),
        Some(worst) => t!(
            "report.was_down",
            name = name,
            time = time_in_all(Sum::of(&noticed).time),
            days = observed,
            worst = time_in_all(worst.length),
            when = moment(worst.from, zone)
        )
        .into_owned(),
    };
    if !short.is_empty() {
        text += " ";
        text += &t!("report.was_short", sum = sum(Sum::of(&short)));
    }
    if record.crash_loops > 0 {
        text += " ";
        text += &t!("report.crash_loops", count = record.crash_loops);
    }
    text
}

/// How the zone is called whose times are shown: by its distance from UTC, at both ends of the
/// period.
pub(super) fn zone(from: u64, to: u64, zone: &TimeZone) -> String {
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
pub(super) fn figures(record: &Record) -> Vec<(String, String)> {
    let figures = Figures::of(record);
    let or_none =
        |micros: Option<u64>| micros.map_or_else(|| t!("report.nothing").into_owned(), duration);
    let observed = t!(
        "report.share_and_time",
        share = percent(figures.observed_share()),
        time = duration(figures.known())
    );
    let of_outages = t!(
        "report.count_and_time",
        count = outages(record).len(),
        time = duration(figures.down)
    );
    let restarts = count_per_day(record.restarts, figures.per_day(record.restarts));
    let nobody = (figures.nobody > 0).then(|| (t!("report.nobody"), duration(figures.nobody)));
    let off = (figures.off > 0).then(|| (t!("report.reason_off"), time_in_all(figures.off)));
    [
        (t!("report.availability"), percent(figures.availability())),
        (t!("report.observed"), observed.into_owned()),
        (t!("report.outages"), of_outages.into_owned()),
        (t!("report.longest"), or_none(figures.longest_outage)),
        (t!("report.mean"), or_none(figures.mean_time_to_recover)),
        (t!("report.restarts"), restarts),
        (t!("report.unhealthy"), record.unhealthy.to_string()),
    ]
    .into_iter()
    .chain(nobody)
    .chain(off)
    .map(|(label, value)| (label.into_owned(), value))
    .collect()
}

/// Why a process was gone, and what else there is to know of that.
pub(super) fn cause(placed: &Placed, report: &Report) -> String {
    let outage = placed.outage;
    let reaches_end = !outage.is_end_seen && placed.to == report.past.to;
    let is_until_now = report.past.is_until_now;
    let words = outage.cause.as_deref();
    let words = words.map(|cause| cause_in_words(cause, outage.signal.as_deref()));
    let mut words = words.unwrap_or_else(|| t!("report.nothing").into_owned());
    for (is_so, more) in [
        (outage.is_in_pause, t!("report.in_pause")),
        (outage.start_failed, t!("report.start_failed")),
        (!outage.is_begin_seen, t!("report.begin_not_seen")),
        (reaches_end && is_until_now, t!("report.lasts")),
        (reaches_end && !is_until_now, t!("report.goes_on")),
        (
            !outage.is_end_seen && !reaches_end,
            t!("report.end_not_seen"),
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
pub(super) fn cause_in_words(cause: &str, signal: Option<&str>) -> String {
    if let ("killed", Some(signal)) = (cause, signal) {
        return t!("report.cause_signal", signal = signal).into_owned();
    }
    match cause {
        "oom" => t!("report.cause_oom").into_owned(),
        "absent" => t!("report.cause_absent").into_owned(),
        "gone" => t!("report.cause_gone").into_owned(),
        "exited" => t!("report.cause_exited").into_owned(),
        "killed" => t!("report.cause_killed").into_owned(),
        "unhealthy" => t!("report.cause_unhealthy").into_owned(),
        "requested" => t!("report.cause_requested").into_owned(),
        "stopped" => t!("report.cause_stopped").into_owned(),
        "duplicate" => t!("report.cause_duplicate").into_owned(),
        "late" => t!("report.cause_late").into_owned(),
        "outside" => t!("report.cause_outside").into_owned(),
        "display" | "session" => t!("report.cause_session").into_owned(),
        other => other.to_owned(),
    }
}

/// Why a process wasn't observed.
pub(super) fn reason(reason: Reason) -> String {
    match reason {
        Reason::NoRecord => t!("report.reason_no_record"),
        Reason::NotRunning => t!("report.reason_not_running"),
        Reason::Off => t!("report.reason_off"),
        Reason::Booting => t!("report.reason_booting"),
        Reason::Unknown => t!("report.reason_unknown"),
        Reason::ClockAhead => t!("report.reason_clock_ahead"),
        Reason::Removed => t!("report.reason_removed"),
        Reason::Lost => t!("report.reason_lost"),
    }
    .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Cause;

    #[test]
    fn each_cause_of_the_services_own_is_said_in_words() {
        for cause in [
            Cause::Absent,
            Cause::Gone,
            Cause::Exited(1),
            Cause::Killed(9),
            Cause::OutOfMemory,
            Cause::Unhealthy,
            Cause::Duplicate,
            Cause::Requested,
            Cause::Stopped,
            Cause::Late,
            Cause::Outside,
        ] {
            let words = cause_in_words(cause.as_str(), cause.signal());
            assert!(words.contains(' '), "{cause:?}: {words}");
        }
    }

    #[test]
    fn percentages_keep_their_zeros() {
        for (share, expected) in [
            (None, "-"),
            (Some(100_000), "100%"),
            (Some(99_999), "99.999%"),
            (Some(5), "0.005%"),
        ] {
            assert_eq!(percent(share), expected);
        }
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
