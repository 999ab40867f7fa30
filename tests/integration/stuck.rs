//! A program that can't be killed: not doubled, said clearly, looked at again.
//!
//! Only the reason is of the test's making: the program is frozen by a control group of version 1,
//! in which it waits as for a disk (state D) and dies of SIGKILL when it is thawed.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::program::run;
use mfe_kit::{Need, Till, eventually, needs};

const KEY: &str = "comunicador";

/// A control group that freezes.
struct Freezer {
    mount: tempfile::TempDir,
    group: PathBuf,
}

impl Freezer {
    fn new() -> Self {
        let mount = tempfile::Builder::new().prefix("mfe-").tempdir().unwrap();
        let status = Command::new("mount")
            .args(["-t", "cgroup", "-o", "freezer", "freezer"])
            .arg(mount.path())
            .status();
        assert!(status.unwrap().success(), "the freezer can't be mounted");
        // The same hierarchy is mounted elsewhere, so the group needs a name that nobody has.
        let group = mount.path().join(mount.path().file_name().unwrap());
        fs::create_dir(&group).unwrap();
        Self { mount, group }
    }

    fn freeze(&self, pid: i32) {
        fs::write(self.group.join("cgroup.procs"), pid.to_string()).unwrap();
        self.set("FROZEN");
        eventually("frozen", || {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
            status.contains("State:\tD").then_some(())
        });
    }

    fn set(&self, state: &str) {
        fs::write(self.group.join("freezer.state"), state).unwrap();
    }
}

impl Drop for Freezer {
    fn drop(&mut self) {
        self.set("THAWED");
        for _ in 0..100 {
            // It may be busy until the last process in it is gone.
            if fs::remove_dir(&self.group).is_ok() {
                break;
            }
            let pids = fs::read_to_string(self.group.join("cgroup.procs")).unwrap_or_default();
            for pid in pids.lines() {
                let root = self.mount.path().join("cgroup.procs");
                let _ = fs::write(root, pid);
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let _ = Command::new("umount").arg(self.mount.path()).status();
    }
}

#[test]
fn what_cannot_be_killed_is_not_doubled() {
    needs!(Need::Root("it freezes a process"));
    let freezer = Freezer::new();
    let (till, program) = Till::with_rules(
        "stop_timeout = \"200ms\"\nstart_timeout = \"200ms\"\n\
         [[process.comunicador.check]]\nkind = \"age\"\nmax = \"1s\"\nevery = \"100ms\"\n\
         action = \"restart\"",
    );
    let service = run(&till);
    service.wait_for_state(KEY, "up");
    let frozen = program.pid();
    freezer.freeze(frozen);
    let line = service.wait_for("stuck", KEY);
    let words = format!(
        "(pid {frozen}) must end and can't be killed, so no other one is started: SIGKILL didn't \
         end it"
    );
    assert!(line.contains(&words), "{line}");
    let status = service.wait_for_state(KEY, "stuck");
    assert_eq!(status["pids"], serde_json::json!([frozen]));
    let detail = status["detail"].as_str().unwrap();
    assert!(detail.contains("can't be killed"), "{detail}");
    service.wait_cycles(10);
    assert_eq!(program.starts(), [frozen], "no other one");
    assert_eq!(service.count("stuck", KEY), 1, "said once");
    assert_eq!(service.count("killed", KEY), 0, "it isn't yet");

    // The rules may change, and the service may die, meanwhile.
    drop(service);
    till.set_rules(&program, "");
    let service = run(&till);
    let line = service.wait_for("adopted", KEY);
    assert!(
        line.contains(&frozen.to_string()),
        "a process that is there: {line}"
    );
    assert_eq!(program.starts(), [frozen], "no other one");

    freezer.set("THAWED");
    service.wait_for_restarts(KEY, 1);
    assert_ne!(program.pid(), frozen);
    assert_eq!(program.starts().len(), 2);
}

#[test]
fn once_it_can_be_killed_it_is_started_anew() {
    needs!(Need::Root("it freezes a process"));
    let freezer = Freezer::new();
    let (till, program) = Till::with_rules(
        "stop_timeout = \"200ms\"\nstart_timeout = \"200ms\"\n\
         [[process.comunicador.check]]\nkind = \"age\"\nmax = \"2s\"\nevery = \"100ms\"\n\
         action = \"restart\"",
    );
    let service = run(&till);
    service.wait_for_state(KEY, "up");
    let frozen = program.pid();
    freezer.freeze(frozen);
    service.wait_for_state(KEY, "stuck");
    assert_eq!(program.starts(), [frozen], "no other one");
    freezer.set("THAWED");
    let status = service.wait_for_restarts(KEY, 1);
    assert_eq!(status["last_restart"]["cause"], "unhealthy");
    let line = service.wait_for("killed", KEY);
    assert!(line.contains("SIGKILL"), "{line}");
    assert_ne!(program.pid(), frozen);
    assert_eq!(program.starts().len(), 2);
    assert_eq!(service.count("stuck", KEY), 1);
}
