//! Decides what is told of one check's findings: a failure once, when it was met often enough in a
//! row, and its end once. It checks nothing.

use super::Outcome;
use crate::text::phrase::{Phrase, phrase};

/// What one check has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Finding {
    /// All is well.
    Well,
    /// It isn't, in words for a person.
    Unwell(Phrase),
    /// It couldn't be found out, and why. That says nothing about the process.
    Unknown(String),
    /// There is nothing to be said yet.
    Nothing,
}

#[cfg(test)]
impl Finding {
    /// What was found, of a process that is unhealthy.
    pub(super) fn words(&self) -> String {
        match self {
            Self::Unwell(words) => words.to_string(),
            other => panic!("{other:?}"),
        }
    }
}

/// The findings of one check so far.
#[derive(Debug)]
pub(super) struct Streak {
    /// Failures in a row that count; at least 1.
    needed: u32,
    failures: u32,
    told: Told,
}

/// What was last told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Passed,
    Failed,
    Unknown,
}

impl Streak {
    /// A check of which nothing is known, which is told of as if it had passed.
    pub(super) fn new(needed: u32) -> Self {
        Self {
            needed,
            failures: 0,
            told: Told::Passed,
        }
    }

    /// Takes the next finding; returns what is to be told.
    pub(super) fn add(&mut self, finding: Finding) -> Option<Outcome> {
        let (now, outcome) = match finding {
            Finding::Nothing => return None,
            Finding::Well => {
                self.failures = 0;
                (Told::Passed, Outcome::Passed)
            }
            Finding::Unwell(why) => {
                self.failures = self.failures.saturating_add(1);
                if self.failures < self.needed {
                    return None;
                }
                let why = match self.needed {
                    1 => why,
                    _ => phrase!(
                        "%{finding}, %{count} times in a row",
                        finding = why,
                        count = self.failures.to_string()
                    ),
                };
                (Told::Failed, Outcome::Failed(why))
            }
            // What was found before still stands.
            Finding::Unknown(_) if self.told == Told::Failed => return None,
            Finding::Unknown(why) => (Told::Unknown, Outcome::Unknown(why)),
        };
        let is_news = now != self.told;
        self.told = now;
        is_news.then_some(outcome)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn unwell() -> Finding {
        Finding::Unwell("bad".into())
    }

    fn in_a_row(count: u32) -> Phrase {
        phrase!(
            "%{finding}, %{count} times in a row",
            finding = Phrase::from("bad"),
            count = count.to_string()
        )
    }

    fn unknown() -> Finding {
        Finding::Unknown("why".into())
    }

    #[test]
    fn a_failure_is_told_once_and_so_is_its_end() {
        let mut streak = Streak::new(3);
        assert_eq!(streak.add(unwell()), None);
        assert_eq!(streak.add(unwell()), None);
        let failed = Outcome::Failed(in_a_row(3));
        assert_eq!(streak.add(unwell()), Some(failed.clone()));
        assert_eq!(streak.add(unwell()), None);
        assert_eq!(streak.add(Finding::Well), Some(Outcome::Passed));
        assert_eq!(streak.add(Finding::Well), None);
        assert_eq!(streak.add(unwell()), None, "counted again");
        assert_eq!(streak.add(unwell()), None);
        assert_eq!(streak.add(unwell()), Some(failed));
    }

    #[test]
    fn one_failure_may_be_enough() {
        let failed = Outcome::Failed("bad".into());
        assert_eq!(Streak::new(1).add(unwell()), Some(failed));
    }

    #[test]
    fn what_could_not_be_found_out_is_no_failure() {
        let mut streak = Streak::new(2);
        assert_eq!(streak.add(unwell()), None);
        assert_eq!(streak.add(unknown()), Some(Outcome::Unknown("why".into())));
        assert_eq!(streak.add(unknown()), None);
        assert_eq!(streak.add(Finding::Nothing), None);
        let failed = Outcome::Failed(in_a_row(2));
        assert_eq!(streak.add(unwell()), Some(failed), "nor did it pass");
        assert_eq!(streak.add(unknown()), None, "and still stands");
        assert_eq!(streak.add(Finding::Well), Some(Outcome::Passed));
        assert_eq!(streak.add(unknown()), Some(Outcome::Unknown("why".into())));
        assert_eq!(streak.add(Finding::Well), Some(Outcome::Passed));
    }

    fn findings() -> impl Strategy<Value = Vec<Finding>> {
        let finding = prop_oneof![
            Just(Finding::Well),
            Just(unwell()),
            Just(unwell()),
            Just(unknown()),
            Just(Finding::Nothing)
        ];
        proptest::collection::vec(finding, 0..200)
    }

    proptest! {
        #[test]
        fn a_failure_is_told_exactly_when_the_streak_is_long_enough(
            needed in 1..6_u32,
            findings in findings()
        ) {
            let mut streak = Streak::new(needed);
            let (mut in_a_row, mut failed) = (0, false);
            for finding in findings {
                match finding {
                    Finding::Well => in_a_row = 0,
                    Finding::Unwell(_) => in_a_row += 1,
                    _ => {}
                }
                let is_well = finding == Finding::Well;
                match streak.add(finding) {
                    Some(Outcome::Failed(_)) => {
                        prop_assert!(!failed && in_a_row >= needed);
                        failed = true;
                    }
                    Some(Outcome::Passed) => {
                        prop_assert!(is_well);
                        failed = false;
                    }
                    Some(Outcome::Unknown(_)) => prop_assert!(!failed),
                    None => {}
                }
                prop_assert_eq!(failed, in_a_row >= needed);
            }
        }
    }
}
