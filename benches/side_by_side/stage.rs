//! The programs that are watched, and other processes to make the machine fuller; who watches
//! is no matter here.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, bail};
use mfe_kit::{STANDIN, Start, starts_file};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};

/// A program to keep running. Dropping it ends every copy.
pub(crate) struct Program {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    /// What starts it: a shell script that becomes the program.
    pub(crate) script: PathBuf,
    /// A FIFO, so that a start is heard of at once.
    pipe: PathBuf,
    reports: Receiver<Start>,
    /// Every start so far.
    pub(crate) starts: usize,
    pub(crate) last: Option<Start>,
}

impl Program {
    /// A program of this name, in a directory of the machine whose files are at `root`.
    pub(crate) fn new(root: &Path, directory: &Path, name: &str) -> anyhow::Result<Self> {
        let from_here = |path: &Path| root.join(path.strip_prefix("/").unwrap_or(path));
        fs::create_dir_all(from_here(directory))?;
        let path = directory.join(name);
        fs::copy(STANDIN, from_here(&path))?;
        let pipe = starts_file(directory, name);
        let script = directory.join(format!("start-{name}.sh"));
        let text = format!(
            "#!/bin/sh\nexec {} {}\n",
            path.display(),
            directory.display()
        );
        fs::write(from_here(&script), text)?;
        fs::set_permissions(from_here(&script), fs::Permissions::from_mode(0o755))?;
        let pipe = from_here(&pipe);
        mkfifo(&pipe, Mode::S_IRWXU)?;
        let reader = fs::OpenOptions::new().read(true).write(true).open(&pipe)?;
        let (sender, reports) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(reader).lines().map_while(Result::ok) {
                let report = Start::parse(&line);
                if report.is_none_or(|report| sender.send(report).is_err()) {
                    break;
                }
            }
        });
        Ok(Self {
            name: name.into(),
            path,
            script,
            pipe,
            reports,
            starts: 0,
            last: None,
        })
    }

    /// Waits for the next start.
    pub(crate) fn started(&mut self, at_most: Duration) -> anyhow::Result<Start> {
        let report = self.reports.recv_timeout(at_most);
        let report = report.with_context(|| format!("{} not started in {at_most:?}", self.name))?;
        self.starts += 1;
        self.last = Some(report);
        Ok(report)
    }

    /// Kills the running copy, waits for the next and returns the time between.
    pub(crate) fn outage(&mut self, at_most: Duration) -> anyhow::Result<Duration> {
        let killed = self.kill()?;
        let report = self.started(at_most)?;
        Ok(report.began.saturating_sub(killed))
    }

    /// Kills the running copy; returns the time just before.
    pub(crate) fn kill(&self) -> anyhow::Result<Duration> {
        // Looked for, since in a container it knows itself by another pid.
        let pid = *self.copies().first().context("it doesn't run")?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
        kill(Pid::from_raw(pid), Signal::SIGKILL)?;
        Ok(now)
    }

    /// Fails if more than one copy runs, or one was started that nobody had asked for.
    pub(crate) fn check_alone(&mut self) -> anyhow::Result<()> {
        if self.reports.try_recv().is_ok() {
            bail!("{} was started twice", self.name);
        }
        let copies = self.copies();
        anyhow::ensure!(
            copies.len() == 1,
            "{} copies of {}",
            copies.len(),
            self.name
        );
        Ok(())
    }

    /// What starts it, as its machine knows it.
    pub(crate) fn command(&self) -> String {
        self.script.display().to_string()
    }

    /// Waits until the running copy is as old as this.
    pub(crate) fn wait_for_age(&self, age: Duration) {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        if let (Some(last), Ok(now)) = (self.last, now) {
            std::thread::sleep((last.began + age).saturating_sub(now));
        }
    }

    fn copies(&self) -> Vec<i32> {
        let Ok(processes) = procfs::process::all_processes() else {
            return Vec::new();
        };
        let stats = processes.filter_map(|process| process.ok()?.stat().ok());
        let living = stats.filter(|stat| stat.comm == self.name && !"ZX".contains(stat.state));
        living.map(|stat| stat.pid).collect()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // A copy that is just being started makes a file in its place, which goes with the directory.
        let _ = fs::remove_file(&self.pipe);
        for pid in self.copies() {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

/// Idle processes that fill the machine. Dropping them ends them.
#[derive(Default)]
pub(crate) struct Crowd(Vec<Child>);

impl Crowd {
    /// Adds processes until the machine has `total`; returns how many it has.
    pub(crate) fn fill(&mut self, total: usize) -> anyhow::Result<usize> {
        let there = procfs::process::all_processes()?.count();
        for _ in there..total {
            let child = Command::new("sleep")
                .arg("7200")
                .stdin(Stdio::null())
                .spawn()?;
            self.0.push(child);
        }
        // Let them all get to their sleep.
        let end = Instant::now() + Duration::from_secs(30);
        while Instant::now() < end && running() > 4 {
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(there.max(total))
    }
}

/// The processes that are running or could (proc(5), /proc/loadavg).
fn running() -> u32 {
    use procfs::Current;
    procfs::LoadAverage::current().map_or(0, |load| load.cur)
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
        }
        for child in &mut self.0 {
            let _ = child.wait();
        }
    }
}
