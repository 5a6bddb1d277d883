//! One client from accept to end: its first byte tells SOCKS5 from HTTP.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, sleep, timeout};

use crate::config::settings::Credentials;
use crate::proxy::connect::{Connection, Connector};
use crate::proxy::listener::stream::Stream;
use crate::proxy::metrics::counters::Counters;
use crate::proxy::metrics::labels::{Outcome, Path, Protocol};
use crate::proxy::relay::limits::{RelayLimits, Traffic};
use crate::proxy::relay::migration::MigrationGuard;
use crate::proxy::relay::worker::RelayWorker;
use crate::proxy::relay::{HalfClose, Terms, relay_until};
use crate::proxy::{http, socks5};
use crate::target::dial::{Dial, DialError, Held, Tailnet, Target};

/// The version byte that a SOCKS5 greeting begins with.
const SOCKS5: u8 = 5;
/// At a stop: between a client's connection and its first byte, by way of a balancer and over a slow network.
const FIRST_WORD: Duration = Duration::from_millis(500);

/// What serving a client takes.
pub struct Proxy<D> {
    pub connector: Connector<D>,
    pub credentials: Option<Credentials>,
    pub handshake_timeout: Duration,
    pub patience: RelayLimits,
    /// Whether UDP ASSOCIATE is served.
    pub udp: bool,
    pub counters: Counters,
    pub lane: RelayWorker,
}

impl<D: Dial> Proxy<D> {
    /// Serves one client to the end.
    pub async fn serve(&self, stream: Stream, from: &str) {
        let open = self.counters.open();
        let first = async {
            tokio::select! {
                byte = timeout(self.handshake_timeout, stream.first_byte()) => byte,
                // A client that has said nothing yet is no running connection, unless it has come just now.
                () = self.first_word_overdue() => Ok(Ok(None)),
            }
        };
        // In boxes of their own: what a connection takes while it is silent is no more than its part of that needs.
        match Box::pin(first).await {
            Ok(Ok(Some(SOCKS5))) => Box::pin(socks5::serve_socks5(self, stream, from)).await,
            // Every HTTP method begins with a letter.
            Ok(Ok(Some(byte))) if byte.is_ascii_alphabetic() => Box::pin(http::serve_http(self, stream, from)).await,
            Ok(Ok(Some(byte))) => {
                self.nothing_known(
                    from,
                    Outcome::Malformed,
                    &format!("neither SOCKS5 nor HTTP: it begins with {byte:#04x}"),
                );
                Box::pin(self.linger(stream)).await;
            }
            Ok(Ok(None)) => self.nothing_known(from, Outcome::Malformed, "it sent nothing"),
            Ok(Err(error)) => self.nothing_known(from, Outcome::Malformed, &error.to_string()),
            Err(_) => self.nothing_known(from, Outcome::TooSlow, "it sent nothing in time"),
        }
        drop(open);
    }

    async fn first_word_overdue(&self) {
        self.patience.draining.cancelled().await;
        sleep(FIRST_WORD).await;
    }

    /// Serves one client of a port that leads to `target`.
    pub async fn forward(&self, stream: Stream, from: &str, target: &Target) {
        let open = self.counters.open();
        match self.connect(target).await {
            Ok(connection) => {
                self.counters.connected(Protocol::Forward);
                Box::pin(self.relay(stream, connection, Vec::new())).await;
            }
            Err(error) => {
                self.unserved(from, Protocol::Forward, Outcome::from(&error), &format!("{target}: {error}"));
            }
        }
        drop(open);
    }

    /// A connection to `target`, timed.
    pub async fn connect(&self, target: &Target) -> Result<Connection, DialError> {
        let asked = Instant::now();
        // In a box of its own: 15 KiB that a connection needs no more once it is there.
        let connection = Box::pin(self.connector.connect(target)).await?;
        let path = match &connection {
            Connection::Tailnet(..) => Path::Tailnet,
            Connection::Direct(_) => Path::Direct,
        };
        self.counters.dialled(path, asked.elapsed());
        Ok(connection)
    }

    /// Counts and logs a client that got no connection.
    pub fn unserved(&self, from: &str, protocol: Protocol, outcome: Outcome, reason: &str) {
        self.counters.failed(protocol, outcome);
        tracing::info!(from, reason, "connection not made");
    }

    fn nothing_known(&self, from: &str, outcome: Outcome, reason: &str) {
        self.unserved(from, Protocol::Unknown, outcome, reason);
    }

    /// Carries bytes between a client and its target until both have ended. `sent` came from the client already.
    pub async fn relay(&self, client: Stream, connection: Connection, sent: Vec<u8>) {
        match connection {
            Connection::Tailnet(Tailnet::Held(held)) => Box::pin(self.hand_over(client, held, sent)).await,
            Connection::Tailnet(Tailnet::Stream(target, early)) => {
                let (target, early) = (Stream::Unix(target), early);
                Box::pin(self.relay_here(client, (target, early), sent, HalfClose::Hold)).await;
            }
            Connection::Direct(target) => {
                let target = (Stream::Tcp(target), Bytes::new());
                Box::pin(self.relay_here(client, target, sent, HalfClose::PassOn)).await;
            }
        }
    }

    /// Has tailscaled relay: it gets the client's own socket.
    async fn hand_over(&self, client: Stream, held: Box<dyn Held>, sent: Vec<u8>) {
        let relayed = match client.into_socket() {
            Ok(client) => held.hand_over(client, sent, self.patience.terms()).await,
            Err(error) => Err(error),
        };
        match relayed {
            Ok(relayed) => {
                self.counters.add_traffic(relayed.uncounted);
                tracing::trace!(sent = relayed.sent, received = relayed.received, "connection ended");
            }
            Err(error) => tracing::debug!(%error, "connection broke"),
        }
    }

    /// Counts what connections in tailscaled's hands have carried so far.
    pub async fn count_traffic(&self) {
        self.counters.add_traffic(self.connector.traffic().await);
    }

    /// Relays in this process. `early` is what the target has said first.
    async fn relay_here(&self, mut client: Stream, target: (Stream, Bytes), sent: Vec<u8>, half_close: HalfClose) {
        let carried = Arc::new(Traffic::within(&self.counters));
        let (mut target, early) = target;
        let begun = async {
            target.write_all(&sent).await?;
            carried.add_sent(sent.len());
            client.write_all(&early).await?;
            carried.add_received(early.len());
            Ok(())
        };
        // In a box, freed with what it sends: the relay lasts.
        let begun = Box::pin(self.in_time(begun)).await;
        drop((sent, early));
        let result = match begun {
            Ok(()) if half_close == HalfClose::PassOn => {
                Box::pin(self.lane.relay(client, target, &self.patience, &carried)).await
            }
            Ok(()) => {
                let (patience, ties) = (&self.patience, &MigrationGuard::lasting());
                let terms = Terms { half_close, patience, carried: &carried, ties };
                relay_until(&mut client, &mut target, terms).await.map(drop)
            }
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            tracing::debug!(%error, sent = carried.sent(), received = carried.received(), "connection broke");
        }
    }

    /// Whether a UDP ASSOCIATE is served.
    pub fn carries_datagrams(&self) -> bool {
        self.udp && self.connector.carries_datagrams()
    }

    async fn in_time(&self, step: impl Future<Output = io::Result<()>>) -> io::Result<()> {
        timeout(self.handshake_timeout, step).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Lets a refused client read its reply: closing a socket with unread bytes resets the connection, and the reset
    /// would overtake the reply.
    pub async fn linger(&self, mut client: Stream) {
        let _ = client.shutdown().await;
        let mut rest = tokio::io::sink();
        tokio::select! {
            _ = timeout(self.handshake_timeout, tokio::io::copy(&mut client, &mut rest)) => {}
            () = self.patience.draining.cancelled() => {}
        }
    }
}
