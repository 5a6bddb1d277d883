//! Bytes from one TCP connection to another without passing through this process (splice(2)): they wait in a pipe. A
//! connection has one only while bytes wait, and gives it back when there are none.

use std::cell::RefCell;
use std::io;
use std::os::fd::OwnedFd;
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

use crate::proxy::relay::copy::Broken;
use crate::proxy::relay::limits::ByteCounter;

/// More than the default of 64 KiB, since a large message of the loopback alone fills that. A user without privileges has
/// 64 MiB for all pipes, beyond which a pipe keeps the default.
const CAPACITY: usize = 256 << 10;

/// A turn that moves less is no longer worth a pipe: one copy costs less than the calls that splicing takes.
const LITTLE: usize = 16 << 10;

/// So many files of the process are left for one that is a pipe's, at most: connections need theirs, and copying needs none.
const FILES_FOR_A_PIPE: u64 = 8;

/// Pipes that are open, kept ones among them.
static OPEN: AtomicUsize = AtomicUsize::new(0);

/// Pipes kept for the next that need one.
const KEPT: usize = 16;

thread_local! {
    static PIPES: RefCell<Vec<Ends>> = const { RefCell::new(Vec::new()) };
}

/// How splicing ended.
pub enum Moved {
    Ended,
    /// Little comes at a time now.
    Little,
    /// The kernel does not splice these.
    Impossible,
}

struct Ends {
    reads: OwnedFd,
    writes: OwnedFd,
}

impl Ends {
    /// `None` where `most` pipes are open, or no file is left.
    fn open(most: usize) -> Option<Self> {
        let (reads, writes) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).ok()?;
        let before = OPEN.fetch_add(1, Ordering::Relaxed);
        // Dropped, it is no longer counted.
        let ends = Self { reads, writes };
        (before < most).then(|| {
            let _ = fcntl(&ends.writes, FcntlArg::F_SETPIPE_SZ(i32::try_from(CAPACITY).unwrap_or(i32::MAX)));
            ends
        })
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Ordering::Relaxed);
    }
}

/// As the limit of open files has it, which is raised once, before anything is carried.
fn most() -> usize {
    static MOST: OnceLock<usize> = OnceLock::new();
    *MOST.get_or_init(|| {
        let (files, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((u64::MAX, u64::MAX));
        usize::try_from(files / FILES_FOR_A_PIPE).unwrap_or(usize::MAX)
    })
}

/// A pipe taken from those kept, given back when dropped unless bytes are in it.
struct Pipe {
    ends: Option<Ends>,
    waiting: usize,
}

impl Pipe {
    fn take() -> Option<Self> {
        let ends = PIPES.with_borrow_mut(Vec::pop).or_else(|| Ends::open(most()))?;
        Some(Self { ends: Some(ends), waiting: 0 })
    }

    /// Takes in what waits in `from`; 0 at its end.
    fn fill(&mut self, from: &TcpStream) -> io::Result<usize> {
        let Some(ends) = &self.ends else { return Ok(0) };
        let bytes = from.try_io(Interest::READABLE, || {
            Ok(nix::fcntl::splice(from, None, &ends.writes, None, CAPACITY, flags())?)
        })?;
        self.waiting = bytes;
        Ok(bytes)
    }

    /// Hands on all that is in it, and counts each part as it goes: a reader that is slow is not silent.
    async fn empty(&mut self, to: &TcpStream, carried: &ByteCounter) -> io::Result<()> {
        let Some(ends) = &self.ends else { return Ok(()) };
        while self.waiting > 0 {
            let moved = to.try_io(Interest::WRITABLE, || {
                Ok(nix::fcntl::splice(&ends.reads, None, to, None, self.waiting, flags())?)
            });
            match moved {
                Ok(bytes) => {
                    self.waiting -= bytes;
                    carried.add(bytes);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => to.writable().await?,
                Err(error) => return Err(error),
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
            PIPES.with_borrow_mut(|pipes| {
                if pipes.len() < KEPT {
                    pipes.push(ends)
                }
            });
        }
    }
}

fn flags() -> SpliceFFlags {
    SpliceFFlags::SPLICE_F_MOVE | SpliceFFlags::SPLICE_F_NONBLOCK
}

/// What a socket holds of a connection within this machine, in bytes, twice over in the kernel's reckoning. Left alone it
/// grows to megabytes, which have left the processor's cache when they are read: that costs a third of the throughput
/// (docs/performance.md), and memory of the container.
const SENDS: usize = 128 << 10;
const RECEIVES: usize = 256 << 10;

/// Bounds what waits in the sockets of a direction that is spliced. Through the tailnet tailscaled is what bounds, and
/// deeper sockets keep it busy.
pub fn bound_sockets(from: &TcpStream, to: &TcpStream) {
    if is_within(from) {
        let _ = setsockopt(from, sockopt::RcvBuf, &RECEIVES);
    }
    if is_within(to) {
        let _ = setsockopt(to, sockopt::SndBuf, &SENDS);
    }
}

/// To another machine the kernel's own sizes are right: how much is on its way depends on how far it is.
fn is_within(stream: &TcpStream) -> bool {
    stream.peer_addr().is_ok_and(|address| address.ip().to_canonical().is_loopback())
}

/// Moves bytes from `from` to `to` for as long as many wait at a time.
pub async fn splice(from: &TcpStream, to: &TcpStream, carried: &ByteCounter) -> Result<Moved, Broken> {
    loop {
        // Another one may end meanwhile.
        let Some(mut pipe) = Pipe::take() else { return Ok(Moved::Little) };
        let mut moved = 0;
        loop {
            match pipe.fill(from) {
                Ok(0) => return Ok(Moved::Ended),
                Ok(bytes) => {
                    pipe.empty(to, carried).await.map_err(Broken::Writing)?;
                    moved += bytes;
                    // Others have their turn, too.
                    consume_budget().await;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.raw_os_error() == Some(Errno::EINVAL as i32) => return Ok(Moved::Impossible),
                Err(error) => return Err(Broken::Reading(error)),
            }
        }
        drop(pipe);
        if moved < LITTLE {
            return Ok(Moved::Little);
        }
        from.readable().await.map_err(Broken::Reading)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pipes_leave_files_to_connections() {
        // Other tests have pipes of their own at the same time.
        assert!(Ends::open(0).is_none());
        let pipe = Ends::open(usize::MAX).expect("a file is left");
        assert!(OPEN.load(Ordering::Relaxed) > 0);
        assert!(Ends::open(1).is_none());
        drop(pipe);
    }
}
