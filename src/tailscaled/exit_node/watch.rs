//! Selects the exit node: finds the node that the setting names, hands its id to tailscaled, and says what stands in
//! the way while it is not there. tailscaled itself neither knows names nor tells when an exit node comes or goes.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::config::sections::node::ExitNode;
use crate::state::Watcher;
use crate::tailscaled::local_api::{LocalApi, LocalApiError, Node};

/// How often the exit node is looked at: one small answer.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often all nodes are looked through while it is missing: that takes megabytes in a large tailnet.
const SEARCH_EVERY: Duration = Duration::from_secs(2);

/// The id of the exit node that was found last; clones are the same. Part of the preferences at every start.
#[derive(Clone, Debug, Default)]
pub struct ChosenExitNode(Arc<Mutex<String>>);

impl ChosenExitNode {
    /// Empty before one was found.
    pub fn id(&self) -> String {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }

    fn set(&self, id: &str) {
        id.clone_into(&mut self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()));
    }
}

/// Why the exit node cannot be used now; `None` when it can.
pub type Obstacle = Option<String>;

/// Follows one exit node.
pub struct ExitNodeWatch {
    api: LocalApi,
    wanted: ExitNode,
    chosen: ChosenExitNode,
    obstacle: watch::Sender<Obstacle>,
    /// The address of the chosen one, by which it is looked at.
    address: Option<IpAddr>,
    searched: Option<Instant>,
}

impl ExitNodeWatch {
    pub fn new(api: LocalApi, wanted: ExitNode, chosen: ChosenExitNode) -> Self {
        let obstacle = watch::Sender::new(Some(unknown(&wanted)));
        Self { api, wanted, chosen, obstacle, address: None, searched: None }
    }

    pub fn obstacle(&self) -> watch::Receiver<Obstacle> {
        self.obstacle.subscribe()
    }

    /// Runs as long as there is a state to watch.
    pub async fn follow(mut self, mut state: Watcher) {
        loop {
            tokio::select! {
                () = sleep(LOOK_EVERY) => {}
                changed = state.changed() => match changed {
                    // A new start of tailscaled, or a join: everything may be different.
                    Ok(()) => (self.searched, self.address) = (None, None),
                    Err(_) => return,
                },
            }
            match self.look().await {
                Ok(obstacle) => self.tell(obstacle),
                // tailscaled starts or restarts: nothing is known.
                Err(error) => {
                    tracing::debug!(%error, "the exit node cannot be looked for");
                    self.obstacle.send_replace(Some(unknown(&self.wanted)));
                }
            }
        }
    }

    fn tell(&self, obstacle: Obstacle) {
        if *self.obstacle.borrow() == obstacle {
            return;
        }
        match &obstacle {
            Some(reason) => tracing::warn!("{reason}; targets outside the tailnet cannot be reached"),
            None => tracing::info!(exit_node = %self.wanted, "targets outside the tailnet go by the exit node"),
        }
        self.obstacle.send_replace(obstacle);
    }

    async fn look(&mut self) -> Result<Obstacle, LocalApiError> {
        if let Some(address) = self.address {
            let peer = self.api.peer(address).await?;
            if let Some(peer) = peer.filter(|peer| peer.id == self.chosen.id() && peer.is_exit_node()) {
                return Ok(self.unless_online(peer.online));
            }
            self.address = None;
        } else if self.searched.is_some_and(|at| at.elapsed() < SEARCH_EVERY) {
            return Ok(self.obstacle.borrow().clone());
        }
        self.searched = Some(Instant::now());
        self.search().await
    }

    /// Looks through all nodes and selects the one that is wanted.
    async fn search(&mut self) -> Result<Obstacle, LocalApiError> {
        let wanted = &self.wanted;
        let status = self.api.status(true).await?;
        if status.backend_state != "Running" {
            return Err(LocalApiError::NotJoined);
        }
        let peers = status.peer.unwrap_or_default();
        let fitting = peers.values().filter(|node| is(node, wanted));
        let Some(node) = fitting.max_by_key(|node| node.exit_node_option) else {
            return Ok(Some(format!("exit node {wanted} is not in the tailnet, or hidden from this node")));
        };
        if !node.exit_node_option {
            let why = "it does not offer to be one, or nobody has approved it";
            return Ok(Some(format!("{wanted} is no exit node: {why}")));
        }
        self.api.set_exit_node(&node.id).await?;
        self.chosen.set(&node.id);
        self.address = node.addresses.iter().flatten().next().copied();
        Ok(self.unless_online(node.online))
    }

    fn unless_online(&self, online: bool) -> Obstacle {
        (!online).then(|| format!("exit node {} is offline", self.wanted))
    }
}

fn unknown(wanted: &ExitNode) -> String {
    format!("exit node {wanted} was not looked for yet")
}

/// Whether `node` is the one that the setting names.
fn is(node: &Node, wanted: &ExitNode) -> bool {
    let name = node.dns_name.trim_end_matches('.').to_ascii_lowercase();
    match wanted {
        ExitNode::Address(address) => node.addresses.iter().flatten().any(|own| own == address),
        ExitNode::Name(wanted) => name == *wanted || name.split('.').next() == Some(wanted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::types::Value;

    #[test]
    fn the_exit_node_is_found_by_name_short_or_whole_and_by_address() {
        let text = r#"{"ID":"n1","DNSName":"GW.tail.test.","TailscaleIPs":["100.64.0.7","fd7a::7"]}"#;
        let node: Node = serde_json::from_str(text).expect("parses");
        for (wanted, fits) in [
            ("gw", true),
            ("gw.tail.test", true),
            ("gw.other.test", false),
            ("g", false),
            ("100.64.0.7", true),
            ("fd7a::7", true),
            ("100.64.0.8", false),
        ] {
            assert_eq!(is(&node, &ExitNode::parse(wanted).expect("parses")), fits, "{wanted}");
        }
    }
}
