//! What `mfe-watchdog doctor` finds on a till that is as it should be, and on one that isn't.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};

use crate::till::{MONITOR, SERVICE, Till};
use mfe_kit::container::expect_status;

/// Nothing on a sound till; then each thing that is broken, and nothing else.
pub(super) fn doctor(till: &Till) -> Result<()> {
    finds(till, &["driver-missing", "service-not-running"])?;
    till.all_day()?;
    finds(till, &["driver-incomplete"])?;
    till.write("/opt/sefaz/drs/libmfe.so", "library", 0o644)?;
    finds(till, &[])?;

    till.ok(&["systemctl", "disable", "--quiet", SERVICE])?;
    till.sh("chmod 777 -R /opt/sefaz")?;
    till.write(
        "/etc/rc.local",
        "#!/bin/sh\npython3 /usr/local/bin/check_async.py &\n",
        0o644,
    )?;
    let rival = format!(
        "[Service]\nExecStart={}\nRestart=always\n[Install]\nWantedBy=multi-user.target\n",
        MONITOR.script
    );
    till.write("/etc/systemd/system/mfe-rival.service", &rival, 0o644)?;
    till.ok(&["systemctl", "enable", "--quiet", "mfe-rival"])?;
    let broken = [
        "service-not-enabled",
        "old-watcher-rc-local",
        "rival-unit",
        "others-can-change",
    ];
    let commands = finds(till, &broken)?;

    // What it names fixes it. No sudo here, and none is needed.
    till.sh(&format!("sudo() {{ \"$@\"; }}\nset -e\n{commands}"))?;
    finds(till, &[])?;
    till.ok(&["systemctl", "disable", "--quiet", "mfe-rival"])?;
    Ok(())
}

/// Asserts what is found, and gives the commands that fix it.
pub(super) fn finds(till: &Till, expected: &[&str]) -> Result<String> {
    let code = i32::from(!expected.is_empty());
    let said = expect_status(&till.run(&["mfe-watchdog", "doctor"])?, code)?;
    let ids = said.split('[').skip(1);
    let ids: BTreeSet<&str> = ids
        .filter_map(|part| part.split_once("]\n"))
        .map(|(id, _)| id)
        .collect();
    let expected = expected.iter().copied().collect();
    ensure!(ids == expected, "expected {expected:?}, found:\n{said}");
    let commands = said.lines().filter(|line| line.starts_with("    "));
    Ok(commands.collect::<Vec<_>>().join("\n"))
}
