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

/// The administrator that a new broker has, whose password everybody knows.
pub(crate) const GUEST: &str = "guest";

impl Definitions {
    /// Whether it is a new broker's, of which nobody has made anything yet.
    pub(crate) fn is_untouched(&self) -> bool {
        let is_new = |user: &User| user.name == GUEST;
        self.queues.is_empty()
            && self.exchanges.is_empty()
            && self.users.len() == 1
            && self.users.iter().all(is_new)
            && self.vhosts.iter().all(|host| host.name == "/")
    }
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

/// Who is connected. A connection that is over is listed for up to 30 s, until its other end has closed the socket.
///
/// # Errors
/// As of [`export`].
pub(crate) fn connected() -> anyhow::Result<Vec<String>> {
    #[derive(Deserialize)]
    struct Connection {
        user: String,
        state: String,
    }
    let what = ["list_connections", "--formatter", "json", "user", "state"];
    let json = run(&what, None)?;
    let mut connections: Vec<Connection> =
        serde_json::from_str(&json).context("rabbitmqctl list_connections")?;
    connections.retain(|one| !["closing", "closed"].contains(&one.state.as_str()));
    Ok(connections.into_iter().map(|one| one.user).collect())
}

/// How a queue is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Queue {
    pub(crate) name: String,
    pub(crate) messages: u64,
    #[serde(skip)]
    pub(crate) consumers: usize,
}

/// How the queues of a virtual host are. Who reads them is asked for by itself: what is told of a queue is of seconds
/// ago.
///
/// # Errors
/// As of [`export`].
pub(crate) fn queues(virtual_host: &str) -> anyhow::Result<Vec<Queue>> {
    #[derive(Deserialize)]
    struct Consumer {
        queue_name: String,
    }
    let host = format!("--vhost={virtual_host}");
    let list = |what: &[&str]| {
        let arguments = [&[what[0], &host, "--formatter", "json"], &what[1..]].concat();
        run(&arguments, None)
    };
    let json = list(&["list_queues", "name", "messages"])?;
    let mut queues: Vec<Queue> = serde_json::from_str(&json).context("rabbitmqctl list_queues")?;
    let json = list(&["list_consumers", "queue_name"])?;
    let consumers: Vec<Consumer> =
        serde_json::from_str(&json).context("rabbitmqctl list_consumers")?;
    for queue in &mut queues {
        let of_queue = consumers.iter().filter(|one| one.queue_name == queue.name);
        queue.consumers = of_queue.count();
    }
    Ok(queues)
}

/// The node's name, and how many nodes its cluster has.
///
/// # Errors
/// As of [`export`].
pub(crate) fn node() -> anyhow::Result<(String, usize)> {
    #[derive(Deserialize)]
    struct Cluster {
        disk_nodes: Vec<String>,
    }
    let name = run(&["eval", "node()."], None)?;
    let json = run(&["cluster_status", "--formatter", "json"], None)?;
    let cluster: Cluster = serde_json::from_str(&json).context("rabbitmqctl cluster_status")?;
    let name = name.trim().trim_matches('\'').to_owned();
    Ok((name, cluster.disk_nodes.len()))
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
    fn a_new_broker_is_known() {
        let read = |json: &str| serde_json::from_str::<Definitions>(json).unwrap();
        let new =
            r#"{"vhosts":[{"name":"/"}],"users":[{"name":"guest","tags":["administrator"]}]}"#;
        assert!(read(new).is_untouched());
        assert!(!read(&new.replace("guest", "boss")).is_untouched());
        assert!(!read(&new.replace("\"/\"", "\"site\"")).is_untouched());
        let queues = new.replacen('{', r#"{"queues":[{"name":"a","vhost":"/"}],"#, 1);
        assert!(!read(&queues).is_untouched());
        assert!(!Definitions::default().is_untouched());
    }

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
