//! The words for what happens to a process; what has happened is decided in [`crate::machine`].

use std::time::Duration;

use mfe_common::duration::duration;

use super::wording::{
    failure_wording, finding_wording, misfit_wording, outside_wording, waiting_wording,
};
use crate::config::{ProcessSettings, SessionMode};
use crate::events::{Kind, Message};
use crate::machine::{Cause, Change, Intention, Recovery, Stop};
use crate::proc::{Difference, Identity, Impostor, ProcessId};
use crate::sys::exit_status::ExitStatus;
use crate::text::phrase::{self, Phrase, phrase, sentences};

/// More aren't named.
const NAMED_MAX: usize = 3;

/// Whom a message names by user and path: anybody can run a process of the name.
pub(super) fn named(change: &Change) -> Vec<i32> {
    match change {
        Change::Adopted { pids, .. } => pids.iter().copied().take(NAMED_MAX).collect(),
        Change::Duplicate { pid, first } => vec![*pid, *first],
        _ => Vec::new(),
    }
}

/// What has happened to a process, as a message. `start_program` is the pid of its start program, if
/// one has just been run; `who` are those that it names ([`named`]).
#[allow(
    clippy::too_many_lines,
    reason = "one arm for each change, each of a few lines"
)]
pub(super) fn message(
    process: &ProcessSettings,
    change: &Change,
    start_program: Option<i32>,
    who: &[Identity],
) -> Message {
    let name = process.name();
    let new = |kind, pid, text: String| Message::of_process(&process.key, kind, pid, text);
    match change {
        Change::Up { pid } => {
            let text = format!("{name} is running (pid {pid})");
            new(Kind::Up, Some(*pid), text)
        }
        Change::Adopted { pids, more } => {
            let list = phrase::pids(pids, *more);
            let text = format!(
                "{name} was already running (pid {list}); it is watched from now on{}",
                and(whose(who).as_ref())
            );
            Message {
                detail: whose(who),
                ..new(Kind::Adopted, pids.first().copied(), text)
            }
        }
        Change::Down { pid, cause, wait } => {
            let which = pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default();
            let status = match cause {
                Cause::Exited(code) => Some(ExitStatus::Code(*code).phrase()),
                _ => None,
            };
            let when = wait_wording(*wait);
            let text = format!(
                "{name}{which} {cause}; no sale is possible until it is back{}",
                and(when.as_ref())
            );
            Message {
                cause: Some(cause.as_str()),
                signal: cause.signal(),
                detail: sentences(status.into_iter().chain(when)),
                ..new(Kind::Down, *pid, text)
            }
        }
        Change::Waiting { why, user } => {
            let why_in_words = waiting_wording(*why, user.as_deref().unwrap_or_default());
            let text = format!("{name} is not started yet: {why_in_words}");
            Message {
                cause: Some(why.as_str()),
                detail: Some(why_in_words),
                ..new(Kind::Waiting, None, text)
            }
        }
        Change::Starting => {
            let text = format!("{name} is being started with {}", process.start);
            new(Kind::Starting, start_program, text)
        }
        Change::Restarted {
            pid,
            cause,
            outage,
            is_at_most,
        } => {
            let outage_ms = u64::try_from(outage.as_millis()).unwrap_or(u64::MAX);
            let outage = if *is_at_most {
                let seconds = Duration::from_secs(outage_ms.div_ceil(1000));
                format!("up to {}", duration(seconds))
            } else {
                duration(Duration::from_millis(outage_ms))
            };
            let text = format!("{name} is back (pid {pid}) after an outage of {outage}");
            Message {
                cause: Some(cause.as_str()),
                signal: cause.signal(),
                outage_ms: Some(outage_ms),
                ..new(Kind::Restarted, Some(*pid), text)
            }
        }
        Change::StartFailed(failure) => {
            let why = failure_wording(failure);
            let text = format!(
                "{name} can't be started, no sale is possible: {why}; \
                 trying again"
            );
            new(Kind::StartFailed, start_program, text).with_detail(why)
        }
        Change::Unknown(why) => {
            let text = format!(
                "can't tell whether {name} is running, so nothing is started: {why}; \
                 looking again"
            );
            new(Kind::Unknown, None, text).with_detail(why.clone())
        }
        Change::Unhealthy {
            pid,
            check,
            finding,
            will_restart,
        } => {
            let then = if *will_restart {
                phrase!("it is being restarted")
            } else {
                phrase!("it is left running")
            };
            let finding = finding_wording(finding);
            let text = format!("{name} is unhealthy ({check}): {finding}; {then}");
            let what = phrase!(
                "%{check}: %{finding}",
                check = check.as_str(),
                finding = finding
            );
            Message {
                detail: sentences([what, then]),
                ..new(Kind::Unhealthy, *pid, text)
            }
        }
        Change::Recovered { pid, what } => {
            let (text, detail) = match what {
                Recovery::CrashLoop => (
                    format!("{name} is stable again"),
                    phrase!("it doesn't keep crashing any more"),
                ),
                Recovery::Check(check) => (
                    format!("{name} is healthy again ({check})"),
                    Phrase::of_words(check.as_str()),
                ),
                Recovery::Void(check) => (
                    format!("{name} counts as healthy until its checks have run ({check})"),
                    phrase!(
                        "%{check}: until its checks have run",
                        check = check.as_str()
                    ),
                ),
            };
            new(Kind::Recovered, *pid, text).with_detail(detail)
        }
        Change::CrashLoop { restarts, within } => {
            let within = duration(Duration::from_secs(within.as_secs()));
            let text = format!(
                "{name} keeps crashing: restarted {restarts} times within {within}; it is \
                 restarted every time, after longer and longer waits"
            );
            new(Kind::CrashLoop, None, text).with_detail(phrase!(
                "restarted %{count} times within %{time}",
                count = restarts.to_string(),
                time = within
            ))
        }
        Change::Killed {
            pids,
            signal,
            cause,
        } => killed(name, pids, *signal, *cause, new),
        Change::Stuck { pids, why } => {
            let which = phrase::pids(pids, 0);
            let why = why.as_deref().map_or_else(
                || {
                    phrase!(
                        "SIGKILL didn't end it; it may be waiting for a device, and a reboot may be needed"
                    )
                },
                Phrase::of_words,
            );
            let text = format!(
                "{name} (pid {which}) must end and can't be killed, so no other one is started: \
                 {why}; looking again"
            );
            new(Kind::Stuck, pids.first().copied(), text).with_detail(why)
        }
        Change::Impostor(Impostor {
            id,
            user,
            path,
            difference: Difference::User,
            ..
        }) if process.session != SessionMode::None => {
            let text = format!(
                "user {user} runs {name} too (pid {}, {path}): that isn't the one which is kept running; it \
                 is ignored",
                id.pid
            );
            new(Kind::Impostor, Some(id.pid), text).with_detail(is_of(*id, user, path))
        }
        Change::Impostor(Impostor { id, user, path, .. }) => {
            let text = format!(
                "another program is named {name}: pid {}, user {user}, {path}; it is ignored",
                id.pid
            );
            new(Kind::Impostor, Some(id.pid), text).with_detail(is_of(*id, user, path))
        }
        Change::MoreImpostors(count) => {
            let text = format!("{count} more programs are named {name}; they are ignored");
            let more = phrase!("%{count} more", count = count.to_string());
            new(Kind::Impostor, None, text).with_detail(more)
        }
        Change::Misfit(misfit) => {
            let what = if process.session == SessionMode::None {
                misfit_wording(misfit)
            } else {
                outside_wording(misfit)
            };
            let text = format!(
                "{name} is expected, but {what}; it isn't ended, and nothing is started beside it"
            );
            new(Kind::Misfit, Some(misfit.id.pid), text).with_detail(what)
        }
        Change::Renamed(renamed) => {
            let Impostor {
                id,
                user,
                name: called,
                path,
                ..
            } = renamed;
            let text = format!(
                "{name} (pid {}) is named {called} now and runs {path} as user {user}; it is the \
                 same process and counts as {name} until it ends",
                id.pid
            );
            new(Kind::Renamed, Some(id.pid), text).with_detail(phrase!(
                "%{name}, %{path}, user %{user}",
                name = called.as_str(),
                path = path.as_str(),
                user = user.as_str()
            ))
        }
        Change::MainEnded { pid, first } => {
            let text = format!(
                "the main process of {name} (pid {pid}) has ended; its child (pid {first}) is still \
                 running and is checked from now on"
            );
            new(Kind::MainEnded, Some(*first), text)
        }
        Change::RestartRefused(failure) => {
            let why = failure_wording(failure);
            let text = format!(
                "{name} isn't restarted, because nothing could be started in its place: {why}"
            );
            new(Kind::StartFailed, None, text)
                .with_detail(phrase!("it is left running: %{why}", why = why))
        }
        Change::Duplicate { pid, first } => {
            let text = format!(
                "{name} is running twice (pid {first} and pid {pid}){}",
                and(whose(who).as_ref())
            );
            let both = phrase!(
                "pid %{first} and pid %{second}",
                first = first.to_string(),
                second = pid.to_string()
            );
            Message {
                detail: sentences(std::iter::once(both).chain(whose(who))),
                ..new(Kind::Duplicate, Some(*pid), text)
            }
        }
        Change::MoreDuplicates(count) => {
            let text = format!("{count} more copies of {name} are running");
            let more = phrase!("%{count} more", count = count.to_string());
            new(Kind::Duplicate, None, text).with_detail(more)
        }
        Change::Paused { time, reason } => {
            let rounded = (*time + Duration::from_millis(500)).as_secs();
            let time = duration(Duration::from_secs(rounded));
            let why = reason.as_deref().map(|reason| format!(": {reason}"));
            let text = format!("{name} is paused for {time}{}", why.unwrap_or_default());
            let time = phrase!("for %{time}", time = time);
            new(Kind::Paused, None, text).with_detail(match reason.as_deref() {
                Some(reason) => phrase!("%{time}: %{reason}", time = time, reason = reason),
                None => time,
            })
        }
        Change::Resumed { is_over } => {
            let why = if *is_over {
                phrase!("the pause is over")
            } else {
                phrase!("somebody ended the pause")
            };
            let text = format!("{name} is resumed: {why}");
            new(Kind::Resumed, None, text).with_detail(why)
        }
        Change::DryRun(intention) => {
            let name = name.as_str();
            let what = match intention {
                Intention::Start => phrase!(
                    "%{name} would be started with %{command}",
                    name = name,
                    command = process.start.to_string()
                ),
                Intention::Restart => phrase!("%{name} would be restarted", name = name),
                Intention::Stop => phrase!("%{name} would be stopped", name = name),
                Intention::StopDuplicate { pid } => phrase!(
                    "the second copy of %{name} (pid %{pid}) would be ended",
                    name = name,
                    pid = pid.to_string()
                ),
            };
            let text = format!("dry run, nothing is done: {what}");
            new(Kind::DryRun, None, text).with_detail(what)
        }
    }
}

/// Of each who it is.
fn whose(who: &[Identity]) -> Option<Phrase> {
    sentences(who.iter().map(|who| {
        phrase!(
            "pid %{pid} is %{path} of user %{user}",
            pid = who.pid.to_string(),
            path = who.path.as_str(),
            user = who.user.as_str()
        )
    }))
}

/// Who somebody of the program's name is.
fn is_of(id: ProcessId, user: &str, path: &str) -> Phrase {
    phrase!(
        "pid %{pid} is %{path} of user %{user}; it is ignored",
        pid = id.pid.to_string(),
        path = path,
        user = user
    )
}

/// One more sentence, if there is one.
fn and(sentence: Option<&Phrase>) -> String {
    sentence.map_or_else(String::new, |sentence| format!("; {sentence}"))
}

fn killed(
    name: &impl std::fmt::Display,
    pids: &[i32],
    signal: Option<Stop>,
    cause: Cause,
    new: impl Fn(Kind, Option<i32>, String) -> Message,
) -> Message {
    let by = match signal {
        None => phrase!("systemd has stopped its unit"),
        Some(Stop::Terminate) => Phrase::of_words("SIGTERM"),
        Some(Stop::Kill) => phrase!("SIGKILL, after it ignored SIGTERM"),
    };
    let text = format!("{name} (pid {}) {cause}: {by}", phrase::pids(pids, 0));
    Message {
        cause: Some(cause.as_str()),
        detail: Some(by),
        ..new(Kind::Killed, pids.first().copied(), text)
    }
}

/// How long the next start waits, if it does.
fn wait_wording(wait: Duration) -> Option<Phrase> {
    (!wait.is_zero()).then(|| {
        phrase!(
            "it keeps crashing, so the next start comes in %{time}",
            time = duration(wait)
        )
    })
}
