//! Events of tailscaled's life, which the publisher of the daemon's state reads.

use tokio::sync::mpsc;

use crate::state::Phase;

/// A new phase, and why.
#[derive(Debug)]
pub struct KeeperEvent {
    pub phase: Phase,
    pub reason: String,
    /// Whether dials may work.
    pub dialable: bool,
}

/// The sending side of the events. Clones send to the same receiver.
#[derive(Clone)]
pub struct EventSender(mpsc::UnboundedSender<KeeperEvent>);

impl EventSender {
    pub fn new(sender: mpsc::UnboundedSender<KeeperEvent>) -> Self {
        Self(sender)
    }

    /// Sends that `phase` has begun. Dials may work once it is [`Phase::Ready`].
    pub fn send(&self, phase: Phase, reason: &str) {
        self.send_as(phase, reason, phase == Phase::Ready);
    }

    /// Sends that the node is not ready until it is verified, though dials may work.
    pub fn send_unverified(&self, reason: &str) {
        self.send_as(Phase::Starting, reason, true);
    }

    fn send_as(&self, phase: Phase, reason: &str, dialable: bool) {
        // Nobody listens any more once the daemon is about to exit.
        let _ = self.0.send(KeeperEvent { phase, reason: reason.to_owned(), dialable });
    }
}
