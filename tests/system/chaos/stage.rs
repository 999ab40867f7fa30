//! Does to a till what the plan says, and undoes what lasts.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::till::{
    PROGRAMS, Process, Program, SERVICE, STARTS, STATE_DIR, Script, Till, VENDOR, by_command,
    by_unit, config,
};
use mfe_kit::chaos::{Blow, Manner, STOPS_NEWEST, Trouble, Which};
use mfe_kit::host;
use mfe_kit::wait_for;

/// Where things of the test are inside the machine.
const FOLDER: &str = "/opt/chaos";

/// The one that has a unit of the vendor's.
const BY_UNIT: Which = 1;

/// How long anything may take that is waited for.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Notes what it is told of, where the service's sandbox lets it write.
const HOOK: &str = "#!/bin/sh\necho $MFE_PID >> /run/mfe-watchdog/heard-$MFE_PROCESS\n";

/// Checks that a program passes whatever happens: one that fails would have it started once too often.
const CHECKS: [&str; 4] = [
    "kind = \"command\"\ncommand = [\"/bin/true\"]\ntimeout = \"20s\"",
    "kind = \"age\"\nmax = \"1d\"",
    "kind = \"memory\"\nmax = \"1GiB\"",
    "kind = \"file\"\npath = \"/opt/chaos/*\"\nmax_age = \"1h\"",
];

/// For so long a second copy has to be there before it is ended: longer than those are that chaos ends
/// itself.
const SETTLES: &str = "3s";

/// Longer than a start takes on a machine that does much else: one that isn't there by then is made
/// again, and is one too many. Short against the time between two deaths, for checks begin only then.
const STARTS_WITHIN: &str = "6s";

/// A start script, of which `MANNER` says how the next start goes. What it leaves in the background stays
/// in its session, as the program does.
const SCRIPT: &str = "#!/bin/sh
echo $$ >> COUNT
become() {
    # The pid of the shell that this is run by; $$ is that of the first one.
    read pid rest < /proc/self/stat
    echo $pid >> PIDS
    exec PROGRAM $1
}
manner=$(cat MANNER 2>/dev/null)
rm -f MANNER
case $manner in
    Lies) (sleep 1; become rename) & exit 1 ;;
    Vain) ;;
    Late) (sleep 2; become rename) & ;;
    Later) (sleep 8; become rename) & ;;
    Hidden) unshare --pid --fork --kill-child PROGRAM ;;
    Forks) become prefork ;;
    Twice) become daemon ;;
    OtherCase) exec OTHER ;;
    *) become rename ;;
esac
";

/// The vendor's unit: what its script has left is let go on.
const UNIT: &str = "[Service]\nKillMode=process\n";

/// Takes all the room in /run.
const FILLER: &str = "/run/chaos";

/// Takes all the room where the service keeps what it remembers.
const STATE_FILLER: &str = "/var/lib/mfe-watchdog/chaos";

/// What no service starts with.
const BAD_CONFIG: &str = "interval = \"soon\"\n[process.comunicador]\nname = \"Comunicador\"\n";

/// Starts processes as fast as it can, bounded by its control group.
const FORK_BOMB: &str = "systemd-run --quiet --collect --unit=bomb -p TasksMax=80 \
    -p CPUQuota=40% -p RuntimeMaxSec=20 sh -c 'while :; do (sleep 0.01; true) & done'";

/// The chaos till: service and programs as the package has them, but for the wall clock, which is
/// the service's own.
pub(super) fn prepare(till: &Till) -> Result<()> {
    till.install_driver(Script::Stays)?;
    for program in &PROGRAMS {
        let script = SCRIPT
            .replace("COUNT", &format!("{STARTS}/{}", program.key))
            .replace("PIDS", &pids_file(program))
            .replace("MANNER", &manner_file(program))
            .replace("OTHER", &format!("{FOLDER}/{}", in_capitals(program)))
            .replace("PROGRAM", &format!("{} {STARTS}", program.path()));
        till.write(program.script, &script, 0o755)?;
        let other = format!("{FOLDER}/{}", in_capitals(program));
        till.sh(&format!("mkdir -p {FOLDER}; cp {} {other}", program.path()))?;
    }
    till.sh(&format!(
        "mount -t tmpfs -o mode=755,size=2m tmpfs {STATE_DIR}"
    ))?;
    till.install_unit(&PROGRAMS[BY_UNIT], UNIT)?;
    // The shipped program is static and takes no library; the same code, linked dynamically, takes
    // libfaketime, which shows it another wall clock. The machine's own can't be set: all
    // containers share it.
    let binary = std::fs::read(env!("CARGO_BIN_EXE_mfe-watchdog"))?;
    till.write_bytes(&format!("{FOLDER}/mfe-watchdog"), &binary, 0o755)?;
    let library = std::fs::read(faketime()?).context("libfaketime")?;
    till.write_bytes(&format!("{FOLDER}/libfaketime.so.1"), &library, 0o644)?;
    till.write(&format!("{FOLDER}/hook"), HOOK, 0o755)?;
    set_clock(till, 0)?;
    till.drop_in(
        SERVICE,
        &format!(
            "[Service]\nWatchdogSec=5s\nExecStart=\nExecStart={FOLDER}/mfe-watchdog run\n\
             Environment=LD_PRELOAD={FOLDER}/libfaketime.so.1 FAKETIME_NO_CACHE=1\n\
             Environment=FAKETIME_TIMESTAMP_FILE={FOLDER}/clock\n\
             Environment=FAKETIME_DONT_FAKE_MONOTONIC=1 DONT_FAKE_MONOTONIC=1\n"
        ),
    )?;
    configure(till, "200ms")
}

fn pids_file(program: &Program) -> String {
    format!("{STARTS}/{}.pids", program.key)
}

/// The name of a program as only a misfit has it.
fn in_capitals(program: &Program) -> String {
    program.name.to_uppercase()
}

fn manner_file(program: &Program) -> String {
    format!("{FOLDER}/{}.manner", program.key)
}

/// Has the next start of a program go in a special way.
pub(super) fn will_start(till: &Till, which: Which, manner: Manner) -> Result<()> {
    let file = manner_file(&PROGRAMS[which]);
    till.write(&file, &format!("{manner:?}\n"), 0o644)
}

fn faketime() -> Result<PathBuf> {
    let files = host::output(Command::new("dpkg").args(["-L", "libfaketime"]))?;
    let library = files
        .lines()
        .find(|file| file.ends_with("/libfaketime.so.1"));
    Ok(library
        .context("no libfaketime.so.1 in its package")?
        .into())
}

fn configure(till: &Till, interval: &str) -> Result<()> {
    let mut programs = String::new();
    for (which, program) in PROGRAMS.iter().enumerate() {
        programs += &if which == BY_UNIT {
            by_unit(program, VENDOR)
        } else {
            by_command(program)
        };
        if which == STOPS_NEWEST {
            programs += &format!("interval = \"{SETTLES}\"\nduplicates = \"stop-newest\"\n");
        }
        for check in CHECKS {
            let key = program.key;
            programs += &format!(
                "[[process.{key}.check]]\n{check}\nevery = \"1s\"\naction = \"restart\"\n"
            );
        }
    }
    programs += &format!("[[hook]]\non = [\"up\", \"restarted\"]\ncommand = [\"{FOLDER}/hook\"]\n");
    // A global setting, so before the first section. As no restart waits, every death is followed by
    // a start at once, and all can be counted.
    // What a start leaves in the background has ever more time, until a program has lived for so long.
    let settings = format!("start_timeout = \"{STARTS_WITHIN}\"\nstable_after = \"1s\"\n");
    till.configure(&config(interval, &format!("{settings}{programs}")))
}

fn set_clock(till: &Till, days: i32) -> Result<()> {
    till.write(&format!("{FOLDER}/clock"), &format!("{days:+}d\n"), 0o644)
}

/// The pids of all copies of a program that a start has brought up: as its script has noted them, and of
/// their children as these have themselves.
pub(super) fn started(till: &Till, program: &Program) -> Vec<String> {
    let first_words = |file: String| -> Vec<String> {
        let notes = till.read(&file).unwrap_or_default();
        let words = notes.lines().filter_map(|note| note.split(' ').next());
        words.map(str::to_owned).collect()
    };
    let mut started = first_words(pids_file(program));
    let mut of_children = first_words(format!("{STARTS}/{}.starts", program.name));
    of_children.retain(|pid| !started.contains(pid));
    started.append(&mut of_children);
    started
}

/// The pids of the copies that the hook was told of.
pub(super) fn heard(till: &Till, program: &Program) -> Vec<String> {
    let pids = till.read(&format!("/run/mfe-watchdog/heard-{}", program.key));
    pids.unwrap_or_default()
        .lines()
        .map(str::to_owned)
        .collect()
}

/// The sessions in which a copy of either program lives, or is on its way to be one: every start has a
/// session of its own.
pub(super) fn copies(till: &Till) -> Result<[Vec<i32>; 2]> {
    let copies = |program: &Program| -> Result<Vec<i32>> {
        let script = program.script.rsplit('/').next().unwrap_or_default();
        Ok(till
            .sessions(&[program.name, script, &in_capitals(program)])?
            .into_iter()
            .collect())
    };
    let [comunicador, monitor] = &PROGRAMS;
    Ok([copies(comunicador)?, copies(monitor)?])
}

/// Waits until there is one copy of a program.
pub(super) fn the_copy(till: &Till, which: Which) -> Result<Process> {
    let program = &PROGRAMS[which];
    wait_for(&format!("there is one {}", program.name), PATIENCE, || {
        let copies = till.processes(program)?;
        Ok((copies.len() == 1).then(|| copies[0]))
    })
}

pub(super) fn kill(till: &Till, process: Process) -> Result<()> {
    till.signal("KILL", process.pid)
}

/// Ends a program that has taken another name, unless the restart of its unit has done so.
pub(super) fn kill_stray(till: &Till, stray: Process) -> Result<()> {
    till.sh(&format!("kill -KILL {} 2>/dev/null || true", stray.pid))?;
    Ok(())
}

/// Has a program take another name and live on; gives the process.
pub(super) fn rename(till: &Till, which: Which) -> Result<Process> {
    let process = the_copy(till, which)?;
    till.rename(&PROGRAMS[which], process)?;
    Ok(process)
}

/// Starts a copy of a program as somebody would whose shell looks after it, or, as `zombie`, under a
/// parent that never asks how it ended. Gives the copy, once there is one more than `before`.
pub(super) fn start_copy(
    till: &Till,
    program: &Program,
    before: &[Process],
    zombie: bool,
) -> Result<Process> {
    let path = program.path();
    let line = if zombie {
        format!("setsid sh -c '{path} & exec sleep 8' >/dev/null 2>&1 </dev/null &")
    } else {
        format!("setsid {path} >/dev/null 2>&1 </dev/null &")
    };
    till.sh(&line)?;
    wait_for(&format!("a second {}", program.name), PATIENCE, || {
        let mut copies = till.processes(program)?.into_iter();
        Ok(copies.find(|copy| !before.contains(copy)))
    })
}

/// Waits for the program that a start brings up in the name of which only the letters' case is wrong.
pub(super) fn in_other_case(till: &Till, which: Which) -> Result<Process> {
    let name = in_capitals(&PROGRAMS[which]);
    wait_for(&format!("{name} runs"), PATIENCE, || {
        Ok(till.named(&name)?.first().copied())
    })
}

/// Waits for the parent that a start script has become, of a daemon that isn't `before`.
pub(super) fn parent_of_a_daemon(till: &Till, which: Which, before: Process) -> Result<Process> {
    let program = &PROGRAMS[which];
    wait_for(&format!("the parent of {}", program.name), PATIENCE, || {
        let notes = till.read(&pids_file(program)).unwrap_or_default();
        let last = notes.lines().last().and_then(|pid| pid.parse().ok());
        let live = till.processes(program)?.into_iter();
        let mut parents = live.filter(|process| Some(process.pid) == last && *process != before);
        Ok(parents.next())
    })
}

/// Waits until a program lives beside a child of its name; gives it and the child.
pub(super) fn family(till: &Till, which: Which) -> Result<[Process; 2]> {
    let program = &PROGRAMS[which];
    wait_for(&format!("{} has a child", program.name), PATIENCE, || {
        let Ok([one, other]) = <[Process; 2]>::try_from(till.processes(program)?) else {
            return Ok(None);
        };
        // The script has become the parent, and leads the session.
        let leads = till.sessions(&[program.name])?.contains(&one.pid);
        Ok(Some(if leads { [one, other] } else { [other, one] }))
    })
}

/// Waits until a process is gone, and says who of the name is left.
pub(super) fn left_by(till: &Till, which: Which, process: Process) -> Result<Vec<Process>> {
    wait_for("it is gone", PATIENCE, || {
        let left = till.processes(&PROGRAMS[which])?;
        Ok((!left.contains(&process)).then_some(left))
    })
}

/// Waits until the service says that what runs only nearly is the program. It can't say anything while
/// nothing can be written to /run.
pub(super) fn is_misfit(till: &Till, which: Which) -> Result<()> {
    let program = &PROGRAMS[which];
    let what = format!("{} is a misfit", program.name);
    wait_for(&what, 2 * PATIENCE, || {
        let status = till.status_of(program).unwrap_or_default();
        let is_told = status["state"] == "misfit" || till.exists(FILLER);
        Ok(is_told.then_some(()))
    })
}

/// Has systemd restart the unit of a program, as needrestart does. Only its main process ends with it; says
/// beforehand, by `ends`, whether the program is that.
pub(super) fn restart_unit(
    till: &Till,
    which: Which,
    ends: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let process = the_copy(till, which)?;
    let unit = if which == BY_UNIT {
        VENDOR.to_owned()
    } else {
        PROGRAMS[which].unit()
    };
    let is_main = till.property(&unit, "MainPID")? == process.pid.to_string();
    if is_main {
        ends()?;
    } else if which == BY_UNIT {
        // Its script looks at nothing, and would start a second copy.
        return Ok(());
    }
    // A unit that was started too often is the service's to start again.
    till.sh(&format!("systemctl restart {unit} || true"))?;
    if !is_main {
        let left = till.processes(&PROGRAMS[which])?;
        ensure!(
            left == [process],
            "{process:?} was not left alone: {left:?}"
        );
    }
    Ok(())
}

/// systemd executes itself again, and answers again. It is left alone where it can't write to /run.
pub(super) fn reexecute_systemd(till: &Till) -> Result<()> {
    if till.exists(FILLER) {
        return Ok(());
    }
    till.sh("systemctl daemon-reexec || true")?;
    wait_for("systemd answers again", PATIENCE, || {
        let answer = till.run(&["systemctl", "show", "--property", "Version"])?;
        Ok(answer.status.success().then_some(()))
    })
}

/// systemd stands still while something else is done, and for so long afterwards.
pub(super) fn freeze_systemd(
    till: &Till,
    time: Duration,
    meanwhile: impl FnOnce() -> Result<()>,
) -> Result<()> {
    till.freeze_systemd()?;
    let done = meanwhile();
    std::thread::sleep(time);
    // Without it nothing else could be done.
    till.thaw_systemd()?;
    done
}

pub(super) fn stop_for_a_moment(till: &Till, process: Process) -> Result<()> {
    till.sh(&format!(
        "kill -STOP {pid}; sleep 1; kill -CONT {pid}",
        pid = process.pid
    ))?;
    Ok(())
}

/// Has the service leave a program alone.
pub(super) fn pause(till: &Till, which: Which) -> Result<()> {
    control(till, &["pause", PROGRAMS[which].key, "--for", "1h"])
}

/// And look after it again.
pub(super) fn resume(till: &Till, which: Which) -> Result<()> {
    control(till, &["resume", PROGRAMS[which].key])
}

/// Asks the service for something, as often as it takes: it may be busy, or just have been killed.
fn control(till: &Till, words: &[&str]) -> Result<()> {
    wait_for(&format!("{words:?} is done"), PATIENCE, || {
        let done = till.run(&[&["mfe-watchdog"], words].concat())?;
        Ok(done.status.success().then_some(()))
    })
}

/// Whether what the service is to remember can be written.
pub(super) fn is_remembered(till: &Till) -> bool {
    !till.exists(STATE_FILLER)
}

/// dpkg is about to replace the command of a program, while something else is done.
pub(super) fn replace_command(
    till: &Till,
    which: Which,
    meanwhile: impl FnOnce() -> Result<()>,
) -> Result<()> {
    with_command(till, which, ("cp -p", "dpkg-new"), meanwhile)
}

/// The command of a program is away meanwhile.
pub(super) fn take_command_away(
    till: &Till,
    which: Which,
    meanwhile: impl FnOnce() -> Result<()>,
) -> Result<()> {
    with_command(till, which, ("mv", "away"), meanwhile)
}

/// The command's file comes beside itself with this ending, and back again.
fn with_command(
    till: &Till,
    which: Which,
    (put, ending): (&str, &str),
    meanwhile: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let script = PROGRAMS[which].script;
    till.sh(&format!("{put} {script} {script}.{ending}"))?;
    let done = meanwhile();
    till.sh(&format!("mv {script}.{ending} {script}"))?;
    done
}

/// What concerns the service and not a program.
pub(super) fn strike_service(till: &Till, blow: Blow) -> Result<()> {
    match blow {
        Blow::KillService | Blow::FreezeService => {
            let signal = if blow == Blow::KillService {
                "KILL"
            } else {
                "STOP"
            };
            let service = service(till)?;
            till.signal(signal, service)?;
            wait_for("another watchdog is ready", PATIENCE, || {
                Ok(main_pid(till)?.filter(|pid| *pid != service))
            })?;
        }
        Blow::ReloadGood => {
            configure(till, "300ms")?;
            reload(till)?;
            configure(till, "200ms")?;
            reload(till)?;
        }
        Blow::ReloadBad => {
            till.configure("interval = \"soon\"\n")?;
            reload(till)?;
            configure(till, "200ms")?;
        }
        Blow::CrashBadly => {
            till.configure(BAD_CONFIG)?;
            strike_service(till, Blow::KillService)?;
            configure(till, "200ms")?;
            reload(till)?;
        }
        // Where nothing can be written to /run, nobody could make it again.
        Blow::RemoveFolder if !till.exists(FILLER) => {
            till.remove_runtime_folder()?;
            ready(till)?;
        }
        Blow::SecondService => {
            let second = till.run(&["timeout", "20", "mfe-watchdog", "run"])?;
            ensure!(
                second.status.code() == Some(1),
                "a second watchdog: {second:?}"
            );
        }
        Blow::SetClock(days) => set_clock(till, days)?,
        _ => {}
    }
    Ok(())
}

/// As a person does, but without systemctl, which says nothing of a reload that is refused.
fn reload(till: &Till) -> Result<()> {
    till.signal("HUP", service(till)?)
}

/// The service's pid, read from where systemd has put it.
fn main_pid(till: &Till) -> Result<Option<i32>> {
    let pids = till.sh(&format!(
        "cat /sys/fs/cgroup/system.slice/{SERVICE}/cgroup.procs \
         /sys/fs/cgroup/unified/system.slice/{SERVICE}/cgroup.procs \
         /sys/fs/cgroup/systemd/system.slice/{SERVICE}/cgroup.procs 2>/dev/null || true"
    ))?;
    let pids = pids.split_whitespace().filter_map(|pid| pid.parse().ok());
    let name = |pid: &i32| till.read(&format!("/proc/{pid}/comm"));
    Ok(pids
        .into_iter()
        .find(|pid| name(pid).as_deref() == Some("mfe-watchdog\n")))
}

/// Waits until the service that runs now has published what it has found.
pub(super) fn ready(till: &Till) -> Result<()> {
    wait_for("the service is ready", PATIENCE, || {
        let pid = main_pid(till)?;
        let is_ready = |pid| till.status().is_some_and(|status| status["pid"] == pid);
        Ok(pid.is_some_and(is_ready).then_some(()))
    })
}

/// Waits until the service lives and can take signals.
pub(super) fn service(till: &Till) -> Result<i32> {
    wait_for("the service runs", PATIENCE, || {
        let Some(pid) = main_pid(till)? else {
            return Ok(None);
        };
        // Ready: it has its handlers, and has looked.
        let is_ready = till.status().is_some_and(|status| status["pid"] == pid);
        let takes_hup = till
            .read(&format!("/proc/{pid}/status"))
            .and_then(|status| {
                let line = status
                    .lines()
                    .find_map(|line| line.strip_prefix("SigCgt:"))?;
                u64::from_str_radix(line.trim(), 16).ok()
            })
            .is_some_and(|caught| caught & 1 != 0);
        Ok((takes_hup || is_ready).then_some(pid))
    })
}

pub(super) fn begin(till: &Till, trouble: Trouble) -> Result<()> {
    match trouble {
        Trouble::JournalStopped => {
            till.freeze_journal()?;
        }
        Trouble::RunFull => {
            // As large as what is in it and a little more, then no more at all.
            till.sh(&format!(
                "used=$(df --output=used -k /run | tail -1)
                mount -o remount,size=$((used + 64))k /run
                dd if=/dev/zero of={FILLER} bs=1k 2>/dev/null || true"
            ))?;
        }
        Trouble::VarFull => {
            till.sh(&format!(
                "dd if=/dev/zero of={STATE_FILLER} bs=1k 2>/dev/null || true"
            ))?;
        }
        Trouble::ForkBomb => {
            // Where /run is full, systemd can't take a new unit.
            till.sh(&format!("{FORK_BOMB} || test -e {FILLER}"))?;
        }
    }
    Ok(())
}

pub(super) fn end(till: &Till, trouble: Trouble) -> Result<()> {
    let free = format!("rm -f {FILLER}; mount -o remount,size=64m /run");
    let room = format!("rm -f {STATE_FILLER}");
    let line = match trouble {
        Trouble::JournalStopped => return till.thaw_journal(),
        Trouble::VarFull => room.as_str(),
        Trouble::RunFull => free.as_str(),
        // It may have ended by itself.
        Trouble::ForkBomb => {
            // At once and whole, since Linux 5.14 (cgroup.kill, cgroup-v2.rst): who reads the list of its
            // processes first waits long for it, and by then it is another list.
            "for group in /sys/fs/cgroup/system.slice/bomb.service \
                 /sys/fs/cgroup/unified/system.slice/bomb.service; do
                 [ -d $group ] && echo 1 > $group/cgroup.kill
             done 2>/dev/null; true"
        }
    };
    till.sh(line)?;
    Ok(())
}

/// Processes of the machine that nobody should find there.
pub(super) fn left_behind(till: &Till) -> Result<String> {
    till.sh(
        "for stat in /proc/[0-9]*/stat; do cat $stat; done 2>/dev/null |
        grep -E '^[0-9]+ \\(.*\\) Z' || true",
    )
}

/// What the service holds, for comparison.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) descriptors: usize,
    /// Its own memory, in KiB: how much of the program's file is in it is the kernel's affair.
    pub(super) kib: usize,
    pub(super) children: usize,
}

pub(super) fn held(till: &Till) -> Result<Held> {
    let pid = service(till)?;
    let said = till.sh(&format!(
        "ls /proc/{pid}/fd | wc -l; awk '/^RssAnon/ {{print $2}}' /proc/{pid}/status
        cat /proc/{pid}/task/*/children | wc -w"
    ))?;
    let numbers: Vec<usize> = said
        .lines()
        .filter_map(|line| line.trim().parse().ok())
        .collect();
    let [descriptors, kib, children] = numbers[..] else {
        anyhow::bail!("not three numbers: {said}");
    };
    ensure!(descriptors > 0, "no descriptors at all: {said}");
    Ok(Held {
        descriptors,
        kib,
        children,
    })
}
