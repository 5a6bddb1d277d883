//! A connection to a target, over which requests are sent one after the other.

use std::time::Duration;

use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;

use crate::net::unix_stream::LocalStream;
use crate::proxy::connect::Connection;
use crate::proxy::context::ProxyContext;
use crate::proxy::http::forward_error::ForwardError;
use crate::proxy::http::headers::MAX_HEAD;
use crate::proxy::http::responses::Body;
use crate::proxy::http::target_stream::TargetStream;
use crate::proxy::listener::client::Client;
use crate::proxy::listener::stream::Stream;
use crate::proxy::metrics::labels::Path;
use crate::proxy::relay::HalfClose;
use crate::target::dial::{Dial, DialError, Tailnet};
use crate::target::host::Target;

/// Most headers of a target's answer. hyper's 100 are too few for some services.
const MOST_HEADERS: usize = 512;

/// A connection for requests.
pub struct TargetConnection {
    pub sender: SendRequest<Body>,
    pub path: Path,
    /// How long it took; `None` once a request was sent on it.
    pub connect: Option<Duration>,
    /// Whether the target hears of the client's end, should the connection become a tunnel.
    pub half_close: HalfClose,
}

impl TargetConnection {
    /// Connects to `target`.
    pub async fn open<D: Dial>(
        context: &ProxyContext<D>,
        client: &Client,
        target: &Target,
    ) -> Result<Self, ForwardError> {
        let dialled = context.connect_client(client, target).await?;
        let (path, connect) = (dialled.path(), Some(dialled.time));
        let (stream, early, half_close) = match dialled.connection {
            Connection::Direct(stream) => (Stream::Tcp(stream), Bytes::new(), HalfClose::PassOn),
            Connection::Tailnet(Tailnet::Stream(stream, early)) => (Stream::Unix(stream), early, HalfClose::Hold),
            Connection::Tailnet(Tailnet::Waiting(waiting)) => {
                let (own, handed_over) = LocalStream::pair().map_err(|error| DialError::Other(error.to_string()))?;
                let relaying = waiting.hand_over(handed_over.into(), Vec::new(), context.limits.terms_of_http());
                tokio::spawn(async move {
                    if let Err(error) = relaying.await {
                        tracing::debug!(%error, "connection to a target broke");
                    }
                });
                (Stream::Unix(own), Bytes::new(), HalfClose::PassOn)
            }
        };
        let sender = shake_hands(TargetStream::new(stream, early)).await?;
        Ok(Self { sender, path, connect, half_close })
    }
}

/// Begins HTTP/1.1 over `stream`, and drives it until it ends.
async fn shake_hands(stream: TargetStream) -> Result<SendRequest<Body>, hyper::Error> {
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEAD)
        .max_headers(MOST_HEADERS)
        .preserve_header_case(true)
        // As curl and nginx take them.
        .allow_obsolete_multiline_headers_in_responses(true)
        .allow_spaces_after_header_name_in_responses(true)
        .handshake(TokioIo::new(stream))
        .await?;
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "connection to a target broke");
        }
    });
    Ok(sender)
}
