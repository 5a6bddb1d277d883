//! Doubts the path through the tailnet when a dial is silent and none was answered of late: with a trickle of CPU, as
//! between two requests of Cloud Run, the flows it is made of die unnoticed, and no clock tells.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::tailscaled::path::health::PathHealth;

/// A path that answered a dial more recently is not doubted: the target itself is silent.
const QUIET: Duration = Duration::from_secs(10);

/// New connections stall for a moment what runs over the path. A target that is down for good must not do that over and
/// over: longer than the usual deadline of one dial.
const AGAIN: Duration = Duration::from_secs(30);

#[derive(Default)]
pub struct Doubt {
    is_open: AtomicBool,
    last: Mutex<Option<Instant>>,
}

impl Doubt {
    /// A dial is silent.
    pub fn raise(&self, path: &PathHealth) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if !path.is_quiet_for(QUIET) || last.is_some_and(|last| last.elapsed() < AGAIN) {
            return;
        }
        *last = Some(Instant::now());
        self.is_open.store(true, Ordering::Release);
        tracing::info!("a dial is silent, and none was answered of late; tailscaled makes its connections anew");
    }

    /// Whether tailscaled is not told yet.
    pub fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Acquire)
    }

    /// It is.
    pub fn settle(&self) {
        self.is_open.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn a_silent_dial_is_a_doubt_unless_there_was_an_answer_or_a_doubt_of_late() {
        let (path, doubt) = (PathHealth::default(), Doubt::default());
        let is_raised = || {
            doubt.raise(&path);
            let is_open = doubt.is_open();
            doubt.settle();
            is_open
        };
        path.answered();
        assert!(!is_raised(), "the path has just answered");
        advance(QUIET).await;
        assert!(is_raised(), "no answer for a while");
        advance(AGAIN / 2).await;
        assert!(!is_raised(), "once is enough for some time");
        advance(AGAIN / 2).await;
        assert!(is_raised(), "the time is over");
    }
}
