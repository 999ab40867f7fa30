//! Has systemd restart or stop a unit, and follows how its start fares; the calls are in
//! [`crate::systemd::manager`], and the unit's processes are systemd's, never ours.
//!
//! Nothing is asked for before it is known how the unit fares: a start that somebody else has made since
//! the process was found gone is followed as if it were our own. What systemd has accepted stays
//! accepted, whatever becomes of the connection (systemd closes it when it executes itself again,
//! systemctl(1), `daemon-reexec`).

use std::mem;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Looks;
use super::job::{Before, Job, exited, failure};
use crate::machine::StartOutcome;
use crate::proc::exit_of;
use crate::sys::exit_status::ExitStatus;
use crate::systemd::dbus::{Sockets, Trouble};
use crate::systemd::manager::{Manager, State, Unit, is_contradicted};
use crate::systemd::standby::{InUse, Standby};
use crate::text::phrase::{Phrase, phrase};

/// How long systemd may be out of reach.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// Before a start that it hasn't accepted has failed.
    not_accepted: Duration,
    /// Before a start that it has accepted is lost sight of.
    accepted: Duration,
}

const PATIENCE: Patience = Patience {
    not_accepted: Duration::from_secs(5),
    accepted: Duration::from_secs(60),
};

/// The pause before systemd is spoken to again once the connection is lost.
const PAUSE: Duration = Duration::from_millis(200);

/// The first pause between two questions how the unit fares; it doubles up to [`LAST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(2);

/// The longest such pause.
const LAST_PAUSE: Duration = Duration::from_millis(500);

/// A unit that is to be restarted.
#[derive(Debug)]
pub(super) struct Request {
    /// Its name.
    pub(super) unit: String,
    /// Whether it is an instance of our own. Its start tells nothing (Type=simple), so its main process,
    /// the start script, is followed to its end; of other people's units, the job is.
    pub(super) is_ours: bool,
    /// The looks on which it is grounded.
    pub(super) looks: Looks,
}

/// Begins to restart a unit. `start` wouldn't do: systemd believes that a unit whose start script has
/// ended well is still active.
pub(super) fn restart(request: Request, standby: &Standby) -> Job {
    begin_restart(request, standby, PATIENCE)
}

fn begin_restart(request: Request, standby: &Standby, patience: Patience) -> Job {
    let sockets = standby.sockets().clone();
    let (manager, in_use) = match Manager::on_standby(standby, &request.unit) {
        Some((manager, in_use)) => (Ok(manager), Some(in_use)),
        None => (Manager::connect(&sockets), None),
    };
    let before = Before::default();
    let restart = Restart {
        request,
        before: before.clone(),
        sockets,
        is_on_standby: in_use.is_some(),
        _in_use: in_use,
        patience,
        asked: Asked::No,
        was_reset: false,
        answered: Instant::now(),
    };
    Job::begin(Box::pin(restart.run(manager)), before)
}

/// Begins to stop a unit. Whether that helps is seen in the process table.
pub(super) fn stop(unit: &str) -> Job {
    let manager = Manager::connect(&Sockets::default());
    let unit = unit.to_owned();
    let work = async move {
        let stop = async {
            let mut manager = manager?;
            let job = manager.stop(&unit).await?;
            manager.done(&unit, &job).await
        };
        match stop.await {
            Ok(_) => exited(None, ExitStatus::Code(0)),
            Err(trouble) => failure(trouble.phrase()),
        }
    };
    Job::begin(Box::pin(work), Before::default())
}

/// Whether systemd has the restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    No,
    /// It was asked for it, and the answer is lost.
    Perhaps,
    Accepted,
}

/// A restart under way.
struct Restart {
    request: Request,
    before: Before,
    sockets: Sockets,
    /// Whether it is at it on the connection that was open before.
    is_on_standby: bool,
    /// Until it is over, if it has ever been.
    _in_use: Option<InUse>,
    patience: Patience,
    asked: Asked,
    /// Whether the unit's start limit was reset.
    was_reset: bool,
    /// When systemd last answered.
    answered: Instant,
}

/// What can still come of a question.
enum Step {
    Again,
    Over(StartOutcome),
}

impl Restart {
    async fn run(mut self, first: Result<Manager, Trouble>) -> StartOutcome {
        let mut manager = first;
        loop {
            let followed = match manager {
                Ok(mut manager) => self.follow(&mut manager).await,
                Err(trouble) => Err(trouble),
            };
            let why = match followed {
                Ok(outcome) => return outcome,
                Err(Trouble::Refused { words, .. }) => return self.failed(words),
                Err(Trouble::Lost(why)) => why,
            };
            let silence = self.answered.elapsed();
            match self.asked {
                Asked::No if silence >= self.patience.not_accepted => return self.failed(why),
                Asked::Perhaps | Asked::Accepted if silence >= self.patience.accepted => {
                    return StartOutcome::LostSight;
                }
                _ => {}
            }
            // One that was open before may have been closed long ago.
            if !mem::take(&mut self.is_on_standby) {
                sleep(PAUSE).await;
            }
            manager = Manager::connect(&self.sockets);
        }
    }

    /// Goes on with one connection, until the outcome is known.
    async fn follow(&mut self, manager: &mut Manager) -> Result<StartOutcome, Trouble> {
        let mut pause = FIRST_PAUSE;
        loop {
            let unit = manager.unit(&self.request.unit).await?;
            self.answered = Instant::now();
            self.take_in_who_was_first(&unit);
            if let Some(ended) = unit.ended_main().filter(|_| !self.is_there(&unit)) {
                // Only the first answer is about the one that was found gone.
                let _ = self.before.set(ended);
            }
            if unit.has_job {
                // Ours, of which we have lost sight, or somebody else's, which is let finish.
            } else if let Some(main) = unit.main.filter(|_| self.is_there(&unit)) {
                if !self.request.is_ours {
                    return Ok(exited(None, ExitStatus::Code(0)));
                }
                manager.listen_until(exit_of(main)).await;
                // systemd may not have heard of it yet.
            } else if self.is_there(&unit) {
                return Ok(self.outcome(&unit));
            } else {
                match self.ask(manager, &unit).await? {
                    Step::Over(outcome) => return Ok(outcome),
                    Step::Again if self.asked == Asked::Accepted => continue,
                    Step::Again => {}
                }
            }
            manager.listen_until(sleep(pause)).await;
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    /// The look may come some time after the death, and somebody else's start in between: then that
    /// start's main process, a script perhaps that is still to become the program, isn't to be ended.
    fn take_in_who_was_first(&mut self, unit: &Unit) {
        let looks = &mut self.request.looks;
        let alive = looks.alive.filter(|_| unit.main.is_some());
        if let Some(alive) = alive.filter(|alive| unit.started > alive.monotonic) {
            looks.gone = alive;
        }
    }

    /// Whether the unit's last start is younger than the look, whoever has asked for it. One that systemd
    /// will only make after a pause of the unit's own is none.
    fn is_there(&self, unit: &Unit) -> bool {
        unit.started > self.request.looks.gone.monotonic && unit.state != State::AwaitsRestart
    }

    /// How a start has ended that is over.
    fn outcome(&self, unit: &Unit) -> StartOutcome {
        let has_run = unit.main_started > self.request.looks.gone.monotonic;
        if self.request.is_ours && has_run {
            return exited(unit.last_main, unit.exit_status());
        }
        if unit.state == State::Failed {
            return self.failed(result("failed"));
        }
        exited(None, ExitStatus::Code(0))
    }

    /// Asks for the restart, now that nothing stands against it.
    async fn ask(&mut self, manager: &mut Manager, unit: &Unit) -> Result<Step, Trouble> {
        if self.asked == Asked::Accepted {
            // Its job is done, and what came of it isn't there.
            return Ok(Step::Over(self.failed(result("failed"))));
        }
        let name = &self.request.unit;
        // A unit of somebody else's may have a start limit, and be over it: then nothing but this makes
        // systemd start it again.
        if !self.request.is_ours && (unit.state == State::Failed || unit.is_over_limit) {
            manager.reset_failed(name).await?;
            self.was_reset = true;
        }
        self.asked = Asked::Perhaps;
        let job = match manager.restart(name).await {
            Ok(job) => job,
            Err(Trouble::Lost(why)) => return Err(Trouble::Lost(why)),
            Err(refusal) => {
                self.asked = Asked::No;
                if is_contradicted(&refusal) {
                    return Ok(Step::Again);
                }
                return Err(refusal);
            }
        };
        self.asked = Asked::Accepted;
        match manager.done(name, &job).await?.as_deref() {
            Some("done") | None => Ok(Step::Again),
            Some(words) => {
                let is_over_limit = !self.request.is_ours
                    && !self.was_reset
                    && manager.unit(name).await?.is_over_limit;
                if is_over_limit {
                    self.asked = Asked::No;
                    return Ok(Step::Again);
                }
                Ok(Step::Over(self.failed(result(words))))
            }
        }
    }

    fn failed(&self, why: Phrase) -> StartOutcome {
        failure(phrase!(
            "systemd couldn't restart %{unit}: %{why}",
            unit = self.request.unit.as_str(),
            why = why
        ))
    }
}

fn result(words: &str) -> Phrase {
    phrase!("the result of its job is %{result}", result = words)
}

#[cfg(test)]
mod tests;
