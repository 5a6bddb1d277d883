//! Notices that an HTTP client has gone while its target is silent.
//!
//! hyper does not read then, and does not notice it: without this such a client would hold its permit for ever.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{sleep, timeout};

use crate::proxy::context::ProxyContext;
use crate::proxy::http::request_lines::RequestLines;
use crate::proxy::listener::client::Client;
use crate::proxy::listener::stream::Stream;
use crate::proxy::relay::client_end::{ClientEnd, ClientSocket};
use crate::proxy::relay::limits::{RelayLimits, SILENCE_AT_THE_END};
use crate::proxy::relay::traffic::Traffic;
use crate::sync::IgnorePoison;
use crate::target::dial::Dial;

/// Time between two checks whether a client is still there. Checks are more frequent while the client waits for a
/// response, so that its target is told soon when nobody waits any more.
const STEP: Duration = Duration::from_secs(1);
const STEP_WHILE_WAITING: Duration = Duration::from_millis(250);
/// How long nothing must have been carried before a closed client ends an exchange: what it sent before may be on its
/// way to a target that is slow to read.
const IN_FLIGHT: Duration = Duration::from_millis(750);

/// A client's stream for hyper to use, while a [`ClientPresence`] observes the same stream.
pub struct ObservedStream {
    presence: ClientPresence,
    lines: RequestLines,
}

/// Tells whether the client of an [`ObservedStream`] is still there. Clones observe the same client.
#[derive(Clone)]
pub struct ClientPresence {
    stream: Arc<Mutex<Stream>>,
    traffic: Arc<Traffic>,
}

impl ObservedStream {
    /// Takes the stream of a client, the request lines of which `lines` makes fit for hyper.
    pub fn new(stream: Stream, lines: RequestLines) -> Self {
        let presence = ClientPresence { stream: Arc::new(Mutex::new(stream)), traffic: Arc::default() };
        Self { presence, lines }
    }

    /// Returns an observer that tells whether the client is still there.
    pub fn presence(&self) -> ClientPresence {
        self.presence.clone()
    }

    /// Returns the stream, and what was read of it that hyper has not asked for; `None` while there is a [`ClientPresence`] of
    /// it.
    pub fn into_inner(self) -> Option<(Stream, Bytes)> {
        let stream = Arc::into_inner(self.presence.stream)?;
        Some((stream.into_inner().ignore_poison(), self.lines.take_unread()))
    }
}

impl ClientPresence {
    /// Returns the bytes that the client has sent and received.
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// Returns when nobody waits for a response any more: the client has closed its socket while a request that was
    /// sent whole waits for its response (`waits`), or has ended its side and nothing was carried for as long as
    /// `limits` allow.
    pub async fn gone(&self, limits: &RelayLimits, waits: impl Fn() -> bool) {
        let socket = ClientSocket::find(&self.stream());
        let (mut silent, mut before) = (Duration::ZERO, 0);
        loop {
            let limit = if limits.draining.is_cancelled() {
                limits.half_closed.min(SILENCE_AT_THE_END)
            } else {
                limits.half_closed
            };
            // Short steps, so that a drain is noticed; a look costs one system call.
            let step = (limit / 8).min(if waits() { STEP_WHILE_WAITING } else { STEP });
            sleep(step).await;
            let now = self.traffic.total();
            let has_ended = self.stream().has_ended();
            silent = if now == before && has_ended { silent + step } else { Duration::ZERO };
            before = now;
            if silent >= limit || (silent >= IN_FLIGHT && waits() && self.has_closed(socket)) {
                return;
            }
        }
    }

    /// Sends the client `answer`, and lets it read all that it was sent: closing a socket with unread bytes would reset the
    /// connection, and the reset overtake the answer. To be called when hyper has let go of the stream.
    pub async fn answer_last<D: Dial>(self, context: &ProxyContext<D>, client: &Client, answer: &[u8]) {
        let Some(mut stream) = Arc::into_inner(self.stream).map(|stream| stream.into_inner().ignore_poison()) else {
            return;
        };
        if !matches!(timeout(context.handshake_timeout, stream.write_all(answer)).await, Ok(Ok(()))) {
            return;
        }
        if client.has_shaken_hands() {
            context.linger(stream).await;
        } else {
            context.linger_after_handshake(client, stream).await;
        }
    }

    /// Whether the client has closed its socket, and all that it has sent was read.
    fn has_closed(&self, socket: ClientSocket) -> bool {
        let mut stream = self.stream();
        stream.is_read_to_its_end() && socket.end(&stream.halves().0) == ClientEnd::Closed
    }

    fn stream(&self) -> MutexGuard<'_, Stream> {
        self.stream.lock().ignore_poison()
    }
}

impl AsyncRead for ObservedStream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = self.lines.poll_read(&mut *self.presence.stream(), context, buffer);
        self.presence.traffic.sent.add(buffer.filled().len() - before);
        polled
    }
}

impl AsyncWrite for ObservedStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut *self.presence.stream()).poll_write(context, bytes);
        if let Poll::Ready(Ok(written)) = polled {
            self.presence.traffic.received.add(written);
        }
        polled
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.presence.stream()).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.presence.stream()).poll_shutdown(context)
    }
}
