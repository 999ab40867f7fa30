//! Where the one stand-in program is, and what it has noted of its starts.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The program's file. `standin/main.rs` says what it takes.
pub const STANDIN: &str = env!("MFE_STANDIN");

/// A start, as the stand-in has noted it.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// Its pid, as it knows it itself.
    pub pid: i32,
    /// When it began, since 1970.
    pub began: Duration,
}

impl Start {
    /// Reads a line that the stand-in has written.
    pub fn parse(line: &str) -> Option<Self> {
        let (pid, began) = line.split_once(' ')?;
        Some(Self {
            pid: pid.parse().ok()?,
            began: Duration::from_nanos(began.parse().ok()?),
        })
    }
}

/// Where a stand-in of this name notes its starts.
pub fn starts_file(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}.starts"))
}

/// Every start that was noted in a file, in order.
pub fn starts(file: &Path) -> Vec<Start> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let start = |line| Start::parse(line).unwrap_or_else(|| panic!("no start: {line}"));
    text.lines().map(start).collect()
}
