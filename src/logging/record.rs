//! Numbers each message, and hands it to the places that a report is made from: to [`super::journal`], if
//! somebody wants to read it, and to [`super::ring`], if it is an event.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::Context;

use super::journal::Journal;
use super::ring::Ring;
use super::{Stamp, is_wanted};
use crate::events;
use crate::sys::host;

/// The numbers of a run's messages.
pub(super) struct Numbers {
    run: String,
    latest: Mutex<Latest>,
}

#[derive(Default)]
struct Latest {
    /// The latest message's.
    seq: u64,
    /// The latest event's.
    event: u64,
}

impl Numbers {
    /// Those of a run of this id.
    pub(super) fn of(run: &str) -> Self {
        Self {
            run: run.to_owned(),
            latest: Mutex::default(),
        }
    }

    /// `MFE_RUN`, see [`host::new_id`].
    pub(super) fn run(&self) -> &str {
        &self.run
    }

    /// The latest event's.
    pub(super) fn latest(&self) -> u64 {
        self.lock().event
    }

    fn lock(&self) -> MutexGuard<'_, Latest> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes events to both places, and to the journal what else `asked` lets through.
pub(super) struct RecordLayer {
    pub(super) numbers: Arc<Numbers>,
    pub(super) journal: Option<Arc<Journal>>,
    pub(super) ring: Option<Arc<Ring>>,
    pub(super) asked: Targets,
}

impl<S: Subscriber> Layer<S> for RecordLayer {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let metadata = event.metadata();
        let (is_event, is_wanted) = (is_event(metadata), is_wanted(&self.asked, metadata));
        if !is_event && !is_wanted {
            return;
        }
        // Until it is on its way: none overtakes another one.
        let mut latest = self.numbers.lock();
        // An event that nobody wants to read has a number all the same: whoever reads the others knows that
        // it is missing.
        latest.seq += 1;
        let stamp = Stamp {
            run: self.numbers.run(),
            seq: latest.seq,
            others: latest.seq - latest.event - 1,
            at: host::since_boot().as_micros(),
        };
        if let (Some(journal), true) = (&self.journal, is_wanted) {
            journal.take(event, &stamp);
        }
        if is_event {
            latest.event = latest.seq;
            if let Some(ring) = &self.ring {
                ring.add(event, &stamp);
            }
        }
    }
}

/// Whether it is what a report may be about.
fn is_event(metadata: &Metadata<'_>) -> bool {
    metadata.target() == events::TARGET
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::Value;
    use tracing_subscriber::layer::SubscriberExt;

    use super::super::ring::{FILES, folder};
    use super::*;
    use crate::events::{Kind, Message};

    #[test]
    fn without_a_journal_and_whatever_is_asked_for_each_event_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let layer = RecordLayer {
            numbers: Arc::new(Numbers::of("00ab")),
            journal: None,
            ring: Some(Arc::new(Ring::new(directory.path()))),
            asked: "error".parse().unwrap(),
        };
        let before = host::since_boot().as_micros();
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, || {
            Message::of_service(Kind::Startup, "words").record();
            tracing::error!("no event, and numbered");
            tracing::info!("nobody reads it");
            Message {
                cause: Some("killed"),
                outage_ms: Some(12),
                ..Message::of_process("a\n\"", Kind::Restarted, Some(7), "words")
            }
            .record();
        });
        let after = host::since_boot().as_micros();
        let text = fs::read_to_string(folder(directory.path()).join(FILES[0])).unwrap();
        assert!(!text.contains("words"), "the journal has those: {text}");
        let lines: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let [startup, restarted] = lines.as_slice() else {
            panic!("not two lines: {text}");
        };
        let of = |line: &Value, name: &str| line[name].as_str().map(str::to_owned);
        assert_eq!(of(startup, "MFE_EVENT").unwrap(), "startup");
        assert_eq!(of(startup, "_MACHINE_ID").unwrap(), host::machine_id());
        assert_eq!(of(startup, "MFE_PROCESS"), None);
        assert_eq!(of(startup, "MFE_OTHERS"), None);
        for (name, value) in [
            ("MFE_EVENT", "restarted"),
            ("MFE_PROCESS", "a\n\""),
            ("MFE_PID", "7"),
            ("MFE_CAUSE", "killed"),
            ("MFE_OUTAGE_MS", "12"),
            ("MFE_RUN", "00ab"),
            ("MFE_SEQ", "3"),
            ("MFE_OTHERS", "1"),
        ] {
            assert_eq!(of(restarted, name).as_deref(), Some(value), "{name}");
        }
        let at: u128 = of(restarted, "MFE_AT").unwrap().parse().unwrap();
        assert!(before <= at && at <= after, "{at}");
    }
}
