//! Reads the rules of a process's supervision, which may stand at the top of the file, for all
//! processes, and in a process's own section; what they mean is decided elsewhere.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::section::{Located, Problems, Section};
use super::{FROM_MIN, MAX_DURATION, duration};
use crate::supervision::{Duplicates, Policy};

/// More restarts than this within any time are a crash loop to everybody.
const MAX_COUNT: u32 = 1000;

/// A time that may be nothing.
const FROM_ZERO: RangeInclusive<Duration> = Duration::ZERO..=MAX_DURATION;

/// Takes the rules out of a section; what isn't given is as in `otherwise`.
pub(super) fn policy(
    section: &mut Section<'_>,
    otherwise: Policy,
    problems: &mut Problems<'_>,
) -> Policy {
    let mut policy = otherwise;
    let given = ["restart_delay", "restart_delay_max"];
    let given = given
        .into_iter()
        .find_map(|key| Some((key, section.find(key)?)));
    let mut take = |key, within: RangeInclusive<Duration>, value: &mut Duration| {
        if let Some(given) = duration(section, key, within, problems) {
            *value = given;
        }
    };
    take("interval", FROM_MIN, &mut policy.interval);
    take("start_timeout", FROM_MIN, &mut policy.start_timeout);
    take("stop_timeout", FROM_MIN, &mut policy.stop_timeout);
    take("stopped_timeout", FROM_MIN, &mut policy.stopped_timeout);
    take("restart_delay", FROM_ZERO, &mut policy.restart_delay);
    take(
        "restart_delay_max",
        FROM_ZERO,
        &mut policy.restart_delay_max,
    );
    take("stable_after", FROM_MIN, &mut policy.stable_after);
    take("crash_loop_window", FROM_MIN, &mut policy.crash_loop_window);
    if let Some((key, offset)) = given
        && policy.restart_delay > policy.restart_delay_max
    {
        let [delay, max] =
            [policy.restart_delay, policy.restart_delay_max].map(humantime::format_duration);
        let message = format!("restart_delay, {delay}, is longer than restart_delay_max, {max}");
        problems.add(offset, section.path(key), message);
    }
    let burst = count(section, "restart_burst", 0, problems);
    policy.restart_burst = burst.unwrap_or(policy.restart_burst);
    let restarts = count(section, "crash_loop_restarts", 2, problems);
    policy.crash_loop_restarts = restarts.unwrap_or(policy.crash_loop_restarts);
    let duplicates: Option<Located<Duplicates>> =
        section.take("duplicates", "\"warn\" or \"stop-newest\"", problems);
    policy.duplicates = duplicates.map_or(policy.duplicates, |located| located.value);
    let dry_run: Option<Located<bool>> = section.take("dry_run", "true or false", problems);
    policy.dry_run = dry_run.map_or(policy.dry_run, |located| located.value);
    policy
}

/// A whole number from `least` to [`MAX_COUNT`].
fn count(
    section: &mut Section<'_>,
    key: &'static str,
    least: u32,
    problems: &mut Problems<'_>,
) -> Option<u32> {
    let expected = format!("a number from {least} to {MAX_COUNT}");
    let Located { value, offset } = section.take::<i64>(key, &expected, problems)?;
    match u32::try_from(value) {
        Ok(value) if (least..=MAX_COUNT).contains(&value) => Some(value),
        _ => {
            let message = format!("must be {expected}, not {value}");
            problems.add(offset, section.path(key), message);
            None
        }
    }
}
