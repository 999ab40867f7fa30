//! What Prometheus is told (its text format 0.0.4): of programs by the same names as `mfe-watchdog status
//! --prometheus`, with the till beside them.

use std::fmt::{Display, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use crate::batch::Verdict;
use crate::fleet::{Program, Row, Standing};
use crate::health::{Engine, Health};
use crate::message::Refusal;

/// One metric of the text, with all its samples.
struct Metric {
    text: String,
    name: &'static str,
}

impl Metric {
    fn new(name: &'static str, kind: &str, help: &str) -> Self {
        let text = format!("# HELP {name} {help}\n# TYPE {name} {kind}\n");
        Self { text, name }
    }

    /// A value that goes up and down.
    fn gauge(name: &'static str, help: &str) -> Self {
        Self::new(name, "gauge", help)
    }

    /// A value that only grows, until what counts it is started again.
    fn counter(name: &'static str, help: &str) -> Self {
        Self::new(name, "counter", help)
    }

    fn sample(&mut self, names: &[(&str, &str)], value: impl Display) {
        self.put(&labels(names), value);
    }

    /// A sample with labels as the format has them.
    fn put(&mut self, labels: &str, value: impl Display) {
        let (start, end) = if labels.is_empty() {
            ("", "")
        } else {
            ("{", "}")
        };
        for part in [self.name, start, labels, end] {
            self.text.push_str(part);
        }
        let _ = writeln!(self.text, " {value}");
    }

    fn one(mut self, value: impl Display) -> String {
        self.put("", value);
        self.text
    }

    /// A sample of each till for which there is a value.
    fn tills<V: Display>(mut self, tills: &[Told], value: impl Fn(&Row) -> Option<V>) -> String {
        for till in tills {
            if let Some(value) = value(till.row) {
                self.put(&till.labels, value);
            }
        }
        self.text
    }

    /// A sample of each program for which there is a value, as far as it is known how it is.
    fn programs<V: Display>(
        mut self,
        tills: &[Told],
        value: impl Fn(&Program) -> Option<V>,
    ) -> String {
        for (program, labels) in tills.iter().flat_map(|till| &till.programs) {
            if let Some(value) = value(program) {
                self.put(labels, value);
            }
        }
        self.text
    }
}

/// A till with its labels and those of its programs, none of a silent one. They are made once for all metrics: of 10,000
/// tills there are 130,000 samples, and whoever waits for a change waits for all of them.
struct Told<'a> {
    row: &'a Row,
    labels: String,
    programs: Vec<(&'a Program, String)>,
}

impl<'a> Told<'a> {
    fn new(row: &'a Row) -> Self {
        let store = row.store.as_deref().unwrap_or_default();
        let till = labels(&[("till", &row.till), ("store", store)]);
        let is_known = row.state != Standing::Silent;
        let programs = row.programs.iter().filter(|_| is_known).map(|program| {
            let more = labels(&[("process", &program.key), ("name", &program.name)]);
            (program, format!("{till},{more}"))
        });
        Self {
            row,
            programs: programs.collect(),
            labels: till,
        }
    }
}

/// Labels as the format has them.
fn labels(labels: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (name, value) in labels {
        let comma = if text.is_empty() { "" } else { "," };
        for part in [comma, name, "=\""] {
            text.push_str(part);
        }
        escape(value, &mut text);
        text.push('"');
    }
    text
}

/// All of them.
pub(crate) fn metrics(rows: &[Arc<Row>], health: &Health) -> String {
    let tills: Vec<Told> = rows.iter().map(|row| Told::new(row)).collect();
    let mut text = of_central(health);
    text.extend(of_tills(&tills));
    text.extend(of_programs(&tills));
    text.concat()
}

fn of_central(health: &Health) -> Vec<String> {
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let is_here = |engine| u8::from(health.away_since(engine).is_none());
    let mut build = Metric::gauge("mfe_central_build_info", "The version of mfe-central.");
    build.sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    let mut refused = Metric::counter(
        "mfe_central_refused_messages_total",
        "Messages of tills that were refused, by the reason.",
    );
    for refusal in Refusal::ALL {
        refused.sample(&[("reason", &refusal.to_string())], health.refused(refusal));
    }
    let mut messages = Metric::counter(
        "mfe_central_route_messages_total",
        "Messages that a route handed over, by their verdict.",
    );
    let mut starts = Metric::counter(
        "mfe_central_route_handler_starts_total",
        "How often a route's handler was started.",
    );
    for (index, route) in health.routes.iter().enumerate() {
        let number = (index + 1).to_string();
        let labels = [
            ("route", &*number),
            ("from", route.from),
            ("handler", &route.handler),
        ];
        for verdict in Verdict::ALL {
            let labels = [&labels[..], &[("verdict", verdict.name())]].concat();
            messages.sample(&labels, route.verdicts(verdict));
        }
        starts.sample(&labels, count(&route.starts));
    }
    vec![
        build.text,
        messages.text,
        starts.text,
        Metric::gauge(
            "mfe_central_broker_up",
            "Whether messages are taken from the broker.",
        )
        .one(is_here(Engine::Broker)),
        Metric::gauge(
            "mfe_central_database_up",
            "Whether the database can be used.",
        )
        .one(is_here(Engine::Database)),
        Metric::counter(
            "mfe_central_events_total",
            "Events that were stored, each once.",
        )
        .one(count(&health.events)),
        Metric::counter(
            "mfe_central_redundant_events_total",
            "Events that had been stored before.",
        )
        .one(count(&health.redundant)),
        Metric::counter(
            "mfe_central_states_total",
            "States of tills that were taken note of.",
        )
        .one(count(&health.states)),
        refused.text,
        Metric::gauge("mfe_central_followers", "Those that follow /events.")
            .one(count(&health.followers)),
        Metric::counter(
            "mfe_central_dropped_followers_total",
            "Those that were too slow for /events.",
        )
        .one(count(&health.dropped)),
    ]
}

fn of_tills(tills: &[Told]) -> Vec<String> {
    let mut in_state = Metric::gauge(
        "mfe_till_state",
        "1 for the state that the till is in; others aren't told.",
    );
    for till in tills {
        in_state.put(&format!("{},state=\"{}\"", till.labels, till.row.state), 1);
    }
    let heard = Metric::gauge(
        "mfe_till_last_heard_timestamp_seconds",
        "When the till was last heard, in seconds since 1970.",
    );
    let offset = Metric::gauge(
        "mfe_till_clock_offset_seconds",
        "By how much the till's clock is ahead of the office's.",
    );
    let backlog = Metric::gauge(
        "mfe_till_backlog_events",
        "Events that the till hasn't sent yet.",
    );
    let twice = Metric::gauge(
        "mfe_till_same_identity",
        "Whether two machines speak as this till.",
    );
    let is_heard = |row: &Row| row.heard.is_some();
    vec![
        in_state.text,
        heard.tills(tills, |row| row.heard.as_deref().and_then(seconds)),
        offset.tills(tills, |row| {
            is_heard(row).then(|| thousandths(row.clock_offset_ms))
        }),
        backlog.tills(tills, |row| is_heard(row).then_some(row.backlog)),
        twice.tills(tills, |row| {
            is_heard(row).then(|| u8::from(row.same_identity))
        }),
    ]
}

fn of_programs(tills: &[Told]) -> Vec<String> {
    let up = Metric::gauge(
        "mfe_process_up",
        "Whether the program runs, paused or not. Absent while that is unknown.",
    );
    let mut in_state = Metric::gauge(
        "mfe_process_state",
        "1 for the state that the program is in; others aren't told.",
    );
    for (program, known) in tills.iter().flat_map(|till| &till.programs) {
        let state = labels(&[("state", &program.state)]);
        in_state.put(&format!("{known},{state}"), 1);
    }
    let since = Metric::gauge(
        "mfe_process_since_timestamp_seconds",
        "Since when it is in its state, or has been up or gone, in seconds since 1970.",
    );
    let restarts = Metric::counter(
        "mfe_process_restarts_total",
        "How often the program was brought back since the till was booted.",
    );
    let paused = Metric::gauge(
        "mfe_process_paused_until_timestamp_seconds",
        "Until when it is paused, in seconds since 1970; only while it is.",
    );
    vec![
        up.programs(tills, |program| {
            (program.state != "unknown").then(|| u8::from(program.runs))
        }),
        in_state.text,
        since.programs(tills, |program| seconds(&program.since)),
        restarts.programs(tills, |program| Some(program.restarts)),
        paused.programs(tills, |program| {
            program.paused_until.as_deref().and_then(seconds)
        }),
    ]
}

/// Seconds since 1970 of one of our own timestamps.
fn seconds(timestamp: &str) -> Option<String> {
    let time = humantime::parse_rfc3339(timestamp).ok()?;
    let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Some(format!("{}.{:03}", since.as_secs(), since.subsec_millis()))
}

fn thousandths(milliseconds: i64) -> String {
    let sign = if milliseconds < 0 { "-" } else { "" };
    let size = milliseconds.unsigned_abs();
    format!("{sign}{}.{:03}", size / 1000, size % 1000)
}

/// Writes a label's value as the format has it.
fn escape(value: &str, text: &mut String) {
    for c in value.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            c => text.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::io::Write;
    use std::path::Path;
    use std::process::{Command, Stdio};
    use std::time::Duration;

    use mfe_kit::{Need, needs, output};

    use super::*;
    use crate::clock::Moment;
    use crate::fleet::Fleet;
    use crate::fleet::tests::state;
    use crate::health::Counts;

    const DASHBOARD: &str = include_str!("../grafana/mfe-central.json");

    fn fleet() -> (Fleet, Moment) {
        let mut fleet = Fleet::new(Duration::from_secs(60));
        let now = Moment {
            mono: std::time::Instant::now(),
            wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_001),
        };
        let mut odd = state("down", 1, &["down", "up"]);
        odd.labels
            .insert("store".into(), "a\"} 1\nmfe_till_state{x=\"\\".into());
        fleet.apply(odd, now);
        fleet.apply(state("silent", 1, &["up"]), now);
        fleet.expect("never");
        let later = Moment {
            mono: now.mono + Duration::from_secs(200),
            wall: now.wall + Duration::from_secs(200),
        };
        fleet.apply(state("down", 201, &["down", "up"]), later);
        fleet.tick(later);
        (fleet, later)
    }

    fn text() -> String {
        let mut health = Health::new(SystemTime::now());
        let route = Counts::new("sse", "/usr/bin/a\"b");
        route.count(Verdict::Requeue);
        health.routes.push(Arc::new(route));
        health.refuse(Refusal::Identity, "x");
        metrics(&fleet().0.rows(), &health)
    }

    #[test]
    fn tills_and_their_programs_are_told() {
        let text = text();
        for line in [
            r#"mfe_till_state{till="silent",store="12",state="silent"} 1"#,
            r#"mfe_till_state{till="never",store="",state="never_seen"} 1"#,
            r#"mfe_till_state{till="down",store="12",state="down"} 1"#,
            r#"mfe_process_up{till="down",store="12",process="p0",name="P0"} 0"#,
            r#"mfe_process_up{till="down",store="12",process="p1",name="P1"} 1"#,
            r#"mfe_process_state{till="down",store="12",process="p0",name="P0",state="down"} 1"#,
            r#"mfe_till_last_heard_timestamp_seconds{till="silent",store="12"} 1000001.000"#,
            r#"mfe_central_refused_messages_total{reason="identity"} 1"#,
            r#"mfe_central_route_messages_total{route="1",from="sse",handler="/usr/bin/a\"b",verdict="requeue"} 1"#,
            r#"mfe_central_route_handler_starts_total{route="1",from="sse",handler="/usr/bin/a\"b"} 0"#,
            "mfe_central_database_up 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
        // How a silent till's programs are nobody knows.
        assert!(!text.contains(r#"mfe_process_up{till="silent""#), "{text}");
        assert!(
            !text.contains(r#"last_heard_timestamp_seconds{till="never""#),
            "{text}"
        );
    }

    #[test]
    fn no_label_forges_a_sample() {
        let mut fleet = Fleet::new(Duration::from_secs(60));
        let mut odd = state("t", 1, &["up"]);
        odd.labels
            .insert("store".into(), "a\"} 1\nmfe_till_state{x=\"\\".into());
        fleet.apply(odd, crate::clock::now());
        let text = metrics(&fleet.rows(), &Health::new(SystemTime::now()));
        let expected =
            r#"mfe_till_state{till="t",store="a\"} 1\nmfe_till_state{x=\"\\",state="up"} 1"#;
        assert!(text.lines().any(|line| line == expected), "{text}");
    }

    #[test]
    fn prometheus_finds_nothing_to_say() {
        needs!(Need::Package("prometheus"));
        let mut promtool = Command::new("promtool");
        let promtool = promtool.args(["check", "metrics"]).stdin(Stdio::piped());
        let promtool = promtool.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut promtool = promtool.spawn().unwrap();
        promtool
            .stdin
            .take()
            .unwrap()
            .write_all(text().as_bytes())
            .unwrap();
        let said = promtool.wait_with_output().unwrap();
        assert!(said.status.success() && said.stderr.is_empty(), "{said:?}");
    }

    #[test]
    fn the_alerts_fire_when_they_should() {
        needs!(Need::Package("prometheus"));
        let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules");
        for words in [
            &["check", "rules", "mfe.rules.yml"][..],
            &["test", "rules", "mfe.test.yml"],
        ] {
            let said = output(Command::new("promtool").args(words).current_dir(&rules));
            assert_eq!(said.code(), 0, "{}{}", said.stdout, said.stderr);
        }
    }

    /// The names of our metrics in a text.
    fn names(text: &str) -> BTreeSet<&str> {
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        words.filter(|word| word.starts_with("mfe_")).collect()
    }

    #[test]
    fn alerts_and_dashboard_are_of_metrics_that_there_are() {
        let text = text();
        for (of, least) in [(include_str!("../rules/mfe.rules.yml"), 6), (DASHBOARD, 12)] {
            let names = names(of);
            assert!(names.len() > least, "{names:?}");
            for name in names {
                let is_known = text.contains(&format!("# HELP {name} "));
                assert!(is_known, "{name}");
            }
        }
    }

    /// Every expression of the dashboard, with what its variables stand for.
    fn expressions() -> Vec<String> {
        let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).unwrap();
        let panels = dashboard["panels"].as_array().unwrap().iter();
        let targets = panels.flat_map(|panel| panel["targets"].as_array().unwrap());
        let said = targets.map(|target| target["expr"].as_str().unwrap().to_owned());
        said.map(|expr| expr.replace("$till", ".*").replace("$store", ".*"))
            .collect()
    }

    #[test]
    fn the_dashboard_asks_what_prometheus_understands() {
        needs!(Need::Package("prometheus"));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("rules.json");
        // Prometheus takes each rule once; their labels tell them apart.
        let rules = expressions().into_iter().enumerate().map(|(n, expr)| {
            serde_json::json!({"record": "a:b", "expr": expr, "labels": {"n": n.to_string()}})
        });
        let rules: Vec<serde_json::Value> = rules.collect();
        assert!(rules.len() > 15);
        // JSON is YAML.
        let rules = serde_json::json!({"groups": [{"name": "g", "rules": rules}]});
        std::fs::write(&file, rules.to_string()).unwrap();
        let mut promtool = Command::new("promtool");
        let said = output(promtool.args(["check", "rules"]).arg(&file));
        assert_eq!(said.code(), 0, "{}{}", said.stdout, said.stderr);
    }

    #[test]
    fn panels_have_their_place_and_variables() {
        let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).unwrap();
        let variables = dashboard["templating"]["list"].as_array().unwrap();
        let variables: BTreeSet<&str> = variables
            .iter()
            .map(|variable| variable["name"].as_str().unwrap())
            .collect();
        assert_eq!(variables, BTreeSet::from(["datasource", "store", "till"]));
        let mut places = BTreeSet::new();
        let mut ids = BTreeSet::new();
        for panel in dashboard["panels"].as_array().unwrap() {
            let [x, y, w, h] =
                ["x", "y", "w", "h"].map(|name| panel["gridPos"][name].as_u64().unwrap());
            assert!(x + w <= 24, "{panel}");
            let fields = (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y)));
            for place in fields {
                assert!(places.insert(place), "{place:?}: {panel}");
            }
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
            assert_eq!(panel["datasource"]["uid"], "${datasource}");
        }
    }
}
