//! The report: how the processes were over some time, from the journal and from what the watchdog keeps
//! itself. What the entries mean, and how that is told, is in [`mfe_history`], for an office tells it too.

pub mod events;
pub mod journal;
mod kept;
pub mod period;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use mfe_common::escape::printable;
use mfe_common::locale;
use mfe_history::history::{History, Moment, Number, Present, Running, micros};
use mfe_history::kept::Kept;
use mfe_history::local_time::local_zone;
use mfe_history::{Reader, Report, Source, entry};
use nix::libc;
use rust_i18n::t;

use crate::status::directories::Directories;
use crate::status::service::Service;
use crate::status::{self, ProcessStatus};
use crate::sys::event_loop::event_loop;
use crate::sys::host;
use period::{Asked, Period};

/// How the processes were in the time that was `asked` for, and what couldn't be read, with what that means for the
/// report. Which watchdog runs now is asked in `directories`.
///
/// # Errors
/// When there is no such time, or neither the journal can be read nor what the watchdog keeps, or the
/// machine's clocks can't.
pub fn report(asked: &Asked, directories: &Directories) -> anyhow::Result<(Report, Vec<String>)> {
    let zone = local_zone();
    // What makes no sense is refused before anything is read.
    Period::of(asked, SystemTime::now(), &zone)?;
    let runtime = event_loop()?;
    // What it has said until now is to be found in the journal then.
    let before = running(&Service::find(directories));
    runtime.block_on(journal::sync());
    let now = now()?;
    let wall = SystemTime::UNIX_EPOCH + Duration::from_micros(now.wall);
    let period = Period::of(asked, wall, &zone)?;
    let new = || History::new(now, period.since).until(period.until);
    let mut history = new();
    let mut warnings = Vec::new();
    let kept = kept::read(&directories.state).unwrap_or_else(|error| {
        let error = error.translated();
        warnings.push(t!("report.kept_unreadable", error = error).into_owned());
        Kept::default()
    });
    if let Err(error) = runtime.block_on(journal::read(&mut history, kept, now)) {
        let error = error.context(unreadable());
        // It is seldom wanted again, and long.
        let kept = kept::read(&directories.state).unwrap_or_default();
        if kept.is_empty() {
            return Err(error);
        }
        history = new();
        journal::without(&mut history, kept);
        // journalctl ends some of its sentences.
        let error = format!("{error:#}");
        let error = error.trim_end_matches('.');
        warnings.push(t!("report.kept_alone", error = error).into_owned());
    }
    let service = Service::find(directories);
    let running = running(&service).map(|running| {
        let before = before.filter(|before| before.pid == running.pid);
        let latest = before.and_then(|before| before.latest);
        Running { latest, ..running }
    });
    let past = history.finish(running.as_ref());
    let report = Report {
        host: host::name().unwrap_or_default(),
        reader: Reader {
            language: locale::language(),
            zone,
        },
        source: Source::Journal,
        past,
        names: names(&service),
    };
    Ok((report, warnings))
}

fn unreadable() -> String {
    not_readable(|| t!("report.not_permitted"))
}

/// That the journal can't be read; to whom it may be forbidden, the text with the command that may.
fn not_readable(not_permitted: impl Fn() -> Cow<'static, str>) -> String {
    if rustix::process::geteuid().is_root() {
        t!("report.unreadable").into_owned()
    } else {
        not_permitted().into_owned()
    }
}

fn now() -> anyhow::Result<Moment> {
    let id = host::boot_id().with_context(|| t!("errors.unreadable", file = host::BOOT_ID))?;
    // A clock from before 1970 was never set.
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Ok(Moment {
        boot: entry::id(&id).with_context(|| t!("errors.unreadable", file = host::BOOT_ID))?,
        monotonic: micros(host::monotonic()),
        wall: micros(wall.unwrap_or_default()),
    })
}

/// The watchdog that runs now, as far as it can be told: of one that can't be asked nothing is
/// claimed.
fn running(service: &Service) -> Option<Running> {
    let pid = service.pid()?;
    let (watched, latest) = match service {
        Service::Published(status) => {
            let processes = status.processes.iter();
            let watched = processes.map(|process| (printable(&process.key), present(process)));
            (Some(watched.collect()), status.latest_message.as_ref())
        }
        _ => (None, None),
    };
    let latest = latest.and_then(|latest| {
        let run = entry::id(&latest.run)?;
        Some(Number {
            run,
            seq: latest.seq,
        })
    });
    Some(Running {
        pid,
        watched,
        latest,
    })
}

/// The programs' names, by their keys.
fn names(service: &Service) -> BTreeMap<String, String> {
    let Service::Published(status) = service else {
        return BTreeMap::new();
    };
    let processes = status.processes.iter();
    let named = processes.map(|process| (printable(&process.key), process.name.clone()));
    named.collect()
}

/// How a process is, as the watchdog has published it.
fn present(process: &ProcessStatus) -> Present {
    use status::State as Told;
    match process.state {
        Told::Unknown | Told::Misfit => Present::Unknown,
        _ if !process.pids.is_empty() => Present::Up(process.pids.clone()),
        Told::Down | Told::Starting | Told::Backoff => Present::Down,
        _ => Present::Unknown,
    }
}

/// Writes a file in place of what was there; a reader sees the one or the other, whole. What is no file
/// (a device, a FIFO, a link) stays what it is, and is written to.
///
/// # Errors
/// When it can't be written; a file that was there before still is.
pub fn write(path: &Path, content: &str) -> anyhow::Result<()> {
    let failed = || t!("errors.unwritable", file = path.display());
    let path = std::path::absolute(path).with_context(failed)?;
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        anyhow::bail!("{}", t!("errors.no_file_name", path = path.display()));
    };
    let is_to_be_kept = match std::fs::symlink_metadata(&path) {
        Ok(there) => !there.is_file(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(error).with_context(failed),
    };
    if is_to_be_kept {
        return write_to(&path, content).with_context(failed);
    }
    let name = name.to_str().with_context(failed)?;
    crate::sys::small_file::replace(directory, name, content.as_bytes()).with_context(failed)
}

/// Writes to what is there, as a shell's redirection does; but for a link that somebody else has made,
/// who would have root write to a file of his choice.
fn write_to(path: &Path, content: &str) -> io::Result<()> {
    let there = std::fs::symlink_metadata(path)?;
    let is_trusted = [0, rustix::process::geteuid().as_raw()].contains(&there.uid());
    if there.is_symlink() && !is_trusted {
        let text = t!("report.foreign_link");
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    }
    let mut options = OpenOptions::new();
    options
        .write(true)
        .create(there.is_symlink())
        .truncate(true);
    let mut there = options.custom_flags(libc::O_NOCTTY).open(path)?;
    there.write_all(content.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_and_what_is_none_is_written_to() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::write(at("page"), "before").unwrap();
        let before = std::fs::File::open(at("page")).unwrap();
        write(&at("page"), "page").unwrap();
        assert_eq!(std::fs::read_to_string(at("page")).unwrap(), "page");
        assert_eq!(std::io::read_to_string(before).unwrap(), "before");

        std::os::unix::fs::symlink(at("page"), at("link")).unwrap();
        write(&at("link"), "x").unwrap();
        assert!(at("link").is_symlink());
        assert_eq!(std::fs::read_to_string(at("page")).unwrap(), "x");

        let fifo = at("fifo");
        let mode = nix::sys::stat::Mode::S_IRUSR | nix::sys::stat::Mode::S_IWUSR;
        nix::unistd::mkfifo(&fifo, mode).unwrap();
        let reader = std::thread::spawn({
            let fifo = fifo.clone();
            move || std::fs::read_to_string(fifo).unwrap()
        });
        write(&fifo, "through").unwrap();
        assert_eq!(reader.join().unwrap(), "through");
        let kind = std::fs::symlink_metadata(&fifo).unwrap().file_type();
        assert!(std::os::unix::fs::FileTypeExt::is_fifo(&kind));
    }
}
