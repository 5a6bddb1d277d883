//! Knows this node's names and addresses, by asking tailscaled once in a while.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::Mutex as AsyncMutex;

use crate::sync::IgnorePoison;
use crate::tailscaled::local_api::LocalApi;
use crate::tailscaled::local_api::types::Status;
use crate::target::dial::DialError;
use crate::target::host::HostName;
use crate::target::own_node::OwnNode;
use crate::target::ranges::canonical_ip;

/// How long the answer is good for. A login makes it out of date at once; a tailnet or a node is renamed seldom.
const LIFETIME: Duration = Duration::from_secs(60);

/// Remembers this node's names and addresses. Clones share what is remembered.
#[derive(Clone)]
pub struct OwnNodeCache {
    api: LocalApi,
    known: Arc<Mutex<Option<Known>>>,
    /// Locked while tailscaled is asked: once for all who wait.
    asking: Arc<AsyncMutex<()>>,
}

struct Known {
    learned_at: Instant,
    node: Arc<OwnNode>,
}

impl OwnNodeCache {
    /// Asks by `api`.
    pub fn new(api: LocalApi) -> Self {
        Self { api, known: Arc::default(), asking: Arc::default() }
    }

    /// Returns this node, as it was at most [`LIFETIME`] ago.
    ///
    /// # Errors
    /// [`DialError::Tailscaled`] when tailscaled does not answer.
    pub async fn get(&self) -> Result<Arc<OwnNode>, DialError> {
        if let Some(node) = self.remembered() {
            return Ok(node);
        }
        // On the heap: few dials have to ask.
        Box::pin(self.ask()).await
    }

    /// Asks anew in the background: the node has joined, maybe as another one.
    pub fn refresh(&self) {
        *self.known.lock().ignore_poison() = None;
        let cache = self.clone();
        tokio::spawn(async move { cache.get().await.map(drop) });
    }

    async fn ask(&self) -> Result<Arc<OwnNode>, DialError> {
        let _asking = self.asking.lock().await;
        if let Some(node) = self.remembered() {
            return Ok(node);
        }
        let status = self.api.status(false).await.map_err(|error| DialError::Tailscaled(error.to_string()))?;
        let node = Arc::new(own_node(status));
        *self.known.lock().ignore_poison() = Some(Known { learned_at: Instant::now(), node: Arc::clone(&node) });
        Ok(node)
    }

    fn remembered(&self) -> Option<Arc<OwnNode>> {
        let known = self.known.lock().ignore_poison();
        let known = known.as_ref().filter(|known| known.learned_at.elapsed() < LIFETIME)?;
        Some(Arc::clone(&known.node))
    }
}

fn own_node(status: Status) -> OwnNode {
    let domain = status.suffix.trim_matches('.').to_ascii_lowercase();
    let Some(node) = status.node else { return OwnNode { domain, ..OwnNode::default() } };
    OwnNode {
        name: HostName::parse(&node.dns_name).ok(),
        domain,
        addresses: node.addresses.into_iter().flatten().map(canonical_ip).collect(),
    }
}
