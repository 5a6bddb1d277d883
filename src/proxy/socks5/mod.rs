//! SOCKS5 (RFC 1928): greeting, method, request, reply. The replies tell the truth.

pub(crate) mod handshake;
pub(crate) mod reply;
pub(crate) mod udp;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use fast_socks5::ReplyError;
use fast_socks5::consts::{SOCKS5_CMD_TCP_CONNECT, SOCKS5_CMD_UDP_ASSOCIATE};
use thiserror::Error;
use tokio::io::BufReader;
use tokio::time::timeout;

use crate::proxy::client::Proxy;
use crate::proxy::connect::Connection;
use crate::proxy::listener::stream::Stream;
use crate::proxy::metrics::labels::{Outcome, Protocol};
use crate::proxy::socks5::handshake::{HandshakeError, Request, USER_AND_PASSWORD};
use crate::proxy::socks5::reply::reply_to;
use crate::target::dial::{Dial, DialError, Tailnet, Target};

/// A greeting and a request are read in one piece each, mostly: so much covers both.
const HANDSHAKE: usize = 512;

/// What BND.ADDR says when the connection's own address in the tailnet is not known; clients do not use it.
pub const UNSPECIFIED: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// Why a client was not served.
#[derive(Debug, Error)]
enum ServeError {
    #[error("handshake: {0}")]
    Handshake(#[from] HandshakeError),
    #[error("no complete request in time")]
    TooSlow,
    #[error("command {0} is not supported")]
    Command(u8),
    #[error("no socket for datagrams: {0}")]
    Socket(io::Error),
    #[error("{target}: {error}")]
    Dial { target: Target, error: DialError },
}

impl ServeError {
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
            Self::TooSlow => Outcome::TooSlow,
            Self::Socket(_) => Outcome::Failed,
            Self::Dial { error, .. } => Outcome::from(error),
        }
    }
}

/// What a client gets.
enum Served {
    /// With what the client has sent behind its request.
    Connection(Connection, Vec<u8>),
    Association(udp::UdpSession),
}

/// Serves one client to the end.
pub async fn serve_socks5<D: Dial>(proxy: &Proxy<D>, mut client: Stream, from: &str) {
    // Freed once the client has its answer.
    let served = Box::pin(answer(proxy, &mut client)).await;
    match served {
        Ok(Served::Connection(connection, sent)) => proxy.relay(client, connection, sent).await,
        // In a box of its own: few are associations, and they need three times what a connection does.
        Ok(Served::Association(association)) => Box::pin(udp::serve_association(proxy, client, association)).await,
        Err(reason) => {
            proxy.unserved(from, reason.protocol(), reason.outcome(), &reason.to_string());
            proxy.linger(client).await;
        }
    }
}

async fn answer<D: Dial>(proxy: &Proxy<D>, client: &mut Stream) -> Result<Served, ServeError> {
    let credentials = proxy.credentials.as_ref();
    // No password stays in a buffer: one of a byte is gone past.
    let ahead = if credentials.is_some() { 1 } else { HANDSHAKE };
    let mut buffered = BufReader::with_capacity(ahead, &mut *client);
    let asked = timeout(proxy.handshake_timeout, handshake::read_request(&mut buffered, credentials)).await;
    let Request { command, target } = asked.map_err(|_| ServeError::TooSlow)??;
    let sent = buffered.buffer().to_vec();
    drop(buffered);
    let (served, truth, bound) = match command {
        SOCKS5_CMD_TCP_CONNECT => match proxy.connect(&target).await {
            Ok(connection) => {
                proxy.counters.connected(Protocol::Socks5);
                let bound = bind_address(&connection);
                (Ok(Served::Connection(connection, sent)), ReplyError::Succeeded, bound)
            }
            Err(error) => {
                let truth = reply_to(&error);
                (Err(ServeError::Dial { target, error }), truth, UNSPECIFIED)
            }
        },
        // A client on a unix socket has no address that its datagrams could come from.
        SOCKS5_CMD_UDP_ASSOCIATE if proxy.carries_datagrams() && client.local_ip().is_some() => {
            match udp::open(client, &target).await {
                Ok((opened, bound)) => (Ok(Served::Association(opened)), ReplyError::Succeeded, bound),
                Err(error) => (Err(ServeError::Socket(error)), ReplyError::GeneralFailure, UNSPECIFIED),
            }
        }
        command => (Err(ServeError::Command(command)), ReplyError::CommandNotSupported, UNSPECIFIED),
    };
    handshake::reply(client, truth, bound).await?;
    served
}

fn bind_address(connection: &Connection) -> SocketAddr {
    match connection {
        Connection::Tailnet(Tailnet::Held(held)) => held.own_address(),
        Connection::Tailnet(Tailnet::Stream(..)) => UNSPECIFIED,
        Connection::Direct(stream) => stream.local_addr().unwrap_or(UNSPECIFIED),
    }
}
