//! Reads what may give no answer for as long as somebody likes, without waiting for it: the arguments of a
//! process lie in its own memory, behind which its user can put a file system that doesn't answer
//! (CVE-2018-1120), or a lock that is never let go.

use std::fs::File;
use std::io::{self, Read};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, channel};
use std::thread;
use std::time::Duration;

use rustix::fd::OwnedFd;

use super::ProcessId;

/// How long an answer is waited for, which comes within microseconds. The service's one thread stands still
/// meanwhile, once for each process.
const PATIENCE: Duration = Duration::from_millis(100);

/// No more readings are under way: each has a thread.
const READINGS_MAX: usize = 16;

/// What a thread that reads needs of a stack, in bytes.
const STACK: usize = 64 * 1024;

/// What came of a reading.
#[derive(Debug)]
pub(super) enum Answer {
    Read(io::Result<Vec<u8>>),
    /// It goes on, or couldn't be begun beside all those that do.
    NotYet,
}

/// The readings that give no answer.
#[derive(Debug, Default)]
pub(super) struct PatientReader {
    under_way: Vec<(ProcessId, Receiver<io::Result<Vec<u8>>>)>,
}

impl PatientReader {
    /// Reads up to `most` bytes of a file of a process. A reading that is under way isn't begun again.
    pub(super) fn read(&mut self, id: ProcessId, file: OwnedFd, most: usize) -> Answer {
        let position = self.under_way.iter().position(|(known, _)| *known == id);
        if let Some(index) = position {
            if matches!(self.under_way[index].1.try_recv(), Err(TryRecvError::Empty)) {
                return Answer::NotYet;
            }
            // What was read may be old: now it answers.
            self.under_way.swap_remove(index);
        }
        self.begin(id, file, most)
    }

    fn begin(&mut self, id: ProcessId, file: OwnedFd, most: usize) -> Answer {
        if self.under_way.len() >= READINGS_MAX {
            // Of those that have ended nobody has asked again.
            self.under_way
                .retain(|(_, reading)| matches!(reading.try_recv(), Err(TryRecvError::Empty)));
        }
        if self.under_way.len() >= READINGS_MAX {
            return Answer::NotYet;
        }
        let (sender, receiver) = channel();
        let read = move || {
            let mut text = Vec::new();
            let most = u64::try_from(most).unwrap_or(u64::MAX);
            let read = File::from(file).take(most).read_to_end(&mut text);
            // Nobody may be waiting any more.
            let _ = sender.send(read.map(|_| text));
        };
        let builder = thread::Builder::new().name("reader".into());
        if let Err(error) = builder.stack_size(STACK).spawn(read) {
            return Answer::Read(Err(error));
        }
        match receiver.recv_timeout(PATIENCE) {
            Ok(read) => Answer::Read(read),
            Err(RecvTimeoutError::Disconnected) => Answer::NotYet,
            Err(RecvTimeoutError::Timeout) => {
                self.under_way.push((id, receiver));
                Answer::NotYet
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::time::Instant;

    use super::*;

    fn id(pid: i32) -> ProcessId {
        ProcessId { pid, start_time: 1 }
    }

    #[test]
    fn what_gives_no_answer_is_waited_for_once() {
        let mut reader = PatientReader::default();
        let (silent, mut end) = io::pipe().unwrap();
        let file = || OwnedFd::from(silent.try_clone().unwrap());
        assert!(matches!(reader.read(id(5), file(), 9), Answer::NotYet));
        let begin = Instant::now();
        assert!(matches!(reader.read(id(5), file(), 9), Answer::NotYet));
        assert!(begin.elapsed() < PATIENCE);
        end.write_all(b"12").unwrap();
        drop(end);
        let deadline = Instant::now() + Duration::from_secs(30);
        while matches!(reader.read(id(5), file(), 9), Answer::NotYet) {
            assert!(Instant::now() < deadline, "its end isn't noticed");
        }
        let text = tempfile::tempfile().unwrap();
        (&text).write_all(b"12").unwrap();
        let text = File::open(format!(
            "/proc/self/fd/{}",
            std::os::fd::AsRawFd::as_raw_fd(&text)
        ));
        let Answer::Read(Ok(text)) = reader.read(id(6), text.unwrap().into(), 1) else {
            panic!("a file answers");
        };
        assert_eq!(text, b"1", "no more than was asked for");
    }

    #[test]
    fn there_are_never_many_that_wait() {
        let mut reader = PatientReader::default();
        let mut ends = Vec::new();
        for pid in 0..20 {
            let (silent, end) = io::pipe().unwrap();
            ends.push(end);
            let answer = reader.read(id(pid), silent.into(), 9);
            assert!(matches!(answer, Answer::NotYet), "{pid}: {answer:?}");
        }
        assert_eq!(reader.under_way.len(), READINGS_MAX);
        drop(ends);
        let deadline = Instant::now() + Duration::from_secs(30);
        // Another one each time: one that is asked for again takes its own place, and makes no room.
        for pid in 20.. {
            let (silent, _end) = io::pipe().unwrap();
            let _ = reader.read(id(pid), silent.into(), 9);
            if reader.under_way.len() < READINGS_MAX {
                break;
            }
            assert!(Instant::now() < deadline, "they are never forgotten");
        }
    }
}
