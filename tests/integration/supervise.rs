//! Bringing programs back, whoever started them and however they die.

use std::path::Path;

use nix::sys::signal::Signal;

use crate::support::{Till, eventually};

#[test]
fn starts_what_is_absent_and_says_so_once() {
    let till = Till::new();
    let program = till.program('C');
    let script = till.script("start.sh", &format!("exec {}", program.command()));
    till.configure_scripts(&[("comunicador", &program, &script)]);
    let service = till.run();

    let status = service.wait_for_state("comunicador", "up");
    assert_eq!(status["pids"].as_array().unwrap().len(), 1);
    assert_eq!(status["pids"][0], program.pid());
    assert_eq!(status["restarts"], 0, "a first start is no restart");
    assert!(status["last_restart"].is_null() && status["detail"].is_null());

    let (exit, lines) = service.stop(Signal::SIGTERM);
    assert!(exit.success());
    let events = ["down", "starting", "up"].map(|event| format!("MFE_EVENT={event} "));
    let told = lines.iter().filter(|line| line.contains("MFE_PROCESS="));
    for (line, event) in told.zip(&events) {
        assert!(
            format!("{line} ").contains(event),
            "{line} instead of {event}"
        );
    }
    assert_eq!(
        lines.len(),
        5,
        "three events, startup, shutdown: {lines:#?}"
    );
    assert_eq!(program.starts().len(), 1);
    assert!(
        Path::new(&format!("/proc/{}", program.pid())).exists(),
        "left running"
    );
}

#[test]
fn twenty_kills_of_each_are_twenty_restarts_of_each() {
    let till = Till::new();
    let (first, second) = (till.program('C'), till.program('M'));
    let stays = till.script("stays.sh", &format!("exec {}", first.command()));
    let forks = till.script("forks.sh", &format!("{} &", second.command()));
    till.configure_scripts(&[("first", &first, &stays), ("second", &second, &forks)]);
    let service = till.run();
    for (key, program) in [("first", &first), ("second", &second)] {
        service.wait_for_state(key, "up");
        for kills in 1..=20 {
            let killed = program.kill();
            let status = service.wait_for_restarts(key, kills);
            assert_eq!(status["state"], "up");
            assert_ne!(program.pid(), killed);
            assert_eq!(status["pids"][0], program.pid());
        }
        assert_eq!(program.starts().len(), 21, "one start, twenty restarts");
    }
    assert_eq!(service.status("first")["restarts"], 20);
    assert_eq!(service.count("restarted", "first"), 20);
    assert_eq!(service.count("restarted", "second"), 20);
    eventually("our children reaped", || {
        let children = procfs::process::all_processes().unwrap();
        let mut stats = children.filter_map(|process| process.ok()?.stat().ok());
        (!stats.any(|stat| stat.ppid == service.pid() && stat.state == 'Z')).then_some(())
    });
}
