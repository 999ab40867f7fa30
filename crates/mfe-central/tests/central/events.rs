//! Events are kept, each once, whatever happens; what isn't one is put aside.

use std::time::Duration;

use mfe_kit::{eventually, random};
use serde_json::json;

use crate::chaos;
use crate::needs_engines;
use crate::office::{BOOT, Message, Office, event, state};

fn stored(office: &Office) -> usize {
    office.sql("SELECT count(*) FROM event").parse().unwrap()
}

#[test]
fn each_event_is_kept_once_however_often_it_comes() {
    needs_engines!();
    let office = Office::new();
    let central = office.central();
    let events: Vec<Message> = (1..=700).map(|n| event("till-1", n)).collect();
    office.send("till-1", &events);
    office.send("till-1", &events[..100]);
    office.send("till-2", &[event("till-2", 1)]);
    eventually("all are there", || {
        (central.metric("mfe_central_events_total")? >= 701.0).then_some(())
    });
    eventually("and were seen again", || {
        (central.metric("mfe_central_redundant_events_total")? >= 100.0).then_some(())
    });
    assert_eq!(stored(&office), 701);
    let first = office
        .sql("SELECT till, boot, mono, hash, kind, process, clock FROM event ORDER BY row LIMIT 1");
    assert_eq!(first, format!("till-1|{BOOT}|1000|f00d|down|monitor|till"));
    // What was stored is acknowledged: it doesn't come again.
    central.kill();
    assert_eq!(office.waiting("mfe.central"), 0);
    let central = office.central();
    office.send("till-1", &[event("till-1", 701)]);
    eventually("the next", || {
        (central.metric("mfe_central_events_total")? >= 1.0).then_some(())
    });
    assert_eq!(
        central.metric("mfe_central_redundant_events_total"),
        Some(0.0)
    );
    assert_eq!(stored(&office), 702);
}

#[test]
fn what_is_forged_or_no_event_is_put_aside_and_stops_nothing() {
    needs_engines!();
    let office = Office::new();
    let central = office.central();
    let good = event("till-1", 1);
    let with = |change: &dyn Fn(&mut Message)| {
        let mut message = good.clone();
        change(&mut message);
        message
    };
    let bad = [
        with(&|message| message.user_id = None),
        with(&|message| message.key = "till-1.up".into()),
        with(&|message| message.body = event("till-2", 1).body),
        with(&|message| message.body = b"{".into()),
        with(&|message| message.body = b"[]".into()),
        with(&|message| message.body = vec![b' '; 300 << 10]),
    ];
    office.send("till-1", &bad);
    // Everything in it is a text that PostgreSQL has no place for.
    let mut odd = serde_json::from_slice::<serde_json::Value>(&event("till-1", 2).body).unwrap();
    odd["data"]["message"] = json!("'; DROP TABLE event; -- \0 \u{1} \u{1f600}");
    odd["data"]["process"] = json!("a\0b");
    let odd = with(&|message| message.body = odd.to_string().into_bytes());
    office.send("till-1", &[odd, good.clone()]);
    let dead = office.dead(bad.len());
    assert_eq!(dead.len(), bad.len());
    eventually("the good ones", || (stored(&office) == 2).then_some(()));
    assert_eq!(
        office.sql("SELECT process FROM event WHERE mono = 2000"),
        "a\u{fffd}b"
    );
    let metrics = central.get("/metrics").body;
    for (reason, count) in [
        ("identity", 3),
        ("not_json", 1),
        ("shape", 1),
        ("too_big", 1),
        ("unstorable", 0),
    ] {
        let line = format!("mfe_central_refused_messages_total{{reason=\"{reason}\"}} {count}");
        assert!(metrics.contains(&line), "{line}: {metrics}");
    }
    assert_eq!(
        central.said().matches("refused a message").count(),
        4,
        "{}",
        central.said()
    );
}

#[test]
fn without_the_database_nothing_is_lost_and_all_is_shown() {
    needs_engines!();
    let office = Office::new();
    let central = office.central();
    office.send("till-1", &[event("till-1", 1)]);
    eventually("the first", || (stored(&office) == 1).then_some(()));
    office.without_database();
    let events: Vec<Message> = (2..=50).map(|n| event("till-1", n)).collect();
    office.send("till-1", &events);
    eventually("it is said", || {
        (central.get("/healthz").status == 503).then_some(())
    });
    assert!(central.get("/").body.contains("The database can"));
    assert_eq!(central.metric("mfe_central_database_up"), Some(0.0));
    // How tills are is shown all the same.
    office.send("till-1", &[state("till-1", 1000, "down")]);
    eventually("a state", || {
        (central.get("/api/v1/tills").json()["tills"][0]["state"] == "down").then_some(())
    });
    assert_eq!(central.get("/api/v1/tills/till-1").status, 503);
    office.with_database();
    eventually("all others", || {
        (central.get("/healthz").status == 200 && stored(&office) == 50).then_some(())
    });
    assert_eq!(office.sql("SELECT count(DISTINCT mono) FROM event"), "50");
    assert_eq!(
        central.said().matches("the database can't be used").count(),
        1,
        "{}",
        central.said()
    );
    eventually("the state too", || {
        (office.sql("SELECT count(*) FROM now") == "1").then_some(())
    });
}

#[test]
fn killed_at_any_time_it_loses_nothing() {
    needs_engines!();
    let office = Office::new();
    let mut central = office.central();
    let mut sent = 0;
    for round in 0..4 {
        let events: Vec<Message> = (sent + 1..=sent + 1500)
            .map(|n| event("till-1", n))
            .collect();
        sent += 1500;
        office.send("till-1", &events);
        // In the middle of it.
        let least = round * 1500 + 1;
        eventually("some", || (stored(&office) >= least).then_some(()));
        central.kill();
        central = office.central();
    }
    eventually("all", || (stored(&office) == 6000).then_some(()));
    assert_eq!(office.sql("SELECT count(DISTINCT mono) FROM event"), "6000");
}

#[test]
fn whatever_is_killed_and_whenever_each_event_is_kept_once() {
    needs_engines!();
    // One round, as a machine under load takes it for each.
    let length = chaos::length(Duration::ZERO);
    println!("{}", chaos::run(length, random::seed(chaos::SEED)));
}

#[test]
fn when_it_was_is_told_by_the_offices_clock_where_that_is_known() {
    needs_engines!();
    let office = Office::new();
    let central = office.central();
    // At second 1000 of its boot, now; the event was at second 5.
    office.send("till-1", &[state("till-1", 1_000_000, "up")]);
    eventually("the state", || {
        (central.metric("mfe_central_states_total")? >= 1.0).then_some(())
    });
    office.send("till-1", &[event("till-1", 5_000)]);
    eventually("the event", || (stored(&office) == 1).then_some(()));
    let found = office
        .sql("SELECT clock, round(extract(epoch FROM now() - at)) BETWEEN 990 AND 1060 FROM event");
    assert_eq!(found, "office|t");
    let till = central.get("/api/v1/tills/till-1").json();
    assert_eq!(till["events"][0]["data"]["message"], "Monitor is down 5000");
    assert_eq!(till["till"]["state"], "up");
}

#[test]
fn old_events_go_and_early_ones_move_to_their_month() {
    needs_engines!();
    let office = Office::new();
    office.central().kill_after_house(&office);
    let old = "INSERT INTO event (till, boot, mono, hash, time, received, at, clock, kind, data) \
        SELECT 't', 'b', n, 'h', time, received, time, 'till', 'down', '{}' FROM (VALUES \
        (1, timestamptz '2000-01-01', now() - interval '401 days'), \
        (2, timestamptz '2000-01-01', now() - interval '399 days'), \
        (3, now(), now())) AS old (n, time, received)";
    office.sql(old);
    // A month that had no partition when something of it came, and one that is over.
    let month = office.sql("SELECT to_char(now(), '\"event_\"YYYY_MM')");
    office.sql(&format!(
        "ALTER TABLE event DETACH PARTITION {month}; INSERT INTO event SELECT * FROM {month}; DROP TABLE {month}; \
         CREATE TABLE event_2020_01 PARTITION OF event FOR VALUES FROM ('2020-01-01Z') TO ('2020-02-01Z')"
    ));
    let central = office.central();
    eventually("the old one goes", || (stored(&office) == 2).then_some(()));
    eventually("the month is made", || {
        (office.sql(&format!("SELECT to_regclass('{month}') IS NOT NULL")) == "t").then_some(())
    });
    assert_eq!(
        office.sql("SELECT string_agg(mono::text, ',') FROM event_other"),
        "2"
    );
    assert_eq!(office.sql(&format!("SELECT mono FROM {month}")), "3");
    eventually("the month that is over", || {
        (office.sql("SELECT to_regclass('event_2020_01') IS NULL") == "t").then_some(())
    });
    drop(central);
}

#[test]
fn a_database_of_a_newer_version_is_left_alone() {
    needs_engines!();
    let office = Office::new();
    office.central().kill_after_house(&office);
    office.sql("INSERT INTO migration (step) VALUES (1000)");
    let central = office.begin();
    eventually("it is said", || {
        central
            .said()
            .contains("newer mfe-central (step 1000")
            .then_some(())
    });
    assert_eq!(central.get("/healthz").status, 503);
}

impl crate::office::Central {
    /// Once the tables are made.
    fn kill_after_house(self, office: &Office) {
        eventually("the tables", || {
            (office
                .sql("SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relname ~ '^event_2'")
                .parse::<u32>()
                .unwrap()
                >= 5)
                .then_some(())
        });
        self.kill();
    }
}
