//! The `mfe-watchdog` program: hands over to the library, where everything is.

fn main() -> std::process::ExitCode {
    mfe_watchdog::cli::main()
}
