//! Starts a configured command in a unit of its own, an instance of `mfe@.service`, outside the
//! watchdog's sandbox and control group; restarting that unit and following it is done in
//! [`super::unit`].

use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;

use crate::config::Launcher;
use crate::machine::StartFailure;
use crate::systemd::names::{is_booted, is_service};
use crate::text::escape::printable;
use crate::text::phrase::phrase;

/// Whether commands are to be started through systemd.
pub(super) fn is_launcher(launcher: Launcher) -> bool {
    match launcher {
        Launcher::Systemd => true,
        Launcher::Direct => false,
        Launcher::Auto => is_booted() && is_service(),
    }
}

/// Finds out what would certainly fail. The unit may be let where this service is not, so only
/// what is the same for everybody counts.
pub(super) fn check(program: &str) -> Result<(), StartFailure> {
    match std::fs::metadata(program) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(StartFailure::NotInstalled(printable(program)))
        }
        Ok(metadata) if metadata.permissions().mode() & 0o111 == 0 => {
            let why = phrase!(
                "%{program} can't be run: it isn't executable",
                program = program
            );
            Err(StartFailure::NotRun(why))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_is_not_there_is_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("runcco-ser.sh");
        let program = program.to_str().unwrap();
        let failure = check(program).unwrap_err();
        assert_eq!(failure, StartFailure::NotInstalled(program.to_owned()));
        std::fs::write(program, "#!/bin/sh\n").unwrap();
        let failure = check(program).unwrap_err();
        assert!(
            failure.to_string().ends_with("it isn't executable"),
            "{failure}"
        );
        std::fs::set_permissions(program, PermissionsExt::from_mode(0o755)).unwrap();
        assert_eq!(check(program), Ok(()));
    }

    #[test]
    fn a_test_is_no_service() {
        assert!(!is_launcher(Launcher::Auto));
        assert!(is_launcher(Launcher::Systemd));
        assert!(!is_launcher(Launcher::Direct));
    }
}
