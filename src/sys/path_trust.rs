//! Judges whether somebody other than root could change what root runs with a program, or another file that
//! counts as much: the files, or any folder on the way to one. It changes nothing and refuses nothing.
//!
//! A path is followed as the kernel follows it (`path_resolution(7)`), symbolic links included; of an access
//! control list (`acl(5)`) it is only seen that somebody has been given write access. What root runs with a
//! program is listed in `chain`, and what takes it out of others' hands is said in `remedy`, both below this.

mod chain;
mod remedy;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{self, Component, Path, PathBuf};

use rustix::fs::lgetxattr;
use rustix::process::geteuid;

use self::chain::Link;
use self::remedy::{Open, is_typable};
use crate::sys::user::name_of as user_name;
use crate::text::phrase::{Phrase, phrase};

pub(crate) use self::remedy::Remedy;

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

/// Something on the way to a file that somebody else can change.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    path: PathBuf,
    /// What is there, if it can be looked at.
    entry: Option<Entry>,
    weakness: Weakness,
    /// The file that can be changed by it.
    target: PathBuf,
}

impl Finding {
    /// The permission bits that matter: a link has none.
    fn mode(&self) -> u32 {
        let entry = self.entry.filter(|entry| entry.kind != EntryKind::Link);
        entry.map_or(0, |entry| entry.mode)
    }

    /// What a command can fix of it. A folder such as /tmp or somebody's home is what it is for good reason:
    /// there it is the file that has to move.
    fn open(&self) -> Option<Open> {
        let entry = self.entry?;
        let is_folder = match entry.kind {
            EntryKind::Folder if entry.is_sticky() => return None,
            EntryKind::Link => return None,
            kind => kind == EntryKind::Folder,
        };
        if self.path.starts_with("/home") || !is_typable(&self.path) {
            return None;
        }
        Some(Open {
            path: self.path.clone(),
            is_folder,
            owner: match self.weakness {
                Weakness::Owner(owner) => Some(owner),
                _ => None,
            },
            mode: entry.mode,
        })
    }
}

/// Who could change what root runs with `program`, and what to do about it, in a few words fit for a
/// terminal; `None` when only root could (or the user that the service itself runs as).
#[must_use]
pub fn warning(program: &str) -> Option<Phrase> {
    let path = Path::new(program);
    let exposure = Exposure::of_program(Path::new("/"), path, geteuid().as_raw())?;
    let what = exposure.what_to_do();
    Some(if exposure.findings[0].target == path {
        phrase!(
            "somebody other than root could change %{program}, which the service runs: %{what}",
            program = program,
            what = what
        )
    } else {
        phrase!(
            "somebody other than root could change what %{program} runs in turn: %{what}",
            program = program,
            what = what
        )
    })
}

/// The same for a file that says what root runs, or that would if somebody put it there.
#[must_use]
pub fn warning_of_config(file: &Path) -> Option<Phrase> {
    let exposure = Exposure::of_file(file, geteuid().as_raw())?;
    Some(phrase!(
        "somebody other than root could change this file, which says what root runs: %{what}",
        what = exposure.what_to_do()
    ))
}

/// That somebody else could change something that root runs.
#[derive(Debug)]
pub(crate) struct Exposure {
    /// At least one.
    findings: Vec<Finding>,
}

impl Exposure {
    /// That of what root runs with `program`, the program itself first; `None` when only root or the user
    /// `trusted` could change any of it. Every path is below `root`, the machine's.
    pub(crate) fn of_program(root: &Path, program: &Path, trusted: u32) -> Option<Self> {
        let mut judge = Judge::new(trusted);
        for (index, link) in chain::of(root, program).iter().enumerate() {
            // What a program runs in turn and can't be looked at is nothing to be told of it.
            judge.tells_unseen = index == 0;
            match link {
                Link::File(file) => judge.follow(file, false),
                Link::Folder(folder) => judge.follow(folder, true),
            }
        }
        judge.exposure()
    }

    /// That of one file. Where not even its folder is there, nothing has ever been there to be judged.
    pub(crate) fn of_file(file: &Path, trusted: u32) -> Option<Self> {
        // Somebody may have named it from where he is.
        let file = path::absolute(file).ok()?;
        if !file.parent().is_some_and(Path::is_dir) {
            return None;
        }
        let mut judge = Judge::new(trusted);
        judge.follow(&file, false);
        judge.exposure()
    }

    /// All of them in one, if there are any.
    pub(crate) fn joined(exposures: impl IntoIterator<Item = Self>) -> Option<Self> {
        let mut findings: Vec<Finding> = Vec::new();
        for finding in exposures.into_iter().flat_map(|one| one.findings) {
            if !findings.iter().any(|known| known.path == finding.path) {
                findings.push(finding);
            }
        }
        (!findings.is_empty()).then_some(Self { findings })
    }

    /// What of it can be changed: folders, programs.
    pub(crate) fn paths(&self) -> impl ExactSizeIterator<Item = &Path> {
        self.findings.iter().map(|finding| finding.path.as_path())
    }

    /// The files for which there is no command: they have to move to where only root can write.
    pub(crate) fn misplaced(&self) -> Vec<&Path> {
        let findings = self.findings.iter();
        let without = findings.filter(|finding| finding.open().is_none());
        let mut files: Vec<&Path> = without.map(|finding| finding.target.as_path()).collect();
        files.dedup();
        files
    }

    /// What fixes the rest.
    pub(crate) fn remedy(&self) -> Option<Remedy> {
        let open: Vec<Open> = self.findings.iter().filter_map(Finding::open).collect();
        remedy::of(&open)
    }

    /// What can be changed by whom, the first of it, and what to do, with the command last.
    fn what_to_do(&self) -> Phrase {
        let first = describe(&self.findings[0]);
        let what = match self.findings.len() - 1 {
            0 => first,
            more => phrase!(
                "%{first} (and %{more} more)",
                first = first,
                more = more.to_string()
            ),
        };
        let misplaced = self.misplaced();
        let place = misplaced.first().map(|file| {
            phrase!(
                "move %{file} to where only root can write, such as /usr/local/bin",
                file = file.display().to_string()
            )
        });
        let fix = self.remedy().map(|remedy| {
            phrase!(
                "\"mfe-watchdog doctor\" says what to look out for, and how to undo it; this fixes it: %{command}",
                command = remedy.command
            )
        });
        let all = [place, fix].into_iter().flatten();
        all.fold(what, |first, then| {
            phrase!("%{first}; %{then}", first = first, then = then)
        })
    }
}

/// Follows paths and collects everything that is weak.
struct Judge {
    trusted: u32,
    /// Whether what can't be looked at counts.
    tells_unseen: bool,
    findings: Vec<Finding>,
    known: BTreeSet<PathBuf>,
    /// What was looked at: many paths lead through the same folders.
    entries: BTreeMap<PathBuf, Entry>,
}

impl Judge {
    fn new(trusted: u32) -> Self {
        Self {
            trusted,
            tells_unseen: true,
            findings: Vec::new(),
            known: BTreeSet::new(),
            entries: BTreeMap::new(),
        }
    }

    /// What is at a path, links not followed.
    fn entry(&mut self, path: &Path) -> io::Result<Entry> {
        if let Some(entry) = self.entries.get(path) {
            return Ok(*entry);
        }
        let entry = Entry::of(path, &fs::symlink_metadata(path)?);
        self.entries.insert(path.to_owned(), entry);
        Ok(entry)
    }

    fn exposure(self) -> Option<Exposure> {
        let findings = self.findings;
        (!findings.is_empty()).then_some(Exposure { findings })
    }

    fn note(&mut self, target: &Path, path: &Path, entry: Option<Entry>, weakness: Weakness) {
        // What can't be looked at in a folder that is weak needs no words of its own. And paths may lead
        // through the same folder.
        let is_unseen = matches!(weakness, Weakness::Unseen(_));
        let goes_without_saying = is_unseen && !(self.tells_unseen && self.findings.is_empty());
        if !goes_without_saying && self.known.insert(path.to_owned()) {
            self.findings.push(Finding {
                path: path.to_owned(),
                entry,
                weakness,
                target: target.to_owned(),
            });
        }
    }

    /// Judges everything on the way to `target`, and that itself; where it is `searched` for files, also
    /// whether others could put one there.
    fn follow(&mut self, target: &Path, searched: bool) {
        let mut ahead: VecDeque<OsString> = names(target);
        let mut folders: Vec<(PathBuf, Entry)> = Vec::new();
        let mut links = 0;
        let mut path = PathBuf::from("/");
        loop {
            let entry = match self.entry(&path) {
                Ok(entry) => entry,
                Err(error)
                    if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
                {
                    self.absent_in(target, folders.last());
                    return;
                }
                Err(error) => {
                    self.note(target, &path, None, Weakness::Unseen(error.to_string()));
                    return;
                }
            };
            let is_sticky = folders.last().is_some_and(|(_, folder)| folder.is_sticky());
            if let Some(weakness) = weakness(entry, is_sticky, self.trusted) {
                self.note(target, &path, Some(entry), weakness);
            }
            match entry.kind {
                EntryKind::File => return,
                EntryKind::Folder => folders.push((path.clone(), entry)),
                EntryKind::Link => {
                    links += 1;
                    match fs::read_link(&path) {
                        _ if links > LINKS_MAX => return,
                        Ok(leads_to) => {
                            if leads_to.is_absolute() {
                                folders.truncate(1);
                            }
                            for name in names(&leads_to).into_iter().rev() {
                                ahead.push_front(name);
                            }
                        }
                        Err(error) => {
                            self.note(target, &path, None, Weakness::Unseen(error.to_string()));
                            return;
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
                    None => {
                        if searched {
                            self.absent_in(target, folders.last());
                        }
                        return;
                    }
                }
            }
        }
    }

    /// Judges whether others could put something into a folder.
    fn absent_in(&mut self, target: &Path, folder: Option<&(PathBuf, Entry)>) {
        if let Some((folder, entry)) = folder {
            if let Some(weakness) = weakness_of_absence(*entry) {
                self.note(target, folder, Some(*entry), weakness);
            }
        }
    }
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
            "%{path} can't be checked: %{why}",
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
    use std::os::unix::fs::PermissionsExt;

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
            target: format!("{path}/program").into(),
        };
        for finding in [
            finding("/tmp", 0o1777, Weakness::Everybody),
            finding("/home/pdv", 0o755, Weakness::Owner(ME)),
        ] {
            let target = finding.target.clone();
            let exposure = Exposure {
                findings: vec![finding],
            };
            assert_eq!(exposure.remedy(), None, "{exposure:?}");
            assert_eq!(exposure.misplaced(), [target]);
        }
    }

    #[test]
    fn whoever_could_add_a_library_could_change_a_program() {
        let folder = tempfile::tempdir().unwrap();
        let searched = folder.path().join("lib");
        fs::create_dir(&searched).unwrap();
        let judged = |mode: u32, searches: bool| {
            fs::set_permissions(&searched, fs::Permissions::from_mode(mode)).unwrap();
            let mut judge = Judge::new(geteuid().as_raw());
            judge.follow(&searched, searches);
            judge.findings.len()
        };
        assert_eq!(judged(0o1777, false), 0);
        assert_eq!(judged(0o1777, true), 1);
        assert_eq!(judged(0o777, true), 1);
        assert_eq!(judged(0o755, true), 0);
    }
}
