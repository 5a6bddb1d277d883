//! Reads the running parts for the status document and for the metrics.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use prometheus_client::registry::Registry;
use tokio::time::timeout;

use crate::auth_keys::expiry::{KeyExpiry, expiry_of};
use crate::daemon::metrics;
use crate::daemon::metrics::ScrapeFacts;
use crate::health::metrics::Measured;
use crate::health::routes::Inspect;
use crate::platform::interface::Identity;
use crate::proxy::context::ProxyContext;
use crate::proxy::metrics::counters::Counters;
use crate::state::{Phase, State};
use crate::status::{ConfinementStatus, NodeStatus, Snapshot};
use crate::sync::IgnorePoison;
use crate::sync::kept_answer::KeptAnswer;
use crate::tailscaled::calls::Calls;
use crate::tailscaled::calls::WITHOUT_CALLS;
use crate::tailscaled::dialer::Dialer;
use crate::tailscaled::local_api;
use crate::tailscaled::local_api::{LocalApi, LocalApiError};
use crate::tailscaled::path::rebind::Rebinder;
use crate::tailscaled::process::Measures;
use crate::text::printable;

/// Longest wait for tailscaled: one that hangs must not keep a person from learning that it does.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// How long an answer of tailscaled is kept.
const ANSWER_LIFETIME: Duration = Duration::from_secs(1);

/// The parts that status and metrics are read from.
pub struct StatusSource {
    pub api: LocalApi,
    pub calls: Calls,
    pub counters: Counters,
    pub proxy: Arc<ProxyContext<Dialer>>,
    /// Starts of tailscaled after the first.
    pub restarts: Arc<AtomicU64>,
    pub rebinder: Rebinder,
    pub max_connections: usize,
    pub key_expiry: KeyExpiry,
    /// What confines this process.
    pub own_confinement: Vec<&'static str>,
    /// What confines tailscaled. Set once it is known how it is started.
    pub confinement: Arc<OnceLock<Measures>>,
    /// Set once the platform has answered.
    pub identity: Arc<OnceLock<Identity>>,
    pub answers: TailscaledAnswers,
}

/// What tailscaled has answered lately.
pub struct TailscaledAnswers {
    nodes: KeptAnswer<StateId, Option<Arc<Nodes>>>,
    metrics: KeptAnswer<StateId, Option<Arc<TailscaledMetrics>>>,
}

impl Default for TailscaledAnswers {
    fn default() -> Self {
        Self { nodes: KeptAnswer::lasting(ANSWER_LIFETIME), metrics: KeptAnswer::lasting(ANSWER_LIFETIME) }
    }
}

/// Tells one state of the daemon from the next.
type StateId = (Phase, SystemTime);

/// tailscaled's version, and the nodes that it knows.
struct Nodes {
    version: String,
    node: Option<NodeStatus>,
    peers: Vec<NodeStatus>,
}

/// What tailscaled gives to the metrics.
struct TailscaledMetrics {
    version: Option<String>,
    /// When the node's key expires.
    key_expiry: Option<String>,
    text: Option<String>,
}

impl StatusSource {
    /// tailscaled's version and nodes: in a large tailnet megabytes, asked for once a second at most.
    async fn nodes(&self, state: &State) -> Option<Arc<Nodes>> {
        let ask = async {
            let status = timeout(ANSWER_TIMEOUT, self.api.status(true)).await.ok()?.ok()?;
            let mut peers: Vec<_> = status.peer.unwrap_or_default().into_values().map(node_status).collect();
            peers.sort_by(|one, other| one.name.cmp(&other.name));
            Some(Arc::new(Nodes { version: status.version, node: status.node.map(node_status), peers }))
        };
        self.answers.nodes.get(id_of(state), ask).await
    }

    async fn tailscaled_metrics(&self, state: &State) -> Option<Arc<TailscaledMetrics>> {
        let ask = async {
            let theirs = async { tokio::join!(self.api.status(false), self.api.metrics()) };
            let (status, text) = timeout(ANSWER_TIMEOUT, theirs).await.ok()?;
            let (version, node) = status.map_or((None, None), |status| (Some(status.version), status.node));
            let key_expiry = node.and_then(|node| node.key_expiry);
            let text = text.ok();
            (version.is_some() || text.is_some()).then(|| Arc::new(TailscaledMetrics { version, key_expiry, text }))
        };
        self.answers.metrics.get(id_of(state), ask).await
    }
}

fn id_of(state: &State) -> StateId {
    (state.phase, state.since)
}

impl StatusSource {
    fn confinement(&self) -> ConfinementStatus {
        let measures = self.confinement.get().map(|measures| measures.lock().ignore_poison().clone());
        let named = |measures: &[&str]| measures.iter().copied().map(str::to_owned).collect();
        ConfinementStatus { tetherd: named(&self.own_confinement), tailscaled: named(&measures.unwrap_or_default()) }
    }
}

impl Inspect for StatusSource {
    async fn is_of_peer(&self, end: SocketAddr) -> bool {
        let end = SocketAddr::new(end.ip().to_canonical(), end.port());
        match timeout(ANSWER_TIMEOUT, self.api.whois_connection(end)).await {
            Ok(Ok(found)) => found.is_some(),
            // Without tailscaled no node comes; of one that hangs the open connections last.
            Ok(Err(LocalApiError::Unreachable(_) | LocalApiError::NotJoined)) => false,
            Ok(Err(_)) | Err(_) => true,
        }
    }

    async fn inspect(&self, state: &State) -> Snapshot {
        let _ = timeout(ANSWER_TIMEOUT, self.proxy.count_traffic()).await;
        let mut snapshot = Snapshot {
            connections: self.counters.now(),
            restarts: self.restarts.load(Ordering::Relaxed),
            confinement: self.confinement(),
            limitation: self.calls.is_stock().then(|| WITHOUT_CALLS.to_owned()),
            ..Snapshot::default()
        };
        if let Some(nodes) = self.nodes(state).await {
            snapshot.tailscaled = Some(nodes.version.clone());
            snapshot.node.clone_from(&nodes.node);
            snapshot.peers.clone_from(&nodes.peers);
        }
        snapshot
    }

    async fn measure(&self, state: &State) -> Measured {
        let counted = timeout(ANSWER_TIMEOUT, self.proxy.count_traffic());
        let (theirs, _) = tokio::join!(self.tailscaled_metrics(state), counted);
        let mut own = Registry::with_prefix("tetherd");
        let expiry = theirs.as_ref().and_then(|theirs| theirs.key_expiry.as_deref());
        let facts = ScrapeFacts {
            restarts: self.restarts.load(Ordering::Relaxed),
            freezes: self.rebinder.freeze_count(),
            node_key_expiry: expiry.and_then(expiry_of),
            tailscaled_version: theirs.as_ref().and_then(|theirs| theirs.version.clone()),
            max_connections: self.max_connections,
            auth_key_expiry: self.key_expiry.get(),
            platform_labels: self.identity.get().map(|identity| identity.labels.clone()).unwrap_or_default(),
        };
        metrics::register(&mut own, state, &facts);
        self.counters.register(&mut own);
        self.proxy.users.register(&mut own);
        Measured { own, tailscaled: theirs.and_then(|theirs| theirs.text.clone()) }
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
