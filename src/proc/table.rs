//! Looks for the processes of a target in /proc; it only reads, and what it can't read it says.
//!
//! The kernel gives no snapshot of its process table. A process may end, fork or be renamed while
//! the table is read, and a program that moves from a high pid to a low one in that time (fork,
//! then exit) may never be met. Its absence is therefore only believed when the kernel has handed
//! out no pid during the look; else those pids are looked at too, or the whole table again.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::fs::{DirEntry, File};
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, RawDir, openat, readlinkat};
use rustix::io::{Errno, pread, read, retry_on_intr};

use super::stat::{Stat, Status};
use super::{ProcessId, ProcessName, Target};
use crate::sys::exit_status::ExitStatus;
use crate::sys::user::name_of as user_name;
use crate::text::escape::printable;
use crate::text::phrase::{Phrase, phrase};

/// Readings for one look. On a machine that starts programs without pause none is undisturbed;
/// three in a row that all met nobody are an answer.
const MAX_SCANS: u32 = 3;

/// Arguments that are looked at for a long name: `interpreter [option] script`.
const ARGUMENTS_WITH_A_NAME: usize = 3;

/// More of a process's arguments than this isn't read, in bytes.
const CMDLINE_MAX: u64 = 64 * 1024;

/// The pause before the next reading when a process is just becoming another program. The service's
/// one thread stands still meanwhile, once or twice in a look.
const BECOMING: Duration = Duration::from_millis(5);

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
    /// The living ones of the name that no target means, by pid. A confirmation meets them only while
    /// they are young.
    pub impostors: Vec<Impostor>,
    /// Those that nearly have the name: but for upper and lower case, or in another PID namespace. As
    /// the impostors.
    pub near: Vec<Impostor>,
    /// Those among the living that are known, and no longer are what is meant: they have another name,
    /// program or arguments now.
    pub changed: Vec<Impostor>,
}

impl Sighting {
    fn add(&mut self, met: Met) {
        match met {
            Met::Alive(alive) => self.alive.push(alive),
            Met::Zombie(zombie) => self.zombies.push(zombie),
            Met::Impostor(impostor) => match impostor.difference {
                Difference::Case | Difference::Namespace => self.near.push(impostor),
                _ => self.impostors.push(impostor),
            },
            Met::Nobody => {}
        }
    }

    /// Takes in a known process that lives, and in what it isn't what is meant any more.
    fn add_known(&mut self, alive: Alive, named: Option<Impostor>) {
        let is_it = |impostor: &Impostor| impostor.id == alive.id;
        let position = self.impostors.iter().position(is_it);
        let met = position.map(|index| self.impostors.swap_remove(index));
        self.near.retain(|impostor| !is_it(impostor));
        self.changed.extend(met.or(named));
        self.alive.push(alive);
    }

    /// In order of the pids, and each impostor once, though it may have been met twice.
    fn sort(&mut self) {
        self.alive.sort_unstable();
        self.impostors.sort_unstable_by_key(|impostor| impostor.id);
        self.impostors.dedup_by_key(|impostor| impostor.id);
        self.near.sort_unstable_by_key(|impostor| impostor.id);
        self.near.dedup_by_key(|impostor| impostor.id);
    }
}

/// A living process that is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Alive {
    /// Which process it is.
    pub id: ProcessId,
    /// The pid of its parent, or of whoever inherited it.
    pub parent: i32,
    /// Its effective user, where that was read: a confirmation doesn't.
    pub uid: Option<u32>,
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
    /// The kernel is writing a core dump of it: it is dying (`CoreDumping` of /proc/PID/status).
    Dumping,
}

/// A living process that is nearly the one that is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Impostor {
    /// Which process it is.
    pub id: ProcessId,
    /// Its effective user; `None` where that can't be read.
    pub uid: Option<u32>,
    /// Its user: the name in /etc/passwd, or the number; printable.
    pub user: String,
    /// Its name, as the kernel keeps it; printable.
    pub name: String,
    /// The path of its program, or its name in brackets where that can't be told; printable.
    pub path: String,
    /// What makes it another one.
    pub difference: Difference,
}

/// What makes a process another one than the one that is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    /// Its name has other upper and lower case letters.
    Case,
    /// It has the name inside another PID namespace (`pid_namespaces(7)`).
    Namespace,
    /// Its name is another one.
    Name,
    /// Its executable isn't the one that `exe` asks for.
    Exe,
    /// Its arguments aren't those that `cmdline` asks for.
    Cmdline,
    /// Its user isn't the one that `user` asks for.
    User,
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
    /// A living process has no arguments.
    NoArguments,
}

/// The same kind of failure, though perhaps met at another process: not worth a new message.
impl PartialEq for LookError {
    fn eq(&self, other: &Self) -> bool {
        self.problem == other.problem
    }
}

impl LookError {
    /// What a person is told of it.
    #[must_use]
    pub fn phrase(&self) -> Phrase {
        let path = self.path.display().to_string();
        match self.problem {
            Unreadable::Io(errno) => phrase!(
                "%{file} can't be read: %{error}",
                file = path,
                error = io::Error::from(errno).to_string()
            ),
            Unreadable::Malformed => {
                phrase!("%{file} isn't in the form proc(5) describes", file = path)
            }
            Unreadable::Incomplete => phrase!(
                "%{folder} doesn't show every process: pid 1 is missing (mounted with hidepid?)",
                folder = path
            ),
            Unreadable::NoArguments => phrase!(
                "%{file} is still empty, though the process lives: which program it is can't be told",
                file = path
            ),
        }
    }
}

impl fmt::Display for LookError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.phrase().fmt(f)
    }
}

impl std::error::Error for LookError {}

/// How a process was met in one reading of the table.
enum Met {
    Alive(Alive),
    Zombie(Zombie),
    Impostor(Impostor),
    /// Another one, or one that vanished meanwhile.
    Nobody,
}

/// Whether a process of the name is what a target means.
#[derive(Clone, Copy)]
enum Verdict {
    Meant,
    /// It is another one.
    Other(Difference),
    /// It has vanished, or is just becoming another program.
    Unsettled,
}

/// What a living process runs.
struct Program {
    pid: i32,
    /// Where in the directory of the process: nothing, or `task/TID/`.
    directory: String,
    uid: Option<u32>,
}

impl Program {
    /// The path of one of its files below the table's root.
    fn file(&self, name: &str) -> String {
        format!("{}/{}{name}", self.pid, self.directory)
    }
}

/// The table's directory and its loadavg.
#[derive(Debug)]
struct Opened {
    directory: OwnedFd,
    /// `None` where there is none.
    loadavg: Option<OwnedFd>,
}

impl Opened {
    fn open(root: &Path) -> Result<Self, LookError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = openat(CWD, root, flags, Mode::empty()).map_err(|errno| LookError {
            path: root.to_owned(),
            problem: Unreadable::Io(errno),
        })?;
        let loadavg = open_file(directory.as_fd(), "loadavg").ok();
        Ok(Self { directory, loadavg })
    }
}

/// The process table as /proc shows it.
#[derive(Debug)]
pub struct ProcessTable {
    root: PathBuf,
    /// What every look begins with: opened once, and anew after a look that failed.
    opened: Option<Opened>,
    /// Reused by every look, so that one costs no memory per process.
    entries: Vec<MaybeUninit<u8>>,
    buffer: Vec<u8>,
    path: String,
    /// The last pid handed out at each of the latest looks, the oldest first.
    last_pids: VecDeque<i32>,
    /// A process that was met while it was becoming another program, since the last [`Self::scan`]
    /// began.
    becoming: Option<i32>,
}

impl ProcessTable {
    /// The table below `root`, which is `/proc` or a tree like it.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            opened: None,
            entries: vec![MaybeUninit::uninit(); 8 * 1024],
            buffer: vec![0; 4 * 1024],
            path: String::new(),
            last_pids: VecDeque::with_capacity(YOUNG_LOOKS),
            becoming: None,
        }
    }

    /// Finds all processes of `target` in the watchdog's own PID namespace.
    ///
    /// A zombie is dead unless other threads of it live on: then the program still runs.
    ///
    /// # Errors
    /// When anything that could be such a process couldn't be looked at.
    pub fn look(&mut self, target: &Target) -> Result<Sighting, LookError> {
        self.look_for(target, &[])
    }

    /// The same, and finds those of the processes `known` that live, whatever they are called and run by
    /// now: a process is its pid and start time.
    ///
    /// # Errors
    /// As [`Self::look`].
    pub fn look_for(
        &mut self,
        target: &Target,
        known: &[ProcessId],
    ) -> Result<Sighting, LookError> {
        self.with_opened(|table, opened| table.look_at_known(opened, target, known))
    }

    fn look_at_known(
        &mut self,
        opened: &Opened,
        target: &Target,
        known: &[ProcessId],
    ) -> Result<Sighting, LookError> {
        let mut sighting = self.look_at_all(opened, target)?;
        let root = opened.directory.as_fd();
        for id in known {
            if sighting.alive.iter().any(|alive| alive.id == *id) {
                continue;
            }
            if let Some((alive, named)) = self.confirm_one(root, *id, &target.name)? {
                sighting.add_known(alive, named);
            }
        }
        sighting.sort();
        Ok(sighting)
    }

    fn look_at_all(&mut self, opened: &Opened, target: &Target) -> Result<Sighting, LookError> {
        let root = opened.directory.as_fd();
        let mut before = self.last_pid(opened);
        let mut sighting = self.scan(root, target)?;
        for _ in 1..MAX_SCANS {
            let now = self.last_pid(opened);
            let undisturbed = now.is_some() && now == before && self.becoming.is_none();
            if undisturbed || !sighting.alive.is_empty() {
                break;
            }
            if self.becoming.is_some() {
                std::thread::sleep(BECOMING);
            }
            // Whoever was there before has been met, or has died. Its heirs are among the new pids,
            // unless the kernel has begun anew with the lowest.
            sighting = match young_between(before, now) {
                Some(young) if self.becoming.is_none() => {
                    self.examine_all(root, young, &[], target, sighting)?
                }
                _ => self.scan(root, target)?,
            };
            before = now;
        }
        match self.becoming {
            Some(pid) if sighting.alive.is_empty() => {
                Err(self.error(&format!("{pid}/cmdline"), Unreadable::NoArguments))
            }
            _ => Ok(sighting),
        }
    }

    /// The same, at the price of a few small reads while nothing has happened: confirms that the
    /// processes `known` live on, and reads only those that are young besides. A process that takes
    /// the name long after its birth is met by the next [`Self::look`], and so is the change of one
    /// that is known into another program of the same name.
    ///
    /// # Errors
    /// As [`Self::look`].
    pub fn confirm(&mut self, target: &Target, known: &[ProcessId]) -> Result<Sighting, LookError> {
        self.with_opened(|table, opened| table.confirm_all(opened, target, known))
    }

    fn confirm_all(
        &mut self,
        opened: &Opened,
        target: &Target,
        known: &[ProcessId],
    ) -> Result<Sighting, LookError> {
        let root = opened.directory.as_fd();
        // Until it is known who was young at the earlier looks, somebody may have been met between fork
        // and exec, and is not young any more.
        let young = self.young_pids(opened);
        let young = young.filter(|_| self.last_pids.len() == YOUNG_LOOKS);
        let Some(young) = young else {
            return self.look_at_known(opened, target, known);
        };
        let mut confirmed = Sighting {
            alive: Vec::with_capacity(known.len()),
            ..Sighting::default()
        };
        for id in known {
            match self.confirm_one(root, *id, &target.name)? {
                Some((alive, named)) => confirmed.add_known(alive, named),
                None => return self.look_at_known(opened, target, known),
            }
        }
        self.examine_all(root, young, known, target, confirmed)
    }

    /// A process that is known, if it lives, and what it is called if that isn't its name any more.
    fn confirm_one(
        &mut self,
        root: BorrowedFd<'_>,
        id: ProcessId,
        name: &ProcessName,
    ) -> Result<Option<(Alive, Option<Impostor>)>, LookError> {
        let Some(stat) = self.stat(root, id.pid)? else {
            return Ok(None);
        };
        if stat.start_time != id.start_time || stat.is_dead() {
            return Ok(None);
        }
        let (parent, state, is_ending) = (stat.parent, stat.state, stat.is_ending);
        let other_name = (stat.comm != name.comm()).then(|| stat.comm.to_vec());
        let state = if state == b'T' || is_ending {
            match self.status(root, id.pid)? {
                Some(status) => run_state(state, &status),
                None => return Ok(None),
            }
        } else {
            RunState::Running
        };
        let uid = None;
        let alive = Alive {
            id,
            parent,
            uid,
            state,
        };
        let named = match other_name {
            Some(comm) => {
                let status = self.status(root, id.pid)?.unwrap_or_default();
                let program = Program {
                    pid: id.pid,
                    directory: String::new(),
                    uid: status.uid,
                };
                Some(self.lookalike(root, id, &program, &comm, Difference::Name))
            }
            None => None,
        };
        Ok(Some((alive, named)))
    }

    /// Adds to a sighting whoever is met under `pids`, but for those that are `known`.
    fn examine_all(
        &mut self,
        root: BorrowedFd<'_>,
        pids: RangeInclusive<i32>,
        known: &[ProcessId],
        target: &Target,
        mut sighting: Sighting,
    ) -> Result<Sighting, LookError> {
        for pid in pids {
            if known.iter().all(|id| id.pid != pid) {
                sighting.add(self.examine(root, pid, target)?);
            }
        }
        sighting.sort();
        Ok(sighting)
    }

    /// The pids that were handed out since a few looks ago: long enough for a start script to
    /// become its program. `None` when they can't be told, or are too many.
    fn young_pids(&mut self, opened: &Opened) -> Option<RangeInclusive<i32>> {
        let last = self.last_pid(opened)?;
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
        self.has(id, |_| true)
    }

    /// Whether this very process lives: one in the table may be dead and not yet reaped.
    ///
    /// # Errors
    /// When it couldn't be looked at.
    pub fn lives(&mut self, id: ProcessId) -> Result<bool, LookError> {
        self.has(id, |stat| !stat.is_dead())
    }

    fn has(&mut self, id: ProcessId, such: impl Fn(&Stat<'_>) -> bool) -> Result<bool, LookError> {
        self.with_opened(|table, opened| {
            let stat = table.stat(opened.directory.as_fd(), id.pid)?;
            Ok(stat.is_some_and(|stat| stat.start_time == id.start_time && such(&stat)))
        })
    }

    fn with_opened<T>(
        &mut self,
        read: impl FnOnce(&mut Self, &Opened) -> Result<T, LookError>,
    ) -> Result<T, LookError> {
        let opened = match self.opened.take() {
            Some(opened) => opened,
            None => Opened::open(&self.root)?,
        };
        let read = read(self, &opened);
        if read.is_ok() {
            self.opened = Some(opened);
        }
        read
    }

    /// Reads the whole table once.
    fn scan(&mut self, root: BorrowedFd<'_>, target: &Target) -> Result<Sighting, LookError> {
        self.becoming = None;
        let mut sighting = Sighting::default();
        let mut saw_init = false;
        // The directory's buffer is lent out while its entries are examined.
        let mut entries = std::mem::take(&mut self.entries);
        let scanned = self.scan_entries(root, &mut entries, |table, pid| {
            saw_init |= pid == 1;
            sighting.add(table.examine(root, pid, target)?);
            Ok(())
        });
        self.entries = entries;
        scanned?;
        if !saw_init {
            return Err(self.error("", Unreadable::Incomplete));
        }
        sighting.sort();
        Ok(sighting)
    }

    fn scan_entries(
        &mut self,
        root: BorrowedFd<'_>,
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
        target: &Target,
    ) -> Result<Met, LookError> {
        let name = &target.name;
        let Some(comm) = self.read(root, pid, "comm")? else {
            return Ok(Met::Nobody);
        };
        if !comm
            .strip_suffix(b"\n")
            .unwrap_or(comm)
            .eq_ignore_ascii_case(name.comm())
        {
            return Ok(Met::Nobody);
        }
        let Some(stat) = self.stat(root, pid)? else {
            return Ok(Met::Nobody);
        };
        // It may have been renamed, or its pid reused, between the two reads.
        if !stat.comm.eq_ignore_ascii_case(name.comm()) {
            return Ok(Met::Nobody);
        }
        let near = (stat.comm != name.comm()).then(|| stat.comm.to_vec());
        let id = ProcessId {
            pid,
            start_time: stat.start_time,
        };
        let (parent, state) = (stat.parent, stat.state);
        let (is_dead, exit_code) = (stat.is_dead(), stat.exit_code);
        let main_thread_is_dead = stat.main_thread_is_dead();
        let Some(status) = self.status(root, pid)? else {
            return Ok(Met::Nobody);
        };
        if is_thread(pid, &status) || is_dead && (near.is_some() || is_inside(&status)) {
            return Ok(Met::Nobody);
        }
        let difference = match &near {
            Some(_) => Some(Difference::Case),
            None => is_inside(&status).then_some(Difference::Namespace),
        };
        if let Some(difference) = difference {
            let program = Program {
                pid,
                directory: String::new(),
                uid: status.uid,
            };
            let comm = near.as_deref().unwrap_or(name.comm());
            let lookalike = self.lookalike(root, id, &program, comm, difference);
            return Ok(Met::Impostor(lookalike));
        }
        if is_dead {
            // Whoever may not trace the process reads a 0 there, which therefore means nothing.
            let wait_status = exit_code.filter(|status| *status != 0);
            let exit_status = wait_status.map(ExitStatus::from_wait_status);
            return Ok(Met::Zombie(Zombie { id, exit_status }));
        }
        let directory = if main_thread_is_dead {
            self.living_thread(root, pid)?
        } else {
            String::new()
        };
        let program = Program {
            pid,
            directory,
            uid: status.uid,
        };
        if !self.has_whole_name(root, &program, name)? {
            return Ok(Met::Nobody);
        }
        match self.qualifies(root, &program, target)? {
            Verdict::Meant => Ok(Met::Alive(Alive {
                id,
                parent,
                uid: status.uid,
                state: run_state(state, &status),
            })),
            Verdict::Other(difference) => self.impostor(root, id, &program, target, difference),
            Verdict::Unsettled => {
                // The kernel sets the name of a new program before its arguments: there is a moment
                // without any. One that has ended has no exe either.
                if self.exe(root, &program)?.is_some() {
                    self.becoming = Some(pid);
                }
                Ok(Met::Nobody)
            }
        }
    }

    /// The directory of a thread that lives, `task/TID/`, in that of its process: of a process whose
    /// main thread has ended, the kernel shows neither exe nor cmdline itself (proc(5)). Nothing
    /// when no thread lives any more.
    fn living_thread(&mut self, root: BorrowedFd<'_>, pid: i32) -> Result<String, LookError> {
        let threads = format!("{pid}/task");
        let list = || -> io::Result<Vec<String>> {
            let entries = self.root.join(&threads).read_dir()?;
            let name = |entry: DirEntry| entry.file_name().to_string_lossy().into_owned();
            entries.map(|entry| entry.map(name)).collect()
        };
        let threads = match list() {
            Ok(threads) => threads,
            Err(error) if has_vanished(&error) => Vec::new(),
            Err(error) => return Err(self.io_error(&threads, &error)),
        };
        for thread in threads {
            let directory = format!("task/{thread}/");
            let text = self.read(root, pid, &format!("{directory}stat"))?;
            let stat = text.and_then(Stat::parse);
            if stat.is_some_and(|stat| !stat.main_thread_is_dead()) {
                return Ok(directory);
            }
        }
        Ok(String::new())
    }

    /// Whether the file that a process runs has the whole of a long name: its executable, or,
    /// for a script, the program among its first arguments. Short ones need no look.
    fn has_whole_name(
        &self,
        root: BorrowedFd<'_>,
        program: &Program,
        name: &ProcessName,
    ) -> Result<bool, LookError> {
        if !name.is_longer_than_comm() {
            return Ok(true);
        }
        let exe = self.exe(root, program);
        if let Ok(Some(exe)) = &exe {
            if name.is_base_name_of(exe) {
                return Ok(true);
            }
        }
        let Some(arguments) = self.cmdline(root, program)? else {
            return Ok(false);
        };
        let mut arguments = arguments
            .split(|byte| *byte == 0)
            .take(ARGUMENTS_WITH_A_NAME);
        if arguments.any(|argument| name.is_base_name_of(argument)) {
            return Ok(true);
        }
        // Neither says so; but one of them may have been closed to us.
        exe.map(|_| false)
    }

    /// Whether a process of the name is what `target` means.
    fn qualifies(
        &self,
        root: BorrowedFd<'_>,
        program: &Program,
        target: &Target,
    ) -> Result<Verdict, LookError> {
        let other = |is_read: bool, difference| {
            if is_read {
                Verdict::Other(difference)
            } else {
                Verdict::Unsettled
            }
        };
        if let Some(user) = &target.user {
            if user.uid != self.uid(program)? {
                return Ok(Verdict::Other(Difference::User));
            }
        }
        if let Some(pattern) = &target.exe {
            match self.exe(root, program)? {
                Some(exe) if pattern.matches(&exe) => {}
                exe => return Ok(other(exe.is_some(), Difference::Exe)),
            }
        }
        if let Some(pattern) = &target.cmdline {
            match self.cmdline(root, program)? {
                Some(cmdline) if cmdline.is_empty() => return Ok(Verdict::Unsettled),
                Some(cmdline) if pattern.matches(&cmdline) => {}
                cmdline => return Ok(other(cmdline.is_some(), Difference::Cmdline)),
            }
        }
        Ok(Verdict::Meant)
    }

    /// A process of the name that isn't what `target` means: an impostor, unless a namesake of the
    /// target means it.
    fn impostor(
        &self,
        root: BorrowedFd<'_>,
        id: ProcessId,
        program: &Program,
        target: &Target,
        difference: Difference,
    ) -> Result<Met, LookError> {
        for namesake in &target.namesakes {
            let is_named = self.has_whole_name(root, program, &namesake.name)?;
            let is_other = |verdict| matches!(verdict, Verdict::Other(_));
            if is_named && !is_other(self.qualifies(root, program, namesake)?) {
                return Ok(Met::Nobody);
            }
        }
        let comm = target.name.comm();
        let lookalike = self.lookalike(root, id, program, comm, difference);
        Ok(Met::Impostor(lookalike))
    }

    /// What a person is told of a process that isn't the one that is meant.
    fn lookalike(
        &self,
        root: BorrowedFd<'_>,
        id: ProcessId,
        program: &Program,
        comm: &[u8],
        difference: Difference,
    ) -> Impostor {
        let name = printable(&String::from_utf8_lossy(comm));
        let path = match self.exe(root, program) {
            Ok(Some(exe)) => printable(&String::from_utf8_lossy(&exe)),
            // As ps(1) shows a process whose program can't be told.
            Ok(None) | Err(_) => format!("[{name}]"),
        };
        let user = program
            .uid
            .map(|uid| user_name(uid).unwrap_or_else(|| uid.to_string()));
        Impostor {
            id,
            uid: program.uid,
            user: user.unwrap_or_else(|| "?".to_owned()),
            name,
            path,
            difference,
        }
    }

    fn uid(&self, program: &Program) -> Result<u32, LookError> {
        let status = || format!("{}/status", program.pid);
        program
            .uid
            .ok_or_else(|| self.error(&status(), Unreadable::Malformed))
    }

    /// proc(5), /proc/PID/stat; `None` when the process has vanished.
    fn stat(&mut self, root: BorrowedFd<'_>, pid: i32) -> Result<Option<Stat<'_>>, LookError> {
        let Some(length) = self.fill(root, pid, "stat")? else {
            return Ok(None);
        };
        match Stat::parse(&self.buffer[..length]) {
            Some(stat) => Ok(Some(stat)),
            None => Err(self.error(&format!("{pid}/stat"), Unreadable::Malformed)),
        }
    }

    /// proc(5), /proc/PID/status; `None` when the process has vanished.
    fn status(&mut self, root: BorrowedFd<'_>, pid: i32) -> Result<Option<Status>, LookError> {
        let text = self.read(root, pid, "status")?;
        Ok(text.map(Status::parse))
    }

    /// proc(5), /proc/PID/exe; `None` when the process has vanished, or is one of the kernel's.
    fn exe(&self, root: BorrowedFd<'_>, program: &Program) -> Result<Option<Vec<u8>>, LookError> {
        let link = program.file("exe");
        match readlinkat(root, &link, Vec::new()) {
            Ok(exe) => Ok(Some(exe.into_bytes())),
            Err(Errno::NOENT | Errno::SRCH) => Ok(None),
            Err(errno) => Err(self.error(&link, Unreadable::Io(errno))),
        }
    }

    /// proc(5), /proc/PID/cmdline, up to [`CMDLINE_MAX`]; `None` when the process has vanished.
    fn cmdline(
        &self,
        root: BorrowedFd<'_>,
        program: &Program,
    ) -> Result<Option<Vec<u8>>, LookError> {
        let file = program.file("cmdline");
        let opened = open_file(root, &file);
        let mut arguments = Vec::new();
        let read = opened.map_err(io::Error::from).and_then(|opened| {
            let mut opened = File::from(opened).take(CMDLINE_MAX);
            opened.read_to_end(&mut arguments)
        });
        match read {
            Ok(_) => Ok(Some(arguments)),
            Err(error) if has_vanished(&error) => Ok(None),
            Err(error) => Err(self.io_error(&file, &error)),
        }
    }

    /// The last pid that the kernel has handed out (proc(5), /proc/loadavg).
    fn last_pid(&mut self, opened: &Opened) -> Option<i32> {
        let loadavg = opened.loadavg.as_ref()?;
        // Read from its begin, the kernel renders it anew.
        let length = retry_on_intr(|| pread(loadavg, &mut *self.buffer, 0)).ok()?;
        let load = self.buffer[..length].trim_ascii_end();
        decimal(load.rsplit(|byte| *byte == b' ').next()?)
    }

    /// Reads a file of a process; `None` when the process has vanished, which is normal.
    fn read(
        &mut self,
        root: BorrowedFd<'_>,
        pid: i32,
        file: &str,
    ) -> Result<Option<&[u8]>, LookError> {
        let length = self.fill(root, pid, file)?;
        Ok(length.map(|length| &self.buffer[..length]))
    }

    /// Reads a file of a process into the buffer, and says how long it is.
    fn fill(
        &mut self,
        root: BorrowedFd<'_>,
        pid: i32,
        file: &str,
    ) -> Result<Option<usize>, LookError> {
        self.path.clear();
        // Writing to a String never fails.
        let _ = write!(self.path, "{pid}/{file}");
        match read_file(root, &self.path, &mut self.buffer) {
            Ok(length) => Ok(Some(length)),
            Err(Errno::NOENT | Errno::SRCH) => Ok(None),
            Err(errno) => Err(self.error(&self.path, Unreadable::Io(errno))),
        }
    }

    fn io_error(&self, file: &str, error: &io::Error) -> LookError {
        let errno = Errno::from_io_error(error).unwrap_or(Errno::IO);
        self.error(file, Unreadable::Io(errno))
    }

    fn error(&self, file: &str, problem: Unreadable) -> LookError {
        LookError {
            path: self.root.join(file),
            problem,
        }
    }
}

/// Whether a process, or a thread, was gone when one of its files was read.
fn has_vanished(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::NOENT | Errno::SRCH)
    )
}

/// Whether a pid is that of a thread: /proc answers to it too, though it doesn't list it, and its `Tgid`
/// is another one.
fn is_thread(pid: i32, status: &Status) -> bool {
    status.process.is_some_and(|process| process != pid)
}

/// Whether a process lives in a container: `NSpid` has one pid for each PID namespace from this one
/// inwards (`pid_namespaces(7)`).
fn is_inside(status: &Status) -> bool {
    status.namespaces.is_some_and(|count| count > 1)
}

/// What a state of proc(5) means for the work of a process, by what its status says of it besides.
fn run_state(state: u8, status: &Status) -> RunState {
    match state {
        _ if status.is_dumping => RunState::Dumping,
        // A debugger that holds it has its reasons.
        b'T' if status.tracer.unwrap_or(0) == 0 => RunState::Stopped,
        _ => RunState::Running,
    }
}

/// The pids that were handed out after the pid `before`, up to `now`. `None` when they can't be
/// told, as when the kernel has begun anew with the lowest free pid, or are too many.
fn young_between(before: Option<i32>, now: Option<i32>) -> Option<RangeInclusive<i32>> {
    let (before, now) = (before?, now?);
    let count = now.checked_sub(before)?;
    (0..=MAX_YOUNG).contains(&count).then_some(before + 1..=now)
}

/// Reads as much of a file as one call gives: the kernel renders each of the files used here in
/// one go.
fn read_file(root: BorrowedFd<'_>, file: &str, buffer: &mut [u8]) -> Result<usize, Errno> {
    let file = open_file(root, file)?;
    retry_on_intr(|| read(&file, &mut *buffer))
}

fn open_file(root: BorrowedFd<'_>, file: &str) -> Result<OwnedFd, Errno> {
    openat(root, file, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
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
    use super::{Difference, Impostor, MAX_YOUNG, ProcessId, Sighting, young_between};

    #[test]
    fn an_impostor_that_is_met_twice_in_a_look_is_one() {
        let impostor = |pid| Impostor {
            id: ProcessId { pid, start_time: 1 },
            uid: Some(0),
            user: "root".into(),
            name: "X".into(),
            path: "/x".into(),
            difference: Difference::Exe,
        };
        let mut sighting = Sighting {
            impostors: vec![impostor(3), impostor(2), impostor(3)],
            ..Sighting::default()
        };
        sighting.sort();
        assert_eq!(sighting.impostors, [impostor(2), impostor(3)]);
    }

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
