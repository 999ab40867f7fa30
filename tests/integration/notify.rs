//! What systemd hears: readiness, status, watchdog pings, reloads, the end.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::program::{BINARY, mfe_watchdog};
use mfe_kit::{
    DEADLINE, Need, Service, Systemd, Till, eventually, in_mount_namespace, needs, section,
};

fn command(till: &Till) -> Command {
    let mut command = mfe_watchdog();
    command.env("NOTIFY_SOCKET", till.path().join("notify"));
    command
}

#[test]
fn ready_once_each_process_has_been_looked_at_and_a_status_line_that_is_true() {
    let (till, program) = Till::with_program();
    let systemd = Systemd::new(&till);
    let service = Service::start(&till, &mut command(&till));
    let heard = systemd.hear_until("READY");
    assert_eq!(heard.len(), 1, "READY=1 comes first: {heard:#?}");
    assert_eq!(heard[0]["READY"], "1");
    assert!(
        !heard[0].contains_key("STATUS"),
        "nothing that could be too long: {heard:#?}"
    );
    systemd.hear_status(&format!("{} up (pid {})", program.name, program.pid()));
    let killed = program.kill();
    let back = service.wait_for_restarts("comunicador", 1)["pids"][0].clone();
    assert_ne!(back, killed);
    systemd.hear_status(&format!("{} up (pid {back})", program.name));
}

#[test]
fn a_missing_vendor_program_keeps_nobody_from_being_ready_and_alive() {
    let till = Till::new();
    let program = till.program('C');
    let missing = till.path().join("bin/start.sh");
    till.configure_scripts(&[("comunicador", &program, &missing)]);
    let systemd = Systemd::new(&till);
    let mut command = command(&till);
    command.env("WATCHDOG_USEC", "2000000");
    let _service = Service::start(&till, &mut command);
    systemd.hear_until("READY");
    for _ in 0..5 {
        systemd.hear_until("WATCHDOG");
    }
}

#[test]
fn the_status_line_says_what_is_waited_for() {
    let till = Till::new();
    let program = till.program('C');
    let missing = till.path().join("bin/start.sh");
    till.configure_scripts(&[("comunicador", &program, &missing)]);
    let systemd = Systemd::new(&till);
    let _service = Service::start(&till, &mut command(&till));
    systemd.hear_status(&format!("{} is not installed", missing.display()));
}

#[test]
fn pings_each_cycle() {
    let (till, _program) = Till::with_program();
    let systemd = Systemd::new(&till);
    let mut command = command(&till);
    command.env("WATCHDOG_USEC", "60000000");
    let _service = Service::start(&till, &mut command);
    systemd.hear_until("READY");
    let begin = Instant::now();
    for _ in 0..20 {
        assert_eq!(
            systemd.hear_until("WATCHDOG").last().unwrap()["WATCHDOG"],
            "1"
        );
    }
    assert!(
        begin.elapsed() >= Duration::from_secs(1),
        "one per cycle of 100 ms, not more"
    );
}

#[test]
fn pings_twice_per_watchdog_time_though_cycles_are_long() {
    let till = Till::new();
    let program = till.program('C');
    let script = till.script("start.sh", &format!("exec {}", program.command()));
    till.configure(&format!(
        "interval = \"1h\"\n{}",
        section("comunicador", &program.name, &script)
    ));
    let systemd = Systemd::new(&till);
    let mut command = command(&till);
    command.env("WATCHDOG_USEC", "400000");
    let service = Service::start(&till, &mut command);
    service.wait_for_state("comunicador", "up");
    systemd.wait_at_most(Duration::from_millis(400));
    for _ in 0..10 {
        let heard = systemd.hear_until("WATCHDOG");
        assert!(heard.len() <= 2, "within each 400 ms: {heard:#?}");
    }
}

#[test]
fn leaves_the_pings_of_another_process_alone() {
    let (till, program) = Till::with_program();
    let systemd = Systemd::new(&till);
    let mut command = command(&till);
    command
        .env("WATCHDOG_USEC", "60000000")
        .env("WATCHDOG_PID", "1");
    let service = Service::start(&till, &mut command);
    service.wait_for_state("comunicador", "up");
    program.kill();
    service.wait_for_restarts("comunicador", 1);
    service.signal(Signal::SIGTERM);
    let heard = systemd.hear_until("STOPPING");
    assert!(
        heard
            .iter()
            .all(|message| !message.contains_key("WATCHDOG")),
        "{heard:#?}"
    );
}

#[test]
fn reload_is_one_datagram_with_the_time_and_then_ready() {
    let (till, _program) = Till::with_program();
    let systemd = Systemd::new(&till);
    let service = Service::start(&till, &mut command(&till));
    service.wait_for_state("comunicador", "up");
    systemd.hear_until("READY");
    let clock = rustix::time::ClockId::Monotonic;
    let before = rustix::time::clock_gettime(clock).tv_sec * 1_000_000;
    for good in [true, false] {
        if !good {
            till.configure("interval = 0");
        }
        service.signal(Signal::SIGHUP);
        let reloading = systemd.hear_until("RELOADING").pop().unwrap();
        assert_eq!(reloading["RELOADING"], "1");
        let time: i64 = reloading["MONOTONIC_USEC"].parse().unwrap();
        assert!(time >= before);
        assert_eq!(systemd.hear_until("READY").pop().unwrap()["READY"], "1");
    }
}

#[test]
fn stops_at_once_and_says_so() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let (till, _program) = Till::with_program();
        let systemd = Systemd::new(&till);
        let service = Service::start(&till, &mut command(&till));
        systemd.hear_until("READY");
        let (exit, _) = service.stop(signal);
        assert_eq!(exit.code(), Some(0));
        assert_eq!(
            systemd.hear_until("STOPPING").pop().unwrap()["STOPPING"],
            "1"
        );
    }
}

#[test]
fn a_socket_that_nobody_reads_is_said_once_and_disturbs_nothing() {
    let (till, program) = Till::with_program();
    // Bound, but systemd is gone.
    drop(UnixDatagram::bind(till.path().join("notify")).unwrap());
    let service = Service::start(&till, &mut command(&till));
    service.wait_for_state("comunicador", "up");
    for kills in 1..=3 {
        program.kill();
        service.wait_for_restarts("comunicador", kills);
    }
    let lines = service.lines();
    let said = lines
        .iter()
        .filter(|line| line.contains("systemd can't be notified"));
    assert_eq!(said.count(), 1, "{lines:#?}");
}

#[test]
fn a_socket_that_is_full_holds_up_nothing_and_is_told_everything_once_it_is_read() {
    let (till, program) = Till::with_program();
    let path = till.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    let other = UnixDatagram::unbound().unwrap();
    other.set_nonblocking(true).unwrap();
    other.connect(&path).unwrap();
    while other.send(b"WATCHDOG=1\n").is_ok() {}

    let mut command = command(&till);
    command.env("WATCHDOG_USEC", "60000000");
    let service = Service::start(&till, &mut command);
    service.wait_for_state("comunicador", "up");
    for kills in 1..=3 {
        program.kill();
        service.wait_for_restarts("comunicador", kills);
    }
    let said = service.wait_for_line("systemd can't be notified");
    assert!(said.contains("it doesn't read what it is sent"), "{said}");

    socket.set_nonblocking(true).unwrap();
    let mut heard = String::new();
    let up = format!(
        "STATUS=ALL UP; {} up (pid {})\n",
        program.name,
        program.pid()
    );
    eventually("all of it", || {
        let mut buffer = [0; 4096];
        while let Ok(length) = socket.recv(&mut buffer) {
            heard += std::str::from_utf8(&buffer[..length]).unwrap();
        }
        (heard.contains("READY=1\n") && heard.ends_with("WATCHDOG=1\n") && heard.contains(&up))
            .then_some(())
    });
    service.wait_for_line("notifying systemd works again");
    let lines = service.lines();
    let said = lines
        .iter()
        .filter(|line| line.contains("MFE_EVENT=degraded"));
    assert_eq!(said.count(), 1, "{lines:#?}");
}

#[test]
fn a_socket_in_the_abstract_namespace_is_served_too() {
    let (till, _program) = Till::with_program();
    let name = till.path().to_str().unwrap();
    let address = SocketAddr::from_abstract_name(name).unwrap();
    let socket = UnixDatagram::bind_addr(&address).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    let _service = Service::start(
        &till,
        command(&till).env("NOTIFY_SOCKET", format!("@{name}")),
    );
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).unwrap();
    let heard = std::str::from_utf8(&buffer[..length]).unwrap();
    assert!(heard.contains("READY=1\n"), "{heard}");
}

/// One stuck look stops the pings: a FIFO in the place of a /proc file hangs whoever opens it.
#[test]
fn a_stuck_look_stops_the_pings() {
    needs!(Need::Namespaces);
    let (till, program) = Till::with_program();
    let proc = till.path().join("proc");
    for (pid, comm) in [("1", "init"), ("50", &program.name)] {
        let directory = proc.join(pid);
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("comm"), format!("{comm}\n")).unwrap();
        let zeros = " 0".repeat(48);
        std::fs::write(
            directory.join("stat"),
            format!("{pid} ({comm}) S 1{zeros}\n"),
        )
        .unwrap();
        std::fs::write(
            directory.join("status"),
            format!("Name:\t{comm}\nNSpid:\t{pid}\n"),
        )
        .unwrap();
    }
    std::fs::create_dir_all(proc.join("self/fd")).unwrap();
    std::fs::write(proc.join("loadavg"), "0.00 0.00 0.00 1/1 50\n").unwrap();

    let systemd = Systemd::new(&till);
    let setup = format!("mount --bind '{}' /proc", proc.display());
    let mut command = in_mount_namespace(&setup, BINARY);
    command.env("NOTIFY_SOCKET", till.path().join("notify"));
    command.env("WATCHDOG_USEC", "1000000");
    let _service = Service::start(&till, &mut command);
    systemd.hear_status(&format!("{} up (pid 50)", program.name));
    systemd.hear_until("WATCHDOG");

    let fifo = proc.join("50/fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    std::fs::set_permissions(&fifo, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::rename(&fifo, proc.join("50/stat")).unwrap();
    systemd.wait_at_most(Duration::from_secs(2));
    let silent = (0..50).any(|_| systemd.try_hear().is_none());
    assert!(
        silent,
        "still pinging, twice the watchdog's time after the look began to hang"
    );
}
