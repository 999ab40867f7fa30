//! What a person reads in each situation, by each command, in each language: word for word, and no line wider
//! than a terminal.
//!
//! A situation is a folder of `tests/fixtures/situations`: what the service has published (`status.json`; without
//! it no service runs), the configuration where it isn't the usual one (`config.toml`, and `in-force.toml` if
//! another one is in force), what the journal has of the service (`events.jsonl`) and of the programs
//! (`output.jsonl`); and what is shown of it, in `en.txt` and `pt-BR.txt`. RENEW_SITUATIONS=1 writes those
//! two: read them then, as somebody with a queue at the till.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use mfe_watchdog::status::Status;
use serde_json::{Value, json};

use crate::program::{BINARY, mfe_watchdog, run};
use mfe_kit::{Need, Till, clean, in_mount_namespace, needs, output};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/situations");

const LANGUAGES: [(&str, &str); 2] = [("en", "en_US.UTF-8"), ("pt-BR", "pt_BR.UTF-8")];

/// The findings that are about what the service says.
const FINDINGS: [&str; 6] = [
    "not-up",
    "start-failing",
    "crash-loop",
    "paused",
    "dry-run",
    "unhealthy",
];

/// How wide a terminal is.
const WIDTH: usize = 80;

/// A journalctl that has what a folder has.
const JOURNALCTL: &str = r#"kind=output key=
for word; do
    case $word in
        MFE_EVENT=*) kind=events ;;
        MFE_PROCESS=*) key="\"${word%%=*}\": \"${word#*=}\"" ;;
    esac
done
grep -F -e "$key" "$SITUATION/$kind.jsonl"
exit 0"#;

/// A situation on a till.
struct Situation {
    till: Till,
    folder: PathBuf,
}

impl Situation {
    fn new(folder: &Path) -> Self {
        let till = Till::new();
        till.script("journalctl", JOURNALCTL);
        let situation = Self {
            till,
            folder: folder.to_owned(),
        };
        let config = situation.file("config.toml");
        let config = config.unwrap_or_else(|| Path::new(FOLDER).join("config.toml"));
        fs::copy(&config, situation.till.config()).unwrap();
        let in_force = situation.file("in-force.toml").unwrap_or(config);
        let run = situation.till.runtime_dir();
        fs::create_dir(&run).unwrap();
        fs::copy(in_force, run.join("in-force.toml")).unwrap();
        if let Some(status) = situation.file("status.json") {
            situation.publish(&fs::read_to_string(status).unwrap());
        }
        situation
    }

    fn file(&self, name: &str) -> Option<PathBuf> {
        Some(self.folder.join(name)).filter(|file| file.exists())
    }

    /// As of a service that lives: this process stands in for it.
    fn publish(&self, status: &str) {
        let stat = fs::read_to_string("/proc/self/stat").unwrap();
        let (begin, rest) = stat.rsplit_once(") ").unwrap();
        let start_time: u64 = rest.split(' ').nth(19).unwrap().parse().unwrap();
        let mut status: Value = serde_json::from_str(status).unwrap();
        status["pid"] = std::process::id().into();
        status["start_time"] = start_time.into();
        let run = self.till.runtime_dir();
        fs::write(run.join("status.json"), status.to_string()).unwrap();
        let record = json!({
            "pid": std::process::id(), "start_time": start_time,
            "name": begin.split_once('(').unwrap().1, "runtime_dir": run,
            "version": env!("CARGO_PKG_VERSION"), "config": self.till.config(),
        });
        fs::write(run.join("service.json"), record.to_string()).unwrap();
    }

    /// Has a command see the situation, in a language.
    fn shown_to(&self, command: &mut Command, locale: &str) {
        let mut path = self.till.path().join("bin").into_os_string();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap());
        command.env("PATH", path).env("SITUATION", &self.folder);
        command.env("LC_ALL", locale).env("TZ", "<-03>3");
        command.env("MFE_TEST", self.till.path());
    }

    /// What a command prints, and its exit code.
    fn transcript(&self, arguments: &[&str], locale: &str) -> String {
        let mut command = mfe_watchdog();
        command.args(arguments);
        match arguments[0] {
            "check" => command.arg("--config").arg(self.till.config()),
            _ => command.arg("--runtime-dir").arg(self.till.runtime_dir()),
        };
        self.shown_to(&mut command, locale);
        let said = output(&mut command);
        let text = self.plain(&(said.stdout.clone() + &said.stderr));
        format!(
            "$ mfe-watchdog {} (exit {})\n{text}\n",
            arguments.join(" "),
            said.code()
        )
    }

    /// What doctor finds by what the service says; the rest is about the machine of the tests.
    fn findings(&self, locale: &str) -> String {
        let setup = "mount -t tmpfs tmpfs /run\n\
                     cp -r \"$MFE_TEST/run\" /run/mfe-watchdog";
        let mut command = in_mount_namespace(setup, BINARY);
        command
            .arg("doctor")
            .arg("--config")
            .arg(self.till.config());
        self.shown_to(&mut command, locale);
        let said = output(&mut command);
        let mut found = String::from("$ mfe-watchdog doctor\n");
        let mut paragraph = String::new();
        for line in said.stdout.lines() {
            // What goes on is indented.
            if !line.starts_with(' ') {
                found += &kept(&paragraph);
                paragraph.clear();
            }
            writeln!(paragraph, "{line}").unwrap();
        }
        self.plain(&(found + &kept(&paragraph))) + "\n"
    }

    /// What `systemctl status` shows.
    fn headline(&self) -> String {
        let status = Status::read(&self.till.runtime_dir()).unwrap();
        let line = status.map(|status| {
            let now = humantime::parse_rfc3339("2026-03-02T15:20:00Z").unwrap();
            status.line(now)
        });
        let line = line.map(|line| format!("$ systemctl status mfe-watchdog\n{line}\n\n"));
        line.unwrap_or_default()
    }

    /// Without what is another one in each run.
    fn plain(&self, text: &str) -> String {
        let config = self.till.config();
        text.replace(config.to_str().unwrap(), "/etc/mfe-watchdog/config.toml")
            .replace(&format!("(pid {})", std::process::id()), "(pid 77)")
            .replace(env!("CARGO_PKG_VERSION"), "1.2.3")
    }
}

/// A finding, if it is by what the service says.
fn kept(paragraph: &str) -> String {
    let is_ours = |id: &&str| paragraph.contains(&format!("[{id}]"));
    if FINDINGS.iter().any(is_ours) {
        paragraph.to_owned()
    } else {
        String::new()
    }
}

/// Compares a text with a file, or writes it there.
fn compare(file: &Path, text: &str, problems: &mut Vec<String>) {
    if std::env::var_os("RENEW_SITUATIONS").is_some() {
        fs::write(file, text).unwrap();
    }
    let expected = fs::read_to_string(file).unwrap_or_default();
    let name = file.display();
    if expected != text {
        problems.push(format!(
            "{name} isn't what is shown; RENEW_SITUATIONS=1 writes:\n{text}"
        ));
    }
    // Where that is no terminal, these print a line each, which a program can read.
    let mut is_for_programs = false;
    for line in text.lines() {
        if line.starts_with("$ ") {
            is_for_programs = ["check (", "watchdog events", "systemctl"]
                .iter()
                .any(|name| line.contains(name));
        }
        let is_for_programs = is_for_programs || line.starts_with("mfe-watchdog: ");
        if !is_for_programs && line.chars().count() > WIDTH {
            problems.push(format!("{name}: wider than a terminal: {line}"));
        }
    }
}

#[test]
fn each_situation_is_told_word_for_word() {
    needs!(Need::Namespaces);
    let mut problems = Vec::new();
    let mut count = 0;
    for entry in fs::read_dir(FOLDER).unwrap() {
        let folder = entry.unwrap().path();
        if !folder.join("events.jsonl").exists() {
            continue;
        }
        count += 1;
        let situation = Situation::new(&folder);
        for (language, locale) in LANGUAGES {
            let mut text = situation.transcript(&["status"], locale);
            text += &situation.transcript(&["status", "monitor"], locale);
            text += &situation.findings(locale);
            text += &situation.transcript(&["check"], locale);
            text += &situation.transcript(&["events"], locale);
            text += &situation.headline();
            let text = format!("{}\n", text.trim_end());
            compare(
                &folder.join(format!("{language}.txt")),
                &text,
                &mut problems,
            );
        }
    }
    assert!(count >= 13, "{count} situations");
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// A terminal gets the characters that it has.
#[test]
fn each_charset_is_written() {
    let situation = Situation::new(&Path::new(FOLDER).join("start-failing"));
    let shown = |locale: &str| {
        let mut command = mfe_watchdog();
        command.arg("status").arg("--runtime-dir");
        command.arg(situation.till.runtime_dir());
        situation.shown_to(&mut command, locale);
        command.output().unwrap().stdout
    };
    let utf8 = String::from_utf8(shown("pt_BR.UTF-8")).unwrap();
    assert!(utf8.contains("REINÍCIOS"), "{utf8}");
    let latin1 = shown("pt_BR.ISO-8859-1");
    let decoded: String = latin1.iter().copied().map(char::from).collect();
    assert_eq!(decoded, utf8);
    // The first of the three that is set counts.
    let mut command = mfe_watchdog();
    command.args(["restart", "x"]).arg("--runtime-dir");
    command
        .arg(situation.till.path())
        .env("LANG", "pt_BR.UTF-8");
    let stderr = command
        .env("LC_CTYPE", "pt_BR.ISO-8859-1")
        .output()
        .unwrap()
        .stderr;
    let is_latin1 = stderr.windows(7).any(|bytes| bytes == b"servi\xe7o");
    assert!(is_latin1, "{}", String::from_utf8_lossy(&stderr));
    for locale in ["C", "POSIX"] {
        assert!(shown(locale).is_ascii(), "{locale}");
    }
}

/// What the commands answer that ask the service for something.
#[test]
fn each_answer_is_told_word_for_word() {
    let mut problems = Vec::new();
    for (language, locale) in LANGUAGES {
        let (till, program) = Till::with_program();
        let service = run(&till);
        service.wait_for_state("comunicador", "up");
        let mut text = String::new();
        for words in [
            "restart impressora",
            "pause --for 30m --reason driver",
            "restart comunicador",
            "resume",
            "resume",
            "start comunicador",
            "restart comunicador",
            "stop comunicador --for 30m",
            "start comunicador",
        ] {
            let mut command = clean(Command::new(BINARY));
            command.args(words.split(' ')).env("LC_ALL", locale);
            let said = output(command.arg("--runtime-dir").arg(till.runtime_dir()));
            let shown = said.stdout.clone() + &said.stderr;
            writeln!(text, "$ mfe-watchdog {words} (exit {})", said.code()).unwrap();
            for line in shown.lines() {
                let line = line.replace(&program.name, "Comunicador");
                writeln!(text, "{}", without_numbers(&line)).unwrap();
            }
        }
        let file = Path::new(FOLDER)
            .join("answers")
            .join(format!("{language}.txt"));
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        compare(&file, &text, &mut problems);
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// With an x in place of each digit of a time and of a pid.
fn without_numbers(line: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut is_pid = false;
    for word in line.split(' ') {
        let is_time = word.len() >= 8 && word.as_bytes()[2] == b':' && word.as_bytes()[5] == b':';
        let digit = |c: char| if c.is_ascii_digit() { 'x' } else { c };
        words.push(if is_time {
            word.chars().map(digit).collect()
        } else if is_pid {
            let end = word.trim_start_matches(|c: char| c.is_ascii_digit());
            format!("x{end}")
        } else {
            word.to_owned()
        });
        is_pid = word.ends_with("pid");
    }
    words.join(" ")
}
