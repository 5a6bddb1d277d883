//! The messages of a session, as they go over its channel. The format is that of `parts/tailscaled/calls/message.go`: a
//! kind (1 byte), an id (4), a body; numbers are little-endian, addresses take 16 bytes (IPv4 as IPv4-mapped IPv6).

use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

use crate::target::datagrams::read_address;
use crate::target::dial::{DialError, RelayTerms, ResolvedAddress};

/// Kind and id.
const HEAD: usize = 5;

/// Kinds of messages to tailscaled.
pub mod request {
    pub const DIAL: u8 = b'D';
    pub const HAND_OVER: u8 = b'H';
    pub const CUT: u8 = b'C';
    pub const CUT_ALL: u8 = b'A';
    pub const RESOLVE: u8 = b'N';
    pub const ASSOCIATE: u8 = b'U';
    pub const DRAIN: u8 = b'Q';
    pub const MEMORY: u8 = b'M';
    pub const TRAFFIC: u8 = b'T';
}

/// How a dial or a lookup went: `outcome.go` has the same numbers.
mod outcome {
    pub const CONNECTED: u8 = 0;
    pub const DIRECT: u8 = 1;
    pub const REFUSED: u8 = 2;
    pub const NETWORK_UNREACHABLE: u8 = 3;
    pub const HOST_UNREACHABLE: u8 = 4;
    pub const TIMED_OUT: u8 = 5;
    pub const NAME_UNKNOWN: u8 = 6;
    pub const NOT_READY: u8 = 8;
}

/// What a dial came to.
#[derive(Debug, PartialEq, Eq)]
pub enum DialReply {
    /// Connected; the connection's own address in the tailnet.
    Connected(SocketAddr),
    /// No node leads there.
    Direct,
}

/// A message of `kind` about `id`.
pub fn message(kind: u8, id: u32, body: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(HEAD + body.len());
    message.push(kind);
    message.extend(id.to_le_bytes());
    message.extend(body);
    message
}

/// Id and body of a message from tailscaled; the kind follows from what was asked.
pub fn split(message: &[u8]) -> Option<(u32, &[u8])> {
    let (head, body) = message.split_at_checked(HEAD)?;
    Some((u32::from_le_bytes(head[1..].try_into().ok()?), body))
}

/// The longest message that tailscaled takes.
pub const LARGEST: usize = 128 << 10;

/// The body of a hand-over.
pub fn hand_over(terms: RelayTerms, ahead: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(9 + ahead.len());
    body.extend(milliseconds(terms.half_closed).to_le_bytes());
    body.extend(terms.idle.map_or(0, milliseconds).to_le_bytes());
    body.push(terms.counts_traffic.into());
    body.extend(ahead);
    body
}

pub fn milliseconds(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX).max(1)
}

/// Reads the answer to a dial.
pub fn dial_outcome(body: &[u8]) -> Result<DialReply, DialError> {
    let (&code, rest) = body.split_first().ok_or_else(malformed)?;
    match code {
        outcome::CONNECTED => {
            rest.first_chunk().map(|own| DialReply::Connected(read_address(own))).ok_or_else(malformed)
        }
        outcome::DIRECT => Ok(DialReply::Direct),
        _ => Err(error(code, rest)),
    }
}

/// Reads the answer to a lookup: the whole name that answered, and its addresses.
pub fn places(body: &[u8]) -> Result<(String, Vec<ResolvedAddress>), DialError> {
    let (&code, rest) = body.split_first().ok_or_else(malformed)?;
    if code != outcome::CONNECTED {
        return Err(error(code, rest));
    }
    let (&length, rest) = rest.split_first().ok_or_else(malformed)?;
    let (name, rest) = rest.split_at_checked(length.into()).ok_or_else(malformed)?;
    let place = |bytes: &[u8]| {
        let (&inside, ip) = bytes.split_first()?;
        let ip: [u8; 16] = ip.try_into().ok()?;
        Some(ResolvedAddress { address: Ipv6Addr::from(ip).to_canonical(), inside: inside != 0 })
    };
    let places: Result<_, _> = rest.chunks(17).map(|bytes| place(bytes).ok_or_else(malformed)).collect();
    Ok((String::from_utf8_lossy(name).into_owned(), places?))
}

/// Bytes that were sent and received.
pub type Traffic = (u64, u64);

/// Reads what is said at the end of a connection: its own bytes, and those of the whole session so far.
pub fn ended(body: &[u8]) -> Option<(Traffic, Traffic)> {
    Some((traffic(body)?, traffic(body.get(16..)?)?))
}

/// Reads the bytes of the whole session so far.
pub fn traffic(body: &[u8]) -> Option<Traffic> {
    let (sent, received) = (body.first_chunk::<8>()?, body.get(8..)?.first_chunk::<8>()?);
    Some((u64::from_le_bytes(*sent), u64::from_le_bytes(*received)))
}

fn error(code: u8, text: &[u8]) -> DialError {
    let text = String::from_utf8_lossy(text).into_owned();
    match code {
        outcome::REFUSED => DialError::Refused,
        outcome::NETWORK_UNREACHABLE => DialError::Network(text),
        outcome::HOST_UNREACHABLE | outcome::NAME_UNKNOWN => DialError::Host(text),
        outcome::TIMED_OUT => DialError::TimedOut(text),
        outcome::NOT_READY => DialError::Tailscaled(text),
        _ => DialError::Other(text),
    }
}

fn malformed() -> DialError {
    DialError::Other("tailscaled's answer is not understood".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::datagrams::address_bytes;

    #[test]
    fn outcomes_are_told_apart_by_their_numbers() {
        let connected = [&[0][..], &address_bytes("100.64.0.1:40000".parse().expect("an address"))].concat();
        let own = "100.64.0.1:40000".parse().expect("an address");
        assert_eq!(dial_outcome(&connected), Ok(DialReply::Connected(own)));
        assert_eq!(dial_outcome(&[1]), Ok(DialReply::Direct));
        for (code, says) in [
            (2, "connection refused"),
            (3, "network unreachable: x"),
            (4, "host unreachable or unknown: x"),
            (5, "timed out: x"),
            (6, "host unreachable or unknown: x"),
            (7, "x"),
            (8, "tailscaled did not answer: x"),
        ] {
            let error = dial_outcome(&[code, b'x']).expect_err("has failed");
            assert!(error.to_string().starts_with(says), "{code}: {error}");
        }
        assert!(dial_outcome(&[]).is_err());
        assert!(dial_outcome(&[0, 1, 2]).is_err());
    }

    #[test]
    fn places_say_whose_they_are_and_whether_a_node_leads_there() {
        let mapped = address_bytes("10.0.0.1:0".parse().expect("an address"));
        let body = [&b"\0\x0cdb.corp.test\x01"[..], &mapped[..16]].concat();
        let inside = ResolvedAddress { address: "10.0.0.1".parse().expect("an address"), inside: true };
        assert_eq!(places(&body), Ok(("db.corp.test".to_owned(), vec![inside])));
        assert!(places(&body[..20]).is_err());
        assert!(places(&body[..8]).is_err());
        assert!(matches!(places(&[6, b'x']), Err(DialError::Host(_))));
    }

    #[test]
    fn ends_and_traffic_are_read() {
        let body: Vec<u8> = [1_u64, 2, 3, 4].iter().flat_map(|number| number.to_le_bytes()).chain([2]).collect();
        assert_eq!(ended(&body), Some(((1, 2), (3, 4))));
        assert_eq!(traffic(&body), Some((1, 2)));
        assert_eq!(ended(&body[..20]), None);
        assert_eq!(traffic(&body[..15]), None);
    }
}
