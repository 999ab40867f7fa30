//! What is asked of systemd's manager about a unit, call by call (org.freedesktop.systemd1(5)); what a
//! start is made of is in [`crate::start`], and the bytes are in [`super::dbus`].

use std::time::Duration;

use nix::libc;

use super::dbus::{Call, Connection, Kind, Message, SYSTEMD, Sockets, Trouble, Value};
use super::standby::{InUse, Standby};
use crate::sys::exit_status::ExitStatus;

/// The first pause between two questions whether a job is done, where nobody tells; it doubles up to
/// [`LAST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(5);

/// The longest such pause.
const LAST_PAUSE: Duration = Duration::from_millis(500);

/// Whatever job of the unit isn't done yet stays as it is; a new one that it contradicts is refused.
const NEVER_REPLACE: &str = "fail";

/// The name of that refusal.
const CONTRADICTS: &str = "org.freedesktop.systemd1.TransactionIsDestructive";

/// systemd's manager, to which a connection is open.
#[derive(Debug)]
pub(crate) struct Manager {
    connection: Connection,
}

/// A job that systemd has accepted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Job {
    path: String,
}

/// Where a unit stands, as far as it matters here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum State {
    /// It doesn't run.
    Inactive,
    /// Nor does it, and it has failed.
    Failed,
    /// It is being started.
    Activating,
    /// It has ended, and systemd will start it again by itself after a pause.
    AwaitsRestart,
    /// Anything else.
    #[default]
    Other,
}

/// What systemd knows of a service.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Unit {
    /// Whether it has a job, anybody's, that isn't done yet.
    pub(crate) has_job: bool,
    /// Where it stands.
    pub(crate) state: State,
    /// Whether it was started too often to be started again.
    pub(crate) is_over_limit: bool,
    /// When its last start began, by the monotonic clock; 0 if there was none.
    pub(crate) started: Duration,
    /// When its last main process was started, by the same.
    pub(crate) main_started: Duration,
    /// Its main process, while that runs.
    pub(crate) main: Option<i32>,
    /// The last one that it had.
    pub(crate) last_main: Option<i32>,
    /// How that has ended, if it has.
    pub(crate) code: i64,
    /// Whether the kernel has killed in it because memory ran out, and systemd took that for its end.
    pub(crate) is_oom_kill: bool,
    pub(crate) status: i64,
}

impl Unit {
    /// How its last main process has ended.
    pub(crate) fn exit_status(&self) -> ExitStatus {
        let status = i32::try_from(self.status).unwrap_or_default();
        let status = match i32::try_from(self.code) {
            Ok(libc::CLD_KILLED | libc::CLD_DUMPED) => ExitStatus::Signal(status),
            _ => ExitStatus::Code(status),
        };
        if self.is_oom_kill {
            status.when_out_of_memory()
        } else {
            status
        }
    }

    /// Its last main process and how it has ended, if it has: systemd knows no code before (`si_code` in
    /// sigaction(2)).
    pub(crate) fn ended_main(&self) -> Option<(i32, ExitStatus)> {
        let has_ended = self.main.is_none() && self.code != 0;
        let last = self.last_main.filter(|_| has_ended)?;
        Some((last, self.exit_status()))
    }

    /// Whether it is being started, or about to be. A job of a unit that doesn't run can only be one that
    /// starts it: systemd drops those that would change nothing.
    pub(crate) fn is_on_the_way(&self) -> bool {
        match self.state {
            State::Activating | State::AwaitsRestart => true,
            State::Inactive | State::Failed => self.has_job,
            State::Other => false,
        }
    }

    /// Takes in the property of a number, counted as in [`PROPERTIES`].
    fn set(&mut self, property: usize, value: Value<'_>) {
        let number = value.number().unwrap_or_default();
        let text = value.text().unwrap_or_default();
        let pid = || i32::try_from(number).ok().filter(|pid| *pid > 0);
        let time = || Duration::from_micros(u64::try_from(number).unwrap_or_default());
        match PROPERTIES.get(property).map(|(_, name)| *name) {
            Some("Job") => self.has_job = number != 0,
            Some("ActiveState") => {
                self.state = match text {
                    "inactive" => State::Inactive,
                    "failed" => State::Failed,
                    "activating" => State::Activating,
                    _ => State::Other,
                }
            }
            // auto-restart, and since 254 more that say so.
            Some("SubState") if text.contains("auto-restart") => {
                self.state = State::AwaitsRestart;
            }
            Some("InactiveExitTimestampMonotonic") => self.started = time(),
            // Since 230; before, start-limit.
            Some("Result") => {
                self.is_over_limit = text.starts_with("start-limit");
                self.is_oom_kill = text == "oom-kill";
            }
            Some("ExecMainStartTimestampMonotonic") => self.main_started = time(),
            Some("MainPID") => self.main = pid(),
            Some("ExecMainPID") => self.last_main = pid(),
            Some("ExecMainCode") => self.code = number,
            Some("ExecMainStatus") => self.status = number,
            _ => {}
        }
    }
}

const OF_UNIT: &str = "org.freedesktop.systemd1.Unit";
const OF_SERVICE: &str = "org.freedesktop.systemd1.Service";

/// What is read of a service, each with its interface.
const PROPERTIES: [(&str, &str); 10] = [
    (OF_UNIT, "Job"),
    (OF_UNIT, "ActiveState"),
    (OF_UNIT, "SubState"),
    (OF_UNIT, "InactiveExitTimestampMonotonic"),
    (OF_SERVICE, "Result"),
    (OF_SERVICE, "ExecMainStartTimestampMonotonic"),
    (OF_SERVICE, "MainPID"),
    (OF_SERVICE, "ExecMainPID"),
    (OF_SERVICE, "ExecMainCode"),
    (OF_SERVICE, "ExecMainStatus"),
];

impl Manager {
    /// Connects; see [`Connection::open`].
    pub(crate) fn connect(sockets: &Sockets) -> Result<Self, Trouble> {
        let connection = Connection::open(sockets)?;
        Ok(Self { connection })
    }

    /// Takes the connection that is open already, if there is one, on which it is asked at once how `unit`
    /// fares: what is to be called first is [`Self::unit`] of the same.
    pub(crate) fn on_standby(standby: &Standby, unit: &str) -> Option<(Self, InUse)> {
        let path = path_of(unit);
        let arguments = PROPERTIES.map(|(interface, name)| [interface, name]);
        let calls = arguments.each_ref().map(|arguments| get(&path, arguments));
        let (connection, in_use) = standby.take(&calls)?;
        Some((Self { connection }, in_use))
    }

    /// How a service fares.
    pub(crate) async fn unit(&mut self, unit: &str) -> Result<Unit, Trouble> {
        let path = path_of(unit);
        let properties = PROPERTIES.map(|(interface, name)| (path.as_str(), interface, name));
        let mut state = Unit::default();
        self.properties(&properties, &mut |property, value| {
            state.set(property, value);
        })
        .await?;
        Ok(state)
    }

    /// Whether any of these units has a job that isn't done yet.
    pub(crate) async fn has_job(&mut self, units: &[&str]) -> Result<bool, Trouble> {
        let paths: Vec<String> = units.iter().map(|unit| path_of(unit)).collect();
        let jobs: Vec<_> = paths
            .iter()
            .map(|path| (path.as_str(), OF_UNIT, "Job"))
            .collect();
        let mut has_job = false;
        self.properties(&jobs, &mut |_, job| {
            has_job |= job.number().is_some_and(|number| number != 0);
        })
        .await?;
        Ok(has_job)
    }

    /// Reads properties of objects, each with its interface.
    async fn properties(
        &mut self,
        properties: &[(&str, &str, &str)],
        take: &mut (dyn FnMut(usize, Value<'_>) + Send),
    ) -> Result<(), Trouble> {
        let arguments: Vec<[&str; 2]> = properties
            .iter()
            .map(|(_, interface, name)| [*interface, *name])
            .collect();
        let calls: Vec<Call<'_>> = properties
            .iter()
            .zip(&arguments)
            .map(|((path, _, _), arguments)| get(path, arguments))
            .collect();
        let mut pass = |number: usize, reply: &Message<'_>| {
            if let Some(value) = reply.values().next() {
                take(number, value);
            }
        };
        self.connection.call(&calls, &mut pass).await
    }

    /// Has a unit restarted: stopped if need be, and started. systemd is to have answered something just
    /// before.
    pub(crate) async fn restart(&mut self, unit: &str) -> Result<Job, Trouble> {
        self.job("RestartUnit", unit).await
    }

    /// Has a unit started.
    pub(crate) async fn start(&mut self, unit: &str) -> Result<Job, Trouble> {
        self.job("StartUnit", unit).await
    }

    /// Has a unit stopped.
    pub(crate) async fn stop(&mut self, unit: &str) -> Result<Job, Trouble> {
        self.job("StopUnit", unit).await
    }

    async fn job(&mut self, method: &str, unit: &str) -> Result<Job, Trouble> {
        let arguments = [unit, NEVER_REPLACE];
        let mut path = String::new();
        let mut take = |_: usize, reply: &Message<'_>| {
            let job = reply.values().next().and_then(Value::text);
            path.push_str(job.unwrap_or_default());
        };
        let calls = [of_manager(method, &arguments)];
        self.connection.call(&calls, &mut take).await?;
        Ok(Job { path })
    }

    /// Has systemd forget that a unit has failed, and how often it was started. One that it doesn't
    /// know it can't start either, and then says so.
    pub(crate) async fn reset_failed(&mut self, unit: &str) -> Result<(), Trouble> {
        let arguments = [unit];
        let calls = [of_manager("ResetFailedUnit", &arguments)];
        match self.connection.call(&calls, &mut |_, _| {}).await {
            Err(Trouble::Refused { .. }) => Ok(()),
            reset => reset,
        }
    }

    /// Waits until a job of `unit` is done, for as long as that takes. Gives its result, where that is
    /// told.
    pub(crate) async fn done(&mut self, unit: &str, job: &Job) -> Result<Option<String>, Trouble> {
        if !self.connection.hears_signals() {
            let mut pause = FIRST_PAUSE;
            while self.unit(unit).await?.has_job {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LAST_PAUSE);
            }
            return Ok(None);
        }
        // The signal comes after the reply, for a job begins only when systemd next has time.
        loop {
            let message = self.connection.message().await?;
            if message.kind != Kind::Signal || message.member != "JobRemoved" {
                continue;
            }
            let mut values = message.values().skip(1).filter_map(Value::text);
            if values.next() == Some(&job.path) {
                return Ok(Some(values.nth(1).unwrap_or_default().to_owned()));
            }
        }
    }

    /// Waits for `other`, and meanwhile throws away what systemd says: somebody who doesn't listen is
    /// disconnected.
    pub(crate) async fn listen_until(&mut self, other: impl Future<Output = ()>) {
        tokio::pin!(other);
        loop {
            tokio::select! {
                biased;
                () = &mut other => return,
                message = self.connection.message() => if message.is_err() {
                    break;
                },
            }
        }
        // The next question finds out what is the matter.
        other.await;
    }
}

/// Whether systemd has refused a job because there is another one, which is to stay.
pub(crate) fn is_contradicted(trouble: &Trouble) -> bool {
    matches!(trouble, Trouble::Refused { name, .. } if name == CONTRADICTS)
}

/// Reads a property of an object, by its interface and its name.
fn get<'a>(path: &'a str, arguments: &'a [&'a str]) -> Call<'a> {
    Call {
        destination: SYSTEMD,
        path,
        interface: "org.freedesktop.DBus.Properties",
        method: "Get",
        arguments,
    }
}

fn of_manager<'a>(method: &'a str, arguments: &'a [&'a str]) -> Call<'a> {
    Call {
        destination: SYSTEMD,
        path: "/org/freedesktop/systemd1",
        interface: "org.freedesktop.systemd1.Manager",
        method,
        arguments,
    }
}

/// The object of a unit: its name with whatever isn't a letter or, but for the first place, a digit as
/// `_` and its number in hexadecimal (sd_bus_path_encode(3)).
fn path_of(unit: &str) -> String {
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
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_an_object() {
        let unit = "/org/freedesktop/systemd1/unit/";
        for (name, expected) in [
            ("mfe@comunicador.service", "mfe_40comunicador_2eservice"),
            ("7-é_", "_37_2d_c3_a9_5f"),
        ] {
            assert_eq!(path_of(name), format!("{unit}{expected}"));
        }
    }

    #[test]
    fn a_unit_is_on_the_way_while_it_is_being_started() {
        for (active, sub, job, expected) in [
            ("inactive", "dead", 0, false),
            ("inactive", "dead", 7, true),
            ("failed", "failed", 0, false),
            ("failed", "failed", 7, true),
            ("activating", "start", 0, true),
            ("activating", "auto-restart", 0, true),
            ("active", "exited", 7, false),
            ("deactivating", "stop", 7, false),
        ] {
            let mut unit = Unit::default();
            let values = [Value::Number(job), Value::Text(active), Value::Text(sub)];
            for (property, value) in values.into_iter().enumerate() {
                unit.set(property, value);
            }
            assert_eq!(unit.is_on_the_way(), expected, "{active} ({sub})");
        }
    }

    #[test]
    fn a_main_process_ends_as_wait_has_it() {
        for (code, status, expected) in [
            (libc::CLD_EXITED, 7, ExitStatus::Code(7)),
            (libc::CLD_KILLED, 9, ExitStatus::Signal(9)),
            (libc::CLD_DUMPED, 11, ExitStatus::Signal(11)),
            (0, 0, ExitStatus::Code(0)),
        ] {
            let unit = Unit {
                code: code.into(),
                status,
                ..Unit::default()
            };
            assert_eq!(unit.exit_status(), expected);
        }
    }
}
