//! Cuts what is known of a process into the days of the calendar, and its outages into those that a
//! cashier can notice and those that nobody does. What was in which time is decided in [`crate::history`].

use std::time::{Duration, SystemTime};

use tz::{DateTime, TimeZone};

use crate::DAY;
use crate::figures::{Placed, outages};
use crate::history::{Interval, Record, State};
use crate::local_time;

/// An outage that a cashier can notice is at least so long, in microseconds.
pub(crate) const NOTICED: u64 = 10_000_000;

/// Some outages taken together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) count: usize,
    /// How long they were in all, in microseconds.
    pub(crate) time: u64,
}

impl Sum {
    pub(crate) fn add(&mut self, length: u64) {
        self.count += 1;
        self.time += length;
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.count += other.count;
        self.time += other.time;
    }

    pub(crate) fn of(outages: &[&Placed]) -> Self {
        let mut sum = Self::default();
        for outage in outages {
            sum.add(outage.length);
        }
        sum
    }
}

/// The outages that a cashier can notice, and those that nobody does.
pub(crate) fn noticed_and_short<'a, 'b>(
    outages: &'a [Placed<'b>],
) -> (Vec<&'a Placed<'b>>, Vec<&'a Placed<'b>>) {
    outages.iter().partition(|one| one.length >= NOTICED)
}

/// A day, or what of it is in the report.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Day {
    /// Its midnight.
    pub(crate) from: u64,
    /// The next one.
    pub(crate) to: u64,
    /// What of it is known, in order.
    pub(crate) intervals: Vec<Interval>,
    /// The outages of which it has the beginning.
    pub(crate) noticed: Sum,
    pub(crate) short: Sum,
}

impl Day {
    /// Whether the process was observed on it.
    pub(crate) fn is_observed(&self) -> bool {
        let mut intervals = self.intervals.iter();
        intervals.any(|one| matches!(one.state, State::Up | State::Down(_)))
    }
}

/// The days from `from` to `to`, and what is known of a process on each.
pub(crate) fn days(record: &Record, from: u64, to: u64, zone: &TimeZone) -> Vec<Day> {
    let mut days = Vec::new();
    let mut begin = midnight(from, zone);
    while begin < to {
        // Days have 23 to 25 hours.
        let end = midnight(begin + DAY + DAY / 2, zone);
        days.push(Day {
            from: begin,
            to: end,
            ..Day::default()
        });
        begin = end.max(begin + 1);
    }
    let mut first = 0;
    for interval in &record.intervals {
        while days.get(first).is_some_and(|day| day.to <= interval.from) {
            first += 1;
        }
        let within = days.iter_mut().skip(first);
        for day in within.take_while(|day| day.from < interval.to) {
            day.intervals.push(Interval {
                from: interval.from.max(day.from),
                to: interval.to.min(day.to),
                state: interval.state,
            });
        }
    }
    for outage in outages(record) {
        let day = days.iter_mut().find(|day| outage.from < day.to);
        if let Some(day) = day {
            let sum = if outage.length >= NOTICED {
                &mut day.noticed
            } else {
                &mut day.short
            };
            sum.add(outage.length);
        }
    }
    days
}

/// A moment in microseconds since 1970, by the calendar and the clocks of a zone.
pub(crate) fn local(micros: u64, zone: &TimeZone) -> Option<DateTime> {
    local_time::local(SystemTime::UNIX_EPOCH + Duration::from_micros(micros), zone)
}

/// By how much the zone's clocks are ahead of UTC, in seconds.
pub(crate) fn offset(micros: u64, zone: &TimeZone) -> i32 {
    local(micros, zone).map_or(0, |time| time.local_time_type().ut_offset())
}

/// The midnight with which the day of a moment began.
fn midnight(at: u64, zone: &TimeZone) -> u64 {
    let local = |at: u64| at.saturating_add_signed(i64::from(offset(at, zone)) * 1_000_000);
    let begin = at.saturating_sub(local(at) % DAY);
    // The clocks may have been changed since.
    let late = local(begin) % DAY;
    if late > DAY / 2 {
        begin + (DAY - late)
    } else {
        begin - late
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Outage;

    const HOUR: u64 = 3_600_000_000;

    /// A midnight in UTC: 2024-10-04.
    const BEGIN: u64 = 20_000 * DAY;

    fn zone(tz: &str) -> TimeZone {
        TimeZone::from_posix_tz(tz).unwrap()
    }

    #[test]
    fn a_day_begins_at_midnight_where_the_machine_is() {
        let fortaleza = zone("<-03>3");
        let record = Record::default();
        let days = days(&record, BEGIN, BEGIN + 24 * HOUR, &fortaleza);
        let bounds: Vec<(u64, u64)> = days.iter().map(|day| (day.from, day.to)).collect();
        assert_eq!(
            bounds,
            [
                (BEGIN - 21 * HOUR, BEGIN + 3 * HOUR),
                (BEGIN + 3 * HOUR, BEGIN + 27 * HOUR)
            ]
        );
    }

    #[test]
    fn days_may_have_an_hour_more_or_less() {
        let berlin = zone("CET-1CEST,M3.5.0,M10.5.0/3");
        let record = Record::default();
        let days = days(&record, BEGIN, BEGIN + 366 * DAY, &berlin);
        let hours = days.iter().map(|day| (day.to - day.from) / HOUR);
        let mut hours: Vec<u64> = hours.filter(|hours| *hours != 24).collect();
        hours.sort_unstable();
        assert_eq!(hours, [23, 25]);
        assert!(days.windows(2).all(|two| two[0].to == two[1].from));
    }

    #[test]
    fn what_is_known_is_cut_at_midnight_and_an_outage_counts_where_it_began() {
        let utc = zone("UTC0");
        let at = |hours: u64| BEGIN + hours * HOUR;
        let record = Record {
            intervals: vec![
                Interval {
                    from: at(1),
                    to: at(23),
                    state: State::Up,
                },
                Interval {
                    from: at(23),
                    to: at(26),
                    state: State::Down(0),
                },
                Interval {
                    from: at(26),
                    to: at(26) + NOTICED - 1,
                    state: State::Down(1),
                },
                Interval {
                    from: at(26) + NOTICED - 1,
                    to: at(47),
                    state: State::Up,
                },
            ],
            outages: vec![Outage::default(); 2],
            ..Record::default()
        };
        let days = days(&record, at(1), at(73), &utc);
        assert_eq!(days.len(), 4);
        assert_eq!(days[0].intervals.len(), 2);
        assert_eq!(days[1].intervals[0].state, State::Down(0));
        assert_eq!(days[1].intervals[0].from, at(24));
        assert_eq!((days[0].noticed.count, days[0].noticed.time), (1, 3 * HOUR));
        assert_eq!((days[1].noticed.count, days[1].short.count), (0, 1));
        assert!(days[1].is_observed() && !days[2].is_observed());
    }
}
