//! One deadline for everything that a client waits for: that the tailnet is there, and each step after that.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::state::{Phase, Watcher};
use crate::target::dial::DialError;

/// tailscaled that has just ended is noticed within milliseconds; until then its socket is tried again at this pace.
pub const RETRY: Duration = Duration::from_millis(20);

/// So long after its start tailscaled may not have heard of every node.
const KNOWS_NODES_AFTER: Duration = Duration::from_secs(1);

/// When waiting ends, and what is waited for.
#[derive(Clone, Copy)]
pub struct Deadline<'a> {
    state: &'a Watcher,
    timeout: Duration,
    at: Instant,
}

impl<'a> Deadline<'a> {
    /// `timeout` from now on.
    pub fn new(state: &'a Watcher, timeout: Duration) -> Self {
        Self { state, timeout, at: Instant::now() + timeout }
    }

    /// Whether tailscaled has started so lately that it may not have heard of every node.
    pub fn is_early(&self) -> bool {
        self.state.borrow().entered.elapsed() < KNOWS_NODES_AFTER
    }

    /// Whether there is time left for one more try.
    pub fn leaves_a_retry(&self) -> bool {
        Instant::now() + RETRY < self.at
    }

    /// Ends when a dial makes sense, or with the reason why none does by the deadline.
    pub async fn ready(&self) -> Result<(), DialError> {
        let ready = timeout_at(self.at, wait_until_dialable(self.state)).await;
        ready.unwrap_or_else(|_| Err(self.too_late(&why_waiting(self.state))))
    }

    /// Lets `step` finish by the deadline; `doing` says in the error what took too long.
    pub async fn by<T>(&self, doing: &str, step: impl Future<Output = Result<T, DialError>>) -> Result<T, DialError> {
        timeout_at(self.at, step).await.unwrap_or_else(|_| Err(self.too_late(doing)))
    }

    fn too_late(&self, doing: &str) -> DialError {
        DialError::TimedOut(format!("{doing} after {}", humantime::format_duration(self.timeout)))
    }
}

/// Ends when a dial makes sense. A draining daemon's tailscaled still works for connections that were there before.
pub async fn wait_until_dialable(state: &Watcher) -> Result<(), DialError> {
    let gone = || DialError::Network("tetherd is stopping".into());
    let mut state = state.clone();
    let now = state.wait_for(|state| state.dialable || state.is_ending()).await.map_err(|_| gone())?;
    match now.phase {
        Phase::Failed => Err(DialError::Network(now.reason.clone())),
        Phase::Draining if now.time_to_ready.is_none() => Err(gone()),
        _ => Ok(()),
    }
}

fn why_waiting(state: &Watcher) -> String {
    let state = state.borrow();
    format!("the tailnet is not ready ({:?}: {})", state.phase, state.reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Publisher;

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn who_comes_early_waits_and_times_out_with_the_reason() {
        let publisher = Publisher::new();
        let state = publisher.watch();
        let started = Instant::now();
        let error = Deadline::new(&state, Duration::from_secs(3)).ready().await.expect_err("is not ready");
        assert!(matches!(&error, DialError::TimedOut(text) if text.contains("tailscaled is starting")), "{error}");
        assert_eq!(started.elapsed().as_secs(), 3);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_failed_daemon_keeps_nobody_waiting() {
        let publisher = Publisher::new();
        publisher.publish(Phase::Failed, "no tailscaled");
        let state = publisher.watch();
        let error = Deadline::new(&state, Duration::from_secs(60)).ready().await.expect_err("has failed");
        assert!(matches!(error, DialError::Network(_)), "{error}");
    }
}
