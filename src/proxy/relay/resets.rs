//! Who has broken a connection off, so that the other side hears of it as it would without a proxy: by a reset.

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::libc;
use nix::sys::socket::{setsockopt, sockopt};
use tokio::time::{Instant, sleep};

use crate::net::send_queue;
use crate::proxy::listener::stream::Stream;

/// How long a reset waits for the client to take in what the target said before it. A reset overtakes that.
const DRAIN: Duration = Duration::from_secs(5);
/// Within one machine a queue is empty at once, unless the client does not read.
const FIRST_LOOK: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// Known to both directions of one connection.
#[derive(Debug, Default)]
pub struct BrokenBy {
    client: AtomicBool,
    target: AtomicBool,
}

impl BrokenBy {
    /// Notes that the client has reset the connection, or is gone. Gives the error back.
    pub fn by_client(&self, error: io::Error) -> io::Error {
        self.client.store(true, Ordering::Relaxed);
        error
    }

    /// The same of the target.
    pub fn by_target(&self, error: io::Error) -> io::Error {
        self.target.store(true, Ordering::Relaxed);
        error
    }

    pub fn target_has_reset(&self) -> bool {
        self.target.load(Ordering::Relaxed)
    }

    pub fn any(&self) -> bool {
        self.target_has_reset() || self.client.load(Ordering::Relaxed)
    }

    /// Has the other side's socket send a reset when it is dropped.
    pub async fn pass_on(&self, client: &Stream, target: &Stream) {
        if self.client.load(Ordering::Relaxed) {
            reset_when_dropped(target);
        } else {
            drained(client).await;
            reset_when_dropped(client);
        }
    }
}

/// Ends when the other side has taken in all that was written, at the latest after [`DRAIN`].
async fn drained(stream: &Stream) {
    let Stream::Tcp(socket) = stream else { return };
    let (begun, mut pause) = (Instant::now(), FIRST_LOOK);
    while begun.elapsed() < DRAIN && send_queue::bytes(socket.as_fd()).is_ok_and(|bytes| bytes > 0) {
        sleep(pause).await;
        pause = (2 * pause).min(LONGEST_PAUSE);
    }
}

/// A unix socket knows no reset.
fn reset_when_dropped(stream: &Stream) {
    if let Stream::Tcp(socket) = stream {
        let _ = setsockopt(socket, sockopt::Linger, &libc::linger { l_onoff: 1, l_linger: 0 });
    }
}
