//! RabbitMQ as its administrator: by rabbitmqctl, which root may use on the broker's machine without a password, and
//! without a port that listens for one. What is secret goes in by standard input.

use anyhow::{Context, ensure};
use rust_i18n::t;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::system;

/// What a broker has, as `rabbitmqctl export_definitions` tells it, and may be given; of its members those that count
/// here.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Definitions {
    pub(crate) vhosts: Vec<VirtualHost>,
    #[serde(skip_serializing)]
    pub(crate) exchanges: Vec<Named>,
    #[serde(skip_serializing)]
    pub(crate) queues: Vec<Named>,
    pub(crate) users: Vec<User>,
    pub(crate) permissions: Vec<Permission>,
    pub(crate) topic_permissions: Vec<TopicPermission>,
}

/// What users, exchanges and queues are in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct VirtualHost {
    pub(crate) name: String,
}

/// An exchange or a queue, which are only ever read here: who uses them declares them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) vhost: String,
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
    run(&["import_definitions"], Some(&json)).map(drop)
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

/// How a queue is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Queue {
    pub(crate) name: String,
    pub(crate) messages: u64,
    pub(crate) consumers: u64,
}

/// How the queues of a virtual host are.
///
/// # Errors
/// As of [`export`].
pub(crate) fn queues(virtual_host: &str) -> anyhow::Result<Vec<Queue>> {
    let host = format!("--vhost={virtual_host}");
    let arguments = [
        "list_queues",
        &host,
        "--formatter",
        "json",
        "name",
        "messages",
        "consumers",
    ];
    let json = run(&arguments, None)?;
    serde_json::from_str(&json).context("rabbitmqctl list_queues")
}

/// Lets the broker read its certificate again.
///
/// # Errors
/// As of [`export`].
pub(crate) fn forget_certificates() -> anyhow::Result<()> {
    run(&["eval", "ssl:clear_pem_cache()."], None).map(drop)
}

/// Runs rabbitmqctl, and gives what it says.
fn run(arguments: &[&str], input: Option<&str>) -> anyhow::Result<String> {
    ensure!(
        system::is_program("rabbitmqctl"),
        "{}",
        t!("rabbitmq.missing")
    );
    let words = [&["rabbitmqctl", "--quiet"], arguments].concat();
    system::run(&words, input, None)
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
}
