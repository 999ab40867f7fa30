//! The rules of a route: what comes from a queue is gathered, handed over in batches, and settled by the verdict on
//! each message. Pure: what happens and the time go in, actions come out.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

/// After a batch of which something comes again, the next one waits: what can't be handled now can't be a moment
/// later, and whoever hands it over in a circle keeps the machine busy for nothing.
const PAUSE: Duration = Duration::from_millis(200);

/// What is done with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    /// It is done with.
    Ack,
    /// It is refused: the broker puts it aside, if it has a place for such.
    Reject,
    /// It comes again.
    Requeue,
}

impl Verdict {
    pub(crate) const ALL: [Self; 3] = [Self::Ack, Self::Reject, Self::Requeue];

    /// As people write it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ack => "ack",
            Self::Reject => "reject",
            Self::Requeue => "requeue",
        }
    }
}

/// How a route gathers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// How many messages come ahead, at most.
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
    /// A message has come, with its delivery tag. Tags are 1, 2, 3 …, and may come in another order.
    Delivered(u64, T),
    /// The verdicts on the batch that was handed over, in its order. A message without one counts as requeued.
    Judged(Vec<Verdict>),
    /// Time has passed.
    Tick,
    /// No more batches are wanted. What waits stays unsettled, and so comes again.
    Stop,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Action<T> {
    /// Hand these over; until they are judged, no others are.
    Hand(Vec<T>),
    /// Acknowledge this one and all before it that aren't settled.
    AckUpTo(u64),
    /// Acknowledge this one: before it there are some that haven't come yet.
    Ack(u64),
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
    /// All up to this tag are settled, and those besides.
    settled_to: u64,
    settled: BTreeSet<u64>,
    /// No batch is handed over before.
    pause: Option<Instant>,
    is_stopped: bool,
}

impl<T> Batcher<T> {
    pub(crate) fn new(pace: Pace) -> Self {
        Self {
            pace,
            waiting: VecDeque::new(),
            in_hand: None,
            settled_to: 0,
            settled: BTreeSet::new(),
            pause: None,
            is_stopped: false,
        }
    }

    /// What follows.
    pub(crate) fn handle(&mut self, now: Instant, input: Input<T>) -> Vec<Action<T>> {
        let mut actions = match input {
            Input::Delivered(tag, item) => {
                self.waiting.push_back((tag, item, now));
                Vec::new()
            }
            Input::Judged(verdicts) => self.settle(now, &verdicts),
            Input::Tick => Vec::new(),
            Input::Stop => {
                self.is_stopped = true;
                Vec::new()
            }
        };
        actions.extend(self.hand(now));
        actions
    }

    /// When a tick is due; none while a batch is out.
    pub(crate) fn next_flush(&self) -> Option<Instant> {
        let (_, _, came) = self.waiting.front()?;
        if self.is_stopped || self.in_hand.is_some() {
            return None;
        }
        let is_full = self.waiting.len() >= self.pace.most();
        let patience = if is_full {
            Duration::ZERO
        } else {
            self.pace.flush_timeout
        };
        Some((*came + patience).max(self.pause.unwrap_or(*came)))
    }

    /// Whether a batch is out.
    pub(crate) fn is_busy(&self) -> bool {
        self.in_hand.is_some()
    }

    fn hand(&mut self, now: Instant) -> Option<Action<T>> {
        self.next_flush().filter(|due| *due <= now)?;
        let count = self.waiting.len().min(self.pace.most());
        let batch = self.waiting.drain(..count);
        let (tags, items) = batch.map(|(tag, item, _)| (tag, item)).unzip();
        self.in_hand = Some(tags);
        Some(Action::Hand(items))
    }

    /// Those that aren't acknowledged first: one acknowledgement then covers all others that have none before them
    /// on the way.
    fn settle(&mut self, now: Instant, verdicts: &[Verdict]) -> Vec<Action<T>> {
        let tags = self.in_hand.take().unwrap_or_default();
        let verdicts = verdicts
            .iter()
            .copied()
            .chain(std::iter::repeat(Verdict::Requeue));
        let mut actions = Vec::new();
        let mut acks = Vec::new();
        self.pause = None;
        for (tag, verdict) in tags.into_iter().zip(verdicts) {
            self.settled.insert(tag);
            match verdict {
                Verdict::Ack => acks.push(tag),
                Verdict::Reject => actions.push(Action::Reject(tag)),
                Verdict::Requeue => {
                    self.pause = Some(now + PAUSE);
                    actions.push(Action::Requeue(tag));
                }
            }
        }
        while self.settled.remove(&(self.settled_to + 1)) {
            self.settled_to += 1;
        }
        let (covered, single): (Vec<u64>, Vec<u64>) =
            acks.into_iter().partition(|tag| *tag <= self.settled_to);
        actions.extend(covered.into_iter().max().map(Action::AckUpTo));
        actions.extend(single.into_iter().map(Action::Ack));
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

    #[test]
    fn what_is_on_the_way_is_not_acknowledged_with_what_has_come() {
        let mut batcher = Batcher::new(pace(2));
        let now = Instant::now();
        for tag in [3, 1] {
            batcher.handle(now, Input::Delivered(tag, ()));
        }
        let settled = batcher.handle(now, Input::Judged(vec![Verdict::Ack; 2]));
        assert_eq!(settled, [Action::AckUpTo(1), Action::Ack(3)]);
        for tag in [2, 4] {
            batcher.handle(now, Input::Delivered(tag, ()));
        }
        let settled = batcher.handle(now, Input::Judged(vec![Verdict::Ack; 2]));
        assert_eq!(settled, [Action::AckUpTo(4)]);
    }

    #[test]
    fn what_comes_again_waits_a_moment() {
        let mut batcher = Batcher::new(pace(1));
        let now = Instant::now();
        batcher.handle(now, Input::Delivered(1, 'a'));
        batcher.handle(now, Input::Delivered(2, 'b'));
        let settled = batcher.handle(now, Input::Judged(vec![Verdict::Requeue]));
        assert_eq!(settled, [Action::Requeue(1)]);
        assert_eq!(batcher.next_flush(), Some(now + PAUSE));
        let handed = batcher.handle(now + PAUSE, Input::Tick);
        assert_eq!(handed, [Action::Hand(vec!['b'])]);
    }

    #[test]
    fn once_it_is_to_stop_what_is_out_is_settled_and_nothing_else() {
        let mut batcher = Batcher::new(pace(1));
        let now = Instant::now();
        batcher.handle(now, Input::Delivered(1, 'a'));
        batcher.handle(now, Input::Delivered(2, 'b'));
        assert_eq!(batcher.handle(now, Input::Stop), []);
        assert!(batcher.is_busy());
        let settled = batcher.handle(now, Input::Judged(vec![Verdict::Ack]));
        assert_eq!(settled, [Action::AckUpTo(1)]);
        assert!(!batcher.is_busy() && batcher.next_flush().is_none());
    }

    /// A broker with several queues on one channel: it sends so many ahead, which may come in another order, and
    /// keeps what isn't settled.
    #[derive(Debug)]
    struct Model {
        prefetch: usize,
        queue: VecDeque<u32>,
        /// By its tag, each message that isn't settled; and the tags that haven't come yet.
        sent: BTreeMap<u64, u32>,
        on_the_way: Vec<u64>,
        tags: u64,
        done: BTreeMap<u32, Verdict>,
    }

    impl Model {
        fn send(&mut self) {
            while self.sent.len() < self.prefetch {
                let Some(message) = self.queue.pop_front() else {
                    break;
                };
                self.tags += 1;
                self.sent.insert(self.tags, message);
                self.on_the_way.push(self.tags);
            }
        }

        /// Nothing is settled that isn't out, and with another verdict than its own.
        fn settle(&mut self, tag: u64, verdict: Verdict, expected: &mut BTreeMap<u64, Verdict>) {
            assert_eq!(expected.remove(&tag), Some(verdict), "{tag}");
            let message = self.sent.remove(&tag).unwrap();
            if verdict == Verdict::Requeue {
                self.queue.push_back(message);
            } else {
                assert_eq!(self.done.insert(message, verdict), None, "{message}");
            }
        }

        fn perform(
            &mut self,
            action: Action<u64>,
            expected: &mut BTreeMap<u64, Verdict>,
        ) -> Option<Vec<u64>> {
            match action {
                Action::Hand(batch) => return Some(batch),
                Action::Reject(tag) => self.settle(tag, Verdict::Reject, expected),
                Action::Requeue(tag) => self.settle(tag, Verdict::Requeue, expected),
                Action::Ack(tag) => self.settle(tag, Verdict::Ack, expected),
                Action::AckUpTo(last) => {
                    let tags: Vec<u64> = self.sent.range(..=last).map(|(tag, _)| *tag).collect();
                    for tag in tags {
                        self.settle(tag, Verdict::Ack, expected);
                    }
                }
            }
            None
        }
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
        Publish,
        /// One of those on the way comes.
        Deliver(usize),
        Judge(Vec<Verdict>),
        Wait(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => Just(Step::Publish),
            4 => any::<usize>().prop_map(Step::Deliver),
            1 => prop::collection::vec(verdict(), 0..8).prop_map(Step::Judge),
            1 => (0_u64..1500).prop_map(Step::Wait),
        ]
    }

    proptest! {
        /// Whatever happens: one batch is out at a time, and each message is handed over, settled exactly once by the
        /// verdict on it, and none is lost; no more are out than the broker sends ahead, and that is enough to go on.
        #[test]
        fn nothing_is_lost_nothing_is_settled_twice(
            steps in prop::collection::vec(step(), 0..200),
            bulk_size in 1_usize..6,
            prefetch in 1_u16..9,
        ) {
            let pace = Pace { prefetch, ..pace(bulk_size) };
            let mut batcher = Batcher::new(pace);
            let mut broker = Model {
                prefetch: prefetch.into(),
                queue: VecDeque::new(),
                sent: BTreeMap::new(),
                on_the_way: Vec::new(),
                tags: 0,
                done: BTreeMap::new(),
            };
            let mut now = Instant::now();
            let mut messages = 0;
            let mut out: Vec<u64> = Vec::new();
            let end = [
                Step::Deliver(0),
                Step::Wait(1000),
                Step::Judge(vec![Verdict::Ack; 6]),
            ];
            let rest = std::iter::repeat_n(end, 500).flatten();
            for step in steps.into_iter().chain(rest) {
                let mut expected = BTreeMap::new();
                let input = match step {
                    Step::Publish => {
                        messages += 1;
                        broker.queue.push_back(messages);
                        Input::Tick
                    }
                    Step::Deliver(_) if broker.on_the_way.is_empty() => Input::Tick,
                    Step::Deliver(which) => {
                        let tag = broker.on_the_way.remove(which % broker.on_the_way.len());
                        Input::Delivered(tag, tag)
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
                    if let Some(batch) = broker.perform(action, &mut expected) {
                        prop_assert!(out.is_empty() && (1..=pace.most()).contains(&batch.len()));
                        out = batch;
                    }
                }
                prop_assert!(expected.is_empty());
                prop_assert_eq!(batcher.is_busy(), !out.is_empty());
                broker.send();
                prop_assert!(broker.sent.len() <= usize::from(prefetch));
                if let Some(due) = batcher.next_flush() {
                    prop_assert!(due > now && due <= now + SECOND);
                }
            }
            prop_assert_eq!(broker.done.len(), messages as usize);
            prop_assert!(broker.sent.is_empty() && broker.queue.is_empty());
        }
    }
}
