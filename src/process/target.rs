//! What a process has to be to be the one that is meant; whether one is, the table finds out.

use std::fmt;

use glob::{MatchOptions, Pattern};
use regex_lite::Regex;

use super::ProcessName;

/// What a process has to be to be the one that is meant: its name, and whatever else is known of it,
/// so that a stranger's program of the same name doesn't pass for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its name.
    pub name: ProcessName,
    /// Which programs it may run.
    pub exe: Option<ExePattern>,
    /// What its arguments must hold.
    pub cmdline: Option<CmdlinePattern>,
    /// Whose it is.
    pub user: Option<User>,
}

impl Target {
    /// Every process of this name.
    #[must_use]
    pub fn named(name: ProcessName) -> Self {
        Self {
            name,
            exe: None,
            cmdline: None,
            user: None,
        }
    }
}

/// A glob (glob(7)) that the whole path of a program has to match. `*` and `?` don't match a `/`;
/// `**` as a whole component matches any number of directories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExePattern(Pattern);

impl ExePattern {
    /// A pattern.
    ///
    /// # Errors
    /// What is wrong with it, and at which character.
    pub fn new(pattern: &str) -> Result<Self, glob::PatternError> {
        Pattern::new(pattern).map(Self)
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Whether it is the path of such a program.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        let options = MatchOptions {
            require_literal_separator: true,
            ..MatchOptions::new()
        };
        self.0.matches_with(path, options)
    }
}

/// A regular expression that has to be found somewhere in the arguments of a process, joined by
/// single spaces.
#[derive(Debug, Clone)]
pub struct CmdlinePattern(Regex);

impl CmdlinePattern {
    /// A pattern.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(pattern: &str) -> Result<Self, regex_lite::Error> {
        Regex::new(pattern).map(Self)
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Whether these are the arguments of such a process.
    #[must_use]
    pub fn matches(&self, arguments: &str) -> bool {
        self.0.is_match(arguments)
    }
}

impl PartialEq for CmdlinePattern {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for CmdlinePattern {}

/// A user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// As it is configured: a name or a number.
    pub name: String,
    /// Its number.
    pub uid: u32,
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
