//! Reads files of the machine that is checked, and remembers what it wasn't let see; what isn't
//! there is nothing.

use std::fs::{self, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use mfe_common::escape::printable;
use nix::libc;

/// More of a file than this isn't read, in bytes.
const FILE_MAX: u64 = 1 << 20;

/// The machine's files. Every path is one of the machine's own.
#[derive(Debug)]
pub(super) struct View<'a> {
    root: &'a Path,
    unseen: Vec<String>,
}

impl<'a> View<'a> {
    pub(super) fn new(root: &'a Path) -> Self {
        Self {
            root,
            unseen: Vec::new(),
        }
    }

    /// Where a path of the machine's is.
    pub(super) fn at(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Whether it is this machine, which can be asked too.
    pub(super) fn is_of_this_machine(&self) -> bool {
        self.root == Path::new("/")
    }

    /// Notes what couldn't be looked at, and why.
    pub(super) fn cannot_see(&mut self, what: &Path, error: &dyn std::fmt::Display) {
        let what = printable(&what.display().to_string());
        self.unseen.push(format!("{what} ({error})"));
    }

    /// Everything that couldn't be looked at; printable.
    pub(super) fn into_unseen(self) -> Vec<String> {
        self.unseen
    }

    fn found<T>(&mut self, path: &Path, result: io::Result<T>) -> Option<T> {
        match result {
            Ok(found) => Some(found),
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                None
            }
            Err(error) => {
                self.cannot_see(path, &error);
                None
            }
        }
    }

    /// What is there, links followed.
    pub(super) fn metadata(&mut self, path: &Path) -> Option<Metadata> {
        let result = fs::metadata(self.at(path));
        self.found(path, result)
    }

    /// Where a link leads to, if it is one.
    pub(super) fn link(&self, path: &Path) -> Option<PathBuf> {
        fs::read_link(self.at(path)).ok()
    }

    /// The beginning of a regular file.
    pub(super) fn bytes(&mut self, path: &Path) -> Option<Vec<u8>> {
        // To open a FIFO would be to wait for somebody who writes.
        if !self.metadata(path)?.is_file() {
            return None;
        }
        let mut bytes = Vec::new();
        // Nor if one has taken the file's place meanwhile, in a folder of somebody else's.
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(self.at(path));
        let result = file.and_then(|file| file.take(FILE_MAX).read_to_end(&mut bytes));
        self.found(path, result)?;
        Some(bytes)
    }

    /// The same as text.
    pub(super) fn text(&mut self, path: &Path) -> Option<String> {
        let bytes = self.bytes(path)?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The same of a script: a file whose first line names its interpreter.
    pub(super) fn script(&mut self, path: &Path) -> Option<String> {
        self.text(path).filter(|text| text.starts_with("#!"))
    }

    /// What is in a folder, by name.
    pub(super) fn folder(&mut self, path: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.at(path));
        let entries = entries.and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let entries = self.found(path, entries).unwrap_or_default();
        let mut paths: Vec<_> = entries
            .iter()
            .map(|entry| path.join(entry.file_name()))
            .collect();
        paths.sort_unstable();
        paths
    }
}
