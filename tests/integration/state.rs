//! What is remembered beyond the service's end: whatever somebody has done to the file, the service
//! runs, touches nothing else and remembers again.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, SystemTime};

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::Value;

use crate::program::{BINARY, mfe_watchdog, run};
use mfe_kit::{Service, Till, eventually, in_mount_namespace, output};

const KEY: &str = "comunicador";

/// The service is killed, `damage` done to the file it has left, and the next run gets over it; says
/// why the file was of no use.
fn gets_over(damage: impl FnOnce(&Path)) -> (Till, String) {
    let (till, program) = Till::with_program();
    let file = till.runtime_dir().join("state.json");
    let remembers = |restarts: u64| {
        eventually(("remembered restarts", restarts), || {
            let state: Value = serde_json::from_slice(&fs::read(&file).ok()?).ok()?;
            let is_alive = state["processes"][0]["alive"][0][0] == program.pid();
            (is_alive && state["processes"][0]["restarts"] == restarts).then_some(())
        });
    };
    let service = run(&till);
    service.wait_for_state(KEY, "up");
    program.kill();
    service.wait_for_restarts(KEY, 1);
    remembers(1);
    drop(service);
    let before = program.pid();

    fs::remove_file(&file).unwrap();
    damage(&file);
    let service = run(&till);
    let line = service.wait_for_line("the saved state is lost");
    assert!(line.contains("MFE_EVENT=degraded"), "{line}");
    assert!(line.contains("the file is set aside"), "{line}");
    let status = service.wait_for_state(KEY, "up");
    assert_eq!(status["pids"][0], before, "adopted");
    assert_eq!(status["restarts"], 0);
    assert_eq!(program.starts().len(), 2, "nothing is started");
    program.kill();
    service.wait_for_restarts(KEY, 1);
    remembers(1);
    assert!(fs::symlink_metadata(&file).unwrap().is_file());
    let (exit, lines) = service.stop(Signal::SIGTERM);
    assert!(exit.success());
    let lost = lines.iter().filter(|line| line.contains("is lost"));
    assert_eq!(lost.count(), 1, "{lines:#?}");
    (till, line)
}

fn aside(till: &Till) -> std::path::PathBuf {
    till.runtime_dir().join("state.json.corrupt")
}

#[test]
fn a_file_that_is_not_in_our_form_is_set_aside() {
    for text in ["", "{", "\u{0}\u{0}", "{\"version\":1}", "\u{1b}[2J"] {
        let (till, line) = gets_over(|file| fs::write(file, text).unwrap());
        assert!(line.contains("isn't in this service's form"), "{line}");
        assert_eq!(fs::read_to_string(aside(&till)).unwrap(), text);
    }
}

#[test]
fn a_link_is_not_followed() {
    let elsewhere = tempfile::tempdir().unwrap();
    let victim = elsewhere.path().join("victim");
    fs::write(&victim, "{\"version\":1,\"boot_id\":\"\",\"processes\":[]}").unwrap();
    let (till, line) = gets_over(|file| symlink(&victim, file).unwrap());
    assert!(line.contains("symbolic link"), "{line}");
    assert_eq!(fs::read_link(aside(&till)).unwrap(), victim);
    assert!(
        fs::read_to_string(&victim)
            .unwrap()
            .starts_with("{\"version\"")
    );
}

#[test]
fn a_fifo_is_not_waited_for() {
    let (_till, line) = gets_over(|file| mkfifo(file, Mode::S_IRWXU).unwrap());
    assert!(line.contains("isn't a regular file"), "{line}");
}

#[test]
fn a_huge_file_is_not_read() {
    let (_till, line) = gets_over(|file| {
        fs::File::create(file).unwrap().set_len(1 << 40).unwrap();
    });
    assert!(
        line.contains("larger than any file of this service"),
        "{line}"
    );
}

/// On a disk that can only be read it is kept in memory; that is said once, and once that it is over.
#[test]
fn a_disk_that_cannot_be_written_is_said_once_and_supervision_goes_on() {
    let (till, program) = Till::with_program();
    let state_dir = till.path().join("state");
    fs::create_dir(&state_dir).unwrap();
    let setup = "mount -t tmpfs none \"$STATE\"\nmount -o remount,ro \"$STATE\"";
    let mut command = in_mount_namespace(setup, BINARY);
    command.env("STATE", &state_dir).arg("--state-dir");
    let service = Service::start(&till, command.arg(&state_dir));
    service.wait_for_state(KEY, "up");
    let line = service.wait_for_line("can't be written to");
    assert!(line.contains(state_dir.to_str().unwrap()), "{line}");
    assert!(
        line.contains("; supervision goes on MFE_EVENT=degraded"),
        "{line}"
    );
    for restarts in 1..=3 {
        program.kill();
        service.wait_for_restarts(KEY, restarts);
    }
    let degraded = |event: &str| {
        let lines = service.lines();
        let event = format!("MFE_EVENT={event}");
        lines.iter().filter(|line| line.contains(&event)).count()
    };
    assert_eq!((degraded("degraded"), degraded("restored")), (1, 0));
    let mut command = std::process::Command::new("nsenter");
    command.args(["--mount", "--target", &service.pid().to_string()]);
    command.args(["mount", "-o", "remount,rw"]).arg(&state_dir);
    assert_eq!(output(&mut command).code(), 0);
    program.kill();
    service.wait_for_line("remembering works again MFE_EVENT=restored");
    let inside = format!(
        "/proc/{}/root{}/state.json",
        service.pid(),
        state_dir.display()
    );
    eventually("remembered", || {
        let state: Value = serde_json::from_slice(&fs::read(&inside).ok()?).ok()?;
        (state["processes"][0]["restarts"] == 4).then_some(())
    });
    assert_eq!((degraded("degraded"), degraded("restored")), (1, 1));
}

/// A pause is on the disk when the command has been answered; what the next run finds there holds.
#[test]
fn a_pause_outlives_a_crash_a_stop_and_a_reboot() {
    let (till, program) = Till::with_program();
    let file = till.runtime_dir().join("state.json");
    let service = run(&till);
    service.wait_for_state(KEY, "up");
    let mut pause = mfe_watchdog();
    pause.args(["pause", "--for", "1h", "--runtime-dir"]);
    assert_eq!(output(pause.arg(till.runtime_dir())).code(), 0);
    let until = || -> Option<u64> {
        let state: Value = serde_json::from_slice(&fs::read(&file).ok()?).ok()?;
        state["processes"][0]["pause"]["until"].as_u64()
    };
    let asked = eventually("remembered", until);
    service.stop(Signal::SIGKILL);
    program.kill();
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let service = run(&till);
        service.wait_for_state(KEY, "paused");
        service.wait_cycles(2);
        // It is written to the millisecond.
        let kept = until().unwrap();
        assert!(kept.abs_diff(asked) <= 10, "{kept}, not {asked}");
        service.stop(signal);
    }
    let text = fs::read_to_string(&file).unwrap();
    let state: Value = serde_json::from_str(&text).unwrap();
    let boot = state["boot_id"].as_str().unwrap();
    let written = state["written"].as_u64().unwrap();
    fs::write(&file, text.replace(boot, "another")).unwrap();
    let service = run(&till);
    service.wait_for_state(KEY, "paused");
    let now = eventually("remembered again", || {
        until().filter(|until| until.abs_diff(asked) > 10)
    });
    let spent = now - asked;
    let state: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let since = state["written"].as_u64().unwrap() - written;
    assert!(
        spent <= since,
        "{spent} ms of {since} ms between the two didn't count"
    );
    assert_eq!(program.starts().len(), 1);
}

/// Neither a failed try nor another run of the service begins anew since when a program is gone, or up.
#[test]
fn since_is_since_when_it_is_so() {
    let (till, program) = Till::with_program();
    let service = run(&till);
    service.wait_for_state(KEY, "up");
    let since = |service: &Service| {
        let since = service.status(KEY)["since"].to_string();
        humantime::parse_rfc3339(since.trim_matches('"')).unwrap()
    };
    let is_near = |one: SystemTime, other: SystemTime| {
        let apart = one
            .duration_since(other)
            .unwrap_or_else(|error| error.duration());
        apart < Duration::from_millis(50)
    };
    till.script("start.sh", "exit 1");
    let before = SystemTime::now();
    program.kill();
    service.wait_for("start_failed", KEY);
    let after = SystemTime::now();
    let gone = since(&service);
    assert!(before - Duration::from_millis(1) <= gone && gone <= after);
    service.wait_cycles(10);
    assert_eq!(since(&service), gone, "whatever was tried");
    service.stop(Signal::SIGKILL);
    let service = run(&till);
    service.wait_for("down", KEY);
    service.wait_cycles(5);
    assert!(is_near(since(&service), gone), "{:?}", since(&service));

    till.script("start.sh", &format!("exec {}", program.command()));
    service.wait_for_state(KEY, "up");
    let up = since(&service);
    assert!(up > after);
    service.stop(Signal::SIGTERM);
    let service = run(&till);
    service.wait_for_state(KEY, "up");
    assert!(is_near(since(&service), up), "{:?}", since(&service));
}

#[test]
fn a_directory_is_moved_away() {
    let (till, line) = gets_over(|file| {
        fs::create_dir(file).unwrap();
        fs::write(file.join("kept"), "").unwrap();
    });
    assert!(line.contains("isn't a regular file"), "{line}");
    assert!(aside(&till).join("kept").exists());
}
