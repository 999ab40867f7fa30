//! The events that the watchdog keeps itself, put among what the journal has: each counts once, by its run and its
//! number. So it doesn't matter what the journal has lost of them. What they mean is decided in [`crate::history`].

use std::collections::{HashSet, VecDeque};

use crate::entry::understand_kept;
use crate::history::{Entry, Moment, Number, Sign};
use crate::order::Written;

/// More messages that are no events are a gap, as in a service that was set to tell all: they would be more
/// than what they are about.
const OTHERS_MAX: u64 = 1000;

/// The events that are kept, in order.
#[derive(Debug, Clone, Default)]
pub struct Kept {
    /// Those that are still to be told, by the boots in which they were written.
    boots: VecDeque<OfBoot>,
    /// Boot, run and number of each.
    numbers: HashSet<(u128, u128, u64)>,
    /// The boot that the journal is at.
    boot: Option<u128>,
}

/// What was written in one boot.
#[derive(Debug, Clone)]
struct OfBoot {
    boot: u128,
    events: VecDeque<Written>,
}

impl Kept {
    /// The events in a text of the machine of this id (machine-id(5)). What is no whole line of the watchdog's,
    /// as a power cut leaves, is ignored.
    #[must_use]
    pub fn of(text: &[u8], machine: &str) -> Self {
        let mut kept = Self::default();
        let lines = text.split(|byte| *byte == b'\n');
        for (written, others) in lines.filter_map(|line| understand_kept(line, machine)) {
            if !id(&written.entry).is_some_and(|id| kept.numbers.insert(id)) {
                continue;
            }
            let boot = written.entry.at.boot;
            let known = kept.boots.iter().position(|of| of.boot == boot);
            let index = known.unwrap_or_else(|| {
                let events = VecDeque::new();
                kept.boots.push_back(OfBoot { boot, events });
                kept.boots.len() - 1
            });
            let of_boot = &mut kept.boots[index].events;
            of_boot.extend(before_it(&written, others));
            of_boot.push_back(written);
        }
        kept
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// Whether the journal's entry is kept here, too.
    #[must_use]
    pub fn has(&self, entry: &Entry) -> bool {
        id(entry).is_some_and(|id| self.numbers.contains(&id))
    }

    /// What was written before the journal's entry of that moment, and wasn't told yet.
    pub fn before(&mut self, at: Moment) -> Vec<Written> {
        let mut told = Vec::new();
        let last = self.boot.replace(at.boot).filter(|last| *last != at.boot);
        let is_over = |of: &OfBoot| Some(of.boot) == last;
        let over = usize::from(self.boots.front().is_some_and(is_over));
        told.extend(self.boots.drain(..over).flat_map(|of| of.events));
        let known = self.boots.iter().position(|of| of.boot == at.boot);
        // Of a boot of which nothing is kept: whatever is older by the clock.
        let is_older = |of: &&OfBoot| of.events.iter().all(|one| one.entry.at.wall < at.wall);
        let older = || self.boots.iter().take_while(is_older).count();
        let count = known.unwrap_or_else(older);
        told.extend(self.boots.drain(..count).flat_map(|of| of.events));
        if let Some(of) = self.boots.front_mut().filter(|of| of.boot == at.boot) {
            let is_before = |one: &&Written| one.entry.at.monotonic < at.monotonic;
            let count = of.events.iter().take_while(is_before).count();
            told.extend(of.events.drain(..count));
        }
        told
    }

    /// What the journal hasn't come to.
    pub fn rest(self) -> impl Iterator<Item = Written> {
        self.boots.into_iter().flat_map(|of| of.events)
    }
}

/// What stands for the messages that came right before an event, of which only the number is known: so they
/// are no gap, whether the journal still has them or not.
fn before_it(event: &Written, others: u64) -> impl Iterator<Item = Written> {
    let number = event.entry.number.filter(|_| others <= OTHERS_MAX);
    let numbers = number.into_iter().flat_map(move |Number { run, seq }| {
        (seq - others..seq).map(move |seq| Number { run, seq })
    });
    numbers.map(|number| Written {
        entry: Entry {
            at: event.entry.at,
            number: Some(number),
            sign: Sign::Alive,
        },
        happened: event.happened,
    })
}

fn id(entry: &Entry) -> Option<(u128, u128, u64)> {
    let number = entry.number?;
    Some((entry.at.boot, number.run, number.seq))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(boot: u32, seq: u64, wall: u64) -> String {
        format!(
            "{{\"_BOOT_ID\":\"{boot}\",\"__MONOTONIC_TIMESTAMP\":\"5\",\
             \"__REALTIME_TIMESTAMP\":\"{wall}\",\"_PID\":\"9\",\"MFE_RUN\":\"{boot}\",\
             \"MFE_SEQ\":\"{seq}\",\"MFE_AT\":\"5\",\"MFE_EVENT\":\"up\",\"MFE_PROCESS\":\"a\"}}"
        )
    }

    fn seqs(written: impl IntoIterator<Item = Written>) -> Vec<u64> {
        let numbers = written.into_iter().map(|one| one.entry.number.unwrap());
        numbers.map(|number| number.seq).collect()
    }

    fn at(boot: u128, wall: u64) -> Moment {
        Moment {
            boot,
            monotonic: 6,
            wall,
        }
    }

    #[test]
    fn whole_lines_count_once_and_nothing_else_does() {
        let (one, two) = (line(1, 1, 10), line(1, 2, 20));
        let without_number = one.replace("MFE_SEQ", "X");
        let torn = &two[..two.len() / 2];
        let nul = "\0".repeat(4096);
        let text = format!("{one}\n{one}\n{nul}\n[]\n{without_number}\n{torn}\n{two}\n{torn}");
        let kept = Kept::of(text.as_bytes(), "01");
        let copy = kept.clone();
        assert_eq!(seqs(copy.rest()), [1, 2]);
        let others = |count: &str| {
            let line = line(1, 5, 10).replace('{', &format!("{{\"MFE_OTHERS\":\"{count}\","));
            seqs(Kept::of(line.as_bytes(), "01").rest())
        };
        assert_eq!(others("2"), [3, 4, 5]);
        assert_eq!(others("9"), [1, 2, 3, 4, 5], "there are no more");
        assert_eq!(others("-1"), [5]);
        let entry = kept.rest().next().unwrap().entry;
        assert!(matches!(&entry.sign, Sign::Event(event) if event.pid == 9));
        assert!(Kept::of(b"", "01").is_empty());
    }

    #[test]
    fn another_machine_is_none_of_its_image() {
        let of = |seq: u64, machine: &str| {
            let machine = format!("{{\"_MACHINE_ID\":\"{machine}\",");
            line(1, seq, 10).replacen('{', &machine, 1)
        };
        let lines = [of(1, "02"), of(2, "01"), of(3, ""), line(1, 4, 10)];
        let kept = Kept::of(lines.join("\n").as_bytes(), "01");
        assert_eq!(seqs(kept.rest()), [2, 3, 4]);
    }

    #[test]
    fn within_a_boot_they_come_as_the_journal_goes_on() {
        let at = |monotonic: u64| Moment {
            boot: 1,
            monotonic,
            wall: monotonic,
        };
        let line = |seq: u64, monotonic: u64| {
            let line = line(1, seq, 10);
            line.replace("STAMP\":\"5\"", &format!("STAMP\":\"{monotonic}\""))
        };
        let lines = [line(1, 10), line(2, 20), line(3, 30), line(4, 40)].join("\n");
        let mut kept = Kept::of(lines.as_bytes(), "01");
        assert_eq!(seqs(kept.before(at(10))), [] as [u64; 0]);
        assert_eq!(seqs(kept.before(at(25))), [1, 2]);
        // The journal goes on with another boot, which is earlier by the clock.
        let next = Moment { boot: 2, ..at(1) };
        assert_eq!(seqs(kept.before(next)), [3, 4]);
        assert_eq!(seqs(kept.rest()), [] as [u64; 0]);
    }

    #[test]
    fn boots_come_in_their_order_whatever_the_journal_lacks() {
        const NOTHING: [u64; 0] = [];
        let lines = [
            line(2, 2, 200),
            line(3, 3, 300),
            line(4, 4, 400),
            line(6, 6, 600),
        ];
        let mut kept = Kept::of(lines.join("\n").as_bytes(), "01");
        assert_eq!(seqs(kept.before(at(1, 100))), NOTHING, "nothing is as old");
        assert_eq!(seqs(kept.before(at(2, 200))), [2]);
        assert_eq!(seqs(kept.before(at(2, 250))), NOTHING);
        assert_eq!(seqs(kept.before(at(4, 390))), [3, 4], "3 isn't in it");
        assert_eq!(seqs(kept.before(at(5, 500))), NOTHING);
        assert_eq!(seqs(kept.before(at(7, 700))), [6], "7 isn't kept");
        assert_eq!(kept.clone().rest().next(), None);
        let told = Kept::of(lines[1].as_bytes(), "01").rest().next();
        let mut entry = told.unwrap().entry;
        assert!(kept.has(&entry), "told and still known");
        entry.number = Some(Number { run: 3, seq: 4 });
        assert!(!kept.has(&entry));
    }
}
