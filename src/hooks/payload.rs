//! What a hook is given of an event: variables and one line of JSON. Which hook gets it, and when,
//! is decided in [`super`].

use mfe_common::timestamp::Timestamp;
use serde::Serialize;

use crate::events::Message;
use crate::sys::child_env::Variable;

/// The event as JSON; what doesn't apply to it is null. Part of the program's interface: names stay,
/// new ones may come.
#[derive(Serialize)]
struct Line<'a> {
    event: &'static str,
    process: Option<&'a str>,
    pid: Option<i32>,
    cause: Option<&'static str>,
    signal: Option<&'static str>,
    outage_ms: Option<u64>,
    host: Option<&'a str>,
    time: Timestamp,
    message: &'a str,
}

/// The variables of a hook; one that doesn't apply isn't there, even if the service has it.
pub(super) fn variables(message: &Message, host: Option<&str>) -> [Variable; 7] {
    [
        ("MFE_EVENT", Some(message.kind.name().to_owned())),
        ("MFE_PROCESS", message.process.clone()),
        ("MFE_PID", message.pid.map(|pid| pid.to_string())),
        ("MFE_CAUSE", message.cause.map(str::to_owned)),
        ("MFE_SIGNAL", message.signal.map(str::to_owned)),
        ("MFE_OUTAGE_MS", message.outage_ms.map(|ms| ms.to_string())),
        ("MFE_HOST", host.map(str::to_owned)),
    ]
}

/// The line on a hook's standard input, with its end. It is far shorter than a pipe's room
/// (`pipe(7)`, 64 KiB), for a message's text is bounded.
pub(super) fn line(message: &Message, host: Option<&str>, time: Timestamp) -> Vec<u8> {
    let line = Line {
        event: message.kind.name(),
        process: message.process.as_deref(),
        pid: message.pid,
        cause: message.cause,
        signal: message.signal,
        outage_ms: message.outage_ms,
        host,
        time,
        message: &message.text,
    };
    // It has nothing that JSON can't say.
    let mut line = serde_json::to_vec(&line).unwrap_or_default();
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::events::{Kind, MAX_TEXT};

    fn time() -> Timestamp {
        (SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123)).into()
    }

    #[test]
    fn an_event_of_a_process_has_everything() {
        let message = Message {
            cause: Some("killed"),
            signal: Some("SIGSEGV"),
            outage_ms: Some(7),
            ..Message::of_process("monitor", Kind::Restarted, Some(42), "Monitor is \"back\"")
        };
        let line = String::from_utf8(line(&message, Some("till-7"), time())).unwrap();
        let expected = r#"{"event":"restarted","process":"monitor","pid":42,"cause":"killed","signal":"SIGSEGV","outage_ms":7,"host":"till-7","time":"2023-11-14T22:13:20.123Z","message":"Monitor is \"back\""}"#;
        assert_eq!(line, format!("{expected}\n"));
        let variables = variables(&message, Some("till-7"));
        let values: Vec<_> = variables
            .iter()
            .map(|(_, value)| value.as_deref())
            .collect();
        let expected = [
            "restarted",
            "monitor",
            "42",
            "killed",
            "SIGSEGV",
            "7",
            "till-7",
        ];
        assert_eq!(values, expected.map(Some));
    }

    #[test]
    fn what_does_not_apply_is_null_or_not_there() {
        let message = Message::of_service(Kind::Startup, "watching\nover");
        let line: serde_json::Value =
            serde_json::from_slice(&line(&message, None, time())).unwrap();
        for name in ["process", "pid", "cause", "signal", "outage_ms", "host"] {
            assert!(line[name].is_null() && line.get(name).is_some(), "{name}");
        }
        assert_eq!(line["message"], "watching\\nover");
        let variables = variables(&message, None);
        let there = variables.iter().filter(|(_, value)| value.is_some());
        assert_eq!(there.count(), 1);
    }

    #[test]
    fn the_line_fits_into_a_pipe_whatever_happened() {
        for text in ["\"", "\\", "\u{1}", "é"] {
            let message = Message::of_service(Kind::Startup, text.repeat(10 * MAX_TEXT));
            let line = line(&message, Some(&"h".repeat(64)), time());
            assert!(line.len() < 16 << 10, "{}", line.len());
            let end = line.iter().position(|byte| *byte == b'\n');
            assert_eq!(end, Some(line.len() - 1));
        }
    }
}
