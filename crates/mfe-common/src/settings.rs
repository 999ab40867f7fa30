//! What is wrong with a file of settings, all of it at once, each with its line.

use std::io;
use std::ops::Range;
use std::path::Path;

use toml::de::{DeTable, Error};

use crate::files;

/// Something that is wrong, fit for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// From 1; `None` if it is about the file.
    pub line: Option<usize>,
    /// What is wrong, and what it should be.
    pub text: String,
}

impl Problem {
    /// One of the whole file.
    #[must_use]
    pub fn of_file(text: impl Into<String>) -> Self {
        let (line, text) = (None, text.into());
        Self { line, text }
    }

    /// The line that tells it, as compilers do.
    #[must_use]
    pub fn shown(&self, file: &Path) -> String {
        let file = file.display();
        match self.line {
            Some(line) => format!("{file}:{line}: {}", self.text),
            None => format!("{file}: {}", self.text),
        }
    }
}

/// The problems of a text as they are found.
#[derive(Debug)]
pub struct Problems<'a> {
    text: &'a str,
    found: Vec<Problem>,
}

impl<'a> Problems<'a> {
    /// Those of `text`, beginning with what is no TOML.
    #[must_use]
    pub fn new(text: &'a str, errors: &[Error]) -> Self {
        let found = Vec::new();
        let mut problems = Self { text, found };
        for error in errors {
            problems.at(error.span().unwrap_or_default(), error.message());
        }
        problems
    }

    /// Adds one of the place `span`, in bytes.
    pub fn at(&mut self, span: Range<usize>, text: impl Into<String>) {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line = Some(1 + before.matches('\n').count());
        let text = text.into();
        self.found.push(Problem { line, text });
    }

    /// Adds one of the whole file.
    pub fn of_file(&mut self, text: impl Into<String>) {
        self.found.push(Problem::of_file(text));
    }

    /// Adds one for each setting that isn't among those that are known, worded by `text`.
    pub fn unknown(&mut self, table: &DeTable<'_>, known: &[&str], text: impl Fn(&str) -> String) {
        for key in table.keys() {
            let name: &str = key.get_ref();
            if !known.contains(&name) {
                self.at(key.span(), text(name));
            }
        }
    }

    /// The settings, if nothing is wrong.
    ///
    /// # Errors
    /// All that is, in the order of the lines.
    pub fn end<T>(mut self, settings: Option<T>) -> Result<T, Vec<Problem>> {
        self.found.sort_by_key(|problem| problem.line);
        match settings {
            Some(settings) if self.found.is_empty() => Ok(settings),
            _ => Err(self.found),
        }
    }
}

/// Reads a file of settings; `None` when there is none.
///
/// # Errors
/// As of [`files::read_text`]; a link is followed, as administrators use them.
pub fn read(path: &Path) -> io::Result<Option<String>> {
    match std::fs::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        place => files::read_text(&place?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_wrong_is_told_in_the_order_of_the_lines() {
        let text = "a = 1\nb = \nc = 3\n";
        let (table, errors) = DeTable::parse_recoverable(text);
        let mut problems = Problems::new(text, &errors);
        problems.unknown(table.get_ref(), &["a", "b"], |name| format!("no {name}"));
        problems.at(0..1, "an a");
        problems.of_file("a file");
        let found = problems.end(Some(())).unwrap_err();
        let lines: Vec<_> = found.iter().map(|problem| problem.line).collect();
        assert_eq!(lines, [None, Some(1), Some(2), Some(3)]);
        let shown = |problem: &Problem| problem.shown(Path::new("/x"));
        assert_eq!(shown(&found[0]), "/x: a file");
        assert_eq!(shown(&found[1]), "/x:1: an a");
        assert_eq!(shown(&found[3]), "/x:3: no c");
        assert_eq!(Problems::new("", &[]).end(Some(1)), Ok(1));
    }

    #[test]
    fn a_file_may_be_a_link_or_not_be_there() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("a"), folder.path().join("b"));
        assert_eq!(read(&file).unwrap(), None);
        std::fs::write(&file, "x").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert_eq!(read(&link).unwrap().as_deref(), Some("x"));
    }
}
