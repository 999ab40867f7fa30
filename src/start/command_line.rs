//! Tells from a command line, as a shell script, a table of cron's or a unit has it, whether it starts
//! one of the programs; who runs such lines is found by [`super::starters`] and [`crate::doctor`].

use crate::config::{ProcessSettings, Settings, Start};

/// The services by which the vendor's driver starts its programs at boot.
pub(crate) const VENDOR: [&str; 2] = ["cco-ser.service", "mfe-https-ser.service"];

/// Folders of programs that run others: of a command such as `/usr/bin/nohup /opt/x/start.sh` what lies
/// elsewhere is meant.
const SYSTEM_FOLDERS: [&str; 6] = [
    "/bin/",
    "/sbin/",
    "/usr/bin/",
    "/usr/sbin/",
    "/lib/",
    "/usr/lib/",
];

/// Words before a program that is run.
const BEFORE_A_PROGRAM: [&str; 23] = [
    "!", "bash", "dash", "do", "elif", "else", "env", "exec", "if", "ionice", "nice", "nohup",
    "setsid", "sh", "stdbuf", "su", "sudo", "then", "time", "timeout", "until", "while", "{",
];

/// Programs that speak of a file or of a process and start nothing.
const ONLY_NAME: [&str; 30] = [
    "[", "[[", "awk", "cat", "cd", "chgrp", "chmod", "chown", "cp", "du", "echo", "file", "find",
    "grep", "kill", "killall", "ln", "logger", "ls", "mkdir", "mv", "pgrep", "pidof", "pkill",
    "printf", "rm", "stat", "tail", "test", "touch",
];

/// What is asked of a service, if it is to run afterwards.
const VERBS: [&str; 3] = ["start", "restart", "reload-or-restart"];

/// What `line` starts, if anything that is configured or the vendor's: a program's name, or that of a
/// service; printable.
pub(crate) fn started_by(line: &str, settings: &Settings) -> Option<String> {
    commands(line).find_map(|words| {
        let mut processes = settings.processes.iter();
        let process = processes.find(|process| is_started(process, &words));
        let name = process.map(|process| process.name().to_string());
        name.or_else(|| vendor_service(&words))
    })
}

/// Whether `line` starts this process.
pub(crate) fn starts(line: &str, process: &ProcessSettings) -> bool {
    commands(line).any(|words| is_started(process, &words))
}

/// The files that `line` may run, other than programs of the system's.
pub(crate) fn files_run_by(line: &str) -> impl Iterator<Item = &str> {
    let words = commands(line).flatten().map(value);
    words.filter(|word| may_be_a_script(word))
}

/// The words of each command that runs something, from that on.
fn commands(line: &str) -> impl Iterator<Item = Vec<&str>> {
    // Quotes hold further commands, as in `sh -c '…'`, more often than a separator that is meant as such.
    let commands = code(line).split([';', '&', '|', '(', ')', '`', '\n']);
    commands.filter_map(|command| {
        let words = command.split([' ', '\t', '\'', '"']);
        let words = words.filter(|word| !word.is_empty());
        let words: Vec<&str> = words.skip_while(is_before_a_program).collect();
        let program = words.first()?;
        (!ONLY_NAME.contains(&base_name(program))).then_some(words)
    })
}

/// A line without its comment.
fn code(line: &str) -> &str {
    let comment = line.match_indices('#').map(|(at, _)| at);
    let mut comment = comment.filter(|at| line[..*at].ends_with([' ', '\t', '\n']) || *at == 0);
    &line[..comment.next().unwrap_or(line.len())]
}

/// Whether the program to be run comes later: an option, a variable, or a program that runs another.
fn is_before_a_program(word: &&str) -> bool {
    let is_assignment = word.contains('=') && !word.contains('/');
    let is_number = word.bytes().all(|byte| byte.is_ascii_digit());
    let is_option = word.starts_with('-') && !word.contains('/');
    is_option || is_assignment || is_number || BEFORE_A_PROGRAM.contains(&base_name(word))
}

/// Whether a command of these words, which begin with its program, starts the process.
fn is_started(process: &ProcessSettings, words: &[&str]) -> bool {
    let name = process.name();
    let is_program = |word: &str| name.is_base_name_of(word.as_bytes());
    // A path at the root, such as that of a folder for logs, is none of a program.
    let is_path = |word: &str| word.rfind('/').is_some_and(|at| at > 0) && is_program(word);
    let is_script = |word: &str| {
        scripts(process).any(|script| {
            word == script || !word.starts_with('/') && base_name(word) == base_name(script)
        })
    };
    let unit = match &process.start {
        Start::Unit(unit) => is_asked_of(unit, words),
        Start::Command(_) => false,
    };
    let mut values = words.iter().map(|word| value(word));
    unit || is_program(value(words[0])) || values.any(|word| is_path(word) || is_script(word))
}

/// The files of a process's start command, whichever interpreter runs them.
pub(super) fn scripts(process: &ProcessSettings) -> impl Iterator<Item = &str> {
    let command = match &process.start {
        Start::Command(command) => command.as_slice(),
        Start::Unit(_) => &[],
    };
    let is_file = |word: &&String| word.starts_with('/');
    let has_own = command.iter().any(|word| may_be_a_script(word));
    let files = command.iter().filter(is_file);
    files
        .filter(move |word| !has_own || may_be_a_script(word))
        .map(String::as_str)
}

/// The vendor's service that is started by these words.
fn vendor_service(words: &[&str]) -> Option<String> {
    let service = VENDOR.iter().find(|unit| is_asked_of(unit, words))?;
    Some((*service).to_owned())
}

/// Whether `unit` is asked to run, by systemctl, service or its init script.
fn is_asked_of(unit: &str, words: &[&str]) -> bool {
    let stem = unit.strip_suffix(".service").unwrap_or(unit);
    let is_unit = |word: &str| base_name(word) == unit || base_name(word) == stem;
    words.iter().any(|word| is_unit(word)) && words.iter().any(|word| VERBS.contains(word))
}

/// What a word stands for: of `DAEMON=/opt/x`, and of a unit's `-/opt/x`, the path
/// (systemd.service(5), "COMMAND LINES").
fn value(word: &str) -> &str {
    let word = word.trim_start_matches(['@', '-', ':', '+', '!']);
    word.split_once('=').map_or(word, |(_, value)| value)
}

fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

/// Whether a file of this path is a script of the administrator's or the vendor's, not the system's.
pub(crate) fn may_be_a_script(path: &str) -> bool {
    path.starts_with('/') && !SYSTEM_FOLDERS.iter().any(|folder| path.starts_with(folder))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{DEFAULT_TEXT, parse};

    fn started(line: &str) -> Option<String> {
        let more = "[process.printer]\nname = \"Printer\"\nunit = \"printer.service\"\n\
                    [process.wrapped]\nname = \"Wrapped\"\n\
                    command = [\"/usr/bin/nohup\", \"/opt/x/start.sh\"]\n";
        let text = format!("{DEFAULT_TEXT}\n{more}");
        let settings = parse(&text, Path::new("config.toml")).unwrap();
        started_by(line, &settings)
    }

    #[test]
    fn whoever_starts_a_program_is_found() {
        for line in [
            "/opt/sefaz/cco/bin/runcco-ser.sh",
            "sleep 40; /opt/sefaz/cco/bin/runcco-ser.sh &",
            "(sleep 3 && nohup /opt/sefaz/cco/bin/runcco-ser.sh > /dev/null 2>&1) &",
            "while ! [ -e /dev/ttyACM0 ]; do sleep 1; done; /opt/sefaz/cco/bin/runcco-ser.sh",
            "if [ -e /dev/ttyACM0 ]; then ./runcco-ser.sh & fi",
            "cd /opt/sefaz/cco/bin && ./runcco-ser.sh",
            "\"$DIR/runcco-ser.sh\"",
            "su - pdv -c '/opt/sefaz/cco/bin/runcco-ser.sh'",
            "su -c \"sleep 5; runcco-ser.sh\" pdv",
            "/bin/sh -c 'exec /opt/sefaz/cco/bin/Comunicador --x'",
            "pgrep -x Comunicador || /opt/sefaz/cco/bin/runcco-ser.sh",
            "[ -x /opt/sefaz/cco/bin/runcco-ser.sh ] && /opt/sefaz/cco/bin/runcco-ser.sh",
            "DAEMON=/opt/sefaz/cco/bin/Comunicador",
            "start-stop-daemon --start --exec /opt/sefaz/cco/bin/Comunicador",
            "LANG=C nice -n 10 Comunicador",
            "-/opt/sefaz/cco/bin/Comunicador --x",
            "@/usr/bin/nohup Comunicador",
            "/bin/sh /opt/sefaz/cco/bin/runcco-ser.sh",
        ] {
            assert_eq!(started(line).as_deref(), Some("Comunicador"), "{line}");
        }
    }

    #[test]
    fn whoever_speaks_of_a_program_does_not_start_it() {
        for line in [
            "",
            "# /opt/sefaz/cco/bin/runcco-ser.sh",
            ": # /opt/sefaz/cco/bin/runcco-ser.sh",
            "exit 0 # was: runcco-ser.sh",
            "chmod +x /opt/sefaz/cco/bin/runcco-ser.sh",
            "sudo chmod 777 /opt/sefaz/cco/bin/runcco-ser.sh",
            "test -x /opt/sefaz/cco/bin/Comunicador || exit 0",
            "echo Starting /opt/sefaz/cco/bin/runcco-ser.sh",
            "pkill -f runcco-ser.sh; killall Comunicador",
            "find /Comunicador/logs -mtime +7 -delete",
            "rsync -a /Comunicador backup:",
            "/usr/bin/system-monitor",
            "xrandr --output Monitor --auto",
            "/opt/other/start.sh",
            "/opt/sefaz/cco/bin/mfehttps",
            "systemctl stop cco-ser",
            "systemctl status printer.service",
        ] {
            assert_eq!(started(line), None, "{line}");
        }
    }

    #[test]
    fn files_that_may_be_run_are_found() {
        let files = |line| files_run_by(line).collect::<Vec<_>>();
        assert_eq!(
            files("sleep 3; sudo /usr/local/bin/a.sh -x & -/etc/init.d/b start # /opt/c"),
            ["/usr/local/bin/a.sh", "/etc/init.d/b"]
        );
        assert_eq!(files("chmod +x /opt/a; /usr/bin/env b; ./c"), [""; 0]);
    }

    #[test]
    fn services_are_found_by_what_is_asked_of_them() {
        for (line, expected) in [
            ("service cco-ser start", "cco-ser.service"),
            ("/etc/init.d/mfe-https-ser restart", "mfe-https-ser.service"),
            (
                "systemctl --no-block restart cco-ser.service",
                "cco-ser.service",
            ),
            ("systemctl start printer", "Printer"),
            ("/opt/x/start.sh", "Wrapped"),
        ] {
            assert_eq!(started(line).as_deref(), Some(expected), "{line}");
        }
    }
}
