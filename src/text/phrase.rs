//! Sentences that are told twice: in English to the journal and to machines, in the user's language to
//! people. The English stands where it is told; what it is in other languages, in the folder `locales`.

use std::borrow::Cow;
use std::fmt;

use mfe_common::escape::{list, printable};
use rust_i18n::t;
use serde::{Deserialize, Serialize};

/// A [`Phrase`]: its English and, in the order in which they stand in it, its parts.
macro_rules! phrase {
    ($text:literal $(,)?) => {{
        const { assert!($crate::text::phrase::has_names($text, &[])) };
        $crate::text::phrase::Phrase::plain($text)
    }};
    ($text:literal, $($name:ident = $value:expr),+ $(,)?) => {{
        const { assert!($crate::text::phrase::has_names($text, &[$(stringify!($name)),+])) };
        $crate::text::phrase::Phrase::new($text, vec![$($value.into()),+])
    }};
}

pub(crate) use phrase;

/// A sentence, or a part of one. Its `Display` is the English, for which no texts are loaded: the
/// service has no use for them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct Phrase {
    /// The English, with `%{name}` for what isn't always the same; translations are found by it.
    text: Cow<'static, str>,
    /// What stands for each name, in the order of the English.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    values: Vec<Value>,
}

/// A part of a phrase.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Value {
    /// Numbers, names and other people's words, which are the same in every language.
    Words(String),
    /// Words of our own.
    Phrase(Phrase),
}

impl Phrase {
    /// One that is always the same.
    pub(crate) const fn plain(text: &'static str) -> Self {
        Self {
            text: Cow::Borrowed(text),
            values: Vec::new(),
        }
    }

    /// One with parts.
    pub(crate) fn new(text: &'static str, values: Vec<Value>) -> Self {
        Self {
            text: Cow::Borrowed(text),
            values,
        }
    }

    /// Other people's words and nothing else.
    pub(crate) fn of_words(words: impl Into<Value>) -> Self {
        Self::new("%{words}", vec![words.into()])
    }

    /// In the user's language; in English if it isn't known in that one.
    #[must_use]
    pub fn translated(&self) -> String {
        self.say(&t!(self.text.as_ref()), Self::translated)
    }

    /// The shell command that it ends with, in every language, if its last part is one: `command` by name.
    #[must_use]
    pub fn command(&self) -> Option<&str> {
        let last = self.text.rsplit("%{").next()?.strip_suffix('}')?;
        match self.values.last()? {
            Value::Words(command) => (last == "command").then_some(command),
            Value::Phrase(phrase) => phrase.command(),
        }
    }

    /// The text with its parts in place, each once, so that nobody's text can grow without bounds; a
    /// name that stands for nothing stays as it is.
    fn say(&self, text: &str, say: fn(&Self) -> String) -> String {
        let mut left: Vec<Option<&Value>> = self.values.iter().map(Some).collect();
        let mut parts = text.split("%{");
        let mut said = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let named = part.split_once('}');
            let value = named.and_then(|(name, rest)| {
                let value = left.get_mut(self.position(name)?)?.take()?;
                Some((value, rest))
            });
            match value {
                Some((Value::Words(words), rest)) => said += &format!("{words}{rest}"),
                Some((Value::Phrase(phrase), rest)) => said += &format!("{}{rest}", say(phrase)),
                None => said += &format!("%{{{part}"),
            }
        }
        said
    }

    fn position(&self, name: &str) -> Option<usize> {
        let parts = self.text.split("%{").skip(1);
        let mut names = parts.filter_map(|part| part.split('}').next());
        names.position(|known| known == name)
    }
}

/// Sentences as one; `None` of none.
pub(crate) fn sentences(sentences: impl IntoIterator<Item = Phrase>) -> Option<Phrase> {
    let join =
        |first: Phrase, rest: Phrase| phrase!("%{first}; %{rest}", first = first, rest = rest);
    sentences.into_iter().reduce(join)
}

/// More pids aren't listed.
const PIDS_MAX: usize = 10;

/// Pids for a person, of which there are `more`: the first ten, and how many others there are.
pub(crate) fn pids(pids: &[i32], more: usize) -> Phrase {
    let shown = &pids[..pids.len().min(PIDS_MAX)];
    let more = more + pids.len() - shown.len();
    and_more(&list(shown), more)
}

/// A list that has `more` than is shown.
pub(crate) fn and_more(shown: &str, more: usize) -> Phrase {
    if more == 0 {
        return Phrase::of_words(shown);
    }
    phrase!(
        "%{shown} and %{more} more",
        shown = shown,
        more = more.to_string()
    )
}

impl fmt::Display for Phrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.say(&self.text, Self::to_string))
    }
}

impl std::error::Error for Phrase {}

impl From<Phrase> for Value {
    fn from(phrase: Phrase) -> Self {
        Self::Phrase(phrase)
    }
}

/// Fit for a terminal.
impl From<&str> for Value {
    fn from(words: &str) -> Self {
        Self::Words(printable(words))
    }
}

impl From<String> for Value {
    fn from(words: String) -> Self {
        words.as_str().into()
    }
}

/// Whether `names` are those in the text, in the same order.
pub(crate) const fn has_names(text: &str, names: &[&str]) -> bool {
    let text = text.as_bytes();
    let (mut at, mut found) = (0, 0);
    while at + 1 < text.len() {
        if text[at] == b'%' && text[at + 1] == b'{' {
            if found == names.len() {
                return false;
            }
            let name = names[found].as_bytes();
            let begin = at + 2;
            let mut length = 0;
            while length < name.len() {
                if begin + length >= text.len() || text[begin + length] != name[length] {
                    return false;
                }
                length += 1;
            }
            if begin + length >= text.len() || text[begin + length] != b'}' {
                return false;
            }
            found += 1;
        }
        at += 1;
    }
    found == names.len()
}

#[cfg(test)]
impl From<&str> for Phrase {
    fn from(words: &str) -> Self {
        Self::of_words(words)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use mfe_kit::catalogue::Catalogue;

    use super::*;

    /// Whether a text has words of its own, besides what stands for its variables.
    fn has_words(text: &str) -> bool {
        let (first, others) = text.split_once("%{").unwrap_or((text, ""));
        let others = others.split("%{").map(|part| part.split_once('}'));
        let mut own = others.map(|part| part.map_or("", |(_, own)| own));
        let is_word = |own: &str| own.contains(char::is_alphabetic);
        is_word(first) || own.any(is_word)
    }

    #[test]
    fn the_texts_are_those_that_are_used_in_every_language() {
        let catalogue = Catalogue::of(env!("CARGO_MANIFEST_DIR"));
        catalogue.check_languages();
        let texts = &catalogue.texts;
        let (by_key, mut phrases) = (catalogue.used("t"), catalogue.used("phrase"));
        phrases.retain(|phrase| has_words(phrase));
        assert!(!by_key.is_empty() && !phrases.is_empty());
        let used: BTreeSet<&String> = by_key.union(&phrases).collect();
        for key in &used {
            assert!(
                texts.contains_key(*key),
                "{key} is in no file of the folder locales"
            );
        }
        // clap has asked for the help by what stands at the arguments.
        let help = catalogue.file("help.yml");
        for key in texts.keys().filter(|key| !help.contains_key(*key)) {
            assert!(used.contains(key), "{key} is used nowhere");
        }
    }

    fn nested() -> Phrase {
        let status = phrase!("exit status %{code}", code = 3.to_string());
        phrase!("the start script failed with %{status}", status = status)
    }

    #[test]
    fn it_is_english_whatever_the_language_is() {
        let expected = "the start script failed with exit status 3";
        assert_eq!(nested().to_string(), expected);
        assert_eq!(nested().translated(), expected, "nobody wants another");
    }

    #[test]
    fn the_command_at_the_end_is_known() {
        let fix = phrase!("%{name}: %{command}", name = "a", command = "sudo x");
        assert_eq!(fix.command(), Some("sudo x"));
        let nested = phrase!("%{name}: %{what}", name = "a", what = fix.clone());
        assert_eq!(nested.command(), Some("sudo x"));
        assert!(nested.translated().ends_with("sudo x"));
        // Whatever somebody calls his file.
        let named = phrase!("%{what}: %{path}", what = fix, path = "sudo y");
        assert_eq!(named.command(), None);
        assert_eq!(super::tests::nested().command(), None);
    }

    #[test]
    fn what_is_written_is_read_again() {
        let json = serde_json::to_string(&nested()).unwrap();
        assert_eq!(serde_json::from_str::<Phrase>(&json).unwrap(), nested());
        let plain = phrase!("it is being restarted");
        let json = serde_json::to_string(&plain).unwrap();
        assert_eq!(json, r#"{"text":"it is being restarted"}"#);
        assert_eq!(serde_json::from_str::<Phrase>(&json).unwrap(), plain);
    }

    #[test]
    fn a_part_is_what_it_is_even_if_it_looks_like_a_name() {
        let phrase = Phrase::of_words("%{words}\n");
        assert_eq!(phrase.to_string(), "%{words}\\n");
    }

    #[test]
    fn what_others_have_written_is_said_as_far_as_it_makes_sense() {
        for (text, expected) in [
            ("é%{a}é%{b}", "éAé%{b}"),
            ("%é{a}%{a", "%é{a}%{a"),
            ("%{a}%{a}", "A%{a}"),
            ("%{%{a}}", "%{%{a}}"),
            ("", ""),
        ] {
            let json = format!(r#"{{"text":"{text}","values":["A"]}}"#);
            let phrase: Phrase = serde_json::from_str(&json).unwrap();
            assert_eq!(phrase.to_string(), expected);
            assert_eq!(phrase.translated(), expected);
        }
    }

    #[test]
    fn of_many_pids_ten_are_shown() {
        assert_eq!(pids(&[], 0).to_string(), "");
        assert_eq!(pids(&[5, 6], 0).to_string(), "5, 6");
        let many: Vec<i32> = (1..=900).collect();
        let shown = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10";
        assert_eq!(pids(&many, 0).to_string(), format!("{shown} and 890 more"));
        let expected = format!("{shown} and 4990 more");
        assert_eq!(pids(&many[..10], 4990).to_string(), expected);
    }

    #[test]
    fn names_are_those_of_the_text() {
        assert!(has_names("a %{b} %{c}", &["b", "c"]));
        assert!(has_names("100%", &[]));
        for names in [&["b"][..], &["c", "b"], &["b", "c", "d"], &["b", "cc"], &[]] {
            assert!(!has_names("a %{b} %{c}", names), "{names:?}");
        }
        assert!(!has_names("a %{b", &["b"]) && !has_names("%{bb}", &["b"]));
    }
}
