//! A service that runs for long needs no more of anything than one that has just begun.

use std::path::Path;

use crate::program::mfe_watchdog;
use mfe_kit::{Service, Systemd, Till};

/// Memory that may come and go: a page here and there.
const SLACK_KIB: u64 = 64;

/// What the service holds.
#[derive(Debug, PartialEq, Eq)]
struct Held {
    descriptors: usize,
    threads: u64,
    lines: usize,
}

/// The descriptors that it keeps: the fewest of some counts, for a cycle opens one or two.
fn descriptors(process: &procfs::process::Process) -> usize {
    let counts = (0..50).map(|_| process.fd_count().unwrap());
    counts.min().unwrap()
}

/// What the service holds, and its resident memory in KiB.
fn held(service: &Service) -> (Held, u64) {
    let process = procfs::process::Process::new(service.pid()).unwrap();
    let status = process.status().unwrap();
    let held = Held {
        descriptors: descriptors(&process),
        threads: status.threads,
        lines: service.lines().len(),
    };
    (held, status.vmrss.unwrap())
}

#[test]
fn nothing_grows_over_hundreds_of_cycles_and_restarts() {
    const RESTARTS: u64 = 100;
    let till = Till::new();
    let (first, second) = (till.program('C'), till.program('M'));
    let stays = till.script("stays.sh", &format!("exec {}", first.command()));
    let missing = Path::new("/nonexistent/start.sh");
    till.configure_scripts(&[("first", &first, &stays), ("second", &second, missing)]);
    let systemd = Systemd::new(&till);
    let mut command = mfe_watchdog();
    command.env("NOTIFY_SOCKET", till.path().join("notify"));
    let service = Service::start(&till, &mut command);
    let cycles = |count: usize| {
        for _ in 0..count {
            systemd.hear_until("WATCHDOG");
        }
    };
    service.wait_for_state("first", "up");
    for restarts in 1..=RESTARTS {
        first.kill();
        service.wait_for_restarts("first", restarts);
    }
    cycles(20);
    let (before, resident) = held(&service);
    let limit = resident + SLACK_KIB;
    cycles(100);
    let (after, resident) = held(&service);
    assert_eq!(after, before, "quiet cycles leave no trace");
    assert!(
        resident <= limit,
        "{resident} KiB after quiet cycles, not {limit}"
    );

    for restarts in RESTARTS + 1..=2 * RESTARTS {
        first.kill();
        service.wait_for_restarts("first", restarts);
    }
    cycles(20);
    let (after, resident) = held(&service);
    let restarts = usize::try_from(RESTARTS).unwrap();
    let expected = Held {
        // Each restart says three things: down, starting, restarted.
        lines: before.lines + 3 * restarts,
        ..before
    };
    assert_eq!(after, expected, "restarts leave nothing but their messages");
    assert!(
        resident <= limit,
        "{resident} KiB after restarts, not {limit}"
    );
    assert_eq!(after.threads, 1);
}
