//! What can still be read of a configuration that can't be used: whether it asks for restraint, and
//! whether it names programs of its own. What the service goes by instead is decided in
//! [`crate::daemon::startup`].

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::MAX_SIZE;

/// Read line by line, for the rest may be anything: the settings at the top are those before the first
/// section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Salvage {
    /// Whether `dry_run = true` stands at the top.
    pub is_dry_run: bool,
    /// Whether `refuse_unsafe_commands = true` stands at the top.
    pub refuses_unsafe_commands: bool,
    /// Whether it says anything of processes.
    pub names_processes: bool,
}

impl Salvage {
    /// Reads what can be read of the file at `path`; `None` when that is nothing.
    #[must_use]
    pub fn read(path: &Path) -> Option<Self> {
        // Opening a FIFO would wait for somebody to write.
        if !std::fs::metadata(path).ok()?.is_file() {
            return None;
        }
        let mut bytes = Vec::new();
        let file = File::open(path).ok()?;
        file.take(MAX_SIZE).read_to_end(&mut bytes).ok()?;
        Some(Self::of(&String::from_utf8_lossy(&bytes)))
    }

    fn of(text: &str) -> Self {
        let mut lines = text.lines().map(without_comment);
        let top = text.lines().map(without_comment);
        let top: Vec<&str> = top.take_while(|line| !line.starts_with('[')).collect();
        let is_on = |key: &str| top.iter().any(|line| is_on(line, key));
        Self {
            is_dry_run: is_on("dry_run"),
            refuses_unsafe_commands: is_on("refuse_unsafe_commands"),
            names_processes: lines.any(|line| {
                let begin = line.trim_start_matches(['[', ' ', '\t', '"', '\'']);
                begin.starts_with("process")
            }),
        }
    }
}

fn without_comment(line: &str) -> &str {
    line.split('#').next().unwrap_or_default().trim()
}

/// Whether a line switches this setting on.
fn is_on(line: &str, key: &str) -> bool {
    let assignment = line.split_once('=');
    assignment.is_some_and(|(name, value)| {
        name.trim().trim_matches(['"', '\'']) == key && value.trim() == "true"
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn salvage(text: &str) -> (bool, bool, bool) {
        let found = Salvage::of(text);
        let Salvage {
            is_dry_run,
            refuses_unsafe_commands,
            names_processes,
        } = found;
        (is_dry_run, refuses_unsafe_commands, names_processes)
    }

    #[test]
    fn restraint_holds_whatever_the_rest_says() {
        for text in [
            "dry_run = true",
            "interval = \ndry_run=true # for now",
            "\u{feff}\n \"dry_run\" = true\n[process.a",
            "\u{0}\u{fffd}\ndry_run = true\n",
        ] {
            assert!(salvage(text).0, "{text}");
        }
        for text in [
            "",
            "# dry_run = true",
            "dry_run = false",
            "dry_run = \"true\"",
            "[process.a]\ndry_run = true",
            "interval = 3 # dry_run = true",
        ] {
            assert!(!salvage(text).0, "{text}");
        }
        let refuses = "refuse_unsafe_commands = true\n]";
        assert_eq!(salvage(refuses), (false, true, false));
    }

    #[test]
    fn a_process_is_named_however_it_is_written() {
        for text in [
            "[process.monitor]",
            " [ process . monitor ]",
            "[\"process\".monitor]",
            "process.monitor.name = \"Monitor\"",
            "process = {}",
            "interval =\n[process",
            "[[process]]",
        ] {
            assert!(salvage(text).2, "{text}");
        }
        for text in ["", "interval = \"soon\"", "# [process.monitor]", "[[hook]]"] {
            assert!(!salvage(text).2, "{text}");
        }
    }

    #[test]
    fn of_what_cannot_be_read_nothing_is_known() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(Salvage::read(directory.path()), None);
        assert_eq!(Salvage::read(&directory.path().join("missing")), None);
        let file = directory.path().join("file");
        std::fs::write(&file, b"\xff\xfe\ndry_run = true\n").unwrap();
        assert!(Salvage::read(&file).unwrap().is_dry_run);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,200}", ends in any::<bool>()) {
            let text = format!("{text}\ndry_run = true{}", if ends { "\n" } else { "" });
            let _ = salvage(&text);
        }
    }
}
