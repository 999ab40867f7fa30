//! Whether the service is started at boot, runs, and has a systemd that is new enough.

use std::path::Path;
use std::time::Duration;

use rust_i18n::t;

use super::root::View;
use super::{Examination, Systemd};
use crate::config::Settings;
use crate::events::Kind;
use crate::status::Status;
use crate::status::directories::RUNTIME_DIR;
use crate::systemd::names::SERVICE;
use crate::text::escape::{list, shell_word};

/// The oldest systemd that the units are written for.
const OLDEST: u32 = 229;

/// The versions since which systemd knows further settings for the service; the package has a file of them for
/// each, and a generator that puts in force those of the running version and before (systemd.generator(7)).
const SETTINGS_SINCE: [u32; 9] = [231, 232, 233, 235, 239, 242, 243, 244, 245];

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

/// Whether the service is protected as well as the running systemd can do it.
pub(super) fn examine_sandbox(systemd: &Systemd, found: &mut Examination) {
    let is_installed = systemd
        .enabled
        .as_deref()
        .is_some_and(|enabled| enabled != "not-found");
    let (Some(version), Some(drop_ins), true) = (systemd.version, &systemd.drop_ins, is_installed)
    else {
        return;
    };
    let in_force: Vec<&str> = drop_ins
        .split_whitespace()
        .filter_map(|path| path.rsplit('/').next())
        .collect();
    let known = SETTINGS_SINCE.into_iter().filter(|since| *since <= version);
    let missing = known.filter(|since| !in_force.contains(&settings_file(*since).as_str()));
    let missing: Vec<u32> = missing.collect();
    if !missing.is_empty() {
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
                    timeout = humantime::format_duration(hook.timeout),
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
            drop_ins: None,
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
        let versions = std::fs::read_dir(folder).unwrap().map(|entry| {
            let path = entry.unwrap().path();
            assert!(
                path.join(format!("{SERVICE}.conf")).exists(),
                "{}",
                path.display()
            );
            path.file_name().unwrap().to_str().unwrap().parse().unwrap()
        });
        let mut versions: Vec<u32> = versions.collect();
        versions.sort_unstable();
        assert_eq!(versions, SETTINGS_SINCE);
    }

    #[test]
    fn a_sandbox_that_could_be_tighter_is_found() {
        let all = SETTINGS_SINCE.map(|since| {
            let file = settings_file(since);
            format!("/run/systemd/generator/mfe-watchdog.service.d/{file}")
        });
        let (all, four) = (all.join(" "), all[..4].join(" "));
        let of = |enabled, version, drop_ins: Option<&str>| {
            let mut found = Examination::default();
            let drop_ins = drop_ins.map(str::to_owned);
            let systemd = Systemd {
                drop_ins,
                ..systemd(enabled, "active", version)
            };
            examine_sandbox(&systemd, &mut found);
            found.findings.pop().map(|finding| finding.text)
        };
        assert_eq!(of("enabled", 229, Some("")), None, "it knows none");
        assert_eq!(of("enabled", 237, Some(&four)), None);
        assert_eq!(of("enabled", 260, Some(&all)), None);
        assert_eq!(of("enabled", 260, None), None, "it can't be told");
        assert_eq!(of("not-found", 260, Some("")), None);
        let text = of("disabled", 252, Some(&four)).unwrap();
        assert!(text.contains("239, 242, 243, 244, 245"), "{text}");
        let own = "/etc/systemd/system/mfe-watchdog.service.d/override.conf";
        assert!(of("enabled", 231, Some(own)).is_some());
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
