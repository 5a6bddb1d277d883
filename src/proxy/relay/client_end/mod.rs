//! Tells a client that has closed its socket from one that has half-closed it.
//!
//! To the other side of a TCP connection both look the same. For a client in this network namespace the kernel can
//! tell, since the client's socket is its own; for any other client it tells only a reset of the connection.

#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::OnceLock;
use std::time::Duration;

use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::net::sock_diag::{KernelSocket, tcp_socket};
use crate::proxy::listener::split::ReadHalf;
use crate::proxy::listener::stream::Stream;

/// First pause between two checks whether a client has closed its socket; each further one is longer. When a process
/// closes a socket, the kernel sends the end of the stream a moment before it detaches the socket from the process.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How a client that sends nothing more has ended its side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientEnd {
    /// The client has closed its socket: nobody reads a response.
    Closed,
    /// The client has closed only its sending side: it waits for a response.
    HalfClosed,
    /// The client has closed its socket or only its sending side, and it cannot be told which.
    Unknown,
}

/// The client's own end of a connection, looked up before either side has ended.
#[derive(Clone, Copy, Debug)]
pub enum ClientSocket {
    /// A unix socket, where poll(2) tells a close from a half-close.
    Unix,
    /// A TCP socket in this network namespace, by its cookie (sock_diag(7)). Since it was found once, its absence means
    /// that it is closed.
    Local(u64),
    /// A TCP socket that cannot be looked up: of another machine or namespace, behind address translation, or with a
    /// kernel that has no sock_diag.
    Unseen,
}

impl ClientSocket {
    /// Finds the socket at the other end of `client`.
    pub fn find(client: &Stream) -> Self {
        match client {
            Stream::Unix(_) => Self::Unix,
            Stream::Tcp(client) => Self::find_tcp(client),
        }
    }

    /// Finds the socket at the other end of a TCP connection.
    pub fn find_tcp(client: &TcpStream) -> Self {
        if !kernel_tells(client) {
            return Self::Unseen;
        }
        other_end(client).ok().flatten().map_or(Self::Unseen, |socket| Self::Local(socket.cookie))
    }

    /// Returns how the client has ended its side. To be called once the end of the stream was read from `client`.
    pub fn end(self, client: &ReadHalf<'_>) -> ClientEnd {
        match client {
            ReadHalf::Tcp(client) => self.end_of_tcp(client.as_ref()),
            ReadHalf::Unix(client) if is_over(client.as_fd()) => ClientEnd::Closed,
            ReadHalf::Unix(_) => ClientEnd::HalfClosed,
        }
    }

    /// Returns how the client of a TCP connection has ended its side, once that end was read.
    pub fn end_of_tcp(self, client: &TcpStream) -> ClientEnd {
        match self {
            _ if is_over(client.as_fd()) => ClientEnd::Closed,
            Self::Local(cookie) => match other_end(client) {
                Ok(Some(socket)) if socket.cookie == cookie && socket.is_open => ClientEnd::HalfClosed,
                Ok(_) => ClientEnd::Closed,
                Err(_) => ClientEnd::Unknown,
            },
            Self::Unix | Self::Unseen => ClientEnd::Unknown,
        }
    }
}

/// Returns when the client has closed its socket, by what `end` tells. To be called once the end of the client's stream was
/// read.
pub async fn closed(end: impl Fn() -> ClientEnd) {
    let mut pause = FIRST_PAUSE;
    loop {
        sleep(pause).await;
        if end() == ClientEnd::Closed {
            return;
        }
        pause = (2 * pause).min(LONGEST_PAUSE);
    }
}

/// Whether neither side of the connection can send: the other end of a unix socket is closed, or a TCP connection was
/// reset.
fn is_over(socket: BorrowedFd<'_>) -> bool {
    let mut polled = [PollFd::new(socket, PollFlags::empty())];
    let found = poll(&mut polled, PollTimeout::ZERO).is_ok_and(|found| found > 0);
    found && polled[0].revents().is_some_and(|events| events.contains(PollFlags::POLLHUP))
}

fn other_end(client: &TcpStream) -> io::Result<Option<KernelSocket>> {
    tcp_socket(client.peer_addr()?, client.local_addr()?)
}

/// Whether the kernel describes TCP sockets by sock_diag: gVisor does not, nor does Linux without its module tcp_diag.
/// The result is kept, since each request without that module makes the kernel look for it.
fn kernel_tells(client: &TcpStream) -> bool {
    static TELLS: OnceLock<bool> = OnceLock::new();
    if let Some(tells) = TELLS.get() {
        return *tells;
    }
    let this_end = || tcp_socket(client.local_addr()?, client.peer_addr()?);
    let found = this_end();
    let tells = matches!(found, Ok(Some(_)));
    // Two results say nothing about the kernel: that no descriptor is free, and that the connection was reset
    // meanwhile.
    let is_inconclusive = match &found {
        Err(error) => matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)),
        Ok(_) => is_over(client.as_fd()),
    };
    if tells || !is_inconclusive {
        let _ = TELLS.set(tells);
    }
    tells
}
