//! Finds out what a program printed last before it failed, for the message of the failure. Nothing waits for
//! that but this message, and those after it, on their way to the journal ([`crate::logging::hold`]): the
//! program is long started again, and hooks and the status have been told.
//!
//! The journal is asked, for what systemd starts prints there; a program that the service starts itself
//! prints to nobody. It is asked about failures only, and of each kind of failure of a program by no more than
//! one journalctl at a time and no more than once in [`PAUSE`]: one that keeps crashing doesn't make it a
//! burden, nor does a disk that hangs.

use std::collections::HashMap;
use std::fs;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use mfe_common::escape::cut_bytes;
use tokio::task::JoinHandle;

use crate::config::ProcessSettings;
use crate::events::Kind;
use crate::logging::{Held, hold};
use crate::machine::{Cause, Change, StartFailure};
use crate::proc::ProcessId;
use crate::start::{is_in_unit, unit_name};
use crate::sys::host;
use crate::systemd::ask::last_lines_between;

/// No more lines are told.
const LINES: usize = 3;

/// More isn't told of a line, in bytes.
const LINE_MAX: usize = 200;

/// So long the journal has for what the program printed just before its end.
const SETTLE: Duration = Duration::from_millis(100);

/// How soon it may be asked again.
const PAUSE: Duration = Duration::from_secs(10);

/// Where systemd says which run of a unit is the present one, since 236 (`core/unit.c`).
const RUNS: &str = "/run/systemd/units";

/// What is known of the output of one program.
#[derive(Debug, Default)]
pub(super) struct Output {
    /// The first process, as long as no other one is up, and what is known of it if it is in a unit.
    first: Option<ProcessId>,
    life: Option<Life>,
    /// When the last start of this run of the service was made, by `CLOCK_MONOTONIC`, and the one that may
    /// have failed by what is handled now.
    started: Duration,
    attempt: Duration,
    /// When the program was last told to be down, by the same clock.
    ended: Duration,
    /// The latest question about each kind of failure.
    asked: HashMap<Kind, Asked>,
}

#[derive(Debug)]
struct Asked {
    at: Instant,
    /// As long as the journal doesn't have the message.
    held: Weak<Held>,
    task: JoinHandle<()>,
}

impl Asked {
    fn may_ask_again(&self) -> bool {
        self.at.elapsed() >= PAUSE && self.task.is_finished()
    }
}

/// A program that has been up.
#[derive(Debug)]
struct Life {
    id: ProcessId,
    /// The run of its unit: the next one's output is another program's.
    run: Option<String>,
    /// When it was born, by `CLOCK_MONOTONIC`.
    born: Duration,
    /// How much earlier its start script may have begun to print.
    start_timeout: Duration,
}

impl Output {
    /// A start is being made.
    pub(super) fn starts(&mut self) {
        self.started = host::monotonic();
    }

    /// What has happened until now is going to be told.
    pub(super) fn handles(&mut self) {
        self.attempt = self.started;
    }

    /// The first process of the program, while it is up.
    pub(super) fn is_up(&mut self, first: ProcessId, process: &ProcessSettings) {
        if self.first.replace(first) == Some(first) {
            return;
        }
        self.life = None;
        if !is_in_unit(process) {
            return;
        }
        let unit = unit_name(Path::new("/"), process);
        let age = first.age().unwrap_or_default();
        self.life = Some(Life {
            id: first,
            run: run_of(Path::new(RUNS), &unit),
            born: host::monotonic().saturating_sub(age),
            start_timeout: process.policy.start_timeout,
        });
    }

    /// Under what the message of a change is to be held, if it is to have what the program printed.
    pub(super) fn hold(&mut self, change: &Change, process: &ProcessSettings) -> Option<Arc<Held>> {
        let kind = match change {
            Change::Down { cause, .. } if has_failed(*cause) => {
                self.ended = host::monotonic();
                Kind::Down
            }
            Change::CrashLoop { .. } => Kind::CrashLoop,
            Change::StartFailed(failure) if has_run(failure) && !self.attempt.is_zero() => {
                Kind::StartFailed
            }
            _ => return None,
        };
        if !is_in_unit(process) {
            return None;
        }
        // It is the end that has just been told with which a crash loop begins.
        let of_end = self.asked.get(&Kind::Down);
        let of_end = of_end.filter(|_| kind == Kind::CrashLoop);
        if let Some(held) = of_end.and_then(|asked| asked.held.upgrade()) {
            return Some(held);
        }
        if !self.asked.get(&kind).is_none_or(Asked::may_ask_again) {
            return None;
        }
        let unit = unit_name(Path::new("/"), process);
        let (matches, times) = match (change, &self.life) {
            (Change::StartFailed(_), _) => (vec![of_unit(&unit)], self.attempt..Duration::MAX),
            (_, Some(life)) => life.output(&unit, process.name().comm(), self.ended),
            _ => return None,
        };
        let held = Arc::new(hold()?);
        let asked = Asked {
            at: Instant::now(),
            held: Arc::downgrade(&held),
            task: tokio::spawn(ask(held.clone(), matches, times)),
        };
        self.asked.insert(kind, asked);
        Some(held)
    }
}

impl Life {
    /// What journalctl is to look for, and of which time: what came from this run of the unit, and what the
    /// process itself has printed, whoever has started it (systemd.journal-fields(7)).
    fn output(&self, unit: &str, comm: &[u8], ended: Duration) -> (Vec<String>, Range<Duration>) {
        let comm = String::from_utf8_lossy(comm);
        let (of_unit, times) = match &self.run {
            Some(run) => {
                let since = self.born.saturating_sub(self.start_timeout);
                (
                    format!("_SYSTEMD_INVOCATION_ID={run}"),
                    since..Duration::MAX,
                )
            }
            // What is earlier or later may be another run's.
            None => (of_unit(unit), self.born..ended),
        };
        let pid = format!("_PID={}", self.id.pid);
        let matches = vec![of_unit, "+".to_owned(), pid, format!("_COMM={comm}")];
        (matches, times)
    }
}

/// Whether a program has ended without the service having ended it.
fn has_failed(cause: Cause) -> bool {
    matches!(
        cause,
        Cause::Gone | Cause::Exited(_) | Cause::Killed(_) | Cause::OutOfMemory
    )
}

/// Whether a start that has failed may have printed something.
fn has_run(failure: &StartFailure) -> bool {
    matches!(
        failure,
        StartFailure::Failed(_) | StartFailure::Unit(_) | StartFailure::TimedOut { .. }
    )
}

fn of_unit(unit: &str) -> String {
    format!("_SYSTEMD_UNIT={unit}")
}

/// The present run of a unit, or its last one.
fn run_of(runs: &Path, unit: &str) -> Option<String> {
    let link = fs::read_link(runs.join(format!("invocation:{unit}"))).ok()?;
    let run = link.to_str()?;
    let is_id = run.len() == 32 && run.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then(|| run.to_owned())
}

/// Asks the journal once it has had time to settle, and hands on what it says; is over when nothing of the
/// question is left.
async fn ask(held: Arc<Held>, matches: Vec<String>, times: Range<Duration>) {
    tokio::time::sleep(SETTLE).await;
    let within = Held::MAX.saturating_sub(SETTLE);
    let (lines, gone) = last_lines_between(&matches, LINES, times, within).await;
    let lines = lines.into_iter().map(|line| cut_bytes(line, LINE_MAX));
    held.complete(&lines.collect::<Vec<_>>());
    drop(held);
    gone.await;
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const RUN: &str = "0123456789abcdef0123456789abcdef";

    fn life(run: Option<&str>) -> Life {
        Life {
            id: ProcessId {
                pid: 20,
                start_time: 7,
            },
            run: run.map(str::to_owned),
            born: Duration::from_secs(5),
            start_timeout: Duration::from_secs(2),
        }
    }

    #[test]
    fn the_output_is_that_of_one_life() {
        let ended = Duration::from_secs(9);
        let (matches, times) = life(Some(RUN)).output("mfe@a.service", b"Program", ended);
        let of_run = format!("_SYSTEMD_INVOCATION_ID={RUN}");
        assert_eq!(matches, [&of_run, "+", "_PID=20", "_COMM=Program"]);
        assert_eq!(times, Duration::from_secs(3)..Duration::MAX);
        // An old systemd doesn't tell its runs apart.
        let (matches, times) = life(None).output("mfe@a.service", b"Program", ended);
        let of_unit = "_SYSTEMD_UNIT=mfe@a.service";
        assert_eq!(matches, [of_unit, "+", "_PID=20", "_COMM=Program"]);
        assert_eq!(times, Duration::from_secs(5)..ended);
    }

    #[test]
    fn a_run_is_an_id_or_unknown() {
        let runs = tempfile::tempdir().unwrap();
        let link = |unit: &str, id: &str| {
            symlink(id, runs.path().join(format!("invocation:{unit}"))).unwrap();
        };
        link("a.service", RUN);
        link("b.service", &format!("{RUN}0"));
        link("c.service", &RUN.replace('0', "+"));
        assert_eq!(run_of(runs.path(), "a.service").as_deref(), Some(RUN));
        for unit in ["b.service", "c.service", "d.service"] {
            assert_eq!(run_of(runs.path(), unit), None, "{unit}");
        }
    }
}
