//! Looks into the running parts for the status document.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::health::Inspect;
use crate::proxy::Counters;
use crate::status::{Node, Snapshot};
use crate::tailscaled::{self, LocalApi};

/// A tailscaled that hangs must not keep a person from learning that it does.
const PATIENCE: Duration = Duration::from_secs(1);

/// What it looks into.
pub(super) struct Inspector {
    pub api: LocalApi,
    pub counters: Counters,
    pub restarts: Arc<AtomicU64>,
}

impl Inspect for Inspector {
    async fn inspect(&self) -> Snapshot {
        let mut snapshot = Snapshot {
            connections: self.counters.now(),
            restarts: self.restarts.load(Ordering::Relaxed),
            ..Snapshot::default()
        };
        if let Ok(Ok(status)) = tokio::time::timeout(PATIENCE, self.api.status(true)).await {
            snapshot.tailscaled = Some(status.version);
            snapshot.node = status.node.map(node);
            snapshot.peers = status.peer.unwrap_or_default().into_values().map(node).collect();
            snapshot.peers.sort_by(|one, other| one.name.cmp(&other.name));
        }
        snapshot
    }
}

fn node(node: tailscaled::Node) -> Node {
    let name = node.dns_name.trim_end_matches('.');
    Node {
        name: if name.is_empty() { node.host_name } else { name.to_owned() },
        addresses: node.addresses.unwrap_or_default(),
        online: node.online,
        key_expiry: node.key_expiry,
    }
}
