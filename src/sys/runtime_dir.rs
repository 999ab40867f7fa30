//! Where the service keeps its status and its lock, unless it is told otherwise.

use std::path::{Path, PathBuf};

/// The runtime directory that systemd gives us, or /run/mfe-watchdog.
#[must_use]
pub fn default_runtime_dir() -> PathBuf {
    // systemd.exec(5): several directories are separated by colons.
    std::env::var("RUNTIME_DIRECTORY")
        .ok()
        .and_then(|directories| directories.split(':').next().map(PathBuf::from))
        .filter(|directory| directory.is_absolute())
        .unwrap_or_else(|| Path::new("/run/mfe-watchdog").to_owned())
}
