//! What of the journal is an event of the watchdog's, and the form in which it leaves the till: CloudEvents
//! 1.0 in JSON (tests/schema/event.json). Pure: what is read and sent is elsewhere.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize, Serializer};

use crate::export::Entry;
use crate::redact::Redaction;

/// The unit whose messages count. journald itself says which unit a message is of, and which user's
/// (`systemd.journal-fields(7)`, trusted fields): whoever forges an `MFE_EVENT=` can't forge these.
pub(crate) const UNIT: &str = "mfe-watchdog.service";

/// The user that the service runs as.
const USER: &str = "0";

/// More of a message isn't sent, in bytes: the watchdog itself says no more than 4 KiB.
const MESSAGE_MAX: usize = 4400;

/// A longer word isn't one of the watchdog's, in bytes.
const WORD_MAX: usize = 128;

/// The fields of an entry that are of use. Those of two underscores are of each (systemd.journal-fields(7)).
pub(crate) const FIELDS: &[&str] = &[
    "__CURSOR",
    "__REALTIME_TIMESTAMP",
    "_SYSTEMD_UNIT",
    "_UID",
    "MESSAGE",
    "MESSAGE_ID",
    "MFE_AT",
    "MFE_CAUSE",
    "MFE_EVENT",
    "MFE_OUTAGE_MS",
    "MFE_PID",
    "MFE_PROCESS",
    "MFE_RUN",
    "MFE_SEQ",
    "MFE_SIGNAL",
    "MFE_WATCHED_UNTIL",
];

/// Those that tell whether an entry is an event, and of when.
pub(crate) const FIELDS_OF_COUNT: &[&str] = &[
    "__CURSOR",
    "__REALTIME_TIMESTAMP",
    "_SYSTEMD_UNIT",
    "_UID",
    "MFE_EVENT",
];

/// A boot's id; the journal writes it as 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Boot(u128);

impl Boot {
    /// `None` for what isn't one. The kernel writes it with dashes.
    pub(crate) fn new(text: &str) -> Option<Self> {
        let text = text.trim().replace('-', "");
        let is_id = text.len() == 32 && is_hexadecimal(&text);
        is_id
            .then(|| u128::from_str_radix(&text, 16).ok())?
            .map(Self)
    }
}

impl fmt::Display for Boot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl Serialize for Boot {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl TryFrom<String> for Boot {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::new(&text).ok_or_else(|| format!("{text:?} is no boot's id"))
    }
}

/// Which event of a till one is. The journal's own cursor changes when entries are copied from one file to
/// another; of its parts these three don't.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct EventId {
    pub(crate) boot: Boot,
    /// In microseconds by `CLOCK_MONOTONIC`, as journald has received it.
    pub(crate) mono: u64,
    /// journald's own hash over the entry (`x` of its cursor).
    pub(crate) hash: u64,
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{:x}", self.boot, self.mono, self.hash)
    }
}

/// A moment by both clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// In microseconds by `CLOCK_MONOTONIC`, by which the journal goes, too.
    pub(crate) mono: u64,
    /// By the till's clock, which may be wrong.
    pub(crate) wall: SystemTime,
}

/// An event as it stands in the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) id: EventId,
    /// `MFE_EVENT`.
    pub(crate) kind: String,
    /// In microseconds since 1970 by the till's clock.
    pub(crate) wall: u64,
    process: Option<String>,
    pid: Option<u64>,
    cause: Option<String>,
    signal: Option<String>,
    outage_ms: Option<u64>,
    message: Option<String>,
    message_id: Option<String>,
    pub(crate) seq: Option<u64>,
    pub(crate) run: Option<String>,
    at: Option<u64>,
    watched_until: Option<u64>,
}

/// What an entry is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Understood {
    Event(Box<Event>),
    /// One of the watchdog's that is none, or of somebody else.
    Other {
        /// When it was received.
        mono: u64,
    },
    /// It can't be told which it is.
    Unreadable,
}

/// Understands an entry.
pub(crate) fn understand(entry: &Entry) -> Understood {
    let plain = |name| {
        entry
            .get(name)
            .and_then(|value| std::str::from_utf8(value).ok())
    };
    let number = |name| plain(name)?.parse().ok();
    let word = |name| Some(text(entry.get(name)?, WORD_MAX));
    let Some(id) = plain("__CURSOR").and_then(event_id) else {
        return Understood::Unreadable;
    };
    let is_ours = plain("_SYSTEMD_UNIT") == Some(UNIT) && plain("_UID") == Some(USER);
    let kind = plain("MFE_EVENT").filter(|kind| is_kind(kind));
    let (true, Some(kind)) = (is_ours, kind) else {
        return Understood::Other { mono: id.mono };
    };
    Understood::Event(Box::new(Event {
        id,
        kind: kind.to_owned(),
        wall: number("__REALTIME_TIMESTAMP").unwrap_or_default(),
        process: word("MFE_PROCESS"),
        pid: number("MFE_PID"),
        cause: word("MFE_CAUSE"),
        signal: word("MFE_SIGNAL"),
        outage_ms: number("MFE_OUTAGE_MS"),
        message: entry
            .get("MESSAGE")
            .map(|message| first_line(text(message, MESSAGE_MAX))),
        message_id: word("MESSAGE_ID"),
        seq: number("MFE_SEQ"),
        run: word("MFE_RUN"),
        at: number("MFE_AT"),
        watched_until: number("MFE_WATCHED_UNTIL"),
    }))
}

/// The parts of a cursor that name an entry for ever: `s=…;i=…;b=BOOT;m=MONO;t=…;x=HASH`, all in
/// hexadecimal.
fn event_id(cursor: &str) -> Option<EventId> {
    let part = |name: &str| {
        let mut parts = cursor.split(';');
        parts.find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
    };
    // Digits only: from_str_radix takes a sign, too.
    let number = |name: &str| {
        let digits = part(name).filter(|digits| is_hexadecimal(digits))?;
        u64::from_str_radix(digits, 16).ok()
    };
    Some(EventId {
        boot: Boot::new(part("b")?)?,
        mono: number("m")?,
        hash: number("x")?,
    })
}

/// Whether a word can be a kind of event, which is part of a routing key.
fn is_kind(word: &str) -> bool {
    (1..=64).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
}

fn is_hexadecimal(text: &str) -> bool {
    text.bytes()
        .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// A message without what follows, which is what a program has printed: that stays on the till.
fn first_line(message: String) -> String {
    match message.split_once('\n') {
        Some((first, _)) => first.to_owned(),
        None => message,
    }
}

/// A value's text, its beginning if it is too long.
fn text(value: &[u8], most: usize) -> String {
    let text = String::from_utf8_lossy(value);
    let end = (0..=most.min(text.len()))
        .rev()
        .find(|end| text.is_char_boundary(*end));
    text[..end.unwrap_or_default()].to_owned()
}

/// What is the same for all events of a till.
#[derive(Debug, Clone)]
pub(crate) struct Sender {
    pub(crate) till: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) redaction: Redaction,
}

#[derive(Serialize)]
struct CloudEvent<'a> {
    specversion: &'static str,
    id: String,
    source: &'a str,
    r#type: String,
    time: String,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    process: &'a Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: &'a Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: &'a Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outage_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: &'a Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run: &'a Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    watched_until_us: Option<u64>,
    boot: Boot,
    mono_us: u64,
    sent: Sent,
    relay: &'static str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
struct Sent {
    mono_us: u64,
    time: String,
}

impl Event {
    /// The words by which the broker routes it.
    pub(crate) fn routing_key(&self, till: &str) -> String {
        format!("{till}.{}", self.kind)
    }

    /// The message's body, as it is sent at `now`.
    pub(crate) fn body(&self, sender: &Sender, now: Moment) -> Vec<u8> {
        let wall = SystemTime::UNIX_EPOCH + Duration::from_micros(self.wall);
        let event = CloudEvent {
            specversion: "1.0",
            id: self.id.to_string(),
            source: &sender.till,
            r#type: format!("br.mfe-watchdog.{}.v1", self.kind),
            time: timestamp(wall),
            data: Data {
                process: &self.process,
                pid: self.pid,
                cause: &self.cause,
                signal: &self.signal,
                outage_ms: self.outage_ms,
                message: self
                    .message
                    .as_deref()
                    .map(|text| sender.redaction.of(text)),
                message_id: &self.message_id,
                seq: self.seq,
                run: &self.run,
                at_us: self.at,
                watched_until_us: self.watched_until,
                boot: self.id.boot,
                mono_us: self.id.mono,
                sent: Sent {
                    mono_us: now.mono,
                    time: timestamp(now.wall),
                },
                relay: env!("CARGO_PKG_VERSION"),
                labels: &sender.labels,
            },
        };
        // Texts, numbers and maps of texts: there is nothing that JSON couldn't take.
        serde_json::to_vec(&event).unwrap_or_default()
    }
}

/// A moment as machines and people read it, RFC 3339 in UTC, to the millisecond. The year is one of four
/// digits whatever the clock says.
pub(crate) fn timestamp(time: SystemTime) -> String {
    /// The last second of the year 9999.
    const LAST: Duration = Duration::from_secs(253_402_300_799);
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    let since = since.unwrap_or(Duration::ZERO).min(LAST);
    humantime::format_rfc3339_millis(SystemTime::UNIX_EPOCH + since).to_string()
}

#[cfg(test)]
mod tests {
    use mfe_kit::schema::assert_valid;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::export::Parser;

    const SCHEMA: &str = include_str!("../../../tests/schema/event.json");

    const BOOT: &str = "0123456789abcdef0123456789abcdef";

    fn sender() -> Sender {
        Sender {
            till: "loja0012-caixa03".into(),
            labels: BTreeMap::new(),
            redaction: Redaction::new(false, false, vec!["pdv".into()]),
        }
    }

    fn now() -> Moment {
        Moment {
            mono: 9_000_000,
            wall: SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_701_807_123),
        }
    }

    type Fields = Vec<(&'static str, Vec<u8>)>;

    fn fields() -> Fields {
        let cursor = format!("s=ff;i=2a;b={BOOT};m=4c4b40;t=64e5;x=f00d");
        let fields = [
            ("__CURSOR", cursor.as_str()),
            ("__REALTIME_TIMESTAMP", "1795701807000000"),
            ("_SYSTEMD_UNIT", UNIT),
            ("_UID", "0"),
            (
                "MESSAGE",
                "Comunicador is back (pid 20) after an outage of 4ms",
            ),
            ("MESSAGE_ID", "1439a30c18f24f51a2de30e97d823636"),
            ("MFE_EVENT", "restarted"),
            ("MFE_PROCESS", "comunicador"),
            ("MFE_PID", "20"),
            ("MFE_CAUSE", "signal"),
            ("MFE_SIGNAL", "SIGKILL"),
            ("MFE_OUTAGE_MS", "4"),
            ("MFE_RUN", BOOT),
            ("MFE_SEQ", "7"),
            ("MFE_AT", "4999000"),
        ];
        fields
            .map(|(name, value)| (name, value.as_bytes().to_vec()))
            .to_vec()
    }

    /// The usual fields, but for one, which is there with each of these values.
    fn with(name: &'static str, values: &[&[u8]]) -> Fields {
        let mut fields = fields();
        fields.retain(|(other, _)| *other != name);
        fields.extend(values.iter().map(|value| (name, value.to_vec())));
        fields
    }

    fn understood(fields: &Fields) -> Understood {
        let mut text = Vec::new();
        for (name, value) in fields {
            let length = u64::try_from(value.len()).unwrap().to_le_bytes();
            text.extend([name.as_bytes(), b"\n", &length, value, b"\n"].concat());
        }
        text.push(b'\n');
        let mut parser = Parser::new(FIELDS);
        assert_eq!(parser.take(&text), (text.len(), true));
        understand(parser.entry())
    }

    fn body(fields: &Fields, sender: &Sender) -> Value {
        let Understood::Event(event) = understood(fields) else {
            panic!("no event: {fields:?}");
        };
        serde_json::from_slice(&event.body(sender, now())).unwrap()
    }

    #[test]
    fn an_event_has_the_form_that_is_promised() {
        let expected = json!({
            "specversion": "1.0",
            "id": format!("{BOOT}/5000000/f00d"),
            "source": "loja0012-caixa03",
            "type": "br.mfe-watchdog.restarted.v1",
            "time": "2026-11-26T14:03:27.000Z",
            "data": {
                "process": "comunicador",
                "pid": 20,
                "cause": "signal",
                "signal": "SIGKILL",
                "outage_ms": 4,
                "message": "Comunicador is back (pid 20) after an outage of 4ms",
                "message_id": "1439a30c18f24f51a2de30e97d823636",
                "seq": 7,
                "run": BOOT,
                "at_us": 4_999_000,
                "boot": BOOT,
                "mono_us": 5_000_000,
                "sent": {"mono_us": 9_000_000, "time": "2026-11-26T14:03:27.123Z"},
                "relay": env!("CARGO_PKG_VERSION"),
            },
        });
        let sent = body(&fields(), &sender());
        assert_eq!(sent, expected);
        assert_valid(SCHEMA, &sent);
        let Understood::Event(event) = understood(&fields()) else {
            panic!();
        };
        assert_eq!(event.routing_key("t"), "t.restarted");
    }

    #[test]
    fn labels_are_told_and_what_an_entry_lacks_is_left_out() {
        let mut sender = sender();
        sender.labels.insert("store".into(), "12".into());
        let mut fields = fields();
        let lacking = ["MESSAGE", "MFE_PID", "MFE_SEQ", "MFE_RUN", "MFE_CAUSE"];
        fields.retain(|(name, _)| !lacking.contains(name));
        let sent = body(&fields, &sender);
        assert_eq!(sent["data"]["labels"], json!({"store": "12"}));
        assert_eq!(sent["data"].get("message"), None);
        assert_valid(SCHEMA, &sent);
    }

    #[test]
    fn whoever_is_not_the_watchdog_is_nobody() {
        let long = [b'x'; 65];
        let cases: &[(&str, &[&[u8]])] = &[
            ("_UID", &[b"1000"]),
            ("_UID", &[]),
            ("_UID", &[b"0", b"1000"]),
            ("_UID", &[b"0", b"0"]),
            ("_SYSTEMD_UNIT", &[b"user@1000.service"]),
            ("_SYSTEMD_UNIT", &[b"mfe-watchdog.service.x"]),
            ("_SYSTEMD_UNIT", &[]),
            ("MFE_EVENT", &[]),
            ("MFE_EVENT", &[b"a.b"]),
            ("MFE_EVENT", &[b"Down"]),
            ("MFE_EVENT", &[b""]),
            ("MFE_EVENT", &[b"\xff"]),
            ("MFE_EVENT", &[b"down", b"up"]),
            ("MFE_EVENT", &[&long]),
        ];
        for (name, values) in cases {
            let other = Understood::Other { mono: 5_000_000 };
            assert_eq!(understood(&with(name, values)), other, "{name}: {values:?}");
        }
    }

    /// Somebody's text can't be taken for a field of journald's.
    #[test]
    fn what_a_message_says_is_no_field() {
        let mut fields = with("_UID", &[b"1000"]);
        fields.push(("MESSAGE", b"x\n_UID=0\n\n".to_vec()));
        let other = Understood::Other { mono: 5_000_000 };
        assert_eq!(understood(&fields), other);
    }

    #[test]
    fn what_has_no_cursor_is_unreadable() {
        for cursor in [
            String::new(),
            "x=1".into(),
            format!("b={BOOT};m=1;x="),
            format!("b={BOOT};m=fffffffffffffffff;x=1"),
            format!("b={BOOT}0;m=1;x=1"),
            format!("b={BOOT};m=1;x=1/2"),
            format!("b={BOOT};x=1"),
        ] {
            let fields = with("__CURSOR", &[cursor.as_bytes()]);
            assert_eq!(understood(&fields), Understood::Unreadable, "{cursor}");
        }
        let fields = with("__CURSOR", &[]);
        assert_eq!(understood(&fields), Understood::Unreadable);
    }

    #[test]
    fn bytes_repeated_fields_and_endless_ones_do_no_harm() {
        let sent = body(&with("MESSAGE", &[b"Caixa\xff"]), &sender());
        assert_eq!(sent["data"]["message"], "Caixa\u{fffd}");
        let mut fields = with("MESSAGE", &[b"a", b"b"]);
        fields.push(("MFE_PID", b"2".to_vec()));
        let sent = body(&fields, &sender());
        let data = &sent["data"];
        assert_eq!((data.get("message"), data.get("pid")), (None, None));
        let long = "é".repeat(100_000);
        let mut fields = with("MESSAGE", &[long.as_bytes()]);
        fields.retain(|(name, _)| *name != "MFE_PROCESS");
        fields.push(("MFE_PROCESS", long.into_bytes()));
        let sent = body(&fields, &sender());
        assert_eq!(sent["data"]["message"].as_str().unwrap().len(), MESSAGE_MAX);
        assert_eq!(sent["data"]["process"].as_str().unwrap().len(), WORD_MAX);
        assert_valid(SCHEMA, &sent);
    }

    #[test]
    fn names_and_paths_stay_here_unless_they_are_asked_for() {
        let text = "pdv may change /home/pdv/run.sh";
        let fields = with("MESSAGE", &[text.as_bytes()]);
        assert_eq!(
            body(&fields, &sender())["data"]["message"],
            "(user) may change (path)"
        );
        let mut open = sender();
        open.redaction = Redaction::new(true, true, vec!["pdv".into()]);
        assert_eq!(body(&fields, &open)["data"]["message"], text);
    }

    proptest! {
        #[test]
        fn whatever_the_fields_are_what_is_sent_has_its_form(
            message in any::<Vec<u8>>(), wall in any::<u64>(), pid in any::<Vec<u8>>(),
            process in any::<Vec<u8>>(), mono in any::<u64>(),
        ) {
            let cursor = format!("b={BOOT};m={mono:x};x=1").into_bytes();
            let wall = wall.to_string().into_bytes();
            let mut fields = fields();
            for (name, value) in [("MESSAGE", message), ("MFE_PID", pid), ("MFE_PROCESS", process),
                ("__REALTIME_TIMESTAMP", wall), ("__CURSOR", cursor)] {
                fields.retain(|(other, _)| *other != name);
                fields.push((name, value));
            }
            let sent = body(&fields, &sender());
            assert_valid(SCHEMA, &sent);
        }
    }
}
