//! What the random worlds of [`super::rules`] have found, each as the shortest history that shows it.

use super::*;

fn stop_newest() -> Event {
    reconfigured(Policy {
        duplicates: Duplicates::StopNewest,
        ..policy()
    })
}

fn other_target() -> Event {
    Event::Reconfigured {
        policy: policy(),
        is_other_target: true,
    }
}

fn impostor(impostor: Impostor) -> Event {
    looked(Sighting {
        impostors: vec![impostor],
        ..Sighting::default()
    })
}

#[test]
fn what_was_refused_beside_the_program_is_in_the_way_when_that_has_died() {
    let refused = lookalike(101, Difference::Exe);
    let look = |alive: &[i32]| {
        let alive = alive.iter().map(|pid| running(id(*pid))).collect();
        looked(Sighting {
            alive,
            changed: vec![refused.clone()],
            ..Sighting::default()
        })
    };
    for is_restarted in [false, true] {
        let mut bench = Bench::new();
        bench.alive(&[100, 101]);
        bench.event(other_target());
        let told = [report(Change::Impostor(refused.clone()))];
        assert_eq!(bench.event(look(&[100, 101])), told);
        assert_eq!(bench.machine.alive(), [id(100)]);
        // A confirmation doesn't tell what it runs.
        assert_eq!(bench.machine.look(), Look::Confirm);
        assert_eq!(bench.after(SECOND).alive(&[100, 101]), []);
        assert_eq!(bench.machine.alive(), [id(100)]);
        assert_eq!(bench.machine.known(), [id(100), id(101)]);
        if is_restarted {
            restarted_service(&mut bench);
        } else {
            assert_eq!(bench.after(SECOND).alive(&[101]), [], "it may fit by now");
            assert_eq!(bench.machine.look(), Look::Whole);
        }
        let misfit = [report(Change::Misfit(refused.clone()))];
        assert_eq!(bench.event(look(&[101])), misfit);
        assert_eq!(bench.phase(), Phase::Misfit);
        assert_eq!(bench.after(SECOND).event(look(&[101])), []);
        assert!(bench.after(SECOND).absent().contains(&Action::Start));
    }
}

#[test]
fn a_confirmation_at_the_end_of_a_pause_is_no_look_at_all() {
    let mut bench = Bench::up();
    let until = bench.now + SECOND;
    bench.event(Event::Pause(Pause {
        until,
        reason: None,
    }));
    assert_eq!(bench.machine.look(), Look::Confirm);
    bench.after(SECOND).alive(&[100]);
    assert_eq!(bench.machine.look(), Look::Whole);
    assert_eq!(bench.machine.next_look(), bench.now);
}

#[test]
fn a_lookalike_for_a_moment_takes_no_time_from_a_start() {
    let mut bench = Bench::starting();
    let strict = lookalike(50, Difference::LongCmdline);
    bench.after(SECOND).event(impostor(strict));
    assert_eq!(bench.phase(), Phase::Misfit);
    assert_eq!(bench.after(SECOND).absent(), [], "its program still runs");
    assert_eq!(bench.phase(), Phase::Starting);
    bench.now = bench.epoch + 30 * SECOND;
    assert!(matches!(
        bench.absent()[..],
        [Action::Tell(Change::StartFailed(_))]
    ));
}

#[test]
fn what_was_found_about_the_first_says_nothing_of_the_next() {
    let mut other = running(id(101));
    other.uid = Some(1000);
    let look = |alive: Vec<Alive>| {
        looked(Sighting {
            alive,
            ..Sighting::default()
        })
    };
    let mut bench = Bench::new();
    bench.event(look(vec![running(id(100)), other]));
    let actions = bench.event(failed("tcp", true));
    assert!(actions.contains(&Action::Signal(Stop::Terminate, vec![id(100)])));
    let actions = bench.after(SECOND).event(look(vec![other]));
    let is_signal = |action: &Action| matches!(action, Action::Signal(..));
    assert!(!actions.iter().any(is_signal), "{actions:?}");
    assert_eq!(bench.phase(), Phase::Up);
    assert_eq!(bench.machine.troubles().count(), 0);
}

#[test]
fn who_lives_beside_one_that_is_ended_stays_known() {
    let mut other = running(id(101));
    other.uid = Some(1000);
    let both = || {
        looked(Sighting {
            alive: vec![running(id(100)), other],
            ..Sighting::default()
        })
    };
    let mut bench = Bench::new();
    bench.event(both());
    bench.event(failed("tcp", true));
    bench.after(SECOND).event(both());
    assert_eq!(bench.phase(), Phase::Replacing);
    assert_eq!(bench.machine.known(), [id(100), id(101)]);
    assert_eq!(bench.machine.memory().alive, [id(100), id(101)]);
}

#[test]
fn who_may_have_come_of_our_start_is_no_second_copy_to_end() {
    let mut bench = Bench::starting();
    bench.event(stop_newest());
    bench.alive(&[200, 201]);
    for _ in 0..10 {
        bench.finds(Left {
            processes: Vec::new(),
            can_tell: false,
        });
        let actions = bench.after(10 * SECOND).alive(&[200, 201]);
        let is_signal = |action: &Action| matches!(action, Action::Signal(..));
        assert!(!actions.iter().any(is_signal), "{actions:?}");
    }
}

#[test]
fn of_which_start_copies_come_is_remembered_where_the_next_run_finds_it_up() {
    let mut bench = Bench::starting();
    restarted_service(&mut bench);
    bench.alive(&[200, 201]);
    let origin = bench.machine.asks_what_is_left();
    assert_eq!(origin.and_then(|origin| origin.since), Some(1000));
}

#[test]
fn under_other_rules_nothing_is_ended_before_it_is_looked_at() {
    let mut bench = Bench::up();
    bench.event(other_target());
    let told = [unhealthy(100, "tcp", false)];
    assert_eq!(bench.event(failed("tcp", true)), told);
    bench.event(changed(100, Difference::Exe));
    assert_eq!(bench.phase(), Phase::Misfit);

    let mut bench = Bench::up();
    bench.event(other_target());
    bench.event(failed("tcp", true));
    let terminate = Action::Signal(Stop::Terminate, vec![id(100)]);
    assert!(bench.alive(&[100]).contains(&terminate), "it fits");
}

/// A machine that ends what a start has left, since the 60th second.
fn clearing() -> Bench {
    let mut bench = Bench::starting();
    bench.exits(200, ExitStatus::Code(0));
    for seconds in [30, 40, 60] {
        bench.now = bench.epoch + seconds * SECOND;
        bench.finds(left(&[201], false));
        bench.absent();
    }
    assert_eq!(bench.phase(), Phase::Clearing);
    bench
}

#[test]
fn what_becomes_nearly_the_program_while_it_is_ended_is_ended_no_more() {
    let mut bench = clearing();
    let ours = lookalike(201, Difference::Exe);
    bench.finds(left(&[201], true));
    let actions = bench.after(10 * SECOND).event(impostor(ours.clone()));
    assert_eq!(actions, [report(Change::Misfit(ours))]);
}

#[test]
fn an_end_that_a_pause_has_met_begins_anew() {
    let mut bench = clearing();
    let until = bench.now + SECOND;
    bench.event(Event::Pause(Pause {
        until,
        reason: None,
    }));
    bench.finds(left(&[201], false));
    bench.absent();
    bench.event(Event::Resume);
    let mut signals = Vec::new();
    for _ in 0..200 {
        bench.finds(left(&[201], false));
        let actions = bench.after(SECOND).absent();
        let is_signal = |action: &Action| matches!(action, Action::Signal(..));
        signals.extend(actions.into_iter().filter(is_signal));
    }
    let terminate = Action::Signal(Stop::Terminate, vec![id(201)]);
    assert_eq!(signals.first(), Some(&terminate));
}

#[test]
fn a_long_wait_for_the_background_is_none_for_the_next_run() {
    let mut bench = Bench::starting();
    bench.exits(200, ExitStatus::Code(0));
    bench.machine.late_starts = 5;
    for seconds in [30, 40] {
        bench.now = bench.epoch + seconds * SECOND;
        bench.finds(left(&[201], false));
        bench.absent();
    }
    assert!(bench.machine.background_until() > Some(bench.now + 400 * SECOND));
    restarted_service(&mut bench);
    bench.finds(left(&[201], false));
    bench.absent();
    let until = bench.machine.memory().starting_until;
    assert_eq!(until, Some(bench.now + 30 * SECOND));
}

/// A start that may have gone elsewhere, and of which something may be left long after its time.
fn late_and_maybe_elsewhere() -> Bench {
    let mut bench = Bench::starting();
    bench.event(Event::MayHaveGoneElsewhere);
    bench.exits(200, ExitStatus::Code(1));
    bench.machine.late_starts = 5;
    for seconds in [60, 70] {
        bench.now = bench.epoch + seconds * SECOND;
        bench.finds(Left {
            processes: Vec::new(),
            can_tell: false,
        });
        bench.absent();
    }
    assert!(bench.machine.background_until().is_some());
    bench
}

#[test]
fn what_may_have_gone_elsewhere_is_waited_for_no_longer_than_twice_its_time() {
    let mut bench = late_and_maybe_elsewhere();
    bench.after(SECOND).absent();
    assert_eq!(bench.phase(), Phase::Down, "nothing is left");
}

#[test]
fn nor_does_the_next_run_wait_for_it_any_longer() {
    let mut bench = late_and_maybe_elsewhere();
    restarted_service(&mut bench);
    bench.finds(left(&[], false));
    assert!(bench.absent().contains(&Action::Start));
}
