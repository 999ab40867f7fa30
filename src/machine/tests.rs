//! Every transition of the machine; what must hold whatever happens is in [`rules`].

mod found;
mod rules;
pub(super) mod transitions;
mod world;

use super::*;
use crate::proc::{LeftOver, RunState, Zombie};

const SECOND: Duration = Duration::from_secs(1);

/// A child of ours runs, requested at the time at which every process of the tests was born.
const STARTED: Event = Event::StartProgramRuns {
    since: 1000,
    child: Some(Child {
        pid: 50,
        start_time: 1000,
        uid: 0,
    }),
};

fn policy() -> Policy {
    Policy::default()
}

fn reconfigured(policy: Policy) -> Event {
    Event::Reconfigured {
        policy,
        is_other_target: false,
    }
}

/// A process that is nearly the program.
fn lookalike(pid: i32, difference: Difference) -> Impostor {
    lookalike_of(id(pid), difference)
}

fn lookalike_of(id: ProcessId, difference: Difference) -> Impostor {
    Impostor {
        id,
        uid: Some(0),
        user: "root".into(),
        name: "Program".into(),
        path: "/opt/other".into(),
        difference,
    }
}

/// What is left of a start: shells, or programs.
fn left(pids: &[i32], is_program: bool) -> Left {
    let left_over = |pid: &i32| LeftOver {
        id: id(*pid),
        comm: "slow".into(),
        exe: None,
        is_start_program: false,
        is_script: !is_program,
        uid: Some(0),
    };
    Left {
        processes: pids.iter().map(left_over).collect(),
        can_tell: true,
    }
}

/// A look that has found nothing besides.
fn looked(sighting: Sighting) -> Event {
    Event::Looked(sighting, Besides::default())
}

/// A machine with a clock of its own.
struct Bench {
    machine: Machine,
    epoch: Instant,
    now: Instant,
    /// What the next look finds besides.
    besides: Besides,
}

impl Bench {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            machine: Machine::new(policy(), now, now),
            epoch: now,
            now,
            besides: Besides::default(),
        }
    }

    /// A machine whose process was seen alive as pid 100.
    fn up() -> Self {
        let mut bench = Self::new();
        bench.alive(&[100]);
        bench
    }

    /// A machine whose process died as pid 100 and is being started by pid 200.
    fn starting() -> Self {
        let mut bench = Self::up();
        bench.absent();
        bench.event(STARTED);
        bench
    }

    /// A machine that has brought its process back as often as it does at once: the next restart waits.
    fn after_burst() -> Self {
        let mut bench = Self::up();
        for pid in [201, 202, 203] {
            bench.absent();
            bench.alive(&[pid]);
        }
        bench
    }

    fn after(&mut self, time: Duration) -> &mut Self {
        self.now += time;
        self
    }

    /// Once a start is in flight, nothing is left of it unless a test says so.
    fn event(&mut self, mut event: Event) -> Vec<Action> {
        if let Event::Looked(_, besides) = &mut event {
            let is_starting = self.phase() == Phase::Starting;
            let nobody = is_starting.then(|| left(&[], false));
            *besides = std::mem::take(&mut self.besides);
            besides.left = besides.left.take().or(nobody);
        }
        transitions::observed(&mut self.machine, self.now, event)
    }

    /// What the next look finds to be left of a start.
    fn finds(&mut self, left: Left) {
        self.besides.left = Some(left);
    }

    fn alive(&mut self, pids: &[i32]) -> Vec<Action> {
        let alive = pids.iter().map(|pid| running(id(*pid))).collect();
        self.event(looked(Sighting {
            alive,
            ..Sighting::default()
        }))
    }

    /// It was watched until just now.
    fn absent(&mut self) -> Vec<Action> {
        self.besides.watched = Some(self.now);
        self.event(looked(Sighting::default()))
    }

    fn exits(&mut self, pid: i32, status: ExitStatus) -> Vec<Action> {
        self.event(Event::StartEnded(StartOutcome::Exited {
            pid: Some(pid),
            status,
        }))
    }

    fn phase(&self) -> Phase {
        self.machine.phase()
    }

    /// When the next look is due, counted from the epoch.
    fn next_look(&self) -> Duration {
        self.machine.next_look() - self.epoch
    }
}

fn running(id: ProcessId) -> Alive {
    Alive {
        id,
        parent: 1,
        uid: Some(0),
        state: RunState::Running,
    }
}

/// Copies that nobody but init has as children.
fn sighting(ids: impl IntoIterator<Item = ProcessId>) -> Sighting {
    let alive = ids.into_iter().map(|id| Alive {
        id,
        parent: 1,
        uid: Some(0),
        state: RunState::Running,
    });
    Sighting {
        alive: alive.collect(),
        ..Sighting::default()
    }
}

fn id(pid: i32) -> ProcessId {
    ProcessId {
        pid,
        start_time: 1000,
    }
}

fn report(report: Change) -> Action {
    Action::Tell(report)
}

fn down(pid: i32, cause: Cause) -> Action {
    report(Change::Down {
        pid: Some(pid),
        cause,
        wait: Duration::ZERO,
    })
}

#[test]
fn looks_at_once_and_then_on_the_cycle() {
    let mut bench = Bench::new();
    assert_eq!(bench.next_look(), Duration::ZERO);
    bench.after(Duration::from_millis(3)).alive(&[100]);
    assert_eq!(
        bench.next_look(),
        10 * SECOND,
        "cycles are counted from the epoch"
    );
    bench.after(Duration::from_secs(10)).alive(&[100]);
    assert_eq!(bench.next_look(), 20 * SECOND);
}

#[test]
fn confirms_what_is_up_and_looks_at_all_when_something_may_have_happened() {
    let mut bench = Bench::new();
    assert_eq!(bench.machine.look(), Look::Whole);
    bench.alive(&[100]);
    assert_eq!(bench.machine.look(), Look::Confirm);
    for event in [reconfigured(policy()), Event::LookFailed("why".into())] {
        bench.event(event);
        assert_eq!(bench.machine.look(), Look::Whole);
        bench.after(SECOND).alive(&[100]);
        assert_eq!(bench.machine.look(), Look::Confirm);
    }
    let mut whole = 0;
    for _ in 0..360 {
        whole += u32::from(bench.machine.look() == Look::Whole);
        bench.now = bench.machine.next_look();
        bench.alive(&[100]);
    }
    assert!(
        (60..=90).contains(&whole),
        "within each minute of an hour: {whole}"
    );
    bench.absent();
    assert_eq!(
        bench.machine.look(),
        Look::Whole,
        "while it is being started"
    );
}

#[test]
fn adopts_what_runs_already() {
    let mut bench = Bench::new();
    let pids = vec![100, 101];
    assert_eq!(
        bench.alive(&[100, 101]),
        [report(Change::Adopted { more: 0, pids })]
    );
    assert_eq!(bench.phase(), Phase::Up);
    assert_eq!(bench.machine.alive(), [id(100), id(101)]);
}

#[test]
fn starts_what_is_absent_at_first() {
    let mut bench = Bench::new();
    let absent = Change::Down {
        pid: None,
        cause: Cause::Absent,
        wait: Duration::ZERO,
    };
    let expected = [Action::Start, report(absent), report(Change::Starting)];
    assert_eq!(bench.absent(), expected, "the start comes before the words");
    assert_eq!(bench.phase(), Phase::Starting);
    assert_eq!(bench.alive(&[200]), [report(Change::Up { pid: 200 })]);
    assert_eq!(bench.machine.restarts(), 0, "a first start is no restart");
}

#[test]
fn says_nothing_while_nothing_changes() {
    let mut bench = Bench::up();
    for _ in 0..100 {
        assert_eq!(bench.after(10 * SECOND).alive(&[100]), []);
    }
}

#[test]
fn is_up_while_one_of_several_lives() {
    let mut bench = Bench::new();
    bench.alive(&[100, 101]);
    assert_eq!(bench.alive(&[101]), []);
    assert_eq!(bench.machine.alive(), [id(101)]);
    assert_eq!(bench.alive(&[101, 102]), []);
    assert_eq!(bench.phase(), Phase::Up);
}

#[test]
fn notices_when_another_one_took_its_place() {
    let mut bench = Bench::up();
    let expected = report(Change::Adopted {
        more: 0,
        pids: vec![300],
    });
    assert_eq!(bench.alive(&[300]), [expected]);
    let reused = ProcessId {
        pid: 300,
        start_time: 2000,
    };
    let sighting = Sighting {
        alive: vec![running(reused)],
        ..Sighting::default()
    };
    let expected = report(Change::Adopted {
        more: 0,
        pids: vec![300],
    });
    assert_eq!(
        bench.event(looked(sighting)),
        [expected],
        "same pid, another process"
    );
}

#[test]
fn restarts_what_is_gone_and_measures_the_outage() {
    let mut bench = Bench::up();
    let expected = [
        Action::Start,
        down(100, Cause::Gone),
        report(Change::Starting),
    ];
    assert_eq!(bench.after(SECOND).absent(), expected);
    bench.event(STARTED);
    let back = Change::Restarted {
        pid: 200,
        cause: Cause::Gone,
        outage: 2 * SECOND,
        is_at_most: false,
    };
    assert_eq!(bench.after(2 * SECOND).alive(&[200]), [report(back)]);
    assert_eq!(bench.machine.restarts(), 1);
    assert_eq!(bench.next_look(), 10 * SECOND);
}

#[test]
fn an_outage_counts_from_when_it_was_last_known_to_live() {
    let restarted = |bench: &mut Bench, outage, is_at_most| {
        bench.event(looked(Sighting::default()));
        bench.event(STARTED);
        let back = Change::Restarted {
            pid: 200,
            cause: Cause::Gone,
            outage,
            is_at_most,
        };
        assert_eq!(bench.after(SECOND).alive(&[200]), [report(back)]);
    };
    // Nothing has watched it since the look.
    restarted(Bench::up().after(9 * SECOND), 10 * SECOND, true);
    // It was looked at a moment ago.
    let mut bench = Bench::up();
    bench.besides.watched = Some(bench.now);
    restarted(bench.after(SECOND / 4), SECOND * 5 / 4, false);
    let mut bench = Bench::up();
    bench.after(8 * SECOND);
    bench.besides.watched = Some(bench.now);
    restarted(bench.after(SECOND / 4), SECOND * 5 / 4, false);
    // What has watched it isn't ahead of the look, nor does it fall behind.
    let mut bench = Bench::up();
    bench.after(8 * SECOND).alive(&[100]);
    bench.besides.watched = Some(bench.epoch);
    restarted(bench.after(2 * SECOND), 3 * SECOND, true);
}

#[test]
fn how_it_ended_may_be_learnt_while_it_is_being_started() {
    for (pid, cause) in [(100, Cause::Killed(9)), (99, Cause::Gone)] {
        let mut bench = Bench::starting();
        bench.besides.had_ended = Some((pid, ExitStatus::Signal(9)));
        let back = Change::Restarted {
            pid: 200,
            cause,
            outage: SECOND,
            is_at_most: false,
        };
        assert_eq!(bench.after(SECOND).alive(&[200]), [report(back)]);
        bench.besides.had_ended = Some((200, ExitStatus::Signal(9)));
        assert_eq!(bench.alive(&[200]), [], "it lives");
    }
}

#[test]
fn what_dies_while_the_service_is_away_was_seen_by_the_earlier_run() {
    let mut bench = Bench::up();
    bench.after(3 * SECOND).alive(&[100]);
    let seen_alive = Some(bench.now);
    let memory = Memory {
        seen_alive,
        ..bench.machine.memory()
    };
    assert_eq!(bench.machine.memory().seen_alive, None, "it goes on");
    bench.after(9 * SECOND);
    bench.machine = Machine::new(policy(), bench.now, bench.now).remembering(memory, false);
    bench.event(looked(Sighting::default()));
    bench.event(STARTED);
    let back = Change::Restarted {
        pid: 200,
        cause: Cause::Gone,
        outage: 10 * SECOND,
        is_at_most: true,
    };
    assert_eq!(bench.after(SECOND).alive(&[200]), [report(back)]);
}

#[test]
fn three_restarts_come_at_once_and_those_after_them_wait_ever_longer() {
    let mut bench = Bench::up();
    for pid in [201, 202, 203] {
        assert_eq!(bench.absent()[0], Action::Start);
        bench.alive(&[pid]);
        bench.after(Duration::from_millis(10));
    }
    for (pid, wait) in [(203, 1), (204, 2), (205, 4), (206, 8)] {
        let wait = wait * SECOND;
        let down = report(Change::Down {
            pid: Some(pid),
            cause: Cause::Gone,
            wait,
        });
        assert_eq!(bench.absent(), [down], "said, but not yet started");
        assert_eq!(bench.phase(), Phase::Backoff);
        assert_eq!(bench.machine.next_start(), Some(bench.now + wait));
        let due = bench.now + wait;
        while bench.machine.next_look() < due {
            bench.now = bench.machine.next_look();
            assert_eq!(bench.absent(), []);
        }
        bench.now = bench.machine.next_look();
        assert_eq!(bench.now, due);
        assert_eq!(bench.absent(), [Action::Start, report(Change::Starting)]);
        let actions = bench.alive(&[pid + 1]);
        assert!(matches!(actions[0], Action::Tell(Change::Restarted { .. })));
    }
    assert_eq!(bench.machine.restarts(), 7, "late, but not lost");
}

#[test]
fn a_process_that_has_lived_long_enough_begins_anew() {
    let mut bench = Bench::up();
    for pid in 201..=206 {
        bench.absent();
        bench.now = bench.machine.next_start().unwrap_or(bench.now);
        bench.absent();
        bench.alive(&[pid]);
    }
    let stable = bench.now + policy().stable_after;
    while bench.now < stable {
        assert!(bench.machine.next_look() <= stable);
        bench.now = bench.machine.next_look();
        let mut expected = Vec::new();
        if bench.now == stable {
            let what = Recovery::CrashLoop;
            let pid = Some(206);
            expected.push(report(Change::Recovered { pid, what }));
        }
        assert_eq!(bench.alive(&[206]), expected);
    }
    assert_eq!(bench.absent()[0], Action::Start, "all is forgotten");
}

#[test]
fn what_is_forgotten_is_no_reason_to_wait() {
    let mut bench = Bench::up();
    bench.machine.policy.restart_delay_max = 600 * SECOND;
    bench.machine.policy.restart_delay = 600 * SECOND;
    for _ in 0..4 {
        bench.absent();
        bench.alive(&[100]);
    }
    // Somebody else has started it meanwhile.
    assert_eq!(bench.phase(), Phase::Up);
    bench.after(60 * SECOND).alive(&[100]);
    assert_eq!(bench.absent()[0], Action::Start);
}

#[test]
fn a_crash_loop_is_told_with_the_restart_that_makes_it_one() {
    let mut bench = Bench::up();
    for pid in 201..=210 {
        bench.absent();
        bench.now = bench.machine.next_start().unwrap_or(bench.now);
        bench.absent();
        let actions = bench.alive(&[pid]);
        let within = 3 * SECOND;
        let crash_loop = report(Change::CrashLoop {
            restarts: 5,
            within,
        });
        assert_eq!(actions.contains(&crash_loop), pid == 205, "{actions:?}");
    }
}

#[test]
fn new_rules_shorten_a_wait() {
    let mut bench = Bench::after_burst();
    bench.absent();
    assert_eq!(bench.phase(), Phase::Backoff);
    bench.event(reconfigured(Policy {
        restart_delay: Duration::ZERO,
        ..policy()
    }));
    assert_eq!(bench.absent()[0], Action::Start);
}

/// The machine as the next run of the service has it.
fn restarted_service(bench: &mut Bench) {
    let machine = Machine::new(bench.machine.policy, bench.epoch, bench.now);
    bench.machine = machine.remembering(bench.machine.memory(), false);
}

#[test]
fn what_came_with_a_program_that_was_up_is_no_start_in_flight() {
    let mut bench = Bench::new();
    bench.besides.at = 70;
    bench.absent();
    assert_eq!(bench.machine.memory().up_at, None);
    for at in [80, 90] {
        bench.besides.at = at;
        bench.after(10 * SECOND).alive(&[100]);
    }
    restarted_service(&mut bench);
    assert_eq!(
        bench.machine.not_up_since(),
        Some(81),
        "not each look is kept"
    );
    // The next run has seen it, too.
    bench.besides.at = 95;
    bench.alive(&[100]);
    restarted_service(&mut bench);
    assert_eq!(bench.machine.not_up_since(), Some(96));
    bench.after(10 * SECOND).absent();
    restarted_service(&mut bench);
    assert_eq!(bench.machine.not_up_since(), None, "a start is in flight");
}

#[test]
fn a_start_that_an_earlier_run_has_left_in_flight_is_waited_for() {
    let inheriting = || {
        let mut bench = Bench::new();
        bench.absent();
        restarted_service(&mut bench);
        bench
    };
    let absent = Change::Down {
        pid: None,
        cause: Cause::Absent,
        wait: Duration::ZERO,
    };
    let expected = [report(absent), report(Change::Starting)];
    let mut bench = inheriting();
    assert_eq!(bench.absent(), expected, "nothing is started");
    assert_eq!(bench.phase(), Phase::Starting);
    assert_eq!(bench.after(20 * SECOND).absent(), []);
    assert_eq!(bench.alive(&[200]), [report(Change::Up { pid: 200 })]);
    assert_eq!(bench.absent()[0], Action::Start, "the next time it is not");

    let mut bench = inheriting();
    bench.absent();
    let failure = StartFailure::TimedOut {
        after: policy().start_timeout,
        start_program: Fate::Unknown,
    };
    let expected = [report(Change::StartFailed(failure))];
    assert_eq!(bench.after(30 * SECOND).absent(), expected);
    assert_eq!(bench.after(10 * SECOND).absent()[0], Action::Start);

    let mut bench = inheriting();
    bench.after(31 * SECOND);
    assert_eq!(bench.absent()[0], Action::Start, "its time was over");

    let mut bench = inheriting();
    bench.alive(&[100]);
    assert_eq!(bench.absent()[0], Action::Start, "it had succeeded");
}

#[test]
fn what_was_learnt_outlives_the_service() {
    let mut bench = Bench::after_burst();
    bench.absent();
    let due = bench.machine.next_start();
    restarted_service(&mut bench);
    bench.after(SECOND / 2).absent();
    assert_eq!(bench.machine.next_start(), due, "the wait goes on");
    assert_eq!(bench.machine.restarts(), 3);

    bench.now = due.unwrap();
    bench.absent();
    bench.alive(&[204]);
    bench.after(59 * SECOND);
    restarted_service(&mut bench);
    bench.alive(&[204]);
    assert_eq!(
        bench.machine.next_look(),
        bench.now + SECOND,
        "then it is stable"
    );

    restarted_service(&mut bench);
    bench.absent();
    let wait = bench.machine.next_start().map(|due| due - bench.now);
    assert_eq!(wait, Some(2 * SECOND), "a death that nobody saw counts");
}

#[test]
fn what_was_gone_when_the_service_died_is_brought_back_all_the_same() {
    let mut bench = Bench::after_burst();
    bench.absent();
    assert_eq!(bench.phase(), Phase::Backoff);
    restarted_service(&mut bench);
    let again = Change::Down {
        pid: None,
        cause: Cause::Gone,
        wait: SECOND / 2,
    };
    assert_eq!(bench.after(SECOND / 2).absent(), [report(again)]);
    bench.after(SECOND / 2).absent();
    let back = Change::Restarted {
        pid: 204,
        cause: Cause::Gone,
        outage: 2 * SECOND,
        is_at_most: false,
    };
    assert_eq!(bench.after(SECOND).alive(&[204])[0], report(back));
    assert_eq!(bench.machine.restarts(), 4);
}

#[test]
fn a_start_in_flight_when_the_service_died_ends_the_outage() {
    let mut bench = Bench::starting();
    restarted_service(&mut bench);
    let again = Change::Down {
        pid: None,
        cause: Cause::Gone,
        wait: Duration::ZERO,
    };
    let expected = [report(again), report(Change::Starting)];
    assert_eq!(bench.after(SECOND).absent(), expected);
    let back = Change::Restarted {
        pid: 200,
        cause: Cause::Gone,
        outage: 2 * SECOND,
        is_at_most: false,
    };
    assert_eq!(bench.after(SECOND).alive(&[200]), [report(back)]);
    assert_eq!(bench.machine.restarts(), 1);

    let mut bench = Bench::starting();
    restarted_service(&mut bench);
    let adopted = report(Change::Adopted {
        more: 0,
        pids: vec![200],
    });
    assert_eq!(
        bench.alive(&[200]),
        [adopted],
        "the earlier run may have told of it and not have remembered"
    );
}

#[test]
fn a_death_that_nobody_saw_is_a_restart_too() {
    let mut bench = Bench::up();
    restarted_service(&mut bench);
    let zombies = vec![Zombie {
        id: id(100),
        exit_status: Some(ExitStatus::Signal(11)),
    }];
    let sighting = Sighting {
        zombies,
        ..Sighting::default()
    };
    let actions = bench.event(looked(sighting));
    assert_eq!(actions[1], down(100, Cause::Killed(11)));
    let back = Change::Restarted {
        pid: 200,
        cause: Cause::Killed(11),
        outage: SECOND,
        is_at_most: false,
    };
    assert_eq!(bench.after(SECOND).alive(&[200]), [report(back)]);

    let mut bench = Bench::up();
    bench.event(failed("tcp", true));
    restarted_service(&mut bench);
    let actions = bench.after(SECOND).absent();
    assert_eq!(actions[1], down(100, Cause::Unhealthy));
}

#[test]
fn a_wait_that_a_pause_has_met_outlives_the_service() {
    let mut bench = Bench::after_burst();
    let until = bench.now + SECOND;
    bench.event(Event::Pause(Pause {
        until,
        reason: None,
    }));
    bench.absent();
    assert_eq!(bench.phase(), Phase::Down);
    restarted_service(&mut bench);
    bench.event(Event::Resume);
    bench.after(SECOND / 2).absent();
    assert_eq!(bench.phase(), Phase::Backoff);
    assert_eq!(bench.machine.next_start(), Some(until));
}

#[test]
fn new_rules_count_for_a_start_and_an_end_that_are_awaited() {
    let mut bench = Bench::starting();
    bench.after(SECOND).event(reconfigured(Policy {
        start_timeout: 40 * SECOND,
        ..policy()
    }));
    assert_eq!(bench.after(38 * SECOND).absent(), [], "longer");
    bench.event(reconfigured(policy()));
    let actions = bench.absent();
    let is_failed = matches!(actions[..], [Action::Tell(Change::StartFailed(_))]);
    assert!(is_failed, "shorter: {actions:?}");

    let mut bench = Bench::up();
    bench.event(failed("tcp", true));
    assert_eq!(bench.after(5 * SECOND).alive(&[100]), []);
    bench.event(reconfigured(Policy {
        stop_timeout: SECOND,
        ..policy()
    }));
    let kill = Action::Signal(Stop::Kill, vec![id(100)]);
    assert_eq!(bench.alive(&[100]), [kill], "it has had that long");
}

#[test]
fn what_was_unwell_and_left_alone_is_restarted_once_it_is_watched_over_again() {
    let terminate = Action::Signal(Stop::Terminate, vec![id(100)]);
    let mut bench = Bench::up();
    let until = bench.now + 60 * SECOND;
    bench.event(Event::Pause(Pause {
        until,
        reason: None,
    }));
    let told = [unhealthy(100, "tcp", false)];
    assert_eq!(bench.event(failed("tcp", true)), told);
    assert_eq!(bench.after(10 * SECOND).alive(&[100]), []);
    bench.event(Event::Resume);
    let expected = [unhealthy(100, "tcp", true), terminate.clone()];
    assert_eq!(bench.alive(&[100]), expected);

    let mut bench = Bench::up();
    bench.event(reconfigured(Policy {
        dry_run: true,
        ..policy()
    }));
    bench.event(failed("tcp", true));
    bench.event(failed("memory", false));
    assert_eq!(bench.alive(&[100]), []);
    bench.event(reconfigured(policy()));
    let expected = [unhealthy(100, "tcp", true), terminate];
    assert_eq!(bench.alive(&[100]), expected);
}

#[test]
fn in_a_dry_run_all_is_said_and_nothing_done() {
    let mut bench = Bench::up();
    bench.event(reconfigured(Policy {
        dry_run: true,
        ..policy()
    }));
    let would = |intention| report(Change::DryRun(intention));
    let expected = [down(100, Cause::Gone), would(Intention::Start)];
    assert_eq!(bench.absent(), expected);
    assert!(bench.machine.is_dry_run());
    for _ in 0..10 {
        assert_eq!(bench.after(10 * SECOND).absent(), [], "said once");
    }
    let adopted = report(Change::Adopted {
        more: 0,
        pids: vec![300],
    });
    assert_eq!(bench.alive(&[300]), [adopted]);
    let actions = bench.event(failed("tcp", true));
    assert_eq!(actions[1..], [would(Intention::Restart)]);
    assert_eq!(bench.phase(), Phase::Up);
    bench.absent();
    bench.event(reconfigured(policy()));
    assert_eq!(bench.absent()[0], Action::Start, "no longer dry");
}

fn failed(check: &str, is_reason_to_restart: bool) -> Event {
    Event::CheckFailed {
        check: check.to_owned(),
        finding: "why".into(),
        is_reason_to_restart,
    }
}

fn unhealthy(pid: i32, check: &str, will_restart: bool) -> Action {
    report(Change::Unhealthy {
        pid: Some(pid),
        check: check.to_owned(),
        finding: Finding::Check("why".into()),
        will_restart,
    })
}

fn recovered(pid: i32, check: &str) -> Action {
    report(Change::Recovered {
        pid: Some(pid),
        what: Recovery::Check(check.to_owned()),
    })
}

#[test]
fn a_check_that_only_alerts_leaves_the_process_alone() {
    let mut bench = Bench::up();
    assert_eq!(
        bench.event(failed("tcp", false)),
        [unhealthy(100, "tcp", false)]
    );
    assert_eq!(bench.phase(), Phase::Up);
    assert_eq!(
        bench.machine.troubles().collect::<Vec<_>>(),
        [("tcp", &Finding::Check("why".into()))]
    );
    assert_eq!(bench.after(10 * SECOND).alive(&[100]), []);
    let check = || Event::CheckPassed {
        check: "tcp".into(),
    };
    assert_eq!(bench.event(check()), [recovered(100, "tcp")]);
    assert_eq!(bench.event(check()), []);
}

#[test]
fn an_unhealthy_process_is_asked_to_end_then_killed_and_started_once_it_is_gone() {
    let mut bench = Bench::up();
    let signal = |stop| Action::Signal(stop, vec![id(100)]);
    let expected = [unhealthy(100, "tcp", true), signal(Stop::Terminate)];
    assert_eq!(bench.event(failed("tcp", true)), expected);
    assert_eq!(bench.phase(), Phase::Replacing);
    assert_eq!(bench.machine.checks_begin(), None, "no more checks");
    assert_eq!(bench.event(failed("memory", true)), [], "one is enough");
    assert_eq!(bench.after(9 * SECOND).alive(&[100]), []);
    assert_eq!(bench.after(SECOND).alive(&[100]), [signal(Stop::Kill)]);
    assert_eq!(
        bench.after(SECOND).alive(&[100]),
        [],
        "not yet gone: no start"
    );
    let killed = report(Change::Killed {
        pids: vec![100],
        signal: Some(Stop::Kill),
        cause: Cause::Unhealthy,
    });
    let expected = [
        Action::Start,
        killed,
        down(100, Cause::Unhealthy),
        report(Change::Starting),
    ];
    assert_eq!(bench.after(SECOND).absent(), expected);
    let back = report(Change::Restarted {
        pid: 200,
        cause: Cause::Unhealthy,
        outage: 13 * SECOND,
        is_at_most: false,
    });
    let expected = [back, recovered(200, "tcp")];
    assert_eq!(bench.after(SECOND).alive(&[200]), expected);
}

#[test]
fn what_cannot_be_killed_is_told_and_not_doubled() {
    let mut bench = Bench::up();
    bench.event(failed("tcp", true));
    let kill = Action::Signal(Stop::Kill, vec![id(100)]);
    let kill = [kill];
    assert_eq!(bench.after(10 * SECOND).alive(&[100]), kill);
    bench.event(Event::NotSignalled("not permitted".into()));
    let stuck = report(Change::Stuck {
        pids: vec![100],
        why: Some("not permitted".into()),
    });
    assert_eq!(bench.after(10 * SECOND).alive(&[100]), [stuck]);
    assert!(bench.machine.is_stuck());
    for _ in 0..100 {
        assert_eq!(bench.after(5 * SECOND).alive(&[100]), []);
        let again = bench.after(5 * SECOND).alive(&[100]);
        assert_eq!(again, kill, "it may help by now");
        assert!(
            bench.machine.next_look() <= bench.now + 10 * SECOND,
            "looked at again"
        );
    }
    let actions = bench.after(10 * SECOND).absent();
    assert_eq!(actions[0], Action::Start);
    assert!(!bench.machine.is_stuck());
}

#[test]
fn a_unit_is_stopped_by_systemd_and_what_is_not_in_it_by_signals() {
    let mut bench = Bench::up();
    bench.machine.policy.is_unit = true;
    assert_eq!(bench.event(failed("tcp", true))[1], Action::StopUnit);
    assert_eq!(bench.after(SECOND).alive(&[100]), []);
    assert_eq!(bench.event(Event::UnitStopEnded), []);
    let terminate = Action::Signal(Stop::Terminate, vec![id(100)]);
    assert_eq!(
        bench.alive(&[100]),
        [terminate],
        "it was none of the unit's"
    );
    let killed = report(Change::Killed {
        pids: vec![100],
        signal: Some(Stop::Terminate),
        cause: Cause::Unhealthy,
    });
    assert_eq!(bench.after(SECOND).absent()[1], killed);
}

fn stop_asked(bench: &Bench) -> Event {
    Event::StopAsked(Pause {
        until: bench.now + 3600 * SECOND,
        reason: None,
    })
}

fn paused_for_an_hour() -> Action {
    report(Change::Paused {
        time: 3600 * SECOND,
        reason: None,
    })
}

fn stopped(pid: i32, signal: Stop) -> Action {
    report(Change::Killed {
        pids: vec![pid],
        signal: Some(signal),
        cause: Cause::Stopped,
    })
}

#[test]
fn what_is_stopped_is_ended_in_a_pause_and_started_when_somebody_wants_that() {
    let mut bench = Bench::up();
    let asked = stop_asked(&bench);
    assert_eq!(bench.event(asked), [paused_for_an_hour()]);
    assert!(bench.machine.is_being_stopped());
    assert_eq!(bench.machine.next_look(), bench.now, "looked at first");
    let signal = |stop| Action::Signal(stop, vec![id(100)]);
    assert_eq!(bench.alive(&[100]), [signal(Stop::Terminate)]);
    assert_eq!(bench.after(10 * SECOND).alive(&[100]), [signal(Stop::Kill)]);
    let expected = [stopped(100, Stop::Kill), down(100, Cause::Stopped)];
    assert_eq!(bench.after(SECOND).absent(), expected, "no start");
    assert!(!bench.machine.is_being_stopped());
    assert_eq!(bench.after(SECOND).absent(), []);
    assert_eq!(
        bench.after(SECOND).alive(&[300]).len(),
        1,
        "another's is told"
    );
    assert_eq!(bench.after(SECOND).alive(&[300]), [], "and left alone");
    bench.after(SECOND).absent();
    let resumed = report(Change::Resumed { is_over: false });
    assert_eq!(bench.event(Event::StartAsked), [resumed]);
    assert_eq!(bench.absent()[0], Action::Start);
}

#[test]
fn what_is_being_started_when_somebody_wants_it_stopped_is_ended_once_it_is_there() {
    let mut bench = Bench::starting();
    let asked = stop_asked(&bench);
    assert_eq!(bench.event(asked), [paused_for_an_hour()]);
    assert_eq!(bench.after(SECOND).absent(), []);
    assert!(bench.machine.is_being_stopped(), "it may still come");
    let actions = bench.after(SECOND).alive(&[200]);
    let terminate = Action::Signal(Stop::Terminate, vec![id(200)]);
    assert_eq!(actions.last(), Some(&terminate), "{actions:?}");
    let expected = [stopped(200, Stop::Terminate), down(200, Cause::Stopped)];
    assert_eq!(bench.after(SECOND).absent(), expected);
    assert!(!bench.machine.is_being_stopped());
}

#[test]
fn a_pause_that_follows_a_stop_leaves_the_program_alone() {
    let mut bench = Bench::up();
    let asked = stop_asked(&bench);
    bench.event(asked);
    bench.alive(&[100]);
    bench.event(Event::Pause(Pause {
        until: bench.now + 60 * SECOND,
        reason: None,
    }));
    assert_eq!(bench.after(20 * SECOND).alive(&[100]), [], "no SIGKILL");
    assert_eq!(bench.phase(), Phase::Up);
}

#[test]
fn what_a_dry_run_has_left_alone_is_not_stopped_after_it() {
    let mut bench = Bench::up();
    let policy = bench.machine.policy;
    let reload = |dry_run| reconfigured(Policy { dry_run, ..policy });
    let asked = stop_asked(&bench);
    bench.event(asked);
    bench.alive(&[100]);
    bench.event(reload(true));
    assert_eq!(bench.after(SECOND).alive(&[100]), []);
    bench.after(600 * SECOND).event(reload(false));
    assert_eq!(bench.alive(&[100]), [], "the pause is still in force");
    assert_eq!(bench.phase(), Phase::Up);
}

#[test]
fn in_a_dry_run_nothing_is_stopped() {
    let mut bench = Bench::up();
    bench.machine.policy.dry_run = true;
    let asked = stop_asked(&bench);
    let told = report(Change::DryRun(Intention::Stop));
    assert_eq!(bench.event(asked), [told]);
    assert_eq!(bench.after(SECOND).alive(&[100]), []);
    assert_eq!(bench.machine.pause(), None);
}

#[test]
fn a_child_that_is_born_while_its_parent_is_ended_is_ended_too() {
    let mut bench = Bench::up();
    bench.event(failed("tcp", true));
    let mut family = sighting([id(100), id(101)]);
    family.alive[1].parent = 100;
    assert_eq!(bench.after(SECOND).event(looked(family)), []);
    assert_eq!(bench.after(SECOND).alive(&[101]), [], "an orphan now");
    assert_eq!(bench.phase(), Phase::Replacing);
    let kill = Action::Signal(Stop::Kill, vec![id(101)]);
    assert_eq!(bench.after(8 * SECOND).alive(&[101]), [kill]);
    assert_eq!(bench.after(SECOND).absent()[0], Action::Start);
}

#[test]
fn another_copy_that_comes_while_one_is_ended_is_left_alone() {
    let mut bench = Bench::up();
    bench.event(failed("tcp", true));
    let kill = Action::Signal(Stop::Kill, vec![id(100)]);
    assert_eq!(bench.after(10 * SECOND).alive(&[100, 300]), [kill]);
    let actions = bench.after(SECOND).alive(&[300]);
    let adopted = report(Change::Adopted {
        more: 0,
        pids: vec![300],
    });
    assert!(actions.contains(&adopted), "{actions:?}");
    assert!(actions.contains(&recovered(300, "tcp")));
    assert_eq!(bench.phase(), Phase::Up);
}

#[test]
fn a_process_that_stays_stopped_is_hung() {
    let stopped = |pid| {
        let mut sighting = sighting([id(pid)]);
        sighting.alive[0].state = RunState::Stopped;
        looked(sighting)
    };
    let mut bench = Bench::up();
    bench.after(5 * SECOND);
    assert_eq!(bench.event(stopped(100)), []);
    assert_eq!(bench.after(SECOND).alive(&[100]), [], "it goes on");
    assert_eq!(bench.after(SECOND).event(stopped(100)), []);
    assert_eq!(bench.after(29 * SECOND).event(stopped(100)), []);
    assert_eq!(bench.machine.next_look(), bench.now + SECOND);
    let actions = bench.after(SECOND).event(stopped(100));
    let is_unhealthy = |action: &Action| matches!(action, Action::Tell(Change::Unhealthy { check, .. }) if check == STOPPED);
    assert!(is_unhealthy(&actions[0]), "{actions:?}");
    assert_eq!(actions[1], Action::Signal(Stop::Terminate, vec![id(100)]));
}

#[test]
fn a_second_copy_is_told_and_ended_only_if_that_is_wanted() {
    let duplicate = report(Change::Duplicate {
        pid: 101,
        first: 100,
    });
    let mut bench = Bench::up();
    assert_eq!(bench.alive(&[100, 101]), []);
    assert_eq!(bench.after(10 * SECOND).alive(&[100, 101]), [duplicate]);
    assert_eq!(bench.machine.duplicates().collect::<Vec<_>>(), [101]);
    assert_eq!(bench.after(10 * SECOND).alive(&[100, 101]), []);

    bench.event(reconfigured(Policy {
        duplicates: Duplicates::StopNewest,
        ..policy()
    }));
    let signal = |stop| Action::Signal(stop, vec![id(101)]);
    assert_eq!(bench.alive(&[100, 101]), [signal(Stop::Terminate)]);
    assert_eq!(
        bench.after(10 * SECOND).alive(&[100, 101]),
        [signal(Stop::Kill)]
    );
    let killed = report(Change::Killed {
        pids: vec![101],
        signal: Some(Stop::Kill),
        cause: Cause::Duplicate,
    });
    assert_eq!(bench.after(SECOND).alive(&[100]), [killed]);
    assert_eq!(bench.phase(), Phase::Up);
}

#[test]
fn a_second_copy_is_told_within_a_minute_however_long_the_interval_is() {
    for seconds in [10, 30, 40, 44, 50, 600, 3600] {
        let mut bench = Bench::new();
        bench.event(reconfigured(Policy {
            interval: Duration::from_secs(seconds),
            ..policy()
        }));
        bench.alive(&[100]);
        // One takes the name late: a look at all processes is the first to meet it.
        let begin = bench.now;
        let mut is_met = false;
        let told = std::iter::repeat_with(|| {
            bench.now = bench.now.max(bench.machine.next_look());
            is_met |= bench.machine.look() == Look::Whole;
            bench.alive(if is_met { &[100, 101] } else { &[100] })
        });
        let is_told = told.take(100).any(|actions| {
            let mut actions = actions.iter();
            actions.any(|action| matches!(action, Action::Tell(Change::Duplicate { .. })))
        });
        let after = bench.now - begin;
        assert!(
            is_told && after <= 60 * SECOND,
            "interval {seconds} s: {after:?}"
        );
    }
}

#[test]
fn a_second_copy_that_is_left_alone_is_the_program() {
    let mut bench = Bench::up();
    bench.event(reconfigured(Policy {
        duplicates: Duplicates::StopNewest,
        ..policy()
    }));
    bench.alive(&[100, 101]);
    bench.after(10 * SECOND).alive(&[100, 101]);
    for _ in 0..10 {
        assert_eq!(
            bench.after(10 * SECOND).alive(&[101]),
            [],
            "it is not killed"
        );
    }
}

#[test]
fn what_was_started_and_is_nearly_the_program_is_a_misfit() {
    for difference in [
        Difference::Case,
        Difference::Namespace,
        Difference::Exe,
        Difference::Cmdline,
        Difference::User,
    ] {
        let ours = lookalike(200, difference);
        let look = |known: bool| {
            let mut sighting = Sighting::default();
            match difference {
                _ if known => {
                    sighting.alive = vec![running(id(200))];
                    sighting.changed = vec![ours.clone()];
                }
                Difference::Case | Difference::Namespace => sighting.near = vec![ours.clone()],
                _ => sighting.impostors = vec![ours.clone()],
            }
            looked(sighting)
        };
        let mut bench = Bench::starting();
        bench.after(SECOND).event(look(false));
        assert_eq!(bench.phase(), Phase::Starting, "it may still become it");
        bench.finds(left(&[200], true));
        let actions = bench.after(30 * SECOND).event(look(false));
        assert_eq!(actions, [report(Change::Misfit(ours.clone()))]);
        assert_eq!(bench.phase(), Phase::Misfit);
        assert_eq!(bench.machine.misfit(), Some(&ours));
        assert_eq!(bench.machine.known(), [id(200)], "it is watched");
        for _ in 0..100 {
            assert_eq!(bench.after(10 * SECOND).event(look(true)), []);
        }
        restarted_service(&mut bench);
        let actions = bench.event(look(true));
        assert_eq!(actions, [report(Change::Misfit(ours.clone()))], "still");
        let actions = bench.after(SECOND).absent();
        assert!(actions.contains(&Action::Start), "{actions:?}");
    }
}

#[test]
fn somebody_elses_lookalike_stands_in_nobodys_way() {
    let stranger = Impostor {
        uid: Some(1000),
        ..lookalike(50, Difference::Exe)
    };
    let only = || {
        looked(Sighting {
            impostors: vec![stranger.clone()],
            ..Sighting::default()
        })
    };
    let mut bench = Bench::up();
    let actions = bench.event(only());
    assert_eq!(actions[0], Action::Start);
    assert!(actions.contains(&report(Change::Impostor(stranger.clone()))));
    bench.event(STARTED);
    bench.exits(200, ExitStatus::Code(0));
    bench.after(30 * SECOND).event(only());
    assert_eq!(bench.phase(), Phase::Down, "timed out");
    assert_eq!(bench.after(10 * SECOND).event(only()), [Action::Start]);
}

#[test]
fn what_a_failed_start_has_set_free_is_a_misfit() {
    let ours = lookalike(200, Difference::Exe);
    let look = || {
        looked(Sighting {
            impostors: vec![ours.clone()],
            ..Sighting::default()
        })
    };
    let mut bench = Bench::starting();
    bench.finds(left(&[], true));
    bench.exits(150, ExitStatus::Code(1));
    bench.finds(left(&[], true));
    let actions = bench.after(SECOND).event(look());
    assert_eq!(actions, [report(Change::Misfit(ours.clone()))]);
    assert_eq!(bench.phase(), Phase::Misfit);
}

#[test]
fn what_only_a_stricter_rule_refuses_is_never_absent() {
    for difference in [
        Difference::RealUser,
        Difference::File,
        Difference::LongCmdline,
    ] {
        let refused = Impostor {
            uid: Some(1000),
            ..lookalike(50, difference)
        };
        let look = |alive: &[i32], is_known: bool| {
            let mut sighting = sighting(alive.iter().map(|pid| id(*pid)));
            if is_known {
                sighting.alive.push(running(id(50)));
                sighting.changed.push(refused.clone());
            } else {
                sighting.impostors.push(refused.clone());
            }
            looked(sighting)
        };
        let misfit = [report(Change::Misfit(refused.clone()))];
        let mut bench = Bench::new();
        assert_eq!(bench.event(look(&[], false)), misfit);
        assert_eq!(bench.after(SECOND).event(look(&[], true)), []);
        assert_eq!(bench.phase(), Phase::Misfit);
        let actions = bench.after(SECOND).absent();
        assert!(actions.contains(&Action::Start), "{actions:?}");

        // One that an earlier version has taken for the program.
        let mut bench = Bench::new();
        bench.alive(&[50]);
        restarted_service(&mut bench);
        assert_eq!(bench.event(look(&[], true)), misfit);

        // Beside the program it is one of those that aren't it, until it is alone.
        let mut bench = Bench::up();
        let told = report(Change::Impostor(refused.clone()));
        assert_eq!(bench.after(SECOND).event(look(&[100], false)), [told]);
        assert_eq!(bench.after(SECOND).event(look(&[], false)), misfit);
        assert_eq!(bench.phase(), Phase::Misfit);

        let mut bench = Bench::up();
        bench.event(failed("tcp", true));
        assert_eq!(bench.phase(), Phase::Replacing);
        let actions = bench.after(SECOND).event(look(&[], false));
        assert!(actions.contains(&misfit[0]), "{actions:?}");
        assert!(!actions.contains(&Action::Start), "{actions:?}");
    }
}

fn identified(pid: i32, uid: u32, path: &str, is_foreign: bool) -> Event {
    Event::Identified {
        who: Identity {
            pid,
            uid: Some(uid),
            real_uid: Some(uid),
            user: format!("user{uid}"),
            path: path.into(),
            owner: Some(uid),
        },
        is_foreign,
    }
}

#[test]
fn somebody_elses_process_that_passes_for_the_program_is_told() {
    let is_told = |actions: &[Action]| {
        let told = actions.iter().filter_map(|action| match action {
            Action::Tell(Change::Unhealthy {
                check,
                finding: Finding::Stranger { who, before },
                will_restart: false,
                ..
            }) if check == STRANGER => {
                let before = before.as_ref();
                let before = before.map(|before| format!("{} {}", before.user, before.path));
                Some((format!("{} {} {}", who.pid, who.user, who.path), before))
            }
            _ => None,
        });
        told.collect::<Vec<_>>()
    };
    let mut bench = Bench::up();
    assert_eq!(bench.event(identified(100, 0, "/opt/x", false)), []);
    // One of somebody else's is there beside it, and is left.
    bench.alive(&[100, 200]);
    bench.alive(&[200]);
    let told = is_told(&bench.event(identified(200, 1000, "/home/x", false)));
    let (who, before) = ("200 user1000 /home/x", "user0 /opt/x");
    assert_eq!(told, [(who.to_owned(), Some(before.to_owned()))]);
    assert_eq!(bench.phase(), Phase::Up, "it isn't ended");
    bench.event(Event::ChecksBegin);
    assert_eq!(bench.machine.troubles().count(), 1, "no check clears it");
    // What an earlier run has known counts.
    restarted_service(&mut bench);
    bench.alive(&[200]);
    assert!(!is_told(&bench.event(identified(200, 1000, "/home/x", false))).is_empty());
    // When it has ended, we start the program, whatever that is now.
    bench.absent();
    bench.event(STARTED);
    bench.alive(&[300]);
    assert_eq!(
        is_told(&bench.event(identified(300, 7, "/opt/new", true))),
        []
    );
    assert_eq!(bench.machine.troubles().count(), 0);
    // Of a program that was never known only what it has in common with its start can be judged.
    let mut bench = Bench::up();
    let told = is_told(&bench.event(identified(100, 1000, "/home/x", true)));
    assert!(matches!(told[..], [(_, None)]), "{told:?}");
}

#[test]
fn few_are_watched_however_many_live_and_the_first_always_is() {
    let mut bench = Bench::new();
    bench.alive(&[300]);
    let pids: Vec<i32> = (100..164).chain([300]).collect();
    bench.alive(&pids);
    let watched = bench.machine.watched();
    assert_eq!(watched.len(), 9);
    assert_eq!(watched[0], id(300));
}

#[test]
fn a_program_takes_over_from_a_misfit() {
    let mut bench = Bench::starting();
    let near = vec![lookalike(200, Difference::Case)];
    let sighting = Sighting {
        near,
        ..Sighting::default()
    };
    bench.after(30 * SECOND).event(looked(sighting));
    assert_eq!(bench.phase(), Phase::Misfit);
    let both = Sighting {
        alive: vec![running(id(200)), running(id(300))],
        changed: vec![lookalike(200, Difference::Case)],
        ..Sighting::default()
    };
    let adopted = report(Change::Adopted {
        more: 0,
        pids: vec![300],
    });
    assert_eq!(bench.after(SECOND).event(looked(both)), [adopted]);
    assert_eq!(bench.machine.alive(), [id(300)]);
}

fn changed(pid: i32, difference: Difference) -> Event {
    looked(Sighting {
        alive: vec![running(id(pid))],
        changed: vec![lookalike(pid, difference)],
        ..Sighting::default()
    })
}

#[test]
fn a_known_process_stays_the_program_whatever_it_is_called() {
    for difference in [Difference::Name, Difference::Exe, Difference::Cmdline] {
        let mut bench = Bench::up();
        let renamed = report(Change::Renamed(lookalike(100, difference)));
        assert_eq!(
            bench.after(SECOND).event(changed(100, difference)),
            [renamed]
        );
        assert_eq!(bench.phase(), Phase::Up);
        assert_eq!(bench.after(SECOND).event(changed(100, difference)), []);
        restarted_service(&mut bench);
        let adopted = report(Change::Adopted {
            more: 0,
            pids: vec![100],
        });
        assert_eq!(
            bench.event(changed(100, difference)),
            [adopted],
            "not again"
        );
        assert_eq!(bench.absent()[0], Action::Start, "now it is gone");
    }
}

#[test]
fn what_only_a_stricter_rule_refuses_is_a_misfit() {
    let misfit = report(Change::Misfit(lookalike(100, Difference::Exe)));
    let mut bench = Bench::up();
    bench.event(Event::Reconfigured {
        policy: policy(),
        is_other_target: true,
    });
    let told = bench.event(changed(100, Difference::Exe));
    assert_eq!(told, std::slice::from_ref(&misfit));
    assert_eq!(bench.phase(), Phase::Misfit);
    bench.event(failed("tcp", true));
    assert_eq!(bench.phase(), Phase::Misfit, "it is never ended");

    let mut bench = Bench::up();
    let memory = bench.machine.memory();
    bench.machine = Machine::new(policy(), bench.epoch, bench.now).remembering(memory, true);
    assert_eq!(bench.event(changed(100, Difference::Exe)), [misfit]);
}

#[test]
fn what_a_start_has_left_is_waited_for_then_ended_and_only_then_started_anew() {
    let mut bench = Bench::starting();
    bench.exits(200, ExitStatus::Code(1));
    let absent = |bench: &mut Bench, seconds: u32, pids: &[i32]| {
        bench.now = bench.epoch + seconds * SECOND;
        bench.finds(left(pids, false));
        bench.absent()
    };
    assert_eq!(absent(&mut bench, 29, &[201]), [], "its status lies");
    let timed_out = absent(&mut bench, 30, &[201]);
    assert!(matches!(
        timed_out[..],
        [Action::Tell(Change::StartFailed(_))]
    ));
    assert_eq!(absent(&mut bench, 40, &[201]), [], "no second start");
    assert!(bench.machine.background_until().is_some());
    assert_eq!(absent(&mut bench, 59, &[201, 202]), []);
    let terminate = Action::Signal(Stop::Terminate, vec![id(201), id(202)]);
    assert_eq!(absent(&mut bench, 60, &[201, 202]), [terminate]);
    assert_eq!(bench.phase(), Phase::Clearing);
    let kill = Action::Signal(Stop::Kill, vec![id(202)]);
    assert_eq!(absent(&mut bench, 70, &[202]), [kill]);
    let actions = absent(&mut bench, 71, &[]);
    assert!(matches!(actions[0], Action::Tell(Change::Killed { .. })));
    assert_eq!(actions[1], Action::Start);

    bench.event(STARTED);
    bench.exits(200, ExitStatus::Code(0));
    absent(&mut bench, 101, &[203]);
    assert_eq!(absent(&mut bench, 111, &[203]), []);
    let until = bench.machine.background_until().unwrap() - bench.epoch;
    assert_eq!(until, (71 + 120) * SECOND, "four times");
}

#[test]
fn what_is_left_may_become_the_program_at_any_time() {
    let mut bench = Bench::starting();
    bench.exits(200, ExitStatus::Code(0));
    for seconds in [30, 40, 50] {
        bench.now = bench.epoch + seconds * SECOND;
        bench.finds(left(&[201], false));
        bench.absent();
    }
    let actions = bench.after(SECOND).alive(&[201]);
    assert!(matches!(
        actions[..],
        [Action::Tell(Change::Restarted { .. })]
    ));
    assert_eq!(bench.absent()[0], Action::Start, "nothing delays the next");
}

#[test]
fn what_outlives_its_wait_as_a_program_of_its_own_is_a_misfit() {
    let mut bench = Bench::starting();
    bench.exits(200, ExitStatus::Code(0));
    for seconds in [30, 40, 60] {
        bench.now = bench.epoch + seconds * SECOND;
        bench.finds(left(&[201], true));
        bench.absent();
    }
    assert_eq!(bench.phase(), Phase::Misfit);
}

/// A script in the background runs one program after the other, or its own process becomes another.
#[test]
fn what_has_changed_while_it_was_waited_for_is_no_misfit() {
    for becomes_another in [false, true] {
        let mut bench = Bench::starting();
        bench.exits(200, ExitStatus::Code(0));
        let mut actions = Vec::new();
        for seconds in [30, 40, 50, 60] {
            bench.now = bench.epoch + seconds * SECOND;
            let pid = i32::try_from(200 + seconds).unwrap();
            let mut found = left(&[if becomes_another { 201 } else { pid }], true);
            found.processes[0].exe = becomes_another.then(|| format!("/bin/{seconds}").into());
            bench.finds(found);
            actions = bench.absent();
        }
        let [Action::Signal(Stop::Terminate, _)] = actions[..] else {
            panic!("{actions:?}");
        };
        assert_eq!(bench.phase(), Phase::Clearing);
    }
}

#[test]
fn nothing_left_is_nothing_to_wait_for() {
    let mut bench = Bench::starting();
    restarted_service(&mut bench);
    bench.finds(left(&[], false));
    assert!(bench.after(SECOND).absent().contains(&Action::Start));

    let mut bench = Bench::new();
    bench.finds(left(&[150], false));
    let actions = bench.absent();
    assert!(
        !actions.contains(&Action::Start),
        "a start nobody remembers"
    );
    assert_eq!(bench.phase(), Phase::Starting);
}

#[test]
fn a_failed_start_that_may_have_gone_elsewhere_is_not_repeated_before_twice_its_time() {
    let timed_out = StartFailure::TimedOut {
        after: policy().start_timeout,
        start_program: Fate::Unknown,
    };
    let failed = StartFailure::Failed(ExitStatus::Code(1));
    for (is_restarted, failure) in [(false, failed), (true, timed_out)] {
        let mut bench = Bench::starting();
        bench.event(Event::MayHaveGoneElsewhere);
        bench.exits(200, ExitStatus::Code(1));
        for seconds in [1, 20, 40, 59] {
            bench.now = bench.epoch + seconds * SECOND;
            if is_restarted {
                restarted_service(&mut bench);
            }
            bench.finds(left(&[], false));
            assert!(!bench.absent().contains(&Action::Start));
        }
        bench.now = bench.epoch + 60 * SECOND;
        bench.finds(left(&[], false));
        assert_eq!(bench.absent(), [report(Change::StartFailed(failure))]);
    }
}

#[test]
fn what_cannot_be_told_is_not_nothing() {
    let mut bench = Bench::starting();
    bench.exits(200, ExitStatus::Code(1));
    let incomplete = || Left {
        processes: Vec::new(),
        can_tell: false,
    };
    bench.finds(incomplete());
    assert_eq!(bench.after(29 * SECOND).absent(), []);
    bench.finds(incomplete());
    bench.after(SECOND).absent();
    for seconds in [40, 50, 59] {
        bench.now = bench.epoch + seconds * SECOND;
        bench.finds(incomplete());
        assert_eq!(bench.absent(), []);
    }
    bench.now = bench.epoch + 60 * SECOND;
    bench.finds(incomplete());
    assert_eq!(bench.absent(), [Action::Start], "but it ends");
}

#[test]
fn starts_that_fail_for_long_come_ever_later() {
    let mut bench = Bench::up();
    let fail = || {
        let failure = StartFailure::NotInstalled("/opt/x".into());
        Event::StartEnded(StartOutcome::NotRun(failure))
    };
    bench.absent();
    bench.event(fail());
    let mut waits = Vec::new();
    for _ in 0..14 {
        let failed = bench.now;
        loop {
            bench.now = bench.machine.next_look();
            if bench.absent().contains(&Action::Start) {
                break;
            }
        }
        waits.push((bench.now - failed).as_secs());
        bench.event(fail());
    }
    let expected = [10, 10, 10, 10, 10, 20, 40, 80, 160, 300, 300, 300, 300, 300];
    assert_eq!(waits, expected);
}

/// As many starts as it takes until the next one has to wait, with this command.
fn fails_ten_times(bench: &mut Bench, command: CommandId) {
    for _ in 0..10 {
        bench.now = bench
            .machine
            .next_start()
            .unwrap_or(bench.now + 10 * SECOND);
        bench.besides.command = Some(Some(command));
        bench.absent();
        let failure = StartFailure::NotRun("why".into());
        bench.event(Event::StartEnded(StartOutcome::NotRun(failure)));
    }
}

#[test]
fn a_start_command_that_has_changed_is_tried_at_once() {
    let mut bench = Bench::up();
    let command = |inode| CommandId {
        device: 1,
        inode,
        modified: (0, 0),
        mode: 0,
    };
    fails_ten_times(&mut bench, command(1));
    assert!(bench.machine.asks_for_command());
    bench.besides.command = Some(Some(command(1)));
    assert_eq!(bench.after(10 * SECOND).absent(), []);
    // What the service knew outlives it.
    for _ in 0..3 {
        restarted_service(&mut bench);
        let actions = bench.after(10 * SECOND).absent();
        assert!(!actions.contains(&Action::Start), "{actions:?}");
        assert!(bench.machine.next_start() > Some(bench.now));
    }
    restarted_service(&mut bench);
    bench.absent();
    bench.besides.command = Some(Some(command(2)));
    let actions = bench.after(10 * SECOND).absent();
    assert!(actions.contains(&Action::Start), "{actions:?}");
}

#[test]
fn a_command_that_has_changed_right_after_a_try_is_tried_at_once() {
    let mut bench = Bench::up();
    let command = |modified| CommandId {
        device: 1,
        inode: 1,
        modified: (modified, 0),
        mode: 0,
    };
    fails_ten_times(&mut bench, command(1));
    bench.besides.command = Some(Some(command(2)));
    let actions = bench.after(10 * SECOND).absent();
    assert!(actions.contains(&Action::Start), "{actions:?}");
}

#[test]
fn a_command_that_is_being_replaced_is_tried_again_within_a_second() {
    let mut bench = Bench::up();
    bench.absent();
    let failure = StartFailure::BeingReplaced("/opt/x".into());
    bench.event(Event::StartEnded(StartOutcome::NotRun(failure)));
    bench.now = bench.machine.next_look();
    assert!(bench.now <= bench.epoch + SECOND);
    assert_eq!(bench.absent(), [Action::Start]);
}

#[test]
fn nothing_is_restarted_that_could_not_be_started() {
    let obstacle = StartFailure::NotInstalled("/opt/x".into());
    let refused = report(Change::RestartRefused(obstacle.clone()));
    let mut bench = Bench::up();
    bench.event(Event::Obstacle(Some(obstacle)));
    let expected = [unhealthy(100, "tcp", false), refused.clone()];
    assert_eq!(bench.event(failed("tcp", true)), expected);
    assert_eq!(bench.event(Event::RestartAsked), [refused]);
    assert_eq!(bench.after(10 * SECOND).alive(&[100]), []);
    bench.event(Event::Obstacle(None));
    let terminate = Action::Signal(Stop::Terminate, vec![id(100)]);
    let actions = bench.after(10 * SECOND).alive(&[100]);
    assert!(actions.contains(&terminate), "{actions:?}");
}

#[test]
fn others_that_start_it_go_first() {
    let hold = |bench: &Bench| Event::OthersStarting {
        by: vec!["cco-ser.service".into()],
        until: bench.now + 30 * SECOND,
    };
    let mut bench = Bench::new();
    bench.event(hold(&bench));
    assert!(!bench.absent().contains(&Action::Start));
    assert_eq!(bench.phase(), Phase::Held);
    assert!(bench.machine.held_by().is_some());
    let adopted = report(Change::Adopted {
        more: 0,
        pids: vec![100],
    });
    assert_eq!(bench.after(SECOND).alive(&[100]), [adopted]);

    let mut bench = Bench::new();
    bench.event(hold(&bench));
    bench.absent();
    bench.event(Event::OthersDone);
    assert_eq!(bench.machine.next_look(), bench.now);
    assert_eq!(bench.absent()[0], Action::Start);

    let mut bench = Bench::new();
    bench.event(hold(&bench));
    bench.absent();
    assert_eq!(bench.after(30 * SECOND).absent()[0], Action::Start);
}

#[test]
fn when_the_main_process_has_died_its_child_is_judged() {
    let mut bench = Bench::new();
    let mut family = sighting([id(100), id(101)]);
    family.alive[1].parent = 100;
    bench.event(looked(family));
    let ended = Change::MainEnded {
        pid: 100,
        first: 101,
    };
    assert_eq!(bench.after(SECOND).alive(&[101]), [report(ended)]);
    assert_eq!(bench.machine.first(), Some(id(101)));
    let actions = bench.event(failed("tcp", true));
    assert_eq!(actions[1], Action::Signal(Stop::Terminate, vec![id(101)]));
}

/// A pause ends the wait for the end, and its parent has heeded the signal meanwhile.
#[test]
fn a_child_that_was_born_while_its_parent_was_being_ended_is_known() {
    let mut bench = Bench::new();
    bench.alive(&[100]);
    bench.event(Event::RestartAsked);
    assert_eq!(bench.phase(), Phase::Replacing);
    let mut family = sighting([id(100), id(101), id(102)]);
    family.alive[1].parent = 102;
    family.alive[2].parent = 100;
    bench.after(LAST_POLL).event(looked(family));
    assert_eq!(bench.phase(), Phase::Replacing);
    bench.event(Event::Pause(Pause {
        until: bench.now + 60 * SECOND,
        reason: None,
    }));
    bench.after(SECOND).alive(&[100, 101]);
    assert_eq!(bench.phase(), Phase::Up);
    let ended = Change::MainEnded {
        pid: 100,
        first: 101,
    };
    assert_eq!(bench.after(SECOND).alive(&[101]), [report(ended)]);
}

#[test]
fn another_users_process_is_not_ended_for_what_was_found_about_the_first() {
    let mut fake = running(ProcessId {
        pid: 50,
        start_time: 500,
    });
    fake.uid = Some(1000);
    let both = || {
        looked(Sighting {
            alive: vec![fake, running(id(100))],
            ..Sighting::default()
        })
    };
    let mut bench = Bench::new();
    bench.event(both());
    let actions = bench.event(failed("tcp", true));
    assert_eq!(actions[1], Action::Signal(Stop::Terminate, vec![fake.id]));

    let mut bench = Bench::new();
    bench.event(reconfigured(Policy {
        duplicates: Duplicates::StopNewest,
        ..policy()
    }));
    bench.event(both());
    let actions = bench.after(10 * SECOND).event(both());
    let duplicate = Change::Duplicate {
        pid: 100,
        first: 50,
    };
    assert_eq!(actions, [report(duplicate)], "told, and left alone");
}

#[test]
fn a_daemon_that_forks_twice_is_no_second_copy_of_its_parent() {
    let mut bench = Bench::starting();
    bench.event(reconfigured(Policy {
        duplicates: Duplicates::StopNewest,
        ..policy()
    }));
    bench.alive(&[200]);
    for seconds in [5, 10, 15, 20, 25] {
        bench.now = bench.epoch + seconds * SECOND;
        bench.finds(left(&[200, 201], true));
        assert_eq!(bench.alive(&[200, 201]), [], "at {seconds} s");
    }
    bench.now = bench.epoch + 40 * SECOND;
    bench.finds(left(&[200, 201], true));
    let told = Change::Duplicate {
        pid: 201,
        first: 200,
    };
    assert_eq!(bench.alive(&[200, 201]), [report(told)], "and not ended");
}

#[test]
fn a_core_dump_is_told_and_what_writes_it_is_not_doubled() {
    let mut bench = Bench::up();
    let mut dying = sighting([id(100)]);
    dying.alive[0].state = RunState::Dumping;
    let actions = bench.event(looked(dying));
    let is_told = |action: &Action| matches!(action, Action::Tell(Change::Unhealthy { check, .. }) if check == DUMPING);
    assert!(
        matches!(&actions[..], [action] if is_told(action)),
        "{actions:?}"
    );
    assert_eq!(bench.phase(), Phase::Up);
    assert_eq!(bench.absent()[0], Action::Start);
}

#[test]
fn knows_how_its_own_child_died() {
    for (status, cause) in [
        (ExitStatus::Signal(9), Cause::Killed(9)),
        (ExitStatus::Code(3), Cause::Exited(3)),
        (ExitStatus::Code(0), Cause::Exited(0)),
    ] {
        let mut bench = Bench::starting();
        bench.alive(&[200]);
        bench.exits(200, status);
        assert_eq!(bench.machine.next_look(), bench.now, "looks at once");
        assert_eq!(bench.absent()[1], down(200, cause));
    }
}

#[test]
fn knows_how_a_zombie_died_if_the_kernel_tells() {
    for (exit_status, cause) in [
        (Some(ExitStatus::Signal(11)), Cause::Killed(11)),
        (Some(ExitStatus::Code(1)), Cause::Exited(1)),
        (None, Cause::Gone),
    ] {
        let mut bench = Bench::up();
        let zombies = vec![Zombie {
            id: id(100),
            exit_status,
        }];
        let sighting = Sighting {
            zombies,
            ..Sighting::default()
        };
        assert_eq!(bench.event(looked(sighting))[1], down(100, cause));
    }
}

#[test]
fn anothers_zombie_tells_nothing() {
    let mut bench = Bench::up();
    let zombies = vec![Zombie {
        id: id(99),
        exit_status: Some(ExitStatus::Signal(11)),
    }];
    let sighting = Sighting {
        zombies,
        ..Sighting::default()
    };
    assert_eq!(bench.event(looked(sighting))[1], down(100, Cause::Gone));
}

#[test]
fn a_slow_start_is_started_once() {
    let mut bench = Bench::starting();
    bench.exits(200, ExitStatus::Code(0));
    while bench.now < bench.epoch + 25 * SECOND {
        assert_eq!(bench.absent(), [], "at {:?}", bench.now - bench.epoch);
        assert!(bench.machine.next_look() > bench.now);
        assert!(bench.machine.next_look() <= bench.now + LAST_POLL);
        bench.now = bench.machine.next_look();
    }
    assert!(matches!(
        bench.alive(&[201])[..],
        [Action::Tell(Change::Restarted { pid: 201, .. })]
    ));
}

#[test]
fn a_start_that_is_not_there_in_time_has_failed_and_is_tried_again_in_the_next_cycle() {
    let mut bench = Bench::starting();
    bench.exits(200, ExitStatus::Code(0));
    assert_eq!(bench.after(29 * SECOND).absent(), []);
    let failure = StartFailure::TimedOut {
        after: policy().start_timeout,
        start_program: Fate::Ended(ExitStatus::Code(0)),
    };
    let expected = report(Change::StartFailed(failure));
    assert_eq!(bench.after(SECOND).absent(), [expected]);
    assert_eq!(bench.phase(), Phase::Down);
    assert_eq!(bench.next_look(), 40 * SECOND);
    assert_eq!(
        bench.after(10 * SECOND).absent(),
        [Action::Start],
        "no second message"
    );
}

#[test]
fn a_start_program_that_cannot_be_run_is_said_once_per_reason() {
    let not_installed = StartFailure::NotInstalled("/opt/x".into());
    let not_run = StartFailure::NotRun("/opt/x can't be run: Permission denied".into());
    let mut bench = Bench::up();
    bench.absent();
    let fail = |failure: &StartFailure| Event::StartEnded(StartOutcome::NotRun(failure.clone()));
    let said = |failure: &StartFailure| vec![report(Change::StartFailed(failure.clone()))];
    assert_eq!(bench.event(fail(&not_installed)), said(&not_installed));
    for _ in 0..3 {
        assert_eq!(bench.after(10 * SECOND).absent(), [Action::Start]);
        assert_eq!(bench.event(fail(&not_installed)), []);
    }
    assert_eq!(bench.after(10 * SECOND).absent(), [Action::Start]);
    assert_eq!(
        bench.event(fail(&not_run)),
        said(&not_run),
        "another reason"
    );
    assert_eq!(bench.machine.start_failure(), Some(&not_run));
    bench.alive(&[300]);
    assert_eq!(bench.machine.start_failure(), None);
}

#[test]
fn what_appears_though_nothing_of_ours_ran_was_started_by_somebody_else() {
    let mut bench = Bench::up();
    bench.absent();
    let failure = StartFailure::NotInstalled("/opt/x".into());
    bench.event(Event::StartEnded(StartOutcome::NotRun(failure)));
    let adopted = report(Change::Adopted {
        more: 0,
        pids: vec![300],
    });
    assert_eq!(bench.after(10 * SECOND).alive(&[300]), [adopted]);
    assert_eq!(bench.machine.restarts(), 0);
}

#[test]
fn what_appears_after_its_time_was_still_restarted() {
    let mut bench = Bench::starting();
    bench.exits(200, ExitStatus::Code(0));
    bench.after(30 * SECOND).absent();
    let actions = bench.after(10 * SECOND).alive(&[201]);
    assert!(matches!(
        actions[..],
        [Action::Tell(Change::Restarted { .. })]
    ));
    assert_eq!(bench.machine.restarts(), 1);
}

#[test]
fn a_start_program_that_reports_failure_has_failed_once_a_look_confirms_it() {
    let mut bench = Bench::starting();
    assert_eq!(bench.exits(200, ExitStatus::Code(3)), []);
    assert_eq!(bench.machine.next_look(), bench.now);
    let failure = StartFailure::Failed(ExitStatus::Code(3));
    assert_eq!(bench.absent(), [report(Change::StartFailed(failure))]);

    let mut bench = Bench::starting();
    bench.exits(200, ExitStatus::Code(3));
    let actions = bench.alive(&[201]);
    assert!(
        matches!(actions[..], [Action::Tell(Change::Restarted { .. })]),
        "it was wrong"
    );
}

#[test]
fn a_start_program_that_leaves_somebody_behind_gets_its_whole_time() {
    let mut bench = Bench::starting();
    bench.exits(200, ExitStatus::Code(1));
    bench.finds(left(&[201], false));
    assert_eq!(bench.after(29 * SECOND).absent(), []);
    bench.finds(left(&[201], false));
    let failure = StartFailure::TimedOut {
        after: policy().start_timeout,
        start_program: Fate::Ended(ExitStatus::Code(1)),
    };
    assert_eq!(
        bench.after(SECOND).absent(),
        [report(Change::StartFailed(failure))]
    );
}

#[test]
fn a_start_program_that_hangs_is_stopped_before_the_next_one_runs() {
    let mut bench = Bench::starting();
    let failure = StartFailure::TimedOut {
        after: policy().start_timeout,
        start_program: Fate::Running,
    };
    let expected = report(Change::StartFailed(failure));
    assert_eq!(bench.after(30 * SECOND).absent(), [expected]);
    let terminate = Action::StopStartProgram(Stop::Terminate);
    assert_eq!(bench.after(10 * SECOND).absent(), [terminate]);
    assert_eq!(bench.phase(), Phase::Stopping);
    assert_eq!(bench.after(9 * SECOND).absent(), [], "patience");
    let kill = Action::StopStartProgram(Stop::Kill);
    assert_eq!(bench.after(SECOND).absent(), [kill]);
    bench.exits(200, ExitStatus::Signal(9));
    assert_eq!(bench.machine.next_look(), bench.now);
    assert_eq!(bench.absent(), [Action::Start]);
}

#[test]
fn a_wrapper_that_outlives_its_program_is_stopped_first() {
    let mut bench = Bench::starting();
    bench.alive(&[201]);
    let terminate = Action::StopStartProgram(Stop::Terminate);
    assert_eq!(bench.absent(), [terminate, down(201, Cause::Gone)]);
    let adopted = report(Change::Adopted {
        more: 0,
        pids: vec![202],
    });
    assert_eq!(bench.alive(&[202]), [adopted], "the wrapper was quicker");
}

#[test]
fn a_failed_look_starts_nothing_and_is_said_once() {
    let mut bench = Bench::up();
    let failed = |why: &str| Event::LookFailed(why.into());
    let unknown = |why: &str| vec![report(Change::Unknown(why.into()))];
    assert_eq!(
        bench.event(failed("no descriptors")),
        unknown("no descriptors")
    );
    assert_eq!(bench.machine.look_failure(), Some(&"no descriptors".into()));
    assert_eq!(bench.next_look(), 10 * SECOND);
    assert_eq!(bench.after(10 * SECOND).event(failed("no descriptors")), []);
    assert_eq!(
        bench.after(10 * SECOND).event(failed("no memory")),
        unknown("no memory")
    );
    assert_eq!(bench.alive(&[100]), [report(Change::Up { pid: 100 })]);
    assert_eq!(bench.machine.look_failure(), None);

    bench.event(failed("no memory"));
    assert_eq!(
        bench.absent()[0],
        Action::Start,
        "now it is known to be gone"
    );
}

#[test]
fn a_failed_look_does_not_end_a_start() {
    let mut bench = Bench::starting();
    bench
        .after(31 * SECOND)
        .event(Event::LookFailed("why".into()));
    assert_eq!(bench.phase(), Phase::Starting);
    assert_eq!(bench.machine.next_look() - bench.epoch, 40 * SECOND);
    let actions = bench.alive(&[201]);
    assert!(matches!(
        actions[..],
        [Action::Tell(Change::Restarted { .. })]
    ));
}

#[test]
fn new_settings_are_tried_at_once_and_change_nothing_else() {
    let mut bench = Bench::up();
    bench.after(SECOND);
    let policy = Policy {
        interval: 30 * SECOND,
        ..policy()
    };
    assert_eq!(bench.event(reconfigured(policy)), []);
    assert_eq!(bench.next_look(), SECOND);
    assert_eq!(bench.alive(&[100]), []);
    assert_eq!(bench.next_look(), 30 * SECOND);
}
