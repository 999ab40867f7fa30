//! How much later a program is started where somebody else runs many processes of its name, with `exe` and
//! `user` set: `mfe-watchdog exec KEY` with them and without, in the same run.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::figures::{Samples, ratio, show, verdict};

const NAME: &str = "bench-stranger";
const STRANGERS: usize = 900;

/// Whose they are: nobody's.
const USER: u32 = 65_534;

/// Each takes the name, and ends with the bench, which holds the other end of its input.
const STRANGER: &str = "printf %s bench-stranger > /proc/$$/comm; read line";

pub(crate) fn compare(rounds: usize, ours: &Path, directory: &Path) -> anyhow::Result<()> {
    let directory = tempfile::tempdir_in(directory)?;
    let config = directory.path().join("config.toml");
    let section = format!(
        "[process.stranger]\nname = \"{NAME}\"\ncommand = [\"/bin/true\"]\n\
         exe = \"/bin/true\"\nuser = \"root\"\n"
    );
    fs::write(&config, section)?;
    let start = || {
        let mut command = Command::new(ours);
        command.args(["exec", "stranger"]);
        command.arg("--config").arg(&config);
        command.arg("--runtime-dir").arg(directory.path());
        command
    };
    let without = time(rounds, &start)?;
    let (input, end) = UnixStream::pair()?;
    let mut strangers = Vec::new();
    for _ in 0..STRANGERS {
        strangers.push(stranger(&input)?);
    }
    wait_named(strangers.last().context("strangers")?)?;
    let with = time(rounds, &start);
    drop(end);
    for stranger in &mut strangers {
        stranger.wait()?;
    }
    let with = with?;
    println!(
        "\na start beside {STRANGERS} strangers of the name: {}, without them {}, ratio {:.2}",
        show(with),
        show(without),
        ratio(with, without)
    );
    verdict(
        "at most 20 ms later",
        with.saturating_sub(without) <= Duration::from_millis(20),
    );
    Ok(())
}

/// The median of some starts.
fn time(rounds: usize, start: &dyn Fn() -> Command) -> anyhow::Result<Duration> {
    let mut samples = Samples::default();
    for _ in 0..rounds {
        let begin = Instant::now();
        let status = start().status()?;
        samples.push(begin.elapsed());
        ensure!(status.success(), "exec: {status}");
    }
    samples.median().context("samples")
}

fn stranger(input: &UnixStream) -> anyhow::Result<Child> {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", STRANGER]).uid(USER);
    Ok(command
        .stdin(Stdio::from(OwnedFd::from(input.try_clone()?)))
        .spawn()?)
}

/// Waits until a stranger has its name; the others were there before it.
fn wait_named(stranger: &Child) -> anyhow::Result<()> {
    let comm = format!("/proc/{}/comm", stranger.id());
    let end = Instant::now() + Duration::from_secs(30);
    while fs::read_to_string(&comm)?.trim_end() != NAME {
        ensure!(Instant::now() < end, "a stranger doesn't take the name");
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
