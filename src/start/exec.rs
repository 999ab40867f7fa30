//! Becomes the command that the configuration gives for a key, inside `mfe@KEY.service`; nothing
//! of the watchdog is left in the process.

use std::convert::Infallible;

use anyhow::{Context, anyhow};
use mfe_common::escape::printable;
use nix::errno::Errno;
use nix::unistd::execve;
use rust_i18n::t;

use crate::sys::child_env;

/// Replaces this process by `command`.
///
/// SIGPIPE stays ignored, as systemd has it for services: a program that writes to its standard
/// output must not die of a restart of the journal. That is why the standard library's `exec`,
/// which makes it deadly again, is of no use here.
///
/// # Errors
/// When the command can't be run.
pub fn exec(command: &[String]) -> anyhow::Result<Infallible> {
    let arguments = child_env::c_strings(command.iter().map(|argument| argument.clone().into()))?;
    let environment = child_env::for_execution(&[])?;
    let program = arguments.first().with_context(|| t!("errors.no_command"))?;
    execve(program, &arguments, &environment).map_err(|errno| {
        let program = printable(&command[0]);
        match errno {
            Errno::ENOENT if std::path::Path::new(&command[0]).exists() => {
                anyhow!("{}", t!("errors.no_interpreter", program = program))
            }
            _ => anyhow!(
                "{}",
                t!("errors.not_run", program = program, error = errno.desc())
            ),
        }
    })
}
