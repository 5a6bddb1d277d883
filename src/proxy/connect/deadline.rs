//! One deadline for all that a client waits for, and one retry loop until then.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use crate::state::{Phase, Watcher};
use crate::target::dial::DialError;

/// Pause before another attempt. The end of tailscaled is noticed within milliseconds; until then its socket is tried
/// again at this pace.
pub const RETRY: Duration = Duration::from_millis(20);

/// How long after a change of phase, such as to `Ready`, tailscaled may not know every node.
const KNOWS_NODES_AFTER: Duration = Duration::from_secs(1);

/// The time at which a client's wait ends, and the state of the daemon that it waits for.
#[derive(Clone, Copy)]
pub struct Deadline<'a> {
    state: &'a Watcher,
    timeout: Duration,
    at: Instant,
}

impl<'a> Deadline<'a> {
    /// Sets a deadline `timeout` from now.
    pub fn new(state: &'a Watcher, timeout: Duration) -> Self {
        Self { state, timeout, at: Instant::now() + timeout }
    }

    /// Returns how long the daemon has been in its present phase: after `Ready` this is the age of the path.
    pub fn time_in_phase(&self) -> Duration {
        self.state.borrow().entered.elapsed()
    }

    /// Whether the phase has changed so lately that tailscaled may not know every node yet.
    pub fn is_early(&self) -> bool {
        self.time_in_phase() < KNOWS_NODES_AFTER
    }

    /// Makes `attempt` as soon as the tailnet can be dialled, and repeats it as long as `pause_after` returns a pause,
    /// until the deadline at the latest. `doing` says in the error what was under way when the deadline passed.
    pub async fn retry<T, F: Future<Output = Result<T, DialError>>>(
        &self,
        doing: &str,
        attempt: impl Fn() -> F,
        pause_after: impl Fn(&Result<T, DialError>) -> Option<Duration>,
    ) -> Result<T, DialError> {
        loop {
            self.ready().await?;
            let result = self.by(doing, attempt()).await;
            match pause_after(&result) {
                Some(pause) if self.leaves_a_retry() => sleep(pause).await,
                _ => return result,
            }
        }
    }

    /// Waits for `step` until the deadline; `doing` says in the error what did not finish.
    pub async fn by<T>(&self, doing: &str, step: impl Future<Output = Result<T, DialError>>) -> Result<T, DialError> {
        timeout_at(self.at, step).await.unwrap_or_else(|_| Err(self.too_late(doing)))
    }

    /// Returns when a dial makes sense, or at the deadline with the reason why none does.
    async fn ready(&self) -> Result<(), DialError> {
        let ready = timeout_at(self.at, wait_until_dialable(self.state)).await;
        ready.unwrap_or_else(|_| Err(self.too_late(&why_waiting(self.state))))
    }

    /// Whether there is time left for one more try.
    pub fn leaves_a_retry(&self) -> bool {
        Instant::now() + RETRY < self.at
    }

    fn too_late(&self, doing: &str) -> DialError {
        DialError::TimedOut(format!("{doing} after {}", humantime::format_duration(self.timeout)))
    }
}

/// Returns [`RETRY`] where tailscaled could not be asked: it is ending or starting.
pub fn pause_without_tailscaled<T>(result: &Result<T, DialError>) -> Option<Duration> {
    matches!(result, Err(DialError::Tailscaled(_))).then_some(RETRY)
}

/// Returns when a dial makes sense. While the daemon drains, its tailscaled still works for clients that connected
/// before, unless the daemon never was ready.
async fn wait_until_dialable(state: &Watcher) -> Result<(), DialError> {
    let stopping = || DialError::Network("tetherd is stopping".into());
    let mut state = state.clone();
    let now = state.wait_for(|state| state.dialable || state.is_ending()).await.map_err(|_| stopping())?;
    match now.phase {
        Phase::Failed => Err(DialError::Network(now.reason.clone())),
        Phase::Draining if now.time_to_ready.is_none() => Err(stopping()),
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
