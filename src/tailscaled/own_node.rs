//! Knows this node's names and addresses, by asking tailscaled once in a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::sync::kept_answer::KeptAnswer;
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
    /// By the number of logins that they are known since.
    known: Arc<KeptAnswer<u64, Result<Arc<OwnNode>, DialError>>>,
    logins: Arc<AtomicU64>,
}

impl OwnNodeCache {
    /// Asks by `api`.
    pub fn new(api: LocalApi) -> Self {
        Self { api, known: Arc::new(KeptAnswer::lasting(LIFETIME)), logins: Arc::default() }
    }

    /// Returns this node, as it was at most [`LIFETIME`] ago.
    ///
    /// # Errors
    /// [`DialError::Tailscaled`] when tailscaled does not answer.
    pub async fn get(&self) -> Result<Arc<OwnNode>, DialError> {
        // On the heap: few dials have to ask.
        let ask = async { Box::pin(self.ask()).await };
        self.known.get(self.logins.load(Ordering::Acquire), ask).await
    }

    /// Asks anew in the background: the node has joined, maybe as another one.
    pub fn refresh(&self) {
        self.logins.fetch_add(1, Ordering::AcqRel);
        let cache = self.clone();
        tokio::spawn(async move { cache.get().await.map(drop) });
    }

    async fn ask(&self) -> Result<Arc<OwnNode>, DialError> {
        let status = self.api.status(false).await.map_err(|error| DialError::Tailscaled(error.to_string()))?;
        Ok(Arc::new(own_node(status)))
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
