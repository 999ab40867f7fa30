//! `cargo bench -p mfe-central`: what an office reaches, on engines of its own that are gone afterwards: each figure
//! with its goal, and beside it what the engines do alone.
//!
//! `-- events` and the like choose parts of [`PARTS`]; `-- --quick` does less of each. `MFE_CENTRAL_CHAOS_SECONDS` is
//! how long the chaos takes.

#![allow(clippy::unwrap_used, reason = "what can't go on ends")]
#![allow(unreachable_pub, reason = "nothing is outside a bench")]

mod events;
mod figures;
mod fleet;
mod metrics;
mod till;

// What the tests have; they use all of it.
#[path = "../../tests/central/chaos.rs"]
mod chaos;
#[allow(dead_code)]
#[path = "../../tests/central/office.rs"]
mod office;

use std::process::ExitCode;
use std::time::Duration;

use mfe_kit::{engines, is_root, random};

/// The parts, and what each shows.
const PARTS: [(&str, &str); 6] = [
    ("events", "events stored each second"),
    ("broker", "the broker's memory with 1,000 tills"),
    ("page", "from a till to the page, with 1,000 tills"),
    ("browsers", "memory with 500 browsers"),
    ("metrics", "/metrics of 10,000 tills"),
    ("chaos", "all of it killed at random: nothing is lost"),
];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if !words.iter().any(|word| word == "--bench") {
        println!("reach measures under `cargo bench` only");
        return ExitCode::SUCCESS;
    }
    let is_quick = words.iter().any(|word| word == "--quick");
    let chosen: Vec<&String> = words
        .iter()
        .filter(|word| !word.starts_with("--"))
        .collect();
    let is_chosen = |part: &str| chosen.is_empty() || chosen.iter().any(|word| *word == part);
    let missing = engines::missing();
    if !missing.is_empty() || !is_root() {
        eprintln!(
            "It takes root, and the engines: sudo apt install {} openssl",
            engines::PACKAGES.join(" ")
        );
        return ExitCode::FAILURE;
    }
    let title = |part: &str| {
        let (_, what) = PARTS.iter().find(|(name, _)| *name == part).unwrap();
        println!("{part}: {what} (load {})", figures::load());
    };
    if is_chosen("events") {
        title("events");
        events::measure(if is_quick { 20_000 } else { 200_000 });
    }
    let parts = ["broker", "page", "browsers"].map(is_chosen);
    if parts.contains(&true) {
        let stage = fleet::Stage::new();
        if parts[0] {
            title("broker");
            stage.broker();
        }
        let changes = if is_quick { 40 } else { 400 };
        if parts[1] {
            title("page");
            stage.page(changes);
        }
        if parts[2] {
            title("browsers");
            stage.browsers(changes / 2);
        }
    }
    if is_chosen("metrics") {
        title("metrics");
        metrics::measure(if is_quick { 5 } else { 40 });
    }
    if is_chosen("chaos") {
        title("chaos");
        let length = chaos::length(Duration::from_secs(if is_quick { 30 } else { 600 }));
        println!("  {}", chaos::run(length, random::seed(chaos::SEED)));
    }
    ExitCode::SUCCESS
}
