//! One look at all processes, by us and by others; nobody of the name is there.

use std::hint::black_box;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use mfe_watchdog::proc::{ProcessName, ProcessTable, Target};

use crate::figures::{Samples, show, verdict};

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
    let ours = time(looks, || {
        table.look(black_box(&target))?;
        Ok(())
    })?;
    let ours = print("mfe-watchdog", &ours)?;
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
