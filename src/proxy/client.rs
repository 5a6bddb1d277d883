//! Serves one client from accept to end.
//!
//! The first byte tells the protocol of a client of a proxy port; a port of `forwards` leads to a fixed target.

use std::time::Duration;

use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::proxy::context::ClientContext;
use crate::proxy::listener::stream::Stream;
use crate::proxy::metrics::labels::{Outcome, Protocol};
use crate::proxy::{NO_PROTOCOL, ProxyProtocol};
use crate::target::dial::Dial;
use crate::target::host::Target;

/// How long a client may take for its first byte once the daemon drains: it may come by way of a balancer and over a
/// slow network.
const FIRST_BYTE_WHILE_DRAINING: Duration = Duration::from_millis(500);

/// Serves one client of a proxy port to the end. `from` says in logs where it comes from.
pub async fn serve_client<D: Dial>(context: &ClientContext<D>, client: Stream, from: &str) {
    let _open = context.counters.connection_opened();
    let first_byte = async {
        tokio::select! {
            byte = timeout(context.handshake_timeout, client.first_byte()) => byte,
            // While the daemon drains, a client that has sent nothing yet is not waited for, unless it has connected
            // just now.
            () = first_byte_overdue(&context.limits.draining) => Ok(Ok(None)),
        }
    };
    // Heap-allocated (`Box::pin`), like the futures that serve the client below, so that the state of a connection is
    // only as large as its present step needs.
    let (outcome, reason) = match Box::pin(first_byte).await {
        Ok(Ok(Some(byte))) => match ProxyProtocol::beginning_with(byte) {
            Some(protocol) => return (protocol.serve)(context, client, from).await,
            None => {
                let reason = format!("{NO_PROTOCOL}: it begins with {byte:#04x}");
                context.record_failure(from, Protocol::Unknown, Outcome::Malformed, &reason);
                return Box::pin(context.linger(client)).await;
            }
        },
        Ok(Ok(None)) => (Outcome::Malformed, "it sent nothing".to_owned()),
        Ok(Err(error)) => (Outcome::Malformed, error.to_string()),
        Err(_) => (Outcome::TooSlow, "it sent nothing in time".to_owned()),
    };
    context.record_failure(from, Protocol::Unknown, outcome, &reason);
}

async fn first_byte_overdue(draining: &CancellationToken) {
    draining.cancelled().await;
    sleep(FIRST_BYTE_WHILE_DRAINING).await;
}

/// Serves one client of a port that leads to `target`. `from` says in logs where the client comes from.
pub async fn serve_forward<D: Dial>(context: &ClientContext<D>, client: Stream, from: &str, target: &Target) {
    let _open = context.counters.connection_opened();
    match context.connect(target).await {
        Ok(connection) => {
            context.counters.request_connected(Protocol::Forward);
            Box::pin(context.relay(client, connection, Vec::new())).await;
        }
        Err(error) => {
            context.record_failure(from, Protocol::Forward, Outcome::from(&error), &format!("{target}: {error}"));
        }
    }
}
