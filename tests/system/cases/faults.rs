//! What goes wrong with the service itself and around it; the programs must not notice.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::till::{
    COMUNICADOR, MONITOR, PROGRAMS, Process, SERVICE, SOON, STATE_DIR, Script, Till, VENDOR,
    by_command, by_unit, config,
};
use mfe_kit::wait_for;

/// A start that takes its time.
const SLOW_UNIT: &str = "[Service]\nExecStartPre=/bin/sleep 4\n";

/// WatchdogSec, and what systemd needs to end and start the service on a busy machine.
const WATCHDOG_PATIENCE: Duration = Duration::from_secs(70);

pub(super) fn service_killed(till: &Till) -> Result<()> {
    let before = till.all_day()?;
    let service = till.main_pid()?;
    till.remember_journal()?;
    till.signal("KILL", service)?;
    till.wait_for_another(service, SOON)?;
    for program in &PROGRAMS {
        till.wait_up(program)?;
        till.wait_event(program, "adopted")?;
    }
    till.unharmed(&before)?;
    let comunicador = till.kill_and_wait(&COMUNICADOR, before[0])?;
    till.unharmed(&[comunicador, before[1]])
}

/// Started as the service's own children, in its control group, the programs outlive it just the
/// same.
pub(super) fn children_outlive_the_service(till: &Till) -> Result<()> {
    let processes = PROGRAMS.map(|program| by_command(&program)).concat();
    till.configure(&format!(
        "launcher = \"direct\"\n{}",
        config("200ms", &processes)
    ))?;
    let before = till.all_day()?;
    let group = till.read(&format!("/proc/{}/cgroup", before[0].pid));
    ensure!(
        group.is_some_and(|group| group.contains(SERVICE)),
        "it is not the service's child"
    );
    let service = till.main_pid()?;
    till.signal("KILL", service)?;
    let service = till.wait_for_another(service, SOON)?;
    till.ok(&["systemctl", "restart", SERVICE])?;
    till.wait_for_another(service, SOON)?;
    till.unharmed(&before)?;
    till.ok(&["systemctl", "stop", SERVICE])?;
    till.unharmed(&before)
}

/// It stands still: systemd's watchdog notices and brings it back.
pub(super) fn service_hangs(till: &Till) -> Result<()> {
    let before = till.all_day()?;
    let service = till.main_pid()?;
    till.signal("STOP", service)?;
    till.wait_for_another(service, WATCHDOG_PATIENCE)?;
    let said = till.messages(SERVICE)?;
    ensure!(
        said.contains("Watchdog timeout"),
        "not by systemd's watchdog: {said}"
    );
    for program in &PROGRAMS {
        till.wait_up(program)?;
    }
    till.unharmed(&before)
}

/// systemd itself stands still: the service says so, and goes on. So does systemd, later, and starts
/// what is missing once, however often it couldn't be asked to.
pub(super) fn systemd_hangs(till: &Till) -> Result<()> {
    let before = till.all_day()?;
    let service = till.main_pid()?;
    till.freeze_systemd()?;
    let told = (|| {
        till.signal("KILL", before[0].pid)?;
        till.wait_detail(
            &COMUNICADOR,
            "systemd doesn't answer on /run/systemd/private",
        )?;
        till.wait_event(&COMUNICADOR, "start_failed")?;
        till.wait_cycles(5)?;
        till.status_exits(1)
    })();
    // Without it no other case could run.
    till.thaw_systemd()?;
    told?;
    let comunicador = till.wait_up(&COMUNICADOR)?;
    till.wait_cycles(5)?;
    started_once_more(till)?;
    ensure!(till.main_pid()? == service, "the service was restarted");
    till.unharmed(&[comunicador, before[1]])
}

/// The service is killed while systemd is at a start for it: the next run waits for that one.
pub(super) fn service_killed_in_a_start(till: &Till) -> Result<()> {
    let before = all_day_by_unit(till)?;
    let service = start_under_way(till, before[0])?;
    till.signal("KILL", service)?;
    till.wait_for_another(service, SOON)?;
    let comunicador = till.wait_up(&COMUNICADOR)?;
    started_once_more(till)?;
    till.unharmed(&[comunicador, before[1]])
}

/// The service stands still while systemd is at a start for it.
pub(super) fn service_hangs_in_a_start(till: &Till) -> Result<()> {
    till.drop_in(SERVICE, "[Service]\nWatchdogSec=3s\n")?;
    let before = all_day_by_unit(till)?;
    let service = start_under_way(till, before[0])?;
    till.signal("STOP", service)?;
    till.wait_for_another(service, WATCHDOG_PATIENCE)?;
    let comunicador = till.wait_up(&COMUNICADOR)?;
    till.unharmed(&[comunicador, before[1]])
}

/// As they run all day, but that Comunicador has a unit of the vendor's.
fn all_day_by_unit(till: &Till) -> Result<[Process; 2]> {
    till.install_unit(&COMUNICADOR, "")?;
    let processes = [by_unit(&COMUNICADOR, VENDOR), by_command(&MONITOR)].concat();
    till.configure(&config("200ms", &processes))?;
    till.all_day()
}

/// Kills Comunicador and has the service start it by its unit, which is [`SLOW_UNIT`]. Gives the
/// service, once systemd is at it.
fn start_under_way(till: &Till, comunicador: Process) -> Result<i32> {
    let service = till.main_pid()?;
    till.drop_in(VENDOR, SLOW_UNIT)?;
    till.signal("KILL", comunicador.pid)?;
    wait_for("systemd is at the start", SOON, || {
        let state = till.property(VENDOR, "ActiveState")?;
        Ok((state == "activating").then_some(()))
    })?;
    Ok(service)
}

/// Comunicador was started when all began, and once since.
fn started_once_more(till: &Till) -> Result<()> {
    let starts = till.starts(&COMUNICADOR);
    ensure!(starts == 2, "{starts} starts");
    Ok(())
}

/// What a script has started beside the program outlives it, and the service: it was there when the program
/// was up, so it is no start in flight, which would be waited for, and ended in the end.
pub(super) fn helper_outlives_all(till: &Till) -> Result<()> {
    till.install_driver(Script::Stays)?;
    let helper = "/run/helper.pid";
    let script = till.read(COMUNICADOR.script).context("no script")?;
    let becomes = format!("exec {}", COMUNICADOR.path());
    let script = script.replace(
        &becomes,
        &format!("[ -e {helper} ] || {{ sleep 1000 & echo $! > {helper}; }}\n{becomes}"),
    );
    till.write(COMUNICADOR.script, &script, 0o755)?;
    till.sh(&format!("rm -f {helper}"))?;
    till.start()?;
    let comunicador = till.wait_up(&COMUNICADOR)?;
    wait_for("what is remembered has been written", SOON, || {
        let state = till
            .read(&format!("{STATE_DIR}/state.json"))
            .unwrap_or_default();
        let state: serde_json::Value = serde_json::from_str(&state).unwrap_or_default();
        let mut processes = state["processes"].as_array().into_iter().flatten();
        let is_up = processes.any(|one| one["key"] == COMUNICADOR.key && one["up_at"].is_u64());
        Ok(is_up.then_some(()))
    })?;
    let service = till.main_pid()?;
    till.sh(&format!("kill -KILL {service} {}", comunicador.pid))?;
    wait_for("it is started at once", SOON, || {
        Ok((till.starts(&COMUNICADOR) == 2).then_some(()))
    })?;
    till.wait_up(&COMUNICADOR)?;
    let lives = format!("kill -0 $(cat {helper})");
    till.sh(&lives).context("its helper was ended")?;
    till.sh(&format!("kill -KILL $(cat {helper}); rm {helper}"))?;
    Ok(())
}

/// The journal is stopped, sockets and all, and comes back. Programs that write to their standard
/// output, and so to the journal, live on; so does the service, and does its job meanwhile.
pub(super) fn journal_stopped(till: &Till) -> Result<()> {
    till.install_driver(Script::Stays)?;
    till.install_program(&COMUNICADOR, Script::Talks)?;
    till.start()?;
    let before = [till.wait_up(&COMUNICADOR)?, till.wait_up(&MONITOR)?];
    // What many programs would die of, and the stand-in, as all in Rust, wouldn't.
    let ignored = till.property(&COMUNICADOR.unit(), "IgnoreSIGPIPE")?;
    ensure!(ignored == "yes", "SIGPIPE would end a program");
    let service = till.main_pid()?;
    wait_for("the program's words are in the journal", SOON, || {
        Ok(till
            .messages(&COMUNICADOR.unit())?
            .contains("working")
            .then_some(()))
    })?;
    let logs = till.ok(&["mfe-watchdog", "logs", "Comunicador"])?;
    ensure!(logs.contains("working"), "{logs}");
    let logs = till.ok(&["mfe-watchdog", "logs", "monitor"])?;
    ensure!(!logs.contains("working"), "{logs}");

    till.stop_journal()?;
    let worked = (|| {
        till.wait_cycles(10)?;
        till.unharmed(&before)?;
        till.kill_and_wait(&MONITOR, before[1])
    })();
    // Without it no other case could run.
    till.start_journal()?;
    let monitor = worked?;
    till.unharmed(&[before[0], monitor])?;
    ensure!(till.main_pid()? == service, "the service was restarted");

    till.kill_and_wait(&MONITOR, monitor)?;
    till.wait_event(&MONITOR, "restarted")?;
    till.ok(&["systemctl", "restart", "systemd-journald.service"])?;
    till.wait_cycles(5)?;
    ensure!(
        till.processes(&COMUNICADOR)? == [before[0]],
        "the journal's restart ended a program"
    );
    ensure!(till.main_pid()? == service, "the service was restarted");
    Ok(())
}

/// The journal stands still with its queue full: the service does its job, and says afterwards what
/// the journal lacks.
pub(super) fn journal_frozen(till: &Till) -> Result<()> {
    let [comunicador, mut monitor] = till.all_day()?;
    let service = till.main_pid()?;
    till.freeze_journal()?;
    let worked = (|| {
        for _ in 0..3 {
            monitor = till.kill_and_wait(&MONITOR, monitor)?;
        }
        till.wait_cycles(10)
    })();
    // Without it not even the failure could be told.
    till.thaw_journal()?;
    worked?;
    wait_for("the service says what is missing", SOON, || {
        let degraded = till.events(None, "degraded")?;
        Ok(degraded.into_iter().find(|event| {
            let words = event["MESSAGE"].as_str().unwrap_or_default();
            words.contains("missing there before this one: ")
        }))
    })?;
    till.unharmed(&[comunicador, monitor])?;
    ensure!(till.main_pid()? == service, "the service was restarted");
    Ok(())
}
