//! One GET to the running daemon's health port.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Request, StatusCode};
use tokio::net::TcpStream;

use crate::http;

/// The daemon answers from memory; this is for a machine under load.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Runs one question to its end.
pub(super) fn block_on<T>(question: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let event_loop = tokio::runtime::Builder::new_current_thread().enable_all().build().context("setting up")?;
    event_loop.block_on(question)
}

/// Status and body of `path`.
pub(super) async fn get(health: SocketAddr, path: &str) -> anyhow::Result<(StatusCode, Bytes)> {
    let address = reachable(health);
    let exchange = async {
        let stream = TcpStream::connect(address).await.with_context(|| format!("no daemon answers on {address}"))?;
        let request = Request::get(path).header("Host", "tetherd").body(Full::new(Bytes::new()))?;
        let response = http::send(stream, request).await?;
        anyhow::Ok(http::read(response).await?)
    };
    tokio::time::timeout(TIMEOUT, exchange).await.with_context(|| format!("the daemon on {address} did not answer"))?
}

/// Where a daemon that listens on every address can be asked.
fn reachable(health: SocketAddr) -> SocketAddr {
    let ip = match health.ip() {
        IpAddr::V4(v4) if v4.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        // Where the kernel knows no IPv6 the daemon listens on IPv4 alone; it listens there in any case.
        IpAddr::V6(v6) if v6 == Ipv6Addr::UNSPECIFIED => Ipv4Addr::LOCALHOST.into(),
        other => other,
    };
    SocketAddr::new(ip, health.port())
}
