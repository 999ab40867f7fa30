//! The report, from the real journal: it has the outages that there were, when and as long as they
//! were, and doesn't vouch for the time when nobody watched or of which the journal has lost something.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::till::{COMUNICADOR, MONITOR, Program, SERVICE, SOON, Script, Till};
use mfe_kit::container::expect_status;
use mfe_kit::wait_for;

/// "To the second": the host's clock is the machine's, but looks at it come a moment late.
const TOLERANCE: Duration = Duration::from_secs(1);

/// Longer than it may be uncertain when a program has died without that being said.
const UNCERTAIN: Duration = Duration::from_millis(1500);

pub(super) fn outages_as_they_were(till: &Till) -> Result<()> {
    let begin = SystemTime::now();
    let [_, monitor] = till.all_day()?;

    // An outage that lasts until somebody fixes the start script.
    till.install_program(&MONITOR, Script::Fails)?;
    let died = SystemTime::now();
    till.signal("KILL", monitor.pid)?;
    let dead = SystemTime::now();
    till.wait_event(&MONITOR, "start_failed")?;
    till.install_program(&MONITOR, Script::Stays)?;
    till.wait_event(&MONITOR, "restarted")?;
    let back = SystemTime::now();

    // The watchdog is killed, and then stopped; meanwhile nobody watches.
    let service = till.main_pid()?;
    let killed = SystemTime::now();
    till.signal("KILL", service)?;
    till.wait_for_another(service, SOON)?;
    wait_for("the monitor is adopted", SOON, || {
        Ok((till.events(Some(&MONITOR), "adopted")?.len() == 1).then_some(()))
    })?;
    let adopted = SystemTime::now();
    let stops = adopted;
    till.ok(&["systemctl", "stop", SERVICE])?;
    let stopped = SystemTime::now();
    let unseen = till.processes(&COMUNICADOR)?;
    let unseen = unseen.first().context("the comunicador runs")?;
    till.signal("KILL", unseen.pid)?;
    wait_for("nobody has watched for a while", SOON, || {
        Ok((stopped.elapsed()? > UNCERTAIN).then_some(()))
    })?;
    let starts = SystemTime::now();
    till.start()?;
    till.wait_up(&COMUNICADOR)?;
    let up = SystemTime::now();
    let told = till.wait_event(&COMUNICADOR, "restarted")?;
    let text = told["MESSAGE"].as_str().unwrap_or_default();
    ensure!(text.contains("after an outage of up to "), "{text}");

    let report = report(till, begin)?;
    let after = |list: &[Value]| -> Vec<Value> {
        // What was over before is of the time before the service was started.
        let is_after = |to| time(to).is_ok_and(|to| to > died);
        let list = list.iter().filter(|one| is_after(&one["to"]));
        list.cloned().collect()
    };
    let outages = after(of(&report, &MONITOR, "outages")?);
    let [outage] = outages.as_slice() else {
        anyhow::bail!("not one outage of the monitor: {report:#}");
    };
    between(&outage["from"], died, dead)?;
    between(&outage["to"], dead, back)?;
    ensure!(outage["start_failed"] == true, "{outage}");
    ensure!(
        outage["begin_seen"] == true && outage["end_seen"] == true,
        "{outage}"
    );

    let gaps = after(of(&report, &MONITOR, "not_observed")?);
    let [crash, stop] = gaps.as_slice() else {
        anyhow::bail!("not two times when nobody watched the monitor: {report:#}");
    };
    let is_ours = |gap: &Value| gap["reason"] == "watchdog_not_running";
    ensure!(is_ours(crash) && is_ours(stop), "{crash} {stop}");
    between(&crash["from"], killed, adopted)?;
    between(&crash["to"], killed, adopted)?;
    between(&stop["from"], stops, stopped)?;
    between(&stop["to"], starts, up)?;

    let outages = of(&report, &COMUNICADOR, "outages")?;
    let last = outages.last().context("the outage of the comunicador")?;
    ensure!(
        ["gone", "killed"].map(Value::from).contains(&last["cause"]) && last["begin_seen"] == false,
        "{last}"
    );
    ensure!(
        time(&last["from"])? > stopped,
        "before anybody watched: {last}"
    );
    between(&last["to"], starts, up)
}

/// Sends to the socket that is its first argument for as many seconds as the second one says, as a user who
/// may do nothing else.
const FLOOD: &str = r#"
use Socket;
($(, $)) = (65534, "65534 65534");
($<, $>) = (65534, 65534);
die "still root" if $> == 0;
for (1 .. 4) {
    next if fork;
    socket(my $socket, AF_UNIX, SOCK_DGRAM, 0) or die;
    connect($socket, pack_sockaddr_un($ARGV[0])) or die;
    my $end = time + $ARGV[1];
    send($socket, "MESSAGE=x\n", 0) while time < $end;
    exit;
}
1 while wait > 0;
"#;

/// How long the flood lasts, in seconds.
const FLOOD_SECONDS: u64 = 12;

/// The journal is flooded by a user without any right while a program is killed repeatedly: the
/// report has every outage once that is over.
pub(super) fn journal_flooded(till: &Till) -> Result<()> {
    let begin = SystemTime::now();
    let [_, mut monitor] = till.all_day()?;
    till.write("/tmp/flood.pl", FLOOD, 0o644)?;
    till.sh(&format!(
        "perl /tmp/flood.pl /run/systemd/journal/socket {FLOOD_SECONDS} >/tmp/flood.log 2>&1 &"
    ))?;
    let over = SystemTime::now() + Duration::from_secs(FLOOD_SECONDS);
    let mut deaths = Vec::new();
    while SystemTime::now() < over {
        deaths.push(SystemTime::now());
        monitor = till.kill_and_wait(&MONITOR, monitor)?;
        till.wait_cycles(5)?;
    }
    ensure!(deaths.len() >= 2, "only {} deaths in a flood", deaths.len());
    let complaints = till.read("/tmp/flood.log").unwrap_or_default();
    ensure!(complaints.is_empty(), "the flood fails: {complaints}");
    wait_for("the journal has every outage", SOON, || {
        let restarted = till.events(Some(&MONITOR), "restarted")?;
        Ok((restarted.len() == deaths.len()).then_some(()))
    })?;

    let report = report(till, begin)?;
    let outages = of(&report, &MONITOR, "outages")?;
    // It wasn't running when the watchdog came.
    let outages: Vec<_> = outages
        .iter()
        .filter(|outage| outage["cause"] == "killed")
        .collect();
    ensure!(
        outages.len() == deaths.len(),
        "{} deaths: {report:#}",
        deaths.len()
    );
    for (outage, died) in outages.iter().zip(&deaths) {
        between(&outage["from"], *died, *died + TOLERANCE)?;
        ensure!(
            outage["begin_seen"] == true && outage["end_seen"] == true,
            "{outage}"
        );
    }
    ensure!(lost(&report, &MONITOR)?.is_empty(), "{report:#}");
    Ok(())
}

/// A file of the journal is lost in which a program died and came back: what the service keeps itself has
/// that. Without it that time isn't observed, and that of another program, which has run all the time, is.
pub(super) fn journal_file_lost(till: &Till) -> Result<()> {
    let begin = SystemTime::now();
    let [_, monitor] = till.all_day()?;
    let rotate = || till.sh("journalctl --sync && journalctl --rotate");
    rotate()?;
    till.install_program(&MONITOR, Script::Fails)?;
    let died = SystemTime::now();
    till.signal("KILL", monitor.pid)?;
    till.wait_event(&MONITOR, "start_failed")?;
    till.install_program(&MONITOR, Script::Stays)?;
    till.wait_event(&MONITOR, "restarted")?;
    let back = SystemTime::now();
    rotate()?;
    till.ok(&["mfe-watchdog", "pause", "--for", "1m"])?;
    till.ok(&["mfe-watchdog", "resume"])?;
    till.wait_event(&COMUNICADOR, "resumed")?;
    till.wait_event(&MONITOR, "resumed")?;

    let whole = report(till, begin)?;
    ensure!(
        lost(&whole, &MONITOR)?.is_empty(),
        "nothing is lost: {whole:#}"
    );
    till.sh(
        "rm \"$(ls -tr /run/log/journal/*/system@*.journal /var/log/journal/*/system@*.journal \
         2>/dev/null | tail -1)\"",
    )?;
    ensure!(
        till.events(Some(&MONITOR), "start_failed")?.is_empty(),
        "another file was removed"
    );
    let kept = report(till, begin)?;
    ensure!(
        of(&kept, &MONITOR, "outages")? == of(&whole, &MONITOR, "outages")?
            && lost(&kept, &MONITOR)?.is_empty(),
        "{whole:#} {kept:#}"
    );
    till.sh("rm /var/lib/mfe-watchdog/history/*")?;
    let report = report(till, begin)?;
    let gaps = lost(&report, &MONITOR)?;
    let [gap] = gaps.as_slice() else {
        anyhow::bail!("not one time of which messages are missing: {report:#}");
    };
    ensure!(
        time(&gap["from"])? <= died && time(&gap["to"])? >= back,
        "it died within that: {report:#}"
    );
    ensure!(
        lost(&report, &COMUNICADOR)?.is_empty(),
        "the same one all the time: {report:#}"
    );
    Ok(())
}

/// What a chatty program prints is limited, and takes no history away: its unit has the limit, which journald
/// stretches on a large disk, by six at most.
pub(super) fn chatty_program(till: &Till) -> Result<()> {
    const PRINTED: usize = 20_000;
    till.install_driver(Script::Stays)?;
    let (unit, path) = (COMUNICADOR.unit(), COMUNICADOR.path());
    let text = format!("#!/bin/sh\nseq {PRINTED}\nexec {path}\n");
    till.write(COMUNICADOR.script, &text, 0o755)?;
    till.start()?;
    till.wait_up(&COMUNICADOR)?;
    let printed = || -> Result<usize> {
        let lines = till.sh(&format!(
            "journalctl --sync; journalctl --quiet --unit {unit} --output cat | wc -l"
        ))?;
        Ok(lines.trim().parse()?)
    };
    let printed = wait_for("the first lines are there", SOON, || {
        Ok(Some(printed()?).filter(|lines| *lines >= 1000))
    })?;
    ensure!(printed < PRINTED / 2, "{printed} lines are in the journal");
    Ok(())
}

/// All that the journal has goes, twice, and the watchdog is killed in between: the report has the outages
/// all the same, also when the journal can't be read. What is kept isn't for everybody.
pub(super) fn journal_vacuumed(till: &Till) -> Result<()> {
    let begin = SystemTime::now();
    let [_, mut monitor] = till.all_day()?;
    let mut deaths = Vec::new();
    for _ in 0..2 {
        let died = SystemTime::now();
        monitor = till.kill_and_wait(&MONITOR, monitor)?;
        till.wait_event(&MONITOR, "restarted")?;
        deaths.push((died, SystemTime::now()));
        let service = till.main_pid()?;
        till.signal("KILL", service)?;
        till.wait_for_another(service, SOON)?;
        till.wait_event(&MONITOR, "adopted")?;
        till.sh("journalctl --sync && journalctl --rotate && journalctl --vacuum-size=1")?;
        let restarted = till.events(Some(&MONITOR), "restarted")?;
        ensure!(restarted.is_empty(), "the journal still has it");
    }
    let with_journal = report(till, begin)?;
    let output = till.run(&[
        "env",
        "PATH=/nonexistent",
        "/usr/bin/mfe-watchdog",
        "report",
        "--json",
        "--since=1h",
    ])?;
    let complaints = String::from_utf8_lossy(&output.stderr);
    ensure!(
        complaints.contains("the events that the watchdog keeps itself"),
        "{complaints}"
    );
    expect_status(&output, 0)?;
    let without = serde_json::from_slice(&output.stdout).context("the report's JSON")?;
    for report in [with_journal, without] {
        let outages = of(&report, &MONITOR, "outages")?.iter();
        let outages: Vec<_> = outages.filter(|one| one["cause"] == "killed").collect();
        ensure!(outages.len() == deaths.len(), "not two deaths: {report:#}");
        for (outage, (died, back)) in outages.iter().zip(&deaths) {
            between(&outage["from"], *died, *back)?;
            between(&outage["to"], *died, *back)?;
            ensure!(
                outage["begin_seen"] == true && outage["end_seen"] == true,
                "{outage}"
            );
        }
    }
    let files = till.sh("cd /var/lib/mfe-watchdog/history && stat -c '%n %a %U' *")?;
    ensure!(files.trim() == "events.jsonl 640 root", "{files}");
    Ok(())
}

/// The watchdog stands still until systemd ends it: nobody has looked since, whatever systemd says when.
pub(super) fn watchdog_hangs(till: &Till) -> Result<()> {
    till.drop_in(SERVICE, "[Service]\nWatchdogSec=6s\n")?;
    let begin = SystemTime::now();
    till.all_day()?;
    let service = till.main_pid()?;
    till.remember_journal()?;
    let before = SystemTime::now();
    till.wait_cycles(2)?;
    till.signal("STOP", service)?;
    let hangs = SystemTime::now();
    till.wait_for_another(service, SOON)?;
    till.wait_event(&MONITOR, "adopted")?;
    let back = SystemTime::now();
    let report = report(till, begin)?;
    let gaps = of(&report, &MONITOR, "not_observed")?.iter();
    let gaps: Vec<_> = gaps
        .filter(|gap| time(&gap["to"]).is_ok_and(|to| to > hangs))
        .collect();
    let [gap] = gaps.as_slice() else {
        anyhow::bail!("not one time when nobody watched: {report:#}");
    };
    ensure!(gap["reason"] == "watchdog_not_running", "{gap}");
    between(&gap["from"], before, hangs)?;
    between(&gap["to"], hangs, back)
}

/// The times of which messages are missing.
fn lost(report: &Value, program: &Program) -> Result<Vec<Value>> {
    let gaps = of(report, program, "not_observed")?.iter();
    let is_lost = |gap: &&Value| gap["reason"] == "messages_lost";
    Ok(gaps.filter(is_lost).cloned().collect())
}

fn report(till: &Till, begin: SystemTime) -> Result<Value> {
    till.ok(&["journalctl", "--sync"])?;
    // Not a moment too few: all may have happened within two seconds.
    let since = SystemTime::now().duration_since(begin)?.as_secs() + 1;
    let output = till.run(&[
        "mfe-watchdog",
        "report",
        "--json",
        &format!("--since={since}s"),
    ])?;
    serde_json::from_str(&expect_status(&output, 0)?).context("the report's JSON")
}

fn of<'a>(report: &'a Value, program: &Program, list: &str) -> Result<&'a Vec<Value>> {
    let mut processes = report["processes"].as_array().into_iter().flatten();
    let found = processes.find(|process| process["key"] == program.key);
    let list = found.and_then(|process| process[list].as_array());
    list.with_context(|| format!("the report has nothing of {}: {report:#}", program.name))
}

fn time(value: &Value) -> Result<SystemTime> {
    let text = value.as_str().context("a time")?;
    Ok(humantime::parse_rfc3339(text)?)
}

/// What is told lies between two moments, each a moment before or after it was brought about.
fn between(told: &Value, earliest: SystemTime, latest: SystemTime) -> Result<()> {
    let time = time(told)?;
    ensure!(
        (earliest - TOLERANCE..=latest + TOLERANCE).contains(&time),
        "told {told}, was between {} and {}",
        humantime::format_rfc3339_millis(earliest),
        humantime::format_rfc3339_millis(latest)
    );
    Ok(())
}
