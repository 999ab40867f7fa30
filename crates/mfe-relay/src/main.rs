//! The `mfe-relay` program: hands over to the library, where everything is.

fn main() -> std::process::ExitCode {
    mfe_relay::cli::main()
}
