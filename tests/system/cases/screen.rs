//! Monitor is a window: it comes back on the screen of whoever is logged in, as that user, and is nobody's
//! where nobody is. Sessions are logind's own; the display is a stand-in that answers.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};

use crate::till::{
    COMUNICADOR, MONITOR, Process, Program, SERVICE, SOON, Script, Till, by_command, config,
};
use mfe_kit::wait_for;

/// At the machine's own screen.
const IN_FRONT: &str = "XDG_SEAT=seat0";

/// What differs between two processes of one session by right.
const OF_ONE_PROCESS: [&str; 12] = [
    "_",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "MANAGERPID",
    "MEMORY_PRESSURE_WATCH",
    "MEMORY_PRESSURE_WRITE",
    "OLDPWD",
    "PWD",
    "SHLVL",
    "SYSTEMD_EXEC_PID",
    "TERM",
    "WINDOWID",
];

fn monitor(session: &str) -> String {
    by_command(&MONITOR) + &format!("session = \"{session}\"\n")
}

fn prepare(till: &Till, rules: &str, session: &str) -> Result<()> {
    till.install_driver(Script::Stays)?;
    till.install_program(&MONITOR, Script::Window)?;
    till.install_desktop()?;
    let processes = by_command(&COMUNICADOR) + &monitor(session);
    till.configure(&(rules.to_owned() + &config("500ms", &processes)))
}

/// The session's own autostart, so many seconds after a login.
fn autostart(seconds: u32) -> String {
    format!("{seconds} {}", MONITOR.script)
}

fn is_users(till: &Till, process: Process, user: &str) -> Result<()> {
    let found = till.user_of(process)?;
    ensure!(found == user, "it is {found}'s, not {user}'s");
    let status = till.sh(&format!("cat /proc/{}/status", process.pid))?;
    ensure!(status.contains("CapEff:\t0000000000000000"), "{status}");
    Ok(())
}

fn variables(till: &Till, process: Process) -> Result<BTreeMap<String, String>> {
    let text = till.environment(process)?;
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    let pairs = pairs.filter(|(name, _)| !OF_ONE_PROCESS.contains(name));
    Ok(pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect())
}

fn no_unit_has_failed(till: &Till) -> Result<()> {
    let failed = till.sh("systemctl --failed --no-legend --plain")?;
    ensure!(!failed.contains("mfe"), "{failed}");
    Ok(())
}

fn nothing_was_told(till: &Till, events: &[&str]) -> Result<()> {
    for event in events {
        let told = till.events(Some(&MONITOR), event)?;
        ensure!(told.is_empty(), "{told:?}");
    }
    Ok(())
}

/// How long a session is looked at before it is taken to go on, in milliseconds: where the others in it tell,
/// and else.
const QUIET: u64 = 500;
const SETTLE: u64 = 2000;

/// The outages of a program that were told, in milliseconds, the shortest first.
fn outages(till: &Till, program: &Program) -> Result<Vec<u64>> {
    let restarted = till.events(Some(program), "restarted")?;
    let outages = restarted
        .iter()
        .filter_map(|event| event["MFE_OUTAGE_MS"].as_str()?.parse::<u64>().ok());
    let mut outages: Vec<u64> = outages.collect();
    outages.sort_unstable();
    Ok(outages)
}

/// Each time it is back on the same display as the same user, as the session itself would have started it.
pub(super) fn session_killed_twenty_times(till: &Till) -> Result<()> {
    prepare(till, "", "auto")?;
    till.log_in("caixa", 7, IN_FRONT, &autostart(0))?;
    till.start()?;
    let mut process = till.wait_up(&MONITOR)?;
    is_users(till, process, "caixa")?;
    let expected = variables(till, process)?;
    ensure!(
        expected
            .get("DISPLAY")
            .is_some_and(|display| display == ":7"),
        "{expected:?}"
    );
    let groups = |process: Process| {
        till.sh(&format!(
            "grep -E '^(Uid|Gid|Groups|Umask|NoNewPrivs|SigBlk)' /proc/{}/status",
            process.pid
        ))
    };
    let expected_groups = groups(process)?;
    for kill in 1..=20 {
        process = till.kill_and_wait(&MONITOR, process)?;
        is_users(till, process, "caixa").with_context(|| format!("kill {kill}"))?;
    }
    let found = variables(till, process)?;
    ensure!(found == expected, "{found:?} isn't {expected:?}");
    let found = groups(process)?;
    ensure!(found == expected_groups, "{found} isn't {expected_groups}");
    let home = till.sh(&format!("readlink /proc/{}/cwd", process.pid))?;
    ensure!(home.trim() == "/home/caixa", "{home}");
    let on_screen = outages(till, &MONITOR)?;
    ensure!(on_screen.len() == 20, "{on_screen:?}");
    ensure!(
        on_screen.iter().all(|outage| *outage >= QUIET),
        "{on_screen:?}"
    );
    // Once the session is 10 s old, the others in it tell that it goes on.
    ensure!(on_screen[0] < SETTLE, "{on_screen:?}");
    let mut other = till.wait_up(&COMUNICADOR)?;
    for _ in 0..10 {
        other = till.kill_and_wait(&COMUNICADOR, other)?;
    }
    let elsewhere = outages(till, &COMUNICADOR)?;
    let quick: Vec<u64> = on_screen
        .iter()
        .filter_map(|outage| (*outage < SETTLE).then_some(outage - QUIET))
        .collect();
    println!(
        "outages in ms: on the screen {on_screen:?}, elsewhere {elsewhere:?}; medians without the wait: {} and {}",
        quick[quick.len() / 2],
        elsewhere[elsewhere.len() / 2]
    );
    is_let_go(till)?;
    // So no restart of it ends anyone's, or makes a second one.
    till.ok(&["systemctl", "restart", &MONITOR.unit()])?;
    till.wait_cycles(3)?;
    ensure!(till.processes(&MONITOR)? == [process], "it was harmed");
    no_unit_has_failed(till)
}

/// A session as startx(1) has it: an X server without hardware, with which all ends; a window manager, and
/// its autostart.
const DESKTOP: &str = r#"#!/bin/sh
(
    tries=0
    until xprop -root >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ $tries -lt 300 ] || exit 1
        sleep 0.1
    done
    exec openbox --sm-disable --startup "$1"
) &
exec Xvfb "$DISPLAY" -screen 0 640x480x24 -nolisten tcp >/dev/null 2>&1
"#;

/// What the window of [`DESKTOP`]'s program is called.
const WINDOW: &str = "\"Event Tester\"";

/// With a real X server and window manager the window itself is back, each time one and no more, in the same
/// environment.
pub(super) fn window_is_back(till: &Till) -> Result<()> {
    prepare(till, "", "auto")?;
    till.install_program(&MONITOR, Script::Stays)?;
    // It has a window, and does nothing else.
    till.sh(&format!(
        "cp --remove-destination /usr/bin/xev {}",
        MONITOR.path()
    ))?;
    till.write("/usr/local/bin/desktop", DESKTOP, 0o755)?;
    let command = ["/usr/local/bin/desktop", MONITOR.script];
    till.log_in_with("caixa", 7, IN_FRONT, &command)?;
    till.start()?;
    let mut process = till.wait_up(&MONITOR)?;
    let expected = variables(till, process)?;
    window_is_viewable(till)?;
    for kill in 1..=5 {
        process = till.kill_and_wait(&MONITOR, process)?;
        is_users(till, process, "caixa").with_context(|| format!("kill {kill}"))?;
        window_is_viewable(till).with_context(|| format!("kill {kill}"))?;
        let found = variables(till, process)?;
        ensure!(found == expected, "{found:?} isn't {expected:?}");
    }
    ensure!(till.starts(&MONITOR) == 6, "it was started too often");
    is_let_go(till)?;
    till.log_out("caixa")?;
    till.wait_state(&MONITOR, "waiting")?;
    no_unit_has_failed(till)
}

/// Waits until Monitor's unit has let it go: the start program is followed for a second, for the case that it
/// fails.
fn is_let_go(till: &Till) -> Result<()> {
    wait_for("the unit has no main process", SOON, || {
        let main = till.property(&MONITOR.unit(), "MainPID")?;
        Ok((main == "0").then_some(()))
    })
}

/// Waits until there is one window of the program's on the screen, as the X server has it.
fn window_is_viewable(till: &Till) -> Result<()> {
    let xwininfo = "runuser -u caixa -- xwininfo -display :7";
    wait_for("one window is on the screen", SOON, || {
        let windows = till.sh(&format!("{xwininfo} -root -tree"))?;
        let window = till.sh(&format!("{xwininfo} -name {WINDOW} || true"))?;
        let is_one = windows.matches(WINDOW).count() == 1;
        Ok((is_one && window.contains("IsViewable")).then_some(()))
    })
}

/// Nobody, a login with an autostart that takes its time, a logout, and another login.
pub(super) fn session_login_and_logout(till: &Till) -> Result<()> {
    prepare(till, "", "graphical")?;
    till.start()?;
    till.wait_up(&COMUNICADOR)?;
    let waiting = till.wait_state(&MONITOR, "waiting")?;
    ensure!(waiting["waiting_for"] == "login", "{waiting}");
    ensure!(
        waiting["detail"] == "nobody is logged in at the screen",
        "{waiting}"
    );
    till.wait_cycles(3)?;
    till.status_exits(0)?;
    let refused = till.run(&["mfe-watchdog", "restart", "monitor"])?;
    let words = String::from_utf8_lossy(&refused.stderr);
    ensure!(refused.status.code() == Some(1), "{refused:?}");
    ensure!(words.contains("nobody is logged in"), "{words}");
    ensure!(till.starts(&MONITOR) == 0, "it was started for nobody");
    ensure!(till.events(Some(&MONITOR), "waiting")?.len() == 1);
    let alarms = [
        "down",
        "start_failed",
        "crash_loop",
        "starting",
        "restarted",
    ];
    nothing_was_told(till, &alarms)?;
    no_unit_has_failed(till)?;

    till.log_in("caixa", 7, IN_FRONT, &autostart(4))?;
    let process = till.wait_up(&MONITOR)?;
    is_users(till, process, "caixa")?;
    ensure!(till.starts(&MONITOR) == 1, "two starts");
    ensure!(till.events(Some(&MONITOR), "adopted")?.len() == 1);

    till.log_out("caixa")?;
    till.wait_state(&MONITOR, "waiting")?;
    wait_for("it has ended with its session", SOON, || {
        Ok(till.processes(&MONITOR)?.is_empty().then_some(()))
    })?;
    till.wait_cycles(8)?;
    till.status_exits(0)?;
    ensure!(till.starts(&MONITOR) == 1, "it was started for nobody");
    nothing_was_told(till, &alarms)?;
    no_unit_has_failed(till)?;

    till.log_in("caixa", 7, IN_FRONT, &autostart(0))?;
    let process = till.wait_up(&MONITOR)?;
    let back = till.kill_and_wait(&MONITOR, process)?;
    is_users(till, back, "caixa")?;
    let report = till.ok(&["mfe-watchdog", "report", "--since", "1h", "--json"])?;
    let report: serde_json::Value = serde_json::from_str(&report)?;
    let processes = report["processes"].as_array().context("no processes")?;
    let monitor = processes.iter().find(|process| process["key"] == "monitor");
    let nobody = &monitor.context("no monitor")?["nobody_logged_in"];
    ensure!(
        nobody.as_array().is_some_and(|spans| !spans.is_empty()),
        "{report}"
    );

    // One of ours that ignores the end of its session is ended.
    till.signal("STOP", back.pid)?;
    till.log_out("caixa")?;
    wait_for("it is told to end", SOON, || {
        let killed = till.events(Some(&MONITOR), "killed")?;
        Ok(killed
            .iter()
            .any(|event| event["MFE_CAUSE"] == "outside")
            .then_some(()))
    })?;
    wait_for("it has ended", SOON, || {
        Ok(till.processes(&MONITOR)?.is_empty().then_some(()))
    })
}

/// Whoever is in front has his own.
pub(super) fn session_of_two_users(till: &Till) -> Result<()> {
    prepare(till, "autostart_timeout = \"0s\"\n", "auto")?;
    till.log_in("ana", 8, "", &autostart(0))?;
    till.start()?;
    let anas = till.wait_up(&MONITOR)?;
    is_users(till, anas, "ana")?;
    till.log_in("caixa", 7, IN_FRONT, "")?;
    let his = wait_for("the one in front has his own", SOON, || {
        let status = till.status_of(&MONITOR).unwrap_or_default();
        let processes = till.processes(&MONITOR)?;
        let his = processes.into_iter().find(|process| *process != anas);
        let his = his.filter(|his| status["pids"] == serde_json::json!([his.pid]));
        Ok(his.filter(|_| status["state"] == "up"))
    })?;
    is_users(till, his, "caixa")?;
    till.signal("KILL", his.pid)?;
    let again = wait_for("he gets it back", SOON, || {
        let processes = till.processes(&MONITOR)?;
        Ok(processes
            .into_iter()
            .find(|process| ![anas, his].contains(process)))
    })?;
    is_users(till, again, "caixa")?;
    ensure!(till.processes(&MONITOR)?.contains(&anas), "hers was harmed");
    // ana has no session of her own at all, and runs something of the name.
    till.log_out("caixa")?;
    wait_for("she is in front", SOON, || {
        let status = till.status_of(&MONITOR).unwrap_or_default();
        Ok((status["pids"] == serde_json::json!([anas.pid])).then_some(()))
    })?;
    ensure!(till.processes(&MONITOR)?.contains(&anas), "hers was harmed");
    no_unit_has_failed(till)
}

/// While a greeter is in front, as at a lock or a change of user, it stays with who was there before.
pub(super) fn session_behind_a_greeter(till: &Till) -> Result<()> {
    prepare(till, "", "auto")?;
    till.log_in("caixa", 7, IN_FRONT, &autostart(0))?;
    till.start()?;
    let process = till.wait_up(&MONITOR)?;
    till.remember_journal()?;
    // ana is the greeter's user.
    let greeter = format!("{IN_FRONT} XDG_SESSION_CLASS=greeter");
    till.log_in("ana", 8, &greeter, "")?;
    wait_for("the greeter is in front", SOON, || {
        let front = "session=$(sed -n 's/^ACTIVE=//p' /run/systemd/seats/seat0)
            cat /run/systemd/sessions/${session:-none} 2>/dev/null || true";
        Ok(till.sh(front)?.contains("CLASS=greeter").then_some(()))
    })?;
    till.wait_cycles(3)?;
    ensure!(till.processes(&MONITOR)? == [process], "it was harmed");
    let back = till.kill_and_wait(&MONITOR, process)?;
    is_users(till, back, "caixa")?;
    nothing_was_told(till, &["waiting", "start_failed"])?;
    till.log_out("caixa")?;
    wait_for("nobody is logged in", SOON, || {
        let status = till.status_of(&MONITOR).unwrap_or_default();
        Ok((status["waiting_for"] == "login").then_some(()))
    })?;
    till.wait_cycles(3)?;
    till.status_exits(0)?;
    ensure!(
        till.processes(&MONITOR)?.is_empty(),
        "it runs in the greeter"
    );
    no_unit_has_failed(till)
}

/// Where root's is the only session at the screen, started from a terminal as kiosks do it, it counts; beside
/// anybody else's it doesn't.
pub(super) fn session_of_roots_kiosk(till: &Till) -> Result<()> {
    prepare(till, "autostart_timeout = \"0s\"\n", "auto")?;
    // The class is the one that each systemd gives it.
    let kiosk = format!("{IN_FRONT} XDG_SESSION_TYPE=tty XDG_SESSION_CLASS=");
    till.log_in("root", 7, &kiosk, "")?;
    till.start()?;
    let process = till.wait_up(&MONITOR)?;
    is_root(till, process)?;
    let display = variables(till, process)?.remove("DISPLAY");
    ensure!(display.as_deref() == Some(":7"), "{display:?}");
    let process = till.kill_and_wait(&MONITOR, process)?;
    is_root(till, process)?;
    till.status_exits(0)?;

    till.log_in("caixa", 8, IN_FRONT, "")?;
    let his = wait_for("the cashier has his own", SOON, || {
        let processes = till.processes(&MONITOR)?;
        let status = till.status_of(&MONITOR).unwrap_or_default();
        let his = processes.into_iter().find(|other| *other != process);
        Ok(his.filter(|his| status["pids"] == serde_json::json!([his.pid])))
    })?;
    is_users(till, his, "caixa")
}

/// Root's, in the unit's own group as an earlier version left it, is ended once; somebody else's isn't.
pub(super) fn session_roots_copy(till: &Till) -> Result<()> {
    prepare(till, "", "none")?;
    till.install_program(&MONITOR, Script::Stays)?;
    till.start()?;
    let roots = till.wait_up(&MONITOR)?;
    is_root(till, roots)?;
    till.log_in("caixa", 7, IN_FRONT, "")?;
    till.install_program(&MONITOR, Script::Window)?;
    let graphical = by_command(&COMUNICADOR) + &monitor("auto");
    let at_once = "autostart_timeout = \"0s\"\n".to_owned();
    till.configure(&(at_once + &config("500ms", &graphical)))?;
    till.ok(&["systemctl", "reload", SERVICE])?;
    let killed = till.wait_event(&MONITOR, "killed")?;
    ensure!(killed["MFE_CAUSE"] == "outside", "{killed}");
    let his = wait_for("it is on the screen", SOON, || {
        let up = till.wait_up(&MONITOR)?;
        Ok((up != roots).then_some(up))
    })?;
    is_users(till, his, "caixa")?;
    ensure!(till.events(Some(&MONITOR), "killed")?.len() == 1);

    // Another user's counts for nothing.
    till.sh("cp /bin/sleep /tmp/Monitor
        setsid runuser -u ana /tmp/Monitor 1000 >/dev/null 2>&1 </dev/null &")?;
    let anas = wait_for("hers runs", SOON, || {
        let processes = till.processes(&MONITOR)?;
        Ok(processes.into_iter().find(|process| *process != his))
    })?;
    till.signal("KILL", his.pid)?;
    let his = wait_for("he gets it back", SOON, || {
        let processes = till.processes(&MONITOR)?;
        Ok(processes
            .into_iter()
            .find(|process| ![anas, his].contains(process)))
    })?;
    is_users(till, his, "caixa")?;
    till.wait_event(&MONITOR, "impostor")?;
    ensure!(till.processes(&MONITOR)?.contains(&anas), "hers was harmed");
    till.signal("KILL", anas.pid)?;

    // Root's that somebody else has started.
    till.sh("cp /bin/sleep /tmp/Monitor; setsid /tmp/Monitor 1000 >/dev/null 2>&1 </dev/null &")?;
    let roots = wait_for("root's runs", SOON, || {
        let processes = till.processes(&MONITOR)?;
        Ok(processes.into_iter().find(|process| *process != his))
    })?;
    till.signal("KILL", his.pid)?;
    till.wait_state(&MONITOR, "misfit")?;
    till.wait_cycles(3)?;
    ensure!(
        till.processes(&MONITOR)? == [roots],
        "it was harmed, or doubled"
    );
    till.signal("KILL", roots.pid)?;
    let his = till.wait_up(&MONITOR)?;
    is_users(till, his, "caixa")
}

fn is_root(till: &Till, process: Process) -> Result<()> {
    let user = till.user_of(process)?;
    ensure!(user == "root", "it is {user}'s");
    Ok(())
}

/// A session whose display doesn't answer is waited for, without a unit that fails.
pub(super) fn session_display_is_gone(till: &Till) -> Result<()> {
    prepare(till, "autostart_timeout = \"0s\"\n", "graphical")?;
    till.log_in("caixa", 7, IN_FRONT, &autostart(0))?;
    till.start()?;
    let process = till.wait_up(&MONITOR)?;
    till.sh("mv /tmp/.X11-unix/X7 /tmp/.X11-unix/away")?;
    till.signal("KILL", process.pid)?;
    let waiting = till.wait_state(&MONITOR, "waiting")?;
    ensure!(waiting["waiting_for"] == "session", "{waiting}");
    wait_for("it was tried", SOON, || {
        let status = till.property(&MONITOR.unit(), "ExecMainStatus")?;
        Ok((status == "75").then_some(()))
    })?;
    till.wait_event(&MONITOR, "waiting")?;
    till.status_exits(1)?;
    nothing_was_told(till, &["start_failed"])?;
    no_unit_has_failed(till)?;
    // The service tries, too, and what it has just begun isn't begun a second time.
    wait_for("nor can it be started by hand", SOON, || {
        let by_hand = till.run(&["mfe-watchdog", "exec", "monitor"])?;
        let is_not_yet = by_hand.status.code() == Some(75);
        let is_begun = String::from_utf8_lossy(&by_hand.stderr)
            .contains("is already being started")
            && by_hand.status.success();
        ensure!(is_not_yet || is_begun, "{by_hand:?}");
        Ok(is_not_yet.then_some(()))
    })?;
    till.sh("mv /tmp/.X11-unix/away /tmp/.X11-unix/X7")?;
    let back = till.wait_up(&MONITOR)?;
    is_users(till, back, "caixa")
}

/// What the user's own processes were given never runs as anybody else.
pub(super) fn session_poisoned(till: &Till) -> Result<()> {
    prepare(till, "autostart_timeout = \"0s\"\n", "graphical")?;
    let script = till.read(MONITOR.script).context("no start script")?;
    till.write(
        MONITOR.script,
        &script.replace("#!/bin/sh", "#!/bin/bash"),
        0o755,
    )?;
    till.write("/tmp/poison", "id -u >> /tmp/poisoned\n", 0o755)?;
    till.sh("rm -f /tmp/poisoned; touch /tmp/poisoned; chown caixa /tmp/poisoned; chmod 666 /tmp/poisoned
        mkdir -p /tmp/evil; for word in env sh bash mfe-watchdog systemctl id; do
            printf '#!/bin/sh\n. /tmp/poison\n' > /tmp/evil/$word; chmod 755 /tmp/evil/$word
        done; rm /tmp/evil/id")?;
    let donors = "#!/bin/bash
        for donor in 1 2 3 4 5 6; do
            BASH_ENV=/tmp/poison ENV=/tmp/poison PATH=/tmp/evil:$PATH LD_LIBRARY_PATH=/tmp/evil \
            XAUTHORITY=/x DBUS_SESSION_BUS_ADDRESS=x XDG_CURRENT_DESKTOP=x sleep 1000 &
        done
        wait\n";
    till.write("/usr/local/bin/donors", donors, 0o755)?;
    till.log_in("caixa", 7, IN_FRONT, "0 /usr/local/bin/donors")?;
    till.start()?;
    let process = till.wait_up(&MONITOR)?;
    is_users(till, process, "caixa")?;
    let process = till.kill_and_wait(&MONITOR, process)?;
    let environment = till.environment(process)?;
    ensure!(
        environment.contains("BASH_ENV=/tmp/poison"),
        "nobody was poisoned: {environment}"
    );
    let poisoned = till.read("/tmp/poisoned").unwrap_or_default();
    let uid = till.sh("id -u caixa")?;
    ensure!(!poisoned.is_empty(), "the poison didn't run at all");
    ensure!(
        poisoned.lines().all(|line| line == uid.trim()),
        "it ran as {poisoned}"
    );
    Ok(())
}

/// A display that logind knows no session for is the only person's who is there.
pub(super) fn session_without_logind(till: &Till) -> Result<()> {
    prepare(till, "", "graphical")?;
    till.start()?;
    till.wait_state(&MONITOR, "waiting")?;
    let desk = |user: &str, display: &str| {
        till.ok(&[
            "systemd-run",
            "--quiet",
            "--unit",
            &format!("desk-{user}"),
            "-p",
            &format!("User={user}"),
            "-p",
            &format!("Environment=DISPLAY=:{display} LANG=pt_BR.UTF-8"),
            "/usr/local/bin/desk",
            "-",
            "desk",
            display,
            "1",
            MONITOR.script,
        ])
    };
    desk("caixa", "7")?;
    let process = till.wait_up(&MONITOR)?;
    is_users(till, process, "caixa")?;
    let back = till.kill_and_wait(&MONITOR, process)?;
    is_users(till, back, "caixa")?;
    let doctor = till.run(&["mfe-watchdog", "doctor"])?;
    let words = String::from_utf8_lossy(&doctor.stdout).into_owned();
    ensure!(words.contains("[no-logind]"), "{words}");

    desk("ana", "8")?;
    let waiting = wait_for("nobody can be found for it", SOON, || {
        let status = till.status_of(&MONITOR).unwrap_or_default();
        Ok((status["waiting_for"] == "display").then_some(status))
    })?;
    ensure!(waiting["state"] == "waiting", "{waiting}");
    till.status_exits(1)?;
    Ok(())
}

/// Without systemd the service starts it in the same way.
pub(super) fn session_started_directly(till: &Till) -> Result<()> {
    prepare(till, "", "graphical")?;
    let direct = "launcher = \"direct\"\nautostart_timeout = \"0s\"\n".to_owned();
    let direct = direct + &config("500ms", &monitor("graphical"));
    till.write("/etc/mfe-watchdog/direct.toml", &direct, 0o644)?;
    till.log_in("caixa", 7, IN_FRONT, "")?;
    till.ok(&[
        "systemd-run",
        "--quiet",
        "--unit",
        "desk-direct",
        "-p",
        "KillMode=process",
        "/usr/bin/mfe-watchdog",
        "--runtime-dir",
        "/run/direct",
        "run",
        "--config",
        "/etc/mfe-watchdog/direct.toml",
    ])?;
    let up = |before: Option<Process>| {
        wait_for("it is on the screen", SOON, || {
            let processes = till.processes(&MONITOR)?;
            let [process] = processes[..] else {
                return Ok(None);
            };
            let status = till.read("/run/direct/status.json").unwrap_or_default();
            let is_up = status.contains("\"up\"") && Some(process) != before;
            Ok(is_up.then_some(process))
        })
    };
    let process = up(None)?;
    is_users(till, process, "caixa")?;
    till.signal("KILL", process.pid)?;
    let back = up(Some(process))?;
    is_users(till, back, "caixa")?;
    till.sh("rm -f /etc/mfe-watchdog/direct.toml")?;
    Ok(())
}

/// A unit that isn't root's can start nothing for somebody else: `check` says so.
pub(super) fn session_user_of_the_unit(till: &Till) -> Result<()> {
    prepare(till, "", "auto")?;
    let checked = till.ok(&["mfe-watchdog", "check"])?;
    ensure!(checked.contains("cco-mon.desktop"), "{checked}");
    till.drop_in(&MONITOR.unit(), "[Service]\nUser=caixa\n")?;
    let refused = till.run(&["mfe-watchdog", "check"])?;
    let words = String::from_utf8_lossy(&refused.stderr);
    ensure!(refused.status.code() == Some(78), "{refused:?}");
    ensure!(
        words.contains("process.monitor.session") && words.contains("User="),
        "{words}"
    );
    till.start()?;
    let status = till.ok(&["sh", "-c", "mfe-watchdog status monitor || true"])?;
    ensure!(status.contains("cco-mon.desktop"), "{status}");
    Ok(())
}
