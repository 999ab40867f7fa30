//! `mfe-watchdog exec KEY`, by which systemd starts a program: looks whether it runs already, says so if
//! it does, and else becomes its command. How it is looked for is in
//! [`crate::start`].

use std::path::Path;
use std::process::ExitCode;

use rust_i18n::t;

use super::EXIT_CONFIG;
use crate::config::{self, Settings, Source, Start};
use crate::daemon::effective_config;
use crate::proc::LeftOver;
use crate::start::beside::{self, Known, Verdict};
use crate::start::exec;
use crate::status::directories::Directories;
use crate::status::service::Service;
use crate::status::{State, Status};
use crate::sys::user::name_of;
use crate::text::escape::{list, printable};

/// What may be tried again later: `EX_TEMPFAIL` of sysexits(3).
const EXIT_TRY_AGAIN: u8 = 75;

/// Becomes the command for `key`, unless that would make a second copy.
pub(super) fn exec(
    key: &str,
    config: Option<&Path>,
    directories: &Directories,
) -> anyhow::Result<ExitCode> {
    let runtime_dir = &directories.runtime;
    let is_running = Service::find(directories).pid().is_some();
    let (settings, source) = settings(config, runtime_dir, is_running)?;
    let mut processes = settings.processes.iter();
    let Some(process) = processes.find(|process| process.key == key) else {
        let known = settings.processes.iter();
        let known = list(known.map(|process| process.key.as_str()));
        let text = t!("control.unknown_key", key = printable(key), known = known);
        return Ok(refused(&source, &text));
    };
    let command = match &process.start {
        Start::Command(command) => command,
        Start::Unit(unit) => {
            let text = t!("errors.is_unit", key = key, unit = unit);
            return Ok(refused(&source, &text));
        }
    };
    let name = process.name().to_string();
    let (text, exit_code) = match beside::look(process, &known(key, runtime_dir, is_running)) {
        Verdict::Go => match exec::exec(command)? {},
        Verdict::Runs(other) => {
            let other = in_words(&other);
            (
                t!("exec.runs", name = name, process = other),
                ExitCode::SUCCESS,
            )
        }
        Verdict::IsStarting(other) => {
            let other = in_words(&other);
            let text = t!("exec.is_starting", name = name, process = other);
            (text, ExitCode::SUCCESS)
        }
        Verdict::Unknown(why) => {
            let text = t!("exec.unknown", name = name, why = why.translated());
            (text, ExitCode::from(EXIT_TRY_AGAIN))
        }
    };
    eprintln!("mfe-watchdog: {text}");
    Ok(exit_code)
}

/// What the running service goes by, not what the file says since it was last edited.
fn settings(
    config: Option<&Path>,
    runtime_dir: &Path,
    is_running: bool,
) -> anyhow::Result<(Settings, Source)> {
    let in_force = match config {
        None if is_running => effective_config::published(runtime_dir),
        _ => None,
    };
    match in_force {
        Some(in_force) => Ok(in_force),
        None => Ok(config::load(config)?),
    }
}

/// What the service has said of the process. What can't be read says nothing.
fn known(key: &str, runtime_dir: &Path, is_running: bool) -> Known {
    let status = Status::read(runtime_dir).ok().flatten();
    let processes = status.into_iter().flat_map(|status| status.processes);
    let mut process = processes.filter(|process| process.key == key);
    let (pids, is_up) = process.next().map_or_else(Default::default, |process| {
        let is_up = matches!(process.state, State::Up | State::Unhealthy);
        (process.pids, is_up)
    });
    Known {
        is_running,
        pids,
        is_up,
        asked: beside::asked(runtime_dir, key),
    }
}

fn refused(source: &Source, text: &str) -> ExitCode {
    eprintln!("{}: {text}", source.phrase().translated());
    ExitCode::from(EXIT_CONFIG)
}

/// Whose process stands against the start.
fn in_words(other: &LeftOver) -> String {
    let user = other.uid.map_or_else(
        || "?".to_owned(),
        |uid| name_of(uid).unwrap_or_else(|| uid.to_string()),
    );
    // As ps(1) shows a process whose program can't be told.
    let program = match &other.exe {
        Some(exe) => printable(&exe.display().to_string()),
        None => format!("[{}]", printable(&other.comm)),
    };
    let pid = other.id.pid;
    t!("exec.process", pid = pid, program = program, user = user).into_owned()
}
