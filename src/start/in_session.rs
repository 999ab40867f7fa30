//! Starts a program in a session, as its user, and lets it go: nothing of the watchdog is left, and no
//! restart of `mfe@KEY.service` ends anyone's program. What it is given comes from
//! [`crate::session::environment`].

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::stat::{Mode, umask};

use crate::session::environment::Given;
use crate::sys::exit_status::ExitStatus;

/// How long a start program that fails is waited for, so that it is told at once how it has ended.
const FAILS_WITHIN: Duration = Duration::from_secs(1);

/// The pause between two questions whether it has ended.
const PAUSE: Duration = Duration::from_millis(20);

/// Runs `command` with these variables and no others, and the umask that comes with them, in `home` or, where
/// that can't be entered, at the root. As in a session SIGPIPE is deadly. Gives how it has ended if it failed
/// at once; `None` while it goes on, or has done its work.
///
/// # Errors
/// When it can't be run.
pub(crate) fn start(
    command: &[String],
    given: &Given,
    home: &Path,
) -> io::Result<Option<ExitStatus>> {
    let (program, arguments) = command
        .split_first()
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let text = |bytes: &Vec<u8>| OsString::from_vec(bytes.clone());
    if let Some(mode) = given.umask {
        umask(Mode::from_bits_truncate(mode));
    }
    let can_enter = home.is_absolute() && home.join(".").is_dir();
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(
            given
                .variables
                .iter()
                .map(|(name, value)| (text(name), text(value))),
        )
        .current_dir(if can_enter { home } else { Path::new("/") })
        .stdin(Stdio::null())
        .spawn()?;
    let end = Instant::now() + FAILS_WITHIN;
    while Instant::now() < end {
        if let Some(status) = child.try_wait()? {
            let status = match (status.code(), status.signal()) {
                (Some(0), _) => return Ok(None),
                (Some(code), _) => ExitStatus::Code(code),
                (None, signal) => ExitStatus::Signal(signal.unwrap_or_default()),
            };
            return Ok(Some(status));
        }
        sleep(PAUSE);
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::session::environment::Variables;

    /// Without a umask, which is the whole test program's.
    fn given(variables: Variables) -> Given {
        let umask = None;
        Given { variables, umask }
    }

    fn run(script: &str, variables: Variables, home: &Path) -> io::Result<Option<ExitStatus>> {
        let command = ["/bin/sh", "-c", script].map(str::to_owned);
        start(&command, &given(variables), home)
    }

    #[test]
    fn a_program_is_started_in_its_home_with_what_it_is_given() {
        let home = tempfile::tempdir().unwrap();
        let out = home.path().join("out");
        let variables = Variables::from([(b"DISPLAY".to_vec(), b":7".to_vec())]);
        let script = "echo \"$DISPLAY $CARGO $PWD\" > out.new && mv out.new out; exec sleep 2";
        assert_eq!(run(script, variables, home.path()).unwrap(), None);
        let begin = Instant::now();
        while !out.exists() && begin.elapsed() < Duration::from_secs(30) {
            sleep(PAUSE);
        }
        let text = fs::read_to_string(out).unwrap();
        let home = home.path().canonicalize().unwrap();
        assert_eq!(text, format!(":7  {}\n", home.display()));
    }

    #[test]
    fn what_fails_at_once_is_told() {
        let nothing = Variables::new;
        let root = Path::new("/nonexistent");
        assert_eq!(
            run("exit 7", nothing(), root).unwrap(),
            Some(ExitStatus::Code(7))
        );
        assert_eq!(
            run("kill -9 $$", nothing(), root).unwrap(),
            Some(ExitStatus::Signal(9))
        );
        assert_eq!(run("exit 0", nothing(), root).unwrap(), None);
        let missing = ["/nonexistent/program".to_owned()];
        assert!(start(&missing, &given(nothing()), root).is_err());
        assert!(start(&[], &given(nothing()), root).is_err());
    }
}
