//! The environment that start programs get: ours, without what systemd meant for us alone.

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStringExt;

use nix::errno::Errno;

/// Variables that systemd sets for the service itself (systemd.exec(5), sd_notify(3)); a program
/// that inherited them could answer in the watchdog's name.
const OURS_ALONE: [&str; 8] = [
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "MAINPID",
    "MANAGERPID",
    "MEMORY_PRESSURE_WATCH",
    "NOTIFY_SOCKET",
    "RUNTIME_DIRECTORY",
    "SYSTEMD_EXEC_PID",
];

/// The same for whole families of variables.
const OURS_ALONE_PREFIXES: [&str; 2] = ["LISTEN_", "WATCHDOG_"];

/// The variables for a start program.
pub(super) fn for_children() -> impl Iterator<Item = (OsString, OsString)> {
    std::env::vars_os().filter(|(name, _)| !is_ours_alone(&name.to_string_lossy()))
}

/// The same as execve(2) takes them.
pub(super) fn for_execution() -> Result<Vec<CString>, Errno> {
    c_strings(for_children().map(|(mut pair, value)| {
        pair.push("=");
        pair.push(value);
        pair
    }))
}

/// Strings as the system takes them.
pub(super) fn c_strings(strings: impl Iterator<Item = OsString>) -> Result<Vec<CString>, Errno> {
    strings
        .map(|string| CString::new(string.into_vec()).map_err(|_| Errno::EINVAL))
        .collect()
}

fn is_ours_alone(name: &str) -> bool {
    OURS_ALONE.contains(&name)
        || OURS_ALONE_PREFIXES
            .iter()
            .any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::is_ours_alone;

    #[test]
    fn what_systemd_meant_for_the_service_is_not_passed_on() {
        for name in [
            "NOTIFY_SOCKET",
            "WATCHDOG_PID",
            "WATCHDOG_USEC",
            "LISTEN_FDS",
            "JOURNAL_STREAM",
        ] {
            assert!(is_ours_alone(name), "{name}");
        }
        for name in [
            "PATH",
            "LANG",
            "HOME",
            "DISPLAY",
            "LISTENER",
            "MY_NOTIFY_SOCKET",
        ] {
            assert!(!is_ours_alone(name), "{name}");
        }
    }
}
