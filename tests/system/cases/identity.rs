//! Pids that pass from process to process: nobody but the programs may notice the watchdog.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, ensure};

use super::health::{SICK, sick_check};
use crate::till::{COMUNICADOR, MONITOR, PROGRAMS, Process, SERVICE, SOON, Till};
use crate::till::{by_command, config};
use mfe_kit::wait_for;

/// A /proc whose settings can be written; the container's own is read-only.
const PROC: &str = "/run/case-proc";

/// Where the bystanders leave their traces.
const TRACES: &str = "/run/case-bystanders";

/// The kernel hands out pids from 300 up once it has begun again: a hundred are left.
const PID_MAX: u32 = 400;

const KILLS: usize = 10;

/// Second copies are ended.
const STOP_NEWEST: &str = "duplicates = \"stop-newest\"\n";

/// Bystanders come and go, and each pid is handed out repeatedly; one that doesn't end by
/// itself was harmed. The pids are noted as they are handed out.
const BYSTANDERS: &str = r#"#!/bin/sh
cd /run/case-bystanders
for round in $(seq 5000); do
    test -e stay || break
    RESET
    pids=
    for one in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; do
        sleep 0.05 &
        pids="$pids $!"
        echo $! >> pids
    done
    for pid in $pids; do
        wait $pid || echo "pid $pid: $?" >> harmed
    done
done
touch ended
"#;

/// The programs are killed and restarted, the service too, while every pid is somebody else's within
/// a second.
pub(super) fn pids_reused_within_a_second(till: &Till) -> Result<()> {
    let machine =
        || fs::read_to_string("/proc/sys/kernel/pid_max").context("the machine's pid_max");
    let of_machine = machine()?;
    till.sh(&format!(
        "mkdir -p {PROC} {TRACES} && mount -t proc proc {PROC} && touch {TRACES}/stay {TRACES}/pids"
    ))?;
    let before = till.ok(&["cat", &pid_max()])?;
    let shown = busy(till);
    let restored = till.sh(&format!(
        "rm -f {TRACES}/stay; echo {} > {}; umount {PROC}",
        before.trim(),
        pid_max()
    ));
    let left = wait_for("the bystanders are gone", SOON, || {
        Ok(till.exists(&format!("{TRACES}/ended")).then_some(()))
    });
    till.sh(&format!("rm -rf {TRACES} {PROC}"))?;
    shown?;
    restored?;
    left?;
    ensure!(
        machine()? == of_machine,
        "the machine's own pid_max has changed"
    );
    Ok(())
}

fn pid_max() -> String {
    format!("{PROC}/sys/kernel/pid_max")
}

fn busy(till: &Till) -> Result<()> {
    let reset = if has_pid_max_of_its_own()? {
        till.sh(&format!("echo {PID_MAX} > {}", pid_max()))?;
        ":".to_owned()
    } else {
        // There pid_max is the whole machine's. The last pid is each namespace's own, since 3.3.
        format!("echo 300 > {PROC}/sys/kernel/ns_last_pid")
    };
    let script = format!("{TRACES}/bystanders.sh");
    till.write(&script, &BYSTANDERS.replace("RESET", &reset), 0o755)?;
    till.sh(&format!("setsid {script} >/dev/null 2>&1 </dev/null &"))?;

    // The pids of a machine that has just booted are below those that are reused.
    wait_for("pids are reused", SOON, || {
        Ok((reused(&pids(till)) > 100).then_some(()))
    })?;

    let rules = sick_check(till, &COMUNICADOR)?;
    let of_comunicador = [by_command(&COMUNICADOR), STOP_NEWEST.to_owned(), rules].concat();
    till.configure(&config(
        "200ms",
        &[of_comunicador, by_command(&MONITOR)].concat(),
    ))?;
    let [mut comunicador, monitor] = till.all_day()?;
    let service = till.main_pid()?;
    for kill in 1..=KILLS {
        let noted = pids(till).len();
        let killed = comunicador;
        comunicador = till.kill_and_wait(&COMUNICADOR, killed)?;
        wait_until_reused(till, killed.pid, comunicador.pid, noted)?;
        till.wait_cycles(3)?;
        till.unharmed(&[comunicador, monitor])?;
        let starts = till.starts(&COMUNICADOR);
        ensure!(starts == 1 + kill, "{starts} starts after {kill} kills");
    }
    let comunicador = signalled(till, comunicador)?;
    till.unharmed(&[comunicador, monitor])?;
    ensure!(till.main_pid()? == service, "the service was restarted");

    till.ok(&["systemctl", "restart", SERVICE])?;
    for program in &PROGRAMS {
        till.wait_up(program)?;
        till.wait_event(program, "adopted")?;
    }
    till.unharmed(&[comunicador, monitor])?;
    ensure!(till.starts(&MONITOR) == 1, "Monitor was started again");

    let harmed = till.read(&format!("{TRACES}/harmed")).unwrap_or_default();
    ensure!(harmed.is_empty(), "bystanders were signalled: {harmed}");
    Ok(())
}

/// The service itself ends Comunicador, for it is unhealthy, and then a second copy of it; gives the
/// one that is left.
fn signalled(till: &Till, before: Process) -> Result<Process> {
    let noted = pids(till).len();
    till.write(SICK, "", 0o644)?;
    let first = wait_for("it is restarted", SOON, || {
        let up = till.wait_up(&COMUNICADOR)?;
        Ok((up != before).then_some(up))
    })?;
    let killed = till.wait_event(&COMUNICADOR, "killed")?;
    ensure!(killed["MFE_CAUSE"] == "unhealthy", "{killed}");
    wait_until_reused(till, before.pid, first.pid, noted)?;

    let noted = pids(till).len();
    till.sh(&format!(
        "setsid {} >/dev/null 2>&1 </dev/null &",
        COMUNICADOR.script
    ))?;
    let killed = wait_for("the second copy is ended", SOON, || {
        let told = till.events(Some(&COMUNICADOR), "killed")?;
        let of_copy = |event: &serde_json::Value| event["MFE_CAUSE"] == "duplicate";
        Ok(told.into_iter().find(of_copy))
    })?;
    let pid = killed["MFE_PID"].as_str().unwrap_or_default();
    wait_until_reused(till, pid.parse()?, first.pid, noted)?;
    till.wait_cycles(3)?;
    Ok(first)
}

/// Waits until the pid of a program that was killed is somebody else's; `noted` pids were handed out
/// before it was.
fn wait_until_reused(till: &Till, killed: i32, now: i32, noted: usize) -> Result<()> {
    if now == killed {
        return Ok(());
    }
    wait_for(&format!("pid {killed} is reused"), SOON, || {
        Ok(pids(till)[noted..].contains(&killed).then_some(()))
    })
}

/// How often a pid was one that an earlier bystander had had.
fn reused(pids: &[i32]) -> usize {
    pids.len() - pids.iter().collect::<BTreeSet<_>>().len()
}

/// The pids that bystanders have had so far.
fn pids(till: &Till) -> Vec<i32> {
    let text = till.read(&format!("{TRACES}/pids")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

/// Whether each PID namespace has a `pid_max` of its own (Linux 6.14). Where it hasn't, the
/// machine's must not be touched.
fn has_pid_max_of_its_own() -> Result<bool> {
    let release =
        fs::read_to_string("/proc/sys/kernel/osrelease").context("the kernel's release")?;
    let mut numbers = release.split(['.', '-']).map(str::parse::<u32>);
    let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else {
        anyhow::bail!("not a release of Linux: {release}");
    };
    Ok((major, minor) >= (6, 14))
}
