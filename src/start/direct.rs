//! Starts a program as a detached child that outlives the watchdog, and reaps it; it never
//! signals anything but that child.

use std::io;

use mfe_common::escape::printable;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use tokio::signal::unix::{Signal as SignalStream, SignalKind, signal};

use crate::machine::{StartFailure, StartOutcome, Stop};
use crate::sys::exit_status::ExitStatus;
use crate::sys::spawn::{Stdio, is_missing, not_run, spawn};
use crate::text::phrase::phrase;

/// A child that isn't reaped yet, so its pid can't have passed to another process.
#[derive(Debug)]
pub struct Child {
    pid: Pid,
    child_ended: SignalStream,
}

impl Child {
    /// Runs `command` in a session of its own, with default signals and nothing to read or write.
    pub(super) fn spawn(command: &[String]) -> Result<Self, StartFailure> {
        let program = &command[0];
        let failure = |error: io::Error| {
            if is_missing(program, &error) {
                StartFailure::NotInstalled(printable(program))
            } else {
                StartFailure::NotRun(not_run(program, &error))
            }
        };
        // Listening begins before the child can end.
        let child_ended = signal(SignalKind::child()).map_err(failure)?;
        let pid = spawn(command, &[], Stdio::default()).map_err(|errno| failure(errno.into()))?;
        Ok(Self { pid, child_ended })
    }

    pub(super) fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    pub(super) async fn ended(&mut self) -> StartOutcome {
        loop {
            if let Some(outcome) = self.try_ended() {
                return outcome;
            }
            self.child_ended.recv().await;
        }
    }

    pub(super) fn try_ended(&mut self) -> Option<StartOutcome> {
        let status = match waitpid(self.pid, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(_, code)) => ExitStatus::Code(code),
            Ok(WaitStatus::Signaled(_, signal, _)) => ExitStatus::Signal(signal as i32),
            Ok(_) | Err(Errno::EINTR) => return None,
            Err(errno) => {
                let why = phrase!(
                    "can't tell how the start script ended: %{error}",
                    error = errno.to_string()
                );
                return Some(StartOutcome::NotRun(StartFailure::NotRun(why)));
            }
        };
        Some(StartOutcome::Exited {
            pid: Some(self.pid()),
            status,
        })
    }

    pub(super) fn stop(&self, stop: Stop) {
        let signal = match stop {
            Stop::Terminate => Signal::SIGTERM,
            Stop::Kill => Signal::SIGKILL,
        };
        // It can only fail for a child that has just ended, which is what was wanted.
        let _ = kill(self.pid, signal);
    }
}
