//! Who is the one that is meant, and who gets a signal: with real processes, for only the kernel
//! knows what it says of a replaced file, of a debugger or of a pid that has passed on.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use mfe_watchdog::proc::{
    CmdlinePattern, ExePattern, ProcessId, ProcessName, ProcessTable, RunState, Sighting,
    SignalError, Signalled, Target, signal,
};
use mfe_watchdog::sys::user::User;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::program;
use crate::table::as_confirmed;
use mfe_kit::{Need, Till, clean, eventually, install_program, is_root, needs, section};

fn named(name: &str) -> Target {
    Target::named(ProcessName::new(name))
}

fn with_exe(name: &str, directory: &Path) -> Target {
    let pattern = format!("{}/*", directory.display());
    Target {
        exe: Some(ExePattern::new(&pattern).unwrap()),
        ..named(name)
    }
}

fn look(target: &Target) -> Sighting {
    ProcessTable::new("/proc").look(target).unwrap()
}

fn pids(sighting: &Sighting) -> (Vec<i32>, Vec<i32>) {
    let alive = sighting.alive.iter().map(|alive| alive.id.pid);
    let impostors = sighting.impostors.iter().map(|impostor| impostor.id.pid);
    (alive.collect(), impostors.collect())
}

fn pid(child: &Child) -> i32 {
    i32::try_from(child.id()).unwrap()
}

/// A copy of the stand-in in a directory of its own, with this name.
fn copy(till: &Till, directory: &str, name: &str) -> PathBuf {
    let original = till.path().join("bin").join(name);
    if !original.exists() {
        till.program_named(name);
    }
    let directory = till.path().join(directory);
    fs::create_dir_all(&directory).unwrap();
    let copy = directory.join(name);
    install_program(&original, &copy);
    copy
}

/// Runs a stand-in, with more arguments than it needs, and waits until it has its name.
fn run(till: &Till, program: &Path, arguments: &[&str]) -> Child {
    let mut command = Command::new(program);
    command.arg(till.path()).args(arguments);
    spawn(&mut command)
}

/// The kernel sets the arguments of a new program last.
fn spawn(command: &mut Command) -> Child {
    let name = Path::new(command.get_program()).file_name().unwrap();
    let comm = [name.as_encoded_bytes(), b"\n"].concat();
    let child = command.spawn().unwrap();
    let read = |file: &str| fs::read(format!("/proc/{}/{file}", child.id())).unwrap();
    eventually(("runs", &comm), || {
        (read("comm") == comm && !read("cmdline").is_empty()).then_some(())
    });
    child
}

fn end(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

/// A name that no other test has.
fn unique(initial: char) -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    format!("{initial}{:x}id{number}", std::process::id())
}

#[test]
fn the_programs_path_tells_the_real_one_from_a_strangers() {
    let till = Till::new();
    let name = unique('M');
    let real = copy(&till, "real", &name);
    let strangers = copy(&till, "strangers", &name);
    let [real_one, stranger] = [&real, &strangers].map(|program| run(&till, program, &[]));
    let target = with_exe(&name, &till.path().join("real"));
    let sighting = look(&target);
    assert_eq!(
        pids(&sighting),
        (vec![pid(&real_one)], vec![pid(&stranger)])
    );
    assert_eq!(sighting.impostors[0].path, strangers.display().to_string());
    if is_root() {
        assert_eq!(sighting.impostors[0].user, "root");
    }

    // An upgrade replaces the file while the old program runs; then it takes it away.
    let new = copy(&till, "new", &name);
    fs::rename(new, &real).unwrap();
    assert_eq!(pids(&look(&target)).0, [pid(&real_one)], "replaced");
    fs::remove_dir_all(till.path().join("real")).unwrap();
    fs::remove_file(&strangers).unwrap();
    let sighting = look(&target);
    assert_eq!(pids(&sighting).0, [pid(&real_one)], "removed");
    let path = format!("{} (deleted)", strangers.display());
    assert_eq!(sighting.impostors[0].path, path);
    for child in [real_one, stranger] {
        end(child);
    }
}

#[test]
fn the_arguments_tell_apart_what_an_interpreter_runs() {
    let till = Till::new();
    let java = unique('j');
    let program = copy(&till, "jvm", &java);
    let jar = |jar: &str| run(&till, &program, &["-jar", jar]);
    let [monitor, comunicador, other] = ["/x/monitor.jar", "/x/comunicador.jar", "x"].map(jar);
    let runs = |pattern: &str| Target {
        cmdline: Some(CmdlinePattern::new(pattern).unwrap()),
        ..named(&java)
    };
    let mut target = runs("-jar [^ ]*/monitor[.]jar$");
    let all = (vec![pid(&monitor)], vec![pid(&comunicador), pid(&other)]);
    assert_eq!(pids(&look(&target)), all);
    target.namesakes.push(runs("/comunicador[.]jar"));
    assert_eq!(
        pids(&look(&target)),
        (vec![pid(&monitor)], vec![pid(&other)])
    );
    for child in [monitor, comunicador, other] {
        end(child);
    }
}

#[test]
fn the_user_tells_the_real_one_from_a_strangers() {
    needs!(Need::Root("it runs a program as another user"));
    let till = Till::new();
    let name = unique('U');
    let program = copy(&till, "everybody", &name);
    let everybodys = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    everybodys(till.path(), 0o755);
    let starts = till.path().join(format!("{name}.starts"));
    fs::write(&starts, "").unwrap();
    everybodys(&starts, 0o666);
    let of_nobody = spawn(Command::new(&program).arg(till.path()).uid(65534));
    let of_root = run(&till, &program, &[]);
    let of = |user: &str| Target {
        user: User::find(user).unwrap(),
        ..named(&name)
    };
    let sighting = look(&of("root"));
    assert_eq!(
        pids(&sighting),
        (vec![pid(&of_root)], vec![pid(&of_nobody)])
    );
    assert_eq!(sighting.impostors[0].user, "nobody");
    assert_eq!(sighting.impostors[0].path, program.display().to_string());
    for nobody in ["nobody", "65534"] {
        let (alive, impostors) = pids(&look(&of(nobody)));
        assert_eq!(
            (alive, impostors),
            (vec![pid(&of_nobody)], vec![pid(&of_root)])
        );
    }
    for child in [of_nobody, of_root] {
        end(child);
    }
}

#[test]
fn the_service_starts_the_real_one_beside_a_strangers() {
    let till = Till::new();
    let name = unique('S');
    let real = copy(&till, "real", &name);
    let stranger = run(&till, &copy(&till, "strangers", &name), &[]);
    let command = format!("exec '{}' '{}'", real.display(), till.path().display());
    let script = till.script("start.sh", &command);
    let exe = real.display();
    till.configure(&format!(
        "interval = \"100ms\"\n{}exe = \"{exe}\"\n",
        section("monitor", &name, &script)
    ));
    let service = program::run(&till);
    let up = service.wait_for_state("monitor", "up");
    let started = i32::try_from(up["pids"][0].as_i64().unwrap()).unwrap();
    assert_ne!(started, pid(&stranger));
    kill(Pid::from_raw(started), Signal::SIGKILL).unwrap();
    let up = service.wait_for_restarts("monitor", 1);
    assert_eq!(up["pids"].as_array().unwrap().len(), 1);
    assert_ne!(up["pids"][0], pid(&stranger));

    service.wait_cycles(5);
    let told = service.wait_for("impostor", "monitor");
    let strangers = till.path().join("strangers").join(&name);
    let words = format!("pid {}, user ", pid(&stranger));
    assert!(told.contains(&words), "{told}");
    assert!(told.contains(&strangers.display().to_string()), "{told}");
    assert!(told.contains("it is ignored"), "{told}");
    assert_eq!(service.count("impostor", "monitor"), 1, "said once");
    let mut stranger = stranger;
    assert_eq!(stranger.try_wait().unwrap(), None, "it lives");
    drop(service);
    end(stranger);
}

#[test]
fn a_program_that_is_stopped_is_told_from_one_that_is_debugged() {
    needs!(Need::Package("strace"));
    let till = Till::new();
    let program = till.program('T');
    let mut child = program.start();
    let target = named(&program.name);
    let mut table = ProcessTable::new("/proc");
    let mut state = || {
        let looked = table.look(&target).unwrap().alive;
        assert_eq!(looked.len(), 1);
        let confirmed = as_confirmed(&mut table, &target, &[looked[0].id]).unwrap();
        let confirmed = confirmed.alive;
        assert_eq!(confirmed.len(), 1);
        confirmed[0].state
    };
    let shown = |field: &str| {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        line.unwrap().trim().to_owned()
    };
    assert_eq!(state(), RunState::Running);
    let signal = |signal| kill(Pid::from_raw(pid(&child)), signal).unwrap();
    signal(Signal::SIGSTOP);
    eventually("stopped", || (state() == RunState::Stopped).then_some(()));
    signal(Signal::SIGCONT);
    eventually("continued", || (state() == RunState::Running).then_some(()));

    let mut debugger = clean(Command::new("strace"));
    debugger.args(["-q", "-o", "/dev/null", "-p", &child.id().to_string()]);
    let mut debugger = debugger.spawn().unwrap();
    eventually("debugged", || (shown("TracerPid:") != "0").then_some(()));
    signal(Signal::SIGSTOP);
    eventually("held", || shown("State:").starts_with('t').then_some(()));
    assert_eq!(state(), RunState::Running);
    debugger.kill().unwrap();
    debugger.wait().unwrap();
    // What it held back may be lost with it.
    signal(Signal::SIGSTOP);
    eventually("stopped", || (state() == RunState::Stopped).then_some(()));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_program_that_nothing_can_interrupt() {
    needs!(Need::Package("python3"));
    let till = Till::new();
    let name = unique('D');
    let program = till.path().join("bin").join(&name);
    symlink("/usr/bin/python3", &program).unwrap();
    let fifo = till.path().join("fifo");
    // The child has to open a FIFO before it becomes another program, which it does when somebody
    // writes. Until then its parent waits as for a disk (vfork(2)).
    let script = "import os, sys\n\
        os.mkfifo(sys.argv[1])\n\
        os.posix_spawn('/bin/true', ['true'], {}, file_actions=[(os.POSIX_SPAWN_OPEN, 0, sys.argv[1], os.O_RDONLY, 0)])\n\
        sys.stdin.read()\n";
    let mut command = Command::new(&program);
    command.args([OsStr::new("-c"), OsStr::new(script), fifo.as_os_str()]);
    command.stdin(std::process::Stdio::piped());
    let parent = spawn(&mut command);
    let target = named(&name);
    let alive = eventually("uninterruptible", || {
        let alive = look(&target).alive;
        (alive.len() == 2).then_some(alive)
    });
    let of_parent = alive
        .iter()
        .find(|alive| alive.id.pid != pid(&parent))
        .unwrap();
    assert_eq!(
        of_parent.parent,
        pid(&parent),
        "a child of the first, no second copy"
    );
    fs::write(&fifo, "").unwrap();
    eventually("interruptible", || {
        let alive = look(&target).alive;
        (alive.len() == 1 && alive[0].id.pid == pid(&parent)).then_some(())
    });
    end(parent);
}

#[test]
fn a_program_whose_main_thread_has_ended_is_still_told() {
    needs!(Need::Package("python3"));
    let till = Till::new();
    let name = unique('P');
    let program = till.path().join("bin").join(&name);
    symlink("/usr/bin/python3", &program).unwrap();
    let script = "import ctypes, sys, threading\n\
        threading.Thread(target=sys.stdin.read).start()\n\
        ctypes.CDLL(None).pthread_exit(None)\n";
    let mut command = Command::new(&program);
    command.args([
        OsStr::new("-c"),
        OsStr::new(script),
        till.path().as_os_str(),
    ]);
    command.stdin(std::process::Stdio::piped());
    let child = spawn(&mut command);
    let status = format!("/proc/{}/status", child.id());
    eventually("the main thread has ended", || {
        let status = fs::read_to_string(&status).unwrap();
        status.contains("State:\tZ").then_some(())
    });
    let arguments = till.path().display().to_string();
    let is = |exe: &str, cmdline: &str| Target {
        exe: Some(ExePattern::new(exe).unwrap()),
        cmdline: Some(CmdlinePattern::new(cmdline).unwrap()),
        ..named(&name)
    };
    let target = is("/usr/bin/python3*", &arguments);
    assert_eq!(pids(&look(&target)), (vec![pid(&child)], vec![]));
    let another = is("/usr/bin/perl*", &arguments);
    assert_eq!(pids(&look(&another)), (vec![], vec![pid(&child)]));
    end(child);
}

#[test]
fn a_signal_reaches_its_process_and_no_other() {
    let till = Till::new();
    let program = till.program('T');
    let mut child = program.start();
    let alive = look(&named(&program.name)).alive;
    let id = alive[0].id;
    let mut table = ProcessTable::new("/proc");
    let mut send = |id| signal(id, rustix::process::Signal::TERM, &mut table);
    for start_time in [id.start_time - 1, id.start_time + 1, 0] {
        let before = ProcessId { start_time, ..id };
        assert_eq!(
            send(before).unwrap(),
            Signalled::Gone,
            "another one has its pid now"
        );
    }
    assert_eq!(child.try_wait().unwrap(), None, "it lives");
    assert_eq!(send(id).unwrap(), Signalled::Sent);
    assert_eq!(child.wait().unwrap().signal(), Some(15));
    assert_eq!(send(id).unwrap(), Signalled::Gone);
}

#[test]
fn without_pidfds_too() {
    needs!(Need::Package("strace"));
    for errno in ["ENOSYS", "EPERM"] {
        for call in ["pidfd_open", "pidfd_send_signal"] {
            let till = Till::new();
            let trace = till.path().join("trace");
            let mut command = Command::new("strace");
            command
                .args(["-q", "--seccomp-bpf", "-f"])
                .args(["-e", "trace=pidfd_open,pidfd_send_signal,kill"])
                .args(["-e", &format!("inject={call}:error={errno}"), "-o"])
                .arg(&trace)
                .arg(std::env::current_exe().unwrap())
                .args([
                    "--exact",
                    "identity::a_signal_reaches_its_process_and_no_other",
                ]);
            let output = command.output().unwrap();
            assert!(output.status.success(), "{output:?}");
            let trace = fs::read_to_string(&trace).unwrap();
            let count = |texts: &[&str]| {
                let has_all = |line: &&str| texts.iter().all(|text| line.contains(text));
                trace.lines().filter(has_all).count()
            };
            let call = format!("{call}(");
            assert!(count(&[&call]) >= 1, "{trace}");
            assert_eq!(count(&[&call]), count(&[&call, errno]), "{trace}");
            assert_eq!(
                count(&[" kill(", "SIGTERM"]),
                1,
                "not the wrong ones: {trace}"
            );
        }
    }
}

#[test]
fn some_are_never_signalled() {
    let mut table = ProcessTable::new("/proc");
    for pid in [
        1,
        0,
        -1,
        i32::MIN,
        i32::try_from(std::process::id()).unwrap(),
    ] {
        let id = ProcessId { pid, start_time: 0 };
        let refused = signal(id, rustix::process::Signal::KILL, &mut table).unwrap_err();
        assert!(matches!(refused, SignalError::Forbidden(_)), "{refused}");
        assert_eq!(refused.to_string(), format!("pid {pid} is never signalled"));
    }
}

#[test]
fn whoever_cannot_be_looked_at_is_not_signalled() {
    let till = Till::new();
    let program = till.program('T');
    let mut child = program.start();
    let id = look(&named(&program.name)).alive[0].id;
    let stat = till.path().join(id.pid.to_string()).join("stat");
    fs::create_dir_all(&stat).unwrap();
    let mut table = ProcessTable::new(till.path());
    let refused = signal(id, rustix::process::Signal::KILL, &mut table).unwrap_err();
    let expected = format!(
        "not signalled: {} can't be read: Is a directory (os error 21)",
        stat.display()
    );
    assert_eq!(refused.to_string(), expected);
    assert_eq!(child.try_wait().unwrap(), None, "it lives");
    child.kill().unwrap();
    child.wait().unwrap();
}
