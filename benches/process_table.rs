//! One look at all processes of this machine and the confirmation of one that is known, beside the
//! procfs crate's way on the same live /proc.

use std::hint::black_box;

use divan::Bencher;
use mfe_watchdog::process::{ProcessId, ProcessName, ProcessTable, Target};

fn main() {
    divan::main();
}

#[divan::bench]
fn look(bencher: Bencher<'_, '_>) {
    let target = Target::named(ProcessName::new("nobody has this name"));
    let mut table = ProcessTable::new("/proc");
    bencher.bench_local(|| table.look(black_box(&target)).expect("a look at /proc"));
}

#[divan::bench]
fn confirm(bencher: Bencher<'_, '_>) {
    let own = procfs::process::Process::myself().and_then(|process| process.stat());
    let target = Target::named(ProcessName::new(own.expect("a look at /proc").comm));
    let mut table = ProcessTable::new("/proc");
    let found = table.look(&target).expect("a look at /proc").alive;
    let known: Vec<ProcessId> = found.iter().map(|alive| alive.id).collect();
    bencher.bench_local(|| {
        table
            .confirm(black_box(&target), &known)
            .expect("a look at /proc")
    });
}

#[divan::bench]
fn procfs_one_stat() -> u64 {
    let stat = procfs::process::Process::myself().and_then(|process| process.stat());
    stat.expect("a look at /proc").starttime
}

#[divan::bench]
fn procfs_all_processes_and_stat() -> usize {
    let processes = procfs::process::all_processes().expect("a look at /proc");
    processes
        .filter_map(|process| process.ok()?.stat().ok())
        .filter(|stat| stat.comm == "nobody has this name")
        .count()
}
