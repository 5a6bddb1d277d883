//! The one place where a failed dial becomes a SOCKS5 reply (RFC 1928, section 6).

use fast_socks5::ReplyError;

use crate::target::dial::DialError;

/// The reply that tells the truth about `error`.
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
