//! What was found on the machine, as a person reads it, and the exit code; looking is done in
//! [`crate::doctor`].

use std::path::PathBuf;
use std::process::ExitCode;

use super::print;
use crate::doctor::{Machine, examine};

/// Checks this machine, with the configuration at `config` if it isn't where it is by default.
pub(super) fn doctor(config: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    let examination = examine(&Machine::this(config)?);
    print(&examination.to_string())?;
    Ok(if examination.findings.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
