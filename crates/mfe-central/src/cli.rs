//! The command line: understands it, and turns what comes of it into words and exit codes.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand, ValueHint};
use rust_i18n::t;

use crate::amqp::Broker;
use crate::config::{self, Problem};
use crate::locale;
use crate::service;

/// A bad configuration: `EX_CONFIG` of sysexits(3).
const EXIT_CONFIG: u8 = 78;

/// Shows every till of a chain on one page, live.
#[derive(Debug, Parser)]
#[command(name = "mfe-central", version)]
struct Arguments {
    /// The configuration; without the file all is as by default
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath, default_value = "/etc/mfe-central/config.toml")]
    config: PathBuf,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum Command {
    /// Run the service in the foreground
    Run,
    /// Validate the configuration: prints OK, or every problem with its line; exits 78 if it is bad
    Check,
}

/// Runs the program as its command line asks for.
#[must_use]
pub fn main() -> ExitCode {
    // A usage error ends the process here, with exit code 2.
    let arguments = Arguments::parse();
    let result = match arguments.command {
        Command::Run => run(&arguments.config),
        Command::Check => {
            locale::init();
            check(&arguments.config)
        }
    };
    result.unwrap_or_else(|error| {
        let text = format!("{error:#}").replace(char::is_control, " ");
        eprintln!("mfe-central: {text}");
        ExitCode::FAILURE
    })
}

fn check(file: &Path) -> anyhow::Result<ExitCode> {
    match config::load(file) {
        Ok(_) => {
            // A reader that has gone away is no error: it has read what it wanted.
            match writeln!(io::stdout(), "OK: {}", file.display()) {
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
                _ => Ok(ExitCode::SUCCESS),
            }
        }
        Err(problems) => Ok(complain(file, &problems)),
    }
}

/// Says what is wrong with the configuration, a line each.
fn complain(file: &Path, problems: &[Problem]) -> ExitCode {
    for problem in problems {
        eprintln!("{}", problem.shown(file));
    }
    ExitCode::from(EXIT_CONFIG)
}

fn run(file: &Path) -> anyhow::Result<ExitCode> {
    let settings = match config::load(file) {
        Ok(settings) => settings,
        Err(problems) => return Ok(complain(file, &problems)),
    };
    let password = std::fs::read_to_string(&settings.password_file);
    let password = password.with_context(|| {
        t!("run.password", file = settings.password_file.display()).into_owned()
    })?;
    let broker = Broker {
        address: settings.broker,
        virtual_host: settings.virtual_host.clone(),
        user: settings.user.clone(),
        password: password.trim_end_matches('\n').to_owned(),
    };
    service::run(&settings, broker)?;
    Ok(ExitCode::SUCCESS)
}
