//! Has systemd restart a unit through `systemctl`, and learns how that went; the unit's processes
//! are systemd's, never ours.

use std::io;
use std::process::{Output, Stdio};
use std::sync::Arc;

use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::environment;
use crate::phrase::{Phrase, phrase};
use crate::process::{ExitStatus, exit_of};
use crate::spawn::not_run;
use crate::supervision::{StartFailure, StartOutcome};

/// What is kept of systemctl's message, in bytes.
const MESSAGE_MAX: u64 = 2048;

/// A unit's restart, or stop, under way.
#[derive(Debug)]
pub struct Job {
    pid: i32,
    let_go: Arc<Notify>,
    outcome: JoinHandle<StartOutcome>,
}

impl Job {
    /// Begins to restart `unit`. `start` wouldn't do: systemd believes that a unit whose start
    /// script has ended well is still active.
    pub(super) fn restart(unit: &str) -> Result<Self, StartFailure> {
        Self::restart_unit(unit, false)
    }

    /// The same for a unit whose start tells nothing (Type=simple): the job goes on until the
    /// unit's main process, the start script, has ended, and tells how.
    pub(super) fn restart_and_follow(unit: &str) -> Result<Self, StartFailure> {
        Self::restart_unit(unit, true)
    }

    /// Begins to stop `unit`. Whether that helps is seen in the process table.
    pub(super) fn stop(unit: &str) -> Result<Self, StartFailure> {
        let name = unit.to_owned();
        Self::begin(&["stop", unit], |pid, output| async move {
            finished(pid, "stop", &name, output)
        })
    }

    fn restart_unit(unit: &str, follow: bool) -> Result<Self, StartFailure> {
        // A unit of somebody else's may have a start limit, and be over it: then nothing but
        // this makes systemd start it again. Our own template has none.
        let first = if follow { "restart" } else { "reset-failed" };
        let name = unit.to_owned();
        Self::begin(&[first, unit], move |pid, mut output| async move {
            if !follow {
                // One that can't be reset can't be restarted either, and then it is said.
                output = match systemctl(&["restart", &name]) {
                    Ok(child) => output_of(child).await,
                    Err(error) => Err(error),
                };
            }
            match finished(pid, "restart", &name, output) {
                StartOutcome::Exited { .. } if follow => follow_main_process(&name).await,
                outcome => outcome,
            }
        })
    }

    /// Runs systemctl with `words`, then what follows from its output.
    fn begin<F>(
        words: &[&str],
        then: impl FnOnce(i32, io::Result<Output>) -> F + Send + 'static,
    ) -> Result<Self, StartFailure>
    where
        F: Future<Output = StartOutcome> + Send,
    {
        let child =
            systemctl(words).map_err(|error| StartFailure::NotRun(not_run("systemctl", &error)))?;
        let pid = pid_of(&child);
        let let_go = Arc::new(Notify::new());
        let released = let_go.clone();
        let work = async move { then(pid, output_of(child).await).await };
        let outcome = tokio::spawn(async move {
            tokio::select! {
                biased;
                () = released.notified() => exited(pid, ExitStatus::Code(0), true),
                outcome = work => outcome,
            }
        });
        Ok(Self {
            pid,
            let_go,
            outcome,
        })
    }

    pub(super) fn pid(&self) -> i32 {
        self.pid
    }

    pub(super) async fn ended(&mut self) -> StartOutcome {
        match (&mut self.outcome).await {
            Ok(outcome) => outcome,
            Err(error) => failure(phrase!(
                "waiting for systemctl: %{error}",
                error = error.to_string()
            )),
        }
    }

    /// Ends the job here. systemctl, if it is still waiting, has nothing to clean up, and a job
    /// that it has queued is systemd's to finish.
    pub(super) fn let_go(&self) {
        self.let_go.notify_one();
    }
}

/// What has come of a call of systemctl that was to restart or stop a unit.
fn finished(pid: i32, verb: &str, unit: &str, output: io::Result<Output>) -> StartOutcome {
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

/// Waits until the unit's main process has ended, and says how.
async fn follow_main_process(unit: &str) -> StartOutcome {
    loop {
        let properties = match Properties::of(unit).await {
            Ok(properties) => properties,
            Err(error) => {
                let why = format!("systemctl show {unit}: {error}");
                return failure(Phrase::of_words(why));
            }
        };
        match properties.number("MainPID") {
            Some(pid) if pid > 0 => exit_of(pid).await,
            _ => return properties.outcome(),
        }
    }
}

/// What `systemctl show` says of a unit.
struct Properties(String);

impl Properties {
    /// Asks systemd.
    async fn of(unit: &str) -> io::Result<Self> {
        const NAMES: &str = "MainPID,ExecMainPID,ExecMainCode,ExecMainStatus,TasksCurrent";
        let output = output_of(systemctl(&["show", "--property", NAMES, unit])?).await?;
        Ok(Self(String::from_utf8_lossy(&output.stdout).into_owned()))
    }

    fn get(&self, name: &str) -> Option<&str> {
        let mut lines = self.0.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
    }

    fn number(&self, name: &str) -> Option<i32> {
        self.get(name)?.parse().ok()
    }

    /// How the main process, which is gone, has ended.
    fn outcome(&self) -> StartOutcome {
        let number = self.number("ExecMainStatus").unwrap_or_default();
        let status = match self.number("ExecMainCode") {
            Some(nix::libc::CLD_KILLED | nix::libc::CLD_DUMPED) => ExitStatus::Signal(number),
            _ => ExitStatus::Code(number),
        };
        let pid = self.number("ExecMainPID").unwrap_or_default();
        // Where systemd doesn't count it says something that is no such number.
        let left_running = self.number("TasksCurrent").is_some_and(|tasks| tasks > 0);
        exited(pid, status, left_running)
    }
}

fn systemctl(words: &[&str]) -> io::Result<Child> {
    Command::new("systemctl")
        .args(["--no-ask-password", "--no-pager"])
        .args(words)
        .env_clear()
        .envs(environment::for_children())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
}

fn pid_of(child: &Child) -> i32 {
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
    pid.unwrap_or_default()
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

fn exited(pid: i32, status: ExitStatus, left_running: bool) -> StartOutcome {
    StartOutcome::Exited {
        pid,
        status,
        left_running,
    }
}

fn failure(why: Phrase) -> StartOutcome {
    StartOutcome::NotRun(StartFailure::Unit(why))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn outcome(text: &str) -> StartOutcome {
        Properties(text.to_owned()).outcome()
    }

    #[test]
    fn how_the_start_script_ended_is_read_from_the_unit() {
        let failed = "MainPID=0\nExecMainPID=42\nExecMainCode=1\n\
            ExecMainStatus=7\nTasksCurrent=0\n";
        assert_eq!(outcome(failed), exited(42, ExitStatus::Code(7), false));
        let killed = "MainPID=0\nExecMainPID=42\nExecMainCode=2\nExecMainStatus=9\n\
            TasksCurrent=[not set]\n";
        assert_eq!(outcome(killed), exited(42, ExitStatus::Signal(9), false));
        let forked = "MainPID=0\nExecMainPID=42\nExecMainCode=1\nExecMainStatus=0\n\
            TasksCurrent=2\n";
        assert_eq!(outcome(forked), exited(42, ExitStatus::Code(0), true));
    }

    proptest! {
        #[test]
        fn nothing_that_systemctl_says_makes_it_panic(text in "(ExecMain|Main|Tasks|Code|PID|=|\n|-|[0-9é])*") {
            let _ = outcome(&text);
        }
    }

    #[test]
    fn a_property_is_found_by_its_whole_name() {
        let properties =
            Properties("ExecMainPID=42\nMainPID=0\nTasksCurrent=18446744073709551615\n".into());
        assert_eq!(properties.number("MainPID"), Some(0));
        assert_eq!(properties.number("TasksCurrent"), None);
        assert_eq!(properties.number("ControlPID"), None);
    }
}
