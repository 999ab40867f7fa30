//! Whose clock counts. The office's does: a till's may be wrong by years. Pure, but for [`now`].

use std::time::{Duration, Instant, SystemTime};

/// A till whose clock differs by more than this is told of.
pub(crate) const WRONG: Duration = Duration::from_secs(120);

/// A moment by the office's clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// What waits are counted by.
    pub(crate) mono: Instant,
    /// What people read.
    pub(crate) wall: SystemTime,
}

/// The present moment.
pub(crate) fn now() -> Moment {
    Moment {
        mono: Instant::now(),
        wall: SystemTime::now(),
    }
}

/// By how many milliseconds a till's clock is ahead of the office's.
pub(crate) fn offset_ms(till: SystemTime, office: SystemTime) -> i64 {
    let whole = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    match till.duration_since(office) {
        Ok(ahead) => whole(ahead),
        Err(behind) => -whole(behind.duration()),
    }
}

/// `time` by a till's clock as the office's would have shown it.
pub(crate) fn corrected(time: SystemTime, offset_ms: i64) -> SystemTime {
    let by = Duration::from_millis(offset_ms.unsigned_abs());
    let moved = if offset_ms < 0 {
        time.checked_add(by)
    } else {
        time.checked_sub(by)
    };
    moved.unwrap_or(time)
}

/// A moment as machines and people read it, RFC 3339 in UTC, to the millisecond.
pub(crate) fn timestamp(time: SystemTime) -> String {
    /// The last second of the year 9999.
    const LAST: Duration = Duration::from_secs(253_402_300_799);
    let since = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    humantime::format_rfc3339_millis(SystemTime::UNIX_EPOCH + since.min(LAST)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn a_clock_that_is_wrong_is_corrected() {
        assert_eq!(offset_ms(at(10), at(4)), 6000);
        assert_eq!(offset_ms(at(4), at(10)), -6000);
        assert_eq!(corrected(at(10), offset_ms(at(10), at(4))), at(4));
        assert_eq!(corrected(at(4), offset_ms(at(4), at(10))), at(10));
        assert_eq!(timestamp(at(0)), "1970-01-01T00:00:00.000Z");
    }
}
