//! Serves SOCKS5 clients (RFC 1928): greeting, method, request, reply.
//!
//! The replies tell the truth about what failed.

pub(crate) mod address;
pub(crate) mod handshake;
pub(crate) mod reply;
pub(crate) mod udp;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use fast_socks5::ReplyError;
use fast_socks5::consts::{SOCKS5_CMD_TCP_CONNECT, SOCKS5_CMD_UDP_ASSOCIATE};
use thiserror::Error;
use tokio::io::BufReader;

use crate::proxy::access_log::{Failure, Success};
use crate::proxy::connect::Connection;
use crate::proxy::context::{Granted, ProxyContext};
use crate::proxy::listener::client::{Client, HandshakeEnd};
use crate::proxy::listener::stream::Stream;
use crate::proxy::metrics::labels::{Outcome, Protocol};
use crate::proxy::socks5::handshake::{HandshakeError, Request, USER_AND_PASSWORD, read_request};
use crate::proxy::socks5::reply::{UNSPECIFIED, reply_to, write_reply};
use crate::proxy::socks5::udp::{UdpSession, open_session, serve_association};
use crate::proxy::users::user::{TooManyConnections, User};
use crate::proxy::users::{NotLetIn, Users};
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
    #[error("{0}")]
    TooMany(#[from] TooManyConnections),
    /// Between password and request.
    #[error("the file of users has changed meanwhile: {0}")]
    Gone(#[from] NotLetIn),
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
            Self::Handshake(HandshakeError::Credentials(_)) => Outcome::Unauthorized,
            Self::Handshake(HandshakeError::NoMethod { wanted: USER_AND_PASSWORD }) => Outcome::Unauthorized,
            Self::Handshake(HandshakeError::NoMethod { .. }) | Self::Command(_) => Outcome::Unsupported,
            Self::Handshake(_) => Outcome::Malformed,
            Self::Ended(_) => Outcome::TooSlow,
            Self::Guessed(_) | Self::Gone(_) => Outcome::Unauthorized,
            Self::TooMany(_) => Outcome::Limit,
            Self::Socket(_) => Outcome::Failed,
            Self::Dial { error, .. } => Outcome::from(error),
        }
    }

    /// Returns the reply to the client's request; `None` where it was none that has one.
    fn reply(&self) -> Option<ReplyError> {
        match self {
            Self::Handshake(_) | Self::Ended(_) | Self::Guessed(_) => None,
            Self::TooMany(_) | Self::Gone(_) => Some(ReplyError::ConnectionNotAllowed),
            Self::Command(_) => Some(ReplyError::CommandNotSupported),
            Self::Socket(_) => Some(ReplyError::GeneralFailure),
            Self::Dial { error, .. } => Some(reply_to(error)),
        }
    }

    fn target(&self) -> Option<&Target> {
        match self {
            Self::Dial { target, .. } => Some(target),
            _ => None,
        }
    }
}

/// What a client is served with.
enum Served {
    Connection(Granted),
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

    fn refused(error: Refusal) -> Self {
        let reply = error.reply().unwrap_or(ReplyError::GeneralFailure);
        Self { served: Err(error), reply, bound: UNSPECIFIED }
    }
}

/// Serves one client to the end.
pub async fn serve_socks5<D: Dial>(context: &ProxyContext<D>, mut stream: Stream, client: &Client) {
    // Heap-allocated (`Box::pin`), and freed once the client has its reply.
    let served = Box::pin(shake_hands(context, &mut stream, client)).await;
    match served {
        Ok(Served::Connection(granted)) => context.relay(client, stream, granted).await,
        // Heap-allocated: few clients open associations, whose state is three times as large as that of a connection.
        Ok(Served::Association(session)) => Box::pin(serve_association(context, client, stream, session)).await,
        Err(error) => {
            let reply = error.reply().map(|reply| reply.as_u8().into());
            let (protocol, outcome, reason) = (error.protocol(), error.outcome(), error.to_string());
            let failure = Failure { protocol, outcome, target: error.target(), reply, reason: &reason };
            context.record_failure(client, &failure);
            client.act_for_nobody();
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
    let (users, limit) = (&context.users, context.handshake_timeout);
    // No password stays in a buffer: reads of more than its one byte go past it.
    let capacity = if users.ask_for_password() { 1 } else { HANDSHAKE };
    let mut buffered = BufReader::with_capacity(capacity, &mut *stream);
    let request = read_request(&mut buffered, (users, client.origin.source), client.pause_after_guess(limit));
    let request = client.handshake(limit, request).await;
    let Request { user, command, target } =
        request.map_err(|end| if client.has_guessed() { Refusal::Guessed(end) } else { end.into() })??;
    let sent = buffered.buffer().to_vec();
    drop(buffered);
    client.let_in().await?;
    let Answer { served, reply, bound } = match user.map_or(Ok(()), |user| act_for(users, client, &user)) {
        Ok(()) => answer(context, (stream, client), (command, target), sent).await,
        Err(refusal) => Answer::refused(refusal),
    };
    write_reply(stream, reply, bound).await.map_err(HandshakeError::from)?;
    served
}

/// Takes the request for one of `user`'s, as the user is now: it may have waited long since its password was right.
fn act_for(users: &Users, client: &Client, user: &Arc<User>) -> Result<(), Refusal> {
    let now = users.as_now(user)?;
    Ok(client.act_for(&now)?)
}

/// Does what a client asks for.
async fn answer<D: Dial>(
    context: &ProxyContext<D>,
    (stream, client): (&Stream, &Client),
    (command, target): (u8, Target),
    sent: Vec<u8>,
) -> Answer {
    match command {
        SOCKS5_CMD_TCP_CONNECT => connect(context, client, target, sent).await,
        // A client on a unix socket has no address that its datagrams could come from.
        SOCKS5_CMD_UDP_ASSOCIATE if context.serves_udp() && stream.local_ip().is_some() => {
            match open_session(stream, client.origin.stated_ip, &target, context.connector.policy()).await {
                Ok((session, bound)) => Answer::granted(Served::Association(session), bound),
                Err(error) => Answer::refused(Refusal::Socket(error)),
            }
        }
        command => Answer::refused(Refusal::Command(command)),
    }
}

async fn connect<D: Dial>(context: &ProxyContext<D>, client: &Client, target: Target, sent: Vec<u8>) -> Answer {
    match context.connect_client(client, &target).await {
        Ok(dialled) => {
            let (target, path, connect) = (Some(&target), Some(dialled.path()), Some(dialled.time));
            let success = Success { protocol: Protocol::Socks5, target, path, connect, reply: Some(0) };
            let record = context.record_success(client, &success);
            let connection = dialled.connection;
            let bound = bind_address(&connection);
            Answer::granted(Served::Connection(Granted { connection, sent, record }), bound)
        }
        Err(error) => Answer::refused(Refusal::Dial { target, error }),
    }
}

fn bind_address(connection: &Connection) -> SocketAddr {
    match connection {
        Connection::Tailnet(Tailnet::Waiting(waiting)) => waiting.own_address(),
        Connection::Tailnet(Tailnet::Stream(..)) => UNSPECIFIED,
        Connection::Direct(stream) => stream.local_addr().unwrap_or(UNSPECIFIED),
    }
}
