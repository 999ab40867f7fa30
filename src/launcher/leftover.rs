//! Ends what an earlier run of the service has left behind when it was killed: a systemctl that hangs.
//! Once it goes on it would restart a program that is long up again. Nothing else of that run is
//! touched.

use std::fs;

use rustix::process::Signal;

use crate::process::{CmdlinePattern, ProcessName, ProcessTable, Target, signal};

/// How this service calls systemctl to restart or stop a unit.
const OUR_CALL: &str = "systemctl --no-ask-password --no-pager (restart|stop|reset-failed) ";

/// Ends every such call that has lost its parent and is in the service's own control group, which only
/// a service of systemd has for itself. Returns their pids.
#[must_use]
pub fn end_systemctl() -> Vec<i32> {
    if !super::systemd::is_service() {
        return Vec::new();
    }
    let Ok(cmdline) = CmdlinePattern::new(OUR_CALL) else {
        return Vec::new();
    };
    let target = Target {
        cmdline: Some(cmdline),
        ..Target::named(ProcessName::new("systemctl"))
    };
    let mut table = ProcessTable::new("/proc");
    // What can't be looked at is left alone.
    let Ok(sighting) = table.look(&target) else {
        return Vec::new();
    };
    let ours = control_group("self");
    let orphans = sighting.alive.into_iter().filter(|call| call.parent == 1);
    let left =
        orphans.filter(|call| ours.is_some() && control_group(&call.id.pid.to_string()) == ours);
    let ended = left.filter(|call| signal(call.id, Signal::KILL, &mut table).is_ok());
    ended.map(|call| call.id.pid).collect()
}

/// proc(5), /proc/PID/cgroup.
fn control_group(pid: &str) -> Option<Vec<u8>> {
    fs::read(format!("/proc/{pid}/cgroup")).ok()
}
