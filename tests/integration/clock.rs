//! The wall clock may be set while everything runs: it only ever labels things.

use crate::program::BINARY;
use mfe_kit::{Need, Service, Systemd, Till, eventually, in_mount_namespace, needs};

/// libfaketime shows the service another wall clock, the monotonic one stays as it is.
#[test]
fn a_clock_that_is_set_by_a_year_changes_nothing() {
    needs!(Need::Namespaces, Need::Package("libfaketime"));
    let library = std::process::Command::new("dpkg")
        .args(["-L", "libfaketime"])
        .output()
        .unwrap();
    let files = String::from_utf8(library.stdout).unwrap();
    let library = files
        .lines()
        .find(|file| file.ends_with("/libfaketime.so.1"))
        .unwrap();

    let (till, program) = Till::with_program();
    let clock = till.path().join("clock");
    let set = |offset: &str| {
        let new = till.path().join("clock.new");
        std::fs::write(&new, offset).unwrap();
        std::fs::rename(&new, &clock).unwrap();
    };
    set("+0");
    let systemd = Systemd::new(&till);
    // libfaketime leaves files in /dev/shm behind when its process is killed.
    let setup = format!("mount -t tmpfs none /dev/shm\nexport LD_PRELOAD='{library}'");
    let mut command = in_mount_namespace(&setup, BINARY);
    command
        .env("FAKETIME_TIMESTAMP_FILE", &clock)
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .env("DONT_FAKE_MONOTONIC", "1")
        .env("NOTIFY_SOCKET", till.path().join("notify"));
    let service = Service::start(&till, &mut command);
    service.wait_for_state("comunicador", "up");
    systemd.hear_until("READY");

    let year = |service: &Service| -> i32 {
        let since = service.status("comunicador")["last_restart"]["at"].clone();
        since
            .as_str()
            .map_or(0, |since| since[..4].parse().unwrap())
    };
    program.kill();
    service.wait_for_restarts("comunicador", 1);
    let now = year(&service);
    for (restarts, offset, expected) in [(2, "-366d", now - 1), (4, "+731d", now + 2)] {
        set(offset);
        for restarts in restarts..restarts + 2 {
            for _ in 0..3 {
                systemd.hear_until("WATCHDOG");
            }
            program.kill();
            let status = service.wait_for_restarts("comunicador", restarts);
            let outage = status["last_restart"]["outage_ms"].as_u64().unwrap();
            assert!(
                outage < 10_000,
                "{outage} ms, measured by the clock on the wall"
            );
        }
        eventually(("year", expected), || {
            (year(&service) == expected).then_some(())
        });
    }
    assert_eq!(program.starts().len(), 6, "one start, five restarts");
    assert_eq!(service.count("restarted", "comunicador"), 5);
}
