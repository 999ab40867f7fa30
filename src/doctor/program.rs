//! Whether the programs that the service runs can be run, and by whom they could be changed; whether
//! they are there at all is looked at in [`super::driver`].

use std::collections::BTreeSet;
use std::fs::Metadata;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rust_i18n::t;

use super::root::View;
use super::{Examination, Machine};
use crate::config::Settings;
use crate::sys::path_trust::Exposure;
use crate::text::escape::{printable, shell_word};

/// Where env(1) finds an interpreter: the PATH of services (systemd.exec(5)).
const SEARCHED: [&str; 6] = [
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
];

/// Interpreters whose package has their name.
const PACKAGED: [&str; 6] = ["bash", "dash", "ksh", "perl", "python3", "zsh"];

pub(super) fn examine(
    settings: &Settings,
    machine: &Machine,
    view: &mut View<'_>,
    found: &mut Examination,
) {
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
        if let Some(exposure) = Exposure::of(&view.at(path), machine.service_user) {
            exposed(&shown, &exposure, found);
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
            Some(Form::Script(candidates)) => {
                let is_there = candidates.iter().any(|path| view.metadata(path).is_some());
                if let (false, Some(interpreter)) = (is_there, candidates.first()) {
                    missing_interpreter(&shown, &word, interpreter, found);
                }
            }
        }
    }
}

fn exposed(program: &str, exposure: &Exposure, found: &mut Examination) {
    let path = printable(&exposure.path().display().to_string());
    match exposure.commands() {
        Some(commands) => {
            let commands: Vec<_> = commands
                .iter()
                .map(|command| format!("sudo {command}"))
                .collect();
            found.find(
                "others-can-change",
                t!("doctor.others_can_change", program = program, path = path),
                commands.join(" && "),
            );
        }
        None => found.find_without_command(
            "others-can-change",
            t!("doctor.move_program", program = program, path = path),
        ),
    }
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

/// What the kernel would make of a file (execve(2)).
#[derive(Debug, PartialEq, Eq)]
enum Form {
    Binary,
    /// The paths at which its interpreter may be.
    Script(Vec<PathBuf>),
    /// Its lines end as on Windows: the kernel takes the carriage return for a part of the
    /// interpreter's name, and the shell for a part of each command.
    DosScript,
    /// A script without a first line that names an interpreter, which only a shell could run.
    NoInterpreter,
}

impl Form {
    fn of(bytes: &[u8]) -> Self {
        let is_text = !bytes.contains(&0);
        let Some(rest) = bytes.strip_prefix(b"#!") else {
            return if is_text && !bytes.is_empty() {
                Self::NoInterpreter
            } else {
                Self::Binary
            };
        };
        if is_text && bytes.windows(2).any(|pair| pair == b"\r\n") {
            return Self::DosScript;
        }
        let line = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let line = String::from_utf8_lossy(line);
        let mut words = line.split_whitespace();
        let Some(interpreter) = words.next() else {
            return Self::NoInterpreter;
        };
        let interpreter = Path::new(interpreter);
        let is_env = interpreter.file_name().is_some_and(|name| name == "env");
        let is_name = |word: &&str| !word.starts_with('-') && !word.contains('=');
        match words.find(is_name).filter(|_| is_env) {
            Some(name) => {
                let paths = SEARCHED.map(|folder| Path::new(folder).join(name));
                // An absolute name is itself in every folder.
                Self::Script(paths.to_vec())
            }
            None => Self::Script(vec![interpreter.to_owned()]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_of_a_file() {
        let script = |path: &str| Form::Script(vec![path.into()]);
        assert_eq!(Form::of(b"\x7fELF\0\0"), Form::Binary);
        assert_eq!(Form::of(b""), Form::Binary);
        assert_eq!(Form::of(b"#!/bin/sh\nexit 0\n"), script("/bin/sh"));
        assert_eq!(Form::of(b"#! /bin/sh -e"), script("/bin/sh"));
        assert_eq!(Form::of(b"#!/bin/sh\r\nexit 0\r\n"), Form::DosScript);
        assert_eq!(Form::of(b"#!/bin/sh\nexit 0\r\n"), Form::DosScript);
        assert_eq!(Form::of(b"echo a\n"), Form::NoInterpreter);
        assert_eq!(Form::of(b"#!\n"), Form::NoInterpreter);
        // A program behind a script: what ends its lines isn't for a shell.
        assert_eq!(Form::of(b"#!/bin/sh\nexit\n\0\r\n"), script("/bin/sh"));
        let Form::Script(paths) = Form::of(b"#!/usr/bin/env -S A=1 python3 -u\n") else {
            panic!("it is a script");
        };
        assert!(paths.contains(&"/usr/bin/python3".into()), "{paths:?}");
    }
}
