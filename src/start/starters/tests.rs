//! A server on a socket of the test's own plays systemd.

use std::collections::HashMap;
use std::process::Command;
use std::sync::{Arc, Mutex};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

use super::*;
use crate::config::{DEFAULT_TEXT, parse};
use crate::proc::ProcessId;
use crate::systemd::dbus::Answer;

/// Nothing here takes that long when it works.
const LONG: Duration = Duration::from_secs(60);

/// The state and the job of each unit, by a part of its object's path that no other has.
type Units = Arc<Mutex<HashMap<&'static str, (&'static str, u32)>>>;

/// A till's systemd, in the test's folder.
struct Till {
    directory: TempDir,
    units: Units,
}

impl Till {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let units = Units::default();
        let listener = UnixListener::bind(directory.path().join("private")).unwrap();
        let known = units.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client, known.clone()));
            }
        });
        Self { directory, units }
    }

    fn set(&self, unit: &'static str, state: &'static str, job: u32) {
        let stem = unit.split(['.', '-', '@']).next().unwrap();
        self.units.lock().unwrap().insert(stem, (state, job));
    }

    fn starters(&self, more: &str) -> Starters {
        let settings = parse(&format!("{DEFAULT_TEXT}\n{more}"), Path::new("config.toml"));
        let at = |name| self.directory.path().join(name);
        let sockets = Sockets {
            private: at("private"),
            bus: at("bus"),
        };
        Starters::on(sockets, &at("rc.local"), &settings.unwrap())
    }

    fn rc_local(&self, text: &str) {
        std::fs::write(self.directory.path().join("rc.local"), text).unwrap();
    }

    /// Waits, and gives all that was told meanwhile.
    async fn wait(&self, starters: &Starters, within: Duration) -> Vec<Vec<String>> {
        let mut told = Vec::new();
        let waits = starters.wait(within, |names| told.push(names.to_vec()));
        timeout(LONG, waits).await.unwrap();
        told
    }
}

/// Answers all calls of one client. Of a unit that isn't known systemd says that it is inactive.
async fn serve(mut client: UnixStream, units: Units) {
    let mut bytes = Vec::new();
    let begin = b"BEGIN\r\n";
    while !bytes.ends_with(begin) {
        if client.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let _ = client.write_all(b"OK 0123456789abcdef\r\n").await;
    let mut call = vec![0; 16];
    while client.read_exact(&mut call).await.is_ok() {
        let number = |at: usize| u32::from_le_bytes(call[at..at + 4].try_into().unwrap());
        let (serial, rest) = (number(8), number(12).next_multiple_of(8) + number(4));
        let mut words = vec![0; rest as usize];
        client.read_exact(&mut words).await.unwrap();
        let words = String::from_utf8_lossy(&words).into_owned();
        let known = units.lock().unwrap().clone();
        let mut known = known.into_iter();
        let unit = known.find(|(unit, _)| words.contains(&format!("/unit/{unit}_")));
        let (state, job) = unit.map_or(("inactive", 0), |(_, unit)| unit);
        let answer = if words.contains("ActiveState") {
            Answer::text(serial, state)
        } else if words.contains("SubState") {
            Answer::text(serial, "")
        } else if words.contains("Job") {
            Answer::job(serial, job)
        } else {
            Answer::property(serial, "u", &[0; 4])
        };
        if client.write_all(&answer.into_bytes()).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn nobody_on_the_way_is_not_waited_for() {
    let till = Till::new();
    till.rc_local("exit 0\n");
    till.set("rc-local.service", "activating", 1);
    till.set("cco-ser.service", "active", 0);
    till.set("mfe-https-ser.service", "deactivating", 2);
    let told = till.wait(&till.starters(""), LONG).await;
    assert_eq!(told, [[""; 0]; 0]);
}

#[tokio::test]
async fn who_is_on_the_way_is_told_and_waited_for() {
    for (unit, state, job) in [
        ("cco-ser.service", "activating", 0),
        ("mfe-https-ser.service", "inactive", 7),
        ("printer@1.service", "failed", 7),
        ("rc-local.service", "activating", 1),
    ] {
        let till = Till::new();
        till.rc_local("#!/bin/sh\nsleep 3; /opt/sefaz/cco/bin/runcco-ser.sh\n");
        till.set(unit, state, job);
        let more = "[process.printer]\nname = \"Printer\"\nunit = \"printer@1.service\"\n";
        let starters = till.starters(more);
        let mut told = Vec::new();
        let waits = starters.wait(LONG, |names| {
            told.push(names.to_vec());
            till.set(unit, "active", 0);
        });
        timeout(LONG / 2, waits).await.unwrap();
        assert_eq!(told, [[unit.to_owned()]]);
    }
}

#[tokio::test]
async fn whoever_comes_later_is_told_too() {
    let till = Till::new();
    till.set("cco-ser.service", "activating", 1);
    let starters = till.starters("");
    let mut told = Vec::new();
    let waits = starters.wait(LONG, |names| {
        till.set("mfe-https-ser.service", "activating", 2);
        if names.len() == 2 {
            till.set("cco-ser.service", "active", 0);
            till.set("mfe-https-ser.service", "failed", 0);
        }
        told.push(names.to_vec());
    });
    timeout(LONG / 2, waits).await.unwrap();
    let (first, second) = ("cco-ser.service", "mfe-https-ser.service");
    assert_eq!(told, [vec![first], vec![first, second]]);
}

#[tokio::test]
async fn who_stays_is_not_waited_for_for_ever() {
    let till = Till::new();
    till.set("cco-ser.service", "activating", 1);
    let begin = Instant::now();
    let told = till.wait(&till.starters(""), Duration::from_secs(2)).await;
    assert_eq!(told, [["cco-ser.service"]]);
    assert!(begin.elapsed() > PATIENCE, "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_systemd_that_is_not_there_is_not_waited_for() {
    let till = Till::new();
    let mut starters = till.starters("");
    starters.sockets.private = till.directory.path().join("nobody");
    assert_eq!(till.wait(&starters, LONG).await, [[""; 0]; 0]);
}

#[tokio::test]
async fn a_systemd_that_says_nothing_is_waited_for_a_second() {
    let till = Till::new();
    let mut starters = till.starters("");
    starters.sockets.private = till.directory.path().join("silent");
    let _listener = UnixListener::bind(&starters.sockets.private).unwrap();
    assert_eq!(till.wait(&starters, LONG).await, [[""; 0]; 0]);
}

/// As while systemd executes itself again.
#[tokio::test]
async fn a_systemd_that_is_lost_sight_of_is_waited_for_a_second() {
    let till = Till::new();
    till.set("cco-ser.service", "activating", 1);
    let starters = till.starters("");
    let socket = starters.sockets.private.clone();
    let mut lost = Instant::now();
    let waits = starters.wait(LONG, |_| {
        std::fs::remove_file(&socket).unwrap();
        lost = Instant::now();
    });
    timeout(LONG / 2, waits).await.unwrap();
    assert!(lost.elapsed() >= PATIENCE / 2, "{:?}", lost.elapsed());
}

/// The service of a script that runs in the background counts as started.
#[tokio::test]
async fn a_script_at_work_is_waited_for() {
    let till = Till::new();
    let script = till.directory.path().join("start.sh");
    std::fs::write(&script, "read forever\n").unwrap();
    let name = "[process.printer]\nname = \"Printer\"\n";
    let starters = till.starters(&format!("{name}command = [\"{}\"]\n", script.display()));
    let mut command = Command::new("/bin/sh");
    let command = command.arg(&script).stdin(std::process::Stdio::piped());
    let mut process = command.spawn().unwrap();
    let expected = format!("{} (pid {})", script.display(), process.id());
    let mut told = Vec::new();
    let waits = starters.wait(LONG, |names| {
        told.push(names.to_vec());
        process.kill().unwrap();
        process.wait().unwrap();
    });
    timeout(LONG / 2, waits).await.unwrap();
    assert_eq!(told, [[expected]]);
}

#[tokio::test]
async fn a_script_is_at_work_until_its_programs_are_up() {
    let till = Till::new();
    till.rc_local("service cco-ser start\n");
    let starters = till.starters("");
    let process = |pid, arguments: &[&str], unit: Option<&str>| Running {
        id: ProcessId { pid, start_time: 1 },
        parent: 1,
        session: 1,
        comm: arguments[0].rsplit('/').next().unwrap().to_owned(),
        arguments: arguments.iter().map(|word| (*word).to_owned()).collect(),
        unit: unit.map(str::to_owned),
    };
    let found = |running: &[Running]| -> Vec<i32> {
        let found = starters.scripts_at_work(running);
        found.map(|(_, process)| process.id.pid).collect()
    };
    let script = "/opt/sefaz/cco/bin/runcco-ser.sh";
    let running = [
        process(1, &["/bin/sh", script], Some("cco-ser.service")),
        process(2, &["/bin/sh", "-e", RC_LOCAL, "start"], None),
        process(3, &[script], None),
        process(4, &["/bin/sh", script], Some("mfe@comunicador.service")),
        process(5, &["/bin/sh", script], Some("mfe-watchdog.service")),
        process(6, &["nano", script], None),
        process(7, &["/bin/sh", "other.sh", script], None),
        process(8, &["/opt/sefaz/cco/bin/Monitor"], None),
    ];
    assert_eq!(found(&running), [1, 3, 2]);
    let up = process(9, &["/opt/sefaz/cco/bin/Comunicador"], None);
    let running = [&running[..], &[up]].concat();
    assert_eq!(
        found(&running),
        [0; 0],
        "all are up, though their scripts stay"
    );
}
