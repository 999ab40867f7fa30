//! Bringing programs back, whoever started them and however they die.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::program::{BINARY, run};
use mfe_kit::{Service, Till, clean, eventually, section};

#[test]
fn starts_what_is_absent_and_says_so_once() {
    let (till, program) = Till::with_program();
    let service = run(&till);

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
    let service = run(&till);
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
    assert!(!service.has_zombie(), "every child is reaped");
}

#[test]
fn adopts_what_somebody_else_started_and_brings_it_back() {
    let (till, program) = Till::with_program();
    let mut somebody = program.start();
    let service = run(&till);
    let line = service.wait_for("adopted", "comunicador");
    assert!(
        line.contains(&format!("MFE_PID={}", somebody.id())),
        "{line}"
    );
    let status = service.wait_for_state("comunicador", "up");
    assert_eq!(status["pids"][0], somebody.id());

    program.kill();
    somebody.wait().unwrap();
    let status = service.wait_for_restarts("comunicador", 1);
    assert_eq!(
        status["last_restart"]["outage_ms"],
        outage_of(&service, "comunicador")
    );
    assert_eq!(program.starts().len(), 2);
}

/// What the journal says the last outage was, in milliseconds.
fn outage_of(service: &Service, key: &str) -> u64 {
    let line = service.wait_for("restarted", key);
    let outage = line
        .split(' ')
        .find_map(|word| word.strip_prefix("MFE_OUTAGE_MS="));
    outage.expect("an outage").parse().unwrap()
}

/// A service that was stopped, or had no processor, can't know when a death was that it finds.
#[test]
fn an_end_while_the_service_stands_still_is_told_as_up_to() {
    const FOR: Duration = Duration::from_millis(1500);
    let (till, program) = Till::with_program();
    let mut somebody = program.start();
    let service = run(&till);
    service.wait_for("adopted", "comunicador");
    service.signal(Signal::SIGSTOP);
    program.kill();
    somebody.wait().unwrap();
    let killed = Instant::now();
    eventually("some time has passed", || {
        (killed.elapsed() > FOR).then_some(())
    });
    service.signal(Signal::SIGCONT);
    service.wait_for_restarts("comunicador", 1);
    let outage = Duration::from_millis(outage_of(&service, "comunicador"));
    assert!(outage > FOR, "{outage:?}");
    let line = service.wait_for("restarted", "comunicador");
    assert!(line.contains("after an outage of up to "), "{line}");
}

#[test]
fn a_zombie_is_gone_though_it_has_a_pid() {
    let till = Till::new();
    let program = till.program('M');
    let script = till.script("start.sh", &format!("{} &", program.command()));
    till.configure_scripts(&[("monitor", &program, &script)]);
    let mut parent_is_this_test = program.start();
    let service = run(&till);
    service.wait_for("adopted", "monitor");
    program.kill();
    let status = service.wait_for_restarts("monitor", 1);
    assert_eq!(status["pids"][0], program.pid());
    let zombie = i32::try_from(parent_is_this_test.id()).unwrap();
    let stat = procfs::process::Process::new(zombie)
        .unwrap()
        .stat()
        .unwrap();
    assert_eq!(stat.state, 'Z', "it was a zombie all the time");
    assert_eq!(
        status["last_restart"]["cause"], "killed",
        "as the kernel tells of a zombie"
    );
    parent_is_this_test.wait().unwrap();
}

#[test]
fn several_of_the_name_are_all_its_pids_and_one_is_enough() {
    let till = Till::new();
    let program = till.program('M');
    let script = till.script("start.sh", &format!("exec {}", program.command()));
    till.configure_scripts(&[("monitor", &program, &script)]);
    let (mut first, mut second) = (program.start(), program.start());
    let service = run(&till);
    service.wait_for("adopted", "monitor");
    assert_eq!(
        service.status("monitor")["pids"].as_array().unwrap().len(),
        2
    );
    first.kill().unwrap();
    first.wait().unwrap();
    eventually("one pid less", || {
        let pids = service.status("monitor")["pids"].clone();
        (pids == serde_json::json!([second.id()])).then_some(())
    });
    assert_eq!(service.status("monitor")["restarts"], 0);
    second.kill().unwrap();
    second.wait().unwrap();
    service.wait_for_restarts("monitor", 1);
    assert_eq!(program.starts().len(), 3);
}

#[test]
fn a_slow_start_is_started_once_and_delays_nobody() {
    let till = Till::new();
    let (slow, quick) = (till.program('S'), till.program('Q'));
    let [runs, gate] = ["slow.runs", "slow.gate"].map(|file| till.path().join(file));
    let slow_body = format!(
        "echo >> '{}'; until test -e '{}'; do sleep 0.05; done; exec {}",
        runs.display(),
        gate.display(),
        slow.command()
    );
    let slow_script = till.script("slow.sh", &slow_body);
    let quick_script = till.script("quick.sh", &format!("exec {}", quick.command()));
    till.configure_scripts(&[
        ("slow", &slow, &slow_script),
        ("quick", &quick, &quick_script),
    ]);
    let service = run(&till);
    service.wait_for_state("quick", "up");
    assert_eq!(service.status("slow")["state"], "starting");
    for kills in 1..=5 {
        quick.kill();
        service.wait_for_restarts("quick", kills);
    }
    assert_eq!(service.status("slow")["state"], "starting", "still at it");
    std::fs::write(gate, "").unwrap();
    let up = service.wait_for_state("slow", "up");
    assert_eq!(up["pids"][0], slow.pid());
    assert_eq!(std::fs::read(runs).unwrap(), b"\n", "run once");
    assert_eq!(slow.starts().len(), 1);
}

#[test]
fn a_start_program_that_hangs_is_replaced_never_doubled() {
    let till = Till::new();
    let program = till.program('C');
    let runs = till.path().join("runs");
    let hang = format!(
        "echo $$ >> '{}'; trap '' TERM; while :; do sleep 1; done",
        runs.display()
    );
    let script = till.script("start.sh", &hang);
    till.configure(&format!(
        "interval = \"100ms\"\n{}start_timeout = \"300ms\"\n",
        section("comunicador", &program.name, &script)
    ));
    let service = run(&till);
    let line = service.wait_for("start_failed", "comunicador");
    assert!(
        line.contains("no process of that name appeared within 300ms"),
        "{line}"
    );
    assert!(line.contains("the start script is still running"), "{line}");
    // SIGTERM is ignored, so it takes its SIGKILL; until then nothing else is started.
    let read = || std::fs::read_to_string(&runs).unwrap_or_default();
    eventually("a second try", || {
        (read().lines().count() > 1).then_some(())
    });
    let first = read().lines().next().unwrap().to_owned();
    assert!(
        !Path::new("/proc").join(first).exists(),
        "the first one is gone and reaped"
    );
    assert_eq!(service.count("start_failed", "comunicador"), 1, "said once");
    // The till gets well: the next try succeeds.
    till.script("start.sh", &format!("exec {}", program.command()));
    let up = service.wait_for_state("comunicador", "up");
    assert_eq!(up["pids"][0], program.pid());
    assert_eq!(program.starts().len(), 1);
}

#[test]
fn every_reason_of_a_failed_start_is_said_once() {
    let till = Till::new();
    let program = till.program('C');
    let path = till.path().join("bin/start.sh");
    till.configure_scripts(&[("comunicador", &program, &path)]);
    let service = run(&till);
    let shown = path.display();
    service.wait_for_line(&format!("{shown} is not installed"));
    let detail = service.wait_for_state("comunicador", "down")["detail"].clone();
    assert_eq!(detail, format!("{shown} is not installed"));

    let lock_out = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    let new = till.script("new", "exit 3");
    std::fs::set_permissions(&new, lock_out).unwrap();
    std::fs::rename(&new, &path).unwrap();
    service.wait_for_line(&format!(
        "{shown} can't be run: Permission denied (os error 13)"
    ));

    till.executable("start.sh", "no program at all");
    service.wait_for_line(&format!(
        "{shown} can't be run: Exec format error (os error 8)"
    ));

    till.script("start.sh", "exit 3");
    service.wait_for_line("the start script failed with exit status 3");
    till.script("start.sh", "kill -SEGV $$");
    service.wait_for_line("the start script failed with SIGSEGV");
    till.executable("start.sh", "#!/nonexistent/interpreter\n");
    service.wait_for_line(&format!("{shown} can't be run: No such file or directory"));

    let tries = till.path().join("tries");
    let count = format!("echo >> '{}'; exit 4", tries.display());
    till.script("start.sh", &count);
    eventually("ten more tries", || {
        (std::fs::metadata(&tries).ok()?.len() >= 10).then_some(())
    });
    assert_eq!(
        service.count("start_failed", "comunicador"),
        7,
        "one per reason"
    );
    assert_eq!(service.count("down", "comunicador"), 1);
    assert_eq!(service.count("starting", "comunicador"), 1);

    till.script("start.sh", &format!("exec {}", program.command()));
    service.wait_for_state("comunicador", "up");
    assert!(service.status("comunicador")["detail"].is_null());
}

#[test]
fn a_start_program_inherits_nothing_from_the_service() {
    let (till, program) = Till::with_program();
    // Somebody who leaks a descriptor, ignores signals, has an odd umask and stands somewhere.
    let mut sh = std::process::Command::new("sh");
    sh.args([
        "-c",
        "trap '' HUP INT QUIT PIPE USR1; umask 077; exec 7</dev/null; exec \"$@\"",
        "sh",
    ])
    .arg(BINARY)
    .current_dir(till.path());
    let mut sh = clean(sh);
    for (name, value) in [
        ("LISTEN_FDS", "1"),
        ("LISTEN_PID", "1"),
        ("LISTEN_FDNAMES", "x"),
        ("JOURNAL_STREAM", "1:2"),
        ("INVOCATION_ID", "0123456789abcdef0123456789abcdef"),
        ("WATCHDOG_USEC", "60000000"),
        ("WATCHDOG_PID", "1"),
        ("NOTIFY_SOCKET", "/nonexistent/notify"),
        ("KEPT", "as it is"),
    ] {
        sh.env(name, value);
    }
    let service = Service::start(&till, &mut sh);
    service.wait_for_state("comunicador", "up");
    let process = Path::new("/proc").join(program.pid().to_string());
    assert_eq!(
        std::fs::read_link(process.join("cwd")).unwrap(),
        Path::new("/")
    );
    let environment = std::fs::read(process.join("environ")).unwrap();
    let environment = String::from_utf8(environment).unwrap();
    assert!(
        environment.split('\0').any(|pair| pair == "KEPT=as it is"),
        "{environment}"
    );
    for name in [
        "LISTEN_",
        "JOURNAL_STREAM",
        "INVOCATION_ID",
        "WATCHDOG_",
        "NOTIFY_SOCKET",
    ] {
        let inherited = environment.split('\0').any(|pair| pair.starts_with(name));
        assert!(!inherited, "{name} in {environment}");
    }
    // The program may just be noting its start in a file of its own.
    eventually("only what the service gave it", || {
        let descriptors = std::fs::read_dir(process.join("fd")).unwrap();
        let targets = descriptors.map(|entry| std::fs::read_link(entry.unwrap().path()));
        let targets: Vec<PathBuf> = targets.filter_map(Result::ok).collect();
        (targets == [Path::new("/dev/null"); 3]).then_some(())
    });
    let status = std::fs::read_to_string(process.join("status")).unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.expect(name).trim().to_owned()
    };
    assert_eq!(field("Umask:"), "0022");
    // SIGPIPE is ignored by Rust's runtime in the stand-in; 32 and 33 are glibc's own, which
    // posix_spawn(3) sets to be ignored and every program sets up again.
    let expected = [Signal::SIGPIPE as u32, 32, 33].map(|number| 1 << (number - 1));
    let ignored = u64::from_str_radix(&field("SigIgn:"), 16).unwrap();
    assert_eq!(ignored & !expected.iter().sum::<u64>(), 0, "{status}");
    assert_eq!(field("SigBlk:"), "0000000000000000");
    let stat = procfs::process::Process::new(program.pid())
        .unwrap()
        .stat()
        .unwrap();
    assert_eq!(stat.pgrp, program.pid(), "leads its process group");
    assert_eq!(stat.session, program.pid(), "leads its session");
}

#[test]
fn nothing_that_happens_to_the_service_touches_the_programs() {
    let till = Till::new();
    let (stays, forks) = (till.program('C'), till.program('M'));
    let stays_script = till.script("stays.sh", &format!("exec {}", stays.command()));
    let forks_script = till.script("forks.sh", &format!("{} &", forks.command()));
    till.configure_scripts(&[
        ("stays", &stays, &stays_script),
        ("forks", &forks, &forks_script),
    ]);
    let service = run(&till);
    service.wait_for_state("stays", "up");
    service.wait_for_state("forks", "up");
    let pids = (stays.pid(), forks.pid());
    let (exit, _) = service.stop(Signal::SIGINT);
    assert!(exit.success());
    assert_eq!((stays.pid(), forks.pid()), pids);

    let service = run(&till);
    service.wait_for("adopted", "stays");
    service.wait_for("adopted", "forks");
    service.stop(Signal::SIGKILL);
    assert_eq!((stays.pid(), forks.pid()), pids);

    let service = run(&till);
    service.wait_for("adopted", "stays");
    service.wait_for("adopted", "forks");
    assert_eq!((stays.starts().len(), forks.starts().len()), (1, 1));
    stays.kill();
    forks.kill();
    service.wait_for_restarts("stays", 1);
    service.wait_for_restarts("forks", 1);
}

#[test]
fn a_start_that_outlives_the_service_is_waited_for_by_the_next_one() {
    let till = Till::new();
    let program = till.program('C');
    let runs = till.path().join("runs");
    let begin = till.path().join("begin");
    // It forks and ends, and what it has left behind takes its time.
    let slow = format!(
        "echo >> '{}'; (until test -e '{}'; do sleep 0.1; done; exec {}) &",
        runs.display(),
        begin.display(),
        program.command()
    );
    let script = till.script("start.sh", &slow);
    till.configure_scripts(&[("comunicador", &program, &script)]);
    for nth in 1..=3 {
        let service = run(&till);
        service.wait_for_state("comunicador", "starting");
        service.wait_for("starting", "comunicador");
        eventually("its start", || runs.exists().then_some(()));
        let (exit, _) = service.stop(Signal::SIGKILL);
        assert!(!exit.success(), "killed in run {nth}");
    }
    let service = run(&till);
    service.wait_for_state("comunicador", "starting");
    std::fs::write(&begin, "").unwrap();
    let up = service.wait_for_state("comunicador", "up");
    assert_eq!(up["pids"][0], program.pid());
    assert_eq!(std::fs::read(&runs).unwrap(), b"\n", "started once");
    assert_eq!(program.starts().len(), 1);
    program.kill();
    service.wait_for_restarts("comunicador", 1);
}

#[test]
fn odd_names_are_ordinary() {
    let till = Till::new();
    let unique = format!("{:x}", std::process::id() % 0xfff);
    let names = [
        format!("a b) S {unique}"),
        format!("ç\n{unique}"),
        format!("Comunicações-{unique}-fiscais-do-Ceará"),
        format!("({unique}))"),
    ];
    let programs = names.each_ref().map(|name| till.program_named(name));
    let mut text = String::from("interval = \"100ms\"\n");
    for (number, program) in programs.iter().enumerate() {
        let script = till.script(
            &format!("{number}.sh"),
            &format!("exec {}", program.command()),
        );
        text += &section(&format!("odd-{number}"), &program.name, &script);
    }
    till.configure(&text);
    let service = run(&till);
    for (number, program) in programs.iter().enumerate() {
        let key = format!("odd-{number}");
        let status = service.wait_for_state(&key, "up");
        assert_eq!(status["name"], program.name);
        program.kill();
        service.wait_for_restarts(&key, 1);
        eventually("noted", || (program.starts().len() == 2).then_some(()));
    }
    let lines = service.lines();
    assert!(
        lines
            .iter()
            .all(|line| line.contains("Z  INFO ") || line.contains("Z  WARN "))
    );
}

#[test]
fn a_name_in_another_case_is_another_program() {
    let till = Till::new();
    let lower = till.program('c');
    let upper = till.program_named(&lower.name.to_uppercase());
    let script = till.script("start.sh", &format!("exec {}", upper.command()));
    till.configure_scripts(&[("upper", &upper, &script)]);
    let mut other = lower.start();
    let service = run(&till);
    let up = service.wait_for_state("upper", "up");
    assert_eq!(up["pids"][0], upper.pid());
    assert_eq!(upper.starts().len(), 1);
    other.kill().unwrap();
    other.wait().unwrap();
    service.stop(Signal::SIGTERM);
    assert_eq!(upper.starts().len(), 1);
}

/// The earlier run was killed in the very moment of its start, before it could note that.
#[test]
fn a_start_that_nobody_remembers_is_waited_for_too() {
    let till = Till::new();
    let program = till.program('C');
    let (gate, runs) = (till.path().join("gate"), till.path().join("runs"));
    let body = format!(
        "echo >> '{}'; while [ -e '{}' ]; do sleep 0.01; done; exec {}",
        runs.display(),
        gate.display(),
        program.command()
    );
    let script = till.script("start.sh", &body);
    till.configure_scripts(&[("comunicador", &program, &script)]);
    let service = run(&till);
    service.wait_for_state("comunicador", "up");
    // What is born in the tick in which it came up is a part of that start.
    service.wait_cycles(1);
    service.stop(Signal::SIGKILL);
    program.kill();
    std::fs::write(&gate, "").unwrap();
    let orphan = Command::new("setsid").arg("--fork").arg(&script).status();
    assert!(orphan.unwrap().success());
    let runs = || std::fs::read(&runs).unwrap_or_default().len();
    eventually("the start is at work", || (runs() == 2).then_some(()));

    let service = run(&till);
    service.wait_for_state("comunicador", "starting");
    std::fs::remove_file(gate).unwrap();
    let up = service.wait_for_state("comunicador", "up");
    assert_eq!(up["pids"][0], program.pid());
    service.wait_cycles(5);
    assert_eq!(runs(), 2, "not started again");
    assert_eq!(program.starts().len(), 2);
}
