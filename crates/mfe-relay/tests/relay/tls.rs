//! Nothing is ever sent in plain text, and to nobody but the office's own broker.

use std::io::Read;
use std::net::TcpListener;
use std::time::Duration;

use crate::broker::{Broker, Office, PASSWORD, TILL, shared};
use crate::certificates;
use crate::needs_broker;
use crate::till::{FIRST, NOW, OURS, Till};

#[test]
fn the_first_thing_on_the_wire_is_a_tls_handshake_and_nothing_is_plain() {
    needs_broker!();
    let till = Till::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    till.configure(port, "mfe", "");
    till.enrol(PASSWORD, &shared().ca());
    let _relay = till.relay();
    let (mut stream, _) = listener.accept().unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(2)))
        .unwrap();
    // All that it says to somebody who doesn't answer.
    let mut said = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        said.extend_from_slice(&buffer[..length]);
    }
    // A record of the handshake, of TLS 1.x, with a ClientHello in it (RFC 8446, 5.1 and 4).
    assert_eq!((said[0], said[1], said[5]), (22, 3, 1), "{said:?}");
    let length = usize::from(u16::from_be_bytes([said[3], said[4]]));
    assert_eq!(said.len(), 5 + length, "one record, and nothing after it");
    for plain in ["AMQP", PASSWORD, TILL, "mfe-relay", "PLAIN"] {
        let found = said
            .windows(plain.len())
            .any(|window| window == plain.as_bytes());
        assert!(!found, "{plain}");
    }
}

#[test]
fn a_broker_without_tls_is_told_nothing() {
    needs_broker!();
    let till = Till::new();
    // Whoever answers in plain AMQP isn't the broker.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    till.configure(listener.local_addr().unwrap().port(), "mfe", "");
    till.enrol(PASSWORD, &shared().ca());
    let relay = till.relay();
    let (mut stream, _) = listener.accept().unwrap();
    std::io::Write::write_all(&mut stream, b"AMQP\0\0\x09\x01").unwrap();
    let mut said = Vec::new();
    stream
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    let _ = stream.read_to_end(&mut said);
    assert_eq!(said[0], 22);
    assert!(
        !said
            .windows(PASSWORD.len())
            .any(|window| window == PASSWORD.as_bytes())
    );
    relay.wait_for("nothing is lost");
}

#[test]
fn an_address_without_tls_is_refused() {
    let till = Till::new();
    till.configure_as("amqp://localhost:5672", TILL, "");
    till.enrol(PASSWORD, "");
    for words in [&["check"][..], &["run"]] {
        let said = till.run(words);
        assert_eq!(said.code(), 78, "{}", said.stderr);
        assert!(
            said.stderr.contains("config.toml:1: server: "),
            "{}",
            said.stderr
        );
        assert!(
            said.stderr.contains("only amqps:// (TLS)"),
            "{}",
            said.stderr
        );
    }
}

/// A relay that isn't let in says so once, and delivers nothing.
fn is_kept_out(till: &Till, office: &Office, words: &[&str], exit: &str) {
    let relay = till.relay();
    for word in words {
        relay.wait_for(word);
    }
    mfe_kit::eventually("trouble", || {
        let status = relay.status();
        (status["pid"] == relay.pid() && status["troubles"][0]["kind"] == exit).then_some(())
    });
    assert_eq!(relay.times(words[0]), 1, "{}", relay.said());
    assert!(office.take("mfe.central").is_empty());
    let status = till.run(&["status"]);
    assert_eq!(status.code(), 1);
    assert!(
        status.stdout.contains("not connected") && status.stdout.contains(words[0]),
        "{}",
        status.stdout
    );
    relay.stop();
}

#[test]
fn another_authority_is_not_believed() {
    needs_broker!();
    let mut office = shared().office();
    office.queue();
    let mut till = Till::joined(shared(), &office);
    till.log(FIRST, NOW, 1..2, OURS);
    let folder = tempfile::tempdir().unwrap();
    till.enrol(PASSWORD, &certificates::foreign(folder.path()));
    is_kept_out(
        &till,
        &office,
        &["certificate isn't accepted", "UnknownIssuer"],
        "certificate",
    );
    // The right one, and everything arrives.
    till.enrol(PASSWORD, &shared().ca());
    let _relay = till.relay();
    office.wait_for(1);
}

#[test]
fn a_wrong_password_and_an_unknown_till_are_refused() {
    needs_broker!();
    let office = shared().office();
    office.queue();
    let mut till = Till::joined(shared(), &office);
    till.log(FIRST, NOW, 1..2, OURS);
    till.enrol("another one", &shared().ca());
    is_kept_out(&till, &office, &["the broker refuses the login"], "login");
    let mut till = Till::joined(shared(), &office);
    till.log(FIRST, NOW, 1..2, OURS);
    let server = format!("amqps://localhost:{}/{}", shared().port, office.host);
    till.configure_as(&server, "till-9", "");
    is_kept_out(&till, &office, &["the broker refuses the login"], "login");
}

#[test]
fn an_expired_certificate_and_one_of_another_name_are_refused() {
    needs_broker!();
    for (certificate, word) in [("expired", "expired"), ("another", "not valid for name")] {
        let broker = Broker::start(certificate);
        let office = broker.office();
        office.queue();
        let mut till = Till::joined(&broker, &office);
        till.log(FIRST, NOW, 1..2, OURS);
        is_kept_out(
            &till,
            &office,
            &["certificate isn't accepted", word],
            "certificate",
        );
    }
}
