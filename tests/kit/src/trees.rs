//! The base trees of the containers: made once with debootstrap, kept in the user's cache and
//! never changed afterwards; what a test does to one is in an overlay.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, anyhow};

use crate::host::{bounded, output};
use crate::mirror;

/// Two at a time: they wait for the network as much as for the processor.
const AT_A_TIME: usize = 2;

/// A slow mirror is given this long, in seconds, for one tree.
const PATIENCE: u32 = 900;

/// What a till has of systemd, and what shows its manual and completes its commands; the rest is
/// Debian's minimum.
const INCLUDE: &str = "--include=systemd,systemd-sysv,dbus,libpam-systemd,man-db,bash-completion";

/// The suite of tills with a real screen, and what that takes: an X server without hardware, a window
/// manager, and programs with a window and without.
pub const SUITE_SCREEN: &str = "bookworm";
const SCREEN: &str = ",xvfb,openbox,x11-utils";

/// The suite whose own toolchain has to do for the package, and builds it for other architectures.
const TOOLCHAIN_SUITE: &str = "trixie";
const TOOLCHAIN: &str = "build-essential cargo rustc debhelper lintian";

/// The other architectures that the package is built for: Debian's name of each, and of its compiler's package.
const OTHER_ARCHITECTURES: [(&str, &str); 3] = [
    ("i386", "gcc-i686-linux-gnu"),
    ("arm64", "gcc-aarch64-linux-gnu"),
    ("armhf", "gcc-arm-linux-gnueabihf"),
];

/// The suite of 32-bit tills, as a tree is called: after a suite, and an architecture that this machine's
/// kernel runs too.
pub const SUITE_I386: &str = "bookworm-i386";

/// The office's machine: a suite's tree, with what the office's package asks for, recommends and suggests, and a
/// name that is an address, as Debian's installer has it.
pub const OFFICE: &str = "bookworm-office";
const OFFICE_SUITE: &str = "bookworm";
const ENGINES: &str = "rabbitmq-server postgresql openssl nginx prometheus curl";
const OFFICE_HOSTS: &str = "127.0.0.1 localhost\n127.0.1.1 office\n";

/// Where they are.
pub struct Trees {
    cache: PathBuf,
}

impl Trees {
    /// Those in the user's cache.
    pub fn new() -> Result<Self> {
        let cache = match env::var_os("XDG_CACHE_HOME").filter(|cache| !cache.is_empty()) {
            Some(cache) => PathBuf::from(cache),
            None => PathBuf::from(env::var_os("HOME").context("HOME is not set")?).join(".cache"),
        };
        let cache = cache.join("mfe-watchdog/system-tests");
        fs::create_dir_all(&cache).with_context(|| cache.display().to_string())?;
        Ok(Self { cache })
    }

    /// The tree of a suite.
    pub fn path(&self, suite: &str) -> PathBuf {
        self.cache.join(suite)
    }

    /// The tree with Debian's own Rust toolchain.
    pub fn toolchain(&self) -> PathBuf {
        self.cache.join(format!("{TOOLCHAIN_SUITE}-toolchain"))
    }

    /// Makes the trees that are not there yet.
    pub fn prepare(&self, suites: &[&'static str], with_toolchain: bool) -> Result<()> {
        self.remove_unfinished();
        let mut wanted = suites.to_vec();
        let with_office = wanted.contains(&OFFICE);
        wanted.retain(|suite| *suite != OFFICE);
        let is_base = |suite: &str| {
            with_toolchain && suite == TOOLCHAIN_SUITE || with_office && suite == OFFICE_SUITE
        };
        wanted.retain(|suite| !is_base(suite));
        // Those that a second tree is made from are popped first.
        let bases = [OFFICE_SUITE, TOOLCHAIN_SUITE].into_iter();
        wanted.extend(bases.filter(|suite| is_base(suite)));
        let queue = Mutex::new(wanted);
        let next = || queue.lock().ok()?.pop();
        let work = || -> Result<()> {
            while let Some(suite) = next() {
                self.make_suite(suite)?;
                if with_toolchain && suite == TOOLCHAIN_SUITE {
                    self.make_toolchain()?;
                }
                if with_office && suite == OFFICE_SUITE {
                    self.make_office()?;
                }
            }
            Ok(())
        };
        thread::scope(|scope| {
            let workers: Vec<_> = (0..AT_A_TIME).map(|_| scope.spawn(work)).collect();
            workers.into_iter().try_for_each(|worker| {
                worker
                    .join()
                    .map_err(|_| anyhow!("making a base tree panicked"))?
            })
        })
    }

    fn make_suite(&self, name: &str) -> Result<()> {
        let mirror = mirror::of_this_machine()?;
        let mut include = INCLUDE.to_owned();
        if name == SUITE_SCREEN {
            include += SCREEN;
        }
        self.make(&self.path(name), &include, |tree| {
            let scripts = Path::new("/usr/share/debootstrap/scripts");
            let mut debootstrap = bounded(PATIENCE);
            debootstrap.args(["debootstrap", "--variant=minbase", &include]);
            let suite = match name.split_once('-') {
                Some((suite, architecture)) => {
                    debootstrap.arg(format!("--arch={architecture}"));
                    suite
                }
                None => name,
            };
            debootstrap.arg(suite).arg(tree).arg(&mirror);
            if !scripts.join(suite).exists() {
                // Newer than this machine's debootstrap.
                debootstrap.arg(scripts.join("sid"));
            }
            output(&mut debootstrap)?;
            Ok(())
        })
    }

    fn make_toolchain(&self) -> Result<()> {
        let (mut foreign, mut cross) = (String::new(), String::new());
        for (architecture, compiler) in OTHER_ARCHITECTURES {
            foreign += &format!("chroot \"$1\" dpkg --add-architecture {architecture}\n");
            cross +=
                &format!(" {compiler} libc6-dev:{architecture} libstd-rust-dev:{architecture}");
        }
        let packages = format!("{TOOLCHAIN}{cross}");
        let content = format!("{INCLUDE} {packages}");
        self.make(&self.toolchain(), &content, |tree| {
            let base = self.path(TOOLCHAIN_SUITE);
            install_on(&base, tree, &foreign, &packages)
        })
    }

    fn make_office(&self) -> Result<()> {
        let content = format!("{INCLUDE}{SCREEN} {ENGINES}");
        self.make(&self.path(OFFICE), &content, |tree| {
            // Nothing is started here, where it would run on the machine itself.
            let no_start = "printf '#!/bin/sh\\nexit 101\\n' > \"$1/usr/sbin/policy-rc.d\"
                chmod 755 \"$1/usr/sbin/policy-rc.d\"
                mount -t tmpfs tmpfs \"$1/dev/shm\"";
            install_on(&self.path(OFFICE_SUITE), tree, no_start, ENGINES)?;
            fs::remove_file(tree.join("usr/sbin/policy-rc.d"))?;
            fs::write(tree.join("etc/hostname"), "office\n")?;
            Ok(fs::write(tree.join("etc/hosts"), OFFICE_HOSTS)?)
        })
    }

    /// Makes a tree under a temporary name, so that one that is there is complete. One that was made
    /// with another `content` than today's is made again.
    fn make(
        &self,
        tree: &Path,
        content: &str,
        fill: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<()> {
        let name = tree.file_name().unwrap_or_default().to_string_lossy();
        let label = self.cache.join(format!("{name}.content"));
        if tree.exists() {
            if fs::read_to_string(&label).is_ok_and(|made| made == content) {
                return Ok(());
            }
            let outdated = format!(".{name}-outdated.{}", std::process::id());
            fs::rename(tree, self.cache.join(&outdated))?;
            fs::remove_dir_all(self.cache.join(outdated))?;
        }
        println!("making the base tree {name}");
        let started = Instant::now();
        let unfinished = self.cache.join(format!(".{name}.{}", std::process::id()));
        fs::create_dir(&unfinished)?;
        let made = fill(&unfinished).and_then(|()| {
            fs::write(&label, content)?;
            Ok(fs::rename(&unfinished, tree)?)
        });
        // Another run may have made the same tree at the same time: as good as ours.
        if tree.exists() {
            println!(
                "made the base tree {name} in {:.0} s",
                started.elapsed().as_secs_f64()
            );
            return Ok(());
        }
        made.with_context(|| format!("making the base tree {name}"))
    }

    /// What runs that were killed have left half made.
    fn remove_unfinished(&self) {
        let Ok(entries) = fs::read_dir(&self.cache) else {
            return;
        };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some((_, pid)) = name
                .strip_prefix('.')
                .and_then(|name| name.rsplit_once('.'))
            else {
                continue;
            };
            if !Path::new("/proc").join(pid).exists() {
                // What can't be removed is only in the way of the disk.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

/// Makes a tree of another one and more packages, after a few lines of shell.
fn install_on(base: &Path, tree: &Path, before: &str, packages: &str) -> Result<()> {
    let install = format!(
        "set -e
        cp -a \"$0/.\" \"$1\"
        cp /etc/resolv.conf /etc/hosts \"$1/etc/\"
        mount -t proc proc \"$1/proc\"
        {before}
        chroot \"$1\" apt-get -q -o Acquire::Retries=3 update
        chroot \"$1\" apt-get -q -y -o Acquire::Retries=3 install --no-install-recommends {packages}
        chroot \"$1\" apt-get clean"
    );
    output(
        bounded(PATIENCE)
            .args(["sh", "-c", &install])
            .args([base, tree])
            .env("DEBIAN_FRONTEND", "noninteractive")
            .env("LC_ALL", "C.UTF-8"),
    )?;
    Ok(())
}
