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
use crate::text::escape::shell_word;

/// The oldest systemd that the units are written for.
const OLDEST: u32 = 229;

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
