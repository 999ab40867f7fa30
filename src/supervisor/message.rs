//! The words for what happens to a process; what has happened is decided in [`crate::machine`].

use std::time::Duration;

use humantime::format_duration;

use super::wording::{misfit_wording, outside_wording, waiting_wording};
use crate::config::{ProcessSettings, SessionMode};
use crate::events::{Kind, Message};
use crate::machine::{Cause, Change, Intention, Recovery, Stop};
use crate::proc::{Difference, Identity, Impostor};
use crate::text::phrase;

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
                whose(who)
            );
            new(Kind::Adopted, pids.first().copied(), text)
        }
        Change::Down { pid, cause, wait } => {
            let which = pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default();
            let when = wait_in_words(*wait);
            let text = format!("{name}{which} {cause}; no sale is possible until it is back{when}");
            Message {
                cause: Some(cause.as_str()),
                signal: cause.signal(),
                ..new(Kind::Down, *pid, text)
            }
        }
        Change::Waiting { why, user } => {
            let why_in_words = waiting_wording(*why, user.as_deref().unwrap_or_default());
            let text = format!("{name} is not started yet: {why_in_words}");
            Message {
                cause: Some(why.as_str()),
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
                format!("up to {}", format_duration(seconds))
            } else {
                format_duration(Duration::from_millis(outage_ms)).to_string()
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
            let text = format!(
                "{name} can't be started, no sale is possible: {failure}; \
                 trying again"
            );
            new(Kind::StartFailed, start_program, text)
        }
        Change::Unknown(why) => {
            let text = format!(
                "can't tell whether {name} is running, so nothing is started: {why}; \
                 looking again"
            );
            new(Kind::Unknown, None, text)
        }
        Change::Unhealthy {
            pid,
            check,
            finding,
            will_restart,
        } => {
            let then = if *will_restart {
                "it is being restarted"
            } else {
                "it is left running"
            };
            let text = format!("{name} is unhealthy ({check}): {finding}; {then}");
            new(Kind::Unhealthy, *pid, text)
        }
        Change::Recovered { pid, what } => {
            let text = match what {
                Recovery::CrashLoop => format!("{name} is stable again"),
                Recovery::Check(check) => format!("{name} is healthy again ({check})"),
                Recovery::Void(check) => {
                    format!("{name} counts as healthy until its checks have run ({check})")
                }
            };
            new(Kind::Recovered, *pid, text)
        }
        Change::CrashLoop { restarts, within } => {
            let within = format_duration(Duration::from_secs(within.as_secs()));
            let text = format!(
                "{name} keeps crashing: restarted {restarts} times within {within}; it is \
                 restarted every time, after longer and longer waits"
            );
            new(Kind::CrashLoop, None, text)
        }
        Change::Killed {
            pids,
            signal,
            cause,
        } => killed(name, pids, *signal, *cause, new),
        Change::Stuck { pids, why } => {
            let which = phrase::pids(pids, 0);
            let why = why.as_deref().unwrap_or(
                "SIGKILL didn't end it; it may be waiting for a device, and a reboot may be needed",
            );
            let text = format!(
                "{name} (pid {which}) must end and can't be killed, so no other one is started: \
                 {why}; looking again"
            );
            new(Kind::Stuck, pids.first().copied(), text)
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
            new(Kind::Impostor, Some(id.pid), text)
        }
        Change::Impostor(Impostor { id, user, path, .. }) => {
            let text = format!(
                "another program is named {name}: pid {}, user {user}, {path}; it is ignored",
                id.pid
            );
            new(Kind::Impostor, Some(id.pid), text)
        }
        Change::MoreImpostors(count) => {
            let text = format!("{count} more programs are named {name}; they are ignored");
            new(Kind::Impostor, None, text)
        }
        Change::Misfit(misfit) => {
            let text = format!(
                "{name} is expected, but {}; it isn't ended, and nothing is started beside it",
                if process.session == SessionMode::None {
                    misfit_wording(misfit)
                } else {
                    outside_wording(misfit)
                }
            );
            new(Kind::Misfit, Some(misfit.id.pid), text)
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
            new(Kind::Renamed, Some(id.pid), text)
        }
        Change::MainEnded { pid, first } => {
            let text = format!(
                "the main process of {name} (pid {pid}) has ended; its child (pid {first}) is still \
                 running and is checked from now on"
            );
            new(Kind::MainEnded, Some(*first), text)
        }
        Change::RestartRefused(failure) => {
            let text = format!(
                "{name} isn't restarted, because nothing could be started in its place: {failure}"
            );
            new(Kind::StartFailed, None, text)
        }
        Change::Duplicate { pid, first } => {
            let text = format!(
                "{name} is running twice (pid {first} and pid {pid}){}",
                whose(who)
            );
            new(Kind::Duplicate, Some(*pid), text)
        }
        Change::MoreDuplicates(count) => {
            let text = format!("{count} more copies of {name} are running");
            new(Kind::Duplicate, None, text)
        }
        Change::Paused { time, reason } => {
            let rounded = (*time + Duration::from_millis(500)).as_secs();
            let time = format_duration(Duration::from_secs(rounded));
            let reason = reason.as_deref().map(|reason| format!(": {reason}"));
            let reason = reason.unwrap_or_default();
            let text = format!("{name} is paused for {time}{reason}");
            new(Kind::Paused, None, text)
        }
        Change::Resumed { is_over } => {
            let why = if *is_over {
                "the pause is over"
            } else {
                "somebody ended the pause"
            };
            new(Kind::Resumed, None, format!("{name} is resumed: {why}"))
        }
        Change::DryRun(intention) => {
            let what = match intention {
                Intention::Start => format!("{name} would be started with {}", process.start),
                Intention::Restart => format!("{name} would be restarted"),
                Intention::Stop => format!("{name} would be stopped"),
                Intention::StopDuplicate { pid } => {
                    format!("the second copy of {name} (pid {pid}) would be ended")
                }
            };
            let text = format!("dry run, nothing is done: {what}");
            new(Kind::DryRun, None, text)
        }
    }
}

/// Of each who it is.
fn whose(who: &[Identity]) -> String {
    let each = who.iter().map(|who| {
        let Identity {
            pid, user, path, ..
        } = who;
        format!("; pid {pid} is {path} of user {user}")
    });
    each.collect()
}

fn killed(
    name: &impl std::fmt::Display,
    pids: &[i32],
    signal: Option<Stop>,
    cause: Cause,
    new: impl Fn(Kind, Option<i32>, String) -> Message,
) -> Message {
    let by = match signal {
        None => "systemd has stopped its unit",
        Some(Stop::Terminate) => "SIGTERM",
        Some(Stop::Kill) => "SIGKILL, after it ignored SIGTERM",
    };
    let text = format!("{name} (pid {}) {cause}: {by}", phrase::pids(pids, 0));
    Message {
        cause: Some(cause.as_str()),
        ..new(Kind::Killed, pids.first().copied(), text)
    }
}

fn wait_in_words(wait: Duration) -> String {
    match wait {
        Duration::ZERO => String::new(),
        wait => {
            let milliseconds = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            let wait = format_duration(Duration::from_millis(milliseconds));
            format!("; it keeps crashing, so the next start comes in {wait}")
        }
    }
}
