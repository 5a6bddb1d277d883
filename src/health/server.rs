//! The HTTP server of the health port.
//!
//! It answers one request a connection. Probes and people ask seldom: whoever fills the table of connections, by silence
//! or slowness, loses the oldest of them to the next client.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::health::audience::Audience;
use crate::net::failed_accepts::FailedAccepts;

/// Longest time for a whole exchange.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for a request: a client that sends none makes room for those who do.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(1);
/// Most exchanges at the same time.
const EXCHANGES: usize = 256;

/// Answers the requests of a health port.
pub trait Respond: Send + Sync + 'static {
    /// Returns who `audience`, which asks for `path` from `from` at a listener that nodes of the tailnet reach, turns out to be.
    fn audience_among_peers(
        &self,
        audience: Audience,
        path: &str,
        from: SocketAddr,
    ) -> impl Future<Output = Audience> + Send;

    /// Responds to one request of this audience.
    fn answer<B: Sync>(
        &self,
        request: &Request<B>,
        audience: Audience,
    ) -> impl Future<Output = Response<Full<Bytes>>> + Send;
}

/// Serves one health port until dropped.
pub async fn serve_health<R: Respond>(listener: TcpListener, routes: Arc<R>) {
    let mut exchanges = Exchanges::default();
    let mut failed = FailedAccepts::default();
    // tailscaled closes the ports on loopback to nodes, not those that are for others.
    let peers_come = !listener.local_addr().is_ok_and(|bound| bound.ip().to_canonical().is_loopback());
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                exchanges.make_room();
                let has_asked = Arc::new(AtomicBool::new(false));
                let client = HealthClient { from, peers_come, has_asked: Arc::clone(&has_asked) };
                let exchange = exchange(stream, client, Arc::clone(&routes));
                let task = tokio::spawn(exchange).abort_handle();
                exchanges.0.push_back(Exchange { task, has_asked });
            }
            Err(error) => failed.pause(&error, "health client").await,
        }
    }
}

/// The exchanges that are under way, the oldest first.
#[derive(Default)]
struct Exchanges(VecDeque<Exchange>);

struct Exchange {
    task: AbortHandle,
    /// Whether the client's request has come.
    has_asked: Arc<AtomicBool>,
}

impl Exchanges {
    /// Makes room for one more: gives up the oldest silent client, or the oldest one where all have asked.
    fn make_room(&mut self) {
        if self.0.len() < EXCHANGES {
            return;
        }
        self.0.retain(|exchange| !exchange.task.is_finished());
        if self.0.len() < EXCHANGES {
            return;
        }
        let silent = self.0.iter().position(|exchange| !exchange.has_asked.load(Ordering::Relaxed));
        if let Some(oldest) = self.0.remove(silent.unwrap_or(0)) {
            oldest.task.abort();
        }
    }
}

struct HealthClient {
    from: SocketAddr,
    /// Whether nodes of the tailnet reach the listener.
    peers_come: bool,
    /// Set once its request has come.
    has_asked: Arc<AtomicBool>,
}

/// Answers one client.
async fn exchange<R: Respond>(stream: TcpStream, client: HealthClient, routes: Arc<R>) {
    let from = client.from;
    // A connection whose own address cannot be told is no reason to show more.
    let ends = [from, stream.local_addr().unwrap_or(from)];
    let answer = service_fn(|request: Request<Incoming>| {
        client.has_asked.store(true, Ordering::Relaxed);
        let (routes, client) = (Arc::clone(&routes), &client);
        async move {
            let mut audience = Audience::of(ends, request.headers());
            if client.peers_come {
                audience = routes.audience_among_peers(audience, request.uri().path(), from).await;
            }
            Ok::<_, Infallible>(routes.answer(&request, audience).await)
        }
    });
    let exchange = http1::Builder::new()
        .keep_alive(false)
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_TIMEOUT)
        .serve_connection(TokioIo::new(stream), answer);
    if let Ok(Err(error)) = timeout(EXCHANGE_TIMEOUT, exchange).await {
        tracing::trace!(%error, "health exchange broke");
    }
}
