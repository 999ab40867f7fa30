//! Whether central's own engines are there, and what was counted; each change is said once.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use mfe_common::say::{Level, say};

use crate::batch::Verdict;
use crate::message::Refusal;
use crate::route::Ear;

/// An engine that central can't do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Engine {
    Broker,
    Database,
}

/// What was counted of a route.
#[derive(Debug)]
pub(crate) struct Counts {
    /// The kind of its source, and its handler.
    pub(crate) from: &'static str,
    pub(crate) handler: String,
    verdicts: [AtomicU64; Verdict::ALL.len()],
    /// How often its handler was started.
    pub(crate) starts: AtomicU64,
}

impl Counts {
    pub(crate) fn new(from: &'static str, handler: &str) -> Self {
        Self {
            from,
            handler: handler.to_owned(),
            verdicts: Default::default(),
            starts: AtomicU64::new(0),
        }
    }

    /// A message got a verdict.
    pub(crate) fn count(&self, verdict: Verdict) {
        self.verdicts[verdict as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How many messages got this one.
    pub(crate) fn verdicts(&self, verdict: Verdict) -> u64 {
        self.verdicts[verdict as usize].load(Ordering::Relaxed)
    }
}

/// What is known of the engines; at first that they aren't there.
#[derive(Debug)]
pub(crate) struct Health {
    /// Since when each is away, and whether that was said; those that are there aren't in it.
    away: Mutex<BTreeMap<Engine, (SystemTime, bool)>>,
    refused: [AtomicU64; Refusal::ALL.len()],
    /// Of the routes of the configuration, in its order.
    pub(crate) routes: Vec<Arc<Counts>>,
    /// Events that were stored, none twice.
    pub(crate) events: AtomicU64,
    /// Events that had been stored before.
    pub(crate) redundant: AtomicU64,
    pub(crate) states: AtomicU64,
    /// Those that follow /events, and those that were too slow for it.
    pub(crate) followers: AtomicU64,
    pub(crate) dropped: AtomicU64,
}

impl Health {
    pub(crate) fn new(now: SystemTime) -> Self {
        Self {
            away: Mutex::new(
                [Engine::Broker, Engine::Database]
                    .map(|engine| (engine, (now, false)))
                    .into(),
            ),
            refused: Default::default(),
            routes: Vec::new(),
            events: AtomicU64::new(0),
            redundant: AtomicU64::new(0),
            states: AtomicU64::new(0),
            followers: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        }
    }

    /// It is there.
    pub(crate) fn here(&self, engine: Engine) {
        let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        if away.remove(&engine).is_some() {
            let text = match engine {
                Engine::Broker => "connected to the broker",
                Engine::Database => "connected to the database",
            };
            say(Level::Info, text);
        }
    }

    /// It isn't, and why.
    pub(crate) fn away(&self, engine: Engine, why: &str) {
        let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, is_said) = away
            .entry(engine)
            .or_insert_with(|| (SystemTime::now(), false));
        if !std::mem::replace(is_said, true) {
            let text = match engine {
                Engine::Broker => {
                    format!("the broker can't be used, so nothing is heard of the tills: {why}")
                }
                Engine::Database => {
                    format!(
                        "the database can't be used, so events stay in the broker's queue: {why}"
                    )
                }
            };
            say(Level::Warning, &text);
        }
    }

    /// Since when an engine is away, if it is.
    pub(crate) fn away_since(&self, engine: Engine) -> Option<SystemTime> {
        let away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        away.get(&engine).map(|(since, _)| *since)
    }

    /// A message was refused.
    pub(crate) fn refuse(&self, refusal: Refusal, from: &str) {
        let counter = &self.refused[refusal as usize];
        let count = counter.fetch_add(1, Ordering::Relaxed) + 1;
        // The first, the tenth, the hundredth …: whoever sends nonsense doesn't fill the journal.
        if count == 10_u64.pow(count.ilog10()) {
            let from: String = from.chars().take(100).collect();
            say(
                Level::Warning,
                &format!("refused a message ({refusal}, {count} so far), the last from {from:?}"),
            );
        }
    }

    /// How many messages were refused for this reason.
    pub(crate) fn refused(&self, refusal: Refusal) -> u64 {
        self.refused[refusal as usize].load(Ordering::Relaxed)
    }
}

impl Ear for Health {
    fn here(&self) {
        self.here(Engine::Broker);
    }

    fn away(&self, why: &str) {
        self.away(Engine::Broker, why);
    }
}
