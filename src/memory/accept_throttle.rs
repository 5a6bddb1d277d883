//! Slows new connections down while memory is short, so that those that are there get it. An application that fills its
//! memory for good must not be cut off: each new connection waits for a moment and is then let in.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::memory::cgroup::{CgroupMemory, Usage};

/// Beyond this part of the limit memory is short. tailscaled's garbage collector gives some back by then.
const SHORT: (u64, u64) = (9, 10);

/// How often memory that is short is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// How long a look that found enough is good for: one opens several files of the kernel, for each connection otherwise.
const GOOD_FOR: Duration = Duration::from_millis(20);

/// The longest wait of one connection. It is the pace of a listener's new ones while memory stays short.
const LONGEST: Duration = Duration::from_millis(500);

/// Tells when there is memory for one more connection. Nothing runs while nobody asks.
#[derive(Debug)]
pub struct AcceptThrottle {
    groups: Option<CgroupMemory>,
    /// The last look that found enough.
    enough: Mutex<Option<Instant>>,
}

impl AcceptThrottle {
    pub fn new(groups: Option<CgroupMemory>) -> Self {
        Self { groups: groups.filter(|groups| groups.limit().is_some()), enough: Mutex::default() }
    }

    /// Ends when there is memory again, or when a connection has waited long enough.
    pub async fn wait(&self) {
        let Some(groups) = &self.groups else { return };
        wait(|| groups.tightest(), &self.enough).await;
    }
}

async fn wait(usage: impl Fn() -> Option<Usage>, enough: &Mutex<Option<Instant>>) {
    let enough = || enough.lock().unwrap_or_else(PoisonError::into_inner);
    if enough().is_some_and(|looked| looked.elapsed() < GOOD_FOR) {
        return;
    }
    let begun = Instant::now();
    while usage().is_some_and(is_short) {
        if begun.elapsed() >= LONGEST {
            tracing::debug!("memory is short; a connection was let in all the same");
            return;
        }
        sleep(LOOK_AGAIN).await;
    }
    *enough() = Some(Instant::now());
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
        wait(usage, &Mutex::default()).await;
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

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn many_connections_in_a_moment_look_once() {
        let (looks, enough) = (Cell::new(0), Mutex::default());
        let usage = || {
            looks.set(looks.get() + 1);
            Some(Usage { used: 0, limit: LIMIT })
        };
        for _ in 0..100 {
            wait(usage, &enough).await;
        }
        assert_eq!(looks.get(), 1);
        sleep(GOOD_FOR).await;
        wait(usage, &enough).await;
        assert_eq!(looks.get(), 2);
    }
}
