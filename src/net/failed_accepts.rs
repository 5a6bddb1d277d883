//! What a listener does when it cannot accept a client (too many open files, for one): it waits a moment, and says so once a
//! minute, not each time.

use std::io;
use std::time::{Duration, Instant};

use tokio::time::sleep;

/// Accepting at once would spin.
const PAUSE: Duration = Duration::from_millis(100);
const AGAIN: Duration = Duration::from_secs(60);

/// Of one listener: when the last line about them was written.
#[derive(Debug, Default)]
pub struct FailedAccepts(Option<Instant>);

impl FailedAccepts {
    /// After each of them; `whom` could not be accepted.
    pub async fn pause(&mut self, error: &io::Error, whom: &str) {
        if self.is_line_due(Instant::now()) {
            tracing::warn!(%error, "accepting a {whom} failed; it is tried until it works");
        }
        sleep(PAUSE).await;
    }

    fn is_line_due(&mut self, now: Instant) -> bool {
        let is_due = self.0.is_none_or(|last| now.duration_since(last) >= AGAIN);
        if is_due {
            self.0 = Some(now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_minute() {
        let (mut failed, begun) = (FailedAccepts::default(), Instant::now());
        let due = |seconds| failed.is_line_due(begun + Duration::from_secs(seconds));
        assert_eq!([0, 1, 59, 60, 61, 119, 120].map(due), [true, false, false, true, false, false, true]);
    }
}
