//! A rule of `allow` and `deny`: a host, a suffix, an address or a network.
//!
//! The forms are `host`, `*.suffix`, an address or a CIDR, each with an optional `:port` or `:port-port`.

use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use ipnet::IpNet;

use crate::config::types::Value;
use crate::target::host::HostName;
use crate::target::port::{is_plain_number, parse_port};
use crate::target::ranges::{canonical_ip, canonical_net};

/// Hosts that a rule covers.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Hosts {
    Name(HostName),
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

    /// Returns the network that the rule is about; `None` for a rule about names.
    pub fn network(&self) -> Option<IpNet> {
        match self.hosts {
            Hosts::Network(network) => Some(network),
            Hosts::Name(_) | Hosts::Below(_) => None,
        }
    }

    /// Whether the rule is about all names below a single label, such as `*.com`.
    pub fn is_below_one_label(&self) -> bool {
        matches!(&self.hosts, Hosts::Below(suffix) if suffix.matches('.').count() == 1)
    }

    /// Whether the rule names this host, a name in its canonical form; never for a rule about addresses.
    pub fn covers_name(&self, name: &str, port: u16) -> bool {
        self.names(name) && self.ports.contains(&port)
    }

    /// Whether the rule is about nothing but this name: it is written in it.
    pub fn is_host_name(&self, name: &str, port: u16) -> bool {
        matches!(&self.hosts, Hosts::Name(own) if own.as_str() == name) && self.ports.contains(&port)
    }

    /// Whether the rule names this host, at whatever port.
    pub fn names(&self, name: &str) -> bool {
        match &self.hosts {
            Hosts::Name(own) => own.as_str() == name,
            Hosts::Below(suffix) => name.ends_with(suffix.as_str()),
            Hosts::Network(_) => false,
        }
    }

    /// Whether the rule is about every port that there is.
    pub fn has_every_port(&self) -> bool {
        *self.ports.start() <= 1 && *self.ports.end() == u16::MAX
    }

    /// Whether the rule is about this one address, and no network around it.
    pub fn is_address(&self, address: IpAddr, port: u16) -> bool {
        let whole = matches!(&self.hosts, Hosts::Network(network) if network.prefix_len() == network.max_prefix_len());
        whole && self.covers_address(address, port)
    }

    /// Whether the rule is about this one address and this one port.
    pub fn is_endpoint(&self, address: IpAddr, port: u16) -> bool {
        self.is_address(address, port) && self.ports.start() == self.ports.end()
    }

    /// Whether the rule covers the address by a network that lies within `bounds`.
    pub fn covers_within(&self, bounds: &IpNet, address: IpAddr, port: u16) -> bool {
        matches!(&self.hosts, Hosts::Network(network) if bounds.contains(network)) && self.covers_address(address, port)
    }

    /// Whether the address is in the rule's network; never for a rule about names.
    pub fn covers_address(&self, address: IpAddr, port: u16) -> bool {
        match &self.hosts {
            Hosts::Network(network) => network.contains(&canonical_ip(address)) && self.ports.contains(&port),
            Hosts::Name(_) | Hosts::Below(_) => false,
        }
    }
}

/// In the form that it is given in, but for a port range of one.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has_ports = self.ports != (0..=u16::MAX);
        match &self.hosts {
            Hosts::Name(name) => write!(f, "{name}")?,
            Hosts::Below(suffix) => write!(f, "*{suffix}")?,
            Hosts::Network(IpNet::V6(network)) if has_ports => write!(f, "[{network}]")?,
            Hosts::Network(network) => write!(f, "{network}")?,
        }
        match (self.ports.start(), self.ports.end()) {
            _ if !has_ports => Ok(()),
            (first, last) if first == last => write!(f, ":{first}"),
            (first, last) => write!(f, ":{first}-{last}"),
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
    if let Some(network) = parse_network(host) {
        return Some(Hosts::Network(canonical_net(network)));
    }
    if let Ok(address) = host.parse::<IpAddr>() {
        return Some(Hosts::Network(canonical_ip(address).into()));
    }
    let suffix = host.strip_prefix("*.");
    let name = HostName::parse(suffix.unwrap_or(host)).ok()?;
    // 010.0.0.1 and 1.2.3 are addresses to some programs, other ones to others, and names to none.
    let is_number = name.as_str().rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    match suffix {
        _ if is_number => None,
        Some(_) => Some(Hosts::Below(format!(".{name}"))),
        None => Some(Hosts::Name(name)),
    }
}

/// Parses a network. The length of its prefix has one spelling, as a port has.
pub fn parse_network(text: &str) -> Option<IpNet> {
    let (_, length) = text.split_once('/')?;
    text.parse().ok().filter(|_| is_plain_number(length))
}

fn port_range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let range = parse_port(first)?..=parse_port(last)?;
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
        assert!(rule("DB.").covers_name("db", 5432));
        assert!(!rule("db").covers_name("db.example.com", 5432));
        assert!(rule("*.Example.com").covers_name("a.b.example.com", 1));
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
    fn a_wide_rule_is_not_about_what_lies_in_it() {
        let (meta, link_local) = (address("169.254.169.254"), "169.254.0.0/16".parse().expect("a network"));
        for (text, within, one, endpoint) in [
            ("169.254.169.254", true, true, false),
            ("169.254.169.254:80", true, true, true),
            ("169.254.169.254:80-80", true, true, true),
            ("169.254.0.0/16", true, false, false),
            ("169.254.169.0/24:80", true, false, false),
            ("169.0.0.0/8", false, false, false),
            ("0.0.0.0/0:80", false, false, false),
            ("169.254.169.253", false, false, false),
            ("169.254.169.254:81", false, false, false),
        ] {
            let rule = rule(text);
            assert_eq!(rule.covers_within(&link_local, meta, 80), within, "{text}");
            assert_eq!(rule.is_address(meta, 80), one, "{text}");
            assert_eq!(rule.is_endpoint(meta, 80), endpoint, "{text}");
        }
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        for text in
            ["", "*", "*.", "db:", "db:x", "db:9-1", "db:70000", "10.0.0.0/33", "a b", "[fd00::1]80", ".db", "*.*.db"]
                .into_iter()
                .chain([
                    "010.0.0.1",
                    "1.2.3",
                    "10",
                    "*.1",
                    "db:+80",
                    "db:080",
                    "db:80-+90",
                    "10.0.0.0/+8",
                    "10.0.0.0/08",
                ])
        {
            assert_eq!(Rule::parse(text), None, "{text}");
        }
    }
}
