//! Decides how long a restart has to wait, and when deaths are a crash loop; it knows nothing of
//! processes, and has no clock.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::policy::Policy;

/// The deaths of one process that aren't forgotten yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Backoff {
    /// How often it has died since it was last stable.
    deaths: u32,
    /// When it was brought back, the oldest first; no more than make a crash loop.
    restarts: VecDeque<Instant>,
    /// Whether its crash loop was told and isn't over.
    is_crash_loop: bool,
}

impl Backoff {
    /// What an earlier run of the service remembered.
    #[must_use]
    pub fn remembered(deaths: u32, restarts: VecDeque<Instant>, is_crash_loop: bool) -> Self {
        Self {
            deaths,
            restarts,
            is_crash_loop,
        }
    }

    /// How often the process has died since it was last stable.
    #[must_use]
    pub fn deaths(&self) -> u32 {
        self.deaths
    }

    /// When it was brought back, the oldest first.
    pub fn restarts(&self) -> impl Iterator<Item = Instant> {
        self.restarts.iter().copied()
    }

    /// Whether it is in a crash loop.
    #[must_use]
    pub fn is_crash_loop(&self) -> bool {
        self.is_crash_loop
    }

    /// The process has died.
    pub fn died(&mut self) {
        self.deaths = self.deaths.saturating_add(1);
    }

    /// How long after its latest death it may be started.
    #[must_use]
    pub fn delay(&self, policy: &Policy) -> Duration {
        let Some(doublings) = self.deaths.checked_sub(policy.restart_burst + 1) else {
            return Duration::ZERO;
        };
        let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
        let delay = policy.restart_delay.saturating_mul(factor);
        delay.min(policy.restart_delay_max)
    }

    /// The process is back. Tells of a crash loop that begins with this: how many restarts there
    /// were, in which time.
    pub fn restarted(&mut self, now: Instant, policy: &Policy) -> Option<(usize, Duration)> {
        let most = usize::try_from(policy.crash_loop_restarts).unwrap_or(usize::MAX);
        self.restarts.push_back(now);
        while self.restarts.len() > most {
            self.restarts.pop_front();
        }
        let within = now.saturating_duration_since(*self.restarts.front()?);
        let begins = !self.is_crash_loop
            && self.restarts.len() == most
            && within <= policy.crash_loop_window;
        self.is_crash_loop |= begins;
        begins.then_some((most, within))
    }

    /// Whether there is anything to forget.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        *self == Self::default()
    }

    /// The process is stable: all is forgotten. Says whether that ends a crash loop.
    pub fn forget(&mut self) -> bool {
        std::mem::take(self).is_crash_loop
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_first_restarts_come_at_once_and_those_after_them_ever_later() {
        let policy = Policy::default();
        let mut backoff = Backoff::default();
        let mut seconds = Vec::new();
        for _ in 0..12 {
            backoff.died();
            seconds.push(backoff.delay(&policy).as_secs());
        }
        assert_eq!(seconds, [0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60]);
        backoff.forget();
        backoff.died();
        assert_eq!(backoff.delay(&policy), Duration::ZERO);
    }

    #[test]
    fn a_delay_of_zero_switches_the_waiting_off() {
        let policy = Policy {
            restart_delay: Duration::ZERO,
            ..Policy::default()
        };
        let backoff = Backoff::remembered(u32::MAX, VecDeque::new(), false);
        assert_eq!(backoff.delay(&policy), Duration::ZERO);
        assert_eq!(backoff.delay(&Policy::default()), 60 * SECOND, "the cap");
    }

    #[test]
    fn no_burst_means_that_every_restart_waits() {
        let policy = Policy {
            restart_burst: 0,
            ..Policy::default()
        };
        let mut backoff = Backoff::default();
        backoff.died();
        assert_eq!(backoff.delay(&policy), SECOND);
    }

    #[test]
    fn a_crash_loop_is_told_once_until_it_is_over() {
        let policy = Policy::default();
        let begin = Instant::now();
        let mut backoff = Backoff::default();
        let told: Vec<_> = (0..8)
            .map(|n| backoff.restarted(begin + n * 10 * SECOND, &policy))
            .collect();
        let mut expected = [None; 8];
        expected[4] = Some((5, 40 * SECOND));
        assert_eq!(told[..], expected);
        assert!(backoff.forget());
        assert!(!backoff.forget());
    }

    #[test]
    fn restarts_far_apart_are_no_crash_loop() {
        let policy = Policy::default();
        let begin = Instant::now();
        let mut backoff = Backoff::default();
        for n in 0..100 {
            assert_eq!(backoff.restarted(begin + n * 76 * SECOND, &policy), None);
        }
        assert_eq!(backoff.restarts().count(), 5, "no more are kept");
    }
}
