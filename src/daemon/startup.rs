//! What the service begins with, and whether it may: the configuration in the file, or in the place of
//! one that can't be used what was last in force, so that no mistake leaves a till unwatched; and no
//! watchdog beside another one. Reading a configuration is done in [`crate::config`].

use std::path::Path;

use mfe_common::escape::list;

use super::{Options, effective_config};
use crate::config::{
    self, ConfigError, DEFAULT_PATH, DEFAULT_TEXT, ProcessSettings, Salvage, Settings, Source,
    parse,
};
use crate::status::ConfigFallback;
use crate::status::directories::{Directories, RUNTIME_DIR};
use crate::status::service::Service;
use crate::text::phrase::{Phrase, phrase};

/// More commands that aren't run aren't told of in a status.
const REFUSED_SHOWN: usize = 3;

/// What the service begins with.
#[derive(Debug)]
pub struct Start {
    /// The settings.
    pub settings: Settings,
    /// Where they come from.
    pub source: Source,
    /// Why they aren't those in the file, if that can't be used.
    pub fallback: Option<ConfigFallback>,
}

/// Reads the settings from `config`, or from where they are by default. In the place of a file there that
/// can't be used come those that were last in force on this machine, and where none ever were, and the
/// file names no processes of its own, the built-in ones.
///
/// # Errors
/// Everything that is wrong with a file that was named, or that nothing can stand in for.
pub fn settings(config: Option<&Path>, directories: &Directories) -> Result<Start, ConfigError> {
    settings_or(config, Path::new(DEFAULT_PATH), directories)
}

fn settings_or(
    config: Option<&Path>,
    default: &Path,
    directories: &Directories,
) -> Result<Start, ConfigError> {
    match config::load_or(config, default) {
        Ok((settings, source)) => Ok(Start {
            settings,
            source,
            fallback: None,
        }),
        Err(refused) if config.is_some() => Err(refused),
        Err(refused) => {
            let salvage = Salvage::read(default);
            match last_or_built_in(salvage, directories) {
                Some((settings, source)) => Ok(fall_back(&refused, salvage, settings, source)),
                None => Err(refused),
            }
        }
    }
}

fn last_or_built_in(
    salvage: Option<Salvage>,
    directories: &Directories,
) -> Option<(Settings, Source)> {
    // An earlier version has kept it nowhere else.
    let published = || effective_config::published(&directories.runtime);
    let last = effective_config::kept(&directories.state);
    if let Some(last) = last.or_else(|| published().map(|(settings, _)| settings)) {
        return Some((last, Source::LastInForce));
    }
    // Of what can't be read at all it isn't known what it names.
    if salvage?.names_processes {
        return None;
    }
    let built_in = parse(DEFAULT_TEXT, Path::new(DEFAULT_PATH)).ok()?;
    Some((built_in, Source::BuiltInInstead))
}

/// Settings in place of those that were refused. What the file says of restraint holds, as far as it can
/// be read, and a command that is refused as unsafe stays refused.
fn fall_back(
    refused: &ConfigError,
    salvage: Option<Salvage>,
    mut settings: Settings,
    source: Source,
) -> Start {
    let mut wording = refused.summary();
    wording.push(match source {
        Source::BuiltInInstead => phrase!(
            "until that is corrected and reloaded the built-in configuration is in force, as none was \
             before"
        ),
        _ => phrase!(
            "until that is corrected and reloaded the last configuration that was in force stays in \
             force"
        ),
    });
    if salvage.is_some_and(|salvage| salvage.is_dry_run) {
        settings.hold_still();
        wording.push(phrase!(
            "dry_run = true in the file applies: nothing is started"
        ));
    }
    settings.refuse_unsafe_commands |=
        salvage.is_some_and(|salvage| salvage.refuses_unsafe_commands);
    if settings.refuse_unsafe_commands {
        let affected = settings.refuse_unsafe();
        let affected = affected.into_iter().take(REFUSED_SHOWN);
        wording.extend(affected.map(|(key, warning)| {
            phrase!("%{key} isn't run: %{warning}", key = key, warning = warning)
        }));
    }
    let sentences: Vec<String> = wording.iter().map(Phrase::to_string).collect();
    let detail = sentences.join("; ");
    Start {
        settings,
        source,
        fallback: Some(ConfigFallback { detail, wording }),
    }
}

/// Refuses to watch a program that the till's own service watches: two watchdogs of one program start it
/// twice.
///
/// # Errors
/// When that service runs and watches one of them, or can't be asked, unless `options` say not to care.
pub(super) fn refuse_rival(options: &Options, settings: &Settings) -> Result<(), Phrase> {
    if options.is_alone || options.directories.are_usual() {
        return Ok(());
    }
    let service = Service::find(&Directories::usual());
    let Some(pid) = service.pid() else {
        return Ok(());
    };
    let Service::Published(status) = service else {
        return Err(phrase!(
            "the service (pid %{pid}) is running, but %{directory} doesn't say which programs it watches; \
             try again, or run with --alone",
            pid = pid.to_string(),
            directory = RUNTIME_DIR
        ));
    };
    let watched = |name: &str| {
        let mut processes = status.processes.iter();
        processes.any(|process| process.name == name)
    };
    let names = settings.processes.iter().map(ProcessSettings::name);
    let names: Vec<_> = names.filter(|name| watched(name.as_str())).collect();
    if names.is_empty() {
        Ok(())
    } else {
        Err(phrase!(
            "the service (pid %{pid}) watches %{names} already, and two watchdogs would start the same \
             program twice; watch others, or run with --alone",
            pid = pid.to_string(),
            names = list(names)
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    use tempfile::TempDir;

    use super::*;
    use crate::daemon::effective_config::EffectiveConfig;

    /// A machine, with a configuration file and what was in force before.
    struct Bench {
        directory: TempDir,
    }

    impl Bench {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            Self { directory }
        }

        fn config(&self) -> PathBuf {
            self.directory.path().join("config.toml")
        }

        fn directories(&self) -> Directories {
            let path = |name: &str| self.directory.path().join(name);
            fs::create_dir_all(path("run")).unwrap();
            Directories {
                runtime: path("run"),
                state: path("state"),
            }
        }

        fn was_in_force(&self, text: &str) {
            let file = self.config();
            fs::write(&file, text).unwrap();
            let settings = parse(text, &file).unwrap();
            let state = self.directories().state;
            let source = Source::File(file.clone());
            let effective = EffectiveConfig::new(&settings, &source, &file, &state).unwrap();
            effective.keep(&state).unwrap();
        }

        fn start(&self, text: &str) -> Result<Start, ConfigError> {
            fs::write(self.config(), text).unwrap();
            settings_or(None, &self.config(), &self.directories())
        }
    }

    const WATCHED: &str = "[process.a]\nname = \"A\"\ncommand = [\"/bin/true\"]\n";

    #[test]
    fn a_good_file_is_in_force() {
        let start = Bench::new().start(WATCHED).unwrap();
        assert!(start.fallback.is_none());
        assert!(matches!(start.source, Source::File(_)));
    }

    #[test]
    fn what_was_in_force_stays_in_force_and_the_line_is_named() {
        let bench = Bench::new();
        bench.was_in_force(&format!("interval = \"7s\"\n{WATCHED}"));
        let text = "\ninterval = \"soon\"\n[process.b]\nname = 3\nx = 1\ny = 2\n";
        let start = bench.start(text).unwrap();
        assert_eq!(start.source, Source::LastInForce);
        assert_eq!(start.settings.policy.interval.as_secs(), 7);
        assert_eq!(start.settings.processes[0].key, "a");
        let detail = start.fallback.unwrap().detail;
        let place = format!("{}:2: interval: must be", bench.config().display());
        assert!(detail.starts_with(&place), "{detail}");
        assert!(
            detail.contains("; 2 more problems; until that is corrected"),
            "{detail}"
        );
    }

    #[test]
    fn a_file_that_was_named_has_to_be_good() {
        let bench = Bench::new();
        bench.was_in_force(WATCHED);
        fs::write(bench.config(), "interval =").unwrap();
        let named = settings(Some(&bench.config()), &bench.directories());
        assert!(named.is_err());
    }

    #[test]
    fn the_built_in_one_stands_in_only_where_nothing_else_was_meant() {
        let bench = Bench::new();
        let start = bench.start("interval = \"soon\"\n").unwrap();
        assert_eq!(start.source, Source::BuiltInInstead);
        let keys: Vec<_> = start
            .settings
            .processes
            .iter()
            .map(|one| &one.key)
            .collect();
        assert_eq!(keys, ["comunicador", "monitor"]);
        for text in ["interval = \"soon\"\n[process.mine]\n", "[process"] {
            assert!(bench.start(text).is_err(), "{text}");
        }
        fs::remove_file(bench.config()).unwrap();
        fs::create_dir(bench.config()).unwrap();
        let unreadable = settings_or(None, &bench.config(), &bench.directories());
        assert!(unreadable.is_err(), "nobody knows what it names");
    }

    #[test]
    fn what_an_earlier_version_has_published_counts_too() {
        let bench = Bench::new();
        let file = bench.directories().runtime.join("in-force.toml");
        fs::write(file, WATCHED).unwrap();
        let start = bench.start("[process").unwrap();
        assert_eq!(start.source, Source::LastInForce);
    }

    #[test]
    fn a_dry_run_holds_though_the_rest_cannot_be_read() {
        let bench = Bench::new();
        bench.was_in_force(&format!("{WATCHED}dry_run = false\n"));
        let start = bench.start("dry_run = true\ninterval = \n[[[").unwrap();
        assert!(start.settings.policy.dry_run);
        assert!(start.settings.processes[0].policy.dry_run);
        let detail = start.fallback.unwrap().detail;
        assert!(
            detail.contains("dry_run = true in the file applies"),
            "{detail}"
        );
        let start = bench.start("dry_run = false\ninterval = \n").unwrap();
        assert!(!start.settings.processes[0].policy.dry_run);
    }

    #[test]
    fn what_is_refused_as_unsafe_stays_refused() {
        let bench = Bench::new();
        let open = bench.directory.path().join("open.sh");
        fs::write(&open, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
        let open = open.display();
        let text = format!(
            "{WATCHED}[[process.a.check]]\nkind = \"command\"\ncommand = [\"{open}\"]\n\
             [[process.a.check]]\nkind = \"age\"\nmax = \"7d\"\n\
             [process.b]\nname = \"B\"\ncommand = [\"{open}\"]\n\
             [[hook]]\non = [\"up\"]\ncommand = [\"{open}\"]\n\
             [[hook]]\non = [\"down\"]\ncommand = [\"/bin/true\"]\n"
        );
        bench.was_in_force(&text);
        let refusing = format!("refuse_unsafe_commands = true\n{text}");
        let start = bench.start(&refusing).unwrap();
        let [a, b] = start.settings.processes.as_slice() else {
            panic!("{start:?}");
        };
        assert!(
            !a.policy.dry_run && b.policy.dry_run,
            "b is watched, and not started"
        );
        assert_eq!(a.checks.len(), 1);
        assert_eq!(start.settings.hooks.len(), 1);
        let detail = start.fallback.unwrap().detail;
        assert!(detail.contains("process.b.command isn't run: "), "{detail}");
    }
}
