//! Keeps a place that messages go to from ever holding up the service: what it can't take at once is
//! left out, counted, and the count is told there as soon as it takes messages again. Where the
//! places are and what is written there is decided in [`super`].

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::events::{Kind, Message};

/// A place that messages go to, and that may be full.
pub(super) trait Outlet: Send + Sync {
    /// What it is called in messages.
    const NAME: &str;

    /// Whether a message could be written now without waiting.
    fn has_room(&self) -> bool;
}

/// The way to an outlet.
pub(super) struct Gate<O> {
    outlet: O,
    missing: AtomicU64,
}

impl<O: Outlet> Gate<O> {
    pub(super) fn new(outlet: O) -> Self {
        Self {
            outlet,
            missing: AtomicU64::new(0),
        }
    }

    pub(super) fn outlet(&self) -> &O {
        &self.outlet
    }
}

/// What all gates have in common.
pub(super) trait Catch: Send + Sync {
    /// Tells how many messages are missing, if any are and there is room to say so.
    fn catch_up(&self);
}

impl<O: Outlet> Catch for Gate<O> {
    fn catch_up(&self) {
        if self.missing.load(Ordering::Relaxed) == 0 || !self.outlet.has_room() {
            return;
        }
        let missing = self.missing.swap(0, Ordering::Relaxed);
        let text = format!(
            "{} took no messages for a while; missing there before this one: {missing}",
            O::NAME
        );
        Message::of_service(Kind::Degraded, text).record();
        // The room may have gone to somebody else: then this message was left out as well.
        if self.missing.load(Ordering::Relaxed) > 0 {
            self.missing.store(missing, Ordering::Relaxed);
        }
    }
}

/// A layer behind its gate. Only events reach it, for nothing here opens spans.
pub(super) struct Gated<O, L> {
    pub(super) gate: Arc<Gate<O>>,
    pub(super) layer: L,
}

impl<S, O, L> Layer<S> for Gated<O, L>
where
    S: Subscriber,
    O: Outlet + 'static,
    L: Layer<S>,
{
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        self.gate.catch_up();
        if self.gate.outlet.has_room() {
            self.layer.on_event(event, context);
        } else {
            self.gate.missing.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Every gate there is: the subscriber that has them is the whole process's, too.
static GATES: OnceLock<Vec<Arc<dyn Catch>>> = OnceLock::new();

pub(super) fn know(gates: Vec<Arc<dyn Catch>>) {
    // The subscriber can be set only once, too, and that comes first.
    let _ = GATES.set(gates);
}

/// Tells what is missing wherever messages were left out and are taken again. To be called now and
/// then: without this it would wait for the next message, which may be days away.
pub fn catch_up() {
    for gate in GATES.get().into_iter().flatten() {
        gate.catch_up();
    }
}
