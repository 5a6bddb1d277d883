//! The SOCKS5 handshake: greeting, user and password (RFC 1929), request.
//!
//! fast-socks5 chooses the method and reads addresses. What its own server answers untruthfully (5 to a name that is
//! not UTF-8, and to half a request) or not at all (an empty user) is read here; so no password passes through a
//! library that logs it.

use std::io;
use std::sync::Arc;

use fast_socks5::ReplyError;
use fast_socks5::consts::SOCKS5_CMD_UDP_ASSOCIATE;
use fast_socks5::server::{AuthMethod, Socks5ServerProtocol, SocksServerError};
use fast_socks5::util::target_addr::{AddrError, read_address};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use zeroize::Zeroizing;

use crate::proxy::listener::source::Source;
use crate::proxy::socks5::address::target_at;
use crate::proxy::socks5::reply::{UNSPECIFIED, VERSION, write_reply};
use crate::proxy::users::user::{Given, User};
use crate::proxy::users::{NotLetIn, Users};
use crate::target::host::{InvalidHost, Target};

/// The version byte of RFC 1929, which has versions of its own. Any status but 0 is a refusal.
const PASSWORD_VERSION: u8 = 1;
const ACCEPTED: u8 = 0;
const REFUSED: u8 = 0xff;

/// Authentication methods (RFC 1928, section 3).
const NO_AUTHENTICATION: u8 = 0;
pub const USER_AND_PASSWORD: u8 = 2;

/// A client's request (RFC 1928, section 4).
#[derive(Debug)]
pub struct Request {
    /// Whose user and password the client has given, where they were asked for.
    pub user: Option<Arc<User>>,
    pub command: u8,
    pub target: Target,
}

/// Why a handshake ended without a request. The client has had its reply where there is one to give.
#[derive(Debug, Error)]
pub enum HandshakeError {
    #[error("greeting: {0}")]
    Greeting(SocksServerError),
    #[error("greeting: the client does not offer method {wanted}")]
    NoMethod { wanted: u8 },
    #[error("{0}")]
    Credentials(NotLetIn),
    #[error("SOCKS version {0} in the request")]
    Version(u8),
    #[error("request: {0}")]
    Address(#[from] AddrError),
    #[error("request: {0}")]
    Host(#[from] InvalidHost),
    #[error("it broke off: {0}")]
    Broken(#[from] io::Error),
}

/// An authentication method that fast-socks5 negotiates, and whose exchange it leaves to the caller.
#[derive(Clone, Copy)]
struct Method(u8);

impl<T> AuthMethod<T> for Method {
    type StartingState = T;

    fn method_id(self) -> u8 {
        self.0
    }

    fn new(self, stream: T) -> T {
        stream
    }
}

/// Reads a client's request, and replies to all that comes before it; to a wrong password once `guessed` has ended.
pub async fn read_request<S>(
    client: &mut S,
    (users, source): (&Users, Source),
    guessed: impl Future<Output = ()>,
) -> Result<Request, HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let method = Method(if users.ask_for_password() { USER_AND_PASSWORD } else { NO_AUTHENTICATION });
    let negotiated = Socks5ServerProtocol::start(&mut *client).negotiate_auth(&[method]).await;
    negotiated.map_err(|error| match error {
        SocksServerError::AuthMethodUnacceptable(_) => HandshakeError::NoMethod { wanted: method.0 },
        error => HandshakeError::Greeting(error),
    })?;
    let user = match users.ask_for_password() {
        true => Some(authenticate(client, (users, source), guessed).await?),
        false => None,
    };
    let (command, target) = read_command(client).await?;
    Ok(Request { user, command, target })
}

/// Reads user and password, and replies whether they are right; if not, once `guessed` has ended.
async fn authenticate<S>(
    client: &mut S,
    (users, source): (&Users, Source),
    guessed: impl Future<Output = ()>,
) -> Result<Arc<User>, HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let found = match client.read_u8().await? {
        PASSWORD_VERSION => {
            let (user, password) = (read_field(client).await?, read_field(client).await?);
            match (std::str::from_utf8(&user), std::str::from_utf8(&password)) {
                (Ok(user), Ok(password)) => users.find(source, Given { user, password }).await,
                _ => Err(NotLetIn::Wrong),
            }
        }
        _ => Err(NotLetIn::Wrong),
    };
    match found {
        Ok(user) => {
            client.write_all(&[PASSWORD_VERSION, ACCEPTED]).await?;
            Ok(user)
        }
        Err(why) => {
            guessed.await;
            client.write_all(&[PASSWORD_VERSION, REFUSED]).await?;
            Err(HandshakeError::Credentials(why))
        }
    }
}

/// Reads a length and as many bytes. An empty field is never right, and is refused like any other that is wrong.
async fn read_field(client: &mut (impl AsyncRead + Unpin)) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(vec![0; client.read_u8().await?.into()]);
    client.read_exact(&mut bytes).await?;
    Ok(bytes)
}

async fn read_command<S>(client: &mut S) -> Result<(u8, Target), HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut head = [0; 4];
    client.read_exact(&mut head).await?;
    let [version, command, _, address_type] = head;
    if version != VERSION {
        return Err(HandshakeError::Version(version));
    }
    match read_address(client, address_type).await {
        Ok(address) => match target_at(address) {
            Ok(target) => Ok((command, target)),
            // Where a client's datagrams will come from may be left open (RFC 1928, section 4).
            Err(_) if command == SOCKS5_CMD_UDP_ASSOCIATE => Ok((command, UNSPECIFIED.into())),
            Err(error) => {
                write_reply(client, ReplyError::HostUnreachable, UNSPECIFIED).await?;
                Err(error.into())
            }
        },
        Err(error) => {
            let reply = match &error {
                AddrError::IncorrectAddressType => Some(ReplyError::AddressTypeNotSupported),
                AddrError::Utf8(_) => Some(ReplyError::HostUnreachable),
                // The client has gone in the middle of its request: nobody is left to reply to.
                _ => None,
            };
            if let Some(reply) = reply {
                write_reply(client, reply, UNSPECIFIED).await?;
            }
            Err(error.into())
        }
    }
}
