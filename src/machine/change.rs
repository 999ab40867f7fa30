//! What happens to a process, in the form in which the machine tells it; the words for people are in
//! [`crate::supervisor`].

use std::fmt;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use super::Program;
use super::seat::Wait;
use crate::proc::{Identity, Impostor};
use crate::sys::exit_status::ExitStatus;
use crate::text::phrase::Phrase;

/// How a start program came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartOutcome {
    /// It was never run; the text says why.
    NotRun(StartFailure),
    /// It ran and ended.
    Exited {
        /// The pid it had, if it was a process that is known.
        pid: Option<i32>,
        /// How it ended.
        status: ExitStatus,
    },
    /// systemd accepted the start; how its program fared couldn't be learnt.
    LostSight,
}

/// Why a start has failed; two equal ones need no second message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartFailure {
    /// The start program isn't there.
    NotInstalled(String),
    /// Somebody is just putting the start program in place.
    BeingReplaced(String),
    /// The start program can't be run: what was tried and the system's own words.
    NotRun(Phrase),
    /// Nobody is logged in at the screen on which it belongs.
    NobodyLoggedIn,
    /// The session in which it belongs isn't ready for it.
    NotReady,
    /// The start program reported a failure.
    Failed(ExitStatus),
    /// systemd reported a failure, in its own words.
    Unit(Phrase),
    /// Nothing of the name appeared in time.
    TimedOut {
        /// How long it was waited for.
        after: Duration,
        /// What had become of the start program by then.
        start_program: Fate,
    },
}

/// What has become of a start program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It still runs.
    Running,
    /// It has ended.
    Ended(ExitStatus),
    /// It was run by an earlier run of the service.
    Unknown,
}

/// What is wrong with a living process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// What a check has found, in the words of whoever has made it.
    Check(Phrase),
    /// It has crashed, and its core dump is being written.
    Dumping,
    /// A signal has stopped it, and it hasn't continued for so long.
    Stopped(Duration),
    /// It may be another program than is meant.
    Stranger {
        /// Whose it is and what it runs.
        who: Identity,
        /// What was the program before, if that is known.
        before: Option<Program>,
    },
}

/// Why a process was found gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// It wasn't running when first looked for.
    Absent,
    /// It has ended, and how isn't known: it was no child of ours and has left no trace.
    Gone,
    /// It ended by itself, with this status.
    Exited(i32),
    /// It was ended by this signal.
    Killed(i32),
    /// The kernel has ended it, because memory ran out.
    #[serde(rename = "oom")]
    OutOfMemory,
    /// The service has ended it, because it wasn't well.
    Unhealthy,
    /// The service has ended it, because it was a second copy.
    Duplicate,
    /// The service has ended it, because somebody wanted it restarted.
    Requested,
    /// The service has ended it, because somebody wanted it stopped.
    Stopped,
    /// The service has ended it, because it was left of a start and never became the program.
    Late,
    /// The service has ended it, because it ran outside the session at the screen.
    Outside,
}

impl Cause {
    /// Whether it has ended because somebody wanted that, which says nothing of how it does.
    #[must_use]
    pub fn is_somebodys_wish(self) -> bool {
        matches!(self, Self::Requested | Self::Stopped)
    }

    /// Its stable name in the journal and in status files.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Gone => "gone",
            Self::Exited(_) => "exited",
            Self::Killed(_) => "killed",
            Self::OutOfMemory => "oom",
            Self::Unhealthy => "unhealthy",
            Self::Duplicate => "duplicate",
            Self::Requested => "requested",
            Self::Stopped => "stopped",
            Self::Late => "late",
            Self::Outside => "outside",
        }
    }

    /// The signal that ended it, as signal(7) names it; none that has no name there.
    #[must_use]
    pub fn signal(self) -> Option<&'static str> {
        match self {
            Self::Killed(number) => Some(Signal::try_from(number).ok()?.as_str()),
            Self::OutOfMemory => Some(Signal::SIGKILL.as_str()),
            _ => None,
        }
    }

    /// The same, unless it is SIGKILL, for which [`Self::as_str`] is enough.
    #[must_use]
    pub fn other_signal(self) -> Option<&'static str> {
        let is_other = |signal: &&str| *signal != Signal::SIGKILL.as_str();
        self.signal().filter(is_other)
    }
}

impl From<ExitStatus> for Cause {
    fn from(status: ExitStatus) -> Self {
        match status {
            ExitStatus::Code(code) => Self::Exited(code),
            ExitStatus::Signal(number) => Self::Killed(number),
            ExitStatus::OutOfMemory => Self::OutOfMemory,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Absent => f.write_str("was not running"),
            Self::Gone => f.write_str("has ended, unknown cause"),
            Self::Exited(code) => write!(f, "has ended with {}", ExitStatus::Code(code)),
            Self::Killed(number) => write!(f, "was killed by {}", ExitStatus::Signal(number)),
            Self::OutOfMemory => write!(f, "was killed by {}", ExitStatus::OutOfMemory),
            Self::Unhealthy => f.write_str("was ended because it was unhealthy"),
            Self::Duplicate => f.write_str("was ended because it was a second copy"),
            Self::Requested => f.write_str("was ended because somebody asked for a restart"),
            Self::Stopped => f.write_str("was stopped because somebody asked for it"),
            Self::Late => f.write_str("was ended because it never became the program"),
            Self::Outside => {
                f.write_str("was ended because it ran outside the session at the screen")
            }
        }
    }
}

/// A change worth a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It runs: after a first start, or seen again after looks had failed.
    Up {
        /// Its lowest pid.
        pid: i32,
    },
    /// It runs, and somebody else started it.
    Adopted {
        /// Its pids.
        pids: Vec<i32>,
        /// How many more there are.
        more: usize,
    },
    /// It is gone.
    Down {
        /// The pid it had, if it was ever seen.
        pid: Option<i32>,
        /// Why.
        cause: Cause,
        /// How long its start has to wait.
        wait: Duration,
    },
    /// It waits for somebody at the screen, or for his session.
    Waiting {
        /// For what.
        why: Wait,
        /// The user at the screen, printable.
        user: Option<String>,
    },
    /// It is being started.
    Starting,
    /// It is back.
    Restarted {
        /// Its lowest pid.
        pid: i32,
        /// Why it had to be restarted.
        cause: Cause,
        /// From the moment it was last known to live until it was seen again.
        outage: Duration,
        /// Whether its end was noticed late, so that it may have been gone for less.
        is_at_most: bool,
    },
    /// A start failed, for a reason not yet said.
    StartFailed(StartFailure),
    /// A look failed, for a reason not yet said.
    Unknown(Phrase),
    /// It lives, but is unhealthy.
    Unhealthy {
        /// Its lowest pid.
        pid: Option<i32>,
        /// The name of the check that says so.
        check: String,
        /// What it has found.
        finding: Finding,
        /// Whether it is restarted for that.
        will_restart: bool,
    },
    /// What was wrong is over.
    Recovered {
        /// Its lowest pid.
        pid: Option<i32>,
        /// What was wrong.
        what: Recovery,
    },
    /// It keeps crashing.
    CrashLoop {
        /// How often it was brought back.
        restarts: usize,
        /// In this time.
        within: Duration,
    },
    /// Living processes were made to end.
    Killed {
        /// The pids they had.
        pids: Vec<i32>,
        /// What it took; `None` when systemd did it.
        signal: Option<Stop>,
        /// Why.
        cause: Cause,
    },
    /// Processes that were to end can't be killed.
    Stuck {
        /// Their pids.
        pids: Vec<i32>,
        /// Why they couldn't be signalled, if that was it.
        why: Option<String>,
    },
    /// A process has the name without being the program.
    Impostor(Impostor),
    /// So many others have it too.
    MoreImpostors(usize),
    /// What runs is nearly the program.
    Misfit(Impostor),
    /// The program has another name, executable or arguments now.
    Renamed(Impostor),
    /// Its main process has died, and its children go on.
    MainEnded {
        /// The pid that it had.
        pid: i32,
        /// Who is judged from now on.
        first: i32,
    },
    /// It isn't restarted, since nothing could be started in its place.
    RestartRefused(StartFailure),
    /// The program runs twice.
    Duplicate {
        /// The second copy.
        pid: i32,
        /// The one that was there before.
        first: i32,
    },
    /// It runs so many times more.
    MoreDuplicates(usize),
    /// What would have been done but for `dry_run`.
    DryRun(Intention),
    /// It is left alone for a while.
    Paused {
        /// For how long.
        time: Duration,
        /// Why, in somebody's words.
        reason: Option<String>,
    },
    /// It is resumed.
    Resumed {
        /// Whether the pause's time was over; else somebody has ended it.
        is_over: bool,
    },
}

/// What was wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recovery {
    /// It kept crashing.
    CrashLoop,
    /// A check of this name had failed.
    Check(String),
    /// The same; it hasn't passed, but begins again.
    Void(String),
}

/// What would have been done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intention {
    /// It would have been started.
    Start,
    /// It would have been ended and started again.
    Restart,
    /// It would have been ended and left alone.
    Stop,
    /// A second copy would have been ended.
    StopDuplicate {
        /// Its pid.
        pid: i32,
    },
}

/// How a process is asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// SIGTERM.
    Terminate,
    /// SIGKILL.
    Kill,
}
