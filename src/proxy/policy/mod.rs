//! The policy: which targets clients may reach.
//!
//! `allow`, `deny` and `direct` say so, `loopback` and `private` by the client's listener, the ranges that are reserved, and the
//! daemon's own listeners.

pub mod access;
pub(crate) mod asked;
pub(crate) mod client_policy;
pub(crate) mod judged_address;
pub mod own_listeners;
pub(crate) mod reserved;
pub(crate) mod resolve;

use std::net::SocketAddr;
use std::sync::{Arc, RwLock};

use crate::config::types::enums::Direct;
use crate::config::types::local_targets::LocalTargets;
use crate::net::own_networks::OwnAddresses;
use crate::proxy::policy::access::{Access, Rules};
use crate::proxy::policy::own_listeners::{OwnAssociation, OwnListeners};
use crate::sync::IgnorePoison;
use crate::target::host::{Host, Target};
use crate::target::own_node::OwnNode;
use crate::target::ranges::is_of_a_tailnet;

/// What is said about targets, for all clients.
#[derive(Debug)]
pub struct Policy {
    direct: Direct,
    local_targets: LocalTargets,
    rules: Rules,
    own_listeners: OwnListeners,
    /// What loopback is by other addresses.
    own_addresses: OwnAddresses,
    /// Empty until it is known.
    own_node: RwLock<Arc<OwnNode>>,
}

impl Policy {
    /// Creates a policy that does not know this node yet.
    pub fn new(direct: Direct, local_targets: LocalTargets, rules: Rules, own_listeners: OwnListeners) -> Self {
        let own_addresses = OwnAddresses::default();
        Self { direct, local_targets, rules, own_listeners, own_addresses, own_node: RwLock::default() }
    }

    /// Whether `target` can be judged only once this node is known: it may be the node itself, or a name of its tailnet.
    pub fn needs_own_node(target: &Target) -> bool {
        match target.host {
            Host::Name(_) => true,
            Host::Ip(address) => is_of_a_tailnet(address),
        }
    }

    /// Sets this node's names and addresses.
    pub fn set_own_node(&self, node: Arc<OwnNode>) {
        *self.own_node.write().ignore_poison() = node;
    }

    /// Makes `bound`, where an association takes the datagrams of its client, no target of others until the returned value is
    /// dropped: what comes there is trusted to be that client's.
    pub fn add_association(&self, bound: SocketAddr) -> OwnAssociation {
        self.own_listeners.add_association(bound)
    }

    /// Whether datagrams to `address` arrive at an association, in whichever form it is written.
    pub fn leads_to_association(&self, address: SocketAddr) -> bool {
        let judged = self.of(&Access::default()).judged(address.ip());
        judged.forms.into_iter().any(|form| self.own_listeners.has_association((form, address.port()).into()))
    }

    /// Whether a rule denies names, for all clients or for the user of `access`: it holds for the aliases of a name, too, which
    /// tailscaled alone tells.
    pub fn denies_names(&self, access: &Access) -> bool {
        let of_user = access.rules.iter().flat_map(|rules| &rules.deny);
        self.rules.deny.iter().chain(of_user).any(|rule| !rule.is_network())
    }

    fn own_node(&self) -> Arc<OwnNode> {
        Arc::clone(&self.own_node.read().ignore_poison())
    }
}

#[cfg(test)]
mod tests;
