//! The `mfe-central` program: hands over to the library, where everything is.

fn main() -> std::process::ExitCode {
    mfe_central::cli::main()
}
