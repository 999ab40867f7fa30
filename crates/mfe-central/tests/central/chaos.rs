//! kill -9 of the broker, of the database and of the program, at random, while tills send that forget now and then what
//! was confirmed, as a relay that is killed does: in the end the database has each event, and each once.
//! `MFE_CENTRAL_CHAOS_SECONDS` sets its length, `MFE_CENTRAL_CHAOS_SEED` repeats one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use amqprs::Ack;
use mfe_kit::random::Random;
use mfe_kit::wait_for;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::office::{Engines, Link, Office, Way, event};

/// What the random numbers begin with.
pub const SEED: &str = "MFE_CENTRAL_CHAOS_SEED";

/// So many events of a till are on their way, and so many it sends at once, each moment.
const WINDOW: u64 = 256;
const AT_ONCE: u64 = 10;
const MOMENT: Duration = Duration::from_millis(20);

/// A till takes note of what was confirmed as often, and forgets the rest.
const NOTED: Duration = Duration::from_millis(200);

/// A connection on which nothing was confirmed for so long is given up.
const NO_WORD: Duration = Duration::from_secs(10);

/// How long what is left may take at the end.
const PATIENCE: Duration = Duration::from_secs(120);

/// What happens, and how often in a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Blow {
    Program,
    Tills,
    Database,
    Broker,
}

const ROUND: [(Blow, usize); 4] = [
    (Blow::Program, 3),
    (Blow::Tills, 2),
    (Blow::Database, 2),
    (Blow::Broker, 1),
];

/// How long it takes: what the environment says, or this.
pub fn length(otherwise: Duration) -> Duration {
    let seconds = std::env::var("MFE_CENTRAL_CHAOS_SECONDS").ok();
    let seconds = seconds.map(|seconds| seconds.parse().expect("a number of seconds"));
    seconds.map_or(otherwise, Duration::from_secs)
}

/// Does one round, and more until the time is over. Fails if an event is lost or is there twice; otherwise it tells what
/// has happened.
pub fn run(length: Duration, seed: u64) -> String {
    println!("{SEED}={seed}");
    let office = Office::of(Arc::new(Engines::start(1)));
    let mut central = office.central();
    let tills = ["till-1", "till-2"].map(|till| Arc::new(Till::new(till)));
    let senders: Vec<_> = tills
        .iter()
        .map(|till| {
            let (till, way) = (Arc::clone(till), office.way());
            thread::spawn(move || till.send(&way))
        })
        .collect();
    let mut random = Random::new(seed);
    let mut blows = BTreeMap::new();
    let deadline = Instant::now() + length;
    loop {
        let mut round: Vec<Blow> = ROUND
            .iter()
            .flat_map(|(blow, times)| std::iter::repeat_n(*blow, *times))
            .collect();
        while !round.is_empty() {
            thread::sleep(Duration::from_millis(random.below(600) as u64));
            let blow = round.remove(random.below(round.len()));
            *blows.entry(blow).or_insert(0) += 1;
            let down = Duration::from_millis(random.below(500) as u64);
            match blow {
                Blow::Program => {
                    central.kill();
                    central = office.begin();
                }
                Blow::Tills => {
                    for till in &tills {
                        till.is_to_forget.store(true, Ordering::Relaxed);
                    }
                }
                Blow::Database => {
                    office.engines.postgres.kill();
                    thread::sleep(down);
                    office.engines.postgres.begin();
                }
                Blow::Broker => {
                    office.engines.rabbitmq.kill();
                    thread::sleep(down);
                    office.engines.rabbitmq.begin();
                }
            }
        }
        if Instant::now() >= deadline {
            break;
        }
    }
    for till in &tills {
        till.is_over.store(true, Ordering::Relaxed);
    }
    let sent: u64 = senders
        .into_iter()
        .map(|sender| sender.join().unwrap())
        .sum();
    let stored = |what: &str| office.sql(&format!("SELECT {what} FROM event"));
    let all = wait_for("as many events as were sent", PATIENCE, || {
        let count = stored("count(*)").parse::<u64>().unwrap();
        Ok((count >= sent).then_some(count))
    });
    let all = all.unwrap_or_else(|error| {
        panic!(
            "{error:#}: {} of {sent}: {}",
            stored("count(*)"),
            central.said()
        )
    });
    assert_eq!(all, sent);
    // As many as were sent, of different numbers from 1 to so many: no other, none missing, none twice.
    assert_eq!(stored("count(DISTINCT (till, mono))"), sent.to_string());
    for till in &tills {
        let last = till.last.load(Ordering::Relaxed) * 1000;
        let found = office.sql(&format!(
            "SELECT min(mono), max(mono), bool_and(mono % 1000 = 0) FROM event WHERE till = '{}'",
            till.name
        ));
        assert_eq!(found, format!("1000|{last}|t"));
    }
    assert_eq!(office.waiting("mfe.dead"), 0, "something was put aside");
    let again: u64 = tills
        .iter()
        .map(|till| till.again.load(Ordering::Relaxed))
        .sum();
    format!(
        "{sent} events, {again} of them sent again, kill -9 of {blows:?}: none lost, none twice"
    )
}

/// A till that sends events, numbered from 1, until each is confirmed.
struct Till {
    name: &'static str,
    /// It loses its connection, and what it hasn't taken note of.
    is_to_forget: AtomicBool,
    is_over: AtomicBool,
    /// The last event that there is.
    last: AtomicU64,
    /// How many were sent again.
    again: AtomicU64,
}

impl Till {
    fn new(name: &'static str) -> Self {
        Self {
            name,
            is_to_forget: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            last: AtomicU64::new(0),
            again: AtomicU64::new(0),
        }
    }

    /// Sends until it is over and all is confirmed; tells how many that were.
    fn send(&self, way: &Way) -> u64 {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        // All up to this one are confirmed, and it knows that for ever.
        let mut noted = 0;
        runtime.block_on(async {
            while !self.is_over.load(Ordering::Relaxed) || noted < self.last.load(Ordering::Relaxed)
            {
                if let Ok((link, confirmed)) = way.connect(self.name).await {
                    self.converse(&link, confirmed, &mut noted).await;
                }
                tokio::time::sleep(MOMENT).await;
            }
        });
        noted
    }

    /// Until the connection is over, or it forgets.
    async fn converse(&self, link: &Link, mut confirmed: UnboundedReceiver<Ack>, noted: &mut u64) {
        // The broker numbers them from 1 on each connection.
        let first = *noted;
        let (mut next, mut done, mut open) = (first, first, BTreeSet::new());
        let (mut heard, mut note) = (Instant::now(), Instant::now());
        while link.is_open()
            && heard.elapsed() < NO_WORD
            && !self.is_to_forget.swap(false, Ordering::Relaxed)
        {
            for _ in 0..AT_ONCE {
                let is_old = next < self.last.load(Ordering::Relaxed);
                if next >= done + WINDOW || (!is_old && self.is_over.load(Ordering::Relaxed)) {
                    break;
                }
                next += 1;
                if is_old {
                    self.again.fetch_add(1, Ordering::Relaxed);
                } else {
                    self.last.store(next, Ordering::Relaxed);
                }
                if link.publish(&event(self.name, next)).await.is_err() {
                    return;
                }
            }
            tokio::time::sleep(MOMENT).await;
            while let Ok(ack) = confirmed.try_recv() {
                heard = Instant::now();
                let tag = first + ack.delivery_tag();
                if ack.mutiple() {
                    open.extend(done + 1..=tag);
                } else {
                    open.insert(tag);
                }
                while open.remove(&(done + 1)) {
                    done += 1;
                }
            }
            if done == next {
                heard = Instant::now();
            }
            if note.elapsed() >= NOTED {
                note = Instant::now();
                *noted = done;
            }
            if self.is_over.load(Ordering::Relaxed) && done == self.last.load(Ordering::Relaxed) {
                *noted = done;
                return;
            }
        }
    }
}
