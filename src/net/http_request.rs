//! Sends one HTTP/1.1 request over one connection, TCP or unix socket.

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};

/// Largest response in bytes. Responses are small JSON documents; a tailnet of ten thousand nodes lists its peers in a
/// few megabytes.
const LARGEST_ANSWER: usize = 64 << 20;

/// Why a request could not be sent, or its response not be read.
#[derive(Debug, Error)]
pub enum HttpError {
    #[error("connection: {0}")]
    Io(#[from] std::io::Error),
    #[error("HTTP: {0}")]
    Http(#[from] hyper::Error),
    #[error("answer: {0}")]
    Body(String),
}

/// Sends `request` over `stream` and returns the head of the response. The connection lives as long as its body, or as
/// the upgraded stream that comes of it.
pub async fn send<S>(stream: S, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, HttpError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::trace!(%error, "HTTP connection ended");
        }
    });
    Ok(sender.send_request(request).await?)
}

/// Reads the whole response, of at most 64 MiB.
pub async fn read_answer(response: Response<Incoming>) -> Result<(StatusCode, Bytes), HttpError> {
    let status = response.status();
    Ok((status, read_body(response.into_body(), LARGEST_ANSWER).await?))
}

/// Reads a whole body of at most `largest` bytes.
pub async fn read_body(body: Incoming, largest: usize) -> Result<Bytes, HttpError> {
    let collected = Limited::new(body, largest).collect().await;
    Ok(collected.map_err(|error| HttpError::Body(error.to_string()))?.to_bytes())
}
