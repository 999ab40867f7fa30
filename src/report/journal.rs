//! Has journalctl(1) find the entries that tell how the processes were, and hands them on one by one;
//! what they mean is decided in [`super::history`].

use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use tokio::process::Command;
use tokio::time::timeout;

use super::history::{Entry, Event, History, Moment, Number, Sign};
use super::order::{Order, Written};
use crate::events::Kind;
use crate::systemd::journalctl::{Deadline, Journalctl};
use crate::text::escape::printable;

/// What journalctl may take for all that it is asked, on an old machine with a full disk.
pub(super) const TIMEOUT: Duration = Duration::from_secs(120);

/// The watchdog's unit.
const UNIT: &str = "mfe-watchdog.service";

/// The watchdog's own messages; nobody else can write under the name of its unit
/// (`systemd.journal-fields(7)`), but that journald looks for the unit of a pid only after it has the
/// message: another user's process may have the pid by then.
pub(super) const MESSAGES: [&str; 2] = ["_SYSTEMD_UNIT=mfe-watchdog.service", "_UID=0"];

/// How long journald may take to write down all that it was sent until now.
const SYNC_TIMEOUT: Duration = Duration::from_secs(10);

/// What systemd says of the watchdog.
const ABOUT_UNIT: [&str; 2] = ["_PID=1", "UNIT=mfe-watchdog.service"];

/// The journal ends, as it does when the machine is switched off, the machine goes to sleep, has woken
/// up, or its clock was set (`sd-messages.h`): where time is missing is known exactly then.
const CLOCK: [&str; 5] = [
    "_UID=0",
    "MESSAGE_ID=d93fb3c9c24d451a97cea615ce59c00b",
    "MESSAGE_ID=6bbd95ee977941e497c48be27c254128",
    "MESSAGE_ID=8811e6df2a8e40f58a94cea26f8ebf14",
    "MESSAGE_ID=c7a787079b354eaaa9e77b371893cd27",
];

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

/// Tells `history` all that the journal has up to `now`.
///
/// # Errors
/// When the journal can't be read, or not in time.
pub(super) async fn read(history: &mut History, now: Moment) -> anyhow::Result<()> {
    let deadline = Some(Deadline::after(TIMEOUT));
    let matches = [&MESSAGES[..], &["+"], &ABOUT_UNIT, &["+"], &CLOCK].concat();
    let mut journal = Journalctl::run(&matches, deadline)?;
    let mut order = Order::default();
    while let Some(written) = next_written(&mut journal).await? {
        order.add(written);
        while let Some(entry) = order.ready() {
            last_of_boot(history, entry.at.boot, deadline).await?;
            history.take(&entry);
        }
    }
    journal.end().await?;
    for entry in order.rest() {
        last_of_boot(history, entry.at.boot, deadline).await?;
        history.take(&entry);
    }
    last_of_boot(history, now.boot, deadline).await
}

/// Has journald write down what it was sent until now. Where it can't, or not in time, what is read next
/// lacks that: the watchdog's numbers tell.
pub(super) async fn sync() {
    let mut command = Command::new("journalctl");
    command.arg("--sync").kill_on_drop(true);
    command.stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    if let Ok(mut child) = command.spawn() {
        let _ = timeout(SYNC_TIMEOUT, child.wait()).await;
    }
}

/// Tells `history` how long the boot before `next` has lasted, if the watchdog was left running in
/// it: a machine that is switched off without a word has lived as long as anybody wrote.
async fn last_of_boot(
    history: &mut History,
    next: u128,
    deadline: Option<Deadline>,
) -> anyhow::Result<()> {
    let Some(boot) = history.running_in().filter(|boot| *boot != next) else {
        return Ok(());
    };
    let of_boot = format!("_BOOT_ID={boot:032x}");
    let mut journal = Journalctl::run(&["--lines=1", &of_boot], deadline)?;
    while let Some(written) = next_written(&mut journal).await? {
        let at = written.entry.at;
        if at.boot == boot {
            let (number, sign) = (None, Sign::Alive);
            history.take(&Entry { at, number, sign });
        }
    }
    journal.end().await
}

/// The next entry that says anything; `None` at the end.
async fn next_written(journal: &mut Journalctl) -> anyhow::Result<Option<Written>> {
    while let Some(line) = journal.line().await? {
        if let Some(written) = understand(line) {
            return Ok(Some(written));
        }
    }
    Ok(None)
}

/// The fields that matter of an entry as journalctl writes it. A field that is there twice is a list,
/// one that is no text a list of numbers: such a one says nothing here.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Fields {
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
    #[serde(rename = "MFE_CAUSE")]
    cause: Value,
    #[serde(rename = "MFE_OUTAGE_MS")]
    outage_ms: Value,
}

pub(super) fn number<T: std::str::FromStr>(value: &Value) -> Option<T> {
    value.as_str()?.parse().ok()
}

/// An entry as journalctl writes it; `None` if it says nothing. Old versions say in words that there is
/// none.
#[must_use]
pub fn understand(line: &[u8]) -> Option<Written> {
    let fields = &serde_json::from_slice::<Fields>(line).ok()?;
    let at = Moment {
        boot: id(fields.boot.as_str()?)?,
        monotonic: number(&fields.monotonic)?,
        wall: number(&fields.wall)?,
    };
    let is_ours = fields.unit == UNIT;
    let kind = fields.event.as_str().and_then(Kind::from_name);
    let sign = match (kind.filter(|_| is_ours), number(&fields.pid)) {
        (Some(kind), Some(pid)) => Sign::Event(Event {
            pid,
            kind,
            process: fields.process.as_str().map(printable),
            process_pid: number(&fields.process_pid),
            cause: fields.cause.as_str().map(printable),
            outage: number(&fields.outage_ms).map(Duration::from_millis),
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
pub(super) fn id(text: &str) -> Option<u128> {
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
                 \"MFE_PROCESS\":\"a\",\"MFE_PID\":\"12\",\"MFE_CAUSE\":\"killed\",\"MFE_OUTAGE_MS\":\"12\""
            )
        };
        let event = Event {
            pid: 9,
            kind: Kind::Restarted,
            process: Some("a".into()),
            process_pid: Some(12),
            cause: Some("killed".into()),
            outage: Some(Duration::from_millis(12)),
        };
        assert_eq!(sign(&fields(UNIT)), Some(Sign::Event(event)));
        assert_eq!(sign(&fields("user@1000.service")), Some(Sign::Alive));
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
