//! Passes resets on to the other side of a connection.
//!
//! When one side has reset the connection, the other side gets a reset too, as it would without a proxy.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::libc;
use nix::sys::socket::{setsockopt, sockopt};
use tokio::time::{Instant, sleep};

use crate::net::reset::{unless_reset, was_reset};
use crate::net::send_queue;
use crate::proxy::listener::stream::Stream;
use crate::proxy::relay::error::CopyError;

/// How long a reset waits for the client to take in what the target has sent before it, since a reset overtakes those
/// bytes.
const DRAIN: Duration = Duration::from_secs(5);
/// Pause before the send queue is looked at again: within one machine it is empty soon, unless the client does not
/// read.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// Which sides of one connection have reset it. Shared by both directions of the connection.
#[derive(Debug, Default)]
pub struct Resets {
    by_client: AtomicBool,
    by_target: AtomicBool,
}

impl Resets {
    /// Notes that the client has reset the connection, or is gone. Returns `error`.
    pub fn record_client(&self, error: io::Error) -> io::Error {
        self.by_client.store(true, Ordering::Relaxed);
        error
    }

    /// Notes that the target has reset the connection, or is gone. Returns `error`.
    pub fn record_target(&self, error: io::Error) -> io::Error {
        self.by_target.store(true, Ordering::Relaxed);
        error
    }

    /// Whether the target has reset the connection.
    pub fn by_target(&self) -> bool {
        self.by_target.load(Ordering::Relaxed)
    }

    /// Whether either side has reset the connection.
    pub fn any(&self) -> bool {
        self.by_target() || self.by_client.load(Ordering::Relaxed)
    }

    /// Makes the socket of the other side send a reset when it is dropped. A client gets up to [`DRAIN`] before that to
    /// take in what was written to it.
    pub async fn pass_on(&self, client: &Stream, target: &Stream) {
        if self.by_client.load(Ordering::Relaxed) {
            reset_when_dropped(target);
        } else {
            drained(client).await;
            reset_when_dropped(client);
        }
    }
}

/// Waits for `written`, a write to the other end than `reset_by`, from which nothing is read meanwhile. A reset of that end
/// ends the wait once nothing was written for a second; `None` where the end is to get what came before its reset.
pub async fn unless_reset_by<T>(
    reset_by: Option<BorrowedFd<'_>>,
    written: impl Future<Output = io::Result<T>>,
) -> Result<T, CopyError> {
    let result = match reset_by {
        Some(socket) => unless_reset(|| was_reset(socket), written).await.map_err(CopyError::Read)?,
        None => written.await,
    };
    result.map_err(CopyError::Write)
}

/// Returns when the other side has taken in all that was written, at the latest after [`DRAIN`].
async fn drained(stream: &Stream) {
    let Stream::Tcp(socket) = stream else { return };
    let (started, mut pause) = (Instant::now(), FIRST_PAUSE);
    while started.elapsed() < DRAIN && send_queue::bytes(socket.as_fd()).is_ok_and(|bytes| bytes > 0) {
        sleep(pause).await;
        pause = (2 * pause).min(LONGEST_PAUSE);
    }
}

/// Does nothing for a unix socket, which knows no reset.
fn reset_when_dropped(stream: &Stream) {
    if let Stream::Tcp(socket) = stream {
        let _ = setsockopt(socket, sockopt::Linger, &libc::linger { l_onoff: 1, l_linger: 0 });
    }
}
