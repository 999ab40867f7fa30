//! The command line: understands it, and turns what comes of it into words and exit codes.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, Subcommand};
use rust_i18n::t;

use crate::config::{self, ConfigError, Start};
use crate::journal;
use crate::launcher;
use crate::locale;
use crate::printable::{list, printable};
use crate::report;
use crate::service::{self, Options, lock};
use crate::status::{ProcessStatus, Status};

/// A bad configuration: `EX_CONFIG` of sysexits(3), which systemd names in its messages too.
const EXIT_CONFIG: u8 = 78;

/// `status` without a running service, as `systemctl status` has it.
const EXIT_NOT_RUNNING: u8 = 3;

/// Keeps a shop's MFE programs, Comunicador and Monitor, running.
#[derive(Debug, Parser)]
#[command(name = "mfe-watchdog", version)]
struct Arguments {
    /// Where the service keeps its status and its lock
    /// [default: $RUNTIME_DIRECTORY, else /run/mfe-watchdog]
    #[arg(long, global = true, value_name = "DIR")]
    runtime_dir: Option<PathBuf>,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service in the foreground
    Run(ConfigArgument),
    /// Validate the configuration and show what is in force; exits 78 if it is bad
    Check(ConfigArgument),
    /// Show how things stand; exits 0 if all is up, 1 if not, 3 if the service isn't running
    Status {
        /// The published status itself, as JSON
        #[arg(long)]
        json: bool,
    },
    /// Report how the processes were, from the journal; exits 1 if that can't be read
    Report {
        /// How far to look back, such as 24h, 7d or 2weeks; at most a year
        #[arg(long, value_name = "TIME", default_value = "7d")]
        since: String,
        /// The report as JSON
        #[arg(long, conflicts_with = "html")]
        json: bool,
        /// Write it to a file, as a page that a browser shows
        #[arg(long, value_name = "FILE")]
        html: Option<PathBuf>,
    },
    /// Become the command configured for a process; mfe@KEY.service runs this
    Exec {
        /// The process's key in the configuration
        key: String,
        #[command(flatten)]
        config: ConfigArgument,
    },
}

#[derive(Debug, clap::Args)]
struct ConfigArgument {
    /// The configuration [default: /etc/mfe-watchdog/config.toml, else the built-in one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Runs the program as its command line asks for.
#[must_use]
pub fn main() -> ExitCode {
    locale::init();
    // A usage error ends the process here, with exit code 2.
    let arguments = Arguments::parse();
    let runtime_dir = arguments
        .runtime_dir
        .unwrap_or_else(service::default_runtime_dir);
    let result = match arguments.command {
        Command::Run(ConfigArgument { config }) => run(config.as_deref(), &runtime_dir),
        Command::Check(ConfigArgument { config }) => check(config.as_deref()),
        Command::Status { json } => status(&runtime_dir, json),
        Command::Report { since, json, html } => {
            report(&since, json, html.as_deref(), &runtime_dir)
        }
        Command::Exec { key, config } => exec(&key, config.config.as_deref(), &runtime_dir),
    };
    result.unwrap_or_else(|error| {
        if error.is::<ConfigError>() {
            // Each line begins with the file's name, as compilers do it.
            eprintln!("{error}");
            ExitCode::from(EXIT_CONFIG)
        } else {
            // It may name anything, a file by whatever name for example.
            let error = printable(&format!("{error:#}"));
            eprintln!("mfe-watchdog: {error}");
            ExitCode::FAILURE
        }
    })
}

fn run(config: Option<&Path>, runtime_dir: &Path) -> anyhow::Result<ExitCode> {
    let absolute = |path: &Path| {
        std::path::absolute(path).with_context(|| format!("{} is no path", path.display()))
    };
    let options = Options {
        config: config.map(absolute).transpose()?,
        runtime_dir: absolute(runtime_dir)?,
    };
    // Read under the name the user gave it, so that problems are said as `check` says them.
    let (settings, source) = config::load(config)?;
    service::daemon::prepare()?;
    journal::init();
    // One thread: everything the service does is short, and an idle till has better uses for
    // memory than a pool of workers.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the event loop can't be set up")?;
    let result = runtime.block_on(service::run(settings, &source, options));
    // A thread that looks at a file for a health check may hang in the kernel: nobody waits for it.
    runtime.shutdown_background();
    result.map(|()| ExitCode::SUCCESS)
}

fn check(config: Option<&Path>) -> anyhow::Result<ExitCode> {
    let (settings, source) = config::load(config)?;
    for (key, warning) in settings.unsafe_commands() {
        eprintln!("{source}: {key}: warning: {warning}");
    }
    let text = settings.to_toml().context("the settings can't be shown")?;
    print(&format!("# {source}\n{text}"))
}

fn status(runtime_dir: &Path, json: bool) -> anyhow::Result<ExitCode> {
    let holder = lock::holder(runtime_dir)
        .with_context(|| format!("the lock in {} can't be asked", runtime_dir.display()))?;
    let status = Status::read(runtime_dir);
    match (holder, status) {
        (None, status) => {
            // A file that can't be read changes nothing about that.
            let since = status.ok().flatten().map(|status| {
                let time = status.updated_at;
                t!("errors.not_running_since", time = time, pid = status.pid)
            });
            eprintln!(
                "{}",
                t!("errors.not_running", since = since.unwrap_or_default())
            );
            Ok(ExitCode::from(EXIT_NOT_RUNNING))
        }
        (Some(_), Err(error)) => Err(error),
        (Some(pid), Ok(Some(status))) if i64::from(pid) == i64::from(status.pid) => {
            print(&if json {
                to_json(&status)?
            } else {
                describe(&status)
            })?;
            Ok(if status.is_all_up() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            })
        }
        (Some(pid), Ok(_)) => {
            eprintln!("mfe-watchdog: the service runs (pid {pid}) but hasn't published a status");
            Ok(ExitCode::FAILURE)
        }
    }
}

fn to_json(status: &Status) -> anyhow::Result<String> {
    let json = serde_json::to_string(status).context("the status can't be shown")?;
    Ok(json + "\n")
}

fn report(
    since: &str,
    json: bool,
    html: Option<&Path>,
    runtime_dir: &Path,
) -> anyhow::Result<ExitCode> {
    let period = humantime::parse_duration(since).ok();
    let period = period.filter(|period| !period.is_zero() && *period <= report::PERIOD_MAX);
    let period = period.with_context(|| t!("report.not_a_period", text = since).into_owned())?;
    let report = report::report(period, runtime_dir)?;
    match html {
        Some(file) => {
            report::write(file, &report::html(&report))?;
            Ok(ExitCode::SUCCESS)
        }
        None if json => print(&report::json(&report)?),
        None => print(&report::text(&report)),
    }
}

fn exec(key: &str, config: Option<&Path>, runtime_dir: &Path) -> anyhow::Result<ExitCode> {
    // What the running service goes by, not what the file says since it was last edited.
    let in_force = match (config, lock::holder(runtime_dir)) {
        (None, Ok(Some(_))) => config::in_force::published(runtime_dir),
        _ => None,
    };
    let (settings, source) = match in_force {
        Some(in_force) => in_force,
        None => config::load(config)?,
    };
    let process = settings.processes.iter().find(|process| process.key == key);
    match process.map(|process| &process.start) {
        Some(Start::Command(command)) => match launcher::exec::exec(command)? {},
        Some(Start::Unit(unit)) => {
            eprintln!("{source}: process.{key} has no command; it is started as {unit}");
        }
        None => {
            let known = settings
                .processes
                .iter()
                .map(|process| process.key.as_str());
            let known = list(known);
            eprintln!(
                "{source}: there is no process.{}; there is {known}",
                printable(key)
            );
        }
    }
    Ok(ExitCode::from(EXIT_CONFIG))
}

/// The status for a person.
fn describe(status: &Status) -> String {
    let width = |of: fn(&ProcessStatus) -> usize| status.processes.iter().map(of).max();
    let name_width = width(|process| printable(&process.name).chars().count()).unwrap_or(0);
    let mut text = String::new();
    for process in &status.processes {
        let name = printable(&process.name);
        let pids = match process.pids.as_slice() {
            [] => String::new(),
            pids => {
                format!("  pid {}", list(pids))
            }
        };
        text += &format!(
            "{name:name_width$}  {:8}  since {}{pids}  restarts {}\n",
            process.state, process.since, process.restarts
        );
        if let Some(last) = &process.last_restart {
            let outage = humantime::format_duration(Duration::from_millis(last.outage_ms));
            text += &format!(
                "{:name_width$}  last restart {}: {}, outage {outage}\n",
                "",
                last.at,
                printable(&last.cause)
            );
        }
        if let Some(detail) = &process.detail {
            text += &format!("{:name_width$}  {}\n", "", printable(detail));
        }
    }
    text + &format!(
        "mfe-watchdog (pid {}) runs since {}, last look {}\n",
        status.pid, status.started_at, status.updated_at
    )
}

/// Writes to stdout. A reader that has gone away is no error: it has read what it wanted.
fn print(text: &str) -> anyhow::Result<ExitCode> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("stdout can't be written to")
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}
