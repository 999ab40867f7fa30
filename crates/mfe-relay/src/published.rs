//! What the running relay tells of itself: status.json in its runtime directory, for `mfe-relay status`.

use std::io;
use std::path::Path;

use mfe_common::files;
use serde::{Deserialize, Serialize};

use crate::trouble::Trouble;

/// Its name in the runtime directory.
const FILE: &str = "status.json";

/// How the relay is. Times are RFC 3339 in UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Published {
    pub(crate) version: u32,
    pub(crate) pid: u32,
    pub(crate) till: String,
    pub(crate) server: String,
    pub(crate) started_at: String,
    /// Since when there is a connection; only while there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) connected_since: Option<String>,
    /// The latest event that the broker has confirmed to this run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_delivered: Option<Delivered>,
    /// How many events the broker hasn't confirmed.
    pub(crate) backlog: u64,
    /// How many entries of the journal couldn't be understood, ever.
    pub(crate) lost: u64,
    /// What is wrong, each kind once.
    pub(crate) troubles: Vec<Since>,
}

/// An event that has arrived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Delivered {
    pub(crate) id: String,
    pub(crate) at: String,
}

/// Something that is wrong, and since when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Since {
    #[serde(flatten)]
    pub(crate) trouble: Trouble,
    pub(crate) since: String,
}

impl Published {
    /// Tells everybody.
    ///
    /// # Errors
    /// When it can't be written.
    pub(crate) fn write(&self, folder: &Path) -> io::Result<()> {
        let content = serde_json::to_vec(self).map_err(io::Error::other)?;
        files::replace(&folder.join(FILE), &content, 0o644)
    }

    /// What a running relay tells; `None` if none runs.
    ///
    /// # Errors
    /// When it can't be read.
    pub(crate) fn read(folder: &Path) -> io::Result<Option<Self>> {
        let Some(content) = files::read(&folder.join(FILE))? else {
            return Ok(None);
        };
        let published: Self = serde_json::from_slice(&content).map_err(io::Error::other)?;
        // A relay that was killed has left its last word.
        let name = std::fs::read_to_string(format!("/proc/{}/comm", published.pid));
        let is_alive = name.is_ok_and(|name| name.trim_end() == "mfe-relay");
        Ok(is_alive.then_some(published))
    }
}
