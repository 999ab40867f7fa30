//! Whether the service is started at boot, runs, and has a systemd that is new enough.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use mfe_common::duration::setting;
use mfe_common::escape::{list, shell_word};
use rust_i18n::t;

use super::root::View;
use super::{Examination, Systemd};
use crate::config::Settings;
use crate::events::Kind;
use crate::status::Status;
use crate::status::directories::RUNTIME_DIR;
use crate::systemd::names::SERVICE;

/// The oldest systemd that the units are written for.
const OLDEST: u32 = 229;

/// The versions since which systemd knows further settings for the service, with these; the package has a file
/// of them for each, and a generator that puts in force those of the running version and before
/// (systemd.generator(7)).
const SETTINGS_SINCE: [(u32, &str); 9] = [
    (
        231,
        include_str!("../../systemd/since/231/mfe-watchdog.service.conf"),
    ),
    (
        232,
        include_str!("../../systemd/since/232/mfe-watchdog.service.conf"),
    ),
    (
        233,
        include_str!("../../systemd/since/233/mfe-watchdog.service.conf"),
    ),
    (
        235,
        include_str!("../../systemd/since/235/mfe-watchdog.service.conf"),
    ),
    (
        239,
        include_str!("../../systemd/since/239/mfe-watchdog.service.conf"),
    ),
    (
        242,
        include_str!("../../systemd/since/242/mfe-watchdog.service.conf"),
    ),
    (
        243,
        include_str!("../../systemd/since/243/mfe-watchdog.service.conf"),
    ),
    (
        244,
        include_str!("../../systemd/since/244/mfe-watchdog.service.conf"),
    ),
    (
        245,
        include_str!("../../systemd/since/245/mfe-watchdog.service.conf"),
    ),
];

/// The settings that every systemd knows.
const SETTINGS: &str = include_str!("../../systemd/mfe-watchdog.service");

/// The property that lists the files which give a unit further settings.
pub(super) const DROP_INS: &str = "DropInPaths";

/// What the package itself says how to open, for checks and hooks that need it.
const TO_BE_OPENED: &str = "PrivateNetwork";

/// Since this one a service that is asked to end may ask for more time (`EXTEND_TIMEOUT_USEC` of
/// sd_notify(3)).
const EXTENDS_TIMEOUTS: u32 = 236;

/// What the service has to end in without that: `TimeoutStopSec=` of its unit.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

pub(super) fn examine(systemd: &Systemd, found: &mut Examination) {
    let (Some(enabled), Some(active)) = (&systemd.enabled, &systemd.active) else {
        found.note(t!("doctor.systemd_silent"));
        return;
    };
    if enabled == "not-found" {
        found.find_without_command("service-not-installed", t!("doctor.not_installed"));
    } else if enabled.starts_with("masked") {
        found.find(
            "service-not-enabled",
            t!("doctor.masked"),
            "sudo systemctl unmask mfe-watchdog && sudo systemctl enable --now mfe-watchdog",
        );
    } else if !enabled.starts_with("enabled") {
        found.find(
            "service-not-enabled",
            t!("doctor.not_enabled"),
            "sudo systemctl enable --now mfe-watchdog",
        );
    } else if active == "inactive" || active == "failed" {
        found.find(
            "service-not-running",
            t!("doctor.not_running"),
            "sudo systemctl start mfe-watchdog",
        );
    }
}

/// Whether the service is protected as well as the running systemd can do it: by the settings that the package
/// has for it, and by nobody's who has loosened them.
pub(super) fn examine_sandbox(systemd: &Systemd, found: &mut Examination) {
    let is_installed = systemd
        .enabled
        .as_deref()
        .is_some_and(|enabled| enabled != "not-found");
    let (Some(version), Some(in_force), true) = (systemd.version, &systemd.settings, is_installed)
    else {
        return;
    };
    let drop_ins = in_force.get(DROP_INS).map_or("", String::as_str);
    let drop_ins: Vec<&str> = drop_ins
        .split_whitespace()
        .filter_map(|path| path.rsplit('/').next())
        .collect();
    let known = SETTINGS_SINCE
        .into_iter()
        .filter(|(since, _)| *since <= version);
    let (loaded, missing): (Vec<_>, Vec<_>) =
        known.partition(|(since, _)| drop_ins.contains(&settings_file(*since).as_str()));
    if !missing.is_empty() {
        let missing = missing.into_iter().map(|(since, _)| since);
        found.find(
            "sandbox-weaker",
            t!(
                "doctor.sandbox_weaker",
                version = version,
                missing = list(missing)
            ),
            "sudo systemctl daemon-reload && sudo systemctl restart mfe-watchdog",
        );
    }
    let loaded = std::iter::once(SETTINGS).chain(loaded.into_iter().map(|(_, text)| text));
    let loosened = loosened(in_force, loaded);
    if !loosened.is_empty() {
        found.find(
            "sandbox-weaker",
            t!("doctor.sandbox_loosened", settings = list(loosened)),
            "systemctl cat mfe-watchdog",
        );
    }
}

/// What protects the service that has one of these units' settings in force, and doesn't any longer: each
/// as `NAME=VALUE`, as it is now.
fn loosened<'a>(
    in_force: &BTreeMap<String, String>,
    texts: impl Iterator<Item = &'a str>,
) -> Vec<String> {
    // Of a setting that is said twice the later holds.
    let wanted: BTreeMap<&str, &str> = texts.flat_map(protections).collect();
    let is_weaker = |name: &str, wanted: &str, now: &str| match name {
        "ProtectSystem" => now != wanted && now != "strict",
        _ => now == "no",
    };
    wanted
        .into_iter()
        .filter_map(|(name, wanted)| {
            let now = in_force.get(name)?;
            is_weaker(name, wanted, now).then(|| format!("{name}={now}"))
        })
        .collect()
}

/// The settings of the package that protect the service by being on, whatever the version.
pub(super) fn names_of_protections() -> BTreeSet<&'static str> {
    let texts = SETTINGS_SINCE.into_iter().map(|(_, text)| text);
    let all = std::iter::once(SETTINGS).chain(texts);
    all.flat_map(protections).map(|(name, _)| name).collect()
}

/// Those of one file.
fn protections(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let is_protection = |name: &str, value: &str| {
        ["yes", "read-only", "full", "strict"].contains(&value) && name != TO_BE_OPENED
    };
    text.lines()
        .filter_map(|line| line.split_once('='))
        .filter(move |(name, value)| is_protection(name, value))
}

/// The name of the settings that there are since a version, as the generator has it.
fn settings_file(since: u32) -> String {
    format!("00-systemd-{since}.conf")
}

pub(super) fn examine_version(systemd: &Systemd, settings: &Settings, found: &mut Examination) {
    let Some(version) = systemd.version else {
        return;
    };
    if version < OLDEST {
        found.find_without_command(
            "systemd-too-old",
            t!("doctor.systemd_old", version = version, needed = OLDEST),
        );
    }
    if version < EXTENDS_TIMEOUTS {
        for hook in &settings.hooks {
            if hook.on.contains(&Kind::Shutdown) && hook.timeout > STOP_TIMEOUT {
                let text = t!(
                    "doctor.hook_too_long",
                    timeout = setting(hook.timeout),
                    version = version,
                    needed = EXTENDS_TIMEOUTS
                );
                let stop = hook.timeout.as_secs() + STOP_TIMEOUT.as_secs();
                found.find("systemd-too-old", text, longer_stop(stop));
            }
        }
    }
}

/// What the service of this machine has published, if it runs.
pub(super) fn published(view: &View<'_>) -> Option<Status> {
    let status = Status::read(&view.at(Path::new(RUNTIME_DIR))).ok()??;
    status.is_of_a_living_service().then_some(status)
}

/// Gives the service this many seconds to end.
fn longer_stop(seconds: u64) -> String {
    drop_in(
        SERVICE,
        &format!("[Service]\\nTimeoutStopSec={seconds}s\\n"),
    )
}

/// A command that gives a unit further settings. Nothing is started or stopped by it.
pub(super) fn drop_in(unit: &str, settings: &str) -> String {
    let script = format!(
        "mkdir -p \"$1\" && printf \"{settings}\" > \"$1/mfe-watchdog.conf\" && systemctl daemon-reload"
    );
    let folder = shell_word(&format!("/etc/systemd/system/{unit}.d"));
    format!("sudo sh -c '{script}' sh {folder}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{DEFAULT_TEXT, parse};

    fn ids(systemd: &Systemd, hooks: &str) -> Vec<&'static str> {
        let text = format!("{DEFAULT_TEXT}\n{hooks}");
        let settings = parse(&text, Path::new("config.toml")).unwrap();
        let mut found = Examination::default();
        examine(systemd, &mut found);
        examine_version(systemd, &settings, &mut found);
        found.findings.iter().map(|finding| finding.id).collect()
    }

    fn systemd(enabled: &str, active: &str, version: u32) -> Systemd {
        Systemd {
            version: Some(version),
            enabled: Some(enabled.into()),
            active: Some(active.into()),
            settings: None,
            is_clock_synchronized: None,
        }
    }

    #[test]
    fn a_service_is_to_be_enabled_and_to_run() {
        for (enabled, active, expected) in [
            ("enabled", "active", &[][..]),
            ("enabled", "activating", &[]),
            ("enabled", "inactive", &["service-not-running"]),
            ("enabled", "failed", &["service-not-running"]),
            ("disabled", "active", &["service-not-enabled"]),
            ("masked", "inactive", &["service-not-enabled"]),
            ("not-found", "inactive", &["service-not-installed"]),
        ] {
            assert_eq!(ids(&systemd(enabled, active, 252), ""), expected);
        }
    }

    #[test]
    fn a_systemd_that_says_nothing_is_a_note() {
        let mut found = Examination::default();
        examine(&Systemd::default(), &mut found);
        assert_eq!((found.findings.len(), found.notes.len()), (0, 1));
    }

    #[test]
    fn the_settings_are_those_that_the_package_has() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/since");
        let folders = std::fs::read_dir(folder).unwrap();
        let folders = folders.map(|entry| entry.unwrap().path());
        // What is for the programs' units only is no part of the service's sandbox.
        let of_service = folders.filter(|path| path.join(format!("{SERVICE}.conf")).exists());
        let versions =
            of_service.map(|path| path.file_name().unwrap().to_str().unwrap().parse().unwrap());
        let mut versions: Vec<u32> = versions.collect();
        versions.sort_unstable();
        assert_eq!(versions, SETTINGS_SINCE.map(|(since, _)| since));
    }

    fn drop_ins(paths: &str) -> (&str, &str) {
        (DROP_INS, paths)
    }

    #[test]
    fn a_sandbox_that_could_be_tighter_is_found() {
        let all = SETTINGS_SINCE.map(|(since, _)| {
            let file = settings_file(since);
            format!("/run/systemd/generator/mfe-watchdog.service.d/{file}")
        });
        let (all, four) = (&*all.join(" "), &*all[..4].join(" "));
        let of = |enabled, version, answer: Option<&[(&str, &str)]>| {
            let mut found = Examination::default();
            let settings = answer.map(|answer| {
                let owned = |(name, value): &(&str, &str)| ((*name).into(), (*value).into());
                answer.iter().map(owned).collect()
            });
            let systemd = Systemd {
                settings,
                ..systemd(enabled, "active", version)
            };
            examine_sandbox(&systemd, &mut found);
            found.findings.pop().map(|finding| finding.text)
        };
        assert_eq!(of("enabled", 229, Some(&[])), None, "it knows none");
        assert_eq!(of("enabled", 237, Some(&[drop_ins(four)])), None);
        assert_eq!(of("enabled", 260, Some(&[drop_ins(all)])), None);
        assert_eq!(of("enabled", 260, None), None, "it is unknown");
        assert_eq!(of("not-found", 260, Some(&[])), None);
        let text = of("disabled", 252, Some(&[drop_ins(four)])).unwrap();
        assert!(text.contains("239, 242, 243, 244, 245"), "{text}");
        let own = "/etc/systemd/system/mfe-watchdog.service.d/override.conf";
        assert!(of("enabled", 231, Some(&[drop_ins(own)])).is_some());

        // Settings that somebody has made less strict.
        for (version, drop_in, setting, is_found) in [
            (229, "", ("ProtectSystem", "full"), false),
            (229, "", ("ProtectSystem", "yes"), true),
            (229, "", ("NoNewPrivileges", "no"), true),
            (260, all, ("ProtectSystem", "strict"), false),
            (260, all, ("ProtectSystem", "full"), true),
            (260, all, ("RestrictNamespaces", "no"), true),
            (260, all, ("ProtectHome", "yes"), false),
            // This is said in the manual to be opened.
            (260, all, ("PrivateNetwork", "no"), false),
        ] {
            let text = of("enabled", version, Some(&[drop_ins(drop_in), setting]));
            assert_eq!(text.is_some(), is_found, "{version} {setting:?}");
            let (name, value) = setting;
            assert!(text.is_none_or(|text| text.contains(&format!("{name}={value}"))));
        }
    }

    #[test]
    fn what_needs_a_newer_systemd_is_found() {
        let hook = |on, timeout| {
            format!(
                "[[hook]]\non = [\"{on}\"]\ncommand = [\"/bin/true\"]\ntimeout = \"{timeout}\"\n"
            )
        };
        let of = |version, hook: &str| ids(&systemd("enabled", "active", version), hook);
        let too_old = ["systemd-too-old"];
        assert_eq!(of(229, ""), [""; 0]);
        assert_eq!(of(228, ""), too_old);
        assert_eq!(of(235, &hook("shutdown", "30s")), too_old);
        assert_eq!(of(236, &hook("shutdown", "30s")), [""; 0]);
        assert_eq!(of(235, &hook("shutdown", "20s")), [""; 0]);
        assert_eq!(of(235, &hook("up", "30s")), [""; 0]);
    }
}
