//! The settings in force, as the running service publishes them for the programs it has systemd
//! start: the configuration file may say something else by then, or nothing that can be used. What
//! puts settings in force is the service.

use std::io;
use std::path::Path;

use crate::config::{Settings, Source, parse, read};
use crate::sys::small_file::replace;

/// The file's name in the runtime directory.
const FILE_NAME: &str = "in-force.toml";

/// Publishes `settings` in `directory`.
///
/// # Errors
/// When they can't be written; what was published before is still there.
pub fn publish(settings: &Settings, directory: &Path) -> io::Result<()> {
    let text = settings.to_toml().map_err(io::Error::other)?;
    replace(directory, FILE_NAME, text.as_bytes())
}

/// Reads what was last published in `directory`; `None` unless it is there and good.
#[must_use]
pub fn published(directory: &Path) -> Option<(Settings, Source)> {
    let file = directory.join(FILE_NAME);
    let settings = parse(&read(&file).ok()?, &file).ok()?;
    Some((settings, Source::File(file)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DEFAULT_TEXT;

    #[test]
    fn what_is_published_is_read_again() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(published(directory.path()), None);
        let settings = parse(DEFAULT_TEXT, Path::new("default.toml")).unwrap();
        publish(&settings, directory.path()).unwrap();
        assert_eq!(published(directory.path()).unwrap().0, settings);
    }

    #[test]
    fn what_is_broken_is_as_good_as_nothing() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(FILE_NAME), "interval =").unwrap();
        assert_eq!(published(directory.path()), None);
    }
}
