//! Makes a port of a namespace reachable from outside it, by a TCP relay.
//!
//! It accepts here, connects there, and copies both ways.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

use anyhow::{Context, Result};

use crate::netns::Handle;

/// Relays every connection to `listener` to `target` in the namespace, as long as the program runs.
/// Returns the listener's address.
pub fn start(listener: TcpListener, inside: Handle, target: SocketAddr) -> Result<SocketAddr> {
    let address = listener.local_addr()?;
    thread::Builder::new()
        .name(format!("relay-{}", target.port()))
        .spawn(move || {
            for client in listener.incoming().flatten() {
                let inside = inside.clone();
                // A failed connection is the client's news: its stream closes.
                thread::spawn(move || relay(client, &inside, target));
            }
        })
        .context("cannot start a thread")?;
    Ok(address)
}

/// Only this thread moves into the namespace; `client` stays a socket of the outside.
fn relay(client: TcpStream, inside: &Handle, target: SocketAddr) -> Result<()> {
    inside.enter()?;
    let server = TcpStream::connect(target)?;
    thread::scope(|scope| {
        scope.spawn(|| copy(&client, &server));
        copy(&server, &client);
    });
    Ok(())
}

/// One direction; its end is passed on, and the other direction lives on.
fn copy(mut from: &TcpStream, mut to: &TcpStream) {
    // A broken connection ends both directions, a finished one its own.
    let end = if io::copy(&mut from, &mut to).is_ok() { Shutdown::Write } else { Shutdown::Both };
    let _ = to.shutdown(end);
}
