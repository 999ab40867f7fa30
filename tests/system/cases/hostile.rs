//! A cashier has a shell: whatever he runs, the programs are brought back as fast as without it, and what
//! passes for one of them is told. Whoever attacks is an ordinary user.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};

use crate::till::{
    COMUNICADOR, MONITOR, Process, Program, SERVICE, SOON, STARTS, Script, Till, by_command, config,
};
use mfe_kit::container::expect_status;
use mfe_kit::wait_for;

/// Who attacks.
const USER: &str = "operador";
const HOME: &str = "/home/operador";

/// What he runs is in a unit of this name, so that it can be ended as a whole.
const ATTACK: &str = "case-attack.service";

/// How often each restart is timed: the fastest counts, for the machine has other work too.
const TIMES: usize = 5;

/// A process whose arguments can't be read: a file lies where they were, which the kernel doesn't read. What
/// perl itself needs of its stack lies below them, at a distance that differs each time: it begins again until
/// none of that is in the way.
const NO_ARGUMENTS: &str = r#"
use POSIX;
my $try = $ENV{TRY}++;
open my $stat, '<', '/proc/self/stat' or die $!;
my $text = join '', <$stat>;
$text =~ s/.*\) //s;
my @fields = split ' ', $text;
my ($stack, $from) = ($fields[25], $fields[45] & ~4095);
if (!$try || $stack + 2048 > $from) {
    die 'the stack is in the way' if $try > 200;
    exec $^X, $0, $ARGV[0], ('x' x 30_000) x 3 or die $!;
}
open my $name, '>', '/proc/self/comm' or die $!;
syswrite $name, $ARGV[0];
my %calls = (x86_64 => 9, aarch64 => 222);
my $call = $calls{(POSIX::uname())[4]} or die 'an unknown machine';
open my $file, '<', $^X or die $!;
my $at = syscall($call, $from, 65536, 1, 0x12, fileno $file, 0);
die "mmap: $!" if $at == -1;
sleep 1000 while 1;
"#;

/// A file system of the user's own (fuse(4), in his mount namespace) that has one file, and answers until the
/// program in it has noted its start: whoever asks it anything from then on waits for ever.
const HANGS: &str = r#"
my ($folder, $name, $home) = @ARGV;
my ($program, $note) = ("$home/$name", "$home/$name.starts");
unlink $note;
open my $file, '<:raw', $program or die "$program: $!";
my $text = do { local $/; <$file> };
$^F = 255;
open my $fuse, '+<', '/dev/fuse' or die "/dev/fuse: $!";
my $options = 'rootmode=40000,user_id=0,group_id=0,fd=' . fileno $fuse;
system('mount', '-i', '-t', 'fuse', '-o', $options, 'none', $folder) == 0 or die 'mount';
my $server = fork // die $!;
if ($server) {
    close $fuse;
    exec "$folder/$name", $home or die $!;
}
sub attributes {
    my ($mode, $size) = $_[0] == 1 ? (0040755, 0) : (0100755, length $text);
    pack 'Q6L10', $_[0], $size, $size / 512 + 1, 0, 0, 0, 0, 0, 0, $mode, 1, 0, 0, 0, 4096, 0;
}
my %answers = (
    1 => sub { $_[1] eq "$name\0" ? pack('Q4L2', 2, 0, 0, 0, 0, 0) . attributes(2) : undef }, # LOOKUP
    3 => sub { pack('QL2', 0, 0, 0) . attributes($_[0]) }, # GETATTR
    14 => sub { pack 'QL2', 0, 0, 0 }, # OPEN
    15 => sub { # READ
        my ($handle, $offset, $size) = unpack 'QQL', $_[1];
        $offset < length $text ? substr $text, $offset, $size : '';
    },
    26 => sub { pack 'L4S2L2S2L8', 7, 31, 65536, 0, 9, 9, 65536, 1, (0) x 10 }, # INIT
);
# Neither FORGET nor INTERRUPT nor BATCH_FORGET is answered.
my %unanswered = (2 => 1, 36 => 1, 42 => 1);
while (sysread $fuse, my $request, 1 << 20) {
    sleep 1000 while -e $note;
    my ($length, $operation, $unique, $node) = unpack 'LLQQ', $request;
    next if $unanswered{$operation};
    my $answer = $answers{$operation} && $answers{$operation}->($node, substr $request, 40);
    my $error = defined $answer ? 0 : $operation == 1 ? -2 : -38;
    $answer //= '';
    syswrite $fuse, pack('LlQ', 16 + length $answer, $error, $unique) . $answer;
}
"#;

/// Runs a case against what the user has set going, and ends that.
fn against(till: &Till, case: impl FnOnce() -> Result<()>) -> Result<()> {
    // An attack that has failed leaves nothing half done.
    let _alone = ATTACKED.lock().unwrap_or_else(PoisonError::into_inner);
    till.sh(&format!(
        "id {USER} >/dev/null 2>&1 || useradd --create-home --shell /bin/sh {USER}
        cp /root/standin {HOME}/Monitor; cp /root/standin {HOME}/Comunicador
        cp /root/standin {HOME}/java; chown -R {USER}: {HOME}
        [ -e /dev/fuse ] || mknod /dev/fuse c 10 229; chmod 666 /dev/fuse"
    ))?;
    till.write(&format!("{HOME}/no-arguments.pl"), NO_ARGUMENTS, 0o644)?;
    till.write(&format!("{HOME}/hangs.pl"), HANGS, 0o644)?;
    let outcome = case();
    let ended = stop_attack(till);
    // The service may have a crowd to remember.
    till.sh(&format!(
        "systemctl stop {SERVICE}; rm -rf {HOME}/[!.]*; systemctl reset-failed"
    ))?;
    outcome.and(ended)
}

fn stop_attack(till: &Till) -> Result<()> {
    till.sh(&format!(
        "systemctl kill --signal=KILL {ATTACK} 2>/dev/null
        systemctl stop {ATTACK} 2>/dev/null; systemctl reset-failed {ATTACK} 2>/dev/null; true"
    ))?;
    Ok(())
}

/// Has the user run something, until [`against`] ends it.
fn attack(till: &Till, line: &str) -> Result<()> {
    stop_attack(till)?;
    till.ok(&[
        "systemd-run",
        &format!("--unit={ATTACK}"),
        &format!("--uid={USER}"),
        "--property=TasksMax=20000",
        &format!("--property=WorkingDirectory={HOME}"),
        "sh",
        "-c",
        line,
    ])?;
    Ok(())
}

/// Waits until so many processes of a program's name live, but for the program's own.
fn wait_attackers(till: &Till, program: &Program, count: usize) -> Result<()> {
    wait_for(
        &format!("{count} of the user's are called {}", program.name),
        3 * SOON,
        || Ok((till.processes(program)?.len() > count).then_some(())),
    )
}

/// The section of a program, by rules that nobody else can keep to.
fn by_rules(program: &Program) -> String {
    let rules = format!("exe = \"{}\"\nuser = \"root\"\n", program.path());
    by_command(program) + &rules
}

/// A driver whose programs note when they begin.
fn install(till: &Till) -> Result<()> {
    till.install_driver(Script::Stays)?;
    for program in [&COMUNICADOR, &MONITOR] {
        let (key, path) = (program.key, program.path());
        let text = format!("#!/bin/sh\necho $$ >> {STARTS}/{key}\nexec {path} {STARTS}\n");
        till.write(program.script, &text, 0o755)?;
    }
    Ok(())
}

/// The last start of a program that isn't this process: its pid, and when it began since 1970. A program
/// runs a moment before it has noted that.
fn last_start(till: &Till, program: &Program, but: Option<i32>) -> Result<(i32, Duration)> {
    let noted = || {
        let starts = till.read(&format!("{STARTS}/{}.starts", program.name))?;
        let (pid, began) = starts.lines().last()?.split_once(' ')?;
        let (pid, began) = (pid.parse().ok()?, began.parse().ok()?);
        (Some(pid) != but).then(|| (pid, Duration::from_nanos(began)))
    };
    wait_for(
        &format!("{} is started", program.name),
        SOON,
        || Ok(noted()),
    )
}

/// Kills a program and waits for its next start; gives how long it was gone.
fn outage(till: &Till, program: &Program) -> Result<Duration> {
    let (pid, _) = last_start(till, program, None)?;
    let killed = till.kill_and_tell_when(pid)?;
    let (_, began) = last_start(till, program, Some(pid))?;
    Ok(began.saturating_sub(killed))
}

/// The shortest of some outages, between which the service takes in that the program is up.
fn shortest_outage(till: &Till, program: &Program) -> Result<Duration> {
    let mut shortest = Duration::MAX;
    for _ in 0..TIMES {
        shortest = shortest.min(outage(till, program)?);
        till.wait_cycles(2)?;
    }
    Ok(shortest)
}

/// What a restart may take longer on a machine with so much more to do, which other tests share.
const BUSY: Duration = Duration::from_millis(250);

/// One suite is attacked at a time: the others' crowds would be timed, too.
static ATTACKED: Mutex<()> = Mutex::new(());

/// With what the user runs a restart takes no more than twice as long as without.
fn as_fast(before: Duration, now: Duration) -> Result<()> {
    let allowed = 2 * before + BUSY;
    ensure!(now <= allowed, "{now:?}, and {before:?} without the attack");
    Ok(())
}

/// How many messages there are of one kind, and the last one's text.
fn messages(till: &Till, program: &Program, event: &str) -> Result<Vec<String>> {
    let events = till.events(Some(program), event)?;
    let texts = events.iter().filter_map(|event| event["MESSAGE"].as_str());
    Ok(texts.map(str::to_owned).collect())
}

/// A message names the user and what he runs.
fn wait_told(till: &Till, program: &Program, event: &str, path: &str) -> Result<String> {
    wait_for(
        &format!("{event} names {USER} and {path}"),
        Duration::from_secs(60),
        || {
            let texts = messages(till, program, event)?;
            let is_told = |text: &String| text.contains(USER) && text.contains(path);
            Ok(texts.into_iter().find(is_told))
        },
    )
}

/// Nine hundred of a name, which is all that the configuration asks for: systemd hears that the service is
/// ready and alive, the other program is restarted at once, and what is told is short.
pub(super) fn attack_by_a_crowd(till: &Till) -> Result<()> {
    against(till, || {
        install(till)?;
        till.drop_in(SERVICE, "[Service]\nWatchdogSec=6s\n")?;
        till.start()?;
        till.wait_up(&COMUNICADOR)?;
        till.wait_up(&MONITOR)?;
        let before = shortest_outage(till, &COMUNICADOR)?;
        let service = till.main_pid()?;
        attack(till, &format!("exec ./Monitor {HOME} churn 900"))?;
        wait_attackers(till, &MONITOR, 900)?;
        as_fast(before, shortest_outage(till, &COMUNICADOR)?)?;
        wait_told(till, &MONITOR, "duplicate", &format!("{HOME}/Monitor"))?;
        till.status_exits(1)?;

        let begin = SystemTime::now();
        wait_for("three times WatchdogSec= have passed", SOON, || {
            Ok((begin.elapsed()? > Duration::from_secs(18)).then_some(()))
        })?;
        ensure!(
            till.main_pid()? == service,
            "systemd has killed the service"
        );
        till.ok(&["systemctl", "restart", SERVICE])?;
        let restarted = till.main_pid()?;
        ensure!(restarted != service, "it isn't another one");
        let line = wait_for("systemd has the words", SOON, || {
            let line = till.property(SERVICE, "StatusText")?;
            Ok(line.contains(" more)").then_some(line))
        })?;
        ensure!(line.len() < 3600, "{line}");
        // That they are copies is told once they have lived beside each other for a while.
        let shown = wait_for(
            "status says that not all is well",
            Duration::from_secs(60),
            || Ok(till.status_exits(1).ok()),
        )?;
        ensure!(shown.contains(" and ") && shown.len() < 4096, "{shown}");
        let told = messages(till, &MONITOR, "duplicate")?;
        ensure!(told.len() < 40, "{} messages: {told:#?}", told.len());
        let descriptors = till.sh(&format!("ls /proc/{restarted}/fd | wc -l"))?;
        let descriptors: usize = descriptors.trim().parse()?;
        ensure!(descriptors < 100, "{descriptors} descriptors are open");
        Ok(())
    })
}

/// The same where `exe` and `user` are set: the program itself is restarted as fast as without, and three of
/// the crowd are told, and how many others there are.
pub(super) fn attack_by_a_crowd_beside_the_rules(till: &Till) -> Result<()> {
    against(till, || {
        install(till)?;
        let processes = by_rules(&COMUNICADOR) + &by_rules(&MONITOR);
        till.configure(&config("200ms", &processes))?;
        till.start()?;
        till.wait_up(&MONITOR)?;
        let before = shortest_outage(till, &MONITOR)?;
        attack(till, &format!("exec ./Monitor {HOME} churn 900"))?;
        wait_attackers(till, &MONITOR, 900)?;
        as_fast(before, shortest_outage(till, &MONITOR)?)?;
        // All processes are looked at, which else comes every 45 s.
        till.ok(&["systemctl", "reload", SERVICE])?;
        wait_told(till, &MONITOR, "impostor", &format!("{HOME}/Monitor"))?;
        wait_for("the others are counted", SOON, || {
            let told = messages(till, &MONITOR, "impostor")?;
            let is_count = |text: &String| text.contains(" more programs are named Monitor");
            Ok(told.into_iter().find(is_count))
        })?;
        let told = messages(till, &MONITOR, "impostor")?;
        ensure!(told.len() < 40, "{} messages: {told:#?}", told.len());
        till.status_exits(0)?;
        Ok(())
    })
}

/// Long arguments of many, which `cmdline` has to be compared with: the other program is restarted as fast as
/// without, and the service is ready as soon.
pub(super) fn attack_by_long_arguments(till: &Till) -> Result<()> {
    against(till, || {
        install(till)?;
        let java = "\n[process.java]\nname = \"java\"\ncommand = [\"/bin/true\"]\n\
                    cmdline = \"-jar .*/monitor[.]jar\"\ndry_run = true\n";
        let processes = by_command(&COMUNICADOR) + java;
        till.configure(&config("200ms", &processes))?;
        till.start()?;
        till.wait_up(&COMUNICADOR)?;
        let before = shortest_outage(till, &COMUNICADOR)?;
        let line = format!("exec ./java {HOME} churn 400 60000");
        attack(till, &line)?;
        let java = Program {
            key: "java",
            name: "java",
            script: "",
        };
        wait_attackers(till, &java, 400)?;
        as_fast(before, shortest_outage(till, &COMUNICADOR)?)?;
        let begin = SystemTime::now();
        till.ok(&["systemctl", "restart", SERVICE])?;
        let ready = begin.elapsed()?;
        ensure!(ready < Duration::from_secs(10), "ready after {ready:?}");
        as_fast(before, shortest_outage(till, &COMUNICADOR)?)
    })
}

/// What can't be read of a process of the user's own, by whatever trick, is no reason not to look.
pub(super) fn attack_by_what_cannot_be_read(till: &Till) -> Result<()> {
    against(till, || {
        install(till)?;
        let path = COMUNICADOR.path();
        let rules = |rules: &str| by_command(&COMUNICADOR) + rules;
        let exe = format!("exe = \"{path}\"\n");
        let user = "user = \"root\"\n".to_owned();
        let cmdline = format!("cmdline = \"^{path} {STARTS}$\"\n");
        let no_arguments = "exec perl no-arguments.pl Comunicador";
        let deep = format!("exec ./Comunicador {HOME} deep");
        let comes_and_goes = format!("exec ./Comunicador {HOME} churn 20");
        // Who is in a PID namespace, and in so many groups that a status is longer than a page.
        let groups: Vec<String> = (20_001..20_700).map(|group| group.to_string()).collect();
        let hidden = format!(
            "setsid setpriv --reuid {USER} --regid {USER} --groups {} unshare --user \
             --map-root-user --pid --fork --kill-child {HOME}/Comunicador </dev/null >/dev/null \
             2>&1 &",
            groups.join(",")
        );
        for (rule, line) in [
            (exe.clone() + &user, deep.as_str()),
            (exe.clone() + &user, no_arguments),
            (exe.clone() + &user + &cmdline, no_arguments),
            (exe.clone() + &user, &comes_and_goes),
            (exe.clone(), &deep),
            (cmdline, no_arguments),
            (String::new(), &hidden),
        ] {
            let what = format!("{rule:?} against {line}");
            till.ok(&["systemctl", "stop", SERVICE])?;
            end_all(till)?;
            till.configure(&config("200ms", &rules(&rule)))?;
            till.start()?;
            let up = till.wait_up(&COMUNICADOR)?;
            let before = shortest_outage(till, &COMUNICADOR)?;
            if line == hidden {
                till.sh(line)?;
            } else {
                attack(till, line)?;
            }
            wait_attackers(till, &COMUNICADOR, 1).with_context(|| what.clone())?;
            let is_judged_by_user = rule.contains(&user);
            let is_doubtful_for_seconds = line == no_arguments && !is_judged_by_user;
            if is_doubtful_for_seconds {
                outage(till, &COMUNICADOR).with_context(|| what.clone())?;
            } else {
                let now = shortest_outage(till, &COMUNICADOR).with_context(|| what.clone())?;
                as_fast(before, now).with_context(|| what.clone())?;
            }
            stop_attack(till)?;
            ensure!(up.pid > 0);
        }
        Ok(())
    })
}

/// A link to su, and a file that is mounted over the program's for the user alone, on a file system that
/// doesn't answer too, pass for the program by name: that is told with user and path, and `status` says that
/// not all is well. By `exe` and `user` they don't, and keep nothing from being restarted.
pub(super) fn attack_by_what_passes_for_the_program(till: &Till) -> Result<()> {
    against(till, || {
        install(till)?;
        let path = COMUNICADOR.path();
        let attackers = [
            (su(), "/bin/su"),
            (mounted(), path.as_str()),
            (hanging(), path.as_str()),
        ];
        for (line, told) in attackers {
            let rules = config("200ms", &by_rules(&COMUNICADOR));
            let by_name = config("200ms", &by_command(&COMUNICADOR));
            restart_with(till, &rules)?;
            let before = shortest_outage(till, &COMUNICADOR)?;
            attack(till, &line)?;
            wait_attackers(till, &COMUNICADOR, 1).with_context(|| line.clone())?;
            as_fast(before, shortest_outage(till, &COMUNICADOR)?).with_context(|| line.clone())?;
            stop_attack(till)?;

            restart_with(till, &by_name)?;
            attack(till, &line)?;
            wait_attackers(till, &COMUNICADOR, 1)?;
            wait_told(till, &COMUNICADOR, "duplicate", told).with_context(|| line.clone())?;
            till.status_exits(1)?;
            // Alone it passes for the program, which is told too.
            let (pid, _) = last_start(till, &COMUNICADOR, None)?;
            till.signal("KILL", pid)?;
            wait_told(till, &COMUNICADOR, "unhealthy", told).with_context(|| line.clone())?;
            till.status_exits(1)?;
            stop_attack(till)?;
            till.wait_up(&COMUNICADOR)?;
            wait_for("all is well again", SOON, || Ok(till.status_exits(0).ok()))?;
        }
        // Where the service has never seen the program, what anybody can have started is told as that.
        till.ok(&["systemctl", "stop", SERVICE])?;
        end_all(till)?;
        till.sh("rm -rf /var/lib/mfe-watchdog/*")?;
        attack(till, &format!("exec ./Comunicador {HOME}"))?;
        wait_for("it runs", SOON, || Ok(till.processes(&COMUNICADOR)?.pop()))?;
        till.start()?;
        let its = format!("{HOME}/Comunicador");
        wait_told(till, &COMUNICADOR, "adopted", &its)?;
        wait_told(till, &COMUNICADOR, "unhealthy", &its)?;
        till.status_exits(1)?;
        Ok(())
    })
}

/// What `user` or `exe` alone refuses since it is more exact may be what an earlier version took for the
/// program: nothing is started beside it, and that is told.
pub(super) fn attack_by_what_one_rule_refuses(till: &Till) -> Result<()> {
    against(till, || {
        install(till)?;
        let exe = format!("exe = \"{}\"\n", COMUNICADOR.path());
        let attackers = [
            (su(), "user = \"root\"\n"),
            (mounted(), exe.as_str()),
            (hanging(), exe.as_str()),
        ];
        for (line, rule) in attackers {
            let rules = config("200ms", &(by_command(&COMUNICADOR) + rule));
            restart_with(till, &rules)?;
            attack(till, &line)?;
            wait_attackers(till, &COMUNICADOR, 1)?;
            let starts = till.starts(&COMUNICADOR);
            let (pid, _) = last_start(till, &COMUNICADOR, None)?;
            till.signal("KILL", pid)?;
            wait_told(till, &COMUNICADOR, "misfit", "Comunicador")?;
            till.wait_cycles(3)?;
            ensure!(till.starts(&COMUNICADOR) == starts, "a second copy: {line}");
            till.status_exits(1)?;
            expect_status(&till.run(&["mfe-watchdog", "doctor"])?, 1)?;
            stop_attack(till)?;
            till.wait_up(&COMUNICADOR)?;
        }
        Ok(())
    })
}

/// A set-user-ID program under a link of the program's name, which waits for a password.
fn su() -> String {
    "ln -sf $(command -v su) link-su; rm -rf links; mkdir links; ln -s ../link-su \
     links/Comunicador; rm -f pipe; mkfifo pipe; sleep 1000 > pipe & exec links/Comunicador root \
     < pipe"
        .to_owned()
}

/// Another file under the path of the program, in a mount namespace of the user's own.
fn mounted() -> String {
    let path = COMUNICADOR.path();
    format!(
        "exec unshare --user --map-root-user --mount sh -c 'mount --bind {HOME}/Comunicador {path} \
         && exec {path} {HOME}'"
    )
}

/// The same on a file system that gives no answer once it runs.
fn hanging() -> String {
    let path = COMUNICADOR.path();
    let (folder, name) = path.rsplit_once('/').unwrap_or_default();
    format!("exec unshare --user --map-root-user --mount perl hangs.pl {folder} {name} {HOME}")
}

/// Ends whatever is called Comunicador, and forgets its starts.
fn end_all(till: &Till) -> Result<()> {
    wait_for("nothing is called Comunicador", SOON, || {
        let left = till.processes(&COMUNICADOR)?;
        for process in &left {
            till.sh(&format!("kill -KILL {} 2>/dev/null; true", process.pid))?;
        }
        Ok(left.is_empty().then_some(()))
    })?;
    till.sh(&format!("rm -f {STARTS}/{}.starts", COMUNICADOR.name))?;
    Ok(())
}

/// Has the service run with a configuration and the program up, whatever was before.
fn restart_with(till: &Till, config: &str) -> Result<Process> {
    till.ok(&["systemctl", "stop", SERVICE])?;
    till.configure(config)?;
    end_all(till)?;
    till.remember_journal()?;
    till.start()?;
    till.wait_up(&COMUNICADOR)
}
