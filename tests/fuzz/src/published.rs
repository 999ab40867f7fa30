//! Any bytes as one of the files of the service's own. The first line of the input names the file.

use std::fs;
use std::path::Path;

use mfe_watchdog::daemon::effective_config;
use mfe_watchdog::daemon::state;
use mfe_watchdog::status::service::Record;
use mfe_watchdog::status::{FILE_NAME, Status};

/// Puts the bytes into a runtime directory and reads it.
pub fn run(data: &[u8]) {
    let Some(end) = data.iter().position(|byte| *byte == b'\n') else {
        return;
    };
    thread_local! {
        static DIRECTORY: tempfile::TempDir =
            tempfile::tempdir().expect("a temporary directory");
    }
    DIRECTORY.with(|directory| {
        let directory = directory.path();
        let (file, content) = (&data[..end], &data[end + 1..]);
        let write = |name: &str| {
            fs::write(directory.join(name), content).expect("the input is written");
        };
        match file {
            b"in-force.toml" => {
                write("in-force.toml");
                let _ = effective_config::published(directory);
            }
            b"last-in-force.toml" => {
                let content = filled_in(content, b"@machine@", "/etc/machine-id");
                fs::write(directory.join("last-in-force.toml"), content)
                    .expect("the input is written");
                let _ = effective_config::kept(directory);
            }
            b"service.json" => {
                write("service.json");
                let _ = Record::read(directory).is_some_and(|record| record.lives());
            }
            b"state.json" => {
                let boot = "/proc/sys/kernel/random/boot_id";
                let content = filled_in(content, b"@boot@", boot);
                fs::write(directory.join("state.json"), content).expect("the input is written");
                remembered(directory);
            }
            _ => {
                write(FILE_NAME);
                status(directory);
            }
        }
    });
}

/// What was understood is understood again once it was written.
fn status(directory: &Path) {
    let Ok(Some(status)) = Status::read(directory) else {
        return;
    };
    let _ = (
        status.line(std::time::SystemTime::now()),
        status.is_all_well(),
    );
    for phrase in status.processes.iter().flat_map(|process| &process.wording) {
        let _ = phrase.translated();
    }
    status.write(directory).expect("a status can be written");
    let once = Status::read(directory).expect("it was written");
    let once = once.expect("it was written");
    once.write(directory).expect("a status can be written");
    let twice = Status::read(directory).expect("it was written");
    // Not the first one: times are kept to the millisecond only.
    assert_eq!(twice, Some(once));
}

/// What was kept counts in the boot, or on the machine, that it is of: the input has a `place` for that,
/// into which the text of a file is put.
fn filled_in(content: &[u8], place: &[u8], file: &str) -> Vec<u8> {
    let mut windows = content.windows(place.len());
    let Some(at) = windows.position(|window| window == place) else {
        return content.to_vec();
    };
    let text = fs::read_to_string(file).unwrap_or_default();
    let (before, after) = (&content[..at], &content[at + place.len()..]);
    [before, text.trim().as_bytes(), after].concat()
}

/// What was remembered can be remembered again; what can't be used is out of the way.
fn remembered(directory: &Path) {
    let Ok(remembered) = state::read(directory) else {
        state::set_aside(directory).expect("it can be set aside");
        let again = state::read(directory).expect("it was set aside");
        assert_eq!(again.len(), 0, "{again:?}");
        return;
    };
    state::write(directory, &remembered, false).expect("a state can be written");
    let again = state::read(directory).expect("it was written");
    assert_eq!(again.len(), remembered.len(), "{remembered:?}");
}
