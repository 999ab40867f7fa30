//! The outages under one watcher, shown beside those under others; it measures nothing.

use std::time::Duration;

use crate::figures::{Samples, ratio, show};
use crate::scan;

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

/// Whom we are compared with.
pub(crate) struct Rival {
    pub(crate) name: String,
    /// How many looks at all processes we make before a start, of which the rival makes none.
    pub(crate) looks: u32,
}

/// Prints a table of watchers that were measured together, `ours` among them, and returns our ratio
/// to the `rival`, if there is one, below which is the floor: the rival's own outage and nothing of the looks
/// but their system calls.
pub(crate) fn print(all: &[Outages], ours: &str, rival: Option<&Rival>) -> Option<f64> {
    let processes = all.first()?.processes;
    println!("\noutage from kill -9 to the program's own first instruction, {processes} processes");
    println!(
        "{:42} {:>9} {:>9} {:>6} {:>12} {:>12}",
        "", "median", "p99", "kills", "ours/theirs", "floor/theirs"
    );
    let own = all.iter().find(|outages| outages.name == ours);
    let own = own.and_then(|outages| outages.samples.median());
    let mut to_rival = None;
    for outages in all {
        let (Some(median), Some(p99)) = (outages.samples.median(), outages.samples.p99()) else {
            continue;
        };
        let to_ours = own.map(|own| ratio(own, median));
        let rival = rival.filter(|rival| rival.name == outages.name);
        let floor =
            rival.and_then(|rival| Some(median + scan::floor(processes).ok()? * rival.looks));
        let in_digits = |ratio: Option<f64>| ratio.map(|ratio| format!("{ratio:.3}"));
        println!(
            "{:42} {:>9} {:>9} {:>6} {:>12} {:>12}",
            outages.name,
            show(median),
            show(p99),
            outages.samples.count(),
            in_digits(to_ours).unwrap_or_default(),
            in_digits(floor.map(|floor| ratio(floor, median))).unwrap_or_default()
        );
        if rival.is_some() {
            to_rival = to_ours;
        }
    }
    to_rival
}

/// Says what wasn't measured, and why.
pub(crate) fn not_measured(name: &str, why: &anyhow::Error) {
    println!("{name:42} not measured: {why:#}");
}
