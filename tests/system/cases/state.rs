//! What outlives the service, and what takes the place of what is missing: the last good configuration,
//! what it remembers, the folder in which it publishes.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::till::{
    COMUNICADOR, CONFIG, MONITOR, PROGRAMS, Process, SERVICE, SOON, STATE_DIR, Script, Till,
};
use mfe_kit::container::expect_status;
use mfe_kit::wait_for;

/// As systemd 229 does at each end of the service, for it knows no RuntimeDirectoryPreserve=.
const FORGETS: &str = "[Service]\nRuntimeDirectoryPreserve=no\n";

/// A service that starts with a bad configuration goes by the last that was in force, and everybody is
/// told; the corrected file comes with the next reload.
pub(super) fn config_fallback(till: &Till) -> Result<()> {
    let before = till.all_day()?;
    till.ok(&["systemctl", "stop", SERVICE])?;
    till.configure("interval = \"soon\"\n[process.comunicador]\nname = \"Comunicador\"\n")?;
    till.start()?;
    let comunicador = till.wait_up(&COMUNICADOR)?;
    till.unharmed(&before)?;
    let problem = format!("{CONFIG}:1: interval: must be a duration");
    let shown = till.status_exits(1)?;
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    ensure!(words(&shown).contains(&problem), "{shown}");
    let told = wait_for("the event", SOON, || {
        Ok(till.events(None, "config_fallback")?.pop())
    })?;
    let message = told["MESSAGE"].as_str().unwrap_or_default();
    ensure!(message.contains(&problem), "{message}");
    let line = till.property(SERVICE, "StatusText")?;
    ensure!(line.contains(&problem), "{line}");
    let comunicador = till.kill_and_wait(&COMUNICADOR, comunicador)?;
    expect_status(&till.run(&["mfe-watchdog", "check"])?, 78)?;
    let run = [
        "mfe-watchdog",
        "run",
        "--config",
        CONFIG,
        "--runtime-dir",
        "/tmp/other",
    ];
    expect_status(&till.run(&run)?, 78)?;

    // An upgrade says it too.
    let said = till.sh("apt-get -q -y install --reinstall /root/mfe-watchdog-current.deb 2>&1")?;
    for words in [
        "WARNING: the configuration is bad",
        "AVISO: a configuração está errada",
        &problem,
    ] {
        ensure!(said.contains(words), "{words}: {said}");
    }
    till.wait_up(&COMUNICADOR)?;
    till.status_exits(1)?;

    till.configure_as_usual()?;
    till.ok(&["systemctl", "reload", SERVICE])?;
    wait_for("the reload is done", SOON, || {
        Ok((!till.events(None, "reloaded")?.is_empty()).then_some(()))
    })?;
    till.wait_cycles(1)?;
    till.status_exits(0)?;
    let kept = till.sh(&format!(
        "stat --format='%U %a' {STATE_DIR}/last-in-force.toml"
    ))?;
    ensure!(kept == "root 644\n", "{kept}");
    till.unharmed(&[comunicador, before[1]])
}

/// With nothing in force before, and no word of processes in the file, the built-in one stands in.
pub(super) fn config_built_in(till: &Till) -> Result<()> {
    till.configure("interval = \"soon\"\n")?;
    till.install_driver(Script::Stays)?;
    till.start()?;
    for program in &PROGRAMS {
        till.wait_up(program)?;
    }
    let shown = till.status_exits(1)?;
    ensure!(shown.contains("built-in"), "{shown}");
    let before = [till.wait_up(&COMUNICADOR)?, till.wait_up(&MONITOR)?];
    // The corrected file comes at the next start.
    till.configure_as_usual()?;
    till.ok(&["systemctl", "restart", SERVICE])?;
    wait_for("the file is in force", SOON, || {
        Ok(till
            .run(&["mfe-watchdog", "status"])?
            .status
            .success()
            .then_some(()))
    })?;
    till.unharmed(&before)
}

/// Somebody removes the folder in which the service publishes: nobody is told that it doesn't run while
/// it does, no second one starts, and within 3 s all is back.
pub(super) fn folder_removed(till: &Till) -> Result<()> {
    let before = till.all_day()?;
    for round in 1..=2 {
        let service = till.main_pid()?;
        till.remove_runtime_folder()?;
        let removed = Instant::now();
        let status = till.run(&["mfe-watchdog", "status"])?;
        if status.status.code() == Some(3) {
            ensure!(
                till.main_pid()? != service,
                "it runs, and status says that it doesn't"
            );
        }
        let second = till.run(&[
            "timeout",
            "1",
            "mfe-watchdog",
            "run",
            "--runtime-dir",
            "/run/mfe-watchdog",
        ])?;
        ensure!(
            second.status.code() != Some(0),
            "a second one has run: {second:?}"
        );
        wait_for("all is back", SOON, || {
            let is_back = till.run(&["mfe-watchdog", "status"])?.status.success()
                && ["lock", "control"]
                    .iter()
                    .all(|name| till.exists(&format!("/run/mfe-watchdog/{name}")));
            Ok(is_back.then_some(()))
        })?;
        // On two cores that four machines share.
        let took = removed.elapsed();
        println!("round {round}: back after {took:?}");
        ensure!(took < Duration::from_secs(10), "it took {took:?}");
        till.unharmed(&before)?;
    }
    till.kill_and_wait(&COMUNICADOR, before[0])?;
    ensure!(
        till.starts(&COMUNICADOR) == 2,
        "{} starts",
        till.starts(&COMUNICADOR)
    );
    Ok(())
}

/// Pauses and what was counted outlive a crash, a stop and an upgrade, also where systemd removes the
/// runtime directory each time.
pub(super) fn remembered(till: &Till) -> Result<()> {
    till.drop_in(SERVICE, FORGETS)?;
    let before = till.all_day()?;
    let monitor = till.kill_and_wait(&MONITOR, before[1])?;
    till.ok(&[
        "mfe-watchdog",
        "pause",
        "comunicador",
        "--for",
        "1h",
        "--reason",
        "driver",
    ])?;
    till.signal("KILL", before[0].pid)?;
    till.wait_event(&COMUNICADOR, "down")?;
    for end in ["kill -9", "restart", "stop and start", "upgrade"] {
        let service = till.main_pid()?;
        match end {
            "kill -9" => till.signal("KILL", service)?,
            "restart" => drop(till.ok(&["systemctl", "restart", SERVICE])?),
            "upgrade" => drop(till.apt_install("newer", &[])?),
            _ => {
                till.ok(&["systemctl", "stop", SERVICE])?;
                till.start()?;
            }
        }
        till.wait_for_another(service, SOON).context(end)?;
        still_paused(till).context(end)?;
        let status = till.status_of(&MONITOR).context("no status")?;
        ensure!(status["restarts"] == 1, "{end}: {status}");
        ensure!(
            till.processes(&MONITOR)? == [monitor],
            "{end}: Monitor was harmed"
        );
    }
    till.ok(&["mfe-watchdog", "resume"])?;
    let comunicador = till.wait_up(&COMUNICADOR)?;
    till.unharmed(&[comunicador, monitor])
}

/// It is paused, and nothing has started it.
fn still_paused(till: &Till) -> Result<()> {
    wait_for("it is paused", SOON, || {
        let status = till.status_of(&COMUNICADOR).unwrap_or_default();
        Ok((status["state"] == "paused").then_some(()))
    })?;
    till.wait_cycles(2)?;
    let shown = till.status_exits(1)?;
    ensure!(shown.contains("paused until "), "{shown}");
    ensure!(shown.contains("driver"), "the reason: {shown}");
    let starts = till.starts(&COMUNICADOR);
    ensure!(starts == 1, "{starts} starts while it is paused");
    Ok(())
}

/// A service that ends in the midst of a start waits for it when it is back: no second copy.
pub(super) fn start_in_flight(till: &Till) -> Result<()> {
    till.drop_in(SERVICE, FORGETS)?;
    till.install_driver(Script::Stays)?;
    let path = COMUNICADOR.path();
    till.write(
        COMUNICADOR.script,
        &format!("#!/bin/sh\n(sleep 4; exec {path}) &\nexit 0\n"),
        0o755,
    )?;
    till.start()?;
    let mut comunicador = till.wait_up(&COMUNICADOR)?;
    for end in ["restart", "kill"] {
        till.signal("KILL", comunicador.pid)?;
        till.wait_event(&COMUNICADOR, "starting")?;
        let service = till.main_pid()?;
        match end {
            "kill" => till.signal("KILL", service)?,
            _ => drop(till.ok(&["systemctl", "restart", SERVICE])?),
        }
        till.wait_for_another(service, SOON)?;
        let up: Process = till.wait_up(&COMUNICADOR).context(end)?;
        till.wait_cycles(5)?;
        ensure!(
            till.processes(&COMUNICADOR)? == [up],
            "{end}: more than one"
        );
        comunicador = up;
        till.remember_journal()?;
    }
    Ok(())
}

/// A pause holds over a reboot.
pub(super) fn pause_over_a_reboot(till: &Till) -> Result<()> {
    till.all_day()?;
    till.ok(&[
        "mfe-watchdog",
        "pause",
        "comunicador",
        "--for",
        "1h",
        "--reason",
        "driver",
    ])?;
    till.reboot()?;
    till.wait_up_for(&MONITOR, Duration::from_secs(60))?;
    still_paused(till)?;
    till.ok(&["mfe-watchdog", "resume"])?;
    till.wait_up(&COMUNICADOR)?;
    ensure!(
        till.starts(&COMUNICADOR) == 2,
        "{} starts",
        till.starts(&COMUNICADOR)
    );
    till.status_exits(0)?;
    Ok(())
}

/// A disk that can't be written, at the start and in use: told once, and supervision goes on.
pub(super) fn disk_read_only_and_full(till: &Till) -> Result<()> {
    let [mut comunicador, _] = till.all_day()?;
    let degraded = || {
        let events = till.events(None, "degraded")?;
        let words = events.iter().filter_map(|event| event["MESSAGE"].as_str());
        Ok::<_, anyhow::Error>(words.filter(|words| words.contains(STATE_DIR)).count())
    };
    for (disk, fill) in [
        ("mode=755,ro", "true"),
        (
            "mode=755,size=4k",
            "head -c 1M /dev/zero > /var/lib/mfe-watchdog/rest || true",
        ),
    ] {
        till.remember_journal()?;
        till.ok(&["systemctl", "stop", SERVICE])?;
        till.sh(&format!(
            "mount -t tmpfs -o {disk} tmpfs {STATE_DIR}; {fill}"
        ))?;
        till.start().context(disk)?;
        till.wait_up(&MONITOR)?;
        wait_for("it is told", SOON, || Ok((degraded()? == 1).then_some(())))?;
        for _ in 0..2 {
            comunicador = till.kill_and_wait(&COMUNICADOR, comunicador)?;
        }
        till.wait_cycles(5)?;
        ensure!(degraded()? == 1, "{} times told", degraded()?);
        till.status_exits(0)?;
        till.ok(&["systemctl", "stop", SERVICE])?;
        till.ok(&["umount", STATE_DIR])?;
        till.start()?;
        ensure!(till.wait_up(&COMUNICADOR)? == comunicador, "harmed");
    }
    Ok(())
}
