//! Sends one GET to the running daemon's health port.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Request, StatusCode};
use tokio::net::TcpStream;

use crate::net::connectable::connectable;
use crate::net::http_request;

/// Longest wait for a response. The daemon responds from memory; the limit allows for a machine under load.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Runs `request` to its end, in an event loop of its own.
pub fn block_on<T>(request: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let event_loop = tokio::runtime::Builder::new_current_thread().enable_all().build().context("setting up")?;
    let result = event_loop.block_on(request);
    // Not held up by a look-up of a name, which goes on in a thread of its own.
    event_loop.shutdown_background();
    result
}

/// Sends a GET for `path` to the daemon whose health port is `health`. Returns status and body of the response.
pub async fn get(health: SocketAddr, path: &str) -> anyhow::Result<(StatusCode, Bytes)> {
    let address = connectable(health);
    let exchange = async {
        let stream = TcpStream::connect(address).await.with_context(|| format!("no daemon answers on {address}"))?;
        let request = Request::get(path).header("Host", "localhost").body(Full::new(Bytes::new()))?;
        let response = http_request::send(stream, request).await?;
        anyhow::Ok(http_request::read_answer(response).await?)
    };
    tokio::time::timeout(TIMEOUT, exchange).await.with_context(|| format!("the daemon on {address} did not answer"))?
}
