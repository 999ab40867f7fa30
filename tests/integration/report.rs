//! The report of a journal whose outages are known: its figures to the second, its words in both
//! languages, and its page, in a real browser too. A stand-in for journalctl has the entries; that the
//! real one finds them is for the system tests.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use nix::sys::signal::Signal;
use roxmltree::{Document, Node};
use serde_json::{Value, json};

use crate::program::{binary_for_everybody, mfe_watchdog, run};
use mfe_kit::schema::assert_valid;
use mfe_kit::{Need, Output, Till, clean, is_root, needs, output};

const SCHEMA: &str = include_str!("../schema/report.json");

const HOUR: u64 = 3600;

/// A key that would be more than text to a page, a terminal or a file.
const HOSTILE: &str = "<script>alert('&\"')</script>\u{1b}[2J\u{202e}";

/// A till whose journal is written by the test.
struct Journal {
    till: Till,
    /// When everything is told that was `ago`.
    now: SystemTime,
    entries: String,
}

impl Journal {
    fn new() -> Self {
        let (till, _) = Till::with_program();
        Self {
            till,
            now: SystemTime::now(),
            entries: String::new(),
        }
    }

    /// An entry from so many seconds ago, of an earlier boot: the machine that the test runs on may
    /// not have been up for that long.
    fn add(&mut self, ago: u64, fields: Value) {
        let monotonic = Duration::from_secs(1000 * HOUR - ago);
        self.add_in(&"0".repeat(31), monotonic, ago, fields);
    }

    /// An entry of this very moment and boot.
    fn add_now(&mut self, fields: Value) {
        let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        let monotonic = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let monotonic = Duration::try_from(monotonic).unwrap();
        self.now = SystemTime::now();
        self.add_in(&id.trim().replace('-', ""), monotonic, 0, fields);
    }

    fn add_in(&mut self, boot: &str, monotonic: Duration, ago: u64, fields: Value) {
        let wall = self.now - Duration::from_secs(ago);
        let wall = wall.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let mut entry = json!({
            "_BOOT_ID": boot,
            "_SYSTEMD_UNIT": "mfe-watchdog.service",
            "_PID": "77",
            "__MONOTONIC_TIMESTAMP": monotonic.as_micros().to_string(),
            "__REALTIME_TIMESTAMP": wall.as_micros().to_string(),
            "MESSAGE": "text",
        });
        let Value::Object(fields) = fields else {
            panic!("no fields: {fields}");
        };
        entry.as_object_mut().unwrap().extend(fields);
        self.entries += &format!("{entry}\n");
    }

    /// A week with known outages, all times in seconds before now.
    fn scripted() -> Self {
        let mut journal = Self::new();
        let event = |event: &str, key: &str| json!({ "MFE_EVENT": event, "MFE_PROCESS": key });
        let down = |key: &str, cause: &str| json!({ "MFE_EVENT": "down", "MFE_PROCESS": key, "MFE_CAUSE": cause });
        let restarted = |key: &str, outage: u64| {
            let outage = (outage * 1000).to_string();
            json!({ "MFE_EVENT": "restarted", "MFE_PROCESS": key, "MFE_CAUSE": "killed", "MFE_OUTAGE_MS": outage })
        };
        journal.add(150 * HOUR, json!({ "MFE_EVENT": "startup" }));
        journal.add(150 * HOUR, event("adopted", "comunicador"));
        journal.add(150 * HOUR, event("adopted", HOSTILE));
        journal.add(140 * HOUR, down("comunicador", "killed"));
        journal.add(140 * HOUR - 9, restarted("comunicador", 9));
        journal.add(100 * HOUR, down("comunicador", "exited"));
        journal.add(100 * HOUR - 30, event("start_failed", "comunicador"));
        journal.add(98 * HOUR, restarted("comunicador", 2 * HOUR));
        journal.add(80 * HOUR, event("unknown", "comunicador"));
        journal.add(79 * HOUR, event("up", "comunicador"));
        // A stranger may write what it likes, but not under the unit's name.
        let mut strange = down("comunicador", "gone");
        strange["_SYSTEMD_UNIT"] = "user@1000.service".into();
        journal.add(60 * HOUR, strange);
        journal.add(50 * HOUR, down(HOSTILE, "<b>'\"&"));
        journal.add(50 * HOUR - 60, restarted(HOSTILE, 60));
        journal.add(40 * HOUR, json!({ "MFE_EVENT": "shutdown" }));
        journal
    }

    /// `report`, with a journalctl that has the entries.
    fn command(&self, arguments: &[&str]) -> Command {
        fs::write(self.till.path().join("entries"), &self.entries).unwrap();
        let script = format!(
            "case \"$*\" in *--lines=1*) exit 0;; esac\n\
             echo '-- No entries --'\nexec cat '{}'",
            self.till.path().join("entries").display()
        );
        self.command_by(&script, arguments)
    }

    /// `report`, with a script in place of journalctl.
    fn command_by(&self, script: &str, arguments: &[&str]) -> Command {
        self.till.script("journalctl", script);
        let mut path = self.till.path().join("bin").into_os_string();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap());
        let mut command = mfe_watchdog();
        command
            .arg("report")
            .args(arguments)
            .arg("--runtime-dir")
            .arg(self.till.runtime_dir())
            .env("PATH", path)
            .env("LC_ALL", "C")
            .env("TZ", "<-03>3");
        command
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let output = output(&mut self.command(&[&["--json"], arguments].concat()));
        assert_eq!((output.code(), output.stderr.as_str()), (0, ""));
        let report: Value = serde_json::from_str(&output.stdout).unwrap();
        assert_valid(SCHEMA, &report);
        report
    }

    fn page(&self) -> (PathBuf, String) {
        let file = self.till.path().join("report.html");
        let output = output(&mut self.command(&["--html", file.to_str().unwrap()]));
        let said = (
            output.code(),
            output.stdout.as_str(),
            output.stderr.as_str(),
        );
        assert_eq!(said, (0, "", ""));
        let page = fs::read_to_string(&file).unwrap();
        (file, page)
    }

    /// How many whole seconds before now a time in the report is.
    fn ago(&self, time: &Value) -> u64 {
        let time = humantime::parse_rfc3339(time.as_str().unwrap()).unwrap();
        // An outage that goes on ends when the report is made, which is a moment later.
        let ago = self.now.duration_since(time).unwrap_or_default();
        // A time in JSON is rounded down to a millisecond.
        (ago.as_millis() / 1000).try_into().unwrap()
    }
}

fn process<'a>(report: &'a Value, key: &str) -> &'a Value {
    let processes = report["processes"].as_array().unwrap();
    let found = processes.iter().find(|process| process["key"] == key);
    found.unwrap_or_else(|| panic!("no {key} in {report}"))
}

#[test]
fn the_outages_are_those_of_the_journal_to_the_second() {
    let journal = Journal::scripted();
    let report = journal.json(&[]);
    let comunicador = process(&report, "comunicador");
    let outages = comunicador["outages"].as_array().unwrap();
    let told: Vec<_> = outages
        .iter()
        .map(|outage| {
            let cause = outage["cause"].as_str().unwrap();
            let duration = outage["duration_ms"].as_u64().unwrap();
            (
                journal.ago(&outage["from"]),
                duration,
                cause,
                &outage["start_failed"],
            )
        })
        .collect();
    let expected = [
        (140 * HOUR, 9000, "killed", &json!(false)),
        (100 * HOUR, 2 * HOUR * 1000, "exited", &json!(true)),
    ];
    assert_eq!(told, expected);
    let gaps = comunicador["not_observed"].as_array().unwrap();
    // How long the machine was off, since the boot of the journal's, depends on the one that this runs on.
    let [before, unknown, since, rest @ ..] = gaps.as_slice() else {
        panic!("{gaps:?}");
    };
    let last = rest.last().unwrap_or(since);
    for (gap, reason) in [
        (before, "no_record"),
        (unknown, "unknown"),
        (last, "watchdog_not_running"),
    ] {
        assert_eq!(gap["reason"], reason);
    }
    if let [_] = rest {
        assert_eq!(since["reason"], "machine_off");
    }
    assert_eq!(journal.ago(&before["to"]), 150 * HOUR);
    assert_eq!(journal.ago(&unknown["from"]), 80 * HOUR);
    assert_eq!(journal.ago(&unknown["to"]), 79 * HOUR);
    assert_eq!(journal.ago(&since["from"]), 40 * HOUR);
    assert_eq!(last["to"], report["to"]);

    let (down, up) = (
        (9 + 2 * HOUR) * 1000,
        (109 * HOUR) * 1000 - (9 + 2 * HOUR) * 1000,
    );
    assert_eq!(comunicador["down_ms"], down);
    assert_eq!(comunicador["up_ms"], up);
    let sum = down + up + comunicador["not_observed_ms"].as_u64().unwrap();
    assert!((7 * 24 * HOUR * 1000 - sum) <= 2, "{sum}");
    // 107 h of 109 h, and 9 s less.
    assert_eq!(comunicador["availability_percent"], json!(98.162));
    let off = comunicador["machine_off_ms"].as_u64().unwrap();
    let observed = comunicador["observed_percent"].as_f64().unwrap();
    let thousandths = 109 * HOUR * 1000 * 100_000 / (7 * 24 * HOUR * 1000 - off);
    let expected = f64::from(u32::try_from(thousandths).unwrap()) / 1000.0;
    assert!(
        (observed - expected).abs() < 0.002,
        "{observed}, {expected}"
    );
    assert_eq!(comunicador["restarts"], 2);
    assert_eq!(comunicador["restarts_per_day"], json!(0.4));
    assert_eq!(comunicador["longest_outage_ms"], 2 * HOUR * 1000);
    assert_eq!(comunicador["mean_time_to_recover_ms"], (2 * HOUR + 9) * 500);

    let day = journal.json(&["--since", "24h"]);
    assert_eq!(day["processes"], json!([]), "the watchdog hasn't run since");
}

#[test]
fn what_runs_quietly_is_observed_and_what_is_only_named_is_not() {
    let mut journal = Journal::scripted();
    let service = run(&journal.till);
    service.wait_for_state("comunicador", "up");
    let pid = service.pid().to_string();
    let kept = journal.till.runtime_dir().join("history");
    assert_observed(&journal, true);
    fs::remove_dir_all(&kept).unwrap();
    journal.add_now(json!({ "_PID": pid, "MFE_EVENT": "startup" }));
    assert_observed(&journal, false);
    let event = json!({ "_PID": pid, "MFE_EVENT": "adopted", "MFE_PROCESS": "comunicador" });
    journal.add_now(event);
    assert_observed(&journal, true);
    service.stop(Signal::SIGTERM);
    fs::remove_dir_all(&kept).unwrap();
    assert_observed(&journal, false);
}

/// Whether the process is observed up to now.
fn assert_observed(journal: &Journal, expected: bool) {
    let report = journal.json(&[]);
    let gaps = process(&report, "comunicador")["not_observed"]
        .as_array()
        .unwrap();
    let last = &gaps.last().unwrap()["to"];
    assert_eq!(last != &report["to"], expected, "{report}");
}

#[test]
fn it_speaks_the_language_of_its_reader() {
    let journal = Journal::scripted();
    let english = output(&mut journal.command(&[]));
    let portuguese = output(journal.command(&[]).env("LC_ALL", "pt_BR.UTF-8"));
    for (said, words) in [
        (
            &english,
            [
                "  Availability               98.162%",
                "  comunicador was down 2h in all, on",
                "(UTC-03:00)",
            ],
        ),
        (
            &portuguese,
            [
                "  Disponibilidade            98,162%",
                "  comunicador ficou fora do ar 2h no total, em",
                "(UTC-03:00)",
            ],
        ),
    ] {
        assert_eq!((said.code(), said.stderr.as_str()), (0, ""));
        for words in words {
            assert!(said.stdout.contains(words), "{words}: {}", said.stdout);
        }
        for line in said.stdout.lines().filter(|line| !line.contains("script")) {
            assert!(line.chars().count() <= 80, "{line}");
            assert!(!line.contains(char::is_control), "{line:?}");
        }
    }
}

#[test]
fn a_journal_that_cannot_be_read_is_said() {
    let journal = Journal::new();
    // As of systemd 245 and 247, in red unless it is told not to.
    let denied = "[ \"$SYSTEMD_LOG_COLOR\" = 0 ] || printf '\\033[31m' >&2
        echo 'No journal files were opened due to insufficient permissions.' >&2; exit 1";
    let failed = |output: &Output| {
        assert_eq!((output.code(), output.stdout.as_str()), (1, ""));
        assert!(
            output.stderr.contains("insufficient permissions") && !output.stderr.contains("[31m"),
            "{}",
            output.stderr
        );
    };
    let by_us = output(&mut journal.command_by(denied, &[]));
    failed(&by_us);
    assert!(
        by_us
            .stderr
            .starts_with("mfe-watchdog: the journal can't be read")
    );

    let prepared = journal.command_by(denied, &[]);
    let mut by_another = Command::new("setpriv");
    if is_root() {
        by_another.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    }
    by_another.arg(binary_for_everybody(&journal.till));
    by_another.args(prepared.get_args());
    let variables = prepared
        .get_envs()
        .filter_map(|(name, value)| Some((name, value?)));
    let by_another = output(clean(by_another).envs(variables));
    failed(&by_another);
    assert!(
        by_another.stderr.contains("sudo mfe-watchdog report"),
        "{}",
        by_another.stderr
    );

    let mut missing = journal.command_by("", &[]);
    let missing = output(missing.env("PATH", "/nonexistent"));
    assert_eq!(missing.code(), 1);
    assert!(
        missing.stderr.contains("journalctl can't be run"),
        "{}",
        missing.stderr
    );
}

#[test]
fn a_period_that_makes_no_sense_is_refused() {
    let journal = Journal::new();
    for since in ["yesterday", "0s", "2years", "", "-1d"] {
        let refused = output(&mut journal.command(&[&format!("--since={since}")]));
        assert_eq!(
            (refused.code(), refused.stdout.as_str()),
            (1, ""),
            "{since}"
        );
        assert!(
            refused.stderr.contains("write for example 24h"),
            "{}",
            refused.stderr
        );
    }
}

#[test]
fn a_report_may_be_about_a_month_or_some_days() {
    let journal = Journal::scripted();
    // From the first outage's day to its end, and of that only.
    let day = |ago: u64| {
        let time = journal.now - Duration::from_secs(ago + 3 * HOUR);
        humantime::format_rfc3339_seconds(time).to_string()
    };
    let from = day(141 * HOUR).replace('T', " ").replace('Z', "");
    let to = day(139 * HOUR).replace('T', " ").replace('Z', "");
    let report = journal.json(&["--from", &from, "--to", &to]);
    assert_eq!(journal.ago(&report["from"]), 141 * HOUR);
    assert_eq!(journal.ago(&report["to"]), 139 * HOUR);
    let comunicador = process(&report, "comunicador");
    assert_eq!(comunicador["outages"].as_array().unwrap().len(), 1);
    assert_eq!(comunicador["not_observed"], json!([]));
    let month = &day(0)[..7];
    let report = journal.json(&["--month", month]);
    assert_eq!(report["from"], json!(format!("{month}-01T03:00:00.000Z")));
    for (arguments, words) in [
        (["--month", "october"], "october is not a month"),
        (["--from", "2026-02-30"], "2026-02-30 is not a day"),
        (["--from", "2999-01-01"], "it has not begun yet"),
    ] {
        let refused = output(&mut journal.command(&arguments));
        assert_eq!((refused.code(), refused.stdout.as_str()), (1, ""));
        assert!(refused.stderr.contains(words), "{}", refused.stderr);
    }
    let refused = output(&mut journal.command(&["--month", month, "--since", "7d"]));
    assert_eq!(refused.code(), 2);
}

#[test]
fn a_page_goes_to_what_is_no_file_without_replacing_it() {
    let journal = Journal::scripted();
    let (_, page) = journal.page();
    let said = output(&mut journal.command(&["--html", "/dev/stdout"]));
    assert_eq!((said.code(), said.stderr.as_str()), (0, ""));
    assert_eq!(said.stdout.lines().next(), page.lines().next());
    assert!(said.stdout.ends_with("</html>\n"), "{}", said.stdout);
    assert!(std::path::Path::new("/dev/stdout").is_symlink());
}

#[test]
fn a_link_of_somebody_else_is_not_followed() {
    needs!(Need::Root("it makes a link that belongs to somebody else"));
    let till = Till::new();
    let (file, link) = (till.path().join("file"), till.path().join("link"));
    fs::write(&file, "precious").unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    std::os::unix::fs::lchown(&link, Some(65534), Some(65534)).unwrap();
    assert!(mfe_watchdog::report::write(&link, "page").is_err());
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    assert!(link.is_symlink());
}

/// A message that the watchdog has numbered, by whose number is known what is missing.
fn numbered(seq: u64, mut fields: Value) -> Value {
    fields["MFE_RUN"] = "0123456789abcdef0123456789abcdef".into();
    fields["MFE_SEQ"] = seq.to_string().into();
    fields
}

#[test]
fn what_the_journal_has_lost_is_not_observed() {
    let mut journal = Journal::new();
    let event = |event: &str, pid: &str| json!({ "MFE_EVENT": event, "MFE_PROCESS": "comunicador", "MFE_PID": pid });
    journal.add(10 * HOUR, numbered(1, json!({ "MFE_EVENT": "startup" })));
    journal.add(10 * HOUR, numbered(2, event("adopted", "5")));
    journal.add(8 * HOUR, numbered(3, event("unhealthy", "5")));
    // The death of 5, and the start of another one.
    journal.add(6 * HOUR, numbered(7, event("unhealthy", "6")));
    journal.add(4 * HOUR, numbered(9, event("unhealthy", "6")));
    journal.add(2 * HOUR, numbered(10, json!({ "MFE_EVENT": "shutdown" })));
    let report = journal.json(&[]);
    let gaps = process(&report, "comunicador")["not_observed"]
        .as_array()
        .unwrap()
        .clone();
    let lost = gaps.iter().filter(|gap| gap["reason"] == "messages_lost");
    let lost: Vec<_> = lost
        .map(|gap| (journal.ago(&gap["from"]), journal.ago(&gap["to"])))
        .collect();
    assert_eq!(lost, [(8 * HOUR, 6 * HOUR)], "{report}");
    let text = output(&mut journal.command(&[])).stdout;
    assert!(
        text.contains("messages of the watchdog are missing in the journal"),
        "{text}"
    );
}

/// The lines that the watchdog keeps of the entries that it has numbered.
fn keep(journal: &Journal) {
    let folder = journal.till.runtime_dir().join("history");
    fs::create_dir_all(&folder).unwrap();
    let lines = journal.entries.lines();
    let numbered: Vec<_> = lines.filter(|line| line.contains("MFE_SEQ")).collect();
    let half = numbered.len() / 2;
    fs::write(folder.join("events.1.jsonl"), numbered[..half].join("\n")).unwrap();
    let torn = "{\"_BOOT_ID\":\"0";
    let rest = format!("{}\n{torn}", numbered[half..].join("\n"));
    fs::write(folder.join("events.jsonl"), rest).unwrap();
}

#[test]
fn what_the_journal_has_lost_the_watchdog_has_kept() {
    let mut journal = Journal::new();
    let event = |event: &str, cause: &str| json!({ "MFE_EVENT": event, "MFE_PROCESS": "comunicador", "MFE_CAUSE": cause });
    journal.add(10 * HOUR, numbered(1, json!({ "MFE_EVENT": "startup" })));
    journal.add(10 * HOUR, numbered(2, event("adopted", "")));
    journal.add(8 * HOUR, numbered(3, event("down", "killed")));
    journal.add(6 * HOUR, numbered(4, event("up", "")));
    journal.add(4 * HOUR, numbered(5, event("down", "exited")));
    journal.add(3 * HOUR, numbered(6, event("up", "")));
    journal.add(2 * HOUR, numbered(7, json!({ "MFE_EVENT": "shutdown" })));
    let of = |report: &Value| process(report, "comunicador")["outages"].clone();
    let whole = of(&journal.json(&[]));
    assert_eq!(whole.as_array().unwrap().len(), 2, "{whole}");
    keep(&journal);
    let entries = std::mem::take(&mut journal.entries);
    assert_eq!(of(&journal.json(&[])), whole, "all is lost");
    for (index, _) in entries.lines().enumerate() {
        let left = entries.lines().enumerate();
        let left = left.filter(|(other, _)| index % 3 != other % 3);
        let left: Vec<&str> = left.map(|(_, line)| line).collect();
        journal.entries = left.join("\n") + "\n";
        assert_eq!(of(&journal.json(&[])), whole, "{}", journal.entries);
    }

    // The journal can't be read, and that is said.
    let denied = "echo 'No journal files were opened due to insufficient permissions.' >&2; exit 1";
    let alone = output(&mut journal.command_by(denied, &["--json"]));
    assert_eq!(alone.code(), 0, "{}", alone.stderr);
    let words =
        "insufficient permissions; this report has only the events that the watchdog keeps itself";
    assert!(alone.stderr.contains(words), "{}", alone.stderr);
    assert_eq!(of(&serde_json::from_str(&alone.stdout).unwrap()), whole);

    // What is kept can't be read, and that is said.
    journal.entries = entries;
    let file = journal.till.runtime_dir().join("history/events.jsonl");
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    let alone = output(&mut journal.command(&["--json"]));
    assert_eq!(alone.code(), 0, "{}", alone.stderr);
    let words = "isn't a regular file; where the journal has lost messages, the report lacks them";
    assert!(alone.stderr.contains(words), "{}", alone.stderr);
    assert_eq!(of(&serde_json::from_str(&alone.stdout).unwrap()), whole);
}

#[test]
fn a_page_that_cannot_be_written_is_said_and_leaves_nothing() {
    let journal = Journal::new();
    let failed = output(&mut journal.command(&["--html", "/nonexistent/report.html"]));
    assert_eq!(failed.code(), 1);
    assert!(
        failed
            .stderr
            .contains("/nonexistent/report.html can't be written"),
        "{}",
        failed.stderr
    );
    let (file, _) = journal.page();
    let names = fs::read_dir(file.parent().unwrap()).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(names.into_iter().all(|name| !name.contains(".new")));
}

#[test]
fn the_page_is_whole_by_itself_and_foreign_text_is_only_text() {
    let journal = Journal::scripted();
    let (_, page) = journal.page();
    let options = roxmltree::ParsingOptions {
        allow_dtd: true,
        ..roxmltree::ParsingOptions::default()
    };
    let document = Document::parse_with_options(&page, options).unwrap();
    let elements = || document.descendants().filter(Node::is_element);
    assert_eq!(document.root_element().attribute("lang"), Some("en"));

    let mut ids = BTreeMap::new();
    for element in elements() {
        let name = element.tag_name().name();
        let allowed = [
            "html", "head", "meta", "title", "style", "body", "header", "main", "footer",
            "section", "div", "h1", "h2", "p", "ul", "li", "dl", "dt", "dd", "span", "table",
            "caption", "thead", "tbody", "tr", "th", "td", "svg", "defs", "pattern", "path",
            "rect", "details", "summary",
        ];
        assert!(allowed.contains(&name), "{name}");
        for attribute in element.attributes() {
            let value = attribute.value();
            assert!(!attribute.name().starts_with("on"), "{attribute:?}");
            assert!(
                !["href", "src"].contains(&attribute.name()),
                "{attribute:?}"
            );
            if attribute.name() == "id" {
                assert!(
                    ids.insert(value, element).is_none(),
                    "{value} is there twice"
                );
            }
        }
    }
    // Nothing is fetched: the one reference is to the page's own pattern.
    let style = elements().find(|element| element.tag_name().name() == "style");
    let style = style.unwrap().text().unwrap();
    assert_eq!(
        style.matches("url(").count(),
        style.matches("url(#hatch)").count()
    );
    assert!(!style.contains("@import") && !style.contains("http"));
    assert_eq!(page.matches("http").count(), 1, "the namespace");

    // What the pictures show is in the tables.
    let mut pictures = elements().filter(|element| element.tag_name().name() == "svg");
    assert!(pictures.all(|picture| picture.attribute("aria-hidden") == Some("true")));
    let mut sections = elements().filter(|element| element.tag_name().name() == "section");
    assert!(sections.all(|section| {
        let drawn = |class| {
            let mut shapes = section.descendants();
            shapes.any(|shape| shape.attribute("class") == Some(class))
        };
        ["up", "down", "none"].into_iter().all(drawn)
    }));
    let mut heads = elements().filter(|element| element.tag_name().name() == "h2");
    let shown = "<script>alert('&\"')</script>\\u{1b}[2J\\u{202e}";
    assert!(heads.any(|head| head.text() == Some(shown)), "{page}");
}

#[test]
fn in_a_browser_the_page_fits_a_phone_and_shows_the_shortest_outage() {
    needs!(Need::Package("chromium"));
    let journal = Journal::scripted();
    let (file, page) = journal.page();
    for width in [360, 1280] {
        // A frame is exactly as wide as it is to be; a window may have a least width.
        let probe = format!(
            "<!DOCTYPE html><meta charset=\"utf-8\"/><iframe src=\"report.html\" width=\"{width}\" \
             height=\"800\" style=\"border:0\" onload=\"\
             const page = this.contentDocument, root = page.documentElement;\
             const size = (of) => Array.from(page.querySelectorAll(of), \
                (one) => Math.round(one.getBoundingClientRect().width * 100) / 100);\
             const text = JSON.stringify({{ overflow: root.scrollWidth - root.clientWidth, \
                timelines: size('.timeline'), outages: size('.timeline .down'), \
                language: root.lang, rows: size('tbody tr').length }});\
             this.remove(); document.body.textContent = text\"></iframe>"
        );
        let probe_file = file.with_file_name("probe.html");
        fs::write(&probe_file, probe).unwrap();
        let profile = file.with_file_name("profile");
        let dumped = output(
            clean(Command::new("chromium"))
                .args(["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"])
                .args([
                    "--allow-file-access-from-files",
                    "--virtual-time-budget=5000",
                ])
                .arg(format!("--user-data-dir={}", profile.display()))
                .arg(format!("file://{}", probe_file.display())),
        );
        let found = dumped
            .stdout
            .split_once("<body>")
            .and_then(|(_, rest)| rest.split_once("</body>"));
        let (found, _) = found.unwrap_or_else(|| panic!("{dumped:?}"));
        let found: Value = serde_json::from_str(found).unwrap_or_else(|_| panic!("{dumped:?}"));
        assert_eq!(found["overflow"], 0, "at {width}: {found}");
        let widths = |of: &str| -> Vec<f64> {
            let all = found[of].as_array().unwrap().iter();
            all.map(|width| width.as_f64().unwrap()).collect()
        };
        // A picture a day of the week, which isn't over on its first day, for each of the two.
        assert_eq!(widths("timelines").len(), 2 * 8, "{found}");
        assert!(
            widths("timelines").iter().all(|width| *width > 300.0),
            "{found}"
        );
        // One that anybody notices each, of which one may last over midnight.
        assert!([2, 3].contains(&widths("outages").len()), "{found}");
        assert!(
            widths("outages").iter().all(|width| *width >= 1.0),
            "at {width}: {found}"
        );
        let rows =
            page.matches("<tr><td>").count() + page.matches("<tr><th scope=\"row\">").count();
        assert_eq!(found["rows"], rows, "{found}");
        assert_eq!(found["language"], "en");
    }
}

/// In the form in which journalctl shows a service that was killed and came back 1.1 s later under systemd 229
/// (Ubuntu 16.04) and 237 (18.04), which have no id for the end of a process; before that a reload had failed.
/// The journal has lost whose the very last message was.
#[test]
fn the_end_of_the_service_is_seen_under_old_systemd_too() {
    for version in ["229", "237"] {
        let fixture = format!("tests/fixtures/journal/systemd-{version}.json");
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join(fixture);
        let text = fs::read_to_string(fixture).unwrap();
        let entries = text.lines().map(serde_json::from_str::<Value>);
        let mut entries: Vec<Value> = entries.map(Result::unwrap).collect();
        let mut journal = Journal::new();
        let now = journal.now.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let time = |entry: &Value| -> u64 {
            let text = entry["__REALTIME_TIMESTAMP"].as_str().unwrap();
            text.parse().unwrap()
        };
        let end = time(entries.last().unwrap());
        let shift = u64::try_from(now.as_micros()).unwrap() - 60_000_000 - end;
        for entry in &mut entries {
            entry["__REALTIME_TIMESTAMP"] = (time(entry) + shift).to_string().into();
            journal.entries += &format!("{entry}\n");
        }
        let report = journal.json(&["--since=1h"]);
        let comunicador = process(&report, "comunicador");
        assert_eq!(comunicador["outages"], json!([]));
        let gaps = comunicador["not_observed"].as_array().unwrap();
        let told: Vec<_> = gaps
            .iter()
            .map(|gap| {
                let time =
                    |end: &str| humantime::parse_rfc3339(gap[end].as_str().unwrap()).unwrap();
                let length = time("to").duration_since(time("from")).unwrap();
                (gap["reason"].as_str().unwrap(), length.as_millis())
            })
            .collect();
        let [before, ("watchdog_not_running", crash), since] = told[..] else {
            panic!("systemd {version}: {told:?}");
        };
        // From the kill until it said that it adopts the program.
        assert_eq!(crash, 1123, "systemd {version}");
        assert_eq!((before.0, since.0), ("no_record", "watchdog_not_running"));
    }
}
