//! What processes cost while nothing happens, as the kernel counts it.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::Context;

/// What some processes have used up to a moment.
pub(crate) struct Used {
    at: Instant,
    cpu_ns: u64,
    wakeups: u64,
}

/// What they use in a second, and what they hold.
pub(crate) struct Cost {
    pub(crate) cpu_us: f64,
    pub(crate) wakeups: f64,
    pub(crate) pss_kib: u64,
    pub(crate) processes: usize,
    pub(crate) threads: usize,
}

fn tasks(pids: &[i32]) -> anyhow::Result<Vec<std::path::PathBuf>> {
    let mut tasks = Vec::new();
    for pid in pids {
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            tasks.push(task?.path());
        }
    }
    Ok(tasks)
}

/// The number behind a `name:` in a file of lines.
fn field(text: &str, name: &str) -> anyhow::Result<u64> {
    let mut lines = text.lines();
    let value = lines
        .find_map(|line| line.strip_prefix(name))
        .with_context(|| format!("no {name}"))?;
    let number = value.split_whitespace().next().context("a number")?;
    Ok(number.parse()?)
}

impl Used {
    pub(crate) fn by(pids: &[i32]) -> anyhow::Result<Self> {
        let (mut cpu_ns, mut wakeups) = (0, 0);
        for task in tasks(pids)? {
            let time = fs::read_to_string(task.join("schedstat"))?;
            let time = time.split(' ').next().context("a schedstat")?;
            cpu_ns += time.parse::<u64>()?;
            let status = fs::read_to_string(task.join("status"))?;
            wakeups += field(&status, "voluntary_ctxt_switches:")?;
        }
        Ok(Self {
            at: Instant::now(),
            cpu_ns,
            wakeups,
        })
    }
}

impl Cost {
    /// The cost since `before` of the same processes.
    #[allow(clippy::cast_precision_loss, reason = "counts of a minute are small")]
    pub(crate) fn since(before: &Used, pids: &[i32]) -> anyhow::Result<Self> {
        let after = Used::by(pids)?;
        let seconds = (after.at - before.at).as_secs_f64();
        let mut pss_kib = 0;
        for pid in pids {
            let maps = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
            pss_kib += field(&maps, "Pss:")?;
        }
        Ok(Self {
            cpu_us: Duration::from_nanos(after.cpu_ns - before.cpu_ns).as_secs_f64() * 1e6
                / seconds,
            wakeups: (after.wakeups - before.wakeups) as f64 / seconds,
            pss_kib,
            processes: pids.len(),
            threads: tasks(pids)?.len(),
        })
    }
}
