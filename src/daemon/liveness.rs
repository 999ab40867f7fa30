//! Decides whether the service may tell systemd that it is alive: only while every task has
//! finished its looks in time. It has no clock and sends nothing.

use std::time::{Duration, Instant};

/// How late a task's look may be when systemd sets no watchdog.
const DEFAULT_GRACE: Duration = Duration::from_secs(10);

/// The rule for one service.
#[derive(Debug, Clone, Copy)]
pub(super) struct Liveness {
    started: Instant,
    watchdog: Option<Duration>,
    last_ping: Option<Instant>,
}

impl Liveness {
    /// `watchdog` is systemd's `WatchdogSec`, if it is set.
    #[must_use]
    pub(super) fn new(started: Instant, watchdog: Option<Duration>) -> Self {
        Self {
            started,
            watchdog,
            last_ping: None,
        }
    }

    /// When to think of a ping even though no cycle ends: half of `WatchdogSec` after the last
    /// one, as `sd_watchdog_enabled(3)` recommends. `None` without a watchdog.
    #[must_use]
    pub(super) fn next_ping(&self) -> Option<Instant> {
        let half = self.watchdog? / 2;
        Some(self.last_ping.map_or(self.started, |last| last + half))
    }

    /// Notes that a ping was sent, or withheld: either way it is thought of again later.
    pub(super) fn pinged(&mut self, now: Instant) {
        self.last_ping = Some(now);
    }

    /// Whether a task is late whose next look was due at `next_look` (`None`: it has yet to finish
    /// its first one).
    #[must_use]
    pub(super) fn is_late(&self, now: Instant, next_look: Option<Instant>) -> bool {
        let grace = self.watchdog.map_or(DEFAULT_GRACE, |watchdog| watchdog / 2);
        now > next_look.unwrap_or(self.started) + grace
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WATCHDOG: Duration = Duration::from_secs(30);

    #[test]
    fn a_task_is_late_half_a_watchdog_after_its_look_was_due() {
        let started = Instant::now();
        let liveness = Liveness::new(started, Some(WATCHDOG));
        let due = started + Duration::from_secs(3600);
        assert!(!liveness.is_late(due, Some(due)));
        assert!(!liveness.is_late(due + Duration::from_secs(15), Some(due)));
        assert!(liveness.is_late(due + Duration::from_secs(16), Some(due)));
    }

    #[test]
    fn a_first_look_that_never_ends_is_late_too() {
        let started = Instant::now();
        let liveness = Liveness::new(started, Some(WATCHDOG));
        assert!(!liveness.is_late(started + Duration::from_secs(15), None));
        assert!(liveness.is_late(started + Duration::from_secs(16), None));
    }

    #[test]
    fn pings_come_twice_per_watchdog_and_not_at_all_without_one() {
        let started = Instant::now();
        let mut liveness = Liveness::new(started, Some(WATCHDOG));
        assert_eq!(liveness.next_ping(), Some(started));
        liveness.pinged(started);
        assert_eq!(liveness.next_ping(), Some(started + WATCHDOG / 2));
        assert_eq!(Liveness::new(started, None).next_ping(), None);
    }
}
