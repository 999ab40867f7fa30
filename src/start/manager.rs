//! Has systemd restart a unit of ours, `mfe@KEY.service`, by a call of its manager
//! (org.freedesktop.systemd1(5)), and learns how that went; other people's units are left to
//! [`super::unit`].

use std::path::{Path, PathBuf};

use super::job::{Job, exited, failure};
use crate::machine::{StartFailure, StartOutcome};
use crate::proc::exit_of;
use crate::sys::exit_status::ExitStatus;
use crate::systemd::dbus::{Call, Connection, Kind, SOCKET, Value};
use crate::text::phrase::{Phrase, phrase};

/// Begins to restart `unit`, whose start tells nothing (Type=simple): the job goes on until the unit's
/// main process, the start script, has ended, and tells how. `start` wouldn't do: systemd believes
/// that a unit whose start script has ended well is still active.
pub(super) fn restart_and_follow(unit: &str) -> Result<Job, StartFailure> {
    begin(Path::new(SOCKET), unit)
}

fn begin(socket: &Path, unit: &str) -> Result<Job, StartFailure> {
    let connection = Connection::open(socket)
        .map_err(|why| StartFailure::Unit(restart_failed(unit.to_owned(), why)))?;
    let (socket, unit) = (socket.to_owned(), unit.to_owned());
    Ok(Job::begin(None, Box::pin(work(connection, socket, unit))))
}

async fn work(connection: Connection, socket: PathBuf, unit: String) -> StartOutcome {
    match restart(connection, &unit).await {
        Ok(()) => follow(&socket, unit).await,
        Err(why) => failure(restart_failed(unit, why)),
    }
}

fn restart_failed(unit: String, why: Phrase) -> Phrase {
    phrase!(
        "systemd was to restart %{unit}: %{why}",
        unit = unit,
        why = why
    )
}

/// Has the unit restarted, and waits until that is done.
async fn restart(mut connection: Connection, unit: &str) -> Result<(), Phrase> {
    let restart = Call {
        path: "/org/freedesktop/systemd1",
        interface: "org.freedesktop.systemd1.Manager",
        method: "RestartUnit",
        // As systemctl has it: in place of jobs of the unit's that aren't done yet.
        arguments: [unit, "replace"],
    };
    let mut job = String::new();
    connection
        .call(&[restart], &mut |_, reply| {
            let path = reply.values().next().and_then(Value::text);
            job.push_str(path.unwrap_or_default());
        })
        .await?;
    // The signal comes after the reply, for a job begins only when systemd next has time.
    loop {
        let message = connection.message().await?;
        if message.kind != Kind::Signal || message.member != "JobRemoved" {
            continue;
        }
        let mut values = message.values().skip(1).filter_map(Value::text);
        let removed = values.next();
        if removed == Some(&job) {
            return match values.nth(1) {
                Some("done") => Ok(()),
                result => Err(phrase!(
                    "the result of its job is %{result}",
                    result = result.unwrap_or_default()
                )),
            };
        }
    }
}

/// Waits until the unit's main process has ended, and says how.
async fn follow(socket: &Path, unit: String) -> StartOutcome {
    loop {
        match MainProcess::of(socket, &unit).await {
            Ok(MainProcess { pid: Some(pid), .. }) => exit_of(pid).await,
            Ok(process) => return process.outcome(),
            Err(why) => {
                return failure(phrase!(
                    "systemd was to tell how %{unit} fares: %{why}",
                    unit = unit,
                    why = why
                ));
            }
        }
    }
}

/// What systemd knows of a unit's main process.
#[derive(Debug)]
struct MainProcess {
    /// While it runs.
    pid: Option<i32>,
    last_pid: Option<i32>,
    code: i32,
    status: i32,
    /// How many tasks the unit has; `None` where systemd doesn't count.
    tasks: Option<i64>,
}

impl MainProcess {
    async fn of(socket: &Path, unit: &str) -> Result<Self, Phrase> {
        const NAMES: [&str; 5] = [
            "MainPID",
            "ExecMainPID",
            "ExecMainCode",
            "ExecMainStatus",
            "TasksCurrent",
        ];
        let path = path_of(unit);
        let calls = NAMES.map(|name| Call {
            path: &path,
            interface: "org.freedesktop.DBus.Properties",
            method: "Get",
            arguments: ["org.freedesktop.systemd1.Service", name],
        });
        let mut numbers = [0; NAMES.len()];
        Connection::open(socket)?
            .call(&calls, &mut |serial, reply| {
                // The first serial is 1.
                let property = usize::try_from(serial).ok().and_then(|n| n.checked_sub(1));
                let number = property.and_then(|property| numbers.get_mut(property));
                let value = reply.values().next().and_then(Value::number);
                if let (Some(number), Some(value)) = (number, value) {
                    *number = value;
                }
            })
            .await?;
        Ok(Self::new(numbers))
    }

    fn new([pid, last_pid, code, status, tasks]: [i64; 5]) -> Self {
        let process = |number: i64| i32::try_from(number).ok().filter(|pid| *pid > 0);
        Self {
            pid: process(pid),
            last_pid: process(last_pid),
            code: i32::try_from(code).unwrap_or_default(),
            status: i32::try_from(status).unwrap_or_default(),
            tasks: (tasks != i64::MAX).then_some(tasks),
        }
    }

    /// How it has ended.
    fn outcome(&self) -> StartOutcome {
        let status = match self.code {
            nix::libc::CLD_KILLED | nix::libc::CLD_DUMPED => ExitStatus::Signal(self.status),
            _ => ExitStatus::Code(self.status),
        };
        exited(
            self.last_pid,
            status,
            self.tasks.is_some_and(|tasks| tasks > 0),
        )
    }
}

/// The object of a unit: its name with whatever isn't a letter or, but for the first place, a digit as
/// `_` and its number in hexadecimal (sd_bus_path_encode(3)).
pub(super) fn path_of(unit: &str) -> String {
    let mut path = "/org/freedesktop/systemd1/unit/".to_owned();
    for (index, byte) in unit.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => path.push(byte.into()),
            b'0'..=b'9' if index > 0 => path.push(byte.into()),
            _ => path.push_str(&format!("_{byte:02x}")),
        }
    }
    path
}

#[cfg(test)]
mod tests;
