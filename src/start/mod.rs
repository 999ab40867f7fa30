//! Runs what brings a process up, and reaps it; whether and when is decided in
//! [`crate::machine`].

pub(crate) mod beside;
mod command;
pub(crate) mod command_line;
mod direct;
pub mod exec;
pub(crate) mod in_session;
mod instance;
mod job;
mod lineage;
#[cfg(test)]
mod machine_for_tests;
pub(crate) mod old_watcher;
mod placement;
pub(crate) mod shutdown;
pub mod starters;
mod unit;

use std::path::Path;

use crate::config::{ProcessSettings, Start};
use crate::machine::{StartFailure, StartOutcome, Stop};
use crate::status::directories::Directories;
use crate::sys::exit_status::ExitStatus;
use crate::sys::host::Moment;
use crate::systemd::names::{is_masked, unit_of};
use crate::systemd::standby::Standby;
use crate::text::phrase::phrase;

pub use command::id_of as command_id;
pub use lineage::{Lineage, in_unit};
pub(crate) use lineage::{is_command, is_own, unit_name};
pub use placement::{Placement, autostart_entry, unit_user};

/// A start program that was run and not yet seen to end.
///
/// Dropping it leaves the program running but nobody to reap it: hand it to [`Self::reap`].
#[derive(Debug)]
pub enum StartProgram {
    /// A detached child.
    Direct(direct::Child),
    /// A unit that systemd starts for us.
    Unit(job::Job),
}

/// Where a program is to be started that belongs on the screen.
#[derive(Debug, Clone, Copy)]
pub struct InSession<'a> {
    /// The session, as [`crate::session::Chosen`] names it.
    pub id: &'a str,
    /// Where the service publishes its settings.
    pub runtime_dir: &'a Path,
}

impl InSession<'_> {
    /// What starts the program of `key` there without systemd: this very program, whatever has become of
    /// its file.
    fn command(&self, key: &str) -> Vec<String> {
        let directory = self.runtime_dir.display().to_string();
        let words = ["/proc/self/exe", "exec", key, "--runtime-dir", &directory];
        words.map(str::to_owned).into()
    }
}

/// The looks on which a start is grounded.
#[derive(Debug, Clone, Copy)]
pub struct Looks {
    /// When the last one began; it has found the program gone.
    pub gone: Moment,
    /// When the last one began that has found it alive, if nothing was started since.
    pub alive: Option<Moment>,
}

/// Whether a process that is ended could be started again, as far as that can be told without trying.
///
/// # Errors
/// Why it couldn't be.
pub fn can_restart(process: &ProcessSettings) -> Result<(), StartFailure> {
    can_start(process)?;
    match unit_started(process).filter(|unit| is_masked(Path::new("/"), unit)) {
        Some(unit) => Err(StartFailure::NotRun(phrase!(
            "%{unit} is masked",
            unit = unit
        ))),
        None => Ok(()),
    }
}

/// Whether systemd starts a process, in a unit.
#[must_use]
pub fn is_in_unit(process: &ProcessSettings) -> bool {
    unit_started(process).is_some()
}

fn unit_started(process: &ProcessSettings) -> Option<String> {
    match &process.start {
        Start::Unit(unit) => Some(unit.clone()),
        Start::Command(_) => instance::is_launcher(process.launcher).then(|| unit_of(&process.key)),
    }
}

/// Whether the start command of a process can be run, as far as that can be told without running it. A
/// unit is systemd's to judge.
///
/// # Errors
/// Why it can't be.
fn can_start(process: &ProcessSettings) -> Result<(), StartFailure> {
    match &process.start {
        Start::Command(command) => {
            command::check(&command[0])?;
            command::check_settled(&command[0])
        }
        Start::Unit(_) => Ok(()),
    }
}

/// Notes that the start that was last asked for is followed to its end: whoever starts the program of
/// `process` from now on was asked by somebody else.
pub fn is_over(process: &ProcessSettings) {
    if instance::is_launcher(process.launcher) {
        beside::note_begun(&Directories::new(None, None).runtime, &process.key);
    }
}

impl StartProgram {
    /// Runs the start program of a process that these looks have found gone; in the session `place`, if it
    /// belongs in one. systemd is asked on `standby`, if it has to be.
    ///
    /// # Errors
    /// When it can't be run: the process stays down until a later try succeeds.
    pub fn run(
        process: &ProcessSettings,
        looks: Looks,
        place: Option<&InSession<'_>>,
        standby: &Standby,
    ) -> Result<Self, StartFailure> {
        let session = place.map(|place| place.id);
        let (unit, is_ours) = match &process.start {
            Start::Command(_) if instance::is_launcher(process.launcher) => {
                // Asked before systemd is: a till that waits for the vendor's driver is to be quiet,
                // without a unit that fails every few seconds.
                can_start(process)?;
                let directory = Directories::new(None, None).runtime;
                beside::note(&directory, &process.key, looks.gone, session);
                (unit_of(&process.key), true)
            }
            Start::Command(command) => {
                command::check_settled(&command[0])?;
                let Some(place) = place else {
                    return direct::Child::spawn(command).map(Self::Direct);
                };
                can_start(process)?;
                beside::note(place.runtime_dir, &process.key, looks.gone, session);
                let command = place.command(&process.key);
                return direct::Child::spawn(&command).map(Self::Direct);
            }
            Start::Unit(unit) => (unit.clone(), false),
        };
        let request = unit::Request {
            unit,
            is_ours,
            looks,
        };
        Ok(Self::Unit(unit::restart(request, standby)))
    }

    /// Its pid; `None` where systemd does it all.
    #[must_use]
    pub fn pid(&self) -> Option<i32> {
        match self {
            Self::Direct(child) => Some(child.pid()),
            Self::Unit(_) => None,
        }
    }

    /// Waits until it has ended, and reaps it. May be dropped and called again.
    pub async fn ended(&mut self) -> StartOutcome {
        match self {
            Self::Direct(child) => child.ended().await,
            Self::Unit(job) => job.ended().await,
        }
    }

    /// Says how it ended if it has, without waiting.
    pub fn try_ended(&mut self) -> Option<StartOutcome> {
        match self {
            Self::Direct(child) => child.try_ended(),
            // Once the process is up the job is let go, so it never tells how the process ended.
            Self::Unit(_) => None,
        }
    }

    /// How the main process has ended that the unit had before, and which one that was; as far as systemd
    /// has told.
    #[must_use]
    pub fn before(&self) -> Option<(i32, ExitStatus)> {
        match self {
            Self::Direct(_) => None,
            Self::Unit(job) => job.before(),
        }
    }

    /// Tells it that the process it was to bring up is up.
    pub fn succeeded(&self) {
        match self {
            // It may have become the process: how it ends is of interest.
            Self::Direct(_) => {}
            Self::Unit(job) => job.let_go(),
        }
    }

    /// Asks it to end; [`Self::ended`] tells when it has.
    pub fn stop(&self, stop: Stop) {
        match self {
            Self::Direct(child) => child.stop(stop),
            // The next restart of the unit stops what is left of this one.
            Self::Unit(job) => job.let_go(),
        }
    }

    /// Reaps it whenever it ends, for somebody who no longer cares how.
    pub fn reap(mut self) {
        tokio::spawn(async move { self.ended().await });
    }
}

/// A unit's stop under way. Dropping it leaves systemd to finish it.
#[derive(Debug)]
pub struct UnitStop(job::Job);

impl UnitStop {
    /// Has systemd stop the unit of a process; `None` for one that isn't started as a unit.
    #[must_use]
    pub fn begin(process: &ProcessSettings) -> Option<Self> {
        match &process.start {
            Start::Unit(unit) => Some(Self(unit::stop(unit))),
            Start::Command(_) => None,
        }
    }

    /// Waits until it has ended, well or not: what it has done is seen in the process table. May be
    /// dropped and called again.
    pub async fn ended(&mut self) {
        self.0.ended().await;
    }
}

impl Drop for UnitStop {
    fn drop(&mut self) {
        self.0.let_go();
    }
}
