//! What the service says to the journal: a line on stderr with its level (sd-daemon(3)), or as it is where a person
//! is watching.

use std::io::{IsTerminal, Write, stderr};

/// How grave it is, as syslog(3) numbers it.
#[derive(Debug, Clone, Copy)]
pub enum Level {
    /// Something that somebody should see to.
    Warning = 4,
    /// Anything else.
    Info = 6,
}

/// Says it. Nobody being there to hear it is no error.
pub fn say(level: Level, text: &str) {
    let text = text.replace(char::is_control, " ");
    let prefix = if stderr().is_terminal() {
        String::new()
    } else {
        format!("<{}>", level as u8)
    };
    let _ = writeln!(stderr(), "{prefix}{text}");
}
