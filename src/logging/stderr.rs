//! stderr, written to without waiting for whoever reads it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::sync::Arc;

use nix::libc;
use tracing_subscriber::fmt::MakeWriter;

use super::gate::{Gate, Outlet};
use super::has_room;

/// What stderr is, whatever it is (proc(5)).
const PATH: &str = "/proc/self/fd/2";

/// stderr.
pub(super) struct Stderr {
    /// The same pipe or terminal, opened once more: to make the inherited descriptor itself
    /// non-blocking would change it for everybody who has it, the technician's shell included.
    opened_again: Option<File>,
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
        }
    }
}

impl Outlet for Stderr {
    const NAME: &str = "stderr";

    fn has_room(&self) -> bool {
        match &self.opened_again {
            Some(file) => has_room(file.as_fd()),
            None => has_room(io::stderr().as_fd()),
        }
    }
}

/// Writes to the stderr that a gate leads to.
pub(super) struct StderrWriter(pub(super) Arc<Gate<Stderr>>);

impl<'a> MakeWriter<'a> for StderrWriter {
    type Writer = &'a Stderr;

    fn make_writer(&'a self) -> Self::Writer {
        self.0.outlet()
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
