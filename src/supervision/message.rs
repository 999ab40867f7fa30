//! The words for what happens to a process; what has happened is decided in [`super::machine`].

use std::time::Duration;

use super::machine::Report;
use crate::config::ProcessSettings;
use crate::event::{Kind, Message};
use crate::printable::list;

/// What has happened to a process, as a message. `start_program` is the pid of its start program, if
/// one has just been run.
pub(super) fn message(
    process: &ProcessSettings,
    report: &Report,
    start_program: Option<i32>,
) -> Message {
    let name = process.name();
    let new = |kind, pid, text: String| Message::of_process(&process.key, kind, pid, text);
    match report {
        Report::Up { pid } => {
            let text = format!("{name} is running (pid {pid})");
            new(Kind::Up, Some(*pid), text)
        }
        Report::Adopted { pids } => {
            let list = list(pids);
            let text = format!(
                "{name} is running (pid {list}), started by somebody else; watching over it"
            );
            new(Kind::Adopted, pids.first().copied(), text)
        }
        Report::Down { pid, cause } => {
            let which = pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default();
            let text = format!("{name}{which} {cause}; no sale is possible until it is back");
            Message {
                cause: Some(cause.as_str()),
                ..new(Kind::Down, *pid, text)
            }
        }
        Report::Starting => {
            let text = format!("{name} is being started with {}", process.start);
            new(Kind::Starting, start_program, text)
        }
        Report::Restarted { pid, cause, outage } => {
            let outage_ms = u64::try_from(outage.as_millis()).unwrap_or(u64::MAX);
            let outage = humantime::format_duration(Duration::from_millis(outage_ms));
            let text = format!("{name} is back (pid {pid}) after an outage of {outage}");
            Message {
                cause: Some(cause.as_str()),
                outage_ms: Some(outage_ms),
                ..new(Kind::Restarted, Some(*pid), text)
            }
        }
        Report::StartFailed(failure) => {
            let again = humantime::format_duration(process.interval);
            let text = format!(
                "{name} can't be started, no sale is possible: {failure}; \
                 trying again every {again}"
            );
            new(Kind::StartFailed, start_program, text)
        }
        Report::Unknown(why) => {
            let text = format!(
                "whether {name} is running can't be told, so nothing is started: {why}; \
                 looking again"
            );
            new(Kind::Unknown, None, text)
        }
    }
}
