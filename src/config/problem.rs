//! What is wrong with a configuration, said so that a technician can fix it at once; finding it
//! is done in [`super::section`].

use std::fmt;
use std::path::PathBuf;

use mfe_common::escape::printable;

use crate::text::phrase::{Phrase, phrase};

/// More problems than this are counted, not shown: nobody reads a thousand lines about a binary
/// file.
const SHOWN_AT_MOST: usize = 25;

/// As many fit into a status.
const SUMMARIZED: usize = 3;

/// One mistake in a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The line it is on, counted from 1; `None` when it is about the file as a whole.
    pub line: Option<usize>,
    /// The setting's full name, such as `process.monitor.interval`; empty when there is none.
    pub key: String,
    /// What is wrong and what would be right.
    pub message: Phrase,
}

/// How many lines end in `text`.
pub(super) fn line_ends(text: &[u8]) -> usize {
    text.split(|byte| *byte == b'\n').skip(1).count()
}

/// Every problem of one configuration, at least one.
///
/// Its `Display` is one line per problem: `FILE:LINE: KEY: MESSAGE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The file, as the user named it.
    pub file: PathBuf,
    /// What is wrong with it, in the order of the file.
    pub problems: Vec<Problem>,
}

impl ConfigError {
    /// An error about the file as a whole.
    #[must_use]
    pub fn whole_file(file: PathBuf, message: Phrase) -> Self {
        let problems = vec![Problem {
            line: None,
            key: String::new(),
            message,
        }];
        Self { file, problems }
    }

    /// The lines a person reads, in the user's language.
    pub fn translated_lines(&self) -> impl Iterator<Item = String> {
        self.phrases().map(|line| line.translated())
    }

    /// The shell commands that end those lines, where one does.
    pub fn commands(&self) -> impl Iterator<Item = Option<&str>> {
        let shown = self.problems.iter().take(SHOWN_AT_MOST);
        let commands = shown.map(|problem| problem.message.command());
        commands.chain(std::iter::repeat(None))
    }

    /// A line for each problem.
    pub fn phrases(&self) -> impl Iterator<Item = Phrase> {
        let hidden = self.problems.len().saturating_sub(SHOWN_AT_MOST);
        let more = phrase!("%{count} more problems", count = hidden.to_string());
        let more = (hidden > 0).then(|| in_place(self.file(), more));
        let shown = self.problems.iter().take(SHOWN_AT_MOST);
        shown
            .map(|problem| in_place(self.place(problem), problem.message.clone()))
            .chain(more)
    }

    /// The first problems, and how many more there are: what fits into a status.
    #[must_use]
    pub fn summary(&self) -> Vec<Phrase> {
        let first = self.problems.iter().take(SUMMARIZED);
        let first = first.map(|problem| in_place(self.place(problem), problem.message.clone()));
        let more = self.problems.len().saturating_sub(SUMMARIZED);
        let more = (more > 0).then(|| phrase!("%{count} more problems", count = more.to_string()));
        first.chain(more).collect()
    }

    fn file(&self) -> String {
        printable(&self.file.display().to_string())
    }

    /// The file, the line and the setting, as far as it is about one.
    fn place(&self, problem: &Problem) -> String {
        let file = self.file();
        let line = problem
            .line
            .map(|line| format!(":{line}"))
            .unwrap_or_default();
        let key = match problem.key.as_str() {
            "" => String::new(),
            key => format!(": {key}"),
        };
        format!("{file}{line}{key}")
    }
}

/// A problem and where it is.
fn in_place(place: String, problem: Phrase) -> Phrase {
    phrase!("%{place}: %{problem}", place = place, problem = problem)
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, line) in self.phrases().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{line}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}
