//! SOCKS5 replies (RFC 1928, section 6). A failed dial becomes one only here.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use fast_socks5::ReplyError;
use fast_socks5::util::target_addr::TargetAddr;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::target::dial::DialError;

/// The version byte of requests and replies.
pub const VERSION: u8 = 5;

/// What BND.ADDR says when the connection's own address in the tailnet is not known; clients do not use it.
pub const UNSPECIFIED: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// Writes a reply with `bound` as BND.ADDR and BND.PORT.
pub async fn write_reply(
    client: &mut (impl AsyncWrite + Unpin),
    reply: ReplyError,
    bound: SocketAddr,
) -> io::Result<()> {
    let mut message = vec![VERSION, reply.as_u8(), 0];
    message.extend(TargetAddr::Ip(bound).to_be_bytes().map_err(io::Error::other)?);
    client.write_all(&message).await
}

/// Returns the reply code for a failed dial.
pub fn reply_to(error: &DialError) -> ReplyError {
    match error {
        DialError::Policy(_) => ReplyError::ConnectionNotAllowed,
        DialError::Network(_) => ReplyError::NetworkUnreachable,
        DialError::Host(_) => ReplyError::HostUnreachable,
        DialError::Refused => ReplyError::ConnectionRefused,
        // "TTL expired" is as near as the protocol comes to a time-out.
        DialError::TimedOut(_) => ReplyError::TtlExpired,
        DialError::Tailscaled(_) | DialError::Other(_) => ReplyError::GeneralFailure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_have_the_codes_of_the_contract() {
        let text = String::new;
        for (error, code) in [
            (DialError::Policy(text()), 2),
            (DialError::Network(text()), 3),
            (DialError::Host(text()), 4),
            (DialError::Refused, 5),
            (DialError::TimedOut(text()), 6),
            (DialError::Other(text()), 1),
        ] {
            assert_eq!(reply_to(&error).as_u8(), code, "{error:?}");
        }
    }
}
