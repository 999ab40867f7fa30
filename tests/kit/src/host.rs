//! The machine that the tests run on: what has to be installed there, and how commands are run
//! so that none of them outlives the tests.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::command::is_root;

/// A file that the tests need, and the package it comes in.
const TOOLS: [(&str, &str); 8] = [
    ("/usr/sbin/debootstrap", "debootstrap"),
    ("/usr/bin/systemd-nspawn", "systemd-container"),
    ("/usr/bin/dpkg-buildpackage", "dpkg-dev"),
    ("/usr/bin/dh", "debhelper"),
    ("/usr/bin/lintian", "lintian"),
    (
        "/usr/share/build-essential/essential-packages-list",
        "build-essential",
    ),
    ("/usr/bin/nsenter", "util-linux"),
    ("/usr/share/doc/libfaketime", "libfaketime"),
];

/// What a command may take, in seconds, unless it is known to take long.
pub const USUAL_SECONDS: u32 = 60;

/// Booting containers takes root; `why` is what is said without it. To pass without having run would
/// be a lie.
pub fn require_root(why: &'static str) -> Result<()> {
    ensure!(is_root(), why);
    Ok(())
}

/// Installs what is missing, with the machine's own apt.
pub fn install_tools() -> Result<()> {
    let missing: Vec<_> = TOOLS
        .iter()
        .filter(|(file, _)| !Path::new(file).exists())
        .map(|(_, package)| *package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    ensure!(
        Path::new("/usr/bin/apt-get").exists(),
        "this machine lacks {missing:?} and has no apt-get to install them with"
    );
    println!("installing {}", missing.join(" "));
    // Not tied to our life: half an installation would be worse than a late one.
    let apt = |arguments: &[&str]| {
        output(
            Command::new("timeout")
                .args(["--kill-after=10", "600", "apt-get", "-q", "-y"])
                .args(["-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=3"])
                .args(arguments)
                .env("DEBIAN_FRONTEND", "noninteractive"),
        )
    };
    apt(&["update"])?;
    apt(&[&["install", "--no-install-recommends"], missing.as_slice()].concat())?;
    Ok(())
}

/// A command that is killed, with all that it has started, when the tests end, however they end,
/// or when its time is over. It sees a PID namespace of its own.
pub fn bounded(seconds: u32) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "unshare", "--mount", "--pid"])
        .args(["--fork", "--kill-child=KILL", "--mount-proc"])
        .args(["--propagation", "private", "--"])
        // PID 1 has orphans to reap, and a shell does.
        .args(["sh", "-c", r#""$@"; exit $?"#, "sh"])
        // Inside: of two that are to hear of our end only the outer one does.
        .args(["timeout", "--kill-after=5", &seconds.to_string()]);
    command
}

/// Runs a command to its end and takes what it printed; failing is an error that quotes it.
pub fn output(command: &mut Command) -> Result<String> {
    let output = run(command)?;
    if !output.status.success() {
        bail!("{command:?}: {}\n{}", output.status, tail(&output, 40));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Result<Output> {
    command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("running {command:?}"))
}

/// The last lines of what a command printed.
pub fn tail(output: &Output, lines: usize) -> String {
    let text = [output.stdout.as_slice(), &output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let all: Vec<_> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// The folder of the project that is being tested.
fn checkout() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// Copies the project, uncommitted changes included, without what is built.
pub fn copy_checkout(to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    let list = "if git rev-parse --git-dir >/dev/null 2>&1; then
            git ls-files -z --cached --others --exclude-standard
        else
            find . -path ./target -prune -o -type f -print0
        fi | while IFS= read -r -d '' file; do
            [ -f \"$file\" ] && printf '%s\\0' \"$file\"
        done | xargs -0 cp --parents --preserve=mode -t \"$0\"";
    output(
        bounded(USUAL_SECONDS)
            .args(["bash", "-c", list])
            .arg(to)
            .current_dir(checkout()),
    )?;
    Ok(())
}
