//! One reading of the whole process table for all who look at the same time: whoever has asked before it
//! begins gets it. What a look makes of it is in [`super::table`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::{LookError, ProcessName, ProcessTable};
use crate::sys::host::Moment;

/// For how many times as long as it took a reading is good after its end. Meanwhile a process may take the
/// name without a new pid (execve(2)), as it may while the table is read: the longer, the likelier.
const GOOD_FOR: u32 = 3;

/// A name as the kernel keeps it (`TASK_COMM_LEN`), in lower case letters of ASCII.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Comm([u8; ProcessName::COMM_MAX]);

impl Comm {
    /// What /proc/PID/comm says, with or without the end of its line (proc(5)).
    #[must_use]
    pub fn of(comm: &[u8]) -> Self {
        let comm = comm.strip_suffix(b"\n").unwrap_or(comm);
        let length = comm.len().min(ProcessName::COMM_MAX);
        let mut kept = [0; ProcessName::COMM_MAX];
        kept[..length].copy_from_slice(&comm[..length]);
        kept.make_ascii_lowercase();
        Self(kept)
    }
}

/// Who has the names that were asked for.
#[derive(Debug)]
pub struct Reading {
    /// When it began: whoever has not been found wasn't there then.
    pub since: Moment,
    began: Instant,
    ended: Instant,
    /// The last pid that had been handed out when it began.
    pub(super) last_pid: Option<i32>,
    /// By name. There are no more than processes.
    found: Vec<(Comm, i32)>,
}

impl Reading {
    /// What was found since then.
    pub(super) fn new(
        (since, began): (Moment, Instant),
        last_pid: Option<i32>,
        mut found: Vec<(Comm, i32)>,
    ) -> Self {
        found.sort_unstable();
        Self {
            since,
            began,
            ended: Instant::now(),
            last_pid,
            found,
        }
    }

    /// Whoever has a name, in whatever upper and lower case letters, the lowest pid first.
    pub(super) fn of(&self, name: &ProcessName) -> impl Iterator<Item = i32> + '_ {
        let comm = Comm::of(name.comm());
        let first = self.found.partition_point(|(found, _)| *found < comm);
        let found = self.found[first..].iter();
        let found = found.take_while(move |(found, _)| *found == comm);
        found.map(|(_, pid)| *pid)
    }

    /// How long it took.
    #[must_use]
    pub fn took(&self) -> Duration {
        self.ended.duration_since(self.began)
    }

    fn is_good(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.ended) <= self.took() * GOOD_FOR
    }
}

/// The way to ask for one. Each asks again only once it was answered.
#[derive(Debug, Clone)]
pub struct Readings(mpsc::UnboundedSender<Ask>);

#[derive(Debug)]
struct Ask {
    comm: Comm,
    answer: oneshot::Sender<Result<Arc<Reading>, LookError>>,
}

impl Readings {
    /// Of this table, for as long as somebody may ask. Must be called in the runtime.
    #[must_use]
    pub fn of(table: ProcessTable) -> Self {
        let (asking, asked) = mpsc::unbounded_channel();
        tokio::spawn(answer(asked, table));
        Self(asking)
    }

    /// A reading that begins after this is called, with whoever has the name.
    ///
    /// # Errors
    /// When the table, or the name of a process in it, couldn't be read.
    pub async fn with(&self, name: &ProcessName) -> Result<Arc<Reading>, LookError> {
        loop {
            let (sender, answer) = oneshot::channel();
            let comm = Comm::of(name.comm());
            let asked = self.0.send(Ask {
                comm,
                answer: sender,
            });
            let (Ok(()), Ok(reading)) = (asked, answer.await) else {
                // It ends with the runtime only.
                return std::future::pending().await;
            };
            // The first who is answered finds it good, so each reading is for one of them at least.
            match reading {
                Ok(reading) if !reading.is_good(Instant::now()) => {}
                reading => return reading,
            }
        }
    }
}

async fn answer(mut asked: mpsc::UnboundedReceiver<Ask>, mut table: ProcessTable) {
    let mut asks = Vec::new();
    // All who are awake have asked by the time when this task has its turn.
    while asked.recv_many(&mut asks, usize::MAX).await > 0 {
        let mut comms: Vec<Comm> = asks.iter().map(|ask| ask.comm).collect();
        comms.sort_unstable();
        comms.dedup();
        let reading = table.read_names(&comms).map(Arc::new);
        for ask in asks.drain(..) {
            // Whoever asked may be gone.
            let _ = ask.answer.send(reading.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(found: &[(&str, i32)]) -> Reading {
        let comm = |name: &str| Comm::of(name.as_bytes());
        let found = found.iter().map(|(name, pid)| (comm(name), *pid));
        let begin = (Moment::now(), Instant::now());
        Reading::new(begin, Some(1), found.collect())
    }

    #[test]
    fn whoever_has_a_name_is_found_in_any_letters() {
        let reading = reading(&[("B\n", 9), ("a\n", 3), ("b\n", 4), ("bb\n", 5), ("b", 20)]);
        let of = |name: &str| reading.of(&ProcessName::new(name)).collect::<Vec<_>>();
        assert_eq!(of("b"), [4, 9, 20]);
        assert_eq!(of("A"), [3]);
        assert_eq!(of("bb"), [5]);
        assert!(of("c").is_empty() && of("").is_empty());
    }

    #[test]
    fn long_names_are_cut_as_the_kernel_does() {
        let reading = reading(&[("abcdefghijklmno\n", 7)]);
        let name = ProcessName::new("abcdefghijklmnopq");
        assert_eq!(reading.of(&name).collect::<Vec<_>>(), [7]);
    }

    #[test]
    fn a_reading_ages() {
        let mut reading = reading(&[]);
        reading.ended = reading.began + Duration::from_millis(2);
        let good_until = reading.ended + Duration::from_millis(6);
        assert!(reading.is_good(reading.began) && reading.is_good(good_until));
        assert!(!reading.is_good(good_until + Duration::from_nanos(1)));
    }

    #[tokio::test]
    async fn whoever_asks_together_gets_the_same_one() {
        let readings = Readings::of(ProcessTable::new("/proc"));
        let names = ["a", "b"].map(ProcessName::new);
        let [first, second] = &names;
        let (one, other) = tokio::join!(readings.with(first), readings.with(second));
        let one = one.unwrap();
        assert!(Arc::ptr_eq(&one, &other.unwrap()));
        let next = readings.with(first).await.unwrap();
        assert!(next.began >= one.ended);
    }

    #[tokio::test]
    async fn a_table_that_cannot_be_read_is_an_error_for_all() {
        let readings = Readings::of(ProcessTable::new("/no such folder"));
        let name = ProcessName::new("a");
        let (one, other) = tokio::join!(readings.with(&name), readings.with(&name));
        assert!(one.is_err() && other.is_err());
    }
}
