//! Target servers on the namespace's loopback, IPv4 and IPv6, in threads.
//!
//! Dropping one closes its port and every connection it has. Port 0 takes a free one.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::socket::{self, Backlog};

use crate::reset::reset_at_close;
use crate::wait::pace;

/// The page served at `/` unless another is given.
pub const PAGE: &str = "<!doctype html><title>tetherd test page</title><p>It works.</p>\n";

/// The body of `/bytes/N`, of slow answers, and of what tests want to send: no period that a buffer size divides.
pub fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index % 251) as u8).collect()
}

/// How a [`Server::slow_answer`] behaves.
#[derive(Clone, Copy, Debug)]
pub struct SlowAnswer {
    /// Answer only when the client has ended its direction; otherwise after the first line.
    pub after_half_close: bool,
    /// Length of the answer, which is [`pattern`].
    pub bytes: usize,
    /// The answer is sent in this many parts…
    pub parts: usize,
    /// …with this pause before each.
    pub pause: Duration,
}

/// Nothing that can panic is done under the lock.
const POISONED: &str = "a thread panicked while it held the connections";

/// What is done with a connection, in a thread of its own.
pub(crate) trait Handler: Fn(&TcpStream) -> io::Result<()> + Clone + Send + 'static {}

impl<F: Fn(&TcpStream) -> io::Result<()> + Clone + Send + 'static> Handler for F {}

type Connections = Arc<Mutex<HashMap<u64, TcpStream>>>;

/// A running target.
pub struct Server {
    port: u16,
    listeners: Vec<TcpListener>,
    connections: Connections,
    acceptors: Vec<JoinHandle<()>>,
}

impl Server {
    /// HTTP/1.0: `/` answers [`PAGE`], `/bytes/N` N bytes, anything else 404.
    pub fn http(port: u16) -> Result<Self> {
        Self::page(port, PAGE)
    }

    /// As [`Server::http`], on all addresses of the namespace.
    pub fn http_everywhere(port: u16) -> Result<Self> {
        Self::serve_everywhere(port, move |stream| answer_http(stream, PAGE))
    }

    /// As [`Server::http`], with a page of one's own.
    pub fn page(port: u16, page: &'static str) -> Result<Self> {
        Self::serve(port, move |stream| answer_http(stream, page))
    }

    /// Sends everything back.
    pub fn echo(port: u16) -> Result<Self> {
        Self::serve(port, |stream| io::copy(&mut &*stream, &mut &*stream).map(drop))
    }

    /// On all addresses of the namespace: sends everything back.
    pub fn echo_everywhere(port: u16) -> Result<Self> {
        Self::serve_everywhere(port, |stream| io::copy(&mut &*stream, &mut &*stream).map(drop))
    }

    /// On all addresses of the namespace: reads so many `bytes`, says `word` and closes the connection.
    pub fn saying(port: u16, bytes: usize, word: &'static [u8]) -> Result<Self> {
        Self::serve_everywhere(port, move |mut stream| {
            stream.read_exact(&mut vec![0; bytes])?;
            stream.write_all(word)
        })
    }

    /// Reads a line or to the end, then answers at leisure.
    pub fn slow_answer(port: u16, how: SlowAnswer) -> Result<Self> {
        Self::serve(port, move |stream| answer_slowly(stream, how))
    }

    /// On all addresses of the namespace: reads what comes first, answers by `answer` and resets the connection. Let it
    /// fit into one packet: a reset drops what the kernel has not sent.
    pub fn resetting(port: u16, answer: &'static [u8]) -> Result<Self> {
        Self::serve_everywhere(port, move |mut stream| {
            let _ = stream.read(&mut [0; 1024])?;
            stream.write_all(answer)?;
            reset_at_close(stream)
        })
    }

    /// The kernel accepts connections and nobody ever reads from them.
    pub fn silent(port: u16) -> Result<Self> {
        Self::bind(port)
    }

    /// Connections are neither accepted nor refused: a SYN gets no answer.
    pub fn black_hole(port: u16) -> Result<Self> {
        let server = Self::bind(port)?;
        for (id, listener) in (0..).zip(&server.listeners) {
            // With room for one and that one taken, Linux drops every further SYN.
            socket::listen(listener, Backlog::new(0)?)?;
            let filler = TcpStream::connect(listener.local_addr()?)?;
            server.connections.lock().expect(POISONED).insert(id, filler);
        }
        Ok(server)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its IPv4 address.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    fn bind(port: u16) -> Result<Self> {
        let context = || format!("cannot listen on port {port} of the namespace's loopback");
        let v4 = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).with_context(context)?;
        let port = v4.local_addr()?.port();
        let v6 = TcpListener::bind((Ipv6Addr::LOCALHOST, port)).with_context(context)?;
        Ok(Self { port, listeners: vec![v4, v6], connections: Connections::default(), acceptors: Vec::new() })
    }

    /// On all addresses of the namespace, those of nodes with a network interface too.
    fn bind_everywhere(port: u16) -> Result<Self> {
        let context = || format!("cannot listen on port {port} of the namespace");
        let both = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).with_context(context)?;
        let port = both.local_addr()?.port();
        Ok(Self { port, listeners: vec![both], connections: Connections::default(), acceptors: Vec::new() })
    }

    pub(crate) fn serve(port: u16, handler: impl Handler) -> Result<Self> {
        Self::bind(port)?.accepting(handler)
    }

    pub(crate) fn serve_everywhere(port: u16, handler: impl Handler) -> Result<Self> {
        Self::bind_everywhere(port)?.accepting(handler)
    }

    fn accepting(mut self, handler: impl Handler) -> Result<Self> {
        for (lane, listener) in (0..).zip(&self.listeners) {
            let listener = listener.try_clone()?;
            let (connections, handler) = (self.connections.clone(), handler.clone());
            // Numbers of one lane never meet those of the other.
            let numbers = (lane..).step_by(2);
            self.acceptors.push(thread::spawn(move || accept(&listener, &connections, numbers, &handler)));
        }
        Ok(self)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for listener in &self.listeners {
            // Wakes the thread blocked in accept; closing alone would not.
            let _ = socket::shutdown(listener.as_raw_fd(), socket::Shutdown::Both);
        }
        for acceptor in self.acceptors.drain(..) {
            let _ = acceptor.join();
        }
        for stream in self.connections.lock().expect(POISONED).values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn accept(
    listener: &TcpListener,
    connections: &Connections,
    numbers: impl Iterator<Item = u64>,
    handler: &impl Handler,
) {
    for number in numbers {
        let Ok((stream, _)) = listener.accept() else {
            return;
        };
        let Ok(copy) = stream.try_clone() else { return };
        connections.lock().expect(POISONED).insert(number, copy);
        let (connections, handler) = (connections.clone(), handler.clone());
        thread::spawn(move || {
            // A client that goes away is the client's business.
            let _ = handler(&stream);
            // Both copies go here, which is what closes the connection.
            connections.lock().expect(POISONED).remove(&number);
        });
    }
}

fn answer_http(mut stream: &TcpStream, page: &str) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
    }
    let path = request.split(' ').nth(1).unwrap_or_default();
    let (status, body) = match path.strip_prefix("/bytes/").map(str::parse) {
        Some(Ok(length)) => ("200 OK", pattern(length)),
        None if path == "/" => ("200 OK", page.into()),
        _ => ("404 Not Found", b"not found\n".into()),
    };
    let length = body.len();
    let head = format!("HTTP/1.0 {status}\r\nContent-Type: text/html\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(&[head.as_bytes(), &body].concat())
}

fn answer_slowly(mut stream: &TcpStream, how: SlowAnswer) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    reader.read_until(b'\n', &mut Vec::new())?;
    if how.after_half_close {
        reader.read_to_end(&mut Vec::new())?;
    }
    let answer = pattern(how.bytes);
    for part in answer.chunks(how.bytes.div_ceil(how.parts.max(1)).max(1)) {
        pace(how.pause);
        stream.write_all(part)?;
    }
    Ok(())
}
