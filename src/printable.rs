//! Makes text fit for people, foreign text above all: for a terminal, the journal and status files;
//! it shortens nothing.

/// `text` with its control characters escaped, so that it can neither break a line nor steer a
/// terminal.
#[must_use]
pub(crate) fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            printable.extend(c.escape_default());
        } else {
            printable.push(c);
        }
    }
    printable
}

/// A list as people write it: `1, 2, 3`.
#[must_use]
pub(crate) fn list(items: impl IntoIterator<Item: ToString>) -> String {
    let items = items.into_iter().map(|item| item.to_string());
    items.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::{list, printable};

    #[test]
    fn a_list_has_commas_between_its_items() {
        assert_eq!(list([1, 2, 3]), "1, 2, 3");
        assert_eq!(list(["one"]), "one");
        assert_eq!(list([0; 0]), "");
    }

    #[test]
    fn control_characters_are_escaped_and_the_rest_stays() {
        assert_eq!(printable("a\n\u{1b}[2Jb c"), "a\\n\\u{1b}[2Jb c");
        assert_eq!(printable("Comunicação (1)"), "Comunicação (1)");
    }
}
