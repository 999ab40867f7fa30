//! Tells configured programs, hooks, of events: one event after the other to each hook, beside
//! everything else. Telling never waits and never fails; what happens is decided
//! in [`crate::machine`].

mod payload;
mod queue;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use mfe_common::duration::setting;
use mfe_common::escape::printable;
use mfe_common::timestamp::Timestamp;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout_at;

use crate::config::HookSettings;
use crate::events::{Kind, Message};
use crate::sys::subprocess::{End, Outcome, Subprocess};
use crate::text::phrase::{Phrase, phrase};
use queue::Queue;

/// What a run whose time is over gets for being killed and told of, once the service ends.
const KILL_TIME: Duration = Duration::from_millis(500);

/// Everybody's way to the hooks; a clone is the same hooks.
#[derive(Debug, Clone)]
pub struct Hooks {
    running: Arc<Mutex<Vec<Running>>>,
}

/// A hook and the task that serves it.
#[derive(Debug)]
struct Running {
    hook: Arc<Hook>,
    worker: JoinHandle<()>,
}

#[derive(Debug)]
struct Hook {
    settings: HookSettings,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug)]
struct State {
    queue: Queue<Told>,
    is_busy: bool,
    ending: Option<Ending>,
}

/// How a hook's task comes to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// It is no longer configured: what waits for it is forgotten.
    Replaced,
    /// The service ends: what waits is still told.
    Drained,
}

/// An event that a hook is to be told of.
#[derive(Debug)]
struct Told {
    message: Message,
    time: Timestamp,
}

impl Hooks {
    /// Begins to serve hooks.
    #[must_use]
    pub fn new(settings: &[HookSettings]) -> Self {
        let running = Arc::default();
        let hooks = Self { running };
        hooks.set(settings);
        hooks
    }

    /// Serves exactly these hooks from now on. One that stays the same keeps what waits for it; one
    /// that is gone ends its run and is told no more.
    pub fn set(&self, settings: &[HookSettings]) {
        let mut running = lock(&self.running);
        let mut before = std::mem::take(&mut *running);
        for settings in settings {
            let same = before
                .iter()
                .position(|running| running.hook.settings == *settings);
            running.push(match same {
                Some(index) => before.remove(index),
                None => self.begin(settings),
            });
        }
        for Running { hook, .. } in before {
            hook.end(Ending::Replaced);
        }
    }

    fn begin(&self, settings: &HookSettings) -> Running {
        let hook = Arc::new(Hook::new(settings.clone()));
        let worker = tokio::spawn(serve(hook.clone(), self.clone()));
        Running { hook, worker }
    }

    /// Tells each hook that wants to know.
    pub fn tell(&self, message: &Message) {
        for Running { hook, .. } in lock(&self.running).iter() {
            hook.tell(message);
        }
    }

    /// How long the slowest of the hooks that have something to do may take; `None` when none has.
    #[must_use]
    pub fn busy_for(&self) -> Option<Duration> {
        let running = lock(&self.running);
        let busy = running.iter().filter(|running| running.hook.is_busy());
        busy.map(|running| running.hook.settings.timeout).max()
    }

    /// Ends all hooks: each has as long as one run of it may take for what waits for it. May be
    /// dropped; then the hooks end with the runtime.
    pub async fn finish(&self) {
        let running = std::mem::take(&mut *lock(&self.running));
        for Running { hook, .. } in &running {
            hook.end(Ending::Drained);
        }
        let begin = tokio::time::Instant::now();
        for Running { hook, mut worker } in running {
            let deadline = begin + hook.settings.timeout + KILL_TIME;
            if timeout_at(deadline, &mut worker).await.is_err() {
                worker.abort();
                let name = hook.name();
                let left = lock(&hook.state).queue.len();
                let words = phrase!(
                    "the service ends before the hook %{name} does, which is killed; events that \
                     it isn't told of: %{left}",
                    name = name,
                    left = left.to_string()
                );
                Message::of_service_in_words(Kind::HookFailed, words).record();
            }
        }
    }
}

impl Hook {
    fn new(settings: HookSettings) -> Self {
        let state = State {
            queue: Queue::new(),
            is_busy: false,
            ending: None,
        };
        Self {
            settings,
            state: Mutex::new(state),
            changed: Notify::new(),
        }
    }

    /// Its program, fit for a terminal.
    fn name(&self) -> String {
        printable(self.settings.command.first().map_or("", String::as_str))
    }

    fn tell(&self, message: &Message) {
        if self.settings.on.contains(&message.kind) {
            let told = Told {
                message: message.clone(),
                time: SystemTime::now().into(),
            };
            lock(&self.state).queue.push(told, Instant::now());
            self.changed.notify_one();
        }
    }

    fn end(&self, ending: Ending) {
        lock(&self.state).ending = Some(ending);
        self.changed.notify_one();
    }

    fn is_busy(&self) -> bool {
        let state = lock(&self.state);
        state.is_busy || state.queue.len() > 0
    }

    /// Waits for the next event; `None` when no more is to be told. With it comes how many were
    /// dropped before it, if that is to be said.
    async fn next(&self) -> Option<(Told, Option<u64>)> {
        loop {
            {
                let mut state = lock(&self.state);
                if state.ending == Some(Ending::Replaced) {
                    return None;
                }
                let told = state.queue.pop();
                state.is_busy = told.is_some();
                match told {
                    Some(told) => {
                        return Some((told, state.queue.take_dropped(Instant::now())));
                    }
                    None if state.ending.is_some() => return None,
                    None => {}
                }
            }
            self.changed.notified().await;
        }
    }
}

/// Runs a hook for one event after the other.
async fn serve(hook: Arc<Hook>, hooks: Hooks) {
    let mut said = Vec::new();
    while let Some((Told { message, time }, dropped)) = hook.next().await {
        if let Some(dropped) = dropped {
            let words = phrase!(
                "the hook %{name} is slower than what happens: it wasn't told of %{count} events",
                name = hook.name(),
                count = dropped.to_string()
            );
            say(words, &hook, message.kind, &hooks);
        }
        let host = crate::sys::host::name();
        let mut run = Subprocess::run(
            &hook.settings.command,
            &payload::variables(&message, host.as_deref()),
            payload::line(&message, host.as_deref(), time),
            hook.settings.timeout,
        );
        let outcome = run.outcome().await;
        match Failure::of(&outcome) {
            None if said.is_empty() => {}
            None => {
                said.clear();
                let words = phrase!("the hook %{name} works again", name = hook.name());
                Message::of_service_in_words(Kind::Restored, words).record();
            }
            Some(failure) if said.contains(&failure) => {}
            Some(failure) => {
                said.push(failure);
                say(
                    failed(&hook, message.kind, &outcome),
                    &hook,
                    message.kind,
                    &hooks,
                );
            }
        }
        // One that even SIGKILL doesn't end holds up this hook, and nobody else.
        run.gone().await;
    }
}

/// Says that a hook which ran for an event of `kind` doesn't do what it should.
fn say(words: Phrase, hook: &Arc<Hook>, kind: Kind, hooks: &Hooks) {
    let message = Message::of_service_in_words(Kind::HookFailed, words);
    message.record();
    // A hook doesn't hear of itself, and hooks don't go on telling each other of each other.
    if kind != Kind::HookFailed {
        for Running { hook: other, .. } in lock(&hooks.running).iter() {
            if !Arc::ptr_eq(other, hook) {
                other.tell(&message);
            }
        }
    }
}

/// A kind of failure, which is said once until the hook works again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    NotRun,
    TimedOut,
    Exited,
}

impl Failure {
    fn of(outcome: &Outcome) -> Option<Self> {
        match &outcome.end {
            End::NotRun(_) => Some(Self::NotRun),
            End::TimedOut => Some(Self::TimedOut),
            End::Exited(status) => (!status.is_success()).then_some(Self::Exited),
        }
    }
}

/// What is said of a failure.
fn failed(hook: &Hook, kind: Kind, outcome: &Outcome) -> Phrase {
    let how = match &outcome.end {
        End::NotRun(why) => phrase!("couldn't be run: %{why}", why = why.as_str()),
        End::TimedOut => phrase!(
            "was killed because it took longer than %{timeout}",
            timeout = setting(hook.settings.timeout)
        ),
        End::Exited(status) => phrase!("failed with %{status}", status = status.phrase()),
    };
    let how = phrase!(
        "the hook %{name}, run for %{event}, %{how}",
        name = hook.name(),
        event = kind.name(),
        how = how
    );
    match outcome.first_line() {
        Some(line) => phrase!("%{problem}: %{output}", problem = how, output = line),
        None => how,
    }
}

/// A panic of another task leaves nothing half done that matters here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
