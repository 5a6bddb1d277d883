//! SOCKS5 (RFC 1928): greeting, method, request, reply. The protocol is fast-socks5's; the replies tell the truth.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use fast_socks5::server::{Socks5ServerProtocol, SocksServerError, states::CommandRead};
use fast_socks5::util::target_addr::TargetAddr;
use fast_socks5::{ReplyError, Socks5Command};
use thiserror::Error;
use tokio::time::timeout;

use super::client::Proxy;
use super::connector::Connection;
use super::reply::reply_to;
use super::stream::Stream;
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
    #[error("{target}: {error}")]
    Dial { target: Target, error: DialError },
}

type Requested<'a> = (Socks5ServerProtocol<&'a mut Stream, CommandRead>, Target);

/// Serves one client to the end.
pub(super) async fn serve<D: Dial>(proxy: &Proxy<D>, mut client: Stream, from: &str) {
    match connect(proxy, &mut client).await {
        Ok(connection) => proxy.relay(client, connection, &[]).await,
        Err(reason) => {
            proxy.unserved(from, &reason.to_string());
            proxy.linger(client).await;
        }
    }
}

async fn connect<D: Dial>(proxy: &Proxy<D>, client: &mut Stream) -> Result<Connection, Unserved> {
    let requested = timeout(proxy.handshake_timeout, handshake(proxy, client)).await;
    let (protocol, target) = requested.map_err(|_| Unserved::TooSlow)??;
    match proxy.connector.connect(&target).await {
        Ok(connection) => {
            protocol.reply_success(bind_address(&connection)).await?;
            Ok(connection)
        }
        Err(error) => {
            protocol.reply_error(&reply_to(&error)).await?;
            Err(Unserved::Dial { target, error })
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
    if command != Socks5Command::TCPConnect {
        protocol.reply_error(&ReplyError::CommandNotSupported).await?;
        return Err(Unserved::Command(command));
    }
    let target = match target {
        TargetAddr::Ip(address) => address.into(),
        TargetAddr::Domain(name, port) => Target::new(&name, port),
    };
    Ok((protocol, target))
}

fn bind_address(connection: &Connection) -> SocketAddr {
    match connection {
        Connection::Tailnet(..) => UNSPECIFIED,
        Connection::Direct(stream) => stream.local_addr().unwrap_or(UNSPECIFIED),
    }
}
