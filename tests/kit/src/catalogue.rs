//! Holds a program's texts, in its folder `locales`, to its sources: each in every language, and none that isn't used
//! or isn't there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use mfe_common::locale::LANGUAGES;

/// Every text, by its key and language.
pub type Texts = BTreeMap<String, BTreeMap<String, String>>;

/// The texts of the member in this folder are those that are used, each in every language.
pub fn check(member: &str) {
    let catalogue = Catalogue::of(member);
    catalogue.check_languages();
    catalogue.check_use();
}

/// A member of the workspace, as its catalogue and sources tell.
#[derive(Debug)]
pub struct Catalogue {
    member: PathBuf,
    /// Every text that there is.
    pub texts: Texts,
}

impl Catalogue {
    /// That of the member in this folder (`CARGO_MANIFEST_DIR`).
    pub fn of(member: &str) -> Self {
        let member = PathBuf::from(member);
        let texts = texts(&files(&member.join("locales"), &["yml"]));
        Self { member, texts }
    }

    /// The texts of one of its files.
    pub fn file(&self, name: &str) -> Texts {
        texts(&[self.member.join("locales").join(name)])
    }

    /// Each text is in every language, with the same variables.
    pub fn check_languages(&self) {
        assert!(!self.texts.is_empty());
        for (key, by_language) in &self.texts {
            let languages: Vec<&str> = by_language.keys().map(String::as_str).collect();
            assert_eq!(languages, LANGUAGES, "{key}");
            let mut of_each = by_language.values().map(|text| variables(text));
            let first = of_each.next();
            assert!(of_each.all(|other| Some(other) == first), "{key}");
        }
    }

    /// The texts are those that are used: by a macro, or by a key that stands in quotes.
    fn check_use(&self) {
        let used = self.used("t");
        assert!(!used.is_empty());
        for key in &used {
            assert!(
                self.texts.contains_key(key),
                "{key} is in no file of the folder locales"
            );
        }
        let sources: String = self.sources().iter().map(|file| read(file)).collect();
        for key in self.texts.keys() {
            let is_used = sources.contains(&format!("\"{key}\""));
            assert!(is_used, "{key} is used nowhere");
        }
    }

    /// The keys of the texts that the program asks for by the macro of this name.
    pub fn used(&self, name: &str) -> BTreeSet<String> {
        let mut used = BTreeSet::new();
        for file in self.sources() {
            let source = read(&file);
            let mut before = "";
            for part in source.split(&format!("{name}!(")) {
                // format! and assert! end alike.
                let is_ours = before.ends_with(|c: char| !c.is_alphanumeric() && c != '_');
                used.extend(literal(part).filter(|_| is_ours));
                before = part;
            }
        }
        used
    }

    fn sources(&self) -> Vec<PathBuf> {
        let folders = ["src", "page"].map(|folder| self.member.join(folder));
        let folders = folders.iter().filter(|folder| folder.exists());
        folders
            .flat_map(|folder| files(folder, &["rs", "html"]))
            .collect()
    }
}

/// The files have one form: a key at the margin, a language and its text on each indented line below it. A key in
/// quotes is itself the English text.
fn texts(files: &[PathBuf]) -> Texts {
    let mut texts = Texts::new();
    for file in files {
        let mut key = String::new();
        for line in read(file).lines() {
            let at = format!("{}: {line}", file.display());
            if line.is_empty() || line.starts_with('#') || line == "_version: 2" {
                continue;
            }
            if let Some(line) = line.strip_prefix("  ") {
                let (language, text) = line.split_once(": ").expect(&at);
                let same = texts.entry(key.clone()).or_default();
                assert!(same.insert(language.into(), text.into()).is_none(), "{at}");
            } else {
                let name = line.strip_suffix(':').expect(&at);
                let english = literal(name);
                key = english.clone().unwrap_or_else(|| name.to_owned());
                assert!(!texts.contains_key(&key), "{at}");
                let english = english.map(|text| (LANGUAGES[0].to_owned(), text));
                texts.insert(key.clone(), english.into_iter().collect());
            }
        }
    }
    texts
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap()
}

fn files(folder: &Path, extensions: &[&str]) -> Vec<PathBuf> {
    let mut folders = vec![folder.to_owned()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let extension = path.extension().and_then(|extension| extension.to_str());
            if path.is_dir() {
                folders.push(path);
            } else if extension.is_some_and(|found| extensions.contains(&found)) {
                files.push(path);
            }
        }
    }
    files
}

/// In order of the alphabet; a phrase says each once, so how often counts too.
fn variables(text: &str) -> Vec<&str> {
    let parts = text.split("%{").skip(1);
    let mut variables: Vec<&str> = parts.filter_map(|part| part.split('}').next()).collect();
    variables.sort_unstable();
    variables
}

/// The text in quotes that `source` begins with.
fn literal(source: &str) -> Option<String> {
    let mut text = String::new();
    let mut rest = source.trim_start().strip_prefix('"')?.chars();
    loop {
        match rest.next()? {
            '"' => return Some(text),
            '\\' => match rest.next()? {
                // The text goes on in the next line.
                '\n' => rest = rest.as_str().trim_start().chars(),
                c => text.push(c),
            },
            c => text.push(c),
        }
    }
}
