//! Slows new connections down while memory is short, so that those that are there get it. An application that fills its
//! memory for good must not be cut off: each new connection waits for a moment and is then let in.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::cgroup::{Groups, Usage};

/// Beyond this part of the limit memory is short. tailscaled's garbage collector gives some back by then.
const SHORT: (u64, u64) = (9, 10);

/// How often memory that is short is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The longest wait of one connection. It is the pace of a listener's new ones while memory stays short.
const LONGEST: Duration = Duration::from_millis(500);

/// Tells when there is memory for one more connection. Nothing runs while nobody asks.
#[derive(Debug)]
pub struct Headroom(Option<Groups>);

impl Headroom {
    pub fn new(groups: Option<Groups>) -> Self {
        Self(groups.filter(|groups| groups.limit().is_some()))
    }

    /// Ends when there is memory again, or when a connection has waited long enough.
    pub async fn wait(&self) {
        let Some(groups) = &self.0 else { return };
        wait(|| groups.tightest()).await;
    }
}

async fn wait(usage: impl Fn() -> Option<Usage>) {
    let begun = Instant::now();
    while usage().is_some_and(is_short) {
        if begun.elapsed() >= LONGEST {
            tracing::debug!("memory is short; a connection was let in all the same");
            return;
        }
        sleep(LOOK_AGAIN).await;
    }
}

fn is_short(usage: Usage) -> bool {
    let (part, of) = SHORT;
    usage.used > usage.limit / of * part
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    const LIMIT: u64 = 100 << 20;

    async fn waits(usage: impl Fn() -> Option<Usage>) -> Duration {
        let begun = Instant::now();
        wait(usage).await;
        begun.elapsed()
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn a_connection_waits_for_memory_and_not_for_ever() {
        let used = |used| move || Some(Usage { used, limit: LIMIT });
        assert_eq!(waits(used(LIMIT / 2)).await, Duration::ZERO);
        assert_eq!(waits(|| None).await, Duration::ZERO);
        assert_eq!(waits(used(LIMIT)).await, LONGEST);
        let left = Cell::new(3);
        let falling = || {
            left.set(left.get() - 1);
            Some(Usage { used: if left.get() > 0 { LIMIT } else { 0 }, limit: LIMIT })
        };
        assert_eq!(waits(falling).await, 2 * LOOK_AGAIN);
    }
}
