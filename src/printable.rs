//! Makes foreign text fit for a terminal, the journal and status files; it shortens nothing.

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

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn control_characters_are_escaped_and_the_rest_stays() {
        assert_eq!(printable("a\n\u{1b}[2Jb c"), "a\\n\\u{1b}[2Jb c");
        assert_eq!(printable("Comunicação (1)"), "Comunicação (1)");
    }
}
