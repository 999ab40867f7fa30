//! The watchdog's own copy of its events, in the state directory: whatever others print or remove, a report
//! has them, though the journal may have lost them. A line of JSON an event, with the fields that
//! [`crate::report`] reads, named as in the journal; the words of a message are in the journal alone.
//!
//! A line goes to the kernel's memory and isn't waited for on the disk (fsync(2)), which takes seconds on a
//! slow one: the service has one thread, and the next restart is not to wait. What a power cut takes is
//! what the kernel hasn't written yet, of half a minute as it is set up (`proc_sys_vm(5)`,
//! dirty_expire_centisecs).

use std::fmt::Debug;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use nix::libc;
use rustix::process::geteuid;
use serde_json::{Map, Value};
use tracing::Event;
use tracing::field::{Field, Visit};

use super::Stamp;
use crate::events::DETAIL;
use crate::sys::host;

/// The folder's name in the state directory.
const FOLDER: &str = "history";

/// The file that is written to, and the one before it.
pub(crate) const FILES: [&str; 2] = ["events.jsonl", "events.1.jsonl"];

/// When a file is that long, another one is begun and the one before it goes, in bytes.
const SIZE_MAX: u64 = 1_000_000;

/// A longer line isn't written, in bytes: a report then knows that an event is missing.
const LINE_MAX: usize = 4096;

/// How many numbers before an event's are those of messages that are no events, and kept nowhere but in the
/// journal.
const OTHERS: &str = "MFE_OTHERS";

/// The fields of an event that are kept begin with this; a report has no use for a detail.
const PREFIX: &str = "MFE_";

/// The folder of the files, in a state directory.
#[must_use]
pub fn folder(state: &Path) -> PathBuf {
    state.join(FOLDER)
}

/// The files of one service.
#[derive(Debug)]
pub(super) struct Ring {
    folder: PathBuf,
    machine: String,
    boot: String,
    pid: u32,
    current: Mutex<Current>,
}

/// The file that is written to.
#[derive(Debug, Default)]
struct Current {
    file: Option<File>,
    /// Why the latest event isn't there, if it isn't.
    trouble: Option<io::Error>,
}

impl Ring {
    pub(super) fn new(state: &Path) -> Self {
        Self {
            folder: folder(state),
            machine: host::machine_id(),
            boot: host::boot_id_of_all().unwrap_or_default().replace('-', ""),
            pid: std::process::id(),
            current: Mutex::default(),
        }
    }

    /// Adds an event.
    pub(super) fn add(&self, event: &Event<'_>, stamp: &Stamp<'_>) {
        let mut current = self.current();
        let kept = self.append(&mut current.file, &self.line(event, stamp));
        if kept.is_err() {
            // Whatever is wrong with it, it is looked at again.
            current.file = None;
        }
        current.trouble = kept.err();
    }

    /// Why the latest event isn't there, in words, if it isn't.
    pub(super) fn trouble_in_words(&self) -> Option<String> {
        self.current().trouble.as_ref().map(io::Error::to_string)
    }

    /// Nothing here panics while it is locked; if it did, it would still be whole.
    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As journalctl(1) writes an entry with `--output=json`.
    fn line(&self, event: &Event<'_>, stamp: &Stamp<'_>) -> Vec<u8> {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let of_all = [
            ("_MACHINE_ID", self.machine.clone()),
            ("_BOOT_ID", self.boot.clone()),
            (
                "__MONOTONIC_TIMESTAMP",
                host::monotonic().as_micros().to_string(),
            ),
            (
                "__REALTIME_TIMESTAMP",
                wall.unwrap_or_default().as_micros().to_string(),
            ),
            ("_PID", self.pid.to_string()),
            ("MFE_RUN", stamp.run.to_owned()),
            ("MFE_SEQ", stamp.seq.to_string()),
            ("MFE_AT", stamp.at.to_string()),
        ];
        let others = (stamp.others > 0).then(|| (OTHERS, stamp.others.to_string()));
        let of_all = of_all.into_iter().chain(others);
        let fields = of_all.map(|(name, value)| (name.to_owned(), Value::String(value)));
        let mut fields = Fields(fields.collect());
        event.record(&mut fields);
        // It has nothing that JSON can't say.
        serde_json::to_vec(&fields.0).unwrap_or_default()
    }

    /// Appends a line to the file that is open, or to a new one.
    fn append(&self, current: &mut Option<File>, line: &[u8]) -> io::Result<()> {
        if line.is_empty() || line.len() >= LINE_MAX {
            return Err(io::Error::new(ErrorKind::InvalidData, "it is too long"));
        }
        let room = line.len() as u64 + 1;
        let there = current.take();
        let (mut file, mut size) = match there.map(in_place).transpose()?.flatten() {
            Some(there) => there,
            None => self.open_or_create()?,
        };
        if size + room > SIZE_MAX {
            let [this, earlier] = FILES.map(|name| self.folder.join(name));
            fs::rename(this, earlier)?;
            (file, size) = self.open_or_create()?;
        }
        let mut text = Vec::with_capacity(line.len() + 1);
        text.extend(line);
        text.push(b'\n');
        file.write_all(&text).inspect_err(|_| {
            // Half a line on a full disk helps nobody; if it stays, it is no line of anybody's.
            let _ = file.set_len(size);
        })?;
        *current = Some(file);
        Ok(())
    }

    fn open_or_create(&self) -> io::Result<(File, u64)> {
        match self.open() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let mut folder = DirBuilder::new();
                folder.recursive(true).mode(0o750).create(&self.folder)?;
                self.open()
            }
            opened => opened,
        }
    }

    /// Opens the file that is written to, and says how long it is. What isn't a file of the service's own, as
    /// a link to another one, is neither followed nor written to.
    fn open(&self) -> io::Result<(File, u64)> {
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true).mode(0o640);
        // Opening a FIFO would wait for somebody to read.
        options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
        let mut file = options.open(self.folder.join(FILES[0]))?;
        let metadata = file.metadata()?;
        if !metadata.is_file() || metadata.uid() != geteuid().as_raw() || metadata.nlink() != 1 {
            let why = "it isn't a file of the service's own";
            return Err(io::Error::new(ErrorKind::PermissionDenied, why));
        }
        let size = metadata.len();
        if ends_a_line(&file, size)? {
            return Ok((file, size));
        }
        file.write_all(b"\n")?;
        Ok((file, size + 1))
    }
}

/// The file and its length, unless somebody has removed it.
fn in_place(file: File) -> io::Result<Option<(File, u64)>> {
    let metadata = file.metadata()?;
    let size = metadata.len();
    Ok((metadata.nlink() > 0).then_some((file, size)))
}

/// Whether nothing but whole lines is in a file of this size: a power cut or a full disk may have taken the
/// end of one.
fn ends_a_line(file: &File, size: u64) -> io::Result<bool> {
    let Some(last) = size.checked_sub(1) else {
        return Ok(true);
    };
    let mut end = [0];
    file.read_exact_at(&mut end, last)?;
    Ok(end == *b"\n")
}

/// An event's fields, as the journal names them.
struct Fields(Map<String, Value>);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name().starts_with(PREFIX) && field.name() != DETAIL {
            self.0.insert(field.name().to_owned(), value.into());
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    impl Ring {
        fn put(&self, line: &[u8]) -> io::Result<()> {
            self.append(&mut self.current().file, line)
        }
    }

    /// A ring in a directory of the test's own, and the file that is written to.
    fn ring() -> (tempfile::TempDir, Ring, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let ring = Ring::new(directory.path());
        let file = folder(directory.path()).join(FILES[0]);
        (directory, ring, file)
    }

    fn lines(file: &Path) -> Vec<String> {
        let text = fs::read_to_string(file).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn it_never_takes_more_than_two_files_and_has_the_latest() {
        let (_directory, ring, file) = ring();
        let line = |number: u64| format!("{number:0900}").into_bytes();
        for number in 0..3000 {
            ring.put(&line(number)).unwrap();
        }
        let earlier = file.with_file_name(FILES[1]);
        for file in [&file, &earlier] {
            assert!(fs::metadata(file).unwrap().len() <= SIZE_MAX);
        }
        let all = [lines(&earlier), lines(&file)].concat();
        let first = 3000 - all.len() as u64;
        let expected: Vec<String> = (first..3000).map(|n| format!("{n:0900}")).collect();
        assert_eq!(all, expected);
        assert!(first < 2000, "more than one file is left: {first}");
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
    }

    #[test]
    fn what_a_power_cut_has_left_of_a_line_ends_there() {
        let (directory, first, file) = ring();
        first.put(b"one").unwrap();
        fs::write(&file, "one\n{\"tor").unwrap();
        let ring = Ring::new(directory.path());
        ring.put(b"two").unwrap();
        ring.put(b"three").unwrap();
        assert_eq!(lines(&file), ["one", "{\"tor", "two", "three"]);
    }

    #[test]
    fn a_line_that_is_too_long_is_left_out() {
        let (_directory, ring, file) = ring();
        ring.put(&[b'x'; LINE_MAX]).unwrap_err();
        ring.put(&[b'x'; LINE_MAX - 1]).unwrap();
        assert_eq!(lines(&file), ["x".repeat(LINE_MAX - 1)]);
    }

    #[test]
    fn what_is_no_file_of_ours_is_neither_followed_nor_written_to() {
        let (directory, ring, file) = ring();
        let precious = directory.path().join("precious");
        fs::write(&precious, "precious").unwrap();
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        symlink(&precious, &file).unwrap();
        ring.put(b"one").unwrap_err();
        fs::remove_file(&file).unwrap();
        fs::hard_link(&precious, &file).unwrap();
        ring.put(b"one").unwrap_err();
        fs::remove_file(&file).unwrap();
        let mode = nix::sys::stat::Mode::S_IRUSR | nix::sys::stat::Mode::S_IWUSR;
        nix::unistd::mkfifo(&file, mode).unwrap();
        ring.put(b"one").unwrap_err();
        assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
        fs::remove_file(&file).unwrap();
        ring.put(b"one").unwrap();
        assert_eq!(lines(&file), ["one"]);
    }

    #[test]
    fn what_somebody_removes_is_made_again() {
        let (_directory, ring, file) = ring();
        ring.put(b"one").unwrap();
        fs::remove_dir_all(file.parent().unwrap()).unwrap();
        ring.put(b"two").unwrap();
        assert_eq!(lines(&file), ["two"]);
    }
}
