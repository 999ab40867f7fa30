//! Lists what root runs with a program: the interpreter, the programs that a shell script names and those
//! beside it, and the libraries that these load, as far as that can be read. Nothing is run, and only
//! regular files are opened.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::libc;

use crate::sys::script::{Form, Named, SEARCHED};

/// More of a script than this isn't read, in bytes.
const SCRIPT_MAX: usize = 64 * 1024;

/// So much of a file says what it is, in bytes.
const HEAD: usize = 4;

/// What a script begins with (execve(2)).
const SCRIPT_MARK: &[u8] = b"#!";

/// So many scripts are read.
const SCRIPTS_MAX: usize = 32;

/// So many entries of a folder are looked at.
const ENTRIES_MAX: usize = 1000;

/// So many things are listed.
const LINKS_MAX: usize = 500;

/// Folders whose programs don't belong together.
const SHARED: [&str; 4] = ["/", "/etc/init.d", "/lib", "/usr/lib"];

/// The vendor's programs, and where the libraries are that all of them load.
const VENDOR: (&str, &str) = ("/opt/sefaz", "/opt/sefaz/drs");

/// Something that root runs, or where it looks for that.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Link {
    File(PathBuf),
    /// Whatever is put into it counts.
    Folder(PathBuf),
}

/// What root runs with `program`, this one first; every path is below `root`, which is the machine's.
pub(super) fn of(root: &Path, program: &Path) -> Vec<Link> {
    let mut chain = Chain {
        root,
        links: Vec::new(),
        seen: BTreeSet::new(),
        heads: BTreeMap::new(),
        scripts: 0,
    };
    chain.program(program);
    if program.starts_with(VENDOR.0) {
        chain.libraries(Path::new(VENDOR.1));
    }
    chain.links
}

struct Chain<'a> {
    root: &'a Path,
    links: Vec<Link>,
    seen: BTreeSet<Link>,
    /// How files begin that were opened before.
    heads: BTreeMap<PathBuf, Vec<u8>>,
    scripts: usize,
}

impl Chain<'_> {
    fn at(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Adds one at a path of the machine's; says whether it is new.
    fn add(&mut self, path: &Path, link: fn(PathBuf) -> Link) -> bool {
        let link = link(self.at(path));
        let is_new = self.links.len() < LINKS_MAX && self.seen.insert(link.clone());
        if is_new {
            self.links.push(link);
        }
        is_new
    }

    /// A program, and what it runs in turn.
    fn program(&mut self, program: &Path) {
        if !self.add(program, Link::File) {
            return;
        }
        // What is no script isn't read any further.
        if !self.head(program).starts_with(SCRIPT_MARK) {
            return;
        }
        let Some(bytes) = read(&self.at(program), SCRIPT_MAX) else {
            return;
        };
        let form = Form::of(&bytes);
        let Form::Script {
            interpreter,
            candidates,
        } = &form
        else {
            return;
        };
        self.scripts += 1;
        if self.scripts > SCRIPTS_MAX {
            return;
        }
        self.program(interpreter);
        for candidate in candidates {
            // One that isn't there yet could be put there.
            self.program(candidate);
            if self.at(candidate).exists() {
                break;
            }
        }
        let folder = program.parent().unwrap_or(Path::new("/"));
        self.beside(folder);
        if form.is_of_shell() {
            self.named(&Named::by(&String::from_utf8_lossy(&bytes), folder));
        }
    }

    fn named(&mut self, named: &Named) {
        for file in &named.sourced {
            if self.at(file).is_file() {
                self.program(file);
            }
        }
        for file in &named.files {
            if self.is_run(file) {
                self.program(file);
            }
        }
        for folder in &named.folders {
            self.beside(folder);
        }
        for folder in &named.libraries {
            self.libraries(folder);
        }
    }

    /// The programs in a folder that is a program's own.
    fn beside(&mut self, folder: &Path) {
        let mut shared = SEARCHED.iter().chain(&SHARED);
        let at = fs::metadata(self.at(folder));
        let is_sticky = at.is_ok_and(|at| at.mode() & 0o1000 != 0);
        if is_sticky || shared.any(|shared| folder == Path::new(shared)) {
            return;
        }
        for file in self.files(folder) {
            self.program(&file);
        }
    }

    /// A folder in which libraries are looked for, and those in it.
    fn libraries(&mut self, folder: &Path) {
        if !self.at(folder).is_dir() || !self.add(folder, Link::Folder) {
            return;
        }
        for file in self.files(folder) {
            self.add(&file, Link::File);
        }
    }

    /// The files in a folder that are run or loaded.
    fn files(&mut self, folder: &Path) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.at(folder)) else {
            return Vec::new();
        };
        let entries = entries.take(ENTRIES_MAX).flatten();
        let mut files: Vec<_> = entries
            .map(|entry| folder.join(entry.file_name()))
            .collect();
        files.retain(|file| self.is_run(file));
        files.sort_unstable();
        files
    }

    /// Whether a file is one to be run or loaded, by how it begins: what `chmod -R` has done to its mode says
    /// nothing.
    fn is_run(&mut self, path: &Path) -> bool {
        let is_archive = path.extension().is_some_and(|end| end == "jar");
        let head = self.head(path);
        head.starts_with(b"\x7fELF")
            || head.starts_with(SCRIPT_MARK)
            || head.starts_with(b"PK") && is_archive
    }

    /// How a regular file begins; empty for whatever else is there.
    fn head(&mut self, path: &Path) -> &[u8] {
        let at = self.at(path);
        let heads = self.heads.entry(path.to_owned());
        heads.or_insert_with(|| read(&at, HEAD).unwrap_or_default())
    }
}

/// The beginning of a regular file.
fn read(path: &Path, max: usize) -> Option<Vec<u8>> {
    // To open a FIFO would be to wait, and to open a device may do something.
    let metadata = fs::metadata(path).ok()?;
    if !metadata.is_file() {
        return None;
    }
    let length = usize::try_from(metadata.len()).map_or(max, |length| length.min(max));
    let mut options = OpenOptions::new();
    let file: File = options
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)
        .ok()?;
    let mut bytes = Vec::with_capacity(length);
    file.take(length as u64).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files in a folder that is a machine's root.
    struct Machine(tempfile::TempDir);

    impl Machine {
        fn new(files: &[(&str, &str)]) -> Self {
            let root = tempfile::tempdir().unwrap();
            for (path, text) in files {
                let path = root.path().join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            Self(root)
        }

        fn chain(&self, program: &str) -> Vec<String> {
            let links = of(self.0.path(), Path::new(program));
            let path = |path: &Path| {
                let path = path.strip_prefix(self.0.path()).unwrap();
                path.display().to_string()
            };
            let links = links.iter().map(|link| match link {
                Link::File(file) => path(file),
                Link::Folder(folder) => path(folder) + "/",
            });
            links.collect()
        }
    }

    const ELF: &str = "\u{7f}ELF";

    #[test]
    fn all_that_a_script_runs_is_listed() {
        let machine = Machine::new(&[
            ("bin/sh", ELF),
            ("bin/other", ELF),
            (
                "opt/x/bin/run.sh",
                "#!/bin/sh\n. /opt/x/env\nLD_LIBRARY_PATH=/opt/x/drs\n/opt/y/next.sh > /opt/x/log &\n./Program\n",
            ),
            ("opt/x/bin/Program", ELF),
            ("opt/x/bin/data.db", "data"),
            ("opt/x/log", "lines"),
            ("opt/x/env", "A=1\n"),
            ("opt/x/drs/lib.so", ELF),
            ("opt/x/drs/README", "text"),
            ("opt/y/next.sh", "#!/usr/bin/env python3\n"),
            ("usr/bin/env", ELF),
            ("usr/bin/python3", ELF),
        ]);
        assert_eq!(
            machine.chain("/opt/x/bin/run.sh"),
            [
                "opt/x/bin/run.sh",
                "bin/sh",
                "opt/x/bin/Program",
                "opt/x/env",
                "opt/y/next.sh",
                "usr/bin/env",
                "usr/local/sbin/python3",
                "usr/local/bin/python3",
                "usr/sbin/python3",
                "usr/bin/python3",
                "opt/x/drs/",
                "opt/x/drs/lib.so",
            ]
        );
        assert_eq!(machine.chain("/opt/x/bin/Program"), ["opt/x/bin/Program"]);
        assert_eq!(machine.chain("/missing"), ["missing"]);
    }

    #[test]
    fn the_vendors_libraries_belong_to_the_vendors_programs() {
        let machine = Machine::new(&[
            ("opt/sefaz/cco/bin/Comunicador", ELF),
            ("opt/sefaz/drs/libmfe.so", ELF),
        ]);
        assert_eq!(
            machine.chain("/opt/sefaz/cco/bin/Comunicador"),
            [
                "opt/sefaz/cco/bin/Comunicador",
                "opt/sefaz/drs/",
                "opt/sefaz/drs/libmfe.so"
            ]
        );
    }

    #[test]
    fn scripts_that_run_each_other_come_to_an_end() {
        let machine = Machine::new(&[
            ("bin/sh", ELF),
            ("opt/x/a", "#!/bin/sh\n/opt/x/b\n"),
            ("opt/x/b", "#!/opt/x/a\n/opt/x/a\n"),
        ]);
        assert_eq!(machine.chain("/opt/x/a"), ["opt/x/a", "bin/sh", "opt/x/b"]);
    }

    #[test]
    fn of_a_folder_that_is_everybodys_only_the_program_counts() {
        let machine = Machine::new(&[
            ("bin/sh", ELF),
            ("usr/local/bin/hook", "#!/bin/sh\n"),
            ("usr/local/bin/other", ELF),
        ]);
        assert_eq!(
            machine.chain("/usr/local/bin/hook"),
            ["usr/local/bin/hook", "bin/sh"]
        );
    }
}
