//! Idle and half-close time limits of a connection, checked by its byte counts.

use std::io;
use std::pin::pin;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::memory::upload_throttle::UploadThrottle;
use crate::proxy::relay::traffic::Traffic;
use crate::target::dial::RelayTerms;

/// Longest silence of a half-closed connection while the daemon drains. After that the side that has ended its sending
/// is taken to be gone, since a close cannot be told from a half-close.
pub const SILENCE_AT_THE_END: Duration = Duration::from_millis(250);

/// Limits that every relayed connection keeps to.
#[derive(Clone, Debug)]
pub struct RelayLimits {
    /// Longest silence once one side has ended and the other is known to be there: its end would be passed on, or the
    /// client's socket is seen to be open.
    pub half_closed: Duration,
    /// Longest silence once the client has ended its side, where that end is not passed on to the target and it cannot
    /// be told whether the client still waits for a response.
    pub half_closed_held: Duration,
    /// Longest silence in both directions while neither side has ended; `None` for no limit.
    pub idle: Option<Duration>,
    /// Cancelled when the daemon drains.
    pub draining: CancellationToken,
    /// Slows down what clients send while memory is short.
    pub upload_throttle: UploadThrottle,
}

impl RelayLimits {
    /// Returns these limits in the form for a client's connection that tailscaled relays.
    pub fn terms(&self) -> RelayTerms {
        RelayTerms { half_closed: self.half_closed, idle: self.idle, counts_traffic: true }
    }

    /// Returns these limits in the form for the connection to the target of an HTTP exchange, whose silence and bytes
    /// are measured at the client's connection.
    pub fn terms_of_http(&self) -> RelayTerms {
        RelayTerms { half_closed: self.half_closed, idle: None, counts_traffic: false }
    }
}

/// Returns when nothing was carried for `limit`, or up to an eighth of it later. Never returns without a limit.
pub async fn idle(traffic: &Traffic, limit: Option<Duration>) {
    match limit {
        // Heap-allocated (`Box::pin`), since most connections have no limit and need no state for it.
        Some(limit) => Box::pin(silent_for(traffic, limit)).await,
        None => std::future::pending().await,
    }
}

async fn silent_for(traffic: &Traffic, limit: Duration) {
    let (mut silent, step) = (Duration::ZERO, limit / 8);
    let mut before = 0;
    while silent < limit {
        sleep(step).await;
        let now = traffic.total();
        silent = if now == before { silent + step } else { Duration::ZERO };
        before = now;
    }
}

/// Waits for `direction` to finish. Fails with `TimedOut` when nothing was carried for `silence` or, while the daemon
/// drains, for [`SILENCE_AT_THE_END`] if that is shorter.
pub async fn until_silent<T>(
    direction: impl Future<Output = io::Result<T>>,
    traffic: &Traffic,
    mut silence: Duration,
    draining: &CancellationToken,
) -> io::Result<T> {
    let mut direction = pin!(direction);
    let mut is_draining = false;
    loop {
        let before = traffic.total();
        tokio::select! {
            result = &mut direction => return result,
            () = draining.cancelled(), if !is_draining => {
                is_draining = true;
                silence = silence.min(SILENCE_AT_THE_END);
            }
            () = sleep(silence) => {
                if traffic.total() == before {
                    return Err(io::ErrorKind::TimedOut.into());
                }
            }
        }
    }
}
