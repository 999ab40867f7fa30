//! Lets a command that has a child of its own end it before a signal ends the command itself: a child that
//! is left behind would go on for ever.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::sys::signal::{SigSet, Signal, raise};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use tokio::io::unix::AsyncFd;

use super::timer::readable;

/// By which people, terminals and systemd end a command.
const SIGNALS: [Signal; 3] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];

/// The signals that would end this process, held back. Children don't inherit that: std gives them an empty
/// signal mask.
#[derive(Debug)]
pub(crate) struct Interruption {
    signals: SigSet,
    descriptor: SignalFd,
    /// The same one, to wait for.
    readable: AsyncFd<OwnedFd>,
}

impl Interruption {
    /// Holds them back from now on. Must be called in the runtime, in a process of one thread.
    ///
    /// # Errors
    /// When the kernel gives no descriptor for it.
    pub(crate) fn hold() -> io::Result<Self> {
        let signals: SigSet = SIGNALS.into_iter().collect();
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        let descriptor = SignalFd::with_flags(&signals, flags)?;
        let readable = readable(descriptor.as_fd().try_clone_to_owned()?);
        let readable = readable.ok_or_else(|| io::Error::other("it can't be waited for"))?;
        signals.thread_block()?;
        Ok(Self {
            signals,
            descriptor,
            readable,
        })
    }

    /// Waits until one has come.
    ///
    /// # Errors
    /// When it can't be read which.
    pub(crate) async fn came(&self) -> io::Result<Signal> {
        loop {
            let mut ready = self.readable.readable().await?;
            if let Some(info) = self.descriptor.read_signal()? {
                let number = i32::try_from(info.ssi_signo).unwrap_or_default();
                return Ok(Signal::try_from(number)?);
            }
            ready.clear_ready();
        }
    }

    /// Has it end this process, as it would have.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(crate) fn let_through(self, signal: Signal) -> io::Result<()> {
        self.signals.thread_unblock()?;
        Ok(raise(signal)?)
    }
}
