//! Waiting for a condition, with a deadline; nothing here sleeps for its own sake.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Between two looks at a condition.
const PAUSE: Duration = Duration::from_millis(40);

/// Asks again and again until there is an answer. An error of the question ends the waiting.
pub(crate) fn wait_for<T>(
    what: &str,
    patience: Duration,
    mut question: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(answer) = question()? {
            return Ok(answer);
        }
        if Instant::now() >= deadline {
            bail!("waited {patience:?} in vain for this: {what}");
        }
        thread::sleep(PAUSE);
    }
}
