//! The two directions of a connection, each to be used without a lock.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use nix::sys::socket::{setsockopt, sockopt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, tcp};

use super::stream::Stream;
use crate::local_stream::LocalStream;

/// What a socket holds of a connection within this machine, in bytes, twice over in the kernel's reckoning. Left alone it
/// grows to megabytes, which have left the processor's cache when they are read: two thirds of the throughput, and
/// memory of the container.
const SENDS: usize = 128 << 10;
const RECEIVES: usize = 256 << 10;

/// The side that is read from.
pub(super) enum Reads<'a> {
    Tcp(tcp::ReadHalf<'a>),
    Unix(&'a LocalStream),
}

/// The side that is written to. Shut down, it ends its direction alone.
pub(super) enum Writes<'a> {
    Tcp(tcp::WriteHalf<'a>),
    Unix(&'a LocalStream),
}

impl Stream {
    pub(super) fn halves(&mut self) -> (Reads<'_>, Writes<'_>) {
        match self {
            Self::Tcp(stream) => {
                let (reads, writes) = stream.split();
                (Reads::Tcp(reads), Writes::Tcp(writes))
            }
            Self::Unix(stream) => (Reads::Unix(stream), Writes::Unix(stream)),
        }
    }
}

impl Reads<'_> {
    /// To be told once much comes.
    pub(super) fn bound(&self) {
        if let Some(stream) = self.tcp().filter(|stream| is_within(stream)) {
            let _ = setsockopt(stream, sockopt::RcvBuf, &RECEIVES);
        }
    }

    pub(super) fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp(half) => Some(half.as_ref()),
            Self::Unix(_) => None,
        }
    }
}

impl Writes<'_> {
    /// To be told once much goes.
    pub(super) fn bound(&self) {
        if let Some(stream) = self.tcp().filter(|stream| is_within(stream)) {
            let _ = setsockopt(stream, sockopt::SndBuf, &SENDS);
        }
    }

    pub(super) fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp(half) => Some(half.as_ref()),
            Self::Unix(_) => None,
        }
    }
}

/// To another machine the kernel's own sizes are right: how much is on its way depends on how far it is.
fn is_within(stream: &TcpStream) -> bool {
    stream.peer_addr().is_ok_and(|address| address.ip().to_canonical().is_loopback())
}

impl AsyncRead for Reads<'_> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(half) => Pin::new(half).poll_read(context, buffer),
            Self::Unix(stream) => stream.poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Writes<'_> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(half) => Pin::new(half).poll_write(context, bytes),
            Self::Unix(stream) => stream.poll_write(context, bytes),
        }
    }

    /// Sockets keep nothing back.
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
