//! What people who never read about TOML get wrong in it, told for what it is: one problem a line, in
//! the words of the mistake and not of the parser. What a file that can be read says is
//! [`super::section`]'s.

use std::ops::Range;

use crate::text::phrase::{Phrase, phrase};

/// Quotes as word processors write them.
const TYPOGRAPHIC_QUOTES: [char; 8] = ['“', '”', '„', '‟', '‘', '’', '«', '»'];

/// What looks like a space, or like nothing, and is neither to TOML.
const SPECIAL_SPACES: [char; 8] = [
    '\u{a0}', '\u{2003}', '\u{2007}', '\u{2009}', '\u{200b}', '\u{202f}', '\u{2060}', '\u{feff}',
];

/// How people write the two truth values.
const TRUTHS: [&str; 12] = [
    "true",
    "false",
    "yes",
    "no",
    "on",
    "off",
    "sim",
    "não",
    "nao",
    "verdadeiro",
    "falso",
    "verdade",
];

/// A mistake: where it is, what the text has there that is its subject, and what is wrong.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    /// A byte of the line that it is on.
    pub(super) offset: usize,
    /// The part of the text that it is about, if that says something.
    pub(super) subject: Option<Range<usize>>,
    pub(super) message: Phrase,
}

/// The mistakes behind what a parser has complained of, in the order of the text: one a line, and of a list
/// that isn't closed, by which all below it is misread, that one.
pub(super) fn mistakes(
    text: &str,
    complaints: impl IntoIterator<Item = (Range<usize>, String)>,
) -> Vec<Mistake> {
    let unclosed = unclosed_list(text);
    let mut complaints: Vec<_> = complaints.into_iter().collect();
    complaints.sort_by_key(|(span, _)| span.start);
    let mut found = Vec::new();
    let mut last_line = None;
    for (span, complaint) in complaints {
        let line = line_at(text, span.start);
        let is_misread = unclosed.is_some_and(|offset| line.start >= offset);
        if is_misread || last_line.replace(line.start) == Some(line.start) {
            continue;
        }
        let is_twice = complaint == "duplicate key" && !span.is_empty();
        let message = if is_twice {
            phrase!("is given twice; keep one of them")
        } else {
            let of_line = text.get(line).and_then(mistake);
            of_line.unwrap_or_else(|| of_parser(&complaint))
        };
        found.push(Mistake {
            offset: span.start,
            subject: is_twice.then_some(span),
            message,
        });
    }
    found.extend(unclosed.map(|offset| Mistake {
        offset,
        subject: None,
        message: phrase!("the list that begins on this line isn't closed: its ] is missing"),
    }));
    found
}

/// The line around a byte, without its end.
fn line_at(text: &str, offset: usize) -> Range<usize> {
    let before = text.get(..offset).unwrap_or(text);
    let start = before.rfind('\n').map_or(0, |end| end + 1);
    let rest = text.get(start..).unwrap_or_default();
    start..start + rest.find('\n').unwrap_or(rest.len())
}

/// What is wrong with a line that can't be parsed, if it is one of the usual mistakes.
fn mistake(line: &str) -> Option<Phrase> {
    let bare = outside_strings(line);
    if let Some(space) = bare.chars().find(|c| SPECIAL_SPACES.contains(c)) {
        return Some(phrase!(
            "has a special space (%{code}); delete it and type an ordinary one",
            code = format!("U+{:04X}", u32::from(space))
        ));
    }
    if let Some(quote) = bare.chars().find(|c| TYPOGRAPHIC_QUOTES.contains(c)) {
        return Some(phrase!(
            "has typographic quotes (%{quote}); write straight ones: \"",
            quote = quote.to_string()
        ));
    }
    let bare = bare.trim();
    for sign in [";", "//", "--"] {
        if bare.starts_with(sign) {
            return Some(phrase!(
                "a comment begins with #, not with %{sign}",
                sign = sign
            ));
        }
    }
    if bare.starts_with('[') && !bare.contains(']') {
        return Some(phrase!("the ] that closes the section's name is missing"));
    }
    let (key, value) = match bare.split_once('=') {
        Some((key, value)) => (key.trim(), Some(value.trim())),
        None => (bare, None),
    };
    let name = key.trim_start_matches('[').trim_end_matches(']');
    if value.is_none() && name.trim_start().find(':').is_some_and(|colon| colon > 0) {
        return Some(phrase!("write = between the setting and its value, not :"));
    }
    if name.chars().any(|c| !c.is_ascii() && c.is_alphabetic()) {
        return Some(phrase!(
            "the names of settings and sections have no accents: only a-z, 0-9, _ and -"
        ));
    }
    let value = value?;
    if TRUTHS.contains(&value.to_lowercase().as_str()) {
        return Some(phrase!(
            "write true or false, in lower case and without quotes"
        ));
    }
    None
}

/// A line with its texts in quotes, and its comment, left out.
fn outside_strings(line: &str) -> String {
    let mut bare = String::with_capacity(line.len());
    let mut quote = None;
    let mut is_escaped = false;
    for c in line.chars() {
        match quote {
            None if c == '#' => break,
            None if c == '"' || c == '\'' => quote = Some(c),
            None => bare.push(c),
            Some(open) if c == open && !is_escaped => quote = None,
            Some(_) => {}
        }
        is_escaped = quote == Some('"') && c == '\\' && !is_escaped;
    }
    bare
}

/// Where the list begins in which another setting or section begins, or the text ends.
fn unclosed_list(text: &str) -> Option<usize> {
    let mut open = None;
    let mut depth = 0_usize;
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        let is_list = depth > 0;
        if is_list && begins_something(line) {
            return open;
        }
        let bare = outside_strings(line);
        // The brackets of a section's name are none of a list's.
        let value = if is_list {
            Some(bare.as_str())
        } else {
            bare.split_once('=').map(|(_, value)| value)
        };
        for c in value.unwrap_or_default().chars() {
            match c {
                '[' => {
                    if depth == 0 {
                        open = Some(offset);
                    }
                    depth += 1;
                }
                ']' => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        // Texts of several lines are rare, and whoever writes them closes his lists.
        if line.contains("\"\"\"") || line.contains("'''") {
            return None;
        }
        offset += line.len();
    }
    open.filter(|_| depth > 0)
}

/// Whether a line is a section's name, or a setting with its value.
fn begins_something(line: &str) -> bool {
    let bare = outside_strings(line);
    let bare = bare.trim();
    let is_name = |text: &str| {
        let is_part = |c: char| c.is_alphanumeric() || "_-.".contains(c);
        text.starts_with(char::is_alphabetic) && text.chars().all(is_part)
    };
    let is_section =
        bare.starts_with('[') && is_name(bare.trim_start_matches('[').trim_end_matches(']').trim());
    let key = bare.split_once('=').map(|(key, _)| key.trim());
    is_section || key.is_some_and(is_name)
}

/// A parser's complaint, in plain words where it is a common one.
fn of_parser(complaint: &str) -> Phrase {
    if complaint.starts_with("string values must be quoted") {
        phrase!("the value is missing or isn't in quotes; for example: interval = \"10s\"")
    } else if complaint.starts_with("invalid basic string") {
        phrase!("the quote that ends the text is missing on this line")
    } else {
        phrase!("TOML syntax: %{what}", what = complaint)
    }
}

#[cfg(test)]
mod tests {
    use toml::de::DeTable;

    use super::*;

    fn told(text: &str) -> Vec<(usize, String)> {
        let (_, errors) = DeTable::parse_recoverable(text);
        let complaints = errors
            .iter()
            .map(|error| (error.span().unwrap_or_default(), error.message().to_owned()));
        let mistakes = mistakes(text, complaints).into_iter();
        let line = |offset: usize| 1 + text[..offset].matches('\n').count();
        mistakes
            .map(|mistake| (line(mistake.offset), mistake.message.to_string()))
            .collect()
    }

    #[track_caller]
    fn assert_told(text: &str, line: usize, words: &str) {
        let told = told(text);
        assert_eq!(told.len(), 1, "{text}: {told:?}");
        assert_eq!(told[0].0, line, "{text}: {told:?}");
        assert!(told[0].1.contains(words), "{text}: {told:?}");
    }

    #[test]
    fn each_usual_mistake_is_told_once_and_for_what_it_is() {
        for (line, words) in [
            ("name = “Comunicador”", "typographic quotes (“)"),
            ("command = [“/a”]", "typographic quotes"),
            ("interval: \"10s\"", "write = between"),
            ("interval : 10s", "write = between"),
            ("; a comment", "a comment begins with #, not with ;"),
            ("// a comment = 3", "not with //"),
            ("dry_run = True", "true or false, in lower case"),
            ("dry_run = SIM # sim", "true or false, in lower case"),
            ("dry_run = não", "true or false, in lower case"),
            ("[process.monitor", "the ] that closes"),
            ("[process.comunicação]", "no accents"),
            ("duração = \"10s\"", "no accents"),
            ("interval\u{a0}= \"10s\"", "special space (U+00A0)"),
            ("interval = 10s", "isn't in quotes; for example"),
            ("interval =", "the value is missing"),
            ("interval = \"10s", "the quote that ends"),
            ("interval \"10s\"", "TOML syntax: "),
        ] {
            let text = format!("start_timeout = \"1s\"\n{line}\nstop_timeout = \"1s\"\n");
            assert_told(&text, 2, words);
        }
    }

    #[test]
    fn of_a_list_that_is_not_closed_only_that_is_told() {
        let section = "[process.monitor]\nname = \"Monitor\"\n";
        for rest in [
            "command = [\"/opt/a.sh\"\ninterval = \"10s\"\nstop_timeout = \"1s\"\n[process.b]\nname = \"B\"\n",
            "command = [\"/opt/a.sh\",\n  \"-d\",\n\n[process.b]\nname = \"B\"\ncommand = [\"/b\"]\n",
            "command = [\"/opt/a.sh\"",
        ] {
            assert_told(&format!("{section}{rest}"), 3, "its ] is missing");
        }
        let both = format!("interval = 10s\n{section}command = [\"/a\"\nstop_timeout = \"1s\"\n");
        let told = told(&both);
        assert_eq!(told.iter().map(|told| told.0).collect::<Vec<_>>(), [1, 4]);
    }

    #[test]
    fn what_is_no_mistake_is_none() {
        for text in [
            "command = [\n  \"/a\", # a ] in a comment\n  \"b = ]\",\n]\nname = \"“quoted”\"\n",
            "[process.a]\nname = '[x'\ncommand = [[\"/x\"], [\n1]]\n[b]\n",
        ] {
            assert_eq!(told(text), []);
            assert_eq!(unclosed_list(text), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_judged_without_a_panic_and_one_problem_a_line(
            text in "([a-z\\[\\]=\"'#:;“ \u{a0}\n]|\"\"\"|é|True){0,120}",
        ) {
            let told = told(&text);
            let mut lines: Vec<usize> = told.iter().map(|told| told.0).collect();
            lines.dedup();
            proptest::prop_assert!(lines.len() + 1 >= told.len(), "{told:?}");
        }
    }
}
