//! Whether the journal is kept over a reboot (journald.conf(5)); what is in it, it doesn't read.

use std::path::{Path, PathBuf};

use rust_i18n::t;

use super::root::View;
use super::{Examination, ini};

/// Where the journal is kept.
const KEPT: &str = "/var/log/journal";

/// Where journald.conf and its drop-ins are, the most important first.
const FOLDERS: [&str; 5] = [
    "/etc/systemd",
    "/run/systemd",
    "/usr/local/lib/systemd",
    "/usr/lib/systemd",
    "/lib/systemd",
];

pub(super) fn examine(view: &mut View<'_>, found: &mut Examination) {
    let files = FOLDERS.map(|folder| Path::new(folder).join("journald.conf"));
    let main: Option<PathBuf> = files.into_iter().find(|file| view.metadata(file).is_some());
    let drop_ins = FOLDERS.map(|folder| Path::new(folder).join("journald.conf.d"));
    let drop_ins = ini::drop_ins(view, drop_ins);
    let files = main.iter().chain(&drop_ins).map(PathBuf::as_path);
    let storage = ini::value(&ini::read(view, files, "Journal"), "Storage");
    let folder_exists = view
        .metadata(Path::new(KEPT))
        .is_some_and(|metadata| metadata.is_dir());
    let command = match kept(storage.as_deref(), folder_exists) {
        Kept::Yes => return,
        Kept::NoFolder => {
            "sudo mkdir -p /var/log/journal && \
             sudo systemd-tmpfiles --create --prefix /var/log/journal && \
             sudo journalctl --flush"
        }
        Kept::NotWanted => {
            "sudo sh -c 'mkdir -p \"$1\" && \
             printf \"[Journal]\\nStorage=persistent\\n\" > \"$1/zz-mfe-watchdog.conf\" && \
             systemctl restart systemd-journald' sh /etc/systemd/journald.conf.d"
        }
    };
    found.find("journal-not-kept", t!("doctor.journal_not_kept"), command);
}

#[derive(Debug, PartialEq, Eq)]
enum Kept {
    Yes,
    /// It would be if there were a folder for it.
    NoFolder,
    /// The settings say so.
    NotWanted,
}

/// Judges `Storage=`.
fn kept(storage: Option<&str>, folder_exists: bool) -> Kept {
    match storage {
        Some("volatile" | "none") => Kept::NotWanted,
        Some("persistent") => Kept::Yes,
        // `auto`, which is the default, and whatever journald doesn't understand and ignores.
        _ if folder_exists => Kept::Yes,
        _ => Kept::NoFolder,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_a_journal_is_kept() {
        for (storage, folder_exists, expected) in [
            (None, true, Kept::Yes),
            (None, false, Kept::NoFolder),
            (Some("auto"), false, Kept::NoFolder),
            (Some("persistent"), false, Kept::Yes),
            (Some("volatile"), true, Kept::NotWanted),
            (Some("none"), true, Kept::NotWanted),
        ] {
            assert_eq!(kept(storage, folder_exists), expected, "{storage:?}");
        }
    }
}
