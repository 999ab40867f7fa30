//! `cargo bench --bench side_by_side`: mfe-watchdog beside every other watcher, on this machine and
//! in the same run. It prints what it has measured, and nothing else.

mod cost;
mod figures;
mod stage;
mod watchers;

use std::path::Path;
use std::time::{Duration, Instant};

use cost::{Cost, Used};
use figures::{Samples, ratio, show};
use stage::Crowd;
use watchers::{ALL, Peers, Running, Watcher};

/// How old a program is when it is killed. runit, s6 and supervisord make those wait that die
/// within their first second; mfe-watchdog those that die more than three times per interval.
const AGE: Duration = Duration::from_millis(3500);

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    if !has("--bench") {
        // `cargo test --benches` only wants to see that it starts.
        println!("side_by_side measures under `cargo bench` only");
        return Ok(());
    }
    let rounds = if has("--quick") { 10 } else { 60 };
    let directory = tempfile::Builder::new().prefix("mfe-side-by-side-").tempdir_in("/dev/shm")?;
    let standin = stage::compile_standin(directory.path())?;
    let peers = Peers::get(directory.path())?;
    let quick: Vec<Watcher> = ALL.into_iter().filter(|watcher| !watcher.is_slow()).collect();
    let mut crowd = Crowd::default();
    for total in [0, 1000] {
        crowd.fill(total)?;
        let there = procfs::process::all_processes()?.count();
        println!("\nwith {there} processes:");
        outages(&quick, rounds, &peers, &standin, directory.path())?;
    }
    Ok(())
}

fn outages(
    watchers: &[Watcher],
    rounds: usize,
    peers: &Peers,
    standin: &Path,
    directory: &Path,
) -> anyhow::Result<()> {
    let directory = tempfile::tempdir_in(directory)?;
    let mut all = Vec::new();
    for watcher in watchers {
        match Running::start(*watcher, peers, standin, directory.path()) {
            Ok(running) => all.push((running, Samples::default())),
            Err(error) => println!("{}: not measured: {error:#}", watcher.name()),
        }
    }
    for round in 0..rounds {
        all.retain_mut(|(running, samples)| match outage(running, round) {
            Ok(outage) => {
                samples.push(outage);
                true
            }
            Err(error) => {
                println!("{}: not measured: {error:#}", running.watcher.name());
                false
            }
        });
    }
    let ours = all[0].1.median().expect("samples");
    for (running, samples) in &all {
        let (median, p99) = (samples.median().expect("samples"), samples.p99().expect("samples"));
        println!("{:30} median {:>8} p99 {:>8} n {:3} ratio {:.2}", running.watcher.name(), show(median), show(p99), samples.count(), ratio(ours, median));
    }
    let _ = (Instant::now(), Used::by(&[]).is_ok(), Cost::since);
    Ok(())
}

/// Kills one of a watcher's programs, and makes sure that exactly one copy comes back.
fn outage(running: &mut Running, round: usize) -> anyhow::Result<Duration> {
    let patience = running.watcher.patience();
    let program = &mut running.programs[round % 2];
    program.wait_for_age(AGE);
    program.check_alone()?;
    program.outage(patience)
}
