//! The shell completions that the package installs are those of the command line as it is.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::builder::PossibleValuesParser;
use mfe_watchdog::config::{DEFAULT_PATH, DEFAULT_TEXT, parse};

use mfe_kit::{Need, Output, completions, needs, output};

/// The keys of the configuration as it is shipped, which hardly any till changes.
const KEYS: [&str; 2] = ["comunicador", "monitor"];

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("completions")
        .join(name)
}

/// The command line, with the keys that are offered for a KEY.
fn command() -> clap::Command {
    let with_keys = |argument: clap::Arg| {
        let names = argument.get_value_names().unwrap_or_default();
        if names.iter().any(|name| *name == "KEY") {
            argument.value_parser(PossibleValuesParser::new(KEYS))
        } else {
            argument
        }
    };
    mfe_watchdog::cli::command().mut_subcommands(|one| one.mut_args(with_keys))
}

#[test]
fn completions_are_those_of_the_command_line() {
    let member = env!("CARGO_MANIFEST_DIR");
    completions::check(member, &mut command(), "--test integration completions");
}

#[test]
fn keys_are_those_that_are_shipped() {
    let settings = parse(DEFAULT_TEXT, Path::new(DEFAULT_PATH)).unwrap();
    let keys: Vec<String> = settings.processes.into_iter().map(|one| one.key).collect();
    assert_eq!(keys, KEYS);
}

#[test]
fn bash_offers_commands_options_and_keys() {
    for (words, expected) in [
        ("mfe-watchdog stat", "status"),
        ("mfe-watchdog status --j", "--json"),
        ("mfe-watchdog exec co", "comunicador"),
        ("mfe-watchdog exec ", "comunicador monitor"),
    ] {
        // What readline does on Tab.
        let script = "source \"$0\"
            IFS=' ' read -r -a COMP_WORDS <<<\"$1\"
            [[ $1 == *' ' ]] && COMP_WORDS+=('')
            COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
            registered=$(complete -p mfe-watchdog)
            [[ $registered =~ -F\\ ([^ ]+) ]]
            ${BASH_REMATCH[1]} mfe-watchdog \"${COMP_WORDS[COMP_CWORD]}\" \
                \"${COMP_WORDS[COMP_CWORD - 1]}\"
            echo \"${COMPREPLY[*]}\"";
        let arguments = ["--norc", "-c", script];
        let offered = output(
            Command::new("bash")
                .args(arguments)
                .arg(path("mfe-watchdog"))
                .arg(words),
        );
        assert_eq!(offered.stderr, "", "{words}");
        let offered: Vec<&str> = offered.stdout.split_whitespace().collect();
        let wanted: Vec<&str> = expected.split(' ').collect();
        // Options are offered beside keys.
        let names: Vec<&str> = offered
            .into_iter()
            .filter(|word| wanted.contains(word))
            .collect();
        assert_eq!(names, wanted, "{words}");
    }
}

#[test]
fn fish_offers_commands_and_options() {
    needs!(Need::Package("fish"));
    for (words, expected) in [
        ("mfe-watchdog stat", "status"),
        ("mfe-watchdog status --j", "--json"),
    ] {
        let script = "source $argv[1]; complete -C $argv[2]";
        let mut fish = Command::new("fish");
        fish.args(["--no-config", "-c", script]);
        let offered = output(fish.arg(path("mfe-watchdog.fish")).arg(words));
        assert_eq!(offered.stderr, "", "{words}");
        // Each with what it is for, behind a tab.
        let lines = offered.stdout.lines();
        let names: Vec<&str> = lines.filter_map(|line| line.split('\t').next()).collect();
        assert_eq!(names, [expected], "{words}");
    }
}

/// What zsh runs in place of `words`, of which Tab completes the last.
fn completed_by_zsh(words: &str) -> Output {
    let home = tempfile::tempdir().unwrap();
    let folder = path("").display().to_string();
    let start = format!(
        "fpath=({folder} $fpath)
        autoload -U compinit
        compinit -u -D
        mfe-watchdog() {{ print -r -- \"ran <$*>\" }}"
    );
    fs::write(home.path().join(".zshrc"), start).unwrap();
    let script = "zmodload zsh/zpty
        zpty shell \"ZDOTDIR=$1 zsh -d -i\"
        zpty -w -n shell \"$2\"$'\\t\\n'
        zpty -r shell said '*ran <*>*'
        print -r -- \"$said\"";
    let mut zsh = Command::new("timeout");
    zsh.args(["60", "zsh", "-f", "-c", script, "zsh"]);
    output(zsh.arg(home.path()).arg(words).env("TERM", "dumb"))
}

#[test]
fn zsh_completes_commands_options_and_keys() {
    needs!(Need::Package("zsh"));
    for (words, expected) in [
        ("mfe-watchdog stat", "ran <status>"),
        ("mfe-watchdog status --j", "ran <status --json>"),
        ("mfe-watchdog exec co", "ran <exec comunicador>"),
    ] {
        let completed = completed_by_zsh(words);
        assert_eq!(completed.stderr, "", "{words}");
        let ran = completed.stdout.contains(expected);
        assert!(ran, "{words}: {:?}", completed.stdout);
    }
}
