//! Words for the state of a process, as the status publishes them; those for what happens are in
//! [`super::message`].

use mfe_common::duration::duration;
use mfe_common::escape::list;

use crate::machine::{Fate, Finding, Machine, Phase, Seat, StartFailure, Wait};
use crate::proc::{Difference, Impostor};
use crate::status::{State, WaitingFor};
use crate::text::phrase::{Phrase, phrase, pids};

/// Where a process stands, in the status's terms.
pub(super) fn state(machine: &Machine) -> State {
    match machine.phase() {
        _ if machine.is_stuck() => State::Stuck,
        _ if machine.pause().is_some() && !machine.is_being_stopped() => State::Paused,
        _ if machine.look_failure().is_some() => State::Unknown,
        Phase::New => State::Unknown,
        Phase::Up if machine.troubles().next().is_some() => State::Unhealthy,
        Phase::Up => State::Up,
        Phase::Replacing => State::Unhealthy,
        Phase::Waiting => State::Waiting,
        Phase::Backoff => State::Backoff,
        Phase::Starting | Phase::Held if machine.background_until().is_none() => State::Starting,
        Phase::Misfit => State::Misfit,
        Phase::Starting | Phase::Held | Phase::Stopping | Phase::Clearing | Phase::Down => {
            State::Down
        }
    }
}

/// What it waits for, in the status's terms.
pub(super) fn waiting_for(machine: &Machine) -> Option<WaitingFor> {
    let why = machine.waits_for()?;
    (state(machine) == State::Waiting).then_some(match why {
        Wait::Login => WaitingFor::Login,
        Wait::Display => WaitingFor::Display,
        Wait::Autostart | Wait::Beginning => WaitingFor::Autostart,
        Wait::Settling | Wait::Session => WaitingFor::Session,
        Wait::Outside => WaitingFor::Outside,
    })
}

/// What is waited for, as a person is told; `user` is who is at the screen.
pub(super) fn waiting_wording(why: Wait, user: &str) -> Phrase {
    match why {
        Wait::Login => phrase!("nobody is logged in at the screen"),
        Wait::Display => phrase!(
            "a display is running, but it is unknown who is logged in there; see: mfe-watchdog doctor"
        ),
        Wait::Autostart => phrase!(
            "%{user} has just logged in, and the session starts it by itself",
            user = user
        ),
        Wait::Beginning => phrase!("%{user} has just logged in", user = user),
        Wait::Settling => phrase!("it has ended; it is started again if the session goes on"),
        Wait::Session => phrase!(
            "the session of %{user} isn't ready for it; it is tried again",
            user = user
        ),
        Wait::Outside => phrase!("one that root runs, where nobody sees it, is ended first"),
    }
}

/// What a person should know about the state, sentence by sentence.
pub(super) fn wording(machine: &Machine) -> Vec<Phrase> {
    if let Some(why) = machine.look_failure() {
        return vec![why.clone()];
    }
    if let Some(pause) = machine.pause().filter(|_| !machine.is_being_stopped()) {
        let reason = pause.reason.as_deref();
        return reason.map(Phrase::of_words).into_iter().collect();
    }
    let sentence = match machine.phase() {
        Phase::Replacing if machine.is_stuck() => {
            phrase!("it must end and can't be killed; no other one is started")
        }
        Phase::Up | Phase::Replacing => return up_wording(machine),
        Phase::Waiting => {
            let user = match machine.seat() {
                Seat::Taken(sitting) => sitting.user.as_str(),
                _ => "",
            };
            return machine
                .waits_for()
                .map(|why| waiting_wording(why, user))
                .into_iter()
                .collect();
        }
        Phase::Backoff => phrase!("it keeps crashing, so its next start waits"),
        Phase::Misfit if matches!(machine.seat(), Seat::Taken(_)) => {
            return machine.misfit().map(outside_wording).into_iter().collect();
        }
        Phase::Misfit => return machine.misfit().map(misfit_wording).into_iter().collect(),
        // Who they are is still being asked.
        Phase::Held if machine.held_by().is_none_or(<[String]>::is_empty) => return Vec::new(),
        Phase::Held => phrase!(
            "waiting for %{others}, which is being started and may start it",
            others = machine.held_by().map(list).unwrap_or_default()
        ),
        Phase::Clearing => phrase!(
            "what an earlier start has left in the background is being ended before the next start"
        ),
        Phase::Starting if machine.background_until().is_some() => phrase!(
            "what the last start has left in the background is still running, so nothing else is \
             started yet"
        ),
        _ if machine.is_dry_run() => phrase!("dry run: it would be started"),
        _ => match machine.start_failure() {
            None => return Vec::new(),
            // It has come to its end.
            Some(StartFailure::BeingReplaced(_)) if machine.phase() == Phase::Starting => {
                return Vec::new();
            }
            Some(failure) => failure_wording(failure),
        },
    };
    vec![sentence]
}

fn up_wording(machine: &Machine) -> Vec<Phrase> {
    let troubles = machine.troubles().map(|(check, finding)| {
        phrase!(
            "%{check}: %{finding}",
            check = check,
            finding = finding_wording(finding)
        )
    });
    let mut wording: Vec<Phrase> = troubles.collect();
    let duplicates: Vec<i32> = machine.duplicates().collect();
    if !duplicates.is_empty() {
        wording.push(phrase!(
            "is running twice: also as pid %{pids}",
            pids = pids(&duplicates, machine.more_alive())
        ));
    }
    if machine.is_being_stopped() {
        wording.push(phrase!("it is being stopped because somebody asked for it"));
    } else if machine.phase() == Phase::Replacing {
        wording.push(phrase!("it is being restarted"));
    }
    wording
}

/// What is wrong with a living process.
pub(super) fn finding_wording(finding: &Finding) -> Phrase {
    match finding {
        Finding::Check(found) => found.clone(),
        Finding::Dumping => phrase!("it has crashed and its core dump is being written"),
        Finding::Stopped(time) => phrase!(
            "was stopped by a signal and has not continued for %{time}",
            time = duration(*time)
        ),
        Finding::Stranger {
            who,
            before: Some(before),
        } => phrase!(
            "it runs as user %{user} from %{path} (pid %{pid}), and before as user %{before} from \
             %{where}; if that isn't the program, end it, and set exe and user",
            user = who.user.as_str(),
            path = who.path.as_str(),
            pid = who.pid.to_string(),
            before = before.user.as_str(),
            where = before.path.as_str()
        ),
        Finding::Stranger { who, before: None } => phrase!(
            "it runs as user %{user} from %{path} (pid %{pid}), which anybody could have started; \
             if that isn't the program, end it, and set exe and user",
            user = who.user.as_str(),
            path = who.path.as_str(),
            pid = who.pid.to_string()
        ),
    }
}

/// Why a start has failed.
pub(crate) fn failure_wording(failure: &StartFailure) -> Phrase {
    match failure {
        StartFailure::NotInstalled(program) => {
            phrase!("%{program} is not installed", program = program.as_str())
        }
        StartFailure::BeingReplaced(program) => {
            phrase!(
                "%{program} is just being replaced",
                program = program.as_str()
            )
        }
        StartFailure::NobodyLoggedIn => phrase!("nobody is logged in at the screen"),
        StartFailure::NotReady => phrase!("the session at the screen isn't ready for it"),
        StartFailure::NotRun(why) | StartFailure::Unit(why) => why.clone(),
        StartFailure::Failed(status) => phrase!(
            "the start script failed with %{status}",
            status = status.phrase()
        ),
        StartFailure::TimedOut {
            after,
            start_program,
        } => phrase!(
            "no process of that name appeared within %{time}; %{fate}",
            time = duration(*after),
            fate = match start_program {
                Fate::Running => phrase!("the start script is still running"),
                Fate::Ended(status) => phrase!(
                    "the start script ended with %{status}",
                    status = status.phrase()
                ),
                Fate::Unknown => phrase!("it was started before the service"),
            }
        ),
    }
}

/// What runs instead of the program of whoever is at the screen.
pub(super) fn outside_wording(misfit: &Impostor) -> Phrase {
    if misfit.difference != Difference::User {
        return misfit_wording(misfit);
    }
    phrase!(
        "%{name} is running as user %{user} (pid %{pid}, %{path}), outside the session at the screen, \
         where nobody sees it; end it, and it is started in the session",
        name = misfit.name.as_str(),
        user = misfit.user.as_str(),
        pid = misfit.id.pid.to_string(),
        path = misfit.path.as_str()
    )
}

/// What runs instead of the program, what was expected, and which setting says so.
pub(crate) fn misfit_wording(misfit: &Impostor) -> Phrase {
    let Impostor {
        id,
        user,
        name,
        path,
        difference,
        ..
    } = misfit;
    let pid = id.pid.to_string();
    match difference {
        Difference::Case | Difference::Name => phrase!(
            "%{name} is running instead (pid %{pid}, %{path}, user %{user}); if it is the program, \
             set name to that",
            name = name.as_str(),
            pid = pid,
            path = path.as_str(),
            user = user.as_str()
        ),
        Difference::Namespace => phrase!(
            "%{name} is running in a container or sandbox (pid %{pid}, %{path}, user %{user}), where \
             it can't be watched; start it without",
            name = name.as_str(),
            pid = pid,
            path = path.as_str(),
            user = user.as_str()
        ),
        Difference::Exe => phrase!(
            "%{name} is running from %{path} (pid %{pid}, user %{user}), which exe doesn't allow; if \
             it is the program, change exe",
            name = name.as_str(),
            path = path.as_str(),
            pid = pid,
            user = user.as_str()
        ),
        Difference::Cmdline => phrase!(
            "%{name} is running with other arguments (pid %{pid}, %{path}, user %{user}) than cmdline \
             allows; if it is the program, change cmdline",
            name = name.as_str(),
            pid = pid,
            path = path.as_str(),
            user = user.as_str()
        ),
        Difference::Unreadable => phrase!(
            "%{name} is running, and what it runs can't be read (pid %{pid}, %{path}, user %{user})",
            name = name.as_str(),
            pid = pid,
            path = path.as_str(),
            user = user.as_str()
        ),
        Difference::RealUser => phrase!(
            "%{name} is running as user %{user} (pid %{pid}, %{path}), and somebody else has started it \
             than user allows; if it is the program, change user",
            name = name.as_str(),
            user = user.as_str(),
            pid = pid,
            path = path.as_str()
        ),
        Difference::File => phrase!(
            "%{name} is running (pid %{pid}, user %{user}) from a file that isn't the %{path} of this \
             till; if it is the program, change exe",
            name = name.as_str(),
            pid = pid,
            user = user.as_str(),
            path = path.as_str()
        ),
        Difference::LongCmdline => phrase!(
            "%{name} is running with more arguments than can be compared with cmdline (pid %{pid}, \
             %{path}, user %{user}); if it is the program, remove cmdline",
            name = name.as_str(),
            pid = pid,
            path = path.as_str(),
            user = user.as_str()
        ),
        Difference::User => phrase!(
            "%{name} is running as user %{user} (pid %{pid}, %{path}), which user doesn't allow; if it \
             is the program, change user",
            name = name.as_str(),
            user = user.as_str(),
            pid = pid,
            path = path.as_str()
        ),
    }
}

pub(super) fn in_english(wording: &[Phrase]) -> Option<String> {
    let sentences: Vec<String> = wording.iter().map(Phrase::to_string).collect();
    (!sentences.is_empty()).then(|| sentences.join("; "))
}
