//! A till with a journal of its own, made by systemd-journal-remote(8), and the relay on it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use mfe_kit::{Output, eventually, output};
use serde_json::Value;

use crate::broker::{Broker, Office, PASSWORD, TILL};

pub const RELAY: &str = env!("CARGO_BIN_EXE_mfe-relay");

/// Two boots; the second one's clock is behind the first one's by 26 years.
pub const FIRST: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
pub const SECOND: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
pub const NOW: u64 = 1_795_701_807_000_000;
pub const LONG_AGO: u64 = 946_684_800_000_000;

const MACHINE: &str = "9c1db3afc81c4bac9c8907a6d396757d";

/// A till.
pub struct Till {
    folder: tempfile::TempDir,
    files: usize,
}

/// The fields of entries that are the watchdog's.
pub const OURS: &str = "_SYSTEMD_UNIT=mfe-watchdog.service\n_UID=0\nMFE_EVENT=down\n";

impl Till {
    /// One that has joined an office.
    pub fn joined(broker: &Broker, office: &Office) -> Self {
        let till = Self::new();
        till.configure(broker.port, &office.host, "");
        till.enrol(PASSWORD, &broker.ca());
        till
    }

    /// One that hasn't.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["config", "state", "run", "watchdog", "journal"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        Self { folder, files: 0 }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn configure(&self, port: u16, host: &str, more: &str) {
        self.configure_as(&format!("amqps://localhost:{port}/{host}"), TILL, more);
    }

    pub fn configure_as(&self, server: &str, till: &str, more: &str) {
        let text = format!("server = \"{server}\"\ntill = \"{till}\"\nheartbeat = \"5s\"\n{more}");
        fs::write(self.path("config/config.toml"), text).unwrap();
    }

    pub fn enrol(&self, password: &str, ca: &str) {
        fs::write(self.path("config/ca.pem"), ca).unwrap();
        fs::write(self.path("config/credential"), format!("{password}\n")).unwrap();
    }

    /// Adds entries of a boot to the journal, a second apart: from this one on, so many, with these fields.
    pub fn log(&mut self, boot: &str, clock: u64, range: std::ops::Range<u64>, fields: &str) {
        self.files += 1;
        let name = format!("{}.journal", self.files);
        self.log_to(&name, boot, clock, range, fields);
    }

    pub fn log_to(
        &self,
        name: &str,
        boot: &str,
        clock: u64,
        range: std::ops::Range<u64>,
        fields: &str,
    ) {
        let file = self.path("journal").join(name);
        let mut remote = Command::new("/lib/systemd/systemd-journal-remote")
            .arg("-o")
            .arg(&file)
            .arg("-")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut input = std::io::BufWriter::new(remote.stdin.take().unwrap());
        for n in range {
            let (wall, mono) = (clock + n * 1_000_000, n * 1_000_000);
            write!(
                input,
                "__REALTIME_TIMESTAMP={wall}\n__MONOTONIC_TIMESTAMP={mono}\n_BOOT_ID={boot}\n\
                 _MACHINE_ID={MACHINE}\nMESSAGE={boot} {n}\nMFE_SEQ={n}\n{fields}\n"
            )
            .unwrap();
        }
        drop(input);
        assert!(remote.wait().unwrap().success());
        self.published();
    }

    /// The watchdog publishes its status.
    pub fn published(&self) {
        let new = self.path("watchdog/.new");
        fs::write(&new, "{\"version\":1,\"processes\":[]}").unwrap();
        fs::rename(new, self.path("watchdog/status.json")).unwrap();
    }

    /// A command of the relay's.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(RELAY);
        command
            .arg("--config-dir")
            .arg(self.path("config"))
            .arg("--state-dir")
            .arg(self.path("state"))
            .arg("--runtime-dir")
            .arg(self.path("run"))
            .args(words)
            .env("MFE_RELAY_JOURNAL", self.path("journal"))
            .env("LC_ALL", "C.UTF-8")
            .env_remove("LANGUAGE")
            .env_remove("NOTIFY_SOCKET");
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, words: &[&str]) -> Output {
        output(&mut self.command(words))
    }

    /// The service.
    pub fn relay(&self) -> Relay {
        self.relay_after(|_| {})
    }

    /// The service, started in a way of its own.
    pub fn relay_after(&self, change: impl FnOnce(&mut Command)) -> Relay {
        let log = self.path("log");
        let file = fs::File::options()
            .append(true)
            .create(true)
            .open(&log)
            .unwrap();
        let watchdog = self.path("watchdog").display().to_string();
        let mut command = self.command(&["run", "--watchdog-dir", &watchdog]);
        change(&mut command);
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn();
        Relay {
            child: child.unwrap(),
            log,
            status: self.path("run/status.json"),
        }
    }

    /// How far it has delivered.
    pub fn saved(&self) -> Value {
        let text = fs::read(self.path("state/sent.json")).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or(Value::Null)
    }

    /// Waits until it is saved how far a boot is delivered.
    pub fn wait_for_mark(&self, boot: &str, mark: u64) {
        eventually(("mark", boot, mark), || {
            (self.saved()["marks"][boot] == mark).then_some(())
        });
    }
}

/// A running service. Dropping it kills it.
pub struct Relay {
    child: Child,
    log: PathBuf,
    status: PathBuf,
}

impl Relay {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has said so far.
    pub fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until it has said something.
    pub fn wait_for(&self, words: &str) {
        eventually((words, Path::new(&self.log)), || {
            self.said().contains(words).then_some(())
        });
    }

    /// How often it has said something.
    pub fn times(&self, words: &str) -> usize {
        self.said().matches(words).count()
    }

    /// What it tells `status`.
    pub fn status(&self) -> Value {
        let text = fs::read(&self.status).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or(Value::Null)
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end, and waits for that.
    pub fn stop(mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").arg(pid).status().unwrap().success());
        let status = eventually("the relay's end", || self.child.try_wait().unwrap());
        assert!(status.success(), "{status}: {}", self.said());
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
