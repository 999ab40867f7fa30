//! The commands by which a person takes part: `pause`, `resume`, `restart`, `stop`, `start`. They ask the
//! service and say what came of it.

use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::anyhow;
use mfe_common::duration::duration;
use mfe_common::escape::{list, printable};
use mfe_common::timestamp::Timestamp;
use mfe_history::local_time::{in_words, local_zone};
use rust_i18n::t;

use super::output::{complain, print};
use super::{EXIT_NOT_RUNNING, status, unknown_key, with_sudo};
use crate::machine::PAUSE_MAX;
use crate::status::client::{self, NotAsked};
use crate::status::control::{Answer, Request};
use crate::status::directories::Directories;
use crate::status::service::Service;
use crate::status::{ProcessStatus, State, Status};

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

/// How often the status is looked at while a program is being started or stopped.
const POLL: Duration = Duration::from_millis(50);

/// For so long a state may still be the one from before it was asked for.
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
    let before = pids(before, &key);
    let now = until_up(directories, &key, &before, (begin, within_ms))?;
    let (name, pids) = (printable(&now.name), list(&now.pids));
    print(&(t!("control.restarted", name = name, pids = pids) + "\n"))
}

/// Asks the service to start a program, and to end its pause, and waits for what comes of it unless
/// `no_wait`.
pub(super) fn start(
    directories: &Directories,
    key: String,
    no_wait: bool,
) -> anyhow::Result<ExitCode> {
    let before = Status::read(&directories.runtime).ok().flatten();
    let begin = Instant::now();
    let text = match ask_service(directories, &Request::Start { key })? {
        None => return Ok(ExitCode::from(EXIT_NOT_RUNNING)),
        Some(Answer::Running { key }) => {
            let pids = pids(before, &key);
            t!("control.running", key = key, pids = list(&pids))
        }
        Some(Answer::Starting { key, .. }) if no_wait => t!("control.starting", key = key),
        Some(Answer::Starting { key, within_ms }) => {
            let before = pids(before, &key);
            let now = until_up(directories, &key, &before, (begin, within_ms))?;
            let (name, pids) = (printable(&now.name), list(&now.pids));
            t!("control.started", name = name, pids = pids)
        }
        Some(_) => return Err(anyhow!("{}", t!("control.not_understood"))),
    };
    print(&(text.into_owned() + "\n"))
}

/// Asks the service to end a program and to leave it alone for a while, and waits until it is gone.
pub(super) fn stop(
    directories: &Directories,
    key: String,
    time: Duration,
    reason: Option<String>,
) -> anyhow::Result<ExitCode> {
    let before = Status::read(&directories.runtime).ok().flatten();
    let (begin, seconds) = (Instant::now(), time.as_secs());
    let asked = SystemTime::now();
    let request = Request::Stop {
        key,
        seconds,
        reason,
    };
    let Some(answer) = ask_service(directories, &request)? else {
        return Ok(ExitCode::from(EXIT_NOT_RUNNING));
    };
    let Answer::Stopping { key, within_ms } = answer else {
        return Err(anyhow!("{}", t!("control.not_understood")));
    };
    let before = published(before, &key);
    let pause = before.as_ref().and_then(|before| before.paused_until);
    let before = before.map_or_else(Vec::new, |before| before.pids);
    let outcome = |now: &ProcessStatus, elapsed| stopped(pause, now, elapsed);
    let now = until(directories, &key, (begin, within_ms), outcome)?;
    let name = |now: &ProcessStatus| printable(&now.name);
    match now {
        Ok(now) => {
            let until = in_words(asked + time, SystemTime::now(), &local_zone());
            let text = t!(
                "control.stopped",
                name = name(&now),
                until = until,
                key = key
            );
            print(&(text.into_owned() + "\n"))
        }
        Err(Some(now)) if now.pids.iter().all(|pid| !before.contains(pid)) => {
            let pids = list(&now.pids);
            Err(anyhow!(
                "{}",
                t!("control.other", name = name(&now), pids = pids)
            ))
        }
        Err(Some(now)) => {
            let (name, state) = (name(&now), state_in_words(&now));
            Err(anyhow!(
                "{}",
                t!("control.not_stopped", name = name, state = state)
            ))
        }
        Err(None) => {
            let time = duration(Duration::from_millis(within_ms));
            Err(anyhow!(
                "{}",
                t!("control.not_gone", key = key, time = time)
            ))
        }
    }
}

/// A program as it was published.
fn published(status: Option<Status>, key: &str) -> Option<ProcessStatus> {
    let mut processes = status.into_iter().flat_map(|status| status.processes);
    let process = processes.find(|process| process.key == key)?;
    Some(Arc::unwrap_or_clone(process))
}

/// Its processes then.
fn pids(status: Option<Status>, key: &str) -> Vec<i32> {
    published(status, key).map_or_else(Vec::new, |process| process.pids)
}

/// Waits until a program is up in another process than `before`, for so many milliseconds from a moment at
/// most.
fn until_up(
    directories: &Directories,
    key: &str,
    before: &[i32],
    within: (Instant, u64),
) -> anyhow::Result<ProcessStatus> {
    let outcome = |now: &ProcessStatus, elapsed| outcome(before, now, elapsed);
    match until(directories, key, within, outcome)? {
        Ok(now) => Ok(now),
        Err(Some(now)) => {
            let (name, state) = (printable(&now.name), state_in_words(&now));
            Err(anyhow!(
                "{}",
                t!("control.not_restarted", name = name, state = state)
            ))
        }
        Err(None) => {
            let time = duration(Duration::from_millis(within.1));
            Err(anyhow!("{}", t!("control.not_yet", key = key, time = time)))
        }
    }
}

/// How things stood when something had come of what was asked for; else what has failed, or `None` if the
/// time is over.
type Awaited = Result<ProcessStatus, Option<ProcessStatus>>;

/// Waits for what comes of what was asked for.
fn until(
    directories: &Directories,
    key: &str,
    (begin, within_ms): (Instant, u64),
    outcome: impl Fn(&ProcessStatus, Duration) -> Outcome,
) -> anyhow::Result<Awaited> {
    let within = Duration::from_millis(within_ms);
    loop {
        let status = Status::read(&directories.runtime).ok().flatten();
        let elapsed = begin.elapsed();
        let outcome = published(status, key).map(|now| (outcome(&now, elapsed), now));
        match outcome {
            Some((Outcome::Done, now)) => return Ok(Ok(now)),
            Some((Outcome::Failed, now)) => return Ok(Err(Some(now))),
            _ if elapsed >= within => return Ok(Err(None)),
            _ => thread::sleep(POLL),
        }
    }
}

/// The state, and what is said of it.
fn state_in_words(now: &ProcessStatus) -> String {
    let mut state = vec![status::state(now.state)];
    state.extend(now.sentences());
    state.join("; ")
}

/// What has come of what was asked for.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    NotYet,
    Done,
    Failed,
}

/// What has come of the start of a program that ran as `before`, so long after it was asked for.
fn outcome(before: &[i32], now: &ProcessStatus, elapsed: Duration) -> Outcome {
    match now.state {
        State::Up | State::Unhealthy => {
            let is_other = !now.pids.is_empty() && now.pids.iter().all(|pid| !before.contains(pid));
            if is_other {
                Outcome::Done
            } else {
                Outcome::NotYet
            }
        }
        State::Starting => Outcome::NotYet,
        _ if elapsed < SETTLES => Outcome::NotYet,
        _ => Outcome::Failed,
    }
}

/// What has come of the end of a program that was paused until `pause`, so long after it was asked for: the
/// service calls it paused once nothing of it is being ended or on its way any more, and until another time.
fn stopped(pause: Option<Timestamp>, now: &ProcessStatus, elapsed: Duration) -> Outcome {
    match now.state {
        State::Paused if now.pids.is_empty() && now.paused_until == pause => Outcome::NotYet,
        State::Paused if now.pids.is_empty() => Outcome::Done,
        State::Paused | State::Stuck | State::Misfit if elapsed >= SETTLES => Outcome::Failed,
        _ => Outcome::NotYet,
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
        Ok(Answer::CannotStart { key, why }) => {
            let (key, why) = (printable(&key), printable(&why.translated()));
            refused(match request {
                Request::Stop { .. } => t!("control.cannot_stop", key = key, why = why),
                Request::Start { .. } => t!("control.cannot_start", key = key, why = why),
                _ => t!("control.cannot_restart", key = key, why = why),
            })
        }
        Ok(Answer::Paused { key }) => refused(t!("control.is_paused", key = key)),
        Ok(Answer::Busy { key }) => refused(t!("control.busy", key = printable(&key))),
        Ok(Answer::NotUnderstood) => refused(t!("control.not_understood")),
        Ok(answer) => Ok(Some(answer)),
        Err(NotAsked::NotRunning) => match Service::find(directories).pid() {
            Some(pid) => refused(t!("control.no_socket", pid = pid)),
            None => {
                complain(&t!("errors.not_running", since = ""));
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

    fn process(state: &str, pids: &[i32]) -> ProcessStatus {
        serde_json::from_value(serde_json::json!({
            "key": "a", "name": "A", "state": state, "pids": pids,
            "since": "2026-01-01T00:00:00.000Z", "restarts": 0, "last_restart": null, "detail": null,
        }))
        .unwrap()
    }

    #[test]
    fn a_restart_has_succeeded_once_another_process_is_up() {
        let late = Duration::from_secs(2);
        let after = |before: &[i32], state: &str, pids: &[i32]| {
            outcome(before, &process(state, pids), late)
        };
        assert_eq!(after(&[1], "up", &[1]), Outcome::NotYet, "it hasn't ended");
        assert_eq!(after(&[1], "up", &[2]), Outcome::Done);
        assert_eq!(after(&[], "up", &[2]), Outcome::Done);
        assert_eq!(after(&[1], "starting", &[]), Outcome::NotYet);
        for state in ["down", "backoff", "misfit", "stuck", "paused", "unknown"] {
            assert_eq!(after(&[1], state, &[]), Outcome::Failed, "{state}");
            let early = outcome(&[1], &process(state, &[]), Duration::ZERO);
            assert_eq!(early, Outcome::NotYet, "the state from before: {state}");
        }
    }

    #[test]
    fn a_stop_has_succeeded_once_nothing_is_left_and_nothing_on_its_way() {
        let late = Duration::from_secs(2);
        let paused = |until: &str| {
            let mut paused = process("paused", &[]);
            paused.paused_until = Some(serde_json::from_value(until.into()).unwrap());
            paused
        };
        let pause = paused("2026-01-01T01:00:00.000Z");
        let stopped = |now: &ProcessStatus, elapsed| stopped(pause.paused_until, now, elapsed);
        let after = |state: &str, pids: &[i32]| stopped(&process(state, pids), late);
        assert_eq!(
            stopped(&pause, late),
            Outcome::NotYet,
            "the pause from before"
        );
        let another = paused("2026-01-01T02:00:00.000Z");
        assert_eq!(stopped(&another, late), Outcome::Done);
        assert_eq!(after("paused", &[]), Outcome::Done);
        for state in ["up", "unhealthy", "starting", "down", "unknown"] {
            assert_eq!(after(state, &[1]), Outcome::NotYet, "{state}");
            assert_eq!(after(state, &[]), Outcome::NotYet, "{state}");
        }
        assert_eq!(after("paused", &[2]), Outcome::Failed, "another one is up");
        assert_eq!(after("stuck", &[1]), Outcome::Failed);
        let early = stopped(&process("paused", &[1]), Duration::ZERO);
        assert_eq!(early, Outcome::NotYet, "the pause from before");
    }
}
