//! Judges whether somebody other than root could change a program that the service runs: the
//! program's file, or any folder on the way to it. It changes nothing and refuses nothing.
//!
//! The program is followed as the kernel follows a path (`path_resolution(7)`), symbolic links
//! included. The interpreter of a script isn't judged, nor what a program runs or reads in turn;
//! access control lists are seen as far as the mode shows them (`acl(5)`).

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use nix::unistd::{Uid, User, geteuid};

use crate::printable::printable;

/// As many symbolic links as the kernel follows (`path_resolution(7)`).
const LINKS_MAX: usize = 40;

/// What lies somewhere on the way to a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    kind: EntryKind,
    owner: u32,
    group: u32,
    /// The permission bits, `S_ISVTX` included.
    mode: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EntryKind {
    Folder,
    Link,
    File,
}

impl Entry {
    fn of(metadata: &Metadata) -> Self {
        Self {
            kind: match metadata.file_type() {
                kind if kind.is_dir() => EntryKind::Folder,
                kind if kind.is_symlink() => EntryKind::Link,
                _ => EntryKind::File,
            },
            owner: metadata.uid(),
            group: metadata.gid(),
            mode: metadata.mode() & 0o7777,
        }
    }

    fn is_sticky(&self) -> bool {
        self.mode & 0o1000 != 0
    }
}

/// Why something can be changed by somebody it shouldn't be changed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weakness {
    /// It belongs to this user.
    Owner(u32),
    /// Everybody may write to it.
    Everybody,
    /// This group may write to it.
    Group(u32),
}

/// Judges what lies in a folder. `trusted` is who else than root may own it: the user that the
/// service itself runs as.
fn weakness(entry: Entry, folder_is_sticky: bool, trusted: u32) -> Option<Weakness> {
    // Nobody can write to a link. Whoever owns it can only put another in its place, and where
    // the folder is open to all but sticky, nobody else can.
    let owner_counts = entry.kind != EntryKind::Link || folder_is_sticky;
    if owner_counts && entry.owner != 0 && entry.owner != trusted {
        return Some(Weakness::Owner(entry.owner));
    }
    match entry.kind {
        EntryKind::Link => None,
        // What lies in such a folder only its own owner can replace, who is judged with it. One
        // that doesn't exist yet is judged by `Judgement::missing`.
        EntryKind::Folder if entry.is_sticky() => None,
        _ if entry.mode & 0o002 != 0 => Some(Weakness::Everybody),
        _ if entry.mode & 0o020 != 0 && entry.group != 0 => Some(Weakness::Group(entry.group)),
        _ => None,
    }
}

/// Whoever may write to a sticky folder can put there what isn't there yet.
fn weakness_of_absence(folder: Entry) -> Option<Weakness> {
    let mode = folder.mode & !0o1000;
    let folder = Entry { mode, ..folder };
    weakness(folder, false, folder.owner)
}

/// Something on the way to a program that somebody else can change.
#[derive(Debug)]
struct Finding {
    path: PathBuf,
    kind: EntryKind,
    mode: u32,
    what: Problem,
}

#[derive(Debug)]
enum Problem {
    Weak(Weakness),
    /// It can't be looked at, and why.
    Unseen(String),
}

/// Who could change `program`, and what to do about it, in a few words fit for a terminal; `None`
/// when only root could (or the user that the service itself runs as).
#[must_use]
pub fn warning(program: &str) -> Option<String> {
    let findings = judge(Path::new(program), geteuid().as_raw());
    let first = findings.first()?;
    let program = printable(program);
    let mut text = format!(
        "somebody other than root could change {program}, which the service runs: {}",
        describe(first)
    );
    match findings.len() - 1 {
        0 => {}
        more => text += &format!(" (and {more} more on the way to it)"),
    }
    Some(format!("{text}; {}", remedy(&findings)))
}

/// Follows the path of a program and collects everything that is weak.
fn judge(program: &Path, trusted: u32) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    let mut note = |path: &Path, entry: Option<Entry>, what: Problem| {
        if !findings.iter().any(|finding| finding.path == path) {
            findings.push(Finding {
                path: path.to_owned(),
                kind: entry.map_or(EntryKind::File, |entry| entry.kind),
                mode: entry.map_or(0, |entry| entry.mode),
                what,
            });
        }
    };
    let mut ahead: VecDeque<OsString> = names(program);
    let mut folders: Vec<(PathBuf, Entry)> = Vec::new();
    let mut links = 0;
    let mut path = PathBuf::from("/");
    loop {
        let entry = match fs::symlink_metadata(&path) {
            Ok(metadata) => Entry::of(&metadata),
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                if let Some((folder, entry)) = folders.last() {
                    if let Some(weakness) = weakness_of_absence(*entry) {
                        note(folder, Some(*entry), Problem::Weak(weakness));
                    }
                }
                break;
            }
            Err(error) => {
                note(&path, None, Problem::Unseen(error.to_string()));
                break;
            }
        };
        let is_sticky = folders.last().is_some_and(|(_, folder)| folder.is_sticky());
        if let Some(weakness) = weakness(entry, is_sticky, trusted) {
            note(&path, Some(entry), Problem::Weak(weakness));
        }
        match entry.kind {
            EntryKind::File => break,
            EntryKind::Folder => folders.push((path.clone(), entry)),
            EntryKind::Link => {
                links += 1;
                match fs::read_link(&path) {
                    _ if links > LINKS_MAX => break,
                    Ok(target) => {
                        if target.is_absolute() {
                            folders.truncate(1);
                        }
                        for name in names(&target).into_iter().rev() {
                            ahead.push_front(name);
                        }
                    }
                    Err(error) => {
                        note(&path, None, Problem::Unseen(error.to_string()));
                        break;
                    }
                }
            }
        }
        // Nothing can lie in what isn't a folder, so there is always one: the root.
        loop {
            match ahead.pop_front() {
                Some(name) if name == ".." => {
                    if folders.len() > 1 {
                        folders.pop();
                    }
                }
                Some(name) => {
                    path = folders
                        .last()
                        .map_or(PathBuf::from("/"), |(path, _)| path.clone());
                    path.push(name);
                    break;
                }
                None => return findings,
            }
        }
    }
    findings
}

/// The names in a path, without the root and the dots that change nothing.
fn names(path: &Path) -> VecDeque<OsString> {
    let components = path.components();
    components
        .filter(|component| matches!(component, Component::Normal(_) | Component::ParentDir))
        .map(|component| component.as_os_str().to_owned())
        .collect()
}

fn describe(finding: &Finding) -> String {
    let path = shown(&finding.path);
    let mode = finding.mode;
    match &finding.what {
        Problem::Weak(Weakness::Owner(uid)) => format!("{path} belongs to {}", user(*uid)),
        Problem::Weak(Weakness::Everybody) => {
            format!("{path} can be changed by everybody (mode {mode:04o})")
        }
        Problem::Weak(Weakness::Group(gid)) => {
            format!("{path} can be changed by the group {gid} (mode {mode:04o})")
        }
        Problem::Unseen(why) => format!("{path} can't be looked at: {why}"),
    }
}

/// What mends it. A folder such as /tmp or somebody's home is what it is for good reason: there it
/// is the program that has to move.
fn remedy(findings: &[Finding]) -> String {
    let must_move = findings.iter().any(|finding| {
        let is_home = finding.path.starts_with("/home");
        matches!(finding.what, Problem::Unseen(_)) || is_home || finding.mode & 0o1000 != 0
    });
    if must_move {
        return "move it to where only root can write, such as /usr/local/bin".into();
    }
    let quoted = |wanted: fn(&Finding) -> bool| {
        let paths = findings.iter().filter(|finding| wanted(finding));
        paths
            .map(|finding| quoted(&finding.path))
            .collect::<Vec<_>>()
            .join(" ")
    };
    let foreign = quoted(|finding| matches!(finding.what, Problem::Weak(Weakness::Owner(_))));
    let writable = quoted(|finding| finding.mode & 0o022 != 0 && finding.kind != EntryKind::Link);
    let mut commands = Vec::new();
    if !foreign.is_empty() {
        commands.push(format!("chown -h root {foreign}"));
    }
    if !writable.is_empty() {
        commands.push(format!("chmod go-w {writable}"));
    }
    format!("mend it with: {}", commands.join(" && "))
}

/// A user's name, or its number where it has none.
fn user(uid: u32) -> String {
    match User::from_uid(Uid::from_raw(uid)) {
        Ok(Some(user)) => printable(&user.name),
        _ => format!("the user {uid}"),
    }
}

fn shown(path: &Path) -> String {
    printable(&path.display().to_string())
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let path = shown(path);
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@".contains(c);
    if path.chars().all(is_plain) {
        path
    } else {
        format!("'{}'", path.replace('\'', "'\\''"))
    }
}
