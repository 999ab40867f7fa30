//! Whether the clock is far behind, which it is when files come from its future; what time it really
//! is, it can't know.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rust_i18n::t;

use super::root::View;
use super::{Examination, Machine};

/// Files that are written now and then.
const FILES: [&str; 5] = [
    "/usr/bin/mfe-watchdog",
    "/var/lib/dpkg/status",
    "/var/lib/systemd/timesync/clock",
    "/var/lib/systemd/clock",
    "/var/log/wtmp",
];

/// The journal: each machine has a folder of its own in it.
const JOURNAL: &str = "/var/log/journal";

/// Less than this is no harm, and may be daylight saving time or a time zone.
const TOLERATED: Duration = Duration::from_secs(4 * 3600);

pub(super) fn examine(machine: &Machine, view: &mut View<'_>, found: &mut Examination) {
    let journals = view.folder(Path::new(JOURNAL));
    let journals: Vec<PathBuf> = journals
        .iter()
        .flat_map(|folder| view.folder(folder))
        .collect();
    let files = FILES.iter().map(PathBuf::from).chain(journals);
    let times = files.filter_map(|file| view.metadata(&file)?.modified().ok());
    let newest = times.max();
    if let Some(behind) = newest.and_then(|newest| behind(machine.now, newest)) {
        let days = behind.as_secs() / 86400;
        let hours = behind.as_secs() / 3600 % 24;
        let text = t!("doctor.clock_behind", days = days, hours = hours);
        found.find("clock-behind", text, "sudo timedatectl set-ntp true");
    } else if machine.systemd.is_clock_synchronized == Some(false) {
        found.note(t!("doctor.clock_alone"));
    }
}

/// How far a clock that shows `now` is behind, at least, when there is something from `newest`.
fn behind(now: SystemTime, newest: SystemTime) -> Option<Duration> {
    let behind = newest.duration_since(now).ok()?;
    (behind > TOLERATED).then_some(behind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_behind_what_was_written_later() {
        let at = |hours: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(hours * 3600);
        assert_eq!(behind(at(100), at(99)), None);
        assert_eq!(behind(at(100), at(104)), None);
        assert_eq!(
            behind(at(100), at(105)),
            Some(Duration::from_secs(5 * 3600))
        );
    }
}
