//! Finds the node that `exit_node` names, and hands its id to tailscaled.
//!
//! While that node cannot be used, publishes the reason. tailscaled itself neither knows names nor tells when an exit
//! node comes or goes.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::config::types::exit_node::ExitNode;
use crate::state::Watcher;
use crate::sync::IgnorePoison;
use crate::tailscaled::exit_node::choice::candidates;
use crate::tailscaled::local_api::types::Node;
use crate::tailscaled::local_api::{LocalApi, LocalApiError};

/// Time between two look-ups of the chosen exit node, each of which is one small response.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Time between two searches of all nodes while the exit node is missing: a search is megabytes in a large tailnet.
const SEARCH_EVERY: Duration = Duration::from_secs(2);

/// Nodes that are looked up at most, the best first, for one that is online.
const MOST_LOOKED_UP: usize = 20;

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
                // Where there is a choice, another one may be online.
                if peer.online || !self.wanted.is_choice() {
                    return Ok(self.unless_online(peer.online));
                }
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
        let suggested = if *wanted == ExitNode::Any { self.api.suggested_exit_node().await } else { None };
        let peers = status.peer.unwrap_or_default();
        let fitting = candidates(peers.values(), wanted, suggested.as_deref());
        let Some(best) = fitting.first() else {
            return Ok(Some(if wanted.is_choice() {
                format!("no exit node fits {wanted}, or all are hidden from this node")
            } else {
                format!("exit node {wanted} is not in the tailnet, or hidden from this node")
            }));
        };
        if !best.exit_node_option {
            let why = "it does not offer to be one, or nobody has approved it";
            return Ok(Some(format!("{wanted} is no exit node: {why}")));
        }
        let (node, online) = if wanted.is_choice() { self.first_online(&fitting).await? } else { (*best, best.online) };
        if node.id != self.chosen.id() && wanted.is_choice() {
            tracing::info!(exit_node = %wanted, node = node.dns_name.trim_end_matches('.'), "exit node chosen");
        }
        self.api.set_exit_node(&node.id).await?;
        self.chosen.set(&node.id);
        self.address = node.addresses.iter().flatten().next().copied();
        Ok(self.unless_online(online))
    }

    /// Returns the first node that is online, else the one that is used already or comes first. The status is as old as the last
    /// whole network map, so each node is looked up.
    async fn first_online<'a>(&self, fitting: &[&'a Node]) -> Result<(&'a Node, bool), LocalApiError> {
        for node in fitting.iter().filter(|node| node.exit_node_option).take(MOST_LOOKED_UP) {
            let Some(address) = node.addresses.iter().flatten().next() else { continue };
            if self.api.whois(*address).await?.is_some_and(|peer| peer.online && peer.is_exit_node()) {
                return Ok((node, true));
            }
        }
        let used = fitting.iter().find(|node| node.id == self.chosen.id()).or(fitting.first());
        used.map(|node| (*node, false)).ok_or(LocalApiError::NotJoined)
    }

    fn unless_online(&self, online: bool) -> ExitNodeProblem {
        (!online).then(|| format!("exit node {} is offline", self.wanted))
    }
}

fn not_looked_for(wanted: &ExitNode) -> String {
    format!("exit node {wanted} was not looked for yet")
}
