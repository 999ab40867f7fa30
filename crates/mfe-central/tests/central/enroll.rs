//! Tills come to an office, get another token, and go.

use std::fs;

use mfe_relay::token::{Token, understand};

use crate::needs_engines;
use crate::office::{Office, event};

const CA: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

/// An office that can enroll tills.
fn office() -> Office {
    let office = Office::new();
    let ca = office.path("ca.pem");
    fs::write(&ca, CA).unwrap();
    office.configure(&format!(
        "server = \"amqps://central.example:443\"\nca = \"{}\"\n",
        ca.display()
    ));
    office
}

/// The token that a command prints, as the relay understands it.
fn token(office: &Office, arguments: &[&str]) -> Token {
    let done = office.run(arguments);
    assert_eq!(done.code(), 0, "{}", done.stderr);
    assert_eq!(done.stdout.lines().count(), 1, "{}", done.stdout);
    understand(&done.stdout).unwrap()
}

#[test]
fn a_till_may_send_in_its_own_name_until_it_is_revoked() {
    needs_engines!();
    let office = office();
    // What it sends has somewhere to go.
    let central = office.central();
    let first = token(&office, &["enroll", "enroll-a"]);
    assert_eq!(first.till, "enroll-a");
    assert!(
        first
            .server
            .starts_with("amqps://central.example:443/case-"),
        "{}",
        first.server
    );
    assert_eq!(first.ca, CA);
    let state = || {
        let rows = central.get("/api/v1/tills").json();
        let rows = rows["tills"].as_array().unwrap().clone();
        let row = rows.into_iter().find(|row| row["till"] == "enroll-a");
        row.map(|row| row["state"].as_str().unwrap().to_owned())
    };
    mfe_kit::eventually("it is shown before it was ever heard", || {
        (state().as_deref() == Some("never_seen")).then_some(())
    });

    let login = office.log_in("enroll-a", &first.password).unwrap();
    assert!(login.sends(&event("enroll-a", 1)));
    assert!(!login.sends(&event("till-1", 1)));
    let mut forged = event("enroll-a", 2);
    forged.key = "till-1.down".into();
    assert!(!login.sends(&forged));

    // Nobody's connection is cut by mistake.
    let done = office.run(&["enroll", "enroll-a"]);
    assert_eq!((done.code(), done.stdout.as_str()), (1, ""));
    assert!(
        done.stderr.contains("mfe-central renew enroll-a"),
        "{}",
        done.stderr
    );

    let second = token(&office, &["renew", "enroll-a"]);
    login.is_closed();
    assert!(office.log_in("enroll-a", &first.password).is_none());
    let login = office.log_in("enroll-a", &second.password).unwrap();
    drop(login);

    // Its machine was replaced: it isn't connected, and comes again under its name.
    let third = mfe_kit::eventually("its connection is over", || {
        let done = office.run(&["enroll", "enroll-a"]);
        (done.code() == 0).then(|| understand(&done.stdout).unwrap())
    });
    assert!(office.log_in("enroll-a", &second.password).is_none());
    let login = office.log_in("enroll-a", &third.password).unwrap();

    let done = office.run(&["revoke", "enroll-a"]);
    assert_eq!(
        (done.code(), done.stdout.as_str()),
        (0, ""),
        "{}",
        done.stderr
    );
    assert!(
        done.stderr.contains("enroll-a is revoked"),
        "{}",
        done.stderr
    );
    login.is_closed();
    assert!(office.log_in("enroll-a", &third.password).is_none());
    mfe_kit::eventually("it isn't shown any more, for it was never heard", || {
        state().is_none().then_some(())
    });
    for command in ["revoke", "renew"] {
        let done = office.run(&[command, "enroll-a"]);
        assert_eq!((done.code(), done.stdout.as_str()), (1, ""));
        assert!(done.stderr.contains("no till enroll-a"), "{}", done.stderr);
    }
    drop(central);
}

#[test]
fn a_list_adds_those_that_are_new() {
    needs_engines!();
    let office = office();
    let list = office.path("tills.csv");
    let run = |text: &str| {
        fs::write(&list, text).unwrap();
        office.run(&["enroll", "--csv", list.to_str().unwrap()])
    };
    let done = run("till,store\nenroll-c,12\nenroll-d,12\n");
    assert_eq!(done.code(), 0, "{}", done.stderr);
    let lines: Vec<(&str, &str)> = done
        .stdout
        .lines()
        .map(|line| line.split_once(',').unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    for (till, line) in &lines {
        let token = understand(line).unwrap();
        assert_eq!(token.till, *till);
        let login = office.log_in(till, &token.password).unwrap();
        drop(login);
    }
    let first = understand(lines[0].1).unwrap();

    // One that is wrong, and nothing is done.
    let done = run("enroll-e\nLoja 12\n");
    assert_eq!((done.code(), done.stdout.as_str()), (2, ""));
    assert!(
        done.stderr.contains("tills.csv:2: \"Loja 12\""),
        "{}",
        done.stderr
    );
    let done = run("enroll-e\nmfe-central\n");
    assert_eq!((done.code(), done.stdout.as_str()), (1, ""));

    let done = run("enroll-c\nenroll-e\n");
    assert_eq!(done.code(), 0, "{}", done.stderr);
    assert!(done.stdout.starts_with("enroll-e,"), "{}", done.stdout);
    assert_eq!(done.stdout.lines().count(), 1);
    assert!(
        done.stderr.contains("enroll-c is enrolled already"),
        "{}",
        done.stderr
    );
    let login = office.log_in("enroll-c", &first.password).unwrap();
    drop(login);
}

#[test]
fn what_cannot_be_a_till_changes_nothing() {
    needs_engines!();
    let office = office();
    for (arguments, code, expected) in [
        (
            &["enroll", "Loja.12"][..],
            2,
            "\"Loja.12\" can't be a till's name",
        ),
        (&["enroll"], 2, "TILL"),
        (&["enroll", "a", "--csv", "b"], 2, "--csv"),
        (&["enroll", "--csv", "/nonexistent"], 1, "/nonexistent"),
        // The service's own user, and whoever else isn't a till.
        (&["enroll", "mfe-central"], 1, "another user"),
        (&["renew", "mfe-central"], 1, "another user"),
        (&["revoke", "mfe-central"], 1, "another user"),
        (&["revoke", "--", "--help"], 1, "no till --help"),
    ] {
        let done = office.run(arguments);
        assert_eq!(
            (done.code(), done.stdout.as_str()),
            (code, ""),
            "{arguments:?}"
        );
        assert!(done.stderr.contains(expected), "{}", done.stderr);
    }
    office.configure("");
    let done = office.run(&["enroll", "enroll-f"]);
    assert_eq!((done.code(), done.stdout.as_str()), (1, ""));
    assert!(done.stderr.contains("server"), "{}", done.stderr);
    office.configure("server = \"amqps://central.example\"\nca = \"/nonexistent\"\n");
    let done = office.run(&["enroll", "enroll-f"]);
    assert_eq!((done.code(), done.stdout.as_str()), (1, ""));
    assert!(done.stderr.contains("/nonexistent"), "{}", done.stderr);
    let office = self::office();
    let config = office.path("config.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("\"case-", "\"none-")).unwrap();
    let done = office.run(&["enroll", "enroll-f"]);
    assert_eq!((done.code(), done.stdout.as_str()), (1, ""));
    assert!(
        done.stderr.contains("no virtual host none-"),
        "{}",
        done.stderr
    );
}
