//! The outages under one watcher, shown beside those under others; it measures nothing.

use std::time::Duration;

use crate::figures::{Samples, ratio, show};

/// The outages under one watcher.
pub(crate) struct Outages {
    /// The watcher's name.
    pub(crate) name: String,
    /// How many processes the machine had.
    pub(crate) processes: usize,
    pub(crate) samples: Samples,
}

impl Outages {
    /// A line for each watcher, for another process of the measurement.
    pub(crate) fn to_text(all: &[Self]) -> String {
        let lines = all.iter().map(|outages| {
            let samples = outages.samples.all().iter();
            let micros: Vec<String> = samples
                .map(|outage| outage.as_micros().to_string())
                .collect();
            let Self {
                name, processes, ..
            } = outages;
            format!("{name}\t{processes}\t{}\n", micros.join(" "))
        });
        lines.collect()
    }

    /// Reads what [`Self::to_text`] has written.
    pub(crate) fn from_text(text: &str) -> Vec<Self> {
        let read = |line: &str| {
            let mut parts = line.split('\t');
            let (name, processes) = (parts.next()?, parts.next()?);
            let mut samples = Samples::default();
            for micros in parts.next()?.split_whitespace() {
                samples.push(Duration::from_micros(micros.parse().ok()?));
            }
            Some(Self {
                name: name.to_owned(),
                processes: processes.parse().ok()?,
                samples,
            })
        };
        text.lines().filter_map(read).collect()
    }
}

/// Prints a table of watchers that were measured together, `ours` among them, and returns our ratio
/// to the `rival`, if there is one.
pub(crate) fn print(all: &[Outages], ours: &str, rival: Option<&str>) -> Option<f64> {
    let processes = all.first()?.processes;
    println!("\noutage from kill -9 to the program's own first instruction, {processes} processes");
    println!(
        "{:42} {:>9} {:>9} {:>6} {:>12}",
        "", "median", "p99", "kills", "ours/theirs"
    );
    let own = all.iter().find(|outages| outages.name == ours);
    let own = own.and_then(|outages| outages.samples.median());
    let mut to_rival = None;
    for outages in all {
        let (Some(median), Some(p99)) = (outages.samples.median(), outages.samples.p99()) else {
            continue;
        };
        let ratio = own.map(|own| ratio(own, median));
        println!(
            "{:42} {:>9} {:>9} {:>6} {:>12}",
            outages.name,
            show(median),
            show(p99),
            outages.samples.count(),
            ratio.map(|ratio| format!("{ratio:.3}")).unwrap_or_default()
        );
        if Some(outages.name.as_str()) == rival {
            to_rival = ratio;
        }
    }
    to_rival
}

/// Says what wasn't measured, and why.
pub(crate) fn not_measured(name: &str, why: &anyhow::Error) {
    println!("{name:42} not measured: {why:#}");
}
