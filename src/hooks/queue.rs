//! The events that a hook has yet to be told of: bounded, for a hook may be slower than what
//! happens. It has no clock and runs nothing.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How many events wait for one hook; of more, the oldest are dropped.
pub(super) const CAPACITY: usize = 32;

/// A drop is said once there is room again, and at the latest after this long, so that it is said
/// even of a hook that never catches up.
const SAID_AFTER: Duration = Duration::from_secs(60);

/// What waits for one hook.
#[derive(Debug)]
pub(super) struct Queue<T> {
    waiting: VecDeque<T>,
    /// How many were dropped and not yet said.
    dropped: u64,
    /// When the first of them was.
    dropping_since: Option<Instant>,
}

impl<T> Queue<T> {
    pub(super) fn new() -> Self {
        Self {
            waiting: VecDeque::new(),
            dropped: 0,
            dropping_since: None,
        }
    }

    /// Appends an event, in place of the oldest where there is no room.
    pub(super) fn push(&mut self, event: T, now: Instant) {
        if self.waiting.len() == CAPACITY {
            self.waiting.pop_front();
            self.dropped += 1;
            self.dropping_since.get_or_insert(now);
        }
        self.waiting.push_back(event);
    }

    /// Takes the oldest event.
    pub(super) fn pop(&mut self) -> Option<T> {
        self.waiting.pop_front()
    }

    /// How many were dropped, if that is to be said now; each is said once.
    pub(super) fn take_dropped(&mut self, now: Instant) -> Option<u64> {
        let since = self.dropping_since?;
        if self.waiting.len() > CAPACITY / 2 && now < since + SAID_AFTER {
            return None;
        }
        self.dropping_since = None;
        Some(std::mem::take(&mut self.dropped))
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_dropped_and_said_when_there_is_room_again() {
        let now = Instant::now();
        let mut queue = Queue::new();
        for n in 0..CAPACITY + 3 {
            queue.push(n, now);
        }
        assert_eq!(queue.len(), CAPACITY);
        assert_eq!(queue.take_dropped(now), None, "no room yet");
        for n in 3..3 + CAPACITY / 2 {
            assert_eq!(queue.pop(), Some(n));
        }
        assert_eq!(queue.take_dropped(now), Some(3));
        assert_eq!(queue.take_dropped(now), None, "said once");
        while queue.pop().is_some() {}
        assert_eq!(queue.take_dropped(now), None);
    }

    #[test]
    fn drops_that_never_end_are_said_once_a_minute() {
        let begin = Instant::now();
        let mut queue = Queue::new();
        let mut said = Vec::new();
        for second in 0..180 {
            let now = begin + Duration::from_secs(second);
            for n in 0..CAPACITY {
                queue.push(n, now);
            }
            queue.pop();
            said.extend(queue.take_dropped(now));
        }
        assert_eq!(said.len(), 2);
    }
}
