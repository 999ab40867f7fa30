//! Has a program of systemd's answer a question, within a time; what the answer means is judged by whoever
//! asks, as in [`crate::doctor`].

use std::path::Path;
use std::time::Duration;

use crate::sys::subprocess::{End, Subprocess};
use crate::text::escape::printable;

/// How long one question may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// More isn't shown of a line, in characters.
const LINE_MAX: usize = 200;

/// Where systemd's programs are: in /bin where that is a folder of its own.
const FOLDERS: [&str; 2] = ["/usr/bin", "/bin"];

/// The last lines of the journal that match (journalctl(1)), as far as whoever asks may read them; fit for a
/// terminal.
pub(crate) fn last_lines(matches: &[String], count: usize) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let count = format!("--lines={count}");
    let mut words = vec!["--quiet", "--no-pager", "--output=cat", &count];
    words.extend(matches.iter().map(String::as_str));
    let said = runtime
        .ok()
        .and_then(|runtime| runtime.block_on(answer("journalctl", &words)));
    let said = said.unwrap_or_default();
    let lines = said.lines().map(|line| {
        let line: String = line.chars().take(LINE_MAX).collect();
        printable(line.trim_end())
    });
    lines.filter(|line| !line.is_empty()).collect()
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

    #[tokio::test]
    async fn a_program_that_is_not_there_gives_no_answer() {
        assert_eq!(answer("no-such-program", &[]).await, None);
        assert_eq!(answer("echo", &["a"]).await.unwrap(), "a\n");
    }
}
