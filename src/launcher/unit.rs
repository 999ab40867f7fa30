//! Has systemd restart a unit through `systemctl`, and passes on what systemctl says; the unit's
//! processes are systemd's, never ours.

use std::process::Stdio;

use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use super::environment;
use crate::printable::printable;
use crate::process::ExitStatus;
use crate::supervision::{StartFailure, StartOutcome};

/// What is kept of systemctl's message, in bytes.
const MESSAGE_MAX: u64 = 2048;

/// A `systemctl restart` under way.
#[derive(Debug)]
pub struct Job {
    pid: i32,
    outcome: JoinHandle<StartOutcome>,
}

impl Job {
    /// Begins to restart `unit`. `start` wouldn't do: systemd believes that a unit whose start
    /// script has ended well is still active.
    pub(super) fn restart(unit: &str) -> Result<Self, StartFailure> {
        let child = Command::new("systemctl")
            .args(["--no-ask-password", "--no-pager", "restart", unit])
            .env_clear()
            .envs(environment::for_children())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| StartFailure::NotRun(format!("systemctl can't be run: {error}")))?;
        let pid = child
            .id()
            .and_then(|pid| i32::try_from(pid).ok())
            .unwrap_or_default();
        let outcome = tokio::spawn(finish(child, pid, unit.to_owned()));
        Ok(Self { pid, outcome })
    }

    pub(super) fn pid(&self) -> i32 {
        self.pid
    }

    pub(super) async fn ended(&mut self) -> StartOutcome {
        match (&mut self.outcome).await {
            Ok(outcome) => outcome,
            Err(_) => failure("systemctl was stopped, for it took too long".into()),
        }
    }

    /// Ends systemctl, which has nothing to clean up; a job it has queued is systemd's to finish.
    pub(super) fn stop(&self) {
        self.outcome.abort();
    }
}

async fn finish(mut child: Child, pid: i32, unit: String) -> StartOutcome {
    let mut message = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        // What can't be read is missing from the message; the exit status still counts.
        let _ = stderr.take(MESSAGE_MAX).read_to_end(&mut message).await;
    }
    match child.wait().await {
        Ok(status) if status.success() => StartOutcome::Exited {
            pid,
            status: ExitStatus::Code(0),
            left_running: false,
        },
        Ok(status) => {
            let message = String::from_utf8_lossy(&message);
            let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
            let message = printable(&message);
            failure(format!("systemctl restart {unit}: {status}: {message}"))
        }
        Err(error) => failure(format!("systemctl restart {unit}: {error}")),
    }
}

fn failure(why: String) -> StartOutcome {
    StartOutcome::NotRun(StartFailure::Unit(why))
}
