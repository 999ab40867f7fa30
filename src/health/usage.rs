//! Compares what the processes use, memory and CPU, with their bounds.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::in_words;
use super::verdict::Finding;
use crate::config::{ByteSize, Percent};
use crate::proc::{ProcessId, Usage};
use crate::text::phrase::phrase;

/// Samples that are kept for each time `over` which the CPU is measured.
const SAMPLES: u32 = 32;

/// What all processes together use.
///
/// # Errors
/// With what is to be told when that can't be said.
fn total(subject: &[ProcessId]) -> Result<Usage, Finding> {
    let mut total = Usage {
        cpu: Duration::ZERO,
        resident: 0,
    };
    for id in subject {
        match id.usage() {
            Ok(Some(usage)) => {
                total.cpu += usage.cpu;
                total.resident = total.resident.saturating_add(usage.resident);
            }
            // That it is gone is noticed elsewhere.
            Ok(None) => return Err(Finding::Nothing),
            Err(error) => {
                let why = format!("/proc/{}/stat can't be read: {error}", id.pid);
                return Err(Finding::Unknown(why));
            }
        }
    }
    Ok(total)
}

/// Whether the processes keep within `max` bytes of resident memory.
pub(super) fn memory(subject: &[ProcessId], max: ByteSize) -> Finding {
    match total(subject) {
        Ok(usage) if usage.resident <= max.0 => Finding::Well,
        Ok(usage) => {
            let used = usage.resident.div_ceil(1 << 20);
            Finding::Unwell(phrase!(
                "it uses %{used}MiB of memory, more than %{max}",
                used = used.to_string(),
                max = max.to_string()
            ))
        }
        Err(finding) => finding,
    }
}

/// The check of the CPU.
#[derive(Debug)]
pub(super) struct Cpu {
    max: Percent,
    over: Duration,
    /// What was used until when, the oldest first.
    samples: VecDeque<(Instant, Duration)>,
}

impl Cpu {
    pub(super) fn new(max: Percent, over: Duration) -> Self {
        Self {
            max,
            over,
            samples: VecDeque::new(),
        }
    }

    /// Whether the processes keep within their share.
    pub(super) fn probe(&mut self, subject: &[ProcessId]) -> Finding {
        match total(subject) {
            Ok(usage) => self.judge(Instant::now(), usage.cpu),
            Err(finding) => finding,
        }
    }

    /// Takes what was used until `now`.
    fn judge(&mut self, now: Instant, used: Duration) -> Finding {
        let (max, over) = (self.max, self.over);
        let age = |sample: &(Instant, Duration)| now.saturating_duration_since(sample.0);
        // The newest of those that are old enough is the one to compare with.
        while self.samples.get(1).is_some_and(|next| age(next) >= over) {
            self.samples.pop_front();
        }
        let before = self.samples.front().copied();
        let newest = self.samples.back().map(age);
        if newest.is_none_or(|age| age >= over / SAMPLES) {
            self.samples.push_back((now, used));
        }
        let Some(before) = before.filter(|before| age(before) >= over) else {
            return Finding::Nothing;
        };
        let time = age(&before);
        let percent = share(used.saturating_sub(before.1), time);
        if percent <= u128::from(max.0) {
            return Finding::Well;
        }
        Finding::Unwell(phrase!(
            "it used %{percent}% of a core over %{time}, more than %{max}",
            percent = percent.to_string(),
            time = in_words(time),
            max = max.to_string()
        ))
    }
}

/// The share that `used` is of `time`, in percent, rounded down.
fn share(used: Duration, time: Duration) -> u128 {
    used.as_micros() * 100 / time.as_micros().max(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OVER: Duration = Duration::from_secs(60);

    #[test]
    fn the_share_is_measured_over_the_whole_time() {
        let begin = Instant::now();
        let mut cpu = Cpu::new(Percent(90), OVER);
        let mut judge = |at: u64, used: u64| {
            cpu.judge(begin + Duration::from_secs(at), Duration::from_secs(used))
        };
        assert_eq!(judge(0, 1000), Finding::Nothing);
        assert_eq!(judge(30, 1030), Finding::Nothing);
        assert_eq!(judge(60, 1054), Finding::Well, "54 s in 60 s");
        assert_eq!(judge(90, 1084), Finding::Well);
        assert_eq!(
            judge(120, 1114).words(),
            "it used 100% of a core over 1min, more than 90%"
        );
        assert_eq!(judge(150, 1114), Finding::Well);
    }

    #[test]
    fn several_cores_are_more_than_a_hundred() {
        let begin = Instant::now();
        let mut cpu = Cpu::new(Percent(150), OVER);
        cpu.judge(begin, Duration::ZERO);
        assert_eq!(
            cpu.judge(begin + OVER, OVER * 2).words(),
            "it used 200% of a core over 1min, more than 150%"
        );
    }

    #[test]
    fn samples_that_come_fast_are_not_hoarded() {
        let begin = Instant::now();
        let mut cpu = Cpu::new(Percent(90), Duration::from_secs(3600));
        for tenth in 0..100_000 {
            cpu.judge(begin + Duration::from_millis(tenth * 100), Duration::ZERO);
        }
        assert!(
            cpu.samples.len() <= SAMPLES as usize + 2,
            "{}",
            cpu.samples.len()
        );
    }

    proptest! {
        #[test]
        fn a_steady_share_is_judged_as_it_is(
            percent in 0..300_u32,
            max in 1..300_u32,
            pauses in proptest::collection::vec(1..40_u64, 1..50)
        ) {
            let begin = Instant::now();
            let mut cpu = Cpu::new(Percent(max), OVER);
            let mut passed = Duration::ZERO;
            cpu.judge(begin, Duration::ZERO);
            for pause in pauses {
                passed += Duration::from_secs(pause);
                let finding = cpu.judge(begin + passed, passed * percent / 100);
                let is_known = passed >= OVER;
                prop_assert_eq!(finding == Finding::Nothing, !is_known);
                prop_assert_eq!(finding == Finding::Well, is_known && percent <= max);
            }
        }
    }
}
