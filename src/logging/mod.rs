//! Where messages go: to systemd's journal with all their fields, and as readable lines to stderr
//! where somebody else is listening there. What the messages say is decided
//! where they are made; their form is in [`crate::events`].
//!
//! Nothing here ever waits: a journal that is stopped or a pipe that nobody reads must not hold up
//! the service, which has one thread. What can't be written at once is counted instead, and the
//! count is told where the messages are missing.

mod gate;
mod native;
mod stderr;

use std::fmt;
use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{SocketAddrUnix, getpeername};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::text::timestamp::Timestamp;

pub use gate::catch_up;

use gate::{Catch, Gate, Gated};
use native::{Native, NativeLayer};
use stderr::{Stderr, StderrWriter};

/// By which systemd tells since 231 what it has connected stderr to.
const STREAM: &str = "JOURNAL_STREAM";

/// Where the journal takes in what services print.
const STDOUT: &[u8] = b"/run/systemd/journal/stdout";

/// How long the journal may take to read the last messages.
const SETTLE: Duration = Duration::from_millis(100);

/// Begins to send messages on. `RUST_LOG` says which, such as `debug` or `mfe_watchdog=trace`;
/// without it, level info and above.
pub fn init() {
    let asked = std::env::var("RUST_LOG")
        .ok()
        .filter(|filter| !filter.is_empty());
    let (filter, refused) = match asked.map(|filter| filter.parse::<Targets>()) {
        Some(Ok(filter)) => (filter, None),
        Some(Err(error)) => (Targets::new().with_default(Level::INFO), Some(error)),
        None => (Targets::new().with_default(Level::INFO), None),
    };
    let (native, unusable) = match Native::open() {
        Ok(native) => (native, None),
        Err(error) => (None, Some(error)),
    };
    let mut gates: Vec<Arc<dyn Catch>> = Vec::new();
    // Where stderr is the journal, a line there would be a second copy of each message.
    let lines = (native.is_none() || !stderr_is_journal()).then(|| {
        let gate = Arc::new(Gate::new(Stderr::new()));
        gates.push(gate.clone());
        let layer = tracing_subscriber::fmt::layer()
            .event_format(Lines)
            .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
            .with_writer(StderrWriter(gate.clone()))
            // Said on stderr, it would wait after all.
            .log_internal_errors(false);
        Gated { gate, layer }
    });
    let journal = native.map(|native| {
        let gate = Arc::new(Gate::new(native));
        gates.push(gate.clone());
        let layer = NativeLayer(gate.clone());
        Gated { gate, layer }
    });
    tracing_subscriber::registry()
        .with(filter)
        .with(journal)
        .with(lines)
        .init();
    gate::know(gates);
    if let Some(error) = refused {
        tracing::warn!("RUST_LOG isn't understood ({error}); logging at level info");
    }
    if let Some(error) = unusable {
        tracing::warn!("systemd's journal can't be written to: {error}; logging to stderr only");
    }
}

/// Whether something can be written to a descriptor now without waiting. An error of the other side
/// counts as room: the attempt to write ends at once then.
fn has_room(descriptor: impl AsFd) -> bool {
    let mut asked = [PollFd::new(&descriptor, PollFlags::OUT)];
    let at_once = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    matches!(poll(&mut asked, Some(&at_once)), Ok(1..))
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
pub(crate) fn settle() {
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
            // For machines, which read the journal.
            "MESSAGE_ID" => {}
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
