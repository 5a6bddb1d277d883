//! Metadata and credentials of clouds: their networks and addresses.
//!
//! The policy refuses the networks (`proxy/policy/reserved`); `NO_PROXY` names the addresses, and so do the chart, the ECS
//! templates and the README, as tests/documented.rs checks.

use std::net::Ipv4Addr;

use ipnet::IpNet;

use crate::target::ranges::{v4_net, v6_net};

/// A network in which a cloud answers with metadata or credentials.
#[derive(Clone, Copy, Debug)]
pub struct Metadata {
    pub network: IpNet,
    /// The addresses in it that programs ask.
    pub addresses: &'static [&'static str],
}

/// All that are known.
pub const METADATA: [Metadata; 7] = [
    // AWS, Google Cloud, Azure, Oracle Cloud and others; credentials of ECS and EKS.
    Metadata {
        network: v4_net([169, 254, 0, 0], 16),
        addresses: &["169.254.169.254", "169.254.170.2", "169.254.170.23"],
    },
    // AWS: metadata, credentials of EKS.
    Metadata { network: v6_net([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0], 32), addresses: &["fd00:ec2::254", "fd00:ec2::23"] },
    // Google Cloud.
    Metadata { network: v6_net([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254], 128), addresses: &["fd20:ce::254"] },
    // Azure's platform services.
    Metadata { network: v4_net([168, 63, 129, 16], 32), addresses: &["168.63.129.16"] },
    // Oracle Cloud.
    Metadata { network: v4_net([192, 0, 0, 192], 32), addresses: &["192.0.0.192"] },
    Metadata { network: v6_net([0xfd00, 0xc1, 0, 0, 0, 0, 0, 0], 32), addresses: &["fd00:c1::a9fe:a9fe"] },
    // Scaleway.
    Metadata { network: v6_net([0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42], 128), addresses: &["fd00:42::42"] },
];

/// The IPv4 addresses that programs ask, of all clouds: those of [`METADATA`] first, then Scaleway's, Alibaba Cloud's, UCloud's and
/// Volcengine's, of which the last three are in the tailnet's range.
pub const V4_ADDRESSES: [Ipv4Addr; 9] = [
    Ipv4Addr::new(169, 254, 169, 254),
    Ipv4Addr::new(169, 254, 170, 2),
    Ipv4Addr::new(169, 254, 170, 23),
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(192, 0, 0, 192),
    Ipv4Addr::new(169, 254, 42, 42),
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(100, 80, 80, 80),
    Ipv4Addr::new(100, 96, 0, 96),
];

/// Returns the addresses that programs ask, of all clouds.
pub fn addresses() -> impl Iterator<Item = &'static str> {
    METADATA.into_iter().flat_map(|metadata| metadata.addresses).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    #[test]
    fn all_ipv4_addresses_are_listed_by_themselves() {
        let v4: Vec<Ipv4Addr> = addresses().filter_map(|address| address.parse().ok()).collect();
        assert_eq!(v4, V4_ADDRESSES[..v4.len()]);
    }

    #[test]
    fn every_network_holds_the_addresses_that_programs_ask_in_it() {
        for Metadata { network, addresses } in METADATA {
            assert!(!addresses.is_empty(), "{network}");
            for address in addresses {
                assert!(network.contains(&address.parse::<IpAddr>().expect("an address")), "{address} in {network}");
            }
        }
    }
}
