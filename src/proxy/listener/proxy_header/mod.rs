//! Reads the header of the PROXY protocol: a balancer's word on where a client is.
//!
//! Versions 1 and 2, by <https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt>, whose sections are named below.
//! Exactly the header is read: what follows belongs to another protocol, and the socket may be handed on with it.

#[cfg(test)]
mod tests;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use thiserror::Error;
use tokio::io::AsyncReadExt;

use crate::proxy::listener::stream::Stream;

/// What a header of version 1 begins with, and its greatest length in bytes (section 2.1).
const LINE_START: &[u8] = b"PROXY ";
const LONGEST_LINE: usize = 107;
/// What a header of version 2 begins with, and its length without addresses (section 2.2).
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const BLOCK_HEAD: usize = 16;
/// Greatest length of a header of version 2, in bytes. Section 2 has senders keep to 536; what a TLS certificate says may
/// make it longer.
const LONGEST_BLOCK: usize = 4 << 10;
/// Bytes that are looked at at a time: all of most headers.
const LOOK: usize = 256;

/// Why a connection does not begin with a header.
#[derive(Debug, Error)]
pub enum HeaderError {
    #[error("it sent nothing")]
    Nothing,
    #[error("it begins without a header of the PROXY protocol")]
    Missing,
    #[error("its header of the PROXY protocol is malformed: {0}")]
    Malformed(&'static str),
    #[error("its header of the PROXY protocol is longer than {0} bytes")]
    TooLong(usize),
    #[error("it ended within its header of the PROXY protocol")]
    Ended,
    #[error(transparent)]
    Broken(#[from] io::Error),
}

/// Reads a header, and no byte that comes behind it. Returns the client's address; `None` where the header names none that
/// could be used (UNKNOWN, LOCAL, UNSPEC, AF_UNIX, datagrams), so that the connection's own one counts.
///
/// # Errors
/// When the connection begins with anything else, or breaks. It is of no use after that.
pub async fn read_header(stream: &mut Stream) -> Result<Option<SocketAddr>, HeaderError> {
    let mut header = Vec::new();
    let mut next = [0; LOOK];
    loop {
        let known = header.len();
        match stream.peek(&mut next).await {
            Ok(0) | Err(_) if known == 0 => return Err(HeaderError::Nothing),
            Ok(0) => return Err(HeaderError::Ended),
            Ok(seen) => header.extend_from_slice(&next[..seen]),
            Err(error) => return Err(error.into()),
        }
        let whole = whole_length(&header)?;
        header.truncate(whole.unwrap_or(header.len()));
        // These bytes are there: they were looked at.
        stream.read_exact(&mut header[known..]).await?;
        if whole.is_some() {
            return source_of(&header);
        }
    }
}

/// Returns the length of the header that `bytes` begin with; `None` while all of them belong to it and more are to come.
fn whole_length(bytes: &[u8]) -> Result<Option<usize>, HeaderError> {
    if begins(bytes, SIGNATURE) {
        let Some([.., high, low]) = bytes.first_chunk::<BLOCK_HEAD>() else { return Ok(None) };
        let length = BLOCK_HEAD + usize::from(u16::from_be_bytes([*high, *low]));
        return match length {
            ..=LONGEST_BLOCK => Ok((length <= bytes.len()).then_some(length)),
            _ => Err(HeaderError::TooLong(LONGEST_BLOCK)),
        };
    }
    if begins(bytes, LINE_START) { line_length(bytes) } else { Err(HeaderError::Missing) }
}

/// Whether `bytes` begin with `start`, as far as they go.
fn begins(bytes: &[u8], start: &[u8]) -> bool {
    bytes.iter().zip(start).all(|(byte, expected)| byte == expected)
}

fn line_length(bytes: &[u8]) -> Result<Option<usize>, HeaderError> {
    let line = &bytes[..bytes.len().min(LONGEST_LINE)];
    let end = line.iter().position(|byte| matches!(byte, b'\r' | b'\n')).unwrap_or(line.len());
    match line[end..] {
        [b'\r', b'\n', ..] => Ok(Some(end + 2)),
        [] | [b'\r'] if line.len() < LONGEST_LINE => Ok(None),
        [] | [b'\r'] => Err(HeaderError::TooLong(LONGEST_LINE)),
        _ => Err(HeaderError::Malformed("its line does not end with CR and LF")),
    }
}

/// Returns the client's address as the whole `header` has it; `None` where it has none that could be used.
fn source_of(header: &[u8]) -> Result<Option<SocketAddr>, HeaderError> {
    match header.split_first_chunk::<BLOCK_HEAD>() {
        Some((head, addresses)) if head.starts_with(SIGNATURE) => block_source(head, addresses),
        _ => line_source(header),
    }
}

/// Reads the line of version 1: `PROXY`, family, addresses, ports.
fn line_source(line: &[u8]) -> Result<Option<SocketAddr>, HeaderError> {
    let line = line.strip_prefix(LINE_START).and_then(|line| line.strip_suffix(b"\r\n")).unwrap_or_default();
    if line == b"UNKNOWN" || line.starts_with(b"UNKNOWN ") {
        return Ok(None);
    }
    let line = str::from_utf8(line).map_err(|_| HeaderError::Malformed("its line is no text"))?;
    let words: Vec<&str> = line.split(' ').collect();
    let [family, source, destination, source_port, destination_port] = words[..] else {
        return Err(HeaderError::Malformed("its line has not the six words of version 1"));
    };
    let address = |text: &str| match family {
        "TCP4" => text.parse().map(IpAddr::V4).ok(),
        "TCP6" => text.parse().map(IpAddr::V6).ok(),
        _ => None,
    };
    let read = (address(source), address(destination), port(source_port), port(destination_port));
    let (Some(source), Some(_), Some(port), Some(_)) = read else {
        return Err(HeaderError::Malformed("its family, an address or a port is none of version 1"));
    };
    Ok(Some(SocketAddr::new(source, port)))
}

/// Reads a port: digits alone, none of them a zero in front.
fn port(text: &str) -> Option<u16> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| is_plain)
}

/// Reads the block of version 2. What follows the addresses (TLVs) has no meaning here.
fn block_source(head: &[u8; BLOCK_HEAD], addresses: &[u8]) -> Result<Option<SocketAddr>, HeaderError> {
    const CUT_OFF: HeaderError = HeaderError::Malformed("its addresses are cut off");
    let (command, family) = (head[SIGNATURE.len()], head[SIGNATURE.len() + 1]);
    match (command, family) {
        // LOCAL, whatever the family: the balancer's own connection, such as one that looks whether somebody is there.
        (0x20, _) => Ok(None),
        (0x21, 0x11 | 0x12) => {
            let [a, b, c, d, _, _, _, _, high, low, ..] = addresses.first_chunk::<12>().ok_or(CUT_OFF)?;
            let source = SocketAddr::from((Ipv4Addr::new(*a, *b, *c, *d), u16::from_be_bytes([*high, *low])));
            Ok(Some(source).filter(|_| is_stream(family)))
        }
        (0x21, 0x21 | 0x22) => {
            let addresses = addresses.first_chunk::<36>().ok_or(CUT_OFF)?;
            let (source, _) = addresses.split_first_chunk::<16>().ok_or(CUT_OFF)?;
            let port = u16::from_be_bytes([addresses[32], addresses[33]]);
            Ok(Some((Ipv6Addr::from(*source), port).into()).filter(|_| is_stream(family)))
        }
        (0x21, 0x31 | 0x32) => addresses.first_chunk::<216>().ok_or(CUT_OFF).map(|_| None),
        // A family or a transport that is not specified.
        (0x21, 0x00..=0x02 | 0x10 | 0x20 | 0x30) => Ok(None),
        (0x21, _) => Err(HeaderError::Malformed("its family is none of version 2")),
        _ => Err(HeaderError::Malformed("its version or command is none of version 2")),
    }
}

/// Whether the client of a `family` speaks TCP: others are not what this connection carries.
fn is_stream(family: u8) -> bool {
    family & 0xf == 1
}
