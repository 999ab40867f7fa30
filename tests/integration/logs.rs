//! `logs` has journalctl look for what the programs print; that the real one finds it is for the system
//! tests.

use crate::program::mfe_watchdog;
use mfe_kit::{Output, Till, output};

/// `logs` on a till, with a journalctl that says what it is asked for.
fn logs(till: &Till, arguments: &[&str]) -> Output {
    till.script("journalctl", "printf '%s\\n' \"$@\"");
    let mut path = till.path().join("bin").into_os_string();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap());
    let mut command = mfe_watchdog();
    command.arg("logs").args(arguments);
    command.arg("--runtime-dir").arg(till.runtime_dir());
    output(command.env("PATH", path).env("LC_ALL", "C"))
}

#[test]
fn what_comes_from_the_unit_and_from_the_name_is_looked_for() {
    // The shipped configuration: there is no service, and none of its own.
    let till = Till::new();
    let asked = logs(&till, &["MONITOR", "-f", "-n", "5"]);
    assert_eq!((asked.code(), asked.stderr.as_str()), (0, ""));
    let words: Vec<&str> = asked.stdout.lines().collect();
    let expected = [
        "--lines=5",
        "--follow",
        "_SYSTEMD_UNIT=mfe@monitor.service",
        "+",
        "_COMM=Monitor",
    ];
    assert_eq!(words, expected);
    let all = logs(&till, &[]);
    assert!(all.stdout.starts_with("--lines=100\n"), "{}", all.stdout);
    for name in ["_COMM=Comunicador", "_COMM=Monitor"] {
        assert!(all.stdout.contains(name), "{}", all.stdout);
    }
}

#[test]
fn a_program_that_is_not_configured_is_refused_with_those_that_are() {
    let refused = logs(&Till::new(), &["printer"]);
    assert_eq!((refused.code(), refused.stdout.as_str()), (1, ""));
    for words in ["printer", "comunicador", "monitor"] {
        assert!(refused.stderr.contains(words), "{}", refused.stderr);
    }
}
