//! A restart or a stop of a unit while systemd is at it; what it is made of is in [`super::unit`].

use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::machine::{StartFailure, StartOutcome};
use crate::sys::exit_status::ExitStatus;
use crate::text::phrase::{Phrase, phrase};

/// What a job waits for. Boxed, it needs the code of a task only once, which is of some size.
pub(super) type Work = Pin<Box<dyn Future<Output = StartOutcome> + Send>>;

/// The pid of the main process that the unit had before, and how that ended; once systemd has told.
pub(super) type Before = Arc<OnceLock<(i32, ExitStatus)>>;

/// A unit's restart, or stop, under way.
#[derive(Debug)]
pub struct Job {
    let_go: Arc<Notify>,
    before: Before,
    outcome: JoinHandle<StartOutcome>,
}

impl Job {
    /// Goes on with `work`, which waits for systemd, and which is who tells `before`.
    pub(super) fn begin(work: Work, before: Before) -> Self {
        let let_go = Arc::new(Notify::new());
        let released = let_go.clone();
        let outcome = tokio::spawn(async move {
            tokio::select! {
                biased;
                () = released.notified() => exited(None, ExitStatus::Code(0)),
                outcome = work => outcome,
            }
        });
        Self {
            let_go,
            before,
            outcome,
        }
    }

    pub(super) fn before(&self) -> Option<(i32, ExitStatus)> {
        self.before.get().copied()
    }

    pub(super) async fn ended(&mut self) -> StartOutcome {
        match (&mut self.outcome).await {
            Ok(outcome) => outcome,
            Err(error) => failure(phrase!(
                "waiting for systemd: %{error}",
                error = error.to_string()
            )),
        }
    }

    /// Ends the waiting here: the connection is closed. What systemd has queued is systemd's to finish.
    pub(super) fn let_go(&self) {
        self.let_go.notify_one();
    }
}

pub(super) fn exited(pid: Option<i32>, status: ExitStatus) -> StartOutcome {
    StartOutcome::Exited { pid, status }
}

pub(super) fn failure(why: Phrase) -> StartOutcome {
    StartOutcome::NotRun(StartFailure::Unit(why))
}
