//! Every transition of the machine, and what must hold over any sequence of events.

use proptest::prelude::*;

use super::*;
use crate::process::{Alive, RunState, Zombie};

const SECOND: Duration = Duration::from_secs(1);
const POLICY: Policy = Policy {
    interval: Duration::from_secs(10),
    start_timeout: Duration::from_secs(30),
};

/// A machine with a clock of its own.
struct Bench {
    machine: Machine,
    epoch: Instant,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            machine: Machine::new(POLICY, now, now),
            epoch: now,
            now,
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
        bench.event(Event::StartProgramRuns { pid: 200 });
        bench
    }

    fn after(&mut self, time: Duration) -> &mut Self {
        self.now += time;
        self
    }

    fn event(&mut self, event: Event) -> Vec<Action> {
        self.machine.handle(self.now, event)
    }

    fn alive(&mut self, pids: &[i32]) -> Vec<Action> {
        let alive = pids.iter().map(|pid| running(id(*pid))).collect();
        self.event(Event::Looked(Sighting {
            alive,
            ..Sighting::default()
        }))
    }

    fn absent(&mut self) -> Vec<Action> {
        self.event(Event::Looked(Sighting::default()))
    }

    fn exits(&mut self, pid: i32, status: ExitStatus, left_running: bool) -> Vec<Action> {
        self.event(Event::StartEnded(StartOutcome::Exited {
            pid,
            status,
            left_running,
        }))
    }

    fn phase(&self) -> &Phase {
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
        state: RunState::Running,
    }
}

fn id(pid: i32) -> ProcessId {
    ProcessId {
        pid,
        start_time: 1000,
    }
}

fn report(report: Report) -> Action {
    Action::Report(report)
}

fn down(pid: i32, cause: Cause) -> Action {
    report(Report::Down {
        pid: Some(pid),
        cause,
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
    for event in [
        Event::ExitNoticed,
        Event::Reconfigured(POLICY),
        Event::LookFailed("why".into()),
    ] {
        bench.event(event);
        assert_eq!(bench.machine.look(), Look::Whole);
        bench.after(SECOND).alive(&[100]);
        assert_eq!(bench.machine.look(), Look::Confirm);
    }
    let mut whole = 0;
    for _ in 0..3600 {
        whole += u32::from(bench.machine.look() == Look::Whole);
        bench.now = bench.machine.next_look();
        bench.alive(&[100]);
    }
    assert!(
        (9..=10).contains(&whole),
        "once in each of ten hours: {whole}"
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
    assert_eq!(bench.alive(&[100, 101]), [report(Report::Adopted { pids })]);
    assert_eq!(*bench.phase(), Phase::Up);
    assert_eq!(bench.machine.alive(), [id(100), id(101)]);
}

#[test]
fn starts_what_is_absent_at_first() {
    let mut bench = Bench::new();
    let absent = Report::Down {
        pid: None,
        cause: Cause::Absent,
    };
    let expected = [Action::Start, report(absent), report(Report::Starting)];
    assert_eq!(bench.absent(), expected, "the start comes before the words");
    assert_eq!(*bench.phase(), Phase::Starting);
    assert_eq!(bench.alive(&[200]), [report(Report::Up { pid: 200 })]);
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
    assert_eq!(*bench.phase(), Phase::Up);
}

#[test]
fn notices_when_another_one_took_its_place() {
    let mut bench = Bench::up();
    let expected = report(Report::Adopted { pids: vec![300] });
    assert_eq!(bench.alive(&[300]), [expected]);
    let reused = ProcessId {
        pid: 300,
        start_time: 2000,
    };
    let sighting = Sighting {
        alive: vec![running(reused)],
        ..Sighting::default()
    };
    let expected = report(Report::Adopted { pids: vec![300] });
    assert_eq!(
        bench.event(Event::Looked(sighting)),
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
        report(Report::Starting),
    ];
    assert_eq!(bench.after(SECOND).absent(), expected);
    bench.event(Event::StartProgramRuns { pid: 200 });
    let back = Report::Restarted {
        pid: 200,
        cause: Cause::Gone,
        outage: 2 * SECOND,
    };
    assert_eq!(bench.after(2 * SECOND).alive(&[200]), [report(back)]);
    assert_eq!(bench.machine.restarts(), 1);
    assert_eq!(bench.next_look(), 10 * SECOND);
}

#[test]
fn three_starts_come_at_once_and_the_next_one_an_interval_after_the_first() {
    let mut bench = Bench::up();
    bench.after(SECOND);
    for pid in [201, 202, 203] {
        assert_eq!(bench.absent()[0], Action::Start);
        bench.alive(&[pid]);
        bench.after(Duration::from_millis(10));
    }
    assert_eq!(
        bench.absent(),
        [down(203, Cause::Gone)],
        "said, but not yet started"
    );
    assert_eq!(*bench.phase(), Phase::Down);
    assert_eq!(bench.next_look(), 11 * SECOND);
    bench.now = bench.machine.next_look();
    let expected = [Action::Start, report(Report::Starting)];
    assert_eq!(bench.absent(), expected);
    let actions = bench.alive(&[204]);
    assert!(matches!(
        actions[..],
        [Action::Report(Report::Restarted { .. })]
    ));
    assert_eq!(bench.machine.restarts(), 4, "late, but not lost");
}

#[test]
fn a_start_that_an_earlier_run_has_left_in_flight_is_waited_for() {
    let inheriting = || {
        let mut bench = Bench::new();
        bench.machine = bench.machine.inheriting_start();
        bench
    };
    let absent = Report::Down {
        pid: None,
        cause: Cause::Absent,
    };
    let expected = [report(absent), report(Report::Starting)];
    let mut bench = inheriting();
    assert_eq!(bench.absent(), expected, "nothing is started");
    assert_eq!(*bench.phase(), Phase::Starting);
    assert_eq!(bench.after(20 * SECOND).absent(), []);
    assert_eq!(bench.alive(&[200]), [report(Report::Up { pid: 200 })]);
    assert_eq!(bench.absent()[0], Action::Start, "the next time it is not");

    let mut bench = inheriting();
    bench.absent();
    let failure = StartFailure::TimedOut {
        after: POLICY.start_timeout,
        start_program: Fate::Unknown,
    };
    let expected = [report(Report::StartFailed(failure))];
    assert_eq!(bench.after(30 * SECOND).absent(), expected);
    assert_eq!(bench.after(10 * SECOND).absent()[0], Action::Start);

    let mut bench = inheriting();
    bench.alive(&[100]);
    assert_eq!(bench.absent()[0], Action::Start, "it had succeeded");
}

#[test]
fn an_exit_is_only_a_reason_to_look() {
    let mut bench = Bench::up();
    bench.after(3 * SECOND);
    assert_eq!(bench.event(Event::ExitNoticed), []);
    assert_eq!(bench.next_look(), 3 * SECOND);
    assert_eq!(bench.alive(&[100]), [], "it was another one's exit");
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
        bench.exits(200, status, false);
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
        assert_eq!(bench.event(Event::Looked(sighting))[1], down(100, cause));
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
    assert_eq!(
        bench.event(Event::Looked(sighting))[1],
        down(100, Cause::Gone)
    );
}

#[test]
fn a_slow_start_is_started_once() {
    let mut bench = Bench::starting();
    bench.exits(200, ExitStatus::Code(0), false);
    while bench.now < bench.epoch + 25 * SECOND {
        assert_eq!(bench.absent(), [], "at {:?}", bench.now - bench.epoch);
        assert!(bench.machine.next_look() > bench.now);
        assert!(bench.machine.next_look() <= bench.now + LAST_POLL);
        bench.now = bench.machine.next_look();
    }
    assert!(matches!(
        bench.alive(&[201])[..],
        [Action::Report(Report::Restarted { pid: 201, .. })]
    ));
}

#[test]
fn a_start_that_is_not_there_in_time_has_failed_and_is_tried_again_in_the_next_cycle() {
    let mut bench = Bench::starting();
    bench.exits(200, ExitStatus::Code(0), false);
    assert_eq!(bench.after(29 * SECOND).absent(), []);
    let failure = StartFailure::TimedOut {
        after: POLICY.start_timeout,
        start_program: Fate::Ended(ExitStatus::Code(0)),
    };
    let expected = report(Report::StartFailed(failure));
    assert_eq!(bench.after(SECOND).absent(), [expected]);
    assert_eq!(*bench.phase(), Phase::Down);
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
    let said = |failure: &StartFailure| vec![report(Report::StartFailed(failure.clone()))];
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
    let adopted = report(Report::Adopted { pids: vec![300] });
    assert_eq!(bench.after(10 * SECOND).alive(&[300]), [adopted]);
    assert_eq!(bench.machine.restarts(), 0);
}

#[test]
fn what_appears_after_its_time_was_still_restarted() {
    let mut bench = Bench::starting();
    bench.exits(200, ExitStatus::Code(0), false);
    bench.after(30 * SECOND).absent();
    let actions = bench.after(10 * SECOND).alive(&[201]);
    assert!(matches!(
        actions[..],
        [Action::Report(Report::Restarted { .. })]
    ));
    assert_eq!(bench.machine.restarts(), 1);
}

#[test]
fn a_start_program_that_reports_failure_has_failed_once_a_look_confirms_it() {
    let mut bench = Bench::starting();
    assert_eq!(bench.exits(200, ExitStatus::Code(3), false), []);
    assert_eq!(bench.machine.next_look(), bench.now);
    let failure = StartFailure::Failed(ExitStatus::Code(3));
    assert_eq!(bench.absent(), [report(Report::StartFailed(failure))]);

    let mut bench = Bench::starting();
    bench.exits(200, ExitStatus::Code(3), false);
    let actions = bench.alive(&[201]);
    assert!(
        matches!(actions[..], [Action::Report(Report::Restarted { .. })]),
        "it was wrong"
    );
}

#[test]
fn a_start_program_that_leaves_somebody_behind_gets_its_whole_time() {
    let mut bench = Bench::starting();
    bench.exits(200, ExitStatus::Code(1), true);
    assert_eq!(bench.after(29 * SECOND).absent(), []);
    let failure = StartFailure::TimedOut {
        after: POLICY.start_timeout,
        start_program: Fate::Ended(ExitStatus::Code(1)),
    };
    assert_eq!(
        bench.after(SECOND).absent(),
        [report(Report::StartFailed(failure))]
    );
}

#[test]
fn a_start_program_that_hangs_is_stopped_before_the_next_one_runs() {
    let mut bench = Bench::starting();
    let failure = StartFailure::TimedOut {
        after: POLICY.start_timeout,
        start_program: Fate::Running,
    };
    let expected = report(Report::StartFailed(failure));
    assert_eq!(bench.after(30 * SECOND).absent(), [expected]);
    let terminate = Action::StopStartProgram(Stop::Terminate);
    assert_eq!(bench.after(10 * SECOND).absent(), [terminate]);
    assert_eq!(*bench.phase(), Phase::Stopping);
    assert_eq!(bench.after(9 * SECOND).absent(), [], "patience");
    let kill = Action::StopStartProgram(Stop::Kill);
    assert_eq!(bench.after(SECOND).absent(), [kill]);
    bench.exits(200, ExitStatus::Signal(9), false);
    assert_eq!(bench.machine.next_look(), bench.now);
    assert_eq!(bench.absent(), [Action::Start]);
}

#[test]
fn a_wrapper_that_outlives_its_program_is_stopped_first() {
    let mut bench = Bench::starting();
    bench.alive(&[201]);
    let terminate = Action::StopStartProgram(Stop::Terminate);
    assert_eq!(bench.absent(), [terminate, down(201, Cause::Gone)]);
    let adopted = report(Report::Adopted { pids: vec![202] });
    assert_eq!(bench.alive(&[202]), [adopted], "the wrapper was quicker");
}

#[test]
fn a_failed_look_starts_nothing_and_is_said_once() {
    let mut bench = Bench::up();
    let failed = |why: &str| Event::LookFailed(why.to_owned());
    let unknown = |why: &str| vec![report(Report::Unknown(why.to_owned()))];
    assert_eq!(
        bench.event(failed("no descriptors")),
        unknown("no descriptors")
    );
    assert_eq!(bench.machine.look_failure(), Some("no descriptors"));
    assert_eq!(bench.next_look(), 10 * SECOND);
    assert_eq!(bench.after(10 * SECOND).event(failed("no descriptors")), []);
    assert_eq!(
        bench.after(10 * SECOND).event(failed("no memory")),
        unknown("no memory")
    );
    assert_eq!(bench.alive(&[100]), [report(Report::Up { pid: 100 })]);
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
    assert_eq!(*bench.phase(), Phase::Starting);
    assert_eq!(bench.machine.next_look() - bench.epoch, 40 * SECOND);
    let actions = bench.alive(&[201]);
    assert!(matches!(
        actions[..],
        [Action::Report(Report::Restarted { .. })]
    ));
}

#[test]
fn new_settings_are_tried_at_once_and_change_nothing_else() {
    let mut bench = Bench::up();
    bench.after(SECOND);
    let policy = Policy {
        interval: 60 * SECOND,
        ..POLICY
    };
    assert_eq!(bench.event(Event::Reconfigured(policy)), []);
    assert_eq!(bench.next_look(), SECOND);
    assert_eq!(bench.alive(&[100]), []);
    assert_eq!(bench.next_look(), 60 * SECOND);
}

/// A world as the machine may meet it: what it asks for happens, late, differently or not at all.
#[derive(Debug, Clone, Copy)]
enum Chance {
    /// Time passes until the machine wants to look, and the look succeeds.
    Look,
    /// The same, but the look fails.
    LookFails,
    /// Something wakes the machine early.
    Wake,
    /// All copies die.
    Die,
    /// Somebody else starts a copy.
    SomebodyStarts,
    /// The start program brings a copy up.
    ProgramSucceeds,
    /// The start program ends.
    ProgramEnds(i32, bool),
    /// Time passes.
    Pass(u64),
    /// The configuration is read again.
    Reload(u64),
    /// From now on the start program can or can't be run.
    Installed(bool),
}

fn chance() -> impl Strategy<Value = Chance> {
    prop_oneof![
        10 => Just(Chance::Look),
        1 => Just(Chance::LookFails),
        1 => Just(Chance::Wake),
        3 => Just(Chance::Die),
        1 => Just(Chance::SomebodyStarts),
        3 => Just(Chance::ProgramSucceeds),
        3 => (prop_oneof![Just(0), Just(1)], any::<bool>())
            .prop_map(|(code, left)| Chance::ProgramEnds(code, left)),
        2 => (0..40_000u64).prop_map(Chance::Pass),
        1 => (100..20_000u64).prop_map(Chance::Reload),
        1 => any::<bool>().prop_map(Chance::Installed),
    ]
}

/// The world around a machine, and the rules it is held to.
struct World {
    machine: Machine,
    now: Instant,
    policy: Policy,
    copies: Vec<ProcessId>,
    next_pid: i32,
    /// The start program that runs.
    program: Option<i32>,
    /// Started, and neither up nor failed yet.
    in_flight: bool,
    installed: bool,
    starts: Vec<Instant>,
    restarted: u64,
}

impl World {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            machine: Machine::new(POLICY, now, now),
            now,
            policy: POLICY,
            copies: Vec::new(),
            next_pid: 1000,
            program: None,
            in_flight: false,
            installed: true,
            starts: Vec::new(),
            restarted: 0,
        }
    }

    fn new_pid(&mut self) -> i32 {
        self.next_pid += 1;
        self.next_pid
    }

    fn take(&mut self, event: Event) {
        let may_start = matches!(&event, Event::Looked(sighting) if sighting.alive.is_empty());
        for action in self.machine.handle(self.now, event) {
            match action {
                Action::Start => {
                    assert!(may_start, "a start without a look that found it absent");
                    assert!(self.copies.is_empty(), "a start while one is up");
                    assert!(!self.in_flight, "two starts in flight");
                    assert_eq!(self.program, None, "two start programs");
                    if let Some(third_last) = self.starts.iter().nth_back(START_BURST - 1) {
                        assert!(self.now - *third_last >= self.policy.interval, "a storm");
                    }
                    self.starts.push(self.now);
                    if self.installed {
                        let pid = self.new_pid();
                        self.program = Some(pid);
                        self.in_flight = true;
                        self.take(Event::StartProgramRuns { pid });
                    } else {
                        let failure = StartFailure::NotInstalled("/x".into());
                        self.take(Event::StartEnded(StartOutcome::NotRun(failure)));
                    }
                }
                Action::StopStartProgram(stop) => {
                    assert!(self.program.is_some(), "a signal to nobody");
                    if stop == Stop::Kill {
                        self.program_ends(ExitStatus::Signal(9), false);
                    }
                }
                Action::Report(Report::Restarted { .. }) => {
                    self.restarted += 1;
                    self.in_flight = false;
                }
                Action::Report(_) => {}
            }
        }
        self.in_flight &= *self.machine.phase() == Phase::Starting;
        assert_eq!(self.machine.restarts(), self.restarted);
        let latest = self.now + self.policy.interval.max(STOP_TIMEOUT);
        assert!(self.machine.next_look() <= latest, "a look is always due");
    }

    fn program_ends(&mut self, status: ExitStatus, left_running: bool) {
        if let Some(pid) = self.program.take() {
            self.take(Event::StartEnded(StartOutcome::Exited {
                pid,
                status,
                left_running,
            }));
        }
    }

    fn look(&mut self) {
        self.now = self.now.max(self.machine.next_look());
        let sighting = Sighting {
            alive: self.copies.iter().copied().map(running).collect(),
            ..Sighting::default()
        };
        self.take(Event::Looked(sighting));
        let is_up = *self.machine.phase() == Phase::Up;
        assert_eq!(is_up, !self.copies.is_empty());
    }

    fn add_copy(&mut self) {
        let pid = self.new_pid();
        self.copies.push(id(pid));
    }

    fn happen(&mut self, chance: Chance) {
        match chance {
            Chance::Look => self.look(),
            Chance::LookFails => {
                self.now = self.now.max(self.machine.next_look());
                self.take(Event::LookFailed("why".into()));
            }
            Chance::Wake => self.take(Event::ExitNoticed),
            Chance::Die => self.copies.clear(),
            Chance::SomebodyStarts => self.add_copy(),
            Chance::ProgramSucceeds if self.in_flight => self.add_copy(),
            Chance::ProgramSucceeds => {}
            Chance::ProgramEnds(code, left) => self.program_ends(ExitStatus::Code(code), left),
            Chance::Pass(milliseconds) => self.now += Duration::from_millis(milliseconds),
            Chance::Reload(milliseconds) => {
                self.policy.interval = Duration::from_millis(milliseconds);
                self.take(Event::Reconfigured(self.policy));
            }
            Chance::Installed(installed) => self.installed = installed,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Never two starts in flight, never a start while one is up or after a failed look, and,
    /// whatever has happened before, every absence is followed by a start in bounded time.
    #[test]
    fn any_history_keeps_the_rules(history in prop::collection::vec(chance(), 0..200)) {
        let mut world = World::new();
        for chance in history {
            world.happen(chance);
        }
        world.copies.clear();
        let starts = world.starts.len();
        let end = world.now + world.policy.start_timeout + 3 * world.policy.interval.max(STOP_TIMEOUT);
        while world.starts.len() == starts && world.now < end {
            world.look();
        }
        prop_assert!(world.starts.len() > starts, "an absence without a start");
    }
}
