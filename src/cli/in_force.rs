//! What `status` says of the service itself besides that it runs: which version, by which configuration, and
//! whether that is the one in the file. What whoever asks may not read is left out.

use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;

use mfe_common::escape::printable;
use rust_i18n::t;

use crate::config::{self, DEFAULT_PATH, Settings, Source};
use crate::daemon::effective_config;
use crate::status::Status;
use crate::status::directories::Directories;
use crate::status::service::Record;
use crate::text::wrap::Paragraph;

/// This program's.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What the service goes by.
#[derive(Debug)]
pub(super) struct InForce {
    record: Option<Record>,
    settings: Option<Settings>,
    has_fallback: bool,
}

impl InForce {
    /// Of the service that has published a status in some directories.
    pub(super) fn of(directories: &Directories, status: &Status) -> Self {
        let is_its = |record: &Record| u32::try_from(record.pid) == Ok(status.pid);
        Self {
            record: Record::read(&directories.state).filter(is_its),
            settings: effective_config::published(&directories.runtime)
                .map(|(settings, _)| settings),
            has_fallback: status.config_fallback.is_some(),
        }
    }

    /// The names of the programs that are only watched.
    pub(super) fn in_dry_run(&self, status: &Status) -> Vec<String> {
        let settings = self.settings.iter();
        let processes = settings.flat_map(|settings| &settings.processes);
        let dry = processes.filter(|process| process.policy.dry_run);
        let names = dry.filter_map(|process| {
            let mut shown = status.processes.iter();
            shown.find(|shown| shown.key == process.key)
        });
        names.map(|process| printable(&process.name)).collect()
    }

    /// The version and the configuration, and what is to be done about that if it isn't the file's.
    pub(super) fn lines(&self) -> String {
        let Some(record) = &self.record else {
            return String::new();
        };
        let file = record.config.as_deref();
        let mut lines = vec![self.version(record, file)];
        // What is in force in place of a bad file is said with the reason.
        if !self.has_fallback && may_be_read(file.unwrap_or(Path::new(DEFAULT_PATH))) {
            match (config::load(file), &self.settings) {
                (Err(_), _) => lines.push(t!("status.config_bad").into_owned()),
                (Ok((there, _)), Some(settings)) if there != *settings => {
                    lines.push(t!("status.config_changed").into_owned());
                }
                _ => {}
            }
        }
        let lines = lines
            .iter()
            .map(|line| Paragraph::of_text(line).to_string());
        lines.map(|line| line + "\n").collect()
    }

    fn version(&self, record: &Record, file: Option<&Path>) -> String {
        let Some(version) = record.version.as_deref().map(printable) else {
            return t!("status.version_earlier", version = VERSION).into_owned();
        };
        if self.has_fallback {
            return t!("status.version_only", version = version).into_owned();
        }
        let source = match config::source(file) {
            Source::File(file) => {
                let file = printable(&file.display().to_string());
                t!("status.source_file", file = file)
            }
            _ => t!("status.source_built_in"),
        };
        t!("status.version", version = version, source = source).into_owned()
    }
}

/// Whether whoever asks may read a file, if it is there.
fn may_be_read(file: &Path) -> bool {
    !File::open(file).is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
}
