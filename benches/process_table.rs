//! One look at all processes of this machine, the confirmation of one that is known, and the reading
//! of a stat, beside the procfs crate's way with the same.

use std::hint::black_box;

use divan::Bencher;
use mfe_watchdog::proc::{Comm, ProcessId, ProcessName, ProcessTable, Stat, Target};
use procfs::FromRead;

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
    let name = ProcessName::new(own.expect("a look at /proc").comm);
    let target = Target::named(name);
    let mut table = ProcessTable::new("/proc");
    let found = table.look(&target).expect("a look at /proc").alive;
    let known: Vec<ProcessId> = found.iter().map(|alive| alive.id).collect();
    let reading = table.read_names(&[Comm::of(target.name.comm())]);
    let reading = reading.expect("a look at /proc");
    // It isn't known at first who is young.
    while table
        .confirm(&target, &known)
        .expect("a look at /proc")
        .is_none()
    {
        table
            .look_for(&target, &known, &reading)
            .expect("a look at /proc");
    }
    bencher.bench_local(|| {
        table
            .confirm(black_box(&target), &known)
            .expect("a look at /proc")
    });
}

#[divan::bench]
fn parse_stat(bencher: Bencher<'_, '_>) {
    let text = own_stat();
    bencher.bench_local(|| {
        let stat = Stat::parse(black_box(&text));
        stat.expect("the form of proc(5)").start_time
    });
}

#[divan::bench]
fn procfs_parse_stat(bencher: Bencher<'_, '_>) {
    let text = own_stat();
    bencher.bench_local(|| {
        let stat = procfs::process::Stat::from_read(black_box(text.as_slice()));
        stat.expect("the form of proc(5)").starttime
    });
}

fn own_stat() -> Vec<u8> {
    std::fs::read("/proc/self/stat").expect("a look at /proc")
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
