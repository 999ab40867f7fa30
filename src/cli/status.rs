//! The status as a person reads it: a table of 80 columns that needs no colour; what it says is read
//! from what the service has published.

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use mfe_common::duration::brief;
use mfe_common::escape::{list, printable};
use mfe_common::timestamp::Timestamp;
use mfe_history::local_time::{in_words, is_same_day, local, local_zone};
use rust_i18n::t;
use tz::TimeZone;

use super::exec::settings;
use super::in_force::InForce;
use super::logs::meant_or_all;
use super::output::{Reader, complain, print, print_raw, show, show_raw};
use super::{EXIT_NOT_RUNNING, error_in_words, one, prometheus, unknown_key};
use crate::config::Settings;
use crate::daemon::state;
use crate::proc::ProcessTable;
use crate::status::control::key_meant_by;
use crate::status::directories::Directories;
use crate::status::service::Service;
use crate::status::{ProcessStatus, State, Status, WaitingFor};
use crate::supervisor::Remembered;
use crate::text::phrase::{self, Phrase};
use crate::text::wrap::{Paragraph, WIDTH};

/// A longer name is cut, in characters.
const NAME_MAX: usize = 16;

/// The last column of the table, from 0.
const LAST_OUTAGE: usize = 5;

/// How often `--watch` looks for news.
const WATCH_PAUSE: Duration = Duration::from_millis(500);

/// What there is to say, where, and with which exit code.
enum Answer {
    /// The service runs, and has published this.
    Published(Status),
    /// It doesn't; the text says so.
    NotRunning(String),
    /// It runs, and hasn't; the text says so.
    Unpublished(String),
}

impl Answer {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Published(status) if status.is_all_well() => ExitCode::SUCCESS,
            Self::Published(_) | Self::Unpublished(_) => ExitCode::FAILURE,
            Self::NotRunning(_) => ExitCode::from(EXIT_NOT_RUNNING),
        }
    }
}

/// Shows the current state: once, or, with `watch`, again whenever that changes, until it is
/// interrupted.
pub(super) fn status(
    directories: &Directories,
    key: Option<&str>,
    json: bool,
    watch: bool,
) -> anyhow::Result<ExitCode> {
    let zone = local_zone();
    if watch {
        return self::watch(directories, key, json, &zone);
    }
    let answer = ask(directories, key)?;
    match &answer {
        Answer::Published(status) => {
            let text = shown(status, directories, (json, key.is_some()), &zone)?;
            if json {
                print_raw(&text)?;
            } else {
                print(&text)?;
            }
            if let ([process], Some(_), false) = (status.processes.as_slice(), key, json) {
                // The journal may take its time.
                print(&one::about(process, directories, SystemTime::now(), &zone))?;
            }
        }
        Answer::NotRunning(text) | Answer::Unpublished(text) => complain(text),
    }
    Ok(answer.exit_code())
}

/// Prints the current state as metrics. A service that doesn't run is one of them.
pub(super) fn as_metrics(directories: &Directories, key: Option<&str>) -> anyhow::Result<ExitCode> {
    let answer = ask(directories, key)?;
    match &answer {
        Answer::Published(status) => _ = print_raw(&prometheus::metrics(Some(status)))?,
        Answer::NotRunning(_) => _ = print_raw(&prometheus::metrics(None))?,
        Answer::Unpublished(text) => complain(text),
    }
    Ok(answer.exit_code())
}

/// Asks for all, or for the one program that `key` names.
fn ask(directories: &Directories, key: Option<&str>) -> anyhow::Result<Answer> {
    Ok(match Service::find(directories) {
        Service::Published(status) => Answer::Published(of_key(status, key)?),
        Service::NotRunning(status) => {
            let since = status.map(|status| {
                let time = in_words(status.updated_at.into(), SystemTime::now(), &local_zone());
                t!("errors.not_running_since", time = time, pid = status.pid)
            });
            let text = t!("errors.not_running", since = since.unwrap_or_default());
            let looked = own_look(directories, key);
            let text = std::iter::once(text.into_owned()).chain(looked);
            let text = text.collect::<Vec<_>>().join("\n");
            Answer::NotRunning(text)
        }
        Service::Unpublished { pid, has_directory } => {
            let directory = directories.runtime.display();
            let text = if has_directory {
                t!("errors.not_published", pid = pid)
            } else {
                t!("errors.directory_gone", pid = pid, directory = directory)
            };
            Answer::Unpublished(text.into_owned())
        }
        Service::Unreadable(_, why) | Service::Unknown(why) => return Err(why.into()),
    })
}

/// What runs of the programs while nobody watches them. Where the configuration can't be read nothing is
/// known of them. That there is no program of that key is said, too, and hides nothing of the rest.
fn own_look(directories: &Directories, key: Option<&str>) -> Vec<String> {
    // A service that was killed has left what it went by.
    let Ok((Settings { processes, .. }, _)) = settings(None, &directories.runtime, true) else {
        return Vec::new();
    };
    let meant = match meant_or_all(key, &processes) {
        Ok(meant) => meant,
        Err(unknown) => return vec![unknown.to_string()],
    };
    let mut table = ProcessTable::new("/proc");
    let lines = meant.into_iter().map(|process| {
        let name = printable(process.name().as_str());
        let line = match table.look(&process.target) {
            Err(error) => t!("status.unwatched_unknown", name = name, why = error),
            Ok(sighting) if sighting.alive.is_empty() => t!("status.unwatched_gone", name = name),
            Ok(sighting) => {
                let pids: Vec<i32> = sighting.alive.iter().map(|alive| alive.id.pid).collect();
                let pids = phrase::pids(&pids, sighting.more_alive).translated();
                t!("status.unwatched", name = name, pids = pids)
            }
        };
        Paragraph::of_text(&line).to_string()
    });
    lines.collect()
}

/// What is published of the program that `key` names.
fn of_key(mut status: Status, key: Option<&str>) -> anyhow::Result<Status> {
    let Some(key) = key else {
        return Ok(status);
    };
    let processes = status.processes.iter();
    let named = processes.map(|process| (process.key.as_str(), process.name.as_str()));
    let Some(meant) = key_meant_by(key, named).map(str::to_owned) else {
        let known = status.processes.iter().map(|process| &process.key);
        anyhow::bail!("{}", unknown_key(key, known));
    };
    status.processes.retain(|process| process.key == meant);
    Ok(status)
}

fn shown(
    status: &Status,
    directories: &Directories,
    (json, is_one): (bool, bool),
    zone: &TimeZone,
) -> anyhow::Result<String> {
    if json {
        let json = serde_json::to_string(status).with_context(|| t!("errors.json"))?;
        return Ok(json + "\n");
    }
    let is_coloured = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    // What can't be read is missing from the table; the service says why in the journal.
    let remembered = state::read(&directories.state).unwrap_or_default();
    // Where a program belongs is told of one that was asked for only.
    let mut status = status.clone();
    if !is_one {
        status
            .processes
            .iter_mut()
            .for_each(|process| Arc::make_mut(process).session = None);
    }
    let status = &status;
    let now = SystemTime::now();
    let in_force = InForce::of(directories, status);
    let mut text = banner(status, &in_force.in_dry_run(status), now, zone);
    let facts = match status.processes.as_slice() {
        [process] if is_one => one::facts(process, directories, now, zone),
        _ => Vec::new(),
    };
    text += &table(status, &remembered, &facts, now, zone, is_coloured);
    Ok(text + &in_force.lines())
}

/// Shows the status whenever it has changed. Ends when it is interrupted, or nobody reads any more.
fn watch(
    directories: &Directories,
    key: Option<&str>,
    json: bool,
    zone: &TimeZone,
) -> anyhow::Result<ExitCode> {
    let is_terminal = io::stdout().is_terminal();
    let mut before = String::new();
    loop {
        let text = match ask(directories, key) {
            Ok(Answer::Published(status)) => {
                shown(&status, directories, (json, key.is_some()), zone)?
            }
            Ok(Answer::NotRunning(text) | Answer::Unpublished(text)) => text + "\n",
            Err(error) => format!("mfe-watchdog: {}\n", error_in_words(&error)),
        };
        if text != before {
            let reader = match (is_terminal, json) {
                (_, true) => show_raw(&text),
                (true, false) => show(&over(&text)),
                (false, false) => show(&text),
            };
            if reader? == Reader::Gone {
                return Ok(ExitCode::SUCCESS);
            }
            before = text;
        }
        sleep(WATCH_PAUSE);
    }
}

/// A text that takes the place of what the terminal shows, line by line, so that nothing flickers.
fn over(text: &str) -> String {
    let lines = text.lines().collect::<Vec<_>>().join("\u{1b}[K\n");
    format!("\u{1b}[H{lines}\u{1b}[K\n\u{1b}[J")
}

/// What nobody may overlook: that programs aren't restarted. A line each.
fn banner(status: &Status, in_dry_run: &[String], now: SystemTime, zone: &TimeZone) -> String {
    let mut lines = Vec::new();
    let paused = status.processes.iter();
    let paused: Vec<_> = paused.filter(|one| one.paused_until.is_some()).collect();
    if let [first, others @ ..] = paused.as_slice() {
        let names = list(paused.iter().map(|one| printable(&one.name)));
        let is_same = |other: &&Arc<ProcessStatus>| other.paused_until == first.paused_until;
        let until = first.paused_until.filter(|_| others.iter().all(is_same));
        let until = until.map(|until| in_words(until.into(), now, zone));
        lines.push(match until {
            Some(until) => t!("status.banner_paused_until", names = names, until = until),
            None => t!("status.banner_paused", names = names),
        });
    }
    if !in_dry_run.is_empty() {
        lines.push(t!("status.banner_dry_run", names = list(in_dry_run)));
    }
    let lines = lines
        .iter()
        .map(|line| Paragraph::of_text(line).to_string());
    lines.map(|line| line + "\n").collect()
}

/// The status as a table, as of `now`; `facts` are about the only program in it.
fn table(
    status: &Status,
    remembered: &[Remembered],
    facts: &[String],
    now: SystemTime,
    zone: &TimeZone,
    is_coloured: bool,
) -> String {
    let mut rows = vec![[
        t!("status.process").into_owned(),
        t!("status.state").into_owned(),
        t!("status.since").into_owned(),
        "PID".to_owned(),
        t!("status.restarts").into_owned(),
        t!("status.last_outage").into_owned(),
    ]];
    rows.extend(status.processes.iter().map(|process| {
        let mut remembered = remembered.iter();
        let remembered = remembered.find(|remembered| remembered.key == process.key);
        let recent = remembered.map(|remembered| remembered.recent_restarts.as_slice());
        row(process, recent.unwrap_or_default(), now, zone)
    }));
    let widths: Vec<usize> = (0..rows[0].len())
        .map(|column| {
            rows.iter()
                .map(|row| columns(&row[column]))
                .max()
                .unwrap_or(0)
        })
        .collect();
    // Two columns stand between them. What doesn't fit beside the others stands below.
    let is_wide = widths.iter().map(|width| width + 2).sum::<usize>() > WIDTH + 2;
    let shown = if is_wide { LAST_OUTAGE } else { widths.len() };
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        let mut line = String::new();
        for (column, cell) in row.iter().take(shown).enumerate() {
            let pad = " ".repeat(widths[column] - columns(cell) + 2);
            let process = index.checked_sub(1).map(|index| &status.processes[index]);
            match process.filter(|_| is_coloured && column == 1) {
                Some(process) => {
                    let state = if is_paused_and_down(process) {
                        State::Down
                    } else {
                        process.state
                    };
                    let colour = colour(process, state);
                    line += &format!("\u{1b}[{colour}m{cell}\u{1b}[0m{pad}");
                }
                None => line += &format!("{cell}{pad}"),
            }
        }
        text += line.trim_end();
        text.push('\n');
        if let Some(process) = index.checked_sub(1).map(|index| &status.processes[index]) {
            let last = &row[LAST_OUTAGE];
            let below = is_wide && process.last_restart.is_some();
            let below = below.then(|| t!("status.last_outage_below", outage = last).into_owned());
            let notes = notes(process, now, zone).into_iter();
            for note in below.into_iter().chain(notes).chain(facts.to_vec()) {
                text += &format!("{}\n", Paragraph::of_detail(&note));
            }
        }
    }
    if let Some(fallback) = &status.config_fallback {
        let wording = fallback.wording.iter().map(Phrase::translated);
        let sentences = printable(&wording.collect::<Vec<_>>().join("; "));
        let problem = t!("status.config_fallback", problem = sentences);
        text += &format!("{}\n", Paragraph::of_text(&problem));
    }
    let since = in_words(status.started_at.into(), now, zone);
    text + &t!("status.service", pid = status.pid, since = since) + "\n"
}

fn row(
    process: &ProcessStatus,
    recent_restarts: &[Timestamp],
    now: SystemTime,
    zone: &TimeZone,
) -> [String; 6] {
    let name = printable(&process.name);
    let name = if columns(&name) > NAME_MAX {
        name.chars().take(NAME_MAX - 1).collect::<String>() + "…"
    } else {
        name
    };
    let pid = match process.pids.as_slice() {
        [] => "-".to_owned(),
        [pid, ..] => pid.to_string(),
    };
    let today = local(now, zone).map_or(0, |today| {
        let days = recent_restarts.iter();
        let days = days.filter_map(|time| local((*time).into(), zone));
        days.filter(|day| is_same_day(day, &today)).count()
    });
    let last = process.last_restart.as_ref().map(|last| {
        let outage = brief(Duration::from_millis(last.outage_ms));
        format!("{outage}, {}", cause(&last.cause, last.signal.as_deref()))
    });
    [
        name,
        shown_state(process),
        in_words(process.since.into(), now, zone),
        pid,
        t!("status.today", count = today).into_owned(),
        last.unwrap_or_else(|| "-".to_owned()),
    ]
}

/// What a person should know besides.
fn notes(process: &ProcessStatus, now: SystemTime, zone: &TimeZone) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(time) = process.next_start {
        let time = in_words(time.into(), now, zone);
        notes.push(t!("status.next_start", time = time).into_owned());
    }
    if let Some(time) = process.paused_until {
        let time = in_words(time.into(), now, zone);
        let key = printable(&process.key);
        notes.push(t!("status.paused_until", time = time, key = key).into_owned());
    }
    if process.pids.len() > 1 {
        let pids = phrase::pids(&process.pids, process.more_pids).translated();
        notes.push(t!("status.pids", pids = pids).into_owned());
    }
    notes.extend(process.sentences());
    let session = process.session.as_ref().map(Phrase::translated);
    notes.extend(session.map(|session| printable(&session)));
    if process.state == State::Stuck {
        notes.push(t!("status.reboot").into_owned());
    }
    notes
}

/// The state as it matters to a cashier: what is paused and doesn't run is down all the same.
fn shown_state(process: &ProcessStatus) -> String {
    if is_paused_and_down(process) {
        t!("status.paused_down").into_owned()
    } else {
        state(process.state)
    }
}

fn is_paused_and_down(process: &ProcessStatus) -> bool {
    process.state == State::Paused && process.pids.is_empty()
}

pub(super) fn state(state: State) -> String {
    match state {
        State::Up => t!("status.up"),
        State::Starting => t!("status.starting"),
        State::Down => t!("status.down"),
        State::Waiting => t!("status.waiting"),
        State::Backoff => t!("status.backoff"),
        State::Unhealthy => t!("status.unhealthy"),
        State::Stuck => t!("status.stuck"),
        State::Misfit => t!("status.misfit"),
        State::Paused => t!("status.paused"),
        State::Unknown => t!("status.unknown"),
    }
    .into_owned()
}

/// Green, yellow or red (console_codes(4)).
fn colour(process: &ProcessStatus, state: State) -> u8 {
    let is_well = process.waiting_for == Some(WaitingFor::Login);
    match state {
        State::Waiting if is_well => 32,
        State::Up => 32,
        State::Starting | State::Waiting | State::Backoff | State::Paused => 33,
        State::Down | State::Unhealthy | State::Stuck | State::Misfit | State::Unknown => 31,
    }
}

/// A cause as people say it; one that a later version tells is shown as it is.
fn cause(cause: &str, signal: Option<&str>) -> String {
    match cause {
        "oom" => t!("status.cause_oom").into_owned(),
        "killed" if signal.is_some() => printable(signal.unwrap_or_default()),
        "gone" => t!("status.cause_gone").into_owned(),
        "exited" => t!("status.cause_exited").into_owned(),
        "killed" => t!("status.cause_killed").into_owned(),
        "unhealthy" => t!("status.cause_unhealthy").into_owned(),
        "requested" => t!("status.cause_requested").into_owned(),
        "stopped" => t!("status.cause_stopped").into_owned(),
        other => printable(other),
    }
}

/// How many columns a text takes: names of programs have no wide characters.
fn columns(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Memory;
    use crate::status::LastRestart;
    use mfe_history::local_time::zone;

    fn at(text: &str) -> Timestamp {
        humantime::parse_rfc3339(text).unwrap().into()
    }

    fn process(name: &str, state: State) -> ProcessStatus {
        ProcessStatus {
            key: name.to_lowercase(),
            name: name.to_owned(),
            state,
            pids: vec![1234],
            more_pids: 0,
            duplicates: Vec::new(),
            since: at("2026-03-02T11:00:00Z"),
            restarts: 7,
            waiting_for: None,
            session: None,
            next_start: None,
            paused_until: None,
            last_restart: None,
            detail: None,
            wording: Vec::new(),
        }
    }

    fn shown(
        processes: Vec<ProcessStatus>,
        remembered: &[Remembered],
        is_coloured: bool,
    ) -> String {
        let status = Status {
            version: 1,
            pid: 77,
            started_at: at("2026-03-01T12:00:00Z"),
            start_time: None,
            updated_at: at("2026-03-02T12:00:00Z"),
            updated_us: None,
            latest_message: None,
            config_fallback: None,
            processes: processes.into_iter().map(Arc::new).collect(),
        };
        let now = at("2026-03-02T12:00:01Z").into();
        table(
            &status,
            remembered,
            &[],
            now,
            &zone(Some("<-03>3")),
            is_coloured,
        )
    }

    #[test]
    fn that_no_service_runs_is_said_whatever_was_asked_for() {
        let directory = tempfile::tempdir().unwrap();
        let directories = Directories {
            runtime: directory.path().to_owned(),
            state: directory.path().to_owned(),
        };
        let Ok(Answer::NotRunning(text)) = ask(&directories, Some("no-such-program")) else {
            panic!("it isn't said");
        };
        let not_running = t!("errors.not_running", since = "");
        assert!(text.starts_with(&*not_running), "{text}");
    }

    #[test]
    fn a_table_says_what_a_technician_wants_to_know() {
        let mut first = process("Comunicador", State::Up);
        first.last_restart = Some(LastRestart {
            at: at("2026-03-02T11:00:00Z"),
            cause: "killed".into(),
            signal: Some("SIGSEGV".into()),
            outage_ms: 62_003,
        });
        let recent = [
            "2026-03-02T11:00:00Z",
            "2026-03-02T03:00:00Z",
            // Yesterday, as the shop counts.
            "2026-03-02T02:59:59Z",
        ];
        let remembered = Remembered {
            key: first.key.clone(),
            name: first.name.clone(),
            rules: String::new(),
            memory: Memory::default(),
            last_restart: None,
            recent_restarts: recent.map(at).to_vec(),
        };
        let mut second = process("Monitor", State::Backoff);
        second.pids.clear();
        second.next_start = Some(at("2026-03-02T12:00:05Z"));
        second.detail = Some("it keeps crashing, so its next start waits".into());
        let expected = "\
PROCESS      STATE    SINCE     PID   RESTARTS  LAST OUTAGE
Comunicador  up       08:00:00  1234  2 today   1min 2s, SIGSEGV
Monitor      backoff  08:00:00  -     0 today   -
  next start at 09:00:05
  it keeps crashing, so its next start waits
mfe-watchdog runs (pid 77) since 01/03 09:00
";
        assert_eq!(shown(vec![first, second], &[remembered], false), expected);
    }

    #[test]
    fn no_line_is_longer_than_a_terminal() {
        let mut long = process(&"Ç".repeat(200), State::Unhealthy);
        long.pids = (100_000..100_040).collect();
        long.detail = Some("a long story ".repeat(40));
        long.last_restart = Some(LastRestart {
            at: at("2026-03-02T11:00:00Z"),
            cause: "unhealthy".into(),
            signal: None,
            outage_ms: 90_061_000,
        });
        let text = shown(vec![long], &[], false);
        for line in text.lines() {
            assert!(line.chars().count() <= WIDTH, "{line}");
        }
    }

    #[test]
    fn colour_is_besides_the_word() {
        let text = shown(vec![process("Monitor", State::Down)], &[], true);
        assert!(text.contains("\u{1b}[31mdown\u{1b}[0m"), "{text}");
        let plain = text.replace("\u{1b}[31m", "").replace("\u{1b}[0m", "");
        assert_eq!(
            plain,
            shown(vec![process("Monitor", State::Down)], &[], false)
        );
    }

    #[test]
    fn what_others_have_named_steers_no_terminal() {
        let mut hostile = process("a\u{1b}[2Jb\nc", State::Down);
        hostile.detail = Some("\u{1b}]0;title\u{7}".into());
        let steers = |process: &ProcessStatus| {
            shown(vec![process.clone()], &[], false).contains(['\u{1b}', '\u{7}'])
        };
        assert!(!steers(&hostile));
        let json = r#"[{"text":"\u001b%{a}","values":["\u0007"]}]"#;
        hostile.wording = serde_json::from_str(json).unwrap();
        assert!(!steers(&hostile));
    }
}
