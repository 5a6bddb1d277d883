//! The daemon's published state: one value with one writer and many watchers.

use std::time::{Duration, SystemTime};

use serde::Serialize;
use tokio::sync::watch;
use tokio::time::Instant;

/// What the daemon does now. The names are part of the HTTP and status output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Phase {
    /// tailscaled is starting, or joining the tailnet for the first time.
    Starting,
    /// The control server wants a login: no key yet, approval pending, or the node was deleted or has expired.
    NeedsLogin,
    /// A connection through the tailnet would work now.
    Ready,
    /// tailscaled ended or hung and is being started again.
    Restarting,
    /// A stop was asked for: nothing new is accepted, running connections finish.
    Draining,
    /// The daemon cannot go on and is about to exit.
    Failed,
}

impl Phase {
    /// All phases, with their names.
    pub const ALL: [(Self, &str); 6] = [
        (Self::Starting, "Starting"),
        (Self::NeedsLogin, "NeedsLogin"),
        (Self::Ready, "Ready"),
        (Self::Restarting, "Restarting"),
        (Self::Draining, "Draining"),
        (Self::Failed, "Failed"),
    ];
}

/// The published state.
#[derive(Clone, Debug)]
pub struct State {
    pub phase: Phase,
    /// One sentence for a person: why the daemon is in this phase.
    pub reason: String,
    /// Whether dialling makes sense. True also while it is verified that the
    /// control server still knows the node, though the daemon is not ready then.
    pub dialable: bool,
    /// When this phase began, for a person.
    pub since: SystemTime,
    /// When this phase began, to measure by: clocks can be set.
    pub entered: Instant,
    /// Time from the daemon's start to the first `Ready`; `None` until then.
    pub time_to_ready: Option<Duration>,
    /// Reason of the newest phase that was a fault, kept after the fault is over.
    pub last_error: Option<String>,
}

impl State {
    /// Whether a connection through the tailnet would work now.
    pub fn is_ready(&self) -> bool {
        self.phase == Phase::Ready
    }

    /// Whether waiting for `Ready` is pointless.
    pub fn is_ending(&self) -> bool {
        matches!(self.phase, Phase::Draining | Phase::Failed)
    }
}

/// The one writer of the state.
pub struct Publisher {
    sender: watch::Sender<State>,
    started: Instant,
}

/// A reader of the state that can also wait for changes.
pub type Watcher = watch::Receiver<State>;

impl Publisher {
    /// Publishes [`Phase::Starting`].
    pub fn new() -> Self {
        let state = State {
            phase: Phase::Starting,
            reason: "tailscaled is starting".into(),
            dialable: false,
            since: SystemTime::now(),
            entered: Instant::now(),
            time_to_ready: None,
            last_error: None,
        };
        Self { sender: watch::Sender::new(state), started: Instant::now() }
    }

    /// Returns a reader of the state.
    pub fn watch(&self) -> Watcher {
        self.sender.subscribe()
    }

    /// Publishes `phase`. Dialling makes sense when it is `Ready`.
    pub fn publish(&self, phase: Phase, reason: &str) {
        self.publish_as(phase, reason, phase == Phase::Ready);
    }

    /// Publishes `phase`, unless phase and reason are published already. Once the daemon is ending, only a further step
    /// towards the end is taken.
    pub fn publish_as(&self, phase: Phase, reason: &str, dialable: bool) {
        let changed = self.sender.send_if_modified(|state| {
            let ending = state.is_ending() && !matches!(phase, Phase::Draining | Phase::Failed);
            if ending || (state.phase == phase && state.reason == reason && state.dialable == dialable) {
                return false;
            }
            if state.phase != phase {
                state.since = SystemTime::now();
                state.entered = Instant::now();
            }
            if phase == Phase::Ready {
                state.time_to_ready.get_or_insert_with(|| self.started.elapsed());
            } else if matches!(phase, Phase::Restarting | Phase::NeedsLogin | Phase::Failed) || dialable {
                state.last_error = Some(reason.to_owned());
            }
            state.phase = phase;
            state.dialable = dialable;
            state.reason = reason.to_owned();
            true
        });
        if changed {
            tracing::info!(?phase, reason, "phase");
        }
    }
}

impl Default for Publisher {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_can_go_false_again_and_time_to_ready_stays() {
        let publisher = Publisher::new();
        let watcher = publisher.watch();
        publisher.publish(Phase::Ready, "joined");
        let first = watcher.borrow().time_to_ready;
        assert!(first.is_some() && watcher.borrow().is_ready());
        publisher.publish(Phase::Restarting, "tailscaled was killed");
        assert!(!watcher.borrow().is_ready());
        assert_eq!(watcher.borrow().last_error.as_deref(), Some("tailscaled was killed"));
        publisher.publish(Phase::Ready, "joined");
        assert_eq!(watcher.borrow().time_to_ready, first);
    }

    #[test]
    fn draining_is_not_left_for_ready() {
        let publisher = Publisher::new();
        publisher.publish(Phase::Draining, "SIGTERM");
        publisher.publish(Phase::Ready, "joined");
        assert_eq!(publisher.watch().borrow().phase, Phase::Draining);
    }

    #[test]
    fn since_marks_the_begin_of_the_phase_not_of_its_reason() {
        let publisher = Publisher::new();
        let before = publisher.watch().borrow().since;
        publisher.publish(Phase::Starting, "waiting for the control server");
        assert_eq!(publisher.watch().borrow().since, before);
    }
}
