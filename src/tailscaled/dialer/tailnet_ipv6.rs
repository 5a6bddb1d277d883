//! IPv6 addresses of the tailnet's range that no node has.
//!
//! tailscaled is not asked for them. It (1.102.5) takes the whole range for its own (`UserDialPlan`), and then dials an
//! address that it knows nobody for by the system (`dialOneUser`): past the tunnel, wherever the container's own
//! network leads.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::{IpNet, Ipv6Net};

use crate::tailscaled::local_api::types::Node;

/// The range of all IPv6 addresses and all 4via6 networks of tailnets.
const RANGE: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0xfd7a, 0x115c, 0xa1e0, 0, 0, 0, 0, 0), 48);

/// Whether `address` may be dialled only if tailscaled knows a node for it.
pub fn needs_a_node(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if RANGE.contains(&v6))
}

/// Whether `node` has `address`, or leads to it. An exit node leads everywhere, which does not count here.
pub fn leads_to(node: &Node, address: IpAddr) -> bool {
    let routes = node.routes.iter().flatten().filter_map(|route| route.parse::<IpNet>().ok());
    node.addresses.iter().flatten().any(|own| *own == address)
        || routes.filter(|route| route.prefix_len() > RANGE.prefix_len()).any(|route| route.contains(&address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_leads_to_its_addresses_and_networks_but_not_as_exit_node() {
        let node: Node = serde_json::from_value(serde_json::json!({
            "TailscaleIPs": ["100.64.0.1", "fd7a:115c:a1e0::1"],
            "AllowedIPs": ["fd7a:115c:a1e0::1/128", "fd7a:115c:a1e0:b1a:0:7::/96", "::/0"],
        }))
        .expect("a node");
        let leads = |address: &str| leads_to(&node, address.parse().expect("an address"));
        assert!(leads("fd7a:115c:a1e0::1"));
        assert!(leads("fd7a:115c:a1e0:b1a:0:7:a00:1"));
        assert!(!leads("fd7a:115c:a1e0::dead"));
        assert!(needs_a_node("fd7a:115c:a1e0::dead".parse().expect("an address")));
        assert!(!needs_a_node("fd7a:115c:a1e1::1".parse().expect("an address")));
    }
}
