//! A second watchdog beside the till's own: it refuses the programs of that one.

use std::process::Stdio;

use nix::sys::signal::Signal;

use crate::program::{BINARY, binary_for_everybody, run as run_on};
use mfe_kit::{Guard, Service, Till, eventually, in_mount_namespace, output, section};

#[test]
fn the_programs_of_the_tills_own_service_are_refused_unless_somebody_insists() {
    let (own, program) = Till::with_program_every("100ms");
    let ours = run_on(&own);
    ours.wait_for_state("comunicador", "up");
    let trial = Till::new();
    let other = trial.program('O');
    let script = trial.script("start.sh", &format!("exec {}", other.command()));
    let both = format!(
        "interval = \"100ms\"\n{}{}",
        section("a", &other.name, &script),
        section("b", &program.name, &script)
    );
    // Where the till's own service is the other till's.
    let run = |arguments: &[&str]| {
        let setup = "mount -t tmpfs none /run\nmkdir /run/mfe-watchdog\n\
                     mount --bind \"$OURS\" /run/mfe-watchdog";
        let mut command = in_mount_namespace(setup, BINARY);
        command.env("OURS", own.runtime_dir()).args(arguments);
        Service::start(&trial, &mut command)
    };
    trial.configure(&both);
    let (exit, lines) = run(&[]).wait();
    assert_eq!(exit.code(), Some(1));
    let refused = format!(
        "mfe-watchdog: the service (pid {}) watches {} already, ",
        ours.pid(),
        program.name
    );
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].starts_with(&refused), "{lines:#?}");

    let only = format!(
        "interval = \"100ms\"\n{}",
        section("a", &other.name, &script)
    );
    trial.configure(&only);
    let service = run(&[]);
    service.wait_for_state("a", "up");
    trial.configure(&both);
    service.signal(Signal::SIGHUP);
    let line = service.wait_for_line("MFE_EVENT=reload_failed");
    assert!(
        line.contains("the old configuration stays in force: "),
        "{line}"
    );
    assert!(line.contains(&program.name), "{line}");
    service.stop(Signal::SIGTERM);

    let setup = "mount -t tmpfs none /run\nmkdir /run/mfe-watchdog\n\
                 mount --bind \"$OURS\" /run/mfe-watchdog";
    let mut command = in_mount_namespace(setup, BINARY);
    command
        .env("OURS", own.runtime_dir())
        .args(["run", "--alone", "--config"])
        .arg(trial.config());
    let insisting = Service::start_by_default(&trial, &mut command);
    let status = insisting.wait_for_state("b", "up");
    assert_eq!(status["pids"][0], program.pid(), "adopted");
    insisting.stop(Signal::SIGTERM);
    ours.stop(Signal::SIGTERM);
    let service = run(&[]);
    service.wait_for_state("b", "up");
}

#[test]
fn the_usual_directory_is_roots() {
    let (till, program) = Till::with_program_every("100ms");
    let binary = binary_for_everybody(&till);
    let setup = "mount -t tmpfs -o mode=755 none /run\nmount -t tmpfs none /var/lib";
    let mut command = in_mount_namespace(setup, "setpriv");
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
        .arg(&binary)
        .args(["run", "--config"])
        .arg(till.config());
    let refused = output(&mut command);
    assert_eq!(refused.code(), 1);
    let why =
        "/run/mfe-watchdog can't be locked against a second watchdog, so nothing is watched: ";
    assert!(refused.stderr.contains(why), "{}", refused.stderr);
    assert_eq!(program.starts().len(), 0);

    // Whatever somebody has done to it.
    let setup = "mount -t tmpfs -o mode=755 none /run\nmount -t tmpfs none /var/lib\n\
                 mkdir -m 777 /run/mfe-watchdog";
    let mut command = in_mount_namespace(setup, BINARY);
    let child = command
        .args(["run", "--config"])
        .arg(till.config())
        .stderr(Stdio::null())
        .spawn();
    let service = Guard(child.unwrap());
    eventually("root's", || {
        let folder = format!("/proc/{}/root/run/mfe-watchdog", service.0.id());
        let mode = |path: &str| {
            use std::os::unix::fs::PermissionsExt;
            Some(std::fs::metadata(path).ok()?.permissions().mode() & 0o777)
        };
        (mode(&folder)? == 0o755 && mode(&format!("{folder}/lock"))? == 0o600).then_some(())
    });
}
