//! What is seen: the page and the stream, at once, and again after a restart.

use std::time::{Duration, Instant};

use mfe_kit::eventually;
use mfe_kit::schema::assert_valid;
use serde_json::json;

use crate::needs_engines;
use crate::office::{Central, Message, Office, event, event_of, state};

#[test]
fn a_change_is_seen_within_a_second() {
    needs_engines!();
    let office = Office::new();
    office.configure("tills = [\"till-2\"]\n");
    let central = office.central();
    let till = |n: usize| central.get("/api/v1/tills").json()["tills"][n].clone();
    assert_eq!(till(0)["state"], "never_seen");
    let mut page = central.follow("/events?only=tills", None);
    let mut times = Vec::new();
    for (n, program) in ["up", "down", "paused", "up", "down"]
        .into_iter()
        .enumerate()
    {
        let begin = Instant::now();
        office.send("till-1", &[state("till-1", 1000 + n as u64, program)]);
        let (id, told) = page.next("till");
        times.push(begin.elapsed());
        assert_eq!((id, &told["state"]), (None, &program.into()));
        let part = central.get("/?part=rows").body;
        assert!(
            part.contains(&format!("<li class=\"till {program}\">")),
            "{part}"
        );
    }
    times.sort_unstable();
    assert!(times[times.len() / 2] < Duration::from_secs(1), "{times:?}");
    assert_eq!(till(0)["till"], "till-1");
    assert_eq!(till(0)["store"], "12");
}

#[test]
fn a_till_that_says_nothing_is_silent_also_after_a_restart() {
    needs_engines!();
    let office = Office::new();
    office.configure("heartbeat = \"5s\"\n");
    let central = office.central();
    let mut stream = central.follow("/events", None);
    office.send("till-1", &[state("till-1", 1, "up")]);
    assert_eq!(stream.next("till").1["state"], "up");
    let silent = stream.next("till").1;
    assert_eq!(
        (&silent["state"], &silent["since"]),
        (&"silent".into(), &silent["heard"])
    );
    central.kill();
    let central = office.central();
    let row = eventually("it is known again", || {
        let rows = central.get("/api/v1/tills").json();
        rows["tills"].get(0).cloned()
    });
    assert_eq!(
        (&row["state"], &row["since"]),
        (&"silent".into(), &silent["since"])
    );
    assert!(!central.get("/metrics").body.contains("mfe_process_up{"));
}

#[test]
fn who_comes_again_gets_what_was_missed() {
    needs_engines!();
    let office = Office::new();
    let central = office.central();
    let mut stream = central.follow("/events", None);
    office.send("till-1", &[event("till-1", 1), event("till-1", 2)]);
    let (first, told) = stream.next("event");
    assert_eq!(
        (&told["till"], &told["event"]),
        (&"till-1".into(), &"down".into())
    );
    central.kill();
    let messages: Vec<_> = (3..=1203).map(|n| event("till-1", n)).collect();
    office.send("till-1", &messages);
    let central = office.central();
    eventually("they are stored", || {
        (office.sql("SELECT count(*) FROM event") == "1203").then_some(())
    });
    let mut stream = central.follow("/events", first);
    office.send("till-1", &[event("till-1", 1204)]);
    let mut last = first.unwrap();
    let mut numbers = std::collections::BTreeSet::new();
    for _ in 2..=1204 {
        let (row, told) = stream.next("event");
        assert!(row.unwrap() > last);
        last = row.unwrap();
        numbers.insert(told["data"]["mono_us"].as_u64().unwrap() / 1000);
    }
    assert_eq!(numbers, (2..=1204).collect());
    // By the query too, for those that can't set a header; and an id of another database isn't waited for.
    assert_eq!(
        central
            .follow(&format!("/events?after={}", last - 1), None)
            .next("event")
            .0,
        Some(last)
    );
    let mut later = central.follow("/events", Some(1_000_000));
    office.send("till-1", &[event("till-1", 1205)]);
    assert_eq!(later.next("event").1["data"]["mono_us"], 1_205_000);
    assert_eq!(central.get("/events?after=x").status, 400);
    assert!(central.metric("mfe_central_followers").unwrap() >= 1.0);
}

/// What a till says of an outage of a minute, half an hour after it was switched on.
fn outage() -> Vec<Message> {
    let run = "c".repeat(32);
    let told = [
        (60_000, "startup", json!({})),
        (61_000, "up", json!({"process": "monitor", "pid": 7})),
        (
            1_800_000,
            "down",
            json!({"process": "monitor", "pid": 7, "cause": "killed", "signal": "SIGSEGV"}),
        ),
        (
            1_860_000,
            "restarted",
            json!({"process": "monitor", "pid": 7, "outage_ms": 60_000, "cause": "killed"}),
        ),
    ];
    let messages = (1..).zip(told).map(|(seq, (at, kind, mut data))| {
        data["run"] = json!(run);
        data["seq"] = json!(seq);
        data["at_us"] = json!(at * 1000);
        event_of("till-1", at, kind, data)
    });
    messages.collect()
}

#[test]
fn a_tills_outages_are_told_as_the_till_tells_them() {
    const SCHEMA: &str = include_str!("../../../../tests/schema/report.json");
    needs_engines!();
    let office = Office::new();
    office.configure("tills = [\"till-2\"]\n");
    let central = office.central();
    office.send("till-1", &[state("till-1", 3_600_000, "up")]);
    eventually("it is heard", || {
        (central.get("/api/v1/tills/till-1").status == 200).then_some(())
    });
    office.send("till-1", &outage());
    eventually("they are stored", || {
        (office.sql("SELECT count(*) FROM event") == "4").then_some(())
    });
    let check = |central: &Central| {
        let answer = eventually("the till is known", || {
            let answer = central.get("/api/v1/tills/till-1/report?since=1d");
            (answer.status == 200).then_some(answer)
        });
        let report = answer.json();
        assert_valid(SCHEMA, &report);
        let monitor = &report["processes"][0];
        assert_eq!(
            (&monitor["name"], &monitor["restarts"]),
            (&json!("Monitor"), &json!(1))
        );
        assert_eq!(
            (&monitor["down_ms"], &monitor["outages"][0]["signal"]),
            (&json!(60_000), &json!("SIGSEGV"))
        );
        assert!(
            monitor["up_ms"].as_u64().unwrap() >= 3_600_000 - 61_000 - 60_000,
            "{report}"
        );
        assert!(
            monitor["availability_percent"].as_f64().unwrap() > 98.0,
            "{report}"
        );
    };
    check(&central);
    for (language, words) in [
        ("en", "Monitor was down 1min in all"),
        ("pt-BR", "Monitor ficou fora do ar 1min no total"),
    ] {
        let request = format!("GET /tills/till-1 HTTP/1.0\r\nAccept-Language: {language}\r\n\r\n");
        let page = central.request(&request);
        assert!(page.body.contains(words), "{}", page.body);
        assert!(
            page.body.contains("till up") && page.body.contains("?since=30d"),
            "{}",
            page.body
        );
        assert!(
            page.head.contains("content-security-policy"),
            "{}",
            page.head
        );
        assert!(!page.body.contains("<style"), "the policy forbids that");
    }
    assert!(
        central
            .get("/?part=rows")
            .body
            .contains("href=\"tills/till-1\"")
    );
    assert!(
        central
            .get("/tills/till-2")
            .body
            .contains("The office has no events")
    );
    for (path, status) in [
        ("/tills/nobody", 404),
        ("/api/v1/tills/nobody/report", 404),
        ("/tills/till-1?since=x", 400),
        ("/tills/till-1?since=367d", 400),
        ("/tills/till-1?since=%3Cscript%3E", 400),
        ("/report.css", 200),
    ] {
        assert_eq!(central.get(path).status, status, "{path}");
    }
    eventually("how long it was heard is remembered", || {
        (office.sql("SELECT mono FROM heard") == "3600000000").then_some(())
    });
    central.kill();
    check(&office.central());
}

#[test]
fn it_answers_what_it_should_and_changes_nothing() {
    needs_engines!();
    let office = Office::new();
    let central = office.central();
    for (path, kind) in [
        ("/", "text/html"),
        ("/page.css", "text/css"),
        ("/page.js", "text/javascript"),
        ("/metrics", "text/plain; version=0.0.4"),
        ("/api/v1/tills", "application/json"),
    ] {
        let answer = central.get(path);
        assert_eq!(answer.status, 200, "{path}");
        assert!(
            answer.head.contains(&format!("content-type: {kind}")),
            "{}",
            answer.head
        );
        assert!(
            answer
                .head
                .contains("content-security-policy: default-src 'none'"),
            "{}",
            answer.head
        );
    }
    for path in [
        "/x",
        "/api/v1/tills/nobody",
        "/api/v1/tills/%27%3B--",
        "/../etc/passwd",
    ] {
        assert_eq!(central.get(path).status, 404, "{path}");
    }
    for method in ["POST", "PUT", "DELETE"] {
        let answer = central.request(&format!("{method} / HTTP/1.0\r\nContent-Length: 0\r\n\r\n"));
        assert_eq!(answer.status, 405);
    }
    let portuguese = central
        .request("GET / HTTP/1.0\r\nAccept-Language: pt-BR,en;q=0.5\r\n\r\n")
        .body;
    assert!(
        portuguese.contains("<html lang=\"pt-BR\">") && portuguese.contains("Caixas"),
        "{portuguese}"
    );
}
