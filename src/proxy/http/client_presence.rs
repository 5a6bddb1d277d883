//! A client's stream in hyper's hands, seen from outside: while a target is silent hyper does not read, and does not
//! notice that the client has gone. Without this such a client would hold its permit for ever.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::sleep;

use crate::proxy::listener::stream::Stream;
use crate::proxy::relay::client_end::{ClientEnd, ClientSocket};
use crate::proxy::relay::limits::{RelayLimits, SILENCE_AT_THE_END, Traffic};

/// How often a client is looked at, and while it waits for an answer: its target is to hear soon that nobody does.
const STEP: Duration = Duration::from_secs(1);
const STEP_WHILE_IT_WAITS: Duration = Duration::from_millis(250);
/// So long nothing must have been carried before a closed client ends an exchange: what it sent before may be on its way to a
/// target that is slow to read.
const ON_ITS_WAY: Duration = Duration::from_millis(750);

/// The stream, for hyper.
pub struct Watched(Watch);

/// The look at it.
#[derive(Clone)]
pub struct Watch {
    stream: Arc<Mutex<Stream>>,
    carried: Arc<Traffic>,
}

impl Watched {
    pub fn new(stream: Stream) -> Self {
        Self(Watch { stream: Arc::new(Mutex::new(stream)), carried: Arc::default() })
    }

    pub fn watch(&self) -> Watch {
        self.0.clone()
    }

    /// The stream again; `None` while somebody watches.
    pub fn into_inner(self) -> Option<Stream> {
        let stream = Arc::into_inner(self.0.stream)?;
        Some(stream.into_inner().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Watch {
    pub fn carried(&self) -> &Traffic {
        &self.carried
    }

    /// Ends when nobody waits for an answer any more: the client has closed its socket while a request that has left whole
    /// waits (`waits`), or has ended its side and nothing was carried for as long as `patience` says.
    pub async fn abandoned(&self, patience: &RelayLimits, waits: impl Fn() -> bool) {
        let socket = ClientSocket::find(&self.stream());
        let (mut silent, mut before) = (Duration::ZERO, 0);
        loop {
            let limit = if patience.draining.is_cancelled() {
                patience.half_closed.min(SILENCE_AT_THE_END)
            } else {
                patience.half_closed
            };
            // Short steps, so that a stop is noticed; a look costs one system call.
            let step = (limit / 8).min(if waits() { STEP_WHILE_IT_WAITS } else { STEP });
            sleep(step).await;
            let now = self.carried.all();
            let has_ended = self.stream().has_ended();
            silent = if now == before && has_ended { silent + step } else { Duration::ZERO };
            before = now;
            if silent >= limit || (silent >= ON_ITS_WAY && waits() && self.has_closed(socket)) {
                return;
            }
        }
    }

    /// Whether the client has closed its socket, and all that it sent was read.
    fn has_closed(&self, socket: ClientSocket) -> bool {
        let mut stream = self.stream();
        stream.is_read_to_its_end() && socket.end(&stream.halves().0) == ClientEnd::Closed
    }

    fn stream(&self) -> MutexGuard<'_, Stream> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsyncRead for Watched {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut *self.0.stream()).poll_read(context, buffer);
        self.0.carried.add_sent(buffer.filled().len() - before);
        polled
    }
}

impl AsyncWrite for Watched {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut *self.0.stream()).poll_write(context, bytes);
        if let Poll::Ready(Ok(written)) = polled {
            self.0.carried.add_received(written);
        }
        polled
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.stream()).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.stream()).poll_shutdown(context)
    }
}
