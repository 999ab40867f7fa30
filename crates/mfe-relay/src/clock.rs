//! The present moment by both clocks.

use std::time::{Duration, SystemTime};

use rustix::time::{ClockId, clock_gettime};

use crate::event::Moment;

/// Now. The journal's monotonic times are of the same clock, `CLOCK_MONOTONIC`.
pub(crate) fn now() -> Moment {
    let time = clock_gettime(ClockId::Monotonic);
    let time = Duration::try_from(time).unwrap_or_default();
    Moment {
        mono: u64::try_from(time.as_micros()).unwrap_or(u64::MAX),
        wall: SystemTime::now(),
    }
}
