//! A target that keeps every request as it came, byte for byte.
//!
//! It answers what a test tells it to. It speaks HTTP/1.1 itself: a library would tidy up what is to be compared.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub line: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Seen {
    /// All values of a header, in order.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
    }
}

/// Head (status line and headers, without the length) and body.
#[derive(Clone)]
pub struct Reply {
    pub head: String,
    pub body: Vec<u8>,
    pub after: Duration,
}

#[derive(Clone)]
pub struct Target(Arc<State>);

struct State {
    seen: Mutex<Vec<Seen>>,
    reply: Mutex<Reply>,
    connections: AtomicUsize,
}

impl Target {
    pub fn start(port: u16) -> io::Result<Self> {
        let reply = Reply { head: "HTTP/1.1 200 OK".into(), body: Vec::new(), after: Duration::ZERO };
        let connections = AtomicUsize::new(0);
        let target = Self(Arc::new(State { seen: Mutex::default(), reply: Mutex::new(reply), connections }));
        for listener in
            [TcpListener::bind((Ipv4Addr::LOCALHOST, port))?, TcpListener::bind((Ipv6Addr::LOCALHOST, port))?]
        {
            let target = target.clone();
            thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let target = target.clone();
                    target.0.connections.fetch_add(1, Ordering::Relaxed);
                    thread::spawn(move || while target.exchange(&stream).is_ok() {});
                }
            });
        }
        Ok(target)
    }

    pub fn answer(&self, head: &str, body: &[u8]) {
        self.answer_after(head, body, Duration::ZERO);
    }

    pub fn answer_after(&self, head: &str, body: &[u8], after: Duration) {
        *self.0.reply.lock().expect("whole") = Reply { head: head.into(), body: body.into(), after };
    }

    /// What has come since the last time.
    pub fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut self.0.seen.lock().expect("whole"))
    }

    pub fn connections(&self) -> usize {
        self.0.connections.load(Ordering::Relaxed)
    }

    fn exchange(&self, mut stream: &TcpStream) -> io::Result<()> {
        let seen = read(&mut BufReader::new(stream))?;
        let is_head = seen.line.starts_with("HEAD ");
        self.0.seen.lock().expect("whole").push(seen);
        let reply = self.0.reply.lock().expect("whole").clone();
        thread::sleep(reply.after);
        let head = format!("{}\r\nContent-Length: {}\r\n\r\n", reply.head, reply.body.len());
        stream.write_all(head.as_bytes())?;
        if is_head { Ok(()) } else { stream.write_all(&reply.body) }
    }
}

/// Latin-1 keeps every byte apart.
fn text(line: &[u8]) -> String {
    line.iter().copied().map(char::from).collect()
}

fn read(reader: &mut impl BufRead) -> io::Result<Seen> {
    let mut seen = Seen { line: text(&line(reader)?), ..Seen::default() };
    loop {
        let header = text(&line(reader)?);
        let Some((name, value)) = header.split_once(": ") else { break };
        seen.headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let length = seen.all("content-length").first().map_or(0, |text| text.parse().expect("a length"));
    seen.body = vec![0; length];
    reader.read_exact(&mut seen.body)?;
    Ok(seen)
}

fn line(reader: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    if reader.read_until(b'\n', &mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    line.truncate(line.len().saturating_sub(2));
    Ok(line)
}
