//! Judges whether somebody other than root could change a program that the service runs: the
//! program's file, or any folder on the way to it. It changes nothing and refuses nothing.
//!
//! The program is followed as the kernel follows a path (`path_resolution(7)`), symbolic links
//! included. The interpreter of a script isn't judged, nor what a program runs or reads in turn; of
//! an access control list (`acl(5)`) it is only seen that somebody has been given write access.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::lgetxattr;
use rustix::process::geteuid;

use crate::sys::user::name_of as user_name;
use crate::text::escape::shell_word;
use crate::text::phrase::{Phrase, phrase};

/// The attribute in which Linux keeps an access control list (xattr(7)).
const ACCESS_LIST: &str = "system.posix_acl_access";

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
    /// Whether it has an access control list; the bits of the group are what that gives at most then.
    has_list: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EntryKind {
    Folder,
    Link,
    File,
}

impl Entry {
    fn of(path: &Path, metadata: &Metadata) -> Self {
        let kind = match metadata.file_type() {
            kind if kind.is_dir() => EntryKind::Folder,
            kind if kind.is_symlink() => EntryKind::Link,
            _ => EntryKind::File,
        };
        // A link has none, and where everybody may write it says nothing new.
        let may_have_list = kind != EntryKind::Link && metadata.mode() & 0o022 == 0o020;
        Self {
            kind,
            has_list: may_have_list && lgetxattr(path, ACCESS_LIST, &mut [0_u8; 0]).is_ok(),
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
#[derive(Debug, Clone, PartialEq, Eq)]
enum Weakness {
    /// It belongs to this user.
    Owner(u32),
    /// Everybody may write to it.
    Everybody,
    /// This group may write to it.
    Group(u32),
    /// Whoever is in its access control list may.
    List,
    /// Perhaps it can't: it can't be looked at, and why. A promise of safety it isn't.
    Unseen(String),
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
        // What lies in such a folder only its own owner can replace, who is judged with it. For
        // what doesn't exist yet there is `weakness_of_absence`.
        EntryKind::Folder if entry.is_sticky() => None,
        _ if entry.mode & 0o002 != 0 => Some(Weakness::Everybody),
        _ if entry.mode & 0o020 != 0 && entry.has_list => Some(Weakness::List),
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
    /// What is there, if it can be looked at.
    entry: Option<Entry>,
    weakness: Weakness,
}

impl Finding {
    /// The permission bits that matter: a link has none.
    fn mode(&self) -> u32 {
        let entry = self.entry.filter(|entry| entry.kind != EntryKind::Link);
        entry.map_or(0, |entry| entry.mode)
    }
}

/// Who could change `program`, and what to do about it, in a few words fit for a terminal; `None`
/// when only root could (or the user that the service itself runs as).
#[must_use]
pub fn warning(program: &str) -> Option<Phrase> {
    let exposure = Exposure::of(Path::new(program), geteuid().as_raw())?;
    let first = describe(&exposure.first);
    let what = match exposure.more.len() {
        0 => first,
        more => phrase!(
            "%{first} (and %{more} more on the way to it)",
            first = first,
            more = more.to_string()
        ),
    };
    let remedy = match exposure.commands() {
        Some(commands) => phrase!("mend it with: %{command}", command = commands.join(" && ")),
        // Where folders have to stay as they are.
        None => phrase!("move it to where only root can write, such as /usr/local/bin"),
    };
    Some(phrase!(
        "somebody other than root could change %{program}, which the service runs: %{what}; %{remedy}",
        program = program,
        what = what,
        remedy = remedy
    ))
}

/// That somebody else could change a program.
#[derive(Debug)]
pub(crate) struct Exposure {
    first: Finding,
    more: Vec<Finding>,
}

impl Exposure {
    /// That of `program`; `None` when only root or the user `trusted` could change it.
    pub(crate) fn of(program: &Path, trusted: u32) -> Option<Self> {
        let mut findings = judge(program, trusted).into_iter();
        let first = findings.next()?;
        let more = findings.collect();
        Some(Self { first, more })
    }

    /// What of it can be changed, the program or something on the way to it.
    pub(crate) fn path(&self) -> &Path {
        &self.first.path
    }

    /// The shell commands that mend it. A folder such as /tmp or somebody's home is what it is for
    /// good reason: there is none then, for it is the program that has to move.
    pub(crate) fn commands(&self) -> Option<Vec<String>> {
        let findings = || std::iter::once(&self.first).chain(&self.more);
        let must_move = findings().any(|finding| {
            let is_home = finding.path.starts_with("/home");
            matches!(finding.weakness, Weakness::Unseen(_))
                || is_home
                || finding.mode() & 0o1000 != 0
        });
        if must_move {
            return None;
        }
        let paths = |wanted: fn(&Finding) -> bool| {
            let paths = findings().filter(|finding| wanted(finding));
            paths
                .map(|finding| shell_word(&finding.path.display().to_string()))
                .collect::<Vec<_>>()
                .join(" ")
        };
        let foreign = paths(|finding| matches!(finding.weakness, Weakness::Owner(_)));
        let writable = paths(|finding| finding.mode() & 0o022 != 0);
        let mut commands = Vec::new();
        if !foreign.is_empty() {
            commands.push(format!("chown -h root {foreign}"));
        }
        if !writable.is_empty() {
            commands.push(format!("chmod go-w {writable}"));
        }
        Some(commands)
    }
}

/// Follows the path of a program and collects everything that is weak.
fn judge(program: &Path, trusted: u32) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    let mut note = |path: &Path, entry: Option<Entry>, weakness: Weakness| {
        // What can't be looked at in a folder that is weak needs no words of its own. And a path may
        // lead through the same folder twice.
        let goes_without_saying = matches!(weakness, Weakness::Unseen(_)) && !findings.is_empty();
        if !goes_without_saying && !findings.iter().any(|finding| finding.path == path) {
            findings.push(Finding {
                path: path.to_owned(),
                entry,
                weakness,
            });
        }
    };
    let mut ahead: VecDeque<OsString> = names(program);
    let mut folders: Vec<(PathBuf, Entry)> = Vec::new();
    let mut links = 0;
    let mut path = PathBuf::from("/");
    loop {
        let entry = match fs::symlink_metadata(&path) {
            Ok(metadata) => Entry::of(&path, &metadata),
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                if let Some((folder, entry)) = folders.last() {
                    if let Some(weakness) = weakness_of_absence(*entry) {
                        note(folder, Some(*entry), weakness);
                    }
                }
                break;
            }
            Err(error) => {
                note(&path, None, Weakness::Unseen(error.to_string()));
                break;
            }
        };
        let is_sticky = folders.last().is_some_and(|(_, folder)| folder.is_sticky());
        if let Some(weakness) = weakness(entry, is_sticky, trusted) {
            note(&path, Some(entry), weakness);
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
                        note(&path, None, Weakness::Unseen(error.to_string()));
                        break;
                    }
                }
            }
        }
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

fn describe(finding: &Finding) -> Phrase {
    let path = finding.path.display().to_string();
    let mode = format!("{:04o}", finding.mode());
    match &finding.weakness {
        Weakness::Owner(uid) => {
            phrase!("%{path} belongs to %{user}", path = path, user = user(*uid))
        }
        Weakness::Everybody => phrase!(
            "%{path} can be changed by everybody (mode %{mode})",
            path = path,
            mode = mode
        ),
        Weakness::Group(gid) => phrase!(
            "%{path} can be changed by the group %{group} (mode %{mode})",
            path = path,
            group = gid.to_string(),
            mode = mode
        ),
        Weakness::List => phrase!(
            "%{path} can be changed by whoever its access control list says (mode %{mode})",
            path = path,
            mode = mode
        ),
        Weakness::Unseen(why) => phrase!(
            "%{path} can't be looked at: %{why}",
            path = path,
            why = why.as_str()
        ),
    }
}

/// A user's name, or its number where it has none.
fn user(uid: u32) -> Phrase {
    match user_name(uid) {
        Some(name) => Phrase::of_words(name),
        None => phrase!("the user %{number}", number = uid.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: u32 = 1000;

    fn entry(kind: EntryKind, owner: u32, group: u32, mode: u32) -> Entry {
        Entry {
            kind,
            owner,
            group,
            mode,
            has_list: false,
        }
    }

    #[test]
    fn who_can_change_what() {
        use EntryKind::{File, Folder, Link};
        for (kind, owner, group, mode, expected) in [
            (File, 0, 0, 0o755, None),
            (File, ME, ME, 0o755, None),
            (File, 7, 0, 0o555, Some(Weakness::Owner(7))),
            (File, 0, 0, 0o775, None),
            (File, 0, 7, 0o775, Some(Weakness::Group(7))),
            (File, 0, 0, 0o757, Some(Weakness::Everybody)),
            (File, 0, 7, 0o777, Some(Weakness::Everybody)),
            (File, 0, 0, 0o1757, Some(Weakness::Everybody)),
            (Folder, 0, 0, 0o1777, None),
            (Folder, 7, 0, 0o1777, Some(Weakness::Owner(7))),
            (Folder, 0, 7, 0o2775, Some(Weakness::Group(7))),
            (Link, 0, 0, 0o777, None),
            (Link, 7, 7, 0o777, None),
        ] {
            let entry = entry(kind, owner, group, mode);
            assert_eq!(weakness(entry, false, ME), expected, "{entry:?}");
        }
        for (mode, expected) in [(0o775, Some(Weakness::List)), (0o755, None)] {
            let entry = Entry {
                has_list: true,
                ..entry(File, 0, 0, mode)
            };
            assert_eq!(weakness(entry, false, ME), expected, "{entry:?}");
        }
        let link = entry(Link, 7, 7, 0o777);
        assert_eq!(weakness(link, true, ME), Some(Weakness::Owner(7)));
    }

    #[test]
    fn what_is_not_there_can_be_put_into_a_sticky_folder() {
        let of = |mode| weakness_of_absence(entry(EntryKind::Folder, 0, 0, mode));
        assert_eq!(of(0o1777), Some(Weakness::Everybody));
        assert_eq!(of(0o1755), None);
        assert_eq!(of(0o755), None);
    }

    #[test]
    fn nobody_is_told_to_close_a_folder_that_is_open_for_good_reason() {
        let finding = |path: &str, mode, weakness| Finding {
            path: path.into(),
            entry: Some(entry(EntryKind::Folder, 0, 0, mode)),
            weakness,
        };
        for finding in [
            finding("/tmp", 0o1777, Weakness::Everybody),
            finding("/home/pdv", 0o755, Weakness::Owner(ME)),
        ] {
            let path = finding.path.clone();
            let exposure = Exposure {
                first: finding,
                more: Vec::new(),
            };
            assert_eq!(exposure.commands(), None, "{}", path.display());
        }
    }
}
