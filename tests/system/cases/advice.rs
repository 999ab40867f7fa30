//! What a cashier's user with a shell could change of what root runs, hold, read or forge; and that the
//! commands that `doctor` and `check` print take it out of their hands.

use anyhow::{Context, Result, ensure};

use super::doctor::finds;
use crate::till::{
    COMUNICADOR, CONFIG, MONITOR, PROGRAMS, SERVICE, SOON, STATE_DIR, Script, Till, by_command,
    config,
};
use mfe_kit::container::expect_status;
use mfe_kit::wait_for;

/// A user without privileges, as a prefix of its commands.
const AS_NOBODY: &str = "setpriv --reuid=65534 --regid=65534 --clear-groups";

/// Where that user can write, and nothing of the till's is.
const DESK: &str = "/run/case-desk";

/// What root would leave if it ran what that user has written.
const PWNED: &str = "/run/case-pwned";

const LIBRARY: &str = "/opt/sefaz/drs/libmfe.so";

/// What the cashier's Monitor writes, beside the programs.
const DATA: &str = "/opt/sefaz/cco/bin/it's data.db";

/// A script beside the others, of a name that a shell has to be told with care.
const ODD: &str = "/opt/sefaz/cco/bin/it's $(odd) & new.sh";

/// A hook of which an attacker knows the command.
const HOOK: &str = "/usr/local/bin/case-hook";

/// Opens files for writing while it may; on SIGUSR1 writes a script that tells that root ran it. Each is
/// tried by its name too.
const KEEP_OPEN: &str = r##"
my ($desk, $pwned, @files) = @ARGV;
my @open = map { open(my $file, "+<", $_) or die "$_: $!"; $file } @files;
sub note { open(my $note, ">", "$desk/$_[0]") or die; print $note "$_[1]\n"; close($note); }
my $evil = "#!/bin/sh\nid > $pwned\n#";
my %evil = map { $_ => /\.db$/ ? "sold: $pwned" : $evil } @files;
$SIG{USR1} = sub {
    for my $at (0 .. $#files) {
        seek($open[$at], 0, 0);
        syswrite($open[$at], $evil{$files[$at]}) or die;
    }
    my @by_name = grep { open(my $file, "+<", $_) } @files;
    note("wrote", "by name: @by_name");
};
note("ready", $$);
sleep(1) while 1;
"##;

/// Holds every file of a folder that it can open, by a read lock, for as long as it lives.
const HOLD: &str = r#"
use Fcntl;
my ($desk, @files) = @ARGV;
my $lock = pack("s s l! l! i", F_RDLCK, 0, 0, 0, 0);
my (@held, @refused);
for my $file (@files) {
    if (!open(my $open, "<", $file)) { push(@refused, $file); }
    elsif (fork() == 0) {
        # Waits for whoever has it now.
        fcntl($open, F_SETLKW, $lock);
        sleep(1) while 1;
    } else { push(@held, $file); }
}
open(my $note, ">", "$desk/held") or die;
print $note "held @held\nrefused @refused\n";
close($note);
sleep(1) while 1;
"#;

/// Looks like a hook, or a start, that a killed service has left: its arguments, its variables, a session
/// of its own, no parent. In its session lives a process of root's, as after su(1).
const FORGE: &str = r#"
use POSIX;
my ($desk, $name) = @ARGV;
my $root = fork();
if ($root == 0) { exec("sleep", "1000"); }
$) = "65534 65534"; $( = 65534; POSIX::setuid(65534);
open(my $note, ">", "$desk/$name") or die;
print $note "$$ $root\n";
close($note);
sleep(1) while 1;
"#;

/// Everything is open to all after `chmod 777 -R`, and somebody has used it. What is printed fixes it.
pub(super) fn hostile_open_tree(till: &Till) -> Result<()> {
    let before = till.all_day()?;
    till.write(LIBRARY, "\u{7f}ELF", 0o644)?;
    till.write(DATA, "sales", 0o644)?;
    till.write(ODD, "#!/bin/sh\n", 0o755)?;
    finds(till, &[])?;
    till.sh("chmod 777 -R /opt/sefaz")?;
    till.sh(&format!(
        "chmod 666 {CONFIG} && chmod 777 $(dirname {CONFIG})"
    ))?;
    desk(till)?;
    let shown = fixed(till);
    clear(till)?;
    shown?;
    // What was up is up, or was restarted as a person asked.
    for (program, before) in PROGRAMS.iter().zip(before) {
        let up = till.wait_up(program)?;
        ensure!(up != before, "{} still runs the old file", program.name);
    }
    Ok(())
}

fn fixed(till: &Till) -> Result<()> {
    let scripts = [COMUNICADOR.script, MONITOR.script];
    let held = [&scripts[..], &[LIBRARY, CONFIG, ODD, DATA]].concat();
    let attacker = keep_open(till, &held)?;

    let warned = till.sh("mfe-watchdog check 2>&1 >/dev/null")?;
    for words in ["could change this file", COMUNICADOR.script] {
        ensure!(warned.contains(words), "{warned}");
    }
    let commands = finds(till, &["others-can-change"])?;
    let portuguese = till.run(&["env", "LANG=pt_BR.UTF-8", "mfe-watchdog", "doctor"])?;
    let portuguese = expect_status(&portuguese, 1)?;
    for words in ["Alguém além do root", "Para desfazer:", "Quando ninguém"] {
        ensure!(portuguese.contains(words), "{portuguese}");
    }
    for line in commands.lines() {
        ensure!(portuguese.contains(line), "{line} isn't in: {portuguese}");
    }
    let is_comment = |line: &&str| line.trim_start().starts_with("# ");
    let (later, now): (Vec<&str>, Vec<&str>) = commands.lines().partition(is_comment);
    ensure!(
        now.iter().map(|line| line.len()).sum::<usize>() < 4000,
        "{commands}"
    );
    let run = |commands: &str| till.sh(&format!("sudo() {{ \"$@\"; }}\nset -e\n{commands}"));
    // The second time it has nothing to do, and does no harm.
    run(&commands)?;
    finds(till, &[])?;
    run(&commands)?;
    finds(till, &[])?;
    ensure!(till.sh("mfe-watchdog check 2>&1 >/dev/null")?.is_empty());

    till.signal("USR1", attacker)?;
    let wrote = wait_for("the attacker has written", SOON, || Ok(wrote(till)))?;
    ensure!(wrote == format!("by name: {DATA}"), "{wrote}");
    let data = till.read(DATA).context("the data is gone")?;
    ensure!(
        data.contains(PWNED),
        "the data of others was replaced: {data}"
    );
    for file in [&scripts[..], &[LIBRARY, CONFIG, ODD]].concat() {
        let text = till.read(file).with_context(|| file.to_owned())?;
        ensure!(!text.contains(PWNED), "{file} was changed: {text}");
    }
    for program in PROGRAMS {
        let folder = program.script.rsplit_once('/').context("a folder")?.0;
        for attack in [
            format!("echo > {}", program.path()),
            format!("mv {} {folder}/other", program.script),
            format!("rm -f {}", program.script),
            format!("echo > {folder}/new"),
            format!("echo > {STATE_DIR}/new"),
            format!("mv {folder} {folder}-other"),
            format!("mv {CONFIG} {CONFIG}.other"),
        ] {
            let tried = till.run(&["sh", "-c", &format!("{AS_NOBODY} sh -c '{attack}'")])?;
            ensure!(!tried.status.success(), "it worked: {attack}");
        }
    }
    // As it is printed, for when nobody is selling.
    let later = later
        .iter()
        .map(|line| line.trim_start().trim_start_matches("# "));
    let (restart, back): (Vec<&str>, Vec<&str>) =
        later.partition(|command| command.contains(" restart "));
    ensure!(restart.len() == PROGRAMS.len(), "{commands}");
    for (program, command) in PROGRAMS.iter().zip(restart) {
        let up = till.wait_up(program)?;
        // Refused for as long as the file is only just there.
        wait_for("it may be restarted", SOON, || Ok(run(command).ok()))?;
        wait_for("it is restarted", SOON, || {
            Ok((till.wait_up(program)? != up).then_some(()))
        })?;
    }
    till.ok(&["systemctl", "reload", SERVICE])?;
    ensure!(!till.exists(PWNED), "root ran it: {:?}", till.read(PWNED));

    run(&back.join("\n"))?;
    finds(till, &["others-can-change"])?;
    let again = format!("{AS_NOBODY} sh -c 'echo >> {}'", COMUNICADOR.script);
    till.sh(&again).context("it didn't go back")?;
    // What `check` prints on a terminal can be copied as well.
    let shown = till.sh("script -qec 'mfe-watchdog check' /dev/null")?;
    let commands = shown.lines().filter(|line| line.starts_with("    "));
    let commands: Vec<&str> = commands.map(str::trim_end).collect();
    ensure!(!commands.is_empty(), "no command: {shown}");
    run(&commands.join("\n"))?;
    finds(till, &[])?;
    Ok(())
}

/// Runs the attacker, and gives its pid once it has everything open.
fn keep_open(till: &Till, files: &[&str]) -> Result<i32> {
    let files: Vec<String> = files.iter().map(|file| quoted(file)).collect();
    attack(
        till,
        "keepopen",
        KEEP_OPEN,
        &format!("{PWNED} {}", files.join(" ")),
    )?;
    let ready = wait_for("the attacker is ready", SOON, || Ok(note(till, "ready")))?;
    Ok(ready.trim().parse()?)
}

fn wrote(till: &Till) -> Option<String> {
    Some(note(till, "wrote")?.trim().to_owned())
}

/// The service's files are held, and one of an earlier version's that everybody could open.
pub(super) fn hostile_locks(till: &Till) -> Result<()> {
    let before = till.all_day()?;
    desk(till)?;
    let shown = held(till);
    clear(till)?;
    shown?;
    till.unharmed(&before)
}

fn held(till: &Till) -> Result<()> {
    till.sh("chmod 644 /run/mfe-watchdog/lock")?;
    let files = till.sh(&format!("find /run/mfe-watchdog {STATE_DIR} -type f"))?;
    let files: Vec<&str> = files.lines().collect();
    ensure!(files.len() > 3, "{files:?}");
    attack(till, "hold", HOLD, &files.join(" "))?;
    let held = wait_for("the files are held", SOON, || Ok(note(till, "held")))?;
    ensure!(held.contains("/run/mfe-watchdog/lock"), "{held}");
    for how in ["restart", "kill"] {
        let service = till.main_pid()?;
        match how {
            "restart" => drop(till.ok(&["systemctl", "restart", SERVICE])?),
            _ => till.signal("KILL", service)?,
        }
        till.wait_for_another(service, SOON)?;
        for program in &PROGRAMS {
            till.wait_up(program)?;
        }
        till.status_exits(0)?;
        till.sh(&format!("{AS_NOBODY} mfe-watchdog status"))?;
        till.ok(&["mfe-watchdog", "pause", "--for", "1h", "monitor"])?;
        till.ok(&["mfe-watchdog", "resume", "monitor"])?;
        let second = till.run(&["mfe-watchdog", "run"])?;
        ensure!(!second.status.success(), "a second one runs beside it");
        let mode = till.sh("stat -c %a /run/mfe-watchdog/lock")?;
        ensure!(mode.trim() == "600", "the lock has mode {mode}");
    }
    let found = expect_status(&till.run(&["mfe-watchdog", "doctor"])?, 1)?;
    ensure!(!found.contains("service-not-running"), "{found}");
    Ok(())
}

/// A word that only those may know who may read the configuration isn't told by a copy of it.
pub(super) fn hostile_reader(till: &Till) -> Result<()> {
    const TOKEN: &str = "s3cr3t-of-the-shop";
    till.write(HOOK, "#!/bin/sh\n", 0o755)?;
    let processes = PROGRAMS.map(|program| by_command(&program)).concat();
    let hook =
        format!("\n[[hook]]\non = [\"up\"]\ncommand = [\"{HOOK}\", \"--token\", \"{TOKEN}\"]\n");
    till.configure(&config("200ms", &[processes, hook].concat()))?;
    till.sh(&format!("chmod 600 {CONFIG}"))?;
    till.all_day()?;
    let copies = "/run/mfe-watchdog/in-force.toml";
    let kept = format!("{STATE_DIR}/last-in-force.toml");
    for copy in [copies, &kept] {
        wait_for("the copy is there", SOON, || {
            Ok(till.exists(copy).then_some(()))
        })?;
        let of_root = till.sh(&format!("grep -c {TOKEN} {copy}"))?;
        ensure!(of_root.trim() == "1", "{copy} is no copy: {of_root}");
    }
    let seen =
        format!("{AS_NOBODY} grep -rs {TOKEN} {CONFIG} /run/mfe-watchdog {STATE_DIR} || true");
    let seen = till.sh(&seen)?;
    ensure!(seen.is_empty(), "it is told: {seen}");
    // Nor where only the folder keeps it.
    till.sh(&format!(
        "chmod 644 {CONFIG} && chmod 700 $(dirname {CONFIG})"
    ))?;
    let reloaded = till.ok(&["systemctl", "reload", SERVICE]);
    let seen = wait_for("the reload", SOON, || {
        let reloaded = !till.events(None, "reloaded")?.is_empty();
        Ok(reloaded.then(|| {
            till.sh(&format!(
                "{AS_NOBODY} grep -rs {TOKEN} /run/mfe-watchdog {STATE_DIR} || true"
            ))
        }))
    });
    till.sh(&format!("chmod 755 $(dirname {CONFIG}); rm -f {HOOK}"))?;
    reloaded?;
    let seen = seen??;
    ensure!(seen.is_empty(), "it is told: {seen}");
    Ok(())
}

/// The service is killed beside a hook that hangs, and somebody has made what looks like one, and like a
/// start: the hook is ended, and nobody else; nor does a start wait.
pub(super) fn hostile_leftovers(till: &Till) -> Result<()> {
    till.install_driver(Script::Stays)?;
    desk(till)?;
    // It hangs once: at its end the service would wait for the second one, too.
    let body = format!(
        "#!/bin/sh\n[ -e {STATE_DIR}/case-hook ] && exit 0\nsleep 1000 &\n\
         echo $$ $! > {STATE_DIR}/case-hook\nwait\n"
    );
    till.write(HOOK, &body, 0o755)?;
    let shown = forged(till);
    clear(till)?;
    till.sh(&format!("rm -f {HOOK} {STATE_DIR}/case-hook"))?;
    shown
}

fn forged(till: &Till) -> Result<()> {
    let hook = format!("\n[[hook]]\non = [\"down\"]\ncommand = [\"{HOOK}\"]\ntimeout = \"1h\"\n");
    let processes = PROGRAMS.map(|program| by_command(&program)).concat();
    let text = config("200ms", &[processes, hook].concat());
    // Whoever took the forged start for one would wait for it until tomorrow.
    till.configure(&format!("start_timeout = \"1h\"\n{text}"))?;
    till.start()?;
    let comunicador = till.wait_up(&COMUNICADOR)?;
    let monitor = till.wait_up(&MONITOR)?;

    let hook = forge(till, "hook", HOOK)?;
    let start = forge(till, "start", COMUNICADOR.script)?;
    let back = till.kill_and_wait(&COMUNICADOR, comunicador)?;
    let left = wait_for("the hook hangs", SOON, || {
        let pids = till
            .read(&format!("{STATE_DIR}/case-hook"))
            .unwrap_or_default();
        let pids: Vec<i32> = pids.split_whitespace().flat_map(str::parse).collect();
        Ok((pids.len() == 2).then_some(pids))
    })?;
    let service = till.main_pid()?;
    // Both at once: what was up before is down when the next run looks.
    till.sh(&format!(
        "kill -STOP {service}; kill -KILL {}; kill -KILL {service}",
        back.pid
    ))?;
    till.wait_for_another(service, SOON)?;
    let told = wait_for("what was left is told", SOON, || {
        let said = till.messages(SERVICE)?;
        let line = said
            .lines()
            .find(|line| line.contains("was killed beside checks or hooks"));
        Ok(line.map(str::to_owned))
    })?;
    let only = format!("(pid {}, {})", left[0], left[1]);
    ensure!(told.contains(&only), "not {only}: {told}");
    wait_for("the end of the hook", SOON, || {
        Ok((!left.iter().any(|pid| lives(till, *pid))).then_some(()))
    })?;
    for pid in hook.iter().chain(&start) {
        ensure!(
            lives(till, *pid),
            "pid {pid} was ended, which is nobody of ours"
        );
    }
    till.wait_up(&COMUNICADOR)?;
    till.wait_up(&MONITOR)?;
    ensure!(till.processes(&MONITOR)? == [monitor], "Monitor was harmed");
    Ok(())
}

/// Makes a process that looks like `command`, left by a service that was killed; gives its pid, and that of a
/// process of root's in its session.
fn forge(till: &Till, name: &str, command: &str) -> Result<[i32; 2]> {
    till.write(&format!("{DESK}/forge.pl"), FORGE, 0o644)?;
    till.sh(&format!(
        "MFE_EVENT=down MFE_PROCESS=comunicador setsid perl {DESK}/forge.pl {DESK} {name} {command} \
         >/dev/null 2>&1 </dev/null &"
    ))?;
    let pids = wait_for("the forged one runs", SOON, || {
        let pids = note(till, name).unwrap_or_default();
        let mut pids = pids.split_whitespace().filter_map(|pid| pid.parse().ok());
        Ok(pids.next().zip(pids.next()))
    })?;
    let pids = [pids.0, pids.1];
    let stat = till
        .read(&format!("/proc/{}/stat", pids[0]))
        .unwrap_or_default();
    let parent = stat
        .rsplit_once(") ")
        .and_then(|(_, rest)| rest.split(' ').nth(1));
    ensure!(parent == Some("1"), "it has a parent: {stat}");
    Ok(pids)
}

fn lives(till: &Till, pid: i32) -> bool {
    let stat = till.read(&format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

// The attacker's desk.

fn desk(till: &Till) -> Result<()> {
    till.sh(&format!("rm -rf {DESK} {PWNED}; mkdir -m 777 {DESK}"))?;
    Ok(())
}

/// Ends whatever runs from the desk, and removes it.
fn clear(till: &Till) -> Result<()> {
    till.sh(&format!(
        "for process in /proc/[0-9]*; do
            pid=${{process#/proc/}}
            if grep -qs {DESK} $process/cmdline && test $pid != $$; then
                kill -KILL -$pid $pid 2>/dev/null
            fi
        done
        rm -rf {DESK} {PWNED}; chmod 755 $(dirname {CONFIG}); true"
    ))?;
    Ok(())
}

/// Runs a Perl program as the unprivileged user, in the background.
fn attack(till: &Till, name: &str, program: &str, arguments: &str) -> Result<()> {
    let file = format!("{DESK}/{name}.pl");
    till.write(&file, program, 0o644)?;
    till.sh(&format!(
        "setsid {AS_NOBODY} perl {file} {DESK} {arguments} >/dev/null 2>{DESK}/{name}.error </dev/null &"
    ))?;
    Ok(())
}

/// What somebody has left on the desk, once it is whole.
fn note(till: &Till, name: &str) -> Option<String> {
    let text = till.read(&format!("{DESK}/{name}"))?;
    text.ends_with('\n').then_some(text)
}

fn quoted(path: &str) -> String {
    format!("'{}'", path.replace('\'', "'\\''"))
}
