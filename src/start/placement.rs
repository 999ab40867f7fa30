//! Says whether a program belongs on the screen of whoever is logged in, and why; who that is says
//! [`crate::session`].

use std::fs;
use std::path::{Path, PathBuf};

use mfe_common::escape::printable;

use super::command_line::starts;
use crate::config::{self, ProcessSettings, SessionMode};
use crate::session::autostart::{FOLDER, entries};
use crate::systemd::names::{UNIT_FOLDERS, unit_of};
use crate::text::phrase::{Phrase, phrase};

/// What our own units are instances of.
const TEMPLATE: &str = "mfe@.service";

/// Where a program belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    mode: SessionMode,
    /// The entry by which every session starts its command, if that was looked for.
    pub entry: Option<PathBuf>,
}

impl Placement {
    /// That of `process`, on the machine whose files are below `root`.
    #[must_use]
    pub fn of(root: &Path, process: &ProcessSettings) -> Self {
        let mode = process.session;
        let entry = (mode != SessionMode::None).then(|| autostart_entry(root, process));
        Self {
            mode,
            entry: entry.flatten(),
        }
    }

    /// Whether it is a window on the screen of whoever is logged in.
    #[must_use]
    pub fn is_graphical(&self) -> bool {
        match self.mode {
            SessionMode::Graphical => true,
            SessionMode::None => false,
            SessionMode::Auto => self.entry.is_some(),
        }
    }

    /// What a person is told of it; nothing where the configuration says nothing of a session.
    #[must_use]
    pub fn phrase(&self) -> Option<Phrase> {
        let entry = self.entry.as_ref().map(|entry| entry.display().to_string());
        match (self.mode, entry) {
            (SessionMode::None, _) => None,
            (SessionMode::Graphical, _) => Some(phrase!(
                "session: graphical, as configured: it belongs on the screen of whoever is logged in"
            )),
            (SessionMode::Auto, Some(entry)) => Some(phrase!(
                "session: graphical, since %{entry} starts it: it belongs on the screen of whoever is \
                 logged in",
                entry = entry
            )),
            (SessionMode::Auto, None) => Some(phrase!(
                "session: none, since no entry in %{folder} starts it",
                folder = FOLDER
            )),
        }
    }
}

/// The entry by which every session starts the command of `process`.
#[must_use]
pub fn autostart_entry(root: &Path, process: &ProcessSettings) -> Option<PathBuf> {
    let mut entries = entries(root).into_iter();
    let entry = entries.find(|entry| starts(&entry.command, process))?;
    Some(entry.file)
}

/// The user that the unit of the process `key` runs as, if that isn't root, and the file that says so: who
/// isn't root can't start anything as another user.
#[must_use]
pub fn unit_user(root: &Path, key: &str) -> Option<(PathBuf, String)> {
    let names = [unit_of(key), TEMPLATE.to_owned()];
    let at = |folder: &str, name: &str| root.join(folder).join(name);
    let mut files = Vec::new();
    let mut units = names
        .iter()
        .flat_map(|name| UNIT_FOLDERS.map(|folder| at(folder, name)));
    files.extend(units.find(|path| path.is_file()));
    let mut drop_ins: Vec<PathBuf> = Vec::new();
    for (folder, name) in UNIT_FOLDERS
        .iter()
        .flat_map(|folder| names.iter().map(move |name| (folder, name)))
    {
        let entries = fs::read_dir(at(folder, &format!("{name}.d")))
            .into_iter()
            .flatten()
            .flatten();
        for path in entries.map(|entry| entry.path()) {
            let is_hidden = drop_ins
                .iter()
                .any(|other| other.file_name() == path.file_name());
            if path.extension().is_some_and(|end| end == "conf") && !is_hidden {
                drop_ins.push(path);
            }
        }
    }
    drop_ins.sort_unstable_by(|one, other| one.file_name().cmp(&other.file_name()));
    files.extend(drop_ins);
    let mut user = None;
    for file in files {
        let text = config::read(&file).unwrap_or_default();
        for value in users_in(&text) {
            user = Some((file.clone(), printable(&value)));
        }
    }
    user.filter(|(_, user)| !["", "root", "0"].contains(&user.as_str()))
}

/// The values of `User=` in a unit's file (systemd.exec(5)).
fn users_in(text: &str) -> Vec<String> {
    let mut is_inside = false;
    let mut users = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            is_inside = line == "[Service]";
        } else if let (true, Some((key, value))) = (is_inside, line.split_once('=')) {
            users.extend((key.trim() == "User").then(|| value.trim().to_owned()));
        }
    }
    users
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::{DEFAULT_TEXT, parse};

    #[test]
    fn the_user_of_a_unit_is_found_in_its_drop_ins() {
        let root = tempfile::tempdir().unwrap();
        let user = || unit_user(root.path(), "monitor").map(|(_, user)| user);
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        assert_eq!(user(), None);
        write(
            "lib/systemd/system/mfe@.service",
            "[Service]\nType=simple\n",
        );
        assert_eq!(user(), None);
        write(
            "etc/systemd/system/mfe@.service.d/a.conf",
            "[Unit]\nUser=x\n[Service]\nUser=caixa\n",
        );
        assert_eq!(user().as_deref(), Some("caixa"));
        write(
            "etc/systemd/system/mfe@monitor.service.d/b.conf",
            "[Service]\n User = pdv\n#User=y\n",
        );
        assert_eq!(user().as_deref(), Some("pdv"));
        write(
            "etc/systemd/system/mfe@monitor.service.d/c.txt",
            "[Service]\nUser=z\n",
        );
        assert_eq!(user().as_deref(), Some("pdv"));
        write(
            "etc/systemd/system/mfe@monitor.service.d/d.conf",
            "[Service]\nUser=root\n",
        );
        assert_eq!(user(), None);
        write(
            "etc/systemd/system/mfe@monitor.service.d/d.conf",
            "[Service]\nUser=\n",
        );
        assert_eq!(user(), None);
    }

    #[test]
    fn auto_goes_by_what_sessions_start() {
        let root = tempfile::tempdir().unwrap();
        let mut settings = parse(DEFAULT_TEXT, Path::new("config.toml")).unwrap();
        let monitor = &mut settings.processes[1];
        let placement = |process: &ProcessSettings| Placement::of(root.path(), process);
        assert_eq!(monitor.session, SessionMode::Auto);
        assert!(!placement(monitor).is_graphical(), "a server");
        let words = placement(monitor).phrase().unwrap().to_string();
        assert_eq!(
            words,
            "session: none, since no entry in /etc/xdg/autostart starts it"
        );
        let folder = root.path().join("etc/xdg/autostart");
        fs::create_dir_all(&folder).unwrap();
        let entry = "[Desktop Entry]\nExec=/opt/sefaz/cco/bin/runcco-mon.sh\n";
        fs::write(folder.join("cco-mon.desktop"), entry).unwrap();
        assert!(placement(monitor).is_graphical());
        let words = placement(monitor).phrase().unwrap().to_string();
        assert!(
            words.contains("/etc/xdg/autostart/cco-mon.desktop"),
            "{words}"
        );
        monitor.session = SessionMode::None;
        assert!(!placement(monitor).is_graphical());
        assert_eq!(placement(monitor).phrase(), None);
        fs::write(
            folder.join("cco-mon.desktop"),
            format!("{entry}Hidden=true\n"),
        )
        .unwrap();
        monitor.session = SessionMode::Graphical;
        let graphical = placement(monitor);
        assert!(graphical.is_graphical() && graphical.entry.is_none());
    }
}
