//! Whether each program runs once and by its configured name; why one doesn't run, `status` and the
//! journal tell.

use std::path::Path;

use rust_i18n::t;

use super::Examination;
use super::config::Config;
use super::root::View;
use crate::config::ProcessSettings;
use crate::proc::{Alive, ProcessTable, Running};
use crate::text::escape::{list, printable};

/// Programs that run others, which have no process name of their own then.
const INTERPRETERS: [&str; 9] = [
    "bash", "dash", "java", "mono", "node", "perl", "python", "sh", "wine",
];

pub(super) fn examine(
    config: &Config,
    view: &mut View<'_>,
    running: &[Running],
    found: &mut Examination,
) {
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
        if let Some((first, others)) = copies(&sighting.alive) {
            let others: Vec<String> = others.iter().map(ToString::to_string).collect();
            let text = t!(
                "doctor.several_copies",
                name = name,
                first = first,
                others = list(&others)
            );
            found.find(
                "several-copies",
                text,
                format!("sudo kill {}", others.join(" ")),
            );
        }
        if !sighting.alive.is_empty() {
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

/// The oldest copy and the others, if there are several. A program's own children are no copies.
fn copies(alive: &[Alive]) -> Option<(i32, Vec<i32>)> {
    let is_child = |copy: &&Alive| alive.iter().any(|other| other.id.pid == copy.parent);
    let mut copies: Vec<_> = alive.iter().filter(|copy| !is_child(copy)).collect();
    copies.sort_unstable_by_key(|copy| copy.id.start_time);
    let mut pids = copies.iter().map(|copy| copy.id.pid);
    let first = pids.next()?;
    let others: Vec<i32> = pids.collect();
    (!others.is_empty()).then_some((first, others))
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
    use crate::proc::{ProcessId, RunState};

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
        let alive = |pid, parent, start_time| Alive {
            id: ProcessId { pid, start_time },
            parent,
            uid: None,
            state: RunState::Running,
        };
        assert_eq!(copies(&[]), None);
        assert_eq!(copies(&[alive(5, 1, 9)]), None);
        assert_eq!(copies(&[alive(5, 1, 9), alive(6, 5, 10)]), None);
        let two = [alive(5, 1, 9), alive(6, 5, 10), alive(7, 1, 3)];
        assert_eq!(copies(&two), Some((7, vec![5])));
    }
}
