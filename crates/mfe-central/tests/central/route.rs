//! Routes: each message gets the verdict of the user's handler, and none is lost when that fails.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use mfe_kit::eventually;

use crate::needs_engines;
use crate::office::{Message, Office, event};

/// Writes a handler in Python, and its route.
fn route(office: &Office, queues: &str, handler: &str, more: &str) {
    let file = office.path("handler");
    let text = format!("#!/usr/bin/env python3\nimport json, os, sys, time\n{handler}");
    fs::write(&file, text).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    let (file, log) = (file.display(), office.path("log"));
    office.configure(&format!(
        "[[route]]\nfrom = \"rabbitmq\"\nqueues = {queues}\nbind = [\"*.down\"]\n\
         handler = [\"{file}\", \"{}\"]\n{more}",
        log.display()
    ));
}

/// Takes note of each line in the file that it is given.
const NOTED: &str = "for line in sys.stdin:\n    open(sys.argv[1], 'a').write(line)\n    m = json.loads(line)\n    \
    n, mono = m['n'], m['body']['data']['mono_us'] // 1000\n";

/// How often each event has come, by its number.
fn noted(office: &Office) -> BTreeMap<u64, usize> {
    let mut counts = BTreeMap::new();
    for line in fs::read_to_string(office.path("log"))
        .unwrap_or_default()
        .lines()
    {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let mono = line["body"]["data"]["mono_us"].as_u64().unwrap();
        *counts.entry(mono / 1000).or_default() += 1;
    }
    counts
}

#[test]
fn each_message_gets_the_verdict_on_it() {
    needs_engines!();
    let office = Office::new();
    // 1 is refused, 2 comes again once, 3 isn't named and has gone well.
    let handler = "seen = set()\n".to_owned()
        + NOTED
        + "    if mono == 1: print(json.dumps({'n': n, 'do': 'reject'}))\n    \
           elif mono == 2 and (mono, m['queue']) not in seen: print(json.dumps({'n': n, 'do': 'requeue'}))\n    \
           seen.add((mono, m['queue']))\n    if m['last']: print()\n    sys.stdout.flush()\n";
    route(
        &office,
        r#"["site.a", "site.b"]"#,
        &handler,
        "bulk_size = 10\nflush_timeout = \"200ms\"\n",
    );
    let central = office.central();
    let events: Vec<Message> = (1..=3).map(|n| event("till-1", n)).collect();
    office.eventually_taken("site.b");
    office.send("till-1", &events);
    eventually("all are handled", || {
        let expected = BTreeMap::from([(1, 2), (2, 4), (3, 2)]);
        (noted(&office) == expected).then_some(())
    });
    assert_eq!(office.dead(2).len(), 2);
    central.kill();
    assert_eq!((office.waiting("site.a"), office.waiting("site.b")), (0, 0));
}

#[test]
fn what_a_handler_dies_of_is_put_aside_after_20_tries_and_the_others_are_handled() {
    needs_engines!();
    let office = Office::new();
    let handler = NOTED.to_owned()
        + "    if mono == 1: os.abort()\n    print(json.dumps({'n': n, 'do': 'ack'}), flush=True)\n";
    route(&office, r#"["site.a"]"#, &handler, "");
    let central = office.central();
    office.eventually_taken("site.a");
    let events: Vec<Message> = (1..=2).map(|n| event("till-1", n)).collect();
    office.send("till-1", &events);
    assert_eq!(office.dead(1), [events[0].body.clone()]);
    eventually("the other one", || {
        noted(&office).contains_key(&2).then_some(())
    });
    assert_eq!(noted(&office)[&1], 21);
    assert!(
        central.said().contains("it has ended; it is started again"),
        "{}",
        central.said()
    );
}

#[test]
fn at_the_end_the_batch_is_finished_and_then_the_command_of_the_end_is_run() {
    needs_engines!();
    let office = Office::new();
    let handler = NOTED.to_owned()
        + "    time.sleep(1)\n    print(json.dumps({'n': n, 'do': 'ack'}), flush=True)\n";
    let ended = office.path("ended");
    let log = office.path("log");
    let callback = format!(
        "[[on]]\nevent = \"shutdown\"\ncommand = [\"/bin/cp\", \"{}\", \"{}\"]\n",
        log.display(),
        ended.display()
    );
    route(&office, r#"["site.a"]"#, &handler, &callback);
    let central = office.central();
    office.eventually_taken("site.a");
    office.send("till-1", &[event("till-1", 1), event("till-1", 2)]);
    eventually("the first is in hand", || {
        (!noted(&office).is_empty()).then_some(())
    });
    central.end();
    assert!(ended.exists());
    assert_eq!(noted(&office), BTreeMap::from([(1, 1)]));
    eventually("the other one waits", || {
        (office.waiting("site.a") == 1).then_some(())
    });
}
