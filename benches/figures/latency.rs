//! Measures the latency of single exchanges, by clients that take turns.
//!
//! Since they take turns, what disturbs one disturbs the other.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use testbed::netns::Handle;

use crate::echo::ONCE;
use crate::report::quantile;

/// Who ends a connection first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    Target,
    /// As Redis, memcached and HTTP clients do; the target ends its side when it hears of it.
    Client,
}

/// Milliseconds in ascending order.
#[derive(Default)]
pub struct Times(Vec<f64>);

impl Times {
    pub fn add(&mut self, time: Duration) {
        self.0.push(time.as_secs_f64() * 1000.0);
    }

    pub fn p50(&mut self) -> f64 {
        self.at(0.5)
    }

    pub fn p99(&mut self) -> f64 {
        self.at(0.99)
    }

    fn at(&mut self, part: f64) -> f64 {
        self.0.sort_by(f64::total_cmp);
        quantile(&self.0, part)
    }
}

/// Time from nothing to the first byte of the answer. A client that ends first closes its socket before this returns.
pub fn first_byte(ends: Ends, connect: impl Fn() -> Result<TcpStream>) -> Result<Duration> {
    let begun = Instant::now();
    let mut stream = connect()?;
    exchange(&mut stream, if ends == Ends::Target { ONCE } else { b'x' })?;
    Ok(begun.elapsed())
}

pub fn there_and_back(stream: &mut TcpStream) -> Result<Duration> {
    let begun = Instant::now();
    exchange(stream, b'x')?;
    Ok(begun.elapsed())
}

fn exchange(stream: &mut TcpStream, byte: u8) -> Result<()> {
    stream.write_all(&[byte])?;
    Ok(stream.read_exact(&mut [0])?)
}

/// Round trips on all streams at once for `time`, a thread each.
pub fn busy(streams: &mut [TcpStream], time: Duration) -> Result<Times> {
    let begin = Barrier::new(streams.len());
    let all = thread::scope(|scope| {
        let clients: Vec<_> = streams
            .iter_mut()
            .map(|stream| {
                let begin = &begin;
                scope.spawn(move || {
                    begin.wait();
                    let (begun, mut times) = (Instant::now(), Vec::new());
                    while begun.elapsed() < time {
                        times.push(there_and_back(stream)?);
                    }
                    Ok(times)
                })
            })
            .collect();
        let ended = clients.into_iter().map(|client| client.join().map_err(|_| anyhow!("a client panicked"))?);
        ended.collect::<Result<Vec<Vec<Duration>>>>()
    })?;
    let mut times = Times::default();
    all.into_iter().flatten().for_each(|time| times.add(time));
    Ok(times)
}

/// How many connections with a byte there and back `clients` make in a second.
pub fn connections_a_second(
    clients: usize,
    time: Duration,
    connect: impl Fn() -> Result<TcpStream> + Sync,
) -> Result<f64> {
    let namespace = Handle::current()?;
    let begun = Instant::now();
    let made = thread::scope(|scope| {
        let clients: Vec<_> = (0..clients)
            .map(|_| {
                scope.spawn(|| {
                    namespace.enter()?;
                    let mut made = 0;
                    while begun.elapsed() < time {
                        first_byte(Ends::Target, &connect)?;
                        made += 1;
                    }
                    Ok(made)
                })
            })
            .collect();
        let made = clients.into_iter().map(|client| client.join().map_err(|_| anyhow!("a client panicked"))?);
        made.sum::<Result<u64>>()
    })?;
    Ok(made as f64 / begun.elapsed().as_secs_f64())
}
