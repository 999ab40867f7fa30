//! Holds a program's shell completions, in its folder `completions`, to its command line.

use std::fs;
use std::path::Path;

use clap::Command;
use clap_complete::{Shell, generate};

/// Set, it has the files written again.
const RENEW: &str = "RENEW_COMPLETIONS";

/// The completions of the member in this folder (`CARGO_MANIFEST_DIR`) are those of its command line. `tests` are
/// the arguments of cargo test that find this out.
pub fn check(member: &str, command: &mut Command, tests: &str) {
    let program = command.get_name().to_owned();
    // Each named as its shell's folder of completions wants it.
    for (shell, name) in [
        (Shell::Bash, program.clone()),
        (Shell::Zsh, format!("_{program}")),
        (Shell::Fish, format!("{program}.fish")),
    ] {
        let mut text = Vec::new();
        generate(shell, command, &program, &mut text);
        // Two spellings of one name, so that nothing is offered after a command:
        // https://github.com/clap-rs/clap/issues/6421
        let expected = String::from_utf8(text).unwrap().replace(
            &program.replace('-', "__subcmd__"),
            &program.replace('-', "__"),
        );
        let path = Path::new(member).join("completions").join(&name);
        if std::env::var_os(RENEW).is_some() {
            fs::write(&path, &expected).unwrap();
        }
        let found = fs::read_to_string(path).unwrap_or_default();
        assert!(
            found == expected,
            "completions/{name} is out of date; renew it with `{RENEW}=1 cargo test {tests}`"
        );
    }
}
