//! The status that the service publishes and others read: its form, its file, its reading; and how the
//! service is asked for something. Where a process stands is decided in [`crate::machine`].

pub mod client;
pub mod control;
pub mod directories;
mod headline;
pub mod service;

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use mfe_common::escape::{cut, cut_bytes, printable};
use mfe_common::timestamp::Timestamp;
use serde::{Deserialize, Serialize};

use crate::sys::small_file;
use crate::text::phrase::{Phrase, phrase, pids};

/// The file's name in the runtime directory.
pub const FILE_NAME: &str = "status.json";

/// More of what is wrong isn't in the line for systemd, in characters.
const DETAIL_MAX: usize = 300;

/// The line isn't longer, in bytes: systemd throws away a whole message of more than 4 KiB (sd_notify(3)).
const LINE_MAX: usize = 3500;

/// Everything the service publishes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The version of this form: 1.
    pub version: u32,
    /// The service's pid.
    pub pid: u32,
    /// When its process began, in clock ticks since the boot (proc(5), /proc/PID/stat field 22);
    /// earlier versions don't tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<u64>,
    /// When the service started.
    pub started_at: Timestamp,
    /// When this was published: the last time that anything in it has changed.
    pub updated_at: Timestamp,
    /// The same in microseconds by `CLOCK_BOOTTIME` (clock_gettime(2)), which nobody sets; earlier versions
    /// don't tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_us: Option<u64>,
    /// The service's latest event, whether it has reached the journal or not; `None` from earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest_message: Option<LatestMessage>,
    /// Why the configuration in force isn't the one in the file, if that is bad.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_fallback: Option<ConfigFallback>,
    /// Each process, in the order of the configuration.
    pub processes: Vec<Arc<ProcessStatus>>,
}

/// The number of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LatestMessage {
    /// Its `MFE_RUN`.
    pub run: String,
    /// Its `MFE_SEQ`.
    pub seq: u64,
}

/// That the configuration can't be used, and what the service goes by instead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigFallback {
    /// In English.
    pub detail: String,
    /// The same sentence by sentence, for whoever tells it in another language.
    pub wording: Vec<Phrase>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// Where one process stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessStatus {
    /// Its key in the configuration.
    pub key: String,
    /// Its name in /proc.
    pub name: String,
    /// Where it stands.
    pub state: State,
    /// Its living processes, the first ten.
    pub pids: Vec<i32>,
    /// How many more there are.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more_pids: usize,
    /// Those that are second copies, as was told, the first ten.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub duplicates: Vec<i32>,
    /// Since when it is in this state; since when it has been up or gone, if it is that, whatever was tried
    /// meanwhile.
    pub since: Timestamp,
    /// How often it was brought back since the machine was booted.
    pub restarts: u64,
    /// What it waits for in `waiting`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<WaitingFor>,
    /// Whether it belongs on the screen, and why, if that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<Phrase>,
    /// When the next start comes, if it has to wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_start: Option<Timestamp>,
    /// Until when it is left alone, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_until: Option<Timestamp>,
    /// The last time it was brought back.
    pub last_restart: Option<LastRestart>,
    /// What a person should know about the state, if anything, in English.
    pub detail: Option<String>,
    /// The same sentence by sentence, for whoever tells it in another language.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wording: Vec<Phrase>,
}

/// What a process waits for that belongs on the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WaitingFor {
    /// That somebody logs in: all is as it should be.
    Login,
    /// That it can be told whose the display is.
    Display,
    /// That the session itself starts it.
    Autostart,
    /// That the session is ready for it, or goes on.
    Session,
    /// That one which runs as root has ended.
    Outside,
}

/// Where a process stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It runs.
    Up,
    /// It is being started.
    Starting,
    /// It is gone, and the last start failed.
    Down,
    /// It belongs on the screen, and waits for somebody there or for his session.
    Waiting,
    /// It keeps crashing: the next start waits.
    Backoff,
    /// It lives, but is unhealthy.
    Unhealthy,
    /// It is to end, and can't be killed.
    Stuck,
    /// What runs is nearly the program: it isn't ended, and nothing is started beside it.
    Misfit,
    /// It is left alone for a while, whether it runs or not.
    Paused,
    /// It couldn't be looked at.
    Unknown,
}

impl State {
    /// Each of them.
    pub const ALL: [Self; 10] = [
        Self::Up,
        Self::Starting,
        Self::Down,
        Self::Waiting,
        Self::Backoff,
        Self::Unhealthy,
        Self::Stuck,
        Self::Misfit,
        Self::Paused,
        Self::Unknown,
    ];
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Up => "up",
            Self::Starting => "starting",
            Self::Down => "down",
            Self::Waiting => "waiting",
            Self::Backoff => "backoff",
            Self::Unhealthy => "unhealthy",
            Self::Stuck => "stuck",
            Self::Misfit => "misfit",
            Self::Paused => "paused",
            Self::Unknown => "unknown",
        })
    }
}

/// The last time a process was brought back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRestart {
    /// When it was back.
    pub at: Timestamp,
    /// Why it had to be brought back.
    pub cause: String,
    /// The signal that ended it, as signal(7) names it; not told of SIGKILL, for which the cause is enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// How long it was gone, in milliseconds.
    pub outage_ms: u64,
}

impl ProcessStatus {
    /// What a person should know about the state, sentence by sentence, in the user's language and fit for a
    /// terminal; a version that tells it in English only is taken at its word.
    #[must_use]
    pub fn sentences(&self) -> Vec<String> {
        if self.wording.is_empty() {
            return self.detail.as_deref().map(printable).into_iter().collect();
        }
        let sentences = self.wording.iter().map(Phrase::translated);
        sentences.map(|sentence| printable(&sentence)).collect()
    }

    /// Whether it runs, or can't yet, since nobody is logged in at the screen on which it belongs.
    #[must_use]
    pub fn is_well(&self) -> bool {
        match self.state {
            State::Up => true,
            State::Waiting => self.waiting_for == Some(WaitingFor::Login),
            _ => false,
        }
    }
}

impl Status {
    /// Puts this in place of what was published in `directory` before; a reader sees the one or
    /// the other, whole.
    ///
    /// # Errors
    /// When it can't be written; what was published before is still there.
    pub fn write(&self, directory: &Path) -> io::Result<()> {
        let mut text = serde_json::to_vec(self)?;
        text.push(b'\n');
        small_file::replace(directory, FILE_NAME, &text)
    }

    /// Whether there is anything in its place in `directory`.
    #[must_use]
    pub fn is_in(directory: &Path) -> bool {
        std::fs::symlink_metadata(directory.join(FILE_NAME)).is_ok()
    }

    /// Reads what was last published in `directory`; `None` when nothing ever was.
    ///
    /// # Errors
    /// When there is something that can't be read or isn't a status.
    pub fn read(directory: &Path) -> Result<Option<Self>, Phrase> {
        let Some(text) = small_file::read(directory, FILE_NAME)? else {
            return Ok(None);
        };
        serde_json::from_slice(&text).map(Some).map_err(|error| {
            let path = directory.join(FILE_NAME);
            phrase!(
                "%{file} isn't a status of this service: %{error}",
                file = path.display().to_string(),
                error = error.to_string()
            )
        })
    }

    /// Whether every process runs that can, in one copy, and the configuration is the one in the file.
    #[must_use]
    pub fn is_all_well(&self) -> bool {
        let mut processes = self.processes.iter();
        self.config_fallback.is_none()
            && processes.all(|process| process.is_well() && process.duplicates.is_empty())
    }

    /// The line for `systemctl status` at this time: first what matters, then each process.
    #[must_use]
    pub fn line(&self, now: SystemTime) -> String {
        let headline = headline::headline(self, now);
        let fallback = self.config_fallback.iter();
        let fallback = fallback.map(|fallback| detail(&fallback.detail));
        let parts = self.processes.iter().map(ToString::to_string);
        let parts = std::iter::once(headline).chain(parts).chain(fallback);
        let line = parts.collect::<Vec<_>>().join("; ");
        cut_bytes(line, LINE_MAX)
    }
}

/// What is wrong, at a length that leaves room for others.
fn detail(detail: &str) -> String {
    cut(&printable(detail), DETAIL_MAX)
}

/// One process in a few words.
impl fmt::Display for ProcessStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", printable(&self.name))?;
        // The file may have been written by anybody: a line end would begin another assignment to
        // systemd.
        let detail = self.detail.as_deref().map(detail);
        match (&self.state, &detail) {
            (State::Up, _) => {
                write!(f, "up (pid {})", pids(&self.pids, self.more_pids))
            }
            (state, Some(detail)) => write!(f, "{state}: {detail}"),
            (state, None) => write!(f, "{state}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(super) fn process(name: &str, state: State, detail: Option<String>) -> ProcessStatus {
        ProcessStatus {
            key: "key".into(),
            name: name.into(),
            state,
            pids: vec![5],
            more_pids: 0,
            duplicates: Vec::new(),
            since: SystemTime::now().into(),
            restarts: 0,
            waiting_for: None,
            session: None,
            next_start: None,
            paused_until: None,
            last_restart: None,
            detail,
            wording: Vec::new(),
        }
    }

    pub(super) fn status(processes: Vec<ProcessStatus>) -> Status {
        Status {
            version: 1,
            pid: 1,
            start_time: None,
            started_at: SystemTime::now().into(),
            updated_at: SystemTime::now().into(),
            updated_us: None,
            latest_message: None,
            config_fallback: None,
            processes: processes.into_iter().map(Arc::new).collect(),
        }
    }

    #[test]
    fn of_five_thousand_pids_ten_are_in_the_line() {
        let mut many = process("Monitor", State::Up, None);
        many.pids = (10_001..=15_000).collect();
        let now = SystemTime::now();
        let line = status(vec![many.clone()]).line(now);
        let begin = "ALL UP; Monitor up (pid 10001, 10002, ";
        assert!(line.starts_with(begin), "{line}");
        assert!(line.ends_with(", 10010 and 4990 more)"), "{line}");
        many.pids.truncate(10);
        many.more_pids = 4990;
        assert_eq!(status(vec![many]).line(now), line);
    }

    #[test]
    fn a_second_copy_is_not_all_well() {
        let mut process = process("Monitor", State::Up, None);
        assert!(status(vec![process.clone()]).is_all_well());
        process.duplicates.push(6);
        assert!(!status(vec![process]).is_all_well());
    }

    proptest! {
        /// systemd throws away what doesn't fit into 4 KiB.
        #[test]
        fn the_line_always_fits(
            processes in 0..200_usize,
            name in "\\PC{1,40}",
            detail in proptest::option::of("\\PC{0,2000}"),
            fallback in proptest::option::of("\\PC{0,2000}"),
        ) {
            let one = process(&name, State::Down, detail);
            let mut status = status(vec![one; processes]);
            status.config_fallback = fallback.map(|detail| ConfigFallback {
                detail,
                wording: Vec::new(),
            });
            prop_assert!(status.line(SystemTime::now()).len() <= LINE_MAX);
        }
    }
}
