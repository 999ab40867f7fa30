//! Says what can be told of a start command before it is run: whether it can be at all, whether somebody
//! is just replacing it, and whether it is still the same file. When it is run is decided in
//! [`crate::machine`].

use std::fs::{self, File, Metadata};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime};

use mfe_common::escape::printable;

use crate::config::{ProcessSettings, Start};
use crate::machine::{CommandId, StartFailure};
use crate::text::phrase::phrase;

/// For so long after its last change a file may be half of what it is to be.
const SETTLES: Duration = Duration::from_secs(2);

/// What dpkg calls the file that it is to put in place, and the one that it has taken away.
const OF_DPKG: [&str; 2] = [".dpkg-new", ".dpkg-tmp"];

/// For so long they count. An upgrade of a large package takes minutes; one that was broken off leaves
/// them for ever.
const UPGRADE_MAX: Duration = Duration::from_secs(10 * 60);

/// More of a script's first line isn't read, in bytes (execve(2)).
const FIRST_LINE_MAX: u64 = 256;

/// The file of a process's start command, as it is now; `None` where there is none, or it can't be seen.
/// Another one may start where the last one couldn't.
#[must_use]
pub fn id_of(process: &ProcessSettings) -> Option<CommandId> {
    match &process.start {
        Start::Command(command) => identity_of(&command[0]),
        Start::Unit(_) => None,
    }
}

fn identity_of(program: &str) -> Option<CommandId> {
    let metadata = fs::metadata(program).ok()?;
    Some(CommandId {
        device: metadata.dev(),
        inode: metadata.ino(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        mode: metadata.mode(),
    })
}

/// Finds out what would certainly fail. The unit may be let where this service is not, so only what is
/// the same for everybody counts.
///
/// # Errors
/// Why `program` can't be run.
pub(super) fn check(program: &str) -> Result<(), StartFailure> {
    let metadata = match fs::metadata(program) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(StartFailure::NotInstalled(printable(program)));
        }
        Err(_) => return Ok(()),
        Ok(metadata) => metadata,
    };
    if metadata.permissions().mode() & 0o111 == 0 {
        return Err(StartFailure::NotRun(phrase!(
            "%{program} can't be run: it isn't executable",
            program = program
        )));
    }
    match interpreter(program) {
        Some(interpreter) if !Path::new(&interpreter).exists() => {
            Err(StartFailure::NotRun(phrase!(
                "%{program} can't be run: the interpreter in its first line doesn't exist: %{interpreter}",
                program = program,
                interpreter = interpreter
            )))
        }
        _ => Ok(()),
    }
}

/// The interpreter of a script, by its first line; `None` for what is no script, or can't be read.
fn interpreter(program: &str) -> Option<String> {
    let mut head = Vec::new();
    let file = File::open(program).ok()?;
    file.take(FIRST_LINE_MAX).read_to_end(&mut head).ok()?;
    let line = head
        .strip_prefix(b"#!")?
        .split(|byte| *byte == b'\n')
        .next()?;
    let line = std::str::from_utf8(line).ok()?;
    // Blanks alone stand before it and after it; what looks like the end of a line of Windows belongs to it.
    let word = line
        .trim_start_matches([' ', '\t'])
        .split([' ', '\t'])
        .next()?;
    word.starts_with('/').then(|| word.to_owned())
}

/// Whether somebody is just putting `program` in place.
///
/// # Errors
/// If so.
pub(super) fn check_settled(program: &str) -> Result<(), StartFailure> {
    check_settled_at(program, SystemTime::now())
}

fn check_settled_at(program: &str, now: SystemTime) -> Result<(), StartFailure> {
    let has_changed = |path: &str, within: Duration| {
        let metadata = fs::metadata(path);
        metadata.is_ok_and(|metadata| changes(&metadata).any(|time| is_within(time, within, now)))
    };
    let by_dpkg = || {
        let mut names = OF_DPKG.iter();
        names.any(|ending| has_changed(&format!("{program}{ending}"), UPGRADE_MAX))
    };
    if has_changed(program, SETTLES) || by_dpkg() {
        return Err(StartFailure::BeingReplaced(printable(program)));
    }
    Ok(())
}

/// When a file was changed, and when it came to its name, mode or owner, since 1970.
fn changes(metadata: &Metadata) -> impl Iterator<Item = Duration> {
    let times = [
        (metadata.mtime(), metadata.mtime_nsec()),
        (metadata.ctime(), metadata.ctime_nsec()),
    ];
    times.into_iter().filter_map(|(seconds, nanoseconds)| {
        let seconds = Duration::from_secs(u64::try_from(seconds).ok()?);
        Some(seconds + Duration::from_nanos(u64::try_from(nanoseconds).ok()?))
    })
}

/// Whether a time lies in the last moments before `now`. One in the future says nothing but that
/// somebody has set the clock.
fn is_within(time: Duration, within: Duration, now: SystemTime) -> bool {
    let age = now.duration_since(SystemTime::UNIX_EPOCH + time);
    age.is_ok_and(|age| age < within)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Program(tempfile::TempDir);

    impl Program {
        fn new(text: &str) -> Self {
            let program = Self(tempfile::tempdir().unwrap());
            fs::write(program.path(), text).unwrap();
            fs::set_permissions(program.path(), PermissionsExt::from_mode(0o755)).unwrap();
            program
        }

        fn path(&self) -> String {
            let path = self.0.path().join("runcco-ser.sh");
            path.to_str().unwrap().to_owned()
        }
    }

    #[test]
    fn a_command_that_is_not_there_is_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("runcco-ser.sh");
        let program = program.to_str().unwrap();
        let failure = check(program).unwrap_err();
        assert_eq!(failure, StartFailure::NotInstalled(program.to_owned()));
    }

    fn why_not(program: &Program) -> String {
        match check(&program.path()) {
            Err(StartFailure::NotRun(why)) => why.to_string(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_cannot_be_run_is_told() {
        let program = Program::new("#!/bin/sh\n");
        assert_eq!(check(&program.path()), Ok(()));
        fs::set_permissions(program.path(), PermissionsExt::from_mode(0o644)).unwrap();
        let failure = why_not(&program);
        assert!(failure.ends_with("it isn't executable"), "{failure}");
    }

    #[test]
    fn an_interpreter_has_to_exist() {
        for text in [
            "",
            "#!",
            "#! /bin/sh -e\n",
            "#!\t/bin/sh",
            "\x7fELF",
            "#!x\n",
        ] {
            assert_eq!(check(&Program::new(text).path()), Ok(()), "{text}");
        }
        for (text, expected) in [
            ("#!/nonexistent/python -u\n", "exist: /nonexistent/python"),
            ("#!/bin/sh\r\n", "exist: /bin/sh\\r"),
        ] {
            let failure = why_not(&Program::new(text));
            assert!(failure.ends_with(expected), "{failure}");
        }
    }

    #[test]
    fn what_has_just_changed_is_let_settle() {
        let program = Program::new("");
        let replaced = Err(StartFailure::BeingReplaced(program.path()));
        let now = SystemTime::now();
        assert_eq!(check_settled_at(&program.path(), now), replaced);
        let later = now + Duration::from_secs(3);
        assert_eq!(check_settled_at(&program.path(), later), Ok(()));
        let earlier = now - Duration::from_secs(60);
        assert_eq!(
            check_settled_at(&program.path(), earlier),
            Ok(()),
            "a future time"
        );
        assert_eq!(check_settled_at("/nonexistent/x", now), Ok(()));
    }

    #[test]
    fn what_dpkg_replaces_is_waited_for_but_not_for_ever() {
        let program = Program::new("");
        fs::write(program.path() + ".dpkg-new", "").unwrap();
        let now = SystemTime::now();
        let replaced = Err(StartFailure::BeingReplaced(program.path()));
        let later = now + Duration::from_secs(60);
        assert_eq!(check_settled_at(&program.path(), later), replaced);
        let broken_off = now + Duration::from_secs(11 * 60);
        assert_eq!(check_settled_at(&program.path(), broken_off), Ok(()));
    }

    #[test]
    fn an_identity_is_another_after_every_change() {
        let program = Program::new("");
        let before = identity_of(&program.path());
        assert!(before.is_some());
        assert_eq!(identity_of(&program.path()), before);
        fs::set_permissions(program.path(), PermissionsExt::from_mode(0o700)).unwrap();
        let other_mode = identity_of(&program.path());
        assert_ne!(other_mode, before);
        let file = File::options().write(true).open(program.path()).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        assert_ne!(identity_of(&program.path()), other_mode);
        fs::remove_file(program.path()).unwrap();
        assert_eq!(identity_of(&program.path()), None);
    }
}
