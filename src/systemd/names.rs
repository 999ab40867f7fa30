//! What systemd calls things: our own units, and whether this process is one of its services; what is
//! asked of it is in [`super::dbus`].

use std::env;
use std::path::Path;

use nix::unistd::{Pid, getppid};

/// The service's own unit.
pub(crate) const SERVICE: &str = "mfe-watchdog.service";

/// systemd runs this machine if this exists (sd_booted(3)).
const BOOTED: &str = "/run/systemd/system";

/// Whether systemd runs this machine.
pub(crate) fn is_booted() -> bool {
    Path::new(BOOTED).is_dir()
}

/// What systemd sets for each service: the one since 232, the other where Type=notify.
const SET_FOR_SERVICES: [&str; 2] = ["INVOCATION_ID", "NOTIFY_SOCKET"];

/// Whether systemd has started this very process as a service. A shell in a terminal inherits the
/// variables too, and from it a watchdog that somebody tries out, without the right to start
/// units.
pub(crate) fn is_service() -> bool {
    getppid() == Pid::from_raw(1)
        && SET_FOR_SERVICES
            .iter()
            .any(|name| env::var_os(name).is_some())
}

/// The unit in which the command for `key` is started.
pub(crate) fn unit_of(key: &str) -> String {
    format!("mfe@{key}.service")
}
