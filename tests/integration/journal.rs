//! What reaches systemd's journal and what reaches stderr, in the forms that others read.

use std::fs::{self, File};
use std::io::{BufRead, Read, Write};
use std::process::{Command, Stdio};

use mfe_watchdog::events::Kind;
use nix::pty::openpty;
use nix::sys::signal::Signal;

use crate::program::{BINARY, mfe_watchdog};
use mfe_kit::journal::Entry;
use mfe_kit::{Guard, Journal, Need, Program, Service, Till, eventually, needs, pipe};

/// Starts the service with this journal, after `setup`.
fn run_with(journal: &Journal, till: &Till, setup: &str) -> Service {
    Service::start(till, &mut journal.in_place(setup, BINARY))
}

/// Asserts what a message says; a field given as `None` must be missing.
fn assert_message(message: &Entry, expected: &[(&str, Option<&str>)]) {
    for (field, value) in expected {
        assert_eq!(
            message.get(*field).map(String::as_str),
            *value,
            "{field} in {message:#?}"
        );
    }
    assert_eq!(message["SYSLOG_IDENTIFIER"], "mfe-watchdog");
    let known = [
        "CODE_FILE",
        "CODE_LINE",
        "MESSAGE",
        "MESSAGE_ID",
        "PRIORITY",
        "SYSLOG_IDENTIFIER",
        "TARGET",
    ];
    for field in message.keys() {
        assert!(
            known.contains(&field.as_str()) || field.starts_with("MFE_"),
            "{field}"
        );
    }
}

fn start_script(till: &Till, program: &Program) -> std::path::PathBuf {
    till.script("start.sh", &format!("exec {}", program.command()))
}

/// A till with one program that is looked at every 100 ms, and its journal.
fn till_with_journal() -> (Till, Program, Journal) {
    let till = Till::new();
    let program = till.program('J');
    let script = start_script(&till, &program);
    till.configure_scripts(&[("comunicador", &program, &script)]);
    let journal = Journal::new(&till);
    (till, program, journal)
}

#[test]
fn a_start_in_the_journals_own_form() {
    needs!(Need::Namespaces);
    let (till, program, journal) = till_with_journal();
    let _service = run_with(&journal, &till, "");
    let startup = journal.wait_for("startup", 1);
    assert_message(
        &startup,
        &[
            ("MESSAGE_ID", Some("614247e714bd4494ac390b56b48b16b6")),
            ("PRIORITY", Some("5")),
            ("MFE_PROCESS", None),
            ("MFE_PID", None),
        ],
    );
    let process = ("MFE_PROCESS", Some("comunicador"));
    let name = &program.name;
    let down = format!("{name} was not running; no sale is possible until it is back");
    assert_message(
        &journal.wait_for("down", 1),
        &[
            process,
            ("MESSAGE", Some(&down)),
            ("MESSAGE_ID", Some("916f5179aff047be88f666177ee0fb02")),
            ("PRIORITY", Some("4")),
            ("MFE_PID", None),
            ("MFE_CAUSE", Some("absent")),
            ("MFE_OUTAGE_MS", None),
        ],
    );
    let up = journal.wait_for("up", 1);
    let pid = program.pid().to_string();
    assert_message(
        &up,
        &[
            process,
            ("MESSAGE", Some(&format!("{name} is running (pid {pid})"))),
            ("MESSAGE_ID", Some("5db11d844e1a4cd693473ad33378d9d2")),
            ("PRIORITY", Some("5")),
            ("MFE_PID", Some(&pid)),
            ("MFE_CAUSE", None),
            ("MFE_OUTAGE_MS", None),
        ],
    );
    let script = till.path().join("bin/start.sh");
    let starting = format!("{name} is being started with {}", script.display());
    assert_message(
        &journal.wait_for("starting", 1),
        &[
            process,
            ("MESSAGE", Some(&starting)),
            ("MESSAGE_ID", Some("9f741005b2db4556b225b684aa43bcc4")),
            ("PRIORITY", Some("5")),
            // The start program became the process itself.
            ("MFE_PID", Some(&pid)),
        ],
    );
}

#[test]
fn a_restart_in_the_journals_own_form() {
    needs!(Need::Namespaces);
    let (till, program, journal) = till_with_journal();
    let service = run_with(&journal, &till, "");
    journal.wait_for("up", 1);
    let process = ("MFE_PROCESS", Some("comunicador"));
    let name = &program.name;
    let pid = program.pid().to_string();
    program.kill();
    let restarted = journal.wait_for("restarted", 1);
    let outage = &restarted["MFE_OUTAGE_MS"];
    let published = service.wait_for_restarts("comunicador", 1);
    assert_eq!(
        published["last_restart"]["outage_ms"],
        outage.parse::<u64>().unwrap()
    );
    assert_message(
        &restarted,
        &[
            process,
            ("MESSAGE_ID", Some("1439a30c18f24f51a2de30e97d823636")),
            ("PRIORITY", Some("5")),
            ("MFE_PID", Some(&program.pid().to_string())),
            ("MFE_CAUSE", Some("killed")),
            ("MFE_SIGNAL", Some("SIGKILL")),
        ],
    );
    let down =
        format!("{name} (pid {pid}) was killed by SIGKILL; no sale is possible until it is back");
    assert_message(
        &journal.wait_for("down", 2),
        &[
            process,
            ("MESSAGE", Some(&down)),
            ("PRIORITY", Some("4")),
            ("MFE_PID", Some(&pid)),
            ("MFE_CAUSE", Some("killed")),
            ("MFE_SIGNAL", Some("SIGKILL")),
        ],
    );
}

#[test]
fn a_failed_start_in_the_journals_own_form_is_told_once() {
    needs!(Need::Namespaces);
    let (till, program, journal) = till_with_journal();
    let service = run_with(&journal, &till, "");
    journal.wait_for("up", 1);
    let process = ("MFE_PROCESS", Some("comunicador"));
    let name = &program.name;
    let tries = till.path().join("tries");
    till.script("start.sh", &format!("echo >>'{}'; exit 3", tries.display()));
    program.kill();
    let failed = journal.wait_for("start_failed", 1);
    assert_message(
        &failed,
        &[
            process,
            ("MESSAGE_ID", Some("244e294d88794f1cbfb59d96032ff91a")),
            ("PRIORITY", Some("3")),
            ("MFE_CAUSE", None),
            ("MFE_OUTAGE_MS", None),
        ],
    );
    let words = &failed["MESSAGE"];
    assert!(
        words.contains("exit status 3") && words.contains(name.as_str()),
        "{words}"
    );
    let told = journal.of_process("comunicador").len();
    eventually("more tries", || {
        (fs::read(&tries).unwrap().len() > 5).then_some(())
    });

    service.stop(Signal::SIGTERM);
    assert_message(
        &journal.wait_for("shutdown", 1),
        &[
            ("MESSAGE_ID", Some("5ee99d69543b4988a4d73642c9c62067")),
            ("PRIORITY", Some("5")),
            ("MFE_PROCESS", None),
        ],
    );
    let messages = journal.of_process("comunicador");
    assert_eq!(messages.len(), told, "nothing more about it: {messages:#?}");
}

#[test]
fn a_name_with_a_line_end_stays_one_value() {
    needs!(Need::Namespaces);
    let till = Till::new();
    let program = till.program_named(&format!("{:x}\nX=y", std::process::id()));
    let script = start_script(&till, &program);
    till.configure_scripts(&[("comunicador", &program, &script)]);
    let journal = Journal::new(&till);
    let service = run_with(&journal, &till, "");
    let up = journal.wait_for("up", 1);
    let escaped = program.name.replace('\n', "\\n");
    assert_eq!(
        up["MESSAGE"],
        format!("{escaped} is running (pid {})", program.pid())
    );
    assert!(!up.contains_key("X"), "{up:#?}");
    let line = service.wait_for("up", "comunicador");
    assert!(line.contains(&escaped), "one line on stderr too: {line}");
}

#[test]
fn where_stderr_is_the_journal_nothing_is_said_twice() {
    needs!(Need::Namespaces);
    let (till, program, journal) = till_with_journal();
    let connected = "JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2)\nexport JOURNAL_STREAM";
    let service = run_with(&journal, &till, connected);
    journal.wait_for("up", 1);
    program.kill();
    journal.wait_for("restarted", 1);
    let (exit, lines) = service.stop(Signal::SIGTERM);
    assert!(exit.success());
    assert_eq!(lines, [""; 0]);
    journal.wait_for("shutdown", 1);
}

#[test]
fn where_stderr_is_something_else_there_are_lines_too() {
    needs!(Need::Namespaces);
    for stream in [
        "unset JOURNAL_STREAM",
        "export JOURNAL_STREAM=",
        "export JOURNAL_STREAM=1:1",
        "export JOURNAL_STREAM=nonsense",
        // The one of a service that redirected our stderr.
        "JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/1)\nexport JOURNAL_STREAM",
    ] {
        let (till, _program, journal) = till_with_journal();
        let service = run_with(&journal, &till, stream);
        service.wait_for("up", "comunicador");
        journal.wait_for("up", 1);
        let (_, lines) = service.stop(Signal::SIGTERM);
        journal.wait_for("shutdown", 1);
        let messages: Vec<String> = journal
            .messages()
            .iter()
            .map(|message| message["MESSAGE"].clone())
            .collect();
        assert_eq!(lines.len(), messages.len(), "{stream}");
        for (line, message) in lines.iter().zip(&messages) {
            assert!(line.contains(message), "{line} instead of {message}");
        }
    }
}

/// What a service says, from its start until it is told to stop after its program is up.
fn lines_with(rust_log: &str) -> Vec<String> {
    let till = Till::new();
    let program = till.program('L');
    let script = start_script(&till, &program);
    till.configure_scripts(&[("comunicador", &program, &script)]);
    let service = Service::start(&till, mfe_watchdog().env("RUST_LOG", rust_log));
    service.wait_for_state("comunicador", "up");
    service.stop(Signal::SIGTERM).1
}

#[test]
fn without_a_terminal_lines_are_plain_and_in_one_form() {
    let lines = lines_with("");
    assert_eq!(lines.len(), 5, "{lines:#?}");
    for line in &lines {
        assert!(!line.contains('\u{1b}'), "{line:?}");
        let (time, rest) = line.split_once(' ').unwrap();
        humantime::parse_rfc3339(time).unwrap();
        let level = rest.trim_start().split(' ').next().unwrap();
        assert!(["INFO", "WARN", "ERROR"].contains(&level), "{line}");
        assert!(!line.contains("MESSAGE_ID"), "for machines: {line}");
    }
}

#[test]
fn rust_log_is_respected() {
    let debug = lines_with("debug");
    assert!(
        debug.iter().any(|line| line.contains("DEBUG")),
        "{debug:#?}"
    );
    assert!(debug.len() > 5);
    assert_eq!(lines_with("off"), [""; 0]);
    let warnings = lines_with("warn");
    assert_eq!(warnings.len(), 1, "{warnings:#?}");
    assert!(warnings[0].contains("MFE_EVENT=down"));
    assert_eq!(lines_with("mfe_watchdog=error"), [""; 0]);
}

#[test]
fn a_rust_log_that_makes_no_sense_is_said_and_does_not_silence() {
    for nonsense in ["mfe_watchdog=loud", "a=b=c"] {
        let lines = lines_with(nonsense);
        assert_eq!(lines.len(), 6, "{nonsense}: {lines:#?}");
        assert!(
            lines[0].contains("RUST_LOG isn't understood"),
            "{}",
            lines[0]
        );
        assert!(lines[0].ends_with("logging at level info"), "{}", lines[0]);
    }
}

/// Starts the service on a till with a stderr of its own.
fn start_with_stderr(till: &Till, command: &mut Command, stderr: impl Into<Stdio>) -> Guard {
    let command = command.arg("run").arg("--config").arg(till.config());
    let command = command.arg("--runtime-dir").arg(till.runtime_dir());
    let command = command.stdin(Stdio::null()).stdout(Stdio::null());
    Guard(command.stderr(stderr).spawn().unwrap())
}

#[test]
fn on_a_terminal_there_is_colour_unless_refused() {
    for (no_colour, is_coloured) in [(false, true), (true, false)] {
        let till = Till::new();
        let program = till.program('L');
        let script = start_script(&till, &program);
        till.configure_scripts(&[("comunicador", &program, &script)]);
        let terminal = openpty(None, None).unwrap();
        let mut command = mfe_watchdog();
        if no_colour {
            command.env("NO_COLOR", "1");
        }
        let service = start_with_stderr(&till, &mut command, terminal.slave);
        drop(command);
        let mut master = File::from(terminal.master);
        let mut text = String::new();
        eventually("a message on the terminal", || {
            let mut buffer = [0; 4096];
            let length = master.read(&mut buffer).unwrap();
            text += std::str::from_utf8(&buffer[..length]).unwrap();
            text.contains("MFE_EVENT=up").then_some(())
        });
        drop(service);
        assert_eq!(text.contains("\u{1b}[33m WARN"), is_coloured, "{text}");
        assert_eq!(text.contains('\u{1b}'), is_coloured, "{text}");
    }
}

#[test]
fn nobody_listening_is_no_reason_to_stop() {
    let full = || File::options().write(true).open("/dev/full").unwrap();
    let closed = || pipe().1;
    let stderrs: [Stdio; 2] = [full().into(), closed().into()];
    for stderr in stderrs {
        let till = Till::new();
        let program = till.program('L');
        let script = start_script(&till, &program);
        till.configure_scripts(&[("comunicador", &program, &script)]);
        let mut service = start_with_stderr(&till, &mut mfe_watchdog(), stderr);
        for kills in 1..=3 {
            program.kill();
            eventually("restarted", || {
                (program.starts().len() == kills + 1).then_some(())
            });
        }
        assert!(service.0.try_wait().unwrap().is_none(), "it still runs");
    }
}

/// How many messages a text says are missing.
fn missing(text: &str) -> Option<usize> {
    let (_, rest) = text.split_once(" missing there before this one: ")?;
    rest.split_whitespace().next()?.parse().ok()
}

/// Kills a program so often, each time once it is back.
fn kill_times(program: &Program, times: usize) {
    let started = program.starts().len();
    for kills in 1..=times {
        program.kill();
        eventually("restarted", || {
            (program.starts().len() == started + kills).then_some(())
        });
    }
}

/// How many messages a text says have come late.
fn late(text: &str) -> Option<usize> {
    let (_, rest) = text.split_once(" in MFE_AT: ")?;
    rest.split(';').next()?.parse().ok()
}

/// The service's own messages. None is missing, and they are in their order.
fn whole(journal: &Journal) -> Vec<Entry> {
    let messages = journal.messages();
    let number = |message: &Entry, field: &str| message[field].parse::<usize>().unwrap();
    for (index, message) in messages.iter().enumerate() {
        assert_eq!(number(message, "MFE_SEQ"), index + 1, "{messages:#?}");
        assert_eq!(message["MFE_RUN"], messages[0]["MFE_RUN"]);
    }
    let run = &messages[0]["MFE_RUN"];
    let is_id = run.len() == 32 && run.bytes().all(|byte| byte.is_ascii_hexdigit());
    assert!(is_id, "{run}");
    let times: Vec<usize> = messages
        .iter()
        .map(|message| number(message, "MFE_AT"))
        .collect();
    assert!(times.is_sorted(), "{times:?}");
    messages
}

#[test]
fn a_full_journal_holds_up_nothing_and_has_everything_later() {
    needs!(Need::Namespaces);
    let (till, program, journal) = till_with_journal();
    let service = run_with(&journal, &till, "");
    journal.wait_for("up", 1);
    service.wait_for("up", "comunicador");
    for round in 1..=2 {
        journal.fill();
        for kills in 1..=3 {
            program.kill();
            service.wait_for_restarts("comunicador", 3 * round + kills - 3);
        }
        assert!(journal.of_process("comunicador").len() < service.lines().len() - 5);
        // It was read just now, and is told without anything else having happened.
        journal.wait_for("degraded", round.try_into().unwrap());
    }
    program.kill();
    journal.wait_for("restarted", 7);
    let (_, lines) = service.stop(Signal::SIGTERM);
    journal.wait_for("shutdown", 1);
    let messages = whole(&journal);
    let told = messages.iter().map(|message| message["MESSAGE"].as_str());
    let told: Vec<&str> = told.filter(|text| late(text).is_some()).collect();
    assert_eq!(told.len(), 2, "{told:#?}");
    for text in told {
        assert!(late(text).unwrap() >= 6, "{text}");
        assert_eq!(missing(text), Some(0), "{text}");
    }
    assert_eq!(lines.len(), messages.len(), "{lines:#?} on stderr");
}

#[test]
fn a_flood_of_the_journal_loses_nothing() {
    needs!(Need::Namespaces);
    let (till, program, journal) = till_with_journal();
    let service = run_with(&journal, &till, "");
    service.wait_for("up", "comunicador");
    let deaths = 5;
    journal.flooded(|| {
        for kills in 1..=deaths {
            program.kill();
            service.wait_for_restarts("comunicador", kills);
        }
    });
    journal.wait_for("restarted", deaths.try_into().unwrap());
    service.stop(Signal::SIGTERM);
    journal.wait_for("shutdown", 1);
    let messages = whole(&journal);
    let downs = messages
        .iter()
        .filter(|message| message["MFE_EVENT"] == "down");
    // It wasn't running at first.
    assert_eq!(downs.count() as u64, deaths + 1, "{messages:#?}");
}

#[test]
fn a_journal_that_is_full_at_the_start_has_the_start_later() {
    needs!(Need::Namespaces);
    let (till, program, journal) = till_with_journal();
    journal.fill();
    let service = run_with(&journal, &till, "");
    service.wait_for("up", "comunicador");
    kill_times(&program, 2);
    service.wait_for("restarted", "comunicador");
    assert!(journal.of_process("comunicador").is_empty());
    journal.wait_for("degraded", 1);
    let messages = whole(&journal);
    assert_eq!(messages[0]["MFE_EVENT"], "startup");
    assert!(messages.len() > 4, "{messages:#?}");
}

#[test]
fn what_a_full_journal_has_not_taken_at_the_end_is_said_on_stderr() {
    needs!(Need::Namespaces);
    let (till, program, journal) = till_with_journal();
    let service = run_with(&journal, &till, "");
    service.wait_for("up", "comunicador");
    journal.fill();
    kill_times(&program, 1);
    service.wait_for_restarts("comunicador", 1);
    let (exit, lines) = service.stop(Signal::SIGTERM);
    assert!(exit.success());
    let last = lines.last().unwrap();
    let words =
        "mfe-watchdog: the journal took no messages until the end of the service; the last ";
    assert!(last.starts_with(words), "{lines:#?}");
}

#[test]
fn a_full_pipe_on_stderr_holds_up_nothing_and_is_told_what_it_lacks() {
    let till = Till::new();
    let program = till.program('L');
    let script = start_script(&till, &program);
    till.configure_scripts(&[("comunicador", &program, &script)]);
    let (reader, writer) = pipe();
    let (mut reader, mut writer) = (File::from(reader), File::from(writer));
    let size = nix::fcntl::fcntl(&writer, nix::fcntl::FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
    let filler = vec![b'\n'; size.try_into().unwrap()];
    writer.write_all(&filler).unwrap();
    let mut service = start_with_stderr(&till, &mut mfe_watchdog(), writer);
    eventually("started", || (!program.starts().is_empty()).then_some(()));
    kill_times(&program, 3);
    assert!(service.0.try_wait().unwrap().is_none(), "it still runs");
    reader.read_exact(&mut filler.clone()).unwrap();
    let line = std::io::BufReader::new(reader).lines().next();
    let line = line.unwrap().unwrap();
    // A program that dies before it is seen is not told of; what came before the kills is.
    assert!(missing(&line).unwrap() >= 4, "{line}");
}

/// What stands in journals and in other people's filters: it must never change.
fn pinned(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::Startup => ("startup", "614247e714bd4494ac390b56b48b16b6"),
        Kind::Shutdown => ("shutdown", "5ee99d69543b4988a4d73642c9c62067"),
        Kind::Reloaded => ("reloaded", "2f61a6f5d4bb414997a847bfeba531a2"),
        Kind::ReloadFailed => ("reload_failed", "f6e24796b34a4f38837fddbdcdb962e0"),
        Kind::ConfigFallback => ("config_fallback", "707131c9efdf469dae783ef4f2b8dc01"),
        Kind::LegacyWatcher => ("legacy_watcher", "a63ec9c81f564b378cc45138701db95a"),
        Kind::UnsafeCommand => ("unsafe_command", "e330a7b7d8cc4c6ebf7d37b163f49724"),
        Kind::Degraded => ("degraded", "b6c00e465f82428aa69a322a3107b33d"),
        Kind::Restored => ("restored", "3e5215ff2c96468eac6a4f6cb8fe8fde"),
        Kind::HookFailed => ("hook_failed", "632755c525124b829a278447cfcf6fee"),
        Kind::Up => ("up", "5db11d844e1a4cd693473ad33378d9d2"),
        Kind::Adopted => ("adopted", "bb41da226d2c48a1a5708c22afac065f"),
        Kind::Down => ("down", "916f5179aff047be88f666177ee0fb02"),
        Kind::Waiting => ("waiting", "9dc955e4aafa4f68ae68a21fb1a2e12d"),
        Kind::Starting => ("starting", "9f741005b2db4556b225b684aa43bcc4"),
        Kind::Restarted => ("restarted", "1439a30c18f24f51a2de30e97d823636"),
        Kind::StartFailed => ("start_failed", "244e294d88794f1cbfb59d96032ff91a"),
        Kind::CrashLoop => ("crash_loop", "a23a593adc804a638a73d161701f0b31"),
        Kind::Unhealthy => ("unhealthy", "83c6ac6f6d1a4d1aaf87e19c2cd910db"),
        Kind::Killed => ("killed", "7042c46e31cc4824a9a2b9e4b087ee2d"),
        Kind::Stuck => ("stuck", "31829a8dd9b94a7e9fe17ca75a173d25"),
        Kind::Recovered => ("recovered", "edcc55cf389e46809ceb1647c10cc4f8"),
        Kind::Impostor => ("impostor", "e31617220e5e47dea2f23e58262c05ac"),
        Kind::Misfit => ("misfit", "b03aed113ea5412b3057b954e17337fc"),
        Kind::Renamed => ("renamed", "8f0a08c5da2aff097efd622307e03830"),
        Kind::MainEnded => ("main_ended", "0b976600800e95bdc677e17bf53a3216"),
        Kind::Duplicate => ("duplicate", "118a0ac07775477fa580b1eaf60bfa98"),
        Kind::DryRun => ("dry_run", "096f14ee97514c2589d7acf949eeaeb7"),
        Kind::Paused => ("paused", "fe72b0894b1d475ebfe1d8e8f8eb2a3d"),
        Kind::Resumed => ("resumed", "1bd964b429df4e26909d85fab8687706"),
        Kind::Unknown => ("unknown", "c0c6bbcfc3f84a25986a08fd5148fb2a"),
    }
}

#[test]
fn names_and_ids_of_events_never_change() {
    let mut seen = std::collections::HashSet::new();
    for kind in Kind::ALL {
        let (name, id) = pinned(kind);
        assert_eq!((kind.name(), kind.message_id()), (name, id));
        assert!(
            id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()),
            "{id}"
        );
        assert_eq!(id, id.to_lowercase());
        assert!(seen.insert(name) && seen.insert(id), "{name} {id} twice");
    }
}
