//! What systemd calls things: our own units, and whether this process is one of its services; what is
//! asked of it is in [`super::dbus`].

use std::env;
use std::path::Path;

use nix::unistd::{Pid, getppid};

/// The service's own unit.
pub(crate) const SERVICE: &str = "mfe-watchdog.service";

/// What has the service end before those who start its programs.
pub(crate) const ORDER: &str = "mfe-watchdog-order.target";

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

/// Whether a unit is one in which a command is started: see [`unit_of`].
pub(crate) fn is_instance(unit: &str) -> bool {
    unit.starts_with("mfe@") && unit.ends_with(".service")
}

/// The unit in which the command for `key` is started.
pub(crate) fn unit_of(key: &str) -> String {
    format!("mfe@{key}.service")
}

/// Where systemd reads units from (systemd.unit(5)), below the root, what counts most first.
pub(crate) const UNIT_FOLDERS: [&str; 9] = [
    "run/systemd/transient",
    "run/systemd/generator.early",
    "etc/systemd/system",
    "run/systemd/system",
    "run/systemd/generator",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
    "run/systemd/generator.late",
];

/// The name under which systemd keeps a unit: another one than `unit` where that is an alias, which is a
/// link of that name to the unit's file.
pub(crate) fn name_of(root: &Path, unit: &str) -> String {
    let link = UNIT_FOLDERS.iter().find_map(|folder| {
        let path = root.join(folder).join(unit);
        let is_there = path.symlink_metadata().is_ok();
        is_there.then(|| path.read_link().unwrap_or(path))
    });
    let name = link.as_deref().and_then(Path::file_name);
    let name = name.and_then(|name| name.to_str());
    // A masked unit is a link to /dev/null, and a link may lead to a file of the unit's own name.
    let name = name.filter(|name| name.ends_with(".service"));
    name.unwrap_or(unit).to_owned()
}

/// Whether nobody can start a unit, since its file is a link to /dev/null, or empty (systemd.unit(5)). Of an
/// instance, such as `mfe@comunicador.service`, the template's counts where it has none of its own.
pub(crate) fn is_masked(root: &Path, unit: &str) -> bool {
    let template = unit
        .split_once('@')
        .zip(unit.rsplit_once('.'))
        .map(|((name, _), (_, kind))| format!("{name}@.{kind}"));
    let names = std::iter::once(unit).chain(template.as_deref());
    let mut files = names.flat_map(|name| UNIT_FOLDERS.map(|folder| root.join(folder).join(name)));
    let file = files.find(|path| path.symlink_metadata().is_ok());
    let file = file.and_then(|path| path.metadata().ok());
    file.is_some_and(|file| file.len() == 0)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn an_alias_is_known_by_the_units_name() {
        let root = tempfile::tempdir().unwrap();
        let etc = root.path().join("etc/systemd/system");
        let lib = root.path().join("lib/systemd/system");
        fs::create_dir_all(&etc).unwrap();
        fs::create_dir_all(&lib).unwrap();
        fs::write(lib.join("cco-ser.service"), "").unwrap();
        symlink(lib.join("cco-ser.service"), etc.join("cco.service")).unwrap();
        symlink("/dev/null", etc.join("masked.service")).unwrap();
        for (name, expected) in [
            ("cco.service", "cco-ser.service"),
            ("cco-ser.service", "cco-ser.service"),
            ("masked.service", "masked.service"),
            ("missing.service", "missing.service"),
        ] {
            assert_eq!(name_of(root.path(), name), expected);
        }
    }

    #[test]
    fn what_is_masked_is_known() {
        let root = tempfile::tempdir().unwrap();
        let at = |folder: &str, unit: &str| {
            let folder = root.path().join(folder);
            fs::create_dir_all(&folder).unwrap();
            folder.join(unit)
        };
        let (etc, run, lib) = (
            "etc/systemd/system",
            "run/systemd/system",
            "lib/systemd/system",
        );
        fs::write(at(lib, "cco-ser.service"), "[Service]\n").unwrap();
        fs::write(at(lib, "mfe@.service"), "[Service]\n").unwrap();
        let masked = |unit| is_masked(root.path(), unit);
        assert!(!masked("cco-ser.service"));
        assert!(!masked("mfe@monitor.service"));
        assert!(!masked("missing.service"));
        symlink("/dev/null", at(run, "cco-ser.service")).unwrap();
        symlink("/dev/null", at(run, "mfe@monitor.service")).unwrap();
        assert!(masked("cco-ser.service"));
        assert!(masked("mfe@monitor.service"));
        assert!(!masked("mfe@comunicador.service"));
        fs::write(at(etc, "cco-ser.service"), "[Service]\n").unwrap();
        assert!(!masked("cco-ser.service"), "what counts more isn't");
        fs::write(at(etc, "mfe@.service"), "").unwrap();
        assert!(masked("mfe@comunicador.service"));
    }
}
