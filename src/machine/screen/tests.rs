//! What a program that belongs on the screen goes through, and what must hold whatever happens there.

use proptest::prelude::*;

use super::*;
use crate::machine::{Besides, Child, Event, Pause, Policy, Sitting, StartOutcome};
use crate::proc::{Alive, Left, LeftOver, RunState};
use crate::sys::exit_status::ExitStatus;

const SECOND: Duration = Duration::from_secs(1);
const PDV: u32 = 1000;
const ANA: u32 = 1001;

struct Bench {
    machine: Machine,
    now: Instant,
    /// Until when the next look finds that the program has been watched.
    watched: Option<Instant>,
    /// Who else it finds in the session.
    company: Option<BTreeSet<ProcessId>>,
}

fn id(pid: i32) -> ProcessId {
    ProcessId {
        pid,
        start_time: 1000,
    }
}

fn running(pid: i32, uid: u32) -> Alive {
    Alive {
        id: id(pid),
        parent: 1,
        uid: Some(uid),
        state: RunState::Running,
    }
}

fn of_another(pid: i32, uid: u32) -> Impostor {
    Impostor {
        id: id(pid),
        uid: Some(uid),
        user: uid.to_string(),
        name: "Monitor".into(),
        path: "/opt/Monitor".into(),
        difference: Difference::User,
    }
}

/// A look that has found nothing of a start.
fn looked(sighting: Sighting) -> Event {
    let left = Left {
        processes: Vec::new(),
        can_tell: true,
    };
    let besides = Besides {
        left: Some(left),
        ..Besides::default()
    };
    Event::Looked(sighting, besides)
}

impl Bench {
    fn new() -> Self {
        let begin = Instant::now();
        let policy = Policy::default();
        Self {
            machine: Machine::new(policy, begin, begin),
            // A machine that has run for a while.
            now: begin + 1000 * SECOND,
            watched: None,
            company: None,
        }
    }

    /// Pdv has been logged in for long, and his program runs as pid 100.
    fn up() -> Self {
        let mut bench = Self::new();
        bench.sits(PDV, "2", Duration::from_secs(600), true);
        bench.alive(100, PDV);
        bench
    }

    fn event(&mut self, mut event: Event) -> Vec<Action> {
        if let Event::Looked(_, besides) = &mut event {
            besides.watched = self.watched;
            besides.company.clone_from(&self.company);
        }
        crate::machine::tests::transitions::observed(&mut self.machine, self.now, event)
    }

    /// The program has been watched until now, and these live besides it.
    fn among(&mut self, pids: &[i32]) -> &mut Self {
        self.watched = Some(self.now);
        self.company = Some(pids.iter().copied().map(id).collect());
        self
    }

    fn seat(&mut self, seat: Seat) -> Vec<Action> {
        self.event(Event::AtScreen(seat))
    }

    fn sits(&mut self, uid: u32, id: &str, since: Duration, is_autostarted: bool) -> Vec<Action> {
        let sitting = Sitting {
            id: id.into(),
            uid,
            user: if uid == PDV { "pdv" } else { "ana" }.into(),
            began: self.now.checked_sub(since),
            is_autostarted,
        };
        self.seat(Seat::Taken(sitting))
    }

    fn alive(&mut self, pid: i32, uid: u32) -> Vec<Action> {
        self.event(looked(Sighting {
            alive: vec![running(pid, uid)],
            ..Sighting::default()
        }))
    }

    fn absent(&mut self) -> Vec<Action> {
        self.event(looked(Sighting::default()))
    }

    fn beside(&mut self, impostor: Impostor) -> Vec<Action> {
        self.event(looked(Sighting {
            impostors: vec![impostor],
            ..Sighting::default()
        }))
    }

    fn after(&mut self, time: Duration) -> &mut Self {
        self.now += time;
        self
    }

    fn ends(&mut self, code: i32) -> Vec<Action> {
        self.event(Event::StartEnded(StartOutcome::Exited {
            pid: None,
            status: ExitStatus::Code(code),
        }))
    }

    fn waits_for(&self) -> Option<Wait> {
        self.machine.waits_for()
    }
}

fn is_start(actions: &[Action]) -> bool {
    actions.contains(&Action::Start)
}

fn told(actions: &[Action]) -> Vec<&Change> {
    let told = actions.iter().filter_map(|action| match action {
        Action::Tell(change) => Some(change),
        _ => None,
    });
    told.collect()
}

fn waiting(why: Wait, user: Option<&str>) -> Action {
    Action::Tell(Change::Waiting {
        why,
        user: user.map(str::to_owned),
    })
}

#[test]
fn before_a_login_nothing_happens_and_that_is_said_once() {
    let mut bench = Bench::new();
    assert_eq!(bench.seat(Seat::Nobody), []);
    assert_eq!(bench.absent(), [waiting(Wait::Login, None)]);
    for _ in 0..100 {
        assert_eq!(bench.after(10 * SECOND).absent(), []);
    }
    assert_eq!(bench.waits_for(), Some(Wait::Login));
    assert_eq!(
        bench.event(Event::RestartAsked),
        [Action::Tell(Change::RestartRefused(
            StartFailure::NobodyLoggedIn
        ))]
    );
    assert_eq!(bench.seat(Seat::Unclear), []);
    assert_eq!(bench.absent(), [waiting(Wait::Display, None)]);
}

#[test]
fn a_session_has_time_to_start_it_by_itself() {
    let mut bench = Bench::new();
    bench.seat(Seat::Nobody);
    bench.absent();
    assert_eq!(bench.sits(PDV, "2", Duration::ZERO, true), []);
    assert_eq!(bench.absent(), [waiting(Wait::Autostart, Some("pdv"))]);
    assert_eq!(bench.machine.next_look(), bench.now + SECOND);
    assert_eq!(bench.after(9 * SECOND).absent(), []);
    let adopted = Change::Adopted {
        pids: vec![100],
        more: 0,
    };
    assert_eq!(bench.alive(100, PDV), [Action::Tell(adopted)]);
}

#[test]
fn what_the_session_does_not_start_is_started() {
    for (is_autostarted, time) in [(true, 120), (false, 5)] {
        let mut bench = Bench::new();
        bench.sits(PDV, "2", Duration::ZERO, is_autostarted);
        bench.absent();
        bench.after((time - 1) * SECOND);
        assert!(!is_start(&bench.absent()), "{time}");
        assert_eq!(bench.machine.next_look(), bench.now + SECOND);
        let actions = bench.after(SECOND).absent();
        assert!(is_start(&actions), "{time}");
        let is_down = |change: &&Change| {
            matches!(
                change,
                Change::Down {
                    cause: Cause::Absent,
                    ..
                }
            )
        };
        assert!(told(&actions).iter().any(is_down));
    }
}

#[test]
fn in_an_older_session_it_is_started_at_once() {
    let mut bench = Bench::new();
    bench.sits(PDV, "2", 120 * SECOND, true);
    assert!(is_start(&bench.absent()));
    // And at once if somebody wants it.
    let mut bench = Bench::new();
    bench.sits(PDV, "2", Duration::ZERO, true);
    bench.absent();
    assert_eq!(bench.event(Event::RestartAsked), []);
    assert!(is_start(&bench.absent()));
}

#[test]
fn what_dies_is_back_when_its_session_has_been_seen_to_live() {
    let mut bench = Bench::up();
    let died = bench.now;
    assert_eq!(bench.absent(), [], "it may be a logout");
    assert_eq!(bench.machine.alive(), []);
    assert_eq!(bench.waits_for(), Some(Wait::Settling));
    assert_eq!(bench.machine.next_look(), died + SETTLE);
    assert_eq!(bench.after(SECOND).absent(), []);
    let actions = bench.after(SECOND).absent();
    assert!(is_start(&actions));
    let down = Change::Down {
        pid: Some(100),
        cause: Cause::Gone,
        wait: Duration::ZERO,
    };
    assert!(told(&actions).contains(&&down), "{actions:?}");
    let actions = bench.after(SECOND).alive(101, PDV);
    let back = Change::Restarted {
        pid: 101,
        cause: Cause::Gone,
        outage: 3 * SECOND,
        is_at_most: false,
    };
    assert_eq!(actions, [Action::Tell(back)]);
}

#[test]
fn among_others_who_live_on_it_is_back_sooner() {
    let mut bench = Bench::up();
    assert!(bench.machine.asks_for_company());
    assert_eq!(bench.among(&[10, 20]).absent(), []);
    assert_eq!(bench.waits_for(), Some(Wait::Settling));
    assert!(bench.machine.asks_for_company());
    assert_eq!(bench.machine.next_look(), bench.now + QUIET);
    bench.after(Duration::from_millis(499));
    assert_eq!(bench.among(&[10, 20]).absent(), [], "not yet");
    bench.after(Duration::from_millis(1));
    assert!(is_start(&bench.among(&[10, 20, 30]).absent()));
    assert!(!bench.machine.asks_for_company());
}

#[test]
fn if_another_one_has_ended_it_may_be_a_logout() {
    let other = |pid| {
        let id = ProcessId { pid, ..id(pid) };
        BTreeSet::from([
            id,
            ProcessId {
                pid: 20,
                start_time: 2000,
            },
        ])
    };
    for left in [None, Some(BTreeSet::from([id(10)])), Some(other(10))] {
        for at_once in [true, false] {
            let mut bench = Bench::up();
            let died = bench.now;
            bench.among(&[10, 20]).absent();
            bench.company.clone_from(&left);
            if at_once {
                bench.after(Duration::from_millis(1)).absent();
                bench.among(&[10, 20]);
            }
            bench.now = died + QUIET;
            assert_eq!(bench.absent(), [], "{left:?}");
            assert_eq!(bench.machine.next_look(), died + SETTLE);
            bench.now = died + SETTLE;
            assert!(is_start(&bench.absent()), "{left:?}");
        }
    }
}

#[test]
fn what_is_noticed_late_tells_nothing_of_the_others() {
    for (late, wait) in [(100, QUIET), (101, SETTLE)] {
        let mut bench = Bench::up();
        bench.among(&[10]);
        bench.after(Duration::from_millis(late)).absent();
        assert_eq!(bench.machine.next_look(), bench.now + wait, "{late}");
    }
    let mut bench = Bench::up();
    bench.among(&[]).company = None;
    bench.absent();
    assert_eq!(bench.machine.next_look(), bench.now + SETTLE);
}

#[test]
fn its_start_script_may_end_with_it() {
    let mut bench = Bench::new();
    bench.sits(PDV, "2", 600 * SECOND, true);
    let with_script = Alive {
        parent: 20,
        ..running(100, PDV)
    };
    bench.event(looked(Sighting {
        alive: vec![with_script],
        ..Sighting::default()
    }));
    bench.among(&[10, 20]).absent();
    bench.after(QUIET).company = Some(BTreeSet::from([id(10)]));
    assert!(is_start(&bench.absent()));
}

/// How a session has ended.
struct Order {
    how: &'static str,
    ends: Vec<End>,
    /// When logind has said so, in microseconds from the first window's end.
    closes: i64,
}

/// Something in it that ended before logind said so, or after.
struct End {
    at: i64,
    kind: &'static str,
    id: ProcessId,
}

/// As it was seen, on four desktops.
fn orders() -> Vec<Order> {
    let texts = [
        include_str!("../../../tests/fixtures/logout/openbox"),
        include_str!("../../../tests/fixtures/logout/xfce"),
        include_str!("../../../tests/fixtures/logout/mate"),
        include_str!("../../../tests/fixtures/logout/gnome"),
    ];
    let mut orders: Vec<Order> = Vec::new();
    for line in texts.iter().flat_map(|text| text.lines()) {
        if let Some(how) = line.strip_prefix("= ") {
            let ends = Vec::new();
            orders.push(Order {
                how,
                ends,
                closes: 0,
            });
        } else if let Some((at, what)) = line.split_once(' ').filter(|(at, _)| *at != "#") {
            let order = orders.last_mut().unwrap();
            let (whole, tenths) = at.trim_start_matches('-').split_once('.').unwrap();
            let at = if at.starts_with('-') { -1 } else { 1 }
                * (whole.parse::<i64>().unwrap() * 1000 + tenths.parse::<i64>().unwrap() * 100);
            let (kind, _) = what.split_once(' ').unwrap_or((what, ""));
            if kind == "closing" {
                order.closes = at;
            } else {
                let id = id(1000 + i32::try_from(order.ends.len()).unwrap());
                order.ends.push(End { at, kind, id });
            }
        }
    }
    orders
}

impl Order {
    /// Who lives besides this window at this time, and what never ends, as [`crate::session::company`] says it.
    fn company(&self, window: &End, at: i64) -> Option<BTreeSet<ProcessId>> {
        let is_needed = |end: &&End| ["leader", "main"].contains(&end.kind);
        if self.ends.iter().filter(is_needed).any(|end| end.at <= at) {
            return None;
        }
        let living = self.ends.iter().filter(|end| end.at > at);
        let others = living.filter(|end| end.id != window.id);
        Some(others.map(|end| end.id).chain([id(10)]).collect())
    }

    /// What is done and told at a till that is so many times slower, if `window` is the program, and its end
    /// is noticed `late`, in microseconds.
    fn play(&self, window: &End, slower: i64, late: i64) -> Vec<Action> {
        let mut bench = Bench::up();
        let begin = bench.now + SECOND;
        let after = |time: i64| begin + Duration::from_micros(time.try_into().unwrap());
        let closes = (self.closes - window.at) * slower;
        let mut is_closed = false;
        let mut all = Vec::new();
        let mut now = late;
        while now < 5_000_000 {
            bench.now = after(now);
            if !is_closed && closes <= now {
                is_closed = true;
                all.extend(bench.seat(Seat::Nobody));
            }
            bench.watched = Some(begin);
            bench.company = self.company(window, window.at + now / slower);
            all.extend(bench.absent());
            let next = bench.machine.next_look().duration_since(begin);
            now = i64::try_from(next.as_micros()).unwrap().max(now + 1);
            if !is_closed {
                now = now.min(closes.max(late));
            }
        }
        all
    }
}

/// Whichever of the session's windows is the program, and however slow the till is, the others tell as well
/// as the long wait that the session ends.
#[test]
fn at_a_logout_nothing_is_started_and_nothing_is_told_as_an_outage() {
    let mut early = 0;
    let orders = orders();
    assert!(orders.len() >= 30, "{}", orders.len());
    for order in &orders {
        for window in order.ends.iter().filter(|end| end.kind == "window") {
            early += i32::from(order.closes > window.at + 10_000);
            for slower in 1..=15 {
                let closes = (order.closes - window.at) * slower;
                if closes + 100_000 >= 2_000_000 {
                    break;
                }
                for late in [0, 1_000, 30_000, 100_000] {
                    let all = order.play(window, slower, late);
                    let how = (order.how, window.id, slower, late);
                    assert_eq!(all, [waiting(Wait::Login, None)], "{how:?}");
                }
            }
        }
    }
    assert!(early >= 15, "{early}: logind nearly always said so before");
}

#[test]
fn what_somebody_else_brings_back_meanwhile_is_taken_over() {
    let mut bench = Bench::up();
    bench.absent();
    let actions = bench.after(SECOND).alive(101, PDV);
    assert_eq!(
        actions,
        [Action::Tell(Change::Adopted {
            pids: vec![101],
            more: 0
        })]
    );
    assert_eq!(bench.machine.restarts(), 0);
}

#[test]
fn another_user_in_front_is_judged_anew() {
    let mut bench = Bench::up();
    assert_eq!(bench.sits(ANA, "3", 600 * SECOND, true), []);
    assert_eq!(bench.machine.next_look(), bench.now);
    assert_eq!(bench.machine.known(), []);
    assert_eq!(bench.alive(200, ANA), [], "hers runs");
    bench.sits(PDV, "2", 600 * SECOND, true);
    bench.beside(of_another(200, ANA));
    assert_eq!(bench.machine.phase(), Phase::Starting, "his is gone");
    assert_eq!(bench.seat(Seat::Nobody), []);
    assert_eq!(bench.absent(), [waiting(Wait::Login, None)]);
    assert!(bench.machine.memory().absence.is_none());
}

#[test]
fn a_start_that_is_not_possible_yet_is_no_failure() {
    let mut bench = Bench::new();
    bench.sits(PDV, "2", 600 * SECOND, true);
    assert!(is_start(&bench.absent()));
    for attempt in 0..8 {
        bench.event(Event::StartProgramRuns {
            since: 1,
            child: None,
        });
        bench.ends(i32::from(NOT_YET));
        let actions = bench.absent();
        let expected = [waiting(Wait::Session, Some("pdv"))];
        assert_eq!(actions, expected[usize::from(attempt > 0)..], "once");
        assert_eq!(bench.waits_for(), Some(Wait::Session));
        let mut looks = 0;
        while !is_start(&{
            bench.now = bench.machine.next_look();
            bench.absent()
        }) {
            looks += 1;
            assert!(looks < 100, "it is tried again");
        }
    }
    // Another program says what it wants with this status.
    let mut other = Bench::new();
    other.absent();
    other.ends(i32::from(NOT_YET));
    other.absent();
    assert_eq!(other.machine.phase(), Phase::Down);
}

#[test]
fn roots_program_of_ours_is_ended_once_and_the_users_started() {
    let mut bench = Bench::new();
    bench.sits(PDV, "2", 600 * SECOND, true);
    let stray = Stray {
        id: id(50),
        is_roots: true,
    };
    let look = |bench: &mut Bench| {
        bench.event(Event::Strays(vec![stray]));
        bench.beside(of_another(50, 0))
    };
    let actions = look(&mut bench);
    assert!(actions.contains(&Action::Signal(Stop::Terminate, vec![id(50)])));
    let is_impostor = |change: &&Change| matches!(change, Change::Impostor(_));
    assert!(
        !told(&actions).iter().any(is_impostor),
        "it isn't left alone"
    );
    assert_eq!(bench.waits_for(), Some(Wait::Outside));
    assert_eq!(look(&mut bench), [], "once");
    bench.event(Event::Strays(Vec::new()));
    assert!(is_start(&bench.absent()));
}

#[test]
fn roots_program_of_somebody_elses_is_a_misfit() {
    let mut bench = Bench::new();
    bench.sits(PDV, "2", 600 * SECOND, true);
    bench.event(Event::Strays(Vec::new()));
    let actions = bench.beside(of_another(50, 0));
    let expected = Change::Misfit(of_another(50, 0));
    assert!(told(&actions).contains(&&expected));
    assert_eq!(bench.machine.phase(), Phase::Misfit);
    // It is known from then on, and goes on.
    let again = Sighting {
        alive: vec![running(50, 0)],
        changed: vec![of_another(50, 0)],
        ..Sighting::default()
    };
    assert_eq!(bench.after(10 * SECOND).event(looked(again)), []);
    assert_eq!(bench.machine.phase(), Phase::Misfit);
    assert!(is_start(&bench.absent()), "it has ended");
}

#[test]
fn nothing_is_started_beside_roots_program_after_what_was_to_end_has_ended() {
    // A restart on purpose, and what a start has left.
    let replacing = || {
        let mut bench = Bench::up();
        bench.event(Event::RestartAsked);
        assert_eq!(bench.machine.phase(), Phase::Replacing);
        bench
    };
    let mut bench = replacing();
    let actions = bench.beside(of_another(50, 0));
    assert!(!is_start(&actions), "{actions:?}");
    let is_end = |change: &&Change| matches!(change, Change::Killed { .. });
    assert!(told(&actions).iter().any(is_end), "its end is told");
    assert_eq!(bench.machine.phase(), Phase::Misfit);
    assert!(is_start(&bench.absent()), "root's has ended");

    let mut bench = replacing();
    assert!(is_start(&bench.absent()), "nothing is in the way");
}

#[test]
fn roots_program_for_a_moment_makes_no_logout_a_death() {
    let mut bench = Bench::up();
    bench.beside(of_another(50, 0));
    assert_eq!(bench.machine.phase(), Phase::Misfit);
    assert_eq!(bench.absent(), [], "its session may be about to end");
    assert_eq!(bench.machine.next_look(), bench.now + SETTLE);
    assert!(is_start(&bench.after(SETTLE).absent()));
}

#[test]
fn in_a_kiosk_roots_program_counts() {
    let mut bench = Bench::new();
    bench.sits(0, "1", 600 * SECOND, true);
    let adopted = Change::Adopted {
        pids: vec![60],
        more: 0,
    };
    assert_eq!(bench.alive(60, 0), [Action::Tell(adopted)]);
}

#[test]
fn another_users_program_is_told_once_and_left_alone() {
    let mut bench = Bench::up();
    let sighting = Sighting {
        alive: vec![running(100, PDV)],
        impostors: vec![of_another(70, ANA)],
        ..Sighting::default()
    };
    let actions = bench.event(looked(sighting.clone()));
    assert_eq!(
        actions,
        [Action::Tell(Change::Impostor(of_another(70, ANA)))]
    );
    assert_eq!(bench.event(looked(sighting)), []);
    bench.beside(of_another(70, ANA));
    bench.now += SETTLE;
    assert!(is_start(&bench.beside(of_another(70, ANA))));
}

#[test]
fn ours_that_outlives_its_session_is_ended_after_a_while() {
    let mut bench = Bench::up();
    bench.seat(Seat::Nobody);
    let stray = Stray {
        id: id(100),
        is_roots: false,
    };
    let look = |bench: &mut Bench| {
        bench.event(Event::Strays(vec![stray]));
        bench.beside(of_another(100, PDV))
    };
    assert_eq!(look(&mut bench), [waiting(Wait::Login, None)]);
    assert_eq!(bench.machine.next_look(), bench.now + 10 * SECOND);
    assert_eq!(look(bench.after(9 * SECOND)), []);
    let actions = look(bench.after(SECOND));
    assert_eq!(actions[0], Action::Signal(Stop::Terminate, vec![id(100)]));
    assert_eq!(look(bench.after(60 * SECOND)), []);
}

#[test]
fn what_was_remembered_of_another_session_is_forgotten() {
    let memory = Memory {
        alive: vec![id(100)],
        restarts: 7,
        session_uid: Some(PDV),
        ..Memory::default()
    };
    let machine = |uid| {
        let mut bench = Bench::new();
        let begin = bench.now.checked_sub(1000 * SECOND).unwrap();
        bench.machine =
            Machine::new(Policy::default(), begin, begin).remembering(memory.clone(), false);
        bench.sits(uid, "2", 600 * SECOND, true);
        bench.machine
    };
    assert_eq!(machine(PDV).known(), [id(100)]);
    let other = machine(ANA);
    assert_eq!((other.known(), other.memory().restarts), (Vec::new(), 7));
}

#[test]
fn a_program_that_no_longer_belongs_on_the_screen_is_as_any_other() {
    let mut bench = Bench::new();
    bench.seat(Seat::Nobody);
    bench.absent();
    bench.seat(Seat::NotNeeded);
    assert!(is_start(&bench.absent()));
}

#[derive(Debug, Clone)]
enum Step {
    Seat(Option<u32>),
    Unclear,
    Lives(u32),
    Dies,
    Look,
    Ends(i32),
    Passes(u64),
    Restart,
    Others(Option<i32>),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        proptest::option::of(prop_oneof![Just(PDV), Just(ANA), Just(0)]).prop_map(Step::Seat),
        Just(Step::Unclear),
        prop_oneof![Just(PDV), Just(ANA), Just(0)].prop_map(Step::Lives),
        Just(Step::Dies),
        Just(Step::Look),
        prop_oneof![Just(0), Just(1), Just(75)].prop_map(Step::Ends),
        (0..30_000_u64).prop_map(Step::Passes),
        Just(Step::Restart),
        proptest::option::of(0..3_i32).prop_map(Step::Others),
    ]
}

proptest! {
    #[test]
    fn nothing_is_started_without_a_session_nor_at_once_after_a_death(
        steps in proptest::collection::vec(any_step(), 0..60)
    ) {
        let mut bench = Bench::new();
        let mut sitting: Option<u32> = None;
        let mut lives: Option<u32> = None;
        let mut seen_alive = false;
        let mut died: Option<Instant> = None;
        // Who lived besides when it died, as long as they all do.
        let mut others: Option<BTreeSet<ProcessId>> = None;
        bench.seat(Seat::Nobody);
        for (number, step) in steps.into_iter().enumerate() {
            let mut actions = Vec::new();
            match step {
                Step::Seat(uid) => {
                    sitting = uid;
                    (seen_alive, died) = (false, None);
                    actions = match uid {
                        Some(uid) => {
                            bench.sits(uid, &number.to_string(), 600 * SECOND, number % 2 == 0)
                        }
                        None => bench.seat(Seat::Nobody),
                    };
                }
                Step::Unclear => {
                    sitting = None;
                    (seen_alive, died) = (false, None);
                    actions = bench.seat(Seat::Unclear);
                }
                Step::Lives(uid) => lives = Some(uid),
                Step::Dies => lives = None,
                Step::Look => {
                    let is_it = sitting.is_some() && lives == sitting;
                    if seen_alive && !is_it && bench.machine.phase() == Phase::Up {
                        died = Some(bench.now);
                        others.clone_from(&bench.company);
                    }
                    others = others.filter(|others| {
                        bench.company.as_ref().is_some_and(|now| others.is_subset(now))
                    });
                    bench.watched = Some(bench.now);
                    seen_alive = is_it;
                    let pid = 100 + i32::try_from(number).unwrap();
                    actions = match lives {
                        Some(uid) if is_it => bench.alive(pid, uid),
                        Some(uid) => bench.beside(of_another(pid, uid)),
                        None => bench.absent(),
                    };
                }
                Step::Ends(code) => actions = bench.ends(code),
                Step::Passes(time) => bench.now += Duration::from_millis(time),
                Step::Restart => actions = bench.event(Event::RestartAsked),
                Step::Others(most) => {
                    bench.company = most.map(|most| (0..=most).map(id).collect());
                }
            }
            if is_start(&actions) {
                prop_assert!(sitting.is_some(), "nobody is there");
                prop_assert!(sitting == Some(0) || lives != Some(0), "root's is in the way");
                prop_assert!(lives.is_none() || lives != sitting, "a second copy");
                let wait = if others.is_some() { QUIET } else { SETTLE };
                prop_assert!(died.is_none_or(|died| bench.now >= died + wait), "a logout");
                died = None;
            }
            let is_alarm = |change: &&Change| {
                matches!(change, Change::Down { .. } | Change::StartFailed(_) | Change::CrashLoop { .. })
            };
            if sitting.is_none() {
                prop_assert!(!told(&actions).iter().any(is_alarm), "{:?}", actions);
            }
            let is_wait = bench.machine.waits_for().is_some();
            prop_assert_eq!(is_wait, bench.machine.phase() == Phase::Waiting && is_wait);
        }
    }
}

fn left_alone(bench: &Bench) -> Pause {
    Pause {
        until: bench.now + 600 * SECOND,
        reason: None,
    }
}

/// Nobody is at the screen any more.
fn waits(bench: &mut Bench) {
    bench.seat(Seat::Nobody);
    bench.absent();
    reaches(bench, Phase::Waiting);
}

fn reaches(bench: &Bench, phase: Phase) {
    assert_eq!(bench.machine.phase(), phase);
}

/// It dies, and its session goes on.
fn dies(bench: &mut Bench) {
    bench.absent();
    assert_eq!(bench.waits_for(), Some(Wait::Settling));
    bench.after(SETTLE).absent();
}

/// Walks through all that leads to waiting for somebody, and on from there.
pub(in crate::machine) fn wait_in_every_way() {
    wait_after_deaths();
    let mut bench = Bench::new();
    waits(&mut bench);
    bench.seat(Seat::NotNeeded);
    bench.absent();

    let mut bench = Bench::new();
    waits(&mut bench);
    bench.sits(PDV, "2", 600 * SECOND, true);
    bench.alive(100, PDV);
    reaches(&bench, Phase::Up);
    waits(&mut bench);
    bench.sits(PDV, "3", 600 * SECOND, true);
    bench.absent();
    reaches(&bench, Phase::Starting);
    waits(&mut bench);
    bench.sits(PDV, "4", 600 * SECOND, true);
    bench.beside(of_another(50, 0));
    reaches(&bench, Phase::Misfit);
    waits(&mut bench);
    bench.sits(PDV, "5", 600 * SECOND, true);
    let pause = left_alone(&bench);
    bench.event(Event::Pause(pause));
    bench.absent();
    reaches(&bench, Phase::Down);
    waits(&mut bench);
    bench.sits(PDV, "6", 600 * SECOND, true);
    bench.event(Event::Resume);
    bench.event(Event::OthersStarting {
        by: vec!["cron".into()],
        until: bench.now + 60 * SECOND,
    });
    bench.absent();
    reaches(&bench, Phase::Held);
    waits(&mut bench);

    // Asked to be ended while it may be a logout, and it is there again.
    let mut bench = Bench::up();
    bench.absent();
    let pause = left_alone(&bench);
    bench.event(Event::StopAsked(pause));
    bench.alive(101, PDV);
    reaches(&bench, Phase::Replacing);
    waits(&mut bench);
}

fn wait_after_deaths() {
    // It keeps crashing.
    let mut bench = Bench::up();
    for pid in 101.. {
        dies(&mut bench);
        if bench.machine.phase() == Phase::Backoff {
            break;
        }
        reaches(&bench, Phase::Starting);
        bench.alive(pid, PDV);
        assert!(pid < 150, "its next start waits");
    }
    waits(&mut bench);

    // It dies, and its start program still runs.
    let mut bench = Bench::up();
    dies(&mut bench);
    let child = Child {
        pid: 200,
        start_time: 2000,
        uid: 0,
    };
    bench.event(Event::StartProgramRuns {
        since: 2000,
        child: Some(child),
    });
    bench.alive(101, PDV);
    dies(&mut bench);
    reaches(&bench, Phase::Stopping);
    waits(&mut bench);

    // What its start has left in the background never becomes it.
    let mut bench = Bench::up();
    dies(&mut bench);
    reaches(&bench, Phase::Starting);
    bench.ends(0);
    for minute in 0.. {
        let left = Left {
            processes: vec![LeftOver {
                id: id(60),
                comm: "helper".into(),
                exe: None,
                is_start_program: false,
                is_script: true,
                uid: None,
            }],
            can_tell: true,
        };
        let besides = Besides {
            left: Some(left),
            ..Besides::default()
        };
        bench.after(60 * SECOND);
        bench.event(Event::Looked(Sighting::default(), besides));
        if bench.machine.phase() == Phase::Clearing {
            break;
        }
        assert!(minute < 60, "it is ended");
    }
    waits(&mut bench);
}
