//! SIGHUP: a new configuration is applied without disturbing what runs.

use nix::sys::signal::Signal;

use crate::program::{mfe_watchdog, run};
use mfe_kit::{Service, Till, section};

#[test]
fn what_stays_keeps_its_state_what_goes_is_left_and_what_comes_is_started() {
    let till = Till::new();
    let [stays, goes, comes] = ['S', 'G', 'C'].map(|initial| till.program(initial));
    let script = |name: &str, program: &mfe_kit::Program| {
        till.script(name, &format!("exec {}", program.command()))
    };
    let scripts = [
        script("stays.sh", &stays),
        script("goes.sh", &goes),
        script("comes.sh", &comes),
    ];
    till.configure_scripts(&[("stays", &stays, &scripts[0]), ("goes", &goes, &scripts[1])]);
    let service = run(&till);
    service.wait_for_state("goes", "up");
    service.wait_for_state("stays", "up");
    stays.kill();
    let before = service.wait_for_restarts("stays", 1);

    till.configure_scripts(&[
        ("stays", &stays, &scripts[0]),
        ("comes", &comes, &scripts[2]),
    ]);
    service.signal(Signal::SIGHUP);
    service.wait_for_state("comes", "up");
    let after = service.status("stays");
    assert_eq!(after, before, "as if nothing had happened");
    assert_eq!(stays.starts().len(), 2);
    assert_eq!(goes.pids().len(), 1, "no longer watched, but not touched");
    goes.kill();
    for kills in 1..=3 {
        comes.kill();
        service.wait_for_restarts("comes", kills);
    }
    assert_eq!(goes.starts().len(), 1, "nobody brings it back");
    assert!(!service.has_zombie(), "it is still our child, and reaped");
}

#[test]
fn a_bad_configuration_is_refused_in_full_and_the_old_one_stays() {
    let till = Till::new();
    let program = till.program('C');
    let script = till.script("start.sh", &format!("exec {}", program.command()));
    till.configure_scripts(&[("comunicador", &program, &script)]);
    // What is logged is English, whoever reads it.
    let mut command = mfe_watchdog();
    let service = Service::start(&till, command.env("LC_ALL", "pt_BR.UTF-8"));
    service.wait_for_state("comunicador", "up");
    till.configure("interval = \"soon\"\nintervall = \"10s\"\n");
    service.signal(Signal::SIGHUP);
    let file = till.config();
    let file = file.display();
    for problem in [
        format!("{file}:1: interval: must be a duration such as"),
        format!("{file}:2: intervall: unknown key"),
        format!("{file}:1: process: no process to keep running"),
    ] {
        let line = service.wait_for_line(&problem);
        assert!(line.contains("MFE_EVENT=reload_failed"), "{line}");
    }
    program.kill();
    service.wait_for_restarts("comunicador", 1);

    till.configure_scripts(&[("comunicador", &program, &script)]);
    service.signal(Signal::SIGHUP);
    service.wait_for_line("MFE_EVENT=reloaded");
    assert_eq!(service.status("comunicador")["restarts"], 1);
}

#[test]
fn a_mended_command_is_tried_at_once() {
    let till = Till::new();
    let program = till.program('C');
    let missing = till.path().join("bin/missing.sh");
    let config = |script: &std::path::Path| {
        format!(
            "interval = \"1h\"\n{}",
            section("comunicador", &program.name, script)
        )
    };
    till.configure(&config(&missing));
    let service = run(&till);
    service.wait_for_state("comunicador", "down");
    let script = till.script("start.sh", &format!("exec {}", program.command()));
    till.configure(&config(&script));
    service.signal(Signal::SIGHUP);
    service.wait_for_state("comunicador", "up");
}

#[test]
fn another_name_is_another_process() {
    let till = Till::new();
    let (first, second) = (till.program('F'), till.program('S'));
    let script = till.script("first.sh", &format!("exec {}", first.command()));
    till.configure_scripts(&[("comunicador", &first, &script)]);
    let service = run(&till);
    service.wait_for_state("comunicador", "up");
    first.kill();
    service.wait_for_restarts("comunicador", 1);
    let script = till.script("second.sh", &format!("exec {}", second.command()));
    till.configure_scripts(&[("comunicador", &second, &script)]);
    service.signal(Signal::SIGHUP);
    service.wait_for_line(&format!(
        "{} is running (pid {})",
        second.name,
        second.pid()
    ));
    let status = service.wait_for_restarts("comunicador", 0);
    assert_eq!(status["name"], second.name);
    assert_eq!(first.pids().len(), 1);
}
