//! The shell commands that take a path out of others' hands, so that a file which somebody has open is no
//! longer the one that root runs; and those that go back. They are printed, and run by a person.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use mfe_common::escape::{printable, shell_word};

/// So many paths are in one command: a terminal and the journal show it whole.
const PATHS_MAX: usize = 40;

/// A command of several paths isn't longer, in bytes.
const LINE_MAX: usize = 74;

/// The bits of a mode that a program needs and that let nobody but its owner write.
const SAFE: u32 = 0o755;

/// Takes each path after a mode: a folder is taken from others, and a file is replaced by a new one of that
/// mode, with the same content and group. Folders come first, from the top down, so that from then on nobody can
/// put anything in the place of what comes after. Nothing is written through a link, and the new file is
/// nobody else's from the first moment: install(1) makes it with mode 0600.
const SCRIPT: &str = "for p do case $p in /*) ;; *) m=$p; continue ;; esac; \
    test ! -L \"$p\" && if test -d \"$p\"; then chown root \"$p\" && chmod go-w \"$p\"; \
    else test -f \"$p\" && install -T -m \"$m\" -o root -g \"$(stat -c %g \"$p\")\" \"$p\" \"$p.mfe-new\" \
    && mv -fT \"$p.mfe-new\" \"$p\"; fi || { echo \"$p ?\" >&2; exit 1; }; done";

/// A folder or a file that others can change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Open {
    pub(super) path: PathBuf,
    pub(super) is_folder: bool,
    /// Whose it is, if that isn't root.
    pub(super) owner: Option<u32>,
    /// The permission bits.
    pub(super) mode: u32,
}

/// What to type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Remedy {
    /// The command that makes it safe; to run it again does no harm.
    pub(crate) command: String,
    /// The commands that give the rights back, each short enough for a line.
    pub(crate) back: Vec<String>,
    /// How many more there are, for which the same is to be done once these are safe.
    pub(crate) left: usize,
}

/// Whether a shell can be given a path so that a person sees what it is.
pub(super) fn is_typable(path: &Path) -> bool {
    path.to_str().is_some_and(|path| printable(path) == path)
}

/// For folders and files that can be typed; `None` for none. Each folder comes after those above it.
pub(super) fn of<'a>(open: impl IntoIterator<Item = &'a Open>) -> Option<Remedy> {
    let (mut all, files): (Vec<&Open>, Vec<&Open>) =
        open.into_iter().partition(|open| open.is_folder);
    all.extend(files);
    let left = all.len().saturating_sub(PATHS_MAX);
    all.truncate(PATHS_MAX);
    if all.is_empty() {
        return None;
    }
    let mut words = Vec::new();
    let mut mode = None;
    for open in &all {
        let safe = open.mode & SAFE;
        if !open.is_folder && mode != Some(safe) {
            words.push(format!("{safe:04o}"));
            mode = Some(safe);
        }
        words.push(word(&open.path));
    }
    let mut modes: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    let mut owners: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for open in &all {
        modes.entry(open.mode).or_default().push(word(&open.path));
        if let Some(owner) = open.owner {
            owners.entry(owner).or_default().push(word(&open.path));
        }
    }
    let owners = owners
        .into_iter()
        .flat_map(|(owner, paths)| in_lines(&format!("sudo chown {owner}"), &paths));
    // After the owner: chown(2) takes the bits for set-user-ID away.
    let modes = modes
        .into_iter()
        .flat_map(|(mode, paths)| in_lines(&format!("sudo chmod {mode:04o}"), &paths));
    Some(Remedy {
        command: format!("sudo sh -c '{SCRIPT}' sh {}", words.join(" ")),
        back: owners.chain(modes).collect(),
        left,
    })
}

/// As many commands as it takes, each with as many of the paths as fit into a line.
fn in_lines(command: &str, paths: &[String]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for path in paths {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + path.len() <= LINE_MAX => *line += &format!(" {path}"),
            _ => lines.push(format!("{command} {path}")),
        }
    }
    lines
}

fn word(path: &Path) -> String {
    shell_word(&path.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File, OpenOptions, Permissions};
    use std::io::Write;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use std::process::Command;

    use super::*;

    fn open(path: &Path) -> Open {
        let metadata = fs::symlink_metadata(path).unwrap();
        Open {
            path: path.to_owned(),
            is_folder: metadata.is_dir(),
            owner: None,
            mode: metadata.mode() & 0o7777,
        }
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    /// Runs a command of a remedy, as the user that runs this test.
    fn run(command: &str) -> bool {
        let me = rustix::process::geteuid().as_raw();
        let command = command.replace(" root ", &format!(" {me} "));
        let script = format!("sudo() {{ \"$@\"; }}\n{command}");
        let ran = Command::new("sh").args(["-c", &script]).output().unwrap();
        ran.status.success()
    }

    #[test]
    fn whoever_has_a_file_open_has_the_old_one() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("it's (odd) $(x)");
        fs::create_dir(&folder).unwrap();
        let script = folder.join("a b.sh");
        let library = folder.join("-lib.so");
        let data = folder.join("data");
        for (file, mode) in [(&script, 0o777), (&library, 0o666), (&data, 0o666)] {
            fs::write(file, "as it was").unwrap();
            set_mode(file, mode);
        }
        set_mode(&folder, 0o1777);
        let mut held = OpenOptions::new().append(true).open(&script).unwrap();
        let before = File::open(&data).unwrap().metadata().unwrap();
        let all = [open(&script), open(&folder), open(&library)];
        let remedy = of(&all).unwrap();
        for round in ["first", "again"] {
            assert!(run(&remedy.command), "{round}: {}", remedy.command);
            held.write_all(b" no more").unwrap();
            assert_eq!(fs::read_to_string(&script).unwrap(), "as it was");
            let mode = |path: &Path| open(path).mode;
            assert_eq!((mode(&folder), mode(&script)), (0o1755, 0o755));
            assert_eq!((mode(&library), mode(&data)), (0o644, 0o666));
            assert_eq!(fs::metadata(&data).unwrap().ino(), before.ino());
            assert_eq!(fs::read_dir(&folder).unwrap().count(), 3);
        }
        assert!(run(&remedy.back.join("\n")), "{remedy:?}");
        assert_eq!(open(&folder).mode, 0o1777);
        assert_eq!(open(&script).mode, 0o777);
    }

    #[test]
    fn nothing_is_written_through_what_was_put_in_the_way() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        fs::write(path("program"), "program").unwrap();
        set_mode(&path("program"), 0o777);
        fs::write(path("other"), "other").unwrap();
        set_mode(&path("other"), 0o666);
        let remedy = of(&[open(&path("program"))]).unwrap();
        // A link where the new file is to be made.
        symlink(path("other"), path("program.mfe-new")).unwrap();
        assert!(run(&remedy.command));
        assert_eq!(fs::read_to_string(path("program")).unwrap(), "program");
        // A folder there.
        fs::create_dir(path("program.mfe-new")).unwrap();
        assert!(!run(&remedy.command));
        fs::remove_dir(path("program.mfe-new")).unwrap();
        // A link, a FIFO and nothing in the place of the file itself.
        fs::remove_file(path("program")).unwrap();
        assert!(!run(&remedy.command));
        nix::unistd::mkfifo(&path("program"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(!run(&remedy.command));
        fs::remove_file(path("program")).unwrap();
        symlink(path("other"), path("program")).unwrap();
        assert!(!run(&remedy.command));
        assert_eq!(fs::read_to_string(path("other")).unwrap(), "other");
        assert_eq!(open(&path("other")).mode, 0o666);
        assert!(!path("program.mfe-new").exists());
    }

    #[test]
    fn no_command_is_endless() {
        let of_number = |number: usize, is_folder| Open {
            path: format!("/opt/{number}").into(),
            is_folder,
            owner: Some(7),
            mode: 0o777,
        };
        let mut all: Vec<Open> = (0..1000).map(|number| of_number(number, false)).collect();
        all.extend((1000..1010).map(|number| of_number(number, true)));
        let remedy = of(&all).unwrap();
        assert_eq!(remedy.left, 1010 - PATHS_MAX);
        assert!(remedy.command.contains(" sh /opt/1000 "), "{remedy:?}");
        assert!(remedy.command.ends_with(" /opt/29"), "{remedy:?}");
        assert!(remedy.back[0].starts_with("sudo chown 7 /opt/1000 /opt/1001 "));
        assert!(remedy.back.iter().all(|line| line.len() <= LINE_MAX));
        assert!(remedy.command.len() + remedy.back.join("\n").len() < 4000);
        assert_eq!(of([]), None);
    }

    #[test]
    fn what_a_person_could_not_see_is_not_typed() {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt;
        assert!(is_typable(Path::new("/opt/ação/it's $(odd)")));
        for path in [&b"/opt/a\nb"[..], b"/opt/\xff", "/opt/\u{202e}x".as_bytes()] {
            assert!(!is_typable(Path::new(OsStr::from_bytes(path))), "{path:?}");
        }
    }
}
