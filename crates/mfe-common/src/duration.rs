//! One way to write how long something takes, the same in every language: `412ms`, `3min 20s`, `2d 4h`.
//! Settings take that, too; how they are shown themselves is [`setting`].

use std::time::Duration;

/// The units, in milliseconds. Both languages have the same ones.
const UNITS: [(u128, &str); 5] = [
    (86_400_000, "d"),
    (3_600_000, "h"),
    (60_000, "min"),
    (1_000, "s"),
    (1, "ms"),
];

/// From here on nobody reads milliseconds.
const WHOLE_SECONDS: Duration = Duration::from_secs(60);

/// A time for a person: to the millisecond below a minute, else to the second.
#[must_use]
pub fn duration(time: Duration) -> String {
    if time < Duration::from_millis(1) {
        "0ms".to_owned()
    } else if time < WHOLE_SECONDS {
        exact(time)
    } else {
        exact(Duration::from_secs(time.as_secs()))
    }
}

/// A time in few words: its two largest units, and no milliseconds from one second on.
#[must_use]
pub fn brief(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        return duration(time);
    }
    let words = exact(Duration::from_secs(time.as_secs()));
    words.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// A time to the millisecond, in all units.
fn exact(time: Duration) -> String {
    let mut rest = time.as_millis();
    let mut words = Vec::new();
    for (length, unit) in UNITS {
        let count = rest / length;
        rest %= length;
        if count > 0 {
            words.push(format!("{count}{unit}"));
        }
    }
    words.join(" ")
}

/// A setting's value in the form of the configuration, as the manual has its defaults.
#[must_use]
pub fn setting(time: Duration) -> String {
    humantime::format_duration(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_exact_to_what_a_person_reads() {
        for (micros, expected, in_brief) in [
            (0, "0ms", "0ms"),
            (999, "0ms", "0ms"),
            (412_000, "412ms", "412ms"),
            (9_000_000, "9s", "9s"),
            (59_999_999, "59s 999ms", "59s"),
            (60_999_999, "1min", "1min"),
            (3_601_000_000, "1h 1s", "1h 1s"),
            (90_061_000_000, "1d 1h 1min 1s", "1d 1h"),
        ] {
            let time = Duration::from_micros(micros);
            assert_eq!(duration(time), expected);
            assert_eq!(brief(time), in_brief);
        }
    }

    #[test]
    fn a_setting_takes_it() {
        for seconds in [1, 59, 61, 3_601, 90_061, 31_557_600] {
            let time = Duration::from_secs(seconds);
            assert_eq!(humantime::parse_duration(&duration(time)), Ok(time));
        }
    }
}
