//! Supervises one process: looks when the machine wants to, does what the machine decides, and
//! publishes where things stand. It decides nothing itself.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use tokio::sync::{Notify, watch};
use tokio::time::sleep_until;
use tracing::debug;

use super::machine::{
    Action, Event, Look, Machine, Phase, Policy, Report, StartFailure, StartOutcome,
};
use super::message::message;
use crate::config::ProcessSettings;
use crate::hooks::Hooks;
use crate::launcher::StartProgram;
use crate::process::{ExitWatches, LookError, ProcessTable};
use crate::status::{LastRestart, ProcessStatus, State};

/// What a task has last published.
#[derive(Debug, Clone)]
pub struct Published {
    /// Where the process stands.
    pub status: ProcessStatus,
    /// When the task's next look is due; `None` before its first one.
    pub next_look: Option<Instant>,
}

/// The one thing a task shares with the service.
#[derive(Debug)]
pub struct Slot {
    published: Mutex<Published>,
    changed: Arc<Notify>,
}

impl Slot {
    /// A slot for a process that hasn't been looked at; `changed` is told of every change and of
    /// every finished cycle.
    #[must_use]
    pub fn new(process: &ProcessSettings, changed: Arc<Notify>) -> Self {
        let status = ProcessStatus {
            key: process.key.clone(),
            name: process.name.as_str().to_owned(),
            state: State::Unknown,
            pids: Vec::new(),
            since: SystemTime::now().into(),
            restarts: 0,
            last_restart: None,
            detail: Some("not looked at yet".into()),
        };
        let published = Mutex::new(Published {
            status,
            next_look: None,
        });
        Self { published, changed }
    }

    /// What was last published.
    #[must_use]
    pub fn get(&self) -> Published {
        self.lock().clone()
    }

    fn set(&self, published: Published, is_news: bool) {
        *self.lock() = published;
        if is_news {
            self.changed.notify_one();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Published> {
        self.published
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps one process running until the sender of `settings` is gone. `inherits_start` says whether
/// an earlier run of the service may have left a start in flight.
pub async fn supervise(
    settings: watch::Receiver<Arc<ProcessSettings>>,
    table: ProcessTable,
    slot: Arc<Slot>,
    hooks: Hooks,
    epoch: Instant,
    inherits_start: bool,
) {
    let mut supervisor = Supervisor::new(settings, table, slot, hooks, epoch);
    if inherits_start {
        supervisor.machine = supervisor.machine.inheriting_start();
    }
    supervisor.run().await;
}

struct Supervisor {
    settings: watch::Receiver<Arc<ProcessSettings>>,
    process: Arc<ProcessSettings>,
    table: ProcessTable,
    machine: Machine,
    watches: ExitWatches,
    start_program: Option<StartProgram>,
    /// Why the last look failed, if it did.
    look_error: Option<LookError>,
    published: Published,
    slot: Arc<Slot>,
    hooks: Hooks,
}

impl Supervisor {
    fn new(
        mut settings: watch::Receiver<Arc<ProcessSettings>>,
        table: ProcessTable,
        slot: Arc<Slot>,
        hooks: Hooks,
        epoch: Instant,
    ) -> Self {
        let process = settings.borrow_and_update().clone();
        let machine = Machine::new(policy(&process), epoch, Instant::now());
        Self {
            settings,
            process,
            table,
            machine,
            watches: ExitWatches::default(),
            start_program: None,
            look_error: None,
            published: slot.get(),
            slot,
            hooks,
        }
    }

    async fn run(mut self) {
        loop {
            let event = tokio::select! {
                biased;
                outcome = ended(&mut self.start_program) => {
                    self.start_program = None;
                    Event::StartEnded(outcome)
                }
                () = self.watches.any_exit() => Event::ExitNoticed,
                changed = self.settings.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    self.process = self.settings.borrow_and_update().clone();
                    Event::Reconfigured(policy(&self.process))
                }
                () = due(self.machine.next_look()) => self.look(),
            };
            self.handle(event);
        }
        if let Some(program) = self.start_program {
            program.reap();
        }
    }

    fn look(&mut self) -> Event {
        // Our own child, if it has just died, is reaped first: then it isn't met as a zombie, and
        // how it died is known.
        if let Some(outcome) = self
            .start_program
            .as_mut()
            .and_then(StartProgram::try_ended)
        {
            self.start_program = None;
            return Event::StartEnded(outcome);
        }
        let name = &self.process.name;
        let sighting = match self.machine.look() {
            Look::Whole => self.table.look(name),
            Look::Confirm => self.table.confirm(name, self.machine.alive()),
        };
        match sighting {
            Ok(sighting) => {
                self.look_error = None;
                Event::Looked(sighting)
            }
            Err(error) => {
                // The same failure, met at another process, keeps its words: it is said once.
                let before = self.look_error.take().filter(|before| *before == error);
                let error = self.look_error.insert(before.unwrap_or(error));
                Event::LookFailed(error.to_string())
            }
        }
    }

    fn handle(&mut self, event: Event) {
        let has_looked = matches!(event, Event::Looked(_) | Event::LookFailed(_));
        let mut events = VecDeque::from([event]);
        let mut reports = Vec::new();
        while let Some(event) = events.pop_front() {
            debug!(MFE_PROCESS = self.process.key, "{event:?}");
            for action in self.machine.handle(Instant::now(), event) {
                match action {
                    Action::Start => events.push_back(self.start()),
                    Action::StopStartProgram(stop) => {
                        if let Some(program) = &self.start_program {
                            program.stop(stop);
                        }
                    }
                    Action::Report(report) => reports.push(report),
                }
            }
        }
        if let (Phase::Up, Some(program)) = (self.machine.phase(), &self.start_program) {
            program.succeeded();
        }
        self.watches.set(self.machine.alive(), &mut self.table);
        for report in &reports {
            let start_program = self.start_program.as_ref().map(StartProgram::pid);
            let message = message(&self.process, report, start_program);
            message.record();
            self.hooks.tell(&message);
        }
        self.publish(&reports, has_looked);
    }

    fn start(&mut self) -> Event {
        match StartProgram::run(&self.process) {
            Ok(program) => {
                let pid = program.pid();
                self.start_program = Some(program);
                Event::StartProgramRuns { pid }
            }
            Err(failure) => Event::StartEnded(StartOutcome::NotRun(failure)),
        }
    }

    fn publish(&mut self, reports: &[Report], has_looked: bool) {
        let now = SystemTime::now();
        let mut status = ProcessStatus {
            state: state(&self.machine),
            pids: self.machine.alive().iter().map(|id| id.pid).collect(),
            restarts: self.machine.restarts(),
            detail: detail(&self.machine),
            ..self.published.status.clone()
        };
        if status.state != self.published.status.state {
            status.since = now.into();
        }
        for report in reports {
            if let Report::Restarted { cause, outage, .. } = report {
                status.last_restart = Some(LastRestart {
                    at: now.into(),
                    cause: cause.as_str().into(),
                    outage_ms: u64::try_from(outage.as_millis()).unwrap_or(u64::MAX),
                });
            }
        }
        // While a start is awaited, looks follow each other fast: only their outcome is news.
        let is_cycle = has_looked && *self.machine.phase() != Phase::Starting;
        let is_news = is_cycle || status != self.published.status;
        self.published = Published {
            status,
            next_look: Some(self.machine.next_look()),
        };
        self.slot.set(self.published.clone(), is_news);
    }
}

/// Waits for a look's time. One that is due at once isn't left to a timer, whose tick is 1 ms.
async fn due(time: Instant) {
    if Instant::now() < time {
        sleep_until(time.into()).await;
    }
}

async fn ended(program: &mut Option<StartProgram>) -> StartOutcome {
    match program {
        Some(program) => program.ended().await,
        None => std::future::pending().await,
    }
}

fn policy(process: &ProcessSettings) -> Policy {
    Policy {
        interval: process.interval,
        start_timeout: process.start_timeout,
    }
}

fn state(machine: &Machine) -> State {
    match machine.phase() {
        _ if machine.look_failure().is_some() => State::Unknown,
        Phase::New => State::Unknown,
        Phase::Up => State::Up,
        Phase::Starting => State::Starting,
        Phase::Stopping | Phase::Down => State::Down,
    }
}

fn detail(machine: &Machine) -> Option<String> {
    if let Some(why) = machine.look_failure() {
        return Some(why.to_owned());
    }
    match machine.start_failure() {
        Some(failure @ StartFailure::NotInstalled(_)) => Some(format!("waiting: {failure}")),
        Some(failure) => Some(failure.to_string()),
        None if *machine.phase() == Phase::Down => {
            Some("it dies again and again; the next start comes within one interval".into())
        }
        None => None,
    }
}
