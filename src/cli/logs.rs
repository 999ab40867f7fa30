//! `mfe-watchdog logs`: what the programs print, whoever has started them, as journalctl(1) shows it. What
//! the service itself says is in `journalctl -u mfe-watchdog`.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::Context;
use rust_i18n::t;
use rustix::process::geteuid;

use super::exec::settings;
use super::output::complain;
use super::{unknown_key, with_sudo};
use crate::config::ProcessSettings;
use crate::start::unit_name;
use crate::status::control::key_meant_by;
use crate::status::directories::Directories;
use crate::status::service::Service;

/// Shows the last `lines` that a program, or each of them, has printed, and with `follow` those to come.
pub(super) fn logs(
    key: Option<&str>,
    lines: u32,
    follow: bool,
    directories: &Directories,
) -> anyhow::Result<ExitCode> {
    let processes = processes(directories)?;
    let meant = meant_or_all(key, &processes)?;
    let mut journalctl = Command::new("journalctl");
    journalctl.arg(format!("--lines={lines}"));
    if follow {
        journalctl.arg("--follow");
    }
    for (index, process) in meant.into_iter().enumerate() {
        journalctl.args((index > 0).then_some("+"));
        journalctl.args(matches(process));
    }
    if follow {
        // In its place, whatever ends this command ends it.
        let error = journalctl.exec();
        return Err(error).with_context(|| t!("errors.journalctl_not_run"));
    }
    let status = journalctl.status();
    let status = status.with_context(|| t!("errors.journalctl_not_run"))?;
    if status.success() {
        return Ok(ExitCode::SUCCESS);
    }
    if !geteuid().is_root() {
        let command = with_sudo(std::env::args());
        let text = t!("logs.not_permitted", command = command);
        complain(&format!("mfe-watchdog: {text}"));
    }
    Ok(ExitCode::FAILURE)
}

/// The programs that the service watches, or would.
pub(super) fn processes(directories: &Directories) -> anyhow::Result<Vec<ProcessSettings>> {
    let is_running = Service::find(directories).pid().is_some();
    let (settings, _) = settings(None, &directories.runtime, is_running)?;
    Ok(settings.processes)
}

/// The one of them that a person means, or all.
pub(super) fn meant_or_all<'a>(
    word: Option<&str>,
    processes: &'a [ProcessSettings],
) -> anyhow::Result<Vec<&'a ProcessSettings>> {
    match word {
        Some(word) => Ok(vec![meant(word, processes)?]),
        None => Ok(processes.iter().collect()),
    }
}

/// The one of them that a person means.
pub(super) fn meant<'a>(
    word: &str,
    processes: &'a [ProcessSettings],
) -> anyhow::Result<&'a ProcessSettings> {
    let named = processes.iter();
    let named = named.map(|process| (process.key.as_str(), process.name().as_str()));
    let key = key_meant_by(word, named);
    let meant = processes
        .iter()
        .find(|process| Some(process.key.as_str()) == key);
    meant.with_context(|| unknown_key(word, processes.iter().map(|process| &process.key)))
}

/// What journalctl is to look for: what comes from the unit, and what comes from a process that has the
/// program's name as the kernel keeps it, whoever has started that (systemd.journal-fields(7)).
pub(super) fn matches(process: &ProcessSettings) -> [String; 3] {
    let unit = unit_name(Path::new("/"), process);
    let comm = String::from_utf8_lossy(process.name().comm()).into_owned();
    [
        format!("_SYSTEMD_UNIT={unit}"),
        "+".to_owned(),
        format!("_COMM={comm}"),
    ]
}
