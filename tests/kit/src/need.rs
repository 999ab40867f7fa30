//! What a test needs of the machine. Where a part of the tests can't run, whoever works there without
//! privileges runs the others and is told at the end which that is; to root and to CI it is a failure.

use std::env;
use std::fs;
use std::io::{self, Write};
use std::os::unix::process::parent_id;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::command::{in_mount_namespace, is_root};

/// Where each run notes what it had to leave out, in a file that has the pid of the cargo that runs it.
const NOTES: &str = concat!(env!("OUT_DIR"), "/not-run");

/// Something that not every machine has, or lets everybody have.
#[derive(Clone, Copy, Debug)]
pub enum Need {
    /// To be root, and what for.
    Root(&'static str),
    /// Namespaces of one's own (unshare(1)).
    Namespaces,
    /// A Debian package, which root has installed if it isn't there.
    Package(&'static str),
}

/// Ends a test that needs what it can't have here.
#[macro_export]
macro_rules! needs {
    ($($need:expr),+) => {
        $(if !$need.is_met() {
            return;
        })+
    };
}

/// Whether everything has to run, for this is CI or root.
pub fn all_must_run() -> bool {
    is_root() || env::var_os("CI").is_some_and(|ci| ci == "true")
}

impl Need {
    /// Whether the test that asks can go on. If it can't, it fails or is noted as left out.
    pub fn is_met(self) -> bool {
        let Err(lack) = self.meet() else {
            return true;
        };
        assert!(!all_must_run(), "{lack:#}");
        let test = std::thread::current();
        let note = format!("{}: {lack:#}\n", test.name().unwrap_or("a test"));
        eprint!("not run: {note}");
        if let Err(error) = add_note(&note) {
            eprintln!("{NOTES}: {error}");
        }
        false
    }

    fn meet(self) -> Result<()> {
        match self {
            Self::Root(what_for) => ensure!(is_root(), "needs root: {what_for}"),
            Self::Namespaces => {
                let made = in_mount_namespace("", "true").output();
                let is_made = made.is_ok_and(|output| output.status.success());
                ensure!(
                    is_made,
                    "needs namespaces, which others than root get none of"
                );
            }
            Self::Package(name) if is_there(name) => {}
            Self::Package(name) => {
                ensure!(is_root(), "needs the package {name}");
                install(name).with_context(|| format!("{name} can't be installed"))?;
            }
        }
        Ok(())
    }
}

/// What tests of this run were left out, and why, a line each; nobody is told again.
pub fn not_run() -> Vec<String> {
    let file = notes();
    let text = fs::read_to_string(&file).unwrap_or_default();
    // Those of runs that never came to ask go, too.
    for file in fs::read_dir(NOTES).into_iter().flatten().flatten() {
        let pid = file.file_name();
        if pid == *parent_id().to_string() || !Path::new("/proc").join(pid).exists() {
            let _ = fs::remove_file(file.path());
        }
    }
    text.lines().map(str::to_owned).collect()
}

fn notes() -> PathBuf {
    Path::new(NOTES).join(parent_id().to_string())
}

fn add_note(note: &str) -> io::Result<()> {
    fs::create_dir_all(NOTES)?;
    let mut options = fs::File::options();
    let mut file = options.append(true).create(true).open(notes())?;
    file.write_all(note.as_bytes())
}

/// Whether a package is installed, or the program of its name is there without Debian.
fn is_there(package: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    let query = || Command::new("dpkg").args(["-s", package]).output();
    env::split_paths(&path).any(|folder| folder.join(package).exists())
        || query().is_ok_and(|output| output.status.success())
}

fn install(package: &str) -> Result<()> {
    let apt_get = |arguments: &[&str]| -> Result<()> {
        let status = Command::new("apt-get")
            .args(["-qq", "-o", "DPkg::Lock::Timeout=300"])
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .status()
            .context("apt-get")?;
        if !status.success() {
            bail!("apt-get: {status}");
        }
        Ok(())
    };
    let install = ["install", "-y", "--no-install-recommends", package];
    // A machine that was never updated knows no packages yet.
    apt_get(&install).or_else(|_| apt_get(&["update"]).and_then(|()| apt_get(&install)))
}
