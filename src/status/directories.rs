//! Where the service keeps what it publishes, and what it remembers.

use std::env;
use std::path::{Path, PathBuf};

/// Where the till's own service publishes, which systemd makes for it.
pub const RUNTIME_DIR: &str = "/run/mfe-watchdog";

/// Where it keeps what it remembers, which outlives stops, upgrades and reboots.
pub const STATE_DIR: &str = "/var/lib/mfe-watchdog";

/// The directories of one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directories {
    /// What it publishes: status, settings, lock, control socket.
    pub runtime: PathBuf,
    /// What it remembers; the runtime directory itself where nobody says otherwise and that isn't the
    /// usual one.
    pub state: PathBuf,
}

impl Directories {
    /// Those of the till's own service.
    #[must_use]
    pub fn usual() -> Self {
        Self {
            runtime: RUNTIME_DIR.into(),
            state: STATE_DIR.into(),
        }
    }

    /// Those that somebody has named, else those that systemd has made for this service, else the usual
    /// ones.
    #[must_use]
    pub fn new(runtime: Option<PathBuf>, state: Option<PathBuf>) -> Self {
        let runtime = runtime
            .or_else(|| made_by_systemd("RUNTIME_DIRECTORY"))
            .unwrap_or_else(|| RUNTIME_DIR.into());
        let state = state.or_else(|| made_by_systemd("STATE_DIRECTORY"));
        let state = state.unwrap_or_else(|| {
            if runtime == Path::new(RUNTIME_DIR) {
                STATE_DIR.into()
            } else {
                runtime.clone()
            }
        });
        Self { runtime, state }
    }

    /// Whether these are the till's own service's, however they are written.
    #[must_use]
    pub fn are_usual(&self) -> bool {
        let usual = Path::new(RUNTIME_DIR);
        let real = |path: &Path| path.canonicalize().ok();
        self.runtime == usual
            || real(&self.runtime).is_some_and(|path| real(usual).as_deref() == Some(&path))
    }
}

/// The first of the directories in a variable of systemd's: several are separated by colons
/// (systemd.exec(5)).
fn made_by_systemd(variable: &str) -> Option<PathBuf> {
    let directories = env::var(variable).ok()?;
    let first = directories.split(':').next().map(PathBuf::from);
    first.filter(|directory| directory.is_absolute())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_lasts_only_beside_the_usual_place() {
        let new = |runtime: Option<&str>, state: Option<&str>| {
            let directories =
                Directories::new(runtime.map(PathBuf::from), state.map(PathBuf::from));
            (directories.runtime, directories.state)
        };
        let paths = |runtime: &str, state: &str| (PathBuf::from(runtime), PathBuf::from(state));
        assert_eq!(new(Some("/a"), Some("/b")), paths("/a", "/b"));
        assert_eq!(new(Some("/a"), None), paths("/a", "/a"));
        assert_eq!(
            new(Some("/run/mfe-watchdog"), None),
            paths("/run/mfe-watchdog", "/var/lib/mfe-watchdog")
        );
    }

    #[test]
    fn the_usual_ones_are_known_by_any_name() {
        let are_usual = |runtime: &str| Directories::new(Some(runtime.into()), None).are_usual();
        assert!(Directories::usual().are_usual());
        assert!(are_usual("/run/mfe-watchdog/"));
        assert!(!are_usual("/run/mfe-watchdog-demo"));
    }
}
