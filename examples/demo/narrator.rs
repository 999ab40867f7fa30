//! Puts the story on the terminal: the demo's own words, and the service's without what is meant
//! for machines. It decides nothing about what is told.

use std::io::{self, IsTerminal, Stdout, Write};

/// Lines are no longer than this, in columns.
const WIDTH: usize = 98;

/// What stands before everything the service has said.
const MARK: &str = "  | ";

/// Tells the story on stdout.
pub(crate) struct Narrator {
    stdout: Stdout,
    colour: bool,
}

/// One line of the service, as it came from its stderr.
pub(crate) struct ServiceLine {
    line: String,
}

impl ServiceLine {
    pub(crate) fn new(line: String) -> Self {
        Self { line }
    }

    /// Whether it tells of this event of the process with this key.
    pub(crate) fn tells(&self, event: &str, key: &str) -> bool {
        let has = |field: String| self.line.split(' ').any(|word| word == field);
        has(format!("MFE_EVENT={event}")) && has(format!("MFE_PROCESS={key}"))
    }

    /// Time of day, level, words; the fields after them are for the journal's readers.
    fn parts(&self) -> Option<(&str, &str, &str)> {
        let (time, rest) = self.line.split_once(' ')?;
        let (_, time) = time.split_once('T')?;
        let (level, rest) = rest.trim_start().split_once(' ')?;
        let words = rest.split(" MFE_").next()?;
        Some((time, level, words))
    }
}

impl Narrator {
    pub(crate) fn new() -> Self {
        Self {
            stdout: io::stdout(),
            colour: io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
        }
    }

    /// Begins a part of the story.
    pub(crate) fn heading(&self, text: &str) -> io::Result<()> {
        let text = self.paint("1", text);
        self.line(&format!("\n{text}"))
    }

    /// Says something in the demo's own words.
    pub(crate) fn say(&self, text: &str) -> io::Result<()> {
        for line in wrap(text, WIDTH) {
            self.line(&line)?;
        }
        Ok(())
    }

    /// Repeats what the service has said.
    pub(crate) fn repeat(&self, line: &ServiceLine) -> io::Result<()> {
        let Some((time, level, words)) = line.parts() else {
            return self.quote(&line.line);
        };
        let level = format!("{level:>5}");
        let before = MARK.len() + time.len() + 1 + level.len() + 1;
        let colour = match level.trim_start() {
            "ERROR" => "31",
            "WARN" => "33",
            _ => "",
        };
        for (number, words) in wrap(words, WIDTH - before).iter().enumerate() {
            if number == 0 {
                let mark = self.paint("2", MARK);
                let time = self.paint("2", time);
                let level = self.paint(colour, &level);
                self.line(&format!("{mark}{time} {level} {words}"))?;
            } else {
                let mark = self.paint("2", &format!("{MARK:before$}"));
                self.line(&format!("{mark}{words}"))?;
            }
        }
        Ok(())
    }

    /// Shows a line as it is.
    pub(crate) fn quote(&self, line: &str) -> io::Result<()> {
        let mark = self.paint("2", MARK);
        self.line(&format!("{mark}{line}"))
    }

    fn line(&self, line: &str) -> io::Result<()> {
        writeln!(&self.stdout, "{line}").map_err(|error| {
            io::Error::new(error.kind(), format!("stdout can't be written to: {error}"))
        })
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        if self.colour && !colour.is_empty() {
            format!("\u{1b}[{colour}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }
}

/// Breaks a text between words. A longer word, such as a path, has a line to itself.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
