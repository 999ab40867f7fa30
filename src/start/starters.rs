//! Tells whether somebody else is starting the programs in this moment, as the vendor's services and
//! rc.local do at boot: they go first, or a program would run twice. [`crate::daemon`] asks once, when
//! the service starts; what would start a program some day is found by [`crate::doctor`].
//!
//! The service's unit has no `After=` for this. A job waits for those before it for as long as they
//! take, and a unit with `Type=oneshot`, or with `TimeoutSec=0` as systemd's own rc-local.service has
//! it, may take for ever (systemd.service(5), `TimeoutStartSec=`): the till would have no watchdog.

use std::fs;
use std::path::Path;
use std::time::Duration;

use mfe_common::escape::printable;
use tokio::time::{Instant, sleep, timeout_at};

use super::command_line::{VENDOR, may_be_a_script, scripts, started_by};
use super::old_watcher::RC_LOCAL;
use crate::config::{Settings, Start};
use crate::proc::{ProcessName, Running, running_such};
use crate::systemd::dbus::{Sockets, Trouble};
use crate::systemd::manager::Manager;
use crate::systemd::names::{SERVICE, unit_of};

/// What runs rc.local (systemd-rc-local-generator(8)); `rc.local.service` is but another name of it.
const RC_LOCAL_UNIT: &str = "rc-local.service";

/// The pause between two looks, while somebody is on the way.
const PAUSE: Duration = Duration::from_millis(250);

/// How long systemd may say nothing before nobody is taken to be on the way.
const PATIENCE: Duration = Duration::from_secs(1);

/// Who may be starting the programs, besides this service.
#[derive(Debug)]
pub struct Starters {
    sockets: Sockets,
    /// Their units.
    units: Vec<String>,
    /// Their scripts.
    scripts: Vec<Script>,
    /// Our own units, whose scripts are ours to wait for.
    own: Vec<String>,
}

/// A script that starts programs.
#[derive(Debug)]
struct Script {
    path: String,
    /// What it starts. Once they live it is done, though it may stay.
    programs: Vec<ProcessName>,
}

impl Starters {
    /// Those who start what `settings` name; whether rc.local is one, its text says.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        Self::on(Sockets::default(), Path::new(RC_LOCAL), settings)
    }

    fn on(sockets: Sockets, rc_local: &Path, settings: &Settings) -> Self {
        let mut units: Vec<String> = VENDOR.map(str::to_owned).into();
        let mut own = vec![SERVICE.to_owned()];
        let mut scripts = Vec::new();
        for process in &settings.processes {
            match &process.start {
                Start::Unit(unit) => units.push(unit.clone()),
                Start::Command(_) => own.push(unit_of(&process.key)),
            }
            scripts.extend(self::scripts(process).map(|path| Script {
                path: path.to_owned(),
                programs: vec![process.name().clone()],
            }));
        }
        // One that isn't there, or isn't text, starts nothing.
        let text = fs::read_to_string(rc_local).unwrap_or_default();
        if text
            .lines()
            .any(|line| started_by(line, settings).is_some())
        {
            units.push(RC_LOCAL_UNIT.to_owned());
            let processes = settings.processes.iter();
            scripts.push(Script {
                path: RC_LOCAL.to_owned(),
                programs: processes.map(|process| process.name().clone()).collect(),
            });
        }
        units.sort_unstable();
        units.dedup();
        Self {
            sockets,
            units,
            scripts,
            own,
        }
    }

    /// The units among them, and rc.local's whatever that one starts.
    #[must_use]
    pub fn units(&self) -> Vec<&str> {
        let units = self.units.iter().map(String::as_str);
        units.chain([RC_LOCAL_UNIT]).collect()
    }

    /// Waits until nobody is on the way any more, but no longer than `within`. `tell` hears who is,
    /// whenever that changes: printable names, and never none.
    ///
    /// Where systemd can't be asked nobody is known to be on the way, and nothing is waited for; a
    /// systemd that doesn't answer, or stops answering, is waited for a second.
    pub async fn wait(&self, within: Duration, mut tell: impl FnMut(&[String])) {
        let begin = Instant::now();
        let end = begin + within;
        let mut answered = begin;
        let mut told: Vec<String> = Vec::new();
        let mut is_nobody_left = true;
        loop {
            let deadline = end.min(answered + PATIENCE);
            match timeout_at(deadline, self.on_the_way(within)).await {
                Ok(Ok(names)) => {
                    answered = Instant::now();
                    // Between a script and its program there is a moment when neither is seen, so
                    // that nobody is left counts when it has been seen twice.
                    if names.is_empty() && is_nobody_left {
                        return;
                    }
                    is_nobody_left = names.is_empty();
                    if !is_nobody_left && names != told {
                        tell(&names);
                        told = names;
                    }
                }
                Ok(Err(_)) if told.is_empty() => return,
                _ if answered.elapsed() >= PATIENCE => return,
                _ => {}
            }
            if Instant::now() + PAUSE >= end {
                return;
            }
            sleep(PAUSE).await;
        }
    }

    /// The units and scripts that are at it now.
    async fn on_the_way(&self, within: Duration) -> Result<Vec<String>, Trouble> {
        let mut names = self.units_on_the_way().await?;
        // What can't be looked at isn't seen.
        let is_young = |process: &Running| process.id.age().is_ok_and(|age| age < within);
        let running = running_such(Path::new("/proc"), &is_young).unwrap_or_default();
        let scripts = self.scripts_at_work(&running);
        let young = scripts.filter(|(_, process)| is_young(process));
        names.extend(young.map(|(script, process)| {
            format!("{} (pid {})", printable(&script.path), process.id.pid)
        }));
        Ok(names)
    }

    async fn units_on_the_way(&self) -> Result<Vec<String>, Trouble> {
        let mut names = Vec::new();
        let mut manager = Manager::connect(&self.sockets)?;
        for name in &self.units {
            if manager.unit(name).await?.is_on_the_way() {
                names.push(printable(name));
            }
        }
        Ok(names)
    }

    /// The scripts that run and haven't brought up their programs, which may be all that is left of a
    /// start: a service counts as started as soon as its script is in the background, or, with
    /// `Type=simple`, as soon as it runs.
    fn scripts_at_work<'a>(
        &'a self,
        running: &'a [Running],
    ) -> impl Iterator<Item = (&'a Script, &'a Running)> {
        let is_up = |name: &ProcessName| {
            let comm = String::from_utf8_lossy(name.comm());
            running.iter().any(|process| process.comm == comm)
        };
        let is_ours = |process: &Running| {
            let unit = process.unit.as_ref();
            unit.is_some_and(|unit| self.own.contains(unit))
        };
        let scripts = self.scripts.iter();
        let unfinished = scripts.filter(move |script| !script.programs.iter().all(is_up));
        unfinished.flat_map(move |script| {
            let processes = running.iter();
            let processes = processes.filter(|process| runs(process, &script.path));
            let others = processes.filter(move |process| !is_ours(process));
            others.map(move |process| (script, process))
        })
    }
}

/// Whether a process runs a script: an interpreter that the kernel has put before it (execve(2)), with at
/// most options between, or the file itself. Whoever edits it doesn't.
fn runs(process: &Running, script: &str) -> bool {
    let mut words = process.arguments.iter();
    let Some(program) = words.next() else {
        return false;
    };
    let is_interpreter = !may_be_a_script(program) && {
        let stem = program.rsplit('/').next().unwrap_or_default();
        let stem = stem.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
        ["sh", "bash", "dash", "python", "perl"].contains(&stem)
    };
    let file = if is_interpreter {
        words.find(|word| !word.starts_with('-'))
    } else {
        Some(program)
    };
    file.is_some_and(|file| file == script)
}

#[cfg(test)]
mod tests;
