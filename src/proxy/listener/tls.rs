//! Carries the bytes of a client that speaks TLS, decrypted, to those who serve it.
//!
//! They go through a pair of unix sockets, one end of which is the client to all others.
//! So tailscaled can be handed that end, and half-closes pass. A unix socket knows no reset: those become ends.

use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::FusedFuture;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy, sink, split};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use crate::net::unix_stream::LocalStream;
use crate::proxy::listener::stream::Stream;

/// The first byte of a TLS connection: a record of the handshake (RFC 8446, section 5.1).
pub const FIRST_BYTE: u8 = 22;
/// Longest silence of a client that still has to take the last bytes of a connection that is over.
const LAST_BYTES: Duration = Duration::from_secs(10);
/// How long what the client still sends is read and dropped at the end: closing a socket with unread bytes resets the
/// connection, and the reset would overtake the last bytes.
const LINGER: Duration = Duration::from_secs(1);
/// Bytes that are carried at a time: those of a TLS record.
const BLOCK: usize = 16 << 10;

/// Has `serve` serve the client of a TLS connection in clear, and carries its bytes meanwhile.
///
/// # Errors
/// When no socket is to be had.
pub async fn serve_in_clear<F: Future<Output = ()>>(
    client: TlsStream<TcpStream>,
    serve: impl FnOnce(Stream) -> F,
) -> io::Result<()> {
    let (ours, inner) = UnixStream::pair()?;
    let inner = Stream::Unix(LocalStream::new(inner.into_std()?)?);
    let (client_reads, client_writes) = split(client);
    let (reads, writes) = ours.into_split();
    let passed = AtomicU64::new(0);
    let mut up = pin!(carry_up(client_reads, writes).fuse());
    let count = |bytes| {
        passed.fetch_add(bytes, Ordering::Relaxed);
    };
    let mut down = pin!(carry(reads, client_writes, count).fuse());
    let mut served = pin!(serve(inner));
    loop {
        tokio::select! {
            () = &mut served => break,
            // A client that does not listen any more: `serve` ends its connection when it is dropped.
            result = &mut down, if !down.is_terminated() => if result.is_err() { return Ok(()) },
            result = &mut up, if !up.is_terminated() => if result.is_err() { return Ok(()) },
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
    if !up.is_terminated() {
        let _ = timeout(LINGER, up).await;
    }
    Ok(())
}

/// Carries what the client sends. Where nobody takes it any more it is read and dropped: what was said to the client before
/// is still on its way.
async fn carry_up(mut from: impl AsyncRead + Unpin, to: impl AsyncWrite + Unpin) -> io::Result<()> {
    match carry(&mut from, to, |_| ()).await {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => copy(&mut from, &mut sink()).await.map(drop),
        result => result,
    }
}

/// Carries one direction to its end, and passes the end on. A client that closes without a word of TLS has ended, too: many do.
async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
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
        to.write_all(&block[..read]).await?;
        // TLS keeps records back until it is flushed.
        to.flush().await?;
        passed(read as u64);
    }
    to.shutdown().await
}
