//! `events` shows what journalctl finds, in the user's language; that the real one finds it is for the system
//! tests.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::program::mfe_watchdog;
use mfe_kit::{Output, Till, eventually, output};

/// In the night to 2 March 2026; in Brasília the evening before.
const WALL: &str = "1772419260000000";

/// An entry of the journal.
fn entry(fields: &str) -> String {
    format!("{{\"__REALTIME_TIMESTAMP\":\"{WALL}\",{fields}}}\n")
}

fn entries() -> String {
    [
        r#""MFE_EVENT":"startup","MESSAGE":"watching over Monitor every 10s""#,
        r#""MFE_EVENT":"down","MFE_PROCESS":"monitor","MFE_PID":"12","MFE_CAUSE":"killed","MFE_SIGNAL":"SIGSEGV""#,
        r#""MFE_EVENT":"start_failed","MFE_PROCESS":"monitor","MESSAGE":"Monitor can't be started: exit status 3""#,
        r#""MFE_EVENT":"start_failed","MFE_PROCESS":"monitor","MFE_DETAIL":"{\"text\":\"the start script failed with %{status}\",\"values\":[{\"text\":\"exit status %{code}\",\"values\":[\"3\"]}]}""#,
        r#""MESSAGE":"no event""#,
        r#""MFE_EVENT":"restarted","MFE_PROCESS":"monitor","MFE_PID":"13","MFE_OUTAGE_MS":"62003""#,
    ]
    .map(entry)
    .concat()
}

/// `events` on a till, with a script in place of journalctl.
fn events(till: &Till, script: &str, language: &str, arguments: &[&str]) -> Command {
    std::fs::write(till.path().join("entries"), entries()).unwrap();
    till.script("journalctl", script);
    let mut path = till.path().join("bin").into_os_string();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap());
    let mut command = mfe_watchdog();
    command.arg("events").args(arguments);
    command.arg("--runtime-dir").arg(till.runtime_dir());
    command.env("PATH", path).env("LC_ALL", language);
    command.env("TZ", "<-03>3").env("ENTRIES", till.path());
    command
}

const SHOWS: &str = "printf '%s\\n' \"$@\" > \"$ENTRIES/asked\"; cat \"$ENTRIES/entries\"";

fn said(till: &Till, language: &str, arguments: &[&str]) -> Output {
    let said = output(&mut events(till, SHOWS, language, arguments));
    assert_eq!((said.code(), said.stderr.as_str()), (0, ""));
    said
}

#[test]
fn each_event_is_a_line_in_the_users_language_and_time() {
    let till = Till::new();
    let english = "\
01/03 23:41  the service has started
01/03 23:41  Monitor is DOWN (pid 12): ended by SIGSEGV
01/03 23:41  Monitor can't be started: exit status 3
01/03 23:41  Monitor can't be started: the start script failed with exit status 3
01/03 23:41  Monitor is back after 1min 2s (pid 13)
";
    assert_eq!(said(&till, "C", &[]).stdout, english);
    let portuguese = "\
01/03 23:41  o serviço iniciou
01/03 23:41  Monitor está PARADO (pid 12): encerrado por sinal (SIGSEGV)
01/03 23:41  Monitor não pôde ser iniciado: exit status 3
01/03 23:41  Monitor não pôde ser iniciado: o script de inicialização terminou com erro (código 3)
01/03 23:41  Monitor voltou depois de 1min 2s (pid 13)
";
    assert_eq!(said(&till, "pt_BR.UTF-8", &["MONITOR"]).stdout, portuguese);
    let asked = std::fs::read_to_string(till.path().join("asked")).unwrap();
    let words: Vec<&str> = asked.lines().collect();
    for word in [
        "--lines=20",
        "_SYSTEMD_UNIT=mfe-watchdog.service",
        "_UID=0",
        "MFE_EVENT=stuck",
        "MFE_PROCESS=monitor",
    ] {
        assert!(words.contains(&word), "{word}: {asked}");
    }
    assert!(!words.contains(&"--follow"), "{asked}");
}

#[test]
fn followed_it_goes_on_until_interrupted() {
    let till = Till::new();
    let script = format!(
        "echo $$ > \"$ENTRIES/pid\"; {SHOWS}; while [ -e \"$ENTRIES/entries\" ]; do sleep 0.1; done"
    );
    let mut command = events(&till, &script, "C", &["-f", "-n", "2"]);
    let out = till.path().join("out");
    let child = command
        .stdout(std::fs::File::create(&out).unwrap())
        .spawn()
        .unwrap();
    let mut child = mfe_kit::Guard(child);
    eventually("all is shown", || {
        let shown = std::fs::read_to_string(&out).unwrap();
        shown.contains("Monitor is back").then_some(())
    });
    assert_eq!(child.0.try_wait().unwrap(), None, "it goes on");
    let asked = std::fs::read_to_string(till.path().join("asked")).unwrap();
    assert!(asked.contains("--lines=2\n--follow\n"), "{asked}");
    let pid = Pid::from_raw(child.0.id().try_into().unwrap());
    // Not SIGINT, which whoever runs the tests may have it ignore.
    kill(pid, Signal::SIGTERM).unwrap();
    assert_eq!(child.0.wait().unwrap().signal(), Some(15));
    let journalctl = std::fs::read_to_string(till.path().join("pid")).unwrap();
    let journalctl = Pid::from_raw(journalctl.trim().parse().unwrap());
    assert_eq!(
        kill(journalctl, None),
        Err(Errno::ESRCH),
        "it is left behind"
    );
}

#[test]
fn what_cannot_be_read_is_said() {
    let till = Till::new();
    let script = "echo 'No journal files were opened due to insufficient permissions.' >&2; exit 1";
    let failed = output(&mut events(&till, script, "C", &[]));
    assert_eq!((failed.code(), failed.stdout.as_str()), (1, ""));
    for words in ["the journal can't be read", "insufficient permissions"] {
        assert!(failed.stderr.contains(words), "{}", failed.stderr);
    }
    let refused = output(&mut events(&till, SHOWS, "C", &["printer"]));
    assert_eq!((refused.code(), refused.stdout.as_str()), (1, ""));
    assert!(
        refused.stderr.contains("unknown program: printer"),
        "{}",
        refused.stderr
    );
    let none = output(&mut events(&till, "exit 0", "C", &[]));
    assert_eq!(none.code(), 0);
    assert_eq!(none.stderr, "the journal has no events\n");
}
