//! A server that is far away, by a relay that delays.
//!
//! It is on the namespace's loopback, and hands every chunk on after a delay.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::wait::pace;

/// Relays every connection to a new port to `server`, whose round trip it makes `round_trip` long, as long as the program
/// runs. Returns the port's address. To be called in a thread of the namespace.
pub fn start(server: SocketAddr, round_trip: Duration) -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            // A failed connection is the client's news: its stream closes.
            thread::spawn(move || relay(&client, server, round_trip));
        }
    });
    Ok(address)
}

fn relay(client: &TcpStream, server: SocketAddr, round_trip: Duration) -> Result<()> {
    let server = TcpStream::connect(server)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    // The kernel has answered the client's SYN at once.
    let connected = Instant::now() + round_trip;
    thread::scope(|scope| {
        scope.spawn(|| carry(client, &server, connected, round_trip / 2));
        carry(&server, client, connected, round_trip / 2);
    });
    Ok(())
}

/// One direction: what is read is written `delay` later, at the earliest `delay` after `start`; the end, too.
fn carry(mut from: &TcpStream, mut to: &TcpStream, start: Instant, delay: Duration) {
    let (sender, chunks) = mpsc::channel::<(Instant, Vec<u8>)>();
    thread::scope(|scope| {
        scope.spawn(move || {
            for (due, chunk) in chunks {
                pace(due.saturating_duration_since(Instant::now()));
                if to.write_all(&chunk).is_err() {
                    let _ = to.shutdown(Shutdown::Both);
                    return;
                }
            }
            let _ = to.shutdown(Shutdown::Write);
        });
        let mut buffer = [0; 16 << 10];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            let _ = sender.send((Instant::now().max(start) + delay, buffer[..read].to_vec()));
        }
        drop(sender);
    });
}
