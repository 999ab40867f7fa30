//! `--help` and the answer to a wrong command line, in the user's language. What the arguments are is in
//! [`super`]; the English of both is clap's own.

use std::env;
use std::process;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command, CommandFactory, FromArgMatches};
use mfe_common::escape::printable;
use rust_i18n::t;

use super::Arguments;
use super::output::{complain, show};

/// How clap begins the line of a command's form, and what it calls all options in it.
const USAGE: &str = "Usage: ";
const OPTIONS: &str = "[OPTIONS]";

/// What the command line asks for. One that is wrong, or asks for help or the version, ends the process here.
pub(super) fn arguments() -> Arguments {
    let mut command = Arguments::command();
    if !mfe_common::locale::is_english() {
        command.build();
        command = translated(command);
    }
    let matches = command.try_get_matches_from_mut(env::args_os());
    let arguments = matches.and_then(|matches| Arguments::from_arg_matches(&matches));
    arguments.unwrap_or_else(|error| {
        let own = answer(&error).filter(|_| !mfe_common::locale::is_english());
        let text = own.unwrap_or_else(|| error.render().to_string());
        if error.use_stderr() {
            complain(text.trim_end());
        } else {
            // Whether anybody reads it is all the same to the end of the process.
            let _ = show(&text);
        }
        process::exit(error.exit_code());
    })
}

/// A command, with all that its help says in the user's language.
fn translated(command: Command) -> Command {
    let about = command.get_about().map(|text| t!(text.to_string()));
    let template = format!(
        "{{about-with-newline}}\n{} {{usage}}\n\n{{all-args}}",
        t!("help.usage")
    );
    let mut command = command
        .mut_args(in_words)
        .mut_subcommands(translated)
        .subcommand_help_heading(t!("help.commands").into_owned())
        .subcommand_value_name(t!("help.command").into_owned())
        .help_template(template);
    if let Some(about) = about {
        command = command.about(about.into_owned());
    }
    let usage = form(&command.render_usage().to_string());
    command.override_usage(usage)
}

/// An argument in the user's language.
fn in_words(arg: Arg) -> Arg {
    let heading = if arg.is_positional() {
        t!("help.arguments")
    } else {
        t!("help.options")
    };
    let mut text = arg.get_help().map(|text| t!(text.to_string()).into_owned());
    let defaults = arg.get_default_values().iter();
    let default = defaults.map(|value| value.to_string_lossy()).next();
    if let (Some(text), Some(default)) = (
        &mut text,
        default.filter(|_| arg.get_action().takes_values()),
    ) {
        *text += &format!(" {}", t!("help.default", value = default));
    }
    let names = arg.get_value_names().unwrap_or_default();
    let names: Vec<String> = names
        .iter()
        .map(|name| t!(name.as_str()).into_owned())
        .collect();
    let mut arg = arg
        .help_heading(heading.into_owned())
        .hide_default_value(true);
    if !names.is_empty() {
        arg = arg.value_names(names);
    }
    match text {
        Some(text) => arg.help(text),
        None => arg,
    }
}

/// A command's form, without clap's English.
fn form(usage: &str) -> String {
    let usage = usage.strip_prefix(USAGE).unwrap_or(usage);
    usage.replace(OPTIONS, &t!("help.any_options"))
}

/// What is wrong with a command line; `None` where clap has to say it.
fn answer(error: &clap::Error) -> Option<String> {
    let text = |kind| match error.get(kind)? {
        ContextValue::String(text) => Some(printable(text)),
        ContextValue::Strings(texts) => {
            let texts: Vec<String> = texts.iter().map(|text| printable(text)).collect();
            Some(texts.join(", "))
        }
        ContextValue::StyledStr(text) => Some(form(&text.to_string())),
        _ => None,
    };
    let argument = || text(ContextKind::InvalidArg);
    let value = || text(ContextKind::InvalidValue);
    let problem = match error.kind() {
        ErrorKind::UnknownArgument if argument()?.starts_with('-') => {
            t!("usage.unknown_option", option = argument()?)
        }
        ErrorKind::UnknownArgument => t!("usage.surplus", argument = argument()?),
        ErrorKind::InvalidSubcommand => {
            let command = text(ContextKind::InvalidSubcommand)?;
            t!("usage.unknown_command", command = command)
        }
        ErrorKind::MissingRequiredArgument => t!("usage.missing", argument = argument()?),
        ErrorKind::ArgumentConflict => match text(ContextKind::PriorArg) {
            Some(prior) if prior == argument()? => t!("usage.twice", argument = prior),
            Some(prior) => t!("usage.conflict", argument = argument()?, other = prior),
            None => return None,
        },
        ErrorKind::InvalidValue if value()?.is_empty() => {
            t!("usage.no_value", argument = argument()?)
        }
        ErrorKind::TooManyValues => {
            t!("usage.too_many", argument = argument()?, value = value()?)
        }
        ErrorKind::ValueValidation => {
            let why = std::error::Error::source(error)?.to_string();
            t!(
                "usage.value",
                argument = argument()?,
                value = value()?,
                why = why
            )
        }
        _ => return None,
    };
    let similar = [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand];
    let similar = similar.into_iter().find_map(text);
    let usage = text(ContextKind::Usage);
    let parts = [
        Some(format!("mfe-watchdog: {problem}")),
        similar.map(|similar| t!("usage.similar", similar = similar).into_owned()),
        usage.map(|usage| format!("{} {usage}", t!("help.usage"))),
        Some(t!("usage.help").into_owned()),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    Some(parts.join("\n\n"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use mfe_kit::catalogue::Catalogue;

    /// What a command says of itself, its arguments and its subcommands.
    fn said(command: &Command, texts: &mut BTreeSet<String>) {
        texts.extend(command.get_about().map(ToString::to_string));
        for arg in command.get_arguments() {
            texts.extend(arg.get_help().map(ToString::to_string));
            let takes = arg.get_action().takes_values();
            let names = arg.get_value_names().unwrap_or_default().iter();
            texts.extend(names.filter(|_| takes).map(ToString::to_string));
        }
        for command in command.get_subcommands() {
            said(command, texts);
        }
    }

    #[test]
    fn the_whole_help_is_translated_and_nothing_else() {
        let mut command = Arguments::command();
        command.build();
        let mut asked_for = BTreeSet::new();
        said(&command, &mut asked_for);
        let catalogue = Catalogue::of(env!("CARGO_MANIFEST_DIR"));
        let translated = catalogue.file("help.yml").into_keys();
        // Those by which the frame is asked for aren't texts.
        let by_name = |key: &String| key.starts_with("help.") || key.starts_with("usage.");
        let translated: BTreeSet<String> = translated.filter(|key| !by_name(key)).collect();
        assert_eq!(asked_for, translated);
    }
}
