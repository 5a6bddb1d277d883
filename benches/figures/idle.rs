//! Benchmark of the memory that an idle connection takes.
//!
//! It counts all that a proxy runs: tetherd with its tailscaled, and tailscaled with its own SOCKS5 server. Each turn
//! has a tailnet of its own: a program does not give back what an earlier turn made it take.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use testbed::netns::{self, Handle};
use testbed::{Node, Tailnet};

use crate::connections::{OPENING, open};
use crate::echo;
use crate::latency::{Ends, first_byte, there_and_back};
use crate::report::{Report, Row, Series};
use crate::scene::{self, ECHO, Proxy, TAILSCALED, TETHERD};
use crate::usage::tree_kib;

const CONNECTIONS: usize = 2_000;
/// Connections that come and go before, by as many clients as open the idle ones: what they leave in pools and in the
/// heap is not the idle ones'.
const WARM_UP: usize = 400;
/// Until what has just ended or begun is at rest.
const REST: Duration = Duration::from_secs(2);
const NAME: &str = "idle connection of the whole tree";

pub fn measure(rounds: usize) -> Result<Report> {
    let mut each = [Vec::new(), Vec::new()];
    for round in 0..rounds {
        for turn in 0..each.len() {
            let proxy = (turn + round) % each.len();
            // In a thread, and so in a namespace, of its own.
            let measured = thread::spawn(move || if proxy == 0 { of_tetherd() } else { of_tailscaled() }).join();
            each[proxy].push(measured.map_err(|_| anyhow!("a turn panicked"))??);
        }
    }
    let ratios = each[0].iter().zip(&each[1]).map(|(mine, other)| mine / other).collect();
    let [mine, other] = each;
    let mine = Series::new(format!("{NAME}, tetherd"), "KiB", mine)?;
    let other = Series::new(format!("{NAME}, tailscaled's SOCKS5 server"), "KiB", other)?;
    let ratios = Series::new(format!("{NAME}, ratio"), "", ratios)?;
    let rows = vec![Row::at_most(NAME, 24.0, "KiB", mine.median())];
    Ok(Report { rows, series: vec![mine, other, ratios] })
}

fn of_tetherd() -> Result<f64> {
    let (tailnet, _web) = ground()?;
    let tetherd = scene::tetherd(&tailnet)?;
    growth(TETHERD, tetherd.pid()).context("through tetherd")
}

fn of_tailscaled() -> Result<f64> {
    let (tailnet, _web) = ground()?;
    let tailscaled = scene::tailscaled(&tailnet)?;
    growth(TAILSCALED, tailscaled.pid()).context("through tailscaled's SOCKS5 server")
}

/// A tailnet with the node `web`, whose targets are in this process.
fn ground() -> Result<(Tailnet, Node)> {
    netns::enter_new()?;
    let tailnet = Tailnet::start()?;
    let web = Node::join(&tailnet, "web")?;
    echo::on(ECHO..=ECHO)?;
    Ok((tailnet, web))
}

/// KiB for each idle connection of the process `pid` and all below it.
fn growth(proxy: Proxy, pid: i32) -> Result<f64> {
    warm_up(proxy)?;
    thread::sleep(REST);
    let before = tree_kib(pid)?;
    let mut idle = open(proxy, CONNECTIONS)?;
    thread::sleep(REST);
    let growth = tree_kib(pid)?.saturating_sub(before) as f64 / CONNECTIONS as f64;
    for (number, stream) in idle.iter_mut().enumerate() {
        there_and_back(stream).with_context(|| format!("connection {number} is lost"))?;
    }
    Ok(growth)
}

fn warm_up(proxy: Proxy) -> Result<()> {
    let namespace = Handle::current()?;
    thread::scope(|scope| {
        let client = |client: usize| {
            namespace.enter()?;
            for _ in (client..WARM_UP).step_by(OPENING) {
                first_byte(Ends::Client, || proxy.connect("web", ECHO))?;
            }
            Ok(())
        };
        let clients: Vec<_> = (0..OPENING).map(|number| scope.spawn(move || client(number))).collect();
        let ended = clients.into_iter().map(|client| client.join().map_err(|_| anyhow!("a client panicked"))?);
        ended.collect::<Result<()>>()
    })
}
