//! Serves SOCKS5 clients (RFC 1928): greeting, method, request, reply.
//!
//! The replies tell the truth about what failed.

pub(crate) mod address;
pub(crate) mod handshake;
pub(crate) mod reply;
pub(crate) mod udp;

use std::io;
use std::net::SocketAddr;

use fast_socks5::ReplyError;
use fast_socks5::consts::{SOCKS5_CMD_TCP_CONNECT, SOCKS5_CMD_UDP_ASSOCIATE};
use thiserror::Error;
use tokio::io::BufReader;

use crate::proxy::connect::Connection;
use crate::proxy::context::ProxyContext;
use crate::proxy::listener::client::{Client, HandshakeEnd};
use crate::proxy::listener::stream::Stream;
use crate::proxy::metrics::labels::{Outcome, Protocol};
use crate::proxy::socks5::handshake::{HandshakeError, Request, USER_AND_PASSWORD, read_request};
use crate::proxy::socks5::reply::{UNSPECIFIED, reply_to, write_reply};
use crate::proxy::socks5::udp::{UdpSession, open_session, serve_association};
use crate::target::dial::{Dial, DialError, Tailnet};
use crate::target::host::Target;

/// Size of the buffer of a handshake, in bytes. Greeting and request fit in, and each is mostly read by one system
/// call.
const HANDSHAKE: usize = 512;

/// Why a client was not served.
#[derive(Debug, Error)]
enum Refusal {
    #[error("handshake: {0}")]
    Handshake(#[from] HandshakeError),
    #[error("{0}")]
    Ended(#[from] HandshakeEnd),
    #[error("a wrong password, and then: {0}")]
    Guessed(HandshakeEnd),
    #[error("command {0} is not supported")]
    Command(u8),
    #[error("no socket for datagrams: {0}")]
    Socket(io::Error),
    #[error("{target}: {error}")]
    Dial { target: Target, error: DialError },
}

impl Refusal {
    fn protocol(&self) -> Protocol {
        match self {
            Self::Command(SOCKS5_CMD_UDP_ASSOCIATE) | Self::Socket(_) => Protocol::Socks5Udp,
            _ => Protocol::Socks5,
        }
    }

    fn outcome(&self) -> Outcome {
        match self {
            Self::Handshake(HandshakeError::Credentials) => Outcome::Unauthorized,
            Self::Handshake(HandshakeError::NoMethod { wanted: USER_AND_PASSWORD }) => Outcome::Unauthorized,
            Self::Handshake(HandshakeError::NoMethod { .. }) | Self::Command(_) => Outcome::Unsupported,
            Self::Handshake(_) => Outcome::Malformed,
            Self::Ended(_) => Outcome::TooSlow,
            Self::Guessed(_) => Outcome::Unauthorized,
            Self::Socket(_) => Outcome::Failed,
            Self::Dial { error, .. } => Outcome::from(error),
        }
    }
}

/// What a client is served with.
enum Served {
    /// A connection, and what the client has sent behind its request.
    Connection(Connection, Vec<u8>),
    Association(UdpSession),
}

/// How a request is answered: with a reply, and then by what is served or the reason why nothing is.
struct Answer {
    served: Result<Served, Refusal>,
    reply: ReplyError,
    bound: SocketAddr,
}

impl Answer {
    fn granted(served: Served, bound: SocketAddr) -> Self {
        Self { served: Ok(served), reply: ReplyError::Succeeded, bound }
    }

    fn refused(error: Refusal, reply: ReplyError) -> Self {
        Self { served: Err(error), reply, bound: UNSPECIFIED }
    }
}

/// Serves one client to the end.
pub async fn serve_socks5<D: Dial>(context: &ProxyContext<D>, mut stream: Stream, client: &Client) {
    // Heap-allocated (`Box::pin`), and freed once the client has its reply.
    let served = Box::pin(shake_hands(context, &mut stream, client)).await;
    match served {
        Ok(Served::Connection(connection, sent)) => context.relay(client, stream, connection, sent).await,
        // Heap-allocated: few clients open associations, whose state is three times as large as that of a connection.
        Ok(Served::Association(session)) => Box::pin(serve_association(context, client, stream, session)).await,
        Err(error) => {
            context.record_failure(client, error.protocol(), error.outcome(), &error.to_string());
            if client.has_shaken_hands() {
                context.linger(stream).await;
            } else {
                context.linger_after_handshake(client, stream).await;
            }
        }
    }
}

/// Reads a client's request, does what it asks for, and replies.
async fn shake_hands<D: Dial>(
    context: &ProxyContext<D>,
    stream: &mut Stream,
    client: &Client,
) -> Result<Served, Refusal> {
    let (credentials, limit) = (context.credentials.as_ref(), context.handshake_timeout);
    // No password stays in a buffer: reads of more than its one byte go past it.
    let capacity = if credentials.is_some() { 1 } else { HANDSHAKE };
    let mut buffered = BufReader::with_capacity(capacity, &mut *stream);
    let request = read_request(&mut buffered, credentials, client.pause_after_guess(limit));
    let request = client.handshake(limit, request).await;
    let Request { command, target } =
        request.map_err(|end| if client.has_guessed() { Refusal::Guessed(end) } else { end.into() })??;
    let sent = buffered.buffer().to_vec();
    drop(buffered);
    client.let_in().await?;
    let Answer { served, reply, bound } = match command {
        SOCKS5_CMD_TCP_CONNECT => connect(context, client, target, sent).await,
        // A client on a unix socket has no address that its datagrams could come from.
        SOCKS5_CMD_UDP_ASSOCIATE if context.serves_udp() && stream.local_ip().is_some() => {
            match open_session(stream, &target, context.connector.policy()).await {
                Ok((session, bound)) => Answer::granted(Served::Association(session), bound),
                Err(error) => Answer::refused(Refusal::Socket(error), ReplyError::GeneralFailure),
            }
        }
        command => Answer::refused(Refusal::Command(command), ReplyError::CommandNotSupported),
    };
    write_reply(stream, reply, bound).await.map_err(HandshakeError::from)?;
    served
}

async fn connect<D: Dial>(context: &ProxyContext<D>, client: &Client, target: Target, sent: Vec<u8>) -> Answer {
    match context.connect(&client.access(), &target).await {
        Ok(connection) => {
            context.counters.request_connected(Protocol::Socks5);
            let bound = bind_address(&connection);
            Answer::granted(Served::Connection(connection, sent), bound)
        }
        Err(error) => {
            let reply = reply_to(&error);
            Answer::refused(Refusal::Dial { target, error }, reply)
        }
    }
}

fn bind_address(connection: &Connection) -> SocketAddr {
    match connection {
        Connection::Tailnet(Tailnet::Waiting(waiting)) => waiting.own_address(),
        Connection::Tailnet(Tailnet::Stream(..)) => UNSPECIFIED,
        Connection::Direct(stream) => stream.local_addr().unwrap_or(UNSPECIFIED),
    }
}
