//! The policy: which targets clients may reach.
//!
//! It follows from the settings `allow`, `deny` and `direct`, and from the ranges that are reserved.

pub(crate) mod reserved;
pub(crate) mod resolve;

use std::net::{IpAddr, SocketAddr};
use std::sync::RwLock;

use crate::config::types::enums::Direct;
use crate::config::types::rule::Rule;
use crate::proxy::policy::reserved::{Reserved, reserved_range};
use crate::sync::IgnorePoison;
use crate::target::dial::DialError;
use crate::target::host::{Host, Target};

/// The rules about targets. `deny` wins over `allow`; with an `allow` nothing else may be reached; an address that
/// `allow` names is reachable even where it is reserved.
#[derive(Debug)]
pub struct Policy {
    direct: Direct,
    allow: Vec<Rule>,
    deny: Vec<Rule>,
    /// Domain of the tailnet's own names; empty until it is known.
    domain: RwLock<String>,
}

impl Policy {
    /// Creates a policy that does not know the tailnet's domain yet.
    pub fn new(direct: Direct, allow: Vec<Rule>, deny: Vec<Rule>) -> Self {
        Self { direct, allow, deny, domain: RwLock::default() }
    }

    /// Whether targets have to be resolved to addresses: there are rules about those.
    pub fn needs_addresses(&self) -> bool {
        self.allow.iter().chain(&self.deny).any(Rule::is_network)
    }

    /// Whether there are rules about names.
    pub fn has_rules_about_names(&self) -> bool {
        !self.allow.iter().chain(&self.deny).all(Rule::is_network)
    }

    /// Sets the domain of the tailnet's own names, in lower case and without dots around it.
    pub fn set_domain(&self, domain: String) {
        *self.domain.write().ignore_poison() = domain;
    }

    /// Whether `rule` is about this name, or about the other name of the same node.
    fn covers_name(&self, rule: &Rule, name: &str, port: u16) -> bool {
        let domain = self.domain.read().ignore_poison();
        let short = name.strip_suffix(domain.as_str()).and_then(|label| label.strip_suffix('.'));
        let other = match short {
            Some(label) => label.to_owned(),
            None if name.contains('.') => String::new(),
            None => format!("{name}.{domain}"),
        };
        let other_counts = !domain.is_empty() && !other.is_empty();
        rule.covers_name(name, port) || (other_counts && rule.covers_name(&other, port))
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

    /// Checks an address that `target` stands for.
    pub fn check_address(&self, target: &Target, address: IpAddr) -> Result<(), DialError> {
        let port = target.port;
        if self.denies(address, port) {
            return Err(DialError::Policy(format!("{address} port {port} is in deny")));
        }
        if self.allows_address(address, port) {
            return Ok(());
        }
        // An exit node would lead to the metadata of the machine that it runs on.
        if let Some(why @ Reserved::Local(_)) = reserved_range(address) {
            return Err(DialError::Policy(format!("{address} is {why}")));
        }
        if self.allow.is_empty() || self.allows_name(target) {
            return Ok(());
        }
        Err(DialError::Policy(format!("{address} port {port} is not in allow")))
    }

    /// Checks an address that is about to be dialled directly: the address that a name resolved to, not the name.
    pub fn check_direct(&self, target: &Target, address: SocketAddr) -> Result<(), DialError> {
        self.check_address(target, address.ip())?;
        // A rule about a network that contains tailnet addresses does not allow direct dials to them.
        let is_named = self.allow.iter().any(|rule| rule.is_address(address.ip(), address.port()));
        let is_of_tailnet = reserved_range(address.ip()) == Some(Reserved::Tailnet);
        if is_named || (!is_of_tailnet && self.allows_address(address.ip(), address.port())) {
            return Ok(());
        }
        // A name in `allow` does not open the way to what must never be reached: it may resolve to anything.
        check_reserved(address.ip())?;
        if self.direct == Direct::Deny && !self.allows_name(target) {
            return Err(DialError::Policy(format!("{address} is outside the tailnet and direct = deny")));
        }
        Ok(())
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

    /// Whether `deny` names this address.
    pub fn denies(&self, address: IpAddr, port: u16) -> bool {
        self.deny.iter().any(|rule| rule.covers_address(address, port))
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

    fn allows_address(&self, address: IpAddr, port: u16) -> bool {
        self.allow.iter().any(|rule| rule.covers_address(address, port))
    }
}

/// Refuses a reserved address. Addresses in the tailnet's ranges come here only once no node was found to have them.
pub fn check_reserved(address: IpAddr) -> Result<(), DialError> {
    reserved_range(address).map_or(Ok(()), |why| Err(DialError::Policy(format!("{address} is {why}"))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::types::Value;

    fn rules(texts: &[&str]) -> Vec<Rule> {
        texts.iter().map(|text| Rule::parse(text).expect("a rule")).collect()
    }

    fn allows(direct: Direct, address: &str) -> bool {
        let address = SocketAddr::new(address.parse().expect("address"), 80);
        Policy::new(direct, Vec::new(), Vec::new()).check_direct(&address.into(), address).is_ok()
    }

    /// Whether a name that resolves to `address`, outside of the tailnet, may be reached.
    fn allows_name(policy: &Policy, name: &str, address: &str) -> bool {
        let target = Target::new(name, 80).expect("a target");
        let address = SocketAddr::new(address.parse().expect("address"), 80);
        policy.check_target(&target).and_then(|()| policy.check_direct(&target, address)).is_ok()
    }

    #[test]
    fn with_an_allow_nothing_else_is_reached_and_deny_wins() {
        let policy = Policy::new(
            Direct::Allow,
            rules(&["web:80", "*.example.com", "10.0.0.0/8"]),
            rules(&["10.9.0.0/16", "bad.example.com"]),
        );
        assert!(allows_name(&policy, "web", "192.0.2.1"));
        assert!(allows_name(&policy, "a.example.com", "192.0.2.1"));
        assert!(allows_name(&policy, "other", "10.1.1.1"));
        assert!(!allows_name(&policy, "other", "192.0.2.1"));
        assert!(!allows_name(&policy, "bad.example.com", "10.1.1.1"));
        assert!(!allows_name(&policy, "web", "10.9.1.1"), "a name cannot smuggle in a denied address");
        assert!(
            policy.check_target(&Target::new("web", 81).expect("a target")).is_ok(),
            "its address may yet be in allow"
        );
        assert!(
            policy
                .check_address(&Target::new("web", 81).expect("a target"), "192.0.2.1".parse().expect("address"))
                .is_err()
        );
    }

    #[test]
    fn only_a_rule_about_the_address_opens_the_way_to_metadata() {
        let by_name = Policy::new(Direct::Allow, rules(&["meta"]), Vec::new());
        assert!(!allows_name(&by_name, "meta", "169.254.169.254"));
        let by_address = Policy::new(Direct::Deny, rules(&["169.254.169.254:80"]), Vec::new());
        assert!(allows_name(&by_address, "meta", "169.254.169.254"));
        assert!(!allows_name(&by_address, "meta", "169.254.170.2"));
    }

    #[test]
    fn what_allow_names_is_reached_though_direct_is_denied() {
        let policy = Policy::new(Direct::Deny, rules(&["api.example.com:80"]), Vec::new());
        assert!(allows_name(&policy, "api.example.com", "192.0.2.1"));
        assert!(!allows_name(&Policy::new(Direct::Deny, Vec::new(), Vec::new()), "api.example.com", "192.0.2.1"));
    }

    #[test]
    fn metadata_link_local_and_unknown_tailnet_addresses_are_refused_in_every_spelling() {
        for address in [
            "169.254.169.254",
            "169.254.170.2",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::a9fe:a9fe",
            "::ffff:0:a9fe:a9fe",
            "::169.254.169.254",
            "2002:a9fe:a9fe::1",
            "fe80::1",
            "febf::1",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "100.64.0.1",
            "100.127.255.255",
            "::ffff:100.100.100.100",
            "fd7a:115c:a1e0::1",
        ] {
            assert!(!allows(Direct::Allow, address), "{address}");
        }
    }

    #[test]
    fn addresses_beside_those_ranges_are_ordinary() {
        for address in
            ["100.63.255.255", "100.128.0.0", "169.253.0.1", "10.0.0.1", "127.0.0.1", "fec0::1", "fd00:ec3::1", "::1"]
        {
            assert!(allows(Direct::Allow, address), "{address}");
            assert!(!allows(Direct::Deny, address), "{address}");
        }
    }
}
