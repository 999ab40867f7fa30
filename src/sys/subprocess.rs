//! Runs a helper program (a hook, a check's command) to its end, within a time, and says what came
//! of it. Nothing that is run here outlives its time or the service: what is to stay is started by
//! [`crate::start`].

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use mfe_common::escape::printable;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::{Pid, pipe2, read};
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::signal::unix::{Signal as SignalStream, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

use crate::sys::child_env::Variable;
use crate::sys::exit_status::ExitStatus;
use crate::sys::spawn::{Stdio, not_run, spawn};

/// What is kept of a program's output, in bytes; the rest is read and thrown away, so that the
/// program doesn't wait for a reader.
const OUTPUT_MAX: usize = 4096;

/// The pause between readings of output that is thrown away. `readable` never yields while there is
/// something to read, so a program that floods its output would have the runtime for itself.
const FLOOD_PAUSE: Duration = Duration::from_millis(1);

/// How many readings of output that is thrown away come before that pause: as many as empty a pipe
/// (pipe(7)). With fewer, a program that has much to say would wait for its reader.
const FLOOD_READINGS: usize = 16;

/// More than this isn't shown of a line, in characters.
const LINE_MAX: usize = 200;

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// By itself, or by somebody's signal.
    Exited(ExitStatus),
    /// It was killed, for its time was over.
    TimedOut,
    /// It couldn't be run or followed, and why.
    NotRun(String),
}

/// What came of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// How it ended.
    pub end: End,
    /// The beginning of what it wrote to its standard output and error, at most 4 KiB, as it came:
    /// not fit for a terminal.
    pub output: Vec<u8>,
}

impl Outcome {
    fn not_run(why: String) -> Self {
        Self {
            end: End::NotRun(why),
            output: Vec::new(),
        }
    }

    /// The first line of its output that isn't blank, fit for a terminal and not too long.
    #[must_use]
    pub fn first_line(&self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.output);
        let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
        let mut shown = line.chars().take(LINE_MAX).collect::<String>();
        if shown.len() < line.len() {
            shown.push('…');
        }
        Some(printable(&shown))
    }
}

/// A program that was run.
///
/// It leads a session of its own. When it ends, or its time is over, or this is dropped, whatever
/// is left in its process group is killed; a task of its own reaps it. Only what has left the
/// process group, by setsid(2), is out of reach.
#[derive(Debug)]
pub struct Subprocess {
    outcome: oneshot::Receiver<Outcome>,
    keeper: JoinHandle<()>,
}

impl Subprocess {
    /// Runs `command`, an absolute path and its arguments, with `variables` on top of the
    /// environment for children and `input` as its standard input, for at most `timeout`. What it
    /// doesn't read of its input is no failure.
    #[must_use]
    pub fn run(
        command: &[String],
        variables: &[Variable],
        input: Vec<u8>,
        timeout: Duration,
    ) -> Self {
        let deadline = Instant::now() + timeout;
        let (sender, outcome) = oneshot::channel();
        let keeper = match Child::spawn(command, variables, input) {
            Ok(child) => tokio::spawn(child.keep(deadline, sender)),
            Err(error) => {
                let program = command.first().map_or("", String::as_str);
                let not_run = Outcome::not_run(not_run(program, &error).to_string());
                tokio::spawn(async move {
                    // Nobody may be waiting any more.
                    let _ = sender.send(not_run);
                })
            }
        };
        Self { outcome, keeper }
    }

    /// What came of it; known when its time is over at the latest. To be asked for once.
    pub async fn outcome(&mut self) -> Outcome {
        let outcome = (&mut self.outcome).await;
        outcome.unwrap_or_else(|_| Outcome::not_run("nobody follows it any more".into()))
    }

    /// Waits until it is gone and reaped. One that even SIGKILL doesn't end, for it hangs in the
    /// kernel, keeps this waiting: whoever runs the next one without must not mind two at once.
    pub async fn gone(&mut self) {
        // An error could only say that the task is gone too.
        let _ = (&mut self.keeper).await;
    }
}

/// A child that isn't reaped yet, so its pid, which is its process group's too, can't have passed
/// to another process.
struct Child {
    pid: Pid,
    is_reaped: bool,
    exits: SignalStream,
    input: Option<(Sender, Vec<u8>)>,
    output: Receiver,
}

impl Child {
    fn spawn(command: &[String], variables: &[Variable], input: Vec<u8>) -> io::Result<Self> {
        // Listening begins before the child can end.
        let exits = signal(SignalKind::child())?;
        let (output, output_of_child) = pipe2(OFlag::O_CLOEXEC)?;
        let output = Receiver::from_owned_fd(output)?;
        let (input, input_of_child) = if input.is_empty() {
            (None, None)
        } else {
            let (of_child, ours): (OwnedFd, OwnedFd) = pipe2(OFlag::O_CLOEXEC)?;
            let ours = Sender::from_owned_fd(ours)?;
            (Some((ours, input)), Some(of_child))
        };
        let stdio = Stdio {
            input: input_of_child.as_ref().map(AsFd::as_fd),
            output: Some(output_of_child.as_fd()),
        };
        let pid = spawn(command, variables, stdio)?;
        Ok(Self {
            pid,
            is_reaped: false,
            exits,
            input,
            output,
        })
    }

    /// Follows it to its end, which comes at `deadline` or when nobody waits for the outcome any
    /// more, and reaps it.
    async fn keep(mut self, deadline: Instant, mut sender: oneshot::Sender<Outcome>) {
        let mut output = Vec::new();
        let input = self.input.take();
        let is_over = tokio::select! {
            biased;
            () = ended(self.pid, &mut self.exits) => false,
            () = sleep_until(deadline) => true,
            () = sender.closed() => true,
            never = exchange(input, &self.output, &mut output) => match never {},
        };
        self.kill_group();
        self.read_rest(&mut output);
        if is_over {
            let end = End::TimedOut;
            let _ = sender.send(Outcome { end, output });
            ended(self.pid, &mut self.exits).await;
            self.reap();
        } else {
            let end = self.reap();
            let _ = sender.send(Outcome { end, output });
        }
    }

    /// Kills whatever is in its process group, itself included.
    fn kill_group(&self) {
        // It can only fail because nobody is left, which is what was wanted.
        let _ = killpg(self.pid, Signal::SIGKILL);
    }

    /// Takes what is still in the pipe, without waiting for more. The runtime isn't asked: it may
    /// not have heard yet that there is something.
    fn read_rest(&self, output: &mut Vec<u8>) {
        let mut buffer = [0; 512];
        while output.len() < OUTPUT_MAX {
            match read(&self.output, &mut buffer) {
                Ok(length) if length > 0 => keep_head(output, &buffer[..length]),
                _ => break,
            }
        }
    }

    /// Reaps it, which has ended.
    fn reap(&mut self) -> End {
        self.is_reaped = true;
        match waitpid(self.pid, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(_, code)) => End::Exited(ExitStatus::Code(code)),
            Ok(WaitStatus::Signaled(_, signal, _)) => {
                End::Exited(ExitStatus::Signal(signal as i32))
            }
            Ok(other) => End::NotRun(format!("can't tell how it ended: {other:?}")),
            Err(errno) => End::NotRun(format!("can't tell how it ended: {errno}")),
        }
    }
}

/// The service may end before its children have: none is left behind.
impl Drop for Child {
    fn drop(&mut self) {
        if !self.is_reaped {
            self.kill_group();
        }
    }
}

/// Waits until the child has ended, and leaves it unreaped.
async fn ended(pid: Pid, exits: &mut SignalStream) {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    loop {
        match waitid(Id::Pid(pid), flags) {
            Ok(WaitStatus::StillAlive) | Err(Errno::EINTR) => {}
            // An error says that there is nothing to wait for.
            Ok(_) | Err(_) => return,
        }
        exits.recv().await;
    }
}

/// Gives the child its input and takes its output for as long as it is followed.
async fn exchange(
    input: Option<(Sender, Vec<u8>)>,
    output: &Receiver,
    head: &mut Vec<u8>,
) -> Infallible {
    let give = async {
        if let Some((mut pipe, input)) = input {
            // One that doesn't read, or has closed the pipe, doesn't want to know.
            let _ = pipe.write_all(&input).await;
        }
    };
    let take = async {
        let mut buffer = [0; 4096];
        let mut thrown_away = 0;
        while output.readable().await.is_ok() {
            match output.try_read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => {
                    keep_head(head, &buffer[..length]);
                    thrown_away += usize::from(head.len() == OUTPUT_MAX);
                    if thrown_away == FLOOD_READINGS {
                        thrown_away = 0;
                        sleep(FLOOD_PAUSE).await;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => break,
            }
        }
    };
    tokio::join!(give, take);
    pending().await
}

/// Appends to `head` what there is room for.
fn keep_head(head: &mut Vec<u8>, more: &[u8]) {
    let room = OUTPUT_MAX - head.len();
    head.extend_from_slice(&more[..more.len().min(room)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Vec<String> {
        ["/bin/sh", "-c", script].map(String::from).to_vec()
    }

    const LONG: Duration = Duration::from_secs(60);

    async fn run(script: &str, input: Vec<u8>, timeout: Duration) -> Outcome {
        let mut subprocess = Subprocess::run(&shell(script), &[], input, timeout);
        let outcome = subprocess.outcome().await;
        subprocess.gone().await;
        outcome
    }

    fn exited(code: i32, output: &str) -> Outcome {
        Outcome {
            end: End::Exited(ExitStatus::Code(code)),
            output: output.into(),
        }
    }

    /// Waits until `attempt` gives a result.
    async fn eventually<T>(mut attempt: impl FnMut() -> Option<T>) -> T {
        let attempts = async {
            loop {
                if let Some(result) = attempt() {
                    return result;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(LONG, attempts).await.unwrap()
    }

    /// Waits until the process whose pid is `output` is gone, or a zombie that is no child of
    /// ours.
    async fn until_gone(output: Vec<u8>) {
        let pid = String::from_utf8(output).unwrap();
        let stat = format!("/proc/{}/stat", pid.trim());
        eventually(|| {
            let stat = std::fs::read_to_string(&stat).unwrap_or_default();
            (stat.is_empty() || stat.contains(") Z ")).then_some(())
        })
        .await;
    }

    #[tokio::test]
    async fn its_status_and_its_output_are_told() {
        let outcome = run("cat; echo bad >&2; exit 3", b"in".to_vec(), LONG).await;
        assert_eq!(outcome, exited(3, "inbad\n"));
        let killed = run("kill -9 $$", Vec::new(), LONG).await;
        assert_eq!(killed.end, End::Exited(ExitStatus::Signal(9)));
    }

    #[tokio::test]
    async fn it_gets_its_variables_and_leads_a_session() {
        let command = shell("echo $MFE_EVENT; cut -d' ' -f1,5,6 /proc/$$/stat");
        let variables = [("MFE_EVENT", Some("up".into()))];
        let mut subprocess = Subprocess::run(&command, &variables, Vec::new(), LONG);
        let output = String::from_utf8(subprocess.outcome().await.output).unwrap();
        let words: Vec<_> = output.split_whitespace().collect();
        assert_eq!(words[0], "up");
        assert_eq!((words[1], words[2]), (words[2], words[3]), "{output}");
    }

    #[tokio::test]
    async fn input_that_nobody_reads_is_no_failure() {
        let much = vec![b'x'; 1 << 20];
        assert_eq!(run("exit 0", much.clone(), LONG).await, exited(0, ""));
        assert_eq!(run("exec 0<&-", much, LONG).await, exited(0, ""));
    }

    #[tokio::test]
    async fn the_last_words_are_heard() {
        for _ in 0..50 {
            assert_eq!(
                run("echo last", Vec::new(), LONG).await,
                exited(0, "last\n")
            );
        }
    }

    #[tokio::test]
    async fn of_much_output_the_head_is_kept() {
        let outcome = run("head -c 1000000 /dev/zero", Vec::new(), LONG).await;
        assert_eq!(outcome.end, End::Exited(ExitStatus::Code(0)));
        assert_eq!(outcome.output, vec![0; OUTPUT_MAX]);
    }

    #[tokio::test]
    async fn whoever_has_much_to_say_does_not_wait_for_it_to_be_read() {
        let limit = Duration::from_secs(5);
        let outcome = run("head -c 30000000 /dev/zero", Vec::new(), limit).await;
        assert_eq!(outcome.end, End::Exited(ExitStatus::Code(0)));
    }

    #[tokio::test]
    async fn at_its_time_the_whole_group_is_killed() {
        let script = "trap '' TERM; sleep 1000 & echo $!; wait; wait";
        let outcome = run(script, Vec::new(), Duration::from_millis(200)).await;
        assert_eq!(outcome.end, End::TimedOut);
        until_gone(outcome.output).await;
    }

    #[tokio::test]
    async fn what_it_leaves_behind_is_killed_and_not_waited_for() {
        let outcome = run("sleep 1000 & echo $!", Vec::new(), LONG).await;
        assert_eq!(outcome.end, End::Exited(ExitStatus::Code(0)));
        until_gone(outcome.output).await;
    }

    #[tokio::test]
    async fn dropped_it_is_killed_and_reaped() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("pid");
        let script = format!("echo $$ > '{}'; sleep 1000", file.display());
        let subprocess = Subprocess::run(&shell(&script), &[], Vec::new(), LONG);
        let pid = eventually(|| {
            let pid = std::fs::read_to_string(&file).ok()?;
            (!pid.trim().is_empty()).then(|| pid.trim().to_owned())
        })
        .await;
        drop(subprocess);
        // A zombie would still have an entry.
        let entry = std::path::Path::new("/proc").join(&pid);
        eventually(|| (!entry.exists()).then_some(())).await;
    }

    #[tokio::test]
    async fn what_cannot_be_run_is_said() {
        for program in ["/nonexistent/\u{1b}hook", "/etc/passwd", "/a\0b"] {
            let mut subprocess = Subprocess::run(&[program.into()], &[], Vec::new(), LONG);
            let End::NotRun(why) = subprocess.outcome().await.end else {
                panic!("{program} was run");
            };
            assert!(why.starts_with(&printable(program)), "{why}");
        }
    }

    #[test]
    fn the_first_line_is_fit_for_a_terminal() {
        let first = |output: &str| exited(1, output).first_line();
        assert_eq!(first(""), None);
        assert_eq!(first("\n \n"), None);
        assert_eq!(first("\n a\u{1b}[2J \nb").unwrap(), "a\\u{1b}[2J");
        let long = first(&"é".repeat(300)).unwrap();
        assert_eq!(long.chars().count(), LINE_MAX + 1);
    }
}
