//! Wakes a task at a time, by a timer of the kernel's (timerfd_create(2)), and waits for descriptors of
//! the kernel's in general; pidfds are waited for in [`crate::proc`].
//!
//! tokio's own timers are a wheel of ticks of 1 ms, which wakes the process up to three times during
//! a wait of some seconds. That is of no account for a timeout that hardly ever passes; for what a
//! quiet service waits for all day, it is most of what the service costs.

use std::time::{Duration, Instant};

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::sleep_until;

/// Prepares to wait for a descriptor; `None` if the runtime can't. Must be called in it.
pub(crate) fn readable(descriptor: OwnedFd) -> Option<AsyncFd<OwnedFd>> {
    #[allow(
        deprecated,
        reason = "its successor is unsafe; an OwnedFd is the promise it asks for"
    )]
    let watched = AsyncFd::with_interest(descriptor, Interest::READABLE);
    watched.ok()
}

/// The first multiple of `interval` after `now`, counted from `epoch`: whoever waits for the same one is
/// woken together with the others.
pub(crate) fn next_multiple(epoch: Instant, interval: Duration, now: Instant) -> Instant {
    let since = now.saturating_duration_since(epoch).as_nanos();
    let interval = interval.as_nanos().max(1);
    let rest = interval - since % interval;
    // An interval is at most an hour, so the rest fits.
    now + Duration::from_nanos(u64::try_from(rest).unwrap_or(u64::MAX))
}

/// Rings for one task.
#[derive(Debug)]
pub(crate) struct Alarm {
    /// `None` where there are no descriptors left: tokio's timer does as well then.
    timer: Option<AsyncFd<OwnedFd>>,
    /// When the timer will ring.
    set_to: Option<Instant>,
}

impl Alarm {
    /// An alarm that isn't set. Must be called in the runtime.
    pub(crate) fn new() -> Self {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags);
        Self {
            timer: timer.ok().and_then(readable),
            set_to: None,
        }
    }

    /// Waits until `time`, not at all if that is past. May be dropped and called again.
    pub(crate) async fn at(&mut self, time: Instant) {
        loop {
            let wait = time.saturating_duration_since(Instant::now());
            if wait.is_zero() {
                return;
            }
            let Some(timer) = &self.timer else {
                return sleep_until(time.into()).await;
            };
            if self.set_to != Some(time) {
                if set(timer.get_ref(), wait).is_err() {
                    self.timer = None;
                    continue;
                }
                self.set_to = Some(time);
            }
            let Ok(mut ready) = timer.readable().await else {
                self.timer = None;
                continue;
            };
            // Nobody reads how often it has rung: setting it forgets that. It may have been an earlier
            // setting that rang unheard, so it is set again whatever it was.
            ready.clear_ready();
            self.set_to = None;
        }
    }
}

fn set(timer: &OwnedFd, wait: Duration) -> Result<(), Errno> {
    let never = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let setting = Itimerspec {
        it_interval: never,
        it_value: Timespec::try_from(wait).map_err(|_| Errno::INVAL)?,
    };
    timerfd_settime(timer, TimerfdTimerFlags::empty(), &setting).map(drop)
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn it_rings_in_its_time_and_not_before() {
        let mut alarm = Alarm::new();
        for wait in [0, 1, 30] {
            let time = Instant::now() + Duration::from_millis(wait);
            timeout(LONG, alarm.at(time)).await.unwrap();
            assert!(Instant::now() >= time);
        }
    }

    #[tokio::test]
    async fn what_has_rung_unheard_does_not_count_for_another_time() {
        let mut alarm = Alarm::new();
        let soon = Instant::now() + Duration::from_millis(200);
        let heard = timeout(Duration::ZERO, alarm.at(soon)).await;
        assert!(heard.is_err());
        tokio::time::sleep_until((soon + Duration::from_millis(5)).into()).await;
        let later = Instant::now() + Duration::from_millis(30);
        timeout(LONG, alarm.at(later)).await.unwrap();
        assert!(Instant::now() >= later);
    }

    #[tokio::test]
    async fn it_can_be_set_to_an_earlier_time() {
        let mut alarm = Alarm::new();
        let heard = timeout(Duration::ZERO, alarm.at(Instant::now() + 10 * LONG)).await;
        assert!(heard.is_err());
        let soon = Instant::now() + Duration::from_millis(200);
        timeout(LONG, alarm.at(soon)).await.unwrap();
    }

    #[tokio::test]
    async fn without_a_timer_it_rings_all_the_same() {
        let mut alarm = Alarm {
            timer: None,
            set_to: None,
        };
        let time = Instant::now() + Duration::from_millis(5);
        timeout(LONG, alarm.at(time)).await.unwrap();
        assert!(Instant::now() >= time);
    }
}
