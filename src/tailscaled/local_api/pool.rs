//! Connections to the LocalAPI opened ahead of need: tailscaled looks up who connects, and a dial need not wait for that.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::net::unix_stream::LocalStream;

/// Clients that come at the same moment are few; one more connects by itself.
const AHEAD: usize = 4;

/// A few open connections. Clones share them.
#[derive(Clone, Debug)]
pub struct ConnectionPool(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    socket: PathBuf,
    open: Mutex<Vec<LocalStream>>,
    opening: AtomicBool,
}

impl ConnectionPool {
    pub fn new(socket: PathBuf) -> Self {
        Self(Arc::new(Inner { socket, open: Mutex::default(), opening: AtomicBool::new(false) }))
    }

    /// One that was opened before. It may have died with its tailscaled: whoever finds that out asks for a new one.
    pub fn take(&self) -> Option<LocalStream> {
        self.open(Vec::pop)
    }

    /// One has died: so have the others.
    pub fn forget(&self) {
        self.open(Vec::clear);
    }

    pub async fn connect(&self) -> io::Result<LocalStream> {
        LocalStream::connect(&self.0.socket).await
    }

    /// Takes one back that has had its answer and may serve again.
    pub fn put_back(&self, stream: LocalStream) {
        self.open(|open| {
            if open.len() < AHEAD {
                open.push(stream);
            }
        });
    }

    /// In the place of one that was used up.
    pub fn open_more(&self) {
        if self.open(|open| open.len()) >= AHEAD || self.0.opening.swap(true, Ordering::AcqRel) {
            return;
        }
        let ahead = self.clone();
        tokio::spawn(async move {
            while ahead.open(|open| open.len()) < AHEAD {
                match ahead.connect().await {
                    Ok(stream) => ahead.put_back(stream),
                    Err(_) => break,
                }
            }
            ahead.0.opening.store(false, Ordering::Release);
        });
    }

    fn open<T>(&self, with: impl FnOnce(&mut Vec<LocalStream>) -> T) -> T {
        with(&mut self.0.open.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::net::UnixListener;
    use tokio::time::timeout;

    #[tokio::test(flavor = "current_thread")]
    async fn connections_are_opened_ahead_and_forgotten_with_their_tailscaled() {
        let directory = tempfile::tempdir().expect("a directory");
        let socket = directory.path().join("s");
        let listener = UnixListener::bind(&socket).expect("listens");
        let ahead = ConnectionPool::new(socket);
        assert!(ahead.take().is_none());
        ahead.open_more();
        let mut accepted = Vec::new();
        for _ in 0..AHEAD {
            let next = timeout(Duration::from_secs(10), listener.accept()).await.expect("comes by itself");
            accepted.push(next.expect("accepted").0);
        }
        assert!(ahead.take().is_some());
        drop(listener);
        ahead.forget();
        assert!(ahead.take().is_none());
    }
}
