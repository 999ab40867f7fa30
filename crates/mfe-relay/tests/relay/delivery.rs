//! Events arrive: each once, in their form, whatever the clock did, and from earlier boots too.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use mfe_kit::eventually;
use mfe_kit::schema::assert_valid;

use crate::broker::{Message, TILL, shared};
use crate::needs_broker;
use crate::till::{FIRST, LONG_AGO, NOW, OURS, SECOND, Till};

const EVENT: &str = include_str!("../../../../tests/schema/event.json");
const STATE: &str = include_str!("../../../../tests/schema/state.json");

/// Which event each is, by its boot and number.
pub fn numbers(messages: &[Message]) -> Vec<String> {
    let text = |message: &Message| {
        message.json()["data"]["message"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    messages.iter().map(text).collect()
}

fn expected(boot: &str, range: std::ops::Range<u64>) -> Vec<String> {
    range.map(|n| format!("{boot} {n}")).collect()
}

#[test]
fn an_event_arrives_in_its_form_and_once() {
    needs_broker!();
    let mut office = shared().office();
    office.queue();
    office.state_queue();
    let mut till = Till::joined(shared(), &office);
    till.log(FIRST, NOW, 1..4, &format!("{OURS}MFE_PROCESS=monitor\n"));
    let relay = till.relay();
    let messages = office.wait_for(3);
    assert_eq!(numbers(&messages), expected(FIRST, 1..4));
    for message in &messages {
        let event = message.json();
        assert_valid(EVENT, &event);
        assert_eq!(message.key, "till-1.down");
        assert_eq!(
            message.properties.content_type().unwrap(),
            "application/cloudevents+json"
        );
        assert_eq!(message.properties.delivery_mode(), Some(2));
        assert_eq!(message.properties.user_id().unwrap(), TILL);
        assert_eq!(event["id"], message.id());
        assert_eq!(event["data"]["process"], "monitor");
    }
    till.wait_for_mark(FIRST, 3_000_000);
    // The state comes first, and again with each change.
    let states = office.take("mfe.now");
    assert!(!states.is_empty());
    for state in &states {
        assert_valid(STATE, &state.json());
        assert_eq!(state.key, "till-1.state");
        assert_ne!(state.properties.delivery_mode(), Some(2));
    }
    assert_eq!(
        states[0].json()["versions"]["relay"],
        env!("CARGO_PKG_VERSION")
    );
    till.published();
    eventually("a state after a change", || {
        (!office.take("mfe.now").is_empty()).then_some(())
    });

    // What comes next arrives at once, and nothing twice.
    let begin = Instant::now();
    till.log(FIRST, NOW, 4..5, OURS);
    assert_eq!(numbers(&office.wait_for(1)), expected(FIRST, 4..5));
    assert!(
        begin.elapsed() < Duration::from_secs(10),
        "{:?}",
        begin.elapsed()
    );
    till.wait_for_mark(FIRST, 4_000_000);
    relay.stop();
    let relay = till.relay();
    till.log(FIRST, NOW, 5..6, OURS);
    assert_eq!(numbers(&office.wait_for(1)), expected(FIRST, 5..6));
    assert_eq!(relay.times("connected to"), 2, "{}", relay.said());
}

#[test]
fn after_a_power_cut_with_the_clock_set_back_nothing_is_lost() {
    needs_broker!();
    let mut office = shared().office();
    office.queue();
    let mut till = Till::joined(shared(), &office);
    till.log(FIRST, NOW, 1..6, OURS);
    let relay = till.relay();
    assert_eq!(numbers(&office.wait_for(5)), expected(FIRST, 1..6));
    till.wait_for_mark(FIRST, 5_000_000);
    relay.kill();
    // The next boot, in the year 2000, with a new journal.
    till.log(SECOND, LONG_AGO, 1..6, OURS);
    let relay = till.relay();
    assert_eq!(numbers(&office.wait_for(5)), expected(SECOND, 1..6));
    till.wait_for_mark(SECOND, 5_000_000);
    relay.stop();
}

#[test]
fn weeks_offline_over_several_boots_arrive_without_gaps() {
    needs_broker!();
    let mut office = shared().office();
    office.queue();
    let mut till = Till::joined(shared(), &office);
    till.log(FIRST, NOW, 1..2001, OURS);
    till.log(SECOND, LONG_AGO, 1..301, OURS);
    let relay = till.relay();
    let messages = office.wait_for(2300);
    let found: BTreeSet<String> = numbers(&messages).into_iter().collect();
    let wanted = [expected(FIRST, 1..2001), expected(SECOND, 1..301)].concat();
    assert_eq!(found, wanted.into_iter().collect());
    assert_eq!(messages.len(), 2300, "none twice");
    till.wait_for_mark(FIRST, 2_000_000_000);
    till.wait_for_mark(SECOND, 300_000_000);
    eventually("no backlog", || {
        (relay.status()["backlog"] == 0).then_some(())
    });
    let status = till.run(&["status"]);
    assert_eq!(status.code(), 0, "{}{}", status.stdout, status.stderr);
    assert!(
        status.stdout.contains("connected to localhost:"),
        "{}",
        status.stdout
    );
    assert!(status.stdout.contains("backlog: 0\n"), "{}", status.stdout);
}

#[test]
fn what_others_have_written_is_not_sent() {
    needs_broker!();
    let mut office = shared().office();
    office.queue();
    let mut till = Till::joined(shared(), &office);
    for fields in [
        "_SYSTEMD_UNIT=mfe-watchdog.service\n_UID=1000\nMFE_EVENT=down\n",
        "_SYSTEMD_UNIT=user@1000.service\n_UID=0\nMFE_EVENT=down\n",
        "SYSTEMD_UNIT=mfe-watchdog.service\nUID=0\nMFE_EVENT=down\n",
        "_SYSTEMD_UNIT=mfe-watchdog.service\n_UID=0\n",
    ] {
        till.log(FIRST, NOW, 1..3, fields);
    }
    till.log(FIRST, NOW, 9..10, OURS);
    let _relay = till.relay();
    assert_eq!(numbers(&office.wait_for(1)), expected(FIRST, 9..10));
    till.wait_for_mark(FIRST, 9_000_000);
    assert_eq!(office.take("mfe.central").len(), 0);
}

#[test]
fn entries_that_are_odd_stop_nothing() {
    needs_broker!();
    let mut office = shared().office();
    office.queue();
    let mut till = Till::joined(shared(), &office);
    let long = "x".repeat(200_000);
    till.log(FIRST, NOW, 1..2, &format!("{OURS}MFE_PROCESS={long}\n"));
    till.log(
        FIRST,
        NOW,
        2..3,
        &format!("{OURS}MFE_PROCESS=a\nMFE_PROCESS=b\nMFE_PID=\n"),
    );
    till.log(
        FIRST,
        NOW,
        3..4,
        &format!("{OURS}MFE_PROCESS=caf\u{e9} \u{1b}[2J\n"),
    );
    let _relay = till.relay();
    let messages = office.wait_for(3);
    for message in messages {
        assert_valid(EVENT, &message.json());
    }
}

#[test]
fn a_journal_that_is_vacuumed_or_damaged_costs_only_what_it_has_lost() {
    needs_broker!();
    let mut office = shared().office();
    office.queue();
    let mut till = Till::joined(shared(), &office);
    till.log(FIRST, NOW, 1..100, OURS);
    till.log(FIRST, NOW, 100..110, OURS);
    // The first file is cut in the middle; journalctl reads of it what it can.
    let file = till.path("journal/1.journal");
    let length = std::fs::metadata(&file).unwrap().len();
    std::fs::File::options()
        .write(true)
        .open(&file)
        .unwrap()
        .set_len(length / 2)
        .unwrap();
    let mut relay = till.relay();
    let messages = office.wait_for(10);
    let last = expected(FIRST, 109..110).remove(0);
    assert!(numbers(&messages).contains(&last), "{messages:?}");
    // Vacuumed: the first file is gone, and events go on.
    std::fs::remove_file(&file).unwrap();
    till.log(FIRST, NOW, 110..112, OURS);
    assert_eq!(numbers(&office.wait_for(2)), expected(FIRST, 110..112));
    assert!(relay.is_running());
}

#[test]
fn events_leave_no_faster_than_they_may() {
    needs_broker!();
    let mut office = shared().office();
    office.queue();
    let mut till = Till::joined(shared(), &office);
    till.configure(shared().port, &office.host, "max_rate = 20\n");
    till.log(FIRST, NOW, 1..41, OURS);
    let begin = Instant::now();
    let _relay = till.relay();
    assert_eq!(office.wait_for(40).len(), 40);
    assert!(
        begin.elapsed() >= Duration::from_millis(1900),
        "{:?}",
        begin.elapsed()
    );
}
