//! The events that the journal knows: their names, their ids, their words. It says what it is
//! told and keeps nothing.
//!
//! Every event carries `MFE_EVENT`, `MESSAGE_ID` and, where they apply, `MFE_PROCESS` (the key),
//! `MFE_PID`, `MFE_CAUSE` and `MFE_OUTAGE_MS` (`systemd.journal-fields(7)`).

use std::time::Duration;

use tracing::{error, info, warn};

use super::machine::Report;
use crate::config::ProcessSettings;
use crate::printable::list;

/// A kind of event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The service has begun.
    Startup,
    /// The service ends.
    Shutdown,
    /// A new configuration is in force.
    Reloaded,
    /// A new configuration was refused; the old one stays in force.
    ReloadFailed,
    /// The script that this service replaces is still started at boot.
    LegacyWatcher,
    /// Something about the service itself doesn't work, though supervision goes on.
    Degraded,
    /// What was degraded works again.
    Restored,
    /// A process runs.
    Up,
    /// A process runs that somebody else started.
    Adopted,
    /// A process is gone.
    Down,
    /// A process is being started.
    Starting,
    /// A process is back.
    Restarted,
    /// A process couldn't be started.
    StartFailed,
    /// Whether a process runs can't be told.
    Unknown,
}

impl Kind {
    /// Its name, the value of `MFE_EVENT`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.entry().0
    }

    /// Its `MESSAGE_ID` (`sd-id128(3)`), the same for ever.
    #[must_use]
    pub fn message_id(self) -> &'static str {
        self.entry().1
    }

    fn entry(self) -> (&'static str, &'static str) {
        match self {
            Self::Startup => ("startup", "614247e714bd4494ac390b56b48b16b6"),
            Self::Shutdown => ("shutdown", "5ee99d69543b4988a4d73642c9c62067"),
            Self::Reloaded => ("reloaded", "2f61a6f5d4bb414997a847bfeba531a2"),
            Self::ReloadFailed => ("reload_failed", "f6e24796b34a4f38837fddbdcdb962e0"),
            Self::LegacyWatcher => ("legacy_watcher", "a63ec9c81f564b378cc45138701db95a"),
            Self::Degraded => ("degraded", "b6c00e465f82428aa69a322a3107b33d"),
            Self::Restored => ("restored", "3e5215ff2c96468eac6a4f6cb8fe8fde"),
            Self::Up => ("up", "5db11d844e1a4cd693473ad33378d9d2"),
            Self::Adopted => ("adopted", "bb41da226d2c48a1a5708c22afac065f"),
            Self::Down => ("down", "916f5179aff047be88f666177ee0fb02"),
            Self::Starting => ("starting", "9f741005b2db4556b225b684aa43bcc4"),
            Self::Restarted => ("restarted", "1439a30c18f24f51a2de30e97d823636"),
            Self::StartFailed => ("start_failed", "244e294d88794f1cbfb59d96032ff91a"),
            Self::Unknown => ("unknown", "c0c6bbcfc3f84a25986a08fd5148fb2a"),
        }
    }
}

/// Says that something has happened to the service itself, with the fields that every event has.
macro_rules! say {
    ($level:ident, $kind:ident, $($message:tt)+) => {
        tracing::$level!(
            MFE_EVENT = $crate::supervision::Kind::$kind.name(),
            MESSAGE_ID = $crate::supervision::Kind::$kind.message_id(),
            $($message)+
        )
    };
}
pub(crate) use say;

/// One message about one process.
struct Message {
    kind: Kind,
    pid: Option<i32>,
    cause: Option<&'static str>,
    outage_ms: Option<u64>,
    text: String,
}

impl Message {
    fn new(kind: Kind, pid: Option<i32>, text: String) -> Self {
        Self {
            kind,
            pid,
            cause: None,
            outage_ms: None,
            text,
        }
    }
}

/// Says what has happened to a process. `start_program` is the pid of its start program, if one
/// has just been run.
pub fn record(process: &ProcessSettings, report: &Report, start_program: Option<i32>) {
    let message = message(process, report, start_program);
    // A level belongs to the place of the call, hence three of them.
    macro_rules! tell {
        ($level:ident) => {
            $level!(
                MFE_PROCESS = process.key,
                MFE_EVENT = message.kind.name(),
                MFE_PID = message.pid,
                MFE_CAUSE = message.cause,
                MFE_OUTAGE_MS = message.outage_ms,
                MESSAGE_ID = message.kind.message_id(),
                "{}",
                message.text
            )
        };
    }
    match message.kind {
        Kind::StartFailed => tell!(error),
        Kind::Down | Kind::Unknown => tell!(warn),
        _ => tell!(info),
    }
}

fn message(process: &ProcessSettings, report: &Report, start_program: Option<i32>) -> Message {
    let name = &process.name;
    match report {
        Report::Up { pid } => {
            let text = format!("{name} is running (pid {pid})");
            Message::new(Kind::Up, Some(*pid), text)
        }
        Report::Adopted { pids } => {
            let list = list(pids);
            let text = format!(
                "{name} is running (pid {list}), started by somebody else; watching over it"
            );
            Message::new(Kind::Adopted, pids.first().copied(), text)
        }
        Report::Down { pid, cause } => {
            let which = pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default();
            let text = format!("{name}{which} {cause}; no sale is possible until it is back");
            Message {
                cause: Some(cause.as_str()),
                ..Message::new(Kind::Down, *pid, text)
            }
        }
        Report::Starting => {
            let text = format!("{name} is being started with {}", process.start);
            Message::new(Kind::Starting, start_program, text)
        }
        Report::Restarted { pid, cause, outage } => {
            let outage_ms = u64::try_from(outage.as_millis()).unwrap_or(u64::MAX);
            let outage = humantime::format_duration(Duration::from_millis(outage_ms));
            let text = format!("{name} is back (pid {pid}) after an outage of {outage}");
            Message {
                cause: Some(cause.as_str()),
                outage_ms: Some(outage_ms),
                ..Message::new(Kind::Restarted, Some(*pid), text)
            }
        }
        Report::StartFailed(failure) => {
            let again = humantime::format_duration(process.interval);
            let text = format!(
                "{name} can't be started, no sale is possible: {failure}; \
                 trying again every {again}"
            );
            Message::new(Kind::StartFailed, start_program, text)
        }
        Report::Unknown(why) => {
            let text = format!(
                "whether {name} is running can't be told, so nothing is started: {why}; \
                 looking again"
            );
            Message::new(Kind::Unknown, None, text)
        }
    }
}
