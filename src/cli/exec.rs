//! `mfe-watchdog exec KEY`, by which systemd starts a program: looks whether it runs already, says so if
//! it does, and else becomes its command; one that belongs on the screen it starts there, as whoever is
//! logged in. How it is looked for is in [`crate::start`], who is there in [`crate::session`].

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use mfe_common::escape::printable;
use nix::libc;
use rust_i18n::t;
use rustix::process::geteuid;

use super::output::complain;
use super::{EXIT_CONFIG, unknown_key};
use crate::config::{self, ProcessSettings, Settings, Source, Start};
use crate::daemon::effective_config;
use crate::machine;
use crate::proc::LeftOver;
use crate::session::environment::{NotYet, goes_away, of_session};
use crate::session::identity::become_user;
use crate::session::{Found, Screen};
use crate::start::beside::{self, Known, Verdict};
use crate::start::{Placement, exec, in_session};
use crate::status::directories::Directories;
use crate::status::service::Service;
use crate::status::{State, Status};
use crate::sys::exit_status::ExitStatus;
use crate::sys::spawn::not_run;
use crate::sys::user::{Account, User, name_of};
use crate::text::phrase::{Phrase, phrase};

/// What may be tried again later: `EX_TEMPFAIL` of sysexits(3).
const EXIT_TRY_AGAIN: u8 = machine::NOT_YET;

/// Becomes the command for `key`, unless that would make a second copy.
pub(super) fn exec(
    key: &str,
    config: Option<&Path>,
    directories: &Directories,
) -> anyhow::Result<ExitCode> {
    let runtime_dir = &directories.runtime;
    let service = Service::find(directories);
    let is_running = service.pid().is_some();
    let (settings, source) = settings(config, runtime_dir, is_running)?;
    let mut processes = settings.processes.iter();
    let Some(process) = processes.find(|process| process.key == key) else {
        let known = settings.processes.iter().map(|process| &process.key);
        return Ok(refused(&source, &unknown_key(key, known)));
    };
    let command = match &process.start {
        Start::Command(command) => command,
        Start::Unit(unit) => {
            let text = t!("errors.is_unit", key = key, unit = unit);
            return Ok(refused(&source, &text));
        }
    };
    let known = known(key, runtime_dir, service);
    if !Placement::of(Path::new("/"), process).is_graphical() {
        return match beside::look(process, &known, None) {
            Verdict::Go => match exec::exec(command)? {},
            verdict => Ok(not_started(process, verdict)),
        };
    }
    if !geteuid().is_root() {
        let text = t!("exec.not_root", key = key, name = process.name());
        return Ok(refused(&source, &text));
    }
    let last = is_running.then(|| beside::asked_session(runtime_dir, key));
    in_session(process, command, &known, last.flatten().as_deref())
}

/// Starts a program on the screen, as whoever is logged in there. `last` is the session that the service
/// has chosen.
fn in_session(
    process: &ProcessSettings,
    command: &[String],
    known: &Known,
    last: Option<&str>,
) -> anyhow::Result<ExitCode> {
    let root = Path::new("/");
    let not_yet = |why: Phrase| {
        let text = t!(
            "exec.not_yet",
            name = process.name(),
            why = why.translated()
        );
        complain(&format!("mfe-watchdog: {text}"));
        Ok(ExitCode::from(EXIT_TRY_AGAIN))
    };
    let chosen = match Screen::look(root, process, last).found {
        Found::Session(chosen) => chosen,
        Found::Nobody => return not_yet(phrase!("nobody is logged in at the screen")),
        Found::Unclear => return not_yet(phrase!("it is unknown who uses the display")),
    };
    let mut process = process.clone();
    process.target.user = Some(User {
        name: chosen.uid.to_string(),
        uid: chosen.uid,
    });
    let process = &process;
    match beside::look(process, known, Some(chosen.uid)) {
        Verdict::Go => {}
        verdict => return Ok(not_started(process, verdict)),
    }
    let account = Account::find(chosen.uid).with_context(|| t!("exec.no_users"))?;
    let Some(account) = account else {
        let uid = chosen.uid.to_string();
        return not_yet(phrase!("/etc/passwd has no user %{uid}", uid = uid));
    };
    let user = printable(&account.name.to_string_lossy());
    become_user(&account).with_context(|| t!("exec.not_become", user = user))?;
    // From here on nothing of root's is left.
    let given = match of_session(&chosen, &account) {
        Ok(given) => given,
        Err(NotYet::NoDonor) => {
            return not_yet(phrase!(
                "no process in the session of %{user} has a display yet",
                user = user
            ));
        }
        Err(NotYet::NoAnswer) => {
            return not_yet(phrase!(
                "the display of %{user} doesn't answer",
                user = user
            ));
        }
    };
    let ended = in_session::start(command, &given, &account.home);
    let ended = ended.map_err(|error| not_run(&command[0], &error))?;
    match ended {
        // It may have ended because the session does.
        Some(_) if goes_away(&given.variables) => not_yet(phrase!(
            "the display of %{user} doesn't answer",
            user = user
        )),
        Some(ended) => {
            let status = ended.phrase().translated();
            let text = t!("exec.failed", name = process.name(), status = status);
            complain(&format!("mfe-watchdog: {text}"));
            Ok(exit_code(ended))
        }
        None => {
            let text = t!("exec.started", name = process.name(), user = user);
            complain(&format!("mfe-watchdog: {text}"));
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// As a shell tells how a program has ended.
fn exit_code(status: ExitStatus) -> ExitCode {
    let code = match status {
        ExitStatus::Code(code) => code,
        ExitStatus::Signal(number) => 128 + number,
        ExitStatus::OutOfMemory => 128 + libc::SIGKILL,
    };
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

/// Says why nothing is started beside what runs.
fn not_started(process: &ProcessSettings, verdict: Verdict) -> ExitCode {
    let name = process.name();
    let (text, exit_code) = match verdict {
        Verdict::Go => return ExitCode::SUCCESS,
        Verdict::Runs(other) => {
            let other = in_words(&other);
            let text = t!("exec.runs", name = name, process = other);
            (text, ExitCode::SUCCESS)
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
    complain(&format!("mfe-watchdog: {text}"));
    exit_code
}

/// What the running service goes by, not what the file says since it was last edited.
pub(super) fn settings(
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
fn known(key: &str, runtime_dir: &Path, service: Service) -> Known {
    let pid = service.pid();
    let status = match service {
        Service::Published(status) => Some(status),
        _ => Status::read(runtime_dir).ok().flatten(),
    };
    let processes = status.into_iter().flat_map(|status| status.processes);
    let mut process = processes.filter(|process| process.key == key);
    let mut known = Known {
        is_running: pid.is_some(),
        asked: beside::asked(runtime_dir, key),
        ..Known::default()
    };
    if let Some(process) = process.next() {
        known.is_up = matches!(process.state, State::Up | State::Unhealthy);
        known.starting_by = pid.filter(|_| process.state == State::Starting);
        known.pids.clone_from(&process.pids);
    }
    known
}

fn refused(source: &Source, text: &str) -> ExitCode {
    complain(&format!("{}: {text}", source.phrase().translated()));
    ExitCode::from(EXIT_CONFIG)
}

/// Whose process stands against the start.
fn in_words(other: &LeftOver) -> String {
    let user = other.uid.map_or_else(
        || "?".to_owned(),
        |uid| name_of(uid).unwrap_or_else(|| uid.to_string()),
    );
    // As ps(1) shows a process whose program is unknown.
    let program = match &other.exe {
        Some(exe) => printable(&exe.display().to_string()),
        None => format!("[{}]", printable(&other.comm)),
    };
    let pid = other.id.pid;
    t!("exec.process", pid = pid, program = program, user = user).into_owned()
}
