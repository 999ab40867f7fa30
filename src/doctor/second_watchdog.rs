//! Whether a second watchdog watches the till's programs; that the service itself refuses one is done in
//! [`crate::daemon::startup`].

use std::path::{Path, PathBuf};

use mfe_common::escape::{list, printable};
use rust_i18n::t;

use super::Examination;
use super::root::View;
use crate::config::Settings;
use crate::proc::Running;
use crate::status::Status;
use crate::status::directories::RUNTIME_DIR;

/// The program's name, and the command by which it is a watchdog.
const PROGRAM: &str = "mfe-watchdog";
const COMMAND: &str = "run";

/// The option, and the variable, that name another runtime directory.
const OPTION: &str = "--runtime-dir";
const VARIABLE: &str = "RUNTIME_DIRECTORY=";

/// The unit of the one that is meant to run.
const UNIT: &str = "mfe-watchdog.service";

pub(super) fn examine(
    settings: &Settings,
    view: &mut View<'_>,
    running: &[Running],
    found: &mut Examination,
) {
    let watchdogs: Vec<&Running> = running.iter().filter(|one| is_watchdog(one)).collect();
    // A child that hasn't become another program yet has its parent's arguments.
    let is_child = |one: &&&Running| watchdogs.iter().any(|other| other.id.pid == one.parent);
    let watchdogs = watchdogs.iter().filter(|one| !is_child(one));
    let mut has_usual = running
        .iter()
        .any(|one| is_watchdog(one) && one.unit.as_deref() == Some(UNIT));
    for watchdog in watchdogs.filter(|one| one.unit.as_deref() != Some(UNIT)) {
        let directory = directory(watchdog, view);
        let names = if directory == Path::new(RUNTIME_DIR) {
            // The first one there, unless systemd has its own, is the till's.
            if !std::mem::replace(&mut has_usual, true) {
                continue;
            }
            names(settings)
        } else {
            let status = Status::read(&view.at(&directory)).ok().flatten();
            let watched = |name: &String| {
                let mut processes = status.iter().flat_map(|status| &status.processes);
                processes.any(|process| process.name == *name)
            };
            names(settings).into_iter().filter(watched).collect()
        };
        if !names.is_empty() {
            let pid = watchdog.id.pid;
            let text = t!(
                "doctor.second_watchdog",
                pid = pid,
                directory = printable(&directory.display().to_string()),
                names = list(names)
            );
            found.find("second-watchdog", text, format!("sudo kill {pid}"));
        }
    }
}

fn names(settings: &Settings) -> Vec<String> {
    let processes = settings.processes.iter();
    processes
        .map(|process| process.name().as_str().to_owned())
        .collect()
}

fn is_watchdog(process: &Running) -> bool {
    let mut arguments = process.arguments.iter();
    let program = arguments.next().and_then(|path| path.rsplit('/').next());
    program == Some(PROGRAM) && arguments.any(|argument| argument == COMMAND)
}

/// Where a watchdog publishes.
fn directory(watchdog: &Running, view: &mut View<'_>) -> PathBuf {
    let arguments = &watchdog.arguments;
    let after = |index: usize| arguments.get(index + 1).cloned();
    let named = arguments.iter().enumerate().find_map(|(index, argument)| {
        let value = argument.strip_prefix(OPTION)?;
        match value.strip_prefix('=') {
            Some(value) => Some(value.to_owned()),
            None => after(index),
        }
    });
    let mut of_systemd = || {
        let file = format!("/proc/{}/environ", watchdog.id.pid);
        let environment = view.text(Path::new(&file))?;
        let mut variables = environment.split('\0');
        let value = variables.find_map(|variable| variable.strip_prefix(VARIABLE))?;
        value.split(':').next().map(str::to_owned)
    };
    let directory = named.or_else(&mut of_systemd);
    directory.map_or_else(|| RUNTIME_DIR.into(), PathBuf::from)
}
