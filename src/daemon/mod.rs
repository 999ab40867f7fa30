//! The running service: owns the supervised processes' tasks, and everything that reaches it from
//! outside (signals, configuration) or leaves it (status file, systemd notifications). What to do
//! about a process is decided in [`crate::machine`].

mod control;
pub mod effective_config;
mod leftover;
mod liveness;
mod notifier;
mod others;
mod runtime_dir;
pub mod setup;
pub mod startup;
pub mod state;

use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use mfe_common::duration::setting;
use mfe_common::escape::{list, printable};
use rust_i18n::t;
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tracing::warn;

use crate::config::{self, DEFAULT_PATH, ProcessSettings, Settings, Source};
use crate::events::{Kind, Message};
use crate::hooks::Hooks;
use crate::logging;
use crate::machine::{self, PAUSE_MAX, Pause};
use crate::proc::{ProcessTable, Readings};
use crate::start::{can_restart, is_in_unit, old_watcher};
use crate::status::control::{Answer, REASON_MAX, Request, key_meant_by};
use crate::status::directories::Directories;
use crate::status::service::Record;
use crate::status::{ConfigFallback, LatestMessage, ProcessStatus, State, Status, WaitingFor};
use crate::supervisor::{
    Channels, Common, Remembered, Standing, Update, Updates, failure_wording, supervise,
};
use crate::sys::host::since_boot;
use crate::sys::lock::{LastLook, NotLocked};
use crate::sys::timer::Alarm;
use crate::systemd::standby::Standby;
use crate::text::phrase::{Phrase, phrase, sentences};
use control::{Incoming, Listener};
use effective_config::EffectiveConfig;
use liveness::Liveness;
use notifier::Notifier;
use runtime_dir::RuntimeDir;
use startup::Start;
use state::Keeper;

/// What the service was told on its command line; all paths are absolute.
#[derive(Debug, Clone)]
pub struct Options {
    /// The configuration file, if one was named.
    pub config: Option<PathBuf>,
    /// Where it publishes, and where it keeps what it remembers.
    pub directories: Directories,
    /// Whether it may watch programs that the till's own service watches too.
    pub is_alone: bool,
}

impl Options {
    /// The configuration file, whether it is there or not.
    fn file(&self) -> &Path {
        self.config.as_deref().unwrap_or(Path::new(DEFAULT_PATH))
    }
}

/// What systemd is asked to allow the service for its end on top of what its hooks may take.
const STOP_TIME: Duration = Duration::from_secs(5);

/// How many things may be asked of a process before its task has heard of the first.
const EVENTS: usize = 8;

/// How many updates may wait for the service's turn; each takes some hundred bytes.
const UPDATES: usize = 1024;

/// What doesn't work when nothing can be written to the state directory.
const REMEMBERING: Phrase = phrase!("remembering");

/// How long after SIGKILL a program's end is waited for.
const STOP_MARGIN: Duration = Duration::from_secs(5);

/// What the service reacts to.
enum Event {
    /// A task tells where its process stands.
    Updated(Update),
    /// Half of `WatchdogSec` has passed without a ping.
    PingDue,
    /// A person asks for something.
    Asked(Incoming),
    /// Somebody has removed something from the runtime directory, or all of it.
    Disturbed,
    /// SIGHUP.
    Reload,
    /// SIGTERM or SIGINT.
    Stop,
}

/// Runs the service until SIGTERM or SIGINT.
///
/// # Errors
/// When another service runs, the runtime directory can't be had or is lost, or signals can't be received.
pub async fn run(start: Start, options: Options) -> anyhow::Result<()> {
    let Start {
        settings,
        source,
        fallback,
    } = start;
    let mut terminate =
        signal(SignalKind::terminate()).with_context(|| t!("errors.signal", signal = "SIGTERM"))?;
    let mut interrupt =
        signal(SignalKind::interrupt()).with_context(|| t!("errors.signal", signal = "SIGINT"))?;
    let mut hangup =
        signal(SignalKind::hangup()).with_context(|| t!("errors.signal", signal = "SIGHUP"))?;
    let mut service = Service::new(options, &settings)?;
    let last = Status::read(&service.options.directories.runtime);
    let last = last.ok().flatten();
    let last_look = LastLook::read(&service.options.directories.runtime);
    service.say_start(&settings, &source, last.as_ref(), last_look);
    service.say_fallback(fallback);
    if let Some(warning) = old_watcher::warning(Path::new(old_watcher::RC_LOCAL)) {
        service.say(Kind::LegacyWatcher, warning);
    }
    let remembered = service.remembered(last.as_ref(), last_look);
    // Without an earlier run there is nobody to look for. Else it is left out if it can be, for it takes
    // longer than all the rest of a start.
    let has_programs = settings.checks_and_hooks().next().is_some();
    if !remembered.is_empty() && has_programs {
        let left_over = leftover::end_programs(&settings);
        if !left_over.is_empty() {
            service.say_words(
                Kind::Degraded,
                phrase!(
                    "an earlier run of the service was killed beside checks or hooks (pid %{pids}): they \
                     are ended",
                    pids = list(left_over)
                ),
            );
        }
    }
    let effective = service.effective(&settings, &source);
    service.apply(settings.clone(), effective, remembered);
    // The tasks run for the first time when this one waits.
    others::go_first(&settings, service.tasks());
    let mut is_judged = false;
    loop {
        let event = tokio::select! {
            biased;
            _ = terminate.recv() => Event::Stop,
            _ = interrupt.recv() => Event::Stop,
            _ = hangup.recv() => Event::Reload,
            incoming = asked(&mut service.listener) => Event::Asked(incoming),
            () = service.runtime_dir.disturbed() => Event::Disturbed,
            Some(update) = service.updates.recv() => Event::Updated(update),
            () = ping_due(&mut service.alarm, &service.liveness) => Event::PingDue,
        };
        match event {
            Event::Updated(update) => {
                service.take(update);
                // Tasks on the same interval finish in the same moment: one publication for all.
                tokio::task::yield_now().await;
                service.take_updates();
            }
            Event::PingDue => {
                service.notify(Vec::new());
                service.keep_standby();
            }
            Event::Asked(Incoming { request, answer }) => {
                // It is about how things stand now.
                service.take_updates();
                // Whoever asked may have gone away; it is done all the same.
                let _ = answer.send(service.answer(&request));
            }
            Event::Disturbed => service.restore_runtime_dir()?,
            Event::Reload => service.reload()?,
            Event::Stop => break,
        }
        if service.has_news {
            service.publish()?;
            service.keep_standby();
            // Others may have put any number of files beside a command: no program waits for them.
            if !service.ready_pending && !std::mem::replace(&mut is_judged, true) {
                service.say_unsafe_commands(&settings);
            }
        }
    }
    service.take_updates();
    service.remember(true);
    service.send(&[NotifyState::Stopping]);
    // From here on nothing is started any more, not even for a death noticed in this very moment.
    for supervised in service.processes.drain(..) {
        supervised.task.abort();
    }
    service.say(
        Kind::Shutdown,
        "stopping; the programs keep running, and nothing restarts them until the \
         service is started again",
    );
    let hooks = service.hooks.clone();
    let busy_for = hooks.busy_for();
    tokio::select! {
        biased;
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = hooks.finish() => {}
        never = service.wait_for_hooks(busy_for) => match never {},
    }
    Ok(())
}

async fn asked(listener: &mut Option<Listener>) -> Incoming {
    match listener {
        Some(listener) => listener.next().await,
        None => std::future::pending().await,
    }
}

async fn ping_due(alarm: &mut Alarm, liveness: &Liveness) {
    match liveness.next_ping() {
        Some(time) => alarm.at(time).await,
        None => std::future::pending().await,
    }
}

/// Why a program that belongs on the screen can't be started now: there is nobody.
fn nobody_to_start_it_for(status: &ProcessStatus) -> Option<Phrase> {
    let is_nobody = |why: &WaitingFor| matches!(why, WaitingFor::Login | WaitingFor::Display);
    status.waiting_for.as_ref().filter(|why| is_nobody(why))?;
    status.wording.first().cloned()
}

/// A reason as it is told: printable, and no longer than a line.
fn fit(reason: &str) -> String {
    printable(reason).chars().take(REASON_MAX).collect()
}

fn names(settings: &Settings) -> String {
    let each = settings.processes.iter().map(|process| {
        let interval = setting(process.policy.interval);
        format!("{} every {interval}", process.name())
    });
    list(each)
}

/// One supervised process, as the service sees it. Dropping it ends its task.
struct Supervised {
    /// The number of its task.
    number: u64,
    settings: watch::Sender<Arc<ProcessSettings>>,
    events: mpsc::Sender<machine::Event>,
    /// Where it stands, as its task has told last.
    standing: Standing,
    /// When the task's next look is due; `None` before its first one.
    next_look: Option<Instant>,
    task: AbortHandle,
}

impl Supervised {
    /// Why it can't be started now, nor ended with a start in mind; `is_stop` says that it is to be stopped.
    fn obstacle(&self, is_stop: bool) -> Option<Phrase> {
        let settings = self.settings.borrow();
        let status = &self.standing.status;
        let nobody = nobody_to_start_it_for(status);
        if nobody.is_some() {
            nobody
        } else if settings.policy.dry_run && is_stop {
            Some(phrase!(
                "dry_run = true in the configuration, so nothing is ended"
            ))
        } else if settings.policy.dry_run {
            Some(phrase!(
                "dry_run = true in the configuration, so nothing is started"
            ))
        } else if status.state == State::Misfit && is_stop {
            // It isn't the program, so it is for a person to end.
            status.wording.first().cloned()
        } else {
            let why = failure_wording(&can_restart(&settings).err()?);
            Some(if is_stop {
                phrase!("it couldn't be started again: %{why}", why = why)
            } else {
                why
            })
        }
    }

    /// What is answered to one who asks for its start, its end or both: how long that takes at most.
    fn is_under_way(&self, request: &Request) -> Answer {
        let settings = self.settings.borrow();
        let policy = settings.policy;
        let key = settings.key.clone();
        let standing = &self.standing;
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        match request {
            Request::Stop { .. } => {
                // systemd's stop of the unit has its time first.
                let steps = if policy.is_unit { 2 } else { 1 };
                // What is just being started, in a pause or not, is ended once it is there.
                let start = match standing.status.state {
                    State::Waiting => policy.start_timeout.max(policy.autostart_timeout),
                    State::Starting => policy.start_timeout,
                    _ if standing.memory.starting_until.is_some() => policy.start_timeout,
                    _ => Duration::ZERO,
                };
                let within = policy.stop_timeout * steps + start + STOP_MARGIN;
                Answer::Stopping {
                    key,
                    within_ms: milliseconds(within),
                }
            }
            Request::Start { .. } if standing.is_up() => Answer::Running { key },
            Request::Start { .. } => Answer::Starting {
                key,
                within_ms: milliseconds(policy.stop_timeout + policy.start_timeout),
            },
            _ => Answer::Restarting {
                key,
                within_ms: milliseconds(policy.stop_timeout + policy.start_timeout),
            },
        }
    }
}

/// A publication.
struct Last {
    status: Status,
    /// Whether nothing has changed since, and there is nothing in it that time alone changes.
    is_settled: bool,
}

struct Service {
    options: Options,
    started: Instant,
    started_at: SystemTime,
    processes: Vec<Supervised>,
    /// What all tasks tell, and the way there for the next one, which has the number that comes next.
    updates: mpsc::Receiver<Update>,
    updates_sender: mpsc::Sender<Update>,
    tasks_begun: u64,
    /// Whether a cycle is finished, or anything has changed that people see.
    has_news: bool,
    /// Of /proc, for all tasks.
    readings: Readings,
    /// To systemd, for all tasks.
    standby: Standby,
    /// Whether systemd is asked to start anything; `None` as long as that wasn't found out.
    has_units: Option<bool>,
    liveness: Liveness,
    /// For the next ping.
    alarm: Alarm,
    /// Whether the watchdog's pings are expected from another process.
    is_anothers_watchdog: bool,
    /// Whether systemd waits for READY=1, after the start or a reload.
    ready_pending: bool,
    status_line: String,
    /// What was published last; `None` if it may not be there.
    last: Option<Last>,
    /// What the next run of the service has to know.
    keeper: Keeper,
    /// The settings in force, as they are published.
    effective: Option<Arc<EffectiveConfig>>,
    /// Why they aren't those in the file, if that can't be used.
    fallback: Option<ConfigFallback>,
    /// Which process this is.
    record: Option<Record>,
    notifier: Notifier,
    /// What doesn't work and was said.
    degraded: Vec<Phrase>,
    /// The commands that somebody else could change, as was said.
    unsafe_commands: Vec<(String, Phrase)>,
    hooks: Hooks,
    /// Ours for as long as the service lives.
    runtime_dir: RuntimeDir,
    /// Where people ask.
    listener: Option<Listener>,
}

impl Service {
    fn new(options: Options, settings: &Settings) -> anyhow::Result<Self> {
        let started = Instant::now();
        startup::refuse_rival(&options, settings)?;
        refuse_second(&options.directories)?;
        let runtime_dir = RuntimeDir::claim(&options.directories);
        let runtime_dir = runtime_dir.map_err(|error| not_claimed(&options.directories, &error))?;
        let Directories { runtime, state } = &options.directories;
        let (updates_sender, updates) = mpsc::channel(UPDATES);
        let mut service = Self {
            started,
            started_at: SystemTime::now(),
            processes: Vec::new(),
            updates,
            updates_sender,
            tasks_begun: 0,
            has_news: false,
            readings: Readings::of(ProcessTable::new("/proc")),
            standby: Standby::default(),
            has_units: None,
            liveness: Liveness::new(started, sd_notify::watchdog_enabled()),
            alarm: Alarm::new(),
            is_anothers_watchdog: watchdog_is_for_another(),
            ready_pending: true,
            status_line: String::new(),
            last: None,
            keeper: Keeper::new(state, runtime),
            effective: None,
            fallback: None,
            record: Record::of_this_process(runtime, options.config.as_deref()).ok(),
            notifier: Notifier::from_environment(),
            degraded: Vec::new(),
            unsafe_commands: Vec::new(),
            hooks: Hooks::new(&settings.hooks),
            runtime_dir,
            listener: None,
            options,
        };
        service.listen();
        service.keep_record();
        Ok(service)
    }

    /// Tells what has happened to the service itself.
    fn say(&self, kind: Kind, text: impl Into<String>) {
        self.tell(&Message::of_service(kind, text));
    }

    /// The same in words that are told in every language.
    fn say_words(&self, kind: Kind, words: Phrase) {
        self.tell(&Message::of_service_in_words(kind, words));
    }

    fn tell(&self, message: &Message) {
        message.record();
        self.hooks.tell(message);
    }

    /// Says that the service has begun, and until when the run before it has looked, by what it has said
    /// last: one that hangs is ended by systemd some time later.
    fn say_start(
        &self,
        settings: &Settings,
        source: &Source,
        last: Option<&Status>,
        last_look: Option<LastLook>,
    ) {
        let text = format!("watching {} ({source})", names(settings));
        let published = last.and_then(|last| last.updated_us);
        let looked = last_look.and_then(|look| u64::try_from(look.since_boot.as_micros()).ok());
        self.tell(&Message {
            // Of a run of which nothing is left it isn't known.
            watched_until: published.map(|published| published.max(looked.unwrap_or(0))),
            ..Message::of_service(Kind::Startup, text)
        });
    }

    /// Says what of the commands and of the configuration somebody else could change, unless that was said
    /// before.
    fn say_unsafe_commands(&mut self, settings: &Settings) {
        let file = self.options.file();
        let found = config::exposed(file, settings);
        let before = std::mem::replace(&mut self.unsafe_commands, found);
        for news in &self.unsafe_commands {
            if !before.contains(news) {
                let (key, warning) = news;
                let file = file.display().to_string();
                let place = if key.is_empty() { file } else { key.clone() };
                let warning = warning.clone();
                let words = phrase!("%{place}: %{warning}", place = place, warning = warning);
                self.say_words(Kind::UnsafeCommand, words);
            }
        }
    }

    /// Has systemd wait for the hooks, if they have something to do, for as long as `busy_for`.
    async fn wait_for_hooks(&mut self, busy_for: Option<Duration>) -> Infallible {
        if let Some(time) = busy_for {
            let status = "stopping; hooks are still told of it";
            let extension = u32::try_from((time + STOP_TIME).as_micros()).unwrap_or(u32::MAX);
            self.send(&[
                NotifyState::Status(status),
                NotifyState::ExtendTimeoutUsec(extension),
            ]);
        }
        loop {
            ping_due(&mut self.alarm, &self.liveness).await;
            if !self.is_anothers_watchdog {
                self.send(&[NotifyState::Watchdog]);
            }
            self.liveness.pinged(Instant::now());
        }
    }

    /// Has people ask in the runtime directory.
    fn listen(&mut self) {
        let listener = self.runtime_dir.listen();
        let what = phrase!("listening for pause, resume and restart");
        let directory = self.options.directories.runtime.display().to_string();
        self.check(what, &listener, |error| {
            phrase!(
                "nobody can pause, resume or restart: %{file}: %{error}",
                file = format!("{directory}/control"),
                error = error.to_string()
            )
        });
        self.listener = listener.ok();
    }

    /// Keeps which process this is where it outlives the runtime directory.
    fn keep_record(&mut self) {
        if let Some(record) = self.record.clone() {
            self.keeper.keep_record(record);
            let kept = self.keeper.keep();
            self.check_kept(kept);
        }
    }

    /// Puts back what somebody has removed from the runtime directory.
    ///
    /// # Errors
    /// When the directory can't be had any more: whatever watches the service makes it again then, as
    /// systemd does.
    fn restore_runtime_dir(&mut self) -> anyhow::Result<()> {
        let directory = self.options.directories.runtime.clone();
        let is_ours = self.runtime_dir.is_ours();
        if is_ours && self.runtime_dir.has_socket() && Status::is_in(&directory) {
            return Ok(());
        }
        if !is_ours {
            // What was bound there can't be reached any more.
            self.listener = None;
            let claimed = RuntimeDir::claim(&self.options.directories);
            self.runtime_dir = claimed.map_err(|error| {
                let why = not_claimed(&self.options.directories, &error);
                let directory = directory.display();
                anyhow::anyhow!("{}", t!("errors.lost", directory = directory, why = why))
            })?;
        }
        self.say_words(
            Kind::Degraded,
            phrase!(
                "somebody has removed %{directory} or files in it: they are made again",
                directory = directory.display().to_string()
            ),
        );
        if self.listener.is_none() || !self.runtime_dir.has_socket() {
            self.listen();
        }
        self.publish_effective();
        if self.options.directories.runtime == self.options.directories.state {
            self.keeper.forget_written();
            self.keep_record();
        }
        self.last = None;
        self.publish()
    }

    /// What an earlier run of the service remembered. A file that can't be used is no reason not to
    /// run: it was set aside, and all begins again. `last` is what it has published last.
    /// `last_look` is when it has last looked.
    fn remembered(&self, last: Option<&Status>, last_look: Option<LastLook>) -> Vec<Remembered> {
        let mut remembered = self.keeper.read().unwrap_or_else(|error| {
            self.say_words(
                Kind::Degraded,
                phrase!(
                    "the saved state is lost: %{error}; the file is set aside",
                    error = error
                ),
            );
            Vec::new()
        });
        // What a run that was killed has published was still so at the end of its last cycle.
        let published = last.and_then(|status| {
            let ago = status.updated_at.age(SystemTime::now());
            let looked = last_look.and_then(|look| since_boot().checked_sub(look.since_boot));
            Instant::now().checked_sub(looked.or(ago)?)
        });
        for remembered in &mut remembered {
            let seen_alive = &mut remembered.memory.seen_alive;
            *seen_alive = (*seen_alive).max(published);
        }
        remembered
    }

    /// Says that the configuration can't be used, and what is in force instead.
    fn say_fallback(&mut self, fallback: Option<ConfigFallback>) {
        if let Some(fallback) = &fallback {
            let message = Message::of_service(Kind::ConfigFallback, fallback.detail.as_str());
            self.tell(&match sentences(fallback.wording.iter().cloned()) {
                Some(words) => message.with_detail(words),
                None => message,
            });
        }
        self.fallback = fallback;
    }

    /// Settings as they are published, and kept for a start with a file that can't be used.
    fn effective(&self, settings: &Settings, source: &Source) -> Option<Arc<EffectiveConfig>> {
        let state = &self.options.directories.state;
        let effective = EffectiveConfig::new(settings, source, self.options.file(), state);
        effective.ok().map(Arc::new)
    }

    /// Publishes the settings in force for the programs that systemd starts.
    fn publish_effective(&mut self) {
        let directory = self.options.directories.runtime.clone();
        let effective = self.effective.as_ref();
        let published = effective.map_or(Ok(()), |effective| effective.publish(&directory));
        self.check(phrase!("publishing the settings"), &published, |error| {
            phrase!(
                "the settings in force can't be written to %{directory}: %{error}",
                directory = directory.display().to_string(),
                error = error.to_string()
            )
        });
    }

    /// Puts settings to use: processes that stay keep their task and all it knows. `remembered` is
    /// what an earlier run of the service has left to know.
    fn apply(
        &mut self,
        settings: Settings,
        effective: Option<Arc<EffectiveConfig>>,
        mut remembered: Vec<Remembered>,
    ) {
        self.effective = effective;
        self.publish_effective();
        // Those of a file that was named on the command line aren't the till's.
        let kept = self.effective.clone();
        if let Some(kept) = kept.filter(|_| self.options.config.is_none()) {
            self.keeper.keep_config(kept);
        }
        self.has_units = None;
        let mut before = std::mem::take(&mut self.processes);
        self.unsettle();
        for process in settings.processes {
            let same = before.iter().position(|supervised| {
                let settings = supervised.settings.borrow();
                settings.key == process.key && settings.name() == process.name()
            });
            let process = Arc::new(process);
            self.processes.push(if let Some(index) = same {
                let supervised = before.swap_remove(index);
                supervised.settings.send_replace(process);
                supervised
            } else {
                let same = |remembered: &Remembered| {
                    remembered.key == process.key && remembered.name == process.name().as_str()
                };
                let index = remembered.iter().position(same);
                let remembered = index.map(|index| remembered.swap_remove(index));
                let standing = Standing::unknown(&process, remembered);
                self.tasks_begun += 1;
                let number = self.tasks_begun;
                let (settings, settings_in_task) = watch::channel(process);
                let (events, events_in_task) = mpsc::channel(EVENTS);
                let channels = Channels {
                    settings: settings_in_task,
                    events: events_in_task,
                    updates: Updates {
                        task: number,
                        sender: self.updates_sender.clone(),
                    },
                };
                let common = Common {
                    readings: self.readings.clone(),
                    standby: self.standby.clone(),
                    hooks: self.hooks.clone(),
                    epoch: self.started,
                    runtime_dir: self.options.directories.runtime.clone(),
                };
                let task = supervise(channels, standing.clone(), common);
                Supervised {
                    number,
                    settings,
                    events,
                    standing,
                    next_look: None,
                    task: tokio::spawn(task).abort_handle(),
                }
            });
        }
    }

    /// The way to each task.
    fn tasks(&self) -> others::Tasks {
        let processes = self.processes.iter();
        let task = |supervised: &Supervised| {
            let start_timeout = supervised.settings.borrow().policy.start_timeout;
            (supervised.events.clone(), start_timeout)
        };
        processes.map(task).collect()
    }

    fn reload(&mut self) -> anyhow::Result<()> {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.send(&[NotifyState::Reloading, now]),
            Err(error) => warn!("the monotonic clock can't be read for systemd: {error}"),
        }
        match config::load(self.options.config.as_deref()) {
            Ok((settings, source)) => {
                if let Err(rival) = startup::refuse_rival(&self.options, &settings) {
                    self.say_reload_failed(rival);
                    self.ready_pending = true;
                    return self.publish();
                }
                let names = names(&settings);
                self.hooks.set(&settings.hooks);
                self.say(
                    Kind::Reloaded,
                    format!("reloaded: watching {names} ({source})"),
                );
                self.fallback = None;
                let effective = self.effective(&settings, &source);
                self.say_unsafe_commands(&settings);
                self.apply(settings, effective, Vec::new());
            }
            Err(refused) => {
                for problem in refused.phrases() {
                    self.say_reload_failed(problem);
                }
            }
        }
        self.ready_pending = true;
        self.publish()
    }

    fn say_reload_failed(&self, why: Phrase) {
        let text = format!("the old configuration stays in force: {why}");
        let message = Message::of_service(Kind::ReloadFailed, text);
        self.tell(&message.with_detail(why));
    }

    /// Does what a person asks for.
    fn answer(&self, request: &Request) -> Answer {
        let words = match request {
            Request::Pause { keys, .. } | Request::Resume { keys } => keys.as_slice(),
            Request::Restart { key } | Request::Stop { key, .. } | Request::Start { key } => {
                std::slice::from_ref(key)
            }
        };
        let key_of = |supervised: &Supervised| supervised.settings.borrow().key.clone();
        let mut keys = Vec::new();
        for word in words {
            match self.key_meant_by(word) {
                Some(key) => keys.push(key),
                None => {
                    let (key, known) = (word.clone(), self.processes.iter().map(key_of).collect());
                    return Answer::UnknownKey { key, known };
                }
            }
        }
        let is_all = words.is_empty();
        let is_meant = |supervised: &&Supervised| is_all || keys.contains(&key_of(supervised));
        let is_paused = |supervised: &&Supervised| supervised.standing.memory.pause.is_some();
        let meant = self.processes.iter().filter(is_meant);
        let meant: Vec<&Supervised> = match request {
            Request::Resume { .. } => meant.filter(is_paused).collect(),
            _ => meant.collect(),
        };
        match (request, meant.first()) {
            (Request::Resume { .. }, None) => return Answer::NotPaused,
            (Request::Restart { .. }, Some(supervised)) if is_paused(supervised) => {
                let key = key_of(supervised);
                return Answer::Paused { key };
            }
            (Request::Start { .. }, Some(supervised)) if supervised.standing.is_up() => {}
            (
                Request::Restart { .. } | Request::Stop { .. } | Request::Start { .. },
                Some(supervised),
            ) => {
                if let Some(why) = supervised.obstacle(matches!(request, Request::Stop { .. })) {
                    let key = key_of(supervised);
                    return Answer::CannotStart { key, why };
                }
            }
            _ => {}
        }
        // Either all of them are told, or none.
        let mut ways = Vec::new();
        for supervised in &meant {
            match supervised.events.try_reserve() {
                Ok(way) => ways.push(way),
                Err(_) => {
                    let key = key_of(supervised);
                    return Answer::Busy { key };
                }
            }
        }
        // Before it is done, for it is about how things stand now.
        let answer = match (request, meant.first()) {
            (Request::Restart { .. } | Request::Stop { .. } | Request::Start { .. }, Some(one)) => {
                one.is_under_way(request)
            }
            _ => Answer::Done {
                keys: meant.iter().copied().map(key_of).collect(),
            },
        };
        let now = Instant::now();
        let pause = |seconds: u64, reason: Option<&str>| Pause {
            until: now + Duration::from_secs(seconds).min(PAUSE_MAX),
            reason: reason.map(fit),
        };
        for way in ways {
            let command = match request {
                Request::Pause {
                    seconds, reason, ..
                } => machine::Event::Pause(pause(*seconds, reason.as_deref())),
                Request::Resume { .. } => machine::Event::Resume,
                Request::Restart { .. } => machine::Event::RestartAsked,
                Request::Stop {
                    seconds, reason, ..
                } => machine::Event::StopAsked(pause(*seconds, reason.as_deref())),
                Request::Start { .. } => machine::Event::StartAsked,
            };
            way.send(command);
        }
        answer
    }

    /// The key of the process that a person means.
    fn key_meant_by(&self, word: &str) -> Option<String> {
        let settings: Vec<_> = self
            .processes
            .iter()
            .map(|process| process.settings.borrow())
            .collect();
        let named = settings
            .iter()
            .map(|settings| (settings.key.as_str(), settings.name().as_str()));
        key_meant_by(word, named).map(str::to_owned)
    }

    /// Publishes where things stand: first to the file, then to systemd.
    fn publish(&mut self) -> anyhow::Result<()> {
        self.has_news = false;
        if !self.runtime_dir.is_ours() {
            // It publishes, too.
            return self.restore_runtime_dir();
        }
        self.runtime_dir.has_looked();
        if self.is_quiet() {
            self.notify(Vec::new());
            return Ok(());
        }
        let status = Status {
            version: 1,
            pid: std::process::id(),
            start_time: self.record.as_ref().map(|record| record.id().start_time),
            started_at: self.started_at.into(),
            updated_at: SystemTime::now().into(),
            updated_us: u64::try_from(since_boot().as_micros()).ok(),
            latest_message: logging::latest().map(|(run, seq)| LatestMessage {
                run: run.to_owned(),
                seq,
            }),
            config_fallback: self.fallback.clone(),
            processes: self
                .processes
                .iter()
                .map(|process| process.standing.status.clone())
                .collect(),
        };
        // First what a crash must not lose: whatever the status says is remembered.
        self.remember(false);
        self.check_history();
        let line = status.line(SystemTime::now());
        self.write(status);

        let mut news = Vec::new();
        let have_looked = |process: &Supervised| process.next_look.is_some();
        if self.ready_pending && self.processes.iter().all(have_looked) {
            self.ready_pending = false;
            news.push(NotifyState::Ready);
        }
        let line_changed = line != self.status_line;
        if line_changed {
            news.push(NotifyState::Status(&line));
        }
        self.notify(news);
        if line_changed {
            self.status_line = line;
        }
        Ok(())
    }

    /// Has a connection to systemd open for the next start, if systemd is to make it. A start of the service
    /// doesn't wait for that.
    fn keep_standby(&mut self) {
        if self.ready_pending {
            return;
        }
        let mut processes = self.processes.iter();
        let has_units = self.has_units.get_or_insert_with(|| {
            processes.any(|supervised| is_in_unit(&supervised.settings.borrow()))
        });
        if *has_units {
            self.standby.keep();
        } else {
            self.standby.close();
        }
    }

    /// Whether nothing has changed since the last publication, and nothing in it changes by itself or is to
    /// be tried again.
    fn is_quiet(&self) -> bool {
        let Some(last) = self.last.as_ref().filter(|last| last.is_settled) else {
            return false;
        };
        let latest = logging::latest().map(|(_, seq)| seq);
        !self.ready_pending
            && self.degraded.is_empty()
            && self.runtime_dir.is_watched()
            && latest == last.status.latest_message.as_ref().map(|latest| latest.seq)
    }

    /// Writes the status, unless it is there already but for its time.
    fn write(&mut self, mut status: Status) {
        let directory = self.options.directories.runtime.clone();
        let last = self.last.take().map(|last| last.status);
        let last = last.filter(|last| {
            let (updated_at, updated_us) = (status.updated_at, status.updated_us);
            (status.updated_at, status.updated_us) = (last.updated_at, last.updated_us);
            let is_same = status == *last;
            (status.updated_at, status.updated_us) = (updated_at, updated_us);
            is_same && !self.ready_pending && self.runtime_dir.is_watched()
        });
        if last.is_none() {
            let written = status.write(&directory);
            self.check(phrase!("writing the status"), &written, |error| {
                phrase!(
                    "the status can't be written to %{directory}: %{error}",
                    directory = directory.display().to_string(),
                    error = error.to_string()
                )
            });
            if written.is_err() {
                return;
            }
        }
        let is_passing = |process: &Supervised| process.standing.memory.pause.is_some();
        self.last = Some(Last {
            is_settled: status.is_all_well() && !self.processes.iter().any(is_passing),
            status: last.unwrap_or(status),
        });
    }

    /// Writes what the next run of the service has to know, if that has changed. What can't be written is
    /// kept in memory and tried again.
    fn remember(&mut self, is_end: bool) {
        let standings = self.processes.iter().map(|process| &process.standing);
        let written = self.keeper.remember(&standings.collect::<Vec<_>>(), is_end);
        self.check_kept(written);
    }

    /// Says that events aren't kept in the state directory, if they aren't: once for all that is kept there.
    fn check_history(&mut self) {
        if self.degraded.contains(&REMEMBERING) {
            return;
        }
        let kept = logging::not_kept().map_or(Ok(()), Err);
        let folder = logging::ring::folder(&self.options.directories.state);
        self.check(phrase!("keeping events for reports"), &kept, |error| {
            phrase!(
                "events can't be written to %{folder}, so reports have them only for as long as the \
                 journal does: %{error}",
                folder = folder.display().to_string(),
                error = error.as_str()
            )
        });
    }

    fn check_kept(&mut self, written: Option<io::Result<()>>) {
        let Some(written) = written else {
            return;
        };
        let directory = self.options.directories.state.clone();
        self.check(REMEMBERING, &written, |error| {
            phrase!(
                "delays, pauses and restarts can't be written to %{directory} and would be lost with a \
                 restart of the service: %{error}",
                directory = directory.display().to_string(),
                error = error.to_string()
            )
        });
    }

    /// Keeps what a task tells; one that has ended meanwhile tells nothing any more.
    fn take(&mut self, update: Update) {
        let mut processes = self.processes.iter_mut();
        if let Some(process) = processes.find(|process| process.number == update.task) {
            process.next_look = Some(update.next_look);
            self.has_news |= update.is_news;
            if let Some(standing) = update.standing {
                process.standing = *standing;
                self.unsettle();
            }
        }
    }

    /// What was published last isn't so any more.
    fn unsettle(&mut self) {
        if let Some(last) = &mut self.last {
            last.is_settled = false;
        }
    }

    /// Keeps what tasks have told by now.
    fn take_updates(&mut self) {
        // No more can be there than fit the channel: the tasks have their turn after this one.
        for _ in 0..UPDATES {
            match self.updates.try_recv() {
                Ok(update) => self.take(update),
                Err(_) => break,
            }
        }
    }

    /// Sends `news` to systemd, and the watchdog's ping with it if every task is in time.
    fn notify(&mut self, mut news: Vec<NotifyState<'_>>) {
        let now = Instant::now();
        let is_late = |process: &&Supervised| self.liveness.is_late(now, process.next_look);
        let late: Vec<String> = self
            .processes
            .iter()
            .filter(is_late)
            .map(|process| process.settings.borrow().key.clone())
            .collect();
        let in_time = if late.is_empty() {
            if !self.is_anothers_watchdog {
                news.push(NotifyState::Watchdog);
            }
            Ok(())
        } else {
            Err(late.join(", "))
        };
        self.check(phrase!("every look"), &in_time, |late| {
            phrase!(
                "looks are overdue for %{late}: systemd isn't told that the service is alive",
                late = late.as_str()
            )
        });
        self.liveness.pinged(now);
        if !news.is_empty() {
            self.send(&news);
        }
    }

    fn send(&mut self, news: &[NotifyState<'_>]) {
        let sent = self.notifier.send(news);
        self.check(phrase!("notifying systemd"), &sent, |error| {
            phrase!(
                "systemd can't be notified: %{error}",
                error = error.to_string()
            )
        });
        // At least once per cycle, and after everything else.
        logging::catch_up();
    }

    /// Says once that something about the service itself doesn't work, and once that it does
    /// again. Supervision goes on either way.
    fn check<T, E>(&mut self, what: Phrase, result: &Result<T, E>, message: impl Fn(&E) -> Phrase) {
        let known = self.degraded.iter().position(|known| *known == what);
        match (result, known) {
            (Err(error), None) => {
                self.degraded.push(what);
                let problem = message(error);
                let words = phrase!("%{problem}; supervision goes on", problem = problem);
                self.say_words(Kind::Degraded, words);
            }
            (Ok(_), Some(known)) => {
                self.degraded.remove(known);
                self.say_words(Kind::Restored, phrase!("%{what} works again", what = what));
            }
            _ => {}
        }
    }
}

/// Whether `$WATCHDOG_PID` names another process (sd_watchdog_enabled(3)), as it does when a
/// wrapper passes its environment on.
fn watchdog_is_for_another() -> bool {
    std::env::var("WATCHDOG_PID").is_ok_and(|pid| pid != std::process::id().to_string())
}

/// Refuses to run beside another service that lives, though its lock may be gone.
fn refuse_second(directories: &Directories) -> anyhow::Result<()> {
    match Record::read(&directories.state).filter(Record::lives) {
        Some(other) => Err(already_runs(other.pid, &other.runtime_dir)),
        None => Ok(()),
    }
}

/// Why the runtime directory wasn't had.
fn not_claimed(directories: &Directories, error: &NotLocked) -> anyhow::Error {
    match error {
        NotLocked::HeldBy(pid) => already_runs(*pid, &directories.runtime),
        NotLocked::Failed(error) => {
            let directory = directories.runtime.display();
            let text = t!("errors.not_claimed", directory = directory, error = error);
            anyhow::anyhow!("{text}")
        }
    }
}

fn already_runs(pid: i32, directory: &Path) -> anyhow::Error {
    let directory = directory.display();
    let text = t!("errors.already_runs", pid = pid, directory = directory);
    anyhow::anyhow!("{text}")
}
