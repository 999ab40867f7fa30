//! Finding processes: in a made-up /proc for everything hostile, in the real one for the rest.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use mfe_watchdog::proc::{
    Alive, CmdlinePattern, Comm, Difference, ExePattern, Impostor, LookError, ProcessId,
    ProcessName, ProcessTable, RunState, Sighting, Target,
};
use mfe_watchdog::sys::exit_status::ExitStatus;
use mfe_watchdog::sys::user::User;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use proptest::prelude::*;
use tempfile::TempDir;

use crate::program::{BINARY, binary_for_everybody};
use mfe_kit::{
    Need, Service, Systemd, Till, clean, eventually, in_mount_namespace, install_program, is_root,
    needs,
};

/// A made-up /proc. Pid 1 is there from the beginning.
struct Tree(TempDir);

/// A process of a made-up /proc, to be changed before it is added.
struct Entry {
    comm: Vec<u8>,
    state: char,
    threads: u32,
    start_time: u64,
    exit_code: u32,
    namespace_pids: &'static str,
    groups: String,
    uid: u32,
    real_uid: Option<u32>,
    tracer: i32,
    /// Whether a core dump of it is being written.
    is_dumping: bool,
    exe: &'static str,
    cmdline: &'static [u8],
}

impl Entry {
    fn new(comm: impl AsRef<[u8]>) -> Self {
        Self {
            comm: comm.as_ref().to_vec(),
            state: 'S',
            threads: 1,
            start_time: 4711,
            exit_code: 0,
            namespace_pids: "77",
            groups: "0".into(),
            uid: 0,
            real_uid: None,
            tracer: 0,
            is_dumping: false,
            exe: "/opt/x/program",
            cmdline: b"/opt/x/program\0",
        }
    }

    fn state(mut self, state: char, threads: u32) -> Self {
        (self.state, self.threads) = (state, threads);
        self
    }

    fn runs(mut self, exe: &'static str, cmdline: &'static [u8]) -> Self {
        (self.exe, self.cmdline) = (exe, cmdline);
        self
    }
}

/// Every process called Monitor.
fn monitor() -> Target {
    Target::named(ProcessName::new("Monitor"))
}

/// Those of them that run such a program.
fn with_exe(pattern: &str) -> Target {
    Target {
        exe: Some(ExePattern::new(pattern).unwrap()),
        ..monitor()
    }
}

/// Those of them that were given such arguments.
fn with_cmdline(pattern: &str) -> Target {
    Target {
        cmdline: Some(CmdlinePattern::new(pattern).unwrap()),
        ..monitor()
    }
}

impl Tree {
    fn new() -> Self {
        let tree = Self(tempfile::tempdir().unwrap());
        tree.write("loadavg", "0.00 0.01 0.05 1/234 5678\n");
        tree.add(1, &Entry::new("systemd"));
        tree
    }

    fn root(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, file: &str, content: impl AsRef<[u8]>) {
        fs::write(self.root().join(file), content).unwrap();
    }

    fn add(&self, pid: i32, entry: &Entry) {
        fs::create_dir(self.root().join(pid.to_string())).unwrap();
        self.write(&format!("{pid}/comm"), [&entry.comm[..], b"\n"].concat());
        let (state, threads, start) = (entry.state, entry.threads, entry.start_time);
        // PF_RANDOMIZE and PF_SUPERPRIV, and PF_SIGNALED and PF_DUMPCORE.
        let flags = 0x0040_0100 | if entry.is_dumping { 0x600 } else { 0 };
        let rest = format!(
            ") {state} 1 {pid} {pid} 0 -1 {flags} 103 0 0 0 1 2 0 0 20 0 {threads} 0 {start} \
             2990080 210 18446744073709551615 1 2 3 4 5 0 0 0 0 0 0 0 17 1 0 0 0 0 0 1 2 3 4 5 6 \
             7 {}\n",
            entry.exit_code
        );
        let text = [format!("{pid} (").as_bytes(), &entry.comm, rest.as_bytes()].concat();
        self.write(&format!("{pid}/stat"), text);
        let status = format!(
            "Name:\tescaped\nTgid:\t{pid}\nPid:\t{pid}\nTracerPid:\t{}\nUid:\t{}\t{}\t9\t9\n\
             Groups:\t{4} \nNStgid:\t{3}\nNSpid:\t{3}\nCoreDumping:\t{5}\nThreads:\t{threads}\n",
            entry.tracer,
            entry.real_uid.unwrap_or(entry.uid),
            entry.uid,
            entry.namespace_pids,
            entry.groups,
            u8::from(entry.is_dumping)
        );
        self.write(&format!("{pid}/status"), status);
        self.write(&format!("{pid}/cmdline"), entry.cmdline);
        symlink(entry.exe, self.root().join(format!("{pid}/exe"))).unwrap();
    }

    /// Takes a file of a process away, as if it had vanished at this point.
    fn remove(&self, file: &str) {
        fs::remove_file(self.root().join(file)).unwrap();
    }

    fn look(&self, name: &str) -> Result<Sighting, String> {
        self.look_for(&Target::named(ProcessName::new(name)))
    }

    fn look_for(&self, target: &Target) -> Result<Sighting, String> {
        let looked = ProcessTable::new(self.root()).look(target);
        looked.map_err(|error| error.to_string())
    }

    /// The pids of the processes that are meant, and of the impostors.
    fn met(&self, target: &Target) -> (Vec<i32>, Vec<i32>) {
        let sighting = self.look_for(target).unwrap();
        let alive = sighting.alive.iter().map(|alive| alive.id.pid);
        let impostors = sighting.impostors.iter().map(|impostor| impostor.id.pid);
        (alive.collect(), impostors.collect())
    }

    fn alive(&self, name: &str) -> Vec<i32> {
        let sighting = self.look(name).unwrap();
        sighting.alive.iter().map(|alive| alive.id.pid).collect()
    }

    /// Asserts that a look gives no answer, and what it says instead.
    fn assert_fails(&self, name: &str, file: &str, message: &str) {
        let path = self.root().join(file);
        let expected = format!("{}{message}", path.display());
        assert_eq!(self.look(name).unwrap_err(), expected);
    }
}

#[test]
fn names_are_compared_byte_by_byte() {
    let tree = Tree::new();
    let names: [&[u8]; 12] = [
        b"Monitor",
        b"monitor",
        b"Monitor2",
        b"Monito",
        b" Monitor",
        b"Monitor ",
        b"Monitor\n",
        b"My Monitor",
        b"a) S 1 (b",
        b"((",
        b"Monit\xf3r",
        "Comunicação".as_bytes(),
    ];
    for (pid, name) in (100..).zip(names) {
        tree.add(pid, &Entry::new(name));
    }
    for (pid, name) in (100..).zip(names) {
        // No configuration can hold bytes that aren't UTF-8: nothing there is to be found.
        let Ok(name) = std::str::from_utf8(name) else {
            continue;
        };
        let sighting = tree.look(name).unwrap();
        let found = Alive {
            id: ProcessId {
                pid,
                start_time: 4711,
            },
            parent: 1,
            uid: Some(0),
            state: RunState::Running,
        };
        assert_eq!(sighting.alive, [found], "{name:?}");
        assert_eq!(sighting.zombies, []);
    }
    for name in [
        "MONITOR",
        "Monitor3",
        "",
        "Mon",
        "a",
        "Monit\u{fffd}r",
        "\\n",
        "escaped",
    ] {
        let sighting = tree.look(name).unwrap();
        let found = (sighting.alive, sighting.impostors, sighting.zombies);
        assert_eq!(found, (vec![], vec![], vec![]), "{name:?}");
    }
}

#[test]
fn all_of_a_name_are_found_in_order_of_their_pids() {
    let tree = Tree::new();
    for pid in [900, 20, 1000, 3] {
        tree.add(pid, &Entry::new("Monitor"));
    }
    tree.add(30, &Entry::new("Comunicador"));
    assert_eq!(tree.alive("Monitor"), [3, 20, 900, 1000]);
}

#[test]
fn the_dead_are_gone_unless_threads_of_them_live() {
    let tree = Tree::new();
    let mut killed = Entry::new("Monitor").state('Z', 1);
    killed.exit_code = 9;
    let mut exited = Entry::new("Monitor").state('Z', 0);
    exited.exit_code = 3 << 8;
    tree.add(20, &killed);
    tree.add(30, &exited);
    tree.add(40, &Entry::new("Monitor").state('X', 1));
    tree.add(50, &Entry::new("Monitor").state('x', 1));
    let sighting = tree.look("Monitor").unwrap();
    assert_eq!(sighting.alive, []);
    let mut ends: Vec<_> = sighting
        .zombies
        .iter()
        .map(|zombie| (zombie.id.pid, zombie.exit_status))
        .collect();
    ends.sort_by_key(|(pid, _)| *pid);
    assert_eq!(
        ends,
        [
            (20, Some(ExitStatus::Signal(9))),
            (30, Some(ExitStatus::Code(3))),
            (40, None),
            (50, None)
        ],
        "a status of 0 is also what is shown to those who may not know"
    );

    tree.add(60, &Entry::new("Monitor").state('Z', 2));
    for (pid, state) in (70..).zip(['R', 'S', 'D', 'T', 't', 'I']) {
        tree.add(pid, &Entry::new("Monitor").state(state, 1));
    }
    assert_eq!(tree.alive("Monitor"), [60, 70, 71, 72, 73, 74, 75]);
}

#[test]
fn processes_in_containers_are_somebody_elses() {
    let tree = Tree::new();
    for (pid, namespace_pids) in [(20, "20\t1"), (30, "30 7 1"), (40, "40"), (50, " 50 \t")] {
        let mut entry = Entry::new("Monitor");
        entry.namespace_pids = namespace_pids;
        tree.add(pid, &entry);
    }
    tree.add(60, &Entry::new("Monitor"));
    tree.write("60/status", "Name:\tMonitor\n");
    assert_eq!(
        tree.alive("Monitor"),
        [40, 50, 60],
        "60: a kernel without PID namespaces"
    );
}

#[test]
fn what_vanishes_in_mid_scan_is_nobody() {
    let tree = Tree::new();
    fs::create_dir(tree.root().join("20")).unwrap();
    for (pid, file) in [(30, "comm"), (40, "stat"), (50, "status")] {
        tree.add(pid, &Entry::new("Monitor"));
        tree.remove(&format!("{pid}/{file}"));
    }
    // Between comm and stat it was renamed, or its pid reused.
    tree.add(60, &Entry::new("Comunicador"));
    tree.write("60/comm", "Monitor\n");
    assert_eq!(tree.look("Monitor").unwrap(), Sighting::default());
    // The same for the files that only a long name needs.
    let long = "MonitorOfTheFiscalModule";
    let comm = &long.as_bytes()[..15];
    tree.add(
        70,
        &Entry::new(comm).runs("/opt/x/MonitorOfTheFiscalModule", b""),
    );
    tree.remove("70/exe");
    tree.remove("70/cmdline");
    assert_eq!(tree.look(long).unwrap(), Sighting::default());
}

#[test]
fn only_directories_with_a_pid_for_a_name_are_processes() {
    let tree = Tree::new();
    let names = [
        "self",
        "20a",
        "-20",
        "+20",
        "",
        "0x20",
        "99999999999999999999",
        "２０",
        " 20",
    ];
    for name in names.into_iter().filter(|name| !name.is_empty()) {
        fs::create_dir(tree.root().join(name)).unwrap();
        fs::write(tree.root().join(name).join("comm"), "Monitor\n").unwrap();
    }
    tree.add(20, &Entry::new("Monitor"));
    assert_eq!(tree.alive("Monitor"), [20]);
}

#[test]
fn a_look_that_is_not_whole_is_no_answer() {
    let empty = tempfile::tempdir().unwrap();
    let look = |root: &Path| {
        let looked = ProcessTable::new(root).look(&monitor());
        looked.unwrap_err().to_string()
    };
    let incomplete = " doesn't show every process: pid 1 is missing (mounted with hidepid?)";
    let message = look(empty.path());
    assert!(message.ends_with(incomplete), "{message}");
    assert_eq!(
        look(Path::new("/nonexistent/proc")),
        "/nonexistent/proc can't be read: No such file or directory (os error 2)"
    );
    assert_eq!(
        look(Path::new("/dev/null")),
        "/dev/null can't be read: Not a directory (os error 20)"
    );

    let tree = Tree::new();
    fs::rename(tree.root().join("1"), tree.root().join("2")).unwrap();
    tree.add(20, &Entry::new("Monitor"));
    let error = tree.look("Monitor").unwrap_err();
    assert!(error.ends_with(incomplete), "though one was found: {error}");
}

#[test]
fn a_process_that_cant_be_read_may_be_the_one() {
    for file in ["comm", "stat", "status"] {
        let tree = Tree::new();
        tree.add(20, &Entry::new("Monitor"));
        tree.remove(&format!("20/{file}"));
        // Reading a directory fails for root too.
        fs::create_dir(tree.root().join("20").join(file)).unwrap();
        let message = " can't be read: Is a directory (os error 21)";
        tree.assert_fails("Monitor", &format!("20/{file}"), message);
        if file != "comm" {
            assert!(
                tree.alive("Comunicador").is_empty(),
                "which it surely isn't"
            );
        }
    }
    // A long name is decided by exe and cmdline; one that says yes is enough.
    let long = "MonitorOfTheFiscalModule";
    let unreadable = |cmdline: &'static [u8]| {
        let tree = Tree::new();
        tree.add(20, &Entry::new(&long.as_bytes()[..15]).runs("/x", cmdline));
        tree.remove("20/exe");
        // No link, as a link that may not be read.
        tree.write("20/exe", "");
        tree
    };
    unreadable(b"/bin/sh\0").assert_fails(
        long,
        "20/exe",
        " can't be read: Invalid argument (os error 22)",
    );
    assert_eq!(
        unreadable(b"/x/MonitorOfTheFiscalModule\0").alive(long),
        [20]
    );
}

#[test]
fn malformed_files_are_no_answer() {
    for stat in [
        &b""[..],
        b"\n",
        b"20",
        b"20 (Monitor)",
        b"20 (Monitor) S",
        b"20 Monitor S 1 20 20 0 -1",
        b"20 (Monitor) S 1 20 20 0 -1 4194560 103 0 0 0 1 2 0 0 20 0 one 0 4711 0",
        b")20 (",
        b"\xff\xfe\0",
    ] {
        let tree = Tree::new();
        tree.add(20, &Entry::new("Monitor"));
        tree.write("20/stat", stat);
        tree.assert_fails(
            "Monitor",
            "20/stat",
            " isn't in the format that proc(5) describes",
        );
    }
}

#[test]
fn long_names_are_decided_by_the_programs_file() {
    let long = "ComunicadorFiscal";
    let comm = "ComunicadorFisc";
    let tree = Tree::new();
    let processes: [(bool, &'static str, &'static [u8]); 12] = [
        (true, "/opt/x/ComunicadorFiscal", b""),
        (true, "/opt/x/ComunicadorFiscal (deleted)", b"whatever\0"),
        (true, "/usr/lib/jvm/java", b"ComunicadorFiscal\0-x\0"),
        (true, "/bin/dash", b"/bin/sh\0/opt/x/ComunicadorFiscal\0"),
        (
            true,
            "/bin/dash",
            b"/bin/sh\0-e\0/opt/x/ComunicadorFiscal\0start\0",
        ),
        (
            false,
            "/bin/dash",
            b"/bin/sh\0-e\0-u\0/opt/x/ComunicadorFiscal\0",
        ),
        (
            false,
            "/opt/x/ComunicadorFiscais",
            b"/opt/x/ComunicadorFiscais\0",
        ),
        (false, "/opt/x/comunicadorfiscal", b"./comunicadorfiscal\0"),
        (
            false,
            "/opt/ComunicadorFiscal/run",
            b"/opt/ComunicadorFiscal/run\0",
        ),
        (false, "/opt/x/ComunicadorFisc", b"ComunicadorFisc\0"),
        (false, "/opt/x/ComunicadorFiscal2", b"ComunicadorFiscal2\0"),
        (false, "/x", b""),
    ];
    let mut expected = Vec::new();
    for (pid, (is_it, exe, cmdline)) in (20..).zip(processes) {
        tree.add(pid, &Entry::new(comm).runs(exe, cmdline));
        expected.extend(is_it.then_some(pid));
    }
    tree.add(
        90,
        &Entry::new("ComunicadorFis").runs("/opt/x/ComunicadorFiscal", b""),
    );
    assert_eq!(tree.alive(long), expected);
    assert_eq!(
        tree.alive(comm).len(),
        12,
        "of a short name, the kernel's name is the whole"
    );
}

#[test]
fn the_cut_may_go_through_a_character() {
    let name = "Comunicador-MFçx";
    let tree = Tree::new();
    let cut = &name.as_bytes()[..15];
    assert!(std::str::from_utf8(cut).is_err());
    tree.add(20, &Entry::new(cut).runs("/opt/x/Comunicador-MFçx", b""));
    // What another half of a character looks like when it is shown.
    tree.add(
        30,
        &Entry::new("Comunicador-MF\u{fffd}").runs("/opt/x/Comunicador-MFçx", b""),
    );
    tree.add(
        40,
        &Entry::new(b"Comunicador-MF\xc4").runs("/opt/x/Comunicador-MFçx", b""),
    );
    assert_eq!(tree.alive(name), [20]);
}

#[test]
fn identity_is_pid_and_start_time() {
    let tree = Tree::new();
    tree.add(20, &Entry::new("Monitor"));
    let mut table = ProcessTable::new(tree.root());
    let id = |pid, start_time| ProcessId { pid, start_time };
    assert!(table.contains(id(20, 4711)).unwrap());
    assert!(
        !table.contains(id(20, 4712)).unwrap(),
        "another process has its pid"
    );
    assert!(!table.contains(id(21, 4711)).unwrap());
    tree.write("20/stat", "20 (Monitor");
    assert!(
        table.contains(id(20, 4711)).is_err(),
        "which is not the same as gone"
    );
}

#[test]
fn a_table_that_grows_to_many_processes_is_read_whole() {
    let tree = Tree::new();
    for pid in 2..3000 {
        fs::create_dir(tree.root().join(pid.to_string())).unwrap();
    }
    tree.add(32768, &Entry::new("Monitor"));
    assert_eq!(tree.alive("Monitor"), [32768]);
}

#[test]
fn a_strangers_program_of_the_name_is_an_impostor() {
    let tree = Tree::new();
    let monitor = |exe, cmdline| Entry::new("Monitor").runs(exe, cmdline);
    tree.add(20, &monitor("/opt/x/Monitor", b"/opt/x/Monitor\0"));
    tree.add(30, &monitor("/opt/x/Monitor (deleted)", b""));
    tree.add(40, &monitor("/tmp/Mon\x1bitor (deleted)", b"x\0"));
    tree.add(50, &monitor("/opt/x/Monitor/", b"x\0"));
    tree.add(60, &Entry::new("monitor").runs("/opt/x/Monitor", b""));
    let mut of_nobody = monitor("/home/x/Monitor", b"x\0");
    of_nobody.uid = 4_000_000_000;
    tree.add(70, &of_nobody);
    let sighting = tree.look_for(&with_exe("/opt/x/Monitor")).unwrap();
    let alive: Vec<i32> = sighting.alive.iter().map(|alive| alive.id.pid).collect();
    assert_eq!(alive, [20, 30]);
    let impostor = |pid, user: &str, path: &str| Impostor {
        id: ProcessId {
            pid,
            start_time: 4711,
        },
        uid: Some(if user == "root" { 0 } else { 4_000_000_000 }),
        user: user.into(),
        name: "Monitor".into(),
        path: path.into(),
        difference: Difference::Exe,
    };
    assert_eq!(
        sighting.impostors,
        [
            impostor(40, "root", "/tmp/Mon\\u{1b}itor (deleted)"),
            impostor(50, "root", "/opt/x/Monitor/"),
            impostor(70, "4000000000", "/home/x/Monitor"),
        ]
    );
    assert_eq!(
        tree.met(&self::monitor()),
        (vec![20, 30, 40, 50, 70], vec![])
    );
}

#[test]
fn arguments_tell_programs_apart_that_an_interpreter_runs() {
    let tree = Tree::new();
    let java = |cmdline| Entry::new("Monitor").runs("/usr/lib/jvm/java", cmdline);
    tree.add(20, &java(b"java\0-jar\0monitor.jar\0"));
    tree.add(30, &java(b"java\0-jar\0other.jar\0"));
    // Further behind than one read of the other files reaches.
    let mut long = vec![b'x'; 60_000];
    long.extend(b"\0monitor.jar\0");
    tree.add(40, &java(Vec::leak(long)));
    let mut too_long = vec![b'x'; 70_000];
    too_long.extend(b"\0monitor.jar\0");
    tree.add(50, &java(Vec::leak(too_long)));
    assert_eq!(
        tree.met(&with_cmdline(r"monitor\.jar")),
        (vec![20, 40], vec![30, 50])
    );
    let both = Target {
        exe: with_exe("/opt/*").exe,
        ..with_cmdline("monitor")
    };
    assert_eq!(tree.met(&both), (vec![], vec![20, 30, 40, 50]));
}

#[test]
fn the_effective_user_counts() {
    let tree = Tree::new();
    for (pid, uid) in [(20, 0), (30, 1000), (40, 9)] {
        let mut entry = Entry::new("Monitor");
        entry.uid = uid;
        tree.add(pid, &entry);
    }
    let of = |user: &str| Target {
        user: User::find(user).unwrap(),
        ..monitor()
    };
    assert_eq!(tree.met(&of("1000")), (vec![30], vec![20, 40]));
    assert_eq!(tree.met(&of("root")), (vec![20], vec![30, 40]));
    tree.write("40/status", "Name:\tMonitor\n");
    let message = tree.look_for(&of("root")).unwrap_err();
    assert!(
        message.ends_with("40/status isn't in the format that proc(5) describes"),
        "{message}"
    );
}

#[test]
fn who_has_only_another_users_rights_is_refused_by_a_stricter_rule() {
    let tree = Tree::new();
    let mut link_to_su = Entry::new("Monitor").runs("/usr/bin/su", b"Monitor\0");
    link_to_su.real_uid = Some(4_000_000_000);
    tree.add(20, &link_to_su);
    let of_root = Target {
        user: User::find("root").unwrap(),
        ..monitor()
    };
    let refused = tree.look_for(&of_root).unwrap().impostors;
    assert_eq!(refused[0].difference, Difference::RealUser);
    assert!(refused[0].difference.is_strict());
    assert_eq!(refused[0].user, "4000000000 (euid root)");
    let both = Target {
        exe: with_exe("/opt/x/Monitor").exe,
        ..of_root
    };
    let refused = tree.look_for(&both).unwrap().impostors;
    assert_eq!(
        refused[0].difference,
        Difference::Exe,
        "which was always so"
    );
    assert_eq!(tree.met(&monitor()), (vec![20], vec![]), "by name alone");
}

#[test]
fn arguments_that_are_too_long_to_be_compared_are_refused_by_a_stricter_rule() {
    let tree = Tree::new();
    let mut long = b"java\0-jar\0monitor.jar\0".to_vec();
    long.resize(70_000, b'x');
    let java = Entry::new("Monitor").runs("/usr/lib/jvm/java", Vec::leak(long));
    tree.add(20, &java);
    let refused = tree.look_for(&with_cmdline("monitor[.]jar")).unwrap();
    assert_eq!(refused.impostors[0].difference, Difference::LongCmdline);
}

#[test]
fn a_long_list_of_groups_hides_no_namespace() {
    let tree = Tree::new();
    for (pid, namespace_pids) in [(20, "20"), (30, "30 1")] {
        let mut entry = Entry::new("Monitor");
        entry.namespace_pids = namespace_pids;
        let groups: Vec<String> = (100_000..110_000).map(|group| group.to_string()).collect();
        entry.groups = groups.join(" ");
        tree.add(pid, &entry);
    }
    let sighting = tree.look_for(&monitor()).unwrap();
    let alive: Vec<i32> = sighting.alive.iter().map(|alive| alive.id.pid).collect();
    assert_eq!(alive, [20]);
    assert_eq!(sighting.near[0].difference, Difference::Namespace);
}

#[test]
fn a_crowd_is_counted() {
    let tree = Tree::new();
    for pid in 1000..1900 {
        let mut entry = Entry::new("Monitor").runs("/home/x/Monitor", b"x\0");
        entry.uid = 4_000_000_000;
        tree.add(pid, &entry);
    }
    // The youngest of all.
    let mut ours = Entry::new("Monitor");
    ours.start_time += 1;
    tree.add(2000, &ours);
    let mut table = ProcessTable::new(tree.root());
    let sighting = table.look(&monitor()).unwrap();
    assert_eq!((sighting.alive.len(), sighting.more_alive), (64, 901 - 64));
    assert!(
        sighting.alive.iter().any(|alive| alive.id.pid == 2000),
        "root's"
    );
    let known = [ProcessId {
        pid: 1888,
        start_time: 4711,
    }];
    let sighting = looked_for(&mut table, &monitor(), &known).unwrap();
    assert!(sighting.alive.iter().any(|alive| alive.id == known[0]));
    let sighting = table.look(&with_exe("/opt/x/*")).unwrap();
    assert_eq!(sighting.alive.len(), 1);
    assert_eq!(
        (sighting.impostors.len(), sighting.more_impostors),
        (16, 884)
    );
}

#[test]
fn many_long_arguments_are_judged_once_and_in_slices() {
    let tree = Tree::new();
    let long = Vec::leak(format!("java\0{}", "x".repeat(60_000)).into_bytes());
    for pid in 1000..1020 {
        tree.add(pid, &Entry::new("Monitor").runs("/usr/lib/jvm/java", long));
    }
    let target = with_cmdline("monitor[.]jar");
    let mut table = ProcessTable::new(tree.root());
    let mut slices = 0;
    let sighting = loop {
        match looked_for(&mut table, &target, &[]) {
            Err(error) if error.is_unfinished() => slices += 1,
            looked => break looked.unwrap(),
        }
        assert!(slices < 30, "there is no progress");
    };
    assert!(slices > 5, "{slices} slices");
    assert_eq!(sighting.impostors.len(), 16);
    // Nothing about them has changed: they aren't read again.
    for pid in 1000..1020 {
        tree.remove(&format!("{pid}/cmdline"));
    }
    let again = looked_for(&mut table, &target, &[]).unwrap();
    assert_eq!(again.impostors, sighting.impostors);
    // One becomes another program: its arguments lie elsewhere.
    let stat = fs::read_to_string(tree.root().join("1000/stat")).unwrap();
    tree.write("1000/cmdline", b"java\0-jar\0monitor.jar\0");
    tree.write(
        "1000/stat",
        stat.replace(" 1 2 3 4 5 6 7 ", " 1 2 3 44 5 6 7 "),
    );
    let alive = looked_for(&mut table, &target, &[]).unwrap().alive;
    assert_eq!(alive.len(), 1);
}

#[test]
fn a_doubt_about_one_process_ends_within_seconds() {
    let tree = Tree::new();
    tree.add(20, &Entry::new("Monitor").runs("/usr/lib/jvm/java", b""));
    let mut stranger = Entry::new("Monitor").runs("/usr/lib/jvm/java", b"");
    stranger.uid = 1000;
    tree.add(30, &stranger);
    let target = with_cmdline("monitor[.]jar");
    let mut table = ProcessTable::new(tree.root());
    assert!(
        looked_for(&mut table, &target, &[]).is_err(),
        "it may become the program"
    );
    let sighting = eventually("the doubt is over", || {
        looked_for(&mut table, &target, &[]).ok()
    });
    let differences: Vec<_> = sighting
        .impostors
        .iter()
        .map(|impostor| impostor.difference)
        .collect();
    assert_eq!(differences, [Difference::Unreadable; 2]);
    tree.write("20/cmdline", b"java\0-jar\0monitor.jar\0");
    assert_eq!(looked_for(&mut table, &target, &[]).unwrap().alive.len(), 1);
}

#[test]
fn who_is_of_another_section_is_no_impostor() {
    let tree = Tree::new();
    let java = |cmdline| Entry::new("Monitor").runs("/usr/lib/jvm/java", cmdline);
    tree.add(20, &java(b"java\0-jar\0a.jar\0"));
    tree.add(30, &java(b"java\0-jar\0b.jar\0"));
    tree.add(40, &java(b"java\0-jar\0c.jar\0"));
    let mut target = with_cmdline("a[.]jar");
    assert_eq!(tree.met(&target), (vec![20], vec![30, 40]));
    target.namesakes = vec![with_exe("/opt/*"), with_cmdline("b[.]jar")];
    assert_eq!(tree.met(&target), (vec![20], vec![40]));
    // A namesake whose name is longer has to have the whole of it.
    let tree = Tree::new();
    let (short, long) = ("abcdefghijklmno", "abcdefghijklmnopq");
    tree.add(20, &Entry::new(short).runs("/x/abcdefghijklmnopq", b"x\0"));
    tree.add(30, &Entry::new(short).runs("/x/other", b"x\0"));
    let named = |name, exe| Target {
        name: ProcessName::new(name),
        ..with_exe(exe)
    };
    let mut target = named(short, "/opt/*");
    target.namesakes = vec![named(long, "/x/*")];
    assert_eq!(tree.met(&target), (vec![], vec![30]));
}

#[test]
fn what_is_ending_is_nobody() {
    let tree = Tree::new();
    tree.add(20, &Entry::new("Monitor").runs("/", b""));
    tree.remove("20/exe");
    for target in [with_exe("/x"), with_cmdline("x")] {
        let sighting = tree.look_for(&target).unwrap();
        assert_eq!(sighting, Sighting::default(), "or a thread of the kernel's");
    }
    tree.write("20/cmdline", "a\0");
    let sighting = tree.look_for(&with_cmdline("x")).unwrap();
    assert_eq!(sighting.impostors[0].path, "[Monitor]");
    tree.remove("20/cmdline");
    let sighting = tree.look_for(&with_cmdline("x")).unwrap();
    assert_eq!(sighting, Sighting::default());
}

#[test]
fn what_is_becoming_another_program_is_waited_for() {
    let tree = Tree::new();
    tree.add(20, &Entry::new("Monitor").runs("/usr/lib/jvm/java", b""));
    let target = with_cmdline("monitor[.]jar");
    assert_eq!(
        tree.look_for(&target).unwrap_err(),
        format!(
            "{}/20/cmdline is still empty although the process is alive, so it is unknown which program \
             it is",
            tree.root().display()
        )
    );
    // It is of no interest where another one is met, or to whom it isn't anyway.
    let java = |cmdline| Entry::new("Monitor").runs("/usr/lib/jvm/java", cmdline);
    tree.add(30, &java(b"java\0-jar\0monitor.jar\0"));
    assert_eq!(tree.met(&target), (vec![30], vec![]));
    fs::remove_dir_all(tree.root().join("30")).unwrap();
    let of_somebody = Target {
        user: User::find("7").unwrap(),
        ..target.clone()
    };
    assert_eq!(tree.met(&of_somebody), (vec![], vec![20]));

    let cmdline = tree.root().join("20/cmdline");
    let mut table = ProcessTable::new(tree.root());
    assert!(table.look(&target).is_err());
    fs::write(cmdline, b"java\0-jar\0monitor.jar\0").unwrap();
    assert_eq!(table.look(&target).unwrap().alive.len(), 1);
}

#[test]
fn a_program_that_cant_be_read_is_neither_the_one_nor_an_impostor() {
    let tree = Tree::new();
    tree.add(20, &Entry::new("Monitor"));
    tree.remove("20/exe");
    // No link, as a link that may not be read.
    tree.write("20/exe", "");
    tree.remove("20/cmdline");
    fs::create_dir(tree.root().join("20/cmdline")).unwrap();
    let path = tree.root().join("20").display().to_string();
    assert_eq!(
        tree.look_for(&with_exe("/x")).unwrap_err(),
        format!("{path}/exe can't be read: Invalid argument (os error 22)")
    );
    assert_eq!(
        tree.look_for(&with_cmdline("x")).unwrap_err(),
        format!("{path}/cmdline can't be read: Is a directory (os error 21)")
    );
    // Another user's is none of them, whatever it runs.
    let target = Target {
        user: User::find("7").unwrap(),
        ..with_exe("/x")
    };
    assert_eq!(tree.met(&target), (vec![], vec![20]));
}

#[test]
fn the_dead_of_the_name_are_found_whatever_they_ran() {
    let tree = Tree::new();
    tree.add(20, &Entry::new("Monitor").state('Z', 1));
    tree.remove("20/exe");
    let sighting = tree.look_for(&with_exe("/opt/x/Monitor")).unwrap();
    assert_eq!(sighting.zombies.len(), 1);
    assert_eq!((sighting.alive, sighting.impostors), (vec![], vec![]));
}

#[test]
fn a_process_whose_main_thread_has_ended_is_told_by_another_thread() {
    let long = "MonitorOfTheFiscalModule";
    let tree = Tree::new();
    for (pid, comm) in [(20, "Monitor"), (30, &long[..15])] {
        tree.add(pid, &Entry::new(comm).state('Z', 3).runs("/", b""));
        tree.remove(&format!("{pid}/exe"));
        let threads = Tree(tempfile::tempdir().unwrap());
        threads.add(pid, &Entry::new(comm).state('Z', 3));
        threads.add(pid + 1, &Entry::new(comm).state('X', 3));
        let living = Entry::new(comm).runs("/opt/x/MonitorOfTheFiscalModule", b"a\0--loja\0");
        threads.add(pid + 2, &living);
        let task = tree.root().join(format!("{pid}/task"));
        fs::rename(threads.0.keep(), task).unwrap();
    }
    let target = Target {
        cmdline: with_cmdline("--loja").cmdline,
        ..with_exe("/opt/x/*")
    };
    assert_eq!(tree.met(&target), (vec![20], vec![]));
    assert_eq!(tree.met(&with_exe("/usr/*")), (vec![], vec![20]));
    assert_eq!(tree.alive(long), [30]);
    fs::remove_dir_all(tree.root().join("20/task/22")).unwrap();
    assert_eq!(tree.met(&target), (vec![], vec![]), "nothing of it lives");
}

#[test]
fn who_can_work_and_who_cannot() {
    let tree = Tree::new();
    let states = [
        (20, 'S', 0, RunState::Running),
        (21, 'R', 0, RunState::Running),
        (22, 'I', 0, RunState::Running),
        (23, 'T', 0, RunState::Stopped),
        (24, 'T', 7, RunState::Running),
        (25, 't', 7, RunState::Running),
        (26, 'D', 0, RunState::Running),
        (27, 'D', 7, RunState::Running),
        (28, 'D', 0, RunState::Dumping),
        (29, 'S', 0, RunState::Dumping),
    ];
    for (pid, state, tracer, can_work) in states {
        let mut entry = Entry::new("Monitor").state(state, 1);
        entry.tracer = tracer;
        entry.is_dumping = can_work == RunState::Dumping;
        tree.add(pid, &entry);
    }
    let expected = states.map(|(pid, _, _, state)| (pid, state));
    let each = |sighting: &Sighting| -> Vec<_> {
        let alive = sighting.alive.iter();
        alive.map(|alive| (alive.id.pid, alive.state)).collect()
    };
    let mut table = ProcessTable::new(tree.root());
    let looked = table.look(&monitor()).unwrap();
    assert_eq!(each(&looked), expected);
    let known: Vec<ProcessId> = looked.alive.iter().map(|alive| alive.id).collect();
    let confirmed = as_confirmed(&mut table, &monitor(), &known).unwrap();
    assert_eq!(each(&confirmed), expected, "also when it is confirmed");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn random_bytes_are_never_taken_for_the_process(
        comm in proptest::collection::vec(any::<u8>(), 0..20),
        stat in proptest::collection::vec(any::<u8>(), 0..200),
        name in "[a-zA-Z()\n é]{1,20}",
        forge_comm in any::<bool>(),
        forge_stat in any::<bool>(),
    ) {
        let tree = Tree::new();
        let name = ProcessName::new(name);
        tree.add(20, &Entry::new(if forge_comm { name.comm() } else { &comm }));
        if !forge_stat {
            tree.write("20/stat", &stat);
        }
        let looked = ProcessTable::new(tree.root()).look(&Target::named(name.clone()));
        let is_it = comm == name.comm() || forge_comm;
        if let Ok(sighting) = &looked {
            let found = sighting.alive.len() + sighting.zombies.len();
            prop_assert!(found == 0 || is_it);
            let whole = is_it && forge_stat && !name.is_longer_than_comm();
            prop_assert_eq!(found == 1, whole);
        } else {
            prop_assert!(is_it && !forge_stat, "{:?}", looked);
        }
    }

    #[test]
    fn every_name_the_kernel_can_keep_is_found(
        name in proptest::collection::vec(any::<char>(), 1..15),
        others in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..16), 0..5),
    ) {
        let name: String = name.into_iter().filter(|c| *c != '\0').take(3).collect();
        let tree = Tree::new();
        tree.add(20, &Entry::new(&name));
        for (pid, other) in (30..).zip(others.iter().filter(|other| other[..] != *name.as_bytes())) {
            tree.add(pid, &Entry::new(other));
        }
        prop_assert_eq!(tree.alive(&name), [20]);
    }
}

/// Looks in the real /proc.
fn look(name: &str) -> Sighting {
    ProcessTable::new("/proc")
        .look(&Target::named(ProcessName::new(name)))
        .unwrap()
}

#[test]
fn a_living_process_is_found_until_it_is_gone() {
    let till = Till::new();
    let program = till.program('T');
    assert_eq!(look(&program.name), Sighting::default());
    let mut child = program.start();
    let pid = i32::try_from(child.id()).unwrap();
    let stat = procfs::process::Process::new(pid).unwrap().stat().unwrap();
    let id = ProcessId {
        pid,
        start_time: stat.starttime,
    };
    let alive = look(&program.name).alive;
    assert_eq!(alive.len(), 1);
    assert_eq!((alive[0].id, alive[0].parent), (id, stat.ppid));
    let nearly = look(&program.name.to_lowercase());
    assert_eq!((nearly.alive, nearly.impostors), (vec![], vec![]));
    let near: Vec<_> = nearly.near.iter().map(|near| near.id).collect();
    assert_eq!(near, [id], "its name but for upper and lower case");
    let mut table = ProcessTable::new("/proc");
    assert!(table.contains(id).unwrap());

    program.kill();
    let zombie = eventually("a zombie", || look(&program.name).zombies.pop());
    assert_eq!(look(&program.name).alive, [], "a zombie is dead");
    assert_eq!(zombie.id, id);
    assert_eq!(zombie.exit_status, Some(ExitStatus::Signal(9)));
    child.wait().unwrap();
    assert_eq!(look(&program.name), Sighting::default());
    assert!(!table.contains(id).unwrap());
}

#[test]
fn a_stopped_process_still_lives() {
    let till = Till::new();
    let program = till.program('T');
    let mut child = program.start();
    let pid = Pid::from_raw(program.pid());
    kill(pid, Signal::SIGSTOP).unwrap();
    eventually("stopped", || {
        let stat = procfs::process::Process::new(pid.as_raw())
            .unwrap()
            .stat()
            .unwrap();
        (stat.state == 'T').then_some(())
    });
    assert_eq!(look(&program.name).alive.len(), 1);
    program.kill();
    child.wait().unwrap();
}

#[test]
fn hostile_names_of_real_processes() {
    let till = Till::new();
    let unique = format!("{:x}", std::process::id());
    for name in [
        format!("{unique}) R 1 ("),
        format!("{unique}\n\\n \\"),
        format!("{unique} çã"),
        format!("{unique}\t\u{1b}[31m"),
    ] {
        assert!(name.len() <= 15, "{name:?}");
        let program = till.program_named(&name);
        let mut child = program.start();
        let alive = look(&name).alive;
        assert_eq!(alive.len(), 1, "{name:?}");
        assert_eq!(alive[0].id.pid, i32::try_from(child.id()).unwrap());
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn long_names_of_real_processes() {
    let till = Till::new();
    let beginning = format!("{:x}-Comunicador", std::process::id());
    let [by_argument, by_script, by_exe, cut_through] =
        ["-argument", "-script", "-exe", "ççç"].map(|end| format!("{beginning}{end}"));
    let program = till.program_named(&by_argument);
    let script = till.script(&by_script, "while [ -d \"$1\" ]; do sleep 1; done");
    let copy = till.path().join("bin").join(&by_exe);
    install_program(program.path(), &copy);
    let cut = till.program_named(&cut_through);

    let mut children = [
        Command::new(program.path())
            .arg(till.path())
            .spawn()
            .unwrap(),
        Command::new(&script).arg(till.path()).spawn().unwrap(),
        Command::new(&copy)
            .arg0("something else")
            .arg(till.path())
            .spawn()
            .unwrap(),
        Command::new(cut.path()).arg(till.path()).spawn().unwrap(),
    ];
    for (name, child) in [&by_argument, &by_script, &by_exe, &cut_through]
        .into_iter()
        .zip(&children)
    {
        let pid = i32::try_from(child.id()).unwrap();
        eventually(("found", name), || {
            let alive = look(name).alive;
            (alive.len() == 1 && alive[0].id.pid == pid).then_some(())
        });
    }
    assert_eq!(
        look(&format!("{beginning}-other")).alive,
        [],
        "though it begins like them"
    );
    // An upgrade replaces the file while the old program runs.
    fs::remove_file(&copy).unwrap();
    assert_eq!(look(&by_exe).alive.len(), 1);
    for child in &mut children {
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn a_process_in_a_container_is_not_counted() {
    needs!(Need::Namespaces);
    let till = Till::new();
    let program = till.program('T');
    let mut command = Command::new("unshare");
    if !is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    let mut container = command
        .args(["--pid", "--fork", "--kill-child", "--"])
        .arg(program.path())
        .arg(till.path())
        .spawn()
        .unwrap();
    let comm = || {
        let mut processes = procfs::process::all_processes().unwrap();
        processes.find_map(|process| {
            let stat = process.ok()?.stat().ok()?;
            (stat.comm == program.name).then_some(())
        })
    };
    eventually("a process in a container", comm);
    let nearly = look(&program.name);
    assert_eq!((nearly.alive, nearly.impostors), (vec![], vec![]));
    assert_eq!(nearly.near[0].difference, Difference::Namespace);
    assert!(comm().is_some(), "it is still there");
    let mut outside = program.start();
    let alive = look(&program.name).alive;
    assert_eq!(alive.len(), 1);
    assert_eq!(alive[0].id.pid, i32::try_from(outside.id()).unwrap());
    for child in [&mut outside, &mut container] {
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn where_proc_hides_others_nothing_is_said_to_be_gone_and_nothing_started() {
    needs!(Need::Root("it runs the service as another user"));
    let till = Till::new();
    let program = till.program('T');
    let script = till.script("start.sh", &format!("exec {}", program.command()));
    till.configure_scripts(&[("comunicador", &program, &script)]);
    let mut child = program.start();
    // A PID namespace of its own, for older kernels have one set of options for each of them;
    // its first process belongs to root, the service to somebody else.
    let mut command = clean(Command::new("unshare"));
    command
        .args([
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "sh",
            "-e",
            "-c",
        ])
        .arg(
            "mount -o remount,hidepid=2 /proc\n\
             mkdir -m 777 \"$DIRECTORY/run\"\n\
             setpriv --reuid 65534 --regid 65534 --clear-groups -- \"$@\" & wait",
        )
        .args([OsStr::new("sh"), binary_for_everybody(&till).as_os_str()])
        .env("DIRECTORY", till.path());
    let service = Service::start(&till, &mut command);
    let line = service.wait_for("unknown", "comunicador");
    assert!(
        line.contains("can't tell whether ") && line.contains("so nothing is started"),
        "{line}"
    );
    assert!(
        line.contains("pid 1 is missing (mounted with hidepid?)"),
        "{line}"
    );
    service.wait_cycles(10);
    let text = fs::read(till.runtime_dir().join("status.json")).unwrap();
    let status: serde_json::Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(status["processes"][0]["state"], "unknown");
    assert_eq!(
        service.lines().len(),
        2,
        "startup, unknown, once: {:#?}",
        service.lines()
    );
    assert_eq!(program.starts().len(), 1, "ours alone");
    child.kill().unwrap();
    child.wait().unwrap();
}

/// A made-up /proc whose next pids are handed out by hand, and a table that has looked at it.
struct Confirmed {
    tree: Tree,
    table: ProcessTable,
    target: Target,
    known: Vec<ProcessId>,
}

impl Confirmed {
    /// Process 100 is up, and has been confirmed until it is known who is young.
    fn new() -> Self {
        let tree = Tree::new();
        tree.add(100, &Entry::new("Monitor"));
        let mut confirmed = Self {
            table: ProcessTable::new(tree.root()),
            target: monitor(),
            known: Vec::new(),
            tree,
        };
        confirmed.last_pid(1000);
        let alive = confirmed.table.look(&confirmed.target).unwrap().alive;
        confirmed.known = alive.iter().map(|alive| alive.id).collect();
        for _ in 0..3 {
            assert_eq!(confirmed.confirm().unwrap(), [100]);
        }
        confirmed
    }

    fn last_pid(&self, pid: i32) {
        self.tree
            .write("loadavg", format!("0.00 0.01 0.05 1/234 {pid}\n"));
    }

    fn confirm(&mut self) -> Result<Vec<i32>, String> {
        let confirmed = as_confirmed(&mut self.table, &self.target, &self.known);
        let sighting = confirmed.map_err(|error| error.to_string())?;
        Ok(sighting.alive.iter().map(|alive| alive.id.pid).collect())
    }
}

#[test]
fn a_confirmation_reads_what_is_known_and_what_is_young() {
    let mut confirmed = Confirmed::new();
    // An old process that can't be read would make any look at all processes fail.
    fs::create_dir_all(confirmed.tree.root().join("500/comm")).unwrap();
    assert_eq!(confirmed.confirm().unwrap(), [100]);
    confirmed.tree.add(1002, &Entry::new("Monitor"));
    confirmed.tree.add(1003, &Entry::new("else"));
    confirmed.last_pid(1003);
    assert_eq!(confirmed.confirm().unwrap(), [100, 1002]);
    // It takes its name only now, but is young for a while.
    confirmed.tree.write("1003/comm", "Monitor\n");
    let stat = fs::read_to_string(confirmed.tree.root().join("1003/stat")).unwrap();
    confirmed
        .tree
        .write("1003/stat", stat.replace("else", "Monitor"));
    assert_eq!(confirmed.confirm().unwrap(), [100, 1002, 1003]);
    for _ in 0..3 {
        confirmed.confirm().unwrap();
    }
    assert_eq!(
        confirmed.confirm().unwrap(),
        [100],
        "no longer young, and not known"
    );
}

#[test]
fn who_takes_the_name_just_after_the_first_confirmation_is_met_by_the_next() {
    let tree = Tree::new();
    tree.add(100, &Entry::new("Monitor"));
    let mut confirmed = Confirmed {
        table: ProcessTable::new(tree.root()),
        target: monitor(),
        known: Vec::new(),
        tree,
    };
    confirmed.last_pid(1000);
    let alive = confirmed.table.look(&confirmed.target).unwrap().alive;
    confirmed.known = alive.iter().map(|alive| alive.id).collect();
    // Born since the look, and still with its parent's name (between fork(2) and execve(2)).
    confirmed.tree.add(1001, &Entry::new("sh"));
    confirmed.last_pid(1001);
    assert_eq!(confirmed.confirm().unwrap(), [100]);
    confirmed.tree.write("1001/comm", "Monitor\n");
    let stat = fs::read_to_string(confirmed.tree.root().join("1001/stat")).unwrap();
    confirmed
        .tree
        .write("1001/stat", stat.replace("(sh)", "(Monitor)"));
    assert_eq!(confirmed.confirm().unwrap(), [100, 1001]);
}

#[test]
fn a_confirmation_reads_the_stat_of_what_is_known_and_nothing_else() {
    let mut confirmed = Confirmed::new();
    for file in ["comm", "status", "exe", "cmdline"] {
        confirmed.tree.remove(&format!("100/{file}"));
        fs::create_dir(confirmed.tree.root().join("100").join(file)).unwrap();
    }
    assert_eq!(confirmed.confirm().unwrap(), [100]);
}

#[test]
fn a_confirmation_meets_young_impostors() {
    let mut confirmed = Confirmed::new();
    confirmed.target = with_exe("/opt/x/*");
    let tree = &confirmed.tree;
    tree.add(1001, &Entry::new("Monitor").runs("/tmp/Monitor", b""));
    tree.add(1002, &Entry::new("Monitor"));
    confirmed.last_pid(1002);
    let confirm = |confirmed: &mut Confirmed| {
        let (target, known) = (&confirmed.target, &confirmed.known);
        as_confirmed(&mut confirmed.table, target, known).unwrap()
    };
    let sighting = confirm(&mut confirmed);
    assert_eq!(sighting.impostors.len(), 1);
    assert_eq!(sighting.impostors[0].id.pid, 1001);
    let alive: Vec<i32> = sighting.alive.iter().map(|alive| alive.id.pid).collect();
    assert_eq!(alive, [100, 1002]);
    for _ in 0..3 {
        confirm(&mut confirmed);
    }
    assert_eq!(
        confirm(&mut confirmed).impostors,
        [],
        "it isn't looked at for ever"
    );
}

#[test]
fn a_confirmation_that_finds_a_change_looks_at_all_processes() {
    for change in ["gone", "zombie", "renamed", "reused"] {
        let mut confirmed = Confirmed::new();
        confirmed.tree.add(50, &Entry::new("Monitor"));
        fs::remove_dir_all(confirmed.tree.root().join("100")).unwrap();
        match change {
            "zombie" => confirmed
                .tree
                .add(100, &Entry::new("Monitor").state('Z', 1)),
            "renamed" => confirmed.tree.add(100, &Entry::new("else")),
            "reused" => {
                let mut another = Entry::new("Monitor");
                another.start_time += 1;
                confirmed.tree.add(100, &another);
            }
            _ => {}
        }
        let expected = match change {
            "reused" => vec![50, 100],
            // One that has another name now is known all the same: nobody else need be looked for.
            "renamed" => vec![100],
            _ => vec![50],
        };
        assert_eq!(confirmed.confirm().unwrap(), expected, "{change}");
    }
}

#[test]
fn a_confirmation_that_cannot_tell_who_is_young_looks_at_all_processes() {
    for loadavg in [
        "0.00 0.01 0.05 1/234 999\n",
        "0.00 0.01 0.05 1/234 90000\n",
        "",
        "nonsense",
    ] {
        let mut confirmed = Confirmed::new();
        confirmed.tree.add(50, &Entry::new("Monitor"));
        assert_eq!(confirmed.confirm().unwrap(), [100]);
        confirmed.tree.write("loadavg", loadavg);
        assert_eq!(confirmed.confirm().unwrap(), [50, 100], "after {loadavg:?}");
    }
}

#[test]
fn a_thread_is_no_process_though_proc_answers_to_its_id() {
    let mut confirmed = Confirmed::new();
    confirmed.tree.add(1001, &Entry::new("Monitor"));
    let status = "Name:\tMonitor\nTgid:\t100\nPid:\t1001\nNSpid:\t1001\n";
    confirmed.tree.write("1001/status", status);
    confirmed.last_pid(1001);
    assert_eq!(confirmed.confirm().unwrap(), [100]);
}

#[test]
fn a_confirmation_that_fails_says_nothing_about_the_process() {
    let mut confirmed = Confirmed::new();
    confirmed.tree.remove("100/stat");
    fs::create_dir(confirmed.tree.root().join("100/stat")).unwrap();
    let message = confirmed.confirm().unwrap_err();
    assert!(message.contains("100/stat can't be read"), "{message}");
}

#[test]
fn the_same_failure_at_another_process_is_no_news() {
    needs!(Need::Namespaces);
    let till = Till::new();
    let program = till.program('C');
    let script = till.script("start.sh", "exit 1");
    till.configure_scripts(&[("comunicador", &program, &script)]);
    let tree = Tree::new();
    fs::create_dir_all(tree.root().join("self/fd")).unwrap();
    fs::create_dir_all(tree.root().join("500/comm")).unwrap();
    let systemd = Systemd::new(&till);
    let setup = format!("mount --bind '{}' /proc", tree.root().display());
    let mut command = in_mount_namespace(&setup, BINARY);
    command.env("NOTIFY_SOCKET", till.path().join("notify"));
    let service = Service::start(&till, &mut command);
    let line = service.wait_for("unknown", "comunicador");
    assert!(line.contains("/proc/500/comm can't be read"), "{line}");
    for pid in 501..505 {
        let before = tree.root().join((pid - 1).to_string());
        fs::rename(before, tree.root().join(pid.to_string())).unwrap();
        for _ in 0..3 {
            systemd.hear_until("WATCHDOG");
        }
    }
    assert_eq!(service.count("unknown", "comunicador"), 1);
    // Another failure is news.
    fs::remove_dir_all(tree.root().join("504")).unwrap();
    fs::remove_dir_all(tree.root().join("1")).unwrap();
    service.wait_for_line("pid 1 is missing");
    assert_eq!(service.count("unknown", "comunicador"), 2);
    assert_eq!(service.count("starting", "comunicador"), 0);
}

/// A slice of a look as the service makes it.
pub(crate) fn looked_for(
    table: &mut ProcessTable,
    target: &Target,
    known: &[ProcessId],
) -> Result<Sighting, LookError> {
    let reading = table.read_names(&[Comm::of(target.name.comm())])?;
    table.look_for(target, known, &reading)
}

/// A confirmation, and a look where it takes one.
pub(crate) fn as_confirmed(
    table: &mut ProcessTable,
    target: &Target,
    known: &[ProcessId],
) -> Result<Sighting, LookError> {
    match table.confirm(target, known)? {
        Some(sighting) => Ok(sighting),
        None => looked_for(table, target, known),
    }
}
