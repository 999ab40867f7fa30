//! A till in a temporary directory: stand-ins under names of their own, start scripts, a
//! configuration.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::standin::{STANDIN, Start, starts, starts_file};
use crate::wait::eventually;

/// Copies a file to where it can be run, in place of what is there.
///
/// Another process does it: a test beside this one may fork at any moment, and as long as its child
/// has a descriptor open for writing, nobody can run the file (ETXTBSY).
pub fn install_program(from: &Path, to: &Path) {
    let mut new = to.as_os_str().to_owned();
    new.push(".new");
    let status = Command::new("install")
        .args(["-m", "755", "--"])
        .args([from.as_os_str(), &new])
        .status();
    assert!(status.unwrap().success(), "{} isn't copied", to.display());
    fs::rename(new, to).unwrap();
}

/// A machine with programs to keep running. Dropping it ends them all.
pub struct Till {
    directory: TempDir,
    number: u32,
}

/// One of the till's programs.
pub struct Program {
    /// Its process name, which nobody else on this machine has.
    pub name: String,
    path: PathBuf,
    directory: PathBuf,
}

impl Default for Till {
    fn default() -> Self {
        Self::new()
    }
}

impl Till {
    /// A till without any program.
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let directory = tempfile::Builder::new().prefix("mfe-").tempdir().unwrap();
        fs::create_dir(directory.path().join("bin")).unwrap();
        Self {
            directory,
            number: NUMBER.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// A till with one program, `comunicador`, whose start script becomes the program; it is looked
    /// at every 100 ms, and its restarts never wait.
    pub fn with_program() -> (Self, Program) {
        Self::with_program_every("100ms")
    }

    /// The same, with another interval.
    pub fn with_program_every(interval: &str) -> (Self, Program) {
        let till = Self::new();
        let program = till.program('C');
        let script = till.script("start.sh", &format!("exec {}", program.command()));
        let section = section("comunicador", &program.name, &script);
        till.configure(&format!(
            "interval = \"{interval}\"\nrestart_delay = \"0s\"\n{section}"
        ));
        (till, program)
    }

    /// A till with one program, `comunicador`, as [`Till::with_program`], whose section says more.
    pub fn with_rules(rules: &str) -> (Self, Program) {
        let (till, program) = Self::with_program();
        till.set_rules(&program, rules);
        (till, program)
    }

    /// The same for a till that has its program.
    pub fn set_rules(&self, program: &Program, rules: &str) {
        let script = self.path().join("bin/start.sh");
        let section = section("comunicador", &program.name, &script);
        self.configure(&format!(
            "interval = \"100ms\"\nrestart_delay = \"0s\"\n{section}{rules}\n"
        ));
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The service's runtime directory, which the service makes.
    pub fn runtime_dir(&self) -> PathBuf {
        self.path().join("run")
    }

    /// The file of the configuration.
    pub fn config(&self) -> PathBuf {
        self.path().join("config.toml")
    }

    /// A program whose name begins with `initial`; pid and number make it this till's own.
    pub fn program(&self, initial: char) -> Program {
        self.program_named(&format!(
            "{initial}{:x}.{}",
            std::process::id(),
            self.number
        ))
    }

    /// A program of exactly this name.
    pub fn program_named(&self, name: &str) -> Program {
        let path = self.path().join("bin").join(name);
        symlink(STANDIN, &path).unwrap();
        Program {
            name: name.to_owned(),
            path,
            directory: self.path().to_owned(),
        }
    }

    /// Writes an executable script; `#!/bin/sh` goes before `body`.
    pub fn script(&self, name: &str, body: &str) -> PathBuf {
        self.executable(name, &format!("#!/bin/sh\n{body}\n"))
    }

    /// Writes an executable file.
    pub fn executable(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path().join("bin").join(name);
        let new = self.path().join("bin").join(format!(".{name}.new"));
        fs::write(&new, content).unwrap();
        install_program(&new, &path);
        path
    }

    /// Waits until no script has just changed: none is run before.
    pub fn settle(&self) {
        let has_settled = |path: PathBuf| {
            let metadata = fs::symlink_metadata(path).unwrap();
            let seconds = Duration::from_secs(metadata.ctime().try_into().unwrap());
            let rest = Duration::from_nanos(metadata.ctime_nsec().try_into().unwrap());
            let changed = UNIX_EPOCH + seconds + rest;
            // A little more than the service waits, for the kernel's clock of files is coarser.
            let age = SystemTime::now()
                .duration_since(changed)
                .unwrap_or_default();
            !metadata.is_file() || age >= Duration::from_millis(2050)
        };
        eventually("the scripts have settled", || {
            let mut scripts = fs::read_dir(self.path().join("bin")).unwrap();
            scripts
                .all(|script| has_settled(script.unwrap().path()))
                .then_some(())
        });
    }

    /// Writes the configuration.
    pub fn configure(&self, text: &str) {
        fs::write(self.config(), text).unwrap();
    }

    /// Writes a configuration that looks every 100 ms and starts each program by its script, however
    /// often it dies.
    pub fn configure_scripts(&self, programs: &[(&str, &Program, &Path)]) {
        let mut text = String::from("interval = \"100ms\"\nrestart_delay = \"0s\"\n");
        for (key, program, script) in programs {
            text += &section(key, &program.name, script);
        }
        self.configure(&text);
    }
}

/// A `[process.KEY]` section; more settings can be appended to it.
pub fn section(key: &str, name: &str, script: &Path) -> String {
    let name = toml::Value::from(name);
    let script = toml::Value::from(script.to_str().unwrap());
    format!("[process.{key}]\nname = {name}\ncommand = [{script}]\n")
}

impl Drop for Till {
    fn drop(&mut self) {
        // Scripts first, for they may start programs.
        for _ in 0..2 {
            for pid in processes_of(self.path()) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
    }
}

/// The processes that have a path below `directory` among their arguments: scripts and stand-ins.
fn processes_of(directory: &Path) -> Vec<i32> {
    let directory = directory.to_str().unwrap();
    let processes = procfs::process::all_processes().unwrap();
    processes
        .filter_map(Result::ok)
        .filter(|process| process.pid != i32::try_from(std::process::id()).unwrap())
        .filter(|process| {
            let arguments = process.cmdline().unwrap_or_default();
            arguments
                .iter()
                .any(|argument| argument.contains(directory))
        })
        .map(|process| process.pid)
        .collect()
}

impl Program {
    /// The program's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A shell command that becomes the program: prefix `exec `, or append `&`.
    pub fn command(&self) -> String {
        format!("'{}' '{}'", self.path.display(), self.directory.display())
    }

    /// Starts it as somebody else would; the caller is its parent.
    pub fn start(&self) -> Child {
        let child = Command::new(&self.path)
            .arg(&self.directory)
            .spawn()
            .unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        eventually(("started", &self.name), || {
            self.pids().contains(&pid).then_some(())
        });
        child
    }

    /// The pids of every copy that was ever started, in order.
    pub fn starts(&self) -> Vec<i32> {
        let starts = starts(&starts_file(&self.directory, &self.name));
        starts.into_iter().map(|start| start.pid).collect()
    }

    /// Its last start.
    pub fn last_start(&self) -> Start {
        let starts = starts(&starts_file(&self.directory, &self.name));
        *starts.last().expect("it was started")
    }

    /// The pids of the copies that live now.
    pub fn pids(&self) -> Vec<i32> {
        let lives = |pid: &i32| {
            let stat = procfs::process::Process::new(*pid).and_then(|process| process.stat());
            stat.is_ok_and(|stat| stat.state != 'Z' && self.name.starts_with(&stat.comm))
        };
        self.starts().into_iter().filter(lives).collect()
    }

    /// The pid of the one copy that lives; waits until there is one.
    pub fn pid(&self) -> i32 {
        let pids = eventually(("running", &self.name), || {
            Some(self.pids()).filter(|pids| !pids.is_empty())
        });
        assert_eq!(pids.len(), 1, "copies of {}", self.name);
        pids[0]
    }

    /// Kills the one copy that lives and returns the pid it had.
    pub fn kill(&self) -> i32 {
        let pid = self.pid();
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        pid
    }
}
