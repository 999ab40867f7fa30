//! What is on its way to the broker, and how far each boot is confirmed: the rules, pure. A mark never passes an
//! event that isn't confirmed, whatever the broker answers and in whichever order; so whatever is after
//! the marks is sent again after a crash, and nothing is lost.

use std::collections::{BTreeMap, BTreeSet};

use crate::event::{Boot, EventId};

/// How far each boot is confirmed: events of it up to this monotonic time (microseconds) are at the broker.
pub(crate) type Marks = BTreeMap<Boot, u64>;

/// What one boot has between its mark and what was read last.
#[derive(Debug, Default)]
struct Progress {
    /// Sent or to be sent again, not confirmed.
    open: BTreeSet<(u64, u64)>,
    /// Confirmed, but not yet covered by the mark.
    confirmed: BTreeSet<u64>,
    /// The latest that was taken in.
    latest: u64,
    /// Whether all is read that there was: nothing else of the latest moment is to come.
    is_drained: bool,
}

/// What came of a confirmation.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The events that are delivered by it, in the order in which they were sent.
    pub(crate) delivered: Vec<EventId>,
    /// Those that the broker didn't take. They stay open until they are sent again and confirmed.
    pub(crate) refused: Vec<EventId>,
}

/// The window of events that are at the broker and not confirmed.
#[derive(Debug, Default)]
pub(crate) struct Window {
    marks: Marks,
    /// By delivery tag.
    sent: BTreeMap<u64, EventId>,
    /// Returned by the broker, which acknowledges them all the same.
    returned: BTreeSet<EventId>,
    boots: BTreeMap<Boot, Progress>,
}

impl Window {
    /// An empty one, from where the marks are.
    pub(crate) fn new(marks: Marks) -> Self {
        Self {
            marks,
            ..Self::default()
        }
    }

    /// How far each boot is confirmed.
    pub(crate) fn marks(&self) -> &Marks {
        &self.marks
    }

    /// How many the broker owes an answer for.
    pub(crate) fn outstanding(&self) -> usize {
        self.sent.len()
    }

    /// An event was read and is going to be sent. One that the marks cover was known before; it is taken all
    /// the same.
    pub(crate) fn take(&mut self, id: &EventId) {
        let progress = self.boots.entry(id.boot).or_default();
        progress.open.insert((id.mono, id.hash));
        progress.latest = progress.latest.max(id.mono);
        progress.is_drained = false;
        self.advance(&id.boot);
    }

    /// It was handed to the broker under this delivery tag.
    pub(crate) fn sent(&mut self, tag: u64, id: EventId) {
        self.sent.insert(tag, id);
    }

    /// All that the journal had of a boot has been taken in.
    pub(crate) fn drained(&mut self, boot: &Boot) {
        if let Some(progress) = self.boots.get_mut(boot) {
            progress.is_drained = true;
            self.advance(boot);
        }
    }

    /// The broker has no queue for it. Its confirmation comes afterwards, and says nothing.
    pub(crate) fn returned(&mut self, message_id: &str) {
        let id = self.sent.values().find(|id| id.to_string() == message_id);
        self.returned.extend(id.copied());
    }

    /// The broker has confirmed a tag, or all up to it.
    pub(crate) fn confirmed(&mut self, tag: u64, multiple: bool) -> Answer {
        let mut answer = Answer::default();
        for id in self.answered(tag, multiple) {
            if self.returned.remove(&id) {
                answer.refused.push(id);
                continue;
            }
            if let Some(progress) = self.boots.get_mut(&id.boot) {
                progress.open.remove(&(id.mono, id.hash));
                progress.confirmed.insert(id.mono);
            }
            self.advance(&id.boot);
            answer.delivered.push(id);
        }
        answer
    }

    /// The broker hasn't taken a tag, or all up to it.
    pub(crate) fn refused(&mut self, tag: u64, multiple: bool) -> Answer {
        let refused = self.answered(tag, multiple);
        for id in &refused {
            self.returned.remove(id);
        }
        Answer {
            refused,
            ..Answer::default()
        }
    }

    fn answered(&mut self, tag: u64, multiple: bool) -> Vec<EventId> {
        if !multiple {
            return self.sent.remove(&tag).into_iter().collect();
        }
        let later = self.sent.split_off(&tag.saturating_add(1));
        let answered = std::mem::replace(&mut self.sent, later);
        answered.into_values().collect()
    }

    /// Moves a boot's mark over what is confirmed without a gap. What has come last may have a twin of the same
    /// microsecond that isn't read yet, so it waits for a later one or the end.
    fn advance(&mut self, boot: &Boot) {
        let Some(progress) = self.boots.get_mut(boot) else {
            return;
        };
        while let Some(&next) = progress.confirmed.first() {
            let is_before_open = progress.open.first().is_none_or(|(open, _)| next < *open);
            let is_complete = next < progress.latest || progress.is_drained;
            if !(is_before_open && is_complete) {
                return;
            }
            progress.confirmed.remove(&next);
            let mark = self.marks.entry(*boot).or_default();
            *mark = next.max(*mark);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn boot(n: u8) -> Boot {
        Boot::new(&format!("{n:032x}")).unwrap()
    }

    fn id(n: u8, mono: u64, hash: u64) -> EventId {
        EventId {
            boot: boot(n),
            mono,
            hash,
        }
    }

    fn mark(window: &Window) -> Option<u64> {
        window.marks().get(&boot(0)).copied()
    }

    fn with(monos: &[u64]) -> Window {
        let mut window = Window::default();
        for (tag, mono) in (1..).zip(monos) {
            window.take(&id(0, *mono, tag));
            window.sent(tag, id(0, *mono, tag));
        }
        window
    }

    #[test]
    fn the_mark_is_the_longest_confirmed_prefix() {
        let mut window = with(&[10, 20, 30]);
        assert_eq!(window.confirmed(2, false).delivered, [id(0, 20, 2)]);
        assert_eq!(mark(&window), None);
        window.confirmed(1, false);
        assert_eq!(mark(&window), Some(20));
        let answer = window.confirmed(3, true);
        assert_eq!(answer.delivered, [id(0, 30, 3)]);
        assert_eq!(mark(&window), Some(20), "a twin may follow");
        window.drained(&boot(0));
        assert_eq!(mark(&window), Some(30));
        assert_eq!(window.outstanding(), 0);
    }

    #[test]
    fn what_is_refused_or_returned_stays_until_it_is_taken() {
        let mut window = with(&[10, 20, 30]);
        window.drained(&boot(0));
        window.returned(&id(0, 10, 1).to_string());
        assert_eq!(window.confirmed(1, false).refused, [id(0, 10, 1)]);
        assert_eq!(window.refused(2, false).refused, [id(0, 20, 2)]);
        window.confirmed(3, false);
        assert_eq!(mark(&window), None);
        window.sent(4, id(0, 10, 1));
        window.sent(5, id(0, 20, 2));
        window.confirmed(5, true);
        assert_eq!(mark(&window), Some(30));
    }

    #[test]
    fn two_of_one_microsecond_are_two() {
        let mut window = with(&[10]);
        window.confirmed(1, false);
        assert_eq!(mark(&window), None);
        window.take(&id(0, 10, 9));
        window.sent(2, id(0, 10, 9));
        window.drained(&boot(0));
        assert_eq!(mark(&window), None);
        window.confirmed(2, false);
        assert_eq!(mark(&window), Some(10));
    }

    #[test]
    fn what_is_unknown_is_no_answer() {
        let mut window = with(&[10]);
        assert_eq!(window.confirmed(7, false), Answer::default());
        window.returned("nothing of ours");
        assert_eq!(window.confirmed(u64::MAX, true).delivered.len(), 1);
        assert_eq!(window.refused(1, false), Answer::default());
    }

    #[derive(Debug, Clone)]
    enum Step {
        /// As many events are read and sent.
        Send(usize),
        /// The broker answers one of those that it owes an answer for, or all up to it.
        Confirm(usize, bool),
        Refuse(usize, bool),
        Return(usize),
        /// What was refused is sent again.
        Retry,
        /// The relay dies; it begins again where the marks are.
        Crash,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (1..6_usize).prop_map(Step::Send),
            (any::<usize>(), any::<bool>()).prop_map(|(n, multiple)| Step::Confirm(n, multiple)),
            (any::<usize>(), any::<bool>()).prop_map(|(n, multiple)| Step::Refuse(n, multiple)),
            any::<usize>().prop_map(Step::Return),
            Just(Step::Retry),
            Just(Step::Crash),
        ]
    }

    proptest! {
        /// The journal has some boots with events, some of the same microsecond. Whatever happens, no mark passes
        /// an event that the broker hasn't taken; and in the end all are there.
        #[test]
        fn nothing_is_lost_whatever_is_answered_and_whenever_it_dies(
            gaps in proptest::collection::vec((0..2_u8, 0..3_u64), 1..60),
            steps in proptest::collection::vec(step(), 0..120),
        ) {
            let mut time = 1;
            let journal: Vec<EventId> = gaps.iter().zip(0..).map(|((n, gap), hash)| {
                time += gap;
                id(*n, time, hash)
            }).collect();
            let mut boots: Vec<Vec<EventId>> = vec![Vec::new(); 2];
            for event in &journal {
                let n = usize::from(event.boot == boot(1));
                boots[n].push(*event);
            }
            let mut there: BTreeSet<EventId> = BTreeSet::new();
            let mut window = Window::default();
            let mut read = [0; 2];
            let mut tag = 0;
            let mut refused: Vec<EventId> = Vec::new();

            let covered = |window: &Window, event: &EventId| {
                window.marks().get(&event.boot).is_some_and(|mark| event.mono <= *mark)
            };
            // At the end all is sent, and confirmed.
            let last = [Step::Retry, Step::Send(60), Step::Confirm(usize::MAX, true), Step::Crash,
                Step::Send(60), Step::Confirm(usize::MAX, true)];
            for step in steps.iter().chain(&last) {
                match step {
                    Step::Send(count) => for n in 0..2 {
                        for _ in 0..*count {
                            let Some(event) = boots[n].get(read[n]) else {
                                window.drained(&boot(u8::try_from(n).unwrap()));
                                break;
                            };
                            read[n] += 1;
                            tag += 1;
                            window.take(event);
                            window.sent(tag, *event);
                        }
                    },
                    Step::Retry => for event in refused.drain(..) {
                        tag += 1;
                        window.sent(tag, event);
                    },
                    Step::Confirm(n, multiple) | Step::Refuse(n, multiple) => {
                        let tags: Vec<u64> = window.sent.keys().copied().collect();
                        if tags.is_empty() {
                            continue;
                        }
                        let n = if *n == usize::MAX { tags.len() - 1 } else { n % tags.len() };
                        let upto = if *multiple { 0..=n } else { n..=n };
                        let ids: Vec<EventId> = tags[upto].iter().map(|tag| window.sent[tag]).collect();
                        let answer = if matches!(step, Step::Confirm(..)) {
                            // What had no queue isn't there, whatever is acknowledged.
                            there.extend(ids.into_iter().filter(|id| !window.returned.contains(id)));
                            window.confirmed(tags[n], *multiple)
                        } else {
                            window.refused(tags[n], *multiple)
                        };
                        refused.extend(answer.refused);
                    }
                    Step::Return(n) => {
                        let ids: Vec<String> = window.sent.values().map(ToString::to_string).collect();
                        if !ids.is_empty() {
                            window.returned(&ids[n % ids.len()]);
                        }
                    }
                    Step::Crash => {
                        window = Window::new(window.marks().clone());
                        refused.clear();
                        for n in 0..2 {
                            read[n] = boots[n].iter().take_while(|event| covered(&window, event)).count();
                        }
                    }
                }
                for event in &journal {
                    prop_assert!(!covered(&window, event) || there.contains(event), "{event} after {step:?}");
                }
            }
            prop_assert_eq!(there.len(), journal.len());
        }
    }
}
