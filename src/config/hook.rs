//! What a `[[hook]]` section says; running the hook is done in [`crate::hooks`].

use std::time::Duration;

use mfe_common::escape::list;
use serde::Serialize;

use super::section::{Located, Problems, Section, quoted};
use super::{FROM_MIN, command, duration};
use crate::events::Kind;
use crate::text::phrase::phrase;

/// The list's name in the file.
const LIST: &str = "hook";

/// How long a hook may run when the file doesn't say.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// A program that is told of events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookSettings {
    /// The kinds of events it is told of; at least one.
    pub on: Vec<Kind>,
    /// The program, by its absolute path, and its arguments; never empty.
    pub command: Vec<String>,
    /// How long one run may take before it is killed, 100 ms to 1 h.
    pub timeout: Duration,
}

/// The form of the file, for writing it.
#[derive(Serialize)]
pub(super) struct HookSection<'a> {
    on: Vec<&'static str>,
    command: &'a [String],
    #[serde(with = "humantime_serde")]
    timeout: Duration,
}

impl<'a> From<&'a HookSettings> for HookSection<'a> {
    fn from(hook: &'a HookSettings) -> Self {
        Self {
            on: hook.on.iter().map(|kind| kind.name()).collect(),
            command: &hook.command,
            timeout: hook.timeout,
        }
    }
}

/// What the full names of the settings of the hook at `index` begin with.
pub(super) fn path(index: usize) -> String {
    Section::path_of_item(LIST, index)
}

/// Takes all hooks out of the file.
pub(super) fn hooks(file: &mut Section<'_>, problems: &mut Problems<'_>) -> Vec<HookSettings> {
    let sections = file.take_list(LIST, problems).into_iter();
    sections
        .filter_map(|section| hook(section, problems))
        .collect()
}

/// Validates one `[[hook]]` section.
fn hook(mut section: Section<'_>, problems: &mut Problems<'_>) -> Option<HookSettings> {
    let on = on(&mut section, problems);
    if section.find("command").is_none() {
        let message = phrase!("is missing: give the program that is to be told");
        problems.add(section.offset(), section.path("command"), message);
    }
    let command = command(&mut section, problems);
    let timeout = duration(&mut section, "timeout", FROM_MIN, problems).unwrap_or(DEFAULT_TIMEOUT);
    section.finish(problems);
    Some(HookSettings {
        on: on?,
        command: command?,
        timeout,
    })
}

fn on(section: &mut Section<'_>, problems: &mut Problems<'_>) -> Option<Vec<Kind>> {
    let expected = phrase!("a list of events, such as [\"restarted\", \"start_failed\"]");
    let path = section.path("on");
    section.require("on", &expected, problems);
    let Located { value, offset } = section.take::<Vec<String>>("on", &expected, problems)?;
    if value.is_empty() {
        let message = phrase!("is empty; write %{expected}", expected = expected);
        problems.add(offset, &path, message);
        return None;
    }
    let mut kinds = Vec::new();
    for name in &value {
        match Kind::from_name(name) {
            Some(kind) => kinds.push(kind),
            None => {
                let known = list(Kind::ALL.map(Kind::name));
                let message = phrase!(
                    "%{name} isn't an event; known: %{known}",
                    name = quoted(name),
                    known = known
                );
                problems.add(offset, &path, message);
            }
        }
    }
    (kinds.len() == value.len()).then_some(kinds)
}
