//! Has the kernel end TCP connections whose other side has vanished.
//!
//! That takes some two minutes at most.
//! While nothing is on its way keepalive asks whether the other side is there. While something is, it is sent again, up to 15
//! times, which takes a quarter of an hour since the pauses grow to two minutes: they end at [`LONGEST_RETRY_MS`] here.
//! `TCP_USER_TIMEOUT`, which kernels before Linux 6.15 get instead, also ends connections whose other side is there and takes
//! nothing in for so long (measured): a server that waits for a lock, a download that is paused.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{setsockopt, sockopt};

/// Silence before the first question, pause between two of them, and how many may go unanswered: 90 s in all.
const ASK_AFTER_SECONDS: u32 = 60;
const ASK_AGAIN_SECONDS: u32 = 10;
const UNANSWERED: u32 = 3;
/// Longest pause between two tries to send what was not acknowledged: 15 tries take 100 s.
const LONGEST_RETRY_MS: u32 = 10_000;
/// How long something may stay without acknowledgement where the kernel does not know [`TCP_RTO_MAX_MS`].
const USER_TIMEOUT_MS: u32 = 180_000;

/// Of linux/tcp.h since 6.15.
const TCP_RTO_MAX_MS: libc::c_int = 44;

/// Prepares a connection, or a listener, from which accepted connections inherit it. `address` is the peer's, or the one that
/// is listened on: peers on this machine do not vanish, and those that pause are to be left alone on every kernel.
///
/// # Errors
/// When it is no TCP socket.
pub fn notice_vanished_peer(socket: &impl AsFd, address: IpAddr) -> io::Result<()> {
    setsockopt(socket, sockopt::KeepAlive, &true)?;
    set(socket, libc::TCP_KEEPIDLE, ASK_AFTER_SECONDS)?;
    set(socket, libc::TCP_KEEPINTVL, ASK_AGAIN_SECONDS)?;
    set(socket, libc::TCP_KEEPCNT, UNANSWERED)?;
    match set(socket, TCP_RTO_MAX_MS, LONGEST_RETRY_MS) {
        Err(Errno::ENOPROTOOPT | Errno::EINVAL) if !address.to_canonical().is_loopback() => {
            Ok(set(socket, libc::TCP_USER_TIMEOUT, USER_TIMEOUT_MS)?)
        }
        Err(Errno::ENOPROTOOPT | Errno::EINVAL) | Ok(()) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Lets an accepted connection pause for as long as it likes: its peer is on this machine, though the listener, whose options
/// it has inherited, is not.
pub fn allow_pauses(socket: &impl AsFd) {
    // Never fails for a TCP socket, and what is left then ends the connection late.
    let _ = set(socket, libc::TCP_USER_TIMEOUT, 0);
}

/// Sets a TCP option (tcp(7)).
#[allow(unsafe_code)]
fn set(socket: &impl AsFd, option: libc::c_int, value: u32) -> nix::Result<()> {
    let length = size_of_val(&value) as libc::socklen_t;
    // SAFETY: the descriptor is open for as long as it is borrowed, and the kernel reads `length` bytes of `value`.
    Errno::result(unsafe {
        libc::setsockopt(socket.as_fd().as_raw_fd(), libc::IPPROTO_TCP, option, (&raw const value).cast(), length)
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::getsockopt;
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixStream;

    #[test]
    fn accepted_connections_inherit_it() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        notice_vanished_peer(&listener, address.ip()).expect("is set");
        let _client = TcpStream::connect(address).expect("connects");
        let (accepted, _) = listener.accept().expect("accepts");
        assert!(getsockopt(&accepted, sockopt::KeepAlive).expect("is there"));
    }

    #[test]
    fn sockets_of_other_kinds_are_an_error() {
        let (socket, _other) = UnixStream::pair().expect("a pair");
        notice_vanished_peer(&socket, IpAddr::from([10, 0, 0, 1])).expect_err("it is no TCP socket");
    }
}
