//! What the proxy has done so far, for the status.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::status::Connections;

/// Counts connections and bytes. Clones share the counts.
#[derive(Clone, Debug, Default)]
pub struct Counters(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    open: AtomicU64,
    accepted: AtomicU64,
    failed: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
}

/// One living connection.
pub struct Open(Counters);

impl Counters {
    /// Counts a connection for as long as the returned value lives.
    pub fn open(&self) -> Open {
        self.0.open.fetch_add(1, Ordering::Relaxed);
        self.0.accepted.fetch_add(1, Ordering::Relaxed);
        Open(self.clone())
    }

    pub fn failed(&self) {
        self.0.failed.fetch_add(1, Ordering::Relaxed);
    }

    pub fn relayed(&self, sent: u64, received: u64) {
        self.0.sent.fetch_add(sent, Ordering::Relaxed);
        self.0.received.fetch_add(received, Ordering::Relaxed);
    }

    /// The counts as they are now.
    pub fn now(&self) -> Connections {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Connections {
            open: read(&self.0.open),
            accepted: read(&self.0.accepted),
            failed: read(&self.0.failed),
            sent_bytes: read(&self.0.sent),
            received_bytes: read(&self.0.received),
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}
