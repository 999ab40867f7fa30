//! Start scripts lie, programs rename themselves, updaters move files: there is one copy all the same, no
//! healthy program is ended, and none goes unwatched.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::till::{
    COMUNICADOR, MONITOR, Process, SERVICE, SOON, STARTS, Script, Till, VENDOR, by_command,
    by_unit, config,
};
use mfe_kit::wait_for;

/// Renames itself once it was seen.
const RENAMES_ITSELF: &str = "#!/usr/bin/perl
sleep 3;
$0 = 'main-loop';
sleep 1000 while 1;
";

/// The classic daemon: its parent ends once the child is ready.
const DAEMON: &str = "#!/usr/bin/perl
use POSIX;
if (fork) { sleep 3; POSIX::_exit(0) }
POSIX::setsid();
sleep 1000 while 1;
";

/// What is there while all is well.
const HEALTHY: &str = "/run/healthy";

/// Where the textbook's daemon notes its pid.
const TWICE_PID: &str = "/run/forks-twice.pid";

/// The textbook's daemon: it forks twice, and its parent waits until it is ready.
const TWICE: &str = "#!/usr/bin/perl
use POSIX;
pipe(my $r, my $w);
if (!fork) {
    POSIX::setsid();
    POSIX::_exit(0) if fork;
    open my $pid, '>', '/run/forks-twice.pid'; print $pid \"$$\\n\"; close $pid;
    close $r; sleep 14; syswrite($w, 'r'); close $w;
    sleep 1000 while 1;
}
wait; close $w;
sysread($r, my $b, 1);
";

/// A start script of Comunicador's with this body, which notes that it was run.
fn script(till: &Till, body: &str) -> Result<()> {
    let text = format!("#!/bin/sh\necho $$ >> {STARTS}/comunicador\n{body}\n");
    till.write(COMUNICADOR.script, &text, 0o755)
}

fn configure(till: &Till, rules: &str, comunicador: &str) -> Result<()> {
    let processes = comunicador.to_owned() + &by_command(&MONITOR);
    till.configure(&(rules.to_owned() + &config("500ms", &processes)))
}

fn started(till: &Till, times: usize) -> Result<()> {
    let starts = till.starts(&COMUNICADOR);
    ensure!(starts == times, "started {starts} times, not {times}");
    Ok(())
}

/// Waits until a program has this state.
fn wait_state(till: &Till, state: &str) -> Result<()> {
    wait_for(&format!("Comunicador is {state}"), SOON, || {
        let status = till.status_of(&COMUNICADOR).unwrap_or_default();
        Ok((status["state"] == state).then_some(()))
    })
}

/// A script that ends with failure though its program is on the way: in its unit's control group, in a
/// unit of the vendor's, and in a session of its own.
pub(super) fn exit_status_lies(till: &Till) -> Result<()> {
    till.install_driver(Script::Stays)?;
    let path = COMUNICADOR.path();
    let slow = format!("(sleep 6; exec {path}) >/dev/null 2>&1 &\nexit 1");
    script(till, &slow)?;
    configure(till, "", &by_command(&COMUNICADOR))?;
    till.start()?;
    let one = till.wait_up(&COMUNICADOR)?;
    till.wait_cycles(5)?;
    started(till, 1)?;

    till.install_unit(&COMUNICADOR, "")?;
    till.drop_in(VENDOR, "[Service]\nKillMode=process\n")?;
    till.ok(&["systemctl", "daemon-reload"])?;
    configure(till, "", &by_unit(&COMUNICADOR, VENDOR))?;
    till.ok(&["systemctl", "reload", SERVICE])?;
    let two = till.kill_and_wait(&COMUNICADOR, one)?;
    till.wait_cycles(5)?;
    started(till, 2)?;

    let into_session = format!(
        "systemd-run --quiet --slice=user.slice --unit=session-of-a-start.scope --scope \
         setsid --fork sh -c 'sleep 6; exec {path}' >/dev/null 2>&1\nexit 1"
    );
    script(till, &into_session)?;
    configure(till, "", &by_command(&COMUNICADOR))?;
    till.ok(&["systemctl", "reload", SERVICE])?;
    till.kill_and_wait(&COMUNICADOR, two)?;
    till.wait_cycles(5)?;
    started(till, 3)
}

/// A second copy that takes its name long after its birth is told within a minute.
pub(super) fn late_second_copy(till: &Till) -> Result<()> {
    let [comunicador, _] = till.all_day()?;
    till.wait_cycles(3)?;
    let path = COMUNICADOR.path();
    till.sh(&format!(
        "setsid sh -c 'sleep 5; exec {path}' >/dev/null 2>&1 </dev/null &"
    ))?;
    wait_for("there are two", SOON, || {
        Ok((till.processes(&COMUNICADOR)?.len() == 2).then_some(()))
    })?;
    let told = wait_for("it is told", Duration::from_secs(60), || {
        Ok(till.events(Some(&COMUNICADOR), "duplicate")?.pop())
    })?;
    let runs = till.processes(&COMUNICADOR)?;
    ensure!(runs.len() == 2 && runs.contains(&comunicador), "{runs:?}");
    let second = runs.iter().find(|process| **process != comunicador);
    let second = second.context("no second copy")?;
    let second = second.pid.to_string();
    ensure!(told["MFE_PID"].as_str() == Some(&second), "{told}");
    Ok(())
}

/// What the script has left in the background needs longer than `start_timeout`, and has as long again;
/// what never becomes the program is ended before the next start.
pub(super) fn late_in_the_background(till: &Till) -> Result<()> {
    till.install_driver(Script::Stays)?;
    let path = COMUNICADOR.path();
    script(till, &format!("(sleep 5; exec {path}) &"))?;
    configure(till, "start_timeout = \"3s\"\n", &by_command(&COMUNICADOR))?;
    till.start()?;
    let one = till.wait_up(&COMUNICADOR)?;
    till.wait_cycles(5)?;
    started(till, 1)?;
    ensure!(till.processes(&COMUNICADOR)? == [one], "a second copy");

    script(till, "sleep 1000 &")?;
    till.signal("KILL", one.pid)?;
    let killed = till.wait_event(&COMUNICADOR, "killed")?;
    ensure!(killed["MFE_CAUSE"] == "late", "{killed}");
    wait_for("it is started again", SOON, || {
        Ok((till.starts(&COMUNICADOR) == 3).then_some(()))
    })?;
    let group = till.property(&COMUNICADOR.unit(), "ControlGroup")?;
    let group = till.sh(&format!(
        "cat /sys/fs/cgroup{group}/cgroup.procs /sys/fs/cgroup/*{group}/cgroup.procs 2>/dev/null \
         | sort -u | wc -l"
    ))?;
    let left: usize = group.trim().parse()?;
    ensure!(left <= 2, "{left} processes are left of two starts");
    Ok(())
}

/// A program that takes another name, and one whose file an updater moves aside, are the program still.
pub(super) fn renamed(till: &Till) -> Result<()> {
    till.install_driver(Script::Stays)?;
    till.sh(&format!("rm {}", COMUNICADOR.path()))?;
    till.write(&COMUNICADOR.path(), RENAMES_ITSELF, 0o755)?;
    configure(till, "", &by_command(&COMUNICADOR))?;
    till.start()?;
    till.wait_event(&COMUNICADOR, "renamed")?;
    till.wait_cycles(5)?;
    started(till, 1)?;
    wait_state(till, "up")?;

    let path = MONITOR.path();
    let monitor = by_command(&MONITOR) + &format!("exe = \"{path}\"\n");
    let processes = by_command(&COMUNICADOR) + &monitor;
    till.configure(&config("500ms", &processes))?;
    till.ok(&["systemctl", "reload", SERVICE])?;
    let monitor = till.wait_up(&MONITOR)?;
    let starts = till.starts(&MONITOR);
    till.sh(&format!("mv {path} {path}.old && cp {path}.old {path}"))?;
    // All processes are looked at, which else comes every 45 s.
    till.ok(&["systemctl", "reload", SERVICE])?;
    till.wait_event(&MONITOR, "renamed")?;
    till.wait_cycles(3)?;
    ensure!(till.processes(&MONITOR)? == [monitor], "it was harmed");
    ensure!(till.starts(&MONITOR) == starts, "it was started again");
    Ok(())
}

/// What nearly is the program, by the case of its name or in a PID namespace of its own, is neither ended
/// nor doubled.
pub(super) fn nearly_the_program(till: &Till) -> Result<()> {
    till.install_driver(Script::Stays)?;
    let wrong = by_command(&COMUNICADOR).replace("\"Comunicador\"", "\"comunicador\"");
    configure(till, "start_timeout = \"2s\"\n", &wrong)?;
    till.start()?;
    till.wait_event(&COMUNICADOR, "misfit")?;
    let runs = till.processes(&COMUNICADOR)?;
    ensure!(runs.len() == 1, "{runs:?}");
    till.status_exits(1)?;
    till.wait_cycles(1)?;
    ensure!(till.processes(&COMUNICADOR)? == runs, "it was harmed");
    nothing_by_hand(till)?;
    started(till, 1)?;
    // The configuration is corrected.
    configure(till, "", &by_command(&COMUNICADOR))?;
    till.ok(&["systemctl", "reload", SERVICE])?;
    ensure!([till.wait_up(&COMUNICADOR)?] == runs[..], "it was harmed");
    started(till, 1)?;

    let path = COMUNICADOR.path();
    script(
        till,
        &format!("exec unshare --pid --fork --kill-child {path}"),
    )?;
    configure(till, "start_timeout = \"2s\"\n", &by_command(&COMUNICADOR))?;
    till.ok(&["systemctl", "reload", SERVICE])?;
    till.signal("KILL", runs[0].pid)?;
    wait_for("it is a misfit", SOON, || {
        let misfits = till.events(Some(&COMUNICADOR), "misfit")?;
        Ok((misfits.len() == 2).then_some(()))
    })?;
    wait_state(till, "misfit")?;
    let check = till.run(&["mfe-watchdog", "check"])?;
    let said = String::from_utf8_lossy(&check.stderr);
    ensure!(said.contains("container"), "check says: {said}");
    nothing_by_hand(till)?;
    started(till, 2)
}

/// Whoever else starts it makes no second copy either.
fn nothing_by_hand(till: &Till) -> Result<()> {
    let said = till.run(&["mfe-watchdog", "exec", COMUNICADOR.key])?;
    let words = String::from_utf8_lossy(&said.stderr);
    ensure!(
        said.status.success() && words.contains("is already running (pid "),
        "{said:?}"
    );
    Ok(())
}

/// When the main process has ended, its child is checked, and whoever comes beside it is a second copy.
pub(super) fn the_child_goes_on(till: &Till) -> Result<()> {
    till.install_driver(Script::Stays)?;
    till.sh(&format!("rm {}", COMUNICADOR.path()))?;
    till.write(&COMUNICADOR.path(), DAEMON, 0o755)?;
    till.write(HEALTHY, "", 0o644)?;
    let check = "kind = \"command\"\nevery = \"1s\"\naction = \"restart\"";
    configure(
        till,
        // Checks begin when a start has had its time.
        "stopped_timeout = \"2s\"\nstart_timeout = \"5s\"\n",
        &format!(
            "{}[[process.{}.check]]\n{check}\ncommand = [\"/usr/bin/test\", \"-e\", \"{HEALTHY}\"]\n",
            by_command(&COMUNICADOR),
            COMUNICADOR.key
        ),
    )?;
    till.start()?;
    let child = only_child(till)?;
    till.sh(&format!(
        "cp {} /opt/Comunicador; setsid /opt/Comunicador >/dev/null 2>&1 </dev/null &",
        MONITOR.path()
    ))?;
    let beside = wait_for("there are two", SOON, || {
        let mut copies = till.processes(&COMUNICADOR)?.into_iter();
        Ok(copies.find(|copy| *copy != child))
    })?;
    let told = till.wait_event(&COMUNICADOR, "duplicate")?;
    ensure!(
        told["MFE_PID"].as_str() == Some(&beside.pid.to_string()),
        "{told}"
    );
    till.signal("KILL", beside.pid)?;
    started(till, 1)?;

    till.sh(&format!("rm {HEALTHY}"))?;
    till.wait_event(&COMUNICADOR, "unhealthy")?;
    till.write(HEALTHY, "", 0o644)?;
    wait_for("it is started again", SOON, || {
        Ok((till.starts(&COMUNICADOR) >= 2).then_some(()))
    })?;
    ensure!(
        !till.processes(&COMUNICADOR)?.contains(&child),
        "{child:?} lives"
    );

    till.remember_journal()?;
    let starts = till.starts(&COMUNICADOR);
    let child = only_child(till)?;
    till.signal("STOP", child.pid)?;
    till.wait_event(&COMUNICADOR, "unhealthy")?;
    wait_for("it is started again", SOON, || {
        Ok((till.starts(&COMUNICADOR) > starts).then_some(()))
    })
}

/// Waits until the main process has ended, and gives its child.
fn only_child(till: &Till) -> Result<Process> {
    till.wait_event(&COMUNICADOR, "main_ended")?;
    let left = till.processes(&COMUNICADOR)?;
    let [child] = left[..] else {
        bail!("not one child: {left:?}");
    };
    Ok(child)
}

/// A daemon that forks twice isn't its parent's second copy.
pub(super) fn forks_twice(till: &Till) -> Result<()> {
    till.install_driver(Script::Stays)?;
    till.sh(&format!("rm {}", COMUNICADOR.path()))?;
    till.write(&COMUNICADOR.path(), TWICE, 0o755)?;
    till.sh(&format!("rm -f {TWICE_PID}"))?;
    configure(
        till,
        "duplicates = \"stop-newest\"\n",
        &by_command(&COMUNICADOR),
    )?;
    till.start()?;
    // The one between them lives for a moment, too.
    let daemon: Process = wait_for("both live", SOON, || {
        let both = till.processes(&COMUNICADOR)?;
        let pid = till.read(TWICE_PID).and_then(|pid| pid.trim().parse().ok());
        let daemon = both.iter().find(|process| Some(process.pid) == pid);
        Ok(daemon.copied().filter(|_| both.len() == 2))
    })?;
    wait_for("the daemon lives alone", SOON, || {
        let alone = till.processes(&COMUNICADOR)? == [daemon];
        Ok(alone.then_some(()))
    })
    .context("its parent ends after 14 s")?;
    till.wait_cycles(3)?;
    ensure!(till.processes(&COMUNICADOR)? == [daemon], "it was ended");
    started(till, 1)
}
