//! Figures out of samples; it knows nothing of what was measured.

use std::time::Duration;

/// Durations that were measured, in order of size.
#[derive(Clone, Default)]
pub(crate) struct Samples(Vec<Duration>);

impl Samples {
    pub(crate) fn push(&mut self, sample: Duration) {
        let place = self.0.partition_point(|other| *other < sample);
        self.0.insert(place, sample);
    }

    /// Takes in those of another measurement of the same.
    pub(crate) fn add(&mut self, other: Self) {
        for sample in other.0 {
            self.push(sample);
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn all(&self) -> &[Duration] {
        &self.0
    }

    /// `None` without samples.
    pub(crate) fn median(&self) -> Option<Duration> {
        self.quantile(50)
    }

    /// The value that 99 of 100 don't exceed; with fewer samples, the largest.
    pub(crate) fn p99(&self) -> Option<Duration> {
        self.quantile(99)
    }

    fn quantile(&self, percent: usize) -> Option<Duration> {
        let last = self.0.len().checked_sub(1)?;
        self.0.get((last * percent).div_ceil(100)).copied()
    }
}

/// A duration with three digits that matter.
pub(crate) fn show(duration: Duration) -> String {
    let micros = duration.as_secs_f64() * 1e6;
    let (value, unit) = match micros {
        value if value < 1e3 => (value, "µs"),
        value if value < 1e6 => (value / 1e3, "ms"),
        value => (value / 1e6, "s"),
    };
    let digits = if value < 10.0 {
        2
    } else {
        usize::from(value < 100.0)
    };
    format!("{value:.digits$} {unit}")
}

/// How `ours` compares; below 1 it is less.
pub(crate) fn ratio(ours: Duration, theirs: Duration) -> f64 {
    ours.as_secs_f64() / theirs.as_secs_f64()
}

/// Says honestly whether a goal is met.
pub(crate) fn verdict(goal: &str, is_met: bool) {
    println!(
        "    goal: {goal}: {}",
        if is_met { "met" } else { "not met" }
    );
}
