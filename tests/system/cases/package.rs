//! The package as a file: what is in it, what lintian says, that it can be built again.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::VERSION;
use mfe_kit::debian::{self, Built};
use mfe_kit::host::{self, USUAL_SECONDS, bounded, output};
use mfe_kit::janitor::Scene;
use mfe_kit::package::{Packages, build_in, copy, path_with_cargo};
use mfe_kit::trees::Trees;

/// What the package has, in bytes, as built by the newest toolchain. Whoever makes it smaller makes
/// this smaller too; whoever makes it bigger says in the commit what for.
const SIZE: u64 = 1_501_000;

/// How much it may grow unnoticed, in percent of [`SIZE`].
const GROWTH: u64 = 5;

/// What a till's owner may be asked to copy at most, in bytes.
const MAX_SIZE: u64 = 3_000_000;

/// The settings that a person may change, by the names that dpkg knows them by.
const CONFFILES: [&str; 2] = [
    "/etc/mfe-watchdog/config.toml",
    "/etc/needrestart/conf.d/mfe-watchdog.conf",
];

const UNITS: [&str; 4] = [
    "mfe-watchdog.service",
    "mfe-watchdog-order.target",
    "mfe-watchdog-shutdown.service",
    "mfe@.service",
];

/// One static binary, the units where old machines look for them, the settings as they are
/// compiled in; compressed so that old machines can read it.
pub(super) fn contents(scene: &Scene, _: &Trees, packages: &Packages) -> Result<()> {
    let deb = &packages.current;
    let size = fs::metadata(deb)?.len();
    println!("the package has {size} bytes");
    let limit = MAX_SIZE.min(SIZE + SIZE * GROWTH / 100);
    ensure!(size <= limit, "it has {size} bytes, the limit is {limit}");
    let members = shell("ar t \"$0\"", &[deb])?;
    let members: Vec<_> = members.lines().collect();
    ensure!(
        members == ["debian-binary", "control.tar.xz", "data.tar.xz"],
        "{members:?}"
    );
    let field = |name: &str| shell(&format!("dpkg-deb --field \"$0\" {name}"), &[deb]);
    ensure!(field("Version")?.trim() == VERSION);
    ensure!(field("Depends")?.trim().is_empty() && field("Pre-Depends")?.trim().is_empty());

    let tree = scene.folder("contents")?;
    shell("dpkg-deb --raw-extract \"$0\" \"$1\"", &[deb, &tree])?;
    let conffiles = fs::read_to_string(tree.join("DEBIAN/conffiles"))?;
    ensure!(conffiles.lines().eq(CONFFILES), "{conffiles}");
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
        let mut windows = bytes.windows(path.len()).enumerate();
        let found = windows.any(|(at, window)| {
            // The program asks the kernel for /proc/1/root, which is nobody's home.
            window == path.as_bytes() && !bytes[..at].ends_with(b"/proc/1")
        });
        ensure!(
            path.len() < 4 || !found,
            "the binary names a path of the build: {path}"
        );
    }
    Ok(())
}

/// What the program is linked with is named, with its notices.
pub(super) fn licences(scene: &Scene, _: &Trees, packages: &Packages) -> Result<()> {
    let deb = &packages.current;
    let field = "dpkg-deb --field \"$0\" Static-Built-Using";
    built_using(&shell(field, &[deb])?, &["gcc-", "glibc"])?;

    let tree = scene.folder("licences")?;
    shell("dpkg-deb --extract \"$0\" \"$1\"", &[deb, &tree])?;
    let folder = tree.join("usr/share/doc/mfe-watchdog");
    let shipped = fs::read(folder.join("copyright"))?;
    ensure!(
        shipped == fs::read(packages.source.join("debian/copyright"))?,
        "another copyright"
    );
    let libc = fs::read_to_string(folder.join("copyright.glibc"))?;
    ensure!(libc.contains("GNU C Library"), "not glibc's: {libc}");
    Ok(())
}

/// The field names just these sources, each with its version.
fn built_using(field: &str, sources: &[&str]) -> Result<()> {
    let named: Vec<_> = field.trim().split(", ").collect();
    let fits = named.len() == sources.len()
        && named.iter().zip(sources).all(|(one, source)| {
            one.starts_with(source) && one.contains(" (= ") && one.ends_with(')')
        });
    ensure!(fits, "Static-Built-Using: {field}");
    Ok(())
}

/// needrestart leaves the programs' units alone, and no others.
pub(super) fn needrestart(scene: &Scene, _: &Trees, packages: &Packages) -> Result<()> {
    let tree = scene.folder("needrestart")?;
    let deb = &packages.current;
    shell("dpkg-deb --extract \"$0\" \"$1\"", &[deb, &tree])?;
    // How needrestart.conf reads it, and what needrestart asks of it.
    let script = r#"use strict; use warnings FATAL => "all";
        our %nrconf = (blacklist_rc => [], override_rc => {});
        my $file = shift;
        eval do { local (@ARGV, $/) = $file; <> };
        die "$file: $@" if $@;
        for my $unit (@ARGV) {
            print "$unit\n" if grep { $unit =~ /$_/ } @{$nrconf{blacklist_rc}};
        }"#;
    let units = [
        "mfe@comunicador.service",
        "mfe-watchdog.service",
        "cco-ser.service",
    ];
    let left_alone = output(
        bounded(USUAL_SECONDS)
            .args(["perl", "-e", script])
            .arg(tree.join(CONFFILES[1].trim_start_matches('/')))
            .args(units),
    )?;
    ensure!(left_alone == format!("{}\n", units[0]), "{left_alone}");
    Ok(())
}

/// Since which version systemd knows what the folders of systemd/since say (its NEWS).
const KNOWN_SINCE: [(&str, u32); 22] = [
    ("IPAddressDeny", 235),
    ("KeyringMode", 235),
    ("LockPersonality", 235),
    ("LogRateLimitBurst", 240),
    ("LogRateLimitIntervalSec", 240),
    ("MemoryDenyWriteExecute", 231),
    ("OOMPolicy", 243),
    ("PrivateMounts", 239),
    ("ProtectClock", 245),
    ("ProtectControlGroups", 232),
    ("ProtectHostname", 242),
    ("ProtectKernelLogs", 244),
    ("ProtectKernelModules", 232),
    ("ProtectKernelTunables", 232),
    ("ProtectSystem", 232),
    ("RestrictNamespaces", 233),
    ("RestrictRealtime", 231),
    ("RestrictSUIDSGID", 242),
    ("RuntimeDirectoryPreserve", 235),
    ("StateDirectory", 235),
    ("StateDirectoryMode", 235),
    ("SystemCallFilter", 231),
];

/// What systemd 229 (Ubuntu 16.04) knows of what units may say; that it knows all of it was seen when it was
/// booted with the package, but for SyslogIdentifier=, which its parser had long before
/// (`src/core/load-fragment-gperf.gperf.m4`).
const KNOWN_TO_229: [&str; 41] = [
    "After",
    "Before",
    "CapabilityBoundingSet",
    "Description",
    "DevicePolicy",
    "Documentation",
    "ExecReload",
    "ExecStart",
    "ExecStop",
    "IgnoreOnIsolate",
    "JobTimeoutSec",
    "KillMode",
    "NoNewPrivileges",
    "NotifyAccess",
    "OOMScoreAdjust",
    "PrivateDevices",
    "PrivateNetwork",
    "ProtectHome",
    "ProtectSystem",
    "ReadWriteDirectories",
    "RemainAfterExit",
    "Restart",
    "RestartPreventExitStatus",
    "RestartSec",
    "RestrictAddressFamilies",
    "RuntimeDirectory",
    "RuntimeDirectoryMode",
    "StandardError",
    "StandardOutput",
    "StartLimitInterval",
    "SuccessExitStatus",
    "SyslogIdentifier",
    "SystemCallArchitectures",
    "SystemCallErrorNumber",
    "TimeoutStartSec",
    "TimeoutStopSec",
    "Type",
    "UMask",
    "WantedBy",
    "Wants",
    "WatchdogSec",
];

/// systemd 229 (Ubuntu 16.04) knows all that the units say. What it would refuse or apply wrongly isn't there,
/// nor among what later versions are told.
pub(super) fn units_for_old_systemd(_: &Scene, _: &Trees, packages: &Packages) -> Result<()> {
    for unit in UNITS {
        let text = fs::read_to_string(packages.source.join("systemd").join(unit))?;
        let mut section = "";
        let mut unlimited = false;
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            if line.starts_with('[') {
                section = line;
            }
            let Some((name, value)) = line.split_once('=') else {
                continue;
            };
            ensure!(
                KNOWN_TO_229.contains(&name),
                "{unit}: 229 doesn't know {name}"
            );
            match name {
                "Type" => ensure!(
                    ["simple", "notify", "oneshot"].contains(&value),
                    "{unit}: {line}"
                ),
                "Restart" => ensure!(["always", "no"].contains(&value), "{unit}: {line}"),
                "ProtectSystem" => ensure!(value == "full", "{unit}: 229 refuses {line}"),
                "StartLimitInterval" => unlimited = section == "[Unit]" && value == "0",
                "StartLimitIntervalSec" => ensure!(false, "{unit}: 229 does not read {line}"),
                _ if name.starts_with("Exec") => {
                    // Prefixes and multiple flags came later.
                    ensure!(value.starts_with('/'), "{unit}: {line}");
                }
                _ => {}
            }
        }
        let is_target = Path::new(unit)
            .extension()
            .is_some_and(|kind| kind == "target");
        ensure!(is_target || unlimited, "{unit} has a start limit");
    }
    // The generator gives a systemd the folders up to its own version; today's know them all. A line is such as
    // ./231/mfe-watchdog.service.conf:RestrictRealtime=yes
    let settings = shell(
        "cd \"$0\"/systemd/since && grep -r '^[A-Za-z].*=' .",
        &[&packages.source],
    )?;
    for line in settings.lines() {
        let since = line.split('/').nth(1).context("no folder")?;
        let since: u32 = since.parse().with_context(|| line.to_owned())?;
        let (_, setting) = line.split_once(':').context("no setting")?;
        let (name, value) = setting.split_once('=').context("no value")?;
        let known = KNOWN_SINCE.iter().find(|(known, _)| *known == name);
        ensure!(
            known.is_some_and(|(_, known)| *known <= since),
            "since/{since}: {name} is known since {known:?}"
        );
        // With a group that a version doesn't know an allow-list would kill the service at its first call.
        ensure!(
            name != "SystemCallFilter" || value.starts_with('~'),
            "an allow-list: {line}"
        );
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
            // The office's takes its time, and is not looked at here.
            .env("BUILD_PROFILES", ",pkg.mfe-watchdog.nocentral")
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

/// The oldest Rust that is supported (MSRV, `rust-version` in Cargo.toml) is Debian 13's own: the
/// package is built there by its cargo and rustc, without a network, from vendored crates; and its
/// lintian has nothing to say about the result.
pub(super) fn minimum_supported_rust(
    scene: &Scene,
    trees: &Trees,
    packages: &Packages,
) -> Result<()> {
    let built = debian::build(scene, trees, packages, debian::NATIVE)?;
    println!("built by {}", built.compiler);
    let minimum = format!("rustc {}.", env!("CARGO_PKG_RUST_VERSION"));
    ensure!(
        built.compiler.starts_with(&minimum),
        "not {minimum}: {}",
        built.compiler
    );
    let field = shell("dpkg-deb --field \"$0\" Static-Built-Using", &[&built.deb])?;
    built_using(&field, &["gcc-", "glibc", "rustc"])?;
    nothing_found(&built.lintian)
}

/// What nothing here can run is built all the same, and looked at from outside.
pub(super) fn other_architectures(scene: &Scene, trees: &Trees, packages: &Packages) -> Result<()> {
    for (architecture, class, machine) in [("arm64", "ELF64", "AArch64"), ("armhf", "ELF32", "ARM")]
    {
        let built = debian::build(scene, trees, packages, architecture)?;
        of_architecture(scene, &built, architecture, class, machine)
            .with_context(|| architecture.to_owned())?;
    }
    Ok(())
}

/// The package is one of this architecture, and has all that any other one has.
pub(crate) fn of_architecture(
    scene: &Scene,
    built: &Built,
    architecture: &str,
    class: &str,
    machine: &str,
) -> Result<()> {
    let field = |name: &str| shell(&format!("dpkg-deb --field \"$0\" {name}"), &[&built.deb]);
    ensure!(field("Architecture")?.trim() == architecture);
    ensure!(field("Version")?.trim() == VERSION);
    ensure!(field("Depends")?.trim().is_empty() && field("Pre-Depends")?.trim().is_empty());
    built_using(&field("Static-Built-Using")?, &["gcc-", "glibc", "rustc"])?;
    nothing_found(&built.lintian)?;

    let tree = scene.folder(&format!("contents-{architecture}"))?;
    shell("dpkg-deb --extract \"$0\" \"$1\"", &[&built.deb, &tree])?;
    let binary = tree.join("usr/bin/mfe-watchdog");
    let headers = shell("readelf --wide --file-header --segments \"$0\"", &[&binary])?;
    let is = |words: &str| headers.lines().any(|line| line.trim_end().ends_with(words));
    ensure!(
        is(class) && is(machine),
        "not {class} of {machine}: {headers}"
    );
    ensure!(!headers.contains("INTERP"), "not static: {headers}");
    let unit = fs::read_to_string(tree.join("lib/systemd/system/mfe-watchdog.service"))?;
    let network = tree.join("usr/share/doc/mfe-watchdog/examples/network.conf");
    let network = fs::read_to_string(network)?;
    let restricts = [unit, network].map(|text| {
        let mut lines = text.lines();
        lines.any(|line| line.starts_with("RestrictAddressFamilies="))
    });
    // systemd 229 refuses every socket to a 32-bit program for x86 whose unit says so.
    let expected = architecture != "i386";
    ensure!(
        restricts == [expected; 2],
        "RestrictAddressFamilies=: {restricts:?}"
    );
    let notices = tree.join("usr/share/doc/mfe-watchdog/copyright.glibc");
    ensure!(
        fs::metadata(notices)?.len() > 0,
        "no notices of the C Library"
    );
    Ok(())
}

fn shell(line: &str, arguments: &[&Path]) -> Result<String> {
    output(
        bounded(USUAL_SECONDS * 2)
            .args(["sh", "-c", line])
            .args(arguments),
    )
}
