//! A machine as the kernel shows it, in a folder, for the tests of this room.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::config::{self, ProcessSettings};

pub(super) const UNIT_GROUP: &str = "/system.slice/system-mfe.slice/mfe@comunicador.service";
pub(super) const SCRIPT: &str = "/opt/sefaz/cco/bin/runcco-ser.sh";

/// A machine as the kernel shows it.
pub(super) struct Machine(tempfile::TempDir);

/// A process of that machine.
#[derive(Clone, Copy)]
pub(super) struct Process {
    pub(super) pid: i32,
    pub(super) parent: i32,
    pub(super) session: i32,
    pub(super) started: u64,
    pub(super) group: &'static str,
    pub(super) exe: &'static str,
    pub(super) arguments: &'static [&'static str],
}

pub(super) const BASE: Process = Process {
    pid: 0,
    parent: 1,
    session: 0,
    started: 1000,
    group: UNIT_GROUP,
    exe: "/usr/bin/dash",
    arguments: &["/bin/sh", SCRIPT],
};

impl Machine {
    pub(super) fn new() -> Self {
        let machine = Self(tempfile::tempdir().unwrap());
        let mounted = machine.path("sys/fs/cgroup");
        fs::create_dir_all(mounted.join("init.scope")).unwrap();
        fs::write(mounted.join("cgroup.controllers"), "").unwrap();
        machine.runs(&Process {
            pid: 1,
            parent: 0,
            started: 1,
            group: "/init.scope",
            exe: "/usr/lib/systemd/systemd",
            arguments: &["/sbin/init"],
            ..BASE
        });
        symlink("1", machine.path("proc/self")).unwrap();
        machine
    }

    pub(super) fn root(&self) -> &Path {
        self.0.path()
    }

    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    pub(super) fn runs(&self, process: &Process) {
        let Process { pid, parent, .. } = *process;
        let folder = self.path(&format!("proc/{pid}"));
        fs::create_dir_all(folder.join(format!("task/{pid}"))).unwrap();
        let comm = process.arguments.last().unwrap().rsplit('/').next();
        let comm: String = comm.unwrap().chars().take(15).collect();
        let (session, started) = (process.session, process.started);
        let stat = format!(
            "{pid} ({comm}) S {parent} {session} {session} 0 -1 0 1 0 0 0 1 2 0 0 20 0 1 0 {started} 1 2"
        );
        fs::write(folder.join("stat"), stat).unwrap();
        fs::write(folder.join("comm"), format!("{comm}\n")).unwrap();
        fs::write(folder.join("status"), "Uid:\t0\t1000\t0\t0\n").unwrap();
        fs::write(folder.join("cmdline"), process.arguments.join("\0") + "\0").unwrap();
        fs::write(folder.join("cgroup"), format!("0::{}\n", process.group)).unwrap();
        symlink(process.exe, folder.join("exe")).unwrap();
        let group = self.path("sys/fs/cgroup").join(&process.group[1..]);
        fs::create_dir_all(&group).unwrap();
        let add = |file: PathBuf| {
            let before = fs::read_to_string(&file).unwrap_or_default();
            fs::write(file, format!("{before}{pid}\n")).unwrap();
        };
        add(group.join("cgroup.procs"));
        if parent > 1 {
            add(self.path(&format!("proc/{parent}/task/{parent}/children")));
        }
    }

    /// A process that runs has another parent, or session, now.
    pub(super) fn is_reparented(&self, process: &Process) {
        let file = self.path(&format!("proc/{}/stat", process.pid));
        let before = fs::read_to_string(&file).unwrap();
        let (name, _) = before.rsplit_once(')').unwrap();
        let (parent, session, started) = (process.parent, process.session, process.started);
        let stat = format!(
            "{name}) S {parent} {session} {session} 0 -1 0 1 0 0 0 1 2 0 0 20 0 1 0 {started} 1 2"
        );
        fs::write(file, stat).unwrap();
    }

    pub(super) fn ends(&self, pid: i32) {
        let folder = self.path(&format!("proc/{pid}"));
        let remove = |file: PathBuf| {
            let before = fs::read_to_string(&file).unwrap_or_default();
            let ends = format!("{pid}\n");
            let others = before.split_inclusive('\n').filter(|line| *line != ends);
            let others: String = others.collect();
            if others != before {
                fs::write(file, others).unwrap();
            }
        };
        let group = fs::read_to_string(folder.join("cgroup")).unwrap();
        let group = group.trim_end().trim_start_matches("0::/");
        remove(self.path("sys/fs/cgroup").join(group).join("cgroup.procs"));
        let stat = fs::read_to_string(folder.join("stat")).unwrap();
        let parent = stat
            .rsplit_once(") S ")
            .unwrap()
            .1
            .split(' ')
            .next()
            .unwrap();
        remove(self.path(&format!("proc/{parent}/task/{parent}/children")));
        fs::remove_dir_all(self.path(&format!("proc/{pid}"))).unwrap();
    }
}

/// What is started: `runcco-ser.sh`, which brings up Comunicador.
pub(super) fn process() -> ProcessSettings {
    let text = format!("[process.comunicador]\nname = \"Comunicador\"\ncommand = [\"{SCRIPT}\"]\n");
    let settings = config::parse(&text, Path::new("config.toml")).unwrap();
    settings.processes.into_iter().next().unwrap()
}
