//! Reads the rules of a process's supervision, which may stand at the top of the file, for all
//! processes, and in a process's own section; what they mean is decided
//! in [`crate::machine`].

use std::ops::RangeInclusive;
use std::time::Duration;

use mfe_common::duration::setting;
use serde::de::DeserializeOwned;

use super::section::{Located, Problems, Section, must_be};
use super::{FROM_MIN, MAX_DURATION, duration, number, true_or_false};
use crate::machine::Policy;
use crate::text::phrase::{Phrase, phrase};

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
    let delays = ["restart_delay", "restart_delay_max"];
    let given = delays
        .into_iter()
        .find_map(|key| Some((key, section.find(key)?)));
    let mut rules = Rules { section, problems };
    let policy = Policy {
        interval: rules.duration("interval", FROM_MIN, otherwise.interval),
        start_timeout: rules.duration("start_timeout", FROM_MIN, otherwise.start_timeout),
        stop_timeout: rules.duration("stop_timeout", FROM_MIN, otherwise.stop_timeout),
        stopped_timeout: rules.duration("stopped_timeout", FROM_MIN, otherwise.stopped_timeout),
        restart_burst: rules.count("restart_burst", 0, otherwise.restart_burst),
        restart_delay: rules.duration("restart_delay", FROM_ZERO, otherwise.restart_delay),
        restart_delay_max: rules.duration(
            "restart_delay_max",
            FROM_ZERO,
            otherwise.restart_delay_max,
        ),
        stable_after: rules.duration("stable_after", FROM_MIN, otherwise.stable_after),
        crash_loop_restarts: rules.count("crash_loop_restarts", 2, otherwise.crash_loop_restarts),
        crash_loop_window: rules.duration(
            "crash_loop_window",
            FROM_MIN,
            otherwise.crash_loop_window,
        ),
        duplicates: rules.word(
            "duplicates",
            &phrase!("\"warn\" or \"stop-newest\""),
            otherwise.duplicates,
        ),
        autostart_timeout: rules.duration(
            "autostart_timeout",
            FROM_ZERO,
            otherwise.autostart_timeout,
        ),
        dry_run: rules.word("dry_run", &true_or_false(), otherwise.dry_run),
        is_unit: otherwise.is_unit,
    };
    let given = given.filter(|_| policy.restart_delay > policy.restart_delay_max);
    if let Some((key, offset)) = given {
        let [delay, max] = [policy.restart_delay, policy.restart_delay_max].map(setting);
        let message = phrase!(
            "restart_delay, %{delay}, is longer than restart_delay_max, %{max}",
            delay = delay,
            max = max
        );
        problems.add(offset, section.path(key), message);
    }
    policy
}

/// A section whose rules are being taken.
struct Rules<'a, 'i, 'p> {
    section: &'a mut Section<'i>,
    problems: &'a mut Problems<'p>,
}

impl Rules<'_, '_, '_> {
    fn duration(
        &mut self,
        key: &'static str,
        within: RangeInclusive<Duration>,
        otherwise: Duration,
    ) -> Duration {
        duration(self.section, key, within, self.problems).unwrap_or(otherwise)
    }

    /// A whole number from `least` to [`MAX_COUNT`].
    fn count(&mut self, key: &'static str, least: u32, otherwise: u32) -> u32 {
        let expected = number(least, MAX_COUNT);
        let Some(Located { value, offset }) =
            self.section.take::<i64>(key, &expected, self.problems)
        else {
            return otherwise;
        };
        match u32::try_from(value) {
            Ok(value) if (least..=MAX_COUNT).contains(&value) => value,
            _ => {
                let message = must_be(&expected, value.to_string());
                self.problems.add(offset, self.section.path(key), message);
                otherwise
            }
        }
    }

    fn word<T: DeserializeOwned>(
        &mut self,
        key: &'static str,
        expected: &Phrase,
        otherwise: T,
    ) -> T {
        let given = self.section.take(key, expected, self.problems);
        given.map_or(otherwise, |located: Located<T>| located.value)
    }
}
