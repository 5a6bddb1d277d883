//! Holds the join back until the platform says that it may begin.
//!
//! Lambda's SnapStart makes many environments of one snapshot: what is joined, or fetched, before it would be the same in
//! all of them.

use tokio::sync::watch;

/// What the daemon waits for before it joins. Clones wait for the same; the default waits for nothing.
#[derive(Clone, Debug, Default)]
pub struct StartGate(Option<watch::Receiver<bool>>);

/// Opens a [`StartGate`].
#[derive(Debug)]
pub struct GateKey(watch::Sender<bool>);

impl StartGate {
    /// Creates a closed gate, and what opens it.
    pub fn closed() -> (GateKey, Self) {
        let (sender, receiver) = watch::channel(false);
        (GateKey(sender), Self(Some(receiver)))
    }

    /// Whether the join may begin.
    pub fn is_open(&self) -> bool {
        self.0.as_ref().is_none_or(|receiver| *receiver.borrow())
    }

    /// Waits until the join may begin; for ever where nobody can open the gate any more.
    pub async fn opened(&self) {
        let Some(mut receiver) = self.0.clone() else { return };
        if receiver.wait_for(|open| *open).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl GateKey {
    /// Opens the gate. Returns whether it was closed.
    pub fn open(&self) -> bool {
        !self.0.send_replace(true)
    }
}
