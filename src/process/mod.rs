//! What a process is and how it is found in /proc; what to do about it is decided elsewhere.

mod name;
mod table;
mod watch;

pub use name::ProcessName;
pub use table::{LookError, ProcessTable, Sighting};
pub use watch::ExitWatches;

/// One process, for as long as the machine runs: a pid alone may name another one tomorrow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProcessId {
    /// The process id, as seen from the watchdog's own PID namespace.
    pub pid: i32,
    /// When it started, in clock ticks since boot (proc(5), /proc/PID/stat field 22).
    pub start_time: u64,
}
