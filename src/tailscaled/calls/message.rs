//! The messages of a session as they go over its channel.
//!
//! The format is that of `parts/tailscaled/calls/message.go`: a kind (1 byte), an id (4), a body; numbers are
//! little-endian, addresses take 16 bytes (IPv4 as IPv4-mapped IPv6).

use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

use crate::target::datagrams::read_address;
use crate::target::dial::{DialError, Located, RelayTerms, ResolvedAddress};
use crate::target::host::HostName;
use crate::target::records::{RecordQuestion, Records};

/// Length of kind and id, in bytes.
const HEAD: usize = 5;

/// Kinds of messages to tailscaled.
pub mod request {
    pub const DIAL: u8 = b'D';
    pub const HAND_OVER: u8 = b'H';
    pub const CUT: u8 = b'C';
    pub const CUT_ALL: u8 = b'A';
    pub const RESOLVE: u8 = b'N';
    pub const QUERY: u8 = b'R';
    pub const ASSOCIATE: u8 = b'U';
    pub const DRAIN: u8 = b'Q';
    pub const MEMORY: u8 = b'M';
    pub const TRAFFIC: u8 = b'T';
}

/// Results of dials and look-ups, by the numbers of `outcome.go`.
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

/// The response to a dial that did not fail.
#[derive(Debug, PartialEq, Eq)]
pub enum DialReply {
    /// Connected through the tailnet; this node's own end of the connection.
    Connected(SocketAddr),
    /// No node leads to the address.
    Direct,
}

/// Builds a message of `kind` about `id`.
pub fn message(kind: u8, id: u32, body: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(HEAD + body.len());
    message.push(kind);
    message.extend(id.to_le_bytes());
    message.extend(body);
    message
}

/// Splits a message from tailscaled into id and body; `None` when it is too short. Its kind follows from the request
/// with this id.
pub fn split(message: &[u8]) -> Option<(u32, &[u8])> {
    let (head, body) = message.split_at_checked(HEAD)?;
    Some((u32::from_le_bytes(head[1..].try_into().ok()?), body))
}

/// The longest message that tailscaled takes, in bytes.
pub const LARGEST: usize = 128 << 10;

/// Builds the body of a hand-over: the terms of the relay, then `ahead`, the bytes that the client has sent already.
pub fn hand_over(terms: RelayTerms, ahead: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(9 + ahead.len());
    body.extend(milliseconds(terms.half_closed).to_le_bytes());
    body.extend(terms.idle.map_or(0, milliseconds).to_le_bytes());
    body.push(terms.counts_traffic.into());
    body.extend(ahead);
    body
}

/// Returns `time` in milliseconds, at least 1, since 0 stands for no limit.
pub fn milliseconds(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX).max(1)
}

/// Parses the response to a dial.
///
/// # Errors
/// Why the dial failed.
pub fn dial_reply(body: &[u8]) -> Result<DialReply, DialError> {
    let (&code, rest) = body.split_first().ok_or_else(malformed)?;
    match code {
        outcome::CONNECTED => {
            rest.first_chunk().map(|own| DialReply::Connected(read_address(own))).ok_or_else(malformed)
        }
        outcome::DIRECT => Ok(DialReply::Direct),
        _ => Err(error(code, rest)),
    }
}

/// Parses the response to a look-up.
///
/// # Errors
/// Why the look-up failed.
pub fn resolved_addresses(body: &[u8]) -> Result<Located, DialError> {
    let (&code, rest) = body.split_first().ok_or_else(malformed)?;
    if code != outcome::CONNECTED {
        return Err(error(code, rest));
    }
    let (&[is_own, count], mut rest) = rest.split_first_chunk().ok_or_else(malformed)?;
    let mut names = Vec::new();
    for _ in 0..count {
        let (&length, after) = rest.split_first().ok_or_else(malformed)?;
        let (name, after) = after.split_at_checked(length.into()).ok_or_else(malformed)?;
        names.extend(HostName::told(&String::from_utf8_lossy(name)));
        rest = after;
    }
    let address = |bytes: &[u8]| {
        let (&by_tailnet, ip) = bytes.split_first()?;
        let ip: [u8; 16] = ip.try_into().ok()?;
        Some(ResolvedAddress { address: Ipv6Addr::from(ip).to_canonical(), by_tailnet: by_tailnet != 0 })
    };
    let addresses: Result<_, _> = rest.chunks(17).map(|bytes| address(bytes).ok_or_else(malformed)).collect();
    Ok(Located { names, is_own_name: is_own != 0, addresses: addresses? })
}

/// Builds the body of a question for records.
pub fn query(question: RecordQuestion<'_>) -> Vec<u8> {
    let mut body = vec![question.unknown_to_others.into()];
    body.extend(question.kind.to_le_bytes());
    body.extend(question.name.as_str().as_bytes());
    body
}

/// Parses the response to a question for records.
///
/// # Errors
/// Why there is no answer.
pub fn records(body: &[u8]) -> Result<Records, DialError> {
    let (&code, rest) = body.split_first().ok_or_else(malformed)?;
    match code {
        outcome::CONNECTED => Ok(Records::Message(rest.to_vec())),
        outcome::DIRECT => Ok(Records::OfOthers),
        _ => Err(error(code, rest)),
    }
}

/// Bytes that were sent to targets, and received from them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByteCounts {
    pub sent: u64,
    pub received: u64,
}

/// The report of tailscaled at the end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionEnd {
    /// Bytes of the connection.
    pub connection: ByteCounts,
    /// Bytes of all connections of the session so far.
    pub session: ByteCounts,
}

/// Reads the message at the end of a connection; `None` when it is too short.
pub fn connection_end(body: &[u8]) -> Option<ConnectionEnd> {
    Some(ConnectionEnd { connection: byte_counts(body)?, session: byte_counts(body.get(16..)?)? })
}

/// Reads two numbers of bytes; `None` when `body` is too short.
pub fn byte_counts(body: &[u8]) -> Option<ByteCounts> {
    let (sent, received) = (body.first_chunk::<8>()?, body.get(8..)?.first_chunk::<8>()?);
    Some(ByteCounts { sent: u64::from_le_bytes(*sent), received: u64::from_le_bytes(*received) })
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
        assert_eq!(dial_reply(&connected), Ok(DialReply::Connected(own)));
        assert_eq!(dial_reply(&[1]), Ok(DialReply::Direct));
        for (code, says) in [
            (2, "connection refused"),
            (3, "network unreachable: x"),
            (4, "host unreachable or unknown: x"),
            (5, "timed out: x"),
            (6, "host unreachable or unknown: x"),
            (7, "x"),
            (8, "tailscaled did not answer: x"),
        ] {
            let error = dial_reply(&[code, b'x']).expect_err("has failed");
            assert!(error.to_string().starts_with(says), "{code}: {error}");
        }
        assert!(dial_reply(&[]).is_err());
        assert!(dial_reply(&[0, 1, 2]).is_err());
    }

    #[test]
    fn places_say_whose_they_are_and_whether_a_node_leads_there() {
        let mapped = address_bytes("10.0.0.1:0".parse().expect("an address"));
        let body = [&b"\0\x01\x02\x0cdb.corp.test\x06a b.up\x01"[..], &mapped[..16]].concat();
        let by_tailnet = ResolvedAddress { address: "10.0.0.1".parse().expect("an address"), by_tailnet: true };
        let names = ["db.corp.test", "a_b.up"].map(|name| HostName::parse(name).expect("a name")).into();
        let found = Located { names, is_own_name: true, addresses: vec![by_tailnet] };
        assert_eq!(resolved_addresses(&body), Ok(found));
        for length in [1, 2, 8, 20, 26, 30] {
            assert!(resolved_addresses(&body[..length]).is_err(), "{length}");
        }
        assert!(matches!(resolved_addresses(&[6, b'x']), Err(DialError::Host(_))));
    }

    #[test]
    fn questions_for_records_say_what_others_know() {
        let name = HostName::parse("web").expect("a name");
        assert_eq!(query(RecordQuestion { name: &name, kind: 28, unknown_to_others: true }), b"\x01\x1c\0web");
        assert_eq!(records(b"\0message"), Ok(Records::Message(b"message".into())));
        assert_eq!(records(b"\x01"), Ok(Records::OfOthers));
        assert!(matches!(records(b"\x08x"), Err(DialError::Tailscaled(_))));
        assert!(matches!(records(b"\x07x"), Err(DialError::Other(_))) && records(b"").is_err());
    }

    #[test]
    fn ends_and_traffic_are_read() {
        let body: Vec<u8> = [1_u64, 2, 3, 4].iter().flat_map(|number| number.to_le_bytes()).chain([2]).collect();
        let (connection, session) = (ByteCounts { sent: 1, received: 2 }, ByteCounts { sent: 3, received: 4 });
        assert_eq!(connection_end(&body), Some(ConnectionEnd { connection, session }));
        assert_eq!(byte_counts(&body), Some(connection));
        assert_eq!(connection_end(&body[..20]), None);
        assert_eq!(byte_counts(&body[..15]), None);
    }
}
