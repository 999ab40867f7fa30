//! The package as a file: what is in it, what lintian says, that it can be built again.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::host::{self, USUAL_SECONDS, bounded, output};
use crate::janitor::Scene;
use crate::mirror;
use crate::package::{Packages, build_in, copy, path_with_cargo};
use crate::trees::Trees;

/// What a till's owner may be asked to copy, in bytes.
const MAX_SIZE: u64 = 1_150_000;

const UNITS: [&str; 3] = [
    "mfe-watchdog.service",
    "mfe-watchdog-shutdown.service",
    "mfe@.service",
];

pub(super) fn apt_sources(_: &Scene, _: &Trees, _: &Packages) -> Result<()> {
    mirror::check_both_formats()
}

/// One static binary, the units where old machines look for them, the settings as they are
/// compiled in; compressed so that old machines can read it.
pub(super) fn contents(scene: &Scene, _: &Trees, packages: &Packages) -> Result<()> {
    let deb = &packages.current;
    let size = fs::metadata(deb)?.len();
    println!("the package has {size} bytes");
    ensure!(size < MAX_SIZE, "it has {size} bytes");
    let members = shell("ar t \"$0\"", &[deb])?;
    let members: Vec<_> = members.lines().collect();
    ensure!(
        members == ["debian-binary", "control.tar.xz", "data.tar.xz"],
        "{members:?}"
    );
    let field = |name: &str| shell(&format!("dpkg-deb --field \"$0\" {name}"), &[deb]);
    ensure!(field("Version")?.trim() == host::VERSION);
    ensure!(field("Depends")?.trim().is_empty() && field("Pre-Depends")?.trim().is_empty());

    let tree = scene.folder("contents")?;
    shell("dpkg-deb --raw-extract \"$0\" \"$1\"", &[deb, &tree])?;
    let conffiles = fs::read_to_string(tree.join("DEBIAN/conffiles"))?;
    ensure!(
        conffiles.trim() == "/etc/mfe-watchdog/config.toml",
        "{conffiles}"
    );
    let shipped = fs::read(tree.join("etc/mfe-watchdog/config.toml"))?;
    ensure!(
        shipped == fs::read(packages.source.join("src/config/default.toml"))?,
        "other settings"
    );
    for unit in UNITS {
        let shipped = fs::read(tree.join("lib/systemd/system").join(unit))?;
        ensure!(
            shipped == fs::read(packages.source.join("systemd").join(unit))?,
            "another {unit}"
        );
    }

    let binary = tree.join("usr/bin/mfe-watchdog");
    let mode = fs::metadata(&binary)?.permissions().mode() & 0o7777;
    ensure!(mode == 0o755, "its mode is {mode:o}");
    let headers = shell("readelf --wide --file-header --segments \"$0\"", &[&binary])?;
    ensure!(
        headers.contains("DYN") && !headers.contains("INTERP"),
        "not static-pie: {headers}"
    );
    let bytes = fs::read(&binary)?;
    let home = std::env::var("HOME").unwrap_or_default();
    for path in [home.as_str(), &packages.results.to_string_lossy()] {
        let found = bytes
            .windows(path.len())
            .any(|window| window == path.as_bytes());
        ensure!(
            path.len() < 4 || !found,
            "the binary names a path of the build: {path}"
        );
    }
    Ok(())
}

/// What systemd 229 (Ubuntu 16.04) and 237 (18.04) would not merely ignore, but refuse or apply
/// wrongly. Neither can be booted here.
pub(super) fn units_for_old_systemd(_: &Scene, _: &Trees, packages: &Packages) -> Result<()> {
    for unit in UNITS {
        let text = fs::read_to_string(packages.source.join("systemd").join(unit))?;
        let mut section = "";
        let mut unlimited = false;
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            if line.starts_with('[') {
                section = line;
            }
            let (name, value) = line.split_once('=').unwrap_or_default();
            match name {
                "Type" => ensure!(
                    ["simple", "notify", "oneshot"].contains(&value),
                    "{unit}: {line}"
                ),
                "Restart" => ensure!(["always", "no"].contains(&value), "{unit}: {line}"),
                "SystemCallFilter" => ensure!(value.starts_with('~'), "{unit}: {line}"),
                "StartLimitInterval" => unlimited = section == "[Unit]" && value == "0",
                "StartLimitIntervalSec" => ensure!(false, "{unit}: 229 does not read {line}"),
                _ if name.starts_with("Exec") => {
                    // Prefixes and multiple flags came later.
                    ensure!(value.starts_with('/'), "{unit}: {line}");
                }
                _ => {}
            }
        }
        ensure!(unlimited, "{unit} has a start limit");
    }
    Ok(())
}

pub(super) fn lintian(_: &Scene, _: &Trees, packages: &Packages) -> Result<()> {
    let said = shell(
        "lintian --pedantic \"$0\"/*.changes 2>&1 || true",
        &[&packages.results],
    )?;
    nothing_found(&said)
}

/// Lintian prints nothing but what it thinks of being run by root.
fn nothing_found(lintian: &str) -> Result<()> {
    let of_interest = |line: &&str| !line.contains("root privileges") && !line.trim().is_empty();
    let found: Vec<_> = lintian.lines().filter(of_interest).collect();
    ensure!(found.is_empty(), "lintian says:\n{}", found.join("\n"));
    Ok(())
}

/// A version that stands in one place only is no version to ship.
pub(super) fn one_version(scene: &Scene, _: &Trees, packages: &Packages) -> Result<()> {
    let source = scene.folder("one-version")?.join("mfe-watchdog");
    copy(&packages.source, &source)?;
    shell(
        "sed -i '1s/(.*)/(9.9.9)/' \"$0\"/debian/changelog",
        &[&source],
    )?;
    let mut build = Command::new("dpkg-buildpackage");
    build
        .args(["-b", "-us", "-uc", "-d"])
        .current_dir(&source)
        .env("PATH", path_with_cargo()?);
    let build = host::run(&mut build)?;
    ensure!(!build.status.success(), "two versions were built");
    let said = host::tail(&build, 20);
    ensure!(
        said.contains("debian/changelog says version 9.9.9"),
        "{said}"
    );
    Ok(())
}

/// Another place, another time zone, another language, another umask: the same bytes.
pub(super) fn reproducible(scene: &Scene, _: &Trees, packages: &Packages) -> Result<()> {
    let source = scene.folder("elsewhere/with a space")?.join("another-name");
    copy(&packages.source, &source)?;
    let deb = build_in(&source, |build| {
        build
            .env("BUILD_UMASK", "027")
            .env("TZ", "America/Fortaleza")
            .env("LC_ALL", "C.UTF-8")
            .env("DEB_BUILD_OPTIONS", "parallel=1");
    })?;
    let same = fs::read(&deb)? == fs::read(&packages.current)?;
    ensure!(
        same,
        "{} and {} differ",
        deb.display(),
        packages.current.display()
    );
    Ok(())
}

/// Built in Debian 13 by its own cargo and rustc, without a network, from vendored crates; and
/// its lintian has nothing to say about the result.
pub(super) fn debian_13_toolchain(scene: &Scene, trees: &Trees, packages: &Packages) -> Result<()> {
    let scratch = scene.folder("debian-13")?;
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

    let script = r#"set -e
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
            CARGO_HOME=/build/cargo-home CARGO_BUILD_JOBS="$JOBS" sh -c '
            set -e
            cargo --version
            rustc --version
            cd /build/mfe-watchdog
            dpkg-buildpackage -b -us -uc >/build/log 2>&1 || { tail -n 40 /build/log; exit 1; }
            echo "== lintian"
            lintian --pedantic ../*.changes 2>&1 || true
        '"#;
    fs::create_dir(scratch.join("mnt"))?;
    let jobs = std::env::var("CARGO_BUILD_JOBS").unwrap_or_else(|_| "2".into());
    let said = output(
        bounded(1200)
            .args(["sh", "-c", script])
            .env("SCRATCH", &scratch)
            .env("TREE", trees.toolchain())
            .env("JOBS", jobs),
    )?;
    let (versions, lintian) = said
        .split_once("== lintian\n")
        .with_context(|| said.clone())?;
    println!("built by {}", versions.trim().replace('\n', " and "));
    nothing_found(lintian)
}

fn shell(line: &str, arguments: &[&Path]) -> Result<String> {
    output(
        bounded(USUAL_SECONDS * 2)
            .args(["sh", "-c", line])
            .args(arguments),
    )
}
