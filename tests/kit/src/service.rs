//! The service under test, and what it says and publishes.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::till::Till;
use crate::wait::eventually;

/// Takes out of a command's environment what would change the service's behaviour.
pub fn clean(mut command: Command) -> Command {
    for name in [
        "LANG",
        "LANGUAGE",
        "LC_ALL",
        "LC_MESSAGES",
        "NO_COLOR",
        "NOTIFY_SOCKET",
        "WATCHDOG_USEC",
        "WATCHDOG_PID",
        "JOURNAL_STREAM",
        "RUST_LOG",
        "RUNTIME_DIRECTORY",
        "STATE_DIRECTORY",
    ] {
        command.env_remove(name);
    }
    command
}

/// A running service. Dropping it kills it.
pub struct Service {
    child: Child,
    runtime_dir: PathBuf,
    lines: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
}

impl Service {
    /// Starts it on a till by a prepared command, to which `run` and its options are appended.
    pub fn start(till: &Till, command: &mut Command) -> Self {
        command.arg("run");
        let config = till.config();
        Self::start_by_default(
            till,
            command.args([OsStr::new("--config"), config.as_os_str()]),
        )
    }

    /// The same without naming the configuration: the command has `run` already.
    pub fn start_by_default(till: &Till, command: &mut Command) -> Self {
        till.settle();
        let runtime_dir = till.runtime_dir();
        let mut child = command
            .args([OsStr::new("--runtime-dir"), runtime_dir.as_os_str()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = lines.clone();
        let reader = std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                eprintln!("    {line}");
                sink.lock().unwrap().push(line);
            }
        });
        Self {
            child,
            runtime_dir,
            lines,
            reader: Some(reader),
        }
    }

    /// Its pid.
    pub fn pid(&self) -> i32 {
        self.child.id().try_into().unwrap()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).unwrap();
    }

    /// Whether a child of the service is dead and not reaped.
    pub fn has_zombie(&self) -> bool {
        let processes = procfs::process::all_processes().unwrap();
        let mut all = processes.filter_map(|process| process.ok()?.stat().ok());
        all.any(|process| process.ppid == self.pid() && process.state == 'Z')
    }

    /// Everything said so far.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// How many messages there are of this event about this process.
    pub fn count(&self, event: &str, key: &str) -> usize {
        let lines = self.lines();
        lines
            .iter()
            .filter(|line| is_event(line, event, key))
            .count()
    }

    /// Waits for the message of an event about a process.
    pub fn wait_for(&self, event: &str, key: &str) -> String {
        eventually(("message", event, key), || {
            self.lines()
                .into_iter()
                .find(|line| is_event(line, event, key))
        })
    }

    /// Waits for a line that contains `text`.
    pub fn wait_for_line(&self, text: &str) -> String {
        eventually(("line", text), || {
            self.lines().into_iter().find(|line| line.contains(text))
        })
    }

    /// What it last published about a process, once it has published anything.
    pub fn status(&self, key: &str) -> Value {
        eventually("a status", || {
            let text = std::fs::read(self.runtime_dir.join("status.json")).ok()?;
            let status: Value = serde_json::from_slice(&text).expect("a whole status.json");
            (status["pid"] == self.pid()).then_some(())?;
            let processes = status["processes"].as_array()?;
            processes
                .iter()
                .find(|process| process["key"] == key)
                .cloned()
        })
    }

    /// Waits until a process is in a state, and returns its status.
    pub fn wait_for_state(&self, key: &str, state: &str) -> Value {
        eventually(("state", key, state), || {
            Some(self.status(key)).filter(|status| status["state"] == state)
        })
    }

    /// Waits until it has said so many times more that it has looked.
    pub fn wait_cycles(&self, cycles: usize) {
        let mut moments = std::collections::BTreeSet::new();
        eventually(("cycles", cycles), || {
            let lock = std::fs::metadata(self.runtime_dir.join("lock")).ok()?;
            moments.insert(lock.modified().unwrap());
            (moments.len() > cycles).then_some(())
        });
    }

    /// Waits until a process was restarted so often.
    pub fn wait_for_restarts(&self, key: &str, restarts: u64) -> Value {
        eventually(("restarts", key, restarts), || {
            Some(self.status(key)).filter(|status| status["restarts"] == restarts)
        })
    }

    /// Asks it to stop and waits for that.
    pub fn stop(mut self, signal: Signal) -> (ExitStatus, Vec<String>) {
        self.signal(signal);
        self.wait()
    }

    /// Waits until it has ended by itself.
    pub fn wait(&mut self) -> (ExitStatus, Vec<String>) {
        let status = eventually("the service's end", || self.child.try_wait().unwrap());
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        (status, self.lines())
    }
}

fn is_event(line: &str, event: &str, key: &str) -> bool {
    let has = |field: String| line.split(' ').any(|word| word == field);
    has(format!("MFE_EVENT={event}")) && has(format!("MFE_PROCESS={key}"))
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
