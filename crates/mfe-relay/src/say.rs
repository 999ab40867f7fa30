//! What the service says to the journal: a line on stderr with its level (sd-daemon(3)), or as it is where a person
//! is watching.

use std::io::{IsTerminal, stderr};

/// How grave it is, as syslog(3) numbers it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Level {
    Warning = 4,
    Info = 6,
}

/// Says it. Nobody being there to hear it is no error.
pub(crate) fn say(level: Level, text: &str) {
    use std::io::Write;
    let text = text.replace('\n', "\\n");
    let prefix = if stderr().is_terminal() {
        String::new()
    } else {
        format!("<{}>", level as u8)
    };
    let _ = writeln!(stderr(), "{prefix}{text}");
}
