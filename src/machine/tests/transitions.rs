//! From which phase a machine comes to which other one by one event: all that happens in any test is listed
//! in docs/architecture.md, and all that is listed happens.

use std::cell::RefCell;
use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::super::*;
use super::world::{World, chance, policies};
use crate::machine::screen::tests::wait_in_every_way;

/// How many histories it takes for each transition to happen.
const HISTORIES: u32 = 3000;

/// What docs/architecture.md lists.
static LISTED: LazyLock<BTreeSet<(String, String)>> = LazyLock::new(|| {
    let document = include_str!("../../../docs/architecture.md");
    let table = document.split("| from | to |\n|---|---|\n").nth(1).unwrap();
    let rows = table.lines().map_while(|row| {
        let row = row.strip_prefix("| ")?.strip_suffix(" |")?;
        row.split_once(" | ")
    });
    let all = rows.flat_map(|(from, to)| {
        let to = to.split(", ");
        to.map(|to| (from.to_owned(), to.to_owned()))
    });
    all.collect()
});

thread_local! {
    /// What has happened in this test.
    static SEEN: RefCell<BTreeSet<(String, String)>> = const { RefCell::new(BTreeSet::new()) };
}

/// Has a machine take an event in, and asserts that where it comes to is in the list.
pub(in crate::machine) fn observed(
    machine: &mut Machine,
    now: Instant,
    event: Event,
) -> Vec<Action> {
    let before = machine.phase();
    let actions = machine.handle(now, event);
    let after = machine.phase();
    if before != after {
        let transition = (format!("{before:?}"), format!("{after:?}"));
        assert!(LISTED.contains(&transition), "{transition:?} isn't listed");
        SEEN.with_borrow_mut(|seen| seen.insert(transition));
    }
    actions
}

#[test]
fn every_transition_that_is_listed_happens() {
    wait_in_every_way();
    // The same histories each time.
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config::with_cases(HISTORIES), rng);
    let worlds = (
        policies(),
        any::<bool>(),
        prop::collection::vec(chance(), 0..400),
    );
    let run = runner.run(&worlds, |(policy, has_children, history)| {
        let mut world = World::new(policy, has_children);
        for chance in history {
            world.happen(chance);
        }
        Ok(())
    });
    run.unwrap();
    let seen = SEEN.with_borrow(Clone::clone);
    let missing: Vec<_> = LISTED.difference(&seen).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
