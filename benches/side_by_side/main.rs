//! `cargo bench --bench side_by_side`: mfe-watchdog beside every other watcher, on this machine and
//! in the same run. It prints what it has measured, and nothing else.
//!
//! What is measured of mfe-watchdog is what the package ships. The watchers run in a PID namespace of
//! their own, so that the machine has as many processes as is said, whatever else runs on it; where
//! systemd has a part, in a container.
//!
//! `-- --quick` is a smoke run with few repetitions; `-- --plot FILE.svg` draws the outages.

mod at_once;
mod cost;
mod figures;
mod outages;
mod plot;
mod scan;
mod stage;
mod strangers;
mod systemd;
mod watchers;

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use cost::{Cost, Used};
use figures::{Samples, show, verdict};
use mfe_kit::package::Packages;
use mfe_kit::{host, janitor};
use outages::{Outages, Rival, not_measured};
use stage::Crowd;
use watchers::{Peers, QUICK, Running, SLOW, Watcher};

/// The service as most tills have it, but for the waits between restarts: it is killed far more often
/// than any program dies.
const OURS: Watcher = Watcher::Ours {
    interval: "10s",
    waits: false,
};

/// The service as all tills have it. There is time for so few kills that none waits.
const DEFAULT: Watcher = Watcher::Ours {
    interval: "10s",
    waits: true,
};

/// How old a program is at least when it is killed: runit and supervisord make those wait that die
/// within their first second.
const AGE: Duration = Duration::from_millis(1500);

/// How long nothing has been started before idleness is measured: more than three cycles.
const SETTLE: Duration = Duration::from_secs(45);

/// What everything takes at most, in seconds.
const PATIENCE: u32 = 2 * 60 * 60;

/// Tells the part in the PID namespace where the scene is.
const SCENE: &str = "MFE_BENCH_SCENE";

const FEW: usize = 60;
const MANY: usize = 1000;
const VERY_MANY: usize = 10_000;

/// So many programs die at once, beside many processes and beside very many.
const AT_ONCE: usize = 100;
const VERY_MANY_AT_ONCE: usize = 1000;

/// What an idle service is to cost at most, in µs of CPU a second, by the number of processes.
const IDLE: [(usize, f64); 3] = [(FEW, 10.0), (MANY, 40.0), (VERY_MANY, 400.0)];

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
    directory: PathBuf,
}

fn main() -> anyhow::Result<ExitCode> {
    if janitor::run_if_asked() {
        return Ok(ExitCode::SUCCESS);
    }
    let words: Vec<String> = std::env::args().skip(1).collect();
    if !words.iter().any(|word| word == "--bench") {
        // `cargo test --benches` only wants to see that it starts.
        println!("side_by_side measures under `cargo bench` only");
        return Ok(ExitCode::SUCCESS);
    }
    let plot = words.iter().position(|word| word == "--plot");
    let plot = plot
        .map(|index| words.get(index + 1).context("--plot FILE.svg"))
        .transpose()?;
    let effort = if words.iter().any(|word| word == "--quick") {
        QUICK_EFFORT
    } else {
        FULL
    };
    match std::env::var_os(SCENE) {
        Some(directory) => measure(effort, plot.map(Path::new), PathBuf::from(directory)),
        None => set_the_scene(&effort, &words),
    }
}

/// Prepares everything, measures where systemd has a part, and has the rest measured in a PID
/// namespace.
fn set_the_scene(effort: &Effort, words: &[String]) -> anyhow::Result<ExitCode> {
    host::require_root(
        "it boots a container and makes a PID namespace, and so has to be run as root, on Debian",
    )?;
    // Memory has no disk's moods, and programs in it can be run.
    let memory = Path::new("/dev/shm");
    let temporary = std::env::temp_dir();
    let scene = janitor::Scene::open(if memory.is_dir() { memory } else { &temporary })?;
    host::install_tools()?;
    let packages = Packages::build(&scene, env!("CARGO_PKG_VERSION"))?;
    let directory = scene.folder("bench")?;
    host::output(
        Command::new("dpkg-deb")
            .arg("--extract")
            .args([&packages.current, &directory.join("package")]),
    )?;
    describe_machine();
    let outages =
        systemd::outages(effort.rounds, &scene, &packages.current).unwrap_or_else(|error| {
            not_measured("with systemd, in a container", &error);
            Vec::new()
        });
    std::fs::write(directory.join("systemd"), Outages::to_text(&outages))?;
    let status = host::bounded(PATIENCE)
        .arg(std::env::current_exe()?)
        .args(words)
        .env(SCENE, &directory)
        .status()?;
    scene.close();
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

/// Measures what takes no systemd, below `directory`.
fn measure(effort: Effort, plot: Option<&Path>, directory: PathBuf) -> anyhow::Result<ExitCode> {
    let bench = Bench {
        effort,
        peers: Peers::get(&directory)?,
        directory,
    };
    let mut outages =
        Outages::from_text(&std::fs::read_to_string(bench.directory.join("systemd"))?);
    let mut crowd = Crowd::default();
    for total in [FEW, MANY] {
        let processes = crowd.fill(total)?;
        outages.extend(bench.quick_outages(processes)?);
        bench.idle(processes, &[&[OURS], QUICK_PEERS_AND_SCRIPT].concat())?;
        bench.burst(processes)?;
        if total == FEW {
            let processes = crowd.fill(300)?;
            bench.starts(processes)?;
        } else {
            scan::compare(bench.effort.looks, processes)?;
            strangers::compare(bench.effort.looks, &bench.peers.ours, &bench.directory)?;
            at_once::measure(AT_ONCE, processes, &bench.peers.ours, &bench.directory)?;
            outages.extend(bench.slow_outages(processes)?);
        }
    }
    let processes = crowd.fill(VERY_MANY)?;
    bench.idle(processes, &[OURS])?;
    at_once::measure(
        VERY_MANY_AT_ONCE,
        processes,
        &bench.peers.ours,
        &bench.directory,
    )?;
    if let Some(file) = plot {
        std::fs::write(file, plot::draw(&outages))?;
    }
    Ok(ExitCode::SUCCESS)
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
            match Running::start(*watcher, &self.peers, directory) {
                Ok(running) => all.push(running),
                Err(error) => not_measured(&watcher.name(), &error),
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
                        not_measured(&running.watcher.name(), &error);
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
            name: running.watcher.name(),
            processes,
            samples,
        });
        let outages: Vec<Outages> = outages.collect();
        let rival = Rival {
            name: Watcher::Runit.name(),
            looks: 1,
        };
        if let Some(ratio) = outages::print(&outages, &OURS.name(), Some(&rival)) {
            let most = if processes < MANY { 0.9 } else { 1.4 };
            let goal = format!("at most {most} times runit's");
            verdict(&goal, ratio <= most);
        }
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
                                not_measured(&running.watcher.name(), &error);
                                break;
                            }
                        }
                        // Their cycles must not be met at the same point each time.
                        std::thread::sleep(Duration::from_millis(1370 * (1 + round as u64 % 7)));
                    }
                    Outages {
                        name: running.watcher.name(),
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
        outages::print(&outages, &DEFAULT.name(), None);
        Ok(outages)
    }

    /// What each costs while nothing happens.
    fn idle(&self, processes: usize, watchers: &[Watcher]) -> anyhow::Result<()> {
        println!("\nidle for {:?}, {processes} processes", self.effort.idle);
        let most = IDLE.iter().find(|(up_to, _)| processes <= *up_to);
        let most = most.map_or(f64::INFINITY, |(_, most)| *most);
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
                        verdict(&format!("CPU at most {most} µs/s"), cost.cpu_us <= most);
                        verdict("one wake-up per cycle of 10 s", cost.wakeups <= 0.11);
                        verdict(
                            "at most 2,000 KiB, one thread",
                            cost.pss_kib <= 2000 && cost.threads == 1,
                        );
                    }
                }
                Err(error) => not_measured(&running.watcher.name(), &error),
            }
        }
        Ok(())
    }

    /// From the start of the service to READY=1, both programs being up.
    fn starts(&self, processes: usize) -> anyhow::Result<()> {
        let directory = tempfile::tempdir_in(&self.directory)?;
        let running = Running::start(OURS, &self.peers, directory.path())?;
        let path = directory.path().join("notify");
        let socket = UnixDatagram::bind(&path)?;
        socket.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut samples = Samples::default();
        for _ in 0..self.effort.starts {
            let mut command = Command::new(&self.peers.ours);
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
            "\nstart to READY=1, {processes} processes: median {}, p99 {}",
            show(median),
            show(p99)
        );
        verdict("at most 2 ms", median <= Duration::from_millis(2));
        Ok(())
    }

    /// One kill per 100 ms, both programs in turn.
    fn burst(&self, processes: usize) -> anyhow::Result<()> {
        let directory = tempfile::tempdir_in(&self.directory)?;
        let watcher = Watcher::Ours {
            interval: "100ms",
            waits: false,
        };
        let mut running = Running::start(watcher, &self.peers, directory.path())?;
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
