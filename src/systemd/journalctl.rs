//! Has journalctl(1) find entries of the journal, and hands them on line by line, in JSON; what they say is
//! understood by whoever asks, as in [`crate::report`].

use std::io;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use mfe_common::duration::duration;
use mfe_common::escape::printable;
use rust_i18n::t;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use crate::sys::child_env::for_children;
use crate::sys::descriptors;

/// A longer line is no entry of ours, in bytes: journalctl leaves out fields of more than 4 KiB.
const LINE_MAX: usize = 1 << 20;

/// What is kept of journalctl's complaints, in bytes.
const COMPLAINTS_MAX: usize = 4096;

/// How long journalctl has for all that it is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    at: Instant,
    time: Duration,
}

impl Deadline {
    /// So long from now.
    pub(crate) fn after(time: Duration) -> Self {
        Self {
            at: Instant::now() + time,
            time,
        }
    }

    async fn keeps<T>(deadline: Option<Self>, work: impl Future<Output = T>) -> anyhow::Result<T> {
        let Some(Self { at, time }) = deadline else {
            return Ok(work.await);
        };
        timeout_at(at, work).await.map_err(|_| {
            let time = duration(time);
            anyhow::anyhow!("{}", t!("errors.journalctl_slow", time = time))
        })
    }
}

/// A journalctl that runs. Dropping it kills it.
pub(crate) struct Journalctl {
    child: Child,
    stdout: BufReader<ChildStdout>,
    complaints: JoinHandle<Vec<u8>>,
    line: Vec<u8>,
    deadline: Option<Deadline>,
}

impl Journalctl {
    /// Has it look for what these arguments name, in the system's journal. Without a deadline it may go on
    /// for ever, as with `--follow`. Must be called in the runtime.
    ///
    /// # Errors
    /// When it can't be run.
    pub(crate) fn run(arguments: &[&str], deadline: Option<Deadline>) -> anyhow::Result<Self> {
        Self::run_in_all(&[&["--system"], arguments].concat(), deadline)
    }

    /// The same in all journals that whoever asks may read, those of users as well.
    ///
    /// # Errors
    /// When it can't be run.
    pub(crate) fn run_in_all(
        arguments: &[&str],
        deadline: Option<Deadline>,
    ) -> anyhow::Result<Self> {
        let mut command = Command::new("journalctl");
        command
            .args(["--no-pager", "--output=json"])
            .args(arguments)
            .env_clear()
            .envs(for_children())
            .env("LC_ALL", "C")
            // Some versions, as 245 and 247, colour even what isn't for a terminal.
            .env("SYSTEMD_LOG_COLOR", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let child = descriptors::as_inherited(|| command.spawn());
        let mut child = child.with_context(|| t!("errors.journalctl_not_run"))?;
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

    /// The next line, of one that is too long only the beginning; `None` at the end.
    ///
    /// # Errors
    /// When it can't be read, or not in time.
    pub(crate) async fn line(&mut self) -> anyhow::Result<Option<&[u8]>> {
        let next = next_line(&mut self.stdout, &mut self.line);
        let is_there = Deadline::keeps(self.deadline, next).await?;
        let is_there = is_there.with_context(|| t!("errors.journalctl_silent"))?;
        Ok(is_there.then_some(&self.line))
    }

    /// Ends it.
    pub(crate) async fn kill(mut self) {
        // It can only fail because it has ended.
        let _ = self.child.kill().await;
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it has failed, with what it had to complain about; or hasn't ended in time.
    pub(crate) async fn end(mut self) -> anyhow::Result<()> {
        let complaints = Deadline::keeps(self.deadline, &mut self.complaints).await?;
        let complaints = complaints.unwrap_or_default();
        let status = Deadline::keeps(self.deadline, self.child.wait()).await?;
        let status = status.with_context(|| t!("errors.journalctl_silent"))?;
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
