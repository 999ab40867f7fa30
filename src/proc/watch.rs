//! Tells at once when a known process ends, through pidfds (`pidfd_open(2)`, Linux 5.3); it is a
//! hint to look, never an answer, and everything works without it, one interval later. Whom to watch, and
//! that they aren't many, is up to [`crate::machine`].

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::unix::AsyncFd;

use super::{ProcessId, ProcessTable};
use crate::sys::descriptors::is_of_the_reserve;
use crate::sys::timer::readable;

/// Watches over the processes that are up.
#[derive(Debug, Default)]
pub struct ExitWatches {
    watches: Vec<Watch>,
}

#[derive(Debug)]
struct Watch {
    id: ProcessId,
    state: State,
}

#[derive(Debug)]
enum State {
    Watching(AsyncFd<OwnedFd>),
    /// It had ended before the watch began.
    Ended,
    /// Its end has been told, which is done once; or the kernel offers no pidfd.
    Silent,
}

impl ExitWatches {
    /// Watches exactly the processes `ids` from now on.
    pub fn set(&mut self, ids: &[ProcessId], table: &mut ProcessTable) {
        self.watches.retain(|watch| ids.contains(&watch.id));
        for id in ids {
            if !self.watches.iter().any(|watch| watch.id == *id) {
                let state = open(*id, table);
                self.watches.push(Watch { id: *id, state });
            }
        }
    }

    /// Waits until one of the processes has ended; forever when none can be watched.
    pub async fn any_exit(&mut self) {
        poll_fn(|context| {
            for watch in &mut self.watches {
                let ended = match &watch.state {
                    State::Watching(pidfd) => pidfd.poll_read_ready(context).is_ready(),
                    State::Ended => true,
                    State::Silent => false,
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
}

/// Opens a pidfd of this very process: the pid may have passed to another one before, so the
/// start time is read again behind the open descriptor.
fn open(id: ProcessId, table: &mut ProcessTable) -> State {
    let pidfd = match Pid::from_raw(id.pid).map(|pid| pidfd_open(pid, PidfdFlags::empty())) {
        Some(Ok(pidfd)) if is_of_the_reserve(&pidfd) => return State::Silent,
        Some(Ok(pidfd)) => pidfd,
        Some(Err(Errno::SRCH)) => return State::Ended,
        Some(Err(_)) | None => return State::Silent,
    };
    match table.contains(id) {
        Ok(true) => readable(pidfd).map_or(State::Silent, State::Watching),
        Ok(false) => State::Ended,
        Err(_) => State::Silent,
    }
}

/// The first pause between two looks at a process that can't be watched; it doubles up to
/// [`LAST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// The longest such pause.
const LAST_PAUSE: Duration = Duration::from_secs(10);

/// Waits until the process of this pid has ended; where the kernel offers no pidfd, by looking.
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
    let directory = format!("/proc/{pid}");
    let mut pause = FIRST_PAUSE;
    while std::fs::symlink_metadata(&directory).is_ok() {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LAST_PAUSE);
    }
}
