//! Everybody who is measured: how each is installed, configured and run. What is measured is said
//! elsewhere.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::stage::Program;

/// One way to keep programs running.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Watcher {
    Ours {
        interval: &'static str,
        /// Whether those that keep crashing have to wait, as they do by default.
        waits: bool,
    },
    Script,
    Monit {
        seconds: u32,
    },
    Supervisord {
        startsecs: u32,
    },
    Runit,
    S6,
    Restartd {
        seconds: u32,
    },
}

/// Those who take a second or less, each with its default and with its shortest configuration where
/// the two differ.
pub(crate) const QUICK: &[Watcher] = &[
    crate::OURS,
    Watcher::Runit,
    Watcher::S6,
    Watcher::Supervisord { startsecs: 1 },
    Watcher::Supervisord { startsecs: 0 },
    Watcher::Monit { seconds: 1 },
    Watcher::Restartd { seconds: 1 },
];

/// Those who take so long that there is time for a few kills only.
pub(crate) const SLOW: &[Watcher] = &[
    crate::DEFAULT,
    Watcher::Script,
    Watcher::Restartd { seconds: 20 },
    Watcher::Monit { seconds: 120 },
];

/// The legacy script's logic, as those describe it who have seen it: both programs in one loop,
/// each looked for among all processes, started with nohup.
const SCRIPT: &str = r#"
import os, sys, time, psutil
while True:
    for name, start in zip(sys.argv[1::2], sys.argv[2::2]):
        if not any(process.info["name"] == name for process in psutil.process_iter(["name"])):
            os.system(f"/usr/bin/nohup {start} > /dev/null 2>&1 &")
    time.sleep(10)
"#;

impl Watcher {
    pub(crate) fn name(self) -> String {
        match self {
            Self::Ours { waits: true, .. } => "mfe-watchdog".into(),
            Self::Ours { waits: false, .. } => "mfe-watchdog, restart_delay 0s".into(),
            Self::Script => "Python script, every 10 s".into(),
            Self::Monit { seconds } => format!("monit, every {seconds} s"),
            Self::Supervisord { startsecs: 1 } => "supervisord".into(),
            Self::Supervisord { startsecs } => format!("supervisord, startsecs={startsecs}"),
            Self::Runit => "runit".into(),
            Self::S6 => "s6".into(),
            Self::Restartd { seconds } => format!("restartd, every {seconds} s"),
        }
    }

    /// A few letters for the names of its programs.
    fn tag(self) -> String {
        match self {
            Self::Ours { waits: true, .. } => "own".into(),
            Self::Ours { interval, .. } => format!("own{interval}"),
            Self::Script => "script".into(),
            Self::Monit { seconds } => format!("monit{seconds}"),
            Self::Supervisord { startsecs } => format!("supv{startsecs}"),
            Self::Runit => "runit".into(),
            Self::S6 => "s6".into(),
            Self::Restartd { seconds } => format!("rstd{seconds}"),
        }
    }

    /// The packages it needs.
    fn packages(self) -> &'static [&'static str] {
        match self {
            Self::Ours { .. } => &[],
            Self::Script => &["python3", "python3-psutil"],
            Self::Monit { .. } => &["monit"],
            Self::Supervisord { .. } => &["supervisor", "python3", "python3-pkg-resources"],
            Self::Runit => &["runit"],
            Self::S6 => &["s6"],
            Self::Restartd { .. } => &["restartd"],
        }
    }

    /// The longest outage to be expected, with time to spare.
    pub(crate) fn patience(self) -> Duration {
        Duration::from_secs(match self {
            Self::Monit { seconds } | Self::Restartd { seconds } => 30 + 2 * u64::from(seconds),
            _ => 30,
        })
    }
}

/// Where the programs are that aren't installed on the machine.
pub(crate) struct Peers {
    /// Our own, as the package has it.
    pub(crate) ours: PathBuf,
    root: PathBuf,
    /// What couldn't be had, and why.
    missing: Vec<(&'static str, String)>,
}

/// Installed as they are: they start nothing by themselves.
const INSTALLED: [&str; 5] = [
    "runit",
    "s6",
    "python3",
    "python3-psutil",
    "python3-pkg-resources",
];

/// Only unpacked: installed, they would start a service of theirs.
const UNPACKED: [&str; 3] = ["monit", "supervisor", "restartd"];

impl Peers {
    /// Gets the peers with apt-get: those that start services of their own are only unpacked,
    /// below `directory`.
    pub(crate) fn get(directory: &Path) -> anyhow::Result<Self> {
        let root = directory.join("peers");
        fs::create_dir_all(&root)?;
        let mut peers = Self {
            ours: directory.join("package/usr/bin/mfe-watchdog"),
            root,
            missing: Vec::new(),
        };
        let mut updated = false;
        for package in INSTALLED.into_iter().chain(UNPACKED) {
            let get = if INSTALLED.contains(&package) {
                install
            } else {
                unpack
            };
            let mut got = get(package, &peers.root);
            if got.is_err() && !updated {
                // A machine that was never updated knows no packages yet.
                updated = true;
                let _ = apt_get(&["update"], &peers.root);
                got = get(package, &peers.root);
            }
            if let Err(error) = got {
                peers.missing.push((package, format!("{error:#}")));
            }
        }
        Ok(peers)
    }

    /// Why a watcher can't be run here, if it can't.
    fn check(&self, packages: &[&str]) -> anyhow::Result<()> {
        for (package, why) in &self.missing {
            ensure!(!packages.contains(package), "{package} can't be had: {why}");
        }
        Ok(())
    }
}

fn install(package: &str, directory: &Path) -> anyhow::Result<()> {
    let query = Command::new("dpkg").args(["-s", package]).output()?;
    if query.status.success() {
        return Ok(());
    }
    apt_get(
        &["install", "-y", "--no-install-recommends", package],
        directory,
    )
}

fn unpack(package: &str, root: &Path) -> anyhow::Result<()> {
    let download = root.join(package);
    fs::create_dir_all(&download)?;
    apt_get(&["download", package], &download)?;
    for file in fs::read_dir(&download)? {
        let status = Command::new("dpkg-deb")
            .arg("-x")
            .arg(file?.path())
            .arg(root)
            .status()?;
        ensure!(status.success(), "dpkg-deb: {status}");
    }
    Ok(())
}

fn apt_get(arguments: &[&str], directory: &Path) -> anyhow::Result<()> {
    let output = Command::new("apt-get")
        .args([
            "-qq",
            "-o",
            "DPkg::Lock::Timeout=300",
            "-o",
            "APT::Sandbox::User=root",
        ])
        .args(arguments)
        .current_dir(directory)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .output()
        .context("apt-get can't be run")?;
    let message = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "apt-get {}: {}",
        arguments[0],
        message.trim()
    );
    Ok(())
}

/// A watcher at work on two programs. Dropping it ends it and its programs.
pub(crate) struct Running {
    pub(crate) watcher: Watcher,
    configuration: PathBuf,
    // In this order: the watcher must be gone before its programs.
    process: Killed,
    pub(crate) programs: [Program; 2],
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        for pid in family(self.0.id()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGSTOP);
        }
        for pid in family(self.0.id()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        let _ = self.0.wait();
    }
}

/// A process and all that descend from it.
fn family(pid: u32) -> Vec<i32> {
    let Ok(processes) = procfs::process::all_processes() else {
        return Vec::new();
    };
    let all: Vec<(i32, i32)> = processes
        .filter_map(|process| process.ok()?.stat().ok())
        .map(|stat| (stat.pid, stat.ppid))
        .collect();
    let mut family = Vec::from_iter(i32::try_from(pid));
    let mut next = 0;
    while let Some(&parent) = family.get(next) {
        family.extend(
            all.iter()
                .filter(|(_, of)| *of == parent)
                .map(|(pid, _)| *pid),
        );
        next += 1;
    }
    family
}

impl Running {
    /// Has a watcher start its two programs.
    pub(crate) fn start(watcher: Watcher, peers: &Peers, directory: &Path) -> anyhow::Result<Self> {
        let directory = directory.join(watcher.tag());
        fs::create_dir(&directory)?;
        let program = |initial| {
            Program::new(
                Path::new("/"),
                &directory,
                &format!("{initial}-{}", watcher.tag()),
            )
        };
        let programs = [program("C")?, program("M")?];
        let mut command = command(watcher, peers, &directory, &programs)?;
        let log = fs::File::create(directory.join("log"))?;
        let process = command
            .current_dir(&directory)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("{} can't be run", watcher.name()))?;
        let mut running = Self {
            watcher,
            configuration: directory.join("configuration"),
            process: Killed(process),
            programs,
        };
        for program in &mut running.programs {
            program.started(watcher.patience())?;
        }
        Ok(running)
    }

    /// Where its configuration is.
    pub(crate) fn configuration(&self) -> &Path {
        &self.configuration
    }

    /// The watcher's own processes.
    pub(crate) fn processes(&self) -> Vec<i32> {
        let programs = self
            .programs
            .each_ref()
            .map(|program| program.last.map(|last| last.pid));
        let mut processes = family(self.process.0.id());
        processes.retain(|pid| !programs.contains(&Some(*pid)));
        processes
    }
}

/// The command that runs a watcher in the foreground, configured for two programs.
fn command(
    watcher: Watcher,
    peers: &Peers,
    directory: &Path,
    programs: &[Program; 2],
) -> anyhow::Result<Command> {
    peers.check(watcher.packages())?;
    let configuration = directory.join("configuration");
    if let Some(text) = configure(watcher, directory, programs) {
        fs::write(&configuration, text)?;
        // monit insists on it.
        fs::set_permissions(&configuration, fs::Permissions::from_mode(0o600))?;
    }
    let unpacked = |path: &str| peers.root.join(path);
    let python = || Command::new("/usr/bin/python3");
    let mut command = match watcher {
        Watcher::Ours { .. } => Command::new(&peers.ours),
        Watcher::Script | Watcher::Supervisord { .. } => python(),
        Watcher::Monit { .. } => Command::new(unpacked("usr/bin/monit")),
        Watcher::Runit => Command::new("runsvdir"),
        Watcher::S6 => Command::new("s6-svscan"),
        Watcher::Restartd { .. } => Command::new(unpacked("usr/sbin/restartd")),
    };
    match watcher {
        Watcher::Ours { .. } => {
            command
                .env_remove("NOTIFY_SOCKET")
                .arg("run")
                .arg("--config")
                .arg(configuration);
            command.arg("--runtime-dir").arg(directory.join("run"));
        }
        Watcher::Script => {
            command.args(["-c", SCRIPT]);
            for program in programs {
                command.args([program.name.as_ref(), program.script.as_os_str()]);
            }
        }
        Watcher::Monit { .. } => {
            command.args(["-I", "-c"]).arg(configuration);
        }
        Watcher::Supervisord { .. } => {
            command.env("PYTHONPATH", unpacked("usr/lib/python3/dist-packages"));
            command
                .arg(unpacked("usr/bin/supervisord"))
                .args(["-n", "-c"])
                .arg(configuration);
        }
        Watcher::Runit | Watcher::S6 => {
            let services = directory.join("services");
            for program in programs {
                let service = services.join(&program.name);
                fs::create_dir_all(&service)?;
                symlink(&program.script, service.join("run"))?;
            }
            command.arg(services);
        }
        Watcher::Restartd { seconds } => {
            command
                .args(["-f", "-i", &seconds.to_string(), "-c"])
                .arg(configuration);
        }
    }
    Ok(command)
}

/// The watcher's configuration file, if it has one.
fn configure(watcher: Watcher, directory: &Path, programs: &[Program; 2]) -> Option<String> {
    let directory = directory.display();
    let each = |section: &dyn Fn(&str, &str, &str) -> String| {
        let sections = programs.each_ref().map(|program| {
            let path = program.path.display().to_string();
            section(&program.name, &path, &program.command())
        });
        sections.concat()
    };
    Some(match watcher {
        Watcher::Ours { interval, waits } => {
            let sections = each(&|name, _, script| {
                let key = name.to_lowercase();
                format!("[process.{key}]\nname = \"{name}\"\ncommand = [\"{script}\"]\n")
            });
            let delay = if waits {
                ""
            } else {
                "restart_delay = \"0s\"\n"
            };
            format!("interval = \"{interval}\"\nlauncher = \"direct\"\n{delay}{sections}")
        }
        Watcher::Monit { seconds } => {
            let sections = each(&|name, path, script| {
                // It waits until a start program has ended, and kills one that doesn't.
                let start = format!("start program = \"/bin/sh -c '{script} &'\"");
                format!("check process {name} matching \"^{path}\"\n  {start}\n")
            });
            let files =
                ["pid", "id", "state"].map(|file| format!("set {file}file {directory}/{file}\n"));
            format!("set daemon {seconds}\n{}{sections}", files.concat())
        }
        Watcher::Supervisord { startsecs } => {
            let sections = each(&|name, _, script| {
                format!("[program:{name}]\ncommand={script}\nstartsecs={startsecs}\n")
            });
            format!(
                "[supervisord]\nlogfile={directory}/supervisord.log\npidfile={directory}/pid\n\
                 childlogdir={directory}\n{sections}"
            )
        }
        Watcher::Restartd { .. } => {
            each(&|name, path, script| format!("{name} \"^{path}\" \"{script} &\" \"\"\n"))
        }
        Watcher::Script | Watcher::Runit | Watcher::S6 => return None,
    })
}
