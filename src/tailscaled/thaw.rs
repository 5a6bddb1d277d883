//! Notices that the process was frozen, as between two invocations of a Lambda function, and has tailscaled make its
//! connections anew before the next dial: the old ones are dead without knowing it, and dials over them fail for 20 s.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex as SyncMutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{Mutex, Notify};
use tokio::time::{sleep, timeout};

use super::local_api::LocalApi;
use super::path_watch::PathWatch;

const TICK: Duration = Duration::from_secs(1);
/// A tick so much late means that the process was frozen; one of a busy machine is late by some hundred milliseconds.
const LATE: Duration = Duration::from_secs(3);
/// tailscaled answers within 3 ms. One that does not is restarted, which helps as well.
const PATIENCE: Duration = Duration::from_secs(2);

/// Watches the time. Clones share what they know.
#[derive(Clone)]
pub struct Thaw(Arc<Inner>);

struct Inner {
    api: LocalApi,
    path: PathWatch,
    last: SyncMutex<Moment>,
    /// tailscaled is still to be told.
    owed: AtomicBool,
    turn: Mutex<()>,
    thaws: AtomicU64,
    unmended: Notify,
}

/// By both clocks: where a whole machine is frozen, one of them may stand still.
#[derive(Clone, Copy)]
struct Moment {
    monotonic: Instant,
    wall: SystemTime,
}

impl Moment {
    fn now() -> Self {
        Self { monotonic: Instant::now(), wall: SystemTime::now() }
    }

    fn since(self, earlier: Self) -> Duration {
        let wall = self.wall.duration_since(earlier.wall).unwrap_or_default();
        self.monotonic.saturating_duration_since(earlier.monotonic).max(wall)
    }
}

impl Thaw {
    /// `path` hears of each thaw.
    pub fn new(api: LocalApi, path: PathWatch) -> Self {
        Self(Arc::new(Inner {
            api,
            path,
            last: SyncMutex::new(Moment::now()),
            owed: AtomicBool::new(false),
            turn: Mutex::new(()),
            thaws: AtomicU64::new(0),
            unmended: Notify::new(),
        }))
    }

    /// Looks at the clocks once a second, for ever.
    pub async fn keep_watch(self) {
        loop {
            sleep(TICK).await;
            self.settle().await;
        }
    }

    /// To be called before each dial: ends at once, unless the process was frozen and tailscaled is not told yet.
    pub async fn settle(&self) {
        self.look(Moment::now());
        if !self.0.owed.load(Ordering::Acquire) {
            return;
        }
        let turn = self.0.turn.lock().await;
        if self.0.owed.load(Ordering::Acquire) {
            self.rebind().await;
            self.0.owed.store(false, Ordering::Release);
        }
        drop(turn);
    }

    /// Ends when tailscaled could not be told, and is to be restarted.
    pub async fn unmended(&self) {
        self.0.unmended.notified().await;
    }

    /// How often the process was frozen.
    pub fn count(&self) -> u64 {
        self.0.thaws.load(Ordering::Relaxed)
    }

    fn look(&self, now: Moment) {
        let mut last = self.0.last.lock().unwrap_or_else(PoisonError::into_inner);
        let gap = now.since(*last);
        // A dial between two ticks must not move the tick: only the tick, or a thaw, does.
        if gap < TICK {
            return;
        }
        *last = now;
        if gap > TICK + LATE {
            self.0.owed.store(true, Ordering::Release);
            self.0.thaws.fetch_add(1, Ordering::Relaxed);
            self.0.path.thawed();
            tracing::info!(seconds = gap.as_secs(), "frozen for a while; tailscaled makes its connections anew");
        }
    }

    async fn rebind(&self) {
        let error = match timeout(PATIENCE, self.0.api.rebind()).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer".to_owned(),
        };
        tracing::warn!(error, "tailscaled could not be told to make its connections anew; it is restarted");
        self.0.unmended.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(moment: Moment, monotonic: u64, wall: u64) -> Moment {
        let (monotonic, wall) = (Duration::from_secs(monotonic), Duration::from_secs(wall));
        Moment { monotonic: moment.monotonic + monotonic, wall: moment.wall + wall }
    }

    fn thaws(steps: &[(u64, u64)]) -> u64 {
        let thaw = Thaw::new(LocalApi::new("/nowhere".into()), PathWatch::default());
        let mut now = Moment::now();
        for (monotonic, wall) in steps {
            now = after(now, *monotonic, *wall);
            thaw.look(now);
        }
        thaw.count()
    }

    #[test]
    fn ticks_in_time_and_a_little_late_are_no_freeze() {
        assert_eq!(thaws(&[(1, 1), (1, 1), (3, 3), (1, 1)]), 0);
    }

    #[test]
    fn a_gap_by_either_clock_is_one_freeze() {
        assert_eq!(thaws(&[(1, 1), (20, 20), (1, 1)]), 1);
        assert_eq!(thaws(&[(1, 20), (1, 1)]), 1, "the machine stood still");
        assert_eq!(thaws(&[(20, 0), (1, 1)]), 1, "the wall clock was set back meanwhile");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_tailscaled_that_cannot_be_told_is_to_be_restarted() {
        let thaw = Thaw::new(LocalApi::new("/nowhere".into()), PathWatch::default());
        thaw.settle().await;
        thaw.look(after(Moment::now(), 20, 20));
        thaw.settle().await;
        timeout(Duration::from_secs(1), thaw.unmended()).await.expect("is said");
        assert!(!thaw.0.owed.load(Ordering::Relaxed), "it is told once");
    }
}
