//! Where pidfds are refused, by an old kernel or by a sandbox, everything works all the same, one
//! interval later. Only the answer to `pidfd_open(2)` is faked.

use std::time::{Duration, Instant};

use crate::support::{BINARY, DEADLINE, Service, Till, clean, install};

/// How late a machine under load may be.
const SLACK: Duration = Duration::from_secs(5);

/// Long enough that a death found at once is told from one found by the cycle.
const INTERVAL: Duration = Duration::from_secs(2);

#[test]
fn a_kernel_before_5_3_knows_no_pidfds() {
    the_cycle_finds_every_death("ENOSYS");
}

#[test]
fn a_sandbox_refuses_pidfds() {
    the_cycle_finds_every_death("EPERM");
}

fn the_cycle_finds_every_death(errno: &str) {
    install("strace");
    let till = Till::new();
    let (own, adopted) = (till.program('C'), till.program('M'));
    let mut text = format!("interval = \"{}s\"\n", INTERVAL.as_secs());
    for (key, program) in [("own", &own), ("adopted", &adopted)] {
        let script = till.script(&format!("{key}.sh"), &format!("exec {}", program.command()));
        text += &crate::support::section(key, &program.name, &script);
    }
    till.configure(&text);
    let mut somebody = adopted.start();
    let trace = till.path().join("trace");
    let mut command = clean(std::process::Command::new("strace"));
    command
        // The tracer is nobody's parent, so the service has the pid of the command. The quick
        // filter lets all other calls through at full speed.
        .args(["-D", "-q", "--seccomp-bpf", "-f", "-e", "trace=pidfd_open"])
        .args(["-e", &format!("inject=pidfd_open:error={errno}"), "-o"])
        .args([trace.as_os_str(), BINARY.as_ref()]);
    let service = Service::start_with(&till, &mut command);
    service.wait_for("adopted", "adopted");
    service.wait_for_state("own", "up");

    for (key, program) in [("own", &own), ("adopted", &adopted)] {
        for restarts in 1..=2 {
            let killed = Instant::now();
            program.kill();
            let status = service.wait_for_restarts(key, restarts);
            assert!(
                killed.elapsed() < INTERVAL + SLACK,
                "{:?} is more than one interval",
                killed.elapsed()
            );
            assert_eq!(status["pids"][0], program.pid(), "and one copy only");
        }
        assert_eq!(service.count("down", key), 2 + usize::from(key == "own"));
    }
    somebody.wait().unwrap();
    let trace = std::fs::read_to_string(trace).unwrap();
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
    const { assert!(INTERVAL.as_secs() + SLACK.as_secs() < DEADLINE.as_secs()) };
}
