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

/// The names of hierarchies in /proc/PID/cgroup.
const UNIFIED: &str = "";
const NAMED: &str = "name=systemd";

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
    /// When that is unknown.
    pub(crate) fn members(&self, is_meant: &dyn Fn(&str) -> bool) -> io::Result<Vec<i32>> {
        let mut count = 0;
        let mut units = match self.root() {
            Ok(root) => units(root, is_meant, &mut count)?,
            // PID 1 may be hidden from us (hidepid=), but not the unit that we are in ourselves.
            Err(error) => vec![self.own(is_meant).ok_or(error)?],
        };
        let mut pids = Vec::new();
        while let Some(group) = units.pop() {
            count_up(&mut count)?;
            pids.extend(processes(&group)?);
            units.extend(directories(&group)?.into_iter().map(|(_, path)| path));
        }
        pids.sort_unstable();
        Ok(pids)
    }

    /// The path of a process's group; `None` when the process is gone.
    ///
    /// # Errors
    /// When that is unknown; of the kind `NotFound` where systemd has no hierarchy.
    pub(crate) fn of_process(&self, pid: &str) -> io::Result<Option<String>> {
        let (_, name) = self.hierarchy()?;
        match fs::read_to_string(self.proc.join(pid).join("cgroup")) {
            Ok(text) => Ok(path_in(&text, name).map(str::to_owned)),
            Err(error) if is(&error, Errno::ENOENT) || is(&error, Errno::ESRCH) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether a process is in the very group that we are in ourselves; not if that is unknown. Only
    /// who may write to a group can put a process in it, which for one of systemd's is root.
    pub(crate) fn is_in_ours(&self, pid: i32) -> bool {
        let pid = pid.to_string();
        let group = |pid: &str| match self.of_process(pid) {
            // Where systemd has no hierarchy, all of them have to be the same.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::read_to_string(self.proc.join(pid).join("cgroup")).ok()
            }
            group => group.ok().flatten(),
        };
        group("self").is_some_and(|ours| group(&pid) == Some(ours))
    }

    /// The directory that holds all units. A container has one of its own, below that of its machine
    /// where it sees them all.
    fn root(&self) -> io::Result<PathBuf> {
        let (hierarchy, name) = self.hierarchy()?;
        let text = fs::read_to_string(self.proc.join("1/cgroup"))?;
        let root = path_in(&text, name).and_then(|path| path.strip_suffix(INIT));
        let root = root.ok_or_else(|| io::Error::other("PID 1 isn't systemd"))?;
        let root = hierarchy.join(root.trim_start_matches('/'));
        // Without it every unit would seem to have no process.
        fs::metadata(&root)?;
        Ok(root)
    }

    /// The directory of the unit that we are in ourselves, if that is meant.
    fn own(&self, is_meant: &dyn Fn(&str) -> bool) -> Option<PathBuf> {
        let (hierarchy, _) = self.hierarchy().ok()?;
        let ours = PathBuf::from(self.of_process("self").ok()??);
        let is_meant = |path: &&Path| path.file_name()?.to_str().map(is_meant);
        let unit = ours
            .ancestors()
            .find(|path| is_meant(path).unwrap_or_default())?;
        Some(hierarchy.join(unit.strip_prefix("/").ok()?))
    }

    /// Where systemd's hierarchy is, and its name in /proc/PID/cgroup.
    fn hierarchy(&self) -> io::Result<(PathBuf, &'static str)> {
        let is_unified = |path: &Path| path.join("cgroup.controllers").exists();
        if is_unified(&self.mounted) {
            return Ok((self.mounted.clone(), UNIFIED));
        }
        let named = self.mounted.join("systemd");
        if named.is_dir() {
            // systemd 232 has the unified one here.
            let name = if is_unified(&named) { UNIFIED } else { NAMED };
            return Ok((named, name));
        }
        let unified = self.mounted.join("unified");
        if unified.is_dir() {
            return Ok((unified, UNIFIED));
        }
        let nowhere = "no hierarchy of systemd's is mounted";
        Err(io::Error::new(io::ErrorKind::NotFound, nowhere))
    }
}

/// The directories of those units below `root` that are meant.
fn units(
    root: PathBuf,
    is_meant: &dyn Fn(&str) -> bool,
    count: &mut usize,
) -> io::Result<Vec<PathBuf>> {
    let mut units = Vec::new();
    let mut left = vec![root];
    while let Some(slice) = left.pop() {
        count_up(count)?;
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
    Ok(units)
}

/// The path of a process's group in a hierarchy, by the text of its /proc/PID/cgroup (cgroups(7)).
fn path_in<'a>(cgroup: &'a str, name: &str) -> Option<&'a str> {
    cgroup.lines().find_map(|line| {
        let (hierarchy, path) = line.split_once(':')?.1.split_once(':')?;
        (hierarchy == name).then_some(path)
    })
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
        let tree = Tree::new("systemd", "0::/init.scope\n", &GROUPS);
        let controllers = tree.0.path().join("cgroup/systemd/cgroup.controllers");
        fs::write(controllers, "").unwrap();
        assert_eq!(tree.members(UNIT).unwrap(), [7, 20, 21], "as of 232");
    }

    #[test]
    fn a_hierarchy_that_the_machine_around_has_does_not_count() {
        let tree = Tree::unified(&GROUPS);
        let init = "1:name=systemd:/\n0::/init.scope\n";
        fs::write(tree.0.path().join("proc/1/cgroup"), init).unwrap();
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
    fn our_own_unit_is_read_where_pid_1_is_hidden() {
        let tree = Tree::unified(&GROUPS);
        let proc = tree.0.path().join("proc");
        fs::remove_dir_all(proc.join("1")).unwrap();
        assert!(tree.members(UNIT).is_err());
        fs::create_dir_all(proc.join("self")).unwrap();
        let ours = format!("0::/system.slice/system-mfe.slice/{UNIT}\n");
        fs::write(proc.join("self/cgroup"), ours).unwrap();
        assert_eq!(tree.members(UNIT).unwrap(), [7, 20, 21]);
        assert!(tree.members("cpu.service").is_err());
    }

    #[test]
    fn our_own_group_is_known_in_every_hierarchy() {
        let ours = "/system.slice/mfe-watchdog.service";
        let users = "/user.slice/user-1000.slice/user@1000.service/mfe-watchdog.service";
        for (hierarchy, ours, same, others) in [
            (
                "",
                format!("0::{ours}\n"),
                format!("0::{ours}\n"),
                format!("0::{users}\n"),
            ),
            (
                "systemd",
                format!("4:cpu:/\n1:name=systemd:{ours}\n"),
                format!("4:cpu:{ours}\n1:name=systemd:{ours}\n"),
                format!("4:cpu:/\n1:name=systemd:{users}\n"),
            ),
            (
                "systemd",
                format!("1:name=systemd:{ours}\n0::{ours}\n"),
                format!("1:name=systemd:{ours}\n0::/\n"),
                // What somebody could do in a hierarchy that isn't systemd's.
                format!("1:name=systemd:{users}\n0::{ours}\n"),
            ),
            (
                "unified",
                format!("0::{ours}\n"),
                format!("0::{ours}\n"),
                format!("0::{ours}/sub\n"),
            ),
            (
                "none",
                format!("1:cpu:{ours}\n"),
                format!("1:cpu:{ours}\n"),
                format!("1:cpu:{users}\n"),
            ),
        ] {
            let tree = Tree::new(hierarchy, "", &[("x.slice", "")]);
            if hierarchy.is_empty() {
                fs::write(tree.0.path().join("cgroup/cgroup.controllers"), "").unwrap();
            }
            let proc = tree.0.path().join("proc");
            for (pid, text) in [("self", &ours), ("20", &same), ("30", &others)] {
                fs::create_dir_all(proc.join(pid)).unwrap();
                fs::write(proc.join(pid).join("cgroup"), text).unwrap();
            }
            let groups = ControlGroups::new(tree.0.path().join("cgroup"), proc);
            assert!(groups.is_in_ours(20), "{same}");
            assert!(!groups.is_in_ours(30), "{others}");
            assert!(!groups.is_in_ours(40), "gone");
        }
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
        assert_eq!(path_in("0::/a\n", UNIFIED), Some("/a"));
        let hybrid = "0::/a\n1:name=systemd:/b:c\n";
        assert_eq!(path_in(hybrid, NAMED), Some("/b:c"));
        assert_eq!(path_in(hybrid, UNIFIED), Some("/a"));
        assert_eq!(path_in("3:cpu:/a\n", UNIFIED), None);
        assert_eq!(path_in("nonsense", UNIFIED), None);
    }
}
