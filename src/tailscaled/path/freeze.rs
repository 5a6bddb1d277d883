//! Notices a freeze and the thaw after it, by clocks that went on meanwhile.
//!
//! A Lambda function, for one, is frozen between two invocations.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use crate::sync::IgnorePoison;

/// How often the clocks are to be checked.
pub const TICK: Duration = Duration::from_secs(1);
/// Least delay of a tick that counts as a freeze. On a busy machine ticks are late by some hundred milliseconds.
const LATENESS: Duration = Duration::from_secs(3);

/// A reading of two clocks: while a whole machine is frozen, one of them may stand still.
#[derive(Clone, Copy)]
pub struct ClockReading {
    monotonic: Instant,
    wall: SystemTime,
}

impl ClockReading {
    pub fn now() -> Self {
        Self { monotonic: Instant::now(), wall: SystemTime::now() }
    }

    /// Returns the time since `earlier`, by the clock that has gone on further.
    fn since(self, earlier: Self) -> Duration {
        let wall = self.wall.duration_since(earlier.wall).unwrap_or_default();
        self.monotonic.saturating_duration_since(earlier.monotonic).max(wall)
    }

    #[cfg(test)]
    pub fn after(self, monotonic: u64, wall: u64) -> Self {
        let (monotonic, wall) = (Duration::from_secs(monotonic), Duration::from_secs(wall));
        Self { monotonic: self.monotonic + monotonic, wall: self.wall + wall }
    }
}

/// Counts the freezes of the process.
pub struct FreezeDetector {
    last: Mutex<ClockReading>,
    count: AtomicU64,
}

impl Default for FreezeDetector {
    fn default() -> Self {
        Self { last: Mutex::new(ClockReading::now()), count: AtomicU64::new(0) }
    }
}

impl FreezeDetector {
    /// Returns the number of freezes so far.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    /// Compares `now` with the last tick. After a freeze it calls `on_freeze` with the time since that tick, and then
    /// counts the freeze.
    pub fn check(&self, now: ClockReading, on_freeze: impl FnOnce(Duration)) {
        let mut last = self.last.lock().ignore_poison();
        let gap = now.since(*last);
        // A check between two ticks must not move the tick: only the tick, or the end of a freeze, does.
        if gap < TICK {
            return;
        }
        *last = now;
        if gap > TICK + LATENESS {
            on_freeze(gap);
            self.count.fetch_add(1, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(steps: &[(u64, u64)]) -> u64 {
        let freezes = FreezeDetector::default();
        let mut now = ClockReading::now();
        for (monotonic, wall) in steps {
            now = now.after(*monotonic, *wall);
            freezes.check(now, |_| {});
        }
        freezes.count()
    }

    #[test]
    fn ticks_in_time_and_a_little_late_are_no_freeze() {
        assert_eq!(count(&[(1, 1), (1, 1), (3, 3), (1, 1)]), 0);
    }

    #[test]
    fn a_gap_by_either_clock_is_one_freeze() {
        assert_eq!(count(&[(1, 1), (20, 20), (1, 1)]), 1);
        assert_eq!(count(&[(1, 20), (1, 1)]), 1, "the machine stood still");
        assert_eq!(count(&[(20, 0), (1, 1)]), 1, "the wall clock was set back meanwhile");
    }
}
