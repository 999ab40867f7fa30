//! The settings of health checks, from a process's `[[process.KEY.check]]` sections; what the checks
//! find is another matter ([`crate::health`]).

use std::time::Duration;

use mfe_common::duration::setting;
use serde::{Deserialize, Serialize};

use super::section::{Located, Problems, Section, must_be};
use super::values::{ByteSize, Percent, TcpAddress, TimesOfDay, as_text};
use super::{FROM_MIN, MIN_DURATION, command, duration, is_key, number};
use crate::machine::{STOPPED, STRANGER};
use crate::text::phrase::{Phrase, phrase};

/// The list's name in a process's section.
const LIST: &str = "check";

/// How often a check is made when the file doesn't say.
const DEFAULT_EVERY: Duration = Duration::from_secs(30);

/// How long a check may take when the file doesn't say.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// How often in a row a check fails before it counts when the file doesn't say.
const DEFAULT_FAILURES: u32 = 3;

/// The time over which the use of the CPU is measured when the file doesn't say.
const DEFAULT_OVER: Duration = Duration::from_secs(60);

/// The most failures in a row that can be asked for.
const MAX_FAILURES: u32 = 1000;

/// The longest age of a file or of a process: a year, as humantime has it.
const MAX_AGE: Duration = Duration::from_secs(31_557_600);

/// The least memory a process can be bounded to: 1 MiB.
const MIN_MEMORY: u64 = 1 << 20;

/// The most memory a process can be bounded to: 1 TiB.
const MAX_MEMORY: u64 = 1 << 40;

/// One health check of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckSettings {
    /// Its name in messages, `[a-z0-9_-]{1,32}`; no other check of the process has it.
    pub name: String,
    /// What is checked.
    pub kind: CheckKind,
    /// The time between two checks, 100 ms to 1 h.
    pub every: Duration,
    /// How long one check may take, 100 ms to 1 h; one that takes longer has failed.
    pub timeout: Duration,
    /// How often in a row it fails before it counts; at least 1.
    pub failures: u32,
    /// What comes of it then.
    pub action: CheckAction,
}

/// What a check checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckKind {
    /// Something accepts TCP connections.
    Tcp {
        /// Where.
        address: TcpAddress,
    },
    /// A file changes.
    File {
        /// Its absolute path, which may be a pattern (glob(7)): then the newest one counts.
        path: String,
        /// The longest time without a change, 100 ms to 1 year.
        max_age: Duration,
    },
    /// The process doesn't take too much memory.
    Memory {
        /// The bound of its resident memory.
        max: ByteSize,
    },
    /// The process doesn't take too much of the CPU.
    Cpu {
        /// The bound.
        max: Percent,
        /// The time over which it is measured; not shorter than [`CheckSettings::every`].
        over: Duration,
    },
    /// The process isn't too old.
    Age {
        /// The longest time since its start, 100 ms to 1 year.
        max: Duration,
        /// The time of day in which its age counts; always without.
        between: Option<TimesOfDay>,
    },
    /// A program says that all is well, by exit status 0.
    Command {
        /// The program, by its absolute path, and its arguments; never empty.
        command: Vec<String>,
    },
}

impl CheckKind {
    /// The program that checks and its arguments, if that is how it is done.
    #[must_use]
    pub fn command(&self) -> Option<&[String]> {
        match self {
            Self::Command { command } => Some(command),
            _ => None,
        }
    }
}

/// What comes of a check that has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckAction {
    /// It is said.
    Alert,
    /// It is said, and the process is restarted.
    Restart,
}

/// The kinds as the file names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Tcp,
    File,
    Memory,
    Cpu,
    Age,
    Command,
}

impl Kind {
    const ALL: [Self; 6] = [
        Self::Tcp,
        Self::File,
        Self::Memory,
        Self::Cpu,
        Self::Age,
        Self::Command,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::File => "file",
            Self::Memory => "memory",
            Self::Cpu => "cpu",
            Self::Age => "age",
            Self::Command => "command",
        }
    }

    /// What only some kinds have.
    fn settings(self) -> &'static [&'static str] {
        match self {
            Self::Tcp => &["address"],
            Self::File => &["path", "max_age"],
            Self::Memory => &["max"],
            Self::Cpu => &["max", "over"],
            Self::Age => &["max", "between"],
            Self::Command => &["command"],
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == text)
    }
}

/// What the full names of the settings of a process's check at `index` begin with.
pub(super) fn path(process: &str, index: usize) -> String {
    Section::path_of_item(&format!("process.{process}.{LIST}"), index)
}

/// Takes the `check` sections of a process.
pub(super) fn checks(process: &mut Section<'_>, problems: &mut Problems<'_>) -> Vec<CheckSettings> {
    let mut sections = process.take_list(LIST, problems);
    // Names that are given come first: one that isn't given must be another.
    let mut names = Vec::new();
    let given: Vec<Option<String>> = sections
        .iter_mut()
        .map(|section| name(section, &mut names, problems))
        .collect();
    let mut checks = Vec::new();
    for (section, given) in sections.into_iter().zip(given) {
        let name = |kind: Kind| given.unwrap_or_else(|| unused_name(kind, &mut names));
        checks.extend(check(section, name, problems));
    }
    checks
}

/// The check's own name, which no other one has.
fn name(
    section: &mut Section<'_>,
    names: &mut Vec<String>,
    problems: &mut Problems<'_>,
) -> Option<String> {
    let expected = phrase!("a name of 1 to 32 characters out of a-z, 0-9, _ and -");
    let offset = section.find("name").unwrap_or(section.offset());
    let parse = |text: &str| is_key(text).then(|| text.to_owned());
    let name = section.take_parsed("name", &expected, parse, problems)?;
    if [STOPPED, STRANGER].contains(&name.as_str()) {
        let message = phrase!("is the service's own name for a program that hangs; give another");
        problems.add(offset, section.path("name"), message);
    }
    if names.contains(&name) {
        let message =
            phrase!("another check of the process has this name; give each a name of its own");
        problems.add(offset, section.path("name"), message);
    }
    names.push(name.clone());
    Some(name)
}

/// The kind's name, with a number if another check has it already.
fn unused_name(kind: Kind, names: &mut Vec<String>) -> String {
    let kind = kind.name();
    let numbered = (2..).map(|number: usize| format!("{kind}-{number}"));
    let name = std::iter::once(kind.to_owned())
        .chain(numbered)
        .find(|name| !names.contains(name))
        .unwrap_or_default();
    names.push(name.clone());
    name
}

fn check(
    mut section: Section<'_>,
    name: impl FnOnce(Kind) -> String,
    problems: &mut Problems<'_>,
) -> Option<CheckSettings> {
    let kinds = Kind::ALL.map(|kind| format!("\"{}\"", kind.name()));
    let expected = Phrase::of_words(kinds.join(", "));
    section.require("kind", &expected, problems);
    // What else the section may hold depends on it.
    let kind = section.take_parsed("kind", &expected, Kind::parse, problems)?;
    let name = name(kind);
    let every = duration(&mut section, "every", FROM_MIN, problems);
    let settings = match kind {
        Kind::Tcp => tcp(&mut section, problems),
        Kind::File => file(&mut section, problems),
        Kind::Memory => memory(&mut section, problems),
        Kind::Cpu => cpu(&mut section, every, problems),
        Kind::Age => age(&mut section, problems),
        Kind::Command => program(&mut section, problems),
    };
    let timeout = duration(&mut section, "timeout", FROM_MIN, problems).unwrap_or(DEFAULT_TIMEOUT);
    let failures = failures(&mut section, problems).unwrap_or(match kind {
        // Nobody grows younger.
        Kind::Age => 1,
        _ => DEFAULT_FAILURES,
    });
    let action = section.take("action", &phrase!("\"alert\" or \"restart\""), problems);
    let action = action.map_or(CheckAction::Alert, |located| located.value);
    refuse_other_kinds(&mut section, kind, problems);
    section.finish(problems);
    let kind = settings?;
    let otherwise = match &kind {
        CheckKind::Cpu { over, .. } => DEFAULT_EVERY.min(*over),
        _ => DEFAULT_EVERY,
    };
    Some(CheckSettings {
        name,
        kind,
        every: every.unwrap_or(otherwise),
        timeout,
        failures,
        action,
    })
}

/// Says of a setting that belongs to other kinds only, which they are.
fn refuse_other_kinds(section: &mut Section<'_>, kind: Kind, problems: &mut Problems<'_>) {
    for other in Kind::ALL {
        for setting in other.settings() {
            if !kind.settings().contains(setting) {
                let message = phrase!(
                    "belongs to checks of kind \"%{other}\", but this one is of kind \"%{kind}\"",
                    other = other.name(),
                    kind = kind.name()
                );
                section.refuse(setting, message, problems);
            }
        }
    }
}

fn tcp(section: &mut Section<'_>, problems: &mut Problems<'_>) -> Option<CheckKind> {
    let expected = phrase!(
        "an IP address and a port, such as \"127.0.0.1:9015\" or \"[::1]:9015\" (of host names only \
         localhost: \"localhost:9015\")"
    );
    section.require("address", &expected, problems);
    let address = section.take_parsed("address", &expected, TcpAddress::parse, problems)?;
    Some(CheckKind::Tcp { address })
}

fn file(section: &mut Section<'_>, problems: &mut Problems<'_>) -> Option<CheckKind> {
    let expected = phrase!(
        "a file's absolute path, such as \"/Comunicador/logs/*.log\" (** and a NUL can't be in it)"
    );
    let parse = |text: &str| {
        let is_possible = text.starts_with('/') && !text.contains('\0') && !text.contains("**");
        (is_possible && glob::Pattern::new(text).is_ok()).then(|| text.to_owned())
    };
    section.require("path", &expected, problems);
    let path = section.take_parsed("path", &expected, parse, problems);
    let expected = phrase!("the longest time without a change, such as \"10min\"");
    section.require("max_age", &expected, problems);
    let max_age = duration(section, "max_age", MIN_DURATION..=MAX_AGE, problems);
    Some(CheckKind::File {
        path: path?,
        max_age: max_age?,
    })
}

fn memory(section: &mut Section<'_>, problems: &mut Problems<'_>) -> Option<CheckKind> {
    let expected = phrase!("a size such as \"512MiB\" or \"2GB\", from 1MiB to 1024GiB");
    section.require("max", &expected, problems);
    let parse = |text: &str| {
        let is_possible = |size: &ByteSize| (MIN_MEMORY..=MAX_MEMORY).contains(&size.0);
        ByteSize::parse(text).filter(is_possible)
    };
    let max = section.take_parsed("max", &expected, parse, problems)?;
    Some(CheckKind::Memory { max })
}

fn cpu(
    section: &mut Section<'_>,
    every: Option<Duration>,
    problems: &mut Problems<'_>,
) -> Option<CheckKind> {
    let expected = phrase!("a share of one core such as \"90%\", from 1% to 10000%");
    section.require("max", &expected, problems);
    let max = section.take_parsed("max", &expected, Percent::parse, problems);
    let offset = section.find("over");
    let over = duration(section, "over", FROM_MIN, problems);
    let (offset, over) = (
        offset.unwrap_or(section.offset()),
        over.unwrap_or(DEFAULT_OVER),
    );
    if let Some(every) = every.filter(|every| over < *every) {
        let message = phrase!(
            "must not be shorter than every, %{every}: the CPU isn't sampled more often",
            every = setting(every)
        );
        problems.add(offset, section.path("over"), message);
    }
    Some(CheckKind::Cpu { max: max?, over })
}

fn age(section: &mut Section<'_>, problems: &mut Problems<'_>) -> Option<CheckKind> {
    let expected = phrase!("the longest time since the start, such as \"7d\"");
    section.require("max", &expected, problems);
    let max = duration(section, "max", MIN_DURATION..=MAX_AGE, problems);
    let expected = phrase!("two times of day, such as \"03:00-05:00\"");
    let between = section.take_parsed("between", &expected, TimesOfDay::parse, problems);
    Some(CheckKind::Age { max: max?, between })
}

fn program(section: &mut Section<'_>, problems: &mut Problems<'_>) -> Option<CheckKind> {
    let expected =
        phrase!("the program that checks, and its arguments, such as [\"/usr/bin/check\"]");
    section.require("command", &expected, problems);
    let command = command(section, problems)?;
    Some(CheckKind::Command { command })
}

fn failures(section: &mut Section<'_>, problems: &mut Problems<'_>) -> Option<u32> {
    let expected = number(1, MAX_FAILURES);
    let Located { value, offset } = section.take::<u32>("failures", &expected, problems)?;
    if (1..=MAX_FAILURES).contains(&value) {
        return Some(value);
    }
    let message = must_be(&expected, value.to_string());
    problems.add(offset, section.path("failures"), message);
    None
}

/// The form of the file, for writing it.
#[derive(Serialize)]
pub(super) struct CheckSection<'a> {
    name: &'a str,
    kind: &'static str,
    #[serde(flatten)]
    settings: KindSection<'a>,
    #[serde(with = "humantime_serde")]
    every: Duration,
    #[serde(with = "humantime_serde")]
    timeout: Duration,
    failures: u32,
    action: CheckAction,
}

#[derive(Serialize)]
#[serde(untagged)]
enum KindSection<'a> {
    Tcp {
        #[serde(serialize_with = "as_text")]
        address: TcpAddress,
    },
    File {
        path: &'a str,
        #[serde(with = "humantime_serde")]
        max_age: Duration,
    },
    Memory {
        #[serde(serialize_with = "as_text")]
        max: ByteSize,
    },
    Cpu {
        #[serde(serialize_with = "as_text")]
        max: Percent,
        #[serde(with = "humantime_serde")]
        over: Duration,
    },
    Age {
        #[serde(with = "humantime_serde")]
        max: Duration,
        #[serde(skip_serializing_if = "Option::is_none")]
        between: Option<String>,
    },
    Command {
        command: &'a [String],
    },
}

impl<'a> From<&'a CheckSettings> for CheckSection<'a> {
    fn from(check: &'a CheckSettings) -> Self {
        let (kind, settings) = match &check.kind {
            CheckKind::Tcp { address } => (Kind::Tcp, KindSection::Tcp { address: *address }),
            CheckKind::File { path, max_age } => {
                let max_age = *max_age;
                (Kind::File, KindSection::File { path, max_age })
            }
            CheckKind::Memory { max } => (Kind::Memory, KindSection::Memory { max: *max }),
            CheckKind::Cpu { max, over } => {
                let (max, over) = (*max, *over);
                (Kind::Cpu, KindSection::Cpu { max, over })
            }
            CheckKind::Age { max, between } => {
                let (max, between) = (*max, between.map(|between| between.to_string()));
                (Kind::Age, KindSection::Age { max, between })
            }
            CheckKind::Command { command } => (Kind::Command, KindSection::Command { command }),
        };
        Self {
            name: &check.name,
            kind: kind.name(),
            settings,
            every: check.every,
            timeout: check.timeout,
            failures: check.failures,
            action: check.action,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::path::Path;

    use super::super::{Problem, parse};
    use super::*;

    const PROCESS: &str = "[process.a]\nname = \"A\"\ncommand = [\"/a\"]\n";

    /// A configuration whose checks have these settings.
    fn with_checks(checks: &[&str]) -> String {
        let checks = checks
            .iter()
            .map(|check| format!("[[process.a.check]]\n{check}\n"));
        PROCESS.to_owned() + &checks.collect::<String>()
    }

    fn parsed(checks: &[&str]) -> Vec<CheckSettings> {
        let text = with_checks(checks);
        let settings =
            parse(&text, Path::new("f")).unwrap_or_else(|error| panic!("{error}\n{text}"));
        settings.processes[0].checks.clone()
    }

    fn kind(check: &str) -> CheckKind {
        parsed(&[check])[0].kind.clone()
    }

    fn refused(checks: &[&str]) -> Vec<Problem> {
        let text = with_checks(checks);
        parse(&text, Path::new("f")).expect_err(&text).problems
    }

    /// The one problem of a check: its line within the check, counted from 1, its key, what is wrong.
    #[track_caller]
    fn problem(check: &str) -> (usize, String, String) {
        let mut problems = refused(&[check]);
        assert_eq!(problems.len(), 1, "{problems:?}");
        let Problem { line, key, message } = problems.remove(0);
        let key = key.strip_prefix("process.a.check[1].").unwrap();
        (line.unwrap() - 3, key.to_owned(), message.to_string())
    }

    #[test]
    fn what_is_not_given_has_defaults() {
        let checks = parsed(&["kind = \"tcp\"\naddress = \"127.0.0.1:9015\""]);
        let expected = CheckSettings {
            name: "tcp".into(),
            kind: CheckKind::Tcp {
                address: TcpAddress::Ip("127.0.0.1:9015".parse().unwrap()),
            },
            every: Duration::from_secs(30),
            timeout: Duration::from_secs(5),
            failures: 3,
            action: CheckAction::Alert,
        };
        assert_eq!(checks, [expected]);
        assert_eq!(parsed(&["kind = \"age\"\nmax = \"7d\""])[0].failures, 1);
        assert_eq!(parsed(&[]), []);
    }

    #[test]
    fn the_cpu_is_looked_at_as_often_as_it_is_measured() {
        for (over, every) in [("10s", 10), ("5min", 30)] {
            let check = format!("kind = \"cpu\"\nmax = \"90%\"\nover = \"{over}\"");
            let check = parsed(&[&check]).remove(0);
            assert_eq!(check.every, Duration::from_secs(every), "{over}");
        }
    }

    #[test]
    fn every_kind_with_all_its_settings() {
        let minute = Duration::from_secs(60);
        for (check, expected) in [
            (
                "kind = \"file\"\npath = \"/logs/*.log\"\nmax_age = \"1y\"",
                CheckKind::File {
                    path: "/logs/*.log".into(),
                    max_age: MAX_AGE,
                },
            ),
            (
                "kind = \"memory\"\nmax = \"512MiB\"",
                CheckKind::Memory {
                    max: ByteSize(512 << 20),
                },
            ),
            (
                "kind = \"cpu\"\nmax = \"150 %\"\nover = \"2min\"",
                CheckKind::Cpu {
                    max: Percent(150),
                    over: minute * 2,
                },
            ),
            (
                "kind = \"cpu\"\nmax = \"90%\"",
                CheckKind::Cpu {
                    max: Percent(90),
                    over: minute,
                },
            ),
            (
                "kind = \"age\"\nmax = \"7d\"\nbetween = \"3:00 - 05:30\"",
                CheckKind::Age {
                    max: minute * 60 * 24 * 7,
                    between: TimesOfDay::parse("03:00-05:30"),
                },
            ),
            (
                "kind = \"command\"\ncommand = [\"/c\", \"-x\"]",
                CheckKind::Command {
                    command: vec!["/c".into(), "-x".into()],
                },
            ),
        ] {
            assert_eq!(kind(check), expected, "{check}");
        }
        let general = "kind = \"memory\"\nmax = \"1GB\"\nname = \"m-1\"\nevery = \"1min\"\n\
                       timeout = \"1s\"\nfailures = 1000\naction = \"restart\"";
        let check = &parsed(&[general])[0];
        assert_eq!((check.name.as_str(), check.failures), ("m-1", 1000));
        assert_eq!((check.every, check.timeout), (minute, minute / 60));
        assert_eq!(check.action, CheckAction::Restart);
    }

    #[test]
    fn each_check_has_a_name_of_its_own() {
        let (tcp, given) = (
            "kind = \"tcp\"\naddress = \"localhost:1\"",
            "kind = \"age\"\nmax = \"1d\"\nname = \"tcp-2\"",
        );
        let checks = parsed(&[tcp, tcp, given, tcp]);
        let names: Vec<_> = checks.iter().map(|check| check.name.as_str()).collect();
        assert_eq!(names, ["tcp", "tcp-3", "tcp-2", "tcp-4"]);

        let problems = refused(&[given, given]);
        assert_eq!((problems.len(), problems[0].line), (1, Some(11)));
        assert_eq!(problems[0].key, "process.a.check[2].name");
        assert!(
            problems[0].message.to_string().starts_with("another check"),
            "{problems:?}"
        );
        let (line, key, message) = problem(&tcp.replace("kind", "name = \"T\"\nkind"));
        assert_eq!((line, key.as_str()), (2, "name"));
        assert!(
            message.starts_with("must be a name of 1 to 32"),
            "{message}"
        );
    }

    #[test]
    fn a_program_that_checks_is_one_that_the_service_runs() {
        let text = with_checks(&[
            "kind = \"age\"\nmax = \"1d\"",
            "kind = \"command\"\ncommand = [\"/c\", \"-x\"]",
        ]);
        let settings = parse(&text, Path::new("f")).unwrap();
        let commands: Vec<_> = settings.commands().collect();
        let expected = [
            ("process.a.command", "/a"),
            ("process.a.check[2].command", "/c"),
        ];
        assert_eq!(
            commands,
            expected.map(|(key, program)| (key.to_owned(), program))
        );
    }

    #[test]
    fn addresses() {
        let tcp = |address: &str| format!("kind = \"tcp\"\naddress = \"{address}\"");
        let candidates = |address: &str| match kind(&tcp(address)) {
            CheckKind::Tcp { address } => address.candidates().collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        };
        let one = |address: &str| vec![address.parse::<SocketAddr>().unwrap()];
        assert_eq!(candidates("10.0.0.1:80"), one("10.0.0.1:80"));
        assert_eq!(candidates("[::1]:9015"), one("[::1]:9015"));
        let both = [one("127.0.0.1:9015"), one("[::1]:9015")].concat();
        assert_eq!(candidates("localhost:9015"), both);
        for wrong in [
            "",
            "9015",
            ":9015",
            "127.0.0.1",
            "127.0.0.1:0",
            "127.0.0.1:65536",
            "::1:9015",
            "localhost",
            "localhost:0",
            "localhost:http",
            "till-3:9015",
            "127.0.0.1:9015 ",
        ] {
            let (line, key, message) = problem(&tcp(wrong));
            assert_eq!((line, key.as_str()), (3, "address"));
            let expected = "must be an IP address and a port, such as ";
            assert!(message.starts_with(expected), "{message}");
            assert!(
                message.contains("of host names only localhost"),
                "{message}"
            );
        }
    }

    #[test]
    fn sizes() {
        for (text, expected, shown) in [
            ("512MiB", 512 << 20, "512MiB"),
            ("512 mib", 512 << 20, "512MiB"),
            ("1024KiB", 1 << 20, "1MiB"),
            ("1500MB", 1_500_000_000, "1500MB"),
            ("2GB", 2_000_000_000, "2GB"),
            ("1048577B", 1_048_577, "1048577B"),
            ("1024GiB", 1 << 40, "1024GiB"),
        ] {
            let size = ByteSize::parse(text).unwrap();
            assert_eq!((size.0, size.to_string().as_str()), (expected, shown));
        }
        for wrong in [
            "",
            "512",
            "MiB",
            "-1MiB",
            "1.5GiB",
            "1MiB ",
            "1TiB",
            "1M",
            "1023KiB",
            "1025GiB",
            "18446744073709551615GiB",
            "99999999999999999999B",
            "５12MiB",
        ] {
            let (line, _, message) = problem(&format!("kind = \"memory\"\nmax = \"{wrong}\""));
            assert_eq!(line, 3);
            assert!(
                message.starts_with("must be a size such as"),
                "{wrong}: {message}"
            );
        }
    }

    #[test]
    fn values_that_nobody_can_mean() {
        for (check, key, expected) in [
            (
                "kind = \"cpu\"\nmax = \"90\"",
                "max",
                "must be a share of one core such as",
            ),
            (
                "kind = \"cpu\"\nmax = \"0%\"",
                "max",
                "must be a share of one core such as",
            ),
            (
                "kind = \"cpu\"\nmax = \"10001%\"",
                "max",
                "must be a share of one core such as",
            ),
            (
                "kind = \"cpu\"\nmax = 90",
                "max",
                "must be a share of one core such as",
            ),
            (
                "kind = \"cpu\"\nover = \"10s\"\nmax = \"9%\"\nevery = \"30s\"",
                "over",
                "must not be shorter than every, 30s",
            ),
            (
                "kind = \"age\"\nmax = \"2y\"",
                "max",
                "must be a duration such as",
            ),
            (
                "kind = \"age\"\nmax = \"0s\"",
                "max",
                "must be a duration such as",
            ),
            (
                "kind = \"file\"\nmax_age = \"1h\"\npath = \"log\"",
                "path",
                "must be a file's absolute path",
            ),
            (
                "kind = \"file\"\nmax_age = \"1h\"\npath = \"/**/log\"",
                "path",
                "must be a file's absolute path",
            ),
            (
                "kind = \"file\"\nmax_age = \"1h\"\npath = \"/a[\"",
                "path",
                "must be a file's absolute path",
            ),
            (
                "kind = \"command\"\ncommand = [\"check\"]",
                "command",
                "the program must be an absolute path",
            ),
            ("kind = \"command\"\ncommand = []", "command", "is empty"),
        ] {
            let (_, at, message) = problem(check);
            assert_eq!(at, key, "{check}");
            assert!(message.starts_with(expected), "{message}");
        }
    }

    #[test]
    fn times_and_numbers_that_nobody_can_mean() {
        for times in [
            "",
            "03:00",
            "03:00-",
            "03:00-03:00",
            "3-5",
            "24:00-05:00",
            "03:60-05:00",
            "+3:00-05:00",
            "03:0-05:00",
            "03:00-05:00-07:00",
            "003:00-05:00",
        ] {
            let check = format!("kind = \"age\"\nmax = \"1d\"\nbetween = \"{times}\"");
            let (line, key, message) = problem(&check);
            assert_eq!((line, key.as_str()), (4, "between"));
            assert!(message.starts_with("must be two times of day"), "{message}");
        }
        let tcp = "kind = \"tcp\"\naddress = \"localhost:1\"\n";
        for (setting, expected) in [
            ("every = \"99ms\"", "must be a duration such as"),
            ("timeout = \"2h\"", "must be a duration such as"),
            ("failures = 0", "must be a number from 1 to 1000, not 0"),
            (
                "failures = 1001",
                "must be a number from 1 to 1000, not 1001",
            ),
            (
                "failures = \"3\"",
                "must be a number from 1 to 1000, not \"3\"",
            ),
            (
                "action = \"reboot\"",
                "must be \"alert\" or \"restart\", not \"reboot\"",
            ),
        ] {
            let (line, key, message) = problem(&format!("{tcp}{setting}"));
            assert_eq!((line, setting.starts_with(&key)), (4, true), "{key}");
            assert!(message.starts_with(expected), "{message}");
        }
    }

    #[test]
    fn what_is_missing_or_belongs_to_another_kind_is_said() {
        let kinds = "\"tcp\", \"file\", \"memory\", \"cpu\", \"age\", \"command\"";
        assert_eq!(
            problem("path = \"/x\""),
            (1, "kind".into(), format!("is missing: {kinds}"))
        );
        assert_eq!(
            problem("kind = \"ping\"\nhost = \"x\""),
            (2, "kind".into(), format!("must be {kinds}, not \"ping\""))
        );
        for (check, key) in [
            ("kind = \"tcp\"", "address"),
            ("kind = \"file\"\nmax_age = \"1h\"", "path"),
            ("kind = \"file\"\npath = \"/x\"", "max_age"),
            ("kind = \"memory\"", "max"),
            ("kind = \"cpu\"", "max"),
            ("kind = \"age\"", "max"),
            ("kind = \"command\"", "command"),
        ] {
            let (line, at, message) = problem(check);
            assert_eq!((line, at.as_str()), (1, key), "{check}");
            assert!(message.starts_with("is missing: "), "{message}");
        }
        assert_eq!(
            problem("kind = \"memory\"\nmax = \"1GiB\"\nmax_age = \"1h\""),
            (
                4,
                "max_age".into(),
                "belongs to checks of kind \"file\", but this one is of kind \"memory\"".into()
            )
        );
        assert_eq!(
            problem("kind = \"tcp\"\naddress = \"localhost:1\"\nport = 1"),
            (
                4,
                "port".into(),
                "unknown key; known here: name, kind, every, address, timeout, failures, action"
                    .into()
            )
        );
        let problems = parse(&format!("{PROCESS}check = {{}}"), Path::new("f"))
            .unwrap_err()
            .problems;
        assert!(
            problems[0]
                .message
                .to_string()
                .ends_with("[[process.a.check]], with two brackets"),
            "{problems:?}"
        );
    }
}
