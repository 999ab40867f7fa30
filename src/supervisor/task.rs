//! Supervises one process: looks when the machine wants to, does what the machine decides, and tells the
//! service where things stand ([`super::update`]). It decides nothing itself.

use std::collections::{HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use mfe_common::timestamp::Timestamp;
use rustix::process::{Signal, geteuid};
use tokio::sync::{mpsc, watch};
use tracing::debug;

use super::message::{message, named};
use super::output::Output;
use super::screen::AtScreen;
use super::update::{Standing, Updates};
use super::wording::{in_english, state, waiting_for, wording};
use crate::config::{CheckAction, ProcessSettings, Start};
use crate::events::{Kind, Message};
use crate::health::{Checks, Outcome, Verdict};
use crate::hooks::Hooks;
use crate::logging::Held;
use crate::machine::{
    Action, Besides, Change, Child, Event, Look, Machine, Memory, OomKill, Origin, Phase, Seat,
    StartFailure, StartOutcome, Stop,
};
use crate::proc::{
    ExitWatches, Identity, Left, LookError, ProcessId, ProcessTable, Readings, Sighting, signal,
};
use crate::start::{
    self, InSession, Lineage, Looks, StartProgram, UnitStop, can_restart, command_id,
};
use crate::status::{LastRestart, ProcessStatus, State};
use crate::sys::host::Moment;
use crate::sys::timer::Alarm;
use crate::systemd::control_group::MOUNTED;
use crate::systemd::memory::OomKills;
use crate::systemd::standby::Standby;
use crate::text::phrase::{Phrase, phrase};

/// A machine that is merely busy makes a look less late than this.
const OVERDUE: Duration = Duration::from_secs(1);

/// For how long a restart is recent.
const RECENT: Duration = Duration::from_secs(24 * 60 * 60);

/// The kernel tells start times in hundredths of a second on every machine that Debian runs on.
const MILLISECONDS_PER_TICK: u128 = 10;

/// A look that takes so long has many processes of the name to look at.
const LONG_LOOK: Duration = Duration::from_millis(5);

/// How many times as long as such a look took it is until the next end of a process is looked at.
const REST: u32 = 4;

/// A look that takes longer is told as one that has failed, and goes on.
const UNFINISHED_MAX: Duration = Duration::from_secs(10);

/// No more pids are published, but how many there are.
const PIDS_MAX: usize = 10;

/// No more recent restarts are published.
const RECENT_MAX: usize = 100;

/// How a task and the service talk.
#[derive(Debug)]
pub struct Channels {
    /// What is to be watched, and how: the last counts. The task ends with its sender.
    pub settings: watch::Receiver<Arc<ProcessSettings>>,
    /// What a person wants of the process, and what the service knows of the machine.
    pub events: mpsc::Receiver<Event>,
    /// Where the process stands.
    pub updates: Updates,
}

/// What all tasks have in common.
#[derive(Debug, Clone)]
pub struct Common {
    /// Of /proc.
    pub readings: Readings,
    /// The way to systemd.
    pub standby: Standby,
    /// Whom changes are told.
    pub hooks: Hooks,
    /// From when cycles are counted.
    pub epoch: Instant,
    /// Where the service publishes its settings.
    pub runtime_dir: PathBuf,
}

/// Keeps one process running, from where it stands, until the sender of its settings is gone.
pub async fn supervise(channels: Channels, standing: Standing, common: Common) {
    Supervisor::new(channels, standing, common).run().await;
}

struct Supervisor {
    settings: watch::Receiver<Arc<ProcessSettings>>,
    events: mpsc::Receiver<Event>,
    updates: Updates,
    process: Arc<ProcessSettings>,
    table: ProcessTable,
    readings: Readings,
    standby: Standby,
    machine: Machine,
    /// For the machine's next look.
    alarm: Alarm,
    watches: ExitWatches,
    checks: Checks,
    /// The checks that couldn't be made, as was said.
    unknown_checks: HashSet<String>,
    start_program: Option<StartProgram>,
    /// What our last start has brought forth.
    lineage: Option<Lineage>,
    unit_stop: Option<UnitStop>,
    screen: AtScreen,
    runtime_dir: PathBuf,
    since: Told,
    next_start: Told,
    paused_until: Told,
    /// On what the next start is grounded: the last looks.
    looks: Looks,
    /// When the last look ended and how long it took.
    look_took: (Instant, Duration),
    /// Why the last look failed, if it did.
    look_error: Option<LookError>,
    /// Since when a look has had more to judge than was judged at once, and whether that was told.
    unfinished: Option<(Instant, bool)>,
    /// The first one, and whom the kernel kills where it runs.
    oom_kills: Option<(ProcessId, Option<OomKills>)>,
    /// The first one, when it was last asked whose it is, and the answer.
    identified: Option<(ProcessId, Option<Identity>)>,
    output: Output,
    /// As the service was told last.
    standing: Standing,
    /// Whether the service knows of the first look.
    has_reported: bool,
    hooks: Hooks,
}

impl Supervisor {
    fn new(channels: Channels, standing: Standing, common: Common) -> Self {
        let Channels {
            mut settings,
            events,
            updates,
        } = channels;
        let Common {
            readings,
            standby,
            hooks,
            epoch,
            runtime_dir,
        } = common;
        let process = settings.borrow_and_update().clone();
        let checks = Checks::new(&process.key);
        let memory = Memory::clone(&standing.memory);
        let rules = &standing.rules;
        let is_other_target = !rules.is_empty() && *rules != process.target.rules();
        let machine = Machine::new(process.policy, epoch, Instant::now())
            .remembering(memory, is_other_target);
        Self {
            settings,
            events,
            updates,
            table: ProcessTable::new("/proc"),
            readings,
            standby,
            machine,
            alarm: Alarm::new(),
            watches: ExitWatches::new(epoch),
            checks,
            unknown_checks: HashSet::new(),
            start_program: None,
            lineage: None,
            unit_stop: None,
            screen: AtScreen::new(&process),
            runtime_dir,
            process,
            since: Told::default(),
            next_start: Told::default(),
            paused_until: Told::default(),
            looks: Looks {
                gone: Moment::now(),
                alive: None,
            },
            look_took: (Instant::now(), Duration::ZERO),
            look_error: None,
            unfinished: None,
            oom_kills: None,
            identified: None,
            output: Output::default(),
            standing,
            has_reported: false,
            hooks,
        }
    }

    async fn run(mut self) {
        loop {
            let interval = self.process.policy.interval;
            let events = tokio::select! {
                biased;
                outcome = ended(&mut self.start_program) => {
                    self.start_program = None;
                    start::is_over(&self.process);
                    self.start_ended(outcome)
                }
                () = any_exit(&mut self.watches, interval, self.look_took) => self.look().await,
                verdict = self.checks.changed() => match self.judged(verdict) {
                    Some(event) => vec![self.obstacle(), event],
                    None => continue,
                },
                () = unit_stopped(&mut self.unit_stop) => {
                    self.unit_stop = None;
                    vec![Event::UnitStopEnded]
                }
                changed = self.settings.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    let settings = self.settings.borrow_and_update().clone();
                    let before = std::mem::replace(&mut self.process, settings);
                    self.screen.configured(&self.process);
                    vec![Event::Reconfigured {
                        policy: self.process.policy,
                        is_other_target: before.target != self.process.target,
                    }]
                }
                () = self.screen.changed() => match self.at_screen() {
                    Some(event) => vec![event],
                    None => continue,
                },
                Some(event) = self.events.recv() => vec![self.obstacle(), event],
                () = std::future::ready(()), if self.unfinished.is_some() => self.look().await,
                () = self.alarm.at(self.machine.next_look()) => self.look().await,
            };
            // Somebody may run so many processes of the name that a look takes several turns: that is no
            // reason for systemd to think that the service hangs, or isn't ready.
            if self.unfinished.is_some() {
                let is_news = !std::mem::replace(&mut self.has_reported, true);
                self.updates.send(Instant::now(), None, is_news).await;
            }
            if !events.is_empty() {
                let (standing, is_news) = self.handle(events);
                let next_look = self.machine.next_look();
                self.updates.send(next_look, standing, is_news).await;
            }
            let (ended, took) = self.look_took;
            if took >= LONG_LOOK && ended.elapsed() < took {
                // The others have their turn, whatever is due here already.
                tokio::task::yield_now().await;
            }
        }
        if let Some(program) = self.start_program {
            program.reap();
        }
    }

    async fn look(&mut self) -> Vec<Event> {
        // Our own child, if it has just died, is reaped first: then it isn't met as a zombie, and
        // how it died is known.
        if let Some(outcome) = self
            .start_program
            .as_mut()
            .and_then(StartProgram::try_ended)
        {
            self.start_program = None;
            return self.start_ended(outcome);
        }
        // Whoever is at the screen says whose the program is.
        if let Some(event) = self.at_screen() {
            return vec![event];
        }
        self.looks.gone = Moment::now();
        let begin = Instant::now();
        let target = self.screen.target(&self.process, self.machine.seat());
        let known = self.machine.known();
        let confirmed = match self.machine.look() {
            Look::Whole => None,
            Look::Confirm => self.table.confirm(target, &known).transpose(),
        };
        let mut took = begin.elapsed();
        let sighting = if let Some(confirmed) = confirmed {
            confirmed
        } else {
            match self.readings.with(&target.name).await {
                Ok(reading) => {
                    self.looks.gone = reading.since;
                    let begin = Instant::now();
                    let sighting = self.table.look_for(target, &known, &reading);
                    took = begin.elapsed() + reading.took();
                    sighting
                }
                Err(error) => Err(error),
            }
        };
        self.look_took = (Instant::now(), took);
        let unfinished = self.unfinished.take();
        match sighting {
            Err(error) if error.is_unfinished() => {
                let (since, was_told) = unfinished.unwrap_or((Instant::now(), false));
                let is_told = was_told || since.elapsed() >= UNFINISHED_MAX;
                self.unfinished = Some((since, is_told));
                let is_news = is_told && !was_told;
                let failed = is_news.then(|| Event::LookFailed(error.phrase()));
                failed.into_iter().collect()
            }
            Ok(sighting) => {
                self.look_error = None;
                if !sighting.alive.is_empty() {
                    self.looks.alive = Some(self.looks.gone);
                }
                let asks_for_command = self.machine.asks_for_command();
                let program = self.start_program.as_ref();
                let mut besides = Besides {
                    at: Moment::now().ticks,
                    left: None,
                    command: asks_for_command.then(|| command_id(&self.process)),
                    watched: self.watches.seen_alive(self.is_overdue()),
                    had_ended: program.and_then(StartProgram::before),
                    oom_kill: self.oom_kill(&sighting),
                    company: None,
                };
                // One that lives says that nothing is in flight.
                if sighting.alive.is_empty() || self.machine.has_second_copies() {
                    besides.left = self.left();
                }
                if sighting.alive.is_empty() && self.machine.asks_for_company() {
                    besides.company = self.screen.company();
                }
                let mut events = Vec::new();
                if self.machine.may_be_replaced() {
                    events.push(self.obstacle());
                }
                let strays = self.screen.strays(&self.process, &sighting);
                events.extend(strays.map(Event::Strays));
                events.push(Event::Looked(sighting, besides));
                events
            }
            Err(error) => {
                // The same failure, met at another process, keeps its words: it is said once.
                let before = self.look_error.take().filter(|before| *before == error);
                let error = self.look_error.insert(before.unwrap_or(error));
                vec![Event::LookFailed(error.phrase())]
            }
        }
    }

    /// Whether the kernel has killed one of the program because memory ran out. That is read when one of
    /// those has ended that were known to live, or when there are others.
    fn oom_kill(&mut self, sighting: &Sighting) -> Option<OomKill> {
        let process = &self.process;
        let (_, kills) = self.oom_kills.as_mut()?;
        let kills = kills.as_mut()?;
        let known = self.machine.alive();
        let is_alive = |id: &ProcessId| sighting.alive.iter().any(|alive| alive.id == *id);
        if known.iter().all(is_alive) || !kills.are_more() {
            return None;
        }
        let unit = start::unit_name(Path::new("/"), process);
        Some(if kills.is_of_unit(&unit) {
            OomKill::OfUnit
        } else {
            OomKill::Beside
        })
    }

    /// Has the kernel's kills counted where the first process runs.
    fn count_oom_kills(&mut self) {
        let first = self.machine.first();
        let first = first.filter(|_| self.machine.phase() == Phase::Up);
        let counted = self.oom_kills.as_ref().map(|(id, _)| *id);
        // How the last one has ended may be asked more than once.
        if let Some(first) = first.filter(|first| counted != Some(*first)) {
            let kills = OomKills::of(first.pid, Path::new(MOUNTED), Path::new("/proc"));
            self.oom_kills = Some((first, kills));
        }
    }

    /// Who is at the screen, if that is another one than the machine knows.
    fn at_screen(&mut self) -> Option<Event> {
        let seat = self.screen.news(&self.process, self.machine.seat())?;
        Some(Event::AtScreen(seat))
    }

    /// Whether this look should have been made long ago: the service has stood still, and what the kernel
    /// had to tell meanwhile is told late.
    fn is_overdue(&self) -> bool {
        Instant::now() > self.machine.next_look() + OVERDUE
    }

    /// What is left of the start in flight, if that matters: ours, or one that an earlier run of the
    /// service may have made.
    fn left(&mut self) -> Option<Left> {
        let Origin { since, child } = self.machine.asks_what_is_left()?;
        let not_up_since = self.machine.not_up_since().unwrap_or_default();
        let process = &self.process;
        let lineage = self.lineage.get_or_insert_with(|| {
            let now = Moment::now().ticks;
            let timeout = process.policy.start_timeout.as_millis() / MILLISECONDS_PER_TICK;
            let earliest = now.saturating_sub(u64::try_from(timeout).unwrap_or(u64::MAX));
            let since = since.unwrap_or(earliest.max(not_up_since));
            Lineage::inherited(process, since, child.map(Child::id))
        });
        let is_decisive = self.machine.decides_by_what_is_left(Instant::now());
        (is_decisive || !lineage.is_of_unit()).then(|| lineage.left())
    }

    fn start_ended(&self, outcome: StartOutcome) -> Vec<Event> {
        let is_failure = matches!(
            outcome,
            StartOutcome::Exited { status, .. } if !status.is_success()
        );
        let is_failure = is_failure && self.machine.phase() == Phase::Starting;
        let has_unlinked = |lineage: &Lineage| is_failure && lineage.has_unlinked();
        let elsewhere = self.lineage.as_ref().is_some_and(has_unlinked);
        let elsewhere = elsewhere.then_some(Event::MayHaveGoneElsewhere);
        elsewhere
            .into_iter()
            .chain([Event::StartEnded(outcome)])
            .collect()
    }

    /// Does what the machine decides on these, and gives what the service is to know of it: where the process
    /// stands, if that has changed, and whether that is news.
    fn handle(&mut self, events: Vec<Event>) -> (Option<Box<Standing>>, bool) {
        let is_look = |event: &Event| matches!(event, Event::Looked(..) | Event::LookFailed(_));
        let has_looked = events.iter().any(is_look);
        let mut events = VecDeque::from(events);
        let mut changes = Vec::new();
        self.output.handles();
        while let Some(event) = events.pop_front() {
            debug!(MFE_PROCESS = self.process.key, "{event:?}");
            for action in self.machine.handle(Instant::now(), event) {
                match action {
                    Action::Start => events.push_back(self.start()),
                    Action::StopStartProgram(stop) => events.extend(self.stop_program(stop)),
                    Action::StopUnit => events.extend(self.stop_unit()),
                    Action::Signal(stop, ids) => events.extend(self.signal(stop, &ids)),
                    Action::Tell(change) => changes.push(change),
                }
            }
        }
        if let (Phase::Up, Some(program)) = (self.machine.phase(), &self.start_program) {
            program.succeeded();
        }
        self.watches.set(&self.machine.watched(), &mut self.table);
        self.count_oom_kills();
        if let Some(event) = self.identity() {
            let actions = self.machine.handle(Instant::now(), event);
            changes.extend(told(actions));
        }
        if self.set_checks() {
            let actions = self.machine.handle(Instant::now(), Event::ChecksBegin);
            changes.extend(told(actions));
        }
        for change in &changes {
            let start_program = self.start_program.as_ref().and_then(StartProgram::pid);
            let who = self.named(change);
            let message = message(&self.process, change, start_program, &who);
            let held = self.output.hold(change, &self.process);
            self.tell(&message, held.as_deref());
        }
        let first = self.machine.first();
        if let Some(first) = first.filter(|_| self.machine.phase() == Phase::Up) {
            self.output.is_up(first, &self.process);
        }
        self.stand(&changes, has_looked)
    }

    /// Those whom a message names.
    fn named(&mut self, change: &Change) -> Vec<Identity> {
        let alive = self.machine.alive();
        let named = named(change).into_iter();
        let ids = named.filter_map(|pid| alive.iter().find(|id| id.pid == pid));
        ids.filter_map(|id| match &self.identified {
            Some((known, who)) if known == id && who.is_some() => who.clone(),
            _ => self.table.identify(*id),
        })
        .collect()
    }

    /// Whose the first process is and what it runs, when it is another one than before; unless the rules say
    /// what it has to be.
    fn identity(&mut self) -> Option<Event> {
        let first = self.machine.first();
        let first = first.filter(|_| self.machine.phase() == Phase::Up);
        let known = self.identified.as_ref().map(|(id, _)| *id);
        if known == first {
            return None;
        }
        self.identified = first.map(|first| (first, None));
        if self.process.target.names_one() {
            return None;
        }
        let first = first?;
        let who = self.table.identify(first)?;
        self.identified = Some((first, Some(who.clone())));
        let is_foreign = is_foreign(&who, &self.process.start);
        Some(Event::Identified { who, is_foreign })
    }

    fn tell_in_words(&self, kind: Kind, words: Phrase) {
        let (key, text) = (&self.process.key, words.to_string());
        let message = Message::of_process(key, kind, None, text).with_detail(words);
        self.tell(&message, None);
    }

    /// Tells it to all at once, but to the journal as soon as it isn't held any more.
    fn tell(&self, message: &Message, held: Option<&Held>) {
        match held {
            Some(held) => held.record(|| message.record()),
            None => message.record(),
        }
        self.hooks.tell(message);
    }

    /// Has the process's health checked while it is up. Says whether all checks have begun again.
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
                    self.tell_in_words(
                        Kind::Restored,
                        phrase!(
                            "it is known again whether %{name} is healthy (%{check})",
                            name = name.as_str(),
                            check = check.as_str()
                        ),
                    );
                }
                Some(Event::CheckPassed { check })
            }
            Outcome::Unknown(why) => {
                self.tell_in_words(
                    Kind::Degraded,
                    phrase!(
                        "can't tell whether %{name} is healthy (%{check}): %{why}",
                        name = name.as_str(),
                        check = check.as_str(),
                        why = why
                    ),
                );
                self.unknown_checks.insert(check);
                None
            }
        }
    }

    /// Why nothing could be started now, as far as it is known without trying.
    fn obstacle(&self) -> Event {
        let obstacle = match self.machine.seat() {
            Seat::Nobody | Seat::Unclear => Some(StartFailure::NobodyLoggedIn),
            _ => can_restart(&self.process).err(),
        };
        Event::Obstacle(obstacle)
    }

    fn start(&mut self) -> Event {
        self.unit_stop = None;
        self.output.starts();
        let since = Moment::now().ticks;
        let place = match self.machine.seat() {
            Seat::Taken(sitting) => Some(InSession {
                id: &sitting.id,
                runtime_dir: &self.runtime_dir,
            }),
            _ => None,
        };
        match StartProgram::run(&self.process, self.looks, place.as_ref(), &self.standby) {
            Ok(program) => {
                self.looks.alive = None;
                let is_child = matches!(program, StartProgram::Direct(_));
                let pid = program.pid().filter(|_| is_child);
                let lineage = Lineage::new(&self.process, since, pid);
                let child = lineage.child().map(|id| Child::new(id, geteuid().as_raw()));
                self.lineage = Some(lineage);
                self.start_program = Some(program);
                Event::StartProgramRuns { since, child }
            }
            Err(failure) => Event::StartEnded(StartOutcome::NotRun(failure)),
        }
    }

    /// Ends our start program: a child itself, or the one that a unit of ours runs. A unit of somebody
    /// else's is stopped by systemd.
    fn stop_program(&mut self, stop: Stop) -> Vec<Event> {
        let Some(program) = &self.start_program else {
            return Vec::new();
        };
        if matches!(program, StartProgram::Direct(_)) {
            program.stop(stop);
            return Vec::new();
        }
        let left = self.lineage.as_mut().map(Lineage::left);
        let left = left.into_iter().flat_map(|left| left.processes);
        let main: Vec<ProcessId> = left
            .filter(|left| left.is_start_program)
            .map(|left| left.id)
            .collect();
        if main.is_empty() {
            program.stop(stop);
            return self.stop_unit().into_iter().collect();
        }
        self.signal(stop, &main)
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
        // SIGCONT lets a stopped process receive SIGTERM, as systemd does it (systemd.kill(5)).
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

    /// Where the process stands now, if that is elsewhere, and whether that is news.
    fn stand(&mut self, changes: &[Change], has_looked: bool) -> (Option<Box<Standing>>, bool) {
        let now = SystemTime::now();
        let wording = wording(&self.machine);
        let alive = self.machine.alive();
        let shown = &alive[..alive.len().min(PIDS_MAX)];
        let mut status = ProcessStatus {
            state: state(&self.machine),
            pids: shown.iter().map(|id| id.pid).collect(),
            more_pids: self.machine.more_alive() + alive.len() - shown.len(),
            duplicates: self.machine.duplicates().take(PIDS_MAX).collect(),
            restarts: self.machine.restarts(),
            waiting_for: waiting_for(&self.machine),
            session: self.screen.placement(),
            next_start: self.next_start.at(self.machine.next_start(), now),
            paused_until: self
                .paused_until
                .at(self.machine.pause().map(|pause| pause.until), now),
            detail: in_english(&wording),
            wording,
            ..ProcessStatus::clone(&self.standing.status)
        };
        let since = match status.state {
            State::Up | State::Down | State::Starting | State::Backoff => self.machine.since(),
            _ => None,
        };
        match self.since.at(since, now) {
            Some(since) => status.since = since,
            None if status.state != self.standing.status.state => status.since = now.into(),
            None => {}
        }
        for change in changes {
            if let Change::Restarted { cause, outage, .. } = change {
                self.standing.recent_restarts = recent(&self.standing.recent_restarts, now);
                self.standing.recent_restarts.push(now.into());
                status.last_restart = Some(LastRestart {
                    at: now.into(),
                    cause: cause.as_str().into(),
                    signal: cause.other_signal().map(str::to_owned),
                    outage_ms: u64::try_from(outage.as_millis()).unwrap_or(u64::MAX),
                });
            }
        }
        // While a start or an end is awaited, looks follow each other fast: only their outcome is news.
        let is_awaiting = match self.machine.phase() {
            Phase::Starting | Phase::Clearing => true,
            Phase::Replacing => !self.machine.is_stuck(),
            _ => false,
        };
        let is_cycle = has_looked && !is_awaiting;
        let is_other_status = status != *self.standing.status;
        let memory = self.machine.memory();
        let is_other_memory = memory != *self.standing.memory;
        let rules = self.process.target.rules();
        let is_first = !std::mem::replace(&mut self.has_reported, true);
        let is_other =
            is_first || is_other_status || is_other_memory || rules != self.standing.rules;
        if is_other_status {
            self.standing.status = Arc::new(status);
        }
        if is_other_memory {
            self.standing.memory = Arc::new(memory);
        }
        self.standing.rules = rules;
        let standing = is_other.then(|| Box::new(self.standing.clone()));
        (standing, is_cycle || is_other_status)
    }
}

fn told(actions: Vec<Action>) -> impl Iterator<Item = Change> {
    actions.into_iter().filter_map(|action| match action {
        Action::Tell(change) => Some(change),
        _ => None,
    })
}

/// Whether a process has nothing in common with how the program is started and installed: it has another
/// user's rights than those of whoever has started it, or it is neither ours nor root's file, nor from where
/// the start command is. A unit's program may be anybody's.
fn is_foreign(who: &Identity, start: &Start) -> bool {
    if who.real_uid != who.uid {
        return true;
    }
    let Start::Command(command) = start else {
        return false;
    };
    let ours = geteuid().as_raw();
    let is_trusted = |uid: u32| uid == 0 || uid == ours;
    let folder = command
        .first()
        .and_then(|program| Path::new(program).parent());
    let is_beside = folder.is_some_and(|folder| {
        let is_somewhere = folder.parent().is_some();
        is_somewhere && Path::new(&who.path).starts_with(folder)
    });
    // What is unknown is no reason to suspect anybody.
    !who.uid.is_none_or(is_trusted) && !who.owner.is_some_and(is_trusted) && !is_beside
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
                let moment = Instant::now();
                let wall = match time.checked_duration_since(moment) {
                    Some(ahead) => now + ahead,
                    None => now - (moment - time),
                };
                (time, wall.into())
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

/// The end of a process that is watched. Those of a crowd end without pause, and each look at a crowd takes
/// its time: the other programs need theirs.
async fn any_exit(
    watches: &mut ExitWatches,
    interval: Duration,
    (ended, took): (Instant, Duration),
) {
    let rested = ended + took * REST;
    if took >= LONG_LOOK && Instant::now() < rested {
        tokio::time::sleep_until(rested.into()).await;
    }
    watches.any_exit(interval).await;
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
