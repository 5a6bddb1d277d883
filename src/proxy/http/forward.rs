//! Forwards absolute-form requests to their targets (RFC 9112, section 3.2.2).
//!
//! The connection to the target is kept for the client's next request to it.

use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{HOST, HeaderValue};
use hyper::{Request, Response, StatusCode, Version};
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::sync::Mutex;

use crate::net::unix_stream::LocalStream;
use crate::proxy::access_log::Success;
use crate::proxy::connect::Connection;
use crate::proxy::context::ProxyContext;
use crate::proxy::http::carried::Carried;
use crate::proxy::http::headers::{MAX_HEAD, strip_hop_by_hop};
use crate::proxy::http::message_rules::{BrokenRule, check_codings, origin_form, without_user};
use crate::proxy::http::responses::{Body, status_of};
use crate::proxy::http::target_stream::TargetStream;
use crate::proxy::listener::client::Client;
use crate::proxy::metrics::labels::{Outcome, Path, Protocol};
use crate::proxy::policy::access::Access;
use crate::proxy::users::user::User;
use crate::target::dial::{Dial, DialError, Tailnet};
use crate::target::host::Target;

/// Most headers of a target's answer. hyper's 100 are too few for some services.
const MOST_HEADERS: usize = 512;

/// Why a request has no response from its target.
#[derive(Debug, Error)]
pub enum ForwardError {
    #[error("{0}")]
    Dial(#[from] DialError),
    #[error("the target broke off: {0}")]
    Broken(#[from] hyper::Error),
    #[error("the target switched to another protocol, for which nobody had asked")]
    Switched,
    #[error("the target's answer: {0}")]
    Answer(BrokenRule),
    #[error("the request cannot be sent on: {0}")]
    Malformed(#[from] hyper::http::Error),
}

impl ForwardError {
    /// Returns the status that tells the client the truth.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Dial(error) => status_of(error),
            Self::Broken(_) | Self::Switched | Self::Answer(_) => StatusCode::BAD_GATEWAY,
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
        }
    }

    /// Returns the label that the failure is counted by.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Dial(error) => Outcome::from(error),
            Self::Broken(_) | Self::Switched | Self::Answer(_) => Outcome::Failed,
            Self::Malformed(_) => Outcome::Malformed,
        }
    }
}

/// The connection to the target of the client's last request, where there is one.
#[derive(Default)]
pub struct Upstream(Mutex<Option<KeptConnection>>);

struct KeptConnection {
    target: Target,
    /// Whose requests may go over it: another user's rules may be others, and so may the same user's once they were read again.
    user: Option<Arc<User>>,
    opened: Opened,
}

impl KeptConnection {
    fn is_for(&self, user: Option<&Arc<User>>, target: &Target) -> bool {
        self.target == *target && self.user.as_ref().map(Arc::as_ptr) == user.map(Arc::as_ptr)
    }
}

/// A connection for requests.
struct Opened {
    sender: SendRequest<Body>,
    path: Path,
    /// How long it took; `None` once a request was sent on it.
    connect: Option<Duration>,
}

impl Upstream {
    /// Forwards `request` of `client` to `target` and returns its response, the body of which streams.
    pub async fn forward<D: Dial>(
        &self,
        context: &ProxyContext<D>,
        client: &Client,
        target: &Target,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, ForwardError> {
        let user = client.user();
        let mut kept = self.0.lock().await;
        let mut reusable = None;
        if let Some(mut last) = kept.take().filter(|last| last.is_for(user.as_ref(), target))
            && last.opened.sender.ready().await.is_ok()
        {
            reusable = Some(last.opened);
        }
        let request = for_next_hop(request)?;
        let repeated = reusable.is_some().then(|| repeatable(&request)).flatten();
        let carried = Carried::within(&context.counters);
        let request = request.map(|body| carried.counted(body, |traffic| &traffic.sent));
        let mut opened = match reusable {
            Some(opened) => opened,
            None => open(context, &client.access(), target).await?,
        };
        let mut response = match opened.sender.try_send_request(request).await {
            Ok(response) => response,
            // The target has closed the kept connection. The request is sent again when it was not sent at all or may
            // be sent twice, but not when the target has responded, however badly.
            Err(mut failure) => match failure.take_message().or(repeated.filter(|_| !failure.error().is_parse())) {
                Some(request) => {
                    opened = open(context, &client.access(), target).await?;
                    opened.sender.send_request(request).await?
                }
                None => return Err(failure.into_error().into()),
            },
        };
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(ForwardError::Switched);
        }
        check_codings(response.headers()).map_err(ForwardError::Answer)?;
        let (path, connect, reply) = (Some(opened.path), opened.connect.take(), Some(response.status().as_u16()));
        let success = Success { protocol: Protocol::Http, target: Some(target), path, connect, reply };
        carried.begin(context.record_success(client, &success));
        *kept = Some(KeptConnection { target: target.clone(), user, opened });
        let version = response.version();
        strip_hop_by_hop(response.headers_mut(), version);
        *response.version_mut() = Version::HTTP_11;
        Ok(response.map(|body| carried.counted(body, |traffic| &traffic.received)))
    }
}

/// Copies a request that may be sent twice: asking again does no harm (RFC 9110, section 9.2.2), and it has no body.
fn repeatable(request: &Request<Incoming>) -> Option<Request<Body>> {
    let (is_idempotent, has_no_body) = (request.method().is_idempotent(), request.body().is_end_stream());
    (is_idempotent && has_no_body).then(|| {
        let mut copy = Request::new(Empty::new().map_err(|never| match never {}).boxed_unsync());
        *copy.method_mut() = request.method().clone();
        *copy.uri_mut() = request.uri().clone();
        *copy.version_mut() = request.version();
        *copy.headers_mut() = request.headers().clone();
        copy
    })
}

/// Turns a request into what the target expects: origin-form, `Host` after the address (RFC 9112, section 3.2.2).
fn for_next_hop(request: Request<Incoming>) -> Result<Request<Incoming>, hyper::http::Error> {
    let (mut parts, body) = request.into_parts();
    let host = parts.uri.authority().map(|authority| without_user(authority.as_str()));
    let host = host.map(HeaderValue::from_str).transpose()?;
    strip_hop_by_hop(&mut parts.headers, parts.version);
    if let Some(host) = host {
        parts.headers.insert(HOST, host);
    }
    parts.uri = origin_form(&parts.uri)?;
    parts.version = Version::HTTP_11;
    Ok(Request::from_parts(parts, body))
}

/// Connects to `target` for requests.
async fn open<D: Dial>(context: &ProxyContext<D>, access: &Access, target: &Target) -> Result<Opened, ForwardError> {
    let dialled = context.connect(access, target).await?;
    let (path, connect) = (dialled.path(), Some(dialled.time));
    let sender = match dialled.connection {
        Connection::Direct(stream) => shake_hands(stream).await?,
        Connection::Tailnet(Tailnet::Stream(stream, early)) => shake_hands(with_early(stream, early)).await?,
        Connection::Tailnet(Tailnet::Waiting(waiting)) => {
            let (own, handed_over) = LocalStream::pair().map_err(|error| DialError::Other(error.to_string()))?;
            let relaying = waiting.hand_over(handed_over.into(), Vec::new(), context.limits.terms_of_http());
            tokio::spawn(async move {
                if let Err(error) = relaying.await {
                    tracing::debug!(%error, "connection to a target broke");
                }
            });
            shake_hands(own).await?
        }
    };
    Ok(Opened { sender, path, connect })
}

/// Returns the stream with `early` in front of it, the bytes that came with tailscaled's response to the dial.
fn with_early(stream: impl AsyncRead + AsyncWrite, early: Bytes) -> impl AsyncRead + AsyncWrite {
    let (reads, writes) = tokio::io::split(stream);
    tokio::io::join(Cursor::new(early).chain(reads), writes)
}

/// Begins HTTP/1.1 over `stream`, and drives it until it ends.
async fn shake_hands<S>(stream: S) -> Result<SendRequest<Body>, hyper::Error>
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEAD)
        .max_headers(MOST_HEADERS)
        .preserve_header_case(true)
        // As curl and nginx take them.
        .allow_obsolete_multiline_headers_in_responses(true)
        .allow_spaces_after_header_name_in_responses(true)
        .handshake(TokioIo::new(TargetStream::new(Box::pin(stream))))
        .await?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection to a target broke");
        }
    });
    Ok(sender)
}
