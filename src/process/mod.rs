//! What a process is, how it is found in /proc and how it is signalled; what to do about it is decided
//! elsewhere.

mod listing;
mod name;
mod signal;
mod sockets;
mod stat;
mod table;
mod target;
mod usage;
mod user;
mod watch;

use std::fmt;

use crate::phrase::{Phrase, phrase};

pub use listing::{Running, running};
pub use name::ProcessName;
pub use signal::{SignalError, Signalled, signal};
pub use sockets::listening;
pub use stat::Stat;
pub use table::{Alive, Impostor, LookError, ProcessTable, RunState, Sighting, Zombie};
pub use target::{CmdlinePattern, ExePattern, Target};
pub use usage::Usage;
pub use user::User;
pub(crate) use user::name_of as user_name;
pub use watch::{ExitWatches, exit_of};

/// One process, for as long as the machine runs: a pid alone may name another one tomorrow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProcessId {
    /// The process id, as seen from the watchdog's own PID namespace.
    pub pid: i32,
    /// When it started, in clock ticks since boot (proc(5), /proc/PID/stat field 22).
    pub start_time: u64,
}

/// How a process ended (wait(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// By itself, with this status.
    Code(i32),
    /// By this signal.
    Signal(i32),
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
        }
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.phrase().fmt(f)
    }
}
