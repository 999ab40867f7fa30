//! Units of systemd's that would start the programs besides the service: those that systemd restarts
//! by itself, and those that run the script which the service replaces.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rust_i18n::t;

use super::root::View;
use super::{Examination, ini, service};
use crate::config::{Settings, Start};
use crate::proc::Running;
use crate::start::old_watcher;
use crate::text::escape::{printable, shell_word};

/// Where units are, the most important first (systemd.unit(5)).
const FOLDERS: [&str; 9] = [
    "/run/systemd/transient",
    "/run/systemd/generator.early",
    "/etc/systemd/system",
    "/run/systemd/system",
    "/run/systemd/generator",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
    "/run/systemd/generator.late",
];

/// The service's own template.
const TEMPLATE: &str = "mfe@.service";

/// What is to be known of a unit that systemd may start.
#[derive(Debug, Default)]
struct Unit {
    name: String,
    /// `Restart=`, if systemd restarts it.
    restart: Option<String>,
    /// Its commands.
    starts: Vec<String>,
}

pub(super) fn examine(
    settings: &Settings,
    view: &mut View<'_>,
    running: &[Running],
    found: &mut Examination,
) {
    for unit in units(view, running) {
        let name = printable(&unit.name);
        if let Some(script) = unit
            .starts
            .iter()
            .find_map(|line| old_watcher::script_in(line))
        {
            found.find(
                "old-watcher-unit",
                t!("doctor.old_watcher_in", file = name, script = script),
                disable(&unit.name),
            );
        } else if let Some((program, restart)) = rival(&unit, settings) {
            let text = t!(
                "doctor.rival",
                unit = name,
                program = printable(&program),
                restart = printable(&restart)
            );
            let command = service::drop_in(&unit.name, "[Service]\\nRestart=no\\n");
            found.find("rival-unit", text, command);
        }
    }
}

/// Ends a unit for good, but not the programs that its script has started.
fn disable(unit: &str) -> String {
    let keep = service::drop_in(unit, "[Service]\\nKillMode=process\\n");
    format!(
        "{keep} && sudo systemctl disable --now {}",
        shell_word(unit)
    )
}

/// The program that systemd restarts by this unit, and when it does so.
fn rival(unit: &Unit, settings: &Settings) -> Option<(String, String)> {
    let restart = unit.restart.clone()?;
    let mut processes = settings.processes.iter();
    let program = processes.find(|process| {
        let is_meant = |word: &str| match &process.start {
            Start::Command(command) => Some(word) == command.first().map(String::as_str),
            Start::Unit(_) => false,
        };
        let is_its_unit = match &process.start {
            Start::Command(_) => unit.name == TEMPLATE.replace('@', &format!("@{}", process.key)),
            Start::Unit(own) => unit.name == *own,
        };
        let name = process.name();
        let words = unit.starts.iter().flat_map(|line| words(line));
        let mut words =
            words.filter(|word| is_meant(word) || name.is_base_name_of(word.as_bytes()));
        is_its_unit || words.next().is_some()
    })?;
    Some((program.name().as_str().to_owned(), restart))
}

/// The words of a command line, without the signs that systemd (`@-:+!`) and a shell have around
/// them.
fn words(line: &str) -> impl Iterator<Item = &str> {
    let line = line.trim_start_matches(['@', '-', ':', '+', '!']);
    line.split([' ', '\t', ';', '&', '(', ')', '\'', '"'])
        .filter(|word| !word.is_empty())
}

/// The services that are started at boot or by another unit, or run now.
fn units(view: &mut View<'_>, running: &[Running]) -> Vec<Unit> {
    let mut names: BTreeSet<String> = BTreeSet::new();
    names.extend(running.iter().filter_map(|process| process.unit.clone()));
    for folder in FOLDERS {
        for path in view.folder(Path::new(folder)) {
            let is_pulling = path.extension().is_some_and(|extension| {
                extension == "wants" || extension == "requires" || extension == "upholds"
            });
            if is_pulling {
                let pulled = view.folder(&path).into_iter();
                let pulled = pulled.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()));
                names.extend(pulled.filter(|name| name.ends_with(".service")));
            }
        }
    }
    names
        .into_iter()
        .filter_map(|name| unit(view, name))
        .collect()
}

/// Reads a unit as systemd would load it; `None` if it has no file or is masked.
fn unit(view: &mut View<'_>, name: String) -> Option<Unit> {
    let template = name
        .split_once('@')
        .map(|(prefix, _)| format!("{prefix}@.service"));
    let names: Vec<&str> = std::iter::once(name.as_str())
        .chain(template.as_deref())
        .collect();
    let folders = |suffix: &'static str| {
        let names = names.iter();
        names.flat_map(move |name| {
            FOLDERS.map(|folder| Path::new(folder).join(format!("{name}{suffix}")))
        })
    };
    let mut files = folders("");
    let file = files.find(|path| view.link(path).is_some() || view.metadata(path).is_some())?;
    if view
        .link(&file)
        .is_some_and(|target| target == Path::new("/dev/null"))
    {
        return None;
    }
    let drop_ins: Vec<PathBuf> = ini::drop_ins(view, folders(".d"));
    let files = std::iter::once(&file)
        .chain(&drop_ins)
        .map(PathBuf::as_path);
    let service = ini::read(view, files, "Service");
    let restart = ini::value(&service, "Restart").filter(|restart| restart != "no");
    let starts = ini::values(&service, "ExecStart");
    Some(Unit {
        name,
        restart,
        starts,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{DEFAULT_TEXT, parse};

    fn is_rival(name: &str, restart: Option<&str>, start: &str) -> bool {
        let settings = parse(DEFAULT_TEXT, Path::new("config.toml")).unwrap();
        let unit = Unit {
            name: name.into(),
            restart: restart.map(str::to_owned),
            starts: vec![start.into()],
        };
        rival(&unit, &settings).is_some()
    }

    #[test]
    fn a_rival_restarts_one_of_the_programs() {
        let always = Some("always");
        for start in [
            "/opt/sefaz/cco/bin/runcco-ser.sh",
            "-/opt/sefaz/cco/bin/Monitor --x",
            "/bin/sh -c '/opt/sefaz/cco/bin/runcco-mon.sh; sleep 1'",
            "@/usr/bin/nohup Comunicador",
        ] {
            assert!(is_rival("x.service", always, start), "{start}");
            assert!(!is_rival("x.service", None, start), "{start}");
        }
        assert!(!is_rival("x.service", always, "/usr/bin/system-monitor"));
        assert!(!is_rival(
            "x.service",
            always,
            "/opt/sefaz/cco/bin/mfehttps"
        ));
        let exec = "/usr/bin/mfe-watchdog exec %i";
        assert!(is_rival("mfe@monitor.service", always, exec));
        assert!(!is_rival("mfe@printer.service", always, exec));
        assert!(!is_rival("mfe@monitor.service", None, exec));
    }
}
