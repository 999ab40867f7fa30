//! Hooks of the packaged service: what they are told, and what they can and can't do in its sandbox.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::till::{COMUNICADOR, PROGRAMS, SERVICE, Till, by_command, config};
use mfe_kit::wait_for;

const HOOK: &str = "/usr/local/bin/case-hook";

/// Where a hook can write.
const HEARD: &str = "/run/mfe-watchdog/heard";

/// What a hook does in a unit of its own, outside the sandbox.
const OUTSIDE: &str = "/var/lib/case-hook-outside";

/// Notes what it was told, and what it can do.
const SCRIPT: &str = r#"#!/bin/sh
exec > /run/mfe-watchdog/hearing 2>/dev/null
echo "told $MFE_EVENT $MFE_PROCESS $MFE_PID $MFE_CAUSE $MFE_HOST"
echo "outage $MFE_OUTAGE_MS"
echo "line $(cat)"
grep -E '^(CapEff|NoNewPrivs|Uid):' /proc/self/status
for file in /var/lib/case-hook-inside /etc/case-hook-inside /opt/case-hook-inside; do
    touch $file && echo "wrote $file"
done
for device in /dev/sda /dev/kmsg /dev/mem /dev/tty1; do
    test -e $device && echo "sees $device"
done
echo "links $(tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' ' | tr '\n' ' ')"
setpriv --reuid=65534 --clear-groups true && echo "changed its user"
systemd-run --quiet --setenv=MFE_EVENT="$MFE_EVENT" /bin/sh -c 'echo "$MFE_EVENT" > /var/lib/case-hook-outside'
echo end
mv /run/mfe-watchdog/hearing /run/mfe-watchdog/heard
"#;

fn hook(on: &str, timeout: &str) -> String {
    format!("\n[[hook]]\non = [\"{on}\"]\ncommand = [\"{HOOK}\"]\ntimeout = \"{timeout}\"\n")
}

fn configure(till: &Till, hook: &str) -> Result<()> {
    let processes = PROGRAMS.map(|program| by_command(&program)).concat();
    till.configure(&config("200ms", &[&processes, hook].concat()))
}

pub(super) fn hook_in_the_sandbox(till: &Till) -> Result<()> {
    till.write(HOOK, SCRIPT, 0o755)?;
    till.sh(&format!("rm -f {OUTSIDE}"))?;
    configure(till, &hook("restarted", "10s"))?;
    let [comunicador, _] = till.all_day()?;
    let back = till.kill_and_wait(&COMUNICADOR, comunicador)?;
    let heard = wait_for("the hook has heard of it", Duration::from_secs(20), || {
        Ok(till.read(HEARD))
    })?;
    let line = |name: &str| {
        let mut lines = heard.lines();
        let line = lines.find_map(|line| line.strip_prefix(name));
        line.map(str::trim)
            .with_context(|| format!("no {name}: {heard}"))
    };
    let host = till.sh("uname -n")?;
    ensure!(
        line("told ")? == format!("restarted comunicador {} killed {}", back.pid, host.trim())
            || line("told ")? == format!("restarted comunicador {} gone {}", back.pid, host.trim()),
        "{heard}"
    );
    let event: Value = serde_json::from_str(line("line ")?).context("the event's line")?;
    ensure!(
        event["event"] == "restarted"
            && event["pid"] == back.pid
            && event["outage_ms"] == line("outage ")?.parse::<u64>()?,
        "{event}"
    );
    ensure!(line("Uid:")?.starts_with("0\t0"), "{heard}");
    ensure!(line("NoNewPrivs:")? == "1", "{heard}");
    ensure!(line("CapEff:")? == "0000000000080020", "{heard}");
    ensure!(line("links ")? == "lo", "{heard}");
    for can in ["wrote ", "sees ", "changed its user"] {
        ensure!(!heard.contains(can), "in the sandbox: {heard}");
    }
    let outside = wait_for("a unit of its own", Duration::from_secs(20), || {
        Ok(till.read(OUTSIDE).filter(|text| !text.is_empty()))
    })?;
    ensure!(outside.trim() == "restarted", "{outside}");
    let failed = till.events(None, "hook_failed")?;
    ensure!(failed.is_empty(), "{failed:?}");
    till.sh(&format!("rm -f {OUTSIDE} {HOOK}"))?;
    Ok(())
}

/// A hook that takes longer to hear of the end than systemd's `TimeoutStopSec=` (20s) allows.
pub(super) fn slow_shutdown_hook(till: &Till) -> Result<()> {
    const DONE: &str = "/run/case-shutdown";
    till.sh(&format!("rm -rf {DONE} && mkdir {DONE}"))?;
    till.drop_in(SERVICE, &format!("[Service]\nReadWritePaths={DONE}\n"))?;
    till.write(
        HOOK,
        &format!("#!/bin/sh\necho > {DONE}/begun\nsleep 23\necho > {DONE}/ended\n"),
        0o755,
    )?;
    configure(till, &hook("shutdown", "40s"))?;
    let before = till.all_day()?;
    till.ok(&["systemctl", "stop", SERVICE])?;
    for step in ["begun", "ended"] {
        ensure!(
            till.exists(&format!("{DONE}/{step}")),
            "the hook has not {step}"
        );
    }
    let result = till.property(SERVICE, "Result")?;
    ensure!(result == "success", "the service's end: {result}");
    till.unharmed(&before)?;
    till.sh(&format!("rm -rf {DONE} {HOOK}"))?;
    Ok(())
}
