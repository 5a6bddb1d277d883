//! Judges the targets of one client by the policy.
//!
//! An address is judged in every form that it may be reached by: itself, addresses inside it, and loopback where it is this
//! node's own. `deny` wins over `allow`; a reserved address is reached only by a rule of `allow` about it.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::config::types::enums::Direct;
use crate::config::types::rule::Rule;
use crate::proxy::policy::Policy;
use crate::proxy::policy::access::{Access, Rules};
use crate::proxy::policy::judged_address::{JudgedAddress, LOOPBACK};
use crate::proxy::policy::reserved::{Reserved, reserved_network};
use crate::target::dial::DialError;
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
            Host::Ip(address) => self.check_address(target, &self.judged(*address)),
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

    /// Returns `address` with what it has to be judged by.
    pub fn judged(&self, address: IpAddr) -> JudgedAddress {
        JudgedAddress::new(address, &self.policy.own_node())
    }

    /// Checks an address that `target` stands for, whichever way leads there.
    pub fn check_address(&self, target: &Target, judged: &JudgedAddress) -> Result<(), DialError> {
        let port = target.port;
        self.check_denied(judged, port)?;
        self.check_own_listeners(judged, port)?;
        // An exit node would lead to the metadata of the machine that it runs on, and a gateway there to what is inside an address.
        self.check_reserved(judged, port, |form, why| matches!(why, Reserved::Local(_)) || judged.leads_out_to(form))?;
        let is_allowed = |rules: &Rules| {
            rules.allow.is_empty() || allows_address(rules, judged, port) || self.allows_name(rules, target)
        };
        if !self.all_rules().all(is_allowed) {
            return Err(DialError::Policy(format!("{} port {port} is not in allow", judged.address)));
        }
        // This node's own addresses lead to loopback, through the tailnet as well.
        if judged.is_own { self.check_past_the_tunnel(target, judged) } else { Ok(()) }
    }

    /// Checks an address that is about to be dialled directly: the address that a name resolved to, not the name.
    pub fn check_direct(&self, target: &Target, judged: &JudgedAddress) -> Result<(), DialError> {
        self.check_address(target, judged)?;
        self.check_reserved(judged, target.port, |_, _| true)?;
        self.check_past_the_tunnel(target, judged)
    }

    /// Checks an address that is reached outside the tailnet, and that the rules allow.
    fn check_past_the_tunnel(&self, target: &Target, judged: &JudgedAddress) -> Result<(), DialError> {
        let rules = &self.policy.rules;
        let allows_name = self.allows_name(rules, target);
        let names_own = self.allows_just_the_name(rules, target) && self.is_ones_own_name(target, judged.address);
        if !names_own {
            self.check_local(judged, target.port)?;
        }
        self.check_chosen(target, judged)?;
        match self.policy.direct {
            Direct::Deny if !allows_name && !allows_address(rules, judged, target.port) => {
                Err(DialError::Policy(format!("{} is outside the tailnet and direct = deny", judged.address)))
            }
            _ => Ok(()),
        }
    }

    /// Checks an address that the owner of a name has chosen, who may be anybody, and that the rules allow. Where `allow` names
    /// just the name, it leads to public addresses alone: not to nodes of the tailnet, nor to what is behind them.
    pub fn check_chosen(&self, target: &Target, judged: &JudgedAddress) -> Result<(), DialError> {
        let by_name_alone =
            |rules: &Rules| self.allows_name(rules, target) && !allows_address(rules, judged, target.port);
        if !self.all_rules().any(by_name_alone) || self.is_ones_own_name(target, judged.address) {
            return Ok(());
        }
        match judged.forms.iter().any(|form| is_private(*form) || self.policy.own_addresses.has(*form)) {
            true => Err(DialError::Policy(format!("{target} is at {}, {PRIVATE_BY_NAME}", judged.address))),
            false => Ok(()),
        }
    }

    /// Checks an address of this machine or of its networks by `loopback` and `private`. Where those deny, a rule of `allow`
    /// opens the address, if it is about nothing but such addresses.
    fn check_local(&self, judged: &JudgedAddress, port: u16) -> Result<(), DialError> {
        let address = judged.address;
        for form in judged.forms.iter().copied() {
            let Some((setting, network)) = self.local_denial(form) else { continue };
            if !self.opens(&network, judged, port) {
                let whose = if self.access.by_network { " for clients of the network" } else { "" };
                let hint = format!("set {setting} = allow, or add the address to allow");
                return Err(DialError::Policy(format!("{address} is refused by {setting}{whose}: {hint}")));
            }
        }
        Ok(())
    }

    /// Returns the setting that denies this client an address of this machine or of its networks, and the network that a rule
    /// must be about to open it. An address of an interface is loopback by another name: whatever listens everywhere answers.
    fn local_denial(&self, address: IpAddr) -> Option<(&'static str, IpNet)> {
        let denied_by = |address| self.policy.local_targets.denied_by(address, self.access.by_network);
        let network = private_network(address).filter(|_| !is_of_a_tailnet(address));
        let by_own = || denied_by(LOOPBACK[0]).filter(|_| self.policy.own_addresses.has(address));
        match network {
            Some(network) if address.is_loopback() => denied_by(address).map(|setting| (setting, network)),
            _ => by_own().map(|setting| (setting, address.into())).or_else(|| denied_by(address).zip(network)),
        }
    }

    /// Whether a rule of `allow` is about this address, and about nothing outside of `network`. One about loopback is also about
    /// this node's own addresses, which lead there.
    fn opens(&self, network: &IpNet, judged: &JudgedAddress, port: u16) -> bool {
        let opens = |rule: &Rule| {
            let leads_to = |loopback| {
                private_network(loopback).is_some_and(|network| rule.covers_within(&network, loopback, port))
            };
            rule.covers_within(network, judged.address, port)
                || rule.is_address(judged.address, port)
                || (judged.is_own && LOOPBACK.into_iter().any(leads_to))
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
    pub fn denies(&self, judged: &JudgedAddress, port: u16) -> bool {
        self.check_denied(judged, port).is_err()
    }

    fn check_denied(&self, judged: &JudgedAddress, port: u16) -> Result<(), DialError> {
        let denies = |rules: &Rules, form| rules.deny.iter().any(|rule| rule.covers_address(form, port));
        let is_denied = |form: &&IpAddr| self.all_rules().any(|rules| denies(rules, **form));
        let address = judged.address;
        match judged.forms.iter().find(is_denied) {
            None => Ok(()),
            Some(form) if *form == address => Err(DialError::Policy(format!("{address} port {port} is in deny"))),
            Some(form) => Err(DialError::Policy(format!("{address} leads to {form}; port {port} of it is in deny"))),
        }
    }

    fn check_own_listeners(&self, judged: &JudgedAddress, port: u16) -> Result<(), DialError> {
        let address = judged.address;
        let is_own = judged.forms.iter().any(|form| self.policy.own_listeners.has(*form, port));
        if is_own && !self.policy.rules.allow.iter().any(|rule| rule.is_endpoint(address, port)) {
            let hint = "only a rule of allow about just this address and port opens it";
            return Err(DialError::Policy(format!("{address} port {port} is a listener of tetherd itself; {hint}")));
        }
        Ok(())
    }

    /// Refuses an address one of whose forms is reserved for a reason that `counts`, unless a rule of `allow` is about nothing
    /// wider. The tailnet's ranges are opened by a rule about the one address only: a packet for a node that is not there must
    /// not leave past the tunnel.
    fn check_reserved(
        &self,
        judged: &JudgedAddress,
        port: u16,
        counts: impl Fn(IpAddr, Reserved) -> bool,
    ) -> Result<(), DialError> {
        let address = judged.address;
        for form in judged.forms.iter().copied() {
            let Some((network, why)) = reserved_network(form).filter(|(_, why)| counts(form, *why)) else { continue };
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

    /// Whether a rule of `allow` is about this name, or the other one of the same node, and no other.
    fn allows_just_the_name(&self, rules: &Rules, target: &Target) -> bool {
        let Host::Name(name) = &target.host else { return false };
        let other = self.policy.own_node().other_name(name.as_str());
        let is_about = |rule: &Rule, name: &str| rule.is_host_name(name, target.port);
        let names = [Some(name.as_str()), other.as_deref()].into_iter().flatten().collect::<Vec<_>>();
        rules.allow.iter().any(|rule| names.iter().any(|name| is_about(rule, name)))
    }

    fn allows_name(&self, rules: &Rules, target: &Target) -> bool {
        let Host::Name(name) = &target.host else { return false };
        rules.allow.iter().any(|rule| self.covers_name(rule, name.as_str(), target.port))
    }
}

/// Whether `allow` is about this address itself; for one of this node's own, also about loopback.
fn allows_address(rules: &Rules, judged: &JudgedAddress, port: u16) -> bool {
    let covers = |address| rules.allow.iter().any(|rule| rule.covers_address(address, port));
    covers(judged.address) || (judged.is_own && LOOPBACK.into_iter().any(covers))
}

const PRIVATE_BY_NAME: &str = "a private address; in allow a name that is not the tailnet's own reaches public addresses alone: add the address, too";
