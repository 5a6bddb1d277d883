//! A target that notes how and when each of its connections ends.
//!
//! It keeps its own side open until then. It listens on all addresses of the namespace, those of nodes with a network
//! interface too.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::server::Server;
use crate::wait::wait_until;

/// The end of one connection, seen from the target.
#[derive(Clone, Debug)]
pub struct End {
    /// Everything that came before.
    pub received: Vec<u8>,
    pub at: Instant,
    /// A reset (ECONNRESET); otherwise the client's side was closed.
    pub reset: bool,
}

/// Ends in the order of their arrival.
type Seen = Arc<Mutex<Vec<End>>>;

/// The target; dropping it closes its port and every connection it has.
pub struct Ends {
    server: Server,
    seen: Seen,
}

impl Ends {
    /// Answers by `answer` whenever what was received ends with `question`.
    pub fn answering(port: u16, question: &'static [u8], answer: &'static [u8]) -> Result<Self> {
        Self::serve(
            port,
            move |mut stream, received| {
                if received.ends_with(question) { stream.write_all(answer) } else { Ok(()) }
            },
        )
    }

    /// Says `greeting` and half-closes at once, before it reads.
    pub fn after_half_closing(port: u16, greeting: &'static [u8]) -> Result<Self> {
        Self::serve(port, move |mut stream, received| {
            if received.is_empty() {
                stream.write_all(greeting)?;
                stream.shutdown(Shutdown::Write)?;
            }
            Ok(())
        })
    }

    /// All ends so far.
    pub fn seen(&self) -> Vec<End> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for `number` ends after the first `before`, and returns those. An error says how many came in time.
    pub fn wait(&self, before: usize, number: usize, within: Duration) -> Result<Vec<End>> {
        let ends = wait_until("the target sees the ends", within, || {
            self.seen().get(before..before + number).map(<[End]>::to_vec)
        });
        ends.with_context(|| format!("the target has seen {} of {number} ends", self.seen().len() - before))
    }

    pub fn port(&self) -> u16 {
        self.server.port()
    }

    /// `talk` is called with what was received so far: at the beginning, and after every read.
    fn serve(port: u16, talk: impl Fn(&TcpStream, &[u8]) -> io::Result<()> + Clone + Send + 'static) -> Result<Self> {
        let seen = Seen::default();
        let noted = Arc::clone(&seen);
        let server = Server::serve_everywhere(port, move |stream| {
            let end = until_end(stream, &talk);
            noted.lock().unwrap_or_else(PoisonError::into_inner).push(end);
            Ok(())
        })?;
        Ok(Self { server, seen })
    }
}

fn until_end(mut stream: &TcpStream, talk: &impl Fn(&TcpStream, &[u8]) -> io::Result<()>) -> End {
    let mut received = Vec::new();
    let mut buffer = [0; 16 << 10];
    // A client that does not take in what it is told still has an end to be seen.
    let _ = talk(stream, &received);
    loop {
        match stream.read(&mut buffer) {
            Ok(read @ 1..) => {
                received.extend_from_slice(&buffer[..read]);
                let _ = talk(stream, &received);
            }
            Ok(0) => return End { received, at: Instant::now(), reset: false },
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return End { received, at: Instant::now(), reset: true },
        }
    }
}
