//! The shell completions that the package installs are those of the command line as it is.

use mfe_kit::completions;

#[test]
fn completions_are_those_of_the_command_line() {
    completions::check(
        env!("CARGO_MANIFEST_DIR"),
        &mut mfe_relay::cli::command(),
        "-p mfe-relay completions",
    );
}
