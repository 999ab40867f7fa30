//! What can happen: the kinds of events, their names and ids, and the form in which an event is told
//! to everybody (the journal, hooks). What the words are is decided where the event happens.
//!
//! Every message in the journal carries `MFE_EVENT`, `MESSAGE_ID` and, where they apply,
//! `MFE_PROCESS` (the key), `MFE_PID`, `MFE_CAUSE`, `MFE_SIGNAL`, `MFE_OUTAGE_MS`, `MFE_WATCHED_UNTIL` and
//! `MFE_DETAIL` (`systemd.journal-fields(7)`);
//! the room above adds which message of which run it is, and when it happened.

use tracing::{error, info, warn};

use crate::text::escape::printable;
use crate::text::phrase::Phrase;

/// By what tracing knows that something is an event: nothing else is told from here.
pub(crate) const TARGET: &str = module_path!();

/// A kind of event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The service has begun.
    Startup,
    /// The service ends.
    Shutdown,
    /// A new configuration is in force.
    Reloaded,
    /// A new configuration was refused; the old one stays in force.
    ReloadFailed,
    /// The configuration can't be used, and another one is in force in its place.
    ConfigFallback,
    /// The script that this service replaces is still started at boot.
    LegacyWatcher,
    /// A program that the service runs could be changed by somebody other than root.
    UnsafeCommand,
    /// Something about the service itself doesn't work, though supervision goes on.
    Degraded,
    /// What was degraded works again.
    Restored,
    /// A hook couldn't be run, failed, or was given more than it could take.
    HookFailed,
    /// A process runs.
    Up,
    /// A process runs that somebody else started.
    Adopted,
    /// A process is gone.
    Down,
    /// A process waits for somebody at the screen.
    Waiting,
    /// A process is being started.
    Starting,
    /// A process is back.
    Restarted,
    /// A process couldn't be started.
    StartFailed,
    /// A process keeps crashing.
    CrashLoop,
    /// A process lives, but is unhealthy.
    Unhealthy,
    /// A living process was made to end by the service.
    Killed,
    /// A process that was to end can't be killed.
    Stuck,
    /// What was wrong with a process is over.
    Recovered,
    /// A process has the name, but isn't the program that is meant.
    Impostor,
    /// What runs is nearly the program: it isn't ended, and nothing is started beside it.
    Misfit,
    /// A process has another name, program or arguments than before.
    Renamed,
    /// The main process of a program has died, and its children go on.
    MainEnded,
    /// A process runs more than once.
    Duplicate,
    /// The service would have done something, but for `dry_run`.
    DryRun,
    /// A process is left alone for a while, because somebody wanted it.
    Paused,
    /// A process is resumed.
    Resumed,
    /// It is unknown whether a process is running.
    Unknown,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 31] = [
        Self::Startup,
        Self::Shutdown,
        Self::Reloaded,
        Self::ReloadFailed,
        Self::ConfigFallback,
        Self::LegacyWatcher,
        Self::UnsafeCommand,
        Self::Degraded,
        Self::Restored,
        Self::HookFailed,
        Self::Up,
        Self::Adopted,
        Self::Down,
        Self::Waiting,
        Self::Starting,
        Self::Restarted,
        Self::StartFailed,
        Self::CrashLoop,
        Self::Unhealthy,
        Self::Killed,
        Self::Stuck,
        Self::Recovered,
        Self::Impostor,
        Self::Misfit,
        Self::Renamed,
        Self::MainEnded,
        Self::Duplicate,
        Self::DryRun,
        Self::Paused,
        Self::Resumed,
        Self::Unknown,
    ];

    /// The kind of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

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
            Self::ConfigFallback => ("config_fallback", "707131c9efdf469dae783ef4f2b8dc01"),
            Self::LegacyWatcher => ("legacy_watcher", "a63ec9c81f564b378cc45138701db95a"),
            Self::UnsafeCommand => ("unsafe_command", "e330a7b7d8cc4c6ebf7d37b163f49724"),
            Self::Degraded => ("degraded", "b6c00e465f82428aa69a322a3107b33d"),
            Self::Restored => ("restored", "3e5215ff2c96468eac6a4f6cb8fe8fde"),
            Self::HookFailed => ("hook_failed", "632755c525124b829a278447cfcf6fee"),
            Self::Up => ("up", "5db11d844e1a4cd693473ad33378d9d2"),
            Self::Adopted => ("adopted", "bb41da226d2c48a1a5708c22afac065f"),
            Self::Down => ("down", "916f5179aff047be88f666177ee0fb02"),
            Self::Waiting => ("waiting", "9dc955e4aafa4f68ae68a21fb1a2e12d"),
            Self::Starting => ("starting", "9f741005b2db4556b225b684aa43bcc4"),
            Self::Restarted => ("restarted", "1439a30c18f24f51a2de30e97d823636"),
            Self::StartFailed => ("start_failed", "244e294d88794f1cbfb59d96032ff91a"),
            Self::CrashLoop => ("crash_loop", "a23a593adc804a638a73d161701f0b31"),
            Self::Unhealthy => ("unhealthy", "83c6ac6f6d1a4d1aaf87e19c2cd910db"),
            Self::Killed => ("killed", "7042c46e31cc4824a9a2b9e4b087ee2d"),
            Self::Stuck => ("stuck", "31829a8dd9b94a7e9fe17ca75a173d25"),
            Self::Recovered => ("recovered", "edcc55cf389e46809ceb1647c10cc4f8"),
            Self::Impostor => ("impostor", "e31617220e5e47dea2f23e58262c05ac"),
            Self::Misfit => ("misfit", "b03aed113ea5412b3057b954e17337fc"),
            Self::Renamed => ("renamed", "8f0a08c5da2aff097efd622307e03830"),
            Self::MainEnded => ("main_ended", "0b976600800e95bdc677e17bf53a3216"),
            Self::Duplicate => ("duplicate", "118a0ac07775477fa580b1eaf60bfa98"),
            Self::DryRun => ("dry_run", "096f14ee97514c2589d7acf949eeaeb7"),
            Self::Paused => ("paused", "fe72b0894b1d475ebfe1d8e8f8eb2a3d"),
            Self::Resumed => ("resumed", "1bd964b429df4e26909d85fab8687706"),
            Self::Unknown => ("unknown", "c0c6bbcfc3f84a25986a08fd5148fb2a"),
        }
    }
}

/// One thing that has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// What kind of thing.
    pub kind: Kind,
    /// The key of the process it is about; `None` when it is about the service.
    pub process: Option<String>,
    /// The pid it is about.
    pub pid: Option<i32>,
    /// Why the process was gone.
    pub cause: Option<&'static str>,
    /// The signal that ended it, as signal(7) names it.
    pub signal: Option<&'static str>,
    /// How long it was gone, in milliseconds.
    pub outage_ms: Option<u64>,
    /// Of the service's start: when the run before it was last known to look, in microseconds by
    /// `CLOCK_BOOTTIME` (clock_gettime(2)).
    pub watched_until: Option<u64>,
    /// What its kind doesn't say, such as a reason, for whoever tells it in another language.
    pub detail: Option<Phrase>,
    /// What a person reads; fit for a terminal, at most [`MAX_TEXT`] bytes and an ellipsis.
    pub text: String,
}

/// More than this isn't told of a text, in bytes: a configured command may be as long as the file.
pub const MAX_TEXT: usize = 4096;

/// The field that [`Message::detail`] is in, in JSON.
pub const DETAIL: &str = "MFE_DETAIL";

/// A longer detail isn't told, in bytes: journalctl(1) leaves out a field of more than 4096.
const DETAIL_MAX: usize = 4000;

impl Message {
    /// About the service itself.
    #[must_use]
    pub fn of_service(kind: Kind, text: impl Into<String>) -> Self {
        Self {
            kind,
            process: None,
            pid: None,
            cause: None,
            signal: None,
            outage_ms: None,
            watched_until: None,
            detail: None,
            text: fit(&text.into()),
        }
    }

    /// About the service itself, in words that are told in every language.
    #[must_use]
    pub fn of_service_in_words(kind: Kind, words: Phrase) -> Self {
        Self::of_service(kind, words.to_string()).with_detail(words)
    }

    /// With what its kind doesn't say.
    #[must_use]
    pub fn with_detail(self, detail: Phrase) -> Self {
        Self {
            detail: Some(detail),
            ..self
        }
    }

    /// About the process of a key.
    #[must_use]
    pub fn of_process(key: &str, kind: Kind, pid: Option<i32>, text: impl Into<String>) -> Self {
        Self {
            process: Some(key.to_owned()),
            pid,
            ..Self::of_service(kind, text)
        }
    }

    /// Writes it to the journal.
    pub fn record(&self) {
        let detail = self.detail.as_ref();
        // It has nothing that JSON can't say.
        let detail = detail.and_then(|detail| serde_json::to_string(detail).ok());
        let detail = detail.filter(|detail| detail.len() <= DETAIL_MAX);
        // A level belongs to the place of the call, hence three of them.
        macro_rules! tell {
            ($level:ident) => {
                $level!(
                    MFE_PROCESS = self.process,
                    MFE_EVENT = self.kind.name(),
                    MFE_PID = self.pid,
                    MFE_CAUSE = self.cause,
                    MFE_SIGNAL = self.signal,
                    MFE_OUTAGE_MS = self.outage_ms,
                    MFE_WATCHED_UNTIL = self.watched_until,
                    MFE_DETAIL = detail,
                    MESSAGE_ID = self.kind.message_id(),
                    "{}",
                    self.text
                )
            };
        }
        match self.kind {
            Kind::StartFailed
            | Kind::ReloadFailed
            | Kind::ConfigFallback
            | Kind::CrashLoop
            | Kind::Misfit
            | Kind::Stuck => tell!(error),
            Kind::Down
            | Kind::Unknown
            | Kind::LegacyWatcher
            | Kind::UnsafeCommand
            | Kind::Degraded
            | Kind::HookFailed
            | Kind::Unhealthy
            | Kind::Killed
            | Kind::Impostor
            | Kind::MainEnded
            | Kind::Duplicate => tell!(warn),
            // Nobody can be found for the display that runs: a problem, unlike a login to come.
            Kind::Waiting if self.cause == Some("display") => tell!(warn),
            _ => tell!(info),
        }
    }
}

/// Foreign text may be in any message, however it came there: here all of it is made harmless.
fn fit(text: &str) -> String {
    let mut text = printable(text);
    if text.len() > MAX_TEXT {
        let end = (0..=MAX_TEXT).rev().find(|end| text.is_char_boundary(*end));
        text.truncate(end.unwrap_or_default());
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_by_its_name() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_name(kind.name()), Some(kind));
        }
        assert_eq!(Kind::from_name("Restarted"), None);
    }

    #[test]
    fn whatever_the_text_is_it_is_harmless_and_bounded() {
        let text = |text: &str| Message::of_service(Kind::Startup, text).text;
        assert_eq!(text("a\n\u{202e}b"), "a\\n\\u{202e}b");
        assert_eq!(text("é").as_str(), "é");
        let long = text(&"é".repeat(MAX_TEXT));
        assert_eq!(long, "é".repeat(MAX_TEXT / 2) + "…");
        let odd = text(&("a".to_owned() + &"é".repeat(MAX_TEXT)));
        assert_eq!(odd.len(), MAX_TEXT - 1 + "…".len());
    }
}
