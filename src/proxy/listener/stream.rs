//! A connection of the proxy, to a client or a target: TCP or a unix socket.

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, recv};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::net::unix_stream::LocalStream;

/// A connection over TCP or over a unix socket.
#[derive(Debug)]
pub enum Stream {
    Tcp(TcpStream),
    Unix(LocalStream),
}

impl Stream {
    /// Returns the address of this end; `None` for a unix socket.
    pub fn local_ip(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp(stream) => stream.local_addr().ok().map(|address| address.ip()),
            Self::Unix(_) => None,
        }
    }

    /// Returns the address of the other end; `None` for a unix socket.
    pub fn peer_ip(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp(stream) => stream.peer_addr().ok().map(|address| address.ip()),
            Self::Unix(_) => None,
        }
    }

    /// Returns the addresses of this end and of the other one; `None` for a unix socket.
    pub fn addresses(&self) -> Option<(SocketAddr, SocketAddr)> {
        match self {
            Self::Tcp(stream) => stream.local_addr().ok().zip(stream.peer_addr().ok()),
            Self::Unix(_) => None,
        }
    }

    /// Returns the socket itself, no longer watched by the event loop.
    pub fn into_socket(self) -> io::Result<OwnedFd> {
        match self {
            Self::Tcp(stream) => Ok(stream.into_std()?.into()),
            Self::Unix(stream) => Ok(stream.into_socket().into()),
        }
    }

    /// Whether the other end has ended its side, or is gone; what it sent before may still be unread.
    pub fn has_ended(&self) -> bool {
        let socket = match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        };
        // nix has no name for POLLRDHUP.
        let ended = PollFlags::from_bits_retain(nix::libc::POLLRDHUP);
        let mut polled = [PollFd::new(socket, ended)];
        poll(&mut polled, PollTimeout::ZERO).is_ok_and(|found| found > 0)
    }

    /// Whether the other end has ended its side, and nothing that it sent before is unread.
    pub fn is_read_to_its_end(&self) -> bool {
        let socket = match self {
            Self::Tcp(stream) => stream.as_raw_fd(),
            Self::Unix(stream) => stream.as_fd().as_raw_fd(),
        };
        !matches!(recv(socket, &mut [0], MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT), Ok(1..) | Err(Errno::EAGAIN))
    }

    /// Waits for the first byte that the client sends, and leaves it there to be read; `None` when it sends nothing and
    /// ends.
    pub async fn first_byte(&self) -> io::Result<Option<u8>> {
        let mut byte = [0];
        let seen = self.peek(&mut byte).await?;
        Ok((seen > 0).then_some(byte[0]))
    }

    /// Waits for bytes of the other end, and leaves them there to be read. Returns how many fit into `bytes`; none when the
    /// other end has ended its side.
    pub async fn peek(&self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.peek(bytes).await,
            Self::Unix(stream) => {
                let peek =
                    |socket: &std::os::unix::net::UnixStream| Ok(recv(socket.as_raw_fd(), bytes, MsgFlags::MSG_PEEK)?);
                stream.reading(peek).await
            }
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Unix(stream) => stream.poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Unix(stream) => stream.poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(context, parts),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(context, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.is_write_vectored(),
            Self::Unix(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(context),
            Self::Unix(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
