//! Waits for a condition with a deadline.
//!
//! It is the only place of the test bed that sleeps.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Small against everything measured here (a join takes 180 ms), large against the cost of asking.
const POLL: Duration = Duration::from_millis(2);

/// Asks `condition` until it answers `Some`, or fails naming `what` once `deadline` has passed.
/// The condition is asked at least once, and once more after the deadline.
pub fn wait_until<T>(what: &str, deadline: Duration, mut condition: impl FnMut() -> Option<T>) -> Result<T> {
    let start = Instant::now();
    loop {
        let late = start.elapsed() >= deadline;
        if let Some(value) = condition() {
            return Ok(value);
        }
        if late {
            bail!("{what}: not within {deadline:?}");
        }
        sleep(POLL);
    }
}

/// Paces a server that is slow on purpose; a pause here is the behaviour under test, not a wait for something.
pub(crate) fn pace(pause: Duration) {
    sleep(pause);
}
