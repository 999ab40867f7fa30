//! What else starts the programs at boot goes first: they run once, whoever starts them.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::till::{COMUNICADOR, PROGRAMS, SERVICE, SOON, Script, Till, by_command, config};
use mfe_kit::wait_for;

const RC_LOCAL_UNIT: &str = "rc-local.service";

/// As systemd has it, where it still does.
const AS_SYSTEMD_HAS_IT: &str = "[Unit]\nConditionFileIsExecutable=/etc/rc.local\n\
    [Service]\nType=forking\nExecStart=/etc/rc.local start\nTimeoutSec=infinity\n\
    RemainAfterExit=yes\nGuessMainPID=no\n[Install]\nWantedBy=multi-user.target\n";

/// Has these commands run at boot.
fn at_boot(till: &Till, commands: &str) -> Result<()> {
    till.write("/etc/rc.local", &format!("#!/bin/sh\n{commands}"), 0o755)?;
    if till.property(RC_LOCAL_UNIT, "LoadState")? == "not-found" {
        let file = format!("/etc/systemd/system/{RC_LOCAL_UNIT}");
        till.write(&file, AS_SYSTEMD_HAS_IT, 0o644)?;
        till.ok(&["systemctl", "enable", "--quiet", RC_LOCAL_UNIT])?;
    }
    till.ok(&["systemctl", "daemon-reload"])?;
    Ok(())
}

/// rc.local waits for the device, and then starts the programs itself: no second copy, on none of
/// three boots, and the service was ready long before.
pub(super) fn rc_local_goes_first(till: &Till) -> Result<()> {
    till.install_driver(Script::Forks)?;
    let starts = PROGRAMS.map(|program| format!("{} > /dev/null 2>&1\n", program.script));
    at_boot(till, &format!("sleep 3\n{}exit 0\n", starts.concat()))?;
    for boot in 1..=3 {
        till.reboot()?;
        for program in &PROGRAMS {
            till.wait_up_for(program, Duration::from_secs(60))?;
        }
        till.wait_cycles(5)?;
        for program in &PROGRAMS {
            till.wait_up(program)?;
            let starts = till.starts(program);
            ensure!(starts == boot, "{starts} starts on {boot} boots");
        }
        let since = |unit| -> Result<u64> {
            Ok(till
                .property(unit, "ActiveEnterTimestampMonotonic")?
                .parse()?)
        };
        let (service, rc_local) = (since(SERVICE)?, since(RC_LOCAL_UNIT)?);
        let seconds = Duration::from_micros(rc_local.saturating_sub(service));
        ensure!(
            seconds > Duration::from_secs(1),
            "the service was ready {seconds:?} before rc.local had ended"
        );
    }
    Ok(())
}

/// One that never comes to an end holds up nothing for longer than a start may take.
pub(super) fn rc_local_that_stays(till: &Till) -> Result<()> {
    till.install_driver(Script::Stays)?;
    let timeout = Duration::from_secs(5);
    let programs = PROGRAMS.map(|program| by_command(&program)).concat();
    till.configure(&config(
        "200ms",
        &format!("start_timeout = \"5s\"\n{programs}"),
    ))?;
    let waits = "while ! [ -e /dev/no-such-device ]; do sleep 1; done\n";
    at_boot(till, &format!("{waits}{} &\n", COMUNICADOR.script))?;
    let begin = std::time::Instant::now();
    till.ok(&["systemctl", "start", "--no-block", RC_LOCAL_UNIT])?;
    wait_for("rc.local is being started", SOON, || {
        let state = till.property(RC_LOCAL_UNIT, "ActiveState")?;
        Ok((state == "activating").then_some(()))
    })?;
    till.start()?;
    for program in &PROGRAMS {
        till.wait_detail(program, &format!("waiting for {RC_LOCAL_UNIT}"))?;
        ensure!(till.starts(program) == 0, "started at once");
    }
    for program in &PROGRAMS {
        till.wait_up(program)?;
        ensure!(till.starts(program) == 1, "{} starts", till.starts(program));
    }
    ensure!(begin.elapsed() >= timeout, "up after {:?}", begin.elapsed());
    let state = till.property(RC_LOCAL_UNIT, "ActiveState")?;
    ensure!(state == "activating", "rc.local is {state}");
    Ok(())
}
