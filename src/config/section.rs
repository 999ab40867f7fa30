//! Walks one table of a configuration file and collects every problem in it, where serde alone
//! would stop at the first; what the values mean is decided by its caller.

use std::collections::HashMap;
use std::fmt::Display;
use std::ops::Range;

use mfe_common::escape::printable;
use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::problem::{Problem, line_ends};
use crate::text::phrase::{Phrase, Value, phrase};

/// More of a value than this isn't shown in a message, in characters.
const EXCERPT: usize = 60;

/// No till has as many processes, or checks of one, or hooks: each is compared with all others.
const SECTIONS_MAX: usize = 1000;

/// For so many unknown settings of a section it is guessed what was meant.
const GUESSES_MAX: usize = 100;

/// Between more slips than these nobody sees a likeness.
const SLIPS_MAX: usize = 2;

/// The problems found so far in one text.
pub(super) struct Problems<'i> {
    text: &'i str,
    found: Vec<(usize, Problem)>,
    /// Where settings stand whose values are to be judged later, by their full names.
    located: Vec<(usize, String)>,
}

impl<'i> Problems<'i> {
    pub(super) fn new(text: &'i str) -> Self {
        Self {
            text,
            found: Vec::new(),
            located: Vec::new(),
        }
    }

    /// Remembers where the setting `key` stands: its value is fine in itself, but something may
    /// turn out to be wrong with what it names.
    pub(super) fn located(&mut self, offset: usize, key: String) {
        self.located.push((offset, key));
    }

    /// The lines of the settings that were to be remembered, by their full names.
    pub(super) fn lines(&self) -> HashMap<String, usize> {
        let text = self.text.as_bytes();
        let located = self.located.iter();
        located
            .map(|(offset, key)| (key.clone(), 1 + line_ends(&text[..*offset])))
            .collect()
    }

    /// Notes a problem at byte `offset` of the text.
    pub(super) fn add(&mut self, offset: usize, key: impl Display, message: Phrase) {
        let problem = Problem {
            line: None,
            key: printable(&key.to_string()),
            message,
        };
        self.found.push((offset.min(self.text.len()), problem));
    }

    /// What the text says at `span`, on one line and not too long.
    pub(super) fn excerpt(&self, span: Range<usize>) -> String {
        let text = self.text.get(span).unwrap_or_default();
        let line = text.lines().next().unwrap_or_default();
        let mut excerpt: String = line.chars().take(EXCERPT).collect();
        if excerpt.len() < text.len() {
            excerpt.push('…');
        }
        excerpt
    }

    /// All problems in the order of the text, each with its line.
    pub(super) fn into_vec(mut self) -> Vec<Problem> {
        self.found.sort_by_key(|(offset, _)| *offset);
        // Counted on from problem to problem: a large file of mistakes has a million of them.
        let (mut counted, mut line) = (0, 1);
        let text = self.text.as_bytes();
        let with_line = |(offset, problem): (usize, Problem)| {
            line += line_ends(&text[counted..offset]);
            counted = offset;
            Problem {
                line: Some(line),
                ..problem
            }
        };
        self.found.into_iter().map(with_line).collect()
    }
}

/// That a value is another than it must be.
pub(super) fn must_be(expected: &Phrase, found: impl Into<Value>) -> Phrase {
    phrase!(
        "must be %{expected}, not %{found}",
        expected = expected.clone(),
        found = found
    )
}

/// A text as a file has it, quotes included.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.escape_debug())
}

/// A value together with where it stands.
pub(super) struct Located<T> {
    pub(super) value: T,
    pub(super) offset: usize,
}

/// One table whose settings are taken out by name; what is left in the end is unknown.
pub(super) struct Section<'i> {
    /// `process.monitor.`, or nothing for the whole file.
    prefix: String,
    offset: usize,
    entries: Vec<(String, usize, Spanned<DeValue<'i>>)>,
    known: Vec<&'static str>,
}

impl<'i> Section<'i> {
    pub(super) fn new(prefix: String, offset: usize, table: DeTable<'i>) -> Self {
        let entries = table
            .into_iter()
            .map(|(key, value)| {
                let Range { start, .. } = key.span();
                (key.into_inner().into_owned(), start, value)
            })
            .collect();
        Self {
            prefix,
            offset,
            entries,
            known: Vec::new(),
        }
    }

    /// The full name of the setting `key` of this section.
    pub(super) fn path(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// Where the section begins.
    pub(super) fn offset(&self) -> usize {
        self.offset
    }

    /// Where the setting `key` stands, if it is given and not yet taken.
    pub(super) fn find(&self, key: &str) -> Option<usize> {
        let mut entries = self.entries.iter();
        entries.find_map(|(name, offset, _)| (name == key).then_some(*offset))
    }

    /// Takes the setting `key`; a value of another type is a problem that names `expected`.
    pub(super) fn take<T: DeserializeOwned>(
        &mut self,
        key: &'static str,
        expected: &Phrase,
        problems: &mut Problems<'_>,
    ) -> Option<Located<T>> {
        let (offset, value) = self.take_value(key)?;
        let found = match value.get_ref() {
            DeValue::Table(_) => phrase!("a section"),
            _ => Phrase::of_words(problems.excerpt(value.span())),
        };
        match T::deserialize(ValueDeserializer::from(value)) {
            Ok(value) => Some(Located { value, offset }),
            Err(_) => {
                problems.add(offset, self.path(key), must_be(expected, found));
                None
            }
        }
    }

    /// Takes the text `key` as what `parse` makes of it; a text of which it makes nothing is a
    /// problem that names `expected`.
    pub(super) fn take_parsed<T>(
        &mut self,
        key: &'static str,
        expected: &Phrase,
        parse: impl FnOnce(&str) -> Option<T>,
        problems: &mut Problems<'_>,
    ) -> Option<T> {
        let Located { value, offset } = self.take::<String>(key, expected, problems)?;
        let parsed = parse(&value);
        if parsed.is_none() {
            problems.add(offset, self.path(key), must_be(expected, quoted(&value)));
        }
        parsed
    }

    /// Notes a problem that names `expected` unless the setting `key` is given.
    pub(super) fn require(&self, key: &str, expected: &Phrase, problems: &mut Problems<'_>) {
        if self.find(key).is_none() {
            let message = phrase!("is missing: %{expected}", expected = expected.clone());
            problems.add(self.offset, self.path(key), message);
        }
    }

    /// Refuses the setting `key`, if it is given, with a better reason than that it is unknown.
    pub(super) fn refuse(&mut self, key: &str, message: Phrase, problems: &mut Problems<'_>) {
        if let Some(index) = self.entries.iter().position(|(name, ..)| name == key) {
            let (_, offset, _) = self.entries.swap_remove(index);
            problems.add(offset, self.path(key), message);
        }
    }

    /// Takes the table `key` apart into named sub-sections, in the order of the file; `None` when
    /// there is no such table, or nothing but problems in it.
    pub(super) fn take_sections(
        &mut self,
        key: &'static str,
        problems: &mut Problems<'_>,
    ) -> Option<Vec<(String, Section<'i>)>> {
        let (offset, value) = self.take_value(key)?;
        let path = self.path(key);
        let DeValue::Table(table) = value.into_inner() else {
            let message = phrase!(
                "must be sections, each begun by [%{path}.KEY]",
                path = path.as_str()
            );
            problems.add(offset, &path, message);
            return None;
        };
        let is_empty = table.is_empty();
        let mut sections = Vec::new();
        for (name, value) in table {
            let offset = name.span().start;
            let name = name.into_inner().into_owned();
            let path = format!("{path}.{name}");
            match value.into_inner() {
                DeValue::Table(table) => {
                    let section = Section::new(format!("{path}."), offset, table);
                    sections.push((name, section));
                }
                _ => problems.add(
                    offset,
                    &path,
                    phrase!("must be a section begun by [%{path}]", path = path.as_str()),
                ),
            }
        }
        sections.sort_by_key(|(_, section)| section.offset);
        if let Some((_, section)) = sections.get(SECTIONS_MAX) {
            problems.add(section.offset, &path, too_many());
            sections.truncate(SECTIONS_MAX);
        }
        (is_empty || !sections.is_empty()).then_some(sections)
    }

    /// What the full names of the settings in the list `path` begin with, for the table at `index`:
    /// people count from 1.
    pub(super) fn path_of_item(path: &str, index: usize) -> String {
        format!("{path}[{}].", index + 1)
    }

    /// Takes the list `key` of tables apart, each begun by `[[key]]`, in the order of the file.
    pub(super) fn take_list(
        &mut self,
        key: &'static str,
        problems: &mut Problems<'_>,
    ) -> Vec<Section<'i>> {
        let Some((offset, value)) = self.take_value(key) else {
            return Vec::new();
        };
        let path = self.path(key);
        let mut sections = Vec::new();
        match value.into_inner() {
            DeValue::Array(values) => {
                for (index, value) in values.into_iter().enumerate() {
                    let offset = value.span().start;
                    match value.into_inner() {
                        DeValue::Table(table) => {
                            let prefix = Self::path_of_item(&path, index);
                            sections.push(Section::new(prefix, offset, table));
                        }
                        _ => problems.add(
                            offset,
                            &path,
                            phrase!(
                                "must be sections, each begun by [[%{path}]]",
                                path = path.as_str()
                            ),
                        ),
                    }
                }
            }
            _ => problems.add(
                offset,
                &path,
                phrase!(
                    "must be sections, each begun by [[%{path}]], with two brackets",
                    path = path.as_str()
                ),
            ),
        }
        if let Some(section) = sections.get(SECTIONS_MAX) {
            problems.add(section.offset, &path, too_many());
            sections.truncate(SECTIONS_MAX);
        }
        sections
    }

    /// Ends the section: what nobody took is unknown.
    pub(super) fn finish(self, problems: &mut Problems<'_>) {
        for (index, (key, offset, _)) in self.entries.iter().enumerate() {
            // A binary file has a million, and few of them are shown.
            let near = (index < GUESSES_MAX).then(|| self.nearest(key)).flatten();
            let message = match near {
                Some(near) => phrase!("unknown key; did you mean %{near}?", near = near),
                None => phrase!(
                    "unknown key; known here: %{known}",
                    known = self.known.join(", ")
                ),
            };
            problems.add(*offset, self.path(key), message);
        }
    }

    /// The setting that somebody may have meant by `key`: it differs by a slip or two of the keyboard.
    fn nearest(&self, key: &str) -> Option<&'static str> {
        let slips = |known: &&str| strsim::osa_distance(&key.to_lowercase(), known);
        let near = self.known.iter().copied().min_by_key(slips)?;
        (slips(&near) <= SLIPS_MAX && slips(&near) * 2 < near.len()).then_some(near)
    }

    fn take_value(&mut self, key: &'static str) -> Option<(usize, Spanned<DeValue<'i>>)> {
        self.known.push(key);
        let index = self.entries.iter().position(|(name, ..)| name == key)?;
        let (_, offset, value) = self.entries.swap_remove(index);
        Some((offset, value))
    }
}

fn too_many() -> Phrase {
    phrase!(
        "are too many: there may be %{most} at most",
        most = SECTIONS_MAX.to_string()
    )
}
