//! Programs that keep crashing: the first restarts come at once, those after them wait, and
//! what was learnt outlives the service.

use std::fs;
use std::time::{Duration, SystemTime};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::program::run;
use mfe_kit::{Program, Service, Till, eventually};

const KEY: &str = "comunicador";

/// Restarts wait for long enough that nobody takes one that waits for one that comes at once.
const WAITS: &str = "restart_burst = 1\nrestart_delay = \"3s\"\nrestart_delay_max = \"3s\"";

/// When the next start comes, as it is told.
fn next_start(status: &Value) -> SystemTime {
    let time = status["next_start"].as_str().expect("a time");
    humantime::parse_rfc3339(time).unwrap()
}

/// What is remembered of the program.
fn remembered(till: &Till) -> Value {
    let text = fs::read(till.runtime_dir().join("state.json")).unwrap_or_default();
    let state: Value = serde_json::from_slice(&text).unwrap_or_default();
    state["processes"][0].clone()
}

/// Waits until nothing is remembered of the deaths before so many restarts. The status is written
/// before that.
fn wait_until_forgotten(till: &Till, restarts: u64) {
    eventually(("forgotten", restarts), || {
        let remembered = remembered(till);
        (remembered["restarts"] == restarts && remembered["deaths"] == 0).then_some(())
    });
}

/// Kills the program and waits until it is back; returns its outage.
fn kill_and_wait(service: &Service, program: &Program, restarts: u64) -> Duration {
    program.kill();
    let status = service.wait_for_restarts(KEY, restarts);
    assert_eq!(status["state"], "up");
    assert_eq!(status["pids"][0], program.pid(), "one copy");
    let outage = status["last_restart"]["outage_ms"].as_u64();
    Duration::from_millis(outage.unwrap())
}

#[test]
fn the_first_restarts_come_at_once_and_those_after_them_wait_ever_longer() {
    let rules = "restart_delay = \"300ms\"\nrestart_delay_max = \"1s\"\nstable_after = \"1h\"";
    let (till, program) = Till::with_rules(rules);
    let service = run(&till);
    service.wait_for_state(KEY, "up");
    for restarts in 1..=3 {
        kill_and_wait(&service, &program, restarts);
    }
    let waits = || {
        let lines = service.lines().into_iter();
        let words = "it keeps crashing, so the next start comes in ";
        lines.filter_map(move |line| {
            let (_, rest) = line.split_once(words)?;
            rest.split(' ').next().map(str::to_owned)
        })
    };
    assert_eq!(waits().count(), 0, "the first three come at once");
    for (restarts, delay) in (4..).zip([300, 600, 1000, 1000]) {
        let starts = program.starts().len();
        program.kill();
        let waiting = service.wait_for_state(KEY, "backoff");
        let ahead = next_start(&waiting).duration_since(SystemTime::now());
        assert!(ahead.unwrap_or_default() <= Duration::from_millis(delay));
        assert!(
            waiting["detail"].as_str().unwrap().contains("waits"),
            "{waiting}"
        );
        let up = service.wait_for_restarts(KEY, restarts);
        let outage = up["last_restart"]["outage_ms"].as_u64().unwrap();
        assert!(outage >= delay, "{outage} ms instead of {delay} ms");
        assert!(up["next_start"].is_null(), "{up}");
        assert_eq!(up["pids"][0], program.pid(), "one copy");
        assert_eq!(program.starts().len(), starts + 1);
    }
    assert_eq!(
        waits().collect::<Vec<_>>(),
        ["300ms", "600ms", "1s", "1s"],
        "as it is told"
    );
    assert_eq!(
        service.count("crash_loop", KEY),
        1,
        "told with the fifth restart, and once"
    );
    let line = service.wait_for("crash_loop", KEY);
    assert!(line.contains("restarted 5 times within "), "{line}");
    assert_eq!(service.count("recovered", KEY), 0);

    // Then it lives for long enough.
    till.set_rules(&program, &rules.replace("1h", "200ms"));
    service.signal(Signal::SIGHUP);
    let line = service.wait_for("recovered", KEY);
    assert!(line.contains("is stable again"), "{line}");
    wait_until_forgotten(&till, 7);
    kill_and_wait(&service, &program, 8);
    assert_eq!(waits().count(), 4, "at once again");
    assert_eq!(service.count("recovered", KEY), 1);
}

#[test]
fn a_delay_of_zero_switches_the_waiting_off() {
    let (till, program) = Till::with_program();
    let service = run(&till);
    service.wait_for_state(KEY, "up");
    for restarts in 1..=12 {
        let outage = kill_and_wait(&service, &program, restarts);
        assert!(outage < Duration::from_secs(3), "{outage:?}");
    }
    let lines = service.lines();
    assert!(lines.iter().all(|line| !line.contains("the next start")));
    assert_eq!(
        service.count("crash_loop", KEY),
        1,
        "that is told all the same"
    );
}

#[test]
fn a_program_that_has_lived_long_enough_is_back_at_once() {
    let rules = "restart_burst = 1\nrestart_delay = \"1min\"\nstable_after = \"300ms\"";
    let (till, program) = Till::with_rules(rules);
    let service = run(&till);
    service.wait_for_state(KEY, "up");
    for restarts in 1..=3 {
        kill_and_wait(&service, &program, restarts);
        wait_until_forgotten(&till, restarts);
    }
    assert_eq!(
        service.count("recovered", KEY),
        0,
        "there was no crash loop"
    );
}

#[test]
fn a_wait_outlives_the_service() {
    let (till, program) = Till::with_rules(WAITS);
    let service = run(&till);
    service.wait_for_state(KEY, "up");
    kill_and_wait(&service, &program, 1);
    program.kill();
    let told = next_start(&service.wait_for_state(KEY, "backoff"));
    eventually("it is remembered", || {
        (!remembered(&till)["not_before"].is_null()).then_some(())
    });
    drop(service);

    // Whoever kills it repeatedly speeds nothing up.
    for _ in 0..3 {
        let service = run(&till);
        service.wait_for_state(KEY, "backoff");
        assert_eq!(program.starts().len(), 2, "it still waits");
    }
    let service = run(&till);
    let up = service.wait_for_state(KEY, "up");
    assert_eq!(up["restarts"], 2, "remembered, and brought back");
    let line = service.wait_for("restarted", KEY);
    assert!(!line.contains("MFE_CAUSE=absent"), "{line}");
    let outage = up["last_restart"]["outage_ms"].as_u64().unwrap();
    // What is remembered is rounded to milliseconds.
    let slack = Duration::from_millis(50);
    let outage = Duration::from_millis(outage) + slack;
    assert!(
        outage >= Duration::from_secs(3),
        "{outage:?}: it began before this run did"
    );
    assert!(
        SystemTime::now() + slack >= told,
        "no earlier than was told"
    );
    assert_eq!(up["pids"][0], program.pid(), "one copy");
    assert_eq!(program.starts().len(), 3);
}

#[test]
fn deaths_while_the_service_is_dead_are_no_storm_of_starts() {
    let (till, program) = Till::with_rules(WAITS);
    for deaths in 1..=3 {
        let service = run(&till);
        service.wait_for_state(KEY, "up");
        eventually("it is remembered to live", || {
            let remembered = remembered(&till);
            let is_alive = remembered["alive"][0][0] == program.pid();
            (is_alive && remembered["deaths"] == deaths - 1).then_some(())
        });
        drop(service);
        program.kill();
        eventually("it is gone", || program.pids().is_empty().then_some(()));
        let starts = program.starts().len();
        let service = run(&till);
        if deaths == 1 {
            service.wait_for_state(KEY, "up");
        } else {
            let line = service.wait_for("down", KEY);
            assert!(line.contains("the next start comes in "), "{line}");
            service.wait_for_state(KEY, "backoff");
            assert_eq!(program.starts().len(), starts, "it waits");
        }
        let up = service.wait_for_state(KEY, "up");
        assert_eq!(up["pids"][0], program.pid(), "one copy");
        assert_eq!(program.starts().len(), starts + 1);
        assert_eq!(up["restarts"], deaths, "each was brought back");
    }
}

#[test]
fn a_crash_loop_is_said_once_even_by_two_runs_of_the_service() {
    let (till, program) = Till::with_rules("crash_loop_restarts = 2");
    let service = run(&till);
    service.wait_for_state(KEY, "up");
    for restarts in 1..=2 {
        kill_and_wait(&service, &program, restarts);
    }
    service.wait_for("crash_loop", KEY);
    eventually("it is remembered", || {
        (remembered(&till)["is_crash_loop"] == true).then_some(())
    });
    drop(service);
    let service = run(&till);
    for restarts in 3..=4 {
        service.wait_for_state(KEY, "up");
        kill_and_wait(&service, &program, restarts);
    }
    assert_eq!(service.count("crash_loop", KEY), 0, "it is known");
    till.set_rules(
        &program,
        "crash_loop_restarts = 2\nstable_after = \"200ms\"",
    );
    service.signal(Signal::SIGHUP);
    let line = service.wait_for("recovered", KEY);
    assert!(line.contains("is stable again"), "{line}");
}
