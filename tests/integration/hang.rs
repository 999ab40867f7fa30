//! Programs that are stopped (state T): they count as hung after a while, unless somebody debugs
//! them.

use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::program::run;
use mfe_kit::{Guard, Need, Program, Till, clean, eventually, needs};

const KEY: &str = "comunicador";

fn send(program: &Program, signal: Signal) -> i32 {
    let pid = program.pid();
    kill(Pid::from_raw(pid), signal).unwrap();
    pid
}

fn shows(pid: i32, line: &str) {
    eventually((pid, line), || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        status.contains(line).then_some(())
    });
}

#[test]
fn a_program_that_stays_stopped_is_restarted() {
    let (till, program) = Till::with_rules("stopped_timeout = \"300ms\"");
    let service = run(&till);
    service.wait_for_state(KEY, "up");
    let stopped = send(&program, Signal::SIGSTOP);
    let line = service.wait_for("unhealthy", KEY);
    assert!(line.contains(&format!("MFE_PID={stopped}")), "{line}");
    let words = "(stopped): was stopped by a signal and has not continued for 300ms";
    assert!(line.contains(words), "{line}");
    let status = service.wait_for_restarts(KEY, 1);
    assert_eq!(status["last_restart"]["cause"], "unhealthy");
    let line = service.wait_for("killed", KEY);
    assert!(
        line.contains("it was unhealthy: SIGTERM"),
        "it could heed: {line}"
    );
    assert_ne!(program.pid(), stopped);
    assert_eq!(program.starts().len(), 2);
    service.wait_for_state(KEY, "up");
    assert_eq!(service.count("unhealthy", KEY), 1);
}

#[test]
fn one_that_does_not_heed_is_killed() {
    let rules = "stopped_timeout = \"300ms\"\nstop_timeout = \"300ms\"";
    let (till, program) = Till::with_rules(rules);
    till.script(
        "start.sh",
        &format!("trap '' TERM; exec {}", program.command()),
    );
    let service = run(&till);
    service.wait_for_state(KEY, "up");
    send(&program, Signal::SIGSTOP);
    service.wait_for_restarts(KEY, 1);
    let line = service.wait_for("killed", KEY);
    assert!(line.contains("SIGKILL, after it ignored"), "{line}");
    assert_eq!(program.pids().len(), 1);
    assert_eq!(program.starts().len(), 2);
}

#[test]
fn one_that_goes_on_in_time_is_left_alone() {
    let (till, program) = Till::with_rules("stopped_timeout = \"3s\"");
    let service = run(&till);
    service.wait_for_state(KEY, "up");
    let pid = program.pid();
    // Twice for less than the time, together for more.
    for _ in 0..2 {
        send(&program, Signal::SIGSTOP);
        shows(pid, "State:\tT");
        service.wait_cycles(16);
        send(&program, Signal::SIGCONT);
        shows(pid, "State:\tS");
        service.wait_cycles(3);
    }
    assert_eq!(service.count("unhealthy", KEY), 0);
    assert_eq!(service.status(KEY)["state"], "up");
    assert_eq!(program.pid(), pid);
}

#[test]
fn one_that_is_debugged_is_left_alone() {
    needs!(Need::Package("strace"));
    let (till, program) = Till::with_rules("stopped_timeout = \"300ms\"");
    let service = run(&till);
    service.wait_for_state(KEY, "up");
    let pid = program.pid();
    let mut debugger = clean(Command::new("strace"));
    debugger.args(["-q", "-o", "/dev/null", "-p", &pid.to_string()]);
    let mut debugger = Guard(debugger.spawn().unwrap());
    let tracer = format!("TracerPid:\t{}", debugger.0.id());
    shows(pid, &tracer);
    send(&program, Signal::SIGSTOP);
    shows(pid, "State:\tt");
    service.wait_cycles(10);
    assert_eq!(service.count("unhealthy", KEY), 0);
    assert_eq!(service.status(KEY)["state"], "up");
    assert_eq!(program.pid(), pid);

    // The debugger goes away and leaves it stopped.
    debugger.0.kill().unwrap();
    debugger.0.wait().unwrap();
    kill(Pid::from_raw(pid), Signal::SIGSTOP).unwrap();
    service.wait_for_restarts(KEY, 1);
    assert_eq!(service.count("unhealthy", KEY), 1);
}
