//! A source that has one message each interval, for what is to be done again and again.

use std::time::{Duration, Instant, SystemTime};

use serde_json::{Map, Value, json};
use tokio::time::sleep_until;

use crate::route::{News, Source};
use crate::verdict::Message;

/// What was done in vain is done again after so long at first, and at most; with the next interval at the latest.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// When the next one is due. Pure.
#[derive(Debug)]
struct Schedule {
    interval: Duration,
    /// The next interval begins then.
    next: Instant,
    /// Before that, what was done in vain is done again then.
    again: Option<Instant>,
    wait: Duration,
}

impl Schedule {
    fn new(interval: Duration, now: Instant) -> Self {
        Self {
            interval,
            next: now + interval,
            again: None,
            wait: FIRST_WAIT,
        }
    }

    fn due(&self) -> Instant {
        self.again.map_or(self.next, |again| again.min(self.next))
    }

    /// One is done with, well or not. An interval that began meanwhile isn't made up for.
    fn settle(&mut self, now: Instant, is_again: bool) {
        let late = now.saturating_duration_since(self.next).as_nanos();
        if now >= self.next {
            let missed = late / self.interval.as_nanos().max(1) + 1;
            let missed = u32::try_from(missed).unwrap_or(u32::MAX);
            self.next += self.interval.saturating_mul(missed);
        }
        self.again = is_again.then(|| now + self.wait);
        self.wait = if is_again {
            (self.wait * 2).min(LONGEST_WAIT)
        } else {
            FIRST_WAIT
        };
    }
}

/// One message each interval; none while the one before isn't settled.
#[derive(Debug)]
pub(crate) struct Every {
    schedule: Schedule,
    tag: u64,
    is_out: bool,
}

impl Every {
    /// The first one comes after the first interval.
    pub(crate) fn new(interval: Duration) -> Self {
        Self {
            schedule: Schedule::new(interval, Instant::now()),
            tag: 0,
            is_out: false,
        }
    }

    fn settle(&mut self, is_again: bool) {
        self.is_out = false;
        self.schedule.settle(Instant::now(), is_again);
    }
}

impl Source for Every {
    type Item = Tick;

    async fn next(&mut self) -> News<Tick> {
        if self.is_out {
            std::future::pending::<()>().await;
        }
        sleep_until(self.schedule.due().into()).await;
        self.is_out = true;
        self.tag += 1;
        let tick = Tick {
            time: SystemTime::now(),
            is_again: self.schedule.again.take().is_some(),
        };
        News::Delivered(self.tag, tick)
    }

    async fn ack(&mut self, _: u64, _: bool) -> Result<(), String> {
        self.settle(false);
        Ok(())
    }

    async fn reject(&mut self, _: u64, again: bool) -> Result<(), String> {
        self.settle(again);
        Ok(())
    }

    async fn close(self) {}
}

/// An interval has begun.
#[derive(Debug)]
pub(crate) struct Tick {
    time: SystemTime,
    /// Whether the one before was handled in vain.
    is_again: bool,
}

impl Message for Tick {
    fn about(&self) -> Map<String, Value> {
        let time = humantime::format_rfc3339_millis(self.time).to_string();
        Map::from_iter([
            ("time".to_owned(), json!(time)),
            ("again".to_owned(), json!(self.is_again)),
        ])
    }

    fn body(&self) -> Option<&[u8]> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn what_was_missed_is_not_made_up_for() {
        let begin = Instant::now();
        let mut schedule = Schedule::new(MINUTE, begin);
        assert_eq!(schedule.due(), begin + MINUTE);
        // Done in its own time, at the very end of it, and late by some.
        for (settled, next) in [(70, 120), (180, 240), (539, 540), (541, 600)] {
            schedule.settle(begin + Duration::from_secs(settled), false);
            assert_eq!(schedule.due(), begin + Duration::from_secs(next));
        }
    }

    #[test]
    fn what_was_in_vain_comes_again_later_and_later() {
        let begin = Instant::now();
        let mut schedule = Schedule::new(10 * MINUTE, begin);
        let mut now = begin + 10 * MINUTE;
        let mut waits = Vec::new();
        for _ in 0..8 {
            schedule.settle(now, true);
            waits.push((schedule.due() - now).as_secs());
            now = schedule.due();
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        // The next interval isn't waited for any longer than it takes to come.
        schedule.settle(begin + Duration::from_secs(1199), true);
        assert_eq!(schedule.due(), begin + 20 * MINUTE);
        schedule.settle(begin + 20 * MINUTE, false);
        assert_eq!(schedule.due(), begin + 30 * MINUTE);
        schedule.settle(begin + 30 * MINUTE, true);
        assert_eq!(schedule.due(), begin + 30 * MINUTE + FIRST_WAIT);
    }
}
