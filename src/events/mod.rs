//! What can happen, of the kinds that [`Kind`] lists, and the form in which an event is told to everybody (the
//! journal, hooks). What the words are is decided where the event happens.
//!
//! Every message in the journal carries `MFE_EVENT`, `MESSAGE_ID` and, where they apply,
//! `MFE_PROCESS` (the key), `MFE_PID`, `MFE_CAUSE`, `MFE_SIGNAL`, `MFE_OUTAGE_MS`, `MFE_WATCHED_UNTIL` and
//! `MFE_DETAIL` (`systemd.journal-fields(7)`);
//! the room above adds which message of which run it is, and when it happened.

use mfe_common::escape::printable;
use tracing::{error, info, warn};

use crate::text::phrase::Phrase;

pub use mfe_history::kind::Kind;

/// By what tracing knows that something is an event: nothing else is told from here.
pub(crate) const TARGET: &str = module_path!();

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
