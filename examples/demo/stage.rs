//! Where the story plays: a temporary directory with stand-ins, start scripts and a configuration,
//! and the service at work in it. It knows how to clear all of that away; it tells no story.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use mfe_kit::{STANDIN, starts, starts_file};
use mfe_watchdog::status::{ProcessStatus, Status};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpid};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{sleep, timeout};

use crate::narrator::{Narrator, ServiceLine};

/// The name under which the demo's program plays the service.
pub(crate) const SERVICE: &str = "mfe-watchdog";

/// The names of the vendor's programs, which the stand-in has here.
pub(crate) const COMUNICADOR: &str = "Comunicador";
pub(crate) const MONITOR: &str = "Monitor";

/// Longer than the configured interval, which passes once where the kernel has no pidfds.
const DEADLINE: Duration = Duration::from_secs(8);

/// The pause between two looks at something awaited.
const POLL: Duration = Duration::from_millis(1);

/// Stays: the process that was started becomes the program.
const SCRIPT_THAT_STAYS: &str = r#"#!/bin/sh
exec "${0%/*}/Monitor" "${0%/*}"
"#;

/// Ends at once, and leaves the program behind with nobody as its parent.
const SCRIPT_THAT_FORKS: &str = r#"#!/bin/sh
"${0%/*}/Comunicador" "${0%/*}" &
"#;

/// Everything that must be cleared away in the end.
pub(crate) struct Stage {
    directory: TempDir,
    service: Option<Service>,
}

struct Service {
    child: Child,
    lines: Lines<BufReader<ChildStderr>>,
}

impl Stage {
    pub(crate) fn build() -> anyhow::Result<Self> {
        // Whatever outlives its parent here becomes the demo's own child, never a stranger's: so
        // the demo can find it, signal nobody else, and reap it.
        nix::sys::prctl::set_child_subreaper(true).context("children can't be collected")?;
        // Replaces what the demo may have inherited: where SIGCHLD is ignored, the kernel leaves no
        // zombies (sigaction(2)), and one is part of the story.
        let _ = signal(SignalKind::child()).context("signals can't be received")?;
        let directory = tempfile::Builder::new()
            .prefix("mfe-demo.")
            .tempdir()
            .context("there is no place for a temporary directory")?;
        let stage = Self {
            directory,
            service: None,
        };
        let built = stage.furnish();
        built.with_context(|| format!("{} can't be prepared", stage.path().display()))?;
        Ok(stage)
    }

    fn furnish(&self) -> anyhow::Result<()> {
        symlink(std::env::current_exe()?, self.path().join(SERVICE))?;
        for name in [COMUNICADOR, MONITOR] {
            symlink(STANDIN, self.path().join(name))?;
        }
        let comunicador = self.script("runcco-ser.sh", SCRIPT_THAT_FORKS)?;
        let monitor = self.script("runcco-mon.sh", SCRIPT_THAT_STAYS)?;
        let config = format!(
            "interval = \"5s\"\n\
             [process.comunicador]\nname = \"{COMUNICADOR}\"\ncommand = [{comunicador}]\n\
             [process.monitor]\nname = \"{MONITOR}\"\ncommand = [{monitor}]\n"
        );
        fs::write(self.config(), config)?;
        Ok(())
    }

    /// Writes a start script; gives its path as TOML has it.
    fn script(&self, name: &str, text: &str) -> anyhow::Result<toml::Value> {
        let path = self.path().join(name);
        fs::write(&path, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        let path = path.to_str().context("its path is no text")?;
        Ok(toml::Value::from(path))
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    fn config(&self) -> PathBuf {
        self.path().join("config.toml")
    }

    fn runtime_dir(&self) -> PathBuf {
        self.path().join("run")
    }

    /// The service's program, run in an environment that nobody else has prepared.
    fn service_command(&self) -> Command {
        let mut command = Command::new(self.path().join(SERVICE));
        command
            .env_clear()
            .stdin(Stdio::null())
            // Ctrl-C at the terminal is for the demo alone, which then clears away in order.
            .process_group(0)
            .arg("--runtime-dir")
            .arg(self.runtime_dir());
        command
    }

    pub(crate) fn start_service(&mut self) -> anyhow::Result<()> {
        let mut child = self
            .service_command()
            .arg("run")
            .arg("--config")
            .arg(self.config())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("the service can't be run")?;
        let stderr = child.stderr.take().context("the service has no stderr")?;
        let lines = BufReader::new(stderr).lines();
        self.service = Some(Service { child, lines });
        Ok(())
    }

    /// Repeats what the service says until it has told of each of these events.
    pub(crate) async fn service_tells(
        &mut self,
        narrator: &Narrator,
        events: &[(&str, &str)],
    ) -> anyhow::Result<()> {
        let service = self.service.as_mut().context("no service was started")?;
        let mut awaited = events.to_vec();
        within("the service's message", async {
            while !awaited.is_empty() {
                let line = service.lines.next_line().await?;
                let line = ServiceLine::new(line.context("the service has ended by itself")?);
                narrator.repeat(&line)?;
                awaited.retain(|(event, key)| !line.tells(event, key));
                ensure!(
                    !events
                        .iter()
                        .any(|(_, key)| line.tells("start_failed", key)),
                    "the service can't start a stand-in. If temporary files can't be executed \
                     here (a file system mounted noexec), set TMPDIR to a directory where they can"
                );
            }
            Ok(())
        })
        .await
    }

    /// Waits until the service has published that a process is up again after so many restarts.
    pub(crate) async fn published(
        &self,
        name: &str,
        restarts: u64,
    ) -> anyhow::Result<ProcessStatus> {
        within("the service's status", async {
            loop {
                let status = Status::read(&self.runtime_dir())?;
                let processes = status.map(|status| status.processes).unwrap_or_default();
                let found = processes.into_iter().find(|process| process.name == name);
                if let Some(process) = found.filter(|process| process.restarts == restarts) {
                    return Ok(Arc::unwrap_or_clone(process));
                }
                sleep(POLL).await;
            }
        })
        .await
    }

    /// What `mfe-watchdog status` prints, line by line.
    pub(crate) async fn status(&self) -> anyhow::Result<String> {
        let output = self.service_command().arg("status").output();
        let output = within("the status command", async { Ok(output.await?) }).await?;
        ensure!(
            output.status.success(),
            "`mfe-watchdog status` says that not all is up"
        );
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Stops the service, if it runs, and repeats its last words.
    pub(crate) async fn stop_service(
        &mut self,
        narrator: &Narrator,
    ) -> anyhow::Result<Option<ExitStatus>> {
        match self.service.take() {
            Some(service) => service.stop(narrator).await.map(Some),
            None => Ok(None),
        }
    }

    /// Starts a stand-in as somebody other than the service, and waits until it runs. Its parent
    /// is the demo, which doesn't reap it before the end.
    pub(crate) async fn start_standin(&self, name: &'static str) -> anyhow::Result<i32> {
        let starts = self.starts(name);
        // std's children, other than tokio's, are reaped by nobody who isn't told to.
        std::process::Command::new(self.path().join(name))
            .arg(self.path())
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("{name} can't be started"))?;
        starts.next(0).await.map(|(pid, _)| pid)
    }

    pub(crate) fn starts(&self, name: &'static str) -> Starts {
        let file = starts_file(self.path(), name);
        Starts { name, file }
    }

    /// Ends everything that was started, and removes the directory. What can't be said to the
    /// narrator any more keeps nothing from being cleared.
    pub(crate) async fn clear(mut self, narrator: &Narrator) -> anyhow::Result<()> {
        // How it ends doesn't matter: interrupted early, it has no time to learn of SIGTERM.
        let stopped = self.stop_service(narrator).await;
        let ended = end_children(self.path()).await;
        let path = self.path().display().to_string();
        let removed = self.directory.close();
        stopped?;
        ended?;
        removed.with_context(|| format!("{path} can't be removed"))?;
        narrator.say(&format!("The stand-ins are ended and {path} is removed."))?;
        narrator.say("Nothing is left behind.")?;
        Ok(())
    }
}

impl Service {
    async fn stop(mut self, narrator: &Narrator) -> anyhow::Result<ExitStatus> {
        if let Some(pid) = self.child.id() {
            // Its pid is its own until it is reaped below; if it has ended already, all the better.
            let _ = kill(Pid::from_raw(pid.try_into()?), Signal::SIGTERM);
        }
        let last_words = within("the end of the service's messages", async {
            while let Some(line) = self.lines.next_line().await? {
                narrator.repeat(&ServiceLine::new(line))?;
            }
            Ok(())
        })
        .await;
        let ended = within("the service's end", async { Ok(self.child.wait().await?) }).await;
        if ended.is_err() {
            self.child.kill().await?;
        }
        last_words?;
        ended
    }
}

/// Where a stand-in notes each of its starts.
pub(crate) struct Starts {
    name: &'static str,
    file: PathBuf,
}

impl Starts {
    /// The pids of all copies ever started, in order.
    pub(crate) fn pids(&self) -> Vec<i32> {
        let starts = starts(&self.file).into_iter();
        starts.map(|start| start.pid).collect()
    }

    /// Waits for a start after the first `known` ones; gives its pid and the moment it was seen.
    pub(crate) async fn next(&self, known: usize) -> anyhow::Result<(i32, Instant)> {
        within(&format!("a start of {}", self.name), async {
            loop {
                if let Some(pid) = self.pids().get(known) {
                    return Ok((*pid, Instant::now()));
                }
                sleep(POLL).await;
            }
        })
        .await
    }
}

/// A child of the demo, however it came to be one.
enum Found {
    /// It has a path in the demo's directory among its arguments.
    Ours(Pid),
    /// It has no arguments: it is in the middle of execve(2) or of its end, and soon known.
    Undecided,
    /// There are none but strangers, such as whoever ran the demo with exec(3) has left it.
    Nobody,
}

/// Kills and reaps all children that belong to the demo, and theirs in turn.
async fn end_children(directory: &Path) -> anyhow::Result<()> {
    within("the end of the stand-ins", async {
        loop {
            // Those that have died before, the zombie of the story among them.
            while matches!(
                waitpid(None, Some(WaitPidFlag::WNOHANG)),
                Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..))
            ) {}
            // Nothing is awaited between finding one and the signal: the runtime reaps a command
            // that was interrupted, and its pid would be free.
            match find_child(directory)? {
                Found::Ours(child) => kill(child, Signal::SIGKILL)?,
                Found::Undecided => {}
                Found::Nobody => return Ok(()),
            }
            sleep(POLL).await;
        }
    })
    .await
}

fn find_child(directory: &Path) -> anyhow::Result<Found> {
    let directory = directory.to_string_lossy();
    let mut found = Found::Nobody;
    for process in procfs::process::all_processes()? {
        // Others come and go meanwhile; a child of ours stays until it is reaped.
        let Ok(process) = process else { continue };
        let stat = process.stat();
        if !stat.is_ok_and(|stat| stat.ppid == getpid().as_raw()) {
            continue;
        }
        let arguments = process.cmdline().unwrap_or_default();
        if arguments.iter().any(|path| path.contains(&*directory)) {
            return Ok(Found::Ours(Pid::from_raw(process.pid)));
        }
        if arguments.is_empty() {
            found = Found::Undecided;
        }
    }
    Ok(found)
}

/// Waits for something, but not for ever.
async fn within<T>(
    what: &str,
    happens: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    timeout(DEADLINE, happens)
        .await
        .with_context(|| format!("{what} didn't come within {}s", DEADLINE.as_secs()))?
}
