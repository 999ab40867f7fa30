//! What central knows and shares among its tasks, and the handlers of what tills send.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::batch::Verdict;
use crate::clock;
use crate::config::Route;
use crate::database::Database;
use crate::feed::Feed;
use crate::fleet::{Fleet, Heard, Row};
use crate::health::{Counts, Engine, Health};
use crate::message::{self, Delivery, Refusal, State};
use crate::pages::Pages;
use crate::route::Handler;
use crate::store::{Failure, Placed, Stored};

/// Between two attempts to store a batch.
const WAIT: Duration = Duration::from_millis(500);

/// How often it is looked who has fallen silent, and how tills are is remembered.
const BEAT: Duration = Duration::from_secs(1);

/// How often old events are dropped, and how long until that is tried again.
const HOUSE_TIME: Duration = Duration::from_secs(3600);
const HOUSE_RETRY: Duration = Duration::from_secs(5);

/// How often it is looked which tills were enrolled, and how many of those that were never heard are shown.
const ENROLLED_TIME: Duration = Duration::from_secs(3);
const ENROLLED_MAX: i64 = 20_000;

/// All that central knows.
#[derive(Debug)]
pub(crate) struct Office {
    fleet: Mutex<Fleet>,
    /// All rows, worst first, of a generation of the fleet: many ask, few change.
    rows: Mutex<(u64, Arc<Vec<Arc<Row>>>)>,
    /// Tills whose state isn't remembered in the database yet.
    fresh: Mutex<BTreeSet<String>>,
    /// What was made of them.
    pub(crate) pages: Pages,
    pub(crate) feed: Feed,
    pub(crate) health: Arc<Health>,
    /// For what is written. Whoever reads has another, so that neither waits for the other.
    pub(crate) written: Database,
    pub(crate) read: Database,
}

impl Office {
    /// Knows nothing yet but what tills there should be.
    pub(crate) fn new(
        heartbeat: Duration,
        tills: &[String],
        database: &tokio_postgres::Config,
        routes: &[Route],
    ) -> Self {
        let mut health = Health::new(SystemTime::now());
        let counts = routes.iter().map(|route| {
            let handler = route.handler.first().map_or("", String::as_str);
            Arc::new(Counts::new(route.from.name(), handler))
        });
        health.routes = counts.collect();
        let health = Arc::new(health);
        let mut fleet = Fleet::new(heartbeat);
        for till in tills {
            fleet.expect(till);
        }
        let connection = || Database::new(database.clone(), Arc::clone(&health));
        Self {
            rows: Mutex::new((fleet.generation(), Arc::new(fleet.rows()))),
            fleet: Mutex::new(fleet),
            fresh: Mutex::default(),
            pages: Pages::default(),
            feed: Feed::new(),
            written: connection(),
            read: connection(),
            health,
        }
    }

    fn fleet(&self) -> MutexGuard<'_, Fleet> {
        self.fleet.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fresh(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A till's row, if there is such a till.
    pub(crate) fn row(&self, till: &str) -> Option<Arc<Row>> {
        self.fleet().row(till)
    }

    /// What a till has said last, if it was ever heard.
    pub(crate) fn heard(&self, till: &str) -> Option<Heard> {
        self.fleet().heard(till, clock::now())
    }

    /// All rows, worst first. When each was last heard may be older than it is.
    pub(crate) fn rows(&self) -> Arc<Vec<Arc<Row>>> {
        let fleet = self.fleet();
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        if rows.0 != fleet.generation() {
            *rows = (fleet.generation(), Arc::new(fleet.rows()));
        }
        Arc::clone(&rows.1)
    }

    /// All rows as they are now.
    pub(crate) fn present_rows(&self) -> Vec<Arc<Row>> {
        self.fleet().rows()
    }

    /// Sees to what time brings: who falls silent, what is to be remembered. Goes on for ever.
    pub(crate) async fn beat(&self) {
        let mut beats = interval(BEAT);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told = None;
        loop {
            beats.tick().await;
            let is_here = |engine| self.health.away_since(engine).is_none();
            let engines = (is_here(Engine::Broker), is_here(Engine::Database));
            if told.replace(engines) != Some(engines) {
                self.feed.engines(engines.0, engines.1);
            }
            let changed = self.fleet().tick(clock::now());
            for row in changed {
                self.feed.till(&row);
            }
            let fresh = std::mem::take(&mut *self.fresh());
            if fresh.is_empty() {
                continue;
            }
            let heard = self.fleet().all_heard(&fresh, clock::now());
            let remembered = self
                .written
                .once(async |store| store.remember(&heard).await);
            if let Err(Failure::Away(_)) = remembered.await {
                self.fresh().extend(fresh);
            }
        }
    }

    /// Sees to it that tills that were enrolled and never heard are shown. Goes on for ever.
    pub(crate) async fn expect_enrolled(&self) {
        let mut looks = interval(ENROLLED_TIME);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            let read = self
                .read
                .once(async |store| store.never_heard(ENROLLED_MAX).await);
            // While the database is away, all stays as it was.
            let Ok(names) = read.await else {
                continue;
            };
            let new = self.fleet().enrolled(&names);
            for row in new {
                self.feed.till(&row);
            }
        }
    }

    /// Recalls how tills were, and keeps the database in order. Goes on for ever.
    pub(crate) async fn keep_house(&self, retention: Duration) {
        let mut has_recalled = false;
        loop {
            let kept = self.written.once(async |store| {
                if !has_recalled {
                    let remembered = store.remembered().await?;
                    self.recall(remembered);
                    has_recalled = true;
                }
                store.keep_house(SystemTime::now(), retention).await
            });
            let wait = match kept.await {
                Ok(()) => HOUSE_TIME,
                Err(Failure::Away(_)) => HOUSE_RETRY,
                Err(Failure::Refused(why)) => {
                    mfe_common::say::say(
                        mfe_common::say::Level::Warning,
                        &format!("old events can't be dropped: {why}"),
                    );
                    HOUSE_TIME
                }
            };
            sleep(wait).await;
        }
    }

    fn recall(&self, remembered: Vec<(State, SystemTime)>) {
        let mut rows = Vec::new();
        let mut fleet = self.fleet();
        for (state, received) in remembered {
            let till = state.till.clone();
            fleet.restore(state, received, clock::now());
            rows.extend(fleet.row(&till));
        }
        drop(fleet);
        for row in rows {
            self.feed.till(&row);
        }
    }

    fn place(&self, delivery: &Delivery) -> Result<Placed, Refusal> {
        let event = message::event(delivery)?;
        let received = delivery.received.unwrap_or_else(SystemTime::now);
        let known = self
            .fleet()
            .office_time(&event.till, &event.boot, event.mono);
        // Nothing has happened after it was heard of.
        let (at, clock) = known.map_or((event.time, "till"), |at| (at.min(received), "office"));
        Ok(Placed {
            event,
            received,
            at,
            clock,
        })
    }

    /// Stores events, however long that takes, unless the database doesn't take them.
    async fn store(&self, events: &[Placed]) -> Result<(), Failure> {
        loop {
            match self
                .written
                .once(async |store| store.insert(events).await)
                .await
            {
                Ok(stored) => {
                    let (all, new) = (events.len() as u64, stored.len() as u64);
                    self.health.events.fetch_add(new, Ordering::Relaxed);
                    self.health
                        .redundant
                        .fetch_add(all - new, Ordering::Relaxed);
                    if self.feed.is_followed() {
                        for (row, place) in stored {
                            self.feed.event(&Stored::new(row, &events[place]));
                        }
                    }
                    return Ok(());
                }
                Err(Failure::Away(_)) => sleep(WAIT).await,
                Err(refused) => return Err(refused),
            }
        }
    }
}

/// Stores events.
#[derive(Debug)]
pub(crate) struct Events(pub(crate) Arc<Office>);

impl Handler<Delivery> for Events {
    async fn ready(&self) {
        self.0.written.wait().await;
    }

    async fn handle(&self, batch: Vec<Delivery>) -> Vec<Verdict> {
        let office = &self.0;
        let mut verdicts = vec![Verdict::Ack; batch.len()];
        let mut events = Vec::new();
        let mut which = Vec::new();
        for (n, delivery) in batch.iter().enumerate() {
            match office.place(delivery) {
                Ok(placed) => {
                    events.push(placed);
                    which.push(n);
                }
                Err(refusal) => {
                    office.health.refuse(refusal, &delivery.routing_key);
                    verdicts[n] = Verdict::Reject;
                }
            }
        }
        if events.is_empty() || office.store(&events).await.is_ok() {
            return verdicts;
        }
        // One that the database doesn't take isn't to keep the others from being stored.
        for (event, n) in events.chunks(1).zip(which) {
            if office.store(event).await.is_err() {
                office
                    .health
                    .refuse(Refusal::Unstorable, &batch[n].routing_key);
                verdicts[n] = Verdict::Reject;
            }
        }
        verdicts
    }
}

/// Takes note of how tills are. What is shown doesn't wait for the database.
#[derive(Debug)]
pub(crate) struct States(pub(crate) Arc<Office>);

impl Handler<Delivery> for States {
    async fn ready(&self) {}

    async fn handle(&self, batch: Vec<Delivery>) -> Vec<Verdict> {
        let office = &self.0;
        let verdicts = batch.iter().map(|delivery| match message::state(delivery) {
            Ok(state) => {
                let mut now = clock::now();
                now.wall = delivery.received.unwrap_or(now.wall);
                office.health.states.fetch_add(1, Ordering::Relaxed);
                office.fresh().insert(state.till.clone());
                let changed = office.fleet().apply(state, now);
                if let Some(row) = changed {
                    office.feed.till(&row);
                }
                Verdict::Ack
            }
            Err(refusal) => {
                office.health.refuse(refusal, &delivery.routing_key);
                Verdict::Reject
            }
        });
        verdicts.collect()
    }
}
