//! Whether what the service starts is there: the vendor's driver, as far as it can be told from
//! outside, and any other command.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use mfe_common::escape::{list, printable};
use rust_i18n::t;

use super::Examination;
use super::root::View;
use crate::config::{Settings, Start};
use crate::proc::Running;

/// Everything of the vendor's is below it.
const VENDOR: &str = "/opt/sefaz";

/// Belongs to every version of the driver.
const LIBRARY: &str = "/opt/sefaz/drs/libmfe.so";

pub(super) fn examine(
    settings: &Settings,
    view: &mut View<'_>,
    running: &[Running],
    found: &mut Examination,
) {
    let commands: BTreeSet<&Path> = settings
        .commands()
        .map(|(_, program)| Path::new(program))
        .collect();
    let (vendors, others): (Vec<&Path>, Vec<&Path>) = commands
        .into_iter()
        .partition(|path| path.starts_with(VENDOR));
    if !vendors.is_empty() {
        examine_driver(&vendors, settings, view, running, found);
    }
    for path in others.into_iter().filter(|path| !is_there(view, path)) {
        let path = printable(&path.display().to_string());
        found.find_without_command(
            "command-missing",
            t!("doctor.command_missing", program = path),
        );
    }
}

fn examine_driver(
    commands: &[&Path],
    settings: &Settings,
    view: &mut View<'_>,
    running: &[Running],
    found: &mut Examination,
) {
    let folders: BTreeSet<&Path> = commands.iter().filter_map(|path| path.parent()).collect();
    let is_any = folders.iter().any(|folder| view.metadata(folder).is_some());
    if !is_any {
        let folders = folders.iter().map(|folder| folder.display().to_string());
        let folders = printable(&list(folders));
        let text = t!("doctor.driver_missing", folders = folders);
        found.find_without_command("driver-missing", text);
        return;
    }
    let mut wanted: BTreeSet<PathBuf> = commands.iter().map(|path| path.to_path_buf()).collect();
    wanted.insert(LIBRARY.into());
    wanted.extend(programs(settings, running));
    let missing = wanted.into_iter().filter(|path| !is_there(view, path));
    let missing: Vec<_> = missing
        .map(|path| printable(&path.display().to_string()))
        .collect();
    if !missing.is_empty() {
        let text = t!("doctor.driver_incomplete", files = list(missing));
        found.find_without_command("driver-incomplete", text);
    }
}

/// The programs that the vendor's scripts start, where they are likely to be: beside the script, by
/// the name of the process. Of one that runs it is nobody's business where it is, and one that is told
/// by its `exe` or its arguments need not have the name.
fn programs(settings: &Settings, running: &[Running]) -> Vec<PathBuf> {
    let programs = settings.processes.iter().filter_map(|process| {
        let Start::Command(command) = &process.start else {
            return None;
        };
        let script = Path::new(command.first()?);
        let target = &process.target;
        let runs = |one: &Running| one.comm.as_bytes() == target.name.comm();
        let is_known_otherwise = target.exe.is_some() || target.cmdline.is_some();
        if !script.starts_with(VENDOR) || is_known_otherwise || running.iter().any(runs) {
            return None;
        }
        Some(script.with_file_name(target.name.as_str()))
    });
    programs.collect()
}

/// Whether there is such a file with something in it, as far as one may look.
fn is_there(view: &mut View<'_>, path: &Path) -> bool {
    match fs::metadata(view.at(path)) {
        Ok(metadata) => metadata.is_file() && metadata.len() > 0,
        Err(error) => {
            let is_absent = matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory);
            if !is_absent {
                view.cannot_see(path, &error);
            }
            !is_absent
        }
    }
}
