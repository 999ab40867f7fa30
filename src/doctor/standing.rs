//! What the running service itself says of each program: a till that can't sell is never said to be healthy.
//! Why a program may not run is looked for by the neighbours, above all [`super::driver`] and
//! [`super::program`].

use std::time::SystemTime;

use mfe_common::escape::printable;
use mfe_history::local_time::{in_words, local_zone};
use rust_i18n::t;
use tz::TimeZone;

use super::config::Config;
use super::root::View;
use super::service::published;
use super::{Examination, Finding};
use crate::status::{ProcessStatus, State};
use crate::systemd::ask::last_lines;
use crate::systemd::names::unit_of;

/// The last lines of a program's output say why it fails; more of them are in the journal.
const LINES: usize = 3;

/// Notes what the service says, and whether by that every program is up.
pub(super) fn examine(
    config: Option<&Config>,
    now: SystemTime,
    view: &View<'_>,
    found: &mut Examination,
) {
    for process in config.iter().flat_map(|config| &config.settings.processes) {
        if process.policy.dry_run {
            let text = t!("doctor.dry_run", name = process.name());
            let edit = config.map(Config::edit).unwrap_or_default();
            found.find("dry-run", text, edit);
        }
    }
    let Some(status) = published(view) else {
        return;
    };
    found.is_all_up = status.processes.iter().all(|process| process.is_well());
    let zone = local_zone();
    for process in &status.processes {
        let settings = config.iter().flat_map(|config| &config.settings.processes);
        let mut dry = settings.filter(|settings| settings.policy.dry_run);
        let is_dry_run = dry.any(|settings| settings.key == process.key);
        let Some(mut finding) = judge(process, is_dry_run, now, &zone) else {
            continue;
        };
        if view.is_of_this_machine() && ["start-failing", "crash-loop"].contains(&finding.id) {
            let unit = format!("_SYSTEMD_UNIT={}", unit_of(&process.key));
            finding.lines = last_lines(&[unit], LINES);
        }
        found.findings.push(finding);
    }
}

/// What is wrong with a program, if anything is.
fn judge(
    process: &ProcessStatus,
    is_dry_run: bool,
    now: SystemTime,
    zone: &TimeZone,
) -> Option<Finding> {
    let key = &process.key;
    let name = printable(&process.name);
    let since = in_words(process.since.into(), now, zone);
    // What isn't started on purpose doesn't fail to start.
    let sentences = if is_dry_run {
        Vec::new()
    } else {
        process.sentences()
    };
    let why = sentences.join("; ");
    let output = format!("sudo journalctl -u {} -n 30 --no-pager", unit_of(key));
    let (id, text, command) = match process.state {
        _ if process.is_well() => return None,
        State::Paused => {
            let until = process
                .paused_until
                .map(|until| in_words(until.into(), now, zone));
            let until = until.unwrap_or_default();
            let text = if process.pids.is_empty() {
                t!("doctor.paused_down", name = name, until = until)
            } else {
                t!("doctor.paused", name = name, until = until)
            };
            ("paused", text, format!("sudo mfe-watchdog resume {key}"))
        }
        State::Down if why.is_empty() => (
            "not-up",
            t!("doctor.not_up", name = name, since = since),
            output,
        ),
        State::Down => (
            "start-failing",
            t!(
                "doctor.start_failing",
                name = name,
                since = since,
                why = why
            ),
            output,
        ),
        State::Backoff => ("crash-loop", t!("doctor.crash_loop", name = name), output),
        State::Unhealthy => (
            "unhealthy",
            t!("doctor.unhealthy", name = name, why = why),
            format!("sudo mfe-watchdog restart {key}"),
        ),
        State::Up
        | State::Starting
        | State::Waiting
        | State::Stuck
        | State::Misfit
        | State::Unknown => {
            let text = if why.is_empty() {
                t!("doctor.not_up", name = name, since = since)
            } else {
                t!("doctor.not_up_for", name = name, since = since, why = why)
            };
            return Some(Finding {
                id: "not-up",
                text: text.into_owned(),
                lines: Vec::new(),
                command: None,
                later: Vec::new(),
            });
        }
    };
    Some(Finding {
        id,
        text: text.into_owned(),
        lines: Vec::new(),
        command: Some(command),
        later: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn judged(state: &str, more: &Value) -> Option<(&'static str, String, Option<String>)> {
        let mut process = json!({
            "key": "monitor", "name": "Monitor", "state": state, "pids": [],
            "since": "2026-11-26T15:18:00.000Z", "restarts": 0, "last_restart": null, "detail": null,
        });
        for (key, value) in more.as_object().unwrap() {
            process[key] = value.clone();
        }
        let process: ProcessStatus = serde_json::from_value(process).unwrap();
        let zone = TimeZone::from_posix_tz("<-03>3").unwrap();
        let now = process.since.into();
        judge(&process, false, now, &zone).map(|found| (found.id, found.text, found.command))
    }

    #[test]
    fn each_state_but_up_is_a_finding() {
        assert_eq!(judged("up", &json!({ "pids": [1] })), None);
        let wording = json!({ "wording": [{ "text": "exit status 3" }] });
        for (state, more, id, words, command) in [
            (
                "down",
                &json!({}),
                "not-up",
                "has not been up since 12:18:00",
                "journalctl -u mfe@monitor",
            ),
            (
                "down",
                &wording,
                "start-failing",
                "exit status 3",
                "journalctl -u mfe@monitor",
            ),
            (
                "backoff",
                &json!({}),
                "crash-loop",
                "keeps crashing",
                "journalctl",
            ),
            (
                "unhealthy",
                &wording,
                "unhealthy",
                "exit status 3",
                "restart monitor",
            ),
            (
                "paused",
                &json!({ "paused_until": "2026-11-26T16:00:00.000Z" }),
                "paused",
                "is DOWN and paused until 13:00:00",
                "resume monitor",
            ),
            (
                "paused",
                &json!({ "paused_until": "2026-11-26T16:00:00.000Z", "pids": [1] }),
                "paused",
                "is paused until 13:00:00",
                "resume monitor",
            ),
            ("stuck", &wording, "not-up", "exit status 3", ""),
            ("starting", &json!({}), "not-up", "since", ""),
            ("misfit", &wording, "not-up", "exit status 3", ""),
            ("unknown", &wording, "not-up", "exit status 3", ""),
        ] {
            let found = judged(state, more).unwrap();
            assert_eq!(found.0, id, "{state}");
            assert!(found.1.contains(words), "{state}: {}", found.1);
            assert!(found.2.unwrap_or_default().contains(command), "{state}");
        }
    }
}
