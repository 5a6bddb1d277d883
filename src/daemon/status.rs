//! Reads the running parts for the status document and for the metrics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prometheus_client::registry::Registry;
use tokio::time::timeout;

use crate::auth_keys::expiry::{KeyExpiry, expiry_of};
use crate::daemon::metrics;
use crate::daemon::metrics::ScrapeFacts;
use crate::health::metrics::Measured;
use crate::health::routes::Inspect;
use crate::platform::interface::Identity;
use crate::proxy::context::ClientContext;
use crate::proxy::metrics::counters::Counters;
use crate::state::State;
use crate::status::{NodeStatus, Snapshot};
use crate::tailscaled::calls::Calls;
use crate::tailscaled::calls::WITHOUT_CALLS;
use crate::tailscaled::dialer::Dialer;
use crate::tailscaled::local_api;
use crate::tailscaled::local_api::LocalApi;
use crate::tailscaled::path::rebind::Rebinder;
use crate::text::printable;

/// Longest wait for tailscaled: one that hangs must not keep a person from learning that it does.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// The parts that status and metrics are read from.
pub struct StatusSource {
    pub api: LocalApi,
    pub calls: Calls,
    pub counters: Counters,
    pub proxy: Arc<ClientContext<Dialer>>,
    /// Starts of tailscaled after the first.
    pub restarts: Arc<AtomicU64>,
    pub rebinder: Rebinder,
    pub max_connections: usize,
    pub key_expiry: KeyExpiry,
    /// What confines tailscaled. Set once it is known how it is started.
    pub confinement: Arc<OnceLock<Vec<String>>>,
    /// Set once the platform has answered.
    pub identity: Arc<OnceLock<Identity>>,
}

impl Inspect for StatusSource {
    async fn inspect(&self) -> Snapshot {
        let _ = timeout(ANSWER_TIMEOUT, self.proxy.count_traffic()).await;
        let mut snapshot = Snapshot {
            connections: self.counters.now(),
            restarts: self.restarts.load(Ordering::Relaxed),
            confinement: self.confinement.get().cloned().unwrap_or_default(),
            limitation: self.calls.is_stock().then(|| WITHOUT_CALLS.to_owned()),
            ..Snapshot::default()
        };
        if let Ok(Ok(status)) = timeout(ANSWER_TIMEOUT, self.api.status(true)).await {
            snapshot.tailscaled = Some(status.version);
            snapshot.node = status.node.map(node_status);
            snapshot.peers = status.peer.unwrap_or_default().into_values().map(node_status).collect();
            snapshot.peers.sort_by(|one, other| one.name.cmp(&other.name));
        }
        snapshot
    }

    async fn measure(&self, state: &State) -> Measured {
        let theirs = async { tokio::join!(self.api.status(false), self.api.metrics(), self.proxy.count_traffic()) };
        let theirs = timeout(ANSWER_TIMEOUT, theirs).await;
        let (status, tailscaled) = theirs.map_or((None, None), |(status, metrics, ())| (status.ok(), metrics.ok()));
        let mut own = Registry::with_prefix("tetherd");
        let expiry = status.as_ref().and_then(|status| status.node.as_ref()?.key_expiry.as_deref());
        let facts = ScrapeFacts {
            restarts: self.restarts.load(Ordering::Relaxed),
            freezes: self.rebinder.freeze_count(),
            node_key_expiry: expiry.and_then(expiry_of),
            tailscaled_version: status.map(|status| status.version),
            max_connections: self.max_connections,
            auth_key_expiry: self.key_expiry.get(),
            platform_labels: self.identity.get().map(|identity| identity.labels.clone()).unwrap_or_default(),
        };
        metrics::register(&mut own, state, &facts);
        self.counters.register(&mut own);
        Measured { own, tailscaled }
    }
}

/// Turns a node as the LocalAPI shows it into one of the status document.
fn node_status(node: local_api::types::Node) -> NodeStatus {
    let name = node.dns_name.trim_end_matches('.');
    NodeStatus {
        // Other nodes choose their host names.
        name: printable(if name.is_empty() { &node.host_name } else { name }),
        addresses: node.addresses.unwrap_or_default(),
        online: node.online,
        key_expiry: node.key_expiry,
    }
}
