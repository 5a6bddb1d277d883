//! Forwards absolute-form requests to their targets (RFC 9112, section 3.2.2).
//!
//! The connection to the target is kept for the client's next request to it.

use std::io::Cursor;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Body as _, Bytes, Frame, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{HOST, HeaderValue};
use hyper::{Request, Response, StatusCode, Uri, Version};
use hyper_util::rt::TokioIo;
use prometheus_client::metrics::counter::Counter;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::sync::Mutex;

use crate::net::unix_stream::LocalStream;
use crate::proxy::connect::Connection;
use crate::proxy::context::ProxyContext;
use crate::proxy::http::headers::{MAX_HEAD, strip_hop_by_hop};
use crate::proxy::http::responses::{Body, status_of};
use crate::proxy::http::target_stream::TargetStream;
use crate::proxy::metrics::labels::{Direction, Outcome, Protocol};
use crate::proxy::policy::access::Access;
use crate::target::dial::{Dial, DialError, Tailnet};
use crate::target::host::Target;

const HTTP_PORT: u16 = 80;

/// Why a request has no response from its target.
#[derive(Debug, Error)]
pub enum ForwardError {
    #[error("{0}")]
    Dial(#[from] DialError),
    #[error("the target broke off: {0}")]
    Broken(#[from] hyper::Error),
    #[error("the request cannot be sent on: {0}")]
    Malformed(#[from] hyper::http::Error),
}

impl ForwardError {
    /// Returns the status that tells the client the truth.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Dial(error) => status_of(error),
            Self::Broken(_) => StatusCode::BAD_GATEWAY,
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
        }
    }

    /// Returns the label that the failure is counted by.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Dial(error) => Outcome::from(error),
            Self::Broken(_) => Outcome::Failed,
            Self::Malformed(_) => Outcome::Malformed,
        }
    }
}

/// Error of an address whose host is invalid.
const NO_HOST: &str = "the host of the address is no name: it has letters, digits, - and _ between dots";

/// Returns the target of an absolute-form request, or what is wrong with its address.
pub fn absolute_target(uri: &Uri) -> Result<Target, &'static str> {
    let Some(authority) = uri.authority() else {
        return Err("this is a proxy: a request must name its whole address, or use CONNECT");
    };
    match uri.scheme_str() {
        Some("http") => match without_user(authority.as_str()).strip_prefix(authority.host()) {
            // `http://host:/` names no port (RFC 9110, section 4.2.3).
            Some("" | ":") => Target::new(authority.host(), HTTP_PORT).map_err(|_| NO_HOST),
            // A port that is no number must not become another port than the client meant.
            _ => match authority.port_u16() {
                Some(port) => Target::new(authority.host(), port).map_err(|_| NO_HOST),
                None => Err("the port of the address is no number up to 65535"),
            },
        },
        _ => Err("only http:// can be sent on; use CONNECT for anything else"),
    }
}

/// The connection to the target of the client's last request, where there is one.
#[derive(Default)]
pub struct Upstream(Mutex<Option<KeptConnection>>);

struct KeptConnection {
    target: Target,
    sender: SendRequest<Body>,
}

impl Upstream {
    /// Forwards `request` of a client with `access` to `target` and returns its response, the body of which streams.
    pub async fn forward<D: Dial>(
        &self,
        context: &ProxyContext<D>,
        access: &Access,
        target: &Target,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, ForwardError> {
        let mut kept = self.0.lock().await;
        let mut reusable = None;
        if let Some(KeptConnection { target: last, mut sender }) = kept.take()
            && last == *target
            && sender.ready().await.is_ok()
        {
            reusable = Some(sender);
        }
        let request = for_next_hop(request)?;
        let repeated = reusable.is_some().then(|| repeatable(&request)).flatten();
        let request = request.map(|body| counted(body, context.counters.bytes(Direction::Sent)));
        let mut sender = match reusable {
            Some(sender) => sender,
            None => open(context, access, target).await?,
        };
        let mut response = match sender.try_send_request(request).await {
            Ok(response) => response,
            // The target has closed the kept connection. The request is sent again when it was not sent at all or may
            // be sent twice, but not when the target has responded, however badly.
            Err(mut failure) => match failure.take_message().or(repeated.filter(|_| !failure.error().is_parse())) {
                Some(request) => {
                    sender = open(context, access, target).await?;
                    sender.send_request(request).await?
                }
                None => return Err(failure.into_error().into()),
            },
        };
        context.counters.request_connected(Protocol::Http);
        *kept = Some(KeptConnection { target: target.clone(), sender });
        strip_hop_by_hop(response.headers_mut());
        *response.version_mut() = Version::HTTP_11;
        Ok(response.map(|body| counted(body, context.counters.bytes(Direction::Received))))
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

/// Counts the bytes of a body as they pass.
fn counted(body: Incoming, bytes: Counter) -> Body {
    let count = move |frame: Frame<Bytes>| {
        bytes.inc_by(frame.data_ref().map_or(0, |data| data.len() as u64));
        frame
    };
    body.map_frame(count).boxed_unsync()
}

/// Turns a request into what the target expects: origin-form, `Host` after the address (RFC 9112, section 3.2.2).
fn for_next_hop(request: Request<Incoming>) -> Result<Request<Incoming>, hyper::http::Error> {
    let (mut parts, body) = request.into_parts();
    let host = parts.uri.authority().map(|authority| without_user(authority.as_str()));
    let host = host.map(HeaderValue::from_str).transpose()?;
    strip_hop_by_hop(&mut parts.headers);
    if let Some(host) = host {
        parts.headers.insert(HOST, host);
    }
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    // `http://web?x=1` has an empty path (RFC 9112, section 3.2.1).
    parts.uri = if path.starts_with('?') { format!("/{path}").parse()? } else { path.parse()? };
    parts.version = Version::HTTP_11;
    Ok(Request::from_parts(parts, body))
}

/// Removes `user:password@`, which is not for the wire (RFC 9110, section 4.2.4).
fn without_user(authority: &str) -> &str {
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
}

/// Connects to `target` for requests.
async fn open<D: Dial>(
    context: &ProxyContext<D>,
    access: &Access,
    target: &Target,
) -> Result<SendRequest<Body>, ForwardError> {
    Ok(match context.connect(access, target).await? {
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
    })
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
        .handshake(TokioIo::new(TargetStream::new(Box::pin(stream))))
        .await?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection to a target broke");
        }
    });
    Ok(sender)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_is_the_address_of_the_request() {
        let target = |text: &str| absolute_target(&text.parse().expect("URI")).map(|target| target.to_string());
        assert_eq!(target("http://web/path").as_deref(), Ok("web:80"));
        assert_eq!(target("http://web:8080/").as_deref(), Ok("web:8080"));
        assert_eq!(target("http://[fd7a::1]:81/").as_deref(), Ok("[fd7a::1]:81"));
        assert_eq!(target("http://app:1@web:/").as_deref(), Ok("web:80"));
        assert!(target("http://web:99999/").is_err());
        assert!(target("http://web:x/").is_err());
        assert!(target("https://web/").is_err());
        assert!(target("/path").is_err());
    }

    #[test]
    fn credentials_in_the_address_stay_here() {
        assert_eq!(without_user("app:pass@web:80"), "web:80");
        assert_eq!(without_user("web:80"), "web:80");
    }
}
