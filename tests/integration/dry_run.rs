//! In a dry run all is decided and said, and nothing is started or signalled.

use std::process::Child;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::program::run;
use mfe_kit::{Till, eventually, section};

const KEY: &str = "comunicador";

fn pid(child: &Child) -> Pid {
    Pid::from_raw(child.id().try_into().unwrap())
}

#[test]
fn of_the_whole_service_or_of_one_process() {
    let till = Till::new();
    let (dry, wet) = (till.program('D'), till.program('W'));
    let [dry_section, wet_section] = [("dry", &dry), ("wet", &wet)].map(|(key, program)| {
        let script = till.script(&format!("{key}.sh"), &format!("exec {}", program.command()));
        section(key, &program.name, &script)
    });
    let of_one = format!("interval = \"100ms\"\n{dry_section}dry_run = true\n{wet_section}");
    let of_all = format!("interval = \"100ms\"\ndry_run = true\n{dry_section}{wet_section}");
    till.configure(&of_one);
    let service = run(&till);
    let up = service.wait_for_state("wet", "up");
    assert_eq!(up["pids"][0], wet.pid());
    let line = service.wait_for("dry_run", "dry");
    assert!(line.contains("nothing is done: "), "{line}");
    assert!(line.contains("would be started with "), "{line}");
    let status = service.wait_for_state("dry", "down");
    assert_eq!(status["detail"], "dry run: it would be started");

    till.configure(&of_all);
    service.signal(Signal::SIGHUP);
    service.wait_for_line("MFE_EVENT=reloaded");
    wet.kill();
    service.wait_for("dry_run", "wet");
    service.wait_cycles(10);
    for (key, program, starts) in [("dry", &dry, 0), ("wet", &wet, 1)] {
        assert_eq!(service.count("dry_run", key), 1, "said once");
        assert_eq!(program.starts().len(), starts, "nothing is started");
        assert_eq!(service.status(key)["state"], "down");
    }

    // In earnest again.
    till.configure(&of_all.replace("true", "false"));
    service.signal(Signal::SIGHUP);
    for (key, program) in [("dry", &dry), ("wet", &wet)] {
        let up = service.wait_for_state(key, "up");
        assert_eq!(up["pids"][0], program.pid(), "one copy");
    }
    assert_eq!((dry.starts().len(), wet.starts().len()), (1, 2));
}

#[test]
fn nobody_is_signalled() {
    let (till, program) = Till::with_rules(
        "dry_run = true\nduplicates = \"stop-newest\"\nstopped_timeout = \"200ms\"\n\
         stop_timeout = \"100ms\"\nstart_timeout = \"200ms\"\n\
         [[process.comunicador.check]]\nkind = \"age\"\nmax = \"100ms\"\nevery = \"100ms\"\n\
         action = \"restart\"",
    );
    let mut first = program.start();
    let service = run(&till);
    service.wait_for("adopted", KEY);
    service.wait_for_line("dry run, nothing is done: ");
    let line = service.wait_for("unhealthy", KEY);
    assert!(line.contains("(age)"), "{line}");
    let mut second = program.start();
    service.wait_for_line(&format!(
        "the second copy of {} (pid {}) would be ended",
        program.name,
        second.id()
    ));
    kill(pid(&first), Signal::SIGSTOP).unwrap();
    service.wait_for_line("(stopped): was stopped by a signal");
    service.wait_cycles(10);
    let status = service.status(KEY);
    assert_eq!(status["state"], "unhealthy", "{status}");
    let said = service.lines();
    let count = |text: &str| said.iter().filter(|line| line.contains(text)).count();
    assert_eq!(count("would be ended"), 1);
    assert_eq!(count("would be restarted"), 2, "for each reason once");
    assert_eq!(service.count("killed", KEY), 0);
    let state = std::fs::read_to_string(format!("/proc/{}/status", first.id())).unwrap();
    assert!(state.contains("State:\tT"), "nobody has sent SIGCONT");
    for child in [&mut first, &mut second] {
        assert_eq!(child.try_wait().unwrap(), None, "it lives");
        child.kill().unwrap();
        child.wait().unwrap();
    }
    eventually("told", || {
        (service.status(KEY)["state"] == "down").then_some(())
    });
    assert_eq!(program.starts().len(), 2, "nothing is started");
}
