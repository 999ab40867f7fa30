//! What the task of a process tells the service: [`super::task`] sends it, [`crate::daemon`] keeps the last
//! of each task's and publishes it.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use mfe_common::timestamp::Timestamp;
use tokio::sync::mpsc;

use crate::config::ProcessSettings;
use crate::machine::Memory;
use crate::status::{LastRestart, ProcessStatus, State};
use crate::text::phrase::phrase;

/// Where a process stands, and what the service keeps of it.
#[derive(Debug, Clone)]
pub struct Standing {
    /// As it is published.
    pub status: Arc<ProcessStatus>,
    /// What makes the process, as [`crate::proc::Target::rules`] puts it; what an earlier run knew until the first look.
    pub rules: String,
    /// What the next run of the service has to know.
    pub memory: Arc<Memory>,
    /// When the process was brought back in the last 24 hours, the latest hundred.
    pub recent_restarts: Vec<Timestamp>,
}

impl Standing {
    /// That of a process that hasn't been looked at, with what an earlier run of the service has left to know.
    #[must_use]
    pub fn unknown(process: &ProcessSettings, remembered: Option<Remembered>) -> Self {
        let (rules, memory, last_restart, recent_restarts) = remembered
            .map(|remembered| {
                let Remembered {
                    rules,
                    memory,
                    last_restart,
                    recent_restarts,
                    ..
                } = remembered;
                (rules, memory, last_restart, recent_restarts)
            })
            .unwrap_or_default();
        let not_looked_at = phrase!("not looked at yet");
        let status = ProcessStatus {
            key: process.key.clone(),
            name: process.name().as_str().to_owned(),
            state: State::Unknown,
            pids: Vec::new(),
            more_pids: 0,
            duplicates: Vec::new(),
            since: SystemTime::now().into(),
            restarts: memory.restarts,
            waiting_for: None,
            session: None,
            next_start: None,
            paused_until: None,
            last_restart,
            detail: Some(not_looked_at.to_string()),
            wording: vec![not_looked_at],
        };
        Self {
            status: Arc::new(status),
            rules,
            memory: Arc::new(memory),
            recent_restarts,
        }
    }

    /// Whether the program is up, paused or not, and isn't being ended.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.memory.up_since.is_some() && !self.status.pids.is_empty()
    }
}

/// What is known of a process beyond the service's end; [`crate::daemon`] keeps it in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    /// Its key in the configuration.
    pub key: String,
    /// Its name in /proc.
    pub name: String,
    /// What made the process, as [`crate::proc::Target::rules`] puts it; empty if that isn't known.
    pub rules: String,
    /// What its machine has to know.
    pub memory: Memory,
    /// The last time it was brought back.
    pub last_restart: Option<LastRestart>,
    /// When it was brought back in the last 24 hours, the latest hundred.
    pub recent_restarts: Vec<Timestamp>,
}

/// What a task has to tell after a turn of its own.
#[derive(Debug)]
pub struct Update {
    /// Which task's.
    pub task: u64,
    /// When its next look is due.
    pub next_look: Instant,
    /// Where its process stands, if that has changed.
    pub standing: Option<Box<Standing>>,
    /// Whether a cycle is finished or what people see has changed: the service publishes, and tells systemd that it is
    /// alive.
    pub is_news: bool,
}

/// A task's end of its channel to the service.
#[derive(Debug)]
pub struct Updates {
    /// The number by which the service knows the task.
    pub task: u64,
    /// All tasks' channel. A task waits while it is full: the service takes all that is in it at each turn.
    pub sender: mpsc::Sender<Update>,
}

impl Updates {
    /// Tells the service; see [`Update`].
    pub(super) async fn send(
        &self,
        next_look: Instant,
        standing: Option<Box<Standing>>,
        is_news: bool,
    ) {
        let update = Update {
            task: self.task,
            next_look,
            standing,
            is_news,
        };
        // Where nobody takes it, the service ends, and its tasks with it.
        let _ = self.sender.send(update).await;
    }
}
