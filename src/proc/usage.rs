//! What one known process uses: the CPU, memory, and how long it has been there; how much of that is
//! too much is decided in [`crate::health`].

use std::fs;
use std::io;
use std::time::Duration;

use nix::errno::Errno;

use super::ProcessId;
use super::stat::Stat;

/// What a process uses, all read in one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// The CPU time of all its threads since its start, in user and kernel mode.
    pub cpu: Duration,
    /// Its resident memory, in bytes.
    pub resident: u64,
}

impl ProcessId {
    /// What this very process, not another one with its pid, uses; `None` when it is gone.
    ///
    /// # Errors
    /// When that can't be read.
    pub fn usage(self) -> io::Result<Option<Usage>> {
        let text = match fs::read(format!("/proc/{}/stat", self.pid)) {
            Ok(text) => text,
            Err(error) if is_gone(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let stat = Stat::parse(&text)
            .ok_or_else(|| io::Error::other("it isn't in the format that proc(5) describes"))?;
        Ok((stat.start_time == self.start_time).then(|| Usage {
            cpu: ticks(stat.cpu_time),
            resident: stat.resident_pages.saturating_mul(procfs::page_size()),
        }))
    }

    /// How long ago it started, suspended time included.
    ///
    /// # Errors
    /// When the machine's uptime can't be read.
    pub fn age(self) -> io::Result<Duration> {
        let text = fs::read_to_string("/proc/uptime")?;
        let uptime = parse_uptime(&text).ok_or_else(|| {
            io::Error::other("/proc/uptime isn't in the format that proc(5) describes")
        })?;
        Ok(uptime.saturating_sub(ticks(self.start_time)))
    }
}

/// Whether a process was gone when one of its files was read.
pub(super) fn is_gone(error: &io::Error) -> bool {
    let gone = [Errno::ENOENT as i32, Errno::ESRCH as i32];
    error
        .raw_os_error()
        .is_some_and(|code| gone.contains(&code))
}

/// The first field of /proc/uptime, seconds with a fraction.
fn parse_uptime(text: &str) -> Option<Duration> {
    let seconds = text.split_ascii_whitespace().next()?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// A time in clock ticks, as proc(5) counts it.
fn ticks(ticks: u64) -> Duration {
    let per_second = procfs::ticks_per_second().max(1);
    Duration::from_secs(ticks / per_second)
        + Duration::from_millis(ticks % per_second * 1000 / per_second)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn myself() -> ProcessId {
        let text = fs::read("/proc/self/stat").unwrap();
        ProcessId {
            pid: i32::try_from(std::process::id()).unwrap(),
            start_time: Stat::parse(&text).unwrap().start_time,
        }
    }

    #[test]
    fn a_process_uses_memory_and_time() {
        let usage = myself().usage().unwrap().unwrap();
        assert!(usage.resident > 100 << 10, "{usage:?}");
        assert!(myself().age().unwrap() < Duration::from_secs(3600));
    }

    #[test]
    fn another_process_with_its_pid_is_not_measured() {
        let reused = ProcessId {
            start_time: myself().start_time - 1,
            ..myself()
        };
        assert_eq!(reused.usage().unwrap(), None);
        let gone = ProcessId {
            pid: i32::MAX,
            start_time: 1,
        };
        assert_eq!(gone.usage().unwrap(), None);
    }

    #[test]
    fn the_uptime_is_in_seconds() {
        assert_eq!(
            parse_uptime("350735.47 234388.90\n"),
            Some(Duration::from_millis(350_735_470))
        );
        for text in ["", "a b", "-1 0", "nan 0", "1e300 0"] {
            assert_eq!(parse_uptime(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_uptime_makes_it_panic(text in "[ 0-9.e+inaf-]{0,30}") {
            let _ = parse_uptime(&text);
        }
    }

    #[test]
    fn ticks_are_hundredths_of_a_second() {
        assert_eq!(ticks(100_050), Duration::from_millis(1_000_500));
    }
}
