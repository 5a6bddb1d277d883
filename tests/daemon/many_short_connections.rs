//! Tests thousands of short connections whose clients close first.
//!
//! They come one after the other: all work, none waits. The receiving tailscaled registers the loopback port of each
//! connection it hands on; were finished ones kept open, the kernel would give such a port again for another target,
//! and the new connection would be refused or hang.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use testbed::Ends;
use testbed::daemon::SOCKS;
use testbed::socks;

use crate::scene::Scene;

const CLIENTS: usize = 3_000;
const PORTS: [u16; 2] = [6379, 11_211];
/// For one client from connect to close. It takes a few ms; a lost packet costs less than this, a wait for a time limit
/// more.
const SLOWEST: Duration = Duration::from_secs(1);
/// After so many failures the rest is not waited for.
const ENOUGH: usize = 50;

fn one_client(port: u16) -> Result<(), socks::Error> {
    let mut stream = TcpStream::connect(SOCKS)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(2 * SLOWEST))?;
    socks::handshake(&mut stream, "web", port, None)?;
    stream.write_all(b"PING")?;
    Ok(stream.read_exact(&mut [0; 4])?)
}

#[test]
fn three_thousand_clients_one_after_the_other_to_two_ports_of_one_node() {
    let scene = Scene::new();
    let _targets = PORTS.map(|port| Ends::answering(port, b"PING", b"PONG").expect("server"));
    let _daemon = scene.ready();
    let (mut times, mut failed) = (Vec::new(), Vec::new());
    for number in 0..CLIENTS {
        let begun = Instant::now();
        let ended = one_client(PORTS[number % 2]);
        times.push(begun.elapsed());
        failed.extend(ended.err().map(|error| format!("{number}: {error}")));
        if failed.len() == ENOUGH {
            break;
        }
    }
    times.sort();
    let (median, slowest) = (times[times.len() / 2], times[times.len() - 1]);
    println!("{} clients: median {median:?}, slowest {slowest:?}, {} failed", times.len(), failed.len());
    assert!(failed.is_empty(), "{} of {} clients fail:\n{}", failed.len(), times.len(), failed.join("\n"));
    assert!(slowest < SLOWEST, "the slowest took {slowest:?}, the median {median:?}");
}
