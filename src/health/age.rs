//! Compares how long a process has been running with the longest time it should, at the time of day
//! when that counts.

use std::time::{Duration, SystemTime};

use mfe_history::local_time::{local, local_zone};
use tz::TimeZone;

use super::in_words;
use super::verdict::Finding;
use crate::config::TimesOfDay;
use crate::proc::ProcessId;
use crate::text::phrase::phrase;

/// Whether the oldest of the processes has run for too long.
pub(super) fn probe(subject: &[ProcessId], max: Duration, between: Option<TimesOfDay>) -> Finding {
    let oldest = subject.iter().min_by_key(|id| id.start_time);
    match oldest.map(|id| id.age()) {
        Some(Ok(age)) => judge(age, max, || {
            is_time(between, SystemTime::now(), &local_zone())
        }),
        Some(Err(error)) => Finding::Unknown(format!("can't tell its age: {error}")),
        None => Finding::Nothing,
    }
}

/// Whether the age counts at `now` in the time zone `zone`.
fn is_time(between: Option<TimesOfDay>, now: SystemTime, zone: &TimeZone) -> bool {
    between.is_none_or(|between| between.contains(minute_of_day(now, zone)))
}

/// The local time, in minutes since midnight.
fn minute_of_day(now: SystemTime, zone: &TimeZone) -> u16 {
    let time = local(now, zone);
    time.map_or(0, |time| {
        u16::from(time.hour()) * 60 + u16::from(time.minute())
    })
}

/// At a time that doesn't count there is nothing to say of one that is too old.
fn judge(age: Duration, max: Duration, is_time: impl FnOnce() -> bool) -> Finding {
    if age <= max {
        Finding::Well
    } else if is_time() {
        Finding::Unwell(phrase!(
            "it has been running for %{age}, longer than %{max}",
            age = in_words(age),
            max = in_words(max)
        ))
    } else {
        Finding::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{CheckKind, parse};

    const DAY: Duration = Duration::from_secs(86400);

    fn times(text: &str) -> Option<TimesOfDay> {
        let text = format!(
            "[process.a]\nname = \"A\"\ncommand = [\"/a\"]\n[[process.a.check]]\nkind = \"age\"\n\
             max = \"1d\"\nbetween = \"{text}\""
        );
        let settings = parse(&text, "config.toml".as_ref()).unwrap();
        match settings.processes[0].checks[0].kind {
            CheckKind::Age { between, .. } => between,
            _ => None,
        }
    }

    /// Whether it is time at a moment, written in UTC.
    fn is_in(times_of_day: &str, moment: &str, zone: &TimeZone) -> bool {
        is_time(
            times(times_of_day),
            humantime::parse_rfc3339(moment).unwrap(),
            zone,
        )
    }

    #[test]
    fn an_age_beyond_the_bound_counts_when_it_is_time() {
        assert_eq!(judge(DAY, DAY, || true), Finding::Well);
        assert_eq!(judge(DAY * 2, DAY, || false), Finding::Nothing);
        let finding = judge(DAY * 7 + DAY / 24, DAY * 7, || true);
        let expected = "it has been running for 7d 1h, longer than 7d";
        assert_eq!(finding.words(), expected);
    }

    #[test]
    fn the_time_is_local() {
        let fortaleza = TimeZone::from_posix_tz("<-03>3").unwrap();
        for (moment, expected) in [
            ("2026-03-01T05:59:59Z", false),
            ("2026-03-01T06:00:00Z", true),
            ("2026-03-01T07:59:59Z", true),
            ("2026-03-01T08:00:00Z", false),
        ] {
            assert_eq!(
                is_in("03:00-05:00", moment, &fortaleza),
                expected,
                "{moment}"
            );
            assert!(!is_in("03:00-05:00", moment, &TimeZone::utc()));
        }
        assert!(is_time(None, SystemTime::now(), &fortaleza));
    }

    #[test]
    fn it_may_go_on_past_midnight() {
        for (time, expected) in [
            ("22:59", false),
            ("23:00", true),
            ("23:59", true),
            ("00:00", true),
            ("00:59", true),
            ("01:00", false),
            ("12:00", false),
        ] {
            let moment = format!("2026-03-01T{time}:00Z");
            assert_eq!(
                is_in("23:00-01:00", &moment, &TimeZone::utc()),
                expected,
                "{time}"
            );
        }
        assert!(is_in(
            "23:00-00:00",
            "2026-03-01T23:59:59Z",
            &TimeZone::utc()
        ));
        assert!(!is_in(
            "23:00-00:00",
            "2026-03-01T00:00:00Z",
            &TimeZone::utc()
        ));
    }

    #[test]
    fn when_clocks_change_the_time_on_the_wall_counts() {
        let berlin = TimeZone::from_posix_tz("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        // In spring there is no 02:30: at 01:00 UTC the clock goes from 02:00 to 03:00.
        assert!(!is_in("02:15-02:45", "2026-03-29T00:59:59Z", &berlin));
        assert!(!is_in("02:15-02:45", "2026-03-29T01:00:00Z", &berlin));
        assert!(is_in("02:15-03:15", "2026-03-29T01:00:00Z", &berlin));
        // In autumn there are two.
        for moment in ["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"] {
            assert!(is_in("02:15-02:45", moment, &berlin), "{moment}");
        }
        assert!(!is_in("02:15-02:45", "2026-10-25T02:30:00Z", &berlin));
    }
}
