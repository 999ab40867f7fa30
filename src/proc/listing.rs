//! Lists everything that runs, for a person's questions; whether a program that is watched lives
//! is for [`super::ProcessTable`] to say, for a process may hide from a single reading.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use super::ProcessId;
use super::stat::{Stat, Status};

/// More of a file than this isn't read, in bytes: a status lists up to 65,536 groups.
const FILE_MAX: u64 = 1024 * 1024;

/// More of a process's arguments isn't read, in bytes; one that has more isn't known by them.
const ARGUMENTS_MAX: usize = 16 * 1024;

/// More of them aren't told apart.
const ARGUMENTS_COUNT: usize = 64;

/// More arguments aren't kept of all processes together, in bytes: anybody may run many with long ones.
const ALL_MAX: usize = 16 * 1024 * 1024;

/// A living process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// Which process it is.
    pub id: ProcessId,
    /// The pid of its parent, or of whoever inherited it.
    pub parent: i32,
    /// The pid of the one that began its session.
    pub session: i32,
    /// Its name, as the kernel keeps it.
    pub comm: String,
    /// Its arguments, the program's name first, as far as they are asked for; none if they can't be read.
    pub arguments: Vec<String>,
    /// The systemd unit it is in.
    pub unit: Option<String>,
}

/// The processes of the table below `root`, by pid; without threads of the kernel, the dead, and
/// those in containers. What ends meanwhile is left out.
///
/// # Errors
/// When the table can't be read.
pub fn running(root: &Path) -> io::Result<Vec<Running>> {
    let mut running = running_such(root, &|_| true)?;
    // Threads of the kernel have none.
    running.retain(|process| !process.arguments.is_empty());
    Ok(running)
}

/// The same with the arguments of those only that are asked for, of which all else is known: reading them
/// takes long where somebody runs many processes.
///
/// # Errors
/// As [`running`].
pub fn running_such(root: &Path, is_such: &dyn Fn(&Running) -> bool) -> io::Result<Vec<Running>> {
    let mut left = ALL_MAX;
    let mut running = Vec::new();
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        let pid = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        let process = pid.and_then(|pid| read(&entry.path(), pid));
        running.extend(process.map(|mut process| {
            if left > 0 && is_such(&process) {
                let cmdline = contents(&entry.path().join("cmdline"), ARGUMENTS_MAX as u64 + 1);
                let cmdline = cmdline.unwrap_or_default();
                process.arguments = arguments(&cmdline[..cmdline.len().min(ARGUMENTS_MAX)]);
                process.arguments.truncate(ARGUMENTS_COUNT);
                left = left.saturating_sub(cmdline.len());
            }
            process
        }));
    }
    running.sort_unstable_by_key(|process: &Running| process.id);
    Ok(running)
}

fn read(entry: &Path, pid: i32) -> Option<Running> {
    let text = contents(&entry.join("stat"), FILE_MAX).ok()?;
    let stat = Stat::parse(&text)?;
    let status = contents(&entry.join("status"), FILE_MAX);
    let status = Status::parse(&status.unwrap_or_default());
    let is_contained = status.namespaces.is_some_and(|namespaces| namespaces > 1);
    if stat.is_dead() || is_contained {
        return None;
    }
    let cgroups = contents(&entry.join("cgroup"), FILE_MAX).unwrap_or_default();
    Some(Running {
        id: ProcessId {
            pid,
            start_time: stat.start_time,
        },
        parent: stat.parent,
        session: stat.session,
        comm: String::from_utf8_lossy(stat.comm).into_owned(),
        arguments: Vec::new(),
        unit: unit(&String::from_utf8_lossy(&cgroups)),
    })
}

fn contents(file: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut contents = Vec::new();
    File::open(file)?.take(most).read_to_end(&mut contents)?;
    Ok(contents)
}

/// Each argument ends with a NUL (proc(5), /proc/PID/cmdline); of nothing there are none.
pub(super) fn arguments(cmdline: &[u8]) -> Vec<String> {
    if cmdline.is_empty() {
        return Vec::new();
    }
    let cmdline = cmdline.strip_suffix(b"\0").unwrap_or(cmdline);
    let arguments = cmdline.split(|byte| *byte == 0);
    arguments
        .map(|argument| String::from_utf8_lossy(argument).into_owned())
        .collect()
}

/// The innermost service of systemd's own hierarchy (cgroups(7), /proc/PID/cgroup).
fn unit(cgroups: &str) -> Option<String> {
    let mut paths = cgroups.lines().filter_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        matches!(controllers, "" | "name=systemd").then_some(path)
    });
    let service = paths.find_map(|path| path.rsplit('/').find(|name| name.ends_with(".service")));
    service.map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_read_from_either_hierarchy() {
        let unit = |text| unit(text);
        assert_eq!(
            unit("0::/system.slice/cco.service\n").unwrap(),
            "cco.service"
        );
        assert_eq!(
            unit("4:cpu:/x.service\n1:name=systemd:/system.slice/a@b.service/sub\n").unwrap(),
            "a@b.service"
        );
        assert_eq!(unit("0::/user.slice/session-1.scope\n"), None);
        assert_eq!(unit(""), None);
    }

    #[test]
    fn arguments_may_be_empty() {
        assert_eq!(arguments(b"a\0\0b\0"), ["a", "", "b"]);
        assert_eq!(arguments(b"title"), ["title"]);
    }

    #[test]
    fn this_test_runs() {
        let processes = running(Path::new("/proc")).unwrap();
        let me = i32::try_from(std::process::id()).unwrap();
        let mine = processes.iter().find(|process| process.id.pid == me);
        let program = std::env::args().next();
        assert_eq!(mine.unwrap().arguments.first(), program.as_ref());
    }
}
