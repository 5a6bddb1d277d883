//! The stream to an HTTP target, on which no response is lost.
//!
//! A target may respond and close before it has read the request: hyper takes a response that comes first for a fault, and
//! gives up at a failed write where the response waits to be read.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use hyper::body::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::proxy::listener::stream::Stream;

/// A stream that is read from once a request was sent on it, and the writing of which does not fail.
pub struct TargetStream {
    stream: Stream,
    /// Bytes of the target that are read first.
    early: Bytes,
    has_asked: bool,
    /// Waits for the first request.
    reader: Option<Waker>,
    /// Whether the target takes nothing more: what is written is dropped, and reading tells the end.
    takes_nothing: bool,
}

impl TargetStream {
    /// Takes the stream of a target, of which `early` has come already.
    pub fn new(stream: Stream, early: Bytes) -> Self {
        Self { stream, early, has_asked: false, reader: None, takes_nothing: false }
    }

    /// Returns the stream, and those bytes that were to be read first and were not.
    pub fn into_inner(self) -> (Stream, Bytes) {
        (self.stream, self.early)
    }

    fn begin(&mut self) {
        self.has_asked = true;
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    /// Turns a failed write of `length` bytes into one that has dropped them.
    fn unless_failed(&mut self, written: io::Result<usize>, length: usize) -> io::Result<usize> {
        self.takes_nothing |= written.is_err();
        Ok(written.unwrap_or(length))
    }
}

impl AsyncRead for TargetStream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.has_asked {
            this.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        if !this.early.is_empty() {
            let ready = this.early.split_to(this.early.len().min(buffer.remaining()));
            buffer.put_slice(&ready);
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut this.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for TargetStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.begin();
        if this.takes_nothing {
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = ready!(Pin::new(&mut this.stream).poll_write(context, bytes));
        Poll::Ready(this.unless_failed(written, bytes.len()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.begin();
        let length = parts.iter().map(|part| part.len()).sum();
        if this.takes_nothing {
            return Poll::Ready(Ok(length));
        }
        let written = ready!(Pin::new(&mut this.stream).poll_write_vectored(context, parts));
        Poll::Ready(this.unless_failed(written, length))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.takes_nothing {
            this.takes_nothing = ready!(Pin::new(&mut this.stream).poll_flush(context)).is_err();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}
