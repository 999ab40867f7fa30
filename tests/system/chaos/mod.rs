//! Chaos: for five minutes everything that can go wrong does, at random and side by side, on a
//! machine of its own. What is done follows from a seed ([`mfe_kit::chaos::Plan`]), what is seen is judged by rules
//! ([`mfe_kit::chaos::Oracle`]): never a copy too many, nor a start beside a copy or another start; nobody ended
//! but by chaos; every absence ended by exactly one start; and in the end everything up and nothing left
//! behind.
//!
//! `MFE_CHAOS_SEED` repeats a run, `MFE_CHAOS_SECONDS` makes it shorter or longer.

mod stage;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

use crate::till::{PROGRAMS, Process, Program, SERVICE, Till};
use mfe_kit::chaos::{Blow, Manner, Plan, Step, Which};
use mfe_kit::random;
use mfe_kit::wait_for;

/// A copy is a session here, in which a program lives or is being started.
type Oracle = mfe_kit::chaos::Oracle<i32>;

/// Repeats a run.
const SEED: &str = "MFE_CHAOS_SEED";

/// How long it lasts, in seconds.
const SECONDS: &str = "MFE_CHAOS_SECONDS";
const DEFAULT_SECONDS: u64 = 300;

/// Between two samples of the process table.
const SAMPLE_PAUSE: Duration = Duration::from_millis(5);

/// What a service that has been through a lot may hold more than a new one, in KiB.
const GROWTH_KIB: usize = 2048;

pub(crate) fn chaos(till: &Till) -> Result<()> {
    let seed = random::seed(SEED);
    let seconds = match std::env::var(SECONDS) {
        Ok(seconds) => seconds
            .parse()
            .with_context(|| format!("{SECONDS}={seconds}"))?,
        Err(_) => DEFAULT_SECONDS,
    };
    println!("chaos for {seconds} s; to repeat it: {SEED}={seed}");
    run(till, seed, Duration::from_secs(seconds)).map_err(|error| {
        // In the report of what failed, too.
        error.context(format!("to repeat it: {SEED}={seed} {SECONDS}={seconds}"))
    })
}

fn run(till: &Till, seed: u64, length: Duration) -> Result<()> {
    stage::prepare(till)?;
    till.start()?;
    for program in &PROGRAMS {
        till.wait_up(program)?;
    }
    let fresh = stage::held(till)?;

    let begin = Instant::now();
    let oracle = Mutex::new(Oracle::new());
    let over = AtomicBool::new(false);
    let done = thread::scope(|scope| {
        let watching = scope.spawn(|| sample(till, &oracle, begin, &over));
        let done = storm(till, &oracle, seed, begin, length);
        over.store(true, Ordering::Relaxed);
        let sampled = watching.join().map_err(|_| anyhow!("the sampler panicked"));
        done.and_then(|steps| sampled?.map(|()| steps))
    });
    let oracle = oracle
        .into_inner()
        .map_err(|_| anyhow!("the sampler panicked"))?;
    let steps = done?;
    ensure!(
        oracle.violations().is_empty(),
        "{}",
        oracle.violations().join("\n")
    );
    println!("chaos: {steps} steps, {} samples", oracle.samples());
    aftermath(till, &oracle, &fresh)
}

fn lock(oracle: &Mutex<Oracle>) -> Result<std::sync::MutexGuard<'_, Oracle>> {
    oracle.lock().map_err(|_| anyhow!("the sampler panicked"))
}

fn sample(till: &Till, oracle: &Mutex<Oracle>, begin: Instant, over: &AtomicBool) -> Result<()> {
    while !over.load(Ordering::Relaxed) {
        let copies = stage::copies(till)?;
        lock(oracle)?.sample(begin.elapsed(), copies);
        thread::sleep(SAMPLE_PAUSE);
    }
    Ok(())
}

/// Does what the plan says until time is up, and ends what lasts. Gives the number of steps.
fn storm(
    till: &Till,
    oracle: &Mutex<Oracle>,
    seed: u64,
    begin: Instant,
    length: Duration,
) -> Result<usize> {
    let mut plan = Plan::new(seed);
    let mut steps = 0;
    let mut history = Vec::new();
    let done = (|| {
        while begin.elapsed() < length {
            let (pause, step) = plan.next_step();
            thread::sleep(pause);
            history.push(format!("{:.1?} {step:?}", begin.elapsed()));
            steps += 1;
            match step {
                Step::Begin(trouble) => stage::begin(till, trouble)?,
                Step::End(trouble) => stage::end(till, trouble)?,
                Step::Blow(blow) => strike(till, oracle, blow)?,
            }
            let oracle = lock(oracle)?;
            ensure!(
                oracle.violations().is_empty(),
                "{}",
                oracle.violations().join("\n")
            );
        }
        Ok(steps)
    })();
    // Even after a failure: nobody could say what went wrong otherwise.
    let ended: Result<Vec<()>> = plan
        .left()
        .map(|trouble| stage::end(till, trouble))
        .collect();
    let done = done.and_then(|steps| ended.map(|_| steps));
    done.map_err(|error: anyhow::Error| {
        let last = &history[history.len().saturating_sub(15)..];
        error.context(format!("the last steps:\n{}", last.join("\n")))
    })
}

fn strike(till: &Till, oracle: &Mutex<Oracle>, blow: Blow) -> Result<()> {
    match blow {
        Blow::Kill(which) => end_copy(till, oracle, which),
        Blow::StartBadly(which, manner) => {
            stage::the_copy(till, which)?;
            stage::will_start(till, which, manner)?;
            start_badly(till, oracle, which, manner)
        }
        Blow::Restart(which) => stage::restart_unit(till, which, || {
            lock(oracle)?.will_be_absent(which);
            Ok(())
        }),
        Blow::Reexec(which) => {
            end_copy(till, oracle, which)?;
            stage::reexecute_systemd(till)
        }
        Blow::FreezeSystemd(which, seconds) => {
            let time = Duration::from_secs(seconds);
            // Nobody could start one meanwhile.
            stage::the_copy(till, which)?;
            stage::freeze_systemd(till, time, || end_copy(till, oracle, which))
        }
        Blow::Rename(which) => {
            stage::the_copy(till, which)?;
            lock(oracle)?.will_be_absent(which);
            // It is the program all the same, until it dies.
            let renamed = stage::rename(till, which)?;
            stage::kill_stray(till, renamed)?;
            stage::the_copy(till, which).map(drop)
        }
        Blow::Stop(which) => {
            let process = stage::the_copy(till, which)?;
            stage::stop_for_a_moment(till, process)
        }
        Blow::Duplicate(which) => second_copy(till, oracle, which, false),
        Blow::Zombie(which) => second_copy(till, oracle, which, true),
        Blow::Surplus(which) => surplus_copy(till, oracle, which),
        Blow::Pause(which) => paused(till, oracle, which),
        Blow::Update(which) => {
            stage::the_copy(till, which)?;
            stage::replace_command(till, which, || end_copy(till, oracle, which))
        }
        Blow::CommandAway(which) => {
            stage::the_copy(till, which)?;
            stage::take_command_away(till, which, || {
                end_copy(till, oracle, which)?;
                is_left_down(till, which)
            })
        }
        service => stage::strike_service(till, service),
    }
}

/// Kills the one copy of a program.
fn end_copy(till: &Till, oracle: &Mutex<Oracle>, which: Which) -> Result<()> {
    let process = stage::the_copy(till, which)?;
    lock(oracle)?.will_be_absent(which);
    stage::kill(till, process)
}

/// Kills a program whose next start goes in a special way, and sees to what doesn't end by itself.
fn start_badly(till: &Till, oracle: &Mutex<Oracle>, which: Which, manner: Manner) -> Result<()> {
    if manner == Manner::Vain {
        lock(oracle)?.will_be_in_vain(which);
    }
    if manner == Manner::Twice {
        // The parent waits beside the daemon.
        lock(oracle)?.extra(which, 1);
    }
    let before = stage::the_copy(till, which)?;
    end_copy(till, oracle, which)?;
    stage::left_by(till, which, before)?;
    match manner {
        Manner::Hidden => {
            stage::the_copy(till, which)?;
            stage::is_misfit(till, which)?;
            end_copy(till, oracle, which)
        }
        Manner::Forks => {
            let [parent, child] = stage::family(till, which)?;
            stage::kill(till, parent)?;
            let left = stage::left_by(till, which, parent)?;
            ensure!(left == [child], "the child was not left alone: {left:?}");
            end_copy(till, oracle, which)
        }
        Manner::Twice => {
            let parent = stage::parent_of_a_daemon(till, which, before)?;
            let left = stage::left_by(till, which, parent)?;
            ensure!(left.len() == 1, "the daemon was not left alone: {left:?}");
            lock(oracle)?.extra(which, 0);
            Ok(())
        }
        Manner::OtherCase => {
            let misfit = stage::in_other_case(till, which)?;
            stage::is_misfit(till, which)?;
            lock(oracle)?.will_be_absent(which);
            stage::kill(till, misfit)
        }
        Manner::Lies | Manner::Vain | Manner::Late | Manner::Later => Ok(()),
    }
}

/// A paused program stays down, though the service that was told so is killed, and comes back in the end.
fn paused(till: &Till, oracle: &Mutex<Oracle>, which: Which) -> Result<()> {
    stage::the_copy(till, which)?;
    stage::pause(till, which)?;
    end_copy(till, oracle, which)?;
    if stage::is_remembered(till) {
        stage::strike_service(till, Blow::KillService)?;
    }
    is_left_down(till, which)?;
    stage::resume(till, which)
}

/// Nothing is started for a while.
fn is_left_down(till: &Till, which: Which) -> Result<()> {
    let starts = till.starts(&PROGRAMS[which]);
    thread::sleep(Duration::from_millis(500));
    let now = till.starts(&PROGRAMS[which]);
    ensure!(now == starts, "{} was started", PROGRAMS[which].name);
    Ok(())
}

/// Starts a second copy and ends it again: nothing may come of it.
fn second_copy(till: &Till, oracle: &Mutex<Oracle>, which: Which, zombie: bool) -> Result<()> {
    beside_the_first(till, oracle, which, zombie, |second| {
        thread::sleep(Duration::from_millis(300));
        stage::kill(till, second)
    })
}

/// Starts a second copy for the service to end.
fn surplus_copy(till: &Till, oracle: &Mutex<Oracle>, which: Which) -> Result<()> {
    beside_the_first(till, oracle, which, false, |_| Ok(()))
}

/// Starts a second copy, does something to it and waits until it is gone.
fn beside_the_first(
    till: &Till,
    oracle: &Mutex<Oracle>,
    which: Which,
    zombie: bool,
    then: impl FnOnce(Process) -> Result<()>,
) -> Result<()> {
    let first = stage::the_copy(till, which)?;
    lock(oracle)?.extra(which, 1);
    let second = stage::start_copy(till, &PROGRAMS[which], &[first], zombie)?;
    then(second)?;
    wait_for("the second copy is gone", stage::PATIENCE, || {
        Ok((!till.processes(&PROGRAMS[which])?.contains(&second)).then_some(()))
    })?;
    ensure!(
        till.processes(&PROGRAMS[which])? == [first],
        "the first copy was not left alone"
    );
    lock(oracle)?.extra(which, 0);
    Ok(())
}

/// What the journal says of a program's starts: each at most once, and none that wasn't. That it
/// says all of them can't be asked of a journal that was stopped, nor of a service that was killed
/// before it could tell.
fn told(till: &Till, program: &Program) -> Result<()> {
    let started = stage::started(till, program);
    let mut pids = Vec::new();
    for event in ["up", "restarted"] {
        for message in till.events(Some(program), event)? {
            pids.push(message["MFE_PID"].as_str().unwrap_or_default().to_owned());
        }
    }
    let heard = stage::heard(till, program);
    for told in [&pids, &heard] {
        let mut left = started.clone();
        for pid in told {
            let known = left.iter().position(|started| started == pid);
            let known = known.with_context(|| format!("told of a start that wasn't: pid {pid}"))?;
            left.swap_remove(known);
        }
    }
    println!(
        "chaos: {} started {} times, {} of them told, {} heard by the hook",
        program.name,
        started.len(),
        pids.len(),
        heard.len()
    );
    Ok(())
}

/// After it all: everything up, every start accounted for, nothing left behind.
fn aftermath(till: &Till, oracle: &Oracle, fresh: &stage::Held) -> Result<()> {
    // What is published until then may be the words of one that was killed by the last step.
    stage::ready(till)?;
    for program in &PROGRAMS {
        till.wait_up_for(program, stage::PATIENCE)?;
    }
    till.status_exits(0)?;
    for (which, program) in PROGRAMS.iter().enumerate() {
        let (starts, expected) = (till.starts(program), oracle.starts(which));
        ensure!(
            starts == expected,
            "{} was started {starts} times, not {expected}",
            program.name
        );
        told(till, program)?;
        for killed in till.events(Some(program), "killed")? {
            let cause = &killed["MFE_CAUSE"];
            ensure!(
                cause == "duplicate",
                "it ended what it was not to: {killed}"
            );
        }
        let unhealthy = till.events(Some(program), "unhealthy")?;
        ensure!(unhealthy.is_empty(), "a false alarm: {unhealthy:?}");
    }
    let held = wait_for("the service has come to rest", stage::PATIENCE, || {
        let held = stage::held(till)?;
        Ok((held.children == 0 && held.descriptors <= fresh.descriptors).then_some(held))
    });
    let held = held.with_context(|| format!("at first {fresh:?}, now {:?}", stage::held(till)))?;
    ensure!(
        held.kib <= fresh.kib + GROWTH_KIB,
        "the service has grown: {fresh:?}, {held:?}"
    );
    // The last zombies of chaos itself have parents that live for a while.
    let gone = wait_for("nothing is left behind", stage::PATIENCE, || {
        Ok(stage::left_behind(till)?.is_empty().then_some(()))
    });
    gone.with_context(|| format!("left behind: {:?}", stage::left_behind(till)))?;
    ensure!(till.is_active()?, "{SERVICE} is not active");
    println!("chaos: at first {fresh:?}, at last {held:?}");
    Ok(())
}
