//! Notices that the process was frozen, as between two invocations of a Lambda function: its clocks have gone on without
//! it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// How often somebody has to look.
pub const TICK: Duration = Duration::from_secs(1);
/// A tick so much late means that the process was frozen; one of a busy machine is late by some hundred milliseconds.
const LATE: Duration = Duration::from_secs(3);

/// By both clocks: where a whole machine is frozen, one of them may stand still.
#[derive(Clone, Copy)]
pub struct Moment {
    monotonic: Instant,
    wall: SystemTime,
}

impl Moment {
    pub fn now() -> Self {
        Self { monotonic: Instant::now(), wall: SystemTime::now() }
    }

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

/// Counts them.
pub struct Freezes {
    last: Mutex<Moment>,
    count: AtomicU64,
}

impl Default for Freezes {
    fn default() -> Self {
        Self { last: Mutex::new(Moment::now()), count: AtomicU64::new(0) }
    }
}

impl Freezes {
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    /// `frozen` hears of a freeze that has just ended, and how long it was, before it counts.
    pub fn look(&self, now: Moment, frozen: impl FnOnce(Duration)) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let gap = now.since(*last);
        // A look between two ticks must not move the tick: only the tick, or a thaw, does.
        if gap < TICK {
            return;
        }
        *last = now;
        if gap > TICK + LATE {
            frozen(gap);
            self.count.fetch_add(1, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(steps: &[(u64, u64)]) -> u64 {
        let freezes = Freezes::default();
        let mut now = Moment::now();
        for (monotonic, wall) in steps {
            now = now.after(*monotonic, *wall);
            freezes.look(now, |_| {});
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
