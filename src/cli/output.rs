//! Where commands print: in the characters that the terminal has, and without complaint where nobody reads
//! any more.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;
use rust_i18n::t;

use crate::text::charset::Charset;

/// Whether somebody reads what was printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    Reads,
    /// It has read what it wanted.
    Gone,
}

/// Prints what a person reads, and the end of the command with it.
pub(super) fn print(text: &str) -> anyhow::Result<ExitCode> {
    show(text)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints what a program reads, such as JSON, which is UTF-8 in each locale.
pub(super) fn print_raw(text: &str) -> anyhow::Result<ExitCode> {
    write(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// Prints what a person reads, at once.
pub(super) fn show(text: &str) -> anyhow::Result<Reader> {
    write(&Charset::of_environment().encode(text))
}

/// Prints what a program reads, at once.
pub(super) fn show_raw(text: &str) -> anyhow::Result<Reader> {
    write(text.as_bytes())
}

fn write(bytes: &[u8]) -> anyhow::Result<Reader> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Reader::Gone),
        written => {
            written.with_context(|| t!("errors.output"))?;
            Ok(Reader::Reads)
        }
    }
}

/// Prints a line to stderr.
pub(super) fn complain(line: &str) {
    let mut bytes = Charset::of_environment().encode(line);
    bytes.push(b'\n');
    // There is nowhere left to say that it failed.
    let _ = io::stderr().lock().write_all(&bytes);
}
