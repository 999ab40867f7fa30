//! Asks a program, which says by exit status 0 that all is well.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::no_answer;
use super::verdict::Finding;
use crate::proc::ProcessId;
use crate::sys::subprocess::{End, Subprocess};
use crate::text::phrase::phrase;

/// One check by a program.
#[derive(Debug)]
pub(super) struct Probe {
    /// The key of the process that is checked.
    key: Arc<str>,
    command: Vec<String>,
    /// The last run, until it is certainly gone.
    last: Option<Subprocess>,
}

impl Probe {
    pub(super) fn new(key: Arc<str>, command: &[String]) -> Self {
        Self {
            key,
            command: command.to_owned(),
            last: None,
        }
    }

    /// Runs the program once.
    pub(super) async fn probe(&mut self, subject: &[ProcessId], limit: Duration) -> Finding {
        let deadline = Instant::now() + limit;
        let program = self.command.first().map_or("", String::as_str);
        if let Some(last) = &mut self.last {
            if timeout(limit, last.gone()).await.is_err() {
                return Finding::Unwell(phrase!(
                    "the last run of %{program} can't be killed",
                    program = program
                ));
            }
            self.last = None;
        }
        let pid = subject.first().map(|id| id.pid.to_string());
        let variables = [
            ("MFE_PROCESS", Some(self.key.to_string())),
            ("MFE_PID", pid),
        ];
        let left = deadline.saturating_duration_since(Instant::now());
        let run = Subprocess::run(&self.command, &variables, Vec::new(), left);
        let outcome = self.last.insert(run).outcome().await;
        match &outcome.end {
            End::Exited(status) if status.is_success() => Finding::Well,
            End::Exited(status) => {
                let finding = phrase!(
                    "%{program} reports a problem (%{status})",
                    program = program,
                    status = status.phrase()
                );
                Finding::Unwell(match outcome.first_line() {
                    Some(said) => {
                        phrase!("%{finding}: %{said}", finding = finding, said = said)
                    }
                    None => finding,
                })
            }
            End::TimedOut => Finding::Unwell(no_answer(&program, limit)),
            End::NotRun(why) => Finding::Unknown(why.clone()),
        }
    }
}
