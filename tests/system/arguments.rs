//! The command line of a test program, as `cargo test` passes it on; it knows the flags of
//! libtest that select tests, and takes no notice of those that say how to show them.

use std::iter::Peekable;

use anyhow::{Result, bail};

/// Flags of libtest that come with a value and select nothing.
const IGNORED_WITH_VALUE: [&str; 5] = [
    "--test-threads",
    "--color",
    "--format",
    "--logfile",
    "--shuffle-seed",
];

/// What was asked for.
#[derive(Default)]
pub(crate) struct Arguments {
    pub(crate) list: bool,
    exact: bool,
    only_ignored: bool,
    filters: Vec<String>,
    skips: Vec<String>,
}

impl Arguments {
    pub(crate) fn parse(mut words: Peekable<impl Iterator<Item = String>>) -> Result<Self> {
        let mut arguments = Self::default();
        while let Some(word) = words.next() {
            let (flag, value) = match word.split_once('=') {
                Some((flag, value)) => (flag, Some(value.to_owned())),
                None => (word.as_str(), None),
            };
            match flag {
                "--list" => arguments.list = true,
                "--exact" => arguments.exact = true,
                "--ignored" => arguments.only_ignored = true,
                "--skip" => match value.or_else(|| words.next()) {
                    Some(skip) => arguments.skips.push(skip),
                    None => bail!("--skip needs a name"),
                },
                _ if IGNORED_WITH_VALUE.contains(&flag) => {
                    if value.is_none() {
                        words.next();
                    }
                }
                _ if flag.starts_with('-') => {}
                _ => arguments.filters.push(word),
            }
        }
        Ok(arguments)
    }

    /// Whether a case is to run. None is ever marked as ignored.
    pub(crate) fn selects(&self, name: &str) -> bool {
        let matches = |pattern: &String| {
            if self.exact {
                name == pattern
            } else {
                name.contains(pattern.as_str())
            }
        };
        !self.only_ignored
            && (self.filters.is_empty() || self.filters.iter().any(matches))
            && !self.skips.iter().any(matches)
    }
}
