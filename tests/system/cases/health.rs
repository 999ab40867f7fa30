//! Programs that are up and not well, ended by the packaged service: out of its sandbox, whoever's
//! they are.

use anyhow::{Context, Result, ensure};

use crate::till::{
    COMUNICADOR, MONITOR, Process, Program, SERVICE, SOON, Script, Till, VENDOR, by_command,
    by_unit, config,
};
use mfe_kit::wait_for;

/// What else runs in that unit.
const HELPER: Program = Program {
    key: "helper",
    name: "mfe-helper",
    script: "/opt/sefaz/cco/bin/mfe-helper.sh",
};

/// Makes the next check fail. The service's own directory is what its sandbox lets it write to.
pub(super) const SICK: &str = "/run/mfe-watchdog/sick";

const CHECK: &str = "/usr/local/bin/case-check";

/// A check that fails once for each time that the program falls sick.
const CHECK_SCRIPT: &str = "#!/bin/sh
if rm /run/mfe-watchdog/sick 2>/dev/null; then
    echo it is sick
    exit 1
fi
";

/// Puts the check's program on the machine; gives the rules for a process's section.
pub(super) fn sick_check(till: &Till, program: &Program) -> Result<String> {
    till.write(CHECK, CHECK_SCRIPT, 0o755)?;
    Ok(format!(
        "start_timeout = \"300ms\"\nstop_timeout = \"1s\"\n[[process.{}.check]]\n\
         kind = \"command\"\ncommand = [\"{CHECK}\"]\nevery = \"100ms\"\nfailures = 1\n\
         action = \"restart\"\n",
        program.key
    ))
}

/// The program falls sick and comes back once, as another process; gives what was told of its end.
fn falls_sick(till: &Till, program: &Program) -> Result<String> {
    let before = till.wait_up(program)?;
    till.remember_journal()?;
    till.write(SICK, "", 0o644)?;
    let back = wait_for("it is restarted", SOON, || {
        let up = till.wait_up(program)?;
        Ok((up != before).then_some(up))
    })?;
    let unhealthy = till.wait_event(program, "unhealthy")?;
    let found = unhealthy["MESSAGE"].as_str().unwrap_or_default();
    ensure!(found.contains("it is sick"), "{found}");
    let restarted = till.wait_event(program, "restarted")?;
    ensure!(restarted["MFE_CAUSE"] == "unhealthy", "{restarted}");
    ensure!(
        restarted["MFE_PID"] == back.pid.to_string().as_str(),
        "{restarted}"
    );
    ensure!(till.starts(program) == 2, "{} starts", till.starts(program));
    let killed = till.wait_event(program, "killed")?;
    Ok(killed["MESSAGE"].as_str().unwrap_or_default().to_owned())
}

/// A unit is systemd's to stop, with whatever else runs in its control group.
pub(super) fn unhealthy_unit(till: &Till) -> Result<()> {
    till.install_program(&COMUNICADOR, Script::Stays)?;
    till.install_program(&HELPER, Script::Stays)?;
    let unit = format!(
        "[Service]\nKillMode=control-group\nExecStart=/bin/sh -c '{} & exec {}'\n",
        HELPER.script, COMUNICADOR.script
    );
    till.write(&format!("/etc/systemd/system/{VENDOR}"), &unit, 0o644)?;
    till.ok(&["systemctl", "daemon-reload"])?;
    let rules = sick_check(till, &COMUNICADOR)?.replace("1s", "10s");
    till.configure(&config(
        "200ms",
        &[by_unit(&COMUNICADOR, VENDOR), rules].concat(),
    ))?;
    till.start()?;
    till.wait_up(&COMUNICADOR)?;
    let helper = || {
        wait_for("one helper runs", SOON, || {
            let helpers = till.processes(&HELPER)?;
            Ok((helpers.len() == 1).then(|| helpers[0]))
        })
    };
    let before = helper()?;
    let killed = falls_sick(till, &COMUNICADOR)?;
    ensure!(killed.contains("systemd has stopped its unit"), "{killed}");
    ensure!(helper()? != before, "what else ran in the unit was left");
    ensure!(till.property(VENDOR, "ActiveState")? == "active");
    ensure!(
        till.property(VENDOR, "NRestarts")? == "0",
        "systemd restarted it"
    );
    Ok(())
}

/// The service may end what runs as the cashier's user, asked or not.
pub(super) fn another_users_program(till: &Till) -> Result<()> {
    till.sh("id pdv 2>/dev/null || useradd --system --no-create-home pdv")?;
    till.drop_in(&MONITOR.unit(), "[Service]\nUser=pdv\n")?;
    let rules = sick_check(till, &MONITOR)?;
    till.configure(&config("200ms", &[by_command(&MONITOR), rules].concat()))?;
    for (trap, signal) in [
        ("", "was unhealthy: SIGTERM"),
        ("trap '' TERM\n", "SIGKILL, after it ignored SIGTERM"),
    ] {
        till.install_program(&MONITOR, Script::Stays)?;
        let script = till.read(MONITOR.script).context("no start script")?;
        till.write(
            MONITOR.script,
            &script.replace("exec ", &format!("{trap}exec ")),
            0o755,
        )?;
        till.start()?;
        let program = till.wait_up(&MONITOR)?;
        let user = till.sh(&format!("stat -c %U /proc/{}", program.pid))?;
        ensure!(user.trim() == "pdv", "it runs as {user}");
        let killed = falls_sick(till, &MONITOR)?;
        ensure!(killed.contains(signal), "{killed}");
        let stuck = till.events(Some(&MONITOR), "stuck")?;
        ensure!(stuck.is_empty(), "{stuck:?}");
        till.ok(&["systemctl", "stop", SERVICE])?;
        let up = till.processes(&MONITOR)?;
        for process in &up {
            till.signal("KILL", process.pid)?;
        }
        till.sh(&format!("rm {}/{}", crate::till::STARTS, MONITOR.key))?;
        wait_for("it is gone", SOON, || {
            Ok(till.processes(&MONITOR)?.is_empty().then_some(()))
        })?;
    }
    Ok(())
}

/// A port of this machine: inside the sandbox the service finds out who listens there, and once the
/// administrator opens the network it connects.
pub(super) fn tcp_check(till: &Till) -> Result<()> {
    let port = "[Socket]\nListenStream=127.0.0.1:9015\n";
    till.write("/etc/systemd/system/case-port.socket", port, 0o644)?;
    let service = "[Service]\nExecStart=/bin/sleep infinity\n";
    till.write("/etc/systemd/system/case-port.service", service, 0o644)?;
    let shown = reach_port(till);
    till.sh(
        "systemctl stop case-port.socket case-port.service; rm /etc/systemd/system/case-port.*
        rm -rf /etc/systemd/system/mfe-watchdog.service.d; systemctl daemon-reload",
    )?;
    shown
}

fn reach_port(till: &Till) -> Result<()> {
    till.ok(&["systemctl", "daemon-reload"])?;
    till.ok(&["systemctl", "start", "case-port.socket"])?;
    let rules = "start_timeout = \"300ms\"\n[[process.comunicador.check]]\nkind = \"tcp\"\n\
                 address = \"127.0.0.1:9015\"\nevery = \"200ms\"\nfailures = 2\n\
                 action = \"restart\"\n";
    let processes = [
        by_command(&COMUNICADOR),
        rules.to_owned(),
        by_command(&MONITOR),
    ];
    till.configure(&config("200ms", &processes.concat()))?;
    let before = till.all_day()?;
    port_is_well(till, &before)?;
    ensure!(!is_port_reached(till)?, "the service can connect");
    port_closes(till, "nothing listens on 127.0.0.1:9015")?;
    till.ok(&["systemctl", "start", "case-port.socket"])?;

    // As the file itself says.
    till.sh(&format!(
        "install -D -m 644 /usr/share/doc/mfe-watchdog/examples/network.conf \
         /etc/systemd/system/{SERVICE}.d/network.conf
        systemctl daemon-reload && systemctl restart {SERVICE}"
    ))?;
    till.remember_journal()?;
    let comunicador = till.wait_up(&COMUNICADOR)?;
    wait_for("the port is reached", SOON, || {
        Ok(is_port_reached(till)?.then_some(()))
    })?;
    port_is_well(till, &[comunicador, before[1]])?;
    port_closes(till, "nothing accepts connections on 127.0.0.1:9015")?;
    ensure!(
        till.processes(&MONITOR)? == [before[1]],
        "Monitor was harmed"
    );
    Ok(())
}

/// A connection makes systemd start the service behind the port.
fn is_port_reached(till: &Till) -> Result<bool> {
    Ok(till.property("case-port.service", "ActiveState")? == "active")
}

/// Somebody listens: nothing comes of the check.
fn port_is_well(till: &Till, before: &[Process; 2]) -> Result<()> {
    till.wait_cycles(10)?;
    till.unharmed(before)?;
    for event in ["degraded", "unhealthy"] {
        let told = till.events(Some(&COMUNICADOR), event)?;
        ensure!(told.is_empty(), "{told:?}");
    }
    Ok(())
}

/// Nobody listens any more: that is found, and the program restarted.
fn port_closes(till: &Till, finding: &str) -> Result<()> {
    till.ok(&["systemctl", "stop", "case-port.socket", "case-port.service"])?;
    let unhealthy = till.wait_event(&COMUNICADOR, "unhealthy")?;
    let found = unhealthy["MESSAGE"].as_str().unwrap_or_default();
    ensure!(found.contains(finding), "{found}");
    let restarted = till.wait_event(&COMUNICADOR, "restarted")?;
    ensure!(restarted["MFE_CAUSE"] == "unhealthy", "{restarted}");
    Ok(())
}
