//! Benchmark of many connections through the tailnet.
//!
//! It measures what an idle one takes of tetherd and of the whole tree, whether all stay alive, and what they cost the
//! busy ones.

use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use nix::sys::resource::{Resource, getrlimit};
use testbed::netns::Handle;

use crate::idle;
use crate::latency::{busy, there_and_back};
use crate::report::{Report, Row, Series};
use crate::scene::{ECHO, Proxy, Scene, TETHERD};
use crate::usage::rss_kib;

const WANTED: usize = 10_000;
const BUSY: usize = 200;
/// So many clients open connections at once; tailscaled handles some thousand attempts and drops further ones.
pub const OPENING: usize = 16;
const TURN: Duration = Duration::from_millis(1500);
/// What tetherd wants of open files for a connection, and for itself.
const FILES: usize = 4;
const FILES_OF_ITS_OWN: usize = 100;

pub fn measure(rounds: usize) -> Result<Report> {
    let mut report = idle::measure(rounds)?;
    let most = fitting()?;
    let scene = Scene::new()?;
    let mut busy_ones = open(TETHERD, BUSY)?;
    // What grows once, with the first connections, is not theirs.
    let alone = busy_p99(&mut busy_ones, rounds)?;
    let before = rss_kib(scene.tetherd.pid())?;
    let mut idle = open(TETHERD, most - BUSY)?;
    let each = rss_kib(scene.tetherd.pid())?.saturating_sub(before) as f64 / idle.len() as f64;
    let among = busy_p99(&mut busy_ones, rounds)?;
    for (number, stream) in idle.iter_mut().enumerate() {
        there_and_back(stream).with_context(|| format!("connection {number} of {most} is lost"))?;
    }
    let alone = Series::new(format!("{BUSY} busy connections, p99 of a round trip, alone"), "ms", alone)?;
    let among = Series::new(format!("{BUSY} busy connections, p99 of a round trip, among {most}"), "ms", among)?;
    report.rows.extend([
        Row::at_most("memory of tetherd for an idle connection", 4.0, "KiB", each),
        Row::at_least("connections open at once, all alive", WANTED as f64, "", most as f64),
        Row::at_most(format!("p99 of {BUSY} busy ones among {most} / alone"), 1.5, "", among.median() / alone.median()),
    ]);
    let memory = Series::new("memory of tetherd for an idle connection", "KiB", vec![each])?;
    report.series.extend([alone, among, memory]);
    Ok(report)
}

/// As many as wanted, or as the limit of open files allows.
fn fitting() -> Result<usize> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let files = usize::try_from(hard).unwrap_or(usize::MAX);
    let most = (files.saturating_sub(FILES_OF_ITS_OWN) / FILES).min(WANTED);
    ensure!(most > 2 * BUSY, "ulimit -Hn is {hard}");
    Ok(most)
}

fn busy_p99(streams: &mut [TcpStream], rounds: usize) -> Result<Vec<f64>> {
    (0..=rounds).map(|_| Ok(busy(streams, TURN)?.p99())).skip(1).collect()
}

/// So many connections, each of which has carried a byte there and back.
pub fn open(proxy: Proxy, number: usize) -> Result<Vec<TcpStream>> {
    let namespace = Handle::current()?;
    let clients: Vec<_> = (0..OPENING)
        .map(|client| {
            let namespace = namespace.clone();
            thread::spawn(move || {
                namespace.enter()?;
                (client..number).step_by(OPENING).map(|_| proxy.connect("web", ECHO)).collect::<Result<Vec<_>>>()
            })
        })
        .collect();
    let mut streams = Vec::new();
    for client in clients {
        streams.extend(client.join().map_err(|_| anyhow!("a client panicked"))??);
    }
    for stream in &mut streams {
        there_and_back(stream)?;
    }
    Ok(streams)
}
