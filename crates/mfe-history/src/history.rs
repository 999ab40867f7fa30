//! Turns what the journal has into when each process was up, down, or not observed. It has no clock
//! and no file, and forgets what lies before the period that is asked for.
//!
//! The wall clock may be set at any time, so time is counted along an axis of its own: within a boot
//! it advances by the monotonic clock. Where the wall clock has advanced further, the machine slept
//! or the clock was set forward, and nobody was watching or there was no such time: that stretch is
//! not observed. The axis never runs backwards, and a wall clock beyond the present isn't believed.
//!
//! The watchdog numbers its messages. Where numbers are missing, the journal has lost what they said, and
//! nothing is known of a process from the last message before to the next one that is about it, but for
//! what that one proves: that it has been running with the same pid all the time, say.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::kind::Kind;

/// By how much the wall clock may get ahead of the monotonic one before that is a stretch of its own,
/// in microseconds: a clock that is kept right by NTP is set by less.
const CLOCK_TOLERANCE: u64 = 200_000;

/// What the watchdog's own measure of an outage may lack, in microseconds: it tells milliseconds.
const ROUNDING: u64 = 1000;

/// `MFE_CAUSE` where it isn't known how a process ended.
const UNKNOWN_CAUSE: &str = "gone";

/// A moment as journald stamps it, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Which boot it belongs to (`_BOOT_ID`).
    pub boot: u128,
    /// CLOCK_MONOTONIC of that boot.
    pub monotonic: u64,
    /// CLOCK_REALTIME, since 1970.
    pub wall: u64,
}

/// Which of the watchdog's messages one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Number {
    /// `MFE_RUN`: the run of the watchdog.
    pub run: u128,
    /// `MFE_SEQ`: from 1 in each run, without a gap.
    pub seq: u64,
}

/// One entry of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// When it was written, or when what it tells has happened, if that is known.
    pub at: Moment,
    /// Its number, if it is a message of a watchdog that numbers them.
    pub number: Option<Number>,
    /// What it says.
    pub sign: Sign,
}

/// What an entry of the journal says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sign {
    /// A message of the watchdog.
    Event(Event),
    /// systemd says that the watchdog has ended.
    Ended,
    /// systemd says that the watchdog has ended as it was told to, of which it speaks itself before.
    Stopped,
    /// The machine ran, and systemd hasn't said that the watchdog has ended.
    Alive,
}

/// A message of the watchdog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The watchdog's pid.
    pub pid: i32,
    /// What has happened.
    pub kind: Kind,
    /// The key of the process it is about.
    pub process: Option<String>,
    /// `MFE_PID`.
    pub process_pid: Option<i32>,
    /// `MFE_CAUSE`, as it is written.
    pub cause: Option<String>,
    /// `MFE_SIGNAL`, as it is written.
    pub signal: Option<String>,
    /// `MFE_OUTAGE_MS`.
    pub outage: Option<Duration>,
    /// Of a start: how long before it the run before had last looked, by `MFE_WATCHED_UNTIL`.
    pub unwatched: Option<Duration>,
}

/// The watchdog that runs now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// Its pid.
    pub pid: i32,
    /// The processes that it watches, by their keys; `None` if that is unknown.
    pub watched: Option<BTreeMap<String, Present>>,
    /// Its latest message, at a time from which all that it had sent until then was to be read; `None` if
    /// that can't be told.
    pub latest: Option<Number>,
}

/// How a process is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Present {
    /// It runs, with these pids.
    Up(Vec<i32>),
    /// It doesn't.
    Down,
    /// That is unknown.
    Unknown,
}

/// Why a process wasn't observed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The journal has nothing about it up to here.
    NoRecord,
    /// The watchdog wasn't running, or nothing says that it was.
    NotRunning,
    /// The machine was off.
    Off,
    /// The machine had just been switched on, and the program was being started for the first time.
    Booting,
    /// The watchdog couldn't look.
    Unknown,
    /// The machine slept, or the clock was set forward.
    ClockAhead,
    /// The configuration no longer named it.
    Removed,
    /// The watchdog was running, and the journal has lost what it said.
    Lost,
}

impl Reason {
    /// Its stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NoRecord => "no_record",
            Self::NotRunning => "watchdog_not_running",
            Self::Off => "machine_off",
            Self::Booting => "booting",
            Self::Unknown => "unknown",
            Self::ClockAhead => "clock_ahead",
            Self::Removed => "removed",
            Self::Lost => "messages_lost",
        }
    }
}

/// How a process was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It ran.
    Up,
    /// It didn't: an index into the process's outages.
    Down(usize),
    /// It belongs on the screen, and nobody was logged in there, or had just come.
    NobodyLoggedIn,
    /// Nobody can tell.
    NotObserved(Reason),
}

/// `MFE_CAUSE` of what the first look of a watchdog doesn't find.
const ABSENT: &str = "absent";

/// It is being started for the first time since the machine was switched on.
const BOOTING: State = State::NotObserved(Reason::Booting);

/// Nobody was there to look.
const NOT_RUNNING: State = State::NotObserved(Reason::NotRunning);

/// Messages are missing.
const LOST: State = State::NotObserved(Reason::Lost);

/// A stretch of time, in microseconds since 1970 by the wall clock as it is set at the end of the
/// period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    /// Its beginning.
    pub from: u64,
    /// Its end.
    pub to: u64,
    /// How the process was.
    pub state: State,
}

impl Interval {
    /// How long it is, in microseconds.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.to - self.from
    }
}

/// One time for which a process was gone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "four things that are so or not, each by itself"
)]
pub struct Outage {
    /// Why: `MFE_CAUSE`.
    pub cause: Option<String>,
    /// The signal that ended the process, if one did: `MFE_SIGNAL`.
    pub signal: Option<String>,
    /// Whether a start failed meanwhile.
    pub start_failed: bool,
    /// Whether somebody had told the watchdog to leave the process alone: it may have been meant.
    pub is_in_pause: bool,
    /// Whether its beginning was seen: it came neither before the period nor while nobody watched.
    pub is_begin_seen: bool,
    /// Whether its end was seen.
    pub is_end_seen: bool,
}

/// What is known of one process in the period.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// The whole period, in order, without gap or overlap; two neighbours differ.
    pub intervals: Vec<Interval>,
    /// What the intervals that are down refer to.
    pub outages: Vec<Outage>,
    /// How often it was brought back.
    pub restarts: usize,
    /// How often it lived and wasn't well.
    pub unhealthy: usize,
    /// How often it kept crashing.
    pub crash_loops: usize,
}

/// What is known of a period.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past {
    /// Its beginning, in microseconds since 1970.
    pub from: u64,
    /// Its end.
    pub to: u64,
    /// Whether that is the present: what lasts then still lasts.
    pub is_until_now: bool,
    /// Each process by its key.
    pub processes: BTreeMap<String, Record>,
}

/// A run of the watchdog.
#[derive(Debug, Clone, Copy)]
struct Run {
    pid: i32,
    /// Its latest message, if it numbers them.
    number: Option<Number>,
    /// The earliest it can have begun.
    from: u64,
    /// When it has said that.
    said: u64,
    /// Up to when it is known to have run, as far as nothing is missing.
    alive: u64,
    /// Whether it is the first one since the machine was switched on.
    is_first_of_boot: bool,
}

impl Run {
    fn id(&self) -> (i32, Option<u128>) {
        (self.pid, self.number.map(|number| number.run))
    }

    /// Up to when it can be said to have run, if another one has come after it and nothing says when it
    /// has ended: something is missing then, and a run that numbers its messages is believed only as far
    /// as it has spoken.
    fn last_heard(&self) -> u64 {
        self.number.map_or(self.alive, |_| self.said)
    }
}

/// What may have happened to a process isn't known.
#[derive(Debug, Clone, Copy)]
struct Lost {
    /// How it was when the last message came before those that are missing, and when that was.
    before: State,
    from: u64,
    /// The pid that it had then.
    pid: Option<i32>,
    /// When the first message came after them: since then, nothing has changed that isn't told.
    to: u64,
}

/// What is being learnt of one process. Times are on the axis.
#[derive(Debug)]
struct Track {
    /// What is over, in order.
    past: Vec<Interval>,
    state: State,
    since: u64,
    /// The pid that it has, as was told last.
    pid: Option<i32>,
    /// What is missing, if that may be about this process and nothing has been told of it since.
    lost: Option<Lost>,
    /// When the latest outage was noticed, by the monotonic clock.
    noticed: u64,
    outages: Vec<Outage>,
    restarts: Vec<u64>,
    unhealthy: Vec<u64>,
    crash_loops: Vec<u64>,
    /// Whether anything was told of it since the machine was switched on.
    is_known_in_boot: bool,
    /// The first reload since its last word: it may have been removed then.
    doubt: Option<u64>,
    /// Whether the watchdog leaves it alone.
    is_paused: bool,
}

impl Track {
    fn new(since: u64) -> Self {
        Self {
            past: Vec::new(),
            state: State::NotObserved(Reason::NoRecord),
            since,
            pid: None,
            lost: None,
            noticed: 0,
            outages: Vec::new(),
            restarts: Vec::new(),
            unhealthy: Vec::new(),
            crash_loops: Vec::new(),
            is_known_in_boot: false,
            doubt: None,
            is_paused: false,
        }
    }

    fn is_observed(&self) -> bool {
        !matches!(self.state, State::NotObserved(_))
    }

    /// Is in another state from `at` on, which may lie before what was last said of it.
    fn set(&mut self, at: u64, state: State) {
        while let Some(last) = self.past.last_mut() {
            last.to = last.to.min(at);
            if last.from < at {
                break;
            }
            self.past.pop();
        }
        if at > self.since {
            self.past.push(Interval {
                from: self.since,
                to: at,
                state: self.state,
            });
        }
        self.state = state;
        self.since = at;
    }

    fn go_down(&mut self, at: u64, cause: Option<String>, is_begin_seen: bool) {
        self.outages.push(Outage {
            cause,
            is_begin_seen,
            is_in_pause: self.is_paused,
            ..Outage::default()
        });
        self.set(at, State::Down(self.outages.len() - 1));
    }

    /// It waits for somebody at the screen, or, with another cause, can't be started there: that is an
    /// outage, for somebody sits there.
    fn waits(&mut self, at: u64, cause: Option<&str>) {
        match cause {
            Some("login" | "autostart") => self.set(at, State::NobodyLoggedIn),
            _ if matches!(self.state, State::Down(_)) => {}
            cause => {
                let was_up = self.state == State::Up;
                self.go_down(at, cause.map(str::to_owned), was_up);
            }
        }
    }

    /// By which signal, if that is told with its cause.
    fn ended_by(&mut self, event: &Event) {
        if let Some(outage) = self.outage().filter(|outage| outage.cause == event.cause) {
            outage.signal = outage.signal.take().or_else(|| event.signal.clone());
        }
    }

    fn outage(&mut self) -> Option<&mut Outage> {
        match self.state {
            State::Down(index) => self.outages.get_mut(index),
            _ => None,
        }
    }

    fn come_up(&mut self, at: u64) {
        if let Some(outage) = self.outage() {
            outage.is_end_seen = true;
        }
        self.set(at, State::Up);
    }

    /// Messages are missing between `from` and `to`.
    fn lose(&mut self, from: u64, to: u64) {
        match (self.state, &mut self.lost) {
            (LOST, Some(lost)) => lost.to = to,
            (State::NotObserved(reason), _) if reason != Reason::Booting => return,
            (before, _) => {
                self.lost = Some(Lost {
                    before,
                    from,
                    pid: self.pid,
                    to,
                });
                self.split(from);
                // Where the clock got ahead meanwhile, that is known.
                let since = self.past.iter_mut().rev();
                for interval in since.take_while(|interval| interval.from >= from) {
                    if interval.state == before {
                        interval.state = LOST;
                    }
                }
                self.state = LOST;
            }
        }
        self.set(to, LOST);
    }

    /// Has an interval begin at `at`, without changing any.
    fn split(&mut self, at: u64) {
        if self.since < at {
            self.set(at, self.state);
            return;
        }
        let is_around = |interval: &Interval| interval.from < at && at < interval.to;
        if let Some(index) = self.past.iter().rposition(is_around) {
            let rest = Interval {
                from: at,
                ..self.past[index]
            };
            self.past[index].to = at;
            self.past.insert(index + 1, rest);
        }
    }

    /// It was in this state after all since `from`, as far as messages were missing.
    fn find(&mut self, from: u64, state: State) {
        let since = self.past.iter_mut().rev();
        for interval in since.take_while(|interval| interval.from >= from) {
            if interval.state == LOST {
                interval.state = state;
            }
        }
        if self.state == LOST {
            self.state = state;
        }
    }

    /// It has been running until now with this pid: all the time, if it had that before.
    fn find_up(&mut self, lost: Lost, pid: Option<i32>) {
        let is_same = lost.before == State::Up && pid.is_some() && pid == lost.pid;
        self.find(if is_same { lost.from } else { lost.to }, State::Up);
    }

    /// Finds what the next message about it proves of the time of which messages are missing.
    fn find_by(&mut self, lost: Lost, now: Position, event: &Event) {
        let pid = event.process_pid;
        match event.kind {
            Kind::Down if event.cause.as_deref() != Some(ABSENT) => self.find_up(lost, pid),
            Kind::Unhealthy | Kind::Killed => self.find_up(lost, pid),
            Kind::Up | Kind::Adopted | Kind::Recovered if pid.is_some() && pid == lost.pid => {
                self.find_up(lost, pid);
            }
            Kind::StartFailed => {
                self.outages.push(Outage {
                    is_in_pause: self.is_paused,
                    ..Outage::default()
                });
                self.find(lost.to, State::Down(self.outages.len() - 1));
            }
            Kind::Restarted => {
                let Some(outage) = event.outage_micros() else {
                    return;
                };
                let begin = now.axis.saturating_sub(outage);
                match lost.before {
                    State::Down(_) if begin <= lost.from.saturating_add(ROUNDING) => {
                        self.find(lost.from, lost.before);
                    }
                    _ if begin > lost.to => self.find(lost.to, State::Up),
                    _ => {}
                }
            }
            _ => {}
        }
    }

    /// The boot is another one from now on: it has begun at `began`, and the one before is known to have
    /// lasted until `over`.
    fn is_booted(&mut self, over: u64, began: u64) {
        // No pause outlives the boot.
        self.is_paused = false;
        self.is_known_in_boot = false;
        if self.state == NOT_RUNNING {
            let over = over.max(self.since);
            self.set(over, State::NotObserved(Reason::Off));
            self.set(began.max(over), NOT_RUNNING);
        }
    }

    /// The clock has got ahead: from `from` to `to` nothing is known.
    fn skip(&mut self, from: u64, to: u64) {
        if self.is_observed() || self.lost.is_some() {
            let state = self.state;
            self.set(from, State::NotObserved(Reason::ClockAhead));
            self.set(to, state);
        }
    }

    /// It is back after an outage that the watchdog itself has measured. That counts: the message of
    /// its beginning is written after the start has been made, and may have been lost.
    fn measured(
        &mut self,
        now: Position,
        outage: u64,
        run: Run,
        lost: Option<Lost>,
        cause: Option<&str>,
    ) {
        match self.state {
            State::Down(_) => {
                let told = now.monotonic.saturating_sub(self.noticed);
                let earlier = outage.saturating_sub(told);
                // Only what was up may turn out to have been down already.
                if let Some((from, up)) = self.begin_of_outage() {
                    self.begin_earlier(from, from.saturating_sub(earlier).max(up));
                }
            }
            State::Up
            | State::NobodyLoggedIn
            | State::NotObserved(Reason::NoRecord | Reason::NotRunning | Reason::Lost) => {
                let begin = now.axis.saturating_sub(outage);
                let bound = match (self.state, lost) {
                    (State::NotObserved(Reason::NoRecord), _) => run.from,
                    (_, Some(lost)) => lost.from,
                    _ => run.from.max(self.since),
                };
                let is_begin_seen = begin >= bound;
                self.go_down(begin.max(bound), cause.map(str::to_owned), is_begin_seen);
            }
            State::NotObserved(_) => {}
        }
    }

    /// When the outage that lasts began, and since when the process had been up then; `None` unless
    /// it had.
    fn begin_of_outage(&self) -> Option<(u64, u64)> {
        let is_part = |interval: &&Interval| {
            interval.state == self.state || interval.state == State::NotObserved(Reason::ClockAhead)
        };
        let parts = self.past.iter().rev().take_while(is_part).count();
        let (before, parts) = self.past.split_at(self.past.len() - parts);
        let from = parts.first().map_or(self.since, |part| part.from);
        let up = before.last().filter(|up| up.state == State::Up)?;
        Some((from, up.from))
    }

    fn begin_earlier(&mut self, from: u64, earlier: u64) {
        for interval in self.past.iter_mut().rev() {
            if interval.to == from {
                interval.to = earlier;
            } else if interval.from == from {
                interval.from = earlier;
            }
        }
        if self.since == from {
            self.since = earlier;
        }
        self.past.retain(|interval| interval.from < interval.to);
    }

    /// Forgets what lies before `time`.
    fn forget(&mut self, time: u64) {
        let over = self.past.iter().take_while(|past| past.to < time).count();
        // Not each time: what is left has to move.
        if over > 1000 {
            self.past.drain(..over);
            self.restarts.retain(|at| *at >= time);
            self.unhealthy.retain(|at| *at >= time);
            self.crash_loops.retain(|at| *at >= time);
        }
    }
}

impl Event {
    fn outage_micros(&self) -> Option<u64> {
        let outage = self.outage?;
        Some(micros(outage))
    }
}

/// A moment on the axis, and by the monotonic clock.
#[derive(Debug, Clone, Copy)]
struct Position {
    axis: u64,
    monotonic: u64,
}

/// What the journal has said so far.
#[derive(Debug)]
pub struct History {
    now: Moment,
    period: u64,
    /// How long ago it ended.
    ago: u64,
    last: Option<Moment>,
    axis: u64,
    run: Option<Run>,
    /// A run that has ended, whose last words say nothing more about processes.
    ended: Option<Run>,
    /// Whether a watchdog was heard of in this boot.
    is_boot_known: bool,
    tracks: BTreeMap<String, Track>,
}

impl History {
    /// Nothing yet, about the `period` before `now`.
    #[must_use]
    pub fn new(now: Moment, period: Duration) -> Self {
        Self {
            now,
            period: micros(period),
            ago: 0,
            last: None,
            axis: 0,
            run: None,
            ended: None,
            is_boot_known: false,
            tracks: BTreeMap::new(),
        }
    }

    /// The same, but up to so long ago only.
    #[must_use]
    pub fn until(mut self, ago: Duration) -> Self {
        self.ago = micros(ago).min(self.period);
        self
    }

    /// The boot in which the watchdog was last heard of, if nothing says that it has ended.
    #[must_use]
    pub fn running_in(&self) -> Option<u128> {
        self.run.and(self.last).map(|last| last.boot)
    }

    /// Takes the next entry in; they come in the order of their moments.
    pub fn take(&mut self, entry: &Entry) {
        self.advance(entry.at);
        let at = Position {
            axis: self.axis,
            monotonic: entry.at.monotonic,
        };
        let is_new = entry
            .number
            .is_none_or(|number| self.count(number, at.axis));
        match &entry.sign {
            Sign::Ended => self.run_ends(at.axis),
            Sign::Stopped => {
                // If the run is still known here, its word of that is missing, and who knows what else.
                let numbered = self.run.filter(|run| run.number.is_some());
                self.run_ends(numbered.map_or(at.axis, |run| run.said));
            }
            Sign::Event(event) if is_new => self.event(at, entry.number, event),
            Sign::Event(_) | Sign::Alive => self.is_alive(at.axis),
        }
    }

    /// Notes a message's number, and what is missing before it. Says whether it is new.
    fn count(&mut self, number: Number, at: u64) -> bool {
        let Some(run) = &mut self.run else {
            return true;
        };
        let Some(last) = run.number.filter(|last| last.run == number.run) else {
            return true;
        };
        if number.seq <= last.seq {
            return false;
        }
        let said = std::mem::replace(&mut run.said, at);
        run.number = Some(number);
        if number.seq - last.seq > 1 {
            self.lose(said, at);
        }
        true
    }

    fn lose(&mut self, from: u64, to: u64) {
        for track in self.tracks.values_mut() {
            track.lose(from, to);
        }
    }

    /// Moves the axis on to `to`.
    fn advance(&mut self, to: Moment) {
        let now = self.now.wall;
        let believed = |wall: u64| (wall <= now).then_some(wall);
        let is_back = |last: Moment| last.boot == to.boot && last.monotonic > to.monotonic;
        if self.last.is_some_and(is_back) {
            // It comes too late to be put in its place.
            return;
        }
        let Some(last) = self.last.replace(to) else {
            self.axis = believed(to.wall).unwrap_or(now);
            return;
        };
        if last.boot != to.boot {
            if let Some(run) = self.run {
                self.run_ends(run.alive);
            }
            self.ended = None;
            self.is_boot_known = false;
            let over = self.axis;
            self.axis = believed(to.wall).map_or(over, |wall| wall.max(over));
            let began = self.axis.saturating_sub(to.monotonic).max(over);
            for track in self.tracks.values_mut() {
                track.is_booted(over, began);
            }
            return;
        }
        let passed = to.monotonic.saturating_sub(last.monotonic);
        let steady = self.axis.saturating_add(passed);
        let ahead = believed(to.wall).filter(|wall| *wall > steady.saturating_add(CLOCK_TOLERANCE));
        if let Some(wall) = ahead {
            for track in self.tracks.values_mut() {
                track.skip(steady, wall);
            }
        }
        self.axis = ahead.unwrap_or(steady);
        let from = now.saturating_sub(self.period);
        for track in self.tracks.values_mut() {
            // The axis may end that much before the present.
            track.forget(from.saturating_sub(CLOCK_TOLERANCE));
        }
    }

    fn is_alive(&mut self, at: u64) {
        if let Some(run) = &mut self.run {
            run.alive = at;
        }
    }

    fn run_ends(&mut self, at: u64) {
        let Some(run) = self.run.take() else {
            return;
        };
        self.ended = Some(run);
        for track in self.tracks.values_mut() {
            track.lost = None;
            if !matches!(
                track.state,
                State::NotObserved(Reason::NoRecord | Reason::NotRunning)
            ) {
                track.set(at, NOT_RUNNING);
            }
        }
    }

    /// A run that has ended had last looked at `until`: since then it was there, and hung.
    fn has_hung(&mut self, ended: Run, until: u64) {
        // It has looked for what it has said.
        let until = until.max(ended.said);
        for track in self.tracks.values_mut() {
            if track.state == NOT_RUNNING && track.since > until {
                track.set(until, NOT_RUNNING);
            }
        }
    }

    fn event(&mut self, at: Position, number: Option<Number>, event: &Event) {
        let id = (event.pid, number.map(|number| number.run));
        // Without a number, a pid may be used again.
        let is_new_run = event.kind == Kind::Startup && number.is_none();
        if !is_new_run && self.ended.is_some_and(|ended| ended.id() == id) {
            return;
        }
        let run = match self.run.filter(|run| !is_new_run && run.id() == id) {
            Some(run) => Run {
                alive: at.axis,
                ..run
            },
            None => {
                // Whatever became of the one before, it was last heard of then.
                if let Some(before) = self.run {
                    self.run_ends(before.last_heard());
                }
                let since_boot = at.axis.saturating_sub(at.monotonic);
                let is_begin = event.kind == Kind::Startup;
                Run {
                    pid: event.pid,
                    number,
                    said: at.axis,
                    from: if is_begin { at.axis } else { since_boot },
                    alive: at.axis,
                    is_first_of_boot: is_begin && !self.is_boot_known,
                }
            }
        };
        if let (Some(ended), Some(unwatched)) = (self.ended.take(), event.unwatched) {
            self.has_hung(ended, at.axis.saturating_sub(micros(unwatched)));
        }
        self.is_boot_known = true;
        self.run = Some(run);
        match (event.kind, &event.process) {
            (Kind::Shutdown, _) => self.run_ends(at.axis),
            (Kind::Reloaded, _) => {
                for track in self.tracks.values_mut().filter(|track| track.is_observed()) {
                    track.doubt.get_or_insert(at.axis);
                }
            }
            (kind, Some(key)) => {
                let new = || Track::new(at.axis);
                let track = self.tracks.entry(key.clone()).or_insert_with(new);
                track.doubt = None;
                process_event(track, at, run, kind, event);
            }
            _ => {}
        }
    }

    /// What is known of the period, up to now. `running` is the watchdog that runs now, if one does.
    #[must_use]
    pub fn finish(mut self, running: Option<&Running>) -> Past {
        let now = self.now;
        self.advance(now);
        let is_same = |run: &Run| running.is_some_and(|running| running.pid == run.pid);
        if let Some(run) = self.run.filter(|run| !is_same(run)) {
            self.run_ends(run.last_heard());
        }
        // What it has said last may be on its way.
        if let Some(latest) = running.and_then(|running| running.latest) {
            let of_same =
                |run: &Run| Some((run.said, run.number.filter(|of| of.run == latest.run)?));
            if let Some((said, number)) = self.run.as_ref().and_then(of_same) {
                if number.seq < latest.seq {
                    self.lose(said, self.axis);
                }
            }
        }
        let watched = running.and_then(|running| running.watched.clone());
        let watched = watched.unwrap_or_default();
        for (key, present) in &watched {
            let new = || Track::new(self.axis);
            let track = self.tracks.entry(key.clone()).or_insert_with(new);
            if let Some(lost) = track.lost.take() {
                find_present(track, lost, present);
            }
        }
        let end = self.axis;
        let from = end.saturating_sub(self.period);
        let to = end.saturating_sub(self.ago);
        // The axis may be ahead of a clock that was set back.
        let shown = |at: u64| at.saturating_sub(end - end.min(now.wall));
        let processes = self.tracks.into_iter().filter_map(|(key, mut track)| {
            if let Some(removed) = track.doubt.filter(|_| !watched.contains_key(&key)) {
                track.set(
                    removed.max(first(&track)),
                    State::NotObserved(Reason::Removed),
                );
            }
            track.set(end, track.state);
            let record = record(track, from, to, shown);
            let is_known = record
                .intervals
                .iter()
                .any(|interval| is_told(interval.state));
            (is_known || watched.contains_key(&key)).then_some((key, record))
        });
        Past {
            processes: processes.collect(),
            from: shown(from),
            to: shown(to),
            is_until_now: self.ago == 0,
        }
    }
}

/// A time in microseconds.
#[must_use]
pub fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn first(track: &Track) -> u64 {
    track.past.first().map_or(track.since, |first| first.from)
}

fn is_told(state: State) -> bool {
    !matches!(state, State::NotObserved(_))
}

/// Finds what is proved by how a process is now of the time of which messages are missing.
fn find_present(track: &mut Track, lost: Lost, present: &Present) {
    match present {
        Present::Up(pids) => {
            let same = lost.pid.filter(|pid| pids.contains(pid));
            track.find_up(lost, same);
        }
        Present::Down => {
            track.outages.push(Outage::default());
            track.find(lost.to, State::Down(track.outages.len() - 1));
        }
        Present::Unknown => {}
    }
}

fn process_event(track: &mut Track, at: Position, run: Run, kind: Kind, event: &Event) {
    let lost = track.lost;
    if let Some(lost) = lost {
        track.find_by(lost, at, event);
    }
    match kind {
        Kind::Up | Kind::Adopted => {
            track.come_up(at.axis);
            track.pid = event.process_pid;
            track.is_known_in_boot = true;
        }
        Kind::Restarted => {
            if let Some(outage) = event.outage_micros() {
                track.measured(at, outage, run, lost, event.cause.as_deref());
            }
            if let (Some(outage), Some(cause)) = (track.outage(), &event.cause) {
                // How it ended may have been learnt since.
                if outage.cause.as_deref() == Some(UNKNOWN_CAUSE) {
                    outage.cause = Some(cause.clone());
                }
            }
            track.ended_by(event);
            track.come_up(at.axis);
            track.pid = event.process_pid;
            track.is_known_in_boot = true;
            track.restarts.push(at.axis);
        }
        Kind::Down => {
            track.pid = None;
            let was_up = track.state == State::Up;
            track.noticed = at.monotonic;
            let is_new = run.is_first_of_boot && !track.is_known_in_boot;
            if is_new && event.cause.as_deref() == Some(ABSENT) {
                track.set(at.axis, BOOTING);
            } else {
                track.go_down(at.axis, event.cause.clone(), was_up);
                track.ended_by(event);
            }
            track.is_known_in_boot = true;
        }
        Kind::Waiting => track.waits(at.axis, event.cause.as_deref()),
        Kind::CrashLoop => track.crash_loops.push(at.axis),
        Kind::StartFailed => {
            if track.state == BOOTING {
                track.go_down(track.since, Some(ABSENT.to_owned()), false);
            }
            if let Some(outage) = track.outage() {
                outage.start_failed = true;
            }
        }
        Kind::Paused => {
            track.is_paused = true;
            if let Some(outage) = track.outage() {
                outage.is_in_pause = true;
            }
        }
        Kind::Resumed => track.is_paused = false,
        Kind::Unknown => track.set(at.axis, State::NotObserved(Reason::Unknown)),
        // It lives: that is no outage.
        Kind::Unhealthy => {
            track.unhealthy.push(at.axis);
            track.pid = event.process_pid.or(track.pid);
        }
        _ => {}
    }
    if track.state != LOST {
        track.lost = None;
    }
}

/// What of a track lies between `from` and `to`.
fn record(track: Track, from: u64, to: u64, shown: impl Fn(u64) -> u64) -> Record {
    let count = |of: &[u64]| of.iter().filter(|at| (from..=to).contains(*at)).count();
    let mut record = Record {
        restarts: count(&track.restarts),
        unhealthy: count(&track.unhealthy),
        crash_loops: count(&track.crash_loops),
        ..Record::default()
    };
    let mut numbers = BTreeMap::new();
    let begin = Interval {
        from: 0,
        to: first(&track).min(to),
        state: State::NotObserved(Reason::NoRecord),
    };
    for interval in std::iter::once(begin).chain(track.past) {
        let begins_before = interval.from < from;
        let is_within = interval.to > from && interval.from < to;
        let clipped = Interval {
            from: shown(interval.from.clamp(from, to)),
            to: shown(interval.to.clamp(from, to)),
            state: match interval.state {
                State::Down(old) if is_within => {
                    let number = *numbers.entry(old).or_insert_with(|| {
                        let mut outage = track.outages.get(old).cloned().unwrap_or_default();
                        outage.is_begin_seen &= !begins_before;
                        record.outages.push(outage);
                        record.outages.len() - 1
                    });
                    if let Some(outage) = record.outages.get_mut(number) {
                        outage.is_end_seen &= interval.to <= to;
                    }
                    State::Down(number)
                }
                other => other,
            },
        };
        match record.intervals.last_mut() {
            _ if clipped.from == clipped.to => {}
            Some(last) if last.state == clipped.state => last.to = clipped.to,
            _ => record.intervals.push(clipped),
        }
    }
    record
}

#[cfg(test)]
mod tests;
