//! A throw-away machine: a base tree under an overlay, booted by systemd-nspawn with real
//! systemd. It knows nothing of the package.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::host::{self, USUAL_SECONDS};
use crate::janitor::Scene;
use crate::wait::wait_for;

const BOOT_PATIENCE: Duration = Duration::from_secs(90);

/// Run as PID 1 of a PID namespace of its own, so that the killing of any part of it is the end
/// of all of it. The overlay is made here and not by nspawn's --volatile=, for it is to survive a
/// reboot, at which nspawn ends with 133 to be started again.
const BOOT: &str = r#"
    set -e
    mkdir -p /run/systemd/nspawn
    mount -t tmpfs tmpfs /run/systemd/nspawn
    mount -t tmpfs -o mode=755 tmpfs "$SCRATCH"
    mkdir "$SCRATCH/upper" "$SCRATCH/work" "$SCRATCH/root"
    mount -t overlay overlay "$SCRATCH/root" \
        -o "lowerdir=$BASE,upperdir=$SCRATCH/upper,workdir=$SCRATCH/work"
    status=133
    while [ $status = 133 ]; do
        status=0
        systemd-nspawn --quiet --directory="$SCRATCH/root" --machine="$NAME" --boot \
            --register=no --keep-unit --console=pipe --private-network --link-journal=no || status=$?
    done
    exit $status
"#;

/// A machine that runs. Dropping it ends it at once.
pub struct Container {
    name: String,
    nspawn: Child,
    control_group: String,
    /// The pid, as seen from here, of the container's PID 1.
    leader: AtomicI32,
    console: PathBuf,
}

impl Container {
    /// Boots. The thread that calls this must live as long as the container is to: it is killed
    /// with it.
    pub fn boot(name: &str, base: &Path, scene: &Scene) -> Result<Self> {
        let groups = scene.control_groups(name)?;
        let scratch = scene.folder(&format!("container-{name}"))?;
        let console = scene.folder("consoles")?.join(name);
        let group = groups.first().and_then(|group| group.file_name()?.to_str());
        let control_group = group
            .context("this machine has no control groups")?
            .to_owned();

        // Containers that nspawn does not register are in the control group of who starts them.
        let enter = r#"for group in "$@"; do echo $$ > "$group/cgroup.procs"; done
            exec setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child=KILL \
                --mount-proc --propagation private sh -c "$BOOT""#;
        let nspawn = Command::new("sh")
            .args(["-c", enter, "sh"])
            .args(&groups)
            .env("BOOT", BOOT)
            .env("SCRATCH", &scratch)
            .env("BASE", base)
            .env("NAME", name)
            // Newer systemd boots on the unified hierarchy only.
            .env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1")
            .stdin(Stdio::null())
            .stdout(fs::File::create(&console)?)
            .stderr(fs::File::options().append(true).open(&console)?)
            .spawn()
            .context("starting systemd-nspawn")?;
        let container = Self {
            name: name.to_owned(),
            nspawn,
            control_group,
            leader: AtomicI32::new(0),
            console,
        };
        container.wait_until_booted(0)?;
        Ok(container)
    }

    /// Waits for a PID 1 other than `before`, and until it says that it is done.
    fn wait_until_booted(&self, before: i32) -> Result<()> {
        let booted = wait_for("the container's systemd is running", BOOT_PATIENCE, || {
            if let Some(leader) = self.find_leader().filter(|leader| *leader != before) {
                self.leader.store(leader, Ordering::Relaxed);
                let state = self.run(&["systemctl", "is-system-running"])?;
                return Ok((state.stdout == b"running\n").then_some(()));
            }
            Ok(None)
        });
        booted.map_err(|error| {
            let console = fs::read_to_string(&self.console).unwrap_or_default();
            anyhow!("{error}; on the console of {}:\n{console}", self.name)
        })
    }

    fn find_leader(&self) -> Option<i32> {
        let pids = fs::read_dir("/proc").ok()?.flatten();
        pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .find(|pid: &i32| {
                let read =
                    |file| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
                let is_pid_1 = || {
                    let status = read("status");
                    let pids = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
                    pids.and_then(|pids| pids.split_whitespace().last()) == Some("1")
                };
                let inside = format!("/{}/", self.control_group);
                read("comm") == "systemd\n" && read("cgroup").contains(&inside) && is_pid_1()
            })
    }

    /// Where the container's files are seen from here. Absolute symbolic links in it lead astray.
    pub fn root(&self) -> PathBuf {
        PathBuf::from(format!(
            "/proc/{}/root",
            self.leader.load(Ordering::Relaxed)
        ))
    }

    fn command(&self, words: &[&str]) -> Command {
        let leader = self.leader.load(Ordering::Relaxed).to_string();
        let mut command = Command::new("timeout");
        command
            .args(["--kill-after=5", &USUAL_SECONDS.to_string()])
            .args(["nsenter", "-t", &leader, "-a", "env", "-i"])
            .args([
                "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
                "HOME=/root",
                "LANG=C.UTF-8",
            ])
            .args([
                "DEBIAN_FRONTEND=noninteractive",
                "SYSTEMD_COLORS=0",
                "SYSTEMD_PAGER=cat",
            ])
            .args(words);
        command
    }

    /// Runs a command inside to its end, whatever that is.
    pub fn run(&self, words: &[&str]) -> Result<Output> {
        host::run(&mut self.command(words))
    }

    /// Runs a command inside that has to succeed, and takes what it printed.
    pub fn ok(&self, words: &[&str]) -> Result<String> {
        host::output(&mut self.command(words))
    }

    /// The same for a line of shell.
    pub fn sh(&self, line: &str) -> Result<String> {
        self.ok(&["sh", "-c", line])
    }

    /// Writes a file, and the folders above it.
    pub fn write(&self, path: &str, content: &[u8], mode: u32) -> Result<()> {
        let file = self.root().join(path.trim_start_matches('/'));
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder).with_context(|| format!("the folder of {path}"))?;
        }
        // In one step: a script that is being written could be run.
        let mut new = file.clone().into_os_string();
        new.push(".being-written");
        let mut handle = fs::File::create(Path::new(&new)).with_context(|| path.to_owned())?;
        handle.write_all(content)?;
        handle.set_permissions(fs::Permissions::from_mode(mode))?;
        drop(handle);
        fs::rename(new, &file).with_context(|| path.to_owned())
    }

    /// The text of a file, if it can be read.
    pub fn read(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.root().join(path.trim_start_matches('/'))).ok()
    }

    /// Whether there is a file, or a link, even one that leads nowhere.
    pub fn exists(&self, path: &str) -> bool {
        self.root()
            .join(path.trim_start_matches('/'))
            .symlink_metadata()
            .is_ok()
    }

    /// Signals the container's systemd. From inside nobody can stop it, for there it is PID 1.
    pub fn signal_systemd(&self, signal: Signal) -> Result<()> {
        let leader = Pid::from_raw(self.leader.load(Ordering::Relaxed));
        kill(leader, signal).with_context(|| format!("{signal} to systemd"))
    }

    /// Reboots, as a person would.
    pub fn reboot(&self) -> Result<()> {
        let before = self.leader.load(Ordering::Relaxed);
        // It may be gone before systemctl has had its answer.
        self.run(&["systemctl", "reboot"])?;
        wait_for("the container has gone down", BOOT_PATIENCE, || {
            Ok((!Path::new(&format!("/proc/{before}")).exists()).then_some(()))
        })?;
        self.wait_until_booted(before)
    }

    /// A clean power-off.
    pub fn power_off(mut self) -> Result<()> {
        self.run(&["systemctl", "poweroff"])?;
        let ended = wait_for("systemd-nspawn has ended", BOOT_PATIENCE, || {
            Ok(self.nspawn.try_wait()?)
        })?;
        ensure!(ended.success(), "systemd-nspawn: {ended}");
        Ok(())
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if let Ok(None) = self.nspawn.try_wait() {
            // All of it goes with this one process; there is nothing to be done about a failure.
            let _ = self.nspawn.kill();
            let _ = self.nspawn.wait();
        }
    }
}

/// Fails with what the command said unless it ended with this status.
pub fn expect_status(output: &Output, status: i32) -> Result<String> {
    if output.status.code() != Some(status) {
        bail!(
            "{} instead of {status}: {}",
            output.status,
            host::tail(output, 20)
        );
    }
    Ok(host::tail(output, 1000))
}
