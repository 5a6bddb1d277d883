//! Benchmarks of throughput, latency, memory and sizes.
//!
//! `cargo bench --bench figures`. Everything but the starts is measured, each beside what people would use instead, in
//! turn on one machine; then the whole table is printed with the rows of all benchmarks. `cargo bench --bench figures
//! -- GROUP…` measures some groups alone: tailnet, outside, connections, memory, sizes, whole; or a part of one:
//! tailnet:times, connections:idle, memory:ratio. Results also in `target/bench/GROUP.json`.
//! `BENCH_ROUNDS` (5) rounds.

mod report;

#[path = "figures/connections.rs"]
mod connections;
#[path = "figures/echo.rs"]
mod echo;
#[path = "figures/idle.rs"]
mod idle;
#[path = "figures/latency.rs"]
mod latency;
#[path = "figures/memory.rs"]
mod memory;
#[path = "figures/outside.rs"]
mod outside;
#[path = "figures/rivals.rs"]
mod rivals;
#[path = "figures/scene.rs"]
mod scene;
#[path = "figures/sizes.rs"]
mod sizes;
#[path = "figures/tailnet.rs"]
mod tailnet;
#[path = "figures/usage.rs"]
mod usage;
#[path = "figures/whole.rs"]
mod whole;

use std::env;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use report::Report;

type Group = (&'static str, fn(usize) -> Result<Report>);

/// Parts of groups, for a quick look; measured when named.
const PARTS: [Group; 4] = [
    ("tailnet:times", tailnet::measure_times),
    ("tailnet:flows", tailnet::measure_flows),
    ("connections:idle", idle::measure),
    ("memory:ratio", memory::measure_ratio),
];

const GROUPS: [Group; 5] = [
    ("tailnet", tailnet::measure),
    ("outside", outside::measure),
    ("connections", connections::measure),
    ("memory", memory::measure),
    ("sizes", sizes::measure),
];

fn main() -> Result<()> {
    // Clients and targets of thousands of connections are in this process.
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    let rounds = env::var("BENCH_ROUNDS").map_or(Ok(5), |text| text.parse()).context("BENCH_ROUNDS")?;
    // Cargo adds an option of its own.
    let wanted: Vec<String> = env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let is_named = |name: &str| wanted.iter().any(|word| word == name);
    let is_wanted = |name: &str| wanted.is_empty() || is_named(name);
    let is_known = |word: &str| word == "whole" || GROUPS.iter().chain(&PARTS).any(|(name, _)| *name == word);
    if let Some(unknown) = wanted.iter().find(|word| !is_known(word)) {
        bail!("there is no group {unknown}");
    }
    let groups = GROUPS.iter().filter(|(name, _)| is_wanted(name));
    for (name, measure) in groups.chain(PARTS.iter().filter(|(name, _)| is_named(name))) {
        let begun = Instant::now();
        // In a thread, and so in a namespace, of its own.
        let measured = std::thread::spawn(move || measure(rounds)).join();
        let report = measured.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let report = report.with_context(|| format!("in group {name}"))?;
        println!("== {name} ({:.0} s)\n{report}", begun.elapsed().as_secs_f64());
        report.save(&Report::path(name)?)?;
    }
    if is_wanted("whole") { whole::print() } else { Ok(()) }
}
