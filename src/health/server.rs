//! The HTTP server of the health port.
//!
//! It answers one request a connection: probes and people ask seldom, and a slow client cannot hold a connection for
//! long.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::health::routes::{Inspect, Routes};
use crate::net::failed_accepts::FailedAccepts;

/// Longest time for a whole exchange.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for a request: a client that sends none makes room for those who do.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(1);
/// Most exchanges at the same time; further ones wait in the backlog.
const EXCHANGES: usize = 256;

/// Serves the health port until dropped.
pub async fn serve_health<I: Inspect>(listener: TcpListener, routes: Routes<I>) {
    let routes = Arc::new(routes);
    let permits = Arc::new(Semaphore::new(EXCHANGES));
    let mut failed = FailedAccepts::default();
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                failed.pause(&error, "health client").await;
                continue;
            }
        };
        let routes = Arc::clone(&routes);
        tokio::spawn(async move {
            let answer = service_fn(|request: Request<Incoming>| {
                let routes = Arc::clone(&routes);
                async move {
                    Ok::<_, Infallible>(routes.answer(request.method(), request.uri().path(), request.headers()).await)
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
            drop(permit);
        });
    }
}
