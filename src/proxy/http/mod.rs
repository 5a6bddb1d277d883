//! Serves HTTP proxy clients: CONNECT, and absolute-form requests.
//!
//! The protocol is hyper's; the statuses tell the truth about what failed.

pub(crate) mod carried;
pub(crate) mod client_presence;
pub(crate) mod connect;
pub(crate) mod forward;
pub(crate) mod headers;
pub(crate) mod message_rules;
pub(crate) mod progress;
pub(crate) mod responses;
pub(crate) mod target_stream;

use std::convert::Infallible;
use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::body::{Body as _, Incoming};
use hyper::header::{CONNECTION, HeaderMap, HeaderValue, PROXY_AUTHORIZATION};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};

use crate::proxy::access_log::{Failure, Success};
use crate::proxy::context::ProxyContext;
use crate::proxy::http::client_presence::ObservedStream;
use crate::proxy::http::connect::Tunnel;
use crate::proxy::http::forward::Upstream;
use crate::proxy::http::headers::{BasicCredentials, MAX_HEAD};
use crate::proxy::http::progress::Progress;
use crate::proxy::http::responses::{Body, full_body, refusal, status_of, trace_answer};
use crate::proxy::listener::client::{Client, HandshakeEnd};
use crate::proxy::listener::stream::Stream;
use crate::proxy::metrics::labels::{Outcome, Protocol};
use crate::proxy::relay::limits::idle;
use crate::proxy::users::NotLetIn;
use crate::proxy::users::user::User;
use crate::sync::IgnorePoison;
use crate::target::dial::Dial;
use crate::target::host::Target;

/// What a client is told whose first words are HTTP/2's.
const ONLY_HTTP_1: &[u8] = b"HTTP/1.1 505 HTTP Version Not Supported\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

/// The requests of one client's connection, and what they have led to.
struct Exchange<'a, D> {
    context: &'a ProxyContext<D>,
    client: &'a Client,
    upstream: Upstream,
    tunnel: Mutex<Option<Tunnel>>,
    progress: Progress,
}

/// Serves one client to the end: request after request, or as a tunnel.
pub async fn serve_http<D: Dial>(context: &ProxyContext<D>, stream: Stream, client: &Client) {
    let exchange = Exchange::new(context, client);
    let service = service_fn(|request| async { Ok::<_, Infallible>(exchange.serve(request).await) });
    let stream = ObservedStream::new(stream);
    let presence = stream.presence();
    let limits = context.limits_of(client);
    let server = server(context.handshake_timeout);
    let mut connection = Box::pin(server.serve_connection(TokioIo::new(stream), service).with_upgrades());
    let ended = async {
        tokio::select! {
            ended = connection.as_mut() => ended,
            () = context.limits.draining.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.as_mut().await
            }
        }
    };
    let mut speaks_http2 = false;
    let failure = tokio::select! {
        ended = ended => ended.err().and_then(|error| {
            speaks_http2 = error.is_parse_version_h2();
            Some((exchange.progress.outcome_of(&error)?, error.to_string()))
        }),
        () = presence.gone(limits, || exchange.progress.waits()) => {
            exchange.progress.unanswered("the client has gone, and its target is silent")
        }
        () = idle(presence.traffic(), limits.idle) => exchange.progress.unanswered("idle"),
        end = exchange.handshake_ended() => exchange.without_request(end),
    };
    drop(connection);
    if let Some((outcome, reason)) = &failure {
        let reason = format!("HTTP: {reason}");
        context.record_failure(client, &Failure::of_handshake(Protocol::Http, *outcome, &reason));
    }
    let tunnel = exchange.tunnel.lock().ignore_poison().take();
    if let Some(tunnel) = tunnel.filter(|_| failure.is_none()) {
        drop(presence);
        tunnel.relay(context, client).await;
    } else if speaks_http2 {
        Box::pin(presence.answer_last(context, client, ONLY_HTTP_1)).await;
    } else if exchange.progress.has_left_body() {
        Box::pin(presence.answer_last(context, client, b"")).await;
    }
}

fn server(header_timeout: Duration) -> http1::Builder {
    let mut server = http1::Builder::new();
    server
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_buf_size(MAX_HEAD)
        // One read may go beyond the buffer.
        .max_header_size(MAX_HEAD)
        .preserve_header_case(true)
        // The target's own Date passes; one of ours would say what nobody asked.
        .auto_date_header(false)
        // A client that ends its sending still gets its response.
        .half_close(true);
    server
}

impl<'a, D: Dial> Exchange<'a, D> {
    fn new(context: &'a ProxyContext<D>, client: &'a Client) -> Self {
        Self { context, client, upstream: Upstream::default(), tunnel: Mutex::new(None), progress: Progress::default() }
    }

    /// Ends when the client was not let in by the end of `handshake_timeout`, or another one needs its place.
    async fn handshake_ended(&self) -> HandshakeEnd {
        let never = std::future::pending::<Infallible>();
        // In a box: most clients are let in at once.
        let end = Box::pin(self.client.handshake(self.context.handshake_timeout, never)).await;
        match end {
            Err(end) if !self.client.has_shaken_hands() => end,
            _ => std::future::pending().await,
        }
    }

    /// Returns how the end of a handshake is counted; `None` where it was refused, and that is counted.
    fn without_request(&self, end: HandshakeEnd) -> Option<(Outcome, String)> {
        let outcome = if self.client.has_guessed() { Outcome::Unauthorized } else { Outcome::TooSlow };
        let is_counted = self.progress.was_refused() && !self.progress.has_unanswered_request();
        (!is_counted).then(|| (outcome, end.to_string()))
    }

    /// Responds to a request, and counts both.
    async fn serve(&self, request: Request<Incoming>) -> Response<Body> {
        self.progress.begin(!request.body().is_end_stream());
        let response = self.respond(request).await;
        self.progress.end();
        response
    }

    async fn respond(&self, request: Request<Incoming>) -> Response<Body> {
        let is_connect = request.method() == Method::CONNECT;
        let protocol = protocol_of(is_connect);
        let user = match self.user_of(request.headers()).await {
            Ok(user) => user,
            Err(why) => return self.ask_for_password(request.headers(), is_connect, why).await,
        };
        if let Err(end) = self.client.let_in().await {
            let status = StatusCode::SERVICE_UNAVAILABLE;
            return self.refuse(status, Failure::of_handshake(protocol, Outcome::TooSlow, &end.to_string()));
        }
        if let Some(Err(too_many)) = user.map(|user| self.client.act_for(&user)) {
            let status = StatusCode::TOO_MANY_REQUESTS;
            return self.refuse(status, Failure::of_handshake(protocol, Outcome::Limit, &too_many.to_string()));
        }
        if let Err(broken) = message_rules::check_request(&request) {
            let reason = broken.to_string();
            let failure = Failure::of_handshake(protocol, Outcome::Malformed, &reason);
            return self.refuse(broken.status(), failure);
        }
        if is_connect { self.connect(request).await } else { self.forward(request).await }
    }

    /// Finds the user of a request by its password; `None` where none is asked for.
    async fn user_of(&self, headers: &HeaderMap) -> Result<Option<Arc<User>>, NotLetIn> {
        if !self.context.users.ask_for_password() {
            return Ok(None);
        }
        let credentials = BasicCredentials::of(headers);
        let given = credentials.as_ref().and_then(BasicCredentials::given).ok_or(NotLetIn::Wrong)?;
        self.context.users.find(self.client.origin.source, given).await.map(Some)
    }

    /// Refuses a request without the right password. A client may try once more over the same connection: many do not give
    /// the password until they are asked for it.
    async fn ask_for_password(&self, headers: &HeaderMap, is_connect: bool, why: NotLetIn) -> Response<Body> {
        self.client.act_for_nobody();
        if headers.contains_key(PROXY_AUTHORIZATION) {
            self.client.pause_after_guess(self.context.handshake_timeout).await;
        }
        let (reason, status) = (why.to_string(), StatusCode::PROXY_AUTHENTICATION_REQUIRED);
        let failure = Failure::of_handshake(protocol_of(is_connect), Outcome::Unauthorized, &reason);
        let mut response = self.refuse(status, failure);
        if self.progress.note_refused() {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    async fn connect(&self, mut request: Request<Incoming>) -> Response<Body> {
        let Some(target) = message_rules::authority_target(request.uri()) else {
            let reason = "CONNECT needs a host and a port";
            let failure = Failure::of_handshake(Protocol::HttpConnect, Outcome::Malformed, reason);
            return self.refuse(StatusCode::BAD_REQUEST, failure);
        };
        match self.context.connect(&self.client.access(), &target).await {
            Ok(dialled) => {
                let (path, connect, reply) = (Some(dialled.path()), Some(dialled.time), Some(200));
                let success = Success { protocol: Protocol::HttpConnect, target: Some(&target), path, connect, reply };
                let record = self.context.record_success(self.client, &success);
                let tunnel = Tunnel::new(&mut request, dialled.connection, record);
                *self.tunnel.lock().ignore_poison() = Some(tunnel);
                connect::granted()
            }
            Err(error) => {
                self.refuse_target(Protocol::HttpConnect, status_of(&error), Outcome::from(&error), (&target, &error))
            }
        }
    }

    async fn forward(&self, mut request: Request<Incoming>) -> Response<Body> {
        let target = match message_rules::absolute_target(request.uri()) {
            Ok(target) => target,
            Err(reason) => {
                let failure = Failure::of_handshake(Protocol::Http, Outcome::Malformed, reason);
                return self.refuse(StatusCode::BAD_REQUEST, failure);
            }
        };
        let method = request.method().clone();
        if message_rules::ends_here(&method, request.headers_mut()) {
            return if method == Method::TRACE { trace_answer(&request) } else { Response::new(full_body("")) };
        }
        match self.upstream.forward(self.context, self.client, &target, request).await {
            Ok(response) => response,
            Err(error) => self.refuse_target(Protocol::Http, error.status(), error.outcome(), (&target, &error)),
        }
    }

    /// Records a refusal and makes the response that says it.
    fn refuse(&self, status: StatusCode, failure: Failure<'_>) -> Response<Body> {
        let reason = format!("HTTP {}: {}", status.as_u16(), failure.reason);
        let logged = Failure { reply: Some(status.as_u16()), reason: &reason, ..failure };
        self.context.record_failure(self.client, &logged);
        let mut response = refusal(status, failure.reason);
        if self.progress.leave_body() {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// Does the same for a request whose target is not reached.
    fn refuse_target(
        &self,
        protocol: Protocol,
        status: StatusCode,
        outcome: Outcome,
        (target, error): (&Target, &dyn Error),
    ) -> Response<Body> {
        let reason = format!("{target}: {error}");
        self.refuse(status, Failure { target: Some(target), ..Failure::of_handshake(protocol, outcome, &reason) })
    }
}

fn protocol_of(is_connect: bool) -> Protocol {
    if is_connect { Protocol::HttpConnect } else { Protocol::Http }
}
