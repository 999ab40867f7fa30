//! The README and what it leads to: a document in Portuguese says what the one in English says (the
//! same sections, commands, tables and names), every link leads somewhere, and every command and
//! finding of the program is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use crate::program::{mfe_watchdog, run};
use mfe_kit::{Till, output};

/// Each document in English, and the same in Portuguese.
const PAIRS: [(&str, &str); 5] = [
    ("README.md", "README.pt-BR.md"),
    ("docs/operation.md", "docs/operation.pt-BR.md"),
    ("docs/configuration.md", "docs/configuration.pt-BR.md"),
    ("docs/fleet.md", "docs/fleet.pt-BR.md"),
    ("docs/office.md", "docs/office.pt-BR.md"),
];

/// The documents that there are in English only, for whoever changes the program.
const ENGLISH_ONLY: [&str; 4] = [
    "docs/architecture.md",
    "docs/benchmarks.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
];

/// What a technician reads without scrolling for long, in lines.
const README_LINES: usize = 130;

/// What a section has in every language.
#[derive(Debug, Default)]
struct Section {
    heading: String,
    /// How deep it is, in `#`.
    level: usize,
    /// Its fenced blocks.
    blocks: Vec<Block>,
    /// How many rows its tables have, one after the other.
    rows: usize,
    /// How many items its lists have.
    items: usize,
    /// The `names` in its text, in order of the alphabet.
    names: Vec<String>,
}

#[derive(Debug, PartialEq)]
enum Block {
    /// Code, without its comments: those are for people.
    Code(String),
    /// A drawing of so many lines.
    Drawing(usize),
    /// What is typed, and how many lines the program answers, in the user's language.
    Session { commands: String, answer: usize },
}

impl Block {
    fn new(text: &str) -> Self {
        if text.contains('─') {
            return Self::Drawing(text.lines().count());
        }
        if let Some(session) = text.strip_prefix("console\n") {
            let (commands, answer): (Vec<_>, Vec<_>) =
                session.lines().partition(|line| line.starts_with("$ "));
            return Self::Session {
                commands: commands.join("\n"),
                answer: answer.len(),
            };
        }
        let code = text.lines().map(|line| match line.split_once(" # ") {
            Some((code, _)) => code.trim_end(),
            None => line,
        });
        Self::Code(code.collect::<Vec<_>>().join("\n"))
    }
}

fn read(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

fn sections(name: &str) -> Vec<Section> {
    let text = read(name);
    let mut sections = Vec::new();
    let mut prose = String::new();
    // Every second part is what stands between two fences.
    for (index, part) in text.split("```").enumerate() {
        if index % 2 == 1 {
            let section: &mut Section = sections.last_mut().unwrap();
            section.blocks.push(Block::new(part));
            continue;
        }
        for line in part.lines() {
            let level = line.chars().take_while(|c| *c == '#').count();
            if level > 0 {
                take_names(sections.last_mut(), &mut prose);
                sections.push(Section {
                    heading: line[level..].trim().to_owned(),
                    level,
                    ..Section::default()
                });
            } else if let Some(section) = sections.last_mut() {
                section.rows += usize::from(line.starts_with('|'));
                section.items += usize::from(line.starts_with("- "));
                prose += line;
                prose.push(' ');
            }
        }
    }
    take_names(sections.last_mut(), &mut prose);
    sections
}

/// Moves the `names` in `prose` to their section.
fn take_names(section: Option<&mut Section>, prose: &mut String) {
    let prose = std::mem::take(prose);
    if let Some(section) = section {
        let names = prose.split('`').skip(1).step_by(2);
        // One may go on in the next line of a list.
        let on_one_line = |name: &str| name.split_whitespace().collect::<Vec<_>>().join(" ");
        section.names.extend(names.map(on_one_line));
        section.names.sort();
    }
}

/// What a heading is called in links, as GitHub does it.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase();
    let kept = kept
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// Where the links of a document lead: the file, from the top of the project, and the heading in it.
fn links(name: &str) -> Vec<(PathBuf, Option<String>)> {
    let text = read(name);
    let targets = text.split("](").skip(1);
    let targets = targets.filter_map(|part| part.split(')').next());
    let targets = targets.filter(|target| !target.contains("://"));
    let resolved = targets.map(|target| {
        let (file, heading) = match target.split_once('#') {
            Some((file, heading)) => (file, Some(heading.to_owned())),
            None => (target, None),
        };
        if file.is_empty() {
            return (PathBuf::from(name), heading);
        }
        let mut path = Path::new(name).parent().unwrap().to_owned();
        for part in Path::new(file).components() {
            match part {
                Component::ParentDir => assert!(path.pop(), "{name}: {target}"),
                part => path.push(part),
            }
        }
        (path, heading)
    });
    resolved.collect()
}

fn all() -> Vec<&'static str> {
    let pairs = PAIRS.into_iter().flat_map(<[&str; 2]>::from);
    pairs.chain(ENGLISH_ONLY).collect()
}

/// The section of the document that has this heading.
fn section(document: &str, heading: &str) -> Section {
    let mut sections = sections(document).into_iter();
    let found = sections.find(|section| section.heading == heading);
    found.unwrap_or_else(|| panic!("{document}: {heading}"))
}

#[test]
fn both_languages_have_the_same_sections_with_the_same_commands_tables_and_names() {
    for (english, portuguese) in PAIRS {
        let at = english;
        let (english, portuguese) = (sections(english), sections(portuguese));
        assert!(english.len() > 5, "{at}");
        for (english, portuguese) in english.iter().zip(&portuguese) {
            let at = format!("{at}: {} / {}", english.heading, portuguese.heading);
            assert_eq!(portuguese.level, english.level, "{at}");
            assert_eq!(portuguese.blocks, english.blocks, "{at}");
            assert_eq!(portuguese.rows, english.rows, "{at}");
            assert_eq!(portuguese.items, english.items, "{at}");
            assert_eq!(portuguese.names, english.names, "{at}");
        }
        assert_eq!(portuguese.len(), english.len(), "{at}");
    }
}

#[test]
fn every_link_leads_somewhere() {
    for name in all() {
        for (file, heading) in links(name) {
            let at = format!("{name}: {}", file.display());
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(&file);
            assert!(path.exists(), "{at}");
            if let Some(heading) = heading {
                let sections = sections(file.to_str().unwrap());
                let mut anchors = sections.iter().map(|one| anchor(&one.heading));
                assert!(anchors.any(|anchor| anchor == heading), "{at}#{heading}");
            }
        }
    }
}

#[test]
fn the_readme_leads_to_every_document_and_each_to_its_other_language() {
    let leads = |from: &str, to: &str| {
        let links = links(from);
        let is_there = links.iter().any(|(file, _)| file == Path::new(to));
        assert!(is_there, "{from} doesn't lead to {to}");
    };
    for (english, portuguese) in PAIRS {
        leads(english, portuguese);
        leads(portuguese, english);
    }
    let [(readme, translated), others @ ..] = PAIRS;
    for (english, portuguese) in others {
        leads(readme, english);
        leads(translated, portuguese);
    }
    for other in ENGLISH_ONLY {
        leads(readme, other);
        leads(translated, other);
    }
}

#[test]
fn the_readme_is_short() {
    let (english, portuguese) = PAIRS[0];
    for readme in [english, portuguese] {
        let lines = read(readme).lines().count();
        assert!(lines <= README_LINES, "{readme}: {lines} lines");
    }
}

#[test]
fn every_command_is_in_the_manual_of_operation_and_no_other() {
    let program = mfe_watchdog::cli::command();
    let (document, _) = PAIRS[1];
    let names = section(document, "Commands").names;
    let lines = names
        .iter()
        .filter_map(|name| name.strip_prefix("mfe-watchdog "));
    let mut told = BTreeSet::new();
    for line in lines {
        let mut words = line.split([' ', '[', ']']);
        let name = words.next().unwrap();
        let command = program.find_subcommand(name);
        let command = command.unwrap_or_else(|| panic!("{document}: no command {name}"));
        for option in words.filter_map(|word| word.strip_prefix("--")) {
            let mut arguments = command.get_arguments();
            let is_known = arguments.any(|argument| argument.get_long() == Some(option));
            assert!(is_known, "{document}: {name} has no --{option}");
        }
        told.insert(name);
    }
    let known = program.get_subcommands().filter(|one| !one.is_hide_set());
    let known: BTreeSet<&str> = known.map(clap::Command::get_name).collect();
    assert_eq!(told, known);
}

#[test]
fn every_finding_of_doctor_is_in_the_manual_of_operation_and_no_other() {
    let (document, _) = PAIRS[1];
    let text = read(document);
    let table = text.split("\n## Doctor\n").nth(1).unwrap();
    let rows = table.lines().skip_while(|line| !line.starts_with("|---"));
    let rows = rows.skip(1).take_while(|line| line.starts_with('|'));
    let cells = rows.filter_map(|row| row.split('|').nth(1));
    let told: BTreeSet<&str> = cells
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/doctor");
    let files = fs::read_dir(folder).unwrap();
    let source: String = files
        .map(|file| fs::read_to_string(file.unwrap().path()).unwrap())
        .collect();
    for name in &told {
        let is_found = source.contains(&format!("\"{name}\""));
        assert!(is_found, "{document}: doctor never finds {name}");
    }
    // The name is the first argument of what finds it.
    for call in [".find(", ".find_with_later(", ".find_without_command("] {
        let arguments = source.split(call).skip(1).map(str::trim_start);
        let names = arguments.filter_map(|rest| rest.strip_prefix('"')?.split('"').next());
        for name in names {
            assert!(told.contains(name), "{document} hasn't {name}");
        }
    }
}

/// What a README shows of a command's output.
fn shown(readme: &str, command: &str) -> Vec<String> {
    let text = read(readme);
    let sessions = text.split("```console\n").skip(1);
    let mut sessions = sessions.filter_map(|rest| rest.split("```").next());
    let begin = format!("$ {command}\n");
    let session = sessions.find_map(|session| session.strip_prefix(&begin));
    let session = session.unwrap_or_else(|| panic!("{readme}: {command}"));
    session.lines().map(str::to_owned).collect()
}

/// Without what differs from run to run: numbers, and how wide columns are.
fn masked(line: &str) -> String {
    let line: String = line
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    let words: Vec<&str> = line.split_whitespace().collect();
    let line = words.join(" ");
    // One digit for a number, however many it has.
    let mut line = line;
    while line.contains("00") {
        line = line.replace("00", "0");
    }
    line
}

#[test]
fn the_readme_shows_what_the_program_prints() {
    let (till, program) = Till::with_program();
    let service = run(&till);
    service.wait_for_state("comunicador", "up");
    program.kill();
    service.wait_for_restarts("comunicador", 1);
    let named = |text: &str| {
        let text = text.replace(&program.name, "Comunicador");
        let script = till.path().join("bin/start.sh").display().to_string();
        text.replace(&script, "/opt/sefaz/cco/bin/runcco-ser.sh")
    };
    // How long it was is another thing on each machine.
    let until_outage = |text: &str| {
        let end = text.find("outage of ").unwrap_or(text.len());
        masked(&text[..end])
    };
    let messages: Vec<String> = service
        .lines()
        .iter()
        .filter_map(|line| line.split(" MFE_").next()?.split_once("Z  "))
        .filter_map(|(_, line)| line.split_once(' '))
        .map(|(_, message)| until_outage(&named(message.trim_start())))
        .collect();
    let (english, portuguese) = PAIRS[0];
    for (readme, locale) in [(english, "C"), (portuguese, "pt_BR.UTF-8")] {
        for message in shown(readme, "sudo journalctl -e -u mfe-watchdog") {
            let message = until_outage(&message);
            assert!(
                messages.contains(&message),
                "{readme}: {message}: {messages:#?}"
            );
        }
        let mut command = mfe_watchdog();
        command.env("LC_ALL", locale).arg("status");
        let runtime_dir = till.runtime_dir();
        let found = output(command.arg("--runtime-dir").arg(&runtime_dir)).stdout;
        let config = till.config().display().to_string();
        let found = found.replace(&config, "/etc/mfe-watchdog/config.toml");
        let told = shown(readme, "mfe-watchdog status");
        for line in [0, told.len() - 2, told.len() - 1] {
            let lines: Vec<String> = found.lines().map(masked).collect();
            assert!(lines.contains(&masked(&told[line])), "{readme}: {found}");
        }
    }
    // Of the fixtures' machines one has the old script in rc.local, too.
    let fixture = read("tests/fixtures/doctor/10-old-watcher/expected");
    let told = shown(english, "sudo mfe-watchdog doctor");
    let (_, finding) = told.split_last().unwrap();
    for line in finding {
        assert!(fixture.lines().any(|found| found == line), "{line}");
    }
}
