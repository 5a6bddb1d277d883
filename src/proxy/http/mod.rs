//! HTTP proxying: CONNECT (RFC 9110, section 9.3.6), and absolute-form requests (RFC 9112, section 3.2.2). The protocol
//! is hyper's; the statuses tell the truth.

pub(crate) mod client_presence;
pub(crate) mod forward;
pub(crate) mod headers;
pub(crate) mod responses;

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use hyper::body::{Body as _, Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};

use crate::proxy::client::Proxy;
use crate::proxy::connect::Connection;
use crate::proxy::http::client_presence::Watched;
use crate::proxy::http::forward::Upstream;
use crate::proxy::http::responses::{Body, refusal};
use crate::proxy::listener::stream::Stream;
use crate::proxy::metrics::labels::{Outcome, Protocol};
use crate::proxy::relay::limits::idle;
use crate::target::dial::{Dial, Target};

/// The longest head of a message, and as much of a body as is held at once: what Squid allows. hyper's 400 KiB would be
/// 1 GB with 3 000 clients.
const BUFFER: usize = 64 << 10;

/// What a client's connection becomes after a CONNECT that was granted.
struct Tunnel {
    client: OnUpgrade,
    target: Connection,
}

/// One client's connection.
struct Exchange<'a, D> {
    proxy: &'a Proxy<D>,
    from: &'a str,
    upstream: Upstream,
    tunnel: Mutex<Option<Tunnel>>,
    /// Requests, and those of them that have their answer.
    asked: AtomicU64,
    answered: AtomicU64,
    /// Whether the last of them has a body, which may be on its way to the target still.
    has_body: AtomicBool,
}

/// Serves one client to the end: request after request, or as a tunnel.
pub async fn serve_http<D: Dial>(proxy: &Proxy<D>, stream: Stream, from: &str) {
    let exchange = Exchange {
        proxy,
        from,
        upstream: Upstream::default(),
        tunnel: Mutex::new(None),
        asked: AtomicU64::new(0),
        answered: AtomicU64::new(0),
        has_body: AtomicBool::new(false),
    };
    let service = service_fn(|request| async { Ok::<_, Infallible>(exchange.counted(request).await) });
    let stream = Watched::new(stream);
    let watch = stream.watch();
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(proxy.handshake_timeout)
        .max_buf_size(BUFFER)
        // One read may go beyond the buffer.
        .max_header_size(BUFFER)
        // A client that ends its sending still gets its answer.
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let ended = async {
        tokio::select! {
            ended = connection.as_mut() => ended,
            () = proxy.patience.draining.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    };
    let failure = tokio::select! {
        ended = ended => ended.err().and_then(|error| Some((exchange.failure(&error)?, error.to_string()))),
        () = watch.abandoned(&proxy.patience, || exchange.waits()) => {
            exchange.unanswered("the client has gone, and its target is silent")
        }
        () = idle(watch.carried(), proxy.patience.idle) => exchange.unanswered("idle"),
    };
    drop(watch);
    if let Some((outcome, failure)) = failure {
        proxy.unserved(from, Protocol::Http, outcome, &format!("HTTP: {failure}"));
        return;
    }
    let tunnel = exchange.tunnel.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
    if let Some(tunnel) = tunnel {
        carry(proxy, tunnel).await;
    }
}

async fn carry<D: Dial>(proxy: &Proxy<D>, tunnel: Tunnel) {
    let Ok(upgraded) = tunnel.client.await else { return };
    let Ok(parts) = upgraded.downcast::<TokioIo<Watched>>() else { return };
    if let Some(client) = parts.io.into_inner().into_inner() {
        proxy.relay(client, tunnel.target, parts.read_buf.into()).await;
    }
}

impl<D: Dial> Exchange<'_, D> {
    /// Whether a request waits for its answer.
    fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed) > self.answered.load(Ordering::Relaxed)
    }

    /// Whether a request that has left whole waits for its answer.
    fn waits(&self) -> bool {
        self.is_asked() && !self.has_body.load(Ordering::Relaxed)
    }

    /// How the end of the exchange counts; `None` where the client has had its answer, or has left within it.
    fn failure(&self, error: &hyper::Error) -> Option<Outcome> {
        if error.is_parse() {
            return Some(Outcome::Malformed);
        }
        let outcome = if error.is_timeout() { Outcome::TooSlow } else { Outcome::Malformed };
        self.has_asked_nothing().then_some(outcome)
    }

    /// A client that was let go on, if it has no answer.
    fn unanswered(&self, reason: &str) -> Option<(Outcome, String)> {
        (self.is_asked() || self.has_asked_nothing()).then(|| (Outcome::Failed, reason.to_owned()))
    }

    fn has_asked_nothing(&self) -> bool {
        self.asked.load(Ordering::Relaxed) == 0
    }

    async fn counted(&self, request: Request<Incoming>) -> Response<Body> {
        self.has_body.store(!request.body().is_end_stream(), Ordering::Relaxed);
        self.asked.fetch_add(1, Ordering::Relaxed);
        let answer = self.answer(request).await;
        self.answered.fetch_add(1, Ordering::Relaxed);
        answer
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let connects = request.method() == Method::CONNECT;
        if let Some(credentials) = &self.proxy.credentials
            && !headers::authorized(request.headers(), credentials)
        {
            let reason = "user and password are wrong or missing";
            let protocol = if connects { Protocol::HttpConnect } else { Protocol::Http };
            return self.refuse(protocol, StatusCode::PROXY_AUTHENTICATION_REQUIRED, Outcome::Unauthorized, reason);
        }
        if connects { self.connect(request).await } else { self.forward(request).await }
    }

    async fn connect(&self, mut request: Request<Incoming>) -> Response<Body> {
        let target = request.uri().authority().and_then(|name| Some(Target::new(name.host(), name.port_u16()?)));
        let Some(target) = target else {
            let reason = "CONNECT needs a host and a port";
            return self.refuse(Protocol::HttpConnect, StatusCode::BAD_REQUEST, Outcome::Malformed, reason);
        };
        match self.proxy.connect(&target).await {
            Ok(connection) => {
                self.proxy.counters.connected(Protocol::HttpConnect);
                let tunnel = Tunnel { client: hyper::upgrade::on(&mut request), target: connection };
                *self.tunnel.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(tunnel);
                Response::new(responses::whole(Bytes::new()))
            }
            Err(error) => {
                let (status, reason) = (responses::status_of(&error), format!("{target}: {error}"));
                self.refuse(Protocol::HttpConnect, status, Outcome::from(&error), &reason)
            }
        }
    }

    async fn forward(&self, request: Request<Incoming>) -> Response<Body> {
        let target = match forward::target_of(request.uri()) {
            Ok(target) => target,
            Err(reason) => {
                return self.refuse(Protocol::Http, StatusCode::BAD_REQUEST, Outcome::Malformed, reason);
            }
        };
        match self.upstream.forward(self.proxy, &target, request).await {
            Ok(response) => response,
            Err(failure) => {
                let reason = format!("{target}: {failure}");
                self.refuse(Protocol::Http, failure.status(), failure.outcome(), &reason)
            }
        }
    }

    fn refuse(&self, protocol: Protocol, status: StatusCode, outcome: Outcome, reason: &str) -> Response<Body> {
        self.proxy.unserved(self.from, protocol, outcome, &format!("HTTP {}: {reason}", status.as_u16()));
        refusal(status, reason)
    }
}
