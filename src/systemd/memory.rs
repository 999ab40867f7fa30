//! Whether the kernel has killed somebody in a process's control group because memory ran out: it counts
//! that in a file of the group (cgroups(7); `oom_kill` in memory.events, Linux 4.13, and in memory.oom_control
//! of the older hierarchy). It counts before it kills, so whoever hears of the end reads it there.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Longer than any such file, in bytes.
const FILE_MAX: usize = 4096;

/// The name in /proc/PID/cgroup of the older hierarchy that counts memory.
const CONTROLLER: &str = "memory";

/// Counts how often the kernel has killed in the group of one process.
#[derive(Debug)]
pub(crate) struct OomKills {
    group: String,
    counters: Vec<Counter>,
}

#[derive(Debug)]
struct Counter {
    file: File,
    count: u64,
}

impl OomKills {
    /// Those from now on in the group of a process; hierarchies are mounted at `mounted`. `None` where
    /// nothing is counted, and for a group that this process is in, too: who else is there isn't known.
    pub(crate) fn of(pid: i32, mounted: &Path, proc: &Path) -> Option<Self> {
        let groups_of = |pid: &str| text(&File::open(proc.join(pid).join("cgroup")).ok()?);
        let groups = groups_of(&pid.to_string())?;
        let (group, files) = places(&groups, mounted)?;
        let ours = groups_of("self").and_then(|ours| Some(places(&ours, mounted)?.0));
        if ours.as_deref() == Some(&*group) {
            return None;
        }
        let counters = files.iter().filter_map(|file| Counter::open(file).ok());
        let counters: Vec<Counter> = counters.collect();
        (!counters.is_empty()).then_some(Self { group, counters })
    }

    /// Whether the group is that of a unit of this name.
    pub(crate) fn is_of_unit(&self, unit: &str) -> bool {
        let parts = self.group.split('/');
        // What would look like a file of the kernel's own has a `_` before it.
        parts
            .map(|part| part.strip_prefix('_').unwrap_or(part))
            .any(|part| part == unit)
    }

    /// Whether there were any since this was last asked. A group that is gone can't be read; the one around it
    /// counts what happens in it, too.
    pub(crate) fn are_more(&mut self) -> bool {
        let mut counts = self.counters.iter_mut().filter_map(Counter::rise);
        let first = counts.next();
        // Each has to be read, so that none tells of it again.
        counts.for_each(drop);
        first.is_some_and(|rise| rise > 0)
    }
}

impl Counter {
    fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let count = read(&file).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self { file, count })
    }

    /// By how much it has risen; `None` if it can't be read any more.
    fn rise(&mut self) -> Option<u64> {
        let count = read(&self.file)?;
        let before = std::mem::replace(&mut self.count, count);
        Some(count.saturating_sub(before))
    }
}

/// The group of a process by its /proc/PID/cgroup, and the files that count there.
fn places(groups: &str, mounted: &Path) -> Option<(String, Vec<PathBuf>)> {
    let lines = groups.lines().filter_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        Some((controllers, path))
    });
    let lines: Vec<(&str, &str)> = lines.collect();
    let by = |is_it: &dyn Fn(&str) -> bool| {
        let found = lines.iter().find(|(controllers, _)| is_it(controllers));
        found.map(|(_, path)| *path)
    };
    let below = |root: PathBuf, path: &str| root.join(path.trim_start_matches('/'));
    if let Some(path) = by(&|names| names.split(',').any(|name| name == CONTROLLER)) {
        let group = below(mounted.join(CONTROLLER), path);
        return Some((path.to_owned(), vec![group.join("memory.oom_control")]));
    }
    let path = by(&|names| names.is_empty())?;
    let group = below(mounted.to_owned(), path);
    let around = group.parent().filter(|_| path != "/");
    let files = [Some(group.as_path()), around].into_iter().flatten();
    let files = files.map(|group| group.join("memory.events")).collect();
    Some((path.to_owned(), files))
}

/// The count in an open file.
fn read(file: &File) -> Option<u64> {
    let text = text(file)?;
    let mut lines = text.lines();
    lines.find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok())
}

/// What an open file says. The kernel writes these whole at once.
fn text(file: &File) -> Option<String> {
    let mut text = vec![0; FILE_MAX];
    let length = file.read_at(&mut text, 0).ok()?;
    text.truncate(length);
    String::from_utf8(text).ok()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const UNIT: &str = "mfe@a.service";

    /// A machine of which /proc and /sys/fs/cgroup are below a folder.
    struct Tree(tempfile::TempDir);

    impl Tree {
        fn new(of_program: &str) -> Self {
            let tree = Self(tempfile::tempdir().unwrap());
            tree.write("proc/self/cgroup", "4:memory:/ours\n0::/ours\n");
            tree.write("proc/7/cgroup", of_program);
            tree
        }

        fn write(&self, path: &str, text: &str) {
            let path = self.0.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn kills(&self) -> Option<OomKills> {
            let path = |name| self.0.path().join(name);
            OomKills::of(7, &path("cgroup"), &path("proc"))
        }
    }

    #[test]
    fn each_is_told_once_by_the_unified_hierarchy() {
        let tree = Tree::new("0::/system.slice/mfe@a.service\n");
        let own = "cgroup/system.slice/mfe@a.service/memory.events";
        tree.write(own, "low 0\nhigh 0\nmax 3\noom 1\noom_kill 1\n");
        tree.write("cgroup/system.slice/memory.events", "oom_kill 1\n");
        let mut kills = tree.kills().unwrap();
        assert!(kills.is_of_unit(UNIT) && !kills.is_of_unit("mfe@b.service"));
        assert!(!kills.are_more(), "an earlier one");
        tree.write(own, "low 0\nhigh 0\nmax 4\noom 2\noom_kill 2\n");
        tree.write("cgroup/system.slice/memory.events", "oom_kill 2\n");
        assert!(kills.are_more());
        assert!(!kills.are_more());
        tree.write("cgroup/system.slice/memory.events", "oom_kill 3\n");
        assert!(!kills.are_more(), "somebody else's");
    }

    #[test]
    fn of_a_group_that_is_gone_the_one_around_it_tells() {
        let tree = Tree::new("0::/system.slice/mfe@a.service\n");
        let own = "cgroup/system.slice/mfe@a.service/memory.events";
        tree.write(own, "oom_kill 0\n");
        tree.write("cgroup/system.slice/memory.events", "oom_kill 0\n");
        let mut kills = tree.kills().unwrap();
        // As good as one that the kernel reads no more.
        tree.write(own, "");
        tree.write("cgroup/system.slice/memory.events", "oom_kill 1\n");
        assert!(kills.are_more());
    }

    #[test]
    fn the_older_hierarchy_counts_too() {
        let tree =
            Tree::new("9:name=systemd:/x\n4:cpu,memory:/system.slice/mfe@a.service\n0::/x\n");
        let own = "cgroup/memory/system.slice/mfe@a.service/memory.oom_control";
        tree.write(own, "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n");
        let mut kills = tree.kills().unwrap();
        tree.write(own, "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n");
        assert!(kills.are_more());
    }

    #[test]
    fn where_nothing_is_counted_nothing_is_told() {
        assert!(Tree::new("0::/a\n").kills().is_none(), "no controller");
        let old = Tree::new("4:memory:/a\n");
        // Before Linux 4.13.
        old.write("cgroup/memory/a/memory.oom_control", "under_oom 0\n");
        assert!(old.kills().is_none());
        let ours = Tree::new("0::/ours\n4:memory:/ours\n");
        ours.write("cgroup/memory/ours/memory.oom_control", "oom_kill 0\n");
        assert!(ours.kills().is_none());
        assert!(Tree::new("").kills().is_none());
    }
}
