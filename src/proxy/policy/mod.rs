//! The policy: which targets clients may reach.
//!
//! `allow`, `deny` and `direct` say so, the ranges that are reserved, and the daemon's own listeners. An address is judged in
//! every form that it may be reached by: itself, addresses inside it, and loopback where it is this node's own.

pub mod own_listeners;
pub(crate) mod reserved;
pub(crate) mod resolve;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, RwLock};

use crate::config::types::enums::Direct;
use crate::config::types::rule::Rule;
use crate::proxy::policy::own_listeners::OwnListeners;
use crate::proxy::policy::reserved::{Reserved, reserved_network};
use crate::sync::IgnorePoison;
use crate::target::dial::DialError;
use crate::target::embedded::embedded_ipv4;
use crate::target::host::{Host, Target};
use crate::target::own_node::OwnNode;
use crate::target::ranges::{canonical_ip, is_of_a_tailnet, is_private};

/// The rules about targets. `deny` wins over `allow`; with an `allow` nothing else may be reached; a reserved address is
/// reached only by a rule of `allow` about it.
#[derive(Debug)]
pub struct Policy {
    direct: Direct,
    allow: Vec<Rule>,
    deny: Vec<Rule>,
    own_listeners: OwnListeners,
    /// Empty until it is known.
    own_node: RwLock<Arc<OwnNode>>,
}

impl Policy {
    /// Creates a policy that does not know this node yet.
    pub fn new(direct: Direct, allow: Vec<Rule>, deny: Vec<Rule>, own_listeners: OwnListeners) -> Self {
        Self { direct, allow, deny, own_listeners, own_node: RwLock::default() }
    }

    /// Whether targets have to be resolved to addresses: there are rules about those.
    pub fn needs_addresses(&self) -> bool {
        self.allow.iter().chain(&self.deny).any(Rule::is_network)
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

    fn own_node(&self) -> Arc<OwnNode> {
        Arc::clone(&self.own_node.read().ignore_poison())
    }

    /// Whether `rule` is about this name, or about the other name of the same node.
    fn covers_name(&self, rule: &Rule, name: &str, port: u16) -> bool {
        rule.covers_name(name, port)
            || self.own_node().other_name(name).is_some_and(|other| rule.covers_name(&other, port))
    }

    /// Checks a target as the client gave it, before anything is dialled. A name that no rule names may still be
    /// allowed by its address.
    pub fn check_target(&self, target: &Target) -> Result<(), DialError> {
        match &target.host {
            Host::Ip(address) => self.check_address(target, *address),
            Host::Name(_) => {
                self.check_name(target)?;
                let may_be =
                    self.allow.is_empty() || self.allows_name(target) || self.allow.iter().any(Rule::is_network);
                if may_be { Ok(()) } else { Err(DialError::Policy(format!("{target} is not in allow"))) }
            }
        }
    }

    /// Checks an address that `target` stands for, whichever way leads there.
    pub fn check_address(&self, target: &Target, address: IpAddr) -> Result<(), DialError> {
        let port = target.port;
        self.check_denied(address, port)?;
        self.check_own_listeners(address, port)?;
        // An exit node would lead to the metadata of the machine that it runs on.
        self.check_reserved(address, port, |why| matches!(why, Reserved::Local(_)))?;
        if !self.allow.is_empty() && !self.allows_address(address, port) && !self.allows_name(target) {
            return Err(DialError::Policy(format!("{address} port {port} is not in allow")));
        }
        // This node's own addresses lead to loopback, through the tailnet as well.
        if self.own_node().has(address) { self.check_past_the_tunnel(target, address) } else { Ok(()) }
    }

    /// Checks an address that is about to be dialled directly: the address that a name resolved to, not the name.
    pub fn check_direct(&self, target: &Target, address: SocketAddr) -> Result<(), DialError> {
        self.check_address(target, address.ip())?;
        self.check_reserved(address.ip(), address.port(), |_| true)?;
        self.check_past_the_tunnel(target, address.ip())
    }

    /// Checks an address that is reached outside the tailnet. A name in `allow` may resolve to anything, so it opens the way to
    /// public addresses alone.
    fn check_past_the_tunnel(&self, target: &Target, address: IpAddr) -> Result<(), DialError> {
        let port = target.port;
        if self.allows_address(address, port) {
            return Ok(());
        }
        if self.allows_name(target) {
            if self.forms(address).into_iter().all(|form| !is_private(form)) || self.is_ones_own_name(target, address) {
                return Ok(());
            }
            let why =
                "a private address; a name in allow reaches public and tailnet addresses alone, so add the address too";
            return Err(DialError::Policy(format!("{target} is at {address}, {why}")));
        }
        match self.direct {
            Direct::Deny => Err(DialError::Policy(format!("{address} is outside the tailnet and direct = deny"))),
            Direct::Allow => Ok(()),
        }
    }

    /// Whether nobody else can give the name of `target` another address: `localhost`, or this node's own.
    fn is_ones_own_name(&self, target: &Target, address: IpAddr) -> bool {
        let Host::Name(name) = &target.host else { return false };
        let node = self.own_node();
        (name.as_str() == "localhost" && address.is_loopback()) || (node.is_named(name) && node.has(address))
    }

    /// Checks a name that leads through the tailnet to an address that is not known, such as one behind a subnet
    /// router. The name is refused where there are rules about addresses, unless `allow` names the name.
    pub fn check_unresolved(&self, target: &Target) -> Result<(), DialError> {
        let Host::Name(_) = target.host else { return Ok(()) };
        let denies_networks = self.deny.iter().any(Rule::is_network);
        let needs_naming = !self.allow.is_empty() && !self.allows_name(target);
        if denies_networks || needs_naming {
            let reason = "the rules are about addresses, and the address behind this name is not known";
            return Err(DialError::Policy(format!("{target}: {reason}")));
        }
        Ok(())
    }

    /// Whether `deny` is about this address, or about one of its other forms.
    pub fn denies(&self, address: IpAddr, port: u16) -> bool {
        self.check_denied(address, port).is_err()
    }

    fn check_denied(&self, address: IpAddr, port: u16) -> Result<(), DialError> {
        let is_denied = |form: &IpAddr| self.deny.iter().any(|rule| rule.covers_address(*form, port));
        match self.forms(address).into_iter().find(is_denied) {
            None => Ok(()),
            Some(form) if form == address => Err(DialError::Policy(format!("{address} port {port} is in deny"))),
            Some(form) => Err(DialError::Policy(format!("{address} leads to {form}; port {port} of it is in deny"))),
        }
    }

    fn check_own_listeners(&self, address: IpAddr, port: u16) -> Result<(), DialError> {
        let is_own = self.forms(address).into_iter().any(|form| self.own_listeners.has(form, port));
        if is_own && !self.allow.iter().any(|rule| rule.is_endpoint(address, port)) {
            let hint = "only a rule of allow about just this address and port opens it";
            return Err(DialError::Policy(format!("{address} port {port} is a listener of tetherd itself; {hint}")));
        }
        Ok(())
    }

    /// Refuses an address that is reserved for one of the reasons that `counts`, unless a rule of `allow` is about nothing
    /// wider. The tailnet's ranges are opened by a rule about the one address only: a packet for a node that is not there must
    /// not leave past the tunnel.
    fn check_reserved(&self, address: IpAddr, port: u16, counts: impl Fn(Reserved) -> bool) -> Result<(), DialError> {
        for form in self.forms(address) {
            let Some((network, why)) = reserved_network(form).filter(|(_, why)| counts(*why)) else { continue };
            let opens = |rule: &Rule| {
                rule.is_address(address, port)
                    || (why != Reserved::Tailnet && rule.covers_within(&network, address, port))
            };
            if !self.allow.iter().any(opens) {
                return Err(is_reserved(address, form, why));
            }
        }
        Ok(())
    }

    /// Checks a name of a target by the rules that deny.
    pub fn check_name(&self, target: &Target) -> Result<(), DialError> {
        let Host::Name(name) = &target.host else { return Ok(()) };
        let is_denied = self.deny.iter().any(|rule| self.covers_name(rule, name.as_str(), target.port));
        if is_denied { Err(DialError::Policy(format!("{target} is in deny"))) } else { Ok(()) }
    }

    fn allows_name(&self, target: &Target) -> bool {
        let Host::Name(name) = &target.host else { return false };
        self.allow.iter().any(|rule| self.covers_name(rule, name.as_str(), target.port))
    }

    /// Whether `allow` is about this address itself; for one of this node's own, also about loopback.
    fn allows_address(&self, address: IpAddr, port: u16) -> bool {
        let covers = |address| self.allow.iter().any(|rule| rule.covers_address(address, port));
        covers(address) || (self.own_node().has(address) && LOOPBACK.into_iter().any(covers))
    }

    /// Returns the address and every other one that the same packet may reach.
    fn forms(&self, address: IpAddr) -> Vec<IpAddr> {
        let mut forms = forms(address);
        if self.own_node().has(address) {
            forms.extend(LOOPBACK);
        }
        forms
    }
}

const LOOPBACK: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

fn forms(address: IpAddr) -> Vec<IpAddr> {
    let address = canonical_ip(address);
    let mut forms = vec![address];
    if let IpAddr::V6(v6) = address {
        forms.extend(embedded_ipv4(v6).into_iter().map(|inner| canonical_ip(inner.into())));
    }
    forms
}

fn is_reserved(address: IpAddr, form: IpAddr, why: Reserved) -> DialError {
    DialError::Policy(if form == address {
        format!("{address} is {why}")
    } else {
        format!("{address} leads to {form}, {why}")
    })
}

/// Refuses a reserved address, whatever `allow` says. Addresses in the tailnet's ranges come here only once no node was found to have them.
pub fn refuse_reserved(address: IpAddr) -> Result<(), DialError> {
    let found = forms(address).into_iter().find_map(|form| Some((form, reserved_network(form)?.1)));
    found.map_or(Ok(()), |(form, why)| Err(is_reserved(address, form, why)))
}

#[cfg(test)]
mod tests;
