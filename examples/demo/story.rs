//! The story that the demo tells, from beginning to end. What it has started is cleared away by
//! whoever has let it begin.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use procfs::process::Process;

use crate::narrator::Narrator;
use crate::stage::{COMUNICADOR, MONITOR, Stage};

/// Where the service finds systemd's journal; what it has said there stays, as everything does.
const JOURNAL: &str = "/run/systemd/journal/socket";

/// Tells it.
pub(crate) async fn play(stage: &mut Stage, narrator: &Narrator) -> anyhow::Result<()> {
    let journal = if Path::new(JOURNAL).exists() {
        "this machine's journal has them too"
    } else {
        "on a till they are in the journal"
    };
    narrator.say(&format!(
        "The real mfe-watchdog at its job, with stand-ins for {COMUNICADOR} and {MONITOR}. All \
         happens in {}. Lines after a | are the service's own; {journal}.",
        stage.path().display()
    ))?;

    narrator.heading("1. A till is switched on: one program runs already, the other doesn't.")?;
    let first = stage.start_standin(COMUNICADOR).await?;
    narrator.say(&format!(
        "The demo has started {COMUNICADOR} (pid {first}), as an init script would. Now the \
         service starts."
    ))?;
    stage.start_service()?;
    let events = [("adopted", "comunicador"), ("up", "monitor")];
    stage.service_tells(narrator, &events).await?;
    ensure!(
        stage.starts(COMUNICADOR).pids() == [first],
        "{COMUNICADOR} was started a second time although it was running"
    );
    narrator.say(&format!(
        "{COMUNICADOR} was adopted and not started twice; {MONITOR} was missing and was started."
    ))?;

    narrator.heading("2. Somebody kills Monitor with kill -9.")?;
    // The service may see it before it has done anything at all.
    let (monitor, _) = stage.starts(MONITOR).next(0).await?;
    kill_and_await(stage, narrator, MONITOR, "monitor", monitor).await?;
    narrator.say("The Python script looks every 10 s: with it, up to 10 s without a sale.")?;

    narrator.heading("3. Comunicador is killed too, and its parent doesn't reap it: a zombie.")?;
    kill_and_await(stage, narrator, COMUNICADOR, "comunicador", first).await?;
    ensure!(state(first) == Some('Z'), "pid {first} is no zombie");
    narrator.say(&format!(
        "The dead one, pid {first}, still stands in the process table as \"{COMUNICADOR} \
         <defunct>\": the Python script would count it as running and leave the shop offline."
    ))?;

    narrator.heading("4. What `mfe-watchdog status` shows now:")?;
    for line in stage.status().await?.lines() {
        narrator.quote(line)?;
    }

    narrator.heading("5. The service is stopped. The programs don't notice.")?;
    if let Some(status) = stage.stop_service(narrator).await? {
        ensure!(status.success(), "the service has ended with {status}");
    }
    for name in [COMUNICADOR, MONITOR] {
        let pid = *stage.starts(name).pids().last().context("no start")?;
        ensure!(
            state(pid).is_some_and(|state| state != 'Z'),
            "{name} ended with the service"
        );
        narrator.say(&format!("{name} (pid {pid}) still runs."))?;
    }
    Ok(())
}

/// Kills one process of this name, shows how the service brings it back, and says how long that
/// took: by the service's own account, and measured by the demo.
async fn kill_and_await(
    stage: &mut Stage,
    narrator: &Narrator,
    name: &'static str,
    key: &str,
    pid: i32,
) -> anyhow::Result<()> {
    let starts = stage.starts(name);
    let known = starts.pids().len();
    let killed = Instant::now();
    kill(Pid::from_raw(pid), Signal::SIGKILL).with_context(|| format!("pid {pid} of {name}"))?;
    let events = [("restarted", key)];
    let told = stage.service_tells(narrator, &events);
    let ((new, seen), ()) = tokio::try_join!(starts.next(known), told)?;

    let status = stage.published(name, 1).await?;
    ensure!(
        status.pids == [new],
        "{name} should be pid {new} alone, not {:?}",
        status.pids
    );
    let last = status.last_restart.context("no restart is published")?;
    narrator.say(&format!(
        "Outage: {} ms as the service counts it (status.json); {} ms as the demo measured it, from \
         the kill to the first act of the new {name}.",
        last.outage_ms,
        in_milliseconds(seen.saturating_duration_since(killed)),
    ))?;
    Ok(())
}

/// The state of a process as ps(1) shows it; `None` when there is none.
fn state(pid: i32) -> Option<char> {
    let stat = Process::new(pid).and_then(|process| process.stat());
    stat.ok().map(|stat| stat.state)
}

/// Rounded up: what was measured took no longer than is said.
fn in_milliseconds(duration: Duration) -> u128 {
    duration.as_micros().div_ceil(1000)
}
