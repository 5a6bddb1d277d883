//! Finds the node that `exit_node` names, and hands its id to tailscaled.
//!
//! While that node cannot be used, publishes the reason. tailscaled itself neither knows names nor tells when an exit
//! node comes or goes.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::config::sections::node::ExitNode;
use crate::state::Watcher;
use crate::sync::IgnorePoison;
use crate::tailscaled::local_api::types::Node;
use crate::tailscaled::local_api::{LocalApi, LocalApiError};

/// Time between two look-ups of the chosen exit node, each of which is one small response.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Time between two searches of all nodes while the exit node is missing: a search is megabytes in a large tailnet.
const SEARCH_EVERY: Duration = Duration::from_secs(2);

/// The id of the exit node that was found last, which every start of tailscaled has in its preferences. Clones share
/// it.
#[derive(Clone, Debug, Default)]
pub struct ChosenExitNode(Arc<Mutex<String>>);

impl ChosenExitNode {
    /// Returns the id; empty before a node was found.
    pub fn id(&self) -> String {
        self.0.lock().ignore_poison().clone()
    }

    fn set(&self, id: &str) {
        id.clone_into(&mut self.0.lock().ignore_poison());
    }
}

/// Why the exit node cannot be used now; `None` when it can be used.
pub type ExitNodeProblem = Option<String>;

/// Watches one exit node.
pub struct ExitNodeWatch {
    api: LocalApi,
    wanted: ExitNode,
    chosen: ChosenExitNode,
    problem: watch::Sender<ExitNodeProblem>,
    /// Address of the chosen node, by which it is looked up.
    address: Option<IpAddr>,
    /// When all nodes were searched last.
    searched_at: Option<Instant>,
}

impl ExitNodeWatch {
    /// Watches the node that `wanted` names, and puts its id into `chosen`.
    pub fn new(api: LocalApi, wanted: ExitNode, chosen: ChosenExitNode) -> Self {
        let problem = watch::Sender::new(Some(not_looked_for(&wanted)));
        Self { api, wanted, chosen, problem, address: None, searched_at: None }
    }

    /// Returns a receiver of the problem that keeps the exit node from being used.
    pub fn problem(&self) -> watch::Receiver<ExitNodeProblem> {
        self.problem.subscribe()
    }

    /// Watches the exit node until the publisher of `state` is gone.
    pub async fn follow(mut self, mut state: Watcher) {
        loop {
            tokio::select! {
                () = sleep(LOOK_EVERY) => {}
                changed = state.changed() => match changed {
                    // tailscaled was started anew, or has joined: what was found before may not hold any more.
                    Ok(()) => (self.searched_at, self.address) = (None, None),
                    Err(_) => return,
                },
            }
            match self.look().await {
                Ok(problem) => self.publish(problem),
                // While tailscaled starts or restarts, nothing is known of the exit node.
                Err(error) => {
                    tracing::debug!(%error, "the exit node cannot be looked for");
                    self.problem.send_replace(Some(not_looked_for(&self.wanted)));
                }
            }
        }
    }

    /// Publishes and logs the problem, if it has changed.
    fn publish(&self, problem: ExitNodeProblem) {
        if *self.problem.borrow() == problem {
            return;
        }
        match &problem {
            Some(reason) => tracing::warn!("{reason}; targets outside the tailnet cannot be reached"),
            None => tracing::info!(exit_node = %self.wanted, "targets outside the tailnet go by the exit node"),
        }
        self.problem.send_replace(problem);
    }

    /// Looks up the chosen node, or searches for the wanted one. Returns the problem with it.
    async fn look(&mut self) -> Result<ExitNodeProblem, LocalApiError> {
        if let Some(address) = self.address {
            let peer = self.api.whois(address).await?;
            if let Some(peer) = peer.filter(|peer| peer.id == self.chosen.id() && peer.is_exit_node()) {
                return Ok(self.unless_online(peer.online));
            }
            self.address = None;
        } else if self.searched_at.is_some_and(|at| at.elapsed() < SEARCH_EVERY) {
            return Ok(self.problem.borrow().clone());
        }
        self.searched_at = Some(Instant::now());
        self.search().await
    }

    /// Searches all nodes, and tells tailscaled to use the wanted one. Returns the problem with it.
    async fn search(&mut self) -> Result<ExitNodeProblem, LocalApiError> {
        let wanted = &self.wanted;
        let status = self.api.status(true).await?;
        if status.backend_state != "Running" {
            return Err(LocalApiError::NotJoined);
        }
        let peers = status.peer.unwrap_or_default();
        let fitting = peers.values().filter(|node| is_wanted(node, wanted));
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

    fn unless_online(&self, online: bool) -> ExitNodeProblem {
        (!online).then(|| format!("exit node {} is offline", self.wanted))
    }
}

fn not_looked_for(wanted: &ExitNode) -> String {
    format!("exit node {wanted} was not looked for yet")
}

/// Whether `node` is the one that the setting names.
fn is_wanted(node: &Node, wanted: &ExitNode) -> bool {
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
            assert_eq!(is_wanted(&node, &ExitNode::parse(wanted).expect("parses")), fits, "{wanted}");
        }
    }
}
