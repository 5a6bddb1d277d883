//! Has tailscaled make its connections anew (rebind) when the old may be dead.
//!
//! This is done before the next dial, for two causes. After a freeze of the process the old connections are dead and
//! tailscaled does not know it: dials over them fail for 20 s. Without a freeze they may have died unnoticed, as with a
//! trickle of CPU: then a dial is silent, and no other was answered of late.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio::time::sleep;

use crate::tailscaled::local_api::{LocalApi, LocalApiError};
use crate::tailscaled::path::freeze::{ClockReading, FreezeDetector, TICK};
use crate::tailscaled::path::health::PathHealth;
use crate::tailscaled::path::stale::StalePath;
use crate::tailscaled::path::timeout::within;

/// How long tailscaled may take to respond to a rebind, which takes 3 ms. One that takes longer is restarted, which
/// also makes new connections.
const REBIND_TIMEOUT: Duration = Duration::from_secs(2);

/// Rebinds one tailscaled when that is due. Clones share the state.
#[derive(Clone)]
pub struct Rebinder(Arc<Inner>);

struct Inner {
    api: LocalApi,
    path: PathHealth,
    freezes: FreezeDetector,
    /// Number of freezes that a rebind has followed.
    handled_freezes: AtomicU64,
    stale: StalePath,
    /// Held during a rebind, so that only one is made at a time.
    rebinding: Mutex<()>,
    failures: watch::Sender<()>,
}

impl Rebinder {
    /// Rebinds the tailscaled of `api`, and reports freezes to `path`.
    pub fn new(api: LocalApi, path: PathHealth) -> Self {
        Self(Arc::new(Inner {
            api,
            path,
            freezes: FreezeDetector::default(),
            handled_freezes: AtomicU64::new(0),
            stale: StalePath::default(),
            rebinding: Mutex::new(()),
            failures: watch::Sender::new(()),
        }))
    }

    /// Checks the clocks once a second, for ever, and rebinds after a freeze.
    pub async fn run(self) {
        loop {
            sleep(TICK).await;
            self.rebind_if_due().await;
        }
    }

    /// Reports a silent dial. When no dial was answered for a while, a rebind is due before the next one.
    pub fn dial_is_silent(&self) {
        self.0.stale.dial_is_silent(&self.0.path);
    }

    /// Rebinds tailscaled if the process was frozen, or the path is suspect, since the last rebind. To be called before
    /// each dial.
    pub async fn rebind_if_due(&self) {
        self.check_clocks(ClockReading::now());
        if self.is_due() {
            // Heap-allocated, so that the state of every dial stays small.
            Box::pin(self.rebind_until_done()).await;
        }
    }

    async fn rebind_until_done(&self) {
        let guard = self.0.rebinding.lock().await;
        // When the process is frozen again during the rebind, another rebind is due.
        while self.is_due() {
            let freezes = self.freeze_count();
            let was_frozen = self.0.handled_freezes.load(Ordering::Acquire) != freezes;
            self.rebind(was_frozen).await;
            self.0.handled_freezes.store(freezes, Ordering::Release);
            self.0.stale.clear();
            self.check_clocks(ClockReading::now());
        }
        drop(guard);
    }

    fn is_due(&self) -> bool {
        self.0.handled_freezes.load(Ordering::Acquire) != self.freeze_count() || self.0.stale.is_suspect()
    }

    /// Returns a receiver that is notified when a rebind after a freeze fails: then tailscaled is to be restarted.
    pub fn failures(&self) -> watch::Receiver<()> {
        self.0.failures.subscribe()
    }

    /// Returns the number of freezes of the process so far.
    pub fn freeze_count(&self) -> u64 {
        self.0.freezes.count()
    }

    /// Whether the process was frozen in its life, a moment ago included.
    pub fn was_frozen(&self) -> bool {
        self.check_clocks(ClockReading::now());
        self.freeze_count() > 0
    }

    fn check_clocks(&self, now: ClockReading) {
        self.0.freezes.check(now, |gap| {
            self.0.path.frozen();
            tracing::info!(seconds = gap.as_secs(), "frozen for a while; tailscaled makes its connections anew");
        });
    }

    /// Tells tailscaled to rebind. If that fails after a freeze, tailscaled has to be restarted; without a freeze it
    /// goes on running.
    async fn rebind(&self, was_frozen: bool) {
        let error = match within(REBIND_TIMEOUT, pin!(self.0.api.rebind())).await {
            // A tailscaled that does not run has no connections.
            Some(Ok(()) | Err(LocalApiError::Unreachable(_))) => return,
            Some(Err(error)) => error.to_string(),
            None => "no answer".to_owned(),
        };
        if was_frozen {
            tracing::warn!(error, "tailscaled could not be told to make its connections anew; it is restarted");
            self.0.failures.send_replace(());
        } else {
            tracing::warn!(error, "tailscaled could not be told to make its connections anew");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tailscaled::local_api::socket::LocalApiSocket;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// Serves a LocalAPI that gives the same response to every request, and counts the requests.
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

    fn after_a_freeze(socket: std::path::PathBuf) -> Rebinder {
        let rebinder = Rebinder::new(LocalApi::new(LocalApiSocket::new(&socket, None)), PathHealth::default());
        rebinder.check_clocks(ClockReading::now().after(20, 20));
        rebinder
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_tailscaled_that_cannot_be_told_is_to_be_restarted() {
        let refusal = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
        let (socket, asked) = answering("refuses", refusal);
        let rebinder = after_a_freeze(socket.clone());
        let mut failures = rebinder.failures();
        rebinder.rebind_if_due().await;
        rebinder.rebind_if_due().await;
        assert!(failures.has_changed().expect("open"));
        assert_eq!(asked.load(Ordering::Relaxed), 1, "it is told once");
        failures.borrow_and_update();
        assert!(!rebinder.failures().has_changed().expect("open"), "the next one has its own life");
        std::fs::remove_file(socket).expect("removed");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_tailscaled_that_does_not_run_needs_nothing() {
        let rebinder = after_a_freeze("/nowhere".into());
        let failures = rebinder.failures();
        rebinder.rebind_if_due().await;
        assert!(!failures.has_changed().expect("open"));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_doubt_is_told_once_and_restarts_nothing() {
        let refusal = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
        let (socket, asked) = answering("doubted", refusal);
        let rebinder = Rebinder::new(LocalApi::new(LocalApiSocket::new(&socket, None)), PathHealth::default());
        let failures = rebinder.failures();
        rebinder.dial_is_silent();
        rebinder.rebind_if_due().await;
        rebinder.rebind_if_due().await;
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        assert!(!failures.has_changed().expect("open"));
        std::fs::remove_file(socket).expect("removed");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_second_freeze_while_it_is_told_is_not_lost() {
        let (socket, asked) = answering("slow", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        let rebinder = after_a_freeze(socket.clone());
        let telling = tokio::spawn({
            let rebinder = rebinder.clone();
            async move { rebinder.rebind_if_due().await }
        });
        while asked.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        rebinder.check_clocks(ClockReading::now().after(60, 60));
        telling.await.expect("told");
        assert_eq!(asked.load(Ordering::Relaxed), 2);
        std::fs::remove_file(socket).expect("removed");
    }
}
