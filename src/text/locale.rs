//! Which language people are spoken to in; the texts are in the folder `locales`. Messages in the
//! journal and everything that machines read stay English.

use std::env;
use std::ffi::OsString;

/// The languages that there are texts in: that of the messages, and that of the tills.
pub(crate) const LANGUAGES: [&str; 2] = ["en", "pt-BR"];

/// Speaks the user's language from now on, as the environment names it (locale(7)); English where
/// there are no texts in that one, and in the journal, whatever the machine's language: `check` and
/// `exec` are run by systemd too.
pub(crate) fn init(stderr_is_journal: bool) {
    if stderr_is_journal {
        return;
    }
    let wanted = sys_locale::get_locale().unwrap_or_default();
    let values = ["LC_ALL", "LC_MESSAGES", "LANG"].map(env::var_os);
    let mut values = values.into_iter().flatten();
    // In that locale `LANGUAGE` doesn't count (gettext(3)).
    let is_untranslated = |value: OsString| value == "C" || value == "POSIX";
    if values
        .find(|value| !value.is_empty())
        .is_some_and(is_untranslated)
    {
        return;
    }
    rust_i18n::set_locale(language(&wanted));
}

/// Whether it is the language of the messages that is spoken.
pub(crate) fn is_english() -> bool {
    *rust_i18n::locale() == *LANGUAGES[0]
}

/// Portuguese of any country is nearer to somebody who reads it than English.
fn language(locale: &str) -> &'static str {
    let code = locale
        .split(['-', '_', '.', '@'])
        .next()
        .unwrap_or_default();
    let mut languages = LANGUAGES.into_iter();
    let known = languages.find(|language| language.split('-').next() == Some(code));
    known.unwrap_or(LANGUAGES[0])
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;

    /// Every text, by its key and language. The files have one form: a key at the margin, a language
    /// and its text on each indented line below it. A key in quotes is itself the English text.
    fn texts() -> BTreeMap<String, BTreeMap<String, String>> {
        texts_of(&files("locales", "yml"))
    }

    /// The texts of the help, which clap has asked for by what stands at the arguments.
    pub(crate) fn texts_of_help() -> BTreeMap<String, BTreeMap<String, String>> {
        texts_of(&[Path::new(env!("CARGO_MANIFEST_DIR")).join("locales/help.yml")])
    }

    fn texts_of(files: &[PathBuf]) -> BTreeMap<String, BTreeMap<String, String>> {
        let mut texts: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        for file in files {
            let mut key = String::new();
            for line in fs::read_to_string(file).unwrap().lines() {
                let at = format!("{}: {line}", file.display());
                if line.is_empty() || line.starts_with('#') || line == "_version: 2" {
                    continue;
                }
                if let Some(line) = line.strip_prefix("  ") {
                    let (language, text) = line.split_once(": ").expect(&at);
                    let same = texts.entry(key.clone()).or_default();
                    assert!(same.insert(language.into(), text.into()).is_none(), "{at}");
                } else {
                    key = line.strip_suffix(':').expect(&at).to_owned();
                    let english = literal(&key);
                    key = english.clone().unwrap_or(key);
                    assert!(!texts.contains_key(&key), "{at}");
                    let english = english.map(|text| (LANGUAGES[0].to_owned(), text));
                    texts.insert(key.clone(), english.into_iter().collect());
                }
            }
        }
        texts
    }

    fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
        let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
        let mut files = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|found| found == extension) {
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

    /// The keys of the texts that the program asks for by the macro of this name.
    fn used(name: &str) -> BTreeSet<String> {
        let mut used = BTreeSet::new();
        for file in ["rs", "html"]
            .into_iter()
            .flat_map(|kind| files("src", kind))
        {
            let source = fs::read_to_string(file).unwrap();
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

    /// Whether a text has words of its own, besides what stands for its variables.
    fn has_words(text: &str) -> bool {
        let (first, others) = text.split_once("%{").unwrap_or((text, ""));
        let others = others.split("%{").map(|part| part.split_once('}'));
        let mut own = others.map(|part| part.map_or("", |(_, own)| own));
        let is_word = |own: &str| own.contains(char::is_alphabetic);
        is_word(first) || own.any(is_word)
    }

    #[test]
    fn every_text_is_in_every_language_with_the_same_variables() {
        let texts = texts();
        assert!(!texts.is_empty());
        for (key, by_language) in texts {
            let languages: Vec<&str> = by_language.keys().map(String::as_str).collect();
            assert_eq!(languages, LANGUAGES, "{key}");
            let mut of_each = by_language.values().map(|text| variables(text));
            let first = of_each.next();
            assert!(of_each.all(|other| Some(other) == first), "{key}");
        }
    }

    #[test]
    fn the_texts_are_those_that_are_used() {
        let texts = texts();
        let (by_key, mut phrases) = (used("t"), used("phrase"));
        phrases.retain(|phrase| has_words(phrase));
        assert!(!by_key.is_empty() && !phrases.is_empty());
        let used: BTreeSet<&String> = by_key.union(&phrases).collect();
        for key in &used {
            assert!(
                texts.contains_key(*key),
                "{key} is in no file of the folder locales"
            );
        }
        let help = texts_of_help();
        for key in texts.keys().filter(|key| !help.contains_key(*key)) {
            assert!(used.contains(key), "{key} is used nowhere");
        }
    }

    #[test]
    fn a_locale_has_the_language_nearest_to_it() {
        for (locale, expected) in [
            ("pt-BR", "pt-BR"),
            ("pt_BR.UTF-8", "pt-BR"),
            ("pt-PT", "pt-BR"),
            ("pt", "pt-BR"),
            ("en-US", "en"),
            ("C", "en"),
            ("", "en"),
            ("de-DE", "en"),
        ] {
            assert_eq!(language(locale), expected, "{locale}");
        }
    }
}
