//! Dials targets directly, past the tailnet.

use std::io::ErrorKind;
use std::net::SocketAddr;

use tokio::net::TcpStream;

use crate::net::keepalive::notice_vanished_peer;
use crate::target::dial::DialError;

/// Connects to an address that the policy has allowed. Errors of the system become those of the proxy.
pub async fn dial_directly(address: SocketAddr) -> Result<TcpStream, DialError> {
    let text = |error: &std::io::Error| format!("{address}: {error}");
    let stream = TcpStream::connect(address).await.map_err(|error| match error.kind() {
        ErrorKind::ConnectionRefused => DialError::Refused,
        ErrorKind::TimedOut => DialError::TimedOut(text(&error)),
        ErrorKind::NetworkUnreachable | ErrorKind::AddrNotAvailable | ErrorKind::NetworkDown => {
            DialError::Network(text(&error))
        }
        ErrorKind::HostUnreachable => DialError::Host(text(&error)),
        _ => DialError::Other(text(&error)),
    })?;
    // Small messages must not wait for the next ones (Nagle's algorithm).
    let _ = stream.set_nodelay(true);
    if let Err(error) = notice_vanished_peer(&stream, address.ip()) {
        tracing::debug!(%address, %error, "nothing will tell when this target vanishes");
    }
    Ok(stream)
}
