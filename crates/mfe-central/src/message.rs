//! What tills send, understood or refused (tests/schema/event.json, state.json). Pure. A till is a stranger: of what
//! it says nothing counts but what the broker vouches for, its name.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use mfe_common::office::is_till;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// No message of ours is larger, in bytes.
pub(crate) const BODY_MAX: usize = 256 << 10;

/// No name of a kind, a program or a state is longer, and no sentence.
const WORD_MAX: usize = 200;
const TEXT_MAX: usize = 8 << 10;

/// More programs are on no till, nor more labels.
const PROCESSES_MAX: usize = 64;
const LABELS_MAX: usize = 16;

/// A message with what the broker says of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Delivery {
    /// When it came here, by the office's clock.
    pub(crate) received: Option<SystemTime>,
    pub(crate) queue: Arc<str>,
    pub(crate) routing_key: String,
    /// Who sent it: the broker has made sure of that if it is there at all.
    pub(crate) user_id: Option<String>,
    /// Whether it was delivered before, in vain.
    pub(crate) is_again: bool,
    pub(crate) body: Vec<u8>,
}

/// Why a message is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Refusal {
    /// Who has sent it isn't who it is from.
    Identity,
    /// It is no JSON.
    NotJson,
    /// It hasn't the form that it should have.
    Shape,
    /// It is larger than any of ours.
    TooBig,
    /// The database can't take it.
    Unstorable,
}

impl Refusal {
    pub(crate) const ALL: [Self; 5] = [
        Self::Identity,
        Self::NotJson,
        Self::Shape,
        Self::TooBig,
        Self::Unstorable,
    ];
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Identity => "identity",
            Self::NotJson => "not_json",
            Self::Shape => "shape",
            Self::TooBig => "too_big",
            Self::Unstorable => "unstorable",
        })
    }
}

/// An event.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    pub(crate) till: String,
    pub(crate) boot: String,
    /// When journald received it, in microseconds by `CLOCK_MONOTONIC` of its boot.
    pub(crate) mono: i64,
    pub(crate) hash: String,
    pub(crate) kind: String,
    pub(crate) process: Option<String>,
    /// By the till's clock.
    pub(crate) time: SystemTime,
    /// All of it, as it came.
    pub(crate) data: Value,
}

/// The present state of a till.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct State {
    #[serde(rename = "source", deserialize_with = "word")]
    pub(crate) till: String,
    #[serde(deserialize_with = "word")]
    pub(crate) boot: String,
    /// When it was sent, in microseconds by `CLOCK_MONOTONIC`.
    pub(crate) mono: u64,
    /// The same by the till's clock.
    #[serde(with = "rfc3339")]
    pub(crate) time: SystemTime,
    pub(crate) backlog: u64,
    #[serde(deserialize_with = "maybe_word")]
    pub(crate) machine_id: Option<String>,
    pub(crate) versions: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
    /// None if the watchdog has published no status.
    #[serde(default)]
    pub(crate) processes: Option<Vec<Process>>,
    /// Which of the watchdog's messages was its latest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) latest_message: Option<LatestMessage>,
}

/// One of the watchdog's messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LatestMessage {
    /// `MFE_RUN`.
    #[serde(deserialize_with = "word")]
    pub(crate) run: String,
    /// `MFE_SEQ`.
    pub(crate) seq: u64,
}

/// A program of a till.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Process {
    #[serde(deserialize_with = "word")]
    pub(crate) key: String,
    #[serde(deserialize_with = "word")]
    pub(crate) name: String,
    /// A word of status.json; a newer watchdog may have more.
    #[serde(deserialize_with = "word")]
    pub(crate) state: String,
    pub(crate) pids: Vec<u32>,
    #[serde(with = "rfc3339")]
    pub(crate) since: SystemTime,
    pub(crate) restarts: u64,
    #[serde(
        default,
        with = "maybe_rfc3339",
        skip_serializing_if = "Option::is_none"
    )]
    pub(crate) paused_until: Option<SystemTime>,
    #[serde(default, deserialize_with = "maybe_text")]
    pub(crate) detail: Option<String>,
}

#[derive(Deserialize)]
struct CloudEvent {
    specversion: String,
    id: String,
    source: String,
    r#type: String,
    #[serde(with = "rfc3339")]
    time: SystemTime,
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    boot: String,
    mono_us: i64,
    #[serde(default, deserialize_with = "maybe_word")]
    process: Option<String>,
    /// These are held to their form, for others read them from the database.
    #[serde(rename = "sent")]
    _sent: Sent,
    #[serde(default, deserialize_with = "maybe_text", rename = "message")]
    _message: Option<String>,
    #[serde(default, rename = "outage_ms")]
    _outage_ms: Option<u64>,
}

#[derive(Deserialize)]
struct Sent {
    #[serde(rename = "mono_us")]
    _mono_us: u64,
    #[serde(with = "rfc3339", rename = "time")]
    _time: SystemTime,
}

/// Understands an event.
///
/// # Errors
/// Why it is refused.
pub(crate) fn event(delivery: &Delivery) -> Result<Event, Refusal> {
    let mut value = json(delivery)?;
    let event = CloudEvent::deserialize(&value).map_err(|_| Refusal::Shape)?;
    let kind = event.r#type.strip_prefix("br.mfe-watchdog.");
    let kind = kind
        .and_then(|kind| kind.split_once('.'))
        .map(|(kind, _)| kind.to_owned());
    let kind = kind.filter(|kind| is_kind(kind)).ok_or(Refusal::Shape)?;
    vouched(delivery, &event.source, &kind)?;
    let data = event.data;
    let mut parts = event.id.splitn(3, '/');
    let [boot, mono, hash] = [(); 3].map(|()| parts.next().unwrap_or_default());
    let is_whole = event.specversion == "1.0"
        && is_boot(boot)
        && boot == data.boot
        && mono == data.mono_us.to_string()
        && data.mono_us >= 0
        && (1..=16).contains(&hash.len())
        && is_hexadecimal(hash);
    if !is_whole {
        return Err(Refusal::Shape);
    }
    Ok(Event {
        till: event.source,
        boot: data.boot,
        mono: data.mono_us,
        hash: hash.to_owned(),
        kind,
        process: data.process,
        time: event.time,
        data: value["data"].take(),
    })
}

/// Understands a state.
///
/// # Errors
/// Why it is refused.
pub(crate) fn state(delivery: &Delivery) -> Result<State, Refusal> {
    let value = json(delivery)?;
    let state = State::deserialize(&value).map_err(|_| Refusal::Shape)?;
    vouched(delivery, &state.till, "state")?;
    let fits = |map: &BTreeMap<String, String>| {
        let is_short = |text: &String| text.len() <= WORD_MAX;
        map.len() <= LABELS_MAX
            && map
                .iter()
                .all(|(name, text)| is_short(name) && is_short(text))
    };
    let processes = state.processes.as_deref().unwrap_or_default();
    let keys: std::collections::BTreeSet<&str> =
        processes.iter().map(|one| one.key.as_str()).collect();
    let is_whole = is_boot(&state.boot)
        && fits(&state.versions)
        && fits(&state.labels)
        && processes.len() <= PROCESSES_MAX
        && keys.len() == processes.len();
    if is_whole {
        Ok(state)
    } else {
        Err(Refusal::Shape)
    }
}

/// The broker puts a user's name into its pattern of routing keys as it is, so that a name with a dot would fit other
/// tills too: all three have to be the same, and a name that may be one.
fn vouched(delivery: &Delivery, source: &str, last_word: &str) -> Result<(), Refusal> {
    let key = delivery.routing_key.split_once('.');
    let is_vouched = delivery.user_id.as_deref() == Some(source)
        && key == Some((source, last_word))
        && is_till(source);
    if is_vouched {
        Ok(())
    } else {
        Err(Refusal::Identity)
    }
}

fn json(delivery: &Delivery) -> Result<Value, Refusal> {
    if delivery.body.len() > BODY_MAX {
        return Err(Refusal::TooBig);
    }
    let value = serde_json::from_slice(&delivery.body).map_err(|_| Refusal::NotJson)?;
    Ok(without_nul(value))
}

/// PostgreSQL's text has no NUL: one of them would keep a whole batch from being stored, for ever.
fn without_nul(value: Value) -> Value {
    let clean = |text: String| text.replace('\0', "\u{fffd}");
    match value {
        Value::String(text) => Value::String(clean(text)),
        Value::Array(items) => Value::Array(items.into_iter().map(without_nul).collect()),
        Value::Object(members) => {
            let members = members.into_iter();
            Value::Object(
                members
                    .map(|(name, value)| (clean(name), without_nul(value)))
                    .collect(),
            )
        }
        other => other,
    }
}

fn is_boot(text: &str) -> bool {
    text.len() == 32 && is_hexadecimal(text)
}

fn is_hexadecimal(text: &str) -> bool {
    text.bytes()
        .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

fn is_kind(word: &str) -> bool {
    (1..=64).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
}

fn limited<'de, D: Deserializer<'de>>(from: D, most: usize) -> Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(from)?;
    match text {
        Some(text) if text.len() > most => Err(serde::de::Error::custom("too long")),
        text => Ok(text),
    }
}

fn word<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    limited(from, WORD_MAX)?.ok_or_else(|| serde::de::Error::custom("null"))
}

fn maybe_word<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    limited(from, WORD_MAX)
}

fn maybe_text<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    limited(from, TEXT_MAX)
}

/// Times as all of ours have them: RFC 3339 in UTC, from 1970 to 9999.
pub(crate) mod rfc3339 {
    use std::time::SystemTime;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(time: &SystemTime, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&crate::clock::timestamp(*time))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<SystemTime, D::Error> {
        let text = String::deserialize(from)?;
        humantime::parse_rfc3339(&text).map_err(serde::de::Error::custom)
    }
}

/// The same of what may be missing.
pub(crate) mod maybe_rfc3339 {
    use std::time::SystemTime;

    use serde::{Deserialize, Deserializer, Serializer};

    #[allow(clippy::ref_option, reason = "serde hands a field over as it is")]
    pub(crate) fn serialize<S: Serializer>(
        time: &Option<SystemTime>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => super::rfc3339::serialize(time, to),
            None => to.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<SystemTime>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        let time = text.map(|text| humantime::parse_rfc3339(&text)).transpose();
        time.map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use mfe_kit::schema::assert_valid;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const EVENT: &str = include_str!("../../../tests/schema/event.json");
    const STATE: &str = include_str!("../../../tests/schema/state.json");
    const BOOT: &str = "0123456789abcdef0123456789abcdef";

    fn event_json() -> Value {
        json!({
            "specversion": "1.0",
            "id": format!("{BOOT}/5000000/f00d"),
            "source": "loja0012-caixa03",
            "type": "br.mfe-watchdog.restarted.v1",
            "time": "2026-11-26T14:03:27.000Z",
            "data": {
                "process": "comunicador", "message": "Comunicador is back", "outage_ms": 4,
                "boot": BOOT, "mono_us": 5_000_000, "relay": "0.1.0",
                "sent": {"mono_us": 9_000_000, "time": "2026-11-26T14:03:27.123Z"},
            },
        })
    }

    fn state_json() -> Value {
        json!({
            "source": "loja0012-caixa03", "boot": BOOT, "mono": 5, "time": "2026-11-26T14:03:27.000Z",
            "backlog": 0, "machine_id": BOOT, "versions": {"relay": "0.1.0"},
            "processes": [{"key": "monitor", "name": "Monitor", "state": "up", "pids": [1],
                "since": "2026-11-26T14:03:27.000Z", "restarts": 0, "last_restart": null, "detail": null}],
        })
    }

    fn delivery(key: &str, value: &Value) -> Delivery {
        Delivery {
            routing_key: format!("loja0012-caixa03.{key}"),
            user_id: Some("loja0012-caixa03".into()),
            body: value.to_string().into_bytes(),
            ..Delivery::default()
        }
    }

    #[test]
    fn what_has_its_form_is_understood() {
        assert_valid(EVENT, &event_json());
        assert_valid(STATE, &state_json());
        let event = event(&delivery("restarted", &event_json())).unwrap();
        assert_eq!(
            (event.till.as_str(), event.kind.as_str()),
            ("loja0012-caixa03", "restarted")
        );
        assert_eq!((event.mono, event.hash.as_str()), (5_000_000, "f00d"));
        assert_eq!(event.data["relay"], "0.1.0");
        let state = state(&delivery("state", &state_json())).unwrap();
        assert_eq!(state.processes.unwrap()[0].pids, [1]);
    }

    #[test]
    fn who_is_not_vouched_for_is_refused() {
        let value = event_json();
        let good = delivery("restarted", &value);
        for (user, key) in [
            (None, "loja0012-caixa03.restarted"),
            (Some("loja0012-caixa04"), "loja0012-caixa03.restarted"),
            (Some("loja0012-caixa03"), "loja0012-caixa04.restarted"),
            (Some("loja0012-caixa03"), "loja0012-caixa03.down"),
            (Some("loja0012-caixa03"), "loja0012-caixa03"),
            (Some("loja0012-caixa03"), ""),
        ] {
            let forged = Delivery {
                user_id: user.map(str::to_owned),
                routing_key: key.into(),
                ..good.clone()
            };
            assert_eq!(event(&forged), Err(Refusal::Identity), "{user:?} {key}");
        }
        let mut value = event_json();
        value["source"] = json!("till.9");
        let dotted = Delivery {
            user_id: Some("till.9".into()),
            routing_key: "till.9.restarted".into(),
            body: value.to_string().into_bytes(),
            ..Delivery::default()
        };
        assert_eq!(event(&dotted), Err(Refusal::Identity));
    }

    #[test]
    fn what_has_another_form_is_refused() {
        for (member, value) in [
            ("/specversion", json!("2.0")),
            ("/id", json!(format!("{BOOT}/5000001/f00d"))),
            ("/id", json!(format!("{BOOT}/5000000/"))),
            ("/id", json!(format!("{BOOT}/5000000/f/0"))),
            ("/id", json!(7)),
            ("/type", json!("br.mfe-watchdog.Down.v1")),
            ("/type", json!("restarted")),
            ("/time", json!("yesterday")),
            ("/time", json!("1969-01-01T00:00:00Z")),
            ("/data", json!([])),
            ("/data/boot", json!("f".repeat(32))),
            ("/data/mono_us", json!(-5)),
            ("/data/mono_us", json!(u64::MAX)),
            ("/data/sent", json!(null)),
            ("/data/process", json!("x".repeat(1000))),
            ("/data/outage_ms", json!("4")),
        ] {
            let mut changed = event_json();
            *changed.pointer_mut(member).unwrap() = value;
            assert_eq!(
                event(&delivery("restarted", &changed)),
                Err(Refusal::Shape),
                "{changed}"
            );
        }
        for (member, value) in [
            ("/boot", json!("x")),
            ("/backlog", json!(-1)),
            ("/versions", json!(["a"])),
            ("/processes/0/pids", json!(["a"])),
            ("/processes/0/since", json!(5)),
            ("/processes/0/detail", json!("x".repeat(10_000))),
            (
                "/processes",
                json!([state_json()["processes"][0], state_json()["processes"][0]]),
            ),
        ] {
            let mut changed = state_json();
            *changed.pointer_mut(member).unwrap() = value;
            assert_eq!(
                state(&delivery("state", &changed)),
                Err(Refusal::Shape),
                "{changed}"
            );
        }
        let deep = "[".repeat(100_000);
        for text in ["", "{", "\u{fffd}", "{} {}", deep.as_str()] {
            let mut odd = delivery("state", &json!(null));
            odd.body = text.into();
            assert_eq!(state(&odd), Err(Refusal::NotJson), "{text:.20}");
        }
        let mut big = delivery("state", &json!(null));
        big.body = vec![b' '; BODY_MAX + 1];
        assert_eq!(state(&big), Err(Refusal::TooBig));
    }

    #[test]
    fn members_that_are_new_do_no_harm_and_nul_is_replaced() {
        let mut newer = event_json();
        newer["data"]["new"] = json!({"a\0": ["b\0"]});
        newer["extension"] = json!(1);
        let understood = event(&delivery("restarted", &newer)).unwrap();
        assert_eq!(understood.data["new"], json!({"a\u{fffd}": ["b\u{fffd}"]}));
        let mut newer = state_json();
        newer["processes"][0]["state"] = json!("dancing");
        assert_eq!(
            state(&delivery("state", &newer))
                .unwrap()
                .processes
                .unwrap()[0]
                .state,
            "dancing"
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_understood_or_not_without_a_panic(body in any::<Vec<u8>>(), key in any::<String>()) {
            let delivery = Delivery { routing_key: key, body, ..Delivery::default() };
            prop_assert!(event(&delivery).is_err());
            prop_assert!(state(&delivery).is_err());
        }
    }
}
