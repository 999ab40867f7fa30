//! What matters most of a status, in a few words: the beginning of the line that `systemctl status` shows.
//! What follows there is in [`super`].

use std::time::{Duration, SystemTime};

use mfe_common::escape::{cut, printable};

use super::{ProcessStatus, State, Status};

/// It isn't longer, in characters: with it `systemctl status` fits a terminal.
const LENGTH_MAX: usize = 60;

/// What `detail` begins with, and what stands for it here.
const SHORT: [(&str, &str); 6] = [
    (
        "the start script failed with exit status ",
        "start script exit ",
    ),
    ("the start script failed with ", "start script "),
    (
        "no process of that name appeared within ",
        "not seen within ",
    ),
    (
        "it keeps crashing, so its next start waits",
        "keeps crashing",
    ),
    ("is running twice: also as pid ", "also as pid "),
    ("nobody is logged in at the screen", "nobody logged in"),
];

/// The line's beginning, at this time.
pub(super) fn headline(status: &Status, now: SystemTime) -> String {
    // Of two that are as bad, the first one.
    let worst = status.processes.iter().rev().max_by_key(|one| badness(one));
    let line = match worst.filter(|process| badness(process) > 0) {
        Some(worst) => of_process(worst, status, now),
        None if status.config_fallback.is_some() => "ALL UP, BAD CONFIGURATION".to_owned(),
        None => "ALL UP".to_owned(),
    };
    cut(&line, LENGTH_MAX - 1)
}

/// How bad it is; 0 where nothing is.
fn badness(process: &ProcessStatus) -> u8 {
    match process.state {
        State::Down | State::Backoff | State::Stuck => 7,
        State::Paused if process.pids.is_empty() => 6,
        State::Misfit => 5,
        State::Starting | State::Unknown => 4,
        State::Waiting if !process.is_well() => 3,
        State::Unhealthy => 3,
        State::Up if !process.duplicates.is_empty() => 2,
        State::Paused => 2,
        State::Waiting => 1,
        State::Up => 0,
    }
}

/// What is wrong with it, in a word or two.
fn trouble(process: &ProcessStatus) -> &'static str {
    match process.state {
        State::Down | State::Backoff => "DOWN",
        State::Paused if process.pids.is_empty() => "DOWN, PAUSED",
        State::Paused => "PAUSED",
        State::Misfit => "NOT RECOGNISED",
        State::Starting => "STARTING",
        State::Unknown => "UNKNOWN",
        State::Waiting => "WAITING",
        State::Unhealthy => "UNHEALTHY",
        State::Stuck => "CAN'T BE ENDED",
        State::Up => "RUNS TWICE",
    }
}

fn of_process(worst: &ProcessStatus, status: &Status, now: SystemTime) -> String {
    let state = trouble(worst);
    // What is as bad is told with it.
    let is_same =
        |process: &ProcessStatus| badness(process) == badness(worst) && trouble(process) == state;
    let processes = status.processes.iter();
    let others = processes.filter(|process| is_same(process)).count() - 1;
    let mut line = printable(&worst.name).to_uppercase();
    if others > 0 {
        line += &format!(" +{others}");
    }
    line += &format!(" {state}");
    // It has been up for longer than it runs twice.
    let since = (worst.state != State::Up).then_some(worst.since);
    if let Some(time) = since.and_then(|since| in_short(since.age(now)?)) {
        line += &format!(" {time}");
    }
    let detail = worst.detail.as_deref().map(printable).unwrap_or_default();
    let short = SHORT.iter().find_map(|(long, short)| {
        let rest = detail.strip_prefix(long)?;
        Some(format!("{short}{rest}"))
    });
    let detail = short.unwrap_or(detail);
    if !detail.is_empty() {
        line += &format!(": {detail}");
    }
    line
}

/// A time in minutes, hours or days; none if it is shorter than a minute, for the line is sent whenever it
/// is another one.
fn in_short(time: Duration) -> Option<String> {
    let minutes = time.as_secs() / 60;
    match minutes {
        0 => None,
        1..=59 => Some(format!("{minutes} min")),
        60..=2879 => Some(format!("{} h", minutes / 60)),
        _ => Some(format!("{} days", minutes / 1440)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{process, status};
    use super::super::{ConfigFallback, WaitingFor};
    use super::*;
    use crate::machine::{Fate, StartFailure};
    use crate::supervisor::failure_wording;
    use crate::sys::exit_status::ExitStatus;

    /// The beginning of the line, where the processes have these states for so many minutes.
    fn of(states: &[(&str, State, u64, Option<&str>)]) -> String {
        let now = SystemTime::now();
        let processes = states.iter().map(|(name, state, minutes, detail)| {
            let mut process = process(name, *state, detail.map(str::to_owned));
            process.since = (now - Duration::from_secs(minutes * 60 + 5)).into();
            if *state != State::Up {
                process.pids.clear();
            }
            process
        });
        headline(&status(processes.collect()), now)
    }

    #[test]
    fn what_is_shortened_is_what_the_rules_say() {
        let phrases = include_str!("../../locales/detail.yml");
        for (long, _) in SHORT {
            // A status stands in a phrase of its own.
            let long = long.trim_end_matches("exit status ");
            assert!(phrases.contains(&format!("\n\"{long}")), "{long}");
        }
    }

    #[test]
    fn what_matters_comes_first_and_is_short() {
        let up = ("Comunicador", State::Up, 99, None);
        assert_eq!(of(&[up, ("Monitor", State::Up, 9, None)]), "ALL UP");
        assert_eq!(of(&[]), "ALL UP");
        let wording = |failure| failure_wording(&failure).to_string();
        let failed = &wording(StartFailure::Failed(ExitStatus::Code(1)));
        let crashed = &wording(StartFailure::Failed(ExitStatus::Signal(11)));
        let not_seen = &wording(StartFailure::TimedOut {
            after: Duration::from_secs(20),
            start_program: Fate::Running,
        });
        for (state, minutes, detail, expected) in [
            (
                State::Down,
                3,
                Some(failed.as_str()),
                "MONITOR DOWN 3 min: start script exit 1",
            ),
            (
                State::Down,
                130,
                Some(crashed.as_str()),
                "MONITOR DOWN 2 h: start script SIGSEGV",
            ),
            (
                State::Down,
                3,
                Some(not_seen.as_str()),
                "MONITOR DOWN 3 min: not seen within 20s; the start script i…",
            ),
            (State::Starting, 0, None, "MONITOR STARTING"),
            (
                State::Backoff,
                2880,
                Some("it keeps crashing, so its next start waits"),
                "MONITOR DOWN 2 days: keeps crashing",
            ),
            (
                State::Paused,
                1,
                Some("driver update"),
                "MONITOR DOWN, PAUSED 1 min: driver update",
            ),
            (
                State::Down,
                3,
                Some("/opt/sefaz/cco/bin/runcco-mon.sh is not installed anywhere on it"),
                "MONITOR DOWN 3 min: /opt/sefaz/cco/bin/runcco-mon.sh is not…",
            ),
        ] {
            let line = of(&[up, ("Monitor", state, minutes, detail)]);
            assert_eq!(line, expected);
            assert!(line.chars().count() <= LENGTH_MAX, "{line}");
        }
        let both =
            ["Comunicador", "Monitor"].map(|name| (name, State::Down, 3, Some(failed.as_str())));
        assert_eq!(of(&both), "COMUNICADOR +1 DOWN 3 min: start script exit 1");
    }

    #[test]
    fn what_runs_may_not_be_well_either() {
        let now = SystemTime::now();
        let of = |change: &dyn Fn(&mut ProcessStatus)| {
            let mut one = process("Monitor", State::Up, None);
            change(&mut one);
            headline(&status(vec![one]), now)
        };
        let long_up = (now - Duration::from_secs(86_400 * 3)).into();
        let twice = |one: &mut ProcessStatus| {
            one.duplicates.push(6);
            one.since = long_up;
        };
        assert_eq!(of(&twice), "MONITOR RUNS TWICE");
        let mut pair = ["Comunicador", "Monitor"].map(|name| process(name, State::Up, None));
        pair[1].duplicates.push(6);
        let line = headline(&status(pair.to_vec()), now);
        assert_eq!(line, "MONITOR RUNS TWICE", "the other one doesn't");
        assert_eq!(of(&|one| one.state = State::Paused), "MONITOR PAUSED");
        let login = |one: &mut ProcessStatus| {
            one.state = State::Waiting;
            one.waiting_for = Some(WaitingFor::Login);
            one.detail = Some("nobody is logged in at the screen".into());
        };
        assert_eq!(of(&login), "MONITOR WAITING: nobody logged in");
        let mut status = status(vec![process("Monitor", State::Up, None)]);
        status.config_fallback = Some(ConfigFallback {
            detail: "interval: must be".into(),
            wording: Vec::new(),
        });
        assert_eq!(headline(&status, now), "ALL UP, BAD CONFIGURATION");
    }
}
