//! What outlives the relay: how far each boot is confirmed (sent.json).

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use mfe_common::files;
use serde::{Deserialize, Serialize};

use crate::event::Boot;
use crate::window::Marks;

/// Its name in the state directory.
pub(crate) const FILE: &str = "sent.json";

/// So many boots are kept that the journal doesn't have any more, and never more than this of those that it has.
const BOOTS_KEPT: usize = 256;
const BOOTS_MAX: usize = 8192;

/// Later than any event of a boot: all of it counts as delivered. (Below 2^53, so that every JSON reader has it.)
pub(crate) const ALL: u64 = (1 << 53) - 1;

/// The form of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Saved {
    version: u32,
    pub(crate) marks: Marks,
    /// Lines of the journal that couldn't be understood, and are given up.
    #[serde(default)]
    pub(crate) lost: u64,
}

impl Saved {
    /// What is to be saved.
    pub(crate) fn new(marks: Marks, lost: u64) -> Self {
        Self {
            version: 1,
            marks,
            lost,
        }
    }

    /// Reads the file of a state directory; `None` if there is none.
    ///
    /// # Errors
    /// When it can't be read, or isn't one.
    pub(crate) fn read(folder: &Path) -> io::Result<Option<Self>> {
        let Some(content) = files::read(&path(folder))? else {
            return Ok(None);
        };
        let saved: Self = serde_json::from_slice(&content).map_err(io::Error::other)?;
        if saved.version != 1 {
            let version = saved.version;
            return Err(io::Error::other(format!("version {version} is unknown")));
        }
        Ok(Some(saved))
    }

    /// Writes it.
    ///
    /// # Errors
    /// When that fails; the file is as it was.
    pub(crate) fn write(&self, folder: &Path) -> io::Result<()> {
        let content = serde_json::to_vec(self).map_err(io::Error::other)?;
        files::replace(&path(folder), &content, 0o640)
    }

    /// Forgets boots that the journal doesn't have any more, if there are many.
    pub(crate) fn forget(&mut self, there: &BTreeSet<Boot>) {
        let excess = self.marks.len().saturating_sub(BOOTS_KEPT);
        let gone = self.marks.keys().filter(|boot| !there.contains(boot));
        let gone: Vec<Boot> = gone.take(excess).copied().collect();
        for boot in gone {
            self.marks.remove(&boot);
        }
        while self.marks.len() > BOOTS_MAX {
            self.marks.pop_first();
        }
    }
}

/// Where a state directory has it.
pub(crate) fn path(folder: &Path) -> PathBuf {
    folder.join(FILE)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn boot(n: usize) -> Boot {
        Boot::new(&format!("{n:032x}")).unwrap()
    }

    #[test]
    fn what_is_saved_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Saved::read(folder.path()).unwrap(), None);
        let saved = Saved::new([(boot(1), 5), (boot(2), ALL)].into(), 3);
        saved.write(folder.path()).unwrap();
        assert_eq!(Saved::read(folder.path()).unwrap(), Some(saved));
        let text = fs::read_to_string(path(folder.path())).unwrap();
        let marks = format!("\"marks\":{{\"{}\":5", boot(1));
        assert!(
            text.starts_with("{\"version\":1,") && text.contains(&marks),
            "{text}"
        );
    }

    #[test]
    fn what_is_no_state_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        for text in [
            "",
            "{",
            "{\"version\":2,\"marks\":{}}",
            "{\"version\":1,\"marks\":{\"x\":1}}",
            "{\"version\":1}",
        ] {
            fs::write(path(folder.path()), text).unwrap();
            assert!(Saved::read(folder.path()).is_err(), "{text}");
        }
    }

    #[test]
    fn boots_that_the_journal_has_are_never_forgotten() {
        let marks: Marks = (0..1000).map(|n| (boot(n), 1)).collect();
        let there: BTreeSet<Boot> = (0..400).map(boot).collect();
        let mut saved = Saved::new(marks, 0);
        saved.forget(&there);
        assert_eq!(saved.marks.len(), 400);
        assert!(there.iter().all(|boot| saved.marks.contains_key(boot)));
        let mut few = Saved::new([(boot(1), 1)].into(), 0);
        few.forget(&BTreeSet::new());
        assert_eq!(few.marks.len(), 1);
    }
}
