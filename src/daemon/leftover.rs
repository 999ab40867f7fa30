//! Finds what an earlier run of the service has left behind when it was killed, and ends checks and
//! hooks, whose time nobody bounds any more. Nothing else of that run is touched; who is left of a
//! start is told by [`crate::start::Lineage`].
//!
//! Anybody can run a process with the arguments, the environment and the parent of one that was left. What
//! nobody else can have is our control group and our user ([`crate::start::is_own`]): without those it is
//! nobody of ours.

use std::fs;
use std::path::Path;

use rustix::process::Signal;

use crate::config::Settings;
use crate::proc::{ProcessTable, Running, running_such, signal};
use crate::start::{is_command, is_own};
use crate::systemd::control_group::{ControlGroups, MOUNTED};

/// Where the processes are (proc(5)).
const PROC: &str = "/proc";

/// What only the checks and hooks of this service have in their environment.
const OUR_VARIABLES: [&[u8]; 2] = [b"MFE_EVENT=", b"MFE_PROCESS="];

/// Ends every check and hook that `settings` name and an earlier run has left, with what is our own of its
/// session. Returns their pids. One that has become another program since isn't recognised.
#[must_use]
pub(super) fn end_programs(settings: &Settings) -> Vec<i32> {
    let commands: Vec<&[String]> = settings.checks_and_hooks().collect();
    let proc = Path::new(PROC);
    let groups = ControlGroups::new(MOUNTED, PROC);
    let is_own = |process: &Running| is_own(proc, &groups, process.id.pid);
    let is_leader = |process: &Running| process.parent == 1 && process.session == process.id.pid;
    let is_left = |process: &Running| is_leader(process) && is_own(process);
    // What can't be looked at is left alone.
    let running = running_such(proc, &is_left).unwrap_or_default();
    let mut table = ProcessTable::new(PROC);
    let mut ended = Vec::new();
    for leader in running.iter().filter(|process| is_left(process)) {
        if !is_program(leader, &commands) {
            continue;
        }
        let session = running
            .iter()
            .filter(|process| process.session == leader.id.pid);
        for process in session.filter(|process| is_own(process)) {
            if signal(process.id, Signal::KILL, &mut table).is_ok() {
                ended.push(process.id.pid);
            }
        }
    }
    ended
}

/// Whether a process of our own is one of the programs.
fn is_program(process: &Running, commands: &[&[String]]) -> bool {
    let is_named = || {
        commands
            .iter()
            .any(|command| is_command(&process.arguments, command))
    };
    is_named() && has_our_variables(process.id.pid)
}

/// proc(5), /proc/PID/environ.
fn has_our_variables(pid: i32) -> bool {
    let environment = fs::read(format!("{PROC}/{pid}/environ")).unwrap_or_default();
    environment
        .split(|byte| *byte == 0)
        .any(|variable| OUR_VARIABLES.iter().any(|ours| variable.starts_with(ours)))
}
