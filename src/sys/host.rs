//! What this machine is: its name, its boot, and the clocks that go on whatever anybody sets.

use std::fs;
use std::io;
use std::time::{Duration, SystemTime};

use mfe_common::escape::printable;
use rustix::time::{ClockId, clock_gettime};

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

/// The same as the first process sees it, and so the journal, whose entries name it: in a container, a
/// service whose /proc/sys is protected sees the id of the machine around it.
///
/// # Errors
/// When it can't be read.
pub(crate) fn boot_id_of_all() -> io::Result<String> {
    let id = fs::read_to_string(format!("/proc/1/root{BOOT_ID}"));
    id.map(|id| id.trim().to_owned()).or_else(|_| boot_id())
}

/// The time since the boot, without that spent suspended (`clock_gettime(2)`, `CLOCK_MONOTONIC`).
pub(crate) fn monotonic() -> Duration {
    Duration::try_from(clock_gettime(ClockId::Monotonic)).unwrap_or_default()
}

/// The time since the boot, with that spent suspended (`clock_gettime(2)`, `CLOCK_BOOTTIME`).
pub(crate) fn since_boot() -> Duration {
    Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap_or_default()
}

/// A new id, of 32 hexadecimal digits (`random(4)`, /proc/sys/kernel/random/uuid). Where the kernel gives
/// none it is made of what no other process of this machine has: the time and the pid.
pub(crate) fn new_id() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap_or_default();
    let mut id: String = id.chars().filter(char::is_ascii_hexdigit).collect();
    if id.len() != 32 {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = now.unwrap_or_default().as_nanos() & (u128::MAX >> 32);
        id = format!("{now:024x}{:08x}", std::process::id());
    }
    id
}

/// The machine's id (machine-id(5)): another one on a machine that was set up from this one's image.
/// Empty where there is none.
pub(crate) fn machine_id() -> String {
    let id = fs::read_to_string("/etc/machine-id").unwrap_or_default();
    id.trim().to_owned()
}

/// A moment, by the clocks by which others say when something began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    /// As systemd says it: see [`monotonic`].
    pub(crate) monotonic: Duration,
    /// In clock ticks since the boot, time spent suspended included, as the kernel says of a process
    /// when it started (proc(5), /proc/PID/stat field 22). What starts later has this number or
    /// a higher one.
    pub ticks: u64,
}

impl Moment {
    /// The one that was so long ago.
    #[must_use]
    pub(crate) fn before(self, ago: Duration) -> Self {
        Self {
            monotonic: self.monotonic.saturating_sub(ago),
            ticks: self.ticks.saturating_sub(ticks(ago)),
        }
    }

    /// This one.
    #[must_use]
    pub fn now() -> Self {
        Self {
            monotonic: monotonic(),
            ticks: ticks(since_boot()),
        }
    }
}

/// A time in whole clock ticks.
fn ticks(time: Duration) -> u64 {
    let ticks = time.as_nanos() * u128::from(procfs::ticks_per_second()) / 1_000_000_000;
    u64::try_from(ticks).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn each_id_is_another_one() {
        let ids = [new_id(), new_id()];
        assert_ne!(ids[0], ids[1]);
        for id in ids {
            let is_id = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
            assert!(is_id, "{id}");
        }
    }

    #[test]
    fn what_starts_later_has_started_since() {
        let before = Moment::now();
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let started = stat.rsplit(')').next().unwrap().split_whitespace().nth(19);
        let started: u64 = started.unwrap().parse().unwrap();
        let after = Moment::now();
        assert!(
            before.ticks <= started && started <= after.ticks + 1,
            "{before:?} {started}"
        );
    }
}
