//! Through the tailnet, against tailscaled's own SOCKS5 server: throughput, connect to first byte, round trip.

use std::ops::RangeInclusive;
use std::thread;
use std::time::Duration;

use anyhow::Result;
use testbed::load::Way;

use crate::echo;
use crate::latency::{Times, first_byte, there_and_back};
use crate::report::{Report, Row, Series};
use crate::scene::{ECHO, LOAD, Proxy, Scene, TAILSCALED, TETHERD};

const CARRY: (Duration, Duration) = (Duration::from_millis(300), Duration::from_millis(1200));
const STREAMS: [usize; 2] = [1, 8];
const WAYS: [(Way, &str); 2] = [(Way::Down, "down"), (Way::Up, "up")];
/// In each round, so that the p99 of all rounds stands on more than a thousand.
const CONNECTIONS: usize = 300;
/// Each connection goes to another of these: the stack inside the target's tailscaled lets a SYN go unanswered that has the
/// ports of a connection which ended in the minute before, and those of the other side are chosen at random.
const TARGETS: RangeInclusive<u16> = 20_000..=20_999;
const ROUND_TRIPS: usize = 2_000;
/// The target's tailscaled refuses a connection whose own port on loopback one to another target has already: those that
/// carried bytes are to have ended.
const ENDED: Duration = Duration::from_secs(1);
/// A turn of round trips of one proxy.
const TURN: usize = 100;

/// The same for both: tetherd, then tailscaled.
type Pair<T> = [T; 2];
const PAIR: Pair<Proxy> = [TETHERD, TAILSCALED];
const NAMES: Pair<&str> = ["tetherd", "tailscaled"];

pub fn measure(rounds: usize) -> Result<Report> {
    let scene = Scene::beside_tailscaled()?;
    echo::on(TARGETS)?;
    let mut targets = TARGETS.cycle();
    let mut all: Vec<(String, &str, [Vec<f64>; 2])> = Vec::new();
    for round in 0..=rounds {
        thread::sleep(ENDED);
        let measured = [times(&mut targets)?, flows_of(&scene, round)?].concat();
        if all.is_empty() {
            // The first round warms everything up.
            all = measured.into_iter().map(|(name, unit, _)| (name, unit, Default::default())).collect();
        } else {
            for ((.., kept), (.., pair)) in all.iter_mut().zip(measured) {
                kept.iter_mut().zip(pair).for_each(|(kept, value)| kept.push(value));
            }
        }
    }
    let mut report = Report::default();
    for (name, unit, values) in all {
        let ratio = compare(&mut report, &name, unit, values)?;
        let row = format!("{name} / tailscaled's SOCKS5 server");
        report.rows.push(match unit {
            "MB/s" => Row::at_least(row, 0.95, "", ratio),
            _ if name.contains("connect to first byte, p50") => Row::at_most(row, 1.10, "", ratio),
            _ => Row::at_most(row, 1.20, "", ratio),
        });
    }
    Ok(report)
}

/// A name, a unit, and a value of each of both.
type Measured = (String, &'static str, Pair<f64>);

/// Enters both series, and returns the ratio of their medians.
fn compare(report: &mut Report, name: &str, unit: &str, values: Pair<Vec<f64>>) -> Result<f64> {
    let mut medians = Vec::new();
    for (of, values) in NAMES.iter().zip(values) {
        let series = Series::new(format!("{name}, {of}"), unit, values)?;
        medians.push(series.median());
        report.series.push(series);
    }
    Ok(medians[0] / medians[1])
}

fn times(targets: &mut impl Iterator<Item = u16>) -> Result<Vec<Measured>> {
    let mut connects = [Times::default(), Times::default()];
    for number in 0..2 * CONNECTIONS {
        let (proxy, target) = (number % 2, targets.next().unwrap_or(ECHO));
        connects[proxy].add(first_byte(|| PAIR[proxy].connect("web", target))?);
    }
    let mut streams = [PAIR[0].connect("web", ECHO)?, PAIR[1].connect("web", ECHO)?];
    let mut trips = [Times::default(), Times::default()];
    for number in 0..2 * ROUND_TRIPS {
        let proxy = number / TURN % 2;
        trips[proxy].add(there_and_back(&mut streams[proxy])?);
    }
    Ok(vec![
        ("tailnet, connect to first byte, p50".into(), "ms", connects.each_mut().map(Times::p50)),
        ("tailnet, connect to first byte, p99".into(), "ms", connects.each_mut().map(Times::p99)),
        ("tailnet, round trip of a byte, p50".into(), "ms", trips.each_mut().map(Times::p50)),
    ])
}

/// Who comes first changes from round to round.
fn flows_of(scene: &Scene, round: usize) -> Result<Vec<Measured>> {
    let mut flows = Vec::new();
    for streams in STREAMS {
        for (way, direction) in WAYS {
            let mut pair = [0.0; 2];
            for turn in 0..2 {
                let proxy = (turn + round) % 2;
                let flow = scene.load.run(streams, way, CARRY, || PAIR[proxy].connect("web", LOAD))?;
                pair[proxy] = flow.megabytes_a_second();
            }
            flows.push((format!("tailnet, {streams} x {direction}"), "MB/s", pair));
        }
    }
    Ok(flows)
}
