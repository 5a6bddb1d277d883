//! What a process and all it has started take: processor time and memory, from /proc.

use std::fs;

use anyhow::{Context, Result};
use testbed::descendants;

/// Linux counts processor time in hundredths of a second for programs, whatever its own clock.
const TICKS_A_SECOND: f64 = 100.0;

/// Seconds of processor time of the tree below and with `pid`, ended and reaped children included.
pub fn cpu_seconds(pid: i32) -> Result<f64> {
    let mut ticks = 0;
    for pid in tree(pid) {
        // One that has just ended is counted with its parent.
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        let fields = stat.rsplit_once(')').context("no name in stat")?.1;
        // utime, stime, cutime, cstime; proc_pid_stat(5) counts from the number of the process.
        ticks +=
            fields.split_ascii_whitespace().skip(11).take(4).filter_map(|field| field.parse::<u64>().ok()).sum::<u64>();
    }
    Ok(ticks as f64 / TICKS_A_SECOND)
}

/// KiB of the process alone.
pub fn rss_kib(pid: i32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let value = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    value.trim().trim_end_matches("kB").trim().parse().with_context(|| format!("VmRSS is {value}"))
}

fn tree(pid: i32) -> Vec<i32> {
    descendants::below(pid).into_iter().map(|entry| entry.pid).chain([pid]).collect()
}
