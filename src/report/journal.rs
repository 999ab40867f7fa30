//! Has journalctl(1) find the entries that tell how the processes were, and hands them on one by one;
//! each is understood in [`super::entry`], and what they mean is decided in [`super::history`].

use std::io;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use rust_i18n::t;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};

use super::entry::understand;
use super::history::{Entry, History, Moment, Sign};
use super::kept::Kept;
use super::order::{Order, Written};
use crate::text::escape::printable;

/// What journalctl may take for all that it is asked, on an old machine with a full disk.
const TIMEOUT: Duration = Duration::from_secs(120);

/// A longer line is no entry of ours, in bytes: journalctl leaves out fields of more than 4 KiB.
const LINE_MAX: usize = 1 << 20;

/// What is kept of journalctl's complaints, in bytes.
const COMPLAINTS_MAX: usize = 4096;

/// The watchdog's own messages; nobody else can write under the name of its unit
/// (`systemd.journal-fields(7)`), but that journald looks for the unit of a pid only after it has the
/// message: another user's process may have the pid by then.
const MESSAGES: [&str; 2] = ["_SYSTEMD_UNIT=mfe-watchdog.service", "_UID=0"];

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
    let deadline = Instant::now() + TIMEOUT;
    let matches = [&MESSAGES[..], &["+"], &ABOUT_UNIT, &["+"], &CLOCK].concat();
    let mut journal = Journalctl::run(&matches, deadline)?;
    let mut order = Order::default();
    while let Some(written) = journal.next().await? {
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
async fn last_of_boot(history: &mut History, next: u128, deadline: Instant) -> anyhow::Result<()> {
    let Some(boot) = history.running_in().filter(|boot| *boot != next) else {
        return Ok(());
    };
    let of_boot = format!("_BOOT_ID={boot:032x}");
    let mut journal = Journalctl::run(&["--lines=1", &of_boot], deadline)?;
    while let Some(written) = journal.next().await? {
        let at = written.entry.at;
        if at.boot == boot {
            let (number, sign) = (None, Sign::Alive);
            history.take(&Entry { at, number, sign });
        }
    }
    journal.end().await
}

/// A journalctl that runs. Dropping it kills it.
struct Journalctl {
    child: Child,
    stdout: BufReader<ChildStdout>,
    complaints: JoinHandle<Vec<u8>>,
    line: Vec<u8>,
    deadline: Instant,
}

impl Journalctl {
    fn run(arguments: &[&str], deadline: Instant) -> anyhow::Result<Self> {
        let mut child = Command::new("journalctl")
            .args(["--system", "--no-pager", "--output=json"])
            .args(arguments)
            .env("LC_ALL", "C")
            // Some versions, as 245 and 247, colour even what isn't for a terminal.
            .env("SYSTEMD_LOG_COLOR", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| t!("errors.journalctl_not_run"))?;
        let stdout = child
            .stdout
            .take()
            .with_context(|| t!("errors.journalctl_silent"))?;
        let stderr = child
            .stderr
            .take()
            .with_context(|| t!("errors.journalctl_silent"))?;
        Ok(Self {
            child,
            stdout: BufReader::new(stdout),
            complaints: tokio::spawn(head(stderr)),
            line: Vec::new(),
            deadline,
        })
    }

    /// The next entry that says anything; `None` at the end.
    async fn next(&mut self) -> anyhow::Result<Option<Written>> {
        loop {
            let next = next_line(&mut self.stdout, &mut self.line);
            let next = timeout_at(self.deadline, next).await;
            let is_there = next
                .map_err(|_| too_slow())?
                .with_context(|| t!("errors.journalctl_silent"))?;
            if !is_there {
                return Ok(None);
            }
            if let Some(written) = understand(&self.line) {
                return Ok(Some(written));
            }
        }
    }

    /// Waits for its end, and says what it had to complain about if it has failed.
    async fn end(mut self) -> anyhow::Result<()> {
        let complaints = timeout_at(self.deadline, &mut self.complaints).await;
        let complaints = complaints.map_err(|_| too_slow())?.unwrap_or_default();
        let status = timeout_at(self.deadline, self.child.wait()).await;
        let status = status
            .map_err(|_| too_slow())?
            .with_context(|| t!("errors.journalctl_silent"))?;
        if status.success() {
            return Ok(());
        }
        let complaints = String::from_utf8_lossy(&complaints);
        let last = complaints.lines().last().unwrap_or_default();
        let text = t!(
            "errors.journalctl_failed",
            status = status,
            message = printable(last)
        );
        anyhow::bail!("{text}")
    }
}

/// The beginning of what is written; the rest is read too, so that the writer doesn't wait.
async fn head(mut from: impl AsyncRead + Unpin) -> Vec<u8> {
    let mut head = Vec::new();
    let mut buffer = [0; 512];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let room = COMPLAINTS_MAX - head.len();
        head.extend_from_slice(&buffer[..length.min(room)]);
    }
    head
}

fn too_slow() -> anyhow::Error {
    let time = humantime::format_duration(TIMEOUT);
    anyhow::anyhow!("{}", t!("errors.journalctl_slow", time = time))
}

/// Reads the next line into `line`, of one that is too long only the beginning; false at the end.
async fn next_line(from: &mut (impl AsyncBufRead + Unpin), line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let mut is_there = false;
    loop {
        let read = from.fill_buf().await?;
        if read.is_empty() {
            return Ok(is_there);
        }
        is_there = true;
        let end = read.iter().position(|byte| *byte == b'\n');
        let part = &read[..end.unwrap_or(read.len())];
        line.extend(part.iter().take(LINE_MAX - line.len()));
        let used = end.map_or(read.len(), |end| end + 1);
        from.consume(used);
        if end.is_some() {
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_read_whole_and_never_too_long() {
        let text = [b"a\n\nb\n".as_slice(), &vec![b'x'; LINE_MAX + 9], b"\nend"].concat();
        let mut from = BufReader::with_capacity(7, text.as_slice());
        let mut line = Vec::new();
        let mut lengths = Vec::new();
        while next_line(&mut from, &mut line).await.unwrap() {
            lengths.push(line.len());
        }
        assert_eq!(lengths, [1, 0, 1, LINE_MAX, 3]);
    }
}
