//! The context of all protocols: connecting, relaying, recording failures.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, timeout};

use crate::config::types::enums::AccessLog;
use crate::net::server_tls::ServerTls;
use crate::proxy::access_log::{ConnectionRecord, Failure, Success, log_failure};
use crate::proxy::connect::{Connection, Connector};
use crate::proxy::listener::client::Client;
use crate::proxy::listener::guests::Heard;
use crate::proxy::listener::stream::Stream;
use crate::proxy::metrics::counters::Counters;
use crate::proxy::metrics::labels::{Outcome, Path};
use crate::proxy::policy::access::Access;
use crate::proxy::relay::limits::RelayLimits;
use crate::proxy::relay::migration::MigrationGuard;
use crate::proxy::relay::traffic::Traffic;
use crate::proxy::relay::worker::RelayWorker;
use crate::proxy::relay::{HalfClose, RelayContext, relay_until};
use crate::proxy::users::{NotLetIn, Users};
use crate::target::dial::{Dial, DialError, RelayTerms, Relayed, Tailnet, WaitingConnection};
use crate::target::host::Target;

/// How long a client can read the reply that its handshake ends with, also where it came late: some round trips.
const LEAST_LINGER: Duration = Duration::from_millis(300);

/// What all clients of the daemon share.
pub struct ProxyContext<D> {
    pub connector: Connector<D>,
    /// Whose user and password clients have to give, where they are asked for any.
    pub users: Users,
    /// Which connections have a line in the log.
    pub access_log: AccessLog,
    /// How long a client may take for a complete request.
    pub handshake_timeout: Duration,
    pub limits: RelayLimits,
    /// `limits` of clients that came by a listener which other machines reach.
    pub network_limits: RelayLimits,
    /// TLS of the listeners, where they serve it.
    pub tls: Option<ServerTls>,
    /// Whether UDP ASSOCIATE is served.
    pub udp: bool,
    /// Whether HTTP messages that are sent on get a `Via` header.
    pub via: bool,
    pub counters: Counters,
    pub worker: RelayWorker,
}

/// The target's end of a connection that this process relays.
pub struct RelayTarget {
    pub stream: Stream,
    /// Bytes of the target that have come already, with tailscaled's response to the dial or behind an answer.
    pub early: Bytes,
    pub half_close: HalfClose,
}

/// A connection to a target, and how long it took.
pub struct Dialled {
    pub connection: Connection,
    pub time: Duration,
}

impl Dialled {
    /// Returns how the target is reached.
    pub fn path(&self) -> Path {
        match &self.connection {
            Connection::Tailnet(..) => Path::Tailnet,
            Connection::Direct(_) => Path::Direct,
        }
    }
}

/// A connection that a client was granted.
pub struct Granted {
    pub connection: Connection,
    /// What the client has sent already.
    pub sent: Vec<u8>,
    pub record: ConnectionRecord,
}

impl<D: Dial> ProxyContext<D> {
    /// Connects a client with `access` to `target`, and counts how long that took.
    pub async fn connect(&self, access: &Access, target: &Target) -> Result<Dialled, DialError> {
        let started = Instant::now();
        // Heap-allocated: 15 KiB of state, which are freed once the connection is there.
        let connection = Box::pin(self.connector.connect(access, target)).await?;
        let dialled = Dialled { connection, time: started.elapsed() };
        self.counters.dialled(dialled.path(), dialled.time);
        Ok(dialled)
    }

    /// Connects `client` to `target`, by what holds for its user as the file of users has it now, before and after the dial.
    pub async fn connect_client(&self, client: &Client, target: &Target) -> Result<Dialled, DialError> {
        let gone = |why| DialError::Policy(format!("the file of users has changed: {why}"));
        self.renew_user(client).map_err(gone)?;
        let dialled = self.connect(&client.access(), target).await?;
        if self.renew_user(client).map_err(gone)? {
            self.connector.policy().of(&client.access()).check_target(target)?;
        }
        Ok(dialled)
    }

    /// Has the client's user be as the file of users has it now. Returns whether that is another one than before.
    ///
    /// # Errors
    /// When there is no such user any more.
    pub fn renew_user(&self, client: &Client) -> Result<bool, NotLetIn> {
        let Some(user) = client.user() else { return Ok(false) };
        let now = self.users.as_now(&user)?;
        let has_changed = !Arc::ptr_eq(&now, &user);
        if has_changed {
            // What runs already runs on over a limit that is lower now.
            let _ = client.act_for(&now);
        }
        Ok(has_changed)
    }

    /// Counts a request that led to a connection, and begins the connection's record.
    pub fn record_success(&self, client: &Client, success: &Success<'_>) -> ConnectionRecord {
        self.counters.request_connected(success.protocol);
        if let Some(account) = client.user().as_ref().and_then(|user| user.account.as_ref()) {
            account.connected();
        }
        ConnectionRecord::begin(self.access_log, client, success)
    }

    /// Counts and logs a client that got no connection.
    pub fn record_failure(&self, client: &Client, failure: &Failure<'_>) {
        self.counters.request_failed(failure.protocol, failure.outcome);
        self.count_refusal(client, failure.outcome);
        log_failure(self.access_log, client, failure);
    }

    /// Counts a datagram that was refused.
    pub fn record_dropped_datagram(&self, client: &Client, outcome: Outcome) {
        self.counters.datagram_dropped(outcome);
        self.count_refusal(client, outcome);
    }

    fn count_refusal(&self, client: &Client, outcome: Outcome) {
        let user = client.user();
        if let (Some(by), Some(account)) = (outcome.refuser(), user.as_ref().and_then(|user| user.account.as_ref())) {
            account.refused(by);
        }
    }

    /// Returns the limits that the connections of `client` keep to.
    pub fn limits_of(&self, client: &Client) -> &RelayLimits {
        if client.origin.by_network { &self.network_limits } else { &self.limits }
    }

    /// Relays bytes between a client and its target until both have ended.
    pub async fn relay(&self, client: &Client, stream: Stream, granted: Granted) {
        let Granted { connection, sent, mut record } = granted;
        let target = match connection {
            Connection::Tailnet(Tailnet::Waiting(waiting)) => {
                let limits = self.limits_of(client);
                let relayed = Box::pin(self.hand_over(stream, waiting, sent, limits.terms())).await;
                return note_end(&mut record, relayed);
            }
            Connection::Tailnet(Tailnet::Stream(stream, early)) => {
                RelayTarget { stream: Stream::Unix(stream), early, half_close: HalfClose::Hold }
            }
            Connection::Direct(stream) => {
                RelayTarget { stream: Stream::Tcp(stream), early: Bytes::new(), half_close: HalfClose::PassOn }
            }
        };
        self.relay_to(client, (stream, sent), target, record).await;
    }

    /// Relays bytes in this process between a client, which has `sent` some already, and `target` until both have ended.
    pub async fn relay_to(
        &self,
        client: &Client,
        (stream, sent): (Stream, Vec<u8>),
        target: RelayTarget,
        mut record: ConnectionRecord,
    ) {
        let limits = self.limits_of(client);
        let traffic = Arc::new(Traffic::within(&self.counters));
        record.counted_by(&traffic);
        let relayed = Box::pin(self.relay_here(stream, target, sent, (limits, &traffic))).await;
        if let Err(error) = relayed {
            tracing::debug!(%error, sent = traffic.sent(), received = traffic.received(), "connection broke");
            record.broke(&error);
        }
    }

    /// Has tailscaled relay the connection, by handing it the client's own socket.
    async fn hand_over(
        &self,
        client: Stream,
        waiting: Box<dyn WaitingConnection>,
        sent: Vec<u8>,
        terms: RelayTerms,
    ) -> io::Result<Relayed> {
        let relayed = waiting.hand_over(client.into_socket()?, sent, terms).await?;
        self.counters.add_traffic(relayed.uncounted);
        Ok(relayed)
    }

    /// Counts the bytes that tailscaled has relayed since this was last called.
    pub async fn count_traffic(&self) {
        self.counters.add_traffic(self.connector.traffic().await);
    }

    /// Relays in this process, once each side was sent what had come from the other one before.
    async fn relay_here(
        &self,
        mut client: Stream,
        target: RelayTarget,
        sent: Vec<u8>,
        (limits, traffic): (&RelayLimits, &Arc<Traffic>),
    ) -> io::Result<()> {
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
        written?;
        if half_close == HalfClose::PassOn {
            return Box::pin(self.worker.relay(client, target, limits, traffic)).await;
        }
        let guard = &MigrationGuard::pinned();
        let context = RelayContext { half_close, limits, traffic, guard };
        relay_until(&mut client, &mut target, context).await.map(drop)
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

/// Notes how a connection ended that tailscaled has relayed.
fn note_end(record: &mut ConnectionRecord, relayed: io::Result<Relayed>) {
    match relayed {
        Ok(Relayed { sent, received, .. }) => {
            tracing::trace!(sent, received, "connection ended");
            record.carried(sent, received);
        }
        Err(error) => {
            tracing::debug!(%error, "connection broke");
            record.broke(&error);
        }
    }
}
