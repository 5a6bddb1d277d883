//! SOCKS5 (RFC 1928): greeting, method, request, reply. The protocol is fast-socks5's; the replies tell the truth.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use fast_socks5::server::{Socks5ServerProtocol, SocksServerError, states::CommandRead};
use fast_socks5::util::target_addr::TargetAddr;
use fast_socks5::{ReplyError, Socks5Command};
use thiserror::Error;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::connector::{Connection, Connector};
use super::counters::Counters;
use super::relay::{Carried, HalfClose, relay};
use super::reply::reply_to;
use crate::config::Credentials;
use crate::dial::{Dial, DialError, Target};

/// What BND.ADDR says when the connection's own address in the tailnet is not known; clients do not use it.
const UNSPECIFIED: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// Serves SOCKS5 clients.
pub struct Socks<D> {
    pub connector: Connector<D>,
    pub credentials: Option<Credentials>,
    pub handshake_timeout: Duration,
    pub half_close_timeout: Duration,
    pub counters: Counters,
}

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

type Requested<'a> = (Socks5ServerProtocol<&'a mut TcpStream, CommandRead>, Target);

impl<D: Dial> Socks<D> {
    /// Serves one client to the end.
    pub async fn serve(&self, mut client: TcpStream, from: SocketAddr) {
        let open = self.counters.open();
        // Small messages must not wait for the next ones.
        let _ = client.set_nodelay(true);
        match self.connect(&mut client).await {
            Ok(connection) => self.relay(client, connection).await,
            Err(reason) => {
                self.counters.failed();
                tracing::info!(%from, %reason, "connection not made");
                linger(client, self.handshake_timeout).await;
            }
        }
        drop(open);
    }

    async fn connect(&self, client: &mut TcpStream) -> Result<Connection, Unserved> {
        let (protocol, target) =
            timeout(self.handshake_timeout, self.handshake(client)).await.map_err(|_| Unserved::TooSlow)??;
        match self.connector.connect(&target).await {
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

    async fn handshake<'a>(&self, client: &'a mut TcpStream) -> Result<Requested<'a>, Unserved> {
        let protocol = match &self.credentials {
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

    async fn relay(&self, mut client: TcpStream, connection: Connection) {
        let carried = Carried::default();
        let silence = self.half_close_timeout;
        let result = match connection {
            Connection::Tailnet(target, early) => match client.write_all(&early).await {
                Ok(()) => relay(client, target, HalfClose::Hold, silence, &carried).await,
                Err(error) => Err(error),
            },
            Connection::Direct(target) => relay(client, target, HalfClose::PassOn, silence, &carried).await,
        };
        self.counters.relayed(carried.sent(), carried.received());
        if let Err(error) = result {
            tracing::debug!(%error, sent = carried.sent(), received = carried.received(), "connection broke");
        }
    }
}

/// Lets a refused client read its reply: closing a socket with unread bytes resets the connection, and the reset
/// would overtake the reply.
async fn linger(mut client: TcpStream, longest: Duration) {
    let _ = client.shutdown().await;
    let mut rest = tokio::io::sink();
    let _ = timeout(longest, tokio::io::copy(&mut client, &mut rest)).await;
}

fn bind_address(connection: &Connection) -> SocketAddr {
    match connection {
        Connection::Tailnet(..) => UNSPECIFIED,
        Connection::Direct(stream) => stream.local_addr().unwrap_or(UNSPECIFIED),
    }
}
