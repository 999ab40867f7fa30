//! Understands an entry of the journal, as journalctl(1) writes it, and an event as the watchdog keeps it
//! itself, in the same form. Kept ones come to [`crate::kept`].

use std::time::Duration;

use mfe_common::escape::printable;
use serde::Deserialize;
use serde_json::Value;

use crate::history::{Entry, Event, Moment, Number, Sign};
use crate::kind::Kind;
use crate::order::Written;

/// The watchdog's unit.
const UNIT: &str = "mfe-watchdog.service";

/// The main process has exited, or a process that systemd has run for the unit, which `COMMAND`
/// tells (`SD_MESSAGE_UNIT_PROCESS_EXIT`).
const PROCESS_EXIT: &str = "98e322203f7a4ed290d09fe03c09fe15";

/// The same before systemd 240: the entry has no id, and no `COMMAND` where it is the main process's. What
/// else ends there, as a reload, has no `EXIT_CODE` there.
const EXIT_BEFORE_240: &str = "";

/// The unit has stopped, has failed, has deactivated, or waits to be restarted (`sd-messages.h`).
const ENDS: [&str; 4] = [
    "9d1aaa27d60140bd96365438aad20286",
    "d9b373ed55a64feb8242e02dbe79a49c",
    "7ad2d189f7e94e70a38c781354912448",
    "5eb03494b6584870a536b337290809b3",
];

/// Those of them by which it says that all went as it should: it has stopped, or deactivated.
const STOPPED: [&str; 2] = [ENDS[0], ENDS[2]];

/// The fields that matter of an entry as journalctl writes it. A field that is there twice is a list,
/// one that is no text a list of numbers: such a one says nothing here.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Fields {
    #[serde(rename = "_MACHINE_ID")]
    machine: Value,
    #[serde(rename = "_BOOT_ID")]
    boot: Value,
    #[serde(rename = "__MONOTONIC_TIMESTAMP")]
    monotonic: Value,
    #[serde(rename = "__REALTIME_TIMESTAMP")]
    wall: Value,
    #[serde(rename = "_SYSTEMD_UNIT")]
    unit: Value,
    #[serde(rename = "_PID")]
    pid: Value,
    #[serde(rename = "MESSAGE_ID")]
    id: Value,
    #[serde(rename = "UNIT")]
    about: Value,
    #[serde(rename = "COMMAND")]
    command: Value,
    #[serde(rename = "EXIT_CODE")]
    exit_code: Value,
    #[serde(rename = "EXIT_STATUS")]
    exit_status: Value,
    #[serde(rename = "MFE_EVENT")]
    event: Value,
    #[serde(rename = "MFE_PROCESS")]
    process: Value,
    #[serde(rename = "MFE_PID")]
    process_pid: Value,
    #[serde(rename = "MFE_RUN")]
    run: Value,
    #[serde(rename = "MFE_SEQ")]
    seq: Value,
    #[serde(rename = "MFE_AT")]
    happened: Value,
    #[serde(rename = "MFE_OTHERS")]
    others: Value,
    #[serde(rename = "MFE_CAUSE")]
    cause: Value,
    #[serde(rename = "MFE_SIGNAL")]
    signal: Value,
    #[serde(rename = "MFE_OUTAGE_MS")]
    outage_ms: Value,
    #[serde(rename = "MFE_WATCHED_UNTIL")]
    watched_until: Value,
}

/// A number of a field, as journald writes it.
#[must_use]
pub fn number<T: std::str::FromStr>(value: &Value) -> Option<T> {
    value.as_str()?.parse().ok()
}

/// An entry as journalctl writes it; `None` if it says nothing. Old versions say in words that there is
/// none.
#[must_use]
pub fn understand(line: &[u8]) -> Option<Written> {
    let fields = &serde_json::from_slice::<Fields>(line).ok()?;
    written(fields, fields.unit == UNIT)
}

/// A line that the watchdog keeps itself, and how many messages that are no events came right before it;
/// `None` if it isn't one of the machine of this id: this one may have been set up from another one's image.
#[must_use]
pub fn understand_kept(line: &[u8], machine: &str) -> Option<(Written, u64)> {
    let fields = &serde_json::from_slice::<Fields>(line).ok()?;
    let is_of = |id: &str| id.is_empty() || id == machine;
    if !fields.machine.as_str().is_none_or(is_of) {
        return None;
    }
    let written = written(fields, true)?;
    let number = written.entry.number?;
    let others = self::number(&fields.others).unwrap_or(0);
    Some((written, others.min(number.seq.saturating_sub(1))))
}

fn written(fields: &Fields, is_ours: bool) -> Option<Written> {
    let at = Moment {
        boot: id(fields.boot.as_str()?)?,
        monotonic: number(&fields.monotonic)?,
        wall: number(&fields.wall)?,
    };
    let kind = fields.event.as_str().and_then(Kind::from_name);
    let sign = match (kind.filter(|_| is_ours), number(&fields.pid)) {
        (Some(kind), Some(pid)) => Sign::Event(Event {
            pid,
            kind,
            process: fields.process.as_str().map(printable),
            process_pid: number(&fields.process_pid),
            cause: fields.cause.as_str().map(printable),
            signal: fields.signal.as_str().map(printable),
            outage: number(&fields.outage_ms).map(Duration::from_millis),
            unwatched: unwatched(fields),
        }),
        (None, Some(1)) if fields.about == UNIT && is_one_of(fields, &STOPPED) => Sign::Stopped,
        (None, Some(1)) if fields.about == UNIT && ends(fields) => Sign::Ended,
        _ => Sign::Alive,
    };
    let of_ours = is_ours.then(|| number_of(fields)).flatten();
    Some(Written {
        entry: Entry {
            at,
            number: of_ours,
            sign,
        },
        happened: of_ours.and_then(|_| number(&fields.happened)),
    })
}

fn number_of(fields: &Fields) -> Option<Number> {
    Some(Number {
        run: id(fields.run.as_str()?)?,
        seq: number(&fields.seq)?,
    })
}

/// How long before it the run before had last looked.
fn unwatched(fields: &Fields) -> Option<Duration> {
    let until: u64 = number(&fields.watched_until)?;
    let at = number::<u64>(&fields.happened)?;
    at.checked_sub(until).map(Duration::from_micros)
}

fn ends(fields: &Fields) -> bool {
    let id = fields.id.as_str().unwrap_or_default();
    let is_exit = match id {
        PROCESS_EXIT => fields.command == "ExecStart",
        EXIT_BEFORE_240 => {
            fields.exit_code.is_string()
                && fields.exit_status.is_string()
                && fields.command.is_null()
        }
        _ => false,
    };
    is_exit || ENDS.contains(&id)
}

fn is_one_of(fields: &Fields, ids: &[&str]) -> bool {
    fields.id.as_str().is_some_and(|id| ids.contains(&id))
}

/// An id, of a boot or a run, as journald, the kernel and we write it (`sd-id128(3)`).
#[must_use]
pub fn id(text: &str) -> Option<u128> {
    u128::from_str_radix(&text.trim().replace('-', ""), 16).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What an entry with these fields besides its times says.
    fn sign(fields: &str) -> Option<Sign> {
        let line = format!(
            "{{\"_BOOT_ID\":\"00ff\",\"__MONOTONIC_TIMESTAMP\":\"5\",\"__REALTIME_TIMESTAMP\":\"7\",{fields}}}"
        );
        let entry = understand(line.as_bytes())?.entry;
        let at = Moment {
            boot: 255,
            monotonic: 5,
            wall: 7,
        };
        assert_eq!(entry.at, at);
        Some(entry.sign)
    }

    #[test]
    fn only_the_unit_speaks_for_the_watchdog() {
        let fields = |unit: &str| {
            format!(
                "\"_SYSTEMD_UNIT\":\"{unit}\",\"_PID\":\"9\",\"MFE_EVENT\":\"restarted\",\
                 \"MFE_PROCESS\":\"a\",\"MFE_PID\":\"12\",\"MFE_CAUSE\":\"killed\",\"MFE_SIGNAL\":\"SIGSEGV\",\
                 \"MFE_OUTAGE_MS\":\"12\""
            )
        };
        let event = Event {
            pid: 9,
            kind: Kind::Restarted,
            process: Some("a".into()),
            process_pid: Some(12),
            cause: Some("killed".into()),
            signal: Some("SIGSEGV".into()),
            outage: Some(Duration::from_millis(12)),
            unwatched: None,
        };
        assert_eq!(sign(&fields(UNIT)), Some(Sign::Event(event)));
        assert_eq!(sign(&fields("user@1000.service")), Some(Sign::Alive));
    }

    #[test]
    fn a_start_tells_how_long_nobody_had_looked() {
        let unwatched = |at: &str, until: &str| {
            let fields = format!(
                "\"_SYSTEMD_UNIT\":\"{UNIT}\",\"_PID\":\"9\",\"MFE_EVENT\":\"startup\",\
                 \"MFE_AT\":\"{at}\",\"MFE_WATCHED_UNTIL\":\"{until}\""
            );
            match sign(&fields) {
                Some(Sign::Event(event)) => event.unwatched,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(unwatched("90", "20"), Some(Duration::from_micros(70)));
        assert_eq!(unwatched("90", "91"), None, "of another boot");
        assert_eq!(unwatched("90", "x"), None);
    }

    #[test]
    fn only_what_the_unit_says_has_a_number() {
        let written = |unit: &str, run: &str| {
            let line = format!(
                "{{\"_BOOT_ID\":\"00ff\",\"__MONOTONIC_TIMESTAMP\":\"5\",\
                 \"__REALTIME_TIMESTAMP\":\"7\",\"_SYSTEMD_UNIT\":\"{unit}\",\
                 \"MFE_RUN\":\"{run}\",\"MFE_SEQ\":\"3\",\"MFE_AT\":\"4\"}}"
            );
            let written = understand(line.as_bytes()).unwrap();
            (written.entry.number, written.happened)
        };
        let number = Number { run: 171, seq: 3 };
        assert_eq!(written(UNIT, "00ab"), (Some(number), Some(4)));
        assert_eq!(written("user@1000.service", "00ab"), (None, None));
        assert_eq!(written(UNIT, "x"), (None, None));
    }

    #[test]
    fn the_end_of_the_main_process_is_the_end() {
        let said = |pid: &str, id: &str, more: &str| {
            sign(&format!(
                "\"_PID\":\"{pid}\",\"UNIT\":\"{UNIT}\",\"MESSAGE_ID\":\"{id}\"{more}"
            ))
        };
        for id in ENDS {
            let is_clean = STOPPED.contains(&id);
            let sign = if is_clean { Sign::Stopped } else { Sign::Ended };
            assert_eq!(said("1", id, ""), Some(sign));
            assert_eq!(said("2", id, ""), Some(Sign::Alive));
        }
        let main = ",\"COMMAND\":\"ExecStart\"";
        assert_eq!(said("1", PROCESS_EXIT, main), Some(Sign::Ended));
        let reload = ",\"COMMAND\":\"ExecReload\"";
        assert_eq!(said("1", PROCESS_EXIT, reload), Some(Sign::Alive));
        // As systemd had it before 240.
        let exit = ",\"EXIT_CODE\":\"killed\",\"EXIT_STATUS\":\"9\"";
        assert_eq!(said("1", EXIT_BEFORE_240, exit), Some(Sign::Ended));
        assert_eq!(said("2", EXIT_BEFORE_240, exit), Some(Sign::Alive));
        assert_eq!(said("1", EXIT_BEFORE_240, ""), Some(Sign::Alive));
        let other = format!("{exit}{reload}");
        assert_eq!(said("1", EXIT_BEFORE_240, &other), Some(Sign::Alive));
    }

    #[test]
    fn fields_of_another_form_say_nothing() {
        let fields = "\"_PID\":[\"1\",\"2\"],\"MFE_EVENT\":[1,2],\"UNIT\":null";
        assert_eq!(sign(fields), Some(Sign::Alive));
        assert_eq!(understand(b"{}"), None);
        assert_eq!(understand(b"-- No entries --"), None);
    }

    proptest! {
        #[test]
        fn no_values_make_it_panic(
            (pid, monotonic, wall, outage) in any::<(i64, u64, u64, u64)>(),
            text in any::<String>(),
        ) {
            let line = serde_json::json!({
                "_PID": pid.to_string(),
                "_BOOT_ID": "0123456789abcdef0123456789abcdef",
                "__MONOTONIC_TIMESTAMP": monotonic.to_string(),
                "__REALTIME_TIMESTAMP": wall.to_string(),
                "_SYSTEMD_UNIT": UNIT,
                "MFE_EVENT": "restarted",
                "MFE_PROCESS": text.as_str(),
                "MFE_CAUSE": [text.as_str()],
                "MFE_OUTAGE_MS": outage.to_string(),
                "MFE_RUN": text.as_str(),
                "MFE_SEQ": monotonic.to_string(),
                "MFE_AT": wall.to_string(),
            });
            prop_assert!(understand(line.to_string().as_bytes()).is_some());
            let _ = understand(text.as_bytes());
        }
    }
}
