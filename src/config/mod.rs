//! Reads and validates the configuration; it starts nothing and keeps nothing.
//!
//! Two stages: what the file says (`section`), then [`Settings`] that the rest of the program
//! can trust. Every problem of a file is reported at once.

mod check;
mod hook;
mod policy;
mod problem;
mod salvage;
mod section;
mod settings;
mod syntax;
mod values;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::de::DeTable;

pub use check::{CheckAction, CheckKind, CheckSettings};
pub use hook::HookSettings;
use mfe_common::duration::setting;
pub use problem::{ConfigError, Problem};
pub use salvage::Salvage;
pub use settings::{Launcher, ProcessSettings, SessionMode, Settings, Start};
pub use values::{ByteSize, Percent, TcpAddress, TimesOfDay};

use crate::machine::Policy;
use crate::proc::{CmdlinePattern, ExePattern, ProcessName, Target};
use crate::sys::path_trust;
use crate::sys::user::User;
use crate::text::phrase::{Phrase, phrase};
use problem::line_ends;
use section::{Located, Problems, Section, must_be, quoted};

/// Where the configuration is when nobody says otherwise.
pub const DEFAULT_PATH: &str = "/etc/mfe-watchdog/config.toml";

/// The built-in configuration: the shipped example file itself.
pub const DEFAULT_TEXT: &str = include_str!("default.toml");

/// A larger file is surely not a configuration and isn't read into memory, in bytes.
pub const MAX_SIZE: u64 = 1 << 20;

/// The shortest time most durations in the file may be.
const MIN_DURATION: Duration = Duration::from_millis(100);

/// The longest time a duration in the file may be, unless it is the age of something.
const MAX_DURATION: Duration = Duration::from_secs(3600);

/// What most durations may be.
const FROM_MIN: RangeInclusive<Duration> = MIN_DURATION..=MAX_DURATION;

/// The longest key, in characters.
const MAX_KEY: usize = 32;

/// The longest file name Linux knows (`NAME_MAX`), in bytes; a program's name is one.
const MAX_NAME: usize = 255;

/// What `exe` has to be.
const EXE: Phrase = phrase!(
    "the absolute path of the program, with * for any part of it, such as \
     \"/opt/sefaz/cco/bin/Monitor*\""
);

/// What `cmdline` has to be.
const CMDLINE: Phrase = phrase!(
    "a regular expression that is found in the program's arguments, such as \"monitor[.]jar\""
);

/// What `user` has to be.
const USER: Phrase = phrase!("the name or the number of a user, such as \"root\"");

/// Where settings came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file.
    File(PathBuf),
    /// The built-in defaults, for [`DEFAULT_PATH`] doesn't exist.
    BuiltIn,
    /// What was last in force, for the file can't be used.
    LastInForce,
    /// The built-in defaults, for the file can't be used and nothing was in force before.
    BuiltInInstead,
}

impl Source {
    /// What a person is told of it.
    #[must_use]
    pub fn phrase(&self) -> Phrase {
        match self {
            Self::File(path) => Phrase::of_words(path.display().to_string()),
            Self::BuiltIn => phrase!(
                "built-in defaults, %{path} doesn't exist",
                path = DEFAULT_PATH
            ),
            Self::LastInForce => phrase!("the last configuration that was in force"),
            Self::BuiltInInstead => phrase!("the built-in configuration"),
        }
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.phrase().fmt(f)
    }
}

/// Reads the settings from `path`, or from [`DEFAULT_PATH`], or the built-in ones where that
/// doesn't exist.
///
/// # Errors
/// Everything that is wrong with the file, unsafe commands included if it refuses those. A `path`
/// that was named must exist.
pub fn load(path: Option<&Path>) -> Result<(Settings, Source), ConfigError> {
    load_or(path, Path::new(DEFAULT_PATH))
}

/// Where [`load`] has them from.
#[must_use]
pub fn source(path: Option<&Path>) -> Source {
    source_or(path, Path::new(DEFAULT_PATH))
}

fn source_or(path: Option<&Path>, default: &Path) -> Source {
    let file = path.unwrap_or(default);
    let absent = fs::symlink_metadata(file).is_err_and(|e| e.kind() == ErrorKind::NotFound);
    if path.is_none() && absent {
        Source::BuiltIn
    } else {
        Source::File(file.to_owned())
    }
}

/// The same, with `default` in place of [`DEFAULT_PATH`].
pub(crate) fn load_or(
    path: Option<&Path>,
    default: &Path,
) -> Result<(Settings, Source), ConfigError> {
    let file = path.unwrap_or(default);
    let source = source_or(path, default);
    let text = match source {
        Source::BuiltIn => DEFAULT_TEXT.to_owned(),
        _ => read(file)?,
    };
    let (settings, lines) = parse_with_lines(&text, file)?;
    if settings.refuse_unsafe_commands {
        let found = exposed(file, &settings).into_iter();
        let problems = found.map(|(key, message)| Problem {
            line: lines.get(&key).copied(),
            key,
            message,
        });
        let problems: Vec<_> = problems.collect();
        if !problems.is_empty() {
            let file = file.to_owned();
            return Err(ConfigError { file, problems });
        }
    }
    Ok((settings, source))
}

/// What somebody else could change, at this moment, and so what root runs: the configuration in `file`
/// itself, which has no setting's name, and what [`Settings::unsafe_commands`] gives.
#[must_use]
pub fn exposed(file: &Path, settings: &Settings) -> Vec<(String, Phrase)> {
    let of_file = path_trust::warning_of_config(file).map(|warning| (String::new(), warning));
    of_file
        .into_iter()
        .chain(settings.unsafe_commands())
        .collect()
}

/// Reads a file that should be a configuration.
pub(crate) fn read(path: &Path) -> Result<String, ConfigError> {
    let refuse = |message: Phrase| ConfigError::whole_file(path.to_owned(), message);
    let unreadable = |error: io::Error| {
        refuse(phrase!(
            "can't be read: %{error}",
            error = error.to_string()
        ))
    };
    // Looked at before it is opened: opening a FIFO would wait for somebody to write.
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if metadata.is_dir() {
        return Err(refuse(phrase!("is a directory, not a configuration file")));
    }
    if !metadata.is_file() {
        return Err(refuse(phrase!("is not a regular file")));
    }
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_SIZE + 1).read_to_end(&mut bytes))
        .map_err(unreadable)?;
    if bytes.len() as u64 > MAX_SIZE {
        return Err(refuse(phrase!(
            "is larger than 1 MiB, so not a configuration"
        )));
    }
    let refuse_at = |offset: usize, bytes: &[u8], message: Phrase| {
        let mut refused = refuse(message);
        refused.problems[0].line = Some(1 + line_ends(&bytes[..offset]));
        refused
    };
    if let Some(offset) = bytes.iter().position(|byte| *byte == 0) {
        let message = phrase!("holds a NUL byte, so it is not a text file");
        return Err(refuse_at(offset, &bytes, message));
    }
    String::from_utf8(bytes).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        let message = phrase!("is not UTF-8 text; save it as UTF-8 with a text editor");
        refuse_at(offset, error.as_bytes(), message)
    })
}

/// Validates a configuration's `text`; `file` is only named in problems.
///
/// # Errors
/// Everything that is wrong with the text.
pub fn parse(text: &str, file: &Path) -> Result<Settings, ConfigError> {
    parse_with_lines(text, file).map(|(settings, _)| settings)
}

/// The same, with the line of each command by its setting's full name.
fn parse_with_lines(
    text: &str,
    file: &Path,
) -> Result<(Settings, HashMap<String, usize>), ConfigError> {
    let mut problems = Problems::new(text);
    let settings = parse_text(text, &mut problems);
    let lines = problems.lines();
    let problems = problems.into_vec();
    match settings {
        Some(settings) if problems.is_empty() => Ok((settings, lines)),
        _ => Err(ConfigError {
            file: file.to_owned(),
            problems,
        }),
    }
}

fn parse_text(text: &str, problems: &mut Problems<'_>) -> Option<Settings> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let complaints = errors
        .iter()
        .map(|error| (error.span().unwrap_or_default(), error.message().to_owned()));
    for mistake in syntax::mistakes(text, complaints) {
        let subject = mistake.subject.map(|span| problems.excerpt(span));
        problems.add(mistake.offset, subject.unwrap_or_default(), mistake.message);
    }
    if !errors.is_empty() {
        // What recovery made of broken text would only raise false problems.
        return None;
    }
    let mut file = Section::new(String::new(), 0, table.into_inner());
    let policy = policy::policy(&mut file, Policy::default(), problems);
    let launcher = file.take(
        "launcher",
        &phrase!("\"auto\", \"systemd\" or \"direct\""),
        problems,
    );
    let launcher = launcher.map_or(Launcher::Auto, |located| located.value);
    let refuse_unsafe_commands = file.take("refuse_unsafe_commands", &true_or_false(), problems);
    let is_any = file.find("process").is_some();
    let sections = file.take_sections("process", problems);
    let hooks = hook::hooks(&mut file, problems);
    file.finish(problems);
    if !is_any || sections.as_ref().is_some_and(Vec::is_empty) {
        let message =
            phrase!("no process to keep running; write at least one [process.KEY] section");
        problems.add(0, "process", message);
    }

    let mut targets = Vec::new();
    let mut processes = Vec::new();
    for (key, section) in sections.unwrap_or_default() {
        processes.extend(process(
            key,
            section,
            policy,
            launcher,
            &mut targets,
            problems,
        ));
    }
    introduce_namesakes(&mut processes);
    Some(Settings {
        policy,
        launcher,
        refuse_unsafe_commands: refuse_unsafe_commands.is_some_and(|located| located.value),
        processes,
        hooks,
    })
}

/// Tells each target of the others that a process of its name may be.
fn introduce_namesakes(processes: &mut [ProcessSettings]) {
    let targets: Vec<Target> = processes
        .iter()
        .map(|process| process.target.clone())
        .collect();
    for (index, process) in processes.iter_mut().enumerate() {
        let others = targets.iter().enumerate().filter(|(other, target)| {
            *other != index && target.name.is_indistinguishable_from(process.name())
        });
        process.target.namesakes = others.map(|(_, target)| target.clone()).collect();
    }
}

/// Validates one `[process.KEY]` section; `targets` are those of the sections before it, by key.
fn process(
    key: String,
    mut section: Section<'_>,
    policy: Policy,
    launcher: Launcher,
    targets: &mut Vec<(String, Target)>,
    problems: &mut Problems<'_>,
) -> Option<ProcessSettings> {
    if !is_key(&key) {
        problems.add(
            section.offset(),
            format!("process.{key}"),
            phrase!("a key has 1 to 32 characters out of a-z, 0-9, _ and -"),
        );
    }
    let target = target(&mut section, problems);
    if let Some(Located { value, offset }) = &target {
        // One is enough: whoever fixes it meets the next.
        let same = targets
            .iter()
            .find(|(_, other)| other.is_indistinguishable_from(value));
        if let Some((other_key, other)) = same {
            let message = not_distinguishable(other_key, &other.name, &value.name);
            problems.add(*offset, section.path("name"), message);
        } else {
            targets.push((key.clone(), value.clone()));
        }
    }
    let session = session(&mut section, problems);
    let start = start(&mut section, problems);
    let policy = Policy {
        is_unit: matches!(start, Some(Start::Unit(_))),
        ..policy::policy(&mut section, policy, problems)
    };
    let checks = check::checks(&mut section, problems);
    section.finish(problems);
    Some(ProcessSettings {
        key,
        target: target?.value,
        start: start?,
        launcher,
        session,
        policy,
        checks,
    })
}

/// Whether a text can be a key: 1 to 32 characters out of a-z, 0-9, _ and -.
fn is_key(text: &str) -> bool {
    let is_key_character =
        |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    !text.is_empty() && text.len() <= MAX_KEY && text.chars().all(is_key_character)
}

fn not_distinguishable(key: &str, other: &ProcessName, name: &ProcessName) -> Phrase {
    if other == name {
        phrase!(
            "process.%{key} has the same name; give each process a name of its own, or each an exe \
             or a cmdline of its own",
            key = key
        )
    } else {
        phrase!(
            "can't be distinguished from process.%{key}, \"%{other}\": the kernel keeps only the first \
             %{length} bytes of a name, which must differ",
            key = key,
            other = other.to_string(),
            length = ProcessName::COMM_MAX.to_string()
        )
    }
}

fn name(section: &mut Section<'_>, problems: &mut Problems<'_>) -> Option<Located<ProcessName>> {
    let expected = phrase!("the process's exact name, such as \"Comunicador\"");
    let path = section.path("name");
    section.require("name", &expected, problems);
    let Located { value, offset } = section.take::<String>("name", &expected, problems)?;
    if value.is_empty() || value.len() > MAX_NAME || value.contains(['/', '\0']) {
        let message = phrase!(
            "must be %{expected}: 1 to %{most} bytes, no path, no NUL",
            expected = expected,
            most = MAX_NAME.to_string()
        );
        problems.add(offset, path, message);
        return None;
    }
    Some(Located {
        value: ProcessName::new(value),
        offset,
    })
}

/// What the process has to be, and where its name stands; `None` unless all of it is good.
fn target(section: &mut Section<'_>, problems: &mut Problems<'_>) -> Option<Located<Target>> {
    let name = name(section, problems);
    let exe = optional(section, "exe", &EXE, problems, |pattern: String| {
        valid_exe(&pattern)
    });
    let cmdline = optional(section, "cmdline", &CMDLINE, problems, |pattern: String| {
        valid_cmdline(&pattern)
    });
    let user = optional(section, "user", &USER, problems, valid_user);
    let Located { value, offset } = name?;
    let target = Target {
        exe: exe.ok()?,
        cmdline: cmdline.ok()?,
        user: user.ok()?,
        ..Target::named(value)
    };
    Some(Located {
        value: target,
        offset,
    })
}

/// Takes a setting that may be absent, but if it is there must be good; why it isn't is noted.
fn optional<V: DeserializeOwned, T>(
    section: &mut Section<'_>,
    key: &'static str,
    expected: &Phrase,
    problems: &mut Problems<'_>,
    valid: impl FnOnce(V) -> Result<T, Phrase>,
) -> Result<Option<T>, Noted> {
    let is_given = section.find(key).is_some();
    let Some(Located { value, offset }) = section.take::<V>(key, expected, problems) else {
        return if is_given { Err(Noted) } else { Ok(None) };
    };
    valid(value).map(Some).map_err(|message| {
        problems.add(offset, section.path(key), message);
        Noted
    })
}

/// A problem that is noted already.
struct Noted;

fn valid_exe(pattern: &str) -> Result<ExePattern, Phrase> {
    if !pattern.starts_with(['/', '*']) {
        return Err(must_be(&EXE, quoted(pattern)));
    }
    ExePattern::new(pattern).map_err(|error| {
        phrase!(
            "isn't a pattern: %{error}, near character %{position}",
            error = error.msg,
            position = (error.pos + 1).to_string()
        )
    })
}

fn valid_cmdline(pattern: &str) -> Result<CmdlinePattern, Phrase> {
    if pattern.is_empty() {
        return Err(must_be(&CMDLINE, quoted(pattern)));
    }
    CmdlinePattern::new(pattern).map_err(|error| {
        phrase!(
            "isn't a regular expression: %{error}",
            error = error.to_string()
        )
    })
}

fn valid_user(user: NameOrNumber) -> Result<User, Phrase> {
    let name = match user {
        NameOrNumber::Name(name) => name,
        NameOrNumber::Number(uid) => uid.to_string(),
    };
    let shown = quoted(&name);
    match User::find(&name) {
        Ok(Some(user)) => Ok(user),
        Ok(None) => Err(phrase!(
            "/etc/passwd has no user %{name}; must be %{expected}",
            name = shown,
            expected = USER
        )),
        Err(error) => Err(phrase!(
            "can't tell whether there is a user %{name}: /etc/passwd can't be read: %{error}",
            name = shown,
            error = error.to_string()
        )),
    }
}

/// A user as people write it.
#[derive(Deserialize)]
#[serde(untagged)]
enum NameOrNumber {
    Name(String),
    Number(u32),
}

/// Whether the program belongs on the screen; a unit runs where systemd runs it.
fn session(section: &mut Section<'_>, problems: &mut Problems<'_>) -> SessionMode {
    let expected = phrase!("\"graphical\", \"none\" or \"auto\"");
    let given = section.take::<SessionMode>("session", &expected, problems);
    let Some(Located { value, offset }) = given else {
        return SessionMode::None;
    };
    if value != SessionMode::None && section.find("unit").is_some() {
        let message = phrase!(
            "a unit runs where systemd runs it, not on the screen: give the command that starts the \
             program instead of unit"
        );
        problems.add(offset, section.path("session"), message);
    }
    value
}

/// Exactly one of `command` and `unit`.
fn start(section: &mut Section<'_>, problems: &mut Problems<'_>) -> Option<Start> {
    match (section.find("command"), section.find("unit")) {
        (None, None) => {
            let message = phrase!("is missing: give a command (or a unit) that starts the program");
            problems.add(section.offset(), section.path("command"), message);
        }
        (Some(_), Some(unit)) => {
            let message =
                phrase!("both command and unit are given; keep the one that starts the program");
            problems.add(unit, section.path("unit"), message);
        }
        _ => {}
    }
    let command = command(section, problems);
    let unit = section.take::<String>(
        "unit",
        &phrase!("a service, such as \"cco-ser.service\""),
        problems,
    );
    let unit = unit.and_then(|unit| valid_unit(unit, &section.path("unit"), problems));
    command.map(Start::Command).or(unit)
}

/// Takes the program that the section has the service run.
fn command(section: &mut Section<'_>, problems: &mut Problems<'_>) -> Option<Vec<String>> {
    let path = section.path("command");
    let Located { value, offset } = section.take::<Vec<String>>(
        "command",
        &phrase!(
            "a list of a program's absolute path and its arguments, such as [\"/opt/x/start.sh\"]"
        ),
        problems,
    )?;
    let message = match value.first() {
        None => phrase!("is empty; write the program's absolute path and its arguments"),
        Some(program) if !program.starts_with('/') => phrase!(
            "the program must be an absolute path such as \"/opt/x/start.sh\", not %{program}",
            program = quoted(program)
        ),
        Some(_) if value.iter().any(|argument| argument.contains('\0')) => {
            phrase!("holds a NUL character, which no program can be given")
        }
        Some(_) => {
            problems.located(offset, path);
            return Some(value);
        }
    };
    problems.add(offset, path, message);
    None
}

/// A unit name as systemd.unit(5) has it, of a service.
fn valid_unit(
    Located { value, offset }: Located<String>,
    path: &str,
    problems: &mut Problems<'_>,
) -> Option<Start> {
    let is_unit_character = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
    let stem = value.strip_suffix(".service");
    let valid = stem.is_some_and(|stem| {
        !stem.is_empty() && !stem.starts_with('-') && stem.chars().all(is_unit_character)
    });
    if !valid || value.len() > MAX_NAME {
        let message = phrase!(
            "must be a service's full name such as \"cco-ser.service\", not %{found}",
            found = quoted(&value)
        );
        problems.add(offset, path, message);
        return None;
    }
    Some(Start::Unit(value))
}

/// What a number has to be.
fn number(least: u32, most: u32) -> Phrase {
    phrase!(
        "a number from %{least} to %{most}",
        least = least.to_string(),
        most = most.to_string()
    )
}

/// What a switch has to be.
fn true_or_false() -> Phrase {
    phrase!("true or false")
}

/// Takes a duration as people write it, within the limits.
fn duration(
    section: &mut Section<'_>,
    key: &'static str,
    within: RangeInclusive<Duration>,
    problems: &mut Problems<'_>,
) -> Option<Duration> {
    let [least, most] = [within.start(), within.end()].map(|limit| setting(*limit));
    let expected = phrase!(
        "a duration such as \"10s\" or \"1min 30s\", from %{least} to %{most}",
        least = least,
        most = most
    );
    let parse = |text: &str| {
        let duration = humantime::parse_duration(text).ok()?;
        within.contains(&duration).then_some(duration)
    };
    section.take_parsed(key, &expected, parse, problems)
}

#[cfg(test)]
mod tests;
