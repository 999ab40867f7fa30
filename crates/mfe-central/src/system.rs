//! Other programs, which end by themselves or are ended; users of the machine; files that are replaced whole.

use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, bail, ensure};
use mfe_common::files;
use rust_i18n::t;

/// How long a program may take, in seconds, as timeout(1) has it: Erlang starts slowly on a loaded machine.
const PATIENCE: &str = "120";

/// What timeout(1) ends with when the time was up.
const TIMED_OUT: i32 = 124;

/// A user of the machine, and its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) user: u32,
    pub(crate) group: u32,
}

/// The account of a name in passwd(5). A program that is linked statically can't ask the C library.
pub(crate) fn account(name: &str) -> Option<Account> {
    let text = fs::read_to_string("/etc/passwd").ok()?;
    let line = text
        .lines()
        .find(|line| line.split(':').next() == Some(name))?;
    let mut numbers = line.split(':').skip(2);
    Some(Account {
        user: numbers.next()?.parse().ok()?,
        group: numbers.next()?.parse().ok()?,
    })
}

/// Only root has the broker and the database do what it asks for.
///
/// # Errors
/// When somebody else asks.
pub(crate) fn ensure_root() -> anyhow::Result<()> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "{}",
        t!("enroll.needs_root")
    );
    Ok(())
}

/// Whether there is a program of this name.
pub(crate) fn is_program(name: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(name).exists()))
}

/// Runs a program, and gives what it says. It runs as somebody else if one is named.
///
/// # Errors
/// When it can't be run, fails, or takes too long: in its own words.
pub(crate) fn run(
    words: &[&str],
    input: Option<&str>,
    account: Option<Account>,
) -> anyhow::Result<String> {
    let name = words.first().copied().unwrap_or_default();
    let mut command = Command::new("timeout");
    command
        .args(["--kill-after=5", PATIENCE])
        .args(words)
        // Whoever it runs as may not be able to be where we are.
        .current_dir("/")
        .stdin(match input {
            Some(_) => Stdio::piped(),
            None => Stdio::null(),
        })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if let Some(account) = account {
        command.uid(account.user).gid(account.group);
    }
    let mut child = command.spawn().context("timeout")?;
    let pipe = child.stdin.take();
    let done = thread::scope(|scope| {
        scope.spawn(|| {
            if let (Some(mut pipe), Some(input)) = (pipe, input) {
                // How it ends tells whether it has read all of it.
                let _ = pipe.write_all(input.as_bytes());
            }
        });
        child.wait_with_output()
    });
    let done = done.with_context(|| name.to_owned())?;
    if done.status.success() {
        return String::from_utf8(done.stdout).with_context(|| name.to_owned());
    }
    if done.status.code() == Some(TIMED_OUT) {
        bail!(
            "{}",
            t!("system.no_answer", program = name, seconds = PATIENCE)
        );
    }
    let said = String::from_utf8_lossy(&done.stderr);
    bail!("{name}: {}", first_words(&said))
}

/// The first paragraph that says something, in one line; the rest is advice on Erlang.
fn first_words(said: &str) -> String {
    let lines = said.lines().map(str::trim);
    let mut lines = lines.skip_while(|line| line.is_empty()).peekable();
    let mut words = Vec::new();
    while let Some(line) = lines.next_if(|line| !line.is_empty()) {
        words.push(line);
    }
    words.join(" ")
}

/// Puts text in place of a file, on the disk before it is in its place, and nobody else's for a moment.
///
/// # Errors
/// When it can't be written; what was there stays.
pub(crate) fn replace(
    path: &Path,
    text: &str,
    mode: u32,
    owner: Option<Account>,
) -> anyhow::Result<()> {
    let write = || {
        fs::create_dir_all(path.parent().unwrap_or(path))?;
        let owner = owner.map(|account| (account.user, account.group));
        files::replace_for(path, text.as_bytes(), mode, owner)
    };
    write().with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_program_is_heard_and_its_failure_told() {
        assert_eq!(run(&["cat"], Some("a\nb"), None).unwrap(), "a\nb");
        let error = run(
            &[
                "sh",
                "-c",
                "printf '\\nError:\\nno such\\n\\nadvice' >&2; exit 1",
            ],
            None,
            None,
        );
        assert_eq!(error.unwrap_err().to_string(), "sh: Error: no such");
    }

    #[test]
    fn a_file_is_replaced_with_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("below/a");
        for text in ["one", "two"] {
            replace(&path, text, 0o640, None).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o640
        );
        assert_eq!(account("root"), Some(Account { user: 0, group: 0 }));
        assert_eq!(account("no-such-user"), None);
    }
}
