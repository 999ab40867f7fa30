//! Units of systemd's that would start the programs besides the service: those that systemd restarts
//! by itself, those that start one at boot or at a login, and those that run the script which the
//! service replaces. What isn't a unit is looked at in [`super::lists`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use mfe_common::escape::{printable, shell_word};
use rust_i18n::t;

use super::root::View;
use super::{Examination, ini, lists, service};
use crate::config::{ProcessSettings, Settings, Start};
use crate::proc::Running;
use crate::start::command_line::{VENDOR, started_by};
use crate::start::old_watcher;
use crate::systemd::names::{UNIT_FOLDERS, unit_of};

/// Where the units are that systemd has for every user, the most important first (systemd.unit(5)).
const USER_FOLDERS: [&str; 4] = [
    "/etc/systemd/user",
    "/run/systemd/user",
    "/usr/local/lib/systemd/user",
    "/usr/lib/systemd/user",
];

/// Those of one user, below the home.
const OWN_FOLDER: &str = ".config/systemd/user";

/// Where `systemctl disable` takes a unit out of what pulls it in: links of the administrator's, and by
/// way of update-rc.d(8) init scripts.
const DISABLED_IN: [&str; 2] = ["/etc/", "/run/systemd/generator.late/"];

/// What is to be known of a unit that systemd may start.
#[derive(Debug, Default)]
struct Unit {
    name: String,
    /// `Restart=`, if systemd restarts it.
    restart: Option<String>,
    /// Its commands.
    starts: Vec<String>,
    /// The link by which another unit pulls in this one, or its timer; none if it merely runs.
    pulled_in: Option<PathBuf>,
}

pub(super) fn examine(
    settings: &Settings,
    view: &mut View<'_>,
    running: &[Running],
    found: &mut Examination,
) {
    let folders = UNIT_FOLDERS.map(|folder| Path::new("/").join(folder));
    for unit in units(view, &folders, &folders, running) {
        if let Some(script) = old_watcher(&unit) {
            tell_old_watcher(&unit, script, disable(&unit.name), found);
            continue;
        }
        let own = configured(&unit, settings);
        if let Some((program, restart)) = rival(&unit, own, settings) {
            let text = t!(
                "doctor.rival",
                unit = printable(&unit.name),
                program = printable(&program),
                restart = printable(&restart)
            );
            let mut command = service::drop_in(&unit.name, "[Service]\\nRestart=no\\n");
            // Else the unit would start the program once at boot, all the same.
            let link = unit.pulled_in.as_deref();
            if let Some(link) = link.filter(|_| own.is_none() && !is_vendors(&unit)) {
                command += &format!(" && {}", leave_out(link));
            }
            found.find("rival-unit", text, command);
        } else if let (None, Some(link)) = (own, unit.pulled_in.as_deref()) {
            let mut lines = unit.starts.iter();
            if is_vendors(&unit) {
                let program = lines.find_map(|line| lists::run_by(view, line, settings));
                if let Some(program) = program {
                    found.note_vendors_starter(&unit.name, &program);
                }
            } else if let Some((command, program)) = starter(&unit, settings, view) {
                found.find_starter(&unit.name, &program, command, leave_out(link));
            }
        }
    }
    examine_users(settings, view, found);
}

/// The same for the units that systemd starts for each user who logs in.
fn examine_users(settings: &Settings, view: &mut View<'_>, found: &mut Examination) {
    let everybodys = USER_FOLDERS.map(PathBuf::from);
    let mut owners = vec![everybodys.to_vec()];
    let homes = lists::homes(view).into_iter();
    owners.extend(homes.map(|home| vec![home.join(OWN_FOLDER)]));
    for pulls in owners {
        let folders = [&pulls[..], &everybodys].concat();
        for unit in units(view, &folders, &pulls, &[]) {
            let Some(link) = unit.pulled_in.as_deref() else {
                continue;
            };
            let place = link.display().to_string();
            let fix = if pulls == everybodys {
                format!("sudo systemctl --global disable {}", name_of(link))
            } else {
                format!("sudo rm {}", shell_word(&place))
            };
            if let Some(script) = old_watcher(&unit) {
                tell_old_watcher(&unit, script, fix, found);
            } else if let Some((command, program)) = starter(&unit, settings, view) {
                found.find_starter(&place, &program, command, fix);
            }
        }
    }
}

/// The script that the service replaces, if a unit starts it.
fn old_watcher(unit: &Unit) -> Option<&'static str> {
    let mut scripts = unit.starts.iter();
    scripts.find_map(|line| old_watcher::script_in(line))
}

fn tell_old_watcher(unit: &Unit, script: &str, fix: String, found: &mut Examination) {
    let name = printable(&unit.name);
    let text = t!("doctor.old_watcher_in", file = name, script = script);
    found.find("old-watcher-unit", text, fix);
}

fn is_vendors(unit: &Unit) -> bool {
    VENDOR.contains(&unit.name.as_str())
}

/// Ends a unit for good, but not the programs that its script has started.
fn disable(unit: &str) -> String {
    let keep = service::drop_in(unit, "[Service]\\nKillMode=process\\n");
    format!(
        "{keep} && sudo systemctl disable --now {}",
        shell_word(unit)
    )
}

/// What a person types so that a unit is pulled in no more; what of it runs goes on.
fn leave_out(link: &Path) -> String {
    let is_disabled = DISABLED_IN.iter().any(|folder| link.starts_with(folder));
    let verb = if is_disabled { "disable" } else { "mask" };
    format!("sudo systemctl {verb} {}", name_of(link))
}

/// The name of the unit that a link pulls in, for a shell.
fn name_of(link: &Path) -> String {
    let name = link.file_name().unwrap_or_default();
    shell_word(&name.to_string_lossy())
}

/// The process that the service itself starts by this unit.
fn configured<'a>(unit: &Unit, settings: &'a Settings) -> Option<&'a ProcessSettings> {
    let mut processes = settings.processes.iter();
    processes.find(|process| match &process.start {
        Start::Command(_) => unit.name == unit_of(&process.key),
        Start::Unit(own) => unit.name == *own,
    })
}

/// The program that systemd restarts by this unit, which may be the service's `own`, and when it does
/// so.
fn rival(
    unit: &Unit,
    own: Option<&ProcessSettings>,
    settings: &Settings,
) -> Option<(String, String)> {
    let restart = unit.restart.clone()?;
    let mut lines = unit.starts.iter();
    let program = own
        .map(|process| process.name().to_string())
        .or_else(|| lines.find_map(|line| started_by(line, settings)))?;
    Some((program, restart))
}

/// The command by which a unit starts a program, and the program.
fn starter<'a>(
    unit: &'a Unit,
    settings: &Settings,
    view: &mut View<'_>,
) -> Option<(&'a str, String)> {
    let mut lines = unit.starts.iter();
    lines.find_map(|line| Some((line.as_str(), lists::starts(view, line, settings)?)))
}

/// The services in `folders` that `pulls`, some of them, or their timers, pull in, and those that run
/// now.
fn units(
    view: &mut View<'_>,
    folders: &[PathBuf],
    pulls: &[PathBuf],
    running: &[Running],
) -> Vec<Unit> {
    let mut names: BTreeMap<String, Option<PathBuf>> = BTreeMap::new();
    let of_running = running.iter().filter_map(|process| process.unit.clone());
    names.extend(of_running.map(|name| (name, None)));
    for folder in pulls {
        for path in view.folder(folder) {
            let is_pulling = path.extension().is_some_and(|extension| {
                extension == "wants" || extension == "requires" || extension == "upholds"
            });
            let links = is_pulling.then(|| view.folder(&path));
            for link in links.unwrap_or_default() {
                let name = link.file_name().and_then(|name| name.to_str());
                let service = name.and_then(|name| match name.rsplit_once('.')? {
                    (_, "service") => Some(name.to_owned()),
                    // Unless it says otherwise, it starts the service of its name (systemd.timer(5)).
                    (stem, "timer") => Some(format!("{stem}.service")),
                    _ => None,
                });
                if let Some(service) = service {
                    names.entry(service).or_default().get_or_insert(link);
                }
            }
        }
    }
    names
        .into_iter()
        .filter_map(|(name, link)| unit(view, folders, name, link))
        .collect()
}

/// Reads a unit as systemd would load it; `None` if it has no file or is masked.
fn unit(
    view: &mut View<'_>,
    folders: &[PathBuf],
    name: String,
    pulled_in: Option<PathBuf>,
) -> Option<Unit> {
    let template = name
        .split_once('@')
        .map(|(prefix, _)| format!("{prefix}@.service"));
    let names: Vec<&str> = std::iter::once(name.as_str())
        .chain(template.as_deref())
        .collect();
    let paths = |suffix: &'static str| {
        let names = names.iter();
        names.flat_map(move |name| {
            let folders = folders.iter();
            folders.map(move |folder| folder.join(format!("{name}{suffix}")))
        })
    };
    let mut files = paths("");
    let file = files.find(|path| view.link(path).is_some() || view.metadata(path).is_some())?;
    if view
        .link(&file)
        .is_some_and(|target| target == Path::new("/dev/null"))
    {
        return None;
    }
    let drop_ins: Vec<PathBuf> = ini::drop_ins(view, paths(".d"));
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
        pulled_in,
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
            pulled_in: None,
        };
        rival(&unit, configured(&unit, &settings), &settings).is_some()
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
