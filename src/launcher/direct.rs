//! Starts a program as a detached child that outlives the watchdog, and reaps it; it never
//! signals anything but that child.
//!
//! The service itself has umask 022, `/` as its working directory and no descriptor that isn't
//! closed on exec (see [`crate::service::daemon`]); the rest is done at the spawn.

use std::io;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
use nix::sys::signal::{SigSet, Signal, kill, killpg};
use nix::sys::stat::Mode;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use tokio::signal::unix::{Signal as SignalStream, SignalKind, signal};

use super::environment;
use crate::printable::printable;
use crate::process::ExitStatus;
use crate::supervision::{StartFailure, StartOutcome, Stop};

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
        let not_run = |error: io::Error| match error.raw_os_error() {
            Some(code)
                if code == Errno::ENOENT as i32 && !std::path::Path::new(program).exists() =>
            {
                StartFailure::NotInstalled(printable(program))
            }
            _ => StartFailure::NotRun(format!("{} can't be run: {error}", printable(program))),
        };
        // Listening begins before the child can end.
        let child_ended = signal(SignalKind::child()).map_err(not_run)?;
        let pid = spawn(command).map_err(|errno| not_run(errno.into()))?;
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
                let why = format!("how the start program ended can't be learnt: {errno}");
                return Some(StartOutcome::NotRun(StartFailure::NotRun(why)));
            }
        };
        Some(StartOutcome::Exited {
            pid: self.pid(),
            status,
            // It led its process group; signal 0 only asks whether anybody is left in it.
            left_running: killpg(self.pid, None).is_ok(),
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

fn spawn(command: &[String]) -> Result<Pid, Errno> {
    let arguments = environment::c_strings(command.iter().map(|argument| argument.clone().into()))?;
    let environment = environment::for_execution()?;

    let mut actions = PosixSpawnFileActions::init()?;
    for (descriptor, flags) in [
        (0, OFlag::O_RDONLY),
        (1, OFlag::O_WRONLY),
        (2, OFlag::O_WRONLY),
    ] {
        actions.add_open(descriptor, c"/dev/null", flags, Mode::empty())?;
    }

    let mut attributes = PosixSpawnAttr::init()?;
    attributes.set_sigdefault(&SigSet::all())?;
    attributes.set_sigmask(&SigSet::empty())?;
    attributes.set_flags(
        PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF
            | PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK
            // Its own session: no terminal's hang-up and no signal to our group reaches it.
            | PosixSpawnFlags::from_bits_retain(nix::libc::POSIX_SPAWN_SETSID.into()),
    )?;
    posix_spawn(
        arguments[0].as_c_str(),
        &actions,
        &attributes,
        &arguments,
        &environment,
    )
}
