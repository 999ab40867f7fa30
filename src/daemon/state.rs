//! What the service remembers beyond its own end, so that its crash can't become a storm of starts:
//! form, file, reading. What is worth remembering is decided in [`crate::machine`].
//!
//! Times are kept by the monotonic clock (clock_gettime(2), CLOCK_MONOTONIC), which goes on whatever
//! somebody does to the wall clock, together with the boot (proc(5), random/boot_id) it belongs to.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::machine::{Absence, Backoff, Cause, Memory, PAUSE_MAX, Pause};
use crate::proc::ProcessId;
use crate::status::LastRestart;
use crate::supervisor::Remembered;
use crate::sys::host::{boot_id, monotonic};
use crate::sys::small_file;
use crate::text::phrase::{Phrase, phrase};
use crate::text::timestamp::Timestamp;

/// The file's name in the runtime directory.
const FILE_NAME: &str = "state.json";

/// What a file that can't be used is renamed to.
const SET_ASIDE: &str = "state.json.corrupt";

/// The version of the form.
const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
struct File {
    version: u32,
    boot_id: String,
    processes: Vec<Process>,
}

/// All times in milliseconds of the monotonic clock.
#[derive(Debug, Serialize, Deserialize)]
struct Process {
    key: String,
    name: String,
    restarts: u64,
    last_restart: Option<LastRestart>,
    #[serde(default)]
    recent_restarts: Vec<Timestamp>,
    deaths: u32,
    restarted: Vec<u64>,
    is_crash_loop: bool,
    not_before: Option<u64>,
    starting_until: Option<u64>,
    /// In clock ticks since boot.
    #[serde(default)]
    starting_since: Option<u64>,
    #[serde(default)]
    renamed: Vec<(i32, u64)>,
    #[serde(default)]
    misfits: Vec<(i32, u64)>,
    #[serde(default)]
    late_starts: u32,
    #[serde(default)]
    rules: String,
    alive: Vec<(i32, u64)>,
    up_since: Option<u64>,
    #[serde(default)]
    absence: Option<Absent>,
    pause: Option<Pausing>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Absent {
    since: u64,
    cause: Cause,
}

#[derive(Debug, Serialize, Deserialize)]
struct Pausing {
    until: u64,
    reason: Option<String>,
}

/// Two readings of the one clock, in the two forms that it is known by.
#[derive(Debug, Clone, Copy)]
struct Clock {
    instant: Instant,
    milliseconds: u64,
}

impl Clock {
    fn now() -> Self {
        Self {
            instant: Instant::now(),
            milliseconds: milliseconds(monotonic()),
        }
    }

    fn to_milliseconds(self, instant: Instant) -> u64 {
        match instant.checked_duration_since(self.instant) {
            Some(ahead) => self.milliseconds.saturating_add(milliseconds(ahead)),
            None => self
                .milliseconds
                .saturating_sub(milliseconds(self.instant - instant)),
        }
    }

    /// `None` for a time that this boot can't have, or is further ahead than anything here waits.
    fn to_instant(self, time: u64) -> Option<Instant> {
        if let Some(ahead) = time.checked_sub(self.milliseconds) {
            let ahead = Duration::from_millis(ahead);
            return (ahead <= LONGEST_WAIT).then(|| self.instant + ahead);
        }
        let ago = Duration::from_millis(self.milliseconds - time);
        self.instant.checked_sub(ago)
    }
}

/// Nothing is waited for any longer: neither a start nor the end of a pause.
const LONGEST_WAIT: Duration = PAUSE_MAX;

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Writes what is to be remembered into `directory`.
///
/// # Errors
/// When it can't be written; what was there before still is.
pub fn write(directory: &Path, remembered: &[Remembered]) -> io::Result<()> {
    let clock = Clock::now();
    let at = |instant: &Instant| clock.to_milliseconds(*instant);
    let processes = remembered.iter().map(|remembered| {
        let Memory {
            restarts,
            backoff,
            not_before,
            starting_until,
            starting_since,
            renamed,
            misfits,
            late_starts,
            alive,
            up_since,
            absence,
            pause,
        } = &remembered.memory;
        let ids = |ids: &[ProcessId]| ids.iter().map(|id| (id.pid, id.start_time)).collect();
        Process {
            key: remembered.key.clone(),
            name: remembered.name.clone(),
            restarts: *restarts,
            last_restart: remembered.last_restart.clone(),
            recent_restarts: remembered.recent_restarts.clone(),
            deaths: backoff.deaths(),
            restarted: backoff.restarts().map(|time| at(&time)).collect(),
            is_crash_loop: backoff.is_crash_loop(),
            not_before: not_before.as_ref().map(at),
            starting_until: starting_until.as_ref().map(at),
            starting_since: *starting_since,
            renamed: ids(renamed),
            misfits: ids(misfits),
            late_starts: *late_starts,
            rules: remembered.rules.clone(),
            alive: ids(alive),
            up_since: up_since.as_ref().map(at),
            absence: absence.map(|absence| Absent {
                since: at(&absence.since),
                cause: absence.cause,
            }),
            pause: pause.as_ref().map(|pause| Pausing {
                until: at(&pause.until),
                reason: pause.reason.clone(),
            }),
        }
    });
    let file = File {
        version: VERSION,
        boot_id: boot_id()?,
        processes: processes.collect(),
    };
    small_file::replace(directory, FILE_NAME, &serde_json::to_vec(&file)?)
}

/// Reads what was last written into `directory`; nothing when nothing was in this boot.
///
/// # Errors
/// When there is something that can't be used.
pub fn read(directory: &Path) -> Result<Vec<Remembered>, Phrase> {
    let path = directory.join(FILE_NAME);
    let file = small_file::read(directory, FILE_NAME).and_then(|text| match text {
        None => Ok(None),
        Some(text) => serde_json::from_slice::<File>(&text)
            .map(Some)
            .map_err(|error| {
                phrase!(
                    "%{file} isn't in this service's form: %{error}",
                    file = path.display().to_string(),
                    error = error.to_string()
                )
            }),
    });
    let clock = Clock::now();
    let is_of_this_boot = |file: &File| boot_id().is_ok_and(|id| id == file.boot_id);
    let file = file?.filter(|file| file.version == VERSION && is_of_this_boot(file));
    let processes = file.map(|file| file.processes).unwrap_or_default();
    Ok(processes
        .into_iter()
        .map(|process| remembered(process, clock))
        .collect())
}

/// Moves out of the way what can't be used, so that the next one can be written.
///
/// # Errors
/// When it can't be moved; then writing will say what is wrong.
pub fn set_aside(directory: &Path) -> io::Result<()> {
    fs::rename(directory.join(FILE_NAME), directory.join(SET_ASIDE))
}

fn remembered(process: Process, clock: Clock) -> Remembered {
    let at = |time: Option<u64>| clock.to_instant(time?);
    let restarted = process.restarted.into_iter().map(Some);
    let ids = |ids: Vec<(i32, u64)>| {
        let id = |(pid, start_time)| ProcessId { pid, start_time };
        ids.into_iter().map(id).collect()
    };
    Remembered {
        key: process.key,
        name: process.name,
        rules: process.rules,
        memory: Memory {
            restarts: process.restarts,
            backoff: Backoff::remembered(
                process.deaths,
                restarted.filter_map(at).collect(),
                process.is_crash_loop,
            ),
            not_before: at(process.not_before),
            starting_until: at(process.starting_until),
            starting_since: process.starting_since,
            renamed: ids(process.renamed),
            misfits: ids(process.misfits),
            late_starts: process.late_starts,
            alive: ids(process.alive),
            up_since: at(process.up_since),
            absence: process.absence.and_then(|absence| {
                let since = at(Some(absence.since))?;
                let cause = absence.cause;
                Some(Absence { since, cause })
            }),
            pause: process.pause.and_then(|pause| {
                let until = at(Some(pause.until))?;
                let reason = pause.reason;
                Some(Pause { until, reason })
            }),
        },
        last_restart: process.last_restart,
        recent_restarts: process.recent_restarts,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_that_can_be_remembered() -> Remembered {
        let second = Duration::from_secs(1);
        let before = Instant::now();
        let now = before + second;
        Remembered {
            key: "comunicador".into(),
            name: "Comunicador".into(),
            rules: "exe".into(),
            memory: Memory {
                restarts: 7,
                backoff: Backoff::remembered(5, [before, now].into(), true),
                not_before: Some(now + second),
                starting_until: Some(now + 30 * second),
                starting_since: Some(4712),
                renamed: vec![ProcessId {
                    pid: 42,
                    start_time: 4711,
                }],
                misfits: Vec::new(),
                late_starts: 2,
                alive: vec![ProcessId {
                    pid: 42,
                    start_time: 4711,
                }],
                up_since: Some(before),
                absence: Some(Absence {
                    since: before,
                    cause: Cause::Killed(9),
                }),
                pause: Some(Pause {
                    until: now + 60 * second,
                    reason: Some("driver".into()),
                }),
            },
            last_restart: None,
            recent_restarts: Vec::new(),
        }
    }

    /// The same but for what milliseconds don't tell.
    fn rounded(mut remembered: Remembered) -> String {
        remembered.memory.backoff = Backoff::default();
        let begin = Instant::now()
            .checked_sub(Duration::from_secs(3600))
            .unwrap();
        let seconds = |time: &mut Option<Instant>| {
            let since = time.map(|time| (time - begin).as_secs_f64().round());
            *time = None;
            since
        };
        let memory = &mut remembered.memory;
        let absence = memory.absence.take();
        let cause = absence.map(|absence| absence.cause);
        let times = [
            seconds(&mut memory.not_before),
            seconds(&mut memory.starting_until),
            seconds(&mut memory.up_since),
            seconds(&mut absence.map(|absence| absence.since)),
            seconds(&mut memory.pause.take().map(|pause| pause.until)),
        ];
        format!("{times:?} {cause:?} {remembered:?}")
    }

    #[test]
    fn what_is_written_is_read_again() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(read(directory.path()).unwrap(), []);
        let remembered = all_that_can_be_remembered();
        write(directory.path(), std::slice::from_ref(&remembered)).unwrap();
        let read = read(directory.path()).unwrap().remove(0);
        let backoff = &read.memory.backoff;
        assert_eq!((backoff.deaths(), backoff.is_crash_loop()), (5, true));
        assert_eq!(backoff.restarts().count(), 2);
        assert_eq!(rounded(read), rounded(remembered));
    }

    #[test]
    fn what_cannot_be_used_is_set_aside() {
        for text in ["", "{", "[]", "{\"version\":1}", "\u{0}\u{0}\u{0}"] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join(FILE_NAME);
            fs::write(&path, text).unwrap();
            let error = read(directory.path()).unwrap_err();
            assert!(error.to_string().contains(FILE_NAME), "{error}");
            set_aside(directory.path()).unwrap();
            assert!(!path.exists());
            let aside = fs::read_to_string(directory.path().join(SET_ASIDE)).unwrap();
            assert_eq!(aside, text);
            assert_eq!(read(directory.path()).unwrap(), []);
        }
    }

    #[test]
    fn another_boot_tells_nothing() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), &[all_that_can_be_remembered()]).unwrap();
        let path = directory.path().join(FILE_NAME);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace(&boot_id().unwrap(), "another")).unwrap();
        assert_eq!(read(directory.path()).unwrap(), []);
    }

    #[test]
    fn a_time_that_no_wait_can_have_is_no_time() {
        let clock = Clock::now();
        assert_eq!(clock.to_instant(u64::MAX), None);
        assert!(clock.to_instant(0).is_some(), "the boot");
        let soon = clock.milliseconds + 1000;
        assert!(
            clock
                .to_instant(soon)
                .is_some_and(|time| time > clock.instant)
        );
    }
}
