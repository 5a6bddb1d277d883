//! The context of all protocols: connecting, relaying, recording failures.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, timeout};

use crate::config::settings::Credentials;
use crate::net::server_tls::ServerTls;
use crate::proxy::connect::{Connection, Connector};
use crate::proxy::listener::client::Client;
use crate::proxy::listener::guests::Heard;
use crate::proxy::listener::stream::Stream;
use crate::proxy::metrics::counters::Counters;
use crate::proxy::metrics::labels::{Outcome, Path, Protocol};
use crate::proxy::policy::access::Access;
use crate::proxy::relay::limits::RelayLimits;
use crate::proxy::relay::migration::MigrationGuard;
use crate::proxy::relay::traffic::Traffic;
use crate::proxy::relay::worker::RelayWorker;
use crate::proxy::relay::{HalfClose, RelayContext, relay_until};
use crate::target::dial::{Dial, DialError, RelayTerms, Tailnet, WaitingConnection};
use crate::target::host::Target;

/// How long a client can read the reply that its handshake ends with, also where it came late: some round trips.
const LEAST_LINGER: Duration = Duration::from_millis(300);

/// What all clients of the daemon share.
pub struct ProxyContext<D> {
    pub connector: Connector<D>,
    /// User and password that clients have to give, where there are any.
    pub credentials: Option<Credentials>,
    /// How long a client may take for a complete request.
    pub handshake_timeout: Duration,
    pub limits: RelayLimits,
    /// `limits` of clients that came by a listener which other machines reach.
    pub network_limits: RelayLimits,
    /// TLS of the listeners, where they serve it.
    pub tls: Option<ServerTls>,
    /// Whether UDP ASSOCIATE is served.
    pub udp: bool,
    pub counters: Counters,
    pub worker: RelayWorker,
}

/// The target's end of a connection that this process relays.
struct RelayTarget {
    stream: Stream,
    /// Bytes of the target that came with tailscaled's response to the dial.
    early: Bytes,
    half_close: HalfClose,
}

impl<D: Dial> ProxyContext<D> {
    /// Connects a client with `access` to `target`, and counts how long that took.
    pub async fn connect(&self, access: &Access, target: &Target) -> Result<Connection, DialError> {
        let started = Instant::now();
        // Heap-allocated: 15 KiB of state, which are freed once the connection is there.
        let connection = Box::pin(self.connector.connect(access, target)).await?;
        let path = match &connection {
            Connection::Tailnet(..) => Path::Tailnet,
            Connection::Direct(_) => Path::Direct,
        };
        self.counters.dialled(path, started.elapsed());
        Ok(connection)
    }

    /// Counts and logs a client that got no connection.
    pub fn record_failure(&self, client: &Client, protocol: Protocol, outcome: Outcome, reason: &str) {
        self.counters.request_failed(protocol, outcome);
        client.log_failure(reason);
    }

    /// Returns the limits that the connections of `client` keep to.
    pub fn limits_of(&self, client: &Client) -> &RelayLimits {
        if client.origin.by_network { &self.network_limits } else { &self.limits }
    }

    /// Relays bytes between a client and its target until both have ended. The client has sent `sent` already.
    pub async fn relay(&self, client: &Client, stream: Stream, connection: Connection, sent: Vec<u8>) {
        let limits = self.limits_of(client);
        let target = match connection {
            Connection::Tailnet(Tailnet::Waiting(waiting)) => {
                return Box::pin(self.hand_over(stream, waiting, sent, limits.terms())).await;
            }
            Connection::Tailnet(Tailnet::Stream(stream, early)) => {
                RelayTarget { stream: Stream::Unix(stream), early, half_close: HalfClose::Hold }
            }
            Connection::Direct(stream) => {
                RelayTarget { stream: Stream::Tcp(stream), early: Bytes::new(), half_close: HalfClose::PassOn }
            }
        };
        Box::pin(self.relay_here(stream, target, sent, limits)).await;
    }

    /// Has tailscaled relay the connection, by handing it the client's own socket.
    async fn hand_over(&self, client: Stream, waiting: Box<dyn WaitingConnection>, sent: Vec<u8>, terms: RelayTerms) {
        let relayed = match client.into_socket() {
            Ok(client) => waiting.hand_over(client, sent, terms).await,
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

    /// Counts the bytes that tailscaled has relayed since this was last called.
    pub async fn count_traffic(&self) {
        self.counters.add_traffic(self.connector.traffic().await);
    }

    /// Relays in this process, once each side was sent what had come from the other one before.
    async fn relay_here(&self, mut client: Stream, target: RelayTarget, sent: Vec<u8>, limits: &RelayLimits) {
        let traffic = Arc::new(Traffic::within(&self.counters));
        let RelayTarget { stream: mut target, early, half_close } = target;
        let first_bytes = async {
            target.write_all(&sent).await?;
            traffic.sent.add(sent.len());
            client.write_all(&early).await?;
            traffic.received.add(early.len());
            Ok(())
        };
        // Heap-allocated, and freed together with the bytes that it sends, since the relay may last long.
        let written = Box::pin(self.within_handshake_timeout(first_bytes)).await;
        drop((sent, early));
        let result = match written {
            Ok(()) if half_close == HalfClose::PassOn => {
                Box::pin(self.worker.relay(client, target, limits, &traffic)).await
            }
            Ok(()) => {
                let guard = &MigrationGuard::pinned();
                let context = RelayContext { half_close, limits, traffic: &traffic, guard };
                relay_until(&mut client, &mut target, context).await.map(drop)
            }
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            tracing::debug!(%error, sent = traffic.sent(), received = traffic.received(), "connection broke");
        }
    }

    /// Whether UDP ASSOCIATE is served: the setting says so, and tailscaled carries datagrams.
    pub fn serves_udp(&self) -> bool {
        self.udp && self.connector.carries_datagrams()
    }

    async fn within_handshake_timeout(&self, step: impl Future<Output = io::Result<()>>) -> io::Result<()> {
        timeout(self.handshake_timeout, step).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Lets a refused client read its reply, for `handshake_timeout` at most and until the daemon drains: closing a socket
    /// with unread bytes resets the connection, and the reset would overtake the reply.
    pub async fn linger(&self, stream: Stream) {
        self.linger_for(self.handshake_timeout, stream).await;
    }

    /// Does the same for a client whose handshake failed: `handshake_timeout` counts from accept on, and another client may
    /// need the place.
    pub async fn linger_after_handshake(&self, client: &Client, stream: Stream) {
        client.note(Heard::Wrong);
        let limit = client.time_left(self.handshake_timeout).max(LEAST_LINGER);
        tokio::select! {
            () = self.linger_for(limit, stream) => {}
            () = client.displaced() => {}
        }
    }

    async fn linger_for(&self, limit: Duration, mut stream: Stream) {
        let _ = stream.shutdown().await;
        let mut discarded = tokio::io::sink();
        tokio::select! {
            _ = timeout(limit, tokio::io::copy(&mut stream, &mut discarded)) => {}
            () = self.limits.draining.cancelled() => {}
        }
    }
}
