//! The shell completions that the package installs are those of the command line as it is.

use std::fs;
use std::path::Path;

use clap_complete::Shell;

/// Set, it has the files written anew.
const RENEW: &str = "RENEW_COMPLETIONS";

/// Each shell, and its file, named as its folder of completions wants it.
const FILES: [(Shell, &str); 3] = [
    (Shell::Bash, "mfe-watchdog"),
    (Shell::Zsh, "_mfe-watchdog"),
    (Shell::Fish, "mfe-watchdog.fish"),
];

#[test]
fn completions_are_those_of_the_command_line() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("completions");
    for (shell, name) in FILES {
        let mut expected = Vec::new();
        let mut command = mfe_watchdog::cli::command();
        clap_complete::generate(shell, &mut command, "mfe-watchdog", &mut expected);
        let expected = String::from_utf8(expected).unwrap();
        let file = folder.join(name);
        if std::env::var_os(RENEW).is_some() {
            fs::write(&file, &expected).unwrap();
        }
        let found = fs::read_to_string(&file).unwrap_or_default();
        assert!(
            found == expected,
            "completions/{name} is out of date; renew it with \
             `{RENEW}=1 cargo test --test integration completions`"
        );
    }
}
