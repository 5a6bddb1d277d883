//! Responds to the requests of one HTTP client, one after the other.

use std::convert::Infallible;
use std::error::Error;
use std::sync::{Arc, Mutex};

use hyper::body::{Body as _, Incoming};
use hyper::header::{CONNECTION, HeaderMap, HeaderValue, PROXY_AUTHORIZATION};
use hyper::{Method, Request, Response, StatusCode};

use crate::proxy::access_log::{Failure, Success};
use crate::proxy::context::ProxyContext;
use crate::proxy::http::forward::{Forwarded, Upstream};
use crate::proxy::http::headers::BasicCredentials;
use crate::proxy::http::message_rules;
use crate::proxy::http::progress::Progress;
use crate::proxy::http::request_body::{BodyGate, RequestBody};
use crate::proxy::http::request_lines::RequestLines;
use crate::proxy::http::responses::{Body, full_body, refusal, status_of, trace_answer};
use crate::proxy::http::tunnel::{self, Tunnel};
use crate::proxy::listener::client::{Client, HandshakeEnd};
use crate::proxy::metrics::labels::{Outcome, Protocol};
use crate::proxy::users::NotLetIn;
use crate::proxy::users::user::User;
use crate::sync::IgnorePoison;
use crate::target::dial::Dial;
use crate::target::host::Target;

/// The requests of one client's connection, and what they have led to.
pub struct Exchange<'a, D> {
    context: &'a ProxyContext<D>,
    client: &'a Client,
    upstream: Upstream,
    /// What the connection becomes once hyper has let go of it.
    pub tunnel: Mutex<Option<Tunnel>>,
    pub progress: Progress,
    pub lines: RequestLines,
}

impl<'a, D: Dial> Exchange<'a, D> {
    /// Begins with no request.
    pub fn new(context: &'a ProxyContext<D>, client: &'a Client) -> Self {
        Self {
            context,
            client,
            upstream: Upstream::default(),
            tunnel: Mutex::new(None),
            progress: Progress::default(),
            lines: RequestLines::default(),
        }
    }

    /// Ends when the client was not let in by the end of `handshake_timeout`, or another one needs its place.
    pub async fn handshake_ended(&self) -> HandshakeEnd {
        let never = std::future::pending::<Infallible>();
        // In a box: most clients are let in at once.
        let end = Box::pin(self.client.handshake(self.context.handshake_timeout, never)).await;
        match end {
            Err(end) if !self.client.has_shaken_hands() => end,
            _ => std::future::pending().await,
        }
    }

    /// Returns how the end of a handshake is counted; `None` where it was refused, and that is counted.
    pub fn without_request(&self, end: HandshakeEnd) -> Option<(Outcome, String)> {
        let outcome = if self.client.has_guessed() { Outcome::Unauthorized } else { Outcome::TooSlow };
        let is_counted = self.progress.was_refused() && !self.progress.has_unanswered_request();
        (!is_counted).then(|| (outcome, end.to_string()))
    }

    /// Responds to a request, and counts both.
    pub async fn serve(&self, request: Request<Incoming>) -> Response<Body> {
        let has_body = !request.body().is_end_stream();
        self.progress.begin(has_body);
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
        // It may have waited long for its turn since the password was right.
        let user = match user.map(|user| self.context.users.as_now(&user)).transpose() {
            Ok(user) => user,
            Err(why) => return self.ask_for_password(request.headers(), is_connect, why).await,
        };
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
        match self.context.connect_client(self.client, &target).await {
            Ok(dialled) => {
                let (path, connect, reply) = (Some(dialled.path()), Some(dialled.time), Some(200));
                let success = Success { protocol: Protocol::HttpConnect, target: Some(&target), path, connect, reply };
                let record = self.context.record_success(self.client, &success);
                let tunnel = Tunnel::new(&mut request, dialled.connection, record);
                *self.tunnel.lock().ignore_poison() = Some(tunnel);
                tunnel::granted()
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
        let (request, gate) = RequestBody::of(request);
        match self.upstream.forward((self.context, self.client), &target, request, gate.as_ref()).await {
            Ok(Forwarded { mut response, tunnel, leaves_body }) => {
                *self.tunnel.lock().ignore_poison() = tunnel;
                if leaves_body {
                    self.close_before_body(&mut response);
                }
                response
            }
            Err(error) => {
                // Of a target that has answered nonsense.
                drop(gate.filter(BodyGate::close).map(|gate| gate.response_guard()));
                self.refuse_target(Protocol::Http, error.status(), error.outcome(), (&target, &error))
            }
        }
    }

    /// Records a refusal and makes the response that says it.
    fn refuse(&self, status: StatusCode, failure: Failure<'_>) -> Response<Body> {
        let reason = format!("HTTP {}: {}", status.as_u16(), failure.reason);
        let logged = Failure { reply: Some(status.as_u16()), reason: &reason, ..failure };
        self.context.record_failure(self.client, &logged);
        let mut response = refusal(status, failure.reason);
        self.close_before_body(&mut response);
        response
    }

    /// Has the connection end behind `response` where its request has a body, which is not read.
    fn close_before_body(&self, response: &mut Response<Body>) {
        if self.progress.leave_body() {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
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
