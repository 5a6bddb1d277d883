//! Tells the keeper of tailscaled to end, and by when.

use tokio::sync::watch;
use tokio::time::Instant;

/// Ends one keeper. Dropped, it ends nothing.
pub struct KeeperStop(watch::Sender<Option<Instant>>);

/// Waits for the stop of one keeper. Clones wait for the same one.
#[derive(Clone)]
pub struct StopWatch(watch::Receiver<Option<Instant>>);

impl KeeperStop {
    /// Creates a stop that is not asked for yet, and what waits for it.
    pub fn new() -> (Self, StopWatch) {
        let (sender, receiver) = watch::channel(None);
        (Self(sender), StopWatch(receiver))
    }

    /// Asks the keeper to have ended tailscaled by `by`, after a logout where one is wanted.
    pub fn ask(&self, by: Instant) {
        self.0.send_replace(Some(by));
    }
}

impl StopWatch {
    /// Waits until the stop is asked for. Returns by when tailscaled is to have ended.
    pub async fn asked(&self) -> Instant {
        let mut stop = self.0.clone();
        match stop.wait_for(Option::is_some).await.map(|by| *by) {
            Ok(Some(by)) => by,
            _ => std::future::pending().await,
        }
    }
}
