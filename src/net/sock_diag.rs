//! Asks the kernel about one socket of this network namespace (sock_diag(7)).
//!
//! The socket, of TCP or UDP, is named by its two addresses. No capability is needed for that, and the response is there as soon as the
//! request is sent.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};

/// `SOCK_DIAG_BY_FAMILY` of linux/sock_diag.h: the type of a request and of its response.
const BY_FAMILY: u16 = 20;
/// `TCP_LISTEN` of linux/tcp_states.h.
const LISTEN: u8 = 10;
/// Length of `struct nlmsghdr`, in bytes.
const HEADER: usize = 16;
/// Length of `struct nlmsghdr` and `struct inet_diag_req_v2`, in bytes.
const QUESTION: usize = HEADER + 56;

/// A socket as the kernel describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelSocket {
    /// Number that no other socket has had since the machine started.
    pub cookie: u64,
    /// Whether a process has it open. What the kernel keeps of a closed one, until the connection is over, has no
    /// owner.
    pub is_open: bool,
    /// The user who made it, as this user namespace knows them.
    pub uid: u32,
}

/// Returns the TCP socket whose own address is `local` and whose peer's is `remote`; `None` when this network namespace has
/// none, or when the kernel's sock_diag lacks its part for TCP (tcp_diag).
///
/// # Errors
/// When the kernel cannot be asked: it has no sock_diag, a seccomp filter forbids it, no descriptor is free.
pub fn tcp_socket(local: SocketAddr, remote: SocketAddr) -> io::Result<Option<KernelSocket>> {
    ask(&question(nix::libc::IPPROTO_TCP, local, remote))
}

/// Returns the UDP socket that a datagram from `remote` to `local` arrives at; `None` when this network namespace has none, or
/// when the kernel's sock_diag lacks its part for UDP (udp_diag).
///
/// # Errors
/// As for [`tcp_socket`].
pub fn udp_socket(local: SocketAddr, remote: SocketAddr) -> io::Result<Option<KernelSocket>> {
    // The kernel looks a UDP socket up by where a datagram comes from and goes to.
    ask(&question(nix::libc::IPPROTO_UDP, remote, local))
}

fn ask(question: &[u8]) -> io::Result<Option<KernelSocket>> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let kernel = socket(AddressFamily::Netlink, SockType::Datagram, flags, SockProtocol::NetlinkSockDiag)?;
    let kernel = kernel.as_raw_fd();
    send(kernel, question, MsgFlags::empty())?;
    let mut answer = [0; 256];
    let length = recv(kernel, &mut answer, MsgFlags::empty())?;
    read(&answer[..length])
}

/// Builds the request for one socket. The kernel's table of connections has IPv4-mapped IPv6 addresses as IPv4,
/// whichever family the socket is of.
fn question(protocol: i32, local: SocketAddr, remote: SocketAddr) -> [u8; QUESTION] {
    let (source, destination) = (local.ip().to_canonical(), remote.ip().to_canonical());
    let family = if source.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let mut bytes = [0; QUESTION];
    let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
    put(0, &(QUESTION as u32).to_ne_bytes());
    put(4, &BY_FAMILY.to_ne_bytes());
    put(6, &(nix::libc::NLM_F_REQUEST as u16).to_ne_bytes());
    put(HEADER, &[family as u8, protocol as u8]);
    // Sockets in any state.
    put(HEADER + 4, &[0xff; 4]);
    put(HEADER + 8, &local.port().to_be_bytes());
    put(HEADER + 10, &remote.port().to_be_bytes());
    for (at, address) in [(HEADER + 12, source), (HEADER + 28, destination)] {
        match address {
            IpAddr::V4(address) => put(at, &address.octets()),
            IpAddr::V6(address) => put(at, &address.octets()),
        }
    }
    put(HEADER + 44, &interface(local).to_ne_bytes());
    // No cookie is known yet (INET_DIAG_NOCOOKIE).
    put(HEADER + 48, &[0xff; 8]);
    bytes
}

/// Returns the index of a link-local address's interface; 0 for other addresses.
fn interface(address: SocketAddr) -> u32 {
    match address {
        SocketAddr::V4(_) => 0,
        SocketAddr::V6(address) => address.scope_id(),
    }
}

/// Parses a response: `struct nlmsghdr`, and after it `struct inet_diag_msg` or an error's number.
fn read(answer: &[u8]) -> io::Result<Option<KernelSocket>> {
    let short = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let word = |at: usize| answer.get(at..)?.first_chunk().copied();
    let kind = answer.get(4..).and_then(<[u8]>::first_chunk).copied().map(u16::from_ne_bytes);
    match kind.ok_or_else(short)? {
        BY_FAMILY => {
            let state = *answer.get(HEADER + 1).ok_or_else(short)?;
            let cookie = answer.get(HEADER + 44..).and_then(<[u8]>::first_chunk).copied().ok_or_else(short)?;
            let number = |at: usize| word(at).map(u32::from_ne_bytes).ok_or_else(short);
            let (uid, inode) = (number(HEADER + 64)?, number(HEADER + 68)?);
            let socket = KernelSocket { cookie: u64::from_ne_bytes(cookie), is_open: inode != 0, uid };
            // When the kernel finds no connection, it returns the listening socket that would accept one.
            Ok((state != LISTEN).then_some(socket))
        }
        _ => match Errno::from_raw(-i32::from_ne_bytes(word(HEADER).ok_or_else(short)?)) {
            Errno::ENOENT => Ok(None),
            error => Err(error.into()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream, UdpSocket};

    #[test]
    fn a_socket_is_found_by_its_two_addresses_until_nothing_is_left_of_it() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let client = TcpStream::connect(listener.local_addr().expect("an address")).expect("connects");
        let (server, _) = listener.accept().expect("accepts");
        let (here, there) = (client.local_addr().expect("an address"), server.local_addr().expect("an address"));
        let found = tcp_socket(here, there).expect("is answered").expect("is found");
        assert!(found.is_open);
        let other = tcp_socket(there, here).expect("is answered").expect("is found");
        assert_ne!(found.cookie, other.cookie);
        // Closing a socket with unread bytes resets the connection, and the kernel keeps nothing of it.
        (&server).write_all(b"unread").expect("sent");
        client.peek(&mut [0]).expect("arrives");
        drop(client);
        assert_eq!(tcp_socket(here, there).expect("is answered"), None);
    }

    #[test]
    fn a_udp_socket_is_found_by_its_address_and_tells_its_user() {
        let user = nix::unistd::geteuid().as_raw();
        for (address, any) in [("127.0.0.1:0", "127.0.0.1:9"), ("[::1]:0", "[::1]:9")] {
            let socket = UdpSocket::bind(address).expect("a port");
            let (here, remote) = (socket.local_addr().expect("an address"), any.parse().expect("an address"));
            let found = udp_socket(here, remote).expect("is answered").expect("is found");
            assert!(found.is_open && found.uid == user, "{found:?}");
            drop(socket);
            assert_eq!(udp_socket(here, remote).expect("is answered"), None);
        }
    }

    #[test]
    fn who_listens_at_an_address_is_no_end_of_a_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
        let found = tcp_socket(listener.local_addr().expect("an address"), nobody);
        assert_eq!(found.expect("is answered"), None);
    }

    #[test]
    fn what_the_kernel_refuses_or_cuts_short_is_an_error_and_an_unknown_socket_is_none() {
        let refused = |error: Errno| {
            let mut answer = [0; HEADER + 4];
            answer[4..6].copy_from_slice(&(nix::libc::NLMSG_ERROR as u16).to_ne_bytes());
            answer[HEADER..].copy_from_slice(&(-(error as i32)).to_ne_bytes());
            read(&answer).map_err(|error| error.raw_os_error())
        };
        assert_eq!(refused(Errno::ENOENT), Ok(None));
        assert_eq!(refused(Errno::EPERM), Err(Some(nix::libc::EPERM)));
        let mut answer = [0; HEADER + 71];
        answer[4..6].copy_from_slice(&BY_FAMILY.to_ne_bytes());
        for length in [0, 5, HEADER, answer.len()] {
            assert_eq!(read(&answer[..length]).expect_err("is short").kind(), io::ErrorKind::UnexpectedEof);
        }
    }
}
