//! Makes text fit for people, foreign text above all: for a terminal, the journal and status files;
//! it shortens only what it is told to.

/// `text` with its control characters escaped, so that it can neither break a line nor steer a
/// terminal, nor look like another text.
#[must_use]
pub fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || is_invisible(c) {
            printable.extend(c.escape_default());
        } else {
            printable.push(c);
        }
    }
    printable
}

/// Whether a character has no look of its own but changes that of its neighbours, or hides: line
/// and paragraph separators (Unicode's Zl and Zp), format characters (Cf), of which some turn the
/// direction of writing, variation selectors and blank fillers. Combining accents are none.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}'
        | '\u{890}'..='\u{891}' | '\u{8e2}' | '\u{115f}'..='\u{1160}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// A word, such as a path, as a shell takes it and a person reads it.
#[must_use]
pub fn shell_word(word: &str) -> String {
    let word = printable(word);
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@".contains(c);
    if word.chars().all(is_plain) {
        word
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// No more than so many characters of a text, with an ellipsis for the rest.
#[must_use]
pub fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// No more than so many bytes of a text, with an ellipsis for the rest.
#[must_use]
pub fn cut_bytes(mut text: String, most: usize) -> String {
    if text.len() > most {
        let most = most.saturating_sub('…'.len_utf8());
        let end = (0..=most).rev().find(|end| text.is_char_boundary(*end));
        text.truncate(end.unwrap_or_default());
        text.push('…');
    }
    text
}

/// A list as people write it: `1, 2, 3`.
#[must_use]
pub fn list(items: impl IntoIterator<Item: ToString>) -> String {
    let items = items.into_iter().map(|item| item.to_string());
    items.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::{cut, cut_bytes, list, printable, shell_word};

    #[test]
    fn a_list_has_commas_between_its_items() {
        assert_eq!(list([1, 2, 3]), "1, 2, 3");
        assert_eq!(list(["one"]), "one");
        assert_eq!(list([0; 0]), "");
    }

    #[test]
    fn what_is_cut_has_an_ellipsis() {
        assert_eq!(cut("ção", 3), "ção");
        assert_eq!(cut("ção", 2), "çã…");
        assert_eq!(cut("", 0), "");
        assert_eq!(cut_bytes("ção".into(), 5), "ção");
        assert_eq!(cut_bytes("çãoo".into(), 5), "ç…");
        assert_eq!(cut_bytes("çã".into(), 3), "…");
    }

    #[test]
    fn a_word_is_quoted_where_the_shell_would_take_it_apart() {
        assert_eq!(shell_word("/opt/x-1.sh"), "/opt/x-1.sh");
        assert_eq!(shell_word("a b"), "'a b'");
        assert_eq!(shell_word("a'$(b)"), "'a'\\''$(b)'");
    }

    #[test]
    fn control_characters_are_escaped_and_the_rest_stays() {
        assert_eq!(printable("a\n\u{1b}[2Jb c"), "a\\n\\u{1b}[2Jb c");
        assert_eq!(printable("Comunicação (1)"), "Comunicação (1)");
    }

    #[test]
    fn what_hides_or_turns_text_is_escaped_and_accents_stay() {
        // "Monitor" in the other direction, a zero-width space, a line separator, a tag.
        for (hidden, shown) in [
            ("\u{202e}rotinoM\u{202c}", "\\u{202e}rotinoM\\u{202c}"),
            ("\u{2066}\u{2069}\u{61c}", "\\u{2066}\\u{2069}\\u{61c}"),
            ("Moni\u{200b}tor\u{feff}", "Moni\\u{200b}tor\\u{feff}"),
            ("a\u{2028}b\u{2029}", "a\\u{2028}b\\u{2029}"),
            ("\u{85}\u{9b}", "\\u{85}\\u{9b}"),
            ("\u{e0041}", "\\u{e0041}"),
        ] {
            assert_eq!(printable(hidden), shown);
        }
        // Written with combining accents, as some file systems have it; and other scripts.
        for text in ["Comunicac\u{327}a\u{303}o", "Чек", "نقدا", "レジ"] {
            assert_eq!(printable(text), text);
        }
    }

    #[test]
    fn what_is_printable_stays_as_it_is() {
        let once = printable("a\n\u{202e}\\");
        assert_eq!(printable(&once), once);
    }
}
