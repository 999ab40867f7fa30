//! Has a program of systemd's answer a question, within a time; what the answer means is judged by whoever
//! asks, as in [`crate::doctor`].

use std::collections::VecDeque;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use mfe_common::escape::printable;
use serde::Deserialize;
use serde_json::Value;

use super::journalctl::{Deadline, Journalctl};
use crate::sys::event_loop::event_loop;
use crate::sys::host;
use crate::sys::subprocess::{End, Subprocess};

/// How long one question may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// So many of the last entries are asked for, where those count that came at certain times.
const ENTRIES: usize = 30;

/// More isn't shown of a line, in characters.
const LINE_MAX: usize = 200;

/// Where systemd's programs are: in /bin where that is a folder of its own.
const FOLDERS: [&str; 2] = ["/usr/bin", "/bin"];

/// The last lines of the journal that match (journalctl(1)), as far as whoever asks may read them; fit for a
/// terminal. None where it can't be read, whatever journalctl says of that.
pub(crate) fn last_lines(matches: &[String], count: usize) -> Vec<String> {
    let read = async {
        let mut journal = ask_for(matches, count, Deadline::after(TIMEOUT))?;
        let last = read_last(&mut journal, count, None).await?;
        journal.end().await?;
        anyhow::Ok(last)
    };
    let read = event_loop().and_then(|runtime| runtime.block_on(read));
    read.unwrap_or_default().into()
}

/// The last lines that match and came to the journal in this boot and at these times, by `CLOCK_MONOTONIC`
/// (clock_gettime(2)), as far as they can be had `within` a time. What comes second waits until the
/// journalctl that was run is gone and reaped, which takes longer if the disk hangs. Must be called in the
/// runtime.
pub(crate) async fn last_lines_between(
    matches: &[String],
    count: usize,
    times: Range<Duration>,
    within: Duration,
) -> (Vec<String>, impl Future<Output = ()>) {
    // Not --boot: in a container journalctl takes the machine's boot for the container's, inside of a sandbox
    // that protects /proc/sys.
    let boot = host::boot_id_of_all().unwrap_or_default().replace('-', "");
    let matches = of_boot(matches, &boot);
    // Some of them may have come at other times.
    let mut journal = ask_for(&matches, count.max(ENTRIES), Deadline::after(within)).ok();
    let last = match &mut journal {
        Some(journal) => read_last(journal, count, Some(&times)).await,
        None => Ok(VecDeque::new()),
    };
    let gone = async {
        if let Some(journal) = journal {
            journal.kill().await;
        }
    };
    (last.unwrap_or_default().into(), gone)
}

/// The same of one boot: each of the terms that `+` parts (journalctl(1)) has to be.
fn of_boot(matches: &[String], boot: &str) -> Vec<String> {
    let of_boot = vec![format!("_BOOT_ID={boot}")];
    let terms = matches.split(|part| part == "+");
    let terms: Vec<_> = terms.map(|term| [&of_boot, term].concat()).collect();
    terms.join(&"+".to_owned())
}

fn ask_for(matches: &[String], count: usize, deadline: Deadline) -> anyhow::Result<Journalctl> {
    let lines = format!("--lines={count}");
    // Without --all a long message is left out.
    let mut arguments = vec!["--quiet", "--all", &lines];
    arguments.extend(matches.iter().map(String::as_str));
    Journalctl::run_in_all(&arguments, Some(deadline))
}

async fn read_last(
    journal: &mut Journalctl,
    count: usize,
    times: Option<&Range<Duration>>,
) -> anyhow::Result<VecDeque<String>> {
    let mut last = VecDeque::new();
    while let Some(entry) = journal.line().await? {
        add_lines(&mut last, entry, count, times);
    }
    Ok(last)
}

/// Adds the lines of an entry's message, which may be several, if it is of these times, and keeps the last
/// `count`.
fn add_lines(
    last: &mut VecDeque<String>,
    entry: &[u8],
    count: usize,
    times: Option<&Range<Duration>>,
) {
    let Ok(Entry { message, monotonic }) = serde_json::from_slice(entry) else {
        return;
    };
    let time = monotonic.as_str().and_then(|time| time.parse().ok());
    let time = time.map(Duration::from_micros);
    if times.is_some_and(|times| time.is_none_or(|time| !times.contains(&time))) {
        return;
    }
    let message = match message {
        Value::String(text) => text,
        // What isn't text is a list of bytes.
        Value::Array(bytes) => {
            let bytes = bytes
                .iter()
                .filter_map(|byte| u8::try_from(byte.as_u64()?).ok());
            String::from_utf8_lossy(&bytes.collect::<Vec<u8>>()).into_owned()
        }
        _ => return,
    };
    let lines = message.lines().map(|line| {
        let line: String = line.chars().take(LINE_MAX).collect();
        printable(line.trim_end())
    });
    last.extend(lines.filter(|line| !line.is_empty()));
    last.drain(..last.len().saturating_sub(count));
}

/// What matters of an entry, as journalctl writes it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    #[serde(rename = "MESSAGE")]
    message: Value,
    #[serde(rename = "__MONOTONIC_TIMESTAMP")]
    monotonic: Value,
}

/// What a program of systemd's says, however it ends; `None` if it isn't there or doesn't end.
pub(crate) async fn answer(program: &str, words: &[&str]) -> Option<String> {
    let paths = FOLDERS.map(|folder| format!("{folder}/{program}"));
    let path = paths.into_iter().find(|path| Path::new(path).exists())?;
    let words = words.iter().map(|word| (*word).to_owned());
    let command: Vec<String> = std::iter::once(path).chain(words).collect();
    let variables = [
        ("LC_ALL", Some("C".to_owned())),
        ("SYSTEMD_PAGER", Some("cat".to_owned())),
    ];
    let mut subprocess = Subprocess::run(&command, &variables, Vec::new(), TIMEOUT);
    let outcome = subprocess.outcome().await;
    // It is reaped, unless it hangs in the kernel: then nobody waits for it.
    let _ = tokio::time::timeout(TIMEOUT, subprocess.gone()).await;
    matches!(outcome.end, End::Exited(_))
        .then(|| String::from_utf8_lossy(&outcome.output).into_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_last_lines_are_few_and_whole_however_long_a_message_is() {
        let mut last = VecDeque::new();
        let long = "x".repeat(5000);
        let messages = [
            serde_json::json!({ "MESSAGE": long }),
            serde_json::json!({ "MESSAGE": "1\n2\n\n3\u{1b}[2J\n4" }),
            serde_json::json!({ "MESSAGE": [195, 169, 255, 10, 54] }),
            serde_json::json!({ "MESSAGE": null }),
        ];
        for message in &messages[..1] {
            add_lines(&mut last, message.to_string().as_bytes(), 5, None);
        }
        assert_eq!(last, ["x".repeat(LINE_MAX)]);
        for message in &messages[1..] {
            add_lines(&mut last, message.to_string().as_bytes(), 5, None);
        }
        add_lines(&mut last, b"-- No entries --", 5, None);
        assert_eq!(last, ["2", "3\\u{1b}[2J", "4", "\u{e9}\u{fffd}", "6"]);
    }

    #[test]
    fn every_term_is_of_the_boot() {
        let matches = ["_SYSTEMD_UNIT=a", "+", "_PID=1", "_COMM=b"].map(str::to_owned);
        let expected = "_BOOT_ID=0f _SYSTEMD_UNIT=a + _BOOT_ID=0f _PID=1 _COMM=b";
        assert_eq!(of_boot(&matches, "0f").join(" "), expected);
    }

    #[test]
    fn lines_of_other_times_are_left_out() {
        let times = Duration::from_secs(1)..Duration::from_secs(2);
        let mut last = VecDeque::new();
        for (time, line) in [
            (json!("999999"), "before"),
            (json!("1000000"), "first"),
            (json!("1999999"), "last"),
            (json!("2000000"), "after"),
            (json!(1_500_000), "in no form of journalctl's"),
            (json!(null), "at no time"),
        ] {
            let entry = json!({ "MESSAGE": line, "__MONOTONIC_TIMESTAMP": time });
            add_lines(&mut last, entry.to_string().as_bytes(), 5, Some(&times));
        }
        add_lines(&mut last, b"{\"MESSAGE\":\"at no time\"}", 5, Some(&times));
        assert_eq!(last, ["first", "last"]);
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_gives_no_answer() {
        assert_eq!(answer("no-such-program", &[]).await, None);
        assert_eq!(answer("echo", &["a"]).await.unwrap(), "a\n");
    }
}
