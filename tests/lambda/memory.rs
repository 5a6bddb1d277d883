//! Tests a function with 256 MB of memory in all.
//!
//! That is for emulator, runtime, function, extension and tailscaled together.

use std::fs;

use serde_json::json;
use testbed::cgroup::MemoryGroup;
use testbed::lambda::Environment;

use crate::scene::{Scene, URL};

const STREAMS: u64 = 16;
const EACH: u64 = 100_000_000;

#[test]
fn sixteen_parallel_streams_of_100_mb_fit_into_256_mb() {
    let scene = Scene::new();
    let group = MemoryGroup::new(256 << 20).expect("a control group");
    let environment = scene.python().env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256").start().expect("starts");
    environment.processes().iter().for_each(|entry| group.take(entry.pid).expect("moves"));
    let url = format!("{URL}bytes/{EACH}");
    let answer = environment.invoke(&json!({ "get": url, "streams": STREAMS })).expect("answers");
    assert_eq!(answer["bytes"], STREAMS * EACH, "{answer} {}", environment.log());
    assert!(!group.has_killed().expect("a count"), "{}", environment.log());
    eprintln!("{STREAMS} streams of {EACH} bytes in {} s, PSS after that {} KiB", answer["seconds"], pss(&environment));
}

#[test]
fn the_idle_extension_and_tailscaled_stay_small() {
    let scene = Scene::new();
    let environment = scene.python().start().expect("starts");
    environment.invoke(&json!({ "get": URL })).expect("answers");
    let pss = pss(&environment);
    eprintln!("PSS of the extension's tree when idle: {pss} KiB");
    // The goal is 40 MiB with the release build of the layer; this is the debug build.
    assert!(pss < 64 << 10, "{pss} KiB");
}

/// Of tetherd and tailscaled together, in KiB.
fn pss(environment: &Environment) -> u64 {
    let of = |name: &str| {
        let pid = environment.pid_of(name).unwrap_or_else(|| panic!("{name} does not run: {}", environment.log()));
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("readable for root");
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).expect("a line");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number")
    };
    of("tetherd") + of("tailscaled")
}
