//! `doctor`: each finding on a machine that has what is wrong and on one that hasn't, and the command
//! itself, in both languages.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use mfe_watchdog::doctor::{Examination, Finding, Machine, Systemd, examine};

use crate::program::{BINARY, binary_for_everybody, mfe_watchdog, run};
use mfe_kit::{
    Guard, Need, Output, Program, Till, eventually, in_mount_namespace, install_program, is_root,
    needs, output, section,
};

const SCRIPT: &str = "/opt/sefaz/cco/bin/start.sh";

/// What is found of the old script while it runs.
const OLD_SCRIPT_RUNS: &str = "old-watcher-running";

/// The old script that one test runs would be found by the command that another runs.
static OLD_SCRIPT: Mutex<()> = Mutex::new(());

/// A machine in a folder, on which all is well: the driver is installed, its program runs.
struct Sound {
    till: Till,
    program: Program,
    running: Guard,
    machine: Machine,
}

/// One in a folder, whose service runs.
fn machine(root: &Path) -> Machine {
    Machine {
        root: root.to_owned(),
        config: None,
        service_user: rustix::process::geteuid().as_raw(),
        now: SystemTime::now(),
        systemd: Systemd {
            version: Some(252),
            enabled: Some("enabled".into()),
            active: Some("active".into()),
            settings: None,
            is_clock_synchronized: Some(true),
        },
    }
}

impl Sound {
    fn new() -> Self {
        let till = Till::new();
        let program = till.program('D');
        let running = Guard(program.start());
        let machine = machine(&till.path().join("root"));
        let sound = Self {
            till,
            program,
            running,
            machine,
        };
        fs::create_dir(&sound.machine.root).unwrap();
        symlink("/proc", sound.machine.root.join("proc")).unwrap();
        sound.write("/bin/sh", "");
        sound.write("/opt/sefaz/drs/libmfe.so", "library");
        sound.write(SCRIPT, "#!/bin/sh\nexit 0\n");
        sound.set_mode(SCRIPT, 0o755);
        sound.write("/var/log/journal/machine/system.journal", "");
        sound.configure(&sound.section());
        sound
    }

    fn section(&self) -> String {
        section("comunicador", &self.program.name, Path::new(SCRIPT))
    }

    fn configure(&self, text: &str) {
        self.write("/etc/mfe-watchdog/config.toml", text);
    }

    fn at(&self, path: &str) -> PathBuf {
        self.machine.root.join(path.trim_start_matches('/'))
    }

    fn write(&self, path: &str, text: &str) {
        let file = self.at(path);
        for folder in file.parent().unwrap().ancestors() {
            if folder.starts_with(&self.machine.root) {
                fs::create_dir_all(folder).unwrap();
                fs::set_permissions(folder, Permissions::from_mode(0o755)).unwrap();
            }
        }
        fs::write(&file, text).unwrap();
        fs::set_permissions(file, Permissions::from_mode(0o644)).unwrap();
    }

    fn set_mode(&self, path: &str, mode: u32) {
        fs::set_permissions(self.at(path), Permissions::from_mode(mode)).unwrap();
    }

    fn remove(&self, path: &str) {
        fs::remove_file(self.at(path)).unwrap();
    }

    /// What is found, but for the old script that one test runs, which all others have among their processes.
    fn examine(&self) -> Examination {
        let mut examination = examine(&self.machine);
        let findings = &mut examination.findings;
        findings.retain(|finding| finding.id != OLD_SCRIPT_RUNS);
        examination
    }

    /// The one finding, which is of this kind.
    fn only(&self, id: &str) -> Finding {
        let mut findings = self.examine().findings;
        let finding = findings.pop().unwrap_or_else(|| panic!("no {id}"));
        assert!(findings.is_empty(), "more than {id}: {findings:?}");
        assert_eq!(finding.id, id, "{}", finding.text);
        finding
    }

    /// The same for one that has a command.
    fn command(&self, id: &str) -> String {
        self.only(id).command.unwrap()
    }

    fn assert_clean(&self) {
        assert_eq!(self.examine().findings, []);
    }

    /// Runs what fixes a script, on this machine instead of the real one.
    fn fix(&self, command: &str) {
        let script = self.at(SCRIPT);
        let command = command.replace("sudo ", "");
        let me = rustix::process::geteuid().as_raw();
        let command = command.replace(" root ", &format!(" {me} "));
        let command = command.replace(&format!(" {SCRIPT}"), &format!(" {}", script.display()));
        let ran = output(Command::new("sh").args(["-e", "-c", &command]));
        assert_eq!(ran.code(), 0, "{command}: {}", ran.stderr);
    }
}

#[test]
fn a_sound_machine_is_clean() {
    let sound = Sound::new();
    let examination = sound.examine();
    assert_eq!(examination.findings, []);
    let text = examination.to_string();
    assert!(text.contains("No problems found"), "{text}");
}

#[test]
fn the_old_watcher_is_found_where_it_is_started() {
    let line = "python3 /usr/local/bin/check_async.py &\n";
    for (file, id) in [
        ("/etc/rc.local", "old-watcher-rc-local"),
        ("/etc/crontab", "old-watcher-cron"),
        ("/etc/cron.d/check", "old-watcher-cron"),
        ("/etc/cron.hourly/check", "old-watcher-cron"),
        ("/var/spool/cron/crontabs/root", "old-watcher-cron"),
    ] {
        let sound = Sound::new();
        sound.write(file, &format!("# {line}"));
        sound.assert_clean();
        sound.write(file, line);
        let found = sound.only(id);
        assert!(found.text.contains("check_async.py"), "{}", found.text);
        let command = found.command.unwrap();
        assert!(command.ends_with(&format!(" {file}")), "{command}");
        let here = sound.at(file);
        let here = command.replace(&format!(" {file}"), &format!(" {}", here.display()));
        sound.fix(&here);
        sound.assert_clean();
    }
}

#[test]
fn an_old_watcher_that_runs_is_found() {
    let _alone = OLD_SCRIPT.lock().unwrap_or_else(PoisonError::into_inner);
    let sound = Sound::new();
    let script = sound.till.path().join("check_comunicador.py");
    fs::write(&script, "read forever\n").unwrap();
    // Python is what the kernel calls it; here a shell plays its part.
    let python = sound.till.path().join("python3");
    symlink("/bin/sh", &python).unwrap();
    let mut command = Command::new(&python);
    let child = command.arg(&script).stdin(Stdio::piped());
    let guard = Guard(child.spawn().unwrap());
    let pid = guard.0.id().to_string();
    let runs = |examination: Examination| {
        let found = examination.findings.into_iter();
        let mut found = found.filter(|finding| finding.id == OLD_SCRIPT_RUNS);
        found
            .next()
            .is_some_and(|finding| finding.text.contains(&pid))
    };
    eventually("found", || runs(examine(&sound.machine)).then_some(()));
    drop(guard);
    assert!(!runs(examine(&sound.machine)));
}

#[test]
fn a_unit_that_starts_the_old_watcher_is_found() {
    let sound = Sound::new();
    let unit = "/etc/systemd/system/check.service";
    sound.write(unit, "[Service]\nExecStart=/x/python /x/check_async.py\n");
    sound.assert_clean();
    pull_in(&sound, "check.service");
    let command = sound.command("old-watcher-unit");
    let end = " && sudo systemctl disable --now check.service";
    assert!(command.ends_with(end), "{command}");
    assert!(command.contains("KillMode=process"), "{command}");
}

/// The machine starts the unit at boot.
fn pull_in(sound: &Sound, unit: &str) {
    sound.write(
        &format!("/etc/systemd/system/multi-user.target.wants/{unit}"),
        "",
    );
}

#[test]
fn a_unit_that_restarts_a_program_is_found() {
    let sound = Sound::new();
    let unit = |restart: &str| format!("[Service]\nExecStart={SCRIPT}\nRestart={restart}\n");
    // The least important first.
    for folder in [
        "/run/systemd/generator.late",
        "/lib/systemd/system",
        "/run/systemd/system",
        "/etc/systemd/system",
    ] {
        let file = format!("{folder}/cco.service");
        sound.write(&file, &unit("always"));
        sound.assert_clean();
        pull_in(&sound, "cco.service");
        let found = sound.only("rival-unit");
        assert!(found.text.contains("Restart=always"), "{}", found.text);
        sound.write(&file, &unit("no"));
        sound.only("other-starter");
        // What fixes it, at the place that it names.
        sound.write(&file, &unit("always"));
        let command = found.command.unwrap();
        let disable = " && sudo systemctl disable cco.service";
        let command = command.strip_suffix(disable).expect(&command);
        assert!(
            command.ends_with("sh /etc/systemd/system/cco.service.d"),
            "{command}"
        );
        let folder = sound.at("/etc/systemd/system/cco.service.d");
        let command = command.replace(
            "/etc/systemd/system/cco.service.d",
            folder.to_str().unwrap(),
        );
        sound.fix(&command.replace("systemctl daemon-reload", "true"));
        sound.remove("/etc/systemd/system/multi-user.target.wants/cco.service");
        sound.assert_clean();
        fs::remove_dir_all(folder).unwrap();
    }
    // The first folder counts, and a mask is what it is for.
    pull_in(&sound, "cco.service");
    sound.only("rival-unit");
    sound.remove("/etc/systemd/system/cco.service");
    symlink("/dev/null", sound.at("/etc/systemd/system/cco.service")).unwrap();
    sound.assert_clean();
}

#[test]
fn a_unit_for_restarts_must_not_restart_by_itself() {
    let sound = Sound::new();
    let name = &sound.program.name;
    let unit = "unit = \"cco-ser.service\"";
    sound.configure(&format!(
        "[process.comunicador]\nname = \"{name}\"\n{unit}\n"
    ));
    let file = "/run/systemd/generator.late/cco-ser.service";
    sound.write(
        file,
        "[Service]\nType=forking\nExecStart=/etc/init.d/cco-ser start\nRestart=no\n",
    );
    pull_in(&sound, "cco-ser.service");
    sound.assert_clean();
    sound.write(
        file,
        "[Service]\nExecStart=/etc/init.d/cco-ser start\nRestart=on-failure\n",
    );
    sound.only("rival-unit");
}

#[test]
fn a_driver_that_is_not_there_is_found() {
    let sound = Sound::new();
    fs::remove_dir_all(sound.at("/opt/sefaz")).unwrap();
    assert_eq!(sound.only("driver-missing").command, None);
}

#[test]
fn a_driver_of_which_a_part_is_missing_is_found() {
    let incomplete = |spoil: fn(&mut Sound), missing: &str| {
        let mut sound = Sound::new();
        spoil(&mut sound);
        let text = sound.only("driver-incomplete").text;
        assert!(text.contains(missing), "{text}");
    };
    incomplete(
        |sound| sound.remove("/opt/sefaz/drs/libmfe.so"),
        "libmfe.so",
    );
    incomplete(|sound| sound.remove(SCRIPT), SCRIPT);
    incomplete(|sound| fs::write(sound.at(SCRIPT), "").unwrap(), SCRIPT);
    // The program itself is only missed while it doesn't run.
    let mut sound = Sound::new();
    sound.running.0.kill().unwrap();
    sound.running.0.wait().unwrap();
    let program = Path::new(SCRIPT).with_file_name(&sound.program.name);
    let program = program.to_str().unwrap();
    let text = sound.only("driver-incomplete").text;
    assert!(text.contains(program), "{text}");
    sound.write(program, "program");
    sound.assert_clean();
}

#[test]
fn a_command_that_is_not_there_is_found() {
    let sound = Sound::new();
    let script = Path::new("/usr/local/bin/start.sh");
    sound.configure(&section("comunicador", &sound.program.name, script));
    let found = sound.only("command-missing");
    assert!(
        found.text.contains("/usr/local/bin/start.sh"),
        "{}",
        found.text
    );
    sound.write("/usr/local/bin/start.sh", "#!/bin/sh\n");
    sound.set_mode("/usr/local/bin/start.sh", 0o755);
    sound.assert_clean();
}

#[test]
fn what_is_wrong_with_a_script_is_found_and_mended() {
    for (id, text, mode) in [
        ("not-executable", "#!/bin/sh\nexit 0\n", 0o644),
        ("crlf-line-ends", "#!/bin/sh\r\nexit 0\r\n", 0o755),
        ("no-interpreter", "exit 0\n", 0o755),
    ] {
        let sound = Sound::new();
        sound.write(SCRIPT, text);
        sound.set_mode(SCRIPT, mode);
        sound.fix(&sound.command(id));
        sound.assert_clean();
    }
}

#[test]
fn an_interpreter_that_is_not_there_is_found() {
    let sound = Sound::new();
    for (line, interpreter, command) in [
        ("#!/bin/bash", "/bin/bash", "sudo apt install bash"),
        (
            "#!/usr/bin/env python3",
            "/usr/local/bin/python3",
            "sudo apt install python3",
        ),
        (
            "#!/opt/x/sh",
            "/opt/x/sh",
            "sudo nano /opt/sefaz/cco/bin/start.sh",
        ),
    ] {
        sound.write(SCRIPT, &format!("{line}\nexit 0\n"));
        sound.set_mode(SCRIPT, 0o755);
        assert_eq!(sound.command("interpreter-missing"), command);
        sound.write(interpreter, "interpreter");
        sound.assert_clean();
    }
}

#[test]
fn what_others_can_change_is_found_and_mended() {
    let sound = Sound::new();
    let beside = "/opt/sefaz/cco/bin/Program";
    let library = "/opt/sefaz/drs/libmfe.so";
    let data = "/opt/sefaz/cco/bin/data";
    for (path, text) in [
        (beside, "\u{7f}ELF"),
        (library, "\u{7f}ELF"),
        (data, "data"),
    ] {
        sound.write(path, text);
    }
    for path in [
        "/opt/sefaz/cco",
        "/opt/sefaz/drs",
        SCRIPT,
        beside,
        library,
        data,
    ] {
        sound.set_mode(path, 0o777);
    }
    let found = sound.only("others-can-change");
    assert!(found.text.contains("/opt/sefaz/cco"), "{}", found.text);
    assert!(found.text.contains(" and 2 more"), "{}", found.text);
    let said = sound.examine().to_string();
    let comments = |words: &str| said.contains(&format!("\n    # {words}"));
    assert!(
        comments("sudo mfe-watchdog restart comunicador\n"),
        "{said}"
    );
    assert!(comments("sudo chmod 0777 /"), "{said}");
    sound.fix(&found.command.unwrap());
    sound.assert_clean();
    let mode = |path: &str| fs::metadata(sound.at(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(beside), mode(data)), (0o755, 0o777));
    // Back again, as it is printed.
    for later in &found.later {
        if later.command.contains("chmod") {
            sound.fix(&later.command);
        }
    }
    sound.only("others-can-change");
}

#[test]
fn an_open_configuration_is_found_and_mended() {
    let sound = Sound::new();
    for (path, mode) in [
        ("/etc/mfe-watchdog/config.toml", 0o666),
        ("/etc/mfe-watchdog", 0o777),
    ] {
        sound.set_mode(path, mode);
        let found = sound.only("others-can-change");
        assert!(found.text.contains("the configuration"), "{}", found.text);
        assert!(found.text.contains(path), "{}", found.text);
        sound.fix(&found.command.unwrap());
        sound.assert_clean();
    }
}

#[test]
fn several_copies_are_found() {
    let sound = Sound::new();
    let second = Guard(sound.program.start());
    let pid = second.0.id().to_string();
    assert_eq!(sound.command("several-copies"), format!("sudo kill {pid}"));
    drop(second);
    sound.assert_clean();
}

/// Who has seen that two processes are children of one knows it when that one is gone; one look
/// doesn't.
#[test]
fn the_service_says_who_is_a_second_copy() {
    let sound = Sound::new();
    let till = &sound.till;
    let name = &till.program('F').name;
    let shell = till.path().join(name);
    install_program(Path::new("/bin/sh"), &shell);
    let start = till.script("start.sh", "exit 1");
    till.configure(&format!(
        "interval = \"100ms\"\n{}",
        section("family", name, &start)
    ));
    sound.configure(&section("family", name, Path::new(SCRIPT)));
    // Each ends with the pipe from this test.
    let child = "exec 3<&0; \"$0\" -c 'read x <&3; :' & \"$0\" -c 'read x <&3; :' & read x; :";
    let mut parent = Command::new(&shell);
    let parent = parent.args(["-c", child]).arg(&shell).stdin(Stdio::piped());
    let mut parent = parent.spawn().unwrap();
    let pipe = parent.stdin.take();
    let service = run(till);
    fs::create_dir_all(sound.at("/run")).unwrap();
    symlink(till.runtime_dir(), sound.at("/run/mfe-watchdog")).unwrap();
    let living = |count| {
        eventually(count, || {
            let status = service.status("family");
            (status["pids"].as_array()?.len() == count).then_some(())
        });
    };
    living(3);
    parent.kill().unwrap();
    parent.wait().unwrap();
    living(2);
    let is_told = || {
        sound
            .examine()
            .findings
            .iter()
            .any(|found| found.id == "several-copies")
    };
    assert!(!is_told(), "told of a family: {:?}", sound.examine());
    fs::remove_file(sound.at("/run/mfe-watchdog")).unwrap();
    assert!(is_told(), "one look can't know");
    drop(pipe);
}

#[test]
fn copies_are_told_with_whose_they_are() {
    assert!(is_root(), "a copy is to be another user's");
    let sound = Sound::new();
    // Everybody may note a start of it there.
    let starts = format!("{}.starts", sound.program.name);
    let starts = sound.till.path().join(starts);
    fs::set_permissions(starts, Permissions::from_mode(0o666)).unwrap();
    fs::set_permissions(sound.till.path(), Permissions::from_mode(0o755)).unwrap();
    let mut second = Command::new("setpriv");
    let second = second.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    let second = second.args([sound.program.path(), sound.till.path()]);
    let second = Guard(second.spawn().unwrap());
    let found = eventually("found", || {
        let mut findings = sound.examine().findings.into_iter();
        findings.find(|finding| finding.id == "several-copies")
    });
    let pid = second.0.id();
    assert!(
        found.text.contains(&format!("pid {pid} (nobody")),
        "{}",
        found.text
    );
    assert!(found.text.contains(" (root"), "{}", found.text);
    assert_eq!(
        found.command, None,
        "nobody is to be ended for a stranger's process"
    );
}

#[test]
fn a_program_of_nearly_the_name_is_found() {
    let sound = Sound::new();
    let other = sound.program.name.to_lowercase();
    assert_ne!(other, sound.program.name);
    sound.configure(&section("comunicador", &other, Path::new(SCRIPT)));
    sound.write(&format!("/opt/sefaz/cco/bin/{other}"), "program");
    let found = sound.only("other-name");
    let line = format!("name = \"{}\"", sound.program.name);
    assert!(found.text.contains(&line), "{}", found.text);
    let command = "sudo nano /etc/mfe-watchdog/config.toml && sudo systemctl reload mfe-watchdog";
    assert_eq!(found.command.as_deref(), Some(command));
}

#[test]
fn another_program_of_the_name_is_found() {
    let sound = Sound::new();
    let section = sound.section();
    sound.configure(&format!("{section}cmdline = \"never-in-any-argument\"\n"));
    sound.only("not-the-program");
    sound.configure(&format!("{section}cmdline = \"{}\"\n", sound.program.name));
    sound.assert_clean();
}

/// By what the entry starts, whatever its file is called; a configuration from before has no `session`.
#[test]
fn a_program_that_comes_back_outside_its_session_is_found() {
    let sound = Sound::new();
    let found = |id: &str| {
        let mut findings = sound.examine().findings.into_iter();
        findings.find(|finding| finding.id == id)
    };
    let outside = "gui-outside-session";
    let entry = |file: &str, line: &str| {
        sound.write(
            &format!("/etc/xdg/autostart/{file}"),
            &format!("[Desktop Entry]\nType=Application\n{line}\n"),
        );
    };
    for (file, line) in [
        ("cco-mon.desktop", format!("Exec={SCRIPT}")),
        ("other.desktop", format!("Exec={SCRIPT} %U")),
        ("other.desktop", format!("Exec=\"{SCRIPT}\" %f")),
        (
            "other.desktop",
            format!("Exec=sh -c \"sleep 40; {SCRIPT}\""),
        ),
        ("other.desktop", format!("Exec={SCRIPT}\nOnlyShowIn=XFCE;")),
    ] {
        assert_eq!(found(outside), None, "{line}");
        entry(file, &line);
        let finding = found(outside).unwrap_or_else(|| panic!("{line}"));
        assert!(finding.text.contains(file), "{}", finding.text);
        assert!(
            finding.text.contains("session = \"auto\""),
            "{}",
            finding.text
        );
        entry(file, &format!("{line}\nHidden=true"));
        assert_eq!(found(outside), None, "{line}");
        sound.remove(&format!("/etc/xdg/autostart/{file}"));
    }
    entry("cco-mon.desktop", &format!("Exec={SCRIPT}"));
    sound.configure(&(sound.section() + "session = \"auto\"\n"));
    assert_eq!(found(outside), None, "it is as advised");
    assert_eq!(found("autostart-missing"), None);
    sound.remove("/etc/xdg/autostart/cco-mon.desktop");
    sound.configure(&(sound.section() + "session = \"graphical\"\n"));
    assert!(found("autostart-missing").is_some());
}

#[test]
fn a_display_without_a_session_is_found() {
    let sound = Sound::new();
    sound.configure(&(sound.section() + "session = \"graphical\"\n"));
    let is_found = || {
        let findings = sound.examine().findings;
        findings.iter().any(|finding| finding.id == "no-logind")
    };
    sound.remove("/proc");
    let head = "Num RefCount Protocol Flags Type St Inode Path\n";
    sound.write("/proc/1/net/unix", head);
    assert!(!is_found());
    let display = "0: 00000002 00000000 00010000 0001 01 20001 /tmp/.X11-unix/X7\n";
    sound.write("/proc/1/net/unix", &format!("{head}{display}"));
    assert!(is_found());
}

#[test]
fn what_roots_program_has_left_is_found() {
    needs!(Need::Root("what root's program leaves is root's"));
    let sound = Sound::new();
    sound.configure(&(sound.section() + "session = \"graphical\"\n"));
    let found = |id: &str| {
        let mut findings = sound.examine().findings.into_iter();
        findings.find(|finding| finding.id == id)
    };
    let log = format!("/{}/log/a.log", sound.program.name);
    sound.write(&log, "");
    let pid = sound.program.pid().to_string();
    let runs = found("runs-as-root").unwrap();
    assert!(runs.text.contains(&pid), "{}", runs.text);
    assert_eq!(runs.command, Some(format!("sudo kill {pid}")));
    assert_eq!(found("not-writable-for-user"), None, "nobody is there");
    let session = "UID=4242\nACTIVE=1\nSTATE=active\nREMOTE=0\nTYPE=x11\nCLASS=user\nSEAT=seat0\n\
                   MONOTONIC=1\n";
    sound.write("/run/systemd/sessions/2", session);
    let left = found("not-writable-for-user").unwrap();
    assert_eq!(left.command, Some(format!("sudo chown 4242 {log}")));
    sound.set_mode(&log, 0o666);
    assert_eq!(found("not-writable-for-user"), None);
}

#[test]
fn problems_of_the_configuration_are_found() {
    let sound = Sound::new();
    sound.configure(&format!("{}intervall = \"1s\"\n", sound.section()));
    let found = sound.only("config");
    assert!(
        found
            .text
            .contains("config.toml:4: process.comunicador.intervall"),
        "{}",
        found.text
    );
    assert_eq!(
        found.command.unwrap(),
        "sudo nano /etc/mfe-watchdog/config.toml"
    );
    assert_eq!(sound.examine().notes.len(), 1);
    sound.remove("/etc/mfe-watchdog/config.toml");
    let ids: Vec<_> = sound
        .examine()
        .findings
        .iter()
        .map(|finding| finding.id)
        .collect();
    assert!(
        !ids.contains(&"config"),
        "the built-in one is good: {ids:?}"
    );
}

#[test]
fn a_service_that_is_not_enabled_or_not_running_is_found() {
    let mut sound = Sound::new();
    sound.machine.systemd.enabled = Some("disabled".into());
    let command = sound.command("service-not-enabled");
    assert_eq!(command, "sudo systemctl enable --now mfe-watchdog");
    sound.machine.systemd.enabled = Some("enabled".into());
    sound.machine.systemd.active = Some("failed".into());
    let command = sound.command("service-not-running");
    assert_eq!(command, "sudo systemctl start mfe-watchdog");
}

#[test]
fn a_second_watchdog_is_found() {
    let sound = Sound::new();
    let trial = Till::new();
    let script = trial.script("start.sh", "exit 1");
    let other = trial.program('O');
    let run = |name: &str| {
        trial.configure(&section("a", name, &script));
        let service = run(&trial);
        service.wait_for_line("MFE_EVENT=startup");
        service.status("a");
        // The machine that is checked has its folders below another root.
        let status = fs::read_to_string(trial.runtime_dir().join("status.json")).unwrap();
        let inside = trial.runtime_dir().join("status.json");
        sound.write(inside.to_str().unwrap(), &status);
        service
    };
    let service = run(&other.name);
    sound.assert_clean();
    drop(service);
    let service = run(&sound.program.name);
    let command = sound.command("second-watchdog");
    assert_eq!(command, format!("sudo kill {}", service.pid()));
}

#[test]
fn a_systemd_that_is_too_old_for_a_setting_is_found() {
    let mut sound = Sound::new();
    let hook = "[[hook]]\non = [\"shutdown\"]\ncommand = [\"/bin/sh\"]\ntimeout = \"1min\"\n";
    sound.write("/bin/sh", "\u{7f}ELF\0");
    sound.set_mode("/bin/sh", 0o755);
    sound.configure(&format!("{}{hook}", sound.section()));
    sound.assert_clean();
    sound.machine.systemd.version = Some(229);
    let command = sound.command("systemd-too-old");
    assert!(command.contains("TimeoutStopSec=80s"), "{command}");
}

#[test]
fn a_journal_that_is_lost_at_a_reboot_is_found() {
    let sound = Sound::new();
    sound.write("/lib/systemd/journald.conf", "[Journal]\n#Storage=none\n");
    sound.assert_clean();
    sound.write(
        "/etc/systemd/journald.conf",
        "[Journal]\nStorage=volatile\n",
    );
    let command = sound.command("journal-not-kept");
    assert!(command.contains("Storage=persistent"), "{command}");
    let drop_in = "/usr/lib/systemd/journald.conf.d/a.conf";
    sound.write(drop_in, "[Journal]\nStorage=auto\n");
    sound.assert_clean();
    fs::remove_dir_all(sound.at("/var/log/journal")).unwrap();
    let command = sound.command("journal-not-kept");
    assert!(
        command.starts_with("sudo mkdir -p /var/log/journal"),
        "{command}"
    );
}

#[test]
fn a_clock_that_is_behind_is_found() {
    let mut sound = Sound::new();
    sound.machine.systemd.is_clock_synchronized = Some(false);
    let examination = sound.examine();
    assert_eq!(
        (examination.findings.len(), examination.notes.len()),
        (0, 1)
    );
    sound.machine.now -= Duration::from_secs(3 * 86400 + 7200);
    let text = sound.only("clock-behind").text;
    assert!(text.contains("3 days and 2 hours"), "{text}");
    sound.write("/var/lib/dpkg/status", "");
    let file = fs::File::open(sound.at("/var/lib/dpkg/status")).unwrap();
    file.set_modified(SystemTime::now() + Duration::from_secs(86400))
        .unwrap();
    let text = sound.only("clock-behind").text;
    assert!(text.contains("4 days and 2 hours"), "{text}");
}

#[test]
fn what_is_foreign_does_not_reach_the_terminal() {
    let sound = Sound::new();
    sound.write("/etc/cron.d/a\u{1b}[2Jb", "check_async.py\n");
    let text = sound.examine().to_string();
    assert!(!text.contains('\u{1b}'), "{text}");
    assert!(text.contains("\\u{1b}[2Jb"), "{text}");
}

#[test]
fn every_line_fits_a_terminal_and_every_finding_has_its_id() {
    let sound = Sound::new();
    sound.write("/etc/rc.local", "check_async.py\n");
    fs::remove_dir_all(sound.at("/opt/sefaz")).unwrap();
    fs::remove_dir_all(sound.at("/var/log/journal")).unwrap();
    let examination = sound.examine();
    let text = examination.to_string();
    for line in text.lines() {
        let is_word = !line.trim().contains(' ') || line.contains("sed");
        assert!(line.chars().count() <= 80 || is_word, "{line}");
    }
    assert_eq!(examination.findings.len(), 3, "{text}");
    for finding in &examination.findings {
        assert!(text.contains(&format!("[{}]", finding.id)), "{text}");
    }
    assert!(text.contains("\n    sudo "), "{text}");
}

/// What is to be found on each of the machines in tests/fixtures/doctor: a tree of files, of which
/// `00-sound` is below all others, and the words for it. Nothing runs on them but init.
#[test]
fn what_is_found_on_each_machine_of_the_fixtures() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/doctor");
    let mut names: Vec<_> = fs::read_dir(&fixtures).unwrap().collect();
    names.sort_unstable_by_key(|entry| entry.as_ref().unwrap().file_name());
    assert!(names.len() > 10, "{names:?}");
    let mut wrong = String::new();
    for name in names {
        let folder = name.unwrap().path();
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        copy(&fixtures.join("00-sound/root"), root);
        copy(&folder.join("root"), root);
        let machine = machine(root);
        let examination = examine(&machine);
        let expected = fs::read_to_string(folder.join("expected")).unwrap_or_default();
        let found = examination.to_string();
        if found != expected {
            wrong += &format!("{}\n{found}\n", folder.display());
        }
        // What no command of systemd's fixes is fixed here.
        let is_systemds = |finding: &&Finding| {
            finding
                .command
                .iter()
                .any(|line| line.contains("systemctl"))
        };
        let findings = examination.findings.iter();
        for finding in findings.filter(|finding| !is_systemds(finding)) {
            let command = finding.command.as_ref().unwrap().replace("sudo ", "");
            let command = command.replace(" /", &format!(" {}/", root.display()));
            let ran = output(Command::new("sh").args(["-e", "-c", &command]));
            assert_eq!(ran.code(), 0, "{command}: {}", ran.stderr);
        }
        let left = examine(&machine).findings;
        assert!(left.iter().all(|finding| is_systemds(&finding)), "{left:?}");
        let rc_local = root.join("etc/rc.local");
        if rc_local.exists() {
            let ran = output(Command::new("sh").arg("-n").arg(rc_local));
            assert_eq!(ran.code(), 0, "{}", ran.stderr);
        }
    }
    assert!(wrong.is_empty(), "otherwise than expected:\n{wrong}");
}

/// Puts a tree of files into another one, with the modes that a till has.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    fs::set_permissions(to, Permissions::from_mode(0o755)).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let from = entry.unwrap().path();
        let to = to.join(from.file_name().unwrap());
        if from.is_dir() {
            copy(&from, &to);
        } else {
            let content = fs::read(&from).unwrap();
            let mode = if content.starts_with(b"#!") {
                0o755
            } else {
                0o644
            };
            fs::write(&to, content).unwrap();
            fs::set_permissions(&to, Permissions::from_mode(mode)).unwrap();
        }
    }
}

/// The real thing on this machine, whatever it finds here besides a bad configuration.
fn doctor(language: &str, config: &str) -> Output {
    let till = Till::new();
    till.configure(config);
    let mut command = mfe_watchdog();
    let command = command.env("LC_ALL", language).arg("doctor");
    output(command.arg("--config").arg(till.config()))
}

#[test]
fn the_command_speaks_the_users_language_and_exits_1() {
    for (language, words) in [
        ("C", " problems found. After fixing them"),
        ("pt_BR.UTF-8", " problemas encontrados. Depois de corrigir"),
    ] {
        let ran = doctor(language, "interval = 1\n");
        assert_eq!(ran.code(), 1, "{}", ran.stderr);
        assert!(ran.stdout.contains(words), "{}", ran.stdout);
        assert!(ran.stdout.contains("[config]"), "{}", ran.stdout);
        assert!(!ran.stdout.contains('\u{1b}'), "{}", ran.stdout);
        assert_eq!(ran.stderr, "");
    }
}

/// A systemd with nothing to object to, in place of the machine's own.
const SYSTEMD: &str = r#"#!/bin/sh
case $1 in
--version) echo "systemd 252 (252.1)" ;;
is-enabled) echo enabled ;;
is-active) echo active ;;
status) ANSWER ;;
esac
"#;

const SYNCHRONIZED: &str = "echo System clock synchronized: yes";

/// Runs `doctor` where this machine has nothing wrong with it but what the test makes wrong. The
/// folders that it looks at are the test's own.
fn doctor_on_a_sound_machine(timedatectl: &str, setup: &str) -> Output {
    let _alone = OLD_SCRIPT.lock().unwrap_or_else(PoisonError::into_inner);
    let till = Till::new();
    let program = till.program('D');
    let running = Guard(program.start());
    let script = "/usr/local/bin/mfe-start.sh";
    let config = section("comunicador", &program.name, Path::new(script));
    till.configure(&config);
    till.executable("systemctl", &SYSTEMD.replace("ANSWER", timedatectl));
    till.script("mfe-start.sh", "exit 0");
    till.executable("timedatectl", &SYSTEMD.replace("ANSWER", timedatectl));
    let sound = r#"
        for folder in /etc/cron.d /etc/systemd /run /usr/local/bin /var/log /var/spool; do
            test ! -d $folder || mount -t tmpfs tmpfs $folder
        done
        mkdir -p /var/log/journal
        cp "$MFE_TEST/bin/mfe-start.sh" /usr/local/bin
        chmod 755 /usr/local/bin
        mount -t overlay overlay -o "lowerdir=$MFE_TEST/bin:/usr/bin" /usr/bin"#;
    let mut command = in_mount_namespace(&format!("{sound}\n{setup}"), BINARY);
    command.env("MFE_TEST", till.path()).env("LC_ALL", "C");
    let ran = output(command.arg("doctor").arg("--config").arg(till.config()));
    drop(running);
    ran
}

#[test]
fn the_command_exits_0_where_nothing_is_wrong() {
    needs!(Need::Root(
        "to others the files of root are somebody else's"
    ));
    let ran = doctor_on_a_sound_machine(SYNCHRONIZED, "");
    assert_eq!((ran.code(), ran.stderr.as_str()), (0, ""), "{}", ran.stdout);
    assert!(ran.stdout.contains("No problems found"), "{}", ran.stdout);
}

#[test]
fn a_systemd_that_hangs_does_not_hold_it_up() {
    needs!(Need::Root(
        "to others the files of root are somebody else's"
    ));
    let ran = doctor_on_a_sound_machine("sleep 1000", "");
    assert_eq!((ran.code(), ran.stderr.as_str()), (0, ""), "{}", ran.stdout);
}

#[test]
fn a_full_disk_is_found() {
    needs!(Need::Root(
        "to others the files of root are somebody else's"
    ));
    let full = "mount -t tmpfs -o size=512k tmpfs /run";
    let ran = doctor_on_a_sound_machine(SYNCHRONIZED, full);
    assert_eq!((ran.code(), ran.stderr.as_str()), (1, ""), "{}", ran.stdout);
    assert!(ran.stdout.contains("[disk-full]"), "{}", ran.stdout);
    assert!(ran.stdout.contains("1 problem found."), "{}", ran.stdout);
}

#[test]
fn without_root_it_says_what_it_could_not_look_at() {
    needs!(Need::Root("it asks as another user"));
    let till = Till::new();
    let binary = binary_for_everybody(&till);
    let setup = "mount -t tmpfs tmpfs /var/spool; mkdir -p -m 700 /var/spool/cron/crontabs";
    let mut command = in_mount_namespace(setup, "setpriv");
    let command = command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    let ran = output(command.arg(binary).arg("doctor").env("LC_ALL", "C"));
    assert_eq!(ran.stderr, "");
    let said = ran.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    let note = "Note: Could not look at /var/spool/cron/crontabs (Permission denied";
    assert!(said.contains(note), "{said}");
    assert!(said.contains("sudo mfe-watchdog doctor"), "{said}");
}
