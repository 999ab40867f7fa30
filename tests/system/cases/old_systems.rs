//! The machines of 2016 and 2018, as far as today's suites can stand in for them: what Ubuntu 16.04 and
//! 18.04 lack is taken away. That they were booted for real, and what was seen, is in the README.

use std::thread::sleep;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};

use crate::till::{COMUNICADOR, MONITOR, PROGRAMS, SERVICE, Script, Till, by_command, config};

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
