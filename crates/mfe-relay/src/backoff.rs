//! How long to wait before the next try: longer after each failure, and never as long as the neighbours do, so
//! that a thousand tills don't come back at once. Pure, but for the dice.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// The first wait is up to this long, each next one up to twice as long.
const FIRST: Duration = Duration::from_secs(1);

/// None is longer.
const LONGEST: Duration = Duration::from_secs(300);

/// None is shorter: a broker that refuses at once isn't asked in a loop.
const SHORTEST: Duration = Duration::from_millis(100);

/// Waits that get longer.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The wait after one more failure; `chance` is from 0 to `u64::MAX`.
    pub(crate) fn next(&mut self, chance: u64) -> Duration {
        let longest = FIRST
            .saturating_mul(1 << self.failures.min(16))
            .min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        // "Full jitter": anything up to the limit.
        #[allow(clippy::cast_precision_loss, reason = "a wait needs no 64 bits")]
        let part = chance as f64 / u64::MAX as f64;
        longest.mul_f64(part.clamp(0.0, 1.0)).max(SHORTEST)
    }

    /// It works again.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

/// A number that nobody can foresee: the seed that the standard library gives each of its hash maps.
pub(crate) fn dice() -> u64 {
    RandomState::new().hash_one(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_five_minutes() {
        let mut backoff = Backoff::default();
        let waits: Vec<u64> = (0..12).map(|_| backoff.next(u64::MAX).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
        backoff.reset();
        assert_eq!(backoff.next(u64::MAX), FIRST);
        assert_eq!(backoff.next(0), SHORTEST);
        for _ in 0..100 {
            assert!(backoff.next(dice()) <= LONGEST);
        }
    }

    #[test]
    fn waits_are_spread() {
        let mut backoff = Backoff { failures: 8 };
        assert_eq!(backoff.next(u64::MAX / 2).as_secs(), 128);
        assert_ne!(dice(), dice());
    }
}
