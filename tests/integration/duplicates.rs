//! Second copies: told, and ended only if that is wanted.

use std::fs;
use std::process::{Child, Command};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::program::run;
use mfe_kit::{Program, Service, Till, eventually};

const KEY: &str = "comunicador";
const STOP_NEWEST: &str = "duplicates = \"stop-newest\"\nstop_timeout = \"300ms\"";

fn pid(child: &Child) -> i32 {
    i32::try_from(child.id()).unwrap()
}

fn up(till: &Till, program: &Program) -> (Service, i32) {
    let service = run(till);
    service.wait_for_state(KEY, "up");
    let first = program.pid();
    (service, first)
}

fn end(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_second_copy_is_told_once_and_left_alone() {
    let (till, program) = Till::with_program();
    let (service, first) = up(&till, &program);
    let second = program.start();
    let line = service.wait_for("duplicate", KEY);
    let words = format!("is running twice (pid {first} and pid {})", pid(&second));
    assert!(line.contains(&words), "{line}");
    let shown = format!("is running twice: also as pid {}", pid(&second));
    eventually("shown", || {
        (service.status(KEY)["detail"] == shown.as_str()).then_some(())
    });
    service.wait_cycles(8);
    assert_eq!(service.status(KEY)["state"], "up");
    assert_eq!(program.pids(), [first, pid(&second)], "both live");
    assert_eq!(service.count("duplicate", KEY), 1);

    end(second);
    eventually("no longer shown", || {
        service.status(KEY)["detail"].is_null().then_some(())
    });
    let third = program.start();
    eventually("another one is told", || {
        (service.count("duplicate", KEY) == 2).then_some(())
    });
    assert_eq!(service.status(KEY)["restarts"], 0);
    assert_eq!(service.count("killed", KEY), 0);
    end(third);
    assert_eq!(program.pids(), [first]);
}

#[test]
fn the_newest_is_ended_if_that_is_wanted() {
    let (till, program) = Till::with_rules(STOP_NEWEST);
    let (service, first) = up(&till, &program);
    for copies in 1..=2 {
        let mut second = program.start();
        let status = eventually("ended", || second.try_wait().unwrap());
        let signal = std::os::unix::process::ExitStatusExt::signal(&status);
        assert_eq!(signal, Some(15), "asked, and that was enough");
        eventually("told", || {
            (service.count("killed", KEY) == copies).then_some(())
        });
        assert_eq!(service.count("duplicate", KEY), copies);
    }
    let line = service.wait_for("killed", KEY);
    assert!(line.contains("MFE_CAUSE=duplicate"), "{line}");
    assert!(
        line.contains("was ended because it was a second copy: SIGTERM"),
        "{line}"
    );
    assert_eq!(program.pids(), [first]);
    let status = service.wait_for_state(KEY, "up");
    assert_eq!(
        (&status["restarts"], &status["pids"][0]),
        (&0.into(), &first.into())
    );
    assert_eq!(service.count("down", KEY), 1, "at the very beginning");
}

#[test]
fn one_that_does_not_heed_is_killed() {
    let (till, program) = Till::with_rules(STOP_NEWEST);
    let (service, first) = up(&till, &program);
    let script = format!("trap '' TERM; exec {}", program.command());
    let mut second = Command::new("sh").args(["-c", &script]).spawn().unwrap();
    let status = eventually("ended", || second.try_wait().unwrap());
    let signal = std::os::unix::process::ExitStatusExt::signal(&status);
    assert_eq!(signal, Some(9));
    let line = service.wait_for("killed", KEY);
    assert!(line.contains("SIGKILL, after it ignored SIGTERM"), "{line}");
    assert_eq!(program.pids(), [first]);
    assert_eq!(service.count("killed", KEY), 1);
}

#[test]
fn a_wish_that_comes_later_ends_what_was_told_before() {
    let (till, program) = Till::with_program();
    let (service, first) = up(&till, &program);
    let mut second = program.start();
    service.wait_for("duplicate", KEY);
    till.set_rules(&program, STOP_NEWEST);
    service.signal(Signal::SIGHUP);
    eventually("ended", || second.try_wait().unwrap());
    service.wait_for("killed", KEY);
    assert_eq!(program.pids(), [first]);
    assert_eq!(service.count("duplicate", KEY), 1);
}

#[test]
fn children_are_no_second_copies_even_as_orphans() {
    let (till, program) = Till::with_rules(STOP_NEWEST);
    till.script("start.sh", &format!("exec {} prefork", program.command()));
    let service = run(&till);
    let pids = eventually("parent and child", || {
        Some(program.pids()).filter(|pids| pids.len() == 2)
    });
    service.wait_for_state(KEY, "up");
    service.wait_cycles(8);
    assert_eq!(program.pids(), pids);
    let status = service.status(KEY);
    assert_eq!(status["pids"].as_array().unwrap().len(), 2);
    assert!(status["detail"].is_null(), "{status}");
    let stat = procfs::process::Process::new(pids[0]).unwrap().stat();
    let is_parent = procfs::process::Process::new(pids[1])
        .unwrap()
        .stat()
        .unwrap()
        .ppid
        == pids[0];
    let parent = if is_parent {
        pids[0]
    } else {
        stat.unwrap().ppid
    };
    kill(Pid::from_raw(parent), Signal::SIGKILL).unwrap();
    eventually("the orphan is seen", || {
        (service.status(KEY)["pids"].as_array().unwrap().len() == 1).then_some(())
    });
    service.wait_cycles(8);
    assert_eq!(program.pids().len(), 1, "the orphan lives");
    assert_eq!(program.starts().len(), 2, "nothing more was started");
    assert_eq!(service.count("duplicate", KEY), 0);
    assert_eq!(service.count("killed", KEY), 0);
}

#[test]
fn what_we_start_and_do_not_recognise_is_not_started_again() {
    let (till, program) = Till::with_rules("exe = \"/nowhere/*\"\nstart_timeout = \"300ms\"");
    let service = run(&till);
    let line = service.wait_for("misfit", KEY);
    assert!(line.contains("which exe doesn't allow"), "{line}");
    assert!(line.contains("nothing is started beside it"), "{line}");
    let detail = service.wait_for_state(KEY, "misfit")["detail"].clone();
    assert!(detail.as_str().unwrap().contains("change exe"), "{detail}");
    service.wait_cycles(10);
    assert_eq!(program.starts().len(), 1, "once");
    let impostor = service.wait_for("impostor", KEY);
    let file = fs::canonicalize(program.path()).unwrap();
    for words in [
        format!("pid {}, user ", program.pid()),
        file.display().to_string(),
        "it is ignored".into(),
    ] {
        assert!(impostor.contains(&words), "{impostor}");
    }
    assert_eq!(service.count("impostor", KEY), 1);
    assert_eq!(service.count("misfit", KEY), 1);

    program.kill();
    eventually("it is tried again once that is gone", || {
        (program.starts().len() == 2).then_some(())
    });
    till.set_rules(&program, "exe = \"/*\"");
    service.signal(Signal::SIGHUP);
    service.wait_for_state(KEY, "up");
    assert_eq!(program.starts().len(), 2);
}
