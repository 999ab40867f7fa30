//! Whether a configured command is started in a unit of its own, an instance of `mfe@.service`, outside
//! the watchdog's sandbox and control group; restarting that unit and following it is done in
//! [`super::unit`].

use crate::config::Launcher;
use crate::systemd::names::{is_booted, is_service};

/// Whether commands are to be started through systemd.
pub(super) fn is_launcher(launcher: Launcher) -> bool {
    match launcher {
        Launcher::Systemd => true,
        Launcher::Direct => false,
        Launcher::Auto => is_booted() && is_service(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_is_no_service() {
        assert!(!is_launcher(Launcher::Auto));
        assert!(is_launcher(Launcher::Systemd));
        assert!(!is_launcher(Launcher::Direct));
    }
}
