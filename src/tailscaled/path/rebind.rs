//! After a freeze of the process has tailscaled make its connections anew before the next dial: the old ones are dead
//! without knowing it, and dials over them fail for 20 s. The same where they may have died unnoticed, as with a trickle
//! of CPU: a dial is silent, and none was answered of late.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio::time::sleep;

use crate::tailscaled::local_api::{LocalApi, LocalApiError};
use crate::tailscaled::path::freeze::{Freezes, Moment, TICK};
use crate::tailscaled::path::health::PathHealth;
use crate::tailscaled::path::stale::Doubt;
use crate::tailscaled::path::timeout::within;

/// tailscaled answers within 3 ms. One that does not is restarted, which helps as well.
const PATIENCE: Duration = Duration::from_secs(2);

/// Watches the time. Clones share what they know.
#[derive(Clone)]
pub struct Rebinder(Arc<Inner>);

struct Inner {
    api: LocalApi,
    path: PathHealth,
    freezes: Freezes,
    /// As many of them tailscaled was told of.
    told: AtomicU64,
    doubt: Doubt,
    turn: Mutex<()>,
    unmended: watch::Sender<()>,
}

impl Rebinder {
    /// `path` hears of each thaw.
    pub fn new(api: LocalApi, path: PathHealth) -> Self {
        Self(Arc::new(Inner {
            api,
            path,
            freezes: Freezes::default(),
            told: AtomicU64::new(0),
            doubt: Doubt::default(),
            turn: Mutex::new(()),
            unmended: watch::Sender::new(()),
        }))
    }

    /// Looks at the clocks once a second, for ever.
    pub async fn keep_watch(self) {
        loop {
            sleep(TICK).await;
            self.settle().await;
        }
    }

    /// To be called when a dial is silent: before the next one tailscaled makes its connections anew, if none was answered
    /// for a while.
    pub fn doubt(&self) {
        self.0.doubt.raise(&self.0.path);
    }

    /// To be called before each dial: ends at once, unless the process was frozen, or the path is in doubt, and
    /// tailscaled is not told yet.
    pub async fn settle(&self) {
        self.look(Moment::now());
        if !self.is_told() {
            // What every dial carries with it stays small.
            Box::pin(self.tell()).await;
        }
    }

    async fn tell(&self) {
        let turn = self.0.turn.lock().await;
        // Frozen once more meanwhile, it has to be told once more.
        while !self.is_told() {
            let thaws = self.count();
            let was_frozen = self.0.told.load(Ordering::Acquire) != thaws;
            self.rebind(was_frozen).await;
            self.0.told.store(thaws, Ordering::Release);
            self.0.doubt.settle();
            self.look(Moment::now());
        }
        drop(turn);
    }

    fn is_told(&self) -> bool {
        self.0.told.load(Ordering::Acquire) == self.count() && !self.0.doubt.is_open()
    }

    /// Changes when tailscaled, from now on, cannot be told, and is to be restarted.
    pub fn unmended(&self) -> watch::Receiver<()> {
        self.0.unmended.subscribe()
    }

    /// How often the process was frozen.
    pub fn count(&self) -> u64 {
        self.0.freezes.count()
    }

    fn look(&self, now: Moment) {
        self.0.freezes.look(now, |gap| {
            self.0.path.thawed();
            tracing::info!(seconds = gap.as_secs(), "frozen for a while; tailscaled makes its connections anew");
        });
    }

    /// One that cannot be told has to be restarted after a freeze; a doubt alone is no reason for that.
    async fn rebind(&self, was_frozen: bool) {
        let error = match within(PATIENCE, pin!(self.0.api.rebind())).await {
            // One that does not run has no connections.
            Some(Ok(()) | Err(LocalApiError::Unreachable(_))) => return,
            Some(Err(error)) => error.to_string(),
            None => "no answer".to_owned(),
        };
        if was_frozen {
            tracing::warn!(error, "tailscaled could not be told to make its connections anew; it is restarted");
            self.0.unmended.send_replace(());
        } else {
            tracing::warn!(error, "tailscaled could not be told to make its connections anew");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// tailscaled's LocalAPI that answers every question in the same way, and counts them.
    fn answering(name: &str, answer: &'static [u8]) -> (std::path::PathBuf, Arc<AtomicU64>) {
        let socket = std::env::temp_dir().join(format!("tetherd-thaw-{name}-{}", std::process::id()));
        let _ = std::fs::remove_file(&socket);
        let listener = tokio::net::UnixListener::bind(&socket).expect("a socket");
        let asked = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(answer).await;
            }
        });
        (socket, asked)
    }

    fn thawed(socket: std::path::PathBuf) -> Rebinder {
        let thaw = Rebinder::new(LocalApi::new(socket), PathHealth::default());
        thaw.look(Moment::now().after(20, 20));
        thaw
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_tailscaled_that_cannot_be_told_is_to_be_restarted() {
        let refusal = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
        let (socket, asked) = answering("refuses", refusal);
        let thaw = thawed(socket.clone());
        let mut unmended = thaw.unmended();
        thaw.settle().await;
        thaw.settle().await;
        assert!(unmended.has_changed().expect("open"));
        assert_eq!(asked.load(Ordering::Relaxed), 1, "it is told once");
        unmended.borrow_and_update();
        assert!(!thaw.unmended().has_changed().expect("open"), "the next one has its own life");
        std::fs::remove_file(socket).expect("removed");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_tailscaled_that_does_not_run_needs_nothing() {
        let thaw = thawed("/nowhere".into());
        let unmended = thaw.unmended();
        thaw.settle().await;
        assert!(!unmended.has_changed().expect("open"));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_doubt_is_told_once_and_restarts_nothing() {
        let refusal = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
        let (socket, asked) = answering("doubted", refusal);
        let thaw = Rebinder::new(LocalApi::new(socket.clone()), PathHealth::default());
        let unmended = thaw.unmended();
        thaw.doubt();
        thaw.settle().await;
        thaw.settle().await;
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        assert!(!unmended.has_changed().expect("open"));
        std::fs::remove_file(socket).expect("removed");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_second_freeze_while_it_is_told_is_not_lost() {
        let (socket, asked) = answering("slow", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        let thaw = thawed(socket.clone());
        let telling = tokio::spawn({
            let thaw = thaw.clone();
            async move { thaw.settle().await }
        });
        while asked.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        thaw.look(Moment::now().after(60, 60));
        telling.await.expect("told");
        assert_eq!(asked.load(Ordering::Relaxed), 2);
        std::fs::remove_file(socket).expect("removed");
    }
}
