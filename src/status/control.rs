//! What a person can ask of the running service (`pause`, `resume`, `restart`, `stop`, `start`), and how
//! that reaches it: a socket in the runtime directory, one line of JSON each way. Who may ask, and what is done
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
    /// To end a process, and to leave it alone for a while.
    Stop {
        /// Its key, or its name.
        key: String,
        /// For how long, in seconds.
        seconds: u64,
        /// Why, in the person's words.
        reason: Option<String>,
    },
    /// To end a process's pause, and to start it unless it is running.
    Start {
        /// Its key, or its name.
        key: String,
    },
}

/// The key of the process that a person means by its key or, as status shows it, by its name, in upper or
/// lower case; none if two could be meant. Each of `processes` is a key and a name.
pub fn key_meant_by<'a>(
    word: &str,
    processes: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Option<&'a str> {
    let lower = word.to_lowercase();
    let is_meant = |text: &str| text.to_lowercase() == lower;
    let mut meant = Vec::new();
    for (key, name) in processes {
        if key == word {
            return Some(key);
        }
        if is_meant(key) || is_meant(name) {
            meant.push(key);
        }
    }
    match meant.as_slice() {
        [key] => Some(key),
        _ => None,
    }
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
    /// It is being stopped.
    Stopping {
        /// Its key.
        key: String,
        /// How long that takes at most, in milliseconds: by then it is gone, or can't be ended.
        within_ms: u64,
    },
    /// It is being started.
    Starting {
        /// Its key.
        key: String,
        /// How long that takes at most, in milliseconds: by then it is up, or that has failed.
        within_ms: u64,
    },
    /// It is running already, so it is not started; it isn't paused any more.
    Running {
        /// Its key.
        key: String,
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
    /// Nothing could be started now, so it is neither started nor restarted, nor stopped.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_meant_by_its_key_or_its_name_unless_another_one_could_be() {
        let programs = [
            ("a", "Monitor"),
            ("b", "Other"),
            ("other", "C"),
            ("x", "Y"),
            ("y", "X"),
        ];
        let meant = |word| key_meant_by(word, programs);
        assert_eq!(meant("a"), Some("a"));
        assert_eq!(meant("MONITOR"), Some("a"));
        assert_eq!(meant("other"), Some("other"), "the very key");
        assert_eq!(meant("Other"), None, "a name, and another one's key");
        assert_eq!(meant("x"), Some("x"));
        assert_eq!(meant("c"), Some("other"));
        assert_eq!(meant("z"), None);
    }
}
