//! Times as the clock on the shop's wall shows them; it decides nothing.

use std::time::{Duration, SystemTime};

use tz::{DateTime, TimeZone};

/// The machine's time zone, as tzset(3) finds it with `tz` as $TZ; UTC where it can't be read.
#[must_use]
pub fn zone(tz: Option<&str>) -> TimeZone {
    let zone = tz.map_or_else(TimeZone::local, TimeZone::from_posix_tz);
    zone.unwrap_or_else(|_| TimeZone::utc())
}

/// The machine's time zone.
#[must_use]
pub fn local_zone() -> TimeZone {
    zone(std::env::var("TZ").ok().as_deref())
}

/// A moment in a time zone; `None` for one that no calendar has.
#[must_use]
pub fn local(time: SystemTime, zone: &TimeZone) -> Option<DateTime> {
    // A clock from before 1970 was never set.
    let since_1970 = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    let seconds = i64::try_from(since_1970.as_secs()).ok()?;
    DateTime::from_timespec(seconds, 0, zone.as_ref()).ok()
}

/// A moment for people: the time of day, with the date unless it is the day of `now`.
#[must_use]
pub fn in_words(time: SystemTime, now: SystemTime, zone: &TimeZone) -> String {
    let (Some(time), Some(now)) = (local(time, zone), local(now, zone)) else {
        return "?".to_owned();
    };
    if is_same_day(&time, &now) {
        let (hour, minute, second) = (time.hour(), time.minute(), time.second());
        format!("{hour:02}:{minute:02}:{second:02}")
    } else {
        let (month, day) = (time.month(), time.month_day());
        format!(
            "{day:02}/{month:02} {:02}:{:02}",
            time.hour(),
            time.minute()
        )
    }
}

/// Whether two moments are on the same day of the calendar.
#[must_use]
pub fn is_same_day(one: &DateTime, other: &DateTime) -> bool {
    (one.year(), one.month(), one.month_day()) == (other.year(), other.month(), other.month_day())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(time: &str, now: &str, tz: &str) -> String {
        let [time, now] = [time, now].map(|text| humantime::parse_rfc3339(text).unwrap());
        in_words(time, now, &zone(Some(tz)))
    }

    #[test]
    fn today_needs_no_date() {
        let now = "2026-03-02T12:00:00Z";
        assert_eq!(shown("2026-03-02T03:00:01Z", now, "<-03>3"), "00:00:01");
        assert_eq!(shown("2026-03-02T02:59:59Z", now, "<-03>3"), "01/03 23:59");
        assert_eq!(shown("2026-03-02T02:59:59Z", now, "UTC0"), "02:59:59");
        assert_eq!(shown("2025-03-02T12:00:00Z", now, "UTC0"), "02/03 12:00");
    }

    #[test]
    fn where_the_zone_cannot_be_read_it_is_utc() {
        for tz in ["", "nonsense", ":/nonexistent/zone", "/dev/null"] {
            assert_eq!(zone(Some(tz)), TimeZone::utc(), "{tz}");
        }
        assert_ne!(zone(Some("<-03>3")), TimeZone::utc());
    }
}
