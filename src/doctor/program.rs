//! Whether the programs that the service runs can be run, and by whom they could be changed; whether
//! they are there at all is looked at in [`super::driver`].

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use mfe_common::escape::{list, printable, shell_word};
use rust_i18n::t;

use super::root::View;
use super::{Examination, Later, Machine};
use crate::config::{Settings, Start};
use crate::sys::path_trust::Exposure;
use crate::sys::script::Form;

/// Interpreters whose package has their name.
const PACKAGED: [&str; 6] = ["bash", "dash", "ksh", "perl", "python3", "zsh"];

/// More paths that others can change are counted.
const PATHS_SHOWN: usize = 3;

pub(super) fn examine(
    settings: &Settings,
    machine: &Machine,
    view: &mut View<'_>,
    found: &mut Examination,
) {
    // First: what is run in a folder that others can change had better wait.
    examine_exposure(settings, machine, view, found);
    let programs: BTreeSet<&str> = settings.commands().map(|(_, program)| program).collect();
    for program in programs {
        let path = Path::new(program);
        let Some(metadata) = view.metadata(path).filter(Metadata::is_file) else {
            continue;
        };
        let shown = printable(program);
        let word = shell_word(program);
        if metadata.permissions().mode() & 0o111 == 0 {
            let text = t!("doctor.not_executable", program = shown);
            found.find("not-executable", text, format!("sudo chmod +x {word}"));
        }
        let form = view.bytes(path).map(|bytes| Form::of(&bytes));
        match form {
            None | Some(Form::Binary) => {}
            Some(Form::DosScript) => found.find(
                "crlf-line-ends",
                t!("doctor.crlf", program = shown),
                format!(r"sudo sed -i 's/\r$//' {word}"),
            ),
            Some(Form::NoInterpreter) => found.find(
                "no-interpreter",
                t!("doctor.no_interpreter", program = shown),
                format!("sudo sed -i '1i #!/bin/sh' {word}"),
            ),
            Some(Form::Script { candidates, .. }) => {
                let is_there = candidates.iter().any(|path| view.metadata(path).is_some());
                if let (false, Some(interpreter)) = (is_there, candidates.first()) {
                    missing_interpreter(&shown, &word, interpreter, found);
                }
            }
        }
    }
}

/// Tells of everything at once that others could change, for most of it is the same for all programs.
fn examine_exposure(
    settings: &Settings,
    machine: &Machine,
    view: &mut View<'_>,
    found: &mut Examination,
) {
    let mut exposures = BTreeMap::new();
    for (_, program) in settings.commands() {
        let path = Path::new(program);
        if view
            .metadata(path)
            .is_some_and(|metadata| metadata.is_file())
        {
            let exposure = Exposure::of_program(&machine.root, path, machine.service_user);
            exposures.extend(exposure.map(|exposure| (program, exposure)));
        }
    }
    let restarts = settings.processes.iter().filter(|process| {
        let Start::Command(command) = &process.start else {
            return false;
        };
        let program = command.first();
        program.is_some_and(|program| exposures.contains_key(program.as_str()))
    });
    let restarts: Vec<String> = restarts
        .map(|process| format!("sudo mfe-watchdog restart {}", process.key))
        .collect();
    let Some(all) = Exposure::joined(exposures.into_values()) else {
        return;
    };
    let restarts = restarts.into_iter().map(|command| Later {
        text: t!("doctor.restart_later").into_owned(),
        command,
    });
    tell_exposure(&all, restarts.collect(), found, |paths| {
        t!("doctor.others_can_change", paths = paths).into_owned()
    });
}

/// Tells that what is exposed can be changed, in the words of `say`, and what to do.
pub(super) fn tell_exposure(
    exposure: &Exposure,
    restarts: Vec<Later>,
    found: &mut Examination,
    say: impl Fn(&str) -> String,
) {
    let shown = |path: &Path| printable(&path.display().to_string());
    let paths = exposure.paths();
    let more = paths.len().saturating_sub(PATHS_SHOWN);
    let paths = list(paths.take(PATHS_SHOWN).map(shown));
    let paths = match more {
        0 => paths,
        more => t!("doctor.and_more", first = paths, more = more).into_owned(),
    };
    let misplaced = exposure.misplaced();
    if !misplaced.is_empty() {
        let files = misplaced.iter().take(PATHS_SHOWN).map(|path| shown(path));
        let text = t!("doctor.move_program", program = list(files));
        let text = format!("{} {text}", say(&paths));
        found.find_without_command("others-can-change", text);
    }
    let Some(remedy) = exposure.remedy() else {
        return;
    };
    let mut text = format!("{} {}", say(&paths), t!("doctor.how_it_is_fixed"));
    if remedy.left > 0 {
        text = format!("{text} {}", t!("doctor.fix_the_rest", left = remedy.left));
    }
    let back = remedy.back.into_iter().map(|command| Later {
        text: t!("doctor.go_back").into_owned(),
        command,
    });
    let later = restarts.into_iter().chain(back).collect();
    found.find_with_later("others-can-change", text, remedy.command, later);
}

fn missing_interpreter(program: &str, word: &str, interpreter: &Path, found: &mut Examination) {
    let name = interpreter
        .file_name()
        .unwrap_or_default()
        .to_string_lossy();
    let command = if PACKAGED.contains(&name.as_ref()) {
        format!("sudo apt install {name}")
    } else {
        format!("sudo nano {word}")
    };
    let interpreter = printable(&interpreter.display().to_string());
    let text = t!(
        "doctor.interpreter_missing",
        program = program,
        interpreter = interpreter
    );
    found.find("interpreter-missing", text, command);
}
