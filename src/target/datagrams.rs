//! Datagrams between the proxy and tailscaled, each with its target or source.
//!
//! They go over a socket of the type SOCK_SEQPACKET, one datagram a message. The format is that of
//! `parts/tailscaled/calls/udp.go`.

use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{MsgFlags, UnixAddr, recv, sendmsg};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::net::unix_stream::watched;

/// Length of an address with its port, in bytes.
pub const ADDRESS_LENGTH: usize = 18;

/// The network that a datagram goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkKind {
    Tailnet,
    /// The container's own network.
    Direct,
}

/// The proxy's end of an association's socket. The association ends when it is dropped.
#[derive(Debug)]
pub struct Datagrams(AsyncFd<OwnedFd>);

impl Datagrams {
    /// Takes a socket that does not block, and watches it.
    ///
    /// # Errors
    /// When the event loop cannot watch the socket.
    pub fn new(socket: OwnedFd) -> io::Result<Self> {
        Ok(Self(watched(socket, Interest::READABLE)?))
    }

    /// Sends `payload` to `target`. Without room for it the datagram is lost, like any datagram.
    ///
    /// # Errors
    /// When the datagram is lost, or the association has ended.
    pub fn send(&self, network: NetworkKind, target: SocketAddr, payload: &[u8]) -> io::Result<()> {
        let network = [match network {
            NetworkKind::Tailnet => b'T',
            NetworkKind::Direct => b'C',
        }];
        let head = address_bytes(target);
        let message = [IoSlice::new(&network), IoSlice::new(&head), IoSlice::new(payload)];
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        Ok(sendmsg::<UnixAddr>(self.0.get_ref().as_raw_fd(), &message, &[], flags, None).map(drop)?)
    }

    /// Receives a datagram into `buffer`: its source, and its payload. `None` when the association has ended.
    pub async fn receive<'a>(&self, buffer: &'a mut [u8]) -> Option<(SocketAddr, &'a [u8])> {
        let read = |socket: &OwnedFd| Ok(recv(socket.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT)?);
        let length = self.0.async_io(Interest::READABLE, read).await.ok().filter(|length| *length >= ADDRESS_LENGTH)?;
        let (head, payload) = buffer[..length].split_first_chunk::<ADDRESS_LENGTH>()?;
        Some((read_address(head), payload))
    }
}

/// Encodes an address with its port for the wire: 16 bytes (IPv4 as IPv4-mapped IPv6), and 2, little-endian.
pub fn address_bytes(address: SocketAddr) -> [u8; ADDRESS_LENGTH] {
    let ip = match address.ip() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    };
    let mut bytes = [0; ADDRESS_LENGTH];
    bytes[..16].copy_from_slice(&ip.octets());
    bytes[16..].copy_from_slice(&address.port().to_le_bytes());
    bytes
}

/// Reads an address with its port from the form of [`address_bytes`].
pub fn read_address(bytes: &[u8; ADDRESS_LENGTH]) -> SocketAddr {
    let mut ip = [0; 16];
    ip.copy_from_slice(&bytes[..16]);
    (Ipv6Addr::from(ip).to_canonical(), u16::from_le_bytes([bytes[16], bytes[17]])).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, send, socketpair};

    fn pair() -> (Datagrams, OwnedFd) {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let (here, there) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags).expect("a pair");
        (Datagrams::new(here).expect("is watched"), there)
    }

    #[test]
    fn addresses_of_both_families_come_back() {
        for text in ["100.64.0.1:80", "[fd7a:115c:a1e0::1]:65535", "0.0.0.0:0"] {
            let written: SocketAddr = text.parse().expect("an address");
            assert_eq!(read_address(&address_bytes(written)), written);
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_datagram_goes_with_its_way_and_target_and_comes_with_its_source() {
        let (here, there) = pair();
        let address: SocketAddr = "100.64.0.1:53".parse().expect("an address");
        here.send(NetworkKind::Direct, address, b"question").expect("sent");
        let mut message = [0; 64];
        let length = recv(there.as_raw_fd(), &mut message, MsgFlags::empty()).expect("comes");
        assert_eq!(message[..length], [&b"C"[..], &address_bytes(address), b"question"].concat());
        let answer = [&address_bytes(address)[..], b"answer"].concat();
        send(there.as_raw_fd(), &answer, MsgFlags::empty()).expect("sent");
        assert_eq!(here.receive(&mut message).await, Some((address, &b"answer"[..])));
        drop(there);
        assert_eq!(here.receive(&mut message).await, None);
        assert!(here.send(NetworkKind::Tailnet, address, b"late").is_err());
    }

    #[tokio::test(flavor = "current_thread")]
    async fn datagrams_that_nobody_reads_are_lost_and_hold_nobody_up() {
        let (here, _there) = pair();
        let address: SocketAddr = "100.64.0.1:53".parse().expect("an address");
        let full = (0..100_000).find_map(|_| here.send(NetworkKind::Tailnet, address, &[7; 1000]).err());
        assert_eq!(full.expect("is full in the end").kind(), io::ErrorKind::WouldBlock);
    }
}
