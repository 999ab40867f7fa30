//! The present state as it leaves the till (tests/schema/state.json): the watchdog's own status.json with what
//! the office needs to know of the till beside it. Pure.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::event::{Boot, Moment, Sender, timestamp};

/// What is told beside the watchdog's status.
#[derive(Debug)]
pub(crate) struct Beside<'a> {
    pub(crate) boot: Option<Boot>,
    pub(crate) backlog: u64,
    pub(crate) machine_id: Option<&'a str>,
    pub(crate) versions: &'a BTreeMap<&'static str, String>,
}

/// The message's body, as it is sent at `now`. A status that isn't a JSON object is left out.
pub(crate) fn body(
    status: Option<&[u8]>,
    beside: &Beside<'_>,
    sender: &Sender,
    now: Moment,
) -> Vec<u8> {
    let status = status.and_then(|text| serde_json::from_slice::<Map<String, Value>>(text).ok());
    let mut status = Value::Object(status.unwrap_or_default());
    sender.redaction.of_value(&mut status);
    let Value::Object(mut state) = status else {
        return Vec::new();
    };
    let ours = json!({
        "source": sender.till,
        "boot": beside.boot.map_or_else(|| "0".repeat(32), |boot| boot.to_string()),
        "mono": now.mono,
        "time": timestamp(now.wall),
        "backlog": beside.backlog,
        "machine_id": beside.machine_id,
        "versions": beside.versions,
    });
    if let Value::Object(ours) = ours {
        state.extend(ours);
    }
    if !sender.labels.is_empty() {
        state.insert("labels".into(), json!(sender.labels));
    }
    serde_json::to_vec(&state).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use mfe_kit::schema::assert_valid;

    use super::*;
    use crate::redact::Redaction;

    const SCHEMA: &str = include_str!("../../../tests/schema/state.json");

    fn state(status: Option<&str>) -> Value {
        let boot = Boot::new("0123456789abcdef0123456789abcdef");
        let versions = [("relay", "0.1.0".to_owned())].into();
        let beside = Beside {
            boot,
            backlog: 3,
            machine_id: Some("0123456789abcdef0123456789abcdef"),
            versions: &versions,
        };
        let sender = Sender {
            till: "loja0012-caixa03".into(),
            labels: [("store".into(), "12".into())].into(),
            redaction: Redaction::new(false, false, Vec::new()),
        };
        let now = Moment {
            mono: 5,
            wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1),
        };
        let body = body(status.map(str::as_bytes), &beside, &sender, now);
        let state: Value = serde_json::from_slice(&body).unwrap();
        assert_valid(SCHEMA, &state);
        state
    }

    #[test]
    fn all_of_the_status_is_told_and_what_is_beside_it() {
        let state = state(Some(
            r#"{"version":1,"processes":[{"detail":"runs /x"}],"time":"theirs"}"#,
        ));
        assert_eq!(state["version"], 1);
        assert_eq!(state["processes"][0]["detail"], "runs (path)");
        assert_eq!(state["time"], "1970-01-01T00:00:01.000Z");
        assert_eq!((&state["backlog"], &state["mono"]), (&json!(3), &json!(5)));
        assert_eq!(state["labels"]["store"], "12");
    }

    #[test]
    fn without_a_status_the_till_is_told_all_the_same() {
        for status in [None, Some(""), Some("[1]"), Some("{")] {
            assert_eq!(state(status)["source"], "loja0012-caixa03");
        }
    }
}
