//! Puts what the journal has in the order in which it happened: what the watchdog couldn't send in time is
//! written late, with the time at which it happened. What it means is decided in [`crate::history`].
//!
//! The watchdog tells that time by `CLOCK_BOOTTIME`, which goes on while the machine is suspended, and
//! journald stamps by `CLOCK_MONOTONIC`, which doesn't (clock_gettime(2)). The difference between the two
//! only grows, and no message is written before it has happened: so the greatest difference that was seen
//! in a boot is the best that is known of it, and what is made of it is never too early.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::history::{Entry, Sign};

/// The most entries that are held back in case that an earlier one is still to come.
const HELD_MAX: usize = 20_000;

/// An entry as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// With the moment at which it was written.
    pub entry: Entry,
    /// When it happened, if it says so, by `CLOCK_BOOTTIME` in microseconds.
    pub happened: Option<u64>,
}

/// Entries on their way.
#[derive(Debug, Default)]
pub struct Order {
    held: BinaryHeap<Reverse<Held>>,
    /// How many entries have come.
    count: u64,
    /// How many boots they were of, the last one's id, and what is known of its clocks.
    boots: u64,
    boot: Option<u128>,
    clocks: Clocks,
}

/// What is known of a boot's clocks and of who spoke last in it.
#[derive(Debug, Default)]
struct Clocks {
    /// By how much `CLOCK_BOOTTIME` is ahead of `CLOCK_MONOTONIC`, at least.
    ahead: u64,
    /// When a watchdog was last said to have ended: the next one has begun after that.
    ended: u64,
    /// The run that spoke last, its latest message, and when that happened.
    run: Option<(u128, u64, u64)>,
}

/// An entry that is held back. It goes by its place alone.
#[derive(Debug)]
struct Held {
    boot: u64,
    monotonic: u64,
    count: u64,
    entry: Entry,
}

impl Held {
    fn place(&self) -> (u64, u64, u64) {
        (self.boot, self.monotonic, self.count)
    }
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        self.place() == other.place()
    }
}

impl Eq for Held {}

impl PartialOrd for Held {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Held {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.place().cmp(&other.place())
    }
}

impl Order {
    /// Takes the next entry, in the journal's order.
    pub fn add(&mut self, written: Written) {
        let boot = written.entry.at.boot;
        if self.boot != Some(boot) {
            self.boot = Some(boot);
            self.boots += 1;
            self.clocks = Clocks::default();
        }
        let entry = self.clocks.place(written);
        self.count += 1;
        self.held.push(Reverse(Held {
            boot: self.boots,
            monotonic: entry.at.monotonic,
            count: self.count,
            entry,
        }));
    }

    /// The next entry in the order in which they happened, as long as none before it is to be expected.
    pub fn ready(&mut self) -> Option<Entry> {
        let is_many = self.held.len() > HELD_MAX;
        let Reverse(first) = self.held.peek()?;
        if is_many || first.boot != self.boots {
            return self.held.pop().map(|Reverse(held)| held.entry);
        }
        None
    }

    /// All that are left, if none is to come.
    pub fn rest(mut self) -> impl Iterator<Item = Entry> {
        std::iter::from_fn(move || self.held.pop().map(|Reverse(held)| held.entry))
    }
}

impl Clocks {
    /// The entry with the moment at which it happened.
    fn place(&mut self, written: Written) -> Entry {
        let Written {
            mut entry,
            happened,
        } = written;
        let at = entry.at.monotonic;
        if let (Some(happened), Some(number)) = (happened, entry.number) {
            self.ahead = self.ahead.max(happened.saturating_sub(at));
            let (last, earliest) = match self.run {
                Some((run, seq, at)) if run == number.run => (seq, at),
                _ => (0, self.ended),
            };
            let mut monotonic = happened.saturating_sub(self.ahead).min(at);
            // A run's messages are in order, whatever the clocks seem to say.
            if number.seq > last {
                monotonic = monotonic.max(earliest).min(at);
                self.run = Some((number.run, number.seq, monotonic));
            }
            entry.at.wall = entry.at.wall.saturating_sub(at - monotonic);
            entry.at.monotonic = monotonic;
        }
        if matches!(entry.sign, Sign::Ended | Sign::Stopped) {
            self.ended = self.ended.max(at);
        }
        entry
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Moment, Number};

    fn written(monotonic: u64, sign: Sign) -> Written {
        Written {
            entry: Entry {
                at: Moment {
                    boot: 1,
                    monotonic,
                    wall: 1_000_000 + monotonic,
                },
                number: None,
                sign,
            },
            happened: None,
        }
    }

    fn said(monotonic: u64, run: u128, seq: u64, happened: u64) -> Written {
        let mut written = written(monotonic, Sign::Alive);
        written.entry.number = Some(Number { run, seq });
        written.happened = Some(happened);
        written
    }

    /// When each has happened, by the monotonic clock, with its number in its run.
    fn ordered(written: impl IntoIterator<Item = Written>) -> Vec<(u64, u64)> {
        let mut order = Order::default();
        for written in written {
            order.add(written);
            assert_eq!(order.ready(), None, "all of one boot are held");
        }
        let rest = order.rest();
        rest.map(|entry| {
            assert_eq!(entry.at.wall, 1_000_000 + entry.at.monotonic);
            let seq = entry.number.map_or(0, |number| number.seq);
            (entry.at.monotonic, seq)
        })
        .collect()
    }

    #[test]
    fn what_was_written_late_is_put_where_it_happened() {
        let entries = [
            said(100, 1, 1, 100),
            written(300, Sign::Alive),
            said(500, 1, 2, 200),
            said(501, 1, 3, 400),
        ];
        assert_eq!(ordered(entries), [(100, 1), (200, 2), (300, 0), (400, 3)]);
    }

    #[test]
    fn a_suspended_machine_has_two_clocks() {
        // It was suspended for 1000 in all when it said the first.
        let entries = [
            said(100, 1, 1, 1100),
            written(300, Sign::Alive),
            said(500, 1, 2, 1200),
        ];
        assert_eq!(ordered(entries), [(100, 1), (200, 2), (300, 0)]);
        // And here it may have been before the second one was written or after: it is never too early.
        let entries = [
            said(100, 1, 1, 100),
            said(500, 1, 2, 1200),
            said(501, 1, 3, 1300),
        ];
        assert_eq!(ordered(entries), [(100, 1), (500, 2), (501, 3)]);
    }

    #[test]
    fn nobody_speaks_before_the_one_before_has_ended() {
        let entries = [
            said(100, 1, 1, 100),
            written(300, Sign::Ended),
            said(301, 2, 1, 250),
        ];
        assert_eq!(ordered(entries), [(100, 1), (300, 0), (300, 1)]);
    }

    #[test]
    fn the_entries_of_a_boot_are_held_until_the_next_one_and_never_too_many() {
        let mut order = Order::default();
        order.add(written(5, Sign::Alive));
        let mut other = written(1, Sign::Alive);
        other.entry.at.boot = 2;
        order.add(other);
        assert_eq!(order.ready().unwrap().at.boot, 1);
        assert_eq!(order.ready(), None);
        for _ in 0..HELD_MAX {
            let mut more = written(9, Sign::Alive);
            more.entry.at.boot = 2;
            order.add(more);
        }
        assert_eq!(order.ready().unwrap().at.monotonic, 1);
        assert_eq!(order.ready(), None);
    }
}
