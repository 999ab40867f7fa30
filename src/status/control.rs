//! What a person can ask of the running service (`pause`, `resume`, `restart`), and how that reaches
//! it: a socket in the runtime directory, one line of JSON each way. Who may ask, and what is done
//! about it, is decided in [`crate::daemon`].

use serde::{Deserialize, Serialize};

use crate::text::phrase::Phrase;

/// The longest reason that is kept, in characters.
pub const REASON_MAX: usize = 200;

/// The socket's name in the runtime directory.
pub(crate) const SOCKET_NAME: &str = "control";

/// The longest line either side reads, in bytes.
pub(crate) const LINE_MAX: u64 = 16 * 1024;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// To start and signal nothing for a while.
    Pause {
        /// The keys of the processes, or their names; none means all.
        keys: Vec<String>,
        /// For how long, in seconds.
        seconds: u64,
        /// Why, in the person's words.
        reason: Option<String>,
    },
    /// To end a pause.
    Resume {
        /// The keys of the processes, or their names; none means all.
        keys: Vec<String>,
    },
    /// To end a process and start it again.
    Restart {
        /// Its key, or its name.
        key: String,
    },
}

/// What comes of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    /// It is done, or under way, for the processes of these keys.
    Done {
        /// The keys.
        keys: Vec<String>,
    },
    /// It is being restarted.
    Restarting {
        /// Its key.
        key: String,
        /// How long that takes at most, in milliseconds: by then it is up, or that has failed.
        within_ms: u64,
    },
    /// There is no process of this key or name.
    UnknownKey {
        /// What was asked for.
        key: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// It is paused, so it is not restarted.
    Paused {
        /// Its key.
        key: String,
    },
    /// Nothing could be started in its place, so it is not restarted.
    CannotStart {
        /// Its key.
        key: String,
        /// Why.
        why: Phrase,
    },
    /// Its task hasn't taken in yet what was asked of it before, so nothing is done.
    Busy {
        /// Its key.
        key: String,
    },
    /// Nothing of it is paused.
    NotPaused,
    /// Only root, or whoever runs the service, may ask.
    NotAllowed,
    /// The line wasn't understood.
    NotUnderstood,
}
