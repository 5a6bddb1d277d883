//! Measures one whole life of tetherd: started, ready, idle, told to end.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use testbed::{Daemon, Tailnet, wait_until};

use crate::READY;

/// What runs once after the join (netcheck, first DERP connection) is over by then.
const SETTLE: Duration = Duration::from_secs(1);
const END: Duration = Duration::from_secs(15);

/// What was measured in it.
pub struct Life {
    /// From exec to the first 200 of `/readyz`, asked every 2 ms.
    pub ready: Duration,
    /// From SIGTERM to the exit; longer when the control server still lists the node then.
    pub stop: Duration,
    /// KiB of tetherd alone, without tailscaled.
    pub rss: u64,
    pub pss: Option<u64>,
}

pub fn live(tailnet: &Tailnet, binary: &Path, hostname: &str) -> Result<Life> {
    let mut daemon = Daemon::builder(binary).joining(tailnet, hostname)?.start()?;
    let ready = daemon.wait_ready(READY)?;
    sleep(SETTLE);
    let rss = kib(daemon.pid(), "status", "VmRSS:")?;
    let pss = kib(daemon.pid(), "smaps_rollup", "Pss:").ok();
    let stop = stop(tailnet, &mut daemon, hostname)?;
    Ok(Life { ready, stop, rss, pss })
}

fn stop(tailnet: &Tailnet, daemon: &mut Daemon, hostname: &str) -> Result<Duration> {
    let told = Instant::now();
    daemon.terminate()?;
    let status = daemon.wait_exit(END)?;
    let ended = told.elapsed();
    ensure!(status.success(), "tetherd ended with {status}; it wrote:\n{}", daemon.output());
    let mut asked = 0;
    wait_until("the node is gone", END, || {
        asked += 1;
        matches!(tailnet.node(hostname), Ok(None)).then_some(())
    })?;
    // Asking takes 30 ms, which only count when the node was not gone at the first look.
    Ok(if asked == 1 { ended } else { told.elapsed() })
}

fn kib(pid: i32, file: &str, field: &str) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}"))?;
    let value = text.lines().find_map(|line| line.strip_prefix(field)).context("no such field")?;
    let number = value.trim().trim_end_matches("kB").trim();
    number.parse().with_context(|| format!("{field} of {file} is {value}"))
}
