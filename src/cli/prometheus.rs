//! The status as metrics for Prometheus and what reads its form. The table for a person is `status`'s.
//!
//! The text is valid OpenMetrics 1.0 and the older text format 0.0.4 at once, which node_exporter's
//! textfile collector reads. The two declare a counter by different names, so the only one here has no
//! `# TYPE`: Prometheus computes a rate of it all the same.

use std::time::SystemTime;

use mfe_common::timestamp::Timestamp;

use crate::status::{ProcessStatus, State, Status};

/// What the metrics end with, so that a reader knows them whole (OpenMetrics 1.0, "EOF").
const END: &str = "# EOF\n";

/// One metric of the text, with all its samples.
struct Metric {
    text: String,
    name: &'static str,
}

impl Metric {
    /// A value that goes up and down.
    fn gauge(name: &'static str, help: &str) -> Self {
        let text = format!("# HELP {name} {help}\n# TYPE {name} gauge\n");
        Self { text, name }
    }

    /// A value that only grows until the machine is booted again.
    fn count(name: &'static str, help: &str) -> Self {
        let text = format!("# HELP {name} {help}\n");
        Self { text, name }
    }

    fn sample(&mut self, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let labels = labels.iter();
        let labels = labels.map(|(name, value)| format!("{name}=\"{}\"", escaped(value)));
        let labels = labels.collect::<Vec<_>>().join(",");
        let braced = if labels.is_empty() {
            labels
        } else {
            format!("{{{labels}}}")
        };
        self.text += &format!("{}{braced} {value}\n", self.name);
    }

    /// A sample of each process for which there is a value.
    fn samples<V: std::fmt::Display>(
        mut self,
        status: &Status,
        value: impl Fn(&ProcessStatus) -> Option<V>,
    ) -> String {
        for process in &status.processes {
            if let Some(value) = value(process) {
                self.sample(&labels(process), value);
            }
        }
        self.text
    }
}

/// The metrics of a running service, or of one that doesn't run: then nothing is known of the programs.
pub(super) fn metrics(status: Option<&Status>) -> String {
    let mut up = Metric::gauge(
        "mfe_watchdog_up",
        "Whether the service runs. While it does not, nothing is known of the programs.",
    );
    up.sample(&[], u8::from(status.is_some()));
    let mut build = Metric::gauge(
        "mfe_watchdog_build_info",
        "The version of mfe-watchdog that prints this.",
    );
    build.sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    let own = up.text + &build.text;
    own + &status.map(of_programs).unwrap_or_default() + END
}

fn of_programs(status: &Status) -> String {
    let mut started = Metric::gauge(
        "mfe_watchdog_start_time_seconds",
        "When the service started, in seconds since 1970.",
    );
    started.sample(&[], seconds(status.started_at));
    let mut refused = Metric::gauge(
        "mfe_watchdog_config_refused",
        "Whether the configuration file is bad, so that the service uses other settings than it says.",
    );
    refused.sample(&[], u8::from(status.config_fallback.is_some()));
    let up = Metric::gauge(
        "mfe_process_up",
        "Whether the program runs, paused or not. Absent while that is unknown.",
    );
    let mut in_state = Metric::gauge(
        "mfe_process_state",
        "1 for the state that the program is in, 0 for each other.",
    );
    for process in &status.processes {
        for state in State::ALL {
            let [process_label, name] = labels(process);
            let word = state.to_string();
            let labels = [process_label, name, ("state", word.as_str())];
            in_state.sample(&labels, u8::from(process.state == state));
        }
    }
    let since = Metric::gauge(
        "mfe_process_since_timestamp_seconds",
        "Since when it is in its state, or has been up or gone, in seconds since 1970.",
    );
    let copies = Metric::gauge(
        "mfe_process_second_copies",
        "How many second copies of the program run; the first ten are counted.",
    );
    let restarts = Metric::count(
        "mfe_process_restarts_total",
        "How often the program was brought back since the machine was booted.",
    );
    let paused = Metric::gauge(
        "mfe_process_paused_until_timestamp_seconds",
        "Until when it is paused, in seconds since 1970; only while it is.",
    );
    let restarted = Metric::gauge(
        "mfe_process_last_restart_timestamp_seconds",
        "When it was last brought back, in seconds since 1970.",
    );
    let outage = Metric::gauge(
        "mfe_process_last_outage_seconds",
        "How long it was gone before it was last brought back.",
    );
    [
        started.text,
        refused.text,
        up.samples(status, |process| {
            let is_known = process.state != State::Unknown;
            is_known.then(|| u8::from(!process.pids.is_empty()))
        }),
        in_state.text,
        since.samples(status, |process| Some(seconds(process.since))),
        copies.samples(status, |process| Some(process.duplicates.len())),
        restarts.samples(status, |process| Some(process.restarts)),
        paused.samples(status, |process| process.paused_until.map(seconds)),
        restarted.samples(status, |process| {
            let last = process.last_restart.as_ref();
            last.map(|last| seconds(last.at))
        }),
        outage.samples(status, |process| {
            let last = process.last_restart.as_ref();
            last.map(|last| thousandths(u128::from(last.outage_ms)))
        }),
    ]
    .concat()
}

fn labels(process: &ProcessStatus) -> [(&str, &str); 2] {
    [("process", &process.key), ("name", &process.name)]
}

/// Seconds since 1970; a clock that is before it is there.
fn seconds(time: Timestamp) -> String {
    let since = SystemTime::from(time).duration_since(SystemTime::UNIX_EPOCH);
    thousandths(since.unwrap_or_default().as_millis())
}

fn thousandths(milliseconds: u128) -> String {
    format!("{}.{:03}", milliseconds / 1000, milliseconds % 1000)
}

/// A label's value as both forms write it.
fn escaped(value: &str) -> String {
    let value = value.replace('\\', "\\\\").replace('"', "\\\"");
    value.replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(processes: &str) -> Status {
        let json = format!(
            r#"{{"version":1,"pid":7,"started_at":"2026-03-01T12:00:00.250Z",
            "updated_at":"2026-03-01T12:00:01Z","processes":[{processes}]}}"#
        );
        serde_json::from_str(&json).unwrap()
    }

    fn of(metrics: &str, metric: &str) -> Vec<String> {
        let of_it = metrics.lines().filter(|line| line.starts_with(metric));
        of_it.map(str::to_owned).collect()
    }

    #[test]
    fn of_a_service_that_does_not_run_nothing_but_that_is_told() {
        let text = metrics(None);
        assert_eq!(of(&text, "mfe_watchdog_up"), ["mfe_watchdog_up 0"]);
        assert!(!text.contains("mfe_process"), "{text}");
        assert!(text.ends_with("\n# EOF\n"));
    }

    #[test]
    fn each_program_is_told_with_its_state_and_its_last_outage() {
        let text = metrics(Some(&status(
            r#"{"key":"monitor","name":"Monitor","state":"down","pids":[],"since":"1970-01-01T00:00:10Z",
            "restarts":3,"last_restart":{"at":"1970-01-01T00:00:02.007Z","cause":"exited","outage_ms":40},
            "detail":null}"#,
        )));
        let labels = r#"{process="monitor",name="Monitor""#;
        for (metric, value) in [
            ("mfe_process_up", "} 0"),
            ("mfe_process_state", r#",state="up"} 0"#),
            ("mfe_process_state", r#",state="down"} 1"#),
            ("mfe_process_since_timestamp_seconds", "} 10.000"),
            ("mfe_process_second_copies", "} 0"),
            ("mfe_process_restarts_total", "} 3"),
            ("mfe_process_last_restart_timestamp_seconds", "} 2.007"),
            ("mfe_process_last_outage_seconds", "} 0.040"),
        ] {
            let line = format!("{metric}{labels}{value}");
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
        assert_eq!(
            of(&text, "mfe_process_paused_until_timestamp_seconds"),
            [""; 0]
        );
        let started = "mfe_watchdog_start_time_seconds 1772366400.250";
        assert!(text.contains(started), "{text}");
    }

    #[test]
    fn where_nobody_could_look_it_is_neither_up_nor_down() {
        let text = metrics(Some(&status(
            r#"{"key":"m","name":"M","state":"unknown","pids":[],"since":"1970-01-01T00:00:10Z",
            "restarts":0,"last_restart":null,"detail":null}"#,
        )));
        assert_eq!(of(&text, "mfe_process_up"), [""; 0]);
        assert!(text.contains(r#"state="unknown"} 1"#), "{text}");
    }

    #[test]
    fn every_state_that_can_be_published_is_told() {
        let schema = include_str!("../../tests/schema/status.json");
        let schema: serde_json::Value = serde_json::from_str(schema).unwrap();
        let states = &schema["$defs"]["process"]["properties"]["state"]["enum"];
        let all: Vec<String> = State::ALL.iter().map(ToString::to_string).collect();
        assert_eq!(serde_json::json!(all), *states);
    }

    #[test]
    fn no_name_forges_a_sample() {
        let text = metrics(Some(&status(
            r#"{"key":"m","name":"a\"} 1\nmfe_process_up{x=\"\\","state":"up","pids":[1],
            "since":"1970-01-01T00:00:10Z","restarts":0,"last_restart":null,"detail":null}"#,
        )));
        let expected = r#"mfe_process_up{process="m",name="a\"} 1\nmfe_process_up{x=\"\\"} 1"#;
        assert_eq!(of(&text, "mfe_process_up{"), [expected]);
    }
}
