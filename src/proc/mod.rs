//! What a process is, how it is found in /proc and how it is signalled; what to do about it is decided
//! in [`crate::machine`].

mod executable;
mod left_over;
mod listing;
mod name;
mod patient;
mod reading;
mod sighting;
mod signal;
mod sockets;
mod stat;
mod table;
mod target;
mod usage;
mod users;
mod verdicts;
mod watch;

pub use left_over::{Kin, Left, LeftOver, all_kin, children, kin};
pub use listing::{Running, running, running_such};
pub use name::ProcessName;
pub use reading::{Comm, Reading, Readings};
pub use sighting::{
    ALIVE_MAX, Alive, Difference, IMPOSTORS_MAX, Identity, Impostor, RunState, Sighting, Zombie,
};
pub use signal::{SignalError, Signalled, signal};
pub use sockets::listening;
pub use stat::Stat;
pub(crate) use stat::Status;
pub use table::{LookError, ProcessTable};
pub use target::{CmdlinePattern, ExePattern, Target};
pub use usage::Usage;
pub use users::users;
pub use watch::{ExitWatches, exit_of};

/// One process, for as long as the machine runs: a pid alone may name another one tomorrow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProcessId {
    /// The process id, as seen from the watchdog's own PID namespace.
    pub pid: i32,
    /// When it started, in clock ticks since boot (proc(5), /proc/PID/stat field 22).
    pub start_time: u64,
}
