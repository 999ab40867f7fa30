//! Which language people are spoken to in; the texts are in each program's folder `locales`. What the journal and
//! machines read stays English.

use std::env;
use std::ffi::OsString;

/// The languages that there are texts in: that of the messages, and that of the tills.
pub const LANGUAGES: [&str; 2] = ["en", "pt-BR"];

/// Speaks the user's language from now on, as the environment names it (locale(7)); English where there are no
/// texts in that one.
pub fn init() {
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
    rust_i18n::set_locale(nearest(&wanted));
}

/// Which language is spoken.
#[must_use]
pub fn language() -> &'static str {
    let spoken = rust_i18n::locale();
    let mut languages = LANGUAGES.into_iter();
    let known = languages.find(|language| **language == *spoken);
    known.unwrap_or(LANGUAGES[0])
}

/// Whether it is the language of the messages that is spoken.
#[must_use]
pub fn is_english() -> bool {
    language() == LANGUAGES[0]
}

/// Portuguese of any country is nearer to somebody who reads it than English.
fn nearest(locale: &str) -> &'static str {
    let code = locale.split(['-', '_', '.', '@']).next();
    let mut languages = LANGUAGES.into_iter();
    let known = languages.find(|language| language.split('-').next() == code);
    known.unwrap_or(LANGUAGES[0])
}

#[cfg(test)]
mod tests {
    use super::*;

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
            assert_eq!(nearest(locale), expected, "{locale}");
        }
    }
}
