//! What has happened, for everybody who follows: tills whose row has changed, events that are stored. Whoever is too
//! slow to follow is dropped, and may come again.

use bytes::Bytes;
use serde_json::json;
use tokio::sync::broadcast;

use crate::clock::timestamp;
use crate::fleet::Row;
use crate::store::Stored;

/// So many messages behind, a follower is dropped. They are shared by all.
const BEHIND_MAX: usize = 2048;

/// Something that has happened, in the text that every follower gets (HTML standard, "Server-sent events").
#[derive(Debug, Clone)]
pub(crate) enum Message {
    /// A till's row.
    Till(Bytes),
    /// An event, with its row in the database.
    Event(i64, Bytes),
    /// An engine of central's has come or gone.
    Engine(Bytes),
}

impl Message {
    /// Of JSON, which has no line ends.
    fn till(json: &str) -> Self {
        Self::Till(format!("event: till\ndata: {json}\n\n").into())
    }

    fn engine(json: &str) -> Self {
        Self::Engine(format!("event: engine\ndata: {json}\n\n").into())
    }

    fn event(row: i64, json: &str) -> Self {
        let text = format!("event: event\nid: {row}\ndata: {json}\n\n");
        Self::Event(row, text.into())
    }

    /// The text of it.
    pub(crate) fn text(self) -> Bytes {
        match self {
            Self::Till(text) | Self::Event(_, text) | Self::Engine(text) => text,
        }
    }
}

/// Where followers are told.
#[derive(Debug)]
pub(crate) struct Feed(broadcast::Sender<Message>);

impl Feed {
    pub(crate) fn new() -> Self {
        Self(broadcast::Sender::new(BEHIND_MAX))
    }

    /// What is told from now on.
    pub(crate) fn follow(&self) -> broadcast::Receiver<Message> {
        self.0.subscribe()
    }

    /// Whether somebody is told; otherwise nothing needs to be made ready for it.
    pub(crate) fn is_followed(&self) -> bool {
        self.0.receiver_count() > 0
    }

    pub(crate) fn till(&self, row: &Row) {
        if !self.is_followed() {
            return;
        }
        let json = serde_json::to_string(row).unwrap_or_default();
        self.tell(Message::till(&json));
    }

    pub(crate) fn event(&self, stored: &Stored) {
        self.tell(event(stored));
    }

    pub(crate) fn engines(&self, broker: bool, database: bool) {
        let json = json!({"broker": broker, "database": database}).to_string();
        self.tell(Message::engine(&json));
    }

    fn tell(&self, message: Message) {
        // Nobody may be following.
        let _ = self.0.send(message);
    }
}

/// The message of an event.
pub(crate) fn event(stored: &Stored) -> Message {
    Message::event(stored.row, &json_of(stored).to_string())
}

/// An event as other systems get it.
pub(crate) fn json_of(stored: &Stored) -> serde_json::Value {
    json!({
        "row": stored.row,
        "till": stored.till,
        "event": stored.kind,
        "process": stored.process,
        "at": timestamp(stored.at),
        "clock": stored.clock,
        "received": timestamp(stored.received),
        "data": stored.data,
    })
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn an_event_is_told_in_one_line_with_its_row() {
        let stored = Stored {
            row: 7,
            till: "t".into(),
            kind: "down".into(),
            process: None,
            at: SystemTime::UNIX_EPOCH,
            clock: "till".into(),
            received: SystemTime::UNIX_EPOCH,
            data: json!({"message": "a\nid: 9\n\nb"}),
        };
        let text = String::from_utf8(event(&stored).text().to_vec()).unwrap();
        assert!(text.starts_with("event: event\nid: 7\ndata: {"), "{text}");
        assert_eq!(text.lines().count(), 4, "{text}");
        assert!(text.contains(r"a\nid: 9\n\nb"), "{text}");
    }

    #[tokio::test]
    async fn who_is_too_slow_is_told_so() {
        let feed = Feed::new();
        let mut slow = feed.follow();
        for _ in 0..=BEHIND_MAX {
            feed.tell(Message::till("{}"));
        }
        let behind = slow.recv().await;
        assert!(matches!(
            behind,
            Err(broadcast::error::RecvError::Lagged(_))
        ));
    }
}
