//! Lists everything that runs, for a person's questions; whether a program that is watched over lives
//! is for [`super::ProcessTable`] to say, for a process may hide from a single reading.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use super::ProcessId;
use super::stat::{Stat, Status};

/// More of a file than this isn't read, in bytes.
const FILE_MAX: u64 = 64 * 1024;

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
    /// Its arguments, the program's name first; none if they can't be read.
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
    let mut running = Vec::new();
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        let pid = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        running.extend(pid.and_then(|pid| read(&entry.path(), pid)));
    }
    running.sort_unstable_by_key(|process: &Running| process.id);
    Ok(running)
}

fn read(entry: &Path, pid: i32) -> Option<Running> {
    let text = contents(&entry.join("stat")).ok()?;
    let stat = Stat::parse(&text)?;
    let status = Status::parse(&contents(&entry.join("status")).unwrap_or_default());
    let is_contained = status.namespaces.is_some_and(|namespaces| namespaces > 1);
    let cmdline = contents(&entry.join("cmdline")).unwrap_or_default();
    if stat.is_dead() || is_contained || cmdline.is_empty() {
        return None;
    }
    let cgroups = contents(&entry.join("cgroup")).unwrap_or_default();
    Some(Running {
        id: ProcessId {
            pid,
            start_time: stat.start_time,
        },
        parent: stat.parent,
        session: stat.session,
        comm: String::from_utf8_lossy(stat.comm).into_owned(),
        arguments: arguments(&cmdline),
        unit: unit(&String::from_utf8_lossy(&cgroups)),
    })
}

fn contents(file: &Path) -> io::Result<Vec<u8>> {
    let mut contents = Vec::new();
    File::open(file)?
        .take(FILE_MAX)
        .read_to_end(&mut contents)?;
    Ok(contents)
}

/// Each argument ends with a NUL (proc(5), /proc/PID/cmdline).
pub(super) fn arguments(cmdline: &[u8]) -> Vec<String> {
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
