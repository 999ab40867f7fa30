//! A till: a container with the package on it, stand-ins for the vendor's programs, and what a
//! case asks of it. It judges nothing.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Output;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;

use mfe_kit::container::{Container, expect_status};
use mfe_kit::janitor::Scene;
use mfe_kit::package::Packages;
use mfe_kit::{journal, wait_for};

pub(crate) const SERVICE: &str = "mfe-watchdog.service";
/// The vendor's unit, where there is one.
pub(crate) const VENDOR: &str = "cco-ser.service";
pub(crate) const CONFIG: &str = "/etc/mfe-watchdog/config.toml";
const STATUS: &str = "/run/mfe-watchdog/status.json";

/// What outlives the service.
pub(crate) const STATE_DIR: &str = "/var/lib/mfe-watchdog";

/// Patience with what takes a moment, on two cores that four machines share.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// The stand-in, to be copied to where the programs are.
const STANDIN: &str = "/root/standin";

/// Where the runs of start scripts are counted.
pub(crate) const STARTS: &str = "/var/lib/till-starts";

/// One of the vendor's programs.
#[derive(Clone, Copy)]
pub(crate) struct Program {
    pub(crate) key: &'static str,
    pub(crate) name: &'static str,
    pub(crate) script: &'static str,
}

pub(crate) const COMUNICADOR: Program = Program {
    key: "comunicador",
    name: "Comunicador",
    script: "/opt/sefaz/cco/bin/runcco-ser.sh",
};
pub(crate) const MONITOR: Program = Program {
    key: "monitor",
    name: "Monitor",
    script: "/opt/sefaz/cco/bin/runcco-mon.sh",
};
pub(crate) const PROGRAMS: [Program; 2] = [COMUNICADOR, MONITOR];

impl Program {
    pub(crate) fn path(&self) -> String {
        format!("/opt/sefaz/cco/bin/{}", self.name)
    }

    pub(crate) fn unit(&self) -> String {
        format!("mfe@{}.service", self.key)
    }
}

/// What a start script of the vendor's may do.
#[derive(Clone, Copy)]
pub(crate) enum Script {
    /// Becomes the program.
    Stays,
    /// Leaves the program behind and ends.
    Forks,
    /// Becomes the program after 15 s.
    Slow,
    /// Ends with status 7.
    Fails,
    /// Becomes the program, which talks.
    Talks,
    /// Becomes the program, which is a window on the screen.
    Window,
}

/// The journal, and the sockets that start it.
const JOURNAL: &str = "systemd-journald.service";
const JOURNAL_SOCKETS: &str = "systemd-journald.socket systemd-journald-dev-log.socket";

/// A process inside, identified for as long as the machine runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    start_time: u64,
}

impl Process {
    /// When it began, to the hundredth of a second.
    pub(crate) fn began(self) -> Result<SystemTime> {
        let uptime = fs::read_to_string("/proc/uptime").context("/proc/uptime")?;
        let now = SystemTime::now();
        let uptime = uptime.split_whitespace().next().context("no uptime")?;
        let uptime = Duration::from_secs_f64(uptime.parse()?);
        // In hundredths of a second since boot (proc(5)).
        let began = Duration::from_millis(self.start_time * 10);
        Ok(now - uptime.saturating_sub(began))
    }
}

/// A living process, as the kernel's table has it.
struct Living {
    name: String,
    session: i32,
    process: Process,
}

pub(crate) struct Till {
    container: Container,
    /// Where the journal was when the case began.
    journal_begins: AtomicU64,
}

impl Till {
    /// Boots a machine, without the package.
    pub(crate) fn boot(
        name: &str,
        scene: &Scene,
        base: &Path,
        packages: &Packages,
    ) -> Result<Self> {
        let container = Container::boot(name, base, scene)?;
        let central = packages.central.as_ref().map(|deb| ("central", deb));
        let debs = [
            ("current", &packages.current),
            ("older", &packages.older),
            ("newer", &packages.newer),
            ("relay", &packages.relay),
        ];
        for (name, deb) in debs.into_iter().chain(central) {
            container.write(&deb_path(name), &fs::read(deb)?, 0o644)?;
        }
        container.write(STANDIN, &fs::read(mfe_kit::STANDIN)?, 0o755)?;
        Ok(Self {
            container,
            journal_begins: AtomicU64::new(0),
        })
    }

    /// Gives each case the same machine: the package as built, the service stopped, no driver,
    /// nothing of what the case before has left. The service goes first, or it would have systemd start
    /// the vendor's unit again whose stop has just ended the program.
    pub(crate) fn fresh(&self) -> Result<()> {
        self.container.sh(&format!(
            "systemctl stop {SERVICE} 2>/dev/null
            systemctl stop {VENDOR} rc-local.service 2>/dev/null
            rm -rf /etc/systemd/system/mfe* /etc/systemd/system/cco-ser* /etc/init.d/cco-ser
            rm -rf /etc/systemd/system/rc-local.service
            rm -rf /etc/rc.local* /opt/sefaz {STARTS}
            rm -f /etc/xdg/autostart/cco-mon.desktop
            systemctl stop 'desk-*' 2>/dev/null
            rm -f /tmp/.X11-unix/X*"
        ))?;
        self.kill_programs()?;
        let wanted = crate::VERSION;
        let version =
            "dpkg-query --show --showformat='${db:Status-Status} ${Version}' mfe-watchdog || true";
        if self.container.sh(version)? != format!("installed {wanted}") {
            self.container.ok(&["dpkg", "--purge", "mfe-watchdog"])?;
            self.apt_install("current", &[])?;
        }
        self.container.sh(&format!(
            "systemctl enable {SERVICE}; systemctl stop {SERVICE} 'mfe@*.service'
            for group in $(grep -ls 'system-mfe.slice/mfe@' /proc/[0-9]*/cgroup); do
                pid=${{group#/proc/}}
                kill -KILL ${{pid%/cgroup}} 2>/dev/null
            done
            umount {STATE_DIR} 2>/dev/null; rm -rf {STATE_DIR}/*
            systemctl daemon-reload; systemctl reset-failed"
        ))?;
        self.kill_programs()?;
        self.configure_as_usual()?;
        self.remember_journal()
    }

    /// From here on the journal is the case's.
    pub(crate) fn remember_journal(&self) -> Result<()> {
        self.container.ok(&["journalctl", "--sync"])?;
        let last = self
            .container
            .ok(&["journalctl", "-n", "1", "-o", "json"])?;
        let time = time_of(&serde_json::from_str(&last).context("the journal's JSON")?);
        self.journal_begins.store(time, Ordering::Relaxed);
        Ok(())
    }

    /// journalctl's option for the same. Not --after-cursor: together with -u it leaves out the
    /// first message if the one at the cursor is another unit's.
    fn since(&self) -> String {
        let time = self.journal_begins.load(Ordering::Relaxed);
        format!("--since=@{}", time / 1_000_000)
    }

    /// What somebody needs to see who wants to know why a case has failed.
    pub(crate) fn what_it_says(&self) -> String {
        let line = format!(
            "systemctl --no-pager --full status {SERVICE} 'mfe@*' cco-ser 2>&1 | head -60
            echo; cat {STATUS} 2>&1
            echo; journalctl --no-pager {since} -o short-monotonic | tail -40",
            since = self.since()
        );
        let said = self
            .container
            .sh(&line)
            .unwrap_or_else(|error| error.to_string());
        format!("the machine says:\n{said}")
    }

    pub(crate) fn power_off(self) -> Result<()> {
        self.container.power_off()
    }

    // Running things.

    pub(crate) fn run(&self, words: &[&str]) -> Result<Output> {
        self.container.run(words)
    }

    pub(crate) fn ok(&self, words: &[&str]) -> Result<String> {
        self.container.ok(words)
    }

    pub(crate) fn sh(&self, line: &str) -> Result<String> {
        self.container.sh(line)
    }

    pub(crate) fn write(&self, path: &str, content: &str, mode: u32) -> Result<()> {
        self.container.write(path, content.as_bytes(), mode)
    }

    pub(crate) fn write_bytes(&self, path: &str, content: &[u8], mode: u32) -> Result<()> {
        self.container.write(path, content, mode)
    }

    pub(crate) fn read(&self, path: &str) -> Option<String> {
        self.container.read(path)
    }

    pub(crate) fn exists(&self, path: &str) -> bool {
        self.container.exists(path)
    }

    pub(crate) fn reboot(&self) -> Result<()> {
        self.container.reboot()
    }

    /// Installs one of the packages as a person does, and tells what the person reads, warnings of the package
    /// included, which apt passes on through its standard error. There is no network to fetch anything from.
    pub(crate) fn apt_install(&self, which: &str, options: &[&str]) -> Result<String> {
        let (deb, options) = (deb_path(which), options.join(" "));
        self.sh(&format!("apt-get -q -y install {options} {deb} 2>&1"))
    }

    pub(crate) fn drop_in(&self, unit: &str, content: &str) -> Result<()> {
        self.write(
            &format!("/etc/systemd/system/{unit}.d/case.conf"),
            content,
            0o644,
        )?;
        self.ok(&["systemctl", "daemon-reload"])?;
        Ok(())
    }

    pub(crate) fn configure(&self, content: &str) -> Result<()> {
        self.write(CONFIG, content, 0o644)
    }

    /// Both programs by their commands, in short cycles.
    pub(crate) fn configure_as_usual(&self) -> Result<()> {
        self.configure(&config(
            "200ms",
            &PROGRAMS.map(|program| by_command(&program)).concat(),
        ))
    }

    // The driver.

    /// Puts the vendor's programs on the machine.
    pub(crate) fn install_driver(&self, script: Script) -> Result<()> {
        PROGRAMS
            .iter()
            .try_for_each(|program| self.install_program(program, script))
    }

    pub(crate) fn install_program(&self, program: &Program, script: Script) -> Result<()> {
        let path = program.path();
        // Its name, as the kernel keeps it, is the file's.
        self.sh(&format!(
            "mkdir -p {STARTS} $(dirname {path}) && cp --remove-destination {STANDIN} {path}
            touch {STARTS}/{key} && chmod 666 {STARTS}/{key}",
            key = program.key
        ))?;
        let body = match script {
            Script::Stays => format!("exec {path}"),
            Script::Forks => format!("{path} &"),
            Script::Slow => format!("sleep 15\nexec {path}"),
            Script::Fails => "exit 7".to_owned(),
            Script::Talks => format!("exec {path} {STARTS} talk"),
            Script::Window => format!("exec {path} - window"),
        };
        // The pid is the program's own where the script becomes it.
        let count = format!("echo $$ >> {STARTS}/{}", program.key);
        self.write(
            program.script,
            &format!("#!/bin/sh\n{count}\n{body}\n"),
            0o755,
        )
    }

    /// Makes the vendor's unit, of these settings, for a program.
    pub(crate) fn install_unit(&self, program: &Program, settings: &str) -> Result<()> {
        let unit = format!("{settings}[Service]\nExecStart={}\n", program.script);
        self.write(&format!("/etc/systemd/system/{VENDOR}"), &unit, 0o644)?;
        self.ok(&["systemctl", "daemon-reload"])?;
        Ok(())
    }

    /// How often a start script was run.
    pub(crate) fn starts(&self, program: &Program) -> usize {
        let starts = self.read(&format!("{STARTS}/{}", program.key));
        starts.map_or(0, |starts| starts.lines().count())
    }

    /// The living processes of a program.
    pub(crate) fn processes(&self, program: &Program) -> Result<Vec<Process>> {
        self.named(program.name)
    }

    /// The living processes of this name.
    pub(crate) fn named(&self, name: &str) -> Result<Vec<Process>> {
        let living = self.living()?.into_iter();
        Ok(living
            .filter(|living| living.name == name)
            .map(|living| living.process)
            .collect())
    }

    /// The sessions in which anything of one of these names lives, each told by its leader's pid.
    pub(crate) fn sessions(&self, names: &[&str]) -> Result<BTreeSet<i32>> {
        let living = self.living()?.into_iter();
        Ok(living
            .filter(|living| names.contains(&living.name.as_str()))
            .map(|living| living.session)
            .collect())
    }

    fn living(&self) -> Result<Vec<Living>> {
        let proc = self.container.root().join("proc");
        let entries = fs::read_dir(&proc).with_context(|| proc.display().to_string())?;
        let pids = entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        Ok(pids
            .filter_map(|pid: i32| {
                let stat = fs::read_to_string(proc.join(pid.to_string()).join("stat")).ok()?;
                let (before, after) = stat.rsplit_once(')')?;
                // In proc(5) the name is the 2nd field: here the state, the 3rd, is the first.
                let fields: Vec<&str> = after.split_whitespace().collect();
                let living = Living {
                    name: before.split_once('(')?.1.to_owned(),
                    session: fields.get(3)?.parse().ok()?,
                    process: Process {
                        pid,
                        start_time: fields.get(19)?.parse().ok()?,
                    },
                };
                (fields[0] != "Z").then_some(living)
            })
            .collect())
    }

    /// Waits until a program runs in one copy and the status says so.
    pub(crate) fn wait_up(&self, program: &Program) -> Result<Process> {
        self.wait_up_for(program, SOON)
    }

    pub(crate) fn wait_up_for(&self, program: &Program, patience: Duration) -> Result<Process> {
        wait_for(
            &format!("one {} runs and its status is up", program.name),
            patience,
            || {
                let processes = self.processes(program)?;
                let [process] = processes.as_slice() else {
                    return Ok(None);
                };
                let Some(status) = self.status_of(program) else {
                    return Ok(None);
                };
                let told =
                    status["state"] == "up" && status["pids"] == serde_json::json!([process.pid]);
                Ok(told.then_some(*process))
            },
        )
    }

    /// Starts programs without the watchdog.
    pub(crate) fn start_by_hand(&self, program: &Program) -> Result<Process> {
        self.sh(&format!(
            "setsid {} >/dev/null 2>&1 </dev/null &",
            program.script
        ))?;
        wait_for(&format!("{} runs", program.name), SOON, || {
            Ok(self.processes(program)?.first().copied())
        })
    }

    pub(crate) fn signal(&self, signal: &str, pid: i32) -> Result<()> {
        self.sh(&format!("kill -{signal} {pid}"))?;
        Ok(())
    }

    /// Kills a program and waits for the one that takes its place.
    pub(crate) fn kill_and_wait(&self, program: &Program, before: Process) -> Result<Process> {
        self.signal("KILL", before.pid)?;
        self.wait_next(program, before)
    }

    /// Kills a process and tells when. That is told inside: to get there takes its time on a busy machine.
    pub(crate) fn kill_and_tell_when(&self, pid: i32) -> Result<Duration> {
        let killed = self.sh(&format!("date +%s%N; kill -KILL {pid}"))?;
        Ok(Duration::from_nanos(killed.trim().parse()?))
    }

    /// Waits for the program that takes the place of one that ends.
    pub(crate) fn wait_next(&self, program: &Program, before: Process) -> Result<Process> {
        wait_for(&format!("another {} runs", program.name), SOON, || {
            let up = self.wait_up(program)?;
            Ok((up != before).then_some(up))
        })
    }

    /// Has a program that was started with the mode `rename` take another name and live on.
    pub(crate) fn rename(&self, program: &Program, process: Process) -> Result<()> {
        let order = format!("{STARTS}/{}.name", process.pid);
        self.write(&order, "somebody else", 0o644)?;
        wait_for("the stand-in has another name", SOON, || {
            Ok((!self.processes(program)?.contains(&process)).then_some(()))
        })
    }

    pub(crate) fn environment(&self, process: Process) -> Result<String> {
        self.sh(&format!("tr '\\0' '\\n' < /proc/{}/environ", process.pid))
    }

    /// Makes a desktop's user, and the entry by which sessions start Monitor.
    pub(crate) fn install_desktop(&self) -> Result<()> {
        self.sh(&format!(
            "for user in caixa ana; do
                id $user 2>/dev/null || useradd --create-home --shell /bin/bash $user
            done
            cp --remove-destination {STANDIN} /usr/local/bin/desk
            mkdir -p /etc/xdg/autostart"
        ))?;
        let entry = format!(
            "[Desktop Entry]\nType=Application\nExec={}\n",
            MONITOR.script
        );
        self.write("/etc/xdg/autostart/cco-mon.desktop", &entry, 0o644)
    }

    /// Logs a user in at a display: a real session of logind's, in which `words` run as
    /// [`mfe_kit::STANDIN`]'s `desk` has them.
    pub(crate) fn log_in(&self, user: &str, display: u32, place: &str, words: &str) -> Result<()> {
        let number = display.to_string();
        let mut command = vec!["/usr/local/bin/desk", "-", "desk", &number];
        command.extend(words.split_whitespace());
        self.log_in_with(user, display, place, &command)
    }

    /// The same, whatever is run there; `place` may say of which type and class the session is.
    pub(crate) fn log_in_with(
        &self,
        user: &str,
        display: u32,
        place: &str,
        command: &[&str],
    ) -> Result<()> {
        let usual = ["XDG_SESSION_TYPE=x11", "XDG_SESSION_CLASS=user"].into_iter();
        let usual = usual.filter(|one| {
            let (name, _) = one.split_once('=').unwrap_or_default();
            !place.contains(name)
        });
        let usual: Vec<&str> = usual.collect();
        let environment = format!(
            "Environment={} DISPLAY=:{display} LANG=pt_BR.UTF-8 {place}",
            usual.join(" ")
        );
        let unit = format!("desk-{user}");
        let user = format!("User={user}");
        let session = [
            "systemd-run",
            "--quiet",
            "--unit",
            &unit,
            "-p",
            &user,
            "-p",
            "PAMName=login",
            "-p",
            &environment,
        ];
        self.ok(&[&session, command].concat())?;
        Ok(())
    }

    pub(crate) fn log_out(&self, user: &str) -> Result<()> {
        let unit = format!("desk-{user}.service");
        self.ok(&["systemctl", "stop", &unit])?;
        Ok(())
    }

    /// The name of a process's user.
    pub(crate) fn user_of(&self, process: Process) -> Result<String> {
        let user = self.sh(&format!("stat -c %U /proc/{}", process.pid))?;
        Ok(user.trim().to_owned())
    }

    /// Waits until the service says this state of a program.
    pub(crate) fn wait_state(&self, program: &Program, state: &str) -> Result<Value> {
        wait_for(&format!("{} is {state}", program.name), SOON, || {
            let status = self.status_of(program).unwrap_or_default();
            Ok((status["state"] == state).then_some(status))
        })
    }

    fn kill_programs(&self) -> Result<()> {
        wait_for("no program runs", SOON, || {
            let mut left = false;
            for program in PROGRAMS {
                for process in self.processes(&program)? {
                    left = true;
                    // It may have ended meanwhile.
                    self.run(&["sh", "-c", &format!("kill -KILL {}", process.pid)])?;
                }
            }
            Ok((!left).then_some(()))
        })
    }

    // The service.

    /// Driver and service, as they run all day. Gives the two programs, in the order of
    /// [`PROGRAMS`].
    pub(crate) fn all_day(&self) -> Result<[Process; 2]> {
        self.install_driver(Script::Stays)?;
        self.start()?;
        Ok([self.wait_up(&COMUNICADOR)?, self.wait_up(&MONITOR)?])
    }

    pub(crate) fn start(&self) -> Result<()> {
        self.ok(&["systemctl", "start", SERVICE])?;
        Ok(())
    }

    pub(crate) fn property(&self, unit: &str, name: &str) -> Result<String> {
        let line = self.ok(&["systemctl", "show", "--property", name, unit])?;
        let value = line
            .trim()
            .strip_prefix(name)
            .and_then(|rest| rest.strip_prefix('='));
        Ok(value
            .with_context(|| format!("{unit} has no {name}: {line}"))?
            .to_owned())
    }

    pub(crate) fn main_pid(&self) -> Result<i32> {
        Ok(self.property(SERVICE, "MainPID")?.parse()?)
    }

    /// Waits for a service that is ready and isn't `before`.
    pub(crate) fn wait_for_another(&self, before: i32, patience: Duration) -> Result<i32> {
        wait_for("another watchdog is ready", patience, || {
            let pid = self.main_pid()?;
            let ready = pid != 0 && pid != before && self.is_active()?;
            Ok(ready.then_some(pid))
        })
    }

    pub(crate) fn is_active(&self) -> Result<bool> {
        Ok(self.property(SERVICE, "ActiveState")? == "active")
    }

    /// What the service has published, if it is there and whole.
    pub(crate) fn status(&self) -> Option<Value> {
        serde_json::from_str(&self.read(STATUS)?).ok()
    }

    pub(crate) fn status_of(&self, program: &Program) -> Option<Value> {
        let status = self.status()?;
        let mut processes = status["processes"].as_array()?.iter();
        processes
            .find(|process| process["key"] == program.key)
            .cloned()
    }

    /// Removes the folder in which the service publishes. While that is done the service may write to it,
    /// and then it isn't empty after all.
    pub(crate) fn remove_runtime_folder(&self) -> Result<()> {
        wait_for("the folder is removed", SOON, || {
            let removed = self.run(&["rm", "-rf", "/run/mfe-watchdog"])?;
            Ok(removed.status.success().then_some(()))
        })
    }

    /// Waits until the service has said so many times that it has looked.
    pub(crate) fn wait_cycles(&self, cycles: usize) -> Result<()> {
        let mut moments = BTreeSet::new();
        wait_for(&format!("{cycles} cycles have passed"), SOON, || {
            let lock = self.ok(&["stat", "--format=%y", "/run/mfe-watchdog/lock"]);
            moments.extend(lock.ok());
            Ok((moments.len() > cycles).then_some(()))
        })
    }

    /// Waits until the service says this of a program.
    pub(crate) fn wait_detail(&self, program: &Program, words: &str) -> Result<()> {
        wait_for(
            &format!("the status of {} says: {words}", program.name),
            SOON,
            || {
                let status = self.status_of(program).unwrap_or_default();
                let detail = status["detail"].as_str().unwrap_or_default();
                Ok(detail.contains(words).then_some(()))
            },
        )
    }

    /// Neither was harmed: the same two processes, and no other of their names.
    pub(crate) fn unharmed(&self, before: &[Process; 2]) -> Result<()> {
        for (program, process) in PROGRAMS.iter().zip(before) {
            let now = self.processes(program)?;
            ensure!(
                now == [*process],
                "{} was {process:?} and is now {now:?}",
                program.name
            );
        }
        Ok(())
    }

    /// `mfe-watchdog status` ends like this.
    pub(crate) fn status_exits(&self, code: i32) -> Result<String> {
        expect_status(&self.run(&["mfe-watchdog", "status"])?, code)
    }

    // systemd.

    /// systemd itself stands still: no systemctl works any more.
    pub(crate) fn freeze_systemd(&self) -> Result<()> {
        self.container.signal_systemd(Signal::SIGSTOP)
    }

    pub(crate) fn thaw_systemd(&self) -> Result<()> {
        self.container.signal_systemd(Signal::SIGCONT)
    }

    // The journal.

    /// Stops the journal with its sockets, so that nobody starts it again.
    pub(crate) fn stop_journal(&self) -> Result<()> {
        self.sh(&format!(
            "systemctl stop {JOURNAL_SOCKETS} systemd-journald-audit.socket {JOURNAL}"
        ))?;
        Ok(())
    }

    pub(crate) fn start_journal(&self) -> Result<()> {
        self.sh(&format!("systemctl start {JOURNAL_SOCKETS} {JOURNAL}"))?;
        Ok(())
    }

    /// The journal stands still, and its queue is full.
    pub(crate) fn freeze_journal(&self) -> Result<()> {
        self.signal_journal("STOP")?;
        let socket = self.container.root().join("run/systemd/journal/socket");
        journal::fill(&socket).with_context(|| socket.display().to_string())
    }

    pub(crate) fn thaw_journal(&self) -> Result<()> {
        self.signal_journal("CONT")
    }

    fn signal_journal(&self, signal: &str) -> Result<()> {
        const PROCESS: Program = Program {
            key: "journal",
            name: "systemd-journal",
            script: "",
        };
        let journal = self.processes(&PROCESS)?;
        ensure!(journal.len() == 1, "the journal is {journal:?}");
        self.signal(signal, journal[0].pid)
    }

    /// What the journal has of a unit since the case began.
    pub(crate) fn journal(&self, unit: &str) -> Result<Vec<Value>> {
        self.ok(&["journalctl", "--sync"])?;
        let lines = self.ok(&["journalctl", "-u", unit, "-o", "json", &self.since()])?;
        let entries = lines.lines().map(serde_json::from_str);
        let mut entries = entries
            .collect::<Result<Vec<Value>, _>>()
            .context("the journal's JSON")?;
        let begin = self.journal_begins.load(Ordering::Relaxed);
        entries.retain(|entry| time_of(entry) > begin);
        Ok(entries)
    }

    /// The events about a program, or about the service itself.
    pub(crate) fn events(&self, program: Option<&Program>, event: &str) -> Result<Vec<Value>> {
        let entries = self.journal(SERVICE)?.into_iter();
        let key = program.map(|program| program.key);
        Ok(entries
            .filter(|entry| entry["MFE_EVENT"] == event && entry["MFE_PROCESS"].as_str() == key)
            .collect())
    }

    pub(crate) fn wait_event(&self, program: &Program, event: &str) -> Result<Value> {
        wait_for(
            &format!("the journal has {event} of {}", program.name),
            SOON,
            || Ok(self.events(Some(program), event)?.pop()),
        )
    }

    /// Every message of a unit since the case began, a line each.
    pub(crate) fn messages(&self, unit: &str) -> Result<String> {
        let entries = self.journal(unit)?;
        let lines = entries.iter().filter_map(|entry| entry["MESSAGE"].as_str());
        Ok(lines.collect::<Vec<_>>().join("\n"))
    }
}

/// When the journal took a message in, in microseconds since 1970.
pub(crate) fn time_of(entry: &Value) -> u64 {
    let time = entry["__REALTIME_TIMESTAMP"].as_str();
    time.and_then(|time| time.parse().ok()).unwrap_or_default()
}

fn deb_path(which: &str) -> String {
    format!("/root/mfe-watchdog-{which}.deb")
}

/// A configuration whose cycle is short enough for a test, and whose restarts never wait.
pub(crate) fn config(interval: &str, processes: &str) -> String {
    format!("interval = \"{interval}\"\nrestart_delay = \"0s\"\n{processes}")
}

pub(crate) fn by_command(program: &Program) -> String {
    let Program { key, name, script } = program;
    format!("\n[process.{key}]\nname = \"{name}\"\ncommand = [\"{script}\"]\n")
}

pub(crate) fn by_unit(program: &Program, unit: &str) -> String {
    let Program { key, name, .. } = program;
    format!("\n[process.{key}]\nname = \"{name}\"\nunit = \"{unit}\"\n")
}
