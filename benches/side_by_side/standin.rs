//! A stand-in for the vendor's programs: says when it began, by the clock that every process
//! shares, and stays until its pipe is gone. It does nothing else.
//!
//! `NAME PIPE` writes one line, `PID NANOSECONDS`, to the named pipe.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, SystemTime};

fn main() {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.expect("a clock after 1970").as_nanos();
    let pipe = std::env::args_os().nth(1).expect("usage: NAME PIPE");
    // Opened in both directions, a pipe without a reader blocks nobody.
    let opened = OpenOptions::new().read(true).write(true).open(&pipe);
    let line = format!("{} {now}\n", std::process::id());
    if let Ok(mut opened) = opened {
        let _ = opened.write_all(line.as_bytes());
    }
    while Path::new(&pipe).exists() {
        std::thread::sleep(Duration::from_secs(1));
    }
}
