//! `status --prometheus`, as Prometheus's own tool reads it, and what the package gives along for
//! node_exporter and Zabbix.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;

use crate::program::{BINARY, mfe_watchdog, run};
use mfe_kit::{Need, Output, Till, eventually, needs, output};

/// `mfe-watchdog-metrics.service`, as it is shipped.
const UNIT: &str = include_str!("../../examples/prometheus/mfe-watchdog-metrics.service");

fn metrics(runtime_dir: &Path) -> Output {
    let mut command = mfe_watchdog();
    command.args(["status", "--prometheus", "--runtime-dir"]);
    output(command.arg(runtime_dir))
}

/// Asserts that Prometheus has nothing to complain of.
fn assert_clean(metrics: &str) {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, metrics).unwrap();
    let mut promtool = Command::new("sh");
    promtool.args(["-c", "exec promtool check metrics <\"$0\""]);
    let judged = output(promtool.arg(file.path()));
    assert_eq!(
        (judged.code(), judged.stderr.as_str()),
        (0, ""),
        "{metrics}"
    );
    assert!(metrics.ends_with("\n# EOF\n"), "{metrics}");
}

#[test]
fn prometheus_understands_what_is_said_of_each_program() {
    needs!(Need::Package("prometheus"));
    let (till, program) = Till::with_program_every("100ms");
    let runtime_dir = till.runtime_dir();
    let service = run(&till);
    service.wait_for_state("comunicador", "up");
    let first = metrics(&runtime_dir);
    assert_eq!((first.code(), first.stderr.as_str()), (0, ""));
    assert_clean(&first.stdout);
    let labels = format!(r#"{{process="comunicador",name="{}""#, program.name);
    let up = format!("mfe_process_up{labels}}} 1\n");
    assert!(first.stdout.contains(&up), "{}", first.stdout);
    program.kill();
    let restarted = format!("mfe_process_restarts_total{labels}}} 1\n");
    eventually("the restart is counted", || {
        let told = metrics(&runtime_dir).stdout;
        told.contains(&restarted).then_some(())
    });
    assert_clean(&metrics(&runtime_dir).stdout);

    service.stop(Signal::SIGKILL);
    let dead = metrics(&runtime_dir);
    assert_eq!((dead.code(), dead.stderr.as_str()), (3, ""));
    assert_clean(&dead.stdout);
    assert!(
        dead.stdout.contains("\nmfe_watchdog_up 0\n"),
        "{}",
        dead.stdout
    );
    assert!(!dead.stdout.contains("mfe_process"), "{}", dead.stdout);
}

#[test]
fn metrics_go_neither_with_json_nor_with_watching() {
    for other in ["--json", "--watch"] {
        let refused = output(mfe_watchdog().args(["status", "--prometheus", other]));
        assert_eq!(
            (refused.code(), refused.stdout.as_str()),
            (2, ""),
            "{other}"
        );
    }
}

/// Runs what the unit runs, with this program, for a service of this directory.
fn collect(runtime_dir: &Path, file: &Path) -> bool {
    let script = UNIT
        .lines()
        .find_map(|line| line.strip_prefix("ExecStart=/bin/sh -c "));
    let script = script.unwrap().trim_matches('\'');
    let folder = Path::new(BINARY).parent().unwrap();
    let path = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths(
        [folder.to_owned()]
            .into_iter()
            .chain(env::split_paths(&path)),
    );
    let mut command = Command::new("sh");
    command.args(["-c", script]).env("PATH", path.unwrap());
    command
        .env("METRICS", file)
        .env("RUNTIME_DIRECTORY", runtime_dir);
    output(&mut command).code() == 0
}

#[test]
fn the_collector_reads_whole_metrics_only() {
    let (till, _program) = Till::with_program_every("100ms");
    let runtime_dir = till.runtime_dir();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mfe-watchdog.prom");
    let text = || fs::read_to_string(&file).unwrap();
    let service = run(&till);
    service.wait_for_state("comunicador", "up");
    assert!(collect(&runtime_dir, &file));
    assert!(text().contains("\nmfe_watchdog_up 1\n"), "{}", text());

    // What can't be told leaves what was.
    fs::write(runtime_dir.join("status.json"), "nonsense").unwrap();
    let before = text();
    assert!(!collect(&runtime_dir, &file));
    assert_eq!(text(), before);

    service.stop(Signal::SIGKILL);
    fs::remove_file(runtime_dir.join("status.json")).unwrap();
    assert!(collect(&runtime_dir, &file));
    assert!(text().contains("\nmfe_watchdog_up 0\n"), "{}", text());
}

#[test]
fn systemd_understands_the_units_of_the_collector() {
    needs!(Need::Package("systemd"));
    let folder = tempfile::tempdir().unwrap();
    let units = ["mfe-watchdog-metrics.service", "mfe-watchdog-metrics.timer"];
    let units = units.map(|unit| {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/prometheus");
        let to = folder.path().join(unit);
        fs::copy(from.join(unit), &to).unwrap();
        to
    });
    // The manual that it names isn't installed here.
    let mut verify = Command::new("systemd-analyze");
    let judged = output(verify.args(["verify", "--man=no"]).args(units));
    assert_eq!((judged.code(), judged.stderr.as_str()), (0, ""));
}

#[test]
fn zabbix_asks_for_metrics_that_there_are() {
    let template = include_str!("../../examples/zabbix/mfe-watchdog.yaml");
    let parameters = include_str!("../../examples/zabbix/mfe-watchdog.conf");
    assert!(parameters.contains("UserParameter=mfe-watchdog.metrics,"));
    let (till, _program) = Till::with_program_every("100ms");
    let service = run(&till);
    service.wait_for_state("comunicador", "up");
    let told = metrics(&till.runtime_dir()).stdout;
    let patterns: BTreeSet<&str> = template
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("- "))
        .map(|pattern| pattern.trim_matches('\''))
        .filter(|pattern| pattern.starts_with("mfe_"))
        .map(|pattern| pattern.split('{').next().unwrap())
        .collect();
    assert_eq!(patterns.len(), 6, "{patterns:?}");
    for metric in patterns {
        let is_told = |line: &str| {
            line.starts_with(&format!("{metric}{{")) || line.starts_with(&format!("{metric} "))
        };
        assert!(told.lines().any(is_told), "{metric}: {told}");
    }
}
