//! Replaces and reads the files that the service publishes in its runtime directory; what is in them
//! is decided in [`crate::daemon`] and [`crate::status`].

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::libc;

use crate::text::phrase::{Phrase, phrase};

/// A larger file isn't ours, in bytes.
const MAX_SIZE: u64 = 1 << 20;

/// Puts `content` in place of the file `name` of `directory`; a reader sees the one or the other,
/// whole.
pub(crate) fn replace(directory: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    let new = directory.join(format!(".{name}.new"));
    let written = create(&new)
        .and_then(|mut file| file.write_all(content))
        .and_then(|()| fs::rename(&new, directory.join(name)));
    if written.is_err() {
        // Half a file on a full disk helps nobody.
        let _ = fs::remove_file(&new);
    }
    written
}

/// Creates a file that wasn't there. What an earlier run of the service has left in its place, or
/// somebody else has put there (a link to another file, a FIFO), is removed and never opened.
fn create(path: &Path) -> io::Result<File> {
    let create = || {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o644).open(path)
    };
    match create() {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(path)?;
            create()
        }
        created => created,
    }
}

/// Reads the file `name` of `directory`; `None` when there is none. A link in its place is not
/// followed, and nothing but a regular file is waited for or read.
pub(crate) fn read(directory: &Path, name: &str) -> Result<Option<Vec<u8>>, Phrase> {
    let path = directory.join(name);
    let open = OpenOptions::new()
        .read(true)
        // Opening a FIFO would wait for somebody to write.
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(&path);
    let shown = path.display().to_string();
    let unreadable = |error: io::Error| {
        phrase!(
            "%{file} can't be read: %{error}",
            file = shown.as_str(),
            error = error.to_string()
        )
    };
    let file = match open {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(unreadable)?,
    };
    if !file.metadata().map_err(unreadable)?.is_file() {
        return Err(phrase!("%{file} isn't a regular file", file = shown));
    }
    let mut text = Vec::new();
    file.take(MAX_SIZE + 1)
        .read_to_end(&mut text)
        .map_err(unreadable)?;
    if text.len() as u64 > MAX_SIZE {
        return Err(phrase!(
            "%{file} is larger than any file of this service",
            file = shown
        ));
    }
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    use super::*;

    #[test]
    fn nothing_that_lies_in_the_way_is_written_to() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let new = path(".status.json.new");
        let plants: [&dyn Fn(&Path); 5] = [
            &|at| fs::write(at, "left by an earlier run").unwrap(),
            &|at| symlink(path("other"), at).unwrap(),
            &|at| symlink(path("missing"), at).unwrap(),
            &|at| fs::hard_link(path("other"), at).unwrap(),
            &|at| mkfifo(at, Mode::S_IRWXU).unwrap(),
        ];
        for (n, plant) in plants.iter().enumerate() {
            fs::write(path("other"), "other").unwrap();
            for at in [&new, &path("status.json")] {
                let _ = fs::remove_file(at);
                plant(at);
            }
            let content = n.to_string();
            replace(directory.path(), "status.json", content.as_bytes()).unwrap();
            let published = path("status.json");
            assert!(fs::symlink_metadata(&published).unwrap().is_file());
            assert_eq!(fs::read_to_string(published).unwrap(), content);
            assert_eq!(fs::read_to_string(path("other")).unwrap(), "other");
            assert!(!path("missing").exists() && !new.exists());
        }
    }
}
