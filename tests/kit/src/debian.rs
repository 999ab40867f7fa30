//! Builds the package as Debian does: in Debian 13, by its own toolchain, without a network, from vendored
//! crates; for other architectures too. What is in it is for the cases to judge.

use std::env;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use crate::host::{bounded, output};
use crate::janitor::Scene;
use crate::package::{Packages, copy, only_deb_in, path_with_cargo};
use crate::trees::Trees;

/// A build of everything, dependencies included, beside others on a slow machine, in seconds.
const PATIENCE: u32 = 3000;

/// What is built for other architectures is tried and looked at, not shipped: it isn't optimized.
const QUICK: &str = "CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
    CARGO_PROFILE_RELEASE_OPT_LEVEL=0";

/// The architecture of Debian 13's tree.
pub const NATIVE: &str = "amd64";

/// Run in a mount namespace of its own.
const BUILD: &str = r#"set -e
    mount -t tmpfs tmpfs "$SCRATCH/mnt"
    mkdir "$SCRATCH/mnt/upper" "$SCRATCH/mnt/work" "$SCRATCH/mnt/root"
    root="$SCRATCH/mnt/root"
    mount -t overlay overlay "$root" \
        -o "lowerdir=$TREE,upperdir=$SCRATCH/mnt/upper,workdir=$SCRATCH/mnt/work"
    mkdir "$root/build"
    mount --bind "$SCRATCH" "$root/build"
    mount -t proc proc "$root/proc"
    mount --bind /dev/null "$root/dev/null"
    unshare --net chroot "$root" env -i PATH=/usr/sbin:/usr/bin LANG=C.UTF-8 HOME=/nonexistent \
        CARGO_HOME=/build/cargo-home CARGO_BUILD_JOBS="$JOBS" $QUICK sh -c '
        set -e
        rustc --version
        cd /build/mfe-watchdog
        dpkg-buildpackage -b -us -uc --post-clean '"$OPTIONS"' >/build/log 2>&1 || { tail -n 40 /build/log; exit 1; }
        echo "== lintian"
        lintian --pedantic ../*.changes 2>&1 || true
    '"#;

/// A package, and what was said while it was built.
pub struct Built {
    /// The package.
    pub deb: PathBuf,
    /// What the compiler calls itself.
    pub compiler: String,
    /// What Debian 13's lintian has to say about it.
    pub lintian: String,
}

/// Builds the package for an architecture of Debian's.
pub fn build(
    scene: &Scene,
    trees: &Trees,
    packages: &Packages,
    architecture: &str,
) -> Result<Built> {
    let scratch = scene.folder(&format!("debian-13-{architecture}"))?;
    let source = scratch.join("mfe-watchdog");
    copy(&packages.source, &source)?;
    let vendored = output(
        bounded(300)
            .args([
                "cargo",
                "vendor",
                "--locked",
                "--versioned-dirs",
                "../vendor",
            ])
            .current_dir(&source)
            .env("PATH", path_with_cargo()?),
    )?;
    ensure!(
        vendored.contains("[source.crates-io]"),
        "cargo vendor says: {vendored}"
    );
    let cargo_home = scratch.join("cargo-home");
    fs::create_dir(&cargo_home)?;
    let settings = "[source.crates-io]\nreplace-with = \"vendored\"\n\
        [source.vendored]\ndirectory = \"/build/vendor\"\n[net]\noffline = true\n";
    fs::write(cargo_home.join("config.toml"), settings)?;
    fs::create_dir(scratch.join("mnt"))?;

    // The tree has what it takes to build for others, though not as packages of theirs.
    let (options, quick) = if architecture == NATIVE {
        (String::new(), "")
    } else {
        (format!("-d -a{architecture}"), QUICK)
    };
    let said = output(
        bounded(PATIENCE)
            .args(["sh", "-c", BUILD])
            .env("SCRATCH", &scratch)
            .env("TREE", trees.toolchain())
            .env("OPTIONS", options)
            .env("QUICK", quick)
            .env(
                "JOBS",
                env::var("CARGO_BUILD_JOBS").unwrap_or_else(|_| "2".into()),
            ),
    )?;
    let parts = said.split_once("== lintian\n");
    let (compiler, lintian) = parts.with_context(|| said.clone())?;
    Ok(Built {
        deb: only_deb_in(&scratch)?,
        compiler: compiler.trim().to_owned(),
        lintian: lintian.to_owned(),
    })
}
