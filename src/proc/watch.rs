//! Tells when a known process ends: at once through pidfds (`pidfd_open(2)`, Linux 5.3), and where the
//! kernel or a sandbox offers none, as on Ubuntu 16.04 and 18.04, by reading the `stat` of each every
//! [`PAUSE`] (proc(5)). It is a hint to look, never an answer; the look is [`super::table`]'s. Whom to watch,
//! and that they aren't many, is up to [`crate::machine`].

use std::future::poll_fn;
use std::task::Poll;
use std::time::{Duration, Instant};

use rustix::fd::OwnedFd;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::{Errno, pread, retry_on_intr};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::unix::AsyncFd;

use super::{ProcessId, ProcessTable, Stat};
use crate::sys::descriptors::is_of_the_reserve;
use crate::sys::timer::{Alarm, next_multiple, readable};

/// How long a death may go unnoticed where the kernel doesn't tell of it. Four times a second each process
/// costs one read, and all of them together one wake-up.
const PAUSE: Duration = Duration::from_millis(250);

/// Longer than the text of any /proc/PID/stat: 52 numbers, and a name of 15 bytes.
const STAT_MAX: usize = 2048;

/// Watches over the processes that are up.
#[derive(Debug)]
pub struct ExitWatches {
    watches: Vec<Watch>,
    /// For the next reading; there once one is needed.
    alarm: Option<Alarm>,
    /// All readings are counted from here, so that tasks wake up together.
    epoch: Instant,
    /// The last reading.
    read_at: Instant,
    /// The last one that has found a process alive.
    read_alive: Option<Instant>,
    /// When the kernel last told of an end.
    told_at: Option<Instant>,
}

#[derive(Debug)]
struct Watch {
    id: ProcessId,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The kernel will tell.
    Watching(AsyncFd<OwnedFd>),
    /// It doesn't: this is the open `stat`, which stays that of this process.
    Reading(OwnedFd),
    /// It had ended before the watch began.
    Ended,
    /// Its end has been told, which is done once; or nothing tells it.
    Silent,
}

impl ExitWatches {
    /// Watches nothing yet. `epoch` is shared by all.
    #[must_use]
    pub fn new(epoch: Instant) -> Self {
        Self {
            watches: Vec::new(),
            alarm: None,
            epoch,
            read_at: epoch,
            read_alive: None,
            told_at: None,
        }
    }

    /// Watches exactly the processes `ids` from now on. Must be called in the runtime.
    pub fn set(&mut self, ids: &[ProcessId], table: &mut ProcessTable) {
        self.watches.retain(|watch| ids.contains(&watch.id));
        for id in ids {
            if !self.watches.iter().any(|watch| watch.id == *id) {
                let state = open(*id, table);
                if matches!(state, State::Reading(_)) {
                    self.alarm.get_or_insert_with(Alarm::new);
                }
                self.watches.push(Watch { id: *id, state });
            }
        }
    }

    /// Waits until one of the processes has ended; forever when none can be watched. Those that have to be
    /// read are read every 250 ms, or every `interval` if that is shorter. May be dropped and called again.
    pub async fn any_exit(&mut self, interval: Duration) {
        loop {
            let next = next_multiple(self.epoch, PAUSE.min(interval), self.read_at);
            let watches = &mut self.watches;
            let is_read = watches
                .iter()
                .any(|watch| matches!(watch.state, State::Reading(_)));
            tokio::select! {
                biased;
                () = told(watches) => {
                    self.told_at = Some(Instant::now());
                    return;
                }
                () = due(self.alarm.as_mut().filter(|_| is_read), next) => {}
            }
            if self.read() {
                return;
            }
        }
    }

    /// Until when one of the processes at least is known to have lived; `None` if nothing tells. Who
    /// `is_late` can't say when it was that the kernel told, or would have told.
    #[must_use]
    pub fn seen_alive(&self, is_late: bool) -> Option<Instant> {
        if is_late {
            return self.read_alive;
        }
        let mut watches = self.watches.iter();
        if watches.any(|watch| matches!(watch.state, State::Watching(_))) {
            return Some(Instant::now());
        }
        self.read_alive.max(self.told_at)
    }

    /// Reads those that have to be read. Says whether one of them has ended.
    fn read(&mut self) -> bool {
        self.read_at = Instant::now();
        let mut has_ended = false;
        for watch in &mut self.watches {
            let State::Reading(stat) = &watch.state else {
                continue;
            };
            if is_over(stat) {
                watch.state = State::Silent;
                has_ended = true;
            } else {
                self.read_alive = Some(self.read_at);
            }
        }
        has_ended
    }
}

/// Waits until the kernel tells of an end.
async fn told(watches: &mut [Watch]) {
    poll_fn(|context| {
        for watch in &mut *watches {
            let ended = match &watch.state {
                State::Watching(pidfd) => pidfd.poll_read_ready(context).is_ready(),
                State::Ended => true,
                State::Reading(_) | State::Silent => false,
            };
            if ended {
                watch.state = State::Silent;
                return Poll::Ready(());
            }
        }
        Poll::Pending
    })
    .await;
}

async fn due(alarm: Option<&mut Alarm>, time: Instant) {
    match alarm {
        Some(alarm) => alarm.at(time).await,
        None => std::future::pending().await,
    }
}

/// Opens a pidfd of this very process: the pid may have passed to another one before, so the
/// start time is read again behind the open descriptor.
fn open(id: ProcessId, table: &mut ProcessTable) -> State {
    let state = match Pid::from_raw(id.pid).map(|pid| pidfd_open(pid, PidfdFlags::empty())) {
        Some(Ok(pidfd)) if is_of_the_reserve(&pidfd) => return State::Silent,
        Some(Ok(pidfd)) => readable(pidfd).map(State::Watching),
        Some(Err(Errno::SRCH)) => return State::Ended,
        Some(Err(_)) | None => None,
    };
    let state = state.or_else(|| open_stat(id.pid).map(State::Reading));
    match (table.contains(id), state) {
        (Ok(true), Some(state)) => state,
        (Ok(false), _) => State::Ended,
        _ => State::Silent,
    }
}

fn open_stat(pid: i32) -> Option<OwnedFd> {
    let path = format!("/proc/{pid}/stat");
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let stat = retry_on_intr(|| openat(CWD, &path, flags, Mode::empty())).ok()?;
    (!is_of_the_reserve(&stat)).then_some(stat)
}

/// Whether nothing lives of the process with this open `stat`: once it is reaped, it can't be read any more,
/// whoever has its pid then. What is unknown is for a look to find out.
fn is_over(stat: &OwnedFd) -> bool {
    let mut text = [0; STAT_MAX];
    match retry_on_intr(|| pread(stat, &mut text[..], 0)) {
        Ok(length) => Stat::parse(&text[..length]).is_some_and(|stat| stat.is_dead()),
        Err(errno) => errno == Errno::SRCH,
    }
}

/// Waits until the process has ended that has this pid now; where the kernel offers no pidfd, by reading
/// its `stat`.
pub async fn exit_of(pid: i32) {
    let Some(raw) = Pid::from_raw(pid) else {
        return;
    };
    match pidfd_open(raw, PidfdFlags::empty()) {
        Ok(pidfd) => {
            if let Some(pidfd) = readable(pidfd) {
                // What it says is that the waiting is over, even if it could not wait.
                let _ = pidfd.readable().await;
                return;
            }
        }
        Err(Errno::SRCH) => return,
        Err(_) => {}
    }
    let Some(stat) = open_stat(pid) else {
        return;
    };
    while !is_over(&stat) {
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use tokio::time::timeout;

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    fn program() -> (Child, ProcessId, ProcessTable) {
        let child = Command::new("sleep").arg("600").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let stat = std::fs::read(format!("/proc/{pid}/stat")).unwrap();
        let start_time = Stat::parse(&stat).unwrap().start_time;
        let id = ProcessId { pid, start_time };
        (child, id, ProcessTable::new("/proc"))
    }

    /// As where the kernel offers no pidfd.
    fn reading(id: ProcessId) -> ExitWatches {
        let mut watches = ExitWatches::new(Instant::now());
        let state = State::Reading(open_stat(id.pid).unwrap());
        watches.watches.push(Watch { id, state });
        watches.alarm = Some(Alarm::new());
        watches
    }

    #[tokio::test]
    async fn what_is_read_is_known_to_have_lived_until_shortly_before_its_end() {
        for is_reaped in [false, true] {
            let (mut child, id, _) = program();
            let mut watches = reading(id);
            assert_eq!(watches.seen_alive(false), None);
            assert!(timeout(PAUSE * 2, watches.any_exit(LONG)).await.is_err());
            let seen = watches.seen_alive(true).unwrap();
            child.kill().unwrap();
            if is_reaped {
                child.wait().unwrap();
            }
            timeout(LONG, watches.any_exit(LONG)).await.unwrap();
            let last = watches.seen_alive(false).unwrap();
            assert!(last >= seen && last < Instant::now());
            let again = timeout(PAUSE * 2, watches.any_exit(LONG)).await;
            assert!(again.is_err(), "it is told once");
            child.wait().unwrap();
        }
    }

    #[tokio::test]
    async fn the_kernel_tells_at_once_but_not_whoever_is_late() {
        let (mut child, id, mut table) = program();
        let mut watches = ExitWatches::new(Instant::now());
        watches.set(&[id], &mut table);
        assert!(matches!(watches.watches[0].state, State::Watching(_)));
        let before = Instant::now();
        assert!(watches.seen_alive(false).unwrap() >= before);
        assert_eq!(watches.seen_alive(true), None);
        child.kill().unwrap();
        timeout(LONG, watches.any_exit(LONG)).await.unwrap();
        let told = watches.seen_alive(false).unwrap();
        assert!(told >= before && told <= Instant::now());
        assert_eq!(watches.seen_alive(true), None);
        child.wait().unwrap();
    }

    #[tokio::test]
    async fn nobody_else_is_taken_for_it() {
        let (mut child, id, mut table) = program();
        let stat = open_stat(id.pid).unwrap();
        assert!(!is_over(&stat));
        let other = ProcessId {
            start_time: id.start_time + 1,
            ..id
        };
        assert!(matches!(open(other, &mut table), State::Ended));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(is_over(&stat));
        assert!(matches!(open(id, &mut table), State::Ended));
    }
}
