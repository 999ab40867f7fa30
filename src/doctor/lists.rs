//! Finds the lists of commands that something runs at boot, at a login or at a time of day (rc.local,
//! cron's, desktops'), and what of them starts one of the programs; units are looked at in
//! [`super::rivals`], and what starts the script that the service replaces in [`super::old_watcher`].

use std::path::{Path, PathBuf};

use mfe_common::escape::{list, printable, shell_word};
use rust_i18n::t;

use super::Examination;
use super::root::View;
use crate::config::Settings;
use crate::session::autostart;
use crate::start::Placement;
use crate::start::command_line::{files_run_by, started_by};
use crate::start::old_watcher::RC_LOCAL;

/// Scripts of run-parts(8), which cron runs.
const CRON_SCRIPTS: [&str; 4] = [
    "/etc/cron.hourly",
    "/etc/cron.daily",
    "/etc/cron.weekly",
    "/etc/cron.monthly",
];

/// What every session of a desktop starts (the Desktop Application Autostart Specification).
const AUTOSTART: &str = "/etc/xdg/autostart";

/// The same of one user's, below the home.
const OWN_AUTOSTART: &str = ".config/autostart";

/// The entry by which the vendor's driver starts Monitor at each login.
const VENDOR_ENTRY: &str = "cco-mon.desktop";

/// So many files of a command line are looked into.
const FILES_MAX: usize = 4;

/// So many lines of a file are named in one go.
const LINES_MAX: usize = 20;

/// So many homes are looked into.
const HOMES_MAX: usize = 100;

/// What is shown of a command, in characters.
const SHOWN_MAX: usize = 100;

/// A list of commands.
#[derive(Debug)]
pub(super) struct List {
    pub(super) file: PathBuf,
    pub(super) kind: Kind,
    /// The whole file.
    pub(super) text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// For a shell, or another interpreter.
    Script,
    /// Of cron's (crontab(5)), with so many fields before a command, or one where that is a word such
    /// as `@reboot`.
    Table { fields: usize },
    /// One entry of a desktop's.
    Desktop,
}

/// A command, and the lines that it takes up, from 1 on; none in an entry of a desktop's.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    lines: Option<(usize, usize)>,
    command: String,
}

/// Every list of the machine.
pub(super) fn lists(view: &mut View<'_>) -> Vec<List> {
    let table = |fields| Kind::Table { fields };
    let mut files = vec![
        (RC_LOCAL.into(), Kind::Script),
        // Their commands have a user before them.
        ("/etc/crontab".into(), table(6)),
        ("/etc/anacrontab".into(), table(3)),
    ];
    let mut add = |view: &mut View<'_>, folder: &Path, kind| {
        let paths = view.folder(folder);
        files.extend(paths.into_iter().map(|path| (path, kind)));
    };
    add(view, Path::new("/etc/cron.d"), table(6));
    for folder in CRON_SCRIPTS {
        add(view, Path::new(folder), Kind::Script);
    }
    add(view, Path::new("/var/spool/cron/crontabs"), table(5));
    add(view, Path::new(AUTOSTART), Kind::Desktop);
    for home in homes(view) {
        add(view, &home.join(OWN_AUTOSTART), Kind::Desktop);
    }
    // cron leaves alone what has a dot in its name, such as a copy; a desktop what isn't an entry.
    files.retain(|(path, kind)| match kind {
        Kind::Desktop => path.extension().is_some_and(|end| end == "desktop"),
        _ => path.extension().is_none() || path == Path::new(RC_LOCAL),
    });
    let lists = files.into_iter().filter_map(|(file, kind)| {
        let text = view.text(&file)?;
        Some(List { file, kind, text })
    });
    lists.collect()
}

/// The homes of the users that the machine has itself (passwd(5)).
pub(super) fn homes(view: &mut View<'_>) -> Vec<PathBuf> {
    let users = view.text(Path::new("/etc/passwd")).unwrap_or_default();
    let homes = users.lines().filter_map(|line| line.split(':').nth(5));
    let homes = homes.map(PathBuf::from);
    let mut homes: Vec<_> = homes
        .filter(|home| home.is_absolute() && home.parent().is_some())
        .collect();
    homes.sort_unstable();
    homes.dedup();
    homes.truncate(HOMES_MAX);
    homes
}

pub(super) fn examine(
    lists: &[List],
    settings: &Settings,
    view: &mut View<'_>,
    found: &mut Examination,
) {
    let of_sessions = of_sessions(lists, settings, view);
    for of in lists {
        let entries = of.entries().into_iter();
        let starts = entries.filter_map(|entry| {
            let program = starts(view, &entry.command, settings)?;
            Some((entry, program))
        });
        let starts: Vec<(Entry, String)> = starts.take(LINES_MAX).collect();
        let Some((first, _)) = starts.first() else {
            continue;
        };
        let mut programs: Vec<&String> = starts.iter().map(|(_, program)| program).collect();
        programs.sort_unstable();
        programs.dedup();
        let programs = list(programs);
        let file = of.file.display().to_string();
        let is_vendors = of.file.file_name().is_some_and(|name| name == VENDOR_ENTRY);
        let place = match first.lines {
            Some((line, _)) => format!("{file}:{line}"),
            None => file,
        };
        if is_vendors && of.kind == Kind::Desktop {
            found.note_vendors_starter(&place, &programs);
        } else if of_sessions.contains(&of.file) {
            let place = printable(&place);
            found.note(t!(
                "doctor.sessions_starter",
                place = place,
                program = programs
            ));
        } else {
            let lines = starts.iter().filter_map(|(entry, _)| entry.lines);
            let command = of.without(lines);
            found.find_starter(&place, &programs, &first.command, command);
        }
    }
}

/// The entries by which sessions start what belongs on their screen: that is how it comes there. Beside the
/// vendor's own, any other makes a second copy.
fn of_sessions(lists: &[List], settings: &Settings, view: &View<'_>) -> Vec<PathBuf> {
    let has_vendors = lists
        .iter()
        .any(|of| of.file == Path::new(AUTOSTART).join(VENDOR_ENTRY));
    let root = view.at(Path::new("/"));
    let placements = settings.processes.iter();
    let entries = placements.filter_map(|process| Placement::of(&root, process).entry);
    entries.filter(|_| !has_vendors).collect()
}

impl Examination {
    /// Somebody else who starts a program, in the one way in which that is said.
    pub(super) fn find_starter(
        &mut self,
        place: &str,
        program: &str,
        command: &str,
        fix: impl Into<String>,
    ) {
        let shown: String = printable(command).chars().take(SHOWN_MAX).collect();
        let place = printable(place);
        let text = t!(
            "doctor.other_starter",
            place = place,
            program = program,
            command = shown
        );
        self.find("other-starter", text, fix);
    }

    /// The same of the vendor's, which is as it should be.
    pub(super) fn note_vendors_starter(&mut self, place: &str, program: &str) {
        let place = printable(place);
        self.note(t!(
            "doctor.vendors_starter",
            place = place,
            program = program
        ));
    }
}

/// What a command starts, itself or by a script that it runs.
pub(super) fn starts(view: &mut View<'_>, command: &str, settings: &Settings) -> Option<String> {
    started_by(command, settings).or_else(|| run_by(view, command, settings))
}

/// What the scripts start that a command runs.
pub(super) fn run_by(view: &mut View<'_>, command: &str, settings: &Settings) -> Option<String> {
    // rc.local is looked at by itself.
    let files = files_run_by(command).filter(|file| *file != RC_LOCAL);
    let mut files = files.take(FILES_MAX);
    files.find_map(|file| {
        let text = view.script(Path::new(file))?;
        let mut commands = script_lines(&text).into_iter();
        commands.find_map(|entry| started_by(&entry.command, settings))
    })
}

impl List {
    /// Its commands, in order.
    fn entries(&self) -> Vec<Entry> {
        match self.kind {
            Kind::Script => script_lines(&self.text),
            Kind::Table { fields } => table_lines(&self.text, fields),
            Kind::Desktop => desktop_entry(&self.text).into_iter().collect(),
        }
    }

    /// What a person types so that the commands in these lines are run no more.
    pub(super) fn without(&self, lines: impl Iterator<Item = (usize, usize)>) -> String {
        let path = self.file.display().to_string();
        let file = shell_word(&path);
        let sign = match self.kind {
            // What does nothing in place of a command: a shell wants one between `then` and `fi`.
            Kind::Script => ": #",
            Kind::Table { .. } => "#",
            Kind::Desktop => return format!("sudo mv {file} {}", shell_word(&(path + ".off"))),
        };
        let edits = lines.map(|(first, last)| {
            let range = if first == last {
                first.to_string()
            } else {
                format!("{first},{last}")
            };
            format!("{range}s/^/{sign}/")
        });
        let edits = edits.collect::<Vec<_>>().join(";");
        // A copy beside a table of cron's might be taken for another table.
        let copy = if self.file == Path::new(RC_LOCAL) {
            ".bak"
        } else {
            ""
        };
        format!("sudo sed -i{copy} '{edits}' {file}")
    }
}

/// The commands of a shell script: lines, of which a `\` at the end goes on in the next one.
fn script_lines(text: &str) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut goes_on = false;
    for (line, number) in text.lines().zip(1..) {
        let (part, is_unfinished) = match line.strip_suffix('\\') {
            Some(part) => (part, true),
            None => (line, false),
        };
        match entries.last_mut() {
            Some(entry) if goes_on => {
                entry.command.push(' ');
                entry.command += part.trim();
                entry.lines = entry.lines.map(|(first, _)| (first, number));
            }
            _ => entries.push(Entry {
                lines: Some((number, number)),
                command: part.trim().to_owned(),
            }),
        }
        goes_on = is_unfinished;
    }
    entries
}

/// The commands of a table of cron's. A `%` ends one, and what follows is its input.
fn table_lines(text: &str, fields: usize) -> Vec<Entry> {
    let commands = text.lines().zip(1..).filter_map(|(line, number)| {
        let mut rest = line.trim();
        let is_variable = || {
            rest.split(['"', '\'', ' '])
                .next()
                .is_some_and(|word| word.contains('='))
        };
        if rest.starts_with('#') || is_variable() {
            return None;
        }
        // A word such as @reboot stands for the five fields of a time.
        let fields = if rest.starts_with('@') {
            fields.saturating_sub(4).max(1)
        } else {
            fields
        };
        for _ in 0..fields {
            rest = rest.split_once([' ', '\t'])?.1.trim_start();
        }
        Some(Entry {
            lines: Some((number, number)),
            command: rest.split('%').next().unwrap_or_default().to_owned(),
        })
    });
    commands.collect()
}

/// The command of a desktop's entry, unless it is switched off. One whose `TryExec` is away starts it once
/// that is back.
fn desktop_entry(text: &str) -> Option<Entry> {
    let command = autostart::command(text, |_| true)?;
    let lines = None;
    Some(Entry { lines, command })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commands(entries: &[Entry]) -> Vec<(usize, usize, &str)> {
        let entries = entries.iter().filter_map(|entry| {
            let (first, last) = entry.lines?;
            Some((first, last, entry.command.as_str()))
        });
        entries.collect()
    }

    #[test]
    fn a_command_may_take_several_lines() {
        let entries = script_lines("#!/bin/sh\n  sleep 3 && \\\n  b \\\n  c\nd\\");
        let expected = [(1, 1, "#!/bin/sh"), (2, 4, "sleep 3 && b c"), (5, 5, "d")];
        assert_eq!(commands(&entries), expected);
    }

    #[test]
    fn a_command_of_a_table_follows_its_time() {
        let text = "# m h dom mon dow user command\nPATH=/opt/x\n*/5 * * * *\troot  a b%c\n\
                    @reboot root d\n* * * * *\n\n";
        let entries = table_lines(text, 6);
        assert_eq!(commands(&entries), [(3, 3, "a b"), (4, 4, "d")]);
        let entries = table_lines("@reboot a\n1 2 3 4 5 b c\n", 5);
        assert_eq!(commands(&entries), [(1, 1, "a"), (2, 2, "b c")]);
        let entries = table_lines("1 5 cron.daily run-parts /etc/cron.daily\n", 3);
        assert_eq!(commands(&entries), [(1, 1, "run-parts /etc/cron.daily")]);
    }

    #[test]
    fn an_entry_that_is_switched_off_starts_nothing() {
        let entry = "[Desktop Entry]\nExec=/bin/a\n";
        assert_eq!(desktop_entry(entry).unwrap().command, "/bin/a");
        assert_eq!(desktop_entry(&format!("{entry}Hidden=true\n")), None);
        let off = "X-GNOME-Autostart-enabled=false\n";
        assert_eq!(desktop_entry(&format!("{entry}{off}")), None);
        assert_eq!(desktop_entry("[Desktop Action x]\nExec=/bin/a\n"), None);
    }

    #[test]
    fn lines_are_taken_out_as_their_list_wants_it() {
        let without = |file: &str, kind, lines: &[(usize, usize)]| {
            let list = List {
                file: file.into(),
                kind,
                text: String::new(),
            };
            list.without(lines.iter().copied())
        };
        assert_eq!(
            without(RC_LOCAL, Kind::Script, &[(7, 7), (9, 10)]),
            "sudo sed -i.bak '7s/^/: #/;9,10s/^/: #/' /etc/rc.local"
        );
        assert_eq!(
            without("/etc/cron.d/a b", Kind::Table { fields: 6 }, &[(1, 1)]),
            "sudo sed -i '1s/^/#/' '/etc/cron.d/a b'"
        );
        assert_eq!(
            without("/etc/xdg/autostart/a b.desktop", Kind::Desktop, &[]),
            "sudo mv '/etc/xdg/autostart/a b.desktop' '/etc/xdg/autostart/a b.desktop.off'"
        );
    }
}
