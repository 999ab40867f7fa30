//! A way to the database that is opened when it is needed, and again after it was away.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{sleep, timeout};
use tokio_postgres::Config;

use crate::health::{Engine, Health};
use crate::store::{Failure, Store};

/// Longer than the database gives itself for a statement: it doesn't answer at all.
const PATIENCE: Duration = Duration::from_secs(40);

/// Between two attempts.
const WAIT: Duration = Duration::from_millis(500);

/// One connection, for one at a time.
#[derive(Debug)]
pub(crate) struct Database {
    config: Config,
    store: Mutex<Option<Store>>,
    health: Arc<Health>,
}

impl Database {
    pub(crate) fn new(config: Config, health: Arc<Health>) -> Self {
        Self {
            config,
            store: Mutex::new(None),
            health,
        }
    }

    /// Does something with it, once.
    ///
    /// # Errors
    /// When it is away, or doesn't take what it was given.
    pub(crate) async fn once<T>(
        &self,
        what: impl AsyncFnOnce(&mut Store) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut slot = self.store.lock().await;
        let done = match self.opened(&mut slot).await {
            Ok(store) => {
                let done = timeout(PATIENCE, what(store)).await;
                done.unwrap_or_else(|_| Err(Failure::Away("no answer".into())))
            }
            Err(failure) => Err(failure),
        };
        if let Err(Failure::Away(why)) = &done {
            *slot = None;
            self.health.away(Engine::Database, why);
        }
        done
    }

    /// Waits until it is there.
    pub(crate) async fn wait(&self) {
        while self.once(async |_| Ok(())).await.is_err() {
            sleep(WAIT).await;
        }
    }

    async fn opened<'a>(
        &self,
        slot: &'a mut MutexGuard<'_, Option<Store>>,
    ) -> Result<&'a mut Store, Failure> {
        if slot.as_ref().is_some_and(Store::is_closed) {
            **slot = None;
        }
        if slot.is_none() {
            let opened = timeout(PATIENCE, Store::open(&self.config)).await;
            let opened = opened.map_err(|_| Failure::Away("no answer".into()))?;
            **slot = Some(opened.map_err(|error| Failure::Away(format!("{error:#}")))?);
            self.health.here(Engine::Database);
        }
        slot.as_mut()
            .ok_or_else(|| Failure::Away("not open".into()))
    }
}
