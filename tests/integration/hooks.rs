//! Hooks: what they are given, when, and that nothing they do disturbs anybody.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::program::{mfe_watchdog, run};
use mfe_kit::{Program, Service, Systemd, Till, eventually, section};

/// A till with one program, looked at every 100 ms.
struct Stage {
    till: Till,
    program: Program,
    section: String,
}

impl Stage {
    fn new() -> Self {
        let till = Till::new();
        let program = till.program('H');
        let script = till.script("start.sh", &format!("exec {}", program.command()));
        let section = section("comunicador", &program.name, &script);
        Self {
            till,
            program,
            section,
        }
    }

    /// Configures these hooks: events, script, timeout.
    fn configure(&self, hooks: &[(&[&str], &Path, &str)]) {
        let mut text = format!("interval = \"100ms\"\n{}", self.section);
        for (on, script, timeout) in hooks {
            let script = toml::Value::from(script.to_str().unwrap());
            text += &format!(
                "[[hook]]\non = {on:?}\ncommand = [{script}, \"word\"]\ntimeout = \"{timeout}\"\n"
            );
        }
        self.till.configure(&text);
    }

    fn file(&self, name: &str) -> PathBuf {
        self.till.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).unwrap_or_default()
    }

    /// A hook that writes what it is given to files named `NAME.EVENT`.
    fn recorder(&self, name: &str) -> PathBuf {
        let base = self.file(name);
        let base = base.display();
        self.till.script(
            &format!("{name}.sh"),
            &format!(
                "cat > '{base}'.$MFE_EVENT.stdin\n\
                 env > '{base}'.$MFE_EVENT.new\n\
                 echo \"ARGUMENTS=$*\" >> '{base}'.$MFE_EVENT.new\n\
                 mv '{base}'.$MFE_EVENT.new '{base}'.$MFE_EVENT"
            ),
        )
    }

    /// A hook that appends a line to the file `NAME` before `rest`.
    fn counter(&self, name: &str, rest: &str) -> PathBuf {
        let file = self.file(name);
        self.till.script(
            &format!("{name}.sh"),
            &format!(
                "echo $MFE_EVENT $MFE_OUTAGE_MS $$ >> '{}'\n{rest}",
                file.display()
            ),
        )
    }

    /// Waits until a counter has so many lines.
    fn wait_for_lines(&self, name: &str, count: usize) -> Vec<String> {
        eventually((name, count), || {
            let lines: Vec<_> = self.text(name).lines().map(String::from).collect();
            (lines.len() >= count).then_some(lines)
        })
    }

    /// Waits for what a recorder was given: its variables, and the line on its standard input.
    fn recorded(&self, name: &str, event: &str) -> (Vec<String>, Value) {
        let name = format!("{name}.{event}");
        let text = eventually(&name, || fs::read_to_string(self.file(&name)).ok());
        let stdin = self.text(&format!("{name}.stdin"));
        assert_eq!(stdin.find('\n'), Some(stdin.len() - 1), "{stdin}");
        let json = serde_json::from_str(&stdin).unwrap();
        (text.lines().map(String::from).collect(), json)
    }

    fn kill_and_wait(&self, service: &Service, restarts: u64) {
        self.program.kill();
        service.wait_for_restarts("comunicador", restarts);
    }
}

fn lives(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

fn hook_failures(service: &Service) -> Vec<String> {
    let lines = service.lines().into_iter();
    lines
        .filter(|line| line.contains("MFE_EVENT=hook_failed"))
        .collect()
}

#[test]
fn events_come_with_variables_arguments_and_a_line_of_json() {
    let stage = Stage::new();
    let recorder = stage.recorder("told");
    stage.configure(&[(&["startup", "restarted", "shutdown"], &recorder, "10s")]);
    let mut command = mfe_watchdog();
    // What belongs to somebody else's event, and to the service alone.
    command.env("MFE_CAUSE", "stale").env("MFE_PID", "1");
    command.env("WATCHDOG_USEC", "60000000");
    let service = Service::start(&stage.till, &mut command);
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let host = host.trim();

    let (variables, json) = stage.recorded("told", "startup");
    let has = |variables: &[String], wanted: &str| variables.iter().any(|line| line == wanted);
    let lacks = |variables: &[String], name: &str| {
        let begin = format!("{name}=");
        !variables.iter().any(|line| line.starts_with(&begin))
    };
    assert!(has(&variables, "ARGUMENTS=word"), "{variables:#?}");
    assert!(has(&variables, "MFE_EVENT=startup"));
    assert!(has(&variables, &format!("MFE_HOST={host}")));
    for name in [
        "MFE_PROCESS",
        "MFE_PID",
        "MFE_CAUSE",
        "MFE_SIGNAL",
        "MFE_OUTAGE_MS",
        "WATCHDOG_USEC",
    ] {
        assert!(lacks(&variables, name), "{name} in {variables:#?}");
    }
    assert_eq!(json["event"], "startup");
    assert_eq!(json["host"], host);
    for name in ["process", "pid", "cause", "signal", "outage_ms"] {
        assert!(json.get(name).is_some_and(Value::is_null), "{name}: {json}");
    }
    assert!(json["message"].as_str().unwrap().starts_with("watching "));
    assert!(humantime::parse_rfc3339(json["time"].as_str().unwrap()).is_ok());

    service.wait_for_state("comunicador", "up");
    stage.kill_and_wait(&service, 1);
    let (variables, json) = stage.recorded("told", "restarted");
    let status = service.status("comunicador");
    assert!(has(&variables, "MFE_PROCESS=comunicador"), "{variables:#?}");
    assert!(has(&variables, &format!("MFE_PID={}", status["pids"][0])));
    assert!(has(&variables, "MFE_CAUSE=killed"));
    assert!(has(&variables, "MFE_SIGNAL=SIGKILL"));
    let outage = &status["last_restart"]["outage_ms"];
    assert!(has(&variables, &format!("MFE_OUTAGE_MS={outage}")));
    assert_eq!(json["process"], "comunicador");
    assert_eq!(json["pid"], status["pids"][0]);
    assert_eq!(json["cause"], "killed");
    assert_eq!(json["signal"], "SIGKILL");
    assert_eq!(json["outage_ms"], *outage);

    let (exit, lines) = service.stop(Signal::SIGTERM);
    assert_eq!(exit.code(), Some(0));
    // Told before the service's end, so it is there now.
    assert!(stage.file("told.shutdown").exists(), "{lines:#?}");
    assert_eq!(stage.recorded("told", "shutdown").1["event"], "shutdown");
    assert!(
        !lines.iter().any(|line| line.contains("hook_failed")),
        "{lines:#?}"
    );
}

#[test]
fn a_failed_start_is_told() {
    let stage = Stage::new();
    let recorder = stage.recorder("told");
    let missing = stage.till.path().join("bin/missing.sh");
    let section = section("comunicador", &stage.program.name, &missing);
    let stage = Stage { section, ..stage };
    stage.configure(&[(&["start_failed"], &recorder, "10s")]);
    let _service = run(&stage.till);
    let (_, json) = stage.recorded("told", "start_failed");
    assert_eq!(json["process"], "comunicador");
    let message = json["message"].as_str().unwrap();
    assert!(message.contains("is not installed"), "{message}");
}

#[test]
fn a_slow_hook_delays_no_restart_and_runs_once_at_a_time() {
    let stage = Stage::new();
    let busy = stage.file("busy");
    let gate = stage.file("gate");
    let slow = stage.counter(
        "slow",
        &format!(
            "mkdir '{busy}' || exit 1\nuntil [ -e '{gate}' ]; do sleep 0.01; done\nrmdir '{busy}'",
            busy = busy.display(),
            gate = gate.display()
        ),
    );
    let other = stage.counter("other", "");
    stage.configure(&[
        (&["restarted"], &slow, "1min"),
        (&["restarted"], &other, "10s"),
    ]);
    let service = run(&stage.till);
    service.wait_for_state("comunicador", "up");
    for restarts in 1..=3 {
        stage.kill_and_wait(&service, restarts);
        let status = service.status("comunicador");
        let outage = status["last_restart"]["outage_ms"].as_u64().unwrap();
        assert!(outage < 5_000, "{status}");
    }
    // Nor another hook, which has heard of all three while the first is still at its first one.
    stage.wait_for_lines("other", 3);
    assert_eq!(stage.wait_for_lines("slow", 1).len(), 1);
    fs::write(&gate, "").unwrap();
    stage.wait_for_lines("slow", 3);
    let (_, lines) = service.stop(Signal::SIGTERM);
    assert!(
        !lines.iter().any(|line| line.contains("hook_failed")),
        "{lines:#?}"
    );
}

#[test]
fn what_a_slow_hook_misses_is_counted_and_said() {
    let stage = Stage::new();
    let gate = stage.file("gate");
    let slow = stage.counter(
        "slow",
        &format!("until [ -e '{}' ]; do sleep 0.01; done", gate.display()),
    );
    stage.configure(&[(&["reloaded", "startup"], &slow, "1min")]);
    let service = run(&stage.till);
    stage.wait_for_lines("slow", 1);
    for reload in 1..=40 {
        service.signal(Signal::SIGHUP);
        // Signals of a kind don't queue.
        eventually(("reload", reload), || {
            let lines = service.lines();
            let said = lines
                .iter()
                .filter(|line| line.contains("MFE_EVENT=reloaded"));
            (said.count() == reload).then_some(())
        });
    }
    assert_eq!(hook_failures(&service), [""; 0], "not before there is room");
    fs::write(&gate, "").unwrap();
    let said = service.wait_for_line("MFE_EVENT=hook_failed");
    // 40 were to come after the first, and 32 wait.
    assert!(said.contains("it wasn't told of 8 events"), "{said}");
    stage.wait_for_lines("slow", 33);
    let (_, lines) = service.stop(Signal::SIGTERM);
    let said = lines.iter().filter(|line| line.contains("hook_failed"));
    assert_eq!(said.count(), 1, "{lines:#?}");
    assert_eq!(stage.text("slow").lines().count(), 33);
}

#[test]
fn at_its_timeout_a_hook_is_killed_with_all_it_has_started() {
    let stage = Stage::new();
    let hook = stage.counter(
        "hangs",
        &format!(
            "trap '' TERM HUP INT\nsleep 1000 &\necho $! >> '{}'\nwait; wait",
            stage.file("hangs").display()
        ),
    );
    stage.configure(&[(&["startup"], &hook, "300ms")]);
    let service = run(&stage.till);
    let said = service.wait_for_line("MFE_EVENT=hook_failed");
    let killed = "hangs.sh, run for startup, was killed because it took longer than 300ms";
    assert!(said.contains(killed), "{said}");
    let text = stage.text("hangs");
    let pids: Vec<_> = text.split_whitespace().skip(1).collect();
    assert_eq!(pids.len(), 2, "{text}");
    eventually("the end of both", || {
        (!pids.iter().any(|pid| lives(pid))).then_some(())
    });
    eventually("no zombie", || (!service.has_zombie()).then_some(()));
}

#[test]
fn a_hook_that_fails_is_said_once_until_it_works_again() {
    let stage = Stage::new();
    let works = stage.file("works");
    let flaky = stage.counter(
        "flaky",
        &format!(
            "[ -e '{}' ] && exit 0\nprintf '\\033[2Jno \\342\\200\\256line\\n' >&2\nexit 7",
            works.display()
        ),
    );
    // It would hear of itself, and the two of each other.
    let events: &[&str] = &["reloaded", "hook_failed", "restored"];
    let other = stage.counter("other", "exit 8");
    stage.configure(&[(events, &flaky, "10s"), (&["hook_failed"], &other, "10s")]);
    let service = run(&stage.till);
    service.wait_for_state("comunicador", "up");
    let reload = |runs: usize| {
        service.signal(Signal::SIGHUP);
        stage.wait_for_lines("flaky", runs);
    };
    for runs in 1..=3 {
        reload(runs);
    }
    stage.wait_for_lines("other", 1);
    service.wait_for_line("other.sh, run for hook_failed, failed with exit status 8");
    let said = hook_failures(&service);
    assert_eq!(said.len(), 2, "{said:#?}");
    let expected =
        "flaky.sh, run for reloaded, failed with exit status 7: \\u{1b}[2Jno \\u{202e}line";
    assert!(said[0].contains(expected), "{said:#?}");

    fs::write(&works, "").unwrap();
    reload(4);
    service.wait_for_line("flaky.sh works again");
    fs::remove_file(&works).unwrap();
    reload(5);
    stage.wait_for_lines("other", 2);
    let (_, lines) = service.stop(Signal::SIGTERM);
    let said = lines
        .iter()
        .filter(|line| line.contains("MFE_EVENT=hook_failed"));
    assert_eq!(said.count(), 3, "{lines:#?}");
    assert_eq!(
        stage.text("flaky").lines().count(),
        5,
        "never of a hook's failure"
    );
}

#[test]
fn a_hook_that_cannot_be_run_is_said_and_disturbs_nobody() {
    let stage = Stage::new();
    let missing = stage.till.path().join("bin/missing");
    stage.configure(&[(&["startup", "restarted"], &missing, "10s")]);
    let service = run(&stage.till);
    let said = service.wait_for_line("MFE_EVENT=hook_failed");
    assert!(
        said.contains("missing can't be run: No such file or directory"),
        "{said}"
    );
    service.wait_for_state("comunicador", "up");
    stage.kill_and_wait(&service, 1);
    let (exit, lines) = service.stop(Signal::SIGTERM);
    assert_eq!(exit.code(), Some(0));
    let said = lines.iter().filter(|line| line.contains("hook_failed"));
    assert_eq!(said.count(), 1, "{lines:#?}");
}

#[test]
fn the_end_waits_for_hooks_and_systemd_is_asked_to() {
    let stage = Stage::new();
    let slow = stage.counter(
        "slow",
        &format!("sleep 1\necho end >> '{}'", stage.file("slow").display()),
    );
    stage.configure(&[(&["shutdown"], &slow, "15s")]);
    let systemd = Systemd::new(&stage.till);
    let mut command = mfe_watchdog();
    command.env("NOTIFY_SOCKET", stage.till.path().join("notify"));
    let service = Service::start(&stage.till, &mut command);
    service.wait_for_state("comunicador", "up");
    let (exit, _) = service.stop(Signal::SIGTERM);
    assert_eq!(exit.code(), Some(0));
    assert!(
        stage.text("slow").ends_with("end\n"),
        "{}",
        stage.text("slow")
    );
    let heard = systemd.hear_until("EXTEND_TIMEOUT_USEC");
    assert!(heard.iter().any(|message| message.contains_key("STOPPING")));
    assert_eq!(heard.last().unwrap()["EXTEND_TIMEOUT_USEC"], "20000000");
}

#[test]
fn meanwhile_nothing_is_started() {
    let stage = Stage::new();
    let gate = stage.file("gate");
    let slow = stage.counter(
        "slow",
        &format!("until [ -e '{}' ]; do sleep 0.01; done", gate.display()),
    );
    stage.configure(&[(&["shutdown"], &slow, "1min")]);
    let service = run(&stage.till);
    service.wait_for_state("comunicador", "up");
    // A program runs a moment before it has noted that.
    let starts = eventually("its start is noted", || {
        Some(stage.program.starts().len()).filter(|starts| *starts > 0)
    });
    service.signal(Signal::SIGTERM);
    stage.wait_for_lines("slow", 1);
    stage.program.kill();
    // As long as three looks would have taken.
    std::thread::sleep(Duration::from_millis(300));
    fs::write(&gate, "").unwrap();
    let mut service = service;
    assert_eq!(service.wait().0.code(), Some(0));
    assert_eq!(stage.program.starts().len(), starts);
}

#[test]
fn the_end_comes_at_the_hooks_timeout_or_with_a_second_signal() {
    for second_signal in [false, true] {
        let stage = Stage::new();
        let hangs = stage.counter("hangs", "sleep 1000");
        let timeout = if second_signal { "1h" } else { "500ms" };
        stage.configure(&[(&["shutdown"], &hangs, timeout)]);
        let mut service = run(&stage.till);
        service.wait_for_state("comunicador", "up");
        let begin = Instant::now();
        service.signal(Signal::SIGTERM);
        let line = stage.wait_for_lines("hangs", 1).remove(0);
        if second_signal {
            service.signal(Signal::SIGTERM);
        }
        let (exit, lines) = service.wait();
        assert_eq!(exit.code(), Some(0));
        assert!(begin.elapsed() < Duration::from_secs(10));
        if !second_signal {
            let killed = "run for shutdown, was killed";
            assert!(lines.iter().any(|line| line.contains(killed)), "{lines:#?}");
        }
        let pid = line.split_whitespace().last().unwrap().to_owned();
        eventually("the hook's end", || (!lives(&pid)).then_some(()));
    }
}

#[test]
fn what_the_end_leaves_untold_is_counted() {
    let stage = Stage::new();
    let hangs = stage.counter("hangs", "sleep 1000");
    stage.configure(&[(&["reloaded", "shutdown"], &hangs, "1s")]);
    let service = run(&stage.till);
    service.wait_for_state("comunicador", "up");
    for reload in 1..=4 {
        service.signal(Signal::SIGHUP);
        eventually(("reload", reload), || {
            let lines = service.lines();
            let said = lines
                .iter()
                .filter(|line| line.contains("MFE_EVENT=reloaded"));
            (said.count() == reload).then_some(())
        });
    }
    let (exit, lines) = service.stop(Signal::SIGTERM);
    assert_eq!(exit.code(), Some(0));
    let said = "the service ends before the hook ";
    let said = lines.iter().find(|line| line.contains(said)).expect("said");
    assert!(said.contains("; events that it isn't told of: "), "{said}");
}

#[test]
fn a_reload_replaces_hooks_and_loses_nothing_of_those_that_stay() {
    let stage = Stage::new();
    let gate = stage.file("gate");
    let stays = stage.counter(
        "stays",
        &format!("until [ -e '{}' ]; do sleep 0.01; done", gate.display()),
    );
    let goes = stage.counter("goes", "");
    let comes = stage.counter("comes", "");
    let stays: (&[&str], &Path, &str) = (&["restarted"], &stays, "1min");
    stage.configure(&[(&["restarted"], &goes, "10s"), stays]);
    let service = run(&stage.till);
    service.wait_for_state("comunicador", "up");
    for restarts in 1..=2 {
        stage.kill_and_wait(&service, restarts);
    }
    stage.wait_for_lines("goes", 2);
    stage.configure(&[stays, (&["restarted", "reloaded"], &comes, "10s")]);
    service.signal(Signal::SIGHUP);
    let first = stage.wait_for_lines("comes", 1);
    assert!(
        first[0].starts_with("reloaded"),
        "the new hooks hear of it: {first:?}"
    );
    stage.kill_and_wait(&service, 3);
    stage.wait_for_lines("comes", 2);
    fs::write(&gate, "").unwrap();
    stage.wait_for_lines("stays", 3);
    assert_eq!(stage.text("goes").lines().count(), 2);
}

#[test]
fn a_hostile_name_arrives_escaped() {
    let till = Till::new();
    let name = format!("a\n\u{1b}[2J\u{202e}{}", std::process::id() % 1000);
    let program = till.program_named(&name);
    let script = till.script("start.sh", &format!("exec {}", program.command()));
    let section = section("comunicador", &name, &script);
    let stage = Stage {
        till,
        program,
        section,
    };
    let recorder = stage.recorder("told");
    stage.configure(&[(&["startup", "up"], &recorder, "10s")]);
    let service = run(&stage.till);
    for event in ["startup", "up"] {
        let (_, json) = stage.recorded("told", event);
        let message = json["message"].as_str().unwrap();
        assert!(message.contains("a\\n\\u{1b}[2J\\u{202e}"), "{message:?}");
        assert!(!message.contains(char::is_control), "{message:?}");
    }
    let lines = service.lines().join("\n");
    assert!(!lines.contains(['\u{1b}', '\u{202e}']), "{lines:?}");
}
