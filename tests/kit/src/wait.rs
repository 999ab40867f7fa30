//! Waiting for a condition, with a deadline; nothing here sleeps for its own sake.

use std::fmt::Debug;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Long enough for a machine under load; no test that passes ever waits this long.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Between two looks at a condition on this machine, which cost next to nothing.
const SHORT_PAUSE: Duration = Duration::from_millis(5);

/// The same where most of them run a command in a container.
const PAUSE: Duration = Duration::from_millis(40);

/// Waits until `attempt` gives a result, and fails the test if it doesn't.
#[track_caller]
pub fn eventually<T>(what: impl Debug, mut attempt: impl FnMut() -> Option<T>) -> T {
    match wait(DEADLINE, SHORT_PAUSE, || Ok(attempt())) {
        Ok(Some(result)) => result,
        _ => panic!("not within {DEADLINE:?}: {what:?}"),
    }
}

/// Asks repeatedly until there is an answer. An error of the question ends the waiting.
pub fn wait_for<T>(
    what: &str,
    patience: Duration,
    question: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    match wait(patience, PAUSE, question)? {
        Some(answer) => Ok(answer),
        None => bail!("waited {patience:?} in vain for this: {what}"),
    }
}

fn wait<T>(
    patience: Duration,
    pause: Duration,
    mut question: impl FnMut() -> Result<Option<T>>,
) -> Result<Option<T>> {
    let deadline = Instant::now() + patience;
    loop {
        let answer = question()?;
        if answer.is_some() || Instant::now() >= deadline {
            return Ok(answer);
        }
        thread::sleep(pause);
    }
}
