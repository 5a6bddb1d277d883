//! Serves one client from accept to end.
//!
//! The first byte tells the protocol of a client of a proxy port; a port of `forwards` leads to a fixed target.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::net::server_tls::ServerTls;
use crate::proxy::access_log::{Failure, Success};
use crate::proxy::context::{Granted, ProxyContext};
use crate::proxy::listener::client::{Client, HandshakeEnd};
use crate::proxy::listener::guests::Heard;
use crate::proxy::listener::proxy_header::{HeaderError, read_header};
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
pub async fn serve_client<D: Dial>(context: &ProxyContext<D>, mut stream: Stream, client: &mut Client) {
    let _open = context.counters.connection_opened();
    if client.origin.by_balancer && !Box::pin(is_introduced(context, &mut stream, client, Protocol::Unknown)).await {
        return;
    }
    let client = &*client;
    // Heap-allocated (`Box::pin`), like the futures that serve the client below, so that the state of a connection is
    // only as large as its present step needs.
    let Some(byte) = Box::pin(first_byte(context, &stream, client)).await else { return };
    match (&context.tls, stream) {
        (Some(tls), Stream::Tcp(stream)) if byte == tls::FIRST_BYTE => {
            Box::pin(serve_tls(context, tls, stream, client)).await;
        }
        (Some(_), stream) if needs_tls(context, &stream, client) => {
            let reason = "it does not speak TLS, which is asked for on this listener";
            context.record_failure(client, &Failure::of_handshake(Protocol::Unknown, Outcome::Malformed, reason));
            Box::pin(context.linger_after_handshake(client, stream)).await;
        }
        (_, stream) => serve_protocol(context, stream, client, byte).await,
    }
}

/// Reads the header of the PROXY protocol, which comes before all else, and notes where the client comes from. Whether there
/// was one: if not, that is counted where the client had not gone by itself.
async fn is_introduced<D: Dial>(
    context: &ProxyContext<D>,
    stream: &mut Stream,
    client: &mut Client,
    protocol: Protocol,
) -> bool {
    let limit = context.handshake_timeout;
    let header = tokio::select! {
        header = client.handshake(limit, read_header(stream)) => header,
        () = first_byte_overdue(&context.limits.draining) => Ok(Err(HeaderError::Nothing)),
    };
    let (outcome, reason) = match header {
        Ok(Ok(address)) => match client.comes_from(address, limit).await {
            Ok(()) => return true,
            Err(end) => (Outcome::TooSlow, end.to_string()),
        },
        Ok(Err(HeaderError::Nothing)) => {
            record_probe(client);
            return false;
        }
        Ok(Err(error)) => (Outcome::Malformed, error.to_string()),
        Err(end) => (Outcome::TooSlow, format!("no header of the PROXY protocol: {end}")),
    };
    context.record_failure(client, &Failure::of_handshake(protocol, outcome, &reason));
    false
}

/// Serves a client that begins with `byte`.
async fn serve_protocol<D: Dial>(context: &ProxyContext<D>, stream: Stream, client: &Client, byte: u8) {
    match ProxyProtocol::beginning_with(byte) {
        Some(protocol) => (protocol.serve)(context, stream, client).await,
        None => {
            let reason = format!("{NO_PROTOCOL}: it begins with {byte:#04x}");
            context.record_failure(client, &Failure::of_handshake(Protocol::Unknown, Outcome::Malformed, &reason));
            Box::pin(context.linger_after_handshake(client, stream)).await;
        }
    }
}

/// Whether what `client` sends must be encrypted: it comes over the network. A program of this machine may do without where it
/// has to give the password; whom a balancer brings is none of them, whatever its header says.
fn needs_tls<D: Dial>(context: &ProxyContext<D>, stream: &Stream, client: &Client) -> bool {
    let is_local = client.origin.stated_ip.is_none()
        && stream.peer_ip().is_none_or(|address| address.to_canonical().is_loopback());
    client.origin.by_network && !(is_local && context.users.ask_for_password())
}

/// Serves a client that speaks TLS.
async fn serve_tls<D: Dial>(context: &ProxyContext<D>, tls: &ServerTls, stream: TcpStream, client: &Client) {
    let accepting = async { tls.acceptor().await.accept(stream).await };
    let accepted = client.handshake(context.handshake_timeout, accepting).await;
    let (outcome, reason) = match accepted {
        Ok(Ok(stream)) => {
            let serve = |stream| async move {
                if let Some(byte) = Box::pin(first_byte(context, &stream, client)).await {
                    serve_protocol(context, stream, client, byte).await;
                }
            };
            if let Err(error) = tls::serve_in_clear(stream, serve, || !client.was_displaced()).await {
                tracing::warn!(%error, "no socket for a TLS connection");
            }
            return;
        }
        Ok(Err(error)) => (Outcome::Malformed, format!("TLS: {error}")),
        Err(end) => (Outcome::TooSlow, format!("TLS: {end}")),
    };
    context.record_failure(client, &Failure::of_handshake(Protocol::Unknown, outcome, &reason));
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
        Ok(Ok(None) | Err(_)) => {
            record_probe(client);
            return None;
        }
        Err(HandshakeEnd::TooSlow) => (Outcome::TooSlow, "it sent nothing in time".to_owned()),
        Err(HandshakeEnd::Displaced) => (Outcome::TooSlow, "it sent nothing, and others wanted its place".to_owned()),
    };
    context.record_failure(client, &Failure::of_handshake(Protocol::Unknown, outcome, &reason));
    None
}

/// Logs a client that has gone with nothing sent: a probe, such as that of a load balancer, that wanted to know whether
/// somebody listens.
fn record_probe(client: &Client) {
    tracing::debug!(from = client.origin.from, "the client has sent nothing");
}

async fn first_byte_overdue(draining: &CancellationToken) {
    draining.cancelled().await;
    sleep(FIRST_BYTE_WHILE_DRAINING).await;
}

/// Serves one client of a port that leads to `target`, which the settings name: `loopback` and `private` are about targets
/// that clients choose.
pub async fn serve_forward<D: Dial>(
    context: &ProxyContext<D>,
    mut stream: Stream,
    client: &mut Client,
    target: &Target,
) {
    let _open = context.counters.connection_opened();
    if client.origin.by_balancer {
        if !Box::pin(is_introduced(context, &mut stream, client, Protocol::Forward)).await {
            return;
        }
        if let Err(end) = client.let_in().await {
            let reason = end.to_string();
            let failure = Failure::of_handshake(Protocol::Forward, Outcome::TooSlow, &reason);
            return context.record_failure(client, &failure);
        }
    }
    match context.connect(&Access::default(), target).await {
        Ok(dialled) => {
            let (path, connect) = (Some(dialled.path()), Some(dialled.time));
            let success = Success { protocol: Protocol::Forward, target: Some(target), path, connect, reply: None };
            let record = context.record_success(client, &success);
            let granted = Granted { connection: dialled.connection, sent: Vec::new(), record };
            Box::pin(context.relay(client, stream, granted)).await;
        }
        Err(error) => {
            let (outcome, reason) = (Outcome::from(&error), format!("{target}: {error}"));
            let failure = Failure::of_handshake(Protocol::Forward, outcome, &reason);
            context.record_failure(client, &Failure { target: Some(target), ..failure });
        }
    }
}
