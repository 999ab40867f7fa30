//! Any bytes as what journalctl has to say, for a report, and as what the watchdog keeps itself.

use std::time::Duration;

use mfe_history::entry::understand;
use mfe_history::history::{History, Moment, State};
use mfe_history::kept::Kept;
use mfe_history::order::Order;

/// The report is made at the end of the year 2026, about this time.
const NOW: u64 = 1_798_761_600_000_000;
const PERIOD: Duration = Duration::from_secs(7 * 86400);

/// Reads each line, and sums up what they say.
pub fn run(data: &[u8]) {
    let now = Moment {
        boot: 1,
        monotonic: 1_000_000_000_000,
        wall: NOW,
    };
    let mut history = History::new(now, PERIOD);
    let mut order = Order::default();
    let mut kept = Kept::of(data, "");
    for written in data.split(|byte| *byte == b'\n').filter_map(understand) {
        for written in kept.before(written.entry.at) {
            order.add(written);
        }
        if !kept.has(&written.entry) {
            order.add(written);
        }
        while let Some(entry) = order.ready() {
            history.take(&entry);
        }
    }
    for written in kept.rest() {
        order.add(written);
    }
    for entry in order.rest() {
        history.take(&entry);
    }
    let past = history.finish(None);
    for (key, record) in &past.processes {
        let is_plain = !key.chars().any(char::is_control);
        assert!(is_plain, "not fit for a terminal: {key:?}");
        let mut time = past.from;
        for interval in &record.intervals {
            assert_eq!(interval.from, time, "each moment is told once");
            assert!(interval.to > interval.from, "{interval:?}");
            if let State::Down(index) = interval.state {
                assert!(index < record.outages.len(), "{index}");
            }
            time = interval.to;
        }
        assert_eq!(time, past.to, "each moment is told");
    }
}
