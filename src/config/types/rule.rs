//! A rule of `allow` and `deny`: a host, a suffix, an address or a network.
//!
//! The forms are `host`, `*.suffix`, an address or a CIDR, each with an optional `:port` or `:port-port`.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use ipnet::IpNet;

use crate::config::types::Value;
use crate::target::ranges::{canonical_ip, canonical_net};

/// Hosts that a rule covers.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Hosts {
    /// One name, in lower case.
    Name(String),
    /// Every name below this suffix, which begins with a dot.
    Below(String),
    Network(IpNet),
}

/// Hosts and ports, allowed or denied together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    hosts: Hosts,
    ports: RangeInclusive<u16>,
}

impl Rule {
    /// Whether the rule is about addresses: then a name says nothing until it is resolved.
    pub fn is_network(&self) -> bool {
        matches!(self.hosts, Hosts::Network(_))
    }

    /// Whether the rule names this host; never for a rule about addresses.
    pub fn covers_name(&self, name: &str, port: u16) -> bool {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let covers = match &self.hosts {
            Hosts::Name(own) => *own == name,
            Hosts::Below(suffix) => name.ends_with(suffix.as_str()),
            Hosts::Network(_) => false,
        };
        covers && self.ports.contains(&port)
    }

    /// Whether the rule names this one address, and no network around it.
    pub fn is_address(&self, address: IpAddr, port: u16) -> bool {
        let whole = matches!(&self.hosts, Hosts::Network(network) if network.prefix_len() == network.max_prefix_len());
        whole && self.covers_address(address, port)
    }

    /// Whether the address is in the rule's network; never for a rule about names.
    pub fn covers_address(&self, address: IpAddr, port: u16) -> bool {
        match &self.hosts {
            Hosts::Network(network) => network.contains(&canonical_ip(address)) && self.ports.contains(&port),
            Hosts::Name(_) | Hosts::Below(_) => false,
        }
    }
}

impl Value for Rule {
    const EXPECTED: &'static str =
        "a host, *.suffix, address or CIDR, with an optional :port or :port-port, such as db:5432 or 10.0.0.0/8";

    fn parse(text: &str) -> Option<Self> {
        let (host, ports) = split(text)?;
        Some(Self { hosts: hosts(host)?, ports: ports.map_or(Some(0..=u16::MAX), port_range)? })
    }
}

/// Splits a rule into host and ports. An IPv6 address stands in brackets where ports follow it.
fn split(text: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        return match rest.strip_prefix(':') {
            Some(ports) => Some((host, Some(ports))),
            None => rest.is_empty().then_some((host, None)),
        };
    }
    match text.split_once(':') {
        Some((host, ports)) if !ports.contains(':') => Some((host, Some(ports))),
        _ => Some((text, None)),
    }
}

fn hosts(host: &str) -> Option<Hosts> {
    if let Ok(network) = host.parse::<IpNet>() {
        return Some(Hosts::Network(canonical_net(network)));
    }
    if let Ok(address) = host.parse::<IpAddr>() {
        return Some(Hosts::Network(canonical_ip(address).into()));
    }
    let name = host.strip_prefix("*.").unwrap_or(host).trim_end_matches('.').to_ascii_lowercase();
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_name = name.split('.').all(|label| !label.is_empty())
        // Programs read 010.0.0.1 and 1.2.3 as different addresses, and none of them reads a name.
        && !last.chars().all(|c| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    let below = host.starts_with("*.");
    is_name.then(|| if below { Hosts::Below(format!(".{name}")) } else { Hosts::Name(name) })
}

fn port_range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let range = first.parse().ok()?..=last.parse().ok()?;
    (!range.is_empty()).then_some(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> Rule {
        Rule::parse(text).unwrap_or_else(|| panic!("{text} is a rule"))
    }

    fn address(text: &str) -> IpAddr {
        text.parse().expect("address")
    }

    #[test]
    fn names_are_compared_whole_and_without_case() {
        assert!(rule("db").covers_name("DB.", 5432));
        assert!(!rule("db").covers_name("db.example.com", 5432));
        assert!(rule("*.example.com").covers_name("a.b.Example.com", 1));
        assert!(!rule("*.example.com").covers_name("example.com", 1));
        assert!(!rule("*.example.com").covers_name("badexample.com", 1));
    }

    #[test]
    fn addresses_and_networks_cover_mapped_addresses_too() {
        assert!(rule("10.0.0.0/8").covers_address(address("10.1.2.3"), 80));
        assert!(rule("10.1.2.3").covers_address(address("::ffff:10.1.2.3"), 80));
        assert!(rule("fd00::/8").covers_address(address("fd12::1"), 80));
        assert!(!rule("10.0.0.0/8").covers_address(address("11.1.2.3"), 80));
    }

    #[test]
    fn ports_narrow_a_rule() {
        assert!(rule("db:5432").covers_name("db", 5432));
        assert!(!rule("db:5432").covers_name("db", 5433));
        assert!(rule("[fd00::1]:80-90").covers_address(address("fd00::1"), 90));
        assert!(!rule("10.0.0.0/8:80-90").covers_address(address("10.0.0.1"), 91));
        assert!(rule("fd00::1").covers_address(address("fd00::1"), 1));
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        for text in
            ["", "*", "*.", "db:", "db:x", "db:9-1", "db:70000", "10.0.0.0/33", "a b", "[fd00::1]80", ".db", "*.*.db"]
                .into_iter()
                .chain(["010.0.0.1", "1.2.3", "10", "*.1"])
        {
            assert_eq!(Rule::parse(text), None, "{text}");
        }
    }
}
