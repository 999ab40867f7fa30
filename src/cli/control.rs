//! The commands by which a person takes part: `pause`, `resume`, `restart`. They ask the service and
//! say what came of it.

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::anyhow;
use rust_i18n::t;

use super::{EXIT_NOT_RUNNING, print};
use crate::machine::PAUSE_MAX;
use crate::status::client::{self, NotAsked};
use crate::status::control::{Answer, Request};
use crate::status::directories::Directories;
use crate::status::service::Service;
use crate::text::escape::{list, printable};
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

/// Asks the service to end a process and start it anew.
pub(super) fn restart(directories: &Directories, key: String) -> anyhow::Result<ExitCode> {
    ask(directories, &Request::Restart { key }, |keys| {
        t!("control.restarting", keys = keys).into_owned()
    })
}

fn ask(
    directories: &Directories,
    request: &Request,
    done: impl Fn(&str) -> String,
) -> anyhow::Result<ExitCode> {
    let refused = |text: std::borrow::Cow<'_, str>| Err(anyhow!("{text}"));
    match client::ask(&directories.runtime, request) {
        Ok(Answer::Done { keys }) => print(&(done(&list(keys)) + "\n")),
        Ok(Answer::UnknownKey { key, known }) => refused(t!(
            "control.unknown_key",
            key = printable(&key),
            known = list(known)
        )),
        Ok(Answer::CannotStart { key, why }) => refused(t!(
            "control.cannot_start",
            key = printable(&key),
            why = printable(&why.translated())
        )),
        Ok(Answer::Paused { key }) => refused(t!("control.is_paused", key = key)),
        Ok(Answer::Busy { key }) => refused(t!("control.busy", key = printable(&key))),
        Ok(Answer::NotPaused) => print(&(t!("control.nothing_paused").into_owned() + "\n")),
        Ok(Answer::NotAllowed | Answer::NotUnderstood) => refused(t!("control.not_understood")),
        Err(NotAsked::NotRunning) => match Service::find(directories).pid() {
            Some(pid) => refused(t!("control.no_socket", pid = pid)),
            None => {
                eprintln!("{}", t!("errors.not_running", since = ""));
                Ok(ExitCode::from(EXIT_NOT_RUNNING))
            }
        },
        Err(NotAsked::NotAllowed) => refused(t!("control.not_allowed")),
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
