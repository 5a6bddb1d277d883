//! Benchmark of 32 busy streams under a small memory limit.
//!
//! Each stream goes both ways, in control groups of little memory: tetherd with its tailscaled, and tailscaled alone.
//! It tells who is killed, what the peak is, and how much comes through compared with memory without bounds.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use anyhow::{Context, Result};
use testbed::cgroup::MemoryGroup;
use testbed::load::{Load, Way};
use testbed::{Daemon, Node, NodeOptions, Tailnet, daemon, netns, parts};

use crate::report::{Report, Row, Series};
use crate::scene::{LOAD, Proxy, binary};

const STREAMS: usize = 32;
/// In MiB.
const SIZES: [u64; 3] = [128, 256, 512];
/// For the ratio to memory without bounds.
const COMPARED: u64 = 256;
const CARRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_millis(2500));
const READY: Duration = Duration::from_secs(30);
const ALONE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 2055);

/// What came of a run.
struct Run {
    /// MB/s; 0 where it was killed.
    flow: f64,
    killed: bool,
    peak_mib: f64,
}

pub fn measure(rounds: usize) -> Result<Report> {
    with_load(|tailnet, load| {
        let mut report = in_groups(tailnet, load)?;
        let ratio = bounded_and_not(tailnet, load, rounds)?;
        report.rows.extend(ratio.rows);
        report.series.extend(ratio.series);
        Ok(report)
    })
}

/// The ratio alone, for a quick look.
pub fn measure_ratio(rounds: usize) -> Result<Report> {
    with_load(|tailnet, load| bounded_and_not(tailnet, load, rounds))
}

fn with_load(measure: impl FnOnce(&Tailnet, &Load) -> Result<Report>) -> Result<Report> {
    netns::enter_new()?;
    let tailnet = Tailnet::start()?;
    let _web = Node::join(&tailnet, "web")?;
    measure(&tailnet, &Load::on(LOAD)?)
}

fn in_groups(tailnet: &Tailnet, load: &Load) -> Result<Report> {
    let mut report = Report::default();
    for mib in SIZES {
        let mine = Run::of_tetherd(tailnet, load, Some(mib))?;
        let alone = Run::of_tailscaled(tailnet, load, mib)?;
        let name = format!("{STREAMS} streams both ways in {mib} MiB");
        report.rows.push(Row::at_most(format!("{name}, tetherd killed"), 0.0, "", f64::from(mine.killed)));
        for (of, run) in [("tetherd", &mine), ("tailscaled alone", &alone)] {
            report.series.push(Series::new(format!("{name}, {of}"), "MB/s", vec![run.flow])?);
            report.series.push(Series::new(format!("{name}, peak, {of}"), "MiB", vec![run.peak_mib])?);
            report.series.push(Series::new(format!("{name}, killed, {of}"), "times", vec![f64::from(run.killed)])?);
        }
    }
    Ok(report)
}

fn bounded_and_not(tailnet: &Tailnet, load: &Load, rounds: usize) -> Result<Report> {
    let mut flows = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        for (flows, mib) in flows.iter_mut().zip([Some(COMPARED), None]) {
            flows.push(Run::of_tetherd(tailnet, load, mib)?.flow);
        }
    }
    let [bounded, unbounded] = flows;
    let bounded = Series::new(format!("{STREAMS} streams both ways, {COMPARED} MiB"), "MB/s", bounded)?;
    let unbounded = Series::new(format!("{STREAMS} streams both ways, no bound"), "MB/s", unbounded)?;
    let ratio = bounded.median() / unbounded.median();
    let row = Row::at_least(format!("throughput in {COMPARED} MiB / without bounds"), 0.75, "", ratio);
    Ok(Report { rows: vec![row], series: vec![bounded, unbounded] })
}

impl Run {
    fn of_tetherd(tailnet: &Tailnet, load: &Load, mib: Option<u64>) -> Result<Self> {
        let group = mib.map(|mib| MemoryGroup::new(mib << 20)).transpose()?;
        let enter = group.as_ref().map(|group| format!("echo $$ > {}/cgroup.procs && ", group.path().display()));
        let script = format!("{}exec {}", enter.unwrap_or_default(), binary().display());
        let mut tetherd = Daemon::builder("/bin/sh").args(&["-c", &script]).joining(tailnet, "app")?.start()?;
        tetherd.wait_ready(READY)?;
        let run = Self::through(Proxy(daemon::SOCKS), load, group.as_ref());
        drop(tetherd);
        tailnet.delete_node("app").ok();
        run
    }

    fn of_tailscaled(tailnet: &Tailnet, load: &Load, mib: u64) -> Result<Self> {
        let group = MemoryGroup::new(mib << 20)?;
        let confined = Confined::new(&group)?;
        let args = vec![format!("--socks5-server={ALONE}")];
        let node =
            Node::join_program(tailnet, "alone", &confined.program(), NodeOptions { args, ..NodeOptions::default() })?;
        let run = Self::through(Proxy(ALONE), load, Some(&group));
        drop(node);
        tailnet.delete_node("alone").ok();
        run
    }

    fn through(proxy: Proxy, load: &Load, group: Option<&MemoryGroup>) -> Result<Self> {
        let flow = load.run(STREAMS, Way::Both, CARRY, || proxy.connect("web", LOAD));
        let killed = group.map_or(Ok(false), MemoryGroup::has_killed)?;
        let flow = match flow {
            Ok(flow) => flow.megabytes_a_second(),
            Err(_) if killed => 0.0,
            Err(error) => return Err(error),
        };
        let peak = group.map_or(Ok(0), MemoryGroup::peak)?;
        Ok(Self { flow: if killed { 0.0 } else { flow }, killed, peak_mib: peak as f64 / f64::from(1 << 20) })
    }
}

/// A program that enters a group and becomes tailscaled.
struct Confined(tempfile::TempDir);

impl Confined {
    fn new(group: &MemoryGroup) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let tailscaled = parts::find(parts::STOCK_TAILSCALED)?;
        let script = format!(
            "#!/bin/sh\necho $$ > {}/cgroup.procs && exec {} \"$@\"\n",
            group.path().display(),
            tailscaled.display()
        );
        let confined = Self(directory);
        fs::write(confined.program(), script).context("cannot write a script")?;
        fs::set_permissions(confined.program(), fs::Permissions::from_mode(0o755))?;
        Ok(confined)
    }

    fn program(&self) -> std::path::PathBuf {
        self.0.path().join("tailscaled")
    }
}
