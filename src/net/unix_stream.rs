//! A connection over a unix socket that wakes this process as rarely as possible.
//!
//! It is watched for what comes in, and for room to write only once there was none. The kernel reports room whenever
//! the other side has read: watched for both, each byte to tailscaled would wake this process once more, for nothing.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream as Socket;
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::time::sleep;

/// Pause between two tries of a socket that cannot be watched for room.
const RETRY_PAUSE: Duration = Duration::from_millis(5);

/// A connection over a unix socket.
#[derive(Debug)]
pub struct LocalStream {
    socket: AsyncFd<Socket>,
    /// The same socket, watched for room to write; set when a write finds no room for the first time.
    room: OnceLock<AsyncFd<OwnedFd>>,
}

impl LocalStream {
    /// Takes a socket that does not block, and watches it.
    pub fn new(socket: Socket) -> io::Result<Self> {
        Ok(Self { socket: watched(socket, Interest::READABLE)?, room: OnceLock::new() })
    }

    /// Returns the socket, which is no longer watched.
    pub fn into_socket(self) -> Socket {
        self.socket.into_inner()
    }

    /// Makes two connected ends, of which one is watched; neither blocks.
    pub fn pair() -> io::Result<(Self, Socket)> {
        let (here, there) = Socket::pair()?;
        here.set_nonblocking(true)?;
        there.set_nonblocking(true)?;
        Ok((Self::new(here)?, there))
    }

    /// Calls `read` whenever the socket may be readable, until the result is no `WouldBlock`.
    pub async fn reading<T>(&self, read: impl FnMut(&Socket) -> io::Result<T>) -> io::Result<T> {
        self.socket.async_io(Interest::READABLE, read).await
    }

    /// Reads without exclusive access, see [`AsyncRead::poll_read`].
    pub fn poll_read(&self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut ready = ready!(self.socket.poll_read_ready(context))?;
            let room = buffer.initialize_unfilled();
            match ready.try_io(|socket| (&mut socket.get_ref()).read(room)) {
                Ok(Ok(read)) => {
                    // A short read has emptied the socket: this saves the call that would find nothing.
                    if (1..room.len()).contains(&read) {
                        ready.clear_ready();
                    }
                    buffer.advance(read);
                    return Poll::Ready(Ok(()));
                }
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_) => {}
            }
        }
    }

    /// Writes without exclusive access, see [`AsyncWrite::poll_write`].
    pub fn poll_write(&self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            match self.socket.get_ref().write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => return Poll::Ready(result),
            }
            // Room that came after the failed write is still reported.
            let Ok(room) = self.room() else { return wake_later(context) };
            ready!(room.poll_write_ready(context))?.clear_ready();
        }
    }

    /// Ends the sending direction: the other side reads the end of the stream.
    pub fn shutdown(&self) -> io::Result<()> {
        self.socket.get_ref().shutdown(Shutdown::Write)
    }

    /// Ends both directions: to the other side this one is closed, and what came before is still there to be read.
    pub fn shutdown_both(&self) -> io::Result<()> {
        self.socket.get_ref().shutdown(Shutdown::Both)
    }

    fn room(&self) -> io::Result<&AsyncFd<OwnedFd>> {
        if let Some(room) = self.room.get() {
            return Ok(room);
        }
        let socket = self.socket.get_ref().as_fd().try_clone_to_owned()?;
        let room = watched(socket, Interest::WRITABLE)?;
        Ok(self.room.get_or_init(|| room))
    }
}

/// Wakes the task after [`RETRY_PAUSE`]: no file is left to watch for room with, and that is no reason to end a
/// connection, which would lose what it carries.
fn wake_later<T>(context: &Context<'_>) -> Poll<T> {
    let waker = context.waker().clone();
    tokio::spawn(async move {
        sleep(RETRY_PAUSE).await;
        waker.wake();
    });
    Poll::Pending
}

/// Has the event loop watch a socket of the standard library, or a listener, for `interest`.
#[allow(deprecated, reason = "a socket of the standard library keeps its descriptor until it is dropped")]
pub fn watched<S: AsRawFd>(socket: S, interest: Interest) -> io::Result<AsyncFd<S>> {
    AsyncFd::with_interest(socket, interest)
}

impl AsFd for LocalStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.get_ref().as_fd()
    }
}

impl AsyncRead for LocalStream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Self::poll_read(self.get_mut(), context, buffer)
    }
}

impl AsyncWrite for LocalStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Self::poll_write(self.get_mut(), context, bytes)
    }

    /// Does nothing: a socket has no buffer to flush.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.shutdown())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// More bytes than the kernel buffers for both sides.
    const MUCH: usize = 4 << 20;

    fn pair() -> (LocalStream, LocalStream) {
        let (here, there) = Socket::pair().expect("a pair");
        let watched = |socket: Socket| {
            socket.set_nonblocking(true).expect("set");
            LocalStream::new(socket).expect("is watched")
        };
        (watched(here), watched(there))
    }

    /// Whether the kernel tells of room in this socket. proc_pid_fdinfo(5): `tfd: 7 events: 80000019 …`
    fn is_told_of_room(socket: &impl AsRawFd) -> bool {
        let wanted = socket.as_raw_fd().to_string();
        let told = |text: String| {
            let mut lines = text.lines().filter_map(|line| {
                let mut words = line.strip_prefix("tfd:")?.split_ascii_whitespace();
                let (descriptor, events) = (words.next()?, words.nth(1)?);
                (descriptor == wanted).then(|| u32::from_str_radix(events, 16).ok())?
            });
            lines.any(|events| events & nix::libc::EPOLLOUT as u32 != 0)
        };
        let entries = std::fs::read_dir("/proc/self/fdinfo").expect("is there").flatten();
        entries.filter_map(|entry| std::fs::read_to_string(entry.path()).ok()).any(told)
    }

    #[tokio::test(flavor = "current_thread")]
    async fn room_is_watched_from_when_there_is_none() {
        let (mut here, mut there) = pair();
        here.write_all(b"little").await.expect("fits");
        assert!(!is_told_of_room(&here.as_fd()), "each read of the other side would wake this one");
        let sending = async {
            here.write_all(&[7; MUCH]).await.expect("is taken in the end");
            here.shutdown().expect("ended");
            here
        };
        let receiving = async {
            let mut all = Vec::new();
            there.read_to_end(&mut all).await.expect("all of it");
            all.len()
        };
        let (here, received) = tokio::join!(sending, receiving);
        assert_eq!(received, 6 + MUCH);
        let room = here.room.get().expect("there was none once");
        assert!(is_told_of_room(room));
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn without_a_file_it_is_tried_again_a_moment_later() {
        let (begun, mut tries) = (tokio::time::Instant::now(), 0);
        let trying = std::future::poll_fn(|context| {
            tries += 1;
            if tries < 3 { wake_later(context) } else { Poll::Ready(()) }
        });
        tokio::time::timeout(Duration::from_secs(10), trying).await.expect("is tried");
        assert_eq!(begun.elapsed(), 2 * RETRY_PAUSE);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_writer_without_room_hears_that_the_other_side_is_gone() {
        let (mut here, there) = pair();
        let sending = here.write_all(&[7; MUCH]);
        let going = async {
            tokio::task::yield_now().await;
            drop(there);
        };
        let (sent, ()) = tokio::join!(sending, going);
        assert_eq!(sent.expect_err("nobody reads").kind(), io::ErrorKind::BrokenPipe);
    }
}
