//! Benchmark of starting and stopping, and of size: `cargo bench --bench start`.
//!
//! How long tetherd takes to be ready and to end, and how much it weighs. Side by side, in turn, on one tailnet:
//! tetherd, bare tailscaled joined over LocalAPI with the same settings, and `tailscaled &` + `tailscale up`. Each join
//! is by a new node with a new single-use key made before its clock starts; the node is gone before the next one. A
//! first round warms up and does not count. Goals hold for medians.
//! `BENCH_ROUNDS` (9) rounds; `BENCH_TETHERD` another binary; results also in `target/bench/start.json`.

#[path = "start/daemon.rs"]
mod daemon;
#[path = "start/entry_point.rs"]
mod entry_point;
mod report;
#[path = "start/secret.rs"]
mod secret;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use testbed::moto::Moto;
use testbed::{KeyOptions, Node, NodeOptions, Tailnet, netns};

use daemon::Life;
use report::{Report, Row, Series};

/// Measured 0.2 s to 0.7 s on two idle cores; the rest is for busy ones.
const READY: Duration = Duration::from_secs(30);
/// Every node leaves the tailnet at its logout, and can join once only.
const KEY: KeyOptions = KeyOptions { reusable: false, ephemeral: true };

/// What one round has measured.
struct Round {
    tetherd: Life,
    bare: Duration,
    entry_point: Duration,
    secret: Duration,
}

fn main() -> Result<()> {
    let rounds = match env::var("BENCH_ROUNDS") {
        Ok(text) => text.parse().with_context(|| format!("BENCH_ROUNDS={text} is not a number"))?,
        Err(_) => 9,
    };
    let binary = env::var_os("BENCH_TETHERD").map_or_else(|| env!("CARGO_BIN_EXE_tetherd").into(), PathBuf::from);
    netns::enter_new()?;
    let tailnet = Tailnet::start()?;
    let moto = secret::store(&tailnet)?;
    let mut measured = Vec::new();
    for number in 0..=rounds {
        let round = round(&tailnet, &moto, &binary, number).with_context(|| format!("in round {number}"))?;
        if number > 0 {
            measured.push(round);
        }
    }
    let report = evaluate(&measured, fs::metadata(&binary)?.len())?;
    print!("{report}");
    report.save(&results()?)
}

fn round(tailnet: &Tailnet, moto: &Moto, binary: &Path, number: usize) -> Result<Round> {
    let tetherd = daemon::live(tailnet, binary, &format!("tetherd-{number}"))?;
    let bare = bare(tailnet, &format!("bare-{number}"))?;
    let entry_point = entry_point::join(tailnet, &format!("shell-{number}"))?;
    let secret = secret::in_hand(tailnet, moto, binary)?;
    eprintln!("round {number}: tetherd {:?}, bare {bare:?}, shell {entry_point:?}", tetherd.ready);
    Ok(Round { tetherd, bare, entry_point, secret })
}

/// From exec of tailscaled to Running, over LocalAPI alone, in the environment that tetherd makes for it.
fn bare(tailnet: &Tailnet, hostname: &str) -> Result<Duration> {
    let roots = tempfile::Builder::new().prefix("tetherd-bench-").tempdir()?;
    fs::copy(tailnet.ca_file(), roots.path().join("ca.pem"))?;
    // As tetherd does with its ca_file: the new root beside the system's. An empty SSL_CERT_FILE counts as none.
    let cert_dir = format!("/etc/ssl/certs:/etc/pki/tls/certs:{}", roots.path().display());
    let env = vec![("SSL_CERT_DIR".to_owned(), cert_dir), ("SSL_CERT_FILE".to_owned(), String::new())];
    let key = tailnet.auth_key(KEY)?;
    let node = Node::join_with_key(tailnet, hostname, &key, NodeOptions { env, ..NodeOptions::default() })?;
    let time = node.join_time();
    drop(node);
    tailnet.delete_node(hostname)?;
    Ok(time)
}

fn evaluate(rounds: &[Round], size: u64) -> Result<Report> {
    let milliseconds = |name, of: fn(&Round) -> Duration| {
        Series::new(name, "ms", rounds.iter().map(|round| of(round).as_secs_f64() * 1000.0).collect())
    };
    let kib = |name, of: fn(&Round) -> Option<u64>| {
        Series::new(name, "KiB", rounds.iter().filter_map(of).map(|kib| kib as f64).collect())
    };
    let tetherd = milliseconds("tetherd, exec to /readyz 200", |round| round.tetherd.ready)?;
    let bare = milliseconds("bare tailscaled, exec to Running", |round| round.bare)?;
    let shell = milliseconds("tailscaled & tailscale up, exec to its end", |round| round.entry_point)?;
    let secret = milliseconds("tetherd, exec to secret in hand (moto)", |round| round.secret)?;
    let stop = milliseconds("tetherd, SIGTERM to exit, node gone", |round| round.tetherd.stop)?;
    let rss = kib("tetherd, VmRSS when idle", |round| Some(round.tetherd.rss))?;
    let rows = vec![
        Row::at_most("start / bare tailscaled over LocalAPI", 1.10, "", tetherd.median() / bare.median()),
        Row::at_most("start / tailscaled & tailscale up", 0.4, "", tetherd.median() / shell.median()),
        Row::under("exec to secret in hand", 60.0, "ms", secret.median()),
        Row::under("SIGTERM to exit, node gone", 500.0, "ms", stop.median()),
        Row::at_most("idle RSS of tetherd", 6.0, "MiB", rss.median() / 1024.0),
        Row::at_most("release binary", 4.5, "MB", size as f64 / 1e6),
    ];
    let mut series = vec![tetherd, bare, shell, secret, stop, rss];
    // Not there where the kernel lets nobody look: tetherd forbids it to other processes of its user.
    series.extend(kib("tetherd, Pss when idle", |round| round.tetherd.pss).ok());
    Ok(Report { rows, series })
}

/// In cargo's target directory, wherever that is.
fn results() -> Result<PathBuf> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().context("the target directory has no name")?;
    Ok(target.join("bench/start.json"))
}
