//! What `mfe-watchdog status KEY` says of one program besides its state: where it runs, what it uses, and
//! the last that has happened and that it has printed. What can't be had is left out, or named by the
//! command that shows it.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, SystemTime};

use mfe_common::duration::brief;
use mfe_common::escape::{cut, list, printable};
use mfe_common::locale;
use mfe_history::decimal;
use mfe_history::local_time::in_words;
use rust_i18n::t;
use rustix::process::geteuid;
use tz::TimeZone;

use super::logs::{matches, processes};
use crate::config::ProcessSettings;
use crate::proc::{ProcessId, ProcessTable, Stat};
use crate::report::events::{self, Told, Wanted};
use crate::status::ProcessStatus;
use crate::status::directories::Directories;
use crate::systemd::ask::last_lines;
use crate::systemd::control_group::{ControlGroups, MOUNTED};
use crate::text::wrap::WIDTH;

/// How many events are shown.
const EVENTS: u32 = 5;

/// How many lines of output are shown.
const LINES: usize = 5;

/// How long the journal may take to tell the events.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What it uses and where it runs, as of `now`; the journal isn't needed for that.
pub(super) fn facts(
    process: &ProcessStatus,
    directories: &Directories,
    now: SystemTime,
    zone: &TimeZone,
) -> Vec<String> {
    let Some(pid) = process.pids.first().copied() else {
        return Vec::new();
    };
    let mut facts = runs(pid, now, zone);
    let settings = settings_of(process, directories);
    facts.extend(settings.and_then(|settings| checks(&settings, process)));
    facts
}

/// Where the settings can't be read, what follows from them is left out.
fn settings_of(process: &ProcessStatus, directories: &Directories) -> Option<ProcessSettings> {
    let settings = processes(directories).unwrap_or_default().into_iter();
    let mut settings = settings.filter(|settings| settings.key == process.key);
    settings.next()
}

/// What the journal has of a program, as of `now`.
pub(super) fn about(
    process: &ProcessStatus,
    directories: &Directories,
    now: SystemTime,
    zone: &TimeZone,
) -> String {
    let key = printable(&process.key);
    let events = last_events(process, now, zone);
    let mut text = section(
        &t!("one.events"),
        &format!("mfe-watchdog events {key}"),
        &events,
    );
    if let Some(settings) = &settings_of(process, directories) {
        let lines = last_lines(&matches(settings), LINES).into_iter();
        let lines = lines.map(|line| cut(&format!("  > {line}"), WIDTH - 1));
        let lines: Vec<String> = lines.collect();
        text += &section(
            &t!("one.output"),
            &format!("mfe-watchdog logs {key}"),
            &lines,
        );
    }
    text
}

/// A heading with the command that shows all, and lines.
fn section(heading: &str, command: &str, lines: &[String]) -> String {
    let sudo = if geteuid().is_root() { "" } else { "sudo " };
    let mut text = format!("{heading} ({sudo}{command}):\n");
    if lines.is_empty() {
        let nothing = if geteuid().is_root() {
            t!("one.nothing")
        } else {
            t!("one.nothing_readable")
        };
        text += &format!("  {nothing}\n");
    }
    for line in lines {
        text += &format!("{line}\n");
    }
    text
}

/// Where and as whom a process runs, since when, and what it uses.
fn runs(pid: i32, now: SystemTime, zone: &TimeZone) -> Vec<String> {
    let stat = fs::read(format!("/proc/{pid}/stat")).unwrap_or_default();
    let Some(start_time) = Stat::parse(&stat).map(|stat| stat.start_time) else {
        return Vec::new();
    };
    let id = ProcessId { pid, start_time };
    let mut notes = Vec::new();
    let groups = ControlGroups::new(MOUNTED, "/proc");
    let group = groups.of_process(&pid.to_string()).ok().flatten();
    if let Some(group) = group {
        notes.push(t!("one.unit", unit = printable(&unit_in(&group))).into_owned());
    }
    let age = id.age().ok();
    let since = age.and_then(|age| now.checked_sub(age));
    let user = ProcessTable::new("/proc").identify(id);
    if let (Some(since), Some(user)) = (since, user) {
        let since = in_words(since, now, zone);
        notes.push(t!("one.process", user = user.user, pid = pid, since = since).into_owned());
    }
    if let (Some(age), Ok(Some(usage))) = (age, id.usage()) {
        let memory = bytes(usage.resident);
        let share = per_mille(usage.cpu, age);
        let share = decimal(share / 10, &(share % 10).to_string(), locale::language());
        let time = brief(Duration::from_secs(usage.cpu.as_secs()));
        notes.push(t!("one.usage", memory = memory, time = time, share = share).into_owned());
    }
    notes
}

/// The unit in whose control group a process is: of a path such as
/// `/system.slice/system-mfe.slice/mfe@a.service` the last part that is a unit with processes; else the path.
fn unit_in(group: &str) -> String {
    let kind_of = |part: &str| part.rsplit('.').next().map(str::to_owned);
    let is_unit = |part: &&str| matches!(kind_of(part).as_deref(), Some("service" | "scope"));
    let unit = group.split('/').rfind(is_unit);
    unit.unwrap_or(group).to_owned()
}

/// The health checks, and those of them that fail by what the service says.
fn checks(settings: &ProcessSettings, process: &ProcessStatus) -> Option<String> {
    let names: Vec<&str> = settings
        .checks
        .iter()
        .map(|check| check.name.as_str())
        .collect();
    if names.is_empty() {
        return None;
    }
    let said: Vec<String> = process.wording.iter().map(ToString::to_string).collect();
    let fails = |name: &&&str| {
        said.iter()
            .any(|said| said.starts_with(&format!("{name}: ")))
    };
    let failing: Vec<&&str> = names.iter().filter(fails).collect();
    Some(if failing.is_empty() {
        t!("one.checks", names = list(&names)).into_owned()
    } else {
        t!(
            "one.checks_failing",
            names = list(&names),
            failing = list(failing)
        )
        .into_owned()
    })
}

/// The last events of a program; none where the journal can't be read.
fn last_events(process: &ProcessStatus, now: SystemTime, zone: &TimeZone) -> Vec<String> {
    let names = BTreeMap::from([(process.key.clone(), process.name.clone())]);
    let wanted = Wanted {
        key: Some(&process.key),
        lines: EVENTS,
        follow: false,
        within: Some(TIMEOUT),
    };
    let mut lines = Vec::new();
    let take = |told: &Told| {
        lines.push(events::lines(told, &names, now, zone, "  "));
        Ok(true)
    };
    // The heading has the command that says why.
    let _ = events::read(wanted, take);
    lines
}

/// A size as people read it.
fn bytes(bytes: u64) -> String {
    let kib = bytes / 1024;
    match kib {
        0..=1023 => format!("{kib} KiB"),
        1024..=1_048_575 => format!("{} MiB", in_1024ths(kib)),
        _ => format!("{} GiB", in_1024ths(kib / 1024)),
    }
}

/// So many 1024ths, with one decimal.
fn in_1024ths(count: u64) -> String {
    decimal(
        count / 1024,
        &(count % 1024 * 10 / 1024).to_string(),
        locale::language(),
    )
}

/// How much of one CPU, in thousandths.
fn per_mille(cpu: Duration, age: Duration) -> u64 {
    let share = (cpu.as_millis() * 1000).checked_div(age.as_millis());
    share
        .and_then(|share| u64::try_from(share).ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_in_the_unit_that_fits() {
        for (size, expected) in [
            (0, "0 KiB"),
            (1023 << 10, "1023 KiB"),
            ((45 << 20) + (205 << 10), "45.2 MiB"),
            ((3 << 30) + (512 << 20), "3.5 GiB"),
            (u64::MAX, "17179869183.9 GiB"),
        ] {
            assert_eq!(bytes(size), expected);
        }
        let (cpu, age) = (Duration::from_millis(12), Duration::from_secs(1));
        assert_eq!(per_mille(cpu, age), 12);
        assert_eq!(per_mille(cpu, Duration::ZERO), 0);
    }

    #[test]
    fn the_unit_is_the_innermost_that_has_processes() {
        for (group, expected) in [
            (
                "/system.slice/system-mfe.slice/mfe@a.service",
                "mfe@a.service",
            ),
            ("/system.slice/cron.service/below", "cron.service"),
            (
                "/user.slice/user-1000.slice/session-2.scope",
                "session-2.scope",
            ),
            ("/", "/"),
        ] {
            assert_eq!(unit_in(group), expected);
        }
    }
}
