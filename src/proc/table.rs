//! Looks for the processes of a target in /proc; it only reads, and what it can't read it says.
//!
//! The kernel gives no snapshot of its process table. A process may end, fork or be renamed while
//! the table is read, and a program that moves from a high pid to a low one in that time (fork,
//! then exit) may never be met. Its absence is therefore only believed when the kernel has handed
//! out no pid during the look; else those pids are looked at too, or the whole table again.
//!
//! Anybody may run a process of any name. So the cheap tests come before the dear ones, a dear one is made
//! once ([`super::verdicts`]) and in slices, and what somebody can do to a process of his own makes it an
//! impostor: it never keeps the program from being looked for.

use std::collections::{BTreeSet, VecDeque};
use std::fmt::{self, Write as _};
use std::fs::DirEntry;
use std::io;
use std::mem::MaybeUninit;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mfe_common::escape::{cut, printable};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, RawDir, openat, readlinkat};
use rustix::io::{Errno, pread, read, retry_on_intr};

use super::executable::{Executable, is_the_file};
use super::patient::{Answer, PatientReader};
use super::reading::{Comm, Reading};
use super::sighting::{Alive, Difference, Identity, Impostor, RunState, Sighting, Zombie};
use super::stat::{Stat, Status};
use super::users::effective_user;
use super::verdicts::{Key, Verdict, Verdicts};
use super::{ProcessId, ProcessName, Target};
use crate::sys::exit_status::ExitStatus;
use crate::sys::host::Moment;
use crate::sys::user::name_of as user_name;
use crate::text::phrase::{Phrase, phrase};

/// So much of the directory is read at once, in bytes.
const ENTRIES: usize = 8 * 1024;

/// Readings for one look. On a machine that starts programs without pause none is undisturbed;
/// three in a row that all met nobody are an answer.
const MAX_SCANS: u32 = 3;

/// Arguments that are looked at for a long name: `interpreter [option] script`.
const ARGUMENTS_WITH_A_NAME: usize = 3;

/// More of a process's arguments than this isn't read, in bytes.
const CMDLINE_MAX: usize = 64 * 1024;

/// More of them isn't read for the sake of a name, in bytes: three paths.
const NAME_MAX: usize = 3 * 4096;

/// No status is longer, in bytes: it lists a process's groups, of which there are at most 65,536.
const STATUS_MAX: usize = 1024 * 1024;

/// As much is judged in one slice of a look, in bytes: arguments that are matched, and a status that is
/// longer than any honest one. Others have their turn before the next slice.
const SLICE: usize = 64 * 1024;

/// For how long it may stay open what a process is. A program has no arguments for a moment while it
/// takes another's place (execve(2)).
const DOUBT_MAX: Duration = Duration::from_secs(5);

/// More doubtful processes aren't told apart.
const DOUBTS_MAX: usize = 64;

/// So many threads of a process are looked at for one that lives.
const THREADS_MAX: usize = 64;

/// More of a path isn't told, in characters.
const PATH_MAX: usize = 200;

/// The pause before the next reading when a process is just becoming another program. The service's
/// one thread stands still meanwhile, once or twice in a look.
const BECOMING: Duration = Duration::from_millis(5);

/// For how many looks a process is young.
const YOUNG_LOOKS: usize = 3;

/// With more young processes than this, reading the whole table is no dearer.
const MAX_YOUNG: i32 = 1000;

/// Why a look gave no answer. It says nothing about the process.
#[derive(Debug, Clone)]
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
    /// It is still being read.
    Slow,
    /// There is more to judge than is judged at once.
    Unfinished,
}

/// The same kind of failure, though perhaps met at another process: not worth a new message.
impl PartialEq for LookError {
    fn eq(&self, other: &Self) -> bool {
        self.problem == other.problem
    }
}

impl LookError {
    /// Whether the look has done a part of its work, and is to be made again at once, after whatever else
    /// is due.
    #[must_use]
    pub fn is_unfinished(&self) -> bool {
        self.problem == Unreadable::Unfinished
    }

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
                phrase!(
                    "%{file} isn't in the format that proc(5) describes",
                    file = path
                )
            }
            Unreadable::Incomplete => phrase!(
                "%{folder} doesn't show every process: pid 1 is missing (mounted with hidepid?)",
                folder = path
            ),
            Unreadable::NoArguments => phrase!(
                "%{file} is still empty although the process is alive, so it is unknown which program it is",
                file = path
            ),
            Unreadable::Slow => phrase!(
                "%{file} doesn't answer, so it is unknown which program it is",
                file = path
            ),
            Unreadable::Unfinished => phrase!(
                "%{folder} has so many processes of the name that they are still being looked at",
                folder = path
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

/// Whether a process has the whole of a long name.
enum Named {
    Yes,
    No,
    Open(Unreadable),
}

/// What is found out about a process.
enum Judgement {
    Is(Verdict),
    /// It has vanished, or is just becoming another program, or gives no answer.
    Open(Unreadable),
}

/// What a look is for.
#[derive(Clone, Copy)]
struct Sought<'a> {
    target: &'a Target,
    /// The processes that are known.
    known: &'a [ProcessId],
    /// Of a look before a start, whoever doesn't count.
    before_start: Option<&'a BTreeSet<i32>>,
}

impl<'a> Sought<'a> {
    fn by_service(target: &'a Target, known: &'a [ProcessId]) -> Self {
        Self {
            target,
            known,
            before_start: None,
        }
    }
}

/// In which letters a process has to have a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Letters {
    AsWritten,
    /// In upper or lower case.
    Any,
}

/// What a living process runs.
struct Program {
    pid: i32,
    /// Where in the directory of the process: nothing, or `task/TID/`.
    directory: String,
    /// Its effective user, and the one who has started it.
    uid: Option<u32>,
    real_uid: Option<u32>,
}

/// What is known of an executable by its link in /proc.
enum Exe {
    Path(Vec<u8>),
    /// Longer than any path that can be asked for.
    TooLong,
    /// The process has vanished, or is one of the kernel's.
    Gone,
}

/// The arguments of a process, as far as they are read.
enum Cmdline {
    Read {
        text: Vec<u8>,
        /// Whether there are more.
        is_cut: bool,
    },
    /// They are still being read.
    Slow,
    Gone,
}

impl Program {
    fn of(pid: i32, status: &Status) -> Self {
        Self {
            pid,
            directory: String::new(),
            uid: status.uid,
            real_uid: status.real_uid,
        }
    }

    /// Whether it is nobody's who can become another user without another program (credentials(7)).
    fn is_strangers(&self) -> bool {
        let is_stranger = |uid: Option<u32>| uid.is_some_and(|uid| uid != 0);
        is_stranger(self.uid) && self.real_uid == self.uid && self.directory.is_empty()
    }

    /// Its user as a person is told: the one who has started it, and another one whose rights it has.
    fn user(&self) -> String {
        let name = |uid: u32| user_name(uid).unwrap_or_else(|| uid.to_string());
        match (self.real_uid, self.uid) {
            (Some(real), Some(uid)) if real != uid => {
                format!("{} (euid {})", name(real), name(uid))
            }
            (_, Some(uid)) => name(uid),
            _ => "?".to_owned(),
        }
    }

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
    /// What every look begins with: opened once, and again after a look that failed.
    opened: Option<Opened>,
    /// Reused by every reading of the whole table, so that one costs no memory per process.
    entries: Vec<MaybeUninit<u8>>,
    buffer: Vec<u8>,
    path: String,
    /// The last pid handed out at each of the latest looks, the oldest first.
    last_pids: VecDeque<i32>,
    /// Whether a confirmation goes on as a look.
    is_confirming: bool,
    /// A process of which it was open what it is, since the last [`Self::scan`] began, and why.
    doubtful: Option<(i32, Unreadable)>,
    /// Since when that is so, of the processes and of looks as such.
    doubts: Vec<(ProcessId, Instant)>,
    in_doubt_since: Option<Instant>,
    /// What was found out about processes that had to be judged by more than is cheap.
    verdicts: Verdicts,
    reader: PatientReader,
    /// How much may be judged in this slice of a look, and how much of that is used up, in bytes.
    slice: usize,
    spent: usize,
}

impl ProcessTable {
    /// The table below `root`, which is `/proc` or a tree like it.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            opened: None,
            entries: Vec::new(),
            buffer: vec![0; 4 * 1024],
            path: String::new(),
            last_pids: VecDeque::with_capacity(YOUNG_LOOKS),
            is_confirming: false,
            doubtful: None,
            doubts: Vec::new(),
            in_doubt_since: None,
            verdicts: Verdicts::default(),
            reader: PatientReader::default(),
            slice: SLICE,
            spent: 0,
        }
    }

    /// Finds all processes of `target` in the watchdog's own PID namespace, however long that takes.
    ///
    /// A zombie is dead unless other threads of it live on: then the program still runs.
    ///
    /// # Errors
    /// When anything that could be such a process couldn't be looked at.
    pub fn look(&mut self, target: &Target) -> Result<Sighting, LookError> {
        self.begin_slice(target, usize::MAX);
        let sought = Sought::by_service(target, &[]);
        self.with_opened(|table, opened| table.look_at_known(opened, sought, None))
    }

    /// Finds who stands against a start of `target`, but for `ours`, by pid: whoever lives and is meant, in
    /// whatever upper and lower case letters it has the name, or is refused only by a rule that was less
    /// strict once ([`Difference::is_strict`]). Of the others no more is read than it takes to rule them out:
    /// of a stranger where `user` is set, the owner of one folder.
    ///
    /// # Errors
    /// As [`Self::look`].
    pub fn look_before_start(
        &mut self,
        target: &Target,
        ours: &BTreeSet<i32>,
    ) -> Result<Vec<ProcessId>, LookError> {
        self.begin_slice(target, usize::MAX);
        let sought = Sought {
            target,
            known: &[],
            before_start: Some(ours),
        };
        let sighting = self.with_opened(|table, opened| table.look_at_all(opened, sought, None))?;
        Ok(sighting.alive.into_iter().map(|alive| alive.id).collect())
    }

    /// The same by a reading for all, and finds those of the processes `known` that live, whatever they are
    /// called and run by now: a process is its pid and start time. Makes one slice of a look that has much to
    /// judge.
    ///
    /// # Errors
    /// As [`Self::look`], and where another slice is needed.
    pub fn look_for(
        &mut self,
        target: &Target,
        known: &[ProcessId],
        reading: &Reading,
    ) -> Result<Sighting, LookError> {
        self.begin_slice(target, SLICE);
        let sought = Sought::by_service(target, known);
        let sighting =
            self.with_opened(|table, opened| table.look_at_known(opened, sought, Some(reading)))?;
        if std::mem::take(&mut self.is_confirming) {
            self.remember(reading.last_pid);
        }
        Ok(sighting)
    }

    /// Reads once, of all processes, which have one of these names; `comms` is sorted.
    ///
    /// # Errors
    /// When the table, or the name of a process in it, couldn't be read.
    pub fn read_names(&mut self, comms: &[Comm]) -> Result<Reading, LookError> {
        let begin = (Moment::now(), Instant::now());
        self.with_opened(|table, opened| {
            let root = opened.directory.as_fd();
            let last_pid = table.last_pid(opened);
            let mut found = Vec::new();
            table.scan_all(root, |table, pid| {
                if let Some(comm) = table.read(root, pid, "comm")?.map(Comm::of) {
                    if comms.binary_search(&comm).is_ok() {
                        found.push((comm, pid));
                    }
                }
                Ok(())
            })?;
            Ok(Reading::new(begin, last_pid, found))
        })
    }

    fn begin_slice(&mut self, target: &Target, bytes: usize) {
        (self.slice, self.spent) = (bytes, 0);
        self.verdicts.are_for(target);
    }

    fn look_at_known(
        &mut self,
        opened: &Opened,
        sought: Sought<'_>,
        reading: Option<&Reading>,
    ) -> Result<Sighting, LookError> {
        let mut sighting = self.look_at_all(opened, sought, reading)?;
        let root = opened.directory.as_fd();
        for id in sought.known {
            if sighting.alive.iter().any(|alive| alive.id == *id) {
                continue;
            }
            if let Some((alive, named)) = self.confirm_one(root, *id, &sought.target.name)? {
                sighting.add_known(alive, named);
            }
        }
        sighting.sort(sought.known);
        Ok(sighting)
    }

    fn look_at_all(
        &mut self,
        opened: &Opened,
        sought: Sought<'_>,
        reading: Option<&Reading>,
    ) -> Result<Sighting, LookError> {
        let root = opened.directory.as_fd();
        let (mut before, mut sighting) = if let Some(reading) = reading {
            (reading.last_pid, self.examine_found(root, sought, reading)?)
        } else {
            (self.last_pid(opened), self.scan(root, sought)?)
        };
        for _ in 1..MAX_SCANS {
            let now = self.last_pid(opened);
            let undisturbed = now.is_some() && now == before && self.doubtful.is_none();
            if undisturbed || !sighting.alive.is_empty() {
                break;
            }
            if self.doubtful.is_some() {
                std::thread::sleep(BECOMING);
            }
            // Whoever was there before has been met, or has died. Its heirs are among the new pids,
            // unless the kernel has begun again with the lowest.
            sighting = match young_between(before, now) {
                Some(young) if self.doubtful.is_none() => {
                    let known = &[];
                    let sought = Sought { known, ..sought };
                    self.examine_all(root, young, sought, sighting)?
                }
                _ => self.scan(root, sought)?,
            };
            before = now;
        }
        match self.doubtful {
            Some((pid, why)) if sighting.alive.is_empty() => {
                self.in_doubt_since.get_or_insert_with(Instant::now);
                Err(self.error(&format!("{pid}/cmdline"), why))
            }
            _ => {
                self.in_doubt_since = None;
                Ok(sighting)
            }
        }
    }

    /// The same, at the price of a few small reads while nothing has happened: confirms that the
    /// processes `known` live on, and reads only those that are young besides. A process that takes
    /// the name long after its birth is met by the next [`Self::look`], and so is the change of one
    /// that is known into another program of the same name. `None` if it takes [`Self::look_for`] to tell:
    /// who is young isn't known, or all of them have ended.
    ///
    /// # Errors
    /// As [`Self::look_for`].
    pub fn confirm(
        &mut self,
        target: &Target,
        known: &[ProcessId],
    ) -> Result<Option<Sighting>, LookError> {
        self.begin_slice(target, SLICE);
        let sought = Sought::by_service(target, known);
        self.with_opened(|table, opened| table.confirm_all(opened, sought))
    }

    fn confirm_all(
        &mut self,
        opened: &Opened,
        sought: Sought<'_>,
    ) -> Result<Option<Sighting>, LookError> {
        let last = self.last_pid(opened);
        // Until it is known who was young at the earlier looks, somebody may have been met between fork
        // and exec, and is not young any more.
        let young = young_between(self.last_pids.front().copied(), last);
        let is_remembered = self.last_pids.len() >= YOUNG_LOOKS - 1;
        let confirmed = match young.filter(|_| is_remembered) {
            Some(young) => self.confirm_known(opened, young, sought)?,
            None => None,
        };
        // Of a slice the same are young in the next one.
        self.is_confirming = confirmed.is_none();
        if confirmed.is_some() {
            self.remember(last);
        }
        Ok(confirmed)
    }

    fn confirm_known(
        &mut self,
        opened: &Opened,
        young: RangeInclusive<i32>,
        sought: Sought<'_>,
    ) -> Result<Option<Sighting>, LookError> {
        let root = opened.directory.as_fd();
        let mut confirmed = Sighting {
            alive: Vec::with_capacity(sought.known.len()),
            ..Sighting::default()
        };
        for id in sought.known {
            if let Some((alive, named)) = self.confirm_one(root, *id, &sought.target.name)? {
                confirmed.add_known(alive, named);
            }
        }
        // Where one lives on nobody is absent, and whoever has taken another's place is young.
        if confirmed.alive.is_empty() {
            return Ok(None);
        }
        self.examine_all(root, young, sought, confirmed).map(Some)
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
            match self.status(root, id)? {
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
                let status = self.status(root, id)?.unwrap_or_default();
                let program = Program::of(id.pid, &status);
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
        sought: Sought<'_>,
        mut sighting: Sighting,
    ) -> Result<Sighting, LookError> {
        for pid in pids {
            if sought.known.iter().all(|id| id.pid != pid) {
                self.examine(root, pid, sought, &mut sighting)?;
            }
        }
        sighting.sort(sought.known);
        Ok(sighting)
    }

    /// Whoever was found in a reading for all.
    fn examine_found(
        &mut self,
        root: BorrowedFd<'_>,
        sought: Sought<'_>,
        reading: &Reading,
    ) -> Result<Sighting, LookError> {
        let Sought { target, known, .. } = sought;
        self.doubtful = None;
        let mut sighting = Sighting::default();
        for pid in reading.of(&target.name) {
            if !self.is_known_stranger(root, pid, target, known, &mut sighting)? {
                self.examine_namesake(root, pid, sought, &mut sighting)?;
            }
        }
        sighting.sort(known);
        Ok(sighting)
    }

    /// Notes the last pid of a look. The pids that were handed out since a few looks ago are young: long
    /// enough for a start script to become its program.
    fn remember(&mut self, last: Option<i32>) {
        let Some(last) = last else {
            return;
        };
        if self.last_pids.len() == YOUNG_LOOKS {
            self.last_pids.pop_front();
        }
        self.last_pids.push_back(last);
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
    fn scan(&mut self, root: BorrowedFd<'_>, sought: Sought<'_>) -> Result<Sighting, LookError> {
        self.doubtful = None;
        let mut sighting = Sighting::default();
        self.scan_all(root, |table, pid| {
            table.examine(root, pid, sought, &mut sighting)
        })?;
        sighting.sort(sought.known);
        Ok(sighting)
    }

    fn scan_all(
        &mut self,
        root: BorrowedFd<'_>,
        mut each: impl FnMut(&mut Self, i32) -> Result<(), LookError>,
    ) -> Result<(), LookError> {
        let mut saw_init = false;
        // The directory's buffer is lent out while its entries are examined.
        let mut entries = std::mem::take(&mut self.entries);
        entries.resize(ENTRIES, MaybeUninit::uninit());
        let scanned = self.scan_entries(root, &mut entries, |table, pid| {
            saw_init |= pid == 1;
            each(table, pid)
        });
        self.entries = entries;
        scanned?;
        if saw_init {
            Ok(())
        } else {
            Err(self.error("", Unreadable::Incomplete))
        }
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

    /// Takes in what a process is. Reads the cheapest file that can rule it out first.
    fn examine(
        &mut self,
        root: BorrowedFd<'_>,
        pid: i32,
        sought: Sought<'_>,
        sighting: &mut Sighting,
    ) -> Result<(), LookError> {
        let Sought { target, known, .. } = sought;
        let name = &target.name;
        let is_settled = match sought.before_start {
            Some(ours) => ours.contains(&pid) || is_ruled_out(root, pid, target),
            None => self.is_known_stranger(root, pid, target, known, sighting)?,
        };
        if is_settled {
            return Ok(());
        }
        let Some(comm) = self.read(root, pid, "comm")? else {
            return Ok(());
        };
        if !comm
            .strip_suffix(b"\n")
            .unwrap_or(comm)
            .eq_ignore_ascii_case(name.comm())
        {
            return Ok(());
        }
        self.examine_namesake(root, pid, sought, sighting)
    }

    /// The same of one that had the name a moment ago.
    fn examine_namesake(
        &mut self,
        root: BorrowedFd<'_>,
        pid: i32,
        sought: Sought<'_>,
        sighting: &mut Sighting,
    ) -> Result<(), LookError> {
        let Sought { target, known, .. } = sought;
        let name = &target.name;
        let Some(stat) = self.stat(root, pid)? else {
            return Ok(());
        };
        // It may have been renamed, or its pid reused, between the two reads.
        if !stat.comm.eq_ignore_ascii_case(name.comm()) {
            return Ok(());
        }
        let near = (stat.comm != name.comm()).then(|| stat.comm.to_vec());
        let id = ProcessId {
            pid,
            start_time: stat.start_time,
        };
        let (parent, state, arg_start) = (stat.parent, stat.state, stat.arg_start);
        let (is_dead, exit_code) = (stat.is_dead(), stat.exit_code);
        let main_thread_is_dead = stat.main_thread_is_dead();
        let Some(status) = self.status(root, id)? else {
            return Ok(());
        };
        if is_thread(pid, &status) || is_dead && (near.is_some() || is_inside(&status)) {
            return Ok(());
        }
        if is_dead {
            // Whoever may not trace the process reads a 0 there, which therefore means nothing.
            let wait_status = exit_code.filter(|status| *status != 0);
            let exit_status = wait_status.map(ExitStatus::from_wait_status);
            sighting.add_zombie(Zombie { id, exit_status }, known);
            return Ok(());
        }
        let mut program = Program::of(pid, &status);
        let mut add = |table: &Self, program: &Program, comm: &[u8], difference: Difference| {
            if known.contains(&id) || sighting.wants(program.uid, difference.is_near()) {
                let impostor = table.lookalike(root, id, program, comm, difference);
                sighting.add_impostor(impostor);
            }
        };
        let difference = match &near {
            Some(_) => Some(Difference::Case),
            None => is_inside(&status).then_some(Difference::Namespace),
        };
        let (difference, letters) = match (difference, sought.before_start) {
            (Some(Difference::Case), Some(_)) if !is_inside(&status) => (None, Letters::Any),
            (difference, _) => (difference, Letters::AsWritten),
        };
        if let Some(difference) = difference {
            let comm = near.as_deref().unwrap_or(name.comm());
            add(self, &program, comm, difference);
            return Ok(());
        }
        if main_thread_is_dead {
            program.directory = self.living_thread(root, pid)?;
        }
        let alive = Alive {
            id,
            parent,
            uid: status.uid,
            state: run_state(state, &status),
        };
        match self.verdict(root, id, arg_start, &program, (target, letters))? {
            Verdict::Meant => sighting.add_alive(alive, known),
            Verdict::Other(difference) if sought.before_start.is_some() => {
                if difference.is_strict() {
                    sighting.add_alive(alive, known);
                }
            }
            Verdict::Other(difference) => add(self, &program, name.comm(), difference),
            Verdict::AnotherName => {}
        }
        Ok(())
    }

    /// Whether a process is one of a stranger's that was judged before and is still the same; takes it in. Of
    /// a crowd this is all that is read.
    fn is_known_stranger(
        &mut self,
        root: BorrowedFd<'_>,
        pid: i32,
        target: &Target,
        known: &[ProcessId],
        sighting: &mut Sighting,
    ) -> Result<bool, LookError> {
        let Some((key, difference)) = self.verdicts.stranger(pid) else {
            return Ok(false);
        };
        let is_same = self.stat(root, pid)?.is_some_and(|stat| {
            stat.comm == target.name.comm()
                && stat.start_time == key.id.start_time
                && stat.arg_start == key.arg_start
                && !stat.main_thread_is_dead()
        });
        let exe = || Executable::of(root, &format!("{pid}/exe")).ok();
        if !is_same || exe().map(|exe| (exe.device, exe.inode)) != key.exe {
            return Ok(false);
        }
        let (real_uid, uid) = key.uids;
        if known.contains(&key.id) || sighting.wants(uid, false) {
            let program = Program {
                pid,
                directory: String::new(),
                uid,
                real_uid,
            };
            let comm = target.name.comm();
            sighting.add_impostor(self.lookalike(root, key.id, &program, comm, difference));
        }
        Ok(true)
    }

    /// What a living process of the name is: as it was found out before, where that was dear and nothing
    /// has changed about it.
    fn verdict(
        &mut self,
        root: BorrowedFd<'_>,
        id: ProcessId,
        arg_start: u64,
        program: &Program,
        (target, letters): (&Target, Letters),
    ) -> Result<Verdict, LookError> {
        let is_dear = needs_arguments(target);
        let is_stranger = program.is_strangers() && arg_start != 0 && target.has_rules();
        let key = (is_dear || is_stranger).then(|| {
            let exe = Executable::of(root, &program.file("exe")).ok();
            Key {
                id,
                arg_start,
                uids: (program.real_uid, program.uid),
                exe: exe.map(|exe| (exe.device, exe.inode)),
            }
        });
        let before = key.as_ref().filter(|_| is_dear);
        if let Some(verdict) = before.and_then(|key| self.verdicts.get(key)) {
            return Ok(verdict);
        }
        let doubt = match self.judge(root, id, program, (target, letters))? {
            Judgement::Is(verdict) => {
                self.doubts.retain(|(known, _)| *known != id);
                if let Some(key) = key {
                    self.verdicts.remember(key, verdict);
                }
                return Ok(verdict);
            }
            Judgement::Open(doubt) => doubt,
        };
        // One that has ended has no exe either.
        if matches!(self.exe(root, program)?, Exe::Gone) {
            return Ok(Verdict::AnotherName);
        }
        // What its own user can have brought about ends; of root's it is waited for an answer.
        let is_roots = program.uid == Some(0) && program.real_uid == Some(0);
        if self.is_doubt_over(id, is_roots) && !(is_roots && doubt == Unreadable::Slow) {
            return Ok(Verdict::Other(Difference::Unreadable));
        }
        self.doubtful = Some((id.pid, doubt));
        Ok(Verdict::AnotherName)
    }

    /// Whether it has been open long enough what a process is.
    fn is_doubt_over(&mut self, id: ProcessId, is_roots: bool) -> bool {
        let now = Instant::now();
        let is_over = |since: Instant| now.duration_since(since) >= DOUBT_MAX;
        // Those that come and go, each for a moment, are no better than one that stays.
        if !is_roots && self.in_doubt_since.is_some_and(is_over) {
            return true;
        }
        if let Some((_, since)) = self.doubts.iter().find(|(known, _)| *known == id) {
            return is_over(*since);
        }
        if self.doubts.len() >= DOUBTS_MAX {
            // Those of earlier looks have been settled, or are over.
            self.doubts.retain(|(_, since)| !is_over(*since));
        }
        let has_room = self.doubts.len() < DOUBTS_MAX;
        if has_room {
            self.doubts.push((id, now));
        }
        !has_room && !is_roots
    }

    /// Whether a living process of the name is what `target` means. The tests that cost little come first.
    fn judge(
        &mut self,
        root: BorrowedFd<'_>,
        id: ProcessId,
        program: &Program,
        (target, letters): (&Target, Letters),
    ) -> Result<Judgement, LookError> {
        let is_named = match self.has_whole_name(root, id, program, (target, letters))? {
            Named::Yes => self.qualifies(root, id, program, target)?,
            Named::No => return Ok(Judgement::Is(Verdict::AnotherName)),
            Named::Open(doubt) => return Ok(Judgement::Open(doubt)),
        };
        let Judgement::Is(Verdict::Other(_)) = is_named else {
            return Ok(is_named);
        };
        // Whoever a namesake means is no impostor.
        for namesake in &target.namesakes {
            let is_namesake = match self.has_whole_name(root, id, program, (namesake, letters))? {
                Named::Yes => self.qualifies(root, id, program, namesake)?,
                Named::No => continue,
                Named::Open(doubt) => Judgement::Open(doubt),
            };
            if !matches!(is_namesake, Judgement::Is(Verdict::Other(_))) {
                return Ok(Judgement::Is(Verdict::AnotherName));
            }
        }
        Ok(is_named)
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
        for thread in threads.into_iter().take(THREADS_MAX) {
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
        &mut self,
        root: BorrowedFd<'_>,
        id: ProcessId,
        program: &Program,
        (target, letters): (&Target, Letters),
    ) -> Result<Named, LookError> {
        let name = &target.name;
        if !name.is_longer_than_comm() {
            return Ok(Named::Yes);
        }
        let is_name_of = |program: &[u8]| match letters {
            Letters::AsWritten => name.is_base_name_of(program),
            Letters::Any => name.is_base_name_in_any_letters_of(program),
        };
        let exe = self.exe(root, program);
        if let Ok(Exe::Path(exe)) = &exe {
            if is_name_of(exe) {
                return Ok(Named::Yes);
            }
        }
        // Nobody reads the arguments of somebody else's whom the rules refuse anyway.
        if self.is_refused_by_user(program, target)? {
            return Ok(Named::No);
        }
        let (arguments, is_cut) = match self.cmdline(root, id, program, NAME_MAX)? {
            Cmdline::Read { text, is_cut } => (text, is_cut),
            Cmdline::Slow => return Ok(Named::Open(Unreadable::Slow)),
            Cmdline::Gone => return Ok(Named::No),
        };
        let mut arguments = arguments
            .split(|byte| *byte == 0)
            .take(ARGUMENTS_WITH_A_NAME);
        // A name may begin where the text is cut.
        if !is_cut && arguments.any(is_name_of) {
            return Ok(Named::Yes);
        }
        // Neither says so; but one of them may have been closed to us.
        exe.map(|_| Named::No)
    }

    /// Whether the rules refuse the user of a process.
    fn is_refused_by_user(&self, program: &Program, target: &Target) -> Result<bool, LookError> {
        match &target.user {
            Some(user) => Ok(user.uid != self.uid(program)?),
            None => Ok(false),
        }
    }

    /// Whether a process of the name is what `target` means.
    fn qualifies(
        &mut self,
        root: BorrowedFd<'_>,
        id: ProcessId,
        program: &Program,
        target: &Target,
    ) -> Result<Judgement, LookError> {
        let other = |difference| Ok(Judgement::Is(Verdict::Other(difference)));
        if self.is_refused_by_user(program, target)? {
            return other(Difference::User);
        }
        let mut strict = None;
        if let Some(user) = &target.user {
            let is_others = program.real_uid.is_some_and(|real| real != user.uid);
            strict = is_others.then_some(Difference::RealUser);
        }
        if let Some(pattern) = &target.exe {
            match self.exe(root, program)? {
                Exe::Path(exe) if pattern.matches(&exe) => {
                    if !is_the_file(root, &program.file("exe"), &exe) {
                        strict = strict.or(Some(Difference::File));
                    }
                }
                Exe::Path(_) | Exe::TooLong => return other(Difference::Exe),
                Exe::Gone => return Ok(Judgement::Open(Unreadable::NoArguments)),
            }
        }
        if let Some(pattern) = &target.cmdline {
            match self.cmdline(root, id, program, CMDLINE_MAX)? {
                Cmdline::Read { text, .. } if text.is_empty() => {
                    return Ok(Judgement::Open(Unreadable::NoArguments));
                }
                Cmdline::Read { text, is_cut } => {
                    self.spend(text.len())?;
                    if !pattern.matches(&text) {
                        return other(Difference::Cmdline);
                    }
                    if is_cut {
                        strict = strict.or(Some(Difference::LongCmdline));
                    }
                }
                Cmdline::Slow => return Ok(Judgement::Open(Unreadable::Slow)),
                Cmdline::Gone => return Ok(Judgement::Open(Unreadable::NoArguments)),
            }
        }
        Ok(Judgement::Is(strict.map_or(Verdict::Meant, Verdict::Other)))
    }

    /// Takes so many bytes out of the slice.
    ///
    /// # Errors
    /// When it is used up. Whatever is judged first in a slice is judged, whatever it costs.
    fn spend(&mut self, bytes: usize) -> Result<(), LookError> {
        if self.spent > 0 && self.spent.saturating_add(bytes) > self.slice {
            return Err(self.error("", Unreadable::Unfinished));
        }
        self.spent = self.spent.saturating_add(bytes);
        Ok(())
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
        Impostor {
            id,
            uid: program.uid,
            user: program.user(),
            path: self.path_of(root, program, &name),
            name,
            difference,
        }
    }

    /// The path of a program as it is told; as ps(1) shows a process whose program is unknown.
    fn path_of(&self, root: BorrowedFd<'_>, program: &Program, name: &str) -> String {
        match self.exe(root, program) {
            Ok(Exe::Path(exe)) => cut(&printable(&String::from_utf8_lossy(&exe)), PATH_MAX),
            Ok(Exe::Gone | Exe::TooLong) | Err(_) => format!("[{name}]"),
        }
    }

    /// Whose a process is and what it runs; `None` when it has ended, or can't be looked at.
    pub fn identify(&mut self, id: ProcessId) -> Option<Identity> {
        let identified = self.with_opened(|table, opened| {
            let root = opened.directory.as_fd();
            let Some(stat) = table.stat(root, id.pid)? else {
                return Ok(None);
            };
            if stat.start_time != id.start_time || stat.is_dead() {
                return Ok(None);
            }
            let name = printable(&String::from_utf8_lossy(stat.comm));
            let Some(status) = table.status(root, id)? else {
                return Ok(None);
            };
            let program = Program::of(id.pid, &status);
            let exe = Executable::of(root, &program.file("exe"));
            let path = table.path_of(root, &program, &name);
            Ok(Some(Identity {
                pid: id.pid,
                uid: program.uid,
                real_uid: program.real_uid,
                user: program.user(),
                path: path.strip_suffix(" (deleted)").unwrap_or(&path).to_owned(),
                owner: exe.ok().map(|exe| exe.owner),
            }))
        });
        identified.ok().flatten()
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

    /// proc(5), /proc/PID/status; `None` when the process has vanished. A list of groups that is longer than
    /// any honest one pushes what comes after it out of the first reading.
    fn status(&mut self, root: BorrowedFd<'_>, id: ProcessId) -> Result<Option<Status>, LookError> {
        let Some(length) = self.fill(root, id.pid, "status")? else {
            return Ok(None);
        };
        let mut status = Status::parse(&self.buffer[..length]);
        if length < self.buffer.len() || status.namespaces.is_some() {
            return Ok(Some(status));
        }
        // In which namespace a process is never changes (pid_namespaces(7)).
        if let Some(namespaces) = self.verdicts.namespaces(id) {
            status.namespaces = Some(namespaces);
            return Ok(Some(status));
        }
        let path = format!("{}/status", id.pid);
        let mut text = Vec::new();
        match read_up_to(root, &path, STATUS_MAX, &mut text) {
            Ok(()) => {}
            Err(Errno::NOENT | Errno::SRCH) => return Ok(None),
            Err(errno) => return Err(self.error(&path, Unreadable::Io(errno))),
        }
        self.spend(text.len())?;
        status = Status::parse(&text);
        if let Some(namespaces) = status.namespaces {
            self.verdicts.remember_namespaces(id, namespaces);
        }
        Ok(Some(status))
    }

    /// proc(5), /proc/PID/exe. It doesn't hang, whatever lies there.
    fn exe(&self, root: BorrowedFd<'_>, program: &Program) -> Result<Exe, LookError> {
        let link = program.file("exe");
        match readlinkat(root, &link, Vec::new()) {
            Ok(exe) => Ok(Exe::Path(exe.into_bytes())),
            Err(Errno::NOENT | Errno::SRCH) => Ok(Exe::Gone),
            // A path may be longer than can be told.
            Err(Errno::NAMETOOLONG) => Ok(Exe::TooLong),
            Err(errno) => Err(self.error(&link, Unreadable::Io(errno))),
        }
    }

    /// proc(5), /proc/PID/cmdline, up to so many bytes.
    fn cmdline(
        &mut self,
        root: BorrowedFd<'_>,
        id: ProcessId,
        program: &Program,
        most: usize,
    ) -> Result<Cmdline, LookError> {
        let file = program.file("cmdline");
        let opened = match open_file(root, &file) {
            Ok(opened) => opened,
            Err(Errno::NOENT | Errno::SRCH) => return Ok(Cmdline::Gone),
            Err(errno) => return Err(self.error(&file, Unreadable::Io(errno))),
        };
        match self.reader.read(id, opened, most + 1) {
            Answer::NotYet => Ok(Cmdline::Slow),
            Answer::Read(Ok(mut text)) => {
                let is_cut = text.len() > most;
                text.truncate(most);
                Ok(Cmdline::Read { text, is_cut })
            }
            Answer::Read(Err(error)) if has_vanished(&error) => Ok(Cmdline::Gone),
            Answer::Read(Err(error)) => Err(self.io_error(&file, &error)),
        }
    }

    /// The last pid that the kernel has handed out (proc(5), /proc/loadavg).
    fn last_pid(&mut self, opened: &Opened) -> Option<i32> {
        let loadavg = opened.loadavg.as_ref()?;
        // Read from its begin, the kernel renders it again.
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

/// Whether the rules refuse a process by the least that has to be read of it, whatever it is called. What
/// can't be told so leaves it open.
fn is_ruled_out(root: BorrowedFd<'_>, pid: i32, target: &Target) -> bool {
    let is_refused = target.user.as_ref().is_some_and(|user| {
        let uid = effective_user(root, pid);
        uid.is_ok_and(|uid| uid != user.uid)
    });
    is_refused
        || target.exe.as_ref().is_some_and(|pattern| {
            let exe = readlinkat(root, format!("{pid}/exe"), Vec::new());
            exe.is_ok_and(|exe| !pattern.matches(exe.as_bytes()))
        })
}

/// Whether the arguments of a process have a part in what it is.
fn needs_arguments(target: &Target) -> bool {
    let needs = |target: &Target| target.cmdline.is_some() || target.name.is_longer_than_comm();
    needs(target) || target.namesakes.iter().any(needs)
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
/// told, as when the kernel has begun again with the lowest free pid, or are too many.
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

/// Reads a file that is longer than one call gives, up to so many bytes.
fn read_up_to(
    root: BorrowedFd<'_>,
    file: &str,
    most: usize,
    text: &mut Vec<u8>,
) -> Result<(), Errno> {
    let file = open_file(root, file)?;
    let mut part = [0; 16 * 1024];
    while text.len() < most {
        match retry_on_intr(|| read(&file, &mut part))? {
            0 => break,
            length => text.extend_from_slice(&part[..length]),
        }
    }
    Ok(())
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
