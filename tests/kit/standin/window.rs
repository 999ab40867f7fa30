//! The screen: a display that answers and starts what an autostart entry would, and a window on it that
//! ends when the display does.

use std::fs;
use std::io::{ErrorKind, Read};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

fn socket(display: &str) -> PathBuf {
    PathBuf::from("/tmp/.X11-unix").join(format!("X{display}"))
}

/// Answers as display NUMBER, and starts COMMAND after SECONDS, unless there is none. Ends by a signal.
pub(crate) fn desk(mut arguments: impl Iterator<Item = String>) {
    const USAGE: &str = "usage: NAME DIRECTORY desk NUMBER [SECONDS COMMAND ...]";
    let socket = socket(&arguments.next().expect(USAGE));
    let folder = socket.parent().expect("a folder");
    if let Err(error) = fs::create_dir(folder) {
        assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
    }
    // Every user has a display there.
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o1777);
    let _ = fs::set_permissions(folder, mode);
    let _ = fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket).expect("the display can't be made");
    if let Some(seconds) = arguments.next() {
        let seconds = seconds.parse().expect(USAGE);
        let program = arguments.next().expect(USAGE);
        let rest: Vec<String> = arguments.collect();
        thread::spawn(move || {
            thread::sleep(Duration::from_secs(seconds));
            let mut child = Command::new(program)
                .args(rest)
                .spawn()
                .expect("the autostart");
            child.wait()
        });
    }
    let mut windows = Vec::new();
    for window in listener.incoming() {
        windows.push(window);
    }
}

/// A window: ends with 1 when its display doesn't answer, or no longer does.
pub(crate) fn window() {
    let display = std::env::var("DISPLAY").unwrap_or_default();
    let number = display
        .strip_prefix(':')
        .and_then(|rest| rest.split('.').next());
    let connected = number.map(|number| UnixStream::connect(socket(number)));
    let Some(Ok(mut connection)) = connected else {
        eprintln!("Error: Can't open display: {display}");
        std::process::exit(1);
    };
    while connection.read(&mut [0]).is_ok_and(|count| count > 0) {}
    eprintln!("X connection to {display} broken");
    std::process::exit(1);
}
