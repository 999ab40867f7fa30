//! stderr, written to without waiting for whoever reads it: a line that it can't take at once is left
//! out and counted, and [`super::catch_up`] tells the count there as soon as it takes lines again.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::libc;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::Context;

use super::is_wanted;
use crate::events::{Kind, Message};
use crate::text::phrase::phrase;

/// What stderr is, whatever it is (proc(5)).
const PATH: &str = "/proc/self/fd/2";

/// stderr.
pub(super) struct Stderr {
    /// The same pipe or terminal, opened once more: to make the inherited descriptor itself
    /// non-blocking would change it for everybody who has it, the technician's shell included.
    opened_again: Option<File>,
    /// How many lines were left out and that isn't told yet.
    missing: AtomicU64,
}

impl Stderr {
    pub(super) fn new() -> Self {
        let can_be_full = std::fs::metadata(PATH).is_ok_and(|stderr| {
            stderr.file_type().is_fifo() || stderr.file_type().is_char_device()
        });
        // Where that is refused (another user's pipe or terminal), what is left is to ask for room
        // before each line; that suffices for lines of less than a page (pipe(7)).
        let opened_again = can_be_full.then(|| {
            let mut options = OpenOptions::new();
            options.write(true);
            options.custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
            options.open(PATH).ok()
        });
        Self {
            opened_again: opened_again.flatten(),
            missing: AtomicU64::new(0),
        }
    }

    /// Whether a line could be written now without waiting.
    pub(super) fn has_room(&self) -> bool {
        match &self.opened_again {
            Some(file) => has_room(file.as_fd()),
            None => has_room(io::stderr().as_fd()),
        }
    }

    /// Tells how many lines are missing, if any are and there is room to say so.
    pub(super) fn catch_up(&self) {
        if self.missing.load(Ordering::Relaxed) == 0 || !self.has_room() {
            return;
        }
        let missing = self.missing.swap(0, Ordering::Relaxed);
        let words = phrase!(
            "stderr took no messages for a while; missing there before this one: %{missing}",
            missing = missing.to_string()
        );
        Message::of_service_in_words(Kind::Degraded, words).record();
        // The room may have gone to somebody else: then this message was left out as well.
        if self.missing.load(Ordering::Relaxed) > 0 {
            self.missing.store(missing, Ordering::Relaxed);
        }
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

/// Writes to stderr what `asked` lets through, by a layer that knows the lines' form.
pub(super) struct StderrLayer<L> {
    pub(super) stderr: Arc<Stderr>,
    pub(super) asked: Targets,
    pub(super) lines: L,
}

impl<S: Subscriber, L: Layer<S>> Layer<S> for StderrLayer<L> {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if !is_wanted(&self.asked, event.metadata()) {
            return;
        }
        self.stderr.catch_up();
        if self.stderr.has_room() {
            self.lines.on_event(event, context);
        } else {
            self.stderr.missing.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Hands out the stderr that a layer writes to.
pub(super) struct StderrWriter(pub(super) Arc<Stderr>);

impl<'a> MakeWriter<'a> for StderrWriter {
    type Writer = &'a Stderr;

    fn make_writer(&'a self) -> Self::Writer {
        &self.0
    }
}

/// A line that only half fits, of more than a page, ends there.
impl Write for &Stderr {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match &self.opened_again {
            Some(file) => (&*file).write(line),
            None => io::stderr().write(line),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
