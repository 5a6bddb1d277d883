//! Splits a connection into its two directions, each to be used without a lock.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, tcp};

use crate::net::unix_stream::LocalStream;
use crate::proxy::listener::stream::Stream;

/// The half of a connection that is read from.
pub enum ReadHalf<'a> {
    Tcp(tcp::ReadHalf<'a>),
    Unix(&'a LocalStream),
}

/// The half of a connection that is written to. Shutting it down ends its direction alone.
pub enum WriteHalf<'a> {
    Tcp(tcp::WriteHalf<'a>),
    Unix(&'a LocalStream),
}

impl Stream {
    /// Splits the connection into its two directions.
    pub fn halves(&mut self) -> (ReadHalf<'_>, WriteHalf<'_>) {
        match self {
            Self::Tcp(stream) => {
                let (reads, writes) = stream.split();
                (ReadHalf::Tcp(reads), WriteHalf::Tcp(writes))
            }
            Self::Unix(stream) => (ReadHalf::Unix(stream), WriteHalf::Unix(stream)),
        }
    }
}

impl ReadHalf<'_> {
    /// Returns the TCP connection; `None` for a unix socket.
    pub fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp(half) => Some(half.as_ref()),
            Self::Unix(_) => None,
        }
    }
}

impl WriteHalf<'_> {
    /// Returns the TCP connection; `None` for a unix socket.
    pub fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp(half) => Some(half.as_ref()),
            Self::Unix(_) => None,
        }
    }
}

impl AsyncRead for ReadHalf<'_> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(half) => Pin::new(half).poll_read(context, buffer),
            Self::Unix(stream) => stream.poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for WriteHalf<'_> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(half) => Pin::new(half).poll_write(context, bytes),
            Self::Unix(stream) => stream.poll_write(context, bytes),
        }
    }

    /// Does nothing: a socket has no buffer to flush.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(half) => Pin::new(half).poll_shutdown(context),
            Self::Unix(stream) => Poll::Ready(stream.shutdown()),
        }
    }
}
