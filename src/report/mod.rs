//! The report: how the processes were over some time, from the journal and from what the watchdog keeps
//! itself. [`history`] knows what the entries mean; this module sums that up, and the others say it to
//! people and machines.

mod days;
pub mod entry;
pub mod events;
pub mod history;
mod html;
pub mod journal;
mod json;
pub mod kept;
pub mod order;
pub mod period;
mod text;
mod words;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use nix::libc;
use rust_i18n::t;
use tz::TimeZone;

use crate::status::directories::Directories;
use crate::status::service::Service;
use crate::status::{self, ProcessStatus};
use crate::sys::event_loop::event_loop;
use crate::sys::host;
use crate::text::escape::printable;
use crate::text::local_time::local_zone;
use history::{
    History, Interval, Moment, Number, Outage, Past, Present, Reason, Record, Running, State,
    micros,
};
use kept::Kept;
use period::{Asked, Period};

pub use html::html;
pub use json::json;
pub use text::text;
pub(crate) use words::decimal;

/// A second, in microseconds.
const SECOND: u64 = 1_000_000;

/// A day, in microseconds.
const DAY: u64 = 86_400_000_000;

/// How the processes were over some time.
#[derive(Debug, Clone)]
pub struct Report {
    /// The machine's name.
    pub host: String,
    /// The time zone in which people read it.
    pub zone: TimeZone,
    /// What is known.
    pub past: Past,
    /// The programs' names, by their keys, as far as the watchdog that runs now has said them.
    pub names: BTreeMap<String, String>,
    /// What couldn't be read, and what that means for the report.
    pub warnings: Vec<String>,
}

impl Report {
    /// What a program is called.
    fn name<'a>(&'a self, key: &'a str) -> &'a str {
        self.names.get(key).map_or(key, String::as_str)
    }
}

/// What is summed up of one process. Times are in microseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Figures {
    up: u64,
    down: u64,
    not_observed: u64,
    /// The machine was off.
    off: u64,
    /// Nobody was logged in at the screen on which it belongs.
    nobody: u64,
    longest_outage: Option<u64>,
    /// On average over the outages of which both ends were seen.
    mean_time_to_recover: Option<u64>,
}

/// A time for which a process was gone, with its place in time, in microseconds.
#[derive(Debug, Clone, Copy)]
struct Placed<'a> {
    outage: &'a Outage,
    from: u64,
    to: u64,
    /// Without what isn't observed in between.
    length: u64,
}

impl Figures {
    fn of(record: &Record) -> Self {
        let mut figures = Self::default();
        for interval in &record.intervals {
            *match interval.state {
                State::Up => &mut figures.up,
                State::Down(_) => &mut figures.down,
                State::NotObserved(Reason::Off) => &mut figures.off,
                State::NotObserved(_) => &mut figures.not_observed,
                State::NobodyLoggedIn => &mut figures.nobody,
            } += interval.length();
        }
        let outages = outages(record);
        figures.longest_outage = outages.iter().map(|outage| outage.length).max();
        let is_whole = |placed: &&Placed| placed.outage.is_begin_seen && placed.outage.is_end_seen;
        let whole: Vec<u64> = outages
            .iter()
            .filter(is_whole)
            .map(|one| one.length)
            .collect();
        let sum: u64 = whole.iter().sum();
        figures.mean_time_to_recover = sum.checked_div(whole.len() as u64);
        figures
    }

    /// For how long it ran, or should have.
    fn observed(&self) -> u64 {
        self.up + self.down
    }

    /// For how long it is known how it was: nobody missed it while nobody was logged in.
    fn known(&self) -> u64 {
        self.observed() + self.nobody
    }

    /// The share of the observed time in which the process was up, in thousandths of a percent,
    /// rounded down: 100% is said only of a process that was never down.
    fn availability(&self) -> Option<u64> {
        share(self.up, self.observed())
    }

    /// The share of the period that is observed, likewise; what the machine was off for is part of neither.
    fn observed_share(&self) -> Option<u64> {
        let known = self.known();
        share(known, known + self.not_observed)
    }

    /// How many of something there were on a day on average, in tenths; `None` if less than a day is
    /// observed.
    fn per_day(&self, count: usize) -> Option<u64> {
        let tenths = count as u128 * 10 * u128::from(DAY);
        let observed = u128::from(self.observed());
        if self.observed() < DAY {
            return None;
        }
        u64::try_from((tenths + observed / 2) / observed).ok()
    }
}

fn share(part: u64, whole: u64) -> Option<u64> {
    let share = (u128::from(part) * 100_000).checked_div(u128::from(whole))?;
    u64::try_from(share).ok()
}

/// The outages of a process, in order.
fn outages(record: &Record) -> Vec<Placed<'_>> {
    let mut placed: Vec<Placed<'_>> = Vec::new();
    for interval in &record.intervals {
        let State::Down(index) = interval.state else {
            continue;
        };
        let Some(outage) = record.outages.get(index) else {
            continue;
        };
        match placed.last_mut() {
            Some(last) if std::ptr::eq(last.outage, outage) => {
                last.to = interval.to;
                last.length += interval.length();
            }
            _ => placed.push(Placed {
                outage,
                from: interval.from,
                to: interval.to,
                length: interval.length(),
            }),
        }
    }
    placed
}

/// When nobody can tell how a process was, and why: what is worth a line of its own, which neither a moment
/// nor a night is, when the machine is off, nor how long it takes in the morning.
fn not_observed(record: &Record) -> impl Iterator<Item = (&Interval, Reason)> {
    let is_worth_a_line = |why: Reason, length: u64| match why {
        Reason::Off => false,
        Reason::NotRunning | Reason::Booting => length >= 60 * SECOND,
        _ => length >= SECOND,
    };
    let intervals = record.intervals.iter();
    intervals.filter_map(move |interval| match interval.state {
        State::NotObserved(why) => {
            is_worth_a_line(why, interval.length()).then_some((interval, why))
        }
        _ => None,
    })
}

/// How the processes were in the time that was `asked` for. Which watchdog runs now is asked in
/// `directories`.
///
/// # Errors
/// When there is no such time, or neither the journal can be read nor what the watchdog keeps, or the
/// machine's clocks can't.
pub fn report(asked: &Asked, directories: &Directories) -> anyhow::Result<Report> {
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
    let kept = Kept::read(&directories.state).unwrap_or_else(|error| {
        let error = error.translated();
        warnings.push(t!("report.kept_unreadable", error = error).into_owned());
        Kept::default()
    });
    if let Err(error) = runtime.block_on(journal::read(&mut history, kept, now)) {
        let error = error.context(unreadable());
        // It is seldom wanted again, and long.
        let kept = Kept::read(&directories.state).unwrap_or_default();
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
    Ok(Report {
        host: host::name().unwrap_or_default(),
        zone,
        past,
        names: names(&service),
        warnings,
    })
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

    fn figures(up: u64, down: u64, not_observed: u64) -> Figures {
        Figures {
            up,
            down,
            not_observed,
            ..Figures::default()
        }
    }

    #[test]
    fn only_what_was_never_down_is_fully_available() {
        assert_eq!(figures(DAY, 0, DAY).availability(), Some(100_000));
        assert_eq!(figures(DAY * 366, 1, 0).availability(), Some(99_999));
        assert_eq!(figures(0, 1, 0).availability(), Some(0));
        assert_eq!(figures(0, 0, DAY).availability(), None);
        assert_eq!(figures(DAY, 0, 1).observed_share(), Some(99_999));
        assert_eq!(figures(0, 0, DAY).observed_share(), Some(0));
    }

    #[test]
    fn less_than_a_day_makes_no_daily_average() {
        assert_eq!(figures(DAY - 1, 0, DAY).per_day(5), None);
        assert_eq!(figures(DAY * 3, DAY, DAY).per_day(5), Some(13));
        assert_eq!(figures(DAY, 0, 0).per_day(0), Some(0));
    }

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
