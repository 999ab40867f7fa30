//! Has journalctl(1) find the entries that tell how the processes were, and hands them on one by one;
//! each is understood in [`mfe_history::entry`], and what they mean is decided in [`mfe_history::history`].

use std::process::Stdio;
use std::time::Duration;

use mfe_history::entry::understand;
use mfe_history::history::{Entry, History, Moment, Sign};
use mfe_history::kept::Kept;
use mfe_history::order::{Order, Written};
use tokio::process::Command;
use tokio::time::timeout;

use crate::systemd::journalctl::{Deadline, Journalctl};

/// What journalctl may take for all that it is asked, on an old machine with a full disk.
pub(super) const TIMEOUT: Duration = Duration::from_secs(120);

/// The watchdog's own messages; nobody else can write under the name of its unit
/// (`systemd.journal-fields(7)`), but that journald looks for the unit of a pid only after it has the
/// message: another user's process may have the pid by then.
pub(super) const MESSAGES: [&str; 2] = ["_SYSTEMD_UNIT=mfe-watchdog.service", "_UID=0"];

/// How long journald may take to write down all that it was sent until now.
const SYNC_TIMEOUT: Duration = Duration::from_secs(10);

/// What systemd says of the watchdog.
const ABOUT_UNIT: [&str; 2] = ["_PID=1", "UNIT=mfe-watchdog.service"];

/// The journal ends, as it does when the machine is switched off, the machine goes to sleep, has woken
/// up, or its clock was set (`sd-messages.h`): where time is missing is known exactly then.
const CLOCK: [&str; 5] = [
    "_UID=0",
    "MESSAGE_ID=d93fb3c9c24d451a97cea615ce59c00b",
    "MESSAGE_ID=6bbd95ee977941e497c48be27c254128",
    "MESSAGE_ID=8811e6df2a8e40f58a94cea26f8ebf14",
    "MESSAGE_ID=c7a787079b354eaaa9e77b371893cd27",
];

/// Tells `history` all that the journal has up to `now`, and what is `kept` beside it.
///
/// # Errors
/// When the journal can't be read, or not in time.
pub(super) async fn read(history: &mut History, mut kept: Kept, now: Moment) -> anyhow::Result<()> {
    let deadline = Some(Deadline::after(TIMEOUT));
    let matches = [&MESSAGES[..], &["+"], &ABOUT_UNIT, &["+"], &CLOCK].concat();
    let mut journal = Journalctl::run(&matches, deadline)?;
    let mut order = Order::default();
    while let Some(written) = next_written(&mut journal).await? {
        for written in kept.before(written.entry.at) {
            order.add(written);
        }
        if !kept.has(&written.entry) {
            order.add(written);
        }
        while let Some(entry) = order.ready() {
            last_of_boot(history, entry.at.boot, deadline).await?;
            history.take(&entry);
        }
    }
    journal.end().await?;
    for written in kept.rest() {
        order.add(written);
    }
    for entry in order.rest() {
        last_of_boot(history, entry.at.boot, deadline).await?;
        history.take(&entry);
    }
    last_of_boot(history, now.boot, deadline).await
}

/// Tells `history` what is `kept`, if the journal can't be read.
pub(super) fn without(history: &mut History, kept: Kept) {
    let mut order = Order::default();
    for written in kept.rest() {
        order.add(written);
    }
    for entry in order.rest() {
        history.take(&entry);
    }
}

/// Has journald write down what it was sent until now. Where it can't, or not in time, what is read next
/// lacks that: the watchdog's numbers tell.
pub(super) async fn sync() {
    let mut command = Command::new("journalctl");
    command.arg("--sync").kill_on_drop(true);
    command.stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    if let Ok(mut child) = command.spawn() {
        let _ = timeout(SYNC_TIMEOUT, child.wait()).await;
    }
}

/// Tells `history` how long the boot before `next` has lasted, if the watchdog was left running in
/// it: a machine that is switched off without a word has lived as long as anybody wrote.
async fn last_of_boot(
    history: &mut History,
    next: u128,
    deadline: Option<Deadline>,
) -> anyhow::Result<()> {
    let Some(boot) = history.running_in().filter(|boot| *boot != next) else {
        return Ok(());
    };
    let of_boot = format!("_BOOT_ID={boot:032x}");
    let mut journal = Journalctl::run(&["--lines=1", &of_boot], deadline)?;
    while let Some(written) = next_written(&mut journal).await? {
        let at = written.entry.at;
        if at.boot == boot {
            let (number, sign) = (None, Sign::Alive);
            history.take(&Entry { at, number, sign });
        }
    }
    journal.end().await
}

/// The next entry that says anything; `None` at the end.
async fn next_written(journal: &mut Journalctl) -> anyhow::Result<Option<Written>> {
    while let Some(line) = journal.line().await? {
        if let Some(written) = understand(line) {
            return Ok(Some(written));
        }
    }
    Ok(None)
}
