//! Whether the configuration is good; what it says is judged by others.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use mfe_common::escape::{printable, shell_word};
use rust_i18n::t;

use super::program::tell_exposure;
use super::root::View;
use super::{Examination, Machine};
use crate::config::{self, DEFAULT_PATH, Settings};
use crate::sys::path_trust::Exposure;

/// A good configuration.
pub(super) struct Config {
    pub(super) settings: Settings,
    /// Where it is, or would be, on the machine.
    file: PathBuf,
}

impl Config {
    /// What a person types to change it and have the change in force.
    pub(super) fn edit(&self) -> String {
        format!("{} && sudo systemctl reload mfe-watchdog", edit(&self.file))
    }
}

fn edit(file: &Path) -> String {
    format!("sudo nano {}", shell_word(&file.display().to_string()))
}

/// Gives the configuration for the other areas to go by, if it is good.
pub(super) fn examine(
    machine: &Machine,
    view: &mut View<'_>,
    found: &mut Examination,
) -> Option<Config> {
    let default = view.at(Path::new(DEFAULT_PATH));
    let file = machine.config.clone();
    let file = file.unwrap_or_else(|| PathBuf::from(DEFAULT_PATH));
    let read = machine.config.as_deref().unwrap_or(&default);
    if let Some(exposure) = Exposure::of_file(read, machine.service_user) {
        tell_exposure(&exposure, Vec::new(), found, |paths| {
            t!("doctor.others_can_change_config", paths = paths).into_owned()
        });
    }
    if let Err(error) = fs::File::open(read) {
        if error.kind() == ErrorKind::PermissionDenied {
            view.cannot_see(&file, &error);
            return None;
        }
    }
    match config::load_or(machine.config.as_deref(), &default) {
        Ok((settings, _)) => Some(Config { settings, file }),
        Err(error) => {
            for problem in error.translated_lines() {
                found.find("config", printable(&problem), edit(&file));
            }
            found.note(t!("doctor.config_first"));
            None
        }
    }
}
