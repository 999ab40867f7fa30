//! Asks systemd about this machine, within a time; the answers are judged in
//! [`super::service`] and its neighbours.

use std::collections::BTreeMap;

use super::service::{DROP_INS, names_of_protections};
use crate::sys::event_loop::event_loop;
use crate::systemd::ask::answer;
use crate::systemd::names::SERVICE;

/// What systemd says of a machine; `None` for what it doesn't answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Systemd {
    /// Its version.
    pub version: Option<u32>,
    /// Whether the service is started at boot, as `systemctl is-enabled` says it.
    pub enabled: Option<String>,
    /// Whether the service runs, as `systemctl is-active` says it.
    pub active: Option<String>,
    /// What it has in force for the service: `DropInPaths`, the files that give its unit further settings, and
    /// what protects it, as `systemctl show` prints that.
    pub settings: Option<BTreeMap<String, String>>,
    /// Whether the clock is set by the network.
    pub is_clock_synchronized: Option<bool>,
}

impl Systemd {
    /// Asks the systemd of this machine.
    pub(super) fn ask() -> anyhow::Result<Self> {
        let runtime = event_loop()?;
        let properties = names_of_protections().into_iter().chain([DROP_INS]);
        let properties: Vec<_> = properties
            .map(|name| format!("--property={name}"))
            .collect();
        let show: Vec<&str> = ["show", SERVICE]
            .into_iter()
            .chain(properties.iter().map(String::as_str))
            .collect();
        Ok(runtime.block_on(async {
            let (version, enabled, active, settings, clock) = tokio::join!(
                answer("systemctl", &["--version"]),
                answer("systemctl", &["is-enabled", SERVICE]),
                answer("systemctl", &["is-active", SERVICE]),
                answer("systemctl", &show),
                answer("timedatectl", &["status"]),
            );
            Self {
                version: version.as_deref().and_then(version_in),
                enabled: enabled.as_deref().and_then(word_in),
                active: active.as_deref().and_then(word_in),
                settings: settings.as_deref().and_then(settings_in),
                is_clock_synchronized: clock.as_deref().and_then(synchronized_in),
            }
        }))
    }
}

/// Out of `systemd 252 (252.39-1~deb12u1)`.
fn version_in(answer: &str) -> Option<u32> {
    let mut words = answer.lines().next()?.split_whitespace();
    let version = words.nth(1)?;
    // A development version has a suffix, such as 256~rc1.
    let digits = version.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

/// The state of a unit is one word on the first line. Anything else, such as that there is no bus to
/// ask, is no answer; but that a unit has no file is.
fn word_in(answer: &str) -> Option<String> {
    let line = answer.lines().next()?.trim();
    if line.contains("No such file") {
        return Some("not-found".to_owned());
    }
    let is_word = |c: char| c.is_ascii_lowercase() || c == '-';
    (!line.is_empty() && line.chars().all(is_word)).then(|| line.to_owned())
}

/// Out of lines such as `DropInPaths=/run/a.conf /etc/b.conf`; `None` if there is no such line.
fn settings_in(answer: &str) -> Option<BTreeMap<String, String>> {
    let settings = answer.lines().filter_map(|line| line.split_once('='));
    let settings: BTreeMap<_, _> = settings
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    (!settings.is_empty()).then_some(settings)
}

/// Out of `System clock synchronized: no`, or `NTP synchronized: no` before 239.
fn synchronized_in(answer: &str) -> Option<bool> {
    let line = answer.lines().find(|line| line.contains("synchronized:"))?;
    match line.rsplit(':').next()?.trim() {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_understood() {
        assert_eq!(version_in("systemd 229\n+PAM\n"), Some(229));
        assert_eq!(version_in("systemd 256~rc1 (256)\n"), Some(256));
        assert_eq!(version_in(""), None);
        assert_eq!(word_in("enabled\n").unwrap(), "enabled");
        assert_eq!(word_in("masked-runtime\n").unwrap(), "masked-runtime");
        assert_eq!(
            word_in("Failed to get unit file state for x: No such file or directory\n").unwrap(),
            "not-found"
        );
        assert_eq!(word_in("Failed to connect to bus\n"), None);
        let settings = settings_in("DropInPaths=/a /b\nProtectSystem=\n").unwrap();
        assert_eq!(settings["DropInPaths"], "/a /b");
        assert_eq!(settings["ProtectSystem"], "");
        assert_eq!(settings_in("Failed to connect to bus\n"), None);
        assert_eq!(
            synchronized_in("  RTC time: x\n  NTP synchronized: no\n"),
            Some(false)
        );
        assert_eq!(
            synchronized_in("System clock synchronized: yes\n"),
            Some(true)
        );
        assert_eq!(synchronized_in("Failed to query server\n"), None);
    }
}
