//! The service: from the journal to the broker, and nothing in between that could be lost. What isn't confirmed is
//! read again from the journal after each connection that broke; what is in memory is the window only.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::pin::pin;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use mfe_common::files;
use mfe_common::say::{Level, say};
use rust_i18n::t;
use sd_notify::NotifyState;
use tokio::process::Command;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use crate::backoff::{Backoff, dice};
use crate::broker::{Broker, Link, News, Publication};
use crate::clock;
use crate::config::Settings;
use crate::event::{Boot, Event, EventId, Sender, timestamp};
use crate::journal::{self, Found, Journal};
use crate::published::{Delivered, Published, Since};
use crate::saved::Saved;
use crate::state::{self, Beside};
use crate::trouble::{Kind, Trouble};
use crate::wake::Wake;
use crate::window::{Answer, Window};

/// Where events go, and states.
const EVENTS: &str = "mfe.events";
const STATES: &str = "mfe.state";

/// So many events may be at the broker without its answer.
const WINDOW: usize = 256;

/// Without any answer for so long the connection is begun again.
const STALL: Duration = Duration::from_secs(30);

/// The watchdog changes its status several times in one outage: they are one look.
const GATHER: Duration = Duration::from_millis(200);

/// What is confirmed is saved no oftener, and tried again no oftener if that fails.
const SAVE_PAUSE: Duration = Duration::from_secs(1);
const SAVE_RETRY: Duration = Duration::from_secs(10);

/// `status` is told no oftener.
const PUBLICATION_PAUSE: Duration = Duration::from_millis(500);

/// Where nobody says that there is news, it is looked for.
const UNWATCHED_LOOK: Duration = Duration::from_secs(5);

/// How long the end of the service waits for what is at the broker.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// Where the relay's things are.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    /// The state directory.
    pub(crate) state: PathBuf,
    /// The runtime directory.
    pub(crate) runtime: PathBuf,
    /// The watchdog's runtime directory.
    pub(crate) watchdog: PathBuf,
}

/// Why a session has ended.
enum End {
    /// The service is to end.
    Stopped,
    /// The connection couldn't be made, or broke.
    Lost(Trouble),
}

/// How many events of a boot aren't handed over yet.
#[derive(Debug, Default)]
struct Waiting {
    count: u64,
    /// Up to when they are counted.
    counted: u64,
}

/// The service.
pub(crate) struct Relay<B> {
    broker: B,
    settings: Settings,
    places: Places,
    journal: Journal,
    sender: Sender,
    versions: BTreeMap<&'static str, String>,
    machine_id: Option<String>,
    window: Window,
    /// Events in the window, for they may have to be sent again.
    open: BTreeMap<EventId, Event>,
    refused: VecDeque<EventId>,
    waiting: BTreeMap<Boot, Waiting>,
    boots: BTreeSet<Boot>,
    /// Boots of which all has been taken from the journal, and what isn't confirmed of it is open.
    drained: BTreeSet<Boot>,
    backoff: Backoff,
    troubles: BTreeMap<Kind, (Trouble, SystemTime)>,
    connected_since: Option<SystemTime>,
    last_delivered: Option<(EventId, SystemTime)>,
    started: SystemTime,
    lost: u64,
    /// What the state directory has.
    saved: Saved,
    next_save: Instant,
    has_unsaved: bool,
    is_stale: bool,
    next_publication: Instant,
    published: Option<Published>,
    ping: Option<Duration>,
    next_ping: Instant,
}

/// Runs the service until it is asked to end. Each connection has a runtime of its own: whatever the library
/// has left of one, in whichever state, ends with it.
///
/// # Errors
/// When it can't begin.
pub(crate) fn run<B: Broker>(
    broker: B,
    settings: Settings,
    sender: Sender,
    places: Places,
    journal: Option<PathBuf>,
) -> anyhow::Result<()> {
    let mut relay = event_loop()?.block_on(Relay::new(broker, settings, sender, places, journal));
    // Whoever asks as soon as it has started is told.
    relay.publish_status();
    notify(&[NotifyState::Ready]);
    loop {
        let runtime = event_loop()?;
        let end = runtime.block_on(relay.session());
        runtime.shutdown_background();
        relay.connected_since = None;
        match end? {
            End::Stopped => break,
            End::Lost(trouble) => relay.trouble(trouble),
        }
        relay.forget_open();
    }
    notify(&[NotifyState::Stopping]);
    relay.save(true);
    Ok(())
}

/// What waits for everything.
///
/// # Errors
/// When the kernel gives none.
pub(crate) fn event_loop() -> anyhow::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().context("no event loop")
}

/// Tells systemd. Nobody being there to be told is no error.
fn notify(state: &[NotifyState<'_>]) {
    let _ = sd_notify::notify(state);
}

impl<B: Broker> Relay<B> {
    async fn new(
        broker: B,
        settings: Settings,
        sender: Sender,
        places: Places,
        journal: Option<PathBuf>,
    ) -> Self {
        let journal = Journal::open(journal).await;
        let saved = Saved::read(&places.state).unwrap_or_else(|error| {
            // To send all again is harmless: each event is known by its id.
            say(Level::Warning, &t!("run.bad_state", error = error));
            None
        });
        let saved = saved.unwrap_or_default();
        let ping = sd_notify::watchdog_enabled().map(|time| time / 2);
        Self {
            versions: versions(&journal).await,
            broker,
            settings,
            places,
            journal,
            sender,
            machine_id: journal::machine_id(),
            window: Window::new(saved.marks.clone()),
            open: BTreeMap::new(),
            refused: VecDeque::new(),
            waiting: BTreeMap::new(),
            boots: BTreeSet::new(),
            drained: BTreeSet::new(),
            backoff: Backoff::default(),
            troubles: BTreeMap::new(),
            connected_since: None,
            last_delivered: None,
            started: SystemTime::now(),
            lost: saved.lost,
            saved,
            next_save: Instant::now(),
            has_unsaved: false,
            is_stale: true,
            next_publication: Instant::now(),
            published: None,
            ping,
            next_ping: Instant::now(),
        }
    }

    /// One connection, from the wait before it to its end.
    async fn session(&mut self) -> anyhow::Result<End> {
        let mut stop = Stop::new()?;
        if !self.troubles.is_empty() {
            let wait = self.backoff.next(dice());
            if self.wait(wait, &mut stop).await {
                return Ok(End::Stopped);
            }
        }
        let mut link = {
            let broker = &self.broker;
            let mut connecting = pin!(broker.connect());
            loop {
                let ping = self
                    .ping
                    .map_or_else(|| Instant::now() + STALL, |_| self.next_ping);
                tokio::select! {
                    biased;
                    () = stop.asked() => return Ok(End::Stopped),
                    () = sleep_until(ping) => {
                        let ping = self.ping.unwrap_or(STALL);
                        self.next_ping = Instant::now() + ping;
                        notify(&[NotifyState::Watchdog]);
                    }
                    connected = &mut connecting => match connected {
                        Ok(link) => break link,
                        Err(trouble) => return Ok(End::Lost(trouble)),
                    },
                }
            }
        };
        self.connected_since = Some(SystemTime::now());
        self.connected();
        let end = Session::new(self, stop).work(&mut link).await;
        if matches!(end, End::Stopped) {
            link.close().await;
        }
        Ok(end)
    }

    /// Waits before the next try, and counts meanwhile what is to be sent. True if the service is to end.
    async fn wait(&mut self, wait: Duration, stop: &mut Stop) -> bool {
        let deadline = Instant::now() + wait;
        tokio::select! {
            () = stop.asked() => return true,
            () = self.count() => {}
        }
        loop {
            self.routine();
            let next = self.next_routine().min(deadline);
            tokio::select! {
                () = stop.asked() => return true,
                () = sleep_until(next) => {}
            }
            if Instant::now() >= deadline {
                return false;
            }
        }
    }

    /// Counts what there is to send, without sending it.
    async fn count(&mut self) {
        let counted = async {
            self.journal.readable()?;
            let present = journal::current_boot();
            let boots = match present.filter(|boot| self.boots.contains(boot)) {
                Some(present) => [present].into(),
                None => self.journal.boots().await?,
            };
            for boot in &boots {
                self.routine();
                let mark = self.window.marks().get(boot).copied().unwrap_or_default();
                let counted = self.waiting.get(boot).map_or(0, |waiting| waiting.counted);
                let look = self.journal.count(boot, mark.max(counted)).await?;
                let waiting = self.waiting.entry(*boot).or_default();
                waiting.count += u64::try_from(look.count).unwrap_or(u64::MAX);
                waiting.counted = look.latest;
            }
            self.boots.extend(boots);
            self.is_stale = true;
            anyhow::Ok(())
        };
        match counted.await {
            Ok(()) => self.over(&[Kind::Journal]),
            Err(error) => self.trouble(Trouble::new(Kind::Journal, format!("{error:#}"))),
        }
    }

    fn backlog(&self) -> u64 {
        let waiting = self
            .waiting
            .values()
            .map(|waiting| waiting.count)
            .sum::<u64>();
        waiting + self.open.len() as u64
    }

    /// What was on its way is to be read again.
    fn forget_open(&mut self) {
        for id in std::mem::take(&mut self.open).into_keys() {
            self.drained.remove(&id.boot);
            self.waiting.entry(id.boot).or_default().count += 1;
        }
        self.refused.clear();
        self.window = Window::new(self.window.marks().clone());
    }

    /// Something is wrong: it is said once, and `status` says it as long as it is so.
    fn trouble(&mut self, trouble: Trouble) {
        let known = self
            .troubles
            .insert(trouble.kind, (trouble.clone(), SystemTime::now()));
        match known {
            Some((_, since)) => {
                self.troubles.insert(trouble.kind, (trouble, since));
            }
            None => say(Level::Warning, &trouble.in_words()),
        }
        self.is_stale = true;
        self.routine();
    }

    /// What was wrong isn't any more.
    fn over(&mut self, kinds: &[Kind]) {
        for kind in kinds {
            if self.troubles.remove(kind).is_none() {
                continue;
            }
            self.is_stale = true;
            match kind {
                Kind::Journal => say(Level::Info, &t!("run.journal_again")),
                Kind::Unsaved => say(Level::Info, &t!("run.saved_again")),
                _ => {}
            }
        }
    }

    fn connected(&mut self) {
        self.over(&[
            Kind::NoAddress,
            Kind::Unreachable,
            Kind::Certificate,
            Kind::Login,
        ]);
        let server = &self.settings.server;
        let place = format!("{}:{}", server.host, server.port);
        // One that breaks again and again isn't said each time.
        if !self.troubles.contains_key(&Kind::Closed)
            && !self.troubles.contains_key(&Kind::Unconfirmed)
        {
            say(Level::Info, &t!("run.connected", server = place));
        }
        self.is_stale = true;
        self.routine();
    }

    /// The broker has taken something, if only a state. If `is_taking`, that is after all that it has refused.
    fn delivered(&mut self, answer: &Answer, is_taking: bool) {
        if let Some(last) = answer.delivered.last() {
            self.last_delivered = Some((*last, SystemTime::now()));
            self.has_unsaved = true;
            self.is_stale = true;
        }
        if !is_taking {
            return;
        }
        // What an event is refused for, only another event proves to be over.
        let (of_link, of_events) = (
            [Kind::Closed, Kind::Unconfirmed],
            [Kind::Refused, Kind::Unroutable],
        );
        let before = self.troubles.len();
        self.over(&of_link);
        if !answer.delivered.is_empty() {
            self.over(&of_events);
        }
        if !of_events
            .iter()
            .any(|kind| self.troubles.contains_key(kind))
        {
            self.backoff.reset();
        }
        if self.troubles.len() < before {
            say(Level::Info, &t!("run.delivering"));
        }
    }

    /// What is due by time, whatever else goes on.
    fn routine(&mut self) {
        let now = Instant::now();
        if let Some(ping) = self.ping.filter(|_| now >= self.next_ping) {
            self.next_ping = now + ping;
            notify(&[NotifyState::Watchdog]);
        }
        self.save(false);
        self.publish_status();
    }

    fn next_routine(&self) -> Instant {
        let mut next = Instant::now() + STALL;
        if self.ping.is_some() {
            next = next.min(self.next_ping);
        }
        if self.has_unsaved {
            next = next.min(self.next_save);
        }
        if self.is_stale {
            next = next.min(self.next_publication);
        }
        next
    }

    /// Saves what is confirmed, if there is news and it isn't too soon.
    fn save(&mut self, is_last: bool) {
        let now = Instant::now();
        if !self.has_unsaved || !(is_last || now >= self.next_save) {
            return;
        }
        let mut new = Saved::new(self.window.marks().clone(), self.lost);
        new.forget(&self.boots);
        if new == self.saved {
            self.has_unsaved = false;
            return;
        }
        match new.write(&self.places.state) {
            Ok(()) => {
                self.next_save = now + SAVE_PAUSE;
                self.saved = new;
                self.has_unsaved = false;
                self.over(&[Kind::Unsaved]);
            }
            Err(error) => {
                self.next_save = now + SAVE_RETRY;
                let file = crate::saved::path(&self.places.state);
                let detail = format!("{}: {error}", file.display());
                let is_new = !self.troubles.contains_key(&Kind::Unsaved);
                let trouble = Trouble::new(Kind::Unsaved, detail);
                if is_new {
                    say(Level::Warning, &trouble.in_words());
                    self.troubles
                        .insert(Kind::Unsaved, (trouble, SystemTime::now()));
                    self.is_stale = true;
                }
            }
        }
    }

    /// Tells `status` how things are, if that may have changed and it isn't too soon.
    fn publish_status(&mut self) {
        if !self.is_stale || Instant::now() < self.next_publication {
            return;
        }
        self.is_stale = false;
        self.next_publication = Instant::now() + PUBLICATION_PAUSE;
        let server = &self.settings.server;
        let new = Published {
            version: 1,
            pid: std::process::id(),
            till: self.sender.till.clone(),
            server: format!("{}:{}", server.host, server.port),
            started_at: timestamp(self.started),
            connected_since: self.connected_since.map(timestamp),
            last_delivered: self.last_delivered.as_ref().map(|(id, at)| Delivered {
                id: id.to_string(),
                at: timestamp(*at),
            }),
            backlog: self.backlog(),
            lost: self.lost,
            troubles: self
                .troubles
                .values()
                .map(|(trouble, since)| Since {
                    trouble: trouble.clone(),
                    since: timestamp(*since),
                })
                .collect(),
        };
        if self.published.as_ref() != Some(&new) && new.write(&self.places.runtime).is_ok() {
            let words = crate::status::headline(&new);
            notify(&[NotifyState::Status(&words)]);
            self.published = Some(new);
        }
    }

    fn state(&self) -> Publication {
        let status = files::read(&self.places.watchdog.join("status.json"));
        let status = status.ok().flatten();
        let boot = journal::current_boot();
        let beside = Beside {
            boot,
            backlog: self.backlog(),
            machine_id: self.machine_id.as_deref(),
            versions: &self.versions,
        };
        Publication {
            exchange: STATES,
            routing_key: format!("{}.state", self.sender.till),
            content_type: "application/json",
            message_id: None,
            is_event: false,
            body: state::body(status.as_deref(), &beside, &self.sender, clock::now()),
        }
    }
}

/// The work on one connection.
struct Session<'a, B> {
    relay: &'a mut Relay<B>,
    stop: Stop,
    wake: Wake,
    looks: mpsc::Sender<()>,
    found: mpsc::Receiver<Found>,
    /// How many events may be open: one, until the broker has taken it; then twice as many each time.
    limit: usize,
    /// No event is sent before.
    not_before: Instant,
    next_state: Instant,
    next_look: Instant,
    /// When the broker has answered last, or had nothing to answer.
    answered: Instant,
    is_reading: bool,
    /// The latest tag, and the latest one when the broker last refused something: only what was sent after that
    /// tells that it takes events again.
    tag: u64,
    refused_at: u64,
    /// Tags of states, of which nothing is awaited but an answer.
    states: BTreeSet<u64>,
}

impl<'a, B: Broker> Session<'a, B> {
    fn new(relay: &'a mut Relay<B>, stop: Stop) -> Self {
        let (looks, asked) = mpsc::channel(1);
        let (out, found) = mpsc::channel(64);
        let (journal, marks) = (relay.journal.clone(), relay.window.marks().clone());
        let complete = relay.drained.clone();
        tokio::spawn(journal::read(journal, marks, complete, asked, out));
        let now = Instant::now();
        Self {
            wake: Wake::new(&relay.places.watchdog),
            relay,
            stop,
            looks,
            found,
            limit: 1,
            not_before: now,
            next_state: now,
            next_look: now + UNWATCHED_LOOK,
            answered: now,
            is_reading: true,
            tag: 0,
            refused_at: 0,
            states: BTreeSet::new(),
        }
    }

    async fn work(&mut self, link: &mut B::Link) -> End {
        match self.work_until_lost(link).await {
            Ok(()) => {
                self.finish(link).await;
                End::Stopped
            }
            Err(trouble) => End::Lost(trouble),
        }
    }

    /// Works until the service is to end.
    async fn work_until_lost(&mut self, link: &mut B::Link) -> Result<(), Trouble> {
        loop {
            self.due(link).await?;
            let may_send =
                self.relay.window.outstanding() < self.limit && Instant::now() >= self.not_before;
            if let Some(id) = may_send.then(|| self.relay.refused.pop_front()).flatten() {
                if let Some(event) = self.relay.open.get(&id).cloned() {
                    self.send(&event, link).await?;
                }
                continue;
            }
            let may_take = may_send && self.relay.open.len() < self.limit;
            let next = self.next_due();
            tokio::select! {
                biased;
                () = self.stop.asked() => return Ok(()),
                news = link.next() => self.hear(news)?,
                found = self.found.recv(), if may_take => match found {
                    Some(Found::Event(event)) => {
                        self.take(&event);
                        self.send(&event, link).await?;
                    }
                    Some(found) => self.find(found),
                    None => return Err(Trouble::new(Kind::Journal, "the reader has ended")),
                },
                () = self.wake.changed() => {
                    self.next_look = self.next_look.min(Instant::now() + GATHER);
                    self.next_state = self.next_state.min(Instant::now() + GATHER);
                }
                () = sleep_until(next) => {}
            }
        }
    }

    /// Does what is due by time.
    async fn due(&mut self, link: &mut B::Link) -> Result<(), Trouble> {
        let now = Instant::now();
        self.relay.routine();
        if now >= self.next_state {
            self.next_state = now + self.relay.settings.heartbeat;
            let state = self.relay.state();
            let tag = link.publish(state).await?;
            self.tag = tag;
            self.states.insert(tag);
            self.expect();
        }
        if now >= self.next_look && !self.is_reading {
            self.wake.renew();
            let pause = if self.wake.is_watching() {
                self.relay.settings.heartbeat
            } else {
                UNWATCHED_LOOK
            };
            self.next_look = now + pause;
            self.is_reading = self.looks.try_send(()).is_ok();
        }
        let is_owed = self.relay.window.outstanding() + self.states.len() > 0;
        if is_owed && now >= self.answered + STALL {
            let seconds = STALL.as_secs();
            let detail = format!("no answer for {seconds} s");
            return Err(Trouble::new(Kind::Unconfirmed, detail));
        }
        Ok(())
    }

    fn next_due(&self) -> Instant {
        let mut next = self.relay.next_routine().min(self.next_state);
        if !self.is_reading {
            next = next.min(self.next_look);
        }
        if self.relay.window.outstanding() + self.states.len() > 0 {
            next = next.min(self.answered + STALL);
        }
        if self.not_before > Instant::now() {
            next = next.min(self.not_before);
        }
        next
    }

    /// From now on an answer is awaited, if none was.
    fn expect(&mut self) {
        if self.relay.window.outstanding() + self.states.len() == 1 {
            self.answered = Instant::now();
        }
    }

    fn take(&mut self, event: &Event) {
        let relay = &mut *self.relay;
        relay.window.take(&event.id);
        relay.open.insert(event.id, event.clone());
        if let Some(waiting) = relay.waiting.get_mut(&event.id.boot) {
            waiting.count = waiting.count.saturating_sub(1);
        }
    }

    async fn send(&mut self, event: &Event, link: &mut B::Link) -> Result<(), Trouble> {
        let sender = &self.relay.sender;
        let publication = Publication {
            exchange: EVENTS,
            routing_key: event.routing_key(&sender.till),
            content_type: "application/cloudevents+json",
            message_id: Some(event.id.to_string()),
            is_event: true,
            body: event.body(sender, clock::now()),
        };
        let tag = link.publish(publication).await?;
        self.tag = tag;
        self.relay.window.sent(tag, event.id);
        self.expect();
        if let Some(rate) = self.relay.settings.max_rate {
            self.not_before = self.not_before.max(Instant::now()) + Duration::from_secs(1) / rate;
        }
        Ok(())
    }

    /// Takes in what the broker says.
    fn hear(&mut self, news: News) -> Result<(), Trouble> {
        let is_new;
        let answer = match news {
            News::Confirmed { tag, multiple } => {
                self.answered_state(tag, multiple);
                is_new = tag > self.refused_at;
                self.relay.window.confirmed(tag, multiple)
            }
            News::Refused { tag, multiple } => {
                self.answered_state(tag, multiple);
                is_new = tag > self.refused_at;
                let answer = self.relay.window.refused(tag, multiple);
                if !answer.refused.is_empty() {
                    self.relay
                        .trouble(Trouble::new(Kind::Refused, "basic.nack"));
                }
                answer
            }
            News::Returned { message_id, why } => {
                self.relay.window.returned(&message_id);
                self.relay.trouble(Trouble::new(Kind::Unroutable, why));
                return Ok(());
            }
            News::Blocked(Some(why)) => {
                self.relay.trouble(Trouble::new(Kind::Unconfirmed, why));
                return Ok(());
            }
            News::Blocked(None) => return Ok(()),
            News::Closed(trouble) => return Err(trouble),
        };
        self.answered = Instant::now();
        let is_taking = is_new && answer.refused.is_empty();
        self.relay.delivered(&answer, is_taking);
        if !answer.refused.is_empty() {
            // One is tried again, after a while; the others follow when it is taken. That all that was on its way
            // is refused, one by one, is one failure.
            if is_new {
                let wait = self.relay.backoff.next(dice());
                self.not_before = self.not_before.max(Instant::now() + wait);
            }
            self.refused_at = self.tag;
            self.limit = 1;
        } else if is_taking && !answer.delivered.is_empty() {
            // Not all at once: a queue that has little room refuses little then.
            self.limit = (self.limit * 2).min(WINDOW);
        }
        for id in &answer.delivered {
            self.relay.open.remove(id);
        }
        self.relay.refused.extend(answer.refused);
        Ok(())
    }

    fn answered_state(&mut self, tag: u64, multiple: bool) {
        if multiple {
            self.states = self.states.split_off(&(tag + 1));
        } else {
            self.states.remove(&tag);
        }
    }

    /// Takes in what the reader says, besides events.
    fn find(&mut self, found: Found) {
        match found {
            Found::Boots(boots) => self.relay.boots = boots,
            Found::New(boot, count, latest) => {
                let counted = latest;
                self.relay.is_stale = true;
                self.relay.waiting.insert(boot, Waiting { count, counted });
            }
            Found::Drained(boot) => {
                if let Some(waiting) = self.relay.waiting.get_mut(&boot) {
                    waiting.count = 0;
                }
                self.relay.window.drained(&boot);
                self.relay.drained.insert(boot);
                self.relay.has_unsaved = true;
                self.relay.is_stale = true;
            }
            Found::Unreadable(count) => {
                self.relay.lost += count;
                self.relay.has_unsaved = true;
                let count = count.to_string();
                say(Level::Warning, &t!("run.unreadable", count = count));
            }
            Found::Idle => {
                self.is_reading = false;
                self.relay.over(&[Kind::Journal]);
            }
            Found::Failed(why) => {
                self.is_reading = false;
                self.relay.trouble(Trouble::new(Kind::Journal, why));
            }
            Found::Event(_) => {}
        }
    }

    /// Waits for a moment for what is at the broker.
    async fn finish(&mut self, link: &mut B::Link) {
        let rest = async {
            while self.relay.window.outstanding() > 0 {
                let news = link.next().await;
                if self.hear(news).is_err() {
                    return;
                }
            }
        };
        // What isn't confirmed then is sent again.
        let _ = timeout(LAST_WAIT, rest).await;
    }
}

/// The wish that the service should end.
struct Stop([Signal; 2]);

impl Stop {
    fn new() -> anyhow::Result<Self> {
        let [terminate, interrupt] = [SignalKind::terminate(), SignalKind::interrupt()].map(signal);
        Ok(Self([terminate?, interrupt?]))
    }

    async fn asked(&mut self) {
        let Self([terminate, interrupt]) = self;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
}

/// What runs on the till, as far as it can be told.
async fn versions(journal: &Journal) -> BTreeMap<&'static str, String> {
    let mut versions = BTreeMap::new();
    versions.insert("relay", env!("CARGO_PKG_VERSION").to_owned());
    if let Some(version) = journal.version {
        versions.insert("systemd", version.to_string());
    }
    if let Ok(release) = std::fs::read_to_string("/proc/sys/kernel/osrelease") {
        versions.insert("kernel", release.trim().to_owned());
    }
    let mut watchdog = Command::new("mfe-watchdog");
    watchdog.arg("--version").kill_on_drop(true);
    if let Ok(Ok(output)) = timeout(Duration::from_secs(10), watchdog.output()).await {
        let text = String::from_utf8_lossy(&output.stdout);
        let version = text.split_whitespace().nth(1).unwrap_or_default();
        if !version.is_empty() {
            versions.insert("watchdog", version.chars().take(64).collect());
        }
    }
    versions
}
