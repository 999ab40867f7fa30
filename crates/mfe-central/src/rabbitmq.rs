//! RabbitMQ as its administrator: by rabbitmqctl, which root may use on the broker's machine without a password, and
//! without a port that listens for one. What is secret goes in by standard input.

use std::io::Write;
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, bail, ensure};
use rust_i18n::t;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How long rabbitmqctl may take, in seconds, as timeout(1) has it: Erlang starts slowly on a loaded machine.
const PATIENCE: &str = "120";

/// What timeout(1) ends with when the time was up.
const TIMED_OUT: i32 = 124;

/// What a broker has, as `rabbitmqctl export_definitions` tells it, and may be given; of its members those that count
/// here.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Definitions {
    pub(crate) vhosts: Vec<VirtualHost>,
    pub(crate) users: Vec<User>,
    pub(crate) permissions: Vec<Permission>,
    pub(crate) topic_permissions: Vec<TopicPermission>,
}

/// What users, exchanges and queues are in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct VirtualHost {
    pub(crate) name: String,
}

/// Somebody who may log in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct User {
    pub(crate) name: String,
    /// Only ever given: a broker tells none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) password: Option<String>,
    /// A list, or words with commas between them, as the broker's version has it.
    #[serde(default)]
    pub(crate) tags: Value,
}

impl User {
    /// Whether it is an administrator's, or has another part of its own.
    pub(crate) fn has_tags(&self) -> bool {
        match &self.tags {
            Value::Array(tags) => !tags.is_empty(),
            Value::String(tags) => !tags.is_empty(),
            _ => false,
        }
    }
}

/// What somebody may do in a virtual host: expressions of the names of queues and exchanges.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Permission {
    pub(crate) user: String,
    pub(crate) vhost: String,
    pub(crate) configure: String,
    pub(crate) write: String,
    pub(crate) read: String,
}

/// With which routing keys somebody may use a topic exchange.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TopicPermission {
    pub(crate) user: String,
    pub(crate) vhost: String,
    pub(crate) exchange: String,
    pub(crate) write: String,
    pub(crate) read: String,
}

/// What the broker has.
///
/// # Errors
/// When it doesn't run, or there is none.
pub(crate) fn export() -> anyhow::Result<Definitions> {
    let json = run(&["export_definitions", "-"], None)?;
    serde_json::from_str(&json).context("rabbitmqctl export_definitions")
}

/// Gives it something more; what it has under the same name becomes like this.
///
/// # Errors
/// As of [`export`], and when it doesn't take it: some of it may be there then.
pub(crate) fn import(definitions: &Definitions) -> anyhow::Result<()> {
    let json = serde_json::to_string(definitions)?;
    // Only without the file's name do all versions read standard input.
    run(&["import_definitions"], Some(json)).map(drop)
}

/// Deletes somebody, whose connections the broker closes then.
///
/// # Errors
/// As of [`export`], and when there is no such user.
pub(crate) fn delete_user(name: &str) -> anyhow::Result<()> {
    run(&["delete_user", "--", name], None).map(drop)
}

/// Closes the connections that somebody has; they may come back.
///
/// # Errors
/// As of [`export`].
pub(crate) fn close_connections(name: &str) -> anyhow::Result<()> {
    let why = "the token was renewed";
    run(&["close_all_user_connections", "--", name, why], None).map(drop)
}

/// Who is connected.
///
/// # Errors
/// As of [`export`].
pub(crate) fn connected() -> anyhow::Result<Vec<String>> {
    #[derive(Deserialize)]
    struct Connection {
        user: String,
    }
    let json = run(&["list_connections", "--formatter", "json", "user"], None)?;
    let connections: Vec<Connection> =
        serde_json::from_str(&json).context("rabbitmqctl list_connections")?;
    Ok(connections.into_iter().map(|one| one.user).collect())
}

/// Runs rabbitmqctl, and gives what it says.
fn run(arguments: &[&str], input: Option<String>) -> anyhow::Result<String> {
    let is_there = std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|folder| folder.join("rabbitmqctl").exists())
    });
    ensure!(is_there, "{}", t!("rabbitmq.missing"));
    let mut command = Command::new("timeout");
    command
        .args(["--kill-after=5", PATIENCE, "rabbitmqctl", "--quiet"])
        .args(arguments)
        .stdin(if input.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().context("timeout")?;
    let pipe = child.stdin.take();
    let writer = thread::spawn(move || {
        if let (Some(mut pipe), Some(input)) = (pipe, input) {
            // Its end tells whether it has read all of it.
            let _ = pipe.write_all(input.as_bytes());
        }
    });
    let done = child.wait_with_output().context("rabbitmqctl")?;
    // It ends with the other end of the pipe.
    let _ = writer.join();
    if done.status.success() {
        return String::from_utf8(done.stdout).context("rabbitmqctl");
    }
    let said = String::from_utf8_lossy(&done.stderr);
    if done.status.code() == Some(TIMED_OUT) {
        bail!("{}", t!("rabbitmq.no_answer", seconds = PATIENCE));
    }
    bail!("{}", t!("rabbitmq.failed", error = first_words(&said)))
}

/// The first paragraph that says something, in one line; the rest is advice on Erlang.
fn first_words(said: &str) -> String {
    let lines = said.lines().map(str::trim);
    let mut lines = lines.skip_while(|line| line.is_empty()).peekable();
    let mut words = Vec::new();
    while let Some(line) = lines.next_if(|line| !line.is_empty()) {
        words.push(line);
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_read_as_every_version_has_them() {
        for (tags, expected) in [
            (r#"["administrator"]"#, true),
            (r#""monitoring""#, true),
            ("[]", false),
            (r#""""#, false),
        ] {
            let json = format!(r#"{{"name":"a","tags":{tags},"limits":{{}}}}"#);
            let user: User = serde_json::from_str(&json).unwrap();
            assert_eq!(user.has_tags(), expected, "{tags}");
        }
    }

    #[test]
    fn of_a_long_complaint_the_beginning_is_told() {
        let said = "\nError:\nUser \"nobody\" does not exist\n\nDIAGNOSTICS\n===\n";
        assert_eq!(first_words(said), "Error: User \"nobody\" does not exist");
        assert_eq!(first_words(""), "");
    }
}
