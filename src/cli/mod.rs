//! The command line: understands it, and turns what comes of it into words and exit codes.

mod control;
mod doctor;
mod events;
mod exec;
mod help;
mod in_force;
mod logs;
mod one;
mod output;
mod prometheus;
mod status;

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{CommandFactory, Parser, Subcommand, ValueHint};
use mfe_common::escape::{list, printable, shell_word};
use mfe_history::Frame;
use rust_i18n::t;

use crate::config::{self, ConfigError, ProcessSettings};
use crate::daemon::{self, Options};
use crate::logging;
use crate::proc::{Difference, Impostor, ProcessTable};
use crate::report::{self, period::Asked};
use crate::start::{self, Placement, unit_user};
use crate::status::directories::Directories;
use crate::supervisor::misfit_wording;
use crate::sys::event_loop::event_loop;
use crate::systemd::dbus::Trouble;
use crate::text::phrase::Phrase;
use crate::text::wrap::{Paragraph, WIDTH};
use output::{print, print_raw};

/// A bad configuration: `EX_CONFIG` of sysexits(3), which systemd names in its messages too.
const EXIT_CONFIG: u8 = 78;

/// More processes that are nearly a program aren't told: they say no more.
const MISFITS_MAX: usize = 3;

/// `status` without a running service, as `systemctl status` has it.
const EXIT_NOT_RUNNING: u8 = 3;

/// Where a command's help has the options that all commands have: below its own, above clap's.
const LAST: usize = 100;

/// Keeps a shop's MFE programs, Comunicador and Monitor, running.
#[derive(Debug, Parser)]
#[command(name = "mfe-watchdog", version, max_term_width = WIDTH)]
struct Arguments {
    /// Where the service keeps its status and its lock
    /// [default: $RUNTIME_DIRECTORY, else /run/mfe-watchdog]
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath, display_order = LAST)]
    runtime_dir: Option<PathBuf>,

    /// Where the service keeps its saved state [default: $STATE_DIRECTORY, else
    /// /var/lib/mfe-watchdog, or DIR of --runtime-dir if that isn't the default]
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath, display_order = LAST)]
    state_dir: Option<PathBuf>,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service in the foreground
    Run {
        #[command(flatten)]
        config: ConfigArgument,
        /// Run even if the service of /run/mfe-watchdog watches programs of the same names
        #[arg(long)]
        alone: bool,
    },
    /// Validate the configuration: prints OK, or every problem with its line; exits 78 if it is bad
    Check {
        #[command(flatten)]
        config: ConfigArgument,
        /// Show every setting, the defaults included, as a configuration
        #[arg(long)]
        show: bool,
    },
    /// Show the current state; exits 0 if all is up, 1 if not, 3 if the service isn't running
    Status {
        /// Only this program, by key or by name, and all that is known of it
        #[arg(value_name = "KEY")]
        key: Option<String>,
        /// Print the status as JSON
        #[arg(long)]
        json: bool,
        /// Print the status as metrics for Prometheus (OpenMetrics)
        #[arg(long, conflicts_with_all = ["json", "watch"])]
        prometheus: bool,
        /// Show it again whenever it changes, until interrupted
        #[arg(long)]
        watch: bool,
    },
    /// Pause programs, for example during a driver update; ends by itself
    Pause {
        /// The programs, by key or by name [default: all]
        #[arg(value_name = "KEY")]
        keys: Vec<String>,
        /// For how long, such as 30m or 2h, at most 24h
        #[arg(long = "for", value_name = "TIME", default_value = "1h", value_parser = control::pause_time, value_hint = ValueHint::Other)]
        time: Duration,
        /// Why; shown in the status and the journal
        #[arg(long, value_name = "TEXT", value_hint = ValueHint::Other)]
        reason: Option<String>,
    },
    /// End a pause
    Resume {
        /// The programs, by key or by name [default: all]
        #[arg(value_name = "KEY")]
        keys: Vec<String>,
    },
    /// Restart a program, or start one that waits for its next try; exits 0 once it is up, 1 if it was
    /// refused, failed or isn't up yet
    Restart {
        /// The program, by key or by name
        key: String,
        /// Don't wait until it is up
        #[arg(long)]
        no_wait: bool,
    },
    /// Stop a program and pause it; exits 0 once it is gone, 1 if that was refused or it
    /// isn't
    Stop {
        /// The program, by key or by name
        key: String,
        /// For how long, such as 30m or 2h, at most 24h; then it is started again
        #[arg(long = "for", value_name = "TIME", default_value = "1h", value_parser = control::pause_time, value_hint = ValueHint::Other)]
        time: Duration,
        /// Why, for the status and the journal
        #[arg(long, value_name = "TEXT", value_hint = ValueHint::Other)]
        reason: Option<String>,
    },
    /// Start a program at once that was stopped, and end its pause; exits 0 once it is up or if it is
    /// already, 1 if it was refused, has failed or isn't up yet
    Start {
        /// The program, by key or by name
        key: String,
        /// Ask for it only, and don't wait until it is up
        #[arg(long)]
        no_wait: bool,
    },
    /// Check the whole till and print the command that fixes each problem; exits 0 if nothing is found, 1
    /// if something is
    Doctor(ConfigArgument),
    /// Show what the programs print, whoever started them
    Logs {
        /// The program, by key or by name [default: all]
        key: Option<String>,
        /// How many of the latest lines
        #[arg(long, short = 'n', value_name = "N", default_value_t = 100)]
        lines: u32,
        /// Also show new lines, until interrupted
        #[arg(long, short)]
        follow: bool,
    },
    /// Show what has happened, from the journal, a line each
    Events {
        /// The program, by key or by name [default: all, and the service itself]
        key: Option<String>,
        /// How many, the latest
        #[arg(long, short = 'n', value_name = "N", default_value_t = 20)]
        lines: u32,
        /// And each new one, until interrupted
        #[arg(long, short)]
        follow: bool,
    },
    /// Report availability and outages; exits 1 if neither the journal nor the service's own events can be read
    Report {
        /// How far to look back, such as 24h, 7d or 2weeks; at most a year [default: 7d]
        #[arg(long, value_name = "TIME", conflicts_with_all = ["month", "from"], value_hint = ValueHint::Other)]
        since: Option<String>,
        /// A month, such as 2026-10
        #[arg(long, value_name = "MONTH", conflicts_with_all = ["from", "to"], value_hint = ValueHint::Other)]
        month: Option<String>,
        /// From a day on, such as 2026-10-31, or "2026-10-31 14:30"
        #[arg(long, value_name = "DAY", value_hint = ValueHint::Other)]
        from: Option<String>,
        /// Up to a day, that day included, or to a moment on it [default: now]
        #[arg(long, value_name = "DAY", value_hint = ValueHint::Other)]
        to: Option<String>,
        /// Print the report as JSON
        #[arg(long, conflicts_with = "html")]
        json: bool,
        /// Write the report to a file, as a page for a browser
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        html: Option<PathBuf>,
    },
    /// Execute the command configured for a program, unless it is already running; mfe@KEY.service runs this
    Exec {
        /// The program's key in the configuration
        key: String,
        #[command(flatten)]
        config: ConfigArgument,
    },
    /// End what is left of the programs, at power-off only; mfe-watchdog-shutdown.service runs this
    AtShutdown,
}

#[derive(Debug, clap::Args)]
struct ConfigArgument {
    /// The configuration [default: /etc/mfe-watchdog/config.toml, else the built-in one]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    config: Option<PathBuf>,
}

/// All that the command line understands, for what is made of it: shell completions.
#[must_use]
pub fn command() -> clap::Command {
    Arguments::command()
}

/// Runs the program as its command line asks for.
#[must_use]
pub fn main() -> ExitCode {
    // In the journal all is English, whatever the machine's language: systemd runs `check` and `exec`, too.
    if !logging::stderr_is_journal() {
        mfe_common::locale::init();
    }
    let result = match of_a_unit(std::env::args_os()) {
        Some(OfUnit::Run) => run(None, &Directories::new(None, None), false),
        Some(OfUnit::Exec { key }) => exec::exec(&key, None, &Directories::new(None, None)),
        None => do_as_asked(),
    };
    result.unwrap_or_else(|error| {
        if let Some(refused) = error.downcast_ref::<ConfigError>() {
            complain_of(refused);
            ExitCode::from(EXIT_CONFIG)
        } else {
            complain(&format!("mfe-watchdog: {}", error_in_words(&error)), None);
            ExitCode::FAILURE
        }
    })
}

/// What our units run, without any option.
#[derive(Debug, PartialEq, Eq)]
enum OfUnit {
    /// mfe-watchdog.service.
    Run,
    /// mfe@KEY.service.
    Exec { key: String },
}

/// Understands the command lines of our own units. What understands all others takes longer to set up than
/// a look, while a shop waits for `exec`, and leaves the service with memory that it never needs again.
fn of_a_unit(arguments: impl IntoIterator<Item = OsString>) -> Option<OfUnit> {
    let mut arguments = arguments.into_iter().skip(1);
    let command = arguments.next()?;
    let key = arguments.next().map(OsString::into_string);
    let is_all = arguments.next().is_none();
    match key {
        None if command == "run" => Some(OfUnit::Run),
        Some(Ok(key)) if command == "exec" && is_all => {
            let is_plain = !key.is_empty() && !key.starts_with('-');
            is_plain.then_some(OfUnit::Exec { key })
        }
        _ => None,
    }
}

/// Does what the command line asks for. A usage error ends the process here, with exit code 2.
fn do_as_asked() -> anyhow::Result<ExitCode> {
    let arguments = help::arguments();
    let directories = Directories::new(arguments.runtime_dir, arguments.state_dir);
    match arguments.command {
        Command::Run { config, alone } => run(config.config.as_deref(), &directories, alone),
        Command::Check { config, show } => check(config.config.as_deref(), show),
        Command::Status {
            key,
            prometheus: true,
            ..
        } => status::as_metrics(&directories, key.as_deref()),
        Command::Status {
            key, json, watch, ..
        } => status::status(&directories, key.as_deref(), json, watch),
        Command::Pause { keys, time, reason } => control::pause(&directories, keys, time, reason),
        Command::Resume { keys } => control::resume(&directories, keys),
        Command::Restart { key, no_wait } => control::restart(&directories, key, no_wait),
        Command::Stop { key, time, reason } => control::stop(&directories, key, time, reason),
        Command::Start { key, no_wait } => control::start(&directories, key, no_wait),
        Command::Doctor(ConfigArgument { config }) => doctor::doctor(config),
        Command::Logs { key, lines, follow } => {
            logs::logs(key.as_deref(), lines, follow, &directories)
        }
        Command::Events { key, lines, follow } => {
            events::events(key.as_deref(), lines, follow, &directories)
        }
        Command::Report {
            since,
            month,
            from,
            to,
            json,
            html,
        } => {
            let asked = Asked {
                since: since.as_deref(),
                month: month.as_deref(),
                from: from.as_deref(),
                to: to.as_deref(),
            };
            report(&asked, json, html.as_deref(), &directories)
        }
        Command::Exec { key, config } => exec::exec(&key, config.config.as_deref(), &directories),
        Command::AtShutdown => at_shutdown(),
    }
}

/// An error and its causes, in the user's language as far as they are ours to word.
fn error_in_words(error: &anyhow::Error) -> String {
    let causes = error.chain().map(|cause| match cause.downcast_ref() {
        Some(phrase) => Phrase::translated(phrase),
        None => cause.to_string(),
    });
    // It may name anything, a file by whatever name for example.
    printable(&causes.collect::<Vec<_>>().join(": "))
}

fn run(
    config: Option<&Path>,
    directories: &Directories,
    is_alone: bool,
) -> anyhow::Result<ExitCode> {
    let absolute = |path: &Path| {
        std::path::absolute(path)
            .with_context(|| t!("errors.no_path", path = path.display().to_string()))
    };
    let options = Options {
        config: config.map(absolute).transpose()?,
        directories: Directories {
            runtime: absolute(&directories.runtime)?,
            state: absolute(&directories.state)?,
        },
        is_alone,
    };
    // Read under the name the user gave it, so that problems are said as `check` says them.
    let start = daemon::startup::settings(config, &options.directories)?;
    daemon::setup::prepare()?;
    logging::init(&options.directories.state);
    // One thread: everything the service does is short, and an idle till has better uses for
    // memory than a pool of workers.
    let runtime = event_loop()?;
    // A task like the others: one that the runtime is blocked on is woken by way of the kernel.
    let service = runtime.spawn(daemon::run(start, options));
    let result = runtime.block_on(service);
    // A thread that looks at a file for a health check may hang in the kernel: nobody waits for it.
    runtime.shutdown_background();
    logging::finish();
    result.with_context(|| t!("errors.service"))??;
    Ok(ExitCode::SUCCESS)
}

/// What runs and is nearly a program that doesn't run: another name or rule may be what is wanted. What
/// can't be looked at says nothing.
fn misfits(process: &ProcessSettings) -> Vec<Impostor> {
    let sighting = ProcessTable::new("/proc").look(&process.target);
    let sighting = sighting.unwrap_or_default();
    if !sighting.alive.is_empty() {
        return Vec::new();
    }
    // A container has its own programs, whatever they are called, but for one that our start has made.
    let ours = start::in_unit(process);
    let is_meant =
        |near: &Impostor| near.difference != Difference::Namespace || ours.contains(&near.id.pid);
    let near = sighting.near.into_iter().filter(is_meant);
    let nearly = sighting.impostors.into_iter().chain(near);
    nearly.take(MISFITS_MAX).collect()
}

fn check(config: Option<&Path>, show: bool) -> anyhow::Result<ExitCode> {
    let (settings, source) = match config::load(config) {
        Ok(loaded) => loaded,
        Err(refused) => {
            complain_of(&refused);
            output::complain(&problems(refused.problems.len()));
            return Ok(ExitCode::from(EXIT_CONFIG));
        }
    };
    let source = source.phrase().translated();
    let mut impossible = 0;
    let mut places = Vec::new();
    let file = config.unwrap_or(Path::new(config::DEFAULT_PATH));
    let mut warnings: Vec<(String, Option<String>)> = config::exposed(file, &settings)
        .into_iter()
        .chain(settings.commands_in_one_item())
        .map(|(key, phrase)| {
            let warning = t!("errors.warning", warning = phrase.translated());
            let line = match key.as_str() {
                // About the file as a whole.
                "" => format!("{source}: {warning}"),
                key => format!("{source}: {key}: {warning}"),
            };
            (line, phrase.command().map(str::to_owned))
        })
        .collect();
    for process in &settings.processes {
        let placement = Placement::of(Path::new("/"), process);
        if let Some(place) = placement.phrase() {
            places.push(format!("process.{}: {}", process.key, place.translated()));
        }
        let user = unit_user(Path::new("/"), &process.key);
        if let (true, Some((file, user))) = (placement.is_graphical(), user) {
            let (key, file) = (&process.key, printable(&file.display().to_string()));
            let text = t!("check.unit_user", key = key, file = file, user = user);
            complain(&format!("{source}: {text}"), None);
            impossible += 1;
        }
        for misfit in misfits(process) {
            let (key, misfit) = (&process.key, misfit_wording(&misfit).translated());
            let warning = t!(
                "check.misfit",
                key = key,
                name = process.name(),
                misfit = misfit
            );
            warnings.push((format!("{source}: {warning}"), None));
        }
    }
    for (warning, command) in &warnings {
        complain(warning, command.as_deref());
    }
    if impossible > 0 {
        output::complain(&problems(impossible));
        return Ok(ExitCode::from(EXIT_CONFIG));
    }
    let verdict = match warnings.len() {
        0 => format!("OK: {source}"),
        1 => t!("check.ok_with_warning", source = source).into_owned(),
        count => t!("check.ok_with_warnings", count = count, source = source).into_owned(),
    };
    if !show {
        let lines = places.into_iter().chain([verdict]);
        return print(&lines.map(|line| line + "\n").collect::<String>());
    }
    let text = settings.to_toml();
    let text = text.with_context(|| t!("errors.toml"))?;
    let head: Vec<String> = std::iter::once(source).chain(places).collect();
    let head = head.join("\n# ");
    // It may be kept as a configuration, which is UTF-8.
    print_raw(&format!("# {head}\n{text}\n# {verdict}\n"))
}

/// How many problems a configuration has.
fn problems(count: usize) -> String {
    match count {
        1 => t!("check.problem"),
        count => t!("check.problems", count = count),
    }
    .into_owned()
}

/// Says what is wrong with a configuration, a line for each problem that begins with the file's name, as
/// compilers do it.
fn complain_of(refused: &ConfigError) {
    for (line, command) in refused.translated_lines().zip(refused.commands()) {
        complain(&line, command);
    }
}

/// A line on stderr, in several where that is a terminal; a program that reads it gets one. The command that
/// it ends with, if there is one, can be copied.
fn complain(line: &str, command: Option<&str>) {
    if !io::stderr().is_terminal() {
        output::complain(line);
        return;
    }
    let ends = command.and_then(|command| Some((line.strip_suffix(command)?, command)));
    if let Some((text, command)) = ends {
        output::complain(&Paragraph::of_text(text).to_string());
        output::complain(&Paragraph::of_command(command).to_string());
    } else {
        output::complain(&Paragraph::of_text(line).to_string());
    }
}

fn report(
    asked: &Asked,
    json: bool,
    html: Option<&Path>,
    directories: &Directories,
) -> anyhow::Result<ExitCode> {
    let (report, warnings) = report::report(asked, directories)?;
    for warning in &warnings {
        output::complain(&format!("mfe-watchdog: {}", printable(warning)));
    }
    match html {
        Some(file) => {
            let frame = Frame {
                version: env!("CARGO_PKG_VERSION"),
                ..Frame::default()
            };
            report::write(file, &mfe_history::html(&report, &frame)?)?;
            Ok(ExitCode::SUCCESS)
        }
        None if json => print_raw(&mfe_history::json(&report)?),
        None => print(&mfe_history::text(&report, |said| {
            Paragraph::of_detail(said).to_string()
        })),
    }
}

/// Ends what is left of the programs, if the machine is going down.
fn at_shutdown() -> anyhow::Result<ExitCode> {
    let runtime = event_loop()?;
    let ended = runtime.block_on(start::shutdown::end_programs());
    ended.map_err(Trouble::phrase)?;
    Ok(ExitCode::SUCCESS)
}

/// No program has that key or name; those that are there have these.
fn unknown_key(key: &str, known: impl IntoIterator<Item: ToString>) -> String {
    let (key, known) = (printable(key), list(known));
    t!("control.unknown_key", key = key, known = known).into_owned()
}

/// The command that was given, as it works.
fn with_sudo(arguments: impl Iterator<Item = String>) -> String {
    let arguments = arguments.skip(1).map(|argument| shell_word(&argument));
    let words = ["sudo", "mfe-watchdog"].map(str::to_owned);
    words
        .into_iter()
        .chain(arguments)
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_our_units_run_is_understood_as_ever() {
        let of_unit = |words: &[&str]| {
            let given = std::iter::once("mfe-watchdog").chain(words.iter().copied());
            of_a_unit(given.map(OsString::from))
        };
        for words in [
            &["run"][..],
            &["run", "--alone"],
            &["run", "exec"],
            &["--runtime-dir", "run"],
            &["exec", "monitor"],
            &["exec", "-1"],
            &["exec", "--help"],
            &["exec", "--", "monitor"],
            &["exec", "monitor", "--config", "x"],
            &["exec", "monitor", "other"],
            &["exec", ""],
            &["exec"],
            &["start", "monitor"],
            &["--runtime-dir", "exec", "monitor"],
            &[],
        ] {
            let given = std::iter::once("mfe-watchdog").chain(words.iter().copied());
            let plain = match Arguments::try_parse_from(given).map(|given| given.command) {
                Ok(Command::Exec { key, config }) if config.config.is_none() => {
                    Some(OfUnit::Exec { key })
                }
                Ok(Command::Run { config, alone }) if config.config.is_none() && !alone => {
                    Some(OfUnit::Run)
                }
                _ => None,
            };
            if let Some(understood) = of_unit(words) {
                assert_eq!(plain, Some(understood), "{words:?}");
            }
        }
        let key = "monitor".to_owned();
        assert_eq!(of_unit(&["exec", "monitor"]), Some(OfUnit::Exec { key }));
        assert_eq!(of_unit(&["run"]), Some(OfUnit::Run));
        assert_eq!(of_unit(&["exec", "monitor", "--config", "x"]), None);
        assert_eq!(of_unit(&["run", "--alone"]), None);
        assert_eq!(of_unit(&["exec", "--help"]), None);
    }

    #[test]
    fn the_hint_is_the_whole_command() {
        let given = ["/usr/bin/mfe-watchdog", "pause", "--reason", "it's new"];
        let hint = with_sudo(given.iter().map(ToString::to_string));
        assert_eq!(hint, "sudo mfe-watchdog pause --reason 'it'\\''s new'");
    }
}
