//! Suspects the path through the tailnet from how dials end.
//!
//! A node that was deleted at the control server still has the state Running and Online while no dial is answered: only
//! the dials show it.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::sync::IgnorePoison;

/// Number of silent dials in a row, with no answer between them, that make the path suspect.
const SUSPECT_AFTER: u32 = 2;

/// Health of the path. The connector reports how dials end, and the session reads the result. Clones share it.
#[derive(Clone, Default)]
pub struct PathHealth(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// Silent dials since the last answer.
    silences: Mutex<u32>,
    last_answer: Mutex<Option<Instant>>,
    /// Whether no answer has followed the last freeze.
    unproven: AtomicBool,
    suspect: Notify,
    answered: Notify,
}

impl PathHealth {
    /// Reports a dial that got an answer through the tailnet: a connection, or a target's refusal.
    pub fn answered(&self) {
        *self.silences() = 0;
        *self.last_answer() = Some(Instant::now());
        self.0.unproven.store(false, Ordering::Relaxed);
        self.0.answered.notify_waiters();
    }

    /// Reports a dial that got no answer for a while.
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

    /// Whether no dial was answered for `time`.
    pub fn is_quiet_for(&self, time: Duration) -> bool {
        self.last_answer().is_none_or(|last| last.elapsed() >= time)
    }

    /// Whether a dial was answered after `since`; never where that is `None`.
    pub fn has_answered(&self, since: Option<Instant>) -> bool {
        since.zip(*self.last_answer()).is_some_and(|(since, last)| last > since)
    }

    /// Waits for a dial that is answered after `since`, which may have been before this is called.
    pub async fn answer(&self, since: Option<Instant>) {
        let mut answered = pin!(self.0.answered.notified());
        // What is answered from here on is told, what was before is looked up.
        answered.as_mut().enable();
        if !self.has_answered(since) {
            answered.await;
        }
    }

    /// Reports that the process was frozen, and with it the connections of the path.
    pub fn frozen(&self) {
        *self.silences() = 0;
        self.0.unproven.store(true, Ordering::Relaxed);
    }

    /// Whether no answer has followed the last freeze. True once for each freeze.
    pub fn take_unproven(&self) -> bool {
        self.0.unproven.swap(false, Ordering::Relaxed)
    }

    fn last_answer(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.last_answer.lock().ignore_poison()
    }

    fn silences(&self) -> MutexGuard<'_, u32> {
        self.0.silences.lock().ignore_poison()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::task::{Context, Waker};
    use tokio::time::{advance, timeout};

    fn is_suspect(health: &PathHealth) -> bool {
        let mut suspect = std::pin::pin!(health.suspect());
        suspect.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn silences_in_a_row_are_suspect_one_alone_is_not() {
        let health = PathHealth::default();
        health.silent();
        assert!(!is_suspect(&health));
        health.silent();
        assert!(is_suspect(&health));
        assert!(!is_suspect(&health), "counting starts anew");
    }

    #[test]
    fn a_thaw_leaves_the_path_unproven_until_an_answer() {
        let health = PathHealth::default();
        assert!(!health.take_unproven(), "never frozen");
        health.frozen();
        assert!(health.take_unproven());
        assert!(!health.take_unproven(), "once for each thaw");
        health.frozen();
        health.answered();
        assert!(!health.take_unproven(), "it works");
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn an_answer_counts_whether_it_is_waited_for_or_not() {
        let health = PathHealth::default();
        health.answered();
        advance(Duration::from_millis(1)).await;
        let since = Some(Instant::now());
        advance(Duration::from_millis(1)).await;
        let second = Duration::from_secs(1);
        assert!(timeout(second, health.answer(since)).await.is_err(), "it was answered before alone");
        health.answered();
        assert!(timeout(second, health.answer(since)).await.is_ok(), "nobody has waited");
        assert!(health.has_answered(since) && !health.has_answered(None));
    }

    #[test]
    fn an_answer_between_them_clears_the_path() {
        let health = PathHealth::default();
        health.silent();
        health.answered();
        health.silent();
        assert!(!is_suspect(&health));
        health.silent();
        health.answered();
        assert!(!is_suspect(&health), "an answer clears a suspicion that nobody has looked at");
    }
}
