//! Finds what an earlier run of the service has left behind when it was killed, and ends a systemctl
//! that hangs, which would restart a program that is long up again once it goes on, and checks and
//! hooks, whose time nobody bounds any more. Nothing else of that run is touched.

use std::fs;

use rustix::process::Signal;

use crate::config::{ProcessSettings, Settings, Start};
use crate::proc::{CmdlinePattern, ProcessName, ProcessTable, Running, Target, signal};
use crate::systemd::names::{is_service, unit_of};

/// What only the checks and hooks of this service have in their environment.
const OUR_VARIABLES: [&[u8]; 2] = [b"MFE_EVENT=", b"MFE_PROCESS="];

/// How this service calls systemctl to restart or stop a unit.
const OUR_CALL: &str = "systemctl --no-ask-password --no-pager (restart|stop|reset-failed) ";

/// Ends every such call that has lost its parent and is in the service's own control group, which only
/// a service of systemd has for itself. Returns their pids.
#[must_use]
pub(super) fn end_systemctl() -> Vec<i32> {
    if !is_service() {
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

/// Ends every check and hook among `running` that `settings` name and an earlier run has left, with all
/// of its session. Returns their pids. One that has become another program since isn't recognised.
#[must_use]
pub(super) fn end_programs(settings: &Settings, running: &[Running]) -> Vec<i32> {
    let commands: Vec<&[String]> = settings.checks_and_hooks().collect();
    let mut table = ProcessTable::new("/proc");
    let left = running.iter().filter(|process| is_left(process, &commands));
    let mut ended = Vec::new();
    for leader in left {
        let session = running
            .iter()
            .filter(|process| process.session == leader.id.pid);
        for process in session {
            if signal(process.id, Signal::KILL, &mut table).is_ok() {
                ended.push(process.id.pid);
            }
        }
    }
    ended
}

/// Whether the start command of `process` is among `running` without a parent: an earlier run has made
/// that start, and was killed before it could remember it.
#[must_use]
pub(super) fn is_being_started(process: &ProcessSettings, running: &[Running]) -> bool {
    let Start::Command(command) = &process.start else {
        return false;
    };
    let unit = unit_of(&process.key);
    let is_start = |process: &Running| {
        // In a unit `exec` comes first, which becomes the command.
        is_command(process, command) || process.unit.as_ref() == Some(&unit) && is_exec(process)
    };
    running
        .iter()
        .any(|process| process.parent == 1 && is_start(process))
}

/// Whether a process runs a command. Interpreters put themselves before the arguments of a script.
fn is_command(process: &Running, command: &[String]) -> bool {
    process.arguments.ends_with(command)
}

fn is_exec(process: &Running) -> bool {
    process.arguments.get(1).is_some_and(|word| word == "exec")
}

/// Whether a process is one of the programs, each of which leads a session, and has lost its parent.
fn is_left(process: &Running, commands: &[&[String]]) -> bool {
    let is_orphan = process.parent == 1 && process.session == process.id.pid;
    let is_named = || commands.iter().any(|command| is_command(process, command));
    is_orphan && is_named() && has_our_variables(process.id.pid)
}

/// proc(5), /proc/PID/environ.
fn has_our_variables(pid: i32) -> bool {
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment
        .split(|byte| *byte == 0)
        .any(|variable| OUR_VARIABLES.iter().any(|ours| variable.starts_with(ours)))
}

/// proc(5), /proc/PID/cgroup.
fn control_group(pid: &str) -> Option<Vec<u8>> {
    fs::read(format!("/proc/{pid}/cgroup")).ok()
}
