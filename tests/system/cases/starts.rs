//! How the programs are started: by scripts of every kind, each in a unit of its own.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::till::{COMUNICADOR, MONITOR, PROGRAMS, Process, SERVICE, SOON, STARTS, Script, Till};
use mfe_kit::container::expect_status;
use mfe_kit::wait_for;

pub(super) fn script_stays(till: &Till) -> Result<()> {
    starts_and_starts_again(till, Script::Stays)
}

pub(super) fn script_forks(till: &Till) -> Result<()> {
    starts_and_starts_again(till, Script::Forks)
}

/// Both come up, in their units, and come up again; the script is run once for each.
fn starts_and_starts_again(till: &Till, script: Script) -> Result<()> {
    till.install_driver(script)?;
    till.start()?;
    for program in &PROGRAMS {
        let first = till.wait_up(program)?;
        ensure!(
            unit_of(till, first)? == program.unit(),
            "{} is not in its unit",
            program.name
        );
        ensure!(till.property(&program.unit(), "ActiveState")? == "active");
        let second = till.kill_and_wait(program, first)?;
        ensure!(
            unit_of(till, second)? == program.unit(),
            "{} is not in its unit",
            program.name
        );
        ensure!(till.starts(program) == 2, "{} starts", till.starts(program));
        ensure!(
            till.property(&program.unit(), "NRestarts")? == "0",
            "systemd restarted it"
        );
    }
    Ok(())
}

/// The unit that systemd counts a process to.
fn unit_of(till: &Till, process: Process) -> Result<String> {
    let groups = till
        .read(&format!("/proc/{}/cgroup", process.pid))
        .context("it is gone")?;
    let is_unit = |part: &&str| part.ends_with(".service");
    let unit = groups
        .lines()
        .find_map(|line| line.rsplit('/').find(is_unit));
    Ok(unit.unwrap_or_default().to_owned())
}

/// While a start takes its time nothing is started a second time, and the other is not kept
/// waiting.
pub(super) fn script_takes_15_s(till: &Till) -> Result<()> {
    till.install_program(&COMUNICADOR, Script::Slow)?;
    till.install_program(&MONITOR, Script::Stays)?;
    till.start()?;
    let monitor = till.wait_up(&MONITOR)?;
    till.kill_and_wait(&MONITOR, monitor)?;
    let status = till.status_of(&COMUNICADOR).context("no status")?;
    ensure!(status["state"] == "starting", "{status}");
    till.wait_up_for(&COMUNICADOR, Duration::from_secs(30))?;
    ensure!(
        till.starts(&COMUNICADOR) == 1,
        "{} starts",
        till.starts(&COMUNICADOR)
    );
    Ok(())
}

/// It is said once and tried again; the other is kept up meanwhile. Once the script is fixed the
/// program is up.
pub(super) fn script_fails(till: &Till) -> Result<()> {
    till.install_program(&COMUNICADOR, Script::Fails)?;
    till.install_program(&MONITOR, Script::Stays)?;
    till.start()?;
    till.wait_up(&MONITOR)?;
    till.wait_detail(&COMUNICADOR, "exit status 7")?;
    wait_for("it is tried again", SOON, || {
        Ok((till.starts(&COMUNICADOR) >= 4).then_some(()))
    })?;
    wait_for(
        "it is tried ever more rarely",
        Duration::from_secs(90),
        || Ok((till.starts(&COMUNICADOR) >= 13).then_some(())),
    )?;
    let failures = till.events(Some(&COMUNICADOR), "start_failed")?.len();
    ensure!(failures == 1, "said {failures} times");
    ensure!(till.is_active()? && till.property(SERVICE, "NRestarts")? == "0");
    till.status_exits(1)?;
    // The next try would come after 25.6 s: a new script is tried at once.
    till.install_program(&COMUNICADOR, Script::Stays)?;
    till.wait_up_for(&COMUNICADOR, Duration::from_secs(20))?;
    Ok(())
}

/// What a program printed last is in the message of its failure, and what the next one prints isn't; nobody
/// who is told otherwise waits for it.
pub(super) fn last_lines_told(till: &Till) -> Result<()> {
    till.install_driver(Script::Stays)?;
    let script =
        |rest: &str| till.write(COMUNICADOR.script, &format!("#!/bin/sh\n{rest}\n"), 0o755);
    script("printf 'one\\ntwo\\nno device \\033[2J\\nout of paper\\n' >&2; exit 3")?;
    till.start()?;
    let output = "two\nno device \\u{1b}[2J\nout of paper";
    let lines = "\n  > two\n  > no device \\u{1b}[2J\n  > out of paper";
    let failed = till.wait_event(&COMUNICADOR, "start_failed")?;
    let printed = till.ok(&["journalctl", "-b", "-o", "cat", "-t", COMUNICADOR.key])?;
    ensure!(printed.contains("out of paper"), "{printed}");
    ensure!(failed["MFE_OUTPUT"] == output, "{failed}");
    let message = failed["MESSAGE"].as_str().unwrap_or_default();
    ensure!(message.ends_with(lines), "{message}");
    let down = till.wait_event(&COMUNICADOR, "down")?;
    ensure!(down["MFE_OUTPUT"].is_null(), "it was never up: {down}");

    // Each life says which one it is.
    script(&format!("echo life $$\nexec {}", COMUNICADOR.path()))?;
    let mut up = till.wait_up(&COMUNICADOR)?;
    let before = up;
    while till.events(Some(&COMUNICADOR), "crash_loop")?.is_empty() {
        up = till.kill_and_wait(&COMUNICADOR, up)?;
    }
    let told = till.wait_event(&COMUNICADOR, "crash_loop")?;
    let downs = till.events(Some(&COMUNICADOR), "down")?;
    let is_of_first = |down: &&Value| down["MFE_PID"] == before.pid.to_string().as_str();
    let first = downs.iter().find(is_of_first);
    let last = downs.iter().rfind(|down| seq(down) < seq(&told));
    let [first, last] = [first, last].map(|down| down.context("it wasn't told"));
    let [first, last] = [first?, last?];
    ensure!(life_of(first) == first["MFE_OUTPUT"], "{first}");
    ensure!(life_of(last) == told["MFE_OUTPUT"], "{told} after {last}");
    let with_output = downs.iter().filter(|down| !down["MFE_OUTPUT"].is_null());
    for down in with_output {
        ensure!(life_of(down) == down["MFE_OUTPUT"], "{down}");
    }
    // None has overtaken another one.
    let numbers: Vec<u64> = till.journal(SERVICE)?.iter().map(seq).collect();
    let numbers: Vec<u64> = numbers.into_iter().filter(|number| *number > 0).collect();
    ensure!(numbers.is_sorted(), "{numbers:?}");

    // An old systemd doesn't tell the runs of a unit apart; and this one was up before the service.
    till.ok(&["systemctl", "stop", SERVICE])?;
    till.drop_in(SERVICE, "[Service]\nInaccessiblePaths=/run/systemd/units\n")?;
    till.remember_journal()?;
    till.ok(&["systemctl", "start", SERVICE])?;
    let up = till.wait_up(&COMUNICADOR)?;
    till.wait_state(&COMUNICADOR, "up")?;
    till.kill_and_wait(&COMUNICADOR, up)?;
    let down = till.wait_event(&COMUNICADOR, "down")?;
    ensure!(life_of(&down) == down["MFE_OUTPUT"], "{down}");
    Ok(())
}

/// What a life says of which one's end a message tells.
fn life_of(down: &Value) -> String {
    format!("life {}", down["MFE_PID"].as_str().unwrap_or_default())
}

/// Which message of the service's one is.
fn seq(message: &Value) -> u64 {
    let seq = message["MFE_SEQ"].as_str();
    seq.and_then(|seq| seq.parse().ok()).unwrap_or_default()
}

/// Without the vendor's driver the service idles, and says so; it picks up a driver that comes.
pub(super) fn script_missing_then_there(till: &Till) -> Result<()> {
    till.start()?;
    let service = till.main_pid()?;
    let waiting = |script: &str| format!("{script} is not installed");
    for program in &PROGRAMS {
        till.wait_detail(program, &waiting(program.script))?;
        till.wait_event(program, "start_failed")?;
    }
    let line = till.property(SERVICE, "StatusText")?;
    ensure!(
        line.contains(&waiting(COMUNICADOR.script)),
        "systemctl status says: {line}"
    );
    till.remember_journal()?;
    till.wait_cycles(10)?;
    let said = till.messages(SERVICE)?;
    ensure!(said.is_empty(), "not quiet: {said}");
    let unit = till.property(&COMUNICADOR.unit(), "ActiveState")?;
    ensure!(
        unit == "inactive",
        "systemd was made to start what isn't there: {unit}"
    );

    till.install_driver(Script::Forks)?;
    for program in &PROGRAMS {
        till.wait_up(program)?;
    }
    ensure!(till.main_pid()? == service, "the service was restarted");
    Ok(())
}

/// Nothing is started with a command that is being put in place, and nothing is ended that couldn't be
/// started again.
pub(super) fn command_replaced(till: &Till) -> Result<()> {
    let [comunicador, monitor] = till.all_day()?;
    let script = COMUNICADOR.script;
    till.sh(&format!("mv {script} {script}.away"))?;
    refuses_to_restart(till, &format!("{script} is not installed"))?;
    till.unharmed(&[comunicador, monitor])?;
    till.sh(&format!("mv {script}.away {script}"))?;

    // dpkg is about to.
    till.sh(&format!("cp -p {script} {script}.dpkg-new"))?;
    till.signal("KILL", comunicador.pid)?;
    till.wait_detail(&COMUNICADOR, &format!("{script} is just being replaced"))?;
    till.wait_cycles(10)?;
    let starts = till.starts(&COMUNICADOR);
    ensure!(starts == 1, "{starts} starts while it is being replaced");
    till.sh(&format!("mv {script}.dpkg-new {script}"))?;
    let comunicador = till.wait_up(&COMUNICADOR)?;

    // An updater has just written it.
    till.sh(&format!("echo '# new' >> {script}"))?;
    till.kill_and_wait(&COMUNICADOR, comunicador)?;
    let times = till.sh(&format!(
        "stat --format=%.Y {script} {STARTS}/{}",
        COMUNICADOR.key
    ))?;
    let times: Vec<f64> = times
        .lines()
        .map(str::parse)
        .collect::<Result<_, _>>()
        .with_context(|| times.clone())?;
    let [written, started] = times[..] else {
        bail!("not two times: {times:?}");
    };
    ensure!(
        started - written >= 2.0,
        "started {} s after it was written",
        started - written
    );
    ensure!(
        till.starts(&COMUNICADOR) == 3,
        "{} starts",
        till.starts(&COMUNICADOR)
    );
    till.status_exits(0)?;
    Ok(())
}

/// Nobody's `restart` ends what couldn't be started again, and why is said.
fn refuses_to_restart(till: &Till, why: &str) -> Result<()> {
    let refused = till.run(&["mfe-watchdog", "restart", COMUNICADOR.key])?;
    let words = String::from_utf8_lossy(&refused.stderr);
    ensure!(
        refused.status.code() == Some(1) && words.contains(why),
        "{refused:?}"
    );
    Ok(())
}

/// What systemd won't do, and what it doesn't manage to, is told, and tried again.
pub(super) fn systemd_refuses(till: &Till) -> Result<()> {
    let unit = COMUNICADOR.unit();
    let [comunicador, monitor] = till.all_day()?;
    till.ok(&["systemctl", "mask", "--runtime", &unit])?;
    // What couldn't be started again isn't ended.
    refuses_to_restart(till, &format!("{unit} is masked"))?;
    till.unharmed(&[comunicador, monitor])?;
    till.signal("KILL", comunicador.pid)?;
    let told = format!("systemd couldn't restart {unit}: ");
    till.wait_detail(&COMUNICADOR, &format!("{told}Unit {unit} is masked"))?;

    till.ok(&["systemctl", "unmask", "--runtime", &unit])?;
    till.wait_up(&COMUNICADOR)?;
    till.drop_in(&unit, "[Service]\nExecStartPre=/bin/false\n")?;
    for process in till.processes(&COMUNICADOR)? {
        till.signal("KILL", process.pid)?;
    }
    till.wait_detail(
        &COMUNICADOR,
        &format!("{told}the result of its job is failed"),
    )?;

    till.drop_in(&unit, "")?;
    let comunicador = till.wait_up(&COMUNICADOR)?;
    let starts = till.starts(&COMUNICADOR);
    ensure!(starts == 3, "{starts} starts");
    till.unharmed(&[comunicador, monitor])
}

/// The service is locked up; what it starts is not, and knows nothing of the service.
pub(super) fn program_is_outside_the_sandbox(till: &Till) -> Result<()> {
    let [comunicador, _] = till.all_day()?;
    let service = till.main_pid()?;
    let field = |pid: i32, name: &str| -> Result<String> {
        let status = till
            .read(&format!("/proc/{pid}/status"))
            .context("no status")?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        Ok(line
            .with_context(|| format!("no {name}"))?
            .trim()
            .to_owned())
    };
    for (name, of_service) in [("NoNewPrivs", "1"), ("CapBnd", "0000000000080020")] {
        let value = field(service, name)?;
        ensure!(value == of_service, "the service has {name} {value}");
        let (program, system) = (field(comunicador.pid, name)?, field(1, name)?);
        ensure!(
            program == system,
            "the program has {name} {program}, not {system}"
        );
    }
    let sigpipe = u64::from_str_radix(&field(comunicador.pid, "SigIgn")?, 16)? & (1 << 12);
    ensure!(sigpipe != 0, "it would die of a restart of the journal");
    let mounts = |pid: i32| till.ok(&["readlink", &format!("/proc/{pid}/ns/mnt")]);
    ensure!(
        mounts(comunicador.pid)? == mounts(1)?,
        "it has mounts of its own"
    );
    ensure!(
        mounts(service)? != mounts(1)?,
        "the service has no mounts of its own"
    );

    let environment = till.environment(comunicador)?;
    for variable in ["NOTIFY_SOCKET", "WATCHDOG_", "LISTEN_", "RUNTIME_DIRECTORY"] {
        ensure!(!environment.contains(variable), "{environment}");
    }
    ensure!(environment.contains("PATH="), "{environment}");
    Ok(())
}

/// What systemd can set for a service is one drop-in away.
pub(super) fn settings_of_the_administrator(till: &Till) -> Result<()> {
    till.drop_in(
        &MONITOR.unit(),
        "[Service]\nUser=nobody\nNice=5\nEnvironment=DISPLAY=:0\n",
    )?;
    let [_, monitor] = till.all_day()?;
    let status = till
        .read(&format!("/proc/{}/status", monitor.pid))
        .context("it is gone")?;
    ensure!(status.contains("Uid:\t65534\t65534"), "{status}");
    let environment = till.environment(monitor)?;
    ensure!(environment.contains("DISPLAY=:0"), "{environment}");
    till.kill_and_wait(&MONITOR, monitor)?;
    Ok(())
}

pub(super) fn exec_of_an_unknown_key(till: &Till) -> Result<()> {
    let said = expect_status(&till.run(&["mfe-watchdog", "exec", "printer"])?, 78)?;
    ensure!(
        said.contains("printer") && said.contains("comunicador"),
        "{said}"
    );
    till.ok(&["systemctl", "start", "mfe@printer.service"])?;
    wait_for("the unit has failed", SOON, || {
        Ok((till.property("mfe@printer.service", "ActiveState")? == "failed").then_some(()))
    })?;
    let status = till.property("mfe@printer.service", "ExecMainStatus")?;
    ensure!(status == "78", "exit status {status}");
    Ok(())
}
