//! Understands a program's file as the kernel and a shell do: what runs it, and what a shell script names
//! as far as that can be read without running it. Who may change those files is judged in
//! [`super::path_trust`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Where env(1) finds an interpreter: the PATH of services (systemd.exec(5)).
pub(crate) const SEARCHED: [&str; 6] = [
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
];

/// Interpreters whose scripts [`Named`] understands.
const SHELLS: [&str; 8] = ["ash", "bash", "busybox", "dash", "ksh", "mksh", "sh", "zsh"];

/// Stands for what only running the script could tell; no path holds it.
const UNKNOWN: char = '\0';

/// Commands within quotes within commands are read so deep.
const DEPTH_MAX: u32 = 4;

/// More of what a script names isn't kept.
const NAMED_MAX: usize = 200;

/// A longer value names no path (`PATH_MAX` of limits.h), in bytes; and a script can have one grow without
/// bounds.
const VALUE_MAX: usize = 4096;

/// What the kernel would make of a file (execve(2)).
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Binary,
    Script {
        /// What its first line names.
        interpreter: PathBuf,
        /// The paths at which the interpreter itself may be, the first that exists counts: more than one
        /// where env(1) looks for it.
        candidates: Vec<PathBuf>,
    },
    /// Its lines end as on Windows: the kernel takes the carriage return for a part of the
    /// interpreter's name, and the shell for a part of each command.
    DosScript,
    /// A script without a first line that names an interpreter, which only a shell could run.
    NoInterpreter,
}

impl Form {
    pub(crate) fn of(bytes: &[u8]) -> Self {
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
        let interpreter = PathBuf::from(interpreter);
        let is_env = interpreter.file_name().is_some_and(|name| name == "env");
        let is_name = |word: &&str| !word.starts_with('-') && !word.contains('=');
        let candidates = match words.find(is_name).filter(|_| is_env) {
            // An absolute name is itself in every folder.
            Some(name) => SEARCHED.map(|folder| Path::new(folder).join(name)).to_vec(),
            None => vec![interpreter.clone()],
        };
        Self::Script {
            interpreter,
            candidates,
        }
    }

    /// Whether it is a script that a shell runs.
    pub(crate) fn is_of_shell(&self) -> bool {
        let Self::Script { candidates, .. } = self else {
            return false;
        };
        let name = candidates.first().and_then(|path| path.file_name());
        name.is_some_and(|name| SHELLS.iter().any(|shell| name == *shell))
    }
}

/// What a shell script names by absolute paths; they need not exist.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Named {
    /// Anything: programs it runs, and files that it writes to.
    pub(crate) files: Vec<PathBuf>,
    /// Files whose commands it runs as its own.
    pub(crate) sourced: Vec<PathBuf>,
    /// Folders in which it runs programs, by PATH or by going there.
    pub(crate) folders: Vec<PathBuf>,
    /// Folders in which its programs look for libraries (ld.so(8), `LD_LIBRARY_PATH`).
    pub(crate) libraries: Vec<PathBuf>,
}

impl Named {
    /// What `script`, a file in `folder`, names.
    pub(crate) fn by(script: &str, folder: &Path) -> Self {
        let mut reader = Reader {
            folder,
            variables: BTreeMap::new(),
            named: Self::default(),
        };
        reader.read(script, 0);
        reader.named
    }

    fn add(list: &mut Vec<PathBuf>, paths: &str) {
        for path in paths.split(':') {
            let path = Path::new(path);
            let is_known = path.is_absolute() && !path.to_string_lossy().contains(UNKNOWN);
            if is_known && list.len() < NAMED_MAX && !list.iter().any(|known| known == path) {
                list.push(path.to_owned());
            }
        }
    }
}

/// Takes a script apart into words, with the variables that it sets itself in their place.
struct Reader<'a> {
    folder: &'a Path,
    variables: BTreeMap<String, String>,
    named: Named,
}

impl Reader<'_> {
    fn read(&mut self, text: &str, depth: u32) {
        if depth > DEPTH_MAX {
            return;
        }
        let mut rest = text.chars().peekable();
        let mut word: Option<String> = None;
        let mut before = String::new();
        let mut quote = None;
        while let Some(c) = rest.next() {
            match (quote, c) {
                (Some('\''), c) if c != '\'' => word.get_or_insert_default().push(c),
                (Some(open), c) if open == c => quote = None,
                (None, '\'' | '"') => {
                    quote = Some(c);
                    word.get_or_insert_default();
                }
                (_, '\\') => {
                    let escaped = rest.next().filter(|c| *c != '\n');
                    word.get_or_insert_default().extend(escaped);
                }
                (_, '$') => {
                    let value = self.expand(&mut rest, depth);
                    append(word.get_or_insert_default(), &value);
                }
                (_, '`') => {
                    let inner: String = rest.by_ref().take_while(|c| *c != '`').collect();
                    let value = self.substitute(&inner, depth);
                    append(word.get_or_insert_default(), &value);
                }
                (None, '#') if word.is_none() => while rest.next_if(|c| *c != '\n').is_some() {},
                (None, ' ' | '\t' | '<' | '>') => self.end(&mut word, &mut before, depth),
                (None, '\n' | ';' | '&' | '|' | '(' | ')') => {
                    self.end(&mut word, &mut before, depth);
                    before.clear();
                }
                (_, c) => word.get_or_insert_default().push(c),
            }
        }
        self.end(&mut word, &mut before, depth);
    }

    /// Takes in a word that has ended, if one has; `before` is the word of the same command before it.
    fn end(&mut self, word: &mut Option<String>, before: &mut String, depth: u32) {
        let Some(word) = word.take() else {
            return;
        };
        if word.contains([' ', '\t', '\n', ';']) {
            // As in `sh -c '…'`.
            self.read(&word, depth + 1);
        }
        let named = &mut self.named;
        match word.split_once('=') {
            Some(("LD_LIBRARY_PATH", folders)) => Named::add(&mut named.libraries, folders),
            Some(("PATH", folders)) => Named::add(&mut named.folders, folders),
            Some((name, value)) => {
                Named::add(&mut named.files, value);
                if self.variables.len() < NAMED_MAX {
                    self.variables.insert(name.to_owned(), value.to_owned());
                }
            }
            None => {
                match before.as_str() {
                    "." | "source" if word.contains('/') => {
                        let file = self.folder.join(&word);
                        Named::add(&mut named.sourced, &file.to_string_lossy());
                    }
                    "cd" | "pushd" => Named::add(&mut named.folders, &word),
                    _ => {}
                }
                Named::add(&mut named.files, &word);
            }
        }
        *before = word;
    }

    /// What comes after a `$`.
    fn expand(
        &mut self,
        rest: &mut std::iter::Peekable<std::str::Chars<'_>>,
        depth: u32,
    ) -> String {
        match rest.peek() {
            Some('(') => {
                let mut open = 0;
                let mut inner = String::new();
                for c in rest.by_ref() {
                    match c {
                        '(' => open += 1,
                        ')' => open -= 1,
                        _ => {}
                    }
                    if open == 0 {
                        break;
                    }
                    inner.push(c);
                }
                self.substitute(&inner[1..], depth)
            }
            Some('{') => {
                rest.next();
                let inner: String = rest.by_ref().take_while(|c| *c != '}').collect();
                match inner.as_str() {
                    "0%/*" => self.folder.to_string_lossy().into_owned(),
                    name => self.value(name),
                }
            }
            _ => {
                let mut name = String::new();
                while let Some(c) = rest.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
                    name.push(c);
                }
                self.value(&name)
            }
        }
    }

    fn value(&self, name: &str) -> String {
        let known = self.variables.get(name).cloned();
        known.unwrap_or_else(|| UNKNOWN.to_string())
    }

    /// What a command prints: its own folder, in the ways in which scripts ask for that, or else nobody
    /// knows what.
    fn substitute(&mut self, command: &str, depth: u32) -> String {
        let is_own = command.contains("dirname")
            && ["$0", "${0}", "BASH_SOURCE"]
                .iter()
                .any(|own| command.contains(own));
        if is_own {
            let up = command.matches("/..").count();
            let folder = self.folder.ancestors().nth(up).unwrap_or(self.folder);
            return folder.to_string_lossy().into_owned();
        }
        self.read(command, depth + 1);
        UNKNOWN.to_string()
    }
}

/// Puts a value where it is used.
fn append(word: &mut String, value: &str) {
    if word.len() + value.len() <= VALUE_MAX {
        word.push_str(value);
    } else {
        word.push(UNKNOWN);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_form_of_a_file() {
        let script = |path: &str| Form::Script {
            interpreter: path.into(),
            candidates: vec![path.into()],
        };
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
        let Form::Script {
            interpreter,
            candidates,
        } = Form::of(b"#!/usr/bin/env -S A=1 python3 -u\n")
        else {
            panic!("it is a script");
        };
        assert_eq!(interpreter, Path::new("/usr/bin/env"));
        assert!(
            candidates.contains(&"/usr/bin/python3".into()),
            "{candidates:?}"
        );
    }

    #[test]
    fn shells_are_told_from_other_interpreters() {
        for (line, expected) in [
            ("#!/bin/sh\n", true),
            ("#!/usr/bin/env bash\n", true),
            ("#!/usr/bin/python3\n", false),
            ("\u{7f}ELF\0", false),
        ] {
            assert_eq!(Form::of(line.as_bytes()).is_of_shell(), expected, "{line}");
        }
    }

    fn named(script: &str) -> Named {
        Named::by(script, Path::new("/opt/x/bin"))
    }

    fn paths(paths: &[PathBuf]) -> Vec<&str> {
        paths.iter().filter_map(|path| path.to_str()).collect()
    }

    #[test]
    fn files_are_named_in_the_ways_that_scripts_have() {
        for (script, expected) in [
            ("exec /opt/x/a --flag", &["/opt/x/a"][..]),
            (
                "/opt/x/a&/opt/x/b;(/opt/x/c)",
                &["/opt/x/a", "/opt/x/b", "/opt/x/c"],
            ),
            (
                "nohup \"/opt/x y/a\" >/dev/null 2>&1 &",
                &["/opt/x", "/opt/x y/a", "/dev/null"],
            ),
            ("/opt/x\\ y/a", &["/opt/x", "/opt/x y/a"]),
            (
                "A=/opt/x\n\"$A/b\" ${A}/c",
                &["/opt/x", "/opt/x/b", "/opt/x/c"],
            ),
            ("D=$(dirname \"$0\"); $D/a", &["/opt/x/bin", "/opt/x/bin/a"]),
            (
                "D=`dirname $0`/..; $D/a",
                &["/opt/x/bin/..", "/opt/x/bin/../a"],
            ),
            ("\"${0%/*}\"/a", &["/opt/x/bin/a"]),
            ("$(cd \"$(dirname \"$0\")/..\" && pwd)/a", &["/opt/x/a"]),
            (
                "su - pdv -c '/opt/x/a; exec /opt/x/b'",
                &["/opt/x/a", "/opt/x/b", "/opt/x/a; exec /opt/x/b"],
            ),
            ("x=$(/opt/x/a -v)", &["/opt/x/a"]),
            ("--config=/opt/x/a", &["/opt/x/a"]),
            ("# /opt/x/a\necho a#/b", &[]),
            ("$HOME/a \"$1/b\"", &[]),
            ("", &[]),
        ] {
            assert_eq!(paths(&named(script).files), expected, "{script}");
        }
    }

    #[test]
    fn folders_and_libraries_are_told_apart() {
        let script = "cd /opt/x/bin || exit 1\n. /opt/x/env\n. ./local\n\
            export LD_LIBRARY_PATH=/opt/x/drs:$LD_LIBRARY_PATH\nPATH=\"$PATH:/opt/y\"\n";
        let named = named(script);
        assert_eq!(paths(&named.folders), ["/opt/x/bin", "/opt/y"]);
        assert_eq!(paths(&named.sourced), ["/opt/x/env", "/opt/x/bin/./local"]);
        assert_eq!(paths(&named.libraries), ["/opt/x/drs"]);
    }

    proptest! {
        #[test]
        fn no_script_makes_it_panic_or_grow(script in "[/a$(){}`'\"\\\\ \n;=:.#0]{0,200}") {
            let named = named(&script);
            prop_assert!(named.files.len() <= NAMED_MAX);
        }
    }

    #[test]
    fn a_script_that_never_ends_its_quotes_is_read_once() {
        for part in ["$(", "`", "\"$(", "sh -c '", "${"] {
            let _ = named(&part.repeat(20_000));
        }
        let _ = named(&"'a ; '".repeat(10_000));
        let grows = format!("A=/a\n{}", "A=$A$A\n".repeat(8000));
        let named = named(&grows);
        let longest = named.files.iter().map(|file| file.as_os_str().len()).max();
        assert!(longest.unwrap() <= VALUE_MAX);
    }
}
