//! The rules of a route: what comes from a queue is gathered, handed over in batches, and settled by the verdict on
//! each message. Pure: what happens and the time go in, actions come out.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What is done with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is done with.
    Ack,
    /// It is refused: the broker puts it aside, if it has a place for such.
    Reject,
    /// It comes again.
    Requeue,
}

/// How a route gathers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// How many messages the broker sends ahead.
    pub(crate) prefetch: u16,
    /// How many are handed over at once, at most.
    pub(crate) bulk_size: usize,
    /// How long the first of a batch waits for the others.
    pub(crate) flush_timeout: Duration,
}

impl Pace {
    /// More than the broker sends ahead never come together.
    fn most(self) -> usize {
        self.bulk_size.min(usize::from(self.prefetch)).max(1)
    }
}

/// What happens to a route.
#[derive(Debug)]
pub(crate) enum Input<T> {
    /// A message has come, with its delivery tag: they grow.
    Delivered(u64, T),
    /// The verdicts on the batch that was handed over, in its order. A message without one counts as requeued.
    Judged(Vec<Verdict>),
    /// Time has passed.
    Tick,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Action<T> {
    /// Hand these over; until they are judged, no others are.
    Hand(Vec<T>),
    /// Acknowledge this one and all before it that aren't settled.
    AckUpTo(u64),
    /// Refuse this one.
    Reject(u64),
    /// Have this one come again.
    Requeue(u64),
}

/// The messages of one connection that aren't settled.
#[derive(Debug)]
pub(crate) struct Batcher<T> {
    pace: Pace,
    waiting: VecDeque<(u64, T, Instant)>,
    in_hand: Option<Vec<u64>>,
}

impl<T> Batcher<T> {
    pub(crate) fn new(pace: Pace) -> Self {
        Self {
            pace,
            waiting: VecDeque::new(),
            in_hand: None,
        }
    }

    /// What follows.
    pub(crate) fn handle(&mut self, now: Instant, input: Input<T>) -> Vec<Action<T>> {
        let mut actions = match input {
            Input::Delivered(tag, item) => {
                self.waiting.push_back((tag, item, now));
                Vec::new()
            }
            Input::Judged(verdicts) => self.settle(&verdicts),
            Input::Tick => Vec::new(),
        };
        actions.extend(self.hand(now));
        actions
    }

    /// When a tick is due; none while a batch is out.
    pub(crate) fn next_flush(&self) -> Option<Instant> {
        let (_, _, came) = self.waiting.front()?;
        let is_free = self.in_hand.is_none();
        is_free.then(|| *came + self.pace.flush_timeout)
    }

    fn hand(&mut self, now: Instant) -> Option<Action<T>> {
        let is_full = self.waiting.len() >= self.pace.most();
        let is_due = self.next_flush().is_some_and(|due| due <= now);
        if self.in_hand.is_some() || !(is_full || is_due) {
            return None;
        }
        let count = self.waiting.len().min(self.pace.most());
        let batch = self.waiting.drain(..count);
        let (tags, items) = batch.map(|(tag, item, _)| (tag, item)).unzip();
        self.in_hand = Some(tags);
        Some(Action::Hand(items))
    }

    /// Those that aren't acknowledged first: one acknowledgement then covers all others.
    fn settle(&mut self, verdicts: &[Verdict]) -> Vec<Action<T>> {
        let tags = self.in_hand.take().unwrap_or_default();
        let verdicts = verdicts
            .iter()
            .copied()
            .chain(std::iter::repeat(Verdict::Requeue));
        let mut actions = Vec::new();
        let mut last = None;
        for (tag, verdict) in tags.into_iter().zip(verdicts) {
            match verdict {
                Verdict::Ack => last = Some(tag),
                Verdict::Reject => actions.push(Action::Reject(tag)),
                Verdict::Requeue => actions.push(Action::Requeue(tag)),
            }
        }
        actions.extend(last.map(Action::AckUpTo));
        actions
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn pace(bulk_size: usize) -> Pace {
        Pace {
            prefetch: 1000,
            bulk_size,
            flush_timeout: SECOND,
        }
    }

    #[test]
    fn a_full_batch_goes_at_once_and_another_after_its_time() {
        let mut batcher = Batcher::new(pace(2));
        let begin = Instant::now();
        assert_eq!(batcher.handle(begin, Input::Delivered(1, 'a')), []);
        assert_eq!(batcher.next_flush(), Some(begin + SECOND));
        let full = batcher.handle(begin, Input::Delivered(2, 'b'));
        assert_eq!(full, [Action::Hand(vec!['a', 'b'])]);
        // One batch at a time, however late it gets.
        let late = begin + 2 * SECOND;
        assert_eq!(batcher.handle(begin, Input::Delivered(3, 'c')), []);
        assert_eq!(batcher.handle(late, Input::Tick), []);
        assert_eq!(batcher.next_flush(), None);
        let judged = batcher.handle(late, Input::Judged(vec![Verdict::Ack, Verdict::Ack]));
        assert_eq!(judged, [Action::AckUpTo(2), Action::Hand(vec!['c'])]);
    }

    #[test]
    fn the_smaller_of_the_two_sizes_counts() {
        for (prefetch, bulk_size) in [(1, 9), (9, 1), (0, 0)] {
            let pace = Pace {
                prefetch,
                ..pace(bulk_size)
            };
            let handed = Batcher::new(pace).handle(Instant::now(), Input::Delivered(1, 'a'));
            assert_eq!(handed, [Action::Hand(vec!['a'])]);
        }
    }

    #[test]
    fn each_message_has_its_own_verdict() {
        let mut batcher = Batcher::new(pace(4));
        let now = Instant::now();
        for tag in 1..=4 {
            batcher.handle(now, Input::Delivered(tag, ()));
        }
        let verdicts = vec![Verdict::Reject, Verdict::Ack, Verdict::Requeue];
        let settled = batcher.handle(now, Input::Judged(verdicts));
        let expected = [
            Action::Reject(1),
            Action::Requeue(3),
            Action::Requeue(4),
            Action::AckUpTo(2),
        ];
        assert_eq!(settled, expected);
    }

    fn verdict() -> impl Strategy<Value = Verdict> {
        prop_oneof![
            Just(Verdict::Ack),
            Just(Verdict::Reject),
            Just(Verdict::Requeue)
        ]
    }

    #[derive(Debug, Clone)]
    enum Step {
        Deliver,
        Judge(Vec<Verdict>),
        Wait(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => Just(Step::Deliver),
            1 => prop::collection::vec(verdict(), 0..8).prop_map(Step::Judge),
            1 => (0_u64..1500).prop_map(Step::Wait),
        ]
    }

    proptest! {
        /// Whatever happens: one batch is out at a time, in order, and each message is handed over and settled
        /// exactly once, none before it was judged.
        #[test]
        fn nothing_is_lost_nothing_is_settled_twice(steps in prop::collection::vec(step(), 0..200), size in 1_usize..6) {
            let mut batcher = Batcher::new(pace(size));
            let mut now = Instant::now();
            let mut next = 1;
            let mut out: Vec<u64> = Vec::new();
            let mut handed = 0;
            // What each message got; a broker keeps what isn't settled.
            let mut settled: BTreeMap<u64, Verdict> = BTreeMap::new();
            let end = [Step::Wait(1000), Step::Judge(vec![Verdict::Ack; 6])];
            let rest = std::iter::repeat_n(end, 210).flatten();
            for step in steps.into_iter().chain(rest) {
                let mut expected = BTreeMap::new();
                let input = match step {
                    Step::Deliver => {
                        next += 1;
                        Input::Delivered(next - 1, next - 1)
                    }
                    Step::Judge(verdicts) => {
                        let verdicts_of = verdicts.iter().copied().chain(std::iter::repeat(Verdict::Requeue));
                        expected = out.drain(..).zip(verdicts_of).collect();
                        Input::Judged(verdicts)
                    }
                    Step::Wait(ms) => {
                        now += Duration::from_millis(ms);
                        Input::Tick
                    }
                };
                for action in batcher.handle(now, input) {
                    let mut settle = |tag, verdict| {
                        prop_assert_eq!(expected.remove(&tag), Some(verdict), "{}", tag);
                        prop_assert_eq!(settled.insert(tag, verdict), None);
                        Ok(())
                    };
                    match action {
                        Action::Reject(tag) => settle(tag, Verdict::Reject)?,
                        Action::Requeue(tag) => settle(tag, Verdict::Requeue)?,
                        Action::AckUpTo(last) => {
                            let before: Vec<u64> = (1..=last).filter(|tag| !settled.contains_key(tag)).collect();
                            for tag in before {
                                prop_assert_eq!(expected.remove(&tag), Some(Verdict::Ack));
                                settled.insert(tag, Verdict::Ack);
                            }
                        }
                        Action::Hand(batch) => {
                            prop_assert!(out.is_empty() && (1..=size).contains(&batch.len()));
                            prop_assert_eq!(batch[0], handed + 1);
                            handed += batch.len() as u64;
                            out = batch;
                        }
                    }
                }
                prop_assert!(expected.is_empty());
                if let Some(due) = batcher.next_flush().filter(|_| out.is_empty()) {
                    prop_assert!(due > now && due <= now + SECOND);
                }
            }
            prop_assert_eq!(handed, next - 1);
            prop_assert_eq!(settled.len() as u64, next - 1);
        }
    }
}
