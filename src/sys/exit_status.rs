//! How a process ended, as wait(2) and proc(5) tell it.

use std::fmt;

use nix::libc;

use crate::text::phrase::{Phrase, phrase};

/// How a process ended (wait(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// By itself, with this status.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// By SIGKILL of the kernel, because memory ran out: systemd or the kernel's own count says so.
    OutOfMemory,
}

impl ExitStatus {
    /// Reads a wait status as waitpid(2) and /proc/PID/stat encode it.
    #[must_use]
    pub fn from_wait_status(status: i32) -> Self {
        match status & 0x7f {
            0 => Self::Code((status >> 8) & 0xff),
            signal => Self::Signal(signal),
        }
    }

    /// The same, if the kernel has killed for want of memory meanwhile.
    #[must_use]
    pub fn when_out_of_memory(self) -> Self {
        match self {
            Self::Signal(libc::SIGKILL) => Self::OutOfMemory,
            other => other,
        }
    }

    /// Whether it stands for success.
    #[must_use]
    pub fn is_success(self) -> bool {
        self == Self::Code(0)
    }
}

impl ExitStatus {
    /// What a person is told of it.
    #[must_use]
    pub fn phrase(self) -> Phrase {
        match self {
            Self::Code(code) => phrase!("exit status %{code}", code = code.to_string()),
            Self::Signal(number) => match nix::sys::signal::Signal::try_from(number) {
                Ok(signal) => Phrase::of_words(signal.as_str()),
                Err(_) => phrase!("signal %{number}", number = number.to_string()),
            },
            Self::OutOfMemory => phrase!("SIGKILL, out of memory"),
        }
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.phrase().fmt(f)
    }
}
