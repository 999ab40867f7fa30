//! Looks for the processes of a name in /proc; it only reads, and what it can't read it says.
//!
//! The kernel gives no snapshot of its process table. A process may end, fork or be renamed while
//! the table is read, and a program that moves from a high pid to a low one in that time (fork,
//! then exit) may never be met. Its absence is therefore only believed when the kernel has handed
//! out no pid during the look; else those pids are looked at too, or the whole table again.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::io;
use std::mem::MaybeUninit;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use procfs::{FromRead, LoadAverage};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, RawDir, openat, readlinkat};
use rustix::io::Errno;

use super::stat::Stat;
use super::{ExitStatus, ProcessId, ProcessName, Target};

/// Readings for one look. On a machine that starts programs without pause none is undisturbed;
/// three in a row that all met nobody are an answer.
const MAX_SCANS: u32 = 3;

/// Arguments that are looked at for a long name: `interpreter [option] script`.
const ARGUMENTS_WITH_A_NAME: usize = 3;

/// For how many looks a process is young.
const YOUNG_LOOKS: usize = 3;

/// With more young processes than this, reading the whole table is no dearer.
const MAX_YOUNG: i32 = 1000;

/// What a look at the process table has found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sighting {
    /// The living processes that are meant, by pid.
    pub alive: Vec<Alive>,
    /// The dead ones of the name that their parent hasn't reaped.
    pub zombies: Vec<Zombie>,
    /// The living ones of the name that nobody means.
    pub impostors: Vec<Impostor>,
}

impl Sighting {
    fn add(&mut self, met: Met) {
        match met {
            Met::Alive(alive) => self.alive.push(alive),
            Met::Zombie(zombie) => self.zombies.push(zombie),
            Met::Nobody => {}
        }
    }
}

/// A living process that is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Alive {
    /// Which process it is.
    pub id: ProcessId,
    /// The pid of its parent, or of whoever inherited it.
    pub parent: i32,
    /// Whether it can do its work.
    pub state: RunState,
}

/// Whether a living process can do its work (proc(5), /proc/PID/stat field 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RunState {
    /// It runs, or waits for something to do.
    Running,
    /// It was stopped by a signal (state T), not by a debugger.
    Stopped,
    /// It waits for a device or a disk, and nothing can interrupt it (state D).
    Uninterruptible,
}

/// A living process of the name that isn't the one that is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Impostor {
    /// Which process it is.
    pub id: ProcessId,
    /// Its user: the name in /etc/passwd, or the number; printable.
    pub user: String,
    /// The path of its program; printable.
    pub path: String,
}

/// A dead process that its parent hasn't reaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Zombie {
    /// Which process it was.
    pub id: ProcessId,
    /// How it ended, where the kernel tells.
    pub exit_status: Option<ExitStatus>,
}

/// Why a look gave no answer. It says nothing about the process.
#[derive(Debug)]
pub struct LookError {
    path: PathBuf,
    problem: Unreadable,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unreadable {
    /// Reading failed.
    Io(Errno),
    /// What was read isn't what proc(5) promises.
    Malformed,
    /// The table lacks pid 1, so it isn't whole.
    Incomplete,
}

/// The same kind of failure, though perhaps met at another process: not worth a new message.
impl PartialEq for LookError {
    fn eq(&self, other: &Self) -> bool {
        self.problem == other.problem
    }
}

impl fmt::Display for LookError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match self.problem {
            Unreadable::Io(errno) => {
                write!(f, "{path} can't be read: {}", io::Error::from(errno))
            }
            Unreadable::Malformed => write!(f, "{path} isn't in the form proc(5) describes"),
            Unreadable::Incomplete => write!(
                f,
                "{path} doesn't show every process: pid 1 is missing (mounted with hidepid?)"
            ),
        }
    }
}

impl std::error::Error for LookError {}

/// How a process was met in one reading of the table.
#[derive(Clone, Copy)]
enum Met {
    Alive(Alive),
    Zombie(Zombie),
    /// Another one, or one that vanished meanwhile.
    Nobody,
}

/// The process table as /proc shows it.
#[derive(Debug)]
pub struct ProcessTable {
    root: PathBuf,
    /// Reused by every look, so that one costs no memory per process.
    entries: Vec<MaybeUninit<u8>>,
    buffer: Vec<u8>,
    path: String,
    /// The last pid handed out at each of the latest looks, the oldest first.
    last_pids: VecDeque<i32>,
}

impl ProcessTable {
    /// The table below `root`, which is `/proc` or a tree like it.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            entries: vec![MaybeUninit::uninit(); 8 * 1024],
            buffer: vec![0; 4 * 1024],
            path: String::new(),
            last_pids: VecDeque::with_capacity(YOUNG_LOOKS),
        }
    }

    /// Finds all processes of `name` in the watchdog's own PID namespace.
    ///
    /// A zombie is dead unless other threads of it live on: then the program still runs.
    ///
    /// # Errors
    /// When anything that could be such a process couldn't be looked at.
    pub fn look(&mut self, target: &Target) -> Result<Sighting, LookError> {
        let name = &target.name;
        let root = open_directory(&self.root)?;
        let mut before = self.last_pid(&root);
        let mut sighting = self.scan(&root, name)?;
        for _ in 1..MAX_SCANS {
            let now = self.last_pid(&root);
            let undisturbed = now.is_some() && now == before;
            if undisturbed || !sighting.alive.is_empty() {
                break;
            }
            // Whoever was there before has been met, or has died. Its heirs are among the new pids,
            // unless the kernel has begun anew with the lowest.
            sighting = match young_between(before, now) {
                Some(young) => self.examine_all(&root, young, &[], name, sighting)?,
                None => self.scan(&root, name)?,
            };
            before = now;
        }
        Ok(sighting)
    }

    /// The same, at the price of a few small reads while nothing has happened: confirms that the
    /// processes `known` live on, and reads only those that are young besides. A process that takes
    /// the name long after its birth is met by the next [`Self::look`].
    ///
    /// # Errors
    /// As [`Self::look`].
    pub fn confirm(&mut self, target: &Target, known: &[ProcessId]) -> Result<Sighting, LookError> {
        let name = &target.name;
        let root = open_directory(&self.root)?;
        let Some(young) = self.young_pids(&root) else {
            return self.look(target);
        };
        let mut confirmed = Sighting::default();
        for id in known {
            match self.examine(root.as_fd(), id.pid, name)? {
                Met::Alive(met) if met.id == *id => confirmed.alive.push(met),
                _ => return self.look(target),
            }
        }
        self.examine_all(&root, young, known, name, confirmed)
    }

    /// Adds to a sighting whoever is met under `pids`, but for those that are `known`.
    fn examine_all(
        &mut self,
        root: &OwnedFd,
        pids: RangeInclusive<i32>,
        known: &[ProcessId],
        name: &ProcessName,
        mut sighting: Sighting,
    ) -> Result<Sighting, LookError> {
        for pid in pids {
            if known.iter().all(|id| id.pid != pid) {
                sighting.add(self.examine(root.as_fd(), pid, name)?);
            }
        }
        sighting.alive.sort_unstable();
        Ok(sighting)
    }

    /// The pids that were handed out since a few looks ago: long enough for a start script to
    /// become its program. `None` when they can't be told, or are too many.
    fn young_pids(&mut self, root: &OwnedFd) -> Option<RangeInclusive<i32>> {
        let last = self.last_pid(root)?;
        let oldest = self.last_pids.front().copied();
        if self.last_pids.len() == YOUNG_LOOKS {
            self.last_pids.pop_front();
        }
        self.last_pids.push_back(last);
        young_between(oldest, Some(last))
    }

    /// Whether this very process, not another one with its pid, is still in the table.
    ///
    /// # Errors
    /// When it couldn't be looked at.
    pub fn contains(&mut self, id: ProcessId) -> Result<bool, LookError> {
        let root = open_directory(&self.root)?;
        let stat = self.stat(&root, id.pid)?;
        Ok(stat.is_some_and(|stat| stat.start_time == id.start_time))
    }

    /// Reads the whole table once.
    fn scan(&mut self, root: &OwnedFd, name: &ProcessName) -> Result<Sighting, LookError> {
        let mut sighting = Sighting::default();
        let mut saw_init = false;
        // The directory's buffer is lent out while its entries are examined.
        let mut entries = std::mem::take(&mut self.entries);
        let scanned = self.scan_entries(root, &mut entries, |table, pid| {
            saw_init |= pid == 1;
            sighting.add(table.examine(root.as_fd(), pid, name)?);
            Ok(())
        });
        self.entries = entries;
        scanned?;
        if !saw_init {
            return Err(self.error("", Unreadable::Incomplete));
        }
        sighting.alive.sort_unstable();
        Ok(sighting)
    }

    fn scan_entries(
        &mut self,
        root: &OwnedFd,
        entries: &mut [MaybeUninit<u8>],
        mut each: impl FnMut(&mut Self, i32) -> Result<(), LookError>,
    ) -> Result<(), LookError> {
        rustix::fs::seek(root, rustix::fs::SeekFrom::Start(0))
            .map_err(|errno| self.error("", Unreadable::Io(errno)))?;
        let mut directory = RawDir::new(root, entries);
        while let Some(entry) = directory.next() {
            let entry = entry.map_err(|errno| self.error("", Unreadable::Io(errno)))?;
            if let Some(pid) = decimal(entry.file_name().to_bytes()) {
                each(self, pid)?;
            }
        }
        Ok(())
    }

    /// Reads the cheapest file that can rule a process out first.
    fn examine(
        &mut self,
        root: BorrowedFd<'_>,
        pid: i32,
        name: &ProcessName,
    ) -> Result<Met, LookError> {
        let Some(comm) = self.read(root, pid, "comm")? else {
            return Ok(Met::Nobody);
        };
        if comm.strip_suffix(b"\n").unwrap_or(comm) != name.comm() {
            return Ok(Met::Nobody);
        }
        let Some(stat) = self.stat(root, pid)? else {
            return Ok(Met::Nobody);
        };
        // It may have been renamed, or its pid reused, between the two reads.
        if stat.comm != name.comm() {
            return Ok(Met::Nobody);
        }
        if !self.is_process_here(root, pid)? {
            return Ok(Met::Nobody);
        }
        let id = ProcessId {
            pid,
            start_time: stat.start_time,
        };
        if matches!(stat.state, b'Z' | b'X' | b'x') && stat.threads <= 1 {
            // Whoever may not trace the process reads a 0 there, which therefore means nothing.
            let wait_status = stat.exit_code.filter(|status| *status != 0);
            let exit_status = wait_status.map(ExitStatus::from_wait_status);
            return Ok(Met::Zombie(Zombie { id, exit_status }));
        }
        if name.is_longer_than_comm() && !self.runs_program(root, pid, name)? {
            return Ok(Met::Nobody);
        }
        let state = match stat.state {
            b'T' => RunState::Stopped,
            b'D' => RunState::Uninterruptible,
            _ => RunState::Running,
        };
        Ok(Met::Alive(Alive {
            id,
            parent: stat.parent,
            state,
        }))
    }

    /// proc(5), /proc/PID/stat; `None` when the process has vanished.
    fn stat(&mut self, root: impl AsFd, pid: i32) -> Result<Option<Stat>, LookError> {
        let Some(text) = self.read(root.as_fd(), pid, "stat")? else {
            return Ok(None);
        };
        match Stat::parse(text) {
            Some(stat) => Ok(Some(stat)),
            None => Err(self.error(&format!("{pid}/stat"), Unreadable::Malformed)),
        }
    }

    /// Whether a pid is that of a process, not of a thread, and in the watchdog's own namespace.
    ///
    /// /proc answers to a thread's id too, though it doesn't list it: its `Tgid` is another one.
    /// `NSpid` has one pid for each PID namespace from this one inwards (pid_namespaces(7)): more
    /// than one means that the process lives in a container.
    fn is_process_here(&mut self, root: BorrowedFd<'_>, pid: i32) -> Result<bool, LookError> {
        let Some(status) = self.read(root, pid, "status")? else {
            return Ok(false);
        };
        let field = |name: &[u8]| {
            let mut lines = status.split(|byte| *byte == b'\n');
            let value = lines.find_map(|line| line.strip_prefix(name))?;
            let words = value.split(u8::is_ascii_whitespace);
            Some(words.filter(|word| !word.is_empty()).collect::<Vec<_>>())
        };
        let is_thread = field(b"Tgid:").is_some_and(|tgid| tgid != [pid.to_string().as_bytes()]);
        // Kernels built without PID namespaces have no such line.
        let is_inside = field(b"NSpid:").is_some_and(|pids| pids.len() > 1);
        Ok(!is_thread && !is_inside)
    }

    /// Whether the file that a process runs has the whole of a long name: its executable, or,
    /// for a script, the program among its first arguments.
    fn runs_program(
        &mut self,
        root: BorrowedFd<'_>,
        pid: i32,
        name: &ProcessName,
    ) -> Result<bool, LookError> {
        let link = format!("{pid}/exe");
        let exe = match readlinkat(root, &link, Vec::new()) {
            Ok(exe) if name.is_base_name_of(exe.as_bytes()) => return Ok(true),
            Ok(_) | Err(Errno::NOENT | Errno::SRCH) => Ok(()),
            Err(errno) => Err(errno),
        };
        let Some(arguments) = self.read(root, pid, "cmdline")? else {
            return Ok(false);
        };
        let mut arguments = arguments
            .split(|byte| *byte == 0)
            .take(ARGUMENTS_WITH_A_NAME);
        if arguments.any(|argument| name.is_base_name_of(argument)) {
            return Ok(true);
        }
        // Neither says so; but one of them may have been closed to us.
        match exe {
            Ok(()) => Ok(false),
            Err(errno) => Err(self.error(&link, Unreadable::Io(errno))),
        }
    }

    /// The last pid that the kernel has handed out (proc(5), /proc/loadavg).
    fn last_pid(&mut self, root: &OwnedFd) -> Option<i32> {
        let length = read_file(root.as_fd(), "loadavg", &mut self.buffer).ok()?;
        let load = LoadAverage::from_read(&self.buffer[..length]).ok()?;
        i32::try_from(load.latest_pid).ok()
    }

    /// Reads a file of a process; `None` when the process has vanished, which is normal.
    fn read(
        &mut self,
        root: BorrowedFd<'_>,
        pid: i32,
        file: &str,
    ) -> Result<Option<&[u8]>, LookError> {
        self.path.clear();
        // Writing to a String never fails.
        let _ = write!(self.path, "{pid}/{file}");
        match read_file(root, &self.path, &mut self.buffer) {
            Ok(length) => Ok(Some(&self.buffer[..length])),
            Err(Errno::NOENT | Errno::SRCH) => Ok(None),
            Err(errno) => Err(self.error(&self.path, Unreadable::Io(errno))),
        }
    }

    fn error(&self, file: &str, problem: Unreadable) -> LookError {
        LookError {
            path: self.root.join(file),
            problem,
        }
    }
}

/// The pids that were handed out after the pid `before`, up to `now`. `None` when they can't be
/// told, as when the kernel has begun anew with the lowest free pid, or are too many.
fn young_between(before: Option<i32>, now: Option<i32>) -> Option<RangeInclusive<i32>> {
    let (before, now) = (before?, now?);
    let count = now.checked_sub(before)?;
    (0..=MAX_YOUNG).contains(&count).then_some(before + 1..=now)
}

/// Opens the table's directory.
fn open_directory(root: &Path) -> Result<OwnedFd, LookError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, root, flags, Mode::empty()).map_err(|errno| LookError {
        path: root.to_owned(),
        problem: Unreadable::Io(errno),
    })
}

/// Reads as much of a file as one call gives: the kernel renders each of the files used here in
/// one go.
fn read_file(root: BorrowedFd<'_>, file: &str, buffer: &mut [u8]) -> Result<usize, Errno> {
    let file = openat(root, file, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::retry_on_intr(|| rustix::io::read(&file, &mut *buffer))
}

/// A number written in decimal digits only, as pids are.
fn decimal(text: &[u8]) -> Option<i32> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    digits
        .then(|| std::str::from_utf8(text).ok()?.parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::{MAX_YOUNG, young_between};

    #[test]
    fn young_are_the_pids_after_the_last_one() {
        assert_eq!(young_between(Some(100), Some(103)), Some(101..=103));
        assert!(young_between(Some(100), Some(100)).is_some_and(|pids| pids.is_empty()));
        let most = young_between(Some(100), Some(100 + MAX_YOUNG));
        assert_eq!(most, Some(101..=100 + MAX_YOUNG));
    }

    #[test]
    fn who_is_young_cannot_be_told_after_a_new_beginning() {
        assert_eq!(young_between(Some(32_700), Some(310)), None);
        assert_eq!(young_between(Some(100), Some(101 + MAX_YOUNG)), None);
        assert_eq!(young_between(Some(i32::MIN), Some(i32::MAX)), None);
        assert_eq!(young_between(None, Some(100)), None);
        assert_eq!(young_between(Some(100), None), None);
    }
}
