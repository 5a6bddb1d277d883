//! Slows new connections down while memory is short, and leaves it to open ones.
//!
//! An application that fills its memory for good must not be cut off: each new connection waits for a moment and is
//! then let in.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::memory::cgroup::{CgroupMemory, Usage};
use crate::sync::IgnorePoison;

/// Part of the limit beyond which memory is short, as a fraction. tailscaled's garbage collector gives some back by
/// then.
const SHORT: (u64, u64) = (9, 10);

/// Time between two looks while memory is short.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// How long a look that found enough memory is relied upon: each look opens several files of the kernel.
const GOOD_FOR: Duration = Duration::from_millis(20);

/// Longest wait of one connection: the pace of a listener's new ones while memory stays short.
const LONGEST: Duration = Duration::from_millis(500);

/// Tells when there is memory for one more connection. Nothing runs while nobody asks.
#[derive(Debug)]
pub struct AcceptThrottle {
    cgroups: Option<CgroupMemory>,
    /// Time of the last look that found enough memory.
    enough: Mutex<Option<Instant>>,
}

impl AcceptThrottle {
    /// Watches the memory of `cgroups`. Without them, or without a limit, nothing is slowed down.
    pub fn new(cgroups: Option<CgroupMemory>) -> Self {
        Self { cgroups: cgroups.filter(|cgroups| cgroups.limit().is_some()), enough: Mutex::default() }
    }

    /// Waits until there is memory, for half a second at most.
    pub async fn wait(&self) {
        let Some(cgroups) = &self.cgroups else { return };
        wait_for_memory(|| cgroups.tightest(), &self.enough).await;
    }
}

async fn wait_for_memory(usage: impl Fn() -> Option<Usage>, enough: &Mutex<Option<Instant>>) {
    let enough = || enough.lock().ignore_poison();
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
        wait_for_memory(usage, &Mutex::default()).await;
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
            wait_for_memory(usage, &enough).await;
        }
        assert_eq!(looks.get(), 1);
        sleep(GOOD_FOR).await;
        wait_for_memory(usage, &enough).await;
        assert_eq!(looks.get(), 2);
    }
}
