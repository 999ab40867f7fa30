//! Has a program of systemd's answer a question, within a time; what the answer means is judged by whoever
//! asks, as in [`crate::doctor`].

use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::journalctl::{Deadline, Journalctl};
use crate::sys::event_loop::event_loop;
use crate::sys::subprocess::{End, Subprocess};
use crate::text::escape::printable;

/// How long one question may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// More isn't shown of a line, in characters.
const LINE_MAX: usize = 200;

/// Where systemd's programs are: in /bin where that is a folder of its own.
const FOLDERS: [&str; 2] = ["/usr/bin", "/bin"];

/// The last lines of the journal that match (journalctl(1)), as far as whoever asks may read them; fit for a
/// terminal. None where it can't be read, whatever journalctl says of that.
pub(crate) fn last_lines(matches: &[String], count: usize) -> Vec<String> {
    let read = event_loop().and_then(|runtime| runtime.block_on(read_last(matches, count)));
    read.unwrap_or_default().into()
}

async fn read_last(matches: &[String], count: usize) -> anyhow::Result<VecDeque<String>> {
    let lines = format!("--lines={count}");
    // Without --all a long message is left out.
    let mut arguments = vec!["--quiet", "--all", &lines];
    arguments.extend(matches.iter().map(String::as_str));
    let deadline = Deadline::after(TIMEOUT);
    let mut journal = Journalctl::run_in_all(&arguments, Some(deadline))?;
    let mut last = VecDeque::new();
    while let Some(entry) = journal.line().await? {
        add_lines(&mut last, entry, count);
    }
    journal.end().await?;
    Ok(last)
}

/// Adds the lines of an entry's message, which may be several, and keeps the last `count`.
fn add_lines(last: &mut VecDeque<String>, entry: &[u8], count: usize) {
    let message = serde_json::from_slice(entry).map(|Entry { message }| message);
    let message = match message {
        Ok(Value::String(text)) => text,
        // What isn't text is a list of bytes.
        Ok(Value::Array(bytes)) => {
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
#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "MESSAGE")]
    message: Value,
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
            add_lines(&mut last, message.to_string().as_bytes(), 5);
        }
        assert_eq!(last, ["x".repeat(LINE_MAX)]);
        for message in &messages[1..] {
            add_lines(&mut last, message.to_string().as_bytes(), 5);
        }
        add_lines(&mut last, b"-- No entries --", 5);
        assert_eq!(last, ["2", "3\\u{1b}[2J", "4", "\u{e9}\u{fffd}", "6"]);
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_gives_no_answer() {
        assert_eq!(answer("no-such-program", &[]).await, None);
        assert_eq!(answer("echo", &["a"]).await.unwrap(), "a\n");
    }
}
