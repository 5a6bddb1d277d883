//! Serves one client from accept to end.
//!
//! The first byte tells the protocol of a client of a proxy port; a port of `forwards` leads to a fixed target.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::net::server_tls::ServerTls;
use crate::proxy::context::ProxyContext;
use crate::proxy::listener::client::{Client, HandshakeEnd};
use crate::proxy::listener::guests::Heard;
use crate::proxy::listener::stream::Stream;
use crate::proxy::listener::tls;
use crate::proxy::metrics::labels::{Outcome, Protocol};
use crate::proxy::policy::access::Access;
use crate::proxy::{NO_PROTOCOL, ProxyProtocol};
use crate::target::dial::Dial;
use crate::target::host::Target;

/// How long a client may take for its first byte once the daemon drains: it may come by way of a balancer and over a
/// slow network.
const FIRST_BYTE_WHILE_DRAINING: Duration = Duration::from_millis(500);

/// Serves one client of a proxy port to the end.
pub async fn serve_client<D: Dial>(context: &ProxyContext<D>, stream: Stream, client: &Client) {
    let _open = context.counters.connection_opened();
    // Heap-allocated (`Box::pin`), like the futures that serve the client below, so that the state of a connection is
    // only as large as its present step needs.
    let Some(byte) = Box::pin(first_byte(context, &stream, client)).await else { return };
    match (&context.tls, stream) {
        (Some(tls), Stream::Tcp(stream)) if byte == tls::FIRST_BYTE => {
            Box::pin(serve_tls(context, tls, stream, client)).await;
        }
        (Some(_), stream) if needs_tls(context, &stream, client) => {
            let reason = "it does not speak TLS, which is asked for on this listener";
            context.record_failure(client, Protocol::Unknown, Outcome::Malformed, reason);
            Box::pin(context.linger_after_handshake(client, stream)).await;
        }
        (_, stream) => serve_protocol(context, stream, client, byte).await,
    }
}

/// Serves a client that begins with `byte`.
async fn serve_protocol<D: Dial>(context: &ProxyContext<D>, stream: Stream, client: &Client, byte: u8) {
    match ProxyProtocol::beginning_with(byte) {
        Some(protocol) => (protocol.serve)(context, stream, client).await,
        None => {
            let reason = format!("{NO_PROTOCOL}: it begins with {byte:#04x}");
            context.record_failure(client, Protocol::Unknown, Outcome::Malformed, &reason);
            Box::pin(context.linger_after_handshake(client, stream)).await;
        }
    }
}

/// Whether what `client` sends must be encrypted: it comes over the network. A program of this machine may do without where it
/// has to give the password.
fn needs_tls<D: Dial>(context: &ProxyContext<D>, stream: &Stream, client: &Client) -> bool {
    let is_local = stream.peer_ip().is_none_or(|address| address.to_canonical().is_loopback());
    client.origin.by_network && !(is_local && context.credentials.is_some())
}

/// Serves a client that speaks TLS.
async fn serve_tls<D: Dial>(context: &ProxyContext<D>, tls: &ServerTls, stream: TcpStream, client: &Client) {
    let accepted = client.handshake(context.handshake_timeout, tls.acceptor().accept(stream)).await;
    let (outcome, reason) = match accepted {
        Ok(Ok(stream)) => {
            let serve = |stream| async move {
                if let Some(byte) = Box::pin(first_byte(context, &stream, client)).await {
                    serve_protocol(context, stream, client, byte).await;
                }
            };
            if let Err(error) = tls::serve_in_clear(stream, serve).await {
                tracing::warn!(%error, "no socket for a TLS connection");
            }
            return;
        }
        Ok(Err(error)) => (Outcome::Malformed, format!("TLS: {error}")),
        Err(end) => (Outcome::TooSlow, format!("TLS: {end}")),
    };
    context.record_failure(client, Protocol::Unknown, outcome, &reason);
}

/// Waits for a client's first byte. `None` where none came: that is counted where the client had not gone by itself.
async fn first_byte<D: Dial>(context: &ProxyContext<D>, stream: &Stream, client: &Client) -> Option<u8> {
    let byte = tokio::select! {
        byte = client.handshake(context.handshake_timeout, stream.first_byte()) => byte,
        // A client that has sent nothing yet is no running connection, unless it has come just now.
        () = first_byte_overdue(&context.limits.draining) => Ok(Ok(None)),
    };
    let (outcome, reason) = match byte {
        Ok(Ok(Some(byte))) => {
            client.note(Heard::Something);
            return Some(byte);
        }
        // A probe, such as that of a load balancer: it wanted to know whether somebody listens.
        Ok(Ok(None) | Err(_)) => {
            tracing::debug!(from = client.origin.from, "the client has sent nothing");
            return None;
        }
        Err(HandshakeEnd::TooSlow) => (Outcome::TooSlow, "it sent nothing in time".to_owned()),
        Err(HandshakeEnd::Displaced) => (Outcome::TooSlow, "it sent nothing, and others wanted its place".to_owned()),
    };
    context.record_failure(client, Protocol::Unknown, outcome, &reason);
    None
}

async fn first_byte_overdue(draining: &CancellationToken) {
    draining.cancelled().await;
    sleep(FIRST_BYTE_WHILE_DRAINING).await;
}

/// Serves one client of a port that leads to `target`, which the settings name: `loopback` and `private` are about targets
/// that clients choose.
pub async fn serve_forward<D: Dial>(context: &ProxyContext<D>, stream: Stream, client: &Client, target: &Target) {
    let _open = context.counters.connection_opened();
    match context.connect(&Access::default(), target).await {
        Ok(connection) => {
            context.counters.request_connected(Protocol::Forward);
            Box::pin(context.relay(client, stream, connection, Vec::new())).await;
        }
        Err(error) => {
            context.record_failure(client, Protocol::Forward, Outcome::from(&error), &format!("{target}: {error}"));
        }
    }
}
