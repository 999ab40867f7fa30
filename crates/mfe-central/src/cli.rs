//! The command line: understands it, and turns what comes of it into words and exit codes.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueHint};
use mfe_common::locale;
use mfe_common::office::is_till;
use mfe_common::settings::Problem;
use rust_i18n::t;

use crate::amqp::Broker;
use crate::config::{self, Settings};
use crate::doctor;
use crate::enroll;
use crate::service;
use crate::setup::{self, Options};
use crate::store::Store;

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
    /// Give a till another token: the one that it had is closed at once. Without a till, the broker and the page get new certificates; needs root
    Renew {
        /// The till's name
        #[arg(value_name = "TILL", value_hint = ValueHint::Other)]
        till: Option<String>,
        #[command(flatten)]
        machine: Machine,
    },
    /// Close the broker to a till at once; what it has sent stays; needs root
    Revoke {
        /// The till's name
        #[arg(value_name = "TILL", value_hint = ValueHint::Other)]
        till: String,
    },
    /// Make this machine an office: broker, certificates, database, service, site; says what it changes; needs root
    Setup {
        /// The name or address by which tills reach this machine
        #[arg(long, value_name = "NAME", value_hint = ValueHint::Hostname)]
        name: Option<String>,
        /// The page's certificate, if it isn't to be of the office's own authority
        #[arg(long, value_name = "FILE", requires = "key", value_hint = ValueHint::FilePath)]
        certificate: Option<PathBuf>,
        /// Its key
        #[arg(long, value_name = "FILE", requires = "certificate", value_hint = ValueHint::FilePath)]
        key: Option<PathBuf>,
        #[command(flatten)]
        machine: Machine,
    },
    /// Find what is wrong with the office, and say what to do; exits 1 if anything is; needs root
    Doctor {
        #[command(flatten)]
        machine: Machine,
    },
    /// Note in the database that the tills of standard input, one a line, are enrolled
    #[command(hide = true)]
    Tills {
        /// They aren't any more
        #[arg(long)]
        gone: bool,
    },
    /// Bring the database's tables to their present form, and print how many steps that took
    #[command(hide = true)]
    Schema {
        /// Only connect
        #[arg(long)]
        dry_run: bool,
    },
}

/// What is usual on a machine, and may be otherwise.
#[derive(Debug, Clone, Args)]
struct Machine {
    /// Who the service runs as
    #[arg(long, value_name = "USER", default_value = "mfe-central", value_hint = ValueHint::Username)]
    user: String,
    /// Where RabbitMQ's configuration is
    #[arg(long, value_name = "DIR", default_value = setup::RABBITMQ, value_hint = ValueHint::DirPath)]
    rabbitmq_dir: PathBuf,
}

impl Machine {
    fn options(&self, name: Option<&String>) -> Options {
        Options {
            name: name.cloned(),
            user: self.user.clone(),
            rabbitmq: self.rabbitmq_dir.clone(),
            page: None,
        }
    }
}

/// All that the command line understands, for what is made of it: shell completions.
#[must_use]
pub fn command() -> clap::Command {
    Arguments::command()
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
            (Some(till), _) => enroll::enroll(file, settings, till),
            (None, Some(list)) => enroll::enroll_all(file, settings, list),
            (None, None) => Ok(ExitCode::FAILURE),
        }),
        Command::Renew { till, machine } => with(file, |settings| match till {
            Some(till) => enroll::renew(settings, till),
            None => setup::renew(settings, &machine.rabbitmq_dir),
        }),
        Command::Setup {
            name,
            certificate,
            key,
            machine,
        } => with(file, |settings| {
            let options = Options {
                page: certificate.clone().zip(key.clone()),
                ..machine.options(name.as_ref())
            };
            setup::setup(file, settings.clone(), &options)
        }),
        Command::Doctor { machine } => with(file, |settings| {
            doctor::doctor(file, settings, &machine.options(None))
        }),
        Command::Tills { gone } => with(file, |settings| note_tills(settings, *gone)),
        Command::Schema { dry_run } => with(file, |settings| schema(settings, *dry_run)),
        Command::Revoke { till } => with(file, |settings| enroll::revoke(file, settings, till)),
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

fn schema(settings: &Settings, is_dry: bool) -> anyhow::Result<ExitCode> {
    let store = service::event_loop()?.block_on(async {
        if is_dry {
            Store::connect(&settings.database).await
        } else {
            Store::open(&settings.database).await
        }
    })?;
    println!("{}", store.steps);
    Ok(ExitCode::SUCCESS)
}

/// More aren't read, in bytes.
const TILLS_MAX: u64 = 8 << 20;

fn note_tills(settings: &Settings, is_gone: bool) -> anyhow::Result<ExitCode> {
    let text = io::read_to_string(io::stdin().take(TILLS_MAX))?;
    let tills: Vec<&str> = text.lines().filter(|name| is_till(name)).collect();
    service::event_loop()?.block_on(async {
        let store = Store::open(&settings.database).await?;
        let noted = store.note(&tills, is_gone).await;
        noted.map_err(|failure| anyhow::anyhow!("{failure}"))
    })?;
    Ok(ExitCode::SUCCESS)
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
    let password = settings.password().with_context(|| {
        t!("run.password", file = settings.password_file.display()).into_owned()
    })?;
    service::run(settings, Broker::of(settings, password))?;
    Ok(ExitCode::SUCCESS)
}
