//! Pauses a listener that cannot accept, and logs it once a minute.
//!
//! Too many open files are one cause. A line for each failure would flood the log.

use std::io;
use std::time::{Duration, Instant};

use tokio::time::sleep;

/// Pause after a failure: without one, accepting would spin.
const PAUSE: Duration = Duration::from_millis(100);
/// Time between two lines in the log.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// The failed accepts of one listener: when the last line about them was written.
#[derive(Debug, Default)]
pub struct FailedAccepts(Option<Instant>);

impl FailedAccepts {
    /// Waits for a moment, and logs the error where a line is due. To be called after each failure; `whom` is the kind
    /// of client.
    pub async fn pause(&mut self, error: &io::Error, whom: &str) {
        if self.is_line_due(Instant::now()) {
            tracing::warn!(%error, "accepting a {whom} failed; it is tried until it works");
        }
        sleep(PAUSE).await;
    }

    fn is_line_due(&mut self, now: Instant) -> bool {
        let is_due = self.0.is_none_or(|last| now.duration_since(last) >= LOG_EVERY);
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
