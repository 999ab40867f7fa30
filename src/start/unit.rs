//! Has systemd restart or stop a unit of somebody else's through `systemctl`, and learns how that went;
//! the unit's processes are systemd's, never ours.

use std::io;
use std::process::{Output, Stdio};

use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};

use super::job::{Job, exited, failure};
use crate::machine::{StartFailure, StartOutcome};
use crate::sys::child_env;
use crate::sys::exit_status::ExitStatus;
use crate::sys::spawn::not_run;
use crate::text::phrase::Phrase;

/// What is kept of systemctl's message, in bytes.
const MESSAGE_MAX: u64 = 2048;

/// Begins to restart `unit`. `start` wouldn't do: systemd believes that a unit whose start script has
/// ended well is still active.
pub(super) fn restart(unit: &str) -> Result<Job, StartFailure> {
    // A unit of somebody else's may have a start limit, and be over it: then nothing but this makes
    // systemd start it again.
    let (pid, reset) = run(&["reset-failed", unit])?;
    let unit = unit.to_owned();
    Ok(Job::begin(
        pid,
        Box::pin(async move {
            // One that can't be reset can't be restarted either, and then it is said.
            let _ = output_of(reset).await;
            let output = match systemctl(&["restart", &unit]) {
                Ok(child) => output_of(child).await,
                Err(error) => Err(error),
            };
            finished(pid, "restart", &unit, output)
        }),
    ))
}

/// Begins to stop `unit`. Whether that helps is seen in the process table.
pub(super) fn stop(unit: &str) -> Result<Job, StartFailure> {
    let (pid, stop) = run(&["stop", unit])?;
    let unit = unit.to_owned();
    Ok(Job::begin(
        pid,
        Box::pin(async move { finished(pid, "stop", &unit, output_of(stop).await) }),
    ))
}

/// Runs systemctl with `words`. Gives its pid, too.
fn run(words: &[&str]) -> Result<(Option<i32>, Child), StartFailure> {
    let child =
        systemctl(words).map_err(|error| StartFailure::NotRun(not_run("systemctl", &error)))?;
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
    Ok((pid, child))
}

/// What has come of a call of systemctl that was to restart or stop a unit.
fn finished(pid: Option<i32>, verb: &str, unit: &str, output: io::Result<Output>) -> StartOutcome {
    match output {
        Ok(output) if !output.status.success() => {
            let message = String::from_utf8_lossy(&output.stderr);
            let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
            let status = output.status;
            failure(Phrase::of_words(format!(
                "systemctl {verb} {unit}: {status}: {message}"
            )))
        }
        Ok(_) => exited(pid, ExitStatus::Code(0), false),
        Err(error) => failure(Phrase::of_words(format!(
            "systemctl {verb} {unit}: {error}"
        ))),
    }
}

fn systemctl(words: &[&str]) -> io::Result<Child> {
    Command::new("systemctl")
        .args(["--no-ask-password", "--no-pager"])
        .args(words)
        .env_clear()
        .envs(child_env::for_children())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
}

/// Waits for systemctl's end and takes the beginning of what it said.
async fn output_of(mut child: Child) -> io::Result<Output> {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    if let (Some(out), Some(err)) = (child.stdout.take(), child.stderr.take()) {
        let (mut out, mut err) = (out.take(MESSAGE_MAX), err.take(MESSAGE_MAX));
        // What can't be read is missing from the message; the exit status still counts.
        let _ = tokio::join!(out.read_to_end(&mut stdout), err.read_to_end(&mut stderr));
    }
    let status = child.wait().await?;
    Ok(Output {
        status,
        stdout,
        stderr,
    })
}
