//! SOCKS5 (RFC 1928): greeting, method, request, reply. The protocol is fast-socks5's; the replies tell the truth.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use fast_socks5::server::{Socks5ServerProtocol, SocksServerError, states::CommandRead};
use fast_socks5::{ReplyError, Socks5Command};
use thiserror::Error;
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::client::Proxy;
use super::connector::Connection;
use super::label::{Outcome, Protocol};
use super::reply::reply_to;
use super::stream::Stream;
use super::udp;
use crate::dial::{Dial, DialError, Target};

/// What BND.ADDR says when the connection's own address in the tailnet is not known; clients do not use it.
const UNSPECIFIED: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// Why a client was not served.
#[derive(Debug, Error)]
enum Unserved {
    #[error("handshake: {0}")]
    Handshake(#[from] SocksServerError),
    #[error("no complete request in time")]
    TooSlow,
    #[error("{0:?} is not supported")]
    Command(Socks5Command),
    #[error("no socket for datagrams: {0}")]
    Socket(io::Error),
    #[error("{target}: {error}")]
    Dial { target: Target, error: DialError },
}

impl Unserved {
    fn protocol(&self) -> Protocol {
        match self {
            Self::Command(Socks5Command::UDPAssociate) | Self::Socket(_) => Protocol::Socks5Udp,
            _ => Protocol::Socks5,
        }
    }

    fn outcome(&self) -> Outcome {
        match self {
            Self::Handshake(SocksServerError::AuthenticationRejected | SocksServerError::AuthMethodUnacceptable(_)) => {
                Outcome::Unauthorized
            }
            Self::Handshake(SocksServerError::UnknownCommand(_)) | Self::Command(_) => Outcome::Unsupported,
            Self::Handshake(_) => Outcome::Malformed,
            Self::TooSlow => Outcome::TooSlow,
            Self::Socket(_) => Outcome::Failed,
            Self::Dial { error, .. } => Outcome::from(error),
        }
    }
}

type Requested<'a> = (Socks5ServerProtocol<&'a mut Stream, CommandRead>, Socks5Command, Target);

/// What a client gets.
enum Served {
    Connection(Connection),
    Association(UdpSocket),
}

/// Serves one client to the end.
pub(super) async fn serve<D: Dial>(proxy: &Proxy<D>, mut client: Stream, from: &str) {
    match answer(proxy, &mut client).await {
        Ok(Served::Connection(connection)) => proxy.relay(client, connection, &[]).await,
        Ok(Served::Association(socket)) => udp::serve(proxy, client, socket).await,
        Err(reason) => {
            proxy.unserved(from, reason.protocol(), reason.outcome(), &reason.to_string());
            proxy.linger(client).await;
        }
    }
}

async fn answer<D: Dial>(proxy: &Proxy<D>, client: &mut Stream) -> Result<Served, Unserved> {
    let near = client.local_ip();
    let requested = timeout(proxy.handshake_timeout, handshake(proxy, client)).await;
    let (protocol, command, target) = requested.map_err(|_| Unserved::TooSlow)??;
    match (command, near) {
        (Socks5Command::TCPConnect, _) => match proxy.connect(Protocol::Socks5, &target).await {
            Ok(connection) => {
                protocol.reply_success(bind_address(&connection)).await?;
                Ok(Served::Connection(connection))
            }
            Err(error) => {
                protocol.reply_error(&reply_to(&error)).await?;
                Err(Unserved::Dial { target, error })
            }
        },
        // A client on a unix socket has no address that its datagrams could come from.
        (Socks5Command::UDPAssociate, Some(near)) if proxy.udp => {
            let socket = UdpSocket::bind((near, 0)).await.map_err(Unserved::Socket)?;
            protocol.reply_success(socket.local_addr().map_err(Unserved::Socket)?).await?;
            Ok(Served::Association(socket))
        }
        (command, _) => {
            protocol.reply_error(&ReplyError::CommandNotSupported).await?;
            Err(Unserved::Command(command))
        }
    }
}

async fn handshake<'a, D>(proxy: &Proxy<D>, client: &'a mut Stream) -> Result<Requested<'a>, Unserved> {
    let protocol = match &proxy.credentials {
        None => Socks5ServerProtocol::accept_no_auth(client).await?,
        Some(credentials) => {
            let check = |user: String, password: String| credentials.accept(&user, &password);
            Socks5ServerProtocol::accept_password_auth(client, check).await?.0
        }
    };
    let (protocol, command, target) = protocol.read_command().await?;
    let target = udp::target(target);
    Ok((protocol, command, target))
}

fn bind_address(connection: &Connection) -> SocketAddr {
    match connection {
        Connection::Tailnet(..) => UNSPECIFIED,
        Connection::Direct(stream) => stream.local_addr().unwrap_or(UNSPECIFIED),
    }
}
