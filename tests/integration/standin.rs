//! A stand-in for the vendor's closed programs: it notes that it was started and stays, and does
//! nothing else. It has the name of the file it is started as.
//!
//! `NAME DIRECTORY` appends its pid as a line to `DIRECTORY/NAME.starts`, as its first act, and
//! ends by itself once the directory is gone, so that no failed test leaves it behind. With `prefork`
//! as a further argument it begins with a child like itself; with `busy` it uses all the CPU it gets.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

/// It never outlives its test by more than this.
const LIFETIME_IN_CHECKS: u32 = 30 * 60;

/// Runs the stand-in with the process's own arguments.
pub fn main() {
    let mut arguments = std::env::args_os();
    let program = arguments.next().unwrap_or_default();
    let name = Path::new(&program).file_name().unwrap_or_default();
    let directory = arguments.next().expect("usage: NAME DIRECTORY");
    let directory = Path::new(&directory);
    let mut starts = name.to_owned();
    starts.push(".starts");
    OpenOptions::new()
        .append(true)
        .create(true)
        .open(directory.join(starts))
        .and_then(|mut file| file.write_all(format!("{}\n", std::process::id()).as_bytes()))
        .expect("the start can't be noted");
    let mode = arguments.next().unwrap_or_default();
    let child = (mode == "prefork").then(|| {
        std::process::Command::new(&program)
            .arg(directory)
            .spawn()
            .expect("the child can't be started")
    });
    if mode == "busy" {
        std::thread::spawn(|| {
            loop {
                std::hint::spin_loop();
            }
        });
    }
    for _ in 0..LIFETIME_IN_CHECKS {
        if !directory.exists() {
            break;
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    if let Some(mut child) = child {
        let _ = child.wait();
    }
}
