//! Breaks text and shell commands into lines that fit a terminal; it knows nothing of what they say.

use std::fmt;

use textwrap::core::Word;
use textwrap::{Options, WordSeparator, WordSplitter, WrapAlgorithm, wrap};

/// The width of the terminals that technicians have, in columns.
pub(crate) const WIDTH: usize = 80;

/// What a line of a command ends with that goes on in the next.
const GOES_ON: &str = " \\";

/// Words in lines.
#[derive(Debug)]
pub(crate) struct Paragraph(String);

impl Paragraph {
    /// Text at the margin, its further lines indented.
    pub(crate) fn of_text(text: &str) -> Self {
        Self::indented(text, "")
    }

    /// Text of which every line is indented.
    pub(crate) fn of_detail(text: &str) -> Self {
        Self::indented(text, "  ")
    }

    /// Text that stands beside something, such as a time, in all its lines.
    pub(crate) fn beside(first: &str, text: &str) -> Self {
        let column = " ".repeat(first.chars().count());
        Self::between(text, first, &column)
    }

    fn indented(text: &str, first: &str) -> Self {
        Self::between(text, first, "  ")
    }

    fn between(text: &str, first: &str, further: &str) -> Self {
        let words: Vec<&str> = text.split_whitespace().collect();
        let options = options(WIDTH)
            .initial_indent(first)
            .subsequent_indent(further);
        Self(wrap(&words.join(" "), options).join("\n"))
    }

    /// A shell command, indented. It can be copied as a whole: a line ends with a backslash, and never
    /// within quotes.
    pub(crate) fn of_command(command: &str) -> Self {
        let options = options(WIDTH - GOES_ON.len())
            .word_separator(WordSeparator::Custom(shell_words))
            .initial_indent("    ")
            .subsequent_indent("      ");
        Self(wrap(command, options).join(&format!("{GOES_ON}\n")))
    }
}

/// What is longer than a line stays in one piece.
fn options(width: usize) -> Options<'static> {
    Options::new(width)
        .break_words(false)
        .word_splitter(WordSplitter::NoHyphenation)
        .wrap_algorithm(WrapAlgorithm::FirstFit)
        .word_separator(WordSeparator::AsciiSpace)
}

/// What the spaces outside quotes separate.
fn shell_words(command: &str) -> Box<dyn Iterator<Item = Word<'_>> + '_> {
    let mut quote = None;
    let mut is_escaped = false;
    let mut ends = command.match_indices(move |c: char| {
        // Within quotes a backslash is one, as far as the commands here go.
        let is_literal = std::mem::replace(&mut is_escaped, quote.is_none() && c == '\\');
        match quote {
            _ if is_literal => is_escaped = false,
            None if c == ' ' => return true,
            None if c == '\'' || c == '"' => quote = Some(c),
            Some(open) if open == c => quote = None,
            _ => {}
        }
        false
    });
    let mut begin = 0;
    Box::new(std::iter::from_fn(move || {
        if begin == command.len() {
            return None;
        }
        let end = ends
            .next()
            .map_or(command.len(), |(at, space)| at + space.len());
        Some(Word::from(
            &command[std::mem::replace(&mut begin, end)..end],
        ))
    }))
}

impl fmt::Display for Paragraph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_broken_at_spaces() {
        let text = Paragraph::of_text(&"palavra ".repeat(21)).to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines.iter().all(|line| line.chars().count() <= WIDTH));
        assert!(lines[1].starts_with("  palavra"));
        let word = "x".repeat(100);
        assert_eq!(Paragraph::of_text(&word).to_string(), word);
        assert_eq!(Paragraph::of_text("").to_string(), "");
        let detail = Paragraph::of_detail(&"palavra ".repeat(21)).to_string();
        assert!(detail.lines().all(|line| line.starts_with("  palavra")));
    }

    #[test]
    fn a_broken_command_means_the_same() {
        let command = format!("sudo sh -c 'a  b' {}", "word ".repeat(20).trim_end());
        let text = Paragraph::of_command(&command).to_string();
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH));
        let joined: Vec<&str> = text.lines().map(str::trim_start).collect();
        assert_eq!(joined.join("\n").replace("\\\n", ""), command);
    }

    #[test]
    fn a_command_is_not_broken_within_quotes() {
        let quoted = format!("'{}'", "a ".repeat(50));
        let text = Paragraph::of_command(&format!("sudo sed {quoted} /x")).to_string();
        assert!(text.contains(&quoted), "{text}");
        // As `shell_word` quotes a quote.
        let name = "'it'\\''s a name of its own'";
        let text = Paragraph::of_command(&format!("sudo {}{name} {name}", "word ".repeat(12)));
        let text = text.to_string();
        assert_eq!(text.matches(name).count(), 2, "{text}");
        assert!(text.lines().count() > 1, "{text}");
    }
}
