//! The restart backoff of tailscaled: how long to wait, and when to give up.
//!
//! Logins have a backoff of their own (`session/login`).

use std::time::Duration;

/// The first pause after short runs; each further run doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A run of at least this length, or one that got ready, does not count as a failed start.
const LONG_RUN: Duration = Duration::from_secs(60);

/// A run of less than this still lengthens the wait before the next.
const STABLE_RUN: Duration = Duration::from_secs(10);

/// Number of failed starts in a row after which tailscaled cannot run here: about 4 s of pauses.
const MOST_FAILED_STARTS: u32 = 8;

/// Number of failed starts in a row after which tailscaled cannot run here any more, for a daemon that was ready
/// before: an upgrade, or memory that is short for a while, may take half a minute.
const MOST_FAILED_STARTS_ONCE_READY: u32 = 10;

/// How one run of tailscaled went.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    pub lasted: Duration,
    pub was_ready: bool,
}

/// Counts short runs and failed starts in a row.
#[derive(Debug, Default)]
pub struct Backoff {
    short_runs: u32,
    failed_starts: u32,
}

impl Backoff {
    /// Returns the pause before the start that follows `run`; `None` when a start is pointless. A daemon that was
    /// `ever_ready` is given more time.
    pub fn after(&mut self, run: Run, ever_ready: bool) -> Option<Duration> {
        let failed = !run.was_ready && run.lasted < LONG_RUN;
        self.failed_starts = if failed { self.failed_starts + 1 } else { 0 };
        if self.failed_starts >= if ever_ready { MOST_FAILED_STARTS_ONCE_READY } else { MOST_FAILED_STARTS } {
            return None;
        }
        let stable = run.lasted >= STABLE_RUN && !failed;
        self.short_runs = if stable { 0 } else { self.short_runs + 1 };
        // The first restart is immediate: whoever waits for it has waited long enough.
        let pause = self.short_runs.checked_sub(2).map(|doublings| FIRST_PAUSE * 2_u32.pow(doublings.min(16)));
        Some(pause.unwrap_or_default().min(LONGEST_PAUSE))
    }
}

/// Returns `pause` and up to a quarter more, so that the daemons of one host do not all start tailscaled at the same
/// moment.
pub fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(1.0 + fastrand::f64() / 4.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const READY: Run = Run { lasted: Duration::from_secs(3), was_ready: true };
    const FAILED: Run = Run { lasted: Duration::from_millis(10), was_ready: false };

    #[test]
    fn kills_some_seconds_apart_are_followed_by_quick_restarts() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..3).map(|_| backoff.after(READY, true).expect("goes on")).collect();
        assert_eq!(waits, [Duration::ZERO, FIRST_PAUSE, FIRST_PAUSE * 2]);
    }

    #[test]
    fn a_stable_run_starts_the_row_anew() {
        let mut backoff = Backoff::default();
        (0..5).for_each(|_| assert!(backoff.after(READY, true).is_some()));
        let stable = Run { lasted: STABLE_RUN, was_ready: true };
        assert_eq!(backoff.after(stable, true), Some(Duration::ZERO));
        assert_eq!(backoff.after(READY, true), Some(Duration::ZERO));
    }

    #[test]
    fn starts_that_never_get_ready_end_in_giving_up() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..MOST_FAILED_STARTS).map(|_| backoff.after(FAILED, false)).collect();
        assert_eq!(waits.iter().filter(|wait| wait.is_none()).count(), 1);
        assert_eq!(waits.last(), Some(&None));
        let mut backoff = Backoff::default();
        assert_eq!(backoff.after(READY, true), Some(Duration::ZERO));
        let waits: Vec<_> = (0..MOST_FAILED_STARTS_ONCE_READY).map(|_| backoff.after(FAILED, true)).collect();
        let seconds = waits.iter().flatten().sum::<Duration>().as_secs();
        assert!((20..30).contains(&seconds), "{seconds} s");
        assert_eq!(waits.last(), Some(&None));
    }

    #[test]
    fn a_daemon_that_gets_ready_again_never_gives_up_and_waits_at_most_the_longest() {
        let mut backoff = Backoff::default();
        let runs = (0..100).map(|number| if number % 2 == 0 { READY } else { FAILED });
        let waits: Vec<_> = runs.map(|run| backoff.after(run, true).expect("goes on")).collect();
        assert_eq!(waits.last(), Some(&LONGEST_PAUSE));
    }
}
