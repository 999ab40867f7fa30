//! What every graphical session starts by itself: the entries in /etc/xdg/autostart (the Desktop
//! Application Autostart Specification). Whether one of them starts a configured command is for
//! [`crate::start`] to say.

use std::fs::{self, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::libc;

/// Where they are.
pub const FOLDER: &str = "/etc/xdg/autostart";

/// Where sessions look for programs (Debian's /etc/login.defs, `ENV_PATH`).
const PATH: [&str; 5] = [
    "/usr/local/bin",
    "/usr/bin",
    "/bin",
    "/usr/local/games",
    "/usr/games",
];

/// No more entries than these are looked at.
const ENTRIES_MAX: usize = 1000;

/// More of one isn't read, in bytes.
const ENTRY_MAX: u64 = 64 * 1024;

/// An entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its file.
    pub file: PathBuf,
    /// The command line that it starts.
    pub command: String,
}

/// The command line that an entry of this text starts; `None` for one that starts nothing. `is_there` says
/// whether a program is, that of its `TryExec` (Desktop Entry Specification).
#[must_use]
pub fn command(text: &str, is_there: impl Fn(&str) -> bool) -> Option<String> {
    let mut is_inside = false;
    let mut command = None;
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            is_inside = line == "[Desktop Entry]";
            continue;
        }
        let Some((key, value)) = line.split_once('=').filter(|_| is_inside) else {
            continue;
        };
        match (key.trim_end(), value.trim_start()) {
            ("Hidden", "true") | ("X-GNOME-Autostart-enabled", "false") => return None,
            ("TryExec", program) if !is_there(program) => return None,
            ("Exec", value) => command = command.or(Some(value.to_owned())),
            _ => {}
        }
    }
    command.filter(|command| !command.is_empty())
}

/// The entries of the machine whose files are below `root` that start something, by name.
#[must_use]
pub fn entries(root: &Path) -> Vec<Entry> {
    let folder = root.join(FOLDER.trim_start_matches('/'));
    let names = fs::read_dir(&folder).into_iter().flatten().flatten();
    let names = names.filter_map(|entry| entry.file_name().into_string().ok());
    let names = names.filter(|name| name.ends_with(".desktop"));
    let mut names: Vec<String> = names.take(ENTRIES_MAX).collect();
    names.sort_unstable();
    let entries = names.into_iter().filter_map(|name| {
        let command = command(&read(&folder.join(&name))?, |program| {
            is_there(root, program)
        })?;
        Some(Entry {
            file: Path::new(FOLDER).join(name),
            command,
        })
    });
    entries.collect()
}

/// Whether sessions of the machine whose files are below `root` find this program, by its path or in
/// [`PATH`].
fn is_there(root: &Path, program: &str) -> bool {
    let is_executable = |path: &Path| {
        let path = root.join(path.strip_prefix("/").unwrap_or(path));
        let metadata = fs::metadata(path);
        metadata.is_ok_and(|metadata| metadata.is_file() && metadata.mode() & 0o111 != 0)
    };
    PATH.iter()
        .any(|folder| is_executable(&Path::new(folder).join(program)))
}

/// A regular file, or one that a link leads to; nothing else is waited for.
fn read(path: &Path) -> Option<String> {
    let mut options = OpenOptions::new();
    let file = options
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
        .ok()?;
    file.metadata().ok().filter(std::fs::Metadata::is_file)?;
    let mut text = Vec::new();
    file.take(ENTRY_MAX).read_to_end(&mut text).ok()?;
    Some(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_entry_starts_its_command_unless_it_is_switched_off() {
        let is_there = |program: &str| program == "/opt/x/mon.sh";
        let command = |text: &str| command(text, is_there);
        let entry = "[Desktop Entry]\nType=Application\nName=Monitor\nExec = /opt/x/mon.sh %U\n";
        assert_eq!(command(entry).as_deref(), Some("/opt/x/mon.sh %U"));
        for text in [
            "",
            "Exec=/opt/x",
            "[Desktop Entry]\nExec=",
            "[Desktop Action a]\nExec=/opt/x",
            &format!("{entry}Hidden=true\n"),
            &format!("{entry}X-GNOME-Autostart-enabled=false\n"),
            &format!("{entry}TryExec=/opt/x/away\n"),
        ] {
            assert_eq!(command(text), None, "{text}");
        }
        let other = format!(
            "{entry}Hidden=false\nTryExec = /opt/x/mon.sh\n[Desktop Action a]\nExec=/opt/y\nHidden=true\n"
        );
        assert_eq!(command(&other).as_deref(), Some("/opt/x/mon.sh %U"));
    }

    #[test]
    fn entries_are_read_in_the_order_of_their_names() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(entries(root.path()), []);
        let folder = root.path().join("etc/xdg/autostart");
        fs::create_dir_all(&folder).unwrap();
        for (name, text) in [
            ("b.desktop", "[Desktop Entry]\nExec=/b"),
            ("a.desktop", "[Desktop Entry]\nExec=/a"),
            ("c.desktop.bak", "[Desktop Entry]\nExec=/c"),
            ("d.desktop", "nothing"),
        ] {
            fs::write(folder.join(name), text).unwrap();
        }
        let found = entries(root.path());
        let commands: Vec<&str> = found.iter().map(|entry| entry.command.as_str()).collect();
        assert_eq!(commands, ["/a", "/b"]);
        assert_eq!(found[0].file, Path::new("/etc/xdg/autostart/a.desktop"));
    }

    #[test]
    fn a_program_is_there_by_its_path_or_where_sessions_look() {
        let root = tempfile::tempdir().unwrap();
        for (path, mode) in [
            ("opt/x/mon", 0o755),
            ("usr/bin/mon", 0o755),
            ("bin/text", 0o644),
        ] {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "").unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        }
        for (program, is) in [
            ("/opt/x/mon", true),
            ("mon", true),
            ("text", false),
            ("/opt/x", false),
            ("away", false),
        ] {
            assert_eq!(is_there(root.path(), program), is, "{program}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(\\[?[A-Za-z ]{0,14}\\]?=?[a-z]{0,5}\n){0,8}") {
            let _ = command(&text, |_| true);
        }
    }
}
