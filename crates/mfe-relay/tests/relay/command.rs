//! The command line: how a till joins and leaves, and what is wrong with a configuration.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;

use data_encoding::BASE64;
use mfe_kit::Need;
use serde_json::json;

use crate::broker::are_met;
use crate::till::{FIRST, NOW, OURS, SECOND, Till};

const SECRET: &str = "s3cret-of-the-till";

fn token(till: &str) -> String {
    let ca = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let token = json!({"server": "amqps://central.example:443", "till": till, "password": SECRET, "ca": ca});
    BASE64.encode(token.to_string().as_bytes())
}

/// Runs a command with something on its standard input: its exit code, and what it has said.
fn with_input(till: &Till, words: &[&str], input: &str, locale: &str) -> (i32, String) {
    let mut command = till.command(words);
    command.env("LC_ALL", locale).stdin(Stdio::piped());
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // One that reads nothing is no failure.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.code().unwrap(),
        String::from_utf8(said).unwrap(),
    )
}

#[test]
fn a_till_joins_and_leaves() {
    if !are_met(&[Need::Package("systemd-journal-remote")]) {
        return;
    }
    let mut till = Till::new();
    till.log(FIRST, NOW, 1..4, OURS);
    let status = till.run(&["status"]);
    assert_eq!(status.code(), 3);
    assert!(
        status.stderr.contains("run: sudo mfe-relay join"),
        "{}",
        status.stderr
    );
    // As it comes out of a mail.
    let wrapped = token("till-1")
        .as_bytes()
        .chunks(70)
        .map(String::from_utf8_lossy)
        .collect::<Vec<_>>()
        .join("\r\n ");
    let (code, said) = with_input(&till, &["join"], &wrapped, "C.UTF-8");
    assert_eq!(code, 0, "{said}");
    assert!(
        said.contains("This till is till-1 of amqps://central.example:443"),
        "{said}"
    );
    assert!(said.contains("Events are sent from now on"), "{said}");
    assert!(!said.contains(SECRET), "{said}");
    let credential = till.path("config/credential");
    assert_eq!(
        fs::read_to_string(&credential).unwrap(),
        format!("{SECRET}\n")
    );
    assert_eq!(
        fs::metadata(&credential).unwrap().permissions().mode() & 0o777,
        0o640
    );
    assert_eq!(till.run(&["check"]).code(), 0);
    let config = fs::read_to_string(till.path("config/config.toml")).unwrap();
    assert!(!config.contains(SECRET), "{config}");
    // What was before isn't sent.
    assert!(till.saved()["marks"][FIRST].as_u64().unwrap() > 3_000_000);
    let status = till.run(&["status"]);
    assert_eq!(status.code(), 3);
    assert!(
        status.stderr.contains("the service isn't running"),
        "{}",
        status.stderr
    );

    // Again, with another password: the configuration stays.
    fs::write(
        till.path("config/config.toml"),
        format!("{config}labels = {{ store = \"12\" }}\n"),
    )
    .unwrap();
    let (code, said) = with_input(&till, &["join"], &token("till-1"), "C.UTF-8");
    assert_eq!(code, 0, "{said}");
    assert!(
        said.contains("is there already and stays as it is"),
        "{said}"
    );
    assert!(
        fs::read_to_string(till.path("config/config.toml"))
            .unwrap()
            .contains("store")
    );
    // Another till's token changes nothing.
    let (code, said) = with_input(&till, &["join"], &token("till-2"), "C.UTF-8");
    assert_eq!(code, 1);
    assert!(said.contains("another till or server"), "{said}");

    let left = till.run(&["leave"]);
    assert_eq!(left.code(), 0, "{}", left.stderr);
    assert!(!credential.exists() && !till.path("state/sent.json").exists());
    assert_eq!(till.run(&["leave"]).code(), 0, "twice is no error");
}

#[test]
fn history_is_sent_if_it_is_asked_for() {
    if !are_met(&[Need::Package("systemd-journal-remote")]) {
        return;
    }
    let mut till = Till::new();
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let day = 86_400_000_000;
    let now = u64::try_from(now.as_micros()).unwrap();
    till.log(FIRST, now - 40 * day, 1..4, OURS);
    till.log(SECOND, now - 10 * day, 1..4, OURS);
    let (code, said) = with_input(
        &till,
        &["join", "--history", "30d"],
        &token("till-1"),
        "C.UTF-8",
    );
    assert_eq!(code, 0, "{said}");
    assert!(
        said.contains("Events of the last 30days are sent too"),
        "{said}"
    );
    let marks = &till.saved()["marks"];
    assert!(marks[FIRST].as_u64().unwrap() > 3_000_000, "{marks}");
    assert_eq!(marks[SECOND].as_u64().unwrap(), 999_999, "{marks}");
}

#[test]
fn a_token_that_is_none_is_told_and_nothing_is_done() {
    for input in ["", "nonsense", &token("till-1")[..100], &token("Till.1")] {
        let till = Till::new();
        let (code, said) = with_input(&till, &["join"], input, "C.UTF-8");
        assert_eq!(code, 1, "{said}");
        assert!(said.contains("token") && !said.contains(SECRET), "{said}");
        assert!(!till.path("config/credential").exists());
        assert!(!till.path("config/config.toml").exists());
    }
}

#[test]
fn a_token_is_never_an_argument() {
    let till = Till::new();
    let said = till.run(&["join", &token("till-1")]);
    assert_eq!(said.code(), 2, "{}", said.stderr);
}

#[test]
fn people_are_spoken_to_in_their_language() {
    let till = Till::new();
    let (code, said) = with_input(&till, &["join"], "nada", "pt_BR.UTF-8");
    assert_eq!(code, 1);
    assert!(said.contains("isto não é um token"), "{said}");
    let (_, said) = with_input(&till, &["status"], "", "pt_BR.UTF-8");
    assert!(said.contains("execute: sudo mfe-relay join"), "{said}");
}

#[test]
fn all_that_is_wrong_with_a_configuration_is_told_at_once() {
    let till = Till::new();
    till.configure_as("amqps://a", "Loja 12", "extra = 1\nmax_rate = -1\n");
    let said = till.run(&["check"]);
    assert_eq!(said.code(), 78);
    let lines: Vec<&str> = said.stderr.lines().collect();
    assert_eq!(lines.len(), 3, "{}", said.stderr);
    for (line, words) in lines.iter().zip([
        ":2: till: ",
        ":4: unknown setting \"extra\"",
        ":5: max_rate: ",
    ]) {
        assert!(line.contains(words), "{line}");
    }
    till.configure_as("amqps://a", "loja-12", "");
    let said = till.run(&["check"]);
    assert!(
        said.code() == 0 && said.stdout.starts_with("OK: "),
        "{}",
        said.stderr
    );
    fs::remove_file(till.path("config/config.toml")).unwrap();
    assert_eq!(till.run(&["check"]).code(), 78);
}

/// What waits for its start, such as `systemctl start`, can ask at once.
#[test]
fn it_is_ready_when_its_status_can_be_asked_for() {
    let till = Till::new();
    till.configure(1, "mfe", "");
    till.enrol(SECRET, "no certificate");
    let path = till.path("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(mfe_kit::DEADLINE)).unwrap();
    let relay = till.relay_after(|command| {
        command.env("NOTIFY_SOCKET", &path);
    });
    let mut said = String::new();
    let mut buffer = [0; 4096];
    while !said.contains("READY=1") {
        let length = socket.recv(&mut buffer).unwrap();
        said += &String::from_utf8_lossy(&buffer[..length]);
    }
    assert!(said.contains("STATUS="), "{said}");
    assert!(relay.status()["started_at"].is_string());
}
