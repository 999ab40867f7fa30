//! `--help` and the answer to a wrong command line, in both languages.

use crate::program::mfe_watchdog;
use mfe_kit::{Output, output};

const ENGLISH: &str = "C.UTF-8";
const PORTUGUESE: &str = "pt_BR.UTF-8";

fn answer(language: &str, arguments: &[&str]) -> Output {
    let mut command = mfe_watchdog();
    output(command.env("LC_ALL", language).args(arguments))
}

#[test]
fn the_help_of_every_command_is_in_the_users_language_and_fits_a_terminal() {
    let command = mfe_watchdog::cli::command();
    let commands = command.get_subcommands();
    let forms: Vec<Vec<&str>> = commands
        .map(|command| vec![command.get_name(), "--help"])
        .chain([vec!["--help"], vec!["help", "pause"]])
        .collect();
    assert!(forms.len() > 12);
    for form in forms {
        let english = answer(ENGLISH, &form);
        let portuguese = answer(PORTUGUESE, &form);
        for (said, usage, foreign) in [
            (&english, "\nUsage: mfe-watchdog", ["Uso:", "Opções"]),
            (&portuguese, "\nUso: mfe-watchdog", ["Usage:", "Options"]),
        ] {
            assert_eq!((said.code(), said.stderr.as_str()), (0, ""), "{form:?}");
            assert!(said.stdout.contains(usage), "{}", said.stdout);
            assert!(
                !foreign.iter().any(|word| said.stdout.contains(word)),
                "{}",
                said.stdout
            );
            let longest = said.stdout.lines().map(|line| line.chars().count()).max();
            assert!(longest.unwrap() <= 80, "{}", said.stdout);
        }
        // The same options, in the same order.
        let options = |said: &Output| -> Vec<String> {
            let words = said.stdout.split_whitespace();
            let options = words.filter(|word| word.starts_with("--"));
            options
                .map(|option| option.trim_matches([',', '.', ';']).to_owned())
                .collect()
        };
        assert_eq!(options(&english), options(&portuguese), "{form:?}");
    }
}

#[test]
fn a_wrong_command_line_is_told_what_is_wrong_with_it() {
    let usage = "\n\nUso: mfe-watchdog status [OPÇÕES] [KEY]";
    let help = "\n\nPara mais informações: --help\n";
    for (arguments, expected) in [
        (
            &["status", "--jso"][..],
            format!(
                "não existe a opção '--jso' neste comando\n\nParecido: --json{usage}"
            ),
        ),
        (
            &["pausee"],
            "não existe o comando 'pausee'\n\nParecido: pause\n\nUso: mfe-watchdog [OPÇÕES] <COMANDO>".into(),
        ),
        (
            &["restart"],
            "falta: <KEY>\n\nUso: mfe-watchdog restart [OPÇÕES] <KEY>".into(),
        ),
        (
            &["status", "--json", "--prometheus"],
            format!("'--json' não pode ser usado com '--prometheus'{usage}"),
        ),
        (
            &["status", "--json", "--json"],
            format!("'--json' só pode ser usado uma vez{usage}"),
        ),
        (&["logs", "-n"], "falta o valor de '--lines <N>'".into()),
        (
            &["status", "monitor", "a\u{1b}[2J"],
            format!("argumento a mais: 'a\\u{{1b}}[2J'{usage}"),
        ),
        (
            &["pause", "--for", "99h"],
            "'99h' em '--for <TEMPO>': escreva um tempo como 30m ou 2h, de 1s a 24h".into(),
        ),
    ] {
        let refused = answer(PORTUGUESE, arguments);
        assert_eq!((refused.code(), refused.stdout.as_str()), (2, ""), "{arguments:?}");
        assert_eq!(refused.stderr, format!("mfe-watchdog: {expected}{help}"), "{arguments:?}");
        let refused = answer(ENGLISH, arguments);
        assert_eq!((refused.code(), refused.stdout.as_str()), (2, ""), "{arguments:?}");
        assert!(refused.stderr.starts_with("error: "), "{}", refused.stderr);
    }
}

#[test]
fn without_a_command_the_help_says_which_there_are() {
    for (language, first) in [
        (ENGLISH, "Keeps a shop's MFE programs"),
        (PORTUGUESE, "Mantém no ar os programas do MFE"),
    ] {
        let said = answer(language, &[]);
        assert_eq!((said.code(), said.stdout.as_str()), (2, ""));
        assert!(said.stderr.starts_with(first), "{}", said.stderr);
    }
}
