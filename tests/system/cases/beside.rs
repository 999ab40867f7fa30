//! Somebody else starts, restarts and reloads what the watchdog looks after: there is one copy, always.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::till::{
    COMUNICADOR, MONITOR, PROGRAMS, Process, Program, SERVICE, SOON, STATE_DIR, Script, Till,
    VENDOR, by_command, by_unit, config, time_of,
};
use mfe_kit::wait_for;

/// A program that takes a moment to end.
const ENDS_SLOWLY: &str = "#!/usr/bin/perl
$SIG{TERM} = sub { select(undef, undef, undef, 0.3); exit };
sleep 1000 while 1;
";

/// A program that ignores SIGTERM.
const HEEDS_NOTHING: &str = "#!/usr/bin/perl
$SIG{TERM} = 'IGNORE';
sleep 1000 while 1;
";

/// How long systemd waits for what is left at power-off is 90 s; what ours takes is 5 s, and the machine
/// is up again some seconds later.
const REBOOTED: Duration = Duration::from_secs(60);

/// What is left at power-off has 4 s to end, and is then killed; the rest is for four machines on two cores.
const ENDED: Duration = Duration::from_secs(8);

/// systemd's messages that a unit is being stopped, and has been (systemd/sd-messages.h).
const UNIT_STOPPING: &str = "de5b426a63be47a7b6ac3eaac82e2f6f";
const UNIT_STOPPED: &str = "9d1aaa27d60140bd96365438aad20286";

/// What a person types, or needrestart after an upgrade, at a program that its script has left in the
/// background: systemd would leave that one alone and run the script once more.
pub(super) fn restart_by_hand_of_what_forks(till: &Till) -> Result<()> {
    till.install_driver(Script::Forks)?;
    till.start()?;
    let before = [till.wait_up(&COMUNICADOR)?, till.wait_up(&MONITOR)?];
    for _ in 0..3 {
        till.ok(&["systemctl", "restart", &COMUNICADOR.unit()])?;
        till.ok(&["systemctl", "stop", &MONITOR.unit()])?;
        till.ok(&["systemctl", "start", &MONITOR.unit()])?;
        said(till, &COMUNICADOR, "Comunicador is already running (pid ")?;
        ensure!(till.property(&COMUNICADOR.unit(), "ActiveState")? == "active");
    }
    till.wait_cycles(3)?;
    till.unharmed(&before)?;
    started(till, &COMUNICADOR, 1)?;
    till.kill_and_wait(&COMUNICADOR, before[0])?;
    started(till, &COMUNICADOR, 2)
}

/// Started by hand and adopted, and then started by its unit as well.
pub(super) fn start_beside_an_adopted_one(till: &Till) -> Result<()> {
    till.install_driver(Script::Stays)?;
    let before = [
        till.start_by_hand(&COMUNICADOR)?,
        till.start_by_hand(&MONITOR)?,
    ];
    till.ok(&["systemctl", "start", &MONITOR.unit()])?;
    said(till, &MONITOR, "Monitor is already running (pid ")?;
    till.start()?;
    till.wait_event(&COMUNICADOR, "adopted")?;
    till.ok(&["systemctl", "restart", &COMUNICADOR.unit()])?;
    said(till, &COMUNICADOR, "Comunicador is already running (pid ")?;
    till.wait_cycles(3)?;
    till.unharmed(&before)?;
    for program in &PROGRAMS {
        started(till, program, 1)?;
    }
    Ok(())
}

/// The program is its unit's main process, so systemd ends it and starts it again. The watchdog, which
/// sees it gone meanwhile, doesn't restart it once more.
pub(super) fn restart_by_hand_of_what_stays(till: &Till) -> Result<()> {
    till.install_driver(Script::Stays)?;
    till.sh(&format!("rm {}", COMUNICADOR.path()))?;
    till.write(&COMUNICADOR.path(), ENDS_SLOWLY, 0o755)?;
    till.start()?;
    let mut comunicador = till.wait_up(&COMUNICADOR)?;
    let monitor = till.wait_up(&MONITOR)?;
    for restarts in 1..=10 {
        till.ok(&["systemctl", "restart", &COMUNICADOR.unit()])?;
        comunicador = another(till, &COMUNICADOR, comunicador)?;
        started(till, &COMUNICADOR, restarts + 1)?;
    }
    till.wait_cycles(3)?;
    till.unharmed(&[comunicador, monitor])?;
    started(till, &COMUNICADOR, 11)
}

/// The watchdog comes to look only when systemd has ended the program, and the script of its next start is
/// at work.
pub(super) fn restart_by_hand_seen_late(till: &Till) -> Result<()> {
    till.install_driver(Script::Stays)?;
    till.start()?;
    let comunicador = till.wait_up(&COMUNICADOR)?;
    let monitor = till.wait_up(&MONITOR)?;
    let script = till.read(COMUNICADOR.script).context("no script")?;
    let becomes = format!("exec {}", COMUNICADOR.path());
    let script = script.replace(&becomes, &format!("sleep 3\n{becomes}"));
    till.write(COMUNICADOR.script, &script, 0o755)?;
    let service = till.main_pid()?;
    till.signal("STOP", service)?;
    let restarted = till
        .ok(&["systemctl", "restart", &COMUNICADOR.unit()])
        .and_then(|_| {
            wait_for("the script is at work", SOON, || {
                Ok((till.starts(&COMUNICADOR) == 2).then_some(()))
            })
        });
    till.signal("CONT", service)?;
    restarted?;
    let comunicador = another(till, &COMUNICADOR, comunicador)?;
    till.wait_cycles(3)?;
    started(till, &COMUNICADOR, 2)?;
    till.unharmed(&[comunicador, monitor])
}

/// What is still to become the program counts as well.
pub(super) fn restart_by_hand_of_a_start_in_flight(till: &Till) -> Result<()> {
    till.install_driver(Script::Stays)?;
    in_the_background(till, 6)?;
    till.start()?;
    let monitor = till.wait_up(&MONITOR)?;
    wait_for("Comunicador is being started", SOON, || {
        Ok((till.starts(&COMUNICADOR) == 1).then_some(()))
    })?;
    till.ok(&["systemctl", "restart", &COMUNICADOR.unit()])?;
    said(
        till,
        &COMUNICADOR,
        "Comunicador is already being started (pid ",
    )?;
    let comunicador = till.wait_up(&COMUNICADOR)?;
    till.wait_cycles(3)?;
    started(till, &COMUNICADOR, 1)?;
    till.unharmed(&[comunicador, monitor])
}

/// Where the unit's user isn't let see much: not who runs at all, nor what others run.
pub(super) fn restart_by_hand_as_another_user(till: &Till) -> Result<()> {
    let path = COMUNICADOR.path();
    let comunicador = by_command(&COMUNICADOR) + &format!("exe = \"{path}\"\n");
    till.configure(&config(
        "200ms",
        &[comunicador, by_command(&MONITOR)].concat(),
    ))?;
    till.install_driver(Script::Forks)?;
    till.drop_in(&COMUNICADOR.unit(), "[Service]\nUser=nobody\n")?;
    till.start()?;
    let mut comunicador = till.wait_up(&COMUNICADOR)?;
    let monitor = till.wait_up(&MONITOR)?;
    let restart = |comunicador| -> Result<Process> {
        till.ok(&["systemctl", "restart", &COMUNICADOR.unit()])?;
        till.wait_cycles(3)?;
        till.unharmed(&[comunicador, monitor])?;
        till.kill_and_wait(&COMUNICADOR, comunicador)
    };
    comunicador = restart(comunicador)?;
    till.sh("mount -o remount,hidepid=2 /proc")?;
    // Also while the service has just asked for a start of its own.
    let hidden = restart(comunicador)
        .and_then(restart)
        .and_then(|comunicador| cannot_look(till, [comunicador, monitor]));
    // The other cases are to see everything.
    till.sh("mount -o remount,hidepid=0 /proc")?;
    comunicador = hidden?;
    started(till, &COMUNICADOR, 5)?;
    till.unharmed(&[comunicador, monitor])
}

/// Without the service nobody can tell whether the program runs: nothing is started, and that is told.
fn cannot_look(till: &Till, before: [Process; 2]) -> Result<Process> {
    let unit = COMUNICADOR.unit();
    till.ok(&["systemctl", "stop", SERVICE])?;
    // Root's own the unit's user can't see.
    till.signal("KILL", before[0].pid)?;
    wait_for("it is gone", SOON, || {
        Ok(till.processes(&COMUNICADOR)?.is_empty().then_some(()))
    })?;
    let before = [till.start_by_hand(&COMUNICADOR)?, before[1]];
    till.ok(&["systemctl", "restart", &unit])?;
    wait_for("it is not yet to be told", SOON, || {
        let status = till.property(&unit, "ExecMainStatus")?;
        Ok((status == "75").then_some(()))
    })?;
    said(till, &COMUNICADOR, "doesn't show every process")?;
    till.unharmed(&before)?;
    till.start()?;
    till.wait_event(&COMUNICADOR, "adopted")?;
    till.unharmed(&before)?;
    Ok(before[0])
}

/// systemd executes itself again in the midst of starts, as at its own upgrade: each is made once.
pub(super) fn systemd_executes_itself_anew(till: &Till) -> Result<()> {
    till.install_driver(Script::Stays)?;
    in_the_background(till, 2)?;
    let processes = [by_command(&COMUNICADOR), by_unit(&MONITOR, VENDOR)].concat();
    till.configure(&config("200ms", &processes))?;
    till.install_unit(&MONITOR, "")?;
    till.start()?;
    let mut comunicador = till.wait_up(&COMUNICADOR)?;
    let mut monitor = till.wait_up(&MONITOR)?;
    for round in 1..=6 {
        till.sh(&format!(
            "kill -KILL {} {}; sleep 0.{}; systemctl daemon-reexec",
            comunicador.pid,
            monitor.pid,
            round - 1
        ))?;
        comunicador = another(till, &COMUNICADOR, comunicador)?;
        monitor = another(till, &MONITOR, monitor)?;
        for program in &PROGRAMS {
            started(till, program, round + 1)?;
        }
    }
    till.wait_cycles(10)?;
    till.unharmed(&[comunicador, monitor])
}

/// systemd's own socket is away: the system bus does as well.
pub(super) fn private_socket_is_away(till: &Till) -> Result<()> {
    let private = "/run/systemd/private";
    till.install_driver(Script::Stays)?;
    let processes = [by_command(&COMUNICADOR), by_unit(&MONITOR, VENDOR)].concat();
    till.configure(&config("200ms", &processes))?;
    till.install_unit(&MONITOR, "")?;
    till.start()?;
    let before = [till.wait_up(&COMUNICADOR)?, till.wait_up(&MONITOR)?];
    till.sh(&format!("mv {private} {private}.away"))?;
    let brought_back = (|| {
        let comunicador = till.kill_and_wait(&COMUNICADOR, before[0])?;
        Ok([comunicador, till.kill_and_wait(&MONITOR, before[1])?])
    })();
    till.sh(&format!("mv {private}.away {private}"))?;
    let now: Result<[Process; 2]> = brought_back;
    till.unharmed(&now?)?;
    let failures = till.events(None, "start_failed")?.len();
    ensure!(failures == 0, "{failures} starts have failed");
    Ok(())
}

/// What ignores SIGTERM doesn't hold up the machine, whether its unit is active or has failed.
pub(super) fn power_off_waits_for_nobody(till: &Till) -> Result<()> {
    till.install_driver(Script::Forks)?;
    for program in &PROGRAMS {
        till.sh(&format!("rm {}", program.path()))?;
        till.write(&program.path(), HEEDS_NOTHING, 0o755)?;
    }
    till.sh(&format!("echo 'exit 1' >> {}", MONITOR.script))?;
    till.start()?;
    let before = [till.wait_up(&COMUNICADOR)?, till.wait_up(&MONITOR)?];
    // Neither a stop nor a removal of anything but the machine's run ends a program.
    till.ok(&[
        "systemctl",
        "restart",
        "mfe-watchdog-shutdown.service",
        SERVICE,
    ])?;
    till.wait_event(&MONITOR, "adopted")?;
    till.unharmed(&before)?;
    // Else the machine would not be well after its boot.
    till.sh(&format!("sed -i '/^exit 1/d' {}", MONITOR.script))?;
    let begin = Instant::now();
    till.reboot()?;
    let took = begin.elapsed();
    ensure!(took < REBOOTED, "it took {took:?}");
    let took = time_of_the_end(till)?;
    ensure!(took < ENDED, "what is left was ended after {took:?}");
    for program in &PROGRAMS {
        till.wait_up_for(program, Duration::from_secs(60))?;
    }
    Ok(())
}

/// How long it took at power-off to end what was left of the programs.
fn time_of_the_end(till: &Till) -> Result<Duration> {
    let entries = till.journal("mfe-watchdog-shutdown.service")?;
    let time = |message_id| {
        let mut entries = entries.iter().rev();
        let entry = entries.find(|entry| entry["MESSAGE_ID"] == message_id);
        entry.map(time_of).context("the end isn't in the journal")
    };
    let (begin, end) = (time(UNIT_STOPPING)?, time(UNIT_STOPPED)?);
    Ok(Duration::from_micros(end.saturating_sub(begin)))
}

/// What systemd ends at power-off is no outage, though the watchdog takes its time to end.
pub(super) fn power_off_is_no_outage(till: &Till) -> Result<()> {
    till.install_driver(Script::Stays)?;
    till.install_unit(&MONITOR, "")?;
    let heard = format!("{STATE_DIR}/heard");
    let hook = "/usr/local/bin/hear";
    // Which boot it was, by when its systemd began: to the kernel, whose boots the service goes by, this
    // machine's are all one.
    let boot = "cut -d ' ' -f 22 /proc/1/stat";
    let script = format!("#!/bin/sh\necho $({boot}) $MFE_PROCESS: $MFE_CAUSE >> {heard}\n");
    till.write(hook, &script, 0o755)?;
    let processes = [by_command(&COMUNICADOR), by_unit(&MONITOR, VENDOR)].concat();
    let told = format!("[[hook]]\non = [\"down\"]\ncommand = [\"{hook}\"]\n");
    till.configure(&config("200ms", &(processes + &told)))?;
    till.drop_in(SERVICE, "[Service]\nExecStop=/bin/sleep 3\n")?;
    till.start()?;
    for program in &PROGRAMS {
        till.wait_up(program)?;
    }
    wait_for("the end is in order", SOON, || {
        let state = till.property("mfe-watchdog-order.target", "ActiveState")?;
        Ok((state == "active").then_some(()))
    })?;
    let before = till.sh(boot)?.trim().to_owned();
    till.reboot()?;
    for program in &PROGRAMS {
        till.wait_up_for(program, Duration::from_secs(60))?;
    }
    let outages: Vec<String> = till
        .read(&heard)
        .context("nothing was heard")?
        .lines()
        .filter(|line| {
            line.split(' ').next() == Some(before.as_str()) && !line.ends_with(": absent")
        })
        .map(str::to_owned)
        .collect();
    ensure!(outages.is_empty(), "{outages:?}");
    Ok(())
}

/// Has Comunicador come up so many seconds after its script has ended.
fn in_the_background(till: &Till, seconds: u32) -> Result<()> {
    let script = till.read(COMUNICADOR.script).context("no script")?;
    let program = COMUNICADOR.path();
    let script = script.replace(
        &format!("exec {program}"),
        &format!("( sleep {seconds}; exec {program} ) &\nsleep 0.3\nexit\n"),
    );
    till.write(COMUNICADOR.script, &script, 0o755)
}

/// Waits for a program that takes the place of `before`.
fn another(till: &Till, program: &Program, before: Process) -> Result<Process> {
    wait_for(&format!("another {} runs", program.name), SOON, || {
        let up = till.wait_up(program)?;
        Ok((up != before).then_some(up))
    })
}

fn started(till: &Till, program: &Program, times: usize) -> Result<()> {
    let starts = till.starts(program);
    ensure!(
        starts == times,
        "{} was started {starts} times",
        program.name
    );
    Ok(())
}

/// Waits until the unit of a program has said this.
fn said(till: &Till, program: &Program, words: &str) -> Result<()> {
    wait_for(&format!("{} says: {words}", program.unit()), SOON, || {
        Ok(till
            .messages(&program.unit())?
            .contains(words)
            .then_some(()))
    })
}
