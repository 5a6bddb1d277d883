//! Benchmark through the tailnet, against tailscaled's own SOCKS5 server.
//!
//! It measures throughput, connect to first byte, and round trip.

use std::iter::Cycle;
use std::ops::RangeInclusive;
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use testbed::load::Way;

use crate::echo;
use crate::latency::{Ends, Times, first_byte, there_and_back};
use crate::report::{Report, Row, Series};
use crate::scene::{ECHO, LOAD, Proxy, Scene, TAILSCALED, TETHERD};

const CARRY: (Duration, Duration) = (Duration::from_millis(300), Duration::from_millis(1200));
const STREAMS: [usize; 2] = [1, 8];
const WAYS: [(Way, &str); 2] = [(Way::Down, "down"), (Way::Up, "up")];
/// In each round, so that the p99 of all rounds stands on more than a thousand.
const CONNECTIONS: usize = 300;
/// Targets that end their connections, each to have few: the stack inside the target's tailscaled lets a SYN go
/// unanswered that has the ports of a connection which it ended in the minute before.
const TARGETS: RangeInclusive<u16> = 20_000..=20_999;
/// Targets that wait for the client's end. Two: a proxy that keeps ended connections open has some refused, since the
/// target's tailscaled wants the port of its own for each to be unlike that of any to another target.
const WAITING: RangeInclusive<u16> = 21_000..=21_001;
const ROUND_TRIPS: usize = 2_000;
/// For the same reason those that carried bytes are to have ended.
const ENDED: Duration = Duration::from_secs(1);
/// A turn of round trips of one proxy.
const TURN: usize = 100;

/// The same for both: tetherd, then tailscaled.
type Pair<T> = [T; 2];
const PAIR: Pair<Proxy> = [TETHERD, TAILSCALED];
const NAMES: Pair<&str> = ["tetherd", "tailscaled"];

/// Connections that end in the same way.
struct Connects {
    name: &'static str,
    ends: Ends,
    /// How many one proxy has in a turn. The end of a connection costs something while the next one is opened: where
    /// the client ends it, that is to be the same proxy's.
    turn: usize,
    targets: Cycle<RangeInclusive<u16>>,
}

/// What is wanted of the ratio of both, or of tetherd's value alone.
#[derive(Clone, Copy, Debug)]
enum Goal {
    Flow,
    Connect,
    SlowConnect,
    RoundTrip,
    Failures,
}

impl Goal {
    fn unit(self) -> &'static str {
        match self {
            Self::Flow => "MB/s",
            Self::Connect | Self::SlowConnect | Self::RoundTrip => "ms",
            Self::Failures => "",
        }
    }

    fn row(self, name: &str, [mine, other]: Pair<&Series>) -> Row {
        let ratio = mine.median() / other.median();
        let compared = format!("{name} / tailscaled's SOCKS5 server");
        match self {
            Self::Flow => Row::at_least(compared, 0.97, "", ratio),
            Self::Connect => Row::at_most(compared, 1.10, "", ratio),
            Self::SlowConnect => Row::at_most(compared, 1.20, "", ratio),
            Self::RoundTrip => Row::at_most(compared, 1.05, "", ratio),
            // One round in which some failed is one too many.
            Self::Failures => Row::at_most(name, 0.0, "", mine.max()),
        }
    }
}

/// A value of each of both, in each round.
struct Measured<T> {
    name: String,
    goal: Goal,
    pair: Pair<T>,
}

pub fn measure(rounds: usize) -> Result<Report> {
    in_rounds(rounds, |scene, kinds, round| {
        Ok([times(kinds)?, flows_of(scene, round)?].into_iter().flatten().collect())
    })
}

/// Without throughput, for a quick look.
pub fn measure_times(rounds: usize) -> Result<Report> {
    in_rounds(rounds, |_, kinds, _| times(kinds))
}

/// Throughput alone.
pub fn measure_flows(rounds: usize) -> Result<Report> {
    in_rounds(rounds, |scene, _, round| flows_of(scene, round))
}

/// Has `measure` called with the round's number, once more than asked for.
fn in_rounds(
    rounds: usize,
    measure: impl Fn(&Scene, &mut [Connects], usize) -> Result<Vec<Measured<f64>>>,
) -> Result<Report> {
    let scene = Scene::beside_tailscaled()?;
    echo::on(TARGETS)?;
    echo::on(WAITING)?;
    let mut kinds = [
        Connects { name: "connect to first byte", ends: Ends::Target, turn: 1, targets: TARGETS.cycle() },
        Connects { name: "client closes first", ends: Ends::Client, turn: 10, targets: WAITING.cycle() },
    ];
    let mut all: Vec<Measured<Vec<f64>>> = Vec::new();
    for round in 0..=rounds {
        thread::sleep(ENDED);
        let measured = measure(&scene, &mut kinds, round)?;
        if all.is_empty() {
            // The first round warms everything up.
            let empty = |Measured { name, goal, .. }| Measured { name, goal, pair: Default::default() };
            all = measured.into_iter().map(empty).collect();
        } else {
            for (all, measured) in all.iter_mut().zip(measured) {
                all.pair.iter_mut().zip(measured.pair).for_each(|(kept, value)| kept.push(value));
            }
        }
    }
    evaluate(all)
}

fn evaluate(all: Vec<Measured<Vec<f64>>>) -> Result<Report> {
    let mut report = Report::default();
    for Measured { name, goal, pair: [mine, other] } in all {
        let series = |of: &str, values| Series::new(format!("{name}, {of}"), goal.unit(), values);
        let (mine, other) = (series(NAMES[0], mine)?, series(NAMES[1], other)?);
        report.rows.push(goal.row(&name, [&mine, &other]));
        report.series.extend([mine, other]);
    }
    Ok(report)
}

fn times(kinds: &mut [Connects]) -> Result<Vec<Measured<f64>>> {
    let mut measured = Vec::new();
    for kind in kinds {
        let name = format!("tailnet, {}", kind.name);
        let (mut times, failures) = kind.measure()?;
        let (p50, p99) = (times.each_mut().map(Times::p50), times.each_mut().map(Times::p99));
        measured.push(Measured { name: format!("{name}, p50"), goal: Goal::Connect, pair: p50 });
        measured.push(Measured { name: format!("{name}, p99"), goal: Goal::SlowConnect, pair: p99 });
        measured.push(Measured { name: format!("{name}, failed"), goal: Goal::Failures, pair: failures });
    }
    let trips = round_trips()?.each_mut().map(Times::p50);
    measured.push(Measured { name: "tailnet, round trip of a byte, p50".into(), goal: Goal::RoundTrip, pair: trips });
    Ok(measured)
}

impl Connects {
    /// Times of those that came to their first byte, and the number of those that did not.
    fn measure(&mut self) -> Result<(Pair<Times>, Pair<f64>)> {
        let (mut times, mut failures) = ([Times::default(), Times::default()], [0.0; 2]);
        for number in 0..2 * CONNECTIONS {
            let (proxy, target) = (number / self.turn % 2, self.targets.next().unwrap_or(ECHO));
            match first_byte(self.ends, || PAIR[proxy].connect("web", target)) {
                Ok(time) => times[proxy].add(time),
                Err(_) => failures[proxy] += 1.0,
            }
        }
        ensure!(failures.iter().all(|&failed| failed < CONNECTIONS as f64), "no connection came to its first byte");
        Ok((times, failures))
    }
}

fn round_trips() -> Result<Pair<Times>> {
    let mut streams = [PAIR[0].connect("web", ECHO)?, PAIR[1].connect("web", ECHO)?];
    let mut trips = [Times::default(), Times::default()];
    for number in 0..2 * ROUND_TRIPS {
        let proxy = number / TURN % 2;
        trips[proxy].add(there_and_back(&mut streams[proxy])?);
    }
    Ok(trips)
}

/// Who comes first changes from round to round.
fn flows_of(scene: &Scene, round: usize) -> Result<Vec<Measured<f64>>> {
    let mut flows = Vec::new();
    for streams in STREAMS {
        for (way, direction) in WAYS {
            let mut pair = [0.0; 2];
            for turn in 0..2 {
                let proxy = (turn + round) % 2;
                let flow = scene.load.run(streams, way, CARRY, || PAIR[proxy].connect("web", LOAD))?;
                pair[proxy] = flow.megabytes_a_second();
            }
            flows.push(Measured { name: format!("tailnet, {streams} x {direction}"), goal: Goal::Flow, pair });
        }
    }
    Ok(flows)
}
