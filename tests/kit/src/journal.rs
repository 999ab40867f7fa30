//! systemd's journal, as far as the service can see it: a socket of its native protocol.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::command::in_mount_namespace;
use crate::till::Till;
use crate::wait::eventually;

/// Puts the till's journal where the service looks for systemd's.
const SETUP: &str = "mount -t tmpfs none /run\n\
                     mkdir -p /run/systemd/journal\n\
                     mount --bind \"$JOURNAL\" /run/systemd/journal\n\
                     unset JOURNAL";

/// What other people's messages are.
const FILLER: &[u8] = b"MESSAGE=something else\n";

/// So many of them flood the journal.
const FLOODERS: usize = 4;

/// So many messages are read in one go: in a flood there is always another one.
const READ_MAX: usize = 10_000;

/// So many that the queue is full before the last one has reached the limit that each has.
const OTHERS: usize = 20;

/// The fields of a message.
pub type Entry = BTreeMap<String, String>;

/// A journal that only the till's service sees.
pub struct Journal {
    directory: PathBuf,
    socket: UnixDatagram,
    entries: Mutex<Vec<Entry>>,
}

impl Journal {
    /// An empty one.
    pub fn new(till: &Till) -> Self {
        let directory = till.path().join("journal");
        fs::create_dir(&directory).unwrap();
        let socket = UnixDatagram::bind(directory.join("socket")).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self {
            directory,
            socket,
            entries: Mutex::default(),
        }
    }

    /// A command that runs `program` with this journal in the place of systemd's, after `setup`.
    pub fn in_place(&self, setup: &str, program: &str) -> Command {
        let mut command = in_mount_namespace(&format!("{SETUP}\n{setup}"), program);
        command.env("JOURNAL", &self.directory);
        command
    }

    /// Lets others send messages until the queue is full.
    pub fn fill(&self) {
        fill(&self.directory.join("socket")).unwrap();
    }

    /// Has others send messages, each the next one as soon as its last one is taken, until `work` is done.
    /// All of it is read meanwhile.
    pub fn flooded<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let socket = self.directory.join("socket");
        let is_over = AtomicBool::new(false);
        let flood = || {
            let flooder = UnixDatagram::unbound().unwrap();
            flooder.connect(&socket).unwrap();
            while !is_over.load(Ordering::Relaxed) {
                flooder.send(FILLER).unwrap();
            }
        };
        thread::scope(|scope| {
            let flooders: Vec<_> = (0..FLOODERS).map(|_| scope.spawn(flood)).collect();
            let work = scope.spawn(work);
            // They wait for room, so there is a reader until the last one has gone.
            while flooders.iter().any(|flooder| !flooder.is_finished()) {
                is_over.store(work.is_finished(), Ordering::Relaxed);
                self.messages();
            }
            work.join().unwrap()
        })
    }

    /// Everything it was sent so far, but for other people's messages.
    pub fn messages(&self) -> Vec<Entry> {
        let mut messages = self.entries.lock().unwrap();
        let mut datagram = vec![0; 1 << 20];
        for _ in 0..READ_MAX {
            let Ok(length) = self.socket.recv(&mut datagram) else {
                break;
            };
            // With an empty one a client asks whether anybody is there; journald drops it.
            let message = &datagram[..length];
            if length > 0 && message != FILLER {
                messages.push(parse(message));
            }
        }
        messages.clone()
    }

    /// Those of them about a process.
    pub fn of_process(&self, key: &str) -> Vec<Entry> {
        let mut messages = self.messages();
        messages.retain(|message| message.get("MFE_PROCESS").is_some_and(|value| value == key));
        messages
    }

    /// Waits for the `nth` message of an event, counted from 1.
    pub fn wait_for(&self, event: &str, nth: usize) -> Entry {
        eventually(("journal message", event, nth), || {
            let mut messages = self.messages().into_iter();
            messages
                .by_ref()
                .filter(|message| message.get("MFE_EVENT").is_some_and(|value| value == event))
                .nth(nth - 1)
        })
    }
}

/// Sends to a journal's socket until it takes no more.
pub fn fill(socket: &Path) -> io::Result<()> {
    for _ in 0..OTHERS {
        let other = UnixDatagram::unbound()?;
        other.set_nonblocking(true)?;
        other.connect(socket)?;
        while other.send(FILLER).is_ok() {}
    }
    Ok(())
}

/// Reads a message in systemd's native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL).
fn parse(mut datagram: &[u8]) -> Entry {
    let mut message = Entry::new();
    while !datagram.is_empty() {
        let end = datagram
            .iter()
            .position(|byte| *byte == b'\n')
            .expect("a whole line");
        let line = &datagram[..end];
        datagram = &datagram[end + 1..];
        let (name, value) = if let Some(equals) = line.iter().position(|byte| *byte == b'=') {
            (&line[..equals], &line[equals + 1..])
        } else {
            let (length, rest) = datagram.split_first_chunk::<8>().expect("a length");
            let length = usize::try_from(u64::from_le_bytes(*length)).unwrap();
            assert_eq!(rest[length], b'\n', "the value's end");
            datagram = &rest[length + 1..];
            (line, &rest[..length])
        };
        let name = String::from_utf8(name.to_vec()).unwrap();
        let is_valid = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        assert!(
            name.chars().all(is_valid) && !name.starts_with('_'),
            "{name}"
        );
        let value = String::from_utf8(value.to_vec()).unwrap();
        let before = message.insert(name, value);
        assert_eq!(before, None, "a field twice");
    }
    message
}
