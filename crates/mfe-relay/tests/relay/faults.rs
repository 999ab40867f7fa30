//! Brokers, disks and links that fail: what can't be delivered is kept, tried again, and told once.

use std::fs;
use std::time::{Duration, Instant};

use amqprs::FieldValue;
use mfe_kit::{eventually, in_mount_namespace};

use crate::broker::{fragile, shared};
use crate::delivery::numbers;
use crate::needs_broker;
use crate::proxy::Proxy;
use crate::till::{FIRST, NOW, OURS, RELAY, SECOND, Till};

fn kind(relay: &crate::till::Relay, kind: &str) -> Option<()> {
    let status = relay.status();
    let troubles = status["troubles"].as_array()?;
    troubles
        .iter()
        .any(|trouble| trouble["kind"] == kind)
        .then_some(())
}

#[test]
fn a_broker_that_is_away_comes_back_and_nothing_is_lost() {
    needs_broker!();
    let broker = fragile();
    let mut office = broker.office();
    office.queue();
    broker.keep(&office);
    let mut till = Till::joined(&broker, &office);
    broker.kill();
    till.log(FIRST, NOW, 1..4, OURS);
    let relay = till.relay();
    relay.wait_for("the broker can't be reached");
    eventually("the backlog", || {
        (relay.status()["backlog"] == 3).then_some(())
    });
    broker.begin();
    office.reconnect();
    assert_eq!(office.wait_for(3).len(), 3);
    relay.wait_for("connected to localhost");
    // It is killed while it is in use.
    broker.kill();
    till.log(FIRST, NOW, 4..6, OURS);
    eventually("not connected", || {
        relay
            .status()
            .get("connected_since")
            .is_none()
            .then_some(())
    });
    broker.begin();
    office.reconnect();
    assert_eq!(numbers(&office.wait_for(2)).len(), 2);
    till.wait_for_mark(FIRST, 5_000_000);
    eventually("all is well", || {
        (relay.status()["troubles"].as_array()?.is_empty() && relay.status()["backlog"] == 0)
            .then_some(())
    });
    assert!(relay.times("can't be reached") <= 2, "{}", relay.said());
}

#[test]
fn a_broker_short_of_memory_is_waited_for() {
    needs_broker!();
    let broker = fragile();
    let mut office = broker.office();
    office.queue();
    broker.keep(&office);
    let mut till = Till::joined(&broker, &office);
    till.log(FIRST, NOW, 1..2, OURS);
    let relay = till.relay();
    office.wait_for(1);
    broker.control(&["set_vm_memory_high_watermark", "0"]);
    till.log(FIRST, NOW, 2..20, OURS);
    // After 30 s without an answer.
    let begin = Instant::now();
    while kind(&relay, "unconfirmed").is_none() {
        assert!(
            begin.elapsed() < Duration::from_secs(60),
            "{}",
            relay.said()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(relay.times("doesn't confirm"), 1, "{}", relay.said());
    assert_eq!(office.take("mfe.central").len(), 0);
    assert_eq!(till.saved()["marks"][FIRST], 1_000_000);
    broker.control(&["set_vm_memory_high_watermark", "0.6"]);
    office.wait_for(18);
    till.wait_for_mark(FIRST, 19_000_000);
    relay.wait_for("events are delivered again");
}

#[test]
fn a_full_queue_is_waited_for() {
    needs_broker!();
    let mut office = shared().office();
    office.queue_with(&[
        ("x-max-length", FieldValue::I(300)),
        (
            "x-overflow",
            FieldValue::S("reject-publish".try_into().unwrap()),
        ),
    ]);
    let mut till = Till::joined(shared(), &office);
    till.log(FIRST, NOW, 1..2, OURS);
    let relay = till.relay();
    till.wait_for_mark(FIRST, 1_000_000);
    // Quorum queues have a soft limit: what is on its way is still taken.
    till.log(FIRST, NOW, 2..1001, OURS);
    relay.wait_for("its queue is full");
    eventually("trouble", || kind(&relay, "refused"));
    let mark = till.saved()["marks"][FIRST].as_u64().unwrap();
    assert!(mark < 1_000_000_000, "{mark}");
    // As the office reads them, the others follow.
    office.wait_for(1000);
    till.wait_for_mark(FIRST, 1_000_000_000);
    eventually("trouble is over", || {
        kind(&relay, "refused").is_none().then_some(())
    });
}

#[test]
fn without_a_queue_events_are_kept() {
    needs_broker!();
    let mut office = shared().office();
    let mut till = Till::joined(shared(), &office);
    till.log(FIRST, NOW, 1..6, OURS);
    let relay = till.relay();
    relay.wait_for("has no queue for events");
    // It is tried again, and that isn't said again.
    eventually("trouble", || kind(&relay, "unroutable"));
    assert_eq!(till.saved()["marks"].get(FIRST), None);
    office.queue();
    assert_eq!(numbers(&office.wait_for(5)).len(), 5);
    till.wait_for_mark(FIRST, 5_000_000);
    assert_eq!(relay.times("has no queue"), 1, "{}", relay.said());
    relay.wait_for("events are delivered again");
    eventually("trouble is over", || {
        kind(&relay, "unroutable").is_none().then_some(())
    });
}

#[test]
fn on_a_full_disk_events_are_delivered_and_that_is_told_once() {
    needs_broker!();
    let mut office = shared().office();
    office.queue();
    let mut till = Till::joined(shared(), &office);
    till.log(FIRST, NOW, 1..4, OURS);
    let setup = "mount -t tmpfs -o size=16k none \"$STATE\"\ncat /dev/zero >\"$STATE/full\" 2>/dev/null || true";
    let mut command = in_mount_namespace(setup, RELAY);
    let run = till.command(&["run"]);
    command
        .args(run.get_args())
        .arg("--watchdog-dir")
        .arg(till.path("watchdog"));
    for (name, value) in run.get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    command.env("STATE", till.path("state"));
    let relay = till.relay_after(|plain| *plain = command);
    assert_eq!(office.wait_for(3).len(), 3);
    relay.wait_for("can't be saved");
    till.log(FIRST, NOW, 4..6, OURS);
    assert_eq!(
        office.wait_for(2).len(),
        2,
        "none twice: it is kept in memory"
    );
    assert_eq!(relay.times("can't be saved"), 1, "{}", relay.said());
    eventually("trouble", || kind(&relay, "unsaved"));
}

#[test]
fn a_state_that_cannot_be_read_is_told_and_all_is_sent() {
    needs_broker!();
    let mut office = shared().office();
    office.queue();
    let mut till = Till::joined(shared(), &office);
    till.log(FIRST, NOW, 1..4, OURS);
    fs::write(till.path("state/sent.json"), "{\"version\":1,\"marks\":{\"").unwrap();
    let relay = till.relay();
    relay.wait_for("everything in the journal is sent again");
    assert_eq!(office.wait_for(3).len(), 3);
    till.wait_for_mark(FIRST, 3_000_000);
}

#[test]
fn a_journal_that_may_not_be_read_is_told() {
    needs_broker!();
    let office = shared().office();
    let till = Till::joined(shared(), &office);
    // The system's own, for somebody who is in no group: or none is kept on this machine.
    let relay = till.relay_after(|command| {
        use std::os::unix::process::CommandExt;
        command
            .env_remove("MFE_RELAY_JOURNAL")
            .uid(65_534)
            .gid(65_534);
        for folder in ["", "config", "state", "run", "watchdog"] {
            open(&till.path(folder));
        }
        open(&till.path("config/credential"));
    });
    relay.wait_for("the journal can't be read");
    eventually("trouble", || kind(&relay, "journal"));
    let status = till.run(&["status"]);
    assert_eq!(status.code(), 1);
    assert!(
        status.stdout.contains("in the group systemd-journal?"),
        "{}",
        status.stdout
    );
}

fn open(path: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
}

/// 64 kbit/s, and every connection is cut after 30 kB.
#[test]
fn on_a_poor_link_everything_arrives() {
    needs_broker!();
    let mut office = shared().office();
    office.queue();
    let mut till = Till::joined(shared(), &office);
    let link = Proxy::new(shared().port, 8000, 30_000);
    till.configure(link.port, &office.host, "");
    till.log(FIRST, NOW, 1..101, OURS);
    let relay = till.relay();
    office.wait_for(100);
    till.wait_for_mark(FIRST, 100_000_000);
    let connections = link.connections.load(std::sync::atomic::Ordering::Relaxed);
    assert!(connections > 1, "it was cut");
    let bytes = link.bytes.load(std::sync::atomic::Ordering::Relaxed);
    assert!(bytes > 30_000, "{bytes}");
    assert!(
        relay.times("has ended the connection") <= 4,
        "{}",
        relay.said()
    );
}

/// A till that has been switched on many times, on a link that breaks again and again: what is delivered of earlier
/// boots isn't looked for again.
#[test]
fn a_link_that_breaks_does_not_begin_the_journal_anew() {
    needs_broker!();
    let mut office = shared().office();
    office.queue();
    let mut till = Till::joined(shared(), &office);
    let link = Proxy::new(shared().port, 1_000_000, 7_000);
    till.configure(link.port, &office.host, "");
    let earlier = [FIRST, SECOND];
    for boot in earlier {
        till.log(boot, NOW, 1..4, OURS);
    }
    // What is newest of a boot may be no event.
    let no_event = "_SYSTEMD_UNIT=mfe-watchdog.service\n_UID=0\n";
    till.log(SECOND, NOW, 4..5, no_event);
    let present = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let present = present.trim().replace('-', "");
    till.log(&present, NOW, 1..2, OURS);
    let (runs, folder) = (till.path("runs"), till.path("bin"));
    fs::create_dir(&folder).unwrap();
    let script = format!(
        "#!/bin/sh\necho \"$*\" >>{}\nexec /usr/bin/journalctl \"$@\"\n",
        runs.display()
    );
    fs::write(folder.join("journalctl"), script).unwrap();
    open(&folder.join("journalctl"));
    let path = format!("{}:/usr/bin:/bin", folder.display());
    let begin = |till: &Till| {
        till.relay_after(|command| {
            command.env("PATH", &path);
        })
    };
    let relay = begin(&till);
    let times = |boot: &str| {
        let runs = fs::read_to_string(&runs).unwrap_or_default();
        runs.matches(&format!("_BOOT_ID={boot}")).count()
    };
    assert_eq!(office.wait_for(7).len(), 7);
    for boot in earlier {
        till.wait_for_mark(boot, 3_000_000);
    }
    till.wait_for_mark(&present, 1_000_000);
    relay.stop();
    let relay = begin(&till);
    till.log(&present, NOW, 2..3, OURS);
    office.wait_for(1);
    let before = earlier.map(times);
    let present_before = times(&present);
    // What comes now is of this boot, and most of the bytes are states.
    let connections = || link.connections.load(std::sync::atomic::Ordering::Relaxed);
    let first = connections();
    eventually("the link has broken twice", || {
        till.published();
        (connections() >= first + 2).then_some(())
    });
    till.log(&present, NOW, 3..4, OURS);
    office.wait_for(1);
    assert!(times(&present) > present_before);
    assert_eq!(earlier.map(times), before, "{}", relay.said());
}
