//! A small SOCKS5 client (RFC 1928, RFC 1929) that keeps the proxy's reply code.
//!
//! It is blocking. [`open`] gives the bare stream to tests that send malformed input.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

/// Longer than any deadline of the daemon that a test waits for; without it a lost answer would hang the test run.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The reply code, RFC 1928 section 6.
    #[error("the proxy replied {0}")]
    Reply(u8),
    /// RFC 1929: user or password is wrong.
    #[error("the proxy refused the user name or password")]
    Credentials,
    /// The proxy wants none of the offered methods.
    #[error("the proxy accepts no offered authentication method")]
    NoMethod,
    #[error("the proxy does not speak SOCKS5: {0:?}")]
    Malformed(Vec<u8>),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Error {
    /// The reply code, where the proxy gave one.
    pub fn reply(&self) -> Option<u8> {
        match self {
            Self::Reply(code) => Some(*code),
            _ => None,
        }
    }
}

/// A plain TCP connection to the proxy.
pub fn open(proxy: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(proxy)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(READ_TIMEOUT))?;
    Ok(stream)
}

/// CONNECT through the proxy. A `host` that is an address goes out as one, anything else as a name.
pub fn connect(
    proxy: SocketAddr,
    host: &str,
    port: u16,
    credentials: Option<(&str, &str)>,
) -> Result<TcpStream, Error> {
    let mut stream = open(proxy)?;
    handshake(&mut stream, host, port, credentials)?;
    Ok(stream)
}

/// The same over a stream that is open already.
pub fn handshake(
    stream: &mut (impl Read + Write),
    host: &str,
    port: u16,
    credentials: Option<(&str, &str)>,
) -> Result<(), Error> {
    authenticate(stream, credentials)?;
    stream.write_all(&request(1, host, port))?;
    read_reply(stream).map(drop)
}

/// Greeting and, where there are credentials, RFC 1929.
pub fn authenticate(stream: &mut (impl Read + Write), credentials: Option<(&str, &str)>) -> Result<(), Error> {
    let method = if credentials.is_some() { 2 } else { 0 };
    stream.write_all(&[5, 1, method])?;
    match read::<2>(stream)? {
        [5, 0xff] => return Err(Error::NoMethod),
        [5, chosen] if chosen == method => {}
        other => return Err(Error::Malformed(other.into())),
    }
    let Some((user, password)) = credentials else {
        return Ok(());
    };
    let mut message = vec![1, user.len() as u8];
    message.extend_from_slice(user.as_bytes());
    message.push(password.len() as u8);
    message.extend_from_slice(password.as_bytes());
    stream.write_all(&message)?;
    match read::<2>(stream)? {
        [1, 0] => Ok(()),
        [1, _] => Err(Error::Credentials),
        other => Err(Error::Malformed(other.into())),
    }
}

/// The bytes of a request; `command` 1 is CONNECT.
pub fn request(command: u8, host: &str, port: u16) -> Vec<u8> {
    let mut message = vec![5, command, 0];
    match host.parse() {
        Ok(IpAddr::V4(address)) => {
            message.push(1);
            message.extend(address.octets());
        }
        Ok(IpAddr::V6(address)) => {
            message.push(4);
            message.extend(address.octets());
        }
        Err(_) => {
            message.extend([3, host.len() as u8]);
            message.extend(host.as_bytes());
        }
    }
    message.extend(port.to_be_bytes());
    message
}

/// Reads a reply whole and returns its bind address (for a name: unspecified).
pub fn read_reply(stream: &mut impl Read) -> Result<SocketAddr, Error> {
    let [version, code, reserved, kind] = read::<4>(stream)?;
    if version != 5 {
        return Err(Error::Malformed(vec![version, code, reserved, kind]));
    }
    let address: IpAddr = match kind {
        1 => read::<4>(stream)?.into(),
        4 => read::<16>(stream)?.into(),
        _ => return Err(Error::Malformed(vec![version, code, reserved, kind])),
    };
    let port = u16::from_be_bytes(read::<2>(stream)?);
    if code == 0 { Ok((address, port).into()) } else { Err(Error::Reply(code)) }
}

fn read<const LENGTH: usize>(stream: &mut impl Read) -> io::Result<[u8; LENGTH]> {
    let mut bytes = [0; LENGTH];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}
