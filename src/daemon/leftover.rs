//! Finds what an earlier run of the service has left behind when it was killed, and ends checks and
//! hooks, whose time nobody bounds any more. Nothing else of that run is touched; who is left of a
//! start is told by [`crate::start::Lineage`].

use std::fs;

use rustix::process::Signal;

use crate::config::Settings;
use crate::proc::{ProcessTable, Running, signal};
use crate::start::is_command;

/// What only the checks and hooks of this service have in their environment.
const OUR_VARIABLES: [&[u8]; 2] = [b"MFE_EVENT=", b"MFE_PROCESS="];

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

/// Whether a process is one of the programs, each of which leads a session, and has lost its parent.
fn is_left(process: &Running, commands: &[&[String]]) -> bool {
    let is_orphan = process.parent == 1 && process.session == process.id.pid;
    let is_named = || {
        commands
            .iter()
            .any(|command| is_command(&process.arguments, command))
    };
    is_orphan && is_named() && has_our_variables(process.id.pid)
}

/// proc(5), /proc/PID/environ.
fn has_our_variables(pid: i32) -> bool {
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment
        .split(|byte| *byte == 0)
        .any(|variable| OUR_VARIABLES.iter().any(|ours| variable.starts_with(ours)))
}
