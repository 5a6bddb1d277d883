//! What the policy lets through, and what it refuses.

mod allow_and_deny;
mod local_targets;
mod own_addresses;
mod reserved;
mod users;

use super::*;
use crate::config::types::Value;
use crate::config::types::enums::LocalTargetSetting;
use crate::config::types::rule::Rule;
use crate::proxy::policy::access::Access;
use crate::proxy::policy::client_policy::ClientPolicy;
use crate::target::host::HostName;
use crate::target::ranges::canonical_ip;

/// A client of this machine.
const HERE: Access = Access { by_network: false, rules: None };
/// A client of a listener that other machines reach.
const NETWORK: Access = Access { by_network: true, rules: None };

fn rules(texts: &[&str]) -> Vec<Rule> {
    texts.iter().map(|text| Rule::parse(text).expect("a rule")).collect()
}

/// A policy without listeners of its own, which does not know this node.
fn of_rules(direct: Direct, allow: &[&str], deny: &[&str]) -> Policy {
    let rules = Rules { allow: rules(allow), deny: rules(deny) };
    Policy::new(direct, LocalTargets::default(), rules, OwnListeners::default())
}

fn allows(direct: Direct, address: &str) -> bool {
    let target = Target::new(address, 80).expect("a target");
    let policy = of_rules(direct, &[], &[]);
    let policy = policy.of(&HERE);
    policy.check_direct(&target, &policy.judged(address.parse().expect("address"))).is_ok()
}

/// Whether a name that resolves to `address`, outside of the tailnet, may be reached.
fn allows_name(policy: &Policy, name: &str, address: &str) -> bool {
    let target = Target::new(name, 80).expect("a target");
    let policy = policy.of(&HERE);
    let judged = policy.judged(address.parse().expect("address"));
    policy.check_target(&target).and_then(|()| policy.check_direct(&target, &judged)).is_ok()
}

fn policy(direct: Direct, allow: &[&str], deny: &[&str]) -> Policy {
    let listeners = ["127.0.0.1:1055", "0.0.0.0:1056"].map(|bound| bound.parse().expect("an address"));
    let rules = Rules { allow: rules(allow), deny: rules(deny) };
    let policy = Policy::new(direct, LocalTargets::default(), rules, OwnListeners::new(listeners.to_vec()));
    policy.set_own_node(Arc::new(OwnNode {
        name: HostName::parse("box.tail.test").ok(),
        domain: "tail.test".to_owned(),
        addresses: ["100.64.0.1", "fd7a:115c:a1e0::1"].map(|address| address.parse().expect("an address")).to_vec(),
    }));
    policy
}

/// Whether `host` and `port` are let through when they stand for `address`, by a node of the tailnet or directly.
fn lets(policy: &Policy, host: &str, address: &str, port: u16, by_tailnet: bool) -> bool {
    lets_client(policy.of(&HERE), host, address, port, by_tailnet)
}

fn lets_client(policy: ClientPolicy<'_>, host: &str, address: &str, port: u16, by_tailnet: bool) -> bool {
    let target = Target::new(host, port).expect("a target");
    let judged = policy.judged(canonical_ip(address.parse().expect("an address")));
    let check = || match by_tailnet {
        true => policy.check_address(&target, &judged),
        false => policy.check_direct(&target, &judged),
    };
    policy.check_target(&target).and_then(|()| check()).is_ok()
}
