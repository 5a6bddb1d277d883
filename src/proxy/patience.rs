//! How long a connection may be silent, judged by what it carries.

use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Bytes that a relay has carried.
#[derive(Debug, Default)]
pub struct Carried {
    pub(super) sent: AtomicU64,
    pub(super) received: AtomicU64,
    /// From the client, when the target listened no more.
    pub(super) unheard: AtomicU64,
}

impl Carried {
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    fn all(&self) -> u64 {
        self.sent() + self.received() + self.unheard.load(Ordering::Relaxed)
    }

    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }
}

/// How long a connection may be silent.
#[derive(Clone, Debug)]
pub struct Patience {
    /// Once one side has ended.
    pub half_closed: Duration,
    /// In both directions, while both sides are there.
    pub idle: Option<Duration>,
    /// Cancelled when the daemon drains.
    pub draining: CancellationToken,
}

/// Whoever has ended its side and hears nothing for this long while the daemon drains is taken to be gone: an end
/// cannot be told from a half-close.
pub(super) const SILENCE_AT_THE_END: Duration = Duration::from_millis(250);

/// Ends when nothing was carried for `limit`, at the latest an eighth of it later.
pub(super) async fn idle(carried: &Carried, limit: Option<Duration>) {
    let Some(limit) = limit else { return std::future::pending().await };
    let (mut silent, step) = (Duration::ZERO, limit / 8);
    let mut before = 0;
    while silent < limit {
        sleep(step).await;
        let now = carried.all();
        silent = if now == before { silent + step } else { Duration::ZERO };
        before = now;
    }
}

/// Lets `direction` finish, or ends it when nothing was carried for as long as `patience` says.
pub(super) async fn until_silent(
    direction: impl Future<Output = io::Result<()>>,
    carried: &Carried,
    patience: &Patience,
) -> io::Result<()> {
    let mut direction = pin!(direction);
    let mut silence = patience.half_closed;
    let mut draining = false;
    loop {
        let before = carried.all();
        tokio::select! {
            result = &mut direction => return result,
            () = patience.draining.cancelled(), if !draining => {
                draining = true;
                silence = silence.min(SILENCE_AT_THE_END);
            }
            () = sleep(silence) => {
                if carried.all() == before {
                    return Err(io::ErrorKind::TimedOut.into());
                }
            }
        }
    }
}
