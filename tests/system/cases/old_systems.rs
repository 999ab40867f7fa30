//! The machines of 2016 and 2018, as far as today's suites can stand in for them: what Ubuntu 16.04 and
//! 18.04 lack is taken away. That they were booted for real, and what was seen, is in the README.

use std::thread::sleep;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::till::{
    COMUNICADOR, CONFIG, MONITOR, PROGRAMS, SERVICE, SOON, STARTS, Script, Till, by_command, config,
};
use mfe_kit::wait_for;

/// System calls that Linux 4.4 (Ubuntu 16.04) doesn't have, nor does the C library need them.
const SINCE_4_4: [&str; 25] = [
    "cachestat",
    "clone3",
    "close_range",
    "copy_file_range",
    "epoll_pwait2",
    "faccessat2",
    "fchmodat2",
    "futex_waitv",
    "io_pgetevents",
    "io_uring_enter",
    "io_uring_register",
    "io_uring_setup",
    "landlock_create_ruleset",
    "memfd_secret",
    "openat2",
    "pidfd_getfd",
    "pidfd_open",
    "pidfd_send_signal",
    "pkey_alloc",
    "preadv2",
    "process_madvise",
    "process_mrelease",
    "pwritev2",
    "rseq",
    "statx",
];

/// How long what nobody uses is watched for what it costs, and how often: whatever else the machine does
/// can only make it dearer.
const IDLE: Duration = Duration::from_secs(8);
const WATCHES: usize = 3;

/// What watching two programs may cost without the kernel's help, in microseconds of processor time a
/// second.
const COST: u128 = 500;

/// How often the programs are killed.
const KILLS: usize = 3;

/// A start that takes its time, on a busy machine.
const SLOW: Duration = Duration::from_secs(60);

/// Longer than an outage may be uncertain without being told so.
const UNCERTAIN: Duration = Duration::from_millis(1500);

/// How exactly it is known when a process began.
const EXACT: Duration = Duration::from_millis(50);

/// A death is noticed in a fraction of the interval, and an outage is told as long as it was.
pub(super) fn kernel_of_16_04(till: &Till) -> Result<()> {
    let missing = SINCE_4_4.map(|name| format!("{name}:ENOSYS")).join(" ");
    till.drop_in(
        SERVICE,
        &format!("[Service]\nSystemCallFilter=~{missing}\n"),
    )?;
    // Too long for the cycle to find anything in time.
    let programs = PROGRAMS.map(|program| by_command(&program)).concat();
    till.configure(&config("10m", &programs))?;
    let [mut comunicador, mut monitor] = till.all_day()?;
    let service = till.main_pid()?;
    let costs: Result<Vec<u128>> = (0..WATCHES).map(|_| cost(till, service)).collect();
    let cost = costs?.into_iter().min().context("not watched")?;
    println!("watching without pidfds costs {cost} us/s");
    ensure!(cost <= COST, "watching costs {cost} us/s");

    for round in 1..=KILLS {
        for (program, process) in [(&COMUNICADOR, &mut comunicador), (&MONITOR, &mut monitor)] {
            let killed = SystemTime::now();
            *process = till.kill_and_wait(program, *process)?;
            let back = SystemTime::now();
            let began = process.began()?;
            let told = till.status_of(program).context("no status")?;
            let told = told["last_restart"]["outage_ms"]
                .as_u64()
                .context("no outage")?;
            let told = Duration::from_millis(told);
            let gone = began.duration_since(killed)?;
            ensure!(
                told + EXACT >= gone,
                "{}, round {round}: {told:?} is told, {gone:?} it was",
                program.name
            );
            ensure!(
                told <= back.duration_since(killed)? + Duration::from_secs(1),
                "{told:?} is told of less"
            );
        }
    }
    ensure!(
        till.starts(&COMUNICADOR) == 1 + KILLS,
        "{} starts",
        till.starts(&COMUNICADOR)
    );
    let restarted = till.events(Some(&COMUNICADOR), "restarted")?;
    ensure!(
        restarted.iter().all(|event| event["MFE_CAUSE"] == "killed"),
        "systemd knows how it ended: {restarted:?}"
    );
    till.install_program(&COMUNICADOR, Script::Fails)?;
    till.signal("KILL", comunicador.pid)?;
    till.wait_detail(&COMUNICADOR, "exit status 7")?;
    ensure!(till.main_pid()? == service, "the service was restarted");
    Ok(())
}

/// What a process that nothing is asked of costs, in microseconds of processor time a second.
fn cost(till: &Till, pid: i32) -> Result<u128> {
    let spent = || -> Result<u64> {
        let schedstat = till.read(&format!("/proc/{pid}/schedstat"));
        let schedstat = schedstat.context("no schedstat")?;
        // In nanoseconds (proc(5)).
        let spent = schedstat.split_whitespace().next().context("empty")?;
        Ok(spent.parse()?)
    };
    let before = spent()?;
    sleep(IDLE);
    let spent = Duration::from_nanos(spent()? - before);
    Ok(spent.as_micros() / u128::from(IDLE.as_secs()))
}

/// Where nothing tells that stderr is the journal, as before systemd 231, each message is there once all the
/// same, in English on a Portuguese till, and all of them are the unit's.
pub(super) fn journal_of_16_04(till: &Till) -> Result<()> {
    till.drop_in(
        SERVICE,
        "[Service]\nUnsetEnvironment=JOURNAL_STREAM\nEnvironment=LANG=pt_BR.UTF-8\n",
    )?;
    let [comunicador, _] = till.all_day()?;
    till.kill_and_wait(&COMUNICADOR, comunicador)?;
    till.wait_event(&COMUNICADOR, "restarted")?;
    till.configure("interval = \"soon\"\n")?;
    let reload = till.run(&["systemctl", "reload", SERVICE])?;
    ensure!(!reload.status.success(), "a bad configuration was taken");
    till.configure_as_usual()?;
    till.ok(&["systemctl", "stop", SERVICE])?;
    let entries = till.journal(SERVICE)?;
    let ours = |entry: &&Value| entry["_SYSTEMD_UNIT"] == SERVICE;
    let printed: Vec<_> = entries
        .iter()
        .filter(ours)
        .filter(|entry| entry["_TRANSPORT"] == "stdout")
        .filter_map(|entry| entry["MESSAGE"].as_str())
        .collect();
    // What `check` has to say of the reload is all that is printed.
    ensure!(
        !printed.is_empty() && printed.iter().all(|line| line.starts_with(CONFIG)),
        "{printed:?}"
    );
    ensure!(
        printed.iter().any(|line| line.contains("interval")),
        "{printed:?}"
    );
    let portuguese = |line: &&&str| line.contains("não") || line.contains("inválid");
    let portuguese: Vec<_> = printed.iter().filter(portuguese).collect();
    ensure!(
        portuguese.is_empty(),
        "Portuguese in the journal: {portuguese:?}"
    );
    for event in ["startup", "shutdown"] {
        let told = entries.iter().filter(|entry| entry["MFE_EVENT"] == event);
        ensure!(told.count() == 1, "{event} isn't there once");
    }
    Ok(())
}

/// Where the runtime directory goes at each end of the service, as before systemd 235, nothing is forgotten: a
/// start that is in flight is waited for, and a pause goes on.
pub(super) fn runtime_directory_of_16_04(till: &Till) -> Result<()> {
    till.drop_in(SERVICE, "[Service]\nRuntimeDirectoryPreserve=no\n")?;
    till.all_day()?;
    // It is there 8 s after its start script has ended, and in a session of its own.
    let body = format!(
        "#!/bin/sh\necho $$ >> {STARTS}/{}\nsetsid sh -c 'sleep 8; exec {}' &\nexit 0\n",
        COMUNICADOR.key,
        COMUNICADOR.path()
    );
    till.write(COMUNICADOR.script, &body, 0o755)?;
    for way in ["kill", "restart", "upgrade"] {
        let before = till.starts(&COMUNICADOR);
        let running = till.processes(&COMUNICADOR)?;
        let process = running.first().context("it runs")?;
        till.signal("KILL", process.pid)?;
        wait_for("the start has begun", SOON, || {
            Ok((till.starts(&COMUNICADOR) > before).then_some(()))
        })?;
        end_service(till, way)?;
        till.wait_up_for(&COMUNICADOR, SLOW)?;
        // A second start would have been made by now.
        till.wait_cycles(3)?;
        ensure!(
            till.starts(&COMUNICADOR) == before + 1,
            "{way}: {} starts instead of one",
            till.starts(&COMUNICADOR) - before
        );
        let copies = till.processes(&COMUNICADOR)?;
        ensure!(copies.len() == 1, "{way}: {copies:?}");
    }
    let restarted = till.events(Some(&COMUNICADOR), "restarted")?.len();
    ensure!(restarted == 3, "{restarted} restarts were told");

    till.ok(&["mfe-watchdog", "pause", COMUNICADOR.key, "--for", "30m"])?;
    let paused = till.processes(&COMUNICADOR)?;
    for process in paused {
        till.signal("KILL", process.pid)?;
    }
    for way in ["kill", "restart", "upgrade"] {
        end_service(till, way)?;
        wait_for("it is still paused", SOON, || {
            let status = till.status_of(&COMUNICADOR);
            Ok(status
                .filter(|status| status["state"] == "paused")
                .map(drop))
        })?;
        till.wait_cycles(3)?;
        ensure!(
            till.processes(&COMUNICADOR)?.is_empty(),
            "{way}: started in a pause"
        );
    }
    till.ok(&["mfe-watchdog", "resume", COMUNICADOR.key])?;
    till.wait_up_for(&COMUNICADOR, SLOW)?;
    // A death in the time without the service is told as what it may have been at most.
    till.install_program(&COMUNICADOR, Script::Stays)?;
    till.ok(&["systemctl", "stop", SERVICE])?;
    let running = till.processes(&COMUNICADOR)?;
    let process = running.first().context("it runs")?;
    till.signal("KILL", process.pid)?;
    sleep(UNCERTAIN);
    till.start()?;
    till.wait_up(&COMUNICADOR)?;
    let told = till.wait_event(&COMUNICADOR, "restarted")?;
    let text = told["MESSAGE"].as_str().unwrap_or_default();
    ensure!(text.contains("after an outage of up to "), "{text}");
    Ok(())
}

/// Ends the service, and waits for its next run.
fn end_service(till: &Till, way: &str) -> Result<()> {
    let before = till.main_pid()?;
    match way {
        "kill" => till.signal("KILL", before)?,
        "restart" => drop(till.ok(&["systemctl", "restart", SERVICE])?),
        _ => drop(till.apt_install("current", &["--reinstall"])?),
    }
    till.wait_for_another(before, SOON)?;
    Ok(())
}
