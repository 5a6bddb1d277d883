//! Benchmark of direct connections: throughput, processor time, connection rate.
//!
//! The targets lie outside the tailnet, and the rivals are the SOCKS5 servers that people use there. All on loopback,
//! the worst case for a proxy: nothing but it costs time.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::Result;
use testbed::load::Way;

use crate::latency::{Ends, Times, connections_a_second, first_byte};
use crate::report::{Report, Row, Series};
use crate::rivals::{self, Rival};
use crate::scene::{ECHO, LOAD, Scene, TETHERD};
use crate::usage::cpu_seconds;

const CARRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_millis(1000));
const STREAMS: [usize; 3] = [1, 32, 64];
const CONNECTIONS: usize = 300;
const CLIENTS: usize = 8;
const CLIENTS_FOR: Duration = Duration::from_millis(700);
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// What is measured of each, in each round.
#[derive(Default)]
struct Measured {
    flow: [Vec<f64>; 3],
    /// Processor seconds a GB, with 1 and with 32 streams.
    cost: [Vec<f64>; 3],
    first_byte: Vec<f64>,
    connections: Vec<f64>,
}

/// A way to the targets.
struct Contestant {
    name: &'static str,
    connect: Box<dyn Fn(u16) -> Result<TcpStream> + Sync>,
    pid: Option<i32>,
    measured: Measured,
}

pub fn measure(rounds: usize) -> Result<Report> {
    let scene = Scene::new()?;
    let rivals = rivals::all()?;
    let mut contestants = contestants(&scene, &rivals);
    for round in 0..=rounds {
        let count = contestants.len();
        for turn in 0..count {
            let contestant = &mut contestants[(turn + round) % count];
            contestant.measure(&scene, round > 0)?;
        }
    }
    evaluate(contestants)
}

/// tetherd first, no proxy last.
fn contestants(scene: &Scene, rivals: &[Rival]) -> Vec<Contestant> {
    let through = |name, proxy: crate::scene::Proxy, pid| Contestant {
        name,
        connect: Box::new(move |port| proxy.connect("127.0.0.1", port)),
        pid: Some(pid),
        measured: Measured::default(),
    };
    let mut all = vec![through("tetherd", TETHERD, scene.tetherd.pid())];
    all.extend(rivals.iter().map(|rival| through(rival.name, rival.proxy, rival.pid())));
    let directly = |port| {
        let stream = TcpStream::connect(SocketAddr::new(LOOPBACK, port))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    };
    all.push(Contestant { name: "no proxy", connect: Box::new(directly), pid: None, measured: Measured::default() });
    all
}

impl Contestant {
    fn measure(&mut self, scene: &Scene, counts: bool) -> Result<()> {
        let mut times = Times::default();
        for _ in 0..CONNECTIONS {
            times.add(first_byte(Ends::Target, || (self.connect)(ECHO))?);
        }
        let connections = connections_a_second(CLIENTS, CLIENTS_FOR, || (self.connect)(ECHO))?;
        let mut flows = Vec::new();
        for streams in STREAMS {
            let before = self.pid.map_or(Ok(0.0), cpu_seconds)?;
            let flow = scene.load.run(streams, Way::Down, CARRY, || (self.connect)(LOAD))?;
            let spent = self.pid.map_or(Ok(0.0), cpu_seconds)? - before;
            // The time before what is measured costs, too.
            let carried = flow.megabytes_a_second() / 1e3 * (CARRY.0 + CARRY.1).as_secs_f64();
            flows.push((flow.megabytes_a_second(), spent / carried));
        }
        if counts {
            self.measured.first_byte.push(times.p50());
            self.measured.connections.push(connections);
            for (index, (flow, cost)) in flows.into_iter().enumerate() {
                self.measured.flow[index].push(flow);
                self.measured.cost[index].push(cost);
            }
        }
        Ok(())
    }
}

fn evaluate(contestants: Vec<Contestant>) -> Result<Report> {
    let mut report = Report::default();
    let mut medians = Vec::new();
    for Contestant { name, measured, .. } in contestants {
        let Measured { flow, cost, first_byte, connections } = measured;
        let mut of = Vec::new();
        let mut enter = |what: String, unit: &str, values| -> Result<()> {
            let series = Series::new(format!("outside, {what}, {name}"), unit, values)?;
            of.push(series.median());
            report.series.push(series);
            Ok(())
        };
        for ((streams, flow), cost) in STREAMS.iter().zip(flow).zip(cost) {
            enter(format!("{streams} streams"), "MB/s", flow)?;
            enter(format!("{streams} streams, processor"), "s/GB", cost)?;
        }
        enter("connect to first byte, p50".into(), "ms", first_byte)?;
        enter(format!("{CLIENTS} clients, connections"), "/s", connections)?;
        medians.push(of);
    }
    let (mine, rivals) = (&medians[0], &medians[1..medians.len() - 1]);
    let most = |index: usize| rivals.iter().map(|rival| rival[index]).fold(f64::MIN, f64::max);
    let least = |index: usize| rivals.iter().map(|rival| rival[index]).fold(f64::MAX, f64::min);
    for (index, goal) in [(0, 1.3), (1, 1.6), (2, 1.6)] {
        let streams = STREAMS[index];
        let flow = mine[2 * index] / most(2 * index);
        report.rows.push(Row::at_least(format!("outside, {streams} streams / the best of the others"), goal, "", flow));
        let cost = mine[2 * index + 1] / least(2 * index + 1);
        report.rows.push(Row::at_most(format!("outside, {streams} streams, processor / the best"), 0.6, "", cost));
    }
    report.rows.push(Row::at_most("outside, connect to first byte, p50 / the best", 1.0, "", mine[6] / least(6)));
    report.rows.push(Row::at_least("outside, connections a second / the best", 1.0, "", mine[7] / most(7)));
    Ok(report)
}
