//! What the service publishes and what `status` makes of it, for everybody, also when the service
//! is gone or its directory can't be used.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::Value;

use crate::program::{BINARY, binary_for_everybody, mfe_watchdog, run};
use mfe_kit::schema::{STATUS_SCHEMA, assert_valid};
use mfe_kit::{
    Guard, Need, Output, Service, Till, clean, eventually, in_mount_namespace, is_root, needs,
    output, pipe,
};

fn status(runtime_dir: &Path, arguments: &[&str]) -> Output {
    output(
        mfe_watchdog()
            .arg("status")
            .args(arguments)
            .arg("--runtime-dir")
            .arg(runtime_dir),
    )
}

/// The words of each line.
fn rows(text: &str) -> Vec<Vec<&str>> {
    text.lines()
        .map(|line| line.split_whitespace().collect())
        .collect()
}

fn published(runtime_dir: &Path) -> Value {
    let text = fs::read(runtime_dir.join("status.json")).unwrap();
    serde_json::from_slice(&text).unwrap()
}

/// Asserts that a value has exactly these members, and gives them.
fn members<const N: usize>(value: &Value, names: [&str; N]) -> [Value; N] {
    let object = value.as_object().unwrap();
    let found: HashSet<&str> = object.keys().map(String::as_str).collect();
    assert_eq!(found, HashSet::from(names));
    names.map(|name| object[name].clone())
}

fn assert_time(value: &Value) {
    let time = value.as_str().unwrap();
    let age = std::time::SystemTime::now().duration_since(humantime::parse_rfc3339(time).unwrap());
    assert!(age.unwrap().as_secs() < 60, "{time}");
}

#[test]
fn the_exit_code_tells_how_things_stand() {
    let (till, program) = Till::with_program_every("100ms");
    let runtime_dir = till.runtime_dir();
    let never = status(&runtime_dir, &[]);
    assert_eq!((never.code(), never.stdout.as_str()), (3, ""));
    let expected = "mfe-watchdog: the service is not running; nobody restarts the programs.\n\
                    Start it with: sudo systemctl start mfe-watchdog\n";
    let looked = never.stderr.strip_prefix(expected).unwrap();
    // What is configured on this machine was looked for.
    for line in looked.lines() {
        let is_known = line.ends_with(" is not running.") || line.contains(" is running now (pid ");
        assert!(is_known, "{}", never.stderr);
    }

    let service = run(&till);
    service.wait_for_state("comunicador", "up");
    let up = status(&runtime_dir, &[]);
    assert_eq!((up.code(), up.stderr.as_str()), (0, ""));
    let (name, pid) = (&program.name, program.pid().to_string());
    let rows = rows(&up.stdout);
    assert_eq!(rows.len(), 4, "{}", up.stdout);
    assert_eq!(rows[0][..3], ["PROCESS", "STATE", "SINCE"]);
    assert_eq!((rows[1][0], rows[1][1]), (name.as_str(), "up"));
    assert_eq!(rows[1][3..], [&pid, "0", "today", "-"]);
    let service_line = format!("mfe-watchdog runs (pid {}) since ", service.pid());
    assert!(up.stdout.lines().nth(2).unwrap().starts_with(&service_line));
    let version = format!("version {}, configuration ", env!("CARGO_PKG_VERSION"));
    let in_force = version + &till.config().display().to_string();
    assert_eq!(up.stdout.lines().nth(3), Some(in_force.as_str()));

    program.kill();
    service.wait_for_restarts("comunicador", 1);
    let restarted = status(&runtime_dir, &[]);
    assert_eq!(restarted.code(), 0);
    let rows = self::rows(&restarted.stdout);
    assert_eq!(rows[1][4], "1", "restarts today: {}", restarted.stdout);
    assert!(
        restarted.stdout.contains("ms, killed\n"),
        "{}",
        restarted.stdout
    );

    till.script("start.sh", "exit 3");
    till.settle();
    program.kill();
    service.wait_for_state("comunicador", "down");
    let down = status(&runtime_dir, &[]);
    assert_eq!((down.code(), down.stderr.as_str()), (1, ""));
    assert_eq!(self::rows(&down.stdout)[1][..2], [name.as_str(), "down"]);
    assert!(
        down.stdout.contains("exit status 3"),
        "why: {}",
        down.stdout
    );
    assert_eq!(status(&runtime_dir, &["--json"]).code(), 1);

    service.stop(Signal::SIGTERM);
    assert_eq!(status(&runtime_dir, &[]).code(), 3, "stopped");
}

/// Whatever the journal has or doesn't, the command does its work.
#[test]
fn of_one_program_all_is_told() {
    let (till, program) =
        Till::with_rules("[[process.comunicador.check]]\nkind = \"memory\"\nmax = \"1GiB\"\n");
    till.script("journalctl", "exit 1");
    let mut path = till.path().join("bin").into_os_string();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap());
    let service = run(&till);
    service.wait_for_state("comunicador", "up");
    let mut command = mfe_watchdog();
    command.args(["status", &program.name.to_uppercase()]);
    command.arg("--runtime-dir").arg(till.runtime_dir());
    let told = output(command.env("PATH", path));
    assert_eq!((told.code(), told.stderr.as_str()), (0, ""));
    let text = &told.stdout;
    for words in [
        &format!("  pid {}, user ", program.pid()),
        "  memory ",
        ", CPU time ",
        "  health checks: memory; no failure reported\n",
        "Last events (",
        "mfe-watchdog events comunicador):\n  nothing found",
        "mfe-watchdog logs comunicador):\n",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(
        text.lines().all(|line| line.chars().count() <= 80),
        "{text}"
    );
    let all = status(&till.runtime_dir(), &[]);
    assert!(!all.stdout.contains("memory"), "{}", all.stdout);
}

#[test]
fn a_status_left_over_from_a_dead_service_says_since_when() {
    let (till, program) = Till::with_program_every("100ms");
    let runtime_dir = till.runtime_dir();
    let service = run(&till);
    service.wait_for_state("comunicador", "up");
    let pid = service.pid();
    service.stop(Signal::SIGKILL);
    // As a clock on the wall of a shop in Ceará shows it: its last look.
    let lock = fs::metadata(runtime_dir.join("lock")).unwrap();
    let at = lock.modified().unwrap();
    let local = humantime::format_rfc3339_seconds(at - std::time::Duration::from_secs(3 * 3600))
        .to_string();
    for arguments in [&[][..], &["--json"]] {
        let mut command = mfe_watchdog();
        command.arg("status").args(arguments);
        command.arg("--runtime-dir").arg(&runtime_dir);
        let dead = output(command.env("TZ", "<-03>3"));
        assert_eq!((dead.code(), dead.stdout.as_str()), (3, ""));
        for words in [
            "the service is not running since ",
            &local[11..16],
            &format!("(it was pid {pid});"),
        ] {
            assert!(dead.stderr.contains(words), "{words}: {}", dead.stderr);
        }
    }
    // Nobody watches it, so it is looked for.
    let looked = status(&runtime_dir, &["comunicador"]);
    let expected = format!("{} is running now (pid {}).\n", program.name, program.pid());
    assert!(looked.stderr.ends_with(&expected), "{}", looked.stderr);
    let unknown = status(&runtime_dir, &["impressora"]);
    assert_eq!(unknown.code(), 3, "{}", unknown.stderr);
    program.kill();
    let gone = format!("{} is not running.\n", program.name);
    eventually("its end is seen", || {
        let looked = status(&runtime_dir, &[]);
        assert_eq!(looked.code(), 3);
        looked.stderr.ends_with(&gone).then_some(())
    });
    for garbage in ["", "{", "\0\0\0"] {
        fs::write(runtime_dir.join("status.json"), garbage).unwrap();
        let dead = status(&runtime_dir, &[]);
        assert_eq!(dead.code(), 3, "dead all the same: {}", dead.stderr);
        assert!(
            dead.stderr.contains("the service is not running;"),
            "{}",
            dead.stderr
        );
    }
}

#[test]
fn json_is_the_file_and_both_have_the_promised_form() {
    let (till, program) = Till::with_program_every("1h");
    let service = run(&till);
    let first = service.wait_for_state("comunicador", "up");
    assert!(first["last_restart"].is_null() && first["detail"].is_null());
    program.kill();
    service.wait_for_restarts("comunicador", 1);
    let runtime_dir = till.runtime_dir();
    let text = fs::read_to_string(runtime_dir.join("status.json")).unwrap();
    let json = status(&runtime_dir, &["--json"]);
    assert_eq!((json.code(), json.stderr.as_str()), (0, ""));
    let whole = published(&runtime_dir);
    assert_eq!(serde_json::from_str::<Value>(&json.stdout).unwrap(), whole);
    assert_valid(STATUS_SCHEMA, &whole);
    assert_eq!(text.lines().count(), 1);
    assert!(text.ends_with("}\n") && json.stdout.ends_with("}\n"));
    let mode = fs::metadata(runtime_dir.join("status.json"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o644);

    let names = [
        "version",
        "pid",
        "start_time",
        "started_at",
        "updated_at",
        "updated_us",
        "latest_message",
        "processes",
    ];
    let [
        version,
        pid,
        start_time,
        started_at,
        updated_at,
        updated_us,
        latest_message,
        processes,
    ] = members(&whole, names);
    assert_eq!(version, 1);
    assert_eq!(pid, service.pid());
    let process = procfs::process::Process::new(service.pid()).unwrap();
    assert_eq!(start_time, process.stat().unwrap().starttime);
    assert_time(&started_at);
    assert_time(&updated_at);
    let since_boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let since_boot = u64::try_from(since_boot.tv_sec).unwrap();
    let ago = since_boot.checked_sub(updated_us.as_u64().unwrap() / 1_000_000);
    assert!(ago.is_some_and(|ago| ago < 60), "{updated_us}");
    assert!(latest_message["seq"].as_u64().is_some_and(|seq| seq >= 2));
    let processes = processes.as_array().unwrap();
    assert_eq!(processes.len(), 1);
    let names = [
        "key",
        "name",
        "state",
        "pids",
        "since",
        "restarts",
        "last_restart",
        "detail",
    ];
    let [
        key,
        name,
        state,
        pids,
        since,
        restarts,
        last_restart,
        detail,
    ] = members(&processes[0], names);
    assert_eq!(key, "comunicador");
    assert_eq!(name, program.name);
    assert_eq!(state, "up");
    assert_eq!(pids, serde_json::json!([program.pid()]));
    assert_time(&since);
    assert_eq!(restarts, 1);
    let [at, cause, outage_ms] = members(&last_restart, ["at", "cause", "outage_ms"]);
    assert_time(&at);
    assert_eq!(cause, "killed");
    assert!(outage_ms.is_u64(), "{outage_ms}");
    assert_eq!(detail, Value::Null);
}

#[test]
fn nobody_needs_privileges_to_ask() {
    let (till, _program) = Till::with_program_every("100ms");
    let binary = binary_for_everybody(&till);
    let service = run(&till);
    service.wait_for_state("comunicador", "up");
    let ask = || {
        let mut command = if is_root() {
            let mut command = Command::new("setpriv");
            command
                .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
                .arg(&binary);
            command
        } else {
            Command::new(&binary)
        };
        command
            .arg("status")
            .arg("--runtime-dir")
            .arg(till.runtime_dir());
        output(&mut clean(command))
    };
    let up = ask();
    assert_eq!((up.code(), up.stderr.as_str()), (0, ""));
    service.stop(Signal::SIGKILL);
    assert_eq!(ask().code(), 3);
}

#[test]
fn it_is_known_to_live_where_other_users_processes_are_hidden() {
    let (till, _program) = Till::with_program_every("100ms");
    let binary = binary_for_everybody(&till);
    let service = run(&till);
    service.wait_for_state("comunicador", "up");
    let ask = || {
        let setup = "mount -t proc -o hidepid=2 proc /proc";
        let mut command = in_mount_namespace(setup, "setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
            .arg(&binary)
            .args(["status", "--runtime-dir"])
            .arg(till.runtime_dir());
        output(&mut command)
    };
    let up = ask();
    assert_eq!((up.code(), up.stderr.as_str()), (0, ""));
    service.stop(Signal::SIGKILL);
    assert_eq!(ask().code(), 3);
}

#[test]
fn a_reader_never_sees_half_a_status() {
    let (till, program) = Till::with_program_every("100ms");
    let service = run(&till);
    service.wait_for_state("comunicador", "up");
    let file = till.runtime_dir().join("status.json");
    let end = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut writes = HashSet::new();
            while !end.load(Ordering::Relaxed) {
                let text = fs::read(&file).expect("it is always there");
                let status: Value = serde_json::from_slice(&text).expect("it is always whole");
                writes.insert(status["updated_at"].to_string());
                end.fetch_or(writes.len() >= 200, Ordering::Relaxed);
            }
            writes.len()
        });
        let mut kills = 0;
        while !end.load(Ordering::Relaxed) && !reader.is_finished() {
            if kills < 20 {
                program.kill();
                kills += 1;
                eventually("restarted", || {
                    (program.starts().len() > kills && program.pids().len() == 1).then_some(())
                });
            }
            service.signal(Signal::SIGHUP);
            std::thread::yield_now();
        }
        assert!(reader.join().unwrap() >= 200);
    });
}

#[test]
fn the_runtime_directory_comes_from_systemd_if_nobody_says_otherwise() {
    needs!(Need::Namespaces);
    let (till, _program) = Till::with_program_every("100ms");
    let ours = till.path().join("ours");
    let directories = format!("{}:/nonexistent", ours.display());
    let service = Guard(
        mfe_watchdog()
            .arg("run")
            .arg("--config")
            .arg(till.config())
            .env("RUNTIME_DIRECTORY", &directories)
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let ask = |directories: &str| {
        output(
            mfe_watchdog()
                .arg("status")
                .env("RUNTIME_DIRECTORY", directories),
        )
        .code()
    };
    eventually("up", || (ask(&directories) == 0).then_some(()));
    assert_eq!(published(&ours)["pid"], service.0.id());
    assert_eq!(ask(till.path().to_str().unwrap()), 3, "another directory");
    assert_eq!(status(till.path(), &[]).code(), 3);
    let over = output(
        mfe_watchdog()
            .arg("--runtime-dir")
            .arg(&ours)
            .arg("status")
            .env("RUNTIME_DIRECTORY", "/nonexistent"),
    );
    assert_eq!(over.code(), 0, "the command line goes over the environment");
    // Without either, the usual place.
    let setup = "mount -t tmpfs none /run\n\
                 mkdir /run/mfe-watchdog\n\
                 mount --bind \"$OURS\" /run/mfe-watchdog";
    let mut command = in_mount_namespace(setup, BINARY);
    let usual = output(command.env("OURS", &ours).arg("status"));
    assert_eq!(usual.code(), 0, "{}", usual.stderr);
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let (till, _program) = Till::with_program_every("100ms");
    let service = run(&till);
    service.wait_for_state("comunicador", "up");
    let run = |arguments: &[&str], stdout: Stdio| {
        let mut command = mfe_watchdog();
        command
            .args(arguments)
            .stdout(stdout)
            .stdin(Stdio::null())
            .stderr(Stdio::piped());
        let ended = command.spawn().unwrap().wait_with_output().unwrap();
        (
            ended.status.code().unwrap(),
            String::from_utf8(ended.stderr).unwrap(),
        )
    };
    let (config, runtime_dir) = (till.config(), till.runtime_dir());
    let check = ["check", "--config", config.to_str().unwrap()];
    let runtime_dir = runtime_dir.to_str().unwrap();
    let commands = [
        &check[..],
        &["status", "--runtime-dir", runtime_dir],
        &["status", "--json", "--runtime-dir", runtime_dir],
    ];
    for arguments in commands {
        let gone = pipe().1;
        assert_eq!(
            run(arguments, gone.into()),
            (0, String::new()),
            "{arguments:?}"
        );
        let full = File::options().write(true).open("/dev/full").unwrap();
        let (code, stderr) = run(arguments, full.into());
        assert_eq!(code, 1);
        assert_eq!(
            stderr,
            "mfe-watchdog: stdout can't be written to: No space left on device (os error 28)\n"
        );
    }
}

#[test]
fn what_stands_in_the_files_place_is_not_believed() {
    let (till, _program) = Till::with_program_every("1h");
    let service = run(&till);
    service.wait_for_state("comunicador", "up");
    // It lives and holds its lock, but must not put a good file back in place.
    service.signal(Signal::SIGSTOP);
    eventually("stopped", || {
        let process = procfs::process::Process::new(service.pid()).unwrap();
        (process.stat().unwrap().state == 'T').then_some(())
    });
    let file = till.runtime_dir().join("status.json");
    let good = fs::read_to_string(&file).unwrap();
    let assert_refused = |message: &str| {
        for arguments in [&[][..], &["--json"]] {
            let refused = status(&till.runtime_dir(), arguments);
            assert_eq!(
                (refused.code(), refused.stdout.as_str()),
                (1, ""),
                "{message}"
            );
            assert!(refused.stderr.contains(message), "{}", refused.stderr);
            assert_eq!(refused.stderr.lines().count(), 1, "{}", refused.stderr);
        }
    };
    let no_status = format!("{} isn't a status of this service", file.display());
    let half = good[..good.len() / 2].to_owned();
    let future = good.replace("\"up\"", "\"dancing\"");
    for text in ["", "null", "[]", "{}", "\0", &half, &future] {
        fs::write(&file, text).unwrap();
        assert_refused(&no_status);
    }
    File::create(&file).unwrap().set_len(1 << 40).unwrap();
    assert_refused(&format!(
        "{} is larger than any file of this service",
        file.display()
    ));
    let another_pid = good.replacen(&format!(":{},", service.pid()), ":1,", 1);
    assert_ne!(another_pid, good);
    fs::write(&file, another_pid).unwrap();
    let not_published = format!(
        "the service runs (pid {}) but hasn't published a status",
        service.pid()
    );
    assert_refused(&not_published);
    fs::remove_file(&file).unwrap();
    assert_refused(&not_published);
    mkfifo(&file, Mode::S_IRWXU).unwrap();
    assert_refused(&format!("{} isn't a regular file", file.display()));
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    assert_refused(&format!("{} isn't a regular file", file.display()));
}

#[test]
fn nothing_that_lies_in_the_files_places_is_written_to() {
    let (till, program) = Till::with_program();
    let victim = till.path().join("victim");
    fs::write(&victim, "{}").unwrap();
    fs::create_dir(till.runtime_dir()).unwrap();
    let names = ["status.json", "state.json", "in-force.toml", "service.json"];
    for name in names {
        for name in [name.to_owned(), format!(".{name}.new")] {
            symlink(&victim, till.runtime_dir().join(name)).unwrap();
        }
    }
    let service = run(&till);
    service.wait_for_state("comunicador", "up");
    program.kill();
    service.wait_for_restarts("comunicador", 1);
    eventually("all are files of the service's own", || {
        let paths = names.map(|name| till.runtime_dir().join(name));
        let is_file = |path: &PathBuf| fs::symlink_metadata(path).is_ok_and(|file| file.is_file());
        paths.iter().all(is_file).then_some(())
    });
    let (exit, _) = service.stop(Signal::SIGTERM);
    assert!(exit.success());
    assert_eq!(fs::read_to_string(&victim).unwrap(), "{}");
}

/// How many lines contain `text`.
fn count(service: &Service, text: &str) -> usize {
    let lines = service.lines();
    lines.iter().filter(|line| line.contains(text)).count()
}

#[test]
fn without_its_lock_nothing_is_watched() {
    let (till, program) = Till::with_program_every("100ms");
    fs::write(till.runtime_dir(), "a file").unwrap();
    let (exit, lines) = run(&till).wait();
    assert_eq!(exit.code(), Some(1));
    let begin = format!(
        "mfe-watchdog: {} can't be locked against a second watchdog, so nothing is watched: ",
        till.runtime_dir().display()
    );
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].starts_with(&begin), "{lines:#?}");
    assert_eq!(fs::read_to_string(till.runtime_dir()).unwrap(), "a file");
    assert_eq!(program.starts().len(), 0);

    fs::remove_file(till.runtime_dir()).unwrap();
    let service = run(&till);
    service.wait_for_state("comunicador", "up");
    let lock = fs::metadata(till.runtime_dir().join("lock")).unwrap();
    assert_eq!(lock.permissions().mode() & 0o777, 0o600, "nobody else's");
}

/// Another service on the same till, with the same state directory if it has one of its own.
fn second(till: &Till, state_dir: &Path) -> (i32, Vec<String>) {
    let mut command = mfe_watchdog();
    command.arg("--state-dir").arg(state_dir);
    let (exit, lines) = Service::start(till, &mut command).wait();
    (exit.code().unwrap(), lines)
}

#[test]
fn a_directory_that_is_removed_is_made_again_and_meanwhile_nobody_is_told_a_lie() {
    let (till, program) = Till::with_program_every("1h");
    let state_dir = till.path().join("state");
    let mut command = mfe_watchdog();
    command.arg("--state-dir").arg(&state_dir);
    let service = Service::start(&till, &mut command);
    service.wait_for_state("comunicador", "up");
    let ask = |arguments: &[&str]| {
        let state_dir = state_dir.to_str().unwrap();
        let ran = status(
            &till.runtime_dir(),
            &[arguments, &["--state-dir", state_dir]].concat(),
        );
        (ran.code(), ran.stderr)
    };
    let again = format!("somebody has removed {}", till.runtime_dir().display());
    for (round, what) in [
        (1, "all"),
        (2, "all"),
        (3, "lock"),
        (4, "control"),
        (5, "status.json"),
    ] {
        if what == "all" {
            // It must not be put back before it was looked at.
            service.signal(Signal::SIGSTOP);
            fs::remove_dir_all(till.runtime_dir()).unwrap();
            let said = format!(
                "mfe-watchdog: the service runs (pid {}), but somebody has removed {}; ",
                service.pid(),
                till.runtime_dir().display()
            );
            for arguments in [&[][..], &["--json"]] {
                let (code, stderr) = ask(arguments);
                assert_eq!(code, 1);
                assert!(stderr.starts_with(&said), "{stderr}");
            }
            let (code, lines) = second(&till, &state_dir);
            let refused = format!("another mfe-watchdog (pid {})", service.pid());
            assert!(code == 1 && lines[0].contains(&refused), "{lines:#?}");
            let mut resume = mfe_watchdog();
            resume
                .args(["resume", "--runtime-dir"])
                .arg(till.runtime_dir());
            let refused = output(resume.arg("--state-dir").arg(&state_dir));
            assert_eq!(refused.code(), 1, "{}", refused.stderr);
            assert!(
                refused.stderr.contains("can't be asked at this moment"),
                "{refused:?}"
            );
            service.signal(Signal::SIGCONT);
        } else {
            fs::remove_file(till.runtime_dir().join(what)).unwrap();
        }
        eventually(("put back", what), || {
            (count(&service, &again) == round).then_some(())
        });
        eventually(("published", what), || (ask(&[]).0 == 0).then_some(()));
        for name in ["lock", "control", "status.json", "in-force.toml"] {
            assert!(till.runtime_dir().join(name).exists(), "{name}");
        }
        let (code, _) = second(&till, &state_dir);
        assert_eq!(code, 1, "there is one");
    }
    program.kill();
    service.wait_for_restarts("comunicador", 1);
    eventually("started again", || {
        (program.starts().len() == 2).then_some(())
    });
    let (exit, _) = service.stop(Signal::SIGTERM);
    assert!(exit.success());
    assert_eq!(ask(&[]).0, 3);
}

#[test]
fn a_directory_that_cannot_be_made_again_ends_the_service() {
    let (till, program) = Till::with_program_every("1h");
    let parent = till.path().join("parent");
    fs::create_dir(&parent).unwrap();
    let runtime_dir = parent.join("run");
    let mut command = mfe_watchdog();
    let mut service = Guard(
        command
            .args(["run", "--config"])
            .arg(till.config())
            .arg("--runtime-dir")
            .arg(&runtime_dir)
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    eventually("up", || {
        (status(&runtime_dir, &[]).code() == 0).then_some(())
    });
    let signal = |signal: Signal| {
        let pid = i32::try_from(service.0.id()).unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).unwrap();
    };
    // It must not be made again before nobody can.
    signal(Signal::SIGSTOP);
    fs::remove_dir_all(&parent).unwrap();
    fs::write(&parent, "").unwrap();
    signal(Signal::SIGCONT);
    let exit = eventually("the end", || service.0.try_wait().unwrap());
    assert_eq!(exit.code(), Some(1));
    assert_eq!(program.pids().len(), 1, "left running");
}

#[test]
fn another_users_handle_on_the_lock_is_worth_nothing() {
    let (till, _program) = Till::with_program_every("100ms");
    fs::create_dir(till.runtime_dir()).unwrap();
    // An earlier version's lock, which everybody could read, and so hold.
    let lock = till.runtime_dir().join("lock");
    fs::write(&lock, "").unwrap();
    fs::set_permissions(&lock, fs::Permissions::from_mode(0o644)).unwrap();
    let held = File::open(&lock).unwrap();
    let reader = nix::libc::flock {
        l_type: nix::libc::F_RDLCK.try_into().unwrap(),
        l_whence: nix::libc::SEEK_SET.try_into().unwrap(),
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    nix::fcntl::fcntl(&held, nix::fcntl::FcntlArg::F_SETLK(&reader)).unwrap();
    let service = run(&till);
    service.wait_for_state("comunicador", "up");
    let (exit, _) = run(&till).wait();
    assert_eq!(exit.code(), Some(1), "there is one");
    let mode = fs::metadata(&lock).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_full_disk_is_said_once_leaves_no_half_file_and_is_said_to_be_over() {
    needs!(Need::Namespaces);
    let (till, program) = Till::with_program_every("100ms");
    fs::create_dir(till.runtime_dir()).unwrap();
    let setup = "mount -t tmpfs -o size=64k,mode=755 none \"$RUN\"";
    let mut command = in_mount_namespace(setup, BINARY);
    command.env("RUN", till.runtime_dir());
    command.arg("--state-dir").arg(till.path().join("state"));
    let service = Service::start(&till, &mut command);
    let own = PathBuf::from(format!("/proc/{}/root", service.pid()));
    let disk = own.join(till.runtime_dir().strip_prefix("/").unwrap());
    service.wait_for("up", "comunicador");
    let files = || -> BTreeSet<String> {
        let entries = fs::read_dir(&disk).unwrap().map(Result::unwrap);
        entries
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect()
    };
    eventually("a status", || files().contains("status.json").then_some(()));
    for round in 1..=2 {
        let before = published(&disk);
        let mut rest = File::create(disk.join("rest")).unwrap();
        while rest.write_all(&[0; 512]).is_ok() {}
        // Nothing is written while nothing changes.
        program.kill();
        eventually("a full disk", || {
            (count(&service, "MFE_EVENT=degraded") == round).then_some(())
        });
        let line = service.wait_for_line("the status can't be written to ");
        assert!(
            line.contains("No space left on device (os error 28)"),
            "{line}"
        );
        let again = || (service.count("restarted", "comunicador") == round).then_some(());
        eventually("restarted", again);
        // Each try begins a file for a moment.
        eventually("no half file", || {
            let is_half = |name: &String| name.starts_with('.');
            (!files().iter().any(is_half)).then_some(())
        });
        assert_eq!(
            published(&disk),
            before,
            "what was published before is still there"
        );
        assert_eq!(
            count(&service, "MFE_EVENT=degraded"),
            round,
            "{:#?}",
            service.lines()
        );

        drop(rest);
        fs::remove_file(disk.join("rest")).unwrap();
        eventually("works again", || {
            (count(&service, "writing the status works again") == round).then_some(())
        });
        eventually("news", || {
            (published(&disk)["processes"][0]["restarts"] == round).then_some(())
        });
    }
}

#[test]
fn a_second_service_is_refused_and_told_of_the_first() {
    let (till, program) = Till::with_program_every("100ms");
    let first = run(&till);
    first.wait_for_state("comunicador", "up");
    let before = published(&till.runtime_dir());
    for _ in 0..3 {
        let (exit, lines) = run(&till).wait();
        assert_eq!(exit.code(), Some(1));
        let expected = format!(
            "mfe-watchdog: another mfe-watchdog (pid {}) already uses {}; stop it first",
            first.pid(),
            till.runtime_dir().display()
        );
        assert_eq!(lines, [expected]);
    }
    assert_eq!(published(&till.runtime_dir())["pid"], before["pid"]);
    assert_eq!(program.starts().len(), 1);
    assert_eq!(status(&till.runtime_dir(), &[]).code(), 0);

    first.stop(Signal::SIGKILL);
    let second = run(&till);
    let line = second.wait_for("adopted", "comunicador");
    assert!(
        line.contains(&format!("MFE_PID={}", program.pid())),
        "{line}"
    );
    let adopted = second.wait_for_state("comunicador", "up");
    assert_eq!(adopted["restarts"], 0);
    assert_eq!(status(&till.runtime_dir(), &[]).code(), 0);
    assert_eq!(program.starts().len(), 1, "started once, adopted once");
}

#[test]
fn watched_it_is_shown_again_when_it_changes_and_only_then() {
    let (till, program) = Till::with_program_every("100ms");
    let service = run(&till);
    service.wait_for_state("comunicador", "up");
    let mut command = mfe_watchdog();
    command.args(["status", "--watch", "--runtime-dir"]);
    command.arg(till.runtime_dir()).stdout(Stdio::piped());
    let mut watching = Guard(command.spawn().unwrap());
    let mut lines = BufReader::new(watching.0.stdout.take().unwrap()).lines();
    let rows: Vec<String> = lines.by_ref().take(4).map(Result::unwrap).collect();
    assert!(rows[1].contains("  up "), "{rows:?}");
    till.script("start.sh", "exit 3");
    till.settle();
    program.kill();
    service.wait_for_state("comunicador", "down");
    // On its way down it may be shown being started.
    let why = lines
        .by_ref()
        .map(Result::unwrap)
        .find(|line| line.contains("exit status 3"));
    assert!(why.is_some());
    let last = lines.next().unwrap().unwrap();
    assert!(last.starts_with("mfe-watchdog runs"), "{last}");
    let version = lines.next().unwrap().unwrap();
    assert!(version.starts_with("version "), "{version}");
    service.stop(Signal::SIGTERM);
    // Cycles went by meanwhile, and weren't worth another table.
    let line = lines.next().unwrap().unwrap();
    assert!(line.contains("the service is not running"), "{line}");
}

#[test]
fn it_speaks_the_users_language_and_its_json_does_not() {
    let (till, program) = Till::with_program_every("100ms");
    let service = run(&till);
    service.wait_for_state("comunicador", "up");
    let shown = |locale: &str, arguments: &[&str]| {
        let mut command = mfe_watchdog();
        command.arg("status").args(arguments).env("LC_ALL", locale);
        output(command.arg("--runtime-dir").arg(till.runtime_dir())).stdout
    };
    let portuguese = shown("pt_BR.UTF-8", &[]);
    assert!(portuguese.starts_with("PROGRAMA "), "{portuguese}");
    let row = portuguese.lines().nth(1).unwrap();
    assert!(
        row.starts_with(&program.name) && row.contains("  no ar  "),
        "{portuguese}"
    );
    for locale in ["C", "en_US.UTF-8", "de_DE.UTF-8"] {
        assert!(shown(locale, &[]).starts_with("PROCESS "), "{locale}");
    }
    // In the locale C that setting doesn't count, in any other it does.
    for (locale, head) in [("C", "PROCESS "), ("en_US.UTF-8", "PROGRAMA ")] {
        let mut command = mfe_watchdog();
        command.env("LC_ALL", locale).env("LANGUAGE", "pt_BR");
        command.args(["status", "--runtime-dir"]);
        let shown = output(command.arg(till.runtime_dir())).stdout;
        assert!(shown.starts_with(head), "{locale}: {shown}");
    }
    assert!(shown("pt_BR.UTF-8", &["--json"]).contains("\"state\":\"up\""));

    till.script("start.sh", "exit 3");
    till.settle();
    program.kill();
    service.wait_for_state("comunicador", "down");
    let status = service.status("comunicador");
    let english = "the start script failed with exit status 3";
    assert_eq!(status["detail"], english);
    assert!(shown("C", &[]).contains(&format!("\n  {english}\n")));
    let portuguese = shown("pt_BR.UTF-8", &[]);
    let wanted = "\n  o script de inicialização terminou com erro (código 3)\n";
    assert!(portuguese.contains(wanted), "{portuguese}");
    let fits = |line: &str| line.chars().count() <= 80;
    assert!(portuguese.lines().all(fits), "{portuguese}");
    assert_valid(STATUS_SCHEMA, &published(&till.runtime_dir()));
    let line = service.wait_for("start_failed", "comunicador");
    assert!(line.contains(english), "{line}");
}
