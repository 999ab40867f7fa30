//! What has happened, event by event, from the journal and in the user's language; what it all comes to over
//! some time is summed up in [`mfe_history::history`].

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use mfe_common::duration::duration;
use mfe_common::escape::{cut, printable};
use mfe_common::locale;
use mfe_history::cause_in_words;
use mfe_history::entry::number;
use mfe_history::local_time::in_words;
use nix::sys::signal::Signal;
use rust_i18n::t;
use serde::Deserialize;
use serde_json::Value;
use tz::TimeZone;

use super::journal::{MESSAGES, TIMEOUT};
use super::not_readable;
use crate::events::Kind;
use crate::sys::event_loop::event_loop;
use crate::sys::interruption::Interruption;
use crate::systemd::journalctl::{Deadline, Journalctl};
use crate::text::phrase::Phrase;
use crate::text::wrap::{Paragraph, WIDTH};

/// More of what is told besides isn't shown, in characters.
const DETAIL_MAX: usize = 300;

/// How wide the time is: `26/11 23:45`.
const TIME_WIDTH: usize = 11;

/// Something that has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// When.
    pub at: SystemTime,
    /// What kind of thing.
    pub kind: Kind,
    /// The key of the process it is about, printable.
    pub process: Option<String>,
    /// The pid it is about.
    pub pid: Option<i32>,
    /// `MFE_CAUSE`, printable.
    pub cause: Option<String>,
    /// `MFE_SIGNAL`, printable.
    pub signal: Option<String>,
    /// How long the process was gone.
    pub outage: Option<Duration>,
    /// What its kind doesn't say; earlier versions told it in the message only.
    pub detail: Option<Phrase>,
    /// What the journal says of it, in English, printable.
    pub message: String,
    /// What the process had printed last before it failed, printable.
    pub output: Vec<String>,
}

/// The fields that matter, as journalctl writes them.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Fields {
    #[serde(rename = "__REALTIME_TIMESTAMP")]
    wall: Value,
    #[serde(rename = "MFE_EVENT")]
    event: Value,
    #[serde(rename = "MFE_PROCESS")]
    process: Value,
    #[serde(rename = "MFE_PID")]
    pid: Value,
    #[serde(rename = "MFE_CAUSE")]
    cause: Value,
    #[serde(rename = "MFE_SIGNAL")]
    signal: Value,
    #[serde(rename = "MFE_OUTAGE_MS")]
    outage_ms: Value,
    #[serde(rename = "MFE_DETAIL")]
    detail: Value,
    #[serde(rename = "MESSAGE")]
    message: Value,
    #[serde(rename = "MFE_OUTPUT")]
    output: Value,
}

/// An entry as journalctl writes it; `None` if it is no event.
#[must_use]
pub fn understand(line: &[u8]) -> Option<Told> {
    let fields: Fields = serde_json::from_slice(line).ok()?;
    let wall = Duration::from_micros(number(&fields.wall)?);
    Some(Told {
        at: SystemTime::UNIX_EPOCH.checked_add(wall)?,
        kind: Kind::from_name(fields.event.as_str()?)?,
        process: fields.process.as_str().map(printable),
        pid: number(&fields.pid),
        cause: fields.cause.as_str().map(printable),
        signal: fields.signal.as_str().map(printable),
        outage: number(&fields.outage_ms).map(Duration::from_millis),
        detail: fields
            .detail
            .as_str()
            .and_then(|detail| serde_json::from_str(detail).ok()),
        message: printable(fields.message.as_str().unwrap_or_default()),
        output: fields
            .output
            .as_str()
            .map(|output| output.lines().map(printable).collect())
            .unwrap_or_default(),
    })
}

/// Which events are wanted.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Of this process; of all and of the service itself without one.
    pub key: Option<&'a str>,
    /// How many, the latest.
    pub lines: u32,
    /// And those to come, for ever.
    pub follow: bool,
    /// How long that may take, unless they are followed; the usual time without it.
    pub within: Option<Duration>,
}

/// Hands on the events that the journal has, the oldest first, until `take` says that it wants no more.
///
/// # Errors
/// When the journal can't be read, or not in time; and what `take` says.
pub fn read(
    wanted: Wanted<'_>,
    mut take: impl FnMut(&Told) -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let runtime = event_loop()?;
    let mut arguments = vec![format!("--lines={}", wanted.lines)];
    if wanted.follow {
        arguments.push("--follow".to_owned());
    }
    arguments.extend(MESSAGES.map(str::to_owned));
    // One of the kinds that there are: the service says other things too.
    arguments.extend(Kind::ALL.map(|kind| format!("MFE_EVENT={}", kind.name())));
    arguments.extend(wanted.key.map(|key| format!("MFE_PROCESS={key}")));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let within = wanted.within.unwrap_or(TIMEOUT);
    runtime.block_on(async {
        let deadline = (!wanted.follow).then(|| Deadline::after(within));
        let interruption = wanted.follow.then(Interruption::hold).transpose()?;
        let mut journal = Journalctl::run(&arguments, deadline)?;
        let signal = loop {
            let line = tokio::select! {
                biased;
                signal = came(interruption.as_ref()) => break signal?,
                line = journal.line() => line,
            };
            let Some(line) = line.with_context(unreadable)? else {
                return journal.end().await.with_context(unreadable);
            };
            match understand(line) {
                Some(told) if !take(&told)? => return Ok(()),
                _ => {}
            }
        };
        journal.kill().await;
        interruption.map_or(Ok(()), |held| held.let_through(signal))?;
        Ok(())
    })
}

async fn came(interruption: Option<&Interruption>) -> io::Result<Signal> {
    match interruption {
        Some(interruption) => interruption.came().await,
        None => std::future::pending().await,
    }
}

/// A line for a person. `names` are those of the programs, by key.
#[must_use]
pub fn line(
    told: &Told,
    names: &BTreeMap<String, String>,
    now: SystemTime,
    zone: &TimeZone,
) -> String {
    time_of(told, now, zone) + &sentence(told, names)
}

/// The same in lines that fit a terminal.
#[must_use]
pub fn lines(
    told: &Told,
    names: &BTreeMap<String, String>,
    now: SystemTime,
    zone: &TimeZone,
    indent: &str,
) -> String {
    let time = format!("{indent}{}", time_of(told, now, zone));
    Paragraph::beside(&time, &sentence(told, names)).to_string()
}

/// What the process had printed last before it failed, in lines that fit a terminal; to follow [`lines`].
#[must_use]
pub fn output(told: &Told) -> Vec<String> {
    let lines = told.output.iter();
    let lines = lines.map(|line| format!("{:TIME_WIDTH$}    > {line}", ""));
    lines.map(|line| cut(&line, WIDTH - 1)).collect()
}

fn time_of(told: &Told, now: SystemTime, zone: &TimeZone) -> String {
    format!("{:TIME_WIDTH$}  ", in_words(told.at, now, zone))
}

fn sentence(told: &Told, names: &BTreeMap<String, String>) -> String {
    let key = told.process.as_deref().unwrap_or_default();
    let name = names.get(key).map_or(key, String::as_str);
    let name = printable(name);
    let mut sentence = subject(told.kind, &name);
    if let (Kind::Restarted, Some(outage)) = (told.kind, told.outage) {
        sentence += &format!(" {}", t!("events.after", time = duration(outage)));
    }
    let is_of_pid = !matches!(
        told.kind,
        Kind::Starting | Kind::StartFailed | Kind::Duplicate
    );
    let pid = told.pid.filter(|_| is_of_pid);
    sentence.extend(pid.map(|pid| format!(" (pid {pid})")));
    let cause = match told.kind {
        Kind::Down | Kind::Killed => told.cause.as_deref(),
        _ => None,
    };
    let cause =
        cause.map(|cause| cause_in_words(cause, told.signal.as_deref(), locale::language()));
    let why: Vec<String> = cause.into_iter().chain(detail(told)).collect();
    if !why.is_empty() {
        // How long a pause is to last goes on with the sentence.
        let is_one_sentence = told.kind == Kind::Paused && told.detail.is_some();
        let colon = if is_one_sentence { "" } else { ":" };
        sentence += &format!("{colon} {}", cut(&why.join("; "), DETAIL_MAX));
    }
    sentence
}

/// What has happened to the program of this name, or to the service.
fn subject(kind: Kind, name: &str) -> String {
    match kind {
        Kind::Startup => t!("events.startup"),
        Kind::Shutdown => t!("events.shutdown"),
        Kind::Reloaded => t!("events.reloaded"),
        Kind::ReloadFailed => t!("events.reload_failed"),
        Kind::ConfigFallback => t!("events.config_fallback"),
        Kind::LegacyWatcher => t!("events.legacy_watcher"),
        Kind::UnsafeCommand => t!("events.unsafe_command"),
        Kind::Degraded => t!("events.degraded"),
        Kind::Restored => t!("events.restored"),
        Kind::HookFailed => t!("events.hook_failed"),
        Kind::Up => t!("events.up", name = name),
        Kind::Adopted => t!("events.adopted", name = name),
        Kind::Down => t!("events.down", name = name),
        Kind::Waiting => t!("events.waiting", name = name),
        Kind::Starting => t!("events.starting", name = name),
        Kind::Restarted => t!("events.restarted", name = name),
        Kind::StartFailed => t!("events.start_failed", name = name),
        Kind::CrashLoop => t!("events.crash_loop", name = name),
        Kind::Unhealthy => t!("events.unhealthy", name = name),
        Kind::Killed => t!("events.killed", name = name),
        Kind::Stuck => t!("events.stuck", name = name),
        Kind::Recovered => t!("events.recovered", name = name),
        Kind::Impostor => t!("events.impostor", name = name),
        Kind::Misfit => t!("events.misfit", name = name),
        Kind::Renamed => t!("events.renamed", name = name),
        Kind::MainEnded => t!("events.main_ended", name = name),
        Kind::Duplicate => t!("events.duplicate", name = name),
        Kind::DryRun => t!("events.dry_run"),
        Kind::Paused => t!("events.paused", name = name),
        Kind::Resumed => t!("events.resumed", name = name),
        Kind::Unknown => t!("events.unknown", name = name),
    }
    .into_owned()
}

/// What the kind doesn't say. Where an earlier version has put it into its message only, that is English.
fn detail(told: &Told) -> Option<String> {
    if let Some(detail) = &told.detail {
        return Some(printable(&detail.translated()));
    }
    let message = &told.message;
    match told.kind {
        Kind::ReloadFailed
        | Kind::ConfigFallback
        | Kind::StartFailed
        | Kind::Unhealthy
        | Kind::Paused
        | Kind::DryRun
        | Kind::Unknown => message
            .split_once(": ")
            .map(|(_, detail)| detail.to_owned()),
        Kind::Degraded
        | Kind::Restored
        | Kind::HookFailed
        | Kind::UnsafeCommand
        | Kind::Impostor
        | Kind::Misfit => Some(message.clone()),
        _ => None,
    }
}

fn unreadable() -> String {
    not_readable(|| t!("events.not_permitted"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::machine::Cause;

    #[test]
    fn each_cause_of_the_services_own_is_said_in_words() {
        for cause in [
            Cause::Absent,
            Cause::Gone,
            Cause::Exited(1),
            Cause::Killed(9),
            Cause::OutOfMemory,
            Cause::Unhealthy,
            Cause::Duplicate,
            Cause::Requested,
            Cause::Stopped,
            Cause::Late,
            Cause::Outside,
        ] {
            let words = cause_in_words(cause.as_str(), cause.signal(), "en");
            assert!(words.contains(' '), "{cause:?}: {words}");
        }
    }

    fn told(fields: &str) -> Option<Told> {
        let line = format!("{{\"__REALTIME_TIMESTAMP\":\"1800000000000000\",{fields}}}");
        understand(line.as_bytes())
    }

    fn said(fields: &str) -> String {
        let names = BTreeMap::from([("a".to_owned(), "Program".to_owned())]);
        sentence(&told(fields).unwrap(), &names)
    }

    #[test]
    fn events_are_told_with_what_the_fields_say() {
        for (fields, expected) in [
            (
                "\"MFE_EVENT\":\"restarted\",\"MFE_PROCESS\":\"a\",\"MFE_PID\":\"7\",\"MFE_OUTAGE_MS\":\"62003\"",
                "Program is back after 1min 2s (pid 7)",
            ),
            (
                "\"MFE_EVENT\":\"down\",\"MFE_PROCESS\":\"b\",\"MFE_PID\":\"7\",\"MFE_CAUSE\":\"killed\"",
                "b is DOWN (pid 7): ended by a signal",
            ),
            (
                r#""MFE_EVENT":"down","MFE_PROCESS":"a","MFE_PID":"7","MFE_CAUSE":"exited","MFE_DETAIL":"{\"text\":\"exit status %{code}\",\"values\":[\"3\"]}""#,
                "Program is DOWN (pid 7): ended by itself; exit status 3",
            ),
            (
                r#""MFE_EVENT":"down","MFE_PROCESS":"a","MFE_CAUSE":"killed","MFE_SIGNAL":"SIGSEGV","MFE_DETAIL":"no phrase""#,
                "Program is DOWN: ended by SIGSEGV",
            ),
            (
                r#""MFE_EVENT":"down","MFE_PROCESS":"a","MFE_CAUSE":"oom","MFE_SIGNAL":"SIGKILL""#,
                "Program is DOWN: ended by the kernel, out of memory (SIGKILL)",
            ),
            (
                "\"MFE_EVENT\":\"start_failed\",\"MFE_PROCESS\":\"a\",\"MFE_PID\":\"7\",\"MESSAGE\":\"x: y: z\"",
                "Program can't be started: y: z",
            ),
            (
                "\"MFE_EVENT\":\"startup\",\"MESSAGE\":\"x\"",
                "the service has started",
            ),
        ] {
            assert_eq!(said(fields), expected);
        }
        assert_eq!(told("\"MFE_EVENT\":\"of a later version\""), None);
        assert_eq!(told("\"MESSAGE\":\"no event\""), None);
    }

    #[test]
    fn what_a_program_has_printed_follows_its_failure() {
        let fields = r#""MFE_EVENT":"down","MFE_OUTPUT":"no device\n\u001b[2J"#;
        let told = told(&format!("{fields}{}\"", "x".repeat(90))).unwrap();
        let lines = output(&told);
        assert_eq!(lines[0], "               > no device");
        assert!(
            lines[1].starts_with("               > \\u{1b}[2Jxxx"),
            "{lines:?}"
        );
        assert_eq!(lines[1].chars().count(), WIDTH);
        assert_eq!(lines.len(), 2);
    }

    #[test]
    fn what_others_have_named_steers_no_terminal() {
        let text = said(
            "\"MFE_EVENT\":\"unhealthy\",\"MFE_PROCESS\":\"\\u001b[2J\",\"MESSAGE\":\"a: \\u001b\\n\"",
        );
        assert!(!text.contains(['\u{1b}', '\n']), "{text}");
    }

    proptest! {
        #[test]
        fn no_line_makes_it_panic(line in prop::collection::vec(any::<u8>(), 0..200), wall in any::<u64>()) {
            let _ = understand(&line);
            let line = format!("{{\"__REALTIME_TIMESTAMP\":\"{wall}\",\"MFE_EVENT\":\"up\"}}");
            let _ = understand(line.as_bytes());
        }
    }
}
