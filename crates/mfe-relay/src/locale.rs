//! Which language people are spoken to in, as in the watchdog; what the service says to the journal stays English.

use std::env;
use std::ffi::OsString;

/// The languages that there are texts in.
const LANGUAGES: [&str; 2] = ["en", "pt-BR"];

/// Speaks the user's language from now on, as the environment names it (locale(7)).
pub(crate) fn init() {
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

/// Portuguese of any country is nearer to somebody who reads it than English.
fn language(locale: &str) -> &'static str {
    let code = locale.split(['-', '_', '.', '@']).next();
    let mut languages = LANGUAGES.into_iter();
    let known = languages.find(|language| language.split('-').next() == code);
    known.unwrap_or(LANGUAGES[0])
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn a_locale_has_the_language_nearest_to_it() {
        for (locale, expected) in [
            ("pt-BR", "pt-BR"),
            ("pt_PT.UTF-8", "pt-BR"),
            ("en-US", "en"),
            ("", "en"),
            ("de-DE", "en"),
        ] {
            assert_eq!(language(locale), expected, "{locale}");
        }
    }

    /// Each text's key, and its variables in each language.
    fn texts() -> BTreeMap<String, BTreeMap<String, Vec<String>>> {
        let mut texts: BTreeMap<String, BTreeMap<String, Vec<String>>> = BTreeMap::new();
        let mut key = String::new();
        for line in include_str!("../locales/relay.yml").lines().skip(2) {
            if let Some(text) = line.strip_prefix("  ") {
                let (language, text) = text.split_once(": ").expect(line);
                let parts = text.split("%{").skip(1);
                let mut names: Vec<String> = parts
                    .filter_map(|part| Some(part.split_once('}')?.0.into()))
                    .collect();
                names.sort_unstable();
                texts
                    .entry(key.clone())
                    .or_default()
                    .insert(language.into(), names);
            } else {
                key = line.strip_suffix(':').expect(line).into();
            }
        }
        texts
    }

    #[test]
    fn every_text_is_in_every_language_with_the_same_variables() {
        let texts = texts();
        assert!(texts.len() > 20);
        for (key, languages) in texts {
            assert!(languages.keys().eq(LANGUAGES), "{key}");
            assert_eq!(languages["en"], languages["pt-BR"], "{key}");
        }
    }

    #[test]
    fn the_texts_are_those_that_are_used() {
        let mut source = String::new();
        for file in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap() {
            source += &fs::read_to_string(file.unwrap().path()).unwrap();
        }
        let texts = texts();
        for key in texts.keys() {
            assert!(
                source.contains(&format!("\"{key}\"")),
                "{key} is used nowhere"
            );
        }
        let known: BTreeSet<&str> = texts.keys().map(String::as_str).collect();
        let mut before = "";
        for part in source.split(concat!("t", "!(\"")) {
            let key = part.split('"').next().unwrap();
            // format! and assert! end alike.
            let is_ours = before.ends_with(|c: char| !c.is_alphanumeric() && c != '_');
            assert!(!is_ours || known.contains(key), "{key} has no text");
            before = part;
        }
    }
}
