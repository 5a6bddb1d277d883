//! Targets: what clients of the proxy reach beyond the tailnet.

use ipnet::IpNet;

use crate::cli::security::facts::Facts;
use crate::config::types::enums::Direct;
use crate::config::types::rule::Rule;
use crate::proxy::policy::reserved::{Reserved, reserved_network};
use crate::target::ranges::is_of_a_tailnet;

/// Shortest prefixes of networks that are not wide.
const NARROW_V4: u8 = 16;
const NARROW_V6: u8 = 48;

/// Loopback and private networks (RFC 1918, RFC 4193).
const PRIVATE: [&str; 6] = ["127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7"];

pub fn direct(facts: &Facts<'_>) -> Vec<String> {
    let listens = facts.on_the_network().filter(|_| dials_all(facts));
    listens.map(|listen| format!("targets outside the tailnet are dialled for clients of {listen}")).collect()
}

pub fn loopback(facts: &Facts<'_>) -> Vec<String> {
    local(facts, "loopback", "what listens on this machine's loopback")
}

pub fn private(facts: &Facts<'_>) -> Vec<String> {
    local(facts, "private", "the private networks of this machine")
}

/// Clients of the network for whom `setting` opens what else is denied to them.
fn local(facts: &Facts<'_>, setting: &str, what: &str) -> Vec<String> {
    let is_open = dials_all(facts) && !facts.settings.local_targets.denying(true).contains(&setting);
    facts.on_the_network().filter(|_| is_open).map(|listen| format!("clients of {listen} reach {what}")).collect()
}

/// Whether targets outside the tailnet are dialled without being named one by one.
fn dials_all(facts: &Facts<'_>) -> bool {
    facts.settings.direct == Direct::Allow && facts.settings.allow.is_empty()
}

pub fn denied_by_half(facts: &Facts<'_>) -> Vec<String> {
    let is_node = |network: &IpNet| network.prefix_len() == network.max_prefix_len() && is_of_a_tailnet(network.addr());
    let nodes: Vec<IpNet> = facts.settings.deny.iter().filter_map(Rule::network).filter(is_node).collect();
    let v4 = nodes.iter().filter(|network| network.addr().is_ipv4()).count();
    let v6 = nodes.len() - v4;
    let told = || format!("it names {v4} IPv4 and {v6} IPv6 addresses of nodes, each of which has one of either");
    (v4 != v6).then(told).into_iter().collect()
}

pub fn allowed_wide(facts: &Facts<'_>) -> Vec<String> {
    let is_wide = |rule: &&Rule| match rule.network() {
        Some(IpNet::V4(network)) => network.prefix_len() < NARROW_V4,
        Some(IpNet::V6(network)) => network.prefix_len() < NARROW_V6,
        None => rule.is_below_one_label(),
    };
    facts.settings.allow.iter().filter(is_wide).map(|rule| format!("{rule} is wide")).collect()
}

pub fn allowed_private(facts: &Facts<'_>) -> Vec<String> {
    let is_private = |network: IpNet| {
        PRIVATE.iter().filter_map(|private| private.parse::<IpNet>().ok()).any(|private| overlap(&private, &network))
    };
    let networks = facts.settings.allow.iter().filter(|rule| {
        rule.network().is_some_and(|network| network.prefix_len() < network.max_prefix_len() && is_private(network))
    });
    networks.map(|rule| format!("{rule} opens private addresses")).collect()
}

pub fn allowed_reserved(facts: &Facts<'_>) -> Vec<String> {
    let opens = |rule: &&Rule| {
        let Some(network) = rule.network() else { return false };
        let reserved = reserved_network(network.network());
        reserved.is_some_and(|(bounds, why)| bounds.contains(&network) && matches!(why, Reserved::Local(_)))
    };
    facts
        .settings
        .allow
        .iter()
        .filter(opens)
        .map(|rule| format!("{rule} opens metadata or link-local addresses"))
        .collect()
}

fn overlap(one: &IpNet, other: &IpNet) -> bool {
    one.contains(other) || other.contains(one)
}
