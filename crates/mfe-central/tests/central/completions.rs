//! The shell completions that the package installs are those of the command line as it is.

use std::fs;
use std::path::Path;

use clap_complete::Shell;

/// Set, it has the files written again.
const RENEW: &str = "RENEW_COMPLETIONS";

/// Each shell, and its file, named as its folder of completions wants it.
const FILES: [(Shell, &str); 3] = [
    (Shell::Bash, "mfe-central"),
    (Shell::Zsh, "_mfe-central"),
    (Shell::Fish, "mfe-central.fish"),
];

#[test]
fn completions_are_those_of_the_command_line() {
    for (shell, name) in FILES {
        let mut text = Vec::new();
        clap_complete::generate(
            shell,
            &mut mfe_central::cli::command(),
            "mfe-central",
            &mut text,
        );
        // Two spellings of one name, so that nothing is offered after a command:
        // https://github.com/clap-rs/clap/issues/6421
        let text = String::from_utf8(text)
            .unwrap()
            .replace("mfe__subcmd__central", "mfe__central");
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("completions")
            .join(name);
        if std::env::var_os(RENEW).is_some() {
            fs::write(&path, &text).unwrap();
        }
        let found = fs::read_to_string(path).unwrap_or_default();
        assert!(
            found == text,
            "completions/{name} is out of date; renew it with `{RENEW}=1 cargo test -p mfe-central completions`"
        );
    }
}
