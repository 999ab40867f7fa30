//! Validated settings that the rest of the program can trust; reading and judging a file is done
//! in the parent module.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use mfe_common::escape::printable;
use serde::{Deserialize, Serialize, Serializer};

use super::check::{self, CheckSection, CheckSettings};
use super::hook::{self, HookSection, HookSettings};
use super::section::quoted;
use crate::machine::{Duplicates, Policy};
use crate::proc::{CmdlinePattern, ExePattern, ProcessName, Target};
use crate::sys::path_trust;
use crate::text::phrase::{Phrase, phrase};

/// Everything a configuration says, with every default filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The rules for processes that have none of their own.
    pub policy: Policy,
    /// How a `command` is started.
    pub launcher: Launcher,
    /// Whether a configuration is refused one of whose commands somebody other than root could
    /// change.
    pub refuse_unsafe_commands: bool,
    /// The processes to keep running, in the order of the file; at least one.
    pub processes: Vec<ProcessSettings>,
    /// The programs that are told of events, in the order of the file.
    pub hooks: Vec<HookSettings>,
}

/// One process to keep running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessSettings {
    /// Its name in logs, status and metrics: `[a-z0-9_-]{1,32}`.
    pub key: String,
    /// What it has to be to be found in /proc.
    pub target: Target,
    /// What brings it up.
    pub start: Start,
    /// How a `command` is started; the same for all processes.
    pub launcher: Launcher,
    /// Whether it belongs on the screen of whoever is logged in.
    pub session: SessionMode,
    /// The rules that its supervision keeps to.
    pub policy: Policy,
    /// Its health checks, in the order of the file.
    pub checks: Vec<CheckSettings>,
}

impl ProcessSettings {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &ProcessName {
        &self.target.name
    }
}

/// What brings a process up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// A program, by its absolute path, and its arguments; never empty.
    Command(Vec<String>),
    /// A systemd service that is restarted.
    Unit(String),
}

/// As a person would type it.
impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Command(command) => command.join(" "),
            Self::Unit(unit) => format!("systemctl restart {unit}"),
        };
        f.write_str(&printable(&text))
    }
}

/// How a `command` is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Launcher {
    /// As fits the machine.
    Auto,
    /// In a systemd unit of its own.
    Systemd,
    /// As a detached child of the watchdog.
    Direct,
}

/// Whether a program belongs on the screen of whoever is logged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SessionMode {
    /// It is a window, and runs as that user.
    Graphical,
    /// It does without a screen.
    #[default]
    None,
    /// It is a window where the sessions of the machine start it by themselves.
    Auto,
}

/// Whether it is as without the setting, which is then not written.
#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands a reference to what it may leave out"
)]
fn is_nowhere(mode: &SessionMode) -> bool {
    *mode == SessionMode::None
}

impl Settings {
    /// Every program that the service runs, with the full name of the setting that gives it. A
    /// `unit` is systemd's to run.
    pub fn commands(&self) -> impl Iterator<Item = (String, &str)> {
        let processes = self.processes.iter().flat_map(|process| {
            let key = &process.key;
            let start = match &process.start {
                Start::Command(command) => {
                    Some((format!("process.{key}.command"), command.as_slice()))
                }
                Start::Unit(_) => None,
            };
            let checks = process.checks.iter().enumerate();
            let checks = checks.filter_map(move |(index, check)| {
                Some((check::path(key, index) + "command", check.kind.command()?))
            });
            start.into_iter().chain(checks)
        });
        let hooks = self.hooks.iter().enumerate();
        let hooks =
            hooks.map(|(index, hook)| (hook::path(index) + "command", hook.command.as_slice()));
        processes
            .chain(hooks)
            .filter_map(|(key, command)| Some((key, command.first()?.as_str())))
    }

    /// Those of them that somebody else could change, at this moment: the setting's full name, and
    /// who could change what and what to do about it.
    pub fn unsafe_commands(&self) -> impl Iterator<Item = (String, Phrase)> {
        self.commands()
            .filter_map(|(key, program)| Some((key, path_trust::warning(program)?)))
    }

    /// Those of them that are a program and its arguments in one item, where each should have its own: the
    /// setting's full name, and how it should be written.
    pub fn commands_in_one_item(&self) -> impl Iterator<Item = (String, Phrase)> {
        let is_one =
            |program: &str| program.contains(char::is_whitespace) && !Path::new(program).exists();
        let found = self.commands().filter(move |(_, program)| is_one(program));
        found.map(|(key, program)| {
            let items: Vec<_> = program.split_whitespace().map(quoted).collect();
            let message = phrase!(
                "there is no file %{program}; write each argument as an item of its own: [%{items}]",
                program = quoted(program),
                items = items.join(", ")
            );
            (key, message)
        })
    }

    /// Has nothing run that somebody else could change, at this moment: a program that such a command
    /// would start is watched and not started (a dry run), such checks and hooks are left out. Gives
    /// what is affected, as [`Settings::unsafe_commands`] does.
    pub fn refuse_unsafe(&mut self) -> Vec<(String, Phrase)> {
        let found: Vec<_> = self.unsafe_commands().collect();
        let is_unsafe = |path: &str| found.iter().any(|(key, _)| key == path);
        for process in &mut self.processes {
            let key = &process.key;
            if is_unsafe(&format!("process.{key}.command")) {
                process.policy.dry_run = true;
            }
            let mut index = 0..;
            process.checks.retain(|_| {
                let path = index
                    .next()
                    .map(|index| check::path(key, index) + "command");
                !path.is_some_and(|path| is_unsafe(&path))
            });
        }
        let mut index = 0..;
        self.hooks.retain(|_| {
            let path = index.next().map(|index| hook::path(index) + "command");
            !path.is_some_and(|path| is_unsafe(&path))
        });
        found
    }

    /// Has nothing started and nothing signalled, only told.
    pub fn hold_still(&mut self) {
        self.policy.dry_run = true;
        for process in &mut self.processes {
            process.policy.dry_run = true;
        }
    }

    /// The programs of checks and hooks, with their arguments.
    pub fn checks_and_hooks(&self) -> impl Iterator<Item = &[String]> {
        let checks = self.processes.iter().flat_map(|process| &process.checks);
        let checks = checks.filter_map(|check| check.kind.command());
        let hooks = self.hooks.iter().map(|hook| hook.command.as_slice());
        checks.chain(hooks)
    }

    /// The settings as a configuration file with nothing left out.
    ///
    /// # Errors
    /// Never for settings that came from a file; the serializer's signature asks for it.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        self.written(false)
    }

    /// The same for a program that reads it while a shop waits: a process's policy that is the file's is left
    /// out.
    ///
    /// # Errors
    /// As [`Self::to_toml`].
    pub fn to_short_toml(&self) -> Result<String, toml::ser::Error> {
        self.written(true)
    }

    fn written(&self, is_short: bool) -> Result<String, toml::ser::Error> {
        let of_file = PolicySection::from(&self.policy);
        let processes = self.processes.iter().map(|process| {
            let (command, unit) = match &process.start {
                Start::Command(command) => (Some(command.as_slice()), None),
                Start::Unit(unit) => (None, Some(unit.as_str())),
            };
            let Target {
                name,
                exe,
                cmdline,
                user,
                namesakes: _,
            } = &process.target;
            let section = ProcessSection {
                name: name.as_str(),
                exe: exe.as_ref().map(ExePattern::as_str),
                cmdline: cmdline.as_ref().map(CmdlinePattern::as_str),
                user: user.as_ref().map(|user| user.name.as_str()),
                command,
                unit,
                session: process.session,
                policy: Some(PolicySection::from(&process.policy))
                    .filter(|policy| !is_short || *policy != of_file),
                check: process.checks.iter().map(CheckSection::from).collect(),
            };
            (process.key.as_str(), section)
        });
        toml::to_string(&File {
            policy: (&self.policy).into(),
            launcher: self.launcher,
            refuse_unsafe_commands: self.refuse_unsafe_commands,
            process: processes.collect(),
            hook: self.hooks.iter().map(HookSection::from).collect(),
        })
    }
}

/// The form of the file, for writing it.
#[derive(Serialize)]
struct File<'a> {
    #[serde(flatten)]
    policy: PolicySection,
    launcher: Launcher,
    refuse_unsafe_commands: bool,
    #[serde(serialize_with = "in_order")]
    process: Vec<(&'a str, ProcessSection<'a>)>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hook: Vec<HookSection<'a>>,
}

#[derive(Serialize)]
struct ProcessSection<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    exe: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cmdline: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<&'a str>,
    #[serde(skip_serializing_if = "is_nowhere")]
    session: SessionMode,
    #[serde(flatten)]
    policy: Option<PolicySection>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    check: Vec<CheckSection<'a>>,
}

/// A policy as the file has it.
#[derive(PartialEq, Serialize)]
struct PolicySection {
    #[serde(with = "humantime_serde")]
    interval: Duration,
    #[serde(with = "humantime_serde")]
    start_timeout: Duration,
    #[serde(with = "humantime_serde")]
    stop_timeout: Duration,
    #[serde(with = "humantime_serde")]
    stopped_timeout: Duration,
    restart_burst: u32,
    #[serde(with = "humantime_serde")]
    restart_delay: Duration,
    #[serde(with = "humantime_serde")]
    restart_delay_max: Duration,
    #[serde(with = "humantime_serde")]
    stable_after: Duration,
    crash_loop_restarts: u32,
    #[serde(with = "humantime_serde")]
    crash_loop_window: Duration,
    duplicates: Duplicates,
    #[serde(with = "humantime_serde")]
    autostart_timeout: Duration,
    dry_run: bool,
}

impl From<&Policy> for PolicySection {
    fn from(policy: &Policy) -> Self {
        Self {
            interval: policy.interval,
            start_timeout: policy.start_timeout,
            stop_timeout: policy.stop_timeout,
            stopped_timeout: policy.stopped_timeout,
            restart_burst: policy.restart_burst,
            restart_delay: policy.restart_delay,
            restart_delay_max: policy.restart_delay_max,
            stable_after: policy.stable_after,
            crash_loop_restarts: policy.crash_loop_restarts,
            crash_loop_window: policy.crash_loop_window,
            duplicates: policy.duplicates,
            autostart_timeout: policy.autostart_timeout,
            dry_run: policy.dry_run,
        }
    }
}

/// A map that keeps the order of the file, which is the order of the status too.
fn in_order<S: Serializer>(
    sections: &[(&str, ProcessSection<'_>)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(sections.iter().map(|(key, section)| (key, section)))
}
