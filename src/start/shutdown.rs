//! Has the machine go down in good order: the service ends first, and what is left of our starts is ended. Else systemd would wait for it, 90 s
//! long: `KillMode=process` keeps it from doing so in the units' own time. At no other time is anything
//! signalled here.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use crate::proc::{ProcessId, ProcessTable, kin, signal};
use crate::systemd::control_group::{ControlGroups, MOUNTED};
use crate::systemd::dbus::{Sockets, Trouble};
use crate::systemd::manager::Manager;
use crate::systemd::names::{ORDER, SERVICE, is_instance};

/// What systemd is on its way to when the machine goes down (systemd.special(7)). At a soft-reboot the
/// kernel goes on, and with it whatever may.
const TARGETS: [&str; 4] = [
    "halt.target",
    "kexec.target",
    "poweroff.target",
    "reboot.target",
];

/// How long a process has to end by itself after SIGTERM.
const PATIENCE: Duration = Duration::from_secs(4);

/// How long it takes at most until a process that was killed is gone.
const DYING: Duration = Duration::from_millis(500);

/// The pause between two looks who is left.
const PAUSE: Duration = Duration::from_millis(20);

/// Has the service end before `others` that start the programs, once the machine goes down: then it takes
/// the end of none of them for an outage. One that is still at its start would be waited for, by the
/// service's own next start too, so then it is done without.
///
/// # Errors
/// When systemd can't be asked for it, or doesn't know how. It is done without, then.
pub(crate) async fn end_before(others: &[&str]) -> Result<(), Trouble> {
    let mut manager = Manager::connect(&Sockets::default())?;
    if !manager.has_job(others).await? {
        manager.start(ORDER).await?;
    }
    Ok(())
}

/// Ends everything in the control groups of this service and of `mfe@KEY.service`, if the machine is
/// going down.
///
/// # Errors
/// When systemd can't say whether it is.
pub(crate) async fn end_programs() -> Result<(), Trouble> {
    let mut manager = Manager::connect(&Sockets::default())?;
    if manager.has_job(&TARGETS).await? {
        end_all(Path::new("/proc")).await;
    }
    Ok(())
}

fn is_ours(unit: &str) -> bool {
    unit == SERVICE || is_instance(unit)
}

async fn end_all(proc: &Path) {
    let groups = ControlGroups::new(MOUNTED, proc);
    let mut table = ProcessTable::new(proc);
    let mut asked = BTreeSet::new();
    let begin = Instant::now();
    loop {
        // What can't be looked at is left to systemd.
        let members = groups.members(&is_ours).unwrap_or_default();
        let left: Vec<ProcessId> = members
            .into_iter()
            .filter_map(|pid| Some(kin(proc, pid).ok()??.id))
            .collect();
        let is_over = begin.elapsed() >= PATIENCE;
        if left.is_empty() || begin.elapsed() >= PATIENCE + DYING {
            return;
        }
        for id in left {
            let signals: &[Signal] = match is_over {
                true => &[Signal::KILL],
                // SIGCONT lets a stopped one receive SIGTERM, as systemd does it (systemd.kill(5)).
                false if asked.insert(id) => &[Signal::TERM, Signal::CONT],
                false => &[],
            };
            for number in signals {
                // It may have ended meanwhile.
                let _ = signal(id, *number, &mut table);
            }
        }
        sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_are_the_service_and_its_instances() {
        for (unit, expected) in [
            ("mfe-watchdog.service", true),
            ("mfe@comunicador.service", true),
            ("mfe-watchdog-shutdown.service", false),
            ("mfe@comunicador.slice", false),
            ("cco-ser.service", false),
        ] {
            assert_eq!(is_ours(unit), expected, "{unit}");
        }
    }
}
