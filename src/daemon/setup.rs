//! Makes the process fit to be a service: what it has inherited from whoever started it neither
//! disturbs it nor reaches the programs it starts. It doesn't detach: systemd is the daemonizer.

use std::fs;
use std::path::Path;

use anyhow::Context;
use nix::sys::stat::{Mode, umask};
use rust_i18n::t;

use crate::sys::descriptors;

/// Sets umask and working directory as daemon(7) asks for, closes what was left open, and may have as many
/// files open as it will ever need.
///
/// Must be called before the process opens anything of its own; paths given on the command line
/// must be absolute by then.
///
/// # Errors
/// When `/` can't be entered or /proc isn't there: then nothing can be supervised either.
pub fn prepare() -> anyhow::Result<()> {
    umask(Mode::from_bits_truncate(0o022));
    std::env::set_current_dir("/").with_context(|| t!("errors.root"))?;
    descriptors::raise();
    close_inherited(Path::new("/proc/self/fd"))
}

/// Closes every descriptor but stdin, stdout and stderr. systemd hands over none to this service;
/// a shell, rc.local or a test runner may have leaked some.
fn close_inherited(directory: &Path) -> anyhow::Result<()> {
    let read = || -> std::io::Result<Vec<i32>> {
        let mut descriptors = Vec::new();
        for entry in fs::read_dir(directory)? {
            let name = entry?.file_name();
            descriptors.extend(name.to_str().and_then(|name| name.parse::<i32>().ok()));
        }
        Ok(descriptors)
    };
    let descriptors =
        read().with_context(|| t!("errors.no_proc", directory = directory.display()))?;
    for descriptor in descriptors.into_iter().filter(|descriptor| *descriptor > 2) {
        // The one the directory was read through is closed already.
        let _ = nix::unistd::close(descriptor);
    }
    Ok(())
}
