//! The service's day: it finds, brings back, keeps quiet, and is told to stop and to reload.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::till::{COMUNICADOR, CONFIG, MONITOR, PROGRAMS, Program, SERVICE, SOON, Script, Till};
use crate::till::{VENDOR, by_command, by_unit, config};
use mfe_kit::container::expect_status;
use mfe_kit::wait_for;

/// Somebody else has started both before: nothing is started.
pub(super) fn adopt_what_runs(till: &Till) -> Result<()> {
    till.install_driver(Script::Stays)?;
    let before = [
        till.start_by_hand(&COMUNICADOR)?,
        till.start_by_hand(&MONITOR)?,
    ];
    till.start()?;
    for (program, process) in PROGRAMS.iter().zip(before) {
        till.wait_up(program)?;
        let event = till.wait_event(program, "adopted")?;
        ensure!(
            event["MFE_PID"] == process.pid.to_string().as_str(),
            "{event}"
        );
        ensure!(
            till.starts(program) == 1,
            "{} was started again",
            program.name
        );
    }
    till.unharmed(&before)
}

pub(super) fn kill_comunicador(till: &Till) -> Result<()> {
    kill(till, &COMUNICADOR, &MONITOR)
}

pub(super) fn kill_monitor(till: &Till) -> Result<()> {
    kill(till, &MONITOR, &COMUNICADOR)
}

/// One is killed: it comes back in one copy, the journal has all that was promised, and the other
/// one has noticed nothing.
fn kill(till: &Till, program: &Program, other: &Program) -> Result<()> {
    till.all_day()?;
    let other_before = till.wait_up(other)?;
    let before = till.wait_up(program)?;
    till.remember_journal()?;
    let back = till.kill_and_wait(program, before)?;

    let down = till.wait_event(program, "down")?;
    let restarted = till.wait_event(program, "restarted")?;
    ensure!(down["MFE_PID"] == before.pid.to_string().as_str(), "{down}");
    ensure!(
        restarted["MFE_PID"] == back.pid.to_string().as_str(),
        "{restarted}"
    );
    for event in [&down, &restarted] {
        ensure!(event["MFE_CAUSE"].is_string(), "no cause: {event}");
        ensure!(event["SYSLOG_IDENTIFIER"] == "mfe-watchdog", "{event}");
        let id = event["MESSAGE_ID"].as_str().unwrap_or_default();
        ensure!(
            id.len() == 32 && id.chars().all(|c| c.is_ascii_hexdigit()),
            "{event}"
        );
    }
    ensure!(
        down["MESSAGE_ID"] != restarted["MESSAGE_ID"],
        "one id for two kinds of event"
    );
    let outage = restarted["MFE_OUTAGE_MS"]
        .as_str()
        .context("no outage")?
        .parse::<u64>()?;
    ensure!(
        outage < 10_000,
        "an outage of {outage} ms at an interval of 200 ms"
    );
    let status = till.status_of(program).context("no status")?;
    ensure!(status["restarts"] == 1, "{status}");
    ensure!(status["last_restart"]["outage_ms"] == outage, "{status}");

    ensure!(
        till.starts(program) == 2,
        "started {} times",
        till.starts(program)
    );
    ensure!(
        till.processes(other)? == [other_before],
        "{} was harmed",
        other.name
    );
    till.status_exits(0)?;
    Ok(())
}

/// More often than systemd's usual start limit lets a unit be started.
pub(super) fn twelve_kills_in_a_row(till: &Till) -> Result<()> {
    let [mut comunicador, _] = till.all_day()?;
    for round in 1..=12 {
        let back = till.kill_and_wait(&COMUNICADOR, comunicador);
        comunicador = back.with_context(|| format!("round {round}"))?;
    }
    let status = till.status_of(&COMUNICADOR).context("no status")?;
    ensure!(status["restarts"] == 12, "{status}");
    ensure!(
        till.starts(&COMUNICADOR) == 13,
        "started {} times",
        till.starts(&COMUNICADOR)
    );
    Ok(())
}

/// Cycles pass and the journal gets nothing, neither from the service nor from systemd about it.
pub(super) fn quiet_when_all_is_well(till: &Till) -> Result<()> {
    till.all_day()?;
    // The messages about the start are in the journal then.
    for program in &PROGRAMS {
        till.wait_event(program, "up")?;
    }
    till.remember_journal()?;
    till.wait_cycles(10)?;
    for unit in [SERVICE.to_owned(), COMUNICADOR.unit(), MONITOR.unit()] {
        let said = till.messages(&unit)?;
        ensure!(said.is_empty(), "{unit} said: {said}");
    }
    Ok(())
}

/// Whatever systemctl does to the service, the programs stay.
pub(super) fn stop_start_restart(till: &Till) -> Result<()> {
    let before = till.all_day()?;
    let first = till.main_pid()?;
    till.ok(&["systemctl", "restart", SERVICE])?;
    let second = till.main_pid()?;
    ensure!(second != first && second != 0, "not restarted");
    till.unharmed(&before)?;
    for program in &PROGRAMS {
        till.wait_up(program)?;
    }

    till.ok(&["systemctl", "stop", SERVICE])?;
    till.unharmed(&before)?;
    ensure!(
        till.property(SERVICE, "Result")? == "success",
        "it did not stop in good order"
    );
    ensure!(
        !till.exists("/run/mfe-watchdog"),
        "the runtime directory is left"
    );
    till.status_exits(3)?;

    till.start()?;
    for (program, process) in PROGRAMS.iter().zip(before) {
        ensure!(
            till.wait_up(program)? == process,
            "{} was restarted",
            program.name
        );
        ensure!(
            till.starts(program) == 1,
            "{} was started again",
            program.name
        );
    }
    Ok(())
}

/// What the real journal has is told in the user's language: events with their reasons, and all that is
/// known of one program.
pub(super) fn told_in_both_languages(till: &Till) -> Result<()> {
    till.install_driver(Script::Stays)?;
    till.install_program(&COMUNICADOR, Script::Talks)?;
    till.start()?;
    let before = till.wait_up(&COMUNICADOR)?;
    till.wait_up(&MONITOR)?;
    let back = till.kill_and_wait(&COMUNICADOR, before)?;
    till.wait_event(&COMUNICADOR, "restarted")?;
    till.ok(&[
        "mfe-watchdog",
        "pause",
        "monitor",
        "--for=30m",
        "--reason=new driver",
    ])?;
    till.wait_event(&MONITOR, "paused")?;
    let unit = COMUNICADOR.unit();
    let (dead, alive) = (before.pid, back.pid);
    in_language(
        till,
        "pt_BR.UTF-8",
        &[
            "o serviço iniciou",
            // On a busy machine nobody may know the cause by the time of the look.
            &format!("Comunicador está PARADO (pid {dead}): "),
            "Comunicador voltou depois de ",
            "Monitor está em pausa por 30min: new driver",
        ],
        &[
            "\nversão ",
            &format!("  roda em {unit}\n"),
            &format!("  pid {alive}, usuário root, desde "),
            "  memória ",
            "Últimos eventos (mfe-watchdog events comunicador):\n",
            "Comunicador voltou depois de ",
            "Últimas mensagens do programa (mfe-watchdog logs comunicador):\n  > ",
        ],
        "EM PAUSA até ",
    )?;
    in_language(
        till,
        "en_US.UTF-8",
        &[
            "the service has started",
            &format!("Comunicador is DOWN (pid {dead}): "),
            "Comunicador is back after ",
            "Monitor is paused for 30min: new driver",
        ],
        &[
            "\nversion ",
            &format!("  runs in {unit}\n"),
            &format!("  pid {alive}, user root, since "),
            "  memory ",
            "Last events (mfe-watchdog events comunicador):\n",
            "Comunicador is back after ",
            "Last output (mfe-watchdog logs comunicador):\n  > ",
        ],
        "PAUSED until ",
    )
}

/// What `events` and `status comunicador` say in a language, and how `status` begins.
fn in_language(
    till: &Till,
    locale: &str,
    events: &[&str],
    status: &[&str],
    banner: &str,
) -> Result<()> {
    let locale = format!("LC_ALL={locale}");
    let told = |words: &[&str], exit: i32| {
        let command = [&["env", &locale, "mfe-watchdog"], words].concat();
        expect_status(&till.run(&command)?, exit)
    };
    let has = |text: &str, wanted: &[&str]| {
        let missing = wanted.iter().find(|words| !text.contains(**words));
        ensure!(missing.is_none(), "{missing:?} isn't in: {text}");
        Ok(())
    };
    has(&told(&["events"], 0)?, events)?;
    let of_monitor = told(&["events", "Monitor"], 0)?;
    ensure!(!of_monitor.contains("Comunicador"), "{of_monitor}");
    let of_one = wait_for("its output is shown", SOON, || {
        let of_one = told(&["status", "comunicador"], 0)?;
        Ok(of_one.contains("\n  > working").then_some(of_one))
    })?;
    has(&of_one, status)?;
    let wide = of_one.lines().find(|line| line.chars().count() > 80);
    ensure!(wide.is_none(), "{wide:?} in: {of_one}");
    let screen = told(&["status"], 1)?;
    ensure!(screen.starts_with(banner), "{screen}");
    Ok(())
}

/// A program that a person stops stays away, whatever becomes of the service, until he starts it: one in a
/// unit of our own, and one in the vendor's.
pub(super) fn stop_and_start_a_program(till: &Till) -> Result<()> {
    till.install_driver(Script::Stays)?;
    till.install_unit(&MONITOR, "")?;
    let programs = [by_command(&COMUNICADOR), by_unit(&MONITOR, VENDOR)].concat();
    till.configure(&config("200ms", &programs))?;
    till.start()?;
    let monitor = till.wait_up(&MONITOR)?;
    till.wait_up(&COMUNICADOR)?;
    for program in &PROGRAMS {
        till.ok(&[
            "mfe-watchdog",
            "stop",
            program.key,
            "--reason",
            "new driver",
        ])?;
        let left = till.processes(program)?;
        ensure!(left.is_empty(), "{} goes on: {left:?}", program.name);
        let killed = till.wait_event(program, "killed")?;
        ensure!(killed["MFE_CAUSE"] == "stopped", "{killed}");
        if program.key == COMUNICADOR.key {
            ensure!(till.processes(&MONITOR)? == [monitor], "the other one, too");
        }
    }
    till.ok(&["systemctl", "restart", SERVICE])?;
    for program in &PROGRAMS {
        let status = till.wait_state(program, "paused")?;
        ensure!(status["detail"] == "new driver", "{status}");
    }
    till.wait_cycles(5)?;
    for program in &PROGRAMS {
        ensure!(
            till.processes(program)?.is_empty(),
            "{} is back",
            program.name
        );
        till.ok(&["mfe-watchdog", "start", program.name])?;
        till.wait_up(program)?;
        ensure!(till.starts(program) == 2, "{} starts", till.starts(program));
        let restarted = till.wait_event(program, "restarted")?;
        ensure!(restarted["MFE_CAUSE"] == "stopped", "{restarted}");
    }
    Ok(())
}

/// A third program is added and taken away again; the service and the two stay.
pub(super) fn reload_good(till: &Till) -> Result<()> {
    const THIRD: Program = Program {
        key: "third",
        name: "mfehttps",
        script: "/opt/sefaz/cco/bin/mfehttps.sh",
    };
    let before = till.all_day()?;
    let service = till.main_pid()?;
    till.install_program(&THIRD, Script::Forks)?;
    let all = [COMUNICADOR, MONITOR, THIRD]
        .map(|program| by_command(&program))
        .concat();
    till.configure(&config("300ms", &all))?;
    till.ok(&["systemctl", "reload", SERVICE])?;
    till.wait_up(&THIRD)?;

    till.configure_as_usual()?;
    till.ok(&["systemctl", "reload", SERVICE])?;
    wait_for("the third one is no longer watched", SOON, || {
        Ok(till.status_of(&THIRD).is_none().then_some(()))
    })?;
    for process in till.processes(&THIRD)? {
        till.signal("KILL", process.pid)?;
    }
    wait_for("the service says that it is ready again", SOON, || {
        Ok(till.is_active()?.then_some(()))
    })?;
    ensure!(till.main_pid()? == service, "the service was restarted");
    let reloads = till.events(None, "reloaded")?.len();
    ensure!(
        reloads == 2,
        "{reloads} reloads: {}",
        till.messages(SERVICE)?
    );
    till.unharmed(&before)
}

/// It fails, says where the mistake is, and the old settings go on.
pub(super) fn reload_bad(till: &Till) -> Result<()> {
    let before = till.all_day()?;
    let service = till.main_pid()?;
    till.configure("interval = \"soon\"\n\n[process.comunicador]\nname = \"Comunicador\"\n")?;
    let reload = till.run(&["systemctl", "reload", SERVICE])?;
    ensure!(
        !reload.status.success(),
        "the reload of a bad configuration succeeded"
    );
    wait_for("the service says what is wrong", SOON, || {
        let events = till.events(None, "reload_failed")?;
        let is_told = |words: &str| {
            let mut messages = events.iter().filter_map(|event| event["MESSAGE"].as_str());
            messages.any(|message| message.contains(words))
        };
        Ok((is_told(&format!("{CONFIG}:1:")) && is_told("command")).then_some(()))
    })?;
    let said = till.messages(SERVICE)?;
    for words in [&format!("{CONFIG}:1:"), "interval", "command"] {
        ensure!(
            said.contains(words),
            "the journal does not say {words}: {said}"
        );
    }
    ensure!(till.is_active()?, "the service is not active");
    ensure!(till.main_pid()? == service, "the service was restarted");
    ensure!(till.events(None, "reloaded")?.is_empty(), "it was reloaded");
    till.unharmed(&before)?;
    till.kill_and_wait(&MONITOR, before[1])
        .context("by the old settings")?;
    Ok(())
}

/// Nothing can stand in for it: it ends with EX_CONFIG, once; nothing is gained by trying the same
/// mistake again.
pub(super) fn bad_config_at_start(till: &Till) -> Result<()> {
    till.configure("[process.mine]\nname = 3\n")?;
    let start = till.run(&["systemctl", "start", SERVICE])?;
    ensure!(!start.status.success(), "started with a bad configuration");
    ensure!(
        till.property(SERVICE, "ExecMainStatus")? == "78",
        "another status"
    );
    ensure!(
        till.property(SERVICE, "ActiveState")? == "failed",
        "not failed"
    );
    ensure!(till.property(SERVICE, "NRestarts")? == "0", "restarted");
    expect_status(&till.run(&["mfe-watchdog", "check"])?, 78)?;

    till.configure_as_usual()?;
    till.all_day()?;
    Ok(())
}

/// After a reboot all is as before, and nobody has done anything.
pub(super) fn reboot(till: &Till) -> Result<()> {
    till.all_day()?;
    till.reboot()?;
    for program in &PROGRAMS {
        till.wait_up_for(program, Duration::from_secs(60))?;
        ensure!(till.starts(program) == 2, "{} starts", till.starts(program));
    }
    ensure!(till.is_active()?, "the service is not active");
    till.status_exits(0)?;
    Ok(())
}
