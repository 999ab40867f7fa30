//! The manual pages: every command, option and setting that the program knows is in them, in both
//! languages, with the default that it has. mfe-watchdog.toml(5) is made of docs/configuration.md by
//! [`crate::roff`].

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use mfe_watchdog::config::{Settings, parse};
use mfe_watchdog::events::Kind;

use crate::roff::{self, Frame};

/// Set, it has the pages written that are made of documents.
const RENEW: &str = "RENEW_MANUAL";

/// mfe-watchdog(8), and what its section of options is called.
const COMMANDS: [(&str, &str); 2] = [
    ("mfe-watchdog.8", "OPTIONS"),
    ("mfe-watchdog.pt_BR.8", "OPÇÕES"),
];

/// mfe-watchdog.toml(5), and what its sections of settings are called that have no name in TOML.
const SETTINGS: [(&str, &str, &str); 2] = [
    ("mfe-watchdog.toml.5", "SETTINGS FOR ALL PROGRAMS", "RULES"),
    (
        "mfe-watchdog.toml.pt_BR.5",
        "OPÇÕES PARA TODOS OS PROGRAMAS",
        "REGRAS",
    ),
];

/// The pages that are made of documents.
const MADE: [(&str, Frame); 2] = [
    (
        "mfe-watchdog.toml.5",
        Frame {
            document: "docs/configuration.md",
            head: r#".TH MFE\-WATCHDOG.TOML 5 "" mfe\-watchdog "File formats"
.nh
.ad l
.SH NAME
mfe\-watchdog.toml \- the configuration of mfe\-watchdog
.SH SYNOPSIS
.I /etc/mfe\-watchdog/config.toml
.SH DESCRIPTION
"#,
            foot: r#".SH FILES
.TP
.I /etc/mfe\-watchdog/config.toml
The configuration; an upgrade keeps your changes.
.SH "SEE ALSO"
.BR mfe\-watchdog (8),
.BR systemd.service (5),
.BR systemd\-run (1)
"#,
        },
    ),
    (
        "mfe-watchdog.toml.pt_BR.5",
        Frame {
            document: "docs/configuration.pt-BR.md",
            head: r#".TH MFE\-WATCHDOG.TOML 5 "" mfe\-watchdog "Formatos de arquivo"
.nh
.ad l
.SH NOME
mfe\-watchdog.toml \- a configuração do mfe\-watchdog
.SH SINOPSE
.I /etc/mfe\-watchdog/config.toml
.SH DESCRIÇÃO
"#,
            foot: r#".SH ARQUIVOS
.TP
.I /etc/mfe\-watchdog/config.toml
A configuração; uma atualização mantém as suas alterações.
.SH "VEJA TAMBÉM"
.BR mfe\-watchdog (8),
.BR systemd.service (5),
.BR systemd\-run (1)
"#,
        },
    ),
];

/// The least that a program has to say of itself.
const PROCESS: &str = "[process.a]\nname = \"A\"\ncommand = [\"/a\"]\n";

/// The least of each kind of check.
const CHECKS: [(&str, &str); 6] = [
    ("tcp", "address = \"localhost:1\"\n"),
    ("file", "path = \"/l\"\nmax_age = \"1h\"\n"),
    ("memory", "max = \"1GiB\"\n"),
    ("cpu", "max = \"90%\"\n"),
    ("age", "max = \"7d\"\n"),
    ("command", "command = [\"/c\"]\n"),
];

/// The least of a hook.
const HOOK: &str = "[[hook]]\non = [\"up\"]\ncommand = [\"/h\"]\n";

/// A page as its sections, each of a heading and its lines, in plain text.
struct Page(Vec<(String, Vec<String>)>);

impl Page {
    fn read(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("man").join(name);
        let mut sections = Vec::new();
        for line in fs::read_to_string(path).unwrap().lines() {
            let heading = line.strip_prefix(".SH ").or(line.strip_prefix(".SS "));
            if let Some(heading) = heading {
                sections.push((plain(heading.trim_matches('"')), Vec::new()));
            } else if let Some((_, lines)) = sections.last_mut() {
                lines.push(plain(line));
            }
        }
        Self(sections)
    }

    /// The entries of the sections whose heading is this: what stands after `.TP` and its text.
    fn entries(&self, is_wanted: impl Fn(&str) -> bool) -> BTreeMap<String, String> {
        let mut entries = BTreeMap::new();
        let wanted = self.0.iter().filter(|(heading, _)| is_wanted(heading));
        for (heading, lines) in wanted {
            for entry in lines.join("\n").split(".TP\n").skip(1) {
                let (tag, text) = entry.split_once('\n').expect(entry);
                // `.BR status " [" \-\-json ]` is about status.
                let name = tag.split_whitespace().nth(1).expect(tag);
                let before = entries.insert(name.to_owned(), text.to_owned());
                assert!(before.is_none(), "{heading}: {name} twice");
            }
        }
        entries
    }

    /// Everything under this heading.
    fn section(&self, heading: &str) -> String {
        let mut sections = self.0.iter().filter(|(found, _)| found == heading);
        let (_, lines) = sections.next().expect(heading);
        lines.join("\n")
    }
}

/// Without the escapes of groff(7) that the pages use.
fn plain(line: &str) -> String {
    let mut line = line.to_owned();
    for (escape, character) in [
        (r"\-", "-"),
        (r"\(dq", "\""),
        (r"\(aq", "'"),
        (r"\fB", ""),
        (r"\fI", ""),
        (r"\fR", ""),
        (r"\e", r"\"),
    ] {
        line = line.replace(escape, character);
    }
    line
}

/// The settings that the parser knows where an unknown one stands.
fn known(text: &str) -> BTreeSet<String> {
    let refused = parse(text, Path::new("f")).unwrap_err();
    let messages = refused.problems.iter();
    let messages: Vec<String> = messages.map(|one| one.message.to_string()).collect();
    let lists: Vec<&str> = messages
        .iter()
        .filter_map(|message| message.strip_prefix("unknown key; known here: "))
        .collect();
    let [list] = lists.as_slice() else {
        panic!("{refused}");
    };
    list.split(", ").map(str::to_owned).collect()
}

/// What `check` shows of settings that the text doesn't give.
fn defaults(text: &str) -> toml::Table {
    let settings: Settings = parse(text, Path::new("f")).unwrap();
    settings.to_toml().unwrap().parse().unwrap()
}

fn check(kind: &str, settings: &str) -> String {
    format!("{PROCESS}[[process.a.check]]\nkind = \"{kind}\"\n{settings}")
}

fn names(entries: &BTreeMap<String, String>) -> BTreeSet<String> {
    entries.keys().cloned().collect()
}

/// Asserts that each of these values that is a default is in its entry.
fn assert_defaults(at: &str, given: &str, found: &toml::Table, entries: &BTreeMap<String, String>) {
    let is_given = |key: &str| {
        given
            .lines()
            .any(|line| line.starts_with(&format!("{key} =")))
    };
    let mut count = 0;
    for (key, value) in found {
        let is_value = !value.is_table() && !value.is_array();
        // A check that has no name is called after its kind.
        if is_value && key != "name" && !is_given(key) {
            let text = &entries[key];
            let value = value.to_string();
            let mut words = text.split([' ', '\n']);
            assert!(
                words.any(|word| word.trim_end_matches(['.', ',']) == value),
                "{at}: {key} is {value}: {text}"
            );
            count += 1;
        }
    }
    assert!(count > 0, "{at}");
}

#[test]
fn pages_are_those_of_the_documents() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (name, frame) in MADE {
        let document = fs::read_to_string(top.join(frame.document)).unwrap();
        let expected = roff::page(&frame, &document);
        let path = top.join("man").join(name);
        if std::env::var_os(RENEW).is_some() {
            fs::write(&path, &expected).unwrap();
        }
        let found = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            found == expected,
            "man/{name} isn't what {} says; renew it with \
             `{RENEW}=1 cargo test --test integration manual`",
            frame.document
        );
    }
}

#[test]
fn every_command_and_option_is_in_the_manual() {
    let command = mfe_watchdog::cli::command();
    for (file, options) in COMMANDS {
        let page = Page::read(file);
        let common = page.section(options);
        let whole: Vec<&str> = page
            .0
            .iter()
            .flat_map(|(_, lines)| lines)
            .map(String::as_str)
            .collect();
        for command in command.get_subcommands().filter(|one| !one.is_hide_set()) {
            let name = command.get_name();
            let is_tag = |line: &str| {
                let mut words = line.split_whitespace();
                let is_macro = words.next().is_some_and(|word| word.starts_with(".B"));
                is_macro && words.next() == Some(name)
            };
            let tags = whole
                .windows(2)
                .filter(|pair| pair[0] == ".TP" && is_tag(pair[1]));
            assert_eq!(tags.count(), 1, "{file}: {name}");
            let begin = whole.iter().position(|line| is_tag(line)).unwrap();
            // Its options are in an indented list of their own.
            let mut depth = 0;
            let entry = whole[begin..].iter().skip(1).take_while(|line| {
                match line.split(' ').next() {
                    Some(".RS") => depth += 1,
                    Some(".RE") => depth -= 1,
                    _ => {}
                }
                depth > 0 || !line.starts_with(".TP")
            });
            let entry = [whole[begin]].into_iter().chain(entry.copied());
            let entry: Vec<&str> = entry.collect();
            let entry = entry.join("\n");
            for argument in command.get_arguments().filter(|one| !one.is_hide_set()) {
                let Some(long) = argument.get_long() else {
                    continue;
                };
                let is_told = |text: &str| {
                    let mut words = text.split([' ', '\n', '"', ']']);
                    words.any(|word| word == format!("--{long}"))
                };
                assert!(
                    is_told(&entry) || is_told(&common),
                    "{file}: {name} --{long}"
                );
            }
        }
    }
}

#[test]
fn every_setting_is_in_the_manual_and_no_other() {
    let is_global = |name: &String| name != "process" && name != "hook";
    let of_file: BTreeSet<_> = known(&format!("x = 1\n{PROCESS}"))
        .into_iter()
        .filter(is_global)
        .collect();
    let mut of_process = known(&format!("{PROCESS}x = 1\n"));
    of_process.remove("check");
    for (file, global, rules) in SETTINGS {
        let page = Page::read(file);
        let entries = page.entries(|heading| [global, rules].contains(&heading));
        assert_eq!(names(&entries), of_file, "{file}");
        let is_process = |heading: &str| heading.starts_with("[process.");
        let entries = page.entries(|heading| heading == rules || is_process(heading));
        assert_eq!(names(&entries), of_process, "{file}");
        for (kind, settings) in CHECKS {
            let entries = page.entries(|heading| is_check(heading, kind));
            let of_check = known(&(check(kind, settings) + "x = 1\n"));
            assert_eq!(names(&entries), of_check, "{file}: {kind}");
        }
        let entries = page.entries(|heading| heading == "[[hook]]");
        let of_hook = known(&format!("{PROCESS}{HOOK}x = 1\n"));
        assert_eq!(names(&entries), of_hook, "{file}");
    }
}

/// Whether a section is about checks of this kind.
fn is_check(heading: &str, kind: &str) -> bool {
    heading.ends_with(".check]]") || heading == format!("kind = \"{kind}\"")
}

#[test]
fn every_kind_of_check_is_in_the_manual() {
    let unknown = check("x", "");
    let refused = parse(&unknown, Path::new("f")).unwrap_err().to_string();
    for (kind, _) in CHECKS {
        assert!(refused.contains(&format!("\"{kind}\"")), "{refused}");
    }
    assert_eq!(
        refused.matches("\", \"").count() + 1,
        CHECKS.len(),
        "{refused}"
    );
}

#[test]
fn every_default_in_the_manual_is_the_one_that_the_program_has() {
    for (file, global, rules) in SETTINGS {
        let page = Page::read(file);
        let entries = page.entries(|heading| [global, rules].contains(&heading));
        assert_defaults(file, "", &defaults(PROCESS), &entries);
        for (kind, settings) in CHECKS {
            let entries = page.entries(|heading| is_check(heading, kind));
            let given = check(kind, settings);
            let found = defaults(&given);
            let found = found["process"]["a"]["check"][0].as_table().unwrap();
            assert_defaults(&format!("{file}: {kind}"), &given, found, &entries);
        }
        let entries = page.entries(|heading| heading == "[[hook]]");
        let found = defaults(&format!("{PROCESS}{HOOK}"));
        let found = found["hook"][0].as_table().unwrap();
        assert_defaults(file, HOOK, found, &entries);
    }
}

#[test]
fn every_event_is_in_the_manual() {
    let pages = COMMANDS.iter().map(|(file, _)| *file);
    for file in pages.chain(SETTINGS.iter().map(|(file, ..)| *file)) {
        let page = Page::read(file);
        let headings = ["JOURNAL", "[[hook]]"];
        let mut sections = page
            .0
            .iter()
            .filter(|(heading, _)| headings.contains(&heading.as_str()));
        let (_, lines) = sections.next().unwrap();
        let text = lines.join(" ");
        for kind in Kind::ALL {
            let mut words = text.split([' ', '"', ',', '.']);
            assert!(
                words.any(|word| word == kind.name()),
                "{file}: {}",
                kind.name()
            );
        }
    }
}
