//! A machine becomes an office, and it is told what is wrong with one.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;

use mfe_kit::engines::{RabbitMq, definitions};
use mfe_kit::{Output, output};
use mfe_relay::token::understand;

use crate::needs_engines;
use crate::office::{Office, rabbitmqctl};

/// Who the service runs as here: one that may reach the test's PostgreSQL.
const USER: &str = "postgres";

fn run(office: &Office, words: &[&str]) -> Output {
    let folder = office.path("rabbitmq");
    let words = [
        words,
        &["--user", USER, "--rabbitmq-dir", folder.to_str().unwrap()],
    ];
    office.run(&words.concat())
}

/// Whether a broker at this port has a certificate that a till believes.
fn is_believed(office: &Office, port: u16, name: &str) -> Output {
    let mut command = Command::new("openssl");
    command
        .args(["s_client", "-verify_return_error", "-connect"])
        .arg(format!("127.0.0.1:{port}"))
        .arg("-CAfile")
        .arg(office.path("ca.pem"))
        .args(["-verify_hostname", name]);
    output(&mut command)
}

#[test]
fn what_is_in_the_way_is_told_before_anything_is_done() {
    needs_engines!();
    mfe_kit::needs!(mfe_kit::Need::Package("openssl"));
    let office = Office::new();
    office.configure_new("setup-c", "");
    // A configuration that is there is the user's.
    let done = run(&office, &["setup", "--name", "central.example"]);
    assert_eq!(
        (done.code(), done.stdout.as_str()),
        (1, ""),
        "{}",
        done.stderr
    );
    assert!(
        done.stderr.contains("server = \"amqps://central.example\""),
        "{}",
        done.stderr
    );
    assert!(!office.path("ca.pem").exists() && !office.path("secret").exists());

    office.configure_new("setup-c", "server = \"amqps://central.example\"\n");
    let done = run(&office, &["setup", "--name", "another.example"]);
    assert_eq!(
        (done.code(), done.stdout.as_str()),
        (1, ""),
        "{}",
        done.stderr
    );
    let done = run(&office, &["doctor"]);
    assert_eq!(done.code(), 1, "{}", done.stderr);
    for expected in [
        "doesn't let mfe-central in",
        "certificate is missing",
        "can't use its database",
    ] {
        assert!(
            done.stdout.contains(expected),
            "{expected}: {}",
            done.stdout
        );
    }
    assert!(!office.path("ca.pem").exists() && !office.path("secret").exists());
}

#[test]
fn a_machine_becomes_an_office_and_stays_one() {
    needs_engines!();
    mfe_kit::needs!(mfe_kit::Need::Package("openssl"));
    let office = Office::new();
    office.configure_new("setup-a", "server = \"amqps://central.example\"\n");
    let done = run(&office, &["setup", "--name", "central.example"]);
    assert_eq!(done.code(), 0, "{}{}", done.stdout, done.stderr);
    for expected in [
        "/secret",
        "/ca.pem",
        "/rabbitmq/mfe-central.pem",
        "/rabbitmq/conf.d/mfe-central.conf",
        "user setup-a may do all",
        "exchange mfe.events",
        "exchange mfe.state",
        "queue mfe.central",
        "queue mfe.now",
        "queue mfe.dead",
        "role setup-a",
        "database setup-a",
        "tables",
    ] {
        assert!(
            done.stdout.contains(expected),
            "{expected}: {}",
            done.stdout
        );
    }
    for (name, mode) in [
        ("secret", 0o640),
        ("ca.key", 0o600),
        ("ca.pem", 0o644),
        ("rabbitmq/mfe-central.key", 0o640),
        ("rabbitmq/mfe-central.pem", 0o644),
    ] {
        let file = fs::metadata(office.path(name)).unwrap();
        assert_eq!(
            (file.permissions().mode() & 0o777, file.uid()),
            (mode, 0),
            "{name}"
        );
    }

    let done = run(&office, &["setup"]);
    assert_eq!(
        (done.code(), done.stdout.lines().count()),
        (0, 1),
        "{}{}",
        done.stdout,
        done.stderr
    );
    assert!(
        done.stdout.contains("nothing was changed"),
        "{}",
        done.stdout
    );

    // What was lost is made again, and only that.
    rabbitmqctl(&["delete_user", "setup-a"]);
    rabbitmqctl(&["delete_queue", "mfe.now", "-p", "setup-a"]);
    let done = run(&office, &["setup"]);
    assert_eq!(
        (done.code(), done.stdout.lines().count()),
        (0, 2),
        "{}{}",
        done.stdout,
        done.stderr
    );

    let central = office.central();
    let enrolled = office.run(&["enroll", "setup-till"]);
    let token = understand(&enrolled.stdout).unwrap();
    assert_eq!(token.server, "amqps://central.example/setup-a");
    assert_eq!(token.ca, fs::read_to_string(office.path("ca.pem")).unwrap());

    // Only that the test's broker hasn't read its configuration is wrong with it.
    let done = run(&office, &["doctor"]);
    assert_eq!(done.code(), 1, "{}", done.stderr);
    assert!(done.stdout.contains("port 5671"), "{}", done.stdout);
    assert!(
        done.stdout.contains("Problems found: 1."),
        "{}",
        done.stdout
    );
    drop(central);
    let done = run(&office, &["doctor"]);
    assert!(
        done.stdout.contains("The service doesn't answer"),
        "{}",
        done.stdout
    );
}

#[test]
fn a_till_believes_the_broker_before_and_after_its_certificate_is_renewed() {
    needs_engines!();
    mfe_kit::needs!(mfe_kit::Need::Package("openssl"));
    let office = Office::new();
    office.configure_new("setup-b", "server = \"amqps://central.example\"\n");
    let done = run(&office, &["setup"]);
    assert_eq!(done.code(), 0, "{}{}", done.stdout, done.stderr);

    // The broker takes what was written for it, but for its ports, which others may have here.
    let config = fs::read_to_string(office.path("rabbitmq/conf.d/mfe-central.conf")).unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let lines = config
        .lines()
        .filter(|line| !line.starts_with("listeners.tcp."));
    let config: String = lines
        .map(|line| line.replace("= 5671", &format!("= 127.0.0.1:{port}")) + "\n")
        .collect();
    assert!(config.contains(&port.to_string()), "{config}");
    let broker = definitions(&["mfe".to_owned()], ("office", "x"), &[], "x");
    let _broker = RabbitMq::start_with(&broker, &config);
    let said = is_believed(&office, port, "central.example");
    assert_eq!(said.code(), 0, "{}{}", said.stdout, said.stderr);
    assert_ne!(is_believed(&office, port, "another.example").code(), 0);

    let certificate = || fs::read_to_string(office.path("rabbitmq/mfe-central.pem")).unwrap();
    let (before, ca) = (
        certificate(),
        fs::read_to_string(office.path("ca.pem")).unwrap(),
    );
    let done = run(&office, &["renew"]);
    assert_eq!(done.code(), 0, "{}", done.stderr);
    assert_ne!(certificate(), before);
    assert_eq!(fs::read_to_string(office.path("ca.pem")).unwrap(), ca);
    let done = run(&office, &["setup"]);
    assert!(
        done.stdout.contains("nothing was changed"),
        "{}",
        done.stdout
    );

    // Without the authority's key, what is there stays.
    fs::remove_file(office.path("ca.key")).unwrap();
    let done = run(&office, &["renew"]);
    assert_eq!(done.code(), 1);
    assert!(done.stderr.contains("ca.key"), "{}", done.stderr);
    assert_eq!(run(&office, &["setup"]).code(), 0);
}
