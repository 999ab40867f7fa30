//! What was measured, in words, beside its goal.

use std::fs;
use std::time::Duration;

use mfe_kit::engines::memory;

use crate::office::Central;

/// A megabyte, as goals have it.
const MEGABYTE: f64 = 1e6;

/// Durations, in order of size.
#[derive(Default)]
pub(crate) struct Samples(Vec<Duration>);

impl Samples {
    pub(crate) fn push(&mut self, sample: Duration) {
        let place = self.0.partition_point(|other| *other < sample);
        self.0.insert(place, sample);
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// What so many of 100 don't exceed; zero without samples.
    pub(crate) fn quantile(&self, percent: usize) -> Duration {
        let last = self.0.len().saturating_sub(1);
        let place = (last * percent).div_ceil(100);
        self.0.get(place).copied().unwrap_or_default()
    }
}

/// Milliseconds.
pub(crate) fn ms(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1e3)
}

/// So many in that time, for each second.
pub(crate) fn rate(count: u64, time: Duration) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "they are few")]
    let count = count as f64;
    count / time.as_secs_f64()
}

/// Bytes in megabytes.
pub(crate) fn megabytes(bytes: u64) -> f64 {
    rate(bytes, Duration::from_secs(1)) / MEGABYTE
}

/// Prints a figure, and whether it is as good as it should be.
pub(crate) fn goal(figure: &str, goal: &str, is_met: bool) {
    let verdict = if is_met { "met" } else { "NOT met" };
    println!("  {figure}   [goal {goal}: {verdict}]");
}

/// What else the machine has to do.
pub(crate) fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}

/// What a process has used.
#[derive(Clone, Copy)]
pub(crate) struct Use {
    cpu: Duration,
    pub(crate) memory: u64,
}

impl Use {
    pub(crate) fn of(central: &Central) -> Self {
        let pid = i32::try_from(central.child.0.id()).unwrap();
        let cpu = mfe_kit::engines::cpu(pid);
        Self {
            cpu,
            memory: memory(pid),
        }
    }

    /// CPU time since an earlier look.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        self.cpu.saturating_sub(earlier.cpu)
    }
}
