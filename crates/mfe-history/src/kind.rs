//! The kinds of events that there are, with the names and ids by which the journal and whoever reads it know them.

/// A kind of event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The service has begun.
    Startup,
    /// The service ends.
    Shutdown,
    /// A new configuration is in force.
    Reloaded,
    /// A new configuration was refused; the old one stays in force.
    ReloadFailed,
    /// The configuration can't be used, and another one is in force in its place.
    ConfigFallback,
    /// The script that this service replaces is still started at boot.
    LegacyWatcher,
    /// A program that the service runs could be changed by somebody other than root.
    UnsafeCommand,
    /// Something about the service itself doesn't work, though supervision goes on.
    Degraded,
    /// What was degraded works again.
    Restored,
    /// A hook couldn't be run, failed, or was given more than it could take.
    HookFailed,
    /// A process runs.
    Up,
    /// A process runs that somebody else started.
    Adopted,
    /// A process is gone.
    Down,
    /// A process waits for somebody at the screen.
    Waiting,
    /// A process is being started.
    Starting,
    /// A process is back.
    Restarted,
    /// A process couldn't be started.
    StartFailed,
    /// A process keeps crashing.
    CrashLoop,
    /// A process lives, but is unhealthy.
    Unhealthy,
    /// A living process was made to end by the service.
    Killed,
    /// A process that was to end can't be killed.
    Stuck,
    /// What was wrong with a process is over.
    Recovered,
    /// A process has the name, but isn't the program that is meant.
    Impostor,
    /// What runs is nearly the program: it isn't ended, and nothing is started beside it.
    Misfit,
    /// A process has another name, program or arguments than before.
    Renamed,
    /// The main process of a program has died, and its children go on.
    MainEnded,
    /// A process runs more than once.
    Duplicate,
    /// The service would have done something, but for `dry_run`.
    DryRun,
    /// A process is left alone for a while, because somebody wanted it.
    Paused,
    /// A process is resumed.
    Resumed,
    /// It is unknown whether a process is running.
    Unknown,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 31] = [
        Self::Startup,
        Self::Shutdown,
        Self::Reloaded,
        Self::ReloadFailed,
        Self::ConfigFallback,
        Self::LegacyWatcher,
        Self::UnsafeCommand,
        Self::Degraded,
        Self::Restored,
        Self::HookFailed,
        Self::Up,
        Self::Adopted,
        Self::Down,
        Self::Waiting,
        Self::Starting,
        Self::Restarted,
        Self::StartFailed,
        Self::CrashLoop,
        Self::Unhealthy,
        Self::Killed,
        Self::Stuck,
        Self::Recovered,
        Self::Impostor,
        Self::Misfit,
        Self::Renamed,
        Self::MainEnded,
        Self::Duplicate,
        Self::DryRun,
        Self::Paused,
        Self::Resumed,
        Self::Unknown,
    ];

    /// The kind of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Its name, the value of `MFE_EVENT`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.entry().0
    }

    /// Its `MESSAGE_ID` (`sd-id128(3)`), the same for ever.
    #[must_use]
    pub fn message_id(self) -> &'static str {
        self.entry().1
    }

    fn entry(self) -> (&'static str, &'static str) {
        match self {
            Self::Startup => ("startup", "614247e714bd4494ac390b56b48b16b6"),
            Self::Shutdown => ("shutdown", "5ee99d69543b4988a4d73642c9c62067"),
            Self::Reloaded => ("reloaded", "2f61a6f5d4bb414997a847bfeba531a2"),
            Self::ReloadFailed => ("reload_failed", "f6e24796b34a4f38837fddbdcdb962e0"),
            Self::ConfigFallback => ("config_fallback", "707131c9efdf469dae783ef4f2b8dc01"),
            Self::LegacyWatcher => ("legacy_watcher", "a63ec9c81f564b378cc45138701db95a"),
            Self::UnsafeCommand => ("unsafe_command", "e330a7b7d8cc4c6ebf7d37b163f49724"),
            Self::Degraded => ("degraded", "b6c00e465f82428aa69a322a3107b33d"),
            Self::Restored => ("restored", "3e5215ff2c96468eac6a4f6cb8fe8fde"),
            Self::HookFailed => ("hook_failed", "632755c525124b829a278447cfcf6fee"),
            Self::Up => ("up", "5db11d844e1a4cd693473ad33378d9d2"),
            Self::Adopted => ("adopted", "bb41da226d2c48a1a5708c22afac065f"),
            Self::Down => ("down", "916f5179aff047be88f666177ee0fb02"),
            Self::Waiting => ("waiting", "9dc955e4aafa4f68ae68a21fb1a2e12d"),
            Self::Starting => ("starting", "9f741005b2db4556b225b684aa43bcc4"),
            Self::Restarted => ("restarted", "1439a30c18f24f51a2de30e97d823636"),
            Self::StartFailed => ("start_failed", "244e294d88794f1cbfb59d96032ff91a"),
            Self::CrashLoop => ("crash_loop", "a23a593adc804a638a73d161701f0b31"),
            Self::Unhealthy => ("unhealthy", "83c6ac6f6d1a4d1aaf87e19c2cd910db"),
            Self::Killed => ("killed", "7042c46e31cc4824a9a2b9e4b087ee2d"),
            Self::Stuck => ("stuck", "31829a8dd9b94a7e9fe17ca75a173d25"),
            Self::Recovered => ("recovered", "edcc55cf389e46809ceb1647c10cc4f8"),
            Self::Impostor => ("impostor", "e31617220e5e47dea2f23e58262c05ac"),
            Self::Misfit => ("misfit", "b03aed113ea5412b3057b954e17337fc"),
            Self::Renamed => ("renamed", "8f0a08c5da2aff097efd622307e03830"),
            Self::MainEnded => ("main_ended", "0b976600800e95bdc677e17bf53a3216"),
            Self::Duplicate => ("duplicate", "118a0ac07775477fa580b1eaf60bfa98"),
            Self::DryRun => ("dry_run", "096f14ee97514c2589d7acf949eeaeb7"),
            Self::Paused => ("paused", "fe72b0894b1d475ebfe1d8e8f8eb2a3d"),
            Self::Resumed => ("resumed", "1bd964b429df4e26909d85fab8687706"),
            Self::Unknown => ("unknown", "c0c6bbcfc3f84a25986a08fd5148fb2a"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_by_its_name() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_name(kind.name()), Some(kind));
        }
        assert_eq!(Kind::from_name("Restarted"), None);
    }
}
