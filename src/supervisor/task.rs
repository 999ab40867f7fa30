//! Supervises one process: looks when the machine wants to, does what the machine decides, and
//! publishes where things stand. It decides nothing itself.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rustix::process::Signal;
use tokio::sync::{Notify, mpsc, watch};
use tracing::debug;

use super::message::message;
use crate::config::{CheckAction, ProcessSettings};
use crate::events::{Kind, Message};
use crate::health::{Checks, Outcome, Verdict};
use crate::hooks::Hooks;
use crate::machine::{
    Action, Change, Event, Look, Machine, Memory, Pause, Phase, StartFailure, StartOutcome, Stop,
};
use crate::proc::{ExitWatches, LookError, ProcessId, ProcessTable, signal};
use crate::start::{StartProgram, UnitStop};
use crate::status::{LastRestart, ProcessStatus, State};
use crate::sys::host::Moment;
use crate::sys::timer::Alarm;
use crate::text::escape::list;
use crate::text::phrase::{Phrase, phrase};
use crate::text::timestamp::Timestamp;

/// For how long a restart is recent.
const RECENT: Duration = Duration::from_secs(24 * 60 * 60);

/// No more recent restarts are published.
const RECENT_MAX: usize = 100;

/// What a task has last published.
#[derive(Debug, Clone)]
pub struct Published {
    /// Where the process stands.
    pub status: ProcessStatus,
    /// When the task's next look is due; `None` before its first one.
    pub next_look: Option<Instant>,
    /// What the next run of the service has to know.
    pub memory: Arc<Memory>,
    /// When the process was brought back in the last 24 hours, the latest hundred.
    pub recent_restarts: Vec<Timestamp>,
}

/// What is known of a process beyond the service's end; [`crate::daemon`] keeps it in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    /// Its key in the configuration.
    pub key: String,
    /// Its name in /proc.
    pub name: String,
    /// What its machine has to know.
    pub memory: Memory,
    /// The last time it was brought back.
    pub last_restart: Option<LastRestart>,
    /// When it was brought back in the last 24 hours, the latest hundred.
    pub recent_restarts: Vec<Timestamp>,
}

/// The one thing a task shares with the service.
#[derive(Debug)]
pub struct Slot {
    published: Mutex<Published>,
    changed: Arc<Notify>,
}

impl Slot {
    /// A slot for a process that hasn't been looked at, with what an earlier run of the service has
    /// left to know; `changed` is told of every change and of every finished cycle.
    #[must_use]
    pub fn new(
        process: &ProcessSettings,
        remembered: Option<Remembered>,
        changed: Arc<Notify>,
    ) -> Self {
        let (memory, last_restart, recent_restarts) = remembered
            .map(|remembered| {
                let Remembered {
                    memory,
                    last_restart,
                    recent_restarts,
                    ..
                } = remembered;
                (memory, last_restart, recent_restarts)
            })
            .unwrap_or_default();
        let not_looked_at = phrase!("not looked at yet");
        let status = ProcessStatus {
            key: process.key.clone(),
            name: process.name().as_str().to_owned(),
            state: State::Unknown,
            pids: Vec::new(),
            duplicates: Vec::new(),
            since: SystemTime::now().into(),
            restarts: memory.restarts,
            next_start: None,
            paused_until: None,
            last_restart,
            detail: Some(not_looked_at.to_string()),
            wording: vec![not_looked_at],
        };
        let published = Mutex::new(Published {
            status,
            next_look: None,
            memory: Arc::new(memory),
            recent_restarts,
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

/// What a person wants of a process.
#[derive(Debug)]
pub enum Command {
    /// That it is left alone for a while.
    Pause(Pause),
    /// That it is watched over again.
    Resume,
    /// That it is ended and started anew.
    Restart,
}

/// Keeps one process running until the sender of `settings` is gone.
pub async fn supervise(
    settings: watch::Receiver<Arc<ProcessSettings>>,
    commands: mpsc::Receiver<Command>,
    table: ProcessTable,
    slot: Arc<Slot>,
    hooks: Hooks,
    epoch: Instant,
) {
    Supervisor::new(settings, commands, table, slot, hooks, epoch)
        .run()
        .await;
}

struct Supervisor {
    settings: watch::Receiver<Arc<ProcessSettings>>,
    commands: mpsc::Receiver<Command>,
    process: Arc<ProcessSettings>,
    table: ProcessTable,
    machine: Machine,
    /// For the machine's next look.
    alarm: Alarm,
    watches: ExitWatches,
    checks: Checks,
    /// The checks that couldn't be made, as was said.
    unknown_checks: HashSet<String>,
    start_program: Option<StartProgram>,
    unit_stop: Option<UnitStop>,
    next_start: Told,
    paused_until: Told,
    /// When the last look began.
    looked: Moment,
    /// Why the last look failed, if it did.
    look_error: Option<LookError>,
    published: Published,
    slot: Arc<Slot>,
    hooks: Hooks,
}

impl Supervisor {
    fn new(
        mut settings: watch::Receiver<Arc<ProcessSettings>>,
        commands: mpsc::Receiver<Command>,
        table: ProcessTable,
        slot: Arc<Slot>,
        hooks: Hooks,
        epoch: Instant,
    ) -> Self {
        let process = settings.borrow_and_update().clone();
        let checks = Checks::new(&process.key);
        let published = slot.get();
        let memory = Memory::clone(&published.memory);
        let machine = Machine::new(process.policy, epoch, Instant::now()).remembering(memory);
        Self {
            settings,
            commands,
            process,
            table,
            machine,
            alarm: Alarm::new(),
            watches: ExitWatches::default(),
            checks,
            unknown_checks: HashSet::new(),
            start_program: None,
            unit_stop: None,
            next_start: Told::default(),
            paused_until: Told::default(),
            looked: Moment::now(),
            look_error: None,
            published,
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
                verdict = self.checks.changed() => match self.judged(verdict) {
                    Some(event) => event,
                    None => continue,
                },
                () = unit_stopped(&mut self.unit_stop) => {
                    self.unit_stop = None;
                    Event::UnitStopEnded
                }
                changed = self.settings.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    self.process = self.settings.borrow_and_update().clone();
                    Event::Reconfigured(self.process.policy)
                }
                Some(command) = self.commands.recv() => match command {
                    Command::Pause(pause) => Event::Pause(pause),
                    Command::Resume => Event::Resume,
                    Command::Restart => Event::RestartAsked,
                },
                () = self.alarm.at(self.machine.next_look()) => self.look(),
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
        self.looked = Moment::now();
        let target = &self.process.target;
        let sighting = match self.machine.look() {
            Look::Whole => self.table.look(target),
            Look::Confirm => self.table.confirm(target, self.machine.alive()),
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
                Event::LookFailed(error.phrase())
            }
        }
    }

    fn handle(&mut self, event: Event) {
        let has_looked = matches!(event, Event::Looked(_) | Event::LookFailed(_));
        let mut events = VecDeque::from([event]);
        let mut changes = Vec::new();
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
                    Action::StopUnit => events.extend(self.stop_unit()),
                    Action::Signal(stop, ids) => events.extend(self.signal(stop, &ids)),
                    Action::Tell(change) => changes.push(change),
                }
            }
        }
        if let (Phase::Up, Some(program)) = (self.machine.phase(), &self.start_program) {
            program.succeeded();
        }
        self.watches.set(self.machine.alive(), &mut self.table);
        if self.set_checks() {
            let actions = self.machine.handle(Instant::now(), Event::ChecksBegin);
            changes.extend(actions.into_iter().filter_map(|action| match action {
                Action::Tell(change) => Some(change),
                _ => None,
            }));
        }
        for change in &changes {
            let start_program = self.start_program.as_ref().and_then(StartProgram::pid);
            self.tell(&message(&self.process, change, start_program));
        }
        self.publish(&changes, has_looked);
    }

    fn tell(&self, message: &Message) {
        message.record();
        self.hooks.tell(message);
    }

    /// Has the process's health checked while it is up. Says whether all checks have begun anew.
    fn set_checks(&mut self) -> bool {
        match (self.machine.checks_begin(), self.machine.first()) {
            (Some(begin), Some(first)) => {
                let settings = &self.process.checks;
                self.checks.set(settings, &[first], begin)
            }
            _ => {
                self.checks.clear();
                false
            }
        }
    }

    /// What a check's verdict means to the machine. A check that couldn't be made says nothing about
    /// the process: that is only told.
    fn judged(&mut self, verdict: Verdict) -> Option<Event> {
        let Verdict {
            check,
            action,
            outcome,
        } = verdict;
        let name = self.process.name();
        match outcome {
            Outcome::Failed(finding) => Some(Event::CheckFailed {
                check,
                finding,
                is_reason_to_restart: action == CheckAction::Restart,
            }),
            Outcome::Passed => {
                if self.unknown_checks.remove(&check) {
                    let text = format!("whether {name} is well is known again ({check})");
                    self.tell(&Message::of_process(
                        &self.process.key,
                        Kind::Restored,
                        None,
                        text,
                    ));
                }
                Some(Event::CheckPassed { check })
            }
            Outcome::Unknown(why) => {
                let text = format!("whether {name} is well can't be told ({check}): {why}");
                self.tell(&Message::of_process(
                    &self.process.key,
                    Kind::Degraded,
                    None,
                    text,
                ));
                self.unknown_checks.insert(check);
                None
            }
        }
    }

    fn start(&mut self) -> Event {
        self.unit_stop = None;
        match StartProgram::run(&self.process, self.looked) {
            Ok(program) => {
                self.start_program = Some(program);
                Event::StartProgramRuns
            }
            Err(failure) => Event::StartEnded(StartOutcome::NotRun(failure)),
        }
    }

    fn stop_unit(&mut self) -> Option<Event> {
        match UnitStop::begin(&self.process) {
            Some(stop) => {
                self.unit_stop = Some(stop);
                None
            }
            None => Some(Event::UnitStopEnded),
        }
    }

    fn signal(&mut self, stop: Stop, ids: &[ProcessId]) -> Vec<Event> {
        // SIGCONT lets a stopped process heed SIGTERM, as systemd does it (systemd.kill(5)).
        let signals: &[Signal] = match stop {
            Stop::Terminate => &[Signal::TERM, Signal::CONT],
            Stop::Kill => &[Signal::KILL],
        };
        let mut events = Vec::new();
        for id in ids {
            for number in signals {
                if let Err(error) = signal(*id, *number, &mut self.table) {
                    events.push(Event::NotSignalled(error.to_string()));
                }
            }
        }
        events
    }

    fn publish(&mut self, changes: &[Change], has_looked: bool) {
        let now = SystemTime::now();
        let wording = wording(&self.machine);
        let mut status = ProcessStatus {
            state: state(&self.machine),
            pids: self.machine.alive().iter().map(|id| id.pid).collect(),
            duplicates: self.machine.duplicates().collect(),
            restarts: self.machine.restarts(),
            next_start: self.next_start.at(self.machine.next_start(), now),
            paused_until: self
                .paused_until
                .at(self.machine.pause().map(|pause| pause.until), now),
            detail: in_english(&wording),
            wording,
            ..self.published.status.clone()
        };
        if status.state != self.published.status.state {
            status.since = now.into();
        }
        for change in changes {
            if let Change::Restarted { cause, outage, .. } = change {
                self.published.recent_restarts = recent(&self.published.recent_restarts, now);
                self.published.recent_restarts.push(now.into());
                status.last_restart = Some(LastRestart {
                    at: now.into(),
                    cause: cause.as_str().into(),
                    outage_ms: u64::try_from(outage.as_millis()).unwrap_or(u64::MAX),
                });
            }
        }
        // While a start or an end is awaited, looks follow each other fast: only their outcome is news.
        let is_awaiting = match self.machine.phase() {
            Phase::Starting => true,
            Phase::Replacing => !self.machine.is_stuck(),
            _ => false,
        };
        let is_cycle = has_looked && !is_awaiting;
        let is_news = is_cycle || status != self.published.status;
        let memory = self.machine.memory();
        if memory != *self.published.memory {
            self.published.memory = Arc::new(memory);
        }
        self.published.status = status;
        self.published.next_look = Some(self.machine.next_look());
        self.slot.set(self.published.clone(), is_news);
    }
}

/// A time to come, by the clock that decides and by the one that people read: worked out once, so
/// that it doesn't waver.
#[derive(Debug, Default)]
struct Told(Option<(Instant, Timestamp)>);

impl Told {
    fn at(&mut self, time: Option<Instant>, now: SystemTime) -> Option<Timestamp> {
        self.0 = time.map(|time| match self.0 {
            Some(told) if told.0 == time => told,
            _ => {
                let ahead = time.saturating_duration_since(Instant::now());
                (time, (now + ahead).into())
            }
        });
        self.0.map(|(_, told)| told)
    }
}

/// Those of the last day, and no more than the latest of them.
fn recent(restarts: &[Timestamp], now: SystemTime) -> Vec<Timestamp> {
    let is_recent = |time: &&Timestamp| time.age(now).is_none_or(|age| age < RECENT);
    let recent: Vec<Timestamp> = restarts.iter().filter(is_recent).copied().collect();
    let older = recent.len().saturating_sub(RECENT_MAX - 1);
    recent[older..].to_vec()
}

async fn ended(program: &mut Option<StartProgram>) -> StartOutcome {
    match program {
        Some(program) => program.ended().await,
        None => std::future::pending().await,
    }
}

async fn unit_stopped(stop: &mut Option<UnitStop>) {
    match stop {
        Some(stop) => stop.ended().await,
        None => std::future::pending().await,
    }
}

fn state(machine: &Machine) -> State {
    match machine.phase() {
        _ if machine.is_stuck() => State::Stuck,
        _ if machine.pause().is_some() => State::Paused,
        _ if machine.look_failure().is_some() => State::Unknown,
        Phase::New => State::Unknown,
        Phase::Up if machine.troubles().next().is_some() => State::Unhealthy,
        Phase::Up => State::Up,
        Phase::Replacing => State::Unhealthy,
        Phase::Starting => State::Starting,
        Phase::Backoff => State::Backoff,
        Phase::Stopping | Phase::Down => State::Down,
    }
}

/// What a person should know about the state, sentence by sentence.
fn wording(machine: &Machine) -> Vec<Phrase> {
    if let Some(why) = machine.look_failure() {
        return vec![why.clone()];
    }
    if let Some(pause) = machine.pause() {
        let reason = pause.reason.as_deref();
        return reason.map(Phrase::of_words).into_iter().collect();
    }
    let sentence = match machine.phase() {
        Phase::Replacing if machine.is_stuck() => {
            phrase!("it is to end and can't be killed; no other one is started")
        }
        Phase::Up | Phase::Replacing => return up_wording(machine),
        Phase::Backoff => phrase!("it dies again and again, so its next start waits"),
        _ if machine.is_dry_run() => phrase!("dry run: it would be started"),
        _ => match machine.start_failure() {
            None => return Vec::new(),
            Some(failure @ StartFailure::NotInstalled(_)) => {
                phrase!("waiting: %{why}", why = failure.phrase())
            }
            Some(failure) => failure.phrase(),
        },
    };
    vec![sentence]
}

fn up_wording(machine: &Machine) -> Vec<Phrase> {
    let troubles = machine.troubles().map(|(check, finding)| {
        phrase!(
            "%{check}: %{finding}",
            check = check,
            finding = finding.clone()
        )
    });
    let mut wording: Vec<Phrase> = troubles.collect();
    let duplicates: Vec<i32> = machine.duplicates().collect();
    if !duplicates.is_empty() {
        wording.push(phrase!(
            "runs twice: also as pid %{pids}",
            pids = list(duplicates)
        ));
    }
    if machine.phase() == Phase::Replacing {
        wording.push(phrase!("it is being restarted"));
    }
    wording
}

fn in_english(wording: &[Phrase]) -> Option<String> {
    let sentences: Vec<String> = wording.iter().map(Phrase::to_string).collect();
    (!sentences.is_empty()).then(|| sentences.join("; "))
}
