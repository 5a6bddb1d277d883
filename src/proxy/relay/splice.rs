//! Moves bytes between TCP connections inside the kernel (splice(2)).
//!
//! The bytes wait in a pipe. A connection has a pipe only while bytes wait, and gives it back when there are none.

use std::cell::RefCell;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::socket::{setsockopt, sockopt};
use nix::unistd::pipe2;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::task::coop::consume_budget;

use crate::proxy::relay::error::CopyError;
use crate::proxy::relay::resets::unless_reset_by;
use crate::proxy::relay::traffic::ByteCounter;

/// Bytes that a pipe holds. More than the default of 64 KiB, since a large message of the loopback alone fills that. A
/// user without privileges has 64 MiB for all pipes, beyond which a pipe keeps the default.
const CAPACITY: usize = 256 << 10;

/// A turn that moves fewer bytes is not worth a pipe: one copy costs less than the calls that splicing takes.
const WORTH_A_PIPE: usize = 16 << 10;

/// The process may open one pipe per this many files of its limit: connections need the others, and copying needs none.
const FILES_PER_PIPE: u64 = 8;

/// How many pipes are open, idle ones included.
static OPEN: AtomicUsize = AtomicUsize::new(0);

/// How many idle pipes a thread keeps for connections that need one next.
const MAX_IDLE: usize = 16;

thread_local! {
    static IDLE: RefCell<Vec<PipeEnds>> = const { RefCell::new(Vec::new()) };
}

/// Why splicing stopped.
pub enum Spliced {
    /// The connection that was read from has ended.
    Ended,
    /// Too few bytes come at a time, or there is no pipe to be had.
    TooLittle,
    /// The kernel does not splice these sockets.
    Unsupported,
}

/// Both ends of a pipe, counted in [`OPEN`] until dropped.
struct PipeEnds {
    reads: OwnedFd,
    writes: OwnedFd,
}

impl PipeEnds {
    /// Opens a pipe; `None` where `max` pipes are open, or no file is left.
    fn open(max: usize) -> Option<Self> {
        let (reads, writes) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).ok()?;
        let before = OPEN.fetch_add(1, Ordering::Relaxed);
        // Made before the check, so that dropping it corrects the count.
        let ends = Self { reads, writes };
        (before < max).then(|| {
            let _ = fcntl(&ends.writes, FcntlArg::F_SETPIPE_SZ(i32::try_from(CAPACITY).unwrap_or(i32::MAX)));
            ends
        })
    }
}

impl Drop for PipeEnds {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Returns how many pipes may be open, by the limit of open files, which is raised once, before anything is carried.
fn max_pipes() -> usize {
    static MAX: OnceLock<usize> = OnceLock::new();
    *MAX.get_or_init(|| {
        let (files, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((u64::MAX, u64::MAX));
        usize::try_from(files / FILES_PER_PIPE).unwrap_or(usize::MAX)
    })
}

/// A pipe taken from the idle ones, given back when dropped unless bytes are in it.
struct Pipe {
    ends: Option<PipeEnds>,
    /// Bytes in the pipe.
    waiting: usize,
}

impl Pipe {
    /// Takes an idle pipe, or opens one; `None` where there is none to be had.
    fn take() -> Option<Self> {
        let ends = IDLE.with_borrow_mut(Vec::pop).or_else(|| PipeEnds::open(max_pipes()))?;
        Some(Self { ends: Some(ends), waiting: 0 })
    }

    /// Moves what waits in `from` into the pipe and returns how many bytes that were; 0 at the end.
    fn fill(&mut self, from: &TcpStream) -> io::Result<usize> {
        let Some(ends) = &self.ends else { return Ok(0) };
        let bytes = from.try_io(Interest::READABLE, || {
            Ok(nix::fcntl::splice(from, None, &ends.writes, None, CAPACITY, flags())?)
        })?;
        self.waiting = bytes;
        Ok(bytes)
    }

    /// Moves all that is in the pipe to `to`, and counts each part once it is written: a slow reader must not seem
    /// silent.
    async fn drain(
        &mut self,
        to: &TcpStream,
        counter: &ByteCounter,
        reset_by: Option<BorrowedFd<'_>>,
    ) -> Result<(), CopyError> {
        let Some(ends) = &self.ends else { return Ok(()) };
        while self.waiting > 0 {
            let moved = to.try_io(Interest::WRITABLE, || {
                Ok(nix::fcntl::splice(&ends.reads, None, to, None, self.waiting, flags())?)
            });
            match moved {
                Ok(bytes) => {
                    self.waiting -= bytes;
                    counter.add(bytes);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    unless_reset_by(reset_by, to.writable()).await?
                }
                Err(error) => return Err(CopyError::Write(error)),
            }
        }
        Ok(())
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        if self.waiting == 0
            && let Some(ends) = self.ends.take()
        {
            IDLE.with_borrow_mut(|idle| {
                if idle.len() < MAX_IDLE {
                    idle.push(ends)
                }
            });
        }
    }
}

fn flags() -> SpliceFFlags {
    SpliceFFlags::SPLICE_F_MOVE | SpliceFFlags::SPLICE_F_NONBLOCK
}

/// Buffers of a socket to this machine, in bytes, of which the kernel counts twice as many. Left alone they grow to
/// megabytes, which have left the processor's cache when they are read: that costs a third of the throughput
/// (docs/performance.md), and memory of the container.
const SEND_BUFFER: usize = 128 << 10;
const RECEIVE_BUFFER: usize = 256 << 10;

/// Limits the socket buffers of a direction that is spliced. Through the tailnet tailscaled is the limit, and deeper
/// buffers keep it busy.
pub fn limit_socket_buffers(from: &TcpStream, to: &TcpStream) {
    if is_local(from) {
        let _ = setsockopt(from, sockopt::RcvBuf, &RECEIVE_BUFFER);
    }
    if is_local(to) {
        let _ = setsockopt(to, sockopt::SndBuf, &SEND_BUFFER);
    }
}

/// Whether the other end is on this machine. To another one the kernel's own buffer sizes are right: how much is on its
/// way depends on how far it is.
fn is_local(stream: &TcpStream) -> bool {
    stream.peer_addr().is_ok_and(|address| address.ip().to_canonical().is_loopback())
}

/// Moves bytes from `from` to `to` for as long as many wait at a time.
pub async fn splice(
    from: &TcpStream,
    to: &TcpStream,
    counter: &ByteCounter,
    reset_by: Option<BorrowedFd<'_>>,
) -> Result<Spliced, CopyError> {
    loop {
        // Without a pipe the bytes are copied, and splicing is tried again: another connection may have given its pipe
        // back by then.
        let Some(mut pipe) = Pipe::take() else { return Ok(Spliced::TooLittle) };
        let mut moved = 0;
        loop {
            match pipe.fill(from) {
                Ok(0) => return Ok(Spliced::Ended),
                Ok(bytes) => {
                    pipe.drain(to, counter, reset_by).await?;
                    moved += bytes;
                    // Lets other tasks of this thread have their turn.
                    consume_budget().await;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.raw_os_error() == Some(Errno::EINVAL as i32) => return Ok(Spliced::Unsupported),
                Err(error) => return Err(CopyError::Read(error)),
            }
        }
        drop(pipe);
        if moved < WORTH_A_PIPE {
            return Ok(Spliced::TooLittle);
        }
        from.readable().await.map_err(CopyError::Read)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pipes_leave_files_to_connections() {
        // Other tests have pipes of their own at the same time.
        assert!(PipeEnds::open(0).is_none());
        let pipe = PipeEnds::open(usize::MAX).expect("a file is left");
        assert!(OPEN.load(Ordering::Relaxed) > 0);
        assert!(PipeEnds::open(1).is_none());
        drop(pipe);
    }
}
