//! Carries the bytes of a client that speaks TLS, decrypted, to those who serve it.
//!
//! They go through a pair of unix sockets, one end of which is the client to all others.
//! So tailscaled can be handed that end, and half-closes pass. A unix socket knows no reset: those become ends.

use std::io;
use std::os::fd::AsFd;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::FusedFuture;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf, copy, sink};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use crate::net::reset::{unless_reset, was_reset};
use crate::net::unix_stream::LocalStream;
use crate::proxy::listener::split::{ReadHalf, WriteHalf};
use crate::proxy::listener::stream::Stream;
use crate::proxy::relay::client_end::{self, ClientSocket};
use crate::sync::IgnorePoison;

/// The first byte of a TLS connection: a record of the handshake (RFC 8446, section 5.1).
pub const FIRST_BYTE: u8 = 22;
/// Longest silence of a client that still has to take the last bytes of a connection that is over.
const LAST_BYTES: Duration = Duration::from_secs(10);
/// How long what the client still sends is read and dropped at the end: closing a socket with unread bytes resets the
/// connection, and the reset would overtake the last bytes.
const LINGER: Duration = Duration::from_secs(1);
/// Bytes that are carried at a time: those of a TLS record.
const BLOCK: usize = 16 << 10;

/// The connection of a client that speaks TLS, shared by its two directions.
struct TlsClient {
    stream: Mutex<TlsStream<TcpStream>>,
    socket: ClientSocket,
}

impl TlsClient {
    fn new(stream: TlsStream<TcpStream>) -> Self {
        let socket = ClientSocket::find_tcp(stream.get_ref().0);
        Self { stream: Mutex::new(stream), socket }
    }

    fn stream(&self) -> MutexGuard<'_, TlsStream<TcpStream>> {
        self.stream.lock().ignore_poison()
    }

    fn was_reset(&self) -> bool {
        was_reset(self.stream().get_ref().0.as_fd())
    }

    /// Returns when the client has closed its socket, or reset it. To be called once its end was read.
    async fn closed(&self) {
        client_end::closed(|| self.socket.end_of_tcp(self.stream().get_ref().0)).await;
    }
}

/// Has `serve` serve the client of a TLS connection in clear, and carries its bytes meanwhile. Where `is_answered` says afterwards
/// that the client was told something, it has time to hear it.
///
/// # Errors
/// When no socket is to be had.
pub async fn serve_in_clear<F: Future<Output = ()>>(
    client: TlsStream<TcpStream>,
    serve: impl FnOnce(Stream) -> F,
    is_answered: impl Fn() -> bool,
) -> io::Result<()> {
    let (ours, inner) = LocalStream::pair()?;
    let inner = Stream::Unix(LocalStream::new(inner)?);
    let (client, passed) = (TlsClient::new(client), AtomicU64::new(0));
    let count = |bytes| {
        passed.fetch_add(bytes, Ordering::Relaxed);
    };
    let mut up = pin!(carry_up(&client, WriteHalf::Unix(&ours)).fuse());
    let mut down = pin!(carry(ReadHalf::Unix(&ours), &client, None, count).fuse());
    let mut gone = pin!(client.closed().fuse());
    let mut served = pin!(serve(inner));
    loop {
        tokio::select! {
            () = &mut served => break,
            // A client that does not listen any more: `serve` ends its connection when it is dropped.
            result = &mut down, if !down.is_terminated() => {
                if result.is_err() && !gone.is_terminated() { return Ok(()) }
            }
            result = &mut up, if !up.is_terminated() => if result.is_err() { return Ok(()) },
            // `serve` has to know a client that has closed from one that waits for an answer.
            () = &mut gone, if up.is_terminated() && !gone.is_terminated() => drop(ours.shutdown_both()),
        }
    }
    loop {
        let before = passed.load(Ordering::Relaxed);
        if down.is_terminated()
            || timeout(LAST_BYTES, &mut down).await.is_ok()
            || passed.load(Ordering::Relaxed) == before
        {
            break;
        }
    }
    if !up.is_terminated() && is_answered() {
        let _ = timeout(LINGER, up).await;
    }
    Ok(())
}

/// Carries what the client sends. Where nobody takes it any more it is read and dropped: what was said to the client before
/// is still on its way.
async fn carry_up(mut from: &TlsClient, to: impl AsyncWrite + Unpin) -> io::Result<()> {
    match carry(from, to, Some(from), |_| ()).await {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => copy(&mut from, &mut sink()).await.map(drop),
        result => result,
    }
}

/// Carries one direction to its end, and passes the end on. A client that closes without a word of TLS has ended, too: many
/// do. A reset by the client `reset_by` is noticed also where its bytes are not taken.
async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    reset_by: Option<&TlsClient>,
    passed: impl Fn(u64),
) -> io::Result<()> {
    let mut block = vec![0; BLOCK];
    loop {
        let read = match from.read(&mut block).await {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(error),
        };
        let written = to.write_all(&block[..read]);
        match reset_by {
            Some(client) => unless_reset(|| client.was_reset(), written).await??,
            None => written.await?,
        }
        // TLS keeps records back until it is flushed.
        to.flush().await?;
        passed(read as u64);
    }
    to.shutdown().await
}

impl AsyncRead for &TlsClient {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream()).poll_read(context, buffer)
    }
}

impl AsyncWrite for &TlsClient {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.stream()).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream()).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream()).poll_shutdown(context)
    }
}
