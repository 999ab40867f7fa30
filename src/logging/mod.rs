//! Where messages go: to systemd's journal with all their fields, as readable lines to stderr where
//! somebody else is listening there, and events to a file of the service's own too. What the messages say is
//! decided where they are made; their form is in [`crate::events`].
//!
//! Nothing here ever waits: a journal that is stopped or a pipe that nobody reads must not hold up
//! the service, which has one thread. What the journal can't take at once is kept for it, up to a bound;
//! what stderr can't take is counted instead, and the count is told there.
//!
//! Each message says which run of the service it is of (`MFE_RUN`), which one of that run it is (`MFE_SEQ`,
//! from 1), and when it happened (`MFE_AT`, in microseconds by `CLOCK_BOOTTIME`, clock_gettime(2)). Numbers
//! are given to what is never sent, too, so that a gap in them is one in the journal.

mod journal;
mod record;
pub mod ring;
mod stderr;

use std::fmt;
use std::io::{IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use mfe_common::timestamp::Timestamp;
use rustix::net::{SocketAddrUnix, getpeername};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::events;
use crate::sys::host;
use journal::Journal;
use record::{Numbers, RecordLayer};
use ring::Ring;
use stderr::{Stderr, StderrLayer, StderrWriter};

/// Where messages go, once [`init`] has found it out.
static PLACES: OnceLock<Places> = OnceLock::new();

struct Places {
    numbers: Arc<Numbers>,
    ring: Arc<Ring>,
    journal: Option<Arc<Journal>>,
    stderr: Arc<Stderr>,
}

/// Which message one is, and when what it tells has happened.
struct Stamp<'a> {
    /// `MFE_RUN`.
    run: &'a str,
    /// `MFE_SEQ`.
    seq: u64,
    /// How many messages that are no events have come since the latest event.
    others: u64,
    /// `MFE_AT`.
    at: u128,
}

/// By which systemd tells since 231 what it has connected stderr to.
const STREAM: &str = "JOURNAL_STREAM";

/// Where the journal takes in what services print.
const STDOUT: &[u8] = b"/run/systemd/journal/stdout";

/// How long the journal may take to read the last messages.
const SETTLE: Duration = Duration::from_millis(100);

/// Begins to send messages on. `RUST_LOG` says which, such as `debug` or `mfe_watchdog=trace`;
/// without it, level info and above. Events are kept in the `state` directory whatever it says.
pub fn init(state: &Path) {
    let filter = std::env::var("RUST_LOG")
        .ok()
        .filter(|filter| !filter.is_empty());
    let (asked, refused) = match filter.map(|filter| filter.parse::<Targets>()) {
        Some(Ok(filter)) => (filter, None),
        Some(Err(error)) => (Targets::new().with_default(Level::INFO), Some(error)),
        None => (Targets::new().with_default(Level::INFO), None),
    };
    let (journal, unusable) = match Journal::open() {
        Ok(journal) => (journal.map(Arc::new), None),
        Err(error) => (None, Some(error)),
    };
    let stderr = Arc::new(Stderr::new());
    // Where stderr is the journal, a line there would be a second copy of each message.
    let lines = (journal.is_none() || !stderr_is_journal()).then(|| {
        let lines = tracing_subscriber::fmt::layer()
            .event_format(Lines)
            .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
            .with_writer(StderrWriter(stderr.clone()))
            // Said on stderr, it would wait after all.
            .log_internal_errors(false);
        StderrLayer {
            stderr: stderr.clone(),
            asked: asked.clone(),
            lines,
        }
    });
    let numbers = Arc::new(Numbers::of(&host::new_id()));
    let ring = Arc::new(Ring::new(state));
    let record = RecordLayer {
        numbers: numbers.clone(),
        journal: journal.clone(),
        ring: Some(ring.clone()),
        asked: asked.clone(),
    };
    // Events are numbered whether anybody wants to read them or not.
    tracing_subscriber::registry()
        .with(asked.with_target(events::TARGET, Level::INFO))
        .with(record)
        .with(lines)
        .init();
    // As with the subscriber, which comes first, whoever was first is as good.
    let _ = PLACES.set(Places {
        numbers,
        ring,
        journal,
        stderr,
    });
    if let Some(error) = refused {
        tracing::warn!("RUST_LOG isn't understood ({error}); logging at level info");
    }
    if let Some(error) = unusable {
        tracing::warn!("systemd's journal can't be written to: {error}; logging to stderr only");
    }
}

/// Sends what wasn't taken before, and tells what came late or is missing. To be called now and then:
/// without this it would wait for the next message, which may be days away. Costs nothing when there is
/// nothing to send.
pub fn catch_up() {
    if let Some(Places {
        journal, stderr, ..
    }) = PLACES.get()
    {
        if let Some(journal) = journal {
            journal.catch_up();
        }
        stderr.catch_up();
    }
}

/// Messages that the journal gets only once it is known what a program has printed, and those after them with
/// it: all keep their order and say when they happened. Whoever else is told of them is told at once.
/// Dropping it sends them as they are.
#[derive(Debug)]
pub struct Held {
    number: u64,
}

/// Begins to hold messages; `None` if no journal is to have them.
#[must_use]
pub fn hold() -> Option<Held> {
    let number = the_journal()?.hold();
    Some(Held { number })
}

impl Held {
    /// The journal doesn't wait for longer.
    pub const MAX: Duration = journal::HOLD_MAX;

    /// Holds what `record` records.
    pub fn record(&self, record: impl FnOnce()) {
        match the_journal() {
            Some(journal) => journal.record_held(self.number, record),
            None => record(),
        }
    }

    /// Sends it with the last lines that a program has printed, which have to be printable.
    pub fn complete(&self, output: &[String]) {
        if let Some(journal) = the_journal() {
            journal.release(Some(self.number), output);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(journal) = the_journal() {
            journal.release(Some(self.number), &[]);
        }
    }
}

fn the_journal() -> Option<&'static Journal> {
    PLACES.get()?.journal.as_deref()
}

/// The same for the last time: waits for a moment, and says on stderr what is lost.
pub fn finish() {
    if let Some(Places {
        journal: Some(journal),
        stderr,
        ..
    }) = PLACES.get()
    {
        journal.catch_up_at_the_end();
        say_lost(journal.unsent(), stderr);
    }
    settle();
}

fn say_lost(unsent: usize, mut stderr: &Stderr) {
    if unsent > 0 && stderr.has_room() {
        let text = format!(
            "mfe-watchdog: the journal took no messages until the end of the service; the last {unsent} \
             aren't in it, and a report can't know of what they say\n"
        );
        // There is nobody left to tell that it failed.
        let _ = stderr.write_all(text.as_bytes());
    }
}

/// Which run of the service this is, and the number of its latest event; `None` before [`init`].
#[must_use]
pub fn latest() -> Option<(&'static str, u64)> {
    let numbers = &PLACES.get()?.numbers;
    Some((numbers.run(), numbers.latest()))
}

/// Why the latest event isn't in the state directory, if it isn't.
#[must_use]
pub fn not_kept() -> Option<String> {
    PLACES.get()?.ring.trouble_in_words()
}

/// Whether somebody wants to read it.
fn is_wanted(asked: &Targets, metadata: &Metadata<'_>) -> bool {
    asked.would_enable(metadata.target(), metadata.level())
}

/// Whether systemd has connected stderr to the journal: `$JOURNAL_STREAM` says so (systemd.exec(5)), and
/// before systemd 231, which sets no such variable, the socket itself.
pub(crate) fn stderr_is_journal() -> bool {
    let Ok(stream) = std::env::var(STREAM) else {
        return is_journals(std::io::stderr());
    };
    std::fs::metadata("/proc/self/fd/2")
        .is_ok_and(|stderr| stream == format!("{}:{}", stderr.dev(), stderr.ino()))
}

/// Gives the journal the time to learn which unit the last messages are of: before systemd 231 at least it
/// asks only once it reads them, and then the process may be gone.
fn settle() {
    if std::env::var_os(STREAM).is_none() && is_journals(std::io::stderr()) {
        std::thread::sleep(SETTLE);
    }
}

/// Whether a socket's other end is where the journal takes in what services print (unix(7)).
fn is_journals(socket: impl AsFd) -> bool {
    let peer = getpeername(socket).ok().flatten();
    let peer = peer.and_then(|peer| SocketAddrUnix::try_from(peer).ok());
    peer.is_some_and(|peer| peer.path_bytes() == Some(STDOUT))
}

/// One line per message: time, level, words, then the fields as the journal would name them.
struct Lines;

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let (colour, dim, plain) = match *event.metadata().level() {
            _ if !writer.has_ansi_escapes() => ("", "", ""),
            Level::ERROR => ("\u{1b}[31m", "\u{1b}[2m", "\u{1b}[0m"),
            Level::WARN => ("\u{1b}[33m", "\u{1b}[2m", "\u{1b}[0m"),
            _ => ("", "\u{1b}[2m", "\u{1b}[0m"),
        };
        let mut line = Line::default();
        event.record(&mut line);
        let level = event.metadata().level();
        let time = Timestamp::from(SystemTime::now());
        let Line { message, fields } = line;
        writeln!(
            writer,
            "{time} {colour}{level:>5}{plain} {message}{dim}{fields}{plain}"
        )
    }
}

#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            // For programs, which read the journal.
            "MESSAGE_ID" | events::DETAIL => {}
            name => self.fields += &format!(" {name}={value:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    #[test]
    fn only_the_journals_own_socket_is_the_journals() {
        let (one, other) = UnixStream::pair().unwrap();
        assert!(!is_journals(&one) && !is_journals(&other), "without a name");
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("stdout");
        let _listener = UnixListener::bind(&path).unwrap();
        assert!(!is_journals(UnixStream::connect(&path).unwrap()));
        assert!(!is_journals(std::fs::File::open("/dev/null").unwrap()));
    }
}
