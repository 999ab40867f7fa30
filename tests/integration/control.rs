//! `pause`, `resume`, `restart`, `stop`, `start`: what they do, say and refuse.

use std::io::Write;
use std::os::unix::net::UnixStream;

use nix::sys::signal::Signal;

use crate::program::{mfe_watchdog, run};
use mfe_kit::schema::{STATUS_SCHEMA, assert_valid};
use mfe_kit::{Need, Output, Service, Till, eventually, needs, output};

fn ask(till: &Till, arguments: &[&str]) -> Output {
    let mut command = mfe_watchdog();
    command.args(arguments);
    command.arg("--runtime-dir").arg(till.runtime_dir());
    output(&mut command)
}

/// What was asked for was done, in these words.
fn assert_done(till: &Till, arguments: &[&str], begin: &str, end: &str) {
    let asked = ask(till, arguments);
    assert_eq!((asked.code(), asked.stderr.as_str()), (0, ""));
    let said = asked.stdout.trim_end();
    assert!(said.starts_with(begin) && said.ends_with(end), "{said}");
}

fn assert_refused(till: &Till, arguments: &[&str], code: i32, words: &str) {
    let asked = ask(till, arguments);
    assert_eq!((asked.code(), asked.stdout.as_str()), (code, ""));
    assert!(asked.stderr.contains(words), "{}", asked.stderr);
}

fn wait_until_paused(service: &Service) {
    service.wait_for_state("comunicador", "paused");
}

#[test]
fn what_is_paused_is_left_alone_until_it_is_resumed() {
    let (till, program) = Till::with_program();
    let service = run(&till);
    service.wait_for_state("comunicador", "up");
    let pause = ["pause", "--for", "30m", "--reason", "driver update"];
    assert_done(&till, &pause, "paused until ", ": comunicador");
    wait_until_paused(&service);
    let line = service.wait_for("paused", "comunicador");
    assert!(line.contains("for 30min"), "{line}");
    assert!(line.contains(": driver update"), "{line}");
    let status = service.status("comunicador");
    assert_eq!(status["detail"], "driver update");
    assert!(status["paused_until"].is_string());

    program.kill();
    service.wait_for("down", "comunicador");
    let json = serde_json::from_str(&ask(&till, &["status", "--json"]).stdout).unwrap();
    assert_valid(STATUS_SCHEMA, &json);
    let shown = ask(&till, &["status"]);
    assert_eq!(shown.code(), 1);
    assert!(shown.stdout.contains("  paused until "), "{}", shown.stdout);
    assert_eq!(program.starts().len(), 1, "nothing is started");
    let paused = "comunicador is paused; end that first";
    assert_refused(&till, &["restart", "comunicador"], 1, paused);

    assert_done(&till, &["resume"], "resumed: comunicador", "");
    service.wait_for("resumed", "comunicador");
    service.wait_for_restarts("comunicador", 1);
    assert_done(&till, &["resume", "comunicador"], "nothing was paused", "");
}

#[test]
fn a_pause_ends_by_itself() {
    let (till, program) = Till::with_program();
    let service = run(&till);
    service.wait_for_state("comunicador", "up");
    assert_done(
        &till,
        &["pause", "comunicador", "--for", "1s"],
        "paused until",
        "comunicador",
    );
    wait_until_paused(&service);
    program.kill();
    let line = service.wait_for("resumed", "comunicador");
    assert!(line.contains("the pause is over"), "{line}");
    service.wait_for_restarts("comunicador", 1);
}

#[test]
fn a_pause_outlives_the_service() {
    let (till, program) = Till::with_program();
    let service = run(&till);
    service.wait_for_state("comunicador", "up");
    assert_done(&till, &["pause", "--for", "1h"], "paused until", "");
    wait_until_paused(&service);
    service.stop(Signal::SIGKILL);
    program.kill();
    let service = run(&till);
    service.wait_for("down", "comunicador");
    wait_until_paused(&service);
    assert_eq!(program.starts().len(), 1);
    assert_done(&till, &["resume"], "resumed", "");
    service.wait_for_state("comunicador", "up");
}

#[test]
fn a_restart_that_is_asked_for_is_told_as_one() {
    let (till, program) = Till::with_program();
    let service = run(&till);
    service.wait_for_state("comunicador", "up");
    let before = program.pid();
    assert_done(
        &till,
        &["restart", "comunicador"],
        &format!("restarted: {} (pid ", program.name),
        ")",
    );
    let status = service.status("comunicador");
    assert_eq!(
        (&status["state"], &status["restarts"]),
        (&"up".into(), &1.into())
    );
    assert_eq!(status["last_restart"]["cause"], "requested");
    assert_ne!(program.pid(), before);
    assert_eq!(program.starts().len(), 2);
    assert!(
        service
            .wait_for("killed", "comunicador")
            .contains("SIGTERM")
    );
}

#[test]
fn a_restart_says_what_has_come_of_it() {
    let (till, program) = Till::with_program();
    let service = run(&till);
    service.wait_for_state("comunicador", "up");
    let no_wait = ["restart", "COMUNICADOR", "--no-wait"];
    assert_done(&till, &no_wait, "being restarted: comunicador", "");
    service.wait_for_restarts("comunicador", 1);
    till.script("start.sh", "exit 3");
    // Half of it may be there yet, so the program that runs is not ended for it.
    let words = "is just being replaced";
    assert_refused(&till, &["restart", "comunicador"], 1, words);
    assert_eq!(service.status("comunicador")["state"], "up");
    till.settle();
    let words = format!("{} didn't come up: down", program.name);
    assert_refused(&till, &["restart", "comunicador"], 1, &words);
    let status = service.status("comunicador");
    assert!(
        status["detail"].to_string().contains("exit status 3"),
        "{status}"
    );
}

#[test]
fn in_a_dry_run_nothing_is_restarted_and_that_is_said() {
    let (till, program) = Till::with_program();
    let configuration = std::fs::read_to_string(till.config()).unwrap();
    till.configure(&format!("dry_run = true\n{configuration}"));
    let started = program.start();
    let _guard = mfe_kit::Guard(started);
    let service = run(&till);
    service.wait_for_state("comunicador", "up");
    assert_refused(&till, &["restart", "comunicador"], 1, "dry_run = true");
    assert_refused(&till, &["stop", "comunicador"], 1, "so nothing is ended");
    assert_eq!(service.status("comunicador")["state"], "up");
}

#[test]
fn a_program_may_be_named_as_the_status_names_it() {
    let (till, program) = Till::with_program();
    let service = run(&till);
    service.wait_for_state("comunicador", "up");
    // Without a time it is an hour.
    let name = program.name.to_uppercase();
    assert_done(&till, &["pause", &name], "paused until ", ": comunicador");
    wait_until_paused(&service);
    let line = service.wait_for("paused", "comunicador");
    assert!(line.contains("for 1h"), "{line}");
    assert_done(
        &till,
        &["resume", "Comunicador"],
        "resumed: comunicador",
        "",
    );
}

#[test]
fn what_cannot_be_done_is_refused_in_clear_words() {
    let (till, _program) = Till::with_program();
    let not_running = "the service is not running";
    assert_refused(&till, &["pause", "--for", "1m"], 3, not_running);
    assert_refused(&till, &["resume"], 3, not_running);
    for command in ["restart", "stop", "start"] {
        assert_refused(&till, &[command, "comunicador"], 3, not_running);
    }
    let service = run(&till);
    service.wait_for_state("comunicador", "up");
    let unknown = "unknown program: monitor (use comunicador)";
    for arguments in [
        &["pause", "comunicador", "monitor", "--for", "1m"][..],
        &["resume", "monitor"],
        &["restart", "monitor"],
        &["stop", "monitor"],
        &["start", "monitor"],
    ] {
        assert_refused(&till, arguments, 1, unknown);
    }
    for time in ["25h", "0s", "soon", "-1m"] {
        let time = format!("--for={time}");
        assert_refused(&till, &["pause", &time], 2, "from 1s to 24h");
        assert_refused(&till, &["stop", "comunicador", &time], 2, "from 1s to 24h");
    }
    assert_eq!(service.status("comunicador")["state"], "up");
}

#[test]
fn only_root_may_ask() {
    needs!(Need::Root("it asks as another user"));
    let (till, _program) = Till::with_program();
    let service = run(&till);
    service.wait_for_state("comunicador", "up");
    let mut command = std::process::Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]);
    // Somebody else can't enter the test's own directories.
    let copy = tempfile::Builder::new()
        .prefix("mfe-")
        .tempdir_in("/tmp")
        .unwrap();
    let program = copy.path().join("mfe-watchdog");
    mfe_kit::install_program(std::path::Path::new(crate::program::BINARY), &program);
    let open = |path: &std::path::Path| {
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .unwrap();
    };
    open(copy.path());
    open(till.path());
    command
        .arg(&program)
        .args(["pause", "--for", "1m", "--runtime-dir"]);
    command.arg(till.runtime_dir());
    let asked = output(&mut command);
    assert_eq!((asked.code(), asked.stdout.as_str()), (1, ""));
    assert!(
        asked.stderr.contains(
            "only root may do that; run: sudo mfe-watchdog pause --for 1m --runtime-dir /"
        ),
        "{}",
        asked.stderr
    );
}

/// Ended, and not brought back, also not by the service that comes after this one; until somebody wants that.
#[test]
fn what_is_stopped_stays_away_until_it_is_started() {
    let (till, program) = Till::with_program();
    let service = run(&till);
    service.wait_for_state("comunicador", "up");
    let name = &program.name;
    let stop = ["stop", name, "--for", "2h", "--reason", "driver update"];
    let begin = format!("stopped: {name}, paused until ");
    assert_done(&till, &stop, &begin, "sudo mfe-watchdog start comunicador");
    assert!(program.pids().is_empty());
    let line = service.wait_for("paused", "comunicador");
    assert!(line.contains("for 2h: driver update"), "{line}");
    let line = service.wait_for("killed", "comunicador");
    assert!(
        line.contains("was stopped because somebody asked for it"),
        "{line}"
    );
    assert!(line.contains("MFE_CAUSE=stopped"), "{line}");
    service.wait_for("down", "comunicador");
    service.wait_cycles(3);
    service.stop(Signal::SIGKILL);
    let service = run(&till);
    service.wait_for_state("comunicador", "paused");
    service.wait_cycles(3);
    assert_eq!((program.pids(), program.starts().len()), (Vec::new(), 1));

    let begin = format!("started: {name} (pid ");
    assert_done(&till, &["start", "comunicador"], &begin, ")");
    assert_eq!(program.starts().len(), 2);
    let status = service.status("comunicador");
    assert_eq!(status["state"], "up");
    assert_eq!(status["last_restart"]["cause"], "stopped");
    let json = serde_json::from_str(&ask(&till, &["status", "--json"]).stdout).unwrap();
    assert_valid(STATUS_SCHEMA, &json);
    let pid = program.pid();
    let running = format!("comunicador is running already (pid {pid})");
    assert_done(&till, &["start", name], &running, "so nothing is started");
    assert_eq!(program.pids(), [pid]);
}

#[test]
fn what_is_started_in_a_pause_is_left_alone_if_it_runs() {
    let (till, program) = Till::with_program();
    let service = run(&till);
    service.wait_for_state("comunicador", "up");
    assert_done(&till, &["pause"], "paused until ", "");
    wait_until_paused(&service);
    let running = format!("comunicador is running already (pid {})", program.pid());
    assert_done(&till, &["start", "comunicador"], &running, "");
    service.wait_for_state("comunicador", "up");
    assert_eq!(program.starts().len(), 1);
}

#[test]
fn what_ignores_sigterm_is_killed_after_its_time() {
    let (till, program) = Till::with_rules("stop_timeout = \"300ms\"");
    let body = format!("trap '' TERM\nexec {}", program.command());
    till.script("start.sh", &body);
    let service = run(&till);
    service.wait_for_state("comunicador", "up");
    assert_done(&till, &["stop", "comunicador"], "stopped: ", "");
    assert!(program.pids().is_empty());
    let line = service.wait_for("killed", "comunicador");
    assert!(line.contains("SIGKILL"), "{line}");
    // Without a time it is an hour.
    assert!(service.wait_for("paused", "comunicador").contains("for 1h"));
    service.wait_cycles(3);
    assert_eq!(program.starts().len(), 1);
}

/// Else it would come up behind the back of whoever was told that it is stopped.
#[test]
fn what_is_being_started_is_stopped_once_it_is_there() {
    let (till, program) = Till::with_program();
    let body = format!("sleep 2\nexec {}", program.command());
    till.script("start.sh", &body);
    let service = run(&till);
    service.wait_for_state("comunicador", "starting");
    assert_done(&till, &["stop", "comunicador"], "stopped: ", "");
    assert_eq!((program.pids(), program.starts().len()), (Vec::new(), 1));
}

#[test]
fn what_somebody_else_starts_after_a_stop_is_left_alone() {
    let (till, program) = Till::with_program();
    let service = run(&till);
    service.wait_for_state("comunicador", "up");
    assert_done(&till, &["stop", "comunicador"], "stopped: ", "");
    let _guard = mfe_kit::Guard(program.start());
    eventually("it is seen", || {
        let pids = service.status("comunicador")["pids"].clone();
        (pids == serde_json::json!([program.pid()])).then_some(())
    });
    assert_eq!(service.status("comunicador")["state"], "paused");
    service.wait_cycles(3);
    assert_eq!(program.starts().len(), 2);
    assert_eq!(service.count("killed", "comunicador"), 1);
}

#[test]
fn a_start_says_what_has_come_of_it() {
    let (till, program) = Till::with_program();
    let service = run(&till);
    service.wait_for_state("comunicador", "up");
    assert_done(&till, &["stop", "comunicador"], "stopped: ", "");
    till.script("start.sh", "exit 3");
    let replaced = "comunicador is not started: ";
    assert_refused(&till, &["start", "comunicador"], 1, replaced);
    till.settle();
    let words = format!("{} didn't come up: down", program.name);
    assert_refused(&till, &["start", "comunicador"], 1, &words);
    let no_wait = ["start", "comunicador", "--no-wait"];
    assert_done(&till, &no_wait, "being started: comunicador", "");
}

#[test]
fn nonsense_holds_up_nobody() {
    let (till, program) = Till::with_program();
    let service = run(&till);
    service.wait_for_state("comunicador", "up");
    let socket = till.runtime_dir().join("control");
    let _silent = UnixStream::connect(&socket).unwrap();
    let mut chatty = UnixStream::connect(&socket).unwrap();
    let _ = chatty.write_all(&vec![b'x'; 1 << 20]);
    program.kill();
    service.wait_for_restarts("comunicador", 1);
    assert_done(&till, &["pause", "--for", "1m"], "paused until", "");
    eventually("paused", || {
        (service.status("comunicador")["state"] == "paused").then_some(())
    });
}

/// Else the program would be ended, and nothing come in its place.
#[test]
fn what_could_not_be_started_again_is_not_restarted() {
    let (till, program) = Till::with_program();
    let service = run(&till);
    service.wait_for_state("comunicador", "up");
    let pid = program.pid();
    std::fs::remove_file(till.path().join("bin/start.sh")).unwrap();
    let refused = "comunicador is not restarted, because nothing could be started in its place: ";
    assert_refused(&till, &["restart", "comunicador"], 1, refused);
    let refused = "comunicador is not stopped: it couldn't be started again: ";
    assert_refused(&till, &["stop", "comunicador"], 1, refused);
    service.wait_cycles(2);
    assert_eq!(program.pids(), [pid]);
    assert_eq!(program.starts().len(), 1);
}
