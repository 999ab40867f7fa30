//! The unit files themselves, and the vendor's own units.

use anyhow::{Context, Result, ensure};

use crate::till::{
    COMUNICADOR, MONITOR, PROGRAMS, SERVICE, SOON, Script, Till, VENDOR, by_command, by_unit,
    config,
};
use mfe_kit::host::tail;
use mfe_kit::wait_for;

/// systemd finds nothing wrong with the units, and the service little to attack.
pub(super) fn verify_and_exposure(till: &Till) -> Result<()> {
    let verify = till.run(&[
        "systemd-analyze",
        "verify",
        SERVICE,
        "mfe-watchdog-order.target",
        "mfe-watchdog-shutdown.service",
        "mfe@.service",
        "mfe@comunicador.service",
    ])?;
    let said = tail(&verify, 20);
    ensure!(
        verify.status.success() && said.is_empty(),
        "{}: {said}",
        verify.status
    );

    let exposure = exposure(till, SERVICE)?;
    ensure!(exposure <= 1.5, "the exposure is {exposure}");

    // What keeps a unit's end, and the kernel's when memory runs out, from the programs.
    for (unit, restart) in [(SERVICE, "always"), ("mfe@comunicador.service", "no")] {
        for (name, wanted) in [
            ("KillMode", "process"),
            ("OOMPolicy", "continue"),
            ("Restart", restart),
        ] {
            let value = till.property(unit, name)?;
            ensure!(value == wanted, "{unit} has {name}={value}");
        }
    }
    Ok(())
}

/// How much a unit could do beyond its purpose, from 0 to 10 (systemd-analyze(1)).
pub(super) fn exposure(till: &Till, unit: &str) -> Result<f64> {
    let said = till.ok(&["systemd-analyze", "security", "--no-pager", unit])?;
    let line = said
        .lines()
        .rfind(|line| line.contains("exposure level"))
        .context("no verdict")?;
    let exposure = line
        .split_whitespace()
        .find_map(|word| word.parse::<f64>().ok());
    exposure.with_context(|| line.to_owned())
}

/// Another target leaves the programs alone, rescue mode too, where nothing watches them.
pub(super) fn other_target(till: &Till) -> Result<()> {
    let before = till.all_day()?;
    till.ok(&["systemctl", "isolate", "multi-user.target"])?;
    let in_multi_user = till.unharmed(&before);
    till.ok(&["systemctl", "isolate", "rescue.target"])?;
    let in_rescue = wait_for("the watchdog has stopped", SOON, || {
        Ok((till.property(SERVICE, "ActiveState")? == "inactive").then_some(()))
    })
    .and_then(|()| till.unharmed(&before));
    // However that was: the next case needs the machine as it was.
    till.ok(&["systemctl", "isolate", "multi-user.target"])?;
    in_multi_user.context("in multi-user.target")?;
    in_rescue.context("in rescue.target")?;
    for program in PROGRAMS {
        till.wait_up(&program)?;
    }
    till.unharmed(&before)
}

/// An init script of the vendor's kind: it leaves the program behind and ends, so that systemd
/// takes the unit for active whatever becomes of the program.
const SYSV_SCRIPT: &str = r#"#!/bin/sh
### BEGIN INIT INFO
# Provides:          cco-ser
# Required-Start:    $local_fs
# Required-Stop:     $local_fs
# Default-Start:     2 3 4 5
# Default-Stop:      0 1 6
# Short-Description: Comunicador
### END INIT INFO
case "$1" in
    start|restart) /opt/sefaz/cco/bin/runcco-ser.sh >/dev/null 2>&1 & ;;
    stop) ;;
esac
exit 0
"#;

/// What systemd makes of such a script; for suites whose systemd no longer reads them.
const AS_GENERATED: &str = "[Service]
Type=forking
Restart=no
TimeoutSec=5min
IgnoreSIGPIPE=no
KillMode=process
GuessMainPID=no
RemainAfterExit=yes
SuccessExitStatus=5 6
ExecStart=/etc/init.d/cco-ser start
ExecStop=/etc/init.d/cco-ser stop
";

pub(super) fn sysv_script(till: &Till) -> Result<()> {
    till.install_driver(Script::Forks)?;
    till.write("/etc/init.d/cco-ser", SYSV_SCRIPT, 0o755)?;
    if !till.exists("/usr/lib/systemd/system-generators/systemd-sysv-generator") {
        till.write(
            &format!("/etc/systemd/system/{VENDOR}"),
            AS_GENERATED,
            0o644,
        )?;
    }
    till.ok(&["systemctl", "daemon-reload"])?;
    till.ok(&["systemctl", "start", VENDOR])?;
    till.configure(&config(
        "200ms",
        &[by_unit(&COMUNICADOR, VENDOR), by_command(&MONITOR)].concat(),
    ))?;
    till.start()?;
    let mut comunicador = till.wait_up(&COMUNICADOR)?;
    till.wait_event(&COMUNICADOR, "adopted")?;
    for _ in 0..3 {
        let state = till.property(VENDOR, "ActiveState")?;
        ensure!(state == "active", "the unit is {state}");
        comunicador = till.kill_and_wait(&COMUNICADOR, comunicador)?;
    }
    ensure!(
        till.starts(&COMUNICADOR) == 4,
        "{} starts",
        till.starts(&COMUNICADOR)
    );
    Ok(())
}

/// A unit of the vendor's that systemd no longer wants to start, and one that has failed.
pub(super) fn start_limit(till: &Till) -> Result<()> {
    till.install_driver(Script::Stays)?;
    till.install_unit(
        &COMUNICADOR,
        "[Unit]\nStartLimitInterval=1h\nStartLimitBurst=2\n",
    )?;
    till.configure(&config("200ms", &by_unit(&COMUNICADOR, VENDOR)))?;
    till.start()?;
    let mut comunicador = till.wait_up(&COMUNICADOR)?;
    for _ in 0..5 {
        comunicador = till.kill_and_wait(&COMUNICADOR, comunicador)?;
    }
    ensure!(
        till.starts(&COMUNICADOR) == 6,
        "{} starts",
        till.starts(&COMUNICADOR)
    );
    let failures = till.events(Some(&COMUNICADOR), "start_failed")?.len();
    ensure!(failures == 0, "{failures} starts have failed");
    Ok(())
}
