//! The README in Portuguese says what the one in English says: the same sections, commands, tables
//! and names.

use std::fs;
use std::path::Path;

const ENGLISH: &str = "README.md";
const PORTUGUESE: &str = "README.pt-BR.md";

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
}

impl Block {
    fn new(text: &str) -> Self {
        if text.contains('─') {
            return Self::Drawing(text.lines().count());
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

#[test]
fn both_readmes_have_the_same_sections_with_the_same_commands_tables_and_names() {
    let (english, portuguese) = (sections(ENGLISH), sections(PORTUGUESE));
    assert!(english.len() > 5);
    for (english, portuguese) in english.iter().zip(&portuguese) {
        let at = format!("{} / {}", english.heading, portuguese.heading);
        assert_eq!(portuguese.level, english.level, "{at}");
        assert_eq!(portuguese.blocks, english.blocks, "{at}");
        assert_eq!(portuguese.rows, english.rows, "{at}");
        assert_eq!(portuguese.items, english.items, "{at}");
        assert_eq!(portuguese.names, english.names, "{at}");
    }
    assert_eq!(portuguese.len(), english.len());
}

#[test]
fn every_link_in_the_readmes_leads_somewhere() {
    for (name, other) in [(ENGLISH, PORTUGUESE), (PORTUGUESE, ENGLISH)] {
        let text = read(name);
        let anchors: Vec<String> = sections(name)
            .iter()
            .map(|one| anchor(&one.heading))
            .collect();
        let links = text
            .split("](")
            .skip(1)
            .filter_map(|part| part.split(')').next());
        let links: Vec<&str> = links.collect();
        assert!(links.contains(&other), "{name} doesn't name {other}");
        for link in links {
            let is_there = match link.strip_prefix('#') {
                Some(wanted) => anchors.iter().any(|anchor| anchor == wanted),
                None => Path::new(env!("CARGO_MANIFEST_DIR")).join(link).exists(),
            };
            assert!(is_there, "{name}: {link}");
        }
    }
}
