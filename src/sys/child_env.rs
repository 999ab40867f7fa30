//! The environment that children get: ours, without what systemd meant for us alone.

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStringExt;

use nix::errno::Errno;

/// Variables that systemd sets for the service itself (systemd.exec(5), sd_notify(3)); a program
/// that inherited them could answer in the watchdog's name.
const OURS_ALONE: [&str; 9] = [
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "MAINPID",
    "MANAGERPID",
    "MEMORY_PRESSURE_WATCH",
    "MEMORY_PRESSURE_WRITE",
    "NOTIFY_SOCKET",
    "RUNTIME_DIRECTORY",
    "SYSTEMD_EXEC_PID",
];

/// The same for whole families of variables.
const OURS_ALONE_PREFIXES: [&str; 2] = ["LISTEN_", "WATCHDOG_"];

/// A variable that a child gets besides: its name, and its value or, with `None`, that the child
/// gets no variable of this name even if we have one.
pub(crate) type Variable = (&'static str, Option<String>);

/// The variables for a child.
pub(crate) fn for_children() -> impl Iterator<Item = (OsString, OsString)> {
    std::env::vars_os().filter(|(name, _)| !is_ours_alone(&name.to_string_lossy()))
}

/// The same, with `variables` in place of those of their names, as execve(2) takes them.
pub(crate) fn for_execution(variables: &[Variable]) -> Result<Vec<CString>, Errno> {
    let is_replaced = |name: &OsString| variables.iter().any(|(own, _)| name == own);
    let inherited = for_children().filter(|(name, _)| !is_replaced(name));
    let given = variables.iter().filter_map(|(name, value)| {
        let value = value.as_ref()?;
        Some((OsString::from(name), OsString::from(value)))
    });
    c_strings(inherited.chain(given).map(|(mut pair, value)| {
        pair.push("=");
        pair.push(value);
        pair
    }))
}

/// Strings as the system takes them.
pub(crate) fn c_strings(strings: impl Iterator<Item = OsString>) -> Result<Vec<CString>, Errno> {
    strings
        .map(|string| CString::new(string.into_vec()).map_err(|_| Errno::EINVAL))
        .collect()
}

/// Whether systemd has meant a variable for the process alone that it was given to.
pub(crate) fn is_ours_alone(name: &str) -> bool {
    OURS_ALONE.contains(&name)
        || OURS_ALONE_PREFIXES
            .iter()
            .any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::{for_execution, is_ours_alone};

    #[test]
    fn variables_replace_and_remove_those_of_their_names() {
        let has = |variables: &[_], wanted: &str| {
            let environment = for_execution(variables).unwrap();
            environment
                .iter()
                .filter(|pair| pair.to_str().unwrap().split('=').next() == Some(wanted))
                .map(|pair| pair.to_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(has(&[], "PATH").len(), 1, "as inherited");
        assert_eq!(has(&[("PATH", Some("/x".into()))], "PATH"), ["PATH=/x"]);
        assert_eq!(has(&[("PATH", None)], "PATH"), [""; 0]);
        assert!(for_execution(&[("MFE_HOST", Some("a\0b".into()))]).is_err());
    }

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
