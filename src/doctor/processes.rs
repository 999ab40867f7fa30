//! Whether each program runs once and by its configured name; why one doesn't run, `status` and the
//! journal tell.

use std::path::Path;
use std::time::Instant;

use glob::Pattern;
use mfe_common::escape::{list, printable};
use rust_i18n::t;

use super::Examination;
use super::config::Config;
use super::root::View;
use super::service::published;
use crate::config::ProcessSettings;
use crate::machine;
use crate::proc::{Alive, Identity, ProcessId, ProcessTable, Running, Sighting};
use crate::status::{ProcessStatus, State, Status};
use crate::text::phrase::and_more;

/// Programs that run others, which have no process name of their own then.
const INTERPRETERS: [&str; 9] = [
    "bash", "dash", "java", "mono", "node", "perl", "python", "sh", "wine",
];

/// More copies aren't told one by one.
const COPIES_MAX: usize = 10;

pub(super) fn examine(
    config: &Config,
    view: &mut View<'_>,
    running: &[Running],
    found: &mut Examination,
) {
    let service = published(view);
    let mut table = ProcessTable::new(view.at(Path::new("/proc")));
    for process in &config.settings.processes {
        let sighting = match table.look(&process.target) {
            Ok(sighting) => sighting,
            Err(error) => {
                view.cannot_see(Path::new(process.name().as_str()), &error);
                continue;
            }
        };
        let name = process.name();
        let seconds = second_copies(process, &sighting.alive, service.as_ref());
        if !seconds.is_empty() {
            tell_copies(process, &sighting, &seconds, &mut table, running, found);
        }
        if !sighting.alive.is_empty() {
            if seconds.is_empty() && sighting.more_alive == 0 {
                let mut elders = elders(&sighting.alive);
                let only = elders.next().filter(|_| elders.next().is_none());
                let only = only.and_then(|id| table.identify(id));
                let lines = only.and_then(|who| rules(process, &who, service.as_ref()));
                if let Some(lines) = lines {
                    let (name, key) = (process.name(), &process.key);
                    found.note(t!(
                        "doctor.name_alone",
                        name = name,
                        key = key,
                        lines = lines
                    ));
                }
            }
            continue;
        }
        if let Some(impostor) = sighting.impostors.first() {
            let text = t!(
                "doctor.impostor",
                name = name,
                pid = impostor.id.pid,
                path = impostor.path,
                user = impostor.user,
                key = process.key
            );
            found.find("not-the-program", text, config.edit());
        } else if let Some((one, likeness)) = nearest(process, running) {
            found.find(
                "other-name",
                describe(process, one, &likeness),
                config.edit(),
            );
        }
    }
}

/// Those that are no children of another.
fn elders(alive: &[Alive]) -> impl Iterator<Item = ProcessId> {
    let is_child = |copy: &Alive| alive.iter().any(|other| other.id.pid == copy.parent);
    let elders = alive.iter().filter(move |copy| !is_child(copy));
    elders.map(|copy| copy.id)
}

/// The lines that only this process of the name keeps to, where the rules don't say yet whose the program is
/// and what it runs; none for one that the service doesn't take for the program beyond doubt.
fn rules(process: &ProcessSettings, who: &Identity, service: Option<&Status>) -> Option<String> {
    let mut told = service.into_iter().flat_map(|status| &status.processes);
    let is_up = |told: &ProcessStatus| told.key == process.key && told.state == State::Up;
    let is_plain = |text: &str| !text.contains(['"', '\\', '…', '[', ']']);
    let is_told = is_plain(&who.path) && who.path.starts_with('/') && is_plain(&who.user);
    if process.target.names_one()
        || who.uid != who.real_uid
        || !is_told
        || !told.any(|told| is_up(told))
    {
        return None;
    }
    let path = Pattern::escape(&who.path);
    let path = (is_plain(&path)).then_some(path)?;
    let exe = process
        .target
        .exe
        .is_none()
        .then(|| format!("exe = \"{path}\""));
    let user = process.target.user.is_none();
    let user = user.then(|| format!("user = \"{}\"", who.user));
    Some(list(exe.into_iter().chain(user)))
}

fn describe(process: &ProcessSettings, one: &Running, likeness: &Likeness) -> String {
    let name = process.name();
    let key = &process.key;
    let pid = one.id.pid;
    let comm = printable(&one.comm);
    match likeness {
        Likeness::Name => t!(
            "doctor.other_name",
            name = name,
            other = comm,
            pid = pid,
            key = key
        ),
        Likeness::Argument(argument) => t!(
            "doctor.within_interpreter",
            name = name,
            other = comm,
            pid = pid,
            key = key,
            argument = printable(argument)
        ),
    }
    .into_owned()
}

/// The second copies of a program: those of which the running service says so, for it has seen who
/// started whom, and without it those that one look tells.
fn second_copies(
    process: &ProcessSettings,
    alive: &[Alive],
    service: Option<&Status>,
) -> Vec<ProcessId> {
    let mut told = service.into_iter().flat_map(|status| &status.processes);
    let name = process.name().as_str();
    match told.find(|told| told.key == process.key && told.name == name) {
        Some(told) => {
            let ids = alive.iter().map(|copy| copy.id);
            ids.filter(|id| told.duplicates.contains(&id.pid)).collect()
        }
        None => {
            let copies = machine::second_copies(Instant::now(), alive).into_iter();
            copies.map(|copy| copy.id).collect()
        }
    }
}

/// Names each copy by what tells it from the others. To end one is proposed only where all are of one
/// user: one who isn't the first's may have put a program of the name beside it, or before it.
fn tell_copies(
    process: &ProcessSettings,
    sighting: &Sighting,
    seconds: &[ProcessId],
    table: &mut ProcessTable,
    running: &[Running],
    found: &mut Examination,
) {
    let ids = sighting.alive.iter().map(|copy| copy.id);
    let first = ids.filter(|id| !seconds.contains(id));
    let Some(first) = first.min_by_key(|id| (id.start_time, id.pid)) else {
        return;
    };
    let mut described = |id: ProcessId| {
        let who = table.identify(id);
        let owner = who.as_ref().map(|who| (who.real_uid, who.uid));
        let who = who.map(|who| format!("{}, {}", who.user, who.path));
        let unit = running.iter().find(|process| process.id == id);
        let unit = unit.and_then(|process| process.unit.as_deref().map(printable));
        let which: Vec<String> = who.into_iter().chain(unit).collect();
        (owner, format!("pid {} ({})", id.pid, which.join(", ")))
    };
    let (owner, first) = described(first);
    let shown = &seconds[..seconds.len().min(COPIES_MAX)];
    let more = sighting.more_alive + seconds.len() - shown.len();
    let others: Vec<_> = shown.iter().map(|id| described(*id)).collect();
    let text = t!(
        "doctor.several_copies",
        name = process.name(),
        first = first,
        others = and_more(&list(others.iter().map(|(_, text)| text)), more).translated()
    );
    if others.iter().all(|(other, _)| *other == owner) {
        let pids: Vec<String> = shown.iter().map(|id| id.pid.to_string()).collect();
        found.find(
            "several-copies",
            text,
            format!("sudo kill {}", pids.join(" ")),
        );
    } else {
        let text = format!("{text} {}", t!("doctor.whose_copies"));
        found.find_without_command("several-copies", text);
    }
}

/// What makes a process look like the one that is meant.
#[derive(Debug, PartialEq, Eq)]
enum Likeness {
    /// Its name is nearly the same, or its program has the name.
    Name,
    /// It is an interpreter with this argument.
    Argument(String),
}

fn nearest<'a>(
    process: &ProcessSettings,
    running: &'a [Running],
) -> Option<(&'a Running, Likeness)> {
    let name = process.name().as_str();
    let mut like = running
        .iter()
        .filter_map(|one| Some((one, likeness(name, &one.comm, &one.arguments)?)));
    like.next()
}

/// Whether a process by the kernel's name `comm`, with these arguments, may be the one named `name`.
fn likeness(name: &str, comm: &str, arguments: &[String]) -> Option<Likeness> {
    let name = name.to_lowercase();
    let is_like = |word: &str| {
        let word = word.to_lowercase();
        let base = word.rsplit('/').next().unwrap_or_default();
        // Monitor, Monitor.jar, and as a Java class br.gov.ce.sefaz.Monitor.
        base == name
            || base.split('.').next() == Some(&name)
            || base.rsplit('.').next() == Some(&name)
    };
    let stem = comm.split(['.', '-']).next().unwrap_or_default();
    let stem = stem.trim_end_matches(|c: char| c.is_ascii_digit());
    if INTERPRETERS.contains(&stem) {
        let argument = arguments.iter().skip(1).find(|word| is_like(word));
        return argument.cloned().map(Likeness::Argument);
    }
    let is_program = arguments.first().is_some_and(|program| is_like(program));
    (is_like(comm) || is_program).then_some(Likeness::Name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{DEFAULT_TEXT, parse};
    use crate::proc::RunState;

    #[test]
    fn what_is_nearly_of_the_name() {
        let of = |comm: &str, arguments: &[&str]| {
            let arguments: Vec<String> = arguments.iter().map(|word| (*word).into()).collect();
            likeness("Monitor", comm, &arguments)
        };
        let argument = |word: &str| Some(Likeness::Argument(word.into()));
        for comm in ["monitor", "Monitor.bin", "MONITOR", "Monitor.x86_64"] {
            assert_eq!(of(comm, &[comm]), Some(Likeness::Name), "{comm}");
        }
        assert_eq!(of("main", &["/opt/x/Monitor"]), Some(Likeness::Name));
        let class = "br.gov.ce.sefaz.Monitor";
        assert_eq!(of("java", &["java", "-cp", "x", class]), argument(class));
        let jar = "/opt/x/monitor.jar";
        assert_eq!(of("java", &["java", "-jar", jar]), argument(jar));
        assert_eq!(
            of("python3.11", &["python3", "Monitor"]),
            argument("Monitor")
        );
        let exe = "Monitor.exe";
        assert_eq!(of("wine64-preload", &["wine", exe]), argument(exe));
        for (comm, arguments) in [
            ("gnome-monitor", &["gnome-monitor"][..]),
            ("monitord", &["monitord"]),
            ("nano", &["nano", "Monitor"]),
            ("java", &["java", "-jar", "other.jar"]),
            ("sh", &["sh", "runcco-mon.sh"]),
            ("Monitoring", &[]),
        ] {
            assert_eq!(of(comm, arguments), None, "{comm}");
        }
    }

    #[test]
    fn children_are_no_copies() {
        let settings = parse(DEFAULT_TEXT, Path::new("config.toml")).unwrap();
        let alive = |pid, parent, start_time| Alive {
            id: ProcessId { pid, start_time },
            parent,
            uid: None,
            state: RunState::Running,
        };
        let copies = |alive: &[Alive]| -> Vec<i32> {
            let copies = second_copies(&settings.processes[0], alive, None).into_iter();
            copies.map(|id| id.pid).collect()
        };
        assert_eq!(copies(&[]), [0; 0]);
        assert_eq!(copies(&[alive(5, 1, 9)]), [0; 0]);
        assert_eq!(copies(&[alive(5, 1, 9), alive(6, 5, 10)]), [0; 0]);
        let two = [alive(5, 1, 9), alive(6, 5, 10), alive(7, 1, 3)];
        assert_eq!(copies(&two), [5]);
    }
}
