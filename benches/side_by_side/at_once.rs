//! How long it takes until many programs are back that have all died in the same moment, beside what the same
//! number of bare starts takes on this machine: the floor.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, ensure};

use crate::figures::{ratio, show, verdict};
use crate::stage::Program;

/// The longest time until all are back, with time to spare.
const PATIENCE: Duration = Duration::from_secs(120);

/// Measures it with `count` programs, which `ours` keeps running.
pub(crate) fn measure(
    count: usize,
    processes: usize,
    ours: &Path,
    directory: &Path,
) -> anyhow::Result<()> {
    let directory = tempfile::tempdir_in(directory)?;
    let mut programs = Vec::new();
    let mut config = String::from("launcher = \"direct\"\nrestart_delay = \"0s\"\n");
    for number in 0..count {
        let name = format!("once-{number}");
        let program = Program::new(Path::new("/"), directory.path(), &name)?;
        let command = program.command();
        config += &format!("[process.p{number}]\nname = \"{name}\"\ncommand = [\"{command}\"]\n");
        programs.push(program);
    }
    let (floor, bare) = bare_starts(&mut programs)?;
    let file = directory.path().join("configuration");
    fs::write(&file, config)?;
    let mut service = Command::new(ours);
    service.arg("run").arg("--config").arg(&file);
    service
        .arg("--runtime-dir")
        .arg(directory.path().join("run"));
    service.env_remove("NOTIFY_SOCKET");
    let mut service = service.stdin(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let outage = all_killed(&mut programs);
    service.kill()?;
    service.wait()?;
    let outage = outage?;
    for mut child in bare {
        // It was killed.
        child.wait()?;
    }
    println!(
        "\n{count} programs dying at once, {processes} processes: the last is back after {}, as many bare \
         starts take {}, ratio {:.2}",
        show(outage),
        show(floor),
        ratio(outage, floor)
    );
    verdict(
        "at most twice as long as bare starts",
        ratio(outage, floor) <= 2.0,
    );
    Ok(())
}

/// Starts each once, and leaves it running: from the first start to the last one's first instruction.
fn bare_starts(programs: &mut [Program]) -> anyhow::Result<(Duration, Vec<Child>)> {
    let begin = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let mut children = Vec::new();
    for program in &*programs {
        let mut command = Command::new(&program.script);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        children.push(command.stderr(Stdio::null()).spawn()?);
    }
    let last = last_start(programs)?;
    Ok((last.saturating_sub(begin), children))
}

/// Kills all of them once the service watches them: from before the first kill to the last one's first
/// instruction. None may be started twice.
fn all_killed(programs: &mut [Program]) -> anyhow::Result<Duration> {
    // Past its first looks, with as many as there are.
    std::thread::sleep(Duration::from_secs(15));
    let pids: Vec<i32> = programs
        .iter()
        .map(|program| Ok(program.last.context("it was started")?.pid))
        .collect::<anyhow::Result<_>>()?;
    let begin = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    for pid in pids {
        nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(pid),
            nix::sys::signal::Signal::SIGKILL,
        )?;
    }
    let last = last_start(programs)?;
    for program in programs {
        program.check_alone()?;
    }
    Ok(last.saturating_sub(begin))
}

/// Waits until each was started; the time of the last one's first instruction.
fn last_start(programs: &mut [Program]) -> anyhow::Result<Duration> {
    let end = Instant::now() + PATIENCE;
    let mut last = Duration::ZERO;
    for program in programs {
        let left = end.saturating_duration_since(Instant::now());
        ensure!(!left.is_zero(), "not all are back in {PATIENCE:?}");
        last = last.max(program.started(left)?.began);
    }
    Ok(last)
}
