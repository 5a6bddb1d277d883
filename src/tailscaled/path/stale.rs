//! Suspects that the path through the tailnet has gone stale.
//!
//! The sign of it is a silent dial while no other was answered of late. With a trickle of CPU, as between two requests
//! of Cloud Run, the flows that make the path die unnoticed, and no clock tells.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::sync::IgnorePoison;
use crate::tailscaled::path::health::PathHealth;

/// How long no dial must have been answered before a silent one makes the path suspect. When a dial was answered more
/// recently, it is the target that is silent.
const QUIET: Duration = Duration::from_secs(10);

/// Pause between two suspicions, longer than the usual deadline of a dial: a rebind stalls for a moment what runs over
/// the path, and a target that is down for good must not cause that over and over.
const PAUSE: Duration = Duration::from_secs(30);

/// The suspicion that the path has gone stale.
#[derive(Default)]
pub struct StalePath {
    is_suspect: AtomicBool,
    last_suspicion: Mutex<Option<Instant>>,
}

impl StalePath {
    /// Reports a silent dial, which makes the path suspect unless a dial was answered, or the path suspected, of late.
    pub fn dial_is_silent(&self, path: &PathHealth) {
        let mut last = self.last_suspicion.lock().ignore_poison();
        if !path.is_quiet_for(QUIET) || last.is_some_and(|last| last.elapsed() < PAUSE) {
            return;
        }
        *last = Some(Instant::now());
        self.is_suspect.store(true, Ordering::Release);
        tracing::info!("a dial is silent, and none was answered of late; tailscaled makes its connections anew");
    }

    /// Whether the path is suspect now.
    pub fn is_suspect(&self) -> bool {
        self.is_suspect.load(Ordering::Acquire)
    }

    /// Clears the suspicion, once tailscaled has made its connections anew.
    pub fn clear(&self) {
        self.is_suspect.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn a_silent_dial_is_a_doubt_unless_there_was_an_answer_or_a_doubt_of_late() {
        let (path, stale) = (PathHealth::default(), StalePath::default());
        let becomes_suspect = || {
            stale.dial_is_silent(&path);
            let is_suspect = stale.is_suspect();
            stale.clear();
            is_suspect
        };
        path.answered();
        assert!(!becomes_suspect(), "the path has just answered");
        advance(QUIET).await;
        assert!(becomes_suspect(), "no answer for a while");
        advance(PAUSE / 2).await;
        assert!(!becomes_suspect(), "once is enough for some time");
        advance(PAUSE / 2).await;
        assert!(becomes_suspect(), "the time is over");
    }
}
