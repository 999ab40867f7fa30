//! What a process has to be to be the one that is meant; whether one is, the table finds out.

use std::fmt;

use glob::{Pattern, PatternError};
use mfe_common::escape::printable;
use regex_lite::Regex;

use super::ProcessName;
use crate::sys::user::User;

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
    /// The other targets that a process of this name may be. Whoever is one of them is no impostor.
    pub namesakes: Vec<Target>,
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
            namesakes: Vec::new(),
        }
    }

    /// What makes the process, in one line: another line, another rule.
    #[must_use]
    pub fn rules(&self) -> String {
        let exe = self.exe.as_ref().map_or("", ExePattern::as_str);
        let cmdline = self.cmdline.as_ref().map_or("", CmdlinePattern::as_str);
        let user = self.user.as_ref().map(|user| user.uid.to_string());
        format!("exe={exe:?} cmdline={cmdline:?} user={user:?}")
    }

    /// Whether there are rules beside the name.
    pub(super) fn has_rules(&self) -> bool {
        self.exe.is_some() || self.cmdline.is_some() || self.user.is_some()
    }

    /// Whether the rules say whose the process has to be and what it runs, which nobody else can be and do.
    #[must_use]
    pub fn names_one(&self) -> bool {
        self.exe.is_some() && self.user.is_some()
    }

    /// Whether a process of one name could be taken for both.
    #[must_use]
    pub fn is_indistinguishable_from(&self, other: &Self) -> bool {
        let programs = [self, other].map(|target| (&target.exe, &target.cmdline));
        let told_apart = programs[0] != programs[1] && !programs.contains(&(&None, &None));
        self.name.is_indistinguishable_from(&other.name) && !told_apart
    }
}

/// A glob that the whole path of a program has to match. `*` and `?` match a `/` too: a pattern that
/// nothing matches would have the watchdog start what already runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExePattern(Pattern);

impl ExePattern {
    /// A pattern.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn new(pattern: &str) -> Result<Self, PatternError> {
        Pattern::new(pattern).map(Self)
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Whether it is the path of such a program, as `/proc/PID/exe` links to it. The kernel marks
    /// the path of a file that an upgrade has replaced with ` (deleted)`.
    #[must_use]
    pub fn matches(&self, exe: &[u8]) -> bool {
        let exe = exe.strip_suffix(b" (deleted)").unwrap_or(exe);
        self.0.matches(&String::from_utf8_lossy(exe))
    }
}

/// Fit for a terminal and for the journal.
impl fmt::Display for ExePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(self.as_str()))
    }
}

/// A regular expression that has to match somewhere in the arguments of a process, program name
/// included, joined by single spaces.
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

    /// Whether these are the arguments of such a process, as `/proc/PID/cmdline` has them: each
    /// ends with a NUL.
    #[must_use]
    pub fn matches(&self, cmdline: &[u8]) -> bool {
        let cmdline = cmdline.strip_suffix(b"\0").unwrap_or(cmdline);
        let joined = String::from_utf8_lossy(cmdline).replace('\0', " ");
        self.0.is_match(&joined)
    }
}

impl PartialEq for CmdlinePattern {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for CmdlinePattern {}

/// Fit for a terminal and for the journal.
impl fmt::Display for CmdlinePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(self.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exe(pattern: &str, path: &[u8]) -> bool {
        ExePattern::new(pattern).unwrap().matches(path)
    }

    fn cmdline(pattern: &str, arguments: &[u8]) -> bool {
        CmdlinePattern::new(pattern).unwrap().matches(arguments)
    }

    #[test]
    fn a_glob_matches_the_whole_path() {
        assert!(exe("/opt/x/Monitor", b"/opt/x/Monitor"));
        assert!(exe("/opt/x/Mon[a-i]tor", b"/opt/x/Monitor"));
        assert!(exe("/opt/x/Mon?tor", b"/opt/x/Monitor"));
        assert!(!exe("/opt/x/Monitor", b"/opt/x/Monitor2"));
        assert!(!exe("/opt/x/Monitor", b"/tmp/opt/x/Monitor"));
        assert!(!exe("/opt/x/Monitor", b"/opt/x/monitor"));
        assert!(!exe("/opt/x", b"/opt/x/Monitor"));
    }

    #[test]
    fn a_star_matches_any_number_of_directories() {
        assert!(exe("*/Monitor", b"/opt/x/Monitor"));
        assert!(exe("/opt/*", b"/opt/x/y/Monitor"));
        assert!(exe("/opt/**/Monitor", b"/opt/x/y/Monitor"));
        assert!(exe("/opt/**/Monitor", b"/opt/Monitor"));
        assert!(exe("/opt/*/.hidden", b"/opt/x/.hidden"));
        assert!(!exe("/opt/*", b"/usr/opt/Monitor"));
    }

    #[test]
    fn a_file_that_an_upgrade_has_replaced_still_counts() {
        assert!(exe("/opt/x/Monitor", b"/opt/x/Monitor (deleted)"));
        assert!(!exe("/opt/x/Monitor", b"/opt/x/Monitor(deleted)"));
        assert!(!exe(
            "/opt/x/Monitor",
            b"/opt/x/Monitor (deleted) (deleted)"
        ));
    }

    #[test]
    fn a_path_need_not_be_utf8() {
        assert!(exe("/opt/*/Monitor", b"/opt/\xe7\xe3o/Monitor"));
        assert!(exe("/opt/ção/Monitor", "/opt/ção/Monitor".as_bytes()));
    }

    #[test]
    fn a_regular_expression_is_searched_in_the_joined_arguments() {
        let java = b"java\0-jar\0/opt/x/monitor.jar\0--loja 7\0\0";
        assert!(cmdline(r"monitor\.jar", java));
        assert!(cmdline("^java -jar /opt", java));
        assert!(cmdline("--loja 7 $", java), "the last argument is empty");
        assert!(!cmdline("Monitor", java));
        assert!(!cmdline(r"\.jar$", java));
        assert!(cmdline(r"\.jar$", b"java\0-jar\0a.jar\0"));
        assert!(cmdline("^a b$", b"a\0b"), "a program may rewrite them");
        assert!(cmdline("loja .* caixa", b"loja\0\xe7\0caixa\0"));
    }

    #[test]
    fn namesakes_are_told_apart_by_what_they_run() {
        let named = |name| Target::named(ProcessName::new(name));
        let with_exe = |pattern| Target {
            exe: Some(ExePattern::new(pattern).unwrap()),
            ..named("java")
        };
        let with_cmdline = |pattern| Target {
            cmdline: Some(CmdlinePattern::new(pattern).unwrap()),
            ..named("java")
        };
        let of_root = Target {
            user: User::find("0").unwrap(),
            ..named("java")
        };
        for (one, other, is_indistinguishable) in [
            (named("java"), named("java"), true),
            (named("java"), named("mono"), false),
            (named("java"), with_exe("/a"), true),
            (with_exe("/a"), with_exe("/a"), true),
            (with_exe("/a"), with_exe("/b"), false),
            (with_exe("/a"), with_cmdline("a"), false),
            (with_cmdline("a"), with_cmdline("b"), false),
            (with_cmdline("a"), with_cmdline("a"), true),
            (with_cmdline("a"), of_root, true),
        ] {
            assert_eq!(one.is_indistinguishable_from(&other), is_indistinguishable);
            assert_eq!(other.is_indistinguishable_from(&one), is_indistinguishable);
        }
    }
}
