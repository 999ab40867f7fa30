//! Cleans up after the tests however they end: a second process waits for the first one's end,
//! which not even SIGKILL can keep from it, and then removes what was for this run only.

use std::env;
use std::fs;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::wait::wait_for;

/// Makes this program the janitor.
const ARGUMENT: &str = "--janitor";

const PREFIX: &str = "mfe-watchdog-system-";

/// Where things are that last as long as one run: a folder, and control groups by prefix.
pub struct Scene {
    folder: PathBuf,
    name: String,
    janitor: Child,
}

impl Scene {
    /// Removes what a run has left whose janitor was killed too, and opens a new scene, with its
    /// folder in the folder `place`.
    pub fn open(place: &Path) -> Result<Self> {
        remove_stale(place);
        let name = format!("{PREFIX}{}", std::process::id());
        let folder = place.join(&name);
        let janitor = Command::new(env::current_exe()?)
            .arg(ARGUMENT)
            .arg(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            // Not in our process group: Ctrl-C is meant for the tests.
            .process_group(0)
            .spawn()
            .context("starting the janitor")?;
        fs::create_dir_all(&folder)?;
        Ok(Self {
            folder,
            name,
            janitor,
        })
    }

    /// A folder of this run's own.
    pub fn folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.folder.join(name);
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    /// Makes a control group in every hierarchy that systemd uses. Containers that shared one
    /// would get into each other's way.
    pub fn control_groups(&self, name: &str) -> Result<Vec<PathBuf>> {
        hierarchies()
            .into_iter()
            .map(|hierarchy| {
                let group = hierarchy.join(format!("{}-{name}", self.name));
                fs::create_dir(&group).with_context(|| group.display().to_string())?;
                Ok(group)
            })
            .collect()
    }

    /// Ends the scene and waits until all is gone.
    pub fn close(mut self) {
        drop(self.janitor.stdin.take());
        // The janitor has said on standard error what it could not do.
        let _ = self.janitor.wait();
    }
}

/// The janitor's whole life, if that is what this program was started for: every program that opens a
/// [`Scene`] begins with it. Its standard input ends when the tests do.
pub fn run_if_asked() -> bool {
    let mut words = env::args_os().skip(1);
    if words.next().is_none_or(|word| word != ARGUMENT) {
        return false;
    }
    if let Some(folder) = words.next() {
        wait_and_clean(Path::new(&folder));
    }
    true
}

fn wait_and_clean(folder: &Path) {
    // An error is as good an end as any.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    if let Some(name) = folder.file_name().and_then(|name| name.to_str()) {
        remove(folder, name);
    }
}

fn remove(folder: &Path, name: &str) {
    // The containers' last processes may still be on their way out.
    let gone = wait_for(
        "nothing is left of the run",
        Duration::from_secs(20),
        || {
            let groups = control_groups_of(name);
            for group in &groups {
                remove_group(group);
            }
            let removed = fs::remove_dir_all(folder).is_ok() || !folder.exists();
            Ok((removed && groups.is_empty()).then_some(()))
        },
    );
    if let Err(error) = gone {
        eprintln!("{name}: {error}");
    }
}

fn remove_stale(folders: &Path) {
    let places = hierarchies().into_iter().chain([folders.to_owned()]);
    for name in places.flat_map(|place| names_in(&place)) {
        let Some(pid) = name
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split('-').next())
        else {
            continue;
        };
        if !Path::new("/proc").join(pid).exists() {
            let name = format!("{PREFIX}{pid}");
            remove(&folders.join(&name), &name);
        }
    }
}

fn control_groups_of(name: &str) -> Vec<PathBuf> {
    let belongs = |other: &String| {
        other
            .strip_prefix(name)
            .is_some_and(|rest| rest.starts_with('-'))
    };
    let groups_in = |hierarchy: PathBuf| {
        let names = names_in(&hierarchy).into_iter().filter(belongs);
        names.map(|name| hierarchy.join(name)).collect::<Vec<_>>()
    };
    hierarchies().into_iter().flat_map(groups_in).collect()
}

/// Control groups go one by one, from the leaves; their files are no files.
fn remove_group(group: &Path) {
    for name in names_in(group) {
        let child = group.join(name);
        if child.is_dir() {
            remove_group(&child);
        }
    }
    // One that is still in use is tried again.
    let _ = fs::remove_dir(group);
}

fn hierarchies() -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    if root.join("cgroup.controllers").exists() {
        return vec![root.to_owned()];
    }
    ["unified", "systemd"]
        .map(|name| root.join(name))
        .into_iter()
        .filter(|h| h.exists())
        .collect()
}

fn names_in(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}
