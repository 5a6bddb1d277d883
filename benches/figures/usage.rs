//! Reads the processor time and memory of a process tree from /proc.

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
    field_kib(&status, "VmRSS:")
}

/// KiB of the tree below and with `pid`; memory that processes share counts once among them (Pss).
pub fn tree_kib(pid: i32) -> Result<u64> {
    tree(pid).into_iter().map(pss_kib).sum()
}

fn pss_kib(pid: i32) -> Result<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"));
    let rollup = rollup.with_context(|| format!("cannot see the memory of process {pid}"))?;
    field_kib(&rollup, "Pss:")
}

/// A line of a file of /proc such as `VmRSS:     5120 kB`.
fn field_kib(text: &str, field: &str) -> Result<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(field)).with_context(|| format!("no {field}"))?;
    value.trim().trim_end_matches("kB").trim().parse().with_context(|| format!("{field} {value}"))
}

fn tree(pid: i32) -> Vec<i32> {
    descendants::below(pid).into_iter().map(|entry| entry.pid).chain([pid]).collect()
}
