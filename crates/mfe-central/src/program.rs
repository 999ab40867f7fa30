//! A handler that is a program of the user's: it runs as long as the service, and again if it ends. It leads a process
//! group, which ends with it.

use std::io;
use std::os::fd::OwnedFd;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mfe_common::say::{Level, say};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::sync::Mutex;
use tokio::time::{sleep, timeout};

use crate::batch::Verdict;
use crate::health::Counts;
use crate::route::Handler;
use crate::verdict::{self, Ledger, MESSAGE_MAX, Message};

/// Before it is started again, at first and at most. Of what kills it at each try the broker is rid after 20.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_millis(200);
/// The same where it ends without having been given anything.
const LONGEST_IDLE_WAIT: Duration = Duration::from_secs(60);

/// Only one that still runs then is given messages: a script with a mistake in it is to waste none of their tries.
const SETTLING: Duration = Duration::from_millis(300);

/// How long it has to end once nothing more comes, and after SIGTERM.
const LEAVE_TIME: Duration = Duration::from_secs(5);

/// A longer line is no verdict, in bytes.
const LINE_MAX: usize = 64 << 10;

/// The handler of one route.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) command: Vec<String>,
    pub(crate) timeout: Duration,
    pub(crate) on_success: Verdict,
    pub(crate) on_exception: Verdict,
    counts: Arc<Counts>,
    slot: Mutex<Slot>,
}

#[derive(Debug, Default)]
struct Slot {
    running: Option<Running>,
    wait: Option<Duration>,
    /// The number of the last message.
    last: u64,
}

impl Program {
    pub(crate) fn new(
        command: Vec<String>,
        timeout: Duration,
        (on_success, on_exception): (Verdict, Verdict),
        counts: Arc<Counts>,
    ) -> Self {
        Self {
            command,
            timeout,
            on_success,
            on_exception,
            counts,
            slot: Mutex::default(),
        }
    }

    fn warn(&self, text: &str) {
        let name = self.command.first().map_or("", String::as_str);
        say(Level::Warning, &format!("handler {name}: {text}"));
    }

    /// Waits until it runs. May be dropped while waiting.
    async fn started(&self, slot: &mut Slot) {
        loop {
            if let Some(running) = &slot.running {
                let rest = SETTLING.saturating_sub(running.begun.elapsed());
                if timeout(rest, running.ended()).await.is_err() {
                    return;
                }
                slot.running = None;
                self.warn("it has ended, and is started again");
            }
            if let Some(wait) = slot.wait {
                sleep(wait).await;
            }
            slot.wait = Some(longer(slot.wait, LONGEST_IDLE_WAIT));
            match Running::start(&self.command) {
                Ok(running) => {
                    self.counts.starts.fetch_add(1, Ordering::Relaxed);
                    slot.running = Some(running);
                }
                Err(error) => self.warn(&format!("it can't be run: {error}")),
            }
        }
    }

    /// Lets it end by itself, for nothing more comes; ends it if it doesn't.
    pub(crate) async fn end(&self) {
        if let Some(running) = self.slot.lock().await.running.take() {
            running.end().await;
        }
    }
}

fn longer(wait: Option<Duration>, longest: Duration) -> Duration {
    wait.map_or(FIRST_WAIT, |wait| (wait * 2).min(longest))
}

impl<M: Message> Handler<M> for Program {
    async fn ready(&self) {
        self.started(&mut *self.slot.lock().await).await;
    }

    async fn keep(&self) {
        let mut slot = self.slot.lock().await;
        loop {
            self.started(&mut slot).await;
            if let Some(running) = &slot.running {
                running.ended().await;
            }
        }
    }

    async fn handle(&self, batch: Vec<M>) -> Vec<Verdict> {
        let mut verdicts = vec![Verdict::Requeue; batch.len()];
        let (mut fit, mut places) = (Vec::new(), Vec::new());
        for (place, message) in batch.into_iter().enumerate() {
            if message.body().is_some_and(|body| body.len() > MESSAGE_MAX) {
                self.warn("a message of more than 1 MiB is refused");
                verdicts[place] = Verdict::Reject;
                self.counts.count(Verdict::Reject);
            } else {
                fit.push(message);
                places.push(place);
            }
        }
        if !fit.is_empty() {
            let judged = self.judge(fit).await;
            for (place, verdict) in places.into_iter().zip(judged) {
                verdicts[place] = verdict;
            }
        }
        verdicts
    }
}

impl Program {
    /// The program's verdict on each.
    async fn judge<M: Message>(&self, batch: Vec<M>) -> Vec<Verdict> {
        let mut slot = self.slot.lock().await;
        self.started(&mut slot).await;
        let first = slot.last + 1;
        slot.last += batch.len() as u64;
        let numbers = first..=slot.last;
        let lines = batch.iter().zip(numbers);
        let lines = lines.map(|(message, n)| verdict::line(n, message, n == slot.last));
        let text: Vec<u8> = lines.flatten().collect();
        let mut ledger = Ledger::new(first, batch.len());
        // Dropped in the middle, it is out of step with us and killed.
        let Some(mut running) = slot.running.take() else {
            return Vec::new();
        };
        let mut complain = |line: &str| self.warn(line);
        let work = running.work(&text, &mut ledger, &mut complain);
        let why = match timeout(self.timeout, work).await {
            Ok(Ok(())) => None,
            Ok(Err(why)) => Some(why),
            Err(_) => Some("it has taken too long"),
        };
        if let Some(why) = why {
            self.warn(&format!("{why}; it is started again"));
            slot.wait = Some(longer(slot.wait, LONGEST_WAIT).min(LONGEST_WAIT));
        } else {
            slot.running = Some(running);
            slot.wait = None;
        }
        let verdicts = ledger.verdicts(self.on_success, self.on_exception);
        let mut replies = ledger.replies();
        for (index, (message, verdict)) in batch.into_iter().zip(&verdicts).enumerate() {
            self.counts.count(*verdict);
            message.settled(*verdict, replies.remove(&index));
        }
        verdicts
    }
}

/// Runs a command to its end; dropped before, its group is killed.
///
/// # Errors
/// When it can't be run.
pub(crate) async fn run(command: &[String]) -> io::Result<ExitStatus> {
    let mut running = Running::start(command)?;
    running.input = None;
    // What it prints is for nobody, and mustn't fill the pipe.
    let mut scratch = [0; 4096];
    let mut is_open = true;
    loop {
        tokio::select! {
            ended = running.pidfd.readable() => {
                drop(ended?);
                // What it has left behind goes with it, as long as the number is its own.
                running.signal(Signal::KILL);
                return running.process.wait().await;
            }
            read = running.output.read(&mut scratch), if is_open => is_open = matches!(read, Ok(1..)),
        }
    }
}

/// A descriptor that can be waited for.
fn readable(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // What takes its place is unsafe, for it can't know that an `OwnedFd` stays open.
    #[allow(deprecated, reason = "no safe call takes its place")]
    AsyncFd::with_interest(descriptor, Interest::READABLE)
}

/// A program that runs, or has ended and isn't reaped, so that nobody else has its process ID. Dropped, its group is
/// killed; it is reaped whenever it has ended, without anybody waiting for that (tokio::process, "Caveats").
#[derive(Debug)]
struct Running {
    process: Child,
    begun: Instant,
    group: Pid,
    pidfd: AsyncFd<OwnedFd>,
    input: Option<pipe::Sender>,
    output: pipe::Receiver,
    buffer: Vec<u8>,
}

impl Running {
    fn start(command: &[String]) -> io::Result<Self> {
        let (program, arguments) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut process = Command::new(program)
            .args(arguments)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // If it fails from here on.
            .kill_on_drop(true)
            .spawn()?;
        let pid = process.id().and_then(|pid| i32::try_from(pid).ok());
        let pid = pid.and_then(Pid::from_raw);
        let pid = pid.ok_or(io::ErrorKind::InvalidData)?;
        let input = process.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let output = process.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Self {
            begun: Instant::now(),
            group: pid,
            pidfd: readable(pidfd_open(pid, PidfdFlags::empty())?)?,
            input: Some(pipe::Sender::from_owned_fd(input.into_owned_fd()?)?),
            output: pipe::Receiver::from_owned_fd(output.into_owned_fd()?)?,
            buffer: Vec::new(),
            process,
        })
    }

    /// Waits until it has ended (pidfd_open(2): then it is readable).
    async fn ended(&self) {
        // Without a descriptor that can be waited for, its end shows by that of its output.
        if self.pidfd.readable().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Hands over a batch, and hears the verdicts.
    ///
    /// # Errors
    /// Why it can't be given another one.
    async fn work(
        &mut self,
        mut rest: &[u8],
        ledger: &mut Ledger,
        complain: &mut impl FnMut(&str),
    ) -> Result<(), &'static str> {
        let Some(input) = &mut self.input else {
            return Err("it takes nothing");
        };
        while !(ledger.is_done() && rest.is_empty()) {
            let has_ended = tokio::select! {
                biased;
                read = self.output.read_buf(&mut self.buffer) => !matches!(read, Ok(1..)),
                written = input.write(rest), if !rest.is_empty() => {
                    // Of one that reads nothing more, the end is to come.
                    rest = written.map_or(&[], |count| &rest[count..]);
                    false
                }
                ended = self.pidfd.readable() => {
                    drop(ended);
                    // What it had said before is in the pipe.
                    while matches!(self.output.try_read_buf(&mut self.buffer), Ok(1..)) && self.buffer.len() <= LINE_MAX {}
                    true
                }
            };
            while let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                if let Err(why) = ledger.hear(&line) {
                    complain(&why);
                }
            }
            if self.buffer.len() > LINE_MAX {
                return Err("a line of it is too long");
            }
            if has_ended {
                return Err("it has ended");
            }
        }
        Ok(())
    }

    async fn end(mut self) {
        self.input = None;
        if timeout(LEAVE_TIME, self.ended()).await.is_err() {
            self.signal(Signal::TERM);
            let _ = timeout(LEAVE_TIME, self.ended()).await;
        }
    }

    /// To the whole group, whose number is nobody else's as long as its leader isn't reaped.
    fn signal(&self, signal: Signal) {
        // There may be nobody left to hear it.
        let _ = kill_process_group(self.group, signal);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that was waited for has no number any more.
        if self.process.id().is_some() {
            self.signal(Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Delivery;
    use crate::service::event_loop;

    #[test]
    fn a_message_that_is_too_big_is_refused_and_the_others_are_handled() {
        // Of the message that it gets it says nothing, which is good.
        let script = "while read -r line; do echo; done".to_owned();
        let command = vec!["/bin/sh".to_owned(), "-c".to_owned(), script];
        let counts = Arc::new(Counts::new("rabbitmq", "sh"));
        let verdicts = (Verdict::Ack, Verdict::Requeue);
        let patience = mfe_kit::DEADLINE;
        let program = Program::new(command, patience, verdicts, Arc::clone(&counts));
        let message = |size: usize| Delivery {
            body: vec![b'a'; size],
            ..Delivery::default()
        };
        let all = |sizes: &[usize]| sizes.iter().copied().map(message).collect::<Vec<_>>();
        let (big, largest) = (MESSAGE_MAX + 1, MESSAGE_MAX);
        let (some, none) = event_loop().unwrap().block_on(async {
            let some = program.handle(all(&[big, largest, big])).await;
            (some, program.handle(all(&[big])).await)
        });
        assert_eq!(some, [Verdict::Reject, Verdict::Ack, Verdict::Reject]);
        assert_eq!(none, [Verdict::Reject]);
        let counted = Verdict::ALL.map(|verdict| counts.verdicts(verdict));
        assert_eq!(counted, [1, 3, 0]);
    }
}
