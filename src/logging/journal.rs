//! The way to systemd's journal, by its native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL). It never
//! waits: what the journal has no room for is kept, numbered as all is, and sent again as soon as
//! [`super::catch_up`] finds room. What a report makes of the numbers is in [`crate::report`]. A message that
//! is held waits for what a program has printed, and for a moment only; those after it wait with it.
//!
//! tracing-journald says which priority a level is. Its layer sends as well, but on a socket that waits,
//! and keeps to itself whether the journal has taken a message: with it, a flood would swallow an outage.

use std::collections::VecDeque;
use std::fmt::{Debug, Write};
use std::io::{self, ErrorKind};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::libc;
use tracing::field::{Field, Visit};
use tracing::{Event, Level};
use tracing_journald::PriorityMappings;

use super::Stamp;
use crate::events::{Kind, Message};
use crate::text::phrase::phrase;

/// Where the journal listens.
const SOCKET: &str = "/run/systemd/journal/socket";

/// The most messages that are kept. Whoever floods the journal for an hour and has a program die all
/// the time gets ever longer waits between its starts, so that these are more than there will be.
const UNSENT_MAX: usize = 1024;

/// The most that those may take, in bytes.
const UNSENT_BYTES_MAX: usize = 512 * 1024;

/// More of a field isn't told, in bytes: with several such a message still is one datagram.
const VALUE_MAX: usize = 16 * 1024;

/// How long a message is held at most.
pub(super) const HOLD_MAX: Duration = Duration::from_secs(1);

/// What tracing names a message's text.
const TEXT: &str = "message";

/// How long the end of the service waits for the journal to take what is unsent, and how often it looks.
const LAST_WAIT: Duration = Duration::from_secs(2);
const LAST_PAUSE: Duration = Duration::from_millis(20);

/// systemd's journal.
pub(super) struct Journal {
    socket: UnixDatagram,
    socket_path: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What is yet to be sent, in order.
    unsent: VecDeque<Unsent>,
    /// How many messages were sent late and that isn't told yet.
    late: u64,
    /// How many were dropped and that isn't told yet.
    missing: u64,
    /// Whether the message of that is being written.
    is_telling: bool,
    /// How many holds there have been.
    holds: u64,
    /// The one under which messages are being recorded.
    holding: Option<u64>,
}

/// A message that isn't sent yet.
struct Unsent {
    /// As the journal takes it; without its text as long as it is held.
    message: Vec<u8>,
    /// What it waits for, if it is held.
    held: Option<HeldText>,
    /// Whether it is one of those that came late.
    is_late: bool,
}

/// The text of a message that is held.
struct HeldText {
    hold: u64,
    text: String,
    until: Instant,
}

impl Unsent {
    /// Makes it whole, with what its program has printed.
    fn complete(&mut self, output: &[String]) {
        let Some(HeldText { mut text, .. }) = self.held.take() else {
            return;
        };
        for line in output {
            text += "\n  > ";
            text += line;
        }
        put(&mut self.message, "MESSAGE", &text);
        if !output.is_empty() {
            put(&mut self.message, "MFE_OUTPUT", &output.join("\n"));
        }
    }

    fn is_held(&self, now: Instant) -> bool {
        self.held.as_ref().is_some_and(|held| now < held.until)
    }
}

impl Journal {
    /// The journal, if there is one: it may be full.
    ///
    /// # Errors
    /// When there seems to be one, but it can't be written to.
    pub(super) fn open() -> io::Result<Option<Self>> {
        let socket = UnixDatagram::unbound()?;
        match socket.connect(SOCKET) {
            Err(error) if is_nobody(&error) => return Ok(None),
            connected => connected?,
        }
        socket.set_nonblocking(true)?;
        Ok(Some(Self {
            socket,
            socket_path: SOCKET.into(),
            state: Mutex::default(),
        }))
    }

    /// Sends what is unsent, as far as there is room, and once nothing is, says that it came late.
    pub(super) fn catch_up(&self) {
        let mut state = self.state();
        self.flush(&mut state);
        let State { late, missing, .. } = *state;
        if state.is_telling || !state.unsent.is_empty() || (late, missing) == (0, 0) {
            return;
        }
        (state.late, state.missing) = (0, 0);
        state.is_telling = true;
        // The message comes this way, too.
        drop(state);
        let words = phrase!(
            "the journal took no messages for a while; before this one, as many came late, each with the \
             time at which it happened in MFE_AT: %{late}; missing there before this one: %{missing}",
            late = late.to_string(),
            missing = missing.to_string()
        );
        Message::of_service_in_words(Kind::Degraded, words).record();
        self.state().is_telling = false;
    }

    /// Goes on with that for a moment, as there will be no other, and gives up then.
    pub(super) fn catch_up_at_the_end(&self) {
        self.release(None, &[]);
        let deadline = Instant::now() + LAST_WAIT;
        while self.unsent() > 0 && Instant::now() < deadline {
            thread::sleep(LAST_PAUSE);
            self.catch_up();
        }
    }

    /// How many messages the journal hasn't taken so far.
    pub(super) fn unsent(&self) -> usize {
        self.state().unsent.len()
    }

    /// Nothing here panics with the state locked; if it did, the state would still be whole.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to hold messages: its number.
    pub(super) fn hold(&self) -> u64 {
        let mut state = self.state();
        state.holds += 1;
        state.holds
    }

    /// Has what `record` records held until [`Self::release`], for [`HOLD_MAX`] at most.
    pub(super) fn record_held(&self, hold: u64, record: impl FnOnce()) {
        self.state().holding = Some(hold);
        record();
        self.state().holding = None;
    }

    /// Sends what was held under this number, or all, with what a program has printed.
    pub(super) fn release(&self, hold: Option<u64>, output: &[String]) {
        let mut state = self.state();
        for unsent in &mut state.unsent {
            let of = unsent.held.as_ref().map(|held| held.hold);
            if hold.is_none() || of == hold {
                unsent.complete(output);
            }
        }
        self.flush(&mut state);
    }

    fn flush(&self, state: &mut State) {
        while let Some(unsent) = state.unsent.front_mut() {
            if unsent.is_held(Instant::now()) {
                break;
            }
            unsent.complete(&[]);
            match self.send(&unsent.message) {
                Sent::Yes => {}
                // It would never be.
                Sent::TooLong => state.missing += 1,
                Sent::NotNow => {
                    state.all_are_late();
                    break;
                }
            }
            state.unsent.pop_front();
        }
    }

    /// To the path each time: the socket there may be another one than before.
    fn send(&self, message: &[u8]) -> Sent {
        match self.socket.send_to(message, &self.socket_path) {
            Ok(_) => Sent::Yes,
            Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => Sent::TooLong,
            Err(_) => Sent::NotNow,
        }
    }

    /// Sends a message, or keeps it. None overtakes another one.
    pub(super) fn take(&self, event: &Event<'_>, stamp: &Stamp<'_>) {
        let state = &mut *self.state();
        let (message, text) = message(event, stamp);
        let mut unsent = Unsent {
            message,
            held: Some(HeldText {
                hold: state.holding.unwrap_or_default(),
                text,
                until: Instant::now() + HOLD_MAX,
            }),
            is_late: false,
        };
        if state.holding.is_none() {
            unsent.complete(&[]);
        }
        state.unsent.push_back(unsent);
        self.flush(state);
        // What comes last says what the state is: that goes before what was.
        while state.unsent.len() > UNSENT_MAX || state.unsent_bytes() > UNSENT_BYTES_MAX {
            let Some(oldest) = state.unsent.pop_front() else {
                break;
            };
            state.late = state.late.saturating_sub(oldest.is_late.into());
            state.missing += 1;
        }
    }
}

impl State {
    /// The journal doesn't take them now. The message that tells of that isn't one of them.
    fn all_are_late(&mut self) {
        for unsent in &mut self.unsent {
            self.late += u64::from(!unsent.is_late && !self.is_telling);
            unsent.is_late = true;
        }
    }

    /// How long what is yet to be sent is.
    fn unsent_bytes(&self) -> usize {
        let text = |unsent: &Unsent| unsent.held.as_ref().map_or(0, |held| held.text.len());
        let unsent = self.unsent.iter();
        unsent
            .map(|unsent| unsent.message.len() + text(unsent))
            .sum()
    }
}

enum Sent {
    Yes,
    /// The journal is full, or away.
    NotNow,
    TooLong,
}

/// Whether an attempt to connect says that nobody is there.
fn is_nobody(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::NotFound | ErrorKind::ConnectionRefused
    )
}

/// A message as the journal takes it but for its text, with its number; and its text.
fn message(event: &Event<'_>, stamp: &Stamp<'_>) -> (Vec<u8>, String) {
    let metadata = event.metadata();
    let mut fields = Fields {
        message: Vec::with_capacity(1024),
        text: String::new(),
    };
    let message = &mut fields.message;
    let priority = priority(*metadata.level()).to_string();
    put(message, "PRIORITY", &priority);
    put(message, "SYSLOG_IDENTIFIER", "mfe-watchdog");
    put(message, "TARGET", metadata.target());
    if let (Some(file), Some(line)) = (metadata.file(), metadata.line()) {
        put(message, "CODE_FILE", file);
        put(message, "CODE_LINE", &line.to_string());
    }
    event.record(&mut fields);
    let Fields { mut message, text } = fields;
    put(&mut message, "MFE_RUN", stamp.run);
    put(&mut message, "MFE_SEQ", &stamp.seq.to_string());
    put(&mut message, "MFE_AT", &stamp.at.to_string());
    (message, text)
}

/// A level as syslog(3) numbers it, in its digit.
fn priority(level: Level) -> char {
    let priorities = PriorityMappings::new();
    let priority = match level {
        Level::ERROR => priorities.error,
        Level::WARN => priorities.warn,
        Level::INFO => priorities.info,
        Level::DEBUG => priorities.debug,
        Level::TRACE => priorities.trace,
    };
    char::from(priority as u8)
}

/// A message's fields as the journal takes them, and its text.
struct Fields {
    message: Vec<u8>,
    text: String,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == TEXT {
            value.clone_into(&mut self.text);
        } else {
            put(&mut self.message, &name(field), value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let mut text = String::new();
        // To a String, that is never refused.
        let _ = write!(text, "{value:?}");
        self.record_str(field, &text);
    }
}

/// A field's name as the journal wants it: capitals, digits and underscores, a capital first.
fn name(field: &Field) -> String {
    let valid = |c: char| match c.to_ascii_uppercase() {
        c @ ('A'..='Z' | '0'..='9') => c,
        _ => '_',
    };
    let name: String = field.name().chars().map(valid).collect();
    name.trim_start_matches(|c: char| !c.is_ascii_uppercase())
        .to_owned()
}

fn put(message: &mut Vec<u8>, name: &str, value: &str) {
    let end = (0..=VALUE_MAX.min(value.len()))
        .rev()
        .find(|end| value.is_char_boundary(*end));
    let value = &value[..end.unwrap_or_default()];
    message.extend(name.as_bytes());
    if value.contains('\n') {
        message.push(b'\n');
        message.extend((value.len() as u64).to_le_bytes());
    } else {
        message.push(b'=');
    }
    message.extend(value.as_bytes());
    message.push(b'\n');
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;
    use std::path::Path;
    use std::sync::Arc;

    use tracing_subscriber::layer::SubscriberExt;

    use super::super::record::{Numbers, RecordLayer};
    use super::*;
    use crate::sys::host;

    /// A journal in a directory of the test's own.
    fn journal_at(path: &Path) -> (Arc<Journal>, Arc<Numbers>) {
        let socket = UnixDatagram::unbound().unwrap();
        socket.set_nonblocking(true).unwrap();
        let journal = Journal {
            socket,
            socket_path: path.to_owned(),
            state: Mutex::default(),
        };
        (Arc::new(journal), Arc::new(Numbers::of(RUN)))
    }

    const RUN: &str = "0123456789abcdef0123456789abcdef";

    /// The values of a field in what a journal has received, one for each message.
    fn values(receiver: &UnixDatagram, field: &str) -> Vec<String> {
        receiver.set_nonblocking(true).unwrap();
        let mut buffer = vec![0; 1 << 17];
        let mut values = Vec::new();
        while let Ok(length) = receiver.recv(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            let mut lines = text.lines();
            let value = lines.find_map(|line| line.strip_prefix(field)?.strip_prefix('='));
            values.push(value.unwrap_or_default().to_owned());
        }
        values
    }

    fn say(to: &(Arc<Journal>, Arc<Numbers>), asked: &str, messages: &[Message]) {
        let layer = RecordLayer {
            numbers: to.1.clone(),
            journal: Some(to.0.clone()),
            ring: None,
            asked: asked.parse().unwrap(),
        };
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, || {
            for message in messages {
                message.record();
            }
        });
    }

    fn down(number: usize) -> Message {
        Message::of_process("a", Kind::Down, None, format!("number {number}"))
    }

    #[test]
    fn what_could_not_be_sent_is_sent_in_its_order_with_the_time_at_which_it_happened() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let to = journal_at(&path);
        let journal = to.0.clone();
        let before = host::since_boot().as_micros();
        say(&to, "info", &[down(1), down(2)]);
        let after = host::since_boot().as_micros();
        assert_eq!(journal.unsent(), 2, "nobody is there");
        let receiver = UnixDatagram::bind(&path).unwrap();
        say(&to, "info", &[down(3)]);
        assert_eq!(journal.unsent(), 0);
        let copy = receiver.try_clone().unwrap();
        let first = received(&copy);
        let at = first.lines().find_map(|line| line.strip_prefix("MFE_AT="));
        let at: u128 = at.unwrap().parse().unwrap();
        assert!(before <= at && at <= after, "{first}");
        assert!(first.contains("\nMFE_RUN=0123456789abcdef0123456789abcdef\n"));
        assert!(first.contains("\nMFE_SEQ=1\n"), "{first}");
        assert_eq!(values(&receiver, "MFE_SEQ"), ["2", "3"]);
    }

    #[test]
    fn more_than_is_kept_is_counted_and_has_a_number() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let to = journal_at(&path);
        let journal = to.0.clone();
        let messages: Vec<_> = (0..UNSENT_MAX + 5).map(down).collect();
        say(&to, "info", &messages);
        assert_eq!(journal.unsent(), UNSENT_MAX);
        assert_eq!(journal.state().missing, 5);
        let long = Message::of_process("a", Kind::Down, None, "x".repeat(9000));
        say(&to, "info", &vec![long; UNSENT_MAX]);
        assert!(journal.state().unsent_bytes() <= UNSENT_BYTES_MAX);
        assert_eq!(to.1.latest(), 2 * UNSENT_MAX as u64 + 5);
        let state = journal.state();
        let kept = state.unsent.iter().map(|unsent| unsent.message.len());
        let kept = kept.sum::<usize>();
        drop(state);
        assert_eq!(journal.state().unsent_bytes(), kept);
    }

    #[test]
    fn what_nobody_wants_to_read_has_a_number_too() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let receiver = UnixDatagram::bind(&path).unwrap();
        let to = journal_at(&path);
        let up = Message::of_process("a", Kind::Up, Some(7), "up");
        say(&to, "warn", &[down(1), up, down(2)]);
        assert_eq!(values(&receiver, "MFE_SEQ"), ["1", "3"]);
    }

    /// Says that a program is down, held under a new number, and that it is back.
    fn say_held(to: &(Arc<Journal>, Arc<Numbers>)) -> u64 {
        let hold = to.0.hold();
        to.0.record_held(hold, || say(to, "info", &[down(1)]));
        say(
            to,
            "info",
            &[Message::of_process("a", Kind::Up, Some(7), "up")],
        );
        hold
    }

    /// A message that a journal has received.
    fn received(receiver: &UnixDatagram) -> String {
        let mut buffer = vec![0; 4096];
        let length = receiver.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    #[test]
    fn what_is_held_comes_with_what_a_program_has_printed_and_before_what_follows() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let receiver = UnixDatagram::bind(&path).unwrap();
        receiver.set_nonblocking(true).unwrap();
        let to = journal_at(&path);
        let [first, second] = [say_held(&to), say_held(&to)];
        assert_ne!(first, second);
        to.0.catch_up();
        assert!(receiver.recv(&mut [0; 9]).is_err(), "it is held");
        assert_eq!(to.0.unsent(), 4);
        to.0.release(Some(second), &[]);
        to.0.release(Some(first), &["a".to_owned(), "b".to_owned()]);
        assert_eq!(to.0.unsent(), 0);
        assert_eq!(to.0.state().unsent_bytes(), 0);
        let down = received(&receiver);
        let text = "number 1\n  > a\n  > b\n";
        assert!(down.contains(text), "{down}");
        let output = "MFE_OUTPUT\n\u{3}\0\0\0\0\0\0\0a\nb\n";
        assert!(down.contains(output), "{down:?}");
        let up = received(&receiver);
        assert!(up.contains("\nMESSAGE=up\n"), "{up}");
        let down = received(&receiver);
        assert!(down.contains("\nMESSAGE=number 1\n"), "{down}");
        assert!(!down.contains("MFE_OUTPUT"), "{down}");
        assert_eq!(values(&receiver, "MFE_SEQ"), ["4"]);
        to.0.catch_up();
        assert!(receiver.recv(&mut [0; 9]).is_err(), "none came late");
    }

    #[test]
    fn what_is_held_for_too_long_or_to_the_end_is_sent_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let receiver = UnixDatagram::bind(&path).unwrap();
        let to = journal_at(&path);
        say_held(&to);
        for unsent in &mut to.0.state().unsent {
            let held = unsent.held.iter_mut();
            held.for_each(|held| held.until = Instant::now());
        }
        to.0.catch_up();
        assert_eq!(values(&receiver, "MESSAGE"), ["number 1", "up"]);
        say_held(&to);
        to.0.catch_up_at_the_end();
        assert_eq!(values(&receiver, "MESSAGE"), ["number 1", "up"]);
    }

    #[test]
    fn what_is_held_is_late_only_if_the_journal_does_not_take_it_then() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let to = journal_at(&path);
        let hold = say_held(&to);
        assert_eq!(to.0.state().late, 0);
        to.0.release(Some(hold), &["a".to_owned()]);
        assert_eq!(to.0.state().late, 2, "nobody is there");
        let kept =
            to.0.state()
                .unsent
                .iter()
                .map(|unsent| unsent.message.len())
                .sum::<usize>();
        assert_eq!(to.0.state().unsent_bytes(), kept);
    }

    #[test]
    fn a_value_of_several_lines_is_one_and_a_long_one_is_cut() {
        let mut message = Vec::new();
        put(&mut message, "A", "b\nc");
        assert_eq!(message, b"A\n\x03\0\0\0\0\0\0\0b\nc\n");
        let mut message = Vec::new();
        put(&mut message, "A", &"é".repeat(VALUE_MAX));
        assert_eq!(message.len(), "A=\n".len() + VALUE_MAX);
    }
}
