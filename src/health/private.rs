//! Answers a supervisor, at a socket of its own, by the health port's paths.
//!
//! Nobody else reaches the socket. The supervisor says for whom it asks, since it sees who that is.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

use crate::health::audience::Audience;
use crate::health::responses::text_response;
use crate::health::routes::{Inspect, Routes};
use crate::net::failed_accepts::FailedAccepts;

/// Header with the name of the audience.
pub const AUDIENCE: &str = "tetherd-audience";
/// Header with the other end of a connection, for [`IS_OF_PEER`].
pub const CLIENT: &str = "tetherd-client";
/// Path that is answered by `false` where no node of the tailnet is behind the connection of [`CLIENT`].
pub const IS_OF_PEER: &str = "/is-of-peer";

/// Longest time for a whole exchange.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(10);

/// Answers the supervisor until dropped.
pub async fn serve_supervisor<I: Inspect>(listener: UnixListener, routes: Arc<Routes<I>>) {
    let mut failed = FailedAccepts::default();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(exchange(stream, Arc::clone(&routes)))),
            Err(error) => failed.pause(&error, "supervisor").await,
        }
    }
}

async fn exchange<I: Inspect>(stream: UnixStream, routes: Arc<Routes<I>>) {
    let answer = service_fn(|request: Request<Incoming>| {
        let routes = Arc::clone(&routes);
        async move {
            if request.uri().path() == IS_OF_PEER {
                let is_of_peer = match client(request.headers()) {
                    Some(end) => routes.is_of_peer(end).await,
                    None => true,
                };
                return Ok::<_, Infallible>(text_response(StatusCode::OK, if is_of_peer { "true" } else { "false" }));
            }
            let audience = request.headers().get(AUDIENCE).and_then(|name| Audience::named(name.to_str().ok()?));
            Ok(routes.answer(&request, audience.unwrap_or(Audience::Remote)).await)
        }
    });
    let exchange =
        http1::Builder::new().keep_alive(false).timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), answer);
    if let Ok(Err(error)) = timeout(EXCHANGE_TIMEOUT, exchange).await {
        tracing::trace!(%error, "exchange with the supervisor broke");
    }
}

fn client(headers: &HeaderMap) -> Option<SocketAddr> {
    headers.get(CLIENT)?.to_str().ok()?.parse().ok()
}
