//! What the service costs, in system calls and in allocations, against a committed budget; time,
//! which depends on the machine, is measured by the benches.
//!
//! The service runs in a PID namespace of its own: however busy the machine is, its /proc has the
//! same few processes, and every count is the same each time. What may still vary, a timer that
//! fires early or a look more while a start is awaited, doesn't reach the median of many cycles.
//!
//! A budget that is exceeded names the call: make it unnecessary, or raise the number and give the
//! reason. One that has become too generous is to be lowered.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use mfe_watchdog::proc::{ProcessId, ProcessName, ProcessTable, Target};

use crate::program::BINARY;
use crate::table::looked_for;
use mfe_kit::{Need, Program, Service, Systemd, Till, clean, eventually, is_root, needs};

type Budget = &'static [(&'static str, usize, &'static str)];

/// One cycle over two programs that are up.
const CYCLE: Budget = &[
    (
        "epoll_wait",
        2,
        "both alarms in one wake-up; then the notification, before it sleeps again",
    ),
    ("openat", 2, "per program its stat"),
    ("read", 2, "per program its stat"),
    ("pread64", 2, "per program loadavg"),
    ("close", 2, "what was opened"),
    ("timerfd_settime", 2, "per program the next cycle"),
    ("sendto", 1, "the notification"),
    ("statx", 1, "whether the lock is in its place"),
    (
        "utimensat",
        1,
        "the lock's times, which say that it has looked",
    ),
];

/// From the news of a death until the start program runs: what stands between a shop and its next
/// sale. Four processes are left in the table.
const DEATH_TO_START: Budget = &[
    (
        "sendto",
        1,
        "the signal handler's byte in the runtime's own pipe",
    ),
    ("rt_sigreturn", 1, "the end of the signal handler"),
    (
        "wait4",
        1,
        "the start program that became the program is reaped",
    ),
    ("kill", 1, "whether anybody is left in its process group"),
    ("epoll_ctl", 1, "the pidfd is no longer waited for"),
    ("openat", 5, "comm of four; the start script's first line"),
    ("read", 5, "comm of four; the start script's first line"),
    ("pread64", 2, "loadavg, before and after"),
    ("lseek", 1, "to the begin of /proc"),
    ("getdents64", 2, "the entries of /proc, and their end"),
    ("close", 6, "what was opened, and the pidfd"),
    (
        "statx",
        5,
        "whether the start program is there and has settled, and what dpkg may have beside it",
    ),
    (
        "prlimit64",
        5,
        "libc, before it spawns; a child has the limit of descriptors that the service has inherited",
    ),
    ("rt_sigprocmask", 1, "libc, before it spawns"),
    ("clone3", 1, "the start itself"),
];

/// From reading the configuration to READY=1 with both programs already up: the runtime's and the
/// signals' set-up, descriptors that were inherited closed, stderr opened once more so that writing
/// there never waits, the socket where people ask, what an earlier run remembered read and what this one does written, which
/// process the service is and the settings in force kept for the next run, when an earlier one has last
/// looked and that this one has, the first events kept for reports, systemd asked who else starts the programs, a look at each command's file and the folders above it, a look for each program, its pidfd,
/// whose each is and what it runs, in which control group, where the kernel's kills are counted, and whether
/// a unit's journal has what it prints.
const START: usize = 293;

/// Allocations of a look that finds one process, however many others there are: the list of it.
const LOOK_ALLOCATIONS: u64 = 1;

/// Allocations of a look that only confirms it: the same.
const CONFIRM_ALLOCATIONS: u64 = 1;

const INTERVAL: Duration = Duration::from_millis(100);
const CYCLES: usize = 50;
const RESTARTS: usize = 10;

/// The allocator's calls depend on its state and on the machine's libc.
const MEMORY: [&str; 5] = ["brk", "madvise", "mmap", "mprotect", "munmap"];

#[test]
fn system_calls() {
    needs!(
        Need::Root("to others / belongs to somebody else in its namespace, which costs calls"),
        Need::Package("strace")
    );
    let till = Till::new();
    let programs = [till.program('C'), till.program('M')];
    let scripts = programs.each_ref().map(|program| {
        let name = format!("{}.sh", program.name);
        till.script(&name, &format!("exec {}", program.command()))
    });
    let [comunicador, monitor] = &programs;
    till.configure_scripts(&[
        ("comunicador", comunicador, &scripts[0]),
        ("monitor", monitor, &scripts[1]),
    ]);
    let trace = till.path().join("trace");
    let systemd = Systemd::new(&till);
    let cycles = |count: usize| {
        for _ in 0..count {
            systemd.hear_until("WATCHDOG");
        }
    };
    let service = Service::start(&till, &mut alone(&till, &programs, &trace));
    systemd.hear_until("READY");
    cycles(CYCLES);
    for restart in 0..RESTARTS {
        let key = ["comunicador", "monitor"][restart % 2];
        kill_by_name(&programs[restart % 2].name);
        eventually(("restart", restart), || {
            (service.count("restarted", key) == restart / 2 + 1).then_some(())
        });
        // A pause, so that it doesn't count as a crash loop.
        cycles(10);
    }
    drop(service);

    let calls = calls(&std::fs::read_to_string(&trace).unwrap());
    let ready = position(&calls, |call| call.text.contains("READY=1"));
    let configured = position(&calls, |call| {
        call.name != "execve" && call.text.contains("config.toml")
    });
    let deaths: Vec<usize> = (ready..calls.len())
        .filter(|index| calls[*index].starts_a_program())
        .map(|start| {
            let wait = calls[..start].iter().rposition(Call::waits);
            wait.expect("a wait before the death")
        })
        .collect();
    assert_eq!(deaths.len(), RESTARTS);
    println!("at the start: {:?}", count(&calls[configured..=ready]));
    let quiet = &calls[ready + 1..deaths[0]];
    let to_start = deaths.iter().map(|death| {
        let length = position(&calls[*death..], Call::starts_a_program);
        count(&calls[death + 1..=death + length])
    });
    let problems = [
        exceeded("a quiet cycle", CYCLE, &median(&per_cycle(quiet))),
        exceeded(
            "death to start",
            DEATH_TO_START,
            &median(&to_start.collect::<Vec<_>>()),
        ),
        exceeded_total("the service's start", START, ready + 1 - configured),
    ];
    assert!(
        problems.iter().all(String::is_empty),
        "{}",
        problems.concat()
    );
}

#[test]
fn allocations() {
    let till = Till::new();
    let program = till.program('C');
    let mut child = program.start();
    let target = Target::named(ProcessName::new(&program.name));
    let mut table = ProcessTable::new("/proc");
    let alive = table.look(&target).unwrap().alive;
    let known: Vec<ProcessId> = alive.iter().map(|alive| alive.id).collect();
    assert_eq!(known.len(), 1);
    // The fewest of many, for a busy machine may ask for a second reading of the table.
    let fewest = |look: &mut dyn FnMut()| {
        let counts = (0..20).map(|_| allocation_counter::measure(&mut *look).count_total);
        counts.min().unwrap()
    };
    let look = fewest(&mut || drop(table.look(&target).unwrap()));
    // It isn't known at first who is young.
    while table.confirm(&target, &known).unwrap().is_none() {
        looked_for(&mut table, &target, &known).unwrap();
    }
    let confirm = fewest(&mut || drop(table.confirm(&target, &known).unwrap().unwrap()));
    println!("allocations: {look} in a look, {confirm} in a confirmation");
    assert!(look <= LOOK_ALLOCATIONS, "{look} allocations in a look");
    assert!(
        confirm <= CONFIRM_ALLOCATIONS,
        "{confirm} allocations in a confirmation"
    );
    child.kill().unwrap();
    child.wait().unwrap();
}

/// The service under strace, alone with its two programs in a PID namespace. Whoever kills the
/// command kills all of them.
fn alone(till: &Till, programs: &[Program], trace: &Path) -> Command {
    // Without a journal: messages go to stderr on every machine.
    let mut setup = String::from("test ! -d /run/systemd || mount -t tmpfs t /run/systemd\n");
    for program in programs {
        let starts = till.path().join(format!("{}.starts", program.name));
        setup += &format!("{} &\n", program.command());
        setup += &format!(
            "until test -s '{}'; do sleep 0.01; done\n",
            starts.display()
        );
    }
    let mut command = Command::new("unshare");
    if !is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command
        .args(["--pid", "--fork", "--kill-child=KILL", "--mount-proc"])
        // Pid 1 stays the shell.
        .args(["sh", "-e", "-c", &format!("{setup}\"$@\"\nexit 0"), "sh"])
        .args(["strace", "-ttt", "-s", "512", "-o"])
        .args([trace.as_os_str(), BINARY.as_ref()]);
    let mut command = clean(command);
    command.env("NOTIFY_SOCKET", till.path().join("notify"));
    command
}

/// Kills the one process of this name, which is in another PID namespace.
fn kill_by_name(name: &str) {
    let mut processes = procfs::process::all_processes().unwrap();
    let pid = processes.find_map(|process| {
        let stat = process.ok()?.stat().ok()?;
        (stat.comm == name && stat.state != 'Z').then_some(stat.pid)
    });
    kill(Pid::from_raw(pid.expect(name)), Signal::SIGKILL).unwrap();
}

/// One line of the trace.
struct Call {
    time: f64,
    name: String,
    text: String,
}

impl Call {
    fn starts_a_program(&self) -> bool {
        self.text.contains("CLONE_VFORK") || self.name == "vfork"
    }

    /// Whether the service was waiting in it, with nothing to do.
    fn waits(&self) -> bool {
        self.timeout().is_some_and(|timeout| timeout != 0)
    }

    /// The milliseconds that a wait was to last at most.
    fn timeout(&self) -> Option<u128> {
        let arguments = self
            .text
            .strip_prefix("epoll_wait(")?
            .rsplit_once(") = ")?
            .0;
        let timeout = arguments.rsplit_once(", ")?.1;
        Some(timeout.parse().unwrap_or(u128::MAX))
    }
}

fn calls(trace: &str) -> Vec<Call> {
    let lines = trace.lines().filter_map(|line| {
        let (time, text) = line.split_once(' ')?;
        let name = text.split_once('(')?.0;
        // A debug build asks so about each descriptor it closes.
        let is_debug = text.contains("F_GETFD");
        let is_call = name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        (is_call && !is_debug && !MEMORY.contains(&name)).then(|| Call {
            time: time.parse().unwrap(),
            name: name.to_owned(),
            text: text.to_owned(),
        })
    });
    lines.collect()
}

fn position(calls: &[Call], predicate: impl Fn(&Call) -> bool) -> usize {
    calls
        .iter()
        .position(predicate)
        .expect("it is in the trace")
}

type Counts = BTreeMap<String, usize>;

fn count(calls: &[Call]) -> Counts {
    let mut counts = Counts::new();
    for call in calls {
        *counts.entry(call.name.clone()).or_default() += 1;
    }
    counts
}

/// The calls in each interval, from the middle of a pause to the middle of the next one.
fn per_cycle(calls: &[Call]) -> Vec<Counts> {
    let ping = position(calls, |call| call.text.contains("WATCHDOG=1"));
    let interval = INTERVAL.as_secs_f64();
    let begin = calls[ping].time + interval / 2.0;
    let cycle = |index: usize| {
        let begin = begin + interval * f64::from(u32::try_from(index).unwrap());
        let first = calls.partition_point(|call| call.time < begin);
        let end = calls.partition_point(|call| call.time < begin + interval);
        count(&calls[first..end])
    };
    (0..CYCLES / 2).map(cycle).collect()
}

/// For each call the median of its counts.
fn median(samples: &[Counts]) -> Counts {
    let names: BTreeSet<&String> = samples.iter().flat_map(Counts::keys).collect();
    let median = |name: &String| {
        let mut counts: Vec<usize> = samples
            .iter()
            .map(|sample| sample.get(name).copied().unwrap_or(0))
            .collect();
        counts.sort_unstable();
        counts[counts.len() / 2]
    };
    names
        .into_iter()
        .map(|name| (name.clone(), median(name)))
        .collect()
}

/// What is over budget, one line each.
fn exceeded(what: &str, budget: Budget, counts: &Counts) -> String {
    println!("{what}: {counts:?}");
    let mut problems = String::new();
    for (name, count) in counts {
        let allowed = budget.iter().find(|(allowed, ..)| allowed == name);
        let (allowed, reason) =
            allowed.map_or((0, "nothing"), |(_, count, reason)| (*count, *reason));
        if *count > allowed {
            problems += &format!("{what}: {count} × {name}, not {allowed} ({reason})\n");
        }
    }
    problems
}

/// The same for a sum.
fn exceeded_total(what: &str, budget: usize, count: usize) -> String {
    println!("{what}: {count}");
    if count > budget {
        format!("{what}: {count} calls, not {budget}\n")
    } else {
        String::new()
    }
}
