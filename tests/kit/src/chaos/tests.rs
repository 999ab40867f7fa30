use std::collections::BTreeSet;
use std::time::Duration;

use super::plan::BLOWS;
use super::{Blow, Oracle, Plan, Step};

/// A minute of samples, each with the same copies of the first program.
fn seen(oracle: &mut Oracle<u32>, from: u64, seconds: u64, copies: &[u32]) -> usize {
    for second in from..from + seconds {
        oracle.sample(Duration::from_secs(second), [copies.to_vec(), vec![9]]);
    }
    oracle.violations().len()
}

#[test]
fn a_seed_always_means_the_same() {
    let steps = |seed| {
        let mut plan = Plan::new(seed);
        (0..500).map(|_| plan.next_step()).collect::<Vec<_>>()
    };
    assert_eq!(steps(7), steps(7));
    assert_ne!(steps(7), steps(8));
}

#[test]
fn what_lasts_begins_once_and_ends() {
    let mut plan = Plan::new(1);
    let mut lasts = BTreeSet::new();
    let mut seen = BTreeSet::new();
    for _ in 0..2000 {
        match plan.next_step().1 {
            Step::Begin(trouble) => assert!(lasts.insert(trouble), "{trouble:?} twice"),
            Step::End(trouble) => {
                assert!(lasts.remove(&trouble), "{trouble:?} didn't last");
                seen.insert(trouble);
            }
            Step::Blow(_) => {}
        }
    }
    assert_eq!(lasts, plan.left().collect());
    assert_eq!(seen.len(), 4, "{seen:?}");
}

#[test]
fn every_blow_is_struck() {
    let mut plan = Plan::new(1);
    let steps = std::iter::repeat_with(|| plan.next_step().1);
    let blows: BTreeSet<String> = steps
        .take(20_000)
        .filter_map(|step| match step {
            Step::Blow(Blow::SetClock(_)) => None,
            Step::Blow(blow) => Some(format!("{blow:?}")),
            _ => None,
        })
        .collect();
    assert_eq!(blows.len(), BLOWS.len(), "{blows:?}");
}

#[test]
fn two_copies_at_once_are_seen() {
    let mut oracle = Oracle::new();
    oracle.will_be_absent(0);
    assert_eq!(seen(&mut oracle, 0, 5, &[1]), 0);
    // One dies and the next is born while one sample is taken.
    assert_eq!(seen(&mut oracle, 5, 1, &[1, 2]), 0);
    assert_eq!(seen(&mut oracle, 6, 5, &[2]), 0);
    assert_eq!(seen(&mut oracle, 11, 2, &[2, 3]), 1);
    assert_eq!(oracle.samples(), 13);
}

#[test]
fn who_hands_over_while_a_sample_is_taken_has_not_ended() {
    let mut oracle = Oracle::new();
    assert_eq!(seen(&mut oracle, 0, 5, &[1]), 0);
    assert_eq!(seen(&mut oracle, 5, 1, &[]), 0);
    assert_eq!(seen(&mut oracle, 6, 5, &[1]), 0);
    assert_eq!(seen(&mut oracle, 11, 2, &[]), 1);
}

#[test]
fn a_copy_that_chaos_has_started_is_allowed_and_no_other() {
    let mut oracle = Oracle::new();
    oracle.extra(0, 1);
    assert_eq!(seen(&mut oracle, 0, 5, &[1, 2]), 0);
    assert_eq!(seen(&mut oracle, 5, 2, &[1, 2, 3]), 1);
    let mut oracle = Oracle::new();
    oracle.extra(0, 1);
    assert_eq!(seen(&mut oracle, 0, 5, &[1, 2]), 0);
    // It is gone, but the sample that is judged next may have been taken before.
    oracle.extra(0, 0);
    assert_eq!(seen(&mut oracle, 5, 1, &[1, 2]), 0);
    assert_eq!(seen(&mut oracle, 6, 5, &[1]), 0);
    assert_eq!(seen(&mut oracle, 11, 2, &[1, 3]), 1);
}

#[test]
fn who_ends_and_was_not_to_is_told_once() {
    let mut oracle = Oracle::new();
    assert_eq!(seen(&mut oracle, 0, 5, &[1]), 0);
    oracle.will_be_absent(0);
    assert_eq!(seen(&mut oracle, 5, 5, &[2]), 0);
    oracle.will_be_in_vain(0);
    assert_eq!(seen(&mut oracle, 10, 5, &[3]), 0);
    oracle.extra(0, 1);
    assert_eq!(seen(&mut oracle, 15, 5, &[3, 4]), 0);
    oracle.extra(0, 0);
    assert_eq!(seen(&mut oracle, 20, 5, &[3]), 0);
    assert_eq!(seen(&mut oracle, 25, 5, &[5]), 1, "a healthy one");
}

#[test]
fn who_stays_away_is_missed() {
    let mut oracle = Oracle::new();
    oracle.will_be_absent(0);
    assert_eq!(seen(&mut oracle, 0, 1, &[1]), 0);
    assert_eq!(seen(&mut oracle, 1, 40, &[]), 0);
    assert_eq!(seen(&mut oracle, 41, 10, &[]), 1);
}

#[test]
fn every_absence_is_one_start_more() {
    let mut oracle = Oracle::<u32>::new();
    assert_eq!(oracle.starts(0), 1, "the first one");
    oracle.will_be_absent(0);
    oracle.will_be_absent(0);
    oracle.will_be_in_vain(1);
    assert_eq!((oracle.starts(0), oracle.starts(1)), (3, 2));
}
