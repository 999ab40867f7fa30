//! Proves the package on real machines of a kind: it builds the .deb, boots Debian 11 to 14, and Debian 12
//! for 32 bits, with systemd in throw-away containers, installs it there with apt and runs the cases. It does not
//! look into the program; what a person, systemd or the journal sees is what counts.

mod cases;
mod chaos;
mod table;
mod till;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, anyhow};
use libtest_mimic::{Arguments, Failed, Trial};
use mfe_kit::package::Packages;
use mfe_kit::trees::{OFFICE, SUITE_I386, SUITE_SCREEN, Trees};
use mfe_kit::{all_must_run, debian, host, janitor};

use cases::{
    CHAOS_CASES, HOST_CASES, HostCase, I386_CASES, OFFICE_CASES, SCREEN_CASES, TILL_CASES,
    TillCase, package,
};
use table::Table;
use till::Till;

/// The version of the package that is tested.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The suites that tills run today or will run, oldest first. Their systemd is 247, 252, 257 and
/// 262.
const SUITES: [&str; 4] = ["bullseye", "bookworm", "trixie", "forky"];

/// The column of the cases that need the package and no container.
const HOST: &str = "package";

/// The column of 32-bit tills, whose package is built for the purpose.
const I386: &str = "i386";

/// The column of tills with a real screen.
const SCREEN: &str = "screen";

/// The column of the office's machine.
const OFFICE_COLUMN: &str = "office";

/// The column of chaos, and the suite it runs on.
const CHAOS: &str = "chaos";
const CHAOS_SUITE: &str = "bookworm";

/// Why they are left out where nobody is root, and what runs everything.
const WHY_ROOT: &str = "they boot containers and so have to be run as root, on Debian";
const AS_ROOT: &str = "sudo -E env \"PATH=$PATH\" cargo test";

fn main() -> ExitCode {
    if janitor::run_if_asked() {
        return ExitCode::SUCCESS;
    }
    let mut arguments = Arguments::from_args();
    let (selection, trials) = Selection::new(&arguments);
    if arguments.list || selection.is_empty() {
        let conclusion = libtest_mimic::run(&arguments, trials);
        if !arguments.list {
            say_what_was_left_out(conclusion.num_ignored);
        }
        return conclusion.exit_code();
    }
    // Each only waits for its outcome, and is shown the moment it has one.
    arguments.test_threads = Some(trials.len());
    run(selection, || {
        libtest_mimic::run(&arguments, trials).exit_code()
    })
    .unwrap_or_else(|error| {
        eprintln!("\nerror: the system tests could not run: {error:#}\n");
        ExitCode::from(101)
    })
}

/// The last lines of `cargo test`, for this is the last that it runs.
fn say_what_was_left_out(cases: u64) {
    let mut parts = mfe_kit::not_run();
    if cases > 0 {
        parts.push(format!("{cases} system tests: {WHY_ROOT}"));
    }
    if parts.is_empty() {
        return;
    }
    println!("Not everything was run:");
    for part in parts {
        println!("  {part}");
    }
    println!("To run that, too, on Debian: {AS_ROOT}\n");
}

/// A case, and who waits for its outcome.
struct Job<C: 'static> {
    case: &'static C,
    outcome: Sender<Result<(), Failed>>,
}

/// A container, and what is to be run in it.
struct Machine {
    /// Its column.
    name: &'static str,
    suite: &'static str,
    jobs: Vec<Job<TillCase>>,
}

/// What the command line asks for.
struct Selection {
    host: Vec<Job<HostCase>>,
    machines: Vec<Machine>,
}

impl Selection {
    /// Gives every case as libtest-mimic has them, too, which says of those that weren't asked for how
    /// many they are.
    fn new(arguments: &Arguments) -> (Self, Vec<Trial>) {
        let mut trials = Vec::new();
        let host = HOST_CASES.iter();
        let host = host
            .filter_map(|case| job(arguments, &mut trials, HOST, case.name, case))
            .collect();
        let suites = SUITES.map(|suite| (suite, suite, TILL_CASES));
        let columns = suites.into_iter().chain([
            (I386, SUITE_I386, I386_CASES),
            (SCREEN, SUITE_SCREEN, SCREEN_CASES),
            (OFFICE_COLUMN, OFFICE, OFFICE_CASES),
            (CHAOS, CHAOS_SUITE, CHAOS_CASES),
        ]);
        let mut machines = Vec::new();
        for (name, suite, cases) in columns {
            let jobs = cases.iter();
            let jobs: Vec<_> = jobs
                .filter_map(|case| job(arguments, &mut trials, name, case.name, case))
                .collect();
            if !jobs.is_empty() {
                machines.push(Machine { name, suite, jobs });
            }
        }
        (Self { host, machines }, trials)
    }

    fn is_empty(&self) -> bool {
        self.host.is_empty() && self.machines.is_empty()
    }
}

/// Adds the trial of a case, and gives the case as a job if it was asked for.
fn job<C>(
    arguments: &Arguments,
    trials: &mut Vec<Trial>,
    column: &str,
    name: &str,
    case: &'static C,
) -> Option<Job<C>> {
    let (outcome, arrives): (_, Receiver<Result<(), Failed>>) = channel();
    let trial = Trial::test(format!("{column}/{name}"), move || {
        arrives
            .recv()
            .unwrap_or_else(|_| Err("it was not run".into()))
    });
    let trial = trial.with_ignored_flag(!all_must_run());
    let is_asked_for = !arguments.is_filtered_out(&trial) && !arguments.is_ignored(&trial);
    trials.push(trial);
    is_asked_for.then_some(Job { case, outcome })
}

/// Runs the selected cases, each machine's one after the other, while `show` shows the outcomes.
fn run(selection: Selection, show: impl FnOnce() -> ExitCode) -> Result<ExitCode> {
    host::require_root(WHY_ROOT)?;
    // First of all, so that whatever comes after is cleaned up after.
    let scene = janitor::Scene::open(&std::env::temp_dir())?;
    host::install_tools()?;
    let Selection { host, machines } = selection;
    let mut suites: Vec<_> = machines.iter().map(|machine| machine.suite).collect();
    suites.sort_unstable();
    suites.dedup();
    let needs_toolchain_tree =
        suites.contains(&SUITE_I386) || host.iter().any(|job| job.case.needs_toolchain_tree);
    let trees = Trees::new()?;
    let (packages, prepared) = thread::scope(|scope| {
        let trees = scope.spawn(|| trees.prepare(&suites, needs_toolchain_tree));
        let packages = Packages::build(&scene, VERSION);
        (
            packages,
            trees
                .join()
                .map_err(|_| anyhow!("preparing the base trees panicked")),
        )
    });
    prepared??;
    let packages = packages.context("the package does not build")?;

    let table = Table::default();
    let code = thread::scope(|scope| {
        let (scene, trees, packages, table) = (&scene, &trees, &packages, &table);
        for machine in machines {
            scope.spawn(move || run_machine(machine, scene, trees, packages, table));
        }
        scope.spawn(move || {
            for Job { case, outcome } in host {
                let started = Instant::now();
                let result = caught(|| (case.run)(scene, trees, packages));
                send(table, &outcome, HOST, case.name, started, &result);
            }
        });
        show()
    });
    table.print();
    scene.close();
    Ok(code)
}

fn run_machine(
    machine: Machine,
    scene: &janitor::Scene,
    trees: &Trees,
    packages: &Packages,
    table: &Table,
) {
    let Machine { name, suite, jobs } = machine;
    let started = Instant::now();
    let till = caught(|| {
        let of_i386 = match name {
            I386 => Some(build_for_i386(scene, trees, packages)?),
            _ => None,
        };
        let packages = of_i386.as_ref().unwrap_or(packages);
        Till::boot(name, scene, &trees.path(suite), packages)
    });
    let till = match till {
        Ok(till) => till,
        Err(error) => {
            for Job { case, outcome } in jobs {
                let error = anyhow!("no machine to run it on: {error:#}");
                send(table, &outcome, name, case.name, started, &Err(error));
            }
            return;
        }
    };
    for Job { case, outcome } in jobs {
        let started = Instant::now();
        let result = caught(|| {
            till.fresh().context("making the machine as new")?;
            (case.run)(&till)
        });
        let result = result.map_err(|error| error.context(till.what_it_says()));
        send(table, &outcome, name, case.name, started, &result);
    }
    if let Err(error) = till.power_off() {
        // Nothing is lost: the scene's end takes the container away.
        eprintln!("{name}: the container did not power off: {error:#}");
    }
}

/// The packages of 32-bit tills.
fn build_for_i386(scene: &janitor::Scene, trees: &Trees, packages: &Packages) -> Result<Packages> {
    let built = debian::build(scene, trees, packages, I386)?;
    package::of_architecture(scene, &built, I386, "ELF32", "Intel 80386")?;
    packages.of(built.deb, scene, I386)
}

fn send(
    table: &Table,
    outcome: &Sender<Result<(), Failed>>,
    column: &'static str,
    case: &'static str,
    started: Instant,
    result: &Result<()>,
) {
    table.add(column, case, started.elapsed(), result.is_ok());
    let result = match result {
        Ok(()) => Ok(()),
        Err(error) => {
            // At once, and so even in a log that has lost its end; all of it comes at the end.
            println!("{column}/{case}: {}", error.root_cause());
            // Innermost last: what the machine says, then what was expected of it.
            let parts: Vec<_> = error.chain().map(ToString::to_string).collect();
            Err(Failed::from(parts.join("\n")))
        }
    };
    // Whoever shows it lives until every sender is gone.
    let _ = outcome.send(result);
}

/// A case that panics has failed; the others go on.
fn caught<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let words = panic.downcast_ref::<String>().map(String::as_str);
        let words = words.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(anyhow!("panicked: {}", words.unwrap_or("no message")))
    })
}
