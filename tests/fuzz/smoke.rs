//! The fuzz targets, on stable Rust and for a few seconds: each over its corpus, and over seeded
//! mutations of it. `cargo +nightly fuzz run NAME` goes on where this ends.

#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use mfe_fuzz::{config, control, dbus, doctor, journal, passwd, process_table, published};
use mfe_kit::random::{self, Random};

/// Repeats a run; without it each run is another one.
const SEED: &str = "MFE_FUZZ_SEED";

/// Mutations per target.
const MUTATIONS: usize = 10_000;

/// The same where each takes a look over a whole machine.
const MACHINES: usize = 1_000;

/// No input grows beyond this by itself, in bytes: more would only be slower.
const MAX_LENGTH: usize = 4096;

/// One of so many grows beyond every buffer that anything is read into, in bytes.
const LONG_ONES: usize = 200;
const LONG: [usize; 4] = [4096, 16 * 1024, 64 * 1024, 1 << 20];

#[test]
fn the_config() {
    smoke("config", MUTATIONS, config::run);
}

#[test]
fn what_is_asked_of_the_service() {
    smoke("control", MUTATIONS, control::run);
}

#[test]
fn what_systemd_says() {
    smoke("dbus", MUTATIONS, dbus::run);
}

#[test]
fn what_doctor_reads() {
    smoke("doctor", MACHINES, doctor::run);
}

#[test]
fn the_journal() {
    smoke("journal", MUTATIONS, journal::run);
}

#[test]
fn the_users() {
    smoke("passwd", MUTATIONS, passwd::run);
}

#[test]
fn the_process_table() {
    smoke("process_table", MUTATIONS, process_table::run);
}

#[test]
fn what_is_published() {
    smoke("published", MUTATIONS, published::run);
}

fn smoke(target: &str, mutations: usize, run: fn(&[u8])) {
    let corpus = corpus(target);
    assert!(!corpus.is_empty(), "no corpus of {target}");
    let seed = random::seed(SEED);
    let mut random = Random::new(seed);
    for input in &corpus {
        run_one(target, seed, run, input);
    }
    for number in 1..=mutations {
        let mut input = random.choose(&corpus).clone();
        for _ in 0..=random.below(4) {
            mutate(&mut input, &corpus, &mut random);
        }
        input.truncate(MAX_LENGTH);
        if number % LONG_ONES == 0 {
            lengthen(&mut input, *random.choose(&LONG), &mut random);
        }
        run_one(target, seed, run, &input);
    }
}

fn run_one(target: &str, seed: u64, run: fn(&[u8]), input: &[u8]) {
    let caught = catch_unwind(AssertUnwindSafe(|| run(input)));
    assert!(
        caught.is_ok(),
        "{target} fails; to repeat it: {SEED}={seed}, with this input of {} bytes:\n{}",
        input.len(),
        input[..input.len().min(MAX_LENGTH)].escape_ascii()
    );
}

/// The target's inputs, in the order of their names, for a seed is to mean the same everywhere.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(target);
    let entries = fs::read_dir(&directory).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

/// What breaks parsers more often than random bytes do.
const TOKENS: [&[u8]; 16] = [
    b"",
    b"-1",
    b"0",
    b"18446744073709551616",
    b"9223372036854775807",
    b"4294967296",
    b"1e999",
    b")",
    b"(",
    b"\n",
    b"\0",
    b"\xff",
    b"\xc3\xa7",
    b"\"",
    b"[[",
    b"\xe2\x80\xae",
];

/// Has a part of the input, or a line of it, there repeatedly until it is longer than `length`.
fn lengthen(input: &mut Vec<u8>, length: usize, random: &mut Random) {
    let begin = random.below(input.len() + 1);
    let rest = &input[begin..];
    let line = rest.iter().position(|byte| *byte == b'\n');
    let part = match line {
        Some(end) if random.below(2) == 0 => rest[..=end].to_vec(),
        _ => rest[..rest.len().min(1 + random.below(8))].to_vec(),
    };
    let part = if part.is_empty() { vec![b'x'] } else { part };
    let again = part.repeat(1 + length / part.len());
    input.splice(begin..begin, again);
}

fn mutate(input: &mut Vec<u8>, corpus: &[Vec<u8>], random: &mut Random) {
    let begin = random.below(input.len() + 1);
    let end = (begin + random.below(16)).min(input.len());
    match random.below(6) {
        0 if begin < input.len() => input[begin] ^= 1 << random.below(8),
        1 => drop(input.drain(begin..end)),
        2 => drop(input.splice(begin..end, random.choose(&TOKENS).iter().copied())),
        3 => {
            let again = input[begin..end].to_vec();
            drop(input.splice(begin..begin, again));
        }
        4 => {
            let other = random.choose(corpus);
            let from = random.below(other.len() + 1);
            input.truncate(begin);
            input.extend(&other[from..]);
        }
        _ => input.truncate(begin),
    }
}
