//! Finds the control group of a unit and who is in it, without asking systemd: it must be known while
//! systemd doesn't answer, too. What is asked of systemd itself is in [`super::dbus`].
//!
//! systemd gives each unit that has processes a directory of the unit's name, below those of the slices
//! that the unit is in and nothing else (systemd.slice(5)), in its own hierarchy: all of
//! /sys/fs/cgroup (unified), or `systemd` and `unified` in it (hybrid, legacy). No controller is
//! needed for that, so a group can be read where nothing is counted.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

/// Where systemd mounts its hierarchies.
pub(crate) const MOUNTED: &str = "/sys/fs/cgroup";

/// The group of PID 1, at the root of all units (since systemd 226).
const INIT: &str = "/init.scope";

/// No till has as many groups in one place; more of them is no answer.
const GROUPS_MAX: usize = 10_000;

/// The control groups of systemd's units.
#[derive(Debug, Clone)]
pub(crate) struct ControlGroups {
    mounted: PathBuf,
    proc: PathBuf,
}

impl ControlGroups {
    /// Those below `mounted`, which is [`MOUNTED`] or a tree like it, of the machine whose processes are
    /// in `proc`.
    pub(crate) fn new(mounted: impl Into<PathBuf>, proc: impl Into<PathBuf>) -> Self {
        Self {
            mounted: mounted.into(),
            proc: proc.into(),
        }
    }

    /// The pids in the groups of those units whose name is meant, in the groups below them too; dead
    /// ones may be among them. A unit without a group has no process.
    ///
    /// # Errors
    /// When that can't be told.
    pub(crate) fn members(&self, is_meant: &dyn Fn(&str) -> bool) -> io::Result<Vec<i32>> {
        let mut units = Vec::new();
        let mut left = vec![self.root()?];
        let mut count = 0;
        while let Some(slice) = left.pop() {
            count_up(&mut count)?;
            for (name, path) in directories(&slice)? {
                // What would look like a file of the kernel's own has a `_` before it.
                let name = name.strip_prefix('_').unwrap_or(&name);
                if is_meant(name) {
                    units.push(path);
                } else if path.extension().is_some_and(|kind| kind == "slice") {
                    left.push(path);
                }
            }
        }
        let mut pids = Vec::new();
        while let Some(group) = units.pop() {
            count_up(&mut count)?;
            pids.extend(processes(&group)?);
            units.extend(directories(&group)?.into_iter().map(|(_, path)| path));
        }
        pids.sort_unstable();
        Ok(pids)
    }

    /// The directory that holds all units. A container has one of its own, below that of its machine
    /// where it sees them all.
    fn root(&self) -> io::Result<PathBuf> {
        let hierarchy = if self.mounted.join("cgroup.controllers").exists() {
            self.mounted.clone()
        } else {
            let named = ["systemd", "unified"].map(|name| self.mounted.join(name));
            let mut found = named.into_iter().filter(|path| path.is_dir());
            let none = || io::Error::other("no hierarchy of systemd's is mounted");
            found.next().ok_or_else(none)?
        };
        let text = fs::read_to_string(self.proc.join("1/cgroup"))?;
        let root = path_in(&text).and_then(|path| path.strip_suffix(INIT));
        let root = root.ok_or_else(|| io::Error::other("PID 1 isn't systemd"))?;
        let root = hierarchy.join(root.trim_start_matches('/'));
        // Without it every unit would seem to have no process.
        fs::metadata(&root)?;
        Ok(root)
    }
}

/// The path of a process's group in systemd's hierarchy, by the text of its /proc/PID/cgroup
/// (cgroups(7)).
pub(crate) fn path_in(cgroup: &str) -> Option<&str> {
    let path = |wanted: &str| {
        cgroup.lines().find_map(|line| {
            let (hierarchy, path) = line.split_once(':')?.1.split_once(':')?;
            (hierarchy == wanted).then_some(path)
        })
    };
    path("name=systemd").or_else(|| path(""))
}

fn count_up(count: &mut usize) -> io::Result<()> {
    *count += 1;
    if *count > GROUPS_MAX {
        return Err(io::Error::other("there are too many control groups"));
    }
    Ok(())
}

/// The groups in a group; none in one that has just gone.
fn directories(group: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let list = || -> io::Result<Vec<(String, PathBuf)>> {
        let mut directories = Vec::new();
        for entry in fs::read_dir(group)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                let name = entry.file_name().to_string_lossy().into_owned();
                directories.push((name, entry.path()));
            }
        }
        Ok(directories)
    };
    none_if_gone(list())
}

/// Who is in a group itself. A process that can't be seen from here has the pid 0, which nobody can do
/// anything about.
fn processes(group: &Path) -> io::Result<Vec<i32>> {
    let text = fs::read_to_string(group.join("cgroup.procs"));
    let text = none_if_gone(text.map(|text| {
        let pids = text.lines().filter_map(|line| line.parse().ok());
        pids.filter(|pid| *pid > 0).collect()
    }));
    match text {
        // A group for threads; their processes are told by the one above it (cgroups(7)).
        Err(error) if is(&error, Errno::EOPNOTSUPP) => Ok(Vec::new()),
        text => text,
    }
}

/// systemd removes a group as soon as it is empty.
fn none_if_gone<T>(list: io::Result<Vec<T>>) -> io::Result<Vec<T>> {
    match list {
        Err(error) if is(&error, Errno::ENOENT) || is(&error, Errno::ENODEV) => Ok(Vec::new()),
        list => list,
    }
}

fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: &str = "mfe@comunicador.service";

    /// A tree that holds `groups`, each with its pids, in the hierarchy at `hierarchy`.
    struct Tree(tempfile::TempDir);

    impl Tree {
        fn new(hierarchy: &str, init: &str, groups: &[(&str, &str)]) -> Self {
            let tree = tempfile::tempdir().unwrap();
            let mounted = tree.path().join("cgroup");
            for (group, pids) in groups {
                let group = mounted.join(hierarchy).join(group);
                fs::create_dir_all(&group).unwrap();
                fs::write(group.join("cgroup.procs"), pids).unwrap();
            }
            fs::create_dir_all(mounted.join("cpu")).unwrap();
            fs::create_dir_all(tree.path().join("proc/1")).unwrap();
            fs::write(tree.path().join("proc/1/cgroup"), init).unwrap();
            Self(tree)
        }

        fn unified(groups: &[(&str, &str)]) -> Self {
            let tree = Self::new("", "0::/init.scope\n", groups);
            fs::write(tree.0.path().join("cgroup/cgroup.controllers"), "cpu\n").unwrap();
            tree
        }

        fn members(&self, unit: &str) -> io::Result<Vec<i32>> {
            let path = self.0.path();
            let groups = ControlGroups::new(path.join("cgroup"), path.join("proc"));
            groups.members(&|name| name == unit)
        }
    }

    const GROUPS: [(&str, &str); 5] = [
        (
            "system.slice/system-mfe.slice/mfe@comunicador.service",
            "20\n21\n",
        ),
        (
            "system.slice/system-mfe.slice/mfe@comunicador.service/sub/deep",
            "7\n0\n",
        ),
        ("system.slice/system-mfe.slice/mfe@monitor.service", "30\n"),
        ("system.slice/_cpu.service", "40\n"),
        (
            "user.slice/user-1000.slice/user@1000.service/mfe@comunicador.service",
            "50\n",
        ),
    ];

    #[test]
    fn members_are_those_of_the_unit_and_of_the_groups_in_it() {
        let tree = Tree::unified(&GROUPS);
        assert_eq!(tree.members(UNIT).unwrap(), [7, 20, 21]);
        assert_eq!(tree.members("mfe@monitor.service").unwrap(), [30]);
        assert_eq!(tree.members("cpu.service").unwrap(), [40]);
    }

    #[test]
    fn a_unit_without_a_group_has_nobody() {
        let tree = Tree::unified(&GROUPS);
        assert_eq!(tree.members("mfe@other.service").unwrap(), [0; 0]);
        assert_eq!(tree.members("user-1000.slice").unwrap(), [50]);
    }

    #[test]
    fn the_older_hierarchies_are_read_too() {
        let legacy = "4:cpu:/\n1:name=systemd:/init.scope\n";
        let tree = Tree::new("systemd", legacy, &GROUPS);
        assert_eq!(tree.members(UNIT).unwrap(), [7, 20, 21]);
        let hybrid = "4:cpu:/\n1:name=systemd:/init.scope\n0::/init.scope\n";
        let tree = Tree::new("systemd", hybrid, &GROUPS);
        fs::create_dir_all(tree.0.path().join("cgroup/unified")).unwrap();
        assert_eq!(tree.members(UNIT).unwrap(), [7, 20, 21]);
        let tree = Tree::new("unified", "0::/init.scope\n", &GROUPS);
        assert_eq!(tree.members(UNIT).unwrap(), [7, 20, 21]);
    }

    #[test]
    fn a_container_that_sees_its_whole_machine_reads_its_own() {
        let container = "machine.slice/till.service/";
        let groups = GROUPS.map(|(path, pids)| (format!("{container}{path}"), pids));
        let groups = groups.each_ref().map(|(path, pids)| (path.as_str(), *pids));
        let init = "1:name=systemd:/machine.slice/till.service/init.scope\n";
        let tree = Tree::new("systemd", init, &groups);
        assert_eq!(tree.members(UNIT).unwrap(), [7, 20, 21]);
    }

    #[test]
    fn what_cannot_be_told_is_not_none() {
        let no_hierarchy = Tree::new("other", "0::/init.scope\n", &GROUPS);
        assert!(no_hierarchy.members(UNIT).is_err());
        let no_systemd = Tree::new("systemd", "1:name=systemd:/\n", &GROUPS);
        assert!(no_systemd.members(UNIT).is_err());
        let no_root = Tree::new("systemd", "1:name=systemd:/lxc/init.scope\n", &GROUPS);
        assert!(no_root.members(UNIT).is_err());
        let unreadable = Tree::unified(&[]);
        let group = unreadable.0.path().join("cgroup").join(UNIT);
        fs::create_dir_all(group.join("cgroup.procs")).unwrap();
        assert!(unreadable.members(UNIT).is_err());
    }

    #[test]
    fn a_path_is_that_of_systemds_hierarchy() {
        assert_eq!(path_in("0::/a\n"), Some("/a"));
        assert_eq!(path_in("0::/a\n1:name=systemd:/b:c\n"), Some("/b:c"));
        assert_eq!(path_in("3:cpu:/a\n"), None);
        assert_eq!(path_in("nonsense"), None);
    }
}
