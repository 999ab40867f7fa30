//! Where pidfds are refused, by an old kernel or by a sandbox, everything works all the same, a quarter of a
//! second later. Only the answer to `pidfd_open(2)` is faked.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::program::BINARY;
use mfe_kit::{DEADLINE, Need, Service, Till, clean, eventually, needs};

/// So long that no death is found by the cycle.
const INTERVAL: Duration = Duration::from_secs(600);

/// An outage is told in milliseconds.
const MILLISECOND: Duration = Duration::from_millis(1);

#[test]
fn a_kernel_before_5_3_knows_no_pidfds() {
    needs!(Need::Package("strace"));
    every_death_is_found("ENOSYS");
}

#[test]
fn a_sandbox_refuses_pidfds() {
    needs!(Need::Package("strace"));
    every_death_is_found("EPERM");
}

/// A program that is unhealthy is ended and started again, and so is a second copy ended, though it
/// takes SIGKILL.
#[test]
fn whoever_has_to_end_is_ended_all_the_same() {
    needs!(Need::Package("strace"));
    for (call, errno) in [
        ("pidfd_open", "ENOSYS"),
        ("pidfd_open", "EPERM"),
        ("pidfd_send_signal", "EPERM"),
    ] {
        let (till, program) = Till::with_rules(
            "stopped_timeout = \"300ms\"\nstop_timeout = \"300ms\"\nduplicates = \"stop-newest\"",
        );
        let script = till.script(
            "start.sh",
            &format!("trap '' TERM; exec {}", program.command()),
        );
        let start = || std::process::Command::new(&script).spawn().unwrap();
        // Not by the service: what it starts is traced too, and so is as good as debugged.
        let mut somebody = start();
        let before = program.pid();
        let service = without_pidfds(&till, call, errno);
        service.wait_for("adopted", "comunicador");
        kill(Pid::from_raw(before), Signal::SIGSTOP).unwrap();
        eventually("it is ended", || somebody.try_wait().unwrap());
        let status = service.wait_for_restarts("comunicador", 1);
        assert_eq!(status["last_restart"]["cause"], "unhealthy");
        let first = program.pid();
        assert_ne!(first, before);

        let mut second = start();
        eventually("the second copy is ended", || second.try_wait().unwrap());
        eventually("both are told", || {
            (service.count("killed", "comunicador") == 2).then_some(())
        });
        assert_eq!(program.pid(), first);
        assert_eq!(program.starts().len(), 3);
        let lines = service.lines();
        let killed = lines.iter().filter(|line| line.contains("SIGKILL, after"));
        assert_eq!(killed.count(), 2, "{lines:#?}");
        assert!(
            lines.iter().all(|line| !line.contains("pidfd")),
            "{lines:#?}"
        );
    }
}

/// Runs the service in a place where this call fails with `errno`.
fn without_pidfds(till: &Till, call: &str, errno: &str) -> Service {
    let trace = till.path().join("trace");
    let mut command = clean(std::process::Command::new("strace"));
    command
        // The tracer is nobody's parent, so the service has the pid of the command. The quick
        // filter lets all other calls through at full speed.
        .args(["-D", "-q", "--seccomp-bpf", "-f"])
        .args(["-e", &format!("trace={call}")])
        .args(["-e", &format!("inject={call}:error={errno}"), "-o"])
        .args([trace.as_os_str(), BINARY.as_ref()]);
    Service::start(till, &mut command)
}

fn every_death_is_found(errno: &str) {
    let till = Till::new();
    let (own, adopted) = (till.program('C'), till.program('M'));
    let mut text = format!("interval = \"{}s\"\n", INTERVAL.as_secs());
    for (key, program) in [("own", &own), ("adopted", &adopted)] {
        let script = till.script(&format!("{key}.sh"), &format!("exec {}", program.command()));
        text += &mfe_kit::section(key, &program.name, &script);
    }
    till.configure(&text);
    let mut somebody = adopted.start();
    let service = without_pidfds(&till, "pidfd_open", errno);
    service.wait_for("adopted", "adopted");
    service.wait_for_state("own", "up");

    for (key, program) in [("own", &own), ("adopted", &adopted)] {
        for restarts in 1..=2 {
            let killed = SystemTime::now();
            program.kill();
            let status = service.wait_for_restarts(key, restarts);
            let outage = status["last_restart"]["outage_ms"].as_u64().unwrap();
            let began = UNIX_EPOCH + program.last_start().began;
            let gone = began.duration_since(killed).unwrap();
            assert!(
                Duration::from_millis(outage) + MILLISECOND >= gone,
                "{outage} ms were told of {gone:?}"
            );
            assert_eq!(status["pids"][0], program.pid(), "and one copy only");
        }
        assert_eq!(service.count("down", key), 2 + usize::from(key == "own"));
    }
    somebody.wait().unwrap();
    let trace = std::fs::read_to_string(till.path().join("trace")).unwrap();
    let asked = trace.lines().filter(|line| line.contains("pidfd_open("));
    let refused = trace.lines().filter(|line| line.contains(errno)).count();
    assert!(refused >= 6, "{trace}");
    assert_eq!(
        asked.count(),
        refused,
        "nothing else than refusals: {trace}"
    );
    assert!(
        service.lines().iter().all(|line| !line.contains("pidfd")),
        "nothing to complain about: it is slower, that is all"
    );
    const { assert!(INTERVAL.as_secs() > DEADLINE.as_secs()) };
}
