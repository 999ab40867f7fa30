//! What this machine is: its name, its boot, and the clock that goes on whatever anybody sets.

use std::fs;
use std::io;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::text::escape::printable;

/// The machine's name (`proc_sys_kernel(5)`), as it is now.
pub(crate) fn name() -> Option<String> {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(printable(name.trim_end())).filter(|name| !name.is_empty())
}

/// The id of the running boot (proc(5), /proc/sys/kernel/random/boot_id), as the kernel writes it.
///
/// # Errors
/// When it can't be read.
pub(crate) fn boot_id() -> io::Result<String> {
    let id = fs::read_to_string(BOOT_ID)?;
    Ok(id.trim().to_owned())
}

/// Where the kernel tells it.
pub(crate) const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The time since the boot, without that spent suspended (`clock_gettime(2)`, `CLOCK_MONOTONIC`).
pub(crate) fn monotonic() -> Duration {
    Duration::try_from(clock_gettime(ClockId::Monotonic)).unwrap_or_default()
}

/// The machine's id (machine-id(5)): another one on a machine that was set up from this one's image.
/// Empty where there is none.
pub(crate) fn machine_id() -> String {
    let id = fs::read_to_string("/etc/machine-id").unwrap_or_default();
    id.trim().to_owned()
}
