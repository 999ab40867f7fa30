//! Installs Debian packages that a test needs; it can do so as root on Debian only.

use std::process::Command;

use crate::command::is_root;

/// Makes sure that a package is installed, and fails the test where that can't be done.
pub fn install(package: &str) {
    let is_installed = || {
        let query = Command::new("dpkg").args(["-s", package]).output();
        query.is_ok_and(|output| output.status.success())
    };
    if is_installed() {
        return;
    }
    assert!(
        is_root(),
        "this test needs the package {package}: apt-get install {package}"
    );
    let apt_get = |arguments: &[&str]| {
        let status = Command::new("apt-get")
            .args(["-qq", "-o", "DPkg::Lock::Timeout=300"])
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .status();
        status.is_ok_and(|status| status.success())
    };
    let install = ["install", "-y", "--no-install-recommends", package];
    // A machine that was never updated knows no packages yet.
    let installed = apt_get(&install) || apt_get(&["update"]) && apt_get(&install);
    assert!(installed && is_installed(), "{package} can't be installed");
}
