//! What comes of health checks: with the real service, real ports, files and processes.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use nix::sys::signal::Signal;

use crate::program::run;
use mfe_kit::{Program, Service, Till, eventually};

const KEY: &str = "comunicador";

/// A check that is made every 100 ms from 200 ms after the start on.
fn check(rest: &str) -> String {
    format!("[[process.comunicador.check]]\nevery = \"100ms\"\nfailures = 2\n{rest}\n")
}

/// The beginning of a section's rules.
const QUICK: &str = "start_timeout = \"200ms\"\nstop_timeout = \"300ms\"\n";

/// A check that fails while the till's file `sick` is there, and the setting for it.
fn sick_check(till: &Till, rest: &str) -> (PathBuf, String) {
    let sick = till.path().join("sick");
    let body = format!(
        "[ ! -e '{}' ] || {{ echo it is sick; exit 1; }}",
        sick.display()
    );
    let script = till.script("check.sh", &body);
    let script = toml::Value::from(script.to_str().unwrap());
    (
        sick,
        check(&format!("kind = \"command\"\ncommand = [{script}]\n{rest}")),
    )
}

/// An alert leaves the program as it is: unhealthy, and then well again.
fn alerts(
    till: &Till,
    program: &Program,
    finding: &str,
    break_it: impl FnOnce(),
    fix: impl FnOnce(),
) {
    let service = run(till);
    service.wait_for_state(KEY, "up");
    let pid = program.pid();
    service.wait_cycles(6);
    assert_eq!(service.count("unhealthy", KEY), 0, "{:#?}", service.lines());
    break_it();
    let line = service.wait_for("unhealthy", KEY);
    assert!(line.contains(finding), "{line}");
    assert!(
        line.contains("2 times in a row; it is left running"),
        "{line}"
    );
    let status = service.wait_for_state(KEY, "unhealthy");
    assert!(
        status["detail"].as_str().unwrap().contains(finding),
        "{status}"
    );
    service.wait_cycles(6);
    assert_eq!(service.count("unhealthy", KEY), 1, "said once");
    fix();
    let line = service.wait_for("recovered", KEY);
    assert!(line.contains("is healthy again"), "{line}");
    assert!(service.wait_for_state(KEY, "up")["detail"].is_null());
    assert_eq!(program.pid(), pid, "the same process");
    assert_eq!(service.count("killed", KEY), 0);
}

#[test]
fn a_port_alerts() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let rules = check(&format!("kind = \"tcp\"\naddress = \"{address}\""));
    let (till, program) = Till::with_rules(&format!("{QUICK}{rules}"));
    let listens = std::cell::RefCell::new(None);
    alerts(
        &till,
        &program,
        &format!("nothing accepts connections on {address}"),
        || drop(listener),
        || *listens.borrow_mut() = Some(TcpListener::bind(address).unwrap()),
    );
}

#[test]
fn a_file_alerts() {
    let (till, program) = Till::with_program();
    let log = till.path().join("its.log");
    let pattern = toml::Value::from(till.path().join("*.log").to_str().unwrap());
    let rules = check(&format!(
        "kind = \"file\"\npath = {pattern}\nmax_age = \"1500ms\""
    ));
    till.set_rules(&program, &format!("{QUICK}{rules}"));
    let stays_young = std::sync::atomic::AtomicBool::new(true);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut line = 0;
            while log.parent().unwrap().exists() {
                if stays_young.load(std::sync::atomic::Ordering::Relaxed) {
                    line += 1;
                    fs::write(&log, line.to_string()).unwrap();
                }
                if fs::exists(till.path().join("end")).unwrap() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let ends = End(till.path().join("end"));
        let set = |young| stays_young.store(young, std::sync::atomic::Ordering::Relaxed);
        alerts(
            &till,
            &program,
            "hasn't changed for 1s ",
            || set(false),
            || set(true),
        );
        drop(ends);
    });
}

/// Makes the file that ends a thread, however a test ends.
struct End(PathBuf);

impl Drop for End {
    fn drop(&mut self) {
        fs::write(&self.0, "").unwrap();
    }
}

#[test]
fn a_command_alerts() {
    let (till, program) = Till::with_program();
    let (sick, rules) = sick_check(&till, "");
    till.set_rules(&program, &format!("{QUICK}{rules}"));
    alerts(
        &till,
        &program,
        "reports a problem (exit status 1): it is sick",
        || fs::write(&sick, "").unwrap(),
        || fs::remove_file(&sick).unwrap(),
    );
}

#[test]
fn what_a_check_says_is_made_harmless() {
    let (till, program) = Till::with_program();
    let body = "printf '\\033[2J\\rwell\\342\\200\\256 \\377\\n'; exit 1";
    let script = till.script("check.sh", body);
    let script = toml::Value::from(script.to_str().unwrap());
    let heard = till.path().join("heard");
    let hook = till.script("hook.sh", &format!("cat >> '{}'", heard.display()));
    let rules = check(&format!("kind = \"command\"\ncommand = [{script}]"));
    let hook = format!(
        "[[hook]]\non = [\"unhealthy\"]\ncommand = [{}]\n",
        toml::Value::from(hook.to_str().unwrap())
    );
    till.set_rules(&program, &format!("{QUICK}{rules}{hook}"));
    let service = run(&till);
    let shown = "\\u{1b}[2J\\rwell\\u{202e} \u{fffd}";
    let line = service.wait_for("unhealthy", KEY);
    assert!(line.contains(shown), "{line}");
    let status = service.wait_for_state(KEY, "unhealthy");
    assert!(status["detail"].as_str().unwrap().contains(shown));
    let line = eventually("the hook has heard", || {
        let text = fs::read_to_string(&heard).ok()?;
        text.ends_with('\n').then_some(text)
    });
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert!(line["message"].as_str().unwrap().contains(shown), "{line}");
}

/// A check restarts the program, for the reason that it has.
fn restarts(rules: &str, mode: &str, finding: &str) {
    let (till, program) = Till::with_rules(&format!("{QUICK}{rules}"));
    till.script("start.sh", &format!("exec {} {mode}", program.command()));
    let service = run(&till);
    let line = service.wait_for("unhealthy", KEY);
    assert!(line.contains(finding), "{line}");
    assert!(line.contains("it is being restarted"), "{line}");
    eventually("restarted", || {
        (service.status(KEY)["restarts"].as_u64().unwrap() >= 1).then_some(())
    });
    assert!(program.pids().len() <= 1, "{:?}", program.pids());
    let line = service.wait_for("restarted", KEY);
    assert!(line.contains("MFE_CAUSE=unhealthy"), "{line}");
}

#[test]
fn too_much_memory_restarts() {
    let rules = check("kind = \"memory\"\nmax = \"1MiB\"\naction = \"restart\"");
    restarts(&rules, "large", "MiB of memory, more than 1MiB");
}

#[test]
fn too_much_cpu_restarts() {
    let rules = check("kind = \"cpu\"\nmax = \"5%\"\nover = \"300ms\"\naction = \"restart\"");
    restarts(&rules, "busy", "% of a core over ");
}

#[test]
fn too_great_an_age_restarts() {
    let rules = check("kind = \"age\"\nmax = \"300ms\"\naction = \"restart\"");
    restarts(&rules, "", "longer than 300ms");
}

/// A till whose program is restarted when it is sick, and well when it begins.
fn sick_till(more_rules: &str, trap: &str) -> (Till, Program, PathBuf) {
    let (till, program) = Till::with_program();
    let (sick, rules) = sick_check(&till, "action = \"restart\"");
    till.set_rules(&program, &format!("{QUICK}{rules}{more_rules}"));
    let body = format!(
        "cd '{}'; date +%s%N >> times; rm -f sick\n\
         if kill -0 \"$(cat last)\" 2>/dev/null; then echo >> overlap; fi\n\
         echo $$ > last; {trap}exec {}",
        till.path().display(),
        program.command()
    );
    till.script("start.sh", &body);
    (till, program, sick)
}

fn fall_sick(till: &Till, service: &Service, program: &Program, sick: &PathBuf) -> String {
    service.wait_for_state(KEY, "up");
    let before = program.pid();
    fs::write(sick, "").unwrap();
    let status = service.wait_for_restarts(KEY, 1);
    assert_eq!(status["state"], "up");
    assert_eq!(status["last_restart"]["cause"], "unhealthy");
    assert_ne!(program.pid(), before);
    assert_eq!(program.starts().len(), 2);
    assert!(
        !till.path().join("overlap").exists(),
        "started before the other one was gone"
    );
    // The last of what is told may be read after the status.
    service.wait_for("restarted", KEY);
    assert_eq!(service.count("unhealthy", KEY), 1);
    assert_eq!(service.count("killed", KEY), 1);
    let lines = service.lines();
    let position = |event: &str| {
        let event = format!("MFE_EVENT={event} ");
        lines
            .iter()
            .rposition(|line| format!("{line} ").contains(&event))
    };
    let told = ["unhealthy", "killed", "down", "starting", "restarted"].map(position);
    assert!(told.is_sorted(), "{lines:#?}");
    service.wait_for("killed", KEY)
}

#[test]
fn a_program_that_heeds_sigterm_is_asked() {
    let (till, program, sick) = sick_till("", "");
    let service = run(&till);
    let line = fall_sick(&till, &service, &program, &sick);
    assert!(
        line.contains("was ended because it was unhealthy: SIGTERM"),
        "{line}"
    );
}

#[test]
fn a_program_that_does_not_is_killed() {
    let (till, program, sick) = sick_till("", "trap '' TERM; ");
    let service = run(&till);
    let line = fall_sick(&till, &service, &program, &sick);
    assert!(line.contains("SIGKILL, after it ignored SIGTERM"), "{line}");
    let outage = service.status(KEY)["last_restart"]["outage_ms"].as_u64();
    assert!(outage.unwrap() >= 300, "it had its stop_timeout");
}

#[test]
fn the_first_check_that_fails_acts_and_the_others_are_dropped() {
    let (till, program, sick) = sick_till("", "");
    let (_, second) = sick_check(&till, "action = \"restart\"\nname = \"second\"");
    let (_, first) = sick_check(&till, "action = \"restart\"\nname = \"first\"");
    till.set_rules(&program, &format!("{QUICK}{first}{second}"));
    let service = run(&till);
    fall_sick(&till, &service, &program, &sick);
    service.wait_cycles(8);
    assert_eq!(service.count("unhealthy", KEY), 1);
    assert_eq!(program.starts().len(), 2);
}

#[test]
fn checks_begin_anew_after_each_start_when_it_has_had_its_time() {
    let (till, program, _) = sick_till("", "");
    let always = check("kind = \"age\"\nmax = \"100ms\"\naction = \"restart\"\nfailures = 1")
        .replacen("failures = 2\n", "", 1);
    let rules = format!("start_timeout = \"800ms\"\n{always}");
    till.set_rules(&program, &rules);
    let service = run(&till);
    service.wait_for_restarts(KEY, 3);
    let times = fs::read_to_string(till.path().join("times")).unwrap();
    let times: Vec<u64> = times.lines().map(|line| line.parse().unwrap()).collect();
    for pair in times.windows(2) {
        let lived = Duration::from_nanos(pair[1] - pair[0]);
        assert!(lived >= Duration::from_millis(800), "{lived:?}");
    }
}

#[test]
fn a_reload_changes_and_removes_checks() {
    let (till, program) = Till::with_program();
    till.script("start.sh", &format!("exec {} large", program.command()));
    let (sick, rules) = sick_check(&till, "");
    fs::write(&sick, "").unwrap();
    till.set_rules(&program, &format!("{QUICK}{rules}"));
    let service = run(&till);
    service.wait_for_state(KEY, "unhealthy");
    let pid = program.pid();

    till.set_rules(&program, QUICK);
    service.signal(Signal::SIGHUP);
    service.wait_for_state(KEY, "up");
    service.wait_for("recovered", KEY);

    let memory = check("kind = \"memory\"\nmax = \"1MiB\"");
    till.set_rules(&program, &format!("{QUICK}{memory}"));
    service.signal(Signal::SIGHUP);
    let status = service.wait_for_state(KEY, "unhealthy");
    assert!(status["detail"].as_str().unwrap().starts_with("memory: "));
    till.set_rules(
        &program,
        &format!("{QUICK}{}", memory.replace("1MiB", "1GiB")),
    );
    service.signal(Signal::SIGHUP);
    service.wait_for_state(KEY, "up");
    assert_eq!(program.pid(), pid);
}

#[test]
fn what_was_unwell_in_a_dry_run_is_restarted_when_that_is_over() {
    let (till, program) = Till::with_program();
    let (sick, rules) = sick_check(&till, "action = \"restart\"");
    till.script(
        "start.sh",
        &format!("rm -f '{}'; exec {}", sick.display(), program.command()),
    );
    fs::write(&sick, "").unwrap();
    let dry = format!("dry_run = true\n{QUICK}{rules}");
    let mut child = program.start();
    till.set_rules(&program, &dry);
    let service = run(&till);
    service.wait_for_state(KEY, "unhealthy");
    service.wait_for("dry_run", KEY);
    service.wait_cycles(5);
    assert_eq!(program.starts().len(), 1, "left alone");
    assert_eq!(service.count("killed", KEY), 0);

    till.set_rules(&program, &format!("{QUICK}{rules}"));
    service.signal(Signal::SIGHUP);
    let status = service.wait_for_restarts(KEY, 1);
    assert_eq!(status["last_restart"]["cause"], "unhealthy");
    assert_eq!(
        service.count("unhealthy", KEY),
        2,
        "and now it is restarted"
    );
    assert_eq!(program.starts().len(), 2);
    child.wait().unwrap();
}

#[test]
fn new_rules_count_for_an_end_that_is_awaited() {
    let (till, program, sick) = sick_till("", "trap '' TERM; ");
    let (_, rules) = sick_check(&till, "action = \"restart\"");
    let patient = QUICK.replace("stop_timeout = \"300ms\"", "stop_timeout = \"1h\"");
    till.set_rules(&program, &format!("{patient}{rules}"));
    let service = run(&till);
    service.wait_for_state(KEY, "up");
    fs::write(&sick, "").unwrap();
    let line = service.wait_for("unhealthy", KEY);
    assert!(line.contains("it is being restarted"), "{line}");
    assert_eq!(program.starts().len(), 1, "it has an hour");
    till.set_rules(&program, &format!("{QUICK}{rules}"));
    service.signal(Signal::SIGHUP);
    service.wait_for_restarts(KEY, 1);
    let line = service.wait_for("killed", KEY);
    assert!(line.contains("SIGKILL"), "{line}");
}

#[test]
fn a_program_that_goes_of_itself_is_well_when_it_is_back() {
    let (till, program) = Till::with_program();
    let (sick, rules) = sick_check(&till, "");
    fs::write(&sick, "").unwrap();
    till.set_rules(&program, &format!("{QUICK}{rules}"));
    let service = run(&till);
    service.wait_for_state(KEY, "unhealthy");
    fs::remove_file(&sick).unwrap();
    let killed = SystemTime::now();
    program.kill();
    let status = service.wait_for_restarts(KEY, 1);
    assert_eq!(
        status["state"],
        "up",
        "after {:?}: {status}",
        killed.elapsed()
    );
}

/// Whether a process is there and no zombie.
fn lives(pid: &str) -> bool {
    let stat =
        procfs::process::Process::new(pid.parse().unwrap()).and_then(|process| process.stat());
    stat.is_ok_and(|stat| stat.state != 'Z')
}

#[test]
fn what_a_killed_service_has_left_of_its_checks_is_ended_by_the_next_one() {
    let (till, program) = Till::with_program();
    let pids = till.path().join("pids");
    let body = format!(
        "trap '' TERM; sleep 1000 & echo $$ $! >> '{}'; wait; wait",
        pids.display()
    );
    let script = till.script("check.sh", &body);
    let hangs = check(&format!(
        "kind = \"command\"\ncommand = [{}]\ntimeout = \"1h\"",
        toml::Value::from(script.to_str().unwrap())
    ));
    till.set_rules(&program, &format!("{QUICK}{hangs}"));
    let seen = |runs: usize| {
        eventually(("checks that run", runs), || {
            let pids = fs::read_to_string(&pids).ok()?;
            let pids: Vec<String> = pids.split_whitespace().map(str::to_owned).collect();
            (pids.len() == 2 * runs).then_some(pids)
        })
    };
    let service = run(&till);
    service.wait_for_state(KEY, "up");
    seen(1);
    // Somebody else runs the same program; its parent ends at once.
    let line = format!("setsid '{}' >/dev/null 2>&1 &", script.display());
    let status = std::process::Command::new("sh")
        .args(["-c", &line])
        .status();
    assert!(status.unwrap().success());
    let before = seen(2);
    drop(service);
    assert!(before.iter().all(|pid| lives(pid)), "it was killed");

    let service = run(&till);
    let line = service.wait_for_line("was killed beside checks or hooks");
    assert!(line.contains("MFE_EVENT=degraded"), "{line}");
    eventually("the end of what was left", || {
        (!lives(&before[0]) && !lives(&before[1])).then_some(())
    });
    let now = seen(3);
    assert!(before[2..].iter().all(|pid| lives(pid)), "somebody else's");
    assert!(lives(&now[4]), "and it is made again");
    assert_eq!(program.starts().len(), 1);
    let (exit, _) = service.stop(Signal::SIGTERM);
    assert!(exit.success());
}

#[test]
fn a_service_that_ends_takes_its_checks_along_and_not_the_program() {
    let (till, program) = Till::with_program();
    let pids = till.path().join("pids");
    let body = format!(
        "trap '' TERM; sleep 1000 & echo $$ $! > '{}'; wait; wait",
        pids.display()
    );
    let script = till.script("check.sh", &body);
    let script = toml::Value::from(script.to_str().unwrap());
    let hangs = check(&format!(
        "kind = \"command\"\ncommand = [{script}]\ntimeout = \"1h\""
    ));
    till.set_rules(&program, &format!("{QUICK}{hangs}"));
    let service = run(&till);
    let pids = eventually("a check that runs", || {
        let pids = fs::read_to_string(&pids).ok()?;
        let pids: Vec<String> = pids.split_whitespace().map(str::to_owned).collect();
        (pids.len() == 2).then_some(pids)
    });
    let (exit, _) = service.stop(Signal::SIGTERM);
    assert!(exit.success());
    eventually("the end of the check", || {
        (!pids.iter().any(|pid| lives(pid))).then_some(())
    });
    assert_eq!(program.pids().len(), 1);
}
