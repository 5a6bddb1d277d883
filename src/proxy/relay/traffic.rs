//! Counts the bytes of one connection, and adds them to the proxy's metrics.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::metrics::counter::Counter;

use crate::proxy::metrics::counters::Counters;
use crate::proxy::metrics::labels::Direction;

/// Bytes that one connection has carried, by direction.
#[derive(Debug, Default)]
pub struct Traffic {
    /// From the client to the target.
    pub sent: ByteCounter,
    /// From the target to the client.
    pub received: ByteCounter,
    /// Read from the client and dropped, because the target takes nothing more.
    pub discarded: ByteCounter,
    /// The side that has stopped sending first, as the log has it.
    ended_first: OnceLock<&'static str>,
}

/// Counts bytes of one direction of a connection, and adds them to a counter that all connections share.
#[derive(Debug, Default)]
pub struct ByteCounter {
    connection: AtomicU64,
    total: Counter,
}

impl ByteCounter {
    fn within(total: Counter) -> Self {
        Self { connection: AtomicU64::new(0), total }
    }

    /// Adds `bytes` to this connection's count and to the shared one.
    pub fn add(&self, bytes: usize) {
        self.connection.fetch_add(bytes as u64, Ordering::Relaxed);
        self.total.inc_by(bytes as u64);
    }

    fn get(&self) -> u64 {
        self.connection.load(Ordering::Relaxed)
    }
}

impl Traffic {
    /// Creates counts at zero that add to the bytes in `counters`, too.
    pub fn within(counters: &Counters) -> Self {
        Self {
            sent: ByteCounter::within(counters.bytes(Direction::Sent)),
            received: ByteCounter::within(counters.bytes(Direction::Received)),
            discarded: ByteCounter::default(),
            ended_first: OnceLock::new(),
        }
    }

    /// Notes that the client has stopped sending.
    pub fn client_ended(&self) {
        let _ = self.ended_first.set("client");
    }

    /// Notes that the target has stopped sending.
    pub fn target_ended(&self) {
        let _ = self.ended_first.set("target");
    }

    /// Returns the side that has stopped sending first: `client` or `target`; `None` where neither has, or it is not known.
    pub fn ended_first(&self) -> Option<&'static str> {
        self.ended_first.get().copied()
    }

    /// Returns the bytes that the client has sent to the target.
    pub fn sent(&self) -> u64 {
        self.sent.get()
    }

    /// Returns the bytes that the client has received from the target.
    pub fn received(&self) -> u64 {
        self.received.get()
    }

    /// Returns the bytes of both directions, discarded ones included: a connection is idle while this stays the same.
    pub fn total(&self) -> u64 {
        self.sent() + self.received() + self.discarded.get()
    }
}
