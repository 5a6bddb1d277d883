//! Serves one client from accept to end.
//!
//! The first byte tells the protocol of a client of a proxy port; a port of `forwards` leads to a fixed target.

use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::proxy::context::ClientContext;
use crate::proxy::listener::client::{Client, HandshakeEnd};
use crate::proxy::listener::stream::Stream;
use crate::proxy::metrics::labels::{Outcome, Protocol};
use crate::proxy::{NO_PROTOCOL, ProxyProtocol};
use crate::target::dial::Dial;
use crate::target::host::Target;

/// How long a client may take for its first byte once the daemon drains: it may come by way of a balancer and over a
/// slow network.
const FIRST_BYTE_WHILE_DRAINING: Duration = Duration::from_millis(500);

/// Serves one client of a proxy port to the end.
pub async fn serve_client<D: Dial>(context: &ClientContext<D>, stream: Stream, client: &Client) {
    let _open = context.counters.connection_opened();
    let first_byte = async {
        tokio::select! {
            byte = client.handshake(context.handshake_timeout, stream.first_byte()) => byte,
            // While the daemon drains, a client that has sent nothing yet is not waited for, unless it has connected
            // just now.
            () = first_byte_overdue(&context.limits.draining) => Ok(Ok(None)),
        }
    };
    // Heap-allocated (`Box::pin`), like the futures that serve the client below, so that the state of a connection is
    // only as large as its present step needs.
    let (outcome, reason) = match Box::pin(first_byte).await {
        Ok(Ok(Some(byte))) => match ProxyProtocol::beginning_with(byte) {
            Some(protocol) => return (protocol.serve)(context, stream, client).await,
            None => {
                let reason = format!("{NO_PROTOCOL}: it begins with {byte:#04x}");
                context.record_failure(client, Protocol::Unknown, Outcome::Malformed, &reason);
                return Box::pin(context.linger_after_handshake(client, stream)).await;
            }
        },
        Ok(Ok(None)) => (Outcome::Malformed, "it sent nothing".to_owned()),
        Ok(Err(error)) => (Outcome::Malformed, error.to_string()),
        Err(HandshakeEnd::TooSlow) => (Outcome::TooSlow, "it sent nothing in time".to_owned()),
        Err(HandshakeEnd::Displaced) => (Outcome::TooSlow, "it sent nothing, and others wanted its place".to_owned()),
    };
    context.record_failure(client, Protocol::Unknown, outcome, &reason);
}

async fn first_byte_overdue(draining: &CancellationToken) {
    draining.cancelled().await;
    sleep(FIRST_BYTE_WHILE_DRAINING).await;
}

/// Serves one client of a port that leads to `target`.
pub async fn serve_forward<D: Dial>(context: &ClientContext<D>, stream: Stream, client: &Client, target: &Target) {
    let _open = context.counters.connection_opened();
    match context.connect(target).await {
        Ok(connection) => {
            context.counters.request_connected(Protocol::Forward);
            Box::pin(context.relay(client, stream, connection, Vec::new())).await;
        }
        Err(error) => {
            context.record_failure(client, Protocol::Forward, Outcome::from(&error), &format!("{target}: {error}"));
        }
    }
}
