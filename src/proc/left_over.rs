//! Says what a process is that may be left of a start, and reads what little tells that; which ones are
//! left is found out in [`crate::start`], and what that means decided in [`crate::machine`].

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use mfe_common::escape::printable;

use super::listing::arguments;
use super::stat::{Stat, Status};
use super::usage::is_gone;
use super::{Difference, Impostor, ProcessId};
use crate::sys::user::name_of as user_name;

/// Programs that run somebody's script, but for those whose name has a version behind it.
const INTERPRETERS: [&str; 11] = [
    "ash", "awk", "bash", "busybox", "dash", "gawk", "ksh", "mawk", "mksh", "sh", "zsh",
];

/// Interpreters whose name may have a version behind it: `python3.11`.
const VERSIONED: [&str; 6] = ["expect", "lua", "perl", "python", "ruby", "tclsh"];

/// Programs that a script uses to wait, or to run another program.
const HELPERS: [&str; 9] = [
    "env", "flock", "nohup", "runuser", "setsid", "sleep", "su", "sudo", "timeout",
];

/// An argument of these is the script, if one is.
const ARGUMENTS_WITH_A_SCRIPT: usize = 3;

/// Who is left of a start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Left {
    /// The living processes, by pid.
    pub processes: Vec<LeftOver>,
    /// Whether these are all. Where not, nobody among them means nothing.
    pub can_tell: bool,
}

/// A living process that is left of a start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOver {
    /// Which process it is.
    pub id: ProcessId,
    /// Its name, as the kernel keeps it; it may hold anything.
    pub comm: String,
    /// What it runs; `None` where that can't be read.
    pub exe: Option<PathBuf>,
    /// Whether it is the start program itself, not something that this one has started.
    pub is_start_program: bool,
    /// Whether it is a shell, or an interpreter with a script, or waits for one: then it is still on
    /// its way to be something else, or nothing. What is unknown isn't one.
    pub is_script: bool,
    /// Its effective user; `None` where that can't be read.
    pub uid: Option<u32>,
}

impl LeftOver {
    /// What a person is told of it, where it runs in the place of the program that is meant.
    #[must_use]
    pub fn as_impostor(&self) -> Impostor {
        let name = printable(&self.comm);
        let path = self
            .exe
            .as_ref()
            .map(|exe| printable(&exe.to_string_lossy()));
        let user = self
            .uid
            .map(|uid| user_name(uid).unwrap_or_else(|| uid.to_string()));
        Impostor {
            id: self.id,
            uid: self.uid,
            user: user.unwrap_or_else(|| "?".to_owned()),
            path: path.unwrap_or_else(|| format!("[{name}]")),
            name,
            difference: Difference::Name,
        }
    }
}

/// What /proc/PID/stat says of whose child a living process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kin {
    /// Which process it is.
    pub id: ProcessId,
    /// The pid of its parent, or of whoever inherited it.
    pub parent: i32,
    /// The pid of the one that began its session.
    pub session: i32,
}

/// A living process below `root`; `None` when it is gone.
///
/// # Errors
/// When it can't be looked at.
pub fn kin(root: &Path, pid: i32) -> io::Result<Option<Kin>> {
    let stat = read(root, pid, "stat", |text| {
        let stat = Stat::parse(text);
        let malformed = || io::Error::other("it isn't in the format that proc(5) describes");
        let stat = stat.ok_or_else(malformed)?;
        let id = ProcessId {
            pid,
            start_time: stat.start_time,
        };
        Ok((!stat.is_dead()).then_some(Kin {
            id,
            parent: stat.parent,
            session: stat.session,
        }))
    })?;
    Ok(stat.flatten())
}

/// All living processes below `root`, in no order.
///
/// # Errors
/// When one of them can't be looked at, or the table isn't whole.
pub fn all_kin(root: &Path) -> io::Result<Vec<Kin>> {
    let mut all = Vec::new();
    let mut saw_init = false;
    for entry in fs::read_dir(root)? {
        let name = entry?.file_name();
        if let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) {
            saw_init |= pid == 1;
            all.extend(kin(root, pid)?);
        }
    }
    if !saw_init {
        return Err(io::Error::other("it doesn't show every process"));
    }
    Ok(all)
}

/// The pids of the children of a process's main thread (proc(5), /proc/PID/task/TID/children); none
/// where the kernel doesn't tell.
#[must_use]
pub fn children(root: &Path, pid: i32) -> Vec<i32> {
    let text = fs::read_to_string(root.join(format!("{pid}/task/{pid}/children")));
    let text = text.unwrap_or_default();
    text.split_ascii_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect()
}

impl LeftOver {
    /// What this process below `root` is now; `None` when it is gone. `is_start_command` judges its
    /// arguments, and only those of one that leads its session.
    ///
    /// # Errors
    /// When it can't be looked at.
    pub fn read(
        root: &Path,
        id: ProcessId,
        is_start_command: &dyn Fn(&[String]) -> bool,
    ) -> io::Result<Option<Self>> {
        let comm = read(root, id.pid, "stat", |text| {
            let stat = Stat::parse(text).filter(|stat| stat.start_time == id.start_time);
            let living = stat.filter(|stat| !stat.is_dead());
            Ok(living.map(|stat| {
                let comm = String::from_utf8_lossy(stat.comm).into_owned();
                (comm, stat.session == id.pid)
            }))
        })?;
        let Some((comm, leads_session)) = comm.flatten() else {
            return Ok(None);
        };
        let cmdline = read(root, id.pid, "cmdline", |text| Ok(arguments(text)));
        let arguments = cmdline.ok().flatten().unwrap_or_default();
        let status = read(root, id.pid, "status", |text| Ok(Status::parse(text)));
        let exe = fs::read_link(root.join(format!("{}/exe", id.pid))).ok();
        Ok(Some(Self {
            id,
            is_start_program: leads_session && is_start_command(&arguments),
            is_script: exe
                .as_deref()
                .is_some_and(|exe| is_script(exe, &comm, &arguments)),
            comm,
            exe,
            uid: status.ok().flatten().and_then(|status| status.uid),
        }))
    }
}

/// Whether an executable runs a script, or waits for one. A script has the name of its file, which its
/// interpreter has among its arguments (execve(2)).
fn is_script(exe: &Path, comm: &str, arguments: &[String]) -> bool {
    let name = base_name(&exe.to_string_lossy());
    let name = name.strip_suffix(" (deleted)").unwrap_or(&name).to_owned();
    let bare = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    let has_script = || {
        let mut rest = arguments.iter().skip(1).take(ARGUMENTS_WITH_A_SCRIPT - 1);
        !comm.is_empty()
            && !name.starts_with(comm)
            && rest.any(|argument| base_name(argument).starts_with(comm))
    };
    INTERPRETERS.contains(&name.as_str())
        || VERSIONED.contains(&bare)
        || HELPERS.contains(&name.as_str())
        || has_script()
}

fn base_name(path: &str) -> String {
    path.rsplit('/').next().unwrap_or_default().to_owned()
}

/// Makes something of a file of a process; `None` when the process is gone.
fn read<T>(
    root: &Path,
    pid: i32,
    file: &str,
    make: impl FnOnce(&[u8]) -> io::Result<T>,
) -> io::Result<Option<T>> {
    match fs::read(root.join(format!("{pid}/{file}"))) {
        Ok(text) => make(&text).map(Some),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says_script(exe: &str, comm: &str, arguments: &[&str]) -> bool {
        let arguments: Vec<_> = arguments.iter().map(|word| (*word).to_owned()).collect();
        is_script(Path::new(exe), comm, &arguments)
    }

    #[test]
    fn scripts_are_told_from_programs() {
        let script = "/opt/x/run.sh";
        assert!(says_script("/usr/bin/dash", "run.sh", &["/bin/sh", script]));
        assert!(says_script("/usr/bin/python3.11", "python3", &["python3"]));
        assert!(says_script("/usr/bin/perl (deleted)", "x", &["perl", "x"]));
        assert!(says_script("/usr/bin/sleep", "sleep", &["sleep", "6"]));
        let arguments = ["/opt/vendor/rt", "-x", "/opt/x/slow"];
        assert!(says_script("/opt/vendor/rt", "slow", &arguments));
        assert!(!says_script("/opt/x/Monitor", "Monitor", &["Monitor"]));
        let arguments = ["Monitor", "/opt/x/Monitor"];
        assert!(!says_script("/opt/x/Monitor", "Monitor", &arguments));
        assert!(!says_script("/opt/x/m", "renamed", &["/opt/x/m", "--a"]));
        assert!(!says_script("/opt/x/m", "", &["/opt/x/m", ""]));
    }

    #[test]
    fn this_test_is_a_program_with_kin() {
        let root = Path::new("/proc");
        let me = i32::try_from(std::process::id()).unwrap();
        let kin = kin(root, me).unwrap().unwrap();
        assert!(all_kin(root).unwrap().iter().any(|any| any.id == kin.id));
        let program = std::env::args().next().unwrap();
        let left = LeftOver::read(root, kin.id, &|words| words.first() == Some(&program));
        let left = left.unwrap().unwrap();
        assert!(!left.is_script, "{left:?}");
        assert_eq!(left.uid, Some(rustix::process::geteuid().as_raw()));
        assert_eq!(left.is_start_program, kin.session == me);
        let other = ProcessId {
            start_time: 0,
            ..kin.id
        };
        assert_eq!(LeftOver::read(root, other, &|_| true).unwrap(), None);
    }

    #[test]
    fn a_table_that_is_not_whole_is_no_answer() {
        let directory = tempfile::tempdir().unwrap();
        assert!(all_kin(directory.path()).is_err());
        assert_eq!(super::kin(directory.path(), 7).unwrap(), None);
    }
}
