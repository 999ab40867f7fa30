//! The program under test, whose place Cargo tells to its tests only.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use mfe_kit::{Service, Till, clean, install_program};

/// The binary under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_mfe-watchdog");

/// The binary, in an environment without anything of the one that runs the tests.
pub fn mfe_watchdog() -> Command {
    clean(Command::new(BINARY))
}

/// Starts the service on a till.
pub fn run(till: &Till) -> Service {
    Service::start(till, &mut mfe_watchdog())
}

/// Opens a till's directory to everybody and puts a copy of the binary there: the one under test
/// may lie where another user can't reach it.
pub fn binary_for_everybody(till: &Till) -> PathBuf {
    fs::set_permissions(till.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let copy = till.path().join("bin/mfe-watchdog");
    install_program(Path::new(BINARY), &copy);
    copy
}
