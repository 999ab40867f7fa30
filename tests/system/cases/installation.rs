//! What apt and dpkg do to a till: install, upgrade, downgrade, remove, purge, install again. The
//! programs go on through all of it.

use anyhow::{Context, Result, ensure};

use crate::till::{CONFIG, PROGRAMS, SERVICE, SOON, Script, Till};
use mfe_kit::container::expect_status;
use mfe_kit::wait_for;

/// As a technician does it: copied there, installed with apt, without a network. The service is
/// enabled and runs, with the settings as shipped, and `systemctl enable --now` finds it done.
pub(super) fn install(till: &Till) -> Result<()> {
    till.ok(&["dpkg", "--purge", "mfe-watchdog"])?;
    till.install_driver(Script::Stays)?;
    let said = till.apt_install("current", &[])?;
    ensure!(!said.to_lowercase().contains("warning"), "apt said: {said}");
    ensure!(till.ok(&["systemctl", "is-enabled", SERVICE])?.trim() == "enabled");
    ensure!(till.is_active()?, "the service does not run");
    let service = till.main_pid()?;
    till.ok(&["systemctl", "enable", "--now", SERVICE])?;
    ensure!(
        till.main_pid()? == service,
        "enable --now started another one"
    );
    for program in &PROGRAMS {
        till.wait_up(program)?;
    }
    let line = till.property(SERVICE, "StatusText")?;
    for program in &PROGRAMS {
        ensure!(line.contains(program.name), "systemctl status says: {line}");
    }
    till.status_exits(0)?;
    // Anybody may ask.
    let status = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "mfe-watchdog",
    ];
    expect_status(&till.run(&[&status[..], &["status"]].concat())?, 0)?;
    ensure!(
        till.property(SERVICE, "NRestarts")? == "0",
        "it was restarted"
    );
    expect_status(&till.run(&["mfe-watchdog", "check"])?, 0)?;
    Ok(())
}

/// The service is replaced, its settings are kept, and the programs notice nothing.
pub(super) fn upgrade_and_downgrade(till: &Till) -> Result<()> {
    let before = till.all_day()?;
    for (package, options) in [
        ("newer", &[][..]),
        ("older", &["--allow-downgrades"]),
        ("current", &[]),
    ] {
        let edited = format!(
            "{}# edited before {package}\n",
            till.read(CONFIG).context("config")?
        );
        till.configure(&edited)?;
        let service = till.main_pid()?;
        let said = till.apt_install(package, options)?;
        ensure!(!said.contains("gui-outside-session"), "apt said: {said}");
        till.wait_for_another(service, SOON)
            .with_context(|| package.to_owned())?;
        till.unharmed(&before).with_context(|| package.to_owned())?;
        ensure!(
            till.read(CONFIG).as_ref() == Some(&edited),
            "the settings were not kept"
        );
        ensure!(till.ok(&["systemctl", "is-enabled", SERVICE])?.trim() == "enabled");
        for program in &PROGRAMS {
            till.wait_up(program)?;
            ensure!(
                till.starts(program) == 1,
                "{} was started again",
                program.name
            );
        }
    }
    Ok(())
}

/// An upgrade whose configuration is from before the screen was known says, in both languages, what leads
/// to the line that it lacks, and says nothing more once that is there.
pub(super) fn upgrade_without_session(till: &Till) -> Result<()> {
    till.all_day()?;
    till.install_desktop()?;
    let said = till.apt_install("newer", &[])?;
    for words in [
        "NOTE: each session",
        "AVISO: cada sessão",
        "(gui-outside-session)",
    ] {
        ensure!(said.contains(words), "apt said: {said}");
    }
    let lacking = till.read(CONFIG).context("config")?;
    let section = "[process.monitor]\n";
    ensure!(lacking.contains(section), "{lacking}");
    till.configure(&lacking.replace(section, &format!("{section}session = \"auto\"\n")))?;
    let said = till.apt_install("current", &["--allow-downgrades"])?;
    ensure!(!said.contains("gui-outside-session"), "apt said: {said}");
    Ok(())
}

/// The settings survive a removal, and the programs that run are found again after it.
pub(super) fn remove_and_reinstall(till: &Till) -> Result<()> {
    let before = till.all_day()?;
    let config = till.read(CONFIG);
    // Another one of the template that has failed, so as to see that it is forgotten.
    till.ok(&["systemctl", "start", "mfe@printer.service"])?;
    wait_for("the unit has failed", SOON, || {
        Ok((till.property("mfe@printer.service", "ActiveState")? == "failed").then_some(()))
    })?;
    till.ok(&["apt-get", "-q", "-y", "remove", "mfe-watchdog"])?;
    till.unharmed(&before)?;
    ensure!(till.read(CONFIG) == config, "the settings are gone");
    for gone in [
        "/usr/bin/mfe-watchdog",
        "/usr/lib/systemd/system/mfe@.service",
        "/run/mfe-watchdog",
    ] {
        ensure!(!till.exists(gone), "{gone} is left");
    }
    let failed = till.ok(&["systemctl", "list-units", "--failed", "--no-legend", "mfe*"])?;
    ensure!(
        failed.trim().is_empty(),
        "units are left as failed: {failed}"
    );

    till.apt_install("current", &[])?;
    for (program, process) in PROGRAMS.iter().zip(before) {
        ensure!(
            till.wait_up(program)? == process,
            "{} was restarted",
            program.name
        );
    }
    till.kill_and_wait(&PROGRAMS[0], before[0])?;
    Ok(())
}

/// Nothing of ours is left but the programs, which aren't ours; and it can come back.
pub(super) fn purge(till: &Till) -> Result<()> {
    let before = till.all_day()?;
    till.ok(&["apt-get", "-q", "-y", "purge", "mfe-watchdog"])?;
    till.unharmed(&before)?;
    // What man has shown it keeps by itself for a while.
    let left = till.sh(
        "find / -xdev \\( -path /proc -o -path /root -o -path /tmp -o -path /var/cache/man \\) -prune -o \
        \\( -name '*mfe-watchdog*' -o -name 'mfe@*' \\) -print; \
        find /run /etc/systemd \\( -name '*mfe-watchdog*' -o -name 'mfe@*' \\) \
        ! -path '/run/systemd/units/*' -print",
    )?;
    ensure!(left.trim().is_empty(), "left: {left}");

    till.apt_install("current", &[])?;
    ensure!(till.is_active()?, "the service does not run");
    for (program, process) in PROGRAMS.iter().zip(before) {
        ensure!(
            till.wait_up(program)? == process,
            "{} was restarted",
            program.name
        );
    }
    Ok(())
}

/// rc.local starts the script that the service replaces. That is said at the installation and at
/// each start, once, and what it names does switch the script off.
pub(super) fn old_watcher(till: &Till) -> Result<()> {
    const RC_LOCAL: &str = "#!/bin/sh -e\n/usr/local/bin/env_check/bin/python /usr/local/bin/check_async.py &\nexit 0\n";
    let reinstall = || till.apt_install("current", &["--reinstall"]);
    let warnings = |said: &str| said.matches("WARNING: /etc/rc.local").count();
    till.write("/etc/rc.local", RC_LOCAL, 0o755)?;
    till.install_driver(Script::Stays)?;
    let said = reinstall()?;
    ensure!(warnings(&said) == 1, "{said}");
    ensure!(
        till.read("/etc/rc.local").as_deref() == Some(RC_LOCAL),
        "rc.local was changed"
    );
    let events = || till.events(None, "legacy_watcher");
    wait_for("the service says it too", SOON, || {
        Ok((events()?.len() == 1).then_some(()))
    })?;

    let command = said
        .lines()
        .find(|line| line.trim_start().starts_with("sudo sed"));
    let command = command.context("no command is named")?.trim();
    let told = events()?.pop().unwrap_or_default();
    let told = told["MESSAGE"].as_str().unwrap_or_default();
    ensure!(
        told.contains(command),
        "the service names another command: {told}"
    );
    // As on a till, where sudo and pkill are.
    let tools = "sudo() { \"$@\"; }; pkill() { echo pkill \"$@\"; };";
    let said = till.sh(&format!("{tools} {command}; sh -n /etc/rc.local"))?;
    ensure!(
        said.trim() == r"pkill -f check_(async|comunicador)\.py",
        "{said}"
    );

    till.remember_journal()?;
    let said = reinstall()?;
    ensure!(warnings(&said) == 0, "{said}");
    till.wait_up(&PROGRAMS[0])?;
    ensure!(
        events()?.is_empty(),
        "the service warns of a script that is switched off"
    );
    Ok(())
}

/// The maintainer scripts ask nothing of init-system-helpers that version 1.29 (Ubuntu 16.04)
/// would refuse.
pub(super) fn old_init_system_helpers(till: &Till) -> Result<()> {
    let verbs = [
        (
            "deb-systemd-helper",
            "enable|disable|purge|mask|unmask|is-enabled|was-enabled|debian-installed|update-state|reenable",
        ),
        ("deb-systemd-invoke", "start|stop|restart"),
    ];
    for (program, known) in verbs {
        let old = format!(
            "#!/bin/sh
            [ \"$1\" = --quiet ] && quiet=--quiet && shift
            case $1 in
                {known}) exec /usr/bin/{program}.new $quiet \"$@\" ;;
            esac
            echo \"{program} $*\" >> /root/refused
            exit 1
            "
        );
        till.sh(&format!(
            "mv /usr/bin/{program} /usr/bin/{program}.new; rm -f /root/refused"
        ))?;
        till.write(&format!("/usr/bin/{program}"), &old, 0o755)?;
    }
    let result = install_upgrade_purge(till);
    for (program, _) in verbs {
        till.sh(&format!("mv /usr/bin/{program}.new /usr/bin/{program}"))?;
    }
    result
}

fn install_upgrade_purge(till: &Till) -> Result<()> {
    let before = till.all_day()?;
    till.ok(&["apt-get", "-q", "-y", "purge", "mfe-watchdog"])?;
    for package in ["older", "current"] {
        till.apt_install(package, &[])?;
        ensure!(till.is_active()?, "the service does not run");
        ensure!(till.ok(&["systemctl", "is-enabled", SERVICE])?.trim() == "enabled");
    }
    till.ok(&["apt-get", "-q", "-y", "remove", "mfe-watchdog"])?;
    till.ok(&["apt-get", "-q", "-y", "purge", "mfe-watchdog"])?;
    till.unharmed(&before)?;
    let refused = till.read("/root/refused");
    ensure!(
        refused.is_none(),
        "refused: {}",
        refused.unwrap_or_default()
    );
    Ok(())
}
