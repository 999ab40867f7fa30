//! Whether a program that belongs on the screen can come back there: the autostart entries, logind, and what
//! root's run of it has left. Where a program belongs is said by [`crate::start::Placement`], who is at the
//! screen by [`crate::session`].

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use mfe_common::escape::{list, printable, shell_word};
use rust_i18n::t;

use super::Examination;
use super::config::Config;
use super::root::View;
use crate::config::{ProcessSettings, SessionMode, Start};
use crate::proc::ProcessTable;
use crate::session::{Found, Screen};
use crate::start::{Placement, autostart_entry};
use crate::sys::user::name_of;

/// How the names of files end that a program writes to, or locks.
const WRITTEN: [&str; 4] = [".log", ".lock", ".lck", ".pid"];

/// No more files than these are looked at.
const FILES_MAX: usize = 2000;

/// Who may write to a file besides its owner and its group (inode(7)).
const OTHERS_WRITE: u32 = 0o002;

pub(super) fn examine(config: &Config, view: &mut View<'_>, found: &mut Examination) {
    let root = view.at(Path::new("/"));
    for process in &config.settings.processes {
        let placement = Placement::of(&root, process);
        if process.session == SessionMode::None {
            is_outside(&root, process, config, found);
        } else if placement.is_graphical() {
            if placement.entry.is_none() {
                let text = t!("doctor.autostart_missing", name = process.name());
                found.find_without_command("autostart-missing", text);
            }
            belongs_there(&root, process, view, found);
        }
    }
}

/// Every session starts it, and the service knows nothing of that.
fn is_outside(root: &Path, process: &ProcessSettings, config: &Config, found: &mut Examination) {
    let entry = match &process.start {
        Start::Command(_) => autostart_entry(root, process),
        Start::Unit(_) => None,
    };
    if let Some(entry) = entry {
        let entry = printable(&entry.display().to_string());
        let (key, name) = (&process.key, process.name());
        let text = t!(
            "doctor.gui_outside_session",
            entry = entry,
            name = name,
            key = key
        );
        found.find("gui-outside-session", text, config.edit());
    }
}

fn belongs_there(
    root: &Path,
    process: &ProcessSettings,
    view: &mut View<'_>,
    found: &mut Examination,
) {
    let name = process.name();
    let screen = Screen::look(root, process, None);
    let sitting = match &screen.found {
        Found::Session(chosen) if chosen.is_known => Some(chosen.uid),
        Found::Nobody => None,
        Found::Session(_) | Found::Unclear => {
            let text = t!("doctor.no_logind", name = name);
            found.find("no-logind", text, "sudo apt install libpam-systemd");
            None
        }
    };
    if sitting == Some(0) {
        return;
    }
    // What can't be looked at is noted by who counts the copies.
    let sighting = ProcessTable::new(view.at(Path::new("/proc"))).look(&process.target);
    let alive = sighting.unwrap_or_default().alive.into_iter();
    let roots = alive.filter(|alive| alive.uid == Some(0));
    let pids: Vec<String> = roots.map(|alive| alive.id.pid.to_string()).collect();
    if !pids.is_empty() {
        let text = t!("doctor.runs_as_root", name = name, pids = list(&pids));
        found.find(
            "runs-as-root",
            text,
            format!("sudo kill {}", pids.join(" ")),
        );
    }
    if let Some(uid) = sitting {
        let files = left_by_root(process, uid, view);
        if let Some(first) = files.first() {
            let user = name_of(uid).unwrap_or_else(|| uid.to_string());
            let words = files
                .iter()
                .map(|file| shell_word(&file.display().to_string()));
            let command = format!(
                "sudo chown {} {}",
                shell_word(&user),
                words.collect::<Vec<_>>().join(" ")
            );
            let first = printable(&first.display().to_string());
            let text = t!(
                "doctor.not_writable",
                file = first,
                user = user,
                name = name
            );
            found.find("not-writable-for-user", text, command);
        }
    }
}

/// The logs and locks of a program that are root's and that its user can't write to: beside its command, and
/// in a folder of its name, as the vendor's programs have one.
fn left_by_root(process: &ProcessSettings, uid: u32, view: &mut View<'_>) -> Vec<PathBuf> {
    let name = process.name().as_str();
    let own = PathBuf::from(format!("/{name}"));
    let beside = match &process.start {
        Start::Command(command) => command
            .first()
            .and_then(|program| Path::new(program).parent()),
        Start::Unit(_) => None,
    };
    let mut folders: Vec<(PathBuf, u32)> = vec![(own.clone(), 2)];
    folders.extend(beside.map(|folder| (folder.to_owned(), 1)));
    let mut files = BTreeSet::new();
    let mut left = FILES_MAX;
    while let Some((folder, depth)) = folders.pop() {
        for path in view.folder(&folder) {
            left = left.saturating_sub(1);
            let Some(metadata) = view.metadata(&path).filter(|_| left > 0) else {
                continue;
            };
            if metadata.is_dir() && depth > 0 && view.link(&path).is_none() {
                folders.push((path, depth - 1));
                continue;
            }
            let base = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .to_lowercase();
            let is_its = path.starts_with(&own) || base.contains(&name.to_lowercase());
            let is_written = WRITTEN.iter().any(|end| base.ends_with(end));
            let is_closed = metadata.uid() == 0 && metadata.mode() & OTHERS_WRITE == 0;
            if metadata.is_file() && is_its && is_written && is_closed && uid != 0 {
                files.insert(path);
            }
        }
    }
    files.into_iter().collect()
}
