//! Holds the order of the rooms: each uses only those below it, and no two modules use each other.
//! What each room is for says [`crate`].

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The rooms from the top down; those of one floor don't use each other.
const FLOORS: [&[&str]; 12] = [
    &["cli"],
    &["daemon", "doctor", "report"],
    &["supervisor"],
    &["start", "health", "hooks"],
    &["session"],
    &["config"],
    &["machine"],
    &["status", "logging"],
    &["events", "systemd"],
    &["proc"],
    &["sys"],
    &["text"],
];

/// A module, as a path below the crate: `proc::table`.
type Module = String;

/// What the rules of a process don't do: speak to people, tell the time, look at the machine.
const NOT_IN_MACHINE: [&str; 8] = [
    "phrase!", " t!", "format!", "::now()", "std::fs", "std::env", "tracing", "rustix",
];

/// The code of each module, without tests and comments.
fn modules() -> BTreeMap<Module, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    list(&root, &mut files);
    let modules = files.iter().filter_map(|file| {
        let module = module(file.strip_prefix(&root).ok()?)?;
        let text = fs::read_to_string(file).ok()?;
        Some((module, without_tests_and_comments(&text)))
    });
    modules.collect()
}

/// Every `use` of one module by another, without those of tests.
fn arrows() -> BTreeSet<(Module, Module)> {
    let modules = modules();
    let mut arrows = BTreeSet::new();
    for (module, text) in &modules {
        for used in paths(module, text) {
            let target = longest_module(&used, &modules);
            if let Some(target) = target.filter(|target| target != module) {
                arrows.insert((module.clone(), target));
            }
        }
    }
    arrows
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            list(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The module of a file; none for the crate's own, and for tests.
fn module(file: &Path) -> Option<Module> {
    let text = file.with_extension("").to_str()?.replace('/', "::");
    let module = text.strip_suffix("::mod").unwrap_or(&text);
    let is_test = module.split("::").any(|part| part == "tests");
    let is_left_out = ["lib", "main", "rooms"].contains(&module) || is_test;
    (!is_left_out).then(|| module.to_owned())
}

fn without_tests_and_comments(text: &str) -> String {
    let code = text.split("\n#[cfg(test)]\nmod ").next().unwrap();
    let lines = code.lines().map(|line| line.split("//").next().unwrap());
    lines.collect::<Vec<_>>().join(" ")
}

/// Every path from the crate's root, or from a parent of `module`, in `text`, with groups in braces taken
/// apart.
fn paths(module: &str, text: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for (start, at) in [("crate::", true), ("super::", false)] {
        for (index, _) in text.match_indices(start) {
            let before = text[..index].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            let mut base: Vec<&str> = if at {
                Vec::new()
            } else {
                module.split("::").collect()
            };
            let mut rest = &text[index..];
            if let Some(tail) = rest.strip_prefix("crate::") {
                rest = tail;
            }
            while let Some(tail) = rest.strip_prefix("super::") {
                base.pop();
                rest = tail;
            }
            let mut names = Vec::new();
            expand(rest, &base.join("::"), &mut names);
            paths.extend(names);
        }
    }
    paths
}

/// Takes apart what follows a path: `a::{b, c::d}`.
fn expand(rest: &str, base: &str, names: &mut Vec<String>) {
    let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'));
    let (path, tail) = rest.split_at(end.unwrap_or(rest.len()));
    let joined = format!("{base}::{path}");
    let joined = joined.trim_matches(':').to_owned();
    if !(path.ends_with("::") || path.is_empty()) || !tail.starts_with('{') {
        names.push(joined);
        return;
    }
    let mut depth = 0;
    let mut begin = 1;
    for (index, c) in tail.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if (c == ',' && depth == 1) || depth == 0 {
            expand(tail[begin..index].trim(), &joined, names);
            begin = index + 1;
        }
        if depth == 0 {
            return;
        }
    }
}

/// The module that a path leads into; none for one outside this crate's modules.
fn longest_module(path: &str, modules: &BTreeMap<Module, String>) -> Option<Module> {
    let mut path = path;
    loop {
        if modules.contains_key(path) {
            return Some(path.to_owned());
        }
        path = path.rsplit_once("::")?.0;
    }
}

fn room(module: &str) -> &str {
    module.split("::").next().unwrap()
}

fn floor(room: &str) -> usize {
    let floor = FLOORS.iter().position(|rooms| rooms.contains(&room));
    floor.unwrap_or_else(|| panic!("{room} is on no floor: add it to FLOORS"))
}

#[test]
fn every_room_uses_only_those_below_it() {
    let arrows = arrows();
    assert!(arrows.len() > 100, "only {} arrows found", arrows.len());
    let upward: Vec<String> = arrows
        .iter()
        .filter(|(from, to)| room(from) != room(to) && floor(room(from)) >= floor(room(to)))
        .map(|(from, to)| format!("{from} uses {to}"))
        .collect();
    assert_eq!(upward, [""; 0], "arrows that don't point downwards");
}

/// A module may use its parent and the parent its children: those are one thing in several files.
#[test]
fn no_modules_use_each_other() {
    let arrows = arrows();
    let is_family =
        |a: &str, b: &str| a.starts_with(&format!("{b}::")) || b.starts_with(&format!("{a}::"));
    let mut uses: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (from, to) in &arrows {
        if !is_family(from, to) {
            uses.entry(from).or_default().push(to);
        }
    }
    let mut circles = BTreeSet::new();
    for start in uses.keys() {
        let mut seen = BTreeSet::new();
        let mut left = uses[start].clone();
        while let Some(next) = left.pop() {
            if next == *start {
                circles.insert(*start);
            } else if seen.insert(next) {
                left.extend(uses.get(next).into_iter().flatten());
            }
        }
    }
    assert_eq!(circles, BTreeSet::new(), "modules on a circle");
}

#[test]
fn the_machine_is_rules_and_nothing_else() {
    let modules = modules();
    let machine = modules.iter().filter(|(name, _)| room(name) == "machine");
    let found: Vec<String> = machine
        .flat_map(|(name, code)| {
            let found = NOT_IN_MACHINE.iter().filter(|word| code.contains(**word));
            found.map(move |word| format!("{name} has {word}"))
        })
        .collect();
    assert_eq!(found, [""; 0]);
}

#[test]
fn paths_are_found_in_groups_and_from_parents() {
    let text = "use crate::a::{b, c::{d, e}}; use super::f::G; let x = crate::h::i(1);";
    let paths = paths("m::n", text);
    assert_eq!(paths, ["a::b", "a::c::d", "a::c::e", "h::i", "m::f::G"]);
}
