//! Breaks text and shell commands into lines that fit a terminal; it knows nothing of what they say.

use std::fmt;

/// The width of the terminals that technicians have, in columns.
pub(crate) const WIDTH: usize = 80;

/// Words in lines.
#[derive(Debug)]
pub(crate) struct Paragraph {
    words: Vec<String>,
    /// What each line but the last ends with.
    line_end: &'static str,
    /// The columns before the first line and before the others.
    indents: (usize, usize),
}

impl Paragraph {
    /// Text at the margin, its further lines indented.
    pub(crate) fn of_text(text: &str) -> Self {
        Self {
            words: text.split_whitespace().map(str::to_owned).collect(),
            line_end: "",
            indents: (0, 2),
        }
    }

    /// Text of which every line is indented.
    pub(crate) fn of_detail(text: &str) -> Self {
        Self {
            indents: (2, 2),
            ..Self::of_text(text)
        }
    }

    /// A shell command, indented. It can be copied as a whole: a line ends with a backslash, and never
    /// within quotes.
    pub(crate) fn of_command(command: &str) -> Self {
        let mut words = vec![String::new()];
        let mut quote = None;
        let mut is_escaped = false;
        for c in command.chars() {
            // Within quotes a backslash is one, as far as the commands here go.
            let is_literal = std::mem::replace(&mut is_escaped, quote.is_none() && c == '\\');
            match quote {
                _ if is_literal => is_escaped = false,
                None if c == ' ' => {
                    words.push(String::new());
                    continue;
                }
                None if c == '\'' || c == '"' => quote = Some(c),
                Some(open) if open == c => quote = None,
                _ => {}
            }
            if let Some(word) = words.last_mut() {
                word.push(c);
            }
        }
        Self {
            words,
            line_end: " \\",
            indents: (4, 6),
        }
    }
}

impl fmt::Display for Paragraph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, others) = self.indents;
        let mut line = " ".repeat(first);
        let mut is_empty = true;
        for word in &self.words {
            let width = line.chars().count() + 1 + word.chars().count() + self.line_end.len();
            if !is_empty && width > WIDTH {
                writeln!(f, "{line}{}", self.line_end)?;
                line = " ".repeat(others);
                is_empty = true;
            }
            if !is_empty {
                line.push(' ');
            }
            line += word;
            is_empty = false;
        }
        f.write_str(&line)
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
