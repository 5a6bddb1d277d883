//! Counts the instructions of a connection and of a megabyte, by callgrind.
//!
//! It is the build that tests have, and a number that other work on the machine does not change. What the figures of
//! `make bench` mean is in docs/performance.md.

use std::path::{Path, PathBuf};
use std::process::Command;

/// In thousands of instructions, of the client and the stand-in for tailscaled as well. Another compiler makes other
/// code: when a new one moves them, they are measured anew (`cargo build --example instructions`,
/// then `cargo test --test instructions -- --nocapture`).
const A_CONNECTION: u64 = 489;
const A_MEGABYTE: u64 = 5_803;

/// More than runs differ by (a wake-up more or less), less than a lost shortcut costs: a buffer for each connection, a
/// second copy of each block.
const MARGIN: f64 = 1.08;

fn example() -> PathBuf {
    let directory = Path::new(env!("CARGO_BIN_EXE_tetherd")).parent().expect("a directory");
    directory.join("examples/instructions")
}

/// Instructions of the whole program.
fn count(connections: usize, kib: usize, target: Option<&str>) -> u64 {
    let directory = tempfile::tempdir().expect("a directory");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=callgrind.out"])
        .arg(example())
        .args([connections.to_string(), kib.to_string()])
        .args(target)
        .current_dir(directory.path())
        .output()
        .expect("valgrind is missing: apt-get install valgrind");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    let line = text.lines().find_map(|line| line.split_once("Collected : ")).expect("a count").1;
    line.trim().parse().expect("a number")
}

fn within(what: &str, thousands: u64, expected: u64) {
    println!("{what}: {thousands} thousand instructions, expected {expected}");
    let most = expected as f64 * MARGIN;
    assert!(thousands as f64 <= most, "{what} takes {thousands} thousand instructions, at most {most:.0} are right");
}

#[test]
fn a_connection_takes_no_more_instructions_than_it_did() {
    // The difference leaves out what starting and ending take.
    let (few, many) = (count(20, 0, None), count(120, 0, None));
    within("a connection", (many - few) / 100 / 1000, A_CONNECTION);
}

#[test]
fn a_megabyte_takes_no_more_instructions_than_it_did() {
    // Past the tailnet: what goes through it is relayed by tailscaled.
    let direct = Some("direct");
    let (little, much) = (count(1, 1 << 10, direct), count(1, 9 << 10, direct));
    within("a megabyte there and back", (much - little) / 8 / 1000, A_MEGABYTE);
}
