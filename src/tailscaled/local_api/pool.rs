//! Connections to the LocalAPI that are opened ahead of need.
//!
//! tailscaled looks up who connects; so a dial need not wait for that.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::net::unix_stream::LocalStream;
use crate::sync::IgnorePoison;
use crate::tailscaled::local_api::socket::LocalApiSocket;

/// Number of idle connections. Few clients come at the same moment; a further one opens a connection by itself.
const SIZE: usize = 4;

/// A few open connections to one LocalAPI. Clones share them.
#[derive(Clone, Debug)]
pub struct ConnectionPool(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    socket: LocalApiSocket,
    idle: Mutex<Vec<LocalStream>>,
    /// Whether a task opens connections now.
    opening: AtomicBool,
}

impl ConnectionPool {
    /// Creates an empty pool of connections to the LocalAPI on `socket`.
    pub fn new(socket: LocalApiSocket) -> Self {
        Self(Arc::new(Inner { socket, idle: Mutex::default(), opening: AtomicBool::new(false) }))
    }

    /// Takes a connection that was opened before, if there is one. It may have died with its tailscaled: then the
    /// caller clears the pool and connects anew.
    pub fn take(&self) -> Option<LocalStream> {
        self.with_idle(Vec::pop)
    }

    /// Drops all connections: when one of them is dead, so are the others.
    pub fn clear(&self) {
        self.with_idle(Vec::clear);
    }

    /// Opens a connection outside the pool.
    pub async fn connect(&self) -> io::Result<LocalStream> {
        LocalStream::new(self.0.socket.connect().await?.into_std()?)
    }

    /// Takes back a connection that has had its response and may be used again.
    pub fn put_back(&self, stream: LocalStream) {
        self.with_idle(|idle| {
            if idle.len() < SIZE {
                idle.push(stream);
            }
        });
    }

    /// Fills the pool again, in a task of its own.
    pub fn open_more(&self) {
        if self.with_idle(|idle| idle.len()) >= SIZE || self.0.opening.swap(true, Ordering::AcqRel) {
            return;
        }
        let pool = self.clone();
        tokio::spawn(async move {
            while pool.with_idle(|idle| idle.len()) < SIZE {
                match pool.connect().await {
                    Ok(stream) => pool.put_back(stream),
                    Err(_) => break,
                }
            }
            pool.0.opening.store(false, Ordering::Release);
        });
    }

    fn with_idle<T>(&self, with: impl FnOnce(&mut Vec<LocalStream>) -> T) -> T {
        with(&mut self.0.idle.lock().ignore_poison())
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
        let pool = ConnectionPool::new(LocalApiSocket::new(&socket, None));
        assert!(pool.take().is_none());
        pool.open_more();
        let mut accepted = Vec::new();
        for _ in 0..SIZE {
            let next = timeout(Duration::from_secs(10), listener.accept()).await.expect("comes by itself");
            accepted.push(next.expect("accepted").0);
        }
        assert!(pool.take().is_some());
        drop(listener);
        pool.clear();
        assert!(pool.take().is_none());
    }
}
