//! Signals one process and no other, for a pid may have passed to another process since it was read;
//! whom to signal is decided in [`crate::machine`].

use std::fmt;
use std::io;

use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, getpid, kill_process, pidfd_open, pidfd_send_signal,
};

use super::{LookError, ProcessId, ProcessTable};

/// What has come of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signalled {
    /// The process has been sent it.
    Sent,
    /// The process is no longer in the table: nobody was sent anything.
    Gone,
}

/// Why a process was not sent a signal. It says nothing about whether it lives.
#[derive(Debug)]
pub enum SignalError {
    /// It is unknown whether the pid still is the process's own.
    NotIdentified(LookError),
    /// The kernel refused.
    Refused(ProcessId, Errno),
    /// The service never signals itself, pid 1 or a process group.
    Forbidden(ProcessId),
}

impl fmt::Display for SignalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotIdentified(error) => write!(f, "not signalled: {error}"),
            Self::Refused(ProcessId { pid, .. }, errno) => {
                let error = io::Error::from(*errno);
                write!(f, "pid {pid} can't be signalled: {error}")
            }
            Self::Forbidden(ProcessId { pid, .. }) => write!(f, "pid {pid} is never signalled"),
        }
    }
}

impl std::error::Error for SignalError {}

impl From<LookError> for SignalError {
    fn from(error: LookError) -> Self {
        Self::NotIdentified(error)
    }
}

/// Sends `signal` to this very process, or to nobody.
///
/// With a pidfd (`pidfd_send_signal(2)`, Linux 5.3 for `pidfd_open(2)`) nothing can come between the
/// check and the signal. Where the kernel or a sandbox refuses one, the start time is read and the
/// signal sent at once: what is left is the time between two system calls.
///
/// # Errors
/// When it wasn't sent, though the process may live.
pub fn signal(
    id: ProcessId,
    signal: Signal,
    table: &mut ProcessTable,
) -> Result<Signalled, SignalError> {
    // kill(2) takes anything below 1 for many processes.
    let pid = (id.pid > 1).then(|| Pid::from_raw(id.pid)).flatten();
    let Some(pid) = pid.filter(|pid| *pid != getpid()) else {
        return Err(SignalError::Forbidden(id));
    };
    let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) => pidfd,
        Err(Errno::NOSYS | Errno::PERM) => return signal_by_pid(id, pid, signal, table),
        Err(errno) => return signalled(id, Err(errno)),
    };
    // Whoever has the pid now is who the descriptor means: the process has had its pid ever since it
    // was seen, or has lost it for good.
    if !table.contains(id)? {
        return Ok(Signalled::Gone);
    }
    match pidfd_send_signal(&pidfd, signal) {
        Err(Errno::NOSYS | Errno::PERM) => signal_by_pid(id, pid, signal, table),
        sent => signalled(id, sent),
    }
}

/// The same without a pidfd.
fn signal_by_pid(
    id: ProcessId,
    pid: Pid,
    signal: Signal,
    table: &mut ProcessTable,
) -> Result<Signalled, SignalError> {
    if !table.contains(id)? {
        return Ok(Signalled::Gone);
    }
    signalled(id, kill_process(pid, signal))
}

fn signalled(id: ProcessId, sent: Result<(), Errno>) -> Result<Signalled, SignalError> {
    match sent {
        Ok(()) => Ok(Signalled::Sent),
        Err(Errno::SRCH) => Ok(Signalled::Gone),
        Err(errno) => Err(SignalError::Refused(id, errno)),
    }
}
