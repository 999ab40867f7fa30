//! Checks, at the pace that the configuration gives each of them, whether a process that runs is
//! well; what to do about one that isn't is decided in [`crate::machine`].
//!
//! Each check is a task of its own, so that one that is slow holds up neither the others nor the
//! supervision, and none runs beside itself. What decides is pure: `verdict` for all of them, and a
//! `judge` in each kind's module, whose `probe` is the thin part that touches the world.

mod age;
mod command;
mod file;
mod tcp;
mod usage;
mod verdict;

use std::fmt::Display;
use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mfe_common::duration::duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval_at};

use crate::config::{ByteSize, CheckAction, CheckKind, CheckSettings, TcpAddress, TimesOfDay};
use crate::proc::ProcessId;
use crate::text::phrase::{Phrase, phrase};
use file::Looks;
use verdict::{Finding, Streak};

/// What one check has to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The check's name.
    pub check: String,
    /// What is to come of its failure.
    pub action: CheckAction,
    /// How it went.
    pub outcome: Outcome,
}

/// How a check went, told when that changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// As often in a row as its settings ask for it found that the process is unhealthy: how, in words
    /// for a person.
    Failed(Phrase),
    /// It couldn't be made, and why. That says nothing about the process.
    Unknown(String),
    /// It found that the process is healthy, after it had told something else.
    Passed,
}

/// The checks of one process. Dropping them ends them, and whatever they run.
#[derive(Debug)]
pub struct Checks {
    key: Arc<str>,
    settings: Vec<CheckSettings>,
    subject: Vec<ProcessId>,
    running: Option<Running>,
    looks: Looks,
}

#[derive(Debug)]
struct Running {
    /// Held, for dropping it ends the tasks.
    _tasks: JoinSet<()>,
    verdicts: mpsc::Receiver<Verdict>,
}

impl Checks {
    /// No checks yet, of the process of this key.
    #[must_use]
    pub fn new(key: &str) -> Self {
        Self {
            key: key.into(),
            settings: Vec::new(),
            subject: Vec::new(),
            running: None,
            looks: Looks::default(),
        }
    }

    /// Has `subject` checked as `settings` say, from `begin` on: the processes whose use is added up,
    /// of which the supervision gives one, the program's first.
    ///
    /// If either has changed, all begins again, and what was told before is void; else nothing
    /// happens. Must be called in the runtime. Returns whether it begins again.
    pub fn set(
        &mut self,
        settings: &[CheckSettings],
        subject: &[ProcessId],
        begin: Instant,
    ) -> bool {
        let is_same_subject = subject.len() == self.subject.len()
            && subject.iter().all(|id| self.subject.contains(id));
        let is_same = is_same_subject && settings == self.settings;
        if is_same && self.running.is_some() {
            return false;
        }
        let was_running = self.running.is_some();
        self.clear();
        if settings.is_empty() || subject.is_empty() {
            return was_running;
        }
        self.settings.extend_from_slice(settings);
        self.subject.extend_from_slice(subject);
        self.running = Some(self.begin(begin));
        true
    }

    /// Ends all checks and forgets what they found.
    pub fn clear(&mut self) {
        self.running = None;
        self.settings.clear();
        self.subject.clear();
    }

    /// Waits for what a check has to tell, for ever if there is nothing. May be dropped and called
    /// again; nothing is lost.
    pub async fn changed(&mut self) -> Verdict {
        if let Some(running) = &mut self.running {
            if let Some(verdict) = running.verdicts.recv().await {
                return verdict;
            }
        }
        pending().await
    }

    fn begin(&mut self, begin: Instant) -> Running {
        self.looks.forget_unused();
        let (sender, verdicts) = mpsc::channel(self.settings.len());
        let mut tasks = JoinSet::new();
        for settings in &self.settings {
            let check = Check {
                name: settings.name.clone(),
                action: settings.action,
                timeout: settings.timeout,
                subject: self.subject.clone(),
                probe: Probe::new(&settings.kind, begin, &self.key, &mut self.looks),
                streak: Streak::new(settings.failures),
                verdicts: sender.clone(),
            };
            tasks.spawn(check.run(begin, settings.every));
        }
        Running {
            _tasks: tasks,
            verdicts,
        }
    }
}

/// One check and what it has found so far.
#[derive(Debug)]
struct Check {
    name: String,
    action: CheckAction,
    timeout: Duration,
    subject: Vec<ProcessId>,
    probe: Probe,
    streak: Streak,
    verdicts: mpsc::Sender<Verdict>,
}

impl Check {
    async fn run(mut self, begin: Instant, every: Duration) {
        let mut pace = interval_at(begin.into(), every);
        // One that took longer than its pace is made again when it would be anyway.
        pace.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            pace.tick().await;
            let finding = self.probe.probe(&self.subject, self.timeout).await;
            if let Some(outcome) = self.streak.add(finding) {
                let verdict = Verdict {
                    check: self.name.clone(),
                    action: self.action,
                    outcome,
                };
                if self.verdicts.send(verdict).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// What a check does each time, and what it remembers from one time to the next.
#[derive(Debug)]
enum Probe {
    Tcp(TcpAddress),
    File(file::Probe),
    Memory(ByteSize),
    Cpu(usage::Cpu),
    Age {
        max: Duration,
        between: Option<TimesOfDay>,
    },
    Command(command::Probe),
}

impl Probe {
    fn new(kind: &CheckKind, begin: Instant, key: &Arc<str>, looks: &mut Looks) -> Self {
        match kind {
            CheckKind::Tcp { address } => Self::Tcp(*address),
            CheckKind::File { path, max_age } => {
                Self::File(file::Probe::new(path, *max_age, begin, looks.at(path)))
            }
            CheckKind::Memory { max } => Self::Memory(*max),
            CheckKind::Cpu { max, over } => Self::Cpu(usage::Cpu::new(*max, *over)),
            CheckKind::Age { max, between } => Self::Age {
                max: *max,
                between: *between,
            },
            CheckKind::Command { command } => {
                Self::Command(command::Probe::new(key.clone(), command))
            }
        }
    }

    /// Takes no longer than `limit`. Looking into /proc or at the clock waits for nobody.
    async fn probe(&mut self, subject: &[ProcessId], limit: Duration) -> Finding {
        match self {
            Self::Tcp(address) => tcp::probe(*address, subject, limit).await,
            Self::File(file) => file.probe(limit).await,
            Self::Memory(max) => usage::memory(subject, *max),
            Self::Cpu(cpu) => cpu.probe(subject),
            Self::Age { max, between } => age::probe(subject, *max, *between),
            Self::Command(command) => command.probe(subject, limit).await,
        }
    }
}

/// The finding that something took longer than it may.
fn no_answer(what: &impl Display, limit: Duration) -> Phrase {
    phrase!(
        "%{what} didn't answer within %{time}",
        what = what.to_string(),
        time = in_words(limit)
    )
}

/// A duration as a person wants to read it, long ones without fractions.
fn in_words(time: Duration) -> String {
    let time = if time >= Duration::from_secs(10) {
        Duration::from_secs(time.as_secs())
    } else {
        time
    };
    duration(time)
}
