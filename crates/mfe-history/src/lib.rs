//! What the watchdog's events say of the past: when each process was up, down, or not observed, and how that is told.
//! Pure: entries and times go in, a report comes out. The watchdog fills it from the journal, the office from its
//! database.
//!
//! | module | its part |
//! |---|---|
//! | [`kind`] | the kinds of events |
//! | [`entry`], [`kept`] | an entry of the journal, and an event as the watchdog keeps it itself, understood |
//! | [`order`] | what was written late, put where it happened |
//! | [`history`] | what the entries mean |
//! | `figures`, `days` | sums it up |
//! | `words` | the words that all forms of a report share |
//! | `text`, `html`, `json` | its forms |
//! | [`local_time`] | times as the clock on the wall shows them |

rust_i18n::i18n!("locales", fallback = "en");

mod days;
pub mod entry;
mod figures;
pub mod history;
mod html;
mod json;
pub mod kept;
pub mod kind;
pub mod local_time;
pub mod order;
mod text;
mod words;

use std::collections::BTreeMap;
use std::time::Duration;

use tz::TimeZone;

use history::Past;

pub use html::{Frame, STYLE, html};
pub use json::json;
pub use text::text;
pub use words::{cause_in_words, decimal};

/// How far back a report goes that is asked for without a time.
pub const USUAL: &str = "7d";

/// The longest time that a report is about: a year.
pub const LONGEST: Duration = Duration::from_secs(366 * 86400);

/// A second, in microseconds.
const SECOND: u64 = 1_000_000;

/// A day, in microseconds.
const DAY: u64 = 86_400_000_000;

/// How the processes were over some time.
#[derive(Debug, Clone)]
pub struct Report {
    /// The machine's name.
    pub host: String,
    /// Whom it is told.
    pub reader: Reader,
    /// Where it is from.
    pub source: Source,
    /// What is known.
    pub past: Past,
    /// The programs' names, by their keys, as far as the watchdog that runs now has said them.
    pub names: BTreeMap<String, String>,
}

/// Somebody who is told something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reader {
    /// One of `mfe_common::locale::LANGUAGES`.
    pub language: &'static str,
    /// By whose clocks.
    pub zone: TimeZone,
}

/// Where the events of a report are from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The journal of the machine that it is about.
    Journal,
    /// What the machine has sent to its office.
    Office,
}

impl Report {
    /// What a program is called.
    fn name<'a>(&'a self, key: &'a str) -> &'a str {
        self.names.get(key).map_or(key, String::as_str)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_texts_are_those_that_are_used_in_every_language() {
        mfe_kit::catalogue::check(env!("CARGO_MANIFEST_DIR"));
    }
}
