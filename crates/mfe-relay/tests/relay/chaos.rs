//! kill -9 of the relay and of the broker, at random, while events come: in the end the queue has all of them.
//! `MFE_RELAY_CHAOS_SECONDS` sets its length, `MFE_RELAY_CHAOS_SEED` repeats one.

use std::collections::BTreeSet;
use std::env;
use std::thread;
use std::time::{Duration, Instant};

use mfe_kit::random::{self, Random};

use crate::broker::{Message, fragile};
use crate::delivery::numbers;
use crate::needs_broker;
use crate::till::{FIRST, LONG_AGO, NOW, OURS, SECOND, Till};

fn seconds() -> u64 {
    let seconds = env::var("MFE_RELAY_CHAOS_SECONDS").ok();
    seconds.map_or(25, |seconds| seconds.parse().expect("a number of seconds"))
}

#[test]
fn whatever_is_killed_and_whenever_nothing_is_lost() {
    needs_broker!();
    let length = Duration::from_secs(seconds());
    let seed = random::seed("MFE_RELAY_CHAOS_SEED");
    println!("MFE_RELAY_CHAOS_SEED={seed}");
    let mut random = Random::new(seed);
    let mut below = |bound: usize| u64::try_from(random.below(bound)).unwrap();

    let broker = fragile();
    let mut office = broker.office();
    office.queue();
    broker.keep(&office);
    let mut till = Till::joined(&broker, &office);
    let mut relay = Some(till.relay());
    let mut logged: BTreeSet<String> = BTreeSet::new();
    let (mut next, mut kills, mut stops) = (1, 0, 0);
    let deadline = Instant::now() + length;
    // On a slow machine one start of the broker takes all that time, and proves nothing.
    let patience = deadline + Duration::from_secs(240);
    while Instant::now() < deadline
        || (kills < 3 || stops < 1 || logged.is_empty()) && Instant::now() < patience
    {
        match below(10) {
            0..=4 => {
                // The second boot begins half way, with a clock of long ago.
                let is_first = Instant::now() + length / 2 < deadline;
                let (boot, clock) = if is_first {
                    (FIRST, NOW)
                } else {
                    (SECOND, LONG_AGO)
                };
                let count = 1 + below(40);
                till.log(boot, clock, next..next + count, OURS);
                logged.extend((next..next + count).map(|n| format!("{boot} {n}")));
                next += count;
            }
            5..=8 => {
                if let Some(relay) = relay.take() {
                    relay.kill();
                    kills += 1;
                }
                relay = Some(till.relay());
                thread::sleep(Duration::from_millis(below(400)));
            }
            _ => {
                broker.kill();
                stops += 1;
                thread::sleep(Duration::from_millis(below(500)));
                broker.begin();
            }
        }
    }
    office.reconnect();
    // A fresh one doesn't wait long for its next try.
    drop(relay.take());
    let _relay = till.relay();
    let messages = office.wait_for(logged.len());
    let ids: BTreeSet<String> = messages.iter().map(Message::id).collect();
    let found: BTreeSet<String> = numbers(&messages).into_iter().collect();
    let lost: Vec<&String> = logged.difference(&found).collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
    assert_eq!(
        ids.len(),
        logged.len(),
        "an event has one id however often it comes"
    );
    println!(
        "{} events, {kills} kills of the relay and {stops} of the broker: none lost, {} came more than once",
        logged.len(),
        messages.len() - ids.len()
    );
    let is_proof = kills > 0 && stops > 0 && !logged.is_empty();
    assert!(is_proof, "too little has happened");
}
