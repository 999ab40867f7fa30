//! Whether the service lives, and which process it is: told by its pid and its start time, which nobody
//! can forge or hold, neither a lock nor a file alone. What it publishes is in [`super`].

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::Status;
use super::directories::Directories;
use crate::proc::{ProcessId, Stat};
use crate::sys::lock::LastLook;
use crate::sys::small_file;
use crate::text::phrase::Phrase;

/// The record's name in the state directory.
const FILE_NAME: &str = "service.json";

/// What is known of the service that uses some directories.
#[derive(Debug)]
pub enum Service {
    /// It runs, and has published this.
    Published(Status),
    /// It runs under this pid, and what it has published isn't there: it has just begun, or somebody has
    /// removed it.
    Unpublished {
        /// Its pid.
        pid: i32,
        /// Whether its runtime directory is there.
        has_directory: bool,
    },
    /// It runs under this pid, and what is in its status's place can't be used; the phrase says why.
    Unreadable(i32, Phrase),
    /// It doesn't run. What it had last published, if that is still there.
    NotRunning(Option<Status>),
    /// It is unknown whether it is running; the phrase says why.
    Unknown(Phrase),
}

impl Service {
    /// Looks for the service of some directories. Needs no privileges.
    #[must_use]
    pub fn find(directories: &Directories) -> Self {
        let status = match Status::read(&directories.runtime) {
            Ok(Some(status)) if status.is_of_a_living_service() => {
                return Self::Published(status);
            }
            status => status,
        };
        let record = Record::read(&directories.state);
        let record = record.filter(|record| record.runtime_dir == directories.runtime);
        match (record, status) {
            (Some(record), status) if record.lives() => match status {
                Ok(_) => Self::Unpublished {
                    pid: record.pid,
                    has_directory: directories.runtime.is_dir(),
                },
                Err(why) => Self::Unreadable(record.pid, why),
            },
            // A file that can't be read changes nothing about that.
            (Some(_), status) => Self::NotRunning(last(directories, status.ok().flatten())),
            (None, Ok(status)) => Self::NotRunning(last(directories, status)),
            (None, Err(why)) => Self::Unknown(why),
        }
    }

    /// Its pid, if it runs.
    #[must_use]
    pub fn pid(&self) -> Option<i32> {
        match self {
            Self::Published(status) => i32::try_from(status.pid).ok(),
            Self::Unpublished { pid, .. } | Self::Unreadable(pid, _) => Some(*pid),
            Self::NotRunning(_) | Self::Unknown(_) => None,
        }
    }
}

/// What a service that doesn't run has last published, which was so until its last look.
fn last(directories: &Directories, status: Option<Status>) -> Option<Status> {
    let mut status = status?;
    if let Some(look) = LastLook::read(&directories.runtime) {
        status.updated_at = status.updated_at.max(look.at.into());
    }
    Some(status)
}

/// Which process the service is. It is kept in the state directory, beyond the reach of whoever removes
/// the runtime directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its pid.
    pub pid: i32,
    start_time: u64,
    /// What its process is called: after a reboot another one may have pid and start time.
    name: String,
    /// The directory in which it publishes.
    pub runtime_dir: PathBuf,
    /// The version of its program; earlier ones don't tell.
    #[serde(default)]
    pub version: Option<String>,
    /// The configuration file, if one was named.
    #[serde(default)]
    pub config: Option<PathBuf>,
}

impl Record {
    /// Of this very process.
    ///
    /// # Errors
    /// When /proc can't be read.
    pub fn of_this_process(runtime_dir: &Path, config: Option<&Path>) -> io::Result<Self> {
        let text = fs::read("/proc/self/stat")?;
        let stat = Stat::parse(&text).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self {
            pid: Pid::this().as_raw(),
            start_time: stat.start_time,
            name: String::from_utf8_lossy(stat.comm).into_owned(),
            runtime_dir: runtime_dir.to_owned(),
            version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            config: config.map(Path::to_owned),
        })
    }

    /// Puts it in the state directory.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn write(&self, state_dir: &Path) -> io::Result<()> {
        small_file::replace(state_dir, FILE_NAME, &serde_json::to_vec(self)?)
    }

    /// The one in a state directory; `None` unless it is there and good.
    #[must_use]
    pub fn read(state_dir: &Path) -> Option<Self> {
        let text = small_file::read(state_dir, FILE_NAME).ok()??;
        serde_json::from_slice(&text).ok()
    }

    /// Its process, for as long as the machine runs.
    #[must_use]
    pub fn id(&self) -> ProcessId {
        ProcessId {
            pid: self.pid,
            start_time: self.start_time,
        }
    }

    /// Whether that very process lives, and isn't this one.
    #[must_use]
    pub fn lives(&self) -> bool {
        self.pid != Pid::this().as_raw()
            && lives(self.pid, |stat| {
                stat.start_time == self.start_time && stat.comm == self.name.as_bytes()
            })
    }
}

impl Status {
    /// Whether the service that has published this lives.
    #[must_use]
    pub fn is_of_a_living_service(&self) -> bool {
        let Ok(pid) = i32::try_from(self.pid) else {
            return false;
        };
        lives(pid, |stat| match self.start_time {
            Some(start_time) => stat.start_time == start_time,
            // Published by an earlier version.
            None => stat.comm == b"mfe-watchdog",
        })
    }
}

/// Whether a process lives that is what it should be. Where /proc hides other users' processes (proc(5),
/// `hidepid=`) it is known that there is one of this pid, and no more.
fn lives(pid: i32, is_it: impl Fn(&Stat<'_>) -> bool) -> bool {
    if pid <= 0 {
        return false;
    }
    match fs::read(format!("/proc/{pid}/stat")) {
        Ok(text) => Stat::parse(&text).is_some_and(|stat| !stat.is_dead() && is_it(&stat)),
        Err(_) => kill(Pid::from_raw(pid), None) == Err(Errno::EPERM),
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    struct Sleeper(Child);

    impl Sleeper {
        fn new() -> Self {
            Self(Command::new("sleep").arg("600").spawn().unwrap())
        }

        fn record(&self) -> Record {
            let pid = i32::try_from(self.0.id()).unwrap();
            loop {
                let text = fs::read(format!("/proc/{pid}/stat")).unwrap();
                let stat = Stat::parse(&text).unwrap();
                // Until it has become sleep, it is called as this process is.
                if stat.comm == b"sleep" {
                    return Record {
                        pid,
                        start_time: stat.start_time,
                        name: "sleep".into(),
                        runtime_dir: "/run/x".into(),
                        version: None,
                        config: None,
                    };
                }
            }
        }
    }

    impl Drop for Sleeper {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    fn the_very_process_is_known_until_it_is_dead() {
        let mut sleeper = Sleeper::new();
        let record = sleeper.record();
        assert!(record.lives());
        let later = Record {
            start_time: record.start_time + 1,
            ..record.clone()
        };
        assert!(!later.lives(), "another process under its pid");
        let other = Record {
            name: "mfe-watchdog".into(),
            ..record.clone()
        };
        assert!(!other.lives(), "another process after a reboot");
        sleeper.0.kill().unwrap();
        // Dead, and not reaped.
        while !fs::read_to_string(format!("/proc/{}/stat", record.pid))
            .unwrap()
            .contains(") Z ")
        {}
        assert!(!record.lives());
    }

    #[test]
    fn this_process_is_no_other_one() {
        let directory = tempfile::tempdir().unwrap();
        let record = Record::of_this_process(directory.path(), None).unwrap();
        assert!(!record.lives());
        record.write(directory.path()).unwrap();
        assert_eq!(Record::read(directory.path()), Some(record));
    }

    #[test]
    fn what_lives_is_told_by_the_record_where_nothing_is_published() {
        let state = tempfile::tempdir().unwrap();
        let sleeper = Sleeper::new();
        let directories = Directories {
            runtime: "/run/x".into(),
            state: state.path().to_owned(),
        };
        assert!(matches!(
            Service::find(&directories),
            Service::NotRunning(None)
        ));
        let record = sleeper.record();
        record.write(state.path()).unwrap();
        let found = Service::find(&directories);
        assert!(
            matches!(found, Service::Unpublished { pid, has_directory: false } if pid == record.pid),
            "{found:?}"
        );
        let elsewhere = Directories {
            runtime: "/run/y".into(),
            ..directories
        };
        let found = Service::find(&elsewhere);
        assert!(matches!(found, Service::NotRunning(None)), "{found:?}");
    }
}
