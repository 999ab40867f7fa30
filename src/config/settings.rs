//! Validated settings that the rest of the program can trust; reading and judging a file is done
//! in the parent module.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};

use crate::printable::printable;
use crate::process::{CmdlinePattern, ExePattern, ProcessName, Target};

/// Everything a configuration says, with every default filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The time between two looks at a process that has no interval of its own.
    pub interval: Duration,
    /// How a `command` is started.
    pub launcher: Launcher,
    /// The processes to keep running, in the order of the file; at least one.
    pub processes: Vec<ProcessSettings>,
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
    /// The time between two looks, 100 ms to 1 h.
    pub interval: Duration,
    /// How long a start may take before it counts as failed, 100 ms to 1 h.
    pub start_timeout: Duration,
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

impl Settings {
    /// The settings as a configuration file with nothing left out.
    ///
    /// # Errors
    /// Never for settings that came from a file; the serializer's signature asks for it.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
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
                interval: process.interval,
                start_timeout: process.start_timeout,
            };
            (process.key.as_str(), section)
        });
        toml::to_string(&File {
            interval: self.interval,
            launcher: self.launcher,
            process: processes.collect(),
        })
    }
}

/// The form of the file, for writing it.
#[derive(Serialize)]
struct File<'a> {
    #[serde(serialize_with = "as_duration")]
    interval: Duration,
    launcher: Launcher,
    #[serde(serialize_with = "in_order")]
    process: Vec<(&'a str, ProcessSection<'a>)>,
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
    #[serde(serialize_with = "as_duration")]
    interval: Duration,
    #[serde(serialize_with = "as_duration")]
    start_timeout: Duration,
}

/// A map that keeps the order of the file, which is the order of the status too.
fn in_order<S: Serializer>(
    sections: &[(&str, ProcessSection<'_>)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(sections.iter().map(|(key, section)| (key, section)))
}

fn as_duration<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_duration(*duration))
}
