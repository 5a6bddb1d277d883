//! Judges the targets of one client by the policy.
//!
//! An address is judged in every form that it may be reached by: itself, addresses inside it, and loopback where it is this
//! node's own. `deny` wins over `allow`; a reserved address is reached only by a rule of `allow` about it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

use crate::config::types::enums::Direct;
use crate::config::types::rule::Rule;
use crate::proxy::policy::Policy;
use crate::proxy::policy::access::{Access, Rules};
use crate::proxy::policy::reserved::{Reserved, reserved_network};
use crate::target::dial::DialError;
use crate::target::embedded::address_forms;
use crate::target::host::{Host, Target};
use crate::target::ranges::{is_of_a_tailnet, is_private, private_network};

/// The policy as it holds for one client.
#[derive(Clone, Copy, Debug)]
pub struct ClientPolicy<'a> {
    policy: &'a Policy,
    access: &'a Access,
}

impl Policy {
    /// Returns what holds for a client with `access`.
    pub fn of<'a>(&'a self, access: &'a Access) -> ClientPolicy<'a> {
        ClientPolicy { policy: self, access }
    }
}

impl<'a> ClientPolicy<'a> {
    /// The rules for all clients, then those of the client's user.
    fn all_rules(&self) -> impl Iterator<Item = &'a Rules> {
        std::iter::once(&self.policy.rules).chain(self.access.rules.as_deref())
    }

    /// Whether `rule` is about this name, or about the other name of the same node.
    fn covers_name(&self, rule: &Rule, name: &str, port: u16) -> bool {
        rule.covers_name(name, port)
            || self.policy.own_node().other_name(name).is_some_and(|other| rule.covers_name(&other, port))
    }

    /// Checks a target as the client gave it, before anything is dialled. A name that no rule names may still be
    /// allowed by its address.
    pub fn check_target(&self, target: &Target) -> Result<(), DialError> {
        match &target.host {
            Host::Ip(address) => self.check_address(target, *address),
            Host::Name(_) => {
                self.check_name(target)?;
                let may_be = |rules: &Rules| {
                    rules.allow.is_empty()
                        || self.allows_name(rules, target)
                        || rules.allow.iter().any(Rule::is_network)
                };
                match self.all_rules().all(may_be) {
                    true => Ok(()),
                    false => Err(DialError::Policy(format!("{target} is not in allow"))),
                }
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
        let is_allowed = |rules: &Rules| {
            rules.allow.is_empty() || self.allows_address(rules, address, port) || self.allows_name(rules, target)
        };
        if !self.all_rules().all(is_allowed) {
            return Err(DialError::Policy(format!("{address} port {port} is not in allow")));
        }
        // This node's own addresses lead to loopback, through the tailnet as well.
        if self.policy.is_own_address(address) { self.check_past_the_tunnel(target, address) } else { Ok(()) }
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
        let rules = &self.policy.rules;
        let names_own = self.allows_name(rules, target) && self.is_ones_own_name(target, address);
        if !names_own {
            self.check_local(address, target.port)?;
        }
        let users = self.access.rules.as_deref();
        if users.is_some_and(|users| self.is_private_by_name_alone(users, target, address)) {
            return Err(private_by_name(target, address));
        }
        if names_own || self.allows_address(rules, address, target.port) {
            return Ok(());
        }
        if self.is_private_by_name_alone(rules, target, address) {
            return Err(private_by_name(target, address));
        }
        if self.allows_name(rules, target) {
            return Ok(());
        }
        match self.policy.direct {
            Direct::Deny => Err(DialError::Policy(format!("{address} is outside the tailnet and direct = deny"))),
            Direct::Allow => Ok(()),
        }
    }

    /// Whether `allow` is about the name alone of a target whose address is private: whoever decides about the name would
    /// decide what is reached.
    fn is_private_by_name_alone(&self, rules: &Rules, target: &Target, address: IpAddr) -> bool {
        self.allows_name(rules, target)
            && !self.allows_address(rules, address, target.port)
            && !self.is_ones_own_name(target, address)
            && self.forms(address).into_iter().any(is_private)
    }

    /// Checks an address that the owner of a name has chosen, who may be anybody. Where `allow` names just the name, it leads to
    /// public addresses alone: not to nodes of the tailnet, nor to what is behind them.
    pub fn check_chosen(&self, target: &Target, address: IpAddr) -> Result<(), DialError> {
        let is_said = |rules: &Rules| rules.allow.is_empty() || self.allows_address(rules, address, target.port);
        let is_public = self.forms(address).into_iter().all(|form| !is_private(form));
        if is_public || self.is_ones_own_name(target, address) || self.all_rules().all(is_said) {
            return Ok(());
        }
        Err(private_by_name(target, address))
    }

    /// Checks an address of this machine or of its networks by `loopback` and `private`. Where those deny, a rule of `allow`
    /// opens the address, if it is about nothing but such addresses.
    fn check_local(&self, address: IpAddr, port: u16) -> Result<(), DialError> {
        for form in self.forms(address) {
            let Some(network) = private_network(form).filter(|_| !is_of_a_tailnet(form)) else { continue };
            let denied_by = self.policy.local_targets.denied_by(form, self.access.by_network);
            if let Some(setting) = denied_by.filter(|_| !self.opens(&network, address, port)) {
                let whose = if self.access.by_network { " for clients of the network" } else { "" };
                let hint = format!("set {setting} = allow, or add the address to allow");
                return Err(DialError::Policy(format!("{address} is refused by {setting}{whose}: {hint}")));
            }
        }
        Ok(())
    }

    /// Whether a rule of `allow` is about this address, and about nothing outside of `network`. One about loopback is also about
    /// this node's own addresses, which lead there.
    fn opens(&self, network: &IpNet, address: IpAddr, port: u16) -> bool {
        let opens = |rule: &Rule| {
            let leads_to = |loopback| {
                private_network(loopback).is_some_and(|network| rule.covers_within(&network, loopback, port))
            };
            rule.covers_within(network, address, port)
                || rule.is_address(address, port)
                || (self.policy.is_own_address(address) && LOOPBACK.into_iter().any(leads_to))
        };
        self.policy.rules.allow.iter().any(opens)
    }

    /// Whether nobody else can give the name of `target` another address: `localhost`, or this node's own.
    fn is_ones_own_name(&self, target: &Target, address: IpAddr) -> bool {
        let Host::Name(name) = &target.host else { return false };
        let node = self.policy.own_node();
        (name.as_str() == "localhost" && address.is_loopback()) || (node.is_named(name) && node.has(address))
    }

    /// Checks a name that leads through the tailnet to an address that is not known, such as one behind a subnet
    /// router. The name is refused where there are rules about addresses, unless `allow` names the name.
    pub fn check_unresolved(&self, target: &Target) -> Result<(), DialError> {
        let Host::Name(_) = target.host else { return Ok(()) };
        let is_unclear = |rules: &Rules| {
            let needs_naming = !rules.allow.is_empty() && !self.allows_name(rules, target);
            needs_naming || rules.deny.iter().any(Rule::is_network)
        };
        if self.all_rules().any(is_unclear) {
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
        let denies = |rules: &Rules, form| rules.deny.iter().any(|rule| rule.covers_address(form, port));
        let is_denied = |form: &IpAddr| self.all_rules().any(|rules| denies(rules, *form));
        match self.forms(address).into_iter().find(is_denied) {
            None => Ok(()),
            Some(form) if form == address => Err(DialError::Policy(format!("{address} port {port} is in deny"))),
            Some(form) => Err(DialError::Policy(format!("{address} leads to {form}; port {port} of it is in deny"))),
        }
    }

    fn check_own_listeners(&self, address: IpAddr, port: u16) -> Result<(), DialError> {
        let is_own = self.forms(address).into_iter().any(|form| self.policy.own_listeners.has(form, port));
        if is_own && !self.policy.rules.allow.iter().any(|rule| rule.is_endpoint(address, port)) {
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
            if !self.policy.rules.allow.iter().any(opens) {
                return Err(why.refusal(address, form));
            }
        }
        Ok(())
    }

    /// Checks a name of a target by the rules that deny.
    pub fn check_name(&self, target: &Target) -> Result<(), DialError> {
        let Host::Name(name) = &target.host else { return Ok(()) };
        let denies = |rule: &Rule| self.covers_name(rule, name.as_str(), target.port);
        let is_denied = self.all_rules().any(|rules| rules.deny.iter().any(denies));
        if is_denied { Err(DialError::Policy(format!("{target} is in deny"))) } else { Ok(()) }
    }

    fn allows_name(&self, rules: &Rules, target: &Target) -> bool {
        let Host::Name(name) = &target.host else { return false };
        rules.allow.iter().any(|rule| self.covers_name(rule, name.as_str(), target.port))
    }

    /// Whether `allow` is about this address itself; for one of this node's own, also about loopback.
    fn allows_address(&self, rules: &Rules, address: IpAddr, port: u16) -> bool {
        let covers = |address| rules.allow.iter().any(|rule| rule.covers_address(address, port));
        covers(address) || (self.policy.is_own_address(address) && LOOPBACK.into_iter().any(covers))
    }

    /// Returns the address and every other one that the same packet may reach.
    pub(super) fn forms(&self, address: IpAddr) -> Vec<IpAddr> {
        let mut forms = address_forms(address);
        if self.policy.is_own_address(address) {
            forms.extend(LOOPBACK);
        }
        forms
    }
}

const PRIVATE_BY_NAME: &str = "a private address; in allow a name that is not the tailnet's own reaches public addresses alone: add the address, too";

const LOOPBACK: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

fn private_by_name(target: &Target, address: IpAddr) -> DialError {
    DialError::Policy(format!("{target} is at {address}, {PRIVATE_BY_NAME}"))
}
