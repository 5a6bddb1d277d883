//! What is reported of tailscaled: keeper and session tell it, the supervisor alone publishes it.

use tokio::sync::mpsc;

use crate::state::Phase;

/// What the keeper finds out, for the one who publishes the state.
#[derive(Debug)]
pub struct Report {
    pub phase: Phase,
    pub reason: String,
    /// Whether dialling makes sense.
    pub dialable: bool,
}

/// The sending side of the reports.
#[derive(Clone)]
pub struct Reports(mpsc::UnboundedSender<Report>);

impl Reports {
    pub fn new(sender: mpsc::UnboundedSender<Report>) -> Self {
        Self(sender)
    }

    pub fn send(&self, phase: Phase, reason: &str) {
        self.send_as(phase, reason, phase == Phase::Ready);
    }

    /// For a daemon that is not ready, though dials may work.
    pub fn send_doubt(&self, reason: &str) {
        self.send_as(Phase::Starting, reason, true);
    }

    fn send_as(&self, phase: Phase, reason: &str, dialable: bool) {
        // Nobody listens any more once the daemon is about to exit.
        let _ = self.0.send(Report { phase, reason: reason.to_owned(), dialable });
    }
}
