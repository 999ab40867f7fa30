//! The command line: understands it, and turns what comes of it into words and exit codes.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand, ValueHint};
use rust_i18n::t;

use crate::amqp::Broker;
use crate::config::{self, Problem, Settings};
use crate::enroll;
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

#[derive(Debug, Clone, Subcommand)]
enum Command {
    /// Run the service in the foreground
    Run,
    /// Validate the configuration: prints OK, or every problem with its line; exits 78 if it is bad
    Check,
    /// Make a till: prints the token that it joins with, which is shown only once; needs root
    Enroll {
        /// The till's name: a-z, 0-9 and -
        #[arg(value_name = "TILL", required_unless_present = "csv", conflicts_with = "csv", value_hint = ValueHint::Other)]
        till: Option<String>,
        /// Make all tills of a list, one in the first column of each line; prints lines of TILL,TOKEN
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        csv: Option<PathBuf>,
    },
    /// Give a till another token: the one that it had is closed at once; needs root
    Renew {
        /// The till's name
        #[arg(value_name = "TILL", value_hint = ValueHint::Other)]
        till: String,
    },
    /// Close the broker to a till at once; what it has sent stays; needs root
    Revoke {
        /// The till's name
        #[arg(value_name = "TILL", value_hint = ValueHint::Other)]
        till: String,
    },
}

/// Runs the program as its command line asks for.
#[must_use]
pub fn main() -> ExitCode {
    // A usage error ends the process here, with exit code 2.
    let arguments = Arguments::parse();
    if !matches!(arguments.command, Command::Run) {
        locale::init();
    }
    let file = &arguments.config;
    let result = match &arguments.command {
        Command::Run => with(file, run),
        Command::Check => check(file),
        Command::Enroll { till, csv } => with(file, |settings| match (till, csv) {
            (Some(till), _) => enroll::enroll(settings, till),
            (None, Some(list)) => enroll::enroll_all(settings, list),
            (None, None) => Ok(ExitCode::FAILURE),
        }),
        Command::Renew { till } => with(file, |settings| enroll::renew(settings, till)),
        Command::Revoke { till } => with(file, |settings| enroll::revoke(settings, till)),
    };
    result.unwrap_or_else(|error| {
        let text = format!("{error:#}").replace(char::is_control, " ");
        eprintln!("mfe-central: {text}");
        ExitCode::FAILURE
    })
}

/// Does something with the settings, if they are good.
fn with(
    file: &Path,
    what: impl FnOnce(&Settings) -> anyhow::Result<ExitCode>,
) -> anyhow::Result<ExitCode> {
    match config::load(file) {
        Ok(settings) => what(&settings),
        Err(problems) => Ok(complain(file, &problems)),
    }
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

fn run(settings: &Settings) -> anyhow::Result<ExitCode> {
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
    service::run(settings, broker)?;
    Ok(ExitCode::SUCCESS)
}
