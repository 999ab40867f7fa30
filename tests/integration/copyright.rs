//! The licence notices that the package carries: debian/copyright names whatever is linked into the
//! program, with the notices of each crate's own licence file and the version that is linked in.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use mfe_kit::output;

/// Set, it has the stanzas of the crates written again.
const RENEW: &str = "RENEW_COPYRIGHT";

const FILE: &str = "debian/copyright";

/// The machines that tills are: the stanzas are those of what is linked on any of them.
const TARGETS: [&str; 4] = [
    "x86_64-unknown-linux-gnu",
    "i686-unknown-linux-gnu",
    "aarch64-unknown-linux-gnu",
    "armv7-unknown-linux-gnueabihf",
];

/// Where `cargo vendor --versioned-dirs vendor` puts the sources of crates: how their stanzas begin.
const CRATES: &str = "Files: vendor/";

/// The same for the crates that come with Rust's standard library.
const CRATES_OF_RUST: &str = "Files: rust/vendor/";

/// What a crate may be licensed under, the first of its choices that is here, by its name on
/// <https://spdx.org/licenses/>, with its name in debian/copyright and the files of a crate that may
/// have it.
const LICENCES: [(&str, &str, &[&str]); 7] = [
    ("MIT", "Expat", &["LICENSE-MIT", "LICENSE", "LICENSE.md"]),
    ("BSL-1.0", "BSL-1.0", &["LICENSE-BOOST"]),
    ("Unicode-3.0", "Unicode-3.0", &["LICENSE-UNICODE"]),
    // Debian's own copy of it is what its text here refers to.
    ("Apache-2.0", "Apache-2.0", &[]),
    ("BSD-3-Clause", "BSD-3-Clause", &["LICENSE"]),
    ("CDLA-Permissive-2.0", "CDLA-Permissive-2.0", &["LICENSE"]),
    (
        "ISC",
        "ISC",
        &["LICENSE-other-bits", "LICENSE.txt", "LICENSE"],
    ),
];

/// Where a crate names the holders if its licence file doesn't.
const NOTICES: [&str; 2] = ["COPYING", "COPYRIGHT"];

/// Crates of the standard library's own source tree.
const RUST_ITSELF: [&str; 12] = [
    "alloc",
    "compiler_builtins",
    "core",
    "panic_abort",
    "panic_unwind",
    "rustc_std_workspace_alloc",
    "rustc_std_workspace_core",
    "rustc_std_workspace_std",
    "std",
    "std_detect",
    "sysroot",
    "unwind",
];

/// What comes with a toolchain for tests, for profiles and for proc-macros, and isn't linked.
const NOT_LINKED: [&str; 6] = [
    "getopts",
    "proc_macro",
    "profiler_builtins",
    "rustc_literal_escaper",
    "test",
    "unicode_width",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read() -> String {
    fs::read_to_string(root().join(FILE)).unwrap()
}

/// What a tool of the toolchain that builds the tests prints.
fn toolchain(tool: &str, arguments: &[&str]) -> String {
    let tool = Path::new(env!("CARGO")).with_file_name(tool);
    let said = output(Command::new(tool).args(arguments).current_dir(root()));
    assert!(said.status.success(), "{arguments:?}: {}", said.stderr);
    said.stdout
}

struct Crate {
    name: String,
    version: String,
    licence: String,
    authors: Vec<String>,
    repository: String,
    folder: PathBuf,
}

impl Crate {
    fn new(package: &Value) -> Self {
        let text = |key: &str| package[key].as_str().unwrap_or_default().to_owned();
        let authors = package["authors"].as_array().unwrap().iter();
        let manifest = PathBuf::from(text("manifest_path"));
        Self {
            name: text("name"),
            version: text("version"),
            licence: text("license"),
            authors: authors.map(|a| a.as_str().unwrap().to_owned()).collect(),
            repository: text("repository"),
            folder: manifest.parent().unwrap().to_owned(),
        }
    }

    /// The licences that it is used under, by their places in [`LICENCES`].
    fn licences(&self) -> Vec<usize> {
        let terms = self.licence.split(" AND ").map(|term| {
            let choices = term.trim_matches(['(', ')']).replace('/', " OR ");
            let choices: Vec<&str> = choices.split(" OR ").collect();
            let chosen = |(name, ..): &(&str, &str, &[&str])| choices.contains(name);
            LICENCES.iter().position(chosen)
        });
        let known: Option<Vec<usize>> = terms.collect();
        known.unwrap_or_else(|| {
            panic!(
                "{} {} is under {}: is that fit for this package?",
                self.name, self.version, self.licence
            )
        })
    }

    fn text_of(&self, files: &[&str]) -> Option<String> {
        let mut files = files.iter().map(|file| self.folder.join(file));
        files.find_map(|file| fs::read_to_string(file).ok())
    }

    /// Whose it is: as the licence's file says, else the crate's notices, else its manifest.
    fn holders(&self, licence: usize) -> Vec<String> {
        let (_, _, files) = LICENCES[licence];
        let said = [files, &NOTICES].map(|files| notices(&self.text_of(files).unwrap_or_default()));
        let said = said.into_iter().find(|said| !said.is_empty());
        let authors = match self.authors.as_slice() {
            [] => format!("The developers of {} <{}>", self.name, self.repository),
            authors => authors.join(", "),
        };
        let with_name = |notice: String| {
            if notice.contains(char::is_alphabetic) {
                notice
            } else {
                format!("{notice} {authors}")
            }
        };
        match said {
            Some(said) => said.into_iter().map(with_name).collect(),
            None => vec![authors],
        }
    }

    fn stanza(&self) -> String {
        let licences = self.licences();
        let mut holders: Vec<String> = Vec::new();
        for holder in licences.iter().flat_map(|licence| self.holders(*licence)) {
            if !holders.contains(&holder) {
                holders.push(holder);
            }
        }
        let names: Vec<&str> = licences
            .iter()
            .map(|licence| LICENCES[*licence].1)
            .collect();
        format!(
            "{CRATES}{}-{}/*\nCopyright: {}\nLicense: {}",
            self.name,
            self.version,
            holders.join("\n           "),
            names.join(" and ")
        )
    }
}

/// The lines that say who holds the copyright, without the word itself.
fn notices(text: &str) -> Vec<String> {
    let lines = text.lines().filter_map(|line| {
        let line = line.trim().trim_start_matches("// ");
        let said = line.strip_prefix("Copyright ")?;
        let signs = ["(c) ", "(C) ", "© "];
        let holder = signs.iter().find_map(|sign| said.strip_prefix(sign));
        holder.or_else(|| {
            said.starts_with(|c: char| c.is_ascii_digit())
                .then_some(said)
        })
    });
    lines.map(|line| line.trim().to_owned()).collect()
}

/// The crates that are linked into the program: neither what only builds it or tests it, nor
/// proc-macros.
fn linked() -> Vec<Crate> {
    let (mut tree, mut metadata) = (Vec::new(), Vec::new());
    for target in TARGETS {
        tree.extend(["--target", target]);
        metadata.extend(["--filter-platform", target]);
    }
    let edges = ["tree", "--locked", "--edges", "normal,no-proc-macro"];
    let lines = [
        "--package",
        "mfe-watchdog",
        "--package",
        "mfe-relay",
        "--package",
        "mfe-central",
        "--prefix",
        "none",
        "--format",
        "{p}",
    ];
    let tree = toolchain("cargo", &[&edges, &lines[..], &tree].concat());
    let linked: BTreeSet<(&str, &str)> = tree
        .lines()
        // What is in the checkout is ours, and its folder stands behind it.
        .filter(|line| !line.contains(" (/"))
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            Some((words.next()?, words.next()?.strip_prefix('v')?))
        })
        .collect();
    assert!(linked.len() > 10, "{tree}");

    let ask = ["metadata", "--locked", "--format-version", "1"];
    let metadata = toolchain("cargo", &[&ask, &metadata[..]].concat());
    let metadata: Value = serde_json::from_str(&metadata).unwrap();
    let packages = metadata["packages"].as_array().unwrap().iter();
    let known: BTreeMap<(String, String), Crate> = packages
        .map(Crate::new)
        .map(|one| ((one.name.clone(), one.version.clone()), one))
        .collect();
    let is_linked = |one: &Crate| linked.contains(&(one.name.as_str(), one.version.as_str()));
    let crates: Vec<Crate> = known.into_values().filter(is_linked).collect();
    assert_eq!(crates.len(), linked.len());
    crates
}

/// The file with these stanzas for crates.
fn renewed(text: &str, stanzas: &[String]) -> String {
    let others = text.trim_end().split("\n\n");
    let others = others.filter(|stanza| !stanza.starts_with(CRATES));
    // Stanzas of files come first, then the texts of licences.
    let (files, licences): (Vec<&str>, Vec<&str>) =
        others.partition(|stanza| !stanza.starts_with("License: "));
    let ours = stanzas.iter().map(String::as_str);
    let all: Vec<&str> = files.into_iter().chain(ours).chain(licences).collect();
    all.join("\n\n") + "\n"
}

/// Words without what lays them out. The text of one licence names one author or several.
fn words(text: &str) -> String {
    let words = text
        .split_whitespace()
        .filter(|word| ![".", "//"].contains(word));
    let words = words.collect::<Vec<_>>().join(" ");
    words
        .replace("THE AUTHORS DISCLAIM ", "THE AUTHOR DISCLAIMS ")
        .replace("THE AUTHORS BE LIABLE", "THE AUTHOR BE LIABLE")
}

/// The text of a licence in debian/copyright.
fn licence_text(copyright: &str, name: &str) -> String {
    let head = format!("License: {name}\n");
    let mut stanzas = copyright.split("\n\n");
    let text = stanzas.find_map(|stanza| stanza.strip_prefix(&head));
    words(text.expect(name))
}

#[test]
fn every_linked_crate_has_its_notices_in_the_package() {
    let stanzas: Vec<String> = linked().iter().map(Crate::stanza).collect();
    let found = read();
    let expected = renewed(&found, &stanzas);
    if std::env::var_os(RENEW).is_some() {
        fs::write(root().join(FILE), expected).unwrap();
        return;
    }
    let lines = |text: &str| -> BTreeSet<String> { text.lines().map(str::to_owned).collect() };
    let (has, wants) = (lines(&found), lines(&expected));
    assert!(
        found == expected,
        "{FILE} is out of date: {:?} is missing, {:?} is too much; renew it with \
         `{RENEW}=1 cargo test --test integration copyright`",
        wants.difference(&has).collect::<Vec<_>>(),
        has.difference(&wants).collect::<Vec<_>>(),
    );
}

#[test]
fn licences_have_the_text_that_the_crates_have() {
    let copyright = read();
    for one in linked() {
        for licence in one.licences() {
            let (_, name, files) = LICENCES[licence];
            // A crate without the file says no more than the licence's name.
            if let Some(theirs) = one.text_of(files) {
                let ours = licence_text(&copyright, name);
                assert!(
                    words(&theirs).contains(&ours),
                    "{} {} has another text of {name}",
                    one.name,
                    one.version
                );
            }
        }
    }
}

#[test]
fn every_crate_of_the_standard_library_has_its_notices_in_the_package() {
    let folder = toolchain("rustc", &["--print", "target-libdir"]);
    let names: BTreeSet<String> = fs::read_dir(folder.trim())
        .unwrap()
        .filter_map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let (name, _) = name
                .strip_prefix("lib")?
                .strip_suffix(".rlib")?
                .rsplit_once('-')?;
            Some(name.to_owned())
        })
        .collect();
    assert!(names.contains("std"), "{folder}: {names:?}");
    let copyright = read();
    for name in names {
        let stanza = format!("{CRATES_OF_RUST}{}-*/*\n", name.replace('_', "-"));
        let is_there = RUST_ITSELF.contains(&name.as_str())
            || NOT_LINKED.contains(&name.as_str())
            || copyright.contains(&stanza);
        assert!(
            is_there,
            "{FILE} has no stanza for Rust's crate {name}: {stanza}"
        );
    }
}
