//! The outages where systemd does the starting: the package, as it is installed, beside systemd's own
//! `Restart=`, in one container with systemd as PID 1.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;

use crate::figures::{Samples, verdict};
use crate::outages::{self, Outages, Rival};
use crate::stage::Program;
use crate::{AGE, FEW, MANY};
use mfe_kit::container::Container;
use mfe_kit::janitor::Scene;
use mfe_kit::trees::Trees;
use mfe_kit::wait_for;

/// The suite of the container.
const SUITE: &str = "bookworm";

/// The longest outage to be expected, with time to spare.
const PATIENCE: Duration = Duration::from_secs(30);

const CONFIG: &str = "/etc/mfe-watchdog/config.toml";

/// Who keeps a program running there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keeper {
    /// mfe-watchdog's service, by way of mfe@KEY.service.
    Ours,
    /// systemd, by itself.
    Systemd { restart_sec: &'static str },
}

const KEEPERS: [Keeper; 3] = [
    Keeper::Ours,
    Keeper::Systemd { restart_sec: "0" },
    // systemd's default.
    Keeper::Systemd {
        restart_sec: "100ms",
    },
];

impl Keeper {
    fn name(self) -> String {
        match self {
            Self::Ours => "mfe-watchdog, mfe@KEY.service".into(),
            Self::Systemd { restart_sec } => format!("systemd, RestartSec={restart_sec}"),
        }
    }

    /// The name of its program.
    fn program(self) -> String {
        match self {
            Self::Ours => "kept-by-us".into(),
            Self::Systemd { restart_sec } => format!("kept-{restart_sec}"),
        }
    }

    /// Has its program kept running from now on.
    fn begin(self, container: &Container, program: &Program) -> anyhow::Result<()> {
        let script = program.command();
        match self {
            Self::Ours => {
                let name = &program.name;
                let text = format!(
                    "restart_delay = \"0s\"\n[process.kept]\nname = \"{name}\"\ncommand = [\"{script}\"]\n"
                );
                container.write(CONFIG, text.as_bytes(), 0o644)?;
                container.ok(&["systemctl", "restart", "mfe-watchdog"])?;
            }
            Self::Systemd { restart_sec } => {
                let unit = format!("{}.service", program.name);
                let text = format!(
                    "[Unit]\nStartLimitIntervalSec=0\n\
                     [Service]\nExecStart={script}\nRestart=always\nRestartSec={restart_sec}\n"
                );
                let path = format!("/etc/systemd/system/{unit}");
                container.write(&path, text.as_bytes(), 0o644)?;
                container.ok(&["systemctl", "daemon-reload"])?;
                container.ok(&["systemctl", "start", &unit])?;
            }
        }
        Ok(())
    }
}

/// The outages beside few and beside many processes.
pub(crate) fn outages(rounds: usize, scene: &Scene, deb: &Path) -> anyhow::Result<Vec<Outages>> {
    let trees = Trees::new()?;
    trees.prepare(&[SUITE], false)?;
    let container = Container::boot("bench", &trees.path(SUITE), scene)?;
    container.write("/root/mfe-watchdog.deb", &std::fs::read(deb)?, 0o644)?;
    container.ok(&["apt-get", "-q", "-y", "install", "/root/mfe-watchdog.deb"])?;
    let mut all = Vec::new();
    for keeper in KEEPERS {
        let name = keeper.program();
        let mut program = Program::new(&container.root(), Path::new("/opt/bench"), &name)?;
        keeper.begin(&container, &program)?;
        program.started(PATIENCE)?;
        all.push((keeper, program));
    }
    let mut outages = Vec::new();
    for total in [FEW, MANY] {
        let processes = fill(&container, total)?;
        let of_all = kill_in_turn(&mut all, rounds, processes)?;
        let [ours, systemd, ..] = KEEPERS;
        let rival = Rival {
            name: systemd.name(),
            looks: 2,
        };
        if let Some(ratio) = outages::print(&of_all, &ours.name(), Some(&rival)) {
            verdict("at most 1.35 times systemd's own", ratio <= 1.35);
        }
        outages.extend(of_all);
    }
    container.power_off()?;
    Ok(outages)
}

/// One kill of each keeper's program in turn, and so on.
fn kill_in_turn(
    all: &mut [(Keeper, Program)],
    rounds: usize,
    processes: usize,
) -> anyhow::Result<Vec<Outages>> {
    let mut samples: Vec<Samples> = all.iter().map(|_| Samples::default()).collect();
    for _ in 0..rounds {
        for ((_, program), samples) in all.iter_mut().zip(&mut samples) {
            program.wait_for_age(AGE);
            program.check_alone()?;
            samples.push(program.outage(PATIENCE)?);
        }
    }
    let outages = all
        .iter()
        .zip(samples)
        .map(|((keeper, _), samples)| Outages {
            name: keeper.name(),
            processes,
            samples,
        });
    Ok(outages.collect())
}

/// Adds processes until there are `total`; returns how many there are.
fn fill(container: &Container, total: usize) -> anyhow::Result<usize> {
    let count = || -> anyhow::Result<usize> {
        let there = container.ok(&["sh", "-c", "ls -d /proc/[0-9]* | wc -l"])?;
        there.trim().parse().context("a number of processes")
    };
    let missing = total.saturating_sub(count()?);
    let script = format!("for i in $(seq {missing}); do sleep 7200 & done; wait");
    container.ok(&["systemd-run", "--quiet", "sh", "-c", &script])?;
    let is_full = || Ok((count()? >= total).then_some(()));
    wait_for("the container is full", PATIENCE, is_full)?;
    count()
}
