//! Proves the package on real machines of a kind: it builds the .deb, boots Debian 11 to 14 with
//! systemd in throw-away containers, installs it there with apt and runs the cases. It does not
//! look into the program; what a person, systemd or the journal sees is what counts.

mod arguments;
mod cases;
mod chaos;
mod container;
mod host;
mod janitor;
mod mirror;
mod package;
mod report;
mod till;
mod trees;
mod wait;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, anyhow};

use arguments::Arguments;
use cases::{CHAOS_CASES, HOST_CASES, HostCase, TILL_CASES, TillCase};
use package::Packages;
use report::{Outcome, Report};
use till::Till;
use trees::Trees;

/// The suites that tills run today or will run, oldest first. Their systemd is 247, 252, 257 and
/// 262.
const SUITES: [&str; 4] = ["bullseye", "bookworm", "trixie", "forky"];

/// The column of the cases that need the package and no container.
const HOST: &str = "package";

/// The column of chaos, and the suite it runs on.
const CHAOS: &str = "chaos";
const CHAOS_SUITE: &str = "bookworm";

/// What is said to whoever isn't root.
const WITHOUT_ROOT: &str = "they boot containers and so have to be run as root, on Debian: \
    `sudo -E env \"PATH=$PATH\" cargo test --test system`. \
    Everything else runs without privileges: `cargo test --lib --bins --examples` \
    and `cargo test --test NAME`";

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1).peekable();
    if words.next_if_eq(janitor::ARGUMENT).is_some() {
        janitor::wait_and_clean(words);
        return ExitCode::SUCCESS;
    }
    let arguments = match Arguments::parse(words) {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("error: {error:#}");
            return ExitCode::from(2);
        }
    };
    let selection = Selection::new(&arguments);
    if arguments.list {
        selection.list();
        return ExitCode::SUCCESS;
    }
    let mut report = Report::begin(selection.count(), selection.left_out());
    if selection.count() > 0 {
        if let Err(error) = run(&selection, &mut report) {
            eprintln!("\nerror: the system tests could not run: {error:#}\n");
            report.abort();
        }
    }
    report.finish()
}

/// A container, and what is to be run in it.
struct Machine {
    /// Its column.
    name: &'static str,
    suite: &'static str,
    cases: Vec<&'static TillCase>,
}

impl Machine {
    fn new(
        arguments: &Arguments,
        name: &'static str,
        suite: &'static str,
        cases: &'static [TillCase],
    ) -> Self {
        let selected = |case: &&TillCase| arguments.selects(&self::name(name, case.name));
        Self {
            name,
            suite,
            cases: cases.iter().filter(selected).collect(),
        }
    }
}

/// What the command line asks for.
struct Selection {
    host: Vec<&'static HostCase>,
    machines: Vec<Machine>,
    all: usize,
}

impl Selection {
    fn new(arguments: &Arguments) -> Self {
        let host = HOST_CASES
            .iter()
            .filter(|case| arguments.selects(&name(HOST, case.name)))
            .collect();
        let suites = SUITES.map(|suite| Machine::new(arguments, suite, suite, TILL_CASES));
        let chaos = Machine::new(arguments, CHAOS, CHAOS_SUITE, CHAOS_CASES);
        let machines = suites.into_iter().chain([chaos]);
        Self {
            host,
            machines: machines
                .filter(|machine| !machine.cases.is_empty())
                .collect(),
            all: HOST_CASES.len() + SUITES.len() * TILL_CASES.len() + CHAOS_CASES.len(),
        }
    }

    fn count(&self) -> usize {
        let cases = self.machines.iter().map(|machine| machine.cases.len());
        self.host.len() + cases.sum::<usize>()
    }

    fn left_out(&self) -> usize {
        self.all - self.count()
    }

    fn list(&self) {
        for case in &self.host {
            println!("{}: test", name(HOST, case.name));
        }
        for machine in &self.machines {
            for case in &machine.cases {
                println!("{}: test", name(machine.name, case.name));
            }
        }
        println!("\n{} tests, 0 benchmarks", self.count());
    }
}

fn name(suite: &str, case: &str) -> String {
    format!("{suite}/{case}")
}

fn run(selection: &Selection, report: &mut Report) -> Result<()> {
    host::require_root(WITHOUT_ROOT)?;
    // First of all, so that whatever comes after is cleaned up after.
    let scene = janitor::Scene::open(&std::env::temp_dir())?;
    host::install_tools()?;
    let mut suites: Vec<_> = selection
        .machines
        .iter()
        .map(|machine| machine.suite)
        .collect();
    suites.sort_unstable();
    suites.dedup();
    let needs_toolchain_tree = selection.host.iter().any(|case| case.needs_toolchain_tree);
    let trees = Trees::new()?;
    let (packages, prepared) = thread::scope(|scope| {
        let trees = scope.spawn(|| trees.prepare(&suites, needs_toolchain_tree));
        let packages = Packages::build(&scene);
        (
            packages,
            trees
                .join()
                .map_err(|_| anyhow!("preparing the base trees panicked")),
        )
    });
    prepared??;
    let packages = packages.context("the package does not build")?;

    let (outcomes, arrived) = channel();
    thread::scope(|scope| {
        for machine in &selection.machines {
            let (outcomes, scene, trees, packages) = (outcomes.clone(), &scene, &trees, &packages);
            scope.spawn(move || run_machine(machine, scene, trees, packages, &outcomes));
        }
        let (outcomes, scene, trees, packages) = (outcomes, &scene, &trees, &packages);
        scope.spawn(move || {
            for case in &selection.host {
                let started = Instant::now();
                let result = caught(|| (case.run)(scene, trees, packages));
                send(&outcomes, HOST, case.name, started, result);
            }
        });
        for outcome in arrived {
            report.add(outcome);
        }
    });
    scene.close();
    Ok(())
}

fn run_machine(
    machine: &Machine,
    scene: &janitor::Scene,
    trees: &Trees,
    packages: &Packages,
    outcomes: &Sender<Outcome>,
) {
    let Machine { name, suite, cases } = machine;
    let started = Instant::now();
    let till = caught(|| Till::boot(name, scene, &trees.path(suite), packages));
    let till = match till {
        Ok(till) => till,
        Err(error) => {
            for case in cases {
                let error = anyhow!("no machine to run it on: {error:#}");
                send(outcomes, name, case.name, started, Err(error));
            }
            return;
        }
    };
    for case in cases {
        let started = Instant::now();
        let result = caught(|| {
            till.fresh().context("making the machine as new")?;
            (case.run)(&till)
        });
        let result = result.map_err(|error| error.context(till.what_it_says()));
        send(outcomes, name, case.name, started, result);
    }
    if let Err(error) = till.power_off() {
        // Nothing is lost: the scene's end takes the container away.
        eprintln!("{name}: the container did not power off: {error:#}");
    }
}

fn send(
    outcomes: &Sender<Outcome>,
    suite: &'static str,
    case: &'static str,
    started: Instant,
    result: Result<()>,
) {
    let outcome = Outcome {
        suite,
        case,
        took: started.elapsed(),
        result,
    };
    // The receiver lives until every sender is gone.
    let _ = outcomes.send(outcome);
}

/// A case that panics has failed; the others go on.
fn caught<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let words = panic.downcast_ref::<String>().map(String::as_str);
        let words = words.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(anyhow!("panicked: {}", words.unwrap_or("no message")))
    })
}
