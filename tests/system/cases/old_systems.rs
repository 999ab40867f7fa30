//! The machines of 2016 and 2018, as far as today's suites can stand in for them: what Ubuntu 16.04 and
//! 18.04 lack is taken away. That they were booted for real, with an earlier state of the package, is in the
//! README.

use std::thread::sleep;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::till::{
    COMUNICADOR, MONITOR, PROGRAMS, SERVICE, Script, Till, by_command, config, time_of,
};

/// System calls that Linux 4.4 (Ubuntu 16.04) doesn't have, nor does the C library need them; those with
/// `time64` are of 32 bits.
const SINCE_4_4: [&str; 35] = [
    "cachestat",
    "clock_gettime64",
    "clock_nanosleep_time64",
    "clone3",
    "close_range",
    "copy_file_range",
    "epoll_pwait2",
    "faccessat2",
    "fchmodat2",
    "futex_time64",
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
    "ppoll_time64",
    "preadv2",
    "process_madvise",
    "process_mrelease",
    "pselect6_time64",
    "pwritev2",
    "recvmmsg_time64",
    "rseq",
    "rt_sigtimedwait_time64",
    "statx",
    "timerfd_gettime64",
    "timerfd_settime64",
    "utimensat_time64",
];

/// How long what nobody uses is watched for what it costs, and how often: whatever else the machine does
/// can only make it dearer.
const IDLE: Duration = Duration::from_secs(5);
const WATCHES: usize = 3;

/// What watching two programs may cost without the kernel's help, in microseconds of processor time a
/// second.
const COST: u128 = 500;

/// How often the programs are killed.
const KILLS: usize = 3;

/// The settings by version, and what applies them.
const SINCE: &str = "/usr/share/mfe-watchdog/since";
const GENERATOR: &str = "/lib/systemd/system-generators/mfe-watchdog-generator";

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
    let open = till.sh(&format!("ls -l /proc/{service}/fd"))?;
    ensure!(!open.contains("pidfd"), "the kernel tells: {open}");
    for process in [comunicador, monitor] {
        let stat = format!("/proc/{}/stat", process.pid);
        ensure!(open.contains(&stat), "{stat} isn't watched: {open}");
    }
    let costs: Result<Vec<u128>> = (0..WATCHES).map(|_| cost(till, service)).collect();
    let cost = costs?.into_iter().min().context("not watched")?;
    println!("watching without pidfds costs {cost} us/s");
    // The tests build the package for 32 bits without optimization, which makes it several times dearer.
    let is_optimized = till.ok(&["dpkg", "--print-architecture"])?.trim() != "i386";
    ensure!(cost <= COST || !is_optimized, "watching costs {cost} us/s");

    for round in 1..=KILLS {
        for (program, process) in [(&COMUNICADOR, &mut comunicador), (&MONITOR, &mut monitor)] {
            let killed = SystemTime::UNIX_EPOCH + till.kill_and_tell_when(process.pid)?;
            *process = till.wait_next(program, *process)?;
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
    // What `check` has to say of the reload the service itself says, as of a SIGHUP.
    ensure!(printed.is_empty(), "{printed:?}");
    let refused = entries
        .iter()
        .filter(|entry| entry["MFE_EVENT"] == "reload_failed")
        .filter_map(|entry| entry["MESSAGE"].as_str());
    let refused: Vec<_> = refused.collect();
    ensure!(
        refused.iter().any(|line| line.contains("interval")),
        "{refused:?}"
    );
    let portuguese = |line: &&&str| line.contains("não") || line.contains("inválid");
    let portuguese: Vec<_> = refused.iter().filter(portuguese).collect();
    ensure!(
        portuguese.is_empty(),
        "Portuguese in the journal: {portuguese:?}"
    );
    for event in ["startup", "shutdown"] {
        let told = entries.iter().filter(|entry| entry["MFE_EVENT"] == event);
        ensure!(told.count() == 1, "{event} isn't there once");
    }
    // The journal has had time to see whose the last message was.
    let last = entries
        .iter()
        .find(|entry| entry["MFE_EVENT"] == "shutdown");
    let ended = entries.iter().rev().find(|entry| entry["_PID"] == "1");
    let [last, ended] = [last, ended].map(|entry| entry.map(time_of));
    let settled = ended
        .context("no end")?
        .saturating_sub(last.context("no last message")?);
    ensure!(
        settled >= 100_000,
        "it ended {settled} us after its last message"
    );
    Ok(())
}

/// The units have the settings that the running systemd knows, whichever it is, and it complains of none.
pub(super) fn settings_by_version(till: &Till) -> Result<()> {
    let said = till.ok(&["systemctl", "--version"])?;
    let mut digits = said
        .trim_start_matches("systemd ")
        .split(|c: char| !c.is_ascii_digit());
    let version: u32 = digits.next().unwrap_or_default().parse()?;
    let since = till.sh(&format!("cd {SINCE}; dirname */{SERVICE}.conf"))?;
    let since: Result<Vec<u32>, _> = since.split_whitespace().map(str::parse).collect();
    let since = since?;
    let drop_ins = |known: u32| {
        let known = since.iter().filter(|since| **since <= known);
        known
            .map(|since| format!("00-systemd-{since}.conf"))
            .collect::<Vec<_>>()
    };

    till.remember_journal()?;
    till.ok(&["systemctl", "daemon-reload"])?;
    let paths = till.property(SERVICE, "DropInPaths")?;
    let names = paths
        .split_whitespace()
        .filter_map(|path| path.rsplit('/').next());
    let names: Vec<_> = names.collect();
    ensure!(names == drop_ins(version), "{version}: {paths}");
    let entries = till.journal("mfe*")?;
    let said = entries.iter().filter(|entry| entry["_PID"] == "1");
    let said = said.filter_map(|entry| entry["MESSAGE"].as_str());
    let is_complaint = |message: &&str| {
        let words = ["nknown", "nvalid", "gnor", "ailed to parse"];
        words.iter().any(|words| message.contains(words))
    };
    let complaints: Vec<_> = said.filter(is_complaint).collect();
    ensure!(complaints.is_empty(), "{complaints:#?}");

    // The generator under others; of what it needs only the version is another one.
    for (other, service, program) in [
        (229, 0, 0),
        (231, 1, 0),
        (237, 4, 0),
        (239, 5, 0),
        (242, 6, 1),
        (243, 7, 2),
        (999, 9, 2),
    ] {
        till.write(
            "/tmp/other/systemctl",
            &format!("#!/bin/sh\necho 'systemd {other}~rc1 (of a kind)'\necho '+PAM +NOTHING'\n"),
            0o755,
        )?;
        till.sh(&format!(
            "rm -rf /tmp/units; mkdir /tmp/units; PATH=/tmp/other:$PATH {GENERATOR} /tmp/units /tmp /tmp"
        ))?;
        let of = |unit: &str| -> Result<Vec<String>> {
            let names = till.sh(&format!("ls /tmp/units/{unit}.d 2>/dev/null || true"))?;
            Ok(names.split_whitespace().map(str::to_owned).collect())
        };
        let (of_service, of_program) = (of(SERVICE)?, of("mfe@.service")?);
        ensure!(of_service == drop_ins(other), "{other}: {of_service:?}");
        ensure!(
            (of_service.len(), of_program.len()) == (service, program),
            "{other}: {of_service:?} {of_program:?}"
        );
    }
    till.sh("rm -rf /tmp/other /tmp/units")?;

    // What isn't in force is found, with the command that puts it there.
    let finds = || -> Result<bool> {
        let said = till.run(&["mfe-watchdog", "doctor"])?;
        Ok(String::from_utf8_lossy(&said.stdout).contains("[sandbox-weaker]"))
    };
    ensure!(!finds()?, "a weaker sandbox is found");
    till.sh(&format!("mv {GENERATOR} /root/ && systemctl daemon-reload"))?;
    let is_found = finds();
    till.sh(&format!(
        "mv /root/mfe-watchdog-generator {GENERATOR} && systemctl daemon-reload"
    ))?;
    ensure!(is_found?, "no weaker sandbox is found");
    ensure!(!finds()?, "a weaker sandbox is still found");

    // So is what somebody has loosened, but for what the package says how to open.
    for (settings, is_weaker) in [
        ("PrivateNetwork=no\nRestrictAddressFamilies=AF_INET", false),
        ("ProtectSystem=no", true),
        ("NoNewPrivileges=no", true),
    ] {
        till.drop_in(SERVICE, &format!("[Service]\n{settings}\n"))?;
        ensure!(finds()? == is_weaker, "{settings}");
    }
    Ok(())
}
