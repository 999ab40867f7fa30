//! The settings in force, as files: published in the runtime directory for the programs that systemd
//! starts, and kept in the state directory for a start with a configuration that can't be used. Whoever
//! may read the configuration may read them. What puts settings in force is the service; what it falls
//! back on is decided in [`super::startup`].

use std::io;
use std::path::Path;

use crate::config::{Settings, Source, parse, read};
use crate::sys::host::machine_id;
use crate::sys::small_file::{self, Durability, Rights, replace_with};

/// The name of what is published, in the runtime directory.
const PUBLISHED: &str = "in-force.toml";

/// The name of what is kept, in the state directory.
const KEPT: &str = "last-in-force.toml";

/// Begins the line that says on which machine it was in force (machine-id(5)).
const MACHINE: &str = "# machine-id: ";

/// Settings in force, in the form of their files.
#[derive(Debug)]
pub struct EffectiveConfig {
    text: String,
    rights: Rights,
    is_to_be_kept: bool,
}

impl EffectiveConfig {
    /// Of the settings that come from `source`, which is, if it is a file, the one at `file`.
    ///
    /// # Errors
    /// Never for settings that came from a file; the serializer's signature asks for it.
    pub fn new(
        settings: &Settings,
        source: &Source,
        file: &Path,
        state_dir: &Path,
    ) -> io::Result<Self> {
        let rights = match source {
            Source::File(_) => Rights::of_reachable(file),
            Source::LastInForce => Rights::of(&state_dir.join(KEPT)),
            Source::BuiltIn | Source::BuiltInInstead => Ok(Rights::PUBLIC),
        };
        // Of one that is gone by now nobody knows whom it was for.
        let rights = rights.unwrap_or(Rights::PRIVATE);
        Ok(Self {
            text: settings.to_short_toml().map_err(io::Error::other)?,
            rights,
            is_to_be_kept: matches!(source, Source::File(_) | Source::BuiltIn),
        })
    }

    /// Publishes it in `runtime_dir`.
    ///
    /// # Errors
    /// When it can't be written; what was published before is still there.
    pub fn publish(&self, runtime_dir: &Path) -> io::Result<()> {
        let text = self.text.as_bytes();
        replace_with(
            runtime_dir,
            PUBLISHED,
            text,
            self.rights,
            Durability::Cached,
        )
    }

    /// Keeps it in `state_dir`, unless it is there already, or is itself what the service has fallen
    /// back on.
    ///
    /// # Errors
    /// When it can't be written; what was kept before is still there.
    pub fn keep(&self, state_dir: &Path) -> io::Result<()> {
        if !self.is_to_be_kept {
            return Ok(());
        }
        let text = format!("{MACHINE}{}\n{}", machine_id(), self.text);
        let before = small_file::read(state_dir, KEPT).ok().flatten();
        let rights = Rights::of(&state_dir.join(KEPT));
        let is_same = rights.is_ok_and(|rights| rights.are_as_wide_as(self.rights));
        if is_same && before.as_deref() == Some(text.as_bytes()) {
            return Ok(());
        }
        std::fs::create_dir_all(state_dir)?;
        let text = text.as_bytes();
        replace_with(state_dir, KEPT, text, self.rights, Durability::Synced)
    }
}

/// Reads what was last published in `runtime_dir`; `None` unless it is there and good.
#[must_use]
pub fn published(runtime_dir: &Path) -> Option<(Settings, Source)> {
    let file = runtime_dir.join(PUBLISHED);
    let settings = parse(&read(&file).ok()?, &file).ok()?;
    Some((settings, Source::File(file)))
}

/// Reads what was last kept in `state_dir` on this machine; `None` unless it is there and good.
#[must_use]
pub fn kept(state_dir: &Path) -> Option<Settings> {
    let file = state_dir.join(KEPT);
    let text = read(&file).ok()?;
    let machine = text.lines().next()?.strip_prefix(MACHINE)?;
    if machine == machine_id() {
        parse(&text, &file).ok()
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::config::DEFAULT_TEXT;

    fn default_settings() -> Settings {
        parse(DEFAULT_TEXT, Path::new("default.toml")).unwrap()
    }

    fn of(source: &Source) -> EffectiveConfig {
        let file = match source {
            Source::File(file) => file,
            _ => Path::new("/nonexistent"),
        };
        let state_dir = Path::new("/nonexistent");
        EffectiveConfig::new(&default_settings(), source, file, state_dir).unwrap()
    }

    #[test]
    fn what_is_published_is_read_again() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(published(directory.path()), None);
        of(&Source::BuiltIn).publish(directory.path()).unwrap();
        assert_eq!(published(directory.path()).unwrap().0, default_settings());
    }

    #[test]
    fn what_is_broken_is_as_good_as_nothing() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(PUBLISHED), "interval =").unwrap();
        assert_eq!(published(directory.path()), None);
        let machine = format!("{MACHINE}{}\ninterval =", machine_id());
        fs::write(directory.path().join(KEPT), machine).unwrap();
        assert_eq!(kept(directory.path()), None);
    }

    #[test]
    fn what_was_in_force_is_kept_and_what_took_its_place_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("state");
        for instead in [Source::LastInForce, Source::BuiltInInstead] {
            of(&instead).keep(&state).unwrap();
            assert!(!state.exists());
        }
        of(&Source::BuiltIn).keep(&state).unwrap();
        assert_eq!(kept(&state), Some(default_settings()));
        let kept_file = state.join(KEPT);
        let text = fs::read_to_string(&kept_file).unwrap();
        let elsewhere = text.replacen(&machine_id(), "0123456789abcdef0123456789abcdef", 1);
        fs::write(&kept_file, elsewhere).unwrap();
        assert_eq!(kept(&state), None, "it was in force on another machine");
    }

    #[test]
    fn whoever_may_read_the_configuration_may_read_it() {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let config = directory.path().join("config.toml");
        fs::write(&config, DEFAULT_TEXT).unwrap();
        let mode = |name: &str| {
            let metadata = fs::metadata(directory.path().join(name)).unwrap();
            metadata.permissions().mode() & 0o777
        };
        for expected in [0o600, 0o640, 0o644, 0o600] {
            fs::set_permissions(&config, fs::Permissions::from_mode(expected)).unwrap();
            let effective = of(&Source::File(config.clone()));
            effective.publish(directory.path()).unwrap();
            effective.keep(directory.path()).unwrap();
            assert_eq!((mode(PUBLISHED), mode(KEPT)), (expected, expected));
        }
    }
}
