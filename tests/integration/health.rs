//! Health checks on real processes, sockets, files and programs, each until it has something to tell.

use std::fmt::Write as _;
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use mfe_watchdog::config::{CheckAction, CheckSettings, parse};
use mfe_watchdog::health::{Checks, Outcome, Verdict};
use mfe_watchdog::proc::ProcessId;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::net::TcpSocket;

use mfe_kit::{DEADLINE, Guard, Need, Till, eventually, in_mount_namespace, is_root, needs};

/// The `[[process.KEY.check]]` sections of checks, each made every 100 ms.
fn check_sections(key: &str, checks: &[&str]) -> String {
    let mut text = String::new();
    for check in checks {
        write!(
            text,
            "[[process.{key}.check]]\nevery = \"100ms\"\n{check}\n"
        )
        .unwrap();
    }
    text
}

/// The settings of such checks.
fn settings(checks: &[&str]) -> Vec<CheckSettings> {
    let process = "[process.comunicador]\nname = \"A\"\ncommand = [\"/a\"]\n";
    let text = process.to_owned() + &check_sections("comunicador", checks);
    let settings = parse(&text, Path::new("config.toml")).unwrap_or_else(|error| panic!("{error}"));
    settings.processes[0].checks.clone()
}

/// Which process has this pid now.
fn id(pid: u32) -> ProcessId {
    let pid = i32::try_from(pid).unwrap();
    let stat = procfs::process::Process::new(pid).and_then(|process| process.stat());
    ProcessId {
        pid,
        start_time: stat.unwrap().starttime,
    }
}

/// This very process.
fn myself() -> ProcessId {
    id(std::process::id())
}

/// Checks of a process, which begin at once.
fn checks(checks: &[&str], subject: &[ProcessId]) -> Checks {
    let mut begun = Checks::new("comunicador");
    assert!(begun.set(&settings(checks), subject, Instant::now()));
    begun
}

/// The next verdict.
async fn verdict(checks: &mut Checks) -> Verdict {
    let verdict = tokio::time::timeout(DEADLINE, checks.changed()).await;
    verdict.expect("a verdict in time")
}

/// The next verdict, which must be a failure, in its words.
async fn failure(checks: &mut Checks) -> String {
    let verdict = verdict(checks).await;
    match verdict.outcome {
        Outcome::Failed(finding) => finding.to_string(),
        other => panic!("{} {other:?}", verdict.check),
    }
}

async fn passed(checks: &mut Checks) {
    assert_eq!(verdict(checks).await.outcome, Outcome::Passed);
}

/// Waits for something in the runtime, which goes on meanwhile.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < end, "not within {DEADLINE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Whether there is an entry in /proc, even that of a zombie.
fn has_entry(pid: &str) -> bool {
    Path::new("/proc").join(pid).exists()
}

/// A child that does nothing.
fn sleeper() -> Guard {
    Guard(Command::new("sleep").arg("1000").spawn().unwrap())
}

/// A child that holds about this many MiB of memory.
fn hog(mebibytes: u32) -> Guard {
    let child = Command::new("dd")
        .args(["if=/dev/zero", "count=1", &format!("bs={mebibytes}M")])
        // Nobody reads it, so dd keeps what it has read.
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let hog = Guard(child);
    eventually("the memory in use", || {
        let process = procfs::process::Process::new(id(hog.0.id()).pid).unwrap();
        let resident = process.status().unwrap().vmrss.unwrap();
        (resident >= u64::from(mebibytes) << 10).then_some(())
    });
    hog
}

/// An address of this machine that no other test uses.
fn address(port: u16) -> SocketAddr {
    let number = std::process::id().to_be_bytes();
    SocketAddr::from(([127, number[2].max(1), number[3].max(1), 77], port))
}

fn tcp(address: SocketAddr) -> String {
    format!("kind = \"tcp\"\naddress = \"{address}\"\nfailures = 2")
}

#[tokio::test]
async fn a_port_that_nobody_listens_on_fails_until_somebody_does() {
    let address = address(9015);
    let mut checks = checks(&[&tcp(address)], &[myself()]);
    let Verdict {
        check,
        action,
        outcome: Outcome::Failed(finding),
    } = verdict(&mut checks).await
    else {
        panic!("no failure");
    };
    assert_eq!((check.as_str(), action), ("tcp", CheckAction::Alert));
    assert_eq!(
        finding.to_string(),
        format!("nothing accepts connections on {address} (connection refused), 2 times in a row")
    );
    let listener = TcpListener::bind(address).unwrap();
    passed(&mut checks).await;
    drop(listener);
    failure(&mut checks).await;
}

#[tokio::test]
async fn a_process_in_another_network_is_judged_by_who_listens_there() {
    needs!(Need::Namespaces);
    let mut command = Command::new("unshare");
    if !is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    let elsewhere = Guard(command.args(["--net", "sleep", "1000"]).spawn().unwrap());
    let network = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/net")).unwrap();
    let (here, there) = (std::process::id(), elsewhere.0.id());
    until("another network", || network(here) != network(there)).await;
    let address = address(9018);
    let mut checks = checks(&[&tcp(address)], &[id(there)]);
    let verdict = verdict(&mut checks).await;
    let Outcome::Failed(why) = verdict.outcome else {
        panic!("{verdict:?}");
    };
    let why = why.to_string();
    assert!(why.starts_with("nothing listens on "), "{why}");
}

#[tokio::test]
async fn a_port_that_accepts_no_more_connections_fails() {
    let address = address(9016);
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(address).unwrap();
    let _full = socket.listen(1).unwrap();
    let brief = Duration::from_millis(100);
    let mut waiting = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, brief) {
        waiting.push(stream);
        assert!(waiting.len() < 100, "the queue is never full");
    }
    let check = tcp(address) + "\ntimeout = \"200ms\"";
    assert_eq!(
        failure(&mut checks(&[&check], &[myself()])).await,
        format!("{address} didn't answer within 200ms, 2 times in a row")
    );
}

#[tokio::test]
async fn a_file_that_no_longer_changes_fails() {
    let till = Till::new();
    let pattern = till.path().join("*.log");
    let check = format!(
        "kind = \"file\"\npath = {:?}\nmax_age = \"200ms\"\nfailures = 1",
        pattern.to_str().unwrap()
    );
    let mut checks = checks(&[&check], &[myself()]);
    let pattern = pattern.display();
    let finding = failure(&mut checks).await;
    let expected = format!("{pattern} hasn't been there for ");
    assert!(finding.starts_with(&expected), "{finding}");
    for name in ["a.log", "b.log", "a.log"] {
        fs::write(till.path().join(name), "news").unwrap();
        passed(&mut checks).await;
        let finding = failure(&mut checks).await;
        let expected = format!("{pattern} hasn't changed for ");
        assert!(finding.starts_with(&expected), "{finding}");
    }
}

/// A folder in which every look hangs in the kernel, as on a dead network share: its file system is
/// one that nobody answers for. The child keeps it that way.
fn dead_share(till: &Till) -> (Guard, PathBuf) {
    let share = till.path().join("share");
    fs::create_dir(&share).unwrap();
    let setup = "exec 3<>/dev/fuse\n\
                 mount -i -t fuse -o fd=3,rootmode=40000,user_id=0,group_id=0 none \"$SHARE\"\n\
                 : > \"$SHARE.mounted\"";
    let child = in_mount_namespace(setup, "sleep")
        .arg("1000")
        .env("SHARE", &share)
        .spawn()
        .unwrap();
    let child = Guard(child);
    let mounted = till.path().join("share.mounted");
    eventually("a dead share", || mounted.exists().then_some(()));
    let root = PathBuf::from(format!("/proc/{}/root", child.0.id()));
    (child, root.join(share.strip_prefix("/").unwrap()))
}

#[test]
fn a_look_that_hangs_in_the_kernel_fails_and_has_none_beside_it() {
    const THREADS: &str = "mfe-dead-share";
    needs!(Need::Root("it mounts a share"));
    let till = Till::new();
    let (child, share) = dead_share(&till);
    let check = format!(
        "kind = \"file\"\npath = {:?}\nmax_age = \"1h\"\ntimeout = \"100ms\"\nfailures = 2",
        share.join("file").to_str().unwrap()
    );
    let threads = || {
        let tasks = fs::read_dir("/proc/self/task").unwrap();
        let names =
            tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
        names.filter(|name| name.trim_end() == THREADS).count()
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .thread_name(THREADS)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut checks = checks(&[&check], &[myself()]);
        let finding = failure(&mut checks).await;
        let expected = "didn't answer within 100ms, 2 times in a row";
        assert!(finding.ends_with(expected), "{finding}");
        for _ in 0..3 {
            // As after a restart of the process.
            checks.clear();
            assert!(checks.set(&settings(&[&check]), &[myself()], Instant::now()));
            failure(&mut checks).await;
        }
        assert_eq!(threads(), 1);
    });
    // The service can end although the thread can't.
    runtime.shutdown_background();
    assert_eq!(threads(), 1);
    drop(child);
    eventually("the end of the thread", || (threads() == 0).then_some(()));
}

#[tokio::test]
async fn the_memory_of_all_processes_is_bounded() {
    let (first, second) = (hog(32), hog(32));
    let check = |max: &str| format!("kind = \"memory\"\nmax = \"{max}\"\nfailures = 2");
    let (low, high) = (check("16MiB"), check("56MiB"));
    let first = id(first.0.id());
    let mut checks = checks(&[&low, &high], &[first]);
    let told = verdict(&mut checks).await;
    assert_eq!(told.check, "memory");
    let Outcome::Failed(finding) = told.outcome else {
        panic!("{told:?}");
    };
    let finding = finding.to_string();
    let used = finding.strip_prefix("it uses ").unwrap();
    let used = used.strip_suffix("MiB of memory, more than 16MiB, 2 times in a row");
    let used: u32 = used.expect(&finding).parse().unwrap();
    assert!((32..48).contains(&used), "{used}");

    let both = [first, id(second.0.id())];
    assert!(checks.set(&settings(&[&high]), &both, Instant::now()));
    let finding = failure(&mut checks).await;
    assert!(finding.contains("more than 56MiB"), "{finding}");
}

#[tokio::test]
async fn a_busy_loop_takes_too_much_of_the_cpu_until_it_rests() {
    let script = ["-c", "while :; do :; done"];
    let busy = Guard(Command::new("sh").args(script).spawn().unwrap());
    let check = "kind = \"cpu\"\nmax = \"5%\"\nover = \"300ms\"\nfailures = 2";
    let mut checks = checks(&[check], &[id(busy.0.id())]);
    let finding = failure(&mut checks).await;
    assert!(finding.starts_with("it used "), "{finding}");
    assert!(
        finding.ends_with("ms, more than 5%, 2 times in a row"),
        "{finding}"
    );
    let pid = Pid::from_raw(id(busy.0.id()).pid);
    kill(pid, Signal::SIGSTOP).unwrap();
    passed(&mut checks).await;
}

#[tokio::test]
async fn a_process_may_be_too_old_at_the_time_on_the_clock() {
    let sleeper = sleeper();
    let subject = [id(sleeper.0.id())];
    let hour = |offset: &str| {
        let arguments = ["+%H:%M", "--date", offset];
        let date = Command::new("date").args(arguments).output().unwrap();
        String::from_utf8(date.stdout).unwrap().trim().to_owned()
    };
    let (before, after, later) = (hour("-1 hour"), hour("+1 hour"), hour("+2 hours"));
    let age = |name: &str, between: &str| {
        format!(
            "name = \"{name}\"\nkind = \"age\"\nmax = \"100ms\"\nbetween = \"{between}\"\n\
             action = \"restart\""
        )
    };
    let now = age("now", &format!("{before}-{after}"));
    let not_now = age("not-now", &format!("{after}-{later}"));
    let mut checks = checks(&[&not_now, &now], &subject);
    let told = verdict(&mut checks).await;
    assert_eq!(
        (told.check.as_str(), told.action),
        ("now", CheckAction::Restart)
    );
    let Outcome::Failed(finding) = told.outcome else {
        panic!("{told:?}");
    };
    let finding = finding.to_string();
    assert!(finding.starts_with("it has been running for "), "{finding}");
    assert!(finding.ends_with(", longer than 100ms"), "{finding}");
}

/// A check by a script; `{}` in its body is the till's directory.
fn command(till: &Till, body: &str) -> String {
    let directory = till.path().to_str().unwrap();
    let script = till.script("check.sh", &body.replace("{}", directory));
    let script = toml::Value::from(script.to_str().unwrap());
    format!("kind = \"command\"\ncommand = [{script}]\nfailures = 1")
}

#[tokio::test]
async fn a_program_says_by_its_exit_status_how_things_are() {
    let till = Till::new();
    let body = "echo \"$MFE_PROCESS $MFE_PID\" > {}/variables\n\
                [ -e {}/well ] && exit\n\
                printf '\\n \\033[2Jbad\\n'; exit 3";
    let check = command(&till, body);
    let mut checks = checks(&[&check], &[myself()]);
    let script = till.path().join("bin/check.sh");
    let expected = format!(
        "{} reports a problem (exit status 3): \\u{{1b}}[2Jbad",
        script.display()
    );
    assert_eq!(failure(&mut checks).await, expected);
    let variables = fs::read_to_string(till.path().join("variables")).unwrap();
    assert_eq!(variables, format!("comunicador {}\n", myself().pid));
    fs::write(till.path().join("well"), "").unwrap();
    passed(&mut checks).await;
}

#[tokio::test]
async fn a_program_that_cannot_be_run_says_nothing_about_the_process() {
    let check = "kind = \"command\"\ncommand = [\"/nonexistent/check\"]\nfailures = 1\n\
                 action = \"restart\"";
    let verdict = verdict(&mut checks(&[check], &[myself()])).await;
    let Outcome::Unknown(why) = verdict.outcome else {
        panic!("{verdict:?}");
    };
    assert!(
        why.starts_with("/nonexistent/check can't be run: No such file"),
        "{why}"
    );
}

/// Hangs, whatever is sent to it but SIGKILL, with a child of its own; both pids are noted.
const HANGS: &str = "trap '' TERM INT HUP\nsleep 1000 &\necho $$ $! >> {}/pids\nwait\nwait";

/// The pids that were noted, once there are any.
fn noted(till: &Till) -> Vec<String> {
    let pids = fs::read_to_string(till.path().join("pids")).unwrap_or_default();
    pids.split_whitespace().map(str::to_owned).collect()
}

#[tokio::test]
async fn a_program_that_hangs_is_killed_with_its_children_and_reaped() {
    let till = Till::new();
    let check = command(&till, HANGS) + "\ntimeout = \"300ms\"";
    let mut checks = checks(&[&check], &[myself()]);
    let finding = failure(&mut checks).await;
    assert!(finding.ends_with("didn't answer within 300ms"), "{finding}");
    // Meanwhile the next run may have begun, and noted its own.
    let pids = &noted(&till)[..2];
    until("the end of the program", || {
        !pids.iter().any(|pid| has_entry(pid))
    })
    .await;
}

#[tokio::test]
async fn checks_that_are_dropped_take_their_programs_along() {
    let till = Till::new();
    let checks = checks(&[&command(&till, HANGS)], &[myself()]);
    until("a program that runs", || noted(&till).len() == 2).await;
    let pids = noted(&till);
    assert!(pids.iter().all(|pid| has_entry(pid)));
    drop(checks);
    until("the end of the program", || {
        !pids.iter().any(|pid| has_entry(pid))
    })
    .await;
}

#[tokio::test]
async fn a_program_never_runs_beside_itself() {
    let till = Till::new();
    let body = "mkdir {}/running || echo twice >> {}/overlap\n\
                echo run >> {}/runs\nsleep 0.25\nrmdir {}/running";
    let _checks = checks(&[&command(&till, body)], &[myself()]);
    let runs = till.path().join("runs");
    until("several runs", || {
        fs::read_to_string(&runs)
            .unwrap_or_default()
            .lines()
            .count()
            > 4
    })
    .await;
    assert!(!till.path().join("overlap").exists());
}

#[tokio::test]
async fn a_program_that_floods_its_output_holds_nobody_up() {
    let till = Till::new();
    let check = command(
        &till,
        "cat /dev/zero & cat /dev/zero & cat /dev/zero & exec cat /dev/zero",
    ) + "\ntimeout = \"1s\"";
    let mut checks = checks(&[&check], &[myself()]);
    let longest_pause = async {
        let mut longest = Duration::ZERO;
        loop {
            let begin = Instant::now();
            tokio::time::sleep(Duration::from_millis(1)).await;
            longest = longest.max(begin.elapsed());
            if longest > Duration::from_millis(500) {
                return longest;
            }
        }
    };
    tokio::select! {
        biased;
        longest = longest_pause => panic!("the runtime stood still for {longest:?}"),
        finding = failure(&mut checks) => {
            assert!(finding.ends_with("check.sh didn't answer within 1s"), "{finding}");
        }
    }
}

#[tokio::test]
async fn nothing_counts_before_the_beginning() {
    let begin = Instant::now() + Duration::from_millis(500);
    let check = "kind = \"age\"\nmax = \"100ms\"";
    let mut checks = Checks::new("comunicador");
    assert!(checks.set(&settings(&[check]), &[myself()], begin));
    failure(&mut checks).await;
    assert!(Instant::now() >= begin);
}

#[tokio::test]
async fn one_that_hangs_delays_no_other() {
    let till = Till::new();
    let hangs = command(&till, HANGS) + "\ntimeout = \"1h\"";
    let mut checks = checks(&[&hangs, &tcp(address(9017))], &[myself()]);
    until("a program that hangs", || !noted(&till).is_empty()).await;
    assert_eq!(verdict(&mut checks).await.check, "tcp");
}

#[tokio::test]
async fn all_begins_anew_when_settings_or_processes_change_and_only_then() {
    let sleeper = sleeper();
    let (first, second) = (myself(), id(sleeper.0.id()));
    let settings_of = |max: &str| settings(&[&format!("kind = \"age\"\nmax = \"{max}\"")]);
    let (strict, stricter) = (settings_of("200ms"), settings_of("100ms"));
    let mut checks = Checks::new("comunicador");
    let now = Instant::now();
    assert!(checks.set(&strict, &[first, second], now));
    failure(&mut checks).await;
    assert!(
        !checks.set(&strict, &[second, first], now),
        "the same processes"
    );
    assert!(checks.set(&strict, &[first], now));
    failure(&mut checks).await;
    assert!(checks.set(&stricter, &[first], now));
    failure(&mut checks).await;
    checks.clear();
    assert!(checks.set(&stricter, &[first], now));
    failure(&mut checks).await;
    assert!(checks.set(&[], &[first], now));
    assert!(!checks.set(&[], &[first], now));
}

#[test]
fn no_checks_cost_nothing() {
    let mut checks = Checks::new("comunicador");
    let subject = [myself()];
    // Outside of a runtime: there is no task and no timer either.
    let cost = allocation_counter::measure(|| {
        assert!(!checks.set(&[], &subject, Instant::now()));
    });
    assert_eq!(cost.count_total, 0);
}
