//! Any text as a configuration.

use std::path::Path;

use mfe_watchdog::config;

/// Reads the bytes.
pub fn run(data: &[u8]) {
    // Reading the file has refused everything else by then.
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let file = Path::new("config.toml");
    match config::parse(text, file) {
        Ok(settings) => {
            let shown = settings.to_toml().expect("what is in force can be shown");
            let again = config::parse(&shown, file);
            assert_eq!(again.as_ref(), Ok(&settings), "shown as:\n{shown}");
        }
        Err(error) => {
            assert!(!error.problems.is_empty(), "refused without a reason");
            for line in error.to_string().lines() {
                let is_plain = !line.chars().any(char::is_control);
                assert!(is_plain, "not fit for a terminal: {line:?}");
            }
        }
    }
}
