//! One look at all processes, by us and by others; nobody of the name is there.

use std::hint::black_box;
use std::mem::MaybeUninit;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use mfe_watchdog::proc::{ProcessName, ProcessTable, Target};
use rustix::fs::{CWD, Mode, OFlags, RawDir, openat};
use rustix::io::read;

use crate::figures::{Samples, ratio, show, verdict};

/// So many looks say what one takes.
const FLOOR_LOOKS: usize = 50;

const NOBODY: &str = "nobody is this";

/// Looks inside one Python process, so that the interpreter's start doesn't count.
const PSUTIL: &str = "
import psutil, sys, time
for _ in range(int(sys.argv[1])):
    begin = time.perf_counter_ns()
    any(process.info['name'] == 'nobody is this' for process in psutil.process_iter(['name']))
    print(time.perf_counter_ns() - begin)
";

pub(crate) fn compare(looks: usize, processes: usize) -> anyhow::Result<()> {
    println!("\none look at {processes} processes");
    let target = Target::named(ProcessName::new(NOBODY));
    let mut table = ProcessTable::new("/proc");
    // In turn, for a machine has its moods.
    let (mut ours, mut floor) = (Samples::default(), Samples::default());
    for _ in 0..looks {
        ours.add(time(1, || {
            table.look(black_box(&target))?;
            Ok(())
        })?);
        floor.add(time(1, read_names)?);
    }
    let ours = print("mfe-watchdog", &ours)?;
    let floor = print("openat, read, close alone", &floor)?;
    let above = ratio(ours, floor);
    println!("{:30} {above:.2}", "ours to that");
    verdict("at most 1.15 times that", above <= 1.15);
    let pgrep = time(looks, || {
        let status = Command::new("pgrep")
            .args(["-x", NOBODY])
            .stdout(Stdio::null())
            .status()?;
        ensure!(status.code() == Some(1), "pgrep: {status}");
        Ok(())
    });
    let crate_ = time(looks, || {
        let all = procfs::process::all_processes()?;
        let stats = all.filter_map(|process| process.ok()?.stat().ok());
        black_box(stats.filter(|stat| stat.comm == NOBODY).count());
        Ok(())
    });
    let others = [
        ("pgrep -x, whole command", pgrep),
        ("psutil", psutil(looks)),
        ("procfs crate", crate_),
    ];
    let mut fastest = true;
    for (name, samples) in others {
        match samples.and_then(|samples| print(name, &samples)) {
            Ok(median) => fastest &= ours < median,
            Err(error) => println!("{name:30} not measured: {error:#}"),
        }
    }
    verdict("faster than those measured", fastest);
    Ok(())
}

/// What openat, read and close of the names of so many processes take, by those that are here.
pub(crate) fn floor(processes: usize) -> anyhow::Result<Duration> {
    let here = u32::try_from(procfs::process::all_processes()?.count())?;
    let samples = time(FLOOR_LOOKS, read_names)?;
    let look = samples.median().context("samples")?;
    Ok(look / here * u32::try_from(processes)?)
}

/// The floor: opens the directory's entries, reads each process's name, and does nothing with it.
fn read_names() -> anyhow::Result<()> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let proc = openat(CWD, "/proc", flags | OFlags::DIRECTORY, Mode::empty())?;
    let mut entries = [MaybeUninit::uninit(); 8 * 1024];
    let mut directory = RawDir::new(&proc, &mut entries);
    let (mut path, mut text) = (String::new(), [0; 64]);
    while let Some(entry) = directory.next() {
        let name = entry?.file_name().to_str()?.to_owned();
        if name.starts_with(|c: char| c.is_ascii_digit()) {
            path.clear();
            path.push_str(&name);
            path.push_str("/comm");
            // One may have ended.
            if let Ok(file) = openat(&proc, path.as_str(), flags, Mode::empty()) {
                let _ = read(&file, &mut text[..]);
            }
        }
    }
    Ok(())
}

fn time(looks: usize, mut look: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<Samples> {
    let mut samples = Samples::default();
    for _ in 0..looks {
        let begin = Instant::now();
        look()?;
        samples.push(begin.elapsed());
    }
    Ok(samples)
}

fn psutil(looks: usize) -> anyhow::Result<Samples> {
    let output = Command::new("/usr/bin/python3")
        .args(["-c", PSUTIL, &looks.to_string()])
        .output()?;
    ensure!(
        output.status.success(),
        "python3: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let mut samples = Samples::default();
    for line in String::from_utf8(output.stdout)?.lines() {
        samples.push(Duration::from_nanos(line.parse()?));
    }
    Ok(samples)
}

fn print(name: &str, samples: &Samples) -> anyhow::Result<Duration> {
    let (median, p99) = (
        samples.median().context("samples")?,
        samples.p99().context("samples")?,
    );
    println!("{name:30} median {:>9} p99 {:>9}", show(median), show(p99));
    Ok(median)
}
