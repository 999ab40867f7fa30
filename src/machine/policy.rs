//! The rules that a process's supervision keeps to; where they come from is the configuration's
//! business.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The times and numbers a process's supervision keeps to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// The time between two looks while nothing happens.
    pub interval: Duration,
    /// How long after its start a process may appear before the start has failed, and how long
    /// after it nobody asks how the process is.
    pub start_timeout: Duration,
    /// How long a process has to end by itself after SIGTERM before SIGKILL.
    pub stop_timeout: Duration,
    /// How long a process may be stopped (state T of proc(5)) before it counts as hung.
    pub stopped_timeout: Duration,
    /// How many restarts come at once.
    pub restart_burst: u32,
    /// How long the first restart after those waits; each further one waits twice as long. Zero:
    /// none waits.
    pub restart_delay: Duration,
    /// The longest wait before a restart.
    pub restart_delay_max: Duration,
    /// How long a process has to live for its restarts to be forgotten.
    pub stable_after: Duration,
    /// This many restarts within `crash_loop_window` are a crash loop.
    pub crash_loop_restarts: u32,
    /// See `crash_loop_restarts`.
    pub crash_loop_window: Duration,
    /// What becomes of a second copy.
    pub duplicates: Duplicates,
    /// How long after a session's begin its own autostart may take to bring the program up.
    pub autostart_timeout: Duration,
    /// Everything is decided and said, and nothing is done.
    pub dry_run: bool,
    /// Whether it is a systemd unit that is started, and stopped.
    pub is_unit: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(10),
            start_timeout: Duration::from_secs(30),
            stop_timeout: Duration::from_secs(10),
            stopped_timeout: Duration::from_secs(30),
            restart_burst: 3,
            restart_delay: Duration::from_secs(1),
            restart_delay_max: Duration::from_secs(60),
            stable_after: Duration::from_secs(60),
            crash_loop_restarts: 5,
            crash_loop_window: Duration::from_secs(300),
            duplicates: Duplicates::Warn,
            autostart_timeout: Duration::from_secs(120),
            dry_run: false,
            is_unit: false,
        }
    }
}

/// What becomes of a second copy of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Duplicates {
    /// It is told.
    Warn,
    /// The older one stays, the others are ended.
    StopNewest,
}
