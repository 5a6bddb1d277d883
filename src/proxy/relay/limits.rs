//! How long a connection may be silent, judged by what it carries.

use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::memory::upload_throttle::UploadThrottle;
use crate::proxy::metrics::counters::Counters;
use crate::proxy::metrics::labels::Direction;
use crate::target::dial::RelayTerms;

/// Bytes that a relay has carried.
#[derive(Debug, Default)]
pub struct Traffic {
    pub sent: ByteCounter,
    pub received: ByteCounter,
    /// From the client, when the target listened no more.
    pub unheard: ByteCounter,
}

/// Counts bytes of one connection, and with them those of all.
#[derive(Debug, Default)]
pub struct ByteCounter {
    here: AtomicU64,
    everywhere: Counter,
}

impl ByteCounter {
    fn within(everywhere: Counter) -> Self {
        Self { here: AtomicU64::new(0), everywhere }
    }

    pub fn add(&self, bytes: usize) {
        self.here.fetch_add(bytes as u64, Ordering::Relaxed);
        self.everywhere.inc_by(bytes as u64);
    }

    fn get(&self) -> u64 {
        self.here.load(Ordering::Relaxed)
    }
}

impl Traffic {
    /// Counted in `counters`, too.
    pub fn within(counters: &Counters) -> Self {
        Self {
            sent: ByteCounter::within(counters.bytes(Direction::Sent)),
            received: ByteCounter::within(counters.bytes(Direction::Received)),
            unheard: ByteCounter::default(),
        }
    }

    pub fn sent(&self) -> u64 {
        self.sent.get()
    }

    pub fn add_sent(&self, bytes: usize) {
        self.sent.add(bytes);
    }

    pub fn add_received(&self, bytes: usize) {
        self.received.add(bytes);
    }

    pub fn all(&self) -> u64 {
        self.sent() + self.received() + self.unheard.get()
    }

    pub fn received(&self) -> u64 {
        self.received.get()
    }
}

/// How long a connection may be silent.
#[derive(Clone, Debug)]
pub struct RelayLimits {
    /// Once one side has ended, where the other is known to be there: ends are carried through, or the client's socket
    /// is seen to be open.
    pub half_closed: Duration,
    /// Once the client has ended its side, where the target may not hear of it and nobody can tell whether the client
    /// still waits for an answer.
    pub half_closed_held: Duration,
    /// In both directions, while both sides are there.
    pub idle: Option<Duration>,
    /// Cancelled when the daemon drains.
    pub draining: CancellationToken,
    /// Holds up what clients send.
    pub brake: UploadThrottle,
}

impl RelayLimits {
    /// The same for a client's connection that tailscaled relays.
    pub fn terms(&self) -> RelayTerms {
        RelayTerms { half_closed: self.half_closed, idle: self.idle, counts_traffic: true }
    }

    /// For the way to the target of an HTTP exchange, whose silence and bytes count where the client is.
    pub fn terms_of_http(&self) -> RelayTerms {
        RelayTerms { half_closed: self.half_closed, idle: None, counts_traffic: false }
    }
}

/// Whoever has ended its side and hears nothing for this long while the daemon drains is taken to be gone: an end
/// cannot be told from a half-close.
pub const SILENCE_AT_THE_END: Duration = Duration::from_millis(250);

/// Ends when nothing was carried for `limit`, at the latest an eighth of it later.
pub async fn idle(carried: &Traffic, limit: Option<Duration>) {
    match limit {
        // In a box: most connections have no limit.
        Some(limit) => Box::pin(silent_for(carried, limit)).await,
        None => std::future::pending().await,
    }
}

async fn silent_for(carried: &Traffic, limit: Duration) {
    let (mut silent, step) = (Duration::ZERO, limit / 8);
    let mut before = 0;
    while silent < limit {
        sleep(step).await;
        let now = carried.all();
        silent = if now == before { silent + step } else { Duration::ZERO };
        before = now;
    }
}

/// Lets `direction` finish, or ends it when nothing was carried for `silence`, or for a moment at a stop.
pub async fn until_silent<T>(
    direction: impl Future<Output = io::Result<T>>,
    carried: &Traffic,
    mut silence: Duration,
    patience: &RelayLimits,
) -> io::Result<T> {
    let mut direction = pin!(direction);
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
