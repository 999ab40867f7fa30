//! `cargo bench --bench side_by_side`: mfe-watchdog beside every other watcher, on this machine and
//! in the same run. It prints what it has measured, and nothing else.
//!
//! `-- --quick` is a smoke run with few repetitions; `-- --plot FILE.svg` draws the outages.

mod cost;
mod figures;
mod janitor;
mod plot;
mod scan;
mod stage;
mod watchers;

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use cost::{Cost, Used};
use figures::{Samples, ratio, show, verdict};
use stage::Crowd;
use watchers::{Peers, QUICK, Running, SLOW, Watcher};

/// The service as most tills have it.
const OURS: Watcher = Watcher::Ours { interval: "10s" };

/// How old a program is at least when it is killed: runit and supervisord make those wait that die
/// within their first second, mfe-watchdog those that die more than three times per interval.
const AGE: Duration = Duration::from_millis(3500);

/// How long nothing has been started before idleness is measured: more than three cycles.
const SETTLE: Duration = Duration::from_secs(45);

/// Fewer processes than this the machine may have by itself.
const FEW: usize = 60;
const MANY: usize = 1000;
const VERY_MANY: usize = 10_000;

/// How often everything is done.
struct Effort {
    rounds: usize,
    slow_rounds: usize,
    idle: Duration,
    starts: usize,
    kills: usize,
    looks: usize,
}

const FULL: Effort = Effort {
    rounds: 40,
    slow_rounds: 4,
    idle: Duration::from_secs(60),
    starts: 30,
    kills: 300,
    looks: 50,
};

const QUICK_EFFORT: Effort = Effort {
    rounds: 6,
    slow_rounds: 1,
    idle: Duration::from_secs(20),
    starts: 5,
    kills: 30,
    looks: 5,
};

/// What every part of the measurement needs.
struct Bench {
    effort: Effort,
    peers: Peers,
    standin: PathBuf,
    directory: PathBuf,
}

/// The outages under one watcher.
struct Outages {
    watcher: Watcher,
    processes: usize,
    samples: Samples,
}

fn main() -> anyhow::Result<ExitCode> {
    if !std::env::args().any(|argument| argument == "--bench") {
        // `cargo test --benches` only wants to see that it starts.
        println!("side_by_side measures under `cargo bench` only");
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(scene) = std::env::var_os(janitor::SCENE) {
        measure(PathBuf::from(scene))?;
        return Ok(ExitCode::SUCCESS);
    }
    // Memory has no disk's moods, and programs in it can be run.
    let memory = Path::new("/dev/shm");
    let temporary = std::env::temp_dir();
    let place = if memory.is_dir() { memory } else { &temporary };
    let scene = tempfile::Builder::new()
        .prefix("mfe-bench-")
        .tempdir_in(place)?;
    janitor::attend(scene.path())
}

/// Measures everything, below `directory`.
fn measure(directory: PathBuf) -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let plot = arguments.iter().position(|argument| argument == "--plot");
    let plot = plot
        .map(|index| arguments.get(index + 1).context("--plot FILE.svg"))
        .transpose()?;
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let bench = Bench {
        effort: if quick { QUICK_EFFORT } else { FULL },
        peers: Peers::get(&directory)?,
        standin: stage::compile_standin(&directory)?,
        directory,
    };
    describe_machine();
    let mut outages = Vec::new();
    let mut crowd = Crowd::default();
    for total in [FEW, MANY] {
        let processes = crowd.fill(total)?;
        outages.extend(bench.quick_outages(processes)?);
        bench.idle(processes, &[&[OURS], QUICK_PEERS_AND_SCRIPT].concat())?;
        bench.burst(processes)?;
        if total == FEW {
            crowd.fill(300)?;
            bench.starts()?;
        } else {
            scan::compare(bench.effort.looks, processes)?;
            outages.extend(bench.slow_outages(processes)?);
        }
    }
    let processes = crowd.fill(VERY_MANY)?;
    bench.idle(processes, &[OURS])?;
    if let Some(file) = plot {
        std::fs::write(file, plot::draw(&outages))?;
    }
    Ok(())
}

/// Those whose idle cost is compared.
const QUICK_PEERS_AND_SCRIPT: &[Watcher] = &[
    Watcher::Runit,
    Watcher::S6,
    Watcher::Supervisord { startsecs: 1 },
    Watcher::Monit { seconds: 1 },
    Watcher::Monit { seconds: 120 },
    Watcher::Restartd { seconds: 20 },
    Watcher::Script,
];

fn describe_machine() {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let models = cpus
        .lines()
        .filter_map(|line| line.strip_prefix("model name"));
    let models: Vec<&str> = models
        .map(|model| model.trim_start_matches([' ', '\t', ':']))
        .collect();
    println!(
        "{}, Linux {}, {} × {}",
        humantime::format_rfc3339_seconds(SystemTime::now()),
        read("/proc/sys/kernel/osrelease").trim(),
        models.len(),
        models.first().unwrap_or(&"a CPU without a name"),
    );
}

impl Bench {
    /// Starts each watcher on programs of its own, below `directory`.
    fn start(&self, watchers: &[Watcher], directory: &Path) -> Vec<Running> {
        let mut all = Vec::new();
        for watcher in watchers {
            match Running::start(*watcher, &self.peers, &self.standin, directory) {
                Ok(running) => all.push(running),
                Err(error) => not_measured(*watcher, &error),
            }
        }
        all
    }

    /// The outages of those who take a second or less, one kill of each in turn.
    fn quick_outages(&self, processes: usize) -> anyhow::Result<Vec<Outages>> {
        let directory = tempfile::tempdir_in(&self.directory)?;
        let mut all = self.start(QUICK, directory.path());
        let mut samples: Vec<Samples> = all.iter().map(|_| Samples::default()).collect();
        let mut failed: Vec<Watcher> = Vec::new();
        for round in 0..self.effort.rounds {
            for (running, samples) in all.iter_mut().zip(&mut samples) {
                if failed.contains(&running.watcher) {
                    continue;
                }
                match outage(running, round) {
                    Ok(outage) => samples.push(outage),
                    Err(error) => {
                        not_measured(running.watcher, &error);
                        failed.push(running.watcher);
                    }
                }
            }
        }
        let outages = all
            .iter()
            .zip(samples)
            .filter(|(running, _)| !failed.contains(&running.watcher));
        let outages = outages.map(|(running, samples)| Outages {
            watcher: running.watcher,
            processes,
            samples,
        });
        let outages: Vec<Outages> = outages.collect();
        print_outages(processes, &outages);
        Ok(outages)
    }

    /// The outages of those who take seconds or minutes, all at the same time.
    fn slow_outages(&self, processes: usize) -> anyhow::Result<Vec<Outages>> {
        let directory = tempfile::tempdir_in(&self.directory)?;
        let all = self.start(SLOW, directory.path());
        let rounds = self.effort.slow_rounds;
        let outages = std::thread::scope(|scope| {
            let each = all.into_iter().map(|mut running| {
                scope.spawn(move || {
                    let mut samples = Samples::default();
                    for round in 0..rounds {
                        match outage(&mut running, round) {
                            Ok(outage) => samples.push(outage),
                            Err(error) => {
                                not_measured(running.watcher, &error);
                                break;
                            }
                        }
                        // Their cycles must not be met at the same point each time.
                        std::thread::sleep(Duration::from_millis(1370 * (1 + round as u64 % 7)));
                    }
                    Outages {
                        watcher: running.watcher,
                        processes,
                        samples,
                    }
                })
            });
            let each: Vec<_> = each.collect();
            each.into_iter()
                .filter_map(|thread| thread.join().ok())
                .collect::<Vec<_>>()
        });
        print_outages(processes, &outages);
        Ok(outages)
    }

    /// What each costs while nothing happens.
    fn idle(&self, processes: usize, watchers: &[Watcher]) -> anyhow::Result<()> {
        println!("\nidle for {:?}, {processes} processes", self.effort.idle);
        println!(
            "{:30} {:>10} {:>10} {:>9} {:>9} {:>7}",
            "", "CPU µs/s", "wake-ups/s", "Pss KiB", "processes", "threads"
        );
        let directory = tempfile::tempdir_in(&self.directory)?;
        let all = self.start(watchers, directory.path());
        // Past the cycles that still have young processes to look at.
        std::thread::sleep(SETTLE);
        let before: Vec<_> = all
            .iter()
            .map(|running| {
                let processes = running.processes();
                (Used::by(&processes), processes)
            })
            .collect();
        std::thread::sleep(self.effort.idle);
        for (running, (before, processes)) in all.iter().zip(&before) {
            let cost = before
                .as_ref()
                .map_err(|error| anyhow::anyhow!("{error:#}"));
            match cost.and_then(|before| Cost::since(before, processes)) {
                Ok(cost) => {
                    println!(
                        "{:30} {:>10.1} {:>10.2} {:>9} {:>9} {:>7}",
                        running.watcher.name(),
                        cost.cpu_us,
                        cost.wakeups,
                        cost.pss_kib,
                        cost.processes,
                        cost.threads
                    );
                    if running.watcher == OURS {
                        verdict("CPU at most 10 µs/s", cost.cpu_us <= 10.0);
                        verdict("one wake-up per cycle of 10 s", cost.wakeups <= 0.11);
                        verdict(
                            "at most 1,500 KiB, one thread",
                            cost.pss_kib <= 1500 && cost.threads == 1,
                        );
                    }
                }
                Err(error) => not_measured(running.watcher, &error),
            }
        }
        Ok(())
    }

    /// From the start of the service to READY=1, both programs being up.
    fn starts(&self) -> anyhow::Result<()> {
        let directory = tempfile::tempdir_in(&self.directory)?;
        let running = Running::start(OURS, &self.peers, &self.standin, directory.path())?;
        let path = directory.path().join("notify");
        let socket = UnixDatagram::bind(&path)?;
        socket.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut samples = Samples::default();
        for _ in 0..self.effort.starts {
            let mut command = Command::new(env!("CARGO_BIN_EXE_mfe-watchdog"));
            command
                .arg("run")
                .arg("--config")
                .arg(running.configuration());
            command
                .arg("--runtime-dir")
                .arg(directory.path().join("second"));
            command
                .env("NOTIFY_SOCKET", &path)
                .stderr(std::process::Stdio::null());
            let begin = Instant::now();
            let mut child = command.spawn()?;
            let mut message = [0; 1024];
            let heard = socket.recv(&mut message);
            let time = begin.elapsed();
            child.kill()?;
            child.wait()?;
            let heard = &message[..heard?];
            anyhow::ensure!(
                heard.starts_with(b"READY=1"),
                "READY=1 isn't the first thing said"
            );
            samples.push(time);
        }
        let median = samples.median().context("samples")?;
        let p99 = samples.p99().context("samples")?;
        println!(
            "\nstart to READY=1, 300 processes: median {}, p99 {}",
            show(median),
            show(p99)
        );
        verdict("at most 10 ms", median <= Duration::from_millis(10));
        Ok(())
    }

    /// One kill per 100 ms, both programs in turn.
    fn burst(&self, processes: usize) -> anyhow::Result<()> {
        let directory = tempfile::tempdir_in(&self.directory)?;
        let watcher = Watcher::Ours { interval: "100ms" };
        let mut running = Running::start(watcher, &self.peers, &self.standin, directory.path())?;
        std::thread::sleep(Duration::from_secs(1));
        let mut samples = Samples::default();
        let begin = Instant::now();
        for kill in 0..self.effort.kills {
            let due = begin + Duration::from_millis(100) * u32::try_from(kill)?;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let program = &mut running.programs[kill % 2];
            program.check_alone()?;
            samples.push(program.outage(watcher.patience())?);
        }
        for program in &mut running.programs {
            program.check_alone()?;
        }
        let median = samples.median().context("samples")?;
        let p99 = samples.p99().context("samples")?;
        println!(
            "\n{} kills, one per 100 ms, {processes} processes: {} restarts, never two copies, median {}, p99 {}",
            self.effort.kills,
            samples.count(),
            show(median),
            show(p99)
        );
        verdict("p99 at most 3 × the median", p99 <= 3 * median);
        Ok(())
    }
}

/// Kills one of a watcher's programs, and makes sure that exactly one copy comes back.
fn outage(running: &mut Running, round: usize) -> anyhow::Result<Duration> {
    let patience = running.watcher.patience();
    let program = &mut running.programs[round % 2];
    program.wait_for_age(AGE);
    program.check_alone()?;
    program.outage(patience)
}

fn not_measured(watcher: Watcher, why: &anyhow::Error) {
    println!("{:30} not measured: {why:#}", watcher.name());
}

fn print_outages(processes: usize, outages: &[Outages]) {
    println!("\noutage from kill -9 to the program's own first instruction, {processes} processes");
    println!(
        "{:30} {:>9} {:>9} {:>6} {:>12}",
        "", "median", "p99", "kills", "ours/theirs"
    );
    let ours = outages.iter().find(|outages| outages.watcher == OURS);
    let ours = ours.and_then(|ours| ours.samples.median());
    for outages in outages {
        let (Some(median), Some(p99)) = (outages.samples.median(), outages.samples.p99()) else {
            continue;
        };
        let ratio = ours.map(|ours| ratio(ours, median));
        println!(
            "{:30} {:>9} {:>9} {:>6} {:>12}",
            outages.watcher.name(),
            show(median),
            show(p99),
            outages.samples.count(),
            ratio.map(|ratio| format!("{ratio:.3}")).unwrap_or_default()
        );
        if let (Watcher::Runit, Some(ratio)) = (outages.watcher, ratio) {
            verdict("no slower than runit", ratio <= 1.0);
        }
    }
}
