//! Carries the bytes of a client that speaks TLS, decrypted, to those who serve it.
//!
//! They go through a pair of unix sockets, one end of which is the client to all others.
//! So tailscaled can be handed that end, and half-closes pass. A unix socket knows no reset: those become ends.

use std::io;
use std::pin::pin;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::FusedFuture;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy, split};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use crate::net::unix_stream::LocalStream;
use crate::proxy::listener::stream::Stream;

/// The first byte of a TLS connection: a record of the handshake (RFC 8446, section 5.1).
pub const FIRST_BYTE: u8 = 22;
/// How long a client may take for the last bytes once its connection is over.
const LAST_BYTES: Duration = Duration::from_secs(10);

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
    let mut up = pin!(carry(client_reads, writes).fuse());
    let mut down = pin!(carry(reads, client_writes).fuse());
    let mut served = pin!(serve(inner));
    loop {
        tokio::select! {
            () = &mut served => break,
            // A client that does not listen any more: `serve` ends its connection when it is dropped.
            result = &mut down, if !down.is_terminated() => if result.is_err() { return Ok(()) },
            result = &mut up, if !up.is_terminated() => if result.is_err() { return Ok(()) },
        }
    }
    if !down.is_terminated() {
        let _ = timeout(LAST_BYTES, down).await;
    }
    Ok(())
}

/// Carries one direction to its end, and passes the end on. A client that closes without a word of TLS has ended, too: many do.
async fn carry(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) -> io::Result<()> {
    match copy(&mut from, &mut to).await {
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(error),
        Ok(_) | Err(_) => {}
    }
    to.shutdown().await
}
