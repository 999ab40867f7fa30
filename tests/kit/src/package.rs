//! Builds the .deb as the README says, and makes an older and a newer one of it; what is in it
//! is for the cases to judge.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::host::{USUAL_SECONDS, bounded, copy_checkout, output};
use crate::janitor::Scene;

/// A build of everything, dependencies included, on a slow machine.
const PATIENCE: u32 = 2400;

/// The packages that the cases install.
pub struct Packages {
    /// The one that is tested.
    pub current: PathBuf,
    /// The same, with a version that comes before.
    pub older: PathBuf,
    /// The same, with a version that comes after.
    pub newer: PathBuf,
    /// The relay's, of the same build.
    pub relay: PathBuf,
    /// The office's, of the same build, where its architecture has one.
    pub central: Option<PathBuf>,
    /// Its version.
    pub version: String,
    /// The folder with `current` and what else the build has made.
    pub results: PathBuf,
    /// The project as it was when the tests began, whatever is being done to it meanwhile.
    pub source: PathBuf,
}

impl Packages {
    /// Builds the package, whose version is `version`.
    pub fn build(scene: &Scene, version: &str) -> Result<Self> {
        println!("building the package");
        let source = scene.folder("source")?;
        copy_checkout(&source)?;
        let results = scene.folder("build")?;
        let current = build_in(&copy(&source, &results.join("mfe-watchdog"))?, |_| {})?;
        let packages = scene.folder("packages")?;
        Ok(Self {
            older: with_version(&current, &format!("{version}~older"), &packages)?,
            newer: with_version(&current, &format!("{version}+newer"), &packages)?,
            relay: deb_of_relay_beside(&current)?,
            central: Some(only_one_in(
                current.parent().context("no folder")?,
                "mfe-central_",
            )?),
            version: version.to_owned(),
            current,
            results,
            source,
        })
    }

    /// The same from another build, for an architecture.
    pub fn of(&self, current: PathBuf, scene: &Scene, architecture: &str) -> Result<Self> {
        let packages = scene.folder(&format!("packages-{architecture}"))?;
        let version = &self.version;
        Ok(Self {
            older: with_version(&current, &format!("{version}~older"), &packages)?,
            newer: with_version(&current, &format!("{version}+newer"), &packages)?,
            relay: deb_of_relay_beside(&current)?,
            central: None,
            version: version.clone(),
            current,
            results: self.results.clone(),
            source: self.source.clone(),
        })
    }
}

/// Copies sources to where they may be built.
pub fn copy(source: &Path, to: &Path) -> Result<PathBuf> {
    let mut copy = bounded(USUAL_SECONDS);
    output(copy.args(["cp", "-a", "--"]).args([source, to]))?;
    Ok(to.to_owned())
}

/// Builds a copy of the sources, and gives the .deb that is beside it then.
pub fn build_in(source: &Path, adjust: impl FnOnce(&mut Command)) -> Result<PathBuf> {
    let line = "umask ${BUILD_UMASK:-022}
        exec dpkg-buildpackage -b -us -uc --post-clean -Ppkg.mfe-watchdog.rustup$BUILD_PROFILES";
    let mut build = bounded(PATIENCE);
    build
        .args(["sh", "-c", line])
        .current_dir(source)
        // A person's shell, not what Cargo hands to its tests.
        .env_clear()
        .env("PATH", path_with_cargo()?);
    for name in [
        "HOME",
        "CARGO_HOME",
        "RUSTUP_HOME",
        "RUSTUP_TOOLCHAIN",
        "CARGO_BUILD_JOBS",
    ] {
        if let Some(value) = env::var_os(name) {
            build.env(name, value);
        }
    }
    adjust(&mut build);
    output(&mut build)?;
    only_deb_in(
        source
            .parent()
            .context("the root folder is no place to build in")?,
    )
}

/// The search path, with the cargo that runs these tests in it.
pub fn path_with_cargo() -> Result<std::ffi::OsString> {
    let path = env::var_os("PATH").unwrap_or_default();
    let cargo = Path::new(env!("CARGO")).parent().map(Path::to_owned);
    Ok(env::join_paths(env::split_paths(&path).chain(cargo))?)
}

/// The watchdog's .deb in a folder that has one build's.
pub fn only_deb_in(folder: &Path) -> Result<PathBuf> {
    only_one_in(folder, "mfe-watchdog_")
}

fn deb_of_relay_beside(deb: &Path) -> Result<PathBuf> {
    only_one_in(deb.parent().context("no folder")?, "mfe-relay_")
}

fn only_one_in(folder: &Path, name: &str) -> Result<PathBuf> {
    let paths = fs::read_dir(folder)?.flatten().map(|entry| entry.path());
    let is_meant = |path: &PathBuf| {
        let found = path.file_name().and_then(|name| name.to_str());
        found.is_some_and(|found| found.starts_with(name))
    };
    let debs: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|e| e == "deb"))
        .filter(is_meant)
        .collect();
    match debs.as_slice() {
        [deb] => Ok(deb.clone()),
        debs => bail!("{} has {debs:?}", folder.display()),
    }
}

/// The same package, but for the version that dpkg sees.
fn with_version(deb: &Path, version: &str, folder: &Path) -> Result<PathBuf> {
    let repacked = folder.join(format!("mfe-watchdog_{version}.deb"));
    let script = "set -e
        dpkg-deb --raw-extract \"$0\" \"$1\"
        sed -i \"s/^Version: .*/Version: $2/\" \"$1/DEBIAN/control\"
        dpkg-deb --root-owner-group -Znone --build \"$1\" \"$3\"";
    let tree = folder.join(version);
    let mut repack = bounded(USUAL_SECONDS);
    repack
        .args(["sh", "-c", script])
        .arg(deb)
        .arg(tree)
        .arg(version)
        .arg(&repacked);
    output(&mut repack)?;
    Ok(repacked)
}
