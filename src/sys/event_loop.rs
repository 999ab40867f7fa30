//! The event loop in which a command waits for others, and the service for everything.

use anyhow::Context;
use rust_i18n::t;
use tokio::runtime::{Builder, Runtime};

/// One of one thread: all that is done in it is short.
///
/// # Errors
/// When the kernel gives no descriptors for it.
pub(crate) fn event_loop() -> anyhow::Result<Runtime> {
    let mut builder = Builder::new_current_thread();
    let runtime = builder.enable_all().build();
    runtime.with_context(|| t!("errors.event_loop"))
}
