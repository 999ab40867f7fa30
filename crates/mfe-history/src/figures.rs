//! Sums up what is known of a process: its outages, and the figures that are told of it.

use crate::history::{Interval, Outage, Reason, Record, State};
use crate::{DAY, SECOND};

/// What is summed up of one process. Times are in microseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    pub(crate) up: u64,
    pub(crate) down: u64,
    pub(crate) not_observed: u64,
    /// The machine was off.
    pub(crate) off: u64,
    /// Nobody was logged in at the screen on which it belongs.
    pub(crate) nobody: u64,
    pub(crate) longest_outage: Option<u64>,
    /// On average over the outages of which both ends were seen.
    pub(crate) mean_time_to_recover: Option<u64>,
}

/// A time for which a process was gone, with its place in time, in microseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Placed<'a> {
    pub(crate) outage: &'a Outage,
    pub(crate) from: u64,
    pub(crate) to: u64,
    /// Without what isn't observed in between.
    pub(crate) length: u64,
}

impl Figures {
    pub(crate) fn of(record: &Record) -> Self {
        let mut figures = Self::default();
        for interval in &record.intervals {
            *match interval.state {
                State::Up => &mut figures.up,
                State::Down(_) => &mut figures.down,
                State::NotObserved(Reason::Off) => &mut figures.off,
                State::NotObserved(_) => &mut figures.not_observed,
                State::NobodyLoggedIn => &mut figures.nobody,
            } += interval.length();
        }
        let outages = outages(record);
        figures.longest_outage = outages.iter().map(|outage| outage.length).max();
        let is_whole = |placed: &&Placed| placed.outage.is_begin_seen && placed.outage.is_end_seen;
        let whole: Vec<u64> = outages
            .iter()
            .filter(is_whole)
            .map(|one| one.length)
            .collect();
        let sum: u64 = whole.iter().sum();
        figures.mean_time_to_recover = sum.checked_div(whole.len() as u64);
        figures
    }

    /// For how long it ran, or should have.
    fn observed(&self) -> u64 {
        self.up + self.down
    }

    /// For how long it is known how it was: nobody missed it while nobody was logged in.
    pub(crate) fn known(&self) -> u64 {
        self.observed() + self.nobody
    }

    /// The share of the observed time in which the process was up, in thousandths of a percent,
    /// rounded down: 100% is said only of a process that was never down.
    pub(crate) fn availability(&self) -> Option<u64> {
        share(self.up, self.observed())
    }

    /// The share of the period that is observed, likewise; what the machine was off for is part of neither.
    pub(crate) fn observed_share(&self) -> Option<u64> {
        let known = self.known();
        share(known, known + self.not_observed)
    }

    /// How many of something there were on a day on average, in tenths; `None` if less than a day is
    /// observed.
    pub(crate) fn per_day(&self, count: usize) -> Option<u64> {
        let tenths = count as u128 * 10 * u128::from(DAY);
        let observed = u128::from(self.observed());
        if self.observed() < DAY {
            return None;
        }
        u64::try_from((tenths + observed / 2) / observed).ok()
    }
}

fn share(part: u64, whole: u64) -> Option<u64> {
    let share = (u128::from(part) * 100_000).checked_div(u128::from(whole))?;
    u64::try_from(share).ok()
}

/// The outages of a process, in order.
pub(crate) fn outages(record: &Record) -> Vec<Placed<'_>> {
    let mut placed: Vec<Placed<'_>> = Vec::new();
    for interval in &record.intervals {
        let State::Down(index) = interval.state else {
            continue;
        };
        let Some(outage) = record.outages.get(index) else {
            continue;
        };
        match placed.last_mut() {
            Some(last) if std::ptr::eq(last.outage, outage) => {
                last.to = interval.to;
                last.length += interval.length();
            }
            _ => placed.push(Placed {
                outage,
                from: interval.from,
                to: interval.to,
                length: interval.length(),
            }),
        }
    }
    placed
}

/// When nobody can tell how a process was, and why: what is worth a line of its own, which neither a moment
/// nor a night is, when the machine is off, nor how long it takes in the morning.
pub(crate) fn not_observed(record: &Record) -> impl Iterator<Item = (&Interval, Reason)> {
    let is_worth_a_line = |why: Reason, length: u64| match why {
        Reason::Off => false,
        Reason::NotRunning | Reason::Booting => length >= 60 * SECOND,
        _ => length >= SECOND,
    };
    let intervals = record.intervals.iter();
    intervals.filter_map(move |interval| match interval.state {
        State::NotObserved(why) => {
            is_worth_a_line(why, interval.length()).then_some((interval, why))
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(up: u64, down: u64, not_observed: u64) -> Figures {
        Figures {
            up,
            down,
            not_observed,
            ..Figures::default()
        }
    }

    #[test]
    fn only_what_was_never_down_is_fully_available() {
        assert_eq!(figures(DAY, 0, DAY).availability(), Some(100_000));
        assert_eq!(figures(DAY * 366, 1, 0).availability(), Some(99_999));
        assert_eq!(figures(0, 1, 0).availability(), Some(0));
        assert_eq!(figures(0, 0, DAY).availability(), None);
        assert_eq!(figures(DAY, 0, 1).observed_share(), Some(99_999));
        assert_eq!(figures(0, 0, DAY).observed_share(), Some(0));
    }

    #[test]
    fn less_than_a_day_makes_no_daily_average() {
        assert_eq!(figures(DAY - 1, 0, DAY).per_day(5), None);
        assert_eq!(figures(DAY * 3, DAY, DAY).per_day(5), Some(13));
        assert_eq!(figures(DAY, 0, 0).per_day(0), Some(0));
    }
}
