//! The commands by which a person takes part: `pause`, `resume`, `restart`. They ask the service and
//! say what came of it.

use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::anyhow;
use rust_i18n::t;

use super::{EXIT_NOT_RUNNING, print, status, unknown_key};
use crate::machine::PAUSE_MAX;
use crate::status::client::{self, NotAsked};
use crate::status::control::{Answer, Request};
use crate::status::directories::Directories;
use crate::status::service::Service;
use crate::status::{ProcessStatus, State, Status};
use crate::text::escape::{list, printable, shell_word};
use crate::text::local_time::{in_words, local_zone};

/// Asks the service to leave processes alone.
pub(super) fn pause(
    directories: &Directories,
    keys: Vec<String>,
    time: Duration,
    reason: Option<String>,
) -> anyhow::Result<ExitCode> {
    let request = Request::Pause {
        keys,
        seconds: time.as_secs(),
        reason,
    };
    ask(directories, &request, |keys| {
        let now = SystemTime::now();
        let until = in_words(now + time, now, &local_zone());
        t!("control.paused", keys = keys, until = until).into_owned()
    })
}

/// Asks the service to watch over processes again.
pub(super) fn resume(directories: &Directories, keys: Vec<String>) -> anyhow::Result<ExitCode> {
    ask(directories, &Request::Resume { keys }, |keys| {
        t!("control.resumed", keys = keys).into_owned()
    })
}

/// How often the status is looked at while a program is being restarted.
const POLL: Duration = Duration::from_millis(50);

/// For so long a state may still be the one from before the restart was asked for.
const SETTLES: Duration = Duration::from_secs(1);

/// Asks the service to restart a program, and waits for what comes of it unless `no_wait`.
pub(super) fn restart(
    directories: &Directories,
    key: String,
    no_wait: bool,
) -> anyhow::Result<ExitCode> {
    let before = Status::read(&directories.runtime).ok().flatten();
    let begin = Instant::now();
    let Some(answer) = ask_service(directories, &Request::Restart { key })? else {
        return Ok(ExitCode::from(EXIT_NOT_RUNNING));
    };
    let Answer::Restarting { key, within_ms } = answer else {
        return Err(anyhow!("{}", t!("control.not_understood")));
    };
    if no_wait {
        return print(&(t!("control.restarting", keys = key).into_owned() + "\n"));
    }
    let process = |status: Status| {
        let mut processes = status.processes.into_iter();
        processes.find(|process| process.key == key)
    };
    let pids = before.and_then(process).map(|before| before.pids);
    let within = Duration::from_millis(within_ms);
    loop {
        let now = Status::read(&directories.runtime).ok().flatten();
        let elapsed = begin.elapsed();
        let outcome = now.and_then(process).map(|now| {
            (
                outcome(pids.as_deref().unwrap_or_default(), &now, elapsed),
                now,
            )
        });
        match outcome {
            Some((Outcome::Up, now)) => {
                let (name, pids) = (printable(&now.name), list(&now.pids));
                return print(&(t!("control.restarted", name = name, pids = pids) + "\n"));
            }
            Some((Outcome::Failed, now)) => {
                let mut state = vec![status::state(now.state)];
                state.extend(status::details(&now));
                return Err(anyhow!(
                    "{}",
                    t!(
                        "control.not_restarted",
                        name = printable(&now.name),
                        state = state.join("; ")
                    )
                ));
            }
            _ if elapsed >= within => {
                let time = humantime::format_duration(within);
                return Err(anyhow!("{}", t!("control.not_yet", key = key, time = time)));
            }
            _ => thread::sleep(POLL),
        }
    }
}

/// What has come of a restart.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    NotYet,
    Up,
    Failed,
}

/// What has come of the restart of a program that ran as `before`, so long after it was asked for.
fn outcome(before: &[i32], now: &ProcessStatus, elapsed: Duration) -> Outcome {
    match now.state {
        State::Up | State::Unhealthy => {
            let is_other = !now.pids.is_empty() && now.pids.iter().all(|pid| !before.contains(pid));
            if is_other {
                Outcome::Up
            } else {
                Outcome::NotYet
            }
        }
        State::Starting => Outcome::NotYet,
        _ if elapsed < SETTLES => Outcome::NotYet,
        _ => Outcome::Failed,
    }
}

fn ask(
    directories: &Directories,
    request: &Request,
    done: impl Fn(&str) -> String,
) -> anyhow::Result<ExitCode> {
    match ask_service(directories, request)? {
        Some(Answer::Done { keys }) => print(&(done(&list(keys)) + "\n")),
        Some(Answer::NotPaused) => print(&(t!("control.nothing_paused").into_owned() + "\n")),
        Some(_) => Err(anyhow!("{}", t!("control.not_understood"))),
        None => Ok(ExitCode::from(EXIT_NOT_RUNNING)),
    }
}

/// What the service answers, if it agrees; `None` if it doesn't run, which is said.
fn ask_service(directories: &Directories, request: &Request) -> anyhow::Result<Option<Answer>> {
    let refused = |text: std::borrow::Cow<'_, str>| Err(anyhow!("{text}"));
    match client::ask(&directories.runtime, request) {
        Ok(Answer::UnknownKey { key, known }) => refused(unknown_key(&key, known).into()),
        Ok(Answer::CannotStart { key, why }) => refused(t!(
            "control.cannot_start",
            key = printable(&key),
            why = printable(&why.translated())
        )),
        Ok(Answer::Paused { key }) => refused(t!("control.is_paused", key = key)),
        Ok(Answer::Busy { key }) => refused(t!("control.busy", key = printable(&key))),
        Ok(Answer::NotUnderstood) => refused(t!("control.not_understood")),
        Ok(answer) => Ok(Some(answer)),
        Err(NotAsked::NotRunning) => match Service::find(directories).pid() {
            Some(pid) => refused(t!("control.no_socket", pid = pid)),
            None => {
                eprintln!("{}", t!("errors.not_running", since = ""));
                Ok(None)
            }
        },
        Err(NotAsked::NotAllowed) => refused(t!(
            "control.not_allowed",
            command = with_sudo(std::env::args())
        )),
        Err(NotAsked::Failed(error)) => refused(t!("control.failed", error = error)),
    }
}

/// The command that was given, as it works.
pub(super) fn with_sudo(arguments: impl Iterator<Item = String>) -> String {
    let arguments = arguments.skip(1).map(|argument| shell_word(&argument));
    let words = ["sudo", "mfe-watchdog"].map(str::to_owned);
    words
        .into_iter()
        .chain(arguments)
        .collect::<Vec<_>>()
        .join(" ")
}

/// A pause's time, as people write it.
pub(super) fn pause_time(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).ok();
    let is_possible = |time: &Duration| (Duration::from_secs(1)..=PAUSE_MAX).contains(time);
    time.filter(is_possible)
        .ok_or_else(|| t!("control.not_a_time").into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_has_succeeded_once_another_process_is_up() {
        let now = |state: &str, pids: &[i32]| -> ProcessStatus {
            serde_json::from_value(serde_json::json!({
                "key": "a", "name": "A", "state": state, "pids": pids,
                "since": "2026-01-01T00:00:00.000Z", "restarts": 0, "last_restart": null, "detail": null,
            }))
            .unwrap()
        };
        let late = Duration::from_secs(2);
        let after =
            |before: &[i32], state: &str, pids: &[i32]| outcome(before, &now(state, pids), late);
        assert_eq!(after(&[1], "up", &[1]), Outcome::NotYet, "it hasn't ended");
        assert_eq!(after(&[1], "up", &[2]), Outcome::Up);
        assert_eq!(after(&[], "up", &[2]), Outcome::Up);
        assert_eq!(after(&[1], "starting", &[]), Outcome::NotYet);
        for state in ["down", "backoff", "misfit", "stuck", "paused", "unknown"] {
            assert_eq!(after(&[1], state, &[]), Outcome::Failed, "{state}");
            let early = outcome(&[1], &now(state, &[]), Duration::ZERO);
            assert_eq!(early, Outcome::NotYet, "the state from before: {state}");
        }
    }

    #[test]
    fn the_hint_is_the_whole_command() {
        let given = ["/usr/bin/mfe-watchdog", "pause", "--reason", "it's new"];
        let hint = with_sudo(given.iter().map(ToString::to_string));
        assert_eq!(hint, "sudo mfe-watchdog pause --reason 'it'\\''s new'");
    }
}
