//! Replaces and reads the files that the service publishes in its runtime directory; what is in them
//! is decided elsewhere.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context;
use nix::libc;

/// A larger file isn't ours, in bytes.
const MAX_SIZE: u64 = 1 << 20;

/// Puts `content` in place of the file `name` of `directory`; a reader sees the one or the other,
/// whole.
pub(crate) fn replace(directory: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    let new = directory.join(format!(".{name}.new"));
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o644)
        .custom_flags(libc::O_NOFOLLOW)
        .open(&new)
        .and_then(|mut file| file.write_all(content))
        .and_then(|()| fs::rename(&new, directory.join(name)));
    if written.is_err() {
        // Half a file on a full disk helps nobody.
        let _ = fs::remove_file(&new);
    }
    written
}

/// Reads the file `name` of `directory`; `None` when there is none. A link in its place is not
/// followed, and nothing but a regular file is waited for or read.
pub(crate) fn read(directory: &Path, name: &str) -> anyhow::Result<Option<Vec<u8>>> {
    let path = directory.join(name);
    let open = OpenOptions::new()
        .read(true)
        // Opening a FIFO would wait for somebody to write.
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(&path);
    let unreadable = || format!("{} can't be read", path.display());
    let file = match open {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.with_context(unreadable)?,
    };
    if !file.metadata().with_context(unreadable)?.is_file() {
        anyhow::bail!("{} isn't a regular file", path.display());
    }
    let mut text = Vec::new();
    file.take(MAX_SIZE + 1)
        .read_to_end(&mut text)
        .with_context(unreadable)?;
    if text.len() as u64 > MAX_SIZE {
        anyhow::bail!("{} is larger than any file of this service", path.display());
    }
    Ok(Some(text))
}
