//! Suspects the path through the tailnet from how dials end. A node deleted at the control server goes on saying
//! Running and Online while no dial is answered; only the dials tell.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// As many silences in a row, and no answer between them, make the path suspect.
const SUSPECT_AFTER: u32 = 2;

/// Shared by the connector, which reports, and the keeper, which asks. Clones are the same watch.
#[derive(Clone, Default)]
pub struct PathHealth(Arc<Inner>);

#[derive(Default)]
struct Inner {
    silences: Mutex<u32>,
    last_answer: Mutex<Option<Instant>>,
    /// No answer has followed the last thaw.
    unproven: AtomicBool,
    suspect: Notify,
    answered: Notify,
}

impl PathHealth {
    /// A dial got an answer through the tailnet: a connection, or a target's refusal.
    pub fn answered(&self) {
        *self.silences() = 0;
        *self.last_answer() = Some(Instant::now());
        self.0.unproven.store(false, Ordering::Relaxed);
        self.0.answered.notify_waiters();
    }

    /// A dial got no answer for a while.
    pub fn silent(&self) {
        let mut silences = self.silences();
        *silences += 1;
        if *silences >= SUSPECT_AFTER {
            self.0.suspect.notify_one();
        }
    }

    /// Waits until the path is suspect, then starts counting anew.
    pub async fn suspect(&self) {
        loop {
            self.0.suspect.notified().await;
            let mut silences = self.silences();
            if *silences >= SUSPECT_AFTER {
                *silences = 0;
                return;
            }
        }
    }

    /// Whether no dial was answered for so long.
    pub fn is_quiet_for(&self, time: Duration) -> bool {
        self.last_answer().is_none_or(|last| last.elapsed() >= time)
    }

    /// Waits for the next answer.
    pub async fn next_answer(&self) {
        self.0.answered.notified().await;
    }

    /// The process was frozen, and with it whatever the path is made of.
    pub fn thawed(&self) {
        *self.silences() = 0;
        self.0.unproven.store(true, Ordering::Relaxed);
    }

    /// Whether no answer has followed the last thaw. Told once for each.
    pub fn take_unproven(&self) -> bool {
        self.0.unproven.swap(false, Ordering::Relaxed)
    }

    fn last_answer(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.last_answer.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn silences(&self) -> MutexGuard<'_, u32> {
        self.0.silences.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::task::{Context, Waker};

    fn is_suspect(watch: &PathHealth) -> bool {
        let mut suspect = std::pin::pin!(watch.suspect());
        suspect.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn silences_in_a_row_are_suspect_one_alone_is_not() {
        let watch = PathHealth::default();
        watch.silent();
        assert!(!is_suspect(&watch));
        watch.silent();
        assert!(is_suspect(&watch));
        assert!(!is_suspect(&watch), "counting starts anew");
    }

    #[test]
    fn a_thaw_leaves_the_path_unproven_until_an_answer() {
        let watch = PathHealth::default();
        assert!(!watch.take_unproven(), "never frozen");
        watch.thawed();
        assert!(watch.take_unproven());
        assert!(!watch.take_unproven(), "once for each thaw");
        watch.thawed();
        watch.answered();
        assert!(!watch.take_unproven(), "it works");
    }

    #[test]
    fn an_answer_between_them_clears_the_path() {
        let watch = PathHealth::default();
        watch.silent();
        watch.answered();
        watch.silent();
        assert!(!is_suspect(&watch));
        watch.silent();
        watch.answered();
        assert!(!is_suspect(&watch), "an answer clears a suspicion that nobody has looked at");
    }
}
