//! Streams that carry as much as they can for a while, to measure throughput.
//!
//! A target sends, reads or does both without end, and the clients measure how much came through.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::server::Server;

/// As large as what a program that moves much would take.
const BLOCK: usize = 128 << 10;

/// Which way bytes go, seen from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Down,
    Up,
    Both,
}

impl Way {
    /// What a client's first byte says.
    fn byte(self) -> u8 {
        match self {
            Self::Down => b'd',
            Self::Up => b'u',
            Self::Both => b'b',
        }
    }

    fn of(byte: u8) -> io::Result<Self> {
        let ways = [Self::Down, Self::Up, Self::Both];
        ways.into_iter().find(|way| way.byte() == byte).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

/// What came through to its end.
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    pub bytes: u64,
    pub time: Duration,
}

impl Flow {
    pub fn megabytes_a_second(self) -> f64 {
        self.bytes as f64 / self.time.as_secs_f64() / 1e6
    }
}

/// A target for such streams, with the count of what arrived at either end.
pub struct Load {
    server: Server,
    arrived: Arc<AtomicU64>,
}

impl Load {
    pub fn on(port: u16) -> Result<Self> {
        let arrived = Arc::new(AtomicU64::new(0));
        let heard = Arc::clone(&arrived);
        let server = Server::serve(port, move |stream| {
            let mut first = [0];
            (&mut &*stream).read_exact(&mut first)?;
            exchange(stream, reversed(Way::of(first[0])?), &heard);
            Ok(())
        })?;
        Ok(Self { server, arrived })
    }

    pub fn port(&self) -> u16 {
        self.server.port()
    }

    /// Opens `streams` streams by `open`, has them carry bytes for `warm_up`, and measures what comes through in the
    /// `time` after that.
    pub fn run(
        &self,
        streams: usize,
        way: Way,
        (warm_up, time): (Duration, Duration),
        open: impl Fn() -> Result<TcpStream>,
    ) -> Result<Flow> {
        let opened: Vec<TcpStream> = (0..streams).map(|_| open()).collect::<Result<_>>()?;
        let flow = thread::scope(|scope| {
            for mut stream in &opened {
                scope.spawn(move || stream.write_all(&[way.byte()]).map(|()| exchange(stream, way, &self.arrived)));
            }
            thread::sleep(warm_up);
            let (before, begun) = (self.arrived.load(Ordering::Relaxed), Instant::now());
            thread::sleep(time);
            let flow = Flow { bytes: self.arrived.load(Ordering::Relaxed) - before, time: begun.elapsed() };
            // Ends reads and writes that wait.
            opened.iter().for_each(|stream| drop(stream.shutdown(Shutdown::Both)));
            flow
        });
        ensure!(flow.bytes > 0, "nothing came through");
        Ok(flow)
    }
}

fn reversed(way: Way) -> Way {
    match way {
        Way::Down => Way::Up,
        Way::Up => Way::Down,
        Way::Both => Way::Both,
    }
}

/// One end's part, until the other end is gone.
fn exchange(stream: &TcpStream, way: Way, arrived: &AtomicU64) {
    thread::scope(|scope| {
        if way != Way::Down {
            scope.spawn(|| send(stream));
        }
        if way != Way::Up {
            receive(stream, arrived);
        }
    });
}

fn send(mut stream: &TcpStream) {
    let block = vec![7; BLOCK];
    while stream.write_all(&block).is_ok() {}
}

fn receive(mut stream: &TcpStream, arrived: &AtomicU64) {
    let mut block = vec![0; BLOCK];
    while let Ok(read @ 1..) = stream.read(&mut block) {
        arrived.fetch_add(read as u64, Ordering::Relaxed);
    }
    // The other half of this end would write on for ever.
    let _ = stream.shutdown(Shutdown::Both);
}
