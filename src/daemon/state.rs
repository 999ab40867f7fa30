//! What the service remembers beyond its own end, so that neither its crash nor an upgrade can become a
//! storm of starts, and no power cut ends a pause: form, file, reading. What is worth remembering is
//! decided in [`crate::machine`].
//!
//! Times are kept by the monotonic clock (clock_gettime(2), CLOCK_MONOTONIC), which goes on whatever
//! somebody does to the wall clock, together with the boot (proc(5), random/boot_id) they belong to. In
//! another boot only what happened by the wall clock is left, and of a pause the time that it still has
//! to run; on another machine (machine-id(5)), set up from this one's image, nothing is.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mfe_common::timestamp::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::effective_config::EffectiveConfig;
use crate::machine::{
    Absence, Backoff, Cause, CommandId, Memory, Origin, PAUSE_MAX, Pause, Program,
};
use crate::proc::ProcessId;
use crate::status::LastRestart;
use crate::status::service::Record;
use crate::supervisor::{Remembered, Standing};
use crate::sys::host::{boot_id, machine_id, monotonic};
use crate::sys::small_file::{self, Durability, Rights};
use crate::text::phrase::{Phrase, phrase};

/// The file's name in the state directory.
const FILE_NAME: &str = "state.json";

/// What a file that can't be used is renamed to.
const SET_ASIDE: &str = "state.json.corrupt";

/// The version of the form.
const VERSION: u32 = 1;

/// No more of a pause is lost to a power cut: how often the time that it still has to run is written.
const PAUSE_STEP: Duration = Duration::from_secs(60);

/// Nothing is waited for any longer: neither a start nor the end of a pause.
const LONGEST_WAIT: Duration = PAUSE_MAX;

/// What is known of one process has several parts, whose members stand side by side: that is a plain map
/// to serde. All times in milliseconds of the monotonic clock.
#[derive(Debug, Serialize, Deserialize)]
struct File {
    version: u32,
    #[serde(default)]
    machine_id: String,
    boot_id: String,
    /// When it was written.
    #[serde(default)]
    written: u64,
    processes: Vec<Value>,
}

/// What outlives the boot.
#[derive(Debug, Serialize, Deserialize)]
struct Lasting {
    key: String,
    name: String,
    #[serde(default)]
    rules: String,
    last_restart: Option<LastRestart>,
    #[serde(default)]
    recent_restarts: Vec<Timestamp>,
    #[serde(default)]
    pause: Option<Pausing>,
}

/// What is of one boot, a [`Memory`] but for what has parts of its own. What isn't in the file is as in a
/// new one.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Memory", default = "Memory::default")]
struct OfTheBoot {
    restarts: u64,
    #[serde(skip)]
    backoff: Backoff,
    #[serde(with = "time")]
    not_before: Option<Instant>,
    #[serde(with = "time")]
    starting_until: Option<Instant>,
    #[serde(flatten)]
    starting: Origin,
    may_have_gone_elsewhere: bool,
    #[serde(with = "ids")]
    renamed: Vec<ProcessId>,
    #[serde(with = "ids")]
    misfits: Vec<ProcessId>,
    late_starts: u32,
    failed_starts: u32,
    #[serde(with = "time")]
    retry_at: Option<Instant>,
    failed_command: Option<CommandId>,
    #[serde(with = "ids")]
    alive: Vec<ProcessId>,
    #[serde(with = "time")]
    up_since: Option<Instant>,
    up_at: Option<u64>,
    #[serde(skip)]
    seen_alive: Option<Instant>,
    #[serde(with = "absence")]
    absence: Option<Absence>,
    session_uid: Option<u32>,
    #[serde(skip)]
    pause: Option<Pause>,
    program: Option<Program>,
}

/// The deaths that aren't forgotten.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Crashes {
    deaths: u32,
    restarted: Vec<u64>,
    is_crash_loop: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct Pausing {
    until: u64,
    reason: Option<String>,
}

/// A time, as milliseconds; one that can't be is none.
mod time {
    use std::time::Instant;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Clock;

    #[allow(clippy::ref_option, reason = "serde's form")]
    pub(super) fn serialize<S: Serializer>(
        time: &Option<Instant>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let clock = Clock::now();
        time.map(|time| clock.to_milliseconds(time))
            .serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Instant>, D::Error> {
        let time = Option::<u64>::deserialize(deserializer)?;
        Ok(time.and_then(|time| Clock::now().to_instant(time)))
    }
}

/// Processes, each as its pid and its start time.
mod ids {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::proc::ProcessId;

    pub(super) fn serialize<S: Serializer>(
        ids: &[ProcessId],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let ids = ids.iter().map(|id| (id.pid, id.start_time));
        ids.collect::<Vec<_>>().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<ProcessId>, D::Error> {
        let ids = Vec::<(i32, u64)>::deserialize(deserializer)?.into_iter();
        let ids = ids.map(|(pid, start_time)| ProcessId { pid, start_time });
        Ok(ids.collect())
    }
}

/// An outage; one whose begin can't be is none.
mod absence {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::{Absence, Cause, Clock};

    #[derive(Serialize, Deserialize)]
    struct Form {
        since: u64,
        /// Earlier versions have noticed every end at once.
        noticed: Option<u64>,
        cause: Cause,
    }

    #[allow(clippy::ref_option, reason = "serde's form")]
    pub(super) fn serialize<S: Serializer>(
        absence: &Option<Absence>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let clock = Clock::now();
        let form = absence.map(|absence| Form {
            since: clock.to_milliseconds(absence.since),
            noticed: Some(clock.to_milliseconds(absence.noticed)),
            cause: absence.cause,
        });
        form.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Absence>, D::Error> {
        let form = Option::<Form>::deserialize(deserializer)?;
        Ok(form.and_then(|form| {
            let clock = Clock::now();
            let since = clock.to_instant(form.since)?;
            let noticed = form.noticed.and_then(|time| clock.to_instant(time));
            Some(Absence {
                since,
                noticed: noticed.unwrap_or(since),
                cause: form.cause,
            })
        }))
    }
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

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Writes what is to be remembered into `directory`, which is made if it isn't there. It outlives a
/// power cut if `is_durable`.
///
/// # Errors
/// When it can't be written; what was there before still is.
pub fn write(directory: &Path, remembered: &[Remembered], is_durable: bool) -> io::Result<()> {
    let clock = Clock::now();
    let processes = remembered.iter().map(|remembered| form(remembered, clock));
    let file = File {
        version: VERSION,
        machine_id: machine_id(),
        boot_id: boot_id()?,
        written: clock.milliseconds,
        processes: processes.collect::<Result<_, _>>()?,
    };
    let text = serde_json::to_vec(&file)?;
    let durability = if is_durable {
        Durability::Synced
    } else {
        Durability::Cached
    };
    fs::create_dir_all(directory)?;
    small_file::replace_with(directory, FILE_NAME, &text, Rights::PUBLIC, durability)
}

fn form(remembered: &Remembered, clock: Clock) -> serde_json::Result<Value> {
    let Remembered {
        key,
        name,
        rules,
        memory,
        last_restart,
        recent_restarts,
    } = remembered.clone();
    let pause = memory.pause.as_ref().map(|pause| Pausing {
        until: clock.to_milliseconds(pause.until),
        reason: pause.reason.clone(),
    });
    let restarted = memory.backoff.restarts();
    let deaths = Crashes {
        deaths: memory.backoff.deaths(),
        restarted: restarted.map(|time| clock.to_milliseconds(time)).collect(),
        is_crash_loop: memory.backoff.is_crash_loop(),
    };
    let lasting = Lasting {
        key,
        name,
        rules,
        last_restart,
        recent_restarts,
        pause,
    };
    let parts = [
        serde_json::to_value(lasting)?,
        OfTheBoot::serialize(&memory, serde_json::value::Serializer)?,
        serde_json::to_value(deaths)?,
    ];
    let parts = parts.into_iter().filter_map(|part| match part {
        Value::Object(members) => Some(members),
        _ => None,
    });
    Ok(Value::Object(parts.flatten().collect()))
}

/// Reads what was last written into `directory`, as far as it counts in this boot; nothing when nothing
/// was written on this machine.
///
/// # Errors
/// When there is something that can't be used.
pub fn read(directory: &Path) -> Result<Vec<Remembered>, Phrase> {
    let Some(text) = small_file::read(directory, FILE_NAME)? else {
        return Ok(Vec::new());
    };
    understand(&text).map_err(|error| {
        phrase!(
            "%{file} isn't in this service's form: %{error}",
            file = directory.join(FILE_NAME).display().to_string(),
            error = error.to_string()
        )
    })
}

fn understand(text: &[u8]) -> serde_json::Result<Vec<Remembered>> {
    let file: File = serde_json::from_slice(text)?;
    let is_of_this_boot = boot_id().is_ok_and(|id| id == file.boot_id);
    // An earlier version has named the boot alone, and written where nothing outlives it.
    let is_of_this_machine = match file.machine_id.as_str() {
        "" => is_of_this_boot,
        id => id == machine_id(),
    };
    if file.version != VERSION || !is_of_this_machine {
        return Ok(Vec::new());
    }
    let clock = Clock::now();
    let remembered = file.processes.into_iter().map(|process| {
        let lasting = Lasting::deserialize(&process)?;
        let pause = lasting.pause.and_then(|pause| {
            let until = if is_of_this_boot {
                pause.until
            } else {
                let left = pause.until.checked_sub(file.written)?;
                clock.milliseconds.saturating_add(left)
            };
            let until = clock.to_instant(until)?;
            let reason = pause.reason;
            Some(Pause { until, reason })
        });
        let memory = if is_of_this_boot {
            let deaths = Crashes::deserialize(&process)?;
            let restarted = deaths.restarted.into_iter();
            let restarted = restarted.filter_map(|time| clock.to_instant(time));
            let restarted = restarted.collect();
            Memory {
                backoff: Backoff::remembered(deaths.deaths, restarted, deaths.is_crash_loop),
                // Whatever was alive was watched until then.
                seen_alive: clock.to_instant(file.written),
                ..OfTheBoot::deserialize(process)?
            }
        } else {
            Memory::default()
        };
        Ok(Remembered {
            key: lasting.key,
            name: lasting.name,
            rules: lasting.rules,
            memory: Memory { pause, ..memory },
            last_restart: lasting.last_restart,
            recent_restarts: lasting.recent_restarts,
        })
    });
    remembered.collect()
}

/// Moves out of the way what can't be used, so that the next one can be written.
///
/// # Errors
/// When it can't be moved; then writing will say what is wrong.
pub fn set_aside(directory: &Path) -> io::Result<()> {
    fs::rename(directory.join(FILE_NAME), directory.join(SET_ASIDE))
}

/// Writes what the next run of the service has to know, whenever that has changed. What can't be written
/// is tried again.
#[derive(Debug)]
pub(super) struct Keeper {
    directory: PathBuf,
    /// Where earlier versions have kept it.
    earlier: PathBuf,
    /// What is yet to be written: which process the service is, and the settings in force.
    record: Option<Record>,
    config: Option<Arc<EffectiveConfig>>,
    written: Vec<Arc<Memory>>,
    written_at: Option<Instant>,
    /// When the pauses end, by the keys of their processes, as was written last.
    pauses: BTreeMap<String, Instant>,
}

impl Keeper {
    /// Keeps it in `directory`. `earlier` is where earlier versions have kept it: what is there is
    /// read if there is nothing in `directory`, and removed once something is.
    pub(super) fn new(directory: &Path, earlier: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            earlier: earlier.to_owned(),
            record: None,
            config: None,
            written: Vec::new(),
            written_at: None,
            pauses: BTreeMap::new(),
        }
    }

    /// What an earlier run of the service has left. What can't be used is set aside.
    ///
    /// # Errors
    /// When there is something that can't be used; the phrase says why.
    pub(super) fn read(&self) -> Result<Vec<Remembered>, Phrase> {
        let is_there = |directory: &Path| fs::symlink_metadata(directory.join(FILE_NAME)).is_ok();
        let directory = if !is_there(&self.directory) && is_there(&self.earlier) {
            &self.earlier
        } else {
            &self.directory
        };
        read(directory).inspect_err(|_| {
            // If that fails, so will the next writing, and say why.
            let _ = set_aside(directory);
        })
    }

    /// Keeps which process the service is.
    pub(super) fn keep_record(&mut self, record: Record) {
        self.record = Some(record);
    }

    /// Keeps the settings in force, for a start with a configuration that can't be used.
    pub(super) fn keep_config(&mut self, config: Arc<EffectiveConfig>) {
        self.config = Some(config);
    }

    /// Writes what is to be kept and isn't yet; `None` when there was nothing to write.
    pub(super) fn keep(&mut self) -> Option<io::Result<()>> {
        let directory = &self.directory;
        let record = self.record.as_ref().map(|record| {
            fs::create_dir_all(directory)?;
            record.write(directory)
        });
        self.record.take_if(|_| matches!(record, Some(Ok(()))));
        let config = self.config.as_ref().map(|config| config.keep(directory));
        self.config.take_if(|_| matches!(config, Some(Ok(()))));
        both(record, config)
    }

    /// Writes what has changed; `None` when there was nothing to write. A pause is written again from time
    /// to time, for only the time in which it was in force counts. At the end all is written once more:
    /// what was alive was watched until then.
    pub(super) fn remember(
        &mut self,
        standings: &[&Standing],
        is_end: bool,
    ) -> Option<io::Result<()>> {
        let kept = self.keep();
        let remembered = self.write_if_changed(standings, is_end);
        both(kept, remembered)
    }

    fn write_if_changed(
        &mut self,
        standings: &[&Standing],
        is_end: bool,
    ) -> Option<io::Result<()>> {
        let pauses: BTreeMap<String, Instant> = standings
            .iter()
            .filter_map(|one| {
                let pause = one.memory.pause.as_ref()?;
                Some((one.status.key.clone(), pause.until))
            })
            .collect();
        let is_new = |time: Instant| time.elapsed() < PAUSE_STEP;
        let is_old = !pauses.is_empty() && (is_end || !self.written_at.is_some_and(is_new));
        let mut memories = standings.iter().map(|one| &one.memory);
        let is_same = self.written_at.is_some()
            && self.written.len() == standings.len()
            && self
                .written
                .iter()
                .all(|memory| memories.next() == Some(memory));
        if is_same && !is_old && !is_end {
            return None;
        }
        let remembered = standings.iter().map(|one| Remembered {
            key: one.status.key.clone(),
            name: one.status.name.clone(),
            rules: one.rules.clone(),
            memory: Memory::clone(&one.memory),
            last_restart: one.status.last_restart.clone(),
            recent_restarts: one.recent_restarts.clone(),
        });
        let remembered: Vec<Remembered> = remembered.collect();
        // Of the rest a power cut may take the last: what it was about has ended with the boot.
        let is_durable = !pauses.is_empty() || !self.pauses.is_empty();
        let written = write(&self.directory, &remembered, is_durable);
        if written.is_ok() {
            self.written = standings.iter().map(|one| one.memory.clone()).collect();
            self.written_at = Some(Instant::now());
            self.pauses = pauses;
            if self.earlier != self.directory {
                let _ = fs::remove_file(self.earlier.join(FILE_NAME));
            }
        }
        Some(written)
    }

    /// Has the memory written again, whatever was written: it may be gone.
    pub(super) fn forget_written(&mut self) {
        self.written_at = None;
    }
}

/// The first failure of two attempts; `None` when there was none.
fn both(first: Option<io::Result<()>>, second: Option<io::Result<()>>) -> Option<io::Result<()>> {
    match (first, second) {
        (Some(first), Some(second)) => Some(first.and(second)),
        (first, second) => first.or(second),
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::machine::Child;

    fn all_that_can_be_remembered() -> Remembered {
        let second = Duration::from_secs(1);
        let before = Instant::now();
        let now = before + second;
        let child = ProcessId {
            pid: 812,
            start_time: 4713,
        };
        Remembered {
            key: "comunicador".into(),
            name: "Comunicador".into(),
            rules: "exe".into(),
            memory: Memory {
                restarts: 7,
                backoff: Backoff::remembered(5, [before, now].into(), true),
                not_before: Some(now + second),
                starting_until: Some(now + 30 * second),
                starting: Origin {
                    since: Some(4712),
                    child: Some(Child::new(child, 0)),
                },
                may_have_gone_elsewhere: true,
                renamed: vec![ProcessId {
                    pid: 42,
                    start_time: 4711,
                }],
                misfits: Vec::new(),
                late_starts: 2,
                failed_starts: 7,
                retry_at: Some(now + 300 * second),
                failed_command: Some(CommandId {
                    device: 1,
                    inode: 2,
                    modified: (3, 4),
                    mode: 0o100_755,
                }),
                alive: vec![ProcessId {
                    pid: 42,
                    start_time: 4711,
                }],
                up_since: Some(before),
                up_at: Some(4712),
                seen_alive: None,
                absence: Some(Absence {
                    since: before,
                    noticed: now,
                    cause: Cause::Killed(9),
                }),
                session_uid: Some(1000),
                pause: Some(Pause {
                    until: now + 60 * second,
                    reason: Some("driver".into()),
                }),
                program: serde_json::from_value(serde_json::json!({
                    "uids": [1000, 0], "user": "pdv", "path": "/x",
                }))
                .unwrap(),
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
        memory.seen_alive = None;
        let absence = memory.absence.take();
        let cause = absence.map(|absence| absence.cause);
        let times = [
            seconds(&mut memory.not_before),
            seconds(&mut memory.starting_until),
            seconds(&mut memory.up_since),
            seconds(&mut memory.retry_at),
            seconds(&mut absence.map(|absence| absence.since)),
            seconds(&mut absence.map(|absence| absence.noticed)),
            seconds(&mut memory.pause.take().map(|pause| pause.until)),
        ];
        format!("{times:?} {cause:?} {remembered:?}")
    }

    #[test]
    fn what_is_written_is_read_again() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(read(directory.path()).unwrap(), []);
        let remembered = all_that_can_be_remembered();
        write(directory.path(), std::slice::from_ref(&remembered), true).unwrap();
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

    /// What is read of a file in which these parts were replaced.
    fn read_with(remembered: &Remembered, replace: impl Fn(&mut File)) -> Vec<Remembered> {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), std::slice::from_ref(remembered), false).unwrap();
        let path = directory.path().join(FILE_NAME);
        let mut file = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        replace(&mut file);
        fs::write(&path, serde_json::to_vec(&file).unwrap()).unwrap();
        read(directory.path()).unwrap()
    }

    #[test]
    fn of_another_boot_a_pause_keeps_what_it_has_to_run() {
        let mut remembered = all_that_can_be_remembered();
        let at = SystemTime::UNIX_EPOCH.into();
        remembered.recent_restarts = vec![at];
        remembered.last_restart = Some(LastRestart {
            at,
            cause: "killed".into(),
            signal: Some("SIGSEGV".into()),
            outage_ms: 7,
        });
        let hour = 3_600_000;
        // The pause was written an hour before its end, at some time of a boot that is over.
        let left = |until: u64| {
            let read = read_with(&remembered, |file| {
                file.boot_id = "another".into();
                file.written = 5 * hour;
                file.processes[0]["pause"]["until"] = until.into();
            });
            let now = Instant::now();
            let [mut read] = <[Remembered; 1]>::try_from(read).unwrap();
            let pause = read.memory.pause.take();
            assert_eq!(read.memory, Memory::default(), "pids, delays, starts");
            assert_eq!(read.last_restart, remembered.last_restart);
            assert_eq!(read.recent_restarts, remembered.recent_restarts);
            let pause = pause?;
            assert_eq!(pause.reason.as_deref(), Some("driver"));
            Some(
                pause
                    .until
                    .saturating_duration_since(now)
                    .as_secs_f64()
                    .round(),
            )
        };
        assert_eq!(left(6 * hour), Some(3600.0));
        assert_eq!(left(29 * hour), Some(86_400.0), "the longest");
        assert_eq!(left(30 * hour), None, "nobody can have paused for longer");
        assert_eq!(left(5 * hour - 1), None, "it was over");
    }

    #[test]
    fn another_machine_tells_nothing() {
        let remembered = all_that_can_be_remembered();
        let with_id = |id: &str| read_with(&remembered, |file| file.machine_id = id.into()).len();
        assert_eq!(with_id("another"), 0);
        assert_eq!(with_id(&machine_id()), 1);
        assert_eq!(with_id(""), 1, "an earlier version's");
        let of_another_boot = read_with(&remembered, |file| {
            file.machine_id = String::new();
            file.boot_id = "another".into();
        });
        assert_eq!(of_another_boot, []);
    }

    #[test]
    fn the_form_of_an_earlier_version_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let text = format!(
            r#"{{"version":1,"boot_id":"{}","processes":[{{"key":"a","name":"A","restarts":3,"last_restart":null,
            "recent_restarts":[],"deaths":2,"restarted":[1],"is_crash_loop":true,"not_before":null,
            "starting_until":5,"alive":[[42,4711]],"up_since":null,"absence":{{"since":1,"cause":"gone"}},
            "pause":{{"until":1,"reason":"x"}}}}]}}"#,
            boot_id().unwrap()
        );
        fs::write(directory.path().join(FILE_NAME), text).unwrap();
        let [read] = <[Remembered; 1]>::try_from(read(directory.path()).unwrap()).unwrap();
        let memory = &read.memory;
        assert_eq!((memory.restarts, memory.backoff.deaths()), (3, 2));
        assert!(memory.backoff.is_crash_loop() && memory.starting_until.is_some());
        let id = ProcessId {
            pid: 42,
            start_time: 4711,
        };
        assert_eq!(memory.alive, [id]);
        assert_eq!(
            memory.absence.map(|absence| absence.cause),
            Some(Cause::Gone)
        );
        assert_eq!(memory.pause.as_ref().unwrap().reason.as_deref(), Some("x"));
    }

    #[test]
    fn what_an_earlier_version_has_kept_elsewhere_is_read_once() {
        let directory = tempfile::tempdir().unwrap();
        let [new, old] = ["new", "old"].map(|name| directory.path().join(name));
        let remembered = all_that_can_be_remembered();
        write(&old, std::slice::from_ref(&remembered), false).unwrap();
        let mut keeper = Keeper::new(&new, &old);
        assert_eq!(keeper.read().unwrap().len(), 1);
        assert_eq!(keeper.read().unwrap().len(), 1, "it wasn't written yet");
        keeper.remember(&[], false).unwrap().unwrap();
        assert!(!old.join(FILE_NAME).exists());
        assert_eq!(keeper.read().unwrap(), []);
        assert!(keeper.remember(&[], false).is_none(), "nothing has changed");
        assert!(keeper.remember(&[], true).is_some(), "watched until now");
        keeper.forget_written();
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
