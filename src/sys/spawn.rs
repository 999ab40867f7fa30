//! Runs a program as a child: in a session of its own, with default signals, in the environment
//! that is meant for children. Following it and reaping it is the caller's.
//!
//! The service itself has umask 022, `/` as its working directory and no descriptor that isn't
//! closed on exec (see [`crate::daemon::setup`]); the rest is done here. How many a child may have itself is
//! as the service has inherited it ([`crate::sys::descriptors`]).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
use nix::sys::signal::SigSet;
use nix::sys::stat::Mode;
use nix::unistd::Pid;

use crate::sys::child_env::{self, Variable};
use crate::sys::descriptors;
use crate::text::phrase::{Phrase, phrase};

/// What a child reads from and writes to; /dev/null where there is `None`.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Stdio<'a> {
    /// Its standard input.
    pub(crate) input: Option<BorrowedFd<'a>>,
    /// Its standard output and its standard error.
    pub(crate) output: Option<BorrowedFd<'a>>,
}

/// Runs `command`, an absolute path and its arguments, with `variables` on top of the environment
/// for children. The child leads a session and so a process group, which both have its pid.
pub(crate) fn spawn(
    command: &[String],
    variables: &[Variable],
    stdio: Stdio<'_>,
) -> Result<Pid, Errno> {
    let arguments = child_env::c_strings(command.iter().map(|argument| argument.clone().into()))?;
    let environment = child_env::for_execution(variables)?;
    let program = arguments.first().ok_or(Errno::EINVAL)?;

    let mut actions = PosixSpawnFileActions::init()?;
    for (descriptor, given, flags) in [
        (0, stdio.input, OFlag::O_RDONLY),
        (1, stdio.output, OFlag::O_WRONLY),
        (2, stdio.output, OFlag::O_WRONLY),
    ] {
        match given {
            Some(given) => actions.add_dup2(given.as_raw_fd(), descriptor)?,
            None => actions.add_open(descriptor, c"/dev/null", flags, Mode::empty())?,
        }
    }

    let mut attributes = PosixSpawnAttr::init()?;
    attributes.set_sigdefault(&SigSet::all())?;
    attributes.set_sigmask(&SigSet::empty())?;
    attributes.set_flags(
        PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF
            | PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK
            // Its own session: no terminal's hang-up and no signal to our group reaches it.
            | PosixSpawnFlags::from_bits_retain(nix::libc::POSIX_SPAWN_SETSID.into()),
    )?;
    descriptors::as_inherited(|| {
        posix_spawn(
            program.as_c_str(),
            &actions,
            &attributes,
            &arguments,
            &environment,
        )
    })
}

/// Whether a program couldn't be run because there is none of its name. The same error is given
/// for a script whose interpreter is missing.
pub(crate) fn is_missing(program: &str, error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound && !Path::new(program).exists()
}

/// Why a program couldn't be run, for a person.
pub(crate) fn not_run(program: &str, error: &io::Error) -> Phrase {
    phrase!(
        "%{program} can't be run: %{error}",
        program = program,
        error = error.to_string()
    )
}
