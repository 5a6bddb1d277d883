//! An echo server: the benchmarks' target, which sends back what it gets.
//!
//! It runs on one thread: thousands of them would be a test of the machine.

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;

/// The target ends a connection once it has sent this byte back. After any other it waits for the client's end.
pub const ONCE: u8 = b'1';

/// After an error, such as too many open files, accepting at once would spin.
const PAUSE: Duration = Duration::from_millis(10);

/// Listens on `ports` of this namespace from when this returns until the program ends.
pub fn on(ports: RangeInclusive<u16>) -> Result<()> {
    let (ready, listens) = mpsc::channel();
    thread::spawn(move || -> Result<()> {
        let event_loop = Builder::new_current_thread().enable_all().build()?;
        event_loop.block_on(async {
            let mut listening = Vec::new();
            for port in ports {
                let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
                listening.push(serve(bound.with_context(|| format!("cannot listen on port {port}"))?));
            }
            ready.send(())?;
            join_all(listening).await;
            Ok(())
        })
    });
    listens.recv().context("the echo does not listen")
}

async fn serve(listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(echo(stream))),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

async fn echo(mut stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = [0; 64];
    loop {
        let read = stream.read(&mut buffer).await?;
        stream.write_all(&buffer[..read]).await?;
        if read == 0 || buffer[0] == ONCE {
            return Ok(());
        }
    }
}
