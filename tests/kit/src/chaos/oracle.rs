//! Judges what was seen against what was done: copies, absences, counts. It looks at nothing itself.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::time::Duration;

use super::plan::Which;

/// How long a program may be away.
const ABSENCE_MAX: Duration = Duration::from_secs(45);

/// What is known of one program, whose copies are told apart by `C`. What is on its way to be one is one,
/// too: a start beside it, or beside another start, would become a copy too many.
struct Program<C> {
    /// How often chaos has left no copy of it.
    absences: usize,
    /// How often it has had a start come to nothing.
    vain: usize,
    /// How many copies it has started in all.
    extras: usize,
    /// All that were ever seen.
    seen: BTreeSet<C>,
    /// Copies that chaos itself has started and that may live now.
    extra: usize,
    /// The most of them since the last sample, and in the time before it: a sample takes a moment,
    /// and is judged after it was taken.
    most_extra: [usize; 2],
    /// The copies of the last sample.
    before: BTreeSet<C>,
    /// When it was last seen, in the run's own time.
    last_seen: Duration,
}

impl<C> Default for Program<C> {
    fn default() -> Self {
        Self {
            absences: 0,
            vain: 0,
            extras: 0,
            seen: BTreeSet::new(),
            extra: 0,
            most_extra: [0; 2],
            before: BTreeSet::new(),
            last_seen: Duration::ZERO,
        }
    }
}

/// What was seen so far, and what is wrong with it.
pub struct Oracle<C> {
    programs: [Program<C>; 2],
    violations: Vec<String>,
    samples: usize,
}

impl<C: Ord + Copy + Debug> Default for Oracle<C> {
    fn default() -> Self {
        Self::new()
    }
}

impl<C: Ord + Copy + Debug> Oracle<C> {
    /// Nothing was seen yet, and each program was started once.
    pub fn new() -> Self {
        Self {
            programs: Default::default(),
            violations: Vec::new(),
            samples: 0,
        }
    }

    /// Chaos is about to leave no copy of a program.
    pub fn will_be_absent(&mut self, which: Which) {
        self.programs[which].absences += 1;
    }

    /// Chaos is about to have a start come to nothing, which is to be made again.
    pub fn will_be_in_vain(&mut self, which: Which) {
        self.programs[which].vain += 1;
    }

    /// Chaos is about to start a copy, or has made sure that one it started is gone.
    pub fn extra(&mut self, which: Which, extra: usize) {
        let program = &mut self.programs[which];
        program.extras += extra.saturating_sub(program.extra);
        program.extra = extra;
        program.most_extra[0] = program.most_extra[0].max(extra);
    }

    /// A sample of the process table. One sample is no snapshot: who dies and who is born while it
    /// is taken may be in it together. Who is in two samples in a row lived all the time between
    /// them, and so do all that are in both. Where a process forks and ends while a sample is taken,
    /// that one may meet neither it nor its child: so who is in neither of two samples has ended.
    pub fn sample(&mut self, now: Duration, copies: [Vec<C>; 2]) {
        self.samples += 1;
        for (which, copies) in copies.into_iter().enumerate() {
            let program = &mut self.programs[which];
            let copies: BTreeSet<C> = copies.into_iter().collect();
            let together = copies.intersection(&program.before).count();
            let [since, before] = program.most_extra;
            program.most_extra = [program.extra, since];
            if together > 1 + since.max(before) {
                let copies = &copies;
                self.violations.push(format!(
                    "at {now:.1?} program {which} had {together} copies: {copies:?}"
                ));
            }
            program.seen.extend(&copies);
            let ended = program.seen.difference(&copies);
            let ended: Vec<&C> = ended
                .filter(|copy| !program.before.contains(copy))
                .collect();
            let to_end = program.absences + program.vain + program.extras;
            if ended.len() > to_end {
                self.violations.push(format!(
                    "at {now:.1?} these copies of program {which} had ended: {ended:?}, and chaos has \
                     ended no more than {to_end}; there are: {copies:?}"
                ));
                program.seen.clone_from(&copies);
            }
            if copies.is_empty() {
                if now > program.last_seen + ABSENCE_MAX {
                    self.violations.push(format!(
                        "program {which} was gone from {:.1?} to {now:.1?}",
                        program.last_seen
                    ));
                    program.last_seen = now;
                }
            } else {
                program.last_seen = now;
            }
            program.before = copies;
        }
    }

    /// How often a program must have been started in all.
    pub fn starts(&self, which: Which) -> usize {
        1 + self.programs[which].absences + self.programs[which].vain
    }

    /// What must not have been, a line each.
    pub fn violations(&self) -> &[String] {
        &self.violations
    }

    /// How many there were.
    pub fn samples(&self) -> usize {
        self.samples
    }
}
