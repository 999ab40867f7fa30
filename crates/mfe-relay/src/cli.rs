//! The command line: understands it, and turns what comes of it into words and exit codes.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{CommandFactory, Parser, Subcommand, ValueHint};
use mfe_common::files;
use mfe_common::locale;
use mfe_common::settings::Problem;
use rust_i18n::t;

use crate::amqp::RabbitMq;
use crate::config::{self, Settings};
use crate::event::Sender;
use crate::join;
use crate::redact::{Redaction, people};
use crate::relay::{self, Places};
use crate::status;

/// A bad configuration: `EX_CONFIG` of sysexits(3).
const EXIT_CONFIG: u8 = 78;

/// For tests: the folder of another journal than the system's.
const JOURNAL: &str = "MFE_RELAY_JOURNAL";

/// Brings the events of mfe-watchdog to the office's broker.
#[derive(Debug, Parser)]
#[command(name = "mfe-relay", version)]
struct Arguments {
    /// Where the configuration and the credential are [default: /etc/mfe-relay]
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    config_dir: Option<PathBuf>,

    /// Where it is kept what has been delivered [default: $STATE_DIRECTORY, else /var/lib/mfe-relay]
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    state_dir: Option<PathBuf>,

    /// Where the service tells its status [default: $RUNTIME_DIRECTORY, else /run/mfe-relay]
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    runtime_dir: Option<PathBuf>,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Connect this till to an office: asks for the token, or reads it from standard input; needs root
    Join {
        /// Also send what has happened before, such as 30d
        #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, value_hint = ValueHint::Other)]
        history: Option<std::time::Duration>,
    },
    /// Run the service in the foreground
    Run {
        /// Where mfe-watchdog publishes its status [default: /run/mfe-watchdog]
        #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
        watchdog_dir: Option<PathBuf>,
    },
    /// Show whether events arrive, and why not; exits 0 if all is well, 1 if not, 3 if the service isn't running
    Status {
        /// Print the status as JSON
        #[arg(long)]
        json: bool,
    },
    /// Validate the configuration: prints OK, or every problem with its line; exits 78 if it is bad
    Check,
    /// Stop the service and forget the credential; needs root
    Leave,
}

/// Where the relay's own files are.
#[derive(Debug, Clone)]
pub(crate) struct Folders {
    pub(crate) config: PathBuf,
    pub(crate) state: PathBuf,
    pub(crate) runtime: PathBuf,
}

impl Folders {
    fn of(arguments: &Arguments) -> Self {
        let choose = |given: &Option<PathBuf>, variable: &str, default: &str| {
            let given = given.clone();
            let named = || std::env::var_os(variable).filter(|path| !path.is_empty());
            given.unwrap_or_else(|| named().map_or_else(|| default.into(), PathBuf::from))
        };
        Self {
            config: choose(
                &arguments.config_dir,
                "CONFIGURATION_DIRECTORY",
                "/etc/mfe-relay",
            ),
            state: choose(
                &arguments.state_dir,
                "STATE_DIRECTORY",
                "/var/lib/mfe-relay",
            ),
            runtime: choose(
                &arguments.runtime_dir,
                "RUNTIME_DIRECTORY",
                "/run/mfe-relay",
            ),
        }
    }

    /// Whether they are those of the machine's own service, and not of a trial's.
    pub(crate) fn are_the_systems(&self) -> bool {
        self.config == Path::new("/etc/mfe-relay")
    }

    pub(crate) fn settings(&self) -> PathBuf {
        self.config.join("config.toml")
    }

    pub(crate) fn credential(&self) -> PathBuf {
        self.config.join("credential")
    }

    pub(crate) fn ca(&self) -> PathBuf {
        self.config.join("ca.pem")
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
    let is_service = matches!(arguments.command, Command::Run { .. });
    if !is_service {
        locale::init();
    }
    let folders = Folders::of(&arguments);
    let result = match arguments.command {
        Command::Join { history } => join::join(&folders, history),
        Command::Run { watchdog_dir } => run(&folders, watchdog_dir),
        Command::Status { json } => status::status(&folders.runtime, &folders.credential(), json),
        Command::Check => check(&folders),
        Command::Leave => join::leave(&folders),
    };
    result.unwrap_or_else(|error| {
        let text = format!("{error:#}").replace(char::is_control, " ");
        eprintln!("mfe-relay: {text}");
        ExitCode::FAILURE
    })
}

/// The journal that is read.
pub(crate) fn journal_folder() -> Option<PathBuf> {
    std::env::var_os(JOURNAL).map(PathBuf::from)
}

fn check(folders: &Folders) -> anyhow::Result<ExitCode> {
    let file = folders.settings();
    match config::load(&file) {
        Ok(_) => print(&format!("OK: {}\n", file.display())),
        Err(problems) => Ok(complain(&file, &problems)),
    }
}

/// Says what is wrong with the configuration, a line each.
fn complain(file: &Path, problems: &[Problem]) -> ExitCode {
    for problem in problems {
        eprintln!("{}", problem.shown(file));
    }
    ExitCode::from(EXIT_CONFIG)
}

fn run(folders: &Folders, watchdog: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    let file = folders.settings();
    let settings = match config::load(&file) {
        Ok(settings) => settings,
        Err(problems) => return Ok(complain(&file, &problems)),
    };
    let credential = folders.credential();
    let password = files::read_text(&credential);
    let password = password.with_context(|| credential.display().to_string())?;
    let password = password.with_context(|| t!("status.not_joined"))?;
    let broker = RabbitMq {
        server: settings.server.clone(),
        ca: settings.ca.clone().unwrap_or_else(|| folders.ca()),
        till: settings.till.clone(),
        password: password.trim_end_matches('\n').to_owned(),
    };
    let places = Places {
        state: folders.state.clone(),
        runtime: folders.runtime.clone(),
        watchdog: watchdog.unwrap_or_else(|| "/run/mfe-watchdog".into()),
    };
    let sender = sender(&settings);
    relay::run(broker, settings, sender, places, journal_folder())?;
    Ok(ExitCode::SUCCESS)
}

fn sender(settings: &Settings) -> Sender {
    // Of a file that can't be read nobody's name is known, and what is named in messages is seldom a user.
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let include = settings.include;
    Sender {
        till: settings.till.clone(),
        labels: settings.labels.clone(),
        redaction: Redaction::new(include.users, include.paths, people(&passwd)),
    }
}

/// Writes to stdout. A reader that has gone away is no error: it has read what it wanted.
pub(crate) fn print(text: &str) -> anyhow::Result<ExitCode> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(ExitCode::SUCCESS),
    }
}
