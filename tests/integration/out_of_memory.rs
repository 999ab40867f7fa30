//! A program that the kernel ends because memory runs out is told so, and one that somebody kills isn't:
//! by a real control group whose limit a neighbour of the program exceeds.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::program::{mfe_watchdog, run};
use mfe_kit::{Guard, Need, Till, eventually, needs, output};

/// A control group with little memory, of either hierarchy.
struct Group {
    path: PathBuf,
    limit: &'static str,
    counts: &'static str,
}

impl Group {
    fn new(till: &Till) -> Self {
        let root = Path::new("/sys/fs/cgroup");
        let (parent, limit, counts) = if root.join("cgroup.controllers").exists() {
            (root.to_owned(), "memory.max", "memory.events")
        } else {
            let parent = root.join("memory");
            (parent, "memory.limit_in_bytes", "memory.oom_control")
        };
        let path = parent.join(till.path().file_name().unwrap());
        fs::create_dir(&path).unwrap();
        fs::write(path.join(limit), "16M").unwrap();
        Self {
            path,
            limit,
            counts,
        }
    }

    fn procs(&self) -> PathBuf {
        self.path.join("cgroup.procs")
    }

    /// Fills it little by little, so that the program is the best one to kill, until the kernel has killed; then
    /// there is room again.
    fn exceed(&self) -> Command {
        let path = self.path.display();
        let (limit, counts) = (self.limit, self.counts);
        let text = format!(
            "cd {path}; echo $$ > cgroup.procs\n\
             while grep -q '^oom_kill 0' {counts}; do\n\
             sh -c 'x=$(head -c 500000 /dev/zero | tr \"\\0\" x); sleep 60' & sleep 0.02; done\n\
             echo 256M > {limit}; wait"
        );
        let mut command = Command::new("sh");
        command.args(["-c", &text]);
        command
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for _ in 0..200 {
            for pid in fs::read_to_string(self.procs()).unwrap_or_default().lines() {
                let _ = Command::new("kill").args(["-9", pid]).status();
            }
            if fs::remove_dir(&self.path).is_ok() {
                return;
            }
            std::thread::yield_now();
        }
    }
}

#[test]
fn the_end_by_the_kernel_is_told_as_such() {
    needs!(Need::Root("to limit the memory of a control group"));
    let (till, program) = Till::with_program();
    let group = Group::new(&till);
    let procs = group.procs();
    let (procs, command) = (procs.display(), program.command());
    // It is to be the first to go.
    let limited = format!("echo 1000 > /proc/$$/oom_score_adj; echo $$ > {procs}; exec {command}");
    till.script("start.sh", &limited);
    till.settle();
    let service = run(&till);
    service.wait_for_state("comunicador", "up");
    program.kill();
    service.wait_for_restarts("comunicador", 1);
    let status = service.status("comunicador");
    assert_eq!(status["last_restart"]["cause"], "killed");

    let _neighbour = Guard(group.exceed().spawn().unwrap());
    service.wait_for_restarts("comunicador", 2);
    let status = service.status("comunicador");
    assert_eq!(status["last_restart"]["cause"], "oom", "{status}");
    let is_told = |line: &String| line.contains("was killed by SIGKILL, out of memory; no sale");
    let line = eventually("it is told", || service.lines().into_iter().find(is_told));
    assert!(line.contains("MFE_CAUSE=oom MFE_SIGNAL=SIGKILL"), "{line}");
    for (language, words) in [("C", "out of memory"), ("pt_BR.UTF-8", "falta de memória")] {
        let mut command = mfe_watchdog();
        command
            .arg("status")
            .arg("--runtime-dir")
            .arg(till.runtime_dir());
        let shown = output(command.env("LC_ALL", language)).stdout;
        assert!(shown.contains(&format!(", {words}\n")), "{shown}");
    }
}
