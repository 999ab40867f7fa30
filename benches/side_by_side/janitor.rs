//! Clears away after the measurement however it ends, Ctrl-C included; it measures nothing.
//!
//! The measurement is a child. Everything it starts carries the scene's path in its environment or
//! in its arguments, and whoever does is ended when the child is.

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::signal::unix::{SignalKind, signal};

/// Tells the child which directory is its scene.
pub(crate) const SCENE: &str = "MFE_BENCH_SCENE";

/// Rounds of ending processes: who is met while he starts another is met again in the next.
const ROUNDS: usize = 20;

/// Runs this program once more, as the measurement in `scene`, and clears away after it.
pub(crate) fn attend(scene: &Path) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let code = runtime.block_on(run(scene));
    for _ in 0..ROUNDS {
        let left = processes_of(scene)?;
        if left.is_empty() {
            break;
        }
        for pid in left {
            // It may have ended by itself meanwhile.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    code
}

async fn run(scene: &Path) -> anyhow::Result<ExitCode> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(std::env::args_os().skip(1)).env(SCENE, scene);
    let mut child = tokio::process::Command::from(command)
        .spawn()
        .context("the measurement can't be started")?;
    let signal = tokio::select! {
        ended = child.wait() => {
            let code = ended?.code().and_then(|code| u8::try_from(code).ok());
            return Ok(code.map_or(ExitCode::FAILURE, ExitCode::from));
        }
        _ = interrupt.recv() => Signal::SIGINT,
        _ = terminate.recv() => Signal::SIGTERM,
        _ = hangup.recv() => Signal::SIGHUP,
    };
    eprintln!("{signal}: clearing away");
    child.kill().await?;
    Ok(ExitCode::from(128 + signal as u8))
}

/// The living processes of the scene.
fn processes_of(scene: &Path) -> anyhow::Result<Vec<i32>> {
    let scene = scene.to_str().context("a temporary directory in UTF-8")?;
    let own = i32::try_from(std::process::id())?;
    let belongs = |process: &procfs::process::Process| {
        let directory = Path::new("/proc").join(process.pid.to_string());
        let mentions = |file: &str| {
            let text = std::fs::read(directory.join(file)).unwrap_or_default();
            String::from_utf8_lossy(&text).contains(scene)
        };
        process.pid != own && (mentions("environ") || mentions("cmdline"))
    };
    let processes = procfs::process::all_processes()?.filter_map(Result::ok);
    Ok(processes
        .filter(belongs)
        .map(|process| process.pid)
        .collect())
}
